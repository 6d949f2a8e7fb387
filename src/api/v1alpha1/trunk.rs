//! `Trunk`: a carrier or PBX that speaks SIP with us.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CipherSuite, DOMAIN, LABEL, LocalRef, NumberRange, ObjectRef, PortUse, SIP_USER, SecretKeyRef, Status,
    Stir, TlsVersion, Transport,
};

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
    validation = Rule::new("self.direction == 'Inbound' || (has(self.peers) && self.peers.size() > 0) || (has(self.popRefs) && self.popRefs.size() > 0)")
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

    /// Where calls leave to: lowest `priority` first, and those of one priority by lots, as their `weight` says. At most
    /// 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,

    /// The Carrier of this namespace whose trunk it is. Absent: no carrier's, such as a PBX's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_ref: Option<LocalRef>,

    /// PointsOfPresence of this namespace; their gateways are peers, and their signalling ranges are sources. At most
    /// 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pop_refs: Vec<LocalRef>,

    /// Codecs that may be used, the preferred one first. Absent: `[PCMU, PCMA]`. 1 to 5.
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("codecs must not name one twice")
    )]
    #[schemars(length(min = 1, max = 5))]
    #[serde(default = "default_codecs")]
    pub codecs: Vec<Codec>,

    /// How the peer and we prove who we are (RFC 8760). Absent: by address, or by TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,

    /// Where we register so that calls come in (RFC 3261 §10). Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<Register>,

    /// `host` or `host:port` of a proxy that everything we send of our own accord goes through: calls, probes and
    /// registrations, with a Route that says so (RFC 3261 §8.1.2). Without a port, transport and port are as its NAPTR and SRV
    /// records say (RFC 3263), as far as the network has listeners for them. Absent: peers and registrar are reached
    /// themselves. At most 260 characters. Example: `proxy.example.net`.
    #[schemars(length(min = 1, max = 260), regex(pattern = PEER_ADDRESS))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_proxy: Option<String>,

    /// Bounds of TLS. Absent: the VoiceCluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TrunkTls>,

    /// Whether audio is encrypted (RFC 3711). Absent: `Disabled`.
    #[serde(default)]
    pub srtp: Srtp,

    /// How keys of SRTP are agreed on. `Sdes`: they stand in the session descriptions (RFC 4568), which TLS must hide. `Dtls`: by
    /// a handshake beside the audio (RFC 5763); the descriptions have fingerprints alone, which are no secret. `Both`: as the
    /// peer offers, by DTLS if it offers both; our own offers have both on RTP/AVP where SRTP is preferred (RFC 8643), and DTLS
    /// alone where it is required, for there no RFC lets one offer have both. Absent: `Sdes`. Example: `Dtls`.
    #[serde(default)]
    pub srtp_keying: SrtpKeying,

    /// Whether keys of SRTP may be sent over signalling in the clear. Absent: `Refused`.
    #[serde(default)]
    pub insecure_keys: InsecureKeys,

    /// How keys are sent. Absent: `Auto`.
    #[serde(default)]
    pub dtmf: DtmfMethod,

    /// Whether its legs have RTP ports of their own. `Shared` is for peers that send audio from the address and port that
    /// their session descriptions say, as carriers do: what comes from elsewhere is dropped. Absent: the VoiceCluster's
    /// `media.portUse`. Example: `Shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_use: Option<PortUse>,

    /// Who sends audio first, and begins a handshake of DTLS where it is left to us. `Peer`: nothing is sent to it, nor a
    /// keep-alive or a report, before something of it has come. Must be `Peer` where pods are reached through a Service.
    /// Absent: `Either`.
    #[serde(default)]
    pub media_first: MediaFirst,

    /// How numbers are written. Absent: E.164 both ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_formats: Option<NumberFormats>,

    /// Which caller ids may go out. Absent: `Granted`.
    #[serde(default)]
    pub caller_id_policy: CallerIdPolicy,

    /// Whether calls for help of agents' phones may leave by it, whatever its limits; whoever calls their number by it within
    /// 30 minutes is brought to the phone that called. Absent: `Refused`.
    #[serde(default)]
    pub emergency: Emergency,

    /// Whether calls are signed and verified (STIR/SHAKEN). Absent: neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stir: Option<Box<Stir>>,

    /// How peers are probed by OPTIONS. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,

    /// SIP statuses upon which the next peer is tried; 486 and those from 600 on never are. Empty: 408, 500, 502, 503,
    /// 504. At most 32. Example: `[500, 503]`.
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("!(486 in self)").message("failoverCodes must not have 486: the callee is busy by whatever way"))]
    #[schemars(length(max = 32), inner(range(min = 400, max = 599)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failover_codes: Vec<i32>,

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
    /// G.722, wideband.
    G722,
    /// Opus (RFC 6716).
    Opus,
    /// G.729; carried only from trunk to trunk.
    G729,
}

