//! Agents' phones register: what they, and whoever only tries, hear.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use call::{
    Now,
    engine::{Config, Engine, Input, Output, Shard, StationNews},
    explanation::Explanation,
};
use jiff::{SignedDuration, Timestamp};
use model::{
    AgentId, Key,
    centre::{Agent, SecretKey, Station, StationKind},
    net::{Flow, ListenerIx, Transport},
    secrets::Secrets,
    snapshot::Serves,
};
use sip::{
    digest::{self, Credentials, Secret},
    wire::Message,
};

use crate::world::snapshot;

const HOME: &str = "203.0.113.7:40000";

struct Desk {
    engine: Engine,
    now: Now,
    news: Vec<StationNews>,
    explanations: Vec<Explanation>,
    strangers: usize,
    cseq: u32,
}

fn station(name: &str, username: &str) -> Station {
    let secret = SecretKey { name: "phones".into(), key: username.into() };
    Station {
        name: name.into(),
        kind: StationKind::Sip { username: username.into(), secret },
        persistent: false,
        answers_itself: false,
        emergency_location: None,
    }
}

pub fn agent(stations: Vec<Station>) -> Arc<Agent> {
    Arc::new(Agent {
        display_name: "Ada".into(),
        skills: Default::default(),
        languages: Vec::new(),
        stations,
        capacity: Default::default(),
        sign_in: None,
        session_seconds: 43_200,
        outbound_number: None,
        lossy: false,
        music: Vec::new(),
        queues: std::collections::BTreeMap::new(),
        supervises: Default::default(),
    })
}

impl Desk {
    fn new() -> Self {
        let mut snapshot = snapshot();
        snapshot.cluster.listeners[0].serves = Serves::Agents;
        snapshot.cluster.domains = vec!["c14.example".into()];
        let ada =
            agent(vec![station("desk", "ada-desk"), station("hash", "ada-hash"), station("new", "ada-new")]);
        snapshot.centre.agents.insert(AgentId::new("acme", "ada"), ada);
        let config = Config {
            token: "e1".into(),
            shard: Shard::ALONE,
            together: None,
            first_call: 1,
            seed: 7,
            legs_max: 100,
            transactions_max: 10_000,
            nonces: digest::Nonces::new(&[7; 32]),
        };
        let mut engine = Engine::new(config, snapshot.into(), Default::default()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
        let instant = Instant::now();
        let now = Now { instant, wall: "2026-11-23T15:00:00Z".parse::<Timestamp>().unwrap() };
        let hash = digest::Secret::Password("made-up-2".into());
        let hash = hash.ha1(digest::Algorithm::Sha256, "ada-hash", "c14.example").unwrap();
        let value =
            |key: &str, value: String| ((Key::new("acme", "phones"), key.to_owned()), value.into_bytes());
        let secrets: Secrets =
            [value("ada-desk", "made-up".into()), value("ada-hash", format!("SHA-256:{hash}\n"))]
                .into_iter()
                .collect();
        engine.handle(now, Input::Secrets(secrets));
        Self { engine, now, news: Vec::new(), explanations: Vec::new(), strangers: 0, cseq: 0 }
    }

    /// What a datagram is answered with.
    fn send(&mut self, from: &str, text: &str) -> Vec<Message> {
        let remote = from.parse().unwrap();
        let flow = Flow { transport: Transport::Udp, listener: ListenerIx(0), remote, connection: 0 };
        self.engine.handle(self.now, Input::Packet { flow, bytes: text.to_owned().into() });
        self.drain()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not a phone's business")]
    fn drain(&mut self) -> Vec<Message> {
        let mut answers = Vec::new();
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit { bytes, .. } => answers.extend(Message::parse(bytes).ok()),
                Output::StationNews(news) => self.news.push(news),
                Output::Stranger { .. } => self.strangers += 1,
                Output::Explanation(explanation) => self.explanations.push(*explanation),
                _ => {}
            }
        }
        answers
    }

    fn request(&mut self, method: &str, user: &str, fields: &str) -> String {
        self.cseq += 1;
        let cseq = self.cseq;
        format!(
            "{method} sip:c14.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK{cseq}\r\n\
             From: <sip:{user}@c14.example>;tag=a\r\nTo: <sip:{user}@c14.example>\r\nCall-ID: one-{user}\r\n\
             CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:{user}@10.0.0.9:5060>\r\n{fields}\
             Content-Length: 0\r\n\r\n"
        )
    }

