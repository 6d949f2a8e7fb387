//! Queues and agents: who may be offered whom, and in which order, reckoned anew from what the configuration says.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use acd::{Away, DECLINED_FOR, OCCUPANCY_OVER, PRIORITY_MAX, State};
use call::engine::Engine;
use model::{AgentId, CallId, QueueId, centre::Selection};

use super::{Invariant, Seen, Visit, Wait, Watch, bounds::Bound};
use crate::crowd::{centre, plan};

/// An agent as he was seen.
#[derive(Debug)]
pub(in crate::crowd) struct Staff {
    pub told: State,
    pub signed_in: bool,
    pub is_public: bool,
    /// Whether he has said that he takes nothing, and that nobody answered an offer.
    pub is_away: bool,
    pub has_missed: bool,
    pub offer: Option<(CallId, Instant)>,
    pub talks: BTreeSet<CallId>,
    /// Calls that have to do with him.
    pub involved: BTreeSet<CallId>,
    pub idle_since: Instant,
    /// Since when he is available.
    pub available_since: Instant,
    /// When he had the last turn in each queue, counted in offers.
    pub turns: [u64; plan::QUEUES],
    occupied: (f64, Instant, bool),
    /// Until when the work after a contact lasts, where that was extended.
    pub extended: Option<Instant>,
    /// What he has declined just now.
    pub declining: Option<CallId>,
    /// Contacts that are over and worked on.
    pub wraps: BTreeSet<CallId>,
    /// Those that are over and were not worked on yet.
    pub owes: BTreeSet<CallId>,
    is_at_work: bool,
}

/// What a queue has seen.
#[derive(Debug, Default)]
pub(in crate::crowd) struct Figures {
    pub entered: u64,
    pub answered: u64,
    pub wait_ms: u64,
    /// The queue was another meanwhile.
    pub is_reset: bool,
}

impl Staff {
    pub fn new(agent: &plan::Agent, now: Instant) -> Self {
        Self {
            told: State::SignedOut,
            signed_in: false,
            is_public: agent.is_public,
            is_away: false,
            has_missed: false,
            offer: None,
            talks: BTreeSet::new(),
            involved: BTreeSet::new(),
            idle_since: now,
            available_since: now,
            turns: [0; plan::QUEUES],
            occupied: (0.0, now, false),
            extended: None,
            declining: None,
            wraps: BTreeSet::new(),
            owes: BTreeSet::new(),
            is_at_work: false,
        }
    }

    fn occupancy(&self, now: Instant) -> f64 {
        let (value, at, busy) = self.occupied;
        let kept = (-now.saturating_duration_since(at).div_duration_f64(OCCUPANCY_OVER)).exp();
        if busy { 1.0 - (1.0 - value) * kept } else { value * kept }
    }

    /// Work after a contact is work, be it that another one is offered meanwhile.
    fn note_work(&mut self, now: Instant) {
        let is_at_work = matches!(self.told, State::Busy | State::WrapUp(_)) || !self.wraps.is_empty();
        if std::mem::replace(&mut self.is_at_work, is_at_work) && !is_at_work {
            self.idle_since = now;
        }
        self.occupy(is_at_work, now);
    }

    fn occupy(&mut self, busy: bool, now: Instant) {
        if self.occupied.2 != busy {
            self.occupied = (self.occupancy(now), now, busy);
        }
    }
}

impl Watch {
    /// An agent signs in or out, or says whether he takes contacts.
    pub fn acts(&mut self, agent: usize, act: plan::Act) {
        let now = self.now.instant;
        if self.changes.agents_gone[agent] {
            return;
        }
        let staff = &mut self.staff[agent];
        let was_in = staff.signed_in;
        match act {
            plan::Act::SignIn => staff.signed_in = true,
            plan::Act::Ready => (staff.signed_in, staff.is_away, staff.has_missed) = (true, false, false),
            plan::Act::Away => (staff.is_away, staff.has_missed) = (true, false),
            plan::Act::SignOut => {
                (staff.signed_in, staff.is_away, staff.has_missed) = (false, false, false);
            }
            plan::Act::Dial(_) | plan::Act::PhoneDial(_) | plan::Act::Register | plan::Act::Unregister => {}
        }
        if staff.signed_in && !was_in {
            staff.idle_since = now;
            staff.occupied = (0.0, now, false);
            staff.note_work(now);
        }
        self.touched_agents.insert(agent);
    }

