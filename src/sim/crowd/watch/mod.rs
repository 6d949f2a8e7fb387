//! Who looks on: everything that the engine says and hears is held against what the world has seen.
//!
//! It knows nothing of the engine's own books but who waits where; legs, talks, states, places and waits are its own, made of
//! messages on the wire and of what the engine says. What is looked at after an input is what the input has touched.

mod bounds;
mod floor;
mod legs;
mod records;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use acd::{Away, State};
use call::{
    Now,
    call::Talk,
    engine::{Engine, Output},
    explanation::Outcome,
};
use jiff::Timestamp;
use model::{AgentId, CallId};

use self::{bounds::Bound, floor::Staff, legs::Leg};
use super::{centre, plan, tally::Tally};

/// Inputs at one instant that nothing needs.
const INPUTS_MAX: u32 = 100_000;

/// What must be so, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Every call that begins has one record, and nothing is said of it afterwards.
    OneRecord,
    /// Every contact comes to an end.
    Ends,
    /// Nobody is offered to two agents at once, or two to one.
    OneOffer,
    /// Every offer ends in time, and whoever was offered is told.
    OfferEnds,
    /// An agent is offered the first of those who wait for him.
    FirstInOrder,
    /// A contact is offered to the first of the agents who are free for it.
    RightAgent,
    /// Nobody waits while an agent is free who may help.
    NobodyIdle,
    /// No agent is offered more than there is capacity for.
    Capacity,
    /// No contact is with two agents, unless one of them asks the other.
    AnsweredOnce,
    /// An agent's state is what he does.
    AgentState,
    /// The work after a contact lasts as long as it may.
    WrapUp,
    /// No telephone rings for nobody, and no leg is up for nobody.
    RingsForSomebody,
    /// Every wait ends in time.
    WaitEnds,
    /// Whoever comes back to a queue, or is called back, has the old place.
    PlaceKept,
    /// Who talks is heard, and who is held is not.
    Joined,
    /// Records are what happened.
    RecordTrue,
    /// So are the queues' figures.
    FiguresTrue,
    /// Nobody is refused without a reason that there is.
    RefusalTrue,
    /// In the end nothing is left.
    Drained,
}

impl Invariant {
    pub const ALL: [Self; 19] = [
        Self::OneRecord,
        Self::Ends,
        Self::OneOffer,
        Self::OfferEnds,
        Self::FirstInOrder,
        Self::RightAgent,
        Self::NobodyIdle,
        Self::Capacity,
        Self::AnsweredOnce,
        Self::AgentState,
        Self::WrapUp,
        Self::RingsForSomebody,
        Self::WaitEnds,
        Self::PlaceKept,
        Self::Joined,
        Self::RecordTrue,
        Self::FiguresTrue,
        Self::RefusalTrue,
        Self::Drained,
    ];
}

/// What is not so, and should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub message: String,
}

/// A call as it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub call_id: String,
    /// The contact, where it is one's.
    pub contact: Option<u32>,
    /// Whose call it is that an agent makes.
    pub owner: Option<usize>,
    pub is_callback: bool,
    /// Call-IDs of legs that were dialled.
    pub legs: Vec<String>,
    pub offer: Option<(usize, Instant)>,
    /// When the last one was over.
    pub over_at: Option<Instant>,
    /// How many of the legs are older than it.
    pub before_offer: usize,
    pub wait: Option<Wait>,
    pub visits: Vec<Visit>,
    pub talks: Vec<Talk>,
    /// Who has worked on it when it was over.
    pub worked_on: BTreeSet<usize>,
    /// Since when its turn counts, where it is called back.
    pub place: Option<Instant>,
    /// When an agent handed it on to a number of the centre, where it waits anew.
    pub enters: Option<Instant>,
    pub number: Option<usize>,
}

