//! Prompts in the codecs that remember what they have coded (G.722, Opus): coded once, in whole packets of 20 ms, by a thread of
//! their own, and then copied to every leg that hears them. Until a prompt is ready, legs code it for themselves.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use model::media::{Codec, MediaParameters, OpusParameters};
use rtp::{CLOCK_RATE, codec};

use crate::voice::{PAYLOAD_MAX, Voice};

/// Samples of a packet at 8 kHz: 20 ms, the only length that Opus and nearly every peer share.
pub const PACKET: usize = (CLOCK_RATE / 50) as usize;

/// Bits a second that Opus is coded with: what speech of 8 kHz needs (RFC 7587 §3.1.1).
const OPUS_BITRATE: u32 = 16_000;

/// What packets are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// G.722.
    G722,
    /// Opus of a narrow band, for whoever takes as many bits.
    Opus {
        /// With what corrects the loss of the packet before.
        corrects: bool,
    },
}

impl Form {
    /// What a leg takes of prompts. None: it codes for itself, or its codec remembers nothing.
    pub fn of(parameters: &MediaParameters) -> Option<Self> {
        if codec::packet_ms(parameters.codec, parameters.ptime_ms) != 20 {
            return None;
        }
        match parameters.codec {
            Codec::G722 => Some(Self::G722),
            Codec::Opus => {
                let opus = parameters.opus.unwrap_or_default();
                let takes = opus.max_bitrate.is_none_or(|most| most >= OPUS_BITRATE);
                takes.then_some(Self::Opus { corrects: opus.in_band_fec })
            }
            Codec::Pcmu | Codec::Pcma | Codec::G729 => None,
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::G722 => 0,
            Self::Opus { corrects: false } => 1,
            Self::Opus { corrects: true } => 2,
        }
    }

    fn voice(self) -> Option<Voice> {
        match self {
            Self::G722 => Voice::of(Codec::G722, None, CLOCK_RATE),
            Self::Opus { corrects } => {
                let parameters = OpusParameters { in_band_fec: corrects, ..OpusParameters::default() };
                Voice::of(Codec::Opus, Some(parameters), CLOCK_RATE)
            }
        }
    }
}

/// The packets of one prompt, in as many forms as were wanted.
#[derive(Default)]
pub struct Forms {
    made: [OnceLock<Packets>; 3],
    wanted: [AtomicBool; 3],
}

/// Payloads one after another; the last one ends in silence.
#[derive(Default)]
pub struct Packets {
    octets: Box<[u8]>,
    ends: Box<[u32]>,
}

impl Forms {
    /// Whether a form is wanted for the first time, and so must be made.
    pub fn want(&self, form: Form) -> bool {
        !self.wanted[form.place()].swap(true, Ordering::Relaxed)
    }

    /// It could not be asked for: the next one who wants it asks again.
    pub fn forget(&self, form: Form) {
        self.wanted[form.place()].store(false, Ordering::Relaxed);
    }

    /// Makes a form of these samples at 8 kHz.
    pub fn make(&self, form: Form, pcm: &[i16]) {
        self.made[form.place()].get_or_init(|| Packets::of(form, pcm));
    }

    /// The payload that begins with a sample. None: there is none yet, or none begins there.
    pub fn payload(&self, form: Form, at: usize) -> Option<&[u8]> {
        let packets = self.made[form.place()].get()?;
        at.is_multiple_of(PACKET).then(|| packets.get(at / PACKET)).flatten()
    }
}

impl Packets {
    fn of(form: Form, pcm: &[i16]) -> Self {
        let Some(mut voice) = form.voice() else { return Self::default() };
        let count = pcm.len().div_ceil(PACKET);
        let (mut octets, mut ends) = (Vec::with_capacity(count * 40), Vec::with_capacity(count));
        let (mut frame, mut payload) = ([0; PACKET], [0; PAYLOAD_MAX]);
        for samples in pcm.chunks(PACKET) {
            frame[..samples.len()].copy_from_slice(samples);
            frame[samples.len()..].fill(0);
            let length = voice.encode(&frame, CLOCK_RATE, &mut payload);
            octets.extend_from_slice(&payload[..length]);
            // An hour of G.722 has 29 million octets.
            ends.push(octets.len() as u32);
        }
        Self { octets: octets.into(), ends: ends.into() }
    }

