//! Telephone events: keys pressed, as packets and as tones (RFC 4733).
//!
//! A key is one event; its packets carry one timestamp, that of its beginning, and a growing duration. So the
//! timestamp alone tells keys apart: packets may be lost, doubled or out of order, and the marker bit may be absent.
//! Timestamps and durations are of the clock of the audio beside them (§2.1): 8, 16 or 48 kHz.

use std::f64::consts::TAU;

use crate::{CLOCK_RATE, packet::timestamp_distance};

mod detector;

pub use self::detector::{Detector, Tones};

/// The events we send and understand, as the `fmtp` attribute lists them (RFC 4733 §2.4.1): DTMF's sixteen keys.
pub const FMTP: &str = "0-15";

/// Times that an event's last packet is sent (RFC 4733 §2.5.1.4).
pub const END_PACKETS: u8 = 3;

/// The keys in the order of their event codes (RFC 4733 §3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// A key's event code, 0 to 15.
#[must_use]
pub fn code(digit: char) -> Option<u8> {
    let digit = u8::try_from(digit).ok()?.to_ascii_uppercase();
    let place = KEYS.iter().position(|&key| key == digit)?;
    u8::try_from(place).ok()
}

/// The key of an event code; `None` for events that are no key.
#[must_use]
pub fn digit(code: u8) -> Option<char> {
    KEYS.get(usize::from(code)).map(|&key| char::from(key))
}

/// Whether an `fmtp` value such as `0-15,66` (RFC 4733 §2.4.1) allows every key from 0 to 9, `*` and `#`.
/// Items that do not parse allow nothing.
#[must_use]
pub fn allows_keys(fmtp: &str) -> bool {
    let mut allowed = [false; 256];
    for item in fmtp.split(',').take(256) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
            (first..=last).for_each(|code| allowed[usize::from(code)] = true);
        }
    }
    allowed[..12].iter().all(|&allowed| allowed)
}

/// One packet's payload (RFC 4733 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// What happened: 0 to 15 are keys.
    pub code: u8,
    /// Whether the event has ended.
    pub end: bool,
    /// Power in −dBm0, 0 to 63.
    pub volume: u8,
    /// Time since the event's beginning, in timestamp units.
    pub duration: u16,
}

/// A payload of fewer than four octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("telephone-event payload is shorter than four octets")]
pub struct Short;

impl Payload {
    /// Reads the first event of a payload. Others that follow would be redundant or a sequence that no telephone sends.
    ///
    /// # Errors
    /// [`Short`]: no event is in there.
    pub fn parse(payload: &[u8]) -> Result<Self, Short> {
        let (&[code, flags, d0, d1], _) = payload.split_first_chunk::<4>().ok_or(Short)?;
        let duration = u16::from_be_bytes([d0, d1]);
        Ok(Self { code, end: flags & 0x80 != 0, volume: flags & 0x3f, duration })
    }

    /// The same event on another clock, such as between Opus's 48 kHz and G.711's 8 kHz. What is too long for the field is cut.
    #[must_use]
    pub fn rescaled(self, from: u32, to: u32) -> Self {
        Self {
            duration: rescaled(u32::from(self.duration), from, to).min(u32::from(u16::MAX)) as u16,
            ..self
        }
    }

    /// The payload's four octets.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [self.code, (self.end as u8) << 7 | self.volume & 0x3f, d0, d1]
    }
}

/// A span of one clock in units of another, to the nearest; at most `u32::MAX`.
#[must_use]
pub fn rescaled(units: u32, from: u32, to: u32) -> u32 {
    let from = u64::from(from.max(1));
    u32::try_from((u64::from(units) * u64::from(to) + from / 2) / from).unwrap_or(u32::MAX)
}

/// Hears the keys in one source's event packets.
#[derive(Debug, Clone)]
pub struct Receiver {
    last: Option<Heard>,
    clock_rate: u32,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new(CLOCK_RATE)
    }
}

/// What a packet tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A key was pressed: this is its first packet to arrive.
    Pressed(char),
    /// The key pressed last is still held, or its end is repeated; it has lasted this long, in timestamp units.
    Continued {
        /// Since the key went down.
        duration: u32,
        /// Whether it has been let go.
        end: bool,
    },
    /// Late, malformed, or no key.
    Ignored,
}

#[derive(Debug, Clone)]
struct Heard {
    ssrc: u32,
    code: u8,
    /// Of the current segment.
    timestamp: u32,
    duration: u16,
    ended: bool,
    /// Length of the segments before.
    before: u32,
}

