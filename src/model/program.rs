//! A routing flow, compiled: one graph of steps that the engine runs, `check` proves and `plan` compares.
//!
//! Every outcome of a step names the step that follows, by place; nothing is left to be looked up by name. Names
//! stay for people: records, explanations, diagrams.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, AudioId, E164, FlowId, HoursId, IntegrationId, QueueId, TrunkId, VoicemailBoxId, centre::First,
};

/// Most steps a flow may have.
pub const STEPS_MAX: usize = 500;

/// Most characters an expression may have.
pub const EXPRESSION_MAX: usize = 1_024;

/// Deepest that flows call each other.
pub const CALLS_MAX: usize = 8;

/// The place of a step in [`Program::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIx(pub u16);

impl StepIx {
    /// No step: the flow is at its end, and goes back to the one that called it.
    pub const RETURN: Self = Self(u16::MAX);
}

/// The place of a variable in [`Program::variables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VariableIx(pub u16);

/// A compiled flow. Its first step is its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Hex digits of the SHA-256 of the flow's canonical form: names this revision.
    pub revision: String,
    /// In the order of their declaration.
    pub variables: Vec<Variable>,
    /// 1 to [`STEPS_MAX`].
    pub steps: Vec<Step>,
    /// Where a failure goes that its step does not handle, once until the contact does something. None: to the flow that
    /// called this one, or the call ends with 500 or a BYE.
    pub on_error: Option<StepIx>,
    /// The same sound in other languages, by their tags (BCP 47): what a contact hears whose [`LANGUAGE`] is such a one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub translations: BTreeMap<AudioId, BTreeMap<String, AudioId>>,
}

/// The variable, a String, whose value is the language that a contact is spoken to in: a tag (BCP 47). Empty: each prompt's own.
pub const LANGUAGE: &str = "language";

impl Program {
    /// The first step after which the flow goes back to its caller. None: it always ends the call.
    #[must_use]
    pub fn returning(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.verb.references().0.contains(&StepIx::RETURN))
    }

    /// Flows that it calls itself, each once, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<&FlowId> {
        let calls = self.steps.iter().filter_map(|step| step.verb.calls());
        let mut calls: Vec<_> = calls.collect();
        calls.sort();
        calls.dedup();
        calls
    }
}

/// A variable of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// As expressions call it.
    pub name: String,
    /// What it holds.
    pub kind: VariableKind,
    /// Before the first `set`.
    pub initial: Value,
}

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VariableKind {
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Integer,
    /// At most 4,096 bytes of text.
    String,
}

/// A variable's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Of a [`VariableKind::Boolean`].
    Boolean(bool),
    /// Of a [`VariableKind::Integer`].
    Integer(i64),
    /// Of a [`VariableKind::String`].
    String(String),
}

impl Value {
    /// Which kind of variable can hold it.
    #[must_use]
    pub const fn kind(&self) -> VariableKind {
        match self {
            Self::Boolean(_) => VariableKind::Boolean,
            Self::Integer(_) => VariableKind::Integer,
            Self::String(_) => VariableKind::String,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
        }
    }
}

/// Source of a CEL expression, proved by the planner to compile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub String);

/// A step: its name and its one verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the flow.
    pub name: String,
    /// What it does.
    pub verb: Verb,
}

/// Where an outcome leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// To a step, or back to the calling flow.
    To(StepIx),
    /// To the flow's [`Program::on_error`].
    Failure,
    /// To the end of the call.
    End,
}

impl Leads {
    fn failure(step: Option<StepIx>) -> Self {
        step.map_or(Self::Failure, Self::To)
    }
}

