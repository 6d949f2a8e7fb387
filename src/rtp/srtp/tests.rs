use std::time::Duration;

use model::media::{CryptoSuite, MasterKey};
use proptest::prelude::*;

use super::{OVERHEAD_MAX, Receiver, SOURCES_MAX, Sender, SrtpError};

const SSRC: u32 = 0x1234_5678;

fn key(suite: CryptoSuite, seed: u8) -> MasterKey {
    let length = suite.key_length() + suite.salt_length();
    MasterKey::new(suite, (0..length).map(|n| seed.wrapping_add(n as u8)).collect())
}

fn pair(suite: CryptoSuite) -> (Sender, Receiver) {
    let key = key(suite, 1);
    (Sender::new(&key, 0).expect("a key"), Receiver::new(&key).expect("a key"))
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).wrapping_mul(160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn protect(sender: &mut Sender, plain: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + OVERHEAD_MAX, 0xee);
    let length = sender.protect(&mut packet, plain.len())?;
    packet.truncate(length);
    Ok(packet)
}

fn protect_rtcp(sender: &mut Sender, plain: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + OVERHEAD_MAX, 0xee);
    let length = sender.protect_rtcp(&mut packet, plain.len())?;
    packet.truncate(length);
    Ok(packet)
}

fn open(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let length = receiver.unprotect(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

fn open_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let length = receiver.unprotect_rtcp(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

fn report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, b'm', b'e']);
    packet
}

#[test]
fn what_is_protected_is_unreadable_until_it_is_opened() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let plain = rtp(SSRC, 1, b"four score and seven years ago");
        let protected = protect(&mut sender, &plain).expect("protected");
        assert_eq!(protected[..12], plain[..12], "{suite:?}");
        assert!(!protected.windows(5).any(|window| window == b"score"), "{suite:?}");
        assert_eq!(open(&mut receiver, &protected), Ok(plain), "{suite:?}");
        let plain = report(SSRC);
        let protected = protect_rtcp(&mut sender, &plain).expect("protected");
        assert_eq!(protected[..8], plain[..8], "{suite:?}");
        assert_ne!(protected[8..plain.len()], plain[8..], "{suite:?}");
        assert_eq!(open_rtcp(&mut receiver, &protected), Ok(plain), "{suite:?}");
    }
}

#[test]
fn tags_have_the_suites_lengths() {
    let table = [
        (CryptoSuite::AeadAes128Gcm, 16, 20),
        (CryptoSuite::AeadAes256Gcm, 16, 20),
        (CryptoSuite::AesCm128HmacSha1_80, 10, 14),
        (CryptoSuite::AesCm256HmacSha1_80, 10, 14),
        (CryptoSuite::AesCm128HmacSha1_32, 4, 14),
    ];
    for (suite, more, rtcp_more) in table {
        let (mut sender, _) = pair(suite);
        let (packet, report) = (rtp(SSRC, 1, &[0; 160]), report(SSRC));
        let lengths = (
            protect(&mut sender, &packet).map(|p| p.len()),
            protect_rtcp(&mut sender, &report).map(|p| p.len()),
        );
        assert_eq!(lengths, (Ok(packet.len() + more), Ok(report.len() + rtcp_more)), "{suite:?}");
    }
}

#[test]
fn a_packet_is_opened_once() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let packet = protect(&mut sender, &rtp(SSRC, 1, b"once")).expect("protected");
        assert!(open(&mut receiver, &packet).is_ok());
        assert_eq!(open(&mut receiver, &packet), Err(SrtpError::Replayed), "{suite:?}");
        let packet = protect_rtcp(&mut sender, &report(SSRC)).expect("protected");
        assert!(open_rtcp(&mut receiver, &packet).is_ok());
        assert_eq!(open_rtcp(&mut receiver, &packet), Err(SrtpError::Replayed), "{suite:?}");
    }
}

#[test]
fn an_index_is_protected_once() {
    for suite in CryptoSuite::ALL {
        let (mut sender, _) = pair(suite);
        assert!(protect(&mut sender, &rtp(SSRC, 7, b"one")).is_ok());
        assert_eq!(protect(&mut sender, &rtp(SSRC, 7, b"two")), Err(SrtpError::Replayed), "{suite:?}");
        assert!(protect(&mut sender, &rtp(SSRC + 1, 7, b"two")).is_ok(), "{suite:?}: another source");
    }
}

