//! Frames of samples become payloads and payloads become samples, whatever the codec is.
//!
//! G.711 ([`crate::g711`]), G.722 ([`crate::g722`]) and Opus (libopus, RFC 6716, RFC 7587). Sound is mono, 16 bits. An encoder or
//! decoder costs next to nothing until its first frame; after that G.711 keeps some 0.8 kB (for concealment), G.722 2 kB, and
//! Opus what libopus takes, some 20 kB a direction. No frame allocates but the first.

use model::media::{Codec, OpusParameters};

use crate::{conceal::Concealer, g711::Law, g722};

mod opus;

/// Samples that a payload can hold at most: 120 ms of Opus at 48 kHz.
pub const SAMPLES_MAX: usize = 5_760;
/// Octets that a frame of up to 60 ms is coded in at most, whatever the codec.
pub const PAYLOAD_MAX: usize = 1_276;
/// Samples a second that Opus is coded from and decoded to if nothing else is asked for: a third of the work of 48,000.
pub const OPUS_RATE: u32 = 16_000;

/// Why something cannot be coded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// It is passed on only.
    #[error("{0} is passed on, never coded or decoded")]
    NotDecoded(&'static str),
    /// The codec does not work at this rate.
    #[error("{codec} cannot be had at {sample_rate} Hz")]
    Rate {
        /// Which.
        codec: &'static str,
        /// What was asked for.
        sample_rate: u32,
    },
    /// No frame of this codec has so many samples.
    #[error("{codec} has no frame of {samples} samples at {sample_rate} Hz")]
    Frame {
        /// Which.
        codec: &'static str,
        /// In the frame given.
        samples: usize,
        /// Per second.
        sample_rate: u32,
    },
    /// The output is too short.
    #[error("output has room for {given}, and {needed} are needed")]
    Room {
        /// Samples or octets.
        needed: usize,
        /// Likewise.
        given: usize,
    },
    /// What the peer sent is no payload of this codec.
    #[error("payload of {octets} octets is not {codec}")]
    Payload {
        /// Which.
        codec: &'static str,
        /// Of the payload.
        octets: usize,
    },
    /// libopus has no memory, or is at odds with itself.
    #[error("libopus failed: {0}")]
    Library(&'static str),
}

/// Samples a second that a codec works with here: what [`Encoder::new`] takes and [`Decoder::new`] gives.
#[must_use]
pub const fn sample_rate(codec: Codec) -> u32 {
    match codec {
        Codec::Opus => OPUS_RATE,
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => codec.sample_rate(),
    }
}

/// Milliseconds that one packet holds where the peer asks for `ptime_ms`: Opus has no frames of 30 and 50 ms (RFC 6716 §2.1.4),
/// and gets the next shorter.
#[must_use]
pub const fn packet_ms(codec: Codec, ptime_ms: u16) -> u16 {
    let whole = match ptime_ms / 10 {
        0 => 1,
        tens if tens > 6 => 6,
        tens => tens,
    };
    match (codec, whole) {
        (Codec::Opus, 3 | 5) => (whole - 1) * 10,
        _ => whole * 10,
    }
}

/// How long a payload lasts, in the codec's RTP clock ([`Codec::clock_rate`]). None: it is no payload of this codec.
#[must_use]
pub fn duration(codec: Codec, payload: &[u8]) -> Option<u32> {
    match codec {
        // G.722's clock is half its sample rate (RFC 3551 §4.5.2), so that an octet is one tick of it, too.
        Codec::Pcmu | Codec::Pcma | Codec::G722 => {
            u32::try_from(payload.len()).ok().filter(|&octets| octets > 0)
        }
        Codec::Opus => opus::duration(payload),
        // Frames of 10 octets, and one of 2 for comfort noise at the end (RFC 3551 §4.5.6).
        Codec::G729 => {
            let frames = payload.len() / 10 + usize::from(payload.len() % 10 >= 2);
            u32::try_from(80 * frames).ok().filter(|&length| length > 0)
        }
    }
}

/// Codes one direction of one leg.
#[derive(Debug)]
pub struct Encoder {
    sample_rate: u32,
    coder: Coder,
}

#[derive(Debug)]
enum Coder {
    Law(Law),
    G722(Option<Box<g722::Encoder>>),
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder of [`sample_rate`].
    ///
    /// # Errors
    /// [`CodecError::NotDecoded`].
    pub fn new(codec: Codec, parameters: &OpusParameters) -> Result<Self, CodecError> {
        Self::with_rate(codec, parameters, sample_rate(codec))
    }

    /// An encoder that takes so many samples a second. Opus alone leaves a choice: 8,000, 12,000, 16,000, 24,000 or 48,000. What
    /// comes from G.711 is best coded at 8,000, which saves converting it.
    ///
    /// # Errors
    /// [`CodecError::NotDecoded`], [`CodecError::Rate`].
    pub fn with_rate(codec: Codec, parameters: &OpusParameters, rate: u32) -> Result<Self, CodecError> {
        check(codec, rate)?;
        let coder = match codec {
            Codec::Pcmu | Codec::Pcma => Coder::Law(codec.into()),
            Codec::G722 => Coder::G722(None),
            Codec::Opus => Coder::Opus(opus::Encoder::new(parameters, rate)),
            Codec::G729 => return Err(CodecError::NotDecoded(codec.name())),
        };
        Ok(Self { sample_rate: rate, coder })
    }

    /// Codes one packet's samples, and returns the octets written to `out` ([`PAYLOAD_MAX`] suffice). 0: nothing need be sent for
    /// this frame (Opus with DTX); timestamps go on nevertheless.
    ///
    /// # Errors
    /// [`CodecError::Frame`], [`CodecError::Room`], [`CodecError::Library`].
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        match &mut self.coder {
            Coder::Law(law) => {
                let given = out.len();
                let out = out.get_mut(..pcm.len()).ok_or(CodecError::Room { needed: pcm.len(), given })?;
                for (octet, sample) in out.iter_mut().zip(pcm) {
                    *octet = law.encode(*sample);
                }
                Ok(pcm.len())
            }
            Coder::G722(encoder) => {
                let needed = pcm.len() / 2;
                if pcm.len() % 2 == 1 {
                    let codec = Codec::G722.name();
                    return Err(CodecError::Frame {
                        codec,
                        samples: pcm.len(),
                        sample_rate: self.sample_rate,
                    });
                }
                if out.len() < needed {
                    return Err(CodecError::Room { needed, given: out.len() });
                }
                Ok(encoder.get_or_insert_default().encode(pcm, out))
            }
            Coder::Opus(encoder) => encoder.encode(pcm, out),
        }
    }

    /// Tells the share of packets that the peer loses, in percent, as its reports say: Opus spends more on forward error
    /// correction the more are lost, and none at 0. Others do not mind.
    pub fn expect_loss(&mut self, percent: u8) {
        if let Coder::Opus(encoder) = &mut self.coder {
            encoder.expect_loss(percent);
        }
    }

    /// Samples a second.
    #[must_use]
    pub const fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples of so many milliseconds.
    #[must_use]
    pub const fn frame(&self, milliseconds: u16) -> usize {
        (self.sample_rate / 1_000) as usize * milliseconds as usize
    }
}

