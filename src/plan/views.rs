//! What tools ask a plan besides its snapshots.

use model::{ClusterId, Key, snapshot::NumberRange};

use crate::{Plan, PlannedCluster};

impl Plan {
    /// IANA time zone of the tenant of a namespace.
    #[must_use]
    pub fn time_zone(&self, namespace: &str) -> Option<&str> {
        let tenants = &self.good().tenants;
        let tenant = tenants.iter().find(|(key, _)| key.namespace() == namespace);
        tenant.map(|(_, tenant)| tenant.time_zone.as_str())
    }

    /// Every tenant's namespace with its IANA time zone.
    pub fn time_zones(&self) -> impl Iterator<Item = (&str, &str)> {
        let tenants = self.good().tenants.iter();
        tenants.map(|(key, tenant)| (key.namespace(), tenant.time_zone.as_str()))
    }

    /// The cluster that people call so: by its code, in capitals or not, or by `namespace/name`.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<(&ClusterId, &PlannedCluster)> {
        self.clusters.iter().find(|(id, cluster)| {
            cluster.snapshot.cluster.code.eq_ignore_ascii_case(name) || id.0.as_str() == name
        })
    }

    /// Every live number that holds `number`, with its cluster.
    pub fn numbers(&self, number: model::E164) -> impl Iterator<Item = (&PlannedCluster, &NumberRange)> {
        self.clusters.values().flat_map(move |cluster| {
            let trunks = cluster.snapshot.trunks.keys();
            trunks.filter_map(move |trunk| Some((cluster, cluster.snapshot.number(trunk, number)?)))
        })
    }

    /// Namespace and name of every flow that can be used, whether or not a number leads to it.
    pub fn flows(&self) -> impl Iterator<Item = &Key> {
        self.good().flows.keys()
    }
}
