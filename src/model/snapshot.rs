//! What a pod is told: one VoiceCluster, compiled. Applied whole or refused with a reason.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

use crate::{
    AllowlistId, AudioId, ClusterId, E164, FlowId, HoursId, IntegrationId, Key, NumberId, PromptId, TrunkId,
    centre::{Centre, SecretKey},
    media::Codec,
    net::Transport,
    program::Program,
    trunk::{
        CallerIdPolicy, DigestAlgorithm, DtmfMethod, Health, NumberFormats, Proxy, Register, SrtpKeying,
        SrtpUse, Stir, TlsPolicy, TrunkDigest, TrunkTls, default_digest_algorithms, default_failover_codes,
    },
};

/// Version of this form. A reader refuses what is newer than it knows.
pub const SCHEMA: u32 = 1;

/// One VoiceCluster and all that its calls need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// The cluster itself.
    pub cluster: Cluster,
    /// The trunks that the cluster serves.
    pub trunks: BTreeMap<TrunkId, Trunk>,
    /// Live numbers by the trunk that delivers them; each list is sorted by `first` and has no overlap.
    pub numbers: BTreeMap<TrunkId, Vec<NumberRange>>,
    /// Flows that a live number leads to, and all that these call.
    pub flows: BTreeMap<FlowId, Arc<Program>>,
    /// Business hours that a flow asks for.
    pub hours: BTreeMap<HoursId, Arc<BusinessHours>>,
    /// Everything that may be heard.
    pub audio: BTreeMap<AudioId, Audio>,
    /// Queues, agents and all else that a contact centre is made of.
    #[serde(default)]
    pub centre: Centre,
}

impl Snapshot {
    /// The live number that `trunk` delivers `number` to.
    #[must_use]
    pub fn number(&self, trunk: &TrunkId, number: E164) -> Option<&NumberRange> {
        let ranges = self.numbers.get(trunk)?;
        let after = ranges.partition_point(|range| range.first <= number);
        ranges[..after].last().filter(|range| number <= range.last)
    }
}

/// A cluster's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Its object.
    pub id: ClusterId,
    /// A letter and a number, such as C14.
    pub code: String,
    /// In the order of the YAML; `ListenerIx` counts along it.
    pub listeners: Vec<Listener>,
    /// In the order of the YAML.
    pub networks: Vec<Network>,
    /// First and last port for RTP and RTCP, both included; pairs begin at even ports.
    pub rtp_ports: (u16, u16),
    /// What carries audio.
    #[serde(default, skip_serializing_if = "Packets::is_sockets")]
    pub packets: Packets,
    /// Network by which media pods relay audio to each other. None: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_network: Option<String>,
    /// Bounds.
    pub limits: Limits,
    /// How long a drain waits for calls to end, in seconds.
    pub drain_seconds: u32,
    /// What TLS may be, each way.
    #[serde(default)]
    pub tls: TlsPolicy,
    /// Domains that agents reach the cluster by.
    #[serde(default)]
    pub domains: Vec<String>,
    /// What phones and trunks are challenged with, in that order.
    #[serde(default = "default_digest_algorithms")]
    pub digest_algorithms: Vec<DigestAlgorithm>,
    /// Where copies of SIP messages go. None: nowhere.
    #[serde(default)]
    pub capture: Option<Capture>,
    /// Private ranges that what is fetched may come from all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reachable_ranges: Vec<IpNet>,
    /// Where spans of calls go. None: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Bounds of tenants that have some, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantLimits>,
    /// Recorders of tenants that have one, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recorders: BTreeMap<String, Recorder>,
    /// Countries of tenants by namespace (ISO 3166-1 alpha-2): whose tones callers hear. Absent: the United States.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub countries: BTreeMap<String, String>,
    /// Services that speak and understand, of tenants that have some, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub speech: BTreeMap<String, Speech>,
    /// Who says who agents are, of tenants that have such a service, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<String, OpenIdProvider>,
    /// Services that may do something for tenants by HTTP, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Vec<Service>>,
    /// Where recordings and messages are kept, and for how long.
    #[serde(default, skip_serializing_if = "Keeping::is_default")]
    pub keeping: Keeping,
}

