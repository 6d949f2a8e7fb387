//! Every path that a contact can take through a flow at one time: the real cursor, forked where somebody else decides.
//!
//! A place is a step that waits: for the end of a prompt, for keys, for a callee, for an agent, for a service. Its ways
//! are what may happen there. What a service answers nobody knows: of each variable that is saved, the values are gone
//! through that the flow tells apart.
//! Places are found nearest first. Paths that join are one place: those of equal state (step, variables, bounded visits),
//! and afterwards all from which the same can follow. The calendar stands still; the call's own time goes on, so that
//! silence is silence.

mod told;
mod unknown;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Instant,
};

use call::{
    Now,
    cursor::{Action, Cursor, Dialled, Environment, Facts, Queued, Requested, State},
    messaging::{self, Envelope},
    world::Flow,
};
use model::{
    AgentId, E164, FlowId, IntegrationId, QueueId, TrunkId, VoicemailBoxId,
    program::{Ask, AskInput, Dial, Part, Request, Verb},
};
use serde::Serialize;

/// Most places of a walk.
pub const PLACES_MAX: usize = 500;

/// Most places one after another.
pub const DEPTH_MAX: usize = 64;

/// Most times that an input is repeated until an `ask` gives up; its `attempts` are at most 10.
const REPEATS_MAX: usize = 16;

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
    /// Name of the step; in a called flow, with that one's name before it.
    pub step: String,
    /// Its verb, as manifests call it.
    pub verb: &'static str,
    /// Whom or what the contact is brought to, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// What it does, for people.
    pub does: String,
    /// Whether the call is answered while it waits.
    pub answered: bool,
    /// What may happen.
    pub ways: Vec<Way>,
}

/// Whom or what a step brings the contact to. Printed `Queue/sales`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An agent.
    Agent(AgentId),
    /// An extension of a PBX.
    #[serde(rename_all = "camelCase")]
    Extension {
        /// User part of the SIP address.
        user: String,
        /// The PBX's trunk.
        trunk: TrunkId,
    },
    /// A service.
    Integration(IntegrationId),
    /// A telephone number.
    Number(E164),
    /// A queue.
    Queue(QueueId),
    /// A voicemail box.
    VoicemailBox(VoicemailBoxId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "Agent/{}", id.0.name()),
            Self::Extension { user, trunk } => write!(f, "Extension/{user} of Trunk/{}", trunk.0.name()),
            Self::Integration(id) => write!(f, "Integration/{}", id.0.name()),
            Self::Number(number) => write!(f, "Number/{number}"),
            Self::Queue(id) => write!(f, "Queue/{}", id.0.name()),
            Self::VoicemailBox(id) => write!(f, "VoicemailBox/{}", id.0.name()),
        }
    }
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
    /// What a service has answered, as far as the flow goes by it: variables and their values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub saved: Vec<String>,
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
        /// How it ends.
        end: End,
        /// The same for people.
        how: String,
    },
    /// Further than this walk goes.
    Cut,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// It is hung up, by the flow or after a conversation.
    HungUp,
    /// It is refused with this SIP status, unanswered.
    Refused(u16),
    /// It is ended as its callee has ended it, unanswered.
    Relayed,
    /// Something fails that nothing handles.
    Failed,
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
    /// The number that a `message` step names.
    writes_to: Option<E164>,
}

struct Walker<'a> {
    environment: Environment<'a>,
    places: Vec<Place>,
    known: Vec<(State, bool)>,
    queue: VecDeque<(usize, Fork)>,
    cut: usize,
}

