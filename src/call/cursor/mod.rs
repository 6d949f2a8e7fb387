//! Where a call is in its flow, and what it does next.
//!
//! Pure: the cursor is told what happened to the contact (a prompt ended, a key, silence, a dial's outcome, a service's
//! answer) and answers with actions. It knows nothing of SIP or media, and draws no lots: the number that a `split` goes
//! by comes in as well. Steps that need nobody (`hours`, `branch`, `set`, `call`) it walks by itself.
//!
//! A flow that is called has variables of its own, which begin anew each time; visits are counted over the whole call. A
//! failure that nothing handles goes to `onError`, once until the contact does something: a key, a conversation, a
//! message left. From a called flow it goes on to the caller.

mod ask;
mod work;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::{
    AudioId, E164, FlowId, IntegrationId, QueueId, VoicemailBoxId,
    centre::First,
    program::{
        Dial, Expression, LANGUAGE, Leads, Method, RecordAction, RecordTo, Rejection, Step, StepIx, Value,
        VariableIx, Verb,
    },
};

use self::ask::Asking;
pub use self::ask::Listens;
use crate::{Now, record::PATH_MAX, world::Flow, world::World};

/// Most steps without the contact doing anything. A flow that reaches it fails.
pub const IDLE_STEPS_MAX: u32 = 1_000;

/// Highest priority of a contact in a queue.
pub const PRIORITY_MAX: u8 = 9;

/// What expressions know of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Of who calls, or whom an agent has called before handing it on; empty if withheld.
    pub contact_number: String,
    /// What is known of whether that number is theirs; empty: nobody asked.
    pub contact_verstat: &'static str,
    /// Number that was dialled.
    pub call_number: String,
    /// `namespace/name` of the A leg's trunk.
    pub call_trunk: String,
}

/// What a cursor may look at while it moves.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// Read live: hours.
    pub world: &'a World,
    /// Evaluates expressions.
    pub expressions: &'a expr::Engine,
    /// The time.
    pub now: Now,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Play, then tell [`Cursor::played`].
    Play {
        /// In order; may be empty, which ends at once.
        audio: Vec<AudioId>,
        /// What is spoken after them.
        say: Option<Box<Speech>>,
        /// Whether it may be heard before the call is answered.
        early: bool,
    },
    /// A key came, or a wait is over: stop what plays. Its end is not told.
    StopPlay,
    /// Play again and again, in silence if there is nothing, and tell [`Cursor::waits`] once the contact can hear.
    Wait(Vec<AudioId>),
    /// Ring others, then tell [`Cursor::dialled`].
    Dial(Box<Dial>),
    /// Draw a lot: tell [`Cursor::drawn`] a number from 0 to 99, each as likely as any other.
    Draw,
    /// Ask a service, then tell [`Cursor::requested`].
    Request(Box<Asked>),
    /// Let the contact wait for an agent, then tell [`Cursor::queued`].
    Queue {
        /// Where.
        queue: QueueId,
        /// 0 to [`PRIORITY_MAX`]. None: the queue's own.
        priority: Option<u8>,
        /// Longest wait. None: the queue's own bound.
        max_wait: Option<Duration>,
    },
    /// Promise to call back, then tell [`Cursor::done`].
    Callback {
        /// Where the contact's turn is waited for.
        queue: QueueId,
        /// Whether it keeps the place that it had there last.
        keep_place: bool,
        /// Where it is called.
        number: E164,
        /// How often at most; 1 and more.
        attempts: u8,
        /// How long after one that was in vain the next one is.
        retry: Duration,
        /// Who is called first. None: as the queue says.
        first: Option<First>,
    },
    /// Take a message, then tell [`Cursor::done`].
    Voicemail {
        /// For whom.
        voicemail_box: VoicemailBoxId,
        /// Played first; empty: the box's own.
        greeting: Vec<AudioId>,
        /// Longest message. None: the box's own bound.
        longest: Option<Duration>,
    },
    /// Turn the recording of the call on or off, then tell [`Cursor::done`].
    Record(RecordAction, RecordTo),
    /// Write, then tell [`Cursor::messaged`].
    Message {
        /// What.
        text: String,
        /// To which number. None: to the contact, on its own channel.
        to: Option<E164>,
    },
    /// Refuse the call, or end it if it is answered.
    Reject(Rejection),
    /// Play, then end the call.
    Hangup(Vec<AudioId>),
    /// End the call: whoever the contact was joined to has hung up, and nothing follows.
    End,
    /// End the call: something failed and no step handles it.
    Fail(String),
}

