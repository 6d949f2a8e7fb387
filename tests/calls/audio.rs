//! Sound that can be told apart: melodies that no two prompts share, and how much of one is in a recording.

use std::{f64::consts::TAU, path::Path};

/// Samples in a second.
pub const RATE: u32 = 8_000;

/// The prompts of the manifests, and how many seconds each lasts.
pub const PROMPTS: [(&str, f64); 9] = [
    ("welcome", 1.5),
    ("menu", 1.0),
    ("one", 1.2),
    ("two", 1.2),
    ("three", 1.2),
    ("good", 1.2),
    ("bad", 1.2),
    ("long", 90.0),
    ("bye", 0.8),
];

/// Notes of 40 ms by chance, between 300 and 3,300 Hz.
pub fn melody(seed: u64, seconds: f64) -> Vec<i16> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed + 1) | 1;
    let notes = (seconds * 25.0).round() as usize;
    let mut phase = 0.0_f64;
    let mut samples = Vec::with_capacity(notes * 320);
    for _ in 0..notes {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let frequency = 300.0 + (random >> 40) as f64 % 3_000.0;
        for _ in 0..320 {
            phase += TAU * frequency / f64::from(RATE);
            samples.push((9_000.0 * phase.sin()) as i16);
        }
    }
    samples
}

/// One steady note.
pub fn tone(frequency: f64, seconds: f64) -> Vec<i16> {
    let count = (seconds * f64::from(RATE)) as usize;
    let sample = |place: usize| 9_000.0 * (TAU * frequency * place as f64 / f64::from(RATE)).sin();
    (0..count).map(|place| sample(place) as i16).collect()
}

pub fn write_wav(path: &Path, samples: &[i16]) {
    let form = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, form).unwrap();
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
}

pub fn read_wav(path: &Path) -> Vec<i16> {
    let reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let form = reader.spec();
    assert!(form.sample_rate.is_multiple_of(RATE), "{}: {} Hz", path.display(), form.sample_rate);
    // To one channel of eight thousand samples a second: what is looked for is far below half of that.
    let together = (form.sample_rate / RATE) as usize * usize::from(form.channels);
    let samples: Vec<i16> = reader.into_samples::<i16>().map(Result::unwrap).collect();
    let mean = |few: &[i16]| few.iter().map(|sample| i32::from(*sample)).sum::<i32>() / few.len() as i32;
    samples.chunks(together).map(|few| mean(few) as i16).collect()
}

/// Samples of a piece that is looked for.
const PIECE: usize = 1_920;

/// Samples in the middle of a piece that the search for its best place goes by.
const PROBE: usize = 480;

/// How much of `wanted` is in `heard`: normalised cross-correlation at the best place, 0 to 1.
///
/// It is the median over pieces of 240 ms, each at its own best place: where a busy machine makes a sender pause, or a
/// jitter buffer leaves a packet out, one piece is torn, and all others are what they are.
pub fn likeness(wanted: &[i16], heard: &[i16]) -> f64 {
    let mut found: Vec<_> = wanted.chunks_exact(PIECE).map(|piece| best(piece, heard)).collect();
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}

fn best(piece: &[i16], heard: &[i16]) -> f64 {
    let Some(last) = heard.len().checked_sub(piece.len()) else { return 0.0 };
    let from = (piece.len() - PROBE) / 2;
    let probe = &piece[from..from + PROBE];
    let place = (0..=last).max_by_key(|place| product(probe, &heard[place + from..]));
    place.map_or(0.0, |place| correlation(piece, &heard[place..]))
}

fn product(one: &[i16], other: &[i16]) -> i64 {
    one.iter().zip(other).map(|(one, other)| i64::from(i32::from(*one) * i32::from(*other))).sum()
}

fn correlation(one: &[i16], other: &[i16]) -> f64 {
    let other = &other[..one.len()];
    let energy = (product(one, one) as f64 * product(other, other) as f64).sqrt();
    if energy == 0.0 { 0.0 } else { product(one, other) as f64 / energy }
}

/// Share of the power of `samples` that is at `frequency` (Goertzel), 0 to 1.
pub fn share(samples: &[i16], frequency: f64) -> f64 {
    // Pieces of 100 ms: a lost or doubled packet shifts the phase, which a long window would take for absence.
    let (mut found, mut all) = (0.0, 0.0);
    for piece in samples.chunks_exact(800) {
        let coefficient = 2.0 * (TAU * frequency / f64::from(RATE)).cos();
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in piece {
            let s0 = f64::from(*sample) + coefficient * s1 - s2;
            (s2, s1) = (s1, s0);
        }
        found += (s1 * s1 + s2 * s2 - coefficient * s1 * s2) * 2.0 / piece.len() as f64;
        all += piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    }
    if all == 0.0 { 0.0 } else { found / all }
}