    /// The work after a contact is to last until then.
    pub fn extended(&mut self, agent: usize, until: Instant) {
        self.staff[agent].extended = Some(until);
    }

    /// Counts an offer of a queue to an agent. When he had the last turn there before.
    pub(super) fn turn(&mut self, agent: usize, queue: &QueueId) -> u64 {
        self.turns += 1;
        let turns = &mut self.staff[agent].turns;
        let turn = centre::queue_of(queue).and_then(|queue| turns.get_mut(queue));
        turn.map_or(0, |turn| std::mem::replace(turn, self.turns))
    }

    pub(super) fn offered(
        &mut self,
        call: CallId,
        agent: usize,
        until: Instant,
        (waited, turn): (Duration, u64),
    ) {
        self.touch(call);
        self.tally.offers += 1;
        let talks = self.talks(agent);
        self.settle_offer(agent, &talks);
        let stands = self.staff[agent].offer;
        self.hold(Invariant::OneOffer, stands.is_none(), || {
            format!("agent {agent} is offered call {call:?} beside {stands:?}")
        });
        let before = self.calls.get_mut(&call).and_then(|seen| {
            seen.before_offer = seen.legs.len();
            seen.offer.replace((agent, until))
        });
        self.hold(Invariant::OneOffer, before.is_none(), || {
            format!("call {call:?} is offered to agent {agent} beside {before:?}")
        });
        self.staff[agent].offer = Some((call, until));
        self.staff[agent].involved.insert(call);
        let time = until.saturating_duration_since(self.now.instant) + Duration::from_secs(1);
        self.within(time, Bound::Offer(call, agent, until));
        self.offers.push((call, agent, waited, turn));
    }

    pub(super) fn offer_over(&mut self, call: CallId, agent: usize) {
        self.touch(call);
        let stood = self.staff[agent].offer.take_if(|(offered, _)| *offered == call).is_some();
        let declines = self.staff[agent].declining.take_if(|declined| *declined == call).is_some();
        if let Some(seen) = self.calls.get_mut(&call) {
            seen.offer.take_if(|(to, _)| *to == agent);
            seen.over_at = Some(self.now.instant);
            // Where it waited then: who declines it there may be asked where it waits next.
            if let Some(wait) = seen.wait.as_mut().filter(|_| declines) {
                wait.declined.push((agent, self.now.instant + DECLINED_FOR));
            }
            self.within(self.slack, Bound::Ringing(call, agent));
        }
        self.hold(Invariant::OneOffer, stood, || {
            format!("an offer of call {call:?} to agent {agent} is over that there is not")
        });
        if !declines {
            self.overs.push((call, agent));
        }
    }

    /// An agent declines what he is offered, if that is what he is offered.
    pub fn declines(&mut self, agent: usize, call: CallId) {
        if let Some(staff) =
            self.staff.get_mut(agent).filter(|staff| staff.offer.is_some_and(|(to, _)| to == call))
        {
            staff.declining = Some(call);
        }
    }

    /// Who did not answer is away.
    pub(super) fn settle_over(&mut self, call: CallId, agent: usize) {
        let gone = self.changes.agents_gone[agent];
        let staff = &self.staff[agent];
        let (told, signed_in) = (staff.told.clone(), staff.signed_in);
        if self.calls.get(&call).is_none_or(|seen| seen.wait.is_none()) {
            return;
        }
        let is_there = signed_in && !gone && told != State::Unreachable;
        let is_so = !is_there || matches!(told, State::Away(_) | State::Busy | State::WrapUp(_));
        self.hold(Invariant::AgentState, is_so, || {
            format!("agent {agent} did not answer call {call:?}, and is {told:?}")
        });
    }

