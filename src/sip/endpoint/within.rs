//! Requests from the peer within a dialog (RFC 3261 §12.2.2, §14.2, §15.1.2; RFC 3311; RFC 6086).

use std::time::Instant;

use model::{LegId, net::Flow};

use super::{
    Ended, Endpoint, Event, Header,
    leg::{Asked, AskedBy, Phase},
    serve::reason_of,
    table::{TxId, number_in},
};
use crate::{
    body,
    header::MediaType,
    wire::{Message, Method, Name},
};

/// Bound of the Retry-After of a 500 (RFC 3261 §14.2), in seconds.
const RETRY_AFTER_S: u64 = 11;

impl Endpoint {
    pub(super) fn on_request_within(&mut self, now: Instant, flow: Flow, request: &Message) {
        let Some(id) = self.leg_of(request) else {
            return self.refuse(flow, request, 481, &[], "the dialog is not known");
        };
        if self.table_is_full() && request.method() != Method::Bye {
            return self.refuse_full(flow, request, "the table of transactions is full");
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.is_over && request.method() != Method::Bye {
            return self.refuse(flow, request, 481, &[], "the dialog is over");
        }
        let in_order = leg.dialog.as_mut().is_some_and(|dialog| dialog.take_remote_cseq(request.cseq()));
        if !in_order {
            return self.refuse(flow, request, 500, &[], "the CSeq is lower than one before");
        }
        if flow.transport.is_reliable()
            && flow.transport == leg.flow.transport
            && flow.remote.ip() == leg.flow.remote.ip()
        {
            leg.flow = flow;
        }
        let method = request.method();
        if method == Method::Bye {
            self.on_bye(now, flow, id, request);
        } else if method == Method::Info {
            self.on_info(now, flow, id, request);
        } else if method == Method::Prack {
            self.on_prack(now, flow, id, request);
        } else if method == Method::Refer {
            self.on_refer(flow, id, request);
        } else if method == Method::Notify {
            self.on_notify(now, flow, id, request);
        } else if method == Method::Options {
            // Its 200 says that the dialog is alive (RFC 3261 §11).
            let tx = self.start_server(flow, request, Some(id));
            self.respond_within(now, id, tx, request, 200, &[]);
        } else if method == Method::Invite {
            self.on_reinvite(now, flow, id, request);
        } else {
            self.on_update(now, flow, id, request);
        }
    }

    /// The leg whose dialog a request names; our tag holds its number.
    fn leg_of(&self, request: &Message) -> Option<LegId> {
        let id = LegId(number_in(request.to_tag()?)?);
        let dialog = self.legs.get(&id)?.dialog.as_ref()?;
        dialog.is_of(request).then_some(id)
    }

    fn on_bye(&mut self, now: Instant, flow: Flow, id: LegId, request: &Message) {
        if matches!(self.legs.get(&id).map(|leg| &leg.phase), Some(Phase::Calling { .. })) {
            // It answers our INVITE instead (§15).
            return self.refuse(flow, request, 481, &[], "a callee's BYE in an early dialog");
        }
        self.answer_pending(now, id);
        let tx = self.start_server(flow, request, None);
        self.respond_plain(now, id, tx, request, 200, &[]);
        let how = Ended::Bye { by_us: false, reason: reason_of(request) };
        match self.legs.get_mut(&id).filter(|leg| leg.is_notifying()) {
            // The peer may hang up and listen on (RFC 5057 §4.1): the REFER's subscription uses the dialog as well.
            Some(leg) => {
                leg.phase = Phase::Ending;
                leg.unacked = None;
                leg.session = None;
                self.tell_end(id, how);
            }
            None => self.end_leg(id, how),
        }
    }

    /// What the peer still waits for is answered before its BYE ends it all (§15.1.2).
    pub(super) fn answer_pending(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(asked) = leg.asked.take() {
            self.respond_plain(now, id, asked.tx, &asked.request, 487, &[]);
        }
        self.answer_refer(now, id);
        let Some(leg) = self.legs.get(&id) else { return };
        if let Phase::Ringing { tx, request } = &leg.phase {
            let (tx, request) = (*tx, request.clone());
            self.respond_plain(now, id, tx, &request, 487, &[]);
        }
    }

    fn on_info(&mut self, now: Instant, flow: Flow, id: LegId, request: &Message) {
        let tx = self.start_server(flow, request, Some(id));
        self.respond_plain(now, id, tx, request, 200, &[]);
        let kind = request.header(Name::ContentType).and_then(MediaType::parse);
        let content_type = kind.map(|kind| format!("{}/{}", kind.kind, kind.subtype).to_ascii_lowercase());
        self.tell(Event::Info {
            leg: id,
            content_type: content_type.unwrap_or_default(),
            body: request.body_bytes(),
        });
    }

    fn on_reinvite(&mut self, now: Instant, flow: Flow, id: LegId, request: &Message) {
        let Some(leg) = self.legs.get(&id) else { return };
        let unanswered = leg.asked.is_some() || matches!(leg.phase, Phase::Ringing { .. });
        let calling = matches!(leg.phase, Phase::Calling { .. });
        let under_way = calling || leg.reinvite.as_ref().is_some_and(|reinvite| reinvite.retry_at.is_none());
        if unanswered {
            return self.refuse_overlap(flow, request);
        }
        // Our own INVITE is under way, or the ACK of the peer's last one.
        if under_way || leg.unacked.is_some() {
            return self.refuse(flow, request, 491, &[], "another INVITE is under way in the dialog");
        }
        let tx = self.start_server(flow, request, Some(id));
        self.send_trying_within(now, id, tx, request);
        self.ask(id, tx, request, AskedBy::Invite);
    }

    /// UPDATE with a description asks like a re-INVITE; without one it only refreshes the target (RFC 3311 §5.2).
    fn on_update(&mut self, now: Instant, flow: Flow, id: LegId, request: &Message) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if request.body().is_empty() {
            if let Some(dialog) = &mut leg.dialog {
                dialog.refresh_target(request);
            }
            let tx = self.start_server(flow, request, Some(id));
            let headers = self.session_as_server(now, id, request, &[]);
            return self.respond_within(now, id, tx, request, 200, &headers);
        }
        let settled = leg.reliable.as_ref().is_some_and(|reliable| reliable.is_settled());
        if leg.asked.is_some() || (matches!(leg.phase, Phase::Ringing { .. }) && !settled) {
            return self.refuse_overlap(flow, request);
        }
        let our_offer = matches!(leg.phase, Phase::Calling { .. }) && !leg.is_answered_early();
        let under_way = leg.reinvite.as_ref().is_some_and(|reinvite| reinvite.retry_at.is_none());
        if our_offer || under_way || leg.unacked.as_ref().is_some_and(|unacked| unacked.offered) {
            return self.refuse(flow, request, 491, &[], "another INVITE is under way in the dialog");
        }
        let tx = self.start_server(flow, request, Some(id));
        self.ask(id, tx, request, AskedBy::Update);
    }

