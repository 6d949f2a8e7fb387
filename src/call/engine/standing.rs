//! Agents' telephones that are kept up between contacts: when each is rung, whose call its leg is in, and when it is rung anew.
//!
//! What calls say of them is done once the call that said it is put away: it mostly concerns another call.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    AgentId, CallId, LegId, QueueId,
    centre::{Agent, StationKind},
};
use sip::endpoint::Ended;

use super::{Engine, Output, outgoing::unheard, placing::unled};
use crate::{
    Now,
    admission::{Admitted, Origin},
    call::{Call, Connected, Incoming, StandingEnd, StandingNews},
    cursor::Environment,
    dial::Placement,
    dialling::Dialler,
    explanation::Outcome,
    registrar::StationId,
    sdp_leg::Terms,
};

/// How long a telephone that was lost is left alone, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// Telephones that are kept up, by their agents.
#[derive(Debug, Default)]
pub(super) struct Standing {
    kept: BTreeMap<AgentId, Kept>,
    /// Whose leg is in another call than its own, by the SIP leg.
    lent: BTreeMap<LegId, AgentId>,
    /// Agents who are to be looked at.
    touched: BTreeSet<AgentId>,
    news: VecDeque<News>,
}

#[derive(Debug, Default)]
struct Kept {
    call: Option<CallId>,
    is_up: bool,
    is_lent: bool,
    /// The contact that is offered at it.
    offered: Option<CallId>,
    failures: u32,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
enum News {
    Said(CallId, StandingNews),
    Wanted { contact: CallId, agent: AgentId, rings: Duration },
    Returned(LegId),
    Lost(LegId, Ended),
}

impl Standing {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.kept.values().filter_map(|kept| kept.retry_at).min()
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        let due = self.kept.iter_mut().filter(|(_, kept)| kept.retry_at.is_some_and(|at| at <= now));
        for (agent, kept) in due {
            kept.retry_at = None;
            self.touched.insert(agent.clone());
        }
    }

    /// Something has changed that may matter to an agent's telephone.
    pub(super) fn touch(&mut self, agent: &AgentId) {
        self.touched.insert(agent.clone());
    }

    pub(super) fn said(&mut self, call: CallId, news: StandingNews) {
        self.news.push_back(News::Said(call, news));
    }

    /// A contact for whom an agent was held ready is to be told of.
    pub(super) fn wants(&mut self, contact: CallId, agent: AgentId, rings: Duration) {
        self.news.push_back(News::Wanted { contact, agent, rings });
    }

    /// The call that a leg was lent to is done with it.
    pub(super) fn take_back(&mut self, leg: LegId) {
        self.news.push_back(News::Returned(leg));
    }

    /// Whether a leg is one that comes back.
    pub(super) fn is_lent(&self, leg: LegId) -> bool {
        self.lent.contains_key(&leg)
    }

    /// A leg is over.
    pub(super) fn ended(&mut self, leg: LegId, how: &Ended) {
        if self.lent.contains_key(&leg) {
            self.news.push_back(News::Lost(leg, how.clone()));
        }
    }

    /// Whether an agent's telephone is up.
    pub(super) fn is_up(&self, agent: &AgentId) -> bool {
        self.kept.get(agent).is_some_and(|kept| kept.is_up)
    }

    /// The call of an agent's telephone that is up and with nobody.
    pub(super) fn free(&self, agent: &AgentId) -> Option<CallId> {
        let kept = self.kept.get(agent).filter(|kept| kept.is_up && !kept.is_lent)?;
        kept.call.filter(|_| kept.offered.is_none())
    }

    fn whose(&self, call: CallId) -> Option<AgentId> {
        self.kept.iter().find(|(_, kept)| kept.call == Some(call)).map(|(agent, _)| agent.clone())
    }
}

fn is_kept(agent: &Agent) -> bool {
    agent.stations.iter().any(|station| station.persistent)
}

