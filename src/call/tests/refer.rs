//! Phones hand their contacts on: by REFER, to whom they talk to beside, and by taking each other's place.

use model::{
    LegId, TrunkId,
    program::DialStrategy,
    snapshot::{NumberRange, Snapshot},
};
use sip::{endpoint::Header, sdp};

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB, field, office, rings},
    twin::Virtual,
    world::{flow, hangup, play},
};

/// Rings Bob, then plays by outcome: ended a, busy b, no answer c, failed d.
fn bobs() -> Snapshot {
    rings(&["bob"], DialStrategy::InOrder)
}

/// The carrier's caller talks to Bob.
fn talking() -> (Virtual, LegId) {
    let mut world = Virtual::office(bobs());
    for phone in [ADA, BOB, ADA_AT_HOME] {
        world.register(phone);
    }
    world.call("+18005550100");
    world.other_says(BOB, 200);
    world.phone_heard(BOB);
    let leg = world.more[BOB].leg();
    (world, leg)
}

fn last_bridged(world: &Virtual) -> bool {
    world.media.orders.last().is_some_and(|order| order == "bridge")
}

#[test]
fn a_contact_is_handed_on_to_a_colleague_who_sees_by_whom() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    assert_eq!(world.phone_heard(BOB), "refer:100");
    let invite = world.more[ADA].last.clone().unwrap();
    assert_eq!(field(&invite, "From").split(';').next(), Some("<sip:+12125550199@c14.example>"));
    assert_eq!(field(&invite, "Referred-By"), "<sip:bob-desk@c14.example>");
    world.other_says(ADA, 180);
    assert_eq!(world.phone_heard(BOB), "refer:180");
    // The contact hears it ring.
    assert!(world.media.orders.last().unwrap().starts_with("play"), "{:?}", world.media.orders);
    world.other_says(ADA, 200);
    assert_eq!(world.phone_heard(BOB), "refer:200! BYE");
    assert!(last_bridged(&world));
    assert_eq!(world.heard(), "200", "the contact notices nothing");
    world.hangs_up(ADA);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn a_phone_that_hangs_up_at_once_leaves_the_contact_there() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada@c14.example", &[]);
    world.more[BOB].endpoint.bye(world.now.instant, bob, &[]).unwrap();
    world.settle();
    assert_eq!(world.heard(), "200");
    world.other_says(ADA, 180);
    world.other_says(ADA, 200);
    assert_eq!(world.phone_heard(ADA_AT_HOME), "INVITE CANCEL");
    assert!(last_bridged(&world) && world.heard() == "200");
    world.hangs_up(ADA);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn whom_nobody_takes_comes_back() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    world.other_says(ADA, 486);
    assert_eq!(world.phone_heard(BOB), "refer:100 refer:486!");
    assert!(last_bridged(&world));
    // And may be handed on again.
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    world.other_says(ADA, 200);
    assert_eq!(world.phone_heard(BOB), "refer:100 refer:200! BYE");
}

#[test]
fn an_agent_who_has_hung_up_is_rung_again() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    world.more[BOB].endpoint.bye(world.now.instant, bob, &[]).unwrap();
    world.settle();
    world.phone_heard(BOB);
    world.other_says(ADA, 603);
    assert!(world.phone_heard(BOB).contains("INVITE"));
    assert!(world.told.iter().any(|told| told.contains("is rung again")), "{:?}", world.told);
    world.other_says(BOB, 200);
    assert!(last_bridged(&world) && world.heard() == "200");
    world.hangs_up(BOB);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn whom_nobody_takes_at_all_goes_on_in_the_flow() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    world.more[BOB].endpoint.bye(world.now.instant, bob, &[]).unwrap();
    world.settle();
    world.other_says(ADA, 486);
    world.other_says(BOB, 180);
    world.pass(31);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: noAnswer", "away: hangup"]);
}

#[test]
fn a_contact_who_hangs_up_meanwhile_ends_it_all() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.phone_heard(BOB), "refer:100 refer:487! BYE");
    assert_eq!(world.phone_heard(ADA), "INVITE CANCEL");
    world.nothing_is_left();
}

