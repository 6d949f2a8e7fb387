//! How queues stand and what agents do, for whoever asks.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use acd::{Away, Figures, Live, State};
use call::Now;
use jiff::{SignedDuration, Timestamp};
use model::{AgentId, QueueId};
use serde::Serialize;
use tracing::info;

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueNow {
    /// Which.
    #[serde(rename = "queue")]
    pub id: QueueId,
    /// When that was so.
    pub at: Timestamp,
    /// Contacts that wait.
    pub waiting: u32,
    /// How long the first of them has.
    pub longest_wait_seconds: Option<f64>,
    /// Agents signed in who serve it.
    pub signed_in: u32,
    /// Those who wait for a contact.
    pub available: u32,
    /// Those at work on contacts.
    pub busy: u32,
    /// 0 to 1: at work ÷ (at work + available).
    pub occupancy: Option<f64>,
    /// Of a contact that came now. None: not known yet.
    pub expected_wait_seconds: Option<f64>,
    /// Since the edge began.
    pub total: Counts,
    /// Of the last half hour.
    pub recent: Counts,
}

/// What came of a queue's contacts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Contacts that came to wait.
    pub offered: u64,
    /// Whom an agent answered.
    pub answered: u64,
    /// Those of them within the aim.
    pub answered_in_time: u64,
    /// Who hung up.
    pub abandoned: u64,
    /// Those of them who hung up within five seconds, and count for nothing.
    pub abandoned_early: u64,
    /// Who waited as long as they might.
    pub timed_out: u64,
    /// Who found it full.
    pub full: u64,
    /// Who found no agent signed in.
    pub no_agents: u64,
    /// 0 to 1: answered in time ÷ (offered − abandoned early).
    pub service_level: Option<f64>,
    /// 0 to 1: abandoned late ÷ (offered − abandoned early).
    pub abandonment: Option<f64>,
    /// Of those who were answered.
    pub mean_wait_seconds: Option<f64>,
    /// Of a contact, with the work after.
    pub mean_handling_seconds: Option<f64>,
}

impl From<Figures> for Counts {
    fn from(figures: Figures) -> Self {
        Self {
            offered: figures.offered,
            answered: figures.answered,
            answered_in_time: figures.answered_in_time,
            abandoned: figures.abandoned,
            abandoned_early: figures.abandoned_early,
            timed_out: figures.timed_out,
            full: figures.full,
            no_agents: figures.no_agents,
            service_level: figures.service_level(),
            abandonment: figures.abandonment(),
            mean_wait_seconds: figures.mean_wait().map(|wait| wait.as_secs_f64()),
            mean_handling_seconds: figures.mean_handling().map(|time| time.as_secs_f64()),
        }
    }
}

/// An agent, and what is done there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentNow {
    /// Who.
    #[serde(rename = "agent")]
    pub id: AgentId,
    /// `SignedOut`, `Unreachable`, `Away`, `Available`, `Offered`, `Busy` or `WrapUp`.
    pub state: &'static str,
    /// Why away: as the agent said, or `Unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the work after a contact ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Since when.
    pub since: Timestamp,
}

/// Queues by the place of their engine, and agents.
#[derive(Debug, Default)]
pub struct Floors {
    queues: Mutex<BTreeMap<usize, Vec<QueueNow>>>,
    agents: Mutex<BTreeMap<AgentId, AgentNow>>,
}

impl Floors {
    pub(crate) fn show<'a>(&self, place: usize, queues: impl Iterator<Item = (&'a QueueId, Live)>, now: Now) {
        let shown: Vec<QueueNow> = queues.map(|(id, live)| of(id, &live, now.wall)).collect();
        let mut all = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_empty() {
            all.remove(&place);
        } else {
            all.insert(place, shown);
        }
    }

    pub(crate) fn state(&self, id: AgentId, state: &State, now: Now) {
        let (reason, until) = match state {
            State::Away(Away::Chosen(reason)) => (Some(reason.to_string()), None),
            State::Away(Away::Unanswered) => (Some("Unanswered".to_owned()), None),
            State::WrapUp(until) => {
                let left = until.saturating_duration_since(now.instant);
                (None, now.wall.checked_add(SignedDuration::try_from(left).unwrap_or_default()).ok())
            }
            State::SignedOut | State::Unreachable | State::Available | State::Offered | State::Busy => {
                (None, None)
            }
        };
        info!(agent = %id, "{}", word(state));
        let shown = AgentNow { id: id.clone(), state: word(state), reason, until, since: now.wall };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::SignedOut {
            agents.remove(&id);
        } else {
            agents.insert(id, shown);
        }
    }

    /// Queues as they stood within the last second.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueNow> {
        let all = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().flatten().cloned().collect()
    }

    /// Agents who are signed in, or still in a conversation.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentNow> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

