//! Random days on small floors, audited after every input.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    AgentId, Key, QueueId,
    centre::{Agent, Channel, Queue, RequiredSkill, Selection},
};
use proptest::prelude::*;

use crate::{Arrival, ContactId, Floor, Output};

#[derive(Debug, Clone)]
enum Step {
    Enter { queue: u8, chat: bool, priority: Option<u8>, earlier: u8, wait: Option<u8> },
    Leave { contact: u8, abandoned: bool },
    Accept(u8),
    Decline(u8),
    Sign(u8, bool),
    Reach(u8, bool),
    Away(u8, bool),
    Take(u8, bool),
    Release(u8, u8),
    Extend(u8, u8, u8),
    Finish(u8, u8),
    Pass(u8),
    Configure(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let small = 0_u8..6;
    let step = prop_oneof![
        6 => (0_u8..4, prop::bool::weighted(0.2), prop::option::of(0_u8..10), 0_u8..40, prop::option::of(1_u8..90))
            .prop_map(|(queue, chat, priority, earlier, wait)| Step::Enter { queue, chat, priority, earlier, wait }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(contact, abandoned)| Step::Leave { contact, abandoned }),
        5 => any::<u8>().prop_map(Step::Accept),
        2 => any::<u8>().prop_map(Step::Decline),
        4 => (small.clone(), prop::bool::weighted(0.8)).prop_map(|(agent, comes)| Step::Sign(agent, comes)),
        3 => (small.clone(), prop::bool::weighted(0.8)).prop_map(|(agent, yes)| Step::Reach(agent, yes)),
        3 => (small.clone(), prop::bool::weighted(0.3)).prop_map(|(agent, away)| Step::Away(agent, away)),
        1 => (small.clone(), any::<bool>()).prop_map(|(a, by)| Step::Take(a, by)),
        4 => (small.clone(), any::<u8>()).prop_map(|(a, c)| Step::Release(a, c)),
        1 => (small.clone(), any::<u8>(), any::<u8>()).prop_map(|(a, c, s)| Step::Extend(a, c, s)),
        2 => (small, any::<u8>()).prop_map(|(a, c)| Step::Finish(a, c)),
        6 => (1_u8..60).prop_map(Step::Pass),
        1 => any::<u8>().prop_map(Step::Configure),
    ];
    prop::collection::vec(step, 1..120)
}

fn queue_id(at: u8) -> QueueId {
    QueueId(Key::new("acme", &format!("q{at}")))
}

fn agent_id(at: u8) -> AgentId {
    AgentId(Key::new("acme", &format!("a{at}")))
}

pub(super) fn queue(skills: Vec<RequiredSkill>, selection: Selection) -> Queue {
    Queue {
        channels: vec![Channel::Voice],
        skills,
        selection,
        priority: 5,
        ageing_seconds: None,
        service_percent: 80,
        service_seconds: 20,
        contacts_max: 500,
        wait_seconds_max: 600,
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

pub(super) fn agent(skills: &[(&str, u8)]) -> Agent {
    Agent {
        display_name: "Ada".into(),
        skills: skills.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect(),
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

type Setup = (BTreeMap<QueueId, Arc<Queue>>, BTreeMap<AgentId, Arc<Agent>>);

/// A floor of four queues and six agents, or less of it.
fn setup(shape: u8) -> Setup {
    let skill = |name: &str, minimum, relax| RequiredSkill { name: name.into(), minimum, relax };
    let selections = [
        Selection::LongestIdle,
        Selection::MostSkilled,
        Selection::LeastSkilled,
        Selection::RoundRobin,
        Selection::LeastOccupied,
    ];
    let mut queues = BTreeMap::new();
    for at in 0..4_u8 {
        if shape & 1 << at != 0 && shape.is_multiple_of(3) {
            continue;
        }
        let skills = match at {
            0 => Vec::new(),
            1 => vec![skill("a", 5, vec![(20, 3), (40, 0)])],
            2 => vec![skill("a", 2, Vec::new()), skill("b", 7, vec![(10, 5), (30, 9), (50, 1)])],
            _ => vec![skill("b", 3, Vec::new())],
        };
        let mut queue = queue(skills, selections[usize::from(shape.wrapping_add(at) % 5)]);
        queue.ageing_seconds = (at % 2 == 0).then_some(15);
        queue.wrap_up_seconds = if at == 1 { 12 } else { 0 };
        queue.contacts_max = 6;
        queue.wait_seconds_max = 120;
        if at == 3 || shape & 32 != 0 {
            queue.channels.push(Channel::Chat);
        }
        queues.insert(queue_id(at), Arc::new(queue));
    }
    let mut agents = BTreeMap::new();
    for at in 0..6_u8 {
        if shape & 64 != 0 && at == shape % 6 {
            continue;
        }
        let mut agent = agent(&[("a", at + 1), ("b", 9 - at)]);
        agent.capacity = BTreeMap::from([(Channel::Voice, 1 + at % 2), (Channel::Chat, at % 3)]);
        if at == 4 {
            agent.queues = BTreeMap::from([(queue_id(0), 2), (queue_id(3), 1), (queue_id(1), 1)]);
        }
        agents.insert(agent_id(at), Arc::new(agent));
    }
    (queues, agents)
}

struct Day {
    floor: Floor,
    now: Instant,
    next: u64,
    /// Offers as outputs tell of them.
    offers: BTreeMap<u64, AgentId>,
}

impl Day {
    fn drain(&mut self) {
        while let Some(output) = self.floor.poll() {
            match output {
                Output::Offer { contact, agent, until, .. } => {
                    assert!(until > self.now);
                    assert!(self.offers.insert(contact.0, agent).is_none(), "offered twice at once");
                }
                Output::Withdrawn { contact, agent, .. } => {
                    assert_eq!(self.offers.remove(&contact.0), Some(agent), "withdrawn what was not offered");
                }
                Output::Left { contact, .. } => assert!(!self.offers.contains_key(&contact.0)),
                Output::WrapUp { .. } | Output::WrapUpOver { .. } | Output::State { .. } => {}
            }
        }
        self.floor.audit();
    }

    fn offer(&self, at: u8) -> Option<(u64, AgentId)> {
        let at = usize::from(at) % self.offers.len().max(1);
        self.offers.iter().nth(at).map(|(contact, agent)| (*contact, agent.clone()))
    }

    fn pass(&mut self, seconds: u8) {
        let until = self.now + Duration::from_secs(seconds.into());
        while let Some(due) = self.floor.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.floor.timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn act(&mut self, step: &Step) {
        let now = self.now;
        let contact = |at: u8, next: u64| ContactId(u64::from(at) % next.max(1));
        match *step {
            Step::Enter { queue, chat, priority, earlier, wait } => {
                let arrival = Arrival {
                    contact: ContactId(self.next),
                    queue: queue_id(queue),
                    channel: if chat { Channel::Chat } else { Channel::Voice },
                    priority,
                    entered: now.checked_sub(Duration::from_secs(earlier.into())).unwrap_or(now),
                    wait_max: wait.map(|seconds| Duration::from_secs(seconds.into())),
                    calls_back: false,
                    sender: (queue == 2).then(|| agent_id(1)),
                };
                self.next += 1;
                let _refused = self.floor.enter(&arrival, now);
            }
            Step::Leave { contact: at, abandoned } => {
                self.floor.leave(contact(at, self.next), abandoned, now);
            }
            Step::Accept(at) => {
                if let Some((contact, agent)) = self.offer(at) {
                    assert!(self.floor.accept(&agent, ContactId(contact), now));
                    assert!(!self.floor.accept(&agent, ContactId(contact), now), "accepted twice");
                    self.offers.remove(&contact);
                }
            }
            Step::Decline(at) => {
                if let Some((contact, agent)) = self.offer(at) {
                    self.offers.remove(&contact);
                    assert!(self.floor.decline(&agent, ContactId(contact), now));
                }
            }
            Step::Sign(agent, comes) => self.floor.sign(&agent_id(agent), comes, now),
            Step::Reach(agent, yes) => self.floor.reach(&agent_id(agent), yes, now),
            Step::Away(agent, away) => self.floor.away(&agent_id(agent), away.then(|| "Lunch".into()), now),
            Step::Take(agent, by_agent) => {
                self.next += 1;
                let taken = (ContactId(self.next - 1), Channel::Voice);
                let _refused = self.floor.take(&agent_id(agent), taken, by_agent, now);
            }
            Step::Release(agent, at) => self.floor.release(&agent_id(agent), contact(at, self.next), now),
            Step::Extend(agent, at, seconds) => {
                let until = now + Duration::from_secs(seconds.into());
                self.floor.extend_wrap_up(&agent_id(agent), contact(at, self.next), until, now);
            }
            Step::Finish(agent, at) => {
                self.floor.finish_wrap_up(&agent_id(agent), contact(at, self.next), now);
            }
            Step::Pass(seconds) => self.pass(seconds),
            Step::Configure(shape) => {
                let (queues, agents) = setup(shape);
                self.floor.configure(queues.iter(), agents.iter(), now);
            }
        }
        self.drain();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
    #[test]
    fn nobody_waits_whom_somebody_free_could_help(shape in any::<u8>(), steps in steps()) {
        let now = Instant::now() + Duration::from_secs(1_000);
        let mut day = Day { floor: Floor::new(now), now, next: 0, offers: BTreeMap::new() };
        let (queues, agents) = setup(shape);
        day.floor.configure(queues.iter(), agents.iter(), now);
        for step in &steps {
            day.act(step);
        }
        // In the end every wait ends by itself.
        for agent in 0..6 {
            day.floor.sign(&agent_id(agent), false, day.now);
            day.drain();
        }
        for _ in 0..20 {
            day.pass(200);
        }
        prop_assert!(day.offers.is_empty());
        prop_assert_eq!(day.floor.contacts.len(), 0);
    }
}
