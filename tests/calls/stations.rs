//! Agents' phones that dial, call for help and hand on: baresip, sipp, and one of our own.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use sip::digest::{self, Credentials, Secret};

use crate::{
    agents::{Agent, SPEECH_SECONDS, assert_hears},
    audio::{share, tone},
    callee::{Callee, Stream},
    harness::{PATIENCE, Setup, System, wait_until, with_prepared},
    phone::{self, Message, Phone},
    sipp::{Run, Sipp, scenario},
};

/// What everybody says, in Hz.
const ADA: f64 = 550.0;
pub const BOB: f64 = 850.0;
const CARRIER: f64 = 1_250.0;

/// Ada and Bob with a phone each; the carrier takes calls, and calls for help.
pub fn prepare(system: &System) {
    let port = listener(system).port();
    let rows = ["UDP", "TCP"].map(|transport| {
        let name = transport.to_lowercase();
        format!("  - {{name: phones-{name}, transport: {transport}, port: {port}, network: loopback, serves: Agents}}\n")
    });
    system.edit("platform.yaml", "  media:\n", &(rows.concat() + "  media:\n"));
    system.edit(
        "platform.yaml",
        "  drainSeconds: 1\n",
        "  drainSeconds: 1\n  domains: [c14.example]\n  digestAlgorithms: [MD5]\n",
    );
    system.edit(
        "platform.yaml",
        "  limits: {calls: 300}\n",
        "  limits: {calls: 300}\n  emergency: Accepted\n",
    );
    fs::write(
        system.manifest("agents.yaml"),
        "apiVersion: v1
kind: Secret
metadata: {name: phones, namespace: acme, labels: {switchboard.dev/use: \"true\"}}
stringData: {ada: made-up, bob: made-up}
---
apiVersion: switchboard.dev/v1alpha1
kind: Agent
metadata: {name: ada, namespace: acme}
spec:
  displayName: Ada Lopez
  outboundNumber: \"+18005550103\"
  stations:
  - name: desk
    sip: {username: ada-desk, secretRef: {name: phones, key: ada}}
    emergencyLocation: {country: US, region: NY, city: New York, street: 1 Example Street, room: Desk 4}
---
apiVersion: switchboard.dev/v1alpha1
kind: Agent
metadata: {name: bob, namespace: acme}
spec:
  displayName: Bob Miller
  stations:
  - {name: desk, sip: {username: bob-desk, secretRef: {name: phones, key: bob}}}
",
    )
    .unwrap();
}

pub fn listener(system: &System) -> SocketAddr {
    // The carrier's baresip takes the port above its own as well.
    SocketAddr::new(system.sip.ip(), system.own_port(2))
}

pub fn gateway(system: &System) -> u16 {
    system.block + 4
}

/// The carrier, who answers at this number.
fn carrier(system: &System) -> Agent {
    let port = gateway(system);
    let account = format!("<sip:+12125550177@127.0.0.1:{port}>;regint=0;answermode=auto;audio_codecs=pcmu\n");
    Agent::with_account(system, port, &tone(CARRIER, SPEECH_SECONDS), (&account, None))
}

/// A phone that has registered, answers, and calls `uri`.
pub fn phone(system: &System, user: &str, note: f64, (transport, uri): (&str, Option<&str>)) -> Agent {
    let account = format!(
        "<sip:{user}@{}{transport}>;auth_user={user};auth_pass=made-up;regint=60;answermode=auto;audio_codecs=pcmu\n",
        listener(system)
    );
    let agent = Agent::with_account(system, system.peer_port(), &tone(note, SPEECH_SECONDS), (&account, uri));
    let name = user.trim_end_matches("-desk").to_owned();
    wait_until("the phone is registered", || {
        system.get("/api/v1/registrations").contains(&format!("acme/{name}"))
    });
    agent
}

#[test]
fn a_phone_and_the_carriers_callee_hear_each_other() {
    with_prepared(&Setup::default(), prepare, |system| {
        let callee = carrier(system);
        let uri = format!("sip:2125550177@{}", listener(system));
        let caller = phone(system, "ada-desk", ADA, ("", Some(&uri)));
        callee.wait_for("Call established");
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(4));
        assert_eq!(system.metric("switchboard_calls"), 1);
        assert_eq!(system.metric("switchboard_calls_placed_total"), 1);
        let by_caller = caller.heard();
        callee.wait_for("terminated");
        assert_hears(&callee.heard(), ADA, CARRIER);
        assert_hears(&by_caller, CARRIER, ADA);
        wait_until("the record is there", || !system.records().is_empty());
        let record = system.records().remove(0);
        assert_eq!(record["from"], "+18005550103");
        assert_eq!(record["station"]["station"], "desk");
    });
}

#[test]
fn a_phone_calls_a_colleague() {
    with_prepared(&Setup::default(), prepare, |system| {
        // Bob's phone is reached by the connection that it has opened, and by no other.
        let callee = phone(system, "bob-desk", BOB, (";transport=tcp", None));
        let uri = format!("sip:bob@{}", listener(system));
        let caller = phone(system, "ada-desk", ADA, ("", Some(&uri)));
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(4));
        let by_caller = caller.heard();
        callee.wait_for("terminated");
        assert_hears(&callee.heard(), ADA, BOB);
        assert_hears(&by_caller, BOB, ADA);
    });
}