    /// Registers as phones do: once without, once with the answer to the challenge. Gives both answers.
    fn register(&mut self, from: &str, user: &str, password: &str) -> (Message, Message) {
        let asked = self.request("REGISTER", user, "");
        let challenge = self.send(from, &asked).remove(0);
        let credentials = credentials(user, password);
        let proofs = digest::answers(&challenge, &credentials, "REGISTER", "sip:c14.example", 1, "c");
        let fields: String =
            proofs.iter().map(|header| format!("{}: {}\r\n", header.name, header.value)).collect();
        let asked = self.request("REGISTER", user, &fields);
        let answer = self.send(from, &asked).remove(0);
        (challenge, answer)
    }

    fn pass(&mut self, seconds: u64) {
        self.now.instant += Duration::from_secs(seconds);
        self.now.wall += SignedDuration::from_secs(i64::try_from(seconds).unwrap());
        self.engine.handle(self.now, Input::Timeout);
        self.drain();
    }
}

fn credentials(user: &str, password: &str) -> Credentials {
    let secret = Secret::Password(password.into());
    Credentials { username: user.into(), secret, least: digest::Algorithm::Md5 }
}

fn challenges(message: &Message) -> Vec<String> {
    let all = digest::Challenge::all(message, false);
    all.into_iter().map(|challenge| format!("{} {}", challenge.realm, challenge.algorithm.as_str())).collect()
}

#[test]
fn a_phone_that_knows_its_password_registers() {
    let mut desk = Desk::new();
    let (challenge, answer) = desk.register(HOME, "ada-desk", "made-up");
    assert_eq!((challenge.code(), answer.code()), (401, 200));
    assert_eq!(challenges(&challenge), ["c14.example SHA-256", "c14.example MD5"]);
    let station = call::registrar::StationId { agent: AgentId::new("acme", "ada"), station: "desk".into() };
    assert_eq!(desk.news, [StationNews::Came(station.clone())]);
    desk.pass(3_601);
    assert_eq!(desk.news[1..], [StationNews::Went(station)]);
    assert_eq!(desk.register(HOME, "ada-hash", "made-up-2").1.code(), 200);
}

#[test]
fn nobody_learns_which_phones_there_are() {
    let mut desk = Desk::new();
    let mut heard = Vec::new();
    for (user, password) in [("ada-desk", "wrong"), ("nobody", "made-up"), ("ada-new", "made-up")] {
        let (_, answer) = desk.register(HOME, user, password);
        let text = String::from_utf8_lossy(answer.bytes()).into_owned();
        let kept: Vec<&str> =
            text.lines().filter(|line| line.starts_with("SIP/2.0") || line.starts_with("Server")).collect();
        heard.push((kept.join(" "), challenges(&answer), text.contains("stale=true")));
    }
    assert!(heard.iter().all(|answer| *answer == heard[0]), "{heard:#?}");
    // Whoever looks after the platform does learn that a Secret lacks a value.
    let told = desk.news.iter().filter(|news| matches!(news, StationNews::Told { is_bad: true, .. }));
    assert_eq!(told.count(), 1);
    // A password of one's own is no right to another's address of record.
    let asked = desk.request("REGISTER", "ada-hash", "");
    let challenge = desk.send(HOME, &asked).remove(0);
    let credentials = credentials("ada-desk", "made-up");
    let proof = digest::answers(&challenge, &credentials, "REGISTER", "sip:c14.example", 1, "c").remove(0);
    let asked = desk.request("REGISTER", "ada-hash", &format!("Authorization: {}\r\n", proof.value));
    assert_eq!(desk.send(HOME, &asked)[0].code(), 401);
}

#[test]
fn an_answer_is_good_once_and_for_half_a_minute() {
    let mut desk = Desk::new();
    let asked = desk.request("REGISTER", "ada-desk", "");
    let challenge = desk.send(HOME, &asked).remove(0);
    let credentials = credentials("ada-desk", "made-up");
    let proof = digest::answers(&challenge, &credentials, "REGISTER", "sip:c14.example", 1, "c").remove(0);
    let fields = format!("Authorization: {}\r\n", proof.value);
    let good = desk.request("REGISTER", "ada-desk", &fields);
    // From another address the nonce is nobody's.
    let elsewhere = good.replace("branch=z9hG4bK", "branch=z9hG4bKx").replace("Call-ID: one", "Call-ID: two");
    assert_eq!(desk.send("203.0.113.8:40000", &elsewhere)[0].code(), 401);
    assert_eq!(desk.send(HOME, &good)[0].code(), 200);
    let again = desk.request("REGISTER", "ada-desk", &fields);
    let answer = desk.send(HOME, &again).remove(0);
    assert_eq!(answer.code(), 401);
    assert!(digest::Challenge::all(&answer, false).iter().all(|challenge| challenge.stale));
}

