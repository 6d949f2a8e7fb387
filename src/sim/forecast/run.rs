//! One run of a floor: contacts come, wait, hang up or are answered, by the machine that serves in production.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use acd::{Arrival, ContactId, Figures, Floor, Outcome, Output, State, Withdrawal};
use model::{AgentId, centre::Channel};

use super::{Setup, estimate::Waits, lots::Lots};

/// Whoever hangs up so soon counts for nothing, as on the floor.
const EARLY: Duration = acd::ABANDONED_EARLY;

/// What happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    /// Agents come and go.
    Begins(usize),
    /// A contact comes to a load's queue.
    Comes(usize),
    /// A contact has no more patience.
    HangsUp(u64),
    /// An agent answers.
    Answers(u64),
    /// An agent has talked.
    Talked(u64),
    /// An agent has finished the work after a contact before its time.
    Finished(u64),
    /// An agent who let an offer ring out is back.
    Returns(usize),
}

/// Somebody on the floor.
#[derive(Debug)]
struct Contact {
    load: usize,
    interval: usize,
    entered: Instant,
    /// Whether it counts.
    counts: bool,
    handling: Duration,
    answered: bool,
    agent: usize,
    /// When that agent answers what is offered now. None: it rings out.
    answers_at: Option<Instant>,
    ahead: usize,
    expected: Option<Duration>,
}

/// How a wait that counted ended, beside what was said of it when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Place of its queue among the loads.
    pub load: usize,
    /// The interval it came in.
    pub interval: usize,
    /// When it came, from the beginning of what counts.
    pub at: Duration,
    /// How many went before it.
    pub ahead: usize,
    /// What the floor expected. None: it knew nothing yet.
    pub expected: Option<Duration>,
    /// How long it waited.
    pub wait: Duration,
    /// Whether an agent ended it.
    pub answered: bool,
}

/// What came of the contacts of a queue in an interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub figures: Figures,
    pub waits: Waits,
}

impl Counted {
    pub fn merge(&mut self, other: &Self) {
        self.figures.add(&other.figures);
        self.waits.merge(&other.waits);
    }
}

/// How agents spent their time, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Worked {
    pub busy: f64,
    /// With contacts, or waiting for one.
    pub there: f64,
}

impl Worked {
    pub fn add(&mut self, other: Self) {
        self.busy += other.busy;
        self.there += other.there;
    }

    pub fn occupancy(&self) -> Option<f64> {
        (self.there > 0.0).then(|| self.busy / self.there)
    }
}

/// What one run has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Replication {
    /// By load and interval.
    pub(super) counted: Vec<Vec<Counted>>,
    /// By load: of the agents who serve its queue.
    pub(super) serving: Vec<Worked>,
    /// By group.
    pub(super) groups: Vec<Worked>,
}

/// An agent's time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    since: Instant,
    busy: bool,
    there: bool,
    worked: Worked,
}

struct Lines {
    arrivals: Lots,
    handling: Lots,
    patience: Lots,
}

pub(super) struct Run<'a, 'w> {
    setup: &'a Setup,
    floor: Floor,
    now: Instant,
    /// What counts begins, and is over.
    counts: (Instant, Instant),
    agenda: BinaryHeap<Reverse<(Instant, u64, Happens)>>,
    events: u64,
    contacts: BTreeMap<u64, Contact>,
    next: u64,
    /// Contacts that count and still wait.
    pending: usize,
    lines: Vec<Lines>,
    misses: Lots,
    clocks: Vec<Clock>,
    counted: Vec<Vec<Counted>>,
    watch: &'w mut dyn FnMut(&Waited),
}

