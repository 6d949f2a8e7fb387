//! Requests from peers (RFC 3261 §8.2, §9.2): which transaction or leg they belong to, and what is refused at the door.

use std::time::Instant;

use model::{LegId, net::Flow};

use super::{
    Ended, Endpoint, Event, Header, State,
    leg::{Leg, Phase},
    replaces::has_stray_replaces,
    stateless::{response_flow, with_sent_by_port},
    table::{COOKIE, Entry, Machine, TxId},
};
use crate::{
    body,
    dialog::Dialog,
    header::tokens,
    lex::{text, trim},
    transaction::{Input, InviteServer, OtherServer},
    uri::Scheme,
    wire::{Message, Method, Name, copy_for_response},
};

/// Most Vias that are searched for a loop.
const VIAS_MAX: usize = 70;

impl Endpoint {
    pub(super) fn on_request(&mut self, now: Instant, flow: Flow, request: &Message) {
        let method = request.method();
        if method == Method::Ack {
            return self.on_ack(now, flow, request);
        }
        if let Some(id) = self.table.find_server(request, method) {
            self.drive(now, id, Input::Retransmit);
            return;
        }
        if !self.serves(method) && !self.is_for_the_layer_above(flow, method) {
            return self.refuse_method(flow, request);
        }
        if method == Method::Cancel {
            return self.on_cancel(now, flow, request);
        }
        if self.is_refused_at_the_door(flow, request) {
            return;
        }
        match (method, request.to_tag()) {
            (Method::Register, _) => self.on_requested(now, flow, request),
            (Method::Options, None) => self.answer_options(flow, request),
            (_, Some(_)) => self.on_request_within(now, flow, request),
            (Method::Invite, None) => self.on_invite(now, flow, request),
            (_, None) => self.refuse(flow, request, 481, &[], "the request is outside of any dialog"),
        }
    }

    /// Methods that this endpoint serves; the others of [`Method`] are 405, unknown ones 501.
    const fn serves(&self, method: Method) -> bool {
        match method {
            Method::Invite
            | Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Info
            | Method::Update
            | Method::Prack => true,
            Method::Refer | Method::Notify => self.config.extensions.transfers,
            Method::Register | Method::Subscribe | Method::Message | Method::Publish | Method::Other => false,
        }
    }

    fn refuse_method(&mut self, flow: Flow, request: &Message) {
        let code = if request.method() == Method::Other { 501 } else { 405 };
        let what = format!("the method {} is not served", request.method_text());
        self.refuse(flow, request, code, &[Header::new("Allow", self.allow_on(flow))], what);
    }

    /// RFC 3261 §8.2.2 and §8.2.3, in their order.
    fn is_refused_at_the_door(&mut self, flow: Flow, request: &Message) -> bool {
        let scheme = request.uri().map(|uri| uri.scheme);
        if matches!(scheme, None | Some(Scheme::Other)) {
            self.refuse(flow, request, 416, &[], "the scheme of the Request-URI is not known");
            return true;
        }
        if request.to_tag().is_none() && self.table.find_merged(request).is_some() {
            self.refuse(flow, request, 482, &[], "another copy of the request came by another path");
            return true;
        }
        let required = [Name::Require, Name::ProxyRequire].into_iter().flat_map(|name| request.headers(name));
        // What a registrar decides on is for the layer above (RFC 3327 §5.3, RFC 5626 §6).
        let of_registrar = if request.method() == Method::Register { "path, outbound" } else { "" };
        let ours = || tokens(self.supported.as_bytes()).chain(tokens(of_registrar.as_bytes()));
        let known = |tag: &&str| ours().any(|ours| ours.eq_ignore_ascii_case(tag));
        let unsupported = required.flat_map(tokens).filter(|tag| !known(tag)).collect::<Vec<_>>().join(", ");
        if !unsupported.is_empty() {
            self.refuse(
                flow,
                request,
                420,
                &[Header::new("Unsupported", unsupported)],
                "an extension is required that we do not have",
            );
            return true;
        }
        if self.config.extensions.transfers && has_stray_replaces(request) {
            self.refuse(flow, request, 400, &[], "a Replaces where nothing can be replaced");
            return true;
        }
        if self.is_session_too_short(flow, request) {
            return true;
        }
        let carries_offer = matches!(request.method(), Method::Invite | Method::Update | Method::Prack);
        if carries_offer && body::description(request).is_err() {
            self.refuse_body(flow, request);
            return true;
        }
        if carries_offer && !accepts_sdp(request) {
            self.refuse(flow, request, 406, &[], "session descriptions are not accepted");
            return true;
        }
        false
    }

    fn refuse_body(&mut self, flow: Flow, request: &Message) {
        let headers = [Header::new("Accept", "application/sdp"), Header::new("Accept-Encoding", "identity")];
        self.refuse(flow, request, 415, &headers, "the body is no session description");
    }