    pub(super) fn state(&mut self, agent: usize, state: &State) {
        let now = self.now.instant;
        let staff = &mut self.staff[agent];
        staff.told = state.clone();
        if *state == State::Available {
            staff.available_since = now;
        }
        staff.has_missed |= *state == State::Away(Away::Unanswered);
        staff.note_work(now);
        if let State::WrapUp(until) = state {
            self.wrap_up(agent, *until);
        }
    }

    /// Work on a contact that is over begins or ends.
    pub(super) fn works_on(&mut self, agent: &AgentId, call: CallId, begins: bool) {
        let Some(agent) = self.agent(agent) else { return };
        let now = self.now.instant;
        if let Some(seen) = self.calls.get_mut(&call) {
            seen.worked_on.insert(agent);
        }
        let staff = &mut self.staff[agent];
        let _ = if begins { staff.wraps.insert(call) } else { staff.wraps.remove(&call) };
        staff.owes.remove(&call);
        staff.note_work(now);
    }

    /// Whoever had a contact of a queue has the time after it that the queue gives.
    pub(super) fn is_worked_on(&mut self, call: CallId, agent: usize) {
        let Some(seen) = self.calls.get(&call) else { return };
        let last = seen.visits.last().filter(|visit| visit.agent == Some(agent) && seen.wait.is_none());
        let Some(queue) = last.map(|visit| visit.queue) else { return };
        // Who gets it back once that time is over has had it.
        if seen.worked_on.contains(&agent) {
            return;
        }
        let has_time = self.centre.queues[queue].wrap_up > 0 && !self.figures[queue].is_reset;
        let staff = &mut self.staff[agent];
        if has_time && !staff.wraps.contains(&call) {
            // Unless it comes back, which may not be known before whom it was handed on to has answered.
            staff.owes.insert(call);
        }
    }

    fn wrap_up(&mut self, agent: usize, until: Instant) {
        let longest = self.centre.queues.iter().map(|queue| queue.wrap_up).max().unwrap_or_default();
        let bound = self.now.instant + Duration::from_secs(longest.into());
        let bound = self.staff[agent].extended.map_or(bound, |extended| bound.max(extended));
        self.hold(Invariant::WrapUp, until <= bound, || {
            format!("agent {agent} works on a contact until {until:?}, which may last until {bound:?}")
        });
        let time = until.saturating_duration_since(self.now.instant) + Duration::from_millis(1);
        self.within(time, Bound::WrapUp(agent, until));
    }

    /// Whether the offer to an agent still stands, or how it ended.
    pub(super) fn settle_offer(&mut self, agent: usize, talks: &BTreeSet<CallId>) {
        let Some((call, _)) = self.staff[agent].offer else { return };
        let answered = talks.contains(&call);
        let stands = matches!(self.staff[agent].told, State::Offered | State::Busy);
        if answered {
            self.waited(call);
            self.staff[agent].offer = None;
            if let Some(seen) = self.calls.get_mut(&call) {
                seen.offer = None;
            }
            self.tally.answered += 1;
        } else if !stands {
            self.staff[agent].offer = None;
            if let Some(seen) = self.calls.get_mut(&call) {
                seen.offer = None;
            }
            self.hold(Invariant::OfferEnds, false, || {
                format!("agent {agent} is never told that the offer of call {call:?} is over")
            });
        }
    }

