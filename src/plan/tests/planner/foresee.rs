//! What would be said of an object if it were written so.

use std::collections::BTreeSet;

use plan::{Foresight, Planner, Problem, Severity};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{anew, first, key};
use crate::{now, repository, support};

fn live() -> Planner {
    anew(&first(), &Planner::new(None).plan())
}

/// Errors as `Reason field`, warnings left out.
fn errors(problems: &[Problem]) -> Vec<String> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let mut errors: Vec<_> = errors.map(|problem| format!("{} {}", problem.reason, problem.field)).collect();
    errors.sort();
    errors
}

fn told(foresight: &Foresight) -> [Vec<String>; 2] {
    [errors(&foresight.own), errors(&foresight.across)]
}

#[derive(Deserialize)]
struct Row {
    object: String,
    spec: Value,
    #[serde(default)]
    own: Vec<String>,
    #[serde(default)]
    across: Vec<String>,
}

#[test]
fn what_an_object_proves_is_told_apart_from_what_depends_on_others() {
    let planner = live();
    let mut table: serde_yaml::Value = serde_yaml::from_str(include_str!("foreseen.yaml")).unwrap();
    table.apply_merge().unwrap();
    let rows: Vec<Row> = serde_yaml::from_value(table).unwrap();
    assert!(rows.len() > 15);
    for Row { object, spec, own, across } in rows {
        let (kind, name) = object.split_once(' ').unwrap();
        let foresight = planner.foresee(kind, &key(name), Some(&spec), None);
        assert_eq!(told(&foresight), [own, across], "{object} {spec}");
    }
}

/// Else nobody could take a finalizer from an object that was wrong before anybody was asked.
#[test]
fn what_was_wrong_before_is_not_in_the_way_of_an_edit() {
    let planner = live();
    let wrong = json!({"steps": [{"name": "end", "hangup": {}}, {"name": "lost", "hangup": {}}]});
    let worse = json!({"steps": [{"name": "end", "hangup": {}}, {"name": "lost", "hangup": {}}, {"name": "gone", "hangup": {}}]});
    let of = |spec, old| told(&planner.foresee("RoutingFlow", &key("acme/main"), Some(spec), old));
    let lost = "UnreachableStep spec.steps[1].name".to_owned();
    assert_eq!(of(&wrong, None), [vec![lost.clone()], vec![]]);
    assert_eq!(of(&wrong, Some(&wrong)), [vec![], vec![lost.clone()]]);
    assert_eq!(of(&worse, Some(&wrong)), [vec!["UnreachableStep spec.steps[2].name".to_owned()], vec![lost]]);
}

/// Rows: a change, and what it would do to others.
#[test]
fn what_a_change_does_to_others_is_said_before_it_is_made() {
    let planner = live();
    let mut trunk = first()[&("Trunk", "platform/carrier")].clone();
    trunk["grants"] = json!([]);
    for (kind, name, spec, wanted) in [
        (
            "RoutingFlow",
            "acme/main",
            None,
            vec!["ContactPoint acme/chat FlowNotFound", "PhoneNumber acme/a FlowNotFound"],
        ),
        ("BusinessHours", "acme/shop", None, vec!["RoutingFlow acme/main HoursNotFound"]),
        ("Trunk", "platform/carrier", Some(&trunk), vec!["PhoneNumber acme/a NumberNotGranted"]),
        ("Tenant", "acme/acme", None, vec!["PhoneNumber acme/a TenantNotFound"]),
        ("CallTest", "acme/test", None, vec![]),
    ] {
        let foresight = planner.foresee(kind, &key(name), spec, None);
        let others = foresight.across.iter().filter(|problem| problem.severity == Severity::Error);
        let mut others: Vec<String> = others
            .map(|problem| format!("{} {}", problem.object.as_ref().unwrap(), problem.reason))
            .collect();
        others.sort();
        assert_eq!(others, wanted, "{kind} {name}");
    }
}

/// Kind, name and spec of every object of ours in a folder that can be read at all.
fn objects(folder: &str) -> Vec<(String, String, Value)> {
    let mut objects = Vec::new();
    for file in support::folder(&repository().join(folder)) {
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let Ok(object) = Value::deserialize(document) else { break };
            let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
            let (Some(kind), Some(name)) = (text("/kind"), text("/metadata/name")) else { continue };
            let namespace = text("/metadata/namespace").unwrap_or_else(|| "default".to_owned());
            if text("/apiVersion").as_deref() == Some("switchboard.dev/v1alpha1")
                && file.path.ends_with(".yaml")
            {
                objects.push((kind, format!("{namespace}/{name}"), object["spec"].clone()));
            }
        }
    }
    objects
}

/// Objects come in any order: no example may be refused whatever there is already.
#[test]
fn no_object_of_an_example_proves_a_fault() {
    for example in ["quickstart", "tenant", "carrier-tls", "pbx-trunk", "gitops"] {
        let objects = objects(&format!("examples/{example}"));
        assert!(objects.len() > 3, "{example}: {}", objects.len());
        let mut planner = Planner::new(None);
        for full in [false, true] {
            for (kind, name, spec) in &objects {
                let foresight = planner.foresee(kind, &key(name), Some(spec), full.then_some(spec));
                assert_eq!(errors(&foresight.own), Vec::<String>::new(), "{example} {kind} {name}");
            }
            for (kind, name, spec) in &objects {
                planner.declare(kind, key(name), spec).unwrap();
            }
            planner.update(now());
        }
    }
}

/// The reasons that anything may be denied for. A reason that looks at other objects must never come to stand here.
#[test]
fn nothing_is_denied_for_what_others_may_change() {
    let mut reasons = BTreeSet::new();
    for folder in std::fs::read_dir(repository().join("tests/golden")).unwrap() {
        let folder = folder.unwrap().file_name().into_string().unwrap();
        for (kind, name, spec) in objects(&format!("tests/golden/{folder}")) {
            let Ok(key) = name.parse() else { continue };
            let foresight = Planner::new(None).foresee(&kind, &key, Some(&spec), None);
            reasons.extend(foresight.own.iter().map(|problem| problem.reason.to_string()));
        }
    }
    insta::assert_snapshot!(reasons.into_iter().collect::<Vec<_>>().join("\n"));
}
