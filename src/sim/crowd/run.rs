//! A plan under way: the engine, everybody around it, and one clock for all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use call::{
    Now,
    engine::{Config, Engine, Input, Output, Response, Shard},
};
use jiff::{SignedDuration, Timestamp};
use model::{
    AgentId, CallId, LegId, SessionId,
    media::{Event, MediaEvent, MediaOrder, Order, Refusal},
    net::Flow,
};
use sip::digest::Nonces;

use super::{
    centre,
    lines::{Lines, News},
    network::Network,
    plan::{Act, Contact, Deed, Plan, What},
    tally::Tally,
    watch::{Invariant, Violation, Watch},
    wire::Head,
};
use crate::world::{media::Media, plain::Plain};

/// Most times that the clock is moved for one contact, and besides.
const MOVES: (usize, usize) = (2_000, 200_000);

/// Lines of the ladder that are kept.
const LADDER_MAX: usize = 120;

/// How often telephones register.
const REGISTERS: Duration = Duration::from_secs(1_700);

/// When a day begins.
const BEGINS: Timestamp = Timestamp::UNIX_EPOCH;

/// What came of a plan.
#[derive(Debug, Clone)]
pub struct Ran {
    pub tally: Tally,
    /// None: it went well.
    pub failed: Option<Failed>,
}

/// How a plan failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub violation: Violation,
    /// After so much time.
    pub at: Duration,
    /// The last that was said before, where that was asked for.
    pub ladder: Vec<String>,
}

/// Something that happens later.
#[derive(Debug)]
pub(super) enum Task {
    /// What the plan has at this place.
    Part(usize),
    Deed(u32, Option<CallId>, Deed),
    Answers(LegId, Option<u32>),
    Refuses(LegId, u16),
    Declines(usize, CallId),
    HangsUp(LegId),
    Confirms(SessionId, LegId, String),
    /// To us, or to a telephone.
    Deliver(bool, Flow, Bytes),
    Serves(CallId, u64, Result<Response, String>),
    Says(MediaEvent),
    /// What was gone is there again: a queue, an agent.
    Restores(Option<usize>, Option<usize>),
    /// Telephones register again.
    Registers,
    /// Who was away because nobody answered comes back.
    Returns(usize),
}

/// A contact that has called.
#[derive(Debug, Default)]
pub(super) struct Caller {
    pub leg: Option<LegId>,
    /// Telephones that were rung for it.
    pub rung: usize,
}

pub(super) struct Crowd<'a> {
    pub plan: &'a Plan,
    pub(super) contacts: BTreeMap<u32, &'a Contact>,
    plain: Plain,
    pub now: Now,
    begun: Instant,
    pub engine: Engine,
    pub people: Lines,
    pub media: Media,
    /// Legs that the media server has.
    media_legs: BTreeSet<(SessionId, LegId)>,
    pub watch: Watch,
    pub network: Network,
    agenda: BTreeMap<(Instant, u64), Task>,
    tasks: u64,
    moves: usize,
    pub callers: HashMap<u32, Caller>,
    pub by_leg: HashMap<LegId, u32>,
    pub talked: BTreeSet<(u32, CallId)>,
    /// The call that each agent talked in last.
    pub last: Vec<Option<CallId>>,
    pub registered: Vec<bool>,
    pub changes: centre::Changes,
    pub media_refuses: Instant,
    pub media_silent: Instant,
    /// None: nobody wants to read it.
    ladder: Option<VecDeque<String>>,
}

/// Lets a plan happen. `begins` is any instant at all.
#[must_use]
pub fn run(plan: &Plan, begins: Instant) -> Ran {
    play(plan, begins, false)
}

/// The same, and keeps the end of the ladder.
#[must_use]
pub fn told(plan: &Plan, begins: Instant) -> Ran {
    play(plan, begins, true)
}

fn play(plan: &Plan, begins: Instant, tells: bool) -> Ran {
    match Crowd::new(plan, begins, tells) {
        Ok(mut crowd) => crowd.play(),
        Err(because) => {
            let violation = Violation { invariant: Invariant::Ends, message: because };
            let failed = Failed { violation, at: Duration::ZERO, ladder: Vec::new() };
            Ran { tally: Tally::default(), failed: Some(failed) }
        }
    }
}

