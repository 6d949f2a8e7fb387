//! Calls that a session recording server records (SIPREC): a small one of the test's own, for sipp answers no multipart body.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
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
    certificates::{Authority, Certificate, For, acceptor},
    harness::{Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Message, Phone},
    rtp::Rtp,
    sounds::Mouth,
    srtp::{Key, is_audio},
    streams::{Stream, Wire},
    tls,
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
    /// Where it is asked in the clear.
    socket: Option<UdpSocket>,
    said: Arc<Mutex<Vec<Message>>>,
    streams: [Rtp; 2],
    over: Arc<AtomicBool>,
}

/// How it answers.
#[derive(Clone, Copy)]
struct Ways {
    contact: SocketAddr,
    transport: &'static str,
    streams: [u16; 2],
    takes_keys: bool,
}

impl Srs {
    fn new(port: u16, transport: &'static str, takes_keys: bool) -> (Self, Ways) {
        let streams = [(); 2].map(|()| Rtp::bind((ADDRESS, 0).into()));
        let ports = [&streams[0], &streams[1]].map(|stream| stream.local.port());
        let ways = Ways { contact: (ADDRESS, port).into(), transport, streams: ports, takes_keys };
        (Self { socket: None, said: Arc::default(), streams, over: Arc::default() }, ways)
    }

    fn start(port: u16) -> Self {
        let socket = UdpSocket::bind((ADDRESS, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (mut srs, ways) = Self::new(port, "udp", false);
        let listener = socket.try_clone().unwrap();
        let (kept, ended) = (Arc::clone(&srs.said), Arc::clone(&srs.over));
        thread::spawn(move || {
            let mut buffer = [0; 65_535];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = listener.recv_from(&mut buffer) else { continue };
                let message = Message { text: String::from_utf8_lossy(&buffer[..length]).into_owned() };
                if let Some(answer) = answered(&message, ways) {
                    listener.send_to(answer.as_bytes(), from).unwrap();
                }
                kept.lock().unwrap().push(message);
            }
        });
        srs.socket = Some(socket);
        srs
    }

    /// One that is asked under TLS, and takes SRTP or refuses it.
    fn under_tls(port: u16, shown: &Certificate, takes_keys: bool) -> Self {
        let listener = TcpListener::bind((ADDRESS, port)).unwrap();
        let (srs, ways) = Self::new(port, "tls", takes_keys);
        let acceptor = acceptor(shown, None);
        let (kept, ended) = (Arc::clone(&srs.said), Arc::clone(&srs.over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(stream) = acceptor.accept(stream) else { continue };
                let (kept, ended) = (Arc::clone(&kept), Arc::clone(&ended));
                thread::spawn(move || {
                    let stream = Stream::new("TLS", stream);
                    while !ended.load(Ordering::Relaxed) {
                        let Some(text) = stream.receive(Duration::from_millis(50)) else {
                            thread::sleep(Duration::from_millis(5));
                            continue;
                        };
                        let message = Message { text };
                        answered(&message, ways).iter().for_each(|answer| stream.send(answer.as_bytes()));
                        kept.lock().unwrap().push(message);
                    }
                });
            }
        });
        srs
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
        let socket = self.socket.as_ref().unwrap();
        let header = |name| invite.header(name).unwrap();
        let target = header("Contact").split(['<', '>']).nth(1).unwrap();
        let bye = format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-srs\r\nMax-Forwards: 70\r\nFrom: {};tag=srs\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            socket.local_addr().unwrap(),
            header("To"),
            header("From"),
            header("Call-ID"),
        );
        socket.send_to(bye.as_bytes(), to).unwrap();
    }
}

