//! Datagrams and streams (RFC 3261 §18.3). What parses can be read to its end and parses again; a stream frames alike
//! however it is cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::wire::{Frame, Message, Name, StreamFramer};

fuzz_target!(|input: &[u8]| {
    match Message::parse(Bytes::copy_from_slice(input)) {
        Ok(message) => {
            read(&message);
            Message::parse(message.bytes().clone()).expect("what was parsed parses again");
        }
        Err(malformed) => {
            let _ = malformed.error.to_string();
            malformed.answerable().inspect(|message| read(message));
        }
    }
    let cut = input.first().map_or(1, |first| usize::from(*first) + 1);
    assert_eq!(frames(input.chunks(cut)), frames(std::iter::once(input)));
});

fn read(message: &Message) {
    for (name, value) in message.fields() {
        assert!(!name.is_empty());
        assert!(message.bytes().len() >= name.len() + value.len());
    }
    let _ = (message.method(), message.method_text(), message.call_id(), message.branch(), message.max_forwards());
    let _ = (message.from_tag(), message.to_tag(), message.calling_number(), message.called_number());
    if message.is_request() {
        let _ = (message.uri_text(), message.uri().map(|uri| (uri.ip(), uri.params().count())));
    } else {
        let _ = message.reason();
    }
    assert!(message.vias().count() <= message.bytes().len());
    for name in [Name::Contact, Name::Route, Name::RecordRoute, Name::From, Name::To] {
        assert!(message.addresses(name).count() <= message.bytes().len());
    }
    assert_eq!(message.body(), &message.body_bytes()[..]);
}

/// What a stream becomes, one letter a frame.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut framer = StreamFramer::default();
    let mut seen = String::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(frame) = framer.next_frame() {
            seen.push(match frame {
                Frame::Message(_) => 'm',
                Frame::Malformed { close: false, .. } => 'b',
                Frame::Malformed { close: true, .. } => 'c',
                Frame::Ping => 'p',
            });
        }
    }
    seen
}
