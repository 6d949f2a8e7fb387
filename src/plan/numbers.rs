//! PhoneNumbers: which of them are live. There may be a hundred thousand, so that their verdicts are kept, and only those
//! are judged anew that a change can have touched.
//!
//! The order in which numbers are judged decides who has a number that two of them claim: first those that are live and
//! as they were, then live ones that were edited, then the others, each by namespace and name. What an edited number has is
//! free for others only once it has become something else. So nobody is pushed out by a new claim, two may change places,
//! and it makes no difference whether one number is judged or all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::{E164, Key};

use crate::{
    checks::{self, Secrets},
    directory::range,
    platform::{claims_cluster, near_key},
    problem::{ConditionType, ObjectId, Problem, Reason},
    resources::{NUMBER, Object, Report, Resources, Spec},
    world::{CompiledFlow, Force, Item, PlannedTrunk, World},
};

/// A number that is live.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveNumber {
    pub spec: Arc<v1::PhoneNumberSpec>,
    pub first: E164,
    pub last: E164,
    pub trunk: Key,
    /// The trunk's.
    pub cluster: Key,
    pub flow: Key,
}

/// Every PhoneNumber's verdict.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Those that are live, by their object.
    pub live: BTreeMap<Key, LiveNumber>,
    /// Flows that only live numbers keep: their objects are gone.
    pub orphans: BTreeMap<Key, Arc<CompiledFlow>>,
    /// How many live numbers of a trunk lead to a flow.
    pub uses: BTreeMap<Key, BTreeMap<Key, u32>>,
    problems: BTreeMap<Key, Vec<Problem>>,
    /// The live numbers of each trunk: by the first one of a range, its last one and its object.
    claims: BTreeMap<Key, BTreeMap<E164, (E164, Key)>>,
    /// What those claim that are not live, or not as they stand: the claims of others decide what is said of them.
    unsettled: BTreeMap<Key, Claim>,
}

/// A trunk, the first number and the last.
type Claim = (Key, E164, E164);

/// What numbers are judged by.
pub(crate) struct Bench<'a> {
    pub resources: &'a Resources,
    /// Numbers of files that cannot be read: they may well be there.
    pub hidden: &'a BTreeSet<Key>,
    pub world: &'a World,
    /// Flows as they were before.
    pub flows: &'a BTreeMap<Key, Arc<CompiledFlow>>,
    /// Numbers that were live in an earlier process.
    pub before: &'a BTreeMap<Key, Arc<v1::PhoneNumberSpec>>,
}

/// Numbers whose being live has changed, with what they were, and whether flows came into use or went out of it.
#[derive(Debug)]
pub(crate) struct Turns {
    pub numbers: Vec<(Key, Option<LiveNumber>)>,
    pub flows: bool,
    /// Numbers of which something else is said.
    pub told: Vec<Key>,
}

impl Numbers {
    /// What is wrong with them.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }

    /// What is wrong with one.
    pub fn told(&self, key: &Key) -> &[Problem] {
        self.problems.get(key).map_or(&[], Vec::as_slice)
    }

    /// Those that a trunk has live.
    pub fn of_trunk(&self, trunk: &Key) -> impl Iterator<Item = &Key> {
        self.claims.get(trunk).into_iter().flat_map(BTreeMap::values).map(|(_, key)| key)
    }

    /// Those of a namespace that are live.
    pub fn of_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Key> {
        let all = self.live.range(Key::new(namespace, "")..).map(|(key, _)| key);
        all.take_while(move |key| key.namespace() == namespace)
    }

    /// Which form of a number is in force. One whose flow is gone is not what it says any more.
    pub fn force(&self, key: &Key, resources: &Resources, world: &World) -> Force {
        let Some(number) = self.live.get(key) else { return Force::None };
        let newest = resources.numbers.get(key).and_then(phone_number) == Some(&number.spec);
        let flow = ObjectId { kind: "RoutingFlow", key: number.flow.clone() };
        Force::of(true, newest && world.directory.known.contains(&flow))
    }

