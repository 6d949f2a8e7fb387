//! `dial: {agent: …}`: whose phones ring, and who is away.

use model::{
    AgentId,
    centre::{Station, StationKind},
    program::DialStrategy,
};
use std::sync::Arc;

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB, rings},
    twin::Virtual,
};

#[test]
fn a_contact_talks_to_the_agent_whose_phone_answers() {
    let mut world = Virtual::office(rings(&["bob"], DialStrategy::InOrder));
    world.register(BOB);
    world.call("+18005550100");
    let invite = world.more[BOB].last.clone().unwrap();
    assert!(invite.contains("From: <sip:+12125550199@c14.example>"), "{invite}");
    world.other_says(BOB, 180);
    world.other_says(BOB, 200);
    assert_eq!(world.heard(), "180 200");
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    world.hangs_up(BOB);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn all_phones_of_an_agent_ring_and_the_first_that_answers_wins() {
    let mut world = Virtual::office(rings(&["ada"], DialStrategy::InOrder));
    world.register(ADA);
    world.register(ADA_AT_HOME);
    world.call("+18005550100");
    world.other_says(ADA, 180);
    world.other_says(ADA_AT_HOME, 180);
    world.other_says(ADA_AT_HOME, 200);
    assert_eq!(world.phone_heard(ADA_AT_HOME), "INVITE ACK");
    assert_eq!(world.phone_heard(ADA), "INVITE CANCEL");
    assert!(
        world.ended_reason(ADA).contains("SIP;cause=200;text=\"Call completed elsewhere\""),
        "{}",
        world.ended_reason(ADA)
    );
    world.hangs_up(ADA_AT_HOME);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn a_busy_phone_ends_no_other_and_a_declined_call_ends_all() {
    let mut world = Virtual::office(rings(&["ada"], DialStrategy::InOrder));
    world.register(ADA);
    world.register(ADA_AT_HOME);
    world.call("+18005550100");
    world.other_says(ADA, 486);
    world.other_says(ADA_AT_HOME, 180);
    world.pass(21);
    assert_eq!(world.phone_heard(ADA_AT_HOME), "INVITE CANCEL");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: busy", "busy: hangup"]);

    let mut world = Virtual::office(rings(&["ada", "bob"], DialStrategy::InOrder));
    for phone in [ADA, ADA_AT_HOME, BOB] {
        world.register(phone);
    }
    world.call("+18005550100");
    world.other_says(ADA_AT_HOME, 180);
    world.other_says(ADA, 603);
    assert_eq!(world.phone_heard(ADA_AT_HOME), "INVITE CANCEL");
    // Whom the flow names next is rung all the same.
    assert_eq!(world.phone_heard(BOB), "INVITE");
}

#[test]
fn an_agent_without_a_phone_at_hand_is_passed_over() {
    let mut world = Virtual::office(rings(&["ada", "bob"], DialStrategy::InOrder));
    world.register(BOB);
    world.call("+18005550100");
    assert_eq!(world.phone_heard(BOB), "INVITE");
    assert!(world.told.contains(&"station desk of Agent acme/ada is not registered".to_owned()));
    let mut world = Virtual::office(rings(&["ada", "bob"], DialStrategy::Simultaneous));
    world.call("+18005550100");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: noAnswer", "away: hangup"]);
}

#[test]
fn an_agent_on_a_telephone_is_called_by_the_tenants_trunk() {
    let mut snapshot = rings(&["bob"], DialStrategy::InOrder);
    let bob = snapshot.centre.agents.get_mut(&AgentId::new("acme", "bob")).unwrap();
    Arc::make_mut(bob).stations = vec![Station {
        name: "mobile".into(),
        kind: StationKind::Pstn { number: "+12125550144".parse().unwrap() },
        persistent: false,
        answers_itself: false,
        emergency_location: None,
    }];
    let mut world = Virtual::office(snapshot);
    world.call("+18005550100");
    let invite = world.carrier.last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:+12125550144@192.0.2.1"), "{invite}");
    assert_eq!(world.at_carrier("P-Asserted-Identity"), "<sip:+18005550100@192.0.2.100:5060>");
}

#[test]
fn a_phone_that_hears_nothing_any_more_has_failed() {
    let mut world = Virtual::office(rings(&["bob"], DialStrategy::InOrder));
    world.register(BOB);
    world.holds = Some("203.0.113.2:5060".parse().unwrap());
    world.call("+18005550100");
    world.pass(25);
    assert_eq!(world.heard(), "200 BYE");
    assert_eq!(world.records.len(), 1);
    assert_eq!(world.records[0].path[0], "ring: noAnswer");
}
