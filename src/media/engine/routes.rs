//! Who hears whom, and in which plane.
//!
//! A hearer of one source, as loud as it is and in a codec that need not be decoded, is relayed to, if nobody else is
//! relayed the same source; any other hearer is served by the mix. So a supervisor who listens to two parties puts nobody
//! but themselves into the slow plane.
//!
//! A hearer who changes planes hears no seam. Into the slow one: the mix begins with the packet that would have been
//! relayed next, and its first frame takes the time-stamp that this one would have had; it comes later by the jitter
//! buffer's delay, which is to the peer as a delay of the network is. Out of it: what waits in the jitter buffer is said at
//! once, and the next packet is relayed behind it.

use std::time::Instant;

use model::{
    LegId, SessionId,
    media::{Codec, Hearing},
};

use super::Engine;
use crate::{
    leg::{Leg, Said},
    legs::{Key, Legs},
    mixing::{Mix, is_plain},
    tally::change,
    voice,
};

impl Engine {
    /// Lets two legs hear each other and nobody else.
    pub(super) fn bridge(&mut self, session: SessionId, a: LegId, b: LegId, now: Instant) {
        let (Some(first), Some(second)) = (self.find(session, a), self.find(session, b)) else { return };
        if first == second {
            return;
        }
        for key in [first, second] {
            self.with(key, Leg::stop_play);
        }
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.heard.retain(|&(hearer, _)| hearer != first && hearer != second);
        entry.heard.iter_mut().for_each(|(_, from)| from.retain(|&(key, _)| key != first && key != second));
        entry.heard.push((first, vec![(second, 0)]));
        entry.heard.push((second, vec![(first, 0)]));
        self.reroute(session, now);
    }

    /// Parts a leg from all others.
    pub(super) fn part(&mut self, session: SessionId, key: Key, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.heard.retain(|&(hearer, _)| hearer != key);
        entry.heard.iter_mut().for_each(|(_, from)| from.retain(|&(other, _)| other != key));
        self.reroute(session, now);
    }

    /// A leg is gone.
    pub(super) fn unheard(&mut self, session: SessionId, key: Key, now: Instant) {
        self.part(session, key, now);
    }

    /// Lets legs hear what these lists say.
    pub(super) fn mix(&mut self, session: SessionId, hearings: &[Hearing], now: Instant) {
        let heard = hearings.iter().filter_map(|hearing| {
            let hearer = self.find(session, hearing.leg)?;
            let mut from: Vec<(Key, i8)> = Vec::with_capacity(hearing.sources.len());
            for source in &hearing.sources {
                // Nobody hears themselves, or another twice.
                if let Some(key) = self.find(session, source.leg)
                    && key != hearer
                    && !from.iter().any(|&(other, _)| other == key)
                {
                    from.push((key, source.gain_db));
                }
            }
            Some((hearer, from))
        });
        let mut heard: Vec<_> = heard.collect();
        heard.dedup_by_key(|&mut (hearer, _)| hearer);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.heard = heard;
        self.reroute(session, now);
    }

