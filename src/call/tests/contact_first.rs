//! A contact that is called back before the agent: an agent is held ready, and the contact never waits in silence.

use std::sync::Arc;

use acd::Live;
use call::engine::{AgentAct, Input};
use model::{QueueId, centre::First, program::Verb, snapshot::Snapshot};

use crate::{
    callbacks::promising,
    phones::{ADA, BOB},
    twin::Virtual,
    world::audio,
};

/// The queue says that contacts are called first, and that they hear w.
fn first() -> Snapshot {
    let mut snapshot = promising(true, None);
    let queue = snapshot.centre.queues.get_mut(&QueueId::new("acme", "sales")).unwrap();
    let queue = Arc::make_mut(queue);
    (queue.callback_first, queue.callback_prompt) = (First::Contact, audio("w"));
    snapshot
}

/// Nobody is free; the contact is promised a call and goes.
fn promised(snapshot: Snapshot) -> Virtual {
    let mut world = Virtual::floor(snapshot);
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::Away("Lunch".into()));
    }
    world.call("+18005550100");
    world.pass(23);
    world.carrier.heard.clear();
    world.states.clear();
    world.media.orders.clear();
    world
}

impl Virtual {
    fn contact_hangs_up(&mut self) {
        let leg = self.carrier.leg();
        self.carrier.endpoint.bye(self.now.instant, leg, &[]).unwrap();
        self.settle();
    }

    fn sales_now(&self) -> Live {
        self.engine.queues(self.now).into_iter().next().unwrap()
    }
}

