//! Keys of SRTP (RFC 3711, RFC 7714) as both ends agreed on them by SDES (RFC 4568), or how the media server is to agree
//! on them by DTLS (RFC 5763).

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
    /// Master key identifier that stands in each packet (RFC 3711 §3.1), at most [`MKI_MAX`] bytes. Empty: none does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mki: Vec<u8>,
}

/// Bytes of a master key identifier at most.
pub const MKI_MAX: usize = 16;

impl MasterKey {
    /// A key without an identifier.
    #[must_use]
    pub const fn new(suite: CryptoSuite, key_and_salt: Vec<u8>) -> Self {
        Self { suite, key_and_salt, mki: Vec::new() }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .field("key_and_salt", &"[redacted]")
            .finish_non_exhaustive()
    }
}

/// What protects a leg.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Srtp {
    /// Keys that stood in the descriptions (SDES, RFC 4568).
    Sdes(SrtpKeys),
    /// Keys that the media server and the peer agree on beside their audio (DTLS-SRTP, RFC 5764).
    Dtls(Dtls),
}

impl Srtp {
    /// The keys that stood in the descriptions.
    #[must_use]
    pub const fn keys(&self) -> Option<&SrtpKeys> {
        match self {
            Self::Sdes(keys) => Some(keys),
            Self::Dtls(_) => None,
        }
    }
}

/// The keys of a leg.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SrtpKeys {
    /// What we protect with.
    pub send: MasterKey,
    /// What the peer protects with.
    pub receive: MasterKey,
}

/// How the media server meets a peer by DTLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dtls {
    /// Of the peer's certificate: who shows another is not the peer.
    pub peer: Fingerprint,
    /// Ours.
    pub role: DtlsRole,
}

/// Who begins a handshake (RFC 5763 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DtlsRole {
    /// We do (`a=setup:active`).
    Client,
    /// The peer does (`a=setup:passive`).
    Server,
}

/// A certificate's fingerprint (RFC 8122 §5). It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of what kind.
    pub hash: CertificateHash,
    /// As many bytes as [`CertificateHash::length`].
    pub value: Vec<u8>,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        self.value.iter().enumerate().try_for_each(|(place, byte)| {
            let before = if place == 0 { ' ' } else { ':' };
            write!(f, "{before}{byte:02X}")
        })
    }
}

/// What a fingerprint is made by. Weaker ones (RFC 8122 §5: SHA-1, MD5) prove nothing and are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CertificateHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl CertificateHash {
    /// All, the strongest last.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name in an `a=fingerprint` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of such a fingerprint.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Why keys were not agreed on by DTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DtlsFailure {
    /// The peer's certificate is not the one that its description names.
    WrongFingerprint,
    /// Nothing came of the handshake in time; whether anything came at all.
    TimedOut {
        /// Whether the peer sent anything.
        heard: bool,
    },
    /// The peer has none of the profiles of SRTP that we have.
    NoCommonProfile,
    /// The peer broke off, or what it sent is no handshake of a client or server as its description says.
    Broken,
}
