//! What an engine does for recordings: taps on legs, and recordings that are played.

use std::time::Instant;

use model::{
    LegId, PlayId, SessionId,
    media::{Codec, Event, Listening, MediaEvent, PlayEnd, Recording, RecordingEnd, Voices},
};

use super::{Engine, Leg};
use crate::{play::Play, playback::Pending, recording::Active};

impl Engine {
    /// Begins a recording, or tells why not.
    pub(super) fn begin_recording(&mut self, session: SessionId, recording: Recording, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let held = |leg: LegId| match recording.voices {
            Voices::One(one) => one == leg,
            Voices::Stereo(left, right) => left == leg || right == leg,
            Voices::Mixed => true,
        };
        let wide = entry.legs.iter().filter(|&&(leg, _)| held(leg)).any(|&(_, key)| {
            let codec =
                self.legs.get_mut(key).and_then(|leg| leg.parameters()).map(|parameters| parameters.codec);
            matches!(codec, Some(Codec::G722 | Codec::Opus))
        });
        match entry.recordings.begin(&self.shared.recorder, session, recording, wide, now) {
            Ok(active) => {
                for &(id, key) in &entry.legs {
                    if let (Some(tap), Some(leg)) = (active.tap(id), self.legs.get_mut(key)) {
                        leg.add_tap(tap);
                    }
                }
            }
            Err(failed) => self.tell(session, Event::Recorded(failed)),
        }
    }

    /// Writes what a leg says into a file of the folder.
    pub(super) fn record(&mut self, session: SessionId, leg: LegId, name: &str, now: Instant) {
        let Some(key) = self.find(session, leg) else { return };
        let (Some(entry), Some(recorded)) = (self.sessions.get_mut(&session), self.legs.get_mut(key)) else {
            return;
        };
        match self.shared.recorder.begin_file(session, leg, name, now) {
            Ok(active) => {
                if let Some(tap) = entry.recordings.begin_file(active).and_then(|active| active.tap(leg)) {
                    recorded.add_tap(tap);
                }
            }
            Err(why) => tracing::error!(%session, %leg, name, why, "not recorded"),
        }
    }

    /// Ends a recording.
    pub(super) fn end_recording(&mut self, session: SessionId, name: &str, end: RecordingEnd, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(active) = entry.recordings.take(name) else { return };
        for &(_, key) in &entry.legs {
            if let Some(leg) = self.legs.get_mut(key) {
                leg.drop_taps(|tap| tap.is_of(&active));
            }
        }
        // The recorder tells of it by a way of its own, which must not overtake what was before.
        self.tell_all();
        Active::end(active, end, now, None);
    }

    /// Ends what a key ends.
    pub(super) fn recording_ended_by_key(&mut self, session: SessionId, leg: LegId, key: char, now: Instant) {
        let ended = self.sessions.get(&session).and_then(|entry| entry.recordings.ended_by(leg, key));
        if let Some(name) = ended {
            self.end_recording(session, &name, RecordingEnd::Key(key), now);
        }
    }

    /// A leg has gone. Gives the event back unless a recorder tells of it.
    pub(super) fn recordings_released(
        &mut self,
        session: SessionId,
        leg: LegId,
        released: MediaEvent,
        now: Instant,
    ) -> Option<MediaEvent> {
        let Some(entry) = self.sessions.get_mut(&session) else { return Some(released) };
        let left: Vec<LegId> = entry.legs.iter().map(|&(id, _)| id).filter(|&id| id != leg).collect();
        entry.recordings.released(leg, &left, released, now)
    }

    /// Listens to a leg, in place of what it was listened to for.
    pub(super) fn listen(&mut self, session: SessionId, leg: LegId, listening: Box<Listening>, now: Instant) {
        let Some(listened) = self.find(session, leg).and_then(|key| self.legs.get_mut(key)) else { return };
        let codec = listened.parameters().map(|parameters| parameters.codec);
        let wide = matches!(codec, Some(Codec::G722 | Codec::Opus));
        let (active, tap) = self.shared.listener.begin(session, leg, listening, wide, now);
        listened.listening = Some(active);
        listened.add_tap(tap);
    }

    /// Plays what is being read or spoken. None: it cannot be.
    pub(super) fn play_pending(
        &mut self,
        session: SessionId,
        leg: LegId,
        play: PlayId,
        pending: Option<Pending>,
    ) {
        let Some(key) = self.find(session, leg) else { return };
        match pending {
            Some(pending) => {
                self.with(key, |leg| leg.play(Play::pending(play, pending)));
                self.clock(key);
            }
            None => {
                self.with(key, Leg::stop_play);
                self.tell(session, Event::PlayEnded { leg, play, how: PlayEnd::UnknownAudio });
            }
        }
    }
}
