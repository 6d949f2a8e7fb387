//! Ports for legs: pairs of their own, and seats at shared ones.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use model::{
    LegId, SessionId,
    media::{Event, MediaParameters, Refusal},
};

use super::{Engine, LEGS_MAX, Recordings, Session, Watch};
use crate::{
    door::{Door, Seat},
    leg::Leg,
    legs::{Key, Owner},
    ports::Pair,
    sys::{self, Datagram, Onward},
    tally::change,
};

/// What a shared port is asked for: a free remote address, if it is known.
type Wish = Option<Option<SocketAddr>>;

impl Engine {
    pub(super) fn allocate(
        &mut self,
        session: SessionId,
        leg: LegId,
        (network, shared): (&str, Wish),
        now: Instant,
        watch: Watch<'_>,
    ) {
        if let Some(key) = self.find(session, leg) {
            // The order came twice; so does the answer.
            self.tell_allocated(key);
            return;
        }
        let network = self.shared.network(network).ok_or(Refusal::NoSuchNetwork);
        let made = network.and_then(|network| {
            let door = |engine: &mut Self| engine.door(network, shared, now, watch);
            self.new_leg(session, leg, network, now, door)
        });
        self.admit(session, leg, made, watch);
    }

    /// Puts a new leg in its place, and tells what became of it.
    pub(super) fn admit(
        &mut self,
        session: SessionId,
        leg: LegId,
        made: Result<Leg, Refusal>,
        watch: Watch<'_>,
    ) {
        match made.and_then(|new| self.enter(session, new, watch)) {
            Ok(key) => self.tell_allocated(key),
            Err(reason) => {
                tracing::info!(%session, %leg, ?reason, "leg refused");
                self.tell(session, Event::Refused { leg, reason });
            }
        }
    }

    /// Takes what was agreed: a leg at a shared port is known by its peer's address from now on.
    pub(super) fn configure(
        &mut self,
        key: Key,
        parameters: MediaParameters,
        now: Instant,
        watch: Watch<'_>,
    ) {
        let Some(parameters) = self.spannable(key, parameters) else {
            return self.evict(key, Refusal::SpanUnprotected, now);
        };
        let waiting = self.seat(key, &parameters, now, watch);
        let Some(waiting) = waiting else { return self.evict(key, Refusal::PortsExhausted, now) };
        let Some(leg) = self.legs.get_mut(key) else { return };
        let session = leg.session;
        let remote = parameters.remote_rtp;
        leg.configure(parameters, now);
        self.reroute(session, now);
        self.clock(key);
        self.housekeep(key, now);
        for packet in waiting {
            let length = packet.len();
            let mut buffer = packet.into_vec();
            buffer.resize(length + rtp::srtp::OVERHEAD_MAX, 0);
            let mut onward = None;
            let mut datagram = Datagram { buffer: &mut buffer, length, from: remote, onward: &mut onward };
            if self.legs.get_mut(key).is_some_and(|leg| leg.is_handshake(&datagram)) {
                self.handshake(key, &datagram, now);
                continue;
            }
            self.packet(key, &mut datagram, now);
            if let Some(Onward { pair, to, range }) = onward {
                // Lost if it cannot be sent, as in the network.
                let _ = pair.rtp.send_to(&buffer[range], to);
            }
        }
    }

    /// A leg is gone or goes elsewhere.
    pub(super) fn leave_seat(&mut self, key: Key, leg: &Leg, now: Instant) {
        let Some(seat) = leg.door.seat() else { return };
        let parameters = leg.parameters().filter(|parameters| is_address(parameters.remote_rtp));
        if let Some(parameters) = parameters {
            self.seats.unbind(seat, false, parameters.remote_rtp, key, now);
            self.seats.unbind(seat, true, parameters.remote_rtcp, key, now);
        }
        self.seats.leave(seat, parameters.is_some());
    }

    /// Binds a shared leg's seat to its peer's address, or moves it where that is free. Returns what has come from there
    /// already; `None`: there is no port left.
    fn seat(
        &mut self,
        key: Key,
        parameters: &MediaParameters,
        now: Instant,
        watch: Watch<'_>,
    ) -> Option<Vec<Box<[u8]>>> {
        let Some(leg) = self.legs.get_mut(key) else { return Some(Vec::new()) };
        let Some(seat) = leg.door.seat().cloned() else { return Some(Vec::new()) };
        let remote = parameters.remote_rtp;
        let before = leg.parameters().map(|before| (before.remote_rtp, before.remote_rtcp));
        let before = before.filter(|&(rtp, _)| is_address(rtp));
        if let Some((rtp, rtcp)) = before.filter(|&(rtp, _)| rtp != remote) {
            self.seats.unbind(&seat, false, rtp, key, now);
            self.seats.unbind(&seat, true, rtcp, key, now);
        }
        if !is_address(remote) {
            return Some(Vec::new());
        }
        if self.seats.bind(&seat, false, remote, key, now) {
            self.seats.bind(&seat, true, parameters.remote_rtcp, key, now);
            let first = before.is_none();
            return Some(if first { self.seats.settle(&seat, remote, now) } else { Vec::new() });
        }
        self.seats.leave(&seat, before.is_some());
        self.move_leg(key, parameters, now, watch).then(Vec::new)
    }

