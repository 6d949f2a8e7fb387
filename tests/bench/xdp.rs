//! What a relayed packet costs a media worker by AF_XDP, beside plain sockets on the same pair of virtual interfaces: the
//! server in one network namespace, the telephones in another. Root, and iproute2.
//!
//! One line per figure: `media.figure OURS UNIT sockets THEIRS RATIO`, medians of `ROUNDS` (3) rounds of both in turn. Processor
//! time is the worker's thread's, system calls included; what the interfaces do on receipt lands on whoever sends, in both.
//! Environment: `RELAYED` calls (500), `SECONDS_OF_LOAD` (8).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "it prints figures, and ends at what it did not expect"
)]

#[path = "../../src/media/tests/media/namespace.rs"]
mod namespace;
mod telephones;

use std::{
    env,
    fs::File,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    process::Command,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use link::MediaOrders;
use media::{Config, Network, Packets, Server, Services};
use model::{
    LegId, SessionId,
    media::{Event, MediaOrder, Order},
};
use telephones::{Load, Seen, figure, parameters, processor_time};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

fn main() {
    let number = |name: &str, default: usize| env::var(name).map_or(default, |value| value.parse().unwrap());
    let (calls, rounds) = (number("RELAYED", 500), number("ROUNDS", 3));
    let seconds = number("SECONDS_OF_LOAD", 8) as u64;
    let there = cable();
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (place, packets) in [Packets::Sockets, Packets::Xdp].into_iter().enumerate() {
            seen[place].push(measure(packets, calls, seconds, &there));
        }
    }
    let [sockets, xdp] = seen;
    figure("media.cpu_per_packet_relay_xdp", "CPU-µs", &xdp, &sockets, |seen| seen.cost);
    figure("media.p99_relay_xdp", "µs", &xdp, &sockets, |seen| seen.p99_us);
}

/// Two interfaces, one here and one in the namespace that is returned.
fn cable() -> File {
    namespace::leave().expect("root, for network namespaces");
    let there = namespace::current();
    namespace::leave().unwrap();
    let here = namespace::current();
    let path = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
    ip(&["link", "add", "x0", "type", "veth", "peer", "name", "x1", "netns", &path]);
    up("x0", OURS);
    namespace::enter(&there).unwrap();
    up("x1", THEIRS);
    namespace::enter(&here).unwrap();
    there
}

fn up(interface: &str, address: Ipv4Addr) {
    ip(&["addr", "add", &format!("{address}/24"), "dev", interface]);
    ip(&["link", "set", "lo", "up"]);
    ip(&["link", "set", interface, "up"]);
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

fn measure(packets: Packets, calls: usize, seconds: u64, there: &File) -> Seen {
    let config = Config {
        networks: vec![Network {
            name: "lan".into(),
            bind: OURS.into(),
            advertised: OURS.into(),
            interface: None,
        }],
        ports: 10_000..=31_000,
        workers: Some(1),
        recordings: None,
        sessions_max: calls + 1,
        silent_after: Duration::from_secs(60),
        services: Services { packets, ..Services::default() },
    };
    let (sender, events) = link::event_queue(100_000);
    let server = Server::start(config, sender).unwrap();
    let here = namespace::current();
    namespace::enter(there).unwrap();
    let telephones = [0, 1].map(|_| Arc::new(UdpSocket::bind((THEIRS, 0)).unwrap()));
    namespace::enter(&here).unwrap();
    let order = |session: usize, order: Order| {
        let order = MediaOrder { session: SessionId(session as u64), order };
        while server.send(order.clone()).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut to = [Vec::new(), Vec::new()];
    for session in 0..calls {
        for (leg, telephone) in telephones.iter().enumerate() {
            let id = LegId(leg as u64);
            order(session, Order::Allocate { leg: id, network: "lan".into(), shared: false, remote: None });
            let port = loop {
                match events.recv_timeout(Duration::from_secs(10)).unwrap().event {
                    Event::Allocated { rtp_port, .. } => break rtp_port,
                    Event::Refused { reason, .. } => panic!("{reason:?}"),
                    _ => {}
                }
            };
            let parameters = parameters(telephone.local_addr().unwrap());
            order(session, Order::Configure { leg: id, parameters });
            to[leg].push(SocketAddr::from((OURS, port)));
        }
        order(session, Order::Bridge { a: LegId(0), b: LegId(1) });
    }
    let load = Load::new(telephones);
    load.run(&to, 1);
    let taken = || server.counters().packets_received;
    let (cpu, before) = (processor_time(), taken());
    let sent = load.run(&to, seconds);
    let cost = (processor_time() - cpu) / (taken() - before) as f64;
    let heard = load.heard.load(Ordering::Relaxed);
    let worker = server.handle().workers().remove(0);
    eprintln!("   {packets:?}: {sent} sent, {heard} heard, {cost:.2} µs, {worker:?}");
    assert!(heard > sent / 2, "nothing came through");
    assert_eq!(packets == Packets::Xdp, worker.packets_sent_xdp > sent / 2, "it went another way");
    Seen { cost, p99_us: load.p99_us() }
}
