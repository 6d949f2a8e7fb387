//! What one leg's peer says, decoded, in even steps: where packets end and the slow plane begins.
//!
//! Packets are decoded as they come and lie in a ring by their time (`rtp::jitter`), whose delay adapts. What is missing
//! between two packets is made up as soon as the later one shows it, which is in time since the ring is read later. Sound
//! begins with the first packet's, not with the delay: whoever heard the leg by relaying before hears the next sample.

use std::time::Instant;

use model::media::Codec;
use rtp::{
    codec::{Decoder, SAMPLES_MAX},
    jitter::JitterBuffer,
    packet::{Header, sequence_distance, timestamp_distance},
};

use crate::rates::Rates;

/// Bounds of the delay in milliseconds.
const DELAY_MS: (u32, u32) = (40, 200);
/// Packets lost in a row that are made up; after that silence is what a hearer expects.
const CONCEALED_MAX: i16 = 4;
/// A time-stamp so far off, in seconds, is of another clock.
const JUMP_MAX: u32 = 2;

/// The decoder of one leg.
#[derive(Debug)]
pub struct Ears {
    codec: Codec,
    decoder: Decoder,
    buffer: JitterBuffer,
    rates: Rates,
    newest: Option<Newest>,
    /// Samples of delay that are still to be skipped at the beginning.
    lead: u32,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Its samples in the ring: the first, and the one after the last.
    place: u32,
    end: u32,
}

impl Ears {
    /// For a codec, at 8 or 16 kHz where the codec leaves a choice. None: it is never decoded.
    pub fn new(codec: Codec, rate: u32) -> Option<Self> {
        let decoder = match codec {
            Codec::Opus => Decoder::with_rate(codec, rate),
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => Decoder::new(codec),
        };
        let decoder = decoder.ok()?;
        let buffer = buffer(decoder.sample_rate());
        Some(Self { codec, decoder, buffer, rates: Rates::default(), newest: None, lead: 0 })
    }

    /// Whether they are for this codec.
    pub fn suit(&self, codec: Codec) -> bool {
        self.codec == codec
    }

    /// Takes a packet.
    pub fn hear(&mut self, codec: Codec, header: &Header, payload: &[u8], _now: Instant) {
        if codec != self.codec {
            return;
        }
        let rate = self.decoder.sample_rate();
        let known = self.newest.filter(|newest| newest.ssrc == header.ssrc);
        let ahead = known.map(|newest| timestamp_distance(newest.timestamp, header.timestamp));
        let jump = (JUMP_MAX * self.codec.clock_rate()).cast_signed();
        let (Some(newest), Some(ahead)) = (known, ahead.filter(|ahead| (-jump..jump).contains(ahead))) else {
            return self.begin(header, payload);
        };
        let step = i64::from(ahead) * i64::from(rate) / i64::from(self.codec.clock_rate());
        let place = newest.place.wrapping_add_signed(step as i32);
        let packets = sequence_distance(newest.sequence, header.sequence);
        if packets <= 0 {
            // Only G.711 can be decoded out of its order.
            if packets < 0 && crate::voice::law(self.codec).is_some() {
                self.decode(place, payload);
            }
            return;
        }
        if (2..=CONCEALED_MAX + 1).contains(&packets) {
            self.make_up(newest.end, place, payload);
        }
        let end = self.decode(place, payload);
        let (ssrc, sequence, timestamp) = (header.ssrc, header.sequence, header.timestamp);
        self.newest = Some(Newest { ssrc, sequence, timestamp, place, end });
    }

    /// A pause begins, of which comfort noise tells.
    pub fn pause(&mut self, header: &Header) {
        // Its packet is not lost.
        if let Some(newest) = self.newest.as_mut().filter(|newest| newest.ssrc == header.ssrc)
            && sequence_distance(newest.sequence, header.sequence) == 1
        {
            newest.sequence = header.sequence;
        }
    }

    /// Fills `out` with what comes next, at that rate. `false`: nothing has come yet.
    pub fn pull(&mut self, out: &mut [i16], rate: u32) -> bool {
        if self.newest.is_none() {
            return false;
        }
        let own = self.decoder.sample_rate();
        let length = out.len() * own as usize / rate as usize;
        let mut pcm = [0; 320];
        let pcm = &mut pcm[..length.min(320)];
        self.buffer.pull(pcm);
        if self.lead > 0 {
            self.lead = self.lead.saturating_sub(pcm.len() as u32);
            return false;
        }
        let mut converted = [0; 640];
        if let Some(sound) = self.rates.convert(pcm, own, rate, &mut converted)
            && sound.len() == out.len()
        {
            out.copy_from_slice(sound);
            return true;
        }
        false
    }

    /// Milliseconds that have come and were not pulled yet.
    pub fn pending_ms(&self) -> u32 {
        if self.newest.is_none() { 0 } else { self.buffer.pending() / (self.decoder.sample_rate() / 1_000) }
    }

    /// Lets the first sound come without delay, since nothing follows that it would have to be even with.
    pub fn hurry(&mut self) {
        let mut skipped = [0; 160];
        while self.lead > 0 {
            let length = (self.lead as usize).min(skipped.len());
            self.buffer.pull(&mut skipped[..length]);
            self.lead -= length as u32;
        }
    }

    /// Packets that came too late.
    pub const fn late(&self) -> u64 {
        self.buffer.late()
    }

    fn begin(&mut self, header: &Header, payload: &[u8]) {
        let first = self.newest.is_none();
        let (ssrc, sequence, timestamp) = (header.ssrc, header.sequence, header.timestamp);
        self.buffer = buffer(self.decoder.sample_rate());
        let end = self.decode(0, payload);
        self.lead = if first { self.buffer.delay() } else { 0 };
        self.newest = Some(Newest { ssrc, sequence, timestamp, place: 0, end });
    }

    /// Decodes a payload whose first sample has that place. Returns the place after its last.
    fn decode(&mut self, place: u32, payload: &[u8]) -> u32 {
        let mut pcm = [0; SAMPLES_MAX];
        match self.decoder.decode(payload, &mut pcm) {
            Ok(length) => {
                self.buffer.push(place, pcm[..length].iter().copied());
                place.wrapping_add(length as u32)
            }
            Err(error) => {
                tracing::trace!(%error, "payload not decoded");
                place
            }
        }
    }

    /// Makes up what is missing between two packets.
    fn make_up(&mut self, from: u32, to: u32, next: &[u8]) {
        let missing = timestamp_distance(from, to);
        let longest = i64::from(self.decoder.sample_rate() / 1_000) * 60 * i64::from(CONCEALED_MAX);
        let Ok(missing) = usize::try_from(missing) else { return };
        if missing as i64 > longest.min(SAMPLES_MAX as i64) {
            return;
        }
        let mut pcm = [0; SAMPLES_MAX];
        // In frames of 20 ms, the last of which the next packet may tell about.
        let frame = self.decoder.frame(20);
        let mut rest = &mut pcm[..missing];
        while rest.len() > frame {
            let (chunk, more) = rest.split_at_mut(frame);
            self.decoder.conceal(chunk);
            rest = more;
        }
        self.decoder.recover(next, rest);
        self.buffer.push(from, pcm[..missing].iter().copied());
    }
}

fn buffer(rate: u32) -> JitterBuffer {
    // The ring counts in samples of 8 kHz.
    let scale = rate / rtp::CLOCK_RATE;
    JitterBuffer::new(DELAY_MS.0 * scale, DELAY_MS.1 * scale)
}
