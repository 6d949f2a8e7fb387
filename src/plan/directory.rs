//! All objects by name, before any of them is judged: for checks that look across.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::{E164, Key};

use crate::{
    checks::item,
    problem::ObjectId,
    resources::{NUMBER, Resources, Spec},
    world::Item,
};

/// What there is, right or wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    /// Every object but PhoneNumbers, those included that cannot be read.
    pub known: BTreeSet<ObjectId>,
    pub agents: BTreeMap<Key, Item<v1::AgentSpec>>,
    /// By namespace and subject: the agents who sign in as it.
    pub subjects: BTreeMap<(String, String), BTreeSet<Key>>,
    pub flows: BTreeMap<Key, Item<v1::RoutingFlowSpec>>,
    pub carriers: BTreeMap<Key, Item<v1::CarrierSpec>>,
    pub hours: BTreeMap<Key, Item<v1::BusinessHoursSpec>>,
    /// PhoneNumbers, which come and go without the rest.
    pub numbers: Arc<Named>,
    /// Flows by those that they call, each with itself.
    pub calls: BTreeSet<(Key, Key)>,
    /// Flows that others call.
    pub called: BTreeSet<Key>,
    /// Flows that orders of numbers and points of contact lead to, with the first object that does.
    pub entered: BTreeMap<Key, ObjectId>,
    /// Namespaces with a point of contact that SMS are sent by.
    pub texting: BTreeSet<String>,
}

/// PhoneNumbers by name, and what they claim, right or wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    keys: BTreeSet<Key>,
    /// By namespace: how many objects have a number.
    single: BTreeMap<String, BTreeMap<E164, u32>>,
    ranges: BTreeMap<Key, (E164, E164)>,
    /// The numbers that lead to a flow.
    leads: BTreeMap<Key, BTreeSet<Key>>,
}

impl Named {
    pub fn insert(&mut self, key: &Key, spec: Option<&v1::PhoneNumberSpec>) {
        self.keys.insert(key.clone());
        for flow in spec.map(|spec| flows(key, spec)).unwrap_or_default() {
            self.leads.entry(flow).or_default().insert(key.clone());
        }
        match spec.and_then(range) {
            Some((first, last)) if first == last => {
                *self.single.entry(key.namespace().to_owned()).or_default().entry(first).or_default() += 1;
            }
            Some(range) => drop(self.ranges.insert(key.clone(), range)),
            None => {}
        }
    }

    /// `spec` is what it was inserted with.
    pub fn remove(&mut self, key: &Key, spec: Option<&v1::PhoneNumberSpec>) {
        self.keys.remove(key);
        self.ranges.remove(key);
        for flow in spec.map(|spec| flows(key, spec)).unwrap_or_default() {
            let leads = self.leads.entry(flow.clone()).or_default();
            leads.remove(key);
            if leads.is_empty() {
                self.leads.remove(&flow);
            }
        }
        if let Some((first, last)) = spec.and_then(range)
            && first == last
            && let Some(numbers) = self.single.get_mut(key.namespace())
        {
            let left = numbers.get_mut(&first).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                numbers.remove(&first);
            }
            if numbers.is_empty() {
                self.single.remove(key.namespace());
            }
        }
    }

    /// The first number that leads to a flow.
    pub fn lead(&self, flow: &Key) -> Option<&Key> {
        self.leads.get(flow)?.first()
    }

    /// All numbers that lead to a flow.
    pub fn leads(&self, flow: &Key) -> impl Iterator<Item = &Key> {
        self.leads.get(flow).into_iter().flatten()
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> + Clone {
        self.keys.iter()
    }

    /// Whether an object of the namespace has the number.
    pub fn claims(&self, namespace: &str, number: E164) -> bool {
        let within = |(key, (first, last)): (&Key, &(E164, E164))| {
            key.namespace() == namespace && (*first..=*last).contains(&number)
        };
        let single = self.single.get(namespace).is_some_and(|numbers| numbers.contains_key(&number));
        single || self.ranges.iter().any(within)
    }
}

/// Flows that a number leads to.
pub(crate) fn flows(number: &Key, spec: &v1::PhoneNumberSpec) -> Vec<Key> {
    let channels = spec.channels.iter().map(|channel| channel.flow_ref.name.as_str());
    let names = std::iter::once(spec.flow_ref.name.as_str()).chain(channels);
    names.map(|name| Key::new(number.namespace(), name)).collect()
}

/// First and last number of an object.
pub(crate) fn range(spec: &v1::PhoneNumberSpec) -> Option<(E164, E164)> {
    if let Some(range) = &spec.range {
        return Some((range.first.parse().ok()?, range.last.parse().ok()?));
    }
    let number = spec.number.as_ref()?.parse().ok()?;
    Some((number, number))
}

