//! Comfort noise: a level and the spectrum's outline instead of silence (RFC 3389, which is ITU-T G.711 Appendix II's payload).

/// Reflection coefficients that we send and heed; RFC 3389 §3 lets a receiver leave out what follows.
pub const ORDER_MAX: usize = 10;
/// Octets that [`Noise::write`] needs at most.
pub const PAYLOAD_MAX: usize = 1 + ORDER_MAX;

/// What one packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    /// In −dBov, 0 to 127: 0 is a square wave of full scale.
    pub level: u8,
    /// As the wire has them (RFC 3389 §3.2): 127 is 0, 0 is −1, 254 is 1.
    coefficients: [u8; ORDER_MAX],
    order: u8,
}

/// A payload without even a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("comfort noise payload is empty")]
pub struct Empty;

impl Noise {
    /// White noise of a level.
    #[must_use]
    pub const fn white(level: u8) -> Self {
        Self { level: if level > 127 { 127 } else { level }, coefficients: [127; ORDER_MAX], order: 0 }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Empty`].
    pub fn parse(payload: &[u8]) -> Result<Self, Empty> {
        let (level, coefficients) = payload.split_first().ok_or(Empty)?;
        let order = coefficients.len().min(ORDER_MAX);
        let mut noise = Self { order: order as u8, ..Self::white(level & 0x7f) };
        for (place, &octet) in noise.coefficients.iter_mut().zip(&coefficients[..order]) {
            *place = octet.min(254);
        }
        Ok(noise)
    }

    /// What sounds like this frame, which should hold 10 ms or more without speech.
    #[must_use]
    pub fn measure(pcm: &[i16]) -> Self {
        let correlation = correlation(pcm);
        let power = f64::from(correlation[0]) / pcm.len().max(1) as f64;
        let level = -10.0 * (power / FULL_POWER).max(1e-13).log10();
        let mut noise = Self { order: ORDER_MAX as u8, ..Self::white(level.round().clamp(0.0, 127.0) as u8) };
        for (place, k) in noise.coefficients.iter_mut().zip(reflections(&correlation)) {
            *place = (k * STEPS + 127.0).round().clamp(0.0, 254.0) as u8;
        }
        noise
    }

    /// Writes the payload and returns its length.
    pub fn write(&self, out: &mut [u8; PAYLOAD_MAX]) -> usize {
        out[0] = self.level;
        out[1..].copy_from_slice(&self.coefficients);
        1 + usize::from(self.order)
    }

    fn reflection(&self, place: usize) -> f32 {
        if place < usize::from(self.order) {
            (f32::from(self.coefficients[place]) - 127.0) / STEPS
        } else {
            0.0
        }
    }
}

/// RFC 3389 §3.2: k = 258 (N − 127) / 32768.
const STEPS: f32 = 32_768.0 / 258.0;
const FULL_POWER: f64 = 32_767.0 * 32_767.0;

fn correlation(pcm: &[i16]) -> [f32; ORDER_MAX + 1] {
    let mut sums = [0.0; ORDER_MAX + 1];
    for (lag, sum) in sums.iter_mut().enumerate() {
        let pairs = pcm.iter().zip(pcm.get(lag..).unwrap_or_default());
        *sum = pairs.map(|(&a, &b)| f32::from(a) * f32::from(b)).sum();
    }
    sums
}

/// Levinson and Durbin's recursion, for A(z) = 1 + k z⁻¹ at order 1.
fn reflections(correlation: &[f32; ORDER_MAX + 1]) -> [f32; ORDER_MAX] {
    let mut k = [0.0; ORDER_MAX];
    // A little white noise keeps a pure tone's recursion stable.
    let mut error = correlation[0] * 1.0001;
    let mut predictor = [0.0f32; ORDER_MAX + 1];
    predictor[0] = 1.0;
    for order in 1..=ORDER_MAX {
        if error <= 0.0 {
            break;
        }
        let sum: f32 = (0..order).map(|place| predictor[place] * correlation[order - place]).sum();
        let reflection = (-sum / error).clamp(-0.99, 0.99);
        let before = predictor;
        for place in 1..=order {
            predictor[place] = before[place] + reflection * before[order - place];
        }
        error *= 1.0 - reflection * reflection;
        k[order - 1] = reflection;
    }
    k
}

/// Makes the noise.
#[derive(Debug, Clone)]
pub struct Generator {
    reflections: [f32; ORDER_MAX],
    backward: [f32; ORDER_MAX + 1],
    /// Of the excitation, at present and where it goes to.
    gain: f32,
    gain_target: f32,
    random: u32,
}

impl Generator {
    /// Silent until it is told. The seed keeps two of them from sounding alike.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self {
            reflections: [0.0; ORDER_MAX],
            backward: [0.0; ORDER_MAX + 1],
            gain: 0.0,
            gain_target: 0.0,
            // Zero would stay zero.
            random: seed | 1,
        }
    }

    /// From now on it sounds like this. The level moves there within some 20 ms.
    pub fn set(&mut self, noise: &Noise) {
        let mut power = FULL_POWER as f32 * 10f32.powf(-f32::from(noise.level) / 10.0);
        for (place, reflection) in self.reflections.iter_mut().enumerate() {
            *reflection = noise.reflection(place).clamp(-0.99, 0.99);
            power *= 1.0 - *reflection * *reflection;
        }
        // Evenly distributed numbers of −1 to 1 have a power of a third.
        self.gain_target = (3.0 * power).sqrt();
    }

    /// The next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            self.gain += (self.gain_target - self.gain) / 64.0;
            let mut forward = self.gain * self.noise();
            for (place, &k) in self.reflections.iter().enumerate().rev() {
                forward -= k * self.backward[place];
                self.backward[place + 1] = self.backward[place] + k * forward;
            }
            self.backward[0] = forward;
            *sample = forward as i16;
        }
    }

    /// Marsaglia's xorshift, as −1 to 1.
    fn noise(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random.cast_signed() as f32 / 2_147_483_648.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generated(noise: &Noise) -> Vec<i16> {
        let mut generator = Generator::new(7);
        generator.set(noise);
        let mut out = vec![0; 16_000];
        generator.fill(&mut out);
        out.split_off(1_600)
    }

    #[test]
    fn white_noise_has_its_level() {
        for level in [20, 30, 45, 60, 78] {
            let heard = Noise::measure(&generated(&Noise::white(level)));
            assert!(heard.level.abs_diff(level) <= 1, "{level}: {}", heard.level);
        }
    }

    #[test]
    fn what_is_measured_sounds_like_what_was_heard() {
        // A low rumble and a hiss, each described by its first coefficients.
        for coefficients in [[20, 150, 120], [230, 127, 140], [100, 180, 90]] {
            let packet = [&[40][..], &coefficients].concat();
            let noise = Noise::parse(&packet).unwrap();
            let heard = Noise::measure(&generated(&noise));
            assert!(heard.level.abs_diff(40) <= 1, "{}", heard.level);
            for (place, expected) in coefficients.iter().enumerate() {
                let found = heard.coefficients[place];
                assert!(found.abs_diff(*expected) <= 6, "{place}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let noise = Noise::measure(&generated(&Noise::white(50)));
        let mut buffer = [0; PAYLOAD_MAX];
        let length = noise.write(&mut buffer);
        assert_eq!(length, PAYLOAD_MAX);
        assert_eq!(Noise::parse(&buffer[..length]), Ok(noise));
        assert_eq!(Noise::white(60).write(&mut buffer), 1);
    }

    #[test]
    fn silence_is_the_lowest_level_and_an_empty_payload_is_refused() {
        assert_eq!(Noise::measure(&[0; 160]).level, 127);
        assert_eq!(Noise::measure(&[]).level, 127);
        assert_eq!(Noise::parse(&[]), Err(Empty));
        assert_eq!(Noise::parse(&[0xff]).unwrap().level, 127);
        let mut out = [1; 160];
        Generator::new(0).fill(&mut out);
        assert_eq!(out, [0; 160]);
    }

    proptest! {
        #[test]
        fn any_payload_makes_bounded_noise(payload in prop::collection::vec(any::<u8>(), 1..40)) {
            let mut noise = Noise::parse(&payload).unwrap();
            noise.level = noise.level.max(30);
            let power = generated(&noise).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 14_400.0;
            let level = 10.0 * (power / FULL_POWER).max(1e-13).log10();
            // Narrow resonances take long to settle.
            prop_assert!(level < 10.0 - f64::from(noise.level), "{level} {}", noise.level);
        }
    }
}
