//! Verbs that bring somebody else in: a callee, an agent out of a queue, or a message.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::{CallbackFirst, E164, LABEL, OBJECT_NAME, ObjectRef};

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

/// Who is rung: a telephone number, an extension of a PBX, or an agent.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("[has(self.number), has(self.extension), has(self.agent)].filter(x, x).size() == 1").message("a target must have exactly one of number, extension and agent"))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A telephone number, in E.164, by the Tenant's `outboundTrunks`. Example: `"+12125550199"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,

    /// An extension of a PBX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,

    /// An Agent of this namespace: all its phones that have registered, and its telephones, ring at once. An agent none of
    /// whose phones is at hand has not answered. Exactly one of `number`, `extension` and `agent` stands. Example:
    /// `reception`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
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

/// Hands the contact on: rings somebody, joins both, and the flow is at its end.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// To whom. To hand a contact to a queue there is `queue`, to another flow `call`.
    pub to: Target,

    /// How. Absent: `Blind`.
    #[serde(default)]
    pub kind: TransferKind,

    /// How long it rings. 1 to 300; absent: 20.
    #[schemars(range(min = 1, max = 300))]
    #[serde(default = "default_ring")]
    pub ring_seconds: i32,

    /// The number that a callee by `number` sees, granted to this namespace. Absent: the Tenant's `defaultCallerId`.
    /// Example: `"+12125550100"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,

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

/// How a contact is handed on.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferKind {
    /// We ring and join, and the call stays with us until somebody hangs up.
    #[default]
    Blind,
    /// The caller's side is asked to call the target itself (REFER, RFC 3515), and we leave once it has; where it does
    /// not, as `Blind`.
    Refer,
}

/// Lets the contact wait for an agent, and joins both. Answers the call.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStep {
    /// A Queue of this namespace. Example: `sales`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(rename = "ref")]
    pub reference: String,

    /// A CEL expression that gives a whole number: higher goes first. Below 0 it counts as 0, above 9 as 9. Absent: the
    /// Queue's `priority`. At most 1,024 characters. Example: `"vip ? 9 : 5"`.
    #[schemars(length(min = 1, max = 1_024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,

    /// Longest wait at this step; then `timedOut` is taken. 1 to 86,400; absent: the Queue's `limits.waitSeconds`.
    /// Example: `300`.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_seconds: Option<i32>,

    /// The step after a conversation that the agent ended. Absent: the call ends.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step after the longest wait. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<String>,

    /// The step where the queue holds as many contacts as it may. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,

    /// The step where no agent who serves the queue is signed in, or the last one signs out. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_agents: Option<String>,
}

/// Promises to call the contact back when its turn in a queue comes. Answers the call.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Callback {
    /// A Queue of this namespace. Example: `sales`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub queue: String,

    /// Whether the place is kept that the contact had when it waited in this queue last. Absent: no, it begins at the
    /// end.
    #[serde(default)]
    pub keep_place: bool,

    /// A CEL expression that gives the number to call, in E.164. Absent: `contact.number`. At most 1,024 characters.
    /// Example: `"+1" + digits`.
    #[schemars(length(min = 1, max = 1_024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,

    /// How often the contact is dialled at most, until somebody answers. 1 to 10; absent: 3.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "default_attempts")]
    pub attempts: i32,

    /// How long after a call that nobody answered the next one is, at the place that the contact had. 10 to 86,400; absent: 300.
    #[schemars(range(min = 10, max = 86_400))]
    #[serde(default = "default_retry_seconds")]
    pub retry_seconds: i32,

    /// Who is called first. Absent: whoever the Queue's `callbackFirst` says. Example: `Contact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<CallbackFirst>,

    /// The step after the promise. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step where the number is withheld, may not be dialled, or the queue is full. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

const fn default_attempts() -> i32 {
    3
}

const fn default_retry_seconds() -> i32 {
    300
}

/// Writes to the contact: an answer in the chat or mail it wrote by, an SMS to whoever calls.
///
/// An SMS is sent by a ContactPoint with `sms` of this namespace: that of the number that was called, else the first by name
/// whose number is live. Its Integration is sent `POST` with the JSON object `{"id", "from", "to", "text"}`, all of them
/// strings: both numbers in E.164, and an id that a request which is sent once more, since its connection broke, bears again
/// (it is the header `Idempotency-Key`, too). Whatever it answers from 200 to 299 within its `timeoutSeconds` is `next`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageStep {
    /// A CEL expression that gives the text. Of an SMS, at most 1,600 characters are sent. At most 1,024 characters.
    /// Example: `"'We called you back at ' + contact.number"`.
    #[schemars(length(min = 1, max = 1_024))]
    pub text: String,

    /// A CEL expression that gives a number, in E.164, that an SMS is sent to; its country and cost must be among the Tenant's
    /// `dialling`. Absent: the contact itself, on its own channel; a caller gets an SMS at `contact.number`. At most 1,024
    /// characters. Example: `mobile`.
    #[schemars(length(min = 1, max = 1_024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,

    /// The step after the message was handed over. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step where it cannot be sent: a withheld number, one that may not be reached, no SMS service, or one that answers
    /// something else, or not in time. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
