//! The custom resources of `switchboard.dev/v1alpha1`.
//!
//! A rule that one object can prove by itself stands in its schema or in a CEL rule beside it, where the API server
//! refuses a bad object at once; `switchboard check` runs the very same rules offline. What depends on other objects
//! is the planner's. The files in `crds/` are generated from here and a test fails when they are stale.

mod crds;
#[cfg(test)]
mod rules;
pub mod v1alpha1;

pub use crds::{Kind, crds, describe_pattern, kinds};

/// API group of every kind.
pub const GROUP: &str = "switchboard.dev";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// What stands in `apiVersion`.
pub const API_VERSION: &str = "switchboard.dev/v1alpha1";