/// What a step does. Each outcome names the step that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Plays prompts to the end, and says something after them.
    Play {
        /// In order.
        audio: Vec<AudioId>,
        /// What is said after them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        say: Option<Box<Say>>,
        /// Before the call is answered, as early media (183), if it is not answered yet.
        early: bool,
        /// After the last.
        next: StepIx,
    },
    /// Plays prompts and takes keys.
    Ask(Ask),
    /// Goes by business hours.
    Hours {
        /// Which.
        hours: HoursId,
        /// Within them.
        open: StepIx,
        /// Outside them.
        closed: StepIx,
        /// On a holiday.
        holiday: StepIx,
    },
    /// Goes by the first condition that holds.
    Branch {
        /// In order.
        cases: Vec<Case>,
        /// When none holds.
        otherwise: StepIx,
    },
    /// Gives variables their values, in order.
    Set {
        /// Variable and value.
        assignments: Vec<(VariableIx, Expression)>,
        /// Afterwards.
        next: StepIx,
    },
    /// Goes by lot.
    Split {
        /// In order; their percents sum to at most 100.
        parts: Vec<Part>,
        /// All other calls. None: there are no others.
        otherwise: Option<StepIx>,
    },
    /// Asks an HTTP service and keeps what it answers.
    Request(Box<Request>),
    /// Runs another flow and comes back.
    Call {
        /// Which, of the same snapshot.
        flow: FlowId,
        /// After it came back.
        next: StepIx,
        /// A failure that it does not handle. None: it is this flow's.
        failed: Option<StepIx>,
    },
    /// Lets time pass.
    Wait {
        /// How long, in milliseconds.
        ms: u32,
        /// Heard again and again; empty: silence.
        audio: Vec<AudioId>,
        /// Afterwards.
        next: StepIx,
        /// After how many visits of one call which step is taken at once. None: no bound but the engine's.
        bound: Option<(u16, StepIx)>,
    },
    /// Rings others and joins the first who answers.
    Dial(Dial),
    /// Rings somebody and joins both; the flow is at its end.
    Transfer {
        /// Whom and how long; its `ended` is None.
        dial: Dial,
        /// Whether the caller's side is asked to call by itself.
        kind: TransferKind,
    },
    /// Lets the contact wait for an agent.
    Queue(Queue),
    /// Promises to call the contact back.
    Callback {
        /// Where its turn is waited for.
        queue: QueueId,
        /// Whether it keeps the place that it had there last.
        keep_place: bool,
        /// The number, a String. None: the contact's own.
        number: Option<Expression>,
        /// How often it is dialled at most; 1 and more.
        #[serde(default = "one")]
        attempts: u8,
        /// How long after one that was in vain the next one is.
        #[serde(default)]
        retry_ms: u32,
        /// Who is called first. None: as the queue says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<First>,
        /// After the promise.
        next: StepIx,
        /// It could not be given. None: a failure of the flow.
        failed: Option<StepIx>,
    },
    /// Takes a message for a box.
    Voicemail {
        /// Which.
        voicemail_box: VoicemailBoxId,
        /// Played first; empty: the box's own greeting.
        greeting: Vec<AudioId>,
        /// Longest message, in milliseconds. None: the box's own bound.
        max_ms: Option<u32>,
        /// After a message.
        next: StepIx,
        /// None could be taken. None: a failure of the flow.
        failed: Option<StepIx>,
    },
    /// Turns the recording of the call on and off.
    Record {
        /// What is done.
        action: RecordAction,
        /// Where what begins goes.
        #[serde(default, skip_serializing_if = "RecordTo::is_store")]
        to: RecordTo,
        /// Afterwards, with the recording going on.
        next: StepIx,
        /// It cannot be recorded. None: a failure of the flow.
        failed: Option<StepIx>,
    },
    /// Writes to the contact.
    Message {
        /// A String.
        text: Expression,
        /// The number of an SMS, a String. None: the contact itself, on its own channel.
        to: Option<Expression>,
        /// After it was handed over.
        next: StepIx,
        /// It cannot be sent. None: a failure of the flow.
        failed: Option<StepIx>,
    },
    /// Ends the call.
    Hangup {
        /// Played first. A call not answered yet is answered for it, unless it is rejected.
        audio: Vec<AudioId>,
        /// How a call that is not answered yet is refused. None: it is answered and ended.
        reject: Option<Rejection>,
    },
}

