//! A routing flow, compiled: one graph of steps that the engine runs, `check` proves and `plan` compares.
//!
//! Every outcome of a step names the step that follows, by place; nothing is left to be looked up by name. Names
//! stay for people: records, explanations, diagrams.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AudioId, E164, HoursId, TrunkId};

/// Most steps a flow may have.
pub const STEPS_MAX: usize = 500;

/// Most characters an expression may have.
pub const EXPRESSION_MAX: usize = 1_024;

/// The place of a step in [`Program::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIx(pub u16);

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
    /// Where a failure goes that its step does not handle. None: the call ends with 500 or a BYE.
    pub on_error: Option<StepIx>,
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

/// What a step does. Each outcome names the step that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Plays prompts to the end.
    Play {
        /// In order.
        audio: Vec<AudioId>,
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
    /// Rings others and joins the first who answers.
    Dial(Dial),
    /// Ends the call.
    Hangup {
        /// Played first. A call not answered yet is answered for it, unless it is rejected.
        audio: Vec<AudioId>,
        /// How a call that is not answered yet is refused. None: it is answered and ended.
        reject: Option<Rejection>,
    },
}

impl Verb {
    /// Every step that an outcome leads to, and every variable that is set: for whoever walks the graph.
    #[must_use]
    pub fn references(&self) -> (Vec<StepIx>, Vec<VariableIx>) {
        match self {
            Self::Play { next, .. } => (vec![*next], Vec::new()),
            Self::Ask(ask) => ask.references(),
            Self::Hours { open, closed, holiday, .. } => (vec![*open, *closed, *holiday], Vec::new()),
            Self::Branch { cases, otherwise } => {
                (cases.iter().map(|case| case.next).chain([*otherwise]).collect(), Vec::new())
            }
            Self::Set { assignments, next } => {
                (vec![*next], assignments.iter().map(|(set, _)| *set).collect())
            }
            Self::Dial(dial) => (vec![dial.ended, dial.busy, dial.no_answer, dial.failed], Vec::new()),
            Self::Hangup { .. } => (Vec::new(), Vec::new()),
        }
    }
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
    /// Nothing was pressed, in all attempts.
    pub no_input: StepIx,
    /// Something else was pressed, in the last attempt.
    pub no_match: StepIx,
}

impl Ask {
    fn references(&self) -> (Vec<StepIx>, Vec<VariableIx>) {
        let mut steps = vec![self.no_input, self.no_match];
        match &self.input {
            AskInput::Choices(choices) => {
                steps.extend(choices.iter().map(|choice| choice.next));
                (steps, Vec::new())
            }
            AskInput::Digits { variable, next, .. } => {
                steps.push(*next);
                (steps, vec![*variable])
            }
        }
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
    /// The step that follows.
    pub next: StepIx,
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
    /// The other side hung up after a conversation.
    pub ended: StepIx,
    /// The last try was busy (486, 600).
    pub busy: StepIx,
    /// The last try rang in vain (no answer in time, 408, 480).
    pub no_answer: StepIx,
    /// All else.
    pub failed: StepIx,
    /// Whether `busy`, `no_answer` and `failed` were all left out: then the callee's own code is relayed to a caller who
    /// is not answered yet, and the call ends.
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
