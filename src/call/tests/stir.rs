//! Calls that are signed before they leave, and those that are verified before they come in.

use call::{
    engine::{Input, SIGN_WAIT, VERIFY_WAIT},
    record::Record,
};
use model::{
    TrunkId,
    centre::SecretKey,
    net::Transport,
    program::{DialTarget, Verb},
    snapshot::{Listener, Snapshot},
    trunk::{Attestation, CallerIdPolicy, StirSign, StirVerify},
};
use sip::endpoint::Header;
use stir::{Fault, Verstat, claim::Claim, identity, passport::Party};

use crate::{
    identity::{calling_out, sent, trunk},
    twin::Virtual,
    world::{branch, dial, flow, hangup, reject, snapshot},
};

const URL: &str = "https://certificates.example.net/c14.pem";

fn secret(name: &str) -> SecretKey {
    SecretKey { name: name.into(), key: "pem".into() }
}

fn signs(snapshot: &mut Snapshot) {
    trunk(snapshot, "voip").stir.sign = Some(StirSign {
        key: secret("key"),
        certificate: secret("certificate"),
        certificate_url: URL.into(),
        maximum_attestation: Attestation::A,
        origin_id: None,
    });
}

fn verifies(required: bool) -> Virtual {
    let mut snapshot = snapshot();
    let steps = vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "b")];
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    let verify = StirVerify { required, anchors: secret("anchors"), ca: None };
    trunk(&mut snapshot, "carrier").stir.verify = Some(verify);
    Virtual::with(snapshot)
}

/// What the carrier signs of a call of +12125550199 to +18005550100.
fn carriers(world: &Virtual, destination: &str, age_s: i64) -> Header {
    let claim = Claim::Shaken {
        origin: "12125550199".into(),
        destination: destination.into(),
        attestation: stir::Attestation::B,
        origin_id: "123e4567-e89b-12d3-a456-426655440000".into(),
    };
    let text = claim.unsigned(world.now.wall.as_second() - age_s, URL);
    Header::new("Identity", identity::write(&claim, URL, &text, &[7; 64]))
}

fn sign(world: &mut Virtual, signature: Result<[u8; 64], String>) {
    let ticket = world.to_sign.last().unwrap().ticket;
    world.engine.handle(world.now, Input::Signed { ticket, signature });
    world.settle();
}

fn verify(world: &mut Virtual, verdict: Result<(), Fault>) {
    let ticket = world.to_verify.last().unwrap().ticket;
    world.engine.handle(world.now, Input::Verified { ticket, verdict });
    world.settle();
}

/// Claims of an Identity, as a verifier of the other side reads them.
fn read(value: &str) -> stir::passport::Passport {
    identity::read(value, identity::Left { origin: "", destination: "", date: None }).unwrap()
}

#[test]
fn a_call_leaves_once_it_is_signed() {
    let mut world = calling_out(None, signs);
    world.call("+18005550100");
    assert!(world.more[0].heard.is_empty(), "it waits for its signature");
    sign(&mut world, Ok([9; 64]));
    assert_eq!(world.more[0].heard, ["INVITE"]);
    assert_eq!(sent(&world, "Date"), ["Mon, 23 Nov 2026 15:00:00 GMT"]);
    let [value] = sent(&world, "Identity").try_into().unwrap();
    let passport = read(&value);
    assert_eq!(passport.certificate_url, URL);
    assert_eq!(passport.signature, [9; 64]);
    assert_eq!(passport.signed, world.to_sign[0].text);
    assert_eq!(passport.claims.origin, Party::Number("18005550100".into()));
    assert_eq!(passport.claims.destinations, [Party::Number("13125550177".into())]);
    assert_eq!(passport.claims.issued_at, world.now.wall.as_second());
    assert_eq!(passport.claims.attestation, Some(stir::Attestation::A));
    let id = passport.claims.origin_id.unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "8"), "{id}");
}

