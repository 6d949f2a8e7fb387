//! Ports that many legs share: each hears its own peer and nobody else's.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use model::{
    LegId,
    media::{Codec, Event, Order},
};
use rtp::packet::Header;

use crate::peer::{PATIENCE, Phone, World};

impl World {
    fn share(&self, session: u64, leg: u64, remote: Option<SocketAddr>) -> u16 {
        let network = "lan".into();
        self.order(session, Order::Allocate { leg: LegId(leg), network, shared: true, remote });
        match self.event() {
            Event::Allocated { rtp_port, .. } => rtp_port,
            other => panic!("{other:?}"),
        }
    }

    fn await_discarded(&self, packets: u64) {
        let begun = Instant::now();
        while self.server.counters().packets_discarded < packets {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.server.counters());
            std::thread::yield_now();
        }
    }
}

/// A leg at a shared port, configured for a phone.
fn shared_phone(world: &World, session: u64, leg: u64) -> Phone {
    let phone = Phone::new(Codec::Pcmu, world.share(session, leg, None));
    world.configure(session, leg, &phone);
    phone
}

#[test]
fn thirty_calls_share_eight_ports_and_each_hears_its_own() {
    let world = World::one_worker(40);
    let mut calls: Vec<_> =
        (0..30).map(|session| (shared_phone(&world, session, 1), shared_phone(&world, session, 2))).collect();
    (0..30).for_each(|session| world.bridge(session, 1, 2));
    world.settle(29);
    let ports: BTreeSet<u16> = calls.iter().flat_map(|(a, b)| [a.to.port(), b.to.port()]).collect();
    assert_eq!(ports.len(), 8);
    assert_eq!(world.server.counters().ports_in_use, 16);
    for (session, (a, b)) in (0u8..).zip(&mut calls) {
        a.say(&[session + 1; 160]);
        b.say(&[session + 101; 160]);
    }
    for (session, (a, b)) in (0u8..).zip(&calls) {
        assert_eq!((b.hear().1, a.hear().1), (vec![session + 1; 160], vec![session + 101; 160]));
    }
    for session in 0..30 {
        assert_eq!(world.release(session, 1).packets_discarded, 0);
        world.release(session, 2);
    }
}

#[test]
fn a_stranger_at_a_shared_port_is_heard_by_nobody() {
    let world = World::one_worker(40);
    let (mut a, b) = (shared_phone(&world, 1, 1), shared_phone(&world, 1, 2));
    world.bridge(1, 1, 2);
    world.settle(1);
    // The same address as the peer's, but another port, which a leg with a port of its own would believe.
    for bind in ["127.0.0.1:0", "127.0.0.9:0"] {
        let stranger = UdpSocket::bind(bind).unwrap();
        stranger.send_to(&[&a.header.to_bytes()[..], &[9; 160]].concat(), a.to).unwrap();
    }
    world.await_discarded(2);
    a.say(&[1; 160]);
    assert_eq!(b.hear().1, [1; 160]);
    assert!(b.is_quiet());
}

#[test]
fn an_address_that_a_call_has_or_had_gets_another_port() {
    let world = World::one_worker(40);
    let mut first = shared_phone(&world, 1, 1);
    let remote = first.parameters.remote_rtp;
    // It is known while the port is chosen, as for an answer.
    let ports: BTreeSet<u16> = (2..9)
        .map(|session| {
            let port = world.share(session, 1, Some(remote));
            let mut phone = Phone::new(Codec::Pcmu, port);
            (phone.parameters.remote_rtp, phone.parameters.remote_rtcp) =
                (remote, first.parameters.remote_rtcp);
            world.configure(session, 1, &phone);
            phone.to.port()
        })
        .collect();
    assert!(ports.len() == 7 && !ports.contains(&first.to.port()));
    // All eight are taken: it gets a pair of its own.
    let own = world.share(9, 1, Some(remote));
    assert!(!ports.contains(&own) && own != first.to.port());
    // What comes late from a call that is over reaches nobody, whoever is there.
    world.release(1, 1);
    let next = world.share(10, 1, None);
    let before = world.server.counters().packets_discarded;
    first.say(&[1; 160]);
    world.await_discarded(before + 1);
    // An offer does not know: it moves when the answer comes, and says so.
    let mut phone = Phone::new(Codec::Pcmu, next);
    (phone.parameters.remote_rtp, phone.parameters.remote_rtcp) = (remote, first.parameters.remote_rtcp);
    world.configure(10, 1, &phone);
    let Event::Allocated { leg: LegId(1), rtp_port, .. } = world.event() else { panic!("not moved") };
    assert!(rtp_port != next && rtp_port != own && !ports.contains(&rtp_port));
    first.to.set_port(rtp_port);
    first.say(&[2; 160]);
    world.await_received(1);
    assert_eq!(world.release(10, 1).packets_received, 1);
}

#[test]
fn what_overtakes_the_answer_is_heard_when_it_comes() {
    let world = World::one_worker(40);
    let port = world.share(1, 1, None);
    let listener = shared_phone(&world, 1, 2);
    world.bridge(1, 1, 2);
    let mut early = Phone::new(Codec::Pcmu, port);
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    world.settle(1);
    stranger
        .send_to(&[&Header { ssrc: 5, ..early.header }.to_bytes()[..], &[9; 160]].concat(), early.to)
        .unwrap();
    for octet in 1..=20 {
        early.say(&[octet; 160]);
    }
    // Sixteen wait; the others are thrown away.
    world.await_discarded(4);
    world.configure(1, 1, &early);
    world.settle(1);
    // The bridge was there before: all that waited is relayed.
    for octet in 1..=16 {
        assert_eq!(listener.hear().1, [octet; 160]);
    }
    early.say(&[77; 160]);
    assert_eq!(listener.hear().1, [77; 160]);
    assert!(listener.is_quiet());
}

#[test]
fn reports_at_a_shared_port_find_their_leg() {
    use rtp::rtcp::{OWN_MAX, Own};
    let world = World::one_worker(40);
    let phones = [shared_phone(&world, 1, 1), shared_phone(&world, 2, 1)];
    world.settle(2);
    let mut buffer = [0; OWN_MAX];
    for phone in &phones {
        let own = Own { ssrc: 1, sender: None, report: None, cname: "phone", bye: false };
        let to = (phone.to.ip(), phone.to.port() + 1);
        phone.rtcp.send_to(own.write(&mut buffer), to).unwrap();
        phone.rtp.send_to(own.write(&mut buffer), to).unwrap();
    }
    // From the RTP address it is a stranger's.
    world.await_discarded(2);
    for phone in &phones {
        let mut datagram = [0; 500];
        phone.rtcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(phone.rtcp.recv(&mut datagram).unwrap() > 8);
    }
}
