//! Everything but PhoneNumbers, kind by kind: each object is judged given those that were accepted before it.
//!
//! What no change has touched is not judged again: a kind keeps its verdicts while it and those before it stay as they
//! were, and a flow is compiled anew only when it, or what it may speak of, has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use model::Key;

use crate::{
    centre::CentreForms,
    checks::{self, Secrets},
    content,
    directory::Directory,
    flow, platform,
    problem::{ConditionType, ObjectId, Problem, Severity},
    resources::{NUMBER, Report, Resources, Spec},
    schema,
    world::{CompiledFlow, Force, Good, Item, PlannedTrunk, World},
};

/// Kinds that clusters, tenants, allowlists and trunks are judged by.
const PLATFORM: &[&str] = &["VoiceCluster", "Tenant", "Allowlist", "Trunk", "Carrier", "PointOfPresence"];

/// Of each kind, the kinds that its objects are held against when all of them are known. Its own is not among them unless
/// one object of it is held against another.
const LOOKS_AT: &[(&str, &[&str])] = &[
    ("Tenant", &["Agent", "Trunk", "Integration"]),
    ("RoutingFlow", &["ContactPoint", "RoutingFlow", NUMBER]),
    ("Prompt", &["Tenant"]),
    ("Carrier", &["PointOfPresence"]),
    ("NumberOrder", &["Carrier", "RoutingFlow", "Trunk"]),
    ("VoicemailBox", &["Prompt", "Queue", "Agent"]),
    ("Integration", &["VoiceCluster", "Tenant"]),
    ("Queue", &["Prompt", "Tenant", "Agent"]),
    ("Agent", &["Tenant", "Trunk", "Queue", "Agent"]),
    ("Campaign", &["ContactList", "DoNotCallList", "Queue", "Prompt", "Trunk", "BusinessHours", "Tenant"]),
    ("ContactPoint", &["RoutingFlow", NUMBER, "Integration"]),
    ("CallTest", &[NUMBER, "Trunk", "Agent", "BusinessHours", "Integration", "Queue", "Prompt"]),
];

/// What has changed since the last plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touched {
    /// Anything at all: nothing is known any more.
    pub all: bool,
    /// Objects but PhoneNumbers that came, went or say something else.
    pub ids: BTreeSet<ObjectId>,
    /// Kinds of which an object came, went or says something else.
    pub kinds: BTreeSet<&'static str>,
    /// Kinds of which an object came or went.
    pub names: BTreeSet<&'static str>,
    /// Namespaces in which a Secret came, went or has other keys.
    pub secrets: BTreeSet<String>,
}

impl Touched {
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        !self.all && self.kinds.is_empty() && self.secrets.is_empty()
    }

    /// Whether what is said of an object alone can be other than before.
    fn touches(&self, id: &ObjectId) -> bool {
        self.ids.contains(id) || self.secrets.contains(id.key.namespace())
    }

    fn any(&self, kinds: &[&str]) -> bool {
        self.all || kinds.iter().any(|kind| self.kinds.contains(kind))
    }

    /// Whether numbers can be judged otherwise than before, besides what is said of names.
    pub fn numbers(&self) -> bool {
        self.any(PLATFORM) || self.names.contains("RoutingFlow") || self.names.contains("NumberOrder")
    }
}

/// The judged world, with all that is needed to judge only what changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Base {
    pub world: World,
    platform: Told,
    prompts: Told,
    hours: Told,
    flows: BTreeMap<Key, FlowVerdict>,
    alone: Told,
    across: Told,
    /// Objects of a contact centre whose newest form is not the one in force.
    stale: BTreeSet<ObjectId>,
    /// Objects of which something else is said than before, or which have come into force or out of it, until somebody asks.
    turned: BTreeSet<ObjectId>,
}

/// What is wrong with each object; those without fault have no entry.
type Told = BTreeMap<ObjectId, Vec<Problem>>;

/// What became of a flow's newest form.
#[derive(Debug, Clone)]
struct FlowVerdict {
    flow: Option<Arc<CompiledFlow>>,
    problems: Vec<Problem>,
}