/// A wait that goes on.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub queue: usize,
    /// Since when it counts, and since when it really is.
    pub entered: Instant,
    pub since: Instant,
    pub priority: u8,
    /// How many steps the flow had passed.
    pub passed: usize,
    /// Who is not asked, until when.
    pub declined: Vec<(usize, Instant)>,
}

/// A wait that is over.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub queue: usize,
    pub entered: Instant,
    pub waited: Duration,
    pub agent: Option<usize>,
    pub passed: usize,
    pub declined: Vec<(usize, Instant)>,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Watch {
    now: Now,
    /// The instant before it that something happened at.
    before: Instant,
    /// Inputs at this instant.
    inputs_now: u32,
    /// When the clock went on that had stood still: who is the first is judged as of when each thing was due.
    stalled: Option<Instant>,
    centre: plan::Centre,
    pub(super) changes: centre::Changes,
    slack: Duration,
    is_lossy: bool,
    staff: Vec<Staff>,
    calls: BTreeMap<CallId, Seen>,
    by_call_id: HashMap<String, CallId>,
    legs: HashMap<String, Leg>,
    bounds: BTreeSet<(Instant, Bound)>,
    /// Who waits, those that are offered among them.
    waiting: BTreeSet<CallId>,
    touched_calls: BTreeSet<CallId>,
    /// Promises that were not seen to wait yet: nothing is said when their time comes.
    to_wait: BTreeSet<CallId>,
    touched_agents: BTreeSet<usize>,
    /// Offers made since the last input.
    offers: Vec<(CallId, usize, Duration, u64)>,
    /// Offers that are over since then.
    overs: Vec<(CallId, usize)>,
    /// And talks.
    talks_over: Vec<(CallId, usize)>,
    /// Whether the configuration has changed since.
    reconfigured: bool,
    /// What becomes of the calls that begin next: the queue of a promise.
    promised: Option<usize>,
    turns: u64,
    figures: [floor::Figures; plan::QUEUES],
    draining: bool,
    pub(super) violation: Option<Violation>,
    pub tally: Tally,
}

impl Watch {
    pub fn new(now: Now, plan: &plan::Plan) -> Self {
        let staff = plan.centre.agents.iter().map(|agent| Staff::new(agent, now.instant)).collect();
        let is_lossy = plan.is_lossy();
        Self {
            now,
            before: now.instant,
            inputs_now: 0,
            stalled: None,
            centre: plan.centre.clone(),
            changes: centre::Changes {
                agents_gone: vec![false; plan.centre.agents.len()],
                ..centre::Changes::default()
            },
            slack: Duration::from_secs(if is_lossy { 75 } else { 3 }),
            is_lossy,
            staff,
            calls: BTreeMap::new(),
            by_call_id: HashMap::new(),
            legs: HashMap::new(),
            bounds: BTreeSet::new(),
            waiting: BTreeSet::new(),
            touched_calls: BTreeSet::new(),
            to_wait: BTreeSet::new(),
            touched_agents: BTreeSet::new(),
            offers: Vec::new(),
            overs: Vec::new(),
            talks_over: Vec::new(),
            reconfigured: true,
            promised: None,
            turns: 0,
            figures: Default::default(),
            draining: false,
            violation: None,
            tally: Tally::default(),
        }
    }

    /// Holds that something is so. The first that is not is kept.
    fn hold(&mut self, invariant: Invariant, is_so: bool, otherwise: impl FnOnce() -> String) {
        self.tally.checked(invariant);
        if !is_so && self.violation.is_none() {
            self.violation = Some(Violation { invariant, message: otherwise() });
        }
    }

    /// Something is told to the engine at this time.
    pub fn begin(&mut self, now: Now) {
        if now.instant > self.now.instant {
            (self.before, self.inputs_now) = (self.now.instant, 0);
        }
        self.inputs_now += 1;
        self.hold(Invariant::Ends, self.inputs_now < INPUTS_MAX, || "the engine is never done".into());
        self.now = now;
        self.tally.inputs += 1;
    }

    /// The clock has stood still until now.
    pub const fn stalls(&mut self, now: Now) {
        self.stalled = Some(now.instant);
    }

