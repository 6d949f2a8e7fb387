//! Session keys (RFC 3711 §4.3), and what they do to a packet.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    constant_time::verify_slices_are_equal,
    error::Unspecified,
    hmac,
    iv::FixedLength,
};
use model::media::{CryptoSuite, MasterKey};

use super::{E_FLAG, RTCP_HEADER, RTCP_INDEX, SrtpError};

/// Bytes of a GCM tag (RFC 7714 §13.1).
const GCM_TAG: usize = 16;
/// Bytes of SRTCP's HMAC-SHA1 tag, of the suite with short RTP tags too (RFC 4568 §6.2.2).
const RTCP_TAG: usize = 10;
/// Bytes of the HMAC-SHA1 key.
const AUTHENTICATION_KEY: usize = 20;
/// Bytes of the longest session key.
const KEY_MAX: usize = 32;

/// What keys are derived for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Rtp,
    Rtcp,
}

/// Session keys of one direction and protocol.
pub enum Keys {
    Cm(Box<CounterMode>),
    Gcm { key: LessSafeKey, salt: [u8; 12] },
}

/// Keys of AES-CM with HMAC-SHA1.
pub struct CounterMode {
    key: EncryptingKey,
    /// Of 112 bits; the last two bytes count blocks.
    salt: [u8; 16],
    authentication: hmac::Key,
    tag: usize,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

const fn is_gcm(suite: CryptoSuite) -> bool {
    matches!(suite, CryptoSuite::AeadAes128Gcm | CryptoSuite::AeadAes256Gcm)
}

impl Keys {
    /// Derives them, once for the life of the master key (a key derivation rate of 0).
    pub fn derive(master: &MasterKey, used_for: Use) -> Result<Self, SrtpError> {
        let suite = master.suite;
        let length = suite.key_length();
        if master.key_and_salt.len() != length + suite.salt_length() {
            return Err(SrtpError::Key);
        }
        let (key, master_salt) = master.key_and_salt.split_at(length);
        let mut salt = [0; 16];
        // A salt of 96 bits is the higher part of one of 112 (RFC 7714 §11).
        salt[..master_salt.len()].copy_from_slice(master_salt);
        let prf = counter_mode(key).map_err(|_| SrtpError::Key)?;
        let label = match used_for {
            Use::Rtp => 0,
            Use::Rtcp => 3,
        };
        let expand = |label: u8, out: &mut [u8]| {
            let mut iv = salt;
            iv[7] ^= label;
            out.fill(0);
            encrypt(&prf, iv, out).map_err(|_| SrtpError::Key)
        };
        let (mut key, mut authentication, mut salt) = ([0; KEY_MAX], [0; AUTHENTICATION_KEY], [0; 14]);
        expand(label, &mut key[..length])?;
        expand(label + 1, &mut authentication)?;
        expand(label + 2, &mut salt[..suite.salt_length()])?;
        Self::of_session(suite, used_for, &key[..length], &authentication, &salt[..suite.salt_length()])
    }

