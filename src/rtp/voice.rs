//! Whether somebody speaks, and where an utterance begins and ends.
//!
//! Each 10 ms are speech or not by their level above a noise floor that follows what is quiet, and by what kind of sound they are: a
//! steady hiss or a hum that is louder than before becomes the new floor, while speech comes in syllables, so that within a
//! second it is quiet now and then. Zero crossings let soft fricatives count beside vowels, never by themselves. [`Utterances`] joins
//! frames to utterances by time-outs.

/// Length of a frame in milliseconds.
pub const FRAME_MS: u32 = 10;

/// Speech is so much above the floor, dB: to begin, and to go on.
const BEGIN_DB: f32 = 9.0;
const GO_ON_DB: f32 = 5.0;
/// Below this nothing is speech, whatever the floor: −52 dBov.
const LEAST_DB: f32 = -52.0;
/// The floor is never taken to be below or above, dBov.
const FLOOR_MIN_DB: f32 = -75.0;
const FLOOR_MAX_DB: f32 = -30.0;
/// The floor is the least level of this many frames: 1.2 s, in which speech has pauses.
const MEMORY: usize = 12;
const FRAMES_PER_PLACE: u32 = 10;
/// Share of sample pairs that cross zero: from here on it is a fricative or a hiss.
const HISS: f32 = 0.35;
/// Frames after speech for which it is taken to go on: words have gaps.
const HANGOVER: u32 = 8;

/// Tells speech from silence and noise.
#[derive(Debug, Clone)]
pub struct Detector {
    frame: usize,
    /// Of the frame that is being filled: sum of squares, crossings, samples, the sample before.
    energy: f64,
    crossings: u32,
    filled: usize,
    last: i16,
    /// Least levels of the last pieces of 100 ms, a ring; those of the present piece last.
    least: [f32; MEMORY],
    place: usize,
    seen: u32,
    floor: f32,
    speaking: bool,
    hangover: u32,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Whether somebody speaks in it.
    pub speech: bool,
    /// Its level in dBov.
    pub level_db: f32,
    /// The noise floor, likewise.
    pub floor_db: f32,
}

impl Detector {
    /// For sound of so many samples a second.
    #[must_use]
    pub fn new(sample_rate: u32) -> Self {
        Self {
            frame: (sample_rate.clamp(8_000, 48_000) / 1_000 * FRAME_MS) as usize,
            energy: 0.0,
            crossings: 0,
            filled: 0,
            last: 0,
            least: [f32::MAX; MEMORY],
            place: 0,
            seen: 0,
            floor: -60.0,
            speaking: false,
            hangover: 0,
        }
    }

    /// Takes sound of any length, and tells of each 10 ms.
    pub fn hear(&mut self, pcm: &[i16], mut tell: impl FnMut(Frame)) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.frame - self.filled));
            rest = later;
            for &sample in now {
                self.energy += f64::from(sample) * f64::from(sample);
                self.crossings += u32::from((sample < 0) != (self.last < 0));
                self.last = sample;
            }
            self.filled += now.len();
            if self.filled == self.frame {
                tell(self.judge());
                (self.energy, self.crossings, self.filled) = (0.0, 0, 0);
            }
        }
    }

    fn judge(&mut self) -> Frame {
        let power = self.energy / self.frame as f64 / (32_767.0 * 32_767.0);
        let level = 10.0 * power.max(1e-10).log10() as f32;
        self.follow_floor(level);
        let above = level - self.floor;
        let hiss = self.crossings as f32 > HISS * self.frame as f32;
        let loud = level > LEAST_DB;
        let speech = match self.speaking {
            // A hiss must be as loud as a beginning to keep speech alive.
            true => loud && above > if hiss { BEGIN_DB } else { GO_ON_DB },
            false => loud && above > if hiss { BEGIN_DB + 6.0 } else { BEGIN_DB },
        };
        self.hangover = if speech { HANGOVER } else { self.hangover.saturating_sub(1) };
        self.speaking = speech || self.hangover > 0;
        Frame { speech: self.speaking, level_db: level, floor_db: self.floor }
    }

    /// The floor falls with each quieter frame, and rises to the least level of the last 1.2 s.
    fn follow_floor(&mut self, level: f32) {
        if self.seen.is_multiple_of(FRAMES_PER_PLACE) {
            self.place = (self.place + 1) % MEMORY;
            self.least[self.place] = f32::MAX;
        }
        self.seen = self.seen.wrapping_add(1);
        let place = &mut self.least[self.place];
        *place = place.min(level);
        let full = self.least.iter().all(|&least| least < f32::MAX);
        // A line that begins in a noisy room should not be all speech for as long as the memory is.
        let settling = !full && self.seen > 2 * FRAMES_PER_PLACE;
        let least = self.least.iter().copied().fold(f32::MAX, f32::min).clamp(FLOOR_MIN_DB, FLOOR_MAX_DB);
        if least < self.floor || settling {
            // Digital silence before a line is through says nothing of its noise: not all at once.
            self.floor += (least - self.floor) * 0.3;
        } else if full {
            self.floor += (least - self.floor) * 0.05;
        }
    }
}

