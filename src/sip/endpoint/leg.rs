//! One leg: an INVITE and the dialog that comes of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::net::Flow;

use super::{
    Attached, Header, Wake,
    reliable::{Early, Reliable},
    session::Session,
    table::TxId,
    transfer::Transfer,
};
use crate::{dialog::Dialog, wire::Message};

/// A leg of an endpoint.
#[derive(Debug)]
pub struct Leg {
    /// The flow that its dialog was made on.
    pub flow: Flow,
    /// Our tag.
    pub tag: Box<str>,
    pub phase: Phase,
    /// From the peer's INVITE, or from the 2xx to ours.
    pub dialog: Option<Dialog>,
    /// Whether we sent the first INVITE, and so own the Call-ID (RFC 3261 §14.1).
    pub is_caller: bool,
    pub unacked: Option<Box<Unacked>>,
    /// The peer's INVITE or UPDATE that awaits its answer.
    pub asked: Option<Box<Asked>>,
    /// Our reliable provisional responses to the peer's INVITE.
    pub reliable: Option<Box<Reliable>>,
    /// Number of the peer's first INVITE, as long as a PRACK may name it.
    pub invite_cseq: Option<u32>,
    /// Early dialogs of our INVITE.
    pub early: Vec<Early>,
    /// When it ends if nobody refreshes it.
    pub session: Option<Box<Session>>,
    /// Whether the peer allows UPDATE.
    pub peer_updates: bool,
    /// Our INVITE or UPDATE in the dialog.
    pub reinvite: Option<Box<Reinvite>>,
    /// BYE to send as soon as the ACK of our first 2xx came (RFC 3261 §15).
    pub bye_after_ack: Option<Vec<Header>>,
    /// REFERs of either side.
    pub transfer: Option<Box<Transfer>>,
    /// Whether challenges to our requests are told.
    pub challenges: bool,
    /// Parameter of our Contact.
    pub feature: Option<&'static str>,
    /// Whether a BYE of ours ends it.
    pub says_bye: bool,
    /// Whether `Ended` was told: what goes on is for the peer's sake alone.
    pub is_over: bool,
    /// The earliest wake-up that is under way for it.
    pub scheduled: Option<Instant>,
}

#[derive(Debug)]
pub enum Phase {
    /// The peer's INVITE has no final response yet.
    Ringing { tx: TxId, request: Box<Message> },
    /// Our INVITE has no final response yet.
    Calling { tx: TxId, provisional: bool, cancel: Cancel },
    /// A 2xx was sent or came.
    Established,
    /// BYE was sent.
    Ending,
}

/// How far our CANCEL is.
#[derive(Debug)]
pub enum Cancel {
    No,
    /// Wanted, but no provisional response came yet (RFC 3261 §9.1).
    Wanted(Vec<Header>),
    Sent {
        abandon_at: Instant,
    },
}

/// A 2xx of ours without ACK (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub struct Unacked {
    pub tx: TxId,
    pub cseq: u32,
    pub response: Bytes,
    pub first: bool,
    /// Whether it carried the offer, so that the ACK carries the answer.
    pub offered: bool,
    pub resend_after: Duration,
    pub resend_at: Instant,
    pub give_up_at: Instant,
}

#[derive(Debug)]
pub struct Asked {
    pub tx: TxId,
    pub request: Message,
    pub by: AskedBy,
}

/// The requests that an offer can come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    Invite,
    Update,
    Prack,
}

#[derive(Debug)]
pub struct Reinvite {
    /// Empty: an UPDATE without an offer.
    pub sdp: Bytes,
    /// What it carries beside the offer.
    pub attached: Option<Box<Attached>>,
    pub attempts: u8,
    /// Its transaction.
    pub tx: TxId,
    /// When a peer that answers with nothing but provisional responses is given up. An UPDATE has timer F.
    pub give_up_at: Option<Instant>,
    /// When to send it again after a 491; `None`: it is under way.
    pub retry_at: Option<Instant>,
    /// UPDATE instead of INVITE.
    pub is_update: bool,
    /// Whether it is only there to refresh the session, so that the layer above knows nothing of it.
    pub is_refresh: bool,
    /// What the layer above wanted while a refresh was under way: it goes out when that is over.
    pub next: Option<Box<Self>>,
}

impl Reinvite {
    /// How long a re-INVITE may go without a final response: a proxy's timer C (RFC 3261 §16.6).
    const TIME_MAX: Duration = Duration::from_secs(180);

    pub fn new(now: Instant, sdp: Bytes, is_update: bool, is_refresh: bool) -> Self {
        let mut new = Self {
            sdp,
            attached: None,
            attempts: 0,
            tx: 0,
            give_up_at: None,
            retry_at: None,
            is_update,
            is_refresh,
            next: None,
        };
        new.begin(now);
        new
    }

    /// Whether it has been under way for too long.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.retry_at.is_none() && self.give_up_at.is_some_and(|at| at <= now)
    }

    /// It is sent once more.
    pub fn begin(&mut self, now: Instant) {
        self.retry_at = None;
        self.give_up_at = (!self.is_update).then(|| now + Self::TIME_MAX);
    }
}

impl Leg {
    pub fn new(flow: Flow, tag: String, phase: Phase, dialog: Option<Dialog>) -> Self {
        Self {
            flow,
            tag: tag.into(),
            is_caller: matches!(phase, Phase::Calling { .. }),
            phase,
            dialog,
            unacked: None,
            asked: None,
            reliable: None,
            invite_cseq: None,
            early: Vec::new(),
            session: None,
            peer_updates: false,
            reinvite: None,
            bye_after_ack: None,
            transfer: None,
            says_bye: false,
            challenges: false,
            feature: None,
            is_over: false,
            scheduled: None,
        }
    }

    /// Whether we gave up calling.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self.phase, Phase::Calling { cancel: Cancel::Wanted(_) | Cancel::Sent { .. }, .. })
    }

    /// Its next deadline.
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        let unacked =
            self.unacked.as_ref().map(|unacked| (unacked.resend_at.min(unacked.give_up_at), Wake::Resend2xx));
        let reinvite = self.reinvite.as_ref();
        let retry = reinvite.and_then(|reinvite| reinvite.retry_at.or(reinvite.give_up_at));
        let retry = retry.map(|at| (at, Wake::RetryReinvite));
        let transfer = self.transfer.as_ref().and_then(|transfer| transfer.poll_timeout());
        let transfer = transfer.map(|at| (at, Wake::Refer));
        let session = self.session.as_ref().filter(|_| matches!(self.phase, Phase::Established));
        let session = session.map(|session| (session.poll_timeout(), Wake::Session));
        let abandon = match self.phase {
            Phase::Calling { cancel: Cancel::Sent { abandon_at }, .. } => {
                Some((abandon_at, Wake::AbandonCancelled))
            }
            Phase::Calling { .. } | Phase::Ringing { .. } | Phase::Established | Phase::Ending => None,
        };
        let reliable = self.reliable.as_ref().and_then(|reliable| reliable.poll_timeout());
        let reliable = reliable.map(|at| (at, Wake::Resend1xx));
        [unacked, retry, abandon, reliable, session, transfer].into_iter().flatten().min()
    }
}