#[test]
fn help_is_called_with_the_place_of_the_phone() {
    with_prepared(&Setup::default(), prepare, |system| {
        let carrier = Sipp::start(
            system,
            &Run { scenario: scenario!("carrier-answers"), port: Some(gateway(system)), ..Run::default() },
        );
        let station = Sipp::start(
            system,
            &Run {
                scenario: scenario!("station-calls"),
                number: "933",
                server: Some(listener(system)),
                ..Run::default()
            },
        );
        station.wait();
        carrier.wait();
        let seen = carrier.messages();
        for line in [
            "INVITE sip:933@127.0.0.1",
            "P-Asserted-Identity: <sip:+18005550103@127.0.0.1",
            "Geolocation: <cid:location@127.0.0.1>",
            "Geolocation-Routing: yes",
            "Content-Type: multipart/mixed;boundary=",
            "Content-Type: application/sdp",
            "Content-Type: application/pidf+xml",
            "Content-ID: <location@127.0.0.1>",
            "entity=\"sip:+18005550103@127.0.0.1\"",
            "<ca:country>US</ca:country><ca:A1>NY</ca:A1><ca:A3>New York</ca:A3><ca:RD>Example Street</ca:RD><ca:HNO>1</ca:HNO><ca:LOC>Desk 4</ca:LOC>",
        ] {
            assert!(seen.contains(line), "{line} is not in {seen}");
        }
        assert_eq!(system.metric("switchboard_emergency_calls_total"), 1);
        system.wait_for_log("desk of Agent acme/ada calls 933 for help");
    });
}

#[test]
fn a_callee_is_handed_on_by_a_phone_that_hangs_up_at_once() {
    with_prepared(&Setup::default(), prepare, |system| {
        let callee = carrier(system);
        let bob = phone(system, "bob-desk", BOB, ("", None));
        let ada = Sipp::start(
            system,
            &Run {
                scenario: scenario!("station-refers"),
                number: "+12125550177",
                server: Some(listener(system)),
                ..Run::default()
            },
        );
        bob.wait_for("Call established");
        ada.wait();
        assert!(
            ada.messages().contains("SIP/2.0 200 OK\r\n\r\n") || ada.messages().contains("message/sipfrag")
        );
        thread::sleep(Duration::from_secs(4));
        let by_bob = bob.heard();
        callee.wait_for("terminated");
        assert_hears(&by_bob, CARRIER, BOB);
        let by_callee = callee.heard();
        assert_hears(&by_callee[by_callee.len().saturating_sub(24_000)..], BOB, CARRIER);
    });
}

/// A call of a desk phone, message by message.
pub struct Desk {
    socket: UdpSocket,
    server: SocketAddr,
    call_id: String,
    to: String,
    target: String,
    cseq: u32,
}

impl Desk {
    pub fn new(system: &System, name: &str, dialled: &str) -> Self {
        let (server, socket) = (listener(system), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let target = format!("sip:{dialled}@{server}");
        Self { socket, server, call_id: name.into(), to: format!("<{target}>"), target, cseq: 0 }
    }

    fn send(&self, method: &str, cseq: u32, headers: &str, body: &str) {
        let (local, id) = (self.socket.local_addr().unwrap(), &self.call_id);
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{id}{cseq}{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:ada-desk@c14.example>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:ada-desk@{local}>\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
            target = self.target,
            to = self.to,
            length = body.len()
        );
        self.socket.send_to(text.as_bytes(), self.server).unwrap();
    }

    pub fn request(&mut self, method: &str, headers: &str, body: &str) -> Message {
        self.cseq += 1;
        self.send(method, self.cseq, headers, body);
        let wanted = format!("{} {method}", self.cseq);
        let mut buffer = [0; 65_535];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).unwrap();
            let message = Message { text: String::from_utf8_lossy(&buffer[..length]).into_owned() };
            if message.code() >= 200 && message.header("CSeq") == Some(wanted.as_str()) {
                return message;
            }
        }
    }

    pub fn call(&mut self, rtp: u16) -> Message {
        let sdp = format!(
            "v=0\r\no=ada 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {rtp} RTP/AVP 0\r\n"
        );
        let kind = "Content-Type: application/sdp\r\n";
        let challenge = self.request("INVITE", kind, &sdp);
        assert_eq!(challenge.code(), 401, "{}", challenge.text);
        let tagged = std::mem::replace(&mut self.to, challenge.header("To").unwrap().into());
        self.send("ACK", self.cseq, "", "");
        self.to = tagged;
        let parsed = sip::wire::Message::parse(challenge.text.into_bytes().into()).unwrap();
        let secret = Secret::Password("made-up".into());
        let credentials = Credentials { username: "ada-desk".into(), secret, least: digest::Algorithm::Md5 };
        let proof = digest::answers(&parsed, &credentials, "INVITE", &self.target, 1, "c").remove(0);
        let fields = format!("{}: {}\r\n{kind}", proof.name, proof.value);
        let answer = self.request("INVITE", &fields, &sdp);
        assert_eq!(answer.code(), 200, "{}", answer.text);
        self.to = answer.header("To").unwrap().into();
        let contact = answer.header("Contact").unwrap();
        self.target = contact.trim_start_matches('<').split('>').next().unwrap().into();
        self.send("ACK", self.cseq, "", "");
        answer
    }

    /// Without waiting for the answer, as phones do.
    pub fn hang_up(&mut self) {
        self.cseq += 1;
        self.send("BYE", self.cseq, "", "");
    }

    /// Holds, or fetches back.
    pub fn reinvite(&mut self, rtp: u16, direction: &str) -> Message {
        let version = self.cseq;
        let sdp = format!(
            "v=0\r\no=ada 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {rtp} RTP/AVP 0\r\na={direction}\r\n"
        );
        let answer = self.request("INVITE", "Content-Type: application/sdp\r\n", &sdp);
        assert_eq!(answer.code(), 200, "{}", answer.text);
        self.send("ACK", self.cseq, "", "");
        answer
    }

    /// What names its dialog in the Refer-To of another call.
    fn replaces(&self) -> String {
        let theirs = self.to.split("tag=").nth(1).unwrap();
        format!("{0}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{0}", self.call_id)
    }
}