/// A number that is granted, one of a tenant's own trunk, and one that came from elsewhere.
#[test]
fn what_is_attested_depends_on_whose_the_number_is() {
    type Change = fn(&mut Snapshot);
    let own: Change = |snapshot| {
        let trunk = snapshot.trunks.remove(&TrunkId::new("platform", "voip")).unwrap();
        snapshot.trunks.insert(TrunkId::new("acme", "own"), trunk);
        let flow = snapshot.flows.values_mut().next().unwrap();
        let mut program = (**flow).clone();
        let Verb::Dial(ring) = &mut program.steps[0].verb else { unreachable!() };
        let DialTarget::Number { trunks, .. } = &mut ring.targets[0] else { unreachable!() };
        *trunks = vec![TrunkId::new("acme", "own")];
        *flow = program.into();
    };
    let forwards: Change = |s| trunk(s, "voip").caller_id_policy = CallerIdPolicy::Forwarded;
    let less: Change = |s| {
        let sign = trunk(s, "voip").stir.sign.as_mut().unwrap();
        sign.maximum_attestation = Attestation::B;
        sign.origin_id = Some("7f2c1a54-0f6e-4a51-9f5f-2f0c8d2f6b1e".into());
    };
    for (caller_id, change, number, wanted) in [
        (None, (|_| {}) as Change, "18005550100", stir::Attestation::A),
        (Some("+18005550105"), |_| {}, "18005550105", stir::Attestation::A),
        (Some("+12125550000"), own, "12125550000", stir::Attestation::B),
        (Some("+18005550100"), own, "18005550100", stir::Attestation::A),
        (None, forwards, "12125550199", stir::Attestation::C),
        (None, less, "18005550100", stir::Attestation::B),
    ] {
        let mut world = calling_out(caller_id, |snapshot| {
            signs(snapshot);
            change(snapshot);
        });
        world.call("+18005550100");
        sign(&mut world, Ok([9; 64]));
        let claims = read(&sent(&world, "Identity")[0]).claims;
        assert_eq!(claims.origin, Party::Number(number.into()));
        assert_eq!(claims.attestation, Some(wanted), "{number}");
    }
}

#[test]
fn a_forwarded_call_takes_its_identity_along_and_a_div_is_added() {
    let mut world = calling_out(None, |s| {
        signs(s);
        trunk(s, "voip").caller_id_policy = CallerIdPolicy::Forwarded;
    });
    let theirs = carriers(&world, "18005550100", 0);
    world.carrier.headers = vec![theirs.clone()];
    world.call("+18005550100");
    sign(&mut world, Ok([9; 64]));
    let [first, second] = sent(&world, "Identity").try_into().unwrap();
    assert_eq!(first, theirs.value);
    let claims = read(&second).claims;
    assert_eq!(claims.origin, Party::Number("12125550199".into()));
    assert_eq!(claims.diverter, Some(Party::Number("18005550100".into())));
    assert_eq!(claims.destinations, [Party::Number("13125550177".into())]);
    assert!(second.ends_with(";ppt=div"), "{second}");
}

#[test]
fn a_withheld_number_is_not_told_by_the_identity_that_came_with_it() {
    let mut world = calling_out(None, |s| {
        signs(s);
        trunk(s, "voip").caller_id_policy = CallerIdPolicy::Forwarded;
    });
    world.carrier.headers = vec![carriers(&world, "18005550100", 0), Header::new("Privacy", "id")];
    world.call("+18005550100");
    assert_eq!(world.more[0].heard, ["INVITE"]);
    assert!(world.to_sign.is_empty() && sent(&world, "Identity").is_empty());
}

#[test]
fn nothing_is_signed_of_a_call_that_shows_no_number() {
    let mut world = calling_out(None, |s| {
        signs(s);
        trunk(s, "voip").grants.clear();
    });
    world.call("+18005550100");
    assert_eq!(world.more[0].heard, ["INVITE"]);
    assert!(world.to_sign.is_empty() && sent(&world, "Identity").is_empty());
}

#[test]
fn a_call_that_cannot_be_signed_leaves_without_and_says_so() {
    for in_time in [true, false] {
        let mut world = calling_out(None, signs);
        world.call("+18005550100");
        if in_time {
            sign(&mut world, Err("key `pem` of Secret platform/key is not there".into()));
        } else {
            world.pass(SIGN_WAIT.as_secs() + 1);
            sign(&mut world, Ok([9; 64]));
        }
        assert_eq!(world.more[0].heard, ["INVITE"], "once");
        assert!(sent(&world, "Identity").is_empty());
        let told = &world.told[0];
        assert!(told.starts_with("the call leaves Trunk platform/voip without an Identity"), "{told}");
    }
}

