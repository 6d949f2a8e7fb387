//! How much each source may say, before anything of it is read.
//!
//! One bucket for each source (the generic cell rate algorithm), in memory of a fixed size: a flood from ten thousand
//! addresses costs no more of it than a single phone. Where a set of buckets is full, the one that has been idle longest
//! makes room.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::lots::Lots;

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second; at least 1.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// Messages to a listener for agents. An office whose phones all come back at the same time shares one address.
pub const OF_AGENTS: Rate = Rate { per_second: 200, burst: 2_000 };

/// Connections to a listener for agents.
pub const CONNECTIONS_OF_AGENTS: Rate = Rate { per_second: 20, burst: 1_000 };

/// Messages from a source of a trunk that has no bound on its calls a second. A flood in a carrier's name comes to no more,
/// which leaves other trunks their share of the edge.
pub const OF_TRUNKS: Rate = Rate { per_second: 40_000, burst: 40_000 };

/// The least that a source of a trunk may say, however few calls it may begin.
pub const OF_TRUNKS_MIN: u32 = 2_000;

/// Messages that one call may come to on one of its legs, with everything sent again and a change of hold now and then.
pub const MESSAGES_OF_CALL: u32 = 32;

/// Connections to a listener for trunks: some carriers open one for each call.
pub const CONNECTIONS_OF_TRUNKS: Rate = Rate { per_second: 500, burst: 2_000 };

/// Who speaks, and to whom: one address may be somebody else's on another network, and a flood at listeners for agents in a
/// carrier's name is none of the carrier's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Place of the listener's network.
    pub network: u16,
    /// Whether the listener is for agents.
    pub to_agents: bool,
    /// The address.
    pub address: IpAddr,
}

/// Buckets, in sets of [`WAYS`], in pages of sets.
const SETS: usize = 4_096;
const WAYS: usize = 4;
const PAGE: usize = 64;

/// Sets that come into being together.
type Page = [[Option<Bucket>; WAYS]; PAGE];

#[derive(Debug, Clone, Copy)]
struct Bucket {
    source: Source,
    /// When it will be full again, in microseconds since the first packet.
    full_us: u64,
}

/// Buckets of all sources: some 10 kB for each page that a source fell into, 650 kB at most.
#[derive(Debug)]
pub struct Rates {
    pages: Vec<Option<Box<Page>>>,
    /// So that nobody can choose addresses that share a set.
    key: u64,
    began: Option<Instant>,
}

impl Rates {
    /// `key` is any number that peers cannot guess.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { pages: Vec::new(), key, began: None }
    }

    /// Whether one more of a source is heard.
    pub fn admits(&mut self, now: Instant, source: Source, rate: Rate) -> bool {
        self.wait(now, source, rate).is_zero()
    }

    /// How long one more of a source must wait; zero, if it is heard and counted now.
    pub fn wait(&mut self, now: Instant, source: Source, rate: Rate) -> Duration {
        let began = *self.began.get_or_insert(now);
        let now_us = u64::try_from(now.saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX >> 1);
        // What one takes of a bucket, and how deep that is, in microseconds of filling.
        let token_us = (1_000_000 / u64::from(rate.per_second.max(1))).max(1);
        let depth_us = u64::from(rate.burst.max(1)) * token_us;
        let place = self.place(source);
        if self.pages.is_empty() {
            self.pages.resize(SETS / PAGE, None);
        }
        let Some(page) = self.pages.get_mut(place / PAGE) else { return Duration::ZERO };
        let set = &mut page.get_or_insert_with(|| Box::new([[None; WAYS]; PAGE]))[place % PAGE];
        let known = set.iter().position(|bucket| bucket.is_some_and(|bucket| bucket.source == source));
        let way = known.or_else(|| {
            let idle = |bucket: &Option<Bucket>| bucket.map_or(0, |bucket| bucket.full_us);
            (0..WAYS).min_by_key(|way| idle(&set[*way]))
        });
        let Some(bucket) = way.and_then(|way| set.get_mut(way)) else { return Duration::ZERO };
        let full_us = bucket.filter(|bucket| bucket.source == source).map_or(0, |bucket| bucket.full_us);
        let full_us = full_us.max(now_us) + token_us;
        let wait_us = full_us.saturating_sub(now_us + depth_us);
        if wait_us == 0 {
            *bucket = Some(Bucket { source, full_us });
        }
        Duration::from_micros(wait_us)
    }

    fn place(&self, source: Source) -> usize {
        let address = match source.address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let bits = u128::from_be_bytes(address.octets());
        let listener = u64::from(source.network) << 1 | u64::from(source.to_agents);
        let (high, low) = ((bits >> 64) as u64 ^ listener, bits as u64);
        let mixed = Lots::new(Lots::new(self.key ^ high).draw() ^ low).draw();
        usize::try_from(mixed % SETS as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        time::Duration,
    };

    use super::*;

    fn moment() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
        Instant::now()
    }

    fn from(address: impl Into<IpAddr>) -> Source {
        Source { network: 0, to_agents: true, address: address.into() }
    }

    #[test]
    fn a_source_may_say_much_at_once_and_then_so_much_a_second() {
        let (mut rates, start) = (Rates::new(7), moment());
        let source = from(Ipv4Addr::new(203, 0, 113, 7));
        let mut heard = |at, count| (0..count).filter(|_| rates.admits(at, source, OF_AGENTS)).count();
        assert_eq!(heard(start, 6_000), 2_000);
        assert_eq!(heard(start + Duration::from_secs(3), 2_000), 600);
        assert_eq!(heard(start + Duration::from_secs(3_600), 6_000), 2_000);
        let wait = rates.wait(start + Duration::from_secs(3_600), source, OF_AGENTS);
        assert_eq!(wait, Duration::from_millis(5));
        assert!(rates.admits(start, from(Ipv6Addr::LOCALHOST), OF_AGENTS));
    }

    #[test]
    fn an_address_has_a_bucket_on_each_network_and_for_each_kind_of_listener() {
        let (mut rates, now) = (Rates::new(7), moment());
        let source = from(Ipv4Addr::new(10, 0, 0, 5));
        while rates.admits(now, source, OF_AGENTS) {}
        for other in [Source { network: 1, ..source }, Source { to_agents: false, ..source }] {
            assert!(rates.admits(now, other, OF_AGENTS), "{other:?}");
        }
    }

    #[test]
    fn a_flood_of_sources_shuts_out_nobody_who_is_quiet() {
        let (mut rates, start) = (Rates::new(7), moment());
        let phone = from(Ipv4Addr::new(203, 0, 113, 7));
        for n in 0..200_000_u32 {
            rates.admits(start, from(Ipv4Addr::from(0x0a00_0000 + n)), OF_AGENTS);
            if n % 10_000 == 0 {
                assert!(rates.admits(start, phone, OF_AGENTS), "{n}");
            }
        }
        assert_eq!(rates.pages.len(), SETS / PAGE, "there is no more memory than that");
    }
}