/// An event older than this against the last one is from a clock that has been set anew, not late, in seconds.
const LATE_SECONDS_MAX: u32 = 10;

impl Receiver {
    /// For events on a clock of so many Hz.
    #[must_use]
    pub const fn new(clock_rate: u32) -> Self {
        Self { last: None, clock_rate }
    }

    /// Takes one packet's source, timestamp and payload.
    pub fn receive(&mut self, ssrc: u32, timestamp: u32, payload: &[u8]) -> Received {
        let Ok(event) = Payload::parse(payload) else { return Received::Ignored };
        let Some(key) = digit(event.code) else { return Received::Ignored };
        let late_max = self.clock_rate.saturating_mul(LATE_SECONDS_MAX).cast_signed();
        match &mut self.last {
            Some(heard) if heard.ssrc == ssrc => match heard.place(timestamp, event, late_max) {
                Place::Same => heard.grow(event),
                Place::NextSegment => heard.next_segment(timestamp, event),
                Place::Late => Received::Ignored,
                Place::New => self.press(ssrc, timestamp, event, key),
            },
            _ => self.press(ssrc, timestamp, event, key),
        }
    }

    fn press(&mut self, ssrc: u32, timestamp: u32, event: Payload, key: char) -> Received {
        let Payload { code, end, duration, .. } = event;
        self.last = Some(Heard { ssrc, code, timestamp, duration, ended: end, before: 0 });
        Received::Pressed(key)
    }
}

enum Place {
    Same,
    NextSegment,
    Late,
    New,
}

impl Heard {
    fn place(&self, timestamp: u32, event: Payload, late_max: i32) -> Place {
        let ahead = timestamp_distance(self.timestamp, timestamp);
        if ahead == 0 {
            return if event.code == self.code { Place::Same } else { Place::New };
        }
        if -late_max < ahead && ahead < 0 {
            return Place::Late;
        }
        // A key held longer than a duration can say goes on in a segment that begins where the last one ended
        // (RFC 4733 §2.5.1.3).
        let full = ahead == i32::from(u16::MAX) && !self.ended && event.code == self.code;
        if full { Place::NextSegment } else { Place::New }
    }

    fn grow(&mut self, event: Payload) -> Received {
        self.ended |= event.end;
        self.duration = self.duration.max(event.duration);
        Received::Continued { duration: self.before + u32::from(self.duration), end: self.ended }
    }

    fn next_segment(&mut self, timestamp: u32, event: Payload) -> Received {
        self.before = self.before.saturating_add(u32::from(u16::MAX));
        self.timestamp = timestamp;
        self.duration = 0;
        self.grow(event)
    }
}

/// Digits to be sent, at most [`DIGITS_MAX`], one step per packet interval.
#[derive(Debug, Clone)]
pub struct Sender {
    digits: std::collections::VecDeque<u8>,
    duration: u32,
    gap: u32,
    interval: u32,
    comma: u32,
    state: Sending,
}

/// Digits that one [`Sender`] takes; further ones are cut off.
pub const DIGITS_MAX: usize = 64;

/// Time that a `,` waits, in milliseconds.
pub const COMMA_MS: u32 = 1_000;

#[derive(Debug, Clone, Copy)]
enum Sending {
    Between { wait: u32 },
    Event { code: u8, elapsed: u32 },
    Ending { code: u8, repeats: u8 },
}

/// What to send at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An event packet. With `first`, the event begins now: its packets carry this moment's timestamp, and this one
    /// the marker bit.
    Event {
        /// Begins the event.
        first: bool,
        /// The payload.
        payload: Payload,
    },
    /// Nothing: a pause.
    Pause,
    /// All is sent; nothing follows.
    Done,
}

impl Sender {
    /// Prepares digits (`,` pauses; other characters that are no key are left out), each lasting `duration_ms`
    /// (40 to 8,000; others are moved to the bound) with `gap_ms` between, one packet per `interval_ms` (10 to 60).
    #[must_use]
    pub fn new(digits: &str, duration_ms: u16, gap_ms: u16, interval_ms: u16) -> Self {
        Self::with_clock(digits, duration_ms, gap_ms, interval_ms, CLOCK_RATE)
    }

