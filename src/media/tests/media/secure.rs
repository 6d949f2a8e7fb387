//! SRTP at the sockets: one side or both, new keys, and what is not what it says.

use model::{
    LegId,
    media::{Codec, CryptoSuite, MasterKey, Order, Srtp, SrtpKeys},
};
use rtp::{
    packet::Packet,
    srtp::{OVERHEAD_MAX, Receiver, Sender},
};

use crate::peer::{Phone, World};

fn key(suite: CryptoSuite, octet: u8) -> MasterKey {
    MasterKey::new(suite, vec![octet; suite.key_length() + suite.salt_length()])
}

/// A telephone and what it protects with.
struct Secure {
    phone: Phone,
    send: Sender,
    receive: Receiver,
}

impl Secure {
    fn new(world: &World, leg: u64, suite: CryptoSuite, octet: u8) -> Self {
        let keys = SrtpKeys { send: key(suite, octet), receive: key(suite, octet + 1) };
        let (send, receive) = (Sender::new(&keys.receive, 0).unwrap(), Receiver::new(&keys.send).unwrap());
        let keys = Some(Box::new(Srtp::Sdes(keys)));
        Self { phone: world.phone_with(1, leg, Codec::Pcmu, |it| it.srtp = keys), send, receive }
    }

    fn rekey(&mut self, world: &World, leg: u64, suite: CryptoSuite, octet: u8) {
        let keys = SrtpKeys { send: key(suite, octet), receive: key(suite, octet + 1) };
        (self.send, self.receive) =
            (Sender::new(&keys.receive, 0).unwrap(), Receiver::new(&keys.send).unwrap());
        self.phone.parameters.srtp = Some(Box::new(Srtp::Sdes(keys)));
        world.configure(1, leg, &self.phone);
        world.settle(1);
    }

    fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let header = self.phone.header;
        self.phone.header.sequence = header.sequence.wrapping_add(1);
        self.phone.header.timestamp = header.timestamp.wrapping_add(160);
        let mut packet = [&header.to_bytes()[..], payload, &[0; OVERHEAD_MAX]].concat();
        let length = self.send.protect(&mut packet, 12 + payload.len()).unwrap();
        packet.truncate(length);
        packet
    }

    fn say(&mut self, payload: &[u8]) {
        let packet = self.packet(payload);
        self.phone.rtp.send_to(&packet, self.phone.to).unwrap();
    }

    /// The next packet that is no keep-alive; that it is protected is proven by its opening.
    fn hear(&mut self) -> Vec<u8> {
        loop {
            let mut buffer = [0; 500];
            let (length, _) = self.phone.rtp.recv_from(&mut buffer).unwrap();
            let length = self.receive.unprotect(&mut buffer[..length]).expect("protected by our key");
            let payload = Packet::parse(&buffer[..length]).unwrap().payload.to_vec();
            if payload.iter().any(|&octet| octet != 0xff) {
                return payload;
            }
        }
    }
}

#[test]
fn each_suite_protects_one_side_or_both() {
    for suite in CryptoSuite::ALL {
        let world = World::new();
        let (mut a, mut b) = (Secure::new(&world, 1, suite, 1), world.phone(1, 2, Codec::Pcma));
        let mut c = Secure::new(&world, 3, CryptoSuite::AesCm128HmacSha1_80, 11);
        world.bridge(1, 1, 2);
        world.settle(1);
        a.say(&[0x80; 160]);
        assert_eq!(b.hear().1.len(), 160);
        b.say(&[0xaa; 160]);
        assert_eq!(a.hear(), [0x80; 160], "the same sample in the other law");
        world.bridge(1, 1, 3);
        world.settle(1);
        for octet in 1..50 {
            a.say(&[octet; 160]);
            c.say(&[octet + 100; 160]);
            assert_eq!((c.hear(), a.hear()), (vec![octet; 160], vec![octet + 100; 160]));
        }
    }
}

#[test]
fn a_new_key_is_used_at_once_and_the_old_one_is_understood_a_while() {
    let world = World::new();
    let suite = CryptoSuite::AeadAes128Gcm;
    let (mut a, mut b) = (Secure::new(&world, 1, suite, 1), world.phone(1, 2, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    a.say(&[1; 160]);
    assert_eq!(b.hear().1, [1; 160]);
    let old = a.packet(&[2; 160]);
    a.rekey(&world, 1, suite, 21);
    a.say(&[3; 160]);
    a.phone.rtp.send_to(&old, a.phone.to).unwrap();
    assert_eq!((b.hear().1, b.hear().1), (vec![3; 160], vec![2; 160]));
    b.say(&[4; 160]);
    assert_eq!(a.hear(), [4; 160]);
}

#[test]
fn what_is_forged_replayed_or_plain_is_counted_and_harms_nobody() {
    let world = World::new();
    let (mut a, b) =
        (Secure::new(&world, 1, CryptoSuite::AesCm128HmacSha1_80, 1), world.phone(1, 2, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    let good = a.packet(&[1; 160]);
    let mut forged = a.packet(&[2; 160]);
    *forged.last_mut().unwrap() ^= 1;
    let plain = [&a.phone.header.to_bytes()[..], &[3; 160]].concat();
    let mut other = Sender::new(&key(CryptoSuite::AesCm128HmacSha1_80, 9), 0).unwrap();
    let mut strange = [&plain[..], &[0; OVERHEAD_MAX]].concat();
    let length = other.protect(&mut strange, plain.len()).unwrap();
    for packet in [&good[..], &good, &forged, &plain, &strange[..length], &good[..11], &[]] {
        a.phone.rtp.send_to(packet, a.phone.to).unwrap();
    }
    a.say(&[5; 160]);
    assert_eq!((b.hear().1, b.hear().1), (vec![1; 160], vec![5; 160]));
    let quality = world.release(1, 1);
    assert_eq!((quality.packets_received, quality.packets_discarded), (2, 6));
}

#[test]
fn a_leg_whose_key_cannot_be_used_says_nothing_in_the_clear() {
    let world = World::new();
    let mut keys =
        SrtpKeys { send: key(CryptoSuite::AeadAes256Gcm, 1), receive: key(CryptoSuite::AeadAes256Gcm, 2) };
    keys.send.key_and_salt.truncate(20);
    let mut a = world.phone(1, 1, Codec::Pcmu);
    let b = world.phone_with(1, 2, Codec::Pcmu, |it| it.srtp = Some(Box::new(Srtp::Sdes(keys))));
    world.bridge(1, 1, 2);
    world.settle(1);
    a.say(&[1; 160]);
    world.await_received(1);
    world.order(1, Order::Release { leg: LegId(1) });
    assert!(matches!(world.event(), model::media::Event::Released { .. }));
    assert!(b.peek().is_empty());
}