    /// None: it has no such packet, or one that could not be coded.
    fn get(&self, packet: usize) -> Option<&[u8]> {
        let begin = packet.checked_sub(1).map_or(Some(0), |last| self.ends.get(last).copied())?;
        let payload = self.octets.get(begin as usize..*self.ends.get(packet)? as usize)?;
        (!payload.is_empty()).then_some(payload)
    }
}

#[cfg(test)]
mod tests {
    use model::media::Direction;
    use rtp::codec::Decoder;

    use super::*;

    /// Half a second and a bit of a tone.
    fn pcm() -> Vec<i16> {
        (0..4_100).map(|n| ((n as f64 * 0.3).sin() * 9_000.0) as i16).collect()
    }

    #[test]
    fn a_prompt_is_coded_once_in_whole_packets_that_a_peer_can_decode() {
        let pcm = pcm();
        for (form, codec) in [
            (Form::G722, Codec::G722),
            (Form::Opus { corrects: false }, Codec::Opus),
            (Form::Opus { corrects: true }, Codec::Opus),
        ] {
            let forms = Forms::default();
            assert_eq!((forms.want(form), forms.want(form)), (true, false), "{form:?}");
            assert!(forms.payload(form, 0).is_none());
            forms.make(form, &pcm);
            let rate = codec::sample_rate(codec);
            let mut decoder = Decoder::new(codec).unwrap();
            let mut heard = Vec::new();
            for packet in 0..26 {
                let payload = forms.payload(form, packet * PACKET).unwrap();
                assert_eq!(codec::duration(codec, payload), Some(codec.clock_rate() / 50), "{form:?}");
                let mut samples = [0; codec::SAMPLES_MAX];
                let length = decoder.decode(payload, &mut samples).unwrap();
                heard.extend_from_slice(&samples[..length]);
            }
            assert!(forms.payload(form, 26 * PACKET).is_none() && forms.payload(form, 80).is_none());
            assert_eq!(heard.len(), 26 * (rate / 50) as usize);
            let level = |part: &[i16]| {
                let sum: f64 = part.iter().map(|&sample| f64::from(sample).powi(2)).sum();
                (sum / part.len() as f64).sqrt()
            };
            let middle = level(&heard[heard.len() / 4..heard.len() / 2]);
            assert!((4_500.0..8_500.0).contains(&middle), "{form:?}: {middle}");
        }
    }

    #[test]
    fn a_leg_takes_what_its_peer_can() {
        let parameters = |codec: Codec, ptime_ms, opus| MediaParameters {
            codec,
            send_payload_type: codec.payload_type(),
            receive_payload_type: codec.payload_type(),
            send_telephone_event: None,
            receive_telephone_event: None,
            remote_rtp: "192.0.2.1:4000".parse().unwrap(),
            remote_rtcp: "192.0.2.1:4001".parse().unwrap(),
            ptime_ms,
            direction: Direction::SendRecv,
            comfort_noise: None,
            rtcp_mux: false,
            srtp: None,
            opus,
            peer_first: false,
        };
        let opus = |max_bitrate, in_band_fec| {
            Some(OpusParameters { max_bitrate, in_band_fec, ..OpusParameters::default() })
        };
        for (given, wanted) in [
            (parameters(Codec::G722, 20, None), Some(Form::G722)),
            (parameters(Codec::G722, 30, None), None),
            (parameters(Codec::Opus, 20, None), Some(Form::Opus { corrects: false })),
            (parameters(Codec::Opus, 20, opus(Some(20_000), true)), Some(Form::Opus { corrects: true })),
            (parameters(Codec::Opus, 20, opus(Some(8_000), true)), None),
            (parameters(Codec::Opus, 60, None), None),
            (parameters(Codec::Pcma, 20, None), None),
        ] {
            assert_eq!(Form::of(&given), wanted, "{given:?}");
        }
    }
}
