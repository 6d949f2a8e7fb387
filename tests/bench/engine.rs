//! What calls cost the engine alone: no socket, no thread, no system call. The flow, both legs, admission, explanation and
//! record are those of a running edge; a twin of the media server answers at once.
//!
//! One line per figure goes to standard output: `engine.figure OURS UNIT - - -`. Each part runs in a process of its own, so
//! that its memory is its own; with a part's name, that part alone. Times are the process's processor time, without what the
//! peers of the test take.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "it prints figures, and ends at what it did not expect"
)]

#[path = "heap.rs"]
mod heap;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use call::{
    Now,
    engine::{Config, Engine, Input, Output},
};
use jiff::{SignedDuration, Timestamp};
use model::{
    Key,
    media::{Event, MediaEvent, Order},
    net::{Flow, ListenerIx, Transport},
};
use plan::{Foreign, Planner};
use serde_json::json;
use sip::{
    digest::{self, Credentials},
    wire::Message,
};

const CALLS: usize = 50_000;
/// Calls that are up at a time while their cost is measured.
const UP: usize = 100;
const HELD: [usize; 2] = [10_000, 50_000];
const REGISTERED: usize = 100_000;
const STRANGERS: usize = 1_000_000;
const CALLER: &str = "127.0.0.2:5061";
const CALLEE: &str = "127.0.0.3:5070";
const STRANGER: &str = "198.51.100.66:5060";

fn main() {
    // `cargo bench` adds arguments of its own.
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match part.as_deref() {
        Some("call") => call(),
        Some("registration") => registration(),
        Some("stranger") => stranger(),
        Some(held) => hold(held.parse().expect("call, registration, stranger, or how many calls to hold")),
        None => {
            let held = HELD.map(|count| count.to_string());
            for part in ["call", "stranger", &held[0], &held[1], "registration"] {
                let status = Command::new(std::env::current_exe().unwrap()).arg(part).status().unwrap();
                assert!(status.success(), "{part}");
            }
        }
    }
}

/// A call from INVITE to the 200 of its BYE.
fn call() {
    let mut world = Twin::new();
    let mut up = VecDeque::new();
    let mut course = |world: &mut Twin, count: usize| {
        for _ in 0..count {
            up.push_back(world.call());
            if up.len() > UP {
                world.hang_up(&up.pop_front().unwrap());
            }
            world.pass(Duration::from_millis(2));
        }
    };
    course(&mut world, CALLS / 5);
    world.spent = Duration::ZERO;
    let (begun, used) = (Instant::now(), processor_time());
    course(&mut world, CALLS);
    // Of the whole, as much as the engine had of the time: a machine that others use as well would count their turns.
    let share = world.spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    let spent = (processor_time() - used).as_secs_f64() * share;
    println!("engine.cpu_per_call {:.2} CPU-µs - - -", spent * 1e6 / CALLS as f64);
}

/// A datagram of a source that no Trunk admits: what a scanner costs after its datagram was read.
fn stranger() {
    let mut world = Twin::new();
    let flow = Flow {
        transport: Transport::Udp,
        listener: ListenerIx(0),
        remote: STRANGER.parse().unwrap(),
        connection: 0,
    };
    let bytes = Bytes::from_static(
        b"OPTIONS sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.66:5060\r\n\r\n",
    );
    let used = processor_time();
    for _ in 0..STRANGERS {
        world.engine.handle(world.now, Input::Packet { flow, bytes: bytes.clone() });
        while let Some(output) = world.engine.poll() {
            assert!(matches!(output, Output::Stranger { .. }), "{output:?}");
        }
    }
    let spent = (processor_time() - used).as_secs_f64();
    println!("engine.stranger {:.3} CPU-µs - - -", spent * 1e6 / STRANGERS as f64);
}

