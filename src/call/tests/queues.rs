//! `queue`: what a contact hears, whose phone rings, and what becomes of the wait.

use std::{collections::BTreeMap, sync::Arc};

use call::engine::{AgentAct, AgentOrder, CallAct, Input};
use model::{
    AgentId, QueueId,
    centre::{Agent, Announcement, Channel, Queue, RequiredSkill, Selection, StationKind, WaitFigure},
    media::{Event as MediaEvent, MediaEvent as Told},
    program::{DialStrategy, Expression, Queue as Waits, Verb},
    snapshot::Snapshot,
};
use sip::sdp;

use crate::{
    phones::{ADA, BOB, office, rings},
    twin::Virtual,
    world::{audio, flow, hangup, step},
};

pub fn sales() -> Queue {
    Queue {
        channels: vec![Channel::Voice],
        skills: vec![RequiredSkill { name: "sales".into(), minimum: 5, relax: vec![(30, 1)] }],
        selection: Selection::LongestIdle,
        priority: 5,
        ageing_seconds: None,
        service_percent: 80,
        service_seconds: 20,
        contacts_max: 2,
        wait_seconds_max: 120,
        music: audio("m"),
        announcements: Vec::new(),
        language: String::new(),
        ring_seconds: 15,
        wrap_up_seconds: 10,
        callback_first: Default::default(),
        callback_prompt: Vec::new(),
        dispositions: Vec::new(),
        disposition_required: false,
    }
}

/// `wait` in sales, then by outcome: timed out t, full f, no agents n; after a conversation e. Ada is good at sales, Bob a
/// little.
pub fn centre(queue: Queue) -> Snapshot {
    let mut snapshot = office();
    let waits = Waits {
        queue: QueueId::new("acme", "sales"),
        priority: None::<Expression>,
        max_wait_ms: None,
        ended: Some(step(4)),
        timed_out: Some(step(1)),
        full: Some(step(2)),
        no_agents: Some(step(3)),
    };
    let steps = vec![
        model::program::Step { name: "wait".into(), verb: Verb::Queue(waits) },
        hangup("late", "t"),
        hangup("full", "f"),
        hangup("nobody", "n"),
        hangup("served", "e"),
    ];
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    snapshot.centre.queues.insert(QueueId::new("acme", "sales"), Arc::new(queue));
    for (name, level) in [("ada", 9), ("bob", 2)] {
        let agent = snapshot.centre.agents.get_mut(&AgentId::new("acme", name)).unwrap();
        let agent: &mut Agent = Arc::make_mut(agent);
        agent.skills = BTreeMap::from([("sales".to_owned(), level)]);
        agent.capacity = BTreeMap::from([(Channel::Voice, 1)]);
    }
    snapshot
}

impl Virtual {
    pub fn acts(&mut self, name: &str, act: AgentAct) {
        let order = AgentOrder { agent: AgentId::new("acme", name), act };
        self.engine.handle(self.now, Input::Agent(Box::new(order)));
        self.settle();
    }

    pub fn floor(snapshot: Snapshot) -> Self {
        let mut world = Self::office(snapshot);
        for (phone, name) in [(ADA, "ada"), (BOB, "bob")] {
            world.register(phone);
            world.acts(name, AgentAct::SignIn);
        }
        world.states.clear();
        world
    }

    pub fn caller_hangs_up(&mut self) {
        let leg = self.carrier.leg();
        self.carrier.endpoint.bye(self.now.instant, leg, &[]).unwrap();
        self.settle();
    }

    /// On the leg that the media server got last.
    fn callee_presses(&mut self, digit: char) {
        let (session, _) = self.media.last.expect("media");
        let leg = *self.media.legs.last().expect("a leg");
        self.engine.handle(self.now, Input::Media(Told { session, event: MediaEvent::Dtmf { leg, digit } }));
        self.settle();
    }

    pub fn visits(&self) -> Vec<String> {
        let visits = self.records.iter().flat_map(|record| &record.queues);
        let words = visits.map(|visit| {
            let agent = visit.agent.as_ref().map_or("-", |agent| agent.0.name());
            format!("{} {} {agent} {}", visit.queue.0.name(), visit.outcome, visit.waited_ms / 1_000)
        });
        words.collect()
    }
}