impl Base {
    /// Judges what was touched, and all that may follow from it.
    pub fn update(&mut self, resources: &Resources, last: &Good, touched: &Touched, now: Timestamp) {
        let files = files(resources, last);
        let numbers = std::mem::take(&mut self.world.directory.numbers);
        let before = std::mem::take(&mut self.world);
        let mut judge =
            Judge { resources, last, files: &files, now, world: World::default(), report: Report::default() };
        judge.world.directory = Directory::of(resources, files.keys(), numbers);
        let same_platform = !touched.any(PLATFORM);
        if same_platform {
            judge.keep_platform(&before);
        } else {
            judge.clusters();
            judge.tenants();
            judge.allowlists();
            judge.pops();
            judge.trunks();
            judge.outbound();
            self.turned.extend(replace(&mut self.platform, judge.told()));
        }
        let same_prompts = same_platform && !touched.any(&["Prompt"]);
        if same_prompts {
            judge.keep("Prompt", &before);
            judge.world.prompts.clone_from(&before.prompts);
        } else {
            judge.prompts();
            self.turned.extend(replace(&mut self.prompts, judge.told()));
        }
        let same_hours = same_platform && !touched.any(&["BusinessHours"]);
        if same_hours {
            judge.keep("BusinessHours", &before);
            judge.world.hours.clone_from(&before.hours);
        } else {
            judge.hours();
            self.turned.extend(replace(&mut self.hours, judge.told()));
        }
        let same = same_prompts && same_hours && judge.same_names(&before, touched);
        self.turned.extend(judge.flows(&mut self.flows, &before, same, touched));
        self.turned.extend(judge.alone(&mut self.alone, same_platform, touched));
        self.world = judge.world;
        if !same_platform {
            self.turned.extend(moved(&before, &self.world));
        }
        self.world.centre = before.centre;
        self.across(resources, touched);
        let all = touched.all || !same_platform || !same_prompts || !same_hours;
        // A flow that was not touched may be compiled anew, since what it names has come.
        let flows_moved = self.world.flows != before.flows;
        let again = |kind: &str| all || looks_again(kind, touched) || (flows_moved && kind == "ContactPoint");
        self.world.centre.retain(|id| files.contains_key(id));
        self.stale.retain(|id| files.contains_key(id));
        self.write_centre(resources, &files, &last.centre, touched, &again);
    }

    /// Follows numbers that came, went or claim something else; whether that changes a point of contact.
    pub fn numbers_moved(&mut self, resources: &Resources, touched: &Touched) -> bool {
        if !touched.names.contains(NUMBER) {
            return false;
        }
        self.across(resources, touched);
        let last = self.world.centre.clone();
        let points = resources.of("ContactPoint");
        let files = points.map(|object| (object.id.clone(), Arc::clone(&object.source.file))).collect();
        self.write_centre(resources, &files, &last, touched, &|kind| looks_again(kind, touched));
        self.world.centre.contact_points != last.contact_points
    }

    /// Writes the forms of what was judged anew; of a right object its own, of a wrong one its last good one.
    fn write_centre(
        &mut self,
        resources: &Resources,
        files: &BTreeMap<ObjectId, Arc<str>>,
        last: &CentreForms,
        touched: &Touched,
        again: &dyn Fn(&str) -> bool,
    ) {
        let mut forms = std::mem::take(&mut self.world.centre);
        let wrong = |id: &ObjectId| {
            let told = [self.alone.get(id), self.across.get(id)];
            let mut problems = told.into_iter().flatten().flatten();
            problems.any(|problem| problem.severity == Severity::Error)
        };
        for (id, _) in files.iter().filter(|(id, _)| CentreForms::KINDS.contains(&id.kind)) {
            if !touched.touches(id) && !again(id.kind) {
                continue;
            }
            let object = resources.find(id);
            let sound = object.is_some_and(|object| object.sound) && !wrong(id);
            let spec = object.and_then(|object| object.spec.as_ref());
            let newest = forms.write(id, spec, sound, &self.world, last);
            let was = if newest { self.stale.remove(id) } else { !self.stale.insert(id.clone()) };
            if was == newest {
                self.turned.insert(id.clone());
            }
        }
        self.world.centre = forms;
    }

