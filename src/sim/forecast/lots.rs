//! Lots that are drawn: equal seeds give equal lots, whatever else is drawn beside them.

use model::demand::{Spread, Times};

/// Lots of one purpose, from Steele, Lea and Flood's SplitMix64 (OOPSLA 2014).
#[derive(Debug, Clone)]
pub(super) struct Lots(u64);

impl Lots {
    /// Independent of those of any other seed and purpose.
    pub fn new(seed: u64, purpose: impl IntoIterator<Item = u64>) -> Self {
        let mut lots = Self(seed);
        for part in purpose {
            lots.0 = lots.draw() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        lots.draw();
        lots
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut lot = self.0;
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        lot ^ (lot >> 31)
    }

    /// Above 0, at most 1.
    pub fn uniform(&mut self) -> f64 {
        ((self.draw() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// With mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// By Box and Muller: two lots each, so that every draw takes as many.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// In seconds.
    pub fn time(&mut self, times: &Times) -> f64 {
        let mean = times.mean_seconds;
        match times.spread {
            Spread::Exponential => mean * self.exponential(),
            Spread::LogNormal(deviation) => {
                let variance = (deviation / mean).powi(2).ln_1p();
                mean * (variance.sqrt() * self.normal() - variance / 2.0).exp()
            }
            Spread::Fixed => mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(spread: Spread) -> (f64, f64) {
        const COUNT: usize = 200_000;
        let mut lots = Lots::new(3, [1, 2]);
        let times = Times { mean_seconds: 200.0, spread };
        let drawn: Vec<f64> = (0..COUNT).map(|_| lots.time(&times)).collect();
        let mean = drawn.iter().sum::<f64>() / COUNT as f64;
        let variance = drawn.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / COUNT as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn times_have_the_mean_and_the_deviation_that_were_asked_for() {
        for (spread, deviation) in
            [(Spread::Exponential, 200.0), (Spread::LogNormal(120.0), 120.0), (Spread::Fixed, 0.0)]
        {
            let (mean, found) = moments(spread);
            assert!((mean - 200.0).abs() < 2.0, "{spread:?}: {mean}");
            assert!((found - deviation).abs() < 3.0, "{spread:?}: {found}");
        }
    }

    #[test]
    fn lots_of_other_purposes_are_others() {
        let first = |purpose: [u64; 2]| Lots::new(1, purpose).uniform();
        assert!((first([0, 1]) - first([0, 1])).abs() < f64::EPSILON);
        assert!((first([0, 1]) - first([1, 0])).abs() > 1e-9);
        assert!((first([0, 1]) - first([0, 2])).abs() > 1e-9);
    }
}
