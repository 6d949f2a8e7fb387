//! What an operator and its pods make of bad input, from the API server, from people and from each other.

use std::time::Duration;

use serde_json::json;

use super::{
    audit,
    manifests::Least,
    process::{never, until},
    proxy::Fault,
    stage::{Operator, Stage, id_of},
    world::SYSTEM,
};
use crate::control_plane::repository;

/// Changes a flow and waits until its status has seen that.
#[track_caller]
fn change_is_seen(stage: &Stage, least: &mut Least, count: u32) {
    let flow = least.manifests.object("RoutingFlow", "ring");
    flow["spec"]["steps"][0]["dial"]["ringSeconds"] = json!(20 + count);
    let flow = flow.clone();
    stage.apply(&flow).unwrap();
    until("the change is seen", || {
        stage.verdicts().get(&id_of(&flow)).is_some_and(|told| told["observed"] == "true")
    });
}

fn begin(prefix: &str) -> (Stage, Least, Operator) {
    let stage = Stage::new();
    let least = Least::new(prefix);
    least.manifests.apply(stage.world);
    let operator = stage.operator(prefix);
    operator.await_ready();
    stage.await_seen(&operator);
    (stage, least, operator)
}

#[test]
fn readiness_says_which_definition_is_missing() {
    let stage = Stage::new();
    let name = format!("donotcalllists.{}", api::GROUP);
    let plane = &stage.world.plane;
    plane.kubectl(&["delete", "crd", &name]).done();
    let operator = stage.operator("missing");
    until("readiness tells", || {
        operator.readiness().is_some_and(|(code, text)| code == 503 && text.contains("DoNotCallList"))
    });
    never("it ends", Duration::from_secs(2), || operator.process.ended().is_some());
    plane.define();
    operator.await_ready();
}

/// A definition newer than the operator, and objects with a field that it does not know.
#[test]
fn a_field_of_the_future_is_no_obstacle() {
    let (stage, mut least, operator) = begin("future");
    let plane = &stage.world.plane;
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/novelty";
    let patch =
        json!([{"op": "add", "path": path, "value": {"type": "string", "description": "Of the future."}}]);
    let crd = format!("phonenumbers.{}", api::GROUP);
    plane.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &patch.to_string()]).done();
    let number = least.manifests.object("PhoneNumber", "main");
    number["spec"]["novelty"] = json!("yes");
    let number = number.clone();
    until("the new field is served", || stage.apply(&number).is_ok());
    stage.await_seen(&operator);
    let told = &stage.verdicts()[&id_of(&number)];
    let file = repository().join("crds").join(format!("{crd}.yaml"));
    plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]).done();
    plane.define();
    assert!(told["Accepted"].starts_with("True"), "{told:?}");
    assert!(told["ResolvedRefs"].starts_with("True"), "{told:?}");
}

#[test]
fn whatever_a_write_is_answered_with_the_status_comes_right() {
    let (stage, mut least, operator) = begin("answers");
    for (count, fault) in [
        Fault::Refused(409),
        Fault::Refused(403),
        Fault::Refused(422),
        Fault::Refused(429),
        Fault::Refused(500),
        Fault::Lost,
        Fault::Late(Duration::from_secs(2)),
    ]
    .into_iter()
    .enumerate()
    {
        operator.proxy.spoil(fault, 2, |seen| seen.resource.ends_with("/status"));
        let flow = least.manifests.object("RoutingFlow", "ring");
        flow["spec"]["steps"][0]["dial"]["ringSeconds"] = json!(30 + count);
        let flow = flow.clone();
        stage.apply(&flow).unwrap();
        let other = least.manifests.object("PhoneNumber", "main");
        other["spec"]["limits"] = json!({"calls": count + 1});
        let other = other.clone();
        stage.apply(&other).unwrap();
        // What the server says is invalid must change before it is worth another word.
        let waits = fault != Fault::Refused(422);
        if waits {
            for object in [&flow, &other] {
                until(&format!("{} is told of in spite of {fault:?}", id_of(object)), || {
                    stage.verdicts()[&id_of(object)]["observed"] == "true"
                });
            }
        } else {
            until("both were refused", || {
                operator.proxy.seen().iter().filter(|seen| seen.code == 422).count() >= 2
            });
        }
        operator.proxy.heal();
        assert!(operator.process.ended().is_none(), "{fault:?} ends the operator");
    }
    change_is_seen(&stage, &mut least, 99);
}

#[test]
fn a_watch_that_breaks_or_is_too_old_is_begun_anew() {
    let (stage, mut least, operator) = begin("watches");
    operator.proxy.cut_watches();
    change_is_seen(&stage, &mut least, 1);
    operator.proxy.spoil(Fault::Expired, 25, |seen| seen.verb == "watch");
    operator.proxy.cut_watches();
    change_is_seen(&stage, &mut least, 2);
    operator.proxy.heal();
    for code in [403, 429, 500] {
        operator.proxy.spoil(Fault::Refused(code), 20, |seen| ["watch", "list"].contains(&seen.verb));
        operator.proxy.cut_watches();
        change_is_seen(&stage, &mut least, u32::from(code) / 10);
        operator.proxy.heal();
    }
}

