//! What a decision of the floor costs, as processor time of one thread.
//!
//! `acd.decision_*` is the time of one input that brings a contact and an agent together: an agent who is done and is
//! offered the first of those who wait, or a contact that finds the first of those who are free. 200 skills, five queues an
//! agent, relaxation, ageing. Beside it, on the same input: a plain list of contacts searched for each agent, as simple
//! queue programs do it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes the time"
)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use acd::{Arrival, ContactId, Floor, Output};
use model::{
    AgentId, Key, QueueId,
    centre::{Agent, Channel, Queue, RequiredSkill, Selection},
};

const SKILLS: usize = 200;
const QUEUES: usize = 200;
const SELECTIONS: [Selection; 5] = [
    Selection::LongestIdle,
    Selection::MostSkilled,
    Selection::LeastSkilled,
    Selection::RoundRobin,
    Selection::LeastOccupied,
];

struct Lots(u64);

impl Lots {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut lot = self.0;
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((lot ^ (lot >> 31)) % bound as u64) as usize
    }
}

fn queue_id(at: usize) -> QueueId {
    QueueId(Key::new("acme", &format!("q{at:03}")))
}

fn agent_id(at: usize) -> AgentId {
    AgentId(Key::new("acme", &format!("a{at:04}")))
}

fn queue(at: usize) -> Queue {
    let skill =
        RequiredSkill { name: format!("s{at:03}"), minimum: 6, relax: vec![(30, 4), (60, 2), (120, 1)] };
    Queue {
        channels: vec![Channel::Voice],
        skills: vec![skill],
        selection: SELECTIONS[at % SELECTIONS.len()],
        priority: 5,
        ageing_seconds: Some(20),
        service_percent: 80,
        service_seconds: 20,
        contacts_max: 10_000,
        wait_seconds_max: 3_600,
        music: Vec::new(),
        announcements: Vec::new(),
        language: String::new(),
        ring_seconds: 15,
        wrap_up_seconds: 0,
        callback_first: Default::default(),
        callback_prompt: Vec::new(),
        dispositions: Vec::new(),
        disposition_required: false,
    }
}

fn agent(lots: &mut Lots) -> Agent {
    let mut skills = BTreeMap::new();
    while skills.len() < 5 {
        skills.insert(format!("s{:03}", lots.below(SKILLS)), 1 + lots.below(10) as u8);
    }
    Agent {
        display_name: "Ada".into(),
        skills,
        languages: Vec::new(),
        stations: Vec::new(),
        capacity: BTreeMap::from([(Channel::Voice, 1)]),
        sign_in: None,
        session_seconds: 43_200,
        outbound_number: None,
        lossy: false,
        music: Vec::new(),
        queues: BTreeMap::new(),
        supervises: Default::default(),
    }
}

struct World {
    floor: Floor,
    now: Instant,
    lots: Lots,
    next: u64,
    handled: Vec<(AgentId, ContactId)>,
    waiting: usize,
}

impl World {
    fn new(agents: usize) -> Self {
        let now = Instant::now();
        let mut lots = Lots(1);
        let queues: BTreeMap<_, _> = (0..QUEUES).map(|at| (queue_id(at), Arc::new(queue(at)))).collect();
        let team: BTreeMap<_, _> = (0..agents).map(|at| (agent_id(at), Arc::new(agent(&mut lots)))).collect();
        let mut floor = Floor::new(now);
        floor.configure(queues.iter(), team.iter(), now);
        for name in team.keys() {
            floor.sign(name, true, now);
            floor.reach(name, true, now);
        }
        while floor.poll().is_some() {}
        Self { floor, now, lots, next: 0, handled: Vec::new(), waiting: 0 }
    }

    fn enter(&mut self) {
        let arrival = Arrival {
            contact: ContactId(self.next),
            queue: queue_id(self.lots.below(QUEUES)),
            channel: Channel::Voice,
            priority: Some(self.lots.below(10) as u8),
            entered: self.now,
            wait_max: None,
            calls_back: false,
            sender: None,
        };
        self.next += 1;
        self.waiting += usize::from(self.floor.enter(&arrival, self.now).is_ok());
    }

    fn answer(&mut self) {
        while let Some(output) = self.floor.poll() {
            if let Output::Offer { contact, agent, .. } = output {
                assert!(self.floor.accept(&agent, contact, self.now));
                self.handled.push((agent, contact));
                self.waiting -= 1;
            }
        }
    }

    /// Whoever can talks, and so many wait besides.
    fn fill(&mut self, waiting: usize) {
        for _ in 0..8 {
            while self.waiting < waiting {
                self.enter();
                self.answer();
            }
            self.pass(Duration::from_secs(130));
        }
        while self.waiting < waiting {
            self.enter();
            self.answer();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.floor.timeout(self.now);
        self.answer();
    }
}

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4_096.0
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// So many decisions of each kind at so many waiting and agents.
fn decisions(waiting: usize, agents: usize, turns: usize) {
    let mut world = World::new(agents);
    let before = resident();
    world.fill(waiting);
    let memory = (resident() - before) / world.waiting.max(1) as f64;
    let waits = world.waiting;
    let mut times = Vec::with_capacity(turns);
    let began = Instant::now();
    for turn in 0..turns {
        if turn % 8 == 0 {
            world.pass(Duration::from_millis(100));
        }
        if world.handled.is_empty() || world.waiting < waiting {
            let start = Instant::now();
            world.enter();
            times.push(start.elapsed());
        } else {
            let at = world.lots.below(world.handled.len());
            let (agent, contact) = world.handled.swap_remove(at);
            let start = Instant::now();
            world.floor.release(&agent, contact, world.now);
            times.push(start.elapsed());
        }
        world.answer();
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    let name = format!("{waiting}x{agents}");
    println!("acd.decisions_per_second_{name} {rate:.0} 1/s - - -");
    let p50 = percentile(&mut times, 0.5).as_secs_f64() * 1e3;
    let p99 = percentile(&mut times, 0.99).as_secs_f64() * 1e3;
    println!("acd.decision_p50_ms_{name} {p50:.4} ms - - -");
    println!("acd.decision_p99_ms_{name} {p99:.4} ms - - -");
    println!("acd.waiting_contact_memory_{name} {memory:.0} bytes ({waits} wait) - - -");
}

fn main() {
    for (waiting, agents) in [(100, 50), (1_000, 500), (5_000, 5_000)] {
        decisions(waiting, agents, 100_000);
    }
}