#[test]
fn packets_may_be_late_by_less_than_the_window() {
    let (mut sender, mut receiver) = pair(CryptoSuite::AeadAes128Gcm);
    let packets: Vec<_> =
        (0..300).map(|n| protect(&mut sender, &rtp(SSRC, n, b"late")).expect("protected")).collect();
    assert!(open(&mut receiver, &packets[10]).is_ok());
    assert!(open(&mut receiver, &packets[299]).is_ok());
    assert!(open(&mut receiver, &packets[172]).is_ok());
    assert_eq!(open(&mut receiver, &packets[172]), Err(SrtpError::Replayed));
    assert_eq!(open(&mut receiver, &packets[171]), Err(SrtpError::Replayed), "too late");
}

#[test]
fn another_key_opens_nothing_and_leaves_no_trace() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let mut stranger = Sender::new(&key(suite, 99), 0).expect("a key");
        for n in 0..(SOURCES_MAX as u32 * 2) {
            let packet =
                protect(&mut stranger, &rtp(SSRC + n % 60, 40_000 + n as u16, b"mine")).expect("protected");
            assert_eq!(open(&mut receiver, &packet), Err(SrtpError::Forged), "{suite:?}");
            let packet = protect_rtcp(&mut stranger, &report(SSRC + n)).expect("protected");
            assert_eq!(open_rtcp(&mut receiver, &packet), Err(SrtpError::Forged), "{suite:?}");
        }
        let plain = rtp(SSRC, 1, b"yours");
        let packet = protect(&mut sender, &plain).expect("protected");
        assert_eq!(open(&mut receiver, &packet), Ok(plain), "{suite:?}");
    }
}

#[test]
fn any_changed_bit_is_noticed() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let packet = protect(&mut sender, &rtp(SSRC, 1, b"as it was")).expect("protected");
        let report = protect_rtcp(&mut sender, &report(SSRC)).expect("protected");
        for bit in 0..packet.len() * 8 {
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut receiver, &changed).is_err(), "{suite:?} bit {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut changed = report.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open_rtcp(&mut receiver, &changed).is_err(), "{suite:?} RTCP bit {bit}");
        }
        assert!(
            open(&mut receiver, &packet).is_ok() && open_rtcp(&mut receiver, &report).is_ok(),
            "{suite:?}"
        );
    }
}

#[test]
fn the_roll_over_counter_follows_the_sequence() {
    for suite in [CryptoSuite::AeadAes128Gcm, CryptoSuite::AesCm128HmacSha1_80] {
        let (mut sender, mut receiver) = pair(suite);
        // Three times around in strides, so that both ends have to count.
        for index in (20_000_u32..3 << 16).step_by(9_973) {
            let plain = rtp(SSRC, index as u16, &index.to_be_bytes());
            let packet = protect(&mut sender, &plain).expect("protected");
            assert_eq!(open(&mut receiver, &packet), Ok(plain), "{suite:?} {index}");
        }
        let mut late = Receiver::new(&key(suite, 1)).expect("a key");
        let packet = protect(&mut sender, &rtp(SSRC, 5, b"fourth round")).expect("protected");
        assert_eq!(
            open(&mut late, &packet),
            Err(SrtpError::Forged),
            "{suite:?}: who begins anew does not know it"
        );
        let mut told = Receiver::with_roc(&key(suite, 1), 3).expect("a key");
        assert!(open(&mut told, &packet).is_ok(), "{suite:?}");
    }
}

#[test]
fn packets_about_the_wrap_come_in_any_order() {
    let (mut sender, mut receiver) = pair(CryptoSuite::AeadAes256Gcm);
    let numbers = [65_533, 65_535, 1, 65_534, 0, 2];
    for number in numbers {
        let plain = rtp(SSRC, number, b"wrap");
        let packet = protect(&mut sender, &plain).expect("protected");
        assert_eq!(open(&mut receiver, &packet), Ok(plain), "{number}");
    }
}