#[test]
fn a_contact_hears_music_until_the_agent_who_knows_best_answers() {
    let mut world = Virtual::floor(centre(sales()));
    world.call("+18005550100");
    assert_eq!(world.heard(), "200");
    assert_eq!(world.offers, ["sales>ada"]);
    world.other_says(ADA, 180);
    assert_eq!(world.media.orders.last().unwrap(), "play(m)", "no ringing tone over the music");
    world.pass(7);
    world.other_says(ADA, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert_eq!(world.states, ["ada: Offered", "ada: Busy"]);
    world.pass(60);
    world.hangs_up(ADA);
    assert_eq!(world.states[2..], ["ada: WrapUp(10)"]);
    world.pass(10);
    assert_eq!(world.states[3..], ["ada: Available"]);
    assert_eq!(world.nothing_is_left().path, ["wait: ended", "served: hangup"]);
    assert_eq!(world.visits(), ["sales answered ada 7"]);
}

#[test]
fn an_agent_who_does_not_answer_is_away_and_the_next_is_rung_at_the_old_place() {
    let mut world = Virtual::floor(centre(sales()));
    world.call("+18005550100");
    world.other_says(ADA, 180);
    world.pass(15);
    assert!(world.phone_heard(ADA).ends_with("CANCEL"));
    assert_eq!(world.states, ["ada: Offered", "ada: Away(Unanswered)"]);
    // Bob is good enough once the contact has waited.
    world.pass(15);
    assert_eq!(world.offers, ["sales>ada", "sales>bob"]);
    world.other_says(BOB, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    world.caller_hangs_up();
    assert_eq!(world.phone_heard(BOB), "INVITE ACK BYE");
    assert_eq!(world.nothing_is_left().path, Vec::<String>::new());
    assert_eq!(world.visits(), ["sales answered bob 30"]);
    assert_eq!(world.states[2..], ["bob: Offered", "bob: Busy", "bob: WrapUp(10)", "bob: Available"]);
}

#[test]
fn a_busy_phone_asks_again_after_a_while_and_one_that_cannot_be_rung_is_away() {
    let mut world = Virtual::floor(centre(sales()));
    world.acts("bob", AgentAct::SignOut);
    world.call("+18005550100");
    world.other_says(ADA, 486);
    assert_eq!(world.states[1..], ["ada: Offered", "ada: Available"]);
    world.pass(31);
    assert_eq!(world.offers, ["sales>ada", "sales>ada"]);
    world.other_says(ADA, 480);
    assert_eq!(world.states[3..], ["ada: Offered", "ada: Away(Unanswered)"]);
    world.acts("ada", AgentAct::Ready);
    assert_eq!(world.offers.len(), 3, "who is ready again is ready for this one, too");
    world.other_says(ADA, 486);
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.pass(90);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["wait: timedOut", "late: hangup"]);
}

#[test]
fn every_way_out_of_a_queue_is_taken() {
    let mut world = Virtual::floor(centre(sales()));
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.acts("bob", AgentAct::Away("Lunch".into()));
    world.call("+18005550100");
    world.pass(119);
    assert_eq!(world.records.len(), 0);
    world.pass(6);
    assert_eq!(world.nothing_is_left().path, ["wait: timedOut", "late: hangup"]);
    assert_eq!(world.visits(), ["sales timedOut - 120"]);

    let mut world = Virtual::office(centre(sales()));
    world.call("+18005550100");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["wait: noAgents", "nobody: hangup"]);

    let mut world = Virtual::floor(centre(Queue { contacts_max: 0, ..sales() }));
    world.call("+18005550100");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["wait: full", "full: hangup"]);

    let mut world = Virtual::floor(centre(sales()));
    world.call("+18005550100");
    world.pass(4);
    world.caller_hangs_up();
    assert_eq!(world.phone_heard(ADA), "INVITE CANCEL");
    assert_eq!(world.states, ["ada: Offered", "ada: Available"]);
    world.nothing_is_left();
    assert_eq!(world.visits(), ["sales abandoned - 4"]);

    let mut world = Virtual::floor(centre(sales()));
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.call("+18005550100");
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::SignOut);
    }
    world.pass(10);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["wait: noAgents", "nobody: hangup"]);
}