/// The part of a recording that is louder than silence, from the first to the last loud sample.
pub fn loud_part(samples: &[i16]) -> &[i16] {
    let loud = |sample: &i16| sample.unsigned_abs() > 1_000;
    let first = samples.iter().position(loud).unwrap_or(samples.len());
    let last = samples.iter().rposition(loud).map_or(first, |last| last + 1);
    &samples[first..last]
}

/// ITU-T G.711, as tables would have it.
pub fn decode(payload_type: u8, payload: &[u8]) -> Vec<i16> {
    let sample = |byte: &u8| if payload_type == 8 { alaw(*byte) } else { ulaw(*byte) };
    payload.iter().map(sample).collect()
}

/// μ-law: the byte whose sample is nearest.
pub fn encode(sample: i16) -> u8 {
    static TABLE: std::sync::LazyLock<Vec<(i16, u8)>> = std::sync::LazyLock::new(|| {
        let mut table: Vec<_> = (0..=u8::MAX).map(|byte| (ulaw(byte), byte)).collect();
        table.sort_unstable();
        table
    });
    let place = TABLE.partition_point(|(known, _)| *known < sample);
    let near = TABLE[place.saturating_sub(1)..(place + 1).min(TABLE.len())].iter();
    near.min_by_key(|(known, _)| i32::from(*known).abs_diff(i32::from(sample))).unwrap().1
}

/// G.711 by its payload type.
pub fn encode_as(payload_type: u8, sample: i16) -> u8 {
    static TABLE: std::sync::LazyLock<Vec<(i16, u8)>> = std::sync::LazyLock::new(|| {
        let mut table: Vec<_> = (0..=u8::MAX).map(|byte| (alaw(byte), byte)).collect();
        table.sort_unstable();
        table
    });
    if payload_type != 8 {
        return encode(sample);
    }
    let place = TABLE.partition_point(|(known, _)| *known < sample);
    let near = TABLE[place.saturating_sub(1)..(place + 1).min(TABLE.len())].iter();
    near.min_by_key(|(known, _)| i32::from(*known).abs_diff(i32::from(sample))).unwrap().1
}

/// The two tones of a key, in Hz (ITU-T Q.23).
pub fn key_tones(key: char) -> (f64, f64) {
    let place = "123A456B789C*0#D".find(key).unwrap();
    ([697.0, 770.0, 852.0, 941.0][place / 4], [1_209.0, 1_336.0, 1_477.0, 1_633.0][place % 4])
}

/// How many milliseconds of `wanted` are nowhere in `heard`, by pieces of 240 ms.
pub fn missing_ms(wanted: &[i16], heard: &[i16]) -> usize {
    wanted.chunks_exact(PIECE).filter(|piece| best(piece, heard) < 0.9).count() * PIECE / 8
}

fn ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4);
    let sample = magnitude - 0x84;
    (if byte & 0x80 == 0 { sample } else { -sample }) as i16
}

fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let segment = (byte & 0x70) >> 4;
    let low = (i32::from(byte & 0x0f) << 4) + 8;
    let sample = if segment == 0 { low } else { (low + 0x100) << (segment - 1) };
    (if byte & 0x80 == 0 { -sample } else { sample }) as i16
}

#[test]
fn a_melody_is_like_itself_and_like_no_other() {
    let (one, other) = (melody(1, 1.5), melody(2, 1.5));
    let heard: Vec<i16> = [vec![0; 777], one.clone(), vec![0; 5_000]].concat();
    assert!(likeness(&one, &heard) > 0.99);
    assert!(likeness(&other, &heard) < 0.7);
    // With a pause in it, as of a busy sender.
    let torn = [&heard[..5_000], &[0; 1_600], &heard[5_000..]].concat();
    assert!(likeness(&one, &torn) > 0.99);
}

#[test]
fn a_tone_is_found_at_its_own_frequency_alone() {
    let heard = tone(440.0, 1.0);
    assert!(share(&heard, 440.0) > 0.9);
    assert!(share(&heard, 1_000.0) < 0.01);
}
