//! What an operator makes of an API server that refuses, falls silent or forgets, of objects and Secrets that are of no use,
//! and of pods that do not keep to what is agreed: it goes on, asks no more than it must, and comes right afterwards.

mod definitions;
mod pods;

use std::{collections::BTreeMap, thread, time::Duration};

use link::{
    config::{Feed, Offer, PodName, Start, State},
    identity::{Identity, Role},
    tls::{CredentialsFile, Tls},
};
use model::ClusterId;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    manifests::Least,
    process::{never, until},
    proxy::{Fault, Seen},
    stage::{Operator, Stage},
    world::SYSTEM,
};

/// How long a fault lasts.
const A_WHILE: Duration = Duration::from_secs(6);

/// Stands in no log, event or status, whatever goes wrong with the Secret that holds it.
const MARKER: &str = "made-up-but-very-secret-2718281828";

/// A pod that does as it should. It leaves with the test.
struct Pod {
    feed: Feed,
    task: JoinHandle<()>,
}

impl Pod {
    fn new(stage: &Stage, cluster: (&str, &str), role: Role) -> Self {
        let tls = credentials(stage, cluster, role);
        let name = format!("{}-{role}", cluster.1);
        Self::named(stage, tls, cluster, role, &name, &stage.service.address.to_string(), None)
    }

