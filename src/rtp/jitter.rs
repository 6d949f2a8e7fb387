//! A playout buffer: packets of uneven arrival become an even stream of samples.
//!
//! Samples lie in a ring by their timestamp, so order and duplicates need no care, and a gap is silence. The reader's
//! clock drives it: each [`JitterBuffer::pull`] takes the next samples, whatever has come. A packet's *margin* is how
//! far ahead of the reader it comes. A negative margin is a loss and makes the delay grow; margins that are all
//! larger than need be make it shrink.

use crate::{packet::timestamp_distance, samples};

/// Samples that the ring holds: 1,024 ms, 16 KiB.
pub const CAPACITY: usize = 8_192;

/// Packets over which margins are watched before the delay shrinks: 5 s at 20 ms.
const WINDOW: u32 = 250;

/// The buffer of one source.
#[derive(Debug, Clone)]
pub struct JitterBuffer {
    ring: Box<[i16]>,
    /// Timestamp of the sample to be pulled next; `None` before the first packet.
    next: Option<u32>,
    /// Timestamp after the newest sample.
    newest: u32,
    delay_min: u32,
    delay_max: u32,
    delay: u32,
    seen: u32,
    margin_least: u32,
    late: u64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will be heard.
    Kept,
    /// It came after its time, in whole or in part, and what was late is lost.
    Late,
    /// It was far off: the stream begins anew with it.
    Restarted,
}

impl JitterBuffer {
    /// A buffer whose delay adapts from `delay_min_ms` to `delay_max_ms` (500 at most). Equal bounds fix it, as a
    /// recording wants, whose reader has the time.
    #[must_use]
    pub fn new(delay_min_ms: u32, delay_max_ms: u32) -> Self {
        let delay_min = samples(delay_min_ms.min(500));
        Self {
            ring: vec![0; CAPACITY].into(),
            next: None,
            newest: 0,
            delay_min,
            delay_max: samples(delay_max_ms.min(500)).max(delay_min),
            delay: delay_min,
            seen: 0,
            margin_least: u32::MAX,
            late: 0,
        }
    }

    /// Takes a packet's samples, the first of which has this timestamp. At most half a [`CAPACITY`] is kept.
    pub fn push(&mut self, timestamp: u32, samples: impl ExactSizeIterator<Item = i16>) -> Pushed {
        let length = samples.len().min(CAPACITY / 2) as u32;
        let end = timestamp.wrapping_add(length);
        if self.next.is_none() || timestamp_distance(self.newest, end) > 0 {
            self.newest = end;
        }
        let next = *self.next.get_or_insert(timestamp.wrapping_sub(self.delay));
        let ahead = timestamp_distance(next, timestamp);
        if ahead.unsigned_abs() as usize + length as usize > CAPACITY {
            self.restart(timestamp);
            self.newest = end;
            self.store(timestamp, samples, 0);
            return Pushed::Restarted;
        }
        let Ok(margin) = u32::try_from(ahead) else {
            let missed = ahead.unsigned_abs();
            self.late += 1;
            self.grow(missed);
            self.store(
                timestamp,
                samples,
                timestamp_distance(timestamp, self.next.unwrap_or(next)).max(0) as usize,
            );
            return Pushed::Late;
        };
        self.store(timestamp, samples, 0);
        self.watch(margin);
        Pushed::Kept
    }

    /// Fills `out` with the next samples, silence where there are none. Returns whether any packet has come yet.
    pub fn pull(&mut self, out: &mut [i16]) -> bool {
        let Some(next) = self.next else {
            out.fill(0);
            return false;
        };
        for (sample, place) in out.iter_mut().zip(0u32..) {
            *sample = std::mem::take(&mut self.ring[next.wrapping_add(place) as usize % CAPACITY]);
        }
        self.next = Some(next.wrapping_add(out.len() as u32));
        true
    }

