//! What a user sees, one rule a test.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    AgentId, Key, QueueId,
    centre::{Agent, Channel, Queue, RequiredSkill, Selection},
};

use super::chaos::{agent, queue};
use crate::{
    Arrival, Away, ContactId, Floor, Live, Outcome, Output, Refusal, State, Unavailable, Withdrawal,
};

struct World {
    floor: Floor,
    began: Instant,
    now: Instant,
    queues: BTreeMap<QueueId, Arc<Queue>>,
    agents: BTreeMap<AgentId, Arc<Agent>>,
    said: Vec<Output>,
}

fn queue_id(name: &str) -> QueueId {
    QueueId(Key::new("acme", name))
}

fn agent_id(name: &str) -> AgentId {
    AgentId(Key::new("acme", name))
}

impl World {
    /// Everybody is signed in, one second after the other.
    #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
    fn new(queues: &[(&str, Queue)], agents: &[(&str, Agent)]) -> Self {
        let now = Instant::now();
        let mut world = Self {
            floor: Floor::new(now),
            began: now,
            now,
            queues: queues.iter().map(|(name, queue)| (queue_id(name), Arc::new(queue.clone()))).collect(),
            agents: agents.iter().map(|(name, agent)| (agent_id(name), Arc::new(agent.clone()))).collect(),
            said: Vec::new(),
        };
        world.configure();
        for (name, _) in agents {
            world.sign_in(name);
            world.pass(1);
        }
        world.said.clear();
        world
    }

    fn configure(&mut self) {
        self.floor.configure(self.queues.iter(), self.agents.iter(), self.now);
        self.drain();
    }

