//! What agents' phones dial, and what becomes of it.

use std::sync::Arc;

use model::{Key, TenantId, TrunkId, centre::Dialling};

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB, office, rules},
    twin::Virtual,
};

fn with_rules(rules: Dialling) -> Virtual {
    let mut snapshot = office();
    snapshot.centre.dialling.insert(TenantId(Key::new("acme", "acme")), Arc::new(rules));
    Virtual::office(snapshot)
}

#[test]
fn a_phone_calls_a_number_by_the_tenants_trunk_and_talks() {
    let mut world = Virtual::office(office());
    world.dial(ADA, "sip:2125550177@c14.example");
    assert_eq!(world.carrier.heard, ["INVITE"]);
    let invite = world.carrier.last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:+12125550177@192.0.2.1"), "{invite}");
    assert_eq!(world.at_carrier("P-Asserted-Identity"), "<sip:+18005550101@192.0.2.100:5060>");
    assert!(world.at_carrier("From").starts_with("<sip:+18005550101@192.0.2.100:5060>"));
    world.carrier_says(180);
    world.carrier_says(200);
    assert_eq!(world.phone_heard(ADA), "401 180 200");
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    world.hangs_up(ADA);
    let record = world.nothing_is_left();
    assert_eq!(record.from, "+18005550101");
    assert_eq!((record.to.as_str(), record.sip_code), ("2125550177", 200));
    assert_eq!(record.station.as_ref().unwrap().to_string(), "desk of Agent acme/ada");
    assert!(record.answered_at.is_some() && record.trunk.is_none() && record.flow.is_none());
    assert_eq!(world.because(), "→ desk of Agent acme/ada calls +12125550177");
}

#[test]
fn a_phone_hears_what_its_callee_answers() {
    for (code, heard) in
        [(486, "401 180 486"), (404, "401 180 404"), (603, "401 180 603"), (503, "401 180 480")]
    {
        let mut world = Virtual::office(office());
        world.dial(ADA, "sip:+12125550177@c14.example");
        world.carrier_says(180);
        world.carrier_says(code);
        assert_eq!(world.phone_heard(ADA), heard);
        assert_eq!(world.nothing_is_left().answered_at, None);
    }
}

#[test]
fn a_phone_hears_the_announcement_of_the_network_it_calls() {
    let mut world = Virtual::office(office());
    world.dial(ADA, "sip:+12125550177@c14.example");
    let (leg, offer) = (world.carrier.leg(), world.carrier.offer.clone().unwrap());
    let (answer, _) = sip::sdp::answer(&offer, &world.carrier.media()).unwrap();
    world.carrier.endpoint.provisional(world.now.instant, leg, 183, Some(answer), &[]).unwrap();
    world.settle();
    assert_eq!(world.phone_heard(ADA), "401 183+sdp");
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    world.carrier_says(404);
    assert_eq!(world.phone_heard(ADA), "404");
    assert_eq!(world.nothing_is_left().answered_at, None);
}

#[test]
fn what_may_not_be_dialled_is_refused_with_the_rule() {
    for (dialled, code, because) in [
        ("sip:+442079460000@c14.example", 403, "`dialling.countries` of acme are CA, US."),
        ("sip:011442079460000@c14.example", 403, "`dialling.countries` of acme are CA, US."),
        (
            "sip:+19005550100@c14.example",
            403,
            "+19005550100 is a Premium number, and the `dialling.costClasses` of acme are Free, Normal.",
        ),
        ("sip:+881612345678@c14.example", 403, "a Satellite number"),
        ("sip:nobody@c14.example", 404, "`nobody` is neither a number nor a station or Agent of acme."),
        ("sip:5550100@c14.example", 484, "has not as many digits"),
        ("sip:c14.example", 484, "no user part"),
        ("sip:+12125550177@example.org", 404, "`example.org` is no domain of this VoiceCluster"),
        ("sip:bob-desk@example.org", 404, "`example.org` is no domain"),
        ("sip:ada-desk@c14.example", 486, "calls itself"),
    ] {
        let mut world = Virtual::office(office());
        world.dial(ADA, dialled);
        assert_eq!(world.phone_heard(ADA), format!("401 {code}"), "{dialled}");
        assert!(world.because().contains(because), "{dialled}: {}", world.because());
        let answer = world.more[ADA].last.clone().unwrap();
        assert!(answer.contains("Warning: 399 c14.example"), "{answer}");
        assert!(world.carrier.heard.is_empty() && world.calls_are_none(), "{dialled}");
    }
}

