//! A media server heard and spoken to by telephones on loopback, through its orders and events alone.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic, in its helpers too"
)]

mod broken;
mod dtls;
mod forks;
mod listening;
mod namespace;
mod network;
mod openssl;
mod peer;
mod planes;
mod quality;
mod recordings;
mod secure;
mod sharing;
mod spans;
mod talk_off;
mod xdp;

use std::{collections::BTreeMap, fs, net::UdpSocket, time::Duration};

use media::AudioSource;
use model::{
    AudioId, LegId, PlayId,
    media::{Codec, Direction, Event, Order, PlayEnd, Refusal},
};
use peer::{PATIENCE, World, correlation, decoded, library, numbers, sound, wav};
use rtp::{
    dtmf,
    g711::Law,
    rtcp::{Compound, Ntp, OWN_MAX, Own, Packet, Report, SenderInfo},
};

const LEG: LegId = LegId(1);

fn ended(play: u64, how: PlayEnd) -> Event {
    Event::PlayEnded { leg: LEG, play: PlayId(play), how }
}

/// UDP sockets that are bound to the world's ports.
fn bound_sockets(world: &World) -> usize {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let port = |line: &str| {
        let local = line.split_whitespace().nth(1)?;
        u16::from_str_radix(local.split_once(':')?.1, 16).ok()
    };
    table.lines().skip(1).filter_map(port).filter(|port| world.ports.contains(port)).count()
}

#[test]
fn ports_run_out_and_come_back_and_nothing_leaks() {
    let world = World::with(2, None, 10);
    for round in 0..20 {
        for leg in [1, 2] {
            let Event::Allocated { address, rtp_port, .. } = world.allocate(round, leg) else { panic!() };
            assert_eq!(address.to_string(), "192.0.2.7");
            assert!(rtp_port % 2 == 0 && world.ports.contains(&rtp_port));
        }
        let refused = Event::Refused { leg: LegId(3), reason: Refusal::PortsExhausted };
        assert_eq!(world.allocate(round, 3), refused);
        assert_eq!(world.allocate(round + 1_000, 3), refused);
        let counters = world.server.counters();
        assert_eq!((counters.sessions, counters.legs, counters.ports_in_use), (1, 2, 4));
        assert_eq!(bound_sockets(&world), 4);
        world.release(round, 1);
        world.release(round, 2);
        let counters = world.server.counters();
        assert_eq!((counters.sessions, counters.legs, counters.ports_in_use), (0, 0, 0));
        assert_eq!(bound_sockets(&world), 0);
    }
}

#[test]
fn what_cannot_be_allocated_is_refused_with_its_reason() {
    let world = World::with(4, None, 1);
    world.order(1, Order::Allocate { leg: LEG, network: "wan".into(), shared: false, remote: None });
    assert_eq!(world.event(), Event::Refused { leg: LEG, reason: Refusal::NoSuchNetwork });
    let first = world.allocate(1, 1);
    assert_eq!(world.allocate(1, 1), first, "an order that comes twice is answered twice");
    assert_eq!(world.allocate(2, 1), Event::Refused { leg: LEG, reason: Refusal::Draining });
    world.release(1, 1);
    assert!(matches!(world.allocate(2, 1), Event::Allocated { .. }));
}

#[test]
fn a_prompt_is_heard_as_it_was_recorded() {
    for (codec, ptime, frame) in [(Codec::Pcmu, 20, 160), (Codec::Pcma, 30, 240), (Codec::Pcmu, 10, 80)] {
        let world = World::new();
        world.server.set_library(library(&[(1, 0.6)]));
        let phone = world.phone_with(1, 1, codec, |parameters| parameters.ptime_ms = ptime);
        world.play(1, 1, 5, &[1], Some(1));
        let packets = phone.hear_many(4_800 / frame);
        assert_eq!(world.event(), ended(5, PlayEnd::Finished));
        for (place, (header, payload)) in packets.iter().enumerate() {
            assert_eq!(payload.len(), frame);
            assert_eq!(header.payload_type, codec.payload_type());
            let expected = (place as u16, (place * frame) as u32, place == 0);
            assert_eq!(numbers(&packets)[place], expected);
        }
        let alike = correlation(&decoded(codec, &packets), &sound(8_000, 0.6, 1.0));
        assert!(alike > 0.99, "{codec:?} {alike}");
        assert_eq!(world.release(1, 1).packets_sent, (4_800 / frame) as u64);
    }
}

