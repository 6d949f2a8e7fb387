//! One shard of an edge: a SIP endpoint and the calls on it, single-threaded, without I/O.
//!
//! The contract:
//!
//! 1. [`Engine::handle`] one [`Input`] with the time it happened;
//! 2. [`Engine::poll`] until `None`;
//! 3. sleep until [`Engine::poll_timeout`], then `handle` an [`Input::Timeout`].
//!
//! **Equal inputs at equal times give equal outputs**, which is what makes simulations and replays possible.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use jiff::Timestamp;
use model::{
    CallId, LegId, SessionId, TrunkId,
    media::{Codec, Direction, MediaEvent, MediaOrder, Order},
    net::{Flow as NetFlow, ListenerIx},
    secrets::Secrets,
    snapshot::{NumberRange, Serves, Snapshot},
};
use sip::{
    endpoint::{self, Endpoint, Event as SipEvent, Header, Note},
    sdp::{self, LocalMedia, SdpError},
    wire::{Malformed, Message},
};

use crate::{
    Now,
    admission::{self, Admission, Admitted, Load, Refusal},
    call::{Call, Context, Effect, Incoming, TrunkLoad, Unperformed},
    cursor::Environment,
    explanation::{Explanation, Outcome},
    identity::{Identity, Proof},
    record::Record,
    world::{Names, Refused, World},
};

/// Outputs that wait to be drained: beyond it new calls are refused, never forgotten.
const OUTPUTS_MAX: usize = 65_536;

/// What an engine is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Begins tags, branches and Contact users.
    pub token: String,
    /// First call id: each engine of an edge gets a range of its own.
    pub first_call: u64,
    /// Seed of tags, branches and Call-IDs: unguessable in production, fixed in tests.
    pub seed: u64,
    /// Most legs at once.
    pub legs_max: usize,
    /// Most transactions at once.
    pub transactions_max: usize,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A datagram came.
    Packet {
        /// By which path.
        flow: NetFlow,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A stream held a message.
    Message {
        /// By which path.
        flow: NetFlow,
        /// The message.
        message: Box<Message>,
    },
    /// A stream held something that is no message.
    Malformed {
        /// By which path.
        flow: NetFlow,
        /// What is wrong with it.
        malformed: Box<Malformed>,
    },
    /// A connection under TLS is up, or what is known of its peer has changed: before the connection's first message.
    Identified {
        /// The connection.
        flow: NetFlow,
        /// Who it is.
        identity: Identity,
    },
    /// What was sent by this flow could not be delivered, or its connection is gone.
    Unreachable {
        /// The flow that failed.
        flow: NetFlow,
    },
    /// A media server tells something.
    Media(MediaEvent),
    /// Host names of peers were resolved again.
    Names(Names),
    /// Values of Secrets, all of them, in place of those before.
    Secrets(Secrets),
    /// Take no new calls; those that are there go on.
    Drain,
    /// End all calls.
    Stop {
        /// Why, for the records.
        because: &'static str,
    },
    /// The deadline of `poll_timeout` has come. Early is harmless.
    Timeout,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// By which path.
        flow: NetFlow,
        /// One whole message.
        bytes: Bytes,
    },
    /// Give this order to the media server.
    Media(MediaOrder),
    /// Log one line: a peer did something it should not.
    Note(Note),
    /// A packet came from a source that no trunk admits. Nothing was sent.
    Stranger {
        /// Which way it came.
        flow: NetFlow,
    },
    /// Why an INVITE was treated as it was.
    Explanation(Box<Explanation>),
    /// A step was reached that this edge has no means for.
    Unperformed(Box<Unperformed>),
    /// A call is over.
    Record(Box<Record>),
}

