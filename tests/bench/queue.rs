//! Agents and contacts of a queue, for whichever server is under test: how long from an agent becoming free to its telephone
//! ringing for the next contact, with all others at work and a long line waiting.
//!
//! Telephones and contacts are endpoints of ours over two sockets, in this process, with one clock; nothing is sent again but by
//! SIP's own timers. An agent answers at once, talks, and hangs up: that is when it is free. The INVITE that comes to its telephone
//! next ends the time that is measured. So both of the server's ways are in it: from the BYE to a free agent, and from there by
//! the queue to an INVITE.
//!
//! Configured by the environment: `HASH` prints the Argon2id hash of the agents' password and ends; `CONTACTS_AT` (whom contacts call) and `NUMBER`, `CALLER`, `PHONES` (addresses of ours), `AGENTS`,
//! `WAITING`, `SECONDS_OF_LOAD`; with `PHONES_AT` telephones register there, with `HTTP` agents sign in there. Prints
//! `p50_us N p99_us N turns N failed N`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, takes the time, and may fail"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use argon2::{
    Algorithm as Algorithm2, Argon2, Params, Version,
    password_hash::{PasswordHasher, SaltString},
};
use bytes::Bytes;
use model::{
    LegId,
    media::Codec,
    net::{Flow, ListenerIx, Transport},
};
use serde_json::{Value, json};
use sip::{
    digest::{self, Algorithm, Credentials, Secret},
    endpoint::{self, Endpoint, Event, Extensions, Header, Invite, ListenerConfig, OutOfDialog, Output},
    sdp::{self, LocalMedia},
    transaction::Timers,
    wire::Method,
};
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message, client, http::Uri};

/// Contacts that call in a second while the line fills.
const RAMP: u32 = 100;

/// Password of telephones and agents.
const PASSWORD: &str = "made-up";

/// Longest sleep.
const TICK: Duration = Duration::from_millis(5);

fn text(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn number(name: &str, otherwise: usize) -> usize {
    text(name).parse().unwrap_or(otherwise)
}

/// One socket and its endpoint.
struct Line {
    endpoint: Endpoint,
    socket: UdpSocket,
    media: LocalMedia,
    at: SocketAddr,
}

impl Line {
    fn new(at: SocketAddr, name: &str) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_recv_buffer_size(8 << 20).unwrap();
        socket.bind(&at.into()).unwrap();
        let listener =
            ListenerConfig { transport: Transport::Udp, sent_by: at.to_string(), serves_register: false };
        let config = endpoint::Config {
            listeners: vec![listener],
            token: name.into(),
            user_agent: String::new(),
            legs_max: 20_000,
            transactions_max: 40_000,
            timers: Timers::default(),
            mtu: endpoint::MTU,
            extensions: Extensions { reliable: false, session: None, transfers: false },
        };
        let media = LocalMedia::new(at.ip(), 40_000, vec![Codec::Pcmu], 1);
        Self { endpoint: Endpoint::new(config, 11), socket: socket.into(), media, at }
    }

    const fn flow(remote: SocketAddr) -> Flow {
        Flow { transport: Transport::Udp, listener: ListenerIx(0), remote, connection: 0 }
    }

    /// What happens until then, or by the first datagram, and when.
    fn wait(&mut self, until: Instant) -> (Instant, Vec<Event>) {
        let due = self.endpoint.poll_timeout().map_or(until, |(at, _)| at.min(until));
        let pause = due.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(50), TICK);
        self.socket.set_read_timeout(Some(pause)).unwrap();
        let mut buffer = [0; 8_192];
        let read = self.socket.recv_from(&mut buffer);
        let now = Instant::now();
        match read {
            Ok((length, from)) => {
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                self.endpoint.handle(now, endpoint::Input::datagram(Self::flow(from), bytes));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // An ICMP error of an earlier datagram.
            Err(_) => {}
        }
        self.endpoint.handle(now, endpoint::Input::Timeout);
        (now, self.drain())
    }

    fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Transmit { flow, bytes } => {
                    let _ = self.socket.send_to(&bytes, flow.remote);
                }
                Output::Event(event) => events.push(event),
                Output::Note(_) => {}
            }
        }
        events
    }
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    measures: AtomicBool,
    is_over: AtomicBool,
    up: AtomicUsize,
    failed: AtomicUsize,
}

