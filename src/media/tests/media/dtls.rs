//! DTLS-SRTP between two media servers, over a wire that writes down what goes by, loses it and adds to it.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use model::{
    LegId,
    media::{Codec, Dtls, DtlsFailure, DtlsRole, Event, Fingerprint, MediaParameters, Srtp},
};

use crate::peer::{PATIENCE, Phone, World};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A wire with two ends.
struct Wire {
    ends: [Arc<UdpSocket>; 2],
    passed: Arc<Mutex<Vec<Vec<u8>>>>,
    cut: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Between two servers' ports.
    fn new(ports: [u16; 2]) -> Self {
        let end = || {
            let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            Arc::new(socket)
        };
        let ends = [end(), end()];
        let (passed, cut, over) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::default(), Arc::default());
        let carry = |place: usize| {
            let (from, to) = (Arc::clone(&ends[place]), Arc::clone(&ends[1 - place]));
            let (passed, cut, over) = (Arc::clone(&passed), Arc::clone(&cut), Arc::clone(&over));
            let whereto = ports[1 - place];
            thread::spawn(move || {
                let mut buffer = [0; 2_000];
                while !AtomicBool::load(&over, Ordering::Relaxed) {
                    let Ok((length, _)) = from.recv_from(&mut buffer) else { continue };
                    passed.lock().unwrap().push(buffer[..length].to_vec());
                    if !AtomicBool::load(&cut, Ordering::Relaxed) {
                        to.send_to(&buffer[..length], (LOCALHOST, whereto)).unwrap();
                    }
                }
            })
        };
        let threads = vec![carry(0), carry(1)];
        Self { ends, passed, cut, over, threads }
    }

    /// What the server behind an end sees as its peer's address.
    fn address(&self, place: usize) -> SocketAddr {
        self.ends[place].local_addr().unwrap()
    }

    fn passed(&self) -> Vec<Vec<u8>> {
        self.passed.lock().unwrap().clone()
    }

    fn handshakes(&self) -> usize {
        self.passed().iter().filter(|datagram| matches!(datagram.first(), Some(20..=63))).count()
    }

    /// That no sound, and no report, went by as it is.
    fn hides(&self, secrets: &[&[u8]]) {
        for datagram in self.passed() {
            assert!(matches!(datagram.first(), Some(20..=63 | 128..=191)), "{datagram:?}");
            for secret in secrets {
                assert!(!datagram.windows(secret.len()).any(|window| window == *secret), "in the clear");
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A server with a telephone on leg 1 and, bridged to it, leg 2 on the wire.
struct Side {
    world: World,
    phone: Phone,
    port: u16,
    fingerprint: Fingerprint,
}

impl Side {
    fn new() -> Self {
        let world = World::new();
        let phone = world.phone(1, 1, Codec::Pcmu);
        let Event::Allocated { rtp_port: port, fingerprint, .. } = world.allocate(1, 2) else { panic!() };
        let fingerprint = *fingerprint.expect("a certificate");
        world.bridge(1, 1, 2);
        Self { world, phone, port, fingerprint }
    }

    fn meet(
        &self,
        remote: SocketAddr,
        peer: &Fingerprint,
        role: DtlsRole,
        change: impl FnOnce(&mut MediaParameters),
    ) {
        let mut other = Phone::new(Codec::Pcmu, self.port);
        let parameters = &mut other.parameters;
        (parameters.remote_rtp, parameters.remote_rtcp, parameters.rtcp_mux) = (remote, remote, true);
        parameters.srtp = Some(Box::new(Srtp::Dtls(Dtls { peer: peer.clone(), role })));
        change(parameters);
        self.world.configure(1, 2, &other);
        self.world.settle(1);
    }

    fn failure(&self) -> DtlsFailure {
        match self.world.event() {
            Event::Unprotected { leg: LegId(2), why } => why,
            other => panic!("{other:?}"),
        }
    }
}

fn pair() -> (Side, Side, Wire) {
    let (a, b) = (Side::new(), Side::new());
    let wire = Wire::new([a.port, b.port]);
    (a, b, wire)
}

/// Lets one say something until the other hears it.
fn says(from: &mut Side, to: &mut Side, octet: u8) {
    let begun = Instant::now();
    while to.phone.peek().iter().all(|(_, payload)| payload != &[octet; 160]) {
        assert!(begun.elapsed() < PATIENCE, "not heard");
        from.phone.say(&[octet; 160]);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_servers_agree_on_keys_in_either_part_and_nothing_goes_by_in_the_clear() {
    use DtlsRole::{Client, Server};
    for (of_a, of_b, a_first) in
        [(Client, Server, true), (Server, Client, true), (Client, Server, false), (Server, Client, false)]
    {
        let (mut a, mut b, wire) = pair();
        let (peer_a, peer_b) = (a.fingerprint.clone(), b.fingerprint.clone());
        assert_ne!(peer_a, peer_b);
        // Whoever begins before the other knows of it is met all the same.
        if a_first {
            a.meet(wire.address(0), &peer_b, of_a, |_| ());
            b.meet(wire.address(1), &peer_a, of_b, |_| ());
        } else {
            b.meet(wire.address(1), &peer_a, of_b, |_| ());
            a.meet(wire.address(0), &peer_b, of_a, |_| ());
        }
        says(&mut a, &mut b, 0x12);
        says(&mut b, &mut a, 0x34);
        wire.hides(&[&[0x12; 20], &[0x34; 20], &[0xff; 20]]);
        // What was, comes again: nobody hears it twice.
        let discarded = a.world.server.counters().packets_discarded;
        let last = wire.passed().into_iter().rev().find(|it| matches!(it.first(), Some(128..=191))).unwrap();
        wire.ends[0].send_to(&last, (LOCALHOST, a.port)).unwrap();
        wire.ends[0].send_to(&last, (LOCALHOST, a.port)).unwrap();
        let begun = Instant::now();
        while a.world.server.counters().packets_discarded == discarded {
            assert!(begun.elapsed() < PATIENCE);
            thread::yield_now();
        }
        // A hold, and its end, do not ask for the certificate again.
        let handshakes = wire.handshakes();
        a.meet(wire.address(0), &peer_b, of_a, |it| it.direction = model::media::Direction::Inactive);
        a.meet("0.0.0.0:0".parse().unwrap(), &peer_b, of_a, |_| ());
        a.meet(wire.address(0), &peer_b, of_a, |_| ());
        says(&mut b, &mut a, 0x56);
        assert_eq!(wire.handshakes(), handshakes);
    }
}

#[test]
fn who_shows_another_certificate_hears_and_says_nothing() {
    let (mut a, mut b, wire) = pair();
    let (peer_a, mut strange) = (a.fingerprint.clone(), b.fingerprint.clone());
    strange.value[31] ^= 1;
    b.meet(wire.address(1), &peer_a, DtlsRole::Server, |_| ());
    a.meet(wire.address(0), &strange, DtlsRole::Client, |_| ());
    assert_eq!(a.failure(), DtlsFailure::WrongFingerprint);
    assert_eq!(b.failure(), DtlsFailure::Broken);
    for octet in 1..20 {
        a.phone.say(&[octet; 160]);
        b.phone.say(&[octet + 100; 160]);
    }
    a.world.await_received(19);
    b.world.await_received(19);
    wire.hides(&[]);
    assert!(wire.passed().iter().all(|datagram| matches!(datagram.first(), Some(20..=63))));
    assert!(a.phone.is_quiet() && b.phone.is_quiet());
}

#[test]
fn plain_sound_during_the_handshake_is_not_heard() {
    let (mut a, mut b, wire) = pair();
    let (peer_a, peer_b) = (a.fingerprint.clone(), b.fingerprint.clone());
    wire.cut.store(true, Ordering::Relaxed);
    a.meet(wire.address(0), &peer_b, DtlsRole::Client, |_| ());
    let header = b.phone.header;
    for payload in [[0x77; 160], [0x78; 160]] {
        let plain = [&header.to_bytes()[..], &payload].concat();
        wire.ends[0].send_to(&plain, (LOCALHOST, a.port)).unwrap();
    }
    // Noise that looks like a handshake is not taken for one.
    wire.ends[0].send_to(&[22, 0xfe, 0xfd, 1, 2, 3], (LOCALHOST, a.port)).unwrap();
    let begun = Instant::now();
    while a.world.server.counters().packets_discarded < 2 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", a.world.server.counters());
        thread::yield_now();
    }
    wire.cut.store(false, Ordering::Relaxed);
    b.meet(wire.address(1), &peer_a, DtlsRole::Server, |_| ());
    says(&mut b, &mut a, 0x12);
    says(&mut a, &mut b, 0x13);
    assert!(a.phone.peek().iter().all(|(_, payload)| ![0x77, 0x78].contains(&payload[0])));
}

#[test]
fn a_peer_that_moves_is_met_again_and_heard_meanwhile() {
    let (mut a, mut b, wire) = pair();
    let (peer_a, peer_b) = (a.fingerprint.clone(), b.fingerprint.clone());
    a.meet(wire.address(0), &peer_b, DtlsRole::Client, |_| ());
    b.meet(wire.address(1), &peer_a, DtlsRole::Server, |_| ());
    says(&mut a, &mut b, 0x12);
    let moved = Wire::new([a.port, b.port]);
    b.meet(moved.address(1), &peer_a, DtlsRole::Server, |_| ());
    a.meet(moved.address(0), &peer_b, DtlsRole::Client, |_| ());
    says(&mut a, &mut b, 0x14);
    says(&mut b, &mut a, 0x15);
    let begun = Instant::now();
    while moved.handshakes() < 4 {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    moved.hides(&[&[0x14; 20], &[0x15; 20]]);
}

#[test]
fn a_peer_that_must_be_first_hears_nothing_before_it_has_spoken() {
    let world = World::new();
    let mut a = world.phone(1, 1, Codec::Pcmu);
    let mut b = world.phone_with(1, 2, Codec::Pcmu, |it| it.peer_first = true);
    world.bridge(1, 1, 2);
    world.settle(1);
    for octet in 1..30 {
        a.say(&[octet; 160]);
        thread::sleep(Duration::from_millis(20));
    }
    world.await_received(29);
    assert!(b.peek().is_empty(), "nor a keep-alive");
    b.say(&[0x55; 160]);
    world.await_received(30);
    a.say(&[0x66; 160]);
    assert_eq!(b.hear().1, [0x66; 160]);
}
