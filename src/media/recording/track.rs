//! One voice of a recording: packets of any codec become samples in true time.
//!
//! A stream's first packet lies where it came; the others lie by their time-stamps against it, so that jitter is not
//! heard. One whose time-stamps leave its arrival by more than [`AHEAD_MAX`] or [`BEHIND_MAX`], because the peer's clock
//! differs or begins anew, is laid anew. A gap of up to [`CONCEALED_MAX`] between two packets is made up; any other is silence.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use model::media::Codec;
use rtp::{
    codec::{Decoder, SAMPLES_MAX},
    dtmf,
    resample::Stream,
};

/// Packets that wait for their time: more come only from a peer that sends too many.
const PACKETS_MAX: usize = 256;
/// How far time-stamps may be ahead of arrival, in milliseconds.
const AHEAD_MAX: u64 = 5_000;
/// How far they may be behind it.
const BEHIND_MAX: u64 = 1_000;
/// Longest gap that is made up, in milliseconds.
const CONCEALED_MAX: u64 = 60;
/// Sound before and after a key that may hold its beginning and end, in milliseconds.
const KEY_MARGIN: u64 = 40;
/// Keys whose sound is left out at the same time.
const MASKS_MAX: usize = 64;

/// One voice.
#[derive(Debug)]
pub struct Track {
    rate: u32,
    decoder: Option<(Codec, Decoder, Stream)>,
    anchor: Option<Anchor>,
    packets: BTreeMap<u64, (Codec, Vec<u8>)>,
    /// Decoded, from `begin` on.
    pcm: VecDeque<i16>,
    begin: u64,
    /// Where the last packet that was decoded ends.
    sounded_until: u64,
    masks: VecDeque<Range<u64>>,
    /// Packets that could not be decoded or came too late.
    lost: u64,
    /// Hears keys in the sound, up to a sample.
    tones: Option<(dtmf::Detector, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    timestamp: u32,
    place: u64,
    clock: u32,
}

impl Track {
    /// Nothing yet; `begin` is where it comes in.
    pub fn new(rate: u32, begin: u64) -> Self {
        Self {
            rate,
            decoder: None,
            anchor: None,
            packets: BTreeMap::new(),
            pcm: VecDeque::new(),
            begin,
            sounded_until: begin,
            masks: VecDeque::new(),
            lost: 0,
            tones: None,
        }
    }

    /// Takes a packet that came at a sample of the recording.
    pub fn packet(&mut self, timestamp: u32, codec: Codec, payload: &[u8], arrived: u64) {
        let Some(length) = rtp::codec::duration(codec, payload).filter(|_| codec.is_decoded()) else {
            self.lost += 1;
            return;
        };
        let clock = codec.clock_rate();
        let length = u64::from(length) * u64::from(self.rate) / u64::from(clock);
        let place = self.place(timestamp, clock, arrived);
        if place + length <= self.end() {
            // Late by itself, or the peer's clock has fallen behind.
            self.lost += 1;
            self.anchor = None;
        } else if self.packets.len() < PACKETS_MAX {
            self.packets.insert(place, (codec, payload.to_vec()));
        } else {
            self.lost += 1;
        }
    }

    /// Leaves out the sound of a key.
    pub fn key(&mut self, timestamp: u32, duration: u16, clock: u32, arrived: u64) {
        let margin = KEY_MARGIN * u64::from(self.rate) / 1_000;
        let begin = self.place(timestamp, clock, arrived);
        let end = begin + u64::from(duration) * u64::from(self.rate) / u64::from(clock.max(1));
        self.mask(begin.saturating_sub(margin)..end.max(begin) + margin);
    }

    fn mask(&mut self, mask: Range<u64>) {
        let room = self.masks.len() < MASKS_MAX;
        match self.masks.back_mut() {
            Some(last) if mask.start <= last.end && last.start <= mask.end => {
                *last = last.start.min(mask.start)..last.end.max(mask.end);
            }
            _ if room => self.masks.push_back(mask),
            _ => {}
        }
    }

    /// Looks for keys in the sound itself from `at` on, so far ahead that none begins unseen, and leaves them out.
    pub fn mask_tones(&mut self, at: u64, ahead: u32) {
        let end = at + u64::from(self.rate / 50 + ahead);
        self.decode_until(end);
        let (rate, begin) = (self.rate, self.begin);
        let (mut detector, heard) =
            self.tones.take().unwrap_or_else(|| (dtmf::Detector::watchful(rate), begin));
        let margin = KEY_MARGIN * u64::from(rate) / 1_000;
        for place in heard.max(begin)..self.end() {
            let mut pressed = false;
            let sample = self.pcm[(place - begin) as usize];
            detector.hear(&[sample], |tones| pressed |= matches!(tones, dtmf::Tones::Pressed(_)));
            if pressed {
                // It is told some 40 ms after its beginning.
                self.mask(place.saturating_sub(2 * margin)..place + margin);
            } else if detector.suspects() || detector.pressed().is_some() {
                self.mask(place..place + margin);
            }
        }
        self.tones = Some((detector, self.end()));
    }

