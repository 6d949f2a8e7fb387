//! A plan that is kept up to date: what a change touches is judged and written anew, and nothing else.
//!
//! [`Planner::declare`] and [`Planner::withdraw`] take changes in; [`Planner::update`] follows them. Afterwards all is as if
//! everything had been planned at once with the plan before as the last one, whatever the order of the changes between two
//! updates. One changed number costs its own verdict and the section that it lies in, at a hundred numbers and at a hundred
//! thousand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use jiff::Timestamp;
use model::{
    AudioId, ClusterId, Key, NumberId,
    section::{self, SectionName, Sections},
};
use serde_json::{Value, json};

use crate::{
    Plan, PlannedCluster,
    base::{Base, Touched, hidden},
    directory::{Named, flows, range},
    numbers::{Bench, Numbers, Turns},
    problem::{ObjectId, Problem, Reason, Severity},
    resources::{Foreign, NUMBER, Object, Resources, Source, Spec},
    schema, snapshot, words,
    world::{Force, Good},
};

/// Plans, and plans again.
#[derive(Debug)]
pub struct Planner {
    pub(crate) resources: Resources,
    /// Of an earlier process or plan: what the first update keeps.
    last: Good,
    pub(crate) base: Base,
    pub(crate) numbers: Numbers,
    pub(crate) touched: Touched,
    /// When the last update was.
    pub(crate) now: Timestamp,
    /// Numbers that came, went or say something else.
    turned: BTreeSet<Key>,
    /// Objects whose newest form cannot be read, and why.
    unread: BTreeMap<ObjectId, Problem>,
    /// Objects of which something may be other than somebody was told last.
    news: BTreeSet<ObjectId>,
    clusters: BTreeMap<ClusterId, Live>,
    /// Kind, name and file of objects that were there and may be hidden by a file that cannot be read.
    hidden: Vec<(String, Key, Arc<str>)>,
}

/// What a cluster's pods are told, piece by piece.
#[derive(Debug, Default)]
struct Live {
    sections: Sections,
    /// What the sections hold but numbers.
    written: Option<PlannedCluster>,
    /// The live numbers of each bucket.
    buckets: BTreeMap<u8, BTreeSet<Key>>,
}

impl Planner {
    /// Begins with nothing but what an earlier plan keeps.
    #[must_use]
    pub fn new(last: Option<&Plan>) -> Self {
        Self::of(Resources::default(), last)
    }

    /// Begins with a folder's objects.
    pub(crate) fn of(resources: Resources, last: Option<&Plan>) -> Self {
        let last = last.map(|plan| plan.good.clone()).unwrap_or_default();
        let mut base = Base::default();
        base.world.directory.numbers = Arc::new(named(&resources, &last));
        Self {
            turned: BTreeSet::new(),
            unread: BTreeMap::new(),
            news: BTreeSet::new(),
            touched: Touched::everything(),
            now: Timestamp::UNIX_EPOCH,
            numbers: Numbers::default(),
            clusters: BTreeMap::new(),
            hidden: Vec::new(),
            base,
            resources,
            last,
        }
    }

    /// An object as the API server has it, which has judged its schema: its kind, name and `spec`. One of the same name is
    /// replaced; whether anything is other than before decides what the next update costs.
    ///
    /// Fields that this version does not know are passed over. An object that it cannot read is there all the same: its last
    /// good form stays in force, and what cannot be read is told of it.
    ///
    /// # Errors
    /// A sentence, if the kind is not ours.
    pub fn declare(&mut self, kind: &str, key: Key, spec: &Value) -> Result<(), String> {
        let known = schema::kinds().find(|known| *known == kind);
        let kind = known.ok_or_else(|| format!("`{kind}` is not a kind of ours."))?;
        let id = ObjectId { kind, key };
        let (object, unread) = read(id.clone(), spec);
        let told = self.unread.get(&id) != unread.as_ref();
        match unread {
            Some(problem) => drop(self.unread.insert(id.clone(), problem)),
            None => drop(self.unread.remove(&id)),
        }
        if self.put(object) || told {
            self.news.insert(id);
        }
        Ok(())
    }

