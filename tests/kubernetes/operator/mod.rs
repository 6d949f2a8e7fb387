//! The operator on a real kube-apiserver, with the chart's roles and policies, and the processes that it leads.
//!
//! `kit build control-plane` must have run. All tests share one control plane with controllers and an audit log; those
//! that start operators take turns, since an operator watches every namespace (`stage::Stage`).

mod audit;
mod bad;
mod chart;
mod faults;
mod harness;
mod leaders;
mod live;
mod manifests;
mod orders;
mod policies;
mod process;
mod proxy;
mod quiet;
mod rights;
mod sipp;
mod stage;
mod tenancy;
mod webhook;
mod world;