    /// What is to be said of objects beside others, where these or those were touched.
    pub fn across(&mut self, resources: &Resources, touched: &Touched) {
        let mut report = Report::default();
        let told = &mut self.across;
        if touched.all {
            told.clear();
        }
        touched.ids.iter().for_each(|id| drop(told.remove(id)));
        let anew = |kind: &str| touched.all || looks_again(kind, touched);
        let kinds = resources.objects.iter().filter(|(kind, _)| anew(kind));
        let others = touched.ids.iter().filter(|id| !anew(id.kind)).filter_map(|id| resources.find(id));
        for object in kinds.flat_map(|(_, objects)| objects.values()).chain(others) {
            checks::across(object, &self.world, &mut report);
            if keep(told, &object.id, std::mem::take(&mut report.problems)) {
                self.turned.insert(object.id.clone());
            }
        }
    }

    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let told = [&self.platform, &self.prompts, &self.hours, &self.alone, &self.across];
        let flows = self.flows.values().map(|verdict| &verdict.problems);
        told.into_iter().flat_map(BTreeMap::values).chain(flows).flatten()
    }

    /// What is wrong with one object.
    pub fn told(&self, id: &ObjectId) -> Vec<&Problem> {
        let told = [&self.platform, &self.prompts, &self.hours, &self.alone, &self.across];
        let flow = self.flows.get(&id.key).filter(|_| id.kind == "RoutingFlow");
        let flow = flow.map(|verdict| &verdict.problems);
        told.into_iter().filter_map(|told| told.get(id)).chain(flow).flatten().collect()
    }

    /// Objects that have turned since this was asked last.
    pub fn take_turned(&mut self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut self.turned)
    }

    /// Which form of an object is in force, whatever is wrong with the newest one.
    pub fn force(&self, id: &ObjectId) -> Force {
        let world = &self.world;
        match id.kind {
            "VoiceCluster" | "Tenant" | "Allowlist" | "PointOfPresence" | "Trunk" => world.force(id),
            "Prompt" => self.resolved(id, &self.prompts, world.prompts.contains_key(&id.key)),
            "BusinessHours" => self.resolved(id, &self.hours, world.hours.contains_key(&id.key)),
            "RoutingFlow" => {
                let newest = self.flows.get(&id.key).is_some_and(|verdict| verdict.flow.is_some());
                Force::of(world.flows.contains_key(&id.key), newest)
            }
            kind if CentreForms::KINDS.contains(&kind) => {
                Force::of(world.centre.contains(id), !self.stale.contains(id))
            }
            // Nothing acts on it but the checks of others, which look at it as it stands.
            _ => Force::of(self.told(id).iter().all(|problem| problem.severity != Severity::Error), true),
        }
    }

    /// Of an object that is in force as it stands only while nothing is wrong with it.
    fn resolved(&self, id: &ObjectId, told: &Told, there: bool) -> Force {
        let wrong = told.get(id).into_iter().flatten().any(|problem| problem.severity == Severity::Error);
        Force::of(there, !wrong)
    }
}

/// Objects of the platform that have come into force, out of it, or into that of another form.
fn moved(before: &World, now: &World) -> BTreeSet<ObjectId> {
    let ids = before.platform().chain(now.platform());
    ids.filter(|id| before.force(id) != now.force(id)).cloned().collect()
}

/// Puts new verdicts into the place of those that there were, and gives the objects of which something else is said.
fn replace(told: &mut Told, now: Told) -> Vec<ObjectId> {
    let before = std::mem::replace(told, now);
    let other = told.iter().filter(|(id, problems)| before.get(id) != Some(problems)).map(|(id, _)| id);
    let silent = before.keys().filter(|id| !told.contains_key(id));
    other.chain(silent).cloned().collect()
}

/// Whether objects of a kind look at anything that was touched.
fn looks_again(kind: &str, touched: &Touched) -> bool {
    let moved = |kind: &&str| touched.kinds.contains(kind) || touched.names.contains(kind);
    let looks_at = LOOKS_AT.iter().find(|(looking, _)| *looking == kind);
    looks_at.is_some_and(|(_, kinds)| kinds.iter().any(moved))
}

/// Only what there is to say is kept. Gives whether it is other than before.
fn keep(told: &mut Told, id: &ObjectId, problems: Vec<Problem>) -> bool {
    if told.get(id).map_or(&[][..], Vec::as_slice) == problems {
        return false;
    }
    if problems.is_empty() {
        told.remove(id);
    } else {
        told.insert(id.clone(), problems);
    }
    true
}

/// The file of every object but PhoneNumbers: of those that are there, and of those that were and may be hidden by a file
/// that cannot be read. Only an object whose file can be read is known to be deleted.
fn files(resources: &Resources, last: &Good) -> BTreeMap<ObjectId, Arc<str>> {
    let hidden = hidden(resources, last).filter(|(id, _)| id.kind != NUMBER);
    let mut files: BTreeMap<_, _> = hidden.collect();
    let present = resources.others();
    files.extend(present.map(|object| (object.id.clone(), Arc::clone(&object.source.file))));
    files
}

/// Objects that were there and may be hidden by a file that cannot be read.
pub(crate) fn hidden(resources: &Resources, last: &Good) -> impl Iterator<Item = (ObjectId, Arc<str>)> {
    let hidden = last.files.iter().filter(|(_, _, file)| resources.incomplete.contains(file));
    hidden.filter_map(|(kind, key, file)| {
        let kind = schema::kinds().find(|known| known == kind)?;
        Some((ObjectId { kind, key: key.clone() }, Arc::clone(file)))
    })
}

struct Judge<'a> {
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

