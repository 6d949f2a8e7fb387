//! The operator's mind: what objects say, what pods have, and what follows for both.
//!
//! Pure: changes, reports and the time go in; publications, statuses and wishes come out. Every replica runs it, and only the
//! one that leads lets anything out.
//!
//! Each update of the plan has an epoch. An object's epoch is the one in which its present generation came into force; a
//! cluster's is the one that its last publication was made in, or any, while the plan has nothing newer for it. So whether
//! all pods have an object is one comparison, at a hundred numbers and at a hundred thousand.

mod judge;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use link::{
    config::{Blobs, Position, Publication, Report, Secrets, Topology, What},
    identity::Role,
};
use model::{ClusterId, Key, section::Digest};
use plan::{Effect, Foreign, Foresight, ObjectId, Plan, Planner, SecretKeys};
use serde_json::{Value, json};

use self::queue::{Place, Queue};
pub use self::queue::{Write, Written};
use crate::{
    fleet::Fleet,
    status::Shown,
    watch::{Change, Declared, SecretData},
};

/// A cluster's changes are published when there has been no other for so long ...
const QUIET: Duration = Duration::from_millis(20);

/// ... or the first of them is so old.
const PATIENCE: Duration = Duration::from_millis(200);

/// For so long after pods are gone, or after this replica has begun to lead, it is not said that there are none.
pub const SETTLE: Duration = Duration::from_secs(15);

/// Between two words on how busy pods are.
const TOPOLOGY: Duration = Duration::from_secs(1);

/// Publications whose epochs are remembered, per cluster.
const HISTORY_MAX: usize = 1_024;

/// Stands for every epoch.
const ALWAYS: u64 = u64::MAX;

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Tell a cluster's pods.
    Publish(ClusterId, Publication),
    /// A cluster is gone.
    Retire(ClusterId),
    /// Who is there.
    Topology(ClusterId, Topology),
    /// A namespace's Secrets are to be watched from now on.
    WatchSecrets(String),
    /// What is to outlive the process has changed. With `now`, it does not wait for its turn.
    Store {
        /// An object has turned bad: its last good form is in nobody else's hands.
        now: bool,
    },
}

/// What is known of an object besides its spec, which the planner has.
#[derive(Debug)]
struct Entry {
    uid: Box<str>,
    generation: i64,
    version: Box<str>,
    status: Shown,
    /// In which its present generation came into force, or went out of it.
    epoch: u64,
    effect: Effect,
    /// The generation that all pods had at one time.
    programmed: Option<i64>,
    /// Where it waits in the queue, and whether it is being written.
    place: Option<Place>,
    writing: bool,
    /// Whether there may be something else to say since the write began.
    again: bool,
    /// Writes of its status that failed, one after the other.
    failures: u8,
    /// Since when its newest generation waits for pods.
    since: Duration,
    /// Since when what it refers to is wrong, until that is said.
    doubt: Option<Duration>,
}

#[derive(Debug, Default)]
struct Cluster {
    /// When the first and the last change that is not published yet came.
    pending: Option<(Duration, Duration)>,
    published: Option<Published>,
    /// Sequence and epoch of publications, oldest first.
    history: VecDeque<(u64, u64)>,
    /// Since when no pod of a role has counted, and whether that was long ago enough to be said.
    absent: [Option<Duration>; 2],
    said: bool,
    /// The epoch up to which objects have been looked at because all pods of a role had reached it.
    looked: [u64; 2],
    /// Whether a pod that counts was silent.
    silent: bool,
    topology: Option<Topology>,
    /// When topology was told, and whether it is other now.
    topology_told: Duration,
    topology_stale: bool,
}

#[derive(Debug)]
struct Published {
    position: Position,
    digest: Digest,
    blobs: usize,
    secrets: [Digest; 2],
}

/// Whether a namespace's Secrets are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Asked,
    Listed,
    Forbidden,
}

