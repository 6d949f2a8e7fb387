//! The control plane: watches custom resources, plans, publishes snapshots to pods, and reports back truthfully.
//!
//! ```text
//! watch ──► core (pure: plan, fleet, statuses) ──► link::Hub ──► pods
//!   ▲            │                                    │
//!   └─ API server ◄── statuses, events, Secrets       └──► reports back to the core
//! ```
//!
//! Every replica watches and plans; only the one who holds the lease publishes and writes.

mod bundle;
mod client;
mod core;
mod election;
mod fleet;
mod http;
mod keep;
pub mod lease;
mod metrics;
mod mind;
mod pki;
mod run;
pub mod status;
mod store;
mod watch;
mod webhook;

pub use run::{Options, RunError, Webhook, kube_config, run};