impl Drop for Srs {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn answered(request: &Message, ways: Ways) -> Option<String> {
    let method = request.method();
    if !matches!(method, "INVITE" | "BYE" | "OPTIONS") {
        return None;
    }
    let sdp = if method == "INVITE" { described(request, ways) } else { Some(String::new()) };
    let status = if sdp.is_some() { "200 OK" } else { "488 Not Acceptable Here" };
    let sdp = sdp.unwrap_or_default();
    let mut text = format!("SIP/2.0 {status}\r\n");
    for via in request.headers("Via") {
        text += &format!("Via: {via}\r\n");
    }
    for name in ["From", "Call-ID", "CSeq"] {
        text += &format!("{name}: {}\r\n", request.header(name)?);
    }
    let to = request.header("To")?;
    let tag = if to.contains(";tag=") { "" } else { ";tag=srs" };
    let (contact, transport) = (ways.contact, ways.transport);
    text += &format!("To: {to}{tag}\r\nContact: <sip:srs@{contact};transport={transport}>;+sip.srs\r\n");
    text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    Some(text)
}

/// The streams of an offer.
fn offered(request: &Message) -> impl Iterator<Item = &str> {
    request.text.split("m=audio ").skip(1)
}

/// The answer to an offer. None: it is refused.
fn described(request: &Message, ways: Ways) -> Option<String> {
    let direction = if request.text.contains("a=inactive") { "inactive" } else { "recvonly" };
    let mut sdp = format!("v=0\r\no=srs 1 1 IN IP4 {ADDRESS}\r\ns=-\r\nc=IN IP4 {ADDRESS}\r\nt=0 0\r\n");
    for ((place, port), offer) in (1..).zip(ways.streams).zip(offered(request)) {
        let key = Key::described(offer).filter(|_| offer.lines().next().unwrap().contains("SAVP"));
        if key.is_some() && !ways.takes_keys {
            return None;
        }
        let profile = if key.is_some() { "SAVP" } else { "AVP" };
        let line = key.map(|(number, _)| Key::new(40 + place).line(number)).unwrap_or_default();
        sdp += &format!("m=audio {port} RTP/{profile} 0\r\na={direction}\r\na=label:{place}\r\n{line}");
    }
    Some(sdp)
}

/// The metadata of a request.
fn metadata(message: &Message) -> String {
    let begin = message.text.find("<?xml").unwrap();
    let end = message.text[begin..].find("</recording>").unwrap();
    message.text[begin..begin + end].to_owned() + "</recording>\n"
}

/// What RFC 7865 §9 demands of metadata, as assertions on a parsed document.
const CHECK: &str = r#"import base64, datetime, re, sys, uuid, xml.etree.ElementTree as tree
space = '{urn:ietf:params:xml:ns:recording:1}'
many = 1 << 30

def time(text):
    datetime.datetime.strptime(text, '%Y-%m-%dT%H:%M:%SZ')

def name(text):
    octets = base64.b64decode(text, validate=True)
    assert len(text) == 24 and uuid.UUID(bytes=octets).version == 4, text

def uri(text):
    assert re.fullmatch(r'(sips?|tel|urn|https?):[^\s<>"]+', text), text

def one_of(*words):
    def check(text):
        assert text in words, text
    return check

def some(text):
    assert text, 'nothing'

def nothing(text):
    assert not (text or '').strip(), text

times = [('associate-time', 0, 1), ('disassociate-time', 0, 1)]
# What is in an element: its children with least and most of each, its attributes and whether they must be, its text.
rules = {
    'recording': ([('datamode', 0, 1), ('group', 0, many), ('session', 0, many), ('participant', 0, many), ('stream', 0, many),
        ('sessionrecordingassoc', 0, many), ('participantsessionassoc', 0, many), ('participantstreamassoc', 0, many)], {}, nothing),
    'datamode': ([], {}, one_of('complete', 'partial')),
    'group': (times, {'group_id': True}, nothing),
    'session': ([('sipSessionID', 0, many), ('reason', 0, many), ('group-ref', 0, 1), ('start-time', 0, 1), ('stop-time', 0, 1)],
        {'session_id': True}, nothing),
    'participant': ([('nameID', 1, many)], {'participant_id': True}, nothing),
    'nameID': ([('name', 0, 1)], {'aor': True}, nothing),
    'stream': ([('label', 0, 1)], {'stream_id': True, 'session_id': False}, nothing),
    'sessionrecordingassoc': (times, {'session_id': True}, nothing),
    'participantsessionassoc': (times + [('param', 0, many)], {'participant_id': True, 'session_id': True}, nothing),
    'participantstreamassoc': ([('send', 0, many), ('recv', 0, many)] + times, {'participant_id': True}, nothing),
    'sipSessionID': ([], {}, some), 'reason': ([], {'protocol': False}, some), 'group-ref': ([], {}, name),
    'start-time': ([], {}, time), 'stop-time': ([], {}, time), 'associate-time': ([], {}, time),
    'disassociate-time': ([], {}, time), 'name': ([], {'{http://www.w3.org/XML/1998/namespace}lang': False}, some),
    'label': ([], {}, some), 'send': ([], {}, name), 'recv': ([], {}, name), 'param': ([], {'pname': True, 'pval': True}, nothing),
}

def check(element):
    assert element.tag.startswith(space), element.tag
    kind = element.tag.removeprefix(space)
    children, attributes, text = rules[kind]
    # What comes of another space stands at the end (xs:any, ##other).
    own = [child for child in element if child.tag.startswith(space)]
    assert list(element)[:len(own)] == own, f'{kind}: extensions before its own elements'
    names = [child.tag.removeprefix(space) for child in own]
    order = [child for child, _, _ in children]
    assert set(names) <= set(order), f'{kind}: {names}'
    assert names == sorted(names, key=order.index), f'{kind}: {names}'
    for child, least, most in children:
        assert least <= names.count(child) <= most, f'{kind}: {child}'
    assert set(element.attrib) <= set(attributes), f'{kind}: {element.attrib}'
    for attribute, must in attributes.items():
        assert attribute in element.attrib or not must, f'{kind} has no {attribute}'
    for attribute, value in element.attrib.items():
        if attribute.endswith('_id'):
            name(value)
    if kind == 'nameID':
        uri(element.get('aor'))
    text(element.text)
    for child in own:
        nothing(child.tail)
        check(child)

root = tree.fromstring(sys.stdin.buffer.read())
assert root.tag == space + 'recording', root.tag
check(root)
of = lambda kind: [child.get(f'{kind}_id') for child in root.findall(space + kind)]
described = {kind: of(kind) for kind in ['session', 'participant', 'stream']}
every = sum(described.values(), [])
assert len(every) == len(set(every)), every
for child in root:
    for attribute, value in child.attrib.items():
        assert value in described[attribute.removesuffix('_id')], (child.tag, value)
for child in root.iter():
    if child.tag in (space + 'send', space + 'recv'):
        assert child.text in described['stream'], child.text
assert root.findtext(space + 'datamode') == 'complete'
labels = [stream.findtext(space + 'label') for stream in root.findall(space + 'stream')]
assert len(described['session']) == 1 and labels == ['1', '2'], labels
"#;

/// Whether a parser of somebody else's reads it, and finds it to be what RFC 7865 says it is: the elements of §9 in their order and
/// number, their attributes, what is in them, names as §6.10 writes them, and nothing named that is not described.
fn assert_conforms(document: &str) {
    let python = Command::new("python3").args(["-c", CHECK]).stdin(Stdio::piped()).spawn();
    let mut child = python.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), document.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{document}");
}

