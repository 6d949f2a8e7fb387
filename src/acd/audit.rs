//! What must be so after every input, found the slow way. For tests alone.

use std::collections::BTreeMap;

use model::centre::CHANNELS;

use crate::{
    Floor,
    agents::{Serves, Work},
    lanes::{Free, Place},
};

impl Floor {
    fn serves(&self, agent: usize, contact: usize) -> Option<&Serves> {
        let held = &self.contacts[contact];
        self.agents[agent].serves.iter().find(|serves| serves.lane == held.lane && serves.stage <= held.stage)
    }

    fn may_be_offered(&self, agent: usize, contact: usize) -> bool {
        let (held, who) = (&self.contacts[contact], &self.agents[agent]);
        held.offered.is_none()
            && who.takes_offers()
            && who.has_room(self.lanes[held.lane].channel)
            && !held.is_declined_by(agent)
            && !who.has(held.id)
            && self.serves(agent, contact).is_some()
    }

    fn stands(&self, agent: usize, contact: usize) -> Free {
        let (serves, who) = (self.serves(agent, contact).unwrap(), &self.agents[agent]);
        let queue = &self.queues[self.lanes[serves.lane].queue];
        let selected = queue.selected(serves.score, serves.turn, || who.occupancy.rank(self.epoch));
        Free { rank: serves.rank, contacts: who.contacts(), selected, idle_since: who.idle_since, agent }
    }

    /// Of all who could be brought together with either, these two are the first.
    pub(crate) fn audit_offer(&self, contact: usize, agent: usize) {
        assert!(self.may_be_offered(agent, contact), "{contact} may not be offered to {agent}");
        let chosen = self.stands(agent, contact);
        for (other, _) in &self.agents {
            if other != agent
                && self.may_be_offered(other, contact)
                && self.agents[other].serves.iter().any(|s| s.free.is_some())
            {
                assert!(chosen < self.stands(other, contact), "{other} comes before {agent}");
            }
        }
        let key =
            |contact: usize| (self.serves(agent, contact).unwrap().rank, self.contacts[contact].place());
        for (other, held) in &self.contacts {
            let waits = self.lanes[held.lane].stages[held.stage].waiting.contains_key(&held.place());
            // Where all choose anew the first contact does, whatever rank agents give its queue.
            let ranked = || !self.choosing_anew || key(contact).0 == key(other).0;
            if other != contact && waits && self.may_be_offered(agent, other) && ranked() {
                assert!(key(contact) < key(other), "{other} comes before {contact}");
            }
        }
    }

    /// Everything that is derived agrees with what it is derived from, and nobody waits whom somebody free could help.
    pub(crate) fn audit(&self) {
        for (contact, held) in &self.contacts {
            for (agent, _) in &self.agents {
                assert!(!self.may_be_offered(agent, contact), "{contact} waits although {agent} is free");
            }
            let waits = self.lanes[held.lane].stages[held.stage].waiting.get(&held.place()) == Some(&contact);
            assert_eq!(waits, held.offered.is_none());
            if let Some(agent) = held.offered {
                let holds = self.agents[agent].holds.iter().filter(|hold| hold.contact == held.id);
                let works: Vec<Work> = holds.map(|hold| hold.work).collect();
                assert!(matches!(works[..], [Work::Offered { .. }]), "{works:?}");
            }
        }
        self.audit_lanes();
        self.audit_agents();
    }

    fn audit_lanes(&self) {
        let mut waiting: BTreeMap<usize, u32> = BTreeMap::new();
        for (_, held) in &self.contacts {
            *waiting.entry(self.lanes[held.lane].queue).or_default() += 1;
        }
        for (index, queue) in &self.queues {
            assert_eq!(queue.waiting, waiting.get(&index).copied().unwrap_or(0));
            let total = queue.counted.total();
            let ended = total.answered + total.abandoned + total.timed_out + total.diverted;
            assert_eq!(total.offered, ended + u64::from(queue.waiting), "{total:?}");
        }
        let listed: usize =
            self.lanes.iter().flat_map(|(_, lane)| &lane.stages).map(|stage| stage.waiting.len()).sum();
        assert_eq!(listed, self.contacts.iter().filter(|(_, held)| held.offered.is_none()).count());
        for (index, lane) in &self.lanes {
            let serves = |serves: &Serves| serves.lane == index;
            let present = self.agents.iter().filter(|(_, agent)| agent.is_present());
            let staffed = present.filter(|(_, agent)| agent.serves.iter().any(serves)).count();
            assert_eq!(lane.staffed as usize, staffed);
            let take_part = self.agents.iter().filter(|(_, agent)| agent.takes_part());
            let working = take_part.filter(|(_, agent)| agent.serves.iter().any(serves)).count();
            assert_eq!(lane.working as usize, working);
            let mut places: Vec<&Place> = lane.stages.iter().flat_map(|stage| stage.waiting.keys()).collect();
            assert!(staffed > 0 || lane.deserted.is_some() || places.is_empty());
            places.dedup();
        }
    }

    fn audit_agents(&self) {
        let mut free = 0;
        for (index, agent) in &self.agents {
            for serves in &agent.serves {
                let lane = &self.lanes[serves.lane];
                let expected = agent.takes_offers() && agent.has_room(lane.channel);
                assert_eq!(serves.free.is_some(), expected, "{index}");
                if let Some(stands) = serves.free {
                    assert!(lane.stages[serves.stage].free.contains(&stands));
                    free += 1;
                }
            }
            for channel in CHANNELS {
                let held = |hold: &&crate::agents::Hold| {
                    hold.channel == channel
                        && hold.queue.is_some()
                        && !matches!(hold.work, Work::WrapUp { .. })
                };
                let capacity = agent.configuration.as_ref().and_then(|agent| agent.capacity.get(&channel));
                if let Some(capacity) = capacity {
                    assert!(agent.holds.iter().filter(held).count() <= usize::from(*capacity).max(4));
                }
            }
            let offered = agent.holds.iter().filter(|hold| matches!(hold.work, Work::Offered { .. })).count();
            assert!(offered <= 1);
            assert!(offered == 0 || agent.due.is_some());
            assert_eq!(agent.told, agent.state());
        }
        let listed: usize =
            self.lanes.iter().flat_map(|(_, lane)| &lane.stages).map(|stage| stage.free.len()).sum();
        assert_eq!(listed, free);
    }
}

mod chaos;
mod erlang;
mod table;
