//! From objects to snapshots, all at once: what `check`, `local` and the tools ask.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use model::{AudioId, ClusterId, section::Sections, snapshot::Snapshot};

use crate::{
    SecretNeeds, SourceFile, load, planner::Planner, problem::Problem, resources::Resources, world::Good,
};

/// What every cluster's pods should be told, and everything that is wrong.
#[derive(Debug, Clone)]
pub struct Plan {
    /// By cluster.
    pub clusters: BTreeMap<ClusterId, PlannedCluster>,
    /// What the loader found and what the planner found, sorted by file and line.
    pub problems: Vec<Problem>,
    pub(crate) good: Good,
}

/// One cluster's part of a plan.
#[derive(Debug, Clone)]
pub struct PlannedCluster {
    /// What its pods are told.
    pub snapshot: Arc<Snapshot>,
    /// The WAV files that its prompts are made of, by the SHA-256 of their bytes.
    pub blobs: BTreeMap<AudioId, Arc<[u8]>>,
    /// The keys of Secrets that its pods need.
    pub secrets: SecretNeeds,
}

impl PlannedCluster {
    /// What its pods are told, in sections.
    ///
    /// # Errors
    /// None that a plan could cause.
    pub fn sections(&self) -> Result<Sections, serde_json::Error> {
        Sections::of(&self.snapshot)
    }
}

impl Plan {
    pub(crate) const fn good(&self) -> &Good {
        &self.good
    }

    pub(crate) const fn of_good(good: Good) -> Self {
        Self { clusters: BTreeMap::new(), problems: Vec::new(), good }
    }
}

/// Loads and plans, and gives the problems alone, sorted by file and line.
#[must_use]
pub fn check(files: &[SourceFile], now: Timestamp) -> Vec<Problem> {
    let (resources, _) = load::load(files);
    plan(&resources, None, now).problems
}

/// Compiles every cluster. With the plan before in `last`, the last good form of a bad object stays live.
///
/// `now` decides nothing but warnings: what a snapshot holds does not depend on the time of day.
#[must_use]
pub fn plan(resources: &Resources, last: Option<&Plan>, now: Timestamp) -> Plan {
    let mut planner = Planner::of(resources.clone(), last);
    planner.update(now);
    planner.plan()
}