/// Somebody who does things for a tenant by HTTP, and proves it by a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// For people.
    pub name: String,
    /// The token, of the tenant's namespace.
    pub secret: SecretKey,
    /// What it may do.
    pub may: Vec<May>,
}

/// What a service may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum May {
    /// Have agents shown whom they may call.
    Previews,
}

/// A session recording server (RFC 7866) to which calls of a tenant are told and copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorder {
    /// How it is reached.
    pub trunk: TrunkId,
    /// User of its URI.
    pub user: String,
    /// Whether every call is recorded, and not only those whose flow says so.
    pub all: bool,
    /// Whether a call that cannot be recorded must not be.
    pub required: bool,
}

/// Where recordings and messages are kept, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Keeping {
    /// A bucket. None: a folder of each pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<Bucket>,
    /// What they are sealed with: the first seals, all open. Empty: they are not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sealing_keys: Vec<SealingKey>,
    /// A database of records of calls. None: a file of each pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Database>,
    /// Days that records of calls are kept, by namespace of the tenant, where it is not
    /// [`RECORD_DAYS`](crate::kept::RECORD_DAYS).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub record_days: BTreeMap<String, u32>,
    /// Days that recordings of calls are kept, by namespace of the tenant, where it is not
    /// [`RECORDING_DAYS`](crate::kept::RECORDING_DAYS).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub recording_days: BTreeMap<String, u32>,
}

impl Keeping {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A database of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Its host's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its name.
    pub database: String,
    /// Who we are there.
    pub user: String,
    /// The Secret that holds our password, and which of its keys.
    pub password: (Key, String),
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The Secret that holds authorities to trust, and which of its keys. None: the public ones.
    pub ca: Option<(Key, String)>,
    /// Bytes that may wait in a pod's folder to be written.
    pub waiting_max: u64,
}

/// A bucket of S3 or what speaks like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Scheme, host and perhaps a port. None: Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// What all names are put behind. Empty: nothing.
    pub prefix: String,
    /// The Secret that holds the access key's id, and which of its keys.
    pub access_key_id: (Key, String),
    /// The same for the access key itself.
    pub secret_access_key: (Key, String),
    /// The same for authorities to trust. None: the public ones.
    pub ca: Option<(Key, String)>,
    /// Bytes that may wait in a pod's folder to be uploaded.
    pub waiting_max: u64,
}

/// A key that recordings are sealed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealingKey {
    /// Its name.
    pub id: String,
    /// The Secret that holds it, and which of its keys.
    pub secret: (Key, String),
}

/// What carries audio beside UDP sockets, which are there always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Packets {
    /// Nothing.
    #[default]
    Sockets,
    /// AF_XDP, where the machine allows it.
    Xdp,
}

impl Packets {
    fn is_sockets(&self) -> bool {
        *self == Self::Sockets
    }
}

/// What speaks to a tenant's contacts and understands them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Speech {
    /// None: the voice that comes with the media server.
    pub voice: Option<SpeechVoice>,
    /// None: the recogniser that comes with the media server.
    pub recogniser: Option<SpeechRecogniser>,
}

/// A voice by `POST /v1/audio/speech`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeechVoice {
    /// What it is reached by.
    pub integration: IntegrationId,
    /// The request's `model`.
    pub model: String,
    /// The request's `voice`.
    pub voice: String,
}

/// What understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeechRecogniser {
    /// What it is reached by.
    pub integration: IntegrationId,
    /// Whether it hears on a WebSocket by Vosk's protocol; else by `POST /v1/audio/transcriptions` afterwards.
    pub streams: bool,
    /// The `model` of a request for a transcription.
    pub model: String,
}

/// An OpenID provider, which says who a tenant's agents are (OpenID Connect Core 1.0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenIdProvider {
    /// As the `iss` of its tokens has it: an https URL without query.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// The client's secret, of the tenant's namespace. None: a public client.
    pub secret: Option<SecretKey>,
    /// Certificates of authorities that are trusted, of the tenant's namespace. None: the public ones.
    pub ca: Option<SecretKey>,
    /// The claim that an agent's subject is held against.
    pub subject_claim: String,
    /// Scopes besides `openid`, sorted.
    pub scopes: Vec<String>,
    /// Where browsers are sent back to. None: where the page says.
    pub redirect_uri: Option<String>,
}

