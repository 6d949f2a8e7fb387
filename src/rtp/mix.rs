//! Many voices become one, another one for each who listens: conference, whisper, barge, silent monitoring.
//!
//! All voices are added once a frame; a listener's mix is that sum less what is not for its ears, or, for those that hear few, the
//! few. So a conference costs one addition per party where all hear all, and what a list says beside that ("hears the agent
//! 6 dB softer") costs one more per exception. Sums are 32 bits; a limiter brings them to 16 without the crackle of clipping.

/// Voices that one mixer adds at most: their sum stays within 32 bits, gains included.
pub const PARTIES_MAX: usize = 1_024;
/// Softest and loudest that one party can hear another, in dB.
pub const GAIN_MIN_DB: i8 = -40;
/// See [`GAIN_MIN_DB`].
pub const GAIN_MAX_DB: i8 = 12;

/// Gains are in 1,024ths.
const UNITY: i32 = 1_024;

/// What one listener hears, prepared once for many frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Whether it begins with the sum of all.
    all: bool,
    /// What is added besides: place among the voices, and gain.
    terms: Box<[(u16, i32)]>,
}

impl Recipe {
    /// For a listener that hears these of `parties` voices (place and gain in dB; gains outside of the bounds are moved there, places
    /// from `parties` on hear nothing, of a voice named twice the first counts). Its own voice is heard if it is in the list.
    #[must_use]
    pub fn new(parties: usize, hears: &[(usize, i8)]) -> Self {
        let parties = parties.min(PARTIES_MAX);
        let mut gains = vec![0; parties];
        for &(place, gain_db) in hears.iter().rev() {
            if let Some(gain) = gains.get_mut(place) {
                *gain = factor(gain_db);
            }
        }
        let terms = |base: i32| -> Box<[(u16, i32)]> {
            let terms = (0u16..).zip(&gains).filter(|(_, gain)| **gain != base);
            terms.map(|(place, &gain)| (place, gain - base)).collect()
        };
        let (few, exceptions) = (terms(0), terms(UNITY));
        if exceptions.len() < few.len() {
            Self { all: true, terms: exceptions }
        } else {
            Self { all: false, terms: few }
        }
    }

    /// Voices that are added or taken away for this listener, each frame.
    #[must_use]
    pub const fn terms(&self) -> usize {
        self.terms.len()
    }
}

fn factor(gain_db: i8) -> i32 {
    let gain_db = gain_db.clamp(GAIN_MIN_DB, GAIN_MAX_DB);
    (f64::from(UNITY) * 10f64.powf(f64::from(gain_db) / 20.0)).round() as i32
}

/// Adds the voices of one frame.
#[derive(Debug, Clone)]
pub struct Mixer {
    all: Box<[i32]>,
    mix: Box<[i32]>,
}

impl Mixer {
    /// For frames of so many samples.
    #[must_use]
    pub fn new(frame: usize) -> Self {
        Self { all: vec![0; frame].into(), mix: vec![0; frame].into() }
    }

    /// Samples of a frame.
    #[must_use]
    pub const fn frame(&self) -> usize {
        self.all.len()
    }