/// All of it.
#[derive(Debug)]
pub struct Core {
    planner: Planner,
    kinds: BTreeSet<&'static str>,
    synced: BTreeSet<&'static str>,
    missing: BTreeSet<&'static str>,
    entries: BTreeMap<&'static str, BTreeMap<Key, Entry>>,
    secrets: BTreeMap<Key, SecretData>,
    /// ConfigMaps that Prompts may refer to.
    maps: BTreeMap<Key, Foreign>,
    /// Whether a Secret or a ConfigMap is other than when it was planned with.
    secrets_moved: bool,
    namespaces: BTreeMap<String, Known>,
    clusters: BTreeMap<ClusterId, Cluster>,
    fleet: Fleet,
    epoch: u64,
    /// The epoch of the first plan: what is older than this process.
    first: Option<u64>,
    changed: bool,
    /// The term that is led, and since when.
    leads: Option<(u64, Duration)>,
    sequence: u64,
    queue: Queue,
    /// Objects whose epoch no cluster's pods have reached.
    waiting: BTreeMap<u64, BTreeSet<ObjectId>>,
    /// Objects that were not there before.
    fresh: BTreeSet<ObjectId>,
    outputs: VecDeque<Output>,
    /// When the oldest change came that is in no publication yet.
    oldest: Option<Duration>,
}

impl Core {
    /// Begins with what an earlier process left.
    #[must_use]
    pub fn new(kinds: BTreeSet<&'static str>, last: Option<&Plan>) -> Self {
        Self {
            planner: Planner::new(last),
            kinds,
            synced: BTreeSet::new(),
            missing: BTreeSet::new(),
            entries: BTreeMap::new(),
            secrets: BTreeMap::new(),
            maps: BTreeMap::new(),
            secrets_moved: false,
            namespaces: BTreeMap::new(),
            clusters: BTreeMap::new(),
            fleet: Fleet::default(),
            epoch: 0,
            first: None,
            changed: false,
            leads: None,
            sequence: 0,
            queue: Queue::default(),
            waiting: BTreeMap::new(),
            fresh: BTreeSet::new(),
            outputs: VecDeque::new(),
            oldest: None,
        }
    }

    /// A watch tells something. [`Core::update`] follows it.
    pub fn change(&mut self, now: Duration, change: Change) {
        match change {
            Change::Object(object) => self.declare(now, *object),
            Change::Gone { kind, key } => {
                self.entries.entry(kind).or_default().remove(&key);
                self.planner.withdraw(&ObjectId { kind, key });
                self.touch(now);
            }
            Change::Synced(kind) => {
                self.missing.remove(kind);
                self.changed |= self.synced.insert(kind);
            }
            Change::Missing(kind, true) => drop(self.missing.insert(kind)),
            Change::Missing(kind, false) => drop(self.missing.remove(kind)),
            Change::Secret(secret) => {
                if self.secrets.get(&secret.key).map(|known| &known.values) != Some(&secret.values) {
                    self.secrets.insert(secret.key.clone(), secret);
                    self.secrets_moved = true;
                    self.touch(now);
                }
            }
            Change::SecretGone(key) => {
                if self.secrets.remove(&key).is_some() {
                    self.secrets_moved = true;
                    self.touch(now);
                }
            }
            Change::SecretsSynced(namespace) => self.know(namespace, Known::Listed),
            Change::ConfigMap(map) => {
                let object = Some(&map.object);
                if self.maps.get(&map.key).map(|known| &known.object) != object {
                    self.maps.insert(map.key.clone(), map);
                    self.secrets_moved = true;
                    self.touch(now);
                }
            }
            Change::ConfigMapGone(key) => {
                if self.maps.remove(&key).is_some() {
                    self.secrets_moved = true;
                    self.touch(now);
                }
            }
            Change::ConfigMapsSynced => {}
            // What was read before stays: a right that is taken away takes nothing with it.
            Change::SecretsForbidden(namespace) => self.know(namespace, Known::Forbidden),
        }
    }

    fn know(&mut self, namespace: String, known: Known) {
        let before = self.namespaces.insert(namespace.clone(), known);
        self.changed |= before != Some(known);
        // Statuses say which right is missing.
        if before != Some(known) && (known == Known::Forbidden || before == Some(Known::Forbidden)) {
            self.mark_namespace(&namespace);
        }
    }

    /// Namespaces whose Secrets the operator may not read.
    pub fn forbidden(&self) -> impl Iterator<Item = &str> {
        let forbidden = self.namespaces.iter().filter(|(_, known)| **known == Known::Forbidden);
        forbidden.map(|(namespace, _)| namespace.as_str())
    }

