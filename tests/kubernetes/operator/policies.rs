//! What admission refuses and accepts without an operator anywhere.

use crate::control_plane::Outcome;

use super::world::{OPERATOR, SYSTEM, world};

const CARRIER: &str =
    "{apiVersion: switchboard.dev/v1alpha1, kind: Carrier, metadata: {name: own}, spec: {company: Own}}";
const POP: &str = "{apiVersion: switchboard.dev/v1alpha1, kind: PointOfPresence, metadata: {name: own},
  spec: {region: us, gateways: [{name: a, address: 192.0.2.7}]}}";
const CLUSTER: &str = "{apiVersion: switchboard.dev/v1alpha1, kind: VoiceCluster, metadata: {name: c14}, spec: {code: C14,
  networks: [{name: lan, bindAddress: 192.0.2.1}], listeners: [{name: udp, transport: UDP, port: 5060, network: lan}],
  media: {ports: {first: 20000, last: 20999}}}}";

fn trunk(more: &str) -> String {
    format!(
        "{{apiVersion: switchboard.dev/v1alpha1, kind: Trunk, metadata: {{name: pbx}}, spec: {{
  clusterRef: {{namespace: platform, name: c14}}, network: lan, connection: Dedicated, delivers: Pstn,
  peers: [{{name: pbx, address: 192.0.2.7}}]{more}}}}}"
    )
}

fn granting(namespace: &str) -> String {
    trunk(&format!(
        ", grants: [{{namespace: {namespace}, ranges: [{{first: \"+12125550100\", last: \"+12125550100\"}}]}}]"
    ))
}

fn secret(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, labels: {{switchboard.dev/use: \"true\"}}}}{more}}}"
    )
}

fn dry(namespace: &str, user: Option<&str>, manifest: &str) -> Outcome {
    let user = user.map(|user| format!("--as={user}"));
    let mut arguments =
        vec!["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-n", namespace, "-f", "-"];
    arguments.extend(user.as_deref());
    world().plane.kubectl_with(&arguments, manifest)
}

/// A policy takes effect a moment after it is made.
fn effective() {
    let plane = &world().plane;
    world().tenant_namespace("policy-tenant");
    world().platform_namespace("policy-platform");
    for (namespace, manifest) in [
        ("policy-tenant", CARRIER.to_owned()),
        ("policy-tenant", granting("other")),
        ("policy-tenant", secret("token", ", type: helm.sh/release.v1")),
    ] {
        plane.until("policies are in effect", || !dry(namespace, None, &manifest).succeeded);
    }
    let bad =
        "{apiVersion: v1, kind: Namespace, metadata: {name: odd, labels: {switchboard.dev/role: tennant}}}";
    plane.until("policies are in effect", || !dry("default", None, bad).succeeded);
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: mine}}";
    plane.until("policies are in effect", || {
        dry("policy-platform", Some(OPERATOR), secret).stderr.contains("outside switchboard-system")
    });
}

#[test]
fn tenants_namespaces_hold_nothing_of_the_platforms() {
    effective();
    for (manifest, words) in [
        (CARRIER.to_owned(), "Carrier is of the platform"),
        (POP.to_owned(), "PointOfPresence is of the platform"),
        (CLUSTER.to_owned(), "VoiceCluster is of the platform"),
        (granting("globex"), "must name no other namespace"),
        (trunk(", carrierRef: {name: example}"), "a carrier's trunk is of the platform"),
        (trunk(", popRefs: [{name: chicago}]"), "a carrier's trunk is of the platform"),
    ] {
        let refusal = dry("policy-tenant", None, &manifest).refused();
        assert!(refusal.contains(words), "{words}: {refusal}");
        dry("policy-platform", None, &manifest).done();
    }
    dry("policy-tenant", None, &trunk("")).done();
    dry("policy-tenant", None, &granting("policy-tenant")).done();
    dry("policy-tenant", None, &trunk(", popRefs: []")).done();
}