/// Time-outs of an utterance, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Speech that is taken for a beginning: a click or a cough is shorter.
    pub begin_ms: u32,
    /// Silence that ends an utterance.
    pub end_silence_ms: u32,
    /// Silence from the beginning of listening after which nobody will speak. 0: for ever.
    pub no_input_ms: u32,
    /// Longest utterance. 0: for ever.
    pub max_ms: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self { begin_ms: 120, end_silence_ms: 800, no_input_ms: 0, max_ms: 30_000 }
    }
}

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utterance {
    /// It has begun, so many milliseconds ago.
    Began {
        /// Sound to take in from before this moment.
        ago_ms: u32,
    },
    /// It is over; the last so many milliseconds were silence.
    Ended {
        /// Its length without that silence, from its beginning.
        length_ms: u32,
        /// Silence since.
        silence_ms: u32,
    },
    /// It is longer than it may be: it counts as ended.
    TooLong {
        /// Its length.
        length_ms: u32,
    },
    /// Nobody has spoken.
    NoInput,
}

/// Joins frames of [`FRAME_MS`] to utterances.
#[derive(Debug, Clone)]
pub struct Utterances {
    timing: Timing,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Waits; how long, and how much of its end was speech.
    Waiting {
        waited: u32,
        speech: u32,
        gap: u32,
    },
    Speaking {
        length: u32,
        silence: u32,
    },
    /// Told that nobody speaks, and waits for speech nevertheless.
    GivenUp {
        speech: u32,
        gap: u32,
    },
}

/// Silence within a beginning that does not part it, in milliseconds.
const GAP_MS: u32 = 50;