    fn touch(&mut self, now: Duration) {
        self.changed = true;
        self.oldest.get_or_insert(now);
    }

    fn declare(&mut self, now: Duration, object: Declared) {
        let Declared { kind, key, uid, generation, version, spec, status } = object;
        let namespace = key.namespace();
        if refers_to_secrets(kind) && !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), Known::Asked);
            self.outputs.push_back(Output::WatchSecrets(namespace.to_owned()));
        }
        let entries = self.entries.entry(kind).or_default();
        let entry = entries.get_mut(&key).filter(|entry| entry.uid == uid);
        // Most of what a watch tells are statuses that were written here.
        if entry.as_ref().is_none_or(|entry| entry.generation != generation) {
            // The kind is one of those that are watched, all of which the planner knows.
            let _ = self.planner.declare(kind, key.clone(), &spec);
        }
        match entry {
            Some(entry) => {
                let moved = entry.generation != generation;
                entry.generation = generation;
                let mut other = moved;
                // A watch may tell of what was before our own last write, and tells of that write too.
                if !is_older(&version, &entry.version) {
                    other |= entry.status != status;
                    entry.version = version;
                    entry.status = status;
                }
                if moved {
                    entry.since = now;
                    // Whoever has changed it does not wait for what failed before.
                    (entry.place, entry.failures) = (None, 0);
                    self.touch(now);
                }
                if other {
                    self.mark(&ObjectId { kind, key });
                }
            }
            None => {
                let entry = Entry {
                    uid,
                    generation,
                    version,
                    status,
                    epoch: ALWAYS,
                    effect: Effect::Out,
                    programmed: status.programmed_generation,
                    place: None,
                    writing: false,
                    again: false,
                    failures: 0,
                    since: now,
                    doubt: None,
                };
                entries.insert(key.clone(), entry);
                // One that was made again just as it was is nothing new to the planner.
                self.fresh.insert(ObjectId { kind, key });
                self.touch(now);
            }
        }
    }

    /// Whether everything has been told that planning needs. If not, what is missing, in a sentence.
    ///
    /// # Errors
    /// The sentence.
    pub fn ready(&self) -> Result<(), String> {
        if let Some(kind) = self.missing.first() {
            return Err(format!("the API server has no CustomResourceDefinition for {kind}: apply crds/"));
        }
        if self.first.is_some() {
            return Ok(());
        }
        if let Some(kind) = self.kinds.difference(&self.synced).next() {
            return Err(format!("objects of kind {kind} are not listed yet"));
        }
        let asked = self.namespaces.iter().find(|(_, known)| **known == Known::Asked);
        match asked {
            Some((namespace, _)) => Err(format!("Secrets of namespace {namespace} are not listed yet")),
            None => Ok(()),
        }
    }

    /// Plans what has changed. True: there was something.
    pub fn update(&mut self, now: Duration, wall: Timestamp) -> bool {
        if !self.changed || (self.first.is_none() && self.ready().is_err()) {
            return false;
        }
        self.changed = false;
        if self.secrets_moved || self.first.is_none() {
            self.planner.declare_foreign(self.foreign());
        }
        let mut clusters = self.planner.update(wall);
        self.epoch += 1;
        if std::mem::take(&mut self.secrets_moved) || self.first.is_none() {
            clusters.extend(self.planner.clusters().map(|(id, _)| id.clone()));
        }
        self.first.get_or_insert(self.epoch);
        let mut turned = self.planner.take_turned();
        turned.append(&mut self.fresh);
        for cluster in clusters {
            self.due(now, cluster);
        }
        let kept = turned.iter().filter(|id| self.turn(id)).count() > 0;
        if !turned.is_empty() {
            self.outputs.push_back(Output::Store { now: kept });
        }
        if self.clusters.values().all(|cluster| cluster.pending.is_none()) {
            self.oldest = None;
        }
        true
    }

    fn foreign(&self) -> Vec<Foreign> {
        let foreign = self.secrets.iter().map(|(key, secret)| {
            let data: BTreeMap<&String, &str> = secret.values.keys().map(|name| (name, "")).collect();
            let object = json!({"metadata": {"labels": {"switchboard.dev/use": "true"}}, "data": data});
            Foreign { api_version: "v1".into(), kind: "Secret".into(), key: key.clone(), object }
        });
        foreign.chain(self.maps.values().cloned()).collect()
    }

    /// A cluster's pods are to be told something, or it is gone.
    fn due(&mut self, now: Duration, id: ClusterId) {
        if self.planner.clusters().any(|(known, _)| *known == id) {
            let cluster = self
                .clusters
                .entry(id)
                .or_insert_with(|| Cluster { absent: [Some(now); 2], ..Cluster::default() });
            let first = cluster.pending.map_or(now, |(first, _)| first);
            cluster.pending = Some((first, now));
        } else if self.clusters.remove(&id).is_some() {
            self.outputs.push_back(Output::Retire(id));
        }
    }

    /// An object's verdict, or what of it is in force, may be other than it was. True: it has turned bad.
    fn turn(&mut self, id: &ObjectId) -> bool {
        let effect = self.planner.verdict(id).effect;
        let (epoch, first) = (self.epoch, self.first);
        let Some(entry) = self.entries.get_mut(id.kind).and_then(|entries| entries.get_mut(&id.key)) else {
            return false;
        };
        let fresh = entry.epoch == ALWAYS;
        let moved = fresh || entry.effect != effect || entry.programmed != Some(entry.generation);
        let bad = effect == Effect::Kept && entry.effect == Effect::Current;
        if moved {
            entry.epoch = epoch;
            entry.effect = effect;
            self.waiting.entry(epoch).or_default().insert(id.clone());
        }
        let own = first == Some(epoch);
        self.queue_up(id, !own);
        bad
    }

    /// This replica leads from now on.
    pub fn lead(&mut self, now: Duration, term: u64) {
        if self.leads.is_some_and(|(led, _)| led == term) {
            return;
        }
        self.leads = Some((term, now));
        self.sequence = 0;
        for cluster in self.clusters.values_mut() {
            cluster.published = None;
            cluster.history.clear();
            cluster.absent = [Some(now); 2];
            cluster.said = false;
            cluster.looked = [0; 2];
            cluster.pending = Some((now, now));
        }
        self.mark_all();
    }

    /// This replica leads no more.
    pub fn resign(&mut self) {
        self.leads = None;
        self.queue = Queue::default();
        self.entries.values_mut().flat_map(BTreeMap::values_mut).for_each(|entry| entry.place = None);
    }

    /// The term that is led.
    #[must_use]
    pub fn leads(&self) -> Option<u64> {
        self.leads.map(|(term, _)| term)
    }

    /// A pod says something, by its stream.
    pub fn report(&mut self, now: Duration, report: Report) {
        let cluster = report.pod.cluster.clone();
        let leaves = matches!(report.what, What::Left { .. });
        let moved = self.fleet.report(now, report);
        if leaves || moved.acknowledged {
            self.show_topology(now, &cluster);
        } else if moved.topology
            && let Some(cluster) = self.clusters.get_mut(&cluster)
        {
            cluster.topology_stale = true;
        }
        if moved.silence {
            self.mark_cluster(&cluster);
        }
        if moved.refused {
            self.mark_waiting(0..=ALWAYS);
        }
        if moved.acknowledged {
            self.acknowledged(now, &cluster);
        }
    }

    fn show_topology(&mut self, now: Duration, id: &ClusterId) {
        let topology = self.fleet.topology(id, now);
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        cluster.topology_stale = false;
        if cluster.topology.as_ref() != Some(&topology) {
            cluster.topology = Some(topology.clone());
            cluster.topology_told = now;
            self.outputs.push_back(Output::Topology(id.clone(), topology));
        }
    }

    fn acknowledged(&mut self, now: Duration, id: &ClusterId) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        let mut came_or_went = false;
        for role in [Role::Edge, Role::Media] {
            let there = self.fleet.count(id, role) > 0;
            let absent = &mut cluster.absent[role as usize];
            came_or_went |= there == absent.is_some();
            *absent = if there { None } else { Some(absent.unwrap_or(now)) };
            cluster.said &= !came_or_went;
        }
        if came_or_went {
            cluster.looked = [0; 2];
            self.mark_home(id);
        } else {
            self.look(id);
        }
        self.mark_cluster(id);
    }

    /// Looks at the objects that pods have reached since this was done last: each once, however many of them wait.
    fn look(&mut self, id: &ClusterId) {
        for role in Role::ALL {
            let Some(reached) = self.reached(id, role) else { continue };
            let reached = reached.min(self.epoch);
            let Some(cluster) = self.clusters.get_mut(id) else { return };
            let looked = std::mem::replace(&mut cluster.looked[role as usize], reached);
            if looked < reached {
                self.mark_waiting(looked + 1..=reached);
            }
        }
    }

    fn mark_waiting(&mut self, epochs: std::ops::RangeInclusive<u64>) {
        let waiting: Vec<ObjectId> = self.waiting.range(epochs).flat_map(|(_, ids)| ids).cloned().collect();
        waiting.iter().for_each(|id| self.queue_up(id, true));
    }

    /// The epoch that all pods of a role have reached. None: there is no such pod.
    fn reached(&self, id: &ClusterId, role: Role) -> Option<u64> {
        let position = self.fleet.acknowledged(id, role)?;
        let cluster = self.clusters.get(id)?;
        let published = cluster.published.as_ref()?;
        if position == published.position && cluster.pending.is_none() {
            return Some(ALWAYS);
        }
        if position.term != published.position.term {
            return Some(0);
        }
        let known = cluster.history.iter().rev().find(|(sequence, _)| *sequence <= position.sequence);
        Some(known.map_or(0, |(_, epoch)| *epoch))
    }

    /// Lets time pass: publishes what is due.
    pub fn pass(&mut self, now: Duration) {
        let moved = self.fleet.pass(now);
        let fleet = &self.fleet;
        let clusters = self.clusters.iter_mut().filter_map(|(id, cluster)| {
            let silent = fleet.silent(id, now).is_some();
            let turned = std::mem::replace(&mut cluster.silent, silent) != silent;
            (turned || moved.silence).then(|| id.clone())
        });
        let silence: Vec<ClusterId> = clusters.collect();
        for id in silence {
            self.show_topology(now, &id);
            if moved.acknowledged {
                self.acknowledged(now, &id);
            }
            self.mark_cluster(&id);
        }
        let stale =
            self.clusters.iter().filter(|(_, cluster)| cluster.topology_due().is_some_and(|due| now >= due));
        let stale: Vec<ClusterId> = stale.map(|(id, _)| id.clone()).collect();
        stale.iter().for_each(|id| self.show_topology(now, id));
        let Some((term, _)) = self.leads else { return };
        if self.first.is_none() {
            return;
        }
        let due: Vec<ClusterId> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.pending.is_some_and(|pending| now >= due_at(pending)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.publish(&id, term);
            // Pods may have had it all along.
            self.acknowledged(now, &id);
        }
        let clusters = self.clusters.iter_mut();
        let settled: Vec<ClusterId> =
            clusters.filter_map(|(id, cluster)| cluster.settles(now).then(|| id.clone())).collect();
        settled.iter().for_each(|id| self.mark_home(id));
        self.queue.pass(now);
    }

    fn publish(&mut self, id: &ClusterId, term: u64) {
        let Some((_, sections)) = self.planner.clusters().find(|(known, _)| *known == id) else { return };
        let needs = self.planner.secrets(id);
        let blobs: Blobs = Arc::new(self.planner.blobs(id).cloned().unwrap_or_default());
        let (edge_secrets, media_secrets) = (self.values(&needs.edge), self.values(&needs.media));
        let digest = sections.digest();
        let sections = Arc::new(sections.clone());
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        cluster.pending = None;
        let secrets = [edge_secrets.digest(), media_secrets.digest()];
        let same = cluster.published.as_ref().is_some_and(|published| {
            published.digest == digest && published.secrets == secrets && published.blobs == blobs.len()
        });
        if !same {
            self.sequence += 1;
            let position = Position { term, sequence: self.sequence };
            cluster.history.push_back((self.sequence, self.epoch));
            if cluster.history.len() > HISTORY_MAX {
                cluster.history.pop_front();
            }
            cluster.published = Some(Published { position, digest, blobs: blobs.len(), secrets });
            let publication = Publication { position, sections, blobs, edge_secrets, media_secrets };
            self.outputs.push_back(Output::Publish(id.clone(), publication));
        }
    }

    fn values(&self, keys: &SecretKeys) -> Secrets {
        let values = keys.iter().flat_map(|(object, names)| {
            let secret = self.secrets.get(object);
            names.iter().filter_map(move |name| {
                let value = secret?.values.get(name)?;
                Some(((object.clone(), name.clone()), value.clone()))
            })
        });
        values.collect()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Core::pass`] is to be called again.
    #[must_use]
    pub fn timeout(&self, now: Duration) -> Option<Duration> {
        let clusters = self.clusters.values();
        let due = clusters.clone().filter_map(|cluster| cluster.pending.map(due_at));
        let due = due.filter(|_| self.leads.is_some() && self.first.is_some());
        let settle = clusters.flat_map(|cluster| cluster.absent).flatten().map(|since| since + SETTLE);
        let settle = settle.filter(|at| self.leads.is_some() && *at > now);
        let topology = self.clusters.values().filter_map(Cluster::topology_due);
        due.chain(settle).chain(topology).chain(self.fleet.next(now)).chain(self.queue.next()).min()
    }

    /// When the oldest change came that is not published. Reading it forgets it once all is.
    pub fn took(&mut self, now: Duration) -> Option<Duration> {
        let published = self.clusters.values().all(|cluster| cluster.pending.is_none());
        let since = self.oldest.filter(|_| published)?;
        self.oldest = None;
        Some(now.saturating_sub(since))
    }

    /// What would be said of an object: see [`Planner::foresee`].
    #[must_use]
    pub fn foresee(&self, kind: &str, key: &Key, spec: Option<&Value>, old: Option<&Value>) -> Foresight {
        if self.first.is_none() {
            return Foresight::default();
        }
        self.planner.foresee(kind, key, spec, old)
    }

    /// What a later process is to keep.
    ///
    /// # Errors
    /// None that a plan could cause.
    pub fn stored(&self) -> Result<Vec<u8>, plan::StoredError> {
        self.planner.stored()
    }

    /// Position and sections of what each cluster's pods were told last.
    pub fn published(&self) -> impl Iterator<Item = (&ClusterId, Position, Arc<model::section::Sections>)> {
        self.planner.clusters().filter_map(|(id, sections)| {
            let published = self.clusters.get(id)?.published.as_ref()?;
            (published.digest == sections.digest())
                .then(|| (id, published.position, Arc::new(sections.clone())))
        })
    }

    /// The clusters that there are.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterId> {
        self.clusters.keys()
    }

    /// The pods.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Objects that are known.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.entries.values().map(BTreeMap::len).sum()
    }

    /// Errors of all objects by reason.
    #[must_use]
    pub fn wrong(&self) -> BTreeMap<&'static str, u64> {
        let mut wrong = BTreeMap::new();
        for problem in self.planner.problems().filter(|problem| problem.severity == plan::Severity::Error) {
            *wrong.entry(problem.reason.as_str()).or_default() += 1;
        }
        wrong
    }
}

impl Cluster {
    /// When topology is to be told: its load changes with every call.
    fn topology_due(&self) -> Option<Duration> {
        self.topology_stale.then(|| self.topology_told + TOPOLOGY)
    }

    /// Whether it is time to say that there are no pods; once.
    fn settles(&mut self, now: Duration) -> bool {
        let settles = self.absent.iter().flatten().any(|since| now >= *since + SETTLE);
        settles && !std::mem::replace(&mut self.said, settles)
    }
}

fn due_at((first, last): (Duration, Duration)) -> Duration {
    (last + QUIET).min(first + PATIENCE)
}

/// Whether objects of a kind may refer to Secrets.
fn refers_to_secrets(kind: &str) -> bool {
    matches!(
        kind,
        "VoiceCluster"
            | "Trunk"
            | "Tenant"
            | "Agent"
            | "Integration"
            | "ContactPoint"
            | "VoicemailBox"
            | "Carrier"
    )
}

/// Versions are numbers that grow, of all API servers that there are; where they are not, the newest word counts.
fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}
