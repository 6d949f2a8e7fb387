//! A plan that is kept up to date is the plan that one would make anew; and what is sent of it leads to the same.

mod foresee;
mod live;
mod reach;

use std::collections::BTreeMap;

use model::{Key, section::Sections};
use plan::{Foreign, ObjectId, Plan, Planner};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{cases, now};

/// Kind and name of an object, and its spec.
type Objects = BTreeMap<(&'static str, &'static str), Value>;

const NUMBERS: [&str; 6] = ["acme/a", "acme/b", "acme/c", "beta/a", "beta/b", "acme/z"];
const FLOWS: [&str; 3] = ["acme/main", "acme/other", "beta/main"];

fn cluster(variant: u8) -> Value {
    let allowed = if variant.is_multiple_of(3) { json!(["acme"]) } else { json!(["acme", "beta"]) };
    json!({
        "code": "C14", "allowedNamespaces": allowed,
        "networks": [{"name": "lan", "bindAddress": "127.0.0.1"}],
        "listeners": [{"name": "udp", "transport": "UDP", "port": 5060, "network": "lan", "serves": "Trunks"}],
        "media": {"ports": {"first": 20000, "last": 20999}},
        "limits": {"calls": 100 + u32::from(variant), "callSeconds": 3600},
        "drainSeconds": 30,
    })
}

fn tenant(variant: u8) -> Value {
    let trunks = if variant.is_multiple_of(2) {
        json!([])
    } else {
        json!([{"namespace": "platform", "name": "carrier"}])
    };
    json!({
        "clusterRef": {"namespace": "platform", "name": "c14"}, "country": "US", "timeZone": "America/New_York",
        "outboundTrunks": trunks, "skills": [{"name": "sales"}],
    })
}

fn trunk(variant: u8) -> Value {
    let range = |first: &str, last: &str| json!({"first": first, "last": last});
    let acme = match variant % 3 {
        0 => json!([range("+13125550100", "+13125550109")]),
        1 => json!([range("+13125550100", "+13125550104")]),
        _ => json!([range("+13125550102", "+13125550109"), range("+13125550100", "+13125550101")]),
    };
    json!({
        "clusterRef": {"name": "c14"}, "network": "lan", "connection": "PhoneLine", "delivers": "Pstn",
        "peers": [{"name": "sbc", "address": "192.0.2.7"}],
        "grants": [{"namespace": "acme", "ranges": acme},
                   {"namespace": "beta", "ranges": [range("+13125550104", "+13125550109")]}],
    })
}

/// Two that are right, one that asks the calendar, one that calls another, one that only a call may enter, one that leads
/// nowhere.
fn flow(variant: u8) -> Value {
    match variant % 7 {
        4 => {
            json!({"steps": [{"name": "there", "call": {"flow": "other", "next": "end"}}, {"name": "end", "hangup": {}}]})
        }
        5 => json!({"steps": [{"name": "short", "wait": {"seconds": 1}}]}),
        6 => {
            json!({"steps": [{"name": "wait", "queue": {"ref": "sales", "timedOut": "end", "full": "end", "noAgents": "end"}},
            {"name": "end", "hangup": {}}]})
        }
        0 => json!({"steps": [{"name": "end", "hangup": {}}]}),
        1 => json!({"steps": [{"name": "busy", "hangup": {"reject": "Busy"}}]}),
        2 => json!({"steps": [
            {"name": "open", "hours": {"ref": "shop", "open": "end", "closed": "busy"}},
            {"name": "end", "hangup": {}}, {"name": "busy", "hangup": {"reject": "Busy"}}]}),
        _ => {
            json!({"steps": [{"name": "open", "hours": {"ref": "shop", "open": "nowhere", "closed": "nowhere"}}]})
        }
    }
}

fn queue(variant: u8) -> Value {
    json!({"skills": [{"name": "sales", "minimum": variant % 10 + 1}], "limits": {"contacts": 100}})
}

fn agent(variant: u8) -> Value {
    let number = if variant.is_multiple_of(3) { json!("+13125550100") } else { Value::Null };
    json!({"displayName": "Ada", "skills": [{"name": "sales", "level": variant % 10 + 1}], "outboundNumber": number,
           "stations": [{"name": "browser", "webRtc": {}}]})
}

fn point(variant: u8) -> Value {
    json!({"flowRef": {"name": if variant.is_multiple_of(2) { "main" } else { "other" }}, "chat": {"origins": ["https://example.com"]}})
}

fn test(variant: u8) -> Value {
    json!({"call": {"from": "+12125550199", "to": format!("+1312555010{}", variant % 10)}, "expect": {"outcome": "Completed", "queue": "sales"}})
}

fn hours(variant: u8) -> Value {
    json!({"timeZone": "America/New_York", "week": [{"days": ["Monday"], "from": "09:00", "to": format!("1{}:00", variant % 9)}]})
}

