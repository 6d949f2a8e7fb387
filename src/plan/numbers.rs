//! PhoneNumbers: which of them are live. There may be a hundred thousand, so that their verdicts are kept, and only those
//! are judged anew that a change can have touched.
//!
//! The order in which numbers are judged decides who has a number that two of them claim: first those that are live and
//! as they were, then live ones that were edited, then the others, each by namespace and name. So nobody is pushed out by a
//! new claim, and it makes no difference whether one number is judged or all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::{E164, Key};

use crate::{
    checks,
    directory::range,
    platform::{claims_cluster, near_key},
    problem::{ConditionType, ObjectId, Problem, Reason},
    resources::{NUMBER, Report, Resources, Spec},
    world::{CompiledFlow, Item, PlannedTrunk, World},
};

/// A number that is live.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveNumber {
    pub spec: Arc<v1::PhoneNumberSpec>,
    pub first: E164,
    pub last: E164,
    pub trunk: Key,
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
    /// Those that another one's claim stands against.
    outdone: BTreeSet<Key>,
}

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
}

enum Verdict {
    Live(LiveNumber),
    Outdone,
    Idle,
}

impl Numbers {
    /// What is wrong with them.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }

    /// Numbers whose verdict another number's change can turn.
    pub fn waiting(&self) -> impl Iterator<Item = &Key> {
        self.outdone.iter()
    }

    /// Numbers that something is said of: what it says can change with the names of other objects.
    pub fn blamed(&self) -> impl Iterator<Item = &Key> {
        self.problems.keys()
    }

    /// Judges some of the numbers; the others stay what they are. Gives those whose being live has changed.
    pub fn judge(&mut self, keys: &BTreeSet<Key>, bench: &Bench<'_>) -> Turns {
        let before = self.in_use();
        let mut was = BTreeMap::new();
        for key in keys {
            if let Some(number) = self.live.remove(key) {
                self.unclaim(&number);
                was.insert(key.clone(), number);
            }
            self.problems.remove(key);
            self.outdone.remove(key);
        }
        let last = |key: &Key| was.get(key).map(|number| &number.spec).or_else(|| bench.before.get(key));
        let rank = |key: &Key| match (last(key), bench.resources.numbers.get(key)) {
            (Some(last), Some(object)) => {
                let spec = object.spec.as_ref().and_then(Spec::phone_number);
                usize::from(spec != Some(last))
            }
            (Some(_), None) => 0,
            (None, _) => 2,
        };
        let mut order: Vec<&Key> = keys.iter().collect();
        order.sort_by_key(|key| rank(key));
        let mut report = Report::default();
        for key in order {
            let verdict = self.accept(key, last(key), bench, &mut report);
            match verdict {
                Verdict::Live(number) => {
                    self.claim(key, &number);
                    self.live.insert(key.clone(), number);
                }
                Verdict::Outdone => drop(self.outdone.insert(key.clone())),
                Verdict::Idle => {}
            }
            let problems = std::mem::take(&mut report.problems);
            if problems.iter().any(|problem| problem.reason == Reason::NumberTaken) {
                self.outdone.insert(key.clone());
            }
            if !problems.is_empty() {
                self.problems.insert(key.clone(), problems);
            }
        }
        let Self { orphans, uses, .. } = self;
        orphans.retain(|flow, _| uses.values().any(|flows| flows.contains_key(flow)));
        let turn = |key: &Key| (key.clone(), was.get(key).cloned());
        let turned = |(key, was): &(Key, Option<LiveNumber>)| was.as_ref() != self.live.get(key);
        Turns { numbers: keys.iter().map(turn).filter(turned).collect(), flows: self.in_use() != before }
    }

    /// How many flows each trunk's numbers lead to, by name.
    fn in_use(&self) -> BTreeMap<Key, BTreeSet<Key>> {
        self.uses.iter().map(|(trunk, flows)| (trunk.clone(), flows.keys().cloned().collect())).collect()
    }

