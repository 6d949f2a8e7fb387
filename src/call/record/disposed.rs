//! What an agent has said of a contact in the work after it, which ends later than the call, as a rule.

use jiff::Timestamp;
use model::{AgentId, CallId, QueueId};
use serde::Serialize;

/// The disposition of a contact of which no agent has named one.
pub const NONE: &str = "none";

/// What has come of a contact, in the words of the agent who had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disposed {
    /// The call, when it began, and whose it was: the names of its record.
    #[serde(skip)]
    pub call: CallId,
    #[serde(skip)]
    pub started_at: Timestamp,
    #[serde(skip)]
    pub tenant: String,
    /// Who says so.
    pub agent: AgentId,
    /// Where the contact waited.
    pub queue: QueueId,
    /// One of the queue's, or [`NONE`].
    pub disposition: String,
    /// The agent's notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Whether the time was over before the agent was done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// When.
    pub at: Timestamp,
}
