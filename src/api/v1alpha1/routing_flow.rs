//! `RoutingFlow`: the path of an interaction, as a list of named steps.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{E164, LABEL, OBJECT_NAME, ObjectRef, Status, VARIABLE};

/// The path of an interaction: named steps, of which each has one verb.
///
/// Each outcome of a step names the step that follows; where it names none, the next step of the list follows. A
/// failure that a step does not handle goes to `onError`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "RoutingFlow",
    doc = "The path of an interaction, as a list of named steps.",
    namespaced,
    status = "Status",
    shortname = "flow",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "First", type_ = "string", json_path = ".spec.steps[0].name"),
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
pub struct RoutingFlowSpec {
    /// Variables that expressions may use and steps may set. At most 64.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,

    /// The step that a failure goes to which its own step does not handle. Absent: the call ends. Example: `apology`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<String>,

    /// The steps; the first one begins. 1 to 500, their names unique.
    // 500 × 500 comparisons would exceed what the API server spends on one evaluation; beyond 300 the planner alone
    // compares.
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 300 || self.all(s, self.exists_one(t, t.name == s.name))").message("names of steps must be unique")
    )]
    #[schemars(length(min = 1, max = 500))]
    pub steps: Vec<Step>,
}

/// A variable of a flow.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// As expressions call it: a small letter, then letters, digits and `_`; not `contact` and not `call`. At most 63
    /// characters. Example: `visits`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    #[x_kube(validation = Rule::new("!(self in ['contact', 'call'])").message("name must not be contact or call: every flow has these"))]
    pub name: String,

    /// What it holds.
    #[serde(rename = "type")]
    pub kind: VariableType,

    /// What it holds at first: `true` or `false`, a whole number, or text, in quotes. Absent: `false`, 0, or empty. At
    /// most 256 characters. Example: `"0"`.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
}

/// What a variable holds.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VariableType {
    /// True or false.
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// Text of at most 4,096 bytes.
    String,
}

/// A step: its name and exactly one verb.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(has(self.play) ? 1 : 0) + (has(self.ask) ? 1 : 0) + (has(self.hours) ? 1 : 0) + (has(self.branch) ? 1 : 0) + (has(self.set) ? 1 : 0) + (has(self.dial) ? 1 : 0) + (has(self.hangup) ? 1 : 0) == 1")
    .message("a step must have exactly one verb: play, ask, hours, branch, set, dial or hangup"))]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Unique in the flow; other steps name it. At most 63 characters. Example: `menu`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// Plays prompts to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub play: Option<Play>,

    /// Plays a prompt and takes keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,

    /// Goes by business hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,

    /// Goes by the first condition that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,

    /// Gives variables their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,

    /// Rings others and joins the first who answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Dial>,

    /// Ends the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hangup: Option<Hangup>,
}

/// Plays prompts to the end. Answers the call, unless `early`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.prompt) != has(self.prompts)").message("play must have exactly one of prompt and prompts"))]
#[serde(rename_all = "camelCase")]
pub struct Play {
    /// A Prompt of this namespace. Example: `welcome`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// Prompts of this namespace, one after the other. 1 to 16. Exactly one of `prompt` and `prompts` stands.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<String>>,

    /// Whether the prompts are played before the call is answered (early media, RFC 3960), so that the caller is not
    /// charged for them. Absent: no.
    #[serde(default)]
    pub early: bool,

    /// The step after the last prompt. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Plays a prompt and takes keys: one of `choices`, or `digits` into a variable.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.choices) != has(self.digits)").message("ask must have exactly one of choices and digits"))]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// A Prompt of this namespace; a key stops it. Absent: silence. Example: `main-menu`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// Silence after the prompt that counts as no input. 1 to 60; absent: 5.
    #[schemars(range(min = 1, max = 60))]
    #[serde(default = "default_timeout")]
    pub timeout_seconds: i32,

    /// Silence between two keys that ends the input. 1 to 30; absent: 3.
    #[schemars(range(min = 1, max = 30))]
    #[serde(default = "default_inter_digit")]
    pub inter_digit_seconds: i32,

    /// How often it is asked in one visit before `noInput` or `noMatch` is taken. 1 to 10; absent: 3.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "default_attempts")]
    pub attempts: i32,

    /// A Prompt of this namespace, played before asking again after a wrong key. Absent: the question alone.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_prompt: Option<String>,

    /// How often a call may come to this step; once more, and `noMatch` is taken at once. 1 to 100; absent: no bound of
    /// its own.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_visits: Option<i32>,

    /// What the keys mean; no choice's keys may begin another's. 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Choice>>,

    /// Digits that go into a variable. Exactly one of `choices` and `digits` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<Digits>,

    /// Whether the digits are masked in logs, records and recordings. Absent: no.
    #[serde(default)]
    pub secret: bool,

    /// The step after silence in every attempt. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_input: Option<String>,

    /// The step after a wrong key in the last attempt. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_match: Option<String>,
}

const fn default_timeout() -> i32 {
    5
}

const fn default_inter_digit() -> i32 {
    3
}

const fn default_attempts() -> i32 {
    3
}

