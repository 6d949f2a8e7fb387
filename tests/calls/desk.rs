//! Agents sign in, wait for contacts, and are rung: over HTTP, the desk's socket, and the telephones.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, SaltString},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message, WebSocket, client, http::Uri};

use crate::{
    agents::{Agent, SPEECH_SECONDS, assert_hears},
    audio::{likeness, share, tone},
    callee::{Callee, Stream},
    harness::{PATIENCE, Setup, System, wait_until, with_prepared},
    phone::{self, Phone},
    stations::gateway,
};

/// What everybody says, in Hz.
pub const ADA: f64 = 550.0;
const BOB: f64 = 850.0;
const CONTACT: f64 = 1_250.0;

pub const PASSWORD: &str = "correct horse";

pub fn prepare(system: &System) {
    let port = listener(system).port();
    let row =
        format!("  - {{name: phones, transport: UDP, port: {port}, network: loopback, serves: Agents}}\n");
    system.edit("platform.yaml", "  media:\n", &(row + "  media:\n"));
    system.edit("tenant.yaml", "  languages: [en-US]\n", "  languages: [en-US]\n  skills: [{name: sales}]\n");
    system.edit("numbers.yaml", "flowRef: {name: greet}", "flowRef: {name: floor}");
    system.edit(
        "platform.yaml",
        "  drainSeconds: 1\n",
        "  drainSeconds: 1\n  domains: [c14.example]\n  digestAlgorithms: [MD5]\n",
    );
    let hash = hash();
    fs::write(
        system.manifest("floor.yaml"),
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: people, namespace: acme, labels: {{switchboard.dev/use: \"true\"}}}}
stringData: {{phone: made-up, password: '{hash}'}}
---
apiVersion: switchboard.dev/v1alpha1
kind: Agent
metadata: {{name: ada, namespace: acme}}
spec:
  displayName: Ada Lopez
  skills: [{{name: sales, level: 9}}]
  signIn: {{secretRef: {{name: people, key: password}}}}
  stations:
  - {{name: desk, sip: {{username: ada-desk, secretRef: {{name: people, key: phone}}}}}}
---
apiVersion: switchboard.dev/v1alpha1
kind: Agent
metadata: {{name: bob, namespace: acme}}
spec:
  displayName: Bob Miller
  skills: [{{name: sales, level: 2}}]
  signIn: {{secretRef: {{name: people, key: password}}}}
  stations:
  - {{name: desk, sip: {{username: bob-desk, secretRef: {{name: people, key: phone}}}}}}
---
apiVersion: switchboard.dev/v1alpha1
kind: Queue
metadata: {{name: sales, namespace: acme}}
spec:
  skills: [{{name: sales, minimum: 5, relax: [{{afterSeconds: 2, minimum: 1}}]}}]
  ringSeconds: 5
  wrapUpSeconds: 60
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {{name: floor, namespace: acme}}
spec:
  onError: nobody
  steps:
  - name: wait
    queue: {{ref: sales, timedOut: nobody, full: nobody, noAgents: nobody}}
  - name: nobody
    hangup: {{}}
"
        ),
    )
    .unwrap();
}

/// Argon2id with little memory, so that a test need not wait.
pub fn hash() -> String {
    let few = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(256, 1, 1, None).unwrap());
    let salt = SaltString::encode_b64(b"made-up for this").unwrap();
    few.hash_password(PASSWORD.as_bytes(), &salt).unwrap().to_string()
}

pub fn listener(system: &System) -> SocketAddr {
    SocketAddr::new(system.sip.ip(), system.own_port(2))
}

/// Sends a request with a body, and gives status and answer.
pub fn request(server: SocketAddr, method: &str, (bearer, body): (&str, &str)) -> (u16, Value) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /api/v1/sessions HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn sign_in(system: &System, agent: &str, password: &str) -> (u16, Value) {
    request(system.http, "POST", ("", &json!({"agent": agent, "password": password}).to_string()))
}

pub fn token(system: &System, agent: &str) -> String {
    let (status, session) = sign_in(system, agent, PASSWORD);
    assert_eq!(status, 201, "{session}");
    session["token"].as_str().unwrap().to_owned()
}

