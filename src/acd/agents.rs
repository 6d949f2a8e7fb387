//! An agent, as the floor knows one.

use std::{sync::Arc, time::Instant};

use model::{
    AgentId,
    centre::{Agent as Configuration, Channel},
};

use crate::{Away, ContactId, State, lanes::Free, mutant, occupancy::Occupancy};

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    /// None: deleted, and gone once the last contact is.
    pub(crate) configuration: Option<Arc<Configuration>>,
    pub(crate) signed_in: bool,
    /// Whether some station can be rung.
    pub(crate) reachable: bool,
    /// None: would take contacts.
    pub(crate) away: Option<Away>,
    /// Contacts that hold a part of the capacity.
    pub(crate) holds: Vec<Hold>,
    /// Whom the agent can help.
    pub(crate) serves: Vec<Serves>,
    pub(crate) idle_since: Instant,
    pub(crate) occupancy: Occupancy,
    /// Whether the lanes count the agent among those who take contacts.
    pub(crate) works: bool,
    /// When an offer or the work after a contact is over.
    pub(crate) due: Option<Instant>,
    /// As it was told last.
    pub(crate) told: State,
}

/// A queue's channel that an agent serves.
#[derive(Debug)]
pub(crate) struct Serves {
    pub(crate) lane: usize,
    /// From this one on the agent is good enough.
    pub(crate) stage: usize,
    pub(crate) rank: u8,
    pub(crate) score: i64,
    /// When the agent had the last turn there, counted in offers.
    pub(crate) turn: u64,
    /// Where the agent stands among the free, if that is so.
    pub(crate) free: Option<Free>,
}

/// A contact that holds a part of an agent's capacity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) contact: ContactId,
    pub(crate) channel: Channel,
    /// Where the contact came from. None: no queue.
    pub(crate) queue: Option<usize>,
    pub(crate) work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Offered { until: Instant },
    Handling { since: Instant },
    WrapUp { until: Instant, handled_since: Instant },
}

impl Agent {
    pub(crate) fn new(id: AgentId, configuration: Option<Arc<Configuration>>, now: Instant) -> Self {
        Self {
            id,
            configuration,
            signed_in: false,
            reachable: false,
            away: None,
            holds: Vec::new(),
            serves: Vec::new(),
            idle_since: now,
            occupancy: Occupancy::new(now),
            works: false,
            due: None,
            told: State::SignedOut,
        }
    }

    /// Level of a skill; 0: none.
    pub(crate) fn level(&self, skill: &str) -> u8 {
        self.configuration.as_ref().and_then(|agent| agent.skills.get(skill)).copied().unwrap_or(0)
    }

    fn capacity(&self, channel: Channel) -> usize {
        let capacity = self.configuration.as_ref().and_then(|agent| agent.capacity.get(&channel));
        capacity.copied().map_or(0, usize::from)
    }

    /// Whether the agent is at work for the floor: signed in and not deleted.
    pub(crate) const fn is_present(&self) -> bool {
        self.signed_in && self.configuration.is_some()
    }

    /// Whether a contact may be offered now. While one is offered, or one that is over is worked on, no other is.
    pub(crate) fn takes_offers(&self) -> bool {
        let engaged = |hold: &Hold| !matches!(hold.work, Work::Handling { .. });
        self.takes_part() && !self.holds.iter().any(engaged)
    }

    /// Whether the agent takes contacts, now or when what keeps him busy is over.
    pub(crate) const fn takes_part(&self) -> bool {
        self.is_present() && self.reachable && self.away.is_none()
    }

    /// Whether one more contact of the channel may be had. What is over takes no room.
    pub(crate) fn has_room(&self, channel: Channel) -> bool {
        let takes = |hold: &&Hold| hold.channel == channel && !matches!(hold.work, Work::WrapUp { .. });
        mutant!(CapacityIgnored) || self.holds.iter().filter(takes).count() < self.capacity(channel)
    }

    pub(crate) fn has(&self, contact: ContactId) -> bool {
        self.holds.iter().any(|hold| hold.contact == contact)
    }

    /// Contacts that the agent has, or is offered.
    pub(crate) fn contacts(&self) -> u8 {
        u8::try_from(self.holds.len()).unwrap_or(u8::MAX)
    }

    pub(crate) fn hold(&mut self, contact: ContactId) -> Option<&mut Hold> {
        self.holds.iter_mut().find(|hold| hold.contact == contact)
    }

    /// Whether the agent talks, or works on what is over. To be offered something is to be idle still.
    pub(crate) fn is_at_work(&self) -> bool {
        self.holds.iter().any(|hold| !matches!(hold.work, Work::Offered { .. }))
    }

    pub(crate) fn note_occupancy(&mut self, now: Instant) {
        self.occupancy.set(self.is_at_work() && !mutant!(OccupancyForgotten), now);
    }

    /// The first end of what ends by itself.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let ends = self.holds.iter().filter_map(|hold| match hold.work {
            Work::Offered { .. } if mutant!(LostOfferTimeout) => None,
            Work::WrapUp { .. } if mutant!(EndlessWrapUp) => None,
            Work::Offered { until } | Work::WrapUp { until, .. } => Some(until),
            Work::Handling { .. } => None,
        });
        ends.min()
    }

    /// For everybody to see.
    pub(crate) fn state(&self) -> State {
        let mut wrap_up = None;
        let mut offered = false;
        let mut busy = false;
        for hold in &self.holds {
            match hold.work {
                Work::Offered { .. } => offered = true,
                Work::Handling { .. } => busy = true,
                Work::WrapUp { until, .. } => wrap_up = wrap_up.max(Some(until)),
            }
        }
        match wrap_up {
            _ if busy => State::Busy,
            _ if offered => State::Offered,
            Some(until) => State::WrapUp(until),
            None if !self.signed_in => State::SignedOut,
            None if !self.reachable => State::Unreachable,
            None => self.away.clone().map_or(State::Available, State::Away),
        }
    }
}
