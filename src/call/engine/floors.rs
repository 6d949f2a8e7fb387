//! The floors of the tenants whose calls come to this engine: what calls, agents and telephones tell them, and what they say.
//!
//! A contact is a call, and named by its id.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use acd::{Arrival, ContactId, Floor, Live, Output as Said, State};
use model::{
    AgentId, CallId, Key, QueueId,
    centre::{Agent, Channel, StationKind},
};

use super::{AgentAct, AgentOrder, Answer, CallAct, Engine, Output, Standing};
use crate::{
    Now,
    call::FloorOrder,
    registrar::{Registrar, StationId},
};

/// By tenant.
#[derive(Debug, Default)]
pub(super) struct Floors {
    floors: BTreeMap<String, Floor>,
    /// When each is due, as far as that is known: those that were touched are looked at again.
    due: BTreeMap<String, Instant>,
    touched: BTreeSet<String>,
    /// Agents whose telephones have changed.
    stirred: BTreeSet<AgentId>,
    /// Offers that telephones have declined, and desks are still to be told of.
    declined: Vec<(CallId, AgentId)>,
}

impl Floors {
    fn touch(&mut self, tenant: &str) -> Option<&mut Floor> {
        let floor = self.floors.get_mut(tenant)?;
        if !self.touched.contains(tenant) {
            self.touched.insert(tenant.to_owned());
        }
        Some(floor)
    }

    /// A telephone of that agent came or went.
    pub(super) fn stir(&mut self, agent: &AgentId) {
        if self.floors.contains_key(agent.0.namespace()) {
            self.stirred.insert(agent.clone());
        }
    }

    pub(super) fn is_engaged(&self, agent: &AgentId) -> bool {
        let floor = self.floors.get(agent.0.namespace());
        floor.is_some_and(|floor| floor.is_engaged(agent, Channel::Voice))
    }

    /// Whether a contact is offered to an agent just now.
    pub(super) fn is_offered(&self, agent: &AgentId) -> bool {
        let floor = self.floors.get(agent.0.namespace());
        floor.and_then(|floor| floor.state(agent)) == Some(State::Offered)
    }

    pub(super) fn is_signed_in(&self, agent: &AgentId) -> bool {
        self.floors.get(agent.0.namespace()).is_some_and(|floor| floor.is_signed_in(agent))
    }

    pub(super) fn is_ready(&self, agent: &AgentId) -> bool {
        self.floors.get(agent.0.namespace()).is_some_and(|floor| floor.is_ready(agent))
    }

