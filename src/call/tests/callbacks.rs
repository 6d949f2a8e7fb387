//! `callback`: a contact goes, keeps its place, and is called when an agent is there.

use call::engine::{AgentAct, CallAct};
use model::{
    QueueId,
    program::{Expression, Queue as Waits, Step, Verb},
    snapshot::Snapshot,
};

use crate::{
    phones::{ADA, BOB},
    queues::{centre, sales},
    twin::Virtual,
    world::{flow, hangup, step},
};

/// `wait` in sales for 20 s, then `promise` to call back, then hang up; failed f.
pub fn promising(keep_place: bool, number: Option<&str>) -> Snapshot {
    let mut snapshot = centre(sales());
    let queue = QueueId::new("acme", "sales");
    let waits = Waits {
        queue: queue.clone(),
        priority: None::<Expression>,
        max_wait_ms: Some(20_000),
        ended: Some(step(2)),
        timed_out: Some(step(1)),
        full: Some(step(3)),
        no_agents: Some(step(1)),
    };
    let promise = Verb::Callback {
        queue,
        keep_place,
        number: number.map(|number| Expression(format!("'{number}'"))),
        attempts: 2,
        retry_ms: 60_000,
        first: None,
        next: step(2),
        failed: Some(step(3)),
    };
    let steps = vec![
        Step { name: "wait".into(), verb: Verb::Queue(waits) },
        Step { name: "promise".into(), verb: promise },
        hangup("bye", "b"),
        hangup("failed", "f"),
    ];
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    snapshot
}

/// Nobody is free, so the contact is promised a call and goes.
pub fn promised(keep_place: bool) -> Virtual {
    let mut world = Virtual::floor(promising(keep_place, None));
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::Away("Lunch".into()));
    }
    world.call("+18005550100");
    world.pass(23);
    assert_eq!(world.records.len(), 1, "the first call is over");
    assert_eq!(world.records[0].path, ["wait: timedOut", "promise: promised", "bye: hangup"]);
    world.carrier.heard.clear();
    world.states.clear();
    world
}

