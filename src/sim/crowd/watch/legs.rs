//! Legs, as the wire shows them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::CallId;

use super::{Invariant, Watch, bounds::Bound};
use crate::crowd::{
    centre,
    wire::{Head, Kind},
};

/// A proxy's timer C (RFC 3261 §16.6), and nobody here rings longer.
const RINGS_MAX: Duration = Duration::from_secs(181);

/// How long an INVITE that nobody answers is sent: timer B (RFC 3261 §17.1.1.2).
const INVITE_LASTS: Duration = Duration::from_secs(32);

/// A leg of the engine's.
#[derive(Debug)]
pub(in crate::crowd) struct Leg {
    /// None: the engine has not said yet.
    pub call: Option<CallId>,
    /// Whose telephone is at the other end.
    pub agent: Option<usize>,
    /// Whether its telephone must press a key before it talks, and has not.
    pub confirms: bool,
    /// Whether the peer began it.
    pub is_a: bool,
    /// When the 2xx left the engine, or came to it.
    pub answered: Option<(Instant, Timestamp)>,
    /// The peer's ACK is here.
    pub is_acked: bool,
    /// BYE, CANCEL or a refusal has left the engine.
    pub let_go: bool,
    /// The same has come to it.
    pub hung_up: bool,
    /// When the first INVITE left.
    pub invited: Option<Instant>,
    /// Whether anything has been heard of the peer in time: who says nothing is not cancelled (RFC 3261 §9.1).
    pub is_heard: bool,
    /// Whether it was let go as soon as it had answered: nobody waited for it any more.
    pub is_unwanted: bool,
    /// Whether the peer's end is over.
    pub is_over: bool,
}

impl Leg {
    const fn new(call: Option<CallId>, agent: Option<usize>, is_a: bool) -> Self {
        Self {
            call,
            agent,
            confirms: false,
            is_a,
            answered: None,
            is_acked: false,
            let_go: false,
            hung_up: false,
            invited: None,
            is_heard: false,
            is_unwanted: false,
            is_over: false,
        }
    }

    /// Whom we have answered is let go only once the ACK is here (RFC 3261 §15), and may wait for that alone.
    pub const fn is_talking(&self) -> bool {
        self.answered.is_some() && (!self.is_a || self.is_acked) && !self.confirms && !self.is_done()
    }

    pub const fn is_done(&self) -> bool {
        self.let_go || self.hung_up
    }
}

impl Watch {
    /// The engine has dialled a leg.
    pub(super) fn dialled(&mut self, call_id: &str, leg: &str) {
        let Some(call) = self.by_call_id.get(call_id).copied() else { return };
        self.touch(call);
        if let Some(seen) = self.calls.get_mut(&call) {
            seen.legs.push(leg.to_owned());
        }
        self.legs.insert(leg.to_owned(), Leg::new(Some(call), None, false));
        self.tally.legs += 1;
    }

    /// A message has left the engine; `agent` is whose telephone it is for.
    pub(super) fn sent(&mut self, bytes: &[u8], agent: Option<usize>) {
        let Some(head) = Head::of(bytes) else { return };
        self.tally.messages += 1;
        let now = (self.now.instant, self.now.wall);
        let Some(leg) = self.legs.get_mut(head.call_id) else { return };
        match head.kind {
            Kind::Request(user) if head.method == "INVITE" && !head.is_within => {
                let public = centre::public_agent(user).filter(|_| agent.is_none());
                leg.confirms |= public.is_some() && leg.answered.is_none();
                leg.agent = agent.or(public);
                leg.invited.get_or_insert(now.0);
                if let (Some(agent), Some(call)) = (leg.agent, leg.call)
                    && let Some(staff) = self.staff.get_mut(agent)
                {
                    staff.involved.insert(call);
                }
                self.within(RINGS_MAX + self.slack, Bound::Rings(head.call_id.to_owned()));
            }
            Kind::Request(_) if matches!(head.method, "BYE" | "CANCEL") => {
                leg.is_unwanted |= !leg.let_go && leg.answered == Some(now);
                leg.let_go = true;
            }
            Kind::Response(200..=299) if head.method == "INVITE" && leg.is_a => {
                leg.answered.get_or_insert(now);
            }
            Kind::Response(300..) if head.method == "INVITE" && leg.is_a && leg.answered.is_none() => {
                leg.let_go = true;
            }
            Kind::Request(_) | Kind::Response(_) => return,
        }
        self.stir(head.call_id);
    }