    /// An object is gone.
    pub fn withdraw(&mut self, id: &ObjectId) {
        let Some(gone) = self.resources.take(id) else {
            return;
        };
        self.unread.remove(id);
        self.news.insert(gone.id.clone());
        self.touched.names.insert(gone.id.kind);
        self.touch(gone.id.clone(), Some(&gone), None);
    }

    /// Secrets and ConfigMaps, all of them. Of a Secret only its label and the names of its keys are kept, of a ConfigMap the data
    /// that is no text.
    pub fn declare_foreign(&mut self, foreign: Vec<Foreign>) {
        let foreign: Vec<Foreign> = foreign.into_iter().filter_map(Foreign::without_values).collect();
        let told = |foreign: &[Foreign], maps: bool| -> BTreeMap<Key, Value> {
            let wanted = foreign.iter().filter(|other| other.is_config_map() == maps);
            wanted.map(|other| (other.key.clone(), other.object.clone())).collect()
        };
        let (before, now) = (told(&self.resources.foreign, false), told(&foreign, false));
        let other = before.keys().chain(now.keys()).filter(|key| before.get(*key) != now.get(*key));
        self.touched.secrets.extend(other.map(|key| key.namespace().to_owned()));
        if told(&self.resources.foreign, true) != told(&foreign, true) {
            self.touched.kinds.insert("Prompt");
        }
        self.resources.foreign = foreign;
    }

    /// Whether it is other than before.
    fn put(&mut self, object: Object) -> bool {
        if self.resources.find(&object.id).is_some_and(|before| before.is_same(&object)) {
            return false;
        }
        let before = self.resources.put(object.clone());
        if before.is_none() {
            self.touched.names.insert(object.id.kind);
        }
        self.touch(object.id.clone(), before.as_ref(), Some(&object));
        true
    }

    fn touch(&mut self, id: ObjectId, was: Option<&Object>, is: Option<&Object>) {
        if id.kind != NUMBER {
            self.touched.kinds.insert(id.kind);
            self.touched.ids.insert(id);
            return;
        }
        let (was, is) = (was.and_then(spec), is.and_then(spec));
        if was.and_then(range) != is.and_then(range) {
            self.touched.names.insert(NUMBER);
        }
        let directory = &mut self.base.world.directory;
        let named = Arc::make_mut(&mut directory.numbers);
        // Whether a flow may go back to who called it depends on whether a number leads to it too.
        let flows = was.iter().chain(&is).flat_map(|spec| flows(&id.key, spec));
        let flows: Vec<Key> = flows.filter(|flow| directory.called.contains(flow)).collect();
        let before: Vec<_> = flows.iter().map(|flow| named.lead(flow).cloned()).collect();
        named.remove(&id.key, was);
        if is.is_some() || self.resources.numbers.contains_key(&id.key) {
            named.insert(&id.key, is);
        }
        for (flow, before) in flows.into_iter().zip(before) {
            if named.lead(&flow) != before.as_ref() {
                self.touched.kinds.insert("RoutingFlow");
                self.touched.ids.insert(ObjectId { kind: "RoutingFlow", key: flow });
            }
        }
        self.turned.insert(id.key);
    }

