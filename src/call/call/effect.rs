//! What a call asks for, and what it may look at.

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use model::{
    AgentId, LegId, QueueId, TrunkId,
    media::{Codec, Order},
    net::Flow,
};
use sip::{
    endpoint::{Attached, Header, Invite},
    sdp::KeySeed,
};
use stir::claim::Claim;

use super::{desk::DeskNews, promise::Promised, standing::StandingNews};
use crate::{
    admission::Admitted,
    caller::Diverted,
    cursor::{Asked, Environment},
    dial::Placement,
    health::{Heard, Who},
    lots::Lots,
    record::Saved,
    registrar::{Bound, StationId},
    sdp_leg::Terms,
    vetting::Vetted,
};

/// Something to be done for a call.
#[derive(Debug)]
pub enum Effect {
    /// 101 to 199 on the A leg.
    Provisional {
        /// SIP leg.
        leg: LegId,
        /// Status code.
        code: u16,
        /// Early answer.
        sdp: Option<Bytes>,
    },
    /// 200 on the A leg.
    Accept {
        /// SIP leg.
        leg: LegId,
        /// Answer, or offer.
        sdp: Bytes,
    },
    /// 300 to 699 on the A leg.
    Reject {
        /// SIP leg.
        leg: LegId,
        /// Status code.
        code: u16,
        /// Further headers.
        headers: Vec<Header>,
    },
    /// Call somebody back; tell [`Call::promised`](super::Call::promised) unless it is `is_again`.
    Promise {
        /// Whom.
        promised: Box<Promised>,
        /// Whether it was promised before, and came to nothing.
        is_again: bool,
    },
    /// CANCEL on a leg that rings.
    Cancel {
        /// SIP leg.
        leg: LegId,
        /// Value of the Reason header.
        reason: Option<&'static str>,
    },
    /// BYE.
    Bye {
        /// SIP leg.
        leg: LegId,
        /// Value of the Reason header.
        reason: Option<String>,
    },
    /// 200 to a re-INVITE.
    AnswerReinvite {
        /// SIP leg.
        leg: LegId,
        /// Answer, or offer.
        sdp: Bytes,
    },
    /// Refusal of a re-INVITE.
    RejectReinvite {
        /// SIP leg.
        leg: LegId,
        /// Status code.
        code: u16,
    },
    /// Call somebody; tell [`Call::invited`].
    Invite {
        /// Media leg of the branch.
        branch: LegId,
        /// Which trunk it burdens.
        trunk: Option<TrunkId>,
        /// Whether no cap holds it back.
        is_urgent: bool,
        /// The INVITE.
        invite: Box<Invite>,
        /// What is signed of it.
        claim: Option<Claim>,
    },
    /// Ask whoever rings to answer.
    AskToAnswer {
        /// SIP leg.
        leg: LegId,
    },
    /// Tell the telephone of an agent that is kept up of this contact; ring the agent where there is none any more.
    Announce {
        /// Whose.
        agent: AgentId,
        /// How long.
        rings: Duration,
    },
    /// Say what becomes of a telephone that is kept up.
    Standing(StandingNews),
    /// Re-INVITE.
    Reinvite {
        /// Media leg of the branch.
        branch: LegId,
        /// SIP leg.
        leg: LegId,
        /// Our offer.
        sdp: Bytes,
    },
    /// Re-INVITE to a recorder with what it is told of the call.
    TellRecorder {
        /// Its first media leg.
        branch: LegId,
        /// SIP leg.
        leg: LegId,
        /// Our offer.
        sdp: Bytes,
        /// Who is in the call.
        attached: Box<Attached>,
    },
    /// 202 to a REFER.
    AcceptRefer {
        /// SIP leg.
        leg: LegId,
    },
    /// Refusal of a REFER.
    RejectRefer {
        /// SIP leg.
        leg: LegId,
        /// Status code.
        code: u16,
        /// Why, as a sentence.
        because: String,
    },
    /// How far we are with a REFER.
    NotifyRefer {
        /// SIP leg.
        leg: LegId,
        /// Status code of whom it named.
        code: u16,
        /// Whether that is the end of it.
        is_final: bool,
    },
    /// The SIP leg is no longer the call's; what still comes of it is the endpoint's business.
    Forget {
        /// SIP leg.
        leg: LegId,
    },
    /// To the media server.
    Media(Order),
    /// Tell an agent's desk.
    Desk(DeskNews),
    /// Ask a service; tell [`Call::answered`](super::Call::answered) what became of it.
    Request {
        /// Names the request within the call.
        request: u64,
        /// What.
        asked: Box<Asked>,
    },
    /// Say what befell the call.
    Tell(Told),
    /// OPTIONS in the dialog: a peer that knows of none says so, which ends the leg.
    Probe {
        /// SIP leg.
        leg: LegId,
    },
    /// INFO in the dialog.
    Info {
        /// SIP leg.
        leg: LegId,
        /// Its type.
        content_type: &'static str,
        /// Its body.
        body: Bytes,
    },
    /// Remember that a peer takes no SRTP.
    SpeaksPlain {
        /// Which.
        who: Who,
    },
    /// To the floor of a tenant.
    Floor(Box<FloorOrder>),
    /// Say that a recording or a message is stored.
    Saved(Box<Saved>),
    /// Remember what a peer did.
    Heard {
        /// Which.
        who: Who,
        /// What it did.
        heard: Heard,
    },
}