/// Bounds of a tenant: of calls to all its numbers together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantLimits {
    /// Calls at once. None: no bound of its own.
    pub calls_max: Option<u32>,
    /// New calls a second. None: no bound of its own.
    pub calls_per_second_max: Option<u32>,
}

/// A collector of OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Scheme, host and perhaps a port.
    pub endpoint: String,
    /// How many of 1,000 calls are traced.
    pub sample_permille: u32,
    /// The Secret that holds headers of each request, and which of its keys.
    pub headers: Option<(Key, String)>,
    /// The same for authorities to trust. None: the public ones.
    pub ca: Option<(Key, String)>,
}

/// A server of HEP version 3 that gets copies of SIP messages over UDP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// A host name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it.
    pub id: u32,
    /// The Secret that holds what it knows us by, and which of its keys.
    pub secret: Option<(Key, String)>,
}

/// Bounds of a cluster. Each pod has these for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Calls at once.
    pub calls_max: u32,
    /// Longest call, in seconds.
    pub call_seconds_max: u32,
}

/// A socket that SIP is heard on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique in the cluster.
    pub name: String,
    /// What it speaks.
    pub transport: Transport,
    /// Address and port to bind.
    pub bind: SocketAddr,
    /// Host and port that Via and Contact tell, such as `203.0.113.9:5060` or `[2001:db8::1]:5060`.
    pub advertised: String,
    /// Name of its network.
    pub network: String,
    /// Who may speak to it.
    pub serves: Serves,
}

/// Who may speak to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Serves {
    /// Carriers and PBXs; an unlisted source hears nothing.
    Trunks,
    /// Agents' phones; nothing but a challenge is heard.
    Agents,
}

/// A network that the cluster has a foot in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Unique in the cluster.
    pub name: String,
    /// Address that RTP sockets bind.
    pub rtp_bind: IpAddr,
    /// Address that our session descriptions tell.
    pub rtp_advertised: IpAddr,
    /// Linux interface that its sockets are bound to. None: any that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Namespace and name of the NetworkAttachmentDefinition that gives pods an interface on it. Nothing listens on such a
    /// network as long as no pod gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,
}

/// A carrier or PBX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trunk {
    /// Name of its network.
    pub network: String,
    /// What calls arrive by it.
    pub delivers: Delivers,
    /// Whether an A leg may be Voip (a UCaaS partner, granted by the cluster).
    pub ucaas_partner: bool,
    /// Which way calls go.
    pub direction: TrunkDirection,
    /// Where its calls may come from. None listed: from nowhere.
    pub sources: Vec<Source>,
    /// Where calls leave to, in the order to be tried.
    pub peers: Vec<Peer>,
    /// Codecs it may use, in our preference.
    pub codecs: Vec<Codec>,
    /// Calls at once, both directions together. None: the cluster's bound alone.
    pub calls_max: Option<u32>,
    /// Numbers granted to namespaces: what a number may be live on and which caller ids may go out.
    pub grants: Vec<Grant>,
    /// New calls a second, both directions together. None: no bound of its own.
    #[serde(default)]
    pub calls_per_second_max: Option<u32>,
    /// SIP statuses upon which the next peer is tried, sorted; 486 and those from 600 on never are.
    #[serde(default = "default_failover_codes")]
    pub failover_codes: Vec<u16>,
    /// Who we are to it, and whether it is challenged.
    #[serde(default)]
    pub digest: Option<TrunkDigest>,
    /// Where we register. None: nowhere.
    #[serde(default)]
    pub register: Option<Register>,
    /// What all goes through that we send of our own accord. None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_proxy: Option<Proxy>,
    /// Bounds of TLS.
    #[serde(default)]
    pub tls: TrunkTls,
    /// How numbers are written.
    #[serde(default)]
    pub number_formats: NumberFormats,
    /// Which caller ids may go out.
    #[serde(default)]
    pub caller_id_policy: CallerIdPolicy,
    /// Whether emergency calls may leave by it.
    #[serde(default)]
    pub emergency: bool,
    /// How peers are probed by OPTIONS. None: not at all.
    #[serde(default)]
    pub health: Option<Health>,
    /// Whether calls are signed and verified.
    #[serde(default, skip_serializing_if = "Stir::is_none")]
    pub stir: Stir,
    /// Whether audio is protected.
    #[serde(default, skip_serializing_if = "SrtpUse::is_disabled")]
    pub srtp: SrtpUse,
    /// How keys of SRTP are agreed on.
    #[serde(default, skip_serializing_if = "SrtpKeying::is_sdes")]
    pub srtp_keying: SrtpKeying,
    /// Whether keys of SRTP may be sent over signalling in the clear.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_keys: bool,
    /// How keys of telephones come and go.
    #[serde(default, skip_serializing_if = "DtmfMethod::is_auto")]
    pub dtmf: DtmfMethod,
    /// Whether its peers send audio, and begin handshakes, only once they can: we wait for theirs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub peer_first: bool,
    /// Whether its peers send audio from where they say, so that their calls share a few ports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_ports: bool,
}

