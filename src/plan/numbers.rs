//! PhoneNumbers: which of them are live.

use api::v1alpha1 as v1;
use model::{E164, Key};

use crate::{
    checks,
    platform::{claims_cluster, near_key},
    problem::{ObjectId, Reason},
    resources::Report,
    world::{Good, Item, LiveNumber, PlannedTrunk, World},
};

/// The number, if it can be live. `last` knows flows that a number keeps although their objects are gone.
pub(crate) fn number(
    item: &Item<v1::PhoneNumberSpec>,
    world: &mut World,
    last: &Good,
    report: &mut Report,
) -> Option<LiveNumber> {
    let (first, end) = range(&item.spec)?;
    checks::number(item, world, report);
    let trunk = trunk(item, world, report);
    let granted = trunk.is_some_and(|trunk| granted(item, trunk, first, end, world, report));
    let trunk = trunk.map(|trunk| trunk.item.id.key.clone());
    let taken = trunk.as_ref().is_some_and(|trunk| taken(item, trunk, first, end, world, report));
    let flow = flow(item, world, last, report)?;
    if !granted || taken {
        return None;
    }
    Some(LiveNumber { item: item.clone(), first, last: end, trunk: trunk?, flow })
}

fn range(spec: &v1::PhoneNumberSpec) -> Option<(E164, E164)> {
    if let Some(range) = &spec.range {
        return Some((range.first.parse().ok()?, range.last.parse().ok()?));
    }
    let number = spec.number.as_ref()?.parse().ok()?;
    Some((number, number))
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

fn taken(
    item: &Item<v1::PhoneNumberSpec>,
    trunk: &Key,
    first: E164,
    last: E164,
    world: &World,
    report: &mut Report,
) -> bool {
    // Live ranges lie apart, so the last one that begins before our end is the only one that can reach into ours.
    let before = world.claims.get(trunk).and_then(|claims| claims.range(..=last).next_back());
    let Some((from, (to, other))) = before.filter(|(_, (to, _))| first <= *to) else {
        return false;
    };
    let numbers = if from == to { from.to_string() } else { format!("{from} to {to}") };
    let message =
        format!("{other} has {numbers} of Trunk {trunk} already; a number can lead to one flow only.");
    item.error(report, field(&item.spec), Reason::NumberTaken, message);
    true
}

/// The flow, or the one that the number has kept since it was there.
fn flow(
    item: &Item<v1::PhoneNumberSpec>,
    world: &mut World,
    last: &Good,
    report: &mut Report,
) -> Option<Key> {
    let key = Key::new(item.namespace(), &item.spec.flow_ref.name);
    // One that others keep although it was deleted is not there for a number that changes.
    let deleted = !world.directory.known.contains(&ObjectId { kind: "RoutingFlow", key: key.clone() });
    if world.flows.contains_key(&key) && !deleted {
        return Some(key);
    }
    if !world.is_unusable("RoutingFlow", &key) {
        let hint = near_key(&key, world.flows.keys());
        let message = format!("There is no RoutingFlow {key}{hint}");
        item.error(report, "spec.flowRef.name", Reason::FlowNotFound, message);
    }
    let unchanged = last.numbers.get(&item.id.key).is_some_and(|before| *before == item.spec);
    let kept = unchanged && (world.flows.contains_key(&key) || world.keep_flow(&key, last));
    kept.then_some(key)
}