    /// The newest form that is accepted decides.
    fn accept(
        &mut self,
        key: &Key,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Verdict {
        let object = bench.resources.numbers.get(key);
        if object.is_none() && !bench.hidden.contains(key) {
            return Verdict::Idle;
        }
        if let Some(object) = object {
            checks::alone(object, &bench.resources.foreign, bench.world, report);
        }
        let id = ObjectId { kind: NUMBER, key: key.clone() };
        let form =
            |spec: &Arc<_>, source, draft| Item { id: id.clone(), spec: Arc::clone(spec), source, draft };
        let new = object.and_then(|object| {
            let spec = object.spec.as_ref().and_then(Spec::phone_number)?;
            Some(form(spec, Some(object.source.clone()), !object.sound))
        });
        let old = last.map(|spec| form(spec, None, false));
        let mut outdone = false;
        for item in new.into_iter().chain(old) {
            report.begin();
            let verdict = self.number(&item, last, bench, report);
            outdone |= matches!(verdict, Verdict::Outdone);
            if !item.draft && !report.objected(ConditionType::Accepted) {
                return verdict;
            }
        }
        if outdone { Verdict::Outdone } else { Verdict::Idle }
    }

    fn number(
        &mut self,
        item: &Item<v1::PhoneNumberSpec>,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Verdict {
        let Some((first, end)) = range(&item.spec) else {
            return Verdict::Idle;
        };
        checks::number(item, bench.world, report);
        let trunk = trunk(item, bench.world, report);
        let granted = trunk.is_some_and(|trunk| granted(item, trunk, first, end, bench.world, report));
        let trunk = trunk.map(|trunk| trunk.item.id.key.clone());
        let taken = trunk.as_ref().is_some_and(|trunk| self.taken(item, trunk, first, end, report));
        let flow = self.flow(item, last, bench, report);
        match (trunk, flow) {
            _ if taken => Verdict::Outdone,
            (Some(trunk), Some(flow)) if granted => {
                Verdict::Live(LiveNumber { spec: Arc::clone(&item.spec), first, last: end, trunk, flow })
            }
            _ => Verdict::Idle,
        }
    }

    fn taken(
        &self,
        item: &Item<v1::PhoneNumberSpec>,
        trunk: &Key,
        first: E164,
        last: E164,
        report: &mut Report,
    ) -> bool {
        // Live ranges lie apart, so the last one that begins before our end is the only one that can reach into ours.
        let before = self.claims.get(trunk).and_then(|claims| claims.range(..=last).next_back());
        let Some((from, (to, other))) = before.filter(|(_, (to, _))| first <= *to) else {
            return false;
        };
        let numbers = if from == to { from.to_string() } else { format!("{from} to {to}") };
        let message = format!(
            "{NUMBER} {other} has {numbers} of Trunk {trunk} already; a number can lead to one flow only."
        );
        item.error(report, field(&item.spec), Reason::NumberTaken, message);
        true
    }

    /// The flow, or the one that the number has kept since it was there.
    fn flow(
        &mut self,
        item: &Item<v1::PhoneNumberSpec>,
        last: Option<&Arc<v1::PhoneNumberSpec>>,
        bench: &Bench<'_>,
        report: &mut Report,
    ) -> Option<Key> {
        let key = Key::new(item.namespace(), &item.spec.flow_ref.name);
        // The key that is there already is shared by all that lead to it.
        if let Some((known, _)) = bench.world.flows.get_key_value(&key) {
            return Some(known.clone());
        }
        if !bench.world.is_unusable("RoutingFlow", &key) {
            let hint = near_key(&key, bench.world.flows.keys());
            let message = format!("There is no RoutingFlow {key}{hint}");
            item.error(report, "spec.flowRef.name", Reason::FlowNotFound, message);
        }
        let unchanged = last == Some(&item.spec);
        let kept = bench.flows.get(&key).or_else(|| self.orphans.get(&key)).filter(|_| unchanged)?;
        let kept = Arc::clone(kept);
        self.orphans.insert(key.clone(), kept);
        Some(key)
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
