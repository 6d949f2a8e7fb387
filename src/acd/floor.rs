//! The floor: its inputs, its clock, and what can be asked of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{AgentId, QueueId, centre::Channel};
use slab::Slab;

use crate::{
    Arrival, Away, ContactId, DECLINED_FOR, DESERTED_AFTER, Live, OFFER_MAX, Outcome, Output, PRIORITY_MAX,
    Refusal, State, Unavailable, WRAP_UP_MAX, Withdrawal,
    agents::{Agent, Hold, Work},
    contacts::Contact,
    figures::ABANDONED_EARLY,
    lanes::{Lane, Place, Queue, Stage},
    mutant,
};

/// All queues and agents of a tenant.
#[derive(Debug)]
pub struct Floor {
    pub(crate) epoch: Instant,
    pub(crate) queues: Slab<Queue>,
    pub(crate) queue_names: BTreeMap<QueueId, usize>,
    pub(crate) lanes: Slab<Lane>,
    pub(crate) agents: Slab<Agent>,
    pub(crate) agent_names: BTreeMap<AgentId, usize>,
    pub(crate) contacts: Slab<Contact>,
    pub(crate) contact_names: BTreeMap<ContactId, usize>,
    pub(crate) wakes: BTreeSet<(Instant, Wake)>,
    pub(crate) outputs: VecDeque<Output>,
    /// Offers made.
    pub(crate) turns: u64,
    /// Whether what is offered follows a change of what agents serve.
    #[cfg(test)]
    pub(crate) choosing_anew: bool,
}

/// What of a queue is seen by looking at all agents and contacts.
#[derive(Debug, Default)]
struct Seen {
    signed_in: u32,
    available: u32,
    busy: u32,
    longest: Option<Instant>,
}

impl Seen {
    const fn agent(&mut self, state: &State) {
        self.signed_in += 1;
        match state {
            State::Available => self.available += 1,
            State::Busy | State::WrapUp(_) => self.busy += 1,
            State::Offered | State::SignedOut | State::Unreachable | State::Away(_) => {}
        }
    }
}

/// Whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// An offer or the work after a contact is over.
    Agent(usize),
    /// It grows older, or has waited long enough.
    Contact(usize),
    /// Nobody came to serve it.
    Lane(usize),
}

