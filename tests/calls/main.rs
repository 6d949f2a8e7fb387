//! Real calls: sipp, baresip and phones of our own against a running `switchboard local`, tshark reading the wire.
//!
//! Every test has a system of its own, on manifests and ports of its own, and ends with the proof that nothing of its
//! calls is left. Programs that are missing are a failure: `tests/run` installs them.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::panic, reason = "a test fails by panicking")]

mod addresses;
mod afterwards;
mod agents;
mod asking;
mod attackers;
mod audio;
mod bad_media;
mod callee;
mod capture;
mod carrier;
mod certificates;
mod cli;
mod desk;
mod dispositions;
mod drain;
mod dtls;
mod dtmf;
mod engines;
mod flood;
mod harness;
mod hostile;
mod integrations;
mod kamailio;
mod linphone;
mod negotiation;
mod networks;
mod outbound;
mod phone;
mod plan;
mod pods;
#[path = "../../src/store/tests/store/postgres.rs"]
mod postgres;
mod prompts;
mod quality;
mod records;
mod refusals;
mod registrar;
mod registrations;
mod reload;
mod rtp;
mod secrets;
mod sign_in;
mod sipp;
mod siprec;
mod sounds;
mod srtp;
mod stations;
mod stir;
mod stores;
mod streams;
mod switching;
mod tabs;
mod tenant;
mod tls;
mod tls_suites;
mod torture;
mod traces;
mod transports;
mod wire;
mod works;
