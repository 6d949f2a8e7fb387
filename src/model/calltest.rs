//! A simulated call and what must come of it, with all names resolved: what a `CallTest` says.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{AgentId, AudioId, E164, HoursId, IntegrationId, QueueId, TrunkId};

/// A simulated call. The places in its lists are those of the object's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTest {
    /// The caller's number. None: withheld.
    pub from: Option<E164>,
    /// The number that is called.
    pub to: E164,
    /// When.
    pub at: Timestamp,
    /// By which trunk. None: the first that the number is live on.
    pub trunk: Option<TrunkId>,
    /// Agents who are there.
    pub agents: Vec<(AgentId, Behaviour)>,
    /// Whom flows ring besides.
    pub callees: Vec<(Whom, Behaviour)>,
    /// Business hours that are not as the calendar says.
    pub hours: Vec<(HoursId, HoursState)>,
    /// How many contacts have come to queues before.
    pub queues: Vec<(QueueId, u32)>,
    /// What every split draws: 0 to 99. None: by lot.
    pub lot: Option<u8>,
    /// Whether sounds can be stored.
    pub stores: bool,
    /// What services answer.
    pub answers: BTreeMap<IntegrationId, Answer>,
    /// What the caller does, in this order.
    pub script: Vec<Act>,
    /// What must come of it.
    pub expect: Expectation,
}

/// Somebody who is rung and is no agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// A telephone number.
    Number(E164),
    /// An extension of a PBX.
    Extension(String),
}

/// What somebody does who is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// What.
    pub does: Does,
    /// After so many seconds of ringing.
    pub after_seconds: u32,
    /// Hangs up after so many seconds of talking. None: never.
    pub talk_seconds: Option<u32>,
}

/// What somebody does who is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Takes the call.
    Answer,
    /// Wants no call (603).
    Decline,
    /// Lets it ring.
    Ignore,
    /// Talks to somebody else (486).
    Busy,
    /// Cannot be reached (500).
    Fail,
}

/// What business hours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoursState {
    /// Somebody is there.
    Open,
    /// Nobody is there.
    Closed,
    /// A holiday.
    Holiday,
}

/// What a service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
    /// After so long.
    pub after_seconds: u32,
}

impl Answer {
    /// Whether the service has done what it was asked.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.status >= 200 && self.status <= 299
    }
}

/// An SMS that must be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// To whom. None: to whomever.
    pub to: Option<E164>,
    /// What. None: whatever.
    pub text: Option<String>,
}

/// A prompt by its name, and all that it sounds like: in each language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// Name of the Prompt.
    pub name: String,
    /// Its own sound first.
    pub audio: Vec<AudioId>,
}

/// Something the caller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Listens until a prompt was heard.
    Hear(Sound),
    /// Lets so many seconds pass.
    Wait(u32),
    /// Presses keys.
    Press(String),
    /// Says something.
    Say(String),
    /// Hangs up after so many seconds.
    HangUp(u32),
}

impl Act {
    /// Its field in the object.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Hear(_) => "hear",
            Self::Wait(_) => "waitSeconds",
            Self::Press(_) => "press",
            Self::Say(_) => "say",
            Self::HangUp(_) => "hangUp",
        }
    }
}

/// What must come of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// How it ends or where it stays.
    pub outcome: CallOutcome,
    /// Where it must have waited.
    pub queue: Option<QueueId>,
    /// Whom it must have reached.
    pub agent: Option<AgentId>,
    /// Steps that it must pass, in this order; those of called flows with their flow's name and a stroke before them.
    pub steps: Vec<String>,
    /// Steps that it must not come to.
    pub never: Vec<String>,
    /// Variables of the number's flow and what they hold in the end, as text.
    pub variables: Vec<(String, String)>,
    /// Prompts that must be heard, in this order.
    pub prompts: Vec<Sound>,
    /// SMS that must be sent, in this order.
    pub messages: Vec<Text>,
    /// The outcome within so many seconds.
    pub within_seconds: Option<u32>,
}

/// How a simulated call ends or where it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallOutcome {
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

impl CallOutcome {
    /// As manifests call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridged => "Bridged",
            Self::Queued => "Queued",
            Self::Voicemail => "Voicemail",
            Self::Completed => "Completed",
            Self::Abandoned => "Abandoned",
            Self::Rejected => "Rejected",
            Self::Failed => "Failed",
        }
    }
}