impl Verb {
    /// As manifests call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Play { .. } => "play",
            Self::Ask(_) => "ask",
            Self::Hours { .. } => "hours",
            Self::Branch { .. } => "branch",
            Self::Set { .. } => "set",
            Self::Split { .. } => "split",
            Self::Request(_) => "request",
            Self::Call { .. } => "call",
            Self::Wait { .. } => "wait",
            Self::Dial(_) => "dial",
            Self::Transfer { .. } => "transfer",
            Self::Queue(_) => "queue",
            Self::Callback { .. } => "callback",
            Self::Voicemail { .. } => "voicemail",
            Self::Record { .. } => "record",
            Self::Message { .. } => "message",
            Self::Hangup { .. } => "hangup",
        }
    }

    /// Every outcome as a call's path names it, and where it leads; whoever is rung or waited for comes before what else
    /// may happen.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(String, Leads)> {
        let to = |name: &str, step: &StepIx| (name.to_owned(), Leads::To(*step));
        let failure = |name: &str, step: &Option<StepIx>| (name.to_owned(), Leads::failure(*step));
        let ended = |step: &Option<StepIx>| ("ended".to_owned(), step.map_or(Leads::End, Leads::To));
        let done = |name: &str, next: &StepIx, failed: &Option<StepIx>| {
            vec![to(name, next), failure("failed", failed)]
        };
        match self {
            Self::Play { next, .. } => vec![to("played", next)],
            Self::Ask(ask) => ask.outcomes(),
            Self::Hours { open, closed, holiday, .. } => {
                vec![to("open", open), to("closed", closed), to("holiday", holiday)]
            }
            Self::Branch { cases, otherwise } => {
                let cases = cases.iter().enumerate();
                let cases = cases.map(|(place, case)| to(&format!("case {}", place + 1), &case.next));
                cases.chain([to("otherwise", otherwise)]).collect()
            }
            Self::Set { next, .. } => vec![to("set", next)],
            Self::Split { parts, otherwise } => {
                let parts = parts.iter().enumerate();
                let parts = parts.map(|(place, part)| to(&format!("part {}", place + 1), &part.next));
                parts.chain(otherwise.iter().map(|step| to("otherwise", step))).collect()
            }
            Self::Request(request) => done("answered", &request.next, &request.failed),
            Self::Call { next, failed, .. } => done("returned", next, failed),
            Self::Wait { next, bound, .. } => {
                let exceeded = bound.iter().map(|(_, step)| to("exceeded", step));
                std::iter::once(to("waited", next)).chain(exceeded).collect()
            }
            Self::Dial(dial) | Self::Transfer { dial, .. } if dial.relay_failure => vec![ended(&dial.ended)],
            Self::Dial(dial) | Self::Transfer { dial, .. } => vec![
                ended(&dial.ended),
                failure("busy", &dial.busy),
                failure("noAnswer", &dial.no_answer),
                failure("failed", &dial.failed),
            ],
            Self::Queue(queue) => vec![
                ended(&queue.ended),
                failure("timedOut", &queue.timed_out),
                failure("full", &queue.full),
                failure("noAgents", &queue.no_agents),
            ],
            Self::Callback { next, failed, .. } => done("promised", next, failed),
            Self::Voicemail { next, failed, .. } => done("left", next, failed),
            Self::Record { next, failed, .. } => done("done", next, failed),
            Self::Message { next, failed, .. } => done("sent", next, failed),
            Self::Hangup { .. } => Vec::new(),
        }
    }

    /// Every step that an outcome leads to, and every variable that is set: for whoever walks the graph.
    #[must_use]
    pub fn references(&self) -> (Vec<StepIx>, Vec<VariableIx>) {
        let outcomes = self.outcomes().into_iter();
        let steps =
            outcomes.filter_map(|(_, leads)| if let Leads::To(step) = leads { Some(step) } else { None });
        let variables = match self {
            Self::Set { assignments, .. } => assignments.iter().map(|(set, _)| *set).collect(),
            Self::Request(request) => request.save.iter().map(|(set, _)| *set).collect(),
            Self::Ask(Ask { input: AskInput::Digits { variable, .. }, .. }) => vec![*variable],
            Self::Play { .. }
            | Self::Ask(_)
            | Self::Hours { .. }
            | Self::Branch { .. }
            | Self::Split { .. }
            | Self::Call { .. }
            | Self::Wait { .. }
            | Self::Dial(_)
            | Self::Transfer { .. }
            | Self::Queue(_)
            | Self::Callback { .. }
            | Self::Voicemail { .. }
            | Self::Record { .. }
            | Self::Message { .. }
            | Self::Hangup { .. } => Vec::new(),
        };
        (steps.collect(), variables)
    }

    /// Every expression that is evaluated before it is known what comes of the step; those of a
    /// [`Request::save`] come after.
    #[must_use]
    pub fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Branch { cases, .. } => cases.iter().map(|case| &case.when).collect(),
            Self::Set { assignments, .. } => assignments.iter().map(|(_, value)| value).collect(),
            Self::Request(request) => {
                let headers = request.headers.iter().map(|(_, value)| value);
                request.path.iter().chain(headers).chain(&request.body).collect()
            }
            Self::Queue(queue) => queue.priority.iter().collect(),
            Self::Callback { number, .. } => number.iter().collect(),
            Self::Message { text, to, .. } => std::iter::once(text).chain(to).collect(),
            Self::Play { say, .. } => say.iter().map(|say| &say.value).collect(),
            Self::Ask(_)
            | Self::Hours { .. }
            | Self::Split { .. }
            | Self::Call { .. }
            | Self::Wait { .. }
            | Self::Dial(_)
            | Self::Transfer { .. }
            | Self::Voicemail { .. }
            | Self::Record { .. }
            | Self::Hangup { .. } => Vec::new(),
        }
    }

    /// The flow that it calls.
    #[must_use]
    pub const fn calls(&self) -> Option<&FlowId> {
        if let Self::Call { flow, .. } = self { Some(flow) } else { None }
    }
}

