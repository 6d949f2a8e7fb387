//! How queues stand and what agents do, for whoever asks.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, OnceLock, PoisonError},
};

use acd::{Away, Figures, Live, State};
use call::{
    Now,
    call::{Consult, ConsultStage, Listens, Talk},
    engine::{Offered, Talking, WrapUp},
};
use jiff::{SignedDuration, Timestamp};
use model::{AgentId, CallId, QueueId, centre::Disposition};
use serde::Serialize;
use tokio::sync::broadcast;
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

/// A contact that is offered to an agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferNow {
    /// Which.
    pub interaction: String,
    /// Call-ID of its leg.
    pub call_id: String,
    /// To whom.
    #[serde(skip)]
    pub agent: AgentId,
    /// Where it waits.
    pub queue: QueueId,
    /// Its number; empty: withheld.
    pub number: String,
    /// What it dialled.
    pub dialled: String,
    /// Whether it is called back, once the agent is there.
    pub callback: bool,
    /// Whether the telephones ring only once the agent has said so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
    /// Of a preview: the contact's name, if it is known, and whatever else is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<BTreeMap<String, String>>,
    /// Steps of the flow that it has passed.
    pub path: Vec<String>,
    /// How long it has waited.
    pub waited_seconds: f64,
    /// Until when it is offered.
    pub until: Timestamp,
}

/// A conversation of an agent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallNow {
    /// Which.
    pub interaction: String,
    /// Call-ID of its first leg.
    pub call_id: String,
    /// Whose.
    #[serde(skip)]
    pub agent: AgentId,
    /// The other side's number; empty: withheld.
    pub number: String,
    /// Whether the agent, or the agent's telephone, holds.
    pub on_hold: bool,
    /// Whether the agent is heard by nobody.
    pub muted: bool,
    /// Whom the agent asks back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consult: Option<ConsultNow>,
    /// Whether whom the agent calls is still to answer, or the own telephone of one who is to listen.
    pub rings: bool,
    /// The queue that it came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueId>,
    /// Whose it is, where the agent only listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervision: Option<SupervisionNow>,
}

/// A conversation that a supervisor listens to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisionNow {
    /// Whose it is.
    pub agent: AgentId,
    /// `Monitor`, `Whisper` or `Barge`.
    pub mode: &'static str,
}

/// Somebody whom an agent asks back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsultNow {
    /// As the agent named them.
    pub to: String,
    /// `Rings`, `Talks` or `Conference`.
    pub state: &'static str,
}

/// The work after a contact, and what its agent may say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WrapUpNow {
    /// Which contact.
    pub interaction: String,
    /// Call-ID of its first leg.
    pub call_id: String,
    /// Whose work.
    #[serde(skip)]
    pub agent: AgentId,
    /// Where the contact waited.
    pub queue: QueueId,
    /// What may have come of it, each with a `name` and a `title`. None: nothing is asked.
    pub dispositions: Vec<Disposition>,
    /// Whether `finish` must name one of them.
    pub required: bool,
}

/// Something that an agent's desk shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// The agent does something else.
    State(AgentNow),
    /// The agent's telephones ring.
    Offer(Box<OfferNow>),
    /// They ring no more, and nobody answered.
    OfferOver {
        /// Whose.
        agent: AgentId,
        /// Which contact.
        interaction: String,
    },
    /// A conversation begins, or stands otherwise.
    Call(CallNow),
    /// It is over for the agent.
    CallOver {
        /// Whose.
        agent: AgentId,
        /// Which.
        interaction: String,
    },
    /// Work after a contact begins.
    WrapUp(WrapUpNow),
    /// It is done, or its time is over.
    WrapUpOver {
        /// Whose.
        agent: AgentId,
        /// After which.
        interaction: String,
    },
    /// Something was not done, or came to nothing.
    Refused {
        /// For whom.
        agent: AgentId,
        /// Of which contact. None: of one that was to begin.
        interaction: Option<String>,
        /// Why.
        message: String,
    },
}

/// What waits for a desk that does not read. One that is further behind is told how things stand.
const SHOWN_MAX: usize = 1_024;

/// Queues by the place of their engine, and agents.
#[derive(Debug, Default)]
pub struct Floors {
    queues: Mutex<BTreeMap<usize, Vec<QueueNow>>>,
    agents: Mutex<BTreeMap<AgentId, AgentNow>>,
    offers: Mutex<BTreeMap<AgentId, OfferNow>>,
    calls: Mutex<BTreeMap<(AgentId, CallId), CallNow>>,
    wraps: Mutex<BTreeMap<(AgentId, CallId), WrapUpNow>>,
    shown: OnceLock<broadcast::Sender<Shown>>,
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
        if *state != State::Offered {
            self.offers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::SignedOut {
            agents.remove(&id);
        } else {
            agents.insert(id, shown.clone());
        }
        self.tell(Shown::State(shown));
    }

