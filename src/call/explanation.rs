//! Why a call was treated so: what was tried, what failed first, and what came nearest.

use std::{fmt, net::SocketAddr};

use jiff::Timestamp;
use model::{FlowId, NumberId, QueueId, TrunkId};
use serde::Serialize;

use crate::registrar::StationId;

/// Why an INVITE was routed, refused or not heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Call-ID of the INVITE.
    pub call_id: String,
    /// When it came.
    pub at: Timestamp,
    /// Where from. None: an agent makes it at the desk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SocketAddr>,
    /// Name of the listener that heard it; empty: none did.
    pub listener: String,
    /// Calling number, as it was sent.
    pub from: String,
    /// Number that was dialled, as it was sent.
    pub to: String,
    /// What was tried, in order.
    pub candidates: Vec<Candidate>,
    /// What came of it.
    pub outcome: Outcome,
    /// Call-IDs of the legs that were dialled for it, in order; at most [`LEGS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<String>,
    /// What befell it on its way to callees: which peers were tried and why others were, in order; at most
    /// [`COURSE_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<String>,
}

/// Most entries of [`Explanation::legs`].
pub const LEGS_MAX: usize = 64;

/// Most entries of [`Explanation::course`].
pub const COURSE_MAX: usize = 64;

/// A trunk or number that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `Trunk platform/carrier`, `PhoneNumber acme/main` and the like.
    pub object: String,
    /// None: it fitted. Else the first predicate that failed, as a sentence.
    pub failed: Option<String>,
}

/// What came of an INVITE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A flow took it.
    #[serde(rename_all = "camelCase")]
    Routed {
        /// Which trunk delivered it.
        trunk: TrunkId,
        /// Which number it is for.
        number: NumberId,
        /// Which flow took it.
        flow: FlowId,
    },
    /// A phone dialled somebody, who is being called.
    #[serde(rename_all = "camelCase")]
    Placed {
        /// Which phone.
        station: StationId,
        /// Whom: an Agent, a number or those who send help, and by which trunks.
        to: String,
    },
    /// It was refused.
    #[serde(rename_all = "camelCase")]
    Refused {
        /// SIP status code.
        code: u16,
        /// A sentence that names object, field and remedy.
        because: String,
    },
    /// It must prove who it is; what then becomes of it has an explanation of its own.
    #[serde(rename_all = "camelCase")]
    Challenged {
        /// A sentence that names object, field and remedy.
        because: String,
    },
    /// Somebody is called back when an agent is free.
    #[serde(rename_all = "camelCase")]
    Promised {
        /// Where the turn is waited for.
        queue: QueueId,
    },
    /// Nothing was answered.
    #[serde(rename_all = "camelCase")]
    Ignored {
        /// A sentence that names object, field and remedy.
        because: String,
    },
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {} from ", self.from, self.to)?;
        match self.source {
            Some(source) => write!(f, "{source} on listener {}", self.listener)?,
            None => f.write_str("the desk")?,
        }
        writeln!(f, " at {}", self.at)?;
        for candidate in &self.candidates {
            match &candidate.failed {
                None => writeln!(f, "  ✓ {}", candidate.object)?,
                Some(failed) => writeln!(f, "  ✗ {}: {failed}", candidate.object)?,
            }
        }
        match &self.outcome {
            Outcome::Routed { flow, .. } => write!(f, "  → RoutingFlow {flow}"),
            Outcome::Placed { station, to } => write!(f, "  → {station} calls {to}"),
            Outcome::Promised { queue } => {
                write!(f, "  → is called back when an agent of Queue {queue} is free")
            }
            Outcome::Refused { code, because } => write!(f, "  → {code}: {because}"),
            Outcome::Challenged { because } => write!(f, "  → 401: {because}"),
            Outcome::Ignored { because } => write!(f, "  → no answer: {because}"),
        }?;
        self.course.iter().try_for_each(|event| write!(f, "\n  · {event}"))
    }
}