/// A choice of a menu.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// 1 to 8 keys of `0` to `9`, `*` and `#`, in quotes. Example: `"1"`.
    #[schemars(length(min = 1, max = 8), regex(pattern = KEYS))]
    pub digits: String,

    /// The step that follows.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub next: String,
}

/// Keys of a telephone.
pub const KEYS: &str = "^[0-9*#]{1,8}$";

/// Digits that go into a variable.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.min <= self.max").message("max must not be less than min").field_path(".max"))]
#[serde(rename_all = "camelCase")]
pub struct Digits {
    /// A variable of type String. Example: `account`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub variable: String,

    /// At least so many. 1 to 32; absent: 1.
    #[schemars(range(min = 1, max = 32))]
    #[serde(default = "default_min")]
    pub min: i32,

    /// At most so many; the last one ends the input. 1 to 32. Example: `10`.
    #[schemars(range(min = 1, max = 32))]
    pub max: i32,

    /// A key that ends the input and is no part of it, `"#"` or `"*"`. Absent: none.
    #[schemars(length(min = 1, max = 1), regex(pattern = TERMINATOR))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminator: Option<String>,

    /// The step after enough digits. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A key that can end an input.
pub const TERMINATOR: &str = "^[*#]$";

const fn default_min() -> i32 {
    1
}

/// Goes by business hours.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hours {
    /// A BusinessHours of this namespace. Example: `support`.
    #[serde(rename = "ref")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub reference: String,

    /// The step within the hours. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,

    /// The step outside them.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub closed: String,

    /// The step on a holiday. Absent: `closed`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holiday: Option<String>,
}

/// Goes by the first condition that holds.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    /// In order. 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 32))]
    pub cases: Vec<Case>,

    /// The step where none holds. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
}

/// A condition and the step it leads to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// A CEL expression that gives true or false. At most 1,024 characters. Example:
    /// `contact.number.startsWith("+1212")`.
    #[schemars(length(min = 1, max = 1_024))]
    pub when: String,

    /// The step that follows.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub next: String,
}

/// Gives variables their values.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Set {
    /// In order. 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 32))]
    pub values: Vec<Assignment>,

    /// The step that follows. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A variable and its new value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// One of `spec.variables`. Example: `visits`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub variable: String,

    /// A CEL expression that gives what the variable holds. At most 1,024 characters. Example: `visits + 1`.
    #[schemars(length(min = 1, max = 1_024))]
    pub value: String,
}

/// Rings others and joins the first who answers.
///
/// As the first verb of a flow it relays the ringing, and the call is answered when the callee answers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dial {
    /// Whom, in order. 1 to 16.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 16))]
    pub to: Vec<Target>,

    /// One after the other, or all at once. Absent: `InOrder`.
    #[serde(default)]
    pub strategy: DialStrategy,

    /// How long each try rings. 1 to 300; absent: 20.
    #[schemars(range(min = 1, max = 300))]
    #[serde(default = "default_ring")]
    pub ring_seconds: i32,

    /// Number that a telephone called by `number` shows; it must be granted to this namespace. Absent: the Tenant's
    /// `defaultCallerId`. Example: `"+12125550100"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,

    /// The step after a conversation that the callee ended. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step after a busy callee. Absent: a failure. Where `busy`, `noAnswer`, `failed` and `onError` are all absent,
    /// the callee's own answer is relayed to a caller who is not answered yet, and the call ends.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,

    /// The step after nobody answered in time. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<String>,

    /// The step after all else. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

const fn default_ring() -> i32 {
    20
}

/// Whom a `dial` rings: a telephone number, or an extension of a PBX.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.number) != has(self.extension)").message("a target must have exactly one of number and extension"))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A telephone number, in E.164, by the Tenant's `outboundTrunks`. Example: `"+12125550199"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,

    /// An extension of a PBX. Exactly one of `number` and `extension` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
}

/// An extension of a PBX.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// The PBX's trunk, of this namespace.
    pub trunk_ref: ObjectRef,

    /// User part of the SIP address that is called. At most 64 characters. Example: `"201"`.
    #[schemars(length(min = 1, max = 64), regex(pattern = SIP_USER))]
    pub user: String,
}

/// The user part of a SIP URI without escapes (RFC 3261 §25.1).
pub const SIP_USER: &str = r"^[-A-Za-z0-9_.!~*'()&=+$,;?/]{1,64}$";

/// In which order targets ring.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialStrategy {
    /// One after the other.
    #[default]
    InOrder,
    /// All at once; the first who answers wins.
    Simultaneous,
}

/// Ends the call.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.prompt) || !has(self.reject)")
    .message("hangup may not have both prompt and reject: a rejected call hears nothing"))]
#[serde(rename_all = "camelCase")]
pub struct Hangup {
    /// A Prompt of this namespace, played first. Absent: none. Example: `goodbye`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// How a call that is not answered yet is refused. Absent: it is answered and ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<Rejection>,
}

/// How a call that is not answered yet is refused.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// 486.
    Busy,
    /// 603.
    Decline,
    /// 404.
    NotFound,
    /// 480.
    Unavailable,
    /// 403.
    Forbidden,
}
