//! A world around the core: objects as an API server has them, pods that acknowledge, and a clock.

use std::{path::Path, sync::LazyLock};

use link::{
    config::{PodId, Report},
    identity::Role,
};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{status::ConditionType, watch};

/// An API server's objects.
#[derive(Debug, Clone)]
struct Stored {
    kind: &'static str,
    key: Key,
    uid: String,
    generation: i64,
    version: u64,
    spec: Value,
    status: Value,
}

struct World {
    core: Core,
    now: Duration,
    objects: BTreeMap<(&'static str, Key), Stored>,
    version: u64,
    writes: Vec<String>,
    /// From when all was forgotten to the first write.
    wrote_after: Duration,
    forgot: Duration,
    events: Vec<String>,
    published: Vec<(ClusterId, Publication)>,
    /// What every write of a status is answered with. None: it is stored.
    refusal: Option<u16>,
}

fn wall() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn kinds() -> BTreeSet<&'static str> {
    static KINDS: LazyLock<BTreeSet<&'static str>> =
        LazyLock::new(|| watch::kinds().into_iter().map(|kind| kind.name).collect());
    KINDS.clone()
}

/// The objects of an example, Secrets apart.
fn example(name: &str) -> Vec<(&'static str, Key, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // CallTests are many, and no pod ever hears of them.
        let of_tests = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("calltests"));
        if of_tests || path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(path).unwrap()) {
            let value = Value::deserialize(document).unwrap();
            let Some(kind) = kinds().into_iter().find(|kind| value["kind"] == *kind) else { continue };
            let text = |name: &str| value["metadata"][name].as_str().unwrap().to_owned();
            objects.push((kind, Key::new(&text("namespace"), &text("name")), value["spec"].clone()));
        }
    }
    assert!(objects.len() > 3, "{name}");
    objects
}

impl World {
    fn new() -> Self {
        let mut world = Self::of(Core::new(kinds(), None));
        world.sync();
        world
    }

    fn of(core: Core) -> Self {
        Self {
            core,
            now: Duration::from_secs(1),
            objects: BTreeMap::new(),
            version: 0,
            writes: Vec::new(),
            wrote_after: Duration::ZERO,
            forgot: Duration::ZERO,
            events: Vec::new(),
            published: Vec::new(),
            refusal: None,
        }
    }

    fn sync(&mut self) {
        for kind in kinds() {
            self.core.change(self.now, Change::Synced(kind));
        }
    }

    /// With everything of an example, pods of both roles, and time to settle.
    fn settled(name: &str) -> Self {
        let mut world = Self::new();
        world.core.lead(world.now, 1);
        for (kind, key, spec) in example(name) {
            world.apply(kind, &key, spec);
        }
        world.secrets(name);
        world.run(1);
        let clusters: Vec<ClusterId> = world.core.clusters().cloned().collect();
        for cluster in clusters {
            world.join(&cluster);
        }
        world.run(30);
        world
    }

