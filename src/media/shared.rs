//! Ports that many legs of a worker share, for peers that send from where their session description says (telephony 18).
//!
//! What comes is told apart by (network, local port, remote address and port); RTCP has keys of its own. A worker opens
//! up to [`PORTS`] pairs per network, one by one as legs come. A remote address that another leg has on a port, or had
//! within [`LINGER`], takes the next one; when it is taken on all, the leg gets a pair of its own. So nothing of a call
//! that is over reaches the next one.
//!
//! A leg that offers learns the remote address only from the answer. Two calls whose peers answer with one address are
//! rare (a carrier gives each call a port) but exist, between two servers with shared ports for instance: then the leg
//! moves to another port at `Configure`, and `Allocated` tells the call, which offers the new port by a re-INVITE.
//! Where the peer has offered, `Allocate` names the address and no call ever moves.
//!
//! Packets may overtake the answer that names their source: they wait a little, no more than [`WAITING_MAX`] of each of
//! [`STRANGERS_MAX`] sources, and only while a leg at the port has no peer yet. When the answer comes, they are heard.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    door::Seat,
    legs::Key,
    ports::{Pair, Ports},
};

/// Ports that a worker shares among its legs of one network.
pub const PORTS: usize = 8;
/// Octets that a shared port's sockets hold, if the system allows it: what its legs' peers send while the worker is
/// elsewhere for 100 ms.
const BUFFER: usize = 4 << 20;
/// How long an address stays taken when its leg is gone.
pub const LINGER: Duration = Duration::from_secs(30);
/// Packets of one unknown source that wait.
pub const WAITING_MAX: usize = 16;
/// How long they wait.
pub const WAITING: Duration = Duration::from_millis(200);
/// Unknown sources of one port whose packets wait.
pub const STRANGERS_MAX: usize = 8;

/// The shared ports of one worker.
#[derive(Debug, Default)]
pub struct SharedPorts {
    ports: Vec<Port>,
    taken: HashMap<Place, Taken>,
    /// What is free again, and when, in the order of time.
    lingering: VecDeque<(Instant, Place)>,
}

#[derive(Debug)]
struct Port {
    network: usize,
    pair: Arc<Pair>,
    /// Legs that sit here.
    legs: usize,
    /// Of these, legs whose peer is not known yet.
    awaiting: usize,
    strangers: Vec<Stranger>,
}

#[derive(Debug)]
struct Stranger {
    from: SocketAddr,
    since: Instant,
    packets: Vec<Box<[u8]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    port: u32,
    rtcp: bool,
    remote: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    By(Key),
    Until(Instant),
}

/// Whom a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A leg's.
    Leg(Key),
    /// Nobody's: of a call that is over, or of a stranger.
    Nobody,
    /// Perhaps a leg's whose peer's answer is still under way: it waits.
    Waits,
}

impl SharedPorts {
    /// Gives a leg a seat where that remote address is free, or any if it is not known yet. A port that is opened for
    /// it is shown to `watch`. `None`: it needs a pair of its own.
    pub fn take(
        &mut self,
        network: usize,
        ports: &Arc<Ports>,
        remote: Option<SocketAddr>,
        now: Instant,
        watch: impl FnOnce(u32, &Pair) -> bool,
    ) -> Option<Seat> {
        self.forget(now);
        let of_network = self.ports.iter().filter(|port| port.network == network).count();
        if of_network < PORTS
            && let Some(pair) = ports.take()
            && watch(self.ports.len() as u32, &pair)
        {
            // A wish; what the system gives unasked is 50 ms of some twenty calls.
            for socket in [&pair.rtp, &pair.rtcp] {
                let _ = socket2::SockRef::from(socket).set_recv_buffer_size(BUFFER);
            }
            let pair = Arc::new(pair);
            self.ports.push(Port { network, pair, legs: 0, awaiting: 0, strangers: Vec::new() });
        }
        let free = |place: u32| remote.is_none_or(|remote| self.is_free(place, false, remote, now));
        let (place, _) = (0..)
            .zip(&self.ports)
            .filter(|&(place, port)| port.network == network && free(place))
            .min_by_key(|(_, port)| port.legs)?;
        let port = &mut self.ports[place as usize];
        port.legs += 1;
        port.awaiting += 1;
        Some(Seat { place, pair: Arc::clone(&port.pair) })
    }