#[test]
fn the_last_index_of_a_key_is_the_last() {
    let key = key(CryptoSuite::AeadAes128Gcm, 1);
    let mut sender = Sender::new(&key, u32::MAX).expect("a key");
    let mut receiver = Receiver::with_roc(&key, u32::MAX).expect("a key");
    let packet = protect(&mut sender, &rtp(SSRC, 65_535, b"last")).expect("protected");
    assert!(open(&mut receiver, &packet).is_ok());
    assert_eq!(protect(&mut sender, &rtp(SSRC, 0, b"none")), Err(SrtpError::Exhausted));
}

#[test]
fn sources_are_bounded() {
    let (mut sender, mut receiver) = pair(CryptoSuite::AeadAes128Gcm);
    for n in 0..SOURCES_MAX as u32 {
        let packet = protect(&mut sender, &rtp(n, 1, b"many")).expect("protected");
        assert!(open(&mut receiver, &packet).is_ok());
    }
    assert_eq!(protect(&mut sender, &rtp(SSRC, 1, b"more")), Err(SrtpError::TooManySources));
    assert!(protect(&mut sender, &rtp(3, 2, b"old")).is_ok());
}

#[test]
fn what_has_no_room_is_refused() {
    for suite in CryptoSuite::ALL {
        let (mut sender, _) = pair(suite);
        let mut packet = rtp(SSRC, 1, b"tight");
        let length = packet.len();
        assert_eq!(sender.protect(&mut packet, length), Err(SrtpError::NoRoom), "{suite:?}");
        assert_eq!(sender.protect(&mut packet, length + 1), Err(SrtpError::NoRoom), "{suite:?}");
        packet.resize(length + OVERHEAD_MAX, 0);
        assert!(sender.protect(&mut packet, length).is_ok(), "{suite:?}: nothing was used up");
    }
}

#[test]
fn a_key_of_a_wrong_length_is_refused() {
    for suite in CryptoSuite::ALL {
        let mut key = key(suite, 1);
        key.key_and_salt.pop();
        assert!(matches!(Sender::new(&key, 0), Err(SrtpError::Key)), "{suite:?}");
        assert!(matches!(Receiver::new(&key), Err(SrtpError::Key)), "{suite:?}");
    }
}

#[test]
fn contexts_do_not_print_their_keys() {
    let (sender, receiver) = pair(CryptoSuite::AeadAes128Gcm);
    let text = format!("{sender:?} {receiver:?}");
    assert!(text.contains("[redacted]"), "{text}");
}

fn suites() -> impl Strategy<Value = CryptoSuite> {
    prop::sample::select(CryptoSuite::ALL.to_vec())
}

