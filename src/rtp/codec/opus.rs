//! Opus by libopus (RFC 6716), set up for telephone speech (RFC 7587).

use ::opus::{Application, Bandwidth, Bitrate, Channels, ErrorCode, Signal};
use model::media::{Codec, OpusParameters};

use super::CodecError;

/// Of libopus's 0 to 10: above it the ear hardly gains, and 10 costs twice as much.
const COMPLEXITY: i32 = 5;
/// Loss in percent that error correction is set up for until reports say better; at 0 libopus would send none.
const LOSS_EXPECTED: u8 = 5;
/// What `maxaveragebitrate` may be, in bit/s (RFC 7587 §6.1).
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;
/// Octets of a packet that says no more than that nothing is said.
const DTX_OCTETS: usize = 2;

#[derive(Debug)]
pub(super) struct Encoder {
    parameters: OpusParameters,
    sample_rate: u32,
    loss: u8,
    made: Option<::opus::Encoder>,
}

#[derive(Debug)]
pub(super) struct Decoder {
    sample_rate: u32,
    made: Option<::opus::Decoder>,
}

/// In ticks of 48 kHz.
pub(super) fn duration(payload: &[u8]) -> Option<u32> {
    if payload.is_empty() {
        return None;
    }
    let samples = ::opus::packet::get_nb_samples(payload, Codec::Opus.clock_rate()).ok()?;
    u32::try_from(samples).ok().filter(|&samples| samples > 0)
}

/// Whether a packet's first frame holds what corrects a loss before it: SILK's and hybrid frames say so in a bit after those of
/// voice activity, one for each 20 ms (RFC 6716 §4.2.3).
pub(super) fn has_correction(payload: &[u8]) -> bool {
    let Some((&toc, rest)) = payload.split_first() else { return false };
    let configuration = toc >> 3;
    let frames_of_silk = match configuration {
        16.. => return false,
        12..=15 => 1,
        _ => [1, 1, 2, 3][usize::from(configuration % 4)],
    };
    // With one frame in the packet (code 0) it begins at once; others have lengths before it.
    if toc & 3 != 0 {
        return false;
    }
    rest.first().is_some_and(|&first| first >> (7 - frames_of_silk) & 1 == 1)
}

impl Encoder {
    pub(super) const fn new(parameters: &OpusParameters, sample_rate: u32) -> Self {
        Self { parameters: *parameters, sample_rate, loss: LOSS_EXPECTED, made: None }
    }

    pub(super) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        let (samples, sample_rate, given) = (pcm.len(), self.sample_rate, out.len());
        let error = |error: ::opus::Error| {
            let why = error.code();
            if why == ErrorCode::BadArg {
                CodecError::Frame { codec: Codec::Opus.name(), samples, sample_rate }
            } else if why == ErrorCode::BufferTooSmall {
                CodecError::Room { needed: super::PAYLOAD_MAX, given }
            } else {
                CodecError::Library(error.description())
            }
        };
        // libopus takes "no room at all" for a wrong frame.
        if given <= DTX_OCTETS {
            return Err(CodecError::Room { needed: super::PAYLOAD_MAX, given });
        }
        if self.made.is_none() {
            self.made = Some(self.make().map_err(|error| CodecError::Library(error.description()))?);
        }
        let Some(encoder) = &mut self.made else { return Err(CodecError::Library("no encoder")) };
        // More room than a frame can need makes libopus write longer frames where the bit rate has no limit.
        let room = given.min(super::PAYLOAD_MAX);
        let length = encoder.encode(pcm, &mut out[..room]).map_err(error)?;
        let silent = self.parameters.dtx && length <= DTX_OCTETS;
        Ok(if silent { 0 } else { length })
    }

    pub(super) fn expect_loss(&mut self, percent: u8) {
        self.loss = percent.min(100);
        if let (true, Some(encoder)) = (self.parameters.in_band_fec, &mut self.made) {
            // It only refuses what is outside of 0 to 100.
            let _ = encoder.set_packet_loss_perc(i32::from(self.loss));
        }
    }

    fn make(&self) -> ::opus::Result<::opus::Encoder> {
        let parameters = &self.parameters;
        let mut encoder = ::opus::Encoder::new(self.sample_rate, Channels::Mono, Application::Voip)?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_signal(Signal::Voice)?;
        encoder.set_bitrate(Bitrate::Bits(self.bitrate()))?;
        encoder.set_max_bandwidth(bandwidth(parameters.max_playback_rate))?;
        encoder.set_inband_fec(parameters.in_band_fec)?;
        encoder.set_dtx(parameters.dtx)?;
        encoder.set_packet_loss_perc(if parameters.in_band_fec { i32::from(self.loss) } else { 0 })?;
        Ok(encoder)
    }

    /// RFC 7587 §3.1.1's middle for speech of each band, or less where the peer wants less.
    fn bitrate(&self) -> i32 {
        let suits = match self.sample_rate.min(self.parameters.max_playback_rate.max(8_000)) {
            ..=8_000 => 16_000,
            8_001..=16_000 => 24_000,
            _ => 32_000,
        };
        let most =
            self.parameters.max_bitrate.map_or(suits, |most| most.clamp(*BITRATES.start(), *BITRATES.end()));
        suits.min(most).cast_signed()
    }
}

