//! The chart as plain manifests, and what the API server makes of it.

use std::fs;

use serde_json::Value;

use super::world::{alone, templates, world};

#[test]
fn every_template_is_plain_yaml() {
    let mut count = 0;
    for entry in fs::read_dir(templates()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("{{"), "{} can be applied by helm alone", path.display());
        count += 1;
    }
    assert!(count >= 3, "{count} templates");
}

#[test]
fn the_chart_is_applied_twice_without_a_warning() {
    // Operators with a webhook of their own write into the chart's configuration.
    let (_turn, world) = alone();
    let again = world.apply_chart();
    assert_eq!(again.stderr, "");
    again.done();
}

/// Their expressions fit the schemas of all kinds that they match.
#[test]
fn no_policy_has_an_expression_that_the_server_warns_of() {
    let world = world();
    let policies = || {
        let list = world.plane.kubectl(&["get", "validatingadmissionpolicies", "-o", "json"]).json();
        list["items"].as_array().cloned().unwrap()
    };
    let checked = |policy: &Value| policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
    world.plane.until("the server has checked every policy", || policies().iter().all(checked));
    let policies = policies();
    assert!(policies.len() >= 5, "{}", policies.len());
    for policy in policies {
        let name = &policy["metadata"]["name"];
        assert_eq!(policy.pointer("/status/typeChecking/expressionWarnings"), None, "{name}");
        // An error in a policy must not open the door.
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].to_string();
        assert!(!rules.contains("DELETE") && !rules.contains("\"*\"]}"), "{name}: {rules}");
    }
}

#[test]
fn the_webhook_is_asked_of_every_kind_and_never_in_the_way() {
    let (_turn, world) = alone();
    let found =
        world.plane.kubectl(&["get", "validatingwebhookconfiguration", "switchboard", "-o", "json"]).json();
    let [webhook] = found["webhooks"].as_array().unwrap().as_slice() else { panic!("{found}") };
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let rule = &webhook["rules"][0];
    let plurals: Vec<String> = api::kinds().into_iter().map(|kind| kind.plural).collect();
    assert_eq!(texts(&rule["resources"]), plurals);
    assert_eq!(texts(&rule["operations"]), ["CREATE", "UPDATE"]);
    assert_eq!(webhook["failurePolicy"], "Ignore");
    assert_eq!(webhook["sideEffects"], "None");
    assert!(webhook["timeoutSeconds"].as_u64().unwrap() <= 3);
}

#[test]
fn pods_that_carry_calls_get_no_token() {
    for account in ["switchboard-edge", "switchboard-media"] {
        let found = world().plane.object(super::world::SYSTEM, "serviceaccount", account);
        assert_eq!(found["automountServiceAccountToken"], false, "{account}");
    }
}
