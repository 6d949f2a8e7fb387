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

use std::{
    env, fs,
    fs::File,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use link::MediaOrders;
use media::{Config, Network, Packets, Server, Services};
use model::{
    LegId, SessionId,
    media::{Codec, Direction, Event, MediaOrder, MediaParameters, Order},
};
use rtp::packet::Header;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const FRAME: Duration = Duration::from_millis(20);

/// What was seen of one load.
#[derive(Debug, Clone, Copy)]
struct Seen {
    cost: f64,
    p99_us: f64,
}

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

fn figure(name: &str, unit: &str, ours: &[Seen], theirs: &[Seen], of: fn(&Seen) -> f64) {
    let median = |seen: &[Seen]| {
        let mut all: Vec<f64> = seen.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (ours, theirs) = (median(ours), median(theirs));
    println!("{name} {ours:.2} {unit} sockets {theirs:.2} {:.2}", ours / theirs);
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

fn parameters(remote: SocketAddr) -> MediaParameters {
    let payload_type = Codec::Pcmu.payload_type();
    MediaParameters {
        codec: Codec::Pcmu,
        send_payload_type: payload_type,
        receive_payload_type: payload_type,
        send_telephone_event: Some(101),
        receive_telephone_event: Some(101),
        remote_rtp: remote,
        remote_rtcp: SocketAddr::new(remote.ip(), 9),
        ptime_ms: 20,
        direction: Direction::SendRecv,
        comfort_noise: None,
        rtcp_mux: false,
        peer_first: false,
        srtp: None,
        opus: None,
    }
}

/// Processor time of the worker's thread, in µs. Of servers before, it has ended.
fn processor_time() -> f64 {
    let of = |folder: std::path::PathBuf| {
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let time =
            fs::read_to_string(folder.join("schedstat")).ok().filter(|_| name.starts_with("media-0"))?;
        time.split_whitespace().next()?.parse::<f64>().ok()
    };
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads.filter_map(|thread| of(thread.ok()?.path())).sum::<f64>() / 1_000.0
}

/// Both sides' telephones.
struct Load {
    sockets: [Arc<UdpSocket>; 2],
    heard: Arc<AtomicU64>,
    /// Delays, by eighths of a power of two of microseconds.
    delays: Arc<Vec<AtomicU64>>,
    over: Arc<AtomicBool>,
    begun: Instant,
}

impl Load {
    fn new(sockets: [Arc<UdpSocket>; 2]) -> Self {
        let delays = Arc::new((0..512).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let load =
            Self { sockets, heard: Arc::default(), delays, over: Arc::default(), begun: Instant::now() };
        for socket in &load.sockets {
            let (socket, heard, delays) =
                (Arc::clone(socket), Arc::clone(&load.heard), Arc::clone(&load.delays));
            let (over, begun) = (Arc::clone(&load.over), load.begun);
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 2_000];
                while !over.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut buffer) else { continue };
                    heard.fetch_add(1, Ordering::Relaxed);
                    if let Some(stamp) = buffer[..length].get(12..20) {
                        let sent = u64::from_be_bytes(stamp.try_into().unwrap());
                        let late = (begun.elapsed().as_nanos() as u64).saturating_sub(sent) / 1_000;
                        let bucket = ((late.max(1) as f64).log2() * 8.0) as usize;
                        delays[bucket.min(511)].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        load
    }

    /// Speaks for so long, each call in its millisecond of a frame, and returns how many packets were sent.
    fn run(&self, to: &[Vec<SocketAddr>; 2], seconds: u64) -> u64 {
        self.heard.store(0, Ordering::Relaxed);
        self.delays.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        let run = self.begun.elapsed().as_millis() as u32;
        let (start, mut sent) = (Instant::now(), 0);
        for frame in 0..seconds * 50 {
            for slot in 0..20u32 {
                let at = start + FRAME * frame as u32 + Duration::from_millis(slot.into());
                thread::sleep(at.saturating_duration_since(Instant::now()));
                for place in (slot as usize..to[0].len()).step_by(20) {
                    for side in [0, 1] {
                        let header = Header {
                            marker: false,
                            payload_type: 0,
                            sequence: frame as u16,
                            timestamp: frame as u32 * 160,
                            ssrc: (place * 2 + side) as u32 ^ run << 16,
                        };
                        let mut packet = [0x55; 172];
                        packet[..12].copy_from_slice(&header.to_bytes());
                        let stamp = self.begun.elapsed().as_nanos() as u64;
                        packet[12..20].copy_from_slice(&stamp.to_be_bytes());
                        sent += u64::from(self.sockets[side].send_to(&packet, to[side][place]).is_ok());
                    }
                }
            }
        }
        thread::sleep(Duration::from_millis(300));
        sent
    }

    fn p99_us(&self) -> f64 {
        let counts: Vec<u64> = self.delays.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let mut left = counts.iter().sum::<u64>() / 100;
        for (place, count) in counts.iter().enumerate().rev() {
            if *count > left {
                return 2f64.powf(place as f64 / 8.0);
            }
            left -= count;
        }
        0.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(150));
    }
}
