//! Spans between two media servers: a telephone at one of them, the contact at the other.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use media::{Config, Network, Server, Services, Spans};
use model::{
    LegId,
    media::{
        Codec, CryptoSuite, Event, Hearing, MasterKey, Order, Refusal, Source, SpanId, Srtp, SrtpKeys, Voices,
    },
};
use rtp::{
    dtmf,
    g711::Law,
    packet::Header,
    srtp::{OVERHEAD_MAX, Sender},
};
use tempfile::TempDir;

use crate::{
    peer::{Phone, World, correlation, decoded, numbers, sound},
    recordings::{begin, channels, end, folder, found, recording, say},
    xdp::{Cable, OURS, THEIRS},
};

/// The leg that is a span's end, in every session here.
const END: u64 = 9;
const SPAN: u64 = 0x0123_4567_89ab_cdef;
const HEADER: usize = 12;

fn spans(segments: bool) -> Services {
    Services { spans: Some(Spans { network: "lan".into(), segments }), ..Services::default() }
}

fn key(octet: u8) -> MasterKey {
    MasterKey::new(CryptoSuite::AeadAes128Gcm, vec![octet; 28])
}

fn extend(world: &World, session: u64, span: u64) -> Event {
    world.order(session, Order::Extend { leg: LegId(END), span: SpanId(span) });
    world.event()
}

/// One end of a span, and where the other one reaches it.
fn end_of(world: &World, session: u64, span: u64) -> SocketAddr {
    let Event::Allocated { address, rtp_port, fingerprint, .. } = extend(world, session, span) else {
        panic!("refused")
    };
    assert_eq!(fingerprint, None);
    SocketAddr::new(address, rtp_port)
}

fn join(world: &World, session: u64, codec: Codec, other: SocketAddr, (send, receive): (u8, u8)) {
    let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut parameters = Phone::on(socket(), socket(), codec, other).parameters;
    (parameters.remote_rtp, parameters.remote_rtcp) = (other, other);
    let keys = SrtpKeys { send: key(send), receive: key(receive) };
    parameters.srtp = Some(Box::new(Srtp::Sdes(keys)));
    world.order(session, Order::Configure { leg: LegId(END), parameters });
}

/// A span from session 1 of one server to session 7 of the other.
fn span(p: &World, q: &World, codec: Codec, span: u64, keys: (u8, u8)) {
    let (at_p, at_q) = (end_of(p, 1, span), end_of(q, 7, span));
    join(p, 1, codec, at_q, keys);
    join(q, 7, codec, at_p, (keys.1, keys.0));
    p.settle(1);
    q.settle(7);
}

fn bridge(p: &World, q: &World) {
    p.bridge(1, 1, END);
    q.bridge(7, 1, END);
    p.settle(1);
    q.settle(7);
}

/// Packets to and from other servers, of all workers.
fn counted(world: &World) -> (u64, u64, u64) {
    let workers = world.server.handle().workers();
    let sum = |of: fn(&media::WorkerCounters) -> u64| workers.iter().map(of).sum();
    (sum(|it| it.packets_received_span), sum(|it| it.packets_sent_span), sum(|it| it.messages_sent_span))
}

fn talk(from: &mut Phone, to: &Phone, seed: f64) {
    let (codec, said) = (from.parameters.codec, sound(8_000, 0.4, seed));
    let mut packets = Vec::new();
    for frame in said.chunks(160) {
        let payload: Vec<u8> = frame.iter().map(|&sample| Law::from(codec).encode(sample)).collect();
        from.say(&payload);
        packets.push(to.hear());
        assert_eq!(packets.last().unwrap().1, payload);
    }
    assert!(correlation(&decoded(codec, &packets), &said) > 0.99);
    let expected: Vec<_> = (0..20u16).map(|n| (n, u32::from(n) * 160, n == 0)).collect();
    assert_eq!(numbers(&packets), expected, "one stream");
}

#[test]
fn a_telephone_of_one_pod_and_a_contact_of_another_hear_each_other() {
    for segments in [true, false] {
        let (p, q) = (World::with_services(8, spans(segments)), World::with_services(8, spans(segments)));
        let (mut contact, mut phone) = (p.phone(1, 1, Codec::Pcmu), q.phone(7, 1, Codec::Pcmu));
        span(&p, &q, Codec::Pcmu, SPAN, (1, 2));
        bridge(&p, &q);
        talk(&mut phone, &contact, 1.0);
        talk(&mut contact, &phone, 2.0);
        for world in [&p, &q] {
            let (received, sent, messages) = counted(world);
            assert!(received >= 20 && sent >= 20 && messages >= 1 && messages <= sent);
        }
    }
}

