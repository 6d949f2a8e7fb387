//! Floods of 100,000 packets a second, in network namespaces that the test makes: calls pass, and memory comes back.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    afterwards::{Ordinary, afterwards, warmed_up_by},
    harness::{Process, Setup, System, wait_until, with_prepared},
    registrar, works,
};

/// What is sent a second, and for how many seconds.
const PER_SECOND: usize = 100_000;
const SECONDS: usize = 3;

/// Both ends of the wire: the edge, a carrier that is listed, and whom nobody knows.
const EDGE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CARRIER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
const NUMBER: &str = "+18005550115";

/// Octets that a flood may add to the log.
const LOG_MAX: usize = 2 << 20;

/// What the sender is told, as `TARGET SOURCES KIND`.
const ORDER: &str = "SWITCHBOARD_TEST_FLOOD";

/// Whose packets a flood is of, where they go, and what they say.
struct Flood {
    what: &'static str,
    sources: &'static str,
    kind: &'static str,
    to_agents: bool,
}

const FLOODS: [Flood; 6] = [
    Flood { what: "junk of one stranger, trunks' listener", sources: "one", kind: "junk", to_agents: false },
    Flood {
        what: "junk of 10,000 strangers, trunks' listener",
        sources: "many",
        kind: "junk",
        to_agents: false,
    },
    Flood {
        what: "junk in the carrier's name, trunks' listener",
        sources: "carrier",
        kind: "junk",
        to_agents: false,
    },
    Flood { what: "junk of one source, agents' listener", sources: "one", kind: "junk", to_agents: true },
    Flood {
        what: "REGISTERs and INVITEs of one source, agents' listener",
        sources: "one",
        kind: "sip",
        to_agents: true,
    },
    Flood {
        what: "REGISTERs and INVITEs of 10,000 sources, agents' listener",
        sources: "many",
        kind: "sip",
        to_agents: true,
    },
];

