//! A contact that is called back, or that an agent is to call: its turn in a queue is waited for without a leg. Once an agent
//! is free, one of three comes first.
//!
//! - The agent, whose telephones ring; the contact is dialled when the agent is there.
//! - The contact, while the agent is held ready by the floor's offer. It waits for no second time, since an agent is free when
//!   it is dialled, and no agent talks to a telephone that nobody answers. Should that agent not come to the telephone after
//!   all, or be gone by then, the contact waits before all others, hears why and music, and for [`PRESENT_MAX`] at most.
//! - A card at the agent's desk (a preview): the agent says whether the number is to be dialled. Then it goes on as the first.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use acd::{Outcome, mutant};
use jiff::Timestamp;
use model::{AgentId, CallId, E164, QueueId, TrunkId, centre::First, program::DialTarget};

use super::{Call, Context, Effect, Environment, FloorOrder, Incoming, StateA};
use crate::{
    admission::{Numbered, Origin},
    cursor::{Action, Dialled},
    dial::{Branch, Party, Whom},
    record::EndedBy,
    registrar::StationId,
};

/// Longest wait for the turn of one who is called back.
pub const PROMISE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a contact that is called back may ring, in milliseconds: the agent hears it, or is held ready for it.
const RING_MS: u32 = 60_000;
const RING_FIRST_MS: u32 = 30_000;

/// Longest wait of a contact that was called first and has answered.
pub const PRESENT_MAX: Duration = Duration::from_mins(2);

/// How much longer than the contact rings an agent is held ready.
const SLACK: Duration = Duration::from_secs(5);

/// Whom to call back, and where its turn is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised {
    /// Whose turn.
    pub queue: QueueId,
    /// Where it is called.
    pub number: E164,
    /// Since when its wait counts.
    pub entered: Instant,
    /// The same by the calendar.
    pub entered_at: Timestamp,
    /// Not before then.
    pub not_before: Option<Instant>,
    /// How often it is dialled at most; 1 and more.
    pub attempts: u8,
    /// How long after one that was in vain the next one is.
    pub retry: Duration,
    /// Who is called first.
    pub first: First,
    /// What the agent sees before it says whether to dial. None: the agent is not asked.
    pub card: Option<Arc<Card>>,
}

/// What an agent sees of somebody whom it may have dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The contact's name; empty: not known.
    pub name: String,
    /// Whatever else is known of it.
    pub variables: BTreeMap<String, String>,
    /// How long the agent may look at it.
    pub shown_for: Duration,
}

/// A promise that is being kept.
#[derive(Debug)]
pub(super) struct Promise {
    pub promised: Promised,
    /// How the contact is reached, and what it sees.
    pub trunks: Vec<TrunkId>,
    pub caller_id: Option<E164>,
    /// How long the conversation may last.
    longest: Duration,
    /// The contact is being dialled.
    pub dials: bool,
    /// The contact is on the line.
    pub is_there: bool,
    /// An agent and the contact have talked: what becomes of the contact now is the same as in any other call.
    pub kept: bool,
}

impl Promise {
    /// When it may begin to wait.
    pub fn deadline(&self) -> Option<Instant> {
        self.promised.not_before
    }
}

impl Call {
    /// A call to somebody who is called back; [`wait_for_turn`](Self::wait_for_turn) starts it.
    #[must_use]
    pub fn called_back(
        id: CallId,
        incoming: Incoming,
        (promised, trunks, caller_id): (Promised, Vec<TrunkId>, Option<E164>),
        environment: Environment<'_>,
    ) -> Self {
        let now = environment.now.instant;
        let mut call = Self::new(id, incoming, environment);
        let longest = call.ends_by.saturating_duration_since(now);
        call.ends_by = promised.not_before.unwrap_or(now) + PROMISE_MAX + longest;
        (call.a.state, call.a.station, call.is_outgoing) = (StateA::Outgoing, None, true);
        call.cursor.is_for(promised.number.to_string());
        let (dials, is_there, kept) = (false, false, false);
        call.promise =
            Some(Box::new(Promise { promised, trunks, caller_id, longest, dials, is_there, kept }));
        call
    }

