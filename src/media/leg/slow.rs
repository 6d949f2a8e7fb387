//! What a leg does in the slow plane: its peer's packets are decoded for others, and what others say is encoded for it.

use std::sync::atomic::Ordering;

use model::media::Codec;
use rtp::{
    codec::{Decoder, SAMPLES_MAX, sample_rate},
    dtmf::{Detector, Tones as Heard},
    g711::Law,
    playout::Pushed,
    samples,
};

use super::{Content, Duration, Incoming, Instant, Leg, dtmf, voice};
use crate::ears::Ears;

/// A relayed event whose end was lost is over so long after its last packet.
const EVENT_MAX_AHEAD: Duration = Duration::from_millis(100);
/// Samples that wait for a frame at most: 60 ms and 20 ms at 16 kHz.
const WAITING_MAX: usize = 1_280;

/// A key of the other leg, sent on as an event.
#[derive(Debug)]
pub struct RelayedEvent {
    /// As the other leg's peer counts.
    timestamp: u32,
    ssrc: u32,
    /// As ours does.
    ours: u32,
    until: Instant,
}

/// What hears keys in the sound.
#[derive(Debug)]
pub struct Tones {
    codec: Codec,
    source: Source,
    detector: Detector,
}

#[derive(Debug)]
enum Source {
    /// Its decoder's memory is for concealment, and what was made up holds no key.
    Law(Law),
    Decoder(Decoder),
}

impl Tones {
    /// None: the codec is never decoded.
    pub fn new(codec: Codec) -> Option<Self> {
        let source = match voice::law(codec) {
            Some(law) => Source::Law(law),
            None => Source::Decoder(Decoder::new(codec).ok()?),
        };
        let detector = Detector::new(sample_rate(codec));
        Some(Self { codec, source, detector })
    }

    fn hear(&mut self, payload: &[u8]) -> Option<char> {
        let mut pressed = None;
        let mut tell = |heard| {
            if let Heard::Pressed(digit) = heard {
                pressed = Some(digit);
            }
        };
        match &mut self.source {
            Source::Law(law) => {
                let mut pcm = [0; samples(20) as usize];
                for octets in payload.chunks(pcm.len()) {
                    for (sample, &octet) in pcm.iter_mut().zip(octets) {
                        *sample = law.decode(octet);
                    }
                    self.detector.hear(&pcm[..octets.len()], &mut tell);
                }
            }
            Source::Decoder(decoder) => {
                let mut pcm = [0; SAMPLES_MAX];
                let length = decoder.decode(payload, &mut pcm).ok()?;
                self.detector.hear(&pcm[..length], &mut tell);
            }
        }
        pressed
    }
}

/// What was decoded before the ears that are open now.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Packets that came too late.
    pub late: u64,
    /// Sound that was made up.
    pub concealed_us: u64,
}

/// What is said to a leg's peer out of a mix.
#[derive(Debug)]
pub struct Said {
    pcm: Vec<i16>,
    rate: u32,
    /// When the next frame is due. None: it is joined on to what went before.
    at: Option<Instant>,
}

impl Leg {
    /// Decodes for others what an accepted packet says.
    pub fn listen(&mut self, incoming: &Incoming, payload: &[u8], now: Instant) {
        let Some(ears) = &mut self.ears else { return };
        match incoming.content {
            Content::Audio(codec) => {
                if ears.hear(codec, &incoming.header, payload, now) == Some(Pushed::Late) {
                    self.measure.discard(incoming.header.sequence);
                }
            }
            Content::Noise => ears.pause(&incoming.header, payload, now),
            Content::Key { .. } | Content::Nothing => {}
        }
    }

    /// Hears the key whose tones an accepted packet holds, where no events were agreed on (telephony 16).
    pub fn hear_tones(&mut self, incoming: &Incoming, payload: &[u8]) -> Option<char> {
        let Content::Audio(codec) = incoming.content else { return None };
        let tones = self.tones.as_mut()?;
        if incoming.begins || tones.codec != codec {
            **tones = Tones::new(codec)?;
        }
        tones.hear(payload)
    }

