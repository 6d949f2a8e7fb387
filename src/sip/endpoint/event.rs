//! What an [`Endpoint`](super::Endpoint) tells the layer above.

use bytes::Bytes;
use model::{LegId, net::Flow};

use super::{ChallengeId, RequestId, Sequence};
use crate::wire::{Message, Method};

/// What happened on a leg.
#[derive(Debug)]
pub enum Event {
    /// A new INVITE; 100 Trying has been sent. Await `provisional`, `accept` or `reject`.
    Invited {
        /// The new leg.
        leg: LegId,
        /// Which way the INVITE came.
        flow: Flow,
        /// The INVITE.
        request: Message,
        /// The offer. `None`: `accept` must carry one.
        sdp: Option<Bytes>,
        /// The leg that it is to take the place of (RFC 3891). Of an INVITE that came by a listener with `serves_register` it
        /// is `None`: who sent it is proved first, then [`replaced_by`](super::Endpoint::replaced_by) is asked. Once the new
        /// one is accepted, that one is to be ended, or cancelled if it is called still.
        replaces: Option<LegId>,
    },
    /// A 101 to 199 response to our INVITE.
    Progress {
        /// The leg.
        leg: LegId,
        /// Status code.
        code: u16,
        /// Early answer.
        sdp: Option<Bytes>,
    },
    /// The PRACK of a reliable provisional response of ours came (RFC 3262), and was answered unless it carries an
    /// offer, which is told next as [`Event::Reinvited`].
    ProgressConfirmed {
        /// The leg.
        leg: LegId,
        /// The answer, if the response carried the offer.
        sdp: Option<Bytes>,
    },
    /// The first 2xx to our INVITE. The ACK has been sent.
    Answered {
        /// The leg.
        leg: LegId,
        /// The answer; the one of a reliable provisional response, if the 2xx has none.
        sdp: Option<Bytes>,
    },
    /// A final response to our INVITE that is no 2xx, with the contacts of a redirection, Reason (RFC 6432), Warning and
    /// Retry-After. `Ended` follows.
    Refused {
        /// The leg.
        leg: LegId,
        /// The response.
        response: Message,
    },
    /// The ACK of our 2xx to the first INVITE came; and of each later INVITE whose 2xx carried an offer.
    Confirmed {
        /// The leg.
        leg: LegId,
        /// The answer, if our 2xx carried the offer.
        sdp: Option<Bytes>,
    },
    /// The peer's re-INVITE, or UPDATE with a description. Await `answer_reinvite` or `reject_reinvite`.
    Reinvited {
        /// The leg.
        leg: LegId,
        /// The offer. `None`: `answer_reinvite` must carry one.
        sdp: Option<Bytes>,
    },
    /// A 2xx to our re-INVITE.
    ReinviteAnswered {
        /// The leg.
        leg: LegId,
        /// The answer.
        sdp: Option<Bytes>,
    },
    /// Our re-INVITE was refused; the session goes on as it was.
    ReinviteFailed {
        /// The leg.
        leg: LegId,
        /// Status code.
        code: u16,
    },
    /// An INFO request, already answered 200.
    Info {
        /// The leg.
        leg: LegId,
        /// Content-Type without parameters, in lower case. Empty: no body.
        content_type: String,
        /// Its body.
        body: Bytes,
    },
    /// The peer asks us to call somebody (RFC 3515). Await `accept_refer` or `reject_refer`.
    Referred {
        /// The leg.
        leg: LegId,
        /// Whom: a URI without header fields.
        refer_to: String,
        /// Value of the Replaces field that the new INVITE is to have.
        replaces: Option<String>,
        /// Value of Referred-By (RFC 3892).
        referred_by: Option<String>,
        /// Whether `notify_refer` is wanted; else it has no effect (RFC 4488).
        wants_progress: bool,
    },
    /// How far the peer is with our REFER.
    ReferProgress {
        /// The leg.
        leg: LegId,
        /// Status code that the peer got, or that the REFER itself got if it is refused; 408 when nothing is heard.
        code: u16,
        /// Whether nothing more will be told.
        is_final: bool,
    },
    /// Whoever our INVITE rings does not answer for being asked to; it rings on.
    AnswerRefused {
        /// The leg.
        leg: LegId,
        /// Status code; 408 where nothing was said.
        code: u16,
    },
    /// A request of ours got a 401 or 407. Await `retry_with` or `give_up`, for 64·T1 at most. Of a BYE it comes after
    /// the leg's `Ended`.
    Challenged {
        /// The request.
        id: ChallengeId,
        /// Its leg; `None`: it is outside of dialogs.
        leg: Option<LegId>,
        /// Its method.
        method: Method,
        /// Its Request-URI.
        request_uri: String,
        /// The response, with its challenges.
        response: Message,
    },
    /// A request outside of dialogs that the listener serves. Await `respond_to`, for 64·T1 at most.
    Requested {
        /// The request.
        id: RequestId,
        /// Which way it came.
        flow: Flow,
        /// The request.
        request: Message,
    },
    /// A request of ours outside of dialogs is over.
    RequestDone {
        /// The request.
        id: RequestId,
        /// The final response, if one came.
        response: Option<Message>,
        /// Whether one came, and if not, why.
        cause: Failure,
        /// What the next request of its kind goes on with.
        sequence: Sequence,
    },
    /// The leg is over. Exactly once per leg, and its last event but for a challenged BYE.
    Ended {
        /// The leg.
        leg: LegId,
        /// How.
        how: Ended,
    },
}

impl Event {
    /// The leg that it is about.
    #[must_use]
    pub const fn leg(&self) -> Option<LegId> {
        match self {
            Self::Invited { leg, .. }
            | Self::Progress { leg, .. }
            | Self::ProgressConfirmed { leg, .. }
            | Self::Answered { leg, .. }
            | Self::Refused { leg, .. }
            | Self::Confirmed { leg, .. }
            | Self::Reinvited { leg, .. }
            | Self::ReinviteAnswered { leg, .. }
            | Self::ReinviteFailed { leg, .. }
            | Self::Info { leg, .. }
            | Self::Referred { leg, .. }
            | Self::ReferProgress { leg, .. }
            | Self::AnswerRefused { leg, .. }
            | Self::Ended { leg, .. } => Some(*leg),
            Self::Challenged { leg, .. } => *leg,
            Self::Requested { .. } | Self::RequestDone { .. } => None,
        }
    }
}

/// How a leg ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The peer cancelled its INVITE; 487 was sent.
    Cancelled {
        /// Values of CANCEL's Reason header (RFC 3326).
        reason: Option<String>,
    },
    /// We refused the INVITE.
    Rejected {
        /// Status code we sent.
        code: u16,
    },
    /// Our INVITE did not lead to a session.
    Failed {
        /// Status code that came, else 408, 487 or 503.
        code: u16,
        /// Reason phrase.
        reason: String,
        /// Where the code is from.
        cause: Failure,
    },
    /// BYE.
    Bye {
        /// Whether we sent it.
        by_us: bool,
        /// Values of its Reason header (RFC 3326).
        reason: Option<String>,
    },
    /// Our 2xx was not acknowledged for 64·T1. BYE was sent.
    NoAck,
    /// The peer no longer knows the dialog (481), or no longer answers in it or refreshes its session (408).
    DialogLost {
        /// 408 or 481.
        code: u16,
    },
}

/// Where the code of [`Ended::Failed`] is from, and how a request outside of dialogs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer's final response.
    Response,
    /// No response (408).
    TimedOut,
    /// Could not be delivered (503).
    Transport,
    /// We cancelled it.
    Cancelled,
}
