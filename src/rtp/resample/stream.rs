//! Frame by frame from 8, 16, 24 or 48 kHz to another of them.

use std::sync::LazyLock;

use super::{UnsupportedRate, kaiser, sinc};

/// Taps per sample of the lower rate. With [`CUTOFF`] and [`BETA`] the pass band ends at 0.85 of half that rate (3.4 kHz at
/// 8 kHz), and the stop band begins at 1.1 of it: what lies between folds into the top of the band, which telephones do not
/// have. More taps would make both steeper and the delay longer.
const TAPS: usize = 32;
/// Of half the lower rate.
const CUTOFF: f64 = 0.975;
/// Kaiser's shape parameter for 65 dB.
const BETA: f64 = 6.2;
/// Taps are 14 bits and a sign: sums of products stay below 32 bits whatever the samples are.
const ONE: f64 = 16_384.0;
/// Input samples that are worked off at once.
const CHUNK: usize = 96;

/// The ratios between two rates that a stream can have.
const RATIOS: [usize; 3] = [2, 3, 6];

/// Taps of each ratio, phase by phase, calculated once.
static UP: LazyLock<[Box<[i16]>; 3]> =
    LazyLock::new(|| RATIOS.map(|ratio| (0..ratio).flat_map(|phase| row(ratio, phase)).collect()));
static DOWN: LazyLock<[Box<[i16]>; 3]> = LazyLock::new(|| RATIOS.map(whole));

