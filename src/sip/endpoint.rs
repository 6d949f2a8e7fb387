//! The pure user-agent core: all transactions and dialogs ("legs") of one shard (RFC 3261 §8, §9, §12 to §15).
//!
//! The contract:
//!
//! 1. [`Endpoint::handle`] one [`Input`], or give one order, with the time it happened;
//! 2. [`Endpoint::poll`] until `None`;
//! 3. sleep until [`Endpoint::poll_timeout`], then `handle` an [`Input::Timeout`].
//!
//! Orders and inputs may come in any sequence between two drains; outputs keep the order of their happening.
//!
//! What needs no decision the endpoint answers by itself, without keeping a transaction (RFC 3261 §8.2.7): OPTIONS,
//! unknown methods, schemes, extensions and bodies, dialogs that are not there, malformed requests. Equal requests
//! get equal answers, so a copy is answered like the first. A [`Note`] tells of each.
//!
//! Beyond RFC 3261, as far as [`Extensions`] say: reliable provisional responses (RFC 3262), session timers (RFC 4028),
//! REFER and Replaces (RFC 3515, RFC 3891); always UPDATE (RFC 3311) and INFO (RFC 6086). Each [`Event`] says what it
//! awaits; what the layer above leaves undecided for 64·T1 is given up.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use model::{
    LegId,
    net::{Flow, ListenerIx},
};

use crate::{
    transaction::{self, State},
    wire::{Message, Method, Writer},
};

mod again;
mod answering;
mod api;
mod ask;
mod event;
mod heard;
mod leg;
mod outside;
mod reliable;
mod replaces;
mod respond;
mod serve;
mod session;
mod stateless;
mod table;
mod transfer;
mod wakes;
mod within;

use again::Challenged;
pub use api::*;
pub use event::*;
use leg::{Leg, Phase};
use outside::{Own, Theirs};
pub use table::COOKIE;
use table::{Entry, Purpose, Table, TxId};
use wakes::Wakes;

/// All transactions and legs of one shard.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    /// Value of Supported.
    supported: String,
    random: SplitMix64,
    writer: Writer,
    out: VecDeque<Output>,
    legs: HashMap<LegId, Box<Leg>, table::Numbers>,
    last_leg: u64,
    table: Table,
    wakes: Wakes,
    /// Requests of ours that wait for credentials.
    challenged: BTreeMap<ChallengeId, Challenged>,
    /// Requests of ours outside of dialogs, and those of peers that the layer above is to answer.
    own: HashMap<RequestId, Own>,
    theirs: BTreeMap<RequestId, Theirs>,
    /// Whether the wake-up of the first of either is under way.
    challenged_wakes: bool,
    theirs_wakes: bool,
    is_draining: bool,
    retransmitted: u64,
}

/// What a wake-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sleeper {
    Transaction(TxId),
    Leg(LegId),
    /// The first of `challenged`; the others follow in the order of their numbers.
    Challenged,
    /// The first of `theirs`, likewise.
    Theirs,
}

/// What came out of a transaction.
#[derive(Debug, Default)]
struct Outcome {
    /// A response is to be passed on.
    passed: bool,
    /// It ended otherwise than by a response.
    failed: Option<transaction::Output>,
    leg: Option<LegId>,
}

/// Most transactions that there is room for from the beginning: those of 500 short calls a second.
const ROOM: usize = 65_536;

