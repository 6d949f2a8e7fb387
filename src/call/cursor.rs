//! Where a call is in its flow, and what it does next.
//!
//! Pure: the cursor is told what happened to the contact (a prompt ended, a key, silence, a dial's outcome) and
//! answers with actions. It knows nothing of SIP or media. Steps that need no contact (`hours`, `branch`, `set`) it
//! walks by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    AudioId,
    program::{Ask, AskInput, Dial, Expression, Rejection, StepIx, Value, VariableIx, Verb},
};

use crate::{Now, hours, record::PATH_MAX, world::Flow, world::World};

/// Most steps without the contact doing anything. A flow that reaches it fails.
pub const IDLE_STEPS_MAX: u32 = 1_000;

/// Most keys that are kept for the next `ask`.
const TYPED_AHEAD_MAX: usize = 32;

/// What expressions know of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Calling number; empty if withheld.
    pub contact_number: String,
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

/// What the contact is to experience next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Play, then tell [`Cursor::played`].
    Play {
        /// In order; may be empty, which ends at once.
        audio: Vec<AudioId>,
        /// Whether it may be heard before the call is answered.
        early: bool,
    },
    /// A key came: stop what plays. Its end is not told.
    StopPlay,
    /// Ring others, then tell [`Cursor::dialled`].
    Dial(Box<Dial>),
    /// Refuse the call, or end it if it is answered.
    Reject(Rejection),
    /// Play, then end the call.
    Hangup(Vec<AudioId>),
    /// End the call: something failed and no step handles it.
    Fail(String),
}

/// How a `dial` came out.
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

/// A call's place in its flow.
#[derive(Debug, Clone)]
pub struct Cursor {
    flow: Arc<Flow>,
    facts: Facts,
    values: Vec<Value>,
    visits: Vec<u16>,
    at: StepIx,
    ask: Option<Asking>,
    typed_ahead: String,
    idle_steps: u32,
    path: Vec<String>,
}

/// What decides over a cursor's future besides the contact and the time: of one flow and one call, cursors that have just
/// entered a step with equal states go equal ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    at: StepIx,
    values: Vec<Value>,
    visits: Vec<u16>,
    typed_ahead: String,
}

/// An `ask` under way.
#[derive(Debug, Clone)]
struct Asking {
    attempt: u16,
    digits: String,
    /// No key has come: none is expected before the prompts end.
    deadline: Option<Instant>,
}

/// Where an input leads.
enum Heard {
    Wait(Duration),
    Go(StepIx, String),
    NoMatch,
}

/// What a first question comes to.
enum Asked {
    Wait(Vec<Action>),
    Go(String, StepIx),
}

impl Cursor {
    /// At the entry of a flow; [`begin`](Self::begin) starts it.
    #[must_use]
    pub fn new(flow: Arc<Flow>, facts: Facts) -> Self {
        let program = &flow.program;
        let values = program.variables.iter().map(|variable| variable.initial.clone()).collect();
        let visits = vec![0; program.steps.len()];
        Self {
            values,
            visits,
            at: StepIx(0),
            ask: None,
            typed_ahead: String::new(),
            idle_steps: 0,
            path: Vec::new(),
            flow,
            facts,
        }
    }