#[test]
fn waiting_contacts_are_told_what_the_queue_says() {
    let announcements = [("x", 10), ("y", 20)].map(|(name, after_seconds)| Announcement {
        after_seconds,
        audio: audio(name),
        say: Vec::new(),
    });
    let mut world = Virtual::floor(centre(Queue { announcements: announcements.into(), ..sales() }));
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.acts("bob", AgentAct::Away("Lunch".into()));
    world.call("+18005550100");
    world.media.orders.clear();
    world.pass(9);
    assert_eq!(world.media.orders, Vec::<String>::new());
    world.pass(4);
    assert_eq!(world.media.orders, ["play(x)", "play(m)"]);
    world.pass(20);
    world.pass(20);
    assert_eq!(world.media.orders, ["play(x)", "play(m)", "play(y)", "play(m)", "play(x)", "play(m)"]);
}

#[test]
fn waiting_contacts_are_told_their_place_and_how_long_it_will_take() {
    let say = vec![WaitFigure::Position, WaitFigure::Wait];
    let announcement = |name: &str, say| Announcement { after_seconds: 10, audio: audio(name), say };
    let announcements = vec![announcement("x", say), announcement("", vec![WaitFigure::Position])];
    let queue = Queue { announcements, contacts_max: 9, wait_seconds_max: 3_000, ..sales() };
    let mut world = Virtual::floor(centre(queue));
    world.acts("bob", AgentAct::SignOut);
    // One is served, which gives the pace; another takes the agent's time.
    world.call("+18005550100");
    world.other_says(ADA, 200);
    world.pass(150);
    world.hangs_up(ADA);
    world.pass(10);
    world.call("+18005550100");
    world.other_says(ADA, 200);
    world.call("+18005550100");
    world.call("+18005550100");
    world.media.orders.clear();
    world.pass(13);
    let told: Vec<_> = world.media.orders.iter().filter(|order| order.starts_with("say")).cloned().collect();
    assert_eq!(told.len(), 2, "{:?}", world.media.orders);
    assert!(told[0].starts_with("say(You are next in line. Your wait will be about"), "{told:?}");
    assert!(told[1].starts_with("say(You are number 2 in line. Your wait will be about"), "{told:?}");
    assert_eq!(world.media.orders[0], "play(x)");
    world.pass(3);
    assert_eq!(world.media.orders.last().unwrap(), "play(m)");
    world.media.orders.clear();
    world.pass(11);
    assert!(
        world.media.orders.contains(&"say(You are number 2 in line.)".to_owned()),
        "{:?}",
        world.media.orders
    );
    // Whoever is answered meanwhile hears no more of it.
    let talking = world.talking.unwrap();
    world.acts("ada", AgentAct::Call(talking, CallAct::HangUp));
    world.pass(10);
    world.other_says(ADA, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
}

#[test]
fn an_agent_who_talks_is_offered_nothing_and_dialled_by_nobody() {
    let mut world = Virtual::floor(centre(sales()));
    world.acts("bob", AgentAct::SignOut);
    // Ada makes a call of her own.
    world.dial(ADA, "sip:+12125550177@c14.example");
    world.carrier_says(200);
    assert_eq!(world.states.last().unwrap(), "ada: Busy");
    world.call("+18005550100");
    assert!(world.offers.is_empty());
    world.hangs_up(ADA);
    assert_eq!(world.offers, ["sales>ada"]);
    assert_eq!(world.states[2..], ["ada: Offered"]);
}

#[test]
fn a_phone_that_comes_back_takes_the_contact_that_waits() {
    let mut world = Virtual::office(centre(sales()));
    world.acts("ada", AgentAct::SignIn);
    assert_eq!(world.states, ["ada: Unreachable"]);
    world.call("+18005550100");
    assert!(world.offers.is_empty());
    world.register(ADA);
    assert_eq!(world.offers, ["sales>ada"]);
}

#[test]
fn a_declined_offer_goes_on_to_the_next_and_the_desk_ends_the_work_after() {
    let mut world = Virtual::floor(centre(Queue { skills: Vec::new(), ..sales() }));
    world.call("+18005550100");
    let call = model::CallId(world.media.last.unwrap().0.0);
    assert_eq!(world.offers, ["sales>ada"]);
    world.acts("ada", AgentAct::Decline(call));
    assert_eq!(world.offers, ["sales>ada", "sales>bob"]);
    assert_eq!(world.phone_heard(ADA), "INVITE CANCEL");
    world.other_says(BOB, 200);
    world.caller_hangs_up();
    assert_eq!(world.states.last().unwrap(), "bob: WrapUp(10)");
    world.acts("bob", AgentAct::Finish(call, Default::default()));
    assert_eq!(world.states.last().unwrap(), "bob: Available");
    world.nothing_is_left();
}

#[test]
fn a_contact_whom_nobody_takes_over_waits_again_since_when_it_came() {
    let mut world = Virtual::floor(centre(Queue { skills: Vec::new(), ..sales() }));
    world.call("+18005550100");
    world.other_says(ADA, 200);
    world.pass(20);
    let ada = world.more[ADA].leg();
    world.refers(ADA, ada, "sip:bob-desk@c14.example", &[]);
    world.hangs_up(ADA);
    world.other_says(BOB, 486);
    // Ada is rung again, and does not answer either.
    world.other_says(ADA, 180);
    world.acts("bob", AgentAct::Away("Lunch".into()));
    world.pass(33);
    assert_eq!(world.media.orders.last().unwrap(), "play(m)");
    world.acts("bob", AgentAct::Ready);
    assert_eq!(world.offers.last().unwrap(), "sales>bob");
    world.other_says(BOB, 200);
    world.hangs_up(BOB);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["wait: ended", "served: hangup"]);
    assert_eq!(world.visits(), ["sales answered ada 0", "sales answered bob 53"]);
}

