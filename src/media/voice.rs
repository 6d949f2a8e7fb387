//! What a leg's codec needs besides relaying: its frames, its silence, and an encoder where one is needed.

use std::time::Duration;

use model::media::{Codec, MediaParameters, OpusParameters};
use rtp::{
    codec::{self, Encoder},
    g711::Law,
};

use crate::rates::Rates;

pub use rtp::codec::PAYLOAD_MAX;

/// Samples of a frame at most: 60 ms at 48 kHz.
const SAMPLES_MAX: usize = 2_880;
/// An Opus packet that says nothing for 20 ms: SILK, narrow band, one frame of no octets (RFC 6716 §3.1, §3.2.1).
const OPUS_SILENCE: [u8; 1] = [0x08];
/// A silence insertion descriptor of G.729 (Annex B): no sound, at the lowest level.
const G729_SILENCE: [u8; 2] = [0; 2];
/// G.722's code word for the middle of both bands.
const G722_SILENCE: u8 = 0xfa;

/// What encodes for one leg.
#[derive(Debug)]
pub struct Voice {
    encoder: Encoder,
    made_for: (Codec, Option<OpusParameters>),
    rates: Rates,
}

impl Voice {
    /// For a leg that sound of `rate` samples a second is said to. None: its codec is passed on only.
    pub fn new(parameters: &MediaParameters, rate: u32) -> Option<Self> {
        Self::of(parameters.codec, parameters.opus, rate)
    }

    /// The same for a codec by itself.
    pub fn of(codec: Codec, opus: Option<OpusParameters>, rate: u32) -> Option<Self> {
        // Only Opus leaves a choice, and takes what there is.
        let rate = if codec == Codec::Opus { rate } else { codec::sample_rate(codec) };
        let encoder = Encoder::with_rate(codec, &opus.unwrap_or_default(), rate).ok()?;
        Some(Self { encoder, made_for: (codec, opus), rates: Rates::default() })
    }

    /// Whether it goes on under these parameters.
    pub fn suits(&self, parameters: &MediaParameters) -> bool {
        self.made_for == (parameters.codec, parameters.opus)
    }

    /// Encodes a frame. Returns the octets written; 0 if nothing need be sent, or it is no frame of this codec.
    pub fn encode(&mut self, pcm: &[i16], rate: u32, out: &mut [u8; PAYLOAD_MAX]) -> usize {
        let mut converted = [0; SAMPLES_MAX];
        let Some(pcm) = self.rates.convert(pcm, rate, self.encoder.sample_rate(), &mut converted) else {
            return 0;
        };
        self.encoder
            .encode(pcm, out)
            .inspect_err(|error| tracing::debug!(%error, "a frame is not encoded"))
            .unwrap_or(0)
    }

    /// What its peer loses, in percent.
    pub fn expect_loss(&mut self, percent: u8) {
        self.encoder.expect_loss(percent);
    }
}

/// The law of a codec that is G.711.
pub const fn law(codec: Codec) -> Option<Law> {
    match codec {
        Codec::Pcmu => Some(Law::Mu),
        Codec::Pcma => Some(Law::A),
        Codec::G722 | Codec::Opus | Codec::G729 => None,
    }
}

/// Whether one codec's payloads become the other's without decoding.
pub const fn relayable(from: Codec, to: Codec) -> bool {
    matches!(
        (from, to),
        (Codec::Pcmu | Codec::Pcma, Codec::Pcmu | Codec::Pcma)
            | (Codec::G722, Codec::G722)
            | (Codec::Opus, Codec::Opus)
            | (Codec::G729, Codec::G729)
    )
}

/// How long the packets that we send are: 10 to 60 ms in whole tens, whatever was signalled.
pub fn frame(codec: Codec, ptime_ms: u16) -> Duration {
    Duration::from_millis(codec::packet_ms(codec, ptime_ms).into())
}

/// How long a payload lasts, in its codec's RTP clock; 0 if it is none.
pub fn duration(codec: Codec, payload: &[u8]) -> u32 {
    codec::duration(codec, payload).unwrap_or(0)
}

/// Writes a frame of silence, and returns its octets.
pub fn silence(codec: Codec, frame: Duration, out: &mut [u8; PAYLOAD_MAX]) -> usize {
    let octets = 8 * frame.as_millis() as usize;
    match codec {
        Codec::Pcmu | Codec::Pcma => out[..octets].fill(Law::from(codec).silence()),
        Codec::G722 => out[..octets].fill(G722_SILENCE),
        Codec::Opus => {
            out[..OPUS_SILENCE.len()].copy_from_slice(&OPUS_SILENCE);
            return OPUS_SILENCE.len();
        }
        Codec::G729 => {
            out[..G729_SILENCE.len()].copy_from_slice(&G729_SILENCE);
            return G729_SILENCE.len();
        }
    }
    octets
}

/// A span of one clock in units of another.
pub const fn scaled(span: u32, from: u32, to: u32) -> u32 {
    (span as u64 * to as u64 / if from == 0 { 1 } else { from as u64 }) as u32
}