    /// Every Secret that anything names is there.
    fn secrets(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let namespaces: Vec<String> = self.core.namespaces.keys().cloned().collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            for document in serde_yaml::Deserializer::from_str(&text) {
                let value = Value::deserialize(document).unwrap();
                if value["kind"] != "Secret" {
                    continue;
                }
                let text = |name: &str| value["metadata"][name].as_str().unwrap();
                let key = Key::new(text("namespace"), text("name"));
                let of = |data: &str| value[data].as_object().cloned().unwrap_or_default();
                let names = of("stringData").into_iter().chain(of("data"));
                let values = names.map(|(name, _)| (name, b"hunter2".to_vec())).collect();
                self.core.change(self.now, Change::Secret(SecretData { key, values }));
            }
        }
        for namespace in namespaces {
            self.core.change(self.now, Change::SecretsSynced(namespace));
        }
    }

    fn pod(cluster: &ClusterId, role: Role, name: &str) -> PodId {
        PodId { cluster: cluster.clone(), role, name: name.into(), instance: "1".into() }
    }

    fn tell(&mut self, pod: PodId, what: What) {
        self.core.report(self.now, Report { pod, what });
    }

    /// Pods say that they are there.
    fn beat(&mut self) {
        let clusters: Vec<ClusterId> = self.core.clusters().cloned().collect();
        for cluster in clusters {
            for role in Role::ALL {
                self.tell(Self::pod(&cluster, role, "a"), What::State(link::config::State::default()));
            }
        }
    }

    fn join(&mut self, cluster: &ClusterId) {
        for role in Role::ALL {
            let pod = Self::pod(cluster, role, "a");
            self.tell(pod.clone(), What::Joined { held: None, version: String::new() });
            let latest = self.published.iter().rev().find(|(id, _)| id == cluster);
            if let Some((_, publication)) = latest {
                let (position, digest) = (publication.position, publication.sections.digest());
                self.tell(pod, What::Acknowledged { position, digest });
            }
        }
    }

    fn declare(&mut self, stored: &Stored) {
        self.core.change(
            self.now,
            Change::Object(Box::new(Declared {
                kind: stored.kind,
                key: stored.key.clone(),
                uid: stored.uid.as_str().into(),
                generation: stored.generation,
                version: stored.version.to_string().into(),
                spec: stored.spec.clone(),
                status: Shown::read(&stored.status),
            })),
        );
    }

    fn apply(&mut self, kind: &'static str, key: &Key, spec: Value) {
        self.version += 1;
        let version = self.version;
        let stored = self.objects.entry((kind, key.clone())).or_insert_with(|| Stored {
            kind,
            key: key.clone(),
            uid: format!("{kind}-{key}-{version}"),
            generation: 0,
            version,
            spec: Value::Null,
            status: Value::Null,
        });
        if stored.spec != spec {
            stored.generation += 1;
        }
        stored.spec = spec;
        stored.version = version;
        let stored = stored.clone();
        self.declare(&stored);
    }

    fn delete(&mut self, kind: &'static str, key: &Key) {
        self.objects.remove(&(kind, key.clone()));
        self.core.change(self.now, Change::Gone { kind, key: key.clone() });
    }

    fn change(&mut self, kind: &'static str, key: &str, change: impl FnOnce(&mut Value)) {
        let key: Key = key.parse().unwrap();
        let mut spec = self.objects[&(kind, key.clone())].spec.clone();
        change(&mut spec);
        self.apply(kind, &key, spec);
    }

    /// Lets so many seconds pass, with pods that acknowledge and a server that stores.
    fn run(&mut self, seconds: u64) {
        self.run_with(seconds, true);
    }

    fn run_with(&mut self, seconds: u64, acknowledge: bool) {
        let until = self.now + Duration::from_secs(seconds);
        let mut turns = 0;
        while self.now < until {
            turns += 1;
            self.now += Duration::from_millis(50);
            if turns % 40 == 0 {
                self.beat();
            }
            self.core.update(self.now, wall());
            self.core.pass(self.now);
            while let Some(output) = self.core.poll() {
                match output {
                    Output::Publish(cluster, publication) => {
                        let (position, digest) = (publication.position, publication.sections.digest());
                        self.published.push((cluster.clone(), publication));
                        for role in Role::ALL.into_iter().filter(|_| acknowledge) {
                            self.tell(
                                Self::pod(&cluster, role, "a"),
                                What::Acknowledged { position, digest },
                            );
                        }
                    }
                    Output::WatchSecrets(namespace) => {
                        self.core.change(self.now, Change::SecretsSynced(namespace));
                    }
                    Output::Retire(_) | Output::Topology(..) | Output::Store { .. } => {}
                }
            }
            while let Some(write) = self.core.next_write(self.now, wall()) {
                self.store(write);
            }
        }
    }

    fn store(&mut self, write: Write) {
        let Write { id, uid, body, transitions } = write;
        if let Some(code) = self.refusal {
            if self.writes.is_empty() {
                self.wrote_after = self.now - self.forgot;
            }
            self.writes.push(id.to_string());
            return self.core.written(self.now, &id, &uid, Written::Failed(Some(code)));
        }
        self.version += 1;
        let version = self.version;
        if self.writes.is_empty() {
            self.wrote_after = self.now - self.forgot;
        }
        self.writes.push(id.to_string());
        self.events.extend(transitions.iter().map(|one| format!("{id} {}", one.reason.as_str())));
        let stored = self.objects.get_mut(&(id.kind, id.key.clone())).unwrap();
        assert_eq!(
            body["metadata"]["resourceVersion"],
            stored.version.to_string(),
            "{id}: written over a newer one"
        );
        stored.status = body["status"].clone();
        stored.version = version;
        let stored = stored.clone();
        let shown = Shown::read(&stored.status);
        self.core.written(self.now, &id, &uid, Written::Done(version.to_string().into(), shown));
        self.declare(&stored);
    }

    /// `Programmed=True` and so on of an object, with the reasons of those that are not.
    fn status(&self, kind: &'static str, key: &str) -> String {
        let stored = &self.objects[&(kind, key.parse().unwrap())];
        let conditions = stored.status["conditions"].as_array().unwrap();
        let told = ConditionType::ALL.into_iter().filter_map(|of| {
            let found = conditions.iter().find(|condition| condition["type"] == of.as_str())?;
            let text = |name: &str| found[name].as_str().unwrap();
            Some(if text("status") == "True" {
                format!("{}=True", of.as_str())
            } else {
                format!("{}={}/{}", of.as_str(), text("status"), text("reason"))
            })
        });
        let generation = &stored.status["programmedGeneration"];
        format!("{} programmedGeneration={generation}", told.collect::<Vec<_>>().join(" "))
    }

    fn forget(&mut self) {
        self.forgot = self.now;
        self.writes.clear();
        self.events.clear();
        self.published.clear();
    }

    fn last(&self) -> Digest {
        self.published.last().unwrap().1.sections.digest()
    }
}