    /// Looks where a call waits.
    pub(super) fn sample(&mut self, engine: &Engine, call: CallId) {
        let now = self.now.instant;
        let Some(seen) = self.calls.get(&call) else { return };
        let waits = engine.waits(call);
        let passed = waits.map_or(0, |(.., passed)| passed);
        let waits = waits.and_then(|(queue, ..)| centre::queue_of(queue));
        let same = |wait: &Wait| Some(wait.queue) == waits && wait.passed == passed;
        if seen.wait.as_ref().is_some_and(same) {
            return;
        }
        if seen.wait.is_some() {
            self.waited(call);
        }
        let (Some(queue), Some(cursor)) = (waits, engine.cursor(call)) else { return };
        let Some(seen) = self.calls.get_mut(&call) else { return };
        // By REFER it may take a while, where messages are late.
        let late = if self.is_lossy { self.slack } else { Duration::ZERO };
        let enters = seen.enters.is_some_and(|at| at + late >= now);
        let before = seen.visits.last().filter(|visit| visit.queue == queue && visit.passed == passed);
        let before = before.filter(|_| !enters);
        // Once a promise is kept its place is used up.
        let is_kept = seen.visits.iter().any(|visit| visit.agent.is_some());
        let place = seen.place.filter(|_| !is_kept);
        let entered = before.map(|visit| visit.entered).or(place).unwrap_or(now);
        let mut declined = before.map(|visit| visit.declined.clone()).unwrap_or_default();
        // Who has sent it there is not asked at once.
        declined.extend(before.and_then(|visit| Some((visit.agent?, now + DECLINED_FOR))));
        let step = cursor.step();
        let priority = step.rsplit('-').next().and_then(|last| last.parse().ok()).unwrap_or(5);
        let is_callback = seen.is_callback;
        let is_new = before.is_none();
        seen.wait = Some(Wait { queue, entered, since: now, priority, passed, declined });
        self.waiting.insert(call);
        let mut waiting = self.waiting.iter().filter_map(|call| self.calls.get(call)?.wait.as_ref());
        let waiting = waiting.by_ref().filter(|wait| wait.queue == queue).count();
        let most = self.centre.queues[queue].contacts_max as usize;
        self.hold(Invariant::RefusalTrue, waiting <= most || !is_new, || {
            format!("{waiting} wait in queue {queue}, which takes {most}")
        });
        self.figures[queue].entered += 1;
        self.tally.waits += 1;
        if !is_callback {
            let longest = u64::from(self.centre.queues[queue].wait_max + self.centre.queues[queue].ring);
            self.within(Duration::from_secs(longest) + self.slack, Bound::Wait(call, now));
        }
    }

    /// A wait is over.
    pub(super) fn waited(&mut self, call: CallId) {
        let now = self.now.instant;
        self.waiting.remove(&call);
        let Some(seen) = self.calls.get_mut(&call) else { return };
        let Some(wait) = seen.wait.take() else { return };
        let agent = seen.offer.map(|(agent, _)| agent);
        let agent = agent.filter(|agent| {
            let of_offer = seen.legs.iter().skip(seen.before_offer);
            of_offer
                .filter_map(|leg| self.legs.get(leg))
                .any(|leg| leg.agent == Some(*agent) && leg.answered.is_some() && !leg.confirms)
        });
        let waited = now.saturating_duration_since(wait.entered);
        let Wait { queue, entered, passed, declined, .. } = wait;
        seen.visits.push(Visit { queue, entered, waited, agent, passed, declined });
        self.tally.longest_wait = self.tally.longest_wait.max(waited);
        if agent.is_some() {
            self.figures[queue].answered += 1;
            self.figures[queue].wait_ms += u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        }
    }

    /// Whoever is offered a contact has room for it, once all is said.
    pub(super) fn has_room(&mut self, call: CallId, agent: usize) {
        let talks = self.talks(agent).into_iter().filter(|talk| *talk != call).count();
        let capacity = usize::from(self.centre.agents[agent].capacity);
        self.hold(Invariant::Capacity, talks < capacity, || {
            format!("agent {agent} talks to {talks} of {capacity}, and call {call:?} is offered")
        });
    }

    /// Whoever is offered has waited as long as has been seen.
    pub(super) fn place_kept(&mut self, call: CallId, agent: usize, waited: Duration) {
        let Some(seen) = self.calls.get(&call) else { return };
        let entered = seen.wait.as_ref().map(|wait| wait.entered);
        let entered = entered.or_else(|| seen.visits.last().map(|visit| visit.entered));
        let Some(entered) = entered else { return };
        let found = self.now.instant.saturating_duration_since(entered);
        self.hold(Invariant::PlaceKept, found == waited, || {
            format!(
                "call {call:?} is offered to agent {agent} as waiting for {waited:?}, and it is {found:?}"
            )
        });
    }

