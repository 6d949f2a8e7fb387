//! What goes on beside calls: probes, registrations, challenges both ways.

use jiff::ToSpan;
use model::{
    Key, TrunkId,
    centre::SecretKey,
    secrets::Secrets,
    snapshot::{Peer, Snapshot, Trunk},
    trunk::{Health, Proxy, Register, TrunkDigest},
};
use sip::{
    digest::{Algorithm, Challenge, Credentials, Secret},
    endpoint::Header,
};

use crate::{
    twin::{Phone, Virtual},
    world::{dial, flow, hangup, play, snapshot},
};

fn pbx(snapshot: &mut Snapshot) -> &mut Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("acme", "pbx")).unwrap()
}

fn ringing(change: impl FnOnce(&mut Trunk)) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "b")], Vec::new())].into();
    change(pbx(&mut snapshot));
    snapshot
}

fn digest(challenge: bool) -> Option<TrunkDigest> {
    let secret = SecretKey { name: "pbx".into(), key: "password".into() };
    Some(TrunkDigest { username: "switch".into(), secret, realm: None, challenge })
}

fn secrets(password: &str) -> Secrets {
    let entry =
        |namespace| ((Key::new(namespace, "pbx"), "password".to_owned()), password.as_bytes().to_vec());
    ["acme", "platform"].into_iter().map(entry).collect()
}

fn told_secrets(world: &mut Virtual, password: &str) {
    world.engine.handle(world.now, call::engine::Input::Secrets(secrets(password)));
    world.settle();
}

fn credentials(username: &str, password: &str) -> Credentials {
    let secret = Secret::Password(password.into());
    Credentials { username: username.into(), secret, least: Algorithm::Md5 }
}

#[test]
fn a_peer_that_answers_no_probe_comes_last_until_it_answers_again() {
    let snapshot = ringing(|trunk| {
        trunk.health = Some(Health { period_seconds: 10, timeout_seconds: 2, failures: 3 });
        let second =
            Peer { name: "two".into(), host: "192.0.2.12".into(), priority: 1, ..trunk.peers[0].clone() };
        trunk.peers.push(second);
    });
    let mut world = Virtual::with(snapshot);
    world.more.push(Phone::new("192.0.2.12:5060", 3));
    world.holds = Some("192.0.2.2:5060".parse().unwrap());
    world.pass(60);
    let down = "peer `one` of Trunk acme/pbx (UDP 192.0.2.2:5060) is down: it gave no answer in time";
    assert_eq!(world.news, [down]);
    world.call("+18005550100");
    assert_eq!(world.more[0].heard, ["INVITE"]);
    assert!(
        world.told[0]
            .starts_with("peer `one` of Trunk acme/pbx (UDP 192.0.2.2:5060) is down since 2026-11-23")
    );
    // The last resort.
    world.other_says(0, 503);
    world.held.clear();
    world.holds = None;
    world.pass(1);
    assert_eq!(world.pbx.heard, ["INVITE"]);
    world.pbx_says(486);
    world.pass(40);
    assert_eq!(
        world.news[1],
        "peer `one` of Trunk acme/pbx (UDP 192.0.2.2:5060) is up again: it answered 200"
    );
    world.call("+18005550100");
    assert_eq!(world.pbx.heard.iter().filter(|word| *word == "INVITE").count(), 2);
}

#[test]
fn a_peer_that_drains_is_passed_over() {
    let snapshot =
        ringing(|trunk| trunk.health = Some(Health { period_seconds: 10, timeout_seconds: 2, failures: 1 }));
    let mut world = Virtual::with(snapshot);
    world.pbx.endpoint.set_draining(true);
    world.pass(11);
    assert_eq!(world.news, ["peer `one` of Trunk acme/pbx (UDP 192.0.2.2:5060) is down: it answered 503"]);
    let peers: Vec<bool> = world.engine.peers().map(|(_, down)| down.is_some()).collect();
    assert_eq!(peers, [true]);
}

fn registering() -> Virtual {
    let snapshot = ringing(|trunk| {
        let host = "192.0.2.12".into();
        trunk.register = Some(Register { host, port: None, user: "acme".into(), expires_seconds: 600 });
        trunk.digest = digest(false);
    });
    let mut world = Virtual::with(snapshot);
    world.more.push(Phone::new("192.0.2.12:5060", 3));
    told_secrets(&mut world, "hush");
    // The first copy went out before there was a registrar.
    world.pass(1);
    world
}

