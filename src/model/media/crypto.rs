//! Keys of SRTP (RFC 3711, RFC 7714) as both ends agreed on them by SDES (RFC 4568).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A crypto suite of RFC 4568 §6.2, RFC 6188 or RFC 7714.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CryptoSuite {
    /// `AEAD_AES_256_GCM`: key of 32 bytes, salt of 12.
    AeadAes256Gcm,
    /// `AEAD_AES_128_GCM`: key of 16 bytes, salt of 12.
    AeadAes128Gcm,
    /// `AES_256_CM_HMAC_SHA1_80`: key of 32 bytes, salt of 14.
    AesCm256HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_80`: key of 16 bytes, salt of 14.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`: as before, with a tag of 4 bytes on RTP.
    AesCm128HmacSha1_32,
}

impl CryptoSuite {
    /// All, the cheapest to carry first: what an offer lists.
    pub const ALL: [Self; 5] = [
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm256HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    /// Its name in an `a=crypto` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// Bytes of the master key.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AesCm256HmacSha1_80 => 32,
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16,
        }
    }

    /// Bytes of the master salt.
    #[must_use]
    pub const fn salt_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::AesCm256HmacSha1_80 | Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
        }
    }
}

/// One direction's suite, and master key and salt together. It prints neither.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MasterKey {
    /// The suite.
    pub suite: CryptoSuite,
    /// `key_length` bytes of key, then `salt_length` of salt.
    pub key_and_salt: Vec<u8>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).field("key_and_salt", &"[redacted]").finish()
    }
}

/// The keys of a leg.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Srtp {
    /// What we protect with.
    pub send: MasterKey,
    /// What the peer protects with.
    pub receive: MasterKey,
}
