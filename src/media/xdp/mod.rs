//! Frames beside sockets: AF_XDP, where the machine allows it and the cluster asks for it.
//!
//! The plain sockets stay bound, and everything may come and go by them; a frame's way is a shorter one for what it covers.
//! A program at the interface ([`program`]) takes UDP packets to ports of legs out before the kernel has made packets of
//! its own of them; the worker reads them from memory that it shares with the kernel ([`kernel`]). What a leg sends goes
//! out as a frame if its peer was heard by one in the last seconds ([`flows`]), else by the plain socket. RTCP on a port of
//! its own goes by the plain socket always.
//!
//! Worker `n` has the socket of queue `n` of each interface, so none ever waits for another. A port belongs to its worker's
//! queue: what comes for it by another queue goes by the plain socket, and a worker beyond the last queue has plain sockets
//! alone. So an interface with one queue serves one worker this way, and a card that spreads packets over `n` queues
//! brings a port's packets to the right one once in `n` times, unless it is told which (`ethtool -N`).
//!
//! A frame's way knows nothing of the kernel's packet filter, connection tracking, `tcpdump` and reverse-path filter. What a
//! leg hears is decided by its latch alone, as ever; frames from addresses that no peer can have are thrown away here.
//! The checksums are proven here, too.
//!
//! Measured beside plain sockets by `tests/bench/xdp.rs`.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    config::Network,
    sys::{Datagram, Onward},
    tally::Tally,
};
use flows::Flows;
use kernel::{Inlet, Interface, Map, Mode, Outlet, interface_of};
use wire::Unreadable;

mod flows;
mod kernel;
mod program;
mod ring;
mod wire;

/// Interfaces of one server that are read from by frames at most.
pub const INTERFACES_MAX: usize = 8;
/// Frames read at once, so that orders and ticks have their turn.
const BATCH: usize = 64;
/// Ports of one interface at most; beyond, plain sockets serve.
const PORTS_MAX: u32 = 32_768;