    /// A leg's peer is known. `false`: the address is another leg's, or was a short while ago.
    pub fn bind(&mut self, seat: &Seat, rtcp: bool, remote: SocketAddr, key: Key, now: Instant) -> bool {
        let place = Place { port: seat.place, rtcp, remote };
        if self.taken.get(&place) == Some(&Taken::By(key)) {
            return true;
        }
        if !self.is_free(seat.place, rtcp, remote, now) {
            return false;
        }
        self.taken.insert(place, Taken::By(key));
        true
    }

    /// A leg's peer is somewhere else, or the leg is gone: nobody has the address for a while.
    pub fn unbind(&mut self, seat: &Seat, rtcp: bool, remote: SocketAddr, key: Key, now: Instant) {
        let place = Place { port: seat.place, rtcp, remote };
        if self.taken.get(&place) == Some(&Taken::By(key)) {
            let until = now + LINGER;
            self.taken.insert(place, Taken::Until(until));
            self.lingering.push_back((until, place));
        }
    }

    /// A leg at the seat has got to know its peer; what came from there before is given back.
    pub fn settle(&mut self, seat: &Seat, remote: SocketAddr, now: Instant) -> Vec<Box<[u8]>> {
        let Some(port) = self.ports.get_mut(seat.place as usize) else { return Vec::new() };
        port.awaiting = port.awaiting.saturating_sub(1);
        let found = port.strangers.iter().position(|stranger| stranger.from == remote);
        let packets = match found.map(|place| port.strangers.swap_remove(place)) {
            Some(stranger) if now.saturating_duration_since(stranger.since) <= WAITING => stranger.packets,
            _ => Vec::new(),
        };
        if port.awaiting == 0 {
            port.strangers.clear();
        }
        packets
    }

    /// A leg leaves its seat. `settled`: whether it had got to know its peer.
    pub fn leave(&mut self, seat: &Seat, settled: bool) {
        let Some(port) = self.ports.get_mut(seat.place as usize) else { return };
        port.legs = port.legs.saturating_sub(1);
        if !settled {
            port.awaiting = port.awaiting.saturating_sub(1);
        }
    }

    /// Whom a datagram at a shared port belongs to; it is kept if that cannot be told yet.
    pub fn whose(&mut self, port: u32, rtcp: bool, from: SocketAddr, bytes: &[u8], now: Instant) -> Whose {
        match self.taken.get(&Place { port, rtcp, remote: from }) {
            Some(&Taken::By(key)) => return Whose::Leg(key),
            Some(&Taken::Until(until)) if now < until => return Whose::Nobody,
            Some(Taken::Until(_)) | None => {}
        }
        let Some(port) = self.ports.get_mut(port as usize) else { return Whose::Nobody };
        if rtcp || port.awaiting == 0 {
            return Whose::Nobody;
        }
        port.keep(from, bytes, now)
    }

    /// A shared port's sockets.
    pub fn pair(&self, place: u32) -> Option<&Arc<Pair>> {
        self.ports.get(place as usize).map(|port| &port.pair)
    }

    /// Pairs that are open.
    pub const fn open(&self) -> usize {
        self.ports.len()
    }

    fn is_free(&self, port: u32, rtcp: bool, remote: SocketAddr, now: Instant) -> bool {
        match self.taken.get(&Place { port, rtcp, remote }) {
            None => true,
            Some(Taken::By(_)) => false,
            Some(&Taken::Until(until)) => until <= now,
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some(&(until, place)) = self.lingering.front()
            && until <= now
        {
            self.lingering.pop_front();
            // Unless it was taken anew meanwhile.
            if self.taken.get(&place) == Some(&Taken::Until(until)) {
                self.taken.remove(&place);
            }
        }
    }
}

impl Port {
    fn keep(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) -> Whose {
        let old = |stranger: &Stranger| now.saturating_duration_since(stranger.since) > WAITING;
        let place = match self.strangers.iter().position(|stranger| stranger.from == from) {
            Some(place) if old(&self.strangers[place]) => {
                // Its time is over, and it is not given another one while it goes on.
                return Whose::Nobody;
            }
            Some(place) => place,
            None => {
                if self.strangers.len() >= STRANGERS_MAX {
                    self.strangers.retain(|stranger| !old(stranger));
                }
                if self.strangers.len() >= STRANGERS_MAX {
                    return Whose::Nobody;
                }
                self.strangers.push(Stranger { from, since: now, packets: Vec::with_capacity(WAITING_MAX) });
                self.strangers.len() - 1
            }
        };
        let packets = &mut self.strangers[place].packets;
        if packets.len() >= WAITING_MAX {
            return Whose::Nobody;
        }
        packets.push(bytes.into());
        Whose::Waits
    }
}