    /// Milliseconds made up so far, and the delay that is played out with now.
    pub(super) fn decoded(&self) -> (u64, Option<u32>) {
        let counts = self.ears.as_ref().map(|ears| ears.counts());
        let concealed_us = self.decoded.concealed_us + counts.map_or(0, |counts| counts.concealed_us);
        (concealed_us / 1_000, self.ears.as_ref().and_then(|ears| ears.delay_ms()))
    }

    /// Opens ears of this codec, at that rate where it leaves a choice, or closes them.
    pub fn set_ears(&mut self, codec: Option<Codec>, rate: u32) {
        let suit = |ears: &Ears| codec.is_some_and(|codec| ears.suit(codec));
        if self.ears.as_deref().is_some_and(suit) {
            return;
        }
        if let Some(ears) = self.ears.take() {
            let counts = ears.counts();
            self.tally.late.fetch_add(counts.late, Ordering::Relaxed);
            self.decoded.late += counts.late;
            self.decoded.concealed_us += counts.concealed_us;
        }
        self.ears = codec.and_then(|codec| Ears::new(codec, rate)).map(Box::new);
    }

    /// Sends on the key that the other leg's peer has pressed. Returns whether the clock is needed.
    pub fn relay_key(&mut self, incoming: &Incoming, payload: &[u8], now: Instant) -> bool {
        let Content::Key { code, received, clock } = incoming.content else { return false };
        let Some(parameters) = self.remote.as_ref().map(|remote| &remote.parameters) else { return false };
        if !parameters.direction.sends() {
            return false;
        }
        let Some(payload_type) = parameters.send_telephone_event else {
            return self.relay_as_tone(code, received, clock);
        };
        if self.wants_clock() {
            return false;
        }
        let (Ok(mut event), ours) = (dtmf::Payload::parse(payload), self.outgoing.clock()) else {
            return false;
        };
        let (ssrc, timestamp) = (incoming.header.ssrc, incoming.header.timestamp);
        let known = self.event.take_if(|event| (event.ssrc, event.timestamp) == (ssrc, timestamp));
        let first = known.is_none();
        let begun = known.map_or_else(|| self.outgoing.timestamp_at(now), |event| event.ours);
        let until = if event.end { now } else { now + EVENT_MAX_AHEAD };
        self.event = Some(RelayedEvent { timestamp, ssrc, ours: begun, until });
        let duration = voice::scaled(event.duration.into(), clock, ours);
        event.duration = u16::try_from(duration).unwrap_or(u16::MAX);
        let header = self.outgoing.relayed_event(payload_type, first, begun);
        self.send(header, &event.to_bytes(), now);
        false
    }

    /// Says 20 ms of a mix.
    pub fn speak(&mut self, said: &mut Said, pcm: &[i16], rate: u32, due: Instant) {
        let Some(frame) = self.remote.as_ref().map(|remote| remote.frame) else { return };
        // Prompts, digits, tones and events go before.
        if self.wants_clock() || self.event.as_ref().is_some_and(|event| due < event.until) {
            said.pcm.clear();
            said.at = None;
            return;
        }
        if said.rate != rate || said.pcm.len() + pcm.len() > WAITING_MAX {
            said.pcm.clear();
            said.rate = rate;
        }
        said.pcm.extend_from_slice(pcm);
        let length = (rate / 1_000) as usize * frame.as_millis() as usize;
        while said.pcm.len() >= length {
            let at = said.at.unwrap_or_else(|| {
                self.outgoing.resume(due);
                due
            });
            self.speak_frame(&said.pcm[..length], rate, at, frame);
            said.pcm.drain(..length);
            said.at = Some(at + frame);
        }
    }
}

impl Default for Said {
    fn default() -> Self {
        Self { pcm: Vec::with_capacity(WAITING_MAX), rate: 0, at: None }
    }
}