    /// The flow that runs.
    #[must_use]
    pub const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// What expressions know.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Steps passed, by name and outcome.
    #[must_use]
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Name of the present step.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.flow.program.steps[usize::from(self.at.0)].name
    }

    /// What decides over its future. Visits count only where a step bounds them, and only up to its bound.
    #[must_use]
    pub fn state(&self) -> State {
        let most = |verb: &Verb| {
            let Verb::Ask(ask) = verb else { return 0 };
            ask.max_visits.map_or(0, |most| most.saturating_add(1))
        };
        let steps = self.flow.program.steps.iter().zip(&self.visits);
        State {
            at: self.at,
            values: self.values.clone(),
            visits: steps.map(|(step, visits)| most(&step.verb).min(*visits)).collect(),
            typed_ahead: self.typed_ahead.clone(),
        }
    }

    /// When [`silence`](Self::silence) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.ask.as_ref()?.deadline
    }

    /// Enters the first step.
    pub fn begin(&mut self, environment: Environment<'_>) -> Vec<Action> {
        self.enter(StepIx(0), environment)
    }

    /// What was played has ended by itself.
    pub fn played(&mut self, environment: Environment<'_>) -> Vec<Action> {
        self.idle_steps = 0;
        match self.verb() {
            Verb::Play { next, .. } => {
                let next = *next;
                self.leave("played", next, environment)
            }
            Verb::Ask(ask) => {
                let timeout = Duration::from_millis(u64::from(ask.timeout_ms));
                if let Some(asking) = &mut self.ask
                    && asking.deadline.is_none()
                {
                    asking.deadline = Some(environment.now.instant + timeout);
                }
                Vec::new()
            }
            Verb::Hours { .. }
            | Verb::Branch { .. }
            | Verb::Set { .. }
            | Verb::Dial(_)
            | Verb::Hangup { .. } => Vec::new(),
        }
    }

    /// The contact pressed a key. An `ask` takes it; before one, it is kept for the next: who knows the menu types ahead.
    pub fn pressed(&mut self, key: char, environment: Environment<'_>) -> Vec<Action> {
        let flow = Arc::clone(&self.flow);
        let (Verb::Ask(ask), Some(asking)) =
            (&flow.program.steps[usize::from(self.at.0)].verb, &mut self.ask)
        else {
            if self.typed_ahead.len() < TYPED_AHEAD_MAX {
                self.typed_ahead.push(key);
            }
            return Vec::new();
        };
        self.idle_steps = 0;
        let playing = asking.deadline.is_none();
        let heard = hear(ask, &mut asking.digits, key);
        let mut actions = if playing { vec![Action::StopPlay] } else { Vec::new() };
        match heard {
            Heard::Wait(pause) => asking.deadline = Some(environment.now.instant + pause),
            Heard::Go(next, outcome) => actions.extend(self.input(ask, next, &outcome, environment)),
            Heard::NoMatch => actions.extend(self.again(ask, true, environment)),
        }
        actions
    }

    /// The [`deadline`](Self::deadline) has come.
    pub fn silence(&mut self, environment: Environment<'_>) -> Vec<Action> {
        let due = self.deadline().is_some_and(|deadline| deadline <= environment.now.instant);
        let flow = Arc::clone(&self.flow);
        let (true, Verb::Ask(ask), Some(asking)) =
            (due, &flow.program.steps[usize::from(self.at.0)].verb, &self.ask)
        else {
            return Vec::new();
        };
        self.idle_steps = 0;
        match (&ask.input, asking.digits.len()) {
            (_, 0) => self.again(ask, false, environment),
            (AskInput::Digits { min, next, .. }, count) if count >= usize::from(*min) => {
                self.input(ask, *next, "digits", environment)
            }
            _ => self.again(ask, true, environment),
        }
    }

    /// A `dial` came out.
    pub fn dialled(&mut self, outcome: Dialled, environment: Environment<'_>) -> Vec<Action> {
        self.idle_steps = 0;
        let Verb::Dial(dial) = self.verb() else { return Vec::new() };
        let (name, next) = match outcome {
            Dialled::Ended => ("ended", dial.ended),
            Dialled::Busy => ("busy", dial.busy),
            Dialled::NoAnswer => ("noAnswer", dial.no_answer),
            Dialled::Failed => ("failed", dial.failed),
        };
        self.leave(name, next, environment)
    }

    /// Something failed that the present step has no outcome for.
    pub fn failed(&mut self, because: &str, environment: Environment<'_>) -> Vec<Action> {
        self.ask = None;
        let handler = self.flow.program.on_error;
        match handler.filter(|handler| *handler != self.at) {
            Some(handler) => self.leave("onError", handler, environment),
            None => vec![Action::Fail(format!("step `{}`: {because}", self.step()))],
        }
    }

    fn verb(&self) -> &Verb {
        &self.flow.program.steps[usize::from(self.at.0)].verb
    }

    fn leave(&mut self, outcome: &str, next: StepIx, environment: Environment<'_>) -> Vec<Action> {
        self.note(outcome);
        self.enter(next, environment)
    }

    fn note(&mut self, outcome: &str) {
        let entry = format!("{}: {outcome}", self.step());
        if self.path.len() < PATH_MAX {
            self.path.push(entry);
        } else if let Some(last) = self.path.last_mut() {
            *last = entry;
        }
    }

    /// Walks from `at` on until the contact is to experience something.
    fn enter(&mut self, at: StepIx, environment: Environment<'_>) -> Vec<Action> {
        self.at = at;
        let flow = Arc::clone(&self.flow);
        loop {
            self.idle_steps += 1;
            if self.idle_steps > IDLE_STEPS_MAX {
                let because = format!("{IDLE_STEPS_MAX} steps went by without the contact doing anything");
                return vec![Action::Fail(format!("step `{}`: {because}", self.step()))];
            }
            let passed = match &flow.program.steps[usize::from(self.at.0)].verb {
                Verb::Play { audio, early, .. } => {
                    return vec![Action::Play { audio: audio.clone(), early: *early }];
                }
                Verb::Ask(ask) => match self.ask_first(ask, environment) {
                    Asked::Wait(actions) => return actions,
                    Asked::Go(outcome, next) => Ok((outcome, next)),
                },
                Verb::Dial(dial) => return vec![Action::Dial(Box::new(dial.clone()))],
                Verb::Hangup { audio, reject } => {
                    self.note("hangup");
                    return vec![reject.map_or_else(|| Action::Hangup(audio.clone()), Action::Reject)];
                }
                Verb::Hours { hours, open, closed, holiday } => {
                    let at = environment.now.wall;
                    match environment.world.hours(hours).map(|hours| hours.at(at)) {
                        Some(hours::State::Open) => Ok(("open".into(), *open)),
                        Some(hours::State::Closed) => Ok(("closed".into(), *closed)),
                        Some(hours::State::Holiday) => Ok(("holiday".into(), *holiday)),
                        None => Err(format!("BusinessHours {hours} is gone")),
                    }
                }
                Verb::Branch { cases, otherwise } => self.branch(cases, *otherwise, environment),
                Verb::Set { assignments, next } => {
                    self.assign(assignments, environment).map(|()| ("set".into(), *next))
                }
            };
            match passed {
                Ok((outcome, next)) => {
                    self.note(&outcome);
                    self.at = next;
                }
                Err(because) => match flow.program.on_error.filter(|handler| *handler != self.at) {
                    Some(handler) => {
                        self.note("onError");
                        self.at = handler;
                    }
                    None => return vec![Action::Fail(format!("step `{}`: {because}", self.step()))],
                },
            }
        }
    }

    fn branch(
        &self,
        cases: &[model::program::Case],
        otherwise: StepIx,
        environment: Environment<'_>,
    ) -> Result<(String, StepIx), String> {
        for (place, case) in cases.iter().enumerate() {
            if self.evaluate(&case.when, environment)? == Value::Boolean(true) {
                return Ok((format!("case {}", place + 1), case.next));
            }
        }
        Ok(("otherwise".into(), otherwise))
    }

    fn assign(
        &mut self,
        assignments: &[(VariableIx, Expression)],
        environment: Environment<'_>,
    ) -> Result<(), String> {
        for (variable, expression) in assignments {
            let value = self.evaluate(expression, environment)?;
            self.values[usize::from(variable.0)] = value;
        }
        Ok(())
    }

    fn evaluate(&self, expression: &Expression, environment: Environment<'_>) -> Result<Value, String> {
        let compiled = self.flow.expression(expression).ok_or("the expression was never compiled")?;
        let names = self.flow.program.variables.iter().map(|variable| variable.name.as_str());
        let variables: Vec<_> = names.zip(&self.values).collect();
        let inputs = expr::Inputs {
            contact_number: &self.facts.contact_number,
            call_number: &self.facts.call_number,
            call_trunk: &self.facts.call_trunk,
            variables: &variables,
        };
        environment.expressions.evaluate(compiled, &inputs).map_err(|failure| failure.to_string())
    }

    /// The first question of a visit; or where to go when there were enough visits, or keys were typed ahead.
    fn ask_first(&mut self, ask: &Ask, environment: Environment<'_>) -> Asked {
        let visits = &mut self.visits[usize::from(self.at.0)];
        *visits = visits.saturating_add(1);
        if ask.max_visits.is_some_and(|most| *visits > most) {
            return Asked::Go("maxVisits".into(), ask.no_match);
        }
        let mut asking = Asking { attempt: 1, digits: String::new(), deadline: None };
        let typed = std::mem::take(&mut self.typed_ahead);
        let mut keys = typed.chars();
        while let Some(key) = keys.next() {
            match hear(ask, &mut asking.digits, key) {
                Heard::Wait(pause) => asking.deadline = Some(environment.now.instant + pause),
                Heard::Go(next, outcome) => {
                    keys.as_str().clone_into(&mut self.typed_ahead);
                    self.keep(ask, asking.digits);
                    return Asked::Go(outcome, next);
                }
                Heard::NoMatch => {
                    self.ask = Some(asking);
                    return Asked::Wait(self.again(ask, true, environment));
                }
            }
        }
        let actions = match asking.deadline {
            Some(_) => Vec::new(),
            None => vec![Action::Play { audio: ask.audio.clone(), early: false }],
        };
        self.ask = Some(asking);
        Asked::Wait(actions)
    }

    /// Nothing fitting came: asks again, or gives up.
    fn again(&mut self, ask: &Ask, something: bool, environment: Environment<'_>) -> Vec<Action> {
        let Some(asking) = &mut self.ask else { return Vec::new() };
        if asking.attempt < ask.attempts {
            *asking = Asking { attempt: asking.attempt + 1, digits: String::new(), deadline: None };
            let invalid = if something { ask.invalid_audio.as_slice() } else { &[] };
            return vec![Action::Play { audio: [invalid, &ask.audio].concat(), early: false }];
        }
        self.ask = None;
        let (outcome, next) = if something { ("noMatch", ask.no_match) } else { ("noInput", ask.no_input) };
        self.leave(outcome, next, environment)
    }

    fn input(&mut self, ask: &Ask, next: StepIx, outcome: &str, environment: Environment<'_>) -> Vec<Action> {
        let digits = self.ask.take().map(|asking| asking.digits).unwrap_or_default();
        self.keep(ask, digits);
        self.leave(outcome, next, environment)
    }

    fn keep(&mut self, ask: &Ask, digits: String) {
        if let AskInput::Digits { variable, .. } = &ask.input {
            self.values[usize::from(variable.0)] = Value::String(digits);
        }
    }
}

fn hear(ask: &Ask, digits: &mut String, key: char) -> Heard {
    let pause = Duration::from_millis(u64::from(ask.inter_digit_ms));
    match &ask.input {
        AskInput::Choices(choices) => {
            digits.push(key);
            if let Some(choice) = choices.iter().find(|choice| choice.digits == *digits) {
                return Heard::Go(choice.next, format!("choice {}", choice.digits));
            }
            let begins = choices.iter().any(|choice| choice.digits.starts_with(digits.as_str()));
            if begins { Heard::Wait(pause) } else { Heard::NoMatch }
        }
        AskInput::Digits { min, max, terminator, next, .. } => {
            if *terminator == Some(key) {
                let enough = digits.len() >= usize::from(*min);
                return if enough { Heard::Go(*next, "digits".into()) } else { Heard::NoMatch };
            }
            digits.push(key);
            let full = digits.len() >= usize::from(*max);
            if full { Heard::Go(*next, "digits".into()) } else { Heard::Wait(pause) }
        }
    }
}