#[test]
fn the_contact_is_called_while_an_agent_is_held_ready_and_hears_why() {
    let mut world = promised(first());
    world.acts("ada", AgentAct::Ready);
    assert_eq!(world.heard(), "INVITE");
    assert_eq!(world.phone_heard(ADA), "", "no agent is rung for who may not answer");
    assert_eq!(world.states, ["ada: Offered"]);
    assert!(world.at_carrier("From").starts_with("<sip:+18005550100@"), "it sees the number that it called");
    world.carrier_says(180);
    // Longer than an agent is rung: the agent is not away for it.
    world.pass(20);
    assert_eq!(world.states.last().unwrap(), "ada: Offered");
    world.carrier_says(200);
    assert_eq!(world.media.orders.last().unwrap(), "play(w)", "it hears why it is called");
    assert_eq!(world.phone_heard(ADA), "INVITE");
    let ring = world.more[ADA].last.clone().unwrap();
    assert!(ring.contains("From: <sip:+12125550199@"), "the agent sees the contact: {ring}");
    world.pass(3);
    assert_eq!(world.media.orders.last().unwrap(), "play(m)", "and music after it");
    world.other_says(ADA, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert_eq!(world.states.last().unwrap(), "ada: Busy");
    world.pass(30);
    world.contact_hangs_up();
    assert!(world.phone_heard(ADA).ends_with("BYE"));
    assert_eq!(world.states.last().unwrap(), "ada: WrapUp(10)");
    world.pass(3);
    let record = world.records[1].clone();
    assert_eq!((&record.from[..], &record.to), ("+18005550100", &world.records[0].from));
    assert_eq!(record.trunk.unwrap().to_string(), "platform/carrier");
    assert_eq!(record.station, None);
    assert!(record.answered_at.is_some());
    let legs: Vec<_> = record.egress.iter().map(|leg| (leg.whom.as_str(), leg.sip_code)).collect();
    assert_eq!(legs.len(), 2, "both legs are ours: {legs:?}");
    assert!(legs[0].0.contains("carrier") && legs[1].0.contains("ada"), "the contact's first: {legs:?}");
    assert_eq!((record.queues[0].outcome, record.queues.len()), ("answered", 1));
}

#[test]
fn who_is_not_reached_costs_no_agent_anything_and_is_tried_again() {
    let mut world = promised(first());
    world.acts("ada", AgentAct::Ready);
    world.carrier_says(486);
    assert_eq!(world.states, ["ada: Offered", "ada: Available"]);
    assert_eq!(world.phone_heard(ADA), "");
    world.pass(58);
    assert_eq!(world.heard().matches("INVITE").count(), 1, "not so soon");
    world.pass(4);
    assert_eq!(world.heard().matches("INVITE").count(), 2);
    world.pass(31);
    assert_eq!(world.states.last().unwrap(), "ada: Available", "nobody answers for ever");
    world.pass(120);
    assert_eq!(world.heard().matches("INVITE").count(), 2, "twice is enough");
    let codes: Vec<_> = world.records[1..].iter().map(|record| record.sip_code).collect();
    assert_eq!(codes, [486, 480]);
}

#[test]
fn where_the_agent_does_not_come_the_contact_goes_before_all_others() {
    let mut world = promised(first());
    world.acts("ada", AgentAct::Ready);
    world.carrier_says(200);
    world.other_says(ADA, 486);
    assert_eq!(world.sales_now().waiting, 1);
    world.pass(3);
    assert_eq!(world.media.orders.last().unwrap(), "play(m)");
    // Bob is good enough once the contact has waited.
    world.pass(10);
    world.acts("bob", AgentAct::Ready);
    assert_eq!(world.phone_heard(BOB), "INVITE");
    world.other_says(BOB, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");

    // Nobody comes within two minutes: it is called again, and not held on the line.
    let mut world = promised(first());
    world.acts("ada", AgentAct::Ready);
    world.carrier_says(200);
    world.acts("ada", AgentAct::SignOut);
    world.pass(119);
    assert_eq!(world.records.len(), 1);
    world.pass(4);
    assert_eq!(world.records[1].because.as_deref(), Some("no agent was free in time"));
    assert_eq!(world.records[1].queues[0].outcome, "timedOut");
    world.acts("ada", AgentAct::SignIn);
    world.carrier.heard.clear();
    world.pass(62);
    assert_eq!(world.heard(), "INVITE");
}

#[test]
fn a_contact_who_hangs_up_while_it_waits_has_abandoned() {
    let mut world = promised(first());
    world.acts("ada", AgentAct::Ready);
    world.carrier_says(200);
    world.pass(4);
    world.contact_hangs_up();
    assert_eq!(world.phone_heard(ADA), "INVITE CANCEL");
    assert_eq!(world.states.last().unwrap(), "ada: Available");
    let live = world.sales_now();
    assert_eq!((live.waiting, live.total.abandoned, live.total.abandoned_early), (0, 1, 0));
    world.pass(3);
    assert_eq!(world.records[1].queues[0].outcome, "abandoned");
    world.pass(300);
    assert_eq!(world.records.len(), 2, "it was reached, and is not called again");
}

#[test]
fn an_agent_who_goes_while_the_contact_rings_is_made_up_for_by_another() {
    let mut world = promised(first());
    world.acts("ada", AgentAct::Ready);
    world.carrier_says(180);
    world.acts("ada", AgentAct::SignOut);
    assert_eq!(world.heard(), "INVITE", "it rings on");
    world.pass(10);
    world.acts("bob", AgentAct::Ready);
    assert_eq!(world.heard(), "INVITE", "and is called once");
    world.carrier_says(200);
    assert_eq!(world.phone_heard(BOB), "INVITE");
}

#[test]
fn the_step_decides_against_the_queue() {
    let mut snapshot = first();
    let program = Arc::make_mut(snapshot.flows.values_mut().next().unwrap());
    let Verb::Callback { first, .. } = &mut program.steps[1].verb else { unreachable!() };
    *first = Some(First::Agent);
    let mut world = promised(snapshot);
    world.acts("ada", AgentAct::Ready);
    assert_eq!((world.heard(), world.phone_heard(ADA)), (String::new(), "INVITE".into()));
}

#[test]
fn who_is_called_first_and_has_nothing_to_hear_hears_it_ring() {
    let mut snapshot = first();
    let queue = snapshot.centre.queues.get_mut(&QueueId::new("acme", "sales")).unwrap();
    let queue = Arc::make_mut(queue);
    (queue.callback_prompt, queue.music) = (Vec::new(), Vec::new());
    let mut world = promised(snapshot);
    world.acts("ada", AgentAct::Ready);
    world.carrier_says(200);
    assert_eq!(world.media.orders.last().unwrap(), "play(r)");
}

#[test]
fn a_promise_that_only_waits_is_no_call_and_holds_no_drain_to_its_end() {
    let mut snapshot = first();
    snapshot.cluster.limits.calls_max = 1;
    let mut world = promised(snapshot);
    assert_eq!(world.engine.calls(), 0);
    // There is room for another call beside it.
    world.call("+18005550100");
    assert!(world.heard().contains("200"), "{}", world.heard());
    world.engine.handle(world.now, Input::Drain);
    world.settle();
    assert_eq!(world.records.len(), 1, "as long as there are others it waits on");
    world.acts("ada", AgentAct::SignOut);
    world.caller_hangs_up();
    world.pass(3);
    let lost = world.records.iter().find(|record| record.call_id.starts_with("callback-")).unwrap();
    assert_eq!(format!("{:?}", lost.ended_by), "Lost");
    assert_eq!(lost.because.as_deref(), Some("the edge that was to call goes, and no other takes that over"));
    assert_eq!(lost.queues[0].outcome, "ended");
    world.pass(40);
    assert!(world.engine.is_idle());
}