fn integration(variant: u8) -> Value {
    let name = if variant.is_multiple_of(3) { "erp" } else { "crm" };
    let key = if variant.is_multiple_of(5) { "other" } else { "token" };
    json!({"url": "https://crm.example.com", "headers": [{"name": "X-Token", "secretRef": {"name": name, "key": key}}]})
}

fn secret(variant: u8) -> Value {
    let labels = if variant.is_multiple_of(4) { json!({}) } else { json!({"switchboard.dev/use": "true"}) };
    let data = if variant.is_multiple_of(3) { "other" } else { "token" };
    json!({"metadata": {"labels": labels}, "data": {data: "c2VjcmV0"}})
}

fn number(variant: u8) -> Value {
    let digit = |shift: u8| (variant >> shift) % 10;
    let mut spec = json!({
        "kind": "Local", "origin": "Carrier",
        "trunkRef": {"namespace": "platform", "name": if variant.is_multiple_of(11) { "other" } else { "carrier" }},
        "flowRef": {"name": if variant.is_multiple_of(5) { "other" } else { "main" }},
    });
    let first = digit(2);
    if variant.is_multiple_of(4) {
        let last = first.max(digit(5));
        spec["range"] = json!({"first": format!("+1312555010{first}"), "last": format!("+1312555010{last}")});
    } else {
        spec["number"] = json!(format!("+1312555010{first}"));
    }
    spec
}

fn first() -> Objects {
    Objects::from([
        (("VoiceCluster", "platform/c14"), cluster(1)),
        (("Tenant", "acme/acme"), tenant(0)),
        (("Tenant", "beta/beta"), tenant(0)),
        (("Trunk", "platform/carrier"), trunk(0)),
        (("BusinessHours", "acme/shop"), hours(7)),
        (("Queue", "acme/sales"), queue(3)),
        (("Agent", "acme/ada"), agent(3)),
        (("ContactPoint", "acme/chat"), point(0)),
        (("CallTest", "acme/test"), test(2)),
        (("Integration", "acme/crm"), integration(1)),
        (("Secret", "acme/crm"), secret(1)),
        (("RoutingFlow", "acme/main"), flow(2)),
        (("RoutingFlow", "acme/other"), flow(1)),
        (("RoutingFlow", "beta/main"), flow(0)),
        (("PhoneNumber", "acme/a"), number(9)),
        (("PhoneNumber", "beta/a"), number(25)),
    ])
}

/// What is done to the world between two plans.
#[derive(Debug, Clone)]
struct Edit {
    id: (&'static str, &'static str),
    spec: Option<Value>,
}

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = |kind: &'static str, names: &'static [&'static str], spec: fn(u8) -> Value| {
        (0..names.len(), proptest::option::weighted(0.8, any::<u8>())).prop_map(move |(place, variant)| {
            Edit {
                id: (kind, names[place]),
                // Now and then one that no version of ours can read.
                spec: variant.map(|variant| if variant % 16 == 15 { json!(variant) } else { spec(variant) }),
            }
        })
    };
    let edit = prop_oneof![
        6 => edit("PhoneNumber", &NUMBERS, number),
        3 => edit("RoutingFlow", &FLOWS, flow),
        1 => edit("Trunk", &["platform/carrier", "platform/other"], trunk),
        1 => edit("Tenant", &["acme/acme", "beta/beta"], tenant),
        1 => edit("VoiceCluster", &["platform/c14"], cluster),
        1 => edit("BusinessHours", &["acme/shop"], hours),
        1 => edit("Queue", &["acme/sales"], queue),
        1 => edit("Agent", &["acme/ada"], agent),
        1 => edit("ContactPoint", &["acme/chat"], point),
        1 => edit("CallTest", &["acme/test"], test),
        1 => edit("Integration", &["acme/crm"], integration),
        1 => edit("Secret", &["acme/crm", "acme/erp"], secret),
    ];
    proptest::collection::vec(proptest::collection::vec(edit, 1..4), 1..8)
}