    fn sign_in(&mut self, name: &str) {
        self.floor.sign(&agent_id(name), true, self.now);
        self.floor.reach(&agent_id(name), true, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        self.said.extend(std::iter::from_fn(|| self.floor.poll()));
        self.floor.audit();
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.floor.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.floor.timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn enter_with(
        &mut self,
        contact: u64,
        queue: &str,
        change: impl FnOnce(&mut Arrival),
    ) -> Result<(), Refusal> {
        let mut arrival = Arrival {
            contact: ContactId(contact),
            queue: queue_id(queue),
            channel: Channel::Voice,
            priority: None,
            entered: self.now,
            wait_max: None,
            calls_back: false,
            sender: None,
        };
        change(&mut arrival);
        let entered = self.floor.enter(&arrival, self.now);
        self.drain();
        entered
    }

    fn enter(&mut self, contact: u64, queue: &str) {
        self.enter_with(contact, queue, |_| ()).unwrap();
    }

    fn accept(&mut self, agent: &str, contact: u64) {
        assert!(self.floor.accept(&agent_id(agent), ContactId(contact), self.now), "no such offer");
        self.drain();
    }

    fn release(&mut self, agent: &str, contact: u64) {
        self.floor.release(&agent_id(agent), ContactId(contact), self.now);
        self.drain();
    }

    /// Offers since the last time, as `contact>agent`.
    fn offers(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        let offers = said.iter().filter_map(|output| match output {
            Output::Offer { contact, agent, .. } => Some(format!("{}>{}", contact.0, agent.0.name())),
            Output::Withdrawn { .. }
            | Output::Left { .. }
            | Output::WrapUp { .. }
            | Output::WrapUpOver { .. }
            | Output::State { .. } => None,
        });
        offers.collect()
    }

    fn sales(&self) -> Live {
        let live = self.floor.live(self.now);
        live.into_iter().find(|(queue, _)| queue.0.name() == "sales").unwrap().1
    }

    fn state(&self, agent: &str) -> State {
        self.floor.state(&agent_id(agent)).unwrap()
    }
}

fn skill(name: &str, minimum: u8, relax: Vec<(u32, u8)>) -> RequiredSkill {
    RequiredSkill { name: name.into(), minimum, relax }
}

#[test]
fn each_selection_chooses_its_own() {
    let needs = || vec![skill("sales", 2, Vec::new())];
    let team =
        [("ada", agent(&[("sales", 5)])), ("bob", agent(&[("sales", 9)])), ("cid", agent(&[("sales", 2)]))];
    for (selection, expected) in [
        (Selection::LongestIdle, "1>ada"),
        (Selection::MostSkilled, "1>bob"),
        (Selection::LeastSkilled, "1>cid"),
        (Selection::RoundRobin, "1>ada"),
    ] {
        let mut world = World::new(&[("sales", queue(needs(), selection))], &team);
        world.enter(1, "sales");
        assert_eq!(world.offers(), [expected], "{selection:?}");
    }
}

#[test]
fn round_robin_goes_on_where_it_was_whoever_was_idle_longest() {
    let team = ["ada", "bob", "cid"].map(|name| (name, agent(&[])));
    let mut world = World::new(&[("sales", queue(Vec::new(), Selection::RoundRobin))], &team);
    let mut turns = Vec::new();
    for contact in 0..6 {
        world.enter(contact, "sales");
        let offer = world.offers().remove(0);
        let (_, agent) = offer.split_once('>').unwrap();
        world.accept(agent, contact);
        world.pass(5);
        world.release(agent, contact);
        turns.push(agent.to_owned());
    }
    assert_eq!(turns, ["ada", "bob", "cid", "ada", "bob", "cid"]);
}

#[test]
fn the_least_occupied_is_who_talked_least_not_who_is_idle_longest() {
    let team = ["ada", "bob"].map(|name| (name, agent(&[])));
    let mut world = World::new(&[("sales", queue(Vec::new(), Selection::LeastOccupied))], &team);
    world.enter(1, "sales");
    world.accept("ada", 1);
    world.pass(600);
    world.release("ada", 1);
    world.pass(1);
    world.enter(2, "sales");
    world.accept("bob", 2);
    world.pass(10);
    world.release("bob", 2);
    world.said.clear();
    world.enter(3, "sales");
    assert_eq!(world.offers(), ["3>bob"]);
}

#[test]
fn less_skill_is_enough_after_a_while() {
    let needs = vec![skill("sales", 8, vec![(30, 5), (60, 2)])];
    let mut world = World::new(
        &[("sales", queue(needs, Selection::MostSkilled))],
        &[("ada", agent(&[("sales", 2)])), ("bob", agent(&[("sales", 5)])), ("eve", agent(&[]))],
    );
    world.enter(1, "sales");
    world.enter(2, "sales");
    world.pass(29);
    assert_eq!(world.offers(), Vec::<String>::new());
    world.pass(1);
    assert_eq!(world.offers(), ["1>bob"]);
    world.accept("bob", 1);
    world.pass(30);
    assert_eq!(world.offers(), ["2>ada"]);
}

#[test]
fn who_waits_longer_grows_more_important() {
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.ageing_seconds = Some(10);
    let mut world = World::new(&[("sales", sales)], &[("ada", agent(&[]))]);
    world.enter(0, "sales");
    world.accept("ada", 0);
    world.enter_with(1, "sales", |arrival| arrival.priority = Some(3)).unwrap();
    world.pass(25);
    world.enter_with(2, "sales", |arrival| arrival.priority = Some(5)).unwrap();
    world.enter_with(3, "sales", |arrival| arrival.priority = Some(6)).unwrap();
    assert_eq!([1, 2, 3].map(|contact| world.floor.ahead(ContactId(contact)).unwrap()), [1, 2, 0]);
    world.said.clear();
    world.release("ada", 0);
    assert_eq!(world.offers(), ["3>ada"]);
}

#[test]
fn an_agent_serves_queues_by_rank() {
    let mut ada = agent(&[]);
    ada.queues = BTreeMap::from([(queue_id("sales"), 1), (queue_id("support"), 2)]);
    let plain = || queue(Vec::new(), Selection::LongestIdle);
    let team = [("ada", ada), ("bob", agent(&[]))];
    let mut world = World::new(&[("sales", plain()), ("support", plain()), ("other", plain())], &team);
    world.floor.away(&agent_id("bob"), Some("Lunch".into()), world.now);
    world.enter(0, "sales");
    world.accept("ada", 0);
    world.enter(1, "other");
    world.enter(2, "support");
    world.pass(1);
    world.enter(3, "sales");
    world.said.clear();
    world.release("ada", 0);
    assert_eq!(world.offers(), ["3>ada"], "sales come first");
    world.accept("ada", 3);
    world.release("ada", 3);
    assert_eq!(world.offers(), ["2>ada"]);
    world.accept("ada", 2);
    world.release("ada", 2);
    assert_eq!(world.offers(), Vec::<String>::new(), "what ada does not serve waits");
}

#[test]
fn an_offer_that_rings_out_goes_to_the_next_and_the_agent_is_away() {
    let team = ["ada", "bob"].map(|name| (name, agent(&[])));
    let mut world = World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &team);
    world.enter(1, "sales");
    world.pass(15);
    let withdrawn =
        Output::Withdrawn { contact: ContactId(1), agent: agent_id("ada"), reason: Withdrawal::Unanswered };
    assert!(world.said.contains(&withdrawn));
    assert_eq!(world.offers(), ["1>ada", "1>bob"]);
    assert_eq!(world.state("ada"), State::Away(Away::Unanswered));
    world.accept("bob", 1);
    world.floor.away(&agent_id("ada"), None, world.now);
    world.drain();
    assert_eq!(world.state("ada"), State::Available);
}

#[test]
fn who_declines_is_asked_again_only_after_a_while() {
    let mut world =
        World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &[("ada", agent(&[]))]);
    world.enter(1, "sales");
    assert!(world.floor.decline(&agent_id("ada"), ContactId(1), world.now));
    world.drain();
    assert_eq!(world.state("ada"), State::Available);
    world.enter(2, "sales");
    assert_eq!(world.offers(), ["1>ada", "2>ada"], "another contact is offered at once");
    world.accept("ada", 2);
    world.release("ada", 2);
    assert_eq!(world.offers(), Vec::<String>::new());
    world.pass(30);
    assert_eq!(world.offers(), ["1>ada"]);
}