#[test]
fn prompts_follow_are_replaced_repeated_and_stopped() {
    let world = World::new();
    world.server.set_library(library(&[(1, 0.1), (2, 0.1)]));
    let phone = world.phone(1, 1, Codec::Pcmu);
    world.play(1, 1, 1, &[1, 2], Some(1));
    let both = [sound(8_000, 0.1, 1.0), sound(8_000, 0.1, 2.0)].concat();
    assert!(correlation(&decoded(Codec::Pcmu, &phone.hear_many(10)), &both) > 0.99);
    assert_eq!(world.event(), ended(1, PlayEnd::Finished));

    world.play(1, 1, 2, &[1], None);
    let rounds = [sound(8_000, 0.1, 1.0), sound(8_000, 0.1, 1.0)].concat();
    assert!(correlation(&decoded(Codec::Pcmu, &phone.hear_many(10)), &rounds) > 0.99);
    world.play(1, 1, 3, &[2], None);
    assert_eq!(world.event(), ended(2, PlayEnd::Stopped));
    world.order(1, Order::StopPlay { leg: LEG });
    assert_eq!(world.event(), ended(3, PlayEnd::Stopped));
    world.order(1, Order::StopPlay { leg: LEG });

    world.play(1, 1, 4, &[9], Some(1));
    assert_eq!(world.event(), ended(4, PlayEnd::UnknownAudio));
    world.play(1, 1, 5, &[], Some(1));
    assert_eq!(world.event(), ended(5, PlayEnd::Finished));
    world.play(1, 1, 6, &[1], None);
    world.order(1, Order::Release { leg: LEG });
    assert_eq!(world.event(), ended(6, PlayEnd::Stopped));
    assert!(matches!(world.event(), Event::Released { .. }));
}

#[test]
fn a_running_session_keeps_the_prompts_it_began_with() {
    let world = World::new();
    world.server.set_library(library(&[(1, 0.04)]));
    let _old = world.phone(1, 1, Codec::Pcmu);
    world.server.set_library(library(&[(2, 0.04)]));
    let _new = world.phone(2, 1, Codec::Pcmu);
    for (session, audio, how) in [
        (1, 1, PlayEnd::Finished),
        (1, 2, PlayEnd::UnknownAudio),
        (2, 1, PlayEnd::UnknownAudio),
        (2, 2, PlayEnd::Finished),
    ] {
        world.play(session, 1, 1, &[audio], Some(1));
        assert_eq!(world.event(), ended(1, how));
    }
}

#[test]
fn a_prompt_ordered_before_configuration_is_heard_from_its_beginning() {
    let world = World::new();
    world.server.set_library(library(&[(1, 0.1)]));
    let Event::Allocated { rtp_port, .. } = world.allocate(1, 1) else { panic!() };
    world.play(1, 1, 1, &[1], Some(1));
    let phone = peer::Phone::new(Codec::Pcmu, rtp_port);
    world.configure(1, 1, &phone);
    let heard = decoded(Codec::Pcmu, &phone.hear_many(5));
    assert!(correlation(&heard, &sound(8_000, 0.1, 1.0)) > 0.99);
}

#[test]
fn each_key_is_told_once_whatever_becomes_of_its_packets() {
    let world = World::new();
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    phone.say(&[1; 160]);
    let packet =
        |code, end: bool, duration: u16| dtmf::Payload { code, end, volume: 10, duration }.to_bytes();
    // (begin, code, end, duration): out of order, doubled, ends lost, only an end, late, no key at all.
    let packets = [
        (1_000, 1, false, 320),
        (1_000, 1, false, 160),
        (1_000, 1, true, 480),
        (1_000, 1, true, 480),
        (3_000, 2, false, 160),
        (3_000, 2, false, 160),
        (5_000, 2, true, 400),
        (3_000, 2, true, 480),
        (7_000, 16, true, 400),
        (9_000, 11, false, 160),
    ];
    for (begin, code, end, duration) in packets {
        phone.press(begin, packet(code, end, duration));
    }
    phone.send(rtp::packet::Header { payload_type: 101, ..phone.header }, &[1, 2]);
    for digit in ['1', '2', '2', '#'] {
        assert_eq!(world.event(), Event::Dtmf { leg: LEG, digit });
    }
    world.release(1, 1);
}