#[test]
fn payloads_cross_as_they_are_in_codecs_that_nobody_decodes() {
    let (p, q) = (World::with_services(8, spans(true)), World::with_services(8, spans(true)));
    let (mut contact, mut phone) = (p.phone(1, 1, Codec::G729), q.phone(7, 1, Codec::G729));
    span(&p, &q, Codec::G729, SPAN, (1, 2));
    bridge(&p, &q);
    for octet in 1..20 {
        phone.say(&[octet; 20]);
        assert_eq!(contact.hear().1, [octet; 20]);
        contact.say(&[octet + 100; 20]);
        assert_eq!(phone.hear().1, [octet + 100; 20]);
    }
}

#[test]
fn keys_cross_a_span_as_events_and_are_told_at_both_pods() {
    let (p, q) = (World::with_services(8, spans(true)), World::with_services(8, spans(true)));
    let (contact, mut phone) = (p.phone(1, 1, Codec::Pcmu), q.phone(7, 1, Codec::Pcmu));
    span(&p, &q, Codec::Pcmu, SPAN, (1, 2));
    bridge(&p, &q);
    phone.say(&[1; 160]);
    let begin = phone.header.timestamp;
    for duration in [160u16, 320, 480] {
        let payload = dtmf::Payload { code: 7, end: duration == 480, volume: 10, duration };
        phone.press(begin, payload.to_bytes());
    }
    phone.header.timestamp = begin.wrapping_add(480);
    phone.say(&[2; 160]);
    let packets = contact.hear_many(5);
    let types: Vec<_> = packets.iter().map(|(header, _)| header.payload_type).collect();
    assert_eq!(types, [0, 101, 101, 101, 0]);
    let times: Vec<_> = numbers(&packets).iter().map(|&(_, timestamp, _)| timestamp).collect();
    assert_eq!(times, [0, 160, 160, 160, 640]);
    assert_eq!(q.event(), Event::Dtmf { leg: LegId(1), digit: '7' });
    assert_eq!(p.event(), Event::Dtmf { leg: LegId(END), digit: '7' });
}

#[test]
fn what_comes_by_a_span_is_mixed_and_recorded_at_the_contacts_pod() {
    let at = TempDir::new().unwrap();
    let p = World::with_services(8, Services { store: Some(folder(&at)), ..spans(true) });
    let q = World::with_services(8, spans(true));
    let (mut contact, supervisor) = (p.phone(1, 1, Codec::Pcmu), p.phone(1, 2, Codec::Pcma));
    let mut phone = q.phone(7, 1, Codec::Pcmu);
    span(&p, &q, Codec::Pcmu, SPAN, (1, 2));
    let source = |leg| Source { leg: LegId(leg), gain_db: 0 };
    p.order(
        1,
        Order::Mix(vec![
            Hearing { leg: LegId(1), sources: vec![source(END), source(2)] },
            Hearing { leg: LegId(END), sources: vec![source(1)] },
            Hearing { leg: LegId(2), sources: vec![source(1), source(END)] },
        ]),
    );
    q.bridge(7, 1, END);
    q.settle(7);
    begin(&p, 1, recording("acme/span", Voices::Stereo(LegId(1), LegId(END))));
    let (one, other) = (sound(8_000, 0.6, 1.0), sound(8_000, 0.6, 5.0));
    std::thread::scope(|scope| {
        scope.spawn(|| say(&mut contact, &one));
        scope.spawn(|| say(&mut phone, &other));
    });
    end(&p, 1, "acme/span");
    let (both, _) = channels(&at.path().join("acme/span.wav"));
    let (left, right) = (found(&both[0], &one).0, found(&both[1], &other).0);
    assert!(left > 0.99 && right > 0.99, "{left} {right}");
    // Each says what only it has said; the supervisor hears both.
    let heard = |phone: &Phone| decoded(phone.parameters.codec, &phone.collect());
    let (contact, phone, supervisor) = (heard(&contact), heard(&phone), heard(&supervisor));
    assert!(found(&contact, &other[800..3_200]).0 > 0.95);
    assert!(found(&phone, &one[800..3_200]).0 > 0.95);
    for said in [&one, &other] {
        assert!(found(&supervisor, &said[800..3_200]).0 > 0.5);
    }
}

