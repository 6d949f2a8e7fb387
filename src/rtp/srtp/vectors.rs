//! The vectors of RFC 3711 appendix B, RFC 6188 §7, and RFC 7714 §16 and §17.

use aws_lc_rs::{aead, aead::Aad};
use model::media::{CryptoSuite, MasterKey};

use super::{
    E_FLAG, RTCP_HEADER, Receiver, Sender, SrtpError,
    keys::{Keys, Use},
};

pub fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair =
        |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16).expect("hexadecimal");
    digits.chunks(2).map(pair).collect()
}

fn master(suite: CryptoSuite, key: &str, salt: &str) -> MasterKey {
    MasterKey::new(suite, bytes(&format!("{key}{salt}")))
}

/// Bytes of keystream for SSRC 0, index 0.
fn keystream(suite: CryptoSuite, key: &str, salt: &str, length: usize) -> Vec<u8> {
    let keys = Keys::of_session(suite, Use::Rtp, &bytes(key), &[0; 20], &bytes(salt)).expect("keys");
    let mut packet = vec![0; 12 + length + 16];
    keys.seal_rtp(&mut packet, 12, 12 + length, 0, 0).expect("room");
    packet[12..12 + length].to_vec()
}

#[test]
fn the_keystreams_are_those_of_the_rfcs() {
    let salt = "F0F1F2F3F4F5F6F7F8F9FAFBFCFD";
    let table = [
        (
            "RFC 3711 B.2",
            CryptoSuite::AesCm128HmacSha1_80,
            "2B7E151628AED2A6ABF7158809CF4F3C",
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0",
        ),
        (
            "RFC 6188 7.1",
            CryptoSuite::AesCm256HmacSha1_80,
            "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
            "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
        ),
    ];
    for (what, suite, key, expected) in table {
        assert_eq!(keystream(suite, key, salt, 48), bytes(expected), "{what}");
    }
}

/// Derived keys act as the session keys that the RFC prints.
#[test]
fn session_keys_are_derived_as_the_rfcs_do() {
    let table = [
        (
            "RFC 3711 B.3",
            master(
                CryptoSuite::AesCm128HmacSha1_80,
                "E1F97A0D3E018BE0D64FA32C06DE4139",
                "0EC675AD498AFEEBB6960B3AABE6",
            ),
            "C61E7A93744F39EE10734AFE3FF7A087",
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
            "30CBBC08863D8C85D49DB34A9AE1",
        ),
        (
            "RFC 6188 7.2",
            master(
                CryptoSuite::AesCm256HmacSha1_80,
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
                "3b04803de51ee7c96423ab5b78d2",
            ),
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
            "fa31791685ca444a9e07c6c64e93",
        ),
    ];
    for (what, master, key, authentication, salt) in table {
        let derived = Keys::derive(&master, Use::Rtp).expect("keys");
        let (key, authentication, salt) = (bytes(key), bytes(authentication), bytes(salt));
        let printed = Keys::of_session(master.suite, Use::Rtp, &key, &authentication, &salt).expect("keys");
        let sealed = |keys: &Keys| {
            let mut packet = vec![7; 200];
            let length = keys.seal_rtp(&mut packet, 12, 172, 0xcafe_babe, 0x1_2345_6789).expect("room");
            packet[..length].to_vec()
        };
        assert_eq!(sealed(&derived), sealed(&printed), "{what}");
    }
}

