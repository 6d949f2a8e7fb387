//! What a live control plane asks of a planner.

use plan::{ConditionType, Effect, ObjectId, Planner, Problem, Reason, Severity};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Edit, Objects, anew, apply, edits, first, flow, id, key, number};
use crate::{cases, now};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn an_object_of_an_unknown_kind_is_refused_with_a_sentence() {
    let refused = Planner::new(None).declare("Flow", key("acme/x"), &json!({}));
    assert_eq!(refused, Err("`Flow` is not a kind of ours.".to_owned()));
}

/// `Accepted` of an object, and what of it is in force.
fn told(planner: &Planner, id: &ObjectId) -> (Option<String>, Effect) {
    let verdict = planner.verdict(id);
    let accepted = verdict.accepted.map(|problem| {
        assert_eq!(problem.reason, Reason::InvalidValue);
        format!("{}: {}", problem.field, problem.message)
    });
    (accepted, verdict.effect)
}

#[test]
fn an_object_that_cannot_be_read_says_what_cannot() {
    for (kind, spec, wanted) in [
        (
            "RoutingFlow",
            json!({"steps": 3}),
            "spec.steps: This version cannot read the object. `steps` must be a list, but this is a number.",
        ),
        (
            "RoutingFlow",
            Value::Null,
            "spec: This version cannot read the object. `spec` must be a mapping, but this is nothing.",
        ),
        (
            "PhoneNumber",
            json!({}),
            "spec.flowRef: This version cannot read the object. `spec` must have `flowRef`: the RoutingFlow of this namespace that its calls follow.",
        ),
    ] {
        let mut planner = Planner::new(None);
        planner.declare(kind, key("acme/x"), &spec).unwrap();
        planner.update(now());
        assert_eq!(told(&planner, &id((kind, "acme/x"))), (Some(wanted.to_owned()), Effect::Out));
    }
}

/// Everything that can be told of each object.
fn all(planner: &Planner, ids: impl Iterator<Item = ObjectId>) -> BTreeMap<ObjectId, (Vec<String>, Effect)> {
    let of = |id: ObjectId| {
        let problems =
            planner.problems_of(&id).into_iter().map(|problem| format!("{} {problem}", problem.field));
        let told = (problems.collect(), planner.verdict(&id).effect);
        (id, told)
    };
    ids.map(of).collect()
}

