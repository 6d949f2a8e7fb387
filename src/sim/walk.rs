//! Every path that a contact can take through a flow at one time: the real cursor, forked where somebody else decides.
//!
//! A place is a step that waits: for the end of a prompt, for keys, for a callee. Its ways are what may happen there.
//! Places are found nearest first. Paths that join are one place: those of equal state (step, variables, bounded visits),
//! and afterwards all from which the same can follow. The calendar stands still; the call's own time goes on, so that
//! silence is silence.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use call::{
    Now,
    cursor::{Action, Cursor, Dialled, Environment, Facts, State},
    world::{Flow, World},
};
use model::{
    AudioId, FlowId,
    program::{Ask, AskInput, Dial, DialStrategy, DialTarget, Verb},
    snapshot::{Audio, AudioSource},
};
use serde::Serialize;

/// Most places of a walk.
pub const PLACES_MAX: usize = 500;

/// Most places one after another.
pub const DEPTH_MAX: usize = 64;

/// Most times that an input is repeated until an `ask` gives up; its `attempts` are at most 10.
const REPEATS_MAX: usize = 16;

/// Characters of a spoken text that are shown.
const TEXT_MAX: usize = 40;

/// Keys that a contact has.
const KEYS: &str = "1234567890*#";

/// Every path through a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Walk {
    /// Which flow.
    pub flow: FlowId,
    /// Its revision.
    pub revision: String,
    /// Steps passed before anything is waited for, by name and outcome.
    pub passed: Vec<String>,
    /// Where that leads.
    pub next: Next,
    /// Where something is waited for; a [`Next::Place`] counts along it. At most [`PLACES_MAX`].
    pub places: Vec<Place>,
    /// How many ways were not followed, because a bound was reached.
    pub cut: usize,
}

/// A step that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Name of the step.
    pub step: String,
    /// What it does, for people.
    pub does: String,
    /// Whether the call is answered while it waits.
    pub answered: bool,
    /// What may happen.
    pub ways: Vec<Way>,
}

/// Something that may happen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// The outcome, as a call's record names it: `choice 1`, `noInput`, `busy`.
    pub outcome: String,
    /// Keys that stand for whatever the contact may enter; what follows is what follows these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered: Option<String>,
    /// Steps passed afterwards, by name and outcome.
    pub passed: Vec<String>,
    /// Where that leads.
    pub next: Next,
}

/// Where a way leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Next {
    /// To a place, by its index in [`Walk::places`].
    Place(usize),
    /// To the end of the call.
    #[serde(rename_all = "camelCase")]
    End {
        /// Name of the last step.
        step: String,
        /// How it ends, for people.
        how: String,
    },
    /// Further than this walk goes.
    Cut,
}

/// What an `ask` is given, again and again until it gives up.
#[derive(Debug, Clone)]
enum Script {
    Keys(String),
    KeysThenSilence(String),
    Silence,
}

/// A cursor somewhere, and what else is known of its call.
#[derive(Debug, Clone)]
struct Fork {
    cursor: Cursor,
    answered: bool,
    depth: usize,
}

struct Walker<'a> {
    environment: Environment<'a>,
    flow: &'a Flow,
    places: Vec<Place>,
    known: Vec<(State, bool)>,
    queue: VecDeque<(usize, Fork)>,
    cut: usize,
}

/// Walks a flow from its entry.
#[must_use]
pub fn walk(flow: &Arc<Flow>, facts: Facts, environment: Environment<'_>) -> Walk {
    let mut walker =
        Walker { environment, flow, places: Vec::new(), known: Vec::new(), queue: VecDeque::new(), cut: 0 };
    let mut fork = Fork { cursor: Cursor::new(Arc::clone(flow), facts), answered: false, depth: 0 };
    let actions = fork.cursor.begin(environment);
    let passed = fork.cursor.path().to_vec();
    let next = walker.settle(fork, actions);
    while let Some((place, fork)) = walker.queue.pop_front() {
        let ways = walker.ways(&fork);
        walker.places[place].ways = ways;
    }
    let Walker { places, cut, .. } = walker;
    let (places, next) = fold(places, next);
    Walk {
        flow: flow.id.clone(),
        revision: flow.program.revision.clone(),
        passed: without_end(passed, &next),
        next,
        places,
        cut,
    }
}