#[test]
fn a_contact_handed_on_leaves_one_agent_free_and_the_other_busy() {
    let mut world = Virtual::floor(centre(Queue { skills: Vec::new(), wrap_up_seconds: 0, ..sales() }));
    world.call("+18005550100");
    world.other_says(ADA, 200);
    let ada = world.more[ADA].leg();
    world.refers(ADA, ada, "sip:bob-desk@c14.example", &[]);
    world.other_says(BOB, 200);
    assert_eq!(world.states, ["ada: Offered", "ada: Busy", "ada: Available", "bob: Busy"]);
    world.caller_hangs_up();
    assert_eq!(world.states.last().unwrap(), "bob: Available");
    world.nothing_is_left();
}

#[test]
fn a_queue_that_is_deleted_lets_its_contacts_go_by_the_failure() {
    let snapshot = centre(sales());
    let mut world = Virtual::floor(snapshot.clone());
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.call("+18005550100");
    let mut without = snapshot;
    without.centre.queues.clear();
    world.engine.apply(without.into()).unwrap();
    world.engine.handle(world.now, Input::Timeout);
    world.settle();
    world.pass(3);
    let record = world.nothing_is_left();
    assert!(record.because.as_ref().unwrap().contains("the queue was deleted"), "{record:?}");
}

/// Bob alone has the skill, and nothing but a mobile telephone.
fn mobile() -> Virtual {
    let mut snapshot = centre(Queue { skills: Vec::new(), ..sales() });
    let bob = snapshot.centre.agents.get_mut(&AgentId::new("acme", "bob")).unwrap();
    Arc::make_mut(bob).stations[0].kind = StationKind::Pstn { number: "+12125550188".parse().unwrap() };
    let mut world = Virtual::office(snapshot);
    world.acts("bob", AgentAct::SignIn);
    assert_eq!(world.states, ["bob: Available"]);
    world.call("+18005550100");
    assert_eq!(world.offers, ["sales>bob"]);
    world
}

