//! From objects to calls: what status says is what a telephone finds.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::{Value, json};

use super::{
    manifests::{Least, Manifests},
    process::{free_ports, until},
    sipp::{Callee, HANGS_UP, REFUSED, call},
    stage::{Operator, Pod, Stage, id_of},
};

const MAIN: &str = "+12125550100";
const MOBILE: &str = "+12125550199";

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Everything of the example that pods need is on them, and its number rings the PBX.
#[test]
fn an_example_comes_live_and_takes_a_call() {
    let stage = Stage::new();
    let mut manifests = Manifests::example("tenant").in_namespaces("example");
    let ports = manifests.on_free_ports();
    let pbx = free_ports(2);
    manifests.object("Trunk", "branch")["spec"]["peers"][0]["address"] = json!(format!("127.0.0.1:{pbx}"));
    // At any time of any day.
    let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let hours = manifests.object("BusinessHours", "office");
    hours["spec"]["week"] = json!([{"days": days, "from": "00:00", "to": "24:00"}]);
    hours["spec"]["holidays"] = json!([]);
    manifests.apply(stage.world);
    let operator = stage.operator("example");
    operator.await_ready();
    let cluster = ("example-platform", "c14");
    let (media, edge) = (stage.media(cluster, "c14-media-0"), stage.edge(cluster, "c14-edge-0"));
    media.await_ready();
    edge.await_ready();
    stage.settle(&operator);
    let mut wrong = String::new();
    for (id, told) in stage.verdicts() {
        for of in ["Accepted", "ResolvedRefs", "Programmed"] {
            if told.get(of).is_some_and(|told| !told.starts_with("True")) {
                wrong += &format!("{id}: {of} is {}\n", told[of]);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let callee = Callee::start(&stage, pbx);
    call(&stage, address(ports[&5060]), MAIN, HANGS_UP);
    assert_eq!(callee.called(), ["200"]);
}

/// A cluster with its pods, and a telephone that answers.
struct Live {
    stage: Stage,
    least: Least,
    operator: Operator,
    callee: Callee,
    pods: [Pod; 2],
}

impl Live {
    fn new(prefix: &str) -> Self {
        let stage = Stage::new();
        let least = Least::new(prefix);
        least.manifests.apply(stage.world);
        let operator = stage.operator(prefix);
        operator.await_ready();
        let cluster = (least.platform.as_str(), "c14");
        let pods = [stage.media(cluster, "c14-media-0"), stage.edge(cluster, "c14-edge-0")];
        pods.iter().for_each(Pod::await_ready);
        let callee = Callee::start(&stage, least.gateway);
        let live = Self { stage, least, operator, callee, pods };
        live.await_number("Programmed", "True");
        live
    }

    fn await_number(&self, of: &str, wanted: &str) {
        self.stage.await_condition("PhoneNumber", &self.least.tenant, "main", of, wanted);
    }

    fn rings(&self) {
        let before = self.callee.called().len();
        call(&self.stage, address(self.least.sip), MAIN, HANGS_UP);
        assert_eq!(self.callee.called()[before..], [MOBILE]);
    }

    fn is_refused(&self) {
        let before = self.callee.called().len();
        call(&self.stage, address(self.least.sip), MAIN, REFUSED);
        assert_eq!(self.callee.called().len(), before);
    }

    /// Applies an object otherwise than it was, and returns how it was.
    fn change(&mut self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let object = self.least.manifests.object(kind, name);
        let before = object.clone();
        change(object);
        let object = object.clone();
        self.stage.apply(&object).unwrap();
        before
    }

    /// As it was.
    fn put(&mut self, object: Value) {
        self.stage.apply(&object).unwrap();
        let (kind, name) = (
            object["kind"].as_str().unwrap().to_owned(),
            object["metadata"]["name"].as_str().unwrap().to_owned(),
        );
        *self.least.manifests.object(&kind, &name) = object;
    }
}

#[test]
fn a_broken_flow_keeps_its_last_good_form() {
    let mut live = Live::new("broken");
    live.rings();
    let good = live
        .change("RoutingFlow", "ring", |flow| flow["spec"]["steps"][0]["dial"]["next"] = json!("nowhere"));
    let tenant = live.least.tenant.clone();
    let is = |live: &Live, of: &str, wanted: &str| {
        live.stage.await_condition("RoutingFlow", &tenant, "ring", of, wanted)
    };
    is(&live, "Accepted", "False/UnknownStep");
    is(&live, "Programmed", "False/LastGoodKept");
    let found = live.stage.world.plane.object(&tenant, "RoutingFlow", "ring");
    assert_eq!(found["status"]["programmedGeneration"], 1, "{}", found["status"]);
    assert_eq!(found["status"]["observedGeneration"], 2);
    live.rings();
    live.put(good);
    is(&live, "Accepted", "True");
    is(&live, "Programmed", "True");
    live.rings();
}

#[test]
fn a_number_outlives_its_flow_until_somebody_edits_it() {
    let mut live = Live::new("outlives");
    let flow = live.least.manifests.object("RoutingFlow", "ring").clone();
    live.stage.delete(&flow).unwrap();
    live.await_number("ResolvedRefs", "False/FlowNotFound");
    // What pods have of it is what it says; what it refers to is another matter.
    live.stage.settle(&live.operator);
    live.await_number("Programmed", "True");
    live.rings();
    live.change("PhoneNumber", "main", |number| number["spec"]["limits"] = json!({"calls": 7}));
    live.await_number("Programmed", "False/NotLive");
    live.is_refused();
    live.put(flow);
    live.await_number("Programmed", "True");
    live.rings();
}

#[test]
fn a_withdrawn_grant_ends_a_number_at_once() {
    let mut live = Live::new("grant");
    let granted = live.change("Trunk", "carrier", |trunk| trunk["spec"]["grants"] = json!([]));
    live.await_number("ResolvedRefs", "False/NumberNotGranted");
    until("pods know", || {
        let (_, told) = live.stage.verdicts().into_iter().find(|(id, _)| id.starts_with("Trunk")).unwrap();
        told["Programmed"].starts_with("True")
    });
    live.is_refused();
    live.put(granted);
    live.await_number("Programmed", "True");
    live.rings();
}

#[test]
fn a_deleted_number_is_nobodys() {
    let mut live = Live::new("deleted");
    let number = live.least.manifests.object("PhoneNumber", "main").clone();
    live.stage.delete(&number).unwrap();
    until("it is gone", || !live.stage.verdicts().contains_key(&id_of(&number)));
    live.stage.settle(&live.operator);
    live.is_refused();
    live.put(number);
    live.await_number("Programmed", "True");
    live.rings();
}

#[test]
fn a_secret_is_told_of_until_it_is_there_released_and_whole() {
    let mut live = Live::new("secret");
    let (platform, trunk) = (live.least.platform.clone(), "carrier");
    live.change("Trunk", trunk, |trunk| {
        trunk["spec"]["digest"] =
            json!({"username": "us", "secretRef": {"name": "carrier", "key": "password"}});
    });
    let is = |live: &Live, wanted: &str| {
        live.stage.await_condition("Trunk", &platform, trunk, "ResolvedRefs", wanted)
    };
    let apply = |live: &Live, labels: &str, values: &str| {
        let manifest = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: carrier, namespace: {platform}, labels: {{{labels}}}}}, stringData: {{{values}}}}}"
        );
        live.stage.world.apply(None, &manifest).done();
    };
    is(&live, "False/SecretNotFound");
    // The operator sees no Secret that is not released, and so cannot tell whether it is there.
    apply(&live, "", "password: made-up");
    is(&live, "False/SecretNotFound");
    apply(&live, "switchboard.dev/use: \"true\"", "pass: made-up");
    live.stage.world.plane.kubectl(&["delete", "secret", "carrier", "-n", &platform]).done();
    apply(&live, "switchboard.dev/use: \"true\"", "pass: made-up");
    is(&live, "False/SecretKeyNotFound");
    apply(&live, "switchboard.dev/use: \"true\"", "password: made-up-and-not-to-be-seen");
    is(&live, "True");
    for object in live.stage.objects() {
        assert!(!object.to_string().contains("not-to-be-seen"), "{}", id_of(&object));
    }
    assert!(!live.operator.process.log().contains("not-to-be-seen"));
    for pod in &live.pods {
        assert!(!pod.process.log().contains("not-to-be-seen"));
    }
}

