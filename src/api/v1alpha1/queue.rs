//! `Queue`: where contacts wait for an agent.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Channel, LABEL, OBJECT_NAME, Status};

/// Where contacts wait for an agent who can help them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Queue",
    doc = "Where contacts wait for an agent who can help them.",
    namespaced,
    status = "Status",
    shortname = "que",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Selection", type_ = "string", json_path = ".spec.selection"),
    printcolumn(name = "Contacts", type_ = "integer", json_path = ".spec.limits.contacts"),
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
#[x_kube(validation = Rule::new("!has(self.dispositions) || self.dispositions.size() == 0 || (has(self.wrapUpSeconds) && self.wrapUpSeconds > 0)")
        .message("dispositions may stand only where wrapUpSeconds is more than 0").field_path(".dispositions"))]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// What may wait in it. Absent: `[Voice]`. 1 to 5.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 5))]
    #[serde(default = "default_channels")]
    pub channels: Vec<Channel>,

    /// What an agent must be able to do; all of it. Empty: every agent of the tenant serves the queue. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<QueueSkill>,

    /// Which of the free agents is offered a contact. Absent: `LongestIdle`.
    #[serde(default)]
    pub selection: Selection,

    /// Of a contact where the flow says none; higher goes first. 0 to 9; absent: 5.
    #[schemars(range(min = 0, max = 9))]
    #[serde(default = "default_priority")]
    pub priority: i32,

    /// After each such wait a contact's priority rises by one. 1 to 3,600; absent: it never rises.
    #[schemars(range(min = 1, max = 3_600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ageing_seconds: Option<i32>,

    /// What is aimed for, for reports. Absent: 80 percent within 20 seconds.
    #[serde(default)]
    pub service_level: ServiceLevel,

    /// Bounds. Absent: the defaults of its fields.
    #[serde(default)]
    pub limits: QueueLimits,

    /// Prompts of this namespace that waiting callers hear, one after another and again. Absent: the Tenant's `music`. At most 32.
    /// Example: `[spring, summer]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub music: Vec<String>,

    /// What waiting callers are told, one after another and again. At most 8.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announcements: Vec<Announcement>,

    /// How long an offer rings at an agent before the next one is offered it. 5 to 120; absent: 15.
    #[schemars(range(min = 5, max = 120))]
    #[serde(default = "default_ring_seconds")]
    pub ring_seconds: i32,

    /// How long an agent has for notes after a contact. 0 to 3,600; absent: 0.
    #[schemars(range(min = 0, max = 3_600))]
    #[serde(default)]
    pub wrap_up_seconds: i32,

    /// Who of the two is called first when a contact is called back, where the flow's `callback` does not say. Absent: `Agent`.
    #[serde(default)]
    pub callback_first: CallbackFirst,

    /// A Prompt of this namespace that a contact hears when it answers and is called first, before the queue's music: the agent's
    /// telephone rings meanwhile. Absent: the music alone. Example: `we-call-you-back`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_prompt: Option<String>,

    /// What may have come of a contact: the agent names one of them, at the desk, in the `wrapUpSeconds` after it. Empty: none is
    /// asked for. At most 64.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dispositions: Vec<Disposition>,

    /// Whether the agent must name one to be done before `wrapUpSeconds` are over. Absent: `Optional`.
    #[serde(default)]
    pub disposition_choice: DispositionChoice,
}

/// Who of the two is called first when a contact is called back.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CallbackFirst {
    /// The agent, as soon as one is free; the contact is called when the agent is there, and never waits.
    #[default]
    Agent,
    /// The contact, as soon as an agent is free, who is held ready and rung once the contact answers: no agent waits for a
    /// contact that does not. If that agent does not come to the telephone, the contact goes before all others, and for 2
    /// minutes at most.
    Contact,
}

