//! Sound of any rate becomes sound of another: at once when a prompt is loaded, frame by frame ([`Stream`]) between legs.
//!
//! A polyphase filter: the rates' ratio in lowest terms is up/down, and for each of the `up` places that an output
//! sample can have between two input samples there is a windowed sinc of its own (Kaiser window, 70 dB).

use crate::CLOCK_RATE;

mod stream;

pub use self::stream::Stream;

/// Lowest input rate in Hz.
pub const RATE_MIN: u32 = 8_000;
/// Highest input rate in Hz.
pub const RATE_MAX: u32 = 96_000;

/// Zero crossings on each side of the sinc.
const CROSSINGS: f64 = 32.0;
/// Of half the lower rate. At 8 kHz the pass band ends at 3.5 kHz, and nothing above 4 kHz is folded back.
const CUTOFF: f64 = 0.94;
/// Kaiser's shape parameter for 70 dB.
const BETA: f64 = 6.76;

/// A rate outside [`RATE_MIN`] to [`RATE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sample rate of {0} Hz is outside 8000 to 96000 Hz")]
pub struct UnsupportedRate(pub u32);

/// Converts samples of −1.0 to 1.0 at `rate` Hz to 16 bits at 8 kHz. Louder samples are clipped.
///
/// # Errors
/// [`UnsupportedRate`].
pub fn to_8k(input: &[f32], rate: u32) -> Result<Vec<i16>, UnsupportedRate> {
    convert(input, rate, CLOCK_RATE)
}

/// Converts samples of −1.0 to 1.0 at `rate` Hz to 16 bits at `to` Hz. Louder samples are clipped.
///
/// # Errors
/// [`UnsupportedRate`].
pub fn convert(input: &[f32], rate: u32, to: u32) -> Result<Vec<i16>, UnsupportedRate> {
    for rate in [rate, to] {
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            return Err(UnsupportedRate(rate));
        }
    }
    if rate == to {
        return Ok(input.iter().map(|&sample| quantised(sample)).collect());
    }
    let filter = Filter::new(rate, to);
    let length = (input.len() as u64 * u64::from(to)).div_ceil(u64::from(rate));
    Ok((0..length).map(|place| quantised(filter.output(input, place))).collect())
}

struct Filter {
    up: u64,
    down: u64,
    /// Taps on each side of the output's place.
    reach: i64,
    /// `up` rows of `2 * reach` taps.
    taps: Vec<f32>,
}

impl Filter {
    fn new(rate: u32, to: u32) -> Self {
        let divisor = greatest_common_divisor(rate, to);
        let (up, down) = (u64::from(to / divisor), u64::from(rate / divisor));
        // In cycles per input sample, doubled: 1.0 is the input's own Nyquist frequency.
        let cutoff = CUTOFF * f64::from(to.min(rate)) / f64::from(rate);
        let reach = (CROSSINGS / cutoff).ceil() as i64;
        let taps = (0..up).flat_map(|phase| row(phase as f64 / up as f64, reach, cutoff)).collect();
        Self { up, down, reach, taps }
    }

    /// The output sample `place`, which lies at `place * down / up` of the input.
    fn output(&self, input: &[f32], place: u64) -> f32 {
        let position = place * self.down;
        let (whole, phase) = ((position / self.up) as i64, (position % self.up) as usize);
        let width = 2 * self.reach as usize;
        let row = &self.taps[phase * width..(phase + 1) * width];
        let first = whole - self.reach + 1;
        let skip = usize::try_from(-first).unwrap_or(0).min(width);
        let from = usize::try_from(first).unwrap_or(0).min(input.len());
        input[from..].iter().zip(&row[skip..]).map(|(sample, tap)| sample * tap).sum()
    }
}

/// Taps for an output that lies `fraction` after an input sample, normalised to let a constant through unchanged.
fn row(fraction: f64, reach: i64, cutoff: f64) -> Vec<f32> {
    let tap = |place: i64| {
        let distance = place as f64 - fraction;
        sinc(distance * cutoff) * kaiser(distance / reach as f64, BETA)
    };
    let taps: Vec<f64> = (1 - reach..=reach).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle }
}