    /// A message has come to the engine; `agent` is from whose telephone.
    pub fn heard(&mut self, bytes: &[u8], agent: Option<usize>) {
        let Some(head) = Head::of(bytes) else { return };
        self.tally.messages += 1;
        let now = (self.now.instant, self.now.wall);
        if matches!(head.kind, Kind::Request(_)) && head.method == "INVITE" && !head.is_within {
            // It may be a late copy of one whose call is over.
            if self.by_call_id.contains_key(head.call_id) && !self.legs.contains_key(head.call_id) {
                return;
            }
            let known = self.legs.entry(head.call_id.to_owned());
            let leg = known.or_insert_with(|| Leg::new(None, agent, true));
            // A challenge was answered.
            leg.let_go &= leg.call.is_some();
            return;
        }
        let Some(leg) = self.legs.get_mut(head.call_id) else { return };
        // The transaction is over by then.
        let is_late = leg.invited.is_some_and(|at| now.0.saturating_duration_since(at) >= INVITE_LASTS);
        leg.is_heard |= !is_late;
        match head.kind {
            Kind::Request(_) if head.method == "BYE" => leg.hung_up = true,
            Kind::Request(_) if head.method == "ACK" => leg.is_acked |= leg.answered.is_some(),
            // What is answered is not cancelled any more.
            Kind::Request(_) if head.method == "CANCEL" && leg.answered.is_none() => leg.hung_up = true,
            Kind::Response(200..=299)
                if head.method == "INVITE" && !leg.is_a && !leg.is_done() && leg.is_heard =>
            {
                leg.answered.get_or_insert(now);
            }
            Kind::Response(300..) if head.method == "INVITE" && !leg.is_a && leg.answered.is_none() => {
                leg.hung_up = true;
                if let (Kind::Response(486 | 600), Some(agent), Some(call)) = (head.kind, leg.agent, leg.call)
                {
                    self.declines(agent, call);
                }
            }
            // Its dialog is unknown there (RFC 3261 §12.2.1.2).
            Kind::Response(481) if head.method == "INVITE" && leg.answered.is_some() => leg.hung_up = true,
            Kind::Request(_) | Kind::Response(_) => {}
        }
        self.stir(head.call_id);
    }

    /// The key is pressed that a telephone of the public network waits for.
    pub fn confirmed(&mut self, name: &str) {
        if let Some(leg) = self.legs.get_mut(name) {
            leg.confirms = false;
            self.stir(name);
        }
    }

    /// The leg of a call whose telephone is asked for that key.
    pub fn asked_for_key(&self, call: CallId) -> Option<String> {
        let asked = |name: &&String| {
            self.legs.get(*name).is_some_and(|leg| leg.confirms && leg.answered.is_some() && !leg.is_done())
        };
        self.calls.get(&call)?.legs.iter().rev().find(asked).cloned()
    }

    fn stir(&mut self, call_id: &str) {
        let Some(leg) = self.legs.get(call_id) else { return };
        self.touched_agents.extend(leg.agent);
        if let Some(call) = leg.call {
            self.touched_calls.insert(call);
        }
    }

    /// The other end of a leg is over.
    pub fn line_over(&mut self, call_id: &str) {
        if let Some(leg) = self.legs.get_mut(call_id) {
            leg.is_over = true;
            // Nothing more is heard of legs whose call is over too.
            if leg.call.is_none_or(|call| !self.calls.contains_key(&call)) {
                self.legs.remove(call_id);
            }
        }
    }

    /// It is time that somebody has answered, or that it rings no more.
    pub(super) fn rings_not_for_ever(&mut self, name: &str) {
        let rings = |leg: &Leg| leg.answered.is_none() && !leg.is_done() && leg.is_heard;
        let rings = self.legs.get(name).is_some_and(rings);
        self.hold(Invariant::RingsForSomebody, !rings, || format!("leg {name} rings for ever"));
    }

    /// Whether the A leg of a call is over on the wire. That of a call that an agent makes at the desk is one of ours.
    pub(super) fn is_a_leg_over(&self, call_id: &str) -> bool {
        self.legs.get(call_id).is_some_and(Leg::is_done)
    }

    /// Calls that an agent talks in.
    pub(super) fn talks(&self, agent: usize) -> BTreeSet<CallId> {
        let mut talks = BTreeSet::new();
        for id in &self.staff[agent].involved {
            let Some(seen) = self.calls.get(id) else { continue };
            let mut legs = seen.legs.iter().chain([&seen.call_id]).filter_map(|leg| self.legs.get(leg));
            if legs.any(|leg| leg.agent == Some(agent) && leg.is_talking()) {
                talks.insert(*id);
            }
        }
        talks
    }

    /// From now on nothing may ring or be up for a call.
    pub(super) fn nothing_rings(&mut self, legs: &[String]) {
        for name in legs {
            if self.legs.get(name).is_some_and(|leg| !leg.is_over) {
                self.bounds.insert((self.now.instant + self.slack, Bound::Leg(name.clone())));
            } else {
                self.legs.remove(name);
            }
        }
    }

    /// It is time that a leg is over. Where messages are lost its telephone may not know.
    pub(super) fn leg_is_over(&mut self, name: &str) {
        let Some(leg) = self.legs.get(name) else { return };
        let is_so = leg.is_over || self.is_lossy && (leg.is_done() || !leg.is_heard);
        let (agent, answered) = (leg.agent, leg.answered.is_some());
        self.hold(Invariant::RingsForSomebody, is_so, || {
            let what = if answered { "is up" } else { "rings" };
            format!("a telephone {what} for nobody: leg {name}, agent {agent:?}")
        });
        if self.legs.get(name).is_some_and(|leg| leg.is_over) {
            self.legs.remove(name);
        }
    }
}
