//! An `ask` under way: keys, words and silence.

use std::time::{Duration, Instant};

use model::program::{Ask, AskInput, StepIx, Value, Verb, spoken};

use super::{Action, Cursor, Environment, Onward, Passed};

/// The language of phrases whose flow names none.
const LANGUAGE: &str = "en-US";

/// Most keys that are kept for the next `ask`.
const TYPED_AHEAD_MAX: usize = 32;

/// An `ask` under way.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    attempt: u16,
    digits: String,
    /// No key has come: none is expected before the prompts end.
    pub deadline: Option<Instant>,
    /// The contact is saying something: the deadline is that of a recogniser that never answers.
    speaking: bool,
}

/// What an `ask` listens for besides keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listens<'a> {
    /// Counts the questions of a call that words may answer.
    pub question: u32,
    /// Tag (BCP 47) of the language.
    pub language: &'a str,
    /// What may be said.
    pub phrases: Vec<&'a str>,
}

/// Where an input leads.
enum Heard {
    Wait(Duration),
    Go(StepIx, String),
    NoMatch,
}

impl Cursor {
    /// The contact pressed a key. An `ask` takes it; before one, it is kept for the next: who knows the menu types ahead.
    pub fn pressed(&mut self, key: char, environment: Environment<'_>) -> Vec<Action> {
        let flow = self.frame.flow.clone();
        let (Verb::Ask(ask), Some(asking)) =
            (&flow.program.steps[usize::from(self.frame.at.0)].verb, &mut self.ask)
        else {
            if self.typed_ahead.len() < TYPED_AHEAD_MAX {
                self.typed_ahead.push(key);
            }
            return Vec::new();
        };
        let playing = asking.deadline.is_none();
        let heard = hear(ask, &mut asking.digits, key);
        if let Heard::Wait(pause) = heard {
            asking.deadline = Some(environment.now.instant + pause);
        }
        self.heard(ask, heard, playing, environment)
    }

