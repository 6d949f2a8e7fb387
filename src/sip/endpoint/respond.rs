//! Orders about the peer's INVITEs, and the responses that carry them out (RFC 3261 §13.3, §14.2).

use std::time::Instant;

use bytes::Bytes;
use model::LegId;

use super::{
    Ended, Endpoint, Header, Misuse,
    leg::{AskedBy, Leg, Phase, Unacked},
    table::TxId,
};
use crate::{
    transaction::Input,
    typed,
    wire::{Message, Method, Name, copy_for_response},
};

/// What a response carries besides what it copies.
#[derive(Debug, Default)]
struct Extra<'a> {
    reason: Option<&'a str>,
    headers: &'a [Header],
    sdp: &'a [u8],
    /// Contact, Allow, and Record-Route where a dialog is made.
    contact: bool,
}

impl Endpoint {
    /// Sends a provisional response, 101 to 199, to the peer's INVITE; reliably if the peer takes it and it carries a
    /// description, or the peer requires it (RFC 3262).
    ///
    /// # Errors
    /// When the leg does not await an answer to its INVITE, or the code is another.
    pub fn provisional(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        sdp: Option<Bytes>,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        if !(101..200).contains(&code) {
            return Err(Misuse::BadCode);
        }
        let (tx, request) = self.ringing(leg)?;
        if let Some(done) = self.provisional_reliably(now, leg, code, sdp.as_ref(), headers) {
            return done;
        }
        // What was offered or answered reliably is not said again.
        let reliably = self.live(leg)?.reliable.as_ref().is_some_and(|reliable| reliable.is_described());
        let sdp = sdp.filter(|_| !reliably).unwrap_or_default();
        self.respond_ringing(now, leg, tx, &request, code, &sdp, headers);
        Ok(())
    }

    /// Answers the peer's INVITE with 200, sent again until its ACK comes (RFC 3261 §13.3.1.4). It waits for the PRACK of
    /// a description that went before (RFC 3262 §3), and then carries none itself.
    ///
    /// # Errors
    /// When the leg does not await an answer to its INVITE.
    pub fn accept(&mut self, now: Instant, leg: LegId, sdp: Bytes, headers: &[Header]) -> Result<(), Misuse> {
        let (tx, request) = self.ringing(leg)?;
        if self.accept_waits(leg, &sdp, headers) {
            return Ok(());
        }
        // Offer and answer are through by PRACK: a description here would be another offer (RFC 3261 §13.2.1).
        let settled = self.live(leg)?.reliable.as_ref().is_some_and(|reliable| reliable.is_settled());
        let ours = sdp;
        let sdp = if settled { Bytes::new() } else { ours.clone() };
        let mut all = self.session_as_server(now, leg, &request, &ours);
        all.extend_from_slice(headers);
        let response = self.respond_ringing(now, leg, tx, &request, 200, &sdp, &all);
        let offered = request.body().is_empty() && !settled;
        if let Some(leg) = self.legs.get_mut(&leg) {
            leg.phase = Phase::Established;
        }
        self.await_ack(now, leg, tx, &request, response, true, offered);
        Ok(())
    }

    /// Refuses the peer's INVITE with a code from 300 to 699. The leg ends.
    ///
    /// # Errors
    /// When the leg does not await an answer to its INVITE, or the code is another.
    pub fn reject(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        reason: Option<&str>,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        if !(300..700).contains(&code) {
            return Err(Misuse::BadCode);
        }
        self.ringing(leg)?;
        self.finish_ringing(now, leg, code, reason, headers, Ended::Rejected { code });
        Ok(())
    }

    /// Answers the peer's re-INVITE or UPDATE with 200.
    ///
    /// # Errors
    /// When there is none to answer: it may have been cancelled.
    pub fn answer_reinvite(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), Misuse> {
        let asked = self.live(leg)?.asked.take().ok_or(Misuse::WrongState)?;
        if let Some(dialog) = self.legs.get_mut(&leg).and_then(|leg| leg.dialog.as_mut()) {
            dialog.refresh_target(&asked.request);
        }
        let headers = match asked.by {
            AskedBy::Invite | AskedBy::Update => self.session_as_server(now, leg, &asked.request, &sdp),
            AskedBy::Prack => Vec::new(),
        };
        let extra = Extra { sdp: &sdp, headers: &headers, contact: true, ..Extra::default() };
        let response = self.respond(now, leg, asked.tx, &asked.request, 200, &extra);
        if asked.by == AskedBy::Invite {
            let offered = asked.request.body().is_empty();
            self.await_ack(now, leg, asked.tx, &asked.request, response, false, offered);
        }
        Ok(())
    }

    /// Refuses the peer's re-INVITE or UPDATE; the session goes on as it was.
    ///
    /// # Errors
    /// When there is none to answer, or the code is not from 300 to 699.
    pub fn reject_reinvite(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), Misuse> {
        if !(300..700).contains(&code) {
            return Err(Misuse::BadCode);
        }
        let asked = self.live(leg)?.asked.take().ok_or(Misuse::WrongState)?;
        self.respond_plain(now, leg, asked.tx, &asked.request, code, &[]);
        Ok(())
    }

