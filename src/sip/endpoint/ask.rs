//! Orders that send requests (RFC 3261 §9.1, §12.2.1, §13.2, §14.1, §15.1.1; RFC 6086).

use std::time::Instant;

use bytes::Bytes;
use model::{LegId, net::Flow};

use super::{
    Attached, BOUNDARY, Ended, Endpoint, Event, Extensions, Full, Header, Invite, Misuse,
    leg::{Cancel, Leg, Phase, Reinvite},
    supported,
    table::{Entry, Machine, Purpose, TxId},
};
use crate::{
    dialog::Dialog,
    lex::text,
    transaction::{InviteClient, OtherClient},
    typed,
    wire::{Message, Name},
};

impl Endpoint {
    /// Sends an INVITE and makes its leg.
    ///
    /// # Errors
    /// When a table is full.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<LegId, Full> {
        if self.legs.len() >= self.config.legs_max || self.table_is_full() {
            return Err(Full);
        }
        let leg = self.new_leg_id();
        let tag = self.new_tag(leg);
        let tx = self.table.number();
        let branch = self.new_branch(tx);
        let bytes = self.write_invite(&invite, leg, &tag, &branch);
        let machine = InviteClient::new(now, invite.flow.transport.is_reliable(), self.config.timers, bytes);
        let entry =
            Entry::client(Machine::InviteClient(machine), invite.flow, Some(leg), Purpose::Invite, &branch);
        let phase = Phase::Calling { tx, provisional: false, cancel: Cancel::No };
        let mut new = Leg::new(invite.flow, tag, phase, None);
        new.challenges = invite.challenges;
        new.feature = invite.feature;
        self.legs.insert(leg, Box::new(new));
        self.start_by_size(now, tx, entry, invite.tcp);
        Ok(leg)
    }

    /// Cancels our INVITE: at once, or as soon as a provisional response allows it. `Ended` follows in any case,
    /// after 64·T1 at the latest; a 2xx that crosses is acknowledged and ended by BYE.
    ///
    /// # Errors
    /// When the leg is not one that we call, or it is answered.
    pub fn cancel(&mut self, now: Instant, leg: LegId, headers: &[Header]) -> Result<(), Misuse> {
        let Phase::Calling { provisional, cancel, .. } = &mut self.live(leg)?.phase else {
            return Err(Misuse::WrongState);
        };
        if !matches!(cancel, Cancel::No) {
            return Ok(());
        }
        *cancel = Cancel::Wanted(headers.to_vec());
        let provisional = *provisional;
        if let Some(id) = self.challenge_of(leg) {
            // Nothing is under way that could be cancelled.
            return self.give_up(now, id);
        }
        if provisional {
            self.send_cancel(now, leg);
        }
        Ok(())
    }

    /// Sends an INVITE with a new offer in the dialog. After a 491 it is sent again by itself (RFC 3261 §14.1).
    ///
    /// # Errors
    /// When the leg is not established, or an INVITE or UPDATE of either side is under way. Our own refresh of the session is
    /// none that the layer above could know of: this goes out after it.
    pub fn reinvite(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), Misuse> {
        self.change(now, leg, sdp, None, false)
    }

    /// The same with a part beside the offer.
    ///
    /// # Errors
    /// As [`Endpoint::reinvite`].
    pub fn reinvite_with(
        &mut self,
        now: Instant,
        leg: LegId,
        sdp: Bytes,
        attached: Box<Attached>,
    ) -> Result<(), Misuse> {
        self.change(now, leg, sdp, Some(attached), false)
    }

    /// Sends an UPDATE in the dialog (RFC 3311), with a new offer or without; its end is told like that of a re-INVITE.
    ///
    /// # Errors
    /// When the leg is not established, the peer does not allow it, or an INVITE or UPDATE of either side is under way.
    pub fn update(&mut self, now: Instant, leg: LegId, sdp: Option<Bytes>) -> Result<(), Misuse> {
        if !self.established(leg)?.peer_updates {
            return Err(Misuse::NotAllowed);
        }
        self.change(now, leg, sdp.unwrap_or_default(), None, true)
    }

    fn change(
        &mut self,
        now: Instant,
        leg: LegId,
        sdp: Bytes,
        attached: Option<Box<Attached>>,
        by_update: bool,
    ) -> Result<(), Misuse> {
        let full = self.table_is_full();
        let known = self.established(leg)?;
        if known.asked.is_some() || known.unacked.is_some() {
            return Err(Misuse::InviteUnderWay);
        }
        let new = Box::new(Reinvite { attached, ..Reinvite::new(now, sdp, by_update, false) });
        if let Some(under_way) = &mut known.reinvite {
            if !under_way.is_refresh || under_way.next.is_some() {
                return Err(Misuse::InviteUnderWay);
            }
            under_way.next = Some(new);
            return Ok(());
        }
        if full {
            return Err(Misuse::TableFull);
        }
        known.reinvite = Some(new);
        self.send_reinvite(now, leg);
        Ok(())
    }

    /// Ends the session. `Ended` is told at once; the BYE goes out as soon as the RFC allows it.
    ///
    /// # Errors
    /// When the leg is not established.
    pub fn bye(&mut self, now: Instant, leg: LegId, headers: &[Header]) -> Result<(), Misuse> {
        if self.live(leg)?.reliable.as_ref().is_some_and(|reliable| reliable.is_accepted()) {
            // Accepted, and yet nothing that a BYE could end: the 200 still waits for a PRACK.
            let how = Ended::Bye { by_us: true, reason: reason_among(headers) };
            self.finish_ringing(now, leg, 480, None, headers, how);
            return Ok(());
        }
        let known = self.established(leg)?;
        let waits = known.unacked.as_ref().is_some_and(|unacked| unacked.first);
        let reason = reason_among(headers);
        if waits {
            known.bye_after_ack = Some(headers.to_vec());
        }
        self.tell_end(leg, Ended::Bye { by_us: true, reason });
        if !waits {
            self.send_bye(now, leg, headers);
        }
        Ok(())
    }

    /// Lets 401 and 407 to what we send in a leg's dialog be told as [`Event::Challenged`], or no longer. An INVITE of
    /// ours brings it along.
    ///
    /// # Errors
    /// When there is no such leg.
    pub fn set_challenges(&mut self, leg: LegId, are_told: bool) -> Result<(), Misuse> {
        self.live(leg)?.challenges = are_told;
        Ok(())
    }

    /// Sends an INFO in the dialog.
    ///
    /// # Errors
    /// When the leg is not established or the transaction table is full.
    pub fn info(&mut self, now: Instant, leg: LegId, content_type: &str, body: Bytes) -> Result<(), Misuse> {
        let full = self.table_is_full();
        self.established(leg)?;
        if full {
            return Err(Misuse::TableFull);
        }
        self.send_within(now, leg, Purpose::Info, "INFO", &[], (content_type, &body));
        Ok(())
    }

    /// Asks by OPTIONS in the dialog whether the peer still knows it (RFC 3261 §11): if not, or if it does not answer,
    /// [`Ended::DialogLost`] follows; else nothing is told.
    ///
    /// # Errors
    /// When the leg is not established or the transaction table is full.
    pub fn probe(&mut self, now: Instant, leg: LegId) -> Result<(), Misuse> {
        let full = self.table_is_full();
        self.established(leg)?;
        if full {
            return Err(Misuse::TableFull);
        }
        self.send_within(now, leg, Purpose::Probe, "OPTIONS", &[], ("", &[]));
        Ok(())
    }

    pub(super) fn send_cancel(&mut self, now: Instant, leg: LegId) {
        let abandon_at = now + self.config.timers.give_up();
        let Some(Phase::Calling { tx, cancel, .. }) = self.legs.get_mut(&leg).map(|leg| &mut leg.phase)
        else {
            return;
        };
        let tx = *tx;
        let Cancel::Wanted(headers) = std::mem::replace(cancel, Cancel::Sent { abandon_at }) else { return };
        self.schedule_leg(leg);
        let Some(entry) = self.table.get(tx) else { return };
        let (flow, branch) = (entry.flow, entry.branch.clone());
        let Some(invite) = entry.machine.request().and_then(|bytes| Message::parse(bytes.clone()).ok())
        else {
            return;
        };
        let bytes = self.write_like(&invite, "CANCEL", invite.header(Name::To).unwrap_or(b""), &headers);
        let machine = OtherClient::new(now, flow.transport.is_reliable(), self.config.timers, bytes);
        let entry = Entry::client(Machine::OtherClient(machine), flow, None, Purpose::Cancel, &branch);
        let id = self.table.number();
        self.table.link_cancel(tx, id);
        self.start(id, entry);
    }

    /// CANCEL (§9.1) and the ACK of what is no 2xx (§17.1.1.3): the INVITE's own Via, From, Call-ID, number, routes.
    pub(super) fn write_like(
        &mut self,
        invite: &Message,
        method: &str,
        to: &[u8],
        headers: &[Header],
    ) -> Bytes {
        let writer = &mut self.writer;
        writer.request(method, invite.uri_text());
        writer.header("Via", invite.header(Name::Via).unwrap_or(b"")).number("Max-Forwards", 70_u64);
        for route in invite.headers(Name::Route) {
            writer.header("Route", route);
        }
        writer.header("From", invite.header(Name::From).unwrap_or(b"")).header("To", to);
        writer.header("Call-ID", invite.call_id()).header("CSeq", format!("{} {method}", invite.cseq()));
        for header in headers {
            writer.header(&header.name, &header.value);
        }
        writer.finish_empty()
    }

    pub(super) fn send_reinvite(&mut self, now: Instant, id: LegId) {
        let Some(reinvite) = self.legs.get_mut(&id).and_then(|leg| leg.reinvite.as_mut()) else { return };
        reinvite.attempts += 1;
        reinvite.begin(now);
        let (sdp, attached) = (reinvite.sdp.clone(), reinvite.attached.clone());
        let (purpose, method) =
            if reinvite.is_update { (Purpose::Update, "UPDATE") } else { (Purpose::Reinvite, "INVITE") };
        let headers: Vec<_> =
            self.legs.get(&id).and_then(|leg| Self::session_kept(leg)).into_iter().collect();
        let body = attached.map(|attached| parts(&sdp, &attached));
        let (kind, body) = match &body {
            Some(body) => (MULTIPART, body.as_slice()),
            None => ("application/sdp", &*sdp),
        };
        let tx = self.send_within(now, id, purpose, method, &headers, (kind, body));
        if let Some(reinvite) = self.legs.get_mut(&id).and_then(|leg| leg.reinvite.as_mut()) {
            reinvite.tx = tx.unwrap_or(0);
        }
        self.schedule_leg(id);
    }

    /// Sends BYE; the leg stays until its end, so that a BYE that crosses is answered.
    pub(super) fn send_bye(&mut self, now: Instant, id: LegId, headers: &[Header]) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.phase = Phase::Ending;
        leg.says_bye = true;
        leg.unacked = None;
        self.notify_what_waits(now, id);
        self.answer_refer(now, id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let reinvite = leg.reinvite.take();
        let asked = leg.asked.take();
        if let Some(reinvite) = reinvite {
            self.table.remove(reinvite.tx);
        }
        if let Some(asked) = asked {
            self.respond_plain(now, id, asked.tx, &asked.request, 487, &[]);
        }
        self.send_within(now, id, Purpose::Bye, "BYE", headers, ("", &[]));
    }

    /// BYE in a dialog that has no leg: a second 2xx, or one that crossed our CANCEL.
    pub(super) fn send_stray_bye(&mut self, now: Instant, base: Flow, dialog: &mut Dialog) {
        let tx = self.table.number();
        let branch = self.new_branch(tx);
        let flow = dialog.flow(base);
        let via = self.via(flow, &branch);
        let cseq = dialog.next_cseq();
        let bytes = dialog.write_request(&mut self.writer, "BYE", cseq, &via).finish_empty();
        let machine = OtherClient::new(now, flow.transport.is_reliable(), self.config.timers, bytes);
        let mut entry = Entry::client(Machine::OtherClient(machine), flow, None, Purpose::Bye, &branch);
        entry.fallback = dialog.other_flow(base);
        self.start(tx, entry);
    }

    /// Tells `Ended` and keeps the leg for what is left to do.
    pub(super) fn tell_end(&mut self, id: LegId, how: Ended) {
        if let Some(leg) = self.legs.get_mut(&id)
            && !std::mem::replace(&mut leg.is_over, true)
        {
            self.tell(Event::Ended { leg: id, how });
        }
    }

    fn established(&mut self, id: LegId) -> Result<&mut Leg, Misuse> {
        let leg = self.live(id)?;
        matches!(leg.phase, Phase::Established).then_some(leg).ok_or(Misuse::WrongState)
    }

    pub(super) fn send_within(
        &mut self,
        now: Instant,
        id: LegId,
        purpose: Purpose,
        method: &str,
        headers: &[Header],
        body: (&str, &[u8]),
    ) -> Option<TxId> {
        let mut dialog = self.legs.get_mut(&id)?.dialog.take()?;
        let tx = self.send_in(now, id, &mut dialog, purpose, method, headers, body);
        self.legs.get_mut(&id)?.dialog = Some(dialog);
        tx
    }

    /// Sends a request in a dialog of a leg, which may be an early one.
    #[expect(clippy::too_many_arguments, reason = "it is what makes up a request")]
    pub(super) fn send_in(
        &mut self,
        now: Instant,
        id: LegId,
        dialog: &mut Dialog,
        purpose: Purpose,
        method: &str,
        headers: &[Header],
        (content_type, body): (&str, &[u8]),
    ) -> Option<TxId> {
        let tx = self.table.number();
        let branch = self.new_branch(tx);
        let base = self.legs.get(&id)?.flow;
        let contact = self.contact(base, id) + feature(self.legs.get(&id)?.feature);
        let via = self.via(base, &branch);
        let cseq = dialog.next_cseq();
        let writer = dialog.write_request(&mut self.writer, method, cseq, &via);
        if purpose.refreshes_target() {
            writer.header("Contact", contact).header("Allow", typed::allow(self.config.extensions.transfers));
            if !self.supported.is_empty() {
                writer.header("Supported", &self.supported);
            }
        }
        for header in headers {
            writer.header(&header.name, &header.value);
        }
        if !self.config.user_agent.is_empty() {
            writer.header("User-Agent", &self.config.user_agent);
        }
        let bytes = writer.finish(content_type, body);
        let (flow, fallback) = (dialog.flow(base), dialog.other_flow(base));
        let (reliable, timers) = (flow.transport.is_reliable(), self.config.timers);
        let machine = if purpose == Purpose::Reinvite {
            Machine::InviteClient(InviteClient::new(now, reliable, timers, bytes))
        } else {
            Machine::OtherClient(OtherClient::new(now, reliable, timers, bytes))
        };
        let mut entry = Entry::client(machine, flow, Some(id), purpose, &branch);
        entry.fallback = fallback;
        self.start(tx, entry);
        Some(tx)
    }

    fn write_invite(&mut self, invite: &Invite, leg: LegId, tag: &str, branch: &str) -> Bytes {
        let contact = self.contact(invite.flow, leg) + feature(invite.feature);
        let via = self.via(invite.flow, branch);
        let call_id = self.new_call_id();
        let cseq = 1 + self.random.below(1 << 16);
        // A reliable provisional response would have to make the offer, and its PRACK to answer it at once.
        let extensions = self.config.extensions;
        let reliable = extensions.reliable && invite.sdp.is_some();
        let supported = supported(Extensions { reliable, ..extensions });
        let session = self.session_asked();
        let writer = &mut self.writer;
        writer
            .request("INVITE", &invite.request_uri)
            .header("Via", via)
            .number("Max-Forwards", invite.max_forwards);
        writer.header("From", format!("{};tag={tag}", invite.from)).header("To", &invite.to);
        writer.header("Call-ID", call_id).header("CSeq", format!("{cseq} INVITE"));
        writer.header("Contact", contact).header("Allow", typed::allow(self.config.extensions.transfers));
        if !supported.is_empty() {
            writer.header("Supported", supported);
        }
        for header in session.iter().chain(&invite.headers) {
            writer.header(&header.name, &header.value);
        }
        if !self.config.user_agent.is_empty() {
            writer.header("User-Agent", &self.config.user_agent);
        }
        let sdp = invite.sdp.as_deref().unwrap_or(&[]);
        match &invite.attached {
            None => writer.finish("application/sdp", sdp),
            Some(attached) => {
                let body = parts(sdp, attached);
                writer.finish(MULTIPART, &body)
            }
        }
    }

    /// Of our INVITE's transaction: its bytes, read again. They are ours, so they are well-formed unless a header
    /// given with the order was not.
    pub(super) fn sent_invite(&self, tx: TxId) -> Option<Message> {
        let bytes = self.table.get(tx)?.machine.request()?.clone();
        Message::parse(bytes).ok()
    }

    /// Its Call-ID, which is written by us in one way.
    pub(super) fn sent_call_id(&self, tx: TxId) -> Option<String> {
        const NAME: &[u8] = b"\r\nCall-ID: ";
        let bytes = self.table.get(tx)?.machine.request()?;
        let from = memchr::memmem::find(bytes, NAME)? + NAME.len();
        let length = memchr::memchr(b'\r', &bytes[from..])?;
        Some(text(&bytes[from..from + length])?.to_owned())
    }
}

/// A parameter of Contact.
pub(super) const fn feature(feature: Option<&'static str>) -> &'static str {
    match feature {
        Some(feature) => feature,
        None => "",
    }
}

/// Content-Type of a body with an attached part.
const MULTIPART: &str = "multipart/mixed;boundary=switchboard-part";

/// RFC 2046 §5.1.1.
fn parts(sdp: &[u8], attached: &Attached) -> Vec<u8> {
    let Attached { content_type, disposition, content_id, content } = attached;
    let mut body = Vec::with_capacity(sdp.len() + content.len() + 256);
    if !sdp.is_empty() {
        body.extend(format!("--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\n").into_bytes());
        body.extend(sdp);
        body.extend(b"\r\n");
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Type: {content_type}\r\nContent-ID: <{content_id}>\r\n\
         Content-Disposition: {disposition}\r\n\r\n"
    );
    body.extend(head.into_bytes());
    body.extend(content);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    body
}

fn reason_among(headers: &[Header]) -> Option<String> {
    let reasons = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("Reason"));
    let values = reasons.map(|header| header.value.as_str()).collect::<Vec<_>>();
    (!values.is_empty()).then(|| values.join(", "))
}
