//! Between 8 and 16 kHz, sample by sample as it comes: the two rates at which legs are mixed and coded.
//!
//! A half-band filter (windowed sinc, 3.5 kHz pass band, 60 dB), whose every other tap is zero; 1.4 ms of delay.

/// Taps on each side of the middle that are not zero.
const SIDE: usize = 12;
/// Length of the filter at 16 kHz.
const LENGTH: usize = 4 * SIDE - 1;

/// What a converter remembers of one stream.
#[derive(Debug, Default)]
pub struct Rates {
    up: Option<Box<Filter>>,
    down: Option<Box<Filter>>,
}

#[derive(Debug)]
struct Filter {
    taps: [f32; LENGTH],
    past: [f32; LENGTH],
}

impl Rates {
    /// Converts sound that goes on where the last one ended. None: it does not fit into `out`, or the rates are others.
    pub fn convert<'a>(
        &mut self,
        pcm: &'a [i16],
        from: u32,
        to: u32,
        out: &'a mut [i16],
    ) -> Option<&'a [i16]> {
        let out = match (from, to) {
            _ if from == to => return Some(pcm),
            (8_000, 16_000) => {
                let out = out.get_mut(..2 * pcm.len())?;
                let filter = self.up.get_or_insert_with(Filter::new);
                for (pair, &sample) in out.chunks_exact_mut(2).zip(pcm) {
                    pair[0] = filter.step(2.0 * f32::from(sample));
                    pair[1] = filter.step(0.0);
                }
                out
            }
            (16_000, 8_000) => {
                let out = out.get_mut(..pcm.len() / 2)?;
                let filter = self.down.get_or_insert_with(Filter::new);
                for (sample, pair) in out.iter_mut().zip(pcm.chunks_exact(2)) {
                    *sample = filter.step(f32::from(pair[0]));
                    filter.push(f32::from(pair[1]));
                }
                out
            }
            _ => return None,
        };
        Some(out)
    }
}

impl Filter {
    fn new() -> Box<Self> {
        let middle = (LENGTH / 2) as f64;
        let tap = |place: usize| {
            let at = place as f64 - middle;
            let sinc = match at == 0.0 {
                true => 0.5,
                false => (at * std::f64::consts::FRAC_PI_2).sin() / (at * std::f64::consts::PI),
            };
            // Blackman's window.
            let turn = std::f64::consts::TAU * (place as f64 + 1.0) / (LENGTH as f64 + 1.0);
            (sinc * (0.42 - 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())) as f32
        };
        Box::new(Self { taps: std::array::from_fn(tap), past: [0.0; LENGTH] })
    }

    fn push(&mut self, sample: f32) {
        self.past.copy_within(1.., 0);
        self.past[LENGTH - 1] = sample;
    }

    fn step(&mut self, sample: f32) -> i16 {
        self.push(sample);
        let sum: f32 = self.taps.iter().zip(&self.past).map(|(tap, sample)| tap * sample).sum();
        sum.round() as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f32) -> Vec<i16> {
        let sample =
            |at: u32| ((at as f32 * hertz * std::f32::consts::TAU / rate as f32).sin() * 8_000.0) as i16;
        (0..rate / 2).map(sample).collect()
    }

    fn level(pcm: &[i16]) -> f32 {
        let power: f32 = pcm.iter().map(|&sample| f32::from(sample).powi(2)).sum();
        (power / pcm.len() as f32).sqrt()
    }

    fn converted(from: u32, to: u32, hertz: f32) -> f32 {
        let mut rates = Rates::default();
        let mut heard = Vec::new();
        for frame in tone(from, hertz).chunks(from as usize / 50) {
            let mut out = [0; 640];
            heard.extend_from_slice(rates.convert(frame, from, to, &mut out).unwrap());
        }
        assert_eq!(heard.len(), to as usize / 2);
        level(&heard[200..]) / 5_657.0
    }

    #[test]
    fn what_both_rates_hold_passes_and_what_one_cannot_hold_does_not() {
        for hertz in [200.0, 1_000.0, 3_000.0] {
            for (from, to) in [(8_000, 16_000), (16_000, 8_000), (8_000, 8_000)] {
                let gain = converted(from, to, hertz);
                assert!((0.95..1.05).contains(&gain), "{from} {to} {hertz} {gain}");
            }
        }
        let folded = converted(16_000, 8_000, 5_500.0);
        assert!(folded < 0.002, "{folded}");
    }
}
