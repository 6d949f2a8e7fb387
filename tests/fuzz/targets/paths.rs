//! What comes before SIP on its way: frames of a WebSocket (RFC 6455, RFC 7118) as our listener bounds them, and keep-alives of
//! a datagram flow (RFC 5626 §3.5.2).
#![no_main]

#[path = "../../../src/edge/stun.rs"]
mod stun;

use std::{
    io::{self, Cursor, Read, Write},
    net::SocketAddr,
};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::wire::{self, Message};
use tungstenite::{
    Message as Frame, WebSocket,
    protocol::{Role, WebSocketConfig},
};

const MESSAGE_MAX: usize = wire::HEAD_MAX + wire::BODY_MAX;

/// Reads what there is, then nothing; counts what is written.
struct Pipe(Cursor<Vec<u8>>, usize);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.1 += buffer.len();
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    for from in [
        SocketAddr::from(([192, 0, 2, 1], 5060)),
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5060)),
    ] {
        if let Some(answer) = stun::answer(input, from) {
            assert!(answer.len() <= 44 && answer[4..20] == input[4..20]);
        }
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
        .max_write_buffer_size(4 * MESSAGE_MAX);
    let mut socket =
        WebSocket::from_raw_socket(Pipe(Cursor::new(input.to_vec()), 0), Role::Server, Some(config));
    loop {
        match socket.read() {
            Ok(Frame::Text(text)) => take(Bytes::from(text)),
            Ok(Frame::Binary(bytes)) => take(bytes),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // Pings are answered; nothing else is.
    assert!(socket.get_ref().1 <= 2 * input.len() + 128);
});

fn take(bytes: Bytes) {
    assert!(bytes.len() <= MESSAGE_MAX);
    let _ = Message::parse(bytes).map(|message| message.call_id().len());
}
