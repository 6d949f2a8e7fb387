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
    resources::{Resources, Spec},
    world::Item,
};

/// What there is, right or wrong.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Every object but PhoneNumbers, those included that cannot be read.
    pub known: BTreeSet<ObjectId>,
    pub agents: BTreeMap<Key, Item<v1::AgentSpec>>,
    pub flows: BTreeMap<Key, Item<v1::RoutingFlowSpec>>,
    pub carriers: BTreeMap<Key, Item<v1::CarrierSpec>>,
    pub hours: BTreeMap<Key, Item<v1::BusinessHoursSpec>>,
    /// PhoneNumbers, which come and go without the rest.
    pub numbers: Named,
}

/// PhoneNumbers by name, and what they claim, right or wrong.
#[derive(Debug, Default)]
pub(crate) struct Named {
    keys: BTreeSet<Key>,
    /// By namespace and number: how many objects have it.
    single: BTreeMap<(Arc<str>, E164), u32>,
    ranges: BTreeMap<Key, (E164, E164)>,
}

impl Named {
    pub fn insert(&mut self, key: &Key, spec: Option<&v1::PhoneNumberSpec>) {
        self.keys.insert(key.clone());
        match spec.and_then(range) {
            Some((first, last)) if first == last => {
                *self.single.entry((key.namespace().into(), first)).or_default() += 1;
            }
            Some(range) => drop(self.ranges.insert(key.clone(), range)),
            None => {}
        }
    }

    /// `spec` is what it was inserted with.
    pub fn remove(&mut self, key: &Key, spec: Option<&v1::PhoneNumberSpec>) {
        self.keys.remove(key);
        self.ranges.remove(key);
        if let Some((first, last)) = spec.and_then(range)
            && first == last
        {
            let entry = (key.namespace().into(), first);
            let left = self.single.get_mut(&entry).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                self.single.remove(&entry);
            }
        }
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
        self.single.contains_key(&(namespace.into(), number)) || self.ranges.iter().any(within)
    }
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
    pub fn of<'a>(resources: &Resources, known: impl Iterator<Item = &'a ObjectId>, numbers: Named) -> Self {
        Self {
            known: known.cloned().collect(),
            agents: of_kind(resources, Spec::agent),
            flows: of_kind(resources, Spec::routing_flow),
            carriers: of_kind(resources, Spec::carrier),
            hours: of_kind(resources, Spec::business_hours),
            numbers,
        }
    }
}

fn of_kind<T>(resources: &Resources, pick: fn(&Spec) -> Option<&Arc<T>>) -> BTreeMap<Key, Item<T>> {
    let objects = resources.objects.iter();
    let items = objects.filter_map(|object| {
        let spec = object.spec.as_ref().and_then(pick)?;
        Some((object.id.key.clone(), item(object, spec)))
    });
    items.collect()
}