impl<'a> Crowd<'a> {
    fn new(plan: &'a Plan, begins: Instant, tells: bool) -> Result<Self, String> {
        let agents = plan.centre.agents.len();
        let changes = centre::Changes { agents_gone: vec![false; agents], ..centre::Changes::default() };
        let plain = Plain::new(&centre::snapshot(&plan.centre, &changes)).map_err(|bad| bad.to_string())?;
        let config = Config {
            token: "crowd".into(),
            shard: Shard::ALONE,
            together: None,
            first_call: 1,
            seed: plan.seed,
            legs_max: 20_000,
            transactions_max: 60_000,
            nonces: Nonces::new(&[7; 32]),
        };
        let now = Now { instant: begins, wall: BEGINS };
        let people = Lines::new(&plain, agents, plan.seed).ok_or("nothing hears the carrier")?;
        Ok(Self {
            plan,
            contacts: plan.contacts().map(|contact| (contact.id, contact)).collect(),
            now,
            begun: begins,
            engine: Engine::of(config, plain.world.clone()),
            plain,
            people,
            media: Media::new(std::sync::Arc::default(), true),
            media_legs: BTreeSet::new(),
            watch: Watch::new(now, plan),
            network: Network::new(plan.seed),
            agenda: BTreeMap::new(),
            tasks: 0,
            moves: 0,
            callers: HashMap::new(),
            by_leg: HashMap::new(),
            talked: BTreeSet::new(),
            last: vec![None; agents],
            registered: plan.centre.agents.iter().map(|agent| !agent.is_public).collect(),
            changes,
            media_refuses: begins,
            media_silent: begins,
            ladder: tells.then(VecDeque::new),
        })
    }

    fn play(&mut self) -> Ran {
        self.tell(Input::Timeout);
        self.later(Duration::ZERO, Task::Registers);
        for (place, part) in self.plan.parts.iter().enumerate() {
            self.later(Duration::from_millis(part.at.into()), Task::Part(place));
        }
        let last = self.plan.parts.last().map_or(0, |part| part.at);
        let end = self.begun + Duration::from_millis(last.into()) + Duration::from_secs(30);
        self.run_until(end, |_| false);
        self.bring_to_an_end();
        if self.watch.violation.is_none() {
            let left = self.media_legs.len();
            let lines = self.people.lines().count();
            self.watch.left(left, "legs at the media server");
            self.watch.left(lines, "telephones that are not hung up");
            self.watch.left(self.people.transactions(), "transactions of telephones");
            self.watch.end(&self.engine);
        }
        let mut tally = std::mem::take(&mut self.watch.tally);
        (tally.crowds, tally.interactions, tally.lost) = (1, self.contacts.len() as u64, self.network.lost);
        let at = self.now.instant.saturating_duration_since(self.begun);
        let ladder = self.ladder.take().unwrap_or_default();
        let failed = self.watch.violation.take();
        let failed = failed.map(|violation| Failed { violation, at, ladder: ladder.into() });
        Ran { tally, failed }
    }

    /// Whatever was broken is whole again, who waits is helped, and then everybody goes.
    fn bring_to_an_end(&mut self) {
        self.network.heal();
        (self.media_refuses, self.media_silent) = (self.now.instant, self.now.instant);
        self.changes.queues_gone = Default::default();
        self.changes.agents_gone.fill(false);
        self.reconfigure();
        for agent in 0..self.last.len() {
            if !self.plan.centre.agents[agent].is_public {
                self.registered[agent] = true;
                self.people.register(self.now.instant, agent, true);
            }
            self.settle();
            self.act(agent, Act::Ready);
        }
        let soon = self.now.instant + Duration::from_secs(900);
        self.run_until(soon, |crowd| crowd.left() == 0);
        for _ in 0..8 {
            let lines: Vec<LegId> = self.people.lines().map(|(leg, _)| leg).collect();
            for leg in lines {
                self.people.hang_up(self.now.instant, leg);
                self.settle();
            }
            let soon = self.now.instant + Duration::from_secs(100);
            self.run_until(soon, |crowd| crowd.left() == 0);
        }
        for agent in 0..self.last.len() {
            self.act(agent, Act::SignOut);
            self.registered[agent] = false;
        }
        // Who is called back waits for a day at most.
        let soon = self.now.instant + Duration::from_secs(26 * 3_600);
        self.run_until(soon, |crowd| crowd.left() == 0);
        // Transactions and the last answers.
        let soon = self.now.instant + Duration::from_secs(150);
        self.run_until(soon, |_| false);
    }

    /// Calls, and promises that wait.
    fn left(&self) -> usize {
        self.engine.calls() + self.engine.promises()
    }

    fn run_until(&mut self, end: Instant, is_enough: impl Fn(&Self) -> bool) {
        let most = MOVES.0 * self.contacts.len() + MOVES.1;
        while self.watch.violation.is_none() && self.now.instant < end && !is_enough(self) {
            self.moves += 1;
            if self.moves > most {
                self.watch.left(self.left().max(1), "calls that do not come to an end");
                return;
            }
            self.advance(end);
        }
    }

    pub(super) fn later(&mut self, after: Duration, task: Task) {
        self.tasks += 1;
        self.agenda.insert((self.now.instant + after, self.tasks), task);
    }

