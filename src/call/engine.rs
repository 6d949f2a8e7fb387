//! One shard of an edge: a SIP endpoint and the calls on it, single-threaded, without I/O.
//!
//! The contract:
//!
//! 1. [`Engine::handle`] one [`Input`] with the time it happened;
//! 2. [`Engine::poll`] until `None`;
//! 3. sleep until [`Engine::poll_timeout`], then `handle` an [`Input::Timeout`].
//!
//! **Equal inputs at equal times give equal outputs**, which is what makes simulations and replays possible; where several
//! engines count [`Together`], what the others have counted is an input, too.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use acd::mutant;
use bytes::Bytes;
use model::{
    AgentId, CallId, LegId, QueueId, SessionId, TrunkId,
    media::{MediaEvent, MediaOrder, Order},
    net::Flow as NetFlow,
    secrets::Secrets,
    snapshot::{Serves, Snapshot},
};
use sip::{
    endpoint::{self, Endpoint, Event as SipEvent, Header, Invite},
    sdp::KeySeed,
    wire::Method,
};

use crate::{
    Now, admission,
    bans::Bans,
    call::{Call, Context, DeskNews, Effect, FloorOrder, NOBODY, Told},
    certificate::{Identity, Proof},
    cursor::{Asked, Cursor, Environment},
    dial::Sent,
    health::Health,
    lots::Lots,
    rates::Rates,
    registrar::Registrar,
    registration::Registrations,
    world::{Names, Refused, World},
};

mod accepting;
mod arrival;
mod attempts;
mod contract;
mod floors;
mod gate;
mod load;
mod outgoing;
mod outside;
mod placing;
mod promises;
mod shard;
mod sources;
mod standing;
mod stations;
mod stir;
mod supervising;
mod transfers;
mod wraps;

pub use attempts::Attempt;
use attempts::Attempts;
pub use contract::{
    AfterWork, AgentAct, AgentOrder, CallAct, Config, Input, Offered, Output, StationNews, Supervisee,
    Talking, ToAsk, TrunkNews, WrapUp,
};
pub use expr::{BODY_MAX as ANSWER_MAX, Response};
use floors::Floors;
use gate::Gate;
use load::{Loads, Standings};
pub use load::{Tallies, Together};
use outside::Outside;
pub use placing::CALLBACK;
use placing::Callbacks;
pub use promises::{Preview, may_preview};
pub use shard::{HOME, SHARDS_MAX, Shard, Tidings};
use standing::Standing;
pub use stir::{SIGN_WAIT, ToSign, ToVerify, VERIFY_WAIT};
pub use wraps::NOTES_MAX;
use wraps::Wraps;

/// Outputs that wait to be drained: beyond it new calls are refused, never forgotten.
const OUTPUTS_MAX: usize = 65_536;

/// What a call is told of an effect of its own.
#[derive(Debug)]
enum Answer {
    /// What became of a branch's INVITE.
    Sent(LegId, Sent),
    /// Whether the contact may wait.
    Entered(Result<(), acd::Refusal>),
    /// A telephone could not be asked to answer.
    Unasked(LegId),
    /// How many go before the contact, if it waits, and how long it will wait, if that is known.
    Placed(Option<usize>, Option<Duration>),
    /// Whether somebody is called back.
    Promised(Result<(), String>),
    /// Until when an agent is held ready.
    Prolonged(Instant, AgentId),
}

/// One shard.
#[derive(Debug)]
pub struct Engine {
    endpoint: Endpoint,
    world: Arc<World>,
    expressions: expr::Engine,
    calls: BTreeMap<CallId, Box<Call>>,
    legs: BTreeMap<LegId, CallId>,
    deadlines: BTreeSet<(Instant, CallId)>,
    load: Loads,
    /// Whose connections are whose, by their numbers.
    identities: BTreeMap<u64, Identity>,
    next_call: u64,
    draining: bool,
    /// All calls were ended, and the edge goes.
    is_stopping: bool,
    health: Health,
    registrations: Registrations,
    outside: Outside,
    gate: Gate,
    /// Where keys of SRTP come from.
    keys: KeySeed,
    registrar: Registrar,
    /// By network.
    bans: BTreeMap<String, Bans>,
    rates: Rates,
    /// The same of calls for help, which no flood of anything else shall hold back.
    rates_of_help: Rates,
    connecting: Rates,
    /// Begins all that the edge names.
    token: String,
    shard: Shard,
    attempts: Attempts,
    waiting: stir::Waiting,
    callbacks: Callbacks,
    standing: Standing,
    /// Whether the world is another than peers and registrations were told of.
    is_stale: bool,
    floors: Floors,
    wraps: Wraps,
    /// Calls that only wait for their turn, without a leg.
    promises: BTreeSet<CallId>,
    lots: Lots,
    /// What every `split` draws.
    percent: Option<u8>,
    out: VecDeque<Output>,
}

