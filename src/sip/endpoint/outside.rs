//! Requests outside of dialogs: ours (OPTIONS, REGISTER), and peers' that the layer above answers (RFC 3261 §8, §10).

use std::time::Instant;

use model::net::Flow;

use super::{
    Endpoint, Event, Failure, Full, Header, Misuse, OutOfDialog, RequestId, Sequence, Sleeper, Wake,
    table::{Entry, Machine, Purpose, TxId},
};
use crate::{
    transaction::{Input, OtherClient},
    typed,
    wire::{Message, Method, copy_for_response},
};

/// A request of ours.
#[derive(Debug)]
pub struct Own {
    pub sequence: Sequence,
    pub challenges: bool,
}

/// A peer's request that the layer above is to answer.
#[derive(Debug)]
pub struct Theirs {
    tx: TxId,
    request: Box<Message>,
    give_up_at: Instant,
}

impl Endpoint {
    /// Sends a request outside of dialogs; [`Event::RequestDone`] follows, after 64·T1 at the latest.
    ///
    /// # Errors
    /// When the transaction table is full.
    pub fn request(&mut self, now: Instant, request: OutOfDialog) -> Result<RequestId, Full> {
        if self.table_is_full() || self.own.len() >= self.config.transactions_max {
            return Err(Full);
        }
        let tx = self.table.number();
        let id = RequestId(tx);
        let sequence = match &request.sequence {
            Some(last) => Sequence { call_id: last.call_id.clone(), cseq: (last.cseq + 1) & 0x7fff_ffff },
            None => Sequence { call_id: self.new_call_id(), cseq: 1 },
        };
        let branch = self.new_branch(tx);
        let via = self.via(request.flow, &branch);
        let tag = format!("{}-0-{:08x}", self.config.token, self.random.next() >> 32);
        let method = request.method.as_str();
        let writer = &mut self.writer;
        writer.request(method, &request.request_uri).header("Via", via).number("Max-Forwards", 70_u64);
        writer.header("From", format!("{};tag={tag}", request.from)).header("To", &request.to);
        writer.header("Call-ID", &sequence.call_id).header("CSeq", format!("{} {method}", sequence.cseq));
        for header in &request.headers {
            writer.header(&header.name, &header.value);
        }
        if !self.config.user_agent.is_empty() {
            writer.header("User-Agent", &self.config.user_agent);
        }
        let bytes = writer.finish(&request.body.0, &request.body.1);
        let reliable = request.flow.transport.is_reliable();
        let machine = OtherClient::new(now, reliable, self.config.timers, bytes);
        let entry =
            Entry::client(Machine::OtherClient(machine), request.flow, None, Purpose::Request(id), &branch);
        self.own.insert(id, Own { sequence, challenges: request.challenges });
        self.start_by_size(now, tx, entry, request.tcp);
        Ok(id)
    }

    /// Answers a peer's request with a final response. Of a challenge nothing is kept, so that floods of requests without
    /// credentials take no room (RFC 3261 §8.2.7, §26.3.2.4): a copy of the request is told once more.
    ///
    /// # Errors
    /// When it waits no more, or the code is not from 200 to 699.
    pub fn respond_to(
        &mut self,
        now: Instant,
        id: RequestId,
        code: u16,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        if !(200..700).contains(&code) {
            return Err(Misuse::BadCode);
        }
        let Theirs { tx, request, .. } = self.theirs.remove(&id).ok_or(Misuse::NoSuchRequest)?;
        let Some(flow) = self.table.get(tx).map(|entry| entry.flow) else {
            return Err(Misuse::NoSuchRequest);
        };
        let tag = self.stateless_tag(&request);
        self.writer.response(code, None);
        copy_for_response(&mut self.writer, &request, &flow, Some(&tag));
        for header in headers {
            self.writer.header(&header.name, &header.value);
        }
        if !self.config.user_agent.is_empty() {
            self.writer.header("Server", &self.config.user_agent);
        }
        let bytes = self.writer.finish_empty();
        if matches!(code, 401 | 407) {
            self.table.remove(tx);
            self.transmit(flow, bytes);
        } else {
            self.drive(now, tx, Input::Respond(code, bytes));
        }
        Ok(())
    }

    /// A request for the layer above, which the door let through.
    pub(super) fn on_requested(&mut self, now: Instant, flow: Flow, request: &Message) {
        if self.table_is_full() {
            return self.refuse_full(flow, request, "the table of transactions is full");
        }
        let tx = self.start_server(flow, request, None);
        let id = RequestId(tx);
        let give_up_at = now + self.config.timers.give_up();
        self.theirs.insert(id, Theirs { tx, request: Box::new(request.clone()), give_up_at });
        self.wake_for_requests();
        self.tell(Event::Requested { id, flow, request: request.clone() });
    }

    /// Whether the layer above answers a method on a listener.
    pub(super) fn is_for_the_layer_above(&self, flow: Flow, method: Method) -> bool {
        let listener = self.config.listeners.get(usize::from(flow.listener.0));
        method == Method::Register && listener.is_some_and(|listener| listener.serves_register)
    }

    /// The peers stopped waiting long ago (timer F). Deadlines have the order of the numbers.
    pub(super) fn forget_requests(&mut self, now: Instant) {
        self.theirs_wakes = false;
        while let Some(first) = self.theirs.first_entry().filter(|first| first.get().give_up_at <= now) {
            let tx = first.remove().tx;
            self.table.remove(tx);
        }
        self.wake_for_requests();
    }

    fn wake_for_requests(&mut self) {
        if let Some((_, first)) = self.theirs.first_key_value().filter(|_| !self.theirs_wakes) {
            self.theirs_wakes = true;
            self.wakes.push((first.give_up_at, Sleeper::Theirs, Wake::Undecided));
        }
    }

    /// The end of a request of ours.
    pub(super) fn finish_request(&mut self, id: RequestId, response: Option<&Message>, cause: Failure) {
        let Some(own) = self.own.remove(&id) else { return };
        self.tell(Event::RequestDone { id, response: response.cloned(), cause, sequence: own.sequence });
    }

    /// Value of Allow on a listener.
    pub(super) fn allow_on(&self, flow: Flow) -> String {
        let own = typed::allow(self.config.extensions.transfers);
        if self.is_for_the_layer_above(flow, Method::Register) {
            return format!("{own}, {}", Method::Register.as_str());
        }
        own.to_owned()
    }

    pub(super) fn new_call_id(&mut self) -> String {
        format!("{}-{:016x}{:016x}", self.config.token, self.random.next(), self.random.next())
    }
}