    /// Begins a frame with all that is said in it. Who is muted, says nothing; short voices end in silence.
    pub fn begin<'a>(&mut self, voices: impl IntoIterator<Item = &'a [i16]>) {
        self.all.fill(0);
        for voice in voices.into_iter().take(PARTIES_MAX) {
            for (sum, &sample) in self.all.iter_mut().zip(voice) {
                *sum += i32::from(sample);
            }
        }
    }

    /// What one listener hears of the frame that was begun. `voice` gives the voice at a place, as [`Mixer::begin`] had it; `None`
    /// for one that is muted.
    pub fn listen<'a>(
        &mut self,
        recipe: &Recipe,
        voice: impl Fn(usize) -> Option<&'a [i16]>,
        out: &mut [i16],
    ) {
        if recipe.all {
            self.mix.copy_from_slice(&self.all);
        } else {
            self.mix.fill(0);
        }
        for &(place, gain) in &recipe.terms {
            let Some(voice) = voice(usize::from(place)) else { continue };
            match gain {
                UNITY => self.mix.iter_mut().zip(voice).for_each(|(sum, &sample)| *sum += i32::from(sample)),
                MINUS => self.mix.iter_mut().zip(voice).for_each(|(sum, &sample)| *sum -= i32::from(sample)),
                gain => self
                    .mix
                    .iter_mut()
                    .zip(voice)
                    .for_each(|(sum, &sample)| *sum += (i32::from(sample) * gain) >> 10),
            }
        }
        for (sample, &sum) in out.iter_mut().zip(&self.mix) {
            *sample = limited(sum);
        }
        out.iter_mut().skip(self.mix.len()).for_each(|sample| *sample = 0);
    }
}

const MINUS: i32 = -UNITY;

/// From here on the limiter bends: 3 dB below full scale.
const KNEE: i32 = 23_197;