impl Walker<'_> {
    /// Where a cursor has come to rest.
    fn settle(&mut self, mut fork: Fork, actions: Vec<Action>) -> Next {
        let world = self.environment.world;
        let step = fork.cursor.step().to_owned();
        let end = |how: String| Next::End { step: step.clone(), how };
        let Some(action) = actions.into_iter().rfind(|action| *action != Action::StopPlay) else {
            return end("nothing more happens".into());
        };
        let does = match action {
            Action::StopPlay => return end("nothing more happens".into()),
            Action::Reject(reject) if !fork.answered => {
                return end(format!("refuses the call with {}", reject.status()));
            }
            Action::Reject(_) => return end("ends the call".into()),
            Action::Hangup(audio) if audio.is_empty() => return end("ends the call".into()),
            Action::Hangup(audio) => return end(format!("plays {} and ends the call", heard(world, &audio))),
            Action::Fail(because) => return end(failure(&because, fork.answered)),
            Action::Dial(dial) => rings(&dial),
            Action::Play { audio, early } => {
                fork.answered |= !early;
                if let Some(Verb::Ask(ask)) = self.verb(&fork.cursor) {
                    asks(world, ask)
                } else {
                    format!("plays {}{}", heard(world, &audio), if early { ", as early media" } else { "" })
                }
            }
        };
        self.place(fork, does)
    }

    /// The place of a fork: the one that is known, or a new one.
    fn place(&mut self, mut fork: Fork, does: String) -> Next {
        let key = (fork.cursor.state(), fork.answered);
        if let Some(place) = self.known.iter().position(|known| *known == key) {
            return Next::Place(place);
        }
        if self.places.len() >= PLACES_MAX || fork.depth >= DEPTH_MAX {
            self.cut += 1;
            return Next::Cut;
        }
        fork.depth += 1;
        let place = self.places.len();
        let step = fork.cursor.step().to_owned();
        self.places.push(Place { step, does, answered: fork.answered, ways: Vec::new() });
        self.known.push(key);
        self.queue.push_back((place, fork));
        Next::Place(place)
    }

    fn ways(&mut self, fork: &Fork) -> Vec<Way> {
        let flow = self.flow;
        let Some(verb) = flow.program.steps.iter().find(|step| step.name == fork.cursor.step()) else {
            return Vec::new();
        };
        match &verb.verb {
            Verb::Ask(ask) => self.asked_all(fork, ask),
            Verb::Dial(dial) => self.dialled(fork, dial),
            Verb::Play { .. }
            | Verb::Hours { .. }
            | Verb::Branch { .. }
            | Verb::Set { .. }
            | Verb::Hangup { .. } => {
                let mut fork = fork.clone();
                let before = fork.cursor.path().len();
                let actions = fork.cursor.played(self.environment);
                vec![self.way(fork, before, actions)]
            }
        }
    }

    fn asked_all(&mut self, fork: &Fork, ask: &Ask) -> Vec<Way> {
        let mut ways = Vec::new();
        for script in scripts(ask) {
            let Some(mut way) = self.asked(fork, &script) else { continue };
            if way.outcome == "digits" {
                way.entered = Some(script.keys().to_owned());
            }
            ways.push(way);
        }
        ways
    }

    /// What comes of giving an `ask` one input until it is left. None: it cannot be left so.
    fn asked(&mut self, fork: &Fork, script: &Script) -> Option<Way> {
        let mut fork = fork.clone();
        let before = fork.cursor.path().len();
        let mut environment = self.environment;
        for _ in 0..REPEATS_MAX {
            let mut actions = Vec::new();
            for key in script.keys().chars() {
                actions = fork.cursor.pressed(key, environment);
                if fork.cursor.path().len() > before {
                    return Some(self.way(fork, before, actions));
                }
            }
            if script.ends_in_silence() {
                let _ = fork.cursor.played(environment);
                let deadline: Instant = fork.cursor.deadline()?;
                environment.now = Now { instant: deadline, ..environment.now };
                actions = fork.cursor.silence(environment);
            }
            if fork.cursor.path().len() > before {
                return Some(self.way(fork, before, actions));
            }
        }
        None
    }

    fn dialled(&mut self, fork: &Fork, dial: &Dial) -> Vec<Way> {
        let outcomes = [Dialled::Ended, Dialled::Busy, Dialled::NoAnswer, Dialled::Failed];
        let way = |outcome: Dialled| {
            let mut fork = fork.clone();
            // The caller is answered once the callee is.
            fork.answered |= outcome == Dialled::Ended;
            if dial.relay_failure && outcome != Dialled::Ended {
                return relayed(&fork, outcome);
            }
            let before = fork.cursor.path().len();
            let actions = fork.cursor.dialled(outcome, self.environment);
            self.way(fork, before, actions)
        };
        outcomes.into_iter().map(way).collect()
    }

    fn way(&mut self, fork: Fork, before: usize, actions: Vec<Action>) -> Way {
        let mut entries = fork.cursor.path().get(before..).unwrap_or_default().iter().cloned();
        let first = entries.next().unwrap_or_default();
        let outcome = first.split_once(": ").map_or(first.as_str(), |(_, outcome)| outcome).to_owned();
        let passed: Vec<String> = entries.collect();
        let next = self.settle(fork, actions);
        Way { outcome, entered: None, passed: without_end(passed, &next), next }
    }

    fn verb(&self, cursor: &Cursor) -> Option<&Verb> {
        let step = self.flow.program.steps.iter().find(|step| step.name == cursor.step())?;
        Some(&step.verb)
    }
}

