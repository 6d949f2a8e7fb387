//! Ports that are read from frames, and the ways back to their peers.
//!
//! A way is learnt from a frame that a leg has taken: the Ethernet address it came from, whoever's that is, is where its
//! sender is reached (symmetric RTP, RFC 4961). Thus nothing is learnt from strangers, and nobody is ever asked by ARP or
//! neighbour discovery. A way that was not confirmed for [`FRESH`] is not taken: the plain socket, which follows routes,
//! sends then.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::wire::{Mac, Template};

/// How long a way is believed in without a frame from there.
pub const FRESH: Duration = Duration::from_secs(5);
/// Peers of one port at most whose ways are known; beyond, the plain socket sends.
pub const PEERS_MAX: usize = 4_096;

/// The ports.
#[derive(Debug, Default)]
pub struct Flows {
    ports: HashMap<SocketAddr, Port>,
}

#[derive(Debug)]
struct Port {
    token: u64,
    peers: HashMap<SocketAddr, Way>,
}

/// A way to a peer.
#[derive(Debug)]
pub struct Way {
    /// By which interface, by its place among the worker's.
    pub lane: usize,
    /// What stands before a payload.
    pub template: Template,
    theirs: Mac,
    heard: Instant,
}

impl Flows {
    /// A port of ours, by its worker's token.
    pub fn open(&mut self, local: SocketAddr, token: u64) {
        self.ports.insert(local, Port { token, peers: HashMap::new() });
    }

    /// It is closed. Returns whether it was open.
    pub fn close(&mut self, local: SocketAddr) -> bool {
        self.ports.remove(&local).is_some()
    }

    /// The token of a port.
    pub fn token(&self, local: SocketAddr) -> Option<u64> {
        self.ports.get(&local).map(|port| port.token)
    }

    /// A leg has taken what came from `remote` in a frame from `theirs` to `ours`.
    pub fn learn(
        &mut self,
        lane: usize,
        (ours, local): (Mac, SocketAddr),
        (theirs, remote): (Mac, SocketAddr),
        now: Instant,
    ) {
        let Some(port) = self.ports.get_mut(&local) else { return };
        if let Some(way) = port.peers.get_mut(&remote)
            && (way.lane, way.theirs) == (lane, theirs)
        {
            way.heard = now;
            return;
        }
        if port.peers.len() >= PEERS_MAX {
            port.peers.retain(|_, way| way.is_fresh(now));
        }
        if port.peers.len() >= PEERS_MAX {
            return;
        }
        if let Some(template) = Template::new((ours, local), (theirs, remote)) {
            port.peers.insert(remote, Way { lane, template, theirs, heard: now });
        }
    }

    /// The way to a peer, if it is known and believed in.
    pub fn way(&self, local: SocketAddr, remote: SocketAddr, now: Instant) -> Option<&Way> {
        self.ports.get(&local)?.peers.get(&remote).filter(|way| way.is_fresh(now))
    }
}

impl Way {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) <= FRESH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_way_is_known_once_heard_follows_the_last_frame_and_ages() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        let (local, remote) = (at("192.0.2.1:4000"), at("192.0.2.9:5000"));
        let theirs = |last| [2, 0, 0, 0, 0, last];
        flows.learn(0, (OURS, local), (theirs(2), remote), now);
        assert!(flows.way(local, remote, now).is_none(), "not a port of ours");
        flows.open(local, 7);
        assert_eq!(flows.token(local), Some(7));
        flows.learn(0, (OURS, local), (theirs(2), remote), now);
        let before = flows.way(local, remote, now).unwrap().template.clone();
        assert!(flows.way(local, at("192.0.2.9:5002"), now).is_none(), "another port of the peer");
        flows.learn(1, (OURS, local), (theirs(3), remote), now);
        let after = flows.way(local, remote, now + FRESH).unwrap();
        assert_eq!(after.lane, 1);
        assert_ne!(after.template, before, "another router");
        assert!(flows.way(local, remote, now + FRESH + Duration::from_millis(1)).is_none());
        assert!(flows.close(local) && !flows.close(local));
        flows.open(local, 8);
        assert!(flows.way(local, remote, now).is_none(), "the next call learns anew");
    }

    #[test]
    fn a_port_knows_a_bounded_number_of_peers_and_forgets_old_ones_for_new_ones() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        let local = at("192.0.2.1:4000");
        flows.open(local, 7);
        let remote = |port: usize| SocketAddr::from(([192, 0, 2, 9], port as u16 + 1));
        for port in 0..=PEERS_MAX {
            flows.learn(0, (OURS, local), (OURS, remote(port)), now);
        }
        assert!(flows.way(local, remote(PEERS_MAX - 1), now).is_some());
        assert!(flows.way(local, remote(PEERS_MAX), now).is_none());
        let later = now + 2 * FRESH;
        flows.learn(0, (OURS, local), (OURS, remote(PEERS_MAX)), later);
        assert!(flows.way(local, remote(PEERS_MAX), later).is_some());
    }
}
