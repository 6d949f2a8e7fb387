//! Calls for help: of 933 and made-up numbers alone.

use std::sync::Arc;

use call::engine::{CALLBACK, Input, StationNews};
use model::{
    AgentId, Key, TenantId, TrunkId,
    centre::{Dialling, Location},
    net::Transport,
    snapshot::{Listener, Snapshot},
};

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB, desk, office, rules},
    twin::Virtual,
};

fn carrier() -> TrunkId {
    TrunkId::new("platform", "carrier")
}

fn with_rules(mut snapshot: Snapshot, rules: Dialling) -> Snapshot {
    snapshot.centre.dialling.insert(TenantId(Key::new("acme", "acme")), Arc::new(rules));
    snapshot
}

/// The carrier and the PBX take calls for help, in that order.
fn two_carriers() -> Snapshot {
    let mut snapshot = office();
    snapshot.trunks.get_mut(&TrunkId::new("acme", "pbx")).unwrap().emergency = true;
    with_rules(snapshot, Dialling { trunks: vec![carrier(), TrunkId::new("acme", "pbx")], ..rules() })
}

#[test]
fn help_is_called_with_the_place_and_a_number_to_call_back() {
    let mut world = Virtual::office(office());
    world.dial(ADA, "sip:933@c14.example");
    let invite = world.carrier.last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:933@192.0.2.1"), "{invite}");
    for line in [
        "From: <sip:+18005550101@192.0.2.100:5060>",
        "P-Asserted-Identity: <sip:+18005550101@192.0.2.100:5060>",
        "Geolocation: <cid:location@192.0.2.100>",
        "Geolocation-Routing: yes",
        "Content-Type: multipart/mixed;boundary=switchboard-part",
        "Content-Type: application/sdp",
        "Content-Type: application/pidf+xml",
        "Content-ID: <location@192.0.2.100>",
    ] {
        assert!(invite.contains(line), "{line} is not in {invite}");
    }
    assert!(
        invite.contains("<ca:RD>Example Street</ca:RD><ca:HNO>1</ca:HNO><ca:LOC>Desk 4</ca:LOC>"),
        "{invite}"
    );
    assert!(!invite.contains("Privacy"), "{invite}");
    // The description is found among the parts.
    assert!(world.carrier.offer.is_some());
    world.carrier_says(200);
    assert_eq!(world.phone_heard(ADA), "401 200");
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    let told =
        world.stations.iter().find(|news| matches!(news, StationNews::Emergency { is_carried: true, .. }));
    assert!(told.is_some(), "{:?}", world.stations);
    assert_eq!(
        world.because(),
        "→ desk of Agent acme/ada calls 933 for help by Trunk platform/carrier, with its place"
    );
    world.hangs_up(ADA);
    assert_eq!(world.nothing_is_left().sip_code, 200);
}

/// The place makes it larger than a datagram should be.
#[test]
fn help_is_called_by_tcp_where_the_peer_takes_both() {
    let mut snapshot = office();
    snapshot.trunks.get_mut(&carrier()).unwrap().peers[0].large_by_tcp = true;
    let listener = snapshot.cluster.listeners[0].clone();
    let tcp = Listener { name: "tcp".into(), transport: Transport::Tcp, ..listener };
    snapshot.cluster.listeners.push(tcp);
    let mut world = Virtual::office(snapshot);
    world.holds = Some(world.carrier.address);
    world.dial(ADA, "sip:933@c14.example");
    assert!(world.held[0].2.len() > 1_300);
    let to_carrier = world.flows.iter().filter(|flow| flow.remote == world.carrier.address);
    assert_eq!(to_carrier.map(|flow| flow.transport).collect::<Vec<_>>(), [Transport::Tcp]);
}

#[test]
fn every_emergency_number_and_name_is_known_and_nothing_like_them() {
    for (dialled, called) in [
        ("sip:933@c14.example", "933"),
        ("sip:9-3-3@c14.example", "933"),
        ("sip:933;phone-context=c14.example@c14.example;user=phone", "933"),
        ("tel:933", "933"),
        ("sip:110@c14.example", "110"),
        ("urn:service:sos", "911"),
        ("urn:service:sos.fire", "911"),
        ("sip:933@elsewhere.example", "933"),
    ] {
        let mut world = Virtual::office(office());
        world.dial(ADA, dialled);
        let invite = world.carrier.last.clone().unwrap_or_default();
        assert!(invite.starts_with(&format!("INVITE sip:{called}@192.0.2.1")), "{dialled}: {invite}");
    }
    for dialled in
        ["sip:1933@c14.example", "sip:9330@c14.example", "sip:011933@c14.example", "urn:service:sosx"]
    {
        let mut world = Virtual::office(office());
        world.dial(ADA, dialled);
        assert!(world.carrier.heard.is_empty(), "{dialled}");
        assert!(
            world.stations.iter().all(|news| !matches!(news, StationNews::Emergency { .. })),
            "{dialled}"
        );
    }
}

