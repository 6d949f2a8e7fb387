//! From objects to snapshots, kind by kind: each is judged given those that were accepted before it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use model::{AudioId, ClusterId, Key, snapshot::Snapshot};

use crate::{
    SourceFile, content, flow, load, numbers, platform,
    problem::{ConditionType, ObjectId, Problem},
    resources::{Report, Resources, Spec},
    snapshot,
    world::{Good, Item, World},
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
    let mut planner = Planner { resources, last, now, world: World::default(), report: Report::default() };
    planner.clusters();
    planner.tenants();
    planner.allowlists();
    planner.trunks();
    planner.outbound();
    planner.prompts();
    planner.hours();
    planner.flows();
    planner.numbers();
    let Planner { world, report, .. } = planner;
    let mut problems = resources.problems.clone();
    problems.extend(report.problems);
    problems.sort();
    problems.dedup();
    Plan { clusters: snapshot::clusters(&world), problems, good: Good::of(&world) }
}

struct Planner<'a> {
    resources: &'a Resources,
    last: &'a Good,
    now: Timestamp,
    world: World,
    report: Report,
}

/// An object of one kind: as it stands in a file, if that is sound, and as it was.
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
        let objects = self.resources.objects.iter().filter(|object| object.id.kind == kind);
        let candidate = |object: &crate::resources::Object| {
            let id = object.id.clone();
            let new = object.spec.as_ref().and_then(pick).map(|spec| Item {
                id: id.clone(),
                spec: Arc::clone(spec),
                source: Some(object.source.clone()),
            });
            let old =
                kept.get(&id.key).map(|spec| Item { id: id.clone(), spec: Arc::clone(spec), source: None });
            Candidate { id, forms: new.into_iter().chain(old).collect() }
        };
        let mut candidates: Vec<_> = objects.map(candidate).collect();
        candidates.sort_by_key(|candidate| (!kept.contains_key(&candidate.id.key), candidate.id.key.clone()));
        candidates
    }

    /// The first form of an object that is accepted.
    fn accept<T, U>(
        &mut self,
        candidate: Candidate<T>,
        judge: impl Fn(&Item<T>, &mut World, &mut Report) -> U,
    ) -> Option<(Item<T>, U)> {
        candidate.forms.into_iter().find_map(|item| {
            self.report.begin();
            let verdict = judge(&item, &mut self.world, &mut self.report);
            let accepted = !self.report.objected(ConditionType::Accepted);
            accepted.then_some((item, verdict))
        })
    }

    fn clusters(&mut self) {
        for candidate in self.candidates("VoiceCluster", Spec::voice_cluster, &self.last.clusters) {
            let accepted = self.accept(candidate, |item, world, report| {
                platform::cluster(item, report);
                platform::clusters_apart(item, world, report);
            });
            if let Some((item, ())) = accepted {
                self.world.clusters.insert(item.id.key.clone(), item);
            }
        }
    }

    fn tenants(&mut self) {
        for candidate in self.candidates("Tenant", Spec::tenant, &self.last.tenants) {
            let accepted =
                self.accept(candidate, |item, world, report| platform::tenant(item, world, report));
            if let Some((item, ())) = accepted {
                self.world.tenants.insert(item.namespace().to_owned(), item);
            }
        }
    }

    fn allowlists(&mut self) {
        let now = self.now;
        for candidate in self.candidates("Allowlist", Spec::allowlist, &self.last.allowlists) {
            let accepted = self.accept(candidate, |item, _, report| platform::allowlist(item, now, report));
            if let Some((item, ())) = accepted {
                self.world.allowlists.insert(item.id.key.clone(), item);
            }
        }
    }

    fn trunks(&mut self) {
        for candidate in self.candidates("Trunk", Spec::trunk, &self.last.trunks) {
            let accepted = self.accept(candidate, |item, world, report| platform::trunk(item, world, report));
            if let Some((item, planned)) = accepted {
                self.world.trunks.insert(item.id.key, planned);
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
            let key = candidate.id.key.clone();
            let files = &self.resources.files;
            let accepted = self.accept(candidate, |item, _, report| content::prompt(item, files, report));
            let resolved = accepted.and_then(|(_, prompt)| prompt);
            if let Some(prompt) = resolved.or_else(|| self.last.prompts.get(&key).cloned()) {
                self.world.prompts.insert(key, prompt);
            }
        }
    }

    fn hours(&mut self) {
        for candidate in self.candidates("BusinessHours", Spec::business_hours, &BTreeMap::new()) {
            let key = candidate.id.key.clone();
            self.report.begin();
            let accepted = self.accept(candidate, |item, world, report| content::hours(item, world, report));
            let sound = !self.report.objected(ConditionType::ResolvedRefs);
            let hours = accepted.filter(|_| sound).map(|(_, hours)| Arc::new(hours));
            if let Some(hours) = hours.or_else(|| self.last.hours.get(&key).cloned()) {
                self.world.hours.insert(key, hours);
            }
        }
    }

    fn flows(&mut self) {
        for candidate in self.candidates("RoutingFlow", Spec::routing_flow, &BTreeMap::new()) {
            let key = candidate.id.key.clone();
            self.report.begin();
            let accepted = self.accept(candidate, |item, world, report| flow::compile(item, world, report));
            let sound = !self.report.objected(ConditionType::ResolvedRefs);
            let compiled = accepted.filter(|_| sound).map(|(_, flow)| Arc::new(flow));
            if let Some(flow) = compiled.or_else(|| self.last.flows.get(&key).cloned()) {
                self.world.flows.insert(key, flow);
            }
        }
    }

    fn numbers(&mut self) {
        let last = self.last;
        for candidate in self.candidates("PhoneNumber", Spec::phone_number, &self.last.numbers) {
            let accepted =
                self.accept(candidate, |item, world, report| numbers::number(item, world, last, report));
            self.world.numbers.extend(accepted.and_then(|(_, number)| number));
        }
    }
}