/// RFC 7587 §6.1: what a receiver plays of each `maxplaybackrate`.
const fn bandwidth(max_playback_rate: u32) -> Bandwidth {
    match max_playback_rate {
        0..12_000 => Bandwidth::Narrowband,
        12_000..16_000 => Bandwidth::Mediumband,
        16_000..24_000 => Bandwidth::Wideband,
        24_000..48_000 => Bandwidth::Superwideband,
        48_000.. => Bandwidth::Fullband,
    }
}

impl Decoder {
    pub(super) const fn new(sample_rate: u32) -> Self {
        Self { sample_rate, made: None }
    }

    pub(super) fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let (octets, given) = (payload.len(), out.len());
        let not_opus = CodecError::Payload { codec: Codec::Opus.name(), octets };
        let needed = duration(payload).ok_or(not_opus)? as usize / (48_000 / self.sample_rate) as usize;
        if given < needed {
            return Err(CodecError::Room { needed, given });
        }
        if self.made.is_none() {
            let made = ::opus::Decoder::new(self.sample_rate, Channels::Mono);
            self.made = Some(made.map_err(|error| CodecError::Library(error.description()))?);
        }
        let Some(decoder) = &mut self.made else { return Err(CodecError::Library("no decoder")) };
        decoder.decode(payload, out, false).map_err(|error| {
            let peers = matches!(error.code(), ErrorCode::InvalidPacket | ErrorCode::BadArg);
            if peers { not_opus } else { CodecError::Library(error.description()) }
        })
    }

    pub(super) fn conceal(&mut self, out: &mut [i16]) {
        self.make_up(&[], out, false);
    }

    /// libopus looks for what belongs before `next` at the end of what is asked for, and conceals the rest.
    pub(super) fn recover(&mut self, next: &[u8], out: &mut [i16]) {
        self.make_up(next, out, !next.is_empty());
    }

    fn make_up(&mut self, next: &[u8], out: &mut [i16], correct: bool) {
        // In steps of 2.5 ms, and at most 120 ms at once.
        let step = self.sample_rate as usize / 400;
        for out in out.chunks_mut(48 * step) {
            let (whole, rest) = out.split_at_mut(out.len() - out.len() % step);
            let made = match &mut self.made {
                Some(decoder) if !whole.is_empty() => decoder.decode(next, whole, correct).unwrap_or(0),
                _ => 0,
            };
            whole.iter_mut().skip(made).for_each(|sample| *sample = 0);
            rest.fill(0);
        }
    }
}