impl Engine {
    /// An engine for the listeners of a snapshot. Peers are probed and registrars told from the first input on, which may
    /// be an [`Input::Timeout`].
    ///
    /// # Errors
    /// The first field of the snapshot that is wrong.
    pub fn new(config: Config, snapshot: Arc<Snapshot>, names: Names) -> Result<Self, Refused> {
        Ok(Self::of(config, Arc::new(World::new(snapshot, names, None)?)))
    }

    /// The same for what is ready already, as another engine of the edge has it.
    #[must_use]
    pub fn of(config: Config, world: Arc<World>) -> Self {
        let listeners = world.snapshot.cluster.listeners.iter();
        let listeners = listeners.map(|listener| endpoint::ListenerConfig {
            transport: listener.transport,
            sent_by: listener.advertised.clone(),
            serves_register: listener.serves == Serves::Agents,
        });
        let endpoint = Endpoint::new(
            endpoint::Config {
                listeners: listeners.collect(),
                token: config.shard.token(&config.token),
                user_agent: format!("Switchboard/{}", env!("CARGO_PKG_VERSION")),
                legs_max: config.legs_max,
                transactions_max: config.transactions_max,
                timers: sip::transaction::Timers::default(),
                mtu: endpoint::MTU,
                extensions: endpoint::Extensions { transfers: true, ..endpoint::Extensions::default() },
            },
            config.seed,
        );
        let mut lots = Lots::new(config.seed);
        Self {
            endpoint,
            health: Health::new(lots.draw()),
            registrations: Registrations::new(lots.draw()),
            outside: Outside::default(),
            keys: KeySeed::new(config.nonces.key_for(&[
                b"SRTP",
                config.shard.token(&config.token).as_bytes(),
                &config.seed.to_be_bytes(),
                &config.first_call.to_be_bytes(),
            ])),
            gate: Gate::new(config.nonces),
            registrar: Registrar::default(),
            bans: BTreeMap::new(),
            attempts: Attempts::default(),
            waiting: stir::Waiting::default(),
            callbacks: Callbacks::default(),
            standing: Standing::default(),
            rates: Rates::new(config.seed.rotate_left(32)),
            rates_of_help: Rates::new(config.seed.rotate_left(48)),
            connecting: Rates::new(config.seed.rotate_left(16)),
            token: config.token,
            shard: config.shard,
            is_stale: true,
            world,
            expressions: expr::Engine::new(),
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            load: Loads::new(config.together),
            identities: BTreeMap::new(),
            next_call: config.first_call,
            draining: false,
            is_stopping: false,
            floors: Floors::default(),
            wraps: Wraps::default(),
            promises: BTreeSet::new(),
            lots,
            percent: None,
            out: VecDeque::new(),
        }
    }

    /// Makes room for the transactions of the many calls that an edge serves, so that none of them waits for a map to grow.
    #[must_use]
    pub fn with_room(self) -> Self {
        Self { endpoint: self.endpoint.with_room(), ..self }
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
        self.is_stale = true;
        Ok(())
    }

    /// What is applied.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// From now on every `split` of calls to come draws this number from 0 to 99: in worlds that are made up.
    pub const fn set_percent(&mut self, percent: u8) {
        self.percent = Some(percent);
    }

    /// Where a running call is in its flow. None: there is no such call.
    #[must_use]
    pub fn cursor(&self, call: CallId) -> Option<&Cursor> {
        self.calls.get(&call).map(|call| call.cursor())
    }

    /// Where a running call waits for an agent, who is rung for it, and how many steps it has passed. None: it does not wait.
    #[must_use]
    pub fn waits(&self, call: CallId) -> Option<(&QueueId, Option<&AgentId>, usize)> {
        self.calls.get(&call)?.waits()
    }

    /// The running call whose A leg has this Call-ID.
    #[must_use]
    pub fn call_named(&self, call_id: &str) -> Option<CallId> {
        self.calls.iter().find(|(_, call)| call.call_id() == call_id).map(|(id, _)| *id)
    }

