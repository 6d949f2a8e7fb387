//! ITU-T G.722 at 64 kbit/s (mode 1), as RFC 3551 §4.5.2 puts it into RTP: two samples of 16 kHz are one octet.
//!
//! Two bands of 8 kHz each (quadrature mirror filters, §3.1, §4.4) go through adaptive differential coding: six bits for the lower
//! one, two for the higher. Names of blocks in comments are those of the Recommendation's figures. All is integer arithmetic, so every
//! implementation gives the same octets.

/// Samples a second.
pub const SAMPLE_RATE: u32 = 16_000;

/// Coefficients of both filters (table 11): the first half, the other half is its mirror.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band (table 14), from the second on.
const LOW_LEVELS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Logarithmic scale factor's step for each of the lower band's four-bit codes (table 17, WL after RL4).
const LOW_STEPS: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
/// The higher band's (table 20, WH after RH2).
const HIGH_STEPS: [i32; 4] = [798, -214, 798, -214];
/// Inverse logarithm (table 18).
const INVERSE_LOG: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// Quantiser outputs of two, four and six bits (tables 15, 16 and 19).
const OUT_2: [i32; 4] = [-7408, -1616, 7408, 1616];
const OUT_4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const OUT_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];

/// One direction's encoder.
#[derive(Debug, Clone)]
pub struct Encoder {
    history: [i32; 24],
    low: Band,
    high: Band,
}

/// One direction's decoder.
#[derive(Debug, Clone)]
pub struct Decoder {
    history: [i32; 24],
    low: Band,
    high: Band,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { history: [0; 24], low: Band::low(), high: Band::high() }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { history: [0; 24], low: Band::low(), high: Band::high() }
    }
}

impl Encoder {
    /// Codes pairs of samples, as many as both have room for. Returns the octets written.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        let pairs = pcm.as_chunks::<2>().0;
        for (pair, octet) in pairs.iter().zip(out.iter_mut()) {
            *octet = self.pair(*pair);
        }
        pairs.len().min(out.len())
    }

    fn pair(&mut self, [first, second]: [i16; 2]) -> u8 {
        self.history.copy_within(2.., 0);
        self.history[22] = i32::from(first);
        self.history[23] = i32::from(second);
        let (odd, even) = filtered(&self.history);
        let low = self.low.encode_low((even + odd) >> 14);
        let high = self.high.encode_high((even - odd) >> 14);
        high << 6 | low
    }
}

impl Decoder {
    /// Decodes octets to two samples each, as many as both have room for. Returns the samples written.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        let pairs = out.as_chunks_mut::<2>().0;
        let count = pairs.len().min(payload.len());
        for (octet, pair) in payload.iter().zip(pairs) {
            *pair = self.octet(*octet);
        }
        2 * count
    }

    fn octet(&mut self, octet: u8) -> [i16; 2] {
        let low = self.low.decode_low(usize::from(octet & 0x3f));
        let high = self.high.decode_high(usize::from(octet >> 6));
        self.history.copy_within(2.., 0);
        self.history[22] = low + high;
        self.history[23] = low - high;
        let (second, first) = filtered(&self.history);
        [saturated(first >> 11) as i16, saturated(second >> 11) as i16]
    }
}

/// Both halves of a filter's sum: over the samples of even and of odd place.
fn filtered(history: &[i32; 24]) -> (i32, i32) {
    let (mut even, mut odd) = (0, 0);
    for (pair, (&forth, &back)) in history.as_chunks::<2>().0.iter().zip(QMF.iter().zip(QMF.iter().rev())) {
        even += pair[0] * forth;
        odd += pair[1] * back;
    }
    (even, odd)
}

/// What one band's coder and decoder know alike.
#[derive(Debug, Clone)]
struct Band {
    /// Predicted signal, and the part of it that the zeros give.
    predicted: i32,
    from_zeros: i32,
    /// Last reconstructed and last partially reconstructed signals, newest first.
    reconstructed: [i32; 2],
    partial: [i32; 2],
    poles: [i32; 2],
    zeros: [i32; 6],
    differences: [i32; 6],
    /// Logarithmic and linear scale factor.
    scale_log: i32,
    scale: i32,
}