/// A connection that is dead and does not say so.
#[test]
fn a_watch_that_falls_silent_is_found_out() {
    let (stage, mut least, operator) = begin("silent");
    operator.proxy.hold_watches();
    let flow = least.manifests.object("RoutingFlow", "ring");
    flow["spec"]["steps"][0]["dial"]["ringSeconds"] = json!(33);
    let flow = flow.clone();
    stage.apply(&flow).unwrap();
    // Watches that begin later may speak.
    operator.proxy.release_new_watches();
    until("the change is seen", || stage.verdicts()[&id_of(&flow)]["observed"] == "true");
}

/// The Secrets that hold the last good forms.
fn plans(stage: &Stage) -> Vec<String> {
    let secrets = stage.world.plane.kubectl(&["get", "secrets", "-n", SYSTEM, "-o", "name"]).done();
    secrets.lines().filter(|name| name.contains("switchboard-plan-")).map(str::to_owned).collect()
}

/// The next leader begins with what this one knew.
#[test]
fn what_is_good_is_kept_when_an_operator_ends() {
    let (stage, _least, operator) = begin("kept");
    assert!(operator.process.terminate().success());
    assert!(!plans(&stage).is_empty());
}

/// Half a word in the Secrets that an operator begins with.
#[test]
fn kept_secrets_of_a_wrong_shape_stop_nobody() {
    let (stage, mut least, operator) = begin("shapes");
    until("the last good forms are kept", || !plans(&stage).is_empty());
    assert!(operator.process.terminate().success());
    let plane = &stage.world.plane;
    for name in plans(&stage) {
        let patch = r#"{"data":{"part":"Z2FyYmFnZQ=="}}"#;
        plane.kubectl(&["patch", &name, "-n", SYSTEM, "--type=merge", "-p", patch]).done();
    }
    let second = stage.operator("second");
    second.await_ready();
    second.await_leading();
    change_is_seen(&stage, &mut least, 3);
}

/// A namespace whose VoiceCluster's Secrets the operator may not write.
#[test]
fn a_namespace_without_rights_holds_up_no_other() {
    let stage = Stage::new();
    let (first, other) = (Least::new("aaa-without"), Least::new("with"));
    for least in [&first, &other] {
        least.manifests.apply(stage.world);
    }
    let unbind = ["delete", "rolebinding", "--all", "-n", &first.platform];
    stage.world.plane.kubectl(&unbind).done();
    let operator = stage.operator("without");
    operator.await_ready();
    let edge = stage.edge((&other.platform, "c14"), "c14-edge-0");
    edge.await_ready();
}

/// A certificate is of one cluster and one role.
#[test]
fn a_certificate_of_another_role_or_cluster_opens_nothing() {
    let (stage, least, operator) = begin("certificates");
    let other = Least::new("certificates-other");
    other.manifests.apply(stage.world);
    let cluster = (least.platform.as_str(), "c14");
    // Both Secrets are there once pods of both could begin.
    let (edge, foreign) =
        (stage.edge(cluster, "real-edge"), stage.edge((&other.platform, "c14"), "other-edge"));
    edge.await_ready();
    foreign.await_ready();
    let wrong_role = stage.edge_with(cluster, "wrong-role", (&least.platform, "c14-media-link"));
    let wrong_cluster = stage.edge_with(cluster, "wrong-cluster", (&other.platform, "c14-edge-link"));
    never("a pod with another one's certificate is ready", Duration::from_secs(6), || {
        [&wrong_role, &wrong_cluster].iter().any(|pod| pod.is_ready())
    });
    assert!(operator.process.ended().is_none());
}

/// Each right that the chart grants the operator is used, and each that it uses is granted.
#[test]
fn the_operator_is_granted_what_it_uses_and_nothing_else() {
    let stage = Stage::new();
    let mut least = Least::new("rights-used");
    let trunk = least.manifests.object("Trunk", "carrier");
    trunk["spec"]["digest"] = json!({"username": "us", "secretRef": {"name": "carrier", "key": "password"}});
    least.manifests.apply(stage.world);
    // One of each kind, so that each has a status.
    let one_of_each = repository().join("tests/kubernetes/minimal.yaml");
    stage.world.tenant_namespace("rights-used-acme");
    stage.world.platform_namespace("rights-used-kinds");
    let apply = ["apply", "--server-side", "-n", "rights-used-kinds", "-f", one_of_each.to_str().unwrap()];
    stage.world.plane.kubectl(&apply).done();
    let operator = stage.operator_with_webhook("used");
    operator.await_ready();
    stage.await_seen(&operator);
    // Something goes wrong for another reason, which is told of twice.
    for name in ["nobody", "nobody-either", "nobody"] {
        let number = least.manifests.object("PhoneNumber", "main");
        number["spec"]["flowRef"]["name"] = json!(name);
        let number = number.clone();
        stage.apply(&number).unwrap();
        stage.await_seen(&operator);
    }
    let edge = stage.edge((&least.platform, "c14"), "c14-edge-0");
    edge.await_ready();
    assert!(operator.process.terminate().success());
    let second = stage.operator_with_webhook("second");
    second.await_ready();
    second.await_leading();
    stage.await_seen(&second);
    assert!(second.process.terminate().success());

    let asked = audit::asked(&stage.world.audit_log());
    let used = audit::used(&asked);
    let granted = audit::granted();
    let missing: Vec<_> = used.difference(&granted).collect();
    let needless: Vec<_> = granted.difference(&used).collect();
    assert!(
        missing.is_empty() && needless.is_empty(),
        "asked for and not granted: {missing:?}\ngranted and never used: {needless:?}"
    );
}