impl Floor {
    /// Without queues or agents: [`Self::configure`] brings them.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            queues: Slab::new(),
            queue_names: BTreeMap::new(),
            lanes: Slab::new(),
            agents: Slab::new(),
            agent_names: BTreeMap::new(),
            contacts: Slab::new(),
            contact_names: BTreeMap::new(),
            wakes: BTreeSet::new(),
            outputs: VecDeque::new(),
            turns: 0,
            #[cfg(test)]
            choosing_anew: false,
        }
    }

    /// The next output. Drain it after each input.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::timeout`] is to be called. None: nothing changes by itself. Any input may change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wakes.first().map(|(due, _)| *due)
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((due, wake)) = self.wakes.first().copied().filter(|(due, _)| *due <= now) {
            self.wakes.remove(&(due, wake));
            match wake {
                Wake::Agent(agent) => self.agent_due(agent, now),
                Wake::Contact(contact) => self.contact_due(contact, now),
                Wake::Lane(lane) => self.lane_deserted(lane, now),
            }
        }
    }

    // --- contacts ---

    /// A contact wants to wait.
    ///
    /// # Errors
    ///
    /// Why it cannot. It waits nowhere then.
    pub fn enter(&mut self, arrival: &Arrival, now: Instant) -> Result<(), Refusal> {
        let queue = *self.queue_names.get(&arrival.queue).ok_or(Refusal::NoQueue)?;
        let lane = self.lane(queue, arrival.channel).ok_or(Refusal::Channel)?;
        if self.contact_names.contains_key(&arrival.contact) {
            return Err(Refusal::Twice);
        }
        let held = &mut self.queues[queue];
        let refused = if self.lanes[lane].staffed == 0 && !arrival.calls_back {
            held.counted.count(now, |figures| figures.no_agents += 1);
            Some(Refusal::NoAgents)
        } else if held.waiting >= held.configuration.contacts_max && !mutant!(FullIgnored) {
            held.counted.count(now, |figures| figures.full += 1);
            Some(Refusal::Full)
        } else {
            None
        };
        if let Some(refused) = refused {
            return Err(refused);
        }
        let bound = Duration::from_secs(held.configuration.wait_seconds_max.into());
        let bound = match arrival.wait_max {
            Some(wait) if arrival.calls_back => wait,
            Some(wait) => wait.min(bound),
            None => bound,
        };
        let base_priority = arrival.priority.unwrap_or(held.configuration.priority).min(PRIORITY_MAX);
        held.waiting += 1;
        held.counted.count(now, |figures| figures.offered += 1);
        let mut contact = Contact {
            id: arrival.contact,
            lane,
            base_priority,
            entered: arrival.entered.min(now),
            deadline: now + bound,
            calls_back: arrival.calls_back,
            stage: 0,
            priority: base_priority,
            offered: None,
            declined: Vec::new(),
            due: None,
        };
        (contact.stage, contact.priority) = contact.aged(&self.queues[queue], now);
        if let Some(sender) = arrival.sender.as_ref().and_then(|sender| self.agent_names.get(sender)) {
            contact.decline(*sender, now + DECLINED_FOR);
        }
        let contact = self.contacts.insert(contact);
        self.contact_names.insert(arrival.contact, contact);
        self.wait(contact, now);
        self.find_agent(contact, now);
        Ok(())
    }

    /// A contact waits no more: it hung up (`abandoned`), or goes elsewhere. Nothing where it does not wait.
    pub fn leave(&mut self, contact: ContactId, abandoned: bool, now: Instant) {
        let Some(place) = self.contact_names.get(&contact).copied() else { return };
        let waited = now.saturating_duration_since(self.contacts[place].entered);
        self.remove(place, (Withdrawal::ContactLeft, abandoned), now, |figures| {
            if abandoned {
                figures.abandoned += 1;
                figures.abandoned_early += u64::from(waited < ABANDONED_EARLY);
            } else {
                figures.diverted += 1;
            }
        });
    }

    /// How many contacts go before this one, as things are. None: it does not wait.
    #[must_use]
    pub fn ahead(&self, contact: ContactId) -> Option<usize> {
        let contact = &self.contacts[*self.contact_names.get(&contact)?];
        if contact.offered.is_some() {
            return Some(0);
        }
        Some(self.lanes[contact.lane].ahead(&contact.place()))
    }

    /// How long this one will still wait. None: not known yet, or it does not wait.
    #[must_use]
    pub fn expected_wait(&self, contact: ContactId) -> Option<Duration> {
        let held = &self.contacts[*self.contact_names.get(&contact)?];
        let lane = &self.lanes[held.lane];
        if held.offered.is_some() {
            return Some(lane.pace.rings());
        }
        self.wait_behind(lane, lane.ahead(&held.place()))
    }

    fn wait_behind(&self, lane: &Lane, ahead: usize) -> Option<Duration> {
        let handling = self.queues[lane.queue].counted.total().mean_handling();
        lane.pace.expected(ahead, lane.working, handling)
    }

    /// How long one of the queue's own priority would wait that came now.
    fn wait_of_next(&self, lane: &Lane, now: Instant) -> Option<Duration> {
        let queue = &self.queues[lane.queue];
        let is_free = |stage: &Stage| !stage.free.is_empty();
        if lane.stages.iter().take(queue.stage(0) + 1).any(is_free) {
            return Some(lane.pace.rings());
        }
        let priority = queue.configuration.priority.min(PRIORITY_MAX);
        let last = Place { priority, entered: now, contact: ContactId(u64::MAX) };
        self.wait_behind(lane, lane.ahead(&last))
    }

    // --- offers ---

    /// The agent answered. Whether the offer still stood; where not, nothing happens.
    pub fn accept(&mut self, agent: &AgentId, contact: ContactId, now: Instant) -> bool {
        let Some((agent, contact)) = self.offered(agent, contact) else { return false };
        let Contact { id, lane, entered, .. } = self.contacts[contact];
        let queue = self.lanes[lane].queue;
        let waited = now.saturating_duration_since(entered);
        let held = &mut self.queues[queue];
        let in_time = waited <= Duration::from_secs(held.configuration.service_seconds.into());
        held.counted.count(now, |figures| {
            figures.answered += 1;
            figures.answered_in_time += u64::from(in_time);
            figures.wait_ms += milliseconds(waited);
        });
        let rings = Duration::from_secs(held.configuration.ring_seconds.into());
        self.lanes[lane].pace.left(waited, false);
        if mutant!(DoubleAccept) {
            self.contacts[contact].offered = None;
            self.wait_again(contact, now);
        } else {
            self.forget(contact, now);
        }
        if let Some(hold) = self.agents[agent].hold(id) {
            if let Work::Offered { until } = hold.work {
                let left = until.saturating_duration_since(now);
                self.lanes[lane].pace.answered(rings.saturating_sub(left));
            }
            hold.work = Work::Handling { since: now };
        }
        self.settle(agent, now);
        true
    }

    /// The agent does not want this contact now. Whether the offer still stood; where not, nothing happens.
    pub fn decline(&mut self, agent: &AgentId, contact: ContactId, now: Instant) -> bool {
        let Some((agent, contact)) = self.offered(agent, contact) else { return false };
        let queue = self.lanes[self.contacts[contact].lane].queue;
        self.queues[queue].counted.count(now, |figures| figures.declined += 1);
        let forgets = if mutant!(ForgottenDecline) { Duration::ZERO } else { DECLINED_FOR };
        self.contacts[contact].decline(agent, now + forgets);
        self.take_back(agent, contact, now);
        true
    }

    /// The agent's telephone could not be rung, or nobody answered it: as if the offer had rung out. Whether it still stood.
    pub fn miss(&mut self, agent: &AgentId, contact: ContactId, now: Instant) -> bool {
        let Some((agent, contact)) = self.offered(agent, contact) else { return false };
        let id = self.contacts[contact].id;
        let Some(hold) = self.agents[agent].hold(id).map(|hold| *hold) else { return false };
        self.rang_out(agent, hold, now);
        true
    }

    /// The offer stands until then, at most [`OFFER_MAX`] from now: something is to be done before the agent is rung. Until
    /// when it stands; None: it did not.
    pub fn prolong(
        &mut self,
        agent: &AgentId,
        contact: ContactId,
        until: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let (agent, contact) = self.offered(agent, contact)?;
        let id = self.contacts[contact].id;
        let until = until.clamp(now, now + OFFER_MAX);
        self.agents[agent].hold(id)?.work = Work::Offered { until };
        self.settle(agent, now);
        Some(until)
    }

    /// A contact that was to be called back has been reached, and waits on the line from now on: before all others, and for so
    /// long at most. Nothing where it does not wait.
    pub fn present(&mut self, contact: ContactId, wait_max: Duration, now: Instant) {
        let Some(place) = self.contact_names.get(&contact).copied() else { return };
        let waits = self.contacts[place].offered.is_none();
        if waits {
            self.stop_waiting(place);
        }
        let held = &mut self.contacts[place];
        let configuration = &self.queues[self.lanes[held.lane].queue].configuration;
        let bound = wait_max.min(Duration::from_secs(configuration.wait_seconds_max.into()));
        (held.calls_back, held.base_priority, held.deadline) = (false, PRIORITY_MAX, now + bound);
        if waits {
            self.wait_again(place, now);
            self.find_agent(place, now);
        }
    }

    fn offered(&self, agent: &AgentId, contact: ContactId) -> Option<(usize, usize)> {
        let agent = *self.agent_names.get(agent)?;
        let contact = *self.contact_names.get(&contact)?;
        (self.contacts[contact].offered == Some(agent)).then_some((agent, contact))
    }

    // --- agents ---

    /// Comes, or goes. Contacts that the agent talks to stay; an offer is withdrawn.
    pub fn sign(&mut self, agent: &AgentId, signed_in: bool, now: Instant) {
        let Some(agent) = self.agent_names.get(agent).copied() else { return };
        let held = &mut self.agents[agent];
        if held.signed_in == signed_in {
            return;
        }
        held.signed_in = signed_in;
        if signed_in {
            held.idle_since = now;
            held.occupancy = crate::occupancy::Occupancy::new(now);
        } else {
            held.away = None;
        }
        self.staff(agent, now);
        self.settle(agent, now);
    }

    /// Whether some station of the agent can be rung. An offer that rings on is withdrawn where none can.
    pub fn reach(&mut self, agent: &AgentId, reachable: bool, now: Instant) {
        let Some(agent) = self.agent_names.get(agent).copied() else { return };
        if std::mem::replace(&mut self.agents[agent].reachable, reachable) != reachable {
            self.settle(agent, now);
        }
    }

    /// Takes no contacts for a reason, or takes them again (None). What the agent has, and what is offered just now, stays.
    pub fn away(&mut self, agent: &AgentId, reason: Option<Arc<str>>, now: Instant) {
        let Some(agent) = self.agent_names.get(agent).copied() else { return };
        self.agents[agent].away = reason.map(Away::Chosen);
        self.settle(agent, now);
    }

    /// Takes a part of an agent's capacity for a contact that no queue offers: a call to the agent, a consultation, a call that
    /// the agent makes. Who talks already (`by_agent`) is never refused, be the agent away, not signed in, deleted or without room.
    ///
    /// # Errors
    ///
    /// Why the agent cannot take it.
    pub fn take(
        &mut self,
        agent: &AgentId,
        (contact, channel): (ContactId, Channel),
        by_agent: bool,
        now: Instant,
    ) -> Result<(), Unavailable> {
        let agent = match self.agent_names.get(agent) {
            Some(agent) => *agent,
            None if by_agent => self.remember(agent, now),
            None => return Err(Unavailable::Unknown),
        };
        let held = &mut self.agents[agent];
        let engaged = held.holds.iter().any(|hold| matches!(hold.work, Work::Offered { .. }));
        if !by_agent && (!held.is_present() || !held.reachable) {
            return Err(Unavailable::Absent);
        }
        if !by_agent && (held.away.is_some() || matches!(held.state(), State::WrapUp(_))) {
            return Err(Unavailable::Away);
        }
        if !by_agent && (engaged || !held.has_room(channel) || held.hold(contact).is_some()) {
            return Err(Unavailable::Busy);
        }
        match held.hold(contact) {
            // It is back before the work after it was done.
            Some(hold) => {
                if let Work::WrapUp { handled_since, .. } = hold.work {
                    hold.work = Work::Handling { since: handled_since };
                }
            }
            None => {
                let work = Work::Handling { since: now };
                held.holds.push(Hold { contact, channel, queue: None, work });
            }
        }
        self.settle(agent, now);
        Ok(())
    }

    /// Somebody who was deleted talks, having been rung before: who comes back under the name meanwhile is busy.
    fn remember(&mut self, agent: &AgentId, now: Instant) -> usize {
        let place = self.agents.insert(Agent::new(agent.clone(), None, now));
        self.agent_names.insert(agent.clone(), place);
        place
    }

    /// An agent is done with a contact, and works on it for as long as its queue allows. Nothing where the agent does not have it.
    pub fn release(&mut self, agent: &AgentId, contact: ContactId, now: Instant) {
        let Some(agent) = self.agent_names.get(agent).copied() else { return };
        let Some(hold) = self.agents[agent].hold(contact).map(|hold| *hold) else { return };
        let Work::Handling { since } = hold.work else { return };
        let queue = hold.queue.and_then(|queue| self.queues.get(queue));
        let seconds = queue.map_or(0, |queue| queue.configuration.wrap_up_seconds);
        if let Some(queue) = queue.filter(|_| seconds > 0 && !mutant!(ForgottenWrapUp)) {
            let until = now + Duration::from_secs(seconds.into());
            let (held, queue) = (&mut self.agents[agent], queue.id.clone());
            self.outputs.push_back(Output::WrapUp { contact, agent: held.id.clone(), queue });
            if let Some(hold) = held.hold(contact) {
                hold.work = Work::WrapUp { until, handled_since: since };
            }
        } else {
            self.let_go(agent, contact, now);
        }
        self.settle(agent, now);
    }

    /// The work after a contact lasts until then, at most [`WRAP_UP_MAX`] from now. Whether there is such work.
    pub fn extend_wrap_up(
        &mut self,
        agent: &AgentId,
        contact: ContactId,
        until: Instant,
        now: Instant,
    ) -> bool {
        let Some(agent) = self.agent_names.get(agent).copied() else { return false };
        let extended = match self.agents[agent].hold(contact).map(|hold| &mut hold.work) {
            Some(Work::WrapUp { until: end, .. }) => {
                *end = until.clamp(now, now + WRAP_UP_MAX);
                true
            }
            Some(Work::Offered { .. } | Work::Handling { .. }) | None => false,
        };
        if extended {
            self.settle(agent, now);
        }
        extended
    }

    /// The work after a contact is done. Whether there was such work.
    pub fn finish_wrap_up(&mut self, agent: &AgentId, contact: ContactId, now: Instant) -> bool {
        let Some(agent) = self.agent_names.get(agent).copied() else { return false };
        let wraps = |hold: &mut Hold| matches!(hold.work, Work::WrapUp { .. });
        let finished = self.agents[agent].hold(contact).is_some_and(wraps);
        if finished {
            self.let_go(agent, contact, now);
            self.settle(agent, now);
        }
        finished
    }

    /// Whether an agent who is signed in has no room for one more contact of the channel, or is being offered one.
    #[must_use]
    pub fn is_engaged(&self, agent: &AgentId, channel: Channel) -> bool {
        let agent = self.agent_names.get(agent).map(|agent| &self.agents[*agent]);
        let offered = |hold: &Hold| matches!(hold.work, Work::Offered { .. });
        agent.is_some_and(|agent| {
            agent.is_present() && (!agent.has_room(channel) || agent.holds.iter().any(offered))
        })
    }

    /// Whether an agent has come.
    #[must_use]
    pub fn is_signed_in(&self, agent: &AgentId) -> bool {
        self.agent_names.get(agent).is_some_and(|agent| self.agents[*agent].is_present())
    }

    /// Whether an agent has come and is not away, be any telephone at hand or not.
    #[must_use]
    pub fn is_ready(&self, agent: &AgentId) -> bool {
        let agent = self.agent_names.get(agent).map(|agent| &self.agents[*agent]);
        agent.is_some_and(|agent| agent.is_present() && agent.away.is_none())
    }

    /// Whether nobody waits and nobody is signed in or at work.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.contacts.is_empty()
            && self.agents.iter().all(|(_, agent)| !agent.signed_in && agent.holds.is_empty())
    }

    /// What an agent is doing. None: there is no such agent.
    #[must_use]
    pub fn state(&self, agent: &AgentId) -> Option<State> {
        Some(self.agents[*self.agent_names.get(agent)?].state())
    }

    /// Share of time, 0 to 1, that an agent has had contacts of late. None: there is no such agent.
    #[must_use]
    pub fn occupancy(&self, agent: &AgentId, now: Instant) -> Option<f64> {
        Some(self.agents[*self.agent_names.get(agent)?].occupancy.at(now))
    }

    /// All agents, sorted by name, and what they are doing.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, State)> {
        self.agent_names.iter().map(|(id, agent)| (id, self.agents[*agent].state()))
    }

    /// All queues at this moment, sorted by name: in one pass over agents and contacts.
    #[must_use]
    pub fn live(&self, now: Instant) -> Vec<(&QueueId, Live)> {
        let mut seen: BTreeMap<usize, Seen> = BTreeMap::new();
        for (_, agent) in self.agents.iter().filter(|(_, agent)| agent.is_present()) {
            let state = agent.state();
            let mut last = None;
            // Lanes of one queue stand together.
            for queue in agent.serves.iter().map(|serves| self.lanes[serves.lane].queue) {
                if last.replace(queue) != Some(queue) {
                    seen.entry(queue).or_default().agent(&state);
                }
            }
        }
        for (_, contact) in &self.contacts {
            let longest = &mut seen.entry(self.lanes[contact.lane].queue).or_default().longest;
            *longest = Some(longest.map_or(contact.entered, |first| first.min(contact.entered)));
        }
        let queues = self.queue_names.iter();
        queues
            .map(|(id, index)| (id, self.live_of(*index, seen.remove(index).unwrap_or_default(), now)))
            .collect()
    }

    fn live_of(
        &self,
        index: usize,
        Seen { signed_in, available, busy, longest }: Seen,
        now: Instant,
    ) -> Live {
        let queue = &self.queues[index];
        let voice = self.lane(index, Channel::Voice);
        let expected_wait = voice.and_then(|lane| self.wait_of_next(&self.lanes[lane], now));
        Live {
            waiting: queue.waiting,
            longest_wait: longest.map(|entered| now.saturating_duration_since(entered)),
            signed_in,
            available,
            busy,
            occupancy: (available + busy > 0).then(|| f64::from(busy) / f64::from(available + busy)),
            expected_wait,
            total: queue.counted.total(),
            recent: queue.counted.recent(now),
        }
    }

    pub(crate) fn lane(&self, queue: usize, channel: Channel) -> Option<usize> {
        self.queues[queue].lanes.iter().copied().find(|lane| self.lanes[*lane].channel == channel)
    }

    // --- what time brings ---

    fn agent_due(&mut self, agent: usize, now: Instant) {
        self.agents[agent].due = None;
        while let Some(hold) = self.agents[agent].holds.iter().copied().find(|hold| match hold.work {
            Work::Offered { until } | Work::WrapUp { until, .. } => until <= now,
            Work::Handling { .. } => false,
        }) {
            match hold.work {
                Work::Offered { .. } => self.rang_out(agent, hold, now),
                Work::WrapUp { .. } => {
                    let (contact, id) = (hold.contact, self.agents[agent].id.clone());
                    self.outputs.push_back(Output::WrapUpOver { contact, agent: id });
                    self.let_go(agent, contact, now);
                }
                Work::Handling { .. } => self.let_go(agent, hold.contact, now),
            }
        }
        self.settle(agent, now);
    }

    /// Whoever does not answer is not rung again and again: the agent is away until he says otherwise.
    fn rang_out(&mut self, agent: usize, hold: Hold, now: Instant) {
        if !mutant!(ForgottenMiss) {
            self.agents[agent].away = Some(Away::Unanswered);
        }
        let Some(contact) = self.contact_names.get(&hold.contact).copied() else {
            self.agents[agent].holds.retain(|other| other.contact != hold.contact);
            return;
        };
        if let Some(queue) = hold.queue.and_then(|queue| self.queues.get_mut(queue)) {
            queue.counted.count(now, |figures| figures.unanswered += 1);
        }
        self.withdraw(agent, contact, Withdrawal::Unanswered);
        self.take_back(agent, contact, now);
    }

    fn contact_due(&mut self, contact: usize, now: Instant) {
        let held = &mut self.contacts[contact];
        held.due = None;
        held.declined.retain(|(_, until)| *until > now);
        if held.offered.is_some() {
            // It has an agent who may still answer; what it has aged counts when it comes back.
            return;
        }
        if held.deadline <= now {
            self.give_up(contact, Outcome::TimedOut, now);
            return;
        }
        self.stop_waiting(contact);
        self.wait_again(contact, now);
        self.find_agent(contact, now);
    }

    fn lane_deserted(&mut self, lane: usize, now: Instant) {
        self.lanes[lane].deserted = None;
        if self.lanes[lane].staffed > 0 {
            return;
        }
        let of_lane = self.lanes[lane].stages.iter().flat_map(|stage| stage.waiting.iter());
        let of_lane = of_lane.filter(|(_, contact)| !self.contacts[**contact].calls_back);
        let mut left: Vec<_> = of_lane.map(|(place, contact)| (*place, *contact)).collect();
        left.sort_unstable();
        for (_, contact) in left {
            self.give_up(contact, Outcome::NoAgents, now);
        }
    }

    /// A contact waits no more, and nobody ended that.
    pub(crate) fn give_up(&mut self, contact: usize, outcome: Outcome, now: Instant) {
        let Contact { id, lane, .. } = self.contacts[contact];
        let queue = self.queues[self.lanes[lane].queue].id.clone();
        self.remove(contact, (Withdrawal::ContactLeft, false), now, |figures| match outcome {
            Outcome::TimedOut => figures.timed_out += 1,
            Outcome::NoAgents | Outcome::QueueGone => figures.diverted += 1,
        });
        self.outputs.push_back(Output::Left { contact: id, queue, outcome });
    }

    /// Agents signed in, for each lane that this one serves, when one comes or goes.
    fn staff(&mut self, agent: usize, now: Instant) {
        let present = self.agents[agent].is_present();
        let lanes: Vec<usize> = self.agents[agent].serves.iter().map(|serves| serves.lane).collect();
        for lane in lanes {
            self.staff_lane(lane, present, now);
        }
    }

    pub(crate) fn staff_lane(&mut self, index: usize, comes: bool, now: Instant) {
        let lane = &mut self.lanes[index];
        lane.staffed = if comes { lane.staffed + 1 } else { lane.staffed.saturating_sub(1) };
        let deserted = (lane.staffed == 0).then(|| lane.deserted.unwrap_or(now + DESERTED_AFTER));
        let before = std::mem::replace(&mut lane.deserted, deserted);
        self.rewake(Wake::Lane(index), before, deserted);
    }

    pub(crate) fn rewake(&mut self, wake: Wake, before: Option<Instant>, due: Option<Instant>) {
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.wakes.remove(&(before, wake));
        }
        if let Some(due) = due {
            self.wakes.insert((due, wake));
        }
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
