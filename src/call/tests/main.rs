//! The engine in a virtual world, and the cursor on tables of words.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod caps;
mod cursor;
mod engine;
mod failover;
mod identity;
mod stations;
mod stir;
mod trunks;
mod twin;
mod verbs;
mod world;
