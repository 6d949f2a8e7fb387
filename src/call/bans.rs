//! Sources that are not heard for a while, because they guess.
//!
//! A ban needs evidence that the source is who it says: a connection, or a nonce of ours that it echoes. A datagram's source
//! alone can be anybody's, and a flood in a carrier's name must not shut the carrier out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// So many wrong proofs within [`WITHIN`] lead to a ban.
pub const FAILURES_MAX: u32 = 10;

/// Wrong proofs older than this count no more.
const WITHIN: Duration = Duration::from_secs(60);

/// The first ban of a source; each that follows lasts twice as long, up to a day.
const FIRST: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Sources that are remembered. Of more, those that failed longest ago are forgotten first.
const SOURCES_MAX: usize = 16_384;

/// What a source has done.
#[derive(Debug, Clone, Copy)]
struct Source {
    failures: u32,
    /// When the first of them was.
    since: Instant,
    /// Bans so far.
    bans: u32,
    until: Option<Instant>,
    last: Instant,
}

/// A ban that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who is not heard.
    pub address: IpAddr,
    /// Until when.
    pub until: Instant,
    /// How many bans it has had, this one included.
    pub count: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Bans(BTreeMap<IpAddr, Source>);

impl Bans {
    /// A source has given a wrong proof, and it is sure that it was that source. Gives the ban that follows, if one does.
    pub fn failed(&mut self, now: Instant, address: IpAddr) -> Option<Ban> {
        if self.0.len() >= SOURCES_MAX && !self.0.contains_key(&address) {
            self.forget_oldest();
        }
        let fresh = Source { failures: 0, since: now, bans: 0, until: None, last: now };
        let source = self.0.entry(address).or_insert(fresh);
        source.last = now;
        if now.saturating_duration_since(source.since) > WITHIN {
            (source.failures, source.since) = (0, now);
        }
        source.failures += 1;
        if source.failures < FAILURES_MAX {
            return None;
        }
        source.failures = 0;
        source.bans += 1;
        let length = (FIRST * 2_u32.saturating_pow((source.bans - 1).min(16))).min(LONGEST);
        source.until = Some(now + length);
        Some(Ban { address, until: now + length, count: source.bans })
    }

    /// A ban that somebody else has found due. One that lasts longer stays.
    pub fn impose(&mut self, now: Instant, address: IpAddr, until: Instant) {
        if self.0.len() >= SOURCES_MAX && !self.0.contains_key(&address) {
            self.forget_oldest();
        }
        let fresh = Source { failures: 0, since: now, bans: 0, until: None, last: now };
        let source = self.0.entry(address).or_insert(fresh);
        if source.until.is_none_or(|present| present < until) {
            (source.until, source.bans, source.last) = (Some(until), source.bans + 1, now);
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, source)| source.last).map(|(address, _)| *address);
        oldest.map(|oldest| self.0.remove(&oldest));
    }

    /// Whether a source is heard.
    #[must_use]
    pub fn hears(&self, now: Instant, address: IpAddr) -> bool {
        self.0.get(&address).and_then(|source| source.until).is_none_or(|until| until <= now)
    }

    /// Ends a ban, and forgets what led to it. False: there was none.
    pub fn lift(&mut self, now: Instant, address: IpAddr) -> bool {
        let was_banned = !self.hears(now, address);
        self.0.remove(&address);
        was_banned
    }

    /// The bans that stand.
    pub fn standing(&self, now: Instant) -> impl Iterator<Item = Ban> {
        self.0.iter().filter_map(move |(address, source)| {
            let until = source.until.filter(|until| *until > now)?;
            Some(Ban { address: *address, until, count: source.bans })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
    fn moment() -> Instant {
        Instant::now()
    }

    #[test]
    fn who_guesses_is_not_heard_for_longer_each_time() {
        let (mut bans, start) = (Bans::default(), moment());
        let address: IpAddr = "192.0.2.9".parse().unwrap();
        let mut now = start;
        for (round, minutes) in [(1, 10), (2, 20), (3, 40)] {
            for guess in 1..FAILURES_MAX {
                assert_eq!(bans.failed(now, address), None, "{round} {guess}");
            }
            let ban = bans.failed(now, address).unwrap();
            assert_eq!((ban.until - now, ban.count), (Duration::from_secs(60 * minutes), round));
            assert!(!bans.hears(now, address) && bans.hears(now, "192.0.2.8".parse().unwrap()));
            assert_eq!(bans.standing(now).count(), 1);
            now = ban.until;
            assert!(bans.hears(now, address));
        }
        assert_eq!(bans.standing(now).count(), 0);
    }

    #[test]
    fn a_mistyped_password_now_and_then_is_no_attack() {
        let (mut bans, start) = (Bans::default(), moment());
        let address: IpAddr = "192.0.2.9".parse().unwrap();
        for minute in 0..100 {
            for _ in 1..FAILURES_MAX {
                assert_eq!(bans.failed(start + Duration::from_secs(61 * minute), address), None);
            }
        }
    }

    #[test]
    fn a_ban_can_be_lifted() {
        let (mut bans, now) = (Bans::default(), moment());
        let address: IpAddr = "2001:db8::9".parse().unwrap();
        assert!(!bans.lift(now, address));
        for _ in 0..FAILURES_MAX {
            bans.failed(now, address);
        }
        assert!(bans.lift(now, address) && bans.hears(now, address));
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_memory() {
        let (mut bans, now) = (Bans::default(), moment());
        for n in 0..u32::try_from(SOURCES_MAX).unwrap() + 100 {
            bans.failed(now, std::net::Ipv4Addr::from(n).into());
        }
        assert!(bans.0.len() <= SOURCES_MAX);
    }
}
