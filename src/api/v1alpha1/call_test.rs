//! `CallTest`: a simulated call and what must come of it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{E164, LABEL, OBJECT_NAME, ObjectRef, Status, TIME};

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

    /// What Integrations answer; one that is not named fails. At most 32.
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
    /// Says no.
    Declines,
    /// Lets it ring.
    Ignores,
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
}

const fn default_status() -> i32 {
    200
}

/// Something the caller does.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(has(self.waitSeconds) ? 1 : 0) + (has(self.press) ? 1 : 0) + (has(self.say) ? 1 : 0) + (has(self.hangUp) ? 1 : 0) == 1")
        .message("an act must have exactly one of waitSeconds, press, say and hangUp"))]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// Waits so long. 1 to 86,400.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<i32>,

    /// Presses keys. At most 32 of `0` to `9`, `*` and `#`. Example: `"1"`.
    #[schemars(length(min = 1, max = 32), regex(pattern = TEST_KEYS))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub press: Option<String>,

    /// Says something. At most 256 characters. Example: `billing`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,

    /// Hangs up. Exactly one of `waitSeconds`, `press`, `say` and `hangUp` stands.
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

    /// Steps of the flow that it must pass, in this order; others may come between. Empty: not looked at. At most 100.
    /// Example: `[menu, sales]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,

    /// Prompts that it must hear, in this order; others may come between. Empty: not looked at. At most 100.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,

    /// All of that within so long. 1 to 86,400; absent: not looked at.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<i32>,
}

/// How a simulated call ends.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TestOutcome {
    /// Somebody talks with the caller.
    Bridged,
    /// It waits.
    Queued,
    /// A message was left.
    Voicemail,
    /// The flow ended it.
    Completed,
    /// It was never answered.
    Rejected,
}
