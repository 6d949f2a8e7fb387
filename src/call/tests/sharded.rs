//! The same tests as in `main.rs` where an edge has several engines.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod accepting;
mod agents;
mod at_desk;
mod callbacks;
mod caps;
mod contact_first;
mod cursor;
mod dialling;
mod dispositions;
mod emergency;
mod engine;
mod engines;
mod failover;
mod holding;
mod identity;
mod messages;
mod negotiation;
mod phones;
mod previews;
mod queues;
mod refer;
mod shards;
mod silence;
mod sounds;
mod standing;
mod stations;
mod stir;
mod supervising;
mod trunks;
mod twin;
mod verbs;
mod world;