    /// Follows what has changed, and gives the clusters whose pods are to be told something.
    ///
    /// `now` decides nothing but warnings of dates, which are told anew when something other than numbers changes.
    pub fn update(&mut self, now: Timestamp) -> BTreeSet<ClusterId> {
        self.now = now;
        let touched = std::mem::take(&mut self.touched);
        let turned = std::mem::take(&mut self.turned);
        if !touched.all && touched.is_empty() {
            return self.update_numbers(&touched, turned);
        }
        let first = touched.all;
        let last =
            if first { std::mem::take(&mut self.last) } else { Good::of(&self.base.world, &self.numbers) };
        self.base.update(&self.resources, &last, &touched, now);
        let hidden: BTreeMap<ObjectId, Arc<str>> = hidden(&self.resources, &last).collect();
        let gone = hidden.iter().filter(|(id, _)| !self.resources.contains(id));
        self.hidden = gone.map(|(id, file)| (id.kind.to_owned(), id.key.clone(), Arc::clone(file))).collect();
        let hidden: BTreeSet<Key> =
            hidden.into_keys().filter(|id| id.kind == NUMBER).map(|id| id.key).collect();
        let mut keys = turned;
        if first || touched.numbers() || !self.same_flows(&last) {
            keys.extend(
                self.resources.numbers.keys().chain(self.numbers.live.keys()).chain(&hidden).cloned(),
            );
        } else {
            keys.extend(self.numbers.blamed().cloned());
            self.numbers.disturbed(&mut keys, &self.resources);
        }
        // A flow that is back is its object's again.
        let world = &self.base.world;
        self.numbers.orphans.retain(|key, _| !world.flows.contains_key(key));
        let bench = Bench {
            resources: &self.resources,
            hidden: &hidden,
            world,
            flows: &last.flows,
            before: &last.numbers,
        };
        let turns = self.numbers.judge(&keys, &bench);
        self.write_all(&turns)
    }

    /// Whether the flows that numbers can lead to are those that there were.
    fn same_flows(&self, last: &Good) -> bool {
        let now = self.base.world.flows.keys();
        now.eq(last.flows.keys().filter(|key| !self.numbers.orphans.contains_key(*key)))
    }

    fn update_numbers(&mut self, touched: &Touched, mut keys: BTreeSet<Key>) -> BTreeSet<ClusterId> {
        if keys.is_empty() {
            return BTreeSet::new();
        }
        let moved = self.base.numbers_moved(&self.resources, touched);
        self.numbers.disturbed(&mut keys, &self.resources);
        let none = BTreeMap::new();
        let bench = Bench {
            resources: &self.resources,
            hidden: &BTreeSet::new(),
            world: &self.base.world,
            flows: &BTreeMap::new(),
            before: &none,
        };
        let turns = self.numbers.judge(&keys, &bench);
        self.write_numbers(&turns, moved)
    }

    /// Sections of everything but numbers, and of the numbers that turned. A cluster that is new or gone is told apart.
    fn write_all(&mut self, turns: &Turns) -> BTreeSet<ClusterId> {
        self.hear(turns);
        let world = &self.base.world;
        let items = world.clusters.values().filter(|item| !item.draft);
        let wanted: BTreeMap<ClusterId, _> =
            items.map(|item| (ClusterId(item.id.key.clone()), item)).collect();
        let mut changed: BTreeSet<ClusterId> =
            self.clusters.keys().filter(|id| !wanted.contains_key(id)).cloned().collect();
        self.clusters.retain(|id, _| wanted.contains_key(id));
        for (id, item) in wanted {
            let fresh = !self.clusters.contains_key(&id);
            let live = self.clusters.entry(id.clone()).or_default();
            let mut differs = live.replace(snapshot::base(item, world, &self.numbers));
            if fresh {
                differs |= live.fill(&id, &self.numbers);
            }
            if differs {
                changed.insert(id);
            }
        }
        changed.extend(self.write_buckets(turns));
        changed
    }

    /// With `more`, something other than numbers has changed too.
    fn write_numbers(&mut self, turns: &Turns, more: bool) -> BTreeSet<ClusterId> {
        self.hear(turns);
        let mut changed = self.write_buckets(turns);
        if !turns.flows && !more {
            return changed;
        }
        let world = &self.base.world;
        for (id, live) in &mut self.clusters {
            let Some(item) = world.clusters.get(&id.0) else { continue };
            if live.replace(snapshot::base(item, world, &self.numbers)) {
                changed.insert(id.clone());
            }
        }
        changed
    }