const GOOD: &str = "Accepted=True ResolvedRefs=True Programmed=True Ready=True";

#[test]
fn a_whole_tenant_becomes_programmed() {
    let world = World::settled("tenant");
    for ((kind, key), stored) in &world.objects {
        let status = world.status(kind, key.as_str());
        let podless = ["Carrier", "NumberOrder", "CallTest"].contains(kind);
        let wanted = if podless {
            "Accepted=True ResolvedRefs=True Ready=True programmedGeneration=null".to_owned()
        } else {
            format!("{GOOD} programmedGeneration={}", stored.generation)
        };
        assert_eq!(status, wanted, "{kind} {key}");
    }
    let numbers = world
        .writes
        .iter()
        .filter(|id| id.starts_with("PhoneNumber acme/new-york-1 ") || **id == "PhoneNumber acme/new-york-1");
    assert!(numbers.count() <= 3);
}

#[test]
fn one_change_is_one_publication_and_at_most_three_writes() {
    let mut world = World::settled("tenant");
    world.forget();
    world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "support".into());
    world.run(5);
    assert_eq!(world.published.len(), 1);
    assert_eq!(world.writes, ["PhoneNumber acme/new-york-1"], "what took its time is not told");
    assert!(world.wrote_after < Duration::from_millis(300), "and it is told as soon as it is so");
    assert!(world.events.is_empty(), "{:?}", world.events);
    assert_eq!(world.status("PhoneNumber", "acme/new-york-1"), format!("{GOOD} programmedGeneration=2"));
}

#[test]
fn what_pods_have_not_acknowledged_is_pending_and_the_generation_before_is_named() {
    let mut world = World::settled("tenant");
    world.forget();
    world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "support".into());
    world.run_with(2, false);
    let status = world.status("PhoneNumber", "acme/new-york-1");
    assert_eq!(
        status,
        "Accepted=True ResolvedRefs=True Programmed=False/Pending Ready=False/Pending programmedGeneration=1"
    );
    let (cluster, publication) = world.published.last().cloned().unwrap();
    let (position, digest) = (publication.position, publication.sections.digest());
    world.tell(World::pod(&cluster, Role::Media, "a"), What::Acknowledged { position, digest });
    world.tell(World::pod(&cluster, Role::Edge, "a"), What::Acknowledged { position, digest });
    world.run(1);
    assert_eq!(world.status("PhoneNumber", "acme/new-york-1"), format!("{GOOD} programmedGeneration=2"));
    assert_eq!(world.writes.len(), 2);
}