/// One shard.
#[derive(Debug)]
pub struct Engine {
    endpoint: Endpoint,
    world: Arc<World>,
    expressions: expr::Engine,
    calls: BTreeMap<CallId, Call>,
    legs: BTreeMap<LegId, CallId>,
    deadlines: BTreeSet<(Instant, CallId)>,
    load: Loads,
    /// Whose connections are whose, by their numbers.
    identities: BTreeMap<u64, Identity>,
    next_call: u64,
    draining: bool,
    random: u64,
    out: VecDeque<Output>,
}

/// Calls at the moment.
#[derive(Debug, Default)]
struct Loads {
    calls: u32,
    trunks: BTreeMap<TrunkId, u32>,
    numbers: BTreeMap<(TrunkId, model::E164), u32>,
    /// Calls that are counted.
    counted: BTreeSet<CallId>,
    /// The trunk that each leg burdens.
    of_leg: BTreeMap<LegId, TrunkId>,
}

impl Load for Loads {
    fn calls(&self) -> u32 {
        self.calls
    }

    fn of_trunk(&self, trunk: &TrunkId) -> u32 {
        self.trunks.get(trunk).copied().unwrap_or(0)
    }

    fn of_number(&self, trunk: &TrunkId, number: &NumberRange) -> u32 {
        self.numbers.get(&(trunk.clone(), number.first)).copied().unwrap_or(0)
    }
}

impl Loads {
    fn begin(&mut self, call: CallId, leg: LegId, trunk: &TrunkId, number: &NumberRange) {
        self.calls += 1;
        *self.numbers.entry((trunk.clone(), number.first)).or_default() += 1;
        self.counted.insert(call);
        self.burden(leg, trunk);
    }

    fn burden(&mut self, leg: LegId, trunk: &TrunkId) {
        self.of_leg.insert(leg, trunk.clone());
        *self.trunks.entry(trunk.clone()).or_default() += 1;
    }

    /// Once per leg; again is harmless.
    fn unburden(&mut self, leg: LegId) {
        if let Some(trunk) = self.of_leg.remove(&leg) {
            lower(&mut self.trunks, &trunk);
        }
    }

    /// Once per call; again is harmless.
    fn end(&mut self, call: CallId, leg: LegId, trunk: &TrunkId, number: &NumberRange) {
        if self.counted.remove(&call) {
            self.calls -= 1;
            lower(&mut self.numbers, &(trunk.clone(), number.first));
            self.unburden(leg);
        }
    }
}

fn lower<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[derive(Debug)]
struct TrunkCaps<'a> {
    world: &'a World,
    load: &'a Loads,
}

impl TrunkLoad for TrunkCaps<'_> {
    fn admits(&self, trunk: &TrunkId) -> bool {
        let cap = self.world.snapshot.trunks.get(trunk).and_then(|trunk| trunk.calls_max);
        cap.is_none_or(|cap| self.load.of_trunk(trunk) < cap)
    }
}

impl Engine {
    /// An engine for the listeners of a snapshot.
    ///
    /// # Errors
    /// The first field of the snapshot that is wrong.
    pub fn new(config: Config, snapshot: Arc<Snapshot>, names: Names) -> Result<Self, Refused> {
        let listeners = snapshot.cluster.listeners.iter();
        let listeners = listeners.map(|listener| endpoint::ListenerConfig {
            transport: listener.transport,
            sent_by: listener.advertised.clone(),
        });
        let endpoint = Endpoint::new(
            endpoint::Config {
                listeners: listeners.collect(),
                token: config.token,
                user_agent: format!("Switchboard/{}", env!("CARGO_PKG_VERSION")),
                legs_max: config.legs_max,
                transactions_max: config.transactions_max,
                timers: sip::transaction::Timers::default(),
            },
            config.seed,
        );
        Ok(Self {
            endpoint,
            world: Arc::new(World::new(snapshot, names, None)?),
            expressions: expr::Engine::new(),
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            load: Loads::default(),
            identities: BTreeMap::new(),
            next_call: config.first_call,
            draining: false,
            random: config.seed,
            out: VecDeque::new(),
        })
    }