impl Directory {
    /// `known` is of every object but PhoneNumbers, hidden ones included.
    pub fn of<'a>(
        resources: &Resources,
        known: impl Iterator<Item = &'a ObjectId>,
        numbers: Arc<Named>,
    ) -> Self {
        let flows = of_kind(resources, "RoutingFlow", Spec::routing_flow);
        let calls: BTreeSet<_> = flows.values().flat_map(calls).collect();
        let agents = of_kind(resources, "Agent", Spec::agent);
        Self {
            known: known.cloned().collect(),
            subjects: subjects(&agents),
            agents,
            called: calls.iter().map(|(_, callee)| callee.clone()).collect(),
            calls,
            entered: entered(resources),
            texting: texting(resources),
            flows,
            carriers: of_kind(resources, "Carrier", Spec::carrier),
            hours: of_kind(resources, "BusinessHours", Spec::business_hours),
            numbers,
        }
    }

    /// Flows that a flow calls itself, each once, in order.
    pub fn calls_of<'a>(&'a self, flow: &'a Key) -> impl Iterator<Item = &'a Key> {
        let from = (flow.clone(), Key::new("", ""));
        self.calls.range(from..).take_while(move |(caller, _)| caller == flow).map(|(_, callee)| callee)
    }

    /// The first object that leads to a flow otherwise than by a `call`.
    pub fn entered(&self, flow: &Key) -> Option<ObjectId> {
        let number = self.numbers.lead(flow).map(|key| ObjectId { kind: NUMBER, key: key.clone() });
        number.or_else(|| self.entered.get(flow).cloned())
    }

    /// Whether points of contact alone lead to a flow, or to those that call it.
    pub fn is_for_writing(&self, flow: &Key) -> bool {
        let (mut waiting, mut seen, mut written) = (vec![flow], BTreeSet::from([flow]), false);
        while let Some(flow) = waiting.pop() {
            match self.entered(flow) {
                Some(ObjectId { kind: "ContactPoint", .. }) => written = true,
                Some(_) => return false,
                None => {}
            }
            let callers = self.calls.iter().filter(|(_, callee)| callee == flow).map(|(caller, _)| caller);
            waiting.extend(callers.filter(|caller| seen.insert(*caller)));
        }
        written
    }

    /// Whether a flow calls this one.
    pub fn is_called(&self, flow: &Key) -> bool {
        self.called.contains(flow)
    }
}

fn subjects(agents: &BTreeMap<Key, Item<v1::AgentSpec>>) -> BTreeMap<(String, String), BTreeSet<Key>> {
    let mut subjects: BTreeMap<_, BTreeSet<Key>> = BTreeMap::new();
    for (key, agent) in agents {
        if let Some(subject) = agent.spec.sign_in.as_ref().and_then(|sign_in| sign_in.subject.as_ref()) {
            let name = (key.namespace().to_owned(), subject.clone());
            subjects.entry(name).or_default().insert(key.clone());
        }
    }
    subjects
}

fn calls(flow: &Item<v1::RoutingFlowSpec>) -> Vec<(Key, Key)> {
    let calls = flow.spec.steps.iter().filter_map(|step| step.call.as_ref());
    calls.map(|call| (flow.id.key.clone(), Key::new(flow.namespace(), &call.flow))).collect()
}

/// Namespaces with a point of contact that SMS are sent by.
fn texting(resources: &Resources) -> BTreeSet<String> {
    let points = resources.of("ContactPoint").filter(|object| match &object.spec {
        Some(Spec::ContactPoint(point)) => point.sms.is_some(),
        _ => false,
    });
    points.map(|object| object.id.key.namespace().to_owned()).collect()
}

/// Flows that orders of numbers and points of contact lead to.
fn entered(resources: &Resources) -> BTreeMap<Key, ObjectId> {
    let mut entered = BTreeMap::new();
    for object in resources.of("NumberOrder").chain(resources.of("ContactPoint")) {
        let flows: Vec<&str> = match &object.spec {
            Some(Spec::NumberOrder(order)) => {
                order.flow_ref.iter().map(|reference| reference.name.as_str()).collect()
            }
            Some(Spec::ContactPoint(point)) => vec![point.flow_ref.name.as_str()],
            _ => Vec::new(),
        };
        for flow in flows {
            let key = Key::new(object.id.key.namespace(), flow);
            entered.entry(key).or_insert_with(|| object.id.clone());
        }
    }
    entered
}

fn of_kind<T>(
    resources: &Resources,
    kind: &str,
    pick: fn(&Spec) -> Option<&Arc<T>>,
) -> BTreeMap<Key, Item<T>> {
    let objects = resources.of(kind);
    let items = objects.filter_map(|object| {
        let spec = object.spec.as_ref().and_then(pick)?;
        Some((object.id.key.clone(), item(object, spec)))
    });
    items.collect()
}
