//! Real calls: sipp, baresip and phones of our own against a running `switchboard local`, tshark reading the wire.
//!
//! Every test has a system of its own, on manifests and ports of its own, and ends with the proof that nothing of its
//! calls is left. Programs that are missing are a failure: `tests/run` installs them.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::panic, reason = "a test fails by panicking")]

mod agents;
mod audio;
mod capture;
mod carrier;
mod certificates;
mod cli;
mod drain;
mod dtmf;
mod harness;
mod networks;
mod phone;
mod plan;
mod pods;
mod refusals;
mod registrar;
mod reload;
mod rtp;
mod sipp;
mod streams;
mod tls;
mod tls_suites;
mod torture;
mod transports;
mod wire;
