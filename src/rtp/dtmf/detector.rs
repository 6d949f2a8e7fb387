//! Keys in the audio itself (ITU-T Q.23, Q.24): a bank of Goertzel filters, and what keeps speech from being taken for them.
//!
//! A window of 25.6 ms (205 samples at 8 kHz) is looked at every 6.4 ms. It is a key's if one of the four low and one of the four
//! high tones stand out from the others of their group, the two are about equally loud (twist), nearly all of the window's power is in
//! them, their second harmonics are weak (speech has them, telephones do not), and their frequencies are right within Q.24's 1.5 %
//! (beyond 3.5 % they must not be taken). A key is pressed when three windows in a row say so, and let go when three in a
//! row do not: 40 ms of tone and 40 ms of pause suffice, a dropout of 10 ms does not part a key.

use std::{
    f32::consts::TAU,
    sync::{Arc, LazyLock},
};

use super::{HIGH, KEYPAD, LOW};

/// Length of the window at 8 kHz, and steps per window.
const WINDOW: usize = 205;
const STEPS: usize = 4;
/// Quietest tone, each, in dB below full scale: Q.24 asks for −25 dBm0 at least (28 dB below a sine of full scale); below −39
/// dBm0 nothing is heard.
const LEAST_DB: f32 = -42.0;
/// By how much the high tone may be louder, and the low one, in dB (Q.24: 4 and 8 at the least).
const TWIST_DB: f32 = 6.0;
const REVERSE_TWIST_DB: f32 = 10.0;
/// By how much a tone stands out from the others of its group, in dB.
const LEAD_DB: f32 = 8.0;
/// Share of the window's power that must be in the two.
const SHARE: f32 = 0.9;
/// What is enough while the key is down.
const SHARE_HELD: f32 = 0.5;
/// Loudest second harmonic, in dB against its tone.
const HARMONIC_DB: f32 = -16.0;
/// Where beside a tone it is measured again, in Hz: half of what the window resolves.
const BESIDE: f32 = 20.0;
/// How far off a tone may be, of its frequency: between Q.24's 1.5 % and 3.5 %.
const OFF_MAX: f32 = 0.022_5;
/// Windows in a row that press a key, and that let it go.
const PRESS: u8 = 3;
const RELEASE: u8 = 3;

/// Listens to one source.
#[derive(Debug, Clone)]
pub struct Detector {
    sample_rate: u32,
    /// Oldest first: what went before the window, [`PASSED_MAX`] steps; the window; the step that is filled.
    samples: Box<[i16]>,
    filled: usize,
    shape: Arc<Shape>,
    /// Whether every window is looked at, in silence too.
    watchful: bool,
    /// Windows that were passed over since the last look.
    passed: usize,
    /// What the last windows said, and how often in a row.
    candidate: Option<char>,
    seen: u8,
    missed: u8,
    pressed: Option<(char, u32)>,
}

/// Windows that may be passed over while no key is heard: of [`PRESS`] in a row one is looked at, and then those before it.
const PASSED_MAX: usize = PRESS as usize - 1;

/// What all detectors of one rate have in common.
#[derive(Debug)]
struct Shape {
    /// Hamming's window: a rectangle would lose a tone that is 1.5 % off.
    weights: Box<[f32]>,
    /// Filters of the row's and of the column's tones.
    tones: [f32; 8],
    /// What a filter gives for a sine of mean square 1.
    unit: f32,
    /// The weights' squares, summed.
    squares: f32,
}

impl Shape {
    fn of(sample_rate: u32) -> Arc<Self> {
        static TELEPHONES: LazyLock<Arc<Shape>> = LazyLock::new(|| Arc::new(Shape::new(8_000)));
        static WIDE: LazyLock<Arc<Shape>> = LazyLock::new(|| Arc::new(Shape::new(16_000)));
        static FULL: LazyLock<Arc<Shape>> = LazyLock::new(|| Arc::new(Shape::new(48_000)));
        match sample_rate {
            8_000 => Arc::clone(&TELEPHONES),
            16_000 => Arc::clone(&WIDE),
            48_000 => Arc::clone(&FULL),
            other => Arc::new(Self::new(other)),
        }
    }

