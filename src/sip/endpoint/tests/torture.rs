//! The 49 messages of RFC 4475 and further bad ones, each with what is to become of it.

use std::{fs, path::PathBuf};

use model::net::Transport;

use super::*;
use crate::{
    pair::config,
    wire::{Frame, StreamFramer},
};

#[test]
fn each_torture_message_is_answered_as_expected() {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "torture"].iter().collect();
    let table = fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(rows.len() >= 101, "only {} messages", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let mut columns = row.split('\t');
        let (file, transport, expected) =
            (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap());
        let bytes = fs::read(folder.join(file)).unwrap();
        let seen = outcome(transport, bytes.into());
        if !expected.split('|').any(|one| one == seen || (seen == "ok" && one.starts_with("ok"))) {
            wrong.push(format!("{file}: {seen}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn outcome(transport: &str, bytes: Bytes) -> String {
    let transport = if transport == "tcp" { Transport::Tcp } else { Transport::Udp };
    let mut config = config(1, transport);
    config.listeners[0].serves_register = false;
    let mut endpoint = Endpoint::new(config, 1);
    let remote = "127.0.0.1:40000".parse().unwrap();
    let connection = u64::from(transport.is_reliable());
    let flow = Flow { transport, listener: ListenerIx(0), remote, connection };
    for input in inputs(flow, bytes) {
        endpoint.handle(epoch(), input);
    }
    let mut words = Vec::new();
    while let Some(output) = endpoint.poll() {
        match output {
            Output::Event(Event::Invited { .. }) => words.push("ok".to_owned()),
            Output::Transmit { bytes, .. } => words.push(String::from_utf8_lossy(&bytes[8..11]).into_owned()),
            Output::Note(note) if note.what == "a response to nothing that we sent" => {
                words.push("ok".to_owned())
            }
            Output::Event(_) | Output::Note(_) => {}
        }
    }
    words.retain(|word| word != "100");
    words.dedup();
    if words.is_empty() { "drop".to_owned() } else { words.join(" ") }
}

fn inputs(flow: Flow, bytes: Bytes) -> Vec<Input> {
    if !flow.transport.is_reliable() {
        return vec![Input::datagram(flow, bytes)];
    }
    let mut framer = StreamFramer::default();
    let mut inputs = Vec::new();
    // In small pieces, as a stream may come.
    for piece in bytes.chunks(100) {
        framer.push(piece);
        while let Some(frame) = framer.next_frame() {
            inputs.extend(match frame {
                Frame::Message(message) => Some(Input::Message { flow, message }),
                Frame::Malformed { malformed, .. } => Some(Input::Malformed { flow, malformed }),
                Frame::Ping => None,
            });
        }
    }
    inputs
}
