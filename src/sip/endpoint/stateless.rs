//! Answers that keep nothing (RFC 3261 §8.2.7).

use std::borrow::Cow;

use model::net::Flow;

use super::{Done, Endpoint, Header, Note, Output};
use crate::wire::{Malformed, Message, ParseError, copy_for_response};

/// Seconds of Retry-After when a table is full: RFC 3261 §21.5.4 wants it short, and it differs from peer to peer.
const RETRY_AFTER_S: std::ops::Range<u64> = 2..10;

impl Endpoint {
    /// Answers and notes it.
    pub(super) fn refuse(
        &mut self,
        flow: Flow,
        request: &Message,
        code: u16,
        headers: &[Header],
        what: impl Into<Cow<'static, str>>,
    ) {
        self.answer(flow, request, code, headers);
        self.note(flow, what, Done::Answered(code));
    }

    /// Answers a request that was not handed in, and keeps nothing of it (RFC 3261 §8.2.7).
    pub fn answer_at_once(&mut self, flow: Flow, request: &Message, code: u16, headers: &[Header]) {
        self.answer(flow, request, code, headers);
    }

    pub(super) fn answer(&mut self, flow: Flow, request: &Message, code: u16, headers: &[Header]) {
        let tag = self.stateless_tag(request);
        self.answer_with_tag(flow, request, code, headers, &tag);
    }

    pub(super) fn answer_with_tag(
        &mut self,
        flow: Flow,
        request: &Message,
        code: u16,
        headers: &[Header],
        tag: &str,
    ) {
        self.writer.response(code, None);
        copy_for_response(&mut self.writer, request, &flow, Some(tag));
        for header in headers {
            self.writer.header(&header.name, &header.value);
        }
        if !self.config.user_agent.is_empty() {
            self.writer.header("Server", &self.config.user_agent);
        }
        let bytes = self.writer.finish_empty();
        self.transmit(response_flow(flow, request), bytes);
    }

    pub(super) fn answer_options(&mut self, flow: Flow, request: &Message) {
        if self.is_draining {
            return self.answer(flow, request, 503, &[]);
        }
        let headers = [
            Header::new("Allow", self.allow_on(flow)),
            Header::new("Accept", "application/sdp"),
            Header::new("Accept-Encoding", "identity"),
            Header::new("Accept-Language", "en"),
            Header::new("Supported", self.supported.clone()),
        ];
        self.answer(flow, request, 200, &headers);
    }

    pub(super) fn refuse_full(&mut self, flow: Flow, request: &Message, what: &'static str) {
        let seconds = RETRY_AFTER_S.start + self.random.below(RETRY_AFTER_S.end - RETRY_AFTER_S.start);
        self.refuse(flow, request, 503, &[Header::new("Retry-After", seconds.to_string())], what);
    }

    pub(super) fn on_malformed(&mut self, flow: Flow, malformed: &Malformed) {
        match (malformed.error, malformed.answerable()) {
            // A keep-alive (RFC 5626 §3.5.1) is nothing bad.
            (ParseError::Empty, _) => {}
            (error, Some(request)) => self.refuse(flow, request, error.code(), &[], error.to_string()),
            (error, None) => self.drop_bad(flow, error.to_string()),
        }
    }

    pub(super) fn drop_bad(&mut self, flow: Flow, what: impl Into<Cow<'static, str>>) {
        self.note(flow, what, Done::Dropped);
    }

    fn note(&mut self, flow: Flow, what: impl Into<Cow<'static, str>>, done: Done) {
        self.out.push_back(Output::Note(Note { flow, what: what.into(), done }));
    }

    /// A tag that is equal for equal requests (RFC 3261 §8.2.7), of a leg that is none.
    pub(super) fn stateless_tag(&self, request: &Message) -> String {
        let parts = [
            request.call_id(),
            request.from_tag().unwrap_or(""),
            request.branch().unwrap_or(""),
            request.method_text(),
        ];
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        // FNV-1a: it only has to be the same each time.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{}-0-{:08x}", self.config.token, hash >> 32)
    }
}

/// Where a response goes (RFC 3261 §18.2.2, RFC 3581 §4): back by the flow. A datagram without `rport` is answered
/// to the port of its sent-by, unless that names another address than it came from: then a NAT is in between, which
/// lets only the source port through.
pub(super) fn response_flow(flow: Flow, request: &Message) -> Flow {
    let Some(via) = request.via() else { return flow };
    let natted = crate::uri::host_ip(via.host).is_some_and(|host| host != flow.remote.ip().to_canonical());
    if flow.transport.is_reliable() || via.rport().is_some() || natted {
        return flow;
    }
    with_sent_by_port(flow, request)
}

/// The same peer at the port of its sent-by.
pub(super) fn with_sent_by_port(flow: Flow, request: &Message) -> Flow {
    let port = request.via().and_then(|via| via.port).unwrap_or(crate::dialog::default_port(flow.transport));
    let mut remote = flow.remote;
    remote.set_port(port);
    Flow { remote, ..flow }
}
