//! The recordings of one session, for its worker.

use std::time::Instant;

use model::{
    LegId, SessionId,
    media::{MediaEvent, Recorded, Recording, RecordingEnd, Voices},
};

use super::{Active, RECORDINGS_MAX, Recorder, Tap, extension};

/// What of a session is recorded.
#[derive(Debug, Default)]
pub struct Recordings {
    active: Vec<Active>,
}

impl Recordings {
    /// Begins one. `wide`: one of its voices is coded at more than 8 kHz.
    ///
    /// # Errors
    /// Why it does not begin, for the edge.
    pub fn begin(
        &mut self,
        recorder: &Recorder,
        session: SessionId,
        recording: Recording,
        wide: bool,
        now: Instant,
    ) -> Result<&Active, Box<Recorded>> {
        self.active.retain(|active| !active.has_ended());
        let name = format!("{}{}", recording.name, extension(recording.format));
        let refused = |why: &str| {
            tracing::warn!(%session, name, why, "not recorded");
            let failed = Some(why.to_owned());
            let end = RecordingEnd::Stopped;
            Box::new(Recorded { name: name.clone(), end, ms: 0, sound_ms: 0, bytes: 0, failed })
        };
        if self.active.len() >= RECORDINGS_MAX {
            return Err(refused("too many recordings of one call at the same time"));
        }
        if self.active.iter().any(|active| active.name == recording.name) {
            return Err(refused("a recording of this name runs already"));
        }
        self.active.push(recorder.begin(session, recording, wide, now).map_err(|why| refused(&why))?);
        self.active.last().ok_or_else(|| refused("nothing began"))
    }

    /// Begins one in a file of the folder, of one leg; `Released` waits for it.
    pub fn begin_file(&mut self, active: Active) -> Option<&Active> {
        self.active.push(active);
        self.active.last()
    }

    /// What takes the voice of a leg that has come to the session.
    pub fn taps(&self, leg: LegId) -> impl Iterator<Item = Tap> {
        self.active.iter().filter(|active| !active.has_ended()).filter_map(move |active| active.tap(leg))
    }

    /// Pauses one, or goes on.
    pub fn pause(&self, name: &str, paused: bool, now: Instant) {
        if let Some(active) = self.active.iter().find(|active| !active.is_file && active.name == name) {
            active.pause(paused, now);
        }
    }

    /// Which recordings a key of a leg ends.
    pub fn ended_by(&self, leg: LegId, key: char) -> Option<String> {
        let holds = |active: &&Active| match active.voices {
            Voices::One(one) => one == leg,
            Voices::Stereo(left, right) => left == leg || right == leg,
            Voices::Mixed => true,
        };
        let mut running = self.active.iter().filter(|active| !active.has_ended());
        running
            .find(|active| holds(active) && active.stop_keys.contains(key))
            .map(|active| active.name.clone())
    }

    /// Takes one out, to be ended.
    pub fn take(&mut self, name: &str) -> Option<Active> {
        let place = self.active.iter().position(|active| !active.is_file && active.name == name)?;
        Some(self.active.remove(place))
    }

    /// A leg has gone, and its taps with it. Gives `then` back unless a file of the leg has to be whole before it is told.
    pub fn released(
        &mut self,
        leg: LegId,
        left: &[LegId],
        then: MediaEvent,
        now: Instant,
    ) -> Option<MediaEvent> {
        let mut then = Some(then);
        let over = |active: &Active| match active.voices {
            Voices::One(one) => one == leg,
            Voices::Stereo(one, other) => ![one, other].iter().any(|leg| left.contains(leg)),
            Voices::Mixed => left.is_empty(),
        };
        let (ended, rest) = std::mem::take(&mut self.active).into_iter().partition(over);
        self.active = rest;
        let mut ended: Vec<Active> = ended;
        // Those of the store first: what is told after the last one is told after all.
        ended.sort_by_key(|active| active.is_file);
        for active in ended {
            let told = if active.is_file { then.take() } else { None };
            active.end(RecordingEnd::Stopped, now, told);
        }
        then
    }
}
