//! A made-up world around the real engine: a call comes, agents and callees do what a test says, prompts last as long as
//! their audio, services answer, and one clock is moved from event to event.
//!
//! A [`Stage`] is a configuration made ready, for any number of tests; [`Stage::run`] runs one. **Equal tests on equal stages
//! give equal results**: nothing but the tests' own words decides.
//!
//! What is real: admission, flows, queues, agents' states, offers, the SIP between all of them, records. What is made up: the
//! network, which loses nothing and takes no time; the media server; people; services. What belongs to the wire alone is left
//! out: TLS, registrations and digests of trunks, SRTP, ways of writing numbers, rates of tenants.

mod judge;
pub(crate) mod media;
mod people;
pub(crate) mod plain;
mod run;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use call::world::{Refused, World};
use model::{
    AudioId, FlowId,
    calltest::{CallOutcome, CallTest, HoursState},
    snapshot::{BusinessHours, Snapshot},
};
use serde::Serialize;

pub use self::run::{MOVES_MAX, TIME_MAX};
use self::{plain::Plain, run::Run};

/// Seconds of a day.
const DAY: u32 = 86_400;

/// A configuration made ready for tests.
#[derive(Debug)]
pub struct Stage {
    plain: Plain,
    lengths: Arc<BTreeMap<AudioId, Duration>>,
    /// Names of Prompts by what they sound like.
    names: BTreeMap<AudioId, String>,
}

/// What a test wants and does not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Path of the field in the CallTest.
    pub field: String,
    /// What was expected, and what happened instead.
    pub message: String,
}

impl Failure {
    fn new(field: &str, message: String) -> Self {
        Self { field: field.to_owned(), message }
    }
}

/// A step's outcome that was taken: flow, name of the step, outcome.
pub type Taken = (FlowId, String, String);

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Empty: it passes.
    pub failures: Vec<Failure>,
    /// How the call came out. None: it did not.
    pub outcome: Option<CallOutcome>,
    /// Its path, for people.
    pub path: String,
    /// How long the call took, by the clock of the made-up world.
    pub length: Duration,
    /// Every outcome of a step that it took.
    pub taken: BTreeSet<Taken>,
}

impl Stage {
    /// Makes a snapshot ready. `lengths` are those of sounds that are files; others last as long as it takes to say them.
    ///
    /// # Errors
    /// The first field of the snapshot that is wrong.
    pub fn new(snapshot: &Snapshot, lengths: &BTreeMap<AudioId, Duration>) -> Result<Self, Refused> {
        let audio = snapshot.audio.iter();
        let names = audio.map(|(id, audio)| (*id, audio.prompt.0.name().to_owned()));
        Ok(Self {
            plain: Plain::new(snapshot)?,
            lengths: Arc::new(media::lengths(snapshot, lengths)),
            names: names.collect(),
        })
    }

    /// What calls go through here.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.plain.world
    }

    /// Runs a test. `begins` is any instant at all.
    #[must_use]
    pub fn run(&self, test: &CallTest, begins: Instant) -> Ran {
        let changed = match self.with_hours(test) {
            Ok(changed) => changed,
            Err(refused) => return Ran::failed(Failure::new("spec.hours", refused.to_string())),
        };
        let stage = changed.as_ref().unwrap_or(self);
        let mut run = Run::new(stage, test, begins);
        let failures = match run.run() {
            Ok(()) => judge::judge(&run, test, &self.names),
            Err(stuck) => vec![Failure { field: stuck.field, message: stuck.message }],
        };
        let outcome = run.story.outcome().map(|(outcome, _)| outcome);
        let taken = run.story.flow.as_ref().map(|flow| taken(flow, &run.story.entries));
        Ran {
            failures,
            outcome,
            path: run.story.told_path(),
            length: run.length(),
            taken: taken.unwrap_or_default(),
        }
    }

    /// The same with the business hours that the test sets. None: it sets none.
    fn with_hours(&self, test: &CallTest) -> Result<Option<Self>, Refused> {
        if test.hours.is_empty() {
            return Ok(None);
        }
        let world = &self.plain.world;
        let mut snapshot = Snapshot::clone(&world.snapshot);
        for (id, state) in &test.hours {
            if let Some(hours) = snapshot.hours.get_mut(id) {
                *hours = Arc::new(always(hours, *state, test));
            }
        }
        let secrets = world.secrets().clone();
        let changed = World::new(Arc::new(snapshot), world.names().clone(), Some(world))?;
        let plain = self.plain.with_world(Arc::new(changed.with_secrets(secrets)));
        Ok(Some(Self { plain, lengths: Arc::clone(&self.lengths), names: BTreeMap::new() }))
    }
}

impl Ran {
    /// Of a test that could not be run.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self {
            failures: vec![failure],
            outcome: None,
            path: String::new(),
            length: Duration::ZERO,
            taken: BTreeSet::new(),
        }
    }
}

/// Hours that are one thing, as long as a test can take.
fn always(hours: &BusinessHours, state: HoursState, test: &CallTest) -> BusinessHours {
    let day = match state {
        HoursState::Open => vec![(0, DAY)],
        HoursState::Closed | HoursState::Holiday => Vec::new(),
    };
    let zone = jiff::tz::TimeZone::get(&hours.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let first = test.at.to_zoned(zone).date();
    let days = u32::try_from(TIME_MAX.as_secs()).unwrap_or(u32::MAX) / DAY + 2;
    let holidays = std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(days as usize);
    let holidays = holidays.map(|date| (date, "test".to_owned()));
    BusinessHours {
        time_zone: hours.time_zone.clone(),
        week: std::array::from_fn(|_| day.clone()),
        holidays: if state == HoursState::Holiday { holidays.collect() } else { Vec::new() },
    }
}

/// The outcomes that entries of a path tell of. Called flows are of the same namespace.
fn taken(flow: &FlowId, entries: &BTreeSet<String>) -> BTreeSet<Taken> {
    let taken = entries.iter().map(|entry| {
        let (step, outcome) = story::step_and_outcome(entry);
        let (flow, step) = match step.split_once('/') {
            Some((callee, step)) => (FlowId::new(flow.0.namespace(), callee), step),
            None => (flow.clone(), step),
        };
        // What is said beside an outcome is for people.
        let outcome = outcome.split(" (").next().unwrap_or_default();
        (flow, step.to_owned(), outcome.to_owned())
    });
    taken.collect()
}