#[test]
fn digits_are_sent_as_events() {
    let world = World::new();
    let phone = world.phone_with(1, 1, Codec::Pcmu, |parameters| parameters.send_telephone_event = Some(96));
    world.order(1, Order::SendDtmf { leg: LEG, digits: "19#".into(), duration_ms: 60, gap_ms: 60 });
    let (mut receiver, mut heard, mut ends, mut markers) = (dtmf::Receiver::default(), String::new(), 0, 0);
    while ends < 9 {
        let (header, payload) = phone.hear_any();
        if header.payload_type != 96 {
            continue;
        }
        markers += u32::from(header.marker);
        ends += u32::from(dtmf::Payload::parse(&payload).unwrap().end);
        if let dtmf::Received::Pressed(digit) = receiver.receive(header.ssrc, header.timestamp, &payload) {
            heard.push(digit);
        }
    }
    assert_eq!((heard.as_str(), markers), ("19#", 3));
    assert_eq!(world.event(), Event::DtmfSent { leg: LEG });
}

#[test]
fn digits_go_as_tones_to_a_peer_without_telephone_event() {
    let world = World::new();
    let phone = world.phone_with(1, 1, Codec::Pcma, |parameters| parameters.send_telephone_event = None);
    world.order(1, Order::SendDtmf { leg: LEG, digits: "5".into(), duration_ms: 100, gap_ms: 40 });
    let heard = decoded(Codec::Pcma, &phone.hear_many(5));
    let mut expected = [0; 800];
    dtmf::Tone::new(5).unwrap().fill(&mut expected);
    assert!(correlation(&heard, &expected) > 0.99);
    assert_eq!(world.event(), Event::DtmfSent { leg: LEG });
}

#[test]
fn two_legs_hear_each_other_in_every_pair_of_codecs() {
    for (first, second) in
        [(Codec::Pcmu, Codec::Pcmu), (Codec::Pcmu, Codec::Pcma), (Codec::Pcma, Codec::Pcmu)]
    {
        let world = World::new();
        let (mut a, mut b) = (world.phone(1, 1, first), world.phone(1, 2, second));
        world.bridge(1, 1, 2);
        world.settle(1);
        for seed in [1.0, 2.0] {
            let (talker, listener) = if seed == 1.0 { (&mut a, &b) } else { (&mut b, &a) };
            let (from, to) = (talker.parameters.codec, listener.parameters.codec);
            let said = sound(8_000, 0.2, seed);
            let mut packets = Vec::new();
            for frame in said.chunks(160) {
                let payload: Vec<u8> = frame.iter().map(|&sample| Law::from(from).encode(sample)).collect();
                talker.say(&payload);
                packets.push(listener.hear());
                if from == to {
                    assert_eq!(packets.last().unwrap().1, payload);
                }
            }
            assert!(packets.iter().all(|(header, _)| header.payload_type == to.payload_type()));
            assert!(correlation(&decoded(to, &packets), &said) > 0.99);
            let expected: Vec<_> = (0..10u16).map(|n| (n, u32::from(n) * 160, n == 0)).collect();
            assert_eq!(numbers(&packets), expected);
        }
        world.await_received(20);
        assert_eq!(world.release(1, 1).packets_received, 10);
        b.say(&[1; 160]);
        world.await_received(21);
        assert!(a.is_quiet());
    }
}

#[test]
fn keys_cross_a_bridge_in_the_other_sides_terms_and_are_told() {
    let world = World::new();
    let mut a = world.phone(1, 1, Codec::Pcmu);
    let b = world.phone_with(1, 2, Codec::Pcmu, |parameters| parameters.send_telephone_event = Some(97));
    world.bridge(1, 1, 2);
    world.settle(1);
    a.say(&[1; 160]);
    let begin = a.header.timestamp;
    for duration in [160u16, 320, 480] {
        let payload = dtmf::Payload { code: 7, end: duration == 480, volume: 10, duration };
        a.press(begin, payload.to_bytes());
    }
    a.header.timestamp = begin.wrapping_add(480);
    a.say(&[2; 160]);
    let packets = b.hear_many(5);
    let types: Vec<_> = packets.iter().map(|(header, _)| header.payload_type).collect();
    assert_eq!(types, [0, 97, 97, 97, 0]);
    let times: Vec<_> =
        numbers(&packets).iter().map(|&(sequence, timestamp, _)| (sequence, timestamp)).collect();
    assert_eq!(times, [(0, 0), (1, 160), (2, 160), (3, 160), (4, 640)]);
    assert_eq!(world.event(), Event::Dtmf { leg: LEG, digit: '7' });
}