    /// From session keys.
    pub fn of_session(
        suite: CryptoSuite,
        used_for: Use,
        key: &[u8],
        authentication: &[u8],
        session_salt: &[u8],
    ) -> Result<Self, SrtpError> {
        if is_gcm(suite) {
            let algorithm = if key.len() == KEY_MAX { &AES_256_GCM } else { &AES_128_GCM };
            let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::Key)?;
            let salt = session_salt.try_into().map_err(|_| SrtpError::Key)?;
            return Ok(Self::Gcm { key: LessSafeKey::new(key), salt });
        }
        let mut salt = [0; 16];
        salt.get_mut(..session_salt.len()).ok_or(SrtpError::Key)?.copy_from_slice(session_salt);
        let tag = match (suite, used_for) {
            (CryptoSuite::AesCm128HmacSha1_32, Use::Rtp) => 4,
            _ => RTCP_TAG,
        };
        let authentication = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication);
        let key = counter_mode(key).map_err(|_| SrtpError::Key)?;
        Ok(Self::Cm(Box::new(CounterMode { key, salt, authentication, tag })))
    }

    /// Bytes of what stands behind a master key identifier: the tag that is not part of what is encrypted.
    pub fn behind_identifier(&self) -> usize {
        match self {
            Self::Cm(keys) => keys.tag,
            Self::Gcm { .. } => 0,
        }
    }

    /// Protects an RTP packet of `length` bytes with a header of `header`.
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        length: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        match self {
            Self::Cm(keys) => {
                let CounterMode { key, salt, authentication, tag } = &**keys;
                let packet = packet.get_mut(..length + tag).ok_or(SrtpError::NoRoom)?;
                encrypt(key, cm_iv(salt, ssrc, index), &mut packet[header..length])
                    .map_err(|_| SrtpError::Malformed)?;
                // The roll-over counter is authenticated behind the packet, where the tag takes its place.
                packet[length..length + 4].copy_from_slice(&roc(index));
                let sum = hmac::sign(authentication, &packet[..length + 4]);
                packet[length..].copy_from_slice(&sum.as_ref()[..*tag]);
                Ok(length + tag)
            }
            Self::Gcm { key, salt } => {
                let packet = packet.get_mut(..length + GCM_TAG).ok_or(SrtpError::NoRoom)?;
                let (plain, tag) = packet.split_at_mut(length);
                let (header, payload) = plain.split_at_mut(header);
                let nonce = gcm_rtp_iv(salt, ssrc, index);
                let sum = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
                tag.copy_from_slice(sum.map_err(|_| SrtpError::Malformed)?.as_ref());
                Ok(length + GCM_TAG)
            }
        }
    }

    /// Opens a protected RTP packet.
    pub fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        match self {
            Self::Cm(keys) => {
                let CounterMode { key, salt, authentication, tag } = &**keys;
                let length = plain_length(packet, header, *tag)?;
                let mut theirs = [0; RTCP_TAG];
                theirs[..*tag].copy_from_slice(&packet[length..]);
                packet[length..length + 4].copy_from_slice(&roc(index));
                verify(authentication, &packet[..length + 4], &theirs[..*tag])?;
                encrypt(key, cm_iv(salt, ssrc, index), &mut packet[header..length])
                    .map_err(|_| SrtpError::Forged)?;
                Ok(length)
            }
            Self::Gcm { key, salt } => {
                let length = plain_length(packet, header, GCM_TAG)?;
                let (header, protected) = packet.split_at_mut(header);
                let opened = key.open_in_place(gcm_rtp_iv(salt, ssrc, index), Aad::from(&*header), protected);
                opened.map(|_| length).map_err(|_| SrtpError::Forged)
            }
        }
    }

    /// Protects an RTCP packet of `length` bytes; `word` is the E flag, which is set, and the index.
    pub fn seal_rtcp(
        &self,
        packet: &mut [u8],
        length: usize,
        ssrc: u32,
        word: u32,
    ) -> Result<usize, SrtpError> {
        let index = u64::from(word & !E_FLAG);
        match self {
            Self::Cm(keys) => {
                let CounterMode { key, salt, authentication, tag } = &**keys;
                let end = length + RTCP_INDEX;
                let packet = packet.get_mut(..end + tag).ok_or(SrtpError::NoRoom)?;
                let secret = &mut packet[RTCP_HEADER..length];
                encrypt(key, cm_iv(salt, ssrc, index), secret).map_err(|_| SrtpError::Malformed)?;
                packet[length..end].copy_from_slice(&word.to_be_bytes());
                let sum = hmac::sign(authentication, &packet[..end]);
                packet[end..].copy_from_slice(&sum.as_ref()[..*tag]);
                Ok(end + tag)
            }
            Self::Gcm { key, salt } => {
                let end = length + GCM_TAG;
                let packet = packet.get_mut(..end + RTCP_INDEX).ok_or(SrtpError::NoRoom)?;
                let aad = rtcp_aad(packet, word);
                let secret = &mut packet[RTCP_HEADER..length];
                let sum =
                    key.seal_in_place_separate_tag(gcm_rtcp_iv(salt, ssrc, word), Aad::from(aad), secret);
                packet[length..end].copy_from_slice(sum.map_err(|_| SrtpError::Malformed)?.as_ref());
                packet[end..].copy_from_slice(&word.to_be_bytes());
                Ok(end + RTCP_INDEX)
            }
        }
    }

    /// E flag and index of a protected RTCP packet.
    pub fn index_word(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let behind = match self {
            Self::Cm(keys) => RTCP_INDEX + keys.tag,
            Self::Gcm { .. } => RTCP_INDEX,
        };
        let start = plain_length(packet, RTCP_HEADER, behind)?;
        let word = packet[start..].first_chunk().ok_or(SrtpError::Malformed)?;
        Ok(u32::from_be_bytes(*word))
    }

    /// Opens a protected RTCP packet whose E flag and index are `word`.
    pub fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<usize, SrtpError> {
        let encrypted = word & E_FLAG != 0;
        match self {
            Self::Cm(keys) => {
                let CounterMode { key, salt, authentication, tag } = &**keys;
                let length = plain_length(packet, RTCP_HEADER, RTCP_INDEX + tag)?;
                let (signed, theirs) = packet.split_at_mut(length + RTCP_INDEX);
                verify(authentication, signed, theirs)?;
                if encrypted {
                    let iv = cm_iv(salt, ssrc, u64::from(word & !E_FLAG));
                    encrypt(key, iv, &mut signed[RTCP_HEADER..length]).map_err(|_| SrtpError::Forged)?;
                }
                Ok(length)
            }
            Self::Gcm { key, salt } => {
                let length = plain_length(packet, RTCP_HEADER, GCM_TAG + RTCP_INDEX)?;
                let nonce = gcm_rtcp_iv(salt, ssrc, word);
                let opened = if encrypted {
                    let aad = rtcp_aad(packet, word);
                    let end = length + GCM_TAG;
                    key.open_in_place(nonce, Aad::from(aad), &mut packet[RTCP_HEADER..end]).map(|_| length)
                } else {
                    // All of it is associated data then, with E flag and index behind it (RFC 7714 §9.3).
                    let mut tag = [0; GCM_TAG];
                    tag.copy_from_slice(&packet[length..length + GCM_TAG]);
                    packet[length..length + RTCP_INDEX].copy_from_slice(&word.to_be_bytes());
                    let aad = Aad::from(&packet[..length + RTCP_INDEX]);
                    key.open_in_place(nonce, aad, &mut tag).map(|_| length)
                };
                opened.map_err(|_| SrtpError::Forged)
            }
        }
    }
}

