//! `VoiceCluster`: an edge and media tier, its listeners, ports and bounds.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LABEL, Status, Transport};

/// An edge and media tier of its own: where SIP is heard, which ports carry audio, which tenants it serves.
///
/// Its name is its code in lower case: C14 is `c14`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "VoiceCluster",
    doc = "An edge and media tier: where SIP is heard, which ports carry audio, which tenants it serves.",
    namespaced,
    status = "Status",
    shortname = "vcl",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Code", type_ = "string", json_path = ".spec.code"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status"
    ),
    printcolumn(name = "Calls", type_ = "integer", json_path = ".spec.limits.calls"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.code.lowerAscii()")
        .message("metadata.name must be spec.code in lower case, such as c14 for C14")
)]
#[x_kube(validation = Rule::new("self.listeners.all(l, self.networks.exists(n, n.name == l.network))")
    .message("every listener must name one of spec.networks").field_path(".listeners"))]
#[serde(rename_all = "camelCase")]
pub struct VoiceClusterSpec {
    /// A capital letter and a number of 1 to 4 digits, which people call the cluster by. Must not change. Example: `C14`.
    #[schemars(length(min = 2, max = 5), regex(pattern = r"^[A-Z][0-9]{1,4}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("code must not change: create another VoiceCluster and move its trunks"))]
    pub code: String,

    /// Namespaces whose Tenants and Trunks this cluster serves. Empty: none but its own. At most 1,000. Example: `[acme]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 1_000), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_namespaces: Vec<String>,

    /// Namespaces whose Trunks may say `ucaasPartner`, so that their Voip calls are admitted. Empty: none. At most 1,000.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 1_000), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ucaas_partners: Vec<String>,

    /// Networks that the cluster has a foot in; listeners and trunks name one. 1 to 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(min = 1, max = 16))]
    pub networks: Vec<Network>,

    /// Where SIP is heard. 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(min = 1, max = 32))]
    pub listeners: Vec<Listener>,

    /// Where audio is carried.
    pub media: Media,

    /// Bounds, of each pod for itself. Absent: the defaults of its fields.
    #[serde(default)]
    pub limits: ClusterLimits,

    /// How long a pod that ends waits for its calls to end. 0 to 3,600; absent: 30.
    #[schemars(range(min = 0, max = 3_600))]
    #[serde(default = "default_drain")]
    pub drain_seconds: i32,
}

const fn default_drain() -> i32 {
    30
}

/// A network that the cluster has a foot in.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("isIP(self.bindAddress)").message("bindAddress must be an IP address, such as 127.0.0.1").field_path(".bindAddress"),
    validation = Rule::new("!has(self.rtpAdvertisedAddress) || isIP(self.rtpAdvertisedAddress)")
        .message("rtpAdvertisedAddress must be an IP address, such as 203.0.113.9").field_path(".rtpAdvertisedAddress"),
    validation = Rule::new("!(self.bindAddress in ['0.0.0.0', '::']) || (has(self.sipAdvertisedAddress) && has(self.rtpAdvertisedAddress))")
        .message("a network that binds every address must say sipAdvertisedAddress and rtpAdvertisedAddress: nobody can answer to 0.0.0.0 or ::"),
)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Unique in the cluster; listeners and trunks name it. At most 63 characters. Example: `internet`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// IP address that SIP and RTP sockets bind; `0.0.0.0` or `::` for every address. Example: `127.0.0.1`.
    #[schemars(length(min = 2, max = 45))]
    pub bind_address: String,

    /// Host name or IP address that Via and Contact tell peers. Absent: `bindAddress`. Example: `203.0.113.9`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_advertised_address: Option<String>,

    /// IP address that session descriptions tell peers to send audio to. Absent: `bindAddress`. Example: `203.0.113.9`.
    #[schemars(length(min = 2, max = 45))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_advertised_address: Option<String>,
}

/// A socket that SIP is heard on.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique in the cluster. At most 63 characters. Example: `trunks-udp`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// How SIP is carried. Example: `UDP`.
    pub transport: Transport,

    /// Port to bind, 1 to 65,535. 5060 is SIP's own.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,

    /// One of `spec.networks`, by name.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub network: String,

    /// Who may speak to it. Absent: `Trunks`.
    #[serde(default)]
    pub serves: Serves,
}

/// Who may speak to a listener.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serves {
    /// Carriers and PBXs; an unlisted source hears nothing.
    #[default]
    Trunks,
    /// Agents' phones, which come from anywhere and are always challenged.
    Agents,
}

/// Where audio is carried.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// UDP ports for RTP and RTCP; a call takes a pair of them for each leg.
    pub ports: PortRange,
}

/// UDP ports from `first` to `last`, both included.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.first < self.last")
    .message("last must be greater than first: one leg needs a pair of ports").field_path(".last"))]
#[serde(rename_all = "camelCase")]
pub struct PortRange {
    /// The first port, 1,024 to 65,534. Example: `20000`.
    #[schemars(range(min = 1_024, max = 65_534))]
    pub first: i32,
    /// The last port, 1,025 to 65,535. Example: `20999`.
    #[schemars(range(min = 1_025, max = 65_535))]
    pub last: i32,
}

/// Bounds of a cluster. Each pod has these for itself.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterLimits {
    /// Calls at once; one more is answered 503. 1 to 100,000; absent: 10,000.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "default_calls")]
    pub calls: i32,

    /// Longest call, in seconds; then it is ended. 60 to 86,400; absent: 14,400.
    #[schemars(range(min = 60, max = 86_400))]
    #[serde(default = "default_call_seconds")]
    pub call_seconds: i32,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self { calls: default_calls(), call_seconds: default_call_seconds() }
    }
}

const fn default_calls() -> i32 {
    10_000
}

const fn default_call_seconds() -> i32 {
    14_400
}
