//! The one RTP stream that a leg's peer hears, whatever it is made of.
//!
//! Prompts, relayed audio and keys come and go; SSRC stays, sequence numbers follow one another, and timestamps go
//! on as the clock does (RFC 3550 §5.1). Relayed packets keep their distances, so the peer sees a loss as a loss.

use std::time::{Duration, Instant};

use rtp::packet::{Header, sequence_distance, timestamp_distance};

/// State of the stream.
#[derive(Debug, Clone)]
pub struct Outgoing {
    ssrc: u32,
    /// Timestamp units per second.
    clock: u32,
    /// Number of the next packet.
    sequence: u16,
    /// Timestamp that belongs to the moment `next_at`.
    next_timestamp: u32,
    next_at: Option<Instant>,
    /// Whether the last packet was audio of our own that goes on.
    spurt: bool,
    event_timestamp: u32,
    mapping: Option<Mapping>,
}

/// From a relayed stream's numbers to ours.
#[derive(Debug, Clone)]
struct Mapping {
    ssrc: u32,
    sequence_offset: u16,
    timestamp_offset: u32,
    first: u16,
    relayed: u16,
}

/// Packets after a switch-over for which the first one's number is remembered.
const SETTLED: u16 = 1_000;
/// Longest pause between two planes' packets over which the sound goes on.
const SEAM_MAX: Duration = Duration::from_millis(300);

impl Outgoing {
    /// A stream with unpredictable beginnings taken from `random` (RFC 3550 §5.1).
    #[must_use]
    pub const fn new(ssrc: u32, random: u64) -> Self {
        Self {
            ssrc,
            clock: rtp::CLOCK_RATE,
            sequence: random as u16,
            next_timestamp: (random >> 16) as u32,
            next_at: None,
            spurt: false,
            event_timestamp: 0,
            mapping: None,
        }
    }

    /// Our SSRC.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The codec's RTP clock from now on, in Hz.
    pub const fn set_clock(&mut self, clock: u32) {
        self.clock = clock;
    }

    /// The RTP clock, in Hz.
    #[must_use]
    pub const fn clock(&self) -> u32 {
        self.clock
    }

    /// The timestamp that belongs to a moment.
    #[must_use]
    pub fn timestamp_at(&self, at: Instant) -> u32 {
        let since = self.next_at.map_or(Duration::ZERO, |next| at.saturating_duration_since(next));
        self.next_timestamp.wrapping_add(self.units(since))
    }

    /// Lets what comes at that moment follow what was sent last without a hole, if that is not long ago: the other
    /// plane's sound goes on, a little later.
    pub fn resume(&mut self, at: Instant) {
        let Some(next) = self.next_at else { return };
        if at.saturating_duration_since(next) <= SEAM_MAX {
            self.next_at = Some(at);
            self.spurt = true;
        }
    }

    /// Header for a packet of a relayed event that began at `timestamp` of our clock; `first` begins it.
    pub fn relayed_event(&mut self, payload_type: u8, first: bool, timestamp: u32) -> Header {
        self.mapping = None;
        self.spurt = false;
        self.header(payload_type, first, timestamp)
    }

    /// Header for audio of our own that lasts from `at` for `length`.
    pub fn audio(&mut self, payload_type: u8, at: Instant, length: Duration) -> Header {
        let goes_on = self.spurt && self.next_at == Some(at);
        let timestamp = self.advance(at, length);
        self.spurt = true;
        self.header(payload_type, !goes_on, timestamp)
    }

    /// Header for one packet of an event of our own; `first` begins the event.
    pub fn event(&mut self, payload_type: u8, first: bool, at: Instant, length: Duration) -> Header {
        let now = self.advance(at, length);
        if first {
            self.event_timestamp = now;
        }
        self.spurt = false;
        self.header(payload_type, first, self.event_timestamp)
    }

    /// Header for a relayed packet of so many samples. `None`: it is older than the switch-over to its stream, and
    /// its number is taken.
    pub fn relayed(
        &mut self,
        original: &Header,
        payload_type: u8,
        length: u32,
        now: Instant,
    ) -> Option<Header> {
        let begins = self.mapping.as_ref().is_none_or(|mapping| mapping.ssrc != original.ssrc);
        if begins {
            self.begin_relay(original, now);
        }
        let mapping = self.mapping.as_mut()?;
        let settled = mapping.relayed >= SETTLED;
        if !settled && sequence_distance(mapping.first, original.sequence) < 0 {
            return None;
        }
        mapping.relayed = mapping.relayed.saturating_add(1);
        let sequence = original.sequence.wrapping_add(mapping.sequence_offset);
        let timestamp = original.timestamp.wrapping_add(mapping.timestamp_offset);
        if sequence_distance(self.sequence, sequence) >= 0 {
            self.sequence = sequence.wrapping_add(1);
        }
        let end = timestamp.wrapping_add(length);
        if timestamp_distance(self.next_timestamp, end) > 0 {
            self.next_timestamp = end;
            self.next_at = Some(now + span(length, self.clock));
        }
        self.spurt = false;
        let marker = original.marker || begins;
        Some(Header { marker, payload_type, sequence, timestamp, ssrc: self.ssrc })
    }

