//! The transactions of an endpoint and the ways to find one.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use model::{LegId, net::Flow};
use smallvec::SmallVec;

use super::RequestId;
use crate::{
    transaction::{Input, InviteClient, InviteServer, OtherClient, OtherServer, Output, State, Timer},
    wire::{Message, Method, Name},
};

/// What a branch of RFC 3261 begins with (§8.1.1.7).
pub const COOKIE: &str = "z9hG4bK";

/// Number of a transaction; never used twice.
pub type TxId = u64;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Our first INVITE of a leg.
    Invite,
    /// Our INVITE within a dialog.
    Reinvite,
    Cancel,
    Bye,
    Info,
    /// OPTIONS within a dialog.
    Probe,
    Prack,
    Update,
    Refer,
    Notify,
    /// NOTIFY that asks for an answer.
    Talk,
    /// Ours, outside of dialogs.
    Request(RequestId),
    /// The peer's request.
    Serve,
}

impl Purpose {
    /// Whether its request carries our Contact (RFC 3261 §12.2, RFC 3311 §5.1, RFC 6665 §8.1).
    pub const fn refreshes_target(self) -> bool {
        matches!(self, Self::Invite | Self::Reinvite | Self::Update | Self::Refer | Self::Notify | Self::Talk)
    }
}

/// The one of the four machines that a transaction is.
#[derive(Debug)]
pub enum Machine {
    InviteClient(InviteClient),
    OtherClient(OtherClient),
    InviteServer(InviteServer),
    OtherServer(OtherServer),
}

/// A transaction with what the endpoint knows of it.
#[derive(Debug)]
pub struct Entry {
    pub machine: Machine,
    pub flow: Flow,
    /// Where to go on when `flow` is lost; taken once.
    pub fallback: Option<Flow>,
    /// Where to go on, by a transaction of its own, when `flow` was tried only for the size (RFC 3261 §18.1.1).
    pub udp: Option<Flow>,
    /// By which it is to go if it is sent anew and has become too large for `flow`.
    pub tcp: Option<Flow>,
    /// How often its request was sent anew, with credentials or another timer.
    pub attempts: u8,
    pub leg: Option<LegId>,
    pub purpose: Purpose,
    /// Of a client: its branch.
    pub branch: Box<str>,
    /// Of an INVITE client: each peer's tag that answered 2xx, and the ACK it gets each time.
    pub acks: SmallVec<[(Box<str>, Flow, Bytes); 1]>,
    /// Of a server: by what it is found.
    keys: Keys,
    /// The earliest wake-up that is under way for it.
    pub scheduled: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct Keys {
    server: Option<Arc<[u8]>>,
    merged: Option<Arc<[u8]>>,
}

impl Machine {
    pub fn handle(&mut self, now: Instant, input: Input) {
        match self {
            Self::InviteClient(machine) => machine.handle(now, input),
            Self::OtherClient(machine) => machine.handle(now, input),
            Self::InviteServer(machine) => machine.handle(now, input),
            Self::OtherServer(machine) => machine.handle(now, input),
        }
    }

    pub fn poll(&mut self) -> Option<Output> {
        match self {
            Self::InviteClient(machine) => machine.poll(),
            Self::OtherClient(machine) => machine.poll(),
            Self::InviteServer(machine) => machine.poll(),
            Self::OtherServer(machine) => machine.poll(),
        }
    }

    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self {
            Self::InviteClient(machine) => machine.poll_timeout(),
            Self::OtherClient(machine) => machine.poll_timeout(),
            Self::InviteServer(machine) => machine.poll_timeout(),
            Self::OtherServer(machine) => machine.poll_timeout(),
        }
    }

    pub const fn state(&self) -> State {
        match self {
            Self::InviteClient(machine) => machine.state(),
            Self::OtherClient(machine) => machine.state(),
            Self::InviteServer(machine) => machine.state(),
            Self::OtherServer(machine) => machine.state(),
        }
    }

    /// The request of a client.
    pub const fn request(&self) -> Option<&Bytes> {
        match self {
            Self::InviteClient(machine) => Some(machine.request()),
            Self::OtherClient(machine) => Some(machine.request()),
            Self::InviteServer(_) | Self::OtherServer(_) => None,
        }
    }
}

impl Entry {
    pub fn client(machine: Machine, flow: Flow, leg: Option<LegId>, purpose: Purpose, branch: &str) -> Self {
        Self {
            machine,
            flow,
            fallback: None,
            udp: None,
            tcp: None,
            attempts: 0,
            leg,
            purpose,
            branch: branch.into(),
            acks: SmallVec::new(),
            keys: Keys::default(),
            scheduled: None,
        }
    }

    pub fn server(machine: Machine, flow: Flow, leg: Option<LegId>, request: &Message) -> Self {
        let merged = request.to_tag().is_none().then(|| merge_key(request));
        let keys = Keys { server: Some(server_key(request, request.method())), merged };
        Self { keys, ..Self::client(machine, flow, leg, Purpose::Serve, "") }
    }
}

/// All transactions.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<TxId, Box<Entry>, Numbers>,
    by_key: HashMap<Arc<[u8]>, TxId>,
    by_merge: HashMap<Arc<[u8]>, TxId>,
    by_flow: BTreeSet<(Flow, TxId)>,
    /// A CANCEL has the branch of its INVITE (RFC 3261 §9.1), so it is found by that one's number.
    cancels: HashMap<TxId, TxId, Numbers>,
    last: TxId,
}

