//! What several kinds have in common: references, numbers, and the patterns of their texts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A label of DNS (RFC 1123): what names inside objects and namespaces look like.
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// A network interface of Linux, which takes more than is wise to write.
pub const INTERFACE: &str = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$";

/// A NetworkAttachmentDefinition: its namespace and its name.
pub const ATTACHMENT: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// A name of an object (RFC 1123 subdomain).
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A telephone number (ITU-T E.164).
pub const E164: &str = r"^\+[1-9][0-9]{1,14}$";

/// A name of a variable of a flow.
pub const VARIABLE: &str = r"^[a-z][A-Za-z0-9_]{0,62}$";

/// A tag of a language (BCP 47): a language and perhaps a script and a region.
pub const LANGUAGE: &str = r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$";

/// Another object of the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Its `metadata.name`. An absent object is waited for; `status` says so. At most 253 characters. Example: `main`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// Another object, perhaps of another namespace, where its owner admits ours.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Its namespace. Absent: that of the object that refers. At most 63 characters. Example: `platform`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its `metadata.name`. At most 253 characters. Example: `carrier`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// Telephone numbers from `first` to `last`, both included.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.first.size() == self.last.size() && self.first <= self.last")
    .message("last must have as many digits as first and must not come before it").field_path(".last"))]
#[serde(rename_all = "camelCase")]
pub struct NumberRange {
    /// The first number, in E.164. Example: `"+12125550100"`, in quotes, or YAML makes it an integer.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    pub first: String,
    /// The last number, in E.164, with as many digits as `first`; `first` itself for a single number. Example:
    /// `"+12125550109"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    pub last: String,
}

/// How SIP is carried.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// A stream in the clear.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// Datagrams; but a request above 1,300 bytes goes by a stream in the clear (RFC 3261 §18.1.1), and as a datagram after
    /// all where none can be had.
    #[serde(rename = "Auto")]
    Auto,
}

/// A key of a Secret or ConfigMap.
pub const SECRET_KEY: &str = "^[-._A-Za-z0-9]{1,253}$";

/// An address that is reached by HTTPS, without user and fragment.
pub const HTTPS_URL: &str = r"^https://[^\s/?#]+(/[^\s#]*)?$";

/// A SHA-256 in hexadecimal digits.
pub const SHA256: &str = "^[0-9a-f]{64}$";

/// A domain name (RFC 1123).
pub const DOMAIN: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";

/// An address of mail.
pub const EMAIL: &str = r"^[^\s@<>,;]{1,64}@[A-Za-z0-9]([-A-Za-z0-9.]{0,187}[A-Za-z0-9])?$";

/// A value of a Secret of the same namespace, which must have the label `switchboard.dev/use: "true"`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's `metadata.name`. At most 253 characters. Example: `crm-token`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// The key of the value. At most 253 characters. Example: `token`.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub key: String,
}

/// A value of a ConfigMap of the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's `metadata.name`. At most 253 characters. Example: `prompts`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// The key of the value. At most 253 characters. Example: `welcome.wav`.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub key: String,
}

/// A file that is fetched, and never another one than was meant.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// Where it is. No user, no password. Loopback, link-local, private and cluster addresses are refused unless the
    /// VoiceCluster lists them in `reachableRanges`. At most 1,024 characters. Example:
    /// `https://files.example.com/welcome.wav`.
    #[schemars(length(min = 9, max = 1024), regex(pattern = HTTPS_URL))]
    pub url: String,

    /// SHA-256 of its bytes, 64 hexadecimal digits in lower case. A file with another one is refused.
    #[schemars(length(min = 64, max = 64), regex(pattern = SHA256))]
    pub sha256: String,
}

/// How somebody gets in touch.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// By telephone.
    Voice,
    /// By mail.
    Email,
    /// By text message.
    Sms,
    /// On a web page.
    Chat,
    /// In a social network.
    Social,
}

/// A skill, and how well it is mastered.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkillLevel {
    /// One of the Tenant's `skills`. Unique in the list. Example: `billing`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// From beginner to master. 1 to 10. Example: `7`.
    #[schemars(range(min = 1, max = 10))]
    pub level: i32,
}

/// A version of TLS; older ones are never spoken.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "TLSv1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "TLSv1.3")]
    Tls13,
}

/// A suite of TLS 1.2; TLS 1.3 has its own, which are always on.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CipherSuite {
    /// 0x009E (RFC 5288).
    #[serde(rename = "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256")]
    DheRsaAes128Gcm,
    /// 0xC013 (RFC 8422).
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA")]
    EcdheRsaAes128Cbc,
    /// 0xC02B (RFC 5289).
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdheEcdsaAes128Gcm,
    /// 0xC02C (RFC 5289).
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdheEcdsaAes256Gcm,
    /// 0xC02F (RFC 5289).
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    EcdheRsaAes128Gcm,
    /// 0xC030 (RFC 5289).
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    EcdheRsaAes256Gcm,
}

/// A place that emergency services can find (RFC 5139).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// ISO 3166-1 code, two capital letters. Example: `US`.
    #[schemars(length(min = 2, max = 2), regex(pattern = r"^[A-Z]{2}$"))]
    pub country: String,

    /// State or province. Absent: none. At most 64 characters. Example: `NY`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

    /// City. At most 128 characters. Example: `New York`.
    #[schemars(length(min = 1, max = 128))]
    pub city: String,

    /// Street and house number. At most 256 characters. Example: `1 Example Street`.
    #[schemars(length(min = 1, max = 256))]
    pub street: String,

    /// Building, floor, room. Absent: unknown. At most 128 characters. Example: `Floor 3, desk 12`.
    #[schemars(length(min = 1, max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,

    /// Postal code. Absent: none. At most 16 characters. Example: `"10001"`.
    #[schemars(length(min = 1, max = 16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,

    /// The carrier's own id of the place, sent as the user of a SIP URI of the carrier. Absent: the address itself is sent
    /// (PIDF-LO). At most 64 characters. Example: `loc-4711`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_location_id: Option<String>,
}