/// Decodes one direction of one leg, and makes what was lost.
#[derive(Debug)]
pub struct Decoder {
    sample_rate: u32,
    state: Decoding,
}

#[derive(Debug)]
enum Decoding {
    Law(Law, Option<Concealer>),
    G722(Option<Box<(g722::Decoder, Concealer)>>),
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder of [`sample_rate`].
    ///
    /// # Errors
    /// [`CodecError::NotDecoded`].
    pub fn new(codec: Codec) -> Result<Self, CodecError> {
        Self::with_rate(codec, sample_rate(codec))
    }

    /// A decoder that gives so many samples a second, with the choice of [`Encoder::with_rate`].
    ///
    /// # Errors
    /// [`CodecError::NotDecoded`], [`CodecError::Rate`].
    pub fn with_rate(codec: Codec, rate: u32) -> Result<Self, CodecError> {
        check(codec, rate)?;
        let state = match codec {
            Codec::Pcmu | Codec::Pcma => Decoding::Law(codec.into(), None),
            Codec::G722 => Decoding::G722(None),
            Codec::Opus => Decoding::Opus(opus::Decoder::new(rate)),
            Codec::G729 => return Err(CodecError::NotDecoded(codec.name())),
        };
        Ok(Self { sample_rate: rate, state })
    }