    pub(crate) fn offered(&self, offered: Offered, now: Now) {
        info!(call_id = offered.call_id, agent = %offered.agent, queue = %offered.queue, "offered");
        let left = offered.until.saturating_duration_since(now.instant);
        let until = now.wall.checked_add(SignedDuration::try_from(left).unwrap_or_default());
        let card = offered.preview.as_deref();
        let offer = OfferNow {
            interaction: offered.call.to_string(),
            call_id: offered.call_id,
            agent: offered.agent.clone(),
            queue: offered.queue,
            number: offered.number,
            dialled: offered.dialled,
            callback: offered.is_callback,
            preview: card.is_some(),
            name: card.map(|card| card.name.clone()).filter(|name| !name.is_empty()),
            variables: card.map(|card| card.variables.clone()),
            path: offered.path,
            waited_seconds: offered.waited.as_secs_f64(),
            until: until.unwrap_or(now.wall),
        };
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.insert(offered.agent, offer.clone());
        self.tell(Shown::Offer(Box::new(offer)));
    }

    pub(crate) fn offer_over(&self, call: CallId, agent: AgentId) {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.remove(&agent);
        self.tell(Shown::OfferOver { agent, interaction: call.to_string() });
    }

    pub(crate) fn talk(&self, Talking { call, call_id, number, queue, talk }: Talking) {
        let Talk { agent, on_hold, muted, consult, rings, listens } = talk;
        let supervision = listens.map(|Listens { agent, mode }| SupervisionNow { agent, mode: mode.word() });
        let consult = consult.map(|Consult { to, stage }| {
            let state = match stage {
                ConsultStage::Rings => "Rings",
                ConsultStage::Talks => "Talks",
                ConsultStage::Conference => "Conference",
            };
            ConsultNow { to, state }
        });
        let interaction = call.to_string();
        let now = CallNow {
            interaction,
            call_id,
            agent: agent.clone(),
            number,
            on_hold,
            muted,
            consult,
            rings,
            queue,
            supervision,
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert((agent, call), now.clone());
        self.tell(Shown::Call(now));
    }

    pub(crate) fn talk_over(&self, call: CallId, agent: AgentId) {
        let key = (agent, call);
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.tell(Shown::CallOver { agent: key.0, interaction: call.to_string() });
    }

    pub(crate) fn wrap_up(&self, WrapUp { call, call_id, agent, queue, dispositions, is_required }: WrapUp) {
        let interaction = call.to_string();
        let required = is_required;
        let now = WrapUpNow { interaction, call_id, agent: agent.clone(), queue, dispositions, required };
        self.wraps.lock().unwrap_or_else(PoisonError::into_inner).insert((agent, call), now.clone());
        self.tell(Shown::WrapUp(now));
    }

    pub(crate) fn wrap_up_over(&self, call: CallId, agent: AgentId) {
        let key = (agent, call);
        self.wraps.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.tell(Shown::WrapUpOver { agent: key.0, interaction: call.to_string() });
    }

    pub(crate) fn refused(&self, call: Option<CallId>, agent: AgentId, because: String) {
        let interaction = call.map(|call| call.to_string());
        info!(%agent, interaction, "not done: {because}");
        self.tell(Shown::Refused { agent, interaction, message: because });
    }

    /// Conversations of an agent.
    #[must_use]
    pub fn calls_of(&self, agent: &AgentId) -> Vec<CallNow> {
        of_one(&self.calls, agent)
    }

    /// Work of an agent after contacts.
    #[must_use]
    pub fn wraps_of(&self, agent: &AgentId) -> Vec<WrapUpNow> {
        of_one(&self.wraps, agent)
    }

    /// Conversations of agents that came by queues which `is_theirs` names.
    #[must_use]
    pub fn conversations(&self, is_theirs: impl Fn(&QueueId) -> bool) -> Vec<CallNow> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |call: &&CallNow| call.supervision.is_none() && !call.rings;
        calls
            .values()
            .filter(own)
            .filter(|call| call.queue.as_ref().is_some_and(&is_theirs))
            .cloned()
            .collect()
    }

    fn tell(&self, shown: Shown) {
        // Nobody need look.
        let _ = self.shown().send(shown);
    }

    fn shown(&self) -> &broadcast::Sender<Shown> {
        self.shown.get_or_init(|| broadcast::channel(SHOWN_MAX).0)
    }

    /// What happens from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Shown> {
        self.shown().subscribe()
    }

    /// What an agent does, and whom the agent is offered. None: not signed in.
    #[must_use]
    pub fn of_agent(&self, agent: &AgentId) -> Option<(AgentNow, Option<OfferNow>)> {
        let state = self.agents.lock().unwrap_or_else(PoisonError::into_inner).get(agent).cloned()?;
        Some((state, self.offers.lock().unwrap_or_else(PoisonError::into_inner).get(agent).cloned()))
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

fn of_one<T: Clone>(all: &Mutex<BTreeMap<(AgentId, CallId), T>>, agent: &AgentId) -> Vec<T> {
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let first = (agent.clone(), CallId(0));
    all.range(first..).take_while(|((whose, _), _)| whose == agent).map(|(_, one)| one.clone()).collect()
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