#[derive(Debug)]
pub struct Desk {
    socket: WebSocket<TcpStream>,
}

impl Desk {
    pub fn open(system: &System, token: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(system.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let uri: Uri = format!("ws://{}/api/v1/desk", system.http).parse().unwrap();
        let request = ClientRequestBuilder::new(uri)
            .with_sub_protocol("switchboard.desk.v1")
            .with_sub_protocol(format!("bearer.{token}"));
        let (socket, _) = client(request, stream).map_err(|error| error.to_string())?;
        Ok(Self { socket })
    }

    pub fn of(system: &System, agent: &str) -> Self {
        let mut desk = Self::open(system, &token(system, agent)).unwrap();
        assert_eq!(desk.hear("welcome")["agent"], agent);
        desk
    }

    pub fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message of a type; others are passed over.
    pub fn hear(&mut self, wanted: &str) -> Value {
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] == wanted {
                return message;
            }
        }
    }

    pub fn state(&mut self, wanted: &str) -> Value {
        loop {
            let state = self.hear("state");
            if state["state"] == wanted {
                return state;
            }
        }
    }
}

/// A phone of an agent that answers at once.
pub fn agent_phone(system: &System, name: &str, note: f64) -> Agent {
    let account = format!(
        "<sip:{name}-desk@{}>;auth_user={name}-desk;auth_pass=made-up;regint=60;answermode=auto;audio_codecs=pcmu\n",
        listener(system)
    );
    let phone =
        Agent::with_account(system, system.peer_port(), &tone(note, SPEECH_SECONDS), (&account, None));
    wait_until("the phone is registered", || {
        system.get("/api/v1/registrations").contains(&format!("acme/{name}"))
    });
    phone
}

pub fn contact(system: &System) -> Agent {
    Agent::start(system, system.peer_port(), "pcmu", &tone(CONTACT, SPEECH_SECONDS), Some("+18005550100"))
}

#[test]
fn the_agent_who_knows_best_is_rung_and_the_desk_tells_it_all() {
    with_prepared(&Setup::default(), prepare, |system| {
        let (ada_phone, _bob_phone) = (agent_phone(system, "ada", ADA), agent_phone(system, "bob", BOB));
        let (mut ada, mut bob) = (Desk::of(system, "acme/ada"), Desk::of(system, "acme/bob"));
        for desk in [&mut ada, &mut bob] {
            desk.say(json!({"type": "ready"}));
            desk.state("Available");
        }
        let caller = contact(system);
        let offer = ada.hear("offer");
        assert_eq!(offer["queue"], "acme/sales");
        assert_eq!(offer["dialled"], "+18005550100");
        ada.state("Busy");
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(3));
        let queue = || -> Value {
            let queues: Value = serde_json::from_str(&system.get("/api/v1/queues?tenant=acme")).unwrap();
            queues[0].clone()
        };
        wait_until("the queue shows it", || queue()["busy"] == 1 && queue()["available"] == 1);
        assert_eq!((&queue()["total"]["answered"], &queue()["waiting"]), (&json!(1), &json!(0)));
        let heard = caller.heard();
        ada.state("WrapUp");
        ada.say(json!({"type": "finish", "interaction": offer["interaction"]}));
        ada.state("Available");
        assert_hears(&heard, ADA, CONTACT);
        wait_until("the record is there", || !system.records().is_empty());
        let visit = system.records()[0]["queues"][0].clone();
        assert_eq!((&visit["agent"], &visit["outcome"]), (&json!("acme/ada"), &json!("answered")));
        // Ada is away: Bob is good enough after two seconds.
        ada.say(json!({"type": "away", "reason": "Lunch"}));
        assert_eq!(ada.state("Away")["reason"], "Lunch");
        let caller = contact(system);
        assert!(bob.hear("offer")["waitedSeconds"].as_f64().unwrap() >= 2.0);
        let card = bob.hear("contact");
        let known = system.records()[0].clone();
        assert_eq!(card["number"], known["from"]);
        let previous = card["previous"].as_array().unwrap();
        let told: Vec<_> = previous.iter().map(|call| (&call["id"], &call["queues"][0]["agent"])).collect();
        assert_eq!(told, [(&known["id"], &json!("acme/ada"))]);
        bob.state("Busy");
        caller.end();
        bob.state("WrapUp");
        ada_phone.end();
        bob.say(json!({"type": "signOut"}));
    });
}