#[test]
fn keys_cross_a_bridge_as_tones_where_events_are_not_understood() {
    let world = World::new();
    let mut a = world.phone(1, 1, Codec::Pcmu);
    let b = world.phone_with(1, 2, Codec::Pcmu, |parameters| parameters.send_telephone_event = None);
    world.bridge(1, 1, 2);
    world.settle(1);
    for (duration, end) in [(160, false), (320, false), (480, true)] {
        a.press(4_000, dtmf::Payload { code: 3, end, volume: 10, duration }.to_bytes());
    }
    let heard = decoded(Codec::Pcmu, &b.hear_many(5));
    let mut expected = [0; 800];
    dtmf::Tone::new(3).unwrap().fill(&mut expected);
    assert!(correlation(&heard, &expected) > 0.99);
}

#[test]
fn a_prompt_and_the_bridge_after_it_are_one_stream() {
    let world = World::new();
    world.server.set_library(library(&[(1, 2.0)]));
    let phone = world.phone(1, 1, Codec::Pcmu);
    let mut other = world.phone(1, 2, Codec::Pcma);
    world.play(1, 1, 1, &[1], Some(1));
    let mut packets = phone.hear_many(5);
    world.bridge(1, 1, 2);
    assert_eq!(world.event(), ended(1, PlayEnd::Stopped));
    world.settle(1);
    for _ in 0..5 {
        other.say(&[1; 160]);
    }
    // What was sent before the bridge may still be under way.
    while packets.len() < 5 || !packets[packets.len() - 5].0.marker {
        packets.push(phone.hear());
    }
    let numbers = numbers(&packets);
    for (place, pair) in numbers.windows(2).enumerate() {
        let ((first, before, _), (second, after, marker)) = (pair[0], pair[1]);
        assert_eq!(second, first + 1);
        let seam = place + 2 == numbers.len() - 4;
        assert_eq!(marker, seam);
        assert!(if seam { after >= before + 160 } else { after == before + 160 });
    }
    // A prompt over the bridge takes its place, and the bridge comes back after it.
    world.play(1, 1, 2, &[1], Some(1));
    phone.hear_many(3);
    world.order(1, Order::StopPlay { leg: LEG });
    assert_eq!(world.event(), ended(2, PlayEnd::Stopped));
    other.say(&[9; 160]);
    let mut expected = [9; 160];
    Law::A.transcode(Law::Mu, &mut expected);
    while phone.hear().1 != expected {}
}

