//! Reliable provisional responses and PRACK (RFC 3262), with their offers and answers (§5).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::{LegId, net::Flow};

use super::{
    Ended, Endpoint, Event, Failure, Header, Misuse,
    leg::{Asked, AskedBy, Leg, Phase},
    table::Purpose,
};
use crate::{
    body,
    dialog::Dialog,
    header::{RAck, parse_number, tokens},
    transaction::Input,
    typed,
    wire::{Message, Name},
};

/// Most provisional responses that wait for the PRACK of the one before.
const QUEUE_MAX: usize = 8;
/// Most early dialogs of one INVITE that are kept; provisional responses of further forks are only told.
const EARLY_MAX: usize = 16;
/// The option tag.
pub const TAG: &str = "100rel";

/// Our reliable provisional responses to one INVITE.
#[derive(Debug)]
pub struct Reliable {
    /// The peer requires that all of them are.
    all: bool,
    /// RSeq of the next one.
    next: u32,
    /// The one that has no PRACK yet; the next waits for it (§3).
    sent: Option<Sent>,
    /// One that the final response overtook: its PRACK is answered all the same.
    overtaken: Option<u32>,
    queue: VecDeque<(u16, Bytes, Vec<Header>)>,
    /// Whether one with a description was sent, or waits.
    described: bool,
    /// Whether one with a description has its PRACK, so that offer and answer are through.
    settled: bool,
    /// The 200 that waits for a PRACK.
    accept: Option<(Bytes, Vec<Header>)>,
}

#[derive(Debug)]
struct Sent {
    rseq: u32,
    code: u16,
    response: Bytes,
    described: bool,
    resend_after: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

/// An early dialog of our INVITE.
#[derive(Debug)]
pub struct Early {
    pub dialog: Dialog,
    /// RSeq of the last reliable response; `None`: none came.
    rseq: Option<u32>,
    /// The answer that came with one.
    sdp: Option<Bytes>,
}

impl Reliable {
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sent.as_ref().map(|sent| sent.resend_at.min(sent.give_up_at))
    }

    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether a description was given away reliably.
    pub const fn is_described(&self) -> bool {
        self.described
    }

    /// Whether the layer above has accepted already.
    pub const fn is_accepted(&self) -> bool {
        self.accept.is_some()
    }
}

impl Endpoint {
    /// Whether the peer of a new INVITE takes reliable provisional responses.
    pub(super) fn reliable_for(&mut self, request: &Message) -> Option<Box<Reliable>> {
        let names = |name| request.headers(name).flat_map(tokens).any(|tag| tag.eq_ignore_ascii_case(TAG));
        let all = names(Name::Require);
        if !self.config.extensions.reliable || !(all || names(Name::Supported)) {
            return None;
        }
        let next = 1 + u32::try_from(self.random.below(1 << 16)).unwrap_or(0);
        let queue = VecDeque::new();
        Some(Box::new(Reliable {
            all,
            next,
            sent: None,
            overtaken: None,
            queue,
            described: false,
            settled: false,
            accept: None,
        }))
    }

    /// Sends a provisional response reliably if it must be; `None`: it need not.
    pub(super) fn provisional_reliably(
        &mut self,
        now: Instant,
        id: LegId,
        code: u16,
        sdp: Option<&Bytes>,
        headers: &[Header],
    ) -> Option<Result<(), Misuse>> {
        let reliable = self.legs.get_mut(&id)?.reliable.as_mut()?;
        // Offer and answer go once; a second description would be another offer (RFC 3261 §13.2.1).
        let sdp = sdp.filter(|_| !reliable.described).cloned().unwrap_or_default();
        if !reliable.all && sdp.is_empty() {
            return None;
        }
        if reliable.queue.len() >= QUEUE_MAX {
            return Some(Err(Misuse::TooMany));
        }
        reliable.described |= !sdp.is_empty();
        reliable.queue.push_back((code, sdp, headers.to_vec()));
        self.send_next_reliable(now, id);
        Some(Ok(()))
    }