fn id((kind, name): (&'static str, &str)) -> ObjectId {
    ObjectId { kind, key: key(name) }
}

fn key(name: &str) -> Key {
    name.parse().unwrap()
}

fn anew(objects: &Objects, last: &Plan) -> Planner {
    let mut planner = Planner::new(Some(last));
    for ((kind, name), spec) in objects.iter().filter(|((kind, _), _)| *kind != "Secret") {
        planner.declare(kind, key(name), spec).unwrap();
    }
    planner.declare_foreign(secrets(objects));
    planner.update(now());
    planner
}

fn secrets(objects: &Objects) -> Vec<Foreign> {
    let secrets = objects.iter().filter(|((kind, _), _)| *kind == "Secret");
    let foreign = |((kind, name), object): (&(&str, &str), &Value)| Foreign {
        api_version: "v1".to_owned(),
        kind: (*kind).to_owned(),
        key: key(name),
        object: object.clone(),
    };
    secrets.map(foreign).collect()
}

/// Does to the world and to a planner what an edit says.
fn apply(edit: Edit, objects: &mut Objects, planner: &mut Planner) {
    match edit.spec.clone() {
        Some(spec) => drop(objects.insert(edit.id, spec)),
        None => drop(objects.remove(&edit.id)),
    }
    match edit.spec {
        _ if edit.id.0 == "Secret" => planner.declare_foreign(secrets(objects)),
        Some(spec) => planner.declare(edit.id.0, key(edit.id.1), &spec).unwrap(),
        None => planner.withdraw(&id(edit.id)),
    }
}

fn problems(plan: &Plan) -> Vec<String> {
    plan.problems.iter().map(|problem| format!("{:?} {} {problem}", problem.object, problem.field)).collect()
}

fn sections(planner: &Planner) -> Vec<(String, Sections)> {
    planner.clusters().map(|(id, sections)| (id.to_string(), sections.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(64), ..ProptestConfig::default() })]

    /// Whatever was changed, in whatever portions: what is kept up to date is what planning anew with the plan before gives,
    /// and each delta leads from the sections before to those after.
    #[test]
    fn a_plan_that_is_kept_up_to_date_is_the_one_made_anew(rounds in edits()) {
        let mut objects = first();
        let mut kept = anew(&objects, &Planner::new(None).plan());
        for round in rounds {
            let last = kept.plan();
            let before = sections(&kept);
            for edit in round {
                apply(edit, &mut objects, &mut kept);
            }
            let changed = kept.update(now());
            let fresh = anew(&objects, &last);
            let (ours, theirs) = (kept.plan(), fresh.plan());
            prop_assert_eq!(problems(&ours), problems(&theirs));
            let snapshots = |plan: &Plan| plan.clusters.values().map(|cluster| cluster.snapshot.clone()).collect::<Vec<_>>();
            prop_assert_eq!(snapshots(&ours), snapshots(&theirs));
            let stored = |plan: &Plan| String::from_utf8(plan.to_stored().unwrap()).unwrap();
            prop_assert_eq!(stored(&ours), stored(&theirs));
            let after = sections(&kept);
            for (cluster, sections) in &after {
                let planned = ours.clusters.iter().find(|(id, _)| id.to_string() == *cluster).unwrap().1;
                prop_assert_eq!(sections, &planned.sections().unwrap());
                prop_assert_eq!(&sections.snapshot().unwrap(), &*planned.snapshot);
                if let Some((_, old)) = before.iter().find(|(id, _)| id == cluster) {
                    let delta = old.delta_to(sections);
                    prop_assert_eq!(&old.apply(&delta).unwrap(), sections);
                    prop_assert_eq!(delta.is_empty(), !changed.iter().any(|id| id.to_string() == *cluster));
                }
            }
        }
    }
}

#[test]
fn one_changed_number_costs_one_section() {
    let mut planner = anew(&first(), &Planner::new(None).plan());
    let before = sections(&planner).remove(0).1;
    planner.declare("PhoneNumber", key("acme/a"), &number(14)).unwrap();
    let changed = planner.update(now());
    assert_eq!(changed.len(), 1);
    let delta = before.delta_to(&sections(&planner)[0].1);
    let names: Vec<_> = delta.changed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, delta.removed), (vec!["numbers/88"], vec![]));
}

#[test]
fn what_says_the_same_changes_nothing() {
    let mut planner = anew(&first(), &Planner::new(None).plan());
    for (id, spec) in first() {
        apply(Edit { id, spec: Some(spec) }, &mut first(), &mut planner);
    }
    assert!(planner.update(now()).is_empty());
}

#[test]
fn removed_and_added_again_gives_the_same_bytes() {
    let mut planner = anew(&first(), &Planner::new(None).plan());
    let before = sections(&planner);
    let mut objects = first();
    for (id, spec) in first() {
        apply(Edit { id, spec: None }, &mut objects, &mut planner);
        planner.update(now());
        apply(Edit { id, spec: Some(spec) }, &mut objects, &mut planner);
        planner.update(now());
        assert_eq!(sections(&planner), before, "{id:?}");
    }
}

#[test]
fn a_delta_is_applied_whole_or_refused() {
    let mut planner = anew(&first(), &Planner::new(None).plan());
    let old = sections(&planner).remove(0).1;
    planner.withdraw(&id(("PhoneNumber", "acme/a")));
    planner.update(now());
    let new = sections(&planner).remove(0).1;
    let delta = old.delta_to(&new);
    assert_eq!(
        new.apply(&delta).unwrap_err().to_string(),
        format!("the delta begins at {}, but what is here is {}", old.digest(), new.digest())
    );
    let mut wrong = delta.clone();
    wrong.removed.clear();
    let error = old.apply(&wrong).unwrap_err().to_string();
    assert_eq!(error, format!("the delta leads to {}, but what came out is {}", new.digest(), old.digest()));
    let mut newer = delta;
    newer.schema += 1;
    assert_eq!(old.apply(&newer).unwrap_err().to_string(), "schema must be 1, not 2");
}
