//! Calls that a session recording server records (SIPREC): a small one of the test's own, for sipp answers no multipart body.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    agents::Agent,
    audio::{self, likeness, melody, share, tone},
    harness::{Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Message, Phone},
    rtp::Rtp,
    sounds::Mouth,
};

const RECORDED: &str = "+18005550108";
const CARD: &str = "+18005550109";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

const FLOWS: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: recorded, namespace: acme}
spec:
  steps:
  - name: tape
    record: {to: Recorder, failed: bye}
  - name: ring
    dial:
      to:
      - extension: {trunkRef: {name: desk-phones}, user: "201"}
      next: bye
      busy: bye
      noAnswer: bye
      failed: bye
  - name: bye
    hangup: {}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: card, namespace: acme}
spec:
  variables:
  - {name: card, type: String}
  steps:
  - name: tape
    record: {to: Recorder, failed: bad}
  - name: before
    play: {prompt: one}
  - name: card
    ask:
      digits: {variable: card, min: 4, max: 4, next: after}
      timeoutSeconds: 30
      interDigitSeconds: 10
      secret: true
      noInput: bad
      noMatch: bad
  - name: after
    play: {prompt: two, next: bye}
  - name: bad
    play: {prompt: bad, next: bye}
  - name: bye
    hangup: {}
"#;

/// A session recording server.
struct Srs {
    socket: UdpSocket,
    said: Arc<Mutex<Vec<Message>>>,
    streams: [Rtp; 2],
    over: Arc<AtomicBool>,
}

impl Srs {
    fn start(port: u16) -> Self {
        let socket = UdpSocket::bind((ADDRESS, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let streams = [(); 2].map(|()| Rtp::bind((ADDRESS, 0).into()));
        let ports = [&streams[0], &streams[1]].map(|stream| stream.local.port());
        let (said, over) = (Arc::<Mutex<Vec<Message>>>::default(), Arc::<AtomicBool>::default());
        let (listener, kept, ended) = (socket.try_clone().unwrap(), Arc::clone(&said), Arc::clone(&over));
        thread::spawn(move || {
            let mut buffer = [0; 65_535];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = listener.recv_from(&mut buffer) else { continue };
                let message = Message { text: String::from_utf8_lossy(&buffer[..length]).into_owned() };
                if let Some(answer) = answered(&message, port, ports) {
                    listener.send_to(answer.as_bytes(), from).unwrap();
                }
                kept.lock().unwrap().push(message);
            }
        });
        Self { socket, said, streams, over }
    }

    fn said(&self, method: &str) -> Vec<Message> {
        let said = self.said.lock().unwrap();
        let mut said: Vec<_> = said.iter().filter(|message| message.method() == method).cloned().collect();
        // A copy is no other message.
        said.dedup_by_key(|message| message.header("CSeq").map(str::to_owned));
        said
    }

    fn wait_for(&self, method: &str, count: usize) -> Message {
        wait_until(&format!("{count} {method} at the recorder"), || self.said(method).len() >= count);
        self.said(method).remove(count - 1)
    }

    /// Says BYE.
    fn hang_up(&self, to: SocketAddr) {
        let invite = self.wait_for("INVITE", 1);
        let header = |name| invite.header(name).unwrap();
        let target = header("Contact").split(['<', '>']).nth(1).unwrap();
        let bye = format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-srs\r\nMax-Forwards: 70\r\nFrom: {};tag=srs\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            self.socket.local_addr().unwrap(),
            header("To"),
            header("From"),
            header("Call-ID"),
        );
        self.socket.send_to(bye.as_bytes(), to).unwrap();
    }
}

