//! Codecs and what comes beside them: which are offered by which numbers, and which one is chosen of the peer's.

use model::media::{Codec, OpusParameters};

use super::{
    LocalMedia,
    parse::{Format, Media},
};

/// Payload types that have no meaning of their own (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// Of telephone-event in our offers, at 8,000 Hz and at 48,000 Hz.
const EVENTS: [(u32, u8); 2] = [(8_000, 101), (48_000, 110)];
/// Static payload type of comfort noise (RFC 3389 §4).
const COMFORT_NOISE: u8 = 13;
/// Of comfort noise and G.711's events.
const NARROW_BAND: u32 = 8_000;
/// What Opus can be told to average, in bit/s (RFC 7587 §6.1).
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;

/// Payload types of one description of ours.
#[derive(Debug, Default)]
pub struct Payloads {
    pub codecs: Vec<(u8, Codec)>,
    /// With clock rates.
    pub events: Vec<(u8, u32)>,
    pub comfort_noise: Option<u8>,
}

impl Payloads {
    /// What an offer has: the same for the same `local`, so that its answer can be read.
    pub fn offered(local: &LocalMedia) -> Self {
        let mut payloads = Self::default();
        let mut used = Vec::new();
        // Those that were agreed on keep their numbers, and others keep off them (RFC 3264 §8.3.2).
        let (codec, event) =
            local.agreed.map_or((None, None), |numbers| (Some(numbers.codec), numbers.telephone_event));
        let events = event.zip(codec).map(|(number, (codec, _))| (codec.clock_rate(), number));
        used.extend(codec.map(|(_, number)| number).into_iter().chain(event));
        let mut take = |kept: Option<u8>, usual: u8| {
            let free = |used: &[u8]| {
                let mut all = std::iter::once(usual).chain(DYNAMIC);
                all.find(|number| !used.contains(number)).unwrap_or(usual)
            };
            let number = kept.unwrap_or_else(|| free(&used));
            used.push(number);
            number
        };
        for of in &local.codecs {
            let kept = codec.filter(|(kept, _)| kept == of).map(|(_, number)| number);
            payloads.codecs.push((take(kept, of.payload_type()), *of));
        }
        let rates = EVENTS.iter().filter(|(rate, _)| {
            local.telephone_event && local.codecs.iter().any(|codec| codec.clock_rate() == *rate)
        });
        for (rate, usual) in rates {
            let kept = events.filter(|(kept, _)| kept == rate).map(|(_, number)| number);
            payloads.events.push((take(kept, *usual), *rate));
        }
        payloads
    }

    pub fn number_of(&self, codec: Codec) -> u8 {
        let found = self.codecs.iter().find(|(_, known)| *known == codec);
        found.map_or(codec.payload_type(), |(number, _)| *number)
    }

    pub fn event_at(&self, rate: u32) -> Option<u8> {
        self.events.iter().find(|(_, known)| *known == rate).map(|(number, _)| *number)
    }
}

/// What is agreed on, by the peer's numbers.
#[derive(Debug)]
pub struct Chosen {
    pub codec: Codec,
    pub number: u8,
    pub telephone_event: Option<u8>,
    pub comfort_noise: Option<u8>,
    pub opus: Option<OpusParameters>,
}

impl Chosen {
    /// As an answer has it.
    pub fn payloads(&self) -> Payloads {
        let rate = self.codec.clock_rate();
        Payloads {
            codecs: vec![(self.number, self.codec)],
            events: self.telephone_event.map(|number| (number, rate)).into_iter().collect(),
            comfort_noise: self.comfort_noise,
        }
    }
}

/// The first format of the peer's that is a codec of ours which we decode, else the first that is one of ours at all.
pub fn choose(media: &Media<'_>, local: &LocalMedia) -> Option<Chosen> {
    let common = || media.formats.iter().filter_map(|format| Some((format, codec_of(format, local)?)));
    let (format, codec) = common().find(|(_, codec)| codec.is_decoded()).or_else(|| common().next())?;
    let rate = codec.clock_rate();
    let beside = |name: &str, number: Option<u8>| {
        let is = |format: &&Format<'_>| match format.name {
            Some(known) => known.eq_ignore_ascii_case(name) && format.clock_rate == rate,
            None => Some(format.payload_type) == number,
        };
        media.formats.iter().find(is).map(|format| format.payload_type)
    };
    Some(Chosen {
        codec,
        number: format.payload_type,
        telephone_event: beside("telephone-event", None).filter(|_| local.telephone_event),
        comfort_noise: beside("CN", Some(COMFORT_NOISE))
            .filter(|_| local.comfort_noise && rate == NARROW_BAND),
        opus: (codec == Codec::Opus).then(|| opus(format.fmtp.unwrap_or_default())),
    })
}

/// Which codec of ours a format is.
fn codec_of(format: &Format<'_>, local: &LocalMedia) -> Option<Codec> {
    let is = |codec: &Codec| match format.name {
        Some(name) => {
            name.eq_ignore_ascii_case(codec.name())
                && format.clock_rate == codec.clock_rate()
                && format.channels == channels(*codec)
        }
        None => Some(format.payload_type) == codec.static_payload_type(),
    };
    local.codecs.iter().copied().find(is)
}

/// Of the rtpmap: Opus always has two, whatever is in it (RFC 7587 §7).
pub const fn channels(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 2,
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => 1,
    }
}

/// What our descriptions say of a codec.
pub const fn fmtp(codec: Codec) -> Option<&'static str> {
    match codec {
        Codec::Opus => Some("useinbandfec=1"),
        // With Annex B there would be silence that not everybody can pass on.
        Codec::G729 => Some("annexb=no"),
        Codec::Pcmu | Codec::Pcma | Codec::G722 => None,
    }
}

/// `maxplaybackrate=16000; useinbandfec=1`
fn opus(text: &str) -> OpusParameters {
    let mut parameters = OpusParameters::default();
    for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
        let (name, figure) = (name.trim(), value.trim().parse::<u32>().ok());
        match (name.to_ascii_lowercase().as_str(), figure) {
            ("maxplaybackrate", Some(rate)) => parameters.max_playback_rate = rate.clamp(8_000, 48_000),
            ("maxaveragebitrate", Some(rate)) => {
                parameters.max_bitrate = Some(rate.clamp(*BITRATES.start(), *BITRATES.end()));
            }
            ("useinbandfec", Some(flag)) => parameters.in_band_fec = flag == 1,
            ("usedtx", Some(flag)) => parameters.dtx = flag == 1,
            _ => {}
        }
    }
    parameters
}
