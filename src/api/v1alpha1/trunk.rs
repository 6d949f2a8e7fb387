//! `Trunk`: a carrier or PBX that speaks SIP with us.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LABEL, LocalRef, NumberRange, ObjectRef, Status, Transport};

/// A carrier or PBX that speaks SIP with us.
///
/// A call from a source that its Allowlists do not admit hears nothing. A number is live only where its trunk grants it
/// to the number's namespace; a tenant's own trunk serves that tenant alone and needs no grant for it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Trunk",
    doc = "A carrier or PBX that speaks SIP with us.",
    namespaced,
    status = "Status",
    shortname = "trk",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    selectable = ".spec.connection",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connection"),
    printcolumn(name = "Delivers", type_ = "string", json_path = ".spec.delivers"),
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
#[x_kube(
    validation = Rule::new("self.direction == 'Inbound' || (has(self.peers) && self.peers.size() > 0)")
        .message("a trunk that calls leave by must have at least one peer; say direction: Inbound if none do").field_path(".peers"),
    validation = Rule::new("!has(self.ucaasPartner) || self.delivers == 'Voip'")
        .message("ucaasPartner may stand only where delivers is Voip: Pstn calls need no such permission").field_path(".ucaasPartner"),
)]
#[serde(rename_all = "camelCase")]
pub struct TrunkSpec {
    /// The VoiceCluster whose edges carry this trunk. Must not change: a move is a new Trunk.
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterRef must not change: create a new Trunk and move its numbers"))]
    pub cluster_ref: ObjectRef,

    /// One of the cluster's `networks`, by name. Example: `internet`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub network: String,

    /// How the trunk is reached. Example: `PhoneLine`.
    pub connection: Connection,

    /// What calls arrive by it; this alone decides whether they may be the first leg of a call.
    pub delivers: Delivers,

    /// Which way calls go. Absent: `Both`.
    #[serde(default)]
    pub direction: TrunkDirection,

    /// Allowlists of this namespace; a call from an address of any of them is this trunk's. Empty: calls come from
    /// nowhere. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowlist_refs: Vec<LocalRef>,

    /// Where calls leave to: lowest `priority` first, then highest `weight`. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,

    /// Codecs that may be used, the preferred one first. Absent: `[PCMU, PCMA]`. 1 to 2.
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("codecs must not name one twice")
    )]
    #[schemars(length(min = 1, max = 2))]
    #[serde(default = "default_codecs")]
    pub codecs: Vec<Codec>,

    /// Bounds. Absent: the cluster's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TrunkLimits>,

    /// Says that the calls, though Voip, are a UCaaS partner's and may be the first leg of a call. Holds only if the
    /// VoiceCluster lists this namespace in `ucaasPartners`. Absent: Voip calls are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ucaas_partner: Option<UcaasPartner>,

    /// Which namespace may use which numbers here: what a PhoneNumber may be live on, and which caller ids may go out.
    /// The trunk's own namespace needs none. Empty: no other namespace. At most 1,000.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into()]))]
    #[schemars(length(max = 1_000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

fn default_codecs() -> Vec<Codec> {
    vec![Codec::Pcmu, Codec::Pcma]
}

/// How a trunk is reached.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connection {
    /// A carrier's line into the public telephone network.
    PhoneLine,
    /// Over the open Internet.
    Internet,
    /// Over a private circuit, such as MPLS.
    Dedicated,
}

/// What calls arrive by a trunk.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivers {
    /// Calls of the public telephone network, and those of a PBX for its own numbers.
    Pstn,
    /// Calls that never touched the public telephone network.
    Voip,
}

/// Which way a trunk's calls go.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrunkDirection {
    /// To us.
    Inbound,
    /// From us.
    Outbound,
    /// Both ways.
    #[default]
    Both,
}

/// What audio is coded in.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Codec {
    /// G.711 μ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// Where calls leave to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Unique in the trunk. At most 63 characters. Example: `chicago`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// `host` or `host:port`; an IPv6 address stands in brackets where a port follows. Absent port: 5060. At most 260
    /// characters. Example: `198.51.100.7:5060`.
    #[schemars(length(min = 1, max = 260), regex(pattern = PEER_ADDRESS))]
    pub address: String,

    /// How SIP is carried. Absent: `UDP`.
    #[serde(default)]
    pub transport: Transport,

    /// Lower is tried first. 0 to 65,535; absent: 0.
    #[schemars(range(min = 0, max = 65_535))]
    #[serde(default)]
    pub priority: i32,

    /// Among peers of one priority, higher is tried first. 0 to 65,535; absent: 0.
    #[schemars(range(min = 0, max = 65_535))]
    #[serde(default)]
    pub weight: i32,
}

/// A host or an address, and perhaps a port.
pub const PEER_ADDRESS: &str = r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?)(:[1-9][0-9]{0,4})?$|^[0-9A-Fa-f:]{2,39}$";

/// Bounds of a trunk.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrunkLimits {
    /// Calls at once, both directions together; one more is answered 503. 1 to 100,000. Example: `200`.
    #[schemars(range(min = 1, max = 100_000))]
    pub calls: i32,
}

/// A company that carries its own customers' calls, and whom the platform's owner trusts to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UcaasPartner {
    /// The partner's name, for people. At most 128 characters. Example: `Example UCaaS Inc.`.
    #[schemars(length(min = 1, max = 128))]
    pub company: String,
}

/// Numbers that a namespace may use on a trunk.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The tenant's namespace. At most 63 characters. Example: `acme`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: String,

    /// The numbers. 1 to 500.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 500))]
    pub ranges: Vec<NumberRange>,
}
