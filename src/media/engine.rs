//! What a worker does with orders, packets and time. The worker owns the waiting; this owns the sessions.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use model::{
    LegId, SessionId,
    media::{Event, MediaEvent, MediaOrder, Order, RecordingEnd, Refusal},
};

use crate::{
    leg::{Content, Leg, Told},
    legs::{Key, Legs},
    library::Library,
    play::Play,
    recording::Recordings,
    server::{Shared, Tally},
    sys::{self, Datagram},
};

mod recordings;

/// Legs of a session at most.
const LEGS_MAX: usize = 16;

/// A worker's sessions and legs.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    sessions: BTreeMap<SessionId, Session>,
    legs: Legs,
    clocked: Vec<Key>,
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
}

impl Engine {
    /// Without sessions.
    pub fn new(shared: Arc<Shared>, tally: Arc<Tally>) -> Self {
        Self {
            shared,
            sessions: BTreeMap::new(),
            legs: Legs::default(),
            clocked: Vec::new(),
            deadlines: BinaryHeap::new(),
            told: Vec::new(),
            tally,
        }
    }

    /// Carries out an order. `watch` puts a new leg's sockets under watch.
    pub fn order(
        &mut self,
        MediaOrder { session, order }: MediaOrder,
        now: Instant,
        watch: impl FnOnce(&Leg, Key) -> io::Result<()>,
    ) {
        log(session, &order);
        match order {
            Order::Allocate { leg, network, shared: _ } => self.allocate(session, leg, &network, watch),
            Order::Configure { leg, parameters } => {
                let Some(key) = self.find(session, leg) else { return };
                if let Some(leg) = self.legs.get_mut(key) {
                    leg.configure(parameters, now);
                }
                self.clock(key);
                self.housekeep(key, now);
            }
            Order::Play { leg, play, audio, times } => {
                let Some(library) = self.sessions.get(&session).map(|session| Arc::clone(&session.library))
                else {
                    return;
                };
                let Some(key) = self.find(session, leg) else { return };
                match Play::new(play, &audio, times, &library) {
                    Ok(play) => self.with(key, |leg| leg.play(play)),
                    Err(how) => {
                        self.with(key, Leg::stop_play);
                        self.tell(session, Event::PlayEnded { leg, play, how });
                    }
                }
                self.clock(key);
            }
            Order::StopPlay { leg } => {
                if let Some(key) = self.find(session, leg) {
                    self.with(key, Leg::stop_play);
                }
            }
            Order::Bridge { a, b } => self.bridge(session, a, b),
            Order::Unbridge { leg } => {
                if let Some(key) = self.find(session, leg) {
                    self.part(key);
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
            Order::PlayRecording { leg, play, name } => self.play_recording(session, leg, play, name),
            Order::BeginRecording(recording) => self.begin_recording(session, *recording, now),
            Order::PauseRecording { name, paused } => {
                if let Some(session) = self.sessions.get(&session) {
                    session.recordings.pause(&name, paused, now);
                }
            }
            Order::EndRecording { name } => self.end_recording(session, &name, RecordingEnd::Stopped, now),
            Order::ForgetRecording { name } => {
                if let Some(loading) = &self.shared.loading
                    && !loading.forget(name)
                {
                    tracing::warn!(%session, "a recording that is not wanted stays: too many wait to be deleted");
                }
            }
            Order::Mix(_) | Order::Mute { .. } | Order::Listen { .. } | Order::StopListening { .. } => {
                tracing::warn!(%session, "this media server does not know the order")
            }
            Order::Release { leg } => {
                if let Some(key) = self.find(session, leg) {
                    self.release(key, now);
                }
            }
        }
    }

    /// Takes a datagram from a leg's RTP or RTCP socket; `None` is one that could not be read.
    pub fn datagram(&mut self, key: Key, rtcp: bool, datagram: Option<Datagram<'_>>, now: Instant) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(Datagram { bytes, from }) = datagram else {
            leg.discard();
            self.count_discarded();
            return;
        };
        if rtcp {
            if !leg.receive_report(bytes, from, now) {
                self.count_discarded();
            }
        } else {
            self.packet(key, bytes, from, now);
        }
    }

    /// Sends what is due at a tick.
    pub fn tick(&mut self, tick: Instant) {
        let Self { legs, clocked, shared, told: events, .. } = self;
        clocked.retain(|&key| {
            let Some(leg) = legs.get_mut(key) else { return false };
            let (session, id) = (leg.session, leg.id);
            let more = leg.tick(tick, |told| events.push(shared.event(session, event(id, told))));
            leg.clocked = more;
            more
        });
    }

    /// Whether the clock has anything to do.
    pub fn wants_clock(&self) -> bool {
        !self.clocked.is_empty()
    }

    /// Does what is due besides the streams. Returns when to be called again.
    pub fn housekeeping(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&Reverse((at, key))) = self.deadlines.peek() {
            if at > now {
                return Some(at);
            }
            self.deadlines.pop();
            if let Some(next) = self.legs.get_mut(key).and_then(|leg| leg.housekeep(now)) {
                self.deadlines.push(Reverse((next, key)));
            }
        }
        None
    }