impl Script {
    const fn keys(&self) -> &str {
        match self {
            Self::Keys(keys) | Self::KeysThenSilence(keys) => keys.as_str(),
            Self::Silence => "",
        }
    }

    const fn ends_in_silence(&self) -> bool {
        matches!(self, Self::KeysThenSilence(_) | Self::Silence)
    }
}

/// Places from which the same can follow become one, the nearest of them: what a variable or a count of visits was, is
/// told only where it still matters. Classes are split until all of each class lead to equal classes.
fn fold(places: Vec<Place>, next: Next) -> (Vec<Place>, Next) {
    let mut classes = vec![0; places.len()];
    loop {
        let mut known = BTreeMap::new();
        let sign = |place: &Place| {
            let ways: Vec<Way> = place.ways.iter().map(|way| led(way, &classes)).collect();
            (place.step.clone(), place.does.clone(), place.answered, ways)
        };
        let signs: Vec<_> = places.iter().map(sign).collect();
        let split: Vec<usize> = signs
            .into_iter()
            .map(|sign| {
                let fresh = known.len();
                *known.entry(sign).or_insert(fresh)
            })
            .collect();
        if split == classes {
            break;
        }
        classes = split;
    }
    let mut kept: Vec<Place> = Vec::new();
    for (place, class) in places.into_iter().zip(&classes) {
        if *class == kept.len() {
            let ways = place.ways.iter().map(|way| led(way, &classes)).collect();
            kept.push(Place { ways, ..place });
        }
    }
    let next = if let Next::Place(place) = next { Next::Place(classes[place]) } else { next };
    (kept, next)
}

/// A way that leads to classes of places.
fn led(way: &Way, classes: &[usize]) -> Way {
    let mut way = way.clone();
    if let Next::Place(place) = &mut way.next {
        *place = classes[*place];
    }
    way
}