    /// Adds the numbers whose verdicts can turn when these are judged anew: those of overlapping claims, and so on.
    pub fn disturbed(&self, keys: &mut BTreeSet<Key>, resources: &Resources) {
        let mut claims: Vec<Claim> = Vec::new();
        for key in keys.iter() {
            let live = self.live.get(key);
            claims.extend(live.map(|number| (number.trunk.clone(), number.first, number.last)));
            claims.extend(claim(key, resources));
        }
        while !claims.is_empty() {
            let overlaps = |(trunk, first, last): &Claim| {
                claims.iter().any(|(other, from, to)| trunk == other && first <= to && from <= last)
            };
            let has = |key: &Key| {
                let live = self.live.get(key);
                live.is_some_and(|live| overlaps(&(live.trunk.clone(), live.first, live.last)))
            };
            let found = self.unsettled.iter();
            let found = found.filter(|(key, claim)| !keys.contains(*key) && (overlaps(claim) || has(key)));
            let found: Vec<(Key, Claim)> = found.map(|(key, claim)| (key.clone(), claim.clone())).collect();
            // What it has been live as until now may become free too.
            let live = found.iter().filter_map(|(key, _)| self.live.get(key));
            let live: Vec<Claim> =
                live.map(|number| (number.trunk.clone(), number.first, number.last)).collect();
            keys.extend(found.iter().map(|(key, _)| key.clone()));
            claims = found.into_iter().map(|(_, claim)| claim).chain(live).collect();
        }
    }

    /// Numbers that something is said of: what it says can change with the names of other objects.
    pub fn blamed(&self) -> impl Iterator<Item = &Key> {
        self.problems.keys()
    }

    /// Judges some of the numbers; the others stay what they are. Gives those whose being live has changed.
    pub fn judge(&mut self, keys: &BTreeSet<Key>, bench: &Bench<'_>) -> Turns {
        let before = self.in_use();
        let (mut was, mut told) = (BTreeMap::new(), BTreeMap::new());
        for key in keys {
            if let Some(number) = self.live.remove(key) {
                self.unclaim(&number);
                was.insert(key.clone(), number);
            }
            told.extend(self.problems.remove_entry(key));
            self.unsettled.remove(key);
        }
        let last = |key: &Key| was.get(key).map(|number| &number.spec).or_else(|| bench.before.get(key));
        let rank = |key: &Key| match (last(key), bench.resources.numbers.get(key)) {
            (Some(last), Some(object)) => usize::from(phone_number(object) != Some(last)),
            (Some(_), None) => 0,
            (None, _) => 2,
        };
        let mut of_rank = [Vec::new(), Vec::new(), Vec::new()];
        keys.iter().for_each(|key| of_rank[rank(key)].push(key));
        let [same, edited, new] = of_rank;
        let mut report = Report::default();
        for key in same {
            self.settle(key, last(key), bench, &mut report);
        }
        let mut stays = self.stays(&edited, &last, bench);
        for key in edited.iter().filter(|key| !stays.contains_key(**key)) {
            self.settle(key, last(key), bench, &mut report);
        }
        self.follow(&mut stays, &last, bench);
        for key in edited.iter().filter(|key| stays.contains_key(**key)) {
            stays.get(*key).and_then(Option::as_ref).iter().for_each(|old| self.unclaim(old));
            self.settle(key, last(key), bench, &mut report);
        }
        for key in new {
            self.settle(key, last(key), bench, &mut report);
        }
        self.retell(keys, bench.resources);
        self.release();
        let turn = |key: &Key| (key.clone(), was.get(key).cloned());
        let turned = |(key, was): &(Key, Option<LiveNumber>)| was.as_ref() != self.live.get(key);
        let other = |key: &&Key| told.get(*key) != self.problems.get(*key);
        Turns {
            numbers: keys.iter().map(turn).filter(turned).collect(),
            flows: self.in_use() != before,
            told: keys.iter().filter(other).cloned().collect(),
        }
    }