/// What may have come of a contact.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.name != 'none'").message("name must not be none: that is what records say where the agent named nothing").field_path(".name"))]
#[serde(rename_all = "camelCase")]
pub struct Disposition {
    /// As records and reports have it; not `none`. Unique in the list. Example: `sale`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// What the agent chooses from. At most 128 characters. Example: `Has bought something`.
    #[schemars(length(min = 1, max = 128))]
    pub title: String,
}

/// Whether an agent must name a disposition.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DispositionChoice {
    /// It may be left out; records then say `none`.
    #[default]
    Optional,
    /// The work after the contact is done with it only, or when its time is over; records then say `none`.
    Required,
}

const fn default_priority() -> i32 {
    5
}

const fn default_ring_seconds() -> i32 {
    15
}

fn default_channels() -> Vec<Channel> {
    vec![Channel::Voice]
}

/// A skill that a contact needs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueSkill {
    /// One of the Tenant's `skills`. Unique in the list. Example: `billing`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// The least level. 1 to 10; absent: 1.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "default_minimum")]
    pub minimum: i32,

    /// How the least level sinks while a contact waits. At most 10.
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(a, self.exists_one(b, a.afterSeconds == b.afterSeconds))").message("relax must not name one afterSeconds twice"))]
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relax: Vec<Relaxation>,
}

const fn default_minimum() -> i32 {
    1
}

/// A lower level after a wait.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relaxation {
    /// After so long a wait. 1 to 3,600. Example: `30`.
    #[schemars(range(min = 1, max = 3_600))]
    pub after_seconds: i32,

    /// The least level from then on; 0: the skill is not needed any more. 0 to 10. Example: `2`.
    #[schemars(range(min = 0, max = 10))]
    pub minimum: i32,
}

/// Which of the free agents is offered a contact.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Selection {
    /// The one who has been free for longest.
    #[default]
    LongestIdle,
    /// The one with the highest levels; among equals the longest idle.
    MostSkilled,
    /// The one with the lowest levels that suffice, so that the best stay free.
    LeastSkilled,
    /// One after another.
    RoundRobin,
    /// The one who has had the least to do of late; what lies half an hour back counts little more than a third.
    LeastOccupied,
}

/// What is aimed for.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLevel {
    /// So many of a hundred contacts. 1 to 100; absent: 80.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "default_percent")]
    pub percent: i32,

    /// Answered within so long. 1 to 3,600; absent: 20.
    #[schemars(range(min = 1, max = 3_600))]
    #[serde(default = "default_seconds")]
    pub seconds: i32,
}

impl Default for ServiceLevel {
    fn default() -> Self {
        Self { percent: default_percent(), seconds: default_seconds() }
    }
}

const fn default_percent() -> i32 {
    80
}

const fn default_seconds() -> i32 {
    20
}

/// Bounds of a queue.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueLimits {
    /// Contacts at once; one more takes `full`. 1 to 10,000; absent: 500.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default = "default_contacts")]
    pub contacts: i32,

    /// Longest wait; then the contact takes `timedOut`. 1 to 86,400; absent: 1,800.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default = "default_wait_seconds")]
    pub wait_seconds: i32,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { contacts: default_contacts(), wait_seconds: default_wait_seconds() }
    }
}

const fn default_contacts() -> i32 {
    500
}

const fn default_wait_seconds() -> i32 {
    1_800
}

/// What a waiting caller may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WaitFigure {
    /// How many go before it.
    Position,
    /// How long it will still wait, by the pace at which contacts were answered of late.
    Wait,
}

/// What waiting callers are told.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.prompt) || has(self.say)").message("an announcement must have prompt, say or both"))]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// A Prompt of this namespace. Absent: only what `say` says. Example: `please-wait`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// What is spoken after it, in the contact's language: that of the flow's variable `language`, else the Tenant's first. An
    /// expected wait that is not known yet is left out. Absent: nothing. 1 to 2. Example: `[Position, Wait]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 2))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<Vec<WaitFigure>>,

    /// After so long a time since the last one, or since the beginning. 1 to 3,600. Example: `45`.
    #[schemars(range(min = 1, max = 3_600))]
    pub after_seconds: i32,
}