/// Numbers granted to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The tenant.
    pub namespace: String,
    /// First number.
    pub first: E164,
    /// Last number.
    pub last: E164,
}

/// What calls arrive by a trunk; it alone decides whether they may be an A leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Delivers {
    /// Calls of the public telephone network.
    Pstn,
    /// Calls that never touched it.
    Voip,
}

/// Which way a trunk's calls go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrunkDirection {
    /// To us.
    Inbound,
    /// From us.
    Outbound,
    /// Both.
    #[default]
    Both,
}

impl TrunkDirection {
    /// Whether calls come in.
    #[must_use]
    pub const fn is_inbound(self) -> bool {
        matches!(self, Self::Inbound | Self::Both)
    }

    /// Whether calls go out.
    #[must_use]
    pub const fn is_outbound(self) -> bool {
        matches!(self, Self::Outbound | Self::Both)
    }
}

/// A range of addresses that an Allowlist admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The range.
    pub range: IpNet,
    /// Not before.
    pub valid_from: Option<Timestamp>,
    /// Not at this time or later.
    pub valid_until: Option<Timestamp>,
    /// Whose entry it is.
    pub allowlist: AllowlistId,
    /// Whether that is no Allowlist but a PointOfPresence, whose signalling range it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_pop: bool,
}

impl Source {
    /// Whether a packet from `address` is admitted at `now`.
    #[must_use]
    pub fn admits(&self, address: IpAddr, now: Timestamp) -> bool {
        self.range.contains(&address)
            && self.valid_from.is_none_or(|from| from <= now)
            && self.valid_until.is_none_or(|until| now < until)
    }

    /// Kind and name of the object whose entry it is.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{} {}", if self.of_pop { "PointOfPresence" } else { "Allowlist" }, self.allowlist)
    }
}

/// Where calls leave to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Unique in the trunk.
    pub name: String,
    /// A host name or an address, without brackets.
    pub host: String,
    /// Port. None: the YAML names none, so that the host's SRV records say it (RFC 3263 §4.2), else that of the transport.
    #[serde(default)]
    pub declared_port: Option<u16>,
    /// Port; 5060, or 5061 with TLS, where the YAML names none.
    pub port: u16,
    /// What it speaks.
    pub transport: Transport,
    /// Lower is tried first.
    #[serde(default)]
    pub priority: u16,
    /// Among peers of one priority, how many of the calls it takes first, against the others' weights; 0: as few as can be.
    #[serde(default)]
    pub weight: u16,
    /// Whether a request that is too large for a datagram goes by TCP first. UDP alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub large_by_tcp: bool,
}

/// A live number, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberRange {
    /// First number.
    pub first: E164,
    /// Last number; `first` for a single one.
    pub last: E164,
    /// Its object; the namespace is the tenant.
    pub id: NumberId,
    /// Where its calls go.
    pub flow: FlowId,
    /// Calls at once. None: the trunk's and the cluster's bounds alone.
    pub calls_max: Option<u32>,
    /// The number that callers dial and another carrier forwards here (Remote Call Forwarding).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<E164>,
    /// New calls a second. None: no bound of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_second_max: Option<u32>,
}

