//! What time alone decides: whatever has a bound is looked at when it has passed.

use std::time::{Duration, Instant};

use acd::State;
use call::engine::Engine;
use model::CallId;

use super::{Invariant, Watch, legs::Leg};

/// What is to be over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bound {
    Offer(CallId, usize, Instant),
    Wait(CallId, Instant),
    WrapUp(usize, Instant),
    /// The telephone at a leg.
    Leg(String),
    /// The same, when it has rung for as long as anything may.
    Rings(String),
    /// A call whose caller is gone, or that began so long ago.
    Call(CallId),
    /// The telephones that ring for an offer that is over.
    Ringing(CallId, usize),
}

impl Watch {
    /// Looks at what is due. After all that the engine and the world had to do at this time.
    pub fn timeout(&mut self, now: Instant, engine: &Engine) {
        if engine.poll_timeout().is_some_and(|at| at <= now) {
            return;
        }
        while let Some((at, bound)) = self.bounds.first().cloned()
            && at < now
        {
            self.bounds.pop_first();
            self.look_at(bound);
        }
    }

    fn look_at(&mut self, bound: Bound) {
        match bound {
            Bound::Offer(call, agent, until) => {
                let stands = self.staff[agent].offer == Some((call, until));
                self.hold(Invariant::OfferEnds, !stands, || {
                    format!("call {call:?} is offered to agent {agent} for longer than it may")
                });
            }
            Bound::Wait(call, since) => {
                let wait = self.calls.get(&call).and_then(|seen| seen.wait.as_ref());
                let waits = wait.is_some_and(|wait| wait.since == since);
                self.hold(Invariant::WaitEnds, !waits, || format!("call {call:?} waits longer than it may"));
            }
            Bound::WrapUp(agent, until) => {
                let works = self.staff[agent].told == State::WrapUp(until);
                self.hold(Invariant::WrapUp, !works, || {
                    format!("agent {agent} works on a contact for longer than there is time")
                });
            }
            Bound::Leg(leg) => self.leg_is_over(&leg),
            Bound::Rings(leg) => self.rings_not_for_ever(&leg),
            Bound::Call(call) => {
                let is_there = self.calls.contains_key(&call);
                self.hold(Invariant::Ends, !is_there, || format!("call {call:?} does not end"));
            }
            Bound::Ringing(call, agent) => self.rings_no_more(call, agent),
        }
    }

    fn rings_no_more(&mut self, call: CallId, agent: usize) {
        let Some(seen) = self.calls.get(&call) else { return };
        if seen.offer.is_some_and(|(to, _)| to == agent) {
            return;
        }
        let mut legs = seen.legs.iter().filter_map(|leg| self.legs.get(leg));
        // Who says nothing is not cancelled (RFC 3261 §9.1).
        let rings = |leg: &Leg| leg.is_heard && leg.answered.is_none() && !leg.is_done();
        let rings = legs.any(|leg| leg.agent == Some(agent) && rings(leg));
        // Somebody may have rung it for another reason since.
        let rings = rings && seen.talks.is_empty() && seen.wait.is_some();
        self.hold(Invariant::RingsForSomebody, !rings, || {
            format!("the telephone of agent {agent} rings for call {call:?}, which is not offered any more")
        });
    }

    pub(super) fn within(&mut self, time: Duration, bound: Bound) {
        self.bounds.insert((self.now.instant + time, bound));
    }
}