/// Where calls leave to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Unique in the trunk. At most 63 characters. Example: `chicago`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// `host` or `host:port`; an IPv6 address stands in brackets where a port follows. Absent port: as the
    /// host's SRV records say (RFC 3263), else 5060, or 5061 with TLS. At most 260 characters. Example:
    /// `198.51.100.7:5060`.
    #[schemars(length(min = 1, max = 260), regex(pattern = PEER_ADDRESS))]
    pub address: String,

    /// How SIP is carried. Absent: `UDP`.
    #[serde(default)]
    pub transport: Transport,

    /// Lower is tried first. 0 to 65,535; absent: 0.
    #[schemars(range(min = 0, max = 65_535))]
    #[serde(default)]
    pub priority: i32,

    /// Among peers of one priority, how many of the calls it takes first, against the weights of the others; where all
    /// are 0, each takes as many. 0 to 65,535; absent: 0.
    #[schemars(range(min = 0, max = 65_535))]
    #[serde(default)]
    pub weight: i32,
}

/// A host or an address, and perhaps a port up to 65535.
pub const PEER_ADDRESS: &str = r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?)(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$|^[0-9A-Fa-f:]{2,39}$";

/// Bounds of a trunk.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrunkLimits {
    /// Calls at once, both directions together; one more is answered 503. 1 to 100,000. Example: `200`.
    #[schemars(range(min = 1, max = 100_000))]
    pub calls: i32,

    /// New calls a second, both directions together; one more is answered 503. 1 to 10,000; absent: no bound of its
    /// own. Example: `10`.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_second: Option<i32>,
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

/// Names and passwords of a trunk.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// User that we are. At most 64 characters. Example: `acme`.
    #[schemars(length(min = 1, max = 64), regex(pattern = SIP_USER))]
    pub username: String,

    /// Its password.
    pub secret_ref: SecretKeyRef,

    /// Realm to answer in. Absent: any that the peer names. At most 253 characters. Example: `sip.example.net`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,

    /// Whether the peer's calls are challenged too. Absent: `Never`.
    #[serde(default)]
    pub challenge: Challenge,
}

/// Whether a peer is challenged.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Challenge {
    /// Its address is enough.
    #[default]
    Never,
    /// Each INVITE must answer a challenge.
    Always,
}

/// Where we register.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// `host` or `host:port`. Without a port, transport and port are as its NAPTR and SRV records say (RFC 3263), as far
    /// as the network has listeners for them. At most 260 characters. Example: `sip.example.net`.
    #[schemars(length(min = 1, max = 260), regex(pattern = PEER_ADDRESS))]
    pub registrar: String,

    /// User part of the address of record. At most 64 characters. Example: `acme`.
    #[schemars(length(min = 1, max = 64), regex(pattern = SIP_USER))]
    pub user: String,

    /// How long a registration lasts. 60 to 86,400; absent: 3,600.
    #[schemars(range(min = 60, max = 86_400))]
    #[serde(default = "default_expires")]
    pub expires_seconds: i32,
}

const fn default_expires() -> i32 {
    3_600
}

