//! What a later write may change, where status is written, and what becomes of fields that no schema has.

use serde_json::{Value, json};

use super::control_plane::{Outcome, control_plane, repository};

/// One object of each kind, in a namespace of its own.
fn minimal(namespace: &str) {
    let plane = control_plane();
    plane.namespaces([namespace]);
    let manifest = repository().join("tests/kubernetes/minimal.yaml");
    plane.kubectl(&["create", "-n", namespace, "-f", manifest.to_str().unwrap()]).done();
}

fn patch(namespace: &str, kind: &str, name: &str, patch: &Value, subresource: Option<&str>) -> Outcome {
    let patch = format!("--patch={patch}");
    let mut arguments = vec!["patch", "-n", namespace, kind, name, "--type=merge", &patch];
    let subresource = subresource.map(|name| format!("--subresource={name}"));
    arguments.extend(subresource.as_deref());
    control_plane().kubectl(&arguments)
}

#[test]
fn what_must_not_change_does_not() {
    minimal("transitions");
    for (kind, name, spec, message) in [
        ("VoiceCluster", "c14", json!({"code": "C15"}), "code must not change"),
        ("Trunk", "least", json!({"clusterRef": {"name": "e39"}}), "clusterRef must not change"),
        ("NumberOrder", "least", json!({"carrierRef": {"name": "other"}}), "carrierRef must not change"),
    ] {
        let refusal = patch("transitions", kind, name, &json!({"spec": spec}), None).refused();
        assert!(refusal.contains(message), "{kind}: {refusal}");
        // Whatever else it says may change.
        patch("transitions", kind, name, &json!({"metadata": {"labels": {"touched": "yes"}}}), None).done();
    }
    patch("transitions", "NumberOrder", "least", &json!({"spec": {"count": 2}}), None).done();
}

#[test]
fn spec_and_status_are_written_apart() {
    minimal("status");
    let plane = control_plane();
    for kind in api::kinds() {
        let name = if kind.name == "VoiceCluster" { "c14" } else { "least" };
        let before = plane.object("status", kind.name, name);
        let both = json!({"spec": null, "status": {"observedGeneration": 7}});
        let status = json!({"status": {"observedGeneration": 7}});

        patch("status", kind.name, name, &status, None).done();
        let after = plane.object("status", kind.name, name);
        assert_eq!(after.get("status"), None, "{}: a write of the object wrote its status", kind.name);

        patch("status", kind.name, name, &both, Some("status")).done();
        let after = plane.object("status", kind.name, name);
        assert_eq!(after["status"]["observedGeneration"], 7, "{}", kind.name);
        assert_eq!(after["spec"], before["spec"], "{}: a write of the status wrote the spec", kind.name);
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"], "{}", kind.name);
    }
    patch("status", "NumberOrder", "least", &json!({"spec": {"count": 2}}), None).done();
    let after = plane.object("status", "NumberOrder", "least");
    assert_eq!(after["metadata"]["generation"], 2);
    assert_eq!(after["status"]["observedGeneration"], 7);
}

const UNKNOWN: &str = "apiVersion: switchboard.dev/v1alpha1\nkind: Queue\nmetadata: {name: odd}\nspec: {musik: waltz, limits: {contact: 5}}\n";

#[test]
fn fields_that_no_schema_has_are_dropped_or_refused_as_the_client_asks() {
    let plane = control_plane();
    plane.namespaces(["unknown"]);
    let write = |verb: &str, validate: &str| {
        let validate = format!("--validate={validate}");
        plane.kubectl_with(&[verb, "-n", "unknown", &validate, "-f", "-"], UNKNOWN)
    };
    for verb in ["create", "apply"] {
        let refusal = write(verb, "strict").refused();
        for field in ["spec.musik", "spec.limits.contact"] {
            assert!(refusal.contains(&format!("unknown field \"{field}\"")), "{verb}: {refusal}");
        }
        let warned = write(verb, "warn");
        assert!(warned.stderr.contains("Warning: unknown field \"spec.musik\""), "{verb}: {}", warned.stderr);
        warned.done();
        let stored = plane.object("unknown", "Queue", "odd");
        assert_eq!(stored["spec"].get("musik"), None, "{verb}");
        assert_eq!(stored["spec"]["limits"], json!({"contacts": 500, "waitSeconds": 1800}), "{verb}");
        plane.kubectl(&["delete", "-n", "unknown", "queue.switchboard.dev", "odd"]).done();
    }
    let arguments = ["apply", "--server-side", "--validate=ignore", "-n", "unknown", "-f", "-"];
    let refusal = plane.kubectl_with(&arguments, UNKNOWN).refused();
    assert!(refusal.contains("field not declared in schema"), "{refusal}");
}
