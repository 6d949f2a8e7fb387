//! The slow plane of one session: who hears whom by decoding, mixing and encoding, every 20 ms.
//!
//! Only what cannot be relayed is here: a leg that hears several, or one in another codec, or one that another leg is
//! relayed already. A leg's sources are decoded once however many hear it, and what all hear is added up once.

use std::time::{Duration, Instant};

use rtp::mix::{Mixer, Recipe};

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
/// Frames that wait to be heard at most: as much as the longest delay, and what a packet holds.
const DRAINED_MAX: u32 = 32;
/// Frames for which a hearer waits for the first of its sources to speak.
const PATIENCE: u8 = 4;

/// Who hears whom.
#[derive(Debug)]
pub struct Mix {
    rate: u32,
    due: Instant,
    mixer: Mixer,
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
    /// Its sources' places.
    sources: Vec<usize>,
    recipe: Recipe,
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
            let hears: Vec<_> =
                from.iter().filter_map(|&(key, gain_db)| Some((place(key)?, gain_db))).collect();
            let recipe = Recipe::new(sources.len(), &hears);
            let from = hears.into_iter().map(|(place, _)| place).collect();
            let before = said(key);
            let waited = if before.is_some() { PATIENCE } else { 0 };
            Hearer { key, said: before.unwrap_or_default(), sources: from, recipe, waited }
        });
        let hearers = hearers.collect();
        Self { rate, due, mixer: Mixer::new(rate as usize / 50), sources, hearers }
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
        for source in &mut self.sources {
            let frame = &mut source.frame[..length];
            let leg = legs.get_mut(source.key);
            source.sounds = leg.is_some_and(|leg| {
                if leg.ears.as_mut().is_some_and(|ears| ears.pull(self.due, frame, self.rate)) {
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
        }
        let Self { sources, mixer, .. } = self;
        let sources = &*sources;
        mixer.begin(sources.iter().map(|source| &source.frame[..length]));
        for hearer in &mut self.hearers {
            let Some(leg) = legs.get_mut(hearer.key) else { continue };
            if hearer.sources.iter().any(|&place| sources[place].sounds) {
                hearer.waited = PATIENCE;
            }
            if hearer.waited < PATIENCE {
                hearer.waited += 1;
                continue;
            }
            let mut mixed = [0i16; SAMPLES_MAX];
            let voice = |place: usize| sources.get(place).map(|source| &source.frame[..length]);
            mixer.listen(&hearer.recipe, voice, &mut mixed[..length]);
            leg.speak(&mut hearer.said, &mixed[..length], self.rate, self.due);
        }
    }
}

impl Hearer {
    /// Says all that has come of one source and was not said yet, so that relaying goes on where this ends.
    pub fn drain(&mut self, source: Key, rate: u32, now: Instant, legs: &mut Legs) {
        let length = rate as usize / 50;
        let mut frame = [0; SAMPLES_MAX];
        let frame = &mut frame[..length];
        for ahead in 0..DRAINED_MAX {
            let Some(ears) = legs.get_mut(source).and_then(|leg| leg.ears.as_mut()) else { return };
            if ears.waiting() == 0 {
                return;
            }
            // The future is now.
            if ears.pull(now + FRAME * ahead, frame, rate)
                && let Some(leg) = legs.get_mut(self.key)
            {
                leg.speak(&mut self.said, frame, rate, now);
            }
        }
    }
}

/// The one source that a leg hears, if it is no more than that and as loud as it speaks.
pub fn is_plain(from: &[(Key, i8)]) -> Option<Key> {
    match from {
        [(key, 0)] => Some(*key),
        _ => None,
    }
}