#[test]
fn a_caller_who_hangs_up_while_a_call_is_signed_calls_nobody() {
    let mut world = calling_out(None, signs);
    world.call("+18005550100");
    let leg = world.carrier.leg();
    world.carrier.endpoint.cancel(world.now.instant, leg, &[]).unwrap();
    world.settle();
    sign(&mut world, Ok([9; 64]));
    assert!(world.more[0].heard.is_empty());
    assert!(
        world.engine.calls() == 0 || {
            world.nothing_is_left();
            true
        }
    );
}

#[test]
fn a_caller_whose_number_is_proved_is_shown_so_to_the_callee() {
    let mut world = verifies(true);
    world.carrier.headers = vec![carriers(&world, "18005550100", 0)];
    world.call("+18005550100");
    assert!(world.pbx.heard.is_empty(), "it waits for its verdict");
    let asked = &world.to_verify[0];
    assert_eq!((&asked.trunk, asked.passports.len()), (&TrunkId::new("platform", "carrier"), 1));
    verify(&mut world, Ok(()));
    let invite = world.pbx.last.clone().unwrap();
    let number = "<sip:+12125550199;verstat=TN-Validation-Passed@192.0.2.100:5060>";
    assert!(invite.contains(&format!("From: {number}")), "{invite}");
    assert!(invite.contains(&format!("P-Asserted-Identity: {number}")), "{invite}");
    let told = world.explanations[0].to_string();
    assert!(told.contains("✓ Identity (TN-Validation-Passed, attested B)"), "{told}");
    world.pbx_says(486);
    world.pass(5);
    let Record { verstat, attestation, .. } = world.nothing_is_left();
    assert_eq!((*verstat, *attestation), (Some(Verstat::Passed), Some(stir::Attestation::B)));
}

/// What is wrong, and the status and phrase that refuse the call where the trunk requires an Identity.
#[test]
fn a_call_that_does_not_pass_is_refused_or_noted() {
    enum Wrong {
        Nothing,
        Callee,
        Old,
        Found(Fault),
        Silence,
    }
    use Wrong::{Callee, Found, Nothing, Old, Silence};
    let rows = [
        (Nothing, 428, "Use Identity Header", Verstat::None),
        (Callee, 438, "Invalid Identity Header", Verstat::Failed),
        (Old, 403, "Stale Date", Verstat::Failed),
        (Found(Fault::Invalid("a".into())), 438, "Invalid Identity Header", Verstat::Failed),
        (Found(Fault::Untrusted("a".into())), 437, "Unsupported Credential", Verstat::Failed),
        (Found(Fault::Unreachable("a".into())), 436, "Bad Identity Info", Verstat::None),
        (Silence, 436, "Bad Identity Info", Verstat::None),
    ];
    for (wrong, code, phrase, verstat) in rows {
        for required in [true, false] {
            let mut world = verifies(required);
            let header = match &wrong {
                Nothing => None,
                Callee => Some(carriers(&world, "18005550101", 0)),
                Old => Some(carriers(&world, "18005550100", 61)),
                Found(_) | Silence => Some(carriers(&world, "18005550100", 0)),
            };
            world.carrier.headers = header.into_iter().collect();
            world.call("+18005550100");
            match &wrong {
                Found(fault) => verify(&mut world, Err(fault.clone())),
                Silence => world.pass(VERIFY_WAIT.as_secs()),
                Nothing | Callee | Old => assert!(world.to_verify.is_empty()),
            }
            let told = world.explanations[0].to_string();
            assert!(told.contains(&format!("✗ Identity ({verstat}): ")), "{told}");
            if required {
                assert_eq!(world.heard(), code.to_string(), "{phrase}");
                let refusal = world.carrier.last.clone().unwrap();
                assert!(refusal.starts_with(&format!("SIP/2.0 {code} {phrase}\r\n")), "{refusal}");
                let reason = format!("Reason: STIR;cause={code};text=\"{phrase}\"");
                assert!(refusal.contains(&reason), "{refusal}");
                assert!(told.contains("stir.verify.mode: Require"), "{told}");
            } else {
                let invite = world.pbx.last.clone().unwrap();
                assert!(invite.contains(&format!(";verstat={verstat}@")), "{invite}");
            }
        }
    }
}