impl Engine {
    /// After another snapshot.
    pub(super) fn look_over_standing(&mut self) {
        let agents = &self.world.snapshot.centre.agents;
        let kept = agents.iter().filter(|(_, agent)| is_kept(agent)).map(|(id, _)| id);
        let kept: Vec<AgentId> = kept.chain(self.standing.kept.keys()).cloned().collect();
        self.standing.touched.extend(kept);
    }

    /// Does what telephones that are kept up want. Whether there was anything.
    pub(super) fn attend_standing(&mut self, now: Now) -> bool {
        let mut any = false;
        loop {
            if let Some(news) = self.standing.news.pop_front() {
                any = true;
                match news {
                    News::Said(call, news) => self.standing_says(now, call, news),
                    News::Wanted { contact, agent, rings } => {
                        self.standing_wanted(now, contact, (agent, rings));
                    }
                    News::Returned(leg) => self.standing_returns(now, leg),
                    News::Lost(leg, how) => self.standing_lost(now, leg, &how),
                }
            } else if let Some(agent) = self.standing.touched.pop_first() {
                any |= self.look_after(now, &agent);
            } else {
                return any;
            }
        }
    }

    /// Rings a telephone that is wanted and not up, and lets one go that is not wanted. Whether it did.
    fn look_after(&mut self, now: Now, agent: &AgentId) -> bool {
        let world = Arc::clone(&self.world);
        let found = world.snapshot.centre.agents.get(agent).filter(|found| is_kept(found));
        let signed_in = found.is_some() && self.floors.is_signed_in(agent) && !self.draining;
        let call = self.standing.kept.get(agent).and_then(|kept| kept.call);
        match (found, call) {
            (Some(found), None) if signed_in && self.floors.is_ready(agent) => {
                let waits = self.standing.kept.get(agent).is_some_and(|kept| kept.retry_at.is_some());
                let station = self.standing_station(agent, found).filter(|_| !waits);
                if let Some(station) = station {
                    self.ring_standing(now, agent, station);
                    return true;
                }
            }
            (_, Some(call)) if !signed_in => {
                // One that is in another call comes back first.
                let is_lent = self.standing.kept.get(agent).is_some_and(|kept| kept.is_lent);
                if !is_lent && self.calls.get(&call).is_some_and(|call| !call.is_ending()) {
                    self.with_call(now, call, Call::end_standing);
                    return true;
                }
            }
            (None, None) => drop(self.standing.kept.remove(agent)),
            (Some(_), _) | (None, Some(_)) => {}
        }
        false
    }

    /// One of an agent's telephones that are kept up, if any can be rung.
    fn standing_station(&self, agent: &AgentId, found: &Agent) -> Option<StationId> {
        let kept = found.stations.iter().filter(|station| station.persistent);
        let id = |name: &str| StationId { agent: agent.clone(), station: name.to_owned() };
        let mut there = kept.filter(|station| match station.kind {
            StationKind::Sip { .. } => !self.registrar.bindings(&id(&station.name)).is_empty(),
            StationKind::Pstn { .. } => true,
            StationKind::WebRtc { .. } => false,
        });
        there.next().map(|station| id(&station.name))
    }

