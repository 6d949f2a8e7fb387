//! The derived index: for each queue and channel who waits and who is free, by what the wait has made enough.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use model::{
    QueueId,
    centre::{Agent, Channel, Queue as Configuration, Selection},
};

use crate::{PRIORITY_MAX, figures::Counted, mutant, pace::Pace};

/// A queue as it is now.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: QueueId,
    pub(crate) configuration: Arc<Configuration>,
    /// One for each of its channels.
    pub(crate) lanes: Vec<usize>,
    /// Waits in seconds after which less is enough, rising.
    pub(crate) thresholds: Vec<u32>,
    /// What is enough of each skill: before the first threshold, and after each.
    pub(crate) minima: Vec<Vec<u8>>,
    /// Contacts that wait or are offered.
    pub(crate) waiting: u32,
    pub(crate) counted: Counted,
}

impl Queue {
    pub(crate) fn new(id: QueueId, configuration: Arc<Configuration>, counted: Counted) -> Self {
        let (thresholds, minima) = stages(&configuration);
        Self { id, configuration, lanes: Vec::new(), thresholds, minima, waiting: 0, counted }
    }

    /// What so long a wait has made of it: an index of [`Self::minima`].
    pub(crate) fn stage(&self, waited_seconds: u64) -> usize {
        let passed = |threshold: &u32| u64::from(*threshold) <= waited_seconds && !mutant!(NeverRelaxes);
        self.thresholds.partition_point(passed)
    }

    /// The first stage at which somebody with such skills is good enough. None: never.
    pub(crate) fn suffices(&self, level: impl Fn(&str) -> u8) -> Option<usize> {
        suffices(&self.minima, &self.configuration, level)
    }

    /// The sum of somebody's levels in what the queue asks for.
    pub(crate) fn score(&self, level: impl Fn(&str) -> u8) -> i64 {
        self.configuration.skills.iter().map(|skill| i64::from(level(&skill.name))).sum()
    }

    /// What the selection orders free agents by, the lowest first.
    pub(crate) fn selected(&self, score: i64, turn: u64, occupancy: impl FnOnce() -> i64) -> i64 {
        match self.configuration.selection {
            Selection::LongestIdle => 0,
            Selection::MostSkilled if mutant!(WorstAgentFirst) => score,
            Selection::MostSkilled => -score,
            Selection::LeastSkilled => score,
            Selection::RoundRobin => i64::try_from(turn).unwrap_or(i64::MAX),
            Selection::LeastOccupied => occupancy(),
        }
    }
}

/// The first stage of a queue's wait, from 0, at which an agent may be offered its contacts. None: never.
#[must_use]
pub fn serves(agent: &Agent, id: &QueueId, queue: &Configuration) -> Option<usize> {
    if !agent.queues.is_empty() && !agent.queues.contains_key(id) {
        return None;
    }
    suffices(&stages(queue).1, queue, |skill| agent.skills.get(skill).copied().unwrap_or(0))
}

fn suffices(minima: &[Vec<u8>], queue: &Configuration, level: impl Fn(&str) -> u8) -> Option<usize> {
    let levels: Vec<u8> = queue.skills.iter().map(|skill| level(&skill.name)).collect();
    minima.iter().position(|minima| minima.iter().zip(&levels).all(|(minimum, level)| level >= minimum))
}

/// A level that was enough once stays enough: a list that rises again would take agents away from who waits longer.
fn stages(queue: &Configuration) -> (Vec<u32>, Vec<Vec<u8>>) {
    let times: BTreeSet<u32> =
        queue.skills.iter().flat_map(|skill| skill.relax.iter().map(|step| step.0)).collect();
    let thresholds: Vec<u32> = times.into_iter().collect();
    let mut enough: Vec<u8> = queue.skills.iter().map(|skill| skill.minimum_after(0)).collect();
    let mut minima = vec![enough.clone()];
    for threshold in &thresholds {
        for (enough, skill) in enough.iter_mut().zip(&queue.skills) {
            *enough = (*enough).min(skill.minimum_after(*threshold));
        }
        minima.push(enough.clone());
    }
    (thresholds, minima)
}

/// Contacts and agents of one channel of a queue.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) queue: usize,
    pub(crate) channel: Channel,
    pub(crate) stages: Vec<Stage>,
    /// Agents signed in who may serve it at some stage.
    pub(crate) staffed: u32,
    /// Those of them who take contacts: reachable, and not away.
    pub(crate) working: u32,
    /// When its contacts go, unless somebody comes.
    pub(crate) deserted: Option<Instant>,
    pub(crate) pace: Pace,
}

/// Those of one stage.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// Who waits, the first first, with places among the contacts.
    pub(crate) waiting: BTreeMap<Place, usize>,
    /// Free agents who are good enough from this stage on.
    pub(crate) free: BTreeSet<Free>,
}

impl Lane {
    pub(crate) fn new(queue: usize, channel: Channel, stages: usize) -> Self {
        let stages = (0..stages).map(|_| Stage::default()).collect();
        Self { queue, channel, stages, staffed: 0, working: 0, deserted: None, pace: Pace::default() }
    }

    /// How many go before this one.
    pub(crate) fn ahead(&self, place: &Place) -> usize {
        self.stages.iter().map(|stage| stage.waiting.range(..place).count()).sum()
    }
}

/// Where a contact stands among those who wait, the first being the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) priority: u8,
    pub(crate) entered: Instant,
    pub(crate) contact: crate::ContactId,
}

impl Place {
    fn key(&self) -> (u8, Instant, crate::ContactId) {
        let before = if mutant!(ReversedPriority) { self.priority } else { PRIORITY_MAX - self.priority };
        (before, self.entered, self.contact)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.key().cmp(&other.key());
        if mutant!(LastComeFirst) { order.reverse() } else { order }
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where an agent stands among those who are free, the first being the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Free {
    /// That the agent gives the queue.
    pub(crate) rank: u8,
    /// Contacts that the agent has.
    pub(crate) contacts: u8,
    /// What the queue selects by.
    pub(crate) selected: i64,
    pub(crate) idle_since: Instant,
    /// Place among the agents.
    pub(crate) agent: usize,
}