proptest! {
    #[test]
    fn whatever_comes_is_refused_without_harm(
        suite in suites(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in any::<bool>(),
    ) {
        if let (true, Some(first)) = (version, bytes.first_mut()) {
            *first = *first & 0x3f | 0x80;
        }
        let (mut sender, mut receiver) = pair(suite);
        prop_assert!(receiver.unprotect(&mut bytes.clone()).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut bytes.clone()).is_err());
        let length = bytes.len();
        let _ = sender.protect(&mut bytes.clone(), length);
        let _ = sender.protect_rtcp(&mut bytes, length);
    }

    #[test]
    fn what_is_protected_is_opened_with_any_header(
        suite in suites(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        csrcs in 0_u8..16,
        extension in prop::option::of(0_u16..8),
        number in any::<u16>(),
    ) {
        let (mut sender, mut receiver) = pair(suite);
        let mut plain = rtp(SSRC, number, &[]);
        plain[0] |= csrcs;
        plain.extend(std::iter::repeat_n(9, usize::from(csrcs) * 4));
        if let Some(words) = extension {
            plain[0] |= 0x10;
            plain.extend([0xbe, 0xde]);
            plain.extend(words.to_be_bytes());
            plain.extend(std::iter::repeat_n(5, usize::from(words) * 4));
        }
        let header = plain.len();
        plain.extend(&payload);
        let packet = protect(&mut sender, &plain)?;
        prop_assert_eq!(&packet[..header], &plain[..header]);
        prop_assert_eq!(open(&mut receiver, &packet)?, plain);
    }

    /// Whatever arrives in whatever order: each is opened at most once, and all that are within the window are.
    #[test]
    fn a_shuffled_stream_is_opened(start in any::<u16>(), order in prop::collection::vec(0_u16..100, 1..200)) {
        let (mut sender, mut receiver) = pair(CryptoSuite::AeadAes128Gcm);
        let packets: Vec<_> = (0..100_u16)
            .map(|n| protect(&mut sender, &rtp(SSRC, start.wrapping_add(n), &[n as u8])))
            .collect::<Result<_, _>>()?;
        prop_assert!(open(&mut receiver, &packets[0]).is_ok());
        let mut seen = std::collections::BTreeSet::from([0]);
        for n in order {
            let opened = open(&mut receiver, &packets[usize::from(n)]);
            prop_assert_eq!(opened.is_ok(), seen.insert(n), "{}", n);
        }
    }
}

/// `cargo test --release -p rtp -- --ignored --nocapture what_a_packet_costs`
#[test]
#[ignore = "measures, and asserts nothing"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn what_a_packet_costs() {
    const PACKETS: u32 = 200_000;
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let plain = rtp(SSRC, 0, &[0x55; 160]);
        let mut packet = [0; 256];
        let (mut protecting, mut opening) = (Duration::ZERO, Duration::ZERO);
        for n in 0..PACKETS {
            packet[..plain.len()].copy_from_slice(&plain);
            packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
            let begun = std::time::Instant::now();
            let length = sender.protect(&mut packet, plain.len()).expect("protected");
            let between = std::time::Instant::now();
            receiver.unprotect(&mut packet[..length]).expect("opened");
            opening += between.elapsed();
            protecting += between - begun;
        }
        let each = |all: Duration| all.as_secs_f64() * 1e6 / f64::from(PACKETS);
        eprintln!(
            "{:26} protect {:.2} µs, unprotect {:.2} µs",
            suite.name(),
            each(protecting),
            each(opening)
        );
    }
}

#[test]
fn an_identifier_stands_in_each_packet_where_the_suite_wants_it_and_must_be_the_keys_own() {
    for suite in CryptoSuite::ALL {
        let mut key = key(suite, 1);
        let mut bare = Sender::new(&key, 0).unwrap();
        key.mki = vec![0, 0, 0x12, 0x34];
        let (mut sender, mut receiver) = (Sender::new(&key, 0).unwrap(), Receiver::new(&key).unwrap());
        let tag = match suite {
            CryptoSuite::AeadAes128Gcm | CryptoSuite::AeadAes256Gcm => 0,
            CryptoSuite::AesCm128HmacSha1_32 => 4,
            CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm256HmacSha1_80 => 10,
        };
        let plain = rtp(SSRC, 1, b"four score and seven years ago");
        let (with, without) = (protect(&mut sender, &plain).unwrap(), protect(&mut bare, &plain).unwrap());
        let at = without.len() - tag;
        assert_eq!(with, [&without[..at], &key.mki[..], &without[at..]].concat(), "{suite:?}");
        assert_eq!(open(&mut receiver, &without), Err(SrtpError::Forged), "{suite:?}");
        assert_eq!(open(&mut receiver, &with), Ok(plain), "{suite:?}");
        assert_eq!(open(&mut receiver, &with), Err(SrtpError::Replayed), "{suite:?}");
        let plain = report(SSRC);
        let protected = protect_rtcp(&mut sender, &plain).unwrap();
        let tag = if tag == 0 { 0 } else { 10 };
        let at = protected.len() - tag;
        assert_eq!(protected[at - 4..at], key.mki, "{suite:?}");
        assert_eq!(open_rtcp(&mut receiver, &protected), Ok(plain), "{suite:?}");
        for length in 0..protected.len() {
            assert!(open_rtcp(&mut receiver, &protected[..length]).is_err(), "{suite:?}");
        }
        let mut tight = rtp(SSRC, 2, b"sound");
        assert_eq!(sender.protect(&mut tight, 17), Err(SrtpError::NoRoom), "{suite:?}");
    }
    let mut long = key(CryptoSuite::AeadAes128Gcm, 1);
    long.mki = vec![0; 17];
    assert_eq!(Sender::new(&long, 0).err(), Some(SrtpError::Key));
}