    /// A response to the peer's INVITE that makes its dialog.
    #[expect(clippy::too_many_arguments, reason = "it is what makes up a response")]
    pub(super) fn respond_ringing(
        &mut self,
        now: Instant,
        id: LegId,
        tx: TxId,
        request: &Message,
        code: u16,
        sdp: &[u8],
        headers: &[Header],
    ) -> Bytes {
        self.respond(now, id, tx, request, code, &Extra { headers, sdp, contact: true, ..Extra::default() })
    }

    /// The final response to the INVITE of a leg that rings, and the leg's end.
    pub(super) fn finish_ringing(
        &mut self,
        now: Instant,
        id: LegId,
        code: u16,
        reason: Option<&str>,
        headers: &[Header],
        how: Ended,
    ) {
        let Ok((tx, request)) = self.ringing(id) else { return };
        self.respond(now, id, tx, &request, code, &Extra { reason, headers, ..Extra::default() });
        self.end_leg(id, how);
    }

    /// A response that says nothing about the session.
    pub(super) fn respond_plain(
        &mut self,
        now: Instant,
        id: LegId,
        tx: TxId,
        request: &Message,
        code: u16,
        headers: &[Header],
    ) {
        self.respond(now, id, tx, request, code, &Extra { headers, ..Extra::default() });
    }

    /// A response to a target refresh.
    pub(super) fn respond_within(
        &mut self,
        now: Instant,
        id: LegId,
        tx: TxId,
        request: &Message,
        code: u16,
        headers: &[Header],
    ) {
        let extra = Extra { headers, contact: true, ..Extra::default() };
        self.respond(now, id, tx, request, code, &extra);
    }

    /// Sends our 2xx again, or gives up on its ACK.
    pub(super) fn wake_unacked(&mut self, now: Instant, id: LegId) {
        let t2 = self.config.timers.t2;
        let Some(unacked) = self.legs.get_mut(&id).and_then(|leg| leg.unacked.as_mut()) else { return };
        if now >= unacked.give_up_at {
            return self.give_up_on_ack(now, id);
        }
        if now >= unacked.resend_at {
            unacked.resend_after = (2 * unacked.resend_after).min(t2);
            unacked.resend_at = now + unacked.resend_after;
            let (tx, response) = (unacked.tx, unacked.response.clone());
            self.retransmitted += 1;
            self.drive(now, tx, Input::Respond(200, response));
        }
    }

    fn give_up_on_ack(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.unacked = None;
        let headers = leg.bye_after_ack.take().unwrap_or_default();
        self.tell_end(id, Ended::NoAck);
        self.send_bye(now, id, &headers);
    }

    /// The leg, if `Ended` was not told.
    pub(super) fn live(&mut self, id: LegId) -> Result<&mut Leg, Misuse> {
        self.legs.get_mut(&id).map(AsMut::as_mut).filter(|leg| !leg.is_over).ok_or(Misuse::NoSuchLeg)
    }

    pub(super) fn ringing(&mut self, id: LegId) -> Result<(TxId, Message), Misuse> {
        let leg = self.live(id)?;
        match &leg.phase {
            Phase::Ringing { tx, request } => Ok((*tx, (**request).clone())),
            Phase::Calling { .. } | Phase::Established | Phase::Ending => Err(Misuse::WrongState),
        }
    }

    fn respond(
        &mut self,
        now: Instant,
        id: LegId,
        tx: TxId,
        request: &Message,
        code: u16,
        extra: &Extra<'_>,
    ) -> Bytes {
        let Some(leg) = self.legs.get(&id) else { return Bytes::new() };
        let Some(flow) = self.table.get(tx).map(|entry| entry.flow) else { return Bytes::new() };
        let contact = self.contact(leg.flow, id) + super::ask::feature(leg.feature);
        let writer = &mut self.writer;
        writer.response(code, extra.reason);
        copy_for_response(writer, request, &flow, Some(&leg.tag));
        if extra.contact {
            let makes_dialog = request.method() == Method::Invite && request.to_tag().is_none();
            for route in request.headers(Name::RecordRoute).filter(|_| makes_dialog) {
                writer.header("Record-Route", route);
            }
            writer.header("Contact", contact).header("Allow", typed::allow(self.config.extensions.transfers));
            if !self.supported.is_empty() {
                writer.header("Supported", &self.supported);
            }
        }
        for header in extra.headers {
            writer.header(&header.name, &header.value);
        }
        if !self.config.user_agent.is_empty() {
            writer.header("Server", &self.config.user_agent);
        }
        let bytes = writer.finish("application/sdp", extra.sdp);
        self.drive(now, tx, Input::Respond(code, bytes.clone()));
        bytes
    }

    #[expect(clippy::too_many_arguments, reason = "it fills in one record")]
    fn await_ack(
        &mut self,
        now: Instant,
        id: LegId,
        tx: TxId,
        request: &Message,
        response: Bytes,
        first: bool,
        offered: bool,
    ) {
        let timers = self.config.timers;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.unacked = Some(Box::new(Unacked {
            tx,
            cseq: request.cseq(),
            response,
            first,
            offered,
            resend_after: timers.t1,
            resend_at: now + timers.t1,
            give_up_at: now + timers.give_up(),
        }));
        self.schedule_leg(id);
    }

    pub(super) fn send_trying_within(&mut self, now: Instant, id: LegId, tx: TxId, request: &Message) {
        self.respond_plain(now, id, tx, request, 100, &[]);
    }
}