/// When somebody is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BusinessHours {
    /// IANA name, such as `America/New_York`, or `UTC`.
    pub time_zone: String,
    /// For each day of the week from Monday on: intervals in seconds since local midnight, sorted, apart; an end is
    /// not within, and 86,400 is midnight.
    pub week: [Vec<(u32, u32)>; 7],
    /// Days that are holidays, sorted, with their names.
    pub holidays: Vec<(civil::Date, String)>,
}

/// Something that can be heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audio {
    /// Whose it is; of several prompts with equal content, the first.
    pub prompt: PromptId,
    /// What it is made of.
    pub source: AudioSource,
}

/// What audio is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AudioSource {
    /// A WAV file, which travels beside the snapshot and is found by the SHA-256 of its bytes.
    Wav {
        /// Where the planner read it; for messages to people.
        origin: String,
    },
    /// A file of any kind, which media servers fetch; its SHA-256 is the audio's id, and a file with another one is none.
    Remote {
        /// Where it is, by HTTPS.
        url: String,
    },
    /// Text to speak.
    Speech {
        /// What to say.
        text: String,
        /// BCP 47 tag, such as `en-US`.
        language: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> NumberRange {
        NumberRange {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            id: NumberId::new("acme", first),
            flow: FlowId::new("acme", "main"),
            calls_max: None,
            forwarded_from: None,
            calls_per_second_max: None,
        }
    }

    #[test]
    fn a_number_is_found_by_its_trunk_and_its_range() {
        let trunk = TrunkId::new("platform", "carrier");
        let mut snapshot = empty();
        snapshot.numbers.insert(
            trunk.clone(),
            vec![range("+12125550100", "+12125550100"), range("+12125550110", "+12125550119")],
        );
        let found = |trunk: &TrunkId, number: &str| {
            let range = snapshot.number(trunk, number.parse().unwrap());
            range.map(|range| range.first.to_string())
        };
        for (number, wanted) in [
            ("+12125550099", None),
            ("+12125550100", Some("+12125550100")),
            ("+12125550101", None),
            ("+12125550110", Some("+12125550110")),
            ("+12125550119", Some("+12125550110")),
            ("+12125550120", None),
        ] {
            assert_eq!(found(&trunk, number).as_deref(), wanted, "{number}");
        }
        assert_eq!(found(&TrunkId::new("platform", "other"), "+12125550100"), None);
    }

    #[test]
    fn a_source_admits_only_while_it_is_valid() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let source = Source {
            range: "192.0.2.0/24".parse().unwrap(),
            valid_from: Some(at("2026-01-01T00:00:00Z")),
            valid_until: Some(at("2026-02-01T00:00:00Z")),
            allowlist: AllowlistId::new("platform", "carrier"),
            of_pop: false,
        };
        for (address, time, wanted) in [
            ("192.0.2.7", "2026-01-15T00:00:00Z", true),
            ("192.0.3.7", "2026-01-15T00:00:00Z", false),
            ("192.0.2.7", "2025-12-31T23:59:59Z", false),
            ("192.0.2.7", "2026-02-01T00:00:00Z", false),
        ] {
            assert_eq!(source.admits(address.parse().unwrap(), at(time)), wanted, "{address} {time}");
        }
    }

    fn empty() -> Snapshot {
        Snapshot {
            schema: SCHEMA,
            cluster: Cluster {
                id: ClusterId::new("platform", "c14"),
                code: "C14".into(),
                listeners: Vec::new(),
                networks: Vec::new(),
                rtp_ports: (20_000, 20_999),
                packets: Packets::default(),
                span_network: None,
                limits: Limits { calls_max: 100, call_seconds_max: 3_600 },
                drain_seconds: 30,
                tls: TlsPolicy::default(),
                domains: Vec::new(),
                digest_algorithms: default_digest_algorithms(),
                capture: None,
                reachable_ranges: Vec::new(),
                tracing: None,
                tenants: BTreeMap::new(),
                recorders: BTreeMap::new(),
                countries: BTreeMap::new(),
                speech: BTreeMap::new(),
                providers: BTreeMap::new(),
                services: BTreeMap::new(),
                keeping: Keeping::default(),
            },
            trunks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            flows: BTreeMap::new(),
            hours: BTreeMap::new(),
            audio: BTreeMap::new(),
            centre: Centre::default(),
        }
    }
}