    /// The queues and agents are others from now on.
    pub fn reconfigure(&mut self, changes: centre::Changes) {
        for (queue, (before, after)) in self.changes.queues_gone.iter().zip(&changes.queues_gone).enumerate()
        {
            if before != after {
                self.figures[queue].is_reset = true;
                self.staff.iter_mut().for_each(|staff| {
                    staff.turns[queue] = 0;
                    // What a queue gave goes with it.
                    staff.owes.clear();
                });
            }
        }
        for (agent, (before, after)) in self.changes.agents_gone.iter().zip(&changes.agents_gone).enumerate()
        {
            if before != after {
                self.staff[agent].turns = [0; plan::QUEUES];
                if !after {
                    self.staff[agent].signed_in &= self.staff[agent].told != State::SignedOut;
                }
                self.touched_agents.insert(agent);
            }
        }
        self.changes = changes;
        self.reconfigured = true;
    }

    /// An agent has other skills from now on.
    pub fn learn(&mut self, agent: usize, skills: [u8; plan::QUEUES]) {
        self.centre.agents[agent].skills = skills;
        self.staff[agent].turns = [0; plan::QUEUES];
        self.reconfigured = true;
    }

    pub const fn drain(&mut self) {
        self.draining = true;
    }

    /// The engine has said something; `agent` is whose telephone a message is for.
    pub fn output(&mut self, output: &Output, agent: Option<usize>) {
        match output {
            Output::Transmit { bytes, .. } => self.sent(bytes, agent),
            Output::Media(order) => self.touch(CallId(order.session.0)),
            Output::Begun(begun) => self.begun(begun),
            Output::Dialled { call_id, leg } => self.dialled(call_id, leg),
            Output::Explanation(explanation) => match &explanation.outcome {
                Outcome::Promised { queue } => self.promised = centre::queue_of(queue),
                Outcome::Refused { code, because } => self.refused(&explanation.to, *code, because),
                Outcome::Routed { .. }
                | Outcome::Placed { .. }
                | Outcome::Challenged { .. }
                | Outcome::Ignored { .. } => {}
            },
            Output::Offered(offered) => {
                if let Some(agent) = self.agent(&offered.agent) {
                    let turn = self.turn(agent, &offered.queue);
                    self.offered(offered.call, agent, offered.until, (offered.waited, turn));
                }
            }
            Output::OfferOver { call, agent } => {
                if let Some(agent) = self.agent(agent) {
                    self.offer_over(*call, agent);
                }
            }
            Output::AgentState { agent, state } => {
                if let Some(agent) = self.agent(agent) {
                    self.state(agent, state);
                }
            }
            Output::Talk(talking) => {
                self.touch(talking.call);
                if let Some(seen) = self.calls.get_mut(&talking.call) {
                    seen.talks.retain(|talk| talk.agent != talking.talk.agent);
                    seen.talks.push(talking.talk.clone());
                }
            }
            Output::TalkOver { call, agent } => self.talk_over(*call, agent),
            Output::Record(record) => self.record(record),
            Output::Request(asked) => self.touch(asked.call),
            Output::WrapUp(work) => self.works_on(&work.agent, work.call, true),
            Output::WrapUpOver { call, agent } => self.works_on(agent, *call, false),
            Output::Heard { .. }
            | Output::Note(_)
            | Output::Stranger { .. }
            | Output::Excess { .. }
            | Output::Disposed(_)
            | Output::Told(_)
            | Output::Saved(_)
            | Output::Verify(_)
            | Output::Sign(_)
            | Output::TrunkNews(_)
            | Output::Attempt(_)
            | Output::StationNews(_)
            | Output::Refused { .. }
            | Output::Standing
            | Output::Tidings(_) => {}
        }
    }

