//! Interarrival jitter (RFC 3550 §6.4.1, A.8).

use std::time::Instant;

use crate::{CLOCK_RATE, packet::timestamp_distance};

/// The running estimate for one source.
#[derive(Debug, Clone)]
pub struct JitterEstimate {
    /// Timestamp units per second.
    clock: u32,
    last: Option<(Instant, u32)>,
    /// In sixteenths of a timestamp unit, as A.8's integer form keeps it.
    scaled: u32,
    greatest: u32,
}

/// A transit that differs by more than this (in seconds) is a jump of the sender's clock, not jitter.
const JUMP: i64 = 10;

impl Default for JitterEstimate {
    fn default() -> Self {
        Self::new(CLOCK_RATE)
    }
}

impl JitterEstimate {
    /// Of a source with that RTP clock, in Hz.
    #[must_use]
    pub const fn new(clock: u32) -> Self {
        Self { clock, last: None, scaled: 0, greatest: 0 }
    }

    /// Takes a packet's arrival and timestamp. Packets of one timestamp (telephone-event) must be given once only.
    pub fn receive(&mut self, arrival: Instant, timestamp: u32) {
        let last = self.last.replace((arrival, timestamp));
        let Some((arrival_before, timestamp_before)) = last else { return };
        let waited = arrival.saturating_duration_since(arrival_before);
        let waited =
            i64::try_from(waited.as_nanos() * u128::from(self.clock) / 1_000_000_000).unwrap_or(i64::MAX);
        let difference = waited.saturating_sub(timestamp_distance(timestamp_before, timestamp).into());
        if difference.saturating_abs() > JUMP * i64::from(self.clock) {
            return;
        }
        let difference = u32::try_from(difference.abs()).unwrap_or(0);
        self.scaled = self.scaled + difference - ((self.scaled + 8) >> 4);
        self.greatest = self.greatest.max(self.scaled);
    }

    /// Forgets the last packet, as after a restart of the source; the estimate stays.
    pub fn interrupt(&mut self) {
        self.last = None;
    }

    /// In timestamp units, as a reception report carries it.
    #[must_use]
    pub const fn jitter(&self) -> u32 {
        self.scaled >> 4
    }

    /// The greatest value so far, in milliseconds.
    #[must_use]
    pub fn greatest_ms(&self) -> f32 {
        self.milliseconds(self.greatest)
    }

    /// The present value, in milliseconds.
    #[must_use]
    pub fn present_ms(&self) -> f32 {
        self.milliseconds(self.scaled)
    }

    fn milliseconds(&self, scaled: u32) -> f32 {
        (f64::from(scaled) / 16.0 / (f64::from(self.clock) / 1_000.0)) as f32
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::some_instant;

    fn run(arrivals_ms: impl Iterator<Item = u64>) -> JitterEstimate {
        let start = some_instant();
        let mut estimate = JitterEstimate::default();
        for (place, at) in arrivals_ms.enumerate() {
            estimate.receive(start + Duration::from_millis(at), place as u32 * 160);
        }
        estimate
    }

    #[test]
    fn an_even_stream_has_none() {
        let estimate = run((0..100).map(|place| place * 20));
        assert_eq!(estimate.jitter(), 0);
        assert_eq!(estimate.greatest_ms(), 0.0);
    }

    #[test]
    fn an_uneven_stream_converges_to_its_mean_deviation() {
        // 5 ms early, 5 ms late in turn: each transit differs by 10 ms = 80 units from the one before.
        let estimate = run((0..400).map(|place| 100 + place * 20 + (place % 2) * 10));
        assert!((75..=80).contains(&estimate.jitter()), "{}", estimate.jitter());
        assert!((9.0..=10.1).contains(&estimate.greatest_ms()), "{}", estimate.greatest_ms());
    }

    #[test]
    fn a_jump_of_the_senders_clock_is_not_jitter() {
        let start = some_instant();
        let mut estimate = JitterEstimate::default();
        estimate.receive(start, 0);
        estimate.receive(start + Duration::from_millis(20), 0x8000_0000);
        estimate.receive(start + Duration::from_millis(40), 0x8000_00a0);
        assert_eq!(estimate.jitter(), 0);
    }
}