/// Bends what is too loud towards full scale, which it never reaches; what is softer than the knee stays as it is.
const fn limited(sum: i32) -> i16 {
    const REST: i64 = 32_767 - KNEE as i64;
    let over = sum.unsigned_abs() as i64 - KNEE as i64;
    if over <= 0 {
        return sum as i16;
    }
    // Slope 1 at the knee.
    let bent = KNEE as i64 + REST * over / (REST + over);
    (if sum < 0 { -bent } else { bent }) as i16
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const FRAME: usize = 160;

    /// Each party says a tone of its own, of which a frame holds whole periods.
    fn voices(count: usize) -> Vec<Vec<i16>> {
        let tone = |k: usize| {
            let sample = |at: usize| {
                (3_000.0 * (TAU * (k + 1) as f64 * 2.0 * at as f64 / FRAME as f64).sin()).round() as i16
            };
            (0..FRAME).map(sample).collect()
        };
        (0..count).map(tone).collect()
    }

    /// How loud each voice is in a mix, of its own loudness.
    fn heard(mix: &[i16], voices: &[Vec<i16>]) -> Vec<f64> {
        let product = |a: &[i16], b: &[i16]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        voices.iter().map(|voice| product(mix, voice) / product(voice, voice)).collect()
    }

    fn mixed(voices: &[Vec<i16>], muted: &[usize], hears: &[(usize, i8)]) -> Vec<f64> {
        let mut mixer = Mixer::new(FRAME);
        let voice = |place: usize| (!muted.contains(&place)).then(|| &voices[place][..]);
        mixer.begin((0..voices.len()).filter_map(voice));
        let mut out = [0; FRAME];
        mixer.listen(&Recipe::new(voices.len(), hears), voice, &mut out);
        heard(&out, voices)
    }

    /// What it is, who is muted, the list, and how loud each of four is heard.
    type Row = (&'static str, &'static [usize], &'static [(usize, i8)], [f64; 4]);

    #[test]
    fn each_hears_what_its_list_says() {
        // Customer 0, agent 1, supervisor 2, colleague 3.
        let table: [Row; 10] = [
            ("a conference", &[], &[(0, 0), (2, 0), (3, 0)], [1.0, 0.0, 1.0, 1.0]),
            ("silent monitoring", &[], &[(0, 0), (1, 0)], [1.0, 1.0, 0.0, 0.0]),
            ("a whisper: the agent hears both", &[], &[(0, 0), (2, 0)], [1.0, 0.0, 1.0, 0.0]),
            ("a whisper: the customer does not", &[], &[(1, 0)], [0.0, 1.0, 0.0, 0.0]),
            ("barge: the customer hears both", &[], &[(1, 0), (2, 0)], [0.0, 1.0, 1.0, 0.0]),
            ("the customer softer below a whisper", &[], &[(0, -6), (2, 0), (3, 0)], [0.501, 0.0, 1.0, 1.0]),
            ("louder", &[], &[(0, 6)], [1.995, 0.0, 0.0, 0.0]),
            ("one is muted", &[0], &[(0, 0), (2, 0), (3, 0)], [0.0, 0.0, 1.0, 1.0]),
            ("nobody", &[], &[], [0.0; 4]),
            ("all, and a place that is not there", &[], &[(0, 0), (1, 0), (2, 0), (3, 0), (9, 0)], [1.0; 4]),
        ];
        let voices = voices(4);
        for (what, muted, hears, expected) in table {
            for (place, (found, expected)) in
                mixed(&voices, muted, hears).into_iter().zip(expected).enumerate()
            {
                assert!(
                    (found - expected).abs() < 0.01,
                    "{what}: {place} is heard at {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_conference_costs_one_exception_a_listener() {
        for parties in [3, 50, 1_000] {
            for own in [0, parties / 2, parties - 1] {
                let hears: Vec<_> =
                    (0..parties).filter(|&place| place != own).map(|place| (place, 0)).collect();
                assert!(Recipe::new(parties, &hears).terms() <= 2, "{parties}");
            }
        }
        assert_eq!(Recipe::new(50, &[(7, 0), (8, -6)]).terms(), 2);
    }

    #[test]
    fn fifty_voices_leave_out_but_the_listeners_own() {
        let voices: Vec<Vec<i16>> =
            voices(20).into_iter().map(|voice| voice.iter().map(|x| x / 10).collect()).collect();
        for own in 0..20 {
            let hears: Vec<_> = (0..20).filter(|&place| place != own).map(|place| (place, 0)).collect();
            for (place, found) in mixed(&voices, &[], &hears).into_iter().enumerate() {
                let expected = if place == own { 0.0 } else { 1.0 };
                assert!((found - expected).abs() < 0.05, "{own} hears {place} at {found}");
            }
        }
    }

    #[test]
    fn the_limiter_bends_and_never_turns_back() {
        assert_eq!((limited(20_000), limited(-20_000), limited(KNEE)), (20_000, -20_000, KNEE as i16));
        assert!(limited(1 << 25) > 32_000 && limited(-(1 << 25)) < -32_000);
        let mut before = limited(0);
        for sum in 0..200_000 {
            let now = limited(sum);
            assert!(now >= before && i32::from(now - before) <= 1);
            assert_eq!(limited(-sum), -now);
            before = now;
        }
    }

    #[test]
    fn short_voices_and_long_outputs_end_in_silence() {
        let mut mixer = Mixer::new(4);
        let voice: &[i16] = &[5, 6];
        mixer.begin([voice]);
        let mut out = [9; 6];
        mixer.listen(&Recipe::new(1, &[(0, 0)]), |_| Some(voice), &mut out);
        assert_eq!(out, [5, 6, 0, 0, 0, 0]);
    }

    proptest! {
        /// Whether a recipe begins with all or with nothing, the sum is the same.
        #[test]
        fn the_sum_is_what_its_list_says(
            voices in prop::collection::vec(prop::collection::vec(-2_000i16..2_000, 8), 1..12),
            gains in prop::collection::vec(prop::option::of(-20i8..6), 12),
        ) {
            let hears: Vec<_> = gains.iter().take(voices.len()).enumerate().filter_map(|(place, gain)| Some((place, (*gain)?))).collect();
            let mut mixer = Mixer::new(8);
            mixer.begin(voices.iter().map(|voice| &voice[..]));
            let mut out = [0; 8];
            mixer.listen(&Recipe::new(voices.len(), &hears), |place| Some(&voices[place]), &mut out);
            for (at, &found) in out.iter().enumerate() {
                let sum: f64 = hears.iter().map(|&(place, gain)| f64::from(voices[place][at]) * 10f64.powf(f64::from(gain) / 20.0)).sum();
                let expected = limited(sum.round() as i32);
                prop_assert!((i32::from(found) - i32::from(expected)).abs() <= 16, "{} {}", found, expected);
            }
        }
    }
}