#[test]
fn a_contact_is_held_and_handed_on_at_the_desk() {
    let with_music = |system: &System| {
        prepare(system);
        system.edit("tenant.yaml", "  languages: [en-US]\n", "  languages: [en-US]\n  music: [one, two]\n");
    };
    with_prepared(&Setup::default(), with_music, |system| {
        let (_ada_phone, bob_phone) = (agent_phone(system, "ada", ADA), agent_phone(system, "bob", BOB));
        let mut ada = Desk::of(system, "acme/ada");
        ada.say(json!({"type": "ready"}));
        ada.state("Available");
        let caller = contact(system);
        let call = ada.hear("call");
        let about = |kind: &str| json!({"type": kind, "interaction": call["interaction"]});
        assert_eq!((&call["onHold"], &call["muted"]), (&json!(false), &json!(false)));
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(2));
        ada.say(about("hold"));
        assert_eq!(ada.hear("call")["onHold"], true);
        thread::sleep(Duration::from_secs(3));
        // A page that was loaded anew finds the call as it is.
        let mut again = Desk::of(system, "acme/ada");
        again.say(about("retrieve"));
        assert_eq!(again.hear("call")["onHold"], false);
        let mut to_herself = about("transfer");
        to_herself["to"] = json!("ada-desk");
        again.say(to_herself);
        assert_eq!(again.hear("error")["message"], "that is you");
        let mut to_bob = about("transfer");
        to_bob["to"] = json!("bob-desk");
        again.say(to_bob);
        assert_eq!(again.hear("callOver")["interaction"], call["interaction"]);
        bob_phone.wait_for("Call established");
        thread::sleep(Duration::from_secs(3));
        let heard = caller.heard();
        let quarter = heard.len() / 4;
        assert!(share(&heard[..quarter], ADA) > 0.5, "first it hears Ada");
        assert!(share(&heard[heard.len() - 8_000..], BOB) > 0.9, "in the end it hears Bob");
        let found = likeness(&system.prompt("one"), &heard[quarter..3 * quarter]);
        assert!(found > 0.9, "it hears the music between: {found:.3}");
        wait_until("the record is there", || !system.records().is_empty());
        again.say(json!({"type": "signOut"}));
    });
}

