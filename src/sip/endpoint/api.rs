//! What goes into an [`Endpoint`](super::Endpoint) and what comes out of it: plain data, no behaviour.

use std::borrow::Cow;

use bytes::Bytes;
use model::{
    LegId,
    net::{Flow, Transport},
};

use crate::{
    transaction::{Timer, Timers},
    wire::{Malformed, Message},
};

/// What an endpoint is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our listeners; a [`model::net::ListenerIx`] is a place in it.
    pub listeners: Vec<ListenerConfig>,
    /// Begins every tag, branch parameter and Contact user of ours, so that whoever receives a message knows whose
    /// it is. Characters of `token` (RFC 3261 §25.1) without `-`; at most 32.
    pub token: String,
    /// Text of User-Agent and Server headers. Empty: none is sent.
    pub user_agent: String,
    /// Most legs at a time; an INVITE beyond is answered 503.
    pub legs_max: usize,
    /// Most transactions at a time; a request beyond is answered 503 without keeping anything.
    pub transactions_max: usize,
    /// Base values of the timers.
    pub timers: Timers,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// What it speaks.
    pub transport: Transport,
    /// Advertised `host:port`, as it stands in our Via and Contact headers.
    pub sent_by: String,
}

/// What happened.
#[expect(
    clippy::large_enum_variant,
    reason = "a message is moved once and a box would cost an allocation each"
)]
#[derive(Debug)]
pub enum Input {
    /// A well-formed message came.
    Message {
        /// By which path.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// Something came that is no SIP message.
    Malformed {
        /// By which path.
        flow: Flow,
        /// Why, and what was understood of it.
        malformed: Malformed,
    },
    /// What was sent by this flow could not be delivered: connection refused or lost, ICMP error.
    Unreachable {
        /// The flow that failed.
        flow: Flow,
    },
    /// The deadline of `poll_timeout` has come. Early is harmless.
    Timeout,
}

impl Input {
    /// Parses a datagram.
    #[must_use]
    pub fn datagram(flow: Flow, bytes: Bytes) -> Self {
        match Message::parse(bytes) {
            Ok(message) => Self::Message { flow, message },
            Err(malformed) => Self::Malformed { flow, malformed },
        }
    }
}

/// What is to be done.
#[expect(
    clippy::large_enum_variant,
    reason = "a message is moved once and a box would cost an allocation each"
)]
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// By which path.
        flow: Flow,
        /// One whole message.
        bytes: Bytes,
    },
    /// Tell the layer above.
    Event(Event),
    /// Log one line: a peer did something it should not.
    Note(Note),
}

/// A bad message and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it came from.
    pub flow: Flow,
    /// What was wrong, as one sentence.
    pub what: Cow<'static, str>,
    /// What was done.
    pub done: Done,
}

/// What was done about a bad message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was answered with this status code.
    Answered(u16),
    /// Nothing was sent.
    Dropped,
}

/// Why the endpoint asks to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A timer of a transaction.
    Transaction(Timer),
    /// A 2xx was not acknowledged yet and is sent again, or given up (RFC 3261 §13.3.1.4).
    Resend2xx,
    /// A re-INVITE that was answered 491 is sent again (RFC 3261 §14.1), or one without a final response given up.
    RetryReinvite,
    /// A cancelled INVITE got no final response for 64·T1 (RFC 3261 §9.1).
    AbandonCancelled,
}

/// A header field that the layer above adds to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Field name. Characters of `token`.
    pub name: Cow<'static, str>,
    /// Field value. CR and LF are sent as spaces.
    pub value: String,
}

impl Header {
    /// From name and value.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// An INVITE to send.
#[derive(Debug, Clone)]
pub struct Invite {
    /// By which path.
    pub flow: Flow,
    /// Request-URI, such as `sip:+18005550100@192.0.2.1`.
    pub request_uri: String,
    /// Name-addr of From, without a tag.
    pub from: String,
    /// Name-addr of To, without a tag.
    pub to: String,
    /// The offer. `None`: none is made, and the ACK carries no answer.
    pub sdp: Option<Bytes>,
    /// Max-Forwards.
    pub max_forwards: u8,
    /// Further header fields.
    pub headers: Vec<Header>,
}

/// What happened on a leg.
#[expect(
    clippy::large_enum_variant,
    reason = "a message is moved once and a box would cost an allocation each"
)]
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
    /// The first 2xx to our INVITE. The ACK has been sent.
    Answered {
        /// The leg.
        leg: LegId,
        /// The answer.
        sdp: Option<Bytes>,
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
    /// The leg is over. Exactly once per leg, and its last event.
    Ended {
        /// The leg.
        leg: LegId,
        /// How.
        how: Ended,
    },
}

/// How a leg ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The peer cancelled its INVITE; 487 was sent.
    Cancelled {
        /// Value of CANCEL's Reason header.
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
        /// Value of its Reason header.
        reason: Option<String>,
    },
    /// Our 2xx was not acknowledged for 64·T1. BYE was sent.
    NoAck,
    /// The peer no longer knows the dialog (481) or no longer answers in it (408).
    DialogLost {
        /// 408 or 481.
        code: u16,
    },
}

/// Where the code of [`Ended::Failed`] is from.
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

/// An order that does not fit the leg. The leg is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// It has ended, or never was.
    #[error("there is no such leg")]
    NoSuchLeg,
    /// For instance `accept` on a leg that we called.
    #[error("the leg is not in a state that allows this")]
    WrongState,
    /// An INVITE of either side is under way in the dialog (RFC 3261 §14.1).
    #[error("another INVITE is under way in the dialog")]
    InviteUnderWay,
    /// Not 101 to 199, or not 300 to 699.
    #[error("the status code does not belong there")]
    BadCode,
    /// `transactions_max` is reached.
    #[error("the transaction table is full")]
    TableFull,
}

/// `legs_max` or `transactions_max` is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the table of legs or of transactions is full")]
pub struct Full;