#[test]
fn a_span_that_ends_leaves_nothing_behind_and_its_name_is_free() {
    let (p, q) = (World::with_services(8, spans(true)), World::with_services(8, spans(true)));
    let mut used = None;
    for round in 0..10u8 {
        let (mut contact, mut phone) = (p.phone(1, 1, Codec::Pcmu), q.phone(7, 1, Codec::Pcmu));
        span(&p, &q, Codec::Pcmu, SPAN, (2 * round + 1, 2 * round + 2));
        assert_eq!(extend(&p, 1, SPAN), extend(&p, 1, SPAN), "an order that comes twice is answered twice");
        bridge(&p, &q);
        talk(&mut phone, &contact, 1.0);
        talk(&mut contact, &phone, 2.0);
        for (world, session) in [(&p, 1), (&q, 7)] {
            let quality = world.release(session, END);
            assert!(quality.packets_received >= 20 && quality.packets_lost == 0, "{quality:?}");
            world.release(session, 1);
            let counters = world.server.counters();
            assert_eq!((counters.sessions, counters.legs), (0, 0));
            let ports = *used.get_or_insert(counters.ports_in_use);
            assert_eq!(counters.ports_in_use, ports, "the worker's own pair alone");
        }
    }
    assert_eq!(used, Some(2));
}

#[test]
fn what_cannot_be_a_span_is_refused_with_its_reason() {
    let without = World::with_services(8, Services::default());
    assert_eq!(extend(&without, 1, SPAN), Event::Refused { leg: LegId(END), reason: Refusal::NoSpans });
    assert_eq!(without.server.counters().sessions, 0);
    let world = World::one_worker_with(8, spans(true));
    let at = end_of(&world, 1, SPAN);
    assert_eq!(extend(&world, 2, SPAN), Event::Refused { leg: LegId(END), reason: Refusal::SpanTaken });
    let refused = Event::Refused { leg: LegId(END), reason: Refusal::SpanUnprotected };
    join(&world, 1, Codec::Pcmu, at, (1, 1));
    assert_eq!(world.event(), refused, "one key for both ways");
    for weak in [
        None,
        Some(Srtp::Sdes(SrtpKeys {
            send: MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, vec![1; 30]),
            receive: key(2),
        })),
    ] {
        end_of(&world, 1, SPAN);
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut parameters = Phone::on(socket(), socket(), Codec::Pcmu, at).parameters;
        parameters.srtp = weak.map(Box::new);
        world.order(1, Order::Configure { leg: LegId(END), parameters });
        assert_eq!(world.event(), refused);
    }
    assert_eq!((world.server.counters().sessions, world.server.counters().legs), (0, 0));
}

/// A pod that is not one of ours, which has the keys.
struct Pod {
    socket: UdpSocket,
    to: SocketAddr,
    send: Sender,
    header: Header,
}

impl Pod {
    fn new(world: &World, span: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = end_of(world, 1, span);
        join(world, 1, Codec::Pcmu, socket.local_addr().unwrap(), (1, 2));
        let header = Header { marker: false, payload_type: 0, sequence: 5, timestamp: 9, ssrc: 77 };
        Self { socket, to, send: Sender::new(&key(2), 0).unwrap(), header }
    }

    fn packet(&mut self, span: u64, octet: u8) -> Vec<u8> {
        let mut packet = [&self.header.to_bytes()[..], &[octet; 160], &[0; OVERHEAD_MAX]].concat();
        self.header.sequence += 1;
        self.header.timestamp += 160;
        let length = self.send.protect(&mut packet, 172).unwrap();
        [b"SP\x01\0", &span.to_be_bytes()[..], &packet[..length]].concat()
    }

    fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.to).unwrap();
    }
}

#[test]
fn what_is_forged_replayed_cut_or_of_nobody_is_counted_and_heard_by_nobody() {
    for segments in [true, false] {
        let world = World::one_worker_with(8, spans(segments));
        let contact = world.phone(1, 1, Codec::Pcmu);
        let mut pod = Pod::new(&world, SPAN);
        world.bridge(1, 1, END);
        world.settle(1);
        let discarded = || world.server.counters().packets_discarded;
        let good = pod.packet(SPAN, 1);
        pod.send(&good);
        assert_eq!(contact.hear().1, [1; 160]);
        assert_eq!(discarded(), 0);

        let mut forged = pod.packet(SPAN, 2);
        *forged.last_mut().unwrap() ^= 1;
        let mut altered = pod.packet(SPAN, 3);
        altered[HEADER + 20] ^= 1;
        let whole = pod.packet(SPAN, 4);
        let mut plain = [b"SP\x01\0", &SPAN.to_be_bytes()[..], &pod.header.to_bytes(), &[5; 160]].concat();
        plain[HEADER + 2] = 0x7f;
        let mut another = pod.packet(SPAN, 6);
        another[2] = 2;
        let bad = [
            good,
            forged,
            altered,
            whole[..whole.len() - 1].to_vec(),
            whole[..HEADER + 11].to_vec(),
            whole[..HEADER].to_vec(),
            whole[..5].to_vec(),
            Vec::new(),
            plain,
            another,
            pod.packet(SPAN + 1, 7),
            vec![0x80; 172],
        ];
        for datagram in &bad {
            pod.send(datagram);
        }
        let last = pod.packet(SPAN, 8);
        pod.send(&last);
        assert_eq!(contact.hear().1, [8; 160]);
        assert_eq!(discarded(), bad.len() as u64);
        assert!(contact.is_quiet());
        // Those that named the span are its leg's to count: replayed, forged, altered, cut, in the clear.
        assert_eq!(world.release(1, END).packets_discarded, 5);
    }
}