#[test]
fn a_leg_bridged_anew_is_taken_from_its_former_peer() {
    let world = World::new();
    let (mut a, b, c) =
        (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu), world.phone(1, 3, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.bridge(1, 1, 3);
    world.settle(1);
    a.say(&[1; 160]);
    c.hear();
    assert!(b.is_quiet());
    world.order(1, Order::Unbridge { leg: LegId(3) });
    world.settle(1);
    a.say(&[1; 160]);
    world.await_received(2);
    assert!(c.is_quiet());
}

#[test]
fn a_stranger_is_discarded_and_another_port_of_the_peer_is_found() {
    let world = World::new();
    let mut a = world.phone(1, 1, Codec::Pcmu);
    let b = world.phone(1, 2, Codec::Pcmu);
    world.bridge(1, 1, 2);
    world.settle(1);
    a.say(&[1; 160]);
    assert!(matches!(world.any_event(), Event::FirstPacket { leg: LEG }));
    b.hear();
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    let packet = [&a.header.to_bytes()[..], &[9; 160]].concat();
    stranger.send_to(&packet, a.to).unwrap();
    a.rtp.send_to(b"no RTP at all", a.to).unwrap();
    a.say(&[2; 160]);
    assert_eq!(b.hear().1, [2; 160]);
    let quality = world.release(1, 1);
    assert_eq!((quality.packets_received, quality.packets_discarded), (2, 2));

    // A telephone that sends from another port than it said, and from another address, is heard and answered there.
    for bind in ["127.0.0.1:0", "127.0.0.8:0"] {
        world.server.set_library(library(&[(1, 0.1)]));
        let mut phone = world.phone(2, 1, Codec::Pcmu);
        world.settle(2);
        phone.rtp = UdpSocket::bind(bind).unwrap();
        phone.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        phone.say(&[1; 160]);
        assert!(matches!(world.any_event(), Event::FirstPacket { .. }));
        world.play(2, 1, 1, &[1], Some(1));
        phone.hear_many(5);
        assert_eq!(world.event(), ended(1, PlayEnd::Finished));
        world.release(2, 1);
    }
}

#[test]
fn on_hold_nothing_is_heard_but_the_path_is_kept_open() {
    let world = World::new();
    let mut a = world.phone(1, 1, Codec::Pcmu);
    let mut b = world.phone_with(1, 2, Codec::Pcmu, |parameters| parameters.direction = Direction::Inactive);
    world.bridge(1, 1, 2);
    let (_, payload) = b.hear_any();
    assert_eq!(payload, [0xff; 160], "keep-alive, so that a peer which waits for us can begin");
    for _ in 0..3 {
        a.say(&[1; 160]);
        b.say(&[2; 160]);
    }
    world.await_received(6);
    b.parameters.direction = Direction::SendRecv;
    world.configure(1, 2, &b);
    world.settle(1);
    assert!(a.is_quiet() && b.is_quiet());
    a.say(&[3; 160]);
    b.say(&[4; 160]);
    assert_eq!((b.hear().1, a.hear().1), (vec![3; 160], vec![4; 160]));
}

#[test]
fn what_a_leg_says_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::with(4, Some(folder.path().into()), 10);
    let mut phone = world.phone(1, 1, Codec::Pcma);
    world.order(1, Order::Record { leg: LEG, name: "../escape.wav".into() });
    world.order(1, Order::Record { leg: LEG, name: "call.wav".into() });
    let said = sound(8_000, 0.4, 3.0);
    let frames: Vec<Vec<u8>> =
        said.chunks(160).map(|frame| frame.iter().map(|&sample| Law::A.encode(sample)).collect()).collect();
    // Silence first, since what would lie before the recording's beginning is not in it.
    phone.say(&[Law::A.silence(); 160]);
    for pair in frames.chunks(2) {
        // Each pair arrives the wrong way round, in real time.
        let header = phone.header;
        for place in [1, 0] {
            let sequence = header.sequence.wrapping_add(place as u16);
            let timestamp = header.timestamp.wrapping_add(160 * place as u32);
            phone.send(rtp::packet::Header { sequence, timestamp, ..header }, &pair[place]);
        }
        phone.header.sequence = header.sequence.wrapping_add(2);
        phone.header.timestamp = header.timestamp.wrapping_add(320);
        std::thread::sleep(Duration::from_millis(40));
    }
    world.release(1, 1);
    let mut wav = hound::WavReader::open(folder.path().join("call.wav")).unwrap();
    let recorded: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    let best = (0..recorded.len().saturating_sub(said.len() - 1_600))
        .map(|at| correlation(&recorded[at..], &said[..said.len().min(recorded.len() - at)]))
        .fold(0.0, f64::max);
    assert!(best > 0.99, "{best}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn reports_are_exchanged_and_a_bye_ends_them() {
    let world = World::new();
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    for _ in 0..5 {
        phone.say(&[1; 160]);
    }
    let sender = SenderInfo { ntp: Ntp(7 << 32), timestamp: 0, packets: 5, octets: 800 };
    let mut buffer = [0; OWN_MAX];
    let own = Own { ssrc: phone.header.ssrc, sender: Some(sender), report: None, cname: "phone", bye: false };
    let to = (phone.to.ip(), phone.to.port() + 1);
    phone.rtcp.send_to(own.write(&mut buffer), to).unwrap();

    let mut datagram = [0; 500];
    let length = phone.rtcp.recv(&mut datagram).unwrap();
    let packets: Vec<_> = Compound::parse(&datagram[..length]).unwrap().packets().collect();
    // The keep-alive has made a sender of it.
    let Packet::SenderReport { ssrc, sender, reports } = packets[0] else { panic!("{packets:?}") };
    let report = reports.iter().next().unwrap();
    assert_eq!((report.ssrc, report.cumulative_lost), (phone.header.ssrc, 0));
    assert_eq!(report.last_sender_report, 7 << 16);
    assert!(matches!(packets[1], Packet::SourceDescription { cname: Some((_, cname)) } if cname.len() == 16));

    let report = Report { ssrc, last_sender_report: sender.ntp.middle(), ..Report::default() };
    let own = Own { ssrc: phone.header.ssrc, sender: None, report: Some(report), cname: "phone", bye: false };
    phone.rtcp.send_to(own.write(&mut buffer), to).unwrap();
    phone.rtcp.send_to(b"no RTCP at all", to).unwrap();
    phone.say(&[1; 160]);
    let counted = || world.server.counters().packets_discarded == 1;
    while !counted() {
        std::thread::yield_now();
    }
    let quality = world.release(1, 1);
    assert!(quality.round_trip_ms.is_some_and(|ms| (0.0..5_000.0).contains(&ms)), "{quality:?}");
    assert_eq!((quality.packets_lost, quality.packets_discarded), (0, 1));
    let length = phone.rtcp.recv(&mut datagram).unwrap();
    let bye = Compound::parse(&datagram[..length]).unwrap().packets().last();
    assert!(matches!(bye, Some(Packet::Bye { sources }) if sources == ssrc.to_be_bytes()));
}

#[test]
fn two_hundred_sessions_at_once_all_hear_their_prompt() {
    let world = World::with(400, None, 200);
    world.server.set_library(library(&[(1, 0.2)]));
    let phones: Vec<_> = (0..200).map(|session| world.phone(session, 1, Codec::Pcmu)).collect();
    for session in 0..200 {
        world.play(session, 1, session, &[1], Some(1));
    }
    for phone in &phones {
        let packets = phone.hear_many(10);
        assert!(correlation(&decoded(Codec::Pcmu, &packets), &sound(8_000, 0.2, 1.0)) > 0.99);
    }
    let mut plays: Vec<_> = (0..200)
        .map(|_| match world.event() {
            Event::PlayEnded { play, how: PlayEnd::Finished, .. } => play.0,
            other => panic!("{other:?}"),
        })
        .collect();
    plays.sort_unstable();
    assert_eq!(plays, (0..200).collect::<Vec<_>>());
    assert_eq!(world.server.counters().sessions, 200);
    (0..200).for_each(|session| _ = world.release(session, 1));
    let counters = world.server.counters();
    assert_eq!((counters.sessions, counters.legs, counters.ports_in_use), (0, 0, 0));
}

#[test]
fn orders_about_what_is_gone_are_ignored_and_a_stopped_server_is_full() {
    use link::MediaOrders;
    let world = World::new();
    let _phone = world.phone(1, 1, Codec::Pcmu);
    for order in [
        Order::StopPlay { leg: LegId(9) },
        Order::Bridge { a: LEG, b: LegId(9) },
        Order::Bridge { a: LEG, b: LEG },
        Order::Unbridge { leg: LEG },
        Order::Record { leg: LEG, name: "nowhere.wav".into() },
        Order::Release { leg: LegId(9) },
    ] {
        world.order(1, order);
    }
    world.settle(1);
    let handle = world.server.handle();
    let World { server, .. } = world;
    server.stop();
    let order =
        model::media::MediaOrder { session: model::SessionId(1), order: Order::StopPlay { leg: LEG } };
    assert_eq!(handle.send(order), Err(link::Full));
    assert_eq!((handle.counters().legs, handle.counters().orders_dropped), (0, 1));
}

#[test]
fn a_bad_configuration_is_named() {
    let network = |name: &str, bind: &str| media::Network {
        name: name.into(),
        bind: bind.parse().unwrap(),
        advertised: "192.0.2.7".parse().unwrap(),
        interface: None,
    };
    let nowhere = media::Network { interface: Some("none0".into()), ..network("a", "127.0.0.1") };
    let table = [
        (vec![], 30_000..=30_003, "at least one network"),
        (
            vec![network("a", "127.0.0.1"), network("a", "127.0.0.2")],
            30_000..=30_003,
            "two networks named `a`",
        ),
        (vec![network("a", "127.0.0.1")], 30_001..=30_002, "hold no pair"),
        (vec![network("a", "192.0.2.1")], 30_000..=30_003, "network `a` cannot use the address 192.0.2.1"),
        (vec![nowhere], 30_000..=30_003, "127.0.0.1 on the interface none0: No such device"),
    ];
    for (networks, ports, message) in table {
        let config = media::Config {
            networks,
            ports,
            workers: None,
            recordings: None,
            sessions_max: 1,
            silent_after: PATIENCE,
            services: media::Services::default(),
        };
        let (events, _) = link::event_queue(1);
        let error = media::Server::start(config, events).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn prompts_are_told_apart_by_their_ids() {
    let wanted: BTreeMap<AudioId, AudioSource> =
        [(AudioId([1; 32]), wav(8_000, &sound(8_000, 0.1, 1.0)))].into();
    let library = media::Library::load(&wanted, None).unwrap();
    assert!(library.get(&AudioId([1; 32])).is_some() && library.get(&AudioId([2; 32])).is_none());
}
