//! `CallTest`: a simulated call and what must come of it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{E164, OBJECT_NAME, ObjectRef, SIP_USER, Status, TIME, VARIABLE};

/// A simulated call and what must come of it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "CallTest",
    doc = "A simulated call and what must come of it.",
    namespaced,
    status = "Status",
    shortname = "ctest",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "To", type_ = "string", json_path = ".spec.call.to"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".spec.expect.outcome"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
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
pub struct CallTestSpec {
    /// The call.
    pub call: TestCall,

    /// Agents who are there; all others are not. At most 100.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<TestAgent>,

    /// Whom flows ring that is no agent, and what they do; one that is not named rings and does not answer. At most 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callees: Vec<TestCallee>,

    /// BusinessHours that are not as the calendar says. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<TestHours>,

    /// Queues that others have come to before. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<TestQueue>,

    /// What every `split` draws: a number from 0 to 99, so that parts of 10 and 20 percent have 0 to 9 and 10 to 29.
    /// Absent: by lot, the same each time.
    #[schemars(range(min = 0, max = 99))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<i32>,

    /// Whether messages and recordings can be stored. Absent: `Works`.
    #[serde(default)]
    pub store: TestStore,

    /// What Integrations answer, to requests and to the SMS that they are given to send; one that is not named fails. At most 32.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["integration".into()]))]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<TestResponse>,

    /// What the caller does, in this order. Empty: listens. At most 100.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Act>,

    /// What must come of it.
    pub expect: Expectation,
}

/// A call to simulate.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestCall {
    /// The caller's number, in E.164. Absent: withheld. Example: `"+12125550142"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,

    /// The number that is called, in E.164. Example: `"+18005550100"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    pub to: String,

    /// When (RFC 3339). Absent: Monday, 2026-06-15 at noon, UTC. Example: `2026-06-15T10:00:00-04:00`.
    #[schemars(length(min = 20, max = 35), regex(pattern = TIME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,

    /// The trunk it comes by. Absent: that of the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk_ref: Option<ObjectRef>,
}

/// An agent who is there.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestAgent {
    /// An Agent of this namespace. Unique in the list. Example: `ada`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// What the agent does when offered a contact. Absent: `Answers`.
    #[serde(default)]
    pub behaviour: AgentBehaviour,

    /// After so long a ringing. 0 to 120; absent: 3.
    #[schemars(range(min = 0, max = 120))]
    #[serde(default = "default_answer_seconds")]
    pub after_seconds: i32,

    /// Hangs up after talking for so long. 1 to 86,400; absent: never.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk_seconds: Option<i32>,
}

const fn default_answer_seconds() -> i32 {
    3
}

/// What an agent does when offered a contact.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AgentBehaviour {
    /// Takes it.
    #[default]
    Answers,
    /// Says no (603).
    Declines,
    /// Talks to somebody else (486).
    Busy,
    /// Lets it ring.
    Ignores,
}

/// Somebody who is rung and is no agent.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.number) != has(self.extension)")
        .message("a callee must have exactly one of number and extension"))]
#[serde(rename_all = "camelCase")]
pub struct TestCallee {
    /// A telephone number, in E.164. Example: `"+16175550150"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,

    /// An extension of a PBX. Exactly one of `number` and `extension` stands. Example: `"200"`.
    #[schemars(length(min = 1, max = 64), regex(pattern = SIP_USER))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,

    /// What the callee does when rung. Absent: `Answers`.
    #[serde(default)]
    pub behaviour: CalleeBehaviour,

    /// After so long a ringing. 0 to 120; absent: 3.
    #[schemars(range(min = 0, max = 120))]
    #[serde(default = "default_answer_seconds")]
    pub after_seconds: i32,

    /// Hangs up after talking for so long. 1 to 86,400; absent: never.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk_seconds: Option<i32>,
}

/// What a callee does when rung.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CalleeBehaviour {
    /// Takes the call.
    #[default]
    Answers,
    /// Talks to somebody else (486).
    Busy,
    /// Lets it ring.
    Ignores,
    /// Cannot be reached (500).
    Fails,
}

/// BusinessHours that are not as the calendar says.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestHours {
    /// A BusinessHours of this namespace. Unique in the list. Example: `office`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// What it is, all the time.
    pub state: HoursState,
}

/// What BusinessHours are.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HoursState {
    /// Somebody is there.
    Open,
    /// Nobody is there.
    Closed,
    /// A holiday.
    Holiday,
}

/// A queue that others have come to before.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestQueue {
    /// A Queue of this namespace. Unique in the list. Example: `sales`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// So many contacts have come before this one: agents who are there take them first, and for each who leaves another
    /// comes five seconds later. A queue takes nobody while no agent is there who serves it. 1 to 1,000.
    #[schemars(range(min = 1, max = 1000))]
    pub waiting: i32,
}