    fn talk_over(&mut self, call: CallId, id: &AgentId) {
        self.touch(call);
        if let Some(agent) = self.agent(id) {
            self.talks_over.push((call, agent));
        }
        if let Some(seen) = self.calls.get_mut(&call) {
            seen.talks.retain(|talk| talk.agent != *id);
        }
    }

    fn agent(&mut self, id: &AgentId) -> Option<usize> {
        let agent = centre::agent_of(id).filter(|agent| *agent < self.staff.len())?;
        self.touched_agents.insert(agent);
        Some(agent)
    }

    fn touch(&mut self, call: CallId) {
        self.touched_calls.insert(call);
    }

    fn begun(&mut self, begun: &call::record::Begun) {
        self.touch(begun.call);
        let is_callback = begun.call_id.starts_with("callback-");
        let number = if is_callback { &begun.to } else { &begun.from };
        let owner = begun.station.as_ref().and_then(|station| centre::agent_of(&station.agent));
        let owner = owner.filter(|_| !is_callback);
        let contact = centre::contact_of(number).filter(|_| owner.is_none());
        let by = begun.part_of.as_ref().filter(|_| is_callback);
        let place = by.and_then(|by| self.promised_place(by));
        let seen = Seen {
            call_id: begun.call_id.clone(),
            contact,
            owner,
            is_callback,
            legs: Vec::new(),
            offer: None,
            over_at: None,
            before_offer: 0,
            wait: None,
            visits: Vec::new(),
            talks: Vec::new(),
            worked_on: BTreeSet::new(),
            place,
            enters: None,
            number: centre::number_of(&begun.to).filter(|_| !is_callback),
        };
        if let Some(owner) = owner.filter(|owner| *owner < self.staff.len()) {
            self.touched_agents.insert(owner);
            self.staff[owner].involved.insert(begun.call);
        }
        if let Some(leg) = self.legs.get_mut(&begun.call_id) {
            leg.call = Some(begun.call);
        }
        let twice = self.by_call_id.insert(begun.call_id.clone(), begun.call).is_some();
        self.hold(Invariant::OneRecord, !twice, || format!("two calls are named {}", begun.call_id));
        if is_callback {
            self.to_wait.insert(begun.call);
        }
        self.calls.insert(begun.call, seen);
        self.tally.calls += 1;
    }

    /// Since when the turn of a contact counts that is called back, as this call has promised.
    fn promised_place(&mut self, by: &str) -> Option<Instant> {
        let queue = self.promised.take()?;
        let now = self.now.instant;
        let by = self.by_call_id.get(by).and_then(|by| self.calls.get(by))?;
        if by.is_callback && by.enters.is_none() {
            // It is tried again.
            return by.place.or(Some(now));
        }
        // What the wait has come to may not have been looked at yet.
        let waits = by.wait.as_ref().map(|wait| (wait.queue, wait.entered));
        let last = waits.or_else(|| by.visits.last().map(|visit| (visit.queue, visit.entered)));
        let last = last.filter(|(waited, _)| centre::keeps_place(queue) && *waited == queue);
        Some(last.map_or(now, |(_, entered)| entered))
    }

    /// Nobody is refused whom there is room for.
    fn refused(&mut self, to: &str, code: u16, because: &str) {
        if code != 480 || !because.contains("limits.calls") {
            return;
        }
        let number = centre::number_of(to);
        let up =
            self.calls.values().filter(|seen| seen.number == number && !self.is_a_leg_over(&seen.call_id));
        let (up, cap) = (up.count(), self.centre.cap as usize);
        self.tally.capped += 1;
        self.hold(Invariant::RefusalTrue, up >= cap, || {
            format!("a call to {to} was refused for its cap of {cap}, and {up} were up")
        });
    }

