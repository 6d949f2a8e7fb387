//! Records, held against what happened.

use std::time::Duration;

use call::record::{EndedBy, Record, VISITS_MAX};
use model::CallId;

use super::{Invariant, Seen, Watch, bounds::Bound, legs::Leg};
use crate::crowd::centre;

/// How much the times of what was seen and of what is recorded may differ: a clock that stood still is told late.
const CLOSE: Duration = Duration::from_millis(1);

impl Watch {
    pub(super) fn record(&mut self, record: &Record) {
        // It may have begun to wait, or ended that, since it was looked at.
        if self.calls.get(&record.call).is_some_and(|seen| seen.wait.is_some()) {
            self.waited(record.call);
        }
        let seen = self.calls.remove(&record.call);
        let known = seen.is_some();
        self.hold(Invariant::OneRecord, known, || format!("a second record of {:?}", record.call));
        let Some(seen) = seen else { return };
        self.tally.records += 1;
        self.tally.outcome(record);
        self.tally.transfers += u64::from(seen.visits.len() > 1);
        self.waiting.remove(&record.call);
        self.touched_calls.remove(&record.call);
        self.record_matches(record, &seen);
        let legs: Vec<String> = seen.legs.iter().chain([&seen.call_id]).cloned().collect();
        self.nothing_rings(&legs);
        for (agent, staff) in self.staff.iter_mut().enumerate() {
            if staff.involved.remove(&record.call) {
                self.touched_agents.insert(agent);
                staff.offer.take_if(|(call, _)| *call == record.call);
            }
        }
    }

    fn record_matches(&mut self, record: &Record, seen: &Seen) {
        let mut wrong: Vec<String> = Vec::new();
        if record.call_id != seen.call_id {
            wrong.push(format!("Call-ID {}", record.call_id));
        }
        if let Some(contact) = seen.contact {
            let number = centre::contact_number(contact).to_string();
            let own = if seen.is_callback { &record.to } else { &record.from };
            if *own != number {
                wrong.push(format!("number {own} of contact {contact}"));
            }
        }
        if !seen.is_callback && seen.owner.is_none() {
            self.a_leg_matches(record, seen, &mut wrong);
        }
        self.visits_match(record, seen, &mut wrong);
        self.egress_matches(record, seen, &mut wrong);
        if record.started_at > record.ended_at || record.answered_at.is_some_and(|at| at < record.started_at)
        {
            wrong.push(format!("times {} {:?} {}", record.started_at, record.answered_at, record.ended_at));
        }
        self.hold(Invariant::RecordTrue, wrong.is_empty(), || {
            format!("the record of {:?} has {}; seen: {:?}", record.call, wrong.join("; "), seen.visits)
        });
    }

    fn a_leg_matches(&self, record: &Record, seen: &Seen, wrong: &mut Vec<String>) {
        let Some(leg) = self.legs.get(&seen.call_id) else { return };
        let answered = leg.answered.map(|(_, wall)| wall);
        if record.answered_at != answered {
            wrong.push(format!("answered at {:?}, on the wire at {answered:?}", record.answered_at));
        }
        let by_caller = matches!(record.ended_by, EndedBy::Caller);
        if by_caller && !leg.hung_up {
            wrong.push("ended by a caller who did not hang up".into());
        }
        // Two who hang up at once may both have been the first.
        if leg.hung_up && !leg.let_go && !by_caller {
            wrong.push(format!("ended by {:?}, and the caller hung up", record.ended_by));
        }
    }

    fn visits_match(&self, record: &Record, seen: &Seen, wrong: &mut Vec<String>) {
        let mut visits = seen.visits.iter().peekable();
        for found in &record.queues {
            let agent = found.agent.as_ref().and_then(centre::agent_of);
            let waited = Duration::from_millis(found.waited_ms);
            let is_it = visits.next_if(|visit| {
                centre::queue_of(&found.queue) == Some(visit.queue)
                    && agent == visit.agent
                    && is_close(self.wall(visit.entered), found.entered_at)
                    && waited.abs_diff(visit.waited) <= CLOSE
            });
            // Who is turned away does not wait.
            if is_it.is_none() && !matches!(found.outcome, "full" | "noAgents" | "failed") {
                let queue = found.queue.0.name();
                wrong.push(format!("a wait in {queue} for {waited:?} until {} of {agent:?}", found.outcome));
            }
        }
        if visits.next().is_some() && record.queues.len() < VISITS_MAX {
            let outcomes: Vec<_> = record.queues.iter().map(|visit| visit.outcome).collect();
            wrong.push(format!("fewer waits than there were: {outcomes:?}"));
        }
        let is_late = record.ended_by == EndedBy::Deadline && record.queues.is_empty();
        if is_late && record.path.is_empty() && seen.number == Some(centre::ASKING) {
            wrong.push("a deadline in place of what the service's time-out leads to".into());
        }
    }

    fn egress_matches(&self, record: &Record, seen: &Seen, wrong: &mut Vec<String>) {
        let legs = || seen.legs.iter().filter_map(|leg| self.legs.get(leg));
        let wall = |leg: &Leg| leg.answered.map(|(_, wall)| wall);
        let answered: Vec<_> = legs().filter_map(wall).collect();
        let wanted: Vec<_> = legs().filter(|leg| !leg.is_unwanted).filter_map(wall).collect();
        let told: Vec<_> = record.egress.iter().filter_map(|egress| egress.answered_at).collect();
        let is_so = wanted.iter().all(|at| told.contains(at)) && told.iter().all(|at| answered.contains(at));
        if !is_so && record.egress.len() < call::record::LEGS_MAX {
            wrong.push(format!("legs answered at {told:?}, on the wire at {answered:?}"));
        }
        for egress in &record.egress {
            if egress.ended_at.is_some_and(|at| at < egress.invited_at || at > record.ended_at) {
                wrong.push(format!("a leg from {} to {:?}", egress.invited_at, egress.ended_at));
            }
        }
    }

    /// A call whose caller is gone is over soon.
    pub fn gone(&mut self, call: CallId) {
        // What is recorded is stored meanwhile.
        self.within(self.slack + Duration::from_secs(40), Bound::Call(call));
    }
}

fn is_close(one: jiff::Timestamp, other: jiff::Timestamp) -> bool {
    one.duration_since(other).unsigned_abs() <= CLOSE
}