#[test]
fn a_callee_is_handed_on_as_well_as_a_caller() {
    let mut world = Virtual::office(office());
    world.register(BOB);
    let ada = world.dial(ADA, "sip:+12125550177@c14.example");
    world.carrier_says(200);
    world.phone_heard(ADA);
    world.refers(ADA, ada, "sip:bob-desk@c14.example", &[]);
    let invite = world.more[BOB].last.clone().unwrap();
    assert!(field(&invite, "Referred-By") == "<sip:ada-desk@c14.example>", "{invite}");
    world.other_says(BOB, 200);
    assert_eq!(world.phone_heard(ADA), "refer:100 refer:200! BYE");
    assert!(last_bridged(&world));
    world.hangs_up(BOB);
    assert!(world.carrier.heard.contains(&"BYE".to_owned()), "{:?}", world.carrier.heard);
    world.nothing_is_left();
}

#[test]
fn whom_a_phone_may_not_dial_it_may_not_hand_on_to() {
    for (to, code) in [
        ("sip:+19005550100@c14.example", 403),
        ("sip:+442079460000@c14.example", 403),
        ("sip:ada-desk@example.org", 404),
        ("sip:nobody@c14.example", 404),
        ("sip:192.0.2.1", 484),
    ] {
        let (mut world, bob) = talking();
        world.refers(BOB, bob, to, &[]);
        assert_eq!(world.phone_heard(BOB), format!("refer:{code}!"), "{to}");
        assert!(last_bridged(&world));
        assert!(
            world.told.last().unwrap().starts_with(&format!("a REFER was answered {code}")),
            "{:?}",
            world.told
        );
    }
}

#[test]
fn a_contact_is_handed_on_to_a_number_whose_flow_takes_it() {
    let mut snapshot = bobs();
    let menu = flow("menu", vec![play("hello", "h", 1), hangup("bye", "b")], Vec::new());
    snapshot.flows.insert(menu.0.clone(), menu.1);
    let ranges = snapshot.numbers.get_mut(&TrunkId::new("platform", "carrier")).unwrap();
    let number = "+18005550105".parse().unwrap();
    ranges.push(NumberRange { first: number, last: number, flow: menu.0, ..ranges[0].clone() });
    let mut world = Virtual::office(snapshot);
    world.register(BOB);
    world.call("+18005550100");
    world.other_says(BOB, 200);
    world.phone_heard(BOB);
    let bob = world.more[BOB].leg();
    world.refers(BOB, bob, "sip:8005550105@c14.example", &[]);
    let heard = world.phone_heard(BOB);
    assert!(heard.contains("refer:200!") && heard.ends_with("BYE"), "{heard}");
    assert_eq!(world.media.orders.last().unwrap(), "play(h)");
    assert_eq!(world.heard(), "200");
    world.pass(5);
    assert_eq!(world.nothing_is_left().path, ["hello: played", "bye: hangup"]);
}

#[test]
fn a_trunk_may_hand_nothing_on() {
    let (mut world, _) = talking();
    let leg = world.carrier.leg();
    world.carrier.endpoint.refer(world.now.instant, leg, "<sip:+12125550177@192.0.2.100>", &[]).unwrap();
    world.settle();
    assert_eq!(world.carrier.heard.last().unwrap(), "refer:403!");
    assert!(last_bridged(&world));
}

#[test]
fn who_wants_no_news_gets_none() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[Header::new("Refer-Sub", "false")]);
    world.other_says(ADA, 180);
    world.other_says(ADA, 200);
    assert_eq!(world.phone_heard(BOB), "refer:202! BYE");
}

/// What names the dialog that a phone's latest message is of, as its Refer-To has it.
fn replaces(message: &str, answers: bool) -> String {
    let tag = |name: &str| field(message, name).split("tag=").nth(1).unwrap().to_owned();
    let (ours, theirs) = if answers { ("To", "From") } else { ("From", "To") };
    format!("{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}", field(message, "Call-ID"), tag(ours), tag(theirs))
}