fn prepared(recorder: &'static str) -> impl Fn(&System) {
    move |system| write(system, recorder, ("UDP", ""))
}

/// The Tenant's recorder, by which transport it is reached, and what its Trunk says besides.
fn write(system: &System, recorder: &str, (transport, more): (&str, &str)) {
    let number = |name: &str, number: &str| {
        format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  number: \"{number}\"\n  kind: TollFree\n  origin: RespOrg\n  trunkRef: {{namespace: platform, name: carrier}}\n  flowRef: {{name: {name}}}\n"
        )
    };
    let peer = |place: u16| {
        format!(
            "  - {{name: srs-{place}, address: \"{ADDRESS}:{}\", transport: {transport}, priority: {place}}}\n",
            system.own_port(place)
        )
    };
    let trunk = format!(
        "---\napiVersion: switchboard.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: recorder, namespace: acme}}\nspec:\n  purpose: The recorder\n  ranges:\n  - {{cidr: {ADDRESS}/32}}\n---\napiVersion: switchboard.dev/v1alpha1\nkind: Trunk\nmetadata: {{name: recorder, namespace: acme}}\nspec:\n  clusterRef: {{namespace: platform, name: c14}}\n  network: loopback\n  connection: Dedicated\n  delivers: Voip\n  direction: Outbound\n  allowlistRefs:\n  - name: recorder\n{more}  peers:\n{}{}",
        peer(0),
        peer(1)
    );
    let text = FLOWS.to_owned() + &number("recorded", RECORDED) + &number("card", CARD) + &trunk;
    fs::write(system.manifest("siprec.yaml"), text).unwrap();
    let field = format!("  recorder: {{trunkRef: {{name: recorder}}, {recorder}}}\n  outboundTrunks:");
    system.edit("tenant.yaml", "  outboundTrunks:", &field);
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
            assert_conforms(&told);
            (1..=2).for_each(|label| assert!(message.text.contains(&format!("a=label:{label}\r\n"))));
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

const NAME: &str = "recorder.example";

/// A tenant whose recorder shows this certificate, and whose Trunk says that of SRTP.
fn with_secure_recorder(
    authority: &Authority,
    (shown, takes_keys): (&Certificate, bool),
    srtp: &str,
    test: impl FnOnce(&System, &Srs),
) {
    let edge = authority.ecdsa(tls::EDGE, For::Both);
    let prepare = |system: &System| {
        tls::prepare(system, authority, Some(&edge));
        let trunk = format!(
            "  srtp: {srtp}\n  tls:\n    peerNames: [{NAME}]\n    caSecretRef: {{name: authority, key: ca.crt}}\n"
        );
        write(system, "calls: ByFlow, onFailure: Refuse", ("TLS", &trunk));
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let srs = Srs::under_tls(system.own_port(0), shown, takes_keys);
        test(system, &srs);
    });
}