/// What a call wants of its tenant's floor. The contact is the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FloorOrder {
    /// Wait; tell [`Call::entered`](super::Call::entered).
    Enter {
        /// Where.
        queue: QueueId,
        /// 0 to 9. None: the queue's own.
        priority: Option<u8>,
        /// Since when the wait counts.
        entered: Instant,
        /// Longest wait from now on. None: the queue's own bound.
        wait_max: Option<Duration>,
        /// Whether it is called back when its turn comes.
        calls_back: bool,
        /// Who is not offered it at once.
        sender: Option<AgentId>,
    },
    /// Wait no more.
    Leave {
        /// Where it waits.
        queue: QueueId,
        /// Whether the contact hung up.
        abandoned: bool,
    },
    /// Who was to be called back is on the line, and waits for so long at most from now on.
    Present(QueueId, Duration),
    /// The agent who is offered it is rung later: the offer stands for so long from now on.
    Prolong(AgentId, Duration),
    /// Tell [`Call::placed`](super::Call::placed) how far the contact has come.
    Place(QueueId),
    /// The agent who is offered it has answered.
    Accept(AgentId),
    /// The agent's telephone said no.
    Decline(AgentId),
    /// The agent's telephone did not answer, or could not be rung.
    Miss(AgentId),
    /// The agent talks in this call, and came by no queue.
    Take(AgentId),
    /// The agent talks in this call no more.
    Release(AgentId),
}

impl FloorOrder {
    /// Whose floor it is for.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match self {
            Self::Enter { queue, .. }
            | Self::Leave { queue, .. }
            | Self::Present(queue, _)
            | Self::Place(queue) => queue.0.namespace(),
            Self::Accept(agent)
            | Self::Prolong(agent, _)
            | Self::Decline(agent)
            | Self::Miss(agent)
            | Self::Take(agent)
            | Self::Release(agent) => agent.0.namespace(),
        }
    }
}

/// Something in the course of a call that its explanation tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Call-ID of the A leg.
    pub call_id: String,
    /// A sentence, without its full stop.
    pub what: String,
}

/// What a call may look at, and where its effects go.
#[derive(Debug)]
pub struct Context<'a> {
    /// World, expressions, time.
    pub environment: Environment<'a>,
    /// How trunks stand.
    pub trunks: &'a dyn Trunks,
    /// Carried out in order.
    pub effects: Vec<Effect>,
}

/// How trunks stand at the moment.
pub trait Trunks: std::fmt::Debug {
    /// Whether a trunk takes one more call.
    ///
    /// # Errors
    /// The cap that is reached, as a sentence.
    fn takes(&self, trunk: &TrunkId) -> Result<(), String>;

    /// Since when an address of a peer is down.
    fn down_since(&self, who: &Who) -> Option<Timestamp>;

    /// Whether a peer took no SRTP lately, but audio without.
    fn speaks_plain(&self, who: &Who) -> bool;

    /// Whether a peer has said at least that it is at work on our INVITE.
    fn is_proceeding(&self, leg: LegId) -> bool;

    /// Where a trunk's registrar wants its calls, and the Route that they take (RFC 3608).
    fn route(&self, trunk: &TrunkId) -> Option<(Vec<Flow>, &[String])>;

    /// Whether an agent who is signed in has no room for one more call, or is being offered one.
    fn is_engaged(&self, agent: &AgentId) -> bool;

    /// Whether a telephone of an agent is kept up, and with nobody.
    fn is_up(&self, agent: &AgentId) -> bool;

    /// Where a phone has registered, the most preferred first.
    fn bindings(&self, station: &StationId) -> &[Bound];
}

/// An INVITE that was admitted.
#[derive(Debug)]
pub struct Incoming {
    /// SIP leg.
    pub leg: LegId,
    /// Call-ID, for people.
    pub call_id: String,
    /// Calling number, or phone; empty if withheld.
    pub from: String,
    /// Whom it is for, as the record tells it.
    pub to: String,
    /// What is done where no flow leads it.
    pub placement: Option<Placement>,
    /// Call-ID of the call that it belongs to.
    pub part_of: Option<String>,
    /// Through whom it came.
    pub diverted: Diverted,
    /// What is known of whether the calling number is theirs.
    pub vetted: Vetted,
    /// Max-Forwards that legs of ours get: one less than the INVITE's.
    pub max_forwards: u8,
    /// What is drawn in this call: by another seed for each.
    pub lots: Lots,
    /// The offer.
    pub offer: Option<Bytes>,
    /// Whether it wants to be told in descriptions that it is recorded (RFC 7866 §6.2).
    pub is_record_aware: bool,
    /// Codec that the offer will be answered with.
    pub spoken: Option<Codec>,
    /// Where it leads.
    pub admitted: Admitted,
    /// Name of the network that it came by.
    pub network: String,
    /// What the caller's side may use.
    pub terms: Terms,
    /// Where keys of SRTP come from.
    pub keys: KeySeed,
}
