//! Files become sound: WAV (PCM and G.711), Opus in Ogg, MP3. Whatever is wrong with one is said.
//!
//! `tests/fuzz/targets/sounds.rs` compiles this file by itself and stands in for what it takes of `crate`.

use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec};
use model::media::Codec;
use rtp::{
    codec::{Decoder, SAMPLES_MAX},
    g711::Law,
    resample::{RATE_MAX, RATE_MIN},
};
use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error as Mp3Error,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

use crate::{
    library::{LoadErrorKind, PROMPT_SECONDS_MAX, SOURCE_BYTES_MAX},
    recording::{Packets, parted, read_packets},
};

/// Sound of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// −1.0 to 1.0.
    pub samples: Vec<f32>,
    /// Samples a second.
    pub rate: u32,
}

/// Decodes a file by what its beginning says it is.
///
/// # Errors
/// The kinds of [`LoadErrorKind`] that concern files.
pub fn decode(bytes: &[u8]) -> Result<Sound, LoadErrorKind> {
    if bytes.len() > SOURCE_BYTES_MAX {
        return Err(LoadErrorKind::TooLarge(bytes.len()));
    }
    let sound = match bytes {
        [b'O', b'g', b'g', b'S', ..] => ogg(bytes)?,
        [b'I', b'D', b'3', ..] => mp3(bytes)?,
        [0xff, second, ..] if second & 0xe0 == 0xe0 => mp3(bytes)?,
        _ => match law_of(bytes) {
            Some(law) => g711(bytes, law)?,
            None => pcm(bytes)?,
        },
    };
    if sound.samples.is_empty() { Err(LoadErrorKind::Empty) } else { Ok(sound) }
}

/// PCM in a WAV file.
fn pcm(bytes: &[u8]) -> Result<Sound, LoadErrorKind> {
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(not_wav)?;
    let spec = reader.spec();
    checked(spec.channels, spec.sample_rate, reader.duration().into())?;
    let samples = mixed_down(read_samples(&mut reader, spec)?, spec.channels.into());
    Ok(Sound { samples, rate: spec.sample_rate })
}

fn read_samples(reader: &mut WavReader<Cursor<&[u8]>>, spec: WavSpec) -> Result<Vec<f32>, LoadErrorKind> {
    match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Float, 32) => reader.samples::<f32>().collect::<Result<_, _>>().map_err(not_wav),
        (SampleFormat::Int, bits @ (8 | 16 | 24 | 32)) => {
            let full_scale = (1u64 << (bits - 1)) as f32;
            let scaled = |sample: Result<i32, _>| sample.map(|sample| sample as f32 / full_scale);
            reader.samples::<i32>().map(scaled).collect::<Result<_, _>>().map_err(not_wav)
        }
        (SampleFormat::Float | SampleFormat::Int, bits) => {
            Err(LoadErrorKind::NotWav(format!("{bits} bits per sample")))
        }
    }
}

/// The chunks of a WAV file: name and content, the last of which may be cut.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = match bytes.split_at_checked(12) {
        Some((head, rest)) if head.starts_with(b"RIFF") && head.ends_with(b"WAVE") => rest,
        _ => &[],
    };
    std::iter::from_fn(move || {
        let (name, after) = rest.split_at_checked(4)?;
        let (length, after) = after.split_first_chunk()?;
        let length = (u32::from_le_bytes(*length) as usize).min(after.len());
        let content = &after[..length];
        rest = &after[(length + length % 2).min(after.len())..];
        Some((name, content))
    })
}

fn format(bytes: &[u8]) -> Option<&[u8]> {
    chunks(bytes).take(64).find(|(name, _)| *name == b"fmt ").map(|(_, content)| content)
}

/// The law of a WAV file that holds G.711 (formats 6 and 7, also where they stand in an extensible one).
fn law_of(bytes: &[u8]) -> Option<Law> {
    let format = format(bytes).filter(|format| format.len() >= 16)?;
    let tag = match format[..2] {
        [0xfe, 0xff] => format.get(24..26)?,
        _ => &format[..2],
    };
    match tag {
        [6, 0] => Some(Law::A),
        [7, 0] => Some(Law::Mu),
        _ => None,
    }
}

fn g711(bytes: &[u8], law: Law) -> Result<Sound, LoadErrorKind> {
    let format = format(bytes).unwrap_or_default();
    let (channels, rate) = match format {
        [_, _, c0, c1, r0, r1, r2, r3, ..] => {
            (u16::from_le_bytes([*c0, *c1]), u32::from_le_bytes([*r0, *r1, *r2, *r3]))
        }
        _ => (0, 0),
    };
    let data = chunks(bytes).take(64).find(|(name, _)| *name == b"data").map(|(_, content)| content);
    let data = data.ok_or_else(|| LoadErrorKind::NotWav("it holds no sound".to_owned()))?;
    checked(channels, rate, data.len() as u64 / u64::from(channels.max(1)))?;
    let samples = data.iter().map(|&octet| f32::from(law.decode(octet)) / 32_768.0).collect();
    Ok(Sound { samples: mixed_down(samples, channels.into()), rate })
}

