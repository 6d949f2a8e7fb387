//! What is already known to be right while the rest is being judged, and what is kept from one plan to the next.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::{
    AudioId, E164, HoursId, Key,
    program::Program,
    snapshot::{Audio, BusinessHours, Source as Admitted},
};

use crate::{
    centre::CentreForms,
    directory::Directory,
    numbers::Numbers,
    problem::{ObjectId, Reason},
    resources::{Report, Source},
};

/// An object under judgement: as it stands in a file, or as it was before.
#[derive(Debug)]
pub(crate) struct Item<T> {
    pub id: ObjectId,
    pub spec: Arc<T>,
    /// None for a form that is kept from before.
    pub source: Option<Source>,
    /// Whether it is looked at only to tell what else is wrong: it never becomes part of a snapshot.
    pub draft: bool,
}

impl<T> Clone for Item<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            spec: Arc::clone(&self.spec),
            source: self.source.clone(),
            draft: self.draft,
        }
    }
}

impl<T> Item<T> {
    pub fn namespace(&self) -> &str {
        self.id.key.namespace()
    }

    pub fn error(&self, report: &mut Report, field: &str, reason: Reason, message: impl Into<String>) {
        report.error(&self.id, self.source.as_ref(), field, reason, message);
    }

    /// An error in spite of which the object is used, with what it had before in place of what is wrong.
    pub fn tolerated(&self, report: &mut Report, field: &str, reason: Reason, message: impl Into<String>) {
        report.tolerated(&self.id, self.source.as_ref(), field, reason, message);
    }

    pub fn warning(&self, report: &mut Report, field: &str, reason: Reason, message: impl Into<String>) {
        report.warning(&self.id, self.source.as_ref(), field, reason, message);
    }

    /// The object that a reference names.
    pub fn target(&self, reference: &v1::ObjectRef) -> Key {
        let namespace = reference.namespace.as_deref().unwrap_or_else(|| self.namespace());
        Key::new(namespace, &reference.name)
    }
}

/// A prompt whose audio is at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResolvedPrompt {
    pub id: AudioId,
    pub audio: Audio,
    /// The file; None for speech.
    #[serde(with = "crate::stored::blob")]
    pub blob: Option<Arc<[u8]>>,
    /// The same in other languages, by their tags; each without translations of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub translations: BTreeMap<String, Self>,
}

impl ResolvedPrompt {
    /// Its translations by what they sound like.
    pub fn in_other_languages(&self) -> BTreeMap<AudioId, Self> {
        self.translations.values().map(|other| (other.id, other.clone())).collect()
    }
}

/// A flow and everything that it needs to go on without its objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompiledFlow {
    pub program: Arc<Program>,
    pub prompts: BTreeMap<AudioId, ResolvedPrompt>,
    pub hours: BTreeMap<HoursId, Arc<BusinessHours>>,
    /// Whether it can go back to a flow that called it without the contact having done anything.
    #[serde(default)]
    pub returns_idly: bool,
}

/// A trunk that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct PlannedTrunk {
    pub item: Item<v1::TrunkSpec>,
    pub cluster: Key,
    /// Whether its cluster exists and admits it; else it is part of no snapshot.
    pub live: bool,
    pub ucaas_partner: bool,
    pub sources: Vec<Admitted>,
    /// Points of presence whose gateways are its peers.
    pub pops: Vec<Item<v1::PointOfPresenceSpec>>,
}

impl PlannedTrunk {
    pub fn is_inbound(&self) -> bool {
        self.item.spec.direction != v1::TrunkDirection::Outbound
    }

    pub fn is_outbound(&self) -> bool {
        self.item.spec.direction != v1::TrunkDirection::Inbound
    }

    /// Whether a namespace may use the trunk at all.
    pub fn admits(&self, namespace: &str) -> bool {
        self.item.namespace() == namespace
            || self.item.spec.grants.iter().any(|grant| grant.namespace == namespace)
    }

    /// Whether a namespace may use these numbers on the trunk: each is in a range granted to it.
    pub fn grants(&self, namespace: &str, first: E164, last: E164) -> bool {
        let mut wanted = first;
        for (from, to) in self.granted(namespace) {
            if wanted < from {
                return false;
            }
            if to >= last {
                return true;
            }
            if to >= wanted {
                let Some(next) = to.checked_add(1) else {
                    return false;
                };
                wanted = next;
            }
        }
        false
    }

    fn granted(&self, namespace: &str) -> BTreeSet<(E164, E164)> {
        let grants = self.item.spec.grants.iter().filter(|grant| grant.namespace == namespace);
        let ranges = grants.flat_map(|grant| &grant.ranges);
        ranges.filter_map(|range| Some((range.first.parse().ok()?, range.last.parse().ok()?))).collect()
    }
}

/// Which form of an object is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    Newest,
    Earlier,
    None,
}

impl Force {
    pub const fn of(there: bool, newest: bool) -> Self {
        match (there, newest) {
            (true, true) => Self::Newest,
            (true, false) => Self::Earlier,
            (false, _) => Self::None,
        }
    }

    /// Of an object whose newest form cannot be read.
    pub const fn at_most_earlier(self) -> Self {
        match self {
            Self::Newest | Self::Earlier => Self::Earlier,
            Self::None => Self::None,
        }
    }

    /// A form that is kept from before has no source.
    fn of_item<T>(item: Option<&Item<T>>) -> Self {
        let item = item.filter(|item| !item.draft);
        Self::of(item.is_some(), item.is_some_and(|item| item.source.is_some()))
    }
}