#[test]
fn who_declined_is_asked_again_though_it_was_with_another_when_the_while_was_over() {
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.ring_seconds = 40;
    let team = [("ada", agent(&[])), ("bob", agent(&[])), ("cid", agent(&[]))];
    let mut world = World::new(&[("sales", sales)], &team);
    world.enter(1, "sales");
    assert_eq!(world.offers(), ["1>ada"]);
    assert!(world.floor.decline(&agent_id("ada"), ContactId(1), world.now));
    world.drain();
    assert_eq!(world.offers(), ["1>bob"]);
    world.pass(40);
    assert_eq!(world.offers(), ["1>ada"], "ada has been idle as long as cid, and comes before");
}

#[test]
fn waits_end_by_their_bounds() {
    let mut sales = queue(vec![skill("sales", 1, Vec::new())], Selection::LongestIdle);
    (sales.contacts_max, sales.wait_seconds_max) = (2, 60);
    let mut world = World::new(&[("sales", sales)], &[("ada", agent(&[("sales", 1)])), ("bob", agent(&[]))]);
    world.floor.away(&agent_id("ada"), Some("Lunch".into()), world.now);
    world.enter(1, "sales");
    world.enter_with(2, "sales", |arrival| arrival.wait_max = Some(Duration::from_secs(20))).unwrap();
    assert_eq!(world.enter_with(3, "sales", |_| ()), Err(Refusal::Full));
    assert_eq!(world.enter_with(1, "sales", |_| ()), Err(Refusal::Twice));
    assert_eq!(world.enter_with(4, "nothing", |_| ()), Err(Refusal::NoQueue));
    assert_eq!(
        world.enter_with(4, "sales", |arrival| arrival.channel = Channel::Chat),
        Err(Refusal::Channel)
    );
    world.said.clear();
    world.pass(59);
    let left =
        |contact, outcome| Output::Left { contact: ContactId(contact), queue: queue_id("sales"), outcome };
    assert_eq!(world.said, [left(2, Outcome::TimedOut)]);
    world.pass(1);
    assert_eq!(world.said[1..], [left(1, Outcome::TimedOut)]);
    world.enter(5, "sales");
    world.floor.sign(&agent_id("ada"), false, world.now);
    world.drain();
    world.said.clear();
    assert_eq!(world.enter_with(6, "sales", |_| ()), Err(Refusal::NoAgents), "bob has not the skill");
    world.pass(9);
    assert_eq!(world.said, []);
    world.pass(1);
    assert_eq!(world.said, [left(5, Outcome::NoAgents)]);
    let live = world.sales();
    assert_eq!(
        (live.total.offered, live.total.timed_out, live.total.full, live.total.no_agents),
        (3, 2, 1, 1)
    );
}

