//! `VoiceCluster`: an edge and media tier, its listeners, ports and bounds.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ATTACHMENT, CipherSuite, DOMAIN, INTERFACE, LABEL, LocalRef, PEER_ADDRESS, SecretKeyRef, Status,
    TlsVersion,
};

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
#[x_kube(
    validation = Rule::new("self.listeners.all(l, self.networks.exists(n, n.name == l.network))")
        .message("every listener must name one of spec.networks").field_path(".listeners"),
    validation = Rule::new("!has(self.edge) || self.edge.replicas == 1 || (has(self.stores) && has(self.stores.liveState) && has(self.stores.records) && has(self.stores.blobs) && has(self.stores.blobs.s3))")
        .message("more than one edge must share stores: liveState, records and blobs.s3 must stand").field_path(".stores"),
    validation = Rule::new("!has(self.exposure) || self.exposure == 'HostNetwork' || !has(self.media.portUse) || self.media.portUse == 'Shared'")
        .message("portUse must be Shared where exposure is LoadBalancer or NodePort: a Service cannot carry thousands of ports").field_path(".media.portUse"),
)]
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

    /// Where it is, as carriers call it: gateways of PointsOfPresence of the same `region` are tried before those of others,
    /// whatever their `priority`. At most 63 characters. Absent: all regions are alike. Example: `us-east`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

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

    /// The pods that speak SIP. Absent: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeTier>,

    /// How peers reach the pods. Absent: `HostNetwork`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,

    /// What TLS may be, each way. Absent: the defaults of its fields.
    #[serde(default)]
    pub tls: TlsPolicy,

    /// Where state, records and blobs are kept. Absent: in memory and in a folder, of one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stores: Option<Stores>,

    /// Domains that agents and softphones reach the cluster by, for certificates and firewalls. At most 32. Example:
    /// `[c14.example.net]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253), regex(pattern = DOMAIN)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,

    /// Addresses that calls and requests leave from as others see them, for their firewalls. At most 64. Example:
    /// `[203.0.113.9]`.
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(a, isIP(a))").message("egressAddresses must be IP addresses"))]
    #[schemars(length(max = 64), inner(length(min = 2, max = 45)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress_addresses: Vec<String>,

    /// Private ranges that tenants' Integrations, proxies, files and OpenID providers may be in all the same. Empty: none. At
    /// most 64. Example: `[10.20.0.0/16]`.
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(r, isCIDR(r))").message("reachableRanges must be addresses with the length of their prefix"))]
    #[schemars(length(max = 64), inner(length(min = 4, max = 49)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reachable_ranges: Vec<String>,

    /// Bounds, of each pod for itself. Absent: the defaults of its fields.
    #[serde(default)]
    pub limits: ClusterLimits,

    /// What phones and trunks are challenged with (RFC 8760), in that order; each gets one challenge for each. Some phones
    /// stumble over an algorithm that they do not know: those need `[MD5]`. 1 to 3; absent: `[SHA-256, MD5]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 3))]
    #[serde(default = "default_digest_algorithms")]
    pub digest_algorithms: Vec<DigestAlgorithm>,

    /// Where copies of SIP messages go, without credentials, keys of SRTP and pressed keys. Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,

    /// Where spans of calls go (OpenTelemetry), without numbers' last digits and pressed keys. Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,

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
    validation = Rule::new("!has(self.interface) || !has(self.attachment)")
        .message("interface and attachment may not stand together: an attachment has an interface of its own").field_path(".attachment"),
)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Unique in the cluster; listeners and trunks name it. At most 63 characters. Example: `internet`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// IP address that SIP and RTP sockets bind; `0.0.0.0` or `::` for every address. Example: `127.0.0.1`.
    #[schemars(length(min = 2, max = 45))]
    pub bind_address: String,

    /// Linux interface that its sockets are bound to (SO_BINDTODEVICE): one with an address of the network, or the device of
    /// a VRF. Networks with interfaces of their own may have equal addresses and peers. At most 15 characters. Absent: any
    /// that has `bindAddress`. Example: `mpls0`.
    #[schemars(length(min = 1, max = 15), regex(pattern = INTERFACE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,

    /// NetworkAttachmentDefinition that gives pods an interface on the network, as Multus reads it: `namespace/name`. At most
    /// 127 characters. Absent: none is asked for. Example: `platform/mpls-acme`.
    #[schemars(length(min = 3, max = 127), regex(pattern = ATTACHMENT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,

    /// Namespaces whose Trunks may name the network, besides the cluster's own. 1 to 1,000. Absent: every one that the
    /// cluster serves. Example: `[acme]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 1_000), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<Vec<String>>,

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
    pub transport: ListenerTransport,

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

    /// Media pods in a cluster; `switchboard local` always runs one. 1 to 100; absent: 1.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "default_replicas")]
    pub replicas: i32,

    /// Whether each leg has ports of its own. Absent: `PerCall`.
    #[serde(default)]
    pub port_use: PortUse,

    /// What carries audio. `Xdp` is AF_XDP beside the sockets, at about half of the processor time, on each network whose
    /// `bindAddress` is one of an Ethernet interface. The media process needs the capabilities BPF, NET_ADMIN, NET_RAW and
    /// IPC_LOCK, and the host's network or interfaces of its own; no packet filter, NetworkPolicy or capture sees what goes
    /// this way. Where something is refused, its log says why, and the sockets serve alone. Changed only by a restart of the
    /// process. Absent: `Sockets`.
    #[serde(default)]
    pub packets: Packets,

    /// Name of the network by which media pods relay calls' audio to each other, protected by AEAD-GCM. Each worker of a media
    /// pod then takes one pair of `ports` there, when it is first needed; the pods must reach each other's addresses. Changed only
    /// by a restart of the process. Example: `internal`. Absent: no pod relays to another, and none listens for it.
    #[schemars(length(min = 1, max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_network: Option<String>,
}