    /// Fills a frame that begins at `at`, where the last one ended.
    pub fn fill(&mut self, at: u64, out: &mut [i16]) {
        let end = at + out.len() as u64;
        self.decode_until(end);
        out.fill(0);
        for (place, sample) in (at..).zip(out.iter_mut()) {
            if place < self.begin {
                continue;
            }
            let Some(next) = self.pcm.pop_front() else { break };
            self.begin += 1;
            *sample = next;
        }
        self.masks.retain(|mask| mask.end > at);
        for mask in &self.masks {
            let begin = mask.start.clamp(at, end) - at;
            let until = mask.end.clamp(at, end) - at;
            out[begin as usize..until as usize].fill(0);
        }
    }

    /// Where the last packet that has come ends.
    pub fn known_until(&self) -> u64 {
        let waiting = self.packets.last_key_value().and_then(|(place, (codec, payload))| {
            let length = rtp::codec::duration(*codec, payload)?;
            Some(place + u64::from(length) * u64::from(self.rate) / u64::from(codec.clock_rate()))
        });
        waiting.unwrap_or(0).max(self.end())
    }

    /// Packets that are not part of it.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn end(&self) -> u64 {
        self.begin + self.pcm.len() as u64
    }

    fn place(&mut self, timestamp: u32, clock: u32, arrived: u64) -> u64 {
        let known = self.anchor.filter(|anchor| anchor.clock == clock).and_then(|anchor| {
            let ahead = i64::from(timestamp.wrapping_sub(anchor.timestamp).cast_signed());
            let ahead = ahead * i64::from(self.rate) / i64::from(clock);
            anchor.place.checked_add_signed(ahead)
        });
        let samples = |ms: u64| ms * u64::from(self.rate) / 1_000;
        let bounds = arrived.saturating_sub(samples(BEHIND_MAX))..=arrived + samples(AHEAD_MAX);
        let place = known.filter(|place| bounds.contains(place));
        let place = place.unwrap_or_else(|| arrived.max(self.end()));
        if self.anchor.is_none_or(|anchor| place >= anchor.place || anchor.clock != clock) {
            self.anchor = Some(Anchor { timestamp, place, clock });
        }
        place
    }

    fn decode_until(&mut self, target: u64) {
        while self.end() < target {
            let end = self.end();
            let Some((&place, _)) = self.packets.first_key_value() else {
                self.silence(target - end);
                return;
            };
            if place > end {
                self.bridge(place, target);
            } else if let Some((place, (codec, payload))) = self.packets.pop_first() {
                self.decode(codec, &payload, end - place);
            }
        }
    }

    /// Fills the gap before the next packet, or as much of it as is wanted.
    fn bridge(&mut self, next: u64, wanted: u64) {
        let length = next.min(wanted) - self.end();
        let short = next - self.sounded_until.min(next) <= CONCEALED_MAX * u64::from(self.rate) / 1_000;
        let before = self.end();
        if let Some((_, decoder, stream)) = self.decoder.as_mut().filter(|_| short) {
            let own = length * u64::from(decoder.sample_rate()) / u64::from(self.rate);
            let mut pcm = [0; SAMPLES_MAX];
            let made = &mut pcm[..(own as usize).min(SAMPLES_MAX)];
            decoder.conceal(made);
            append(&mut self.pcm, stream, made, 0);
        }
        self.silence(length.saturating_sub(self.end() - before));
    }

    fn silence(&mut self, length: u64) {
        self.pcm.extend(std::iter::repeat_n(0, length as usize));
    }

    /// Decodes a payload whose first `skip` samples are there already.
    fn decode(&mut self, codec: Codec, payload: &[u8], skip: u64) {
        if self.decoder.as_ref().is_none_or(|(known, ..)| *known != codec) {
            let rate = if codec == Codec::Opus { self.rate } else { codec.sample_rate() };
            let stream = Stream::new(rate, self.rate).ok();
            self.decoder = Decoder::with_rate(codec, rate)
                .ok()
                .zip(stream)
                .map(|(decoder, stream)| (codec, decoder, stream));
        }
        let mut pcm = [0; SAMPLES_MAX];
        let Some((_, decoder, stream)) = &mut self.decoder else { return };
        match decoder.decode(payload, &mut pcm) {
            Ok(length) => append(&mut self.pcm, stream, &pcm[..length], skip),
            Err(_) => self.lost += 1,
        }
        self.sounded_until = self.end();
    }
}

fn append(to: &mut VecDeque<i16>, stream: &mut Stream, pcm: &[i16], skip: u64) {
    let mut converted = [0; 2 * SAMPLES_MAX];
    let length = stream.process(pcm, &mut converted);
    to.extend(converted[..length].iter().skip(skip as usize));
}

