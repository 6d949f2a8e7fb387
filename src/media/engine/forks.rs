//! Copies of a session's streams for a recorder that is somebody else's.

use std::time::Instant;

use model::{
    LegId, SessionId,
    media::{Forked, Side},
};

use super::Engine;
use crate::{
    leg::{Content, Incoming, Original},
    legs::Key,
};

impl Engine {
    /// Lets a leg's peer have a copy of a stream, or of none.
    pub(super) fn fork(&mut self, session: SessionId, recorder: LegId, of: Option<Forked>) {
        let Some(recorder) = self.find(session, recorder) else { return };
        let keys: Vec<Key> = self.keys(session).collect();
        for key in keys {
            if let Some(leg) = self.legs.get_mut(key) {
                leg.copy_no_more(recorder);
            }
        }
        let of = of.and_then(|of| Some((self.find(session, of.leg)?, of.side)));
        let Some((key, side)) = of.filter(|&(key, _)| key != recorder) else { return };
        if let Some(leg) = self.legs.get_mut(key) {
            leg.copy_to(side, recorder);
        }
        if side == Side::Sent && !self.copied.contains(&key) {
            self.copied.push(key);
        }
    }

    /// Copies what a leg's peer has said.
    pub(super) fn copy_received(&mut self, key: Key, incoming: &Incoming, payload: &[u8], now: Instant) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| !leg.muted) else { return };
        let (Some(recorder), Content::Audio(codec)) = (leg.copies.received, incoming.content) else { return };
        let (header, begins) = (&incoming.header, incoming.begins);
        if let Some(recorder) = self.legs.get_mut(recorder) {
            recorder.copy(Original { header, begins, codec, payload }, now);
        }
    }

    /// Copies what a leg's peer was told.
    pub(super) fn copy_sent(&mut self, key: Key, now: Instant) {
        let Some(waiting) = self.legs.get_mut(key).and_then(|leg| leg.take_sent()) else { return };
        if let Some(recorder) = self.legs.get_mut(waiting.0) {
            waiting.1.originals().for_each(|original| recorder.copy(original, now));
        }
        if let Some(leg) = self.legs.get_mut(key) {
            leg.give_back(waiting);
        }
    }

    /// Copies what all legs have sent by the clock.
    pub(super) fn copy_all_sent(&mut self, now: Instant) {
        let mut copied = std::mem::take(&mut self.copied);
        copied.retain(|&key| {
            self.copy_sent(key, now);
            self.legs.get_mut(key).is_some_and(|leg| leg.copies_what_it_sends())
        });
        self.copied = copied;
    }
}