impl Drop for Srs {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn answered(request: &Message, port: u16, streams: [u16; 2]) -> Option<String> {
    let method = request.method();
    if !matches!(method, "INVITE" | "BYE" | "OPTIONS") {
        return None;
    }
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for via in request.headers("Via") {
        text += &format!("Via: {via}\r\n");
    }
    for name in ["From", "Call-ID", "CSeq"] {
        text += &format!("{name}: {}\r\n", request.header(name)?);
    }
    let to = request.header("To")?;
    let tag = if to.contains(";tag=") { "" } else { ";tag=srs" };
    text += &format!("To: {to}{tag}\r\nContact: <sip:srs@{ADDRESS}:{port}>;+sip.srs\r\n");
    let direction = if request.text.contains("a=inactive") { "inactive" } else { "recvonly" };
    let mut sdp = format!("v=0\r\no=srs 1 1 IN IP4 {ADDRESS}\r\ns=-\r\nc=IN IP4 {ADDRESS}\r\nt=0 0\r\n");
    for (place, stream) in streams.iter().enumerate() {
        sdp += &format!("m=audio {stream} RTP/AVP 0\r\na={direction}\r\na=label:{}\r\n", place + 1);
    }
    let sdp = if method == "INVITE" { sdp.as_str() } else { "" };
    text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    Some(text)
}

/// The metadata of a request.
fn metadata(message: &Message) -> String {
    let begin = message.text.find("<?xml").unwrap();
    let end = message.text[begin..].find("</recording>").unwrap();
    message.text[begin..begin + end].to_owned() + "</recording>\n"
}

/// Whether a parser of somebody else's reads it, and finds it to be what RFC 7865 says it is.
fn assert_well_formed(document: &str) {
    const CHECK: &str = "import sys, xml.etree.ElementTree as tree
root = tree.fromstring(sys.stdin.buffer.read())
space = '{urn:ietf:params:xml:ns:recording:1}'
names = [child.tag.removeprefix(space) for child in root]
order = ['datamode', 'session', 'participant', 'stream', 'sessionrecordingassoc', 'participantsessionassoc', 'participantstreamassoc']
assert root.tag == space + 'recording' and set(names) == set(order), names
assert names == sorted(names, key=order.index), names
ids = {child.get(f'{kind}_id') for kind in ['participant', 'stream', 'session'] for child in root.findall(space + kind)}
named = {value for child in root for value in child.attrib.values()} | {e.text for e in root.iter() if e.tag in (space + 'send', space + 'recv')}
assert named == ids, (named, ids)
";
    let python = Command::new("python3").args(["-c", CHECK]).stdin(Stdio::piped()).spawn();
    let mut child = python.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), document.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{document}");
}

fn prepared(recorder: &'static str) -> impl Fn(&System) {
    move |system| {
        let number = |name: &str, number: &str| {
            format!(
                "---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  number: \"{number}\"\n  kind: TollFree\n  origin: RespOrg\n  trunkRef: {{namespace: platform, name: carrier}}\n  flowRef: {{name: {name}}}\n"
            )
        };
        let peer = |place: u16| {
            format!(
                "  - {{name: srs-{place}, address: \"{ADDRESS}:{}\", transport: UDP, priority: {place}}}\n",
                system.own_port(place)
            )
        };
        let trunk = format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: recorder, namespace: acme}}\nspec:\n  purpose: The recorder\n  ranges:\n  - {{cidr: {ADDRESS}/32}}\n---\napiVersion: switchboard.dev/v1alpha1\nkind: Trunk\nmetadata: {{name: recorder, namespace: acme}}\nspec:\n  clusterRef: {{namespace: platform, name: c14}}\n  network: loopback\n  connection: Dedicated\n  delivers: Voip\n  direction: Outbound\n  allowlistRefs:\n  - name: recorder\n  peers:\n{}{}",
            peer(0),
            peer(1)
        );
        let text = FLOWS.to_owned() + &number("recorded", RECORDED) + &number("card", CARD) + &trunk;
        fs::write(system.manifest("siprec.yaml"), text).unwrap();
        let field = format!("  recorder: {{trunkRef: {{name: recorder}}, {recorder}}}\n  outboundTrunks:");
        system.edit("tenant.yaml", "  outboundTrunks:", &field);
    }
}

#[test]
fn a_recorder_hears_both_sides_and_is_told_who_talks() {
    with_prepared(&Setup::default(), prepared("calls: ByFlow"), |system| {
        let srs = Srs::start(system.own_port(0));
        let (contact, callee) = (melody(78, 3.0), melody(79, 30.0));
        let agent = Agent::start(system, system.pbx.port(), "pcmu", &callee, None);
        let mut phone = Phone::new(system, CARRIER, RECORDED);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        mouth.until("the callee", |heard| audio::loud_part(heard).len() > 8_000);
        let invite = srs.wait_for("INVITE", 1);
        assert_eq!(invite.header("Require"), Some("siprec"));
        assert!(invite.header("Contact").unwrap().ends_with(";+sip.src"), "{}", invite.text);
        let change = srs.wait_for("INVITE", 2);
        for (message, wanted) in [
            (&invite, "<nameID aor=\"tel:+12125550199\">"),
            (&invite, "<nameID aor=\"tel:+18005550108\"><name>recorded</name>"),
            (&change, "<nameID aor=\"sip:201@127.0.0.1"),
        ] {
            let told = metadata(message);
            assert_well_formed(&told);
            assert!(told.contains(wanted), "{told}");
        }
        mouth.say(&contact);
        phone.hang_up();
        srs.wait_for("BYE", 1);
        drop(agent.heard());
        system.path_of_call(1);
        let [says, hears] = [&srs.streams[0], &srs.streams[1]].map(Rtp::samples);
        let found = likeness(&contact, &says);
        assert!(found > 0.97, "what the contact says: {found:.3}");
        let said = &callee[..3 * 8_000];
        let found = likeness(said, &hears);
        assert!(found > 0.9, "what the contact hears: {found:.3}");
        for (who, samples, other) in [("contact", &contact[..], &hears), ("callee", said, &says)] {
            let found = likeness(samples, other);
            assert!(found < 0.6, "the {who} is in the other's stream: {found:.3}");
        }
        let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
        assert!(told.contains("peer `srs-0` of Trunk acme/recorder"), "{told}");
    });
}