/// What carries audio.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packets {
    /// UDP sockets alone.
    #[default]
    Sockets,
    /// AF_XDP beside them, where the machine gives it.
    Xdp,
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

/// What a password is hashed with.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DigestAlgorithm {
    /// RFC 1321; what phones of before RFC 8760 know.
    #[serde(rename = "MD5")]
    Md5,
    /// FIPS 180-4.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// FIPS 180-4.
    #[serde(rename = "SHA-512-256")]
    Sha512256,
}

fn default_digest_algorithms() -> Vec<DigestAlgorithm> {
    vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5]
}

/// Where copies of SIP messages go: a server of HEP version 3, such as Homer, over UDP.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// `host` or `host:port`; an IPv6 address stands in brackets where a port follows. Absent port: 9060. At most 260
    /// characters. Example: `homer.example.net:9060`.
    #[schemars(length(min = 1, max = 260), regex(pattern = PEER_ADDRESS))]
    pub collector: String,

    /// Who the pods are to the collector. 1 to 2,147,483,647; absent: 2001.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    #[serde(default = "default_capture_id")]
    pub id: i32,

    /// A key that the collector knows its senders by. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

const fn default_capture_id() -> i32 {
    2_001
}

/// Where spans of calls go: a collector of OpenTelemetry, by OTLP over gRPC.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// The collector. `http` is for one in the cluster's own network. At most 512 characters. Example:
    /// `http://otel-collector.monitoring:4317`.
    #[schemars(length(min = 8, max = 512), regex(pattern = HTTP_URL))]
    pub endpoint: String,

    /// How many of 1,000 calls are traced, chosen by their Call-ID. 1 to 1,000; absent: 1,000.
    #[schemars(range(min = 1, max = 1_000))]
    #[serde(default = "default_permille")]
    pub sample_permille: i32,

    /// Headers of each request, one a line as `name: value`, such as the key of a hosted collector. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<SecretKeyRef>,

    /// Certificates (PEM) of the authorities to trust where the endpoint is `https`. Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}

/// Scheme, host and perhaps a port.
pub const HTTP_URL: &str = r"^https?://[^\s/?#@]+/?$";

const fn default_permille() -> i32 {
    1_000
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

/// How SIP is carried on a listener.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ListenerTransport {
    /// Datagrams.
    Udp,
    /// A stream in the clear.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// WebSocket in the clear, behind an ingress that ends TLS (RFC 7118).
    Ws,
    /// WebSocket under TLS (RFC 7118).
    Wss,
}

