//! The bad messages of `tests/torture`, sent to a running system by a source that is allowed.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket},
    path::Path,
    time::Duration,
};

use crate::{
    afterwards::{afterwards, warmed_up},
    harness::{Setup, System, wait_until, with_system},
    refusals::assert_a_call_works,
};

/// Nothing comes for a message that is dropped; a response on loopback is there at once, but machines are busy.
const SILENCE: Duration = Duration::from_millis(400);

#[test]
fn each_torture_message_gets_its_answer_and_harms_nobody() {
    // What is handed to the call layer is for this system's number.
    with_system(&Setup::default(), |system| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
        let table = fs::read_to_string(folder.join("expected.tsv")).unwrap();
        let mut wrong = Vec::new();
        let rows: Vec<_> = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let count = rows.len();
        assert!(count >= 101, "only {count} messages");
        let resident = warmed_up(system);
        let already = told(system);
        for row in rows {
            let [file, transport, expected, _] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            let bytes = fs::read(folder.join(file)).unwrap();
            let before = told(system);
            let code = if transport == "tcp" { by_tcp(system, &bytes) } else { by_udp(system, &bytes) };
            if !expected.split('|').any(|one| is_right(one, code)) {
                wrong.push(format!("{file}: {code:?}, not {expected}"));
            }
            // The line is written a moment after the answer is sent.
            if matches!(code, Some(400 | 488 | 505)) {
                wait_until(&format!("the log tells of {file}"), || told(system) > before);
            }
        }
        assert!(told(system) <= count + already, "more than one log line for a message:\n{}", system.log());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_a_call_works(system);
        afterwards(system, "the sets of RFC 4475 and RFC 5118", resident);
    });
}

/// Log lines that tell of a bad message or a refused call.
fn told(system: &System) -> usize {
    let words = ["dropped: ", " answered=", " refused: "];
    system.log().lines().filter(|line| words.iter().any(|word| line.contains(word))).count()
}

/// Whether an answer's code fits one alternative of `expected.tsv`; `None` is silence.
fn is_right(alternative: &str, code: Option<u16>) -> bool {
    match (alternative, code) {
        // A request that is handed up is answered by the call layer; a response is dropped.
        ("ok", Some(code)) => code == 200 || code >= 300,
        ("ok" | "drop", None) => true,
        ("drop", Some(_)) => false,
        (alternative, code) => {
            let wanted = alternative.strip_prefix("ok>").unwrap_or(alternative);
            code.is_some_and(|code| wanted == code.to_string())
        }
    }
}

/// Sent from the port that its topmost Via names, else the default one, as many of these messages have no `rport` and are
/// answered there; and from an address of this run's own, since nobody else may have that port.
fn by_udp(system: &System, bytes: &[u8]) -> Option<u16> {
    let own = [127, 0, 77, (std::process::id() % 254 + 1) as u8];
    let port = ["[2001:db8::9:1]:6050", "[::ffff:192.0.2.10]:19823"]
        .iter()
        .find(|sent_by| contains(bytes, format!("Via: SIP/2.0/UDP {sent_by};").as_bytes()))
        .map_or(5_060, |sent_by| sent_by.rsplit(':').next().unwrap().parse().unwrap());
    let socket = UdpSocket::bind((Ipv4Addr::from(own), port)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send_to(bytes, system.sip).unwrap();
    let mut buffer = [0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).ok()?;
        let code = code(&buffer[..length]);
        // An earlier message's call may be under way still.
        let is_of_this = call_id(&buffer[..length]).is_none_or(|id| contains(bytes, id));
        if is_of_this && code.is_some_and(|code| code >= 200) {
            return code;
        }
    }
}

fn call_id(message: &[u8]) -> Option<&[u8]> {
    let line = message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"Call-ID:"))?;
    Some(line[8..].trim_ascii())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

fn by_tcp(system: &System, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(system.sip).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answers.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8_lossy(&answers);
    let codes = text.match_indices("SIP/2.0 ").filter_map(|(place, _)| code(&answers[place..]));
    codes.filter(|code| *code >= 200).last()
}

fn code(message: &[u8]) -> Option<u16> {
    std::str::from_utf8(message.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()
}
