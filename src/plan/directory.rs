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
    /// Flows by those that they call, each with itself.
    calls: BTreeSet<(Key, Key)>,
    called: BTreeSet<Key>,
    /// Flows that something else leads to than a `call`, with the first object that does.
    pub entered: BTreeMap<Key, ObjectId>,
}

impl Directory {
    /// `known` is of every object, hidden ones included.
    pub fn of<'a>(resources: &Resources, known: impl Iterator<Item = &'a ObjectId>) -> Self {
        let flows = of_kind(resources, Spec::routing_flow);
        let calls: BTreeSet<_> = flows.values().flat_map(calls).collect();
        Self {
            known: known.cloned().collect(),
            agents: of_kind(resources, Spec::agent),
            called: calls.iter().map(|(_, callee)| callee.clone()).collect(),
            calls,
            entered: entered(resources),
            flows,
            carriers: of_kind(resources, Spec::carrier),
            hours: of_kind(resources, Spec::business_hours),
            numbers: of_kind(resources, Spec::phone_number),
        }
    }

    /// Flows that a flow calls itself, each once, in order.
    pub fn calls_of<'a>(&'a self, flow: &'a Key) -> impl Iterator<Item = &'a Key> {
        let from = (flow.clone(), Key::new("", ""));
        self.calls.range(from..).take_while(move |(caller, _)| caller == flow).map(|(_, callee)| callee)
    }

    /// Whether a flow calls this one.
    pub fn is_called(&self, flow: &Key) -> bool {
        self.called.contains(flow)
    }
}

fn calls(flow: &Item<v1::RoutingFlowSpec>) -> Vec<(Key, Key)> {
    let calls = flow.spec.steps.iter().filter_map(|step| step.call.as_ref());
    calls.map(|call| (flow.id.key.clone(), Key::new(flow.namespace(), &call.flow))).collect()
}

/// Flows that numbers, orders of numbers and points of contact lead to.
fn entered(resources: &Resources) -> BTreeMap<Key, ObjectId> {
    let mut entered = BTreeMap::new();
    for object in &resources.objects {
        let flows: Vec<&str> = match &object.spec {
            Some(Spec::PhoneNumber(number)) => {
                let channels = number.channels.iter().map(|channel| channel.flow_ref.name.as_str());
                std::iter::once(number.flow_ref.name.as_str()).chain(channels).collect()
            }
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

fn of_kind<T>(resources: &Resources, pick: fn(&Spec) -> Option<&Arc<T>>) -> BTreeMap<Key, Item<T>> {
    let objects = resources.objects.iter();
    let items = objects.filter_map(|object| {
        let spec = object.spec.as_ref().and_then(pick)?;
        Some((object.id.key.clone(), item(object, spec)))
    });
    items.collect()
}