fn plain_length(packet: &[u8], header: usize, behind: usize) -> Result<usize, SrtpError> {
    packet.len().checked_sub(behind).filter(|length| *length >= header).ok_or(SrtpError::Malformed)
}

fn counter_mode(key: &[u8]) -> Result<EncryptingKey, Unspecified> {
    let algorithm = if key.len() == KEY_MAX { &AES_256 } else { &AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key)?)
}

/// Encrypts or, which is the same in counter mode, decrypts.
fn encrypt(key: &EncryptingKey, iv: [u8; 16], bytes: &mut [u8]) -> Result<(), Unspecified> {
    key.less_safe_encrypt(bytes, EncryptionContext::Iv128(FixedLength::from(iv))).map(drop)
}

fn verify(key: &hmac::Key, signed: &[u8], theirs: &[u8]) -> Result<(), SrtpError> {
    let sum = hmac::sign(key, signed);
    let ours = sum.as_ref().get(..theirs.len()).ok_or(SrtpError::Malformed)?;
    verify_slices_are_equal(ours, theirs).map_err(|_| SrtpError::Forged)
}

/// Salt, SSRC and index of a packet (RFC 3711 §4.1.1).
fn cm_iv(salt: &[u8; 16], ssrc: u32, index: u64) -> [u8; 16] {
    let packet = u128::from(ssrc) << 64 | u128::from(index) << 16;
    (u128::from_be_bytes(*salt) ^ packet).to_be_bytes()
}

/// RFC 7714 §8.1.
fn gcm_rtp_iv(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    gcm_iv(salt, ssrc, index)
}

/// RFC 7714 §9.1.
fn gcm_rtcp_iv(salt: &[u8; 12], ssrc: u32, word: u32) -> Nonce {
    gcm_iv(salt, ssrc, u64::from(word & !E_FLAG))
}

/// Two bytes of zero, SSRC and an index of 48 bits, and the salt over it.
fn gcm_iv(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = *salt;
    let packet = (u128::from(ssrc) << 48 | u128::from(index)).to_be_bytes();
    for (byte, with) in iv.iter_mut().zip(&packet[4..]) {
        *byte ^= with;
    }
    Nonce::assume_unique_for_key(iv)
}

/// First header, SSRC, E flag and index (RFC 7714 §9.2).
fn rtcp_aad(packet: &[u8], word: u32) -> [u8; RTCP_HEADER + RTCP_INDEX] {
    let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
    aad[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    aad[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
    aad
}

/// The roll-over counter.
fn roc(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}