#[test]
fn an_agent_who_comes_back_in_time_finds_the_contacts_still_there() {
    let mut world =
        World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &[("ada", agent(&[]))]);
    world.floor.away(&agent_id("ada"), Some("Lunch".into()), world.now);
    world.enter(1, "sales");
    world.floor.sign(&agent_id("ada"), false, world.now);
    world.drain();
    world.pass(9);
    world.sign_in("ada");
    assert_eq!(world.offers(), ["1>ada"]);
}

#[test]
fn the_work_after_a_contact_is_bounded_and_can_be_changed() {
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.wrap_up_seconds = 30;
    let mut world = World::new(&[("sales", sales)], &[("ada", agent(&[]))]);
    world.enter(1, "sales");
    world.accept("ada", 1);
    world.enter(2, "sales");
    world.pass(100);
    world.release("ada", 1);
    world.said.clear();
    let until = world.now + Duration::from_secs(60);
    assert!(world.floor.extend_wrap_up(&agent_id("ada"), ContactId(1), until, world.now));
    world.drain();
    assert_eq!(world.state("ada"), State::WrapUp(until));
    world.pass(45);
    assert_eq!(world.offers(), Vec::<String>::new());
    assert!(world.floor.finish_wrap_up(&agent_id("ada"), ContactId(1), world.now));
    world.drain();
    assert_eq!(world.offers(), ["2>ada"]);
    let live = world.sales();
    assert_eq!(live.total.mean_handling(), Some(Duration::from_secs(145)));
}

#[test]
fn a_call_to_an_agent_and_an_offer_never_meet() {
    let mut world =
        World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &[("ada", agent(&[]))]);
    let taken = (ContactId(9), Channel::Voice);
    world.floor.take(&agent_id("ada"), taken, false, world.now).unwrap();
    world.enter(1, "sales");
    assert_eq!(world.offers(), Vec::<String>::new());
    let other = (ContactId(8), Channel::Voice);
    assert_eq!(world.floor.take(&agent_id("ada"), other, false, world.now), Err(Unavailable::Busy));
    world.release("ada", 9);
    assert_eq!(world.offers(), ["1>ada"]);
    assert_eq!(
        world.floor.take(&agent_id("ada"), other, false, world.now),
        Err(Unavailable::Busy),
        "ada is rung"
    );
    assert_eq!(world.floor.take(&agent_id("eve"), other, false, world.now), Err(Unavailable::Unknown));
    world.floor.leave(ContactId(1), true, world.now);
    world.floor.away(&agent_id("ada"), Some("Lunch".into()), world.now);
    assert_eq!(world.floor.take(&agent_id("ada"), other, false, world.now), Err(Unavailable::Away));
    world.floor.take(&agent_id("ada"), other, true, world.now).unwrap();
    world.drain();
}

#[test]
fn who_answers_after_the_agent_was_deleted_is_busy_when_it_is_back() {
    let mut world =
        World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &[("ada", agent(&[]))]);
    let ada = agent_id("ada");
    let kept = world.agents.remove(&ada).unwrap();
    world.configure();
    world.floor.take(&ada, (ContactId(9), Channel::Voice), true, world.now).unwrap();
    world.drain();
    world.agents.insert(ada.clone(), kept);
    world.configure();
    world.sign_in("ada");
    assert_eq!(world.state("ada"), State::Busy);
    world.enter(1, "sales");
    world.said.clear();
    world.release("ada", 9);
    assert_eq!(world.offers(), ["1>ada"]);
    // Who was never heard of is forgotten once the talk is over.
    world.floor.take(&agent_id("eve"), (ContactId(7), Channel::Voice), true, world.now).unwrap();
    world.release("eve", 7);
    assert_eq!(world.floor.state(&agent_id("eve")), None);
}