/// Why plain sockets serve alone.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("its address stands for all of them, and frames need to know theirs")]
    AnyAddress,
    #[error("no interface has its address")]
    NoInterface,
    #[error("there are {INTERFACES_MAX} interfaces with frames already")]
    TooMany,
    #[error("the interface `{0}` cannot be used, it must be one of Ethernet: {1}")]
    Interface(String, #[source] io::Error),
    #[error("the kernel takes no program (CAP_BPF and CAP_NET_ADMIN are needed): {0}")]
    Program(#[source] io::Error),
    #[error("no program can be attached to `{0}` (CAP_NET_ADMIN is needed, and that none is there yet): {1}")]
    Attach(String, #[source] io::Error),
    #[error(
        "`{0}` gives no AF_XDP socket (CAP_NET_RAW is needed, and CAP_IPC_LOCK or a limit of locked memory of 20 MiB): {1}"
    )]
    Socket(String, #[source] io::Error),
}

/// An interface with our program, which goes with the last of its lanes.
#[derive(Debug)]
struct Attached {
    interface: Interface,
    addresses: Vec<IpAddr>,
    ports: Map<{ program::KEY }>,
    _sockets: Map<4>,
    _link: OwnedFd,
}

/// One queue of one interface, for one worker.
#[derive(Debug)]
pub struct Lane {
    inlet: Inlet,
    outlet: Outlet,
    attached: Arc<Attached>,
    queue: u32,
}

/// Opens what there is for these networks: the lanes of each of so many workers. Where something is refused, plain sockets
/// serve, and a warning says why.
pub fn open(networks: &[Network], workers: usize) -> Vec<Vec<Lane>> {
    let mut lanes: Vec<Vec<Lane>> = (0..workers).map(|_| Vec::new()).collect();
    let mut interfaces: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for network in networks {
        match interface(network) {
            Ok(name) => match interfaces.iter_mut().find(|(other, _)| *other == name) {
                Some((_, addresses)) => addresses.push(network.bind),
                None => interfaces.push((name, vec![network.bind])),
            },
            Err(refused) => {
                tracing::warn!(network = network.name, %refused, "plain sockets in place of AF_XDP");
            }
        }
    }
    for (place, (name, addresses)) in interfaces.into_iter().enumerate() {
        let opened = if place < INTERFACES_MAX {
            open_interface(&name, addresses, workers)
        } else {
            Err(Refused::TooMany)
        };
        match opened {
            Ok(opened) => {
                for (lane, lanes) in opened.into_iter().zip(&mut lanes) {
                    lanes.push(lane);
                }
            }
            Err(refused) => {
                tracing::warn!(interface = name, %refused, "plain sockets in place of AF_XDP");
            }
        }
    }
    lanes
}

fn interface(network: &Network) -> Result<String, Refused> {
    if network.bind.is_unspecified() {
        return Err(Refused::AnyAddress);
    }
    if let Some(name) = &network.interface {
        return Ok(name.clone());
    }
    let found = interface_of(network.bind).ok().flatten();
    // An alias has the name of its interface before a colon.
    let name = found.as_deref().and_then(|name| name.split(':').next());
    name.map(str::to_owned).ok_or(Refused::NoInterface)
}

fn open_interface(name: &str, addresses: Vec<IpAddr>, workers: usize) -> Result<Vec<Lane>, Refused> {
    let interface = Interface::named(name).map_err(|error| Refused::Interface(name.to_owned(), error))?;
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let ports = Map::hash(PORTS_MAX).map_err(Refused::Program)?;
    let sockets = Map::sockets(workers).map_err(Refused::Program)?;
    let program =
        kernel::load(&program::redirect(ports.number(), sockets.number())).map_err(Refused::Program)?;
    let attach = |mode| kernel::attach(program.as_fd(), interface.index, mode).map(|link| (link, mode));
    let (link, mode) = attach(Mode::Native)
        .or_else(|_| attach(Mode::Generic))
        .map_err(|error| Refused::Attach(name.to_owned(), error))?;
    let index = interface.index;
    let open = |queue| {
        let first = kernel::open(index, queue, mode == Mode::Generic);
        // A driver may promise more than it can do.
        let pair = first.or_else(|_| kernel::open(index, queue, true))?;
        sockets.set_socket(queue, pair.1.fd())?;
        Ok(pair)
    };
    let mut pairs = vec![open(0).map_err(|error| Refused::Socket(name.to_owned(), error))?];
    for queue in 1..workers {
        match open(queue) {
            Ok(pair) => pairs.push(pair),
            Err(error) => {
                tracing::warn!(interface = name, queue, %error, "no AF_XDP socket: workers from here on have plain ones alone");
                break;
            }
        }
    }
    tracing::info!(interface = name, ?mode, queues = pairs.len(), "AF_XDP");
    let attached = Arc::new(Attached { interface, addresses, ports, _sockets: sockets, _link: link });
    let lane = |(queue, (inlet, outlet))| Lane { inlet, outlet, attached: Arc::clone(&attached), queue };
    Ok((0..).zip(pairs).map(lane).collect())
}

/// What comes to a worker by frames.
#[derive(Debug)]
pub struct Frames {
    inlet: Inlet,
    attached: Arc<Attached>,
    lane: usize,
    tally: Arc<Tally>,
}

/// What a worker sends by frames. It is found by the thread: legs and their ports know no worker, and nothing of it is
/// ever used by another one.
struct Desk {
    outlets: Vec<(Outlet, Arc<Attached>, u32)>,
    flows: Flows,
    tally: Arc<Tally>,
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

fn at_desk<T>(work: impl FnOnce(&mut Desk) -> T) -> Option<T> {
    DESK.with(|desk| desk.try_borrow_mut().ok()?.as_mut().map(work))
}

/// Settles a worker's lanes on its thread, and returns what they receive.
pub fn settle(lanes: Vec<Lane>, tally: &Arc<Tally>) -> Vec<Frames> {
    if lanes.is_empty() {
        return Vec::new();
    }
    tally.xdp_lanes.store(lanes.len() as u64, Ordering::Relaxed);
    let mut desk = Desk { outlets: Vec::new(), flows: Flows::default(), tally: Arc::clone(tally) };
    let mut frames = Vec::new();
    for (place, Lane { inlet, outlet, attached, queue }) in lanes.into_iter().enumerate() {
        frames.push(Frames { inlet, attached: Arc::clone(&attached), lane: place, tally: Arc::clone(tally) });
        desk.outlets.push((outlet, attached, queue));
    }
    DESK.with(|place| *place.borrow_mut() = Some(desk));
    frames
}

/// A port for RTP is open, and known to the worker by that token.
pub fn opened(local: impl FnOnce() -> io::Result<SocketAddr>, token: u64) {
    let open = |desk: &mut Desk| {
        let Ok(local) = local() else { return };
        let has = |attached: &Attached| attached.addresses.contains(&local.ip());
        let lane = desk.outlets.iter().find(|(_, attached, _)| has(attached));
        let Some((_, attached, queue)) = lane.filter(|_| !is_link_local(local.ip())) else { return };
        match attached.ports.set(&key(local), *queue) {
            Ok(()) => desk.flows.open(local, token),
            Err(error) => tracing::debug!(%local, %error, "no frames for a port"),
        }
    };
    at_desk(open);
}

/// That port is closed.
pub fn closed(local: SocketAddr) {
    at_desk(|desk| {
        if desk.flows.close(local) {
            let has = |attached: &Attached| attached.addresses.contains(&local.ip());
            let here = desk.outlets.iter().filter(|(_, attached, _)| has(attached));
            here.for_each(|(_, attached, _)| attached.ports.unset(&key(local)));
        }
    });
}

/// Sends a datagram as a frame. `false`: the plain socket has to.
pub fn send(local: SocketAddr, remote: SocketAddr, datagram: &[u8], now: Instant) -> bool {
    let send = |desk: &mut Desk| {
        let way = desk.flows.way(local, remote, now)?;
        let (outlet, attached, _) = desk.outlets.get_mut(way.lane)?;
        let mtu = attached.interface.mtu;
        let sent = outlet.send(|frame| way.template.write(datagram, mtu, frame));
        if sent {
            desk.tally.xdp_sent.fetch_add(1, Ordering::Relaxed);
        }
        sent.then_some(())
    };
    at_desk(send).flatten().is_some()
}

/// Sends what waits to be sent together.
pub fn flush() {
    at_desk(|desk| desk.outlets.iter_mut().for_each(|(outlet, ..)| outlet.flush()));
}

impl Frames {
    /// For an epoll set.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inlet.fd()
    }

    /// Gives what has come with the token of its port, and sends on what is to go on. `take` says whether a leg has taken it.
    /// Returns how many frames there were.
    pub fn receive(&mut self, now: Instant, mut take: impl FnMut(u64, Datagram<'_>) -> bool) -> usize {
        let Self { inlet, attached, lane, tally } = self;
        let mac = attached.interface.mac;
        inlet.receive(BATCH, |frame, length| {
            let read = wire::read(&frame[..length]).and_then(|read| {
                let fits = read.target == mac && is_peer(read.from.ip());
                if fits { Ok(read) } else { Err(Unreadable::Kind) }
            });
            let token = |local| at_desk(|desk| desk.flows.token(local)).flatten();
            let known = read.ok().and_then(|read| Some((token(read.to)?, read)));
            let Some((token, read)) = known else {
                tally.discarded.fetch_add(1, Ordering::Relaxed);
                return;
            };
            tally.xdp_received.fetch_add(1, Ordering::Relaxed);
            let from = scoped(read.from, attached.interface.index);
            let mut onward = None;
            let (length, buffer) = (read.payload.len(), &mut frame[read.payload.start..]);
            let datagram = Datagram { buffer, length, from, onward: &mut onward };
            if take(token, datagram) && from == read.from {
                at_desk(|desk| desk.flows.learn(*lane, (mac, read.to), (read.source, from), now));
            }
            if let Some(Onward { pair, to, range }) = onward
                && let Some(packet) = frame[read.payload.start..].get(range)
            {
                // Lost if it cannot be sent, as in the network.
                let _ = pair.send(packet, to, now);
            }
        })
    }
}

/// The key of the map of ports.
fn key(local: SocketAddr) -> [u8; program::KEY] {
    let mut key = [0; program::KEY];
    let address = match local.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    key[..16].copy_from_slice(&address.octets());
    key[16..18].copy_from_slice(&local.port().to_be_bytes());
    key
}

/// Whether a packet off a wire can come from there.
const fn is_peer(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(broadcast || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// As a plain socket tells it: with the interface, where the address needs it.
const fn scoped(from: SocketAddr, interface: u32) -> SocketAddr {
    match from {
        SocketAddr::V6(from) if from.ip().is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(*from.ip(), from.port(), 0, interface))
        }
        from @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(bind: &str, interface: Option<&str>) -> Network {
        let bind = bind.parse().unwrap();
        Network { name: "lan".into(), bind, advertised: bind, interface: interface.map(str::to_owned) }
    }

    #[test]
    fn what_frames_cannot_serve_is_refused_with_its_reason() {
        for (network, reason) in [
            (network("0.0.0.0", None), "its address stands for all of them, and frames need to know theirs"),
            (network("192.0.2.77", None), "no interface has its address"),
        ] {
            assert_eq!(interface(&network).unwrap_err().to_string(), reason);
        }
        let refused = open_interface("lo", Vec::new(), 1).unwrap_err().to_string();
        assert!(
            refused.starts_with("the interface `lo` cannot be used, it must be one of Ethernet"),
            "{refused}"
        );
        assert!(open(&[network("127.0.0.1", None)], 2).iter().all(Vec::is_empty));
    }

    #[test]
    fn a_key_is_laid_out_as_the_program_builds_it() {
        let four = key("192.0.2.1:4000".parse().unwrap());
        assert_eq!(four, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1, 0x0f, 0xa0, 0, 0]);
        let six = key("[2001:db8::1]:4000".parse().unwrap());
        assert_eq!(six[..4], [0x20, 1, 0x0d, 0xb8]);
    }

    #[test]
    fn no_peer_has_an_address_that_is_not_on_a_wire() {
        for (address, peer) in [
            ("192.0.2.1", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2001:db8::1", true),
            ("::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_peer(address.parse().unwrap()), peer, "{address}");
        }
    }

    #[test]
    fn without_a_desk_everything_goes_by_the_plain_socket() {
        let (local, remote) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
        opened(|| Ok(local), 1);
        assert!(!send(local, remote, b"x", Instant::now()));
        flush();
        closed(local);
    }
}