/// Calls, talks to somebody, and gives what the contact said, what the other said, and the call's explanation.
fn talks(system: &System, srs: &Srs) -> (Vec<i16>, Vec<i16>, String) {
    let (contact, callee) = (melody(84, 3.0), melody(85, 30.0));
    let agent = Agent::start(system, system.pbx.port(), "pcmu", &callee, None);
    let mut phone = Phone::new(system, CARRIER, RECORDED);
    let to = phone.call("0 101").audio();
    let mut mouth = Mouth::new(&phone, to);
    mouth.until("the callee", |heard| audio::loud_part(heard).len() > 8_000);
    mouth.say(&contact);
    phone.hang_up();
    srs.wait_for("BYE", 1);
    drop(agent.heard());
    system.path_of_call(1);
    let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
    (contact, callee[..3 * 8_000].to_vec(), told)
}

fn assert_recorded(said: (&[i16], &[i16]), heard: [&[i16]; 2]) {
    let found = likeness(said.0, heard[0]);
    assert!(found > 0.97, "what the contact says: {found:.3}");
    let found = likeness(said.1, heard[1]);
    assert!(found > 0.9, "what the contact hears: {found:.3}");
}

#[test]
fn a_recorder_under_tls_hears_both_sides_by_srtp_with_a_key_for_each() {
    let authority = Authority::new("Test Authority");
    let shown = authority.ecdsa(NAME, For::Servers);
    with_secure_recorder(&authority, (&shown, true), "Required", |system, srs| {
        let (contact, callee, told) = talks(system, srs);
        let invite = srs.wait_for("INVITE", 1);
        assert!(invite.header("Via").unwrap().starts_with("SIP/2.0/TLS "), "{}", invite.text);
        let keys: Vec<_> = offered(&invite).map(|stream| Key::described(stream).expect("a key").1).collect();
        let heard = [0, 1].map(|place: usize| {
            let datagrams = srs.streams[place].datagrams();
            let audio = datagrams.iter().filter(|datagram| is_audio(datagram));
            let packets =
                audio.map(|datagram| keys[place].opened(datagram, 0).expect("protected by its key"));
            packets.flat_map(|packet| audio::decode(packet.payload_type, &packet.payload)).collect::<Vec<_>>()
        });
        assert_recorded((&contact, &callee), [&heard[0], &heard[1]]);
        for (datagrams, other) in
            [(0, 1), (1, 0)].map(|(of, other)| (srs.streams[of].datagrams(), &keys[other]))
        {
            let mut audio = datagrams.iter().filter(|datagram| is_audio(datagram));
            assert!(audio.all(|datagram| other.opened(datagram, 0).is_none()), "one key for both streams");
        }
        assert!(told.contains("peer `srs-0` of Trunk acme/recorder"), "{told}");
        assert!(!told.contains("inline:") && !system.log().contains("inline:"));
    });
}

#[test]
fn a_recorder_that_refuses_srtp_records_in_the_clear_where_it_is_preferred_alone() {
    let authority = Authority::new("Test Authority");
    let shown = authority.ecdsa(NAME, For::Servers);
    with_secure_recorder(&authority, (&shown, false), "Preferred", |system, srs| {
        let (contact, callee, told) = talks(system, srs);
        let [says, hears] = [&srs.streams[0], &srs.streams[1]].map(Rtp::samples);
        assert_recorded((&contact, &callee), [&says, &hears]);
        assert!(told.contains("asked again without SRTP"), "{told}");
    });
    with_secure_recorder(&authority, (&shown, false), "Required", |system, srs| {
        let told = unrecorded(system);
        assert!(told.contains("488"), "{told}");
        assert!(srs.streams.iter().all(|stream| stream.datagrams().is_empty()));
    });
}

#[test]
fn a_recorder_that_is_not_who_it_should_be_is_told_nothing_and_the_call_says_why() {
    let (authority, other) = (Authority::new("Test Authority"), Authority::new("Another Authority"));
    for (shown, why) in [
        (
            authority.ecdsa("evil.example", For::Servers),
            "the server's certificate names \"evil.example\", not \"recorder.example\"",
        ),
        (other.ecdsa(NAME, For::Servers), "Another Authority"),
    ] {
        with_secure_recorder(&authority, (&shown, true), "Required", |system, srs| {
            let told = unrecorded(system);
            assert!(told.replace("\\\"", "\"").contains(why), "{why}: {told}");
            assert!(srs.said.lock().unwrap().is_empty());
            assert!(srs.streams.iter().all(|stream| stream.datagrams().is_empty()));
        });
    }
}

/// Calls, and is not recorded, which ends the call; gives its explanation.
fn unrecorded(system: &System) -> String {
    let mut phone = Phone::new(system, CARRIER, RECORDED);
    phone.call("0 101");
    phone.wait_for_bye();
    assert_eq!(system.path_of_call(1)[0], "tape: failed");
    let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
    assert!(told.contains("no peer of its trunk records it"), "{told}");
    told
}