#[test]
fn a_stranger_hears_challenges_and_nothing_else() {
    let mut desk = Desk::new();
    for method in ["OPTIONS", "MESSAGE", "SUBSCRIBE", "INFO", "BYE", "NOTIFY"] {
        let asked = desk.request(method, "ada-desk", "");
        assert_eq!(desk.send(HOME, &asked).len(), 0, "{method}");
    }
    for junk in ["", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "OPTIONS sip:x SIP/2.0\r\n\r\n", "\0\0\0\0"] {
        assert_eq!(desk.send(HOME, junk).len(), 0, "{junk:?}");
    }
    assert!(desk.strangers >= 6);
    let asked = desk.request("INVITE", "ada-desk", "");
    let answers = desk.send(HOME, &asked);
    assert_eq!(answers.last().map(Message::code), Some(401));
    // A phone that has registered may ask what it likes.
    desk.register(HOME, "ada-desk", "made-up");
    let asked = desk.request("OPTIONS", "ada-desk", "");
    assert_eq!(desk.send(HOME, &asked)[0].code(), 200);
}

#[test]
fn who_guesses_is_banned_and_whoever_is_named_is_not() {
    let mut desk = Desk::new();
    // A flood in the name of a phone's address proves nothing.
    for _ in 0..100 {
        let asked = desk.request("REGISTER", "ada-desk", "Authorization: Digest username=\"ada-desk\", realm=\"c14.example\", nonce=\"made-up\", uri=\"sip:c14.example\", response=\"00000000000000000000000000000000\"\r\n");
        assert_eq!(desk.send(HOME, &asked)[0].code(), 401);
    }
    assert_eq!(desk.register(HOME, "ada-desk", "made-up").1.code(), 200);
    desk.news.clear();
    let guesser = "203.0.113.9:40000";
    for guess in 0..call::bans::FAILURES_MAX {
        assert_eq!(desk.register(guesser, "ada-desk", &format!("guess-{guess}")).1.code(), 401);
    }
    let address = "203.0.113.9".parse().unwrap();
    let until = desk.now.wall + SignedDuration::from_mins(10);
    assert_eq!(desk.news, [StationNews::Banned { address, until }]);
    let asked = desk.request("REGISTER", "ada-desk", "");
    assert_eq!(desk.send(guesser, &asked).len(), 0);
    desk.engine.handle(desk.now, Input::Lift { address });
    desk.drain();
    let asked = desk.request("REGISTER", "ada-desk", "");
    assert_eq!(desk.send(guesser, &asked)[0].code(), 401);
    // The carrier's own address is never banned, whoever sits behind it.
    desk.news.clear();
    for guess in 0..2 * call::bans::FAILURES_MAX {
        desk.register("192.0.2.1:40000", "ada-desk", &format!("guess-{guess}"));
    }
    assert_eq!(desk.news, []);
}

#[test]
fn a_source_that_floods_is_not_read_and_nobody_else_suffers() {
    let mut desk = Desk::new();
    let asked = desk.request("REGISTER", "ada-desk", "");
    let flood = "203.0.113.66:40000";
    let answered =
        (0..3 * call::rates::OF_AGENTS.burst).filter(|_| !desk.send(flood, &asked).is_empty()).count();
    assert_eq!(answered as u32, call::rates::OF_AGENTS.burst);
    assert_eq!(desk.register(HOME, "ada-desk", "made-up").1.code(), 200);
    desk.pass(10);
    let asked = desk.request("REGISTER", "ada-desk", "");
    assert_eq!(desk.send(flood, &asked)[0].code(), 401);
}

#[test]
fn a_phone_that_is_configured_no_more_is_gone_and_the_others_stay() {
    let mut desk = Desk::new();
    desk.register(HOME, "ada-desk", "made-up");
    desk.register(HOME, "ada-hash", "made-up-2");
    desk.news.clear();
    let mut next = (*desk.engine.world().snapshot).clone();
    let ada = AgentId::new("acme", "ada");
    next.centre.agents.insert(ada.clone(), agent(vec![station("hash", "ada-hash")]));
    desk.engine.apply(next.into()).unwrap();
    desk.pass(1);
    let gone = call::registrar::StationId { agent: ada, station: "desk".into() };
    assert_eq!(desk.news, [StationNews::Went(gone)]);
}

#[test]
fn peers_that_probe_are_told_of_a_drain() {
    let mut desk = Desk::new();
    desk.register(HOME, "ada-desk", "made-up");
    for (draining, code) in [(false, 200), (true, 503)] {
        if draining {
            desk.engine.handle(desk.now, Input::Drain);
        }
        let asked = desk.request("OPTIONS", "ada-desk", "");
        assert_eq!(desk.send(HOME, &asked)[0].code(), code);
    }
}