#[test]
fn a_colleague_is_asked_back_joined_to_the_contact_and_given_it() {
    let with_music = |system: &System| {
        prepare(system);
        system.edit("tenant.yaml", "  languages: [en-US]\n", "  languages: [en-US]\n  music: [one, two]\n");
    };
    with_prepared(&Setup::default(), with_music, |system| {
        let (ada_phone, bob_phone) = (agent_phone(system, "ada", ADA), agent_phone(system, "bob", BOB));
        let (mut ada, mut bob) = (Desk::of(system, "acme/ada"), Desk::of(system, "acme/bob"));
        ada.say(json!({"type": "ready"}));
        ada.state("Available");
        let caller = contact(system);
        let call = ada.hear("call");
        let about = |kind: &str| json!({"type": kind, "interaction": call["interaction"]});
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(2));
        ada.say(json!({"type": "consult", "interaction": call["interaction"], "to": "bob-desk"}));
        let rings = ada.hear("call");
        assert_eq!((&rings["onHold"], &rings["consult"]["to"]), (&json!(true), &json!("bob-desk")));
        while ada.hear("call")["consult"]["state"] != "Talks" {}
        assert_eq!(bob.hear("call")["interaction"], call["interaction"]);
        // The contact is Ada's still.
        bob.say(about("hold"));
        assert!(bob.hear("error")["message"].as_str().unwrap().contains("not yours yet"));
        thread::sleep(Duration::from_secs(4));
        ada.say(about("conference"));
        while ada.hear("call")["consult"]["state"] != "Conference" {}
        thread::sleep(Duration::from_secs(4));
        ada.say(about("complete"));
        assert_eq!(ada.hear("callOver")["interaction"], call["interaction"]);
        ada.state("WrapUp");
        thread::sleep(Duration::from_secs(3));
        let heard = caller.heard();
        let (by_ada, by_bob) = (ada_phone.heard(), bob_phone.heard());
        let second = |heard: &[i16], at: usize| heard[at * 8_000..(at + 2) * 8_000].to_vec();
        // The contact: Ada, then music without Bob, then both, then Bob alone.
        assert!(share(&heard[..8_000], ADA) > 0.5, "first it hears Ada");
        let waits = second(&heard, 3);
        assert!(share(&waits, BOB) < 0.05, "it does not hear Bob while he is asked");
        let found = likeness(&system.prompt("one"), &heard[..6 * 8_000]);
        assert!(found > 0.5, "it hears music meanwhile: {found:.3}");
        let end = &heard[heard.len() - 8_000..];
        assert!(share(end, BOB) > 0.9 && share(end, ADA) < 0.05, "in the end it hears Bob");
        let all = &heard[7 * 8_000..9 * 8_000];
        assert!(
            share(all, ADA) > 0.2 && share(all, BOB) > 0.2,
            "it hears both: {}, {}",
            share(all, ADA),
            share(all, BOB)
        );
        // Ada heard the contact, then Bob alone, then both.
        assert!(share(&second(&by_ada, 3), BOB) > 0.9 && share(&second(&by_ada, 3), CONTACT) < 0.05);
        let all = second(&by_ada, 7);
        assert!(share(&all, BOB) > 0.2 && share(&all, CONTACT) > 0.2, "Ada hears both");
        // Bob heard Ada alone, then both, then the contact.
        assert!(share(&second(&by_bob, 1), ADA) > 0.9 && share(&second(&by_bob, 1), CONTACT) < 0.05);
        assert!(share(&by_bob[by_bob.len() - 8_000..], CONTACT) > 0.9);
        wait_until("the record is there", || !system.records().is_empty());
        ada.say(json!({"type": "signOut"}));
    });
}

#[test]
fn an_agent_dials_at_the_desk_and_the_own_telephone_rings_first() {
    with_prepared(&Setup::default(), prepare, |system| {
        let (ada_phone, bob_phone) = (agent_phone(system, "ada", ADA), agent_phone(system, "bob", BOB));
        let mut ada = Desk::of(system, "acme/ada");
        ada.say(json!({"type": "dial", "to": "bob-desk"}));
        let call = ada.hear("call");
        assert_eq!((&call["number"], &call["rings"]), (&json!("bob-desk"), &json!(true)));
        while ada.hear("call")["rings"] == true {}
        thread::sleep(Duration::from_secs(3));
        ada.say(json!({"type": "hangUp", "interaction": call["interaction"]}));
        ada.hear("callOver");
        assert_hears(&ada_phone.heard(), BOB, ADA);
        assert_hears(&bob_phone.heard(), ADA, BOB);
        wait_until("the record is there", || !system.records().is_empty());
        assert_eq!(system.records()[0]["to"], "bob-desk");
        ada.say(json!({"type": "dial", "to": "ada-desk"}));
        assert!(ada.hear("error")["message"].as_str().unwrap().contains("none of your telephones"));
    });
}