impl Band {
    const fn new(scale: i32) -> Self {
        Self {
            predicted: 0,
            from_zeros: 0,
            reconstructed: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
            scale_log: 0,
            scale,
        }
    }

    const fn low() -> Self {
        Self::new(32)
    }

    const fn high() -> Self {
        Self::new(8)
    }

    /// Blocks SUBTRA and QUANTL, and what follows from the code.
    fn encode_low(&mut self, signal: i32) -> u8 {
        let error = saturated(signal - self.predicted);
        // −1 is as far from nothing as 0.
        let size = if error >= 0 { error } else { -(error + 1) };
        let level = LOW_LEVELS.partition_point(|level| (level * self.scale) >> 12 <= size) as u8;
        // Table 13: codes count down, and the two smallest negative ones have six bits of their own.
        let code = match (error < 0, level) {
            (false, level) => 61 - level,
            (true, 0 | 1) => 63 - level,
            (true, level) => 33 - level,
        };
        self.update_low(usize::from(code >> 2));
        code
    }

    /// Blocks INVQBL, RECONS and LIMIT.
    fn decode_low(&mut self, code: usize) -> i32 {
        let signal = self.predicted + ((self.scale * OUT_6[code]) >> 15);
        self.update_low(code >> 2);
        signal.clamp(-16_384, 16_383)
    }

    /// The predictor sees four bits only, so that a network may take the others away.
    fn update_low(&mut self, code: usize) {
        let difference = (self.scale * OUT_4[code]) >> 15;
        self.rescale(LOW_STEPS[code], 18_432, 8);
        self.adapt(difference);
    }

    fn encode_high(&mut self, signal: i32) -> u8 {
        let error = saturated(signal - self.predicted);
        let size = if error >= 0 { error } else { -(error + 1) };
        let large = size >= (564 * self.scale) >> 12;
        let code = match (error < 0, large) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.update_high(usize::from(code));
        code
    }

    fn decode_high(&mut self, code: usize) -> i32 {
        let signal = self.predicted + ((self.scale * OUT_2[code]) >> 15);
        self.update_high(code);
        signal.clamp(-16_384, 16_383)
    }

    fn update_high(&mut self, code: usize) {
        let difference = (self.scale * OUT_2[code]) >> 15;
        self.rescale(HIGH_STEPS[code], 22_528, 10);
        self.adapt(difference);
    }

    /// Blocks LOGSCL and SCALEL, or LOGSCH and SCALEH.
    fn rescale(&mut self, step: i32, most: i32, shift: i32) {
        self.scale_log = (((self.scale_log * 127) >> 7) + step).clamp(0, most);
        let mantissa = INVERSE_LOG[(self.scale_log >> 6 & 31) as usize];
        let down = shift - (self.scale_log >> 11);
        self.scale = if down < 0 { mantissa << -down } else { mantissa >> down } << 2;
    }

    /// Block 4: the adaptive predictor.
    fn adapt(&mut self, difference: i32) {
        let reconstructed = saturated(self.predicted + difference);
        let partial = saturated(self.from_zeros + difference);
        self.poles = self.next_poles(partial);
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(self.differences) {
            let step = if (before < 0) == (difference < 0) { step } else { -step };
            *zero = saturated(step + ((*zero * 32_640) >> 15));
        }
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        // FILTEP, FILTEZ, PREDIC.
        let product = |coefficient: i32, signal: i32| (coefficient * saturated(2 * signal)) >> 15;
        let zeros = self.zeros.iter().zip(self.differences).map(|(&zero, signal)| product(zero, signal));
        self.from_zeros = saturated(zeros.sum());
        let from_poles =
            product(self.poles[0], self.reconstructed[0]) + product(self.poles[1], self.reconstructed[1]);
        self.predicted = saturated(saturated(from_poles) + self.from_zeros);
    }