    /// `refuses`: the path that it finds fault with in everything.
    fn named(
        stage: &Stage,
        tls: Tls,
        cluster: (&str, &str),
        role: Role,
        name: &str,
        operator: &str,
        refuses: Option<&'static str>,
    ) -> Self {
        let identity = Identity::new(id(cluster), role);
        let pod = PodName::new(name, "1");
        let start = Start { pod, version: "test".into(), held: None, seed: 7 };
        let operators = vec![operator.to_owned()];
        stage.world.run(async {
            let feed = Feed::connect(tls, identity, operators, start);
            feed.state(State { ready: true, capacity: 10, ..State::default() });
            let of_task = feed.clone();
            let task = tokio::spawn(async move {
                loop {
                    let Offer::Publication { position, digest, .. } = of_task.next().await else { continue };
                    match refuses {
                        Some(path) => of_task.refuse(position, path, "must be something else"),
                        None => of_task.acknowledge(position, digest),
                    }
                }
            });
            Self { feed, task }
        })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn id((namespace, name): (&str, &str)) -> ClusterId {
    format!("{namespace}/{name}").parse().map(ClusterId).unwrap()
}

/// What the operator has made for the pods of a cluster.
fn credentials(stage: &Stage, (namespace, cluster): (&str, &str), role: Role) -> Tls {
    let secret = format!("{cluster}-{role}-link");
    let folder = stage.folder.path().join(format!("{namespace}-{secret}"));
    until(&format!("the operator has made the Secret {secret}"), || {
        stage.world.plane.kubectl(&["get", "secret", &secret, "-n", namespace]).succeeded
    });
    stage.mount(namespace, &secret, &folder);
    Tls::new(&CredentialsFile::read(&folder).unwrap()).unwrap()
}

/// One pod of each role.
fn pods(stage: &Stage, cluster: (&str, &str)) -> Vec<Pod> {
    Role::ALL.map(|role| Pod::new(stage, cluster, role)).into()
}

/// A world whose number `main` is told to pods, and can be changed again and again.
struct Scene {
    pods: Vec<Pod>,
    operator: Operator,
    least: Least,
    changes: u64,
    /// Goes last: logs lie in its folder.
    stage: Stage,
}

impl Scene {
    fn new(prefix: &str) -> Self {
        Self::on(Stage::new(), prefix, &[])
    }

    fn on(stage: Stage, prefix: &str, more: &[&str]) -> Self {
        let least = Least::new(prefix);
        least.manifests.apply(stage.world);
        let operator =
            if more.is_empty() { stage.operator(prefix) } else { stage.operator_with(prefix, more) };
        operator.await_ready();
        operator.await_leading();
        let pods = pods(&stage, (&least.platform, "c14"));
        stage.await_condition("phonenumber", &least.tenant, "main", "Programmed", "True");
        Self { stage, least, operator, pods, changes: 0 }
    }

    fn change(&mut self) {
        self.changes += 1;
        let number = self.least.manifests.object("PhoneNumber", "main");
        number["spec"]["limits"] = json!({"calls": self.changes});
        self.stage.apply(&number.clone()).unwrap();
    }

    fn is_programmed(&self) -> bool {
        let found = self.stage.world.plane.object(&self.least.tenant, "phonenumber", "main");
        found["status"]["programmedGeneration"] == found["metadata"]["generation"]
    }

    #[track_caller]
    fn await_programmed(&self, after: &str) {
        until(&format!("pods have the change after {after}"), || {
            assert!(self.operator.process.ended().is_none(), "the operator has ended by {after}");
            self.is_programmed()
        });
    }

    /// How many requests a fault has met.
    fn asked(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.operator.proxy.seen().iter().filter(|seen| matches(seen)).count()
    }
}

fn writes_status(seen: &Seen) -> bool {
    seen.verb == "patch" && seen.resource.ends_with("/status")
}

fn reads(seen: &Seen) -> bool {
    ["list", "watch"].contains(&seen.verb)
}

/// Whoever follows has nothing to do with it.
fn nothing_is_written_by(other: &Operator) {
    let writes = other.proxy.writes();
    assert!(writes.is_empty(), "{} follows, and writes {writes:?}", other.identity);
}

#[test]
fn a_status_that_is_refused_is_written_in_the_end() {
    let mut scene = Scene::new("refused");
    let other = scene.stage.operator("other");
    other.await_ready();
    for code in [409, 422, 403, 429, 500] {
        scene.operator.proxy.forget();
        scene.operator.proxy.spoil(Fault::Refused(code), usize::MAX, writes_status);
        scene.change();
        thread::sleep(A_WHILE);
        let asked = scene.asked(|seen| writes_status(seen) && seen.code == code);
        assert!((1..=20).contains(&asked), "{code}: {asked} times");
        assert!(!scene.is_programmed());
        scene.operator.proxy.heal();
        scene.await_programmed(&format!("status patches that are answered with {code}"));
        nothing_is_written_by(&other);
    }
    // What was done although the answer is lost is not done again for ever.
    scene.operator.proxy.spoil(Fault::Lost, 2, writes_status);
    scene.change();
    scene.await_programmed("answers that are lost");
    scene.operator.await_quiet(Duration::from_secs(2));
    nothing_is_written_by(&other);
}

#[test]
fn lists_and_watches_that_are_refused_hold_back_only_what_they_would_have_told() {
    let mut scene = Scene::new("unread");
    let other = scene.stage.operator("other");
    other.await_ready();
    let kinds = api::kinds().len() + 2;
    for code in [403, 404, 410, 422, 429, 500, 503] {
        scene.operator.proxy.forget();
        scene.operator.proxy.spoil(Fault::Refused(code), usize::MAX, reads);
        scene.operator.proxy.cut_watches();
        scene.change();
        thread::sleep(A_WHILE);
        let asked = scene.asked(|seen| reads(seen) && seen.code == code);
        assert!(asked >= kinds, "{code}: {asked} times, and there are {kinds} watches");
        assert!(asked <= 7 * kinds, "{code}: {asked} times for {kinds} watches");
        scene.operator.proxy.heal();
        scene.await_programmed(&format!("lists and watches that are answered with {code}"));
        scene.operator.await_ready();
        nothing_is_written_by(&other);
    }
}

#[test]
fn a_watch_whose_version_is_too_old_begins_anew() {
    let mut scene = Scene::new("expired");
    for fault in [Fault::Expired, Fault::Refused(410)] {
        scene.operator.proxy.forget();
        scene.operator.proxy.spoil(fault, 30, |seen| seen.verb == "watch");
        scene.operator.proxy.cut_watches();
        scene.change();
        scene.await_programmed("versions that are too old");
        until("every fault has been met", || {
            scene.asked(|seen| seen.verb == "list") >= 20 && scene.operator.proxy.heal() == 0
        });
        scene.change();
        scene.await_programmed("watches that began anew");
    }
}

/// A connection that nobody closes and nobody answers: after 65 seconds without a word it is given up.
#[test]
fn a_watch_that_falls_silent_is_found_out() {
    let mut scene = Scene::new("silent");
    scene.operator.proxy.spoil(Fault::Silent, 1, |seen| seen.is("watch", "phonenumbers"));
    scene.operator.proxy.cut_watches();
    until("the watch is silent", || scene.operator.proxy.seen().last().is_some() && scene.asked(reads) > 20);
    scene.change();
    never("the change is known by a silent watch", Duration::from_secs(5), || scene.is_programmed());
    scene.await_programmed("a watch that falls silent");
}

/// Renewals are judged by when they are seen: what clocks say makes no difference.
#[test]
fn a_lease_whose_clock_is_an_hour_off_is_waited_for_like_any_other() {
    for hours in ["-1", "+1"] {
        let stage = Stage::new();
        let least = Least::new("clock");
        least.manifests.apply(stage.world);
        let renew = |count: u32| {
            let shifted = std::process::Command::new("date")
                .args(["-u", "-d", &format!("{hours} hour"), "+%Y-%m-%dT%H:%M:%S"])
                .output()
                .unwrap();
            let time = String::from_utf8(shifted.stdout).unwrap();
            let lease = format!(
                "{{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {{name: switchboard, namespace: {SYSTEM}}},
                spec: {{holderIdentity: elsewhere, leaseDurationSeconds: 5, leaseTransitions: 41, renewTime: \"{}.{count:06}Z\"}}}}",
                time.trim()
            );
            stage.world.apply(None, &lease).done();
        };
        renew(0);
        let operator = stage.operator("clock");
        let mut count = 0;
        never("somebody else renews and this one leads", 2 * A_WHILE, || {
            count += 1;
            renew(count);
            operator.leads() || !operator.proxy.writes().is_empty()
        });
        // Its holder is gone.
        operator.await_leading();
        assert_eq!(operator.metric("switchboard_operator_term"), Some(42.0));
        stage.await_condition("phonenumber", &least.tenant, "main", "Accepted", "True");
    }
}

fn integration(namespace: &str) -> Value {
    json!({
        "apiVersion": api::API_VERSION, "kind": "Integration", "metadata": {"name": "crm", "namespace": namespace},
        "spec": {
            "url": "https://crm.example.com/api", "timeoutSeconds": 1,
            "headers": [{"name": "Authorization", "secretRef": {"name": "crm", "key": "token"}}],
        },
    })
}

fn secret(namespace: &str, key: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: crm, namespace: {namespace}, labels: {{switchboard.dev/use: \"true\"}}}},
        stringData: {{{key}: {MARKER}}}}}"
    )
}

fn message(stage: &Stage, kind: &str, namespace: &str, name: &str, of: &str) -> String {
    let found = stage.world.plane.object(namespace, kind, name);
    let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == of);
    found.map_or_else(String::new, |found| found["message"].as_str().unwrap_or_default().to_owned())
}

/// Whatever an operator tells anybody but pods.
fn no_secret_is_told(stage: &Stage, operator: &Operator) {
    let all = |kind: &str| stage.world.plane.kubectl(&["get", kind, "-A", "-o", "json"]).done();
    let metrics = super::process::get(operator.http, "/metrics").unwrap().1;
    let told = BTreeMap::from([
        ("log", operator.process.log()),
        ("events", all("events") + &all("events.v1.events.k8s.io")),
        ("objects", stage.objects().iter().map(ToString::to_string).collect()),
        ("metrics", metrics),
        ("readiness", operator.readiness().unwrap_or_default().1),
    ]);
    for (what, text) in told {
        assert!(!text.is_empty() && !text.contains(MARKER), "a secret is in {what}");
    }
}

/// Each tenant binds a role for its own Secrets; one that has not concerns nobody else.
#[test]
fn secrets_that_may_not_be_read_hold_back_only_who_refers_to_them() {
    let stage = Stage::new();
    let mut least = Least::new("forbidden");
    least.manifests.object("VoiceCluster", "c14")["spec"]["allowedNamespaces"] =
        json!(["forbidden-acme", "forbidden-globex"]);
    let mut tenant = least.manifests.object("Tenant", "acme").clone();
    tenant["metadata"] = json!({"name": "globex", "namespace": "forbidden-globex"});
    tenant["spec"]
        .as_object_mut()
        .unwrap()
        .retain(|name, _| ["clusterRef", "country", "timeZone"].contains(&name.as_str()));
    least.manifests.0.push(tenant);
    for namespace in ["forbidden-acme", "forbidden-globex"] {
        least.manifests.0.push(integration(namespace));
    }
    least.manifests.apply(stage.world);
    for namespace in ["forbidden-acme", "forbidden-globex"] {
        stage.world.apply(None, &secret(namespace, "token")).done();
    }
    stage
        .world
        .plane
        .kubectl(&["delete", "rolebinding", "switchboard-secrets", "-n", "forbidden-acme"])
        .done();
    let operator = stage.operator("forbidden");
    operator.await_ready();
    stage.await_condition("integration", "forbidden-globex", "crm", "ResolvedRefs", "True");
    stage.await_condition("integration", "forbidden-acme", "crm", "ResolvedRefs", "False/SecretNotFound");
    let told = message(&stage, "integration", "forbidden-acme", "crm", "ResolvedRefs");
    for part in [
        "spec.headers[0].secretRef.name",
        "may not read Secrets of namespace forbidden-acme",
        "`switchboard-secrets`",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    stage.await_condition("phonenumber", "forbidden-acme", "main", "ResolvedRefs", "True");
    let metric = "switchboard_operator_secrets_forbidden{namespace=\"forbidden-acme\"}";
    until("it is counted", || operator.metric(metric) == Some(1.0));
    no_secret_is_told(&stage, &operator);

    stage.world.tenant_namespace("forbidden-acme");
    stage.await_condition("integration", "forbidden-acme", "crm", "ResolvedRefs", "True");
    until("it is counted no more", || operator.metric(metric).is_none());
    no_secret_is_told(&stage, &operator);
}

#[test]
fn a_secret_without_its_key_is_told_of_and_its_values_are_not() {
    let stage = Stage::new();
    let mut least = Least::new("keyless");
    least.manifests.0.push(integration("keyless-acme"));
    least.manifests.apply(stage.world);
    stage.world.apply(None, &secret("keyless-acme", "tokin")).done();
    let operator = stage.operator("keyless");
    operator.await_ready();
    stage.await_condition("integration", "keyless-acme", "crm", "ResolvedRefs", "False/SecretKeyNotFound");
    let told = message(&stage, "integration", "keyless-acme", "crm", "ResolvedRefs");
    assert!(told.contains("spec.headers[0].secretRef.key") && told.contains("`token`"), "{told}");
    stage.world.apply(None, &secret("keyless-acme", "token")).done();
    stage.await_condition("integration", "keyless-acme", "crm", "ResolvedRefs", "True");
    no_secret_is_told(&stage, &operator);
}

fn authority(values: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: switchboard-link-ca, namespace: {SYSTEM}}}, stringData: {values}}}"
    )
}

