//! One listening: packets become sound, sound becomes utterances.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use model::{LegId, SessionId, media::Listening};
use rtp::voice::{Detector, Timing, Utterance, Utterances};

use super::{About, Hearing, Recogniser, pool::Job};
use crate::recording::{Holds, Sound, Track, samples};

/// How long a packet is waited for.
const DELAY: Duration = Duration::from_millis(120);
/// Sound before an utterance that is part of it, in milliseconds: a soft beginning.
const BEFORE_MS: u64 = 300;
/// Longest utterance whatever is asked for, in milliseconds.
const UTTERANCE_MAX: u32 = 60_000;

/// One listening.
#[derive(Debug)]
pub struct Ear {
    /// Whose leg it is.
    pub session: SessionId,
    /// Which leg.
    pub leg: LegId,
    /// What is listened for.
    pub listening: Listening,
    rate: u32,
    begun: Instant,
    taken: u64,
    track: Track,
    detector: Detector,
    utterances: Utterances,
    /// The utterance and what was before it, or the latest of the silence.
    pcm: Vec<i16>,
    /// What hears the utterance as it comes.
    hearing: Option<Box<dyn Hearing>>,
    over: Arc<AtomicBool>,
}

/// What is heard.
#[derive(Debug)]
pub enum Told {
    /// Speech has begun.
    Began,
    /// It has ended, and nobody asks what it was.
    Ended,
    /// It has ended: this was said.
    Said(Job),
}

impl Ear {
    /// Begins to listen.
    pub fn new(
        session: SessionId,
        leg: LegId,
        listening: Listening,
        wide: bool,
        begun: Instant,
        over: Arc<AtomicBool>,
    ) -> Self {
        let rate = if wide { 16_000 } else { 8_000 };
        let timing = Timing {
            end_silence_ms: listening.end_silence_ms.into(),
            max_ms: listening.max_ms.min(UTTERANCE_MAX),
            ..Timing::default()
        };
        Self {
            session,
            leg,
            listening,
            rate,
            begun,
            taken: 0,
            track: Track::new(rate, 0),
            detector: Detector::new(rate),
            utterances: Utterances::new(timing),
            pcm: Vec::new(),
            hearing: None,
            over,
        }
    }

    /// Takes what a tap has gathered.
    pub fn hear(&mut self, sound: &Sound) {
        for (packet, payload) in sound.packets() {
            let arrived = samples(packet.at.saturating_duration_since(self.begun), self.rate);
            match packet.holds {
                Holds::Audio(codec) => self.track.packet(packet.timestamp, codec, payload, arrived),
                // The tone of a key is no speech.
                Holds::Key { duration, clock } => self.track.key(packet.timestamp, duration, clock, arrived),
            }
        }
    }

    /// Listens to what is due.
    pub fn advance(&mut self, now: Instant, recogniser: &dyn Recogniser, mut tell: impl FnMut(Told)) {
        let due = now.checked_sub(DELAY).unwrap_or(self.begun);
        let end = samples(due.saturating_duration_since(self.begun), self.rate);
        let length = u64::from(self.rate) / 50;
        let mut frame = vec![0; length as usize];
        while self.taken + length <= end {
            self.track.fill(self.taken, &mut frame);
            self.taken += length;
            self.frame(&frame, recogniser, &mut tell);
        }
    }

    fn frame(&mut self, frame: &[i16], recogniser: &dyn Recogniser, tell: &mut impl FnMut(Told)) {
        self.pcm.extend_from_slice(frame);
        if let Some(hearing) = &mut self.hearing {
            hearing.take(frame);
        }
        let Self { detector, utterances, .. } = self;
        let mut heard = Vec::new();
        detector.hear(frame, |frame| heard.extend(utterances.frame(frame.speech)));
        for what in heard {
            match what {
                Utterance::Began { .. } => {
                    self.hearing = self.heard_by(recogniser);
                    tell(Told::Began);
                }
                Utterance::Ended { .. } | Utterance::TooLong { .. } => {
                    let pcm = std::mem::take(&mut self.pcm);
                    tell(if self.listening.phrases.is_empty() {
                        Told::Ended
                    } else {
                        Told::Said(self.job(pcm))
                    });
                }
                Utterance::NoInput => {}
            }
        }
        if !self.utterances.speaking() {
            // As much as an utterance may have begun ago, and what was before it.
            let kept = samples(Duration::from_millis(BEFORE_MS + 200), self.rate) as usize;
            let old = self.pcm.len().saturating_sub(kept);
            self.pcm.drain(..old);
        }
    }

    /// With what was before it was noticed.
    fn heard_by(&self, recogniser: &dyn Recogniser) -> Option<Box<dyn Hearing>> {
        let Listening { tenant, language, phrases, .. } = &self.listening;
        if phrases.is_empty() {
            return None;
        }
        let mut hearing = recogniser.hear(&About { tenant, rate: self.rate, language, phrases })?;
        hearing.take(&self.pcm);
        Some(hearing)
    }

    fn job(&mut self, pcm: Vec<i16>) -> Job {
        Job {
            session: self.session,
            leg: self.leg,
            listening: self.listening.id,
            pcm,
            rate: self.rate,
            language: self.listening.language.clone(),
            phrases: self.listening.phrases.clone(),
            tenant: self.listening.tenant.clone(),
            hearing: self.hearing.take(),
            over: Arc::clone(&self.over),
        }
    }
}