impl Judge<'_> {
    /// What was reported since it was asked for.
    fn problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.report.problems)
    }

    /// The same, by the object.
    fn told(&mut self) -> Told {
        let mut told = Told::new();
        for problem in self.problems() {
            if let Some(id) = &problem.object {
                told.entry(id.clone()).or_default().push(problem);
            }
        }
        told
    }

    /// The verdicts on clusters, tenants, allowlists, points of presence and trunks.
    fn keep_platform(&mut self, before: &World) {
        for kind in ["VoiceCluster", "Tenant", "Allowlist", "PointOfPresence", "Trunk"] {
            self.keep(kind, before);
        }
        let world = &mut self.world;
        world.clusters.clone_from(&before.clusters);
        world.tenants.clone_from(&before.tenants);
        world.served.clone_from(&before.served);
        world.allowlists.clone_from(&before.allowlists);
        world.pops.clone_from(&before.pops);
        world.trunks.clone_from(&before.trunks);
        world.outbound.clone_from(&before.outbound);
    }

    /// Objects of a kind that could not be used, and still cannot.
    fn keep(&mut self, kind: &str, before: &World) {
        self.world.unusable.extend(before.unusable.iter().filter(|id| id.kind == kind).cloned());
    }

    /// Gives the objects of which something else is said than before.
    fn alone(&mut self, told: &mut Told, same: bool, touched: &Touched) -> Vec<ObjectId> {
        told.retain(|id, _| self.resources.contains(id));
        let secrets = Secrets::of(&self.resources.foreign);
        let anew = self.resources.others().filter(|object| !same || touched.touches(&object.id));
        let mut turned = Vec::new();
        for object in anew {
            checks::alone(object, &secrets, &self.world, &mut self.report);
            let problems = self.problems();
            if keep(told, &object.id, problems) {
                turned.push(object.id.clone());
            }
        }
        turned
    }

    /// Whether flows find the same names, and lead to each other as before.
    fn same_names(&self, before: &World, touched: &Touched) -> bool {
        let flows = &["RoutingFlow", "Queue", "Agent", "VoicemailBox", "Integration"];
        !flows.iter().any(|kind| touched.names.contains(kind))
            && self.world.directory.calls == before.directory.calls
    }

    /// Objects of a kind with the forms in which they may be used, the newest first. Those that were live before come
    /// first, so that a new claim cannot push out an old one; then by namespace and name.
    fn candidates<T>(
        &self,
        kind: &str,
        pick: fn(&Spec) -> Option<&Arc<T>>,
        kept: &BTreeMap<Key, Arc<T>>,
    ) -> Vec<Candidate<T>> {
        let candidate = |id: &ObjectId| {
            let item =
                |spec: &Arc<T>, source, draft| Item { id: id.clone(), spec: Arc::clone(spec), source, draft };
            let new = self.resources.find(id).and_then(|object| {
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

    fn pops(&mut self) {
        let now = self.now;
        for candidate in self.candidates("PointOfPresence", Spec::point_of_presence, &self.last.pops) {
            let id = candidate.id.clone();
            match self.accept(candidate, |item, _, report| platform::pop(item, now, report)) {
                Some((item, ())) => drop(self.world.pops.insert(id.key, item)),
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
            let files = content::Files { beside: &self.resources.files, others: &self.resources.foreign };
            let resolved = self
                .resolve(candidate, |item, world, report| content::prompt(item, &files, world, report))
                .flatten();
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

    /// Gives the flows of which something else is said than before, or whose newest form has come into force or out of it.
    fn flows(
        &mut self,
        verdicts: &mut BTreeMap<Key, FlowVerdict>,
        before: &World,
        same: bool,
        touched: &Touched,
    ) -> Vec<ObjectId> {
        let mut turned = Vec::new();
        let mut known = std::mem::take(verdicts);
        let order = flow::callees_first(&self.world.directory);
        let mut candidates = self.candidates("RoutingFlow", Spec::routing_flow, &BTreeMap::new());
        candidates.sort_by_key(|candidate| order.get(&candidate.id.key).copied());
        let any = touched.kinds.contains("RoutingFlow");
        for candidate in candidates {
            let id = candidate.id.clone();
            let (now, then) = (&self.world.directory, &before.directory);
            let as_before = same
                && !touched.ids.contains(&id)
                // What a flow may do depends on those that it calls.
                && !(any && now.calls_of(&id.key).next().is_some())
                && now.entered.get(&id.key) == then.entered.get(&id.key);
            let verdict = match known.remove(&id.key) {
                Some(verdict) if as_before => verdict,
                was => {
                    let flow =
                        self.resolve(candidate, |item, world, report| flow::compile(item, world, report));
                    let verdict = FlowVerdict { flow: flow.map(Arc::new), problems: self.problems() };
                    let same = was.is_some_and(|was| {
                        was.flow.is_some() == verdict.flow.is_some() && was.problems == verdict.problems
                    });
                    if !same {
                        turned.push(id.clone());
                    }
                    verdict
                }
            };
            match &verdict.flow {
                Some(flow) => drop(self.world.flows.insert(id.key.clone(), Arc::clone(flow))),
                None if self.world.keep_flow(&id.key, self.last) => {}
                None => drop(self.world.unusable.insert(id.clone())),
            }
            verdicts.insert(id.key, verdict);
        }
        turned
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