#[test]
fn a_caller_who_hangs_up_while_a_certificate_is_fetched_is_forgotten() {
    let mut world = verifies(true);
    world.carrier.headers = vec![carriers(&world, "18005550100", 0)];
    world.call("+18005550100");
    let leg = world.carrier.leg();
    world.carrier.endpoint.cancel(world.now.instant, leg, &[]).unwrap();
    world.settle();
    verify(&mut world, Ok(()));
    assert!(world.pbx.heard.is_empty() && world.explanations.is_empty());
    world.pass(70);
    assert!(world.engine.is_idle());
}

#[test]
fn a_call_that_no_number_takes_is_refused_before_anything_is_fetched() {
    let mut world = verifies(true);
    world.carrier.headers = vec![carriers(&world, "18005550109", 0)];
    world.call("+18005550109");
    assert_eq!((world.heard(), world.to_verify.len()), ("404".into(), 0));
}

/// What a failed verification leaves is not handed on.
#[test]
fn an_identity_that_does_not_hold_goes_no_further() {
    let mut world = calling_out(None, |s| {
        signs(s);
        trunk(s, "voip").caller_id_policy = CallerIdPolicy::Forwarded;
        trunk(s, "carrier").stir.verify =
            Some(StirVerify { required: false, anchors: secret("anchors"), ca: None });
    });
    world.carrier.headers = vec![carriers(&world, "18005550100", 0)];
    world.call("+18005550100");
    verify(&mut world, Err(Fault::Invalid("the signature does not hold".into())));
    sign(&mut world, Ok([9; 64]));
    let [only] = sent(&world, "Identity").try_into().unwrap();
    assert_eq!(read(&only).claims.attestation, Some(stir::Attestation::C));
}

/// With an Identity an INVITE is larger than a datagram should be; only a peer of transport Auto gets it by TCP, and by UDP
/// after all if there is no connection to be had.
#[test]
fn an_invite_that_its_identity_makes_too_large_goes_by_tcp_where_the_peer_takes_both() {
    for (large_by_tcp, has_listener, wanted) in
        [(false, true, Transport::Udp), (true, false, Transport::Udp), (true, true, Transport::Tcp)]
    {
        let mut world = calling_out(None, |s| {
            signs(s);
            let long = format!("https://certificates.example.net/{}.pem", "c".repeat(400));
            trunk(s, "voip").stir.sign.as_mut().unwrap().certificate_url = long;
            trunk(s, "voip").peers[0].large_by_tcp = large_by_tcp;
            if has_listener {
                let listener = s.cluster.listeners[0].clone();
                let tcp = Listener { name: "tcp".into(), transport: Transport::Tcp, ..listener };
                s.cluster.listeners.push(tcp);
            }
        });
        world.holds = Some("192.0.2.3:5060".parse().unwrap());
        world.call("+18005550100");
        world.flows.clear();
        sign(&mut world, Ok([9; 64]));
        let flow = world.flows[0];
        assert!(world.held[0].2.len() > 1_300);
        assert_eq!(flow.transport, wanted, "{large_by_tcp} {has_listener}");
        if wanted == Transport::Tcp {
            world.flows.clear();
            world.engine.handle(world.now, Input::Unreachable { flow });
            world.settle();
            assert_eq!(world.flows[0].transport, Transport::Udp, "the connection cannot be had");
        }
    }
}

#[test]
fn a_flow_may_ask_whether_a_number_is_proved() {
    for (verdict, wanted) in [(Ok(()), "200"), (Err(Fault::Invalid("a".into())), "486")] {
        let mut world = verifies(false);
        let mut snapshot = (*world.engine.world().snapshot).clone();
        let asks = branch("ask", &[("contact.verstat == 'TN-Validation-Passed'", 1)], 2);
        let steps = vec![asks, hangup("hear", "h"), reject("no")];
        snapshot.flows = [flow("main", steps, Vec::new())].into();
        world.engine.apply(snapshot.into()).unwrap();
        world.carrier.headers = vec![carriers(&world, "18005550100", 0)];
        world.call("+18005550100");
        verify(&mut world, verdict);
        assert!(world.heard().starts_with(wanted), "{}", world.heard());
    }
}