/// What is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    /// At most [`SPEECH_MAX`] characters.
    pub text: String,
    /// Tag (BCP 47) of the language.
    pub language: String,
}

/// Characters that are spoken at once at most: what media servers take.
pub const SPEECH_MAX: usize = 1_000;

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whom.
    pub integration: IntegrationId,
    /// How.
    pub method: Method,
    /// What is put behind its URL: nothing, or a path or query without space, control character or `#`.
    pub path: String,
    /// Further headers, without control characters.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Option<String>,
    /// How long the answer may take. None: as long as the service's own bound.
    pub timeout: Option<Duration>,
    /// Whether it takes a message along: what is answered but the status is not read, and asking twice does no more than
    /// asking once.
    pub is_message: bool,
}

/// How a `dial` or `transfer` came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialled {
    /// There was a conversation, and the callee hung up.
    Ended,
    /// 486 or 600.
    Busy,
    /// Rang in vain.
    NoAnswer,
    /// All else.
    Failed,
}

/// How the wait in a queue came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// There was a conversation, and the agent hung up.
    Ended,
    /// The longest wait is over.
    TimedOut,
    /// The queue holds as many contacts as it may.
    Full,
    /// Nobody who serves it is there.
    NoAgents,
}

/// How a request came out.
#[derive(Debug, Clone, Copy)]
pub enum Requested<'a> {
    /// There was an answer.
    Answered(&'a expr::Response),
    /// As if an answer had had these values, in the order of the step's `save`: for whoever asks nobody.
    Saved(&'a [Value]),
    /// There was none, or none that could be read.
    Failed,
}

/// A flow that runs, and where it is.
#[derive(Debug, Clone)]
struct Frame {
    flow: Arc<Flow>,
    values: Vec<Value>,
    at: StepIx,
}

/// A call's place in its flow.
#[derive(Debug, Clone)]
pub struct Cursor {
    facts: Facts,
    /// Flows that called the one that runs, the first one first, each at its `call`.
    callers: Vec<Frame>,
    frame: Frame,
    visits: BTreeMap<FlowId, Vec<u16>>,
    ask: Option<Asking>,
    /// How many visits of an `ask` there were.
    questions: u32,
    wait_until: Option<Instant>,
    typed_ahead: String,
    idle_steps: u32,
    /// Whether `onError` was gone to and the contact has done nothing since.
    failing: bool,
    path: Vec<String>,
    /// When each step of the path was left.
    path_at: Vec<Timestamp>,
    /// When it moved last.
    moved_at: Timestamp,
}

/// What decides over a cursor's future besides the contact and the time: of one flow and one call, cursors that have just
/// entered a step with equal states go equal ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    frames: Vec<(FlowId, StepIx, Vec<Value>)>,
    visits: BTreeMap<FlowId, Vec<u16>>,
    typed_ahead: String,
    failing: bool,
}

/// Where a cursor goes on.
enum Onward {
    To(StepIx),
    /// Something failed that the step has no way for. Whether the outcome is noted already.
    Failure {
        because: String,
        noted: bool,
    },
    End,
}

/// What a step comes to at once.
enum Passed {
    Wait(Vec<Action>),
    Go(String, Onward),
    Failed(String),
    /// A flow is called.
    Into(Arc<Flow>),
}

