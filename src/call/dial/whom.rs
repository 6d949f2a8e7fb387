//! Whom a call rings.

use std::sync::Arc;

use model::{AgentId, program::DialTarget};

use crate::{dialling::Emergency, registrar::StationId};

/// Somebody who can be rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// As a flow names it.
    Target(DialTarget),
    /// A phone, wherever it has registered.
    Station(StationId),
    /// The telephones of an agent that are kept up.
    Standing(AgentId),
    /// Those who send help.
    Emergency(Arc<Emergency>),
}

impl Whom {
    /// The agent whose telephones it rings. None: nobody's of the tenant.
    #[must_use]
    pub const fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Target(DialTarget::Agent(agent)) | Self::Standing(agent) => Some(agent),
            Self::Station(station) => Some(&station.agent),
            Self::Target(DialTarget::Number { .. } | DialTarget::Extension { .. }) | Self::Emergency(_) => {
                None
            }
        }
    }
}

/// What a call does that no flow leads: it rings somebody, one target after the other, and tells the caller what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Whom it rings.
    pub targets: Vec<Whom>,
    /// Whether it calls for help: then a caller whom nobody can be found for hears so.
    pub is_help: bool,
}