#[test]
fn an_authority_of_another_shape_is_named_and_touches_nothing_else() {
    let stage = Stage::new();
    let least = Least::new("authority");
    least.manifests.apply(stage.world);
    let garbage = authority(&format!("{{tls.crt: {MARKER}, tls.key: {MARKER}}}"));
    stage.world.apply(None, &garbage).done();
    let operator = stage.operator("authority");
    until("readiness says so", || {
        operator.readiness().is_some_and(|(code, text)| {
            code == 503
                && text.contains("switchboard-link-ca holds no authority")
                && text.contains("delete it")
        })
    });
    // People still learn what is wrong with what they have written.
    stage.await_condition("phonenumber", &least.tenant, "main", "Accepted", "True");
    no_secret_is_told(&stage, &operator);
    let secret = ["delete", "secret", "switchboard-link-ca", "-n", SYSTEM];
    stage.world.plane.kubectl(&secret).done();
    operator.await_ready();
    let _pods = pods(&stage, (&least.platform, "c14"));
    stage.await_condition("phonenumber", &least.tenant, "main", "Programmed", "True");

    // Where one was read, it goes on with that.
    stage.world.plane.kubectl(&secret).done();
    stage.world.apply(None, &garbage).done();
    thread::sleep(A_WHILE);
    operator.await_ready();
    assert!(_pods.iter().all(|pod| pod.feed.is_connected()));
    no_secret_is_told(&stage, &operator);
}
