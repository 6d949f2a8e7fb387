//! Flows that call each other: which is compiled first, and that none comes back to itself.

use std::collections::{BTreeMap, BTreeSet};

use api::v1alpha1 as v1;
use model::{
    FlowId, Key,
    program::{CALLS_MAX, Verb},
};

use super::Compiler;
use crate::{
    directory::Directory,
    platform::near_key,
    problem::{ObjectId, Reason},
    world::World,
};

/// For each flow a figure that is greater than those of all flows that it calls, unless they call each other in a circle.
pub(crate) fn callees_first(directory: &Directory) -> BTreeMap<Key, usize> {
    let mut order = BTreeMap::new();
    for flow in directory.flows.keys() {
        let mut waiting = vec![(flow, false)];
        let mut entered = BTreeSet::new();
        while let Some((flow, callees_done)) = waiting.pop() {
            if order.contains_key(flow) {
                continue;
            }
            if callees_done {
                order.insert(flow.clone(), order.len());
            } else if entered.insert(flow) {
                waiting.push((flow, true));
                waiting.extend(directory.calls_of(flow).map(|callee| (callee, false)));
            }
        }
    }
    order
}

impl Compiler<'_> {
    pub(super) fn call(&mut self, call: &v1::Call, at: &str) -> Verb {
        let field = format!("{at}.call.flow");
        let key = Key::new(self.item.namespace(), &call.flow);
        self.callee(&key, &field);
        // What the contact does in there, it has done.
        let idle = self.world.flows.get(&key).is_none_or(|flow| flow.returns_idly);
        let next = self.follow(call.next.as_deref(), at, "call.next", idle);
        let failed = call.failed.as_deref().map(|name| self.follow(Some(name), at, "call.failed", true));
        if let (None, Some(handler)) = (failed, self.handler()) {
            self.edge(handler, false);
        }
        Verb::Call { flow: FlowId(key), next, failed }
    }

    /// Says what is wrong with calling a flow, if anything is.
    fn callee(&mut self, key: &Key, field: &str) {
        let known = &self.world.directory.known;
        let id = ObjectId { kind: "RoutingFlow", key: key.clone() };
        if !known.contains(&id) {
            let keys = known.iter().filter(|id| id.kind == "RoutingFlow").map(|id| &id.key);
            let message = format!("There is no RoutingFlow {key}{}", near_key(key, keys));
            return self.item.error(self.report, field, Reason::FlowNotFound, message);
        }
        if let Some(circle) = circle(&self.item.id.key, key, self.world) {
            let message = format!(
                "A flow must not come back to itself, but this is {}: lead to a step of the own flow instead.",
                circle.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" → ")
            );
            return self.item.error(self.report, field, Reason::FlowRecursion, message);
        }
        if !self.world.flows.contains_key(key) {
            return self.report.unresolved();
        }
        let depth = depth(key, self.world);
        if depth >= CALLS_MAX {
            let message = format!(
                "Flows call each other at most {CALLS_MAX} deep, but RoutingFlow {key} calls {depth} deep already."
            );
            self.item.error(self.report, field, Reason::FlowsTooDeep, message);
        }
    }
}

/// The way from a flow by one that it calls back to itself, as the manifests say it now or as it is live.
fn circle(flow: &Key, callee: &Key, world: &World) -> Option<Vec<Key>> {
    let mut before: BTreeMap<Key, Key> = BTreeMap::new();
    let mut waiting = vec![callee.clone()];
    while let Some(at) = waiting.pop() {
        if at == *flow {
            let mut way = vec![at.clone()];
            let mut step = &at;
            while step != callee {
                step = before.get(step)?;
                way.push(step.clone());
            }
            way.push(flow.clone());
            way.reverse();
            return Some(way);
        }
        let live = world.flows.get(&at).map(|flow| flow.program.calls()).unwrap_or_default();
        let live = live.into_iter().map(|id| &id.0);
        for next in world.directory.calls_of(&at).chain(live) {
            if next != callee && !before.contains_key(next) {
                before.insert(next.clone(), at.clone());
                waiting.push(next.clone());
            }
        }
    }
    None
}

/// How deep a flow and those that it calls call each other: 1 for one that calls none.
fn depth(flow: &Key, world: &World) -> usize {
    let mut level = BTreeSet::from([flow.clone()]);
    let mut depth = 0;
    // One more than may be is as bad as any.
    while !level.is_empty() && depth <= CALLS_MAX {
        depth += 1;
        let programs = level.iter().filter_map(|key| world.flows.get(key)).map(|flow| &flow.program);
        let below = programs.flat_map(|program| program.calls());
        level = below.map(|id| id.0.clone()).collect();
    }
    depth
}