/// Bounds of TLS on a trunk.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrunkTls {
    /// The oldest version that is spoken; the VoiceCluster's, if that is newer. Absent: `TLSv1.2`.
    #[serde(default)]
    pub minimum_version: TlsVersion,

    /// Suites of TLS 1.2, out of the VoiceCluster's. Empty: all of those. At most 6.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 6))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<CipherSuite>,

    /// Names of which one must stand in the peer's certificate (RFC 5922). Empty: the host names of its peers. At most
    /// 16. Example: `[sip.example.net]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = DOMAIN)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peer_names: Vec<String>,

    /// Certificates (PEM) of the authorities to trust. Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// Whether the peer must show a certificate when it connects. Absent: `Optional`.
    #[serde(default)]
    pub client_certificate: ClientCertificate,

    /// Whether a client's certificate may be one for servers only. Absent: `Refused`.
    #[serde(default)]
    pub server_auth_eku: ServerAuthEku,
}

/// Whether a peer must show a certificate.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClientCertificate {
    /// Its address is enough.
    #[default]
    Optional,
    /// Without one it hears nothing.
    Required,
}

/// Whether a client may show a certificate for servers.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ServerAuthEku {
    /// It must be one for clients (RFC 5280 §4.2.1.12).
    #[default]
    Refused,
    /// Public authorities issue no others.
    Accepted,
}

/// Whether audio is encrypted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Srtp {
    /// Never.
    #[default]
    Disabled,
    /// Where the peer can.
    Preferred,
    /// Always; other calls are refused.
    Required,
}

/// How keys are agreed on.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SrtpKeying {
    /// They stand in the session descriptions.
    #[default]
    Sdes,
    /// By a handshake beside the audio.
    Dtls,
    /// As the peer offers.
    Both,
}

/// Whether keys may be sent in the clear.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum InsecureKeys {
    /// Only under TLS.
    #[default]
    Refused,
    /// On a private network.
    Accepted,
}

/// How keys of a telephone are sent.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Who sends audio first.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MediaFirst {
    /// Whoever has something to say.
    #[default]
    Either,
    /// The peer; we wait for its first packet.
    Peer,
}

/// How numbers are written.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.country) || (self.inbound in ['E164', 'E164WithoutPlus'] && self.outbound in ['E164', 'E164WithoutPlus'])")
        .message("country must stand where numbers are national").field_path(".country"))]
#[serde(rename_all = "camelCase")]
pub struct NumberFormats {
    /// In calls that come in. Absent: `E164`.
    #[serde(default)]
    pub inbound: NumberFormat,

    /// In calls that leave. Absent: `E164`.
    #[serde(default)]
    pub outbound: NumberFormat,

    /// ISO 3166-1 code of the country that national numbers are of; one whose prefixes are known. Absent: where both are
    /// E164. Example: `US`.
    #[schemars(length(min = 2, max = 2), regex(pattern = r"^[A-Z]{2}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// How a number is written.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NumberFormat {
    /// `+12125550100`.
    #[default]
    E164,
    /// `12125550100`.
    E164WithoutPlus,
    /// `2125550100`, or with the trunk prefix of the country.
    National,
    /// `01112125550100`: with the international prefix of the country.
    International,
}

/// Which caller ids may go out.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CallerIdPolicy {
    /// Those that the trunk grants to the tenant.
    #[default]
    Granted,
    /// Those too that a contact came with, on calls that are forwarded, with Diversion (RFC 5806).
    Forwarded,
}

/// Whether emergency calls may leave by a trunk.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Emergency {
    /// No.
    #[default]
    Refused,
    /// Yes: the carrier brings them to the right place.
    Accepted,
}

/// How peers are probed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.timeoutSeconds < self.periodSeconds")
        .message("timeoutSeconds must be less than periodSeconds").field_path(".timeoutSeconds"))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Between two probes. 5 to 3,600; absent: 30.
    #[schemars(range(min = 5, max = 3_600))]
    #[serde(default = "default_period")]
    pub period_seconds: i32,

    /// How long an answer may take. 1 to 32; absent: 5.
    #[schemars(range(min = 1, max = 32))]
    #[serde(default = "default_health_timeout")]
    pub timeout_seconds: i32,

    /// So many in a row, and the peer is down. 1 to 10; absent: 3.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "default_failures")]
    pub failures: i32,
}

const fn default_period() -> i32 {
    30
}

const fn default_health_timeout() -> i32 {
    5
}

const fn default_failures() -> i32 {
    3
}