    fn move_leg(&mut self, key: Key, parameters: &MediaParameters, now: Instant, watch: Watch<'_>) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let (session, id, network) = (leg.session, leg.id, leg.network);
        let remote = parameters.remote_rtp;
        let Some(door) = self.door(network, Some(Some(remote)), now, watch) else { return false };
        tracing::info!(%session, leg = %id, %remote, port = door.port(), "moved: another leg has its peer's address");
        if let Some(seat) = door.seat() {
            self.seats.bind(seat, false, remote, key, now);
            self.seats.bind(seat, true, parameters.remote_rtcp, key, now);
            self.seats.settle(seat, remote, now);
        }
        let Some(leg) = self.legs.get_mut(key) else { return false };
        leg.door = door;
        if leg.door.seat().is_none() {
            change(&self.tally.own_pairs, true);
        }
        if leg.door.seat().is_none() && watch_leg(leg, key, watch).is_err() {
            return false;
        }
        self.tell_allocated(key);
        true
    }

    /// A leg that has lost its port and finds no other, or cannot be what it is to be.
    fn evict(&mut self, key: Key, reason: Refusal, now: Instant) {
        self.with(key, Leg::stop_play);
        let Some(leg) = self.legs.remove(key) else { return };
        let (session, id) = (leg.session, leg.id);
        self.count_leg(&leg, false);
        self.spans.leave(leg.door.span());
        drop(leg);
        self.shared.counts.legs.fetch_sub(1, Ordering::Relaxed);
        self.forget(session, key, now);
        self.tell(session, Event::Refused { leg: id, reason });
    }

    /// Puts a new leg into its session and under watch.
    fn enter(&mut self, session: SessionId, leg: Leg, watch: Watch<'_>) -> Result<Key, Refusal> {
        let id = leg.id;
        self.count_leg(&leg, true);
        let key = self.legs.insert(leg);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.legs.push((id, key));
            if let Some(leg) = self.legs.get_mut(key) {
                session.recordings.taps(id).for_each(|tap| leg.add_tap(tap));
            }
        }
        let watched = match self.legs.get_mut(key) {
            Some(leg) if leg.door.is_own() => watch_leg(leg, key, watch),
            _ => Ok(()),
        };
        if let Err(error) = watched {
            tracing::error!(%session, leg = %id, %error, "a leg's sockets cannot be watched");
            if let Some(leg) = self.legs.remove(key) {
                self.count_leg(&leg, false);
            }
            self.forget(session, key, Instant::now());
            return Err(Refusal::PortsExhausted);
        }
        self.shared.counts.legs.fetch_add(1, Ordering::Relaxed);
        Ok(key)
    }

    pub(super) fn new_leg(
        &mut self,
        session: SessionId,
        leg: LegId,
        network: usize,
        now: Instant,
        door: impl FnOnce(&mut Self) -> Option<Door>,
    ) -> Result<Leg, Refusal> {
        let legs = self.sessions.get(&session).map(|session| session.legs.len());
        let room = match legs {
            Some(legs) => legs < LEGS_MAX,
            None => self.shared.begin_session(),
        };
        if !room {
            return Err(Refusal::Draining);
        }
        let Some(door) = door(self) else {
            if legs.is_none() {
                self.shared.end_session();
            }
            return Err(Refusal::PortsExhausted);
        };
        if legs.is_none() {
            let library = self.shared.library();
            let legs = Vec::with_capacity(2);
            let (heard, pairs) = (Vec::new(), Vec::new());
            self.sessions.insert(
                session,
                Session { library, legs, recordings: Recordings::default(), heard, mix: None, pairs },
            );
            change(&self.tally.sessions, true);
        }
        let mut leg = Leg::new(session, leg, (network, door), Arc::clone(&self.tally), now, sys::random);
        leg.set_identity(Arc::clone(&self.shared.identity));
        Ok(leg)
    }

    /// A seat if one is wished for and free, else a pair.
    fn door(&mut self, network: usize, shared: Wish, now: Instant, watch: Watch<'_>) -> Option<Door> {
        let ports = Arc::clone(&self.shared.networks.get(network)?.ports);
        let watched = |place: u32, pair: &Pair| {
            let owner = Owner::Shared(place);
            watch_pair(pair, owner, watch)
                .inspect_err(|error| tracing::error!(%error, "a shared port cannot be watched"))
                .is_ok()
        };
        let seat = shared.and_then(|remote| self.seats.take(network, &ports, remote, now, watched));
        self.tally.shared_pairs.store(self.seats.open() as u64, Ordering::Relaxed);
        match seat {
            Some(seat) => Some(Door::Shared(Seat { place: seat.place, pair: seat.pair })),
            None => ports.take().map(Door::Own),
        }
    }

    pub(super) fn tell_allocated(&mut self, key: Key) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (session, leg, rtp_port, network, span) =
            (leg.session, leg.id, leg.port(), leg.network, leg.door.span());
        if span.is_some() {
            return self.tell_extended(session, leg, rtp_port);
        }
        if let Some(address) = self.shared.networks.get(network).map(|network| network.advertised) {
            let fingerprint = Some(Box::new(self.shared.identity.fingerprint().clone()));
            self.tell(session, Event::Allocated { leg, address, rtp_port, fingerprint });
        }
    }
}

fn watch_leg(leg: &Leg, key: Key, watch: Watch<'_>) -> io::Result<()> {
    let owner = Owner::Leg(key);
    watch(leg.socket(false), owner.token(false))?;
    watch(leg.socket(true), owner.token(true))
}

fn watch_pair(pair: &Pair, owner: Owner, watch: Watch<'_>) -> io::Result<()> {
    use std::os::fd::AsFd;
    watch(pair.rtp.as_fd(), owner.token(false))?;
    watch(pair.rtcp.as_fd(), owner.token(true))
}

/// Whether packets can come from there: a hold of old (RFC 2543) gives 0.0.0.0, a refused stream port 0.
fn is_address(remote: SocketAddr) -> bool {
    remote.port() != 0 && !remote.ip().is_unspecified()
}
