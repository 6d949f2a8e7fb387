//! `RoutingFlow`: the path of an interaction, as a list of named steps.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod connect;
mod decide;
mod talk;

pub use connect::*;
pub use decide::*;
pub use talk::*;

use super::{LABEL, Status, VARIABLE};

/// The path of an interaction: named steps, of which each has one verb.
///
/// Each outcome of a step names the step that follows; where it names none, the next step of the list follows. A
/// failure that a step does not handle goes to `onError`; the next one, unless the contact did something meanwhile, ends
/// the call. After its last step a flow that others `call`, and nothing else leads to, goes back to its caller.
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
    /// Variables that expressions may use and steps may set. A String `language` holds the tag of the language (BCP 47) in which
    /// the contact hears Prompts that have translations; empty: each Prompt's own. At most 64.
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
    /// As expressions call it: a small letter, then letters, digits and `_`; not `contact`, `call`, `body` or `status`.
    /// At most 63 characters. Example: `visits`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    #[x_kube(validation = Rule::new("!(self in ['contact', 'call', 'body', 'status'])").message("name must not be contact, call, body or status: these mean something in every flow"))]
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
#[x_kube(validation = Rule::new("[has(self.play), has(self.ask), has(self.hours), has(self.branch), has(self.set), has(self.request), has(self.queue), has(self.callback), has(self.dial), has(self.transfer), has(self.voicemail), has(self.record), has(self.call), has(self.split), has(self.message), has(self.wait), has(self.hangup)].filter(x, x).size() == 1")
    .message("a step must have exactly one verb: play, ask, hours, branch, set, request, queue, callback, dial, transfer, voicemail, record, call, split, message, wait or hangup"))]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Unique in the flow; other steps name it. At most 63 characters. Example: `menu`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// Plays prompts to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub play: Option<Box<Play>>,

    /// Plays a prompt and takes keys or words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Box<Ask>>,

    /// Goes by business hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Box<Hours>>,

    /// Goes by the first condition that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Box<Branch>>,

    /// Gives variables their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Box<Set>>,

    /// Asks an Integration and keeps what it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<Request>>,

    /// Lets the contact wait for an agent, and joins both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Box<QueueStep>>,

    /// Promises to call the contact back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Box<Callback>>,

    /// Rings others and joins the first who answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Box<Dial>>,

    /// Hands the contact on; the flow is at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Box<Transfer>>,

    /// Takes a message for a VoicemailBox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voicemail: Option<Box<Voicemail>>,

    /// Turns the recording of the call on and off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<Record>>,

    /// Runs another flow and comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<Call>>,

    /// Goes by lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Box<Split>>,

    /// Writes to the contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<MessageStep>>,

    /// Lets time pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Box<Wait>>,

    /// Ends the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hangup: Option<Box<Hangup>>,
}

impl Step {
    /// Names of the verbs that stand in it, in the order of this type; one, if it is as it should be.
    #[must_use]
    pub fn verbs(&self) -> Vec<&'static str> {
        let there = [
            ("play", self.play.is_some()),
            ("ask", self.ask.is_some()),
            ("hours", self.hours.is_some()),
            ("branch", self.branch.is_some()),
            ("set", self.set.is_some()),
            ("request", self.request.is_some()),
            ("queue", self.queue.is_some()),
            ("callback", self.callback.is_some()),
            ("dial", self.dial.is_some()),
            ("transfer", self.transfer.is_some()),
            ("voicemail", self.voicemail.is_some()),
            ("record", self.record.is_some()),
            ("call", self.call.is_some()),
            ("split", self.split.is_some()),
            ("message", self.message.is_some()),
            ("wait", self.wait.is_some()),
            ("hangup", self.hangup.is_some()),
        ];
        there.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
}
