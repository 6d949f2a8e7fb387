//! Switchboard on a real Kubernetes, which the kit beside this file builds and starts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apiserver;
mod control_plane;
mod operator;