#[test]
fn what_is_deleted_ends_what_it_held() {
    let team = ["ada", "bob"].map(|name| (name, agent(&[])));
    let plain = || queue(Vec::new(), Selection::LongestIdle);
    let mut world = World::new(&[("sales", plain()), ("support", plain())], &team);
    world.enter(1, "sales");
    world.accept("ada", 1);
    world.enter(2, "sales");
    world.enter(3, "sales");
    world.said.clear();
    world.agents.remove(&agent_id("ada"));
    world.queues.remove(&queue_id("sales"));
    world.configure();
    let left = |contact| Output::Left {
        contact: ContactId(contact),
        queue: queue_id("sales"),
        outcome: Outcome::QueueGone,
    };
    assert!(world.said.contains(&left(2)) && world.said.contains(&left(3)));
    assert_eq!(world.state("ada"), State::Busy, "what she talks about she ends");
    assert_eq!(world.state("bob"), State::Available);
    world.release("ada", 1);
    assert_eq!(world.floor.state(&agent_id("ada")), None);
}

#[test]
fn a_changed_queue_keeps_places_and_times() {
    let mut world = World::new(
        &[("sales", queue(vec![skill("sales", 9, Vec::new())], Selection::LongestIdle))],
        &[("ada", agent(&[("sales", 5)])), ("bob", agent(&[("sales", 9)]))],
    );
    world.enter(0, "sales");
    world.accept("bob", 0);
    world.enter(1, "sales");
    world.pass(50);
    world.enter(2, "sales");
    world.said.clear();
    let changed = queue(vec![skill("sales", 9, vec![(40, 5)])], Selection::LongestIdle);
    world.queues.insert(queue_id("sales"), Arc::new(changed));
    world.configure();
    assert_eq!(world.offers(), ["1>ada"]);
    assert_eq!(world.floor.ahead(ContactId(2)), Some(0));
}

#[test]
fn figures_say_what_happened() {
    let team = ["ada"].map(|name| (name, agent(&[])));
    let mut world = World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &team);
    world.enter(1, "sales");
    world.pass(2);
    world.accept("ada", 1);
    world.enter(2, "sales");
    world.enter(3, "sales");
    world.enter(4, "sales");
    world.pass(3);
    world.floor.leave(ContactId(2), true, world.now);
    world.pass(27);
    world.floor.leave(ContactId(3), true, world.now);
    world.release("ada", 1);
    world.accept("ada", 4);
    let live = world.sales();
    assert_eq!((live.waiting, live.signed_in, live.available, live.busy), (0, 1, 0, 1));
    let total = live.total;
    assert_eq!((total.offered, total.answered, total.answered_in_time), (4, 2, 1));
    assert_eq!((total.abandoned, total.abandoned_early), (2, 1));
    assert_eq!(total.service_level(), Some(1.0 / 3.0));
    assert_eq!(total.abandonment(), Some(1.0 / 3.0));
    assert_eq!(total.mean_wait(), Some(Duration::from_secs(16)));
    assert_eq!(live.recent, total);
    world.pass(31 * 60);
    let live = world.sales();
    assert_eq!((live.recent.offered, live.total.offered), (0, 4));
    assert!(world.now > world.began);
}

#[test]
fn an_offer_is_prolonged_while_something_is_done_before_the_agent_is_rung() {
    let team = ["ada", "bob"].map(|name| (name, agent(&[])));
    let mut world = World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &team);
    world.enter(1, "sales");
    let prolong = |world: &mut World, agent: &str, seconds: u64| {
        let until = world.now + Duration::from_secs(seconds);
        let told = world.floor.prolong(&agent_id(agent), ContactId(1), until, world.now);
        world.drain();
        told.map(|told| told.saturating_duration_since(world.now).as_secs())
    };
    assert_eq!(prolong(&mut world, "ada", 40), Some(40));
    assert_eq!(prolong(&mut world, "bob", 40), None, "it is not offered to bob");
    world.pass(39);
    assert_eq!(world.state("ada"), State::Offered);
    world.pass(1);
    assert_eq!(world.state("ada"), State::Away(Away::Unanswered));
    assert_eq!(world.offers(), ["1>ada", "1>bob"]);
    assert_eq!(prolong(&mut world, "bob", 86_400), Some(600), "not for ever");
    world.accept("bob", 1);
    assert_eq!(prolong(&mut world, "bob", 5), None);
}