    /// An agent is away from now on.
    pub(super) fn leave(&mut self, agent: &AgentId, reason: &str, now: Instant) {
        if let Some(floor) = self.touch(agent.0.namespace()) {
            floor.away(agent, Some(reason.into()), now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(tenant, _)| tenant.clone()).collect();
        for tenant in due {
            if let Some(floor) = self.touch(&tenant) {
                floor.timeout(now);
            }
        }
    }

    /// Whether a contact may wait or how far it has come, where that was asked.
    pub(super) fn carry_out(&mut self, now: Instant, call: CallId, order: FloorOrder) -> Option<Answer> {
        let contact = ContactId(call.0);
        let Some(floor) = self.touch(order.tenant()) else {
            return match order {
                FloorOrder::Enter { .. } => Some(Answer::Entered(Err(acd::Refusal::NoQueue))),
                FloorOrder::Place(_) => Some(Answer::Placed(None, None)),
                FloorOrder::Leave { .. }
                | FloorOrder::Present(..)
                | FloorOrder::Prolong(..)
                | FloorOrder::Accept(_)
                | FloorOrder::Decline(_)
                | FloorOrder::Miss(_)
                | FloorOrder::Take(_)
                | FloorOrder::Release(_) => None,
            };
        };
        match order {
            FloorOrder::Enter { queue, priority, entered, wait_max, calls_back, sender } => {
                let channel = Channel::Voice;
                let arrival =
                    Arrival { contact, queue, channel, priority, entered, wait_max, calls_back, sender };
                return Some(Answer::Entered(floor.enter(&arrival, now)));
            }
            FloorOrder::Place(_) => {
                return Some(Answer::Placed(floor.ahead(contact), floor.expected_wait(contact)));
            }
            FloorOrder::Leave { abandoned, .. } => floor.leave(contact, abandoned, now),
            FloorOrder::Present(_, wait_max) => floor.present(contact, wait_max, now),
            FloorOrder::Prolong(agent, time) => {
                return Some(Answer::Prolonged(floor.prolong(&agent, contact, now + time, now)?, agent));
            }
            FloorOrder::Accept(agent) => {
                floor.accept(&agent, contact, now);
            }
            FloorOrder::Decline(agent) => {
                if floor.decline(&agent, contact, now) {
                    self.declined.push((call, agent));
                }
            }
            FloorOrder::Miss(agent) => {
                floor.miss(&agent, contact, now);
            }
            FloorOrder::Take(agent) => {
                // Who talks already is not refused.
                let _ = floor.take(&agent, (contact, Channel::Voice), true, now);
            }
            FloorOrder::Release(agent) => floor.release(&agent, contact, now),
        }
        None
    }
}

impl Engine {
    /// After another snapshot: queues and agents of the tenants whose floors are here.
    pub(super) fn look_over_floors(&mut self, now: Instant) {
        let world = std::sync::Arc::clone(&self.world);
        let centre = &world.snapshot.centre;
        let queues = centre.queues.keys().map(|id| id.0.namespace());
        let agents = centre.agents.keys().map(|id| id.0.namespace());
        let mut tenants: BTreeSet<&str> = queues.chain(agents).collect();
        tenants.retain(|tenant| self.floor_of(tenant) == self.shard.index);
        let gone: Vec<String> =
            self.floors.floors.keys().filter(|tenant| !tenants.contains(tenant.as_str())).cloned().collect();
        for tenant in gone {
            if let Some(floor) = self.floors.touch(&tenant) {
                floor.configure([].into_iter(), [].into_iter(), now);
            }
        }
        for tenant in tenants {
            let first = || Key::new(tenant, "");
            let queues =
                centre.queues.range(QueueId(first())..).take_while(|(id, _)| id.0.namespace() == tenant);
            let agents =
                || centre.agents.range(AgentId(first())..).take_while(|(id, _)| id.0.namespace() == tenant);
            self.floors.floors.entry(tenant.to_owned()).or_insert_with(|| Floor::new(now));
            if let Some(floor) = self.floors.touch(tenant) {
                floor.configure(queues, agents(), now);
                for (id, agent) in agents() {
                    floor.reach(id, is_reachable(&self.registrar, &self.standing, (id, agent)), now);
                }
            }
        }
    }

    /// An agent does something.
    pub(super) fn agent_acts(&mut self, now: Now, AgentOrder { agent, act }: &AgentOrder) {
        let at = now.instant;
        self.standing.touch(agent);
        let Some(floor) = self.floors.touch(agent.0.namespace()) else { return };
        match act {
            AgentAct::SignIn => floor.sign(agent, true, at),
            AgentAct::SignOut => {
                floor.sign(agent, false, at);
                self.stop_listening(now, agent);
            }
            AgentAct::Ready => {
                floor.away(agent, None, at);
                floor.sign(agent, true, at);
            }
            AgentAct::Away(reason) => floor.away(agent, Some(reason.clone()), at),
            AgentAct::Accept(call) => self.agent_accepts(now, agent, *call),
            AgentAct::Decline(call) => {
                let contact = ContactId(call.0);
                if floor.decline(agent, contact, at) {
                    self.withdraw_standing(now, agent, *call);
                    self.push(Output::OfferOver { call: *call, agent: agent.clone() });
                    self.with_call(now, *call, |call, context| call.declined(agent, context));
                }
            }
            AgentAct::Finish(call, after) => match self.finish_wrap_up(now, (*call, agent), after.clone()) {
                Ok(()) => {
                    if let Some(floor) = self.floors.touch(agent.0.namespace()) {
                        floor.finish_wrap_up(agent, ContactId(call.0), at);
                    }
                }
                Err(because) => {
                    self.push(Output::Refused { call: Some(*call), agent: agent.clone(), because });
                }
            },
            AgentAct::Preview(call, dials) => {
                let mut done = Err("nobody waits there for your word".to_owned());
                self.with_call(now, *call, |call, context| done = call.previewed(agent, *dials, context));
                if let Err(because) = done {
                    self.push(Output::Refused { call: Some(*call), agent: agent.clone(), because });
                }
            }
            AgentAct::Dial(to) => self.agent_calls(now, agent, to),
            AgentAct::Call(call, act) => self.agent_talks(now, agent, *call, act.clone()),
            AgentAct::Supervise(heard, mode) => self.agent_supervises(now, agent, (heard, *mode)),
            AgentAct::Extend(call, time) => {
                floor.extend_wrap_up(agent, ContactId(call.0), at + *time, at);
            }
        }
    }

