//! Calls without I/O: who may call, what a flow does, and the B2BUA that joins the legs.
//!
//! [`engine::Engine`] is one shard: it owns a SIP endpoint and the calls on it. Packets, media events, snapshots and
//! time go in; packets, media orders, explanations and records come out. Production, tests and simulations run this
//! very code.
//!
//! What meets here are values: [`cursor::Cursor`] knows the flow and nothing of SIP, [`call::Call`] knows legs and
//! media and nothing of transactions, [`admission`] decides over the snapshot and nothing else.

pub mod admission;
pub mod bans;
pub mod call;
pub mod caller;
pub mod certificate;
pub mod cursor;
mod dial;
pub mod dialling;
pub mod engine;
pub mod explanation;
pub mod health;
pub mod hours;

pub mod locate;
mod location;
pub mod lots;
pub mod messaging;
pub mod rates;
pub mod record;
pub mod registrar;
pub mod registration;
mod sdp_leg;
pub mod signing;
pub mod siprec;
pub mod vetting;
pub mod world;

use std::time::Instant;

use jiff::Timestamp;

/// What time it is: for deadlines, and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never goes back.
    pub instant: Instant,
    /// Goes by the calendar.
    pub wall: Timestamp,
}