#[test]
fn who_was_called_back_and_is_there_goes_first_and_waits_for_a_bounded_time() {
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.wait_seconds_max = 60;
    let mut world = World::new(&[("sales", sales)], &[("ada", agent(&[]))]);
    world.floor.away(&agent_id("ada"), Some("Lunch".into()), world.now);
    world.enter_with(1, "sales", |arrival| arrival.priority = Some(9)).unwrap();
    let day = Some(Duration::from_secs(86_400));
    let calls_back = |arrival: &mut Arrival| (arrival.calls_back, arrival.wait_max) = (true, day);
    world.enter_with(2, "sales", calls_back).unwrap();
    world.enter_with(3, "sales", calls_back).unwrap();
    assert_eq!(world.floor.ahead(ContactId(2)), Some(1));
    for contact in [2, 3] {
        world.floor.present(ContactId(contact), Duration::from_secs(10), world.now);
        world.drain();
    }
    assert_eq!(world.floor.ahead(ContactId(2)), Some(1), "of two of the highest who came first");
    world.pass(9);
    world.floor.away(&agent_id("ada"), None, world.now);
    world.drain();
    assert_eq!(world.offers(), ["1>ada"]);
    world.accept("ada", 1);
    world.pass(1);
    let left = |contact| Output::Left {
        contact: ContactId(contact),
        queue: queue_id("sales"),
        outcome: Outcome::TimedOut,
    };
    assert!(world.said.contains(&left(2)) && world.said.contains(&left(3)), "{:?}", world.said);
}

#[test]
fn the_work_after_a_contact_begins_and_ends_for_everybody_to_see() {
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.wrap_up_seconds = 10;
    let mut world = World::new(&[("sales", sales)], &[("ada", agent(&[]))]);
    for is_done in [true, false] {
        world.enter(1, "sales");
        world.accept("ada", 1);
        world.said.clear();
        world.release("ada", 1);
        let (contact, agent) = (ContactId(1), agent_id("ada"));
        let begins = Output::WrapUp { contact, agent: agent.clone(), queue: queue_id("sales") };
        assert_eq!(world.said[0], begins);
        world.said.clear();
        if is_done {
            assert!(world.floor.finish_wrap_up(&agent, contact, world.now));
        }
        world.drain();
        world.pass(10);
        let over = Output::WrapUpOver { contact, agent };
        assert_eq!(world.said.contains(&over), !is_done, "{:?}", world.said);
    }
}

#[test]
fn occupancy_is_work_beside_work_and_readiness() {
    let team = ["ada", "ben", "cleo", "dan"].map(|name| (name, agent(&[])));
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.wrap_up_seconds = 30;
    let mut world = World::new(&[("sales", sales)], &team);
    assert_eq!(world.sales().occupancy, Some(0.0), "all wait for contacts");
    world.enter(1, "sales");
    assert_eq!(world.sales().occupancy, Some(0.0), "who is rung counts in neither part");
    world.accept("ada", 1);
    assert_eq!(world.sales().occupancy, Some(0.25));
    world.floor.away(&agent_id("dan"), Some("Lunch".into()), world.now);
    world.drain();
    assert_eq!(world.sales().occupancy, Some(1.0 / 3.0), "nor who is away");
    world.pass(60);
    world.release("ada", 1);
    assert_eq!(world.sales().occupancy, Some(1.0 / 3.0), "the work after a contact is work");
    world.pass(30);
    let live = world.sales();
    assert_eq!((live.occupancy, live.total.mean_handling()), (Some(0.0), Some(Duration::from_secs(90))));
    // 90 s of work, less what has been forgotten of it: 1 - e^(-90/1800).
    let late = world.floor.occupancy(&agent_id("ada"), world.now).unwrap();
    assert!((late - 0.0488).abs() < 1e-4, "{late}");
    assert_eq!(world.floor.occupancy(&agent_id("ben"), world.now), Some(0.0));
}