#[cfg(test)]
mod tests {
    use rtp::g711::Law;

    use super::*;

    const CODEC: Codec = Codec::Pcmu;

    fn octets(value: i16) -> Vec<u8> {
        vec![Law::Mu.encode(value); 160]
    }

    /// Value of each 20 ms, rounded to thousands.
    fn heard(track: &mut Track, frames: u64) -> Vec<i16> {
        let value = |at| {
            let mut frame = [0; 160];
            track.fill(at * 160, &mut frame);
            (f32::from(frame[100]) / 1_000.0).round() as i16
        };
        (0..frames).map(value).collect()
    }

    #[test]
    fn packets_lie_by_their_time_stamps_in_whatever_order_they_come() {
        let mut track = Track::new(8_000, 0);
        for (place, arrived) in [(0, 320), (2, 650), (1, 660), (1, 670), (3, 900)] {
            track.packet(1_000 + place * 160, CODEC, &octets(1_000 * (place as i16 + 1)), arrived);
        }
        assert_eq!(heard(&mut track, 8), [0, 0, 1, 2, 3, 4, 0, 0]);
        assert_eq!(track.lost(), 0);
    }

    #[test]
    fn a_short_gap_is_made_up_and_a_long_one_silent() {
        let mut track = Track::new(8_000, 0);
        for place in [0, 1, 3, 13] {
            track.packet(place * 160, CODEC, &octets(4_000), u64::from(place) * 160);
        }
        let heard = heard(&mut track, 14);
        assert!(heard[2] != 0, "{heard:?}");
        assert_eq!((&heard[..2], heard[3], &heard[5..13], heard[13]), (&[4, 4][..], 4, &[0; 8][..], 4));
    }

    #[test]
    fn a_clock_that_begins_anew_or_drifts_is_laid_anew() {
        let mut track = Track::new(8_000, 0);
        track.packet(0, CODEC, &octets(1_000), 0);
        track.packet(3_000_000_000, CODEC, &octets(2_000), 800);
        track.packet(3_000_000_160, CODEC, &octets(3_000), 960);
        track.packet(7, CODEC, &octets(4_000), 1_920);
        assert_eq!(heard(&mut track, 13), [1, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 4]);
    }

    #[test]
    fn what_is_late_is_lost_and_what_follows_is_heard_again() {
        let mut track = Track::new(8_000, 0);
        track.packet(0, CODEC, &octets(1_000), 0);
        assert_eq!(heard(&mut track, 2), [1, 0]);
        track.packet(160, CODEC, &octets(2_000), 170);
        track.packet(320, CODEC, &octets(3_000), 330);
        let mut frame = [0; 160];
        track.fill(320, &mut frame);
        assert!((2_500..3_500).contains(&frame[100]), "{}", frame[100]);
        assert_eq!(track.lost(), 1);
    }

    #[test]
    fn a_key_is_silence_with_its_margins() {
        let mut track = Track::new(8_000, 0);
        for place in 0..10 {
            track.packet(place * 160, CODEC, &octets(1_000), u64::from(place) * 160);
        }
        track.key(640, 160, 8_000, 640);
        track.key(640, 320, 8_000, 800);
        // From 40 ms before 80 ms to 40 ms after 120 ms.
        assert_eq!(heard(&mut track, 10), [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn every_codec_keeps_its_time_at_both_rates() {
        for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
            for rate in [8_000, 16_000] {
                let mut encoder = rtp::codec::Encoder::new(codec, &Default::default()).unwrap();
                let own = encoder.sample_rate();
                let mut track = Track::new(rate, 0);
                for frame in 0..50u32 {
                    let sample = |at: u32| {
                        let at = f64::from(frame * own / 50 + at) / f64::from(own);
                        ((at * 440.0 * std::f64::consts::TAU).sin() * 8_000.0) as i16
                    };
                    let pcm: Vec<i16> = (0..own / 50).map(sample).collect();
                    let mut payload = [0; rtp::codec::PAYLOAD_MAX];
                    let length = encoder.encode(&pcm, &mut payload).unwrap();
                    let arrived = u64::from(frame) * u64::from(rate) / 50;
                    track.packet(frame * codec.clock_rate() / 50, codec, &payload[..length], arrived);
                }
                let mut sound = vec![0; rate as usize];
                track.fill(0, &mut sound);
                let level = |part: &[i16]| {
                    let power: f64 = part.iter().map(|&sample| f64::from(sample).powi(2)).sum();
                    (power / part.len() as f64).sqrt()
                };
                for part in sound[rate as usize / 5..].chunks_exact(rate as usize / 25) {
                    assert!((3_500.0..8_000.0).contains(&level(part)), "{codec:?} {rate} {}", level(part));
                }
            }
        }
    }
}
