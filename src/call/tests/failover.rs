//! Which peer is tried next, and when none may be.

use model::{
    TrunkId,
    program::{DialStrategy, DialTarget, Step, Verb},
    snapshot::{Peer, Snapshot, Trunk},
};

use crate::{
    twin::{Phone, Virtual},
    world::{dial, flow, hangup, snapshot},
};

const SECOND: &str = "192.0.2.12:5060";

fn pbx(snapshot: &mut Snapshot) -> &mut Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("acme", "pbx")).unwrap()
}

/// A PBX with a second gateway that comes after the first.
fn two_gateways(steps: Vec<Step>) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    let trunk = pbx(&mut snapshot);
    let second =
        Peer { name: "two".into(), host: "192.0.2.12".into(), priority: 1, ..trunk.peers[0].clone() };
    trunk.peers.push(second);
    snapshot
}

fn ringing() -> Vec<Step> {
    vec![dial("ring", [1, 2, 3, 4]), hangup("e", "e"), hangup("b", "b"), hangup("n", "n"), hangup("f", "f")]
}

fn world(snapshot: Snapshot) -> Virtual {
    let mut world = Virtual::with(snapshot);
    world.more.push(Phone::new(SECOND, 3));
    world
}

/// What the first gateway says, and whether the second one is tried.
#[test]
fn the_second_gateway_is_tried_upon_the_trunks_codes_alone() {
    let usual: &[u16] = &[408, 500, 502, 503, 504];
    for (codes, said, tried) in [
        (usual, &[503][..], true),
        (usual, &[500], true),
        (usual, &[501], false),
        (usual, &[404], false),
        (usual, &[486], false),
        (usual, &[603], false),
        (usual, &[183, 503], false),
        (usual, &[180, 500], false),
        (&[404], &[404], true),
        (&[404], &[503], false),
        (&[486, 603], &[486], false),
        (&[486, 603], &[603], false),
    ] {
        let mut snapshot = two_gateways(ringing());
        pbx(&mut snapshot).failover_codes = codes.to_vec();
        let mut world = world(snapshot);
        world.call("+18005550100");
        for code in said {
            world.pbx_says(*code);
        }
        assert_eq!(world.more[0].heard == ["INVITE"], tried, "{codes:?} {said:?}");
        let words =
            format!("peer `one` of Trunk acme/pbx (UDP 192.0.2.2:5060) answered {}", said.last().unwrap());
        assert_eq!(world.told, [words], "{codes:?} {said:?}");
    }
}

#[test]
fn a_silent_gateway_is_cancelled_before_the_next_one_is_tried() {
    let mut world = world(two_gateways(ringing()));
    world.call("+18005550100");
    // It has said that it is at work.
    world.pass(11);
    assert_eq!((world.pbx.heard.join(" "), world.more[0].heard.join(" ")), ("INVITE".into(), String::new()));
    world.pass(2);
    assert_eq!(world.pbx.heard.join(" "), "INVITE CANCEL");
    world.other_says(0, 200);
    assert_eq!((world.heard().as_str(), world.more[0].heard.join(" ").as_str()), ("200", "INVITE ACK"));
    assert_eq!(world.told, ["peer `one` of Trunk acme/pbx (UDP 192.0.2.2:5060) stayed silent for 12 s"]);
}

/// The answer and our CANCEL cross: two callees must never talk at once.
#[test]
fn a_gateway_that_answers_a_cancelled_try_is_hung_up_before_the_next_one_is_tried() {
    let mut world = world(two_gateways(ringing()));
    world.call("+18005550100");
    let first = world.pbx.leg();
    world.holds = Some("192.0.2.2:5060".parse().unwrap());
    world.pass(12);
    assert!(world.more[0].heard.is_empty(), "the end of the first try is awaited");
    let (answer, _) = sip::sdp::answer(world.pbx.offer.as_ref().unwrap(), &world.pbx.media()).unwrap();
    world.pbx.endpoint.accept(world.now.instant, first, answer, &[]).unwrap();
    world.settle();
    assert_eq!(world.more[0].heard.join(" "), "INVITE");
    world.let_go();
    assert_eq!(world.pbx.heard.join(" "), "INVITE ACK BYE");
    world.other_says(0, 200);
    assert_eq!(world.heard(), "200");
}

#[test]
fn a_gateway_that_never_ends_a_cancelled_try_is_not_waited_for_for_ever() {
    let mut snapshot = two_gateways(ringing());
    pbx(&mut snapshot).peers[0].host = "192.0.2.77".into();
    let mut world = world(snapshot);
    world.call("+18005550100");
    world.pass(5);
    assert!(world.more[0].heard.is_empty());
    world.pass(2);
    assert_eq!(world.more[0].heard.join(" "), "INVITE");
    world.other_says(0, 486);
    assert_eq!(world.media.orders.last().unwrap(), "play(b)");
}

