//! From objects to snapshots, kind by kind: each is judged given those that were accepted before it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use model::{AudioId, ClusterId, Key, snapshot::Snapshot};

use crate::{
    SourceFile, checks, content,
    directory::Directory,
    flow, load, numbers, platform,
    problem::{ConditionType, ObjectId, Problem},
    resources::{Object, Report, Resources, Spec},
    schema, snapshot,
    world::{Good, Item, PlannedTrunk, World},
};

/// What every cluster's pods should be told, and everything that is wrong.
#[derive(Debug, Clone)]
pub struct Plan {
    /// By cluster.
    pub clusters: BTreeMap<ClusterId, PlannedCluster>,
    /// What the loader found and what the planner found, sorted by file and line.
    pub problems: Vec<Problem>,
    good: Good,
}

/// One cluster's part of a plan.
#[derive(Debug, Clone)]
pub struct PlannedCluster {
    /// What its pods are told.
    pub snapshot: Arc<Snapshot>,
    /// The WAV files that its prompts are made of, by the SHA-256 of their bytes.
    pub blobs: BTreeMap<AudioId, Arc<[u8]>>,
}

impl Plan {
    pub(crate) const fn good(&self) -> &Good {
        &self.good
    }

    pub(crate) const fn of_good(good: Good) -> Self {
        Self { clusters: BTreeMap::new(), problems: Vec::new(), good }
    }
}

/// Loads and plans, and gives the problems alone, sorted by file and line.
#[must_use]
pub fn check(files: &[SourceFile], now: Timestamp) -> Vec<Problem> {
    let (resources, _) = load::load(files);
    plan(&resources, None, now).problems
}

/// Compiles every cluster. With the plan before in `last`, the last good form of a bad object stays live.
///
/// `now` decides nothing but warnings: what a snapshot holds does not depend on the time of day.
#[must_use]
pub fn plan(resources: &Resources, last: Option<&Plan>, now: Timestamp) -> Plan {
    let none = Good::default();
    let last = last.map_or(&none, |plan| &plan.good);
    let files = files(resources, last);
    let mut planner =
        Planner { resources, last, files: &files, now, world: World::default(), report: Report::default() };
    planner.world.directory = Directory::of(resources, files.keys());
    planner.clusters();
    planner.tenants();
    planner.allowlists();
    planner.trunks();
    planner.outbound();
    planner.prompts();
    planner.hours();
    planner.flows();
    planner.numbers();
    checks::all(resources, &planner.world, &mut planner.report);
    let Planner { world, report, .. } = planner;
    let mut problems = resources.problems.clone();
    problems.extend(report.problems);
    problems.sort();
    problems.dedup();
    Plan { clusters: snapshot::clusters(&world), problems, good: Good::of(&world, &files) }
}

/// The file of every object: of those that are there, and of those that were and may be hidden by a file that cannot be
/// read. Only an object whose file can be read is known to be deleted.
fn files(resources: &Resources, last: &Good) -> BTreeMap<ObjectId, Arc<str>> {
    let hidden = last.files.iter().filter(|(_, _, file)| resources.incomplete.contains(file));
    let hidden = hidden.filter_map(|(kind, key, file)| {
        let kind = schema::kinds().find(|known| known == kind)?;
        Some((ObjectId { kind, key: key.clone() }, Arc::clone(file)))
    });
    let mut files: BTreeMap<_, _> = hidden.collect();
    let present = resources.objects.iter();
    files.extend(present.map(|object| (object.id.clone(), Arc::clone(&object.source.file))));
    files
}

struct Planner<'a> {
    resources: &'a Resources,
    last: &'a Good,
    /// Every object that there is, hidden ones included.
    files: &'a BTreeMap<ObjectId, Arc<str>>,
    now: Timestamp,
    world: World,
    report: Report,
}

/// An object of one kind: as it stands in a file, and as it was.
struct Candidate<T> {
    id: ObjectId,
    forms: Vec<Item<T>>,
}