    fn ask(&mut self, id: LegId, tx: TxId, request: &Message, by: AskedBy) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.asked = Some(Box::new(Asked { tx, request: request.clone(), by }));
        let sdp = body::description(request).ok().flatten();
        self.tell(Event::Reinvited { leg: id, sdp });
    }

    pub(super) fn refuse_overlap(&mut self, flow: Flow, request: &Message) {
        let seconds = self.random.below(RETRY_AFTER_S);
        let retry = Header::new("Retry-After", seconds.to_string());
        self.refuse(flow, request, 500, &[retry], "the last offer in the dialog is not answered yet");
    }

    /// Takes the ACK of a 2xx; `false` when it is of none.
    pub(super) fn acknowledge_2xx(&mut self, now: Instant, ack: &Message) -> bool {
        let Some(id) = self.leg_of(ack) else { return false };
        let Some(leg) = self.legs.get_mut(&id) else { return false };
        let Some(unacked) = leg.unacked.take_if(|unacked| unacked.cseq == ack.cseq()) else { return false };
        let is_over = leg.is_over;
        leg.reliable = None;
        let bye = leg.bye_after_ack.take();
        if !is_over && (unacked.first || unacked.offered) {
            let sdp = body::description(ack).ok().flatten().filter(|_| unacked.offered);
            self.tell(Event::Confirmed { leg: id, sdp });
        }
        if let Some(headers) = bye {
            self.send_bye(now, id, &headers);
        }
        true
    }
}
