//! Our custom resources on a real kube-apiserver: what it accepts, refuses, fills in, merges and keeps.
//!
//! `kit build control-plane` must have run. All tests share one control plane and keep apart by namespace. Here the
//! server has the last word: what the unit tests of `api` estimate, it decides.

mod defaults;
mod definitions;
mod manifests;
mod overlays;
mod ownership;
mod updates;

use crate::control_plane;
