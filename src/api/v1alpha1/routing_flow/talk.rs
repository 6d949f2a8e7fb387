//! Verbs by which the contact hears, says or presses something, and the end of the call.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::{LABEL, OBJECT_NAME, VARIABLE};

/// Plays prompts to the end, then says something. Answers the call, unless `early`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!(has(self.prompt) && has(self.prompts))").message("play must have at most one of prompt and prompts"))]
#[x_kube(validation = Rule::new("has(self.prompt) || has(self.prompts) || has(self.say)").message("play must have prompt, prompts or say"))]
#[serde(rename_all = "camelCase")]
pub struct Play {
    /// A Prompt of this namespace. Example: `welcome`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// Prompts of this namespace, one after the other. 1 to 16. At most one of `prompt` and `prompts` stands.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<String>>,

    /// What is spoken after them, worked out when it is its turn. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<Say>,

    /// Whether it is heard before the call is answered (early media, RFC 3960), so that the caller is not
    /// charged for it. Absent: no.
    #[serde(default)]
    pub early: bool,

    /// The step after the last prompt. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Speaks a value in the contact's language: that of the variable `language`, else the Tenant's first.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Say {
    /// A CEL expression that gives an Integer for `pronunciation: Number`, else text. At most 1,024 characters. What it gives is
    /// at most 1,000 characters long. Example: `'Your ticket is ' + ticket`.
    #[schemars(length(min = 1, max = 1_024))]
    pub value: String,

    /// How it is read. Absent: Text.
    #[serde(default)]
    pub pronunciation: Pronunciation,
}

/// How a value is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pronunciation {
    /// As it stands.
    #[default]
    Text,
    /// A whole number.
    Number,
    /// Digit by digit, in groups, as telephone numbers are read.
    Digits,
    /// The day of a date (`2026-12-24`) or of a time with one (RFC 3339).
    Date,
    /// A time of day (`14:05`), or that of a time with a date, as it stands there.
    Time,
}

/// Plays a prompt and takes keys or words: one of `choices`, or `digits` into a variable.
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

/// A choice of a menu: keys, and perhaps words.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// 1 to 8 keys of `0` to `9`, `*` and `#`, in quotes; every choice has them, since not everybody can speak.
    /// Example: `"1"`.
    #[schemars(length(min = 1, max = 8), regex(pattern = KEYS))]
    pub digits: String,

    /// What can be said instead of pressing the keys, in the language of the step's prompt where that is a text to speak, else
    /// in the first of the Tenant's; case and spaces do not matter, and no two choices of a step may have one phrase. Empty:
    /// keys alone. At most 16, of at most 64 characters each, and 64 at one step. Example: `[sales, buy something]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64), regex(pattern = PHRASE)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,

    /// The step that follows.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub next: String,
}

/// Words that can be said: letters, digits, spaces, `'`, `.` and `-`.
pub const PHRASE: &str = r"^[\p{L}\p{N}]([\p{L}\p{M}\p{N} '.-]{0,62}[\p{L}\p{M}\p{N}.])?$";

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

/// Takes a message for a VoicemailBox. Answers the call.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voicemail {
    /// A VoicemailBox of this namespace. Example: `support`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(rename = "box")]
    pub voicemail_box: String,

    /// A Prompt of this namespace that is played before the tone. Absent: the box's own greeting. Example: `closed`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<String>,

    /// Longest message, in seconds; then it is ended with a tone and kept. 1 to 600; absent: the box's `messageSeconds`.
    /// Example: `120`.
    #[schemars(range(min = 1, max = 600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<i32>,

    /// The step after a message that was ended by a key, by silence or by its length. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step where the box is full of messages that nobody has heard, or nothing can be stored. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Turns the recording of the call on and off. Answers the call.
///
/// A recording holds the contact and whoever it is joined to, and stands in the call's record.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What is done. Absent: `Start`.
    #[serde(default)]
    pub action: RecordAction,

    /// Where a recording that begins goes: into the store, to the Tenant's `recorder`, or to both. What the recorder gets is
    /// both sides of the contact's audio and who is connected; the step waits until it has answered. `Pause`, `Resume` and
    /// `Stop` hold for both. Absent: `Store`.
    #[serde(default, skip_serializing_if = "RecordTo::is_store")]
    pub to: RecordTo,

    /// The step afterwards; recording goes on meanwhile. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step where nothing can be recorded. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What is done with a call's recording.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordAction {
    /// Begins, or goes on after `Stop` in a further part.
    #[default]
    Start,
    /// Ends.
    Stop,
    /// Leaves a gap from here on, as while a card's number is said.
    Pause,
    /// Goes on after `Pause`.
    Resume,
}

/// Where a recording goes.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordTo {
    /// Into the store of recordings.
    #[default]
    Store,
    /// To the Tenant's `recorder` (SIPREC, RFC 7866).
    Recorder,
    /// To both.
    Both,
}

impl RecordTo {
    /// Whether the store alone gets it.
    #[must_use]
    pub const fn is_store(&self) -> bool {
        matches!(self, Self::Store)
    }
}

/// What the networks of the tenant's country say without words (ITU-T E.180).
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tone {
    /// A telephone rings.
    Ringback,
    /// Who was called speaks with somebody else.
    Busy,
    /// There is no way there now.
    Congestion,
    /// What was dialled cannot be had: three rising notes.
    SpecialInformation,
}

/// Lets time pass, with music, with a tone or in silence. Answers the call. Keys are kept for the next `ask`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.maxVisits) == has(self.exceeded)")
    .message("wait must have exceeded where it has maxVisits, and may have it only there"))]
#[x_kube(validation = Rule::new("!(has(self.prompt) && has(self.tone))")
    .message("wait may have prompt or tone, not both"))]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// How long. 1 to 3,600. Example: `30`.
    #[schemars(range(min = 1, max = 3_600))]
    pub seconds: i32,

    /// A Prompt of this namespace that is heard again and again meanwhile. Absent: silence. Example: `music`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// A tone that is heard meanwhile in place of a Prompt, as it sounds in the tenant's country. Absent: none. Example: `Busy`,
    /// before a `hangup`, where who was to be dialled is busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tone: Option<Tone>,

    /// How often a call may come to this step; once more, and `exceeded` is taken at once. Steps that lead back here
    /// without the contact doing anything must have it. 1 to 100; absent: no bound of its own.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_visits: Option<i32>,

    /// The step afterwards. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step after `maxVisits` visits. Stands where `maxVisits` does.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<String>,
}