    /// Decodes one payload and returns the samples written to `out` ([`SAMPLES_MAX`] suffice for Opus, two an octet for others).
    ///
    /// # Errors
    /// [`CodecError::Payload`], [`CodecError::Room`], [`CodecError::Library`]. The decoder stays usable: what could not be decoded
    /// is lost like a packet that never came.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let room = |needed: usize, out: &[i16]| match out.len() < needed {
            true => Err(CodecError::Room { needed, given: out.len() }),
            false => Ok(needed),
        };
        match &mut self.state {
            Decoding::Law(law, concealer) => {
                let length = room(payload.len(), out)?;
                for (sample, octet) in out.iter_mut().zip(payload) {
                    *sample = law.decode(*octet);
                }
                concealer.get_or_insert_with(|| Concealer::new(self.sample_rate)).heard(&mut out[..length]);
                Ok(length)
            }
            Decoding::G722(state) => {
                room(2 * payload.len(), out)?;
                let fresh = || Box::new((g722::Decoder::default(), Concealer::new(self.sample_rate)));
                let (decoder, concealer) = &mut **state.get_or_insert_with(fresh);
                let length = decoder.decode(payload, out);
                concealer.heard(&mut out[..length]);
                Ok(length)
            }
            Decoding::Opus(decoder) => decoder.decode(payload, out),
        }
    }

    /// Makes sound for packets that have not come, as long as `out`. Before the first packet it is silence.
    pub fn conceal(&mut self, out: &mut [i16]) {
        match &mut self.state {
            Decoding::Law(_, Some(concealer)) => concealer.conceal(out),
            Decoding::G722(Some(state)) => state.1.conceal(out),
            Decoding::Opus(decoder) => decoder.conceal(out),
            Decoding::Law(_, None) | Decoding::G722(None) => out.fill(0),
        }
    }

    /// Makes sound for the one packet before `next`, which has come: from what `next` tells of it (Opus's in-band forward error
    /// correction, RFC 6716 §2.1.7), else like [`Decoder::conceal`]. `next` itself is decoded afterwards.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) {
        match &mut self.state {
            Decoding::Opus(decoder) => decoder.recover(next, out),
            Decoding::Law(..) | Decoding::G722(_) => self.conceal(out),
        }
    }

    /// Whether [`Decoder::recover`] finds something in `next`, which only an Opus packet can hold.
    #[must_use]
    pub fn recovers(&self, next: &[u8]) -> bool {
        matches!(self.state, Decoding::Opus(_)) && opus::has_correction(next)
    }

    /// Samples a second.
    #[must_use]
    pub const fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples of so many milliseconds.
    #[must_use]
    pub const fn frame(&self, milliseconds: u16) -> usize {
        (self.sample_rate / 1_000) as usize * milliseconds as usize
    }
}

const fn check(codec: Codec, rate: u32) -> Result<(), CodecError> {
    let right = match codec {
        Codec::Opus => matches!(rate, 8_000 | 12_000 | 16_000 | 24_000 | 48_000),
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => rate == codec.sample_rate(),
    };
    if right { Ok(()) } else { Err(CodecError::Rate { codec: codec.name(), sample_rate: rate }) }
}

#[cfg(test)]
mod tests;