/// The pods that speak SIP.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeTier {
    /// How many; more than one need `stores`. `switchboard local` always runs one. 1 to 100; absent: 1.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "default_replicas")]
    pub replicas: i32,
}

const fn default_replicas() -> i32 {
    1
}

/// How peers reach pods.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Exposure {
    /// By the addresses of their nodes.
    HostNetwork,
    /// By Services of type LoadBalancer, one for each pod.
    LoadBalancer,
    /// By Services of type NodePort, one for each pod.
    NodePort,
}

/// Whether each leg has ports of its own.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PortUse {
    /// A pair for each leg.
    #[default]
    PerCall,
    /// A few for all, told apart by the address of the other side.
    Shared,
}

/// What TLS may be, each way.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsPolicy {
    /// The oldest version that is spoken. Absent: `TLSv1.2`.
    #[serde(default)]
    pub minimum_version: TlsVersion,

    /// Suites of TLS 1.2 that peers may choose from when they connect to us. Absent: 0xC02F and 0xC030. 1 to 6.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 6))]
    #[serde(default = "default_inbound_suites")]
    pub inbound_suites: Vec<CipherSuite>,

    /// Suites of TLS 1.2 that we offer to servers. Absent: 0x009E, 0xC013, 0xC02B and 0xC02C. 1 to 6.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 6))]
    #[serde(default = "default_outbound_suites")]
    pub outbound_suites: Vec<CipherSuite>,

    /// A Secret of this namespace, of type `kubernetes.io/tls` and with the label `switchboard.dev/use: "true"`, that
    /// listeners show. Must stand for listeners of TLS and WSS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ref: Option<LocalRef>,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            minimum_version: TlsVersion::default(),
            inbound_suites: default_inbound_suites(),
            outbound_suites: default_outbound_suites(),
            certificate_ref: None,
        }
    }
}

fn default_inbound_suites() -> Vec<CipherSuite> {
    vec![CipherSuite::EcdheRsaAes128Gcm, CipherSuite::EcdheRsaAes256Gcm]
}

fn default_outbound_suites() -> Vec<CipherSuite> {
    vec![
        CipherSuite::DheRsaAes128Gcm,
        CipherSuite::EcdheRsaAes128Cbc,
        CipherSuite::EcdheEcdsaAes128Gcm,
        CipherSuite::EcdheEcdsaAes256Gcm,
    ]
}

/// Where state, records and blobs are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stores {
    /// Redis or Valkey, for calls that outlive their pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_state: Option<LiveStore>,

    /// PostgreSQL, for records of calls. Absent: SQLite, in a folder of the one edge pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordStore>,

    /// Where recordings and voicemail go. Absent: into a folder of each media pod, as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<BlobStore>,
}

/// A database of PostgreSQL, of version 13 or later. Its tables are made, and changed with us, by us.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordStore {
    /// Its host's name or address. It may be in a private range: whoever names it runs the cluster. At most 253 characters.
    /// Example: `postgres.storage.svc`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATABASE_HOST))]
    pub host: String,

    /// Its port. 1 to 65,535; absent: 5432.
    #[schemars(range(min = 1, max = 65_535))]
    #[serde(default = "default_database_port")]
    pub port: i32,

    /// Name of the database, which must be there. At most 63 characters. Example: `switchboard`.
    #[schemars(length(min = 1, max = 63), regex(pattern = DATABASE_NAME))]
    pub database: String,

    /// Who the edge pods are there: who may make tables in it. At most 63 characters. Example: `switchboard`.
    #[schemars(length(min = 1, max = 63), regex(pattern = DATABASE_NAME))]
    pub user: String,

    /// The user's password.
    pub password_secret_ref: SecretKeyRef,

    /// Whether TLS is spoken, and the server must prove that it is the one of that name. Absent: `Required`.
    #[serde(default)]
    pub tls: DatabaseTls,

    /// Authorities that its certificate may be of (PEM). Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// Megabytes of records that may wait on each edge pod's disk while the database cannot be reached; with more, further ones
    /// are lost, which metrics tell. 64 to 1,048,576; absent: 1,024.
    #[schemars(range(min = 64, max = 1_048_576))]
    #[serde(default = "default_waiting_records_megabytes")]
    pub waiting_megabytes: i32,
}