    /// The same on a clock of so many Hz. An event is not longer there than one packet's duration can say: 1,365 ms at 48 kHz.
    #[must_use]
    pub fn with_clock(
        digits: &str,
        duration_ms: u16,
        gap_ms: u16,
        interval_ms: u16,
        clock_rate: u32,
    ) -> Self {
        let units = |milliseconds: u32| milliseconds.saturating_mul(clock_rate / 1_000);
        let keys = digits.chars().filter_map(|digit| if digit == ',' { Some(PAUSE) } else { code(digit) });
        Self {
            digits: keys.take(DIGITS_MAX).collect(),
            duration: units(u32::from(duration_ms.clamp(40, 8_000))).min(u32::from(u16::MAX)),
            gap: units(u32::from(gap_ms)),
            interval: units(u32::from(interval_ms.clamp(10, 60))),
            comma: units(COMMA_MS),
            state: Sending::Between { wait: 0 },
        }
    }

    /// What to send now; to be called once per interval until [`Step::Done`].
    pub fn step(&mut self) -> Step {
        match self.state {
            Sending::Between { wait } if wait >= self.interval => {
                self.state = Sending::Between { wait: wait - self.interval };
                Step::Pause
            }
            Sending::Between { .. } => self.next_digit(),
            Sending::Event { code, elapsed } => self.go_on(code, elapsed, false),
            Sending::Ending { code, repeats } => self.repeat_end(code, repeats),
        }
    }

    fn next_digit(&mut self) -> Step {
        match self.digits.pop_front() {
            None => Step::Done,
            Some(PAUSE) => {
                self.state = Sending::Between { wait: self.comma.saturating_sub(self.interval) };
                Step::Pause
            }
            Some(code) => self.go_on(code, 0, true),
        }
    }

    fn go_on(&mut self, code: u8, elapsed: u32, first: bool) -> Step {
        let elapsed = elapsed + self.interval;
        let end = elapsed >= self.duration;
        self.state = match end {
            true => Sending::Ending { code, repeats: END_PACKETS - 1 },
            false => Sending::Event { code, elapsed },
        };
        Step::Event { first, payload: event(code, elapsed.min(self.duration), end) }
    }

    fn repeat_end(&mut self, code: u8, repeats: u8) -> Step {
        self.state = match repeats - 1 {
            0 => {
                Sending::Between { wait: self.gap.saturating_sub(u32::from(END_PACKETS - 1) * self.interval) }
            }
            repeats => Sending::Ending { code, repeats },
        };
        Step::Event { first: false, payload: event(code, self.duration, true) }
    }
}

/// Stands for `,` among event codes.
const PAUSE: u8 = u8::MAX;

/// Power of the events we send, in −dBm0: what telephones use.
const VOLUME: u8 = 10;

fn event(code: u8, duration: u32, end: bool) -> Payload {
    let duration = u16::try_from(duration).unwrap_or(u16::MAX);
    Payload { code, end, volume: VOLUME, duration }
}

/// A key's two tones (ITU-T Q.23), for a peer that understands no telephone-event.
#[derive(Debug, Clone)]
pub struct Tone {
    low: f64,
    high: f64,
    at: u32,
}

impl Tone {
    /// Of one event code.
    #[must_use]
    pub fn new(code: u8) -> Option<Self> {
        Self::with_rate(code, CLOCK_RATE)
    }

    /// Of one event code, at so many samples a second.
    #[must_use]
    pub fn with_rate(code: u8, sample_rate: u32) -> Option<Self> {
        let (row, column) = place_on_keypad(digit(code)?);
        let cycle = |frequency: f64| frequency / f64::from(sample_rate.max(1));
        Some(Self { low: cycle(LOW[row]), high: cycle(HIGH[column]), at: 0 })
    }

    /// The next samples.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            let at = f64::from(self.at);
            self.at += 1;
            let sound = LOW_LEVEL * (TAU * self.low * at).sin() + HIGH_LEVEL * (TAU * self.high * at).sin();
            *sample = sound as i16;
        }
    }
}

const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// −8 dBm0: a full-scale sine is +3.14 dBm0.
const LOW_LEVEL: f64 = 9_086.0;
/// −6 dBm0: lines attenuate the higher tone more.
const HIGH_LEVEL: f64 = 11_439.0;

/// Row by row.
const KEYPAD: &str = "123A456B789C*0#D";

