//! What crowds have found (`sim::crowd`), each as small as it was made.

use call::engine::{AgentAct, CallAct};
use model::centre::Queue;

use crate::{
    callbacks::{promised, promising},
    phones::{ADA, BOB},
    queues::{centre, sales},
    twin::Virtual,
};

#[test]
fn an_agent_who_dials_before_he_signs_in_is_offered_nothing_meanwhile() {
    let mut world = Virtual::office(centre(sales()));
    world.register(ADA);
    world.dial(ADA, "sip:+12125550177@c14.example");
    world.carrier_says(200);
    world.acts("ada", AgentAct::SignIn);
    assert_eq!(world.states.last().unwrap(), "ada: Busy");
    world.call("+18005550100");
    assert!(world.offers.is_empty(), "{:?}", world.offers);
    world.hangs_up(ADA);
    assert_eq!(world.offers, ["sales>ada"]);
}

#[test]
fn a_contact_that_comes_back_during_the_work_after_it_keeps_the_agent() {
    let mut world = Virtual::floor(centre(Queue { wrap_up_seconds: 5, ..sales() }));
    world.call("+18005550100");
    world.other_says(ADA, 200);
    world.phone_heard(ADA);
    let leg = world.more[ADA].leg();
    world.refers(ADA, leg, "sip:bob-desk@c14.example", &[]);
    world.more[ADA].endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.other_says(BOB, 603);
    // Nobody took it: Ada is rung again.
    world.other_says(ADA, 200);
    assert_eq!(world.states.last().unwrap(), "ada: Busy");
    world.call("+18005550100");
    world.pass(60);
    let mut of_ada = world.states.iter().rev().filter(|state| state.starts_with("ada"));
    assert_eq!(of_ada.next().unwrap(), "ada: Busy", "{:?}", world.states);
}

#[test]
fn a_desk_is_told_that_the_telephone_has_declined() {
    let mut world = Virtual::floor(centre(sales()));
    world.acts("bob", AgentAct::SignOut);
    world.call("+18005550100");
    world.other_says(ADA, 486);
    assert_eq!(world.offers_over, ["ada"]);
}

#[test]
fn whoever_calls_back_is_one_agent_and_not_two() {
    let mut world = promised(true);
    world.acts("ada", AgentAct::Ready);
    world.other_says(ADA, 200);
    world.carrier_says(180);
    world.talks.clear();
    world.carrier_says(200);
    assert_eq!(world.talks, ["ada: talks"]);
    let call = world.talking.unwrap();
    world.acts("ada", AgentAct::Call(call, CallAct::Hold));
    world.acts("ada", AgentAct::Call(call, CallAct::Retrieve));
    assert_eq!(world.talks, ["ada: talks", "ada: talks held", "ada: talks"]);
}

#[test]
fn who_waits_to_be_called_back_does_not_count_for_the_numbers_cap() {
    let mut snapshot = promising(true, None);
    let ranges = snapshot.numbers.values_mut().next().unwrap();
    ranges[0].calls_max = Some(1);
    let mut world = Virtual::floor(snapshot);
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::Away("Lunch".into()));
    }
    world.call("+18005550100");
    world.pass(23);
    assert_eq!(world.records[0].path, ["wait: timedOut", "promise: promised", "bye: hangup"]);
    world.carrier.heard.clear();
    world.call("+18005550100");
    assert_eq!(world.heard(), "200", "nobody is on the number");
}