    /// The engine has said all there was: what it has touched is looked at.
    pub fn settle(&mut self, engine: &Engine, joined: impl Fn(CallId) -> bool) {
        // What is due and not done yet may stand otherwise in a moment.
        let is_late = engine.poll_timeout().is_some_and(|at| at <= self.now.instant);
        let calls: Vec<CallId> = std::mem::take(&mut self.touched_calls).into_iter().collect();
        for call in &calls {
            self.sample(engine, *call);
        }
        for call in self.to_wait.clone() {
            self.sample(engine, call);
            if self.calls.get(&call).is_none_or(|seen| seen.wait.is_some()) {
                self.to_wait.remove(&call);
            }
        }
        for (call, agent, waited, _) in self.offers.clone() {
            self.place_kept(call, agent, waited);
            self.has_room(call, agent);
        }
        let agents: Vec<usize> = std::mem::take(&mut self.touched_agents).into_iter().collect();
        for agent in &agents {
            self.settle_agent(*agent);
        }
        for (call, agent) in std::mem::take(&mut self.talks_over) {
            self.is_worked_on(call, agent);
        }
        for (call, agent) in std::mem::take(&mut self.overs) {
            self.settle_over(call, agent);
        }
        for call in &calls {
            self.settle_call(*call, &joined);
        }
        let offers = std::mem::take(&mut self.offers);
        let reconfigured = std::mem::take(&mut self.reconfigured) || self.stalled == Some(self.now.instant);
        if is_late {
            return;
        }
        if !reconfigured {
            for (call, agent, _, turn) in offers {
                self.in_order(call, agent, turn);
            }
        }
        if !calls.is_empty() || !agents.is_empty() {
            self.nobody_idle();
        }
    }

    /// Who hears whom.
    fn settle_call(&mut self, call: CallId, joined: &impl Fn(CallId) -> bool) {
        let Some(seen) = self.calls.get(&call) else { return };
        if let [talk] = &seen.talks[..]
            && talk.consult.is_none()
            && !talk.rings
        {
            let (is_joined, on_hold, agent) = (joined(call), talk.on_hold, talk.agent.clone());
            // The music is the agent's: who is deleted has none, and whoever is held then hears what the telephone plays.
            let is_gone =
                centre::agent_of(&agent).and_then(|agent| self.changes.agents_gone.get(agent)) == Some(&true);
            self.hold(Invariant::Joined, is_joined != on_hold || is_joined && is_gone, || {
                let heard = if is_joined { "hears" } else { "does not hear" };
                format!("call {call:?}: Agent {agent} {heard} the contact, on hold: {on_hold}")
            });
        }
        let Some(seen) = self.calls.get(&call).filter(|seen| seen.owner.is_none()) else { return };
        let asks = seen.talks.iter().any(|talk| talk.consult.is_some());
        let with: BTreeSet<usize> = seen
            .legs
            .iter()
            .filter_map(|leg| self.legs.get(leg))
            .filter(|leg| leg.is_talking())
            .filter_map(|leg| leg.agent)
            .collect();
        self.hold(Invariant::AnsweredOnce, asks || with.len() <= 1, || {
            format!("call {call:?} is with the agents {with:?} at once")
        });
    }

    /// What an agent is doing is what he says.
    fn settle_agent(&mut self, agent: usize) {
        let talks = self.talks(agent);
        self.settle_offer(agent, &talks);
        let gone = self.changes.agents_gone[agent];
        let staff = &mut self.staff[agent];
        if gone && talks.is_empty() && !matches!(staff.told, State::Busy | State::WrapUp(_)) {
            // Nothing is said of who is there no more, once the work is done.
            (staff.told, staff.signed_in) = (State::SignedOut, false);
        }
        let before = std::mem::replace(&mut staff.talks, talks.clone());
        let began = talks.iter().any(|call| !before.contains(call));
        staff.owes.retain(|call| !gone && !talks.contains(call));
        let owes = if staff.told == State::Busy { None } else { staff.owes.pop_first() };
        self.hold(Invariant::WrapUp, owes.is_none(), || {
            format!("agent {agent} had no time for what is to be done after call {owes:?}")
        });
        let staff = &self.staff[agent];
        let has_offer = staff.offer.is_some();
        let mut involved = staff.involved.iter().filter_map(|call| self.calls.get(call));
        let owns = involved.any(|seen| seen.owner == Some(agent));
        let is_so = match &staff.told {
            State::Busy => !talks.is_empty() || owns,
            State::Offered => has_offer && staff.signed_in && !gone,
            State::WrapUp(_) => talks.is_empty(),
            State::Available => talks.is_empty() && !has_offer && staff.signed_in && !gone,
            State::SignedOut => talks.is_empty() && !staff.signed_in || gone,
            State::Unreachable => talks.is_empty() && !staff.is_public,
            State::Away(Away::Chosen(_)) => talks.is_empty() && staff.is_away,
            State::Away(Away::Unanswered) => talks.is_empty() && staff.has_missed,
        };
        let told = staff.told.clone();
        let signed_in = staff.signed_in;
        self.hold(Invariant::AgentState, is_so, || {
            format!(
                "agent {agent} is {told:?}: talks in {talks:?} (begun now: {began}), offered: {has_offer}, signed in: {signed_in}"
            )
        });
    }

