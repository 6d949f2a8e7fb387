//! Who hears whom when more than two legs of a session talk, or a leg is more than bridged.

use serde::{Deserialize, Serialize};

use crate::LegId;

/// A leg that another hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// Who is heard.
    pub leg: LegId,
    /// How much louder than it speaks, in dB: −40 to 12.
    pub gain_db: i8,
}

/// What one leg of a session hears of the others. Conference, whisper, barge and silent monitoring are such lists: nobody
/// stands in their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearing {
    /// Who hears.
    pub leg: LegId,
    /// Whom. Empty: nobody.
    pub sources: Vec<Source>,
}