/// What is worked out when it is its turn, and spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Say {
    /// Gives an Integer for [`Pronunciation::Number`], else text.
    pub value: Expression,
    /// How it is read.
    pub pronunciation: Pronunciation,
    /// Tag (BCP 47) of the language where the flow's variable names none.
    pub language: String,
}

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pronunciation {
    /// As it stands.
    Text,
    /// A whole number.
    Number,
    /// Digit by digit.
    Digits,
    /// The day of a date (`2026-12-24`) or of a time with one (RFC 3339).
    Date,
    /// A time of day (`14:05`), or that of a time with a date, as it stands there.
    Time,
}

/// Plays prompts and takes keys: a choice by its digits, or digits into a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// In order; a key stops them.
    pub audio: Vec<AudioId>,
    /// Silence after the prompts that counts as no input, in milliseconds.
    pub timeout_ms: u32,
    /// Silence between two keys that ends the input, in milliseconds.
    pub inter_digit_ms: u32,
    /// How often it is asked in one visit before `no_input` or `no_match` is taken: 1 to 10.
    pub attempts: u16,
    /// Played before asking again after a key that no choice has; empty: only the question.
    pub invalid_audio: Vec<AudioId>,
    /// How often a call may come here; once more, and `no_match` is taken at once. None: no bound but the engine's.
    pub max_visits: Option<u16>,
    /// What the keys mean.
    pub input: AskInput,
    /// Whether the digits are masked wherever they could be read.
    pub secret: bool,
    /// Tag (BCP 47) of the language that phrases are of. Empty: there are none, or it is American English.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Nothing was pressed, in all attempts.
    pub no_input: StepIx,
    /// Something else was pressed, in the last attempt.
    pub no_match: StepIx,
}

impl Ask {
    fn outcomes(&self) -> Vec<(String, Leads)> {
        let mut outcomes: Vec<_> = match &self.input {
            AskInput::Choices(choices) => {
                let choices = choices.iter();
                choices.map(|choice| (format!("choice {}", choice.digits), Leads::To(choice.next))).collect()
            }
            AskInput::Digits { next, .. } => vec![("digits".to_owned(), Leads::To(*next))],
        };
        outcomes.push(("noInput".to_owned(), Leads::To(self.no_input)));
        outcomes.push(("noMatch".to_owned(), Leads::To(self.no_match)));
        outcomes
    }
}

/// What keys mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AskInput {
    /// One of these.
    Choices(Vec<Choice>),
    /// Digits into a variable of kind String.
    Digits {
        /// Where they go.
        variable: VariableIx,
        /// At least so many: 1 to 32.
        min: u16,
        /// At most so many: `min` to 32; the last one ends the input.
        max: u16,
        /// A key that ends the input and is no part of it.
        terminator: Option<char>,
        /// Enough digits came.
        next: StepIx,
    },
}

/// A choice of a menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The keys: 1 to 8 of `0`–`9`, `*`, `#`. No choice's keys begin another's.
    pub digits: String,
    /// What can be said instead, as [`spoken`] gives it. No two choices have one phrase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,
    /// The step that follows.
    pub next: StepIx,
}

/// Words as they are compared: in lower case, with one space between them.
#[must_use]
pub fn spoken(words: &str) -> String {
    words.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// A share of the calls and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// So many of a hundred calls: 1 to 100.
    pub percent: u8,
    /// The step that follows.
    pub next: StepIx,
}

