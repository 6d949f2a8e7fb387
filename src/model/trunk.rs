//! How a trunk is spoken to: names and passwords, registration, TLS, how numbers are written, probes.

use serde::{Deserialize, Serialize};

use crate::{Key, centre::SecretKey};

/// Names and passwords of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrunkDigest {
    /// User that we are to the peer, and the peer to us.
    pub username: String,
    /// The password, in the trunk's namespace.
    pub secret: SecretKey,
    /// Realm that we answer in. None: any that the peer names.
    pub realm: Option<String>,
    /// Whether each INVITE of the peer must answer a challenge.
    pub challenge: bool,
}

/// Whether a trunk's audio is protected by SRTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SrtpUse {
    /// Never.
    #[default]
    Disabled,
    /// Where the peer can.
    Preferred,
    /// Always; other calls are refused.
    Required,
}

impl SrtpUse {
    /// Whether it is [`SrtpUse::Disabled`].
    #[must_use]
    pub const fn is_disabled(&self) -> bool {
        matches!(self, Self::Disabled)
    }
}

/// How keys of SRTP are agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SrtpKeying {
    /// They stand in the descriptions (RFC 4568).
    #[default]
    Sdes,
    /// By a handshake beside the audio (RFC 5763).
    Dtls,
    /// As the peer offers, by a handshake rather than not.
    Both,
}

impl SrtpKeying {
    /// Whether it is [`SrtpKeying::Sdes`].
    #[must_use]
    pub const fn is_sdes(&self) -> bool {
        matches!(self, Self::Sdes)
    }
}

/// How keys of a telephone come and go on a trunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DtmfMethod {
    /// As negotiated: RFC 4733, else INFO once it is seen, else in the audio.
    #[default]
    Auto,
    /// As events beside the audio.
    Rfc4733,
    /// By SIP INFO.
    Info,
    /// As tones in the audio.
    InBand,
}

impl DtmfMethod {
    /// Whether it is [`DtmfMethod::Auto`].
    #[must_use]
    pub const fn is_auto(&self) -> bool {
        matches!(self, Self::Auto)
    }
}

/// Where we register (RFC 3261 §10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// A host name or an address, without brackets.
    pub host: String,
    /// Port. None: as of a [`Peer`](crate::snapshot::Peer).
    pub port: Option<u16>,
    /// User part of the address of record.
    pub user: String,
    /// How long a registration lasts, in seconds.
    pub expires_seconds: u32,
}

/// What requests of a trunk go through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// A host name or an address, without brackets.
    pub host: String,
    /// Port. None: as of a [`Peer`](crate::snapshot::Peer).
    pub port: Option<u16>,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A suite of TLS 1.2 by its number; those of TLS 1.3 are always on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CipherSuite {
    /// 0x009E (RFC 5288).
    DheRsaAes128Gcm,
    /// 0xC013 (RFC 8422).
    EcdheRsaAes128Cbc,
    /// 0xC02B (RFC 5289).
    EcdheEcdsaAes128Gcm,
    /// 0xC02C (RFC 5289).
    EcdheEcdsaAes256Gcm,
    /// 0xC02F (RFC 5289).
    EcdheRsaAes128Gcm,
    /// 0xC030 (RFC 5289).
    EcdheRsaAes256Gcm,
}

/// What a password is hashed with (RFC 8760 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DigestAlgorithm {
    /// `MD5`
    Md5,
    /// `SHA-256`
    Sha256,
    /// `SHA-512-256`
    Sha512256,
}

/// What peers are challenged with where nothing else is said.
#[must_use]
pub fn default_digest_algorithms() -> Vec<DigestAlgorithm> {
    vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5]
}

/// What TLS may be, each way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsPolicy {
    /// The oldest version that is spoken.
    pub minimum_version: TlsVersion,
    /// Suites of TLS 1.2 that peers may choose from when they connect to us.
    pub inbound_suites: Vec<CipherSuite>,
    /// Suites of TLS 1.2 that we offer to servers.
    pub outbound_suites: Vec<CipherSuite>,
    /// The Secret with `tls.crt` and `tls.key` that listeners show.
    pub certificate: Option<Key>,
}

/// Bounds of TLS on a trunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrunkTls {
    /// The oldest version that is spoken, the cluster's minimum in mind.
    pub minimum_version: TlsVersion,
    /// Suites of TLS 1.2 that we offer to it.
    pub suites: Vec<CipherSuite>,
    /// Names of which one must stand in the peer's certificate (RFC 5922). Empty: the host name that was connected to.
    pub peer_names: Vec<String>,
    /// Certificates (PEM) of the authorities to trust. None: the public ones.
    pub ca: Option<SecretKey>,
    /// Whether the peer must show a certificate when it connects.
    pub client_certificate: bool,
    /// Whether a client's certificate may be one for servers only.
    pub accept_server_auth_eku: bool,
}

/// How numbers are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberFormats {
    /// In calls that come in.
    pub inbound: NumberFormat,
    /// In calls that leave.
    pub outbound: NumberFormat,
    /// ISO 3166-1 code of the country that national numbers are of.
    pub country: Option<String>,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NumberFormat {
    /// `+12125550100`
    #[default]
    E164,
    /// `12125550100`
    E164WithoutPlus,
    /// `2125550100`, or with the trunk prefix of the country.
    National,
    /// `01112125550100`: with the international prefix of the country.
    International,
}

/// Which caller ids may go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallerIdPolicy {
    /// Those that the trunk grants to the tenant.
    #[default]
    Granted,
    /// Those too that a contact came with, on calls that are forwarded, with Diversion (RFC 5806).
    Forwarded,
}

/// Whether calls of a trunk are signed and verified (STIR/SHAKEN).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stir {
    /// How those that leave are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<StirSign>,
    /// How those that arrive are verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<StirVerify>,
}

impl Stir {
    /// Whether it is neither.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.sign.is_none() && self.verify.is_none()
    }
}

/// How calls are signed. Secrets are of the trunk's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StirSign {
    /// The private key (PEM).
    pub key: SecretKey,
    /// Its certificate (PEM), then those that vouch for it.
    pub certificate: SecretKey,
    /// Where others find that.
    pub certificate_url: String,
    /// The most that is attested.
    pub maximum_attestation: Attestation,
    /// A UUID. None: one for each tenant.
    pub origin_id: Option<String>,
}

/// How sure the signer is that the caller may use the number (RFC 8588 §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Attestation {
    /// Full.
    #[default]
    A,
    /// Partial.
    B,
    /// Gateway.
    C,
}

/// How calls are verified. Secrets are of the trunk's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StirVerify {
    /// Whether a call that does not pass is refused.
    pub required: bool,
    /// Authorities of signers (PEM).
    pub anchors: SecretKey,
    /// Authorities of the servers that certificates are fetched from (PEM). None: the public ones.
    pub ca: Option<SecretKey>,
}

/// How peers are probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Seconds between two probes.
    pub period_seconds: u32,
    /// Seconds that an answer may take.
    pub timeout_seconds: u32,
    /// So many in a row, and the peer is down.
    pub failures: u32,
}

/// Upon which another peer is tried where the YAML names none.
#[must_use]
pub fn default_failover_codes() -> Vec<u16> {
    vec![408, 500, 502, 503, 504]
}