#[test]
fn a_telephone_of_the_public_network_is_joined_once_somebody_presses_a_key() {
    let mut world = mobile();
    world.carrier_says(180);
    world.carrier_says(200);
    let question = "say(You have a call for sales. To take it, press 1.)";
    assert_eq!(world.media.orders.last().unwrap(), question, "the contact hears music meanwhile");
    assert_eq!(world.states.last().unwrap(), "bob: Offered");
    world.callee_presses('5');
    // It is asked again while nobody presses the right one.
    world.pass(2);
    let asked = |world: &Virtual| world.media.orders.iter().filter(|order| *order == question).count();
    assert_eq!((asked(&world), world.media.orders.last().unwrap().as_str()), (2, question));
    world.callee_presses('1');
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert_eq!(world.states.last().unwrap(), "bob: Busy");
    world.pass(60);
    assert_eq!(asked(&world), 2);
}

#[test]
fn a_telephone_is_told_of_a_port_that_moved_before_its_key_is_awaited() {
    let mut world = mobile();
    let (session, _) = world.media.last.expect("media");
    let leg = *world.media.legs.last().expect("a leg");
    let address = "192.0.2.100".parse().unwrap();
    let event = MediaEvent::Allocated { leg, address, rtp_port: 31_000, fingerprint: None };
    world.engine.handle(world.now, Input::Media(Told { session, event }));
    world.carrier_says(200);
    let told = world.carrier.last.clone().unwrap();
    assert!(told.starts_with("INVITE ") && told.contains("m=audio 31000 "), "{told}");
    let phone = &mut world.carrier;
    let agreed = sdp::offer(&phone.media());
    phone.endpoint.answer_reinvite(world.now.instant, phone.leg(), agreed).unwrap();
    world.settle();
    assert!(!world.media.orders.iter().any(|order| order == "bridge"), "that is no key");
    assert_eq!(world.states.last().unwrap(), "bob: Offered");
    world.callee_presses('1');
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert_eq!(world.states.last().unwrap(), "bob: Busy");
}

#[test]
fn who_is_asked_back_from_a_public_telephone_sees_whose_it_is() {
    let mut world = mobile();
    world.register(ADA);
    world.carrier_says(200);
    world.callee_presses('1');
    world.at_desk("bob", CallAct::Consult("ada-desk".into()));
    let invite = world.more[ADA].last.clone().unwrap();
    assert!(invite.starts_with("INVITE ") && invite.contains("<sip:bob@"), "{invite}");
}

#[test]
fn a_mailbox_that_answers_for_an_agent_takes_no_contact() {
    let mut world = mobile();
    world.carrier_says(200);
    world.pass(15);
    assert!(!world.media.orders.iter().any(|order| order == "bridge"), "{:?}", world.media.orders);
    assert_eq!(world.states.last().unwrap(), "bob: Away(Unanswered)");
    assert!(world.told.iter().any(|told| told.ends_with("has answered, and is asked to press 1")));
}

#[test]
fn a_telephone_that_hangs_up_without_a_key_has_not_answered() {
    let mut snapshot = rings(&["bob"], DialStrategy::InOrder);
    let bob = snapshot.centre.agents.get_mut(&AgentId::new("acme", "bob")).unwrap();
    Arc::make_mut(bob).stations[0].kind = StationKind::Pstn { number: "+12125550188".parse().unwrap() };
    for hangs_up in [true, false] {
        let mut world = Virtual::office(snapshot.clone());
        world.call("+18005550100");
        world.carrier_says(200);
        assert_eq!(world.media.orders.last().unwrap(), "say(You have a call. To take it, press 1.)");
        if hangs_up {
            world.caller_hangs_up();
        } else {
            world.pass(20);
        }
        assert!(!world.media.orders.iter().any(|order| order == "bridge"), "{:?}", world.media.orders);
        assert!(world.told.iter().any(|told| told.ends_with("nobody pressed 1")), "{:?}", world.told);
        world.pass(5);
        assert_eq!(world.nothing_is_left().path[0], "ring: noAnswer");
    }
}
