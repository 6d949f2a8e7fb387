//! A leg's way in and out: a pair of ports of its own, a seat at one that it shares with others, or a span to another media server.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};

use model::media::SpanId;

use crate::{ports::Pair, span};

/// The sockets that a leg sends from, and is reached at.
#[derive(Debug)]
pub enum Door {
    /// Nobody else's.
    Own(Pair),
    /// A shared one, told apart from the others' by who sends.
    Shared(Seat),
    /// The worker's port towards other media servers, told apart from the others' by the span's name.
    Span(SpanId, Arc<Pair>),
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
            Self::Span(_, pair) => pair,
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

    /// What RTCP is read from, unless it comes with RTP.
    pub fn rtcp(&self) -> &UdpSocket {
        &self.pair().rtcp
    }

    /// Sends RTP.
    pub fn send(&self, datagram: &[u8], to: SocketAddr, now: Instant) -> io::Result<()> {
        match self {
            Self::Own(_) | Self::Shared(_) => self.pair().send(datagram, to, now),
            Self::Span(id, _) => span::send(*id, datagram, to),
        }
    }

    /// Sends RTCP; whether it goes with RTP (RFC 5761).
    pub fn send_report(&self, muxed: bool, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = match self {
            Self::Span(id, _) => return span::send(*id, datagram, to),
            Self::Own(pair) if !muxed => &pair.rtcp,
            Self::Shared(seat) if !muxed => &seat.pair.rtcp,
            Self::Own(_) | Self::Shared(_) => self.rtp(),
        };
        socket.send_to(datagram, to).map(drop)
    }

    /// Whether its ports are nobody else's.
    pub const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The span's name, if it is one.
    pub const fn span(&self) -> Option<SpanId> {
        match self {
            Self::Span(id, _) => Some(*id),
            Self::Own(_) | Self::Shared(_) => None,
        }
    }

    /// The seat, if it is a shared one.
    pub fn seat(&self) -> Option<&Seat> {
        match self {
            Self::Own(_) | Self::Span(..) => None,
            Self::Shared(seat) => Some(seat),
        }
    }
}