    fn new(sample_rate: u32) -> Self {
        let length = WINDOW * sample_rate as usize / 8_000;
        let hamming = |at: usize| 0.54 - 0.46 * (TAU * (at as f32 + 0.5) / length as f32).cos();
        let weights: Box<[f32]> = (0..length).map(hamming).collect();
        let sum: f32 = weights.iter().sum();
        let tone = |place: usize| {
            let tone = if place < 4 { LOW[place] } else { HIGH[place - 4] };
            coefficient(tone as f32, sample_rate)
        };
        Self {
            tones: std::array::from_fn(tone),
            unit: sum * sum / 2.0,
            squares: weights.iter().map(|weight| weight * weight).sum(),
            weights,
        }
    }
}

/// What is heard of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tones {
    /// A key is down: once, some 40 ms after its beginning.
    Pressed(char),
    /// It is up again, after so many milliseconds, to about 10.
    Released {
        /// Which.
        digit: char,
        /// How long it was down.
        duration_ms: u32,
    },
}

impl Detector {
    /// For sound of so many samples a second: 8,000 to 48,000, others are moved to the bound. While no key is heard, only every
    /// third window is looked at; what is told, and when, is the same.
    #[must_use]
    pub fn new(sample_rate: u32) -> Self {
        let sample_rate = sample_rate.clamp(8_000, 48_000);
        let shape = Shape::of(sample_rate);
        let length = shape.weights.len();
        Self {
            sample_rate,
            samples: vec![0; length + (PASSED_MAX + 1) * (length / STEPS)].into(),
            filled: 0,
            shape,
            watchful: false,
            passed: 0,
            candidate: None,
            seen: 0,
            missed: 0,
            pressed: None,
        }
    }

    /// As [`Detector::new`], for who asks what it [suspects](Self::suspects): no window is passed over.
    #[must_use]
    pub fn watchful(sample_rate: u32) -> Self {
        Self { watchful: true, ..Self::new(sample_rate) }
    }

    /// The key that is down.
    #[must_use]
    pub fn pressed(&self) -> Option<char> {
        self.pressed.map(|(digit, _)| digit)
    }

    /// Whether what was heard last may be a key, though it is too early to say: what wants to keep keys out of a recording
    /// holds such sound back. A detector that is not watchful may notice it two windows late.
    #[must_use]
    pub const fn suspects(&self) -> bool {
        self.candidate.is_some()
    }