    /// Remembers which objects have turned.
    fn hear(&mut self, turns: &Turns) {
        let numbers = turns.numbers.iter().map(|(key, _)| key).chain(&turns.told);
        self.news.extend(numbers.map(|key| ObjectId { kind: NUMBER, key: key.clone() }));
        self.news.append(&mut self.base.take_turned());
    }

    fn write_buckets(&mut self, turns: &Turns) -> BTreeSet<ClusterId> {
        let mut dirty: BTreeSet<(ClusterId, u8)> = BTreeSet::new();
        for (key, was) in &turns.numbers {
            let bucket = section::bucket(key);
            let is = self.numbers.live.get(key);
            for number in was.iter().chain(is) {
                let cluster = ClusterId(number.cluster.clone());
                let Some(live) = self.clusters.get_mut(&cluster) else { continue };
                let keys = live.buckets.entry(bucket).or_default();
                keys.remove(key);
                if is.is_some_and(|is| is.cluster == cluster.0) {
                    keys.insert(key.clone());
                }
                dirty.insert((cluster, bucket));
            }
        }
        let mut changed = BTreeSet::new();
        for (cluster, bucket) in dirty {
            if let Some(live) = self.clusters.get_mut(&cluster)
                && live.write(bucket, &self.numbers)
            {
                changed.insert(cluster);
            }
        }
        changed
    }

    /// Whether the pods of a cluster are told anything.
    pub(crate) fn is_planned(&self, cluster: &ClusterId) -> bool {
        self.clusters.contains_key(cluster)
    }

    /// What each cluster's pods are told.
    pub fn clusters(&self) -> impl Iterator<Item = (&ClusterId, &Sections)> {
        self.clusters.iter().map(|(id, live)| (id, &live.sections))
    }

    /// The WAV files that a cluster's prompts are made of, by the SHA-256 of their bytes.
    #[must_use]
    pub fn blobs(&self, cluster: &ClusterId) -> Option<&BTreeMap<AudioId, Arc<[u8]>>> {
        self.clusters.get(cluster)?.written.as_ref().map(|planned| &planned.blobs)
    }

    /// Everything that is wrong, object by object.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let read = self.resources.problems.iter().chain(self.unread.values());
        read.chain(self.base.problems()).chain(self.numbers.problems())
    }

    /// What is wrong with one object, in no order.
    pub(crate) fn told(&self, id: &ObjectId) -> Vec<&Problem> {
        let numbers = if id.kind == NUMBER { self.numbers.told(&id.key) } else { &[] };
        self.unread.get(id).into_iter().chain(self.base.told(id)).chain(numbers).collect()
    }

    /// Which form of an object is in force.
    pub(crate) fn force(&self, id: &ObjectId) -> Force {
        if !self.resources.contains(id) {
            return Force::None;
        }
        match id.kind {
            NUMBER => self.numbers.force(&id.key, &self.resources, &self.base.world),
            _ if self.unread.contains_key(id) => self.base.force(id).at_most_earlier(),
            _ => self.base.force(id),
        }
    }

    /// Objects of which something may be other than when this was asked last: they were declared or withdrawn, something
    /// else is wrong with them, or another form of them is in force.
    pub fn take_turned(&mut self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut self.news)
    }

    /// All of it at one time: snapshots whole, problems sorted by file and line, and what a later plan is to keep.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut problems: Vec<Problem> = self.problems().cloned().collect();
        problems.sort();
        problems.dedup();
        Plan { clusters: snapshot::clusters(&self.base.world, &self.numbers), problems, good: self.good() }
    }

    /// What a later plan is to keep.
    pub(crate) fn good(&self) -> Good {
        let mut good = Good::of(&self.base.world, &self.numbers);
        let live = self.numbers.live.iter();
        good.numbers = live.map(|(key, number)| (key.clone(), Arc::clone(&number.spec))).collect();
        good.files = self.resources.stand();
        good.files.extend(self.hidden.iter().cloned());
        good.files.sort();
        good
    }
}

