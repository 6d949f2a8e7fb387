//! Definitions that are missing, newer or looser than this version's, and versions that etcd has forgotten; on a control
//! plane of their own, since definitions are everybody's.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Least, Scene, Stage, pods, until};
use crate::{
    control_plane::{Settings, repository},
    operator::{process::never, world::World},
};

/// It reads from etcd whatever it is asked, so that what is compacted there is gone.
static OTHER: LazyLock<World> =
    LazyLock::new(|| World::start(&Settings { flags: "--watch-cache=false", ..Settings::default() }));
static TURN: Mutex<()> = Mutex::new(());

/// No freeze is long enough to lose it.
const LONG_LEASE: [&str; 6] =
    ["--lease-seconds", "600", "--renew-deadline-seconds", "500", "--retry-seconds", "1"];

fn stage() -> Stage {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // What a test that failed has left.
    OTHER.plane.define();
    OTHER.clear();
    Stage::on(turn, &OTHER)
}

fn definition(plural: &str) -> Value {
    let path = repository().join(format!("crds/{plural}.switchboard.dev.yaml"));
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn define(definition: &Value) {
    OTHER.plane.kubectl_with(&["apply", "--server-side", "-f", "-"], &definition.to_string()).done();
}

fn undefine(plural: &str) {
    OTHER.plane.kubectl(&["delete", "crd", &format!("{plural}.switchboard.dev"), "--timeout=60s"]).done();
}

/// Applies an object with whatever its schema takes, once it takes it.
fn apply(stage: &Stage, object: &Value) {
    let mut last = String::new();
    until("the schema takes it", || {
        let applied = stage.world.apply(None, &object.to_string());
        last = applied.stderr;
        applied.succeeded
    });
    assert!(!last.contains("unknown field"), "{last}");
}

#[test]
fn a_kind_that_is_not_defined_is_named_and_waited_for() {
    let stage = stage();
    let least = Least::new("undefined");
    least.manifests.apply(stage.world);
    undefine("voicemailboxes");
    let operator = stage.operator("undefined");
    let says_so = || {
        operator.readiness().is_some_and(|(code, text)| {
            code == 503
                && text.contains("no CustomResourceDefinition for VoicemailBox")
                && text.contains("crds/")
        })
    };
    until("readiness says so", says_so);
    never("anything is written meanwhile", Duration::from_secs(4), || {
        operator.proxy.seen().iter().any(super::Seen::is_write)
    });
    assert!(stage.condition("phonenumber", &least.tenant, "main", "Accepted").is_none());
    define(&definition("voicemailboxes"));
    operator.await_ready();
    let _pods = pods(&stage, (&least.platform, "c14"));
    stage.await_condition("phonenumber", &least.tenant, "main", "Programmed", "True");

    // And once more, while it runs.
    for _ in 0..2 {
        undefine("voicemailboxes");
        until("readiness says so again", says_so);
        define(&definition("voicemailboxes"));
        operator.await_ready();
    }
}

#[test]
fn a_definition_that_is_newer_than_the_operator_is_read_as_far_as_it_goes() {
    let mut scene = Scene::on(stage(), "newer", &[]);
    let mut newer = definition("phonenumbers");
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    newer.pointer_mut(spec).unwrap()["hologram"] =
        json!({"type": "object", "properties": {"depth": {"type": "integer"}}});
    define(&newer);
    let number = scene.least.manifests.object("PhoneNumber", "main");
    number["spec"]["hologram"] = json!({"depth": 3});
    number["spec"]["limits"] = json!({"calls": 7});
    let number = number.clone();
    until("the schema has the field", || {
        scene.stage.world.apply(None, &number.to_string());
        let found = scene.stage.world.plane.object(&scene.least.tenant, "phonenumber", "main");
        found["spec"]["hologram"]["depth"] == 3
    });
    scene.await_programmed("a field that it does not know");
    let tenant = &scene.least.tenant;
    scene.stage.await_condition("phonenumber", tenant, "main", "Accepted", "True");
    scene.stage.await_condition("phonenumber", tenant, "main", "Ready", "True");
    // It has not taken the field away.
    let found = scene.stage.world.plane.object(tenant, "phonenumber", "main");
    assert_eq!(found["spec"]["hologram"]["depth"], 3);
}

#[test]
fn an_object_that_cannot_be_read_is_wrong_alone_and_what_it_was_stays_live() {
    let mut scene = Scene::on(stage(), "unreadable", &[]);
    let tenant = scene.least.tenant.clone();
    scene.stage.await_condition("routingflow", &tenant, "ring", "Programmed", "True");
    let mut loose = definition("routingflows");
    loose.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").unwrap()["properties"]["spec"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    define(&loose);
    let flow = |name: &str, spec: Value| json!({"apiVersion": api::API_VERSION, "kind": "RoutingFlow", "metadata": {"name": name, "namespace": tenant}, "spec": spec});
    apply(&scene.stage, &flow("ring", json!({"steps": "many"})));
    scene.stage.await_condition("routingflow", &tenant, "ring", "Accepted", "False");
    scene.stage.await_condition("routingflow", &tenant, "ring", "Programmed", "False/LastGoodKept");
    for spec in [json!({}), json!({"steps": [[], 7]}), json!({"steps": [{"name": "end", "dance": {}}]})] {
        apply(&scene.stage, &flow("never", spec));
        scene.stage.await_condition("routingflow", &tenant, "never", "Accepted", "False");
        scene.stage.await_condition("routingflow", &tenant, "never", "Programmed", "False/NotLive");
    }
    let known = json!({"steps": [{"name": "end", "hangup": {}}], "mood": "good"});
    apply(&scene.stage, &flow("fine", known));
    scene.stage.await_condition("routingflow", &tenant, "fine", "Programmed", "True");
    // Whoever leads there still does.
    scene.stage.await_condition("phonenumber", &tenant, "main", "Programmed", "True");
    scene.change();
    scene.await_programmed("a flow that cannot be read");
    scene.stage.await_condition("phonenumber", &tenant, "main", "Ready", "True");
}

/// Etcd speaks JSON over HTTP too.
fn etcd(path: &str, body: &Value) -> Value {
    let process = OTHER.plane.folder.join("run/control-plane/pid/etcd.pid");
    let process = fs::read_to_string(process).unwrap();
    let id = process.split_whitespace().next().unwrap();
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap();
    let arguments: Vec<String> =
        line.split(|octet| *octet == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let place = arguments.iter().position(|word| word == "--listen-client-urls").unwrap();
    let address = arguments[place + 1].trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// Makes etcd forget everything but what is.
fn compact() {
    let found = etcd("/v3/kv/range", &json!({"key": "AA=="}));
    etcd("/v3/kv/compaction", &json!({"revision": found["header"]["revision"], "physical": true}));
}

#[test]
fn what_etcd_has_forgotten_is_listed_anew() {
    let mut scene = Scene::on(stage(), "compacted", &LONG_LEASE);
    let before = scene_objects(&scene);
    let bye = scene.least.manifests.object("PhoneNumber", "bye").clone();
    for frozen in [false, true] {
        scene.operator.proxy.forget();
        if frozen {
            scene.operator.process.signal("STOP");
        } else {
            scene.operator.proxy.spoil(super::Fault::Refused(500), usize::MAX, |seen| seen.verb == "watch");
        }
        scene.operator.proxy.cut_watches();
        for _ in 0..3 {
            scene.change();
        }
        scene.stage.delete(&bye).unwrap();
        compact();
        scene.operator.proxy.heal();
        if frozen {
            scene.operator.process.signal("CONT");
        }
        scene.await_programmed("a compaction");
        assert!(scene.asked(|seen| seen.is("list", "phonenumbers")) > 0, "it had to be listed anew");
        until("what is gone is known to be", || scene_objects(&scene) == before - 1.0);
        scene.stage.apply(&bye).unwrap();
        scene.stage.await_condition("phonenumber", &scene.least.tenant, "bye", "Programmed", "True");
        assert_eq!(scene_objects(&scene), before);
    }
}

fn scene_objects(scene: &Scene) -> f64 {
    scene.operator.metric("switchboard_operator_objects").unwrap_or_default()
}