    /// Takes sound of any length and tells what is new.
    pub fn hear(&mut self, pcm: &[i16], mut tell: impl FnMut(Tones)) {
        let step = self.shape.weights.len() / STEPS;
        let fresh = self.samples.len() - step;
        let mut rest = pcm;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(step - self.filled));
            rest = later;
            let at = fresh + self.filled;
            self.samples[at..at + now.len()].copy_from_slice(now);
            self.filled += now.len();
            if self.filled == step {
                self.filled = 0;
                self.samples.copy_within(step.., 0);
                self.step(&mut tell);
            }
        }
    }

    /// There is another window.
    fn step(&mut self, tell: &mut impl FnMut(Tones)) {
        let silent = self.pressed.is_none() && self.candidate.is_none();
        if silent && self.passed < PASSED_MAX && !self.watchful {
            self.passed += 1;
            return;
        }
        let passed = std::mem::take(&mut self.passed);
        let found = self.look(0);
        if found.is_some() {
            for back in (1..=passed).rev() {
                let before = self.look(back);
                self.follow(before, tell);
            }
        }
        self.follow(found, tell);
    }

    fn follow(&mut self, found: Option<char>, tell: &mut impl FnMut(Tones)) {
        self.seen = if found.is_some() && found == self.candidate { self.seen.saturating_add(1) } else { 1 };
        self.candidate = found;
        let step_ms = (self.shape.weights.len() / STEPS) as u32 * 1_000 / self.sample_rate;
        if let Some((digit, steps)) = self.pressed {
            if found == Some(digit) {
                self.missed = 0;
                self.pressed = Some((digit, steps.saturating_add(1)));
                return;
            }
            self.missed += 1;
            self.pressed = Some((digit, steps.saturating_add(1)));
            if self.missed >= RELEASE {
                self.pressed = None;
                // Windows that hold half of it still count, those that let it go do not.
                let held = (steps + 1).saturating_sub(u32::from(RELEASE) + STEPS as u32 / 4);
                tell(Tones::Released { digit, duration_ms: held * step_ms });
            }
        }
        if let (None, Some(digit)) = (self.pressed, found)
            && self.seen >= PRESS
        {
            self.missed = 0;
            // The first of the windows reaches back before the one that pressed it.
            self.pressed = Some((digit, u32::from(PRESS) - 1 + STEPS as u32));
            tell(Tones::Pressed(digit));
        }
    }

    /// What key the window held that ended so many steps ago.
    fn look(&self, back: usize) -> Option<char> {
        let Shape { weights, tones, unit, squares } = &*self.shape;
        let begin = (PASSED_MAX - back) * (weights.len() / STEPS);
        let window = Window {
            samples: &self.samples[begin..begin + weights.len()],
            weights,
            sample_rate: self.sample_rate,
        };
        // A sine's mean square times `unit` is what its filter gives.
        let unit = *unit;
        let (energy, powers) = window.filter(tones);
        let total = energy / squares;
        let floor = 32_767.0f32.powi(2) / 2.0 * 10f32.powf(LEAST_DB / 10.0);
        if total < 2.0 * floor {
            return None;
        }
        let power = |frequency: f32| window.power(frequency) / unit;
        let [rows, columns] = [0, 4].map(|from| std::array::from_fn(|place| powers[from + place] / unit));
        let (row, low) = strongest(rows)?;
        let (column, high) = strongest(columns)?;
        let (low_tone, high_tone) = (LOW[row] as f32, HIGH[column] as f32);
        let (low, high) = (window.found_at(low_tone, low, unit)?, window.found_at(high_tone, high, unit)?);
        let twist = decibels(high / low);
        let key = KEYPAD.as_bytes().get(4 * row + column).map(|&key| char::from(key))?;
        if self.pressed() == Some(key) {
            return (low + high >= SHARE_HELD * total).then_some(key);
        }
        // 2 × 697 Hz and 2 × 770 Hz lie where the window still sees 1,336 and 1,477 Hz.
        let masked = (2.0 * low_tone - high_tone).abs() < 4.0 * BESIDE;
        let right = low >= floor
            && high >= floor
            && (-REVERSE_TWIST_DB..=TWIST_DB).contains(&twist)
            && low + high >= SHARE * total
            && (masked || decibels(power(2.0 * low_tone) / low) < HARMONIC_DB)
            && decibels(power(2.0 * high_tone) / high) < HARMONIC_DB;
        right.then_some(key)
    }
}

/// What is looked at.
struct Window<'a> {
    samples: &'a [i16],
    weights: &'a [f32],
    sample_rate: u32,
}

