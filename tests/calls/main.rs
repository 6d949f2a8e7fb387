//! Real calls: sipp, baresip and phones of our own against a running `switchboard local`, tshark reading the wire.
//!
//! Every test has a system of its own, on manifests and ports of its own, and ends with the proof that nothing of its
//! calls is left. Programs that are missing are a failure: `tests/run` installs them.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::panic, reason = "a test fails by panicking")]

mod addresses;
mod afterwards;
mod agents;
mod attackers;
mod audio;
mod capture;
mod carrier;
mod certificates;
mod cli;
mod drain;
mod dtls;
mod dtmf;
mod engines;
mod flood;
mod harness;
mod hostile;
mod kamailio;
mod linphone;
mod negotiation;
mod networks;
mod phone;
mod plan;
mod pods;
mod refusals;
mod registrar;
mod registrations;
mod reload;
mod rtp;
mod sipp;
mod sounds;
mod stations;
mod stir;
mod streams;
mod tls;
mod tls_suites;
mod torture;
mod traces;
mod transports;
mod wire;
mod works;