impl Live {
    /// Writes everything but numbers, as far as it is other than it was; whether any of it is.
    fn replace(&mut self, planned: PlannedCluster) -> bool {
        let (last, blobs) = match &self.written {
            Some(last) => (Some(&*last.snapshot), last.blobs == planned.blobs),
            None => (None, false),
        };
        // Content of a snapshot always has a form in JSON.
        let differs = self.sections.write(last, &planned.snapshot).unwrap_or(true) || !blobs;
        self.written = Some(planned);
        differs
    }

    /// All buckets of a cluster that was not there before.
    fn fill(&mut self, id: &ClusterId, numbers: &Numbers) -> bool {
        for (key, number) in &numbers.live {
            if number.cluster == id.0 {
                self.buckets.entry(section::bucket(key)).or_default().insert(key.clone());
            }
        }
        let buckets: Vec<u8> = self.buckets.keys().copied().collect();
        let mut differs = false;
        for bucket in buckets {
            differs |= self.write(bucket, numbers);
        }
        differs
    }

    fn write(&mut self, bucket: u8, numbers: &Numbers) -> bool {
        let name = SectionName::of_bucket(bucket);
        let keys = self.buckets.get(&bucket).filter(|keys| !keys.is_empty());
        let Some(keys) = keys else {
            self.buckets.remove(&bucket);
            let was = self.sections.get(&name).is_some();
            self.sections.remove(&name);
            return was;
        };
        let entries = keys.iter().filter_map(|key| Some((NumberId(key.clone()), numbers.live.get(key)?)));
        let section = snapshot::bucket(entries);
        let differs = self.sections.get(&name) != Some(&section);
        self.sections.insert(name, section);
        differs
    }
}

/// The object, and why its newest form cannot be read. The schema's own words, where it has any, name the field.
pub(crate) fn read(id: ObjectId, spec: &Value) -> (Object, Option<Problem>) {
    let source = Source::live();
    let (field, message) = match Spec::read(id.kind, spec) {
        Ok(spec) => match lacks(&spec) {
            None => return (Object { id, spec: Some(spec), sound: true, source }, None),
            Some(lack) => lack,
        },
        Err(message) => {
            let faults = schema::validate(id.kind, &json!({"spec": spec}));
            let fault = faults.into_iter().find(|fault| fault.reason != Reason::UnknownField);
            fault.map_or_else(|| ("spec".to_owned(), message), |fault| (fault.field, fault.message))
        }
    };
    let problem = Problem {
        at: source.at(&field),
        severity: Severity::Error,
        reason: Reason::InvalidValue,
        object: Some(id.clone()),
        message: format!("This version cannot read the object. {message}"),
        field,
    };
    (Object { id, spec: None, sound: false, source }, Some(problem))
}

/// The field and what it lacks that a definition of another version has let pass: what is not known is left out, and which
/// way a step without its verb would lead nobody knows.
fn lacks(spec: &Spec) -> Option<(String, String)> {
    let steps = &spec.routing_flow()?.steps;
    let place = steps.iter().position(|step| step.verbs().len() != 1)?;
    let name = words::clip(&steps[place].name);
    Some((format!("spec.steps[{place}]"), format!("Step `{name}` must have exactly one verb that it knows.")))
}

fn spec(object: &Object) -> Option<&v1::PhoneNumberSpec> {
    object.spec.as_ref().and_then(Spec::phone_number).map(|spec| &**spec)
}

/// Names and claims of the numbers of a folder, hidden ones included.
fn named(resources: &Resources, last: &Good) -> Named {
    let mut named = Named::default();
    for (id, _) in hidden(resources, last).filter(|(id, _)| id.kind == NUMBER) {
        named.insert(&id.key, None);
    }
    resources.numbers.iter().for_each(|(key, object)| named.insert(key, spec(object)));
    named
}
