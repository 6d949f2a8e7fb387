//! `Allowlist`: addresses that SIP may come from.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, LABEL, Status};

/// Addresses that a trunk's SIP may come from. A source that no Allowlist admits hears nothing.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Allowlist",
    doc = "Addresses that a trunk's SIP may come from.",
    namespaced,
    status = "Status",
    shortname = "allow",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Purpose", type_ = "string", json_path = ".spec.purpose"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.any || !has(self.ranges) || self.ranges.all(r, !r.cidr.endsWith('/0'))")
    .message("a range of every address may stand only with any: true").field_path(".ranges"))]
#[serde(rename_all = "camelCase")]
pub struct AllowlistSpec {
    /// What the addresses are, for people. At most 256 characters. Example: `Signalling gateways of the carrier`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,

    /// Whether a range may be every address (`0.0.0.0/0`, `::/0`). Absent: no.
    #[serde(default)]
    pub any: bool,

    /// The ranges. Empty: nobody is admitted. At most 256.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cidr".into()]))]
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<AddressRange>,

    /// Domains behind these addresses, for customers' firewalls; nobody is admitted by them. At most 64. Example:
    /// `[sip.example.net]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = DOMAIN)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,

    /// Ports that are spoken to, for customers' firewalls and NetworkPolicies. Empty: the listeners' and the media's.
    /// At most 32.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<AllowedPorts>,
}

/// A range of addresses, perhaps for a time.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("isCIDR(self.cidr)")
        .message("cidr must be an address and the length of its prefix, such as 192.0.2.0/24").field_path(".cidr"),
    validation = Rule::new("!isCIDR(self.cidr) || cidr(self.cidr) == cidr(self.cidr).masked()")
        .message(Message::Expression("'cidr must have no bits beyond its prefix, as ' + self.cidr + ' has; for the one address write ' + self.cidr.split('/')[0] + (self.cidr.contains(':') ? '/128' : '/32')".into())).field_path(".cidr"),
    validation = Rule::new("!has(self.validFrom) || !has(self.validUntil) || timestamp(self.validFrom) < timestamp(self.validUntil)")
        .message("validUntil must come after validFrom").field_path(".validUntil"),
)]
#[serde(rename_all = "camelCase")]
pub struct AddressRange {
    /// Address and prefix length (RFC 4632, RFC 4291). Unique in the list. Example: `192.0.2.0/24`.
    #[schemars(length(min = 4, max = 49))]
    pub cidr: String,

    /// Not admitted before this time (RFC 3339). Absent: always. Example: `2026-01-01T00:00:00Z`.
    #[schemars(length(min = 20, max = 35), regex(pattern = TIME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,

    /// Not admitted at this time or later (RFC 3339). Absent: without end. Example: `2027-01-01T00:00:00Z`.
    #[schemars(length(min = 20, max = 35), regex(pattern = TIME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,

    /// For people. At most 256 characters. Example: `New gateway in Chicago`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A point in time (RFC 3339).
pub const TIME: &str = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// Ports of one protocol.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.last) || self.first <= self.last")
        .message("last must not be less than first").field_path(".last"))]
#[serde(rename_all = "camelCase")]
pub struct AllowedPorts {
    /// Unique in the list. At most 63 characters. Example: `sip`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// Which protocol. Example: `UDP`.
    pub protocol: PortProtocol,

    /// The first port. 1 to 65,535. Example: `5060`.
    #[schemars(range(min = 1, max = 65_535))]
    pub first: i32,

    /// The last port. 1 to 65,535; absent: `first`.
    #[schemars(range(min = 1, max = 65_535))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i32>,
}

/// What a port is of.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortProtocol {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}