    /// The end of everything.
    pub fn end(&mut self, engine: &Engine) {
        self.hold(Invariant::Drained, engine.is_idle(), || {
            format!("{} calls are left, or legs or transactions", engine.calls())
        });
        let unrecorded: Vec<&String> = self.calls.values().map(|seen| &seen.call_id).collect();
        let told = format!("there is no record of {unrecorded:?}");
        let none = unrecorded.is_empty();
        self.hold(Invariant::OneRecord, none, || told);
        for (id, state) in engine.agents() {
            let idle =
                matches!(state, State::SignedOut | State::Unreachable | State::Away(_) | State::Available);
            self.hold(Invariant::Drained, idle, || format!("Agent {id} is {state:?} in the end"));
        }
        self.figures(engine);
    }

    /// The skills that agents have now.
    pub fn skills(&self, settings: &mut plan::Centre) {
        for (agent, own) in settings.agents.iter_mut().zip(&self.centre.agents) {
            agent.skills = own.skills;
        }
    }

    /// Something that there should be none of.
    pub fn left(&mut self, count: usize, what: &str) {
        self.hold(Invariant::Drained, count == 0, || format!("{count} {what} are left"));
    }

    /// When something is held next that time alone decides.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bounds.first().map(|(at, _)| *at)
    }

    /// The call of a telephone, by its Call-ID.
    pub fn call_of(&self, call_id: &str) -> Option<CallId> {
        self.legs.get(call_id).and_then(|leg| leg.call)
    }

    /// Whose call it is.
    pub fn contact_in(&self, call: CallId) -> Option<u32> {
        self.calls.get(&call)?.contact
    }

    /// An agent hands a contact on to a number of the centre.
    pub fn enters(&mut self, call: CallId, now: Instant) {
        if let Some(seen) = self.calls.get_mut(&call) {
            seen.enters = Some(now);
        }
    }

    /// The agent who talks in a call, or did last.
    pub fn agent_in(&self, call: CallId) -> Option<usize> {
        let seen = self.calls.get(&call)?;
        let talks = seen.talks.first().and_then(|talk| centre::agent_of(&talk.agent));
        talks.or_else(|| seen.visits.iter().rev().find_map(|visit| visit.agent))
    }

    /// Whether an agent talks in a call.
    pub fn is_talking(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|seen| seen.talks.iter().any(|talk| !talk.rings))
    }

    /// Whether an agent is there no more because nobody answered.
    pub fn has_missed(&self, agent: usize) -> bool {
        self.staff.get(agent).is_some_and(|staff| staff.told == State::Away(Away::Unanswered))
    }

    /// The time by the calendar of an instant.
    fn wall(&self, at: Instant) -> Timestamp {
        let back = self.now.instant.saturating_duration_since(at);
        let back = jiff::SignedDuration::try_from(back).unwrap_or_default();
        self.now.wall.checked_sub(back).unwrap_or(self.now.wall)
    }
}
