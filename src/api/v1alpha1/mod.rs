//! Version `v1alpha1`: may still change between releases; changes are additive where they can be.

#![expect(clippy::duplicated_attributes, reason = "printer columns have types and priorities in common")]

mod allowlist;
mod business_hours;
mod common;
mod phone_number;
mod prompt;
mod routing_flow;
mod status;
mod tenant;
mod trunk;
mod voice_cluster;

pub use allowlist::*;
pub use business_hours::*;
pub use common::*;
pub use phone_number::*;
pub use prompt::*;
pub use routing_flow::*;
pub use status::*;
pub use tenant::*;
pub use trunk::*;
pub use voice_cluster::*;
