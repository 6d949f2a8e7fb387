//! What a worker does with orders, packets and time. The worker owns the waiting; this owns the sessions.
//!
//! There are two planes. In the fast one a packet of one leg becomes a packet of another as it comes: its header is
//! rewritten, its payload is not decoded. The slow one ([`crate::mixing`]) decodes, mixes and encodes on a clock of 20 ms,
//! for those hearers alone that need it ([`routes`]), and only while they do.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    os::fd::{AsFd, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use model::{
    AudioId, LegId, PlayId, SessionId,
    media::{Codec, Event, MediaEvent, MediaOrder, Order, RecordingEnd},
};

use crate::{
    coded::Form,
    leg::{Content, Leg, Told},
    legs::{Key, Legs, Owner},
    library::Library,
    mixing::Mix,
    play::Play,
    recording::Recordings,
    server::Shared,
    shared::{SharedPorts, Whose},
    span::Ends,
    sys::Datagram,
    tally::{Tally, change},
};

mod forks;
mod recordings;
mod routes;
mod seats;
mod spans;

/// Legs of a session at most.
const LEGS_MAX: usize = 64;

/// Puts a socket under watch: its descriptor and its token.
pub type Watch<'a> = &'a dyn Fn(BorrowedFd<'_>, u64) -> io::Result<()>;

/// A worker's sessions and legs.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    sessions: BTreeMap<SessionId, Session>,
    legs: Legs,
    seats: SharedPorts,
    spans: Ends,
    clocked: Vec<Key>,
    /// Sessions that have a slow plane now.
    mixed: Vec<SessionId>,
    /// Legs of which is copied what they send.
    copied: Vec<Key>,
    /// The leg whose datagram was taken last.
    at_work: Option<Key>,
    deadlines: BinaryHeap<Reverse<(Instant, Key)>>,
    /// For the edge.
    told: Vec<MediaEvent>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Session {
    library: Arc<Library>,
    legs: Vec<(LegId, Key)>,
    recordings: Recordings,
    /// What each leg hears of the others, with the gain in dB. A leg that is not in it hears nobody.
    heard: Vec<(Key, Vec<(Key, i8)>)>,
    mix: Option<Box<Mix>>,
    /// Speakers' and hearers' codecs, as they are counted.
    pairs: Vec<(Codec, Codec)>,
}

impl Engine {
    /// Without sessions.
    pub fn new(shared: Arc<Shared>, tally: Arc<Tally>) -> Self {
        Self {
            shared,
            sessions: BTreeMap::new(),
            legs: Legs::default(),
            seats: SharedPorts::default(),
            spans: Ends::default(),
            clocked: Vec::new(),
            mixed: Vec::new(),
            copied: Vec::new(),
            at_work: None,
            deadlines: BinaryHeap::new(),
            told: Vec::new(),
            tally,
        }
    }

    /// Carries out an order. `watch` puts a new leg's sockets under watch.
    pub fn order(&mut self, MediaOrder { session, order }: MediaOrder, now: Instant, watch: Watch<'_>) {
        log(session, &order);
        match order {
            Order::Allocate { leg, network, shared, remote } => {
                self.allocate(session, leg, (&network, shared.then_some(remote)), now, watch);
            }
            Order::Extend { leg, span } => self.extend(session, leg, span, now, watch),
            Order::Configure { leg, parameters } => {
                let Some(key) = self.find(session, leg) else { return };
                self.configure(key, parameters, now, watch);
            }
            Order::Play { leg, play, audio, times } => self.play(session, leg, (play, &audio, times)),
            Order::StopPlay { leg } => {
                if let Some(key) = self.find(session, leg) {
                    self.with(key, Leg::stop_play);
                }
            }
            Order::Bridge { a, b } => self.bridge(session, a, b, now),
            Order::Unbridge { leg } => {
                if let Some(key) = self.find(session, leg) {
                    self.part(session, key, now);
                }
            }
            Order::SendDtmf { leg, digits, duration_ms, gap_ms } => {
                let Some(key) = self.find(session, leg) else { return };
                let taken = |leg: &mut Leg| leg.send_digits(&digits, duration_ms, gap_ms);
                if !self.legs.get_mut(key).is_some_and(taken) {
                    tracing::warn!(%session, %leg, "digits dropped: too many orders wait");
                    self.tell(session, Event::DtmfSent { leg });
                }
                self.clock(key);
            }
            Order::Record { leg, name } => self.record(session, leg, &name, now),
            Order::Mix(hearings) => self.mix(session, &hearings, now),
            Order::Mute { leg, muted } => {
                if let Some(leg) = self.find(session, leg).and_then(|key| self.legs.get_mut(key)) {
                    leg.muted = muted;
                }
            }
            Order::PlayRecording { leg, play, name } => {
                let pending = self.shared.loading.load(name);
                self.play_pending(session, leg, play, pending);
            }
            Order::Say { leg, play, text, language, tenant } => {
                let pending = self.shared.loading.say(text, language, tenant);
                self.play_pending(session, leg, play, pending);
            }
            Order::BeginRecording(recording) => self.begin_recording(session, *recording, now),
            Order::PauseRecording { name, paused } => {
                if let Some(session) = self.sessions.get(&session) {
                    session.recordings.pause(&name, paused, now);
                }
            }
            Order::EndRecording { name } => self.end_recording(session, &name, RecordingEnd::Stopped, now),
            Order::ForgetRecording { name } => {
                if !self.shared.loading.forget(name) {
                    tracing::warn!(%session, "a recording that is not wanted stays: too many wait to be deleted");
                }
            }
            Order::Fork { leg, of } => self.fork(session, leg, of),
            Order::Listen { leg, listening } => self.listen(session, leg, listening, now),
            Order::StopListening { leg } => {
                if let Some(leg) = self.find(session, leg).and_then(|key| self.legs.get_mut(key)) {
                    leg.listening = None;
                }
            }
            Order::Release { leg } => {
                if let Some(key) = self.find(session, leg) {
                    self.release(key, now);
                }
            }
        }
    }

    fn play(
        &mut self,
        session: SessionId,
        leg: LegId,
        (id, audio, times): (PlayId, &[AudioId], Option<u16>),
    ) {
        let Some(library) = self.sessions.get(&session).map(|session| Arc::clone(&session.library)) else {
            return;
        };
        let Some(key) = self.find(session, leg) else { return };
        match Play::new(id, audio, times, &library) {
            Ok(play) => {
                let parameters = self.legs.get_mut(key).and_then(|leg| leg.parameters());
                if let Some(form) = parameters.and_then(Form::of) {
                    self.shared.loading.code(form, play.uncoded(form));
                }
                self.with(key, |leg| leg.play(play));
            }
            Err(how) => {
                self.with(key, Leg::stop_play);
                self.tell(session, Event::PlayEnded { leg, play: id, how });
            }
        }
        self.clock(key);
    }

    /// Takes a datagram from an RTP or RTCP socket; `None` is one that could not be read.
    pub fn datagram(&mut self, owner: Owner, rtcp: bool, datagram: Option<Datagram<'_>>, now: Instant) {
        let Some(mut datagram) = datagram else {
            if let Owner::Leg(key) = owner
                && let Some(leg) = self.legs.get_mut(key)
            {
                leg.discard();
            }
            self.count_discarded();
            return;
        };
        let key = match owner {
            Owner::Leg(key) => key,
            Owner::Spans => return self.span_datagram(datagram, now),
            Owner::Shared(place) => {
                let bytes = &datagram.buffer[..datagram.length];
                match self.seats.whose(place, rtcp, datagram.from, bytes, now) {
                    Whose::Leg(key) => key,
                    Whose::Waits => return,
                    Whose::Nobody => {
                        self.count_discarded();
                        return;
                    }
                }
            }
        };
        self.at_work = Some(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        if !rtcp && leg.is_handshake(&datagram) {
            self.handshake(key, &datagram, now);
        } else if !rtcp && !leg.is_muxed_report(&datagram) {
            self.packet(key, &mut datagram, now);
        } else if !leg.receive_report(&mut datagram, now) {
            self.count_discarded();
        }
    }

    /// Sends what is due at a tick.
    pub fn tick(&mut self, tick: Instant) {
        self.mixed.retain(|session| {
            let Some(mix) = self.sessions.get_mut(session).and_then(|it| it.mix.as_mut()) else {
                return false;
            };
            // One session's fault must not take the others along.
            catch_unwind(AssertUnwindSafe(|| mix.tick(tick, &mut self.legs)))
                .inspect_err(|_| tracing::error!(%session, "a session's mix is ended by a fault"))
                .is_ok()
        });
        let Self { legs, clocked, shared, told: events, .. } = self;
        clocked.retain(|&key| {
            let Some(leg) = legs.get_mut(key) else { return false };
            let (session, id) = (leg.session, leg.id);
            let more = leg.tick(tick, |told| events.push(shared.event(session, event(id, told))));
            leg.clocked = more;
            more
        });
        if !self.copied.is_empty() {
            self.copy_all_sent(tick);
        }
    }

    /// Whether the clock has anything to do.
    pub fn wants_clock(&self) -> bool {
        !self.clocked.is_empty() || !self.mixed.is_empty()
    }

    /// Does what is due besides the streams. Returns when to be called again.
    pub fn housekeeping(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&Reverse((at, key))) = self.deadlines.peek() {
            if at > now {
                return Some(at);
            }
            self.deadlines.pop();
            // Another deadline has taken the place of this one.
            if self.legs.get_mut(key).is_some_and(|leg| leg.wakes_at == Some(at)) {
                self.housekeep(key, now);
            }
        }
        None
    }

    /// An RTP or RTCP socket.
    pub fn socket(&mut self, owner: Owner, rtcp: bool) -> Option<BorrowedFd<'_>> {
        match owner {
            Owner::Leg(key) => self.legs.get_mut(key).map(|leg| leg.socket(rtcp)),
            Owner::Spans => self.spans.socket(),
            Owner::Shared(place) => {
                let pair = self.seats.pair(place)?;
                Some(if rtcp { pair.rtcp.as_fd() } else { pair.rtp.as_fd() })
            }
        }
    }

    /// The session of the leg whose datagram was taken last.
    pub fn session_at_work(&mut self) -> Option<SessionId> {
        let key = self.at_work?;
        self.legs.get_mut(key).map(|leg| leg.session)
    }

    /// Ends a session that has met a fault of ours.
    pub fn abandon(&mut self, session: SessionId, now: Instant) {
        let keys: Vec<Key> = self.keys(session).collect();
        keys.into_iter().for_each(|key| self.release(key, now));
    }

    /// Ends all sessions.
    pub fn end(&mut self, now: Instant) {
        let keys: Vec<Key> =
            self.sessions.values().flat_map(|session| session.legs.iter().map(|&(_, key)| key)).collect();
        keys.into_iter().for_each(|key| self.release(key, now));
    }

    fn release(&mut self, key: Key, now: Instant) {
        self.with(key, Leg::stop_play);
        let Some(mut leg) = self.legs.remove(key) else { return };
        let (session, id) = (leg.session, leg.id);
        leg.set_ears(None, 0);
        let quality = leg.end(now);
        let series = leg.series();
        self.leave_seat(key, &leg, now);
        self.spans.leave(leg.door.span());
        self.count_leg(&leg, false);
        // The ports are free before it is told.
        drop(leg);
        self.shared.counts.legs.fetch_sub(1, Ordering::Relaxed);
        if !series.is_empty() {
            self.told.push(MediaEvent { session, event: Event::Measured { leg: id, series } });
        }
        let released = MediaEvent { session, event: Event::Released { leg: id, quality: Box::new(quality) } };
        tracing::debug!(%session, leg = %id, ?quality, "released");
        // A recorder tells of it by a way of its own, which must not overtake what was before.
        self.tell_all();
        let told = self.recordings_released(session, id, released, now);
        self.forget(session, key, now);
        self.told.extend(told);
    }

    fn forget(&mut self, session: SessionId, key: Key, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.legs.retain(|&(_, other)| other != key);
        if entry.legs.is_empty() {
            // Its pairs and its mix are counted no more.
            self.part(session, key, now);
            self.sessions.remove(&session);
            self.shared.end_session();
            change(&self.tally.sessions, false);
        } else {
            self.unheard(session, key, now);
        }
    }

    fn handshake(&mut self, key: Key, datagram: &Datagram<'_>, now: Instant) {
        self.with(key, |leg| leg.shake(datagram, now));
        // What is due next is another thing now.
        self.housekeep(key, now);
    }

    fn packet(&mut self, key: Key, datagram: &mut Datagram<'_>, now: Instant) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(mut incoming) = leg.receive(datagram, now) else {
            tracing::trace!(leg = %leg.id, from = %datagram.from, "packet discarded");
            self.count_discarded();
            return;
        };
        self.tally.received.fetch_add(1, Ordering::Relaxed);
        let payload = &datagram.buffer[incoming.payload.clone()];
        let key_pressed = leg.hear_key(&mut incoming, payload).or_else(|| leg.hear_tones(&incoming, payload));
        leg.record(&incoming, payload, now);
        leg.listen(&incoming, payload, now);
        let (session, id, hearer, direct, muted) = (leg.session, leg.id, leg.hearer, leg.direct, leg.muted);
        if leg.copies.received.is_some() {
            self.copy_received(key, &incoming, payload, now);
        }
        if incoming.first_packet {
            tracing::debug!(%session, leg = %id, from = %datagram.from, "first packet");
            self.tell(session, event(id, Told::FirstPacket));
        }
        if let Some(digit) = key_pressed {
            self.tell(session, Event::Dtmf { leg: id, digit });
            self.recording_ended_by_key(session, id, digit, now);
        }
        let Some(hearer) = hearer else { return };
        let Some(other) = self.legs.get_mut(hearer) else { return };
        if let Content::Key { .. } = incoming.content {
            let payload = &datagram.buffer[incoming.payload.clone()];
            let relayed = if direct {
                other.relay_event(&incoming, datagram, now)
            } else {
                other.relay_key(&incoming, payload, now)
            };
            if relayed {
                self.clock(hearer);
            }
        } else if direct {
            other.relay(&incoming, datagram, muted, now);
        }
        self.copy_sent(hearer, now);
    }

    /// Lets something happen to a leg and tells what it says.
    fn with(&mut self, key: Key, happen: impl FnOnce(&mut Leg) -> Option<Told>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (session, id) = (leg.session, leg.id);
        if let Some(told) = happen(leg) {
            self.tell(session, event(id, told));
        }
    }

    /// Puts a leg under the clock if it has something to send.
    fn clock(&mut self, key: Key) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if leg.wants_clock() && !leg.clocked {
            leg.clocked = true;
            self.clocked.push(key);
        }
    }

    /// Does a leg's housekeeping, and notes when the next is due.
    fn housekeep(&mut self, key: Key, now: Instant) {
        let Self { legs, told: events, shared, deadlines, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        let (session, id) = (leg.session, leg.id);
        let next = leg.housekeep(shared.silent_after, now, |told| {
            events.push(shared.event(session, event(id, told)));
        });
        leg.wakes_at = next;
        if let Some(next) = next {
            deadlines.push(Reverse((next, key)));
        }
    }

    fn count_leg(&self, leg: &Leg, more: bool) {
        change(&self.tally.legs, more);
        if leg.door.is_own() {
            change(&self.tally.own_pairs, more);
        }
    }

    fn count_discarded(&self) {
        self.tally.discarded.fetch_add(1, Ordering::Relaxed);
    }

    fn find(&self, session: SessionId, leg: LegId) -> Option<Key> {
        let legs = &self.sessions.get(&session)?.legs;
        legs.iter().find(|&&(id, _)| id == leg).map(|&(_, key)| key)
    }

    fn keys(&self, session: SessionId) -> impl Iterator<Item = Key> {
        self.sessions.get(&session).into_iter().flat_map(|session| session.legs.iter().map(|&(_, key)| key))
    }

    fn tell(&mut self, session: SessionId, event: Event) {
        self.told.push(self.shared.event(session, event));
    }

    /// Hands over what is to be told: together, so that the edge is woken once for what came of its orders.
    pub fn tell_all(&mut self) {
        self.told.drain(..).for_each(|event| self.shared.events.send(event));
    }
}

/// Digits are somebody's secret, and texts may be: they are left out.
fn log(session: SessionId, order: &Order) {
    if let Order::SendDtmf { leg, .. } = order {
        tracing::debug!(%session, %leg, "order to send digits");
    } else if let Order::Say { leg, .. } = order {
        tracing::debug!(%session, %leg, "order to say a text");
    } else {
        tracing::debug!(%session, ?order, "order");
    }
}

fn event(leg: LegId, told: Told) -> Event {
    match told {
        Told::FirstPacket => Event::FirstPacket { leg },
        Told::PlayEnded(play, how) => Event::PlayEnded { leg, play, how },
        Told::DtmfSent => Event::DtmfSent { leg },
        Told::Unprotected(why) => Event::Unprotected { leg, why },
        Told::Silent { silent_ms, heard_before } => Event::Silent { leg, silent_ms, heard_before },
    }
}
