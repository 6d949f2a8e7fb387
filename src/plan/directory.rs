//! All objects by name, before any of them is judged: for checks that look across.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::Key;

use crate::{
    checks::item,
    problem::ObjectId,
    resources::{Resources, Spec},
    world::Item,
};

/// What there is, right or wrong.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Every object, those included that cannot be read.
    pub known: BTreeSet<ObjectId>,
    pub agents: BTreeMap<Key, Item<v1::AgentSpec>>,
    pub flows: BTreeMap<Key, Item<v1::RoutingFlowSpec>>,
    pub carriers: BTreeMap<Key, Item<v1::CarrierSpec>>,
    pub hours: BTreeMap<Key, Item<v1::BusinessHoursSpec>>,
    pub numbers: BTreeMap<Key, Item<v1::PhoneNumberSpec>>,
}

impl Directory {
    /// `known` is of every object, hidden ones included.
    pub fn of<'a>(resources: &Resources, known: impl Iterator<Item = &'a ObjectId>) -> Self {
        Self {
            known: known.cloned().collect(),
            agents: of_kind(resources, Spec::agent),
            flows: of_kind(resources, Spec::routing_flow),
            carriers: of_kind(resources, Spec::carrier),
            hours: of_kind(resources, Spec::business_hours),
            numbers: of_kind(resources, Spec::phone_number),
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
