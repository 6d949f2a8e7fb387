//! Packet-loss concealment for coders that bring none (ITU-T G.711 Appendix I).
//!
//! What was said last is repeated by its pitch: one period for the first 10 ms, two for the next, then three, so that nothing
//! buzzes; it fades by a fifth every 10 ms after the first, and is silence after 60 ms. Where sound returns, the repetition
//! blends into it. Unlike the Appendix this adds no delay: it does not hold samples back to bend the end of what was good, but
//! begins the repetition at the last sample's height. The history stays as it is during a loss.

/// Longest and shortest pitch period, and what a correlation is taken over, in samples at 8 kHz.
const PERIOD_MAX: usize = 120;
const PERIOD_MIN: usize = 40;
const WINDOW: usize = 160;
/// Three periods and the quarter before them, which the last quarter is blended with.
const HISTORY: usize = 3 * PERIOD_MAX + PERIOD_MAX / 4;

/// Fades per sample at 8 kHz: a fifth of the whole in 10 ms.
const FADE: f32 = 0.2 / 80.0;

/// One source's memory: 0.8 kB at 8 kHz.
#[derive(Debug, Clone)]
pub struct Concealer {
    /// Oldest first.
    history: Box<[i16]>,
    /// Samples a second by 8,000.
    scale: usize,
    gap: Option<Gap>,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    period: usize,
    /// Samples made since the loss.
    made: usize,
    /// Repeated periods, and the place within them.
    periods: usize,
    at: usize,
    /// The repetition before, while it is blended into the present one: periods and place.
    before: Option<(usize, usize)>,
    blended: usize,
    /// Height of the step that the repetition would begin with.
    step: f32,
}

impl Concealer {
    /// For sound of 8,000 Hz or a multiple (other rates are taken for the next lower one).
    #[must_use]
    pub fn new(sample_rate: u32) -> Self {
        let scale = (sample_rate / crate::CLOCK_RATE).clamp(1, 6) as usize;
        Self { history: vec![0; HISTORY * scale].into(), scale, gap: None }
    }

    /// Takes sound that has come. After a loss its beginning is changed: the repetition fades out in it.
    pub fn heard(&mut self, sound: &mut [i16]) {
        if let Some(mut gap) = self.gap.take() {
            // Appendix I.2.7: 4 ms, and 4 more for each 10 ms that were lost, at most 10.
            let lost_ms = gap.made / (8 * self.scale);
            let overlap = ((4 + 4 * (lost_ms / 10)).min(10) * 8 * self.scale).min(sound.len());
            for (sample, place) in sound[..overlap].iter_mut().zip(1u16..) {
                let share = f32::from(place) / (overlap + 1) as f32;
                let repeated = self.repeat(&mut gap);
                *sample = (f32::from(*sample) * share + repeated * (1.0 - share)) as i16;
            }
        }
        let keep = self.history.len().saturating_sub(sound.len());
        self.history.copy_within(self.history.len() - keep.., 0);
        let newest = &sound[sound.len().saturating_sub(self.history.len())..];
        self.history[keep..].copy_from_slice(newest);
    }

    /// Makes what was lost.
    pub fn conceal(&mut self, out: &mut [i16]) {
        let mut gap = self.gap.unwrap_or_else(|| self.begin());
        for sample in out {
            *sample = self.repeat(&mut gap) as i16;
        }
        self.gap = Some(gap);
    }

    fn begin(&self) -> Gap {
        let period = self.period();
        let newest = self.history.len() - 1;
        let step = f32::from(self.history[newest]) - f32::from(self.history[newest - period]);
        Gap { period, made: 0, periods: 1, at: 0, before: None, blended: 0, step }
    }

    /// The lag at which the last 20 ms resemble what was before them most, first roughly, then to the sample.
    fn period(&self) -> usize {
        let (least, most) = (PERIOD_MIN * self.scale, PERIOD_MAX * self.scale);
        let coarse = 2 * self.scale;
        let best = |lags: std::ops::RangeInclusive<usize>, step: usize| {
            let scored = lags.step_by(step).map(|lag| (self.likeness(lag, step), lag));
            scored.fold((f32::MIN, most), |best, next| if next.0 > best.0 { next } else { best }).1
        };
        let rough = best(least..=most, coarse);
        best((rough - (coarse - 1)).max(least)..=(rough + coarse - 1).min(most), 1)
    }

    fn likeness(&self, lag: usize, step: usize) -> f32 {
        let from = self.history.len() - WINDOW * self.scale;
        let newest = self.history[from..].iter().step_by(step);
        let older = self.history[from - lag..].iter().step_by(step);
        let (mut product, mut energy) = (0.0f32, 1.0f32);
        for (&new, &old) in newest.zip(older) {
            product += f32::from(new) * f32::from(old);
            energy += f32::from(old) * f32::from(old);
        }
        product / energy.sqrt()
    }