#[test]
fn idle_since_is_the_end_of_the_work_after_a_contact_and_no_offer_changes_it() {
    let team = ["ada", "ben"].map(|name| (name, agent(&[])));
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.wrap_up_seconds = 30;
    let mut world = World::new(&[("sales", sales)], &team);
    world.enter(1, "sales");
    world.enter(2, "sales");
    assert_eq!(world.offers(), ["1>ada", "2>ben"], "who signed in first");
    world.accept("ada", 1);
    world.accept("ben", 2);
    world.pass(10);
    world.release("ada", 1);
    world.pass(5);
    world.release("ben", 2);
    world.floor.finish_wrap_up(&agent_id("ben"), ContactId(2), world.now);
    world.drain();
    world.pass(60);
    // ben's work ended first, though his contact went later; an offer that is declined changes nothing.
    world.enter(3, "sales");
    assert_eq!(world.offers(), ["3>ben"]);
    world.floor.decline(&agent_id("ben"), ContactId(3), world.now);
    world.drain();
    world.enter(4, "sales");
    assert_eq!(world.offers(), ["3>ada", "4>ben"]);
}

#[test]
fn who_is_offered_a_second_contact_is_idle_since_the_first_went() {
    let mut ada = agent(&[]);
    ada.capacity.insert(Channel::Voice, 2);
    let mut world = World::new(
        &[("sales", queue(Vec::new(), Selection::LongestIdle))],
        &[("ada", ada), ("ben", agent(&[]))],
    );
    world.floor.away(&agent_id("ben"), Some("Lunch".into()), world.now);
    world.enter(1, "sales");
    world.accept("ada", 1);
    world.pass(10);
    world.enter(2, "sales");
    world.pass(5);
    world.release("ada", 1);
    assert!(world.floor.decline(&agent_id("ada"), ContactId(2), world.now));
    world.floor.leave(ContactId(2), false, world.now);
    world.floor.away(&agent_id("ben"), None, world.now);
    world.drain();
    world.said.clear();
    world.enter(3, "sales");
    assert_eq!(world.offers(), ["3>ben"], "who has talked to nobody yet");
}

#[test]
fn a_wait_is_expected_by_the_work_of_those_who_are_there() {
    let team = ["ada", "ben"].map(|name| (name, agent(&[])));
    let mut world = World::new(&[("sales", queue(Vec::new(), Selection::LongestIdle))], &team);
    assert_eq!(world.sales().expected_wait, Some(Duration::ZERO), "somebody is free");
    for contact in 1..=5 {
        world.enter(contact, "sales");
    }
    world.pass(2);
    world.accept("ada", 1);
    world.accept("ben", 2);
    let expected = |world: &World, contact| world.floor.expected_wait(ContactId(contact));
    assert_eq!(expected(&world, 3), None, "nothing is known yet");
    world.pass(60);
    world.release("ada", 1);
    // Both worked for 62 s until 3 was offered; 3 rings for about as long as the first two.
    assert_eq!(expected(&world, 3), Some(Duration::from_secs(2)));
    assert_eq!(expected(&world, 4), Some(Duration::from_secs(62 + 2)));
    assert_eq!(expected(&world, 5), Some(Duration::from_secs(2 * 62 + 2)));
    assert_eq!(world.sales().expected_wait, Some(Duration::from_secs(3 * 62 + 2)));
    world.floor.away(&agent_id("ben"), Some("Lunch".into()), world.now);
    world.drain();
    assert_eq!(expected(&world, 4), Some(Duration::from_secs(124 + 2)), "half as many, twice as long");
    world.floor.sign(&agent_id("ada"), false, world.now);
    world.drain();
    assert_eq!(expected(&world, 4), None, "nobody takes contacts");
}

#[test]
fn somebody_free_who_is_not_yet_good_enough_ends_no_wait() {
    let skill = RequiredSkill { name: "sales".into(), minimum: 5, relax: vec![(60, 1)] };
    let team = [("ada", agent(&[("sales", 2)]))];
    let world = World::new(&[("sales", queue(vec![skill], Selection::LongestIdle))], &team);
    assert_eq!((world.sales().available, world.sales().expected_wait), (1, None));
}