#[test]
fn no_cap_no_rule_no_drain_holds_help_back() {
    let mut snapshot =
        with_rules(office(), Dialling { countries: vec!["GB".into()], cost_classes: Vec::new(), ..rules() });
    snapshot.cluster.limits.calls_max = 0;
    let trunk = snapshot.trunks.get_mut(&carrier()).unwrap();
    (trunk.calls_max, trunk.calls_per_second_max) = (Some(0), Some(0));
    let mut world = Virtual::office(snapshot);
    world.engine.handle(world.now, Input::Drain);
    world.dial(ADA, "sip:933@c14.example");
    assert_eq!(world.carrier.heard, ["INVITE"]);
    world.carrier_says(200);
    assert_eq!(world.phone_heard(ADA), "401 200");
}

#[test]
fn neither_a_ban_nor_a_flood_holds_help_back() {
    let mut world = Virtual::office(office());
    // Somebody at the same address guesses passwords.
    let right = world.more[ADA].credentials.clone();
    world.more[ADA].credentials.as_mut().unwrap().secret = sip::digest::Secret::Password("wrong".into());
    for _ in 0..call::bans::FAILURES_MAX {
        world.dial(ADA, "sip:+12125550177@c14.example");
        world.pass(1);
    }
    assert!(
        world.stations.iter().any(|news| matches!(news, StationNews::Banned { .. })),
        "{:?}",
        world.stations
    );
    world.more[ADA].credentials = right;
    world.phone_heard(ADA);
    world.dial(ADA, "sip:+12125550177@c14.example");
    assert_eq!(world.phone_heard(ADA), "", "a banned source is not heard");
    world.dial(ADA, "sip:933@c14.example");
    world.carrier_says(200);
    world.pass(40);
    // It was answered, and its ACK was heard too: nobody ends it.
    let heard = world.phone_heard(ADA);
    assert!(heard.contains("200") && !heard.contains("BYE"), "{heard}");
    assert!(world.carrier.heard.contains(&"ACK".to_owned()), "{:?}", world.carrier.heard);

    let mut world = Virtual::office(office());
    let junk = bytes::Bytes::from_static(b"OPTIONS sip:x SIP/2.0\r\n\r\n");
    let flow = model::net::Flow {
        transport: model::net::Transport::Udp,
        listener: model::net::ListenerIx(1),
        remote: "203.0.113.1:5060".parse().unwrap(),
        connection: 0,
    };
    for _ in 0..2 * call::rates::OF_AGENTS.burst {
        world.engine.handle(world.now, Input::Packet { flow, bytes: junk.clone() });
    }
    world.settle();
    world.dial(ADA, "sip:933@c14.example");
    assert_eq!(world.carrier.heard, ["INVITE"]);
}

#[test]
fn every_trunk_that_carries_such_calls_is_tried_and_no_other() {
    for code in [403, 404, 480, 500, 503] {
        let mut world = Virtual::office(two_carriers());
        world.dial(ADA, "sip:933@c14.example");
        world.carrier_says(code);
        assert_eq!(world.pbx.heard, ["INVITE"], "{code}");
        world.answer();
        assert_eq!(world.phone_heard(ADA), "401 200");
    }
    // Never after it has rung.
    let mut world = Virtual::office(two_carriers());
    world.dial(ADA, "sip:933@c14.example");
    world.carrier_says(180);
    world.carrier_says(503);
    assert!(world.pbx.heard.is_empty());
    // One that does not say so is none, even if it is the only one.
    let mut snapshot = two_carriers();
    snapshot.trunks.get_mut(&carrier()).unwrap().emergency = false;
    let mut world = Virtual::office(snapshot);
    world.dial(ADA, "sip:933@c14.example");
    assert!(world.carrier.heard.is_empty());
    assert_eq!(world.pbx.heard, ["INVITE"]);
}

#[test]
fn without_such_a_trunk_the_caller_hears_so_and_others_are_told() {
    let mut snapshot = office();
    snapshot.trunks.get_mut(&carrier()).unwrap().emergency = false;
    let mut world = Virtual::office(snapshot);
    world.dial(ADA, "sip:933@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 183+sdp");
    assert_eq!(world.media.orders.last().unwrap(), "play(ss)");
    world.pass(3);
    assert_eq!(world.phone_heard(ADA), "503");
    assert_eq!(
        world.told,
        [
            "none of the `outboundTrunks` of acme says `emergency: Accepted`, so that nobody can be called for help"
        ]
    );
    assert!(world.because().ends_with("calls 933, and no trunk of the tenant carries calls for help"));
    assert!(
        world.stations.iter().any(|news| matches!(news, StationNews::Emergency { is_carried: false, .. }))
    );
    assert_eq!(world.nothing_is_left().because.as_deref(), Some("nobody could be called for help"));
    assert!(world.carrier.heard.is_empty() && world.pbx.heard.is_empty());
}