    /// Calls that are up, without promises that only wait.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len() - self.promises.len()
    }

    /// Promises to call somebody back, or to show an agent whom to call, that only wait.
    #[must_use]
    pub fn promises(&self) -> usize {
        self.promises.len()
    }

    /// SIP messages that were sent once more for want of an answer, since the engine began.
    #[must_use]
    pub const fn retransmitted(&self) -> u64 {
        self.endpoint.retransmitted()
    }

    /// Whether nothing is left: no call, no leg, no transaction, and no agent who is to say what has come of a contact.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.endpoint.legs() == 0
            && self.endpoint.transactions() == 0
            && !self.wraps.is_waited_for()
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Packet { flow, bytes } => {
                if let Some(input) = self.read(now, flow, &bytes) {
                    self.hear(now, flow, bytes, input);
                }
            }
            Input::Parsed { flow, bytes, input } => self.hear(now, flow, bytes, *input),
            Input::World(world) => {
                self.world = world;
                self.is_stale = true;
            }
            Input::Tidings(tidings) => self.learn(now, tidings),
            // Streams of strangers were never accepted.
            Input::Message { flow, message } => {
                let bytes = message.bytes().clone();
                self.hear(now, flow, bytes, endpoint::Input::Message { flow, message: *message });
            }
            Input::Malformed { flow, malformed, bytes } => {
                self.push(Output::Heard { flow, bytes, is_sound: false });
                let input = endpoint::Input::Malformed { flow, malformed: *malformed };
                if self.answers(&flow, &input) {
                    self.endpoint.handle(now.instant, input);
                }
            }
            Input::Identified { flow, identity } => {
                self.identities.insert(flow.connection, identity);
            }
            Input::Unreachable { flow } => {
                self.identities.remove(&flow.connection);
                if flow.connection != 0 {
                    self.registrar.lost(&flow);
                    self.tell_of_stations();
                }
                self.endpoint.handle(now.instant, endpoint::Input::Unreachable { flow });
            }
            Input::Media(event) => self.media(now, event),
            Input::Names(names) => self.renewed(names, self.world.secrets().clone()),
            Input::Secrets(secrets) => self.renewed(self.world.names().clone(), secrets),
            Input::Answered { call, request, answer } => {
                self.with_call(now, call, |call, context| call.answered(request, answer, context));
            }
            Input::Verified { ticket, verdict } => self.verified(now, ticket, verdict),
            Input::Signed { ticket, signature } => self.signed(now, ticket, signature),
            Input::Lift { address } => self.lift(now, address),
            Input::Agent(order) => self.agent_acts(now, &order),
            Input::Preview(preview) => self.preview(now, *preview),
            Input::Drain => self.begin_draining(),
            Input::Stop { because } => self.stop(now, because),
            Input::Timeout => self.timeout(now),
        }
        if std::mem::take(&mut self.is_stale) {
            self.look_over(now);
            self.look_over_stations();
            self.look_over_floors(now.instant);
            self.look_over_supervisors(now);
            self.look_over_standing();
        }
        self.drain_endpoint(now);
        while self.drain_outside(now) || self.drain_floors(now) {
            self.drain_endpoint(now);
        }
        if self.is_stopping {
            self.end_wraps(now);
        }
        self.lose_promises(now);
    }

    fn stop(&mut self, now: Now, because: &'static str) {
        self.begin_draining();
        let calls: Vec<_> = self.calls.keys().copied().collect();
        for call in calls {
            self.with_call(now, call, |call, context| call.end(because, context));
        }
        self.is_stopping = true;
    }

    fn begin_draining(&mut self) {
        self.draining = true;
        self.endpoint.set_draining(true);
        self.look_over_standing();
        self.registrations.drain();
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
        let beside = [
            self.health.poll_timeout(),
            self.registrations.poll_timeout(),
            self.registrar.poll_timeout(),
            self.waiting.poll_timeout(),
            self.floors.poll_timeout(),
            self.standing.poll_timeout(),
        ];
        [endpoint, call].into_iter().chain(beside).flatten().min()
    }

    /// Why a source is a stranger, as a sentence.
    #[must_use]
    pub fn why_stranger(world: &World, flow: &NetFlow, now: Now) -> String {
        admission::trunk_of(world, flow, Proof::Shown(None), now)
            .err()
            .map(|(_, because)| because)
            .unwrap_or_default()
    }

    /// A source that is known says something.
    fn hear(&mut self, now: Now, flow: NetFlow, bytes: Bytes, input: endpoint::Input) {
        let message = match &input {
            endpoint::Input::Message { message, .. } => Some(message),
            endpoint::Input::Malformed { .. }
            | endpoint::Input::Unreachable { .. }
            | endpoint::Input::Timeout => None,
        };
        if !self.answers(&flow, &input) {
            // The ACK of an answer that was forgotten is part of the protocol.
            if message.is_none_or(|message| message.method() != Method::Ack) {
                self.push(Output::Stranger { flow });
            }
            return;
        }
        if let Some(message) = message
            && self.is_greeted(now, flow, message)
        {
            return;
        }
        let is_sound = !matches!(input, endpoint::Input::Malformed { .. });
        self.push(Output::Heard { flow, bytes, is_sound });
        self.endpoint.handle(now.instant, input);
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
            self.is_stale = true;
        }
    }

    fn timeout(&mut self, now: Now) {
        self.endpoint.handle(now.instant, endpoint::Input::Timeout);
        self.health.timeout(now);
        self.registrations.timeout(now);
        self.registrar.timeout(now.instant);
        self.tell_of_stations();
        self.stop_waiting(now);
        self.floors.timeout(now.instant);
        self.standing.timeout(now.instant);
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
                endpoint::Output::Event(SipEvent::Invited { leg, flow, request, sdp, replaces }) => {
                    self.invited(now, (leg, replaces), flow, &request, sdp);
                }
                endpoint::Output::Event(SipEvent::Referred { leg, replaces: Some(replaces), .. }) => {
                    self.referred_to_a_dialog(now, leg, &replaces);
                }
                endpoint::Output::Event(
                    event @ (SipEvent::RequestDone { .. } | SipEvent::Challenged { .. }),
                ) => self.outside_event(now, event),
                endpoint::Output::Event(SipEvent::Requested { id, flow, request }) => {
                    self.requested(now, id, flow, &request);
                }
                endpoint::Output::Event(event) => self.leg_event(now, event),
            }
        }
    }

    fn leg_event(&mut self, now: Now, event: SipEvent) {
        let over = matches!(event, SipEvent::Ended { .. });
        let Some(leg) = event.leg() else { return };
        if let Some(attempt) = self.attempts.heard(now.instant, &event) {
            self.push(Output::Attempt(attempt));
        }
        let Some(call) = self.legs.get(&leg).copied() else {
            if over {
                self.waiting.forget(leg);
            }
            return;
        };
        if let SipEvent::Ended { how, .. } = &event {
            self.standing.ended(leg, how);
            self.legs.remove(&leg);
            self.load.unburden(leg);
        }
        self.with_call(now, call, |call, context| call.on_sip(event, context));
    }

    /// Runs something on a call, carries its effects out, and keeps the books.
    fn with_call(&mut self, now: Now, id: CallId, run: impl FnOnce(&mut Call, &mut Context<'_>)) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        self.deadlines.remove(&(call.deadline(), id));
        let world = Arc::clone(&self.world);
        let mut pending = self.run(now, &world, &mut call, run);
        // An INVITE that there is no room for is told to the call at once, which may try another way.
        while let Some(effect) = pending.pop_front() {
            let more = match self.carry_out(now, &call, effect) {
                Some(Answer::Sent(branch, sent)) => {
                    self.run(now, &world, &mut call, |call, context| call.invited(branch, sent, context))
                }
                Some(Answer::Entered(entered)) => {
                    self.run(now, &world, &mut call, |call, context| call.entered(entered, context))
                }
                Some(Answer::Promised(promised)) => {
                    self.run(now, &world, &mut call, |call, context| call.promised(promised, context))
                }
                Some(Answer::Prolonged(until, agent)) => {
                    if let Some(offered) = call.card_of_queue(now.instant, agent, until) {
                        self.push(Output::Offered(Box::new(offered)));
                    }
                    continue;
                }
                Some(Answer::Unasked(leg)) => {
                    self.run(now, &world, &mut call, |call, _| call.answer_refused(leg))
                }
                Some(Answer::Placed(ahead, wait)) => {
                    self.run(now, &world, &mut call, |call, context| call.placed(ahead, wait, context))
                }
                None => continue,
            };
            pending.extend(more);
        }
        self.count_promise(&call);
        // Caps count calls, not what is left to tidy up: whoever hung up may call again at once.
        if call.is_ending() && !mutant!(CapKept) {
            let leg = if self.standing.is_lent(call.a_leg()) { NOBODY } else { call.a_leg() };
            self.load.end(id, leg, call.burdens());
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
        let trunks = Standings {
            world,
            load: &self.load,
            health: &self.health,
            registrations: &self.registrations,
            endpoint: &self.endpoint,
            registrar: &self.registrar,
            floors: &self.floors,
            standing: &self.standing,
            now: now.instant,
        };
        let environment = Environment { world, expressions: &self.expressions, now };
        let mut context = Context { environment, trunks: &trunks, effects: Vec::new() };
        run(call, &mut context);
        call.attend(&mut context);
        context.effects.into()
    }

    /// Gives what the call is to be told of it at once.
    ///
    /// An order that no longer fits its leg crossed with what the peer did: the event of that is on its way.
    fn tell_desk(&mut self, call: &Call, news: DeskNews) {
        let id = call.id();
        self.push(match news {
            DeskNews::Talk(talk) => {
                let number = call.number_for(&talk.agent).to_owned();
                let call_id = call.call_id().to_owned();
                let queue = call.queue_of().cloned();
                Output::Talk(Box::new(Talking { call: id, call_id, number, queue, talk }))
            }
            DeskNews::Over(agent) => Output::TalkOver { call: id, agent },
            DeskNews::Refused { agent, because } => Output::Refused { call: Some(id), agent, because },
        });
    }

    fn turn_away(&mut self, at: Instant, leg: LegId, code: u16, mut headers: Vec<Header>) {
        if code == 503 {
            headers.push(self.retry_after());
        }
        let _ = self.endpoint.reject(at, leg, code, None, &headers);
    }

    fn ask(&mut self, call: CallId, request: u64, asked: Asked) {
        self.push(Output::Request(Box::new(ToAsk { call, request, asked })));
    }

    fn carry_out(&mut self, now: Now, call: &Call, effect: Effect) -> Option<Answer> {
        let at = now.instant;
        match effect {
            Effect::Desk(news) => self.tell_desk(call, news),
            Effect::Promise { promised, is_again } => {
                return self.promise_for(now, call, *promised, is_again);
            }
            Effect::Request { request, asked } => self.ask(call.id(), request, *asked),
            Effect::Provisional { leg, code, sdp } => {
                let _ = self.endpoint.provisional(at, leg, code, sdp, &[]);
            }
            Effect::Accept { leg, sdp } => {
                let _ = self.endpoint.accept(at, leg, sdp, &[]);
            }
            Effect::Reject { leg, code, headers } => self.turn_away(at, leg, code, headers),
            Effect::Cancel { leg, reason } => {
                let _ = self.endpoint.cancel(at, leg, &because(reason));
            }
            Effect::Standing(news) => self.standing.said(call.id(), news),
            Effect::Announce { agent, rings } => self.standing.wants(call.id(), agent, rings),
            // It goes on where it is kept up.
            Effect::Bye { leg, .. } if self.standing.is_lent(leg) => self.standing.take_back(leg),
            Effect::Forget { leg } if self.standing.is_lent(leg) => {}
            Effect::Bye { leg, reason } => {
                let _ = self.endpoint.bye(at, leg, &because(reason));
            }
            Effect::AskToAnswer { leg } => {
                return self.endpoint.ask_to_answer(at, leg).err().map(|_| Answer::Unasked(leg));
            }
            Effect::AnswerReinvite { leg, sdp } => {
                let _ = self.endpoint.answer_reinvite(at, leg, sdp);
            }
            Effect::RejectReinvite { leg, code } => {
                let _ = self.endpoint.reject_reinvite(at, leg, code);
            }
            effect @ (Effect::Reinvite { .. } | Effect::TellRecorder { .. }) => {
                return self.reinvite(at, effect);
            }
            effect @ (Effect::AcceptRefer { .. }
            | Effect::RejectRefer { .. }
            | Effect::NotifyRefer { .. }) => {
                self.refer(now, call, effect);
            }
            Effect::Forget { leg } => {
                self.legs.remove(&leg);
                self.load.unburden(leg);
            }
            Effect::Probe { leg } => {
                let _ = self.endpoint.probe(at, leg);
            }
            Effect::Info { leg, content_type, body } => {
                let _ = self.endpoint.info(at, leg, content_type, body);
            }
            Effect::SpeaksPlain { who } => self.health.found_plain(at, who),
            Effect::Media(order) => self.order(call.session(), order),
            Effect::Tell(told) => self.push(Output::Told(Box::new(told))),
            Effect::Saved(saved) => self.push(Output::Saved(saved)),
            Effect::Floor(order) => return self.tell_floor(at, call, *order),
            Effect::Heard { who, heard } if self.shard.is_home() => self.health.called(now, &who, heard),
            Effect::Heard { who, heard } => self.tell_others(Tidings::Heard(Box::new(who), heard)),
            Effect::Invite { branch, trunk, is_urgent, invite, claim } => {
                let invite = match &trunk {
                    // Nothing may hold a call for help up.
                    Some(trunk) if !is_urgent => self.sign(now, call.id(), (branch, trunk), invite, claim)?,
                    Some(_) | None => invite,
                };
                return Some(Answer::Sent(
                    branch,
                    self.invite(now, call, (trunk.as_ref(), is_urgent), *invite),
                ));
            }
        }
        None
    }

    fn tell_floor(&mut self, at: Instant, call: &Call, order: FloorOrder) -> Option<Answer> {
        if matches!(order, FloorOrder::Release(_)) {
            self.wraps.released(call);
        }
        self.floors.carry_out(at, call.id(), order)
    }

    fn invite(
        &mut self,
        now: Now,
        call: &Call,
        (trunk, is_urgent): (Option<&TrunkId>, bool),
        invite: Invite,
    ) -> Sent {
        let world = Arc::clone(&self.world);
        let limits = trunk.and_then(|trunk| world.snapshot.trunks.get_key_value(trunk));
        if let (Some(trunk), None) = (trunk, limits) {
            return Sent::Refused(format!("Trunk {trunk} is gone"));
        }
        if let Some((trunk, limits)) = limits.filter(|_| !is_urgent)
            && let Err(because) = self.load.takes(trunk, limits, now.instant)
        {
            return Sent::Refused(because);
        }
        let flow = invite.flow;
        let Ok(leg) = self.endpoint.invite(now.instant, invite) else {
            return Sent::Refused("this edge has as many legs or transactions as it can".into());
        };
        let dialled = self.endpoint.call_id(leg).unwrap_or_default();
        self.push(Output::Dialled { call_id: call.call_id().to_owned(), leg: dialled });
        self.legs.insert(leg, CallId(call.session().0));
        if let Some((trunk, limits)) = limits {
            self.attempts.sent(now, leg, call.call_id(), (trunk, flow));
            self.load.burden(leg, trunk);
            self.load.spend(trunk, limits, now.instant);
        }
        Sent::As(leg)
    }

    fn close(&mut self, now: Now, call: &Call) {
        // One that is kept up is in another call by now.
        if self.legs.get(&call.a_leg()) == Some(&call.id()) {
            self.legs.remove(&call.a_leg());
        }
        self.push(Output::Record(Box::new(call.record(now.wall))));
    }

    fn order(&mut self, session: SessionId, order: Order) {
        self.push(Output::Media(MediaOrder { session, order }));
    }

    fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    fn refer(&mut self, now: Now, call: &Call, effect: Effect) {
        if let Effect::AcceptRefer { leg } = effect {
            let _ = self.endpoint.accept_refer(now.instant, leg);
        } else if let Effect::RejectRefer { leg, code, because } = effect {
            self.refuse_refer(now, leg, call.call_id(), (code, because));
        } else if let Effect::NotifyRefer { leg, code, is_final } = effect {
            let _ = self.endpoint.notify_refer(now.instant, leg, code, is_final);
        }
    }

    fn reinvite(&mut self, at: Instant, effect: Effect) -> Option<Answer> {
        let (branch, sent) = if let Effect::Reinvite { branch, leg, sdp } = effect {
            (branch, self.endpoint.reinvite(at, leg, sdp))
        } else if let Effect::TellRecorder { branch, leg, sdp, attached } = effect {
            (branch, self.endpoint.reinvite_with(at, leg, sdp, attached))
        } else {
            return None;
        };
        sent.err().map(|misuse| Answer::Sent(branch, Sent::Refused(misuse.to_string())))
    }

    /// 1 to 8 seconds: peers that are turned away together do not come back together.
    fn retry_after(&mut self) -> Header {
        Header::new("Retry-After", self.lots.between(1, 8).to_string())
    }
}

/// Whether a peer wants to be told in descriptions that it is recorded (RFC 7866 §6.2).
fn is_record_aware(request: &sip::wire::Message) -> bool {
    let mut supported = request.headers(sip::wire::Name::Supported).flat_map(sip::header::tokens);
    supported.any(|tag| tag.eq_ignore_ascii_case("record-aware"))
}

/// The Reason header field (RFC 3326), where there is a reason.
fn because(reason: Option<impl Into<String>>) -> Vec<Header> {
    reason.map(|reason| Header::new("Reason", reason.into())).into_iter().collect()
}
