//! The operator on a real kube-apiserver, with the chart's roles and policies, and the processes that it leads.
//!
//! `kit build control-plane` must have run. All tests share one control plane with controllers and an audit log.

mod audit;
mod chart;
mod policies;
mod rights;
mod world;