    /// Finds each hearer's plane anew.
    pub(super) fn reroute(&mut self, session: SessionId, now: Instant) {
        let Self { sessions, legs, mixed, tally, .. } = self;
        let Some(entry) = sessions.get_mut(&session) else { return };
        let mut codecs = Vec::with_capacity(entry.legs.len());
        for &(_, key) in &entry.legs {
            let Some(leg) = legs.get_mut(key) else { continue };
            (leg.hearer, leg.direct) = (None, false);
            if let Some(codec) = leg.parameters().map(|parameters| parameters.codec) {
                codecs.push((key, codec));
            }
        }
        let mixable = planes(&entry.heard, &codecs, legs);
        entry.pairs.drain(..).for_each(|pair| tally.pair(pair, false));
        entry.pairs.extend(pairs(&entry.heard, &codecs));
        entry.pairs.iter().for_each(|&pair| tally.pair(pair, true));
        let before = entry.mix.take();
        if before.is_some() == mixable.is_empty() {
            change(&tally.mixed, before.is_none());
        }
        if before.is_none() && mixable.is_empty() {
            return;
        }
        let rate = rate(&mixable, &codecs);
        let due = before.as_ref().map_or(now, |mix| mix.due());
        let rate_before = before.as_ref().map_or(rate, |mix| mix.rate());
        let mut hearers = before.map(|mix| mix.into_hearers()).unwrap_or_default();
        let stays = |key: Key| mixable.iter().any(|&(hearer, _)| hearer == key);
        for hearer in hearers.iter_mut().filter(|hearer| !stays(hearer.key)) {
            // Who is relayed to now hears the end of the mix first.
            let source = entry.legs.iter().map(|&(_, key)| key).find(|&key| {
                legs.get_mut(key).is_some_and(|leg| leg.direct && leg.hearer == Some(hearer.key))
            });
            // Unless another one still hears them.
            let shared =
                |source: Key| mixable.iter().any(|(_, from)| from.iter().any(|&(key, _)| key == source));
            if let Some(source) = source.filter(|&source| !shared(source)) {
                hearer.drain(source, rate_before, now, legs);
            }
        }
        let said = |key: Key| -> Option<Said> {
            let place = hearers.iter().position(|hearer| hearer.key == key)?;
            Some(hearers.swap_remove(place).said)
        };
        let mix = Mix::new(rate, due, &mixable, said);
        for &(_, key) in &entry.legs {
            let heard = mix.sources().any(|source| source == key);
            if let Some(leg) = legs.get_mut(key) {
                let codec = leg.parameters().map(|parameters| parameters.codec);
                leg.set_ears(codec.filter(|_| heard), rate);
            }
        }
        entry.mix = (!mixable.is_empty()).then(|| Box::new(mix));
        if entry.mix.is_some() && !mixed.contains(&session) {
            mixed.push(session);
        }
    }
}

/// Sets who is relayed to, and returns the others that hear somebody.
fn planes(
    heard: &[(Key, Vec<(Key, i8)>)],
    codecs: &[(Key, Codec)],
    legs: &mut Legs,
) -> Vec<(Key, Vec<(Key, i8)>)> {
    let codec = |key: Key| codecs.iter().find(|&&(other, _)| other == key).map(|&(_, codec)| codec);
    let mut mixable = Vec::new();
    for &(hearer, ref from) in heard {
        let Some(theirs) = codec(hearer) else { continue };
        let plain = is_plain(from).and_then(|key| Some((key, codec(key)?)));
        if let Some((source, spoken)) = plain
            && let Some(leg) = legs.get_mut(source)
            && leg.hearer.is_none()
        {
            leg.hearer = Some(hearer);
            leg.direct = voice::relayable(spoken, theirs);
            if leg.direct {
                continue;
            }
        }
        let decoded = |key: Key| codec(key).is_some_and(Codec::is_decoded);
        let from: Vec<_> = from.iter().copied().filter(|&(key, _)| decoded(key)).collect();
        if theirs.is_decoded() && !from.is_empty() {
            mixable.push((hearer, from));
        }
    }
    mixable
}

/// The codecs of all that hear somebody.
fn pairs(heard: &[(Key, Vec<(Key, i8)>)], codecs: &[(Key, Codec)]) -> impl Iterator<Item = (Codec, Codec)> {
    let codec = |key: Key| codecs.iter().find(|&&(other, _)| other == key).map(|&(_, codec)| codec);
    heard.iter().flat_map(move |&(hearer, ref from)| {
        from.iter().filter_map(move |&(key, _)| Some((codec(key)?, codec(hearer)?)))
    })
}

/// 16 kHz if a leg that hears more than a telephone is in it with another that says more, else 8 kHz.
fn rate(mixable: &[(Key, Vec<(Key, i8)>)], codecs: &[(Key, Codec)]) -> u32 {
    let wide = |key: Key| codecs.iter().any(|&(other, codec)| other == key && codec.sample_rate() > 8_000);
    let both = mixable.iter().any(|(hearer, from)| wide(*hearer) && from.iter().any(|&(key, _)| wide(key)));
    if both { 16_000 } else { 8_000 }
}