/// Bob, who talks to the contact, asks Ada, who has answered. Gives Bob's leg to her and its name.
fn consulting() -> (Virtual, LegId, LegId, String) {
    let (mut world, bob) = talking();
    let consult = world.dial(BOB, "sip:ada-desk@c14.example");
    world.other_says(ADA, 200);
    let name = replaces(world.more[BOB].last.as_deref().unwrap(), true);
    world.phone_heard(BOB);
    world.phone_heard(ADA);
    (world, bob, consult, name)
}

#[test]
fn a_contact_is_handed_on_to_whom_the_agent_has_asked() {
    let (mut world, bob, _, name) = consulting();
    world.refers(BOB, bob, &format!("sip:ada-desk@c14.example?Replaces={name}"), &[]);
    assert_eq!(world.phone_heard(ADA), "re-INVITE");
    world.agrees(ADA, world.more[ADA].leg());
    assert!(last_bridged(&world));
    let heard = world.phone_heard(BOB);
    assert!(heard.contains("refer:200!") && heard.matches("BYE").count() == 2, "{heard}");
    assert_eq!(world.engine.calls(), 1);
    // The consult is told to be part of the contact's call.
    let contact = world.explanations.iter().find(|explanation| explanation.from == "+12125550199").unwrap();
    assert_eq!(world.records[0].part_of.as_ref(), Some(&contact.call_id));
    assert_eq!(world.heard(), "200", "the contact notices nothing");
    world.hangs_up(ADA);
    world.pass(3);
    world.pass(70);
    assert_eq!(world.records[1].path, ["ring: ended", "ended: hangup"]);
    assert!(world.engine.is_idle() && world.media.legs.is_empty());
}

#[test]
fn the_contacts_call_goes_on_whichever_of_the_two_is_referred() {
    let (mut world, bob) = talking();
    let contact = replaces(world.more[BOB].last.as_deref().unwrap(), false);
    let consult = world.dial(BOB, "sip:ada-desk@c14.example");
    world.other_says(ADA, 200);
    world.phone_heard(BOB);
    world.phone_heard(ADA);
    assert_ne!(bob, consult);
    world.refers(BOB, consult, &format!("sip:+12125550199@c14.example?Replaces={contact}"), &[]);
    assert_eq!(world.phone_heard(ADA), "re-INVITE");
    world.agrees(ADA, world.more[ADA].leg());
    assert!(last_bridged(&world) && world.heard() == "200");
    let heard = world.phone_heard(BOB);
    assert!(heard.contains("refer:200!") && heard.matches("BYE").count() == 2, "{heard}");
    world.hangs_up(ADA);
    world.pass(70);
    assert_eq!(world.records.last().unwrap().path, ["ring: ended", "ended: hangup"]);
    assert!(world.engine.is_idle() && world.media.legs.is_empty());
}

#[test]
fn whom_the_agent_has_only_rung_is_rung_for_the_contact() {
    let (mut world, bob) = talking();
    world.dial(BOB, "sip:ada-desk@c14.example");
    world.other_says(ADA, 180);
    let name = replaces(world.more[BOB].last.as_deref().unwrap(), true);
    world.phone_heard(BOB);
    world.refers(BOB, bob, &format!("sip:ada-desk@c14.example?Replaces={name}"), &[]);
    assert_eq!(world.phone_heard(ADA), "INVITE CANCEL INVITE");
    assert!(world.phone_heard(BOB).contains("487"));
    world.other_says(ADA, 200);
    assert!(world.phone_heard(BOB).contains("refer:200!"));
    assert!(last_bridged(&world) && world.heard() == "200");
}

#[test]
fn two_contacts_of_one_agent_are_joined() {
    let (mut world, bob) = talking();
    world.pbx.heard.clear();
    let consult = world.dial(BOB, "sip:+12125550177@c14.example");
    // The carrier is the callee of the second call as well.
    world.carrier_says(200);
    let name = replaces(world.more[BOB].last.as_deref().unwrap(), true);
    world.phone_heard(BOB);
    world.carrier.heard.clear();
    let second = world.carrier.leg();
    world.refers(BOB, bob, &format!("sip:+12125550177@c14.example?Replaces={name}"), &[]);
    assert_eq!(world.heard(), "re-INVITE");
    let answer = sdp::offer(&world.carrier.media());
    world.carrier.endpoint.answer_reinvite(world.now.instant, second, answer).unwrap();
    world.settle();
    assert!(last_bridged(&world));
    let heard = world.phone_heard(BOB);
    assert!(heard.contains("refer:200!") && heard.matches("BYE").count() == 2, "{heard}");
    assert_ne!(bob, consult);
    world.carrier.endpoint.bye(world.now.instant, second, &[]).unwrap();
    world.settle();
    world.pass(70);
    assert!(world.engine.is_idle() && world.media.legs.is_empty());
}