    /// A leg's RTP or RTCP socket.
    pub fn socket(&mut self, key: Key, rtcp: bool) -> Option<BorrowedFd<'_>> {
        self.legs.get_mut(key).map(|leg| leg.socket(rtcp))
    }

    /// The session of a leg.
    pub fn session_of(&mut self, key: Key) -> Option<SessionId> {
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

    fn allocate(
        &mut self,
        session: SessionId,
        leg: LegId,
        network: &str,
        watch: impl FnOnce(&Leg, Key) -> io::Result<()>,
    ) {
        if let Some(key) = self.find(session, leg) {
            // The order came twice; so does the answer.
            if let Some(port) = self.legs.get_mut(key).map(|leg| leg.port()) {
                self.tell_allocated(session, leg, network, port);
            }
            return;
        }
        match self.new_leg(session, leg, network).and_then(|new| self.enter(session, new, watch)) {
            Ok(port) => self.tell_allocated(session, leg, network, port),
            Err(reason) => {
                tracing::info!(%session, %leg, ?reason, "leg refused");
                self.tell(session, Event::Refused { leg, reason });
            }
        }
    }

    /// Puts a new leg into its session and under watch, and returns its port.
    fn enter(
        &mut self,
        session: SessionId,
        leg: Leg,
        watch: impl FnOnce(&Leg, Key) -> io::Result<()>,
    ) -> Result<u16, Refusal> {
        let (id, port) = (leg.id, leg.port());
        let key = self.legs.insert(leg);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.legs.push((id, key));
            if let Some(leg) = self.legs.get_mut(key) {
                session.recordings.taps(id).for_each(|tap| leg.add_tap(tap));
            }
        }
        let watched = self.legs.get_mut(key).map_or(Ok(()), |leg| watch(leg, key));
        if let Err(error) = watched {
            tracing::error!(%session, leg = %id, %error, "a leg's sockets cannot be watched");
            self.legs.remove(key);
            self.forget(session, key);
            return Err(Refusal::PortsExhausted);
        }
        self.shared.counts.legs.fetch_add(1, Ordering::Relaxed);
        Ok(port)
    }

    fn new_leg(&mut self, session: SessionId, leg: LegId, network: &str) -> Result<Leg, Refusal> {
        let Self { shared, sessions, .. } = self;
        let network = shared.network(network).ok_or(Refusal::NoSuchNetwork)?;
        let legs = sessions.get(&session).map(|session| session.legs.len());
        let room = match legs {
            Some(legs) => legs < LEGS_MAX,
            None => shared.begin_session(),
        };
        if !room {
            return Err(Refusal::Draining);
        }
        let Some(ports) = network.ports.take() else {
            if legs.is_none() {
                shared.end_session();
            }
            return Err(Refusal::PortsExhausted);
        };
        if legs.is_none() {
            sessions.insert(
                session,
                Session {
                    library: shared.library(),
                    legs: Vec::with_capacity(2),
                    recordings: Recordings::default(),
                },
            );
        }
        Ok(Leg::new(session, leg, ports, Arc::clone(&self.tally), sys::random))
    }

    fn tell_allocated(&mut self, session: SessionId, leg: LegId, network: &str, rtp_port: u16) {
        if let Some(address) = self.shared.network(network).map(|network| network.advertised) {
            self.tell(session, Event::Allocated { leg, address, rtp_port });
        }
    }

    fn bridge(&mut self, session: SessionId, a: LegId, b: LegId) {
        let (Some(first), Some(second)) = (self.find(session, a), self.find(session, b)) else { return };
        if first == second {
            return;
        }
        for (key, other) in [(first, second), (second, first)] {
            self.with(key, Leg::stop_play);
            let bridged = self.legs.get_mut(key).and_then(|leg| leg.peer);
            if bridged != Some(other) {
                self.part(key);
            }
        }
        for (key, other) in [(first, second), (second, first)] {
            if let Some(leg) = self.legs.get_mut(key) {
                leg.peer = Some(other);
            }
        }
    }

    fn part(&mut self, key: Key) {
        let Some(other) = self.legs.get_mut(key).and_then(|leg| leg.peer.take()) else { return };
        if let Some(other) = self.legs.get_mut(other) {
            other.peer = None;
        }
    }

    fn release(&mut self, key: Key, now: Instant) {
        self.part(key);
        self.with(key, Leg::stop_play);
        let Some(mut leg) = self.legs.remove(key) else { return };
        let (session, id) = (leg.session, leg.id);
        let quality = leg.end(now);
        // The ports are free before it is told.
        drop(leg);
        self.shared.counts.legs.fetch_sub(1, Ordering::Relaxed);
        let released = MediaEvent { session, event: Event::Released { leg: id, quality } };
        tracing::debug!(%session, leg = %id, ?quality, "released");
        // A recorder tells of it by a way of its own, which must not overtake what was before.
        self.tell_all();
        let told = self.recordings_released(session, id, released, now);
        self.forget(session, key);
        self.told.extend(told);
    }

    fn forget(&mut self, session: SessionId, key: Key) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.legs.retain(|&(_, other)| other != key);
        if entry.legs.is_empty() {
            self.sessions.remove(&session);
            self.shared.end_session();
        }
    }

    fn packet(&mut self, key: Key, bytes: &mut [u8], from: SocketAddr, now: Instant) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(mut incoming) = leg.receive(bytes, from, now) else {
            tracing::trace!(leg = %leg.id, %from, "packet discarded");
            self.count_discarded();
            return;
        };
        self.tally.received.fetch_add(1, Ordering::Relaxed);
        let payload = &bytes[incoming.payload.clone()];
        let key_pressed = leg.hear_key(&mut incoming, payload);
        leg.record(&incoming, payload, now);
        let (session, id, peer) = (leg.session, leg.id, leg.peer);
        if incoming.first_packet {
            tracing::debug!(%session, leg = %id, %from, "first packet");
            self.tell(session, event(id, Told::FirstPacket));
        }
        if let Some(digit) = key_pressed {
            self.tell(session, Event::Dtmf { leg: id, digit });
            self.recording_ended_by_key(session, id, digit, now);
        }
        if incoming.content == Content::Nothing {
            return;
        }
        if let Some(peer) = peer
            && self.legs.get_mut(peer).is_some_and(|other| other.relay(&incoming, bytes, now))
        {
            self.clock(peer);
        }
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

    /// Begins a leg's housekeeping; after the first time its deadline is in the heap.
    fn housekeep(&mut self, key: Key, now: Instant) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if !std::mem::replace(&mut leg.housekept, true)
            && let Some(next) = leg.housekeep(now)
        {
            self.deadlines.push(Reverse((next, key)));
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

/// Digits are somebody's secret: they are left out.
fn log(session: SessionId, order: &Order) {
    if let Order::SendDtmf { leg, .. } = order {
        tracing::debug!(%session, %leg, "order to send digits");
    } else {
        tracing::debug!(%session, ?order, "order");
    }
}

fn event(leg: LegId, told: Told) -> Event {
    match told {
        Told::FirstPacket => Event::FirstPacket { leg },
        Told::PlayEnded(play, how) => Event::PlayEnded { leg, play, how },
        Told::DtmfSent => Event::DtmfSent { leg },
    }
}