    /// Rank and level of an agent for a queue after a wait. None: he may not be offered its contacts.
    fn fitness(&self, agent: usize, queue: usize, waited: Duration) -> Option<(u8, u8)> {
        if self.changes.queues_gone[queue] || self.changes.agents_gone[agent] {
            return None;
        }
        let (who, what) = (&self.centre.agents[agent], &self.centre.queues[queue]);
        let rank = match who.ranks.is_empty() {
            true => 0,
            false => who.ranks.iter().find(|(served, _)| *served == queue)?.1,
        };
        let relaxed = what.relax.iter().filter(|(after, _)| u64::from(*after) <= waited.as_secs());
        let minimum = relaxed.map(|(_, level)| *level).fold(what.minimum, u8::min);
        let level = who.skills[queue];
        (level >= minimum).then_some((rank, level))
    }

    /// The same for a contact that waits, at this time. None too while he is not asked.
    fn may_have(&self, agent: usize, wait: &Wait, now: Instant) -> Option<(u8, u8)> {
        if wait.declined.iter().any(|(declined, until)| *declined == agent && *until > now) {
            return None;
        }
        self.fitness(agent, wait.queue, now.saturating_duration_since(wait.entered))
    }

    /// Where a contact stands at this time among those who wait: the least is the first.
    fn place(&self, call: CallId, wait: &Wait, now: Instant) -> (Reverse<u8>, Instant, CallId) {
        let waited = now.saturating_duration_since(wait.entered).as_secs();
        let risen = self.centre.queues[wait.queue].ageing.map_or(0, |step| waited / u64::from(step.max(1)));
        let risen = u8::try_from(risen).unwrap_or(u8::MAX);
        (Reverse(wait.priority.saturating_add(risen).min(PRIORITY_MAX)), wait.entered, call)
    }

    /// A contact was offered to an agent: both were the first.
    pub(super) fn in_order(&mut self, call: CallId, agent: usize, turn: u64) {
        let now = self.now.instant;
        let Some(wait) = self.calls.get(&call).and_then(|seen| seen.wait.clone()) else { return };
        let Some((rank, level)) =
            self.fitness(agent, wait.queue, now.saturating_duration_since(wait.entered))
        else {
            return self.hold(Invariant::RightAgent, false, || {
                format!("call {call:?} was offered to agent {agent}, who may not have it")
            });
        };
        let asked = wait.declined.iter().any(|(who, until)| *who == agent && *until > now);
        self.hold(Invariant::RightAgent, !asked, || {
            format!("call {call:?} was offered to agent {agent}, who has just declined it or handed it on")
        });
        let own = (rank, self.place(call, &wait, now));
        // Of what happens at one instant, who rises in it may be the later.
        let shortly = self.before;
        let mut before = None;
        for other in self.waiting.iter().filter(|other| **other != call) {
            // Nobody is offered the call that he makes himself.
            // Who was offered until this instant may have been so when the other was chosen.
            let may =
                |seen: &&Seen| seen.offer.is_none() && seen.owner != Some(agent) && seen.over_at != Some(now);
            let Some(seen) = self.calls.get(other).filter(may) else { continue };
            let Some(waits) = seen.wait.as_ref().filter(|waits| waits.since < now) else { continue };
            let Some((rank, _)) = self.may_have(agent, waits, shortly) else { continue };
            let place = (rank, self.place(*other, waits, shortly));
            if place < own {
                before = Some((*other, place));
            }
        }
        self.hold(Invariant::FirstInOrder, before.is_none(), || {
            format!("agent {agent} was offered call {call:?} at {own:?} before {before:?}, which is first")
        });
        // As it was before.
        let after = std::mem::replace(&mut self.staff[agent].turns[wait.queue], turn);
        self.right_agent(call, &wait, (agent, rank, level));
        self.staff[agent].turns[wait.queue] = after;
    }

