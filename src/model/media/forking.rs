//! Which audio of a session is copied to a recorder that is somebody else's (RFC 7866).

use serde::{Deserialize, Serialize};

use crate::LegId;

/// Which of a leg's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// What its peer says.
    Received,
    /// What its peer is told: whoever it hears, prompts, tones.
    Sent,
}

/// A stream that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forked {
    /// Whose.
    pub leg: LegId,
    /// Which.
    pub side: Side,
}
