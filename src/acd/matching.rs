//! Bringing contacts and agents together: every change of either ends here.

use std::time::{Duration, Instant};

use crate::{
    Floor, Output, Withdrawal,
    agents::{Hold, Work},
    contacts::Contact,
    figures::Figures,
    floor::{Wake, milliseconds},
    lanes::{Free, Place},
    mutant,
};

impl Floor {
    /// A contact stands among those who wait, as it is.
    pub(crate) fn wait(&mut self, contact: usize, now: Instant) {
        let held = &mut self.contacts[contact];
        let lane = &mut self.lanes[held.lane];
        let due = Some(held.next_due(&self.queues[lane.queue], now));
        let before = std::mem::replace(&mut held.due, due);
        if lane.stages.iter().all(|stage| stage.waiting.is_empty()) {
            lane.pace.begin(now);
        }
        lane.stages[held.stage].waiting.insert(held.place(), contact);
        self.rewake(Wake::Contact(contact), before, due);
    }

    /// The same, older than before.
    pub(crate) fn wait_again(&mut self, contact: usize, now: Instant) {
        let held = &mut self.contacts[contact];
        (held.stage, held.priority) = held.aged(&self.queues[self.lanes[held.lane].queue], now);
        self.wait(contact, now);
    }

    pub(crate) fn stop_waiting(&mut self, contact: usize) {
        let held = &self.contacts[contact];
        self.lanes[held.lane].stages[held.stage].waiting.remove(&held.place());
    }

    /// Offers a contact that waits to the first agent who is free and good enough.
    pub(crate) fn find_agent(&mut self, contact: usize, now: Instant) {
        let held = &self.contacts[contact];
        let stages = self.lanes[held.lane].stages.iter().take(held.stage + 1);
        let willing =
            |free: &&Free| !held.is_declined_by(free.agent) && !self.agents[free.agent].has(held.id);
        let first = stages.filter_map(|stage| stage.free.iter().find(willing)).min();
        if let Some(agent) = first.map(|free| free.agent) {
            self.offer(contact, agent, now);
        }
    }

    /// Puts an agent where he belongs after any change: offers him the first contact that he may have, or lists him as free.
    pub(crate) fn settle(&mut self, agent: usize, now: Instant) {
        self.unlist(agent);
        self.withdraw_from_absent(agent, now);
        if self.agents[agent].takes_offers() && !self.find_contact(agent, now) {
            self.list(agent, now);
        }
        self.look(agent, now);
    }

    /// The same for all of them, after a change of what they serve: the first contact chooses first.
    pub(crate) fn settle_all(&mut self, now: Instant) {
        #[cfg(test)]
        {
            self.choosing_anew = true;
        }
        let agents: Vec<usize> = self.agent_names.values().copied().collect();
        for agent in agents {
            self.unlist(agent);
            self.withdraw_from_absent(agent, now);
            if self.agents[agent].takes_offers() {
                self.list(agent, now);
            }
            self.look(agent, now);
        }
        let waiting = self.contacts.iter().filter(|(_, contact)| contact.offered.is_none());
        let mut waiting: Vec<_> = waiting.map(|(at, contact)| (contact.place(), at)).collect();
        waiting.sort_unstable();
        for (_, contact) in waiting {
            if self.contacts.get(contact).is_some_and(|contact| contact.offered.is_none()) {
                self.find_agent(contact, now);
            }
        }
        #[cfg(test)]
        {
            self.choosing_anew = false;
        }
    }

    /// Whoever cannot be rung any more is not rung.
    fn withdraw_from_absent(&mut self, agent: usize, now: Instant) {
        let held = &self.agents[agent];
        if held.is_present() && held.reachable || mutant!(RungAfterSignOut) {
            return;
        }
        let offered = held.holds.iter().find(|hold| matches!(hold.work, Work::Offered { .. }));
        let contact = offered.and_then(|hold| self.contact_names.get(&hold.contact)).copied();
        if let Some(contact) = contact {
            self.withdraw(agent, contact, Withdrawal::AgentGone);
            self.hand_back(agent, contact, now);
        }
    }

