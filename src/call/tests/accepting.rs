//! Offers that are accepted at the desk, and telephones that answer by themselves.

use std::sync::Arc;

use call::engine::{AgentAct, CallAct};
use model::{AgentId, CallId, snapshot::Snapshot};

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB, field},
    queues::{centre, sales},
    twin::Virtual,
};

impl Virtual {
    fn accepts(&mut self, name: &str) {
        let call = self.offered.expect("an offer");
        self.acts(name, AgentAct::Accept(call));
    }
}

fn offered() -> Virtual {
    let mut world = Virtual::floor(centre(sales()));
    for phone in [ADA, ADA_AT_HOME] {
        world.more[phone].to_talk = Some(200);
    }
    world.call("+18005550100");
    assert_eq!(world.offers, ["sales>ada"]);
    world.talks.clear();
    world
}

#[test]
fn the_telephone_that_rings_is_asked_to_answer_once_however_often_it_is_said() {
    let mut world = offered();
    world.accepts("ada");
    assert_eq!(world.phone_heard(ADA), "INVITE", "it has not said yet that it rings");
    world.other_says(ADA, 180);
    assert_eq!(world.phone_heard(ADA), "talk");
    world.accepts("ada");
    world.accepts("ada");
    assert_eq!(world.phone_heard(ADA), "");
    world.other_says(ADA, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    // Said once more when she talks already.
    world.accepts("ada");
    assert_eq!(world.talks, ["ada: talks"]);
    assert_eq!(world.states, ["ada: Offered", "ada: Busy"]);
    world.hangs_up(ADA);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["wait: ended", "served: hangup"]);
}

#[test]
fn another_telephone_is_asked_where_one_refuses_and_the_agent_is_told_where_none_does() {
    let mut world = offered();
    world.more[ADA].to_talk = Some(489);
    world.register(ADA_AT_HOME);
    world.acts("ada", AgentAct::Decline(world.offered.unwrap()));
    world.pass(31);
    assert_eq!(world.offers, ["sales>ada"; 2]);
    for phone in [ADA, ADA_AT_HOME] {
        world.phone_heard(phone);
        world.other_says(phone, 180);
    }
    world.accepts("ada");
    assert_eq!((world.phone_heard(ADA), world.phone_heard(ADA_AT_HOME)), ("talk".into(), "talk".into()));
    assert_eq!(world.talks, Vec::<String>::new());
    world.other_says(ADA_AT_HOME, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");

    let mut world = offered();
    world.more[ADA].to_talk = Some(481);
    world.other_says(ADA, 180);
    world.accepts("ada");
    assert_eq!(world.talks, ["ada: your telephone cannot be answered from the desk: answer it there"]);
    // It rings on, and is answered there.
    world.other_says(ADA, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert_eq!(world.states, ["ada: Offered", "ada: Busy"]);
}

#[test]
fn what_is_offered_to_another_or_no_more_is_as_what_is_not() {
    const NOTHING: &str = "no such contact is offered to you";
    let mut world = offered();
    let call = world.offered.unwrap();
    world.other_says(ADA, 180);
    for (name, call) in [("bob", call), ("ada", CallId(call.0 + 1))] {
        world.acts(name, AgentAct::Accept(call));
        assert_eq!(std::mem::take(&mut world.talks), [format!("{name}: {NOTHING}")]);
    }
    assert_eq!(world.phone_heard(ADA), "INVITE");
    world.acts("ada", AgentAct::Decline(call));
    world.accepts("ada");
    assert_eq!(world.talks, [format!("ada: {NOTHING}")]);
    assert!(!world.phone_heard(ADA).contains("talk"));
    // Accepted and then declined: the next offer is not accepted by itself.
    let mut world = offered();
    world.accepts("ada");
    world.acts("ada", AgentAct::Decline(world.offered.unwrap()));
    world.pass(31);
    world.phone_heard(ADA);
    world.other_says(ADA, 180);
    assert_eq!(world.phone_heard(ADA), "");
}

#[test]
fn an_offer_that_is_accepted_and_never_answered_ends_as_any_other() {
    let mut world = offered();
    world.other_says(ADA, 180);
    world.accepts("ada");
    world.pass(15);
    assert_eq!(world.states, ["ada: Offered", "ada: Away(Unanswered)"]);
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.nothing_is_left();
}

/// Ada's desk phone answers by itself.
fn by_itself() -> Snapshot {
    let mut snapshot = centre(sales());
    let ada = snapshot.centre.agents.get_mut(&AgentId::new("acme", "ada")).unwrap();
    let ada = Arc::make_mut(ada);
    ada.stations[0].answers_itself = true;
    snapshot
}

#[test]
fn a_telephone_is_told_to_answer_what_its_agent_expects_and_nothing_else() {
    let names = ["Answer-Mode", "Call-Info", "Alert-Info"];
    let told = |world: &Virtual, which: usize| -> Vec<String> {
        let last = world.more[which].last.clone().unwrap();
        assert!(last.starts_with("INVITE"), "{last}");
        names.iter().map(|name| field(&last, name)).filter(|value| !value.is_empty()).collect()
    };
    let mut world = Virtual::floor(by_itself());
    world.register(ADA_AT_HOME);
    world.call("+18005550100");
    let wanted =
        ["Auto", "<sip:c14.example>;answer-after=0", "<sip:c14.example>;info=alert-autoanswer;delay=0"];
    assert_eq!(told(&world, ADA), wanted);
    assert_eq!(told(&world, ADA_AT_HOME), Vec::<String>::new(), "the other one is by hand");
    world.acts("ada", AgentAct::Decline(world.offered.unwrap()));
    world.acts("ada", AgentAct::Away("Lunch".into()));
    // A colleague's call rings.
    world.dial(BOB, "sip:ada@c14.example");
    assert_eq!(told(&world, ADA), Vec::<String>::new());
    let leg = world.more[BOB].leg();
    world.more[BOB].endpoint.cancel(world.now.instant, leg, &[]).unwrap();
    world.settle();
    // What she dials at the desk does not.
    world.acts("ada", AgentAct::Dial("bob-desk".into()));
    assert_eq!(told(&world, ADA), wanted);
    world.at_desk("ada", CallAct::HangUp);
}
