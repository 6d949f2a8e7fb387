//! A card's number, however its keys come, is in nothing that leaves the process or stays of the call.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    audio::{self, melody, share, tone},
    harness::{Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Phone},
    sounds::{CARD, Mouth, fetch, list, prepare},
    traces::Collector,
};

const DIGITS: &str = "4929817350264138";

/// Rows and columns of keys, in Hz.
const ROWS: [(f64, &str); 4] = [(697.0, "123A"), (770.0, "456B"), (852.0, "789C"), (941.0, "*0#D")];
const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// What a capture server gets.
struct Captured(Arc<Mutex<Vec<u8>>>, SocketAddr);

impl Captured {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let all = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&all);
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(length) = socket.recv(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self(all, address)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A key's two notes.
fn notes(key: char) -> Vec<i16> {
    let (row, place) = ROWS.iter().find_map(|(row, keys)| Some((row, keys.find(key)?))).unwrap();
    let (low, high) = (tone(*row, 0.1), tone(COLUMNS[place], 0.1));
    low.iter().zip(high).map(|(low, high)| low / 2 + high / 2).collect()
}

/// Every file below a folder that has the digits in it.
fn holding(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holding(&path, found);
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(DIGITS) {
            found.push(path.display().to_string());
        }
    }
}

fn watched(captured: &Captured, collector: SocketAddr) -> impl FnOnce(&System) {
    let lines = format!(
        "  drainSeconds: 1\n  capture: {{collector: \"{}\"}}\n  tracing: {{endpoint: \"http://{collector}\"}}\n",
        captured.1
    );
    move |system| {
        prepare(system);
        system.edit("platform.yaml", "  drainSeconds: 1\n", &lines);
    }
}

/// Everything that is told of the one call, by whoever tells.
fn told(
    system: &System,
    call: &str,
    captured: &Captured,
    collector: &Collector,
) -> Vec<(&'static str, String)> {
    wait_until("its spans are there", || collector.names().iter().any(|name| name == "call"));
    vec![
        ("records", system.get("/api/v1/interactions")),
        ("list of recordings", system.get("/api/v1/recordings")),
        ("explanation", system.get(&format!("/api/v1/explanations/{call}"))),
        ("ladder", system.get(&format!("/api/v1/ladders/{call}"))),
        ("metrics", system.get("/metrics")),
        ("log", system.log()),
        ("HEP", captured.text()),
        ("traces", collector.text()),
    ]
}

#[test]
fn keys_that_come_by_info_are_in_no_copy_span_ladder_or_record() {
    let (collector, address) = Collector::start();
    let captured = Captured::start();
    with_prepared(&Setup::default(), watched(&captured, address), |system| {
        let mut phone = Phone::new(system, CARRIER, CARD);
        let to = phone.call("0").audio();
        let mut mouth = Mouth::new(&phone, to);
        let first = system.prompt("one");
        mouth.until("the first prompt", |heard| audio::likeness(&first, heard) > 0.9);
        mouth.silence(500);
        for key in DIGITS.chars() {
            let body = format!("Signal={key}\r\nDuration=100\r\n");
            let request = phone.request("INFO", "Content-Type: application/dtmf-relay\r\n", &body);
            phone.send(request);
            assert_eq!(phone.final_response().code(), 200);
        }
        let mut mouth = Mouth::new(&phone, to);
        let last = system.prompt("two");
        mouth.until("the last prompt", |heard| audio::likeness(&last, heard) > 0.5);
        phone.wait_for_bye();
        assert_eq!(system.path_of_call(1)[2], "card: digits");
        wait_until("the copies are there", || captured.text().matches("INFO sip:").count() >= DIGITS.len());
        for (what, text) in told(system, &phone.call_id, &captured, &collector) {
            assert!(!text.contains(DIGITS), "{what} tells the card's number: {text}");
            for key in '0'..='9' {
                assert!(!text.contains(&format!("Signal={key}")), "{what} tells a key: {text}");
            }
        }
        let mut found = Vec::new();
        holding(&system.dir.path().join("state"), &mut found);
        assert!(found.is_empty(), "{found:?}");
    });
}

#[test]
fn keys_that_come_as_tones_are_heard_in_no_recording_and_told_by_nobody() {
    let (collector, address) = Collector::start();
    let captured = Captured::start();
    with_prepared(&Setup::default(), watched(&captured, address), |system| {
        let after = melody(97, 1.2);
        let mut phone = Phone::new(system, CARRIER, CARD);
        // No telephone-event: what is pressed is in the voice alone.
        let to = phone.call("0").audio();
        let mut mouth = Mouth::new(&phone, to);
        let (first, last) = (system.prompt("one"), system.prompt("two"));
        mouth.until("the first prompt", |heard| audio::likeness(&first, heard) > 0.9);
        mouth.silence(500);
        for key in DIGITS.chars() {
            mouth.say(&notes(key));
            mouth.silence(100);
        }
        mouth.silence(300);
        mouth.say(&after);
        mouth.until("the last prompt", |heard| audio::likeness(&last, heard) > 0.5);
        phone.wait_for_bye();
        assert_eq!(system.path_of_call(1)[2], "card: digits");
        for (what, text) in told(system, &phone.call_id, &captured, &collector) {
            assert!(!text.contains(DIGITS), "{what} tells the card's number: {text}");
        }
        let parts = list(system, "/api/v1/recordings");
        assert_eq!(parts.len(), 1, "{parts:?}");
        let heard = &fetch(system, &parts[0])[0];
        let found = audio::likeness(&after, heard);
        assert!(found > 0.9, "what was said after: {found:.3}");
        let pressed = heard.chunks_exact(800).filter(|piece| {
            let loud = piece.iter().any(|sample| sample.unsigned_abs() > 2_000);
            let best = |notes: &[f64]| notes.iter().map(|note| share(piece, *note)).fold(0.0, f64::max);
            let rows: Vec<f64> = ROWS.iter().map(|(row, _)| *row).collect();
            loud && best(&rows) > 0.3 && best(&COLUMNS) > 0.3
        });
        assert_eq!(pressed.count(), 0, "pieces with a key's tones are in the recording");
    });
}