/// Calls that are up, with everything that ended meanwhile forgotten.
fn hold(count: usize) {
    let mut world = Twin::new();
    let warm: Vec<_> = (0..100).map(|_| world.call()).collect();
    warm.iter().for_each(|up| world.hang_up(up));
    world.pass(Duration::from_secs(120));
    let before = resident();
    for _ in 0..count {
        world.call();
        world.pass(Duration::from_millis(2));
    }
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.engine.calls(), count);
    println!("engine.held_call_memory_{count} {} bytes - - -", (resident() - before) / count);
}

/// Bindings of agents' phones over UDP, each registered by digest.
fn registration() {
    let mut world = Twin::with_phones();
    let mut register = |count: std::ops::Range<usize>| {
        for number in count {
            world.register(number);
        }
        for _ in 0..60 {
            world.pass(Duration::from_secs(1));
        }
        resident()
    };
    let before = register(0..1_000);
    let after = register(1_000..REGISTERED);
    let count = REGISTERED - 1_000;
    println!("engine.registration_memory_{REGISTERED} {} bytes - - -", after.saturating_sub(before) / count);
    let used = processor_time();
    let spent = world.spent;
    let begun = Instant::now();
    (0..10_000).for_each(|number| world.register(number));
    let share = (world.spent - spent).as_secs_f64() / begun.elapsed().as_secs_f64();
    let spent = (processor_time() - used).as_secs_f64() * share;
    println!("engine.cpu_per_registration {:.2} CPU-µs - - -", spent * 1e6 / 10_000.0);
}

fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Octets.
fn resident() -> usize {
    heap::trim();
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// The engine with a caller, a callee, and a media server that costs nothing.
struct Twin {
    engine: Engine,
    now: Now,
    /// In the engine.
    spent: Duration,
    numbered: usize,
    port: u16,
    sent: Vec<(SocketAddr, Bytes)>,
    caller: SocketAddr,
    callee: SocketAddr,
}

/// What a caller needs for its BYE.
struct Up {
    number: usize,
    contact: String,
    to: String,
}

impl Twin {
    /// A trunk that calls in, a number, and a PBX that is called: what `run sip` measures.
    fn new() -> Self {
        let mut planner = Planner::new(None);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/bench/manifests");
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let object: serde_json::Value = serde::Deserialize::deserialize(document).unwrap();
                let of = |name: &str| object["metadata"][name].as_str().unwrap();
                let key = Key::new(of("namespace"), of("name"));
                let mut spec = object["spec"].clone();
                if object["kind"] == "VoiceCluster" {
                    spec["limits"]["calls"] = json!(100_000);
                }
                planner.declare(object["kind"].as_str().unwrap(), key, &spec).unwrap();
            }
        }
        Self::of(planner)
    }

    /// An agent with a phone for each registration.
    fn with_phones() -> Self {
        let mut planner = Planner::new(None);
        let mut declare = |kind: &str, name: &str, spec: serde_json::Value| {
            planner.declare(kind, Key::new("acme", name), &spec).unwrap();
        };
        declare(
            "VoiceCluster",
            "b1",
            json!({
                "code": "B1", "allowedNamespaces": ["acme"], "digestAlgorithms": ["SHA-256"], "domains": ["b1.example"],
                "networks": [{"name": "loopback", "bindAddress": "127.0.0.1"}],
                "listeners": [{"name": "udp", "transport": "UDP", "port": 5060, "network": "loopback", "serves": "Agents"}],
                "media": {"ports": {"first": 20000, "last": 29999}}, "limits": {"calls": 1000}, "drainSeconds": 0,
            }),
        );
        let tenant = json!({
            "clusterRef": {"name": "b1"}, "country": "US", "timeZone": "America/New_York", "languages": ["en-US"],
        });
        declare("Tenant", "acme", tenant);
        for number in 0..REGISTERED {
            let sip = json!({"username": phone(number), "secretRef": {"name": "phones", "key": "all"}});
            let station = json!({"name": "desk", "sip": sip});
            let agent = json!({"displayName": "Ada", "stations": [station], "capacity": {"voice": 1}});
            declare("Agent", &phone(number), agent);
        }
        let labels = json!({"switchboard.dev/use": "true"});
        planner.declare_foreign(vec![Foreign {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            key: Key::new("acme", "phones"),
            object: json!({"metadata": {"labels": labels}, "data": {"all": "bWFkZS11cA=="}}),
        }]);
        let mut twin = Self::of(planner);
        let secrets = [((Key::new("acme", "phones"), "all".to_owned()), PASSWORD.as_bytes().to_vec())];
        twin.give(Input::Secrets(secrets.into_iter().collect()));
        twin
    }

    fn of(mut planner: Planner) -> Self {
        let now = Now { instant: Instant::now(), wall: Timestamp::now() };
        planner.update(now.wall);
        let wrong = planner.problems().find(|problem| problem.severity == plan::Severity::Error);
        assert!(wrong.is_none(), "{}", wrong.map(ToString::to_string).unwrap_or_default());
        let snapshot = planner.clusters().next().expect("a cluster").1.snapshot().unwrap().into();
        let config = Config {
            token: "e1".into(),
            shard: call::engine::Shard::ALONE,
            together: None,
            first_call: 1,
            seed: 7,
            legs_max: 200_000,
            transactions_max: 1_000_000,
            nonces: digest::Nonces::new(&[7; 32]),
        };
        let engine = Engine::new(config, snapshot, Default::default()).unwrap().with_room();
        let [caller, callee] = [CALLER, CALLEE].map(|address| address.parse().unwrap());
        let (spent, sent) = (Duration::ZERO, Vec::new());
        let mut twin = Self { engine, now, spent, numbered: 0, port: 20_000, sent, caller, callee };
        twin.give(Input::Timeout);
        twin
    }

    /// A phone of its own address registers.
    fn register(&mut self, number: usize) {
        let octets = u32::try_from(number).unwrap();
        let from = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + octets), 5060));
        self.numbered += 1;
        let (user, cseq) = (phone(number), self.numbered);
        let request = |credentials: &str, cseq: usize| {
            format!(
                "REGISTER sip:b1.example SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{cseq};rport\r\nMax-Forwards: 70\r\n\
                 From: <sip:{user}@b1.example>;tag=r\r\nTo: <sip:{user}@b1.example>\r\nCall-ID: r-{number}\r\n\
                 CSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{from}>\r\nExpires: 3600\r\n{credentials}Content-Length: 0\r\n\r\n"
            )
        };
        let challenge = self.packet(from, request("", 2 * cseq)).pop().expect("a challenge").1;
        let challenge = Message::parse(challenge).unwrap();
        let credentials = Credentials {
            username: user.clone(),
            secret: digest::Secret::Password(PASSWORD.into()),
            least: digest::Algorithm::Sha256,
        };
        let answers = digest::answers(&challenge, &credentials, "REGISTER", "sip:b1.example", 1, "c");
        let answers: String =
            answers.iter().map(|header| format!("{}: {}\r\n", header.name, header.value)).collect();
        let answer = self.packet(from, request(&answers, 2 * cseq + 1)).pop().expect("an answer").1;
        assert!(answer.starts_with(b"SIP/2.0 200"), "{answer:?}");
        // 1,000 a second: the nonces of half a minute are remembered, and no more than 65,536.
        if number.is_multiple_of(10) {
            self.pass(Duration::from_millis(10));
        }
    }

    fn pass(&mut self, step: Duration) {
        self.now.instant += step;
        self.now.wall += SignedDuration::try_from(step).unwrap();
        if self.engine.poll_timeout().is_some_and(|due| due <= self.now.instant) {
            self.give(Input::Timeout);
        }
    }

    fn packet(&mut self, from: SocketAddr, message: String) -> Vec<(SocketAddr, Bytes)> {
        let flow = Flow { transport: Transport::Udp, listener: ListenerIx(0), remote: from, connection: 0 };
        self.give(Input::Packet { flow, bytes: message.into() });
        std::mem::take(&mut self.sent)
    }

    fn give(&mut self, input: Input) {
        let begun = Instant::now();
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for people")]
            match output {
                Output::Transmit { flow, bytes } => self.sent.push((flow.remote, bytes)),
                Output::Media(order) => {
                    let event = match order.order {
                        Order::Allocate { leg, .. } => {
                            self.port = 20_000 + (self.port + 2) % 20_000;
                            let address = IpAddr::from([127, 0, 0, 1]);
                            Event::Allocated { leg, address, rtp_port: self.port, fingerprint: None }
                        }
                        Order::Release { leg } => Event::Released { leg, quality: Default::default() },
                        _ => continue,
                    };
                    self.engine.handle(self.now, Input::Media(MediaEvent { session: order.session, event }));
                }
                Output::Note(note) => panic!("{note:?}"),
                _ => {}
            }
        }
        self.spent += begun.elapsed();
    }

    /// INVITE, 180, 200, ACK.
    fn call(&mut self) -> Up {
        let number = self.numbered;
        self.numbered += 1;
        let sdp = |address: &str, port: u16| {
            format!(
                "v=0\r\no=- {number} 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
            )
        };
        let offer = sdp("127.0.0.2", 40_000);
        let invite = format!(
            "INVITE sip:+18005550100@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bKi{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+1999{number:07}@127.0.0.2>;tag=a{number}\r\nTo: <sip:+18005550100@127.0.0.1>\r\n\
             Call-ID: bench-{number}@127.0.0.2\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{CALLER}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}",
            offer.len()
        );
        let sent = self.packet(self.caller, invite);
        let invite =
            sent.iter().find(|(to, _)| *to == self.callee).map(|(_, bytes)| text(bytes)).expect("an INVITE");
        let answer = |code: &str, body: &str| {
            let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
                .iter()
                .map(|name| {
                    format!(
                        "{name}: {}{}\r\n",
                        field(&invite, name),
                        if *name == "To" { ";tag=b" } else { "" }
                    )
                })
                .collect();
            let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
            format!(
                "SIP/2.0 {code}\r\n{copied}Contact: <sip:b@{CALLEE}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let (ringing, ok) = (answer("180 Ringing", ""), answer("200 OK", &sdp("127.0.0.3", 40_001)));
        self.packet(self.callee, ringing);
        let sent = self.packet(self.callee, ok);
        let ok = sent.iter().find(|(to, _)| *to == self.caller).map(|(_, bytes)| text(bytes)).expect("a 200");
        let contact = field(&ok, "Contact").trim_matches(['<', '>']).to_owned();
        let up = Up { number, contact, to: field(&ok, "To").to_owned() };
        self.packet(self.caller, within(&up, "ACK", 1));
        up
    }

    /// BYE, and the callee's 200.
    fn hang_up(&mut self, up: &Up) {
        let sent = self.packet(self.caller, within(up, "BYE", 2));
        let bye =
            sent.iter().find(|(to, _)| *to == self.callee).map(|(_, bytes)| text(bytes)).expect("a BYE");
        let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
            .iter()
            .map(|name| format!("{name}: {}\r\n", field(&bye, name)))
            .collect();
        self.packet(self.callee, format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n"));
    }
}

fn within(up: &Up, method: &str, cseq: u32) -> String {
    let Up { number, contact, to } = up;
    format!(
        "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{number};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:+1999{number:07}@127.0.0.2>;tag=a{number}\r\nTo: {to}\r\nCall-ID: bench-{number}@127.0.0.2\r\n\
         CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

const PASSWORD: &str = "made-up";

fn phone(number: usize) -> String {
    format!("phone-{number}")
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {message}")).trim()
}