/// Everybody who waits or talks; whoever is hung up calls again.
fn contacts(shared: &Shared, at: SocketAddr, server: SocketAddr, dials: &str, calls: usize) {
    let mut line = Line::new(at, "contacts");
    let began = Instant::now();
    let (mut begun, mut again, mut legs) = (0, 0, BTreeSet::new());
    while !shared.is_over.load(Ordering::Relaxed) {
        let ramped = (began.elapsed().as_secs_f64() * f64::from(RAMP)) as usize;
        while begun < calls.min(ramped) || again > 0 {
            if again > 0 {
                again -= 1
            } else {
                begun += 1
            }
            let uri = format!("sip:{dials}@{server}");
            let invite = Invite {
                flow: Line::flow(server),
                to: format!("<{uri}>"),
                request_uri: uri,
                from: format!("<sip:+12125550142@{}>", line.at.ip()),
                sdp: Some(sdp::offer(&line.media)),
                max_forwards: 70,
                headers: Vec::new(),
                challenges: false,
                tcp: None,
                attached: None,
                feature: None,
            };
            legs.extend(line.endpoint.invite(Instant::now(), invite));
        }
        line.drain();
        let (now, events) = line.wait(Instant::now() + TICK);
        for event in events {
            #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters here")]
            match event {
                Event::Answered { .. } => {
                    shared.up.fetch_add(1, Ordering::Relaxed);
                }
                Event::Reinvited { leg, sdp } => {
                    let answer = sdp.as_ref().and_then(|offer| sdp::answer(offer, &line.media).ok());
                    let description = answer.map_or_else(|| sdp::offer(&line.media), |(answer, _)| answer);
                    let _ = line.endpoint.answer_reinvite(now, leg, description);
                }
                Event::Requested { id, .. } => drop(line.endpoint.respond_to(now, id, 200, &[])),
                Event::Ended { leg, how } if legs.remove(&leg) => {
                    let failed = usize::from(matches!(how, endpoint::Ended::Failed { .. }));
                    shared.failed.fetch_add(failed, Ordering::Relaxed);
                    again += 1;
                }
                _ => {}
            }
        }
        line.drain();
    }
}

/// An agent's telephone.
#[derive(Default)]
struct Telephone {
    free_since: Option<Instant>,
}

struct Telephones {
    line: Line,
    agents: Vec<Telephone>,
    legs: BTreeMap<LegId, usize>,
    /// When who hangs up.
    talks: BTreeSet<(Instant, LegId)>,
    times: Vec<Duration>,
    lots: u64,
    registered: usize,
}

impl Telephones {
    fn register(&mut self, server: SocketAddr) {
        for agent in 0..self.agents.len() {
            let name = agent_name(agent);
            let own = format!("<sip:{name}@acme.invalid>");
            let request = OutOfDialog {
                flow: Line::flow(server),
                tcp: None,
                method: Method::Register,
                request_uri: "sip:acme.invalid".into(),
                from: own.clone(),
                to: own,
                sequence: None,
                headers: vec![Header::new("Contact", format!("<sip:{name}@{}>", self.line.at))],
                body: (String::new(), Bytes::new()),
                challenges: true,
            };
            let _ = self.line.endpoint.request(Instant::now(), request);
        }
        let until = Instant::now() + Duration::from_secs(20);
        while self.registered < self.agents.len() {
            assert!(Instant::now() < until, "{} of {} are registered", self.registered, self.agents.len());
            self.turn(&Shared::default());
        }
    }

    /// How long somebody talks: half a second to one and a half.
    fn talk(&mut self) -> Duration {
        self.lots = self.lots.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(500 + (self.lots >> 33) % 1_000)
    }

