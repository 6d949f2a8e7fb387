//! Telephone-events in any order and of any content, and digits out (RFC 4733). A key that goes down is one of sixteen.
#![no_main]

use fuzz::datagrams;
use libfuzzer_sys::fuzz_target;
use rtp::{
    dtmf::{DIGITS_MAX, Payload, Received, Receiver, Sender, Step},
    packet::Packet,
};

fuzz_target!(|input: &[u8]| {
    let mut receiver = Receiver::default();
    for datagram in datagrams(input) {
        let Ok(packet) = Packet::parse(datagram) else { continue };
        let heard = receiver.receive(packet.header.ssrc, packet.header.timestamp, packet.payload);
        if let Received::Pressed(key) = heard {
            assert!("0123456789*#ABCD".contains(key));
        }
        if let Ok(payload) = Payload::parse(packet.payload) {
            assert_eq!(Payload::parse(&payload.to_bytes()), Ok(payload));
        }
    }
    if let Some((&[duration, gap, interval], digits)) = input.split_first_chunk::<3>() {
        send(&String::from_utf8_lossy(digits), duration, gap, interval);
    }
});

/// Whatever is asked for, sending ends: a second and a half per digit at the very most, in steps of 10 ms or more.
fn send(digits: &str, duration: u8, gap: u8, interval: u8) {
    let mut sender = Sender::new(digits, duration.into(), gap.into(), u16::from(interval).clamp(10, 60));
    let steps_max = DIGITS_MAX * 150 + 10;
    assert!((0..steps_max).any(|_| matches!(sender.step(), Step::Done)), "sending does not end");
}