fn of(id: &QueueId, live: &Live, at: Timestamp) -> QueueNow {
    QueueNow {
        id: id.clone(),
        at,
        waiting: live.waiting,
        longest_wait_seconds: live.longest_wait.map(|wait| wait.as_secs_f64()),
        signed_in: live.signed_in,
        available: live.available,
        busy: live.busy,
        occupancy: live.occupancy,
        expected_wait_seconds: live.expected_wait.map(|wait| wait.as_secs_f64()),
        total: live.total.into(),
        recent: live.recent.into(),
    }
}

/// A state's name.
pub(crate) const fn word(state: &State) -> &'static str {
    match state {
        State::SignedOut => "SignedOut",
        State::Unreachable => "Unreachable",
        State::Away(_) => "Away",
        State::Available => "Available",
        State::Offered => "Offered",
        State::Busy => "Busy",
        State::WrapUp(_) => "WrapUp",
    }
}

/// Queues and agents in the text format of Prometheus.
pub(crate) fn write<'a>(text: &mut String, floors: impl Iterator<Item = &'a Floors> + Clone) {
    type Of = fn(&QueueNow) -> Option<f64>;
    let all: [(&str, &str, &str, Of); 12] = [
        ("queue_waiting", "gauge", "Contacts that wait.", |queue| Some(queue.waiting.into())),
        ("queue_longest_wait_seconds", "gauge", "Wait of the first of them.", |queue| {
            queue.longest_wait_seconds
        }),
        ("queue_agents_signed_in", "gauge", "Agents signed in who serve a queue.", |queue| {
            Some(queue.signed_in.into())
        }),
        ("queue_agents_available", "gauge", "Agents who wait for a contact.", |queue| {
            Some(queue.available.into())
        }),
        ("queue_agents_busy", "gauge", "Agents at work on contacts.", |queue| Some(queue.busy.into())),
        ("queue_expected_wait_seconds", "gauge", "Wait of a contact that came now.", |queue| {
            queue.expected_wait_seconds
        }),
        ("queue_offered_total", "counter", "Contacts that came to wait.", |queue| {
            Some(queue.total.offered as f64)
        }),
        ("queue_answered_total", "counter", "Contacts whom an agent answered.", |queue| {
            Some(queue.total.answered as f64)
        }),
        ("queue_answered_in_time_total", "counter", "Contacts answered within the aim.", |queue| {
            Some(queue.total.answered_in_time as f64)
        }),
        ("queue_abandoned_total", "counter", "Contacts who hung up while they waited.", |queue| {
            Some(queue.total.abandoned as f64)
        }),
        ("queue_timed_out_total", "counter", "Contacts who waited as long as they might.", |queue| {
            Some(queue.total.timed_out as f64)
        }),
        (
            "queue_service_level_ratio",
            "gauge",
            "Share of the last half hour's contacts answered within the aim.",
            |queue| queue.recent.service_level,
        ),
    ];
    let queues: Vec<QueueNow> = floors.clone().flat_map(Floors::queues).collect();
    // Writing to a String cannot fail.
    for (name, kind, help, of) in all {
        let name = format!("switchboard_{name}");
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (queue, value) in queues.iter().filter_map(|queue| Some((queue, of(queue)?))) {
            let _ = writeln!(text, "{name}{{queue=\"{}\"}} {value}", queue.id);
        }
    }
    let mut states: BTreeMap<&'static str, u64> = BTreeMap::new();
    for agent in floors.flat_map(Floors::agents) {
        *states.entry(agent.state).or_default() += 1;
    }
    let name = "switchboard_agents";
    let _ = write!(text, "# HELP {name} Agents who are signed in, by what they do.\n# TYPE {name} gauge\n");
    for (state, count) in states {
        let _ = writeln!(text, "{name}{{state=\"{state}\"}} {count}");
    }
}
