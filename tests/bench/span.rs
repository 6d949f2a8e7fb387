//! What a packet costs that crosses from one media server to another, where the kernel segments and coalesces (UDP_SEGMENT,
//! UDP_GRO), beside the same by plain `sendmmsg` and `recvmmsg`: two servers of one worker each, on loopback, with telephones at
//! one of them and contacts at the other.
//!
//! One line per figure: `media.figure OURS UNIT sockets THEIRS RATIO`, medians of `ROUNDS` (3) rounds of both in turn. Processor
//! time is that of both workers' threads, system calls included, for one packet all its way: from a telephone's port, sealed
//! into a span, opened out of it, to a contact's port, or the reverse. Environment: `SECONDS_OF_LOAD` (8), and `RELAYED`: that
//! many calls and no other loads.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "it prints figures, and ends at what it did not expect"
)]

mod telephones;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    thread,
    time::Duration,
};

use link::MediaOrders;
use media::{Config, Network, Server, Services, Spans};
use model::{
    LegId, SessionId,
    media::{CryptoSuite, Event, MasterKey, MediaEvent, MediaOrder, Order, SpanId, Srtp, SrtpKeys},
};
use telephones::{Load, Seen, figure, parameters, processor_time};

const CALLS: [usize; 2] = [50, 500];
const TELEPHONE: LegId = LegId(0);
const SPAN: LegId = LegId(1);

fn main() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<usize>().unwrap());
    let (rounds, seconds) = (number("ROUNDS").unwrap_or(3), number("SECONDS_OF_LOAD").unwrap_or(8) as u64);
    let loads = number("RELAYED").map_or(CALLS.to_vec(), |calls| vec![calls]);
    for calls in loads {
        let mut seen = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (place, segments) in [true, false].into_iter().enumerate() {
                seen[place].push(measure(segments, calls, seconds));
            }
        }
        let [segments, sockets] = seen;
        let name = |of: &str| format!("media.{of}_span_{calls}");
        figure(&name("cpu_per_packet"), "CPU-µs", &segments, &sockets, |seen| seen.cost);
        figure(&name("p99"), "µs", &segments, &sockets, |seen| seen.p99_us);
    }
}

/// A server, and what it tells.
struct Pod {
    server: Server,
    events: Receiver<MediaEvent>,
}

impl Pod {
    fn new(segments: bool, calls: usize, first: u16) -> Self {
        let localhost = Ipv4Addr::LOCALHOST.into();
        let config = Config {
            networks: vec![Network {
                name: "lan".into(),
                bind: localhost,
                advertised: localhost,
                interface: None,
            }],
            ports: first..=first + 4_999,
            workers: Some(1),
            recordings: None,
            sessions_max: calls,
            silent_after: Duration::from_secs(60),
            services: Services {
                spans: Some(Spans { network: "lan".into(), segments }),
                ..Services::default()
            },
        };
        let (sender, events) = link::event_queue(100_000);
        Self { server: Server::start(config, sender).unwrap(), events }
    }

    fn order(&self, session: usize, order: Order) {
        let order = MediaOrder { session: SessionId(session as u64), order };
        while self.server.send(order.clone()).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn allocated(&self) -> SocketAddr {
        loop {
            match self.events.recv_timeout(Duration::from_secs(10)).unwrap().event {
                Event::Allocated { address, rtp_port, .. } => return SocketAddr::new(address, rtp_port),
                Event::Refused { reason, .. } => panic!("{reason:?}"),
                _ => {}
            }
        }
    }

    /// A session with a telephone and one end of a span. Gives where both are reached.
    fn call(&self, session: usize, telephone: SocketAddr) -> [SocketAddr; 2] {
        let allocate = Order::Allocate { leg: TELEPHONE, network: "lan".into(), shared: false, remote: None };
        self.order(session, allocate);
        let port = self.allocated();
        self.order(session, Order::Configure { leg: TELEPHONE, parameters: parameters(telephone) });
        self.order(session, Order::Extend { leg: SPAN, span: SpanId(session as u64) });
        [port, self.allocated()]
    }

    fn join(&self, session: usize, other: SocketAddr, keys: SrtpKeys) {
        let mut parameters = parameters(other);
        parameters.srtp = Some(Box::new(Srtp::Sdes(keys)));
        self.order(session, Order::Configure { leg: SPAN, parameters });
        self.order(session, Order::Bridge { a: TELEPHONE, b: SPAN });
    }
}

fn measure(segments: bool, calls: usize, seconds: u64) -> Seen {
    let pods = [10_000, 20_000].map(|first| Pod::new(segments, calls, first));
    let telephones = [0, 1].map(|_| Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()));
    let key = |session: usize, side: u8| {
        let octets = [&(session as u64).to_be_bytes()[..], &[side; 20]].concat();
        MasterKey::new(CryptoSuite::AeadAes128Gcm, octets)
    };
    let mut to = [Vec::new(), Vec::new()];
    for session in 0..calls {
        let ends = [0, 1].map(|side| pods[side].call(session, telephones[side].local_addr().unwrap()));
        for side in [0, 1] {
            to[side].push(ends[side][0]);
            let keys = SrtpKeys { send: key(session, side as u8), receive: key(session, 1 - side as u8) };
            pods[side].join(session, ends[1 - side][1], keys);
        }
    }
    let load = Load::new(telephones);
    load.run(&to, 1);
    // Each is taken twice: from a telephone, and from the other server.
    let taken = || pods.iter().map(|pod| pod.server.counters().packets_received).sum::<u64>();
    let (cpu, before) = (processor_time(), taken());
    let sent = load.run(&to, seconds);
    let cost = (processor_time() - cpu) / ((taken() - before) as f64 / 2.0);
    let heard = load.heard.load(Ordering::Relaxed);
    let crossed = pods.iter().map(|pod| pod.server.handle().workers().remove(0));
    let (packets, messages) = crossed.fold((0, 0), |(packets, messages), worker| {
        (packets + worker.packets_sent_span, messages + worker.messages_sent_span)
    });
    let a_message = packets as f64 / messages as f64;
    eprintln!(
        "   segments {segments}, {calls} calls: {sent} sent, {heard} heard, {cost:.2} µs, {a_message:.1} packets a message"
    );
    assert!(heard > sent / 10, "nothing came through");
    Seen { cost, p99_us: load.p99_us() }
}