    fn on_invite(&mut self, now: Instant, flow: Flow, request: &Message) {
        if request.max_forwards() == Some(0) {
            return self.refuse(flow, request, 483, &[], "Max-Forwards is used up");
        }
        if self.is_loop(request) {
            return self.refuse(flow, request, 482, &[], "our own INVITE came back");
        }
        let listener = self.config.listeners.get(usize::from(flow.listener.0));
        let is_proved_later = listener.is_some_and(|listener| listener.serves_register);
        let replaces = match self.replaced_by(request) {
            _ if is_proved_later => None,
            Ok(replaces) => replaces,
            Err((code, what)) => return self.refuse(flow, request, code, &[], what),
        };
        if self.legs.len() >= self.config.legs_max {
            return self.refuse_full(flow, request, "the table of legs is full");
        }
        if self.table_is_full() {
            return self.refuse_full(flow, request, "the table of transactions is full");
        }
        let leg = self.new_leg_id();
        let tag = self.new_tag(leg);
        let tx = self.start_server(flow, request, Some(leg));
        // Numbers of ours may begin anywhere below 2³¹ (§8.1.1.5).
        let dialog = Dialog::of_server(request, &tag, u32::try_from(self.random.below(1 << 16)).unwrap_or(0));
        let phase = Phase::Ringing { tx, request: Box::new(request.clone()) };
        let mut new = Leg::new(flow, tag, phase, Some(dialog));
        new.reliable = self.reliable_for(request);
        new.invite_cseq = new.reliable.is_some().then_some(request.cseq());
        self.legs.insert(leg, Box::new(new));
        self.send_trying(now, flow, request, tx);
        let sdp = body::description(request).ok().flatten();
        self.tell(Event::Invited { leg, flow, request: request.clone(), sdp, replaces });
    }

    fn send_trying(&mut self, now: Instant, flow: Flow, request: &Message, tx: TxId) {
        self.writer.response(100, None);
        copy_for_response(&mut self.writer, request, &flow, None);
        let bytes = self.writer.finish_empty();
        self.drive(now, tx, Input::Respond(100, bytes));
    }

    /// A transaction for a request that was taken.
    pub(super) fn start_server(&mut self, flow: Flow, request: &Message, leg: Option<LegId>) -> TxId {
        let reliable = flow.transport.is_reliable();
        let machine = if request.method() == Method::Invite {
            Machine::InviteServer(InviteServer::new(reliable, self.config.timers))
        } else {
            Machine::OtherServer(OtherServer::new(reliable, self.config.timers))
        };
        let mut entry = Entry::server(machine, response_flow(flow, request), leg, request);
        if reliable && flow.connection != 0 {
            // A lost connection is opened anew (§18.2.2).
            entry.fallback = Some(super::Flow { connection: 0, ..with_sent_by_port(flow, request) });
        }
        let id = self.table.number();
        self.start(id, entry);
        id
    }

    /// Whether an INVITE of ours that still waits came back by way of somebody else, unchanged. One that a proxy
    /// has given another target is a spiral and welcome.
    fn is_loop(&self, request: &Message) -> bool {
        let ours = format!("{COOKIE}{}-", self.config.token);
        let below_top = request.vias().take(VIAS_MAX).skip(1).filter_map(|via| via.branch());
        let mut sent = below_top
            .filter(|branch| branch.starts_with(&ours))
            .filter_map(|branch| self.table.find_branch(branch));
        sent.any(|entry| {
            let bytes = entry.machine.request().map_or(&[][..], |bytes| bytes);
            let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
            line.split(|byte| *byte == b' ').nth(1) == Some(request.uri_text().as_bytes())
        })
    }

    fn on_ack(&mut self, now: Instant, flow: Flow, request: &Message) {
        if self.acknowledge_2xx(now, request) {
            return;
        }
        if let Some(id) = self.table.find_server(request, Method::Invite) {
            self.drive(now, id, Input::Ack);
            return;
        }
        // Copies of an ACK, and those of stateless answers, are part of the protocol.
        let ours = request.to_tag().is_some_and(|tag| tag.starts_with(&self.config.token));
        if !ours {
            self.drop_bad(flow, "an ACK of nothing");
        }
    }

    /// RFC 3261 §9.2. The answer keeps nothing: a copy of the CANCEL finds the same.
    fn on_cancel(&mut self, now: Instant, flow: Flow, request: &Message) {
        let found = self.table.find_server(request, Method::Invite);
        let Some((tx, entry)) = found.and_then(|id| Some((id, self.table.get(id)?))) else {
            return self.refuse(flow, request, 481, &[], "a CANCEL of nothing");
        };
        let pending = entry.machine.state() == State::Proceeding;
        let leg = entry.leg.and_then(|id| Some((id, self.legs.get(&id)?)));
        match leg.map(|(id, leg)| (id, leg.tag.to_string())) {
            Some((id, tag)) => {
                self.answer_with_tag(flow, request, 200, &[], &tag);
                if pending {
                    self.cancel_incoming(now, id, tx, request);
                }
            }
            None => self.answer(flow, request, 200, &[]),
        }
    }

    fn cancel_incoming(&mut self, now: Instant, id: LegId, tx: TxId, cancel: &Message) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(asked) = leg.asked.take_if(|asked| asked.tx == tx) {
            return self.respond_plain(now, id, asked.tx, &asked.request, 487, &[]);
        }
        let reason = reason_of(cancel);
        self.finish_ringing(now, id, 487, None, &[], Ended::Cancelled { reason });
    }
}

/// Values of the Reason fields (RFC 3326 §2: one for each protocol).
pub(super) fn reason_of(message: &Message) -> Option<String> {
    let values = message.headers(Name::Reason).map(String::from_utf8_lossy).collect::<Vec<_>>();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Whether the answer that an INVITE gets is wanted (RFC 3261 §20.1). No Accept field means that it is.
fn accepts_sdp(request: &Message) -> bool {
    let mut ranges =
        request.headers(Name::Accept).flat_map(|value| value.split(|byte| *byte == b',')).peekable();
    let absent = ranges.peek().is_none();
    absent
        || ranges.any(|range| {
            let kind =
                range.split(|byte| *byte == b';').next().and_then(|kind| text(trim(kind))).unwrap_or("");
            ["application/sdp", "application/*", "*/*"].iter().any(|ours| ours.eq_ignore_ascii_case(kind))
        })
}