    /// Whose call it is not learns no more of it than of one that there is not.
    fn agent_talks(&mut self, now: Now, agent: &AgentId, call: CallId, act: CallAct) {
        let mut done = Err("you talk to nobody there".to_owned());
        self.with_call(now, call, |call, context| done = call.acted(agent, act, context));
        if let Err(because) = done {
            self.push(Output::Refused { call: Some(call), agent: agent.clone(), because });
        }
    }

    /// Carries out what the floors say. Whether there was anything.
    pub(super) fn drain_floors(&mut self, now: Now) -> bool {
        while let Some(agent) = self.floors.stirred.pop_first() {
            let found = self.world.snapshot.centre.agents.get(&agent);
            let reachable =
                found.is_some_and(|found| is_reachable(&self.registrar, &self.standing, (&agent, found)));
            self.standing.touch(&agent);
            if let Some(floor) = self.floors.touch(agent.0.namespace()) {
                floor.reach(&agent, reachable, now.instant);
            }
        }
        for (call, agent) in std::mem::take(&mut self.floors.declined) {
            self.push(Output::OfferOver { call, agent });
        }
        let mut any = self.attend_standing(now);
        while let Some(tenant) = self.floors.touched.pop_first() {
            while let Some(said) = self.floors.floors.get_mut(&tenant).and_then(Floor::poll) {
                any = true;
                self.floor_says(now, said);
            }
            let due = self.floors.floors.get(&tenant).and_then(Floor::poll_timeout);
            let is_kept = self.world.has_floor(&tenant);
            if !is_kept && self.floors.floors.get(&tenant).is_some_and(Floor::is_deserted) {
                self.floors.floors.remove(&tenant);
            }
            match due {
                Some(due) => self.floors.due.insert(tenant, due),
                None => self.floors.due.remove(&tenant),
            };
        }
        self.wraps.settle();
        any
    }

    fn floor_says(&mut self, now: Now, said: Said) {
        match said {
            Said::Offer { contact, agent, queue, until } => {
                let (call, held_queue) = (CallId(contact.0), queue.clone());
                // One who is not rung yet is told once it is said for how long.
                let rung = self.calls.get(&call).filter(|held| !held.holds_agents_ready());
                let is_rung = rung.is_some();
                if let Some(held) = rung {
                    let offered = held.card(now.instant, (agent.clone(), queue, until));
                    self.push(Output::Offered(Box::new(offered)));
                }
                if is_rung && self.offer_standing(now, (call, &agent), &held_queue) {
                    return;
                }
                self.with_call(now, call, |call, context| call.offered(agent, until, context));
            }
            Said::Withdrawn { contact, agent, reason } => {
                self.push(Output::OfferOver { call: CallId(contact.0), agent: agent.clone() });
                self.withdraw_standing(now, &agent, CallId(contact.0));
                self.with_call(now, CallId(contact.0), |call, context| {
                    call.withdrawn(&agent, reason, context)
                });
            }
            Said::Left { contact, outcome, .. } => {
                self.with_call(now, CallId(contact.0), |call, context| call.wait_over(outcome, context));
            }
            Said::WrapUp { contact, agent, queue } => self.wrap_up(CallId(contact.0), agent, queue),
            Said::WrapUpOver { contact, agent } => self.wrap_up_over(now, CallId(contact.0), agent),
            Said::State { agent, state } => self.push(Output::AgentState { agent, state }),
        }
    }

    /// Queues of the floors here, at this moment.
    pub fn queues(&self, now: Now) -> impl Iterator<Item = (&QueueId, Live)> {
        let floors = self.floors.floors.values();
        floors.flat_map(move |floor| floor.live(now.instant))
    }

    /// Agents of the floors here, and what they are doing.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, State)> {
        let floors = self.floors.floors.values();
        floors.flat_map(Floor::agents)
    }
}

/// Whether some telephone of an agent can be rung, or is up.
fn is_reachable(registrar: &Registrar, standing: &Standing, (id, agent): (&AgentId, &Agent)) -> bool {
    agent.stations.iter().any(|station| match &station.kind {
        _ if station.persistent => standing.is_up(id),
        StationKind::Sip { .. } => {
            let station = StationId { agent: id.clone(), station: station.name.clone() };
            !registrar.bindings(&station).is_empty()
        }
        StationKind::Pstn { .. } => true,
        StationKind::WebRtc { .. } => false,
    })
}