fn kaiser(x: f64, beta: f64) -> f64 {
    let inside = 1.0 - x * x;
    if inside <= 0.0 { 0.0 } else { bessel(beta * inside.sqrt()) / bessel(beta) }
}

/// Modified Bessel function of the first kind and order zero, by its power series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

fn quantised(sample: f32) -> i16 {
    // `as` saturates, and makes NaN zero.
    (sample * 32_767.0).round() as i16
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn sine(frequency: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let length = (f64::from(rate) * seconds) as usize;
        (0..length).map(|at| (TAU * frequency * at as f64 / f64::from(rate)).sin() as f32 * 0.5).collect()
    }

    /// Level of the middle of a sound, against a sine of half scale, in dB.
    fn level(sound: &[i16]) -> f64 {
        let middle = &sound[sound.len() / 4..sound.len() * 3 / 4];
        let power: f64 = middle.iter().map(|&x| (f64::from(x) / 16_383.0).powi(2)).sum();
        10.0 * (2.0 * power / middle.len() as f64 + 1e-12).log10()
    }

    #[test]
    fn speech_passes_and_what_would_fold_back_does_not() {
        for rate in [11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 44_101] {
            for (frequency, passes) in
                [(300.0, true), (1_000.0, true), (3_400.0, true), (4_300.0, false), (5_000.0, false)]
            {
                let sound = to_8k(&sine(frequency, rate, 0.2), rate).unwrap();
                let level = level(&sound);
                let right = if passes { level.abs() < 0.2 } else { level < -55.0 };
                assert!(right, "{frequency} Hz at {rate}: {level} dB");
            }
        }
    }

    #[test]
    fn time_is_kept() {
        for rate in [11_025, 16_000, 44_100, 48_000] {
            let sound = to_8k(&sine(440.0, rate, 0.5), rate).unwrap();
            assert_eq!(sound.len(), 4_000, "{rate}");
            let same = sine(440.0, 8_000, 0.5);
            for at in 400..3_600 {
                let difference = i32::from(sound[at]) - i32::from(quantised(same[at]));
                assert!(difference.abs() < 200, "{rate} {at} {difference}");
            }
        }
    }

    #[test]
    fn prompts_of_other_rates_keep_their_sound() {
        for (rate, to) in [(8_000, 16_000), (44_100, 16_000), (22_050, 48_000), (48_000, 16_000)] {
            for frequency in [300.0, 1_000.0, 3_400.0] {
                let sound = convert(&sine(frequency, rate, 0.2), rate, to).unwrap();
                assert_eq!(sound.len(), to as usize / 5);
                assert!(level(&sound).abs() < 0.2, "{frequency} Hz, {rate} to {to}: {} dB", level(&sound));
            }
        }
        assert!(level(&convert(&sine(9_000.0, 48_000, 0.2), 48_000, 16_000).unwrap()) < -55.0);
        assert_eq!(convert(&[0.0], 8_000, 4_000), Err(UnsupportedRate(4_000)));
    }

    #[test]
    fn eight_kilohertz_pass_unchanged_and_loud_samples_are_clipped() {
        assert_eq!(to_8k(&[0.0, 0.5, 2.0, -2.0, f32::NAN], 8_000).unwrap(), [0, 16_384, 32_767, -32_768, 0]);
    }

    #[test]
    fn short_sounds_and_strange_rates_are_answered() {
        for length in 0..40 {
            assert_eq!(to_8k(&vec![0.1; length], 48_000).unwrap().len(), length.div_ceil(6));
        }
        assert_eq!(to_8k(&[0.0], 4_000), Err(UnsupportedRate(4_000)));
        assert_eq!(to_8k(&[0.0], 192_000), Err(UnsupportedRate(192_000)));
    }
}