/// What was there before its namespace became a tenant's can be labelled, and can go, whatever holds it.
#[test]
fn what_is_there_already_can_be_labelled_and_deleted() {
    effective();
    let plane = &world().plane;
    plane.namespaces(["policy-late"]);
    plane.kubectl_with(&["apply", "--server-side", "-n", "policy-late", "-f", "-"], CARRIER).done();
    plane.kubectl(&["label", "namespace", "policy-late", "switchboard.dev/role=tenant"]).done();
    let company = ["patch", "carrier", "own", "-n", "policy-late", "--type=merge", "-p"];
    let write = |patch: &str| plane.kubectl(&[&company[..], &[patch]].concat());
    let mut count = 0;
    plane.until("the namespace's label is seen", || {
        count += 1;
        !write(&format!(r#"{{"spec":{{"company":"Other {count}"}}}}"#)).succeeded
    });
    write(r#"{"metadata":{"labels":{"a":"b"},"finalizers":["example.com/held"]}}"#).done();
    plane.kubectl(&["delete", "carrier", "own", "-n", "policy-late", "--wait=false"]).done();
    write(r#"{"metadata":{"finalizers":null}}"#).done();
    plane.until("the carrier is gone", || {
        !plane.kubectl(&["get", "carrier", "own", "-n", "policy-late"]).succeeded
    });
}

#[test]
fn only_secrets_written_for_objects_are_released_to_them() {
    effective();
    let token = secret("token", ", type: kubernetes.io/service-account-token")
        .replace("labels:", "annotations: {kubernetes.io/service-account.name: default}, labels:");
    for (manifest, words) in [
        (token, "kubernetes.io/service-account-token must not bear the label"),
        (secret("release", ", type: helm.sh/release.v1"), "must not bear the label"),
        (
            secret(
                "registry",
                ", type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: \"{}\"}",
            ),
            "must not bear",
        ),
        (secret("c14-edge-link", ""), "a name of the operator's own"),
        (secret("c14-snapshot-07", ""), "a name of the operator's own"),
        (secret("switchboard-link-ca", ""), "a name of the operator's own"),
        (secret("crm", "").replace("\"true\"", "\"yes\""), "must be \"true\""),
    ] {
        let refusal = dry("policy-tenant", None, &manifest).refused();
        assert!(refusal.contains(words), "{words}: {refusal}");
    }
    dry("policy-tenant", None, &secret("crm", ", stringData: {token: made-up}")).done();
    dry("policy-tenant", None, &secret("edge-link", "")).done();
    let unlabelled = "{apiVersion: v1, kind: Secret, metadata: {name: c14-edge-link}}";
    dry("policy-tenant", None, unlabelled).done();
}

#[test]
fn the_operator_writes_no_secret_but_its_own() {
    effective();
    let named = |name: &str| format!("{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}}}");
    for name in ["c14-edge-link", "c14-media-link", "c14-snapshot-00", "z9999-snapshot-31"] {
        dry("policy-platform", Some(OPERATOR), &named(name)).done();
    }
    for name in ["c14-snapshot-32", "carrier", "c14-edge-link-2", "switchboard-link-ca"] {
        let refusal = dry("policy-platform", Some(OPERATOR), &named(name)).refused();
        assert!(
            refusal.contains("outside switchboard-system the operator may write only"),
            "{name}: {refusal}"
        );
    }
    for name in ["switchboard-link-ca", "switchboard-plan-00", "switchboard-plan-31"] {
        dry(SYSTEM, Some(OPERATOR), &named(name)).done();
    }
    for name in ["switchboard-plan-32", "other"] {
        let refusal = dry(SYSTEM, Some(OPERATOR), &named(name)).refused();
        assert!(refusal.contains("forbidden"), "{name}: {refusal}");
    }
    // A tenant's namespace lets it read Secrets, and write none.
    let refusal = dry("policy-tenant", Some(OPERATOR), &named("c14-edge-link")).refused();
    assert!(refusal.contains("forbidden"), "{refusal}");
}

#[test]
fn a_namespaces_role_is_one_that_there_is() {
    effective();
    let namespace = |role: &str| {
        format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: odd, labels: {{switchboard.dev/role: {role}}}}}}}"
        )
    };
    for role in ["tennant", "Tenant", "\"\""] {
        let refusal = dry("default", None, &namespace(role)).refused();
        assert!(refusal.contains("must be tenant or platform"), "{refusal}");
    }
    for role in ["tenant", "platform"] {
        dry("default", None, &namespace(role)).done();
    }
}
