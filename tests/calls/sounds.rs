//! What callers say: phrases that lead somewhere, messages that are left, and calls that are recorded.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    agents::Agent,
    audio::{self, likeness, melody, share, tone},
    harness::{PATIENCE, Setup, System, get_bytes, wait_until, with_prepared},
    phone::{CARRIER, Phone},
    rtp::Packet,
};

pub const SPOKEN: &str = "+18005550107";
pub const RECORDED: &str = "+18005550108";
pub const CARD: &str = "+18005550109";

const FLOWS: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: spoken, namespace: acme}
spec:
  steps:
  - name: menu
    ask:
      prompt: menu
      timeoutSeconds: 20
      attempts: 3
      choices:
      - {digits: "1", phrases: [sales, buy something], next: bad}
      - {digits: "2", phrases: [leave a message], next: take}
      noInput: bad
      noMatch: bad
  - name: take
    voicemail: {box: support, greeting: one, next: good, failed: bad}
  - name: good
    play: {prompt: good, next: bye}
  - name: bad
    play: {prompt: bad, next: bye}
  - name: bye
    hangup: {}
---
apiVersion: switchboard.dev/v1alpha1
kind: VoicemailBox
metadata: {name: support, namespace: acme}
spec: {emails: [support@example.com], review: two, silenceSeconds: 10}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: recorded, namespace: acme}
spec:
  steps:
  - name: tape
    record: {failed: bye}
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
    record: {failed: bad}
  - name: before
    play: {prompt: one}
  - name: card
    ask:
      digits: {variable: card, min: 16, max: 16, next: after}
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

pub fn prepare(system: &System) {
    fs::create_dir(system.dir.path().join("state")).unwrap();
    let number = |name: &str, number: &str| {
        format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  number: \"{number}\"\n  kind: TollFree\n  origin: RespOrg\n  trunkRef: {{namespace: platform, name: carrier}}\n  flowRef: {{name: {name}}}\n"
        )
    };
    let numbers = [("spoken", SPOKEN), ("recorded", RECORDED), ("card", CARD)];
    let numbers: String = numbers.iter().map(|(name, to)| number(name, to)).collect();
    fs::write(system.manifest("sounds.yaml"), FLOWS.to_owned() + &numbers).unwrap();
}

/// Says things to a phone's other side, packet by packet in true time.
pub struct Mouth<'a> {
    phone: &'a Phone,
    to: SocketAddr,
    sequence: u16,
    timestamp: u32,
    next: Instant,
}

impl<'a> Mouth<'a> {
    pub fn new(phone: &'a Phone, to: SocketAddr) -> Self {
        Self { phone, to, sequence: 1, timestamp: 0, next: Instant::now() }
    }

