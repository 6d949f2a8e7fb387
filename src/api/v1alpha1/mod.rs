//! Version `v1alpha1`: may still change between releases; changes are additive where they can be.

#![expect(clippy::duplicated_attributes, reason = "printer columns have types and priorities in common")]

mod agent;
mod allowlist;
mod business_hours;
mod call_test;
mod campaign;
mod carrier;
mod common;
mod contact_list;
mod contact_point;
mod do_not_call_list;
mod integration;
mod number_order;
mod phone_number;
mod point_of_presence;
mod prompt;
mod queue;
mod routing_flow;
mod status;
mod stir;
mod tenant;
mod trunk;
mod voice_cluster;
mod voicemail_box;

pub use agent::*;
pub use allowlist::*;
pub use business_hours::*;
pub use call_test::*;
pub use campaign::*;
pub use carrier::*;
pub use common::*;
pub use contact_list::*;
pub use contact_point::*;
pub use do_not_call_list::*;
pub use integration::*;
pub use number_order::*;
pub use phone_number::*;
pub use point_of_presence::*;
pub use prompt::*;
pub use queue::*;
pub use routing_flow::*;
pub use status::*;
pub use stir::*;
pub use tenant::*;
pub use trunk::*;
pub use voice_cluster::*;
pub use voicemail_box::*;