#[test]
fn a_contact_is_called_back_once_an_agent_is_there() {
    let promising = |system: &System| {
        prepare(system);
        let promise = "  - name: promise\n    callback: {queue: sales, keepPlace: true, next: nobody, failed: nobody}\n";
        system.edit("floor.yaml", "noAgents: nobody}\n", &format!("noAgents: promise}}\n{promise}"));
    };
    with_prepared(&Setup::default(), promising, |system| {
        let mut caller = Phone::new(system, phone::CARRIER, "+18005550100");
        caller.call("0 101");
        caller.wait_for_bye();
        assert_eq!(system.path_of_call(1)[..2], ["wait: noAgents", "promise: promised"]);
        let callee = Callee::start(system, gateway(system), "0 101");
        let ada_phone = agent_phone(system, "ada", ADA);
        let mut ada = Desk::of(system, "acme/ada");
        ada.say(json!({"type": "ready"}));
        let offer = ada.hear("offer");
        assert_eq!((&offer["callback"], &offer["queue"]), (&json!(true), &json!("acme/sales")));
        let mut said = Stream::new(&callee.rtp, callee.audio(), 7);
        said.say(&tone(CONTACT, 3.0));
        let invite = callee.requests("INVITE")[0].clone();
        assert!(invite.header("From").unwrap().contains("+18005550100"), "{}", invite.text);
        ada.say(json!({"type": "hangUp", "interaction": offer["interaction"]}));
        ada.state("WrapUp");
        wait_until("the contact is let go", || !callee.requests("BYE").is_empty());
        assert_hears(&ada_phone.heard(), CONTACT, ADA);
        assert!(share(&callee.rtp.samples(), ADA) > 0.5, "the contact hears Ada");
        wait_until("both records are there", || system.records().len() == 2);
        let records = system.records();
        let back = records.iter().find(|record| record["partOf"].is_string()).unwrap();
        assert_eq!(back["from"], "+18005550100");
        ada.say(json!({"type": "signOut"}));
    });
}

/// Sue listens to whoever serves sales.
fn with_a_supervisor(system: &System) {
    prepare(system);
    let sue = "kind: Agent
metadata: {name: sue, namespace: acme}
spec:
  displayName: Sue Park
  supervises: {queues: [sales]}
  signIn: {secretRef: {name: people, key: password}}
  stations:
  - {name: desk, sip: {username: sue-desk, secretRef: {name: people, key: phone}}}
---
apiVersion: switchboard.dev/v1alpha1
kind: Queue
";
    system.edit("floor.yaml", "kind: Queue\n", sue);
}

/// Of each second of what was heard, whose notes were in it.
fn by_seconds(heard: &[i16], notes: &[(char, f64)]) -> Vec<String> {
    let whose = |second: &[i16]| -> String {
        notes.iter().filter(|(_, note)| share(second, *note) > 0.2).map(|(who, _)| *who).collect()
    };
    heard.chunks_exact(8_000).map(whose).collect()
}

/// The same with equal seconds told once, and how many there were.
fn told_once(seconds: &[String]) -> Vec<(String, usize)> {
    let mut told: Vec<(String, usize)> = Vec::new();
    for second in seconds {
        match told.last_mut().filter(|(last, _)| last == second) {
            Some((_, count)) => *count += 1,
            None => told.push((second.clone(), 1)),
        }
    }
    told
}