    /// Goes to the next time at which something happens, and lets it happen.
    fn advance(&mut self, until: Instant) {
        let due = [
            self.engine.poll_timeout(),
            self.people.poll_timeout(),
            self.media.poll_timeout(),
            self.watch.poll_timeout().map(|at| at + Duration::from_nanos(1)),
            self.agenda.first_key_value().map(|((at, _), _)| *at),
        ];
        let next = due.into_iter().flatten().fold(until, Instant::min);
        self.pass(next.saturating_duration_since(self.now.instant));
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now.instant
        {
            let task = entry.remove();
            self.does(task);
            self.settle();
        }
        let now = self.now.instant;
        if self.media.poll_timeout().is_some_and(|at| at <= now) {
            self.media.timeout(now);
            self.settle();
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.tell(Input::Timeout);
            self.settle();
        }
        if self.people.poll_timeout().is_some_and(|at| at <= now) {
            self.people.timeout(now);
            self.settle();
        }
        self.watch.timeout(now, &self.engine);
    }

    /// The clock goes on, and nobody does anything.
    pub(super) fn pass(&mut self, step: Duration) {
        self.now.instant += step;
        let step = SignedDuration::try_from(step).unwrap_or(SignedDuration::MAX);
        self.now.wall = self.now.wall.checked_add(step).unwrap_or(self.now.wall);
    }

    /// Tells the engine something, carries out what it says, and looks at what that has come to.
    pub(super) fn tell(&mut self, input: Input) {
        if self.watch.violation.is_some() {
            return;
        }
        self.watch.begin(self.now);
        if let Input::Packet { flow, bytes } = &input {
            let agent = self.people.agent_at(&flow.remote);
            self.watch.heard(bytes, agent);
            self.note_message("→", flow, bytes);
        }
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll() {
            let to = if let Output::Transmit { flow, .. } = &output { Some(flow.remote) } else { None };
            let agent = to.and_then(|to| self.people.agent_at(&to));
            self.note_output(&output);
            self.watch.output(&output, agent);
            self.carry_out(output, agent);
        }
        let (media, legs) = (&self.media, &self.media_legs);
        self.watch.settle(&self.engine, |call| {
            let session = SessionId(call.0);
            let mut legs = legs.range((session, LegId(0))..=(session, LegId(u64::MAX)));
            legs.any(|(_, leg)| media.is_bridged(*leg))
        });
    }

