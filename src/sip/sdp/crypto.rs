//! Keys of SRTP in descriptions (SDES, RFC 4568).
//!
//! A line counts if its suite is one of ours and if nothing else about it is unknown to us: several keys, a lifetime
//! shorter than a long call, a key derivation rate, what is not to be encrypted or authenticated are not, and such a line is passed over, as §7.1.2 asks of parameters that are not supported. What is left out is as
//! good as not offered: the next line may do.
//!
//! Our offers give no master key identifier (§6.1), for each line has one key. Who puts one into its packets is answered with
//! the same one: some take it for a property of the line, and all who have it understand it.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{
    media::{CryptoSuite, MKI_MAX, MasterKey, Srtp, SrtpKeys},
    trunk::SrtpUse,
};

use super::{LocalMedia, Media};

/// Fewest packets that a key must be good for: 5.8 hours of 20 ms each. A key is used for a call and not renewed by itself.
const LIFETIME_MIN: u64 = 1 << 20;

/// A line that can be used.
#[derive(Debug)]
pub struct Crypto {
    pub tag: u32,
    pub key: MasterKey,
}

/// Keys of both ways, and by which tag they were agreed on.
#[derive(Debug)]
pub struct Agreed {
    pub tag: u32,
    pub ours: MasterKey,
    theirs: MasterKey,
}

impl Agreed {
    pub fn into_srtp(self) -> Srtp {
        Srtp::Sdes(SrtpKeys { send: self.ours, receive: self.theirs })
    }
}

/// The first line of an offer whose suite we have a key for.
pub fn chosen(media: &Media<'_>, local: &LocalMedia) -> Option<Agreed> {
    if local.srtp == SrtpUse::Disabled || media.is_dtls() {
        return None;
    }
    media.crypto.iter().find_map(|line| {
        let ours = local.keys.iter().find(|key| key.suite == line.key.suite)?;
        let ours = MasterKey { mki: line.key.mki.clone(), ..ours.clone() };
        Some(Agreed { tag: line.tag, ours, theirs: line.key.clone() })
    })
}

/// The line of an answer to our offer of `keys`.
pub fn accepted(media: &Media<'_>, keys: &[MasterKey]) -> Option<Agreed> {
    if media.is_dtls() {
        return None;
    }
    // The tag says which of our keys was taken, and the suite must be its own (RFC 4568 §5.1.3).
    media.crypto.iter().find_map(|line| {
        let ours = usize::try_from(line.tag).ok()?.checked_sub(1).and_then(|place| keys.get(place))?;
        let agrees = ours.suite == line.key.suite;
        agrees.then(|| Agreed { tag: line.tag, ours: ours.clone(), theirs: line.key.clone() })
    })
}

/// `1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^31`. None: it cannot be used.
pub fn parse(line: &str) -> Option<Crypto> {
    let mut words = line.split_ascii_whitespace();
    let (tag, suite, parameters) = (words.next()?, words.next()?, words.next()?);
    if tag.len() > 9 || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let suite = CryptoSuite::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(suite))?;
    if !words.all(is_harmless) {
        return None;
    }
    let mut parts = strip(parameters, "inline:")?.split('|');
    let key_and_salt = decode(parts.next()?)?;
    if key_and_salt.len() != suite.key_length() + suite.salt_length() {
        return None;
    }
    // A lifetime, or an identifier, which has a colon, or first one and then the other.
    let mut mki = Vec::new();
    match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => {}
        (Some(one), None, None) if one.contains(':') => mki = identifier(one)?,
        (Some(one), None, None) => long_enough(one)?,
        (Some(one), Some(two), None) => {
            long_enough(one)?;
            mki = identifier(two)?;
        }
        _ => return None,
    }
    Some(Crypto { tag: tag.parse().ok()?, key: MasterKey { suite, key_and_salt, mki } })
}

/// The value of an `a=crypto` of ours, without the tag's name.
pub fn written(tag: u32, key: &MasterKey) -> String {
    let mut line = format!("{tag} {} inline:{}", key.suite.name(), STANDARD.encode(&key.key_and_salt));
    if !key.mki.is_empty() {
        let number = key.mki.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let _infallible = write!(line, "|{number}:{}", key.mki.len());
    }
    line
}