impl<'a, 'w> Run<'a, 'w> {
    pub fn new(setup: &'a Setup, index: u32, begins: Instant, watch: &'w mut dyn FnMut(&Waited)) -> Self {
        let mut floor = Floor::new(begins);
        floor.configure(setup.queues.iter(), setup.agents.iter(), begins);
        let lots =
            |place: usize, purpose| Lots::new(setup.demand.seed, [index.into(), place as u64, purpose]);
        let lines = (0..setup.demand.queues.len()).map(|place| Lines {
            arrivals: lots(place, 0),
            handling: lots(place, 1),
            patience: lots(place, 2),
        });
        let from = begins + setup.warm_up();
        let clock = Clock { since: begins, busy: false, there: false, worked: Worked::default() };
        let intervals = vec![Counted::default(); setup.intervals()];
        Self {
            setup,
            floor,
            now: begins,
            counts: (from, from + setup.counts()),
            agenda: BinaryHeap::new(),
            events: 0,
            contacts: BTreeMap::new(),
            next: 0,
            pending: 0,
            lines: lines.collect(),
            misses: lots(usize::MAX, 3),
            clocks: vec![clock; setup.agents.len()],
            counted: vec![intervals; setup.demand.queues.len()],
            watch,
        }
    }

    pub fn run(mut self) -> Replication {
        self.begins(0);
        for load in 0..self.lines.len() {
            self.next_comes(load);
        }
        while self.now < self.counts.1 || self.pending > 0 {
            let own = self.floor.poll_timeout();
            let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
            match (own, next) {
                (Some(own), next) if next.is_none_or(|next| own <= next) => {
                    self.now = self.now.max(own);
                    self.floor.timeout(self.now);
                }
                (_, Some(_)) => {
                    let Some(Reverse((at, _, happens))) = self.agenda.pop() else { break };
                    self.now = self.now.max(at);
                    self.happens(happens);
                }
                (_, None) => break,
            }
            self.drain();
        }
        self.sum_up()
    }

    fn later(&mut self, after: Duration, happens: Happens) {
        self.at(self.now + after, happens);
    }

    fn at(&mut self, at: Instant, happens: Happens) {
        self.events += 1;
        self.agenda.push(Reverse((at, self.events, happens)));
    }

    /// An interval of the day begins.
    fn begins(&mut self, interval: usize) {
        for group in &self.setup.groups {
            let wanted = group.count(interval);
            for (place, agent) in group.agents.iter().enumerate() {
                let is_there = place < wanted;
                self.floor.sign(agent, is_there, self.now);
                self.floor.reach(agent, is_there, self.now);
            }
        }
        if let Some(day) = self.setup.demand.day
            && interval + 1 < day.intervals
        {
            self.later(self.setup.interval(), Happens::Begins(interval + 1));
        }
        self.drain();
    }

    /// By inversion of the rate summed over time: what is drawn for one interval goes on in the next.
    fn next_comes(&mut self, load: usize) {
        let mut left = self.lines[load].arrivals.exponential();
        let mut at = self.now;
        let first = self.counts.0;
        loop {
            let (interval, ends) = self.setup.interval_at(at.saturating_duration_since(first));
            let Some(interval) = interval else { return };
            let rate = self.setup.rate(load, interval);
            let there = ends.map(|ends| (first + ends).saturating_duration_since(at).as_secs_f64());
            match there {
                Some(there) if left > rate * there => {
                    left -= rate * there;
                    at = first + ends.unwrap_or_default();
                }
                _ if rate <= 0.0 => return,
                Some(_) | None => {
                    self.at(at + Duration::from_secs_f64(left / rate), Happens::Comes(load));
                    return;
                }
            }
        }
    }

    fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Begins(interval) => self.begins(interval),
            Happens::Comes(load) => self.comes(load),
            Happens::HangsUp(id) => self.hangs_up(id),
            Happens::Answers(id) => self.answers(id),
            Happens::Talked(id) => self.talked(id),
            Happens::Finished(id) => {
                if let Some(contact) = self.contacts.remove(&id) {
                    self.floor.finish_wrap_up(self.setup.agent(contact.agent), ContactId(id), self.now);
                }
            }
            Happens::Returns(agent) => self.floor.away(self.setup.agent(agent), None, self.now),
        }
    }

    fn comes(&mut self, load: usize) {
        self.next_comes(load);
        let (now, id) = (self.now, self.next);
        self.next += 1;
        let demanded = &self.setup.demand.queues[load];
        let lines = &mut self.lines[load];
        let handling = Duration::from_secs_f64(lines.handling.time(&demanded.handling));
        let patience = demanded.patience.as_ref().map(|times| lines.patience.time(times));
        let counts = (self.counts.0..self.counts.1).contains(&now);
        let since = now.saturating_duration_since(self.counts.0);
        let interval = self.setup.interval_at(since).0.unwrap_or(0);
        let arrival = Arrival {
            contact: ContactId(id),
            queue: demanded.queue.clone(),
            channel: Channel::Voice,
            priority: None,
            entered: now,
            wait_max: None,
            calls_back: false,
            sender: None,
        };
        if let Err(refusal) = self.floor.enter(&arrival, now) {
            if counts {
                let figures = &mut self.counted[load][interval].figures;
                match refusal {
                    acd::Refusal::Full => figures.full += 1,
                    acd::Refusal::NoAgents
                    | acd::Refusal::NoQueue
                    | acd::Refusal::Channel
                    | acd::Refusal::Twice => figures.no_agents += 1,
                }
            }
            return;
        }
        let ahead = self.floor.ahead(ContactId(id)).unwrap_or(0);
        let expected = self.floor.expected_wait(ContactId(id));
        let contact = Contact {
            load,
            interval,
            entered: now,
            counts,
            handling,
            answered: false,
            agent: 0,
            answers_at: None,
            ahead,
            expected,
        };
        self.contacts.insert(id, contact);
        if counts {
            self.pending += 1;
            self.counted[load][interval].figures.offered += 1;
        }
        if let Some(patience) = patience {
            self.later(Duration::from_secs_f64(patience), Happens::HangsUp(id));
        }
    }

    fn hangs_up(&mut self, id: u64) {
        if self.contacts.get(&id).is_some_and(|contact| !contact.answered) {
            self.floor.leave(ContactId(id), true, self.now);
            let early = |waited| u64::from(waited < EARLY);
            self.gone(id, |figures, waited| {
                figures.abandoned += 1;
                figures.abandoned_early += early(waited);
            });
        }
    }

    /// A contact waits no more, and nobody has answered it.
    fn gone(&mut self, id: u64, count: impl FnOnce(&mut Figures, Duration)) {
        let Some(contact) = self.contacts.remove(&id) else { return };
        let waited = self.now.saturating_duration_since(contact.entered);
        if contact.counts {
            self.pending -= 1;
            count(&mut self.counted[contact.load][contact.interval].figures, waited);
            self.tell(&contact, waited, false);
        }
    }

    fn tell(&mut self, contact: &Contact, wait: Duration, answered: bool) {
        let Contact { load, interval, entered, ahead, expected, .. } = *contact;
        let at = entered.saturating_duration_since(self.counts.0);
        (self.watch)(&Waited { load, interval, at, ahead, expected, wait, answered });
    }

    fn answers(&mut self, id: u64) {
        let now = self.now;
        // Of an offer that was withdrawn meanwhile nothing comes.
        if self.contacts.get(&id).is_none_or(|contact| contact.answers_at != Some(now)) {
            return;
        }
        let Some(mut contact) = self.contacts.remove(&id) else { return };
        if !self.floor.accept(self.setup.agent(contact.agent), ContactId(id), now) {
            self.contacts.insert(id, contact);
            return;
        }
        contact.answered = true;
        let waited = now.saturating_duration_since(contact.entered);
        if contact.counts {
            self.pending -= 1;
            let counted = &mut self.counted[contact.load][contact.interval];
            counted.figures.answered += 1;
            let aim = self.setup.aim_seconds(contact.load);
            counted.figures.answered_in_time += u64::from(waited.as_secs_f64() <= aim);
            counted.figures.wait_ms += u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            counted.waits.add(waited.as_secs_f64());
            self.tell(&contact, waited, true);
        }
        let talk = contact.handling.saturating_sub(self.setup.wrap_up(contact.load));
        self.contacts.insert(id, contact);
        self.later(talk, Happens::Talked(id));
    }

    /// The work after a contact is a part of its handling: where that is shorter than the queue's, it is finished before.
    fn talked(&mut self, id: u64) {
        let Some(contact) = self.contacts.get(&id) else { return };
        let (agent, handling, wrap_up) = (contact.agent, contact.handling, self.setup.wrap_up(contact.load));
        self.floor.release(self.setup.agent(agent), ContactId(id), self.now);
        if handling < wrap_up {
            self.later(handling, Happens::Finished(id));
        } else {
            self.contacts.remove(&id);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.floor.poll() {
            match output {
                Output::Offer { contact, agent, until, .. } => self.offered(contact.0, &agent, until),
                Output::Left { contact, outcome, .. } => self.gone(contact.0, |figures, _| match outcome {
                    Outcome::TimedOut => figures.timed_out += 1,
                    Outcome::NoAgents | Outcome::QueueGone => figures.diverted += 1,
                }),
                Output::Withdrawn { agent, reason: Withdrawal::Unanswered, .. } => {
                    if let Some(agent) = self.setup.place(&agent) {
                        let after = Duration::from_secs_f64(self.setup.demand.return_seconds);
                        self.later(after, Happens::Returns(agent));
                    }
                }
                Output::Withdrawn { reason: Withdrawal::ContactLeft | Withdrawal::AgentGone, .. } => {}
                Output::State { agent, state } => self.stands(&agent, &state),
                Output::WrapUp { .. } | Output::WrapUpOver { .. } => {}
            }
        }
    }

    fn offered(&mut self, id: u64, agent: &AgentId, until: Instant) {
        let Some(place) = self.setup.place(agent) else { return };
        let demand = &self.setup.demand;
        let is_missed = demand.missed_percent > 0.0 && self.misses.uniform() * 100.0 <= demand.missed_percent;
        let at = self.now + Duration::from_secs_f64(demand.answer_seconds);
        let answers_at = (!is_missed && at < until).then_some(at);
        if let Some(contact) = self.contacts.get_mut(&id) {
            (contact.agent, contact.answers_at) = (place, answers_at);
        }
        if let Some(at) = answers_at {
            self.at(at, Happens::Answers(id));
        }
    }

    fn stands(&mut self, agent: &AgentId, state: &State) {
        let Some(place) = self.setup.place(agent) else { return };
        self.note(place);
        let clock = &mut self.clocks[place];
        clock.busy = matches!(state, State::Busy | State::WrapUp(_));
        clock.there = clock.busy || matches!(state, State::Available);
    }

    /// Counts the time that an agent has stood as he does.
    fn note(&mut self, place: usize) {
        let clock = &mut self.clocks[place];
        let from = clock.since.max(self.counts.0);
        let until = self.now.min(self.counts.1);
        let passed = until.saturating_duration_since(from).as_secs_f64();
        if clock.busy {
            clock.worked.busy += passed;
        }
        if clock.there {
            clock.worked.there += passed;
        }
        clock.since = self.now;
    }

    fn sum_up(mut self) -> Replication {
        for place in 0..self.clocks.len() {
            self.note(place);
        }
        let sum = |places: &mut dyn Iterator<Item = usize>| {
            let mut sum = Worked::default();
            places.for_each(|place| sum.add(self.clocks[place].worked));
            sum
        };
        let groups = self.setup.groups.iter();
        let groups =
            groups.map(|group| sum(&mut group.agents.iter().filter_map(|agent| self.setup.place(agent))));
        let groups = groups.collect();
        let serving = (0..self.setup.demand.queues.len()).map(|load| sum(&mut self.setup.serving(load)));
        let serving = serving.collect();
        Replication { counted: self.counted, serving, groups }
    }
}
