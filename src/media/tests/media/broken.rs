//! What no telephone should send: each is counted, and the call beside it loses nothing.

use std::{net::UdpSocket, time::Duration};

use model::{
    LegId,
    media::{Codec, Direction, Event, Order},
};
use rtp::packet::Header;

use crate::peer::{Phone, World};

/// A call beside, which must not lose a packet.
struct Beside {
    a: Phone,
    b: Phone,
    said: u8,
}

impl Beside {
    fn new(world: &World) -> Self {
        let (a, b) = (world.phone(9, 1, Codec::Pcmu), world.phone(9, 2, Codec::Pcmu));
        world.bridge(9, 1, 2);
        world.settle(9);
        Self { a, b, said: 0 }
    }

    fn goes_on(&mut self) {
        self.said += 1;
        self.a.say(&[self.said; 160]);
        assert_eq!(self.b.hear().1, [self.said; 160]);
    }
}

#[test]
fn malformed_packets_are_counted_and_not_relayed() {
    let world = World::new();
    let mut beside = Beside::new(&world);
    let (mut a, b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    a.say(&[1; 160]);
    b.hear();
    let header = a.header.to_bytes();
    let with_first = |first: u8, rest: &[u8]| [&[first][..], &header[1..], rest].concat();
    let table: [(&str, Vec<u8>); 12] = [
        ("version 0", with_first(0x00, &[9; 160])),
        ("version 3", with_first(0xc0, &[9; 160])),
        ("padding longer than the packet", with_first(0xa0, &[200; 160])),
        ("padding of nothing", with_first(0xa0, &[0; 160])),
        ("padding without a payload", with_first(0xa0, &[])),
        ("an extension beyond the end", with_first(0x90, &[0xbe, 0xde, 0xff, 0xff, 1, 2, 3, 4])),
        ("half an extension's head", with_first(0x90, &[0xbe, 0xde])),
        ("contributors beyond the end", with_first(0x8f, &[9; 8])),
        ("nothing", Vec::new()),
        ("half a header", header[..7].to_vec()),
        ("RTCP at the RTP port", [&[0x80, 200, 0, 6][..], &[0; 24]].concat()),
        ("longer than any packet", vec![0x80; 3_000]),
    ];
    let strange = table.len() as u64;
    for (_, bytes) in &table {
        a.rtp.send_to(bytes, a.to).unwrap();
        beside.goes_on();
    }
    a.say(&[2; 160]);
    assert_eq!(b.hear().1, [2; 160], "the first that is heard after them");
    let quality = world.release(1, 1);
    assert_eq!((quality.packets_received, quality.packets_discarded), (2, strange));
    assert_eq!(world.server.counters().packets_discarded, strange);
}

#[test]
fn strange_streams_stay_streams() {
    let world = World::new();
    let mut beside = Beside::new(&world);
    let (mut a, b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    let mut heard = Vec::new();
    let mut say = |a: &mut Phone, change: &dyn Fn(&mut Header)| {
        change(&mut a.header);
        a.say(&[1; 160]);
        heard.push(b.hear().0);
        beside.goes_on();
    };
    // The sequence wraps at the seventh packet.
    (0..10).for_each(|_| say(&mut a, &|_| ()));
    say(&mut a, &|header| header.timestamp = header.timestamp.wrapping_add(1 << 31));
    say(&mut a, &|header| header.timestamp = header.timestamp.wrapping_sub(90_000));
    say(&mut a, &|header| header.ssrc ^= 1);
    say(&mut a, &|_| ());
    assert!(heard.iter().all(|header| header.ssrc == heard[0].ssrc), "one source, whatever the peer does");
    assert!(heard.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
    // A sequence that begins elsewhere is believed with its second packet (RFC 3550 A.1).
    a.header.sequence = a.header.sequence.wrapping_add(30_000);
    a.say(&[3; 160]);
    a.say(&[4; 160]);
    assert_eq!(b.hear().1, [4; 160]);
    // A payload type that nobody agreed on is nothing to anybody.
    a.send(Header { payload_type: 77, ..a.header }, &[9; 160]);
    a.send(Header { payload_type: 34, ..a.header }, &[9; 160]);
    a.header.sequence = a.header.sequence.wrapping_add(1);
    a.say(&[5; 160]);
    assert_eq!(b.hear().1, [5; 160]);
}

#[test]
fn a_collision_of_sources_and_ten_times_the_rate_are_carried() {
    let world = World::new();
    let mut beside = Beside::new(&world);
    let (mut a, mut b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu));
    // Both peers have one SSRC.
    b.header.ssrc = a.header.ssrc;
    world.bridge(1, 1, 2);
    world.settle(1);
    for octet in 1..100 {
        a.say(&[octet; 160]);
        b.say(&[octet + 100; 160]);
        assert_eq!((b.hear().1, a.hear().1), (vec![octet; 160], vec![octet + 100; 160]));
        beside.goes_on();
    }
    // Ten packets where one should come, for two seconds; what a socket holds while its worker is elsewhere is less than that.
    for burst in 0..10u8 {
        for packet in 0..10 {
            a.say(&[burst * 10 + packet + 1; 160]);
        }
        for packet in 0..10 {
            assert_eq!(b.hear().1, [burst * 10 + packet + 1; 160]);
        }
        beside.goes_on();
    }
    // Eight seconds' packets at once are more than a socket holds, be it the server's or the peer's: some are lost, and
    // who speaks next is heard.
    for _ in 0..400 {
        a.say(&[200; 160]);
    }
    let begun = std::time::Instant::now();
    while !b.collect().iter().any(|(_, payload)| payload[..] == [201; 160]) {
        assert!(begun.elapsed() < crate::peer::PATIENCE, "nothing is heard after the burst");
        a.say(&[201; 160]);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    beside.goes_on();
}

#[test]
fn broken_reports_are_counted_and_a_bye_of_nobody_ends_nothing() {
    let world = World::new();
    let mut beside = Beside::new(&world);
    let (mut a, b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    let to = (a.to.ip(), a.to.port() + 1);
    let bye_of_nobody = [0x81, 203, 0, 1, 1, 2, 3, 4];
    let empty_report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    let good = [&empty_report[..], &bye_of_nobody].concat();
    a.rtcp.send_to(&good, to).unwrap();
    let broken: [&[u8]; 6] = [
        &[],
        &[0x80, 201],
        &[0x40, 201, 0, 1, 0, 0, 0, 1],
        &[0x81, 201, 0, 1, 0, 0, 0, 1],
        &[0x80, 200, 0xff, 0xff, 0, 0, 0, 1],
        &[0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 202, 0, 9],
    ];
    for bytes in broken {
        a.rtcp.send_to(bytes, to).unwrap();
        beside.goes_on();
    }
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    stranger.send_to(&good, to).unwrap();
    a.say(&[1; 160]);
    assert_eq!(b.hear().1, [1; 160]);
    let strange = broken.len() as u64 + 1;
    let begun = std::time::Instant::now();
    while world.server.counters().packets_discarded < strange {
        assert!(begun.elapsed() < crate::peer::PATIENCE, "{:?}", world.server.counters());
    }
    assert_eq!(world.release(1, 1).packets_discarded, strange);
}

#[test]
fn a_refused_stream_and_a_changed_address_are_what_they_say() {
    let world = World::new();
    let (mut a, mut b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    a.say(&[1; 160]);
    assert_eq!(b.hear().1, [1; 160]);
    // Port 0: nothing can be sent there.
    let before = b.parameters.remote_rtp;
    b.parameters.remote_rtp.set_port(0);
    world.configure(1, 2, &b);
    world.settle(1);
    a.say(&[2; 160]);
    world.await_received(2);
    // Another address: what comes next goes there.
    let moved = UdpSocket::bind("127.0.0.1:0").unwrap();
    moved.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    b.parameters.remote_rtp = moved.local_addr().unwrap();
    b.parameters.direction = Direction::SendRecv;
    world.configure(1, 2, &b);
    world.settle(1);
    a.say(&[3; 160]);
    let mut buffer = [0; 500];
    while moved.recv(&mut buffer).unwrap() != 172 || buffer[12] != 3 {}
    assert_ne!(before, b.parameters.remote_rtp);
    assert!(b.is_quiet());
}

fn silence(world: &World) -> Event {
    loop {
        let event = world.any_event();
        if matches!(event, Event::Silent { .. }) {
            return event;
        }
    }
}

#[test]
fn a_peer_that_says_nothing_is_told_of_twice() {
    let world = World::with_silence(4, None, 4, Duration::from_millis(2_500));
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    let Event::Silent { leg: LegId(1), silent_ms, heard_before: false } = silence(&world) else { panic!() };
    assert!((2_000..60_000).contains(&silent_ms), "{silent_ms}");
    let Event::Silent { silent_ms, heard_before: false, .. } = silence(&world) else { panic!() };
    assert!((2_500..60_000).contains(&silent_ms), "{silent_ms}");
    // It is heard, and falls silent again.
    phone.say(&[1; 160]);
    let Event::Silent { silent_ms, heard_before: true, .. } = silence(&world) else { panic!() };
    assert!((2_500..60_000).contains(&silent_ms), "{silent_ms}");
    // On hold nothing is expected of it, and the path is kept open nevertheless.
    phone.parameters.direction = Direction::Inactive;
    world.configure(1, 1, &phone);
    std::thread::sleep(Duration::from_millis(2_700));
    let nowhere = Order::Allocate { leg: LegId(9), network: "nowhere".into(), shared: false, remote: None };
    world.order(1, nowhere);
    assert!(matches!(world.any_event(), Event::Refused { .. }), "no silence was told on hold");
}