/// Whether sounds can be stored.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TestStore {
    /// They can.
    #[default]
    Works,
    /// They cannot: the disk is full.
    Fails,
}

/// What an Integration answers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResponse {
    /// An Integration of this namespace. Unique in the list. Example: `crm`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub integration: String,

    /// HTTP status. 100 to 599; absent: 200.
    #[schemars(range(min = 100, max = 599))]
    #[serde(default = "default_status")]
    pub status: i32,

    /// Body, JSON in quotes. Absent: empty. At most 4,096 characters. Example: `'{"vip": true}'`.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,

    /// After so long. 0 to 120; absent: 0.
    #[schemars(range(min = 0, max = 120))]
    #[serde(default)]
    pub after_seconds: i32,
}

const fn default_status() -> i32 {
    200
}

/// Something the caller does.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(has(self.hear) ? 1 : 0) + (has(self.waitSeconds) ? 1 : 0) + (has(self.press) ? 1 : 0) + (has(self.say) ? 1 : 0) + (has(self.hangUp) ? 1 : 0) == 1")
        .message("an act must have exactly one of hear, waitSeconds, press, say and hangUp"))]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// Listens until this Prompt has been heard, once more than by the acts before; of what is played again and again, until
    /// it begins. Example: `menu`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hear: Option<String>,

    /// Waits so long. 1 to 86,400.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<i32>,

    /// Presses keys, five a second, once the call is answered. At most 32 of `0` to `9`, `*` and `#`. Example: `"1"`.
    #[schemars(length(min = 1, max = 32), regex(pattern = TEST_KEYS))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub press: Option<String>,

    /// Says something, once somebody listens or a message is taken. At most 256 characters. Example: `billing`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,

    /// Hangs up. Exactly one of `hear`, `waitSeconds`, `press`, `say` and `hangUp` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hang_up: Option<HangUp>,
}

/// Keys that a caller presses.
pub const TEST_KEYS: &str = "^[0-9*#]{1,32}$";

/// Hangs up.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HangUp {
    /// After so long a wait. 0 to 86,400; absent: 0.
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(default)]
    pub after_seconds: i32,
}

/// What must come of a call.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// How it ends or where it stays. Example: `Bridged`.
    pub outcome: TestOutcome,

    /// The Queue it must have waited in. Absent: not looked at.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,

    /// The Agent it must have reached. Absent: not looked at.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,

    /// Steps that it must pass, in this order; others may come between. Those of a called flow have its name before them.
    /// Empty: not looked at. At most 100. Example: `[menu, sales, survey/lot]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 317), regex(pattern = TEST_STEP)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,

    /// Steps that it must not come to. Empty: not looked at. At most 100. Example: `[apology]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 317), regex(pattern = TEST_STEP)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never_steps: Vec<String>,

    /// Variables of the number's flow, and what they hold in the end. Empty: not looked at. At most 32.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<TestVariable>,

    /// Prompts that it must hear, in this order; others may come between. Empty: not looked at. At most 100.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,

    /// SMS that must be sent, in this order; others may come between. One is sent once its Integration, by `responses`, answers
    /// 200 to 299. Empty: not looked at. At most 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<TestMessage>,

    /// The outcome within so long, counted from the INVITE. 1 to 86,400; absent: not looked at.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<i32>,
}

/// An SMS that must be sent.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.to) || has(self.text)").message("a message must have to, text or both"))]
#[serde(rename_all = "camelCase")]
pub struct TestMessage {
    /// The number that it goes to, in E.164. Absent: not looked at. Example: `"+12125550142"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,

    /// Its whole text. Absent: not looked at. At most 1,600 characters. Example: `We call you back.`.
    #[schemars(length(min = 1, max = 1600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A step: its name, or that of a called flow, a stroke, and the step's.
pub const TEST_STEP: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// What a variable holds in the end.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestVariable {
    /// Which. Unique in the list. Example: `vip`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub name: String,

    /// Its value as text: `true`, `false`, a whole number, or what a String holds; empty is the empty String. At most 4,096
    /// characters. Example: `"true"`.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// How a simulated call ends.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TestOutcome {
    /// Somebody talks with the caller, or did until the call ended.
    Bridged,
    /// It waits in a queue, and nobody is being rung.
    Queued,
    /// A message was left.
    Voicemail,
    /// The flow ended it.
    Completed,
    /// The caller hung up before any of that.
    Abandoned,
    /// It was refused before it was answered.
    Rejected,
    /// Something failed that no step handles, or it was ended for its length.
    Failed,
}
