//! A contact that is called back: its turn in a queue is waited for without a leg, the agent's telephone is rung once it has
//! come, and the contact is dialled when the agent is there.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use model::{AgentId, CallId, E164, QueueId, TrunkId, program::DialTarget};

use super::{Call, Context, Effect, Environment, Incoming, StateA};
use crate::{
    admission::Origin,
    cursor::{Action, Dialled},
    dial::{Branch, Party, Whom},
    record::EndedBy,
    registrar::StationId,
};

/// Longest wait for the turn of one who is called back.
pub const PROMISE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a contact that is called back may ring, in milliseconds.
const RING_MS: u32 = 60_000;

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
        call.promise = Some(Box::new(Promise { promised, trunks, caller_id, longest, dials: false }));
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

    /// Whether that number is called back by this call.
    #[must_use]
    pub fn promises(&self, queue: &QueueId, number: E164) -> bool {
        let promised =
            self.promise.as_ref().filter(|_| self.ending.is_none()).map(|promise| &promise.promised);
        promised.is_some_and(|promised| promised.queue == *queue && promised.number == number)
    }

    /// A `callback` step.
    pub(super) fn promise_step(&mut self, step: &Action, context: &mut Context<'_>) {
        let &Action::Callback { ref queue, keep_place, number, attempts, retry } = step else { return };
        let (now, queue) = (context.environment.now, queue.clone());
        let place = self.left.as_ref().filter(|(left, ..)| keep_place && *left == queue);
        let (entered, entered_at) = place.map_or((now.instant, now.wall), |(_, at, wall)| (*at, *wall));
        let not_before = None;
        let promised = Promised { queue, number, entered, entered_at, not_before, attempts, retry };
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
        let Some(promise) = &mut self.promise else { return };
        promise.dials = true;
        self.ends_by = context.environment.now.instant + promise.longest;
        let Promised { number, .. } = promise.promised;
        let (trunks, caller_id) = (promise.trunks.clone(), promise.caller_id);
        let contact = DialTarget::Number { number, trunks, caller_id };
        self.dial_whom(super::handover::rings_for(RING_MS), vec![Whom::Target(contact)], context);
    }

    /// The contact is there.
    pub(super) fn promise_kept(&mut self) {
        if let Some(promise) = &mut self.promise {
            promise.dials = false;
        }
    }

    /// Whether the contact is being dialled.
    pub(super) fn dials_back(&self) -> bool {
        self.promise.as_ref().is_some_and(|promise| promise.dials)
    }

    /// The contact was not reached: the agent goes, and it is tried again, if it may be.
    pub(super) fn contact_unreached(&mut self, outcome: Dialled, code: u16, context: &mut Context<'_>) {
        self.callee_failed(outcome, code, context);
        let Some(promise) = &self.promise else { return };
        let mut promised = promise.promised.clone();
        if promised.attempts > 1 {
            promised.attempts -= 1;
            promised.not_before = Some(context.environment.now.instant + promised.retry);
            let (left, seconds) = (promised.attempts, promised.retry.as_secs());
            self.tell(
                format!("{} is called back again in {seconds} s, {left} times at most", promised.number),
                context,
            );
            context.effects.push(Effect::Promise { promised: Box::new(promised), is_again: true });
        }
        self.finish(EndedBy::Callee, code, None, context);
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
