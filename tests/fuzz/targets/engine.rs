//! The whole edge without its sockets: datagrams of a carrier, of phones and of strangers, with a media server that answers at
//! once. Strangers and who is not proved hear nothing but challenges; nothing is answered without end, no table outgrows its
//! bound, and after long silence nothing is left.
//!
//! Each datagram's first octet chooses who sends it, and whether a challenge to it is answered. `@T` in its text stands for
//! the tag that the latest response to the carrier bore, `@R` for the fields that answer the latest request to the PBX.
#![no_main]

#[path = "../../../src/call/tests/world.rs"]
#[allow(dead_code)]
mod world;

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use call::{
    Now,
    engine::{Config, Engine, Input, Output},
};
use fuzz::{datagrams, moment};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use model::{
    AgentId, Key,
    centre::{Agent, SecretKey, Station, StationKind},
    media::{Event, MediaEvent, MediaOrder, Order, PlayEnd},
    net::{Flow, ListenerIx, Transport},
    secrets::Secrets,
    snapshot::{Serves, Snapshot},
};
use sip::{
    digest::{self, Algorithm, Credentials, Nonces, Secret},
    wire::Message,
};

const TRANSACTIONS_MAX: usize = 32;
const LEGS_MAX: usize = 16;
/// Outputs to one input: those of all transactions, with their explanations and records.
const OUTPUTS_MAX: usize = 64 * TRANSACTIONS_MAX;
const CARRIER: ([u8; 4], u16) = ([192, 0, 2, 1], 5060);
const PBX: ([u8; 4], u16) = ([192, 0, 2, 2], 5060);
const HOME: ([u8; 4], u16) = ([203, 0, 113, 7], 40_000);

struct Edge {
    engine: Engine,
    tick_ms: u64,
    tag: Vec<u8>,
    answering: Vec<u8>,
    /// Where answers went, and the last of them.
    answered: Vec<SocketAddr>,
    last: Option<Bytes>,
}

fuzz_target!(|input: &[u8]| {
    let mut edge = Edge::new();
    for datagram in datagrams(input) {
        let Some((&choice, bytes)) = datagram.split_first() else { continue };
        edge.tick_ms += 100;
        edge.take(choice, bytes);
    }
    edge.pass_time();
});

impl Edge {
    fn new() -> Self {
        let config = Config {
            token: "fuzz".into(),
            shard: call::engine::Shard::ALONE,
            together: None,
            first_call: 1,
            seed: 1,
            legs_max: LEGS_MAX,
            transactions_max: TRANSACTIONS_MAX,
            nonces: Nonces::new(&[7; 32]),
        };
        let engine =
            Engine::new(config, Arc::new(snapshot()), Default::default()).expect("the snapshot is sound");
        let mut edge = Self {
            engine,
            tick_ms: 0,
            tag: Vec::new(),
            answering: Vec::new(),
            answered: Vec::new(),
            last: None,
        };
        let name = (Key::new("acme", "phones"), "ada-desk".to_owned());
        let secrets: Secrets = [(name, b"made-up".to_vec())].into_iter().collect();
        edge.step(Input::Secrets(secrets));
        edge
    }