#[test]
fn an_unchanged_world_a_restart_and_another_leader_write_nothing() {
    let mut world = World::settled("tenant");
    world.forget();
    let all: Vec<Stored> = world.objects.values().cloned().collect();
    all.iter().for_each(|stored| world.declare(stored));
    world.run(60);
    assert_eq!(world.writes, [""; 0]);
    assert!(world.published.is_empty());

    let stored = world.core.stored().unwrap();
    let plan = Plan::from_stored(&stored).unwrap();
    for leader in ["a restart", "another leader"] {
        let mut next = World::of(Core::new(kinds(), Some(&plan)));
        next.objects = world.objects.clone();
        next.version = world.version;
        all.iter().for_each(|stored| next.declare(stored));
        next.secrets("tenant");
        next.sync();
        next.core.update(next.now, wall());
        next.core.lead(next.now, 2);
        // Pods find the new one a few seconds later.
        next.run_with(3, false);
        let clusters: Vec<ClusterId> = next.core.clusters().cloned().collect();
        clusters.iter().for_each(|cluster| next.join(cluster));
        next.run(60);
        assert_eq!(next.writes, [""; 0], "{leader}");
    }
}

/// The table of what is kept and what is not.
#[test]
fn a_bad_object_loses_only_itself() {
    type Change = fn(&mut World);
    let number = "acme/new-york-1";
    let rows: Vec<(&str, Change, &str, &str, bool)> = vec![
        // What is done, what the number says, which of its generations is live, whether pods are told something else.
        (
            "the flow of a live number is deleted",
            |world| world.delete("RoutingFlow", &"acme/main".parse().unwrap()),
            "Accepted=True ResolvedRefs=False/FlowNotFound Programmed=True Ready=False/FlowNotFound",
            "1",
            false,
        ),
        (
            "a number is edited to a flow that is not there",
            |world| {
                world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "mian".into())
            },
            "Accepted=True ResolvedRefs=False/FlowNotFound Programmed=False/NotLive Ready=False/FlowNotFound",
            "null",
            true,
        ),
        (
            "a number cannot be read",
            |world| world.change("PhoneNumber", "acme/new-york-1", |spec| spec["kind"] = 7.into()),
            "Accepted=False/InvalidValue ResolvedRefs=True Programmed=False/LastGoodKept Ready=False/InvalidValue",
            "1",
            false,
        ),
        (
            "the grant is withdrawn",
            |world| {
                let trunks: Vec<Key> = world
                    .objects
                    .keys()
                    .filter(|(kind, _)| *kind == "Trunk")
                    .map(|(_, key)| key.clone())
                    .collect();
                for trunk in trunks.iter().filter(|trunk| trunk.namespace() == "platform") {
                    world.change("Trunk", trunk.as_str(), |spec| spec["grants"] = json!([]));
                }
            },
            "Accepted=True ResolvedRefs=False/NumberNotGranted Programmed=False/NotLive Ready=False/NumberNotGranted",
            "null",
            true,
        ),
    ];
    for (what, change, status, generation, told) in rows {
        let mut world = World::settled("tenant");
        assert_eq!(world.status("PhoneNumber", number), format!("{GOOD} programmedGeneration=1"));
        world.forget();
        change(&mut world);
        world.run(5);
        assert_eq!(
            world.status("PhoneNumber", number),
            format!("{status} programmedGeneration={generation}"),
            "{what}"
        );
        assert!(world.published.is_empty() != told, "{what}: {} publications", world.published.len());
        assert!(
            world.events.iter().any(|event| event.starts_with(&format!("PhoneNumber {number} "))),
            "{what}"
        );
    }
}