    /// Whether there was a contact for this agent.
    fn find_contact(&mut self, agent: usize, now: Instant) -> bool {
        let held = &self.agents[agent];
        let mut first: Option<(u8, Place, usize)> = None;
        for serves in &held.serves {
            let lane = &self.lanes[serves.lane];
            if !held.has_room(lane.channel) {
                continue;
            }
            for stage in lane.stages.iter().skip(serves.stage) {
                let willing = |(place, contact): &(&Place, &usize)| {
                    !self.contacts[**contact].is_declined_by(agent) && !held.has(place.contact)
                };
                let Some((place, contact)) = stage.waiting.iter().find(willing) else { continue };
                let rank = if mutant!(RankIgnored) { 0 } else { serves.rank };
                let candidate = (rank, *place, *contact);
                first = Some(first.map_or(candidate, |first| first.min(candidate)));
            }
        }
        let Some((_, _, contact)) = first else { return false };
        self.offer(contact, agent, now);
        true
    }

    fn offer(&mut self, contact: usize, agent: usize, now: Instant) {
        #[cfg(test)]
        self.audit_offer(contact, agent);
        self.unlist(agent);
        self.stop_waiting(contact);
        let held = &mut self.contacts[contact];
        held.offered = Some(agent);
        let id = held.id;
        let lane = &mut self.lanes[held.lane];
        let more = lane.stages.iter().any(|stage| !stage.waiting.is_empty());
        lane.pace.offered(more, lane.working, now);
        let queue = &self.queues[lane.queue];
        let until = now + Duration::from_secs(queue.configuration.ring_seconds.into());
        self.turns += 1;
        let hold = Hold {
            contact: id,
            channel: lane.channel,
            queue: Some(lane.queue),
            work: Work::Offered { until },
        };
        let index = lane.queue;
        let held = &mut self.agents[agent];
        for serves in &mut held.serves {
            if self.lanes[serves.lane].queue == index {
                serves.turn = self.turns;
            }
        }
        held.holds.push(hold);
        let offer = Output::Offer { contact: id, agent: held.id.clone(), queue: queue.id.clone(), until };
        self.outputs.push_back(offer);
        self.look(agent, now);
    }

    /// An agent stands among the free.
    fn list(&mut self, agent: usize, now: Instant) {
        let held = &mut self.agents[agent];
        held.note_occupancy(now);
        let (contacts, idle_since) = (held.contacts(), held.idle_since);
        let room = model::centre::CHANNELS.map(|channel| held.has_room(channel));
        for serves in &mut held.serves {
            let lane = &mut self.lanes[serves.lane];
            if !room[lane.channel as usize] {
                continue;
            }
            let occupancy = || held.occupancy.rank(self.epoch);
            let selected = self.queues[lane.queue].selected(serves.score, serves.turn, occupancy);
            let free = Free { rank: serves.rank, contacts, selected, idle_since, agent };
            lane.stages[serves.stage].free.insert(free);
            serves.free = Some(free);
        }
    }

    pub(crate) fn unlist(&mut self, agent: usize) {
        for serves in &mut self.agents[agent].serves {
            if let Some(free) = serves.free.take() {
                self.lanes[serves.lane].stages[serves.stage].free.remove(&free);
            }
        }
    }

    /// Renews the agent's deadline, and tells of a state that is new.
    fn look(&mut self, agent: usize, now: Instant) {
        self.note_work(agent, now);
        let held = &mut self.agents[agent];
        let due = held.next_due();
        let before = std::mem::replace(&mut held.due, due);
        held.note_occupancy(now);
        let state = held.state();
        if held.told != state {
            held.told = state.clone();
            self.outputs.push_back(Output::State { agent: held.id.clone(), state });
        }
        self.rewake(Wake::Agent(agent), before, due);
        self.bury(agent);
    }

    /// Counts the agent among those who take contacts, or no more.
    fn note_work(&mut self, agent: usize, now: Instant) {
        let held = &mut self.agents[agent];
        let works = held.takes_part();
        if std::mem::replace(&mut held.works, works) != works {
            for at in 0..self.agents[agent].serves.len() {
                let lane = self.agents[agent].serves[at].lane;
                self.work_lane(lane, works, now);
            }
        }
    }