fn challenge() -> Header {
    let challenge = Challenge {
        realm: "example.net".into(),
        nonce: "n1".into(),
        opaque: None,
        algorithm: Algorithm::Sha256,
        qop: true,
        stale: false,
    };
    Header::new("WWW-Authenticate", challenge.to_value())
}

fn registrar_says(world: &mut Virtual, code: u16, headers: &[Header]) {
    world.more[0].respond(world.now.instant, code, headers);
    world.settle();
}

#[test]
fn a_trunk_registers_answers_the_challenge_and_sends_its_calls_where_the_registrar_wants_them() {
    let mut world = registering();
    let first = world.more[0].last.clone().unwrap();
    for part in [
        "REGISTER sip:192.0.2.12 SIP/2.0\r\n",
        "To: <sip:acme@192.0.2.12>\r\n",
        "Contact: <sip:acme@192.0.2.100:5060>;expires=600\r\n",
    ] {
        assert!(first.contains(part), "{first}");
    }
    registrar_says(&mut world, 401, &[challenge()]);
    let second = world.more[0].last.clone().unwrap();
    assert!(second.contains("Authorization: Digest username=\"switch\", realm=\"example.net\""), "{second}");
    assert!(!second.contains("hush"));
    let granted = [
        Header::new("Contact", "<sip:acme@192.0.2.9>;expires=5000, <sip:acme@192.0.2.100:5060>;expires=100"),
        Header::new("Service-Route", "<sip:proxy.example.net;lr>"),
    ];
    registrar_says(&mut world, 200, &granted);
    assert_eq!(world.news, ["Trunk acme/pbx is registered for 100 s"]);
    world.call("+18005550100");
    let invite = world.more[0].last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:201@192.0.2.2 SIP/2.0\r\n"), "{invite}");
    assert!(invite.contains("Route: <sip:proxy.example.net;lr>\r\n"), "{invite}");
    world.pass(91);
    assert_eq!(world.more[0].heard.iter().filter(|word| *word == "REGISTER").count(), 3);
    let refresh = world.more[0].last.clone().unwrap();
    assert!(refresh.contains("REGISTER"), "{refresh}");
}

#[test]
fn draining_takes_the_registration_back() {
    let mut world = registering();
    registrar_says(&mut world, 200, &[]);
    world.engine.handle(world.now, call::engine::Input::Drain);
    world.settle();
    let last = world.more[0].last.clone().unwrap();
    assert!(last.contains("Contact: <sip:acme@192.0.2.100:5060>;expires=0\r\n"), "{last}");
    assert!(world.engine.registrations().all(|(_, standing)| standing.since.is_none()));
}

#[test]
fn a_refused_registration_is_told_and_tried_again_later() {
    let mut world = registering();
    registrar_says(&mut world, 403, &[]);
    assert_eq!(world.news, ["Trunk acme/pbx is refused with 403"]);
    world.pass(29);
    assert_eq!(world.more[0].heard, ["REGISTER"]);
    world.pass(31);
    assert_eq!(world.more[0].heard, ["REGISTER", "REGISTER"]);
    registrar_says(&mut world, 423, &[Header::new("Min-Expires", "1800")]);
    assert!(world.more[0].last.as_ref().unwrap().contains("Expires: 1800\r\n"));
}

#[test]
fn calls_that_leave_answer_a_challenge() {
    let mut world = Virtual::with(ringing(|trunk| trunk.digest = digest(false)));
    told_secrets(&mut world, "hush");
    world.call("+18005550100");
    let leg = world.pbx.leg();
    let proxy = Header::new("Proxy-Authenticate", challenge().value);
    world.pbx.endpoint.reject(world.now.instant, leg, 407, None, &[proxy]).unwrap();
    world.settle();
    let again = world.pbx.last.clone().unwrap();
    assert!(again.contains("Proxy-Authorization: Digest username=\"switch\""), "{again}");
    world.answer();
    assert_eq!(world.heard(), "200");
}

