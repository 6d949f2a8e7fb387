//! What is kept of a call once it is over.

mod disposed;
mod sound;

use jiff::Timestamp;
use model::{
    AgentId, CallId, FlowId, LegId, NumberId, QueueId, TrunkId,
    media::{Bucket, Quality},
};
use serde::Serialize;
use stir::{Attestation, Verstat};

pub use self::{
    disposed::{Disposed, NONE},
    sound::{Saved, Sound},
};
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
    /// The edge went away while somebody waited to be called back, and no other could take that over.
    Lost,
}

/// The record of one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Ours.
    pub call: CallId,
    /// Call-ID of the A leg.
    pub call_id: String,
    /// Namespace of the tenant.
    pub tenant: String,
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
    /// Call-ID of the call that this one belongs to: an agent asked somebody back while a contact waited,
    /// or joined the two, or it calls back who was promised that in it.
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
    /// When each of those was left; as many as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_at: Vec<Timestamp>,
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
    /// How it went on the A leg, five seconds by five seconds; longer for a call of more than 20 minutes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Bucket>,
    /// Legs that were dialled, in order: each INVITE that left. At most [`LEGS_MAX`]; those that were answered stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Egress>,
    /// What was measured on the other legs, in the order they ended. At most [`LEGS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<Measured>,
    /// What was recorded of it, part by part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<Sound>,
    /// Messages that were left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub voicemails: Vec<Sound>,
    /// Waits for an agent, in their order. At most [`VISITS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<Visit>,
    /// Who listened to an agent's conversation, mode by mode, in their order. At most [`SUPERVISIONS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supervisions: Vec<Supervised>,
}

/// A leg that was dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Which leg of the call; the next peer that is tried for one target may have the same.
    pub leg: LegId,
    /// Who was called, for people: a peer of a Trunk, or a station.
    pub whom: String,
    /// When the INVITE left.
    pub invited_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// When it was over. None: it was not, when the call was.
    pub ended_at: Option<Timestamp>,
    /// SIP status: 200 once answered, else the one that came or was decided, 487 for a call that was cancelled.
    pub sip_code: u16,
    /// Q.850 cause, 16 for a normal end.
    pub cause: u8,
}

/// What is known of a call when it begins, under the names that its record will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    pub call: CallId,
    pub call_id: String,
    pub tenant: String,
    pub from: String,
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station: Option<StationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowId>,
    /// As [`Record::part_of`], where that is known at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    pub started_at: Timestamp,
}

/// One leg as its media server measured it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Which leg of the call.
    pub leg: LegId,
    /// All of it. None: the media server went away with what it knew.
    pub quality: Option<Quality>,
    /// How it went, as [`Record::series`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Bucket>,
}

/// Most entries of [`Record::legs`].
pub const LEGS_MAX: usize = 16;

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

/// Who hears a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SupervisionMode {
    /// Nobody.
    Monitor,
    /// The agent alone.
    Whisper,
    /// All.
    Barge,
}

impl SupervisionMode {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Monitor => "Monitor",
            Self::Whisper => "Whisper",
            Self::Barge => "Barge",
        }
    }
}

/// A supervisor in a conversation, as long as the same may hear them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Supervised {
    /// Who listened.
    pub supervisor: AgentId,
    /// To whose conversation.
    pub agent: AgentId,
    /// Who heard the supervisor.
    pub mode: SupervisionMode,
    /// From when.
    pub started_at: Timestamp,
    /// Till when.
    pub ended_at: Option<Timestamp>,
}

/// Most entries of [`Record::supervisions`].
pub const SUPERVISIONS_MAX: usize = 64;

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