impl Frame {
    fn at_entry(flow: Arc<Flow>) -> Self {
        let values = flow.program.variables.iter().map(|variable| variable.initial.clone()).collect();
        Self { flow, values, at: StepIx(0) }
    }

    fn step(&self) -> &Step {
        &self.flow.program.steps[usize::from(self.at.0)]
    }
}

/// The one into the language, whatever the case of its tag, else the first into the same language of another region.
fn in_language(translations: &BTreeMap<String, AudioId>, language: &str) -> Option<AudioId> {
    let of = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let exact = translations.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(language));
    let near = || translations.iter().find(|(tag, _)| of(tag) == of(language));
    exact.or_else(near).map(|(_, audio)| *audio)
}

impl Cursor {
    /// At the entry of a flow; [`begin`](Self::begin) starts it.
    #[must_use]
    pub fn new(flow: Arc<Flow>, facts: Facts) -> Self {
        Self {
            facts,
            callers: Vec::new(),
            frame: Frame::at_entry(flow),
            visits: BTreeMap::new(),
            ask: None,
            questions: 0,
            wait_until: None,
            typed_ahead: String::new(),
            idle_steps: 0,
            failing: false,
            path: Vec::new(),
            path_at: Vec::new(),
            moved_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The flow that the call began with.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        &self.callers.first().unwrap_or(&self.frame).flow
    }

    /// The flow that runs: the one that the call began with, or one that was called.
    #[must_use]
    pub const fn running(&self) -> &Arc<Flow> {
        &self.frame.flow
    }

    /// Variables of the flow that the call began with, and what they hold.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Value)> {
        let frame = self.callers.first().unwrap_or(&self.frame);
        let names = frame.flow.program.variables.iter().map(|variable| variable.name.as_str());
        names.zip(&frame.values)
    }

    /// What expressions know.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Somebody else than the caller is the contact: whom an agent has called.
    pub(crate) fn is_for(&mut self, number: String) {
        self.facts.contact_number = number;
        self.facts.contact_verstat = "";
    }

    /// Steps passed, by name and outcome; those of a called flow with its name before them.
    #[must_use]
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// When each of those was left.
    #[must_use]
    pub fn path_at(&self) -> &[Timestamp] {
        &self.path_at
    }

    /// Name of the present step, as the path has it.
    #[must_use]
    pub fn step(&self) -> String {
        let name = &self.frame.step().name;
        if self.callers.is_empty() { name.clone() } else { format!("{}/{name}", self.frame.flow.id.0.name()) }
    }

    /// Whether [`step`](Self::step) is this.
    #[must_use]
    pub fn is_at(&self, step: &str) -> bool {
        let name = self.frame.step().name.as_str();
        match step.split_once('/') {
            None => self.callers.is_empty() && step == name,
            Some((flow, step)) => {
                !self.callers.is_empty() && step == name && flow == self.frame.flow.id.0.name()
            }
        }
    }

    /// What the present step does.
    #[must_use]
    pub fn verb(&self) -> &Verb {
        &self.frame.step().verb
    }