#[test]
fn a_callee_is_handed_on_to_a_colleague_who_was_asked() {
    with_prepared(&Setup::default(), prepare, |system| {
        let callee = carrier(system);
        let bob = phone(system, "bob-desk", BOB, ("", None));
        let mut contact = Desk::new(system, "contact", "+12125550177");
        contact.call(system.peer_port());
        let mut consult = Desk::new(system, "consult", "bob-desk");
        consult.call(system.peer_port());
        bob.wait_for("Call established");
        system.wait_for_metric("switchboard_calls", 2);
        let refer_to =
            format!("Refer-To: <sip:bob-desk@{}?Replaces={}>\r\n", listener(system), consult.replaces());
        let answer = contact.request("REFER", &refer_to, "");
        assert_eq!(answer.code(), 202, "{}", answer.text);
        // It hangs up at once, as many do.
        contact.hang_up();
        consult.hang_up();
        system.wait_for_metric("switchboard_calls", 1);
        thread::sleep(Duration::from_secs(5));
        bob.end();
        callee.wait_for("terminated");
        let heard = callee.heard();
        assert_hears(&heard[heard.len().saturating_sub(24_000)..], BOB, CARRIER);
        wait_until("both records are there", || system.records().len() == 2);
        let consult = system.records().into_iter().find(|record| record["callId"] == "consult").unwrap();
        assert_eq!(consult["partOf"], "contact");
    });
}

#[test]
fn a_mobile_telephone_is_joined_once_a_key_is_pressed_there() {
    let mobile = |system: &System| {
        prepare(system);
        let file = system.manifest("agents.yaml");
        let agents = fs::read_to_string(&file).unwrap();
        let mia = "---
apiVersion: switchboard.dev/v1alpha1
kind: Agent
metadata: {name: mia, namespace: acme}
spec:
  displayName: Mia Moore
  stations:
  - {name: mobile, pstn: {number: \"+12125550177\"}}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: mobile, namespace: acme}
spec:
  onError: nobody
  steps:
  - name: ring
    dial: {to: [{agent: mia}], ringSeconds: 20, next: nobody, busy: nobody, noAnswer: nobody, failed: nobody}
  - name: nobody
    hangup: {}
";
        fs::write(file, agents + mia).unwrap();
        system.edit("numbers.yaml", "flowRef: {name: greet}", "flowRef: {name: mobile}");
    };
    with_prepared(&Setup::default(), mobile, |system| {
        let callee = Callee::start(system, gateway(system), "0 101");
        let mut phone = Phone::new(system, phone::CARRIER, "+18005550100");
        let offer = phone.offer("0 101");
        let invite = phone.request("INVITE", "", &offer);
        phone.send(&invite);
        let mut said = Stream::new(&callee.rtp, callee.audio(), 7);
        // It hears a sentence, and the caller is not answered.
        let loud = |samples: &[i16]| samples.iter().filter(|sample| sample.abs() > 1_000).count();
        while loud(&callee.rtp.samples()) < 4_000 {
            said.silence(200);
            let heard = phone.receive(Duration::from_millis(1));
            assert!(heard.is_none_or(|message| message.code() < 200));
        }
        said.event('1');
        let answer = phone.final_response();
        assert_eq!(answer.code(), 200, "{}", answer.text);
        phone.acknowledge(&answer, "");
        said.say(&tone(CARRIER, 2.0));
        said.silence(200);
        assert!(share(&phone.rtp.samples(), CARRIER) > 0.8, "the caller hears who has taken the call");
        phone.hang_up();
        wait_until("the telephone is let go", || !callee.requests("BYE").is_empty());
    });
}