#[test]
fn a_dialog_of_nobody_is_handed_on_to_by_nobody() {
    let (mut world, bob) = talking();
    world.refers(BOB, bob, "sip:ada-desk@c14.example?Replaces=nobody%3Bto-tag%3Da%3Bfrom-tag%3Db", &[]);
    assert_eq!(world.phone_heard(BOB), "refer:404!");
    assert!(last_bridged(&world));
}

#[test]
fn whom_cannot_be_moved_is_let_go_and_the_agent_has_the_contact_back() {
    let (mut world, bob, _, name) = consulting();
    world.refers(BOB, bob, &format!("sip:ada-desk@c14.example?Replaces={name}"), &[]);
    let leg = world.more[ADA].leg();
    world.more[ADA].endpoint.reject_reinvite(world.now.instant, leg, 488).unwrap();
    world.settle();
    assert_eq!(world.phone_heard(ADA), "re-INVITE BYE");
    assert!(world.phone_heard(BOB).contains("refer:488!"));
    assert!(last_bridged(&world) && world.heard() == "200");
}

#[test]
fn a_colleague_answers_what_rings_elsewhere() {
    let mut world = Virtual::office(bobs());
    world.register(BOB);
    world.call("+18005550100");
    world.other_says(BOB, 180);
    // Bob's phone shows the dialog to whom it trusts.
    let invite = world.more[BOB].last.clone().unwrap();
    let ours = field(&invite, "From").split("tag=").nth(1).unwrap().to_owned();
    let theirs = world.early_tag(BOB);
    let name = format!("{};to-tag={ours};from-tag={theirs};early-only", field(&invite, "Call-ID"));
    world.dial_with(ADA, "sip:bob-desk@c14.example", vec![Header::new("Replaces", name)]);
    assert_eq!(world.phone_heard(ADA), "401 200");
    assert_eq!(world.phone_heard(BOB), "INVITE CANCEL");
    assert!(last_bridged(&world) && world.heard() == "180 200");
    world.hangs_up(ADA);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn a_call_goes_on_at_another_phone() {
    let (mut world, _) = talking();
    let name =
        replaces(world.more[BOB].last.as_deref().unwrap(), false).replace("%3B", ";").replace("%3D", "=");
    world.dial_with(ADA, "sip:bob-desk@c14.example", vec![Header::new("Replaces", name)]);
    assert_eq!(world.phone_heard(ADA), "401 200");
    assert_eq!(world.phone_heard(BOB), "BYE");
    assert!(last_bridged(&world) && world.heard() == "200");
    world.hangs_up(ADA);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn only_who_has_proved_who_it_is_learns_which_dialogs_there_are() {
    let (mut world, _) = talking();
    let nobodys = || vec![Header::new("Replaces", "nobody;to-tag=a;from-tag=b")];
    world.dial_with(ADA, "sip:bob-desk@c14.example", nobodys());
    assert_eq!(world.phone_heard(ADA), "401 481");
    world.more[ADA_AT_HOME].credentials.as_mut().unwrap().secret =
        sip::digest::Secret::Password("wrong".into());
    world.dial_with(ADA_AT_HOME, "sip:bob-desk@c14.example", nobodys());
    assert!(!world.phone_heard(ADA_AT_HOME).contains("481"));
}

#[test]
fn a_trunk_takes_nobodys_place() {
    let (mut world, _) = talking();
    let name =
        replaces(world.more[BOB].last.as_deref().unwrap(), false).replace("%3B", ";").replace("%3D", "=");
    world.carrier.headers = vec![Header::new("Replaces", name)];
    world.carrier.heard.clear();
    world.call("+18005550100");
    assert_eq!(world.heard(), "403");
    assert!(world.phone_heard(BOB).is_empty());
}