    fn ring_standing(&mut self, now: Now, agent: &AgentId, station: StationId) {
        let call_id = format!("standing-{:016x}", self.lots.draw());
        let names = (call_id, String::new(), agent.0.name().to_owned());
        let outcome = Outcome::Placed { station: station.clone(), to: "wait for contacts".into() };
        self.push(Output::Explanation(Box::new(unheard(now, &names, outcome))));
        let tenant = agent.0.namespace();
        let lossy = self.world.snapshot.centre.agents.get(agent).is_some_and(|agent| agent.lossy);
        let admitted = Admitted {
            origin: Origin::Station(station),
            tenant: tenant.to_owned(),
            number: None,
            dialled: None,
            first_dialled: None,
            flow: unled(tenant),
        };
        let terms = Terms::of_phone(model::net::Transport::Udp, lossy);
        let placement = Some(Placement { targets: Vec::new(), is_help: false });
        let incoming = Incoming { placement, ..self.of_ours(names, terms, admitted) };
        let whose = agent.clone();
        let id = self.begin_outgoing(now, incoming, |id, incoming, environment: Environment<'_>| {
            Call::standing(id, incoming, environment, whose)
        });
        self.standing.kept.entry(agent.clone()).or_default().call = Some(id);
        self.with_call(now, id, Call::ring_standing);
    }

    fn standing_says(&mut self, now: Now, call: CallId, news: StandingNews) {
        let Some(agent) = self.standing.whose(call) else { return };
        match news {
            StandingNews::Up => {
                if let Some(kept) = self.standing.kept.get_mut(&agent) {
                    (kept.is_up, kept.is_lent, kept.failures) = (true, false, 0);
                }
                self.floors.stir(&agent);
                self.standing.touch(&agent);
            }
            StandingNews::Ready(contact) => self.lend_to_contact(now, (&agent, call), contact),
            StandingNews::Down(how) => self.standing_down(now, &agent, how),
        }
    }

    fn standing_down(&mut self, now: Now, agent: &AgentId, how: StandingEnd) {
        let Some(kept) = self.standing.kept.get_mut(agent) else { return };
        (kept.call, kept.is_up, kept.is_lent, kept.offered) = (None, false, false, None);
        let away = match how {
            StandingEnd::Unanswered => Some("Unanswered"),
            StandingEnd::HungUp => Some("HungUp"),
            StandingEnd::LetGo => None,
            StandingEnd::Unreached | StandingEnd::Lost => {
                let wait = BACK_OFF.0 * 2u32.saturating_pow(kept.failures.min(8));
                kept.retry_at = Some(now.instant + wait.min(BACK_OFF.1));
                kept.failures += 1;
                None
            }
        };
        if let Some(reason) = away.filter(|_| self.floors.is_ready(agent)) {
            self.floors.leave(agent, reason, now.instant);
        }
        self.floors.stir(agent);
        self.standing.touch(agent);
    }

    /// A contact is offered to an agent whose telephone is up and free: it is told so. False: it must be rung.
    pub(super) fn offer_standing(
        &mut self,
        now: Now,
        (contact, agent): (CallId, &AgentId),
        queue: &QueueId,
    ) -> bool {
        let Some(call) = self.standing.free(agent) else { return false };
        self.with_call(now, contact, |call, context| call.offered_standing(agent.clone(), context));
        if self.calls.get(&contact).is_some_and(|contact| contact.is_offered_to(agent)) {
            self.tell_standing(now, (contact, agent, call), queue);
        }
        true
    }

    /// A contact for whom an agent was held ready has come to that: the telephone that is up is told, or others ring.
    fn standing_wanted(&mut self, now: Now, contact: CallId, (agent, rings): (AgentId, Duration)) {
        let held = self.calls.get(&contact).filter(|held| held.is_offered_to(&agent));
        let Some(queue) = held.and_then(|held| held.queue_of()).cloned() else { return };
        if self.standing.kept.get(&agent).is_some_and(|kept| kept.offered == Some(contact)) {
            return;
        }
        match self.standing.free(&agent) {
            Some(call) => self.tell_standing(now, (contact, &agent, call), &queue),
            None => self.with_call(now, contact, |call, context| call.ring_agent(agent, rings, context)),
        }
    }

    fn tell_standing(
        &mut self,
        now: Now,
        (contact, agent, call): (CallId, &AgentId, CallId),
        queue: &QueueId,
    ) {
        if let Some(kept) = self.standing.kept.get_mut(agent) {
            kept.offered = Some(contact);
        }
        let station = self.calls.get(&call).and_then(|call| call.standing_station());
        let known = station.and_then(|station| Dialler::of(&self.world, station));
        let at_once = known.is_none_or(|known| known.station.answers_itself);
        self.with_call(now, call, |call, context| call.announce(contact, (queue, at_once), context));
    }

    /// The agent accepts at the desk. Whether it is offered at a telephone that is up.
    pub(super) fn accept_standing(&mut self, now: Now, agent: &AgentId, contact: CallId) -> bool {
        let kept = self.standing.kept.get(agent).filter(|kept| kept.offered == Some(contact));
        let Some(call) = kept.and_then(|kept| kept.call) else { return false };
        self.with_call(now, call, Call::accept_next);
        true
    }

    /// A contact is offered no more.
    pub(super) fn withdraw_standing(&mut self, now: Now, agent: &AgentId, contact: CallId) {
        let kept = self.standing.kept.get_mut(agent).filter(|kept| kept.offered == Some(contact));
        let Some(kept) = kept else { return };
        kept.offered = None;
        if let Some(call) = kept.call {
            self.with_call(now, call, Call::forget_next);
        }
    }

    fn lend_to_contact(&mut self, now: Now, (agent, call): (&AgentId, CallId), contact: CallId) {
        if let Some(kept) = self.standing.kept.get_mut(agent) {
            kept.offered = None;
        }
        let waits = self.calls.get(&contact).is_some_and(|contact| !contact.is_ending());
        if let Some(connected) = self.lend(now, (agent, call), contact).filter(|_| waits) {
            self.with_call(now, contact, |call, context| call.attach(connected, context));
        }
    }

    /// The leg of a telephone that is up goes to another call, which is to take it.
    fn lend(&mut self, now: Now, (agent, call): (&AgentId, CallId), to: CallId) -> Option<Connected> {
        let mut connected = None;
        if self.calls.get(&to).is_some_and(|to| !to.is_ending()) {
            self.with_call(now, call, |call, context| connected = call.lend(context));
        }
        let connected = connected?;
        self.legs.insert(connected.sip, to);
        self.standing.lent.insert(connected.sip, agent.clone());
        if let Some(kept) = self.standing.kept.get_mut(agent) {
            kept.is_lent = true;
        }
        Some(connected)
    }

    /// The telephone of an agent that is up and free, for a call that the agent begins.
    pub(super) fn lend_own(&mut self, now: Now, agent: &AgentId, to: CallId) -> Option<Connected> {
        let call = self.standing.free(agent)?;
        self.lend(now, (agent, call), to)
    }

    /// The telephone of an agent that is up and free.
    pub(super) fn standing_of(&self, agent: &AgentId) -> Option<StationId> {
        let call = self.calls.get(&self.standing.free(agent)?)?;
        call.standing_station().cloned()
    }

    /// Nobody took it after all.
    pub(super) fn standing_untaken(&mut self, connected: &Connected) {
        self.standing.take_back(connected.sip);
    }

    fn standing_returns(&mut self, now: Now, leg: LegId) {
        let Some(agent) = self.standing.lent.remove(&leg) else { return };
        let kept = self.standing.kept.get_mut(&agent);
        let call = kept.and_then(|kept| {
            kept.is_lent = false;
            kept.call
        });
        let is_wanted = self.floors.is_signed_in(&agent) && !self.draining;
        let call = call.filter(|id| self.calls.get(id).is_some_and(|call| !call.is_ending()));
        match call {
            Some(call) if is_wanted => {
                self.legs.insert(leg, call);
                self.with_call(now, call, |call, context| call.take_back(leg, context));
            }
            call => {
                self.legs.remove(&leg);
                self.load.unburden(leg);
                let _ = self.endpoint.bye(now.instant, leg, &[]);
                if let Some(call) = call {
                    self.with_call(now, call, Call::end_standing);
                }
            }
        }
    }

    fn standing_lost(&mut self, now: Now, leg: LegId, how: &Ended) {
        let Some(agent) = self.standing.lent.remove(&leg) else { return };
        if let Some(call) = self.standing.kept.get(&agent).and_then(|kept| kept.call) {
            self.with_call(now, call, |call, context| call.standing_lost(how, context));
        }
    }
}
