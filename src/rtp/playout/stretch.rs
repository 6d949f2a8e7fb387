//! Decoded samples in their order, made shorter or longer by a pitch period.
//!
//! A period is taken out by blending the one into the next, or put in by blending back: what is heard has no seam, and its pitch
//! stays. It is done only where the two are alike, or where it is too quiet to matter.

use super::Pulled;
use crate::codec::SAMPLES_MAX;

/// Shortest and longest period, in samples per 8 kHz.
const PERIOD_MIN: usize = 20;
const PERIOD_MAX: usize = 120;
/// Samples per 8 kHz over which likeness is taken.
const WINDOW: usize = 40;
/// Cosine from which two periods are alike, and from which they are when it is urgent.
const ALIKE: f32 = 0.8;
const ALIKE_ENOUGH: f32 = 0.4;
/// Root mean square below which anything is alike: −54 dBov.
const QUIET: f32 = 65.0;
/// What a period of silence is taken to be, in samples per 8 kHz: 10 ms.
const PERIOD_OF_SILENCE: usize = 80;

#[derive(Debug)]
pub(super) struct Fifo {
    rate: u32,
    samples: Box<[i16]>,
    start: usize,
    end: usize,
}

impl Fifo {
    /// Longest piece that is taken at once: 60 ms.
    pub(super) const fn piece(rate: u32) -> usize {
        rate as usize * 60 / 1_000
    }

    pub(super) fn new(rate: u32) -> Self {
        // A packet of 120 ms, what a piece lacked, and a period.
        let most = (rate as usize * 200 / 1_000).min(2 * SAMPLES_MAX);
        Self { rate, samples: vec![0; most].into(), start: 0, end: 0 }
    }

    pub(super) const fn rate(&self) -> u32 {
        self.rate
    }

    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// What it holds, in microseconds.
    pub(super) const fn held(&self) -> i64 {
        self.len() as i64 * 1_000_000 / self.rate as i64
    }

    pub(super) fn take(&mut self, out: &mut [i16]) {
        let length = out.len().min(self.len());
        out[..length].copy_from_slice(&self.samples[self.start..self.start + length]);
        out[length..].fill(0);
        self.start += length;
    }

    /// Adds so many samples, which `make` fills in; what has no room is left out.
    pub(super) fn add(&mut self, length: usize, make: impl FnOnce(&mut [i16])) {
        self.samples.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let length = length.min(self.samples.len() - self.end);
        make(&mut self.samples[self.end..self.end + length]);
        self.end += length;
    }

    pub(super) fn silence(&mut self, length: usize) -> Pulled {
        self.add(length, |out| out.fill(0));
        Pulled::Nothing
    }

    /// Takes a period out; returns how many samples that were.
    pub(super) fn shorten(&mut self, urgent: bool) -> usize {
        let Some(period) = self.period(urgent) else { return 0 };
        let (start, length) = (self.start, self.len());
        // The first period fades into the second.
        for place in 0..period {
            let (old, new) = (self.samples[start + place], self.samples[start + period + place]);
            self.samples[start + period + place] = blended(old, new, place, period);
        }
        self.start += period;
        debug_assert_eq!(self.len(), length - period);
        period
    }

    /// Puts a period in; returns how many samples that were.
    pub(super) fn lengthen(&mut self, urgent: bool) -> usize {
        let Some(period) = self.period(urgent) else { return 0 };
        if self.samples.len() - self.end < period {
            return 0;
        }
        // The first period, then the second fading back into the first, then the second as it is.
        let (start, end) = (self.start, self.end);
        self.samples.copy_within(start + period..end, start + 2 * period);
        self.end += period;
        for place in 0..period {
            let (old, new) = (self.samples[start + 2 * period + place], self.samples[start + place]);
            self.samples[start + period + place] = blended(old, new, place, period);
        }
        period
    }

