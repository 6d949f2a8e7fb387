//! Two endpoints and the network between them, on virtual time: loss, delay, copies and reordering from a seed.
//!
//! For tests, of this crate and, by the feature `testing`, of those above it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::net::{Flow, ListenerIx, Transport};

use crate::{
    endpoint::{Config, Endpoint, Event, Extensions, Input, Invite, ListenerConfig, MTU, Note, Output},
    transaction::Timers,
};

/// Most steps of [`Pair::settle`]; two endpoints that need more never come to rest.
const STEPS_MAX: usize = 200_000;

/// What the network does to a message. Over a reliable transport only the delay counts.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    /// Of a hundred messages, how many are lost.
    pub loss_percent: u64,
    /// Of a hundred messages, how many come twice.
    pub copy_percent: u64,
    /// Shortest way, in milliseconds.
    pub delay_ms: u64,
    /// How much longer it may take, in milliseconds; so messages overtake each other.
    pub jitter_ms: u64,
}

impl Net {
    /// 20 ms, nothing lost.
    pub const GOOD: Self = Self { loss_percent: 0, copy_percent: 0, delay_ms: 20, jitter_ms: 0 };
    /// 30 % lost, 10 % doubled, up to 300 ms apart.
    pub const BAD: Self = Self { loss_percent: 30, copy_percent: 10, delay_ms: 10, jitter_ms: 300 };
}

/// Decides from the sender (0 or 1) and the message's text whether it is lost.
pub type Filter = Box<dyn FnMut(usize, &str) -> bool>;

/// Two endpoints.
pub struct Pair {
    /// 0 is the caller in most tests.
    pub ends: [Endpoint; 2],
    /// The virtual time.
    pub now: Instant,
    /// What was told and not taken by a test yet.
    pub events: VecDeque<(usize, Event)>,
    /// Notes of both sides.
    pub notes: Vec<(usize, Note)>,
    /// First word or code of all that was sent, such as `0 INVITE` and `1 200`.
    pub trace: Vec<String>,
    /// Which messages are lost besides.
    pub filter: Filter,
    net: Net,
    transport: Transport,
    random: u64,
    wire: BTreeMap<(Instant, u64), (usize, Bytes)>,
    sent: u64,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("trace", &self.trace).finish_non_exhaustive()
    }
}