/// Converts one stream; what it holds of the stream is less than 1 kB.
#[derive(Debug, Clone)]
pub struct Stream {
    way: Way,
    /// The samples before the next input, then a chunk of it.
    window: Box<[i16]>,
    /// Going down: input samples before the next output.
    skip: usize,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Same,
    Up { ratio: usize, taps: &'static [i16] },
    Down { ratio: usize, taps: &'static [i16] },
}

impl Stream {
    /// Between two rates of 8,000, 16,000, 24,000 and 48,000 Hz of which one divides the other.
    ///
    /// # Errors
    /// [`UnsupportedRate`] names the one that does not fit.
    pub fn new(from: u32, to: u32) -> Result<Self, UnsupportedRate> {
        for rate in [from, to] {
            if !matches!(rate, 8_000 | 16_000 | 24_000 | 48_000) {
                return Err(UnsupportedRate(rate));
            }
        }
        let place = |ratio: u32| RATIOS.iter().position(|&known| known == ratio as usize);
        let way = match (from, to) {
            _ if from == to => Way::Same,
            _ if to.is_multiple_of(from) => {
                let place = place(to / from).ok_or(UnsupportedRate(to))?;
                Way::Up { ratio: RATIOS[place], taps: &UP[place] }
            }
            _ if from.is_multiple_of(to) => {
                let place = place(from / to).ok_or(UnsupportedRate(to))?;
                Way::Down { ratio: RATIOS[place], taps: &DOWN[place] }
            }
            _ => return Err(UnsupportedRate(to)),
        };
        let before = match way {
            Way::Same => 0,
            Way::Up { .. } => TAPS - 1,
            Way::Down { taps, .. } => taps.len() - 1,
        };
        let length = if before == 0 { 0 } else { before + CHUNK };
        Ok(Self { way, window: vec![0; length].into(), skip: 0 })
    }

    /// Room that the output of so many input samples needs at most.
    #[must_use]
    pub const fn room(&self, input: usize) -> usize {
        match self.way {
            Way::Same => input,
            Way::Up { ratio, .. } => input * ratio,
            Way::Down { ratio, .. } => input.div_ceil(ratio),
        }
    }

    /// Converts samples and returns how many were written to `out`. What has no room there ([`Stream::room`]) is lost.
    pub fn process(&mut self, input: &[i16], out: &mut [i16]) -> usize {
        if matches!(self.way, Way::Same) {
            let length = input.len().min(out.len());
            out[..length].copy_from_slice(&input[..length]);
            return length;
        }
        let before = self.window.len() - CHUNK;
        let mut written = 0;
        for chunk in input.chunks(CHUNK) {
            self.window[before..before + chunk.len()].copy_from_slice(chunk);
            let out = out.get_mut(written..).unwrap_or_default();
            written += match self.way {
                Way::Same => 0,
                Way::Up { ratio, taps } => up(&self.window[..before + chunk.len()], ratio, taps, out),
                Way::Down { ratio, taps } => self.down(chunk.len(), ratio, taps, out),
            };
            self.window.copy_within(chunk.len()..chunk.len() + before, 0);
        }
        written
    }

    fn down(&mut self, input: usize, ratio: usize, taps: &[i16], out: &mut [i16]) -> usize {
        let mut written = 0;
        let mut at = self.skip;
        while at < input {
            // Where `out` is short, what it has no room for is passed over.
            if let Some(sample) = out.get_mut(written) {
                *sample = product(&self.window[at..at + taps.len()], taps);
                written += 1;
            }
            at += ratio;
        }
        self.skip = at - input;
        written
    }
}

fn up(window: &[i16], ratio: usize, taps: &[i16], out: &mut [i16]) -> usize {
    let mut written = 0;
    for (samples, out) in window.windows(TAPS).zip(out.chunks_mut(ratio)) {
        for (taps, sample) in taps.chunks_exact(TAPS).zip(&mut *out) {
            *sample = product(samples, taps);
        }
        written += out.len();
    }
    written
}

fn product(samples: &[i16], taps: &[i16]) -> i16 {
    let sum: i32 = samples.iter().zip(taps).map(|(&sample, &tap)| i32::from(sample) * i32::from(tap)).sum();
    (((sum >> 13) + 1) >> 1).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Going up: the taps of one phase, oldest sample first.
fn row(ratio: usize, phase: usize) -> Vec<i16> {
    let half = TAPS as f64 / 2.0;
    let distance = |place: usize| place as f64 - (half - 1.0) - phase as f64 / ratio as f64;
    quantised(
        (0..TAPS)
            .map(|place| sinc(distance(place) * CUTOFF) * kaiser(distance(place) / half, BETA))
            .collect(),
    )
}

/// Going down: all taps, of which each output needs all.
fn whole(ratio: usize) -> Box<[i16]> {
    let count = TAPS * ratio;
    let half = count as f64 / 2.0;
    // Off the middle by half a sample, so that the delay is a whole number of output samples: 16.
    let distance = |place: usize| place as f64 - (half - 1.0);
    let tap =
        |place: usize| sinc(distance(place) * CUTOFF / ratio as f64) * kaiser(distance(place) / half, BETA);
    quantised((0..count).map(tap).collect()).into()
}

/// Scaled to let a constant through unchanged.
fn quantised(taps: Vec<f64>) -> Vec<i16> {
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum * ONE).round() as i16).collect()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const RATES: [(u32, u32); 8] = [
        (8_000, 16_000),
        (8_000, 24_000),
        (8_000, 48_000),
        (16_000, 48_000),
        (16_000, 8_000),
        (24_000, 8_000),
        (48_000, 8_000),
        (48_000, 16_000),
    ];

    fn sine(frequency: f64, rate: u32, length: usize) -> Vec<i16> {
        (0..length)
            .map(|at| (16_000.0 * (TAU * frequency * at as f64 / f64::from(rate)).sin()) as i16)
            .collect()
    }

    fn converted(stream: &mut Stream, sound: &[i16], frame: usize) -> Vec<i16> {
        let mut out = vec![0; stream.room(frame)];
        let mut convert = |frame: &[i16]| {
            let length = stream.process(frame, &mut out);
            out[..length].to_vec()
        };
        sound.chunks(frame).flat_map(&mut convert).collect()
    }

    /// Amplitude of one frequency in the middle of a sound, in dB against 16,000.
    fn level(sound: &[i16], frequency: f64, rate: u32) -> f64 {
        let middle = &sound[sound.len() / 4..sound.len() * 3 / 4];
        let (mut real, mut imaginary, mut weight) = (0.0, 0.0, 0.0);
        for (at, &sample) in middle.iter().enumerate() {
            let angle = TAU * frequency * at as f64 / f64::from(rate);
            let window = 1.0 - (TAU * at as f64 / middle.len() as f64).cos();
            real += window * f64::from(sample) * angle.cos();
            imaginary += window * f64::from(sample) * angle.sin();
            weight += window;
        }
        20.0 * ((real * real + imaginary * imaginary).sqrt() * 2.0 / weight / 16_000.0 + 1e-9).log10()
    }

    #[test]
    fn the_pass_band_is_flat_and_what_would_fold_or_mirror_is_gone() {
        for (from, to) in RATES {
            let lower = f64::from(from.min(to));
            for share in [0.02, 0.1, 0.2, 0.3, 0.4, 0.425] {
                let frequency = share * lower;
                let mut stream = Stream::new(from, to).unwrap();
                let out =
                    converted(&mut stream, &sine(frequency, from, from as usize / 2), from as usize / 50);
                assert_eq!(out.len(), to as usize / 2);
                let passed = level(&out, frequency, to);
                assert!(passed.abs() < 0.3, "{frequency} Hz, {from} to {to}: {passed:.2} dB");
                // The mirror image around the lower rate, which going up would add.
                if to > from {
                    let image = level(&out, lower - frequency, to);
                    assert!(image < -55.0, "{frequency} Hz, {from} to {to}: image at {image:.1} dB");
                }
            }
            if to < from {
                for share in [0.56, 0.7, 0.9, 0.98] {
                    let mut stream = Stream::new(from, to).unwrap();
                    let out = converted(
                        &mut stream,
                        &sine(share * lower, from, from as usize / 2),
                        from as usize / 50,
                    );
                    let folded = level(&out, (1.0 - share) * lower, to);
                    assert!(folded < -55.0, "{share} of {lower} Hz, {from} to {to}: {folded:.1} dB");
                }
            }
        }
    }

    #[test]
    fn frames_of_any_length_join_without_a_seam() {
        for (from, to) in RATES {
            let sound = sine(440.0, from, 9_600);
            let whole = converted(&mut Stream::new(from, to).unwrap(), &sound, 9_600);
            for frame in [1, 7, 80, 160, 441, 1_000] {
                let parts = converted(&mut Stream::new(from, to).unwrap(), &sound, frame);
                assert_eq!(parts, whole, "{from} to {to} in frames of {frame}");
            }
        }
    }

    #[test]
    fn there_and_back_is_nearly_nothing_lost() {
        let sound = sine(1_000.0, 8_000, 8_000);
        for rate in [16_000, 24_000, 48_000] {
            let up = converted(&mut Stream::new(8_000, rate).unwrap(), &sound, 160);
            let back = converted(&mut Stream::new(rate, 8_000).unwrap(), &up, rate as usize / 50);
            // Each way delays by 16 samples of 8 kHz: together 4 ms.
            let pairs = sound[2_000..4_000].iter().zip(&back[2_032..]);
            let worst = pairs.map(|(a, b)| (a - b).abs()).max();
            assert!(worst < Some(200), "{rate}: {worst:?}");
        }
    }

    #[test]
    fn rates_that_do_not_fit_are_named() {
        assert_eq!(Stream::new(44_100, 8_000).unwrap_err(), UnsupportedRate(44_100));
        assert_eq!(Stream::new(16_000, 24_000).unwrap_err(), UnsupportedRate(24_000));
        let mut out = [0; 2];
        assert_eq!(Stream::new(16_000, 16_000).unwrap().process(&[1, 2, 3], &mut out), 2);
        assert_eq!(out, [1, 2]);
    }

    proptest! {
        #[test]
        fn any_frames_are_taken(
            place in 0usize..8, frames in prop::collection::vec((0usize..700, any::<i16>(), 0usize..900), 0..20)
        ) {
            let (from, to) = RATES[place];
            let mut stream = Stream::new(from, to).unwrap();
            for (length, value, room) in frames {
                let mut out = vec![0; room];
                let written = stream.process(&vec![value; length], &mut out);
                prop_assert!(written <= room && written <= stream.room(length));
            }
        }
    }
}