#[test]
fn a_place_that_the_carrier_knows_is_told_by_its_id() {
    let mut snapshot = office();
    let ada = snapshot.centre.agents.get_mut(&AgentId::new("acme", "ada")).unwrap();
    let place = Location { carrier_location_id: Some("loc-4711".into()), ..desk() };
    Arc::make_mut(ada).stations[0].emergency_location = Some(place);
    let mut world = Virtual::office(snapshot);
    world.dial(ADA, "sip:933@c14.example");
    assert_eq!(world.at_carrier("Geolocation"), "<sip:loc-4711@192.0.2.1>");
    assert_eq!(world.at_carrier("Content-Type"), "application/sdp");
}

#[test]
fn whoever_has_no_number_shows_the_tenants_or_one_of_the_trunk() {
    let mut world = Virtual::office(office());
    world.dial(BOB, "sip:933@c14.example");
    assert_eq!(world.at_carrier("P-Asserted-Identity"), "<sip:+18005550100@192.0.2.100:5060>");
    // Nobody knows where it is; help is called all the same.
    assert_eq!(world.at_carrier("Geolocation"), "");
    let mut world = Virtual::office(with_rules(office(), Dialling { default_caller_id: None, ..rules() }));
    world.dial(BOB, "sip:933@c14.example");
    assert_eq!(world.at_carrier("P-Asserted-Identity"), "<sip:+18005550100@192.0.2.100:5060>");
}

#[test]
fn who_sends_help_calls_back_and_meets_the_phone_and_no_menu() {
    let mut world = Virtual::office(office());
    for phone in [ADA, BOB, ADA_AT_HOME] {
        world.register(phone);
    }
    // Bob shows the tenant's main number, which leads to a flow.
    world.dial(BOB, "sip:933@c14.example");
    world.carrier_says(200);
    world.hangs_up(BOB);
    world.phone_heard(BOB);
    world.pass(60);
    world.carrier.heard.clear();
    world.call("+18005550100");
    assert_eq!(world.phone_heard(BOB), "INVITE");
    world.other_says(BOB, 200);
    assert_eq!(world.heard(), "200");
    assert_eq!(
        world.because(),
        "→ desk of Agent acme/bob calls station desk of Agent acme/bob, which called for help a while ago"
    );
    world.hangs_up(BOB);
    // A number that no PhoneNumber declares is called back too.
    world.dial(ADA, "sip:933@c14.example");
    world.carrier_says(200);
    world.hangs_up(ADA);
    world.phone_heard(ADA);
    world.call("+18005550101");
    assert_eq!(world.phone_heard(ADA), "INVITE");
    world.other_says(ADA, 486);
    assert_eq!(world.phone_heard(ADA_AT_HOME), "INVITE", "the agent's other phone");
    // Later the number leads where it always does.
    world.pass(CALLBACK.as_secs());
    world.carrier.heard.clear();
    world.phone_heard(BOB);
    world.call("+18005550100");
    assert_eq!((world.heard().as_str(), world.phone_heard(BOB).as_str()), ("200", ""));
}

#[test]
fn a_caller_by_another_trunk_is_no_callback() {
    let mut world = Virtual::office(office());
    world.register(BOB);
    world.dial(BOB, "sip:933@c14.example");
    world.carrier_says(200);
    world.hangs_up(BOB);
    world.phone_heard(BOB);
    let mut next = (*world.engine.world().snapshot).clone();
    next.trunks.get_mut(&carrier()).unwrap().emergency = false;
    world.engine.apply(next.into()).unwrap();
    world.call("+18005550100");
    assert_eq!(world.phone_heard(BOB), "");
}

#[test]
fn no_want_of_keys_holds_a_call_for_help_up() {
    // What the trunk says of keys in the clear, and what it is offered: first, and once it has refused that.
    for (insecure_keys, first, then) in [(false, "RTP/AVP", None), (true, "RTP/SAVP", Some("RTP/AVP"))] {
        let mut snapshot = office();
        let trunk = snapshot.trunks.get_mut(&carrier()).unwrap();
        (trunk.srtp, trunk.insecure_keys) = (model::trunk::SrtpUse::Required, insecure_keys);
        let mut world = Virtual::office(snapshot);
        world.dial(ADA, "sip:933@c14.example");
        let offered = |world: &Virtual| {
            String::from_utf8_lossy(world.carrier.offer.as_ref().expect("an offer")).into_owned()
        };
        assert!(offered(&world).contains(&format!(" {first} ")), "{}", offered(&world));
        if let Some(then) = then {
            world.carrier_says(488);
            assert!(offered(&world).contains(&format!(" {then} ")), "{}", offered(&world));
        }
        world.carrier_says(200);
        assert_eq!(world.media.orders.last().unwrap(), "bridge");
    }
}