fn ids(objects: &Objects) -> impl Iterator<Item = ObjectId> {
    objects.keys().filter(|(kind, _)| *kind != "Secret").map(|of| id(*of))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(64), ..ProptestConfig::default() })]

    /// Whatever was changed: who asks only for what has turned knows all, conditions are the first problems of a whole plan,
    /// a planner that begins with what was kept tells the same, and what is stored is what a whole plan stores.
    #[test]
    fn whoever_follows_what_turns_knows_all(rounds in edits()) {
        let mut objects = first();
        let mut planner = anew(&objects, &Planner::new(None).plan());
        let mut known = BTreeMap::new();
        for round in std::iter::once(Vec::new()).chain(rounds) {
            let last = planner.plan();
            round.into_iter().for_each(|edit| apply(edit, &mut objects, &mut planner));
            planner.update(now());
            let turned = planner.take_turned();
            known.extend(all(&planner, turned.into_iter()));
            known.retain(|id, _| ids(&objects).any(|there| there == *id));
            prop_assert_eq!(&known, &all(&planner, ids(&objects)));
            let fresh = anew(&objects, &last);
            prop_assert_eq!(&known, &all(&fresh, ids(&objects)));
            let plan = planner.plan();
            prop_assert_eq!(plan.to_stored().unwrap(), planner.stored().unwrap());
            for id in ids(&objects) {
                let first = |condition: ConditionType| {
                    plan.problems.iter().find(|problem| {
                        problem.object.as_ref() == Some(&id)
                            && problem.severity == Severity::Error
                            && problem.reason.condition() == condition
                    })
                };
                let verdict = planner.verdict(&id);
                prop_assert_eq!(verdict.accepted, first(ConditionType::Accepted));
                prop_assert_eq!(verdict.resolved_refs, first(ConditionType::ResolvedRefs));
            }
        }
    }

    /// Whatever the world is: what is foreseen of an object is what is said of it once it is written, and asking changes
    /// nothing.
    #[test]
    fn what_is_foreseen_comes_to_pass(rounds in edits()) {
        let mut objects = first();
        let mut planner = anew(&objects, &Planner::new(None).plan());
        planner.take_turned();
        for edit in rounds.into_iter().flatten().filter(|edit| edit.id.0 != "Secret") {
            let of = id(edit.id);
            let old = objects.get(&edit.id).map(without_nulls);
            let new = edit.spec.as_ref().map(without_nulls);
            let before = planner.stored().unwrap();
            let foresight = planner.foresee(of.kind, &of.key, new.as_ref(), old.as_ref());
            prop_assert!(planner.update(now()).is_empty() && planner.take_turned().is_empty());
            prop_assert_eq!(before, planner.stored().unwrap());
            let gone = edit.spec.is_none();
            let unread = edit.spec.as_ref().is_some_and(Value::is_number);
            apply(edit, &mut objects, &mut planner);
            planner.update(now());
            let (own, others): (Vec<_>, Vec<_>) =
                foresight.own.iter().chain(&foresight.across).partition(|problem| problem.object.as_ref() == Some(&of));
            // Whoever has the number may wait for the one that is left, and go there.
            let goes = planner.take_turned().iter().any(|other| other.kind == "PhoneNumber" && *other != of);
            let told: BTreeSet<_> = planner.problems_of(&of).into_iter().filter(|_| !gone).collect();
            let is_left = |problem: &Problem| goes && problem.reason == Reason::NumberTaken && !told.contains(problem);
            let foreseen: BTreeSet<_> = own.into_iter().filter(|problem| !is_left(problem)).collect();
            // Of what cannot be read, that is all there is to say.
            prop_assert!(if unread { foreseen.len() == 1 && foreseen.is_subset(&told) } else { foreseen == told }, "{foreseen:?} {told:?}");
            for problem in others {
                let now = planner.problems_of(problem.object.as_ref().unwrap());
                prop_assert!(now.contains(&problem), "{problem:?} of {now:?}");
            }
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whoever writes statuses looks at what has turned, and at nothing else: it must be little.
#[test]
fn one_change_turns_a_handful_of_objects() {
    let mut objects = first();
    let names: Vec<&'static str> = (0..50).map(|place| &*format!("acme/n{place}").leak()).collect();
    let carrier = objects.get_mut(&("Trunk", "platform/carrier")).unwrap();
    carrier["grants"][0]["ranges"] = json!([{"first": "+13125550100", "last": "+13125550199"}]);
    for (place, name) in names.iter().enumerate() {
        let mut spec = number(1);
        spec["number"] = json!(format!("+131255501{}", place + 50));
        objects.insert(("PhoneNumber", name), spec);
    }
    let mut planner = anew(&objects, &Planner::new(None).plan());
    assert_eq!(planner.take_turned().len(), objects.len() - 1, "all but the Secret");
    let mut turned = |edit: Edit| {
        apply(edit, &mut objects, &mut planner);
        planner.update(now());
        planner.take_turned().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut capped = number(1);
    capped["number"] = json!("+13125550150");
    capped["limits"] = json!({"calls": 3});
    assert_eq!(
        turned(Edit { id: ("PhoneNumber", "acme/n0"), spec: Some(capped.clone()) }),
        ["PhoneNumber acme/n0"]
    );
    assert!(turned(Edit { id: ("PhoneNumber", "acme/n0"), spec: Some(capped) }).is_empty());
    assert_eq!(
        turned(Edit { id: ("RoutingFlow", "acme/main"), spec: Some(flow(1)) }),
        ["RoutingFlow acme/main"]
    );
    // What can be said of numbers without their flow is said of each.
    assert_eq!(turned(Edit { id: ("RoutingFlow", "acme/main"), spec: None }).len(), 53);
}

/// Rows: what becomes of an object, and what of it is in force then.
#[test]
fn what_is_in_force_is_told() {
    let mut objects = first();
    let mut planner = anew(&objects, &Planner::new(None).plan());
    let mut effect =
        |kind: &'static str, name: &'static str, spec: Option<Value>, of: (&'static str, &'static str)| {
            apply(Edit { id: (kind, name), spec }, &mut objects, &mut planner);
            planner.update(now());
            planner.verdict(&id(of)).effect
        };
    let main = ("RoutingFlow", "acme/main");
    let a = ("PhoneNumber", "acme/a");
    let broken = || Some(flow(3));
    assert_eq!(effect("CallTest", "acme/test", None, main), Effect::Current);
    assert_eq!(effect("RoutingFlow", "acme/main", broken(), main), Effect::Kept);
    assert_eq!(effect("RoutingFlow", "acme/main", Some(json!(7)), main), Effect::Kept);
    assert_eq!(effect("RoutingFlow", "acme/main", broken(), a), Effect::Current);
    assert_eq!(effect("RoutingFlow", "acme/main", None, main), Effect::Out);
    // The number has what it led to, until somebody edits it.
    assert_eq!(effect("RoutingFlow", "acme/main", None, a), Effect::Kept);
    assert_eq!(effect("RoutingFlow", "acme/new", broken(), ("RoutingFlow", "acme/new")), Effect::Out);
    assert_eq!(effect("RoutingFlow", "acme/main", Some(flow(0)), a), Effect::Current);
    assert_eq!(effect("PhoneNumber", "acme/a", Some(json!({})), a), Effect::Kept);
    assert_eq!(effect("PhoneNumber", "acme/a", Some(number(9)), a), Effect::Current);
    let mut ungranted = first()[&("Trunk", "platform/carrier")].clone();
    ungranted["grants"] = json!([]);
    assert_eq!(effect("Trunk", "platform/carrier", Some(ungranted), a), Effect::Out);
    let carrier = ("Trunk", "platform/carrier");
    assert_eq!(effect("VoiceCluster", "platform/c14", None, carrier), Effect::Out);
    assert_eq!(effect("VoiceCluster", "platform/c14", None, ("Tenant", "acme/acme")), Effect::Out);
}
