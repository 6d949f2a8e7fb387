//! Two customers on private circuits, both at 10.0.0.5, and one edge that is 10.0.0.1 to both: network namespaces of
//! Linux, joined by pairs of virtual interfaces. Whatever a thread opens or starts is in the namespace that it has entered.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    panic,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    audio::{likeness, share, tone},
    harness::{Setup, System, get, wait_until, with_prepared},
    phone::Phone,
    rtp::{Packet, Rtp},
    sipp::{Run, Sipp, scenario},
    streams::{Datagrams, Stream, Wire, tcp},
};

const EDGE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CUSTOMER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// Where each customer's PBX listens.
pub const PBX: u16 = 5_070;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespaces of a test.
#[derive(Debug)]
pub struct Namespaces(String);

impl Namespaces {
    pub fn new() -> Self {
        let namespaces = Self(format!("swb{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        for name in ["edge", "one", "two"] {
            let name = namespaces.name(name);
            ip(&["netns", "add", &name]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
        }
        let edge = namespaces.name("edge");
        for name in ["one", "two"] {
            let customer = namespaces.name(name);
            ip(&[
                "-n", &edge, "link", "add", name, "type", "veth", "peer", "name", "wan", "netns", &customer,
            ]);
            for (place, link, address) in [(&edge, name, EDGE), (&customer, "wan", CUSTOMER)] {
                ip(&["-n", place, "address", "add", &format!("{address}/24"), "dev", link]);
                ip(&["-n", place, "link", "set", link, "up"]);
            }
        }
        // What comes by the second circuit from 10.0.0.5 is no forgery, although the way back leads by the first.
        namespaces.inside("edge", || {
            for link in ["all", "one", "two"] {
                fs::write(format!("/proc/sys/net/ipv4/conf/{link}/rp_filter"), "0").unwrap();
            }
        });
        namespaces
    }

    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }

    /// Runs something on a thread of that namespace.
    pub fn inside<T: Send>(&self, name: &str, run: impl FnOnce() -> T + Send) -> T {
        let place = format!("/run/netns/{}", self.name(name));
        let entered = || {
            let place = File::open(place).unwrap();
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            run()
        };
        thread::scope(|scope| scope.spawn(entered).join())
            .unwrap_or_else(|reason| panic::resume_unwind(reason))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in ["edge", "one", "two"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.name(name)]).status();
        }
    }
}

