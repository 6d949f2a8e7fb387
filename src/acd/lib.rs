//! A tenant's floor without I/O: who waits, who is free, and who is offered whom.
//!
//! [`Floor`] is one deterministic machine: all queues and all agents of a tenant, so that no agent can be offered by two of
//! them. Registrations, sockets and telephones are inputs to it; it knows nothing of them.
//!
//! # Contract
//! Every input takes the time. After each one drain [`Floor::poll`] completely, and call [`Floor::timeout`] at the instant
//! that [`Floor::poll_timeout`] names. Time never goes back. Equal inputs give equal outputs.
//!
//! # Who is offered whom
//! **No contact waits while an agent is free who may be offered it.** An agent who becomes free is offered the first contact
//! of the queues that he serves, by the rank he gives them, then by priority (with ageing), by the time of entry, by id. A
//! contact that comes is offered to the first agent by rank, by the number of contacts he has, by the queue's
//! [`model::centre::Selection`], by the time since he had none. Both orders are total.
//! Where a change of queues or agents lets several be offered several at once, the contacts choose, one after the other.
//!
//! An offer is a deadline: it ends by itself. Who lets one ring out is away until he says otherwise; who declines one is not
//! offered that contact again for [`DECLINED_FOR`].

mod agents;
#[cfg(test)]
mod audit;
mod contacts;
mod figures;
mod floor;
mod lanes;
mod matching;
pub mod mutants;
mod occupancy;
mod pace;
mod setup;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::{AgentId, QueueId, centre::Channel};

pub use self::{
    figures::{ABANDONED_EARLY, Figures, Live},
    floor::Floor,
    lanes::serves,
    occupancy::OCCUPANCY_OVER,
};

/// Highest priority, at which a contact stops to age.
pub const PRIORITY_MAX: u8 = 9;

/// How long an agent who declined a contact is not offered it again.
pub const DECLINED_FOR: Duration = Duration::from_secs(30);

/// How long contacts wait for an agent to sign in after the last one who served them signed out.
pub const DESERTED_AFTER: Duration = Duration::from_secs(10);

/// Longest work after a contact that an agent may ask for.
pub const WRAP_UP_MAX: Duration = Duration::from_hours(1);

/// Longest offer, however often it is prolonged.
pub const OFFER_MAX: Duration = Duration::from_mins(10);

/// Agents who declined a contact, and are remembered for it.
const DECLINED_MAX: usize = 16;

/// A contact, as whoever brings it names it. Of two that are alike in all else the lower goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub u64);

/// Somebody who wants to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Unique on the floor.
    pub contact: ContactId,
    /// Where.
    pub queue: QueueId,
    /// How the contact is in touch.
    pub channel: Channel,
    /// 0 to [`PRIORITY_MAX`]. None: the queue's own.
    pub priority: Option<u8>,
    /// Since when its wait counts: an earlier time keeps the place of an earlier wait.
    pub entered: Instant,
    /// Longest wait from now on. None: the queue's own bound.
    pub wait_max: Option<Duration>,
    /// Whether it is called back when its turn comes: it waits where nobody is signed in, and `wait_max` alone bounds its wait.
    pub calls_back: bool,
    /// Who is not offered it for [`DECLINED_FOR`]: the agent who sends it there.
    pub sender: Option<AgentId>,
}

/// Why somebody cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none of the name.
    #[error("there is no such queue")]
    NoQueue,
    /// Contacts of this channel do not wait there.
    #[error("the queue does not take contacts of this channel")]
    Channel,
    /// It holds as many contacts as it may.
    #[error("the queue is full")]
    Full,
    /// Nobody who serves it is signed in.
    #[error("no agent who serves the queue is signed in")]
    NoAgents,
    /// The contact waits already, or talks to an agent.
    #[error("the contact is on the floor already")]
    Twice,
}

/// Why an agent cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is none of the name.
    #[error("there is no such agent")]
    Unknown,
    /// Not signed in, or not to be reached.
    #[error("the agent is not there")]
    Absent,
    /// Signed in, but takes nothing now.
    #[error("the agent is away")]
    Away,
    /// Has as many contacts as may be, or one is offered.
    #[error("the agent is busy")]
    Busy,
}

/// How a wait ended that no agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It lasted as long as it might.
    TimedOut,
    /// Nobody who serves the queue is signed in any more.
    NoAgents,
    /// The queue was deleted, or does not take the channel any more.
    QueueGone,
}

/// Why an offer is over that the agent did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withdrawal {
    /// It rang as long as it might.
    Unanswered,
    /// The contact hung up, or goes elsewhere.
    ContactLeft,
    /// The agent signed out, cannot be reached any more, or was deleted.
    AgentGone,
}

/// What an agent is doing, for everybody to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not here.
    SignedOut,
    /// Here, but no station can be reached.
    Unreachable,
    /// Here, and takes nothing.
    Away(Away),
    /// Waiting for a contact.
    Available,
    /// Being rung.
    Offered,
    /// With at least one contact.
    Busy,
    /// At work on one that is over, until then.
    WrapUp(Instant),
}

/// Why an agent takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// A reason that the agent gave, such as `Lunch`.
    Chosen(Arc<str>),
    /// An offer rang out.
    Unanswered,
}

/// What is to be done, and what everybody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ring the agent; then call [`Floor::accept`], [`Floor::decline`], or nothing.
    Offer {
        /// Who waits.
        contact: ContactId,
        /// Who is rung.
        agent: AgentId,
        /// Where the contact waits.
        queue: QueueId,
        /// Until when.
        until: Instant,
    },
    /// Ring the agent no more. Where the contact has not left it waits on, at its old place.
    Withdrawn {
        /// Who was offered.
        contact: ContactId,
        /// To whom.
        agent: AgentId,
        /// Why no more.
        reason: Withdrawal,
    },
    /// A contact waits no more.
    Left {
        /// Who.
        contact: ContactId,
        /// Where it waited.
        queue: QueueId,
        /// Why.
        outcome: Outcome,
    },
    /// An agent is done with a contact, and works on it for a while.
    WrapUp {
        /// Which.
        contact: ContactId,
        /// Who.
        agent: AgentId,
        /// Where the contact waited.
        queue: QueueId,
    },
    /// The time for that is over, and the agent had not said to be done.
    WrapUpOver {
        /// Which.
        contact: ContactId,
        /// Who.
        agent: AgentId,
    },
    /// An agent does something else now.
    State {
        /// Who.
        agent: AgentId,
        /// What.
        state: State,
    },
}