    /// Lets everything happen that happens at this very time.
    pub(super) fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for (flow, bytes) in std::mem::take(&mut self.people.wire) {
                is_quiet = false;
                let agent = self.people.agent_at(&flow.remote);
                self.send(true, agent, (flow, bytes));
            }
            for event in std::mem::take(&mut self.media.events) {
                is_quiet = false;
                match self.media_silent > self.now.instant {
                    true => {
                        let after = self.media_silent - self.now.instant;
                        self.later(after, Task::Says(event));
                    }
                    false => self.tell(Input::Media(event)),
                }
            }
            for news in std::mem::take(&mut self.people.news) {
                is_quiet = false;
                self.learn(news);
            }
            for asked in std::mem::take(&mut self.media.asked_for_key) {
                is_quiet = false;
                self.asked_for_key(asked.session, asked.leg);
            }
            self.media.noticed.clear();
            if is_quiet {
                return;
            }
        }
    }

    /// A message leaves, to us or to a telephone.
    fn send(&mut self, to_us: bool, agent: Option<usize>, (flow, bytes): (Flow, Bytes)) {
        for late in self.network.fate(self.now.instant, agent).into_iter().flatten() {
            if late.is_zero() {
                self.deliver(to_us, flow, bytes.clone());
            } else {
                self.later(late, Task::Deliver(to_us, flow, bytes.clone()));
            }
        }
    }

    pub(super) fn deliver(&mut self, to_us: bool, flow: Flow, bytes: Bytes) {
        match to_us {
            true => self.tell(Input::Packet { flow, bytes }),
            false => self.people.hear(self.now.instant, flow, bytes),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`Watch::output` names them all")]
    fn carry_out(&mut self, output: Output, agent: Option<usize>) {
        match output {
            Output::Transmit { flow, bytes } => self.send(false, agent, (flow, bytes)),
            Output::Media(order) => self.order(order),
            Output::Request(asked) => self.serve(*asked),
            Output::Talk(talking) => self.talks(talking.call, &talking.talk),
            Output::AgentState { agent, state } => self.becomes(&agent, &state),
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the media server takes them all")]
    fn order(&mut self, order: MediaOrder) {
        let session = order.session;
        match &order.order {
            Order::Allocate { leg, .. } if self.media_refuses > self.now.instant => {
                let event = Event::Refused { leg: *leg, reason: Refusal::PortsExhausted };
                return self.media.events.push(MediaEvent { session, event });
            }
            Order::Allocate { leg, .. } => {
                self.media_legs.insert((session, *leg));
            }
            Order::Release { leg } => {
                self.media_legs.remove(&(session, *leg));
            }
            _ => {}
        }
        self.media.take(self.now.instant, order);
    }

    /// Legs that the media server has are elsewhere from now on.
    pub(super) fn move_media(&mut self) {
        let address = std::net::IpAddr::from([192, 0, 2, 251]);
        for (place, (session, leg)) in self.media_legs.clone().into_iter().enumerate() {
            let rtp_port = 20_000 + u16::try_from(place).unwrap_or_default() * 2;
            let event = Event::Allocated { leg, address, rtp_port, fingerprint: None };
            self.media.events.push(MediaEvent { session, event });
        }
    }

    /// The engine gets the configuration as it is now.
    pub(super) fn reconfigure(&mut self) {
        let mut settings = self.plan.centre.clone();
        self.watch.skills(&mut settings);
        let Ok(plain) = Plain::new(&centre::snapshot(&settings, &self.changes)) else { return };
        self.plain = plain;
        self.watch.reconfigure(self.changes.clone());
        self.tell(Input::World(self.plain.world.clone()));
        self.settle();
    }

    /// An agent does something, at the desk or at the telephone.
    pub(super) fn is_agent(&self, id: &AgentId) -> Option<usize> {
        centre::agent_of(id).filter(|agent| *agent < self.last.len())
    }

    pub(super) fn part(&mut self, place: usize) {
        let plan = self.plan;
        let Some(part) = plan.parts.get(place) else { return };
        self.note(|| format!("plan: {part}"));
        match &part.what {
            What::Calls(contact) => self.calls(contact),
            What::Acts(agent, act) => self.act(*agent, *act),
            What::Fault(fault) => self.fault(*fault),
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let Some(ladder) = &mut self.ladder else { return };
        if ladder.len() == LADDER_MAX {
            ladder.pop_front();
        }
        let at = self.now.instant.saturating_duration_since(self.begun);
        ladder.push_back(format!("{:>9.3} s  {}", at.as_secs_f64(), what()));
    }

    fn note_message(&mut self, arrow: &str, flow: &Flow, bytes: &Bytes) {
        if self.ladder.is_none() {
            return;
        }
        let who = self.people.agent_at(&flow.remote).map_or_else(|| "carrier".into(), centre::agent_name);
        let head = Head::of(bytes);
        let told = head.map_or_else(|| "?".into(), |head| format!("{} ({})", head.told(), head.call_id));
        self.note(|| format!("{who} {arrow} {told}"));
    }

    fn note_output(&mut self, output: &Output) {
        if self.ladder.is_none() {
            return;
        }
        match output {
            Output::Transmit { flow, bytes } => self.note_message("←", flow, bytes),
            Output::Heard { .. } | Output::Note(_) | Output::Explanation(_) | Output::Standing => {}
            Output::Record(record) => {
                let (call, by, path) = (record.call, record.ended_by, record.path.clone());
                self.note(|| format!("record of {call:?}: ended by {by:?}, {path:?}"));
            }
            Output::Begun(_)
            | Output::Media(_)
            | Output::Stranger { .. }
            | Output::Excess { .. }
            | Output::Dialled { .. }
            | Output::WrapUp(_)
            | Output::WrapUpOver { .. }
            | Output::Disposed(_)
            | Output::Told(_)
            | Output::Saved(_)
            | Output::Verify(_)
            | Output::Sign(_)
            | Output::Request(_)
            | Output::TrunkNews(_)
            | Output::Attempt(_)
            | Output::StationNews(_)
            | Output::AgentState { .. }
            | Output::Offered(_)
            | Output::OfferOver { .. }
            | Output::Talk(_)
            | Output::TalkOver { .. }
            | Output::Refused { .. }
            | Output::Tidings(_) => {
                let told = format!("{output:?}");
                self.note(|| format!("engine: {}", told.chars().take(300).collect::<String>()));
            }
        }
    }

    pub(super) fn registers(&mut self) {
        for agent in 0..self.registered.len() {
            if self.registered[agent] {
                self.people.register(self.now.instant, agent, true);
                self.settle();
            }
        }
        if self.registered.contains(&true) {
            self.later(REGISTERS, Task::Registers);
        }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Rings(leg) => self.rings(leg),
            News::Answered(leg) => self.answered(leg),
            News::Over(line, leg) => {
                self.watch.line_over(&line.call_id);
                if let Some(contact) = self.by_leg.remove(&leg)
                    && let Some(caller) = self.callers.get_mut(&contact)
                    && caller.leg == Some(leg)
                {
                    caller.leg = None;
                }
                if let Some(call) = self.watch.call_of(&line.call_id).filter(|_| line.is_ours) {
                    self.watch.gone(call);
                }
            }
        }
    }
}