/// Whether TLS is spoken to a database.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DatabaseTls {
    /// Always.
    #[default]
    Required,
    /// Never: whoever is in between reads the records and the password's proof.
    Disabled,
}

const fn default_database_port() -> i32 {
    5_432
}

const fn default_waiting_records_megabytes() -> i32 {
    1_024
}

/// Where recordings and voicemail go.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.s3) || (has(self.sealingKeys) && self.sealingKeys.size() > 0)").message("blobs must have s3, sealingKeys or both"))]
#[serde(rename_all = "camelCase")]
pub struct BlobStore {
    /// A bucket. Absent: a folder of each media pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Bucket>,

    /// What they are sealed with before they are written (AES-256-GCM). The first seals what is new, all open what is there: a
    /// new key goes in front, and an old one out when nothing is left that it has sealed. With a key, what is not sealed is
    /// not opened. At most 8. Empty: they are not sealed.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealing_keys: Vec<SealingKey>,
}

/// A bucket of Amazon S3, or of what speaks like it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Bucket {
    /// Scheme, host and perhaps a port of another server than Amazon's. It may be in a private range: whoever names it runs the
    /// cluster. At most 300 characters. Absent: Amazon's of the region. Example: `https://minio.storage.svc:9000`.
    #[schemars(
        length(min = 8, max = 300),
        regex(
            pattern = S3_ENDPOINT
        )
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,

    /// Its region. At most 63 characters. Absent: `us-east-1`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default = "default_s3_region")]
    pub region: String,

    /// Its name. 3 to 63 characters. Example: `recordings`.
    #[schemars(length(min = 3, max = 63), regex(pattern = S3_BUCKET))]
    pub bucket: String,

    /// What all names begin with. At most 200 characters. Absent: nothing. Example: `switchboard/c14`.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = S3_PREFIX)
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,

    /// The access key's id (`AWS_ACCESS_KEY_ID`).
    pub access_key_id_secret_ref: SecretKeyRef,

    /// The access key (`AWS_SECRET_ACCESS_KEY`).
    pub secret_access_key_secret_ref: SecretKeyRef,

    /// Authorities that its certificate may be of (PEM). Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// Megabytes that may wait on each media pod's disk while the bucket cannot be reached; with more, nothing new is recorded.
    /// 64 to 1,048,576; absent: 10,240.
    #[schemars(range(min = 64, max = 1_048_576))]
    #[serde(default = "default_waiting_megabytes")]
    pub waiting_megabytes: i32,
}

/// A key that recordings are sealed with.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealingKey {
    /// Unique in the list. At most 63 characters. Example: `2026-11`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub id: String,

    /// Its value: 32 bytes, or 64 hexadecimal digits, such as `openssl rand -hex 32` makes.
    pub secret_ref: SecretKeyRef,
}

fn default_s3_region() -> String {
    "us-east-1".to_owned()
}

const fn default_waiting_megabytes() -> i32 {
    10_240
}

/// A Redis or a Valkey, of version 6 or later, that evicts nothing (`maxmemory-policy noeviction`).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveStore {
    /// Its URL, with user and password, which are percent-encoded: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, behind Sentinels
    /// `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE`, of a Cluster
    /// `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT`. With `rediss` in place of `redis` TLS is spoken, and servers must
    /// prove that they are those of the names or addresses by which they are reached. Example: `{name: redis, key: url}`.
    pub secret_ref: SecretKeyRef,

    /// Authorities that their certificates may be of (PEM). Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// The password that Sentinels ask for. Absent: they ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_password_secret_ref: Option<SecretKeyRef>,
}

/// Where a database is: a name or an address.
pub const DATABASE_HOST: &str = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$|^[0-9a-f:]{2,39}$";

/// What a database or one of its users is called.
pub const DATABASE_NAME: &str = r"^[A-Za-z_][A-Za-z0-9_.-]*$";

/// Where an S3 service is, without a path.
pub const S3_ENDPOINT: &str =
    r"^https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$|^https?://\[[0-9a-f:]{2,39}\](:[0-9]{1,5})?$";

/// A bucket's name, as S3 takes it.
pub const S3_BUCKET: &str = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$";

/// What names in a bucket begin with.
pub const S3_PREFIX: &str = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$";