fn checked(channels: u16, rate: u32, frames: u64) -> Result<(), LoadErrorKind> {
    if !(1..=2).contains(&channels) {
        return Err(LoadErrorKind::Channels(channels));
    }
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(LoadErrorKind::Rate(rate));
    }
    match frames / u64::from(rate) {
        seconds if seconds > PROMPT_SECONDS_MAX => Err(LoadErrorKind::TooLong(seconds)),
        _ => Ok(()),
    }
}

fn mixed_down(samples: Vec<f32>, channels: usize) -> Vec<f32> {
    if channels == 1 {
        return samples;
    }
    let mean = |all: &[f32]| all.iter().sum::<f32>() / channels as f32;
    samples.chunks_exact(channels).map(mean).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn not_wav(error: hound::Error) -> LoadErrorKind {
    LoadErrorKind::NotWav(match error {
        hound::Error::IoError(_) => "it ends too soon".to_owned(),
        hound::Error::FormatError(what) => what.to_owned(),
        hound::Error::TooWide => "samples are too wide".to_owned(),
        hound::Error::Unsupported => "its encoding is neither PCM nor G.711".to_owned(),
        hound::Error::UnfinishedSample | hound::Error::InvalidSampleFormat => error.to_string(),
    })
}

/// Opus in Ogg. libopus mixes two channels of one stream down; two streams are mixed here.
fn ogg(bytes: &[u8]) -> Result<Sound, LoadErrorKind> {
    // Half of what libopus could give is all that a telephone can take.
    const RATE: u32 = 16_000;
    let not = |why: &str| LoadErrorKind::NotOpus(why.to_owned());
    let Packets { packets, streams, pre_skip, end, gain } =
        read_packets(bytes).map_err(|error| LoadErrorKind::NotOpus(error.to_string()))?;
    let most = (PROMPT_SECONDS_MAX + 1) as usize * RATE as usize;
    let mut decoders = Vec::new();
    for _ in 0..streams {
        decoders.push(Decoder::with_rate(Codec::Opus, RATE).map_err(|error| not(&error.to_string()))?);
    }
    let gain = 10f32.powf(f32::from(gain) / 256.0 / 20.0) / 32_768.0 / f32::from(streams);
    let mut samples: Vec<f32> = Vec::new();
    for packet in &packets {
        let two =
            (streams > 1).then(|| parted(packet).ok_or_else(|| not("a packet of two streams is damaged")));
        let parts: [&[u8]; 2] = match &two {
            Some(parted) => match parted {
                Ok((left, right)) => [left, right],
                Err(error) => return Err(error.clone()),
            },
            None => [packet, &[]],
        };
        let begin = samples.len();
        for (decoder, part) in decoders.iter_mut().zip(parts) {
            let mut pcm = [0; SAMPLES_MAX];
            let length = decoder.decode(part, &mut pcm).map_err(|error| not(&error.to_string()))?;
            samples.resize(samples.len().max(begin + length), 0.0);
            for (sum, &sample) in samples[begin..].iter_mut().zip(&pcm[..length]) {
                *sum += f32::from(sample) * gain;
            }
        }
        if samples.len() > most {
            return Err(LoadErrorKind::TooLong(samples.len() as u64 / u64::from(RATE)));
        }
    }
    if let Some(end) = end {
        samples.truncate(usize::try_from(end / 3).unwrap_or(usize::MAX));
    }
    samples.drain(..(usize::from(pre_skip) / 3).min(samples.len()));
    Ok(Sound { samples, rate: RATE })
}

fn mp3(bytes: &[u8]) -> Result<Sound, LoadErrorKind> {
    let not = |why: &Mp3Error| LoadErrorKind::NotMp3(why.to_string());
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes.to_vec())), Default::default());
    let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, format, metadata)
        .map_err(|error| not(&error))?;
    let track = reader.default_track(TrackType::Audio);
    let found = track.and_then(|track| Some((track.id, track.codec_params.as_ref()?.audio()?.clone())));
    let (id, parameters) = found.ok_or_else(|| LoadErrorKind::NotMp3("it holds no sound".to_owned()))?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .map_err(|error| not(&error))?;
    let (mut sound, mut block, mut broken) = (Sound { samples: Vec::new(), rate: 0 }, Vec::new(), None);
    while let Some(packet) = reader.next_packet().map_err(|error| not(&error))? {
        if packet.track_id != id {
            continue;
        }
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            // A frame is lost, and the next one may be whole.
            Err(error @ Mp3Error::DecodeError(_)) => {
                broken = Some(error);
                continue;
            }
            Err(error) => return Err(not(&error)),
        };
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        block.resize(decoded.samples_interleaved(), 0.0);
        decoded.copy_to_slice_interleaved(&mut block);
        if sound.samples.is_empty() {
            sound.rate = rate;
        }
        let frames = (sound.samples.len() + block.len() / channels.max(1)) as u64;
        checked(channels as u16, rate, frames)?;
        if rate != sound.rate {
            return Err(LoadErrorKind::NotMp3("its sample rate changes".to_owned()));
        }
        sound.samples.append(&mut mixed_down(block.clone(), channels));
    }
    match broken {
        Some(error) if sound.samples.is_empty() => Err(not(&error)),
        _ => Ok(sound),
    }
}