#[test]
fn a_supervisor_listens_whispers_and_barges_in_and_is_heard_by_whom_it_may() {
    const SUE: f64 = 2_100.0;
    const NOTES: [(char, f64); 3] = [('a', ADA), ('c', CONTACT), ('s', SUE)];
    with_prepared(&Setup::default(), with_a_supervisor, |system| {
        let (ada_phone, sue_phone) = (agent_phone(system, "ada", ADA), agent_phone(system, "sue", SUE));
        let (mut ada, mut sue) = (Desk::of(system, "acme/ada"), Desk::of(system, "acme/sue"));
        ada.say(json!({"type": "ready"}));
        ada.state("Available");
        let caller = contact(system);
        let call = ada.hear("call");
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(2));
        sue.say(json!({"type": "conversations"}));
        let told = sue.hear("conversations")["conversations"].clone();
        let told: Vec<_> = told.as_array().unwrap().iter().map(|it| (&it["agent"], &it["queue"])).collect();
        assert_eq!(told, [(&json!("acme/ada"), &json!("acme/sales"))]);
        let supervise = |mode: &str| json!({"type": "supervise", "agent": "ada", "mode": mode});
        sue.say(supervise("Monitor"));
        let rings = sue.hear("call");
        assert_eq!(rings["supervision"], json!({"agent": "acme/ada", "mode": "Monitor"}));
        assert_eq!(rings["interaction"], call["interaction"]);
        while sue.hear("call")["rings"] == true {}
        thread::sleep(Duration::from_secs(4));
        sue.say(supervise("Whisper"));
        assert_eq!(sue.hear("call")["supervision"]["mode"], "Whisper");
        thread::sleep(Duration::from_secs(4));
        sue.say(supervise("Barge"));
        assert_eq!(sue.hear("call")["supervision"]["mode"], "Barge");
        thread::sleep(Duration::from_secs(4));
        sue.say(json!({"type": "hangUp", "interaction": call["interaction"]}));
        sue.hear("callOver");
        sue.state("Away");
        thread::sleep(Duration::from_secs(3));
        let metrics = system.get("/metrics");
        let mixed =
            metrics.lines().filter(|line| line.starts_with("switchboard_media_worker_sessions_mixed{"));
        let mixed: Vec<&str> = mixed.filter(|line| !line.ends_with(" 0")).collect();
        assert!(mixed.is_empty(), "relayed as before: {mixed:?}");
        let (by_contact, by_ada, by_sue) = (caller.heard(), ada_phone.heard(), sue_phone.heard());
        let [contact, agent, supervisor] =
            [&by_contact, &by_ada, &by_sue].map(|heard| by_seconds(heard, &NOTES));
        // The contact hears Ada, and Sue while she barges in; not even a second is without Ada.
        let told = told_once(&contact);
        let whom: Vec<&str> = told.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(whom, ["a", "as", "a"], "{told:?}");
        assert!(told[0].1 >= 9 && (3..=6).contains(&told[1].1) && told[2].1 >= 2, "{told:?}");
        let told = told_once(&agent);
        let whom: Vec<&str> = told.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(whom, ["c", "cs", "c"], "{told:?}");
        assert!(told[0].1 >= 5 && (7..=10).contains(&told[1].1) && told[2].1 >= 2, "{told:?}");
        let both = supervisor.iter().filter(|who| *who == "ac").count();
        assert!(both >= 11 && supervisor.iter().all(|who| !who.contains('s')), "{supervisor:?}");
        wait_until("the record is there", || !system.records().is_empty());
        let listened = system.records()[0]["supervisions"].clone();
        let modes: Vec<_> =
            listened.as_array().unwrap().iter().map(|it| (&it["supervisor"], &it["mode"])).collect();
        let sue = json!("acme/sue");
        assert_eq!(modes, [(&sue, &json!("Monitor")), (&sue, &json!("Whisper")), (&sue, &json!("Barge"))]);
        assert!(listened[2]["endedAt"].is_string(), "{listened}");
        ada.say(json!({"type": "signOut"}));
    });
}

#[test]
fn a_telephone_that_is_kept_up_is_rung_once_and_hears_each_contact_announced() {
    let kept = |system: &System| {
        prepare(system);
        system.edit(
            "floor.yaml",
            "  - {name: desk, sip: {username: ada-desk, secretRef: {name: people, key: phone}}}\n",
            "  - {name: desk, leg: Persistent, sip: {username: ada-desk, secretRef: {name: people, key: phone}}}\n",
        );
        system.edit("floor.yaml", "  wrapUpSeconds: 60\n", "  wrapUpSeconds: 1\n");
    };
    with_prepared(&Setup::default(), kept, |system| {
        let ada_phone = agent_phone(system, "ada", ADA);
        let mut ada = Desk::of(system, "acme/ada");
        ada.say(json!({"type": "ready"}));
        ada.state("Available");
        ada_phone.wait_for("Call established");
        for _ in 0..2 {
            let caller = contact(system);
            let offer = ada.hear("offer");
            assert_eq!(offer["queue"], "acme/sales");
            ada.state("Busy");
            thread::sleep(Duration::from_secs(4));
            let heard = caller.heard();
            assert!(share(&heard[heard.len() - 8_000..], ADA) > 0.9, "the contact hears Ada");
            ada.state("Available");
        }
        ada.say(json!({"type": "signOut"}));
        ada_phone.wait_for("terminated");
        let heard = ada_phone.heard();
        let notes = by_seconds(&heard, &[('c', CONTACT), ('b', 1_000.0)]);
        let told = told_once(&notes);
        let contacts = told.iter().filter(|(who, seconds)| who == "c" && *seconds >= 2).count();
        assert_eq!(contacts, 2, "both contacts on one call: {told:?}");
        wait_until("the records are there", || system.records().len() == 3);
    });
}

