//! The validating webhook as people meet it: what kubectl prints, and that nobody has to wait for it.

use std::time::{Duration, SystemTime};

use link::pki::Authority;
use serde_json::{Value, json};

use super::{
    manifests::Least,
    process::{never, until},
    stage::{Operator, Stage},
    world::SYSTEM,
};

const CONFIGURATION: &str = "validatingwebhookconfiguration";

/// A world in which the API server asks an operator.
struct Scene {
    operator: Operator,
    least: Least,
    /// Goes last: logs lie in its folder.
    stage: Stage,
}

impl Scene {
    /// `before`: what was there before anybody was asked, as flows of the tenant.
    fn new(prefix: &str, before: &[(&str, Value)]) -> Self {
        let stage = Stage::new();
        let least = Least::new(prefix);
        least.manifests.apply(stage.world);
        for (name, steps) in before {
            stage.world.apply(None, &flow(&least.tenant, name, steps)).done();
        }
        let operator = stage.operator_with_webhook(prefix);
        operator.await_ready();
        let scene = Self { stage, least, operator };
        scene.await_asked();
        scene
    }

    /// Until the API server asks with the bundle that it has.
    fn await_asked(&self) {
        until("the webhook is asked", || {
            !self
                .dry(&flow(
                    &self.least.tenant,
                    "asked",
                    &json!([{"name": "a", "wait": {"seconds": 1, "next": "no"}}]),
                ))
                .0
        });
    }

    /// Whether a manifest is taken, and what kubectl prints besides, without anything being changed.
    fn dry(&self, manifest: &str) -> (bool, String) {
        let apply = ["apply", "--server-side", "--field-manager=test", "--dry-run=server", "-f", "-"];
        let told = self.stage.world.plane.kubectl_with(&apply, manifest);
        (told.succeeded, told.stderr)
    }

    #[track_caller]
    fn refused(&self, manifest: &str) -> String {
        self.stage.world.apply(None, manifest).refused()
    }

    #[track_caller]
    fn taken(&self, manifest: &str) -> String {
        let told = self.stage.world.apply(None, manifest);
        assert!(told.succeeded, "{}", told.stderr);
        told.stderr
    }

    fn bundle(&self) -> String {
        let get =
            ["get", CONFIGURATION, "switchboard", "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}"];
        self.stage.world.plane.kubectl(&get).done()
    }
}

fn flow(namespace: &str, name: &str, steps: &Value) -> String {
    json!({
        "apiVersion": api::API_VERSION, "kind": "RoutingFlow",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"steps": steps},
    })
    .to_string()
}

fn unknown_step() -> Value {
    json!([{"name": "pause", "wait": {"seconds": 1, "next": "edn"}}, {"name": "end", "hangup": {}}])
}

