//! Resources to snapshots: load, resolve, check, compile.
//!
//! Pure: files come in as bytes, the time as a value, and nothing is read or written here. Equal objects give equal
//! snapshots, whatever file or order they stand in.
//!
//! A bad object loses only itself: given the plan before, its last good form stays live. A deleted object, a withdrawn
//! grant and a removed entry of an Allowlist are gone at once.

mod base;
mod calltests;
mod centre;
mod checks;
mod content;
mod demand;
mod diagram;
mod dialling;
mod directory;
pub mod firewall;
mod flow;
mod foresee;
mod graph;
mod kustomize;
mod load;
mod numbers;
mod plan;
mod planner;
mod platform;
mod problem;
mod reach;
mod resources;
mod schema;
mod signalling;
mod snapshot;
mod stored;
mod verdict;
mod views;
mod words;
mod world;
mod yaml;

use std::sync::Arc;

pub use calltests::{PlannedTest, call_tests};
pub use demand::{HOURS, PlannedDemand, REPLICATIONS, RETURN_SECONDS, read_demand};
pub use diagram::{NoDiagram, Notation};
pub use foresee::Foresight;
pub use load::{FILE_MAX, load};
pub use plan::{Plan, PlannedCluster, check, plan};
pub use planner::Planner;
pub use problem::{ConditionType, Location, ObjectId, Problem, Reason, Severity};
pub use reach::{SecretKeys, SecretNeeds};
pub use resources::{Foreign, Resources};
pub use stored::StoredError;
pub use verdict::{Effect, ObjectVerdict, Verdict};

/// A file of a folder: a manifest (`.yaml`, `.yml`), or what stands beside manifests.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// As problems show it, with `/` between its parts.
    pub path: String,
    /// Its content.
    pub bytes: Arc<[u8]>,
}