#[test]
fn who_follows_publishes_and_writes_nothing() {
    let mut world = World::new();
    for (kind, key, spec) in example("quickstart") {
        world.apply(kind, &key, spec);
    }
    world.run(20);
    assert!(world.writes.is_empty() && world.published.is_empty());
    world.core.lead(world.now, 4);
    world.run(20);
    assert!(!world.writes.is_empty());
    assert!(world.published.iter().all(|(_, publication)| publication.position.term == 4));
    world.core.resign();
    world.forget();
    let (_, key) = world.objects.keys().find(|(kind, _)| *kind == "PhoneNumber").cloned().unwrap();
    world.delete("PhoneNumber", &key);
    world.run(20);
    assert!(world.writes.is_empty() && world.published.is_empty());
}

#[test]
fn a_kind_that_the_server_does_not_know_holds_everything_back_and_is_named() {
    let mut world = World::of(Core::new(kinds(), None));
    world.core.lead(world.now, 1);
    for kind in kinds().into_iter().filter(|kind| *kind != "Trunk") {
        world.core.change(world.now, Change::Synced(kind));
    }
    world.core.change(world.now, Change::Missing("Trunk", true));
    for (kind, key, spec) in example("quickstart").into_iter().filter(|(kind, ..)| *kind != "Trunk") {
        world.apply(kind, &key, spec);
    }
    world.run(5);
    assert!(world.core.ready().unwrap_err().contains("CustomResourceDefinition for Trunk"));
    assert!(world.writes.is_empty() && world.published.is_empty());
}

/// A list shows that it is another one; nobody has told that the one before was deleted.
#[test]
fn an_object_that_was_made_again_unseen_gets_its_status() {
    let mut world = World::settled("tenant");
    let key: Key = "acme/new-york-1".parse().unwrap();
    let spec = world.objects.remove(&("PhoneNumber", key.clone())).unwrap().spec;
    world.apply("PhoneNumber", &key, spec);
    world.run(5);
    assert_eq!(world.status("PhoneNumber", "acme/new-york-1"), format!("{GOOD} programmedGeneration=1"));
}

/// What need not be hurried waits; what turns out to be urgent meanwhile does not wait with it.
#[test]
fn what_people_change_overtakes_what_need_not_be_hurried() {
    let mut world = World::settled("tenant");
    for stored in world.objects.values_mut() {
        stored.status = Value::Null;
    }
    let all: Vec<Stored> = world.objects.values().cloned().collect();
    for (version, stored) in all.iter().enumerate() {
        let version = world.version + version as u64 + 1;
        world.objects.get_mut(&(stored.kind, stored.key.clone())).unwrap().version = version;
    }
    world.version += all.len() as u64;
    world.core.resign();
    let all: Vec<Stored> = world.objects.values().cloned().collect();
    all.iter().for_each(|stored| world.declare(stored));
    world.core.lead(world.now, 2);
    world.forget();
    world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "support".into());
    world.run_with(1, true);
    let place = world.writes.iter().position(|id| id == "PhoneNumber acme/new-york-1").unwrap();
    assert!(place < 40 && world.writes.len() < all.len(), "{place} of {}", world.writes.len());
    world.run(30);
    let number = world.writes.iter().filter(|id| id.starts_with("PhoneNumber")).count();
    assert!(number >= 40, "{number}");
}

#[test]
fn a_refused_snapshot_is_told_of_at_what_it_holds_back() {
    let mut world = World::settled("tenant");
    world.forget();
    world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "support".into());
    world.run_with(1, false);
    let (cluster, publication) = world.published.last().cloned().unwrap();
    let refused = What::Refused {
        position: publication.position,
        path: "numbers".into(),
        message: "must be something else".into(),
    };
    world.tell(World::pod(&cluster, Role::Edge, "a"), refused);
    world.run_with(2, false);
    let status = world.status("PhoneNumber", "acme/new-york-1");
    assert!(status.contains("Programmed=False/SnapshotRefused"), "{status}");
    assert!(
        world
            .events
            .iter()
            .any(|event| event.contains("SnapshotRefused") && event.starts_with("VoiceCluster"))
    );
}