    /// Waits for the contact's turn, or until it may.
    pub fn wait_for_turn(&mut self, context: &mut Context<'_>) {
        let now = context.environment.now.instant;
        let Some(promise) = &mut self.promise else { return };
        if promise.promised.not_before.is_none_or(|at| at <= now) {
            promise.promised.not_before = None;
            self.begin(context);
        }
    }

    /// It may be time to.
    pub(super) fn promise_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        if self.promise.as_ref().and_then(|promise| promise.deadline()).is_some_and(|at| at <= now) {
            self.wait_for_turn(context);
        }
    }

    /// The number whose cap the call counts for: one that calls somebody back is none to the number that was called.
    #[must_use]
    pub fn burdens(&self) -> Option<&Numbered> {
        self.incoming.admitted.number.as_ref().filter(|_| self.promise.is_none())
    }

    /// Whether that number is called back by this call.
    #[must_use]
    pub fn promises(&self, queue: &QueueId, number: E164) -> bool {
        let waits = self.promise.as_ref().filter(|_| self.ending.is_none() && !self.is_preview());
        let promised = waits.map(|promise| &promise.promised);
        promised.is_some_and(|promised| promised.queue == *queue && promised.number == number)
    }

    /// Whether it only waits for its turn: no telephone rings for it, and none is up.
    #[must_use]
    pub fn is_waiting_promise(&self) -> bool {
        self.waits_without_leg() && self.dialling.is_none() && self.ending.is_none()
    }

    /// Whether nobody is on the line: neither the agent nor the contact.
    pub(super) fn waits_without_leg(&self) -> bool {
        self.promise.is_some() && self.a.state == StateA::Outgoing
    }

    /// Whether an agent who is offered it is not rung at once.
    #[must_use]
    pub fn holds_agents_ready(&self) -> bool {
        let waits = self.promise.as_ref().filter(|promise| !promise.is_there);
        waits.is_some_and(|promise| promise.promised.card.is_some() || !promise.promised.first.is_agent())
    }

    pub(super) fn is_preview(&self) -> bool {
        self.promise.as_ref().is_some_and(|promise| promise.promised.card.is_some())
    }

    /// The edge goes, and nobody takes the promise over.
    pub fn lose(&mut self, context: &mut Context<'_>) {
        let because = "the edge that was to call goes, and no other takes that over";
        self.finish(EndedBy::Lost, 480, Some(because), context);
    }

    /// A `callback` step.
    pub(super) fn promise_step(&mut self, step: &Action, context: &mut Context<'_>) {
        let &Action::Callback { ref queue, keep_place, number, attempts, retry, first } = step else {
            return;
        };
        let (now, queue) = (context.environment.now, queue.clone());
        let place = self
            .left
            .as_ref()
            .filter(|(left, ..)| keep_place && *left == queue && !mutant!(CallbackLosesPlace));
        let (entered, entered_at) = place.map_or((now.instant, now.wall), |(_, at, wall)| (*at, *wall));
        let usual = context.environment.world.snapshot.centre.queues.get(&queue);
        let first = first.or(usual.map(|queue| queue.callback_first)).unwrap_or_default();
        let promised = Promised {
            queue,
            number,
            entered,
            entered_at,
            not_before: None,
            attempts,
            retry,
            first,
            card: None,
        };
        context.effects.push(Effect::Promise { promised: Box::new(promised), is_again: false });
    }

    /// The engine says whether it is called back.
    pub fn promised(&mut self, promised: Result<(), String>, context: &mut Context<'_>) {
        let is_good = promised.is_ok();
        if let Err(because) = promised {
            self.tell(format!("nobody is called back: {because}"), context);
        }
        let actions = self.cursor.done(is_good, context.environment);
        self.perform(actions, context);
    }

    /// Whether an agent whom the floor offers it is only held ready: the contact is dialled first, or a card is shown.
    pub(super) fn holds_ready(&mut self, agent: &AgentId, context: &mut Context<'_>) -> bool {
        if !self.holds_agents_ready() {
            return false;
        }
        let Some(promise) = &self.promise else { return false };
        let shown_for = promise.promised.card.as_ref().map(|card| card.shown_for);
        let ready_for = shown_for.unwrap_or(Duration::from_millis(RING_FIRST_MS.into()) + SLACK);
        let order = FloorOrder::Prolong(agent.clone(), ready_for);
        context.effects.push(Effect::Floor(Box::new(order)));
        if shown_for.is_none() && !promise.dials {
            self.dial_contact(RING_FIRST_MS, context);
        }
        true
    }

    /// The agent who is shown the card says whether the number is to be dialled.
    ///
    /// # Errors
    /// Why that cannot be, for the agent.
    pub fn previewed(
        &mut self,
        agent: &AgentId,
        dials: bool,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let is_shown = self.is_preview() && self.dialling.is_none() && self.is_offered_to(agent);
        if !is_shown || self.ending.is_some() {
            return Err("nobody waits there for your word".into());
        }
        if !dials {
            self.finish(EndedBy::Flow, 480, Some(&format!("Agent {agent} skipped it")), context);
            return Ok(());
        }
        let queues = &context.environment.world.snapshot.centre.queues;
        let queue = self.queue().and_then(|queue| queues.get(queue));
        let rings = Duration::from_secs(queue.map_or(0, |queue| queue.ring_seconds).into());
        self.ring_held(agent.clone(), rings, context);
        Ok(())
    }

    fn dial_contact(&mut self, ring_ms: u32, context: &mut Context<'_>) {
        let Some(promise) = &mut self.promise else { return };
        promise.dials = true;
        let Promised { number, .. } = promise.promised;
        let (trunks, caller_id) = (promise.trunks.clone(), promise.caller_id);
        let contact = DialTarget::Number { number, trunks, caller_id };
        self.dial_whom(super::handover::rings_for(ring_ms), vec![Whom::Target(contact)], context);
    }

    /// The agent whose turn it is has answered, at this branch, and is the A leg from now on: the contact is dialled.
    pub(super) fn agent_for_promise(&mut self, context: &mut Context<'_>) {
        self.agent_answered(context);
        let agent = self.agent_of_queue().cloned();
        let branch = self.dialling.take().and_then(|dialling| dialling.branches.into_iter().next());
        if !self.become_caller(branch, context) {
            return;
        }
        if let (None, Some(agent)) = (&self.a.station, &agent) {
            self.a.station = public_telephone(agent, context);
        }
        if let Some(station) = &self.a.station {
            self.incoming.admitted.origin = Origin::Station(station.clone());
        }
        let Some(promise) = &self.promise else { return };
        self.ends_by = context.environment.now.instant + promise.longest;
        self.dial_contact(RING_MS, context);
    }

    /// The contact, who was called first, has answered, and is the A leg from now on.
    pub(super) fn contact_for_promise(&mut self, context: &mut Context<'_>) {
        let branch = self.dialling.take().and_then(|dialling| dialling.branches.into_iter().next());
        let trunk = branch.as_ref().and_then(|branch| branch.now.trunk().cloned());
        if !self.become_caller(branch, context) {
            return;
        }
        let now = context.environment.now;
        if let Some(trunk) = trunk {
            self.incoming.admitted.origin = Origin::Trunk(trunk);
        }
        let (Some(promise), Some(queueing)) = (&mut self.promise, &self.queueing) else { return };
        (promise.dials, promise.is_there) = (false, true);
        (self.ends_by, self.answered_at) = (now.instant + promise.longest, Some(now.wall));
        let order = FloorOrder::Present(queueing.queue().clone(), PRESENT_MAX);
        context.effects.push(Effect::Floor(Box::new(order)));
        self.greet_and_ring(context);
    }

    /// Both are there: the contact, and the agent.
    pub(super) fn promise_kept(&mut self, now: Timestamp) {
        if let Some(promise) = &mut self.promise {
            (promise.dials, promise.is_there, promise.kept) = (false, true, true);
            self.answered_at.get_or_insert(now);
        }
    }

    /// Whether a contact is to be called who is not on the line yet.
    pub(super) fn is_to_be_called(&self) -> bool {
        self.promise.as_ref().is_some_and(|promise| !promise.is_there)
    }

    /// Whether a promise is still to be kept.
    pub(super) fn keeps_promise(&self) -> bool {
        self.promise.as_ref().is_some_and(|promise| !promise.kept)
    }

    /// Whether the contact is being dialled.
    pub(super) fn dials_back(&self) -> bool {
        self.promise.as_ref().is_some_and(|promise| promise.dials)
    }

    /// Whether it is, and nobody is on the line yet.
    pub(super) fn dials_contact_first(&self) -> bool {
        self.dials_back() && self.a.state == StateA::Outgoing
    }

    /// Whether a telephone is to see the number of whom we call: of who is called back, the agent's alone.
    pub(super) fn shows_whom_it_calls_back(&self, usual: bool) -> bool {
        match &self.promise {
            Some(promise) if promise.is_there => true,
            Some(promise) if promise.dials && self.a.state == StateA::Outgoing => false,
            Some(_) | None => usual,
        }
    }

    /// The contact was not reached: the agent goes, and it is tried again, if it may be.
    pub(super) fn contact_unreached(&mut self, outcome: Dialled, code: u16, context: &mut Context<'_>) {
        self.callee_failed(outcome, code, context);
        self.call_again(context);
        self.finish(EndedBy::Callee, code, None, context);
    }

    /// No agent came: for who is on the line, or as long as might be waited.
    pub(super) fn promise_waited_in_vain(&mut self, outcome: Outcome, context: &mut Context<'_>) {
        let (visit, because) = match outcome {
            Outcome::TimedOut => ("timedOut", "no agent was free in time"),
            Outcome::NoAgents => ("noAgents", "no agent who serves the queue is signed in any more"),
            Outcome::QueueGone => ("failed", "the queue was deleted while it waited"),
        };
        self.leave_for(visit, None, context);
        if self.promise.as_ref().is_some_and(|promise| promise.is_there) && outcome != Outcome::QueueGone {
            self.call_again(context);
        }
        self.finish(EndedBy::Failure, 480, Some(because), context);
    }

    fn call_again(&self, context: &mut Context<'_>) {
        let Some(promise) = self.promise.as_ref().filter(|promise| promise.promised.attempts > 1) else {
            return;
        };
        let mut promised = promise.promised.clone();
        promised.attempts -= 1;
        promised.not_before = Some(context.environment.now.instant + promised.retry);
        let (left, seconds) = (promised.attempts, promised.retry.as_secs());
        self.tell(
            format!("{} is called back again in {seconds} s, {left} times at most", promised.number),
            context,
        );
        context.effects.push(Effect::Promise { promised: Box::new(promised), is_again: true });
    }

    /// A leg of ours becomes the A leg. False: it is gone, and so is the call.
    pub(super) fn become_caller(&mut self, branch: Option<Branch>, context: &mut Context<'_>) -> bool {
        let Some((branch, sip)) = branch.and_then(|branch| branch.sip.map(|sip| (branch, sip))) else {
            self.finish(EndedBy::Failure, 480, Some("the caller's leg is gone"), context);
            return false;
        };
        self.incoming.leg = sip;
        (self.incoming.network, self.incoming.terms) = (branch.now.network, branch.now.terms);
        self.incoming.spoken = branch.media.parameters.as_ref().map(|agreed| agreed.codec);
        self.a.media = branch.media;
        if let Party::Station(station) = branch.now.party {
            self.a.station = Some(station);
        }
        self.a.state = StateA::Answered;
        true
    }
}

/// An agent's telephone of the public network.
pub(super) fn public_telephone(agent: &AgentId, context: &Context<'_>) -> Option<StationId> {
    let stations = &context.environment.world.snapshot.centre.agents.get(agent)?.stations;
    let is_public =
        |kind: &model::centre::StationKind| matches!(kind, model::centre::StationKind::Pstn { .. });
    let public = stations.iter().find(|station| is_public(&station.kind))?;
    Some(StationId { agent: agent.clone(), station: public.name.clone() })
}
