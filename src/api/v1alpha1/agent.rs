//! `Agent`: a person who takes contacts.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{E164, LABEL, LANGUAGE, Location, OBJECT_NAME, SIP_USER, SecretKeyRef, SkillLevel, Status};

/// A person who takes contacts: skills, stations, capacity.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Agent",
    doc = "A person who takes contacts: skills, stations, capacity.",
    namespaced,
    status = "Status",
    shortname = "agt",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Voice", type_ = "integer", json_path = ".spec.capacity.voice"),
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
pub struct AgentSpec {
    /// Name, for people. At most 128 characters. Example: `Ada Lopez`.
    #[schemars(length(min = 1, max = 128))]
    pub display_name: String,

    /// What the agent can do, and how well. Empty: nothing; only queues without skills are served. At most 64.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<SkillLevel>,

    /// Queues of this namespace that the agent serves, where the skills suffice. Empty: every queue whose skills the agent
    /// has, all alike. At most 64.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<AgentQueue>,

    /// Whose conversations the agent may listen to, as a supervisor. Absent: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervises: Option<Supervision>,

    /// Languages the agent speaks, the best first. Empty: the Tenant's first. At most 16. Example: `[en-US, es-US]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 16), inner(length(min = 2, max = 16), regex(pattern = LANGUAGE)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,

    /// Where the agent can be reached, the usual one first. Empty: nowhere, so no call can be offered. At most 8.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stations: Vec<Station>,

    /// How many contacts at once, by channel. Absent: the defaults of its fields.
    #[serde(default)]
    pub capacity: Capacity,

    /// How the agent signs in. Absent: the agent cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<AgentSignIn>,

    /// Number that callees of the agent see. It must be granted to this namespace by a trunk. Absent: the Tenant's
    /// `defaultCallerId`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_number: Option<String>,

    /// What the agent's connection is like. Absent: `Stable`.
    #[serde(default)]
    pub network: AgentNetwork,
}

/// A queue that an agent serves.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentQueue {
    /// A Queue of this namespace. Unique in the list. Example: `sales`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// Contacts of a queue with a lower rank are offered to the agent first, however long others wait, and queues look for
    /// agents of a lower rank first. 1 to 9; absent: 1.
    #[schemars(range(min = 1, max = 9))]
    #[serde(default = "default_one")]
    pub rank: i32,
}

/// Whose conversations a supervisor may listen to, whisper into, and join.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Supervision {
    /// Queues of this namespace: conversations with their contacts, whichever agent has them. 1 to 64. Example: `[sales]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    pub queues: Vec<String>,
}

/// A place where an agent can be reached.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(has(self.webRtc) ? 1 : 0) + (has(self.sip) ? 1 : 0) + (has(self.pstn) ? 1 : 0) == 1")
        .message("a station must have exactly one of webRtc, sip and pstn"))]
#[serde(rename_all = "camelCase")]
pub struct Station {
    /// Unique in the agent. At most 63 characters. Example: `desk`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// The browser of the agent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_rtc: Option<WebRtcStation>,

    /// A telephone or softphone that registers with us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip: Option<SipStation>,

    /// A number of the public telephone network. Who answers there is asked, in the agent's first language, to press 1,
    /// and has 20 seconds, in a queue what is left of its `ringSeconds`: until then nobody is connected, so that no mailbox takes a
    /// contact. Exactly one of `webRtc`, `sip` and `pstn` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pstn: Option<PstnStation>,

    /// Whether each contact is a call of its own. Absent: `PerCall`.
    #[serde(default)]
    pub leg: StationLeg,

    /// Who takes what a queue offers. Absent: `ByHand`, of a `Persistent` leg `Automatic`. A number of the public telephone network
    /// that is rung for each contact is always answered by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answering: Option<Answering>,

    /// Where emergency services would go. Absent: nobody knows; `check` warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_location: Option<Location>,
}

/// The browser of the agent page.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebRtcStation {
    /// What audio is coded in. Absent: `OPUS`.
    #[serde(default)]
    pub codec: BrowserCodec,
}

/// What audio of a browser is coded in.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BrowserCodec {
    /// Opus, best on a lossy network.
    #[default]
    Opus,
    /// G.711 μ-law, cheapest.
    Pcmu,
}

/// A telephone or softphone that registers with us.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SipStation {
    /// User part of its address of record, unique in the namespace. At most 64 characters. Example: `ada-desk`.
    #[schemars(length(min = 1, max = 64), regex(pattern = SIP_USER))]
    pub username: String,

    /// Its password, or for each algorithm a line such as `SHA-256:` and the hash of `username:realm:password` in hex,
    /// where the realm is the first of the VoiceCluster's `domains`; never the one the agent signs in with.
    pub secret_ref: SecretKeyRef,
}

/// Who takes what a queue offers.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Answering {
    /// The agent: at the telephone or, where it can be asked to answer (NOTIFY of `talk`) or is up already, at the desk.
    ByHand,
    /// The telephone: it is told to answer at once (RFC 5373, `answer-after=0`) what a queue offers, and what the agent begins at
    /// the desk. Calls of others ring.
    Automatic,
}

/// A number of the public telephone network.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PstnStation {
    /// The number, in E.164. Example: `"+12125550199"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    pub number: String,
}

/// Whether each contact is a call of its own at a station.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StationLeg {
    /// Rung for each contact.
    #[default]
    PerCall,
    /// Rung once when the agent is ready, and kept up until the agent signs out: each contact is told by a tone and the name of its
    /// Queue, and connected without ringing.
    Persistent,
}

/// How many contacts an agent has at once.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Calls. 0 to 4; absent: 1.
    #[schemars(range(min = 0, max = 4))]
    #[serde(default = "default_one")]
    pub voice: i32,

    /// Chats. 0 to 20; absent: 0.
    #[schemars(range(min = 0, max = 20))]
    #[serde(default)]
    pub chat: i32,

    /// Emails. 0 to 20; absent: 0.
    #[schemars(range(min = 0, max = 20))]
    #[serde(default)]
    pub email: i32,

    /// SMS conversations. 0 to 20; absent: 0.
    #[schemars(range(min = 0, max = 20))]
    #[serde(default)]
    pub sms: i32,

    /// Conversations of social networks. 0 to 20; absent: 0.
    #[schemars(range(min = 0, max = 20))]
    #[serde(default)]
    pub social: i32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { voice: default_one(), chat: 0, email: 0, sms: 0, social: 0 }
    }
}

const fn default_one() -> i32 {
    1
}

/// How an agent signs in.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.subject)")
        .message("signIn must have exactly one of secretRef and subject"))]
#[serde(rename_all = "camelCase")]
pub struct AgentSignIn {
    /// The hash of the password (Argon2id, PHC string form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,

    /// Who the agent is for the Tenant's `openIdConnect`: to the letter the token's `sub`, or the claim that the Tenant's
    /// `subjectClaim` names. Unique in the namespace. At most 255 characters. Exactly one of `secretRef` and `subject` stands.
    /// Example: `ada@example.com`.
    #[schemars(length(min = 1, max = 255))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// What an agent's connection is like.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AgentNetwork {
    /// Little is lost: the contact's codec is offered first.
    #[default]
    Stable,
    /// Opus is offered first, with error correction.
    Lossy,
}