/// A packet of libsrtp's self test, from the master key of RFC 3711 B.3.
#[test]
fn a_whole_packet_is_protected_as_others_do() {
    let key = master(
        CryptoSuite::AesCm128HmacSha1_80,
        "E1F97A0D3E018BE0D64FA32C06DE4139",
        "0EC675AD498AFEEBB6960B3AABE6",
    );
    let plain = bytes("800f1234decafbadcafebabe abababababababababababababababab");
    let protected = bytes("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    let mut packet = plain.clone();
    packet.resize(64, 0);
    let length = Sender::new(&key, 0)
        .and_then(|mut sender| sender.protect(&mut packet, plain.len()))
        .expect("protected");
    assert_eq!(packet[..length], protected);
    let opened = Receiver::new(&key).and_then(|mut receiver| receiver.unprotect(&mut packet[..length]));
    assert_eq!(&packet[..opened.expect("opened")], plain);
}

const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 \
                   61727465 73207472 6573";
const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef \
                    deadbeef deadbeef deadbeef";
const GCM_SALT: &str = "517569642070726f2071756f";
const GCM_KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const GCM_KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn gcm(suite: CryptoSuite, key: &str) -> Keys {
    Keys::of_session(suite, Use::Rtp, &bytes(key), &[], &bytes(GCM_SALT)).expect("keys")
}

#[test]
fn rtp_under_gcm_is_that_of_rfc_7714() {
    let table = [
        (
            CryptoSuite::AeadAes128Gcm,
            GCM_KEY_128,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b \
             36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            CryptoSuite::AeadAes256Gcm,
            GCM_KEY_256,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f \
             1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    for (suite, key, protected) in table {
        let keys = gcm(suite, key);
        let (mut packet, plain, protected) = (bytes(RTP), bytes(RTP), bytes(protected));
        packet.resize(plain.len() + 16, 0);
        assert_eq!(keys.seal_rtp(&mut packet, 12, plain.len(), 0x5501_a0b2, 0xf17b), Ok(protected.len()));
        assert_eq!(packet, protected, "{suite:?}");
        assert_eq!(keys.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain, "{suite:?}");
    }
}

#[test]
fn rtcp_under_gcm_is_that_of_rfc_7714() {
    let table = [
        (
            CryptoSuite::AeadAes128Gcm,
            GCM_KEY_128,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 \
             86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef \
             deadbeef deadbeef 841dd968 3dd78ec9 2ae58790 125f62b3 000005d4",
        ),
        (
            CryptoSuite::AeadAes256Gcm,
            GCM_KEY_256,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 \
             c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef \
             deadbeef deadbeef 91db4afb feee5a97 8fab4393 ed2615fe 000005d4",
        ),
    ];
    for (suite, key, encrypted, authenticated) in table {
        let keys = gcm(suite, key);
        let (mut packet, plain) = (bytes(RTCP), bytes(RTCP));
        let (encrypted, mut authenticated) = (bytes(encrypted), bytes(authenticated));
        packet.resize(plain.len() + 20, 0);
        let sealed = keys.seal_rtcp(&mut packet, plain.len(), 0x4d61_7273, 0x5d4 | E_FLAG);
        assert_eq!((sealed, &packet), (Ok(encrypted.len()), &encrypted), "{suite:?}");
        for packet in [&mut packet, &mut authenticated] {
            let word = keys.index_word(packet).expect("whole");
            assert_eq!(keys.open_rtcp(packet, 0x4d61_7273, word), Ok(plain.len()), "{suite:?} {word:x}");
            assert_eq!(packet[..plain.len()], plain, "{suite:?} {word:x}");
        }
    }
}

#[test]
fn rtcp_that_was_to_be_clear_is_still_authenticated() {
    let keys = gcm(CryptoSuite::AeadAes128Gcm, GCM_KEY_128);
    let mut packet = bytes(RTCP);
    let length = packet.len();
    packet.resize(length + 20, 0);
    assert_eq!(keys.open_rtcp(&mut packet, 0x4d61_7273, 0x5d4), Err(SrtpError::Forged));
    // And GCM of the library agrees with what the vectors above assume of its empty plain text.
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &[0; 16]).map(aead::LessSafeKey::new).expect("a key");
    let nonce = || aead::Nonce::assume_unique_for_key([0; 12]);
    let tag =
        key.seal_in_place_separate_tag(nonce(), Aad::from(&packet[..RTCP_HEADER]), &mut []).expect("a tag");
    let mut tag: Vec<u8> = tag.as_ref().to_vec();
    assert!(key.open_in_place(nonce(), Aad::from(&packet[..RTCP_HEADER]), &mut tag).is_ok());
}