fn place_on_keypad(key: char) -> (usize, usize) {
    let place = KEYPAD.find(key).unwrap_or_default();
    (place / 4, place % 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    /// Packets as (timestamp, digit, duration, end), and the digits that must be heard.
    type Row = (&'static str, &'static [(u32, char, u16, bool)], &'static str);

    #[test]
    fn each_key_is_heard_once() {
        let table: [Row; 12] = [
            ("plain", &[(0, '1', 160, false), (0, '1', 320, false), (0, '1', 480, true)], "1"),
            ("ends repeated", &[(0, '1', 160, false), (0, '1', 160, true), (0, '1', 160, true)], "1"),
            ("only an end arrives", &[(0, '#', 800, true)], "#"),
            ("beginning lost", &[(0, '5', 320, false), (0, '5', 480, true)], "5"),
            ("out of order", &[(0, '1', 480, true), (0, '1', 160, false), (0, '1', 320, false)], "1"),
            ("ends lost", &[(0, '1', 160, false), (4_000, '2', 160, false)], "12"),
            ("ends lost, same key", &[(0, '1', 160, false), (4_000, '1', 160, false)], "11"),
            ("late repeat", &[(0, '1', 160, true), (4_000, '2', 160, false), (0, '1', 160, true)], "12"),
            (
                "all doubled",
                &[(0, '1', 9, true), (0, '1', 9, true), (9_000, '1', 9, true), (9_000, '1', 9, true)],
                "11",
            ),
            ("over the wrap", &[(u32::MAX - 100, '1', 160, true), (700, '2', 160, true)], "12"),
            ("clock set back", &[(900_000, '1', 160, true), (5, '2', 160, true)], "12"),
            ("same timestamp, other key", &[(0, '1', 160, false), (0, '2', 160, false)], "12"),
        ];
        for (what, packets, expected) in table {
            assert_eq!(heard(packets), expected, "{what}");
        }
    }

    fn heard(packets: &[(u32, char, u16, bool)]) -> String {
        let mut receiver = Receiver::default();
        let mut take = |&(timestamp, key, duration, end): &(u32, char, u16, bool)| {
            let payload = Payload { code: code(key).unwrap(), end, volume: 10, duration };
            match receiver.receive(7, timestamp, &payload.to_bytes()) {
                Received::Pressed(key) => Some(key),
                Received::Continued { .. } | Received::Ignored => None,
            }
        };
        packets.iter().filter_map(&mut take).collect()
    }

    #[test]
    fn a_key_held_for_long_is_one_key() {
        let mut receiver = Receiver::default();
        let full = u32::from(u16::MAX);
        let packet = |duration, end| Payload { code: 1, end, volume: 0, duration }.to_bytes();
        assert_eq!(receiver.receive(7, 100, &packet(u16::MAX, false)), Received::Pressed('1'));
        let next = receiver.receive(7, 100 + full, &packet(160, true));
        assert_eq!(next, Received::Continued { duration: full + 160, end: true });
        // After the end, the same distance is another press.
        assert_eq!(receiver.receive(7, 100 + 2 * full, &packet(160, true)), Received::Pressed('1'));
    }

    #[test]
    fn a_new_source_is_heard_whatever_its_clock() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.receive(7, 5_000, &[1, 0, 0, 160]), Received::Pressed('1'));
        assert_eq!(receiver.receive(8, 4_000, &[1, 0, 0, 160]), Received::Pressed('1'));
    }

    #[test]
    fn what_is_no_key_is_ignored() {
        let mut receiver = Receiver::default();
        for payload in [&[][..], &[1, 0, 0], &[16, 0, 0, 160], &[255, 0, 0, 160]] {
            assert_eq!(receiver.receive(7, 0, payload), Received::Ignored, "{payload:?}");
        }
    }

    #[test]
    fn events_are_sent_and_heard_on_every_clock() {
        for clock_rate in [8_000, 16_000, 48_000] {
            let mut receiver = Receiver::new(clock_rate);
            let (mut timestamp, mut begun, mut heard, mut longest) = (0u32, 0, String::new(), 0);
            let mut sender = Sender::with_clock("19#", 100, 60, 20, clock_rate);
            loop {
                match sender.step() {
                    Step::Done => break,
                    Step::Pause => {}
                    Step::Event { first, payload } => {
                        begun = if first { timestamp } else { begun };
                        match receiver.receive(7, begun, &payload.to_bytes()) {
                            Received::Pressed(key) => heard.push(key),
                            Received::Continued { duration, .. } => longest = longest.max(duration),
                            Received::Ignored => panic!("{payload:?}"),
                        }
                    }
                }
                timestamp += clock_rate / 50;
            }
            assert_eq!((heard.as_str(), longest), ("19#", clock_rate / 10));
        }
        // 20 s back is another clock at 8 kHz, and at 48 kHz what is 3 s back is late.
        let mut receiver = Receiver::new(48_000);
        assert_eq!(receiver.receive(7, 200_000, &[1, 0x80, 0, 160]), Received::Pressed('1'));
        assert_eq!(receiver.receive(7, 50_000, &[2, 0x80, 0, 160]), Received::Ignored);
    }

    #[test]
    fn durations_are_rescaled_and_cut() {
        let event = |duration| Payload { code: 5, end: true, volume: 10, duration };
        let table = [
            (160, 8_000, 48_000, 960),
            (960, 48_000, 8_000, 160),
            (65_535, 48_000, 8_000, 10_923),
            (20_000, 8_000, 48_000, 65_535),
        ];
        for (duration, from, to, expected) in table {
            assert_eq!(event(duration).rescaled(from, to), event(expected));
        }
        let Step::Event { payload, .. } = Sender::with_clock("1", 8_000, 0, 20, 48_000).step() else {
            panic!("no event")
        };
        assert_eq!(payload.duration, 960);
    }

    fn steps(mut sender: Sender) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.last() != Some(&Step::Done) {
            steps.push(sender.step());
            assert!(steps.len() < 10_000);
        }
        steps
    }

    #[test]
    fn a_digit_grows_and_ends_three_times() {
        let event = |first, duration, end| Step::Event {
            first,
            payload: Payload { code: 5, end, volume: VOLUME, duration },
        };
        let end = event(false, 400, true);
        let expected = [event(true, 160, false), event(false, 320, false), end, end, end];
        let sent = steps(Sender::new("5", 50, 80, 20));
        assert_eq!(sent[..5], expected);
        assert_eq!(sent[5..], [Step::Pause, Step::Pause, Step::Done]);
    }

    #[test]
    fn what_is_sent_is_heard_and_a_comma_waits_a_second() {
        for interval in [10, 20, 30, 40, 60] {
            let (mut receiver, mut heard, mut begun, mut now) = (Receiver::default(), String::new(), 0, 77);
            for step in steps(Sender::new("12,2*#aD9x0", 100, 60, interval)) {
                if let Step::Event { first, payload } = step {
                    begun = if first { now } else { begun };
                    if let Received::Pressed(key) = receiver.receive(7, begun, &payload.to_bytes()) {
                        heard.push(key);
                    }
                }
                now += samples(interval.into());
            }
            assert_eq!(heard, "122*#AD90");
        }
        let pauses = steps(Sender::new(",", 100, 0, 20));
        assert_eq!(pauses.len(), 51);
    }

    #[test]
    fn codes_and_digits_belong_together() {
        for (place, key) in "0123456789*#ABCD".chars().enumerate() {
            assert_eq!(code(key).map(usize::from), Some(place));
            assert_eq!(digit(place as u8), Some(key));
        }
        assert_eq!((code('x'), code('é'), digit(16)), (None, None, None));
    }

    #[test]
    fn fmtp_says_which_keys_may_be_sent() {
        for good in ["0-15", "0-11", "0-9,10,11", " 0-15,66,70", "0-255"] {
            assert!(allows_keys(good), "{good}");
        }
        for bad in ["", "0-9", "1-15", "abc", "15-0", "0-300"] {
            assert!(!allows_keys(bad), "{bad}");
        }
    }

    #[test]
    fn a_tone_has_its_two_frequencies() {
        let mut sound = [0; 800];
        Tone::new(code('6').unwrap()).unwrap().fill(&mut sound);
        let power = |frequency: f64| {
            let part = |shift: f64| {
                let wave = |at: usize| (TAU * frequency * at as f64 / 8_000.0 + shift).sin();
                sound.iter().enumerate().map(|(at, &x)| f64::from(x) * wave(at)).sum::<f64>()
            };
            part(0.0).hypot(part(TAU / 4.0)) / 400.0
        };
        assert!((power(770.0) - LOW_LEVEL).abs() < 400.0);
        assert!((power(1477.0) - HIGH_LEVEL).abs() < 400.0);
        assert!(power(941.0) < 400.0 && power(1209.0) < 400.0);
    }

    proptest! {
        #[test]
        fn any_payloads_are_answered(packets in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..8)), 0..50)) {
            let mut receiver = Receiver::default();
            for (timestamp, payload) in packets {
                receiver.receive(timestamp % 2, timestamp, &payload);
            }
        }
    }
}