impl Planner<'_> {
    /// Objects of a kind with the forms in which they may be used, the newest first. Those that were live before come
    /// first, so that a new claim cannot push out an old one; then by namespace and name.
    fn candidates<T>(
        &self,
        kind: &str,
        pick: fn(&Spec) -> Option<&Arc<T>>,
        kept: &BTreeMap<Key, Arc<T>>,
    ) -> Vec<Candidate<T>> {
        let objects = self.resources.objects.iter().map(|object| (&object.id, object));
        let objects: BTreeMap<&ObjectId, &Object> = objects.collect();
        let candidate = |id: &ObjectId| {
            let item =
                |spec: &Arc<T>, source, draft| Item { id: id.clone(), spec: Arc::clone(spec), source, draft };
            let new = objects.get(id).and_then(|object| {
                let spec = object.spec.as_ref().and_then(pick)?;
                Some(item(spec, Some(object.source.clone()), !object.sound))
            });
            let old = kept.get(&id.key).map(|spec| item(spec, None, false));
            Candidate { id: id.clone(), forms: new.into_iter().chain(old).collect() }
        };
        let ids = self.files.keys().filter(|id| id.kind == kind);
        let mut candidates: Vec<_> = ids.map(candidate).collect();
        candidates.sort_by_key(|candidate| (!kept.contains_key(&candidate.id.key), candidate.id.key.clone()));
        candidates
    }

    /// The first form of an object that is accepted; where none is, the newest as a draft, so that whatever refers to
    /// it can still be judged.
    fn accept<T, U>(
        &mut self,
        candidate: Candidate<T>,
        judge: impl Fn(&Item<T>, &mut World, &mut Report) -> U,
    ) -> Option<(Item<T>, U)> {
        let mut draft = None;
        for mut item in candidate.forms {
            self.report.begin();
            let verdict = judge(&item, &mut self.world, &mut self.report);
            item.draft |= self.report.objected(ConditionType::Accepted);
            if !item.draft {
                return Some((item, verdict));
            }
            draft = draft.or(Some((item, verdict)));
        }
        draft
    }

    fn clusters(&mut self) {
        for candidate in self.candidates("VoiceCluster", Spec::voice_cluster, &self.last.clusters) {
            let id = candidate.id.clone();
            let accepted = self.accept(candidate, |item, world, report| {
                platform::cluster(item, report);
                checks::cluster(item, report);
                platform::clusters_apart(item, world, report);
            });
            match accepted {
                Some((item, ())) => drop(self.world.clusters.insert(id.key, item)),
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn tenants(&mut self) {
        for candidate in self.candidates("Tenant", Spec::tenant, &self.last.tenants) {
            let id = candidate.id.clone();
            let accepted =
                self.accept(candidate, |item, world, report| platform::tenant(item, world, report));
            match accepted {
                Some((item, admitted)) => {
                    let namespace = item.namespace().to_owned();
                    if admitted && !item.draft {
                        self.world.served.insert(namespace.clone(), item.target(&item.spec.cluster_ref));
                    }
                    self.world.tenants.entry(namespace).or_insert(item);
                }
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn allowlists(&mut self) {
        let now = self.now;
        for candidate in self.candidates("Allowlist", Spec::allowlist, &self.last.allowlists) {
            let id = candidate.id.clone();
            match self.accept(candidate, |item, _, report| platform::allowlist(item, now, report)) {
                Some((item, ())) => drop(self.world.allowlists.insert(id.key, item)),
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn trunks(&mut self) {
        let last = self.last;
        let mut candidates = self.candidates("Trunk", Spec::trunk, &last.trunks);
        // The platform's first: no tenant can push out a carrier by claiming its sources.
        candidates.sort_by_key(|candidate| !candidate.forms.first().is_some_and(platform::is_the_platforms));
        for candidate in candidates {
            let id = candidate.id.clone();
            match self.accept(candidate, |item, world, report| platform::trunk(item, world, last, report)) {
                Some((item, planned)) => {
                    let live = planned.live && !item.draft;
                    self.world.trunks.insert(id.key, PlannedTrunk { item, live, ..planned });
                }
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn outbound(&mut self) {
        let tenants: Vec<_> = self.world.tenants.values().cloned().collect();
        for tenant in tenants {
            let trunks = platform::outbound(&tenant, &self.world, &mut self.report);
            self.world.outbound.insert(tenant.namespace().to_owned(), trunks);
        }
    }

    fn prompts(&mut self) {
        for candidate in self.candidates("Prompt", Spec::prompt, &BTreeMap::new()) {
            let id = candidate.id.clone();
            let files = &self.resources.files;
            let resolved =
                self.resolve(candidate, |item, _, report| content::prompt(item, files, report)).flatten();
            match resolved.or_else(|| self.last.prompts.get(&id.key).cloned()) {
                Some(prompt) => drop(self.world.prompts.insert(id.key, prompt)),
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn hours(&mut self) {
        for candidate in self.candidates("BusinessHours", Spec::business_hours, &BTreeMap::new()) {
            let id = candidate.id.clone();
            let hours = self.resolve(candidate, |item, world, report| content::hours(item, world, report));
            match hours.map(Arc::new).or_else(|| self.last.hours.get(&id.key).cloned()) {
                Some(hours) => drop(self.world.hours.insert(id.key, hours)),
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn flows(&mut self) {
        let order = flow::callees_first(&self.world.directory);
        let mut candidates = self.candidates("RoutingFlow", Spec::routing_flow, &BTreeMap::new());
        candidates.sort_by_key(|candidate| order.get(&candidate.id.key).copied());
        for candidate in candidates {
            let id = candidate.id.clone();
            let flow = self.resolve(candidate, |item, world, report| flow::compile(item, world, report));
            match flow {
                Some(flow) => drop(self.world.flows.insert(id.key, Arc::new(flow))),
                None if self.world.keep_flow(&id.key, self.last) => {}
                None => drop(self.world.unusable.insert(id)),
            }
        }
    }

    fn numbers(&mut self) {
        let last = self.last;
        for candidate in self.candidates("PhoneNumber", Spec::phone_number, &self.last.numbers) {
            let accepted =
                self.accept(candidate, |item, world, report| numbers::number(item, world, last, report));
            let live = accepted.filter(|(item, _)| !item.draft).and_then(|(_, number)| number);
            if let Some(number) = live {
                let claims = self.world.claims.entry(number.trunk.clone()).or_default();
                claims.insert(number.first, (number.last, number.item.id.clone()));
                self.world.numbers.push(number);
            }
        }
    }

    /// What an object compiles to, if nothing at all is against it.
    fn resolve<T, U>(
        &mut self,
        candidate: Candidate<T>,
        judge: impl Fn(&Item<T>, &mut World, &mut Report) -> U,
    ) -> Option<U> {
        let (item, verdict) = self.accept(candidate, judge)?;
        let sound = !item.draft && !self.report.objected(ConditionType::ResolvedRefs);
        sound.then_some(verdict)
    }
}