    fn turn(&mut self, shared: &Shared) {
        while let Some((due, leg)) = self.talks.first().copied().filter(|(due, _)| *due <= Instant::now()) {
            self.talks.remove(&(due, leg));
            let now = Instant::now();
            if self.line.endpoint.bye(now, leg, &[]).is_ok()
                && let Some(agent) = self.legs.get(&leg)
            {
                self.agents[*agent].free_since = Some(now);
            }
            self.line.drain();
        }
        let until = self.talks.first().map_or_else(|| Instant::now() + TICK, |(due, _)| *due);
        let (now, events) = self.line.wait(until);
        for event in events {
            self.event(shared, now, event);
        }
        self.line.drain();
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters here")]
    fn event(&mut self, shared: &Shared, now: Instant, event: Event) {
        match event {
            Event::Invited { leg, request, sdp, .. } => {
                let user = request.called_number().unwrap_or_default();
                let agent = user.strip_prefix('a').and_then(|number| number.parse::<usize>().ok());
                let Some(agent) = agent.filter(|agent| *agent < self.agents.len()) else { return };
                let free_since = self.agents[agent].free_since.take();
                if let (true, Some(since)) = (shared.measures.load(Ordering::Relaxed), free_since) {
                    self.times.push(now - since);
                }
                let answer = sdp.as_ref().and_then(|offer| sdp::answer(offer, &self.line.media).ok());
                let description = answer.map_or_else(|| sdp::offer(&self.line.media), |(answer, _)| answer);
                self.legs.insert(leg, agent);
                let _ = self.line.endpoint.accept(now, leg, description, &[]);
                let talks = now + self.talk();
                self.talks.insert((talks, leg));
            }
            Event::Reinvited { leg, sdp } => {
                let answer = sdp.as_ref().and_then(|offer| sdp::answer(offer, &self.line.media).ok());
                let description = answer.map_or_else(|| sdp::offer(&self.line.media), |(answer, _)| answer);
                let _ = self.line.endpoint.answer_reinvite(now, leg, description);
            }
            Event::Challenged { id, method, request_uri, response, .. } => {
                let user = response.to().and_then(|to| to.uri.user).unwrap_or_default().to_owned();
                let secret = Secret::Password(PASSWORD.to_owned());
                let credentials = Credentials { username: user, secret, least: Algorithm::Md5 };
                let headers =
                    digest::answers(&response, &credentials, method.as_str(), &request_uri, 1, "bench");
                let _ = self.line.endpoint.retry_with(now, id, &headers);
            }
            Event::RequestDone { .. } => self.registered += 1,
            Event::Requested { id, .. } => drop(self.line.endpoint.respond_to(now, id, 200, &[])),
            Event::Ended { leg, .. } => {
                self.legs.remove(&leg);
                self.talks.retain(|(_, other)| *other != leg);
            }
            _ => {}
        }
    }
}

fn agent_name(agent: usize) -> String {
    format!("a{agent:02}")
}

/// Signs an agent in, and stays.
fn sign_in(server: SocketAddr, agent: usize) {
    let body = json!({"agent": format!("acme/{}", agent_name(agent)), "password": PASSWORD}).to_string();
    let mut stream = TcpStream::connect(server).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /api/v1/sessions HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let session: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let token =
        session["token"].as_str().unwrap_or_else(|| panic!("{} cannot sign in: {answer}", agent_name(agent)));
    let uri: Uri = format!("ws://{server}/api/v1/desk").parse().unwrap();
    let request = ClientRequestBuilder::new(uri)
        .with_sub_protocol("switchboard.desk.v1")
        .with_sub_protocol(format!("bearer.{token}"));
    let (mut socket, _) = client(request, TcpStream::connect(server).unwrap()).unwrap();
    socket.send(Message::text(json!({"type": "ready"}).to_string())).unwrap();
    thread::spawn(move || while socket.read().is_ok() {});
}

fn percentile(times: &mut [Duration], share: f64) -> u128 {
    times.sort_unstable();
    times.get(((times.len().saturating_sub(1)) as f64 * share) as usize).map_or(0, Duration::as_micros)
}

/// Argon2id with little memory, so that fifty agents sign in at once.
fn hash() -> String {
    let few = Argon2::new(Algorithm2::Argon2id, Version::V0x13, Params::new(256, 1, 1, None).unwrap());
    let salt = SaltString::encode_b64(b"made-up for this").unwrap();
    few.hash_password(PASSWORD.as_bytes(), &salt).unwrap().to_string()
}

fn main() {
    if !text("HASH").is_empty() {
        println!("{}", hash());
        return;
    }
    let address = |name: &str| text(name).parse::<SocketAddr>().ok();
    // Cargo runs benchmarks where nobody has started a server.
    let Some(server) = address("CONTACTS_AT") else { return };
    let (caller, phones) = (address("CALLER").unwrap(), address("PHONES").unwrap());
    let (agents, waiting) = (number("AGENTS", 50), number("WAITING", 500));
    let seconds = number("SECONDS_OF_LOAD", 8) as u64;
    let shared = Arc::new(Shared::default());
    let mut telephones = Telephones {
        line: Line::new(phones, "phones"),
        agents: (0..agents).map(|_| Telephone::default()).collect(),
        legs: BTreeMap::new(),
        talks: BTreeSet::new(),
        times: Vec::new(),
        lots: 7,
        registered: 0,
    };
    if let Some(registrar) = address("PHONES_AT") {
        telephones.register(registrar);
    }
    if let Some(http) = address("HTTP") {
        (0..agents).for_each(|agent| sign_in(http, agent));
    }
    let (theirs, dials) = (Arc::clone(&shared), text("NUMBER"));
    thread::spawn(move || contacts(&theirs, caller, server, &dials, agents + waiting));
    let fills = Instant::now() + Duration::from_secs((agents + waiting) as u64 / u64::from(RAMP) + 4);
    while Instant::now() < fills {
        telephones.turn(&shared);
    }
    shared.measures.store(true, Ordering::Relaxed);
    let ends = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < ends {
        telephones.turn(&shared);
    }
    shared.is_over.store(true, Ordering::Relaxed);
    let mut times = std::mem::take(&mut telephones.times);
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let (up, failed) = (shared.up.load(Ordering::Relaxed), shared.failed.load(Ordering::Relaxed));
    println!("p50_us {p50} p99_us {p99} turns {} up {up} failed {failed}", times.len());
}
