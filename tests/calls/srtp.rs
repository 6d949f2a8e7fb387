//! SRTP with keys in session descriptions (RFC 4568) while a call is up: the same key again, a new one, and one that is none.
//!
//! What protects and opens packets here is the test's own, made of RFC 3711 §4 on OpenSSL's AES and HMAC, so that two readings of that
//! text meet.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use openssl::{
    hash::MessageDigest,
    pkey::PKey,
    sign::Signer,
    symm::{Cipher, encrypt},
};

use crate::{
    audio::{self, melody, missing_ms},
    callee::{Callee, Stream},
    harness::{Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Message, Phone},
    rtp::{self, Packet},
};

const RING: &str = "+18005550102";
/// Suites of RFC 4568 §6.2, with the octets of their tags.
const LONG_TAG: (&str, usize) = ("AES_CM_128_HMAC_SHA1_80", 10);
const SHORT_TAG: (&str, usize) = ("AES_CM_128_HMAC_SHA1_32", 4);

/// A master key with its salt, and the keys of a session that come of it.
#[derive(Debug, Clone)]
pub struct Key {
    suite: &'static str,
    tag: usize,
    master: Vec<u8>,
    cipher: Vec<u8>,
    authentication: Vec<u8>,
    salt: Vec<u8>,
}

impl Key {
    /// One of the test's own.
    pub fn new(octet: u8) -> Self {
        Self::of_suite(LONG_TAG, vec![octet; 30])
    }

    fn with_short_tag(octet: u8) -> Self {
        Self::of_suite(SHORT_TAG, vec![octet; 30])
    }