#[test]
fn a_challenge_that_cannot_be_answered_is_a_fault_of_ours_and_told() {
    for (secret, digested, because) in [
        (false, digest(false), "key `password` of Secret acme/pbx is not at hand"),
        (
            true,
            digest(false).map(|d| TrunkDigest { realm: Some("other".into()), ..d }),
            "(realm `example.net`)",
        ),
    ] {
        let mut snapshot = ringing(|trunk| trunk.digest = digested);
        let model::program::Verb::Dial(mut ring) = dial("ring", [0, 0, 0, 0]).verb else { unreachable!() };
        ring.relay_failure = true;
        let steps =
            vec![model::program::Step { name: "ring".into(), verb: model::program::Verb::Dial(ring) }];
        snapshot.flows = [flow("main", steps, Vec::new())].into();
        let mut world = Virtual::with(snapshot);
        if secret {
            told_secrets(&mut world, "hush");
        }
        world.call("+18005550100");
        let leg = world.pbx.leg();
        world.pbx.endpoint.reject(world.now.instant, leg, 401, None, &[challenge()]).unwrap();
        world.settle();
        assert_eq!(world.heard(), "500");
        assert!(world.news[0].contains(because), "{:?}", world.news);
    }
}

fn challenging() -> Virtual {
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", vec![play("hello", "h", 1), hangup("bye", "")], Vec::new())].into();
    let carrier = snapshot.trunks.get_mut(&TrunkId::new("platform", "carrier")).unwrap();
    carrier.digest = digest(true);
    Virtual::with(snapshot)
}

#[test]
fn a_trunk_that_must_prove_itself_is_challenged_and_then_admitted() {
    let mut world = challenging();
    told_secrets(&mut world, "hush");
    world.carrier.credentials = Some(credentials("switch", "hush"));
    world.call("+18005550100");
    assert_eq!(world.heard(), "401 200");
    let told: Vec<String> = world.explanations.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("no answer came yet; the challenge was sent"), "{}", told[0]);
    assert!(told[1].contains("→ RoutingFlow acme/main"), "{}", told[1]);
}

/// RFC 8760 §2.3: strongest first; and a wrong name gets what a wrong password gets.
#[test]
fn whoever_cannot_prove_it_learns_nothing() {
    let mut heard = Vec::new();
    for (username, password) in [("switch", "wrong"), ("nobody", "hush")] {
        let mut world = challenging();
        told_secrets(&mut world, "hush");
        world.carrier.credentials = Some(credentials(username, password));
        world.call("+18005550100");
        assert_eq!(world.heard(), "401 401 401");
        let last = world.carrier.last.clone().unwrap();
        let challenges: Vec<&str> =
            last.lines().filter(|line| line.starts_with("WWW-Authenticate")).collect();
        assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"), "{challenges:?}");
        assert!(!last.contains("stale"), "{last}");
        let words: Vec<String> = last
            .lines()
            .filter(|l| {
                !l.contains("nonce") && !l.contains("branch") && !l.contains("tag") && !l.contains("Call-ID")
            })
            .map(str::to_owned)
            .collect();
        heard.push(words);
        assert!(world.engine.calls() == 0);
    }
    assert_eq!(heard[0], heard[1]);
}

#[test]
fn an_answer_to_an_old_challenge_is_asked_for_anew() {
    let mut world = challenging();
    told_secrets(&mut world, "hush");
    world.carrier.credentials = Some(credentials("switch", "hush"));
    // The answer is under way while the nonce grows old.
    world.holds = Some(world.carrier.address);
    world.call("+18005550100");
    world.now.wall += 40.seconds();
    world.let_go();
    assert_eq!(world.heard(), "401 401 200");
}

#[test]
fn without_the_secret_nobody_is_admitted() {
    let mut world = challenging();
    world.call("+18005550100");
    assert_eq!(world.heard(), "500");
    let told = world.explanations[0].to_string();
    assert!(told.contains("key `password` of Secret platform/pbx is not at hand"), "{told}");
}