    fn put(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload: Vec<u8>) {
        let packet = Packet { payload_type, sequence: self.sequence, timestamp, ssrc: 9, payload };
        self.phone.rtp.send(self.to, marker, &packet);
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn pause(&mut self) {
        self.next += Duration::from_millis(20);
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    pub fn say(&mut self, samples: &[i16]) {
        for frame in samples.chunks(160) {
            let mut payload: Vec<u8> = frame.iter().map(|sample| audio::encode(*sample)).collect();
            payload.resize(160, 0xff);
            self.put(0, self.timestamp, false, payload);
            self.pause();
        }
    }

    pub fn silence(&mut self, milliseconds: usize) {
        self.say(&vec![0; milliseconds * 8]);
    }

    /// Says nothing until something has come.
    pub fn until(&mut self, what: &str, came: impl Fn(&[i16]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !came(&self.phone.rtp.samples()) {
            assert!(Instant::now() < until, "{what} was never heard");
            self.silence(100);
        }
    }

    /// A key as event of 100 ms (RFC 4733).
    pub fn press(&mut self, key: char) {
        let event = "0123456789*#".find(key).unwrap() as u8;
        let began = self.timestamp;
        for place in 1..=5_u16 {
            let [high, low] = (place * 160).to_be_bytes();
            self.put(101, began, place == 1, vec![event, 10, high, low]);
            self.pause();
        }
        for _ in 0..3 {
            self.put(101, began, false, vec![event, 0x8a, 3, 0x20]);
        }
        self.silence(100);
    }
}

/// Whether the last half second is the tone that asks for a message.
pub fn beeped(heard: &[i16]) -> bool {
    let last = &heard[heard.len().saturating_sub(3_200)..];
    last.len() == 3_200
        && share(last, 1_000.0) > 0.6
        && last.iter().any(|sample| sample.unsigned_abs() > 2_000)
}

pub fn spoken(system: &System, words: &str) -> Vec<i16> {
    let [raw, path] = ["raw.wav", "spoken.wav"].map(|name| system.dir.path().join(name));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &Path| path.display().to_string();
    run("espeak-ng", &["-v", "en-us", "-s", "130", "-w", &text(&raw), words]);
    run("sox", &[&text(&raw), "-r", "8000", "-c", "1", "-b", "16", &text(&path)]);
    audio::read_wav(&path)
}

pub fn list(system: &System, path: &str) -> Vec<Value> {
    serde_json::from_str(&system.get(path)).unwrap()
}

/// A stored sound, channel by channel.
pub fn fetch(system: &System, sound: &Value) -> Vec<Vec<i16>> {
    let name = sound["name"].as_str().unwrap();
    let bytes = get_bytes(system.http, &format!("/api/v1/recordings/{name}"));
    let mut reader = hound::WavReader::new(bytes.as_slice()).unwrap();
    let form = reader.spec();
    let channels = usize::from(form.channels);
    assert_eq!(Value::from(channels), sound["channels"], "{sound}");
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    // What is compared is at 8 kHz.
    let step = channels * (form.sample_rate / audio::RATE) as usize;
    (0..channels).map(|channel| samples.iter().skip(channel).step_by(step).copied().collect()).collect()
}

#[test]
fn a_caller_says_what_is_wanted_and_is_led_there() {
    with_prepared(&Setup::default(), prepare, |system| {
        let wish = spoken(system, "leave a message");
        let mut phone = Phone::new(system, CARRIER, SPOKEN);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        mouth.silence(1_500);
        mouth.say(&wish);
        mouth.until("the tone", beeped);
        phone.hang_up();
        assert_eq!(system.path_of_call(1)[0], "menu: choice 2");
        let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
        assert!(told.contains("the contact said “leave a message”"), "{told}");
        assert!(list(system, "/api/v1/voicemails").is_empty(), "nothing was said after the tone");
    });
}

#[test]
fn a_message_is_taken_played_and_kept() {
    with_prepared(&Setup::default(), prepare, |system| {
        let message = melody(77, 4.0);
        let mut phone = Phone::new(system, CARRIER, SPOKEN);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        mouth.silence(500);
        mouth.press('2');
        mouth.until("the tone", beeped);
        mouth.silence(600);
        mouth.say(&message);
        mouth.press('#');
        let question = system.prompt("two");
        mouth.until("the question what becomes of it", |heard| likeness(&question, heard) > 0.9);
        mouth.press('2');
        mouth.until("the message itself", |heard| likeness(&message, heard) > 0.9);
        mouth.silence(500);
        mouth.press('1');
        phone.wait_for_bye();
        let path = system.path_of_call(1);
        assert_eq!(path, ["menu: choice 2", "take: left", "good: played", "bye: hangup"]);
        let messages = list(system, "/api/v1/voicemails?box=acme/support");
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert_eq!(messages[0]["from"], "+12125550199");
        assert!(list(system, "/api/v1/voicemails?box=acme/sales").is_empty());
        assert!(list(system, "/api/v1/recordings").is_empty());
        let found = likeness(&message, &fetch(system, &messages[0])[0]);
        assert!(found > 0.97, "the message: {found:.3}");
    });
}

#[test]
fn a_recorded_call_has_the_contact_on_the_left_and_the_callee_on_the_right() {
    with_prepared(&Setup::default(), prepare, |system| {
        let (contact, callee) = (melody(78, 6.0), melody(79, 30.0));
        let agent = Agent::start(system, system.pbx.port(), "pcmu", &callee, None);
        let mut phone = Phone::new(system, CARRIER, RECORDED);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        mouth.until("the callee", |heard| audio::loud_part(heard).len() > 8_000);
        mouth.say(&contact);
        phone.hang_up();
        drop(agent.heard());
        system.path_of_call(1);
        let parts = list(system, "/api/v1/recordings?tenant=acme");
        let joined = parts.iter().find(|part| part["channels"] == 2).unwrap_or_else(|| panic!("{parts:?}"));
        let sides = fetch(system, joined);
        let found = likeness(&contact, &sides[0]);
        assert!(found > 0.97, "the contact on the left: {found:.3}");
        let said = &callee[..6 * 8_000];
        let found = likeness(said, &sides[1]);
        assert!(found > 0.9, "the callee on the right: {found:.3}");
        for (who, samples, other) in [("contact", &contact[..], 1), ("callee", said, 0)] {
            let found = likeness(samples, &sides[other]);
            assert!(found < 0.6, "the {who} is in the other's channel: {found:.3}");
        }
        let records = system.records();
        assert_eq!(records[0]["recordings"].as_array().map(Vec::len), Some(parts.len()), "{records:?}");
    });
}

#[test]
fn a_cards_digits_are_in_no_recording_and_nothing_that_is_told() {
    const DIGITS: &str = "4929817350264138";
    with_prepared(&Setup::default(), prepare, |system| {
        let (before, after) = (melody(80, 1.2), melody(81, 1.2));
        let mut phone = Phone::new(system, CARRIER, CARD);
        let to = phone.call("0 101").audio();
        let mut mouth = Mouth::new(&phone, to);
        let (first, last) = (system.prompt("one"), system.prompt("two"));
        mouth.until("the first prompt", |heard| !audio::loud_part(heard).is_empty());
        mouth.say(&before);
        mouth.until("all of it", |heard| likeness(&first, heard) > 0.9);
        mouth.silence(500);
        // Beside the events a note goes in the voice, as of a phone that sends its keys both ways.
        for key in DIGITS.chars() {
            mouth.say(&tone(1_477.0, 0.1));
            mouth.press(key);
        }
        mouth.say(&after);
        mouth.until("the last prompt", |heard| likeness(&last, heard) > 0.5);
        phone.wait_for_bye();
        assert_eq!(system.path_of_call(1)[2], "card: digits");
        let parts = list(system, "/api/v1/recordings");
        assert_eq!(parts.len(), 1, "{parts:?}");
        let heard = &fetch(system, &parts[0])[0];
        for (what, samples) in [("before", &before), ("after", &after)] {
            let found = likeness(samples, heard);
            assert!(found > 0.9, "what was said {what}: {found:.3}");
        }
        let noted = heard.chunks_exact(800).filter(|piece| {
            share(piece, 1_477.0) > 0.9 && piece.iter().any(|sample| sample.unsigned_abs() > 4_000)
        });
        assert!(noted.count() <= 2, "the keys' tones are in the recording");
        let call = &phone.call_id;
        let told = [
            system.get("/api/v1/interactions"),
            system.get("/api/v1/recordings"),
            system.get(&format!("/api/v1/explanations/{call}")),
            system.get(&format!("/api/v1/ladders/{call}")),
            system.log(),
        ];
        assert!(told.iter().all(|text| !text.contains(DIGITS)), "a card's digits are told: {told:?}");
    });
}

#[test]
fn without_a_store_nothing_is_recorded_and_the_flow_is_told() {
    let prepare = |system: &System| {
        prepare(system);
        fs::remove_dir(system.dir.path().join("state")).unwrap();
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let mut phone = Phone::new(system, CARRIER, RECORDED);
        phone.call("0 101");
        phone.wait_for_bye();
        assert_eq!(system.path_of_call(1), ["tape: failed", "bye: hangup"]);
        wait_until("the call is told of", || !system.records().is_empty());
    });
}
