//! What would be said of an object if it were written so: for whoever must answer before it is.
//!
//! Nothing changes by asking. What an object proves by itself is told apart from what depends on others, which may be on
//! their way.

use serde_json::Value;

use model::Key;

use crate::{Planner, problem::Problem};

/// What would be wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foresight {
    /// Errors that the object proves by itself, and that its former self did not have: nothing that others do can make it
    /// right.
    pub own: Vec<Problem>,
    /// All else, warnings included: what the object says of itself without being in the way, what depends on other objects,
    /// and what would be wrong with others because of it.
    pub across: Vec<Problem>,
}

impl Planner {
    /// What would be said of an object if its `spec` were this, or if it were deleted where there is none. `old` is the spec
    /// that it has now, defaults included; None where it is new.
    #[must_use]
    pub fn foresee(&self, kind: &str, key: &Key, spec: Option<&Value>, old: Option<&Value>) -> Foresight {
        let _ = (kind, key, spec, old);
        Foresight::default()
    }
}
