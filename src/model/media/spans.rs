//! How the audio of one session crosses to a leg that is at another media pod.

use serde::{Deserialize, Serialize};

/// Names a span at both of its ends. It stands in the clear before each packet, so it is chosen at random, and is never used
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpanId(pub u64);
