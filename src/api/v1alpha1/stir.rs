//! Whose calls they are, signed and verified (STIR/SHAKEN): fields of a `Trunk`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HTTPS_URL, SecretKeyRef};

/// A UUID (RFC 9562), in lower case.
pub const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// Who calls, signed and verified (RFC 8224, RFC 8225, RFC 8588).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.sign) || has(self.verify)").message("stir must have sign, verify or both"))]
#[serde(rename_all = "camelCase")]
pub struct Stir {
    /// How calls that leave by the trunk are signed. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<StirSign>,

    /// How calls that arrive by the trunk are verified. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<StirVerify>,
}

/// How calls are signed.
///
/// A call that shows a number granted to its tenant is attested A; one that shows another number of a trunk of the
/// tenant's own, B; one that is handed on with the number it came with, C. If such a call came with an Identity, that
/// goes on with it, and a `div` (RFC 8946) is signed instead. Calls that show no number are not signed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StirSign {
    /// The private key (PEM), of the curve P-256.
    pub key_secret_ref: SecretKeyRef,

    /// Its certificate (PEM), then those that vouch for it. Nothing is signed with a key that is not the certificate's, or
    /// once that is out of date.
    pub certificate_secret_ref: SecretKeyRef,

    /// Where others find that certificate: what `x5u` and `info` say. It must be public. At most 512 characters. Example:
    /// `https://certificates.example.net/c14.pem`.
    #[schemars(length(min = 9, max = 512), regex(pattern = HTTPS_URL))]
    pub certificate_url: String,

    /// The most that is attested. Absent: `A`.
    #[serde(default)]
    pub maximum_attestation: Attestation,

    /// The `origid` of every call: a UUID that tells nobody but us whose call it was. Absent: one for each tenant on each
    /// trunk, which always stays the same. Example: `7f2c1a54-0f6e-4a51-9f5f-2f0c8d2f6b1e`.
    #[schemars(length(min = 36, max = 36), regex(pattern = UUID))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_id: Option<String>,
}

/// How sure the signer is that the caller may use the number (RFC 8588 §4).
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Attestation {
    /// The customer is known, and the number is theirs.
    #[default]
    A,
    /// The customer is known, the number is not known to be theirs.
    B,
    /// Where the call came in is known, and no more.
    C,
}

/// How calls are verified.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StirVerify {
    /// What becomes of a call that does not pass. Absent: `Note`.
    #[serde(default)]
    pub mode: StirMode,

    /// Certificates (PEM) of the authorities that signers' certificates must come from, such as those of the STI-PA's list.
    pub anchors_secret_ref: SecretKeyRef,

    /// Certificates (PEM) of the authorities to trust when a signer's certificate is fetched by HTTPS. Absent: the public
    /// ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}

/// What becomes of a call that does not pass.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StirMode {
    /// Nothing is verified.
    Disabled,
    /// The call goes on; flows see what came of it in `contact.verstat`, and callees in the parameter `verstat`.
    #[default]
    Note,
    /// The call is refused, with the status that RFC 8224 §6.2.2 has for what is wrong.
    Require,
}