impl Table {
    /// Makes room for so many. Room that nobody has used takes no memory.
    pub fn reserve(&mut self, transactions: usize) {
        self.entries.reserve(transactions);
        self.by_key.reserve(transactions);
        self.by_merge.reserve(transactions);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A number for a transaction to come.
    pub const fn number(&mut self) -> TxId {
        self.last += 1;
        self.last
    }

    pub fn insert(&mut self, id: TxId, entry: Entry) {
        if let Some(key) = &entry.keys.server {
            self.by_key.insert(key.clone(), id);
        }
        if let Some(key) = &entry.keys.merged {
            self.by_merge.insert(key.clone(), id);
        }
        self.by_flow.insert((entry.flow, id));
        self.entries.insert(id, Box::new(entry));
    }

    /// Lets the CANCEL `id` be found by the branch of its INVITE.
    pub fn link_cancel(&mut self, invite: TxId, id: TxId) {
        self.cancels.insert(invite, id);
    }

    pub fn get(&self, id: TxId) -> Option<&Entry> {
        self.entries.get(&id).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, id: TxId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(Box::as_mut)
    }

    pub fn remove(&mut self, id: TxId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.by_flow.remove(&(entry.flow, id));
        if let Some(key) = entry.keys.server {
            self.by_key.remove(&key);
        }
        if let Some(key) = entry.keys.merged.filter(|key| self.by_merge.get(key) == Some(&id)) {
            self.by_merge.remove(&key);
        }
        if entry.purpose == Purpose::Cancel {
            let invite = number_in(&entry.branch);
            invite.and_then(|invite| self.cancels.remove(&invite));
        }
    }

    /// Moves a transaction to its other flow; `false` if it has none.
    pub fn move_to_fallback(&mut self, id: TxId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let Some(flow) = entry.fallback.take() else { return false };
        self.by_flow.remove(&(entry.flow, id));
        entry.flow = flow;
        self.by_flow.insert((flow, id));
        true
    }

    /// The server transaction of a request (RFC 3261 §17.2.3), or for `method` Invite the one its ACK or CANCEL
    /// is about.
    pub fn find_server(&self, request: &Message, method: Method) -> Option<TxId> {
        self.by_key.get(&server_key(request, method)).copied()
    }

    /// The transaction of another copy of a request, which came by another path (RFC 3261 §8.2.2.2).
    pub fn find_merged(&self, request: &Message) -> Option<TxId> {
        self.by_merge.get(&merge_key(request)).copied()
    }

    /// The client transaction of a response (RFC 3261 §17.1.3).
    pub fn find_client(&self, response: &Message) -> Option<TxId> {
        let branch = response.branch()?;
        let number = number_in(branch)?;
        let is_cancel = response.method() == Method::Cancel;
        let id = if is_cancel { *self.cancels.get(&number)? } else { number };
        let entry = self.entries.get(&id).filter(|entry| &*entry.branch == branch)?;
        let request = entry.machine.request()?;
        let sent = request.split(|byte| *byte == b' ').next();
        (sent == Some(response.method_text().as_bytes())).then_some(id)
    }

    /// The client transaction with this branch.
    pub fn find_branch(&self, branch: &str) -> Option<&Entry> {
        self.get(number_in(branch)?).filter(|entry| &*entry.branch == branch)
    }

    /// The transactions that use a flow.
    pub fn on_flow(&self, flow: Flow) -> Vec<TxId> {
        self.by_flow.range((flow, 0)..=(flow, TxId::MAX)).map(|(_, id)| *id).collect()
    }
}

/// Hashes numbers that we give ourselves, one after another: nobody outside can choose them, so no key is needed.
pub type Numbers = BuildHasherDefault<NumberHasher>;

/// As [`Numbers`].
#[derive(Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        // Fibonacci hashing spreads over the high bits, which a table looks at too.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

/// The number that stands between the last two dashes of a branch or tag of ours.
pub fn number_in(text: &str) -> Option<u64> {
    u64::from_str_radix(text.rsplit('-').nth(1)?, 16).ok()
}

fn server_key(request: &Message, method: Method) -> Arc<[u8]> {
    let name = if method == Method::Other { request.method_text() } else { method.as_str() };
    let mut key = Vec::with_capacity(96);
    let mut add = |part: &[u8]| {
        key.extend_from_slice(part);
        key.push(0);
    };
    add(name.as_bytes());
    match (request.branch().filter(|branch| branch.len() > COOKIE.len()), request.via()) {
        (Some(branch), Some(via)) if branch[..COOKIE.len()].eq_ignore_ascii_case(COOKIE) => {
            add(branch.to_ascii_lowercase().as_bytes());
            add(via.host.to_ascii_lowercase().as_bytes());
            add(&via.port.unwrap_or(0).to_be_bytes());
        }
        // A client of RFC 2543. The To tag is left out: an ACK has one, its INVITE had none.
        _ => {
            add(request.call_id().as_bytes());
            add(request.from_tag().unwrap_or("").as_bytes());
            add(&request.cseq().to_be_bytes());
            add(request.uri_text().as_bytes());
            add(request.header(Name::Via).unwrap_or(b""));
        }
    }
    key.into()
}

fn merge_key(request: &Message) -> Arc<[u8]> {
    let cseq = request.cseq().to_be_bytes();
    let tag = request.from_tag().unwrap_or("").as_bytes();
    [request.call_id().as_bytes(), &[0], tag, &[0], &cseq, request.method_text().as_bytes()].concat().into()
}