#[test]
fn what_a_supervisor_may_not_hear_is_as_what_there_is_not() {
    with_prepared(&Setup::default(), with_a_supervisor, |system| {
        let mut sue = Desk::of(system, "acme/sue");
        let mut bob = Desk::of(system, "acme/bob");
        let told = |desk: &mut Desk, message: Value| {
            desk.say(message);
            desk.hear("error")["message"].as_str().unwrap().to_owned()
        };
        let nothing = "there is no such conversation that you may listen to";
        let of_ada = json!({"type": "supervise", "agent": "acme/ada", "mode": "Monitor"});
        assert_eq!(told(&mut sue, of_ada.clone()), nothing);
        assert_eq!(told(&mut bob, of_ada), nothing);
        let both = json!({"type": "supervise", "agent": "ada", "interaction": "1", "mode": "Monitor"});
        assert!(told(&mut sue, both).starts_with("one of `agent`"));
        let loud = json!({"type": "supervise", "agent": "ada", "mode": "Loud"});
        assert!(told(&mut sue, loud).contains("`Loud`"));
        bob.say(json!({"type": "conversations"}));
        assert_eq!(bob.hear("conversations")["conversations"], json!([]));
        sue.say(json!({"type": "signOut"}));
    });
}

#[test]
fn only_who_knows_the_password_has_a_desk_and_one_at_a_time() {
    with_prepared(&Setup::default(), prepare, |system| {
        let wrong = sign_in(system, "acme/ada", "wrong");
        assert_eq!(wrong.0, 401);
        assert_eq!(
            sign_in(system, "acme/nobody", PASSWORD),
            wrong,
            "whether there is such an agent is not told"
        );
        assert_eq!(request(system.http, "POST", ("", "{\"agent\": 3}")).0, 422);
        assert!(Desk::open(system, "made-up").unwrap_err().contains("401"));
        let first = token(system, "acme/ada");
        let mut one = Desk::open(system, &first).unwrap();
        assert_eq!(one.hear("welcome")["version"], 1);
        one.say(json!({"type": "dance"}));
        assert!(one.hear("error")["message"].as_str().unwrap().contains("dance"));
        one.say(json!({"type": "finish", "interaction": "no number"}));
        assert!(one.hear("error")["message"].as_str().unwrap().contains("no number"));
        let mut two = Desk::open(system, &first).unwrap();
        two.hear("welcome");
        one.hear("replaced");
        assert_eq!(request(system.http, "DELETE", (&first, "")).0, 204);
        assert_eq!(request(system.http, "DELETE", (&first, "")).0, 401);
        two.state("SignedOut");
        assert!(Desk::open(system, &first).unwrap_err().contains("401"));
        // Who guesses is not listened to for a while.
        for _ in 0..4 {
            assert_eq!(sign_in(system, "acme/ada", "wrong").0, 401);
        }
        assert_eq!(sign_in(system, "acme/ada", PASSWORD).0, 429);
        assert!(!system.log().contains(PASSWORD) && !system.log().contains(&first));
    });
}

#[test]
fn the_tenant_says_who_may_sign_in_and_for_how_long() {
    with_prepared(&Setup::default(), prepare, |system| {
        let before = token(system, "acme/ada");
        let sales = "  skills: [{name: sales}]\n";
        let short = format!("{sales}  signIn: {{sessionSeconds: 300}}\n");
        system.edit("tenant.yaml", sales, &short);
        let seconds = || sign_in(system, "acme/ada", PASSWORD).1["expiresInSeconds"].as_u64();
        wait_until("a session lasts as long as the tenant says", || seconds() == Some(300));
        let provider = "{issuer: https://login.example.com, clientId: us}";
        let none = format!("{sales}  signIn: {{passwords: Refused, openIdConnect: {provider}}}\n");
        system.edit("tenant.yaml", &short, &none);
        wait_until("no password is taken", || sign_in(system, "acme/ada", PASSWORD).0 == 401);
        // Nor is a session that was begun with one.
        wait_until("who was there is gone", || request(system.http, "DELETE", (&before, "")).0 == 401);
    });
}
