//! `VoicemailBox`: where voicemail goes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EMAIL, LocalRef, OBJECT_NAME, Status};

/// Where voicemail goes: addresses, agents or a queue.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "VoicemailBox",
    doc = "Where voicemail goes: addresses, agents or a queue.",
    namespaced,
    status = "Status",
    shortname = "vmb",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Greeting", type_ = "string", json_path = ".spec.greeting"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queueRef.name"),
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
#[x_kube(validation = Rule::new("(has(self.emails) && self.emails.size() > 0) || has(self.queueRef) || (has(self.agentRefs) && self.agentRefs.size() > 0)")
        .message("a box must have emails, queueRef or agentRefs: else nobody hears a message"))]
#[serde(rename_all = "camelCase")]
pub struct VoicemailBoxSpec {
    /// A Prompt of this namespace that callers hear before they speak. Absent: a tone alone. Example: `after-hours`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<String>,

    /// Addresses that a message is sent to. At most 16. Example: `[support@example.com]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 16), inner(length(min = 3, max = 254), regex(pattern = EMAIL)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,

    /// A Queue of this namespace that each message becomes work of. Absent: of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_ref: Option<LocalRef>,

    /// Agents of this namespace who see the messages on their page. At most 50.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 50))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_refs: Vec<LocalRef>,

    /// Longest message, in seconds; then it is ended with a tone. 1 to 600; absent: 180.
    #[schemars(range(min = 1, max = 600))]
    #[serde(default = "default_message_seconds")]
    pub message_seconds: i32,

    /// Speech that a message must have to be kept, in seconds; one with less is thrown away. 0 to 60; absent: 1.
    #[schemars(range(min = 0, max = 60))]
    #[serde(default = "default_min_seconds")]
    pub min_seconds: i32,

    /// Silence that ends a message, in seconds. 1 to 60; absent: 5.
    #[schemars(range(min = 1, max = 60))]
    #[serde(default = "default_silence_seconds")]
    pub silence_seconds: i32,

    /// A Prompt of this namespace that is played after each message, and should say so: key 1 keeps it, 2 plays it, 3 takes
    /// another in its place. Whoever hangs up or presses nothing has it kept. Absent: each message is kept as it is.
    /// Example: `message-menu`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,

    /// Messages that the box holds; one more pushes out the oldest that was heard, or the call takes `failed`. 1 to
    /// 10,000; absent: 1,000.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default = "default_messages")]
    pub messages: i32,

    /// After so many days a message is deleted. 1 to 3,650; absent: 30.
    #[schemars(range(min = 1, max = 3_650))]
    #[serde(default = "default_retention_days")]
    pub retention_days: i32,

    /// Whether messages are written down. Absent: `Disabled`.
    #[serde(default)]
    pub transcription: Transcription,
}

const fn default_message_seconds() -> i32 {
    180
}

const fn default_min_seconds() -> i32 {
    1
}

const fn default_silence_seconds() -> i32 {
    5
}

const fn default_messages() -> i32 {
    1_000
}

const fn default_retention_days() -> i32 {
    30
}

/// Whether speech is written down.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transcription {
    /// Never.
    #[default]
    Disabled,
    /// Always, and sent along.
    Enabled,
}
