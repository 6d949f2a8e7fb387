//! Port pairs of one network: an even port for RTP and the odd one after it for RTCP (RFC 3550 §11).
//!
//! Pairs are taken in turn and given back at the end of the queue, so a packet that is still under way to a call
//! that has ended does not meet the next one. Taking one happens once per leg; a lock is cheap enough for that.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::xdp;

/// The pairs of one network.
#[derive(Debug)]
pub struct Ports {
    bind: IpAddr,
    interface: Option<String>,
    total: usize,
    free: Mutex<VecDeque<u16>>,
}

/// A pair with its sockets, given back when dropped.
#[derive(Debug)]
pub struct Pair {
    /// For RTP; non-blocking.
    pub rtp: UdpSocket,
    /// For RTCP; non-blocking.
    pub rtcp: UdpSocket,
    // After the sockets: a field that is dropped later, so the port is free before it can be taken again.
    lease: Lease,
}

#[derive(Debug)]
struct Lease {
    ports: Arc<Ports>,
    port: u16,
}

/// What a socket of one leg holds while its worker is elsewhere, in bytes; the kernel doubles it and counts its own bookkeeping in:
/// some 80 packets by loopback (768 B each), 15 to 28 by a network card (2.3 to 4.3 kB each), a third of a second and more. Those of
/// many legs and the other ends of spans have more.
const BUFFER: usize = 32 * 1024;

/// DSCP Expedited Forwarding in the traffic-class octet (RFC 4594 §4.1: telephony).
const EXPEDITED: u32 = 46 << 2;

impl Ports {
    /// All pairs that lie in `range`.
    #[must_use]
    pub fn new(bind: IpAddr, range: &RangeInclusive<u16>, interface: Option<String>) -> Self {
        let pairs: VecDeque<u16> =
            range.clone().filter(|&port| port % 2 == 0 && port > 0 && port < *range.end()).collect();
        Self { bind, interface, total: pairs.len(), free: Mutex::new(pairs) }
    }

    /// How many pairs there are in all.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Pairs taken now.
    pub fn used(&self) -> usize {
        self.total - self.free().len()
    }

    /// Takes the pair that has been free for longest. Pairs that another process holds are passed over.
    pub fn take(self: &Arc<Self>) -> Option<Pair> {
        for _ in 0..self.total {
            let port = self.free().pop_front()?;
            // Held from here on: an early return gives the port back.
            let lease = Lease { ports: Arc::clone(self), port };
            let bound = |port| bound(self.bind, port, self.interface.as_deref());
            match (bound(port), bound(port + 1)) {
                (Ok(rtp), Ok(rtcp)) => return Some(Pair { rtp, rtcp, lease }),
                (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::debug!(port, "another process holds this RTP port");
                }
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(bind = %self.bind, port, %error, "no RTP sockets");
                    return None;
                }
            }
        }
        None
    }

    fn free(&self) -> std::sync::MutexGuard<'_, VecDeque<u16>> {
        // A queue is whole after each of its operations, so a panic elsewhere cannot have spoilt it.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pair {
    /// The RTP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.lease.port
    }

    /// Sends through the RTP port, by the shortest way that there is.
    pub fn send(&self, datagram: &[u8], to: SocketAddr, now: Instant) -> io::Result<()> {
        if xdp::send(SocketAddr::new(self.lease.ports.bind, self.lease.port), to, datagram, now) {
            return Ok(());
        }
        self.rtp.send_to(datagram, to).map(drop)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        xdp::closed(SocketAddr::new(self.ports.bind, self.port));
        self.ports.free().push_back(self.port);
    }
}

/// A non-blocking UDP socket on that address and interface, marked for expedited forwarding.
pub fn bound(address: IpAddr, port: u16, interface: Option<&str>) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Marking is a wish; some containers do not allow it.
    match address {
        SocketAddr::V4(_) => _ = socket.set_tos_v4(EXPEDITED),
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            _ = socket.set_tclass_v6(EXPEDITED);
        }
    }
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    // A wish: who is overrun loses what is late, for nobody wants to hear seconds-old audio.
    let _ = socket.set_recv_buffer_size(BUFFER);
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn ports(range: RangeInclusive<u16>) -> Arc<Ports> {
        Arc::new(Ports::new(LOCALHOST, &range, None))
    }

    #[test]
    fn only_whole_pairs_count() {
        for (range, pairs) in [
            (1000..=1003, 2),
            (1001..=1004, 1),
            (1000..=1000, 0),
            (1001..=1002, 0),
            (65_534..=65_535, 1),
            (0..=1, 0),
        ] {
            assert_eq!(ports(range.clone()).total(), pairs, "{range:?}");
        }
    }

    #[test]
    fn pairs_go_round_and_come_back() {
        let ports = ports(17_000..=17_005);
        let (first, second) = (ports.take().unwrap(), ports.take().unwrap());
        assert_eq!((first.port(), second.port()), (17_000, 17_002));
        drop(first);
        let third = ports.take().unwrap();
        assert_eq!(third.port(), 17_004, "not the one just given back");
        let again = ports.take().unwrap();
        assert_eq!(again.port(), 17_000);
        assert!(ports.take().is_none());
        assert_eq!(ports.used(), 3);
        drop((second, third, again));
        assert_eq!(ports.used(), 0);
    }

    #[test]
    fn a_pair_of_which_another_process_holds_one_port_is_passed_over() {
        let _held = UdpSocket::bind((LOCALHOST, 17_101)).unwrap();
        let ports = ports(17_100..=17_103);
        let pair = ports.take().unwrap();
        assert_eq!(pair.port(), 17_102);
        assert!(ports.take().is_none());
        assert_eq!(ports.used(), 1);
    }

    #[test]
    fn an_address_that_is_not_ours_gives_nothing_and_leaks_nothing() {
        let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
        let ports = Arc::new(Ports::new(elsewhere, &(17_200..=17_203), None));
        assert!(ports.take().is_none());
        assert_eq!(ports.used(), 0);
    }
}