impl Endpoint {
    /// What is random (tags, branches, Call-IDs, pauses after glare) comes from `seed` alone.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            supported: supported(config.extensions),
            config,
            random: SplitMix64(seed),
            writer: Writer::default(),
            out: VecDeque::new(),
            legs: HashMap::default(),
            last_leg: 0,
            table: Table::default(),
            wakes: Wakes::default(),
            challenged: BTreeMap::new(),
            own: HashMap::new(),
            theirs: BTreeMap::new(),
            challenged_wakes: false,
            theirs_wakes: false,
            is_draining: false,
            retransmitted: 0,
        }
    }

    /// Makes room for its transactions now: a map that grows later is a pause in everybody's calls.
    #[must_use]
    pub fn with_room(mut self) -> Self {
        let room = self.config.transactions_max.min(ROOM);
        self.table.reserve(room);
        self.wakes.reserve(room);
        self
    }

    /// Numbers legs from `first` on, so that several endpoints can share one space of numbers.
    #[must_use]
    pub const fn with_first_leg(mut self, first: u64) -> Self {
        self.last_leg = first.wrapping_sub(1);
        self
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Message { flow, message } if message.is_request() => self.on_request(now, flow, &message),
            Input::Message { flow, message } => self.on_response(now, flow, &message),
            Input::Malformed { flow, malformed } => self.on_malformed(flow, &malformed),
            Input::Unreachable { flow } => self.on_unreachable(now, flow),
            Input::Timeout => self.on_timeout(now),
        }
        self.drop_stale_wakes();
    }

    /// What is to be done next; `None`: nothing more until the next input or order.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to be woken, and why. May change after every input and order.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        self.wakes.peek().map(|(at, _, wake)| (at, wake))
    }

    /// Messages that were sent once more for want of an answer.
    #[must_use]
    pub const fn retransmitted(&self) -> u64 {
        self.retransmitted
    }

    /// Legs whose last message is not over: some of them have told `Ended` and await the end of their BYE.
    #[must_use]
    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    /// Call-ID of a leg that we call, or whose dialog stands.
    #[must_use]
    pub fn call_id(&self, leg: LegId) -> Option<String> {
        let leg = self.legs.get(&leg)?;
        if let Some(dialog) = &leg.dialog {
            return Some(dialog.call_id().to_owned());
        }
        let Phase::Calling { tx, .. } = leg.phase else { return None };
        self.sent_call_id(tx)
    }

    /// Whether a message belongs to a leg or a transaction that there is.
    #[must_use]
    pub fn is_expected(&self, message: &Message) -> bool {
        if !message.is_request() {
            return self.table.find_client(message).is_some();
        }
        self.leg_of(message).is_some()
            || self.table.find_server(message, message.method()).is_some()
            || self.table.find_server(message, Method::Invite).is_some()
    }

    /// Whether any provisional response came to our INVITE, 100 included: somebody is at work on it.
    #[must_use]
    pub fn is_proceeding(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| matches!(leg.phase, Phase::Calling { provisional: true, .. }))
    }

    /// Transactions, those that only absorb copies among them.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.table.len()
    }

    /// From now on OPTIONS outside of dialogs is answered 503 (or 200 again), so that peers go elsewhere.
    pub const fn set_draining(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    fn on_timeout(&mut self, now: Instant) {
        while let Some((due, sleeper, _)) = self.wakes.peek().filter(|(at, ..)| *at <= now) {
            self.wakes.pop();
            match sleeper {
                Sleeper::Transaction(id) => self.wake_transaction(now, due, id),
                Sleeper::Leg(id) => self.wake_leg(now, due, id),
                Sleeper::Challenged => self.forget_challenges(now),
                Sleeper::Theirs => self.forget_requests(now),
            }
        }
    }

    fn wake_transaction(&mut self, now: Instant, due: Instant, id: TxId) {
        // A wake-up that an earlier one has replaced is nobody's.
        let Some(entry) = self.table.get_mut(id).filter(|entry| entry.scheduled == Some(due)) else {
            return;
        };
        entry.scheduled = None;
        let purpose = entry.purpose;
        let outcome = self.drive(now, id, transaction::Input::Timeout);
        self.on_failed(now, purpose, &outcome);
    }

    /// Connections and ports that fail: each transaction on that flow goes by its other flow, or ends.
    fn on_unreachable(&mut self, now: Instant, flow: Flow) {
        for id in self.table.on_flow(flow) {
            if self.falls_back_to_udp(now, id) {
                continue;
            }
            let moved = self.table.move_to_fallback(id);
            let Some(entry) = self.table.get(id) else { continue };
            let (purpose, flow) = (entry.purpose, entry.flow);
            let outstanding =
                matches!(entry.machine.state(), State::Calling | State::Trying | State::Proceeding);
            let request = entry.machine.request().filter(|_| outstanding).cloned();
            match (moved, request) {
                (true, Some(bytes)) => self.transmit(flow, bytes),
                (true, None) if purpose == Purpose::Serve => {
                    self.drive(now, id, transaction::Input::Retransmit);
                }
                (true, None) => {}
                (false, _) => {
                    let outcome = self.drive(now, id, transaction::Input::TransportFailed);
                    self.on_failed(now, purpose, &outcome);
                }
            }
        }
    }

    /// Hands an input to a transaction, sends what it wants sent, and removes it when it is over.
    fn drive(&mut self, now: Instant, id: TxId, input: transaction::Input) -> Outcome {
        let Some(entry) = self.table.get_mut(id) else { return Outcome::default() };
        let by_timer = matches!(input, transaction::Input::Timeout);
        entry.machine.handle(now, input);
        let mut outcome = Outcome { leg: entry.leg, ..Outcome::default() };
        while let Some(output) = entry.machine.poll() {
            match output {
                transaction::Output::Transmit(bytes) => {
                    self.retransmitted += u64::from(by_timer);
                    self.out.push_back(Output::Transmit { flow: entry.flow, bytes })
                }
                transaction::Output::Pass => outcome.passed = true,
                transaction::Output::TimedOut | transaction::Output::NoAck | transaction::Output::Failed => {
                    outcome.failed = Some(output);
                }
            }
        }
        if entry.machine.state() == State::Terminated {
            self.table.remove(id);
        } else {
            self.schedule_transaction(id);
        }
        outcome
    }

    /// Puts a transaction into the table and lets it send its first message.
    fn start(&mut self, id: TxId, mut entry: Entry) {
        while let Some(output) = entry.machine.poll() {
            if let transaction::Output::Transmit(bytes) = output {
                self.transmit(entry.flow, bytes);
            }
        }
        self.table.insert(id, entry);
        self.schedule_transaction(id);
    }

    /// A wake-up that is already under way and earlier will do: it finds the later deadline then.
    fn schedule_transaction(&mut self, id: TxId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let Some((at, timer)) = entry.machine.poll_timeout() else { return };
        if entry.scheduled.is_none_or(|scheduled| at < scheduled) {
            entry.scheduled = Some(at);
            self.wakes.push((at, Sleeper::Transaction(id), Wake::Transaction(timer)));
        }
    }

    fn schedule_leg(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some((at, wake)) = leg.poll_timeout() else { return };
        if leg.scheduled.is_none_or(|scheduled| at < scheduled) {
            leg.scheduled = Some(at);
            self.wakes.push((at, Sleeper::Leg(id), wake));
        }
    }

    /// Wake-ups for what is gone do not wake anybody.
    fn drop_stale_wakes(&mut self) {
        while let Some((_, sleeper, _)) = self.wakes.peek() {
            let alive = match sleeper {
                Sleeper::Transaction(id) => self.table.get(id).is_some(),
                Sleeper::Leg(id) => self.legs.get(&id).is_some_and(|leg| leg.poll_timeout().is_some()),
                // There is one of each at most.
                Sleeper::Challenged => !self.challenged.is_empty(),
                Sleeper::Theirs => !self.theirs.is_empty(),
            };
            if alive {
                break;
            }
            match self.wakes.pop() {
                Some((_, Sleeper::Leg(id), _)) => {
                    self.legs.get_mut(&id).into_iter().for_each(|leg| leg.scheduled = None);
                }
                Some((_, Sleeper::Challenged, _)) => self.challenged_wakes = false,
                Some((_, Sleeper::Theirs, _)) => self.theirs_wakes = false,
                Some((_, Sleeper::Transaction(_), _)) | None => {}
            }
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.out.push_back(Output::Transmit { flow, bytes });
    }

    fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Tells the end of a leg, unless that was told, and forgets the leg.
    fn end_leg(&mut self, id: LegId, how: Ended) {
        let Some(leg) = self.legs.remove(&id) else { return };
        let pending = [
            leg.reinvite.as_ref().map(|reinvite| reinvite.tx),
            leg.asked.as_ref().map(|asked| asked.tx),
            leg.transfer.as_ref().and_then(|transfer| transfer.asked()),
        ];
        for tx in pending.into_iter().flatten() {
            self.table.remove(tx);
        }
        if !leg.is_over {
            self.tell(Event::Ended { leg: id, how });
        }
    }

    fn new_leg_id(&mut self) -> LegId {
        self.last_leg = self.last_leg.wrapping_add(1);
        LegId(self.last_leg)
    }

    fn new_tag(&mut self, leg: LegId) -> String {
        format!("{}-{:x}-{:08x}", self.config.token, leg.0, self.random.next() >> 32)
    }

    fn new_branch(&mut self, id: TxId) -> String {
        format!("{COOKIE}{}-{:x}-{:08x}", self.config.token, id, self.random.next() >> 32)
    }

    fn via(&self, flow: Flow, branch: &str) -> String {
        format!("SIP/2.0/{} {};rport;branch={branch}", flow.transport, self.sent_by(flow.listener))
    }

    /// Our Contact of a leg.
    fn contact(&self, flow: Flow, leg: LegId) -> String {
        use model::net::Transport;
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<sip:{}-{:x}@{}{transport}>", self.config.token, leg.0, self.sent_by(flow.listener))
    }

    fn sent_by(&self, listener: ListenerIx) -> &str {
        let listener = self.config.listeners.get(usize::from(listener.0));
        listener.map_or("invalid", |listener| listener.sent_by.as_str())
    }

    fn table_is_full(&self) -> bool {
        self.table.len() >= self.config.transactions_max
    }
}

/// Value of Supported: the option tags of what is on.
fn supported(extensions: Extensions) -> String {
    let transfers = extensions.transfers;
    let tags = [
        (extensions.reliable, reliable::TAG),
        (extensions.session.is_some(), session::TAG),
        (transfers, "replaces"),
        (transfers, "norefersub"),
    ];
    let on = tags.into_iter().filter_map(|(is_on, tag)| is_on.then_some(tag));
    on.collect::<Vec<_>>().join(", ")
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test names the events that it is about")]
mod tests;