/// Asks an HTTP service and keeps what it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Whom.
    pub integration: IntegrationId,
    /// How.
    pub method: Method,
    /// What is put behind its URL, a String. None: nothing.
    pub path: Option<Expression>,
    /// Name and value, a String, of further headers.
    pub headers: Vec<(String, Expression)>,
    /// What is sent, a String.
    pub body: Option<Expression>,
    /// How long the answer may take, in milliseconds. None: as long as the service's own bound.
    pub timeout_ms: Option<u32>,
    /// Variables and what they take of the answer, in order; all or none.
    pub save: Vec<(VariableIx, Expression)>,
    /// After an answer of status 200 to 299.
    pub next: StepIx,
    /// All else. None: a failure of the flow.
    pub failed: Option<StepIx>,
}

/// A method of HTTP (RFC 9110 §9, RFC 5789).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Hands something over.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Removes.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        })
    }
}

/// Lets the contact wait for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Where.
    pub queue: QueueId,
    /// An Integer; below 0 it counts as 0, above 9 as 9. None: the queue's own.
    pub priority: Option<Expression>,
    /// Longest wait, in milliseconds. None: the queue's own bound.
    pub max_wait_ms: Option<u32>,
    /// The agent hung up after a conversation. None: the call ends.
    pub ended: Option<StepIx>,
    /// The longest wait is over. None: a failure of the flow; so with those below.
    pub timed_out: Option<StepIx>,
    /// It holds as many contacts as it may.
    pub full: Option<StepIx>,
    /// Nobody who serves it is there.
    pub no_agents: Option<StepIx>,
}

/// What is done with a call's recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordAction {
    /// It begins.
    #[default]
    Start,
    /// It ends.
    Stop,
    /// It leaves a gap.
    Pause,
    /// It goes on after the gap.
    Resume,
}

/// Where a call's recording goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordTo {
    /// Into the store.
    #[default]
    Store,
    /// To the tenant's recorder (RFC 7866).
    Recorder,
    /// To both.
    Both,
}

impl RecordTo {
    /// Whether the tenant's recorder gets it.
    #[must_use]
    pub const fn is_recorder(self) -> bool {
        matches!(self, Self::Recorder | Self::Both)
    }

    /// Whether the store alone gets it.
    #[must_use]
    pub const fn is_store(&self) -> bool {
        matches!(self, Self::Store)
    }
}

/// How a contact is handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TransferKind {
    /// We ring and join.
    #[default]
    Blind,
    /// The caller's side is asked to call by itself (REFER, RFC 3515); where it does not, as `Blind`.
    Refer,
}

/// A condition and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Evaluates to a boolean.
    pub when: Expression,
    /// The step that follows.
    pub next: StepIx,
}

/// Rings others and joins the first who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dial {
    /// Whom, in order: 1 to 16.
    pub targets: Vec<DialTarget>,
    /// One after the other, or all at once.
    pub strategy: DialStrategy,
    /// How long each try rings, in milliseconds.
    pub ring_ms: u32,
    /// The other side hung up after a conversation. None: the call ends.
    pub ended: Option<StepIx>,
    /// The last try was busy (486, 600). None: a failure of the flow; so with those below.
    pub busy: Option<StepIx>,
    /// The last try rang in vain (no answer in time, 408, 480).
    pub no_answer: Option<StepIx>,
    /// All else.
    pub failed: Option<StepIx>,
    /// Whether `busy`, `no_answer` and `failed` were all left out, and the flow has no `on_error`: then the callee's own
    /// code is relayed to a caller who is not answered yet, and the call ends.
    pub relay_failure: bool,
}

/// Whom a `dial` rings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DialTarget {
    /// A telephone number, by the tenant's outbound trunks in their order.
    Number {
        /// The number.
        number: E164,
        /// Tried in order.
        trunks: Vec<TrunkId>,
        /// A number granted to the tenant that the callee sees.
        caller_id: Option<E164>,
    },
    /// An extension of a PBX.
    Extension {
        /// User part of the request-URI.
        user: String,
        /// The PBX.
        trunk: TrunkId,
    },
    /// An agent, at the station where it is.
    Agent(AgentId),
}

/// In which order targets ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DialStrategy {
    /// One after the other.
    #[default]
    InOrder,
    /// All at once; the first who answers wins.
    Simultaneous,
}

/// How a call that is not answered yet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl Rejection {
    /// SIP status code (RFC 3261 §21).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Busy => 486,
            Self::Decline => 603,
            Self::NotFound => 404,
            Self::Unavailable => 480,
            Self::Forbidden => 403,
        }
    }
}

const fn one() -> u8 {
    1
}
