//! What is kept of a call once it is over.

mod sound;

use jiff::Timestamp;
use model::{AgentId, CallId, FlowId, NumberId, QueueId, TrunkId, media::Quality};
use serde::Serialize;
use stir::{Attestation, Verstat};

pub use self::sound::{Saved, Sound};
use crate::registrar::StationId;

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum EndedBy {
    /// The A leg: BYE or CANCEL.
    Caller,
    /// The callee of a `dial` whose failure was relayed, or whoever the contact was handed on to hung up.
    Callee,
    /// A `hangup` step.
    Flow,
    /// The longest call time, or a drain's end.
    Deadline,
    /// Neither RTP nor RTCP came from a leg any more.
    MediaTimeout,
    /// A failure that no step handles, or a leg lost.
    Failure,
}

/// The record of one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Ours.
    pub call: CallId,
    /// Call-ID of the A leg.
    pub call_id: String,
    /// Calling number, as it was sent; empty if withheld.
    pub from: String,
    /// What came of the verification of that number. None: its trunk verifies nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verstat: Option<Verstat>,
    /// How sure its signer is that it is the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// Number that was dialled.
    pub to: String,
    /// Trunk of the A leg. None: a phone called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkId>,
    /// Phone of the A leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station: Option<StationId>,
    /// Number of the A leg. None: it was for no number of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberId>,
    /// Flow that ran. None: a phone dialled somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowId>,
    /// Its revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Call-ID of the call that this one belongs to: an agent asked somebody back while a contact waited, or joined the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// When the INVITE came.
    pub started_at: Timestamp,
    /// When 200 was sent on the A leg.
    pub answered_at: Option<Timestamp>,
    /// When the last leg was gone.
    pub ended_at: Timestamp,
    /// Steps by name, with the outcome each left by. At most [`PATH_MAX`]; the first and the last are kept.
    pub path: Vec<String>,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// SIP status of the A leg: 200 once answered, else the final code that was sent.
    pub sip_code: u16,
    /// Q.850 cause (ITU-T Q.850 §2.2), 16 for a normal end.
    pub cause: u8,
    /// Why, where it was no normal end.
    pub because: Option<String>,
    /// What was measured on the A leg.
    pub quality: Option<Quality>,
    /// What was recorded of it, part by part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<Sound>,
    /// Messages that were left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub voicemails: Vec<Sound>,
    /// Waits for an agent, in their order. At most [`VISITS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<Visit>,
}

/// A wait for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Visit {
    /// Where.
    pub queue: QueueId,
    /// Since when it counted.
    pub entered_at: Timestamp,
    /// How long, in milliseconds: until an agent answered, or it ended otherwise.
    pub waited_ms: u64,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// `answered`, `abandoned`, or the outcome that the step took.
    pub outcome: &'static str,
}

/// Most entries of [`Record::queues`].
pub const VISITS_MAX: usize = 64;

/// Most entries of [`Record::path`].
pub const PATH_MAX: usize = 256;

/// Q.850 cause for a SIP status (RFC 3398 §8.2.6.1, and its inverse where that has none).
#[must_use]
pub const fn cause_of(code: u16) -> u8 {
    match code {
        200..=299 => 16,
        404 | 604 => 1,
        486 | 600 => 17,
        408 => 102,
        480 | 487 => 18,
        403 | 603 => 21,
        484 => 28,
        488 | 606 => 88,
        503 => 42,
        500 => 41,
        _ => 127,
    }
}
