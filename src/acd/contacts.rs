//! A contact that waits.

use std::time::{Duration, Instant};

use crate::{
    ContactId, DECLINED_MAX, PRIORITY_MAX,
    lanes::{Place, Queue},
    mutant,
};

#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) id: ContactId,
    pub(crate) lane: usize,
    /// As it came, before any ageing.
    pub(crate) base_priority: u8,
    pub(crate) entered: Instant,
    pub(crate) deadline: Instant,
    /// It waits though nobody is there.
    pub(crate) calls_back: bool,
    /// As they stand in the index.
    pub(crate) stage: usize,
    pub(crate) priority: u8,
    /// To whom it is offered: a place among the agents.
    pub(crate) offered: Option<usize>,
    /// Who is not offered it, until when.
    pub(crate) declined: Vec<(usize, Instant)>,
    pub(crate) due: Option<Instant>,
}

impl Contact {
    pub(crate) const fn place(&self) -> Place {
        Place { priority: self.priority, entered: self.entered, contact: self.id }
    }

    /// Stage and priority after so long a wait.
    pub(crate) fn aged(&self, queue: &Queue, now: Instant) -> (usize, u8) {
        let waited = now.saturating_duration_since(self.entered).as_secs();
        let risen = queue.configuration.ageing_seconds.map_or(0, |step| waited / u64::from(step.max(1)));
        let risen = u8::try_from(risen).unwrap_or(u8::MAX);
        if mutant!(ReversedAgeing) {
            return (queue.stage(waited), self.base_priority.saturating_sub(risen));
        }
        (queue.stage(waited), self.base_priority.saturating_add(risen).min(PRIORITY_MAX))
    }

    /// When something about it changes by itself.
    pub(crate) fn next_due(&self, queue: &Queue, now: Instant) -> Instant {
        let waited = now.saturating_duration_since(self.entered).as_secs();
        let after = |seconds: u64| self.entered.checked_add(Duration::from_secs(seconds));
        let threshold = queue.thresholds.get(queue.stage(waited)).filter(|_| !mutant!(NeverRelaxes));
        let relaxes = threshold.and_then(|threshold| after(u64::from(*threshold)));
        let ages = match queue.configuration.ageing_seconds.map(|step| u64::from(step.max(1))) {
            Some(step) if self.priority < PRIORITY_MAX => after((waited / step + 1).saturating_mul(step)),
            Some(_) | None => None,
        };
        let forgets = self.declined.iter().map(|(_, until)| *until).min();
        let later = if mutant!(LostWaitTimeout) { Duration::from_hours(48) } else { Duration::ZERO };
        [relaxes, ages, forgets].into_iter().flatten().fold(self.deadline + later, Instant::min)
    }

    pub(crate) fn is_declined_by(&self, agent: usize) -> bool {
        self.declined.iter().any(|(declined, _)| *declined == agent)
    }

    /// The oldest is forgotten for the newest.
    pub(crate) fn decline(&mut self, agent: usize, until: Instant) {
        self.declined.retain(|(other, _)| *other != agent);
        if self.declined.len() == DECLINED_MAX {
            self.declined.remove(0);
        }
        self.declined.push((agent, until));
    }
}
