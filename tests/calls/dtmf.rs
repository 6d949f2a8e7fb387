//! Keys, as phones and carriers really send them (RFC 4733, and INFO where that was not agreed).

use std::{net::SocketAddr, thread, time::Duration};

use crate::{
    audio::{key_tones, likeness, share},
    callee::{Callee, Stream},
    harness::{PATIENCE, Setup, System, with_prepared, with_system},
    phone::{CARRIER, Message, Phone},
    rtp::{Packet, Rtp},
};

const MENU: &str = "+18005550101";
/// Takes four keys and says `good` to 1, 2, 2, 3 alone: a key that is lost or doubled is heard.
const CODE: &str = "+18005550106";

/// Sends events by hand; sequence numbers are given out as packets of one stream.
struct Keys<'a> {
    phone: &'a Phone,
    to: SocketAddr,
    sequence: u16,
    timestamp: u32,
}

/// A packet of an event: marker, duration in samples, end bit, place in the sequence.
type Update = (bool, u16, bool, u16);

/// What a good phone sends for a key of 100 ms.
const PLAIN: [Update; 8] = [
    (true, 160, false, 0),
    (false, 320, false, 1),
    (false, 480, false, 2),
    (false, 640, false, 3),
    (false, 800, false, 4),
    (false, 800, true, 5),
    (false, 800, true, 6),
    (false, 800, true, 7),
];

impl<'a> Keys<'a> {
    fn new(phone: &'a Phone, to: SocketAddr) -> Self {
        let mut keys = Self { phone, to, sequence: 65_530, timestamp: u32::MAX - 4_000 };
        keys.speak(10);
        keys
    }