#[test]
fn a_server_that_refuses_every_status_is_asked_ever_less_and_then_told_everything() {
    for (code, most) in [(500, 300), (429, 300), (409, 10_000), (422, 300), (403, 300)] {
        let mut world = World::new();
        world.core.lead(world.now, 1);
        for (kind, key, spec) in example("tenant") {
            world.apply(kind, &key, spec);
        }
        world.secrets("tenant");
        let objects = world.objects.len();
        assert!(objects > 50, "{objects}");
        world.refusal = Some(code);
        world.run(10);
        world.forget();
        world.run(60);
        let asked = world.writes.len();
        assert!(asked > 0 && asked < most, "{code}: {asked} times in a minute for {objects} objects");
        world.refusal = None;
        world.run(60);
        for ((kind, key), stored) in &world.objects {
            assert!(stored.status["observedGeneration"] == 1, "{code}: {kind} {key} has no status");
        }
    }
}

#[test]
fn whoever_changes_an_object_does_not_wait_for_what_failed_before() {
    let mut world = World::settled("tenant");
    world.refusal = Some(422);
    world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "support".into());
    world.run(2);
    world.refusal = None;
    world.change("PhoneNumber", "acme/new-york-1", |spec| spec["flowRef"]["name"] = "main".into());
    world.run(2);
    assert_eq!(world.status("PhoneNumber", "acme/new-york-1"), format!("{GOOD} programmedGeneration=3"));
}

#[test]
fn secrets_that_may_not_be_read_are_blamed_on_the_missing_right() {
    let mut world = World::new();
    world.core.lead(world.now, 1);
    for (kind, key, spec) in example("tenant") {
        world.apply(kind, &key, spec);
    }
    world.run(1);
    world.core.change(world.now, Change::SecretsForbidden("acme".into()));
    world.run(5);
    let message = |world: &World| {
        let stored = &world.objects[&("Integration", "acme/crm".parse().unwrap())];
        let conditions = stored.status["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == "ResolvedRefs").unwrap();
        format!("{} {}", found["reason"], found["message"])
    };
    let told = message(&world);
    assert!(told.contains("SecretNotFound") && told.contains("`switchboard-secrets`"), "{told}");
    assert_eq!(world.core.forbidden().collect::<Vec<_>>(), ["acme"]);
    assert!(world.status("Trunk", "platform/carrier").starts_with("Accepted=True"));
    // It may read them now, and there is none.
    world.core.change(world.now, Change::SecretsSynced("acme".into()));
    world.run(5);
    let told = message(&world);
    assert!(told.contains("SecretNotFound") && !told.contains("may not read"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the order of events, and however often each comes: the same snapshots and the same statuses.
    #[test]
    fn order_and_repetition_of_events_do_not_matter(seed in any::<u64>()) {
        let mut objects = example("tenant");
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for index in (1..objects.len()).rev() {
            objects.swap(index, random(index + 1));
        }
        let mut world = World::new();
        world.core.lead(world.now, 1);
        for (kind, key, spec) in &objects {
            world.apply(kind, key, spec.clone());
            match random(8) {
                0 => {
                    let (kind, key) = (*kind, key.clone());
                    world.delete(kind, &key);
                    world.apply(kind, &key, spec.clone());
                }
                1 => {
                    let again = world.objects[&(*kind, key.clone())].clone();
                    world.declare(&again);
                }
                2 => {
                    world.now += Duration::from_millis(300);
                    world.core.update(world.now, wall());
                    world.core.pass(world.now);
                }
                _ => {}
            }
        }
        world.secrets("tenant");
        world.run(1);
        let clusters: Vec<ClusterId> = world.core.clusters().cloned().collect();
        clusters.iter().for_each(|cluster| world.join(cluster));
        world.run(30);
        let reference = World::settled("tenant");
        prop_assert_eq!(world.last(), reference.last());
        for (kind, key) in reference.objects.keys() {
            let (found, wanted) = (world.status(kind, key.as_str()), reference.status(kind, key.as_str()));
            prop_assert_eq!(found, wanted, "{} {}", kind, key);
        }
    }
}
