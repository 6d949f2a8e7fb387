//! A leg's way in and out: a pair of ports of its own, or a seat at one that it shares with others.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};

use crate::ports::Pair;

/// The sockets that a leg sends from, and is reached at.
#[derive(Debug)]
pub enum Door {
    /// Nobody else's.
    Own(Pair),
    /// A shared one, told apart from the others' by who sends.
    Shared(Seat),
}

/// A place at a shared port.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The port, by its place in the worker's list.
    pub place: u32,
    /// Its sockets.
    pub pair: Arc<Pair>,
}

impl Door {
    fn pair(&self) -> &Pair {
        match self {
            Self::Own(pair) => pair,
            Self::Shared(seat) => &seat.pair,
        }
    }

    /// The RTP port.
    pub fn port(&self) -> u16 {
        self.pair().port()
    }

    /// What RTP goes through.
    pub fn rtp(&self) -> &UdpSocket {
        &self.pair().rtp
    }

    /// What RTCP goes through, unless it goes with RTP (RFC 5761).
    pub fn rtcp(&self, muxed: bool) -> &UdpSocket {
        if muxed { &self.pair().rtp } else { &self.pair().rtcp }
    }

    /// Sends RTP.
    pub fn send(&self, datagram: &[u8], to: SocketAddr, now: Instant) -> io::Result<()> {
        self.pair().send(datagram, to, now)
    }

    /// The seat, if it is a shared one.
    pub fn seat(&self) -> Option<&Seat> {
        match self {
            Self::Own(_) => None,
            Self::Shared(seat) => Some(seat),
        }
    }
}