    /// Samples from the reader to the end of the newest packet: what is still to be heard.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.next.map_or(0, |next| u32::try_from(timestamp_distance(next, self.newest)).unwrap_or(0))
    }

    /// Present delay in samples.
    #[must_use]
    pub const fn delay(&self) -> u32 {
        self.delay
    }

    /// Packets that came too late.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    fn store(&mut self, timestamp: u32, samples: impl Iterator<Item = i16>, skip: usize) {
        for (place, sample) in (0u32..).zip(samples.take(CAPACITY / 2)).skip(skip) {
            self.ring[timestamp.wrapping_add(place) as usize % CAPACITY] = sample;
        }
    }

    fn restart(&mut self, timestamp: u32) {
        self.ring.fill(0);
        self.next = Some(timestamp.wrapping_sub(self.delay));
        self.begin_window();
    }

    /// The reader waits: what is in the ring is heard later by as much as was missed.
    fn grow(&mut self, missed: u32) {
        let more = missed.min(self.delay_max - self.delay);
        self.delay += more;
        self.next = self.next.map(|next| next.wrapping_sub(more));
        self.begin_window();
    }

    fn watch(&mut self, margin: u32) {
        self.margin_least = self.margin_least.min(margin);
        self.seen += 1;
        if self.seen < WINDOW {
            return;
        }
        // Half of what was never needed, so that one calm window does not give all of it away.
        let spare = (self.margin_least / 2).min(self.delay - self.delay_min);
        self.skip(spare);
        self.begin_window();
    }

    fn skip(&mut self, count: u32) {
        let Some(next) = self.next else { return };
        for place in 0..count {
            self.ring[next.wrapping_add(place) as usize % CAPACITY] = 0;
        }
        self.delay -= count;
        self.next = Some(next.wrapping_add(count));
    }

    fn begin_window(&mut self) {
        self.seen = 0;
        self.margin_least = u32::MAX;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: usize = 160;

    fn frame(value: i16) -> std::iter::RepeatN<i16> {
        std::iter::repeat_n(value, FRAME)
    }

    /// Pulls frames and names each by its first sample.
    fn pulled(buffer: &mut JitterBuffer, frames: usize) -> Vec<i16> {
        let mut out = [0; FRAME];
        let mut pull = || {
            buffer.pull(&mut out);
            out[0]
        };
        (0..frames).map(|_| pull()).collect()
    }

    #[test]
    fn order_duplicates_and_gaps_are_put_right() {
        let mut buffer = JitterBuffer::new(40, 40);
        for (place, value) in [(0, 1), (2, 3), (1, 2), (1, 2), (4, 5)] {
            assert_eq!(buffer.push(place * 160, frame(value)), Pushed::Kept);
        }
        assert_eq!(buffer.pending(), 320 + 5 * 160);
        assert_eq!(pulled(&mut buffer, 8), [0, 0, 1, 2, 3, 0, 5, 0]);
        assert_eq!(buffer.pending(), 0);
    }

    #[test]
    fn before_the_first_packet_there_is_silence() {
        let mut buffer = JitterBuffer::new(40, 40);
        let mut out = [7; 10];
        assert!(!buffer.pull(&mut out));
        assert_eq!(out, [0; 10]);
    }

    #[test]
    fn a_late_packet_is_lost_and_the_delay_grows_within_its_bound() {
        let mut buffer = JitterBuffer::new(20, 60);
        buffer.push(0, frame(1));
        assert_eq!(pulled(&mut buffer, 4), [0, 1, 0, 0]);
        assert_eq!(buffer.push(160, frame(2)), Pushed::Late);
        assert_eq!((buffer.delay(), buffer.late()), (480, 1));
        buffer.push(320, frame(3));
        assert_eq!(pulled(&mut buffer, 2), [2, 3], "what the growth has made timely is heard");
    }

    #[test]
    fn a_calm_stream_gets_its_delay_back() {
        let mut buffer = JitterBuffer::new(20, 200);
        buffer.push(0, frame(1));
        pulled(&mut buffer, 8);
        // A burst after a stall: what had piled up arrives at once, and from then on all is in time.
        (1..9).for_each(|place| _ = buffer.push(place * 160, frame(2)));
        let grown = buffer.delay();
        for place in 9..3_000 {
            buffer.push(place * 160, frame(3));
            pulled(&mut buffer, 1);
        }
        assert!(grown > 800 && buffer.delay() < 400, "{grown} {}", buffer.delay());
    }

    #[test]
    fn a_jump_of_the_clock_begins_anew() {
        let mut buffer = JitterBuffer::new(20, 20);
        buffer.push(0, frame(1));
        assert_eq!(buffer.push(1_000_000, frame(9)), Pushed::Restarted);
        assert_eq!(pulled(&mut buffer, 3), [0, 9, 0]);
    }

    #[test]
    fn timestamps_wrap() {
        let mut buffer = JitterBuffer::new(20, 20);
        buffer.push(u32::MAX - 159, frame(1));
        buffer.push(0, frame(2));
        assert_eq!(pulled(&mut buffer, 3), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn any_packets_are_taken(packets in prop::collection::vec((any::<u32>(), 0usize..10_000, 0usize..400), 0..60)) {
            let mut buffer = JitterBuffer::new(20, 200);
            let mut out = [0; 400];
            for (timestamp, length, pull) in packets {
                buffer.push(timestamp % 30_000, std::iter::repeat_n(1, length));
                buffer.pull(&mut out[..pull]);
                prop_assert!(buffer.delay() <= samples(200));
            }
        }
    }
}
