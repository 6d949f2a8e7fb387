//! What was measured of a stream, five seconds by five seconds.
//!
//! A series never holds more than [`BUCKETS_MAX`] buckets: when it is full, each two become one of twice the length, so that an hour's call
//! costs what a quarter's does.

use std::time::{Duration, Instant};

/// Length of a bucket at first.
pub const BUCKET: Duration = Duration::from_secs(5);
/// Buckets at most: 20 minutes before the first halving.
pub const BUCKETS_MAX: usize = 240;

/// One span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bucket {
    /// Packets received.
    pub received: u32,
    /// Packets lost.
    pub lost: u32,
    /// Packets that came too late or too early to be played.
    pub discarded: u32,
    /// Sound that was made up, in milliseconds.
    pub concealed_ms: u32,
    /// Greatest interarrival jitter (RFC 3550 A.8), in milliseconds.
    pub jitter_ms_max: f32,
    /// Last round trip, in milliseconds. 0: none was measured.
    pub round_trip_ms: f32,
    /// Last delay of the jitter buffer, in milliseconds. 0: nothing was played.
    pub playout_delay_ms: u16,
    /// Least R of the E-model. None: not calculated.
    pub r_min: Option<f32>,
}

impl Bucket {
    /// Two of them, one after the other, as one.
    #[must_use]
    pub fn joined(self, later: Self) -> Self {
        let last = |before: f32, after: f32| if after > 0.0 { after } else { before };
        let least = |one: Option<f32>, other: Option<f32>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            received: self.received.saturating_add(later.received),
            lost: self.lost.saturating_add(later.lost),
            discarded: self.discarded.saturating_add(later.discarded),
            concealed_ms: self.concealed_ms.saturating_add(later.concealed_ms),
            jitter_ms_max: self.jitter_ms_max.max(later.jitter_ms_max),
            round_trip_ms: last(self.round_trip_ms, later.round_trip_ms),
            playout_delay_ms: if later.playout_delay_ms > 0 {
                later.playout_delay_ms
            } else {
                self.playout_delay_ms
            },
            r_min: least(self.r_min, later.r_min),
        }
    }
}

/// A stream's buckets, from its beginning on without a gap.
#[derive(Debug, Clone)]
pub struct Timeline {
    begun: Instant,
    bucket: Duration,
    buckets: Vec<Bucket>,
}

impl Timeline {
    /// Begins now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { begun: now, bucket: BUCKET, buckets: Vec::new() }
    }

    /// The bucket of a moment, to be added to. A moment before the last bucket's counts there.
    pub fn at(&mut self, now: Instant) -> &mut Bucket {
        let mut place = self.place(now);
        while place >= BUCKETS_MAX {
            self.halve();
            place = self.place(now);
        }
        if place >= self.buckets.len() {
            self.buckets.resize(place + 1, Bucket::default());
        }
        let last = self.buckets.len() - 1;
        &mut self.buckets[last]
    }

    /// Length of each bucket.
    #[must_use]
    pub const fn bucket(&self) -> Duration {
        self.bucket
    }

    /// The buckets, the first one first; the last one is not over.
    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    fn place(&self, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.begun).as_nanos();
        usize::try_from(since / self.bucket.as_nanos().max(1)).unwrap_or(usize::MAX)
    }

    fn halve(&mut self) {
        self.bucket = self.bucket.saturating_mul(2);
        let halves = self
            .buckets
            .chunks(2)
            .map(|pair| pair.iter().copied().reduce(Bucket::joined).unwrap_or_default());
        self.buckets = halves.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::some_instant;

    #[test]
    fn each_five_seconds_have_their_bucket() {
        let start = some_instant();
        let mut timeline = Timeline::new(start);
        for second in [0, 1, 4, 5, 17] {
            let bucket = timeline.at(start + Duration::from_secs(second));
            bucket.received += 50;
            bucket.jitter_ms_max = bucket.jitter_ms_max.max(second as f32);
        }
        let found: Vec<_> =
            timeline.buckets().iter().map(|bucket| (bucket.received, bucket.jitter_ms_max)).collect();
        assert_eq!(found, [(150, 4.0), (50, 5.0), (0, 0.0), (50, 17.0)]);
        timeline.at(start).received += 1;
        assert_eq!(timeline.buckets()[3].received, 51, "clocks do not go back");
    }

    #[test]
    fn a_long_call_is_as_small_as_a_short_one_and_loses_no_packet() {
        let start = some_instant();
        let mut timeline = Timeline::new(start);
        for second in 0..20_000 {
            let bucket = timeline.at(start + Duration::from_secs(second));
            bucket.received += 50;
            bucket.lost += 1;
            bucket.r_min = Some(bucket.r_min.unwrap_or(100.0).min(if second == 777 { 40.0 } else { 90.0 }));
            assert!(timeline.buckets().len() <= BUCKETS_MAX);
        }
        let sum = timeline.buckets().iter().copied().reduce(Bucket::joined).unwrap();
        assert_eq!((sum.received, sum.lost, sum.r_min), (1_000_000, 20_000, Some(40.0)));
        assert_eq!(timeline.bucket(), BUCKET * 32);
        // A moment far away does not fill the memory.
        timeline.at(start + Duration::from_secs(1 << 40)).received += 1;
        assert!(timeline.buckets().len() <= BUCKETS_MAX);
    }

    #[test]
    fn joined_buckets_keep_the_worst_and_the_last() {
        let one =
            Bucket { jitter_ms_max: 9.0, round_trip_ms: 80.0, playout_delay_ms: 60, ..Bucket::default() };
        let two = Bucket {
            jitter_ms_max: 3.0,
            round_trip_ms: 0.0,
            playout_delay_ms: 40,
            r_min: Some(70.0),
            ..Bucket::default()
        };
        let joined = one.joined(two);
        assert_eq!(
            (joined.jitter_ms_max, joined.round_trip_ms, joined.playout_delay_ms, joined.r_min),
            (9.0, 80.0, 40, Some(70.0))
        );
    }
}