/// Leaders die under running pods: what pods apply never goes back.
#[test]
fn pods_follow_leaders_and_never_go_back() {
    let mut live = Live::new("terms");
    let second = live.stage.operator("second");
    second.await_ready();
    live.operator.process.kill();
    live.stage.service.remove(live.operator.link);
    // Calls need no operator.
    live.rings();
    second.await_leading();
    live.change("PhoneNumber", "main", |number| number["spec"]["limits"] = json!({"calls": 7}));
    live.await_number("Programmed", "True");
    // What a media pod has is no matter of a number's.
    let terms = |pod: &Pod| pod.positions().into_iter().map(|(term, _)| term).collect::<BTreeSet<_>>();
    until("every pod hears the second leader", || live.pods.iter().all(|pod| terms(pod).len() >= 2));
    let third = live.stage.operator("third");
    third.await_ready();
    second.process.signal("STOP");
    live.stage.service.remove(second.link);
    third.await_leading();
    live.change("PhoneNumber", "main", |number| number["spec"]["limits"] = json!({"calls": 8}));
    live.await_number("Programmed", "True");
    until("every pod hears the third leader", || live.pods.iter().all(|pod| terms(pod).len() >= 3));
    second.process.signal("CONT");
    second.process.wait();
    live.rings();
    for pod in &live.pods {
        let positions = pod.positions();
        assert!(positions.is_sorted(), "{}: {positions:?}", pod.process.name);
        assert!(positions.len() >= 2, "{}: {positions:?}", pod.process.name);
    }
}
