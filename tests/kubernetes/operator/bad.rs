//! What an operator and its pods make of bad input, from the API server, from people and from each other.

use serde_json::json;

use super::{
    audit,
    manifests::Least,
    process::until,
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