#[test]
fn a_hundred_thousand_packets_a_second_stop_no_call() {
    // This very program again, in a network namespace of its own.
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("--net").arg(this).args([
        "flood::within_its_namespace",
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    let output = command.env(ORDER, "namespace").stdin(Stdio::null()).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "(this test needs root, for namespaces)\n{said}\n{told}");
    let rows: Vec<_> = told.lines().filter(|line| line.starts_with("flood: ")).collect();
    assert_eq!(rows.len(), FLOODS.len(), "{told}");
    let mut table = "| flood | resident before | after |\n| --- | --- | --- |\n".to_owned();
    for row in rows {
        let cells: Vec<_> = row["flood: ".len()..].split('|').collect();
        let mib = |kb: &str| (kb.parse::<u64>().unwrap() + 512) / 1_024;
        writeln!(table, "| {} | {} MiB | {} MiB |", cells[0], mib(cells[3]), mib(cells[4])).unwrap();
    }
    eprintln!("{table}");
    // How much is resident differs from build to build; that it comes back was asserted.
    works::compare("floods", &table);
}

#[test]
#[ignore = "the test above runs it, in a namespace"]
fn within_its_namespace() {
    assert!(std::env::var(ORDER).is_ok_and(|order| order == "namespace"), "it is for another test to run");
    let wire = Wire::new();
    with_prepared(&Setup::default(), prepare, |system| {
        let before = warmed_up_by(system, 1_100);
        for flood in &FLOODS {
            endure(system, &wire, flood, before);
        }
        assert_eq!(system.get("/api/v1/bans").trim(), "[]", "who floods by datagrams may be anybody");
    });
}

fn endure(system: &System, wire: &Wire, flood: &Flood, before_kb: u64) {
    let place = u16::from(flood.to_agents);
    let target = SocketAddrV4::new(EDGE, system.own_port(2 + place));
    let (log, cpu) = (system.log().len(), system.cpu_ticks());
    let heard = system.metric("switchboard_sip_received_total");
    let by = wire.by();
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    let carrier = CARRIER.to_string();
    let to = SocketAddr::from((EDGE, system.own_port(2)));
    let calls = Ordinary { by: &by, from: &carrier, to, number: NUMBER, count: 20, per_second: 8 };
    let sender = wire.send(target, flood);
    let meanwhile = calls.start(system);
    sender.wait();
    let sent = |said: &str| said.split_once("sent ")?.1.split(' ').next()?.parse::<usize>().ok();
    wait_until("the sender says what it has sent", || sent(&sender.output()).is_some());
    let sent = sent(&sender.output()).unwrap();
    let (cpu, heard) = (system.cpu_ticks() - cpu, system.metric("switchboard_sip_received_total") - heard);
    meanwhile.wait_for_all();
    Ordinary { count: 100, per_second: 100, ..calls }.start(system).wait_for_all();
    let after_kb = afterwards(system, flood.what, before_kb);
    let more = system.log().len() - log;
    assert!(more < LOG_MAX, "{}: the log has grown by {more} octets", flood.what);
    assert!(sent >= PER_SECOND * SECONDS / 2, "{}: only {sent} packets were sent", flood.what);
    let each = cpu * 10_000 / heard.max(1);
    eprintln!("flood: {}|{sent}|{heard}|{before_kb}|{after_kb}", flood.what);
    eprintln!("{}: some {each} µs of processor time a packet, {more} octets of log", flood.what);
}

/// A network for the attacked, beside the usual ones.
fn prepare(system: &System) {
    registrar::prepare(system);
    system.edit(
        "platform.yaml",
        "  - {name: loopback, bindAddress: 127.0.0.1}\n",
        "  - {name: loopback, bindAddress: 127.0.0.1}\n  - {name: wire, bindAddress: 10.77.0.1}\n",
    );
    let rows = format!(
        "  - {{name: wire, transport: UDP, port: {}, network: wire}}\n\
         \x20 - {{name: wire-phones, transport: UDP, port: {}, network: wire, serves: Agents}}\n",
        system.own_port(2),
        system.own_port(3)
    );
    system.edit("platform.yaml", "  media:\n", &(rows + "  media:\n"));
    fs::write(system.manifest("wire.yaml"), include_str!("manifests/wire.yaml")).unwrap();
}

/// A namespace at the other end of a pair of interfaces; gone when dropped.
struct Wire(String);

impl Wire {
    fn new() -> Self {
        let wire = Self(format!("switchboard-{}", std::process::id()));
        let name = wire.0.clone();
        ip("link set lo up");
        ip(&format!("netns add {name}"));
        ip(&format!("link add edge type veth peer name attack netns {name}"));
        ip(&format!("addr add {EDGE}/16 dev edge"));
        ip("link set edge up");
        for address in [CARRIER, STRANGER] {
            ip(&format!("-n {name} addr add {address}/16 dev attack"));
        }
        ip(&format!("-n {name} link set attack up"));
        ip(&format!("-n {name} link set lo up"));
        // What is answered to those who are not there goes back to whoever speaks for them.
        ip(&format!("route add default via {CARRIER}"));
        // The interface is up a moment after it was told to be.
        thread::sleep(Duration::from_millis(500));
        wire
    }

    /// What runs a program there.
    fn by(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.0].map(str::to_owned).to_vec()
    }

    fn send(&self, target: SocketAddrV4, flood: &Flood) -> Process {
        let by = self.by();
        let mut command = Command::new(&by[0]);
        command.args(&by[1..]).arg(std::env::current_exe().unwrap());
        command.args(["flood::send", "--exact", "--ignored", "--nocapture"]);
        command.env(ORDER, format!("{target} {} {}", flood.sources, flood.kind));
        Process::start("the flood", command)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The attacker: packets with any source, as many a millisecond as make up the rate.
#[test]
#[ignore = "another test runs it, in a namespace"]
fn send() {
    let order = std::env::var(ORDER).unwrap();
    let [target, sources, kind] = order.split(' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let target: SocketAddrV4 = target.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc_raw()))).unwrap();
    socket.set_header_included_v4(true).unwrap();
    let address = target.into();
    let began = Instant::now();
    let (mut sent, mut tried) = (0, 0_usize);
    let mut packet = Vec::new();
    for millisecond in 0..SECONDS * 1_000 {
        for _ in 0..PER_SECOND / 1_000 {
            tried += 1;
            let source = match sources {
                "one" => STRANGER,
                "carrier" => CARRIER,
                _ => Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + (tried % 10_000) as u32),
            };
            let from = SocketAddrV4::new(source, 1_024 + (tried % 50_000) as u16);
            write_packet(&mut packet, from, target, &payload(kind, tried, from));
            sent += usize::from(socket.send_to(&packet, &address).is_ok());
        }
        let due = began + Duration::from_millis(millisecond as u64 + 1);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        } else if began.elapsed() > Duration::from_secs(2 * SECONDS as u64) {
            break;
        }
    }
    writeln!(std::io::stdout(), "sent {sent} packets in {:?}", began.elapsed()).unwrap();
}

/// `IPPROTO_RAW`: headers are ours.
const fn libc_raw() -> i32 {
    255
}

fn payload(kind: &str, number: usize, from: SocketAddrV4) -> Vec<u8> {
    let text = match (kind, number % 4) {
        // What scanners send, what is cut off, and noise.
        ("junk", 0) => format!(
            "OPTIONS sip:100@{EDGE} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{number}\r\nUser-Agent: friendly-scanner\r\n\r\n"
        ),
        ("junk", 1) => format!("INVITE sip:{number}@{EDGE} SIP/2.0\r\nVia: SIP/2"),
        ("junk", _) => {
            let noise = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            return noise.iter().copied().cycle().take(40 + number % 400).collect();
        }
        (_, place) => {
            let method = if place == 0 { "INVITE" } else { "REGISTER" };
            format!(
                "{method} sip:c14.example SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKf{number}\r\nMax-Forwards: 70\r\n\
                 From: <sip:ada-desk@c14.example>;tag=f{number}\r\nTo: <sip:ada-desk@c14.example>\r\nCall-ID: f{number}\r\n\
                 CSeq: 1 {method}\r\nContact: <sip:ada-desk@{from}>\r\nContent-Length: 0\r\n\r\n"
            )
        }
    };
    text.into_bytes()
}

/// A datagram with its headers of IP and UDP. The kernel fills in what is zero of the first; the second may have no sum.
fn write_packet(packet: &mut Vec<u8>, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    packet.clear();
    packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend((payload.len() as u16 + 8).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
}
