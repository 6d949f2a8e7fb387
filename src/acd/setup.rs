//! Queues and agents as they are configured, and changed while contacts wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use model::{
    AgentId, QueueId,
    centre::{Agent as AgentConfiguration, Queue as QueueConfiguration},
};

use crate::{
    DESERTED_AFTER, Floor, Outcome,
    agents::{Agent, Serves},
    figures::Counted,
    floor::Wake,
    lanes::{Lane, Queue},
};

impl Floor {
    /// Queues and agents from now on. What is the same as before costs nothing; what is missing is deleted: contacts of a
    /// deleted queue leave it, a deleted agent finishes what he has.
    pub fn configure<'a>(
        &mut self,
        queues: impl Iterator<Item = (&'a QueueId, &'a Arc<QueueConfiguration>)>,
        agents: impl Iterator<Item = (&'a AgentId, &'a Arc<AgentConfiguration>)>,
        now: Instant,
    ) {
        let queues: BTreeMap<_, _> = queues.collect();
        let agents: BTreeMap<_, _> = agents.collect();
        let changed = self.changed_queues(&queues);
        let stale: BTreeSet<usize> =
            changed.iter().filter_map(|id| self.queue_names.get(*id)).copied().collect();
        let gone: Vec<usize> =
            self.queue_names.iter().filter(|(id, _)| !queues.contains_key(id)).map(|(_, at)| *at).collect();

        let nothing_gone = gone.is_empty();

        for queue in stale.iter().chain(&gone) {
            self.empty_of_agents(*queue, now);
        }
        for queue in gone {
            self.close_queue(queue, now);
        }
        let fresh: Vec<usize> =
            changed.into_iter().map(|id| self.open_queue(id, Arc::clone(queues[id]), now)).collect();
        let mut any = !fresh.is_empty() || !stale.is_empty() || !nothing_gone;
        let known: Vec<(AgentId, usize)> =
            self.agent_names.iter().map(|(id, at)| (id.clone(), *at)).collect();
        for (id, agent) in known {
            match agents.get(&id) {
                Some(configuration) if self.agents[agent].configuration.as_ref() == Some(*configuration) => {
                    self.serve(agent, &fresh, now);
                }
                Some(configuration) => {
                    self.change_agent(agent, Some(Arc::clone(configuration)), now);
                    any = true;
                }
                None => {
                    self.change_agent(agent, None, now);
                    any = true;
                }
            }
        }
        for (id, configuration) in agents {
            if !self.agent_names.contains_key(id) {
                let agent = self.agents.insert(Agent::new(id.clone(), Some(Arc::clone(configuration)), now));
                self.agent_names.insert(id.clone(), agent);
                self.serve_all(agent, now);
                any = true;
            }
        }
        if any {
            self.settle_all(now);
        }
    }

    fn changed_queues<'a>(
        &self,
        queues: &BTreeMap<&'a QueueId, &Arc<QueueConfiguration>>,
    ) -> Vec<&'a QueueId> {
        let unchanged = |id: &QueueId, configuration: &Arc<QueueConfiguration>| {
            let held = self.queue_names.get(id).map(|queue| &self.queues[*queue].configuration);
            held.is_some_and(|held| held == configuration)
        };
        queues.iter().filter(|(id, configuration)| !unchanged(id, configuration)).map(|(id, _)| *id).collect()
    }

    /// Takes a queue out of all agents' reach.
    fn empty_of_agents(&mut self, queue: usize, now: Instant) {
        let lanes = self.queues[queue].lanes.clone();
        let agents: Vec<usize> = self.agents.iter().map(|(agent, _)| agent).collect();
        for agent in agents {
            self.unlist(agent);
            let present = self.agents[agent].is_present();
            let before = self.agents[agent].serves.len();
            self.agents[agent].serves.retain(|serves| !lanes.contains(&serves.lane));
            let lost = before - self.agents[agent].serves.len();
            debug_assert!(lost <= lanes.len());
            for lane in lanes.iter().take(lost) {
                if self.agents[agent].works {
                    self.work_lane(*lane, false, now);
                }
                if present {
                    self.staff_lane(*lane, false, now);
                }
            }
        }
    }

    fn close_queue(&mut self, queue: usize, now: Instant) {
        for contact in self.contacts_of(queue) {
            self.give_up(contact, Outcome::QueueGone, now);
        }
        for lane in std::mem::take(&mut self.queues[queue].lanes) {
            self.close_lane(lane);
        }
        for (_, agent) in &mut self.agents {
            for hold in &mut agent.holds {
                hold.queue = hold.queue.filter(|held| *held != queue);
            }
        }
        let closed = self.queues.remove(queue);
        self.queue_names.remove(&closed.id);
    }

    fn close_lane(&mut self, lane: usize) {
        let closed = self.lanes.remove(lane);
        self.rewake(Wake::Lane(lane), closed.deserted, None);
    }

    /// In the order in which they would be offered, whatever their stage.
    fn contacts_of(&self, queue: usize) -> Vec<usize> {
        let of_queue = self.contacts.iter().filter(|(_, contact)| self.lanes[contact.lane].queue == queue);
        let mut contacts: Vec<_> = of_queue.map(|(at, contact)| (contact.place(), at)).collect();
        contacts.sort_unstable();
        contacts.into_iter().map(|(_, contact)| contact).collect()
    }

    /// A queue that is new, or another than before: contacts that its channels still take keep their places.
    fn open_queue(&mut self, id: &QueueId, configuration: Arc<QueueConfiguration>, now: Instant) -> usize {
        let Some(index) = self.queue_names.get(id).copied() else {
            let index = self.queues.insert(Queue::new(id.clone(), configuration, Counted::new(now)));
            self.queue_names.insert(id.clone(), index);
            self.open_lanes(index, now);
            return index;
        };
        let waiting = self.contacts_of(index);
        let channel_of = |floor: &Self, contact: usize| floor.lanes[floor.contacts[contact].lane].channel;
        let channels = configuration.channels.clone();
        let (kept, lost): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|contact| channels.contains(&channel_of(self, *contact)));
        for contact in lost {
            self.give_up(contact, Outcome::QueueGone, now);
        }
        for contact in &kept {
            if self.contacts[*contact].offered.is_none() {
                self.stop_waiting(*contact);
            }
        }
        let channels_kept: Vec<_> = kept.iter().map(|contact| channel_of(self, *contact)).collect();
        let old_lanes = std::mem::take(&mut self.queues[index].lanes);
        let paces: Vec<_> =
            old_lanes.iter().map(|lane| (self.lanes[*lane].channel, self.lanes[*lane].pace)).collect();
        let held = &mut self.queues[index];
        let counted = std::mem::replace(&mut held.counted, Counted::new(now));
        let waiting = held.waiting;
        *held = Queue { waiting, ..Queue::new(id.clone(), configuration, counted) };
        for lane in old_lanes {
            self.close_lane(lane);
        }
        self.open_lanes(index, now);
        for (channel, pace) in paces {
            if let Some(lane) = self.lane(index, channel) {
                self.lanes[lane].pace = pace;
            }
        }
        for (contact, channel) in kept.into_iter().zip(channels_kept) {
            let Some(lane) = self.lane(index, channel) else { continue };
            self.contacts[contact].lane = lane;
            if self.contacts[contact].offered.is_none() {
                self.wait_again(contact, now);
            }
        }
        index
    }

    fn open_lanes(&mut self, queue: usize, now: Instant) {
        let stages = self.queues[queue].minima.len();
        let channels = self.queues[queue].configuration.channels.clone();
        let lanes = channels.into_iter().map(|channel| self.lanes.insert(Lane::new(queue, channel, stages)));
        let lanes: Vec<usize> = lanes.collect();
        for lane in &lanes {
            // Until somebody is seen to serve it.
            self.lanes[*lane].deserted = Some(now + DESERTED_AFTER);
            self.rewake(Wake::Lane(*lane), None, Some(now + DESERTED_AFTER));
        }
        self.queues[queue].lanes = lanes;
    }

    fn change_agent(&mut self, agent: usize, configuration: Option<Arc<AgentConfiguration>>, now: Instant) {
        self.unlist(agent);
        let lanes: Vec<usize> = self.agents[agent].serves.iter().map(|serves| serves.lane).collect();
        for lane in lanes {
            if self.agents[agent].works {
                self.work_lane(lane, false, now);
            }
            if self.agents[agent].is_present() {
                self.staff_lane(lane, false, now);
            }
        }
        self.agents[agent].serves.clear();
        self.agents[agent].configuration = configuration;
        self.serve_all(agent, now);
    }

    fn serve_all(&mut self, agent: usize, now: Instant) {
        let all: Vec<usize> = self.queue_names.values().copied().collect();
        self.serve(agent, &all, now);
    }

    /// Adds queues to those that an agent serves, where he may and is good enough at some stage.
    fn serve(&mut self, index: usize, queues: &[usize], now: Instant) {
        let agent = &self.agents[index];
        let Some(configuration) = &agent.configuration else { return };
        let mut added = Vec::new();
        for queue in queues.iter().map(|queue| &self.queues[*queue]) {
            let rank =
                if configuration.queues.is_empty() { Some(&0) } else { configuration.queues.get(&queue.id) };
            let Some(rank) = rank.copied() else { continue };
            let Some(stage) = queue.suffices(|skill| agent.level(skill)) else { continue };
            let score = queue.score(|skill| agent.level(skill));
            let serves = queue.lanes.iter().map(|lane| Serves {
                lane: *lane,
                stage,
                rank,
                score,
                turn: 0,
                free: None,
            });
            added.extend(serves);
        }
        let (present, works) = (agent.is_present(), agent.works);
        for serves in added {
            if works {
                self.work_lane(serves.lane, true, now);
            }
            if present {
                self.staff_lane(serves.lane, true, now);
            }
            self.agents[index].serves.push(serves);
        }
    }
}