pub fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("ip: {error}; `tests/run` installs iproute2"));
    assert!(
        output.status.success(),
        "ip {}: {} (it needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN)",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A tenant with a PBX on a network of its own, and two numbers: one that greets, and one that rings the PBX.
pub struct Customer {
    name: &'static str,
    prompt: &'static str,
    greets: &'static str,
    pub rings: &'static str,
    says: f64,
}

pub const CUSTOMERS: [Customer; 2] = [
    Customer { name: "one", prompt: "one", greets: "+13125550130", rings: "+13125550131", says: 440.0 },
    Customer { name: "two", prompt: "two", greets: "+13125550140", rings: "+13125550141", says: 1_250.0 },
];

pub fn write_manifests(system: &System, transport: &str) {
    for name in ["tenant.yaml", "numbers.yaml", "flows.yaml", "prompts.yaml"] {
        fs::remove_file(system.manifest(name)).unwrap();
    }
    let port = system.sip.port();
    let listeners = ["one", "two"].map(|name| {
        format!(
            "  - {{name: {name}-udp, transport: UDP, port: {port}, network: {name}}}\n  - {{name: {name}-tcp, transport: TCP, port: {port}, network: {name}}}\n"
        )
    });
    let mut text = format!(
        "apiVersion: switchboard.dev/v1alpha1
kind: VoiceCluster
metadata: {{name: c14, namespace: platform}}
spec:
  code: C14
  allowedNamespaces: [one, two]
  networks:
  - {{name: one, bindAddress: {EDGE}, interface: one, allowedNamespaces: [one]}}
  - {{name: two, bindAddress: {EDGE}, interface: two, allowedNamespaces: [two]}}
  listeners:
{}  media:
    ports: {{first: {}, last: {}}}
  drainSeconds: 1
",
        listeners.concat(),
        system.block + 100,
        system.block + 199
    );
    for Customer { name, prompt, greets, rings, .. } in CUSTOMERS {
        let words = [
            ("$NAME", name),
            ("$PROMPT", prompt),
            ("$GREETS", greets),
            ("$RINGS", rings),
            ("$TRANSPORT", transport),
        ];
        let part = include_str!("manifests/networks.yaml");
        text += &words.iter().fold(part.to_owned(), |text, (word, value)| text.replace(word, value));
    }
    fs::write(system.manifest("platform.yaml"), text).unwrap();
}

pub fn phone(system: &System, transport: &str, number: &str) -> Phone {
    let (from, server) = (IpAddr::from(CUSTOMER), SocketAddr::from((EDGE, system.sip.port())));
    let wire: Box<dyn Wire> = match transport {
        "TCP" => Box::new(Stream::new("TCP", tcp(from, server))),
        _ => Box::new(Datagrams::new(from, server)),
    };
    Phone::by(system, wire, number)
}

/// The customer calls, and hears its own prompt and not the other's.
fn is_greeted(system: &System, transport: &str, customer: &Customer, other: &Customer) {
    let rtp = Rtp::bind((CUSTOMER, system.peer_port()).into());
    let carrier = if transport == "TCP" { "t1" } else { "u1" };
    let run = Run {
        scenario: scenario!("answered"),
        number: customer.greets,
        rtp: Some(rtp.local),
        address: "10.0.0.5",
        server: Some((EDGE, system.sip.port()).into()),
        more: &["-m", "1", "-l", "1", "-t", carrier],
        ..Run::default()
    };
    Sipp::start(system, &run).wait();
    let heard = rtp.samples();
    let own = likeness(&system.prompt(customer.prompt), &heard);
    let others = likeness(&system.prompt(other.prompt), &heard);
    assert!(own > 0.97 && others < 0.8, "{}: own {own:.3}, the other's {others:.3}", customer.name);
}

/// The customer's PBX is rung, and says again what the caller says: it is heard by him and nobody else.
fn is_rung(system: &System, transport: &str, customer: &Customer, other: &Customer) {
    let carrier = if transport == "TCP" { "t1" } else { "u1" };
    let run = Run {
        scenario: scenario!("echoes"),
        port: Some(PBX),
        address: "10.0.0.5",
        more: &["-m", "1", "-l", "1", "-t", carrier, "-rtp_echo"],
        ..Run::default()
    };
    let pbx = Sipp::start(system, &run);
    let mut caller = phone(system, transport, customer.rings);
    let to = caller.call("0").audio();
    let speech = tone(customer.says, 4.0);
    for (place, frame) in speech.chunks_exact(160).enumerate() {
        let sequence = u16::try_from(place).unwrap();
        let packet = Packet {
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc: 7,
            payload: frame.iter().map(|sample| ulaw(*sample)).collect(),
        };
        caller.rtp.send(to, place == 0, &packet);
        thread::sleep(Duration::from_millis(20));
    }
    caller.hang_up();
    pbx.wait();
    let heard = caller.rtp.samples();
    let (own, others) = (share(&heard, customer.says), share(&heard, other.says));
    assert!(own > 0.6 && others < 0.1, "{}: own {own:.3}, the other's {others:.3}", customer.name);
}

/// ITU-T G.711.
fn ulaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, -i32::from(sample)) } else { (0, i32::from(sample)) };
    let magnitude = magnitude.min(32_635) + 0x84;
    let exponent = (magnitude >> 7).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (u8::try_from(exponent).unwrap() << 4) | u8::try_from(mantissa).unwrap())
}

fn customers_of_one_address_never_meet(transport: &str) {
    let namespaces = Namespaces::new();
    let each = |run: &(dyn Fn(&Customer, &Customer) + Sync)| {
        thread::scope(|scope| {
            let [one, two] = &CUSTOMERS;
            for (customer, other) in [(one, two), (two, one)] {
                let namespaces = &namespaces;
                scope.spawn(move || namespaces.inside(customer.name, || run(customer, other)));
            }
        });
    };
    namespaces.inside("edge", || {
        let prepare = |system: &System| write_manifests(system, transport);
        with_prepared(&Setup::default(), prepare, |system| {
            each(&|customer, other| is_greeted(system, transport, customer, other));
            each(&|customer, other| is_rung(system, transport, customer, other));
            // The other's number is none of ours.
            each(&|customer, other| {
                let mut caller = phone(system, transport, other.greets);
                let answer = caller.invite(&caller.offer("0"));
                assert_eq!(answer.code(), 404, "{} calls {}", customer.name, other.greets);
                let explanation = namespaces.inside("edge", || {
                    get(system.http, &format!("/api/v1/explanations/{}", caller.call_id)).unwrap()
                });
                let wanted =
                    format!("its trunk is {}/pbx, the call came by {}/pbx", other.name, customer.name);
                assert!(explanation.contains(&wanted), "{explanation}");
            });
            wait_until("all calls are over", || system.records().len() == 4);
            for record in system.records() {
                let (trunk, number) = (record["trunk"].to_string(), record["number"].to_string());
                let of = |name: &str| trunk.contains(name) && number.contains(name);
                assert!(of("one") || of("two"), "{record}");
            }
        });
    });
}

#[test]
fn two_customers_at_the_same_private_address_call_and_are_called_over_udp() {
    customers_of_one_address_never_meet("UDP");
}

#[test]
fn two_customers_at_the_same_private_address_call_and_are_called_over_tcp() {
    customers_of_one_address_never_meet("TCP");
}
