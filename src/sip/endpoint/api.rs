//! What goes into an [`Endpoint`](super::Endpoint) and what comes out of it: plain data, no behaviour.

use std::borrow::Cow;

use bytes::Bytes;
use model::net::{Flow, Transport};

use super::Event;
use crate::{
    transaction::{Timer, Timers},
    wire::{Malformed, Message, Method},
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
    /// Size in octets above which a request that would go by UDP goes by its TCP flow, if it is given one (RFC 3261
    /// §18.1.1). [`MTU`] where the path is not known.
    pub mtu: usize,
    /// What is served beyond RFC 3261.
    pub extensions: Extensions,
}

/// RFC 3261 §18.1.1, in octets.
pub const MTU: usize = 1_300;

/// Extensions that can be left out. Only what is on is advertised in Supported and Allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extensions {
    /// Reliable provisional responses (RFC 3262), `100rel`.
    pub reliable: bool,
    /// Session timers (RFC 4028), `timer`. `None`: sessions never expire.
    pub session: Option<SessionTimer>,
    /// REFER (RFC 3515, RFC 4488) and Replaces (RFC 3891): the layer above decides on [`Event::Referred`], and heeds
    /// `replaces` of [`Event::Invited`].
    pub transfers: bool,
}

impl Default for Extensions {
    fn default() -> Self {
        Self { reliable: true, session: Some(SessionTimer::default()), transfers: false }
    }
}

/// How long a session may go without a refresh (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// What we ask for, in seconds; at least `min_s`.
    pub expires_s: u32,
    /// The least that we take, in seconds; at least 90 (§5).
    pub min_s: u32,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self { expires_s: 1_800, min_s: 90 }
    }
}

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// What it speaks.
    pub transport: Transport,
    /// Advertised `host:port`, as it stands in our Via and Contact headers.
    pub sent_by: String,
    /// Whether REGISTER is told to the layer above; else it is answered 405.
    pub serves_register: bool,
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
    /// A reliable provisional response has no PRACK yet and is sent again, or the INVITE refused (RFC 3262 §3).
    Resend1xx,
    /// A re-INVITE that was answered 491 is sent again (RFC 3261 §14.1), or one without a final response given up.
    RetryReinvite,
    /// A session is refreshed, or ended because it was not (RFC 4028 §10).
    Session,
    /// The subscription of a REFER is over (RFC 6665 §4.1.2).
    Refer,
    /// A cancelled INVITE got no final response for 64·T1 (RFC 3261 §9.1).
    AbandonCancelled,
    /// The layer above has not answered a challenge or a request for 64·T1.
    Undecided,
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
    /// Whether 401 and 407 are told as [`Event::Challenged`], for this INVITE and what follows it on the leg.
    pub challenges: bool,
    /// Where it goes first if it is larger than [`Config::mtu`] and `flow` is UDP.
    pub tcp: Option<Flow>,
    /// What it carries beside the offer.
    pub attached: Option<Box<Attached>>,
    /// What we are, as a parameter of our Contact (RFC 3840) for as long as the leg lives, with its semicolon: `;+sip.src`.
    pub feature: Option<&'static str>,
}

/// A part of a body beside the session description (RFC 5621).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Content-Type.
    pub content_type: &'static str,
    /// Content-Disposition.
    pub disposition: &'static str,
    /// Content-ID without brackets, which `cid:` URIs name (RFC 2392).
    pub content_id: String,
    /// The part. No line of it may begin with [`BOUNDARY`] after two hyphens.
    pub content: Bytes,
}

/// What parts the parts of a body.
pub const BOUNDARY: &str = "switchboard-part";

/// A request outside of dialogs to send: OPTIONS, REGISTER.
#[derive(Debug, Clone)]
pub struct OutOfDialog {
    /// By which path.
    pub flow: Flow,
    /// Where it goes first if it is larger than [`Config::mtu`] and `flow` is UDP.
    pub tcp: Option<Flow>,
    /// Any but INVITE, ACK and CANCEL.
    pub method: Method,
    /// Request-URI.
    pub request_uri: String,
    /// Name-addr of From, without a tag.
    pub from: String,
    /// Name-addr of To.
    pub to: String,
    /// What it goes on with; `None`: nothing. All REGISTERs of one registration go on with each other (RFC 3261
    /// §10.2).
    pub sequence: Option<Sequence>,
    /// Further header fields, Contact among them.
    pub headers: Vec<Header>,
    /// Content-Type and the body. Both empty: none.
    pub body: (String, Bytes),
    /// Whether 401 and 407 are told as [`Event::Challenged`].
    pub challenges: bool,
}

/// Requests outside of dialogs that belong together: their Call-ID, and the number that the last one had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Call-ID.
    pub call_id: String,
    /// Number of CSeq; the next request has a higher one.
    pub cseq: u32,
}

/// A request outside of dialogs, of ours or of a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request of ours that was challenged and waits for credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChallengeId(pub u64);

/// An order that does not fit the leg. The leg is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// It has ended, or never was.
    #[error("there is no such leg")]
    NoSuchLeg,
    /// It is answered, given up after 64·T1, or never was.
    #[error("there is no such request")]
    NoSuchRequest,
    /// For instance `accept` on a leg that we called.
    #[error("the leg is not in a state that allows this")]
    WrongState,
    /// An INVITE of either side is under way in the dialog (RFC 3261 §14.1).
    #[error("another INVITE is under way in the dialog")]
    InviteUnderWay,
    /// Not 101 to 199, or not 300 to 699.
    #[error("the status code does not belong there")]
    BadCode,
    /// Its Allow field does not name the method.
    #[error("the peer does not allow the method")]
    NotAllowed,
    /// So many provisional responses wait for the PRACK of the one before.
    #[error("too many provisional responses wait to be sent")]
    TooMany,
    /// `transactions_max` is reached.
    #[error("the transaction table is full")]
    TableFull,
}

/// `legs_max` or `transactions_max` is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the table of legs or of transactions is full")]
pub struct Full;
