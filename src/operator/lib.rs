//! The control plane: watches custom resources, plans, publishes snapshots to pods, and reports back truthfully.

mod client;
mod core;
mod election;
mod fleet;
pub mod lease;
mod metrics;
pub mod status;
mod watch;