/// Each choice, nothing, and something else; the last only where a key can be wrong.
fn scripts(ask: &Ask) -> Vec<Script> {
    match &ask.input {
        AskInput::Choices(choices) => {
            let fits = |key: char| choices.iter().any(|choice| choice.digits.starts_with(key));
            let wrong = KEYS.chars().find(|key| !fits(*key)).map(|key| Script::Keys(key.into()));
            let unfinished = choices.iter().find(|choice| choice.digits.len() > 1);
            let unfinished = unfinished.and_then(|choice| choice.digits.chars().next());
            let wrong = wrong.or_else(|| unfinished.map(|key| Script::KeysThenSilence(key.into())));
            let mut scripts: Vec<_> =
                choices.iter().map(|choice| Script::Keys(choice.digits.clone())).collect();
            scripts.push(Script::Silence);
            scripts.extend(wrong);
            scripts
        }
        AskInput::Digits { min, max, terminator, .. } => {
            let digit = if *terminator == Some('1') { '2' } else { '1' };
            let full = digit.to_string().repeat(usize::from(*max));
            let wrong = match terminator {
                Some(key) => Some(Script::Keys((*key).into())),
                None => (*min > 1).then(|| Script::KeysThenSilence(digit.into())),
            };
            [Script::Keys(full), Script::Silence].into_iter().chain(wrong).collect()
        }
    }
}

/// No outcome of the dial is handled: what the callee said goes to the caller.
fn relayed(fork: &Fork, outcome: Dialled) -> Way {
    let name = match outcome {
        Dialled::Ended => "ended",
        Dialled::Busy => "busy",
        Dialled::NoAnswer => "noAnswer",
        Dialled::Failed => "failed",
    };
    let how = if fork.answered { "ends the call" } else { "refuses the call with the callee's own code" };
    let next = Next::End { step: fork.cursor.step().to_owned(), how: how.into() };
    Way { outcome: name.into(), entered: None, passed: Vec::new(), next }
}

/// A step that ends the call notes itself; it is told by the end.
fn without_end(mut passed: Vec<String>, next: &Next) -> Vec<String> {
    if let Next::End { step, .. } = next {
        passed.pop_if(|last| last.strip_suffix(": hangup") == Some(step.as_str()));
    }
    passed
}

fn failure(because: &str, answered: bool) -> String {
    let how = if answered { "the call is ended" } else { "the call is refused with 500" };
    format!("fails and {how}: {because}")
}

fn asks(world: &World, ask: &Ask) -> String {
    let times = if ask.attempts == 1 { "once".into() } else { format!("{} times", ask.attempts) };
    let wanted = match &ask.input {
        AskInput::Choices(choices) => {
            let digits: Vec<_> = choices.iter().map(|choice| choice.digits.as_str()).collect();
            format!("for {}", digits.join(", "))
        }
        AskInput::Digits { min, max, .. } if min == max => format!("for {min} digits"),
        AskInput::Digits { min, max, .. } => format!("for {min} to {max} digits"),
    };
    let silence = seconds(ask.timeout_ms);
    format!("asks {wanted} with {}, {times} at most, {silence} of silence each", heard(world, &ask.audio))
}

fn rings(dial: &Dial) -> String {
    let target = |target: &DialTarget| match target {
        DialTarget::Number { number, trunks, .. } => {
            let trunks: Vec<_> = trunks.iter().map(ToString::to_string).collect();
            format!("{number} by Trunk {}", trunks.join(", else "))
        }
        DialTarget::Extension { user, trunk } => format!("extension {user} of Trunk {trunk}"),
    };
    let targets: Vec<_> = dial.targets.iter().map(target).collect();
    let (join, each) = match dial.strategy {
        DialStrategy::InOrder => (", then ", " each"),
        DialStrategy::Simultaneous => (" and ", ""),
    };
    let each = if targets.len() > 1 { each } else { "" };
    format!("rings {} for {}{each}", targets.join(join), seconds(dial.ring_ms))
}

fn seconds(milliseconds: u32) -> String {
    let time = Duration::from_millis(u64::from(milliseconds));
    format!("{} s", time.as_secs_f64())
}

fn heard(world: &World, audio: &[AudioId]) -> String {
    let names: Vec<_> =
        audio.iter().map(|id| world.snapshot.audio.get(id).map_or_else(String::new, named)).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn named(audio: &Audio) -> String {
    match &audio.source {
        AudioSource::Wav { .. } => format!("Prompt {}", audio.prompt),
        AudioSource::Speech { text, .. } => {
            let short: String = text.chars().take(TEXT_MAX).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("Prompt {} (“{short}{more}”)", audio.prompt)
        }
    }
}
