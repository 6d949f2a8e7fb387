//! Who calls and who is called, from trunk to trunk: caller ids, number formats, forwarded numbers, circles.

use model::{
    TrunkId,
    program::{DialTarget, Step, Verb},
    snapshot::{Grant, Snapshot, Trunk},
    trunk::{CallerIdPolicy, NumberFormat, NumberFormats},
};
use sip::{endpoint::Header, sdp};

use crate::{
    twin::{Phone, Virtual},
    world::{dial, flow, hangup, snapshot},
};

const OUT: &str = "192.0.2.3:5060";

pub fn trunk<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("platform", name)).unwrap()
}

/// Rings +13125550177 by another carrier, which grants the tenant what `change` says.
pub fn calling_out(caller_id: Option<&str>, change: impl FnOnce(&mut Snapshot)) -> Virtual {
    let mut step = dial("ring", [1, 1, 1, 1]);
    let Verb::Dial(ring) = &mut step.verb else { unreachable!() };
    ring.targets = vec![DialTarget::Number {
        number: "+13125550177".parse().unwrap(),
        trunks: vec![TrunkId::new("platform", "voip")],
        caller_id: caller_id.map(|number| number.parse().unwrap()),
    }];
    let steps: Vec<Step> = vec![step, hangup("bye", "b")];
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    let number = |text: &str| text.parse().unwrap();
    trunk(&mut snapshot, "voip").grants =
        vec![Grant { namespace: "acme".into(), first: number("+18005550100"), last: number("+18005550109") }];
    change(&mut snapshot);
    let mut world = Virtual::with(snapshot);
    world.more.push(Phone::new(OUT, 3));
    world
}

fn formats(inbound: NumberFormat, outbound: NumberFormat) -> NumberFormats {
    NumberFormats { inbound, outbound, country: Some("US".into()) }
}