    /// The period at the beginning of what is held, if there are two of it.
    fn period(&self, urgent: bool) -> Option<usize> {
        let scale = (self.rate / 8_000).max(1) as usize;
        let held = &self.samples[self.start..self.end];
        let window = WINDOW * scale;
        let most = (PERIOD_MAX * scale).min(held.len() / 2).min(held.len().saturating_sub(window));
        let least = PERIOD_MIN * scale;
        if most < least {
            return None;
        }
        let energy =
            held.iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum::<f32>() / held.len() as f32;
        if energy < QUIET * QUIET {
            return Some((PERIOD_OF_SILENCE * scale).min(most));
        }
        let scored = (least..=most).step_by(scale).map(|lag| (likeness(held, lag, window), lag));
        let (likeness, lag) = scored.fold((0.0, 0), |best, next| if next.0 > best.0 { next } else { best });
        let enough = if urgent { ALIKE_ENOUGH } else { ALIKE };
        (likeness >= enough).then_some(lag)
    }
}

fn blended(old: i16, new: i16, place: usize, period: usize) -> i16 {
    let share = (place + 1) as f32 / (period + 1) as f32;
    (f32::from(old) * (1.0 - share) + f32::from(new) * share) as i16
}

/// Cosine of the beginning and what is `lag` later.
fn likeness(held: &[i16], lag: usize, window: usize) -> f32 {
    let (mut product, mut one, mut other) = (0.0f32, 1.0f32, 1.0f32);
    for (&a, &b) in held[..window].iter().zip(&held[lag..]) {
        let (a, b) = (f32::from(a), f32::from(b));
        product += a * b;
        one += a * a;
        other += b * b;
    }
    product / (one * other).sqrt()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn held(sound: &[i16], rate: u32) -> Fifo {
        let mut fifo = Fifo::new(rate);
        fifo.add(sound.len(), |out| out.copy_from_slice(sound));
        fifo
    }

    fn taken(mut fifo: Fifo) -> Vec<i16> {
        let mut out = vec![0; fifo.len()];
        fifo.take(&mut out);
        out
    }

    #[test]
    fn a_vowel_gets_shorter_or_longer_by_a_period_without_a_step() {
        for rate in [8_000, 16_000, 48_000] {
            let sample = |at: usize| (9_000.0 * (TAU * 200.0 * at as f64 / f64::from(rate)).sin()) as i16;
            let sound: Vec<i16> = (0..rate as usize / 50).map(sample).collect();
            let step = |sound: &[i16]| {
                sound.windows(2).map(|w| (i32::from(w[0]) - i32::from(w[1])).abs()).max().unwrap()
            };
            let mut shorter = held(&sound, rate);
            let out = shorter.shorten(false);
            assert!((out * 200).is_multiple_of(rate as usize), "{rate}: {out}");
            let shorter = taken(shorter);
            assert_eq!(shorter.len(), sound.len() - out);
            assert!(step(&shorter) <= step(&sound) + 8);
            let mut longer = held(&sound, rate);
            let into = longer.lengthen(false);
            let longer = taken(longer);
            assert_eq!(longer.len(), sound.len() + into);
            assert!(into > 0 && step(&longer) <= step(&sound) + 8);
            assert_eq!((longer[0], longer[longer.len() - 1]), (sound[0], sound[sound.len() - 1]));
        }
    }

    #[test]
    fn noise_is_left_alone_and_silence_is_not() {
        let mut random = 1u32;
        let mut noise = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 18) as i16 - 8_192
        };
        let noise: Vec<i16> = (0..160).map(|_| noise()).collect();
        assert_eq!(held(&noise, 8_000).shorten(false), 0);
        assert_eq!(held(&[5; 160], 8_000).shorten(false), 80);
        assert_eq!(held(&[5; 160], 8_000).lengthen(false), 80);
        assert_eq!(held(&[5; 30], 8_000).shorten(false), 0);
    }
}