#[test]
fn a_contact_is_called_back_once_an_agent_is_there() {
    let mut world = promised(true);
    world.acts("ada", AgentAct::Ready);
    assert_eq!(world.offers, ["sales>ada"]);
    assert_eq!(world.heard(), "", "nobody calls the contact before the agent is there");
    world.other_says(ADA, 200);
    assert_eq!(world.heard(), "INVITE");
    let invite = world.carrier.last.clone().unwrap();
    assert!(invite.starts_with(&format!("INVITE sip:{}@", world.records[0].from)), "{invite}");
    assert!(world.at_carrier("From").starts_with("<sip:+18005550100@"), "it sees the number that it called");
    world.carrier_says(180);
    assert_eq!(world.media.orders.last().unwrap(), "play(r)", "the agent hears it ring");
    world.carrier_says(200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert_eq!(world.states.last().unwrap(), "ada: Busy");
    world.pass(30);
    world.carrier.endpoint.bye(world.now.instant, world.carrier.leg(), &[]).unwrap();
    world.settle();
    assert!(world.phone_heard(ADA).ends_with("BYE"));
    assert_eq!(world.states.last().unwrap(), "ada: WrapUp(10)");
    world.pass(3);
    let record = world.records[1].clone();
    assert_eq!((&record.from[..], &record.to), ("+18005550100", &world.records[0].from));
    assert_eq!(record.part_of.as_ref(), Some(&world.records[0].call_id));
    assert_eq!(record.queues[0].outcome, "answered");
    // The wait counts from when it began to wait, in the first call.
    assert!((23_000..26_000).contains(&record.queues[0].waited_ms), "{}", record.queues[0].waited_ms);
}

#[test]
fn who_was_called_back_and_is_handed_on_waits_as_anybody_does() {
    let mut world = promised(true);
    world.acts("ada", AgentAct::Ready);
    world.other_says(ADA, 200);
    world.carrier_says(200);
    world.pass(30);
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.at_desk("ada", CallAct::Transfer("+18005550100".into()));
    assert!(world.phone_heard(ADA).ends_with("BYE"));
    assert_eq!(
        world.media.orders.last().unwrap(),
        "play(m)",
        "it is there, and hears the music of the queue"
    );
    world.carrier.heard.clear();
    world.pass(24);
    assert_eq!(world.heard(), "BYE", "nobody calls it, and its flow goes on");
    let record = &world.records[1];
    assert_eq!(record.path, ["wait: timedOut", "promise: promised", "bye: hangup"]);
    let waits: Vec<_> = record.queues.iter().map(|visit| (visit.outcome, visit.waited_ms / 1_000)).collect();
    assert_eq!(waits[1], ("timedOut", 20), "{waits:?}");
    world.carrier.heard.clear();
    world.acts("ada", AgentAct::Ready);
    world.other_says(ADA, 200);
    assert_eq!(world.heard(), "INVITE");
    let invite = world.carrier.last.clone().unwrap();
    assert!(invite.starts_with(&format!("INVITE sip:{}@", world.records[0].from)), "{invite}");
}

#[test]
fn who_keeps_no_place_begins_at_the_end() {
    let mut world = promised(false);
    world.pass(10);
    world.acts("ada", AgentAct::Ready);
    world.other_says(ADA, 200);
    world.carrier_says(200);
    world.hangs_up(ADA);
    world.pass(3);
    let waited = world.records[1].queues[0].waited_ms;
    assert!((10_000..14_000).contains(&waited), "{waited}");
}

#[test]
fn a_promise_waits_where_nobody_is_signed_in_and_is_tried_again() {
    let mut world = Virtual::floor(promising(true, None));
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::SignOut);
    }
    world.call("+18005550100");
    world.pass(3);
    assert_eq!(world.records[0].path, ["wait: noAgents", "promise: promised", "bye: hangup"]);
    world.pass(4 * 60 * 60);
    world.register(ADA);
    world.acts("ada", AgentAct::SignIn);
    world.talks.clear();
    world.carrier.heard.clear();
    world.other_says(ADA, 200);
    world.carrier_says(486);
    assert!(world.phone_heard(ADA).ends_with("BYE"));
    assert_eq!(
        world.talks,
        ["ada: talks rings", &format!("ada: {} is busy (486)", world.records[0].from), "ada: over"],
        "the agent is told why"
    );
    world.pass(20);
    assert_eq!(world.phone_heard(ADA), "", "not so soon");
    world.pass(42);
    assert_eq!(world.phone_heard(ADA), "INVITE");
    world.other_says(ADA, 200);
    world.carrier_says(480);
    world.pass(600);
    assert_eq!(world.phone_heard(ADA).matches("INVITE").count(), 0, "twice is enough");
    assert_eq!(world.records.len(), 3);
}

#[test]
fn an_agent_who_does_not_answer_costs_no_promise() {
    let mut world = promised(true);
    world.acts("bob", AgentAct::Ready);
    world.acts("ada", AgentAct::Ready);
    world.other_says(ADA, 486);
    world.pass(12);
    world.other_says(BOB, 200);
    assert_eq!(world.heard(), "INVITE");
    world.carrier_says(200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
}

#[test]
fn one_promise_is_enough_and_what_may_not_be_dialled_is_none() {
    let mut world = promised(true);
    world.call("+18005550100");
    world.pass(23);
    assert_eq!(world.records[1].path, ["wait: timedOut", "promise: promised", "bye: hangup"]);
    world.acts("ada", AgentAct::Ready);
    world.acts("bob", AgentAct::Ready);
    world.pass(3);
    assert_eq!(world.offers, ["sales>ada"], "it is called once");
    for number in ["+19005550100", "+442079460000", "nobody"] {
        let mut world = Virtual::floor(promising(true, Some(number)));
        world.acts("ada", AgentAct::SignOut);
        world.acts("bob", AgentAct::SignOut);
        world.call("+18005550100");
        world.pass(3);
        assert_eq!(world.nothing_is_left().path, ["wait: noAgents", "promise: failed", "failed: hangup"]);
    }
}