    /// Those of the edited numbers that cannot become what they say, with the last good form that they keep. These forms
    /// are claimed: what somebody has is free for others only once he has something else.
    fn stays<'l>(
        &mut self,
        edited: &[&Key],
        last: &dyn Fn(&Key) -> Option<&'l Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
    ) -> BTreeMap<Key, Option<LiveNumber>> {
        let mut stays = BTreeMap::new();
        loop {
            let (mut moved, mut failed) = (Vec::new(), Vec::new());
            for key in edited.iter().filter(|key| !stays.contains_key(**key)) {
                match self.attempt(key, last(key), bench) {
                    Some(number) => {
                        number.iter().for_each(|number| self.claim(key, number));
                        moved.extend(number);
                    }
                    None => failed.push((*key).clone()),
                }
            }
            moved.iter().for_each(|number| self.unclaim(number));
            if failed.is_empty() {
                return stays;
            }
            for key in failed {
                let old = last(&key).and_then(|spec| {
                    let id = ObjectId { kind: NUMBER, key: key.clone() };
                    let item = Item { id, spec: Arc::clone(spec), source: None, draft: false };
                    self.eligible(&item, last(&key), bench, &mut Report::default())
                });
                old.iter().for_each(|old| self.claim(&key, old));
                stays.insert(key, old);
            }
        }
    }

    /// Lets those that stayed follow into what has become free, as long as anybody can.
    fn follow<'l>(
        &mut self,
        stays: &mut BTreeMap<Key, Option<LiveNumber>>,
        last: &dyn Fn(&Key) -> Option<&'l Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
    ) {
        let mut still: BTreeSet<Key> = stays.keys().cloned().collect();
        loop {
            let before = still.len();
            for key in still.clone() {
                let old = stays.get(&key).cloned().flatten();
                old.iter().for_each(|old| self.unclaim(old));
                match self.attempt(&key, last(&key), bench) {
                    Some(number) => {
                        number.iter().for_each(|number| self.claim(&key, number));
                        stays.insert(key.clone(), number);
                        still.remove(&key);
                    }
                    None => old.iter().for_each(|old| self.claim(&key, old)),
                }
            }
            if still.len() == before {
                return;
            }
        }
    }

    /// What comes of an object as it stands. None: it is not accepted.
    fn attempt(
        &self,
        key: &Key,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
    ) -> Option<Option<LiveNumber>> {
        let object = bench.resources.numbers.get(key).filter(|object| object.sound)?;
        let id = ObjectId { kind: NUMBER, key: key.clone() };
        let spec = Arc::clone(phone_number(object)?);
        let item = Item { id, spec, source: Some(object.source.clone()), draft: false };
        let mut report = Report::default();
        let number = self.number(&item, last, bench, &mut report);
        (!report.objected(ConditionType::Accepted)).then_some(number)
    }

    /// Judges a number for good.
    fn settle(
        &mut self,
        key: &Key,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) {
        if let Some(number) = self.accept(key, last, bench, report) {
            self.claim(key, &number);
            self.keep(&number.flow, bench);
            self.live.insert(key.clone(), number);
        }
        let new = bench.resources.numbers.get(key).and_then(phone_number);
        if self.live.get(key).map(|number| &number.spec) != new {
            self.unsettled.extend(claim(key, bench.resources).map(|claim| (key.clone(), claim)));
        }
        let problems = std::mem::take(&mut report.problems);
        if !problems.is_empty() {
            self.problems.insert(key.clone(), problems);
        }
    }

    /// Lets go of the flows that no live number leads to any more.
    fn release(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let used = self.uses.values().flat_map(BTreeMap::keys);
        let mut waiting: Vec<Key> = used.filter(|flow| self.orphans.contains_key(*flow)).cloned().collect();
        let mut needed = BTreeSet::new();
        while let Some(flow) = waiting.pop() {
            if let Some(orphan) = self.orphans.get(&flow)
                && needed.insert(flow)
            {
                waiting.extend(orphan.program.calls().into_iter().map(|callee| callee.0.clone()));
            }
        }
        self.orphans.retain(|flow, _| needed.contains(flow));
    }

    /// Of several that stand against a number, the first is named, whichever of them was judged first.
    fn retell(&mut self, keys: &BTreeSet<Key>, resources: &Resources) {
        for key in keys {
            let Some(mut problems) = self.problems.remove(key) else { continue };
            let taken = problems.iter_mut().filter(|problem| problem.reason == Reason::NumberTaken);
            for problem in taken {
                let holder = claim(key, resources).and_then(|claim| self.holder(&claim, key));
                problem.message = holder.unwrap_or_else(|| std::mem::take(&mut problem.message));
            }
            self.problems.insert(key.clone(), problems);
        }
    }

    /// How many flows each trunk's numbers lead to, by name.
    fn in_use(&self) -> BTreeMap<Key, BTreeSet<Key>> {
        self.uses.iter().map(|(trunk, flows)| (trunk.clone(), flows.keys().cloned().collect())).collect()
    }

    /// The newest form that is accepted decides.
    fn accept(
        &self,
        key: &Key,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Option<LiveNumber> {
        let object = bench.resources.numbers.get(key);
        if object.is_none() && !bench.hidden.contains(key) {
            return None;
        }
        if let Some(object) = object {
            // A number refers to no Secret.
            checks::alone(object, &Secrets::default(), bench.world, report);
        }
        let id = ObjectId { kind: NUMBER, key: key.clone() };
        let form =
            |spec: &Arc<_>, source, draft| Item { id: id.clone(), spec: Arc::clone(spec), source, draft };
        let new = object
            .and_then(|object| Some(form(phone_number(object)?, Some(object.source.clone()), !object.sound)));
        let old = last.map(|spec| form(spec, None, false));
        for item in new.into_iter().chain(old) {
            report.begin();
            let verdict = self.number(&item, last, bench, report);
            if !item.draft && !report.objected(ConditionType::Accepted) {
                return verdict;
            }
        }
        None
    }

    /// The number as it would be live.
    pub fn number(
        &self,
        item: &Item<v1::PhoneNumberSpec>,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Option<LiveNumber> {
        let number = self.eligible(item, last, bench, report)?;
        // Only who could have the number can be told that another has it: the order of judgement shows in nothing else.
        if let Some(holder) = self.holder(&(number.trunk.clone(), number.first, number.last), &item.id.key) {
            item.error(report, field(&item.spec), Reason::NumberTaken, holder);
            return None;
        }
        Some(number)
    }

    /// The number as it could be live, if nobody else had it.
    pub fn eligible(
        &self,
        item: &Item<v1::PhoneNumberSpec>,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Option<LiveNumber> {
        let (first, end) = range(&item.spec)?;
        checks::number(item, bench.world, report);
        let trunk = trunk(item, bench.world, report);
        let granted = trunk.is_some_and(|trunk| granted(item, trunk, first, end, bench.world, report));
        let trunk = trunk.map(|trunk| (trunk.item.id.key.clone(), trunk.cluster.clone()));
        let flow = self.flow(item, last, bench, report);
        let ((trunk, cluster), flow) = trunk.zip(flow).filter(|_| granted)?;
        Some(LiveNumber { spec: Arc::clone(&item.spec), first, last: end, trunk, cluster, flow })
    }

    /// Who else has the first of these numbers that is somebody's, in words.
    fn holder(&self, (trunk, first, last): &Claim, own: &Key) -> Option<String> {
        let claims = self.claims.get(trunk)?;
        // Live ranges lie apart, so only the last one that begins before ours can reach into it.
        let into = claims.range(..=first).next_back().filter(|(_, (to, _))| first <= to);
        let mut holders = into.into_iter().chain(claims.range(first..=last));
        let (from, (to, other)) = holders.find(|(_, (_, other))| other != own)?;
        let numbers = if from == to { from.to_string() } else { format!("{from} to {to}") };
        Some(format!(
            "{NUMBER} {other} has {numbers} of Trunk {trunk} already; a number can lead to one flow only."
        ))
    }

    /// The flow, or the one that the number has kept since it was there.
    fn flow(
        &self,
        item: &Item<v1::PhoneNumberSpec>,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Option<Key> {
        let key = Key::new(item.namespace(), &item.spec.flow_ref.name);
        // One that others keep although it was deleted is not there for a number that changes.
        let id = ObjectId { kind: "RoutingFlow", key };
        let deleted = !bench.world.directory.known.contains(&id);
        let key = id.key;
        // The key that is there already is shared by all that lead to it.
        if let Some((known, _)) = bench.world.flows.get_key_value(&key).filter(|_| !deleted) {
            return Some(known.clone());
        }
        if !bench.world.is_unusable("RoutingFlow", &key) {
            let hint = near_key(&key, bench.world.flows.keys());
            let message = format!("There is no RoutingFlow {key}{hint}");
            item.error(report, "spec.flowRef.name", Reason::FlowNotFound, message);
        }
        let known = bench.world.flows.contains_key(&key)
            || self.orphans.contains_key(&key)
            || bench.flows.contains_key(&key);
        (known && last == Some(&item.spec)).then_some(key)
    }

    /// Keeps a flow that was deleted, with all that it calls.
    fn keep(&mut self, key: &Key, bench: &Bench<'_>) {
        if bench.world.flows.contains_key(key) || self.orphans.contains_key(key) {
            return;
        }
        let Some(flow) = bench.flows.get(key) else { return };
        self.orphans.insert(key.clone(), Arc::clone(flow));
        for callee in flow.program.calls() {
            self.keep(&callee.0, bench);
        }
    }

    fn claim(&mut self, key: &Key, number: &LiveNumber) {
        let claims = self.claims.entry(number.trunk.clone()).or_default();
        claims.insert(number.first, (number.last, key.clone()));
        let flows = self.uses.entry(number.trunk.clone()).or_default();
        *flows.entry(number.flow.clone()).or_default() += 1;
    }

    fn unclaim(&mut self, number: &LiveNumber) {
        if let Some(claims) = self.claims.get_mut(&number.trunk) {
            claims.remove(&number.first);
        }
        let Some(flows) = self.uses.get_mut(&number.trunk) else {
            return;
        };
        let left = flows.get_mut(&number.flow).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            flows.remove(&number.flow);
        }
    }
}

pub(crate) fn phone_number(object: &Object) -> Option<&Arc<v1::PhoneNumberSpec>> {
    object.spec.as_ref().and_then(Spec::phone_number)
}

/// What the object of a number claims, right or wrong.
fn claim(key: &Key, resources: &Resources) -> Option<Claim> {
    let spec = phone_number(resources.numbers.get(key)?)?;
    let namespace = spec.trunk_ref.namespace.as_deref().unwrap_or_else(|| key.namespace());
    let (first, last) = range(spec)?;
    Some((Key::new(namespace, &spec.trunk_ref.name), first, last))
}

fn field(spec: &v1::PhoneNumberSpec) -> &'static str {
    if spec.range.is_some() { "spec.range" } else { "spec.number" }
}

fn trunk<'w>(
    item: &Item<v1::PhoneNumberSpec>,
    world: &'w World,
    report: &mut Report,
) -> Option<&'w PlannedTrunk> {
    let key = item.target(&item.spec.trunk_ref);
    if world.is_unusable("Trunk", &key) {
        report.unresolved();
        return None;
    }
    let Some(trunk) = world.trunks.get(&key) else {
        let hint = near_key(&key, world.trunks.keys());
        let message = format!("There is no Trunk {key}{hint}");
        item.error(report, "spec.trunkRef.name", Reason::TrunkNotFound, message);
        return None;
    };
    if !trunk.is_inbound() {
        let message = format!(
            "Trunk {key} has `direction: Outbound`, so no call can come in by it; name another trunk."
        );
        item.error(report, "spec.trunkRef.name", Reason::WrongDirection, message);
    }
    if trunk.item.spec.delivers == v1::Delivers::Voip && !trunk.ucaas_partner {
        let message = format!(
            "Trunk {key} delivers Voip and is no UCaaS partner's, so its calls are refused: name a trunk that delivers Pstn, or have the partner granted."
        );
        item.error(report, "spec.trunkRef.name", Reason::VoipNotAdmitted, message);
    }
    Some(trunk)
}