    fn repeat(&self, gap: &mut Gap) -> f32 {
        let ten = 80 * self.scale;
        if gap.made >= 6 * ten {
            gap.made = gap.made.saturating_add(1);
            return 0.0;
        }
        if gap.made == gap.periods * ten && gap.periods < 3 {
            gap.before = Some((gap.periods, gap.at));
            gap.periods += 1;
            gap.at %= gap.period;
            gap.blended = 0;
        }
        let quarter = gap.period / 4;
        let mut sample = self.cycled(gap.period, gap.periods, gap.at);
        if let Some((periods, at)) = gap.before {
            let share = (gap.blended + 1) as f32 / (quarter + 1) as f32;
            sample = sample * share + self.cycled(gap.period, periods, at) * (1.0 - share);
            gap.blended += 1;
            gap.before = (gap.blended < quarter).then_some((periods, (at + 1) % (periods * gap.period)));
        }
        if gap.made < quarter {
            sample += gap.step * (1.0 - (gap.made + 1) as f32 / (quarter + 1) as f32);
        }
        let faded = gap.made.saturating_sub(ten) as f32 * FADE / self.scale as f32;
        gap.at = (gap.at + 1) % (gap.periods * gap.period);
        gap.made += 1;
        sample * (1.0 - faded).max(0.0)
    }

    /// A sample of so many last periods, whose last quarter blends into what was before them: so the cycle has no seam.
    fn cycled(&self, period: usize, periods: usize, at: usize) -> f32 {
        let length = periods * period;
        let quarter = period / 4;
        let sample = f32::from(self.history[self.history.len() + at - length]);
        let Some(within) = at.checked_sub(length - quarter) else { return sample };
        let share = (within + 1) as f32 / (quarter + 1) as f32;
        sample * (1.0 - share) + f32::from(self.history[self.history.len() + at - 2 * length]) * share
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    /// A voiced sound: a pitch and five harmonics.
    fn voice(pitch: f64, rate: u32, length: usize) -> Vec<i16> {
        let sample = |at: usize| {
            let phase = TAU * pitch * at as f64 / f64::from(rate);
            (1..=5).map(|k| 3_000.0 / f64::from(k) * (f64::from(k) * phase).sin()).sum::<f64>() as i16
        };
        (0..length).map(sample).collect()
    }

    fn power(sound: &[i16]) -> f64 {
        sound.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / sound.len() as f64
    }

    /// Plays `sound` in frames, of which those in `lost` are concealed.
    fn played(sound: &[i16], rate: u32, frame: usize, lost: &[usize]) -> Vec<i16> {
        let mut concealer = Concealer::new(rate);
        let mut out = sound.to_vec();
        for (place, frame) in out.chunks_mut(frame).enumerate() {
            if lost.contains(&place) { concealer.conceal(frame) } else { concealer.heard(frame) }
        }
        out
    }

    #[test]
    fn a_lost_frame_of_a_vowel_is_hardly_missed() {
        for rate in [8_000, 16_000] {
            for pitch in [90.0, 123.0, 180.0] {
                let frame = rate as usize / 50;
                let sound = voice(pitch, rate, 20 * frame);
                let out = played(&sound, rate, frame, &[10]);
                let range = 10 * frame..10 * frame + frame / 2;
                let error: Vec<i16> =
                    sound[range.clone()].iter().zip(&out[range.clone()]).map(|(a, b)| a - b).collect();
                let ratio = 10.0 * (power(&sound[range]) / power(&error)).log10();
                assert!(ratio > 12.0, "{pitch} Hz at {rate}: {ratio:.1} dB");
                assert_eq!(out[..10 * frame], sound[..10 * frame]);
                assert_eq!(out[12 * frame..], sound[12 * frame..]);
            }
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_within_60_ms() {
        let out = played(&voice(120.0, 8_000, 3_200), 8_000, 80, &(20..40).collect::<Vec<_>>());
        let levels: Vec<f64> = out.chunks(80).map(power).collect();
        assert!(levels[20] > levels[10] / 2.0);
        assert!(levels[24] < levels[20] / 4.0, "{levels:?}");
        assert_eq!(levels[26..40], [0.0; 14]);
    }

    #[test]
    fn no_click_is_added_at_either_end() {
        let sound = voice(140.0, 8_000, 3_200);
        let step = |sound: &[i16]| sound.windows(2).map(|w| (i32::from(w[0]) - i32::from(w[1])).abs()).max();
        let out = played(&sound, 8_000, 160, &[8, 9]);
        assert!(step(&out) <= step(&sound).map(|step| step * 3 / 2), "{:?} {:?}", step(&out), step(&sound));
    }

    #[test]
    fn silence_stays_silence() {
        assert_eq!(played(&[0; 1_600], 8_000, 160, &[0, 5, 6]), [0; 1_600]);
    }

    proptest! {
        #[test]
        fn any_sound_and_any_loss_are_taken(
            frames in prop::collection::vec((any::<bool>(), 0usize..900, any::<i16>()), 0..40), rate in 1u32..100_000
        ) {
            let mut concealer = Concealer::new(rate);
            for (lost, length, value) in frames {
                let mut frame = vec![value; length];
                if lost { concealer.conceal(&mut frame) } else { concealer.heard(&mut frame) }
            }
        }
    }
}