/// Accepted objects, in the order in which they are judged: each kind may look at those above it.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub directory: Directory,
    pub clusters: BTreeMap<Key, Item<v1::VoiceClusterSpec>>,
    /// By namespace.
    pub tenants: BTreeMap<String, Item<v1::TenantSpec>>,
    /// The cluster of each tenant that its cluster admits, by namespace.
    pub served: BTreeMap<String, Key>,
    pub allowlists: BTreeMap<Key, Item<v1::AllowlistSpec>>,
    pub pops: BTreeMap<Key, Item<v1::PointOfPresenceSpec>>,
    pub trunks: BTreeMap<Key, PlannedTrunk>,
    /// Trunks that a tenant dials telephone numbers by, by namespace.
    pub outbound: BTreeMap<String, Vec<Key>>,
    pub prompts: BTreeMap<Key, ResolvedPrompt>,
    pub hours: BTreeMap<Key, Arc<BusinessHours>>,
    pub flows: BTreeMap<Key, Arc<CompiledFlow>>,
    pub centre: CentreForms,
    /// Objects that there are but that cannot be used; what is wrong with them has been told.
    pub unusable: BTreeSet<ObjectId>,
}

impl World {
    /// Whether an object is there although it cannot be used.
    pub fn is_unusable(&self, kind: &'static str, key: &Key) -> bool {
        self.unusable.contains(&ObjectId { kind, key: key.clone() })
    }

    /// Every cluster, tenant, allowlist, point of presence and trunk that can be looked at.
    pub fn platform(&self) -> impl Iterator<Item = &ObjectId> {
        let clusters = self.clusters.values().map(|item| &item.id);
        let tenants = self.tenants.values().map(|item| &item.id);
        let allowlists = self.allowlists.values().map(|item| &item.id);
        let pops = self.pops.values().map(|item| &item.id);
        clusters
            .chain(tenants)
            .chain(allowlists)
            .chain(pops)
            .chain(self.trunks.values().map(|trunk| &trunk.item.id))
    }

    /// Which form is in force of a cluster, a tenant, an allowlist, a point of presence or a trunk.
    pub fn force(&self, id: &ObjectId) -> Force {
        let namespace = id.key.namespace();
        match id.kind {
            "VoiceCluster" => Force::of_item(self.clusters.get(&id.key)),
            "Tenant" => {
                let served = self.served.contains_key(namespace);
                Force::of_item(self.tenants.get(namespace).filter(|item| item.id == *id && served))
            }
            "Allowlist" => Force::of_item(self.allowlists.get(&id.key)),
            "PointOfPresence" => Force::of_item(self.pops.get(&id.key)),
            "Trunk" => {
                Force::of_item(self.trunks.get(&id.key).filter(|trunk| trunk.live).map(|trunk| &trunk.item))
            }
            _ => Force::None,
        }
    }

    /// Puts a flow back as it was, with all flows that it calls and that are not there any more. False: it never was.
    pub fn keep_flow(&mut self, key: &Key, last: &Good) -> bool {
        let Some(flow) = last.flows.get(key) else { return false };
        self.flows.insert(key.clone(), Arc::clone(flow));
        for callee in flow.program.calls() {
            if !self.flows.contains_key(&callee.0) {
                self.keep_flow(&callee.0, last);
            }
        }
        true
    }
}

/// Last good forms.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Good {
    pub clusters: BTreeMap<Key, Arc<v1::VoiceClusterSpec>>,
    pub tenants: BTreeMap<Key, Arc<v1::TenantSpec>>,
    pub allowlists: BTreeMap<Key, Arc<v1::AllowlistSpec>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pops: BTreeMap<Key, Arc<v1::PointOfPresenceSpec>>,
    pub trunks: BTreeMap<Key, Arc<v1::TrunkSpec>>,
    /// Of each trunk.
    pub sources: BTreeMap<Key, Vec<Admitted>>,
    pub prompts: BTreeMap<Key, ResolvedPrompt>,
    pub hours: BTreeMap<Key, Arc<BusinessHours>>,
    /// Those that only a live number keeps included.
    pub flows: BTreeMap<Key, Arc<CompiledFlow>>,
    #[serde(default)]
    pub centre: CentreForms,
    pub numbers: BTreeMap<Key, Arc<v1::PhoneNumberSpec>>,
    /// Kind, name and file of every object.
    pub files: Vec<(String, Key, Arc<str>)>,
}

impl Good {
    /// What there is to keep of a world, numbers and files apart.
    pub fn of(world: &World, numbers: &Numbers) -> Self {
        let mut flows = world.flows.clone();
        flows.extend(numbers.orphans.iter().map(|(key, flow)| (key.clone(), Arc::clone(flow))));
        Self {
            clusters: specs(world.clusters.values()),
            tenants: specs(world.tenants.values()),
            allowlists: specs(world.allowlists.values()),
            pops: specs(world.pops.values()),
            trunks: specs(world.trunks.values().map(|trunk| &trunk.item)),
            sources: world
                .trunks
                .iter()
                .filter(|(_, trunk)| trunk.live)
                .map(|(key, trunk)| (key.clone(), trunk.sources.clone()))
                .collect(),
            prompts: world.prompts.clone(),
            hours: world.hours.clone(),
            flows,
            centre: world.centre.clone(),
            numbers: BTreeMap::new(),
            files: Vec::new(),
        }
    }
}

fn specs<'a, T: 'a>(items: impl Iterator<Item = &'a Item<T>>) -> BTreeMap<Key, Arc<T>> {
    let good = items.filter(|item| !item.draft);
    good.map(|item| (item.id.key.clone(), Arc::clone(&item.spec))).collect()
}