impl Utterances {
    /// Listens from now on.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self { timing, state: State::Waiting { waited: 0, speech: 0, gap: 0 } }
    }

    /// Whether an utterance goes on.
    #[must_use]
    pub const fn speaking(&self) -> bool {
        matches!(self.state, State::Speaking { .. })
    }

    /// Takes the next frame.
    pub fn frame(&mut self, speech: bool) -> Option<Utterance> {
        let timing = self.timing;
        match self.state {
            State::Waiting { waited, speech: before, gap } => {
                let waited = waited.saturating_add(FRAME_MS);
                let (heard, gap) = grown(speech, before, gap);
                if heard >= timing.begin_ms && speech {
                    return self.begin(heard);
                }
                let gives_up = timing.no_input_ms > 0 && waited >= timing.no_input_ms && heard == 0;
                self.state = if gives_up {
                    State::GivenUp { speech: 0, gap: 0 }
                } else {
                    State::Waiting { waited, speech: heard, gap }
                };
                gives_up.then_some(Utterance::NoInput)
            }
            State::GivenUp { speech: before, gap } => {
                let (heard, gap) = grown(speech, before, gap);
                if heard >= timing.begin_ms && speech {
                    return self.begin(heard);
                }
                self.state = State::GivenUp { speech: heard, gap };
                None
            }
            State::Speaking { length, silence } => {
                let length = length.saturating_add(FRAME_MS);
                let silence = if speech { 0 } else { silence + FRAME_MS };
                let ended = silence >= timing.end_silence_ms.max(FRAME_MS);
                let too_long = timing.max_ms > 0 && length >= timing.max_ms;
                self.state = match ended || too_long {
                    true => State::Waiting { waited: 0, speech: 0, gap: 0 },
                    false => State::Speaking { length, silence },
                };
                if ended {
                    return Some(Utterance::Ended { length_ms: length - silence, silence_ms: silence });
                }
                too_long.then_some(Utterance::TooLong { length_ms: length })
            }
        }
    }

    fn begin(&mut self, ago_ms: u32) -> Option<Utterance> {
        self.state = State::Speaking { length: ago_ms, silence: 0 };
        Some(Utterance::Began { ago_ms })
    }
}

