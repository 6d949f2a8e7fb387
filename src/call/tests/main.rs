//! The engine in a virtual world, and the cursor on tables of words.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod agents;
mod at_desk;
mod callbacks;
mod caps;
mod cursor;
mod dialling;
mod emergency;
mod engine;
mod engines;
mod failover;
mod holding;
mod identity;
mod negotiation;
mod phones;
mod queues;
mod refer;
mod requests;
mod shards;
mod silence;
mod siprec;
mod sounds;
mod stations;
mod stir;
mod trunks;
mod twin;
mod verbs;
mod world;