    fn send_next_reliable(&mut self, now: Instant, id: LegId) {
        let timers = self.config.timers;
        let Ok((tx, request)) = self.ringing(id) else { return };
        let Some(reliable) = self.legs.get_mut(&id).and_then(|leg| leg.reliable.as_mut()) else { return };
        if reliable.sent.is_some() {
            return;
        }
        let Some((code, sdp, mut headers)) = reliable.queue.pop_front() else { return };
        let rseq = reliable.next;
        reliable.next += 1;
        headers.push(Header::new("Require", TAG));
        headers.push(Header::new("RSeq", rseq.to_string()));
        let response = self.respond_ringing(now, id, tx, &request, code, &sdp, &headers);
        if let Some(reliable) = self.legs.get_mut(&id).and_then(|leg| leg.reliable.as_mut()) {
            reliable.sent = Some(Sent {
                rseq,
                code,
                response,
                described: !sdp.is_empty(),
                resend_after: timers.t1,
                resend_at: now + timers.t1,
                give_up_at: now + timers.give_up(),
            });
        }
        self.schedule_leg(id);
    }

    /// Whether a 200 has to wait for a PRACK (§3: only behind a description); it is kept then.
    pub(super) fn accept_waits(&mut self, id: LegId, sdp: &Bytes, headers: &[Header]) -> bool {
        let Some(reliable) = self.legs.get_mut(&id).and_then(|leg| leg.reliable.as_mut()) else {
            return false;
        };
        if reliable.described && !reliable.settled {
            reliable.accept = Some((sdp.clone(), headers.to_vec()));
            return true;
        }
        reliable.queue.clear();
        reliable.overtaken = reliable.sent.take().map(|sent| sent.rseq);
        false
    }

    /// Sends the unacknowledged one again, without a longest pause (§3), or refuses the INVITE.
    pub(super) fn wake_reliable(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Phase::Ringing { tx, .. } = leg.phase else { return };
        let Some(sent) = leg.reliable.as_mut().and_then(|reliable| reliable.sent.as_mut()) else { return };
        if now >= sent.give_up_at {
            let reason = typed::reason_phrase(504).to_owned();
            let how = Ended::Failed { code: 504, reason, cause: Failure::TimedOut };
            return self.finish_ringing(now, id, 504, None, &[], how);
        }
        if now >= sent.resend_at {
            sent.resend_after *= 2;
            sent.resend_at = now + sent.resend_after;
            let (code, response) = (sent.code, sent.response.clone());
            self.retransmitted += 1;
            self.drive(now, tx, Input::Respond(code, response));
        }
    }