    fn now(&self) -> Now {
        let wall =
            Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1_764_000_000_000 + self.tick_ms as i64);
        Now { instant: moment(self.tick_ms), wall }
    }

    fn take(&mut self, choice: u8, bytes: &[u8]) {
        let (listener, remote) = match choice & 3 {
            0 => (0, CARRIER),
            1 => (0, PBX),
            2 => (1, HOME),
            _ => (0, HOME),
        };
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerIx(listener),
            remote: SocketAddr::from(remote),
            connection: 0,
        };
        let bytes = self.fill(bytes);
        let before = self.engine.calls();
        self.answered.clear();
        self.last = None;
        self.step(Input::Packet { flow, bytes: Bytes::from(bytes.clone()) });
        if choice & 3 == 3 {
            assert!(!self.answered.contains(&flow.remote), "a stranger is answered");
        }
        if choice & 3 == 2 && choice & 4 == 0 {
            assert!(self.engine.calls() <= before, "a call of nobody who has proved who it is");
        }
        if let (2, 4, Some(proved)) = (choice & 3, choice & 4, self.prove(&bytes)) {
            self.step(Input::Packet { flow, bytes: proved });
        }
        assert!(self.engine.calls() <= LEGS_MAX);
    }

    fn fill(&self, bytes: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(at) = rest.windows(2).position(|window| window == b"@T" || window == b"@R") {
            filled.extend_from_slice(&rest[..at]);
            filled.extend_from_slice(if rest[at + 1] == b'T' { &self.tag } else { &self.answering });
            rest = &rest[at + 2..];
        }
        filled.extend_from_slice(rest);
        filled
    }

    /// The request again, with the right answer to the challenge that it got.
    fn prove(&self, bytes: &[u8]) -> Option<Bytes> {
        let request = Message::parse(Bytes::copy_from_slice(bytes)).ok()?;
        let challenge = Message::parse(self.last.clone()?).ok()?;
        let credentials = Credentials {
            username: "ada-desk".into(),
            secret: Secret::Password("made-up".into()),
            least: Algorithm::Md5,
        };
        let fields =
            digest::answers(&challenge, &credentials, request.method_text(), request.uri_text(), 1, "c");
        let field = fields.first()?;
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")? + 2;
        let branch = bytes.windows(7).position(|window| window == b"z9hG4bK")? + 7;
        let mut proved = bytes[..line_end].to_vec();
        proved.extend_from_slice(format!("{}: {}\r\n", field.name, field.value).as_bytes());
        proved.extend_from_slice(bytes.get(line_end..branch)?);
        proved.push(b'p');
        proved.extend_from_slice(&bytes[branch..]);
        Some(Bytes::from(proved))
    }

    fn step(&mut self, input: Input) {
        let now = self.now();
        self.engine.handle(now, input);
        let mut told = VecDeque::new();
        for _ in 0..OUTPUTS_MAX {
            match self.engine.poll() {
                Some(Output::Transmit { flow, bytes }) => self.sent(flow, &bytes),
                Some(Output::Media(order)) => told.extend(obeyed(order)),
                Some(_) => {}
                None => match told.pop_front() {
                    Some(event) => self.engine.handle(now, Input::Media(event)),
                    None => return,
                },
            }
        }
        panic!("more than {OUTPUTS_MAX} outputs to one input");
    }

    fn sent(&mut self, flow: Flow, bytes: &Bytes) {
        // A keep-alive for the NAT before a phone.
        if &bytes[..] == b"\r\n\r\n" {
            return;
        }
        self.answered.push(flow.remote);
        // The answer to a malformed request repeats what is wrong with it.
        let Ok(message) = Message::parse(bytes.clone()) else {
            assert!(bytes.starts_with(b"SIP/2.0 "), "a request of ours does not parse: {bytes:?}");
            return;
        };
        if message.is_request() && flow.remote == SocketAddr::from(PBX) {
            self.answering = answering(bytes);
        }
        if let Some(tag) =
            message.to_tag().filter(|_| !message.is_request() && flow.listener == ListenerIx(0))
        {
            self.tag = tag.as_bytes().to_vec();
        }
        if !message.is_request() {
            self.last = Some(bytes.clone());
        }
    }

    /// All timers in their order. None may fire for ever.
    fn pass_time(&mut self) {
        let end = moment(20_000_000);
        for _ in 0..20_000 {
            let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) else { break };
            let first = moment(0);
            self.tick_ms = self.tick_ms.max(at.saturating_duration_since(first).as_millis() as u64 + 1);
            self.step(Input::Timeout);
        }
        self.tick_ms = 20_000_001;
        self.step(Input::Timeout);
        assert!(self.engine.is_idle(), "something is left: {} calls", self.engine.calls());
    }
}

fn answering(request: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for line in request.split(|byte| *byte == b'\n') {
        let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        if !names.iter().any(|name| line.starts_with(name.as_bytes())) {
            continue;
        }
        let line = line.trim_ascii_end();
        fields.extend_from_slice(line);
        if line.starts_with(b"To:") && !line.windows(5).any(|window| window == b";tag=") {
            fields.extend_from_slice(b";tag=p");
        }
        fields.extend_from_slice(b"\r\n");
    }
    fields
}

fn snapshot() -> Snapshot {
    let mut snapshot = world::snapshot();
    let mut phones = snapshot.cluster.listeners[0].clone();
    phones.serves = Serves::Agents;
    phones.bind = "192.0.2.100:5070".parse().expect("an address");
    phones.advertised = "192.0.2.100:5070".into();
    snapshot.cluster.listeners.push(phones);
    snapshot.cluster.domains = vec!["c14.example".into()];
    let secret = SecretKey { name: "phones".into(), key: "ada-desk".into() };
    let desk = Station {
        name: "desk".into(),
        kind: StationKind::Sip { username: "ada-desk".into(), secret },
        persistent: false,
        answers_itself: false,
        emergency_location: None,
    };
    let ada = Agent {
        display_name: "Ada".into(),
        skills: Default::default(),
        languages: Vec::new(),
        stations: vec![desk],
        capacity: Default::default(),
        sign_in: None,
        session_seconds: 43_200,
        outbound_number: None,
        lossy: false,
        music: Vec::new(),
        queues: Default::default(),
        supervises: Default::default(),
    };
    snapshot.centre.agents.insert(AgentId::new("acme", "ada"), Arc::new(ada));
    let steps =
        vec![world::play("welcome", "a", 1), world::dial("ring", [2, 2, 2, 2]), world::hangup("bye", "b")];
    snapshot.flows = [world::flow("main", steps, Vec::new())].into();
    snapshot
}

/// What a media server tells of an order.
fn obeyed(order: MediaOrder) -> Option<MediaEvent> {
    let event = match order.order {
        Order::Allocate { leg, .. } => {
            Event::Allocated { leg, address: [192, 0, 2, 100].into(), rtp_port: 20_000, fingerprint: None }
        }
        Order::Play { leg, play, times: Some(_), .. } => {
            Event::PlayEnded { leg, play, how: PlayEnd::Finished }
        }
        Order::SendDtmf { leg, .. } => Event::DtmfSent { leg },
        Order::Release { leg } => Event::Released { leg, quality: Box::default() },
        _ => return None,
    };
    Some(MediaEvent { session: order.session, event })
}