#[test]
fn the_next_target_rings_once_the_one_before_has_stopped() {
    let mut steps = ringing();
    let Verb::Dial(ring) = &mut steps[0].verb else { unreachable!() };
    ring.strategy = DialStrategy::InOrder;
    ring.targets.push(DialTarget::Extension { user: "202".into(), trunk: TrunkId::new("platform", "voip") });
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    let mut world = Virtual::with(snapshot);
    world.more.push(Phone::new("192.0.2.3:5060", 3));
    world.call("+18005550100");
    world.pbx_says(180);
    world.pass(20);
    assert_eq!(
        (world.pbx.heard.join(" ").as_str(), world.more[0].heard.join(" ").as_str()),
        ("INVITE CANCEL", "INVITE")
    );
}

#[test]
fn what_lies_behind_us_being_full_shuts_nobody_off() {
    let mut steps = vec![dial("ring", [0, 0, 0, 0])];
    let Verb::Dial(ring) = &mut steps[0].verb else { unreachable!() };
    ring.relay_failure = true;
    let mut world = world(two_gateways(steps));
    world.call("+18005550100");
    world.pbx_says(503);
    world.other_says(0, 503);
    assert_eq!(world.heard(), "480");
    let refused = world.carrier.last.as_ref().unwrap();
    assert!(refused.contains("Reason: Q.850;cause=42") && !refused.contains("Retry-After"), "{refused}");
}

#[test]
fn equal_gateways_share_the_calls_by_weight() {
    let mut snapshot = two_gateways(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    for (peer, weight) in pbx(&mut snapshot).peers.iter_mut().zip([30, 10]) {
        (peer.priority, peer.weight) = (0, weight);
    }
    let mut world = world(snapshot);
    for _ in 0..200 {
        world.call("+18005550100");
        let (pbx, other) = (world.pbx.leg.take(), world.more[0].leg.take());
        let (phone, leg) = match pbx {
            Some(leg) => (&mut world.pbx, leg),
            None => (&mut world.more[0], other.unwrap()),
        };
        phone.endpoint.reject(world.now.instant, leg, 486, None, &[]).unwrap();
        world.settle();
        world.pass(40);
    }
    let first = world.pbx.heard.iter().filter(|word| *word == "INVITE").count();
    assert!((125..=175).contains(&first), "{first} of 200");
}

#[test]
fn a_redirection_is_followed_to_peers_of_the_trunk_alone() {
    type Says = &'static str;
    let rows: [(Says, bool, Says); 6] = [
        ("<sip:299@192.0.2.12>", true, "answered 302"),
        ("<sip:299@192.0.2.12:5060;user=phone>;q=1", true, "answered 302"),
        ("<sip:299@192.0.2.12:5070>", false, "redirected the call (302), and to no other peer of that Trunk"),
        ("<sip:299@198.51.100.9>", false, "redirected the call (302), and to no other peer of that Trunk"),
        // Back to itself.
        ("<sip:201@192.0.2.2>", false, "redirected the call (302), and to no other peer of that Trunk"),
        ("<tel:+12125550177>", false, "redirected the call (302), and to no other peer of that Trunk"),
    ];
    for (contact, followed, told) in rows {
        let mut world = world(two_gateways(ringing()));
        world.call("+18005550100");
        let leg = world.pbx.leg();
        let contact = sip::endpoint::Header::new("Contact", contact);
        world.pbx.endpoint.reject(world.now.instant, leg, 302, None, std::slice::from_ref(&contact)).unwrap();
        world.settle();
        let second = world.more[0].heard.join(" ");
        assert_eq!(second, if followed { "INVITE" } else { "" }, "{contact:?}");
        assert!(world.told[0].ends_with(told), "{:?}", world.told);
        if followed {
            assert!(world.more[0].last.as_ref().unwrap().starts_with("INVITE sip:299@192.0.2.12"));
            world.other_says(0, 200);
            assert_eq!(world.heard(), "200");
        } else {
            assert_eq!(world.media.orders.last().unwrap(), "play(f)");
        }
    }
}

#[test]
fn gateways_that_redirect_to_each_other_are_followed_a_few_times() {
    let mut world = world(two_gateways(ringing()));
    world.call("+18005550100");
    for _ in 0..10 {
        for (from, to) in [(None, "<sip:1@192.0.2.12>"), (Some(0), "<sip:1@192.0.2.2>")] {
            let phone = match from {
                None => &mut world.pbx,
                Some(which) => &mut world.more[which],
            };
            let Some(leg) = phone.leg.take() else { continue };
            let contact = sip::endpoint::Header::new("Contact", to);
            phone.endpoint.reject(world.now.instant, leg, 302, None, &[contact]).unwrap();
            world.settle();
        }
    }
    assert_eq!(world.media.orders.last().unwrap(), "play(f)");
    assert!(world.told.last().unwrap().contains("answered 302"), "{:?}", world.told);
    assert!(world.told.iter().any(|told| told.contains("more often than is followed")), "{:?}", world.told);
}
