//! The engine in a virtual world, and the cursor on tables of words.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod accepting;
mod agents;
mod at_desk;
mod callbacks;
mod caps;
mod contact_first;
mod crowds;
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
mod requests;
mod shards;
mod silence;
mod siprec;
mod sounds;
mod standing;
mod stations;
mod stir;
mod supervising;
mod trunks;
mod twin;
mod verbs;
mod world;