#[test]
fn calls_probes_and_registrations_of_a_trunk_go_through_its_proxy() {
    let snapshot = ringing(|trunk| {
        let host = "192.0.2.12".into();
        trunk.register = Some(Register { host, port: None, user: "acme".into(), expires_seconds: 600 });
        trunk.health = Some(Health { period_seconds: 10, timeout_seconds: 2, failures: 1 });
        trunk.outbound_proxy = Some(Proxy { host: "192.0.2.12".into(), port: Some(5060) });
    });
    let mut world = Virtual::with(snapshot);
    world.more.push(Phone::new("192.0.2.12:5060", 3));
    let route = "Route: <sip:192.0.2.12:5060;lr>\r\n";
    world.pass(1);
    let register = world.more[0].last.clone().unwrap();
    assert!(
        register.starts_with("REGISTER sip:192.0.2.12 SIP/2.0\r\n") && register.contains(route),
        "{register}"
    );
    let granted = [
        Header::new("Contact", "<sip:acme@192.0.2.100:5060>;expires=600"),
        Header::new("Service-Route", "<sip:home.example.net;lr>"),
    ];
    registrar_says(&mut world, 200, &granted);
    world.pass(12);
    let options = world.more[0].last.clone().unwrap();
    assert!(options.starts_with("OPTIONS sip:192.0.2.2 SIP/2.0\r\n") && options.contains(route), "{options}");
    world.call("+18005550100");
    let invite = world.more[0].last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:201@192.0.2.2 SIP/2.0\r\n"), "{invite}");
    // The proxy first, then the way that the registrar wants.
    assert!(invite.contains(&format!("{route}Route: <sip:home.example.net;lr>\r\n")), "{invite}");
    assert!(world.pbx.heard.is_empty(), "{:?}", world.pbx.heard);
}

#[test]
fn calls_go_where_the_host_of_a_service_route_is_found() {
    let mut world = registering();
    world.more.push(Phone::new("192.0.2.14:5070", 4));
    let granted = [
        Header::new("Contact", "<sip:acme@192.0.2.100:5060>;expires=600"),
        Header::new("Service-Route", "<sip:proxy.example.net:5070;lr>"),
    ];
    registrar_says(&mut world, 200, &granted);
    let asked: Vec<_> = world.engine.routes().into_iter().collect();
    assert_eq!((asked[0].host.as_str(), asked[0].port), ("proxy.example.net", Some(5070)));
    let target = call::locate::Target {
        priority: 0,
        weight: 0,
        transport: model::net::Transport::Udp,
        addresses: vec!["192.0.2.14:5070".parse().unwrap()],
    };
    let located =
        call::locate::Located { targets: vec![target], good_for: std::time::Duration::from_secs(60) };
    let names = [(asked[0].clone(), located)].into();
    world.engine.handle(world.now, call::engine::Input::Names(names));
    world.settle();
    world.call("+18005550100");
    let invite = world.more[1].last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:201@192.0.2.2 SIP/2.0\r\n"), "{invite}");
    assert!(invite.contains("Route: <sip:proxy.example.net:5070;lr>\r\n"), "{invite}");
    // It is heard as well.
    assert_eq!(world.strangers, 0);
}

#[test]
fn a_flood_in_a_carriers_name_is_cut_and_neither_bans_the_carrier_nor_touches_another() {
    let mut snapshot = ringing(|_| {});
    let carrier = snapshot.trunks.get_mut(&TrunkId::new("platform", "carrier")).unwrap();
    carrier.calls_per_second_max = Some(10);
    let mut world = Virtual::with(snapshot);
    let flood = |world: &mut Virtual, from: &str| {
        let flow = model::net::Flow {
            transport: model::net::Transport::Udp,
            listener: model::net::ListenerIx(0),
            remote: from.parse().unwrap(),
            connection: 0,
        };
        let bytes = bytes::Bytes::from_static(b"OPTIONS sip:x SIP/2.0\r\n");
        world.engine.handle(world.now, call::engine::Input::Packet { flow, bytes });
        let mut is_heard = false;
        while let Some(output) = world.engine.poll() {
            is_heard |= matches!(output, call::engine::Output::Heard { .. });
        }
        is_heard
    };
    let heard = (0..10_000).filter(|_| flood(&mut world, "192.0.2.1:666")).count();
    assert_eq!(heard, 2_000);
    assert!(flood(&mut world, "192.0.2.2:5060"));
    world.pass(1);
    world.call("+18005550100");
    assert_eq!(world.strangers, 0);
    assert_eq!(world.engine.calls(), 1);
}