    /// What is listened for at the present step. None: for keys alone.
    #[must_use]
    pub fn listens(&self) -> Option<Listens<'_>> {
        self.ask.as_ref()?;
        let Verb::Ask(ask) = self.verb() else { return None };
        let AskInput::Choices(choices) = &ask.input else { return None };
        let phrases = choices.iter().flat_map(|choice| &choice.phrases);
        let phrases: Vec<_> = phrases.map(String::as_str).collect();
        let language = if ask.language.is_empty() { LANGUAGE } else { &ask.language };
        (!phrases.is_empty()).then_some(Listens { question: self.questions, language, phrases })
    }

    /// Whether what the contact presses is nobody's business.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.ask.is_some() && matches!(self.verb(), Verb::Ask(ask) if ask.secret)
    }

    /// The contact has begun to say something: silence counts no more, at most for `longest`.
    pub fn speaks(&mut self, longest: Duration, environment: Environment<'_>) {
        if let Some(asking) = &mut self.ask {
            asking.speaking = true;
            asking.deadline = Some(environment.now.instant + longest);
        }
    }

    /// What the contact said is nothing that an `ask` takes. While keys are being pressed, it was not meant for us.
    pub fn unheard(&mut self, environment: Environment<'_>) -> Vec<Action> {
        let flow = self.frame.flow.clone();
        let (Verb::Ask(ask), Some(asking)) =
            (&flow.program.steps[usize::from(self.frame.at.0)].verb, &mut self.ask)
        else {
            return Vec::new();
        };
        if !asking.digits.is_empty() {
            asking.speaking = false;
            return Vec::new();
        }
        let playing = asking.deadline.is_none();
        self.heard(ask, Heard::NoMatch, playing, environment)
    }

    /// Nobody can tell what the contact says: keys alone count, and silence again.
    pub fn deaf(&mut self, environment: Environment<'_>) {
        let Verb::Ask(ask) = self.verb() else { return };
        let timeout = Duration::from_millis(u64::from(ask.timeout_ms));
        if let Some(asking) = &mut self.ask
            && std::mem::take(&mut asking.speaking)
        {
            asking.deadline = Some(environment.now.instant + timeout);
        }
    }

    /// The contact said something while an `ask` listens; where it takes no words, they are not heard.
    pub fn said(&mut self, words: &str, environment: Environment<'_>) -> Vec<Action> {
        let flow = self.frame.flow.clone();
        let (Verb::Ask(ask), Some(asking)) =
            (&flow.program.steps[usize::from(self.frame.at.0)].verb, &self.ask)
        else {
            return Vec::new();
        };
        let AskInput::Choices(choices) = &ask.input else { return Vec::new() };
        if choices.iter().all(|choice| choice.phrases.is_empty()) {
            return Vec::new();
        }
        let words = spoken(words);
        let choice = choices.iter().find(|choice| choice.phrases.contains(&words));
        let heard = choice
            .map_or(Heard::NoMatch, |choice| Heard::Go(choice.next, format!("choice {}", choice.digits)));
        let playing = asking.deadline.is_none();
        self.heard(ask, heard, playing, environment)
    }

    fn heard(&mut self, ask: &Ask, heard: Heard, playing: bool, environment: Environment<'_>) -> Vec<Action> {
        self.acted();
        let mut actions = if playing { vec![Action::StopPlay] } else { Vec::new() };
        match heard {
            Heard::Wait(_) => {}
            Heard::Go(next, outcome) => actions.extend(self.input(ask, next, &outcome, environment)),
            Heard::NoMatch => actions.extend(self.again(ask, true, environment)),
        }
        actions
    }

    /// The question was played: silence counts from now on.
    pub(super) fn asked(&mut self, environment: Environment<'_>) {
        let Verb::Ask(ask) = self.verb() else { return };
        let timeout = Duration::from_millis(u64::from(ask.timeout_ms));
        if let Some(asking) = &mut self.ask
            && asking.deadline.is_none()
        {
            asking.deadline = Some(environment.now.instant + timeout);
        }
    }

    /// Silence was long enough.
    pub(super) fn unanswered(&mut self, environment: Environment<'_>) -> Vec<Action> {
        let flow = self.frame.flow.clone();
        let (Verb::Ask(ask), Some(asking)) =
            (&flow.program.steps[usize::from(self.frame.at.0)].verb, &self.ask)
        else {
            return Vec::new();
        };
        match (&ask.input, asking.digits.len()) {
            (_, 0) => self.again(ask, false, environment),
            (AskInput::Digits { min, next, .. }, count) if count >= usize::from(*min) => {
                self.input(ask, *next, "digits", environment)
            }
            _ => self.again(ask, true, environment),
        }
    }

    /// The first question of a visit; or where to go when there were enough visits, or keys were typed ahead.
    pub(super) fn ask_first(&mut self, ask: &Ask, environment: Environment<'_>) -> Passed {
        if ask.max_visits.is_some_and(|most| self.visit(most)) {
            return Passed::Go("maxVisits".into(), Onward::To(ask.no_match));
        }
        self.questions += 1;
        let mut asking = Asking { attempt: 1, digits: String::new(), deadline: None, speaking: false };
        let typed = std::mem::take(&mut self.typed_ahead);
        let mut keys = typed.chars();
        while let Some(key) = keys.next() {
            match hear(ask, &mut asking.digits, key) {
                Heard::Wait(pause) => asking.deadline = Some(environment.now.instant + pause),
                Heard::Go(next, outcome) => {
                    keys.as_str().clone_into(&mut self.typed_ahead);
                    self.keep(ask, asking.digits);
                    self.acted();
                    return Passed::Go(outcome, Onward::To(next));
                }
                Heard::NoMatch => {
                    self.ask = Some(asking);
                    return Passed::Wait(self.again(ask, true, environment));
                }
            }
        }
        let actions = match asking.deadline {
            Some(_) => Vec::new(),
            None => vec![Action::Play { audio: self.translated(&ask.audio), say: None, early: false }],
        };
        self.ask = Some(asking);
        Passed::Wait(actions)
    }

    /// Nothing fitting came: asks again, or gives up.
    fn again(&mut self, ask: &Ask, something: bool, environment: Environment<'_>) -> Vec<Action> {
        let Some(asking) = &mut self.ask else { return Vec::new() };
        if asking.attempt < ask.attempts {
            let attempt = asking.attempt + 1;
            *asking = Asking { attempt, digits: String::new(), deadline: None, speaking: false };
            let invalid = if something { ask.invalid_audio.as_slice() } else { &[] };
            let audio = self.translated(&[invalid, &ask.audio].concat());
            return vec![Action::Play { audio, say: None, early: false }];
        }
        self.ask = None;
        let (outcome, next) = if something { ("noMatch", ask.no_match) } else { ("noInput", ask.no_input) };
        self.leave(outcome, Onward::To(next), environment)
    }

    fn input(&mut self, ask: &Ask, next: StepIx, outcome: &str, environment: Environment<'_>) -> Vec<Action> {
        let digits = self.ask.take().map(|asking| asking.digits).unwrap_or_default();
        self.keep(ask, digits);
        self.leave(outcome, Onward::To(next), environment)
    }

    fn keep(&mut self, ask: &Ask, digits: String) {
        if let AskInput::Digits { variable, .. } = &ask.input {
            self.frame.values[usize::from(variable.0)] = Value::String(digits);
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
