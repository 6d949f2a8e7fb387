//! Plain data that the crates share. No behaviour beyond parsing, printing and looking up.
//!
//! What crosses a seam (edge ↔ media, operator ↔ pods, engine ↔ shell) is defined here and nowhere else, so
//! that both sides of a seam, and the wire between them, speak of the same thing.

pub mod calltest;
pub mod centre;
pub mod demand;
mod ids;
pub mod kept;
pub mod media;
pub mod net;
pub mod numbering;
pub mod program;
pub mod secrets;
pub mod section;
pub mod snapshot;
pub mod spoken;
pub mod trunk;

pub use ids::*;
