//! How much each source may say to a listener that anybody may speak to, before anything of it is read.
//!
//! One bucket for each source (the generic cell rate algorithm), in memory of a fixed size: a flood from ten thousand
//! addresses costs no more of it than a single phone. Where a set of buckets is full, the one that has been idle longest
//! makes room.

use std::{net::IpAddr, time::Instant};

use crate::lots::Lots;

/// Packets of one source: so many a second ...
pub const PER_SECOND: u64 = 200;

/// ... and so many at once. An office whose phones all come back at the same time shares one address.
pub const BURST: u64 = 2_000;

/// What a packet takes of a bucket, and how deep that is, in microseconds of filling.
const TOKEN_US: u64 = 1_000_000 / PER_SECOND;
const DEPTH_US: u64 = BURST * TOKEN_US;

/// Buckets, in sets of [`WAYS`].
const SETS: usize = 4_096;
const WAYS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    source: IpAddr,
    /// When it will be full again, in microseconds since the first packet.
    full_us: u64,
}

/// Buckets of all sources: some 520 kB, once anything came.
#[derive(Debug)]
pub struct Rates {
    sets: Vec<[Option<Bucket>; WAYS]>,
    /// So that nobody can choose addresses that share a set.
    key: u64,
    began: Option<Instant>,
}

impl Rates {
    /// `key` is any number that peers cannot guess.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { sets: Vec::new(), key, began: None }
    }

    /// Whether one more packet of a source is heard.
    pub fn admits(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.sets.is_empty() {
            self.sets = vec![[None; WAYS]; SETS];
        }
        let began = *self.began.get_or_insert(now);
        let now_us = u64::try_from(now.saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX >> 1);
        let place = self.place(source);
        let Some(set) = self.sets.get_mut(place) else { return false };
        let known = set.iter().position(|bucket| bucket.is_some_and(|bucket| bucket.source == source));
        let way = known.or_else(|| {
            let idle = |bucket: &Option<Bucket>| bucket.map_or(0, |bucket| bucket.full_us);
            (0..WAYS).min_by_key(|way| idle(&set[*way]))
        });
        let Some(bucket) = way.and_then(|way| set.get_mut(way)) else { return false };
        let full_us = bucket.filter(|bucket| bucket.source == source).map_or(0, |bucket| bucket.full_us);
        let full_us = full_us.max(now_us) + TOKEN_US;
        let admitted = full_us <= now_us + DEPTH_US;
        if admitted {
            *bucket = Some(Bucket { source, full_us });
        }
        admitted
    }

    fn place(&self, source: IpAddr) -> usize {
        let source = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let bits = u128::from_be_bytes(source.octets());
        let (high, low) = ((bits >> 64) as u64, bits as u64);
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

    #[test]
    fn a_source_may_say_much_at_once_and_then_so_much_a_second() {
        let (mut rates, start) = (Rates::new(7), moment());
        let source: IpAddr = Ipv4Addr::new(203, 0, 113, 7).into();
        let heard = (0..3 * BURST).filter(|_| rates.admits(start, source)).count();
        assert_eq!(heard as u64, BURST);
        let later = start + Duration::from_secs(3);
        let heard = (0..BURST).filter(|_| rates.admits(later, source)).count();
        assert_eq!(heard as u64, 3 * PER_SECOND);
        let much_later = start + Duration::from_secs(3_600);
        let heard = (0..3 * BURST).filter(|_| rates.admits(much_later, source)).count();
        assert_eq!(heard as u64, BURST);
        assert!(rates.admits(start, Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn a_flood_of_sources_shuts_out_nobody_who_is_quiet() {
        let (mut rates, start) = (Rates::new(7), moment());
        let phone: IpAddr = Ipv4Addr::new(203, 0, 113, 7).into();
        for n in 0..200_000_u32 {
            rates.admits(start, Ipv4Addr::from(0x0a00_0000 + n).into());
            if n % 10_000 == 0 {
                assert!(rates.admits(start, phone), "{n}");
            }
        }
        assert_eq!(rates.sets.len(), SETS);
    }
}