impl Window<'_> {
    /// The power of a tone that is about here, if it is near enough: the tip of the parabola through three measures.
    fn found_at(&self, frequency: f32, power: f32, unit: f32) -> Option<f32> {
        let beside = |offset: f32| decibels(self.power(frequency + offset) / unit / power);
        let (below, above) = (beside(-BESIDE), beside(BESIDE));
        let off = OFF_MAX * frequency;
        // What the window's main lobe gives 20 Hz nearer to a tone that is so far off, to 0.1 dB.
        let most = -1.84 + 0.176 * off + 0.000_53 * off * off;
        let (curve, slope) = ((below + above) / 2.0, (above - below) / 2.0);
        let near = curve < 0.0 && below.max(above) <= most;
        near.then(|| power * 10f32.powf(slope * slope / -4.0 / curve / 10.0))
    }

    /// Power at a frequency.
    fn power(&self, frequency: f32) -> f32 {
        let (_, [power]) = self.filter(&[coefficient(frequency, self.sample_rate)]);
        power
    }

    /// Energy in all, and what Goertzel's filters of these coefficients give: side by side, so that a processor does them
    /// at once.
    fn filter<const N: usize>(&self, coefficients: &[f32; N]) -> (f32, [f32; N]) {
        let (mut energy, mut before, mut last) = (0.0f32, [0.0f32; N], [0.0f32; N]);
        for (&sample, weight) in self.samples.iter().zip(self.weights) {
            let sample = f32::from(sample) * weight;
            energy += sample * sample;
            for place in 0..N {
                let now = coefficients[place] * last[place] + (sample - before[place]);
                before[place] = last[place];
                last[place] = now;
            }
        }
        let power = |place: usize| {
            let (last, before): (f32, f32) = (last[place], before[place]);
            (last * last + before * before - coefficients[place] * last * before).max(0.0)
        };
        (energy, std::array::from_fn(power))
    }
}

fn coefficient(frequency: f32, sample_rate: u32) -> f32 {
    2.0 * (TAU * frequency / sample_rate as f32).cos()
}

fn decibels(ratio: f32) -> f32 {
    10.0 * ratio.max(1e-12).log10()
}