impl Pair {
    /// Two endpoints at rest.
    #[must_use]
    pub fn new(now: Instant, transport: Transport, net: Net, seed: u64) -> Self {
        let end = |side: usize| {
            Endpoint::new(config(side, transport), seed.wrapping_mul(2).wrapping_add(side as u64))
        };
        Self {
            ends: [end(0), end(1)],
            now,
            events: VecDeque::new(),
            notes: Vec::new(),
            trace: Vec::new(),
            filter: Box::new(|_, _| false),
            net,
            transport,
            random: seed,
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Begins anew with other extensions, on both sides.
    pub fn extend(&mut self, extensions: Extensions) {
        for (side, end) in self.ends.iter_mut().enumerate() {
            let config = Config { extensions, ..config(side, self.transport) };
            *end = Endpoint::new(config, self.random.wrapping_add(side as u64));
        }
    }

    /// An INVITE from `side` to the other one.
    #[must_use]
    pub fn invite_from(&self, side: usize, sdp: Option<&'static str>) -> Invite {
        Invite {
            flow: self.flow_to(1 - side),
            request_uri: format!("sip:+18005550100@{};user=phone", address(1 - side)),
            from: format!("<sip:+12125550100@{}>", address(side)),
            to: format!("<sip:+18005550100@{}>", address(1 - side)),
            sdp: sdp.map(|sdp| Bytes::from_static(sdp.as_bytes())),
            max_forwards: 70,
            headers: Vec::new(),
            challenges: false,
            tcp: None,
            attached: None,
            feature: None,
        }
    }

    /// The way to a side, as the other one sees it.
    #[must_use]
    pub fn flow_to(&self, side: usize) -> Flow {
        let connection = u64::from(self.transport.is_reliable());
        Flow { transport: self.transport, listener: ListenerIx(0), remote: address(side), connection }
    }

    /// Takes what both sides want sent or told.
    pub fn drain(&mut self) {
        for side in 0..2 {
            while let Some(output) = self.ends[side].poll() {
                match output {
                    Output::Transmit { flow, bytes } => self.send(side, flow, bytes),
                    Output::Event(event) => self.events.push_back((side, event)),
                    Output::Note(note) => self.notes.push((side, note)),
                }
            }
        }
    }

    /// Goes on to the next thing that happens; `false` when nothing ever will.
    pub fn step(&mut self) -> bool {
        self.drain();
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let timer = self.ends.iter().filter_map(Endpoint::poll_timeout).map(|(at, _)| at).min();
        let Some(at) = arrival.into_iter().chain(timer).min() else { return false };
        self.now = self.now.max(at);
        if arrival == Some(at) {
            if let Some((_, (to, bytes))) = self.wire.pop_first() {
                let input = Input::datagram(self.flow_to(1 - to), bytes);
                self.ends[to].handle(self.now, input);
            }
        } else {
            for end in &mut self.ends {
                end.handle(self.now, Input::Timeout);
            }
        }
        self.drain();
        true
    }

    /// Steps until nothing more happens; each event is handed to `react`, which may give orders.
    ///
    /// # Panics
    /// When the two never come to rest.
    pub fn settle(&mut self, mut react: impl FnMut(&mut Self, usize, Event)) {
        for _ in 0..STEPS_MAX {
            self.drain();
            while let Some((side, event)) = self.events.pop_front() {
                react(self, side, event);
                self.drain();
            }
            if !self.step() && self.events.is_empty() {
                return;
            }
        }
        panic!("they never come to rest");
    }

    /// Steps for a while; events stay in `events`.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.drain();
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let timer = self.ends.iter().filter_map(Endpoint::poll_timeout).map(|(at, _)| at).min();
            if arrival.into_iter().chain(timer).min().is_none_or(|at| at > until) {
                self.now = until;
                return;
            }
            self.step();
        }
    }

    /// Whether neither side holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.iter().all(|end| end.legs() == 0 && end.transactions() == 0)
    }

    /// How often something was sent, in the words of `trace`.
    #[must_use]
    pub fn count(&self, what: &str) -> usize {
        self.trace.iter().filter(|line| *line == what).count()
    }

    fn send(&mut self, from: usize, flow: Flow, bytes: Bytes) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut words = text.split(' ');
        let first = words.next().unwrap_or("");
        let word = if first == "SIP/2.0" { words.next().unwrap_or("") } else { first };
        self.trace.push(format!("{from} {word}"));
        if flow.remote != address(1 - from) || (self.filter)(from, &text) {
            return;
        }
        let reliable = self.transport.is_reliable();
        if !reliable && self.below(100) < self.net.loss_percent {
            return;
        }
        let copies = if !reliable && self.below(100) < self.net.copy_percent { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = if reliable || self.net.jitter_ms == 0 { 0 } else { self.below(self.net.jitter_ms) };
            let at = self.now + Duration::from_millis(self.net.delay_ms + jitter);
            self.sent += 1;
            self.wire.insert((at, self.sent), (1 - from, bytes.clone()));
        }
    }

    /// Xorshift; good enough to lose messages.
    fn below(&mut self, bound: u64) -> u64 {
        self.random |= 1 << 40;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

/// The configuration of a side.
#[must_use]
pub fn config(side: usize, transport: Transport) -> Config {
    Config {
        listeners: vec![ListenerConfig {
            transport,
            sent_by: address(side).to_string(),
            serves_register: side == 1,
        }],
        token: format!("end{side}"),
        user_agent: "Switchboard".to_owned(),
        legs_max: 1_000,
        transactions_max: 4_000,
        timers: Timers::default(),
        mtu: MTU,
        extensions: Extensions { reliable: false, session: None, transfers: false },
    }
}

/// Where a side is.
#[must_use]
pub fn address(side: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, if side == 0 { 1 } else { 2 }], 5060))
}