    fn of_suite((suite, tag): (&'static str, usize), master: Vec<u8>) -> Self {
        let [cipher, authentication, salt] =
            [(0, 16), (1, 20), (2, 14)].map(|(label, length)| derived(&master, label, length));
        Self { suite, tag, master, cipher, authentication, salt }
    }

    /// That of a stream's description, with the tag of its line, if there is one of these suites.
    pub fn described(stream: &str) -> Option<(u32, Self)> {
        stream.lines().find_map(|line| {
            let mut words = line.strip_prefix("a=crypto:")?.split(' ');
            let (number, suite) = (words.next()?.parse().ok()?, words.next()?);
            let suite = [LONG_TAG, SHORT_TAG].into_iter().find(|(name, _)| *name == suite)?;
            let master = STANDARD.decode(words.next()?.strip_prefix("inline:")?).unwrap();
            Some((number, Self::of_suite(suite, master)))
        })
    }

    /// As a line of a description.
    pub fn line(&self, number: u32) -> String {
        format!("a=crypto:{number} {} inline:{}\r\n", self.suite, STANDARD.encode(&self.master))
    }

    fn changed(&self, packet: &[u8], roc: u32) -> Vec<u8> {
        // RFC 3711 §4.1.1.
        let (header, payload) = packet.split_at(12);
        let mut iv = [&self.salt[..], &[0, 0]].concat();
        let octets = [&header[8..12], &roc.to_be_bytes(), &header[2..4]].concat();
        iv[4..14].iter_mut().zip(octets).for_each(|(octet, other)| *octet ^= other);
        let changed = encrypt(Cipher::aes_128_ctr(), &self.cipher, Some(&iv), payload).unwrap();
        [header, &changed].concat()
    }

    fn mac(&self, packet: &[u8], roc: u32) -> Vec<u8> {
        let key = PKey::hmac(&self.authentication).unwrap();
        let mut signer = Signer::new(MessageDigest::sha1(), &key).unwrap();
        signer.update(&[packet, &roc.to_be_bytes()].concat()).unwrap();
        signer.sign_to_vec().unwrap()[..self.tag].to_vec()
    }

    fn protected(&self, packet: &[u8], roc: u32) -> Vec<u8> {
        let changed = self.changed(packet, roc);
        let mac = self.mac(&changed, roc);
        [changed, mac].concat()
    }

    /// The packet, if this key has protected it.
    pub fn opened(&self, datagram: &[u8], roc: u32) -> Option<Packet> {
        let (packet, tag) = datagram.split_at(datagram.len().checked_sub(self.tag)?);
        (packet.len() >= 12 && self.mac(packet, roc) == tag)
            .then(|| rtp::parse(&self.changed(packet, roc)))
            .flatten()
    }
}

/// RFC 3711 §4.3.1, with a key derivation rate of zero.
fn derived(master: &[u8], label: u8, length: usize) -> Vec<u8> {
    let (key, salt) = master.split_at(16);
    let mut iv = [salt, &[0, 0]].concat();
    iv[7] ^= label;
    encrypt(Cipher::aes_128_ctr(), key, Some(&iv), &vec![0; length]).unwrap()
}

/// Whether it is a packet and no report (RFC 5761 §4).
pub fn is_audio(datagram: &[u8]) -> bool {
    datagram.len() > 12 && !matches!(datagram[1], 192..=223)
}

/// Says something under a key that may change meanwhile.
struct Speaker {
    socket: UdpSocket,
    to: SocketAddr,
    /// And the roll-over counter.
    key: Mutex<(Key, u32)>,
}

impl Speaker {
    /// The first packets are the last before their numbers begin anew.
    fn say(&self, samples: &[i16]) {
        let (mut sequence, mut timestamp, mut next) = (65_500_u16, 0, Instant::now());
        for frame in samples.chunks_exact(160) {
            let payload = frame.iter().map(|sample| audio::encode(*sample)).collect();
            let packet = Packet { payload_type: 0, sequence, timestamp, ssrc: 5, payload };
            {
                let (key, roc) = &mut *self.key.lock().unwrap();
                let protected = key.protected(&packet.bytes(false), *roc);
                self.socket.send_to(&protected, self.to).unwrap();
                *roc += u32::from(sequence == u16::MAX);
            }
            (sequence, timestamp) = (sequence.wrapping_add(1), timestamp + 160);
            next += Duration::from_millis(20);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}

/// The carrier's trunk has SRTP and nothing else, the PBX's nothing of it.
fn prepare(system: &System) {
    let gateway = "  direction: Both\n  allowlistRefs:\n  - name: carrier\n";
    let keys = "  srtp: Required\n  insecureKeys: Accepted\n";
    system.edit("platform.yaml", gateway, &format!("{gateway}{keys}"));
}

fn offer(phone: &Phone, version: u32, lines: &str) -> String {
    let offer = phone.offer("0").replace("o=phone 1 1", &format!("o=phone 1 {version}"));
    offer.replace("RTP/AVP", "RTP/SAVP") + lines
}

fn reinvite(phone: &mut Phone, offer: &str) -> Message {
    let invite = phone.request("INVITE", "", offer);
    phone.send(&invite);
    let answer = phone.final_response();
    phone.acknowledge_reinvite(&answer);
    answer
}

/// Both say something for so long, while `meanwhile` happens with the phone; gives all keys that were ours.
fn talk(system: &System, seconds: f64, meanwhile: impl FnOnce(&mut Phone, &Speaker, &Key) -> Vec<Key>) {
    let callee = Callee::start(system, system.pbx.port(), "0");
    let mut phone = Phone::new(system, CARRIER, RING);
    let first = Key::new(1);
    let answer = phone.invite(&offer(&phone, 1, &first.line(1)));
    assert_eq!(answer.code(), 200, "{}", answer.text);
    let (_, ours) = Key::described(answer.body()).unwrap();
    let (by_caller, by_callee) = (melody(131, seconds), melody(132, seconds));
    let speaker = Speaker { socket: phone.rtp.sender(), to: answer.audio(), key: Mutex::new((first, 0)) };
    let back = callee.audio();
    let speaks = Arc::new(speaker);
    let keys = thread::scope(|scope| {
        let speaker = Arc::clone(&speaks);
        let said = &by_caller;
        scope.spawn(move || speaker.say(said));
        scope.spawn(|| Stream::new(&callee.rtp, back, 8).say(&by_callee));
        meanwhile(&mut phone, &speaks, &ours)
    });
    // What is still on its way.
    thread::sleep(Duration::from_millis(200));
    let heard: Vec<i16> = callee
        .rtp
        .packets()
        .iter()
        .flat_map(|packet| audio::decode(packet.payload_type, &packet.payload))
        .collect();
    assert_eq!(missing_ms(&by_caller, &heard), 0, "of what the caller said");
    let mut packets = Vec::new();
    for datagram in phone.rtp.datagrams().iter().filter(|datagram| is_audio(datagram)) {
        // Each is protected by a key of ours.
        packets.push(keys.iter().find_map(|key| key.opened(datagram, 0)).unwrap());
    }
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "a packet is missing");
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
    }
    let heard: Vec<i16> = packets.iter().flat_map(|packet| audio::decode(0, &packet.payload)).collect();
    assert_eq!(missing_ms(&by_callee, &heard), 0, "of what the callee said");
    phone.hang_up();
    system.path_of_call(1);
    wait_until("the record is there", || !system.records().is_empty());
    let quality = &system.records()[0]["quality"];
    assert_eq!(quality["packets_discarded"], 0, "{quality}");
    assert_eq!(quality["packets_lost"], 0, "{quality}");
}

#[test]
fn a_new_key_under_a_live_call_leaves_no_gap_and_the_old_one_again_keeps_its_counter() {
    with_prepared(&Setup::default(), prepare, |system| {
        talk(system, 6.48, |phone, speaker, ours| {
            let pause = || thread::sleep(Duration::from_millis(1_200));
            pause();
            // Its numbers have begun anew meanwhile, so whoever forgot the counter would hear no more.
            assert_eq!(speaker.key.lock().unwrap().1, 1);
            let answer = reinvite(phone, &offer(phone, 2, &Key::new(1).line(1)));
            assert_eq!(answer.code(), 200, "{}", answer.text);
            let described = |answer: &Message| Key::described(answer.body()).expect("a key of ours").1;
            assert_eq!(described(&answer).master, ours.master, "ours stays as well");
            pause();
            // RFC 3711 §3.3.1: the counter stays where the key does not.
            let answer = reinvite(phone, &offer(phone, 3, &Key::new(2).line(1)));
            assert_eq!(answer.code(), 200, "{}", answer.text);
            assert_eq!(described(&answer).master, ours.master);
            speaker.key.lock().unwrap().0 = Key::new(2);
            pause();
            // Others begin with it from 0, and another suite needs another key of ours.
            let other = Key::with_short_tag(3);
            let answer = reinvite(phone, &offer(phone, 4, &other.line(7)));
            assert_eq!(answer.code(), 200, "{}", answer.text);
            assert!(answer.body().contains("a=crypto:7 "), "{}", answer.body());
            *speaker.key.lock().unwrap() = (other, 0);
            let then = described(&answer);
            assert_ne!(then.master, ours.master);
            vec![ours.clone(), then]
        });
    });
}

#[test]
fn a_new_key_that_is_none_is_refused_and_the_old_ones_go_on() {
    with_prepared(&Setup::default(), prepare, |system| {
        talk(system, 4.8, |phone, _, ours| {
            let short = Key { master: vec![9; 29], ..Key::new(9) }.line(1);
            let unknown = Key::new(9).line(1).replace(LONG_TAG.0, "F8_128_HMAC_SHA1_80");
            for (version, lines) in [(2, short.as_str()), (3, &unknown), (4, "")] {
                thread::sleep(Duration::from_millis(900));
                let answer = reinvite(phone, &offer(phone, version, lines));
                assert_eq!(answer.code(), 488, "{lines}: {}", answer.text);
            }
            vec![ours.clone()]
        });
    });
}

#[test]
fn the_tests_own_srtp_is_that_of_the_rfcs_vectors() {
    // RFC 3711 appendix B.3.
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let key = Key::of_suite(LONG_TAG, hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6"));
    assert_eq!(key.cipher, hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(key.salt, hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(key.authentication, hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}
