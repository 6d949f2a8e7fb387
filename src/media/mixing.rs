//! The slow plane of one session: who hears whom by decoding, mixing and encoding, every 20 ms.
//!
//! Only what cannot be relayed is here: a leg that hears several, or one in another codec, or one that another leg is
//! relayed already. A leg's sources are decoded once however many hear it, and what all hear is added up once.

use std::time::{Duration, Instant};

use crate::{
    leg::Said,
    legs::{Key, Legs},
};

/// The clock of mixing.
pub const FRAME: Duration = Duration::from_millis(20);
/// Samples of a frame at 16 kHz.
const SAMPLES_MAX: usize = 320;
/// Frames that are made up for, when the worker was late.
const CATCH_UP_MAX: usize = 5;
/// Frames for which a hearer waits for the first of its sources to speak.
const PATIENCE: u8 = 4;
/// One, as gains are counted.
const UNITY: i32 = 4_096;

/// Who hears whom.
#[derive(Debug)]
pub struct Mix {
    rate: u32,
    due: Instant,
    sources: Vec<Source>,
    hearers: Vec<Hearer>,
}

#[derive(Debug)]
struct Source {
    key: Key,
    frame: [i16; SAMPLES_MAX],
    sounds: bool,
}

/// Who hears, and what is said to them.
#[derive(Debug)]
pub struct Hearer {
    /// The leg.
    pub key: Key,
    /// What is under way to it.
    pub said: Said,
    /// Its sources' places and gains.
    sources: Vec<(usize, i32)>,
    /// Its own place, if it hears all the others as they are.
    all_but: Option<Option<usize>>,
    waited: u8,
}

impl Mix {
    /// From what each hears: leg and gains in dB. `before` is what was said by now.
    pub fn new(
        rate: u32,
        due: Instant,
        heard: &[(Key, Vec<(Key, i8)>)],
        mut said: impl FnMut(Key) -> Option<Said>,
    ) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        for &(key, _) in heard.iter().flat_map(|(_, from)| from) {
            if !sources.iter().any(|source| source.key == key) {
                sources.push(Source { key, frame: [0; SAMPLES_MAX], sounds: false });
            }
        }
        let place = |key: Key| sources.iter().position(|source| source.key == key);
        let hearers = heard.iter().map(|&(key, ref from)| {
            let mixed: Vec<_> =
                from.iter().filter_map(|&(key, gain_db)| Some((place(key)?, gain(gain_db)))).collect();
            let own = place(key);
            let others = sources.len() - usize::from(own.is_some());
            let all = mixed.len() == others && others > 1 && mixed.iter().all(|&(_, gain)| gain == UNITY);
            let all_but = all.then_some(own);
            let before = said(key);
            let waited = if before.is_some() { PATIENCE } else { 0 };
            Hearer { key, said: before.unwrap_or_else(Said::new), sources: mixed, all_but, waited }
        });
        let hearers = hearers.collect();
        Self { rate, due, sources, hearers }
    }

    /// The legs that must be decoded.
    pub fn sources(&self) -> impl Iterator<Item = Key> {
        self.sources.iter().map(|source| source.key)
    }

    /// Takes it apart.
    pub fn into_hearers(self) -> Vec<Hearer> {
        self.hearers
    }

    /// Samples a second.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// When its next frame is due.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Says what is due at a tick.
    pub fn tick(&mut self, tick: Instant, legs: &mut Legs) {
        for _ in 0..CATCH_UP_MAX {
            if self.due > tick {
                return;
            }
            self.frame(legs);
            self.due += FRAME;
        }
        if self.due <= tick {
            self.due = tick + FRAME;
        }
    }

    fn frame(&mut self, legs: &mut Legs) {
        let length = self.rate as usize / 50;
        let mut all = [0i32; SAMPLES_MAX];
        for source in &mut self.sources {
            let frame = &mut source.frame[..length];
            let leg = legs.get_mut(source.key);
            source.sounds = leg.is_some_and(|leg| {
                if leg.ears.as_mut().is_some_and(|ears| ears.pull(frame, self.rate)) {
                    if leg.muted {
                        frame.fill(0);
                    }
                    return true;
                }
                false
            });
            if !source.sounds {
                frame.fill(0);
            }
            all.iter_mut().zip(&*frame).for_each(|(sum, &sample)| *sum += i32::from(sample));
        }
        for hearer in &mut self.hearers {
            let Some(leg) = legs.get_mut(hearer.key) else { continue };
            if hearer.sources.iter().any(|&(place, _)| self.sources[place].sounds) {
                hearer.waited = PATIENCE;
            }
            if hearer.waited < PATIENCE {
                hearer.waited += 1;
                continue;
            }
            let mut mixed = [0i16; SAMPLES_MAX];
            hearer.mix(&all[..length], &self.sources, &mut mixed[..length]);
            leg.speak(&mut hearer.said, &mixed[..length], self.rate, self.due);
        }
    }
}

impl Hearer {
    fn mix(&self, all: &[i32], sources: &[Source], out: &mut [i16]) {
        let clipped = |sum: i32| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        match self.all_but {
            Some(Some(own)) => {
                for ((sample, &sum), &own) in out.iter_mut().zip(all).zip(&sources[own].frame) {
                    *sample = clipped(sum - i32::from(own));
                }
            }
            Some(None) => out.iter_mut().zip(all).for_each(|(sample, &sum)| *sample = clipped(sum)),
            None => {
                let mut sums = [0i32; SAMPLES_MAX];
                for &(place, gain) in &self.sources {
                    let frame = &sources[place].frame[..out.len()];
                    for (sum, &sample) in sums.iter_mut().zip(frame) {
                        *sum += i32::from(sample) * gain / UNITY;
                    }
                }
                out.iter_mut().zip(sums).for_each(|(sample, sum)| *sample = clipped(sum));
            }
        }
    }

    /// Says all that has come of one source and was not said yet, so that relaying goes on where this ends.
    pub fn drain(&mut self, source: Key, rate: u32, now: Instant, legs: &mut Legs) {
        let length = rate as usize / 50;
        let mut frame = [0; SAMPLES_MAX];
        let frame = &mut frame[..length];
        // As much as ever waits: the ring's length.
        for _ in 0..64 {
            let Some(ears) = legs.get_mut(source).and_then(|leg| leg.ears.as_mut()) else { return };
            ears.hurry();
            if ears.pending_ms() < 20 || !ears.pull(frame, rate) {
                return;
            }
            if let Some(leg) = legs.get_mut(self.key) {
                leg.speak(&mut self.said, frame, rate, now);
            }
        }
    }
}

fn gain(gain_db: i8) -> i32 {
    (10f64.powf(f64::from(gain_db.clamp(-40, 12)) / 20.0) * f64::from(UNITY)).round() as i32
}

/// Legs of one leg's hearing that speak: for the engine's routes.
pub fn is_plain(from: &[(Key, i8)]) -> Option<Key> {
    match from {
        [(key, 0)] => Some(*key),
        _ => None,
    }
}