    /// UPPOL2 and UPPOL1.
    fn next_poles(&self, partial: i32) -> [i32; 2] {
        let same = |before: i32| (before < 0) == (partial < 0);
        let first = saturated(self.poles[0] << 2);
        let first = if same(self.partial[0]) { (-first).min(32_767) } else { first };
        let sign = if same(self.partial[1]) { 128 } else { -128 };
        let second = ((first >> 7) + sign + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let step = if same(self.partial[0]) { 192 } else { -192 };
        let most = 15_360 - second;
        [saturated(step + ((self.poles[0] * 32_640) >> 15)).clamp(-most, most), second]
    }
}

/// To 16 bits.
const fn saturated(value: i32) -> i32 {
    if value > 32_767 {
        32_767
    } else if value < -32_768 {
        -32_768
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Integers alone, so that the expected octets hold on every machine.
    fn signal(length: usize) -> Vec<i16> {
        let mut random = 12_345u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 48) as u16 as i16
        };
        let loudness = |at: usize| 1 + (at / 500) as i16 % 200;
        let square = |at: usize| if (at / 37).is_multiple_of(2) { 9_000 } else { -9_000 };
        (0..length).map(|at| next() / loudness(at) / 2 + square(at) / loudness(at / 3)).collect()
    }

    fn digest(octets: impl Iterator<Item = u8>) -> u64 {
        octets
            .fold(0xcbf2_9ce4_8422_2325, |sum, octet| (sum ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3))
    }

    /// The digests are those of SpanDSP's G.722 (its mode of 64 kbit/s, unpacked), given the same samples and octets.
    #[test]
    fn octets_and_samples_are_those_of_a_known_implementation() {
        let pcm = signal(160_000);
        let mut octets = vec![0; 80_000];
        assert_eq!(Encoder::default().encode(&pcm, &mut octets), 80_000);
        assert_eq!(digest(octets.iter().copied()), 0xdf64_053c_5fb6_f25c);
        let mut out = vec![0; 160_000];
        assert_eq!(Decoder::default().decode(&octets, &mut out), 160_000);
        assert_eq!(digest(out.iter().flat_map(|sample| sample.to_le_bytes())), 0xb074_f7d8_41a3_57c7);
        // Octets that no coder would give.
        let any: Vec<u8> = pcm.iter().map(|&sample| sample as u8).take(80_000).collect();
        Decoder::default().decode(&any, &mut out);
        assert_eq!(digest(out.iter().flat_map(|sample| sample.to_le_bytes())), 0x2586_99a9_6ea1_c175);
    }

    #[test]
    fn the_shorter_of_input_and_output_counts() {
        assert_eq!(Encoder::default().encode(&[0; 7], &mut [0; 10]), 3);
        assert_eq!(Encoder::default().encode(&[0; 8], &mut [0; 2]), 2);
        assert_eq!(Decoder::default().decode(&[0; 3], &mut [0; 5]), 4);
        assert_eq!(Decoder::default().decode(&[0; 1], &mut [0; 5]), 2);
    }

    #[test]
    fn both_bands_pass() {
        for frequency in [300.0, 1_000.0, 3_400.0, 5_000.0, 6_800.0] {
            let sample = |at: usize| {
                (8_000.0 * (std::f64::consts::TAU * frequency * at as f64 / 16_000.0).sin()) as i16
            };
            let pcm: Vec<i16> = (0..16_000).map(sample).collect();
            let (mut octets, mut out) = (vec![0; 8_000], vec![0; 16_000]);
            Encoder::default().encode(&pcm, &mut octets);
            Decoder::default().decode(&octets, &mut out);
            // The filters delay by 22 samples (§1.1: 4 ms at most).
            let pairs = || pcm[8_000..12_000].iter().zip(&out[8_022..12_022]);
            let power: f64 = pairs().map(|(&x, _)| f64::from(x).powi(2)).sum();
            let error: f64 = pairs().map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum();
            let ratio = 10.0 * (power / error).log10();
            assert!(ratio > 20.0, "{frequency} Hz: {ratio:.1} dB");
        }
    }
}
