//! The definitions themselves: accepted, established, and explained by the server.

use serde_json::Value;

use super::control_plane::{control_plane, repository, walk};

fn condition<'a>(crd: &'a Value, name: &str) -> Option<&'a str> {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array)?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    found["status"].as_str()
}

fn definitions() -> Vec<Value> {
    let list = control_plane().kubectl(&["get", "crd", "-o", "json"]).json();
    list["items"].as_array().unwrap().clone()
}

#[test]
fn every_definition_is_established_and_structural() {
    let found = definitions();
    assert_eq!(found.len(), api::kinds().len());
    for crd in &found {
        let name = &crd["metadata"]["name"];
        assert_eq!(condition(crd, "Established"), Some("True"), "{name}");
        assert_eq!(condition(crd, "NamesAccepted"), Some("True"), "{name}");
        assert_ne!(condition(crd, "NonStructuralSchema"), Some("True"), "{name}: {crd}");
    }
}

/// Else a GitOps tool sees a difference for ever.
#[test]
fn the_server_keeps_every_schema_as_it_is_in_git() {
    let found = definitions();
    for kind in api::kinds() {
        let crd = found.iter().find(|crd| crd["spec"]["names"]["kind"] == kind.name).unwrap();
        let stored = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(*stored == kind.schema, "{}: {stored}", kind.name);
    }
}

#[test]
fn a_second_apply_changes_nothing() {
    let crds = repository().join("crds");
    let generations = || {
        let all = definitions();
        all.iter().map(|crd| crd["metadata"]["generation"].to_string()).collect::<Vec<_>>()
    };
    let before = generations();
    let apply = ["apply", "--server-side", "--warnings-as-errors", "-f", crds.to_str().unwrap()];
    control_plane().kubectl(&apply).done();
    assert_eq!(generations(), before);
}

#[test]
fn every_field_has_a_description() {
    let mut missing = String::new();
    for crd in definitions() {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(schema, crd["spec"]["names"]["kind"].as_str().unwrap(), &mut |path, schema| {
            let described = schema["description"].as_str().is_some_and(|text| text.len() > 5);
            // An entry of a list of texts is described by the list.
            let by_its_list = path.ends_with("[]") && schema["type"] != "object";
            if !described && !by_its_list {
                missing += &format!("{path}\n");
            }
        });
    }
    assert_eq!(missing, "");
}

#[test]
fn kubectl_explains_every_field_of_every_kind() {
    for kind in api::kinds() {
        let path = format!("{}.spec", kind.plural);
        let version = format!("--api-version={}", api::API_VERSION);
        let text = control_plane().kubectl(&["explain", &path, "--recursive", &version]).done();
        let listed = |name: &str| text.lines().any(|line| line.split_whitespace().next() == Some(name));
        walk(&kind.schema["properties"]["spec"], "", &mut |path, _| {
            let name = path.trim_end_matches("[]").rsplit('.').next().unwrap();
            assert!(name.is_empty() || listed(name), "kubectl explain {path} of {}: {text}", kind.name);
        });
    }
}

#[test]
fn one_category_lists_objects_of_every_kind() {
    let plane = control_plane();
    plane.namespaces(["category"]);
    let manifest = repository().join("tests/kubernetes/minimal.yaml");
    plane.kubectl(&["create", "-n", "category", "-f", manifest.to_str().unwrap()]).done();
    let listed = plane.kubectl(&["get", "switchboard", "-A", "-o", "name"]).done();
    for kind in api::kinds() {
        let singular = format!("{}.{}/", kind.name.to_lowercase(), api::GROUP);
        assert!(listed.contains(&singular), "{singular} is not in {listed}");
    }
}