fn long_enough(text: &str) -> Option<()> {
    lifetime(text).filter(|packets| *packets >= LIFETIME_MIN).map(drop)
}

/// `1:4`: the number 1 in four bytes.
fn identifier(text: &str) -> Option<Vec<u8>> {
    let (number, length) = text.split_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(number) || !is_number(length) {
        return None;
    }
    let (number, length): (u128, usize) = (number.parse().ok()?, length.parse().ok()?);
    let bytes = number.to_be_bytes();
    let (zeros, bytes) = bytes.split_at(MKI_MAX.checked_sub(length).filter(|_| length > 0)?);
    zeros.iter().all(|zero| *zero == 0).then(|| bytes.to_vec())
}

/// Session parameters that change nothing for us: a replay window no wider than ours, a derivation rate of none, where
/// error correction stands, and what says itself that it may be passed over (RFC 4568 §6.3).
fn is_harmless(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    match name.to_ascii_uppercase().as_str() {
        "WSH" => value.parse().is_ok_and(|width: u32| (64..=128).contains(&width)),
        "KDR" => value == "0",
        name => name.starts_with('-'),
    }
}

/// `2^31` or `1048576`.
fn lifetime(text: &str) -> Option<u64> {
    match text.split_once('^') {
        Some(("2", power)) => 1_u64.checked_shl(power.parse().ok()?),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Some leave the padding out.
fn decode(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padded = format!("{bare}{}", &"==="[..(4 - bare.len() % 4) % 4]);
    STANDARD.decode(padded).ok()
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn a_line_counts_if_all_of_it_is_known() {
        let rows = [
            ("", true),
            ("|2^20", true),
            ("|2^48", true),
            ("|1048576", true),
            ("|2^19", false),
            ("|2^99", false),
            ("|3^20", false),
            ("|1:4", true),
            ("|2^20|1:4", true),
            ("|2^20|340282366920938463463374607431768211455:16", true),
            ("|2^20|256:1", false),
            ("|2^20|1:17", false),
            ("|2^20|1:0", false),
            ("|2^20|:4", false),
            ("|2^20|+1:4", false),
            ("|1:4|2^20", false),
            ("|2^19|1:4", false),
            ("|2^20|1:4|2", false),
            (" WSH=64", true),
            (" WSH=4096", false),
            (" KDR=0", true),
            (" KDR=1", false),
            (" UNENCRYPTED_SRTP", false),
            (" UNENCRYPTED_SRTCP", false),
            (" UNAUTHENTICATED_SRTP", false),
            (" FEC_ORDER=FEC_SRTP", false),
            (" -x=1", true),
            (";inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|2:4", false),
        ];
        for (more, counts) in rows {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{more}");
            assert_eq!(parse(&line).is_some(), counts, "{line}");
        }
    }

    #[test]
    fn suites_are_known_by_name_and_length() {
        let rows = [
            (format!("1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"), true),
            (format!("1 aes_cm_128_hmac_sha1_80 INLINE:{KEY}"), true),
            (format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"), false),
            (format!("1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}"), false),
            (format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), false),
            (format!("1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), false),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:!!!!".to_owned(), false),
            ("1 AES_CM_128_HMAC_SHA1_80 uri:x".to_owned(), false),
            ("1 AES_CM_128_HMAC_SHA1_80".to_owned(), false),
            (String::new(), false),
        ];
        for (line, counts) in rows {
            assert_eq!(parse(&line).is_some(), counts, "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for suite in CryptoSuite::ALL {
            let length = suite.key_length() + suite.salt_length();
            let mut key = MasterKey::new(suite, (0..length).map(|n| n as u8 ^ 0xa5).collect());
            let line = written(7, &key);
            let read = parse(&line).expect("our own line");
            assert_eq!((read.tag, read.key.clone()), (7, key), "{line}");
            let bare = parse(line.trim_end_matches('=')).expect("without padding");
            assert_eq!(bare.key, read.key);
            key = MasterKey { mki: vec![0, 1, 2], ..read.key };
            let line = written(7, &key);
            assert!(line.ends_with("|258:3"), "{line}");
            assert_eq!(parse(&line).expect("our own line").key, key);
        }
    }
}