/// Walks a flow from its entry.
#[must_use]
pub fn walk(flow: &Arc<Flow>, facts: Facts, environment: Environment<'_>) -> Walk {
    let mut walker =
        Walker { environment, places: Vec::new(), known: Vec::new(), queue: VecDeque::new(), cut: 0 };
    let mut fork =
        Fork { cursor: Cursor::new(Arc::clone(flow), facts), answered: false, depth: 0, writes_to: None };
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
        let step = fork.cursor.step();
        let end = |end: End, how: String| Next::End { step: step.clone(), end, how };
        let Some(action) = actions.into_iter().rfind(|action| *action != Action::StopPlay) else {
            return end(End::HungUp, "nothing more happens".into());
        };
        match &action {
            Action::StopPlay => return end(End::HungUp, "nothing more happens".into()),
            Action::Reject(reject) if !fork.answered => {
                let code = reject.status();
                return end(End::Refused(code), format!("refuses the call with {code}"));
            }
            Action::Reject(_) | Action::End => return end(End::HungUp, "ends the call".into()),
            Action::Hangup(audio) if audio.is_empty() => return end(End::HungUp, "ends the call".into()),
            Action::Hangup(audio) => {
                return end(End::HungUp, format!("plays {} and ends the call", told::heard(world, audio)));
            }
            Action::Fail(because) => return end(End::Failed, failure(because, fork.answered)),
            Action::Play { early, .. } => fork.answered |= !early,
            Action::Wait(_)
            | Action::Queue { .. }
            | Action::Callback { .. }
            | Action::Voicemail { .. }
            | Action::Record(..) => fork.answered = true,
            Action::Dial(_) | Action::Draw | Action::Request(_) | Action::Message { .. } => {}
        }
        self.place(fork, &action)
    }

    /// The place of a fork: the one that is known, or a new one.
    fn place(&mut self, mut fork: Fork, action: &Action) -> Next {
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
        let verb = fork.cursor.verb();
        let mut does = told::does(self.environment.world, verb, action);
        let mut targets = told::targets(action);
        if let Action::Message { to, .. } = action {
            match self.envelope(&fork.cursor, *to) {
                Ok(Envelope { integration, from, .. }) => {
                    does += &format!(" from {from} by Integration {integration}");
                    targets.push(Target::Integration(integration));
                }
                Err(because) => does += &format!(" (not sent: {because})"),
            }
            fork.writes_to = *to;
        }
        self.places.push(Place {
            step: fork.cursor.step(),
            verb: verb.name(),
            targets,
            does,
            answered: fork.answered,
            ways: Vec::new(),
        });
        self.known.push(key);
        self.queue.push_back((place, fork));
        Next::Place(place)
    }

    /// Who sends an SMS of a step. An error: nobody does.
    fn envelope(&self, cursor: &Cursor, to: Option<E164>) -> Result<Envelope, String> {
        let Facts { contact_number, call_number, .. } = cursor.facts();
        let tenant = cursor.flow().id.0.namespace();
        messaging::envelope(self.environment.world, tenant, (contact_number, call_number), to)
    }

    fn ways(&mut self, fork: &Fork) -> Vec<Way> {
        let environment = self.environment;
        match &fork.cursor.verb().clone() {
            Verb::Ask(ask) => self.asked_all(fork, ask),
            Verb::Dial(dial) | Verb::Transfer { dial, .. } => self.dialled(fork, dial),
            Verb::Queue(_) => {
                let outcomes = [Queued::Ended, Queued::TimedOut, Queued::Full, Queued::NoAgents];
                let way = |outcome| self.after(fork, |cursor| cursor.queued(outcome, environment));
                outcomes.into_iter().map(way).collect()
            }
            Verb::Request(request) => self.answered_all(fork, request),
            Verb::Split { parts, otherwise } => {
                let lots = lots(parts, otherwise.is_some()).into_iter();
                lots.map(|lot| self.after(fork, |cursor| cursor.drawn(lot, environment))).collect()
            }
            Verb::Message { .. } => {
                let sent = self.envelope(&fork.cursor, fork.writes_to).is_ok();
                let outcomes = sent.then_some(Ok(())).into_iter().chain([Err("")]);
                let way = |outcome| self.after(fork, |cursor| cursor.messaged(outcome, environment));
                outcomes.map(way).collect()
            }
            Verb::Callback { .. } | Verb::Voicemail { .. } | Verb::Record { .. } => {
                let way = |success| self.after(fork, |cursor| cursor.done(success, environment));
                [true, false].into_iter().map(way).collect()
            }
            Verb::Wait { .. } => {
                let way = self.after(fork, |cursor| {
                    cursor.waits(environment);
                    let instant = cursor.deadline().unwrap_or(environment.now.instant);
                    let now = Now { instant, ..environment.now };
                    cursor.silence(Environment { now, ..environment })
                });
                vec![way]
            }
            Verb::Play { .. }
            | Verb::Hours { .. }
            | Verb::Branch { .. }
            | Verb::Set { .. }
            | Verb::Call { .. }
            | Verb::Hangup { .. } => vec![self.after(fork, |cursor| cursor.played(environment))],
        }
    }

    /// What follows once something has happened.
    fn after(&mut self, fork: &Fork, happens: impl FnOnce(&mut Cursor) -> Vec<Action>) -> Way {
        let mut fork = fork.clone();
        let before = fork.cursor.path().len();
        let actions = happens(&mut fork.cursor);
        self.way(fork, before, actions)
    }

    /// What follows an answer, for all values that the flow tells apart, and what follows none.
    fn answered_all(&mut self, fork: &Fork, request: &Request) -> Vec<Way> {
        let environment = self.environment;
        let (all, cut) = unknown::values(fork.cursor.running(), request);
        self.cut += cut;
        let mut ways = Vec::new();
        for values in all {
            let saved = Requested::Saved(&values.all);
            let way = self.after(fork, |cursor| cursor.requested(saved, environment));
            ways.push(Way { saved: values.told, ..way });
        }
        ways.push(self.after(fork, |cursor| cursor.requested(Requested::Failed, environment)));
        ways
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
        Way { outcome, entered: None, saved: Vec::new(), passed: without_end(passed, &next), next }
    }
}

/// A lot for each part, and one that is in none.
fn lots(parts: &[Part], others: bool) -> Vec<u8> {
    let mut bound = 0;
    let mut lots = Vec::new();
    for part in parts {
        lots.push(bound);
        bound = part.percent.saturating_add(bound).min(100);
    }
    if others {
        lots.push(bound.min(99));
    }
    lots
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
    let (end, how) = if fork.answered {
        (End::HungUp, "ends the call")
    } else {
        (End::Relayed, "refuses the call with the callee's own code")
    };
    let next = Next::End { step: fork.cursor.step(), end, how: how.into() };
    Way { outcome: outcome.name().into(), entered: None, saved: Vec::new(), passed: Vec::new(), next }
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