/// Values of a field of the INVITE that went out.
pub fn sent(world: &Virtual, name: &str) -> Vec<String> {
    let invite = world.more[0].last.clone().unwrap();
    let prefix = format!("{name}: ");
    let values = invite.lines().filter_map(|line| line.strip_prefix(&prefix));
    values.map(|value| value.split(";tag=").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn only_granted_numbers_are_shown() {
    type Change = fn(&mut Snapshot);
    let nothing: Change = |_| {};
    let none: Change = |snapshot| trunk(snapshot, "voip").grants.clear();
    let shown = |number: &str| format!("<sip:{number}@192.0.2.100:5060>");
    for (caller_id, change, from, told) in [
        (None, nothing, Some("+18005550100"), false),
        (Some("+18005550105"), nothing, Some("+18005550105"), false),
        (Some("+12125550000"), nothing, Some("+18005550100"), false),
        (Some("+18005550105"), none, None, true),
    ] {
        let mut world = calling_out(caller_id, change);
        world.call("+18005550100");
        let (from, asserted, privacy) = match from {
            Some(number) => (shown(number), vec![shown(number)], Vec::new()),
            None => ("\"Anonymous\" <sip:anonymous@anonymous.invalid>".into(), vec![], vec!["id".to_owned()]),
        };
        assert_eq!(sent(&world, "From"), [from], "{caller_id:?}");
        assert_eq!(sent(&world, "P-Asserted-Identity"), asserted, "{caller_id:?}");
        assert_eq!(sent(&world, "Privacy"), privacy, "{caller_id:?}");
        assert_eq!(!world.told.is_empty(), told, "{:?}", world.told);
        assert!(sent(&world, "Diversion").is_empty());
    }
}

#[test]
fn a_call_that_is_forwarded_keeps_its_caller_and_tells_who_forwards_it() {
    let mut world = calling_out(None, |s| trunk(s, "voip").caller_id_policy = CallerIdPolicy::Forwarded);
    world.carrier.headers = vec![
        Header::new("P-Asserted-Identity", "<sip:+13125550111@192.0.2.1>"),
        Header::new("Diversion", "<sip:+17735550131@192.0.2.1>;reason=unconditional;counter=1"),
        Header::new("History-Info", "<sip:+17735550131@192.0.2.1>;index=1"),
        Header::new("History-Info", "<sip:+18005550100@192.0.2.1>;index=1.1;mp=1"),
    ];
    world.call("+18005550100");
    let caller = "<sip:+13125550111@192.0.2.100:5060>";
    assert_eq!(
        (sent(&world, "From"), sent(&world, "P-Asserted-Identity")),
        (vec![caller.into()], vec![caller.into()])
    );
    assert_eq!(
        sent(&world, "Diversion"),
        [
            "<sip:+18005550100@192.0.2.100:5060>;reason=unconditional;counter=1",
            "<sip:+17735550131@192.0.2.1>;reason=unconditional;counter=1",
        ]
    );
    assert_eq!(
        sent(&world, "History-Info"),
        [
            "<sip:+17735550131@192.0.2.1>;index=1",
            "<sip:+18005550100@192.0.2.1>;index=1.1;mp=1",
            "<sip:+13125550177@192.0.2.3>;index=1.1.1;mp=1.1",
        ]
    );
    assert_eq!(sent(&world, "Max-Forwards"), ["69"]);
}

#[test]
fn whoever_withholds_a_number_is_told_to_nobody() {
    let mut world = calling_out(None, |s| trunk(s, "voip").caller_id_policy = CallerIdPolicy::Forwarded);
    world.carrier.headers = vec![
        Header::new("P-Asserted-Identity", "<sip:+13125550111@192.0.2.1>"),
        Header::new("Privacy", "id"),
    ];
    world.call("+18005550100");
    let invite = world.more[0].last.clone().unwrap();
    assert!(!invite.contains("3125550111") && !invite.contains("2125550199"), "{invite}");
    assert_eq!(sent(&world, "Privacy"), ["id"]);
    assert_eq!(world.explanations[0].from, "");
}

#[test]
fn numbers_are_read_and_written_as_each_trunk_writes_them() {
    let mut world = calling_out(None, |s| {
        trunk(s, "carrier").number_formats = formats(NumberFormat::National, NumberFormat::E164);
        trunk(s, "voip").number_formats = formats(NumberFormat::E164, NumberFormat::International);
    });
    world.call("8005550100");
    let invite = world.more[0].last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:01113125550177@192.0.2.3 SIP/2.0\r\n"), "{invite}");
    assert_eq!(sent(&world, "From"), ["<sip:01118005550100@192.0.2.100:5060>"]);

    let mut world = calling_out(None, |s| {
        trunk(s, "carrier").number_formats = formats(NumberFormat::National, NumberFormat::E164);
    });
    world.call("operator");
    assert_eq!(world.heard(), "404");
    let told = world.explanations[0].to_string();
    assert!(
        told.contains("`operator` is not a number as numberFormats of US would have it (National)"),
        "{told}"
    );
}

#[test]
fn a_forwarded_number_is_known_by_what_was_dialled_first() {
    let forwarding = |snapshot: &mut Snapshot| {
        let carrier = TrunkId::new("platform", "carrier");
        let live = snapshot.numbers.get_mut(&carrier).unwrap();
        live[0].forwarded_from = Some("+17735550131".parse().unwrap());
    };
    let first = "<sip:+17735550131@192.0.2.1>";
    for (headers, to) in [
        (vec![], "+18005550100"),
        (vec![Header::new("Diversion", first)], "+17735550131"),
        (
            vec![Header::new("Diversion", "<sip:+17735550139@h>"), Header::new("Diversion", first)],
            "+17735550131",
        ),
        (
            vec![Header::new("History-Info", format!("{first};index=1, <sip:+18005550100@h>;index=1.1"))],
            "+17735550131",
        ),
        // Who only handed it on did not get it first.
        (
            vec![Header::new("Diversion", first), Header::new("Diversion", "<sip:+17735550139@h>")],
            "+18005550100",
        ),
    ] {
        let mut world = calling_out(None, forwarding);
        world.carrier.headers = headers.clone();
        world.call("+18005550100");
        world.other_says(0, 486);
        world.pass(3);
        assert_eq!(world.nothing_is_left().to, to, "{headers:?}");
    }
}

#[test]
fn a_call_in_a_circle_is_refused_and_told() {
    let ours = Header::new("Diversion", "<sip:+18005550100@h>");
    for (headers, code, because) in [
        (vec![ours.clone(), ours], "482", "+18005550100 has diverted this call 2 times already"),
        (vec![Header::new("Diversion", "<sip:a@h>;counter=99")], "483", "the call was diverted 99 times"),
    ] {
        let mut world = calling_out(None, |_| {});
        world.carrier.headers = headers;
        world.call("+18005550100");
        assert_eq!(world.heard(), code);
        let told = world.explanations[0].to_string();
        assert!(told.contains(because), "{told}");
    }
}

#[test]
fn a_call_for_the_contact_that_we_registered_is_for_whom_it_says() {
    let mut world = calling_out(None, |s| {
        trunk(s, "carrier").register = Some(model::trunk::Register {
            host: "192.0.2.1".into(),
            port: None,
            user: "acme".into(),
            expires_seconds: 600,
        });
    });
    let offer = sdp::offer(&world.carrier.media());
    world.call_to("acme", "+18005550100", offer);
    assert_eq!(world.explanations[0].to, "+18005550100");
    assert_eq!(world.more[0].heard, ["INVITE"]);
}