    /// The language (BCP 47) that the contact is spoken to in, as the flow that runs says, or else the one that called it. None:
    /// that of each prompt.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        let frames = std::iter::once(&self.frame).chain(self.callers.iter().rev());
        let said = |frame: &'_ Frame| {
            frame.flow.program.variables.iter().position(|variable| variable.name == LANGUAGE)
        };
        frames.into_iter().find_map(|frame| match frame.values.get(said(frame)?) {
            Some(Value::String(tag)) if !tag.is_empty() => Some(tag.as_str()),
            _ => None,
        })
    }

    /// The same in the contact's language, as far as it was translated.
    fn translated(&self, audio: &[AudioId]) -> Vec<AudioId> {
        let translations = &self.frame.flow.program.translations;
        let Some(language) = self.language().filter(|_| !translations.is_empty()) else {
            return audio.to_vec();
        };
        let into = |audio: &AudioId| in_language(translations.get(audio)?, language);
        audio.iter().map(|audio| into(audio).unwrap_or(*audio)).collect()
    }

    /// What decides over its future. Visits count only where a step bounds them, and only up to its bound.
    #[must_use]
    pub fn state(&self) -> State {
        let frames = self.callers.iter().chain([&self.frame]);
        let frames = frames.map(|frame| (frame.flow.id.clone(), frame.at, frame.values.clone()));
        State {
            frames: frames.collect(),
            visits: self.visits.clone(),
            typed_ahead: self.typed_ahead.clone(),
            failing: self.failing,
        }
    }

    /// When [`silence`](Self::silence) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.wait_until.or_else(|| self.ask.as_ref()?.deadline)
    }

    /// Enters the first step.
    pub fn begin(&mut self, environment: Environment<'_>) -> Vec<Action> {
        self.go(Onward::To(StepIx(0)), environment)
    }

    /// What was played has ended by itself.
    pub fn played(&mut self, environment: Environment<'_>) -> Vec<Action> {
        self.idle_steps = 0;
        if let Verb::Play { next, .. } = self.verb() {
            let next = *next;
            return self.leave("played", Onward::To(next), environment);
        }
        self.asked(environment);
        Vec::new()
    }

    /// The contact can hear what an [`Action::Wait`] plays: the wait begins.
    pub fn waits(&mut self, environment: Environment<'_>) {
        if let Verb::Wait { ms, .. } = self.verb() {
            self.wait_until = Some(environment.now.instant + Duration::from_millis(u64::from(*ms)));
        }
    }

    /// The [`deadline`](Self::deadline) has come.
    pub fn silence(&mut self, environment: Environment<'_>) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| deadline > environment.now.instant) {
            return Vec::new();
        }
        self.idle_steps = 0;
        if let Verb::Wait { next, .. } = self.verb() {
            let next = *next;
            self.wait_until = None;
            let mut actions = vec![Action::StopPlay];
            actions.extend(self.leave("waited", Onward::To(next), environment));
            return actions;
        }
        self.unanswered(environment)
    }

    /// A `dial` or `transfer` came out.
    pub fn dialled(&mut self, outcome: Dialled, environment: Environment<'_>) -> Vec<Action> {
        self.idle_steps = 0;
        if outcome == Dialled::Ended {
            self.acted();
        }
        self.come("dial", outcome.name(), environment)
    }

    /// A wait in a queue came out.
    pub fn queued(&mut self, outcome: Queued, environment: Environment<'_>) -> Vec<Action> {
        match outcome {
            Queued::Ended => self.acted(),
            Queued::TimedOut => self.idle_steps = 0,
            Queued::Full | Queued::NoAgents => {}
        }
        self.come("queue", outcome.name(), environment)
    }

    /// A callback, voicemail or record came out: it was done, or it failed.
    pub fn done(&mut self, success: bool, environment: Environment<'_>) -> Vec<Action> {
        if success && matches!(self.verb(), Verb::Voicemail { .. }) {
            self.acted();
        }
        let outcomes = self.verb().outcomes();
        match self.verb() {
            Verb::Callback { .. } | Verb::Voicemail { .. } | Verb::Record { .. } => {
                let outcome = outcomes.into_iter().nth(usize::from(!success));
                outcome.map_or_else(Vec::new, |(name, leads)| self.take(&name, leads, environment))
            }
            Verb::Play { .. }
            | Verb::Ask(_)
            | Verb::Hours { .. }
            | Verb::Branch { .. }
            | Verb::Set { .. }
            | Verb::Split { .. }
            | Verb::Request(_)
            | Verb::Call { .. }
            | Verb::Wait { .. }
            | Verb::Dial(_)
            | Verb::Transfer { .. }
            | Verb::Queue(_)
            | Verb::Message { .. }
            | Verb::Hangup { .. } => Vec::new(),
        }
    }

    /// The contact was to leave a message, and said nothing that could be kept.
    pub fn left_nothing(&mut self, environment: Environment<'_>) -> Vec<Action> {
        let Verb::Voicemail { next, .. } = self.verb() else { return Vec::new() };
        let leads = Leads::To(*next);
        self.idle_steps = 0;
        self.take("left (nothing to be kept)", leads, environment)
    }

    /// A lot was drawn: a number from 0 to 99.
    pub fn drawn(&mut self, number: u8, environment: Environment<'_>) -> Vec<Action> {
        let Verb::Split { parts, .. } = self.verb() else { return Vec::new() };
        let mut bound = 0_u16;
        let part = parts.iter().position(|part| {
            bound += u16::from(part.percent);
            u16::from(number) < bound
        });
        let outcomes = self.verb().outcomes();
        let outcome = part.and_then(|place| outcomes.get(place)).or(outcomes.last()).cloned();
        outcome.map_or_else(Vec::new, |(name, leads)| self.take(&name, leads, environment))
    }

    /// A message was handed over, or was not, for a reason that the path tells if there is one.
    pub fn messaged(&mut self, sent: Result<(), &str>, environment: Environment<'_>) -> Vec<Action> {
        let Verb::Message { next, failed, .. } = self.verb() else { return Vec::new() };
        let (next, failed) = (Leads::To(*next), failed.map_or(Leads::Failure, Leads::To));
        match sent {
            Ok(()) => self.take("sent", next, environment),
            Err("") => self.take("failed", failed, environment),
            Err(because) => self.take_because(("failed", because), failed, environment),
        }
    }

    /// Something failed that the present step has no outcome for.
    pub fn failed(&mut self, because: &str, environment: Environment<'_>) -> Vec<Action> {
        self.ask = None;
        self.wait_until = None;
        let because = format!("step `{}`: {because}", self.step());
        self.go(Onward::Failure { because, noted: false }, environment)
    }

    /// The contact did something: failures may go to `onError` again.
    const fn acted(&mut self) {
        self.idle_steps = 0;
        self.failing = false;
    }

    /// Takes an outcome of the present step, if that is of this verb.
    fn come(&mut self, verb: &str, outcome: &str, environment: Environment<'_>) -> Vec<Action> {
        let name = self.verb().name();
        if name != verb && (name, verb) != ("transfer", "dial") {
            return Vec::new();
        }
        let found = self.verb().outcomes().into_iter().find(|(name, _)| name == outcome);
        // A relayed failure is no outcome: whoever relays it ends the call.
        let leads = found.map_or(Leads::Failure, |(_, leads)| leads);
        self.take(outcome, leads, environment)
    }

    fn take(&mut self, outcome: &str, leads: Leads, environment: Environment<'_>) -> Vec<Action> {
        let onward = self.onward(outcome, leads);
        self.leave(outcome, onward, environment)
    }

    /// An outcome whose reason the path tells besides.
    fn take_because(
        &mut self,
        (outcome, because): (&str, &str),
        leads: Leads,
        environment: Environment<'_>,
    ) -> Vec<Action> {
        let onward = self.onward(outcome, leads);
        self.leave(&format!("{outcome} ({because})"), onward, environment)
    }

    fn onward(&self, outcome: &str, leads: Leads) -> Onward {
        match leads {
            Leads::To(step) => Onward::To(step),
            Leads::End => Onward::End,
            Leads::Failure => {
                let because = format!("step `{}`: `{outcome}` is not handled", self.step());
                Onward::Failure { because, noted: true }
            }
        }
    }

    fn leave(&mut self, outcome: &str, onward: Onward, environment: Environment<'_>) -> Vec<Action> {
        self.moved_at = environment.now.wall;
        self.note(outcome);
        self.go(onward, environment)
    }

    fn note(&mut self, outcome: &str) {
        let entry = format!("{}: {outcome}", self.step());
        if self.path.len() < PATH_MAX {
            self.path.push(entry);
            self.path_at.push(self.moved_at);
        } else if let (Some(last), Some(at)) = (self.path.last_mut(), self.path_at.last_mut()) {
            (*last, *at) = (entry, self.moved_at);
        }
    }

    /// Walks on until something is to be done.
    fn go(&mut self, mut onward: Onward, environment: Environment<'_>) -> Vec<Action> {
        self.moved_at = environment.now.wall;
        loop {
            if let Some(end) = self.arrive(onward) {
                return vec![end];
            }
            self.idle_steps += 1;
            if self.idle_steps > IDLE_STEPS_MAX {
                let because = format!("{IDLE_STEPS_MAX} steps went by without the contact doing anything");
                return vec![Action::Fail(format!("step `{}`: {because}", self.step()))];
            }
            onward = match self.work(environment) {
                Passed::Wait(actions) => return actions,
                Passed::Go(outcome, onward) => {
                    self.note(&outcome);
                    onward
                }
                Passed::Failed(because) => {
                    let because = format!("step `{}`: {because}", self.step());
                    Onward::Failure { because, noted: false }
                }
                Passed::Into(flow) => {
                    self.note("called");
                    let caller = std::mem::replace(&mut self.frame, Frame::at_entry(flow));
                    self.callers.push(caller);
                    Onward::To(StepIx(0))
                }
            };
        }
    }

    /// Comes to a step; or says that the call is at its end.
    fn arrive(&mut self, onward: Onward) -> Option<Action> {
        match onward {
            Onward::End => Some(Action::End),
            Onward::Failure { because, noted } => self.handle(because, noted),
            Onward::To(StepIx::RETURN) => self.come_back(),
            Onward::To(step) => {
                self.frame.at = step;
                None
            }
        }
    }

    /// The flow that runs is at its end.
    fn come_back(&mut self) -> Option<Action> {
        loop {
            let Some(caller) = self.callers.pop() else {
                // Who came here by a number has nobody to go back to.
                return Some(Action::Hangup(Vec::new()));
            };
            self.frame = caller;
            self.note("returned");
            let Verb::Call { next, .. } = self.verb() else { continue };
            if *next != StepIx::RETURN {
                self.frame.at = *next;
                return None;
            }
        }
    }

    /// Brings a failure to whoever handles it: `onError` of the flow, else the flow that called it.
    fn handle(&mut self, mut because: String, mut noted: bool) -> Option<Action> {
        if self.failing {
            because += ", and the contact has done nothing since `onError` was gone to";
        }
        loop {
            let handler = self.frame.flow.program.on_error.filter(|_| !self.failing);
            if let Some(handler) = handler {
                if !noted {
                    self.note("onError");
                }
                self.failing = true;
                self.frame.at = handler;
                return None;
            }
            let Some(caller) = self.callers.pop() else { return Some(Action::Fail(because)) };
            self.frame = caller;
            self.note("failed");
            noted = true;
            if let Verb::Call { failed: Some(step), .. } = self.verb() {
                return self.arrive(Onward::To(*step));
            }
        }
    }

    /// Counts a visit of the present step. Whether there have been more than `most`.
    fn visit(&mut self, most: u16) -> bool {
        let steps = self.frame.flow.program.steps.len();
        let visits = self.visits.entry(self.frame.flow.id.clone()).or_insert_with(|| vec![0; steps]);
        let Some(visits) = visits.get_mut(usize::from(self.frame.at.0)) else { return false };
        // One more than may be is as bad as any.
        *visits = visits.saturating_add(1).min(most.saturating_add(1));
        *visits > most
    }
}

impl Dialled {
    /// As a call's path names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Busy => "busy",
            Self::NoAnswer => "noAnswer",
            Self::Failed => "failed",
        }
    }
}

impl Queued {
    /// As a call's path names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::TimedOut => "timedOut",
            Self::Full => "full",
            Self::NoAgents => "noAgents",
        }
    }
}
