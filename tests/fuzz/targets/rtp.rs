//! RTP packets of one leg, in the order they come: parsed, measured, decoded and played out (RFC 3550).
#![no_main]

use fuzz::{datagrams, moment};
use libfuzzer_sys::fuzz_target;
use rtp::{
    g711::Law,
    jitter::JitterBuffer,
    packet::{HEADER_LENGTH, Packet},
    quality::Meter,
};

fuzz_target!(|input: &[u8]| {
    let mut meter = Meter::default();
    let mut buffer = JitterBuffer::new(20, 200);
    let mut played = [0; 160];
    for (datagram, tick) in datagrams(input).zip(0..) {
        let Ok(packet) = Packet::parse(datagram) else {
            meter.discard();
            continue;
        };
        assert_eq!(&datagram[packet.payload_range()], packet.payload);
        assert!(packet.payload_range().start >= HEADER_LENGTH);
        let written = packet.header.to_bytes();
        assert_eq!(Packet::parse(&written).map(|again| again.header), Ok(packet.header));
        let law = if packet.header.payload_type == 8 { Law::A } else { Law::Mu };
        meter.receive(&packet.header, !packet.header.marker, moment(tick * 20));
        buffer.push(packet.header.timestamp, packet.payload.iter().map(|octet| law.decode(*octet)));
        buffer.pull(&mut played);
    }
    let _ = meter.report(moment(1_000_000));
    let _ = meter.quality();
});