    pub(crate) fn work_lane(&mut self, lane: usize, comes: bool, now: Instant) {
        let lane = &mut self.lanes[lane];
        lane.pace.pass(lane.working, now);
        lane.working = if comes { lane.working + 1 } else { lane.working.saturating_sub(1) };
    }

    /// A deleted agent who has nothing more to do is forgotten.
    fn bury(&mut self, agent: usize) {
        let held = &self.agents[agent];
        if held.configuration.is_none() && held.holds.is_empty() {
            self.agent_names.remove(&held.id);
            self.agents.remove(agent);
            for (_, contact) in &mut self.contacts {
                contact.declined.retain(|(other, _)| *other != agent);
            }
        }
    }

    /// Says that an offer is over.
    pub(crate) fn withdraw(&mut self, agent: usize, contact: usize, reason: Withdrawal) {
        let (contact, agent) = (self.contacts[contact].id, self.agents[agent].id.clone());
        self.outputs.push_back(Output::Withdrawn { contact, agent, reason });
    }

    /// An offer that is over: the contact waits on at its place, the agent is free for others.
    pub(crate) fn take_back(&mut self, agent: usize, contact: usize, now: Instant) {
        self.hand_back(agent, contact, now);
        self.settle(agent, now);
    }

    fn hand_back(&mut self, agent: usize, contact: usize, now: Instant) {
        let held = &mut self.contacts[contact];
        let id = held.id;
        held.offered = None;
        // While it was offered nothing was due.
        held.declined.retain(|(_, until)| *until > now);
        self.agents[agent].holds.retain(|hold| hold.contact != id);
        if mutant!(LostPlace) {
            self.contacts[contact].entered = now;
        }
        if self.contacts[contact].deadline <= now {
            self.give_up(contact, crate::Outcome::TimedOut, now);
            return;
        }
        self.wait_again(contact, now);
        self.find_agent(contact, now);
    }

    /// An agent has a contact no more.
    pub(crate) fn let_go(&mut self, agent: usize, contact: crate::ContactId, now: Instant) {
        let held = &mut self.agents[agent];
        let Some(at) = held.holds.iter().position(|hold| hold.contact == contact) else { return };
        let hold = held.holds.remove(at);
        if !held.is_at_work() && !mutant!(IdleSinceForever) {
            held.idle_since = now;
        }
        let since = match hold.work {
            Work::Handling { since } | Work::WrapUp { handled_since: since, .. } => since,
            Work::Offered { .. } => return,
        };
        if let Some(queue) = hold.queue.and_then(|queue| self.queues.get_mut(queue)) {
            let handling = milliseconds(now.saturating_duration_since(since));
            queue.counted.count(now, |figures| {
                figures.handled += 1;
                figures.handling_ms += handling;
            });
        }
    }

    /// A contact is gone; whom it was offered to is free for others.
    pub(crate) fn remove(
        &mut self,
        contact: usize,
        (reason, hung_up): (Withdrawal, bool),
        now: Instant,
        count: impl Fn(&mut Figures),
    ) {
        let Contact { lane, entered, .. } = self.contacts[contact];
        self.lanes[lane].pace.left(now.saturating_duration_since(entered), hung_up);
        self.queues[self.lanes[lane].queue].counted.count(now, count);
        let offered = self.contacts[contact].offered;
        match offered {
            Some(agent) => {
                self.withdraw(agent, contact, reason);
                let id = self.contacts[contact].id;
                self.agents[agent].holds.retain(|hold| hold.contact != id);
            }
            None => self.stop_waiting(contact),
        }
        self.forget(contact, now);
        if let Some(agent) = offered {
            self.settle(agent, now);
        }
    }

    /// A contact that stands nowhere any more.
    pub(crate) fn forget(&mut self, contact: usize, now: Instant) {
        let Contact { id, lane, due, .. } = self.contacts.remove(contact);
        self.contact_names.remove(&id);
        self.rewake(Wake::Contact(contact), due, None);
        let lane = &mut self.lanes[lane];
        if lane.stages.iter().all(|stage| stage.waiting.is_empty()) {
            lane.pace.end(lane.working, now);
        }
        let queue = &mut self.queues[lane.queue];
        queue.waiting = queue.waiting.saturating_sub(1);
    }
}