    /// The relayed stream is interrupted: what comes next is joined on anew.
    pub fn interrupt(&mut self) {
        self.mapping = None;
    }

    fn begin_relay(&mut self, original: &Header, now: Instant) {
        let timestamp = self.timestamp_at(now);
        self.mapping = Some(Mapping {
            ssrc: original.ssrc,
            sequence_offset: self.sequence.wrapping_sub(original.sequence),
            timestamp_offset: timestamp.wrapping_sub(original.timestamp),
            first: original.sequence,
            relayed: 0,
        });
    }

    fn advance(&mut self, at: Instant, length: Duration) -> u32 {
        let timestamp = self.timestamp_at(at);
        self.next_timestamp = timestamp.wrapping_add(self.units(length));
        self.next_at = Some(at + length);
        self.mapping = None;
        timestamp
    }

    fn units(&self, span: Duration) -> u32 {
        let units = span.as_nanos().saturating_mul(u128::from(self.clock)) / 1_000_000_000;
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    fn header(&mut self, payload_type: u8, marker: bool, timestamp: u32) -> Header {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        Header { marker, payload_type, sequence, timestamp, ssrc: self.ssrc }
    }
}

fn span(units: u32, clock: u32) -> Duration {
    Duration::from_nanos(u64::from(units) * 1_000_000_000 / u64::from(clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    fn original(sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 99 }
    }

    /// (sequence, timestamp) against the first packet's.
    fn numbers(headers: &[Header]) -> Vec<(u16, u32, bool)> {
        let first = headers[0];
        let relative = |header: &Header| {
            let sequence = header.sequence.wrapping_sub(first.sequence);
            (sequence, header.timestamp.wrapping_sub(first.timestamp), header.marker)
        };
        headers.iter().map(relative).collect()
    }

    #[test]
    fn a_prompt_a_pause_and_a_prompt_are_one_stream() {
        let (start, mut stream) = (Instant::now(), Outgoing::new(7, u64::MAX));
        let at = |ms| start + Duration::from_millis(ms);
        let headers = [0, 20, 40, 100, 120].map(|ms| stream.audio(0, at(ms), FRAME));
        assert_eq!(
            numbers(&headers),
            [(0, 0, true), (1, 160, false), (2, 320, false), (3, 800, true), (4, 960, false)]
        );
    }

    #[test]
    fn relayed_audio_follows_a_prompt_without_a_seam_and_keeps_its_losses() {
        let (start, mut stream) = (Instant::now(), Outgoing::new(7, 5));
        let at = |ms| start + Duration::from_millis(ms);
        let mut headers = vec![stream.audio(0, at(0), FRAME), stream.audio(0, at(20), FRAME)];
        for (sequence, ms) in [(65_535u16, 50), (0, 70), (2, 110), (1, 111)] {
            let timestamp = u32::from(sequence.wrapping_add(1)) * 160;
            headers.extend(stream.relayed(&original(sequence, timestamp), 8, 160, at(ms)));
        }
        headers.push(stream.audio(0, at(200), FRAME));
        assert_eq!(
            numbers(&headers),
            [
                (0, 0, true),
                (1, 160, false),
                (2, 400, true),
                (3, 560, false),
                (5, 880, false),
                (4, 720, false),
                (6, 1_600, true)
            ]
        );
        assert!(headers.iter().all(|header| header.ssrc == 7));
    }

    #[test]
    fn what_is_older_than_the_switch_over_is_dropped() {
        let (now, mut stream) = (Instant::now(), Outgoing::new(7, 5));
        stream.relayed(&original(100, 1_000), 0, 160, now).unwrap();
        assert!(stream.relayed(&original(99, 840), 0, 160, now).is_none());
        stream.interrupt();
        let again = stream.relayed(&original(99, 840), 0, 160, now + FRAME).unwrap();
        assert_eq!((again.sequence, again.marker), (6, true));
    }

    #[test]
    fn a_long_relay_never_mistakes_the_wrap_for_age() {
        let (now, mut stream) = (Instant::now(), Outgoing::new(7, 5));
        for place in 0..140_000u32 {
            let header = stream.relayed(&original(place as u16, place * 160), 0, 160, now).unwrap();
            assert_eq!(header.sequence, (place as u16).wrapping_add(5));
        }
    }

    #[test]
    fn an_events_packets_carry_its_beginning() {
        let (start, mut stream) = (Instant::now(), Outgoing::new(7, 5));
        let at = |ms| start + Duration::from_millis(ms);
        let headers = [
            stream.audio(0, at(0), FRAME),
            stream.event(101, true, at(20), FRAME),
            stream.event(101, false, at(40), FRAME),
            stream.audio(0, at(60), FRAME),
        ];
        assert_eq!(numbers(&headers), [(0, 0, true), (1, 160, true), (2, 160, false), (3, 480, true)]);
    }
}
