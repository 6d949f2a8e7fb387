//! The control plane: watches custom resources, plans, publishes snapshots to pods, and reports back truthfully.

pub mod lease;
