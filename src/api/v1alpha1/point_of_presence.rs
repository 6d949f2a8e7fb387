//! `PointOfPresence`: a carrier's place where calls are handed over.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{AddressRange, LABEL, PEER_ADDRESS, Status, Transport};

/// A carrier's place where calls are handed over: its gateways and the addresses it sends from.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "PointOfPresence",
    doc = "A carrier's place where calls are handed over: its gateways and the addresses it sends from.",
    plural = "pointsofpresence",
    namespaced,
    status = "Status",
    shortname = "pop",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
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
#[serde(rename_all = "camelCase")]
pub struct PointOfPresenceSpec {
    /// Where it is, as the carrier calls it. At most 63 characters. Example: `us-east`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub region: String,

    /// Gateways that calls leave to: lowest `priority` first, and those of one priority by lots, as their `weight` says.
    /// 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(min = 1, max = 32))]
    pub gateways: Vec<Gateway>,

    /// Addresses that its SIP comes from, perhaps for a time. Empty: calls only leave to it. At most 256.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cidr".into()]))]
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signalling_ranges: Vec<AddressRange>,

    /// Addresses that its audio comes from and goes to, perhaps for a time. Empty: any address that its session
    /// descriptions name. At most 256.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cidr".into()]))]
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media_ranges: Vec<AddressRange>,
}

/// A gateway into the public telephone network.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Unique in the PointOfPresence. At most 63 characters. Example: `a`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// `host` or `host:port`; an IPv6 address stands in brackets where a port follows. Absent port: as the
    /// host's SRV records say (RFC 3263), else 5060, or 5061 with TLS. At most 260 characters. Example: `198.51.100.7:5060`.
    #[schemars(length(min = 1, max = 260), regex(pattern = PEER_ADDRESS))]
    pub address: String,

    /// How SIP is carried. Absent: `UDP`.
    #[serde(default)]
    pub transport: Transport,

    /// Lower is tried first. 0 to 65,535; absent: 0.
    #[schemars(range(min = 0, max = 65_535))]
    #[serde(default)]
    pub priority: i32,

    /// Among gateways of one priority, how many of the calls it takes first, against the weights of the others; where all
    /// are 0, each takes as many. 0 to 65,535; absent: 0.
    #[schemars(range(min = 0, max = 65_535))]
    #[serde(default)]
    pub weight: i32,
}