/// Whether the number may be live here, and a tenant of the trunk's cluster is there to own it.
fn granted(
    item: &Item<v1::PhoneNumberSpec>,
    trunk: &PlannedTrunk,
    first: E164,
    last: E164,
    world: &World,
    report: &mut Report,
) -> bool {
    let (namespace, key) = (item.namespace(), &trunk.item.id.key);
    let own = trunk.item.namespace() == namespace;
    if !own && !trunk.grants(namespace, first, last) {
        let numbers = if first == last { first.to_string() } else { format!("{first} to {last}") };
        let message = format!(
            "Trunk {key} does not grant {numbers} to `{namespace}`; its owner must add it to `grants`."
        );
        item.error(report, field(&item.spec), Reason::NumberNotGranted, message);
        return false;
    }
    if !claims_cluster(namespace, &trunk.cluster, world) {
        let message = format!(
            "Namespace {namespace} must have a Tenant whose `clusterRef` names {}, the cluster of Trunk {key}.",
            trunk.cluster
        );
        item.error(report, "metadata.namespace", Reason::TenantNotFound, message);
        return false;
    }
    let served = world.served.get(namespace) == Some(&trunk.cluster);
    let usable = served && trunk.live && trunk.is_inbound();
    usable && (trunk.item.spec.delivers == v1::Delivers::Pstn || trunk.ucaas_partner)
}