#[test]
fn other_rules_admit_other_numbers() {
    use model::numbering::CostClass::{Free, Normal, Premium, Satellite};
    let world_wide = Dialling {
        countries: vec!["GB".into(), "US".into()],
        cost_classes: vec![Free, Normal, Premium, Satellite],
        ..rules()
    };
    for dialled in ["+442079460000", "+19005550100", "+881612345678", "+449098790000"] {
        let mut world = with_rules(world_wide.clone());
        world.dial(ADA, &format!("sip:{dialled}@c14.example"));
        assert_eq!(world.carrier.heard, ["INVITE"], "{dialled}");
    }
}

#[test]
fn without_trunks_nothing_is_dialled_by_any() {
    let mut world = with_rules(Dialling { trunks: Vec::new(), ..rules() });
    world.dial(ADA, "sip:+12125550177@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 403");
    assert!(world.because().contains("the Tenant of acme has no `outboundTrunks`"), "{}", world.because());
    assert!(world.carrier.heard.is_empty());
}

#[test]
fn a_full_trunk_takes_no_call_of_a_phone_either() {
    let mut snapshot = office();
    snapshot.trunks.get_mut(&TrunkId::new("platform", "carrier")).unwrap().calls_max = Some(0);
    let mut world = Virtual::office(snapshot);
    world.dial(ADA, "sip:+12125550177@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 480");
    assert_eq!(world.told, ["Trunk platform/carrier's limits.calls of 0 is reached"]);
}

#[test]
fn a_full_cluster_takes_no_call_of_a_phone_either() {
    let mut snapshot = office();
    snapshot.cluster.limits.calls_max = 0;
    let mut world = Virtual::office(snapshot);
    world.dial(ADA, "sip:+12125550177@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 503");
}

#[test]
fn a_number_of_the_tenants_own_goes_straight_into_its_flow() {
    let mut world = Virtual::office(office());
    world.dial(ADA, "sip:8005550100@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 200");
    assert!(world.media.orders.contains(&"play(b)".to_owned()), "{:?}", world.media.orders);
    world.pass(3);
    let record = world.nothing_is_left();
    assert_eq!(record.path, ["bye: hangup"]);
    assert_eq!(record.flow.as_ref().unwrap().to_string(), "acme/main");
    assert!(world.carrier.heard.is_empty());
}

#[test]
fn a_phone_calls_a_colleague_by_station_or_by_name() {
    for uri in ["sip:bob-desk@c14.example", "sip:bob@c14.example"] {
        let mut world = Virtual::office(office());
        world.register(BOB);
        world.dial(ADA, uri);
        let invite = world.more[BOB].last.clone().unwrap();
        assert!(invite.starts_with("INVITE sip:bob-desk@203.0.113.2:5060 SIP/2.0"), "{invite}");
        assert!(invite.contains("From: \"Ada\" <sip:ada-desk@c14.example>"), "{invite}");
        world.other_says(BOB, 180);
        world.other_says(BOB, 200);
        assert_eq!(world.phone_heard(ADA), "401 180 200");
        world.hangs_up(BOB);
        assert_eq!(world.phone_heard(ADA), "BYE");
        assert_eq!(world.nothing_is_left().sip_code, 200);
    }
}

#[test]
fn a_colleague_whose_phone_is_off_is_away() {
    let mut world = Virtual::office(office());
    world.dial(ADA, "sip:bob-desk@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 480");
    assert_eq!(world.told, ["station desk of Agent acme/bob is not registered"]);
}

#[test]
fn who_knows_no_password_dials_nothing() {
    let mut world = Virtual::office(office());
    let wrong = sip::digest::Secret::Password("wrong".into());
    world.more[ADA_AT_HOME].credentials.as_mut().unwrap().secret = wrong;
    world.dial(ADA_AT_HOME, "sip:+12125550177@c14.example");
    assert!(world.phone_heard(ADA_AT_HOME).starts_with("401 401"));
    assert!(world.carrier.heard.is_empty());
}

#[test]
fn a_drain_takes_no_new_call_of_a_phone() {
    let mut world = Virtual::office(office());
    world.engine.handle(world.now, call::engine::Input::Drain);
    world.dial(ADA, "sip:+12125550177@c14.example");
    assert_eq!(world.phone_heard(ADA), "401 503");
}
