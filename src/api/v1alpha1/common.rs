//! What several kinds have in common: references, numbers, and the patterns of their texts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A label of DNS (RFC 1123): what names inside objects and namespaces look like.
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

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
}