/// The strongest of a group and its power, if it stands out.
fn strongest(powers: [f32; 4]) -> Option<(usize, f32)> {
    let (place, power) = powers.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let others = powers.into_iter().enumerate().filter(|(other, _)| *other != place);
    let lead = 10f32.powf(LEAD_DB / 10.0);
    others.map(|(_, other)| other).all(|other| other * lead <= power).then_some((place, power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        dtmf::{Tone, code},
        g711::Law,
    };

    struct Random(u32);

    impl Random {
        /// In −1..1.
        fn next(&mut self) -> f64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            f64::from(self.0) / f64::from(u32::MAX) * 2.0 - 1.0
        }
    }

    /// Two sines: frequencies in Hz, levels in dBm0.
    fn pair(tones: [(f64, f64); 2], rate: u32, milliseconds: u32) -> Vec<i16> {
        let sample = |at: u32| {
            let one = |(frequency, level): (f64, f64)| {
                // A sine of full scale has some 3 dBm0.
                let height = 32_767.0 * 10f64.powf((level - 3.1) / 20.0);
                height * (std::f64::consts::TAU * frequency * f64::from(at) / f64::from(rate)).sin()
            };
            (one(tones[0]) + one(tones[1])) as i16
        };
        (0..rate / 1_000 * milliseconds).map(sample).collect()
    }

    fn heard(sound: &[i16], rate: u32) -> String {
        let mut detector = Detector::new(rate);
        let mut digits = String::new();
        for frame in sound.chunks(rate as usize / 50) {
            detector.hear(frame, |tones| {
                if let Tones::Pressed(digit) = tones {
                    digits.push(digit);
                }
            });
        }
        digits
    }

    fn dialled(digits: &str, rate: u32, tone_ms: u32, pause_ms: u32) -> Vec<i16> {
        let mut sound = vec![0; rate as usize / 30];
        for digit in digits.chars() {
            let mut key = vec![0; (rate / 1_000 * tone_ms) as usize];
            Tone::with_rate(code(digit).unwrap(), rate).unwrap().fill(&mut key);
            sound.extend(key);
            sound.resize(sound.len() + (rate / 1_000 * pause_ms) as usize, 0);
        }
        sound
    }

    #[test]
    fn every_key_is_heard_once_at_every_rate() {
        const ALL: &str = "1234567890*#ABCD11";
        for rate in [8_000, 16_000, 48_000] {
            for (tone, pause) in [(40, 40), (45, 45), (50, 50), (100, 80), (400, 200), (45, 200)] {
                assert_eq!(
                    heard(&dialled(ALL, rate, tone, pause), rate),
                    ALL,
                    "{rate} Hz, {tone}/{pause} ms"
                );
            }
        }
        assert_eq!(heard(&dialled(ALL, 8_000, 20, 60), 8_000), "", "20 ms are no key");
    }

    #[test]
    fn a_keys_length_is_told() {
        let mut detector = Detector::new(8_000);
        let mut told = Vec::new();
        detector.hear(&dialled("5", 8_000, 200, 100), |tones| told.push(tones));
        let [Tones::Pressed('5'), Tones::Released { digit: '5', duration_ms }] = told[..] else {
            panic!("{told:?}")
        };
        assert!((175..=225).contains(&duration_ms), "{duration_ms}");
        assert_eq!(detector.pressed(), None);
        // 10 ms within a key are no pause.
        let mut sound = dialled("5", 8_000, 200, 100);
        sound[900..980].fill(0);
        assert_eq!(heard(&sound, 8_000), "5");
    }

    /// What it is, the two tones, and whether they are a key.
    type Row = (&'static str, [(f64, f64); 2], bool);

    #[test]
    fn levels_twist_and_frequencies_are_those_of_q_24() {
        // Low and high tone: deviation in percent, level in dBm0; and whether it is a 5.
        let table: [Row; 17] = [
            ("as it should be", [(0.0, -8.0), (0.0, -6.0)], true),
            ("loud", [(0.0, 0.0), (0.0, 0.0)], true),
            ("quiet", [(0.0, -29.0), (0.0, -29.0)], true),
            ("too quiet", [(0.0, -45.0), (0.0, -45.0)], false),
            ("high tone 4 dB louder", [(0.0, -12.0), (0.0, -8.0)], true),
            ("high tone 9 dB louder", [(0.0, -15.0), (0.0, -6.0)], false),
            ("low tone 8 dB louder", [(0.0, -4.0), (0.0, -12.0)], true),
            ("low tone 14 dB louder", [(0.0, -4.0), (0.0, -18.0)], false),
            ("1.5 % too high", [(1.5, -8.0), (1.5, -6.0)], true),
            ("1.5 % too low", [(-1.5, -8.0), (-1.5, -6.0)], true),
            ("apart", [(-1.5, -8.0), (1.5, -6.0)], true),
            ("low tone 3.5 % off", [(3.5, -8.0), (0.0, -6.0)], false),
            ("high tone 3.5 % off", [(0.0, -8.0), (-3.5, -6.0)], false),
            ("both 3.5 % off", [(-3.5, -8.0), (3.5, -6.0)], false),
            ("low tone alone", [(0.0, -8.0), (0.0, -90.0)], false),
            ("high tone alone", [(0.0, -90.0), (0.0, -6.0)], false),
            ("dial tone and more", [(-43.0, -8.0), (-67.0, -8.0)], false),
        ];
        for (what, [low, high], key) in table {
            let tones = [(770.0 * (1.0 + low.0 / 100.0), low.1), (1_336.0 * (1.0 + high.0 / 100.0), high.1)];
            let expected = if key { "5" } else { "" };
            assert_eq!(heard(&pair(tones, 8_000, 100), 8_000), expected, "{what}");
        }
    }

    #[test]
    fn keys_are_heard_in_noise_and_through_g_711() {
        let mut random = Random(77);
        let mut sound = dialled("1234567890*#", 8_000, 60, 60);
        for sample in &mut sound {
            // 20 dB below the tones (Q.24 asks for 15 dB of signal to noise).
            let noisy = f64::from(*sample) + random.next() * 1_700.0;
            *sample = Law::Mu.decode(Law::Mu.encode(noisy as i16));
        }
        assert_eq!(heard(&sound, 8_000), "1234567890*#");
    }

    #[test]
    fn a_key_is_heard_through_a_prompt_that_echoes() {
        let mut random = Random(3);
        let mut sound = dialled("7", 8_000, 120, 100);
        let speech = speech(&mut random, sound.len());
        for (sample, echo) in sound.iter_mut().zip(speech) {
            *sample = sample.saturating_add(echo / 16);
        }
        assert_eq!(heard(&sound, 8_000), "7");
    }

    /// Like speech: voiced syllables of three formants on a wandering pitch, fricatives and pauses between.
    fn speech(random: &mut Random, length: usize) -> Vec<i16> {
        let mut out = Vec::with_capacity(length);
        let mut phase = 0.0;
        while out.len() < length {
            let voiced = random.next() > -0.5;
            let pitch = 150.0 + 90.0 * random.next();
            let formants = [
                500.0 + 300.0 * random.next(),
                1_400.0 + 700.0 * random.next(),
                2_500.0 + 400.0 * random.next(),
            ];
            let duration = (1_200.0 + 800.0 * random.next()) as usize;
            let glide = 0.2 * random.next();
            for at in 0..duration {
                let share = at as f64 / duration as f64;
                let loudness = 6_000.0 * (std::f64::consts::PI * share).sin();
                let sample = if voiced {
                    let now = pitch * (1.0 + glide * share);
                    phase += now / 8_000.0;
                    let weight = |frequency: f64| -> f64 {
                        formants
                            .iter()
                            .map(|formant| 1.0 / (1.0 + ((frequency - formant) / 80.0).powi(2)))
                            .sum()
                    };
                    (1..(3_600.0 / now) as u32)
                        .map(|k| {
                            weight(f64::from(k) * now) * (std::f64::consts::TAU * f64::from(k) * phase).sin()
                        })
                        .sum::<f64>()
                } else {
                    random.next() * 0.4
                };
                out.push((sample * loudness) as i16);
            }
            let pause = ((random.next() + 1.0) * 500.0) as usize;
            out.resize(out.len() + pause, 0);
        }
        out.truncate(length);
        out
    }

    #[test]
    fn half_an_hour_of_speech_holds_no_key() {
        let mut random = Random(2_024);
        let mut found = String::new();
        for _ in 0..30 {
            found += &heard(&speech(&mut random, 480_000), 8_000);
        }
        assert_eq!(found, "");
    }

    #[test]
    fn music_of_two_sines_is_no_key() {
        let mut random = Random(9);
        for _ in 0..300 {
            let tones = [(500.0 + 300.0 * random.next(), -10.0), (1_000.0 + 300.0 * random.next(), -10.0)];
            let near = |tone: f64| LOW.iter().chain(&HIGH).any(|&known| (tone / known - 1.0).abs() < 0.036);
            if near(tones[0].0) && near(tones[1].0) {
                continue;
            }
            assert_eq!(heard(&pair(tones, 8_000, 100), 8_000), "", "{tones:?}");
        }
    }

    /// What is told, and after how many samples.
    fn told(mut detector: Detector, sound: &[i16]) -> Vec<(usize, Tones)> {
        let mut told = Vec::new();
        for (place, &sample) in sound.iter().enumerate() {
            detector.hear(&[sample], |tones| told.push((place, tones)));
        }
        told
    }

    #[test]
    fn windows_that_are_passed_over_change_nothing() {
        let mut random = Random(41);
        for round in 0..60 {
            let mut sound = speech(&mut random, 3_000 + 37 * round);
            for digit in ["1", "58", "D"] {
                let length = (20.0 + 30.0 * (random.next() + 1.0)) as u32;
                sound.extend(dialled(digit, 8_000, length, length));
                sound.extend(speech(&mut random, 500 + 11 * round));
            }
            assert_eq!(told(Detector::new(8_000), &sound), told(Detector::watchful(8_000), &sound));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_sound_is_taken(frames in prop::collection::vec(prop::collection::vec(any::<i16>(), 0..700), 0..10), rate in 0u32..100_000) {
            let mut detector = Detector::new(rate);
            for frame in frames {
                detector.hear(&frame, |_| {});
            }
        }
    }
}