    fn speak(&mut self, packets: usize) {
        for _ in 0..packets {
            self.put(0, false, self.sequence, vec![0xff; 160]);
            self.sequence = self.sequence.wrapping_add(1);
            self.timestamp = self.timestamp.wrapping_add(160);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, event: u8, updates: &[Update]) {
        for (marker, duration, end, place) in updates {
            let [high, low] = duration.to_be_bytes();
            let payload = vec![event, 10 | u8::from(*end) << 7, high, low];
            self.put(101, *marker, self.sequence.wrapping_add(*place), payload);
            thread::sleep(Duration::from_millis(20));
        }
        self.sequence = self.sequence.wrapping_add(8);
        self.timestamp = self.timestamp.wrapping_add(1_600);
        self.speak(5);
    }

    fn put(&self, payload_type: u8, marker: bool, sequence: u16, payload: Vec<u8>) {
        let packet = Packet { payload_type, sequence, timestamp: self.timestamp, ssrc: 7, payload };
        self.phone.rtp.send(self.to, marker, &packet);
    }
}

fn assert_code(system: &System, what: &str, calls: usize, updates: &[Update]) {
    let mut phone = Phone::new(system, CARRIER, CODE);
    let to = phone.call("0 101").audio();
    let mut keys = Keys::new(&phone, to);
    for event in [1, 2, 2, 3] {
        keys.press(event, updates);
    }
    phone.wait_for_bye();
    let path = system.path_of_call(calls);
    assert!(path.iter().any(|step| step.starts_with("good")), "{what}: {path:?}");
    let found = likeness(&system.prompt("good"), &phone.rtp.samples());
    assert!(found > 0.97, "{what}: {found:.3}");
}

#[test]
fn each_event_is_one_key_however_its_packets_come() {
    let late_end: Vec<Update> = [&PLAIN[..3], &[PLAIN[5], PLAIN[3], PLAIN[4], PLAIN[6], PLAIN[7]]].concat();
    let cases: [(&str, Vec<Update>); 7] = [
        ("plain", PLAIN.to_vec()),
        ("no marker", PLAIN.iter().map(|one| (false, one.1, one.2, one.3)).collect()),
        ("every packet twice", PLAIN.iter().flat_map(|one| [*one, *one]).collect()),
        (
            "out of order",
            vec![PLAIN[1], PLAIN[0], PLAIN[3], PLAIN[2], PLAIN[5], PLAIN[4], PLAIN[7], PLAIN[6]],
        ),
        ("updates after the end", late_end),
        ("no end at all", PLAIN[..5].to_vec()),
        ("only the last packet", vec![PLAIN[7]]),
    ];
    with_system(&Setup::default(), |system| {
        for (place, (what, updates)) in cases.iter().enumerate() {
            assert_code(system, what, place + 1, updates);
        }
    });
}

#[test]
fn a_key_stops_the_question_and_leads_to_its_prompt() {
    with_system(&Setup::default(), |system| {
        let mut phone = Phone::new(system, CARRIER, MENU);
        let to = phone.call("0 101").audio();
        Keys::new(&phone, to).press(3, &PLAIN);
        phone.wait_for_bye();
        let heard = phone.rtp.samples();
        for (name, is_heard) in [("three", true), ("one", false), ("two", false), ("bad", false)] {
            let found = likeness(&system.prompt(name), &heard);
            assert_eq!(found > 0.97, is_heard, "{name}: {found:.3}");
        }
    });
}

#[test]
fn info_is_a_key_where_no_telephone_event_was_agreed() {
    with_system(&Setup::default(), |system| {
        let mut phone = Phone::new(system, CARRIER, CODE);
        let answer = phone.call("0");
        assert!(!answer.body().contains("telephone-event"), "{}", answer.body());
        for key in ["1", "2", "2", "3"] {
            let body = format!("Signal={key}\r\nDuration=160\r\n");
            let info = phone.request("INFO", "Content-Type: application/dtmf-relay\r\n", &body);
            phone.send(&info);
            assert_eq!(phone.final_response().code(), 200);
            // Sent twice, as when our 200 was lost: still one key.
            phone.send(&info);
            assert_eq!(phone.final_response().code(), 200);
        }
        phone.wait_for_bye();
        assert!(system.path_of_call(1).iter().any(|step| step.starts_with("good")));
    });
}

#[test]
fn info_is_no_second_key_where_telephone_event_was_agreed() {
    with_system(&Setup::default(), |system| {
        let mut phone = Phone::new(system, CARRIER, CODE);
        let to = phone.call("0 101").audio();
        let mut keys = Keys::new(&phone, to);
        keys.press(1, &PLAIN);
        keys.press(2, &PLAIN);
        let body = "Signal=2\r\nDuration=160\r\n";
        let info = phone.request("INFO", "Content-Type: application/dtmf-relay\r\n", body);
        phone.send(&info);
        assert_eq!(phone.final_response().code(), 200);
        let mut keys = Keys { phone: &phone, to, sequence: 200, timestamp: 40_000 };
        keys.press(2, &PLAIN);
        keys.press(3, &PLAIN);
        phone.wait_for_bye();
        assert!(system.path_of_call(1).iter().any(|step| step.starts_with("good")));
    });
}

#[test]
fn calls_that_share_ports_hear_their_own_prompts_and_keys() {
    let shared =
        |system: &System| system.edit("platform.yaml", "  media:\n", "  media:\n    portUse: Shared\n");
    let system = &System::start(&Setup::default(), shared);
    let mut phones: Vec<_> = (0..2).map(|_| Phone::new(system, CARRIER, MENU)).collect();
    let ports: Vec<_> = phones.iter_mut().map(|phone| phone.call("0 101").audio()).collect();
    for (place, (key, name)) in [(2, "two"), (1, "one")].into_iter().enumerate() {
        let phone = &phones[place];
        Keys::new(phone, ports[place]).press(key, &PLAIN);
        phone.wait_for_bye();
        let found = likeness(&system.prompt(name), &phone.rtp.samples());
        assert!(found > 0.97, "{name}: {found:.3}");
    }
    system.wait_for_metric("switchboard_media_legs", 0);
    // What is shared is kept for the calls to come: eight pairs of each worker at most.
    let workers = thread::available_parallelism().unwrap().get() as u64;
    let kept = system.metric("switchboard_media_ports");
    assert!((2..=workers * 16).contains(&kept), "{kept} ports of {workers} workers");
    assert_eq!(system.process().interrupt().code(), Some(0));
}

#[test]
fn a_trunk_whose_keys_come_by_info_agrees_on_no_events_and_takes_no_tones() {
    let by_info = |system: &System| {
        let gateway = "  direction: Both\n  allowlistRefs:\n  - name: carrier\n";
        system.edit("platform.yaml", gateway, &format!("{gateway}  dtmf: Info\n"));
    };
    with_prepared(&Setup::default(), by_info, |system| {
        let mut phone = Phone::new(system, CARRIER, MENU);
        let answer = phone.call("0 101");
        assert!(!answer.body().contains("telephone-event"), "{}", answer.body());
        let info =
            phone.request("INFO", "Content-Type: application/dtmf-relay\r\n", "Signal=3\r\nDuration=100\r\n");
        phone.send(&info);
        phone.wait_for_bye();
        let found = likeness(&system.prompt("three"), &phone.rtp.samples());
        assert!(found > 0.97, "{found:.3}");
    });
}

#[test]
fn a_trunk_whose_keys_are_tones_agrees_on_no_events_and_hears_them() {
    let in_band = |system: &System| {
        let gateway = "  direction: Both\n  allowlistRefs:\n  - name: carrier\n";
        system.edit("platform.yaml", gateway, &format!("{gateway}  dtmf: InBand\n"));
    };
    with_prepared(&Setup::default(), in_band, |system| {
        let mut phone = Phone::new(system, CARRIER, MENU);
        let answer = phone.call("0 101");
        assert!(!answer.body().contains("telephone-event"), "{}", answer.body());
        // ITU-T Q.23: 1 is 697 and 1,209 Hz.
        let mut keys = Keys::new(&phone, answer.audio());
        for frame in 0..10 {
            let sample = |n: usize| {
                let at = (frame * 160 + n) as f64 / 8_000.0 * std::f64::consts::TAU;
                ulaw(((at * 697.0).sin() * 6_000.0 + (at * 1_209.0).sin() * 6_000.0) as i32)
            };
            keys.put(0, false, keys.sequence, (0..160).map(sample).collect());
            keys.sequence = keys.sequence.wrapping_add(1);
            keys.timestamp = keys.timestamp.wrapping_add(160);
            thread::sleep(Duration::from_millis(20));
        }
        keys.speak(10);
        phone.wait_for_bye();
        let found = likeness(&system.prompt("one"), &phone.rtp.samples());
        assert!(found > 0.97, "{found:.3}");
    });
}

/// ITU-T G.711, μ-law.
fn ulaw(sample: i32) -> u8 {
    let magnitude = sample.abs().min(32_635) + 132;
    let segment = (24 - magnitude.leading_zeros().min(24)).min(7) as i32;
    let code = segment << 4 | magnitude >> (segment + 3) & 0x0f;
    !(code as u8 | if sample < 0 { 0x80 } else { 0 })
}

/// How a trunk's keys come and go, as `Trunk.spec.dtmf` has it.
const WAYS: [&str; 3] = ["Rfc4733", "Info", "InBand"];

/// Asserts that a side was given one key, in its own way, and no other in any.
fn assert_one_key(what: &str, way: &str, key: char, rtp: &Rtp, infos: &[Message]) {
    let events: std::collections::BTreeSet<_> = rtp
        .packets()
        .into_iter()
        .filter(|packet| packet.payload_type == 101)
        .map(|packet| (packet.timestamp, packet.payload[0]))
        .collect();
    let code = "0123456789*#ABCD".find(key).unwrap() as u8;
    let informed: Vec<_> =
        infos.iter().filter(|info| info.body().contains(&format!("Signal={key}"))).collect();
    match way {
        "Rfc4733" => {
            assert!(
                events.len() == 1 && events.iter().all(|(_, event)| *event == code),
                "{what}: {events:?}"
            );
            assert!(infos.is_empty(), "{what}: {infos:?}");
        }
        "Info" => {
            assert!(informed.len() == 1 && infos.len() == 1, "{what}: {infos:?}");
            assert!(events.is_empty(), "{what}: {events:?}");
        }
        _ => {
            assert!(events.is_empty() && infos.is_empty(), "{what}: {events:?} {infos:?}");
            assert_eq!(tones_of(&rtp.samples(), key), 1, "{what}: times that its tones are heard");
        }
    }
}

/// How often both tones of a key begin, and are most of what is heard.
fn tones_of(heard: &[i16], key: char) -> usize {
    let (low, high) = key_tones(key);
    let is_key = |piece: &[i16]| {
        let loud = piece.iter().any(|sample| sample.unsigned_abs() > 1_000);
        let (low, high) = (share(piece, low), share(piece, high));
        loud && low > 0.2 && high > 0.2 && low + high > 0.75
    };
    let pieces: Vec<bool> = heard.windows(800).step_by(160).map(is_key).collect();
    pieces.split(|is_key| !is_key).filter(|run| !run.is_empty()).count()
}

fn keys_cross_from(of_caller: &str) {
    for of_callee in WAYS {
        let prepare = |system: &System| {
            let gateway = "  direction: Both\n  allowlistRefs:\n  - name: carrier\n";
            system.edit("platform.yaml", gateway, &format!("{gateway}  dtmf: {of_caller}\n"));
            let phones = "  allowlistRefs:\n  - name: desk-phones\n";
            system.edit("tenant.yaml", phones, &format!("{phones}  dtmf: {of_callee}\n"));
        };
        with_prepared(&Setup::default(), prepare, |system| {
            let formats = |way: &str| if way == "Rfc4733" { "0 101" } else { "0" };
            let callee = Callee::start(system, system.pbx.port(), formats(of_callee));
            let mut phone = Phone::new(system, CARRIER, "+18005550102");
            let to = phone.call(formats(of_caller)).audio();
            let what = format!("{of_caller} and {of_callee}");
            {
                let mut caller = Stream::new(&phone.rtp, to, 7);
                let mut other = Stream::new(&callee.rtp, callee.audio(), 8);
                // Both speak all the time.
                thread::scope(|scope| {
                    scope.spawn(|| {
                        caller.silence(1_000);
                        match of_caller {
                            "Rfc4733" => caller.event('5'),
                            "InBand" => caller.tones('5'),
                            _ => {}
                        }
                        caller.silence(3_000);
                    });
                    other.silence(2_500);
                    match of_callee {
                        "Rfc4733" => other.event('9'),
                        "InBand" => other.tones('9'),
                        _ => callee.inform('9'),
                    }
                    other.silence(1_300);
                });
            }
            if of_caller == "Info" {
                let body = "Signal=5\r\nDuration=160\r\n";
                let info = phone.request("INFO", "Content-Type: application/dtmf-relay\r\n", body);
                phone.send(&info);
                // What was told it in the meantime has come before its answer.
                let mut told = Vec::new();
                loop {
                    let message = phone.receive(PATIENCE).unwrap();
                    if message.method() == "INFO" {
                        phone.answer(&message, "200 OK");
                        // It says it again until it is answered.
                        if told.iter().all(|one: &Message| one.header("CSeq") != message.header("CSeq")) {
                            told.push(message);
                        }
                    } else if message.code() >= 200
                        && message.header("CSeq").is_some_and(|cseq| cseq.ends_with("INFO"))
                    {
                        break;
                    }
                }
                Stream::new(&phone.rtp, to, 7).silence(800);
                assert_one_key(&what, of_caller, '9', &phone.rtp, &told);
            } else {
                assert_one_key(&what, of_caller, '9', &phone.rtp, &[]);
            }
            assert_one_key(&what, of_callee, '5', &callee.rtp, &callee.requests("INFO"));
            phone.hang_up();
        });
    }
}

#[test]
fn events_of_a_caller_cross_in_each_way_and_each_way_comes_back_as_events() {
    keys_cross_from("Rfc4733");
}

#[test]
fn infos_of_a_caller_cross_in_each_way_and_each_way_comes_back_as_infos() {
    keys_cross_from("Info");
}

#[test]
fn tones_of_a_caller_cross_in_each_way_and_each_way_comes_back_as_tones() {
    keys_cross_from("InBand");
}