#[test]
fn a_name_that_is_used_again_is_deaf_to_what_was_said_under_it_before() {
    let world = World::one_worker_with(8, spans(true));
    let contact = world.phone(1, 1, Codec::Pcmu);
    let mut before = Pod::new(&world, SPAN);
    world.bridge(1, 1, END);
    world.settle(1);
    let late = [before.packet(SPAN, 1), before.packet(SPAN, 2)];
    before.send(&late[0]);
    assert_eq!(contact.hear().1, [1; 160]);
    world.release(1, END);
    before.send(&late[1]);
    let address = before.socket.local_addr().unwrap();
    end_of(&world, 1, SPAN);
    join(&world, 1, Codec::Pcmu, address, (3, 4));
    world.bridge(1, 1, END);
    world.settle(1);
    before.send(&late[1]);
    let third = before.packet(SPAN, 3);
    before.send(&third);
    let mut now = Sender::new(&key(4), 0).unwrap();
    let mut packet =
        [&Header { ssrc: 78, ..before.header }.to_bytes()[..], &[9; 160], &[0; OVERHEAD_MAX]].concat();
    let length = now.protect(&mut packet, 172).unwrap();
    before.send(&[b"SP\x01\0", &SPAN.to_be_bytes()[..], &packet[..length]].concat());
    assert_eq!(contact.hear().1, [9; 160], "and nothing before");
}

#[test]
fn losses_on_the_way_are_counted_at_the_other_end() {
    let world = World::one_worker_with(8, spans(true));
    let contact = world.phone(1, 1, Codec::Pcmu);
    let mut pod = Pod::new(&world, SPAN);
    world.bridge(1, 1, END);
    world.settle(1);
    for octet in 1..=50 {
        let packet = pod.packet(SPAN, octet);
        if octet % 10 != 5 {
            pod.send(&packet);
            contact.hear();
        }
    }
    let quality = world.release(1, END);
    assert_eq!((quality.packets_received, quality.packets_lost), (45, 5));
}

#[test]
fn a_pod_that_is_lost_is_told() {
    let p = World::one_worker_that(8, |config| {
        (config.services, config.silent_after) = (spans(true), Duration::from_secs(1));
    });
    let q = World::with_services(8, spans(true));
    let (contact, mut phone) = (p.phone(1, 1, Codec::Pcmu), q.phone(7, 1, Codec::Pcmu));
    span(&p, &q, Codec::Pcmu, SPAN, (1, 2));
    bridge(&p, &q);
    phone.say(&[1; 160]);
    assert_eq!(contact.hear().1, [1; 160]);
    drop(q);
    let told = loop {
        match p.any_event() {
            Event::Silent { leg, heard_before, .. } if leg == LegId(END) => break heard_before,
            _ => {}
        }
    };
    assert!(told);
    p.release(1, END);
}

#[test]
fn spans_cross_from_one_network_namespace_to_another() {
    let Some(cable) = Cable::new() else { return };
    let world = |bind: &str| {
        let bind: IpAddr = bind.parse().unwrap();
        let network =
            |name: &str, bind| Network { name: name.into(), bind, advertised: bind, interface: None };
        let config = Config {
            networks: vec![network("lan", [127, 0, 0, 1].into()), network("between", bind)],
            ports: 24_000..=24_099,
            workers: Some(1),
            recordings: None,
            sessions_max: 10,
            silent_after: Duration::from_secs(60),
            services: Services {
                spans: Some(Spans { network: "between".into(), segments: true }),
                ..Services::default()
            },
        };
        let (sender, events) = link::event_queue(10_000);
        World { server: Server::start(config, sender).unwrap(), ports: 24_000..=24_099, events }
    };
    for family in [0, 1] {
        let (p, q) = (world(OURS[family]), cable.there(|| world(THEIRS[family])));
        let mut contact = p.phone(1, 1, Codec::Pcmu);
        let mut phone = cable.there(|| q.phone(7, 1, Codec::Pcmu));
        span(&p, &q, Codec::Pcmu, SPAN, (1, 2));
        bridge(&p, &q);
        talk(&mut phone, &contact, 1.0);
        talk(&mut contact, &phone, 2.0);
        let ours: IpAddr = OURS[family].parse().unwrap();
        let Event::Allocated { address, .. } = extend(&p, 1, SPAN) else { panic!() };
        assert_eq!(address, ours, "what the other pod is told is where the cluster reaches this one");
    }
}