#[test]
fn what_a_flow_proves_wrong_is_refused_in_words_that_name_the_field() {
    let scene = Scene::new("denied", &[]);
    let tenant = &scene.least.tenant;
    let told = scene.refused(&flow(tenant, "new", &unknown_step()));
    assert_eq!(
        told,
        "Error from server: admission webhook \"validate.switchboard.dev\" denied the request: RoutingFlow \
         denied-acme/new spec.steps[0].wait.next [UnknownStep]: The flow has no step `edn`; did you mean `end`?\n"
    );
    let endless = json!([{"name": "a", "wait": {"seconds": 1, "next": "a"}}]);
    let expression = json!([
        {"name": "ask", "branch": {"cases": [{"when": "1 +", "next": "end"}], "otherwise": "end"}},
        {"name": "end", "hangup": {}},
    ]);
    for (steps, parts) in [
        (endless, ["spec.steps[0].name [EndlessLoop]", "`a`"]),
        (expression, ["spec.steps[0].branch.cases[0].when [InvalidExpression]", "denied-acme/new"]),
    ] {
        let told = scene.refused(&flow(tenant, "new", &steps));
        for part in parts {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
    // Whoever only asks is told the same.
    let (taken, dry) = scene.dry(&flow(tenant, "new", &unknown_step()));
    assert!(!taken && dry == told, "{dry}");
    assert!(!scene.stage.world.plane.kubectl(&["get", "routingflow", "new", "-n", tenant]).succeeded);
}

#[test]
fn what_depends_on_others_is_taken_with_a_warning() {
    let mut scene = Scene::new("warned", &[]);
    let number = |change: fn(&mut Value)| {
        let mut number = json!({
            "apiVersion": api::API_VERSION, "kind": "PhoneNumber",
            "metadata": {"name": "new", "namespace": "warned-acme"},
            "spec": {
                "number": "+12125550105", "kind": "Local", "origin": "Carrier",
                "trunkRef": {"namespace": "warned-platform", "name": "carrier"}, "flowRef": {"name": "ring"},
            },
        });
        change(&mut number["spec"]);
        number.to_string()
    };
    type Change = fn(&mut Value);
    let rows: [(Change, &str); 4] = [
        (|spec| spec["flowRef"]["name"] = "gone".into(), "spec.flowRef.name [FlowNotFound]"),
        (|spec| spec["trunkRef"]["name"] = "gone".into(), "spec.trunkRef.name [TrunkNotFound]"),
        (|spec| spec["number"] = "+12125550199".into(), "spec.number [NumberNotGranted]"),
        (|spec| spec["number"] = "+12125550100".into(), "spec.number [NumberTaken]"),
    ];
    for (change, wanted) in rows {
        let told = scene.taken(&number(change));
        let warning = format!("Warning: PhoneNumber warned-acme/new {wanted}: ");
        assert!(told.starts_with(&warning), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    // The one that has it keeps it.
    scene.stage.await_condition("phonenumber", "warned-acme", "new", "Accepted", "False/NumberTaken");
    scene.stage.await_condition("phonenumber", "warned-acme", "main", "Accepted", "True");
    assert_eq!(scene.taken(&number(|_| {})), "", "nothing is wrong any more");
    scene.stage.await_condition("phonenumber", "warned-acme", "new", "ResolvedRefs", "True");

    // What would be wrong with others because of it is told too.
    let mut trunk = scene.least.manifests.object("Trunk", "carrier").clone();
    trunk["spec"]["grants"] = json!([]);
    let told = scene.taken(&trunk.to_string());
    assert!(told.contains("Warning: PhoneNumber warned-acme/main"), "{told}");
}

#[test]
fn what_was_wrong_before_anybody_was_asked_is_not_in_the_way() {
    let scene = Scene::new("before", &[("old", unknown_step())]);
    let tenant = &*scene.least.tenant;
    let mut steps = unknown_step();
    steps[0]["wait"]["seconds"] = 2.into();
    let told = scene.taken(&flow(tenant, "old", &steps));
    assert!(
        told.starts_with("Warning: RoutingFlow before-acme/old spec.steps[0].wait.next [UnknownStep]"),
        "{told}"
    );
    // What is added to it is.
    let mut worse = steps.clone();
    worse
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"name": "more", "wait": {"seconds": 1, "next": "nowhere"}}));
    worse[1]["wait"]["next"] = "edn".into();
    let told = scene.refused(&flow(tenant, "old", &worse));
    assert!(told.contains("spec.steps[0].wait.next [UnknownStep]") && told.contains("`nowhere`"), "{told}");

    // Only a spec is ever judged.
    let plane = &scene.stage.world.plane;
    let finalizer = |names: &str| format!("{{\"metadata\":{{\"finalizers\":[{names}]}}}}");
    let quiet = |arguments: &[&str]| {
        let told = plane.kubectl(arguments);
        assert!(told.succeeded && told.stderr.is_empty(), "{arguments:?}: {}", told.stderr);
    };
    quiet(&["label", "routingflow", "old", "-n", tenant, "team=a"]);
    quiet(&["annotate", "routingflow", "old", "-n", tenant, "why=because"]);
    let set = finalizer("\"example.com/keep\"");
    quiet(&["patch", "routingflow", "old", "-n", tenant, "--type=merge", "-p", &set]);
    quiet(&["delete", "routingflow", "old", "-n", tenant, "--wait=false"]);
    quiet(&["patch", "routingflow", "old", "-n", tenant, "--type=merge", "-p", &finalizer("")]);
    until("it is gone", || !plane.kubectl(&["get", "routingflow", "old", "-n", tenant]).succeeded);
}

#[test]
fn without_the_webhook_everything_is_taken_and_its_status_says_what_is_wrong() {
    let scene = Scene::new("down", &[]);
    let tenant = &*scene.least.tenant;
    scene.operator.process.kill();
    scene.stage.service.remove(scene.operator.link);
    assert_eq!(scene.taken(&flow(tenant, "new", &unknown_step())), "");
    let _next = scene.stage.operator("next");
    scene.stage.await_condition("routingflow", tenant, "new", "Accepted", "False/UnknownStep");
}

#[test]
fn the_bundle_follows_the_authority_whoever_wrote_it_last() {
    let scene = Scene::new("bundle", &[]);
    let first = scene.bundle();
    // Another one's, as an installer that brings its own would write it.
    let foreign = Authority::generate("Elsewhere", SystemTime::now(), 30).unwrap();
    let value = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": encode(foreign.certificate_pem())}]);
    let patch = ["patch", CONFIGURATION, "switchboard", "--type=json", "-p", &value.to_string()];
    scene.stage.world.plane.kubectl(&patch).done();
    until("the foreign bundle is replaced", || scene.bundle() == first);
    scene.await_asked();

    // A new authority; the one before is still trusted.
    let next = Authority::generate("Switchboard", SystemTime::now(), 30).unwrap();
    let old =
        scene.stage.world.plane.object(SYSTEM, "secret", "switchboard-link-ca")["data"]["tls.crt"].clone();
    let data = json!({"data": {"tls.crt": encode(next.certificate_pem()), "tls.key": encode(&next.key_pem()), "old.crt": old}});
    let patch =
        ["patch", "secret", "switchboard-link-ca", "-n", SYSTEM, "--type=merge", "-p", &data.to_string()];
    scene.stage.world.plane.kubectl(&patch).done();
    until("the bundle begins with the new authority", || {
        scene.bundle().starts_with(encode(next.certificate_pem()).trim_end_matches('=').get(..400).unwrap())
    });
    scene.await_asked();
    never("it is written again and again", Duration::from_secs(3), || {
        let writes = scene.operator.proxy.writes();
        writes.iter().filter(|seen| seen.resource == "validatingwebhookconfigurations").count() > 4
    });
}

fn encode(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for octets in text.as_bytes().chunks(3) {
        let bits =
            (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(octets.get(at).copied().unwrap_or_default()));
        for at in 0..4 {
            let digit = ALPHABET[usize::try_from(bits >> (18 - 6 * at) & 63).unwrap()];
            encoded.push(if at <= octets.len() { char::from(digit) } else { '=' });
        }
    }
    encoded
}
