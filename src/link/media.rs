//! Orders and events between edges and media pods, over the network.
//!
//! A media pod serves one stream per edge process ([`Streams`]); an edge's [`Pool`] has one stream per media pod and chooses
//! where a session goes. Orders and events are numbered: after a break of the connection both ends go on where the other
//! had come to, so nothing is lost or done twice. Audio goes on meanwhile, for [`ATTACH_WAIT`].
//!
//! Contract: as that of the crate; nothing blocks, and what is full says so.

mod member;
mod outbox;
mod pool;
mod streams;

use std::time::Duration;

pub use self::{pool::Pool, streams::Streams};

/// How long the sessions of an edge outlive its stream. Then their legs are released.
pub const ATTACH_WAIT: Duration = Duration::from_secs(60);

/// First id of a session that no edge may use: above it stands the number of its stream.
pub const SESSIONS_END: u64 = 1 << 48;