    /// A PRACK (§3): 481 when it is for nothing that waits for one.
    pub(super) fn on_prack(&mut self, now: Instant, flow: Flow, id: LegId, request: &Message) {
        let Some(rack) = request.header(Name::RAck).and_then(RAck::parse) else {
            return self.refuse(flow, request, 400, &[], "a PRACK without a RAck");
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let is_first = leg.invite_cseq == Some(rack.cseq) && rack.method == "INVITE";
        let taken = leg.reliable.as_mut().filter(|_| is_first).and_then(|reliable| {
            let sent = reliable.sent.take_if(|sent| sent.rseq == rack.rseq);
            let overtaken = reliable.overtaken.take_if(|rseq| *rseq == rack.rseq).is_some();
            let described = sent.as_ref().is_some_and(|sent| sent.described);
            let was_settled = reliable.settled;
            reliable.settled |= described;
            (sent.is_some() || overtaken).then_some((described, was_settled))
        });
        let Some((described, was_settled)) = taken else {
            return self.refuse(flow, request, 481, &[], "a PRACK of nothing");
        };
        let tx = self.start_server(flow, request, Some(id));
        let sdp = body::description(request).ok().flatten();
        let we_offered = matches!(self.legs.get(&id).map(|leg| &leg.phase),
            Some(Phase::Ringing { request, .. }) if request.body().is_empty());
        match (sdp, we_offered && described) {
            // A new offer, once the first one is answered (§5).
            (Some(sdp), false) if described || was_settled => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.asked = Some(Box::new(Asked { tx, request: request.clone(), by: AskedBy::Prack }));
                }
                self.tell(Event::ProgressConfirmed { leg: id, sdp: None });
                self.tell(Event::Reinvited { leg: id, sdp: Some(sdp) });
            }
            (sdp, answers) => {
                self.respond_plain(now, id, tx, request, 200, &[]);
                self.tell(Event::ProgressConfirmed { leg: id, sdp: sdp.filter(|_| answers) });
            }
        }
        self.go_on_ringing(now, id);
    }

    fn go_on_ringing(&mut self, now: Instant, id: LegId) {
        self.send_next_reliable(now, id);
        let reliable = self.legs.get_mut(&id).and_then(|leg| leg.reliable.as_mut());
        let accept = reliable.filter(|reliable| reliable.settled).and_then(|reliable| reliable.accept.take());
        if let Some((sdp, headers)) = accept {
            let _ringing = self.accept(now, id, sdp, &headers);
        }
    }

    /// A provisional response to our INVITE, before it is told; `false`: it is to be dropped, being a copy or out of
    /// order (§4). A reliable one gets its PRACK.
    pub(super) fn is_progress_in_order(&mut self, now: Instant, id: LegId, response: &Message) -> bool {
        let requires =
            response.headers(Name::Require).flat_map(tokens).any(|tag| tag.eq_ignore_ascii_case(TAG));
        let rseq = response.header(Name::RSeq).and_then(|value| parse_number(value, i32::MAX as u64));
        let rseq = rseq.filter(|_| requires && self.config.extensions.reliable);
        if response.code() == 100 || response.to_tag().is_none() {
            return true;
        }
        if rseq.is_none() && !self.config.extensions.transfers {
            return true;
        }
        let full = self.table_is_full();
        let Some(early) = self.early_of(id, response) else { return true };
        let Some(rseq) = rseq.and_then(|rseq| u32::try_from(rseq).ok()) else { return true };
        // What cannot be acknowledged now comes again.
        if full || early.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        early.rseq = Some(rseq);
        if let Ok(Some(sdp)) = body::description(response) {
            early.sdp.get_or_insert(sdp);
        }
        early.dialog.refresh_target(response);
        let mut dialog = early.dialog.clone();
        let rack = format!("{rseq} {} INVITE", response.cseq());
        self.send_in(now, id, &mut dialog, Purpose::Prack, "PRACK", &[Header::new("RAck", rack)], ("", &[]));
        if let Some(early) = self.early_of(id, response) {
            early.dialog = dialog;
        }
        true
    }

    /// The early dialog of a response, made by its first one.
    fn early_of(&mut self, id: LegId, response: &Message) -> Option<&mut Early> {
        let tag = response.to_tag()?;
        let leg = self.legs.get(&id)?;
        let Phase::Calling { tx, .. } = leg.phase else { return None };
        if !leg.early.iter().any(|early| early.dialog.remote_tag() == tag) {
            if leg.early.len() >= EARLY_MAX {
                return None;
            }
            let dialog = Dialog::of_client(&self.sent_invite(tx)?, response);
            let leg = self.legs.get_mut(&id)?;
            leg.dialog.get_or_insert_with(|| dialog.clone());
            leg.early.push(Early { dialog, rseq: None, sdp: None });
        }
        let leg = self.legs.get_mut(&id)?;
        leg.early.iter_mut().find(|early| early.dialog.remote_tag() == tag)
    }
}

impl Leg {
    /// The numbers of an early dialog go on in the dialog that a 2xx makes of it. Gives the answer that came early.
    pub fn go_on_from_early(&mut self, dialog: &mut Dialog) -> Option<Bytes> {
        let place = self.early.iter().position(|early| early.dialog.remote_tag() == dialog.remote_tag())?;
        // The other forks stay: one that answers, too, gets a BYE with the next of its own numbers.
        let early = self.early.swap_remove(place);
        let remote = self.dialog.as_ref().filter(|known| known.remote_tag() == dialog.remote_tag());
        dialog.go_on_from(&early.dialog, remote);
        early.sdp
    }

    /// Whether our offer has its answer already, in a reliable provisional response.
    pub fn is_answered_early(&self) -> bool {
        self.early.iter().any(|early| early.sdp.is_some())
    }
}