/// Speech that goes on over a small gap, or begins anew after a larger one.
const fn grown(speech: bool, before: u32, gap: u32) -> (u32, u32) {
    match speech {
        true => (before + gap + FRAME_MS, 0),
        false if before == 0 || gap + FRAME_MS > GAP_MS => (0, 0),
        false => (before, gap + FRAME_MS),
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    struct Random(u32);

    impl Random {
        /// In −1..1.
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(self.0.cast_signed()) / 2_147_483_648.0
        }
    }

    const RATE: u32 = 8_000;

    /// Syllables of 180 ms with gaps of 60 ms, at a height, over noise of another.
    fn script(parts: &[(u32, bool)], height: f64, noise: f64) -> Vec<i16> {
        let mut random = Random(5);
        let mut out = Vec::new();
        for &(milliseconds, speech) in parts {
            for at in 0..milliseconds * RATE / 1_000 {
                let within = at % (240 * RATE / 1_000);
                let open = f64::from(within) / f64::from(180 * RATE / 1_000);
                let phase = TAU * 140.0 * f64::from(at) / f64::from(RATE);
                let vowel = if speech && open < 1.0 {
                    (TAU / 2.0 * open).sin()
                        * (1..8).map(|k| (f64::from(k) * phase).sin() / f64::from(k)).sum::<f64>()
                } else {
                    0.0
                };
                out.push((height * vowel + noise * random.next()) as i16);
            }
        }
        out
    }

    /// Share of 10 ms that are speech, for each part.
    fn shares(parts: &[(u32, bool)], height: f64, noise: f64) -> Vec<f64> {
        let mut detector = Detector::new(RATE);
        let mut frames = Vec::new();
        script(parts, height, noise)
            .chunks(160)
            .for_each(|frame| detector.hear(frame, |frame| frames.push(frame.speech)));
        let mut begun = 0;
        let mut share = |&(milliseconds, _): &(u32, bool)| {
            let part = &frames[begun..begun + (milliseconds / FRAME_MS) as usize];
            begun += part.len();
            part.iter().filter(|&&speech| speech).count() as f64 / part.len() as f64
        };
        parts.iter().map(&mut share).collect()
    }

    #[test]
    fn speech_is_told_from_silence_and_from_noise() {
        let parts = [(2_000, false), (3_000, true), (2_000, false), (3_000, true), (3_000, false)];
        for (what, height, noise) in [
            ("a clean line", 8_000.0, 0.0),
            ("a line that hums", 8_000.0, 20.0),
            ("a softer voice", 1_200.0, 20.0),
            ("a noisy room", 8_000.0, 600.0),
        ] {
            let shares = shares(&parts, height, noise);
            for (place, (share, (_, speech))) in shares.iter().zip(parts).enumerate() {
                let right = if speech { *share > 0.85 } else { *share < 0.2 };
                assert!(right, "{what}: part {place} is speech for {:.0} %", share * 100.0);
            }
        }
    }

    #[test]
    fn noise_that_begins_and_stays_is_not_taken_for_speech_for_long() {
        let mut detector = Detector::new(RATE);
        let mut random = Random(1);
        let mut frames = Vec::new();
        for at in 0..10 * RATE {
            let loud = if at < 2 * RATE { 10.0 } else { 1_000.0 };
            detector.hear(&[(loud * random.next()) as i16], |frame| frames.push(frame.speech));
        }
        let last = frames.iter().rposition(|&speech| speech).unwrap_or(0);
        assert!(last < 450, "{last}");
    }

    /// Runs (milliseconds, speech) through the machine, and names what is told with its time.
    fn told(timing: Timing, script: &[(u32, bool)]) -> Vec<(u32, Utterance)> {
        let mut utterances = Utterances::new(timing);
        let mut now = 0;
        let mut told = Vec::new();
        for &(milliseconds, speech) in script {
            for _ in 0..milliseconds / FRAME_MS {
                now += FRAME_MS;
                told.extend(utterances.frame(speech).map(|what| (now, what)));
            }
        }
        told
    }

    /// What it is, what is heard (ms, speech), and what is told (ms, what).
    type Row<'a> = (&'a str, &'a [(u32, bool)], &'a [(u32, Utterance)]);

    #[test]
    fn utterances_begin_and_end_by_their_time_outs() {
        use Utterance::{Began, Ended, NoInput, TooLong};
        let timing = Timing { begin_ms: 100, end_silence_ms: 500, no_input_ms: 2_000, max_ms: 3_000 };
        const fn began(at: u32) -> (u32, Utterance) {
            (at, Began { ago_ms: 100 })
        }
        const fn ended(at: u32, length_ms: u32) -> (u32, Utterance) {
            (at, Ended { length_ms, silence_ms: 500 })
        }
        let table: [Row; 8] = [
            ("a word", &[(300, false), (400, true), (1_000, false)], &[began(400), ended(1_200, 400)]),
            ("a click", &[(300, false), (60, true), (1_000, false)], &[]),
            (
                "a stutter",
                &[(60, true), (40, false), (60, true), (600, false)],
                &[(110, Began { ago_ms: 110 }), ended(660, 160)],
            ),
            (
                "a pause within",
                &[(500, true), (400, false), (500, true), (500, false)],
                &[began(100), ended(1_900, 1_400)],
            ),
            ("nobody", &[(5_000, false)], &[(2_000, NoInput)]),
            (
                "late",
                &[(2_500, false), (500, true), (600, false)],
                &[(2_000, NoInput), began(2_600), ended(3_500, 500)],
            ),
            (
                "on and on",
                &[(3_500, true)],
                &[began(100), (3_000, TooLong { length_ms: 3_000 }), began(3_100)],
            ),
            (
                "two",
                &[(400, true), (600, false), (400, true), (600, false)],
                &[began(100), ended(900, 400), began(1_100), ended(1_900, 400)],
            ),
        ];
        for (what, script, expected) in table {
            assert_eq!(told(timing, script), expected, "{what}");
        }
    }

    #[test]
    fn without_time_outs_it_waits_for_ever() {
        let timing = Timing { no_input_ms: 0, max_ms: 0, ..Timing::default() };
        assert_eq!(told(timing, &[(100_000, false)]), []);
        assert_eq!(told(timing, &[(100_000, true)]).len(), 1);
    }

    proptest! {
        #[test]
        fn any_sound_is_taken(frames in prop::collection::vec(prop::collection::vec(any::<i16>(), 0..500), 0..20), rate in 0u32..100_000) {
            let mut detector = Detector::new(rate);
            for frame in frames {
                detector.hear(&frame, |frame| assert!(frame.floor_db <= FLOOR_MAX_DB));
            }
        }
    }
}