    /// Takes a new snapshot, whole or not at all. Running calls keep their flows. Listeners must be the same as before:
    /// a change of listeners is a new engine.
    ///
    /// # Errors
    /// The first field that is wrong; what was there stays.
    pub fn apply(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Refused> {
        let before = &self.world.snapshot.cluster.listeners;
        if snapshot.cluster.listeners != *before {
            let message = "may not change while the process runs: restart it".into();
            return Err(Refused { field: "cluster.listeners".into(), message });
        }
        let names = self.world.names().clone();
        self.world = Arc::new(World::new(snapshot, names, Some(&self.world))?);
        Ok(())
    }

    /// What is applied.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Calls that are up.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing is left: no call, no leg, no transaction.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.endpoint.legs() == 0 && self.endpoint.transactions() == 0
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Packet { flow, bytes } => {
                if self.is_known(now, flow) {
                    self.endpoint.handle(now.instant, endpoint::Input::datagram(flow, bytes));
                }
            }
            // Streams of strangers were never accepted.
            Input::Message { flow, message } => {
                self.endpoint.handle(now.instant, endpoint::Input::Message { flow, message: *message });
            }
            Input::Malformed { flow, malformed } => {
                self.endpoint.handle(now.instant, endpoint::Input::Malformed { flow, malformed: *malformed });
            }
            Input::Identified { flow, identity } => {
                self.identities.insert(flow.connection, identity);
            }
            Input::Unreachable { flow } => {
                self.identities.remove(&flow.connection);
                self.endpoint.handle(now.instant, endpoint::Input::Unreachable { flow });
            }
            Input::Media(event) => self.media(now, event),
            Input::Names(names) => self.renewed(names, self.world.secrets().clone()),
            Input::Secrets(secrets) => self.renewed(self.world.names().clone(), secrets),
            Input::Drain => self.draining = true,
            Input::Stop { because } => {
                self.draining = true;
                let calls: Vec<_> = self.calls.keys().copied().collect();
                for call in calls {
                    self.with_call(now, call, |call, context| call.end(because, context));
                }
            }
            Input::Timeout => self.timeout(now),
        }
        self.drain_endpoint(now);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let endpoint = self.endpoint.poll_timeout().map(|(at, _)| at);
        let call = self.deadlines.first().map(|(at, _)| *at);
        [endpoint, call].into_iter().flatten().min()
    }

    /// Whether a connection from `address` may be opened at all: an unlisted source hears nothing.
    #[must_use]
    pub fn admits_connection(world: &World, listener: ListenerIx, address: IpAddr, wall: Timestamp) -> bool {
        let Some(listener) = world.snapshot.cluster.listeners.get(usize::from(listener.0)) else {
            return false;
        };
        listener.serves == Serves::Trunks && world.knows(&listener.network, address, wall)
    }

    /// Why a source is a stranger, as a sentence.
    #[must_use]
    pub fn why_stranger(world: &World, flow: &NetFlow, now: Now) -> String {
        admission::trunk_of(world, flow, Proof::Shown(None), now)
            .err()
            .map(|(_, because)| because)
            .unwrap_or_default()
    }

    /// Before anything is parsed or kept: an unlisted source hears nothing.
    fn is_known(&mut self, now: Now, flow: NetFlow) -> bool {
        let known = Self::admits_connection(&self.world, flow.listener, flow.remote.ip(), now.wall);
        if !known {
            self.push(Output::Stranger { flow });
        }
        known
    }

    fn media(&mut self, now: Now, event: MediaEvent) {
        let call = CallId(event.session.0);
        self.with_call(now, call, |call, context| call.on_media(event.event, context));
    }

    fn renewed(&mut self, names: Names, secrets: Secrets) {
        let snapshot = Arc::clone(&self.world.snapshot);
        // It was compiled before: it compiles again.
        if let Ok(world) = World::new(snapshot, names, Some(&self.world)) {
            self.world = Arc::new(world.with_secrets(secrets));
        }
    }

    fn timeout(&mut self, now: Now) {
        self.endpoint.handle(now.instant, endpoint::Input::Timeout);
        while let Some((at, call)) = self.deadlines.first().copied()
            && at <= now.instant
        {
            self.deadlines.pop_first();
            self.with_call(now, call, Call::timeout);
        }
    }

    fn drain_endpoint(&mut self, now: Now) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                endpoint::Output::Transmit { flow, bytes } => self.push(Output::Transmit { flow, bytes }),
                endpoint::Output::Note(note) => self.push(Output::Note(note)),
                endpoint::Output::Event(SipEvent::Invited { leg, flow, request, sdp }) => {
                    self.invited(now, leg, flow, &request, sdp);
                }
                endpoint::Output::Event(event) => self.leg_event(now, event),
            }
        }
    }

    fn leg_event(&mut self, now: Now, event: SipEvent) {
        let (leg, over) = match &event {
            SipEvent::Ended { leg, .. } => (*leg, true),
            SipEvent::Invited { leg, .. }
            | SipEvent::Progress { leg, .. }
            | SipEvent::Answered { leg, .. }
            | SipEvent::Confirmed { leg, .. }
            | SipEvent::Reinvited { leg, .. }
            | SipEvent::ReinviteAnswered { leg, .. }
            | SipEvent::ReinviteFailed { leg, .. }
            | SipEvent::Info { leg, .. } => (*leg, false),
        };
        let Some(call) = self.legs.get(&leg).copied() else { return };
        if over {
            self.legs.remove(&leg);
            self.load.unburden(leg);
        }
        self.with_call(now, call, |call, context| call.on_sip(event, context));
    }

    fn invited(&mut self, now: Now, leg: LegId, flow: NetFlow, request: &Message, offer: Option<Bytes>) {
        let mut explanation = self.explanation(now, &flow, request);
        let world = Arc::clone(&self.world);
        let proof = Proof::Shown(self.identities.get(&flow.connection));
        let admission = match admission::trunk_of(&world, &flow, proof, now) {
            Ok(trunk) => admission::admit(&world, trunk, &explanation.to, &self.load),
            // A peer that we only call, or one whose listing ended while the INVITE was under way.
            Err((candidates, because)) => {
                let verdict =
                    Err(Refusal { code: 403, because, reason: Some("Q.850;cause=21"), retry_after: false });
                Admission { candidates, verdict }
            }
        };
        explanation.candidates = admission.candidates;
        let admitted =
            match admission.verdict.and_then(|admitted| self.room(&world, admitted, offer.as_deref())) {
                Ok(admitted) => admitted,
                Err(refusal) => return self.refuse(now, leg, explanation, refusal),
            };
        let (admitted, spoken) = admitted;
        explanation.outcome = Outcome::Routed {
            trunk: admitted.trunk.clone(),
            number: admitted.number.id.clone(),
            flow: admitted.number.flow.clone(),
        };
        self.push(Output::Explanation(Box::new(explanation.clone())));
        let Some(trunk) = world.snapshot.trunks.get(&admitted.trunk) else { return };
        let incoming = Incoming {
            leg,
            call_id: explanation.call_id,
            from: explanation.from,
            max_forwards: request.max_forwards().unwrap_or(70).saturating_sub(1),
            lots: self.number(),
            offer,
            spoken,
            network: trunk.network.clone(),
            codecs: trunk.codecs.clone(),
            admitted,
        };
        self.admit(now, leg, incoming);
    }

    /// What no snapshot can say: whether this shard takes calls, and whether the offer can be answered.
    fn room(
        &self,
        world: &World,
        admitted: Admitted,
        offer: Option<&[u8]>,
    ) -> Result<(Admitted, Option<Codec>), Refusal> {
        let busy =
            |because: &str| Refusal { code: 503, because: because.into(), reason: None, retry_after: true };
        if self.draining {
            return Err(busy("this edge is draining and takes no new calls."));
        }
        if self.out.len() >= OUTPUTS_MAX {
            return Err(busy("this edge has more to do than it can."));
        }
        let trunk = world.snapshot.trunks.get(&admitted.trunk);
        let codecs = trunk.map(|trunk| trunk.codecs.clone()).unwrap_or_default();
        match offer.map(|offer| sdp::answer(offer, &trial(codecs))) {
            None => Ok((admitted, None)),
            Some(Ok((_, parameters))) => Ok((admitted, Some(parameters.codec))),
            Some(Err(error)) => Err(unanswerable(&admitted.trunk, &error)),
        }
    }

    fn admit(&mut self, now: Now, leg: LegId, incoming: Incoming) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.load.begin(id, leg, &incoming.admitted.trunk, &incoming.admitted.number);
        self.legs.insert(leg, id);
        let world = Arc::clone(&self.world);
        let environment = Environment { world: &world, expressions: &self.expressions, now };
        let call = Call::new(id, incoming, environment);
        self.calls.insert(id, call);
        self.with_call(now, id, Call::begin);
    }

    fn refuse(&mut self, now: Now, leg: LegId, mut explanation: Explanation, refusal: Refusal) {
        let Refusal { code, because, reason, retry_after } = refusal;
        let mut headers: Vec<_> = reason.map(|reason| Header::new("Reason", reason)).into_iter().collect();
        if retry_after {
            headers.push(self.retry_after());
        }
        explanation.outcome = Outcome::Refused { code, because };
        self.push(Output::Explanation(Box::new(explanation)));
        // It was there a moment ago; if its CANCEL came first, that has answered it.
        let _ = self.endpoint.reject(now.instant, leg, code, None, &headers);
    }

    fn explanation(&self, now: Now, flow: &NetFlow, request: &Message) -> Explanation {
        let listener = self.world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        Explanation {
            call_id: request.call_id().to_owned(),
            at: now.wall,
            source: flow.remote,
            listener: listener.map(|listener| listener.name.clone()).unwrap_or_default(),
            from: caller(request),
            to: sip::uri::unescape(request.called_number().unwrap_or_default()).into_owned(),
            candidates: Vec::new(),
            outcome: Outcome::Ignored { because: String::new() },
            unperformed: Vec::new(),
        }
    }

    /// Runs something on a call, carries its effects out, and keeps the books.
    fn with_call(&mut self, now: Now, id: CallId, run: impl FnOnce(&mut Call, &mut Context<'_>)) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        self.deadlines.remove(&(call.deadline(), id));
        let world = Arc::clone(&self.world);
        let mut pending = self.run(now, &world, &mut call, run);
        // An INVITE that the endpoint has no room for is told to the call at once, which may try another way.
        while let Some(effect) = pending.pop_front() {
            if let Some((branch, leg)) = self.carry_out(now, &call, effect) {
                let more =
                    self.run(now, &world, &mut call, |call, context| call.invited(branch, leg, context));
                pending.extend(more);
            }
        }
        // Caps count calls, not what is left to tidy up: whoever hung up may call again at once.
        if call.is_ending() {
            let admitted = call.admitted();
            self.load.end(id, call.a_leg(), &admitted.trunk, &admitted.number);
        }
        if call.is_over(now.instant) {
            return self.close(now, &call);
        }
        self.deadlines.insert((call.deadline(), id));
        self.calls.insert(id, call);
    }

    fn run(
        &self,
        now: Now,
        world: &World,
        call: &mut Call,
        run: impl FnOnce(&mut Call, &mut Context<'_>),
    ) -> VecDeque<Effect> {
        let caps = TrunkCaps { world, load: &self.load };
        let environment = Environment { world, expressions: &self.expressions, now };
        let mut context = Context { environment, admits: &caps, effects: Vec::new() };
        run(call, &mut context);
        context.effects.into()
    }

    /// Gives the branch and its new SIP leg where the effect was an INVITE.
    ///
    /// An order that no longer fits its leg crossed with what the peer did: the event of that is on its way.
    fn carry_out(&mut self, now: Now, call: &Call, effect: Effect) -> Option<(LegId, Option<LegId>)> {
        let at = now.instant;
        match effect {
            Effect::Provisional { leg, code, sdp } => {
                let _ = self.endpoint.provisional(at, leg, code, sdp, &[]);
            }
            Effect::Accept { leg, sdp } => {
                let _ = self.endpoint.accept(at, leg, sdp, &[]);
            }
            Effect::Reject { leg, code, mut headers } => {
                if code == 503 {
                    headers.push(self.retry_after());
                }
                let _ = self.endpoint.reject(at, leg, code, None, &headers);
            }
            Effect::Cancel { leg } => {
                let _ = self.endpoint.cancel(at, leg, &[]);
            }
            Effect::Bye { leg, reason } => {
                let headers: Vec<_> =
                    reason.map(|reason| Header::new("Reason", reason)).into_iter().collect();
                let _ = self.endpoint.bye(at, leg, &headers);
            }
            Effect::AnswerReinvite { leg, sdp } => {
                let _ = self.endpoint.answer_reinvite(at, leg, sdp);
            }
            Effect::RejectReinvite { leg, code } => {
                let _ = self.endpoint.reject_reinvite(at, leg, code);
            }
            Effect::Forget { leg } => {
                self.legs.remove(&leg);
                self.load.unburden(leg);
            }
            Effect::Media(order) => self.order(call.session(), order),
            Effect::Unperformed(step) => self.push(Output::Unperformed(Box::new(step))),
            Effect::Invite { branch, trunk, invite } => {
                let id = CallId(call.session().0);
                let leg = self.endpoint.invite(at, *invite).ok();
                if let Some(leg) = leg {
                    self.legs.insert(leg, id);
                    self.load.burden(leg, &trunk);
                }
                return Some((branch, leg));
            }
        }
        None
    }

    fn close(&mut self, now: Now, call: &Call) {
        self.legs.remove(&call.a_leg());
        self.push(Output::Record(Box::new(call.record(now.wall))));
    }

    fn order(&mut self, session: SessionId, order: Order) {
        self.push(Output::Media(MediaOrder { session, order }));
    }

    fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// 1 to 8 seconds: peers that are turned away together do not come back together.
    fn retry_after(&mut self) -> Header {
        Header::new("Retry-After", (1 + (self.number() >> 61)).to_string())
    }

    /// The next number of the seed's sequence.
    const fn number(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random
    }
}

/// The calling number as it was sent; empty if withheld (RFC 3323 §4.1.1.3, RFC 3325 §9.3).
fn caller(request: &Message) -> String {
    let number = sip::uri::unescape(request.calling_number().unwrap_or_default());
    let withheld = ["anonymous", "unavailable", "restricted", "unknown"];
    if withheld.iter().any(|word| number.eq_ignore_ascii_case(word)) {
        String::new()
    } else {
        number.into_owned()
    }
}

/// What we would say, to see whether the offer can be answered before any port is taken.
fn trial(codecs: Vec<Codec>) -> LocalMedia {
    LocalMedia {
        address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        rtp_port: 9,
        codecs,
        telephone_event: true,
        ptime_ms: 20,
        direction: Direction::SendRecv,
        session_id: 0,
        version: 0,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else is wrong with an offer cannot be answered either"
)]
fn unanswerable(trunk: &TrunkId, error: &SdpError) -> Refusal {
    let (code, reason) = match error {
        SdpError::Malformed { .. } => (400, "Q.850;cause=95"),
        _ => (488, "Q.850;cause=88"),
    };
    let because = format!("{error}; Trunk {trunk} has the codecs that its spec.codecs list.");
    Refusal { code, because, reason: Some(reason), retry_after: false }
}