#[test]
fn a_cards_digits_never_come_to_the_recorder() {
    with_prepared(&Setup::default(), prepared("calls: ByFlow"), |system| {
        let srs = Srs::start(system.own_port(0));
        let (before, after) = (melody(80, 1.2), melody(81, 1.2));
        let mut phone = Phone::new(system, CARRIER, CARD);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        let (first, last) = (system.prompt("one"), system.prompt("two"));
        mouth.until("the first prompt", |heard| !audio::loud_part(heard).is_empty());
        mouth.say(&before);
        mouth.until("all of it", |heard| likeness(&first, heard) > 0.9);
        mouth.silence(500);
        for key in "4929".chars() {
            mouth.say(&tone(1_477.0, 0.1));
            mouth.press(key);
        }
        mouth.say(&after);
        mouth.until("the last prompt", |heard| likeness(&last, heard) > 0.5);
        phone.wait_for_bye();
        srs.wait_for("BYE", 1);
        let changes = srs.said("INVITE");
        let inactive = changes.iter().map(|message| message.text.matches("a=inactive").count());
        assert_eq!(inactive.collect::<Vec<_>>(), [0, 2, 0]);
        let [says, hears] = [&srs.streams[0], &srs.streams[1]].map(Rtp::samples);
        for (what, samples, heard) in
            [("before", &before, &says), ("after", &after, &says), ("prompt", &first, &hears)]
        {
            let found = likeness(samples, heard);
            assert!(found > 0.9, "{what}: {found:.3}");
        }
        let noted = says.chunks_exact(400).filter(|piece| {
            share(piece, 1_477.0) > 0.9 && piece.iter().any(|sample| sample.unsigned_abs() > 4_000)
        });
        assert_eq!(noted.count(), 0, "the keys' tones came to the recorder");
        let events = srs.streams.iter().flat_map(Rtp::packets).filter(|packet| packet.payload_type != 0);
        assert_eq!(events.count(), 0, "the keys came to the recorder");
    });
}

#[test]
fn a_recorder_that_leaves_is_followed_by_the_next_and_the_call_goes_on() {
    with_prepared(&Setup::default(), prepared("calls: All"), |system| {
        let [first, second] = [0, 1].map(|place| Srs::start(system.own_port(place)));
        let contact = melody(82, 3.0);
        let agent = Agent::start(system, system.pbx.port(), "pcmu", &melody(83, 30.0), None);
        let mut phone = Phone::new(system, CARRIER, RECORDED);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        mouth.until("the callee", |heard| audio::loud_part(heard).len() > 8_000);
        let session =
            |message: &Message| metadata(message).split("session_id=\"").nth(1).unwrap()[..24].to_owned();
        let before = session(&first.wait_for("INVITE", 1));
        first.over.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(100));
        first.hang_up(system.sip);
        // It answers nobody any more, so the other has to do.
        wait_until("the second recorder", || {
            mouth.silence(100);
            !second.said("INVITE").is_empty()
        });
        assert_eq!(session(&second.wait_for("INVITE", 1)), before);
        mouth.silence(300);
        mouth.say(&contact);
        phone.hang_up();
        second.wait_for("BYE", 1);
        drop(agent.heard());
        let found = likeness(&contact, &second.streams[0].samples());
        assert!(found > 0.97, "what the contact says: {found:.3}");
        system.path_of_call(1);
    });
}

#[test]
fn where_no_call_may_go_unrecorded_one_ends_without_a_recorder() {
    with_prepared(&Setup::default(), prepared("calls: All, onFailure: Refuse"), |system| {
        let mut phone = Phone::new(system, CARRIER, CARD);
        phone.call("0 101");
        phone.wait_for_bye();
        wait_until("the call is told of", || !system.records().is_empty());
        let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
        assert!(told.contains("the call is not recorded, and may not go on so"), "{told}");
    });
}