    fn right_agent(&mut self, call: CallId, wait: &Wait, (agent, rank, level): (usize, u8, u8)) {
        let now = self.now.instant;
        let talks = self.staff[agent].talks.len();
        let mut before = None;
        for other in (0..self.staff.len()).filter(|other| *other != agent) {
            let staff = &self.staff[other];
            if staff.told != State::Available || staff.available_since >= now {
                continue;
            }
            let Some((other_rank, other_level)) = self.may_have(other, wait, now) else { continue };
            let comes_before = (other_rank, 0) < (rank, talks)
                || (other_rank, 0) == (rank, talks)
                    && self.is_selected(wait.queue, (other, other_level), (agent, level));
            if comes_before {
                before = Some(other);
            }
        }
        self.hold(Invariant::RightAgent, before.is_none(), || {
            format!("call {call:?} was offered to agent {agent} before {before:?}, who is first")
        });
    }

    /// Whether of two who are alike in all else the queue takes the one rather than the other.
    fn is_selected(
        &self,
        queue: usize,
        (one, level): (usize, u8),
        (other, other_level): (usize, u8),
    ) -> bool {
        let (a, b) = (&self.staff[one], &self.staff[other]);
        let longer = a.idle_since < b.idle_since;
        match centre::selection(self.centre.queues[queue].selection) {
            Selection::LongestIdle => longer,
            Selection::MostSkilled => level > other_level || level == other_level && longer,
            Selection::LeastSkilled => level < other_level || level == other_level && longer,
            Selection::RoundRobin => {
                a.turns[queue] < b.turns[queue] || a.turns[queue] == b.turns[queue] && longer
            }
            Selection::LeastOccupied => {
                let now = self.now.instant;
                // What is rounded away decides nothing.
                a.occupancy(now) * 1.001 < b.occupancy(now)
            }
        }
    }

    /// No contact waits whom an agent could have who waits for one.
    pub(super) fn nobody_idle(&mut self) {
        let free: Vec<usize> =
            (0..self.staff.len()).filter(|agent| self.staff[*agent].told == State::Available).collect();
        if free.is_empty() || self.waiting.is_empty() {
            return;
        }
        let now = self.now.instant;
        let mut found = None;
        for call in &self.waiting {
            let Some(seen) = self.calls.get(call).filter(|seen| seen.offer.is_none()) else { continue };
            let Some(wait) = &seen.wait else { continue };
            if let Some(agent) = free.iter().find(|agent| self.may_have(**agent, wait, now).is_some()) {
                found = Some((*call, *agent));
            }
        }
        self.hold(Invariant::NobodyIdle, found.is_none(), || {
            let (call, agent) = found.unzip();
            format!("call {call:?} waits although agent {agent:?} is free")
        });
    }

    /// What the queues have counted is what was seen.
    pub(super) fn figures(&mut self, engine: &Engine) {
        let now = self.now;
        let live: Vec<(QueueId, acd::Live)> =
            engine.queues(now).map(|(queue, live)| (queue.clone(), live)).collect();
        for (id, live) in live {
            let Some(queue) = centre::queue_of(&id) else { continue };
            self.hold(Invariant::Drained, live.waiting == 0, || format!("{} wait in {id}", live.waiting));
            let (seen, total) = (&self.figures[queue], live.total);
            if seen.is_reset {
                continue;
            }
            let ended = total.answered + total.abandoned + total.timed_out + total.diverted;
            let is_so = total.offered == seen.entered
                && total.answered == seen.answered
                && total.wait_ms == seen.wait_ms
                && total.offered == ended;
            let told = format!(
                "{id} counts {total:?}, and seen were {} who came, {} who were answered after {} ms",
                seen.entered, seen.answered, seen.wait_ms
            );
            self.hold(Invariant::FiguresTrue, is_so, || told);
        }
    }
}
