//! The engine's thread: its sockets, its timer, and what is done with its outputs.
//!
//! One current-thread runtime; every task on it borrows the [`Core`] for one step and never across an `await`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use call::{
    Now,
    certificate::Identity,
    engine::{Engine, HOME, Input, Output},
    explanation::Outcome,
    record::Record,
};
use jiff::Timestamp;
use link::MediaOrders;
use model::{
    media::{Event, MediaEvent, MediaOrder, Order, Refusal},
    net::{Flow, ListenerIx, Transport},
    snapshot::{Listener, Serves},
};
use outbound::Integrations;
use rustls::ServerConfig;
use sip::endpoint::{Done, Note};
use tokio::{
    io::unix::AsyncFd,
    net::TcpListener,
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::LocalSet,
};
use tracing::{debug, error, info, trace, warn};

use crate::{
    Control,
    datagram::{self, Datagrams},
    hep::{self, Capture, Copied},
    ladder,
    neighbours::{Neighbours, Relayed, Ways},
    observed::Observed,
    requests::{self, Requests},
    secure,
    sockets::{self, Bound, Sockets},
    stir::{self, Stir},
    stream::{self, Handshake, Streams},
    sys,
    tls::{Judge, Shown, Target, Tls, names},
    traces::Traces,
};

/// Sources that are not known have a line in so long a time, and so have bad messages.
const QUIET: Duration = Duration::from_secs(10);

/// Bad messages of sources that are known, of which each has a line, in [`QUIET`].
const NOTES_MAX: u64 = 500;

/// Media events that are taken before the sockets have their turn.
const EVENTS_AT_ONCE: usize = 64;

/// Timers are looked at no more often: what is due in between waits for the next look. None of SIP's is so fine.
const TIMERS_EVERY: Duration = Duration::from_millis(5);

mod agents;
mod relay;
mod strangers;

use agents::watch_floors;
use relay::{follow_home, take_relayed};

pub type Shared = Rc<RefCell<Core>>;

/// What the tasks of the thread share.
pub struct Core {
    engine: Engine,
    orders: Arc<dyn MediaOrders>,
    observed: Arc<Observed>,
    tls: Tls,
    pub stir: Stir,
    pub requests: Requests,
    traces: Traces,
    neighbours: Neighbours,
    /// What of the sums over all engines is this one's.
    calls: u64,
    retransmitted: u64,
    pub datagrams: Datagrams,
    pub streams: Streams,
    /// Datagrams wait until a batch is through.
    held: bool,
    /// Rings when timers are due; none outside of the engine's thread.
    alarm: Option<Rc<AsyncFd<sys::Alarm>>>,
    woken_at: Option<Instant>,
    /// When timers were looked at.
    looked_at: Option<Instant>,
    quiet: BTreeMap<IpAddr, Instant>,
    /// When all of those may be forgotten, and what has gone without a line since there were too many.
    quiet_until: Option<Instant>,
    hushed: u64,
    /// Bad messages since ten seconds before then.
    noted: (Option<Instant>, u64),
    capture: Option<Capture>,
    /// Where handshakes are made. None: the thread has not begun.
    workers: Option<Handle>,
    own: Weak<RefCell<Self>>,
    /// Told once the engine is idle.
    stopping: Option<oneshot::Sender<()>>,
}

impl Core {
    pub fn new(
        engine: Engine,
        orders: Arc<dyn MediaOrders>,
        observed: Arc<Observed>,
        (neighbours, integrations): (Neighbours, Arc<Integrations>),
    ) -> Self {
        let tls = Tls::new(engine.world());
        let stir = Stir::new(engine.world(), Arc::clone(&observed));
        let traces = Traces::new(Arc::clone(&observed));
        let requests = Requests::new(integrations, Arc::clone(&observed));
        observed.name_listeners(&engine.world().snapshot.cluster.listeners);
        Self {
            engine,
            orders,
            observed,
            tls,
            stir,
            requests,
            traces,
            neighbours,
            calls: 0,
            retransmitted: 0,
            datagrams: Datagrams::default(),
            streams: Streams::default(),
            held: false,
            alarm: None,
            woken_at: None,
            looked_at: None,
            quiet: BTreeMap::new(),
            quiet_until: None,
            hushed: 0,
            noted: (None, 0),
            capture: None,
            workers: None,
            own: Weak::new(),
            stopping: None,
        }
    }

    /// Takes an input, which may turn out to be another engine's.
    pub fn step(&mut self, input: Input) {
        let now = now();
        match self.sort(now, input) {
            Some(input) => self.step_here(now, input),
            None => self.drive(now),
        }
    }

    /// Gives the engine an input and carries out what it says.
    fn step_here(&mut self, now: Now, input: Input) {
        self.engine.handle(now, input);
        self.drive(now);
    }

    /// Carries out what the engine says.
    fn drive(&mut self, now: Now) {
        // What is answered at once, as in the stead of a media server that takes no order, may give further outputs.
        while let Some(answer) = self.carry_out(now) {
            self.engine.handle(now, answer);
        }
        if !self.held {
            self.flush();
        }
        self.observed.calls.renew(&mut self.calls, self.engine.calls() as u64);
        self.observed.retransmitted.renew(&mut self.retransmitted, self.engine.retransmitted());
        if self.neighbours.is_home() {
            self.neighbours.share(self.engine.world());
        }
        self.set_alarm(now);
        if self.engine.is_idle()
            && let Some(stopping) = self.stopping.take()
        {
            let _ = stopping.send(());
        }
    }

    /// Sees to it that timers are looked at when the next is due.
    fn set_alarm(&mut self, now: Now) {
        let Some(due) = self.engine.poll_timeout() else { return };
        let due = self.looked_at.map_or(due, |last| due.max(last + TIMERS_EVERY));
        if self.woken_at.is_some_and(|woken| woken <= due) {
            return;
        }
        self.woken_at = Some(due);
        let Some(alarm) = &self.alarm else { return };
        if let Err(error) = alarm.get_ref().set(due.saturating_duration_since(now.instant)) {
            error!("the clock cannot be set: {error}");
        }
    }

    fn carry_out(&mut self, now: Now) -> Option<Input> {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit { flow, bytes } => {
                    if !self.is_for_nobody(flow, &bytes) {
                        self.witness(now, (ladder::Direction::Out, true), &flow, &bytes);
                    }
                    self.transmit(flow, bytes);
                }
                Output::Heard { flow, bytes, is_sound } => {
                    self.witness(now, (ladder::Direction::In, is_sound), &flow, &bytes);
                }
                Output::Dialled { call_id, leg } => self.observed.dialled(&call_id, leg),
                Output::Media(order) => {
                    if let Some(refused) = self.order(order) {
                        return Some(Input::Media(refused));
                    }
                }
                Output::Note(note) => self.note(now, &note),
                Output::Stranger { flow } => self.stranger(flow, now),
                Output::Excess { flow } => self.excess(flow, now),
                Output::Explanation(explanation) => {
                    if let Outcome::Refused { code, because } = &explanation.outcome {
                        info!(call_id = explanation.call_id, code, "refused: {because}");
                    }
                    debug!("{explanation}");
                    if self.traces.is_on() {
                        self.traces.explained(&explanation, now.wall);
                    }
                    self.observed.explain(*explanation);
                }
                Output::Told(told) => {
                    info!(call_id = told.call_id, "{}", told.what);
                    self.traces.told(&told.call_id, &told.what, now.wall);
                    self.observed.tell(&told);
                }
                Output::Saved(saved) => self.observed.sounds.keep(*saved),
                Output::TrunkNews(news) if news.is_bad => warn!("{}", news.what),
                Output::TrunkNews(news) => info!("{}", news.what),
                Output::StationNews(news) => self.station_news(news),
                Output::AgentState { agent, state } => self.observed.floors.state(agent, &state, now),
                Output::Offered(offered) => self.observed.floors.offered(*offered, now),
                Output::OfferOver { call, agent } => self.observed.floors.offer_over(call, agent),
                Output::Talk(talking) => self.observed.floors.talk(*talking),
                Output::TalkOver { call, agent } => self.observed.floors.talk_over(call, agent),
                Output::WrapUp(begun) => self.observed.floors.wrap_up(*begun),
                Output::WrapUpOver { call, agent } => self.observed.floors.wrap_up_over(call, agent),
                Output::Disposed(disposed) => self.observed.disposed(*disposed),
                Output::Refused { call, agent, because } => {
                    self.observed.floors.refused(call, agent, because)
                }
                Output::Sign(to_sign) => {
                    return Some(self.stir.sign(self.engine.world(), &to_sign, now.wall));
                }
                Output::Verify(to_verify) => {
                    if let Some(verdict) = self.stir.verify(self.engine.world(), *to_verify) {
                        return Some(verdict);
                    }
                }
                Output::Request(to_ask) => {
                    if let Some(answered) = self.requests.ask(self.engine.world(), *to_ask) {
                        return Some(answered);
                    }
                }
                Output::Attempt(attempt) => {
                    self.traces.attempt(&attempt);
                    self.observed.attempt(&attempt);
                }
                Output::Standing => self.observed.standing(&self.engine),
                Output::Tidings(tidings) => {
                    self.observed.relays_dropped.add(self.neighbours.pass_on(tidings));
                }
                Output::Begun(begun) => self.observed.begun(begun),
                Output::Record(record) => self.ended(record),
            }
        }
        None
    }

    fn ended(&mut self, record: Box<Record>) {
        // Not a line for each call: `/api/v1/interactions` gives the records out.
        debug!(
            call = %record.call,
            flow = record.flow.as_ref().map(tracing::field::display),
            trunk = record.trunk.as_ref().map(tracing::field::display),
            station = record.station.as_ref().map(tracing::field::display),
            code = record.sip_code,
            ended_by = ?record.ended_by,
            because = record.because.as_deref(),
            "call ended after {} steps", record.path.len()
        );
        self.traces.ended(&record);
        self.observed.record(record);
    }

    fn note(&mut self, now: Now, note: &Note) {
        self.observed.malformed.add(1);
        match note.done {
            _ if !self.may_note(now) => {}
            Done::Answered(code) => info!(flow = %note.flow, answered = code, "{}", note.what),
            Done::Dropped => info!(flow = %note.flow, "dropped: {}", note.what),
        }
    }

    /// Whether it is a challenge to who has not proved anything, of which a flood would push calls out of the ladder.
    fn is_for_nobody(&self, flow: Flow, bytes: &[u8]) -> bool {
        let is_for_agents = || self.listener(flow).is_some_and(|listener| listener.serves == Serves::Agents);
        bytes.starts_with(b"SIP/2.0 401 ") && is_for_agents()
    }

    /// Whether one more bad message gets a line: so many in ten seconds, whoever sends them.
    fn may_note(&mut self, now: Now) -> bool {
        let (until, count) = self.noted;
        if until.is_none_or(|until| until <= now.instant) {
            if count > NOTES_MAX {
                info!("{} bad messages more were answered or dropped without a line", count - NOTES_MAX);
            }
            self.noted = (Some(now.instant + QUIET), 0);
        }
        self.noted.1 += 1;
        self.noted.1 <= NOTES_MAX
    }

    fn order(&self, order: MediaOrder) -> Option<MediaEvent> {
        let session = order.session;
        let allocates = if let Order::Allocate { leg, .. } | Order::Extend { leg, .. } = &order.order {
            Some(*leg)
        } else {
            None
        };
        if self.orders.queue(order).is_ok() {
            return None;
        }
        self.observed.orders_dropped.add(1);
        let leg = allocates?;
        Some(MediaEvent { session, event: Event::Refused { leg, reason: Refusal::Draining } })
    }

    /// Keeps a message, and sends a copy where one is wanted.
    fn witness(
        &mut self,
        now: Now,
        (direction, is_sound): (ladder::Direction, bool),
        flow: &Flow,
        message: &[u8],
    ) {
        let is_known = is_sound && self.engine.is_proven(flow);
        let whose = if is_known { ladder::Whose::Known } else { ladder::Whose::Strange };
        self.observed.ladder.keep(now.wall, whose, (direction, flow), message);
        if let (Some(at), ladder::Direction::In) = (self.observed.at(flow.listener), direction) {
            at.received.add(1);
        }
        let Some(capture) = &mut self.capture else { return };
        let listeners = &self.engine.world().snapshot.cluster.listeners;
        let Some(ours) = listeners.get(usize::from(flow.listener.0)).map(|listener| listener.bind) else {
            return;
        };
        let (source, destination) = match direction {
            ladder::Direction::In => (flow.remote, ours),
            ladder::Direction::Out => (ours, flow.remote),
        };
        let copied = Copied { at: now.wall, transport: flow.transport, source, destination, message };
        let count =
            if capture.send(&copied) { &self.observed.copies_sent } else { &self.observed.copies_lost };
        count.add(1);
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.observed.at(flow.listener).into_iter().for_each(|at| at.sent.add(1));
        trace!(%flow, "→ {}", String::from_utf8_lossy(&bytes));
        if self.datagrams.push(flow.listener, flow.remote, &bytes) {
            return;
        }
        if self.neighbours.is_home() {
            return self.send_by_connection(flow, bytes);
        }
        if !self.neighbours.give(HOME, Relayed::Send(flow, bytes)) {
            self.observed.packets_unsent.add(1);
        }
    }

    fn send_by_connection(&mut self, flow: Flow, bytes: Bytes) {
        let sent = self.streams.send(flow, bytes);
        let count = if sent { &self.observed.packets_sent } else { &self.observed.packets_unsent };
        count.add(1);
    }

    /// From now on datagrams wait for [`Core::release`], which sends them together.
    pub const fn hold(&mut self) {
        self.held = true;
    }

    pub fn release(&mut self) {
        self.held = false;
        self.flush();
    }

    fn flush(&mut self) {
        self.orders.flush();
        let (sent, unsent) = self.datagrams.flush();
        self.observed.packets_sent.add(sent as u64);
        self.observed.packets_unsent.add(unsent as u64);
    }

    /// Logs what a connection came to nothing by.
    pub fn complain(&mut self, flow: Flow, what: &str) {
        if !self.is_quiet(flow, now()) {
            warn!(%flow, "{what}");
        }
    }

    /// A handshake failed.
    pub fn insecure(&mut self, flow: Flow, what: &str) {
        self.observed.tls_failed.add(1);
        self.observed.at(flow.listener).into_iter().for_each(|at| at.tls_failed.add(1));
        self.complain(flow, what);
    }

    /// A handshake is through.
    pub fn secured(&self, flow: Flow) {
        self.observed.tls_sessions.add(1);
        self.observed.at(flow.listener).into_iter().for_each(|at| at.tls_sessions.add(1));
    }

    /// Who tells peers by what they have shown.
    pub fn judge(&self) -> Judge {
        self.tls.judge(self.engine.world())
    }

    /// Takes what a judge has found. False: it goes by what no longer holds.
    pub fn identified(&mut self, flow: Flow, shown: &Shown, identity: Identity, since: u64) -> bool {
        if !self.tls.is_current(since) {
            return false;
        }
        debug!(%flow, names = ?identity.names, vouched = ?identity.vouched, version = ?identity.version, "under TLS");
        // It may be gone meanwhile.
        if self.streams.identified(flow.connection, shown.clone(), identity.clone()) {
            self.step(Input::Identified { flow, identity });
        }
        true
    }

    /// Where handshakes are made.
    pub fn workers(&self) -> Option<Handle> {
        self.workers.clone()
    }

    /// A connection that calls were to leave by came to nothing: whoever asks about one of them is told why.
    pub fn unconnected(&self, flow: &Flow, waiting: &[Bytes], because: &str) {
        let call_ids: BTreeSet<&[u8]> =
            waiting.iter().filter_map(|message| ladder::call_id_of(message)).collect();
        for call_id in call_ids {
            let call_id = String::from_utf8_lossy(call_id);
            self.observed.tell_of_leg(&call_id, &format!("{flow} cannot be used: {because}"));
        }
    }

    /// What a listener says under TLS, and the right to begin; or why it can say nothing.
    pub fn server_config(&self, flow: Flow) -> Result<(Arc<ServerConfig>, Handshake), String> {
        let listener = self.listener(flow).ok_or("the listener is no longer part of the VoiceCluster")?;
        let config = self.tls.server(listener)?;
        let under_way = self.begin_handshake(flow).ok_or("too many handshakes are under way")?;
        Ok((config, under_way))
    }

    /// The right to begin a handshake. None: too many are under way, in all or of its source.
    pub fn begin_handshake(&self, flow: Flow) -> Option<Handshake> {
        let begun = self.streams.begin_handshake(&flow);
        if begun.is_none() {
            self.observed.handshakes_refused.add(1);
        }
        begun
    }

    /// Whom a flow leads to under TLS.
    pub fn target(&mut self, flow: Flow) -> Result<Target, String> {
        self.tls.target(self.engine.world(), flow)
    }

    /// A peer wants to be reached by the connection that it has opened. Only one that has proved, on this connection, that
    /// it is who would be sought there.
    pub fn alias(&mut self, flow: Flow, alias: SocketAddr) {
        if self.streams.has_alias(flow, alias) {
            return;
        }
        let Some(identity) = self.streams.identity(flow.connection).cloned() else { return };
        let at = Flow { remote: alias, ..flow };
        if !identity.vouched.is_empty()
            && self.target(at).is_ok_and(|target| target.is_met_by(&identity.names))
        {
            debug!(%flow, %alias, "the connection serves the other way too");
            self.streams.add_alias(flow, alias);
        }
    }

    /// After a snapshot or Secrets: what connections are good for is asked again; none is dropped.
    fn renew_tls(&mut self) {
        if !self.tls.renew(self.engine.world()) {
            return;
        }
        for (flow, shown) in self.streams.shown() {
            if shown.as_server && !self.still_reaches(flow, &shown) {
                self.streams.retire(flow);
            }
            if let Some(core) = self.own.upgrade() {
                tokio::task::spawn_local(async move { secure::identify(&core, flow, shown).await });
            }
        }
    }

    fn still_reaches(&mut self, flow: Flow, shown: &Shown) -> bool {
        let names = shown.chain.first().map(|one| names::of(one)).unwrap_or_default();
        self.target(flow).is_ok_and(|target| target.is_met_by(&names))
    }

    fn listener(&self, flow: Flow) -> Option<&Listener> {
        self.engine.world().snapshot.cluster.listeners.get(usize::from(flow.listener.0))
    }

    fn interface(&self, listener: ListenerIx) -> Option<String> {
        let cluster = &self.engine.world().snapshot.cluster;
        let listener = cluster.listeners.get(usize::from(listener.0))?;
        sockets::interface(cluster, listener).map(str::to_owned)
    }

    /// Hosts of our own, whose pages may use a listener.
    pub fn own_hosts(&self, flow: Flow) -> Vec<String> {
        let mut hosts = self.engine.world().snapshot.cluster.domains.clone();
        let advertised = self.listener(flow).and_then(|listener| listener.advertised.rsplit_once(':'));
        hosts.extend(advertised.map(|(host, _)| host.trim_matches(['[', ']']).to_owned()));
        hosts
    }

    pub fn refuse_connection(&mut self, flow: Flow) {
        self.stranger(flow, now());
    }

    /// Whether a source that is heard may connect once more now.
    pub fn may_connect(&mut self, flow: &Flow) -> bool {
        let may = self.engine.may_connect(flow.listener, flow.remote.ip(), now());
        if !may {
            self.observed.excess_connections.add(1);
        }
        may
    }

    /// How long the next message of a connection must wait.
    pub fn pace(&mut self, flow: &Flow) -> Duration {
        let wait = self.engine.pace(flow, now());
        if !wait.is_zero() {
            self.observed.paced_messages.add(1);
        }
        wait
    }

    /// A connection was closed for what it did, or did not.
    pub fn cut(&mut self, flow: Flow, why: Cut, what: &str) {
        let count = match why {
            Cut::Crowd => &self.observed.connections_refused,
            Cut::Slow => &self.observed.connections_slow,
            Cut::Heavy => &self.observed.connections_heavy,
        };
        count.add(1);
        if !self.is_quiet(flow, now()) {
            info!(%flow, "closed a connection: {what}");
        }
    }

    /// Whether anybody may speak to the flow's listener.
    pub fn is_for_agents(&self, flow: &Flow) -> bool {
        self.listener(*flow).is_some_and(|listener| listener.serves == Serves::Agents)
    }

    /// Place of the network of a listener.
    pub fn place_of(&self, listener: ListenerIx) -> u16 {
        self.engine.world().place_of(listener)
    }

    pub fn admits(&self, listener: ListenerIx, address: IpAddr) -> bool {
        self.engine.admits(listener, address, now())
    }

    pub fn received(&self) {
        self.observed.packets_received.add(1);
    }

    /// A socket stays as long as what it is for.
    fn capture_to(&mut self, settings: Option<hep::Settings>) {
        if self.capture.as_ref().map(Capture::settings) == settings.as_ref() {
            return;
        }
        self.capture = settings.and_then(|settings| {
            let collector = settings.collector;
            let opened = Capture::open(settings);
            opened.inspect_err(|error| warn!(%collector, "no copies are sent: {error}")).ok()
        });
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Apply(snapshot, answer) => {
                let applied = self.engine.apply(snapshot);
                if applied.is_ok() {
                    self.observed.show_world(self.engine.world());
                    self.renew_tls();
                    self.traces.renew(self.engine.world());
                }
                let _ = answer.send(applied);
                self.step(Input::Timeout);
            }
            Control::Names(names) => self.step(Input::Names(names)),
            Control::Capture(settings) => self.capture_to(settings),
            Control::Lift(address) => self.step(Input::Lift { address }),
            Control::Agent(order) => self.step(Input::Agent(order)),
            Control::Preview(preview) => self.step(Input::Preview(preview)),
            Control::Secrets(secrets) => {
                self.step(Input::Secrets(secrets));
                self.observed.show_world(self.engine.world());
                self.renew_tls();
                self.traces.renew(self.engine.world());
            }
            Control::Drain => self.step(Input::Drain),
            Control::Stop(because, answer) => {
                self.stopping = Some(answer);
                self.step(Input::Stop { because });
            }
        }
    }
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// There are too many.
    Crowd,
    /// A message, or the first one, does not come.
    Slow,
    /// What has begun of its messages takes too much memory.
    Heavy,
}

pub fn now() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::now() }
}

/// Threads that shake hands.
const WORKERS: usize = 2;

/// The thread's life.
pub fn run(
    mut core: Core,
    sockets: Sockets,
    from: (mpsc::Receiver<MediaEvent>, Ways),
    control: mpsc::Receiver<Control>,
) {
    if let Err(error) = link::run_soon() {
        debug!("calls have their turn when it comes: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error!("the edge's runtime cannot start: {error}"),
    };
    let workers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("edge-tls")
        .enable_all()
        .build();
    let workers = match workers {
        Ok(workers) => workers,
        Err(error) => return error!("the edge's threads for TLS cannot start: {error}"),
    };
    core.workers = Some(workers.handle().clone());
    let local = LocalSet::new();
    let core = Rc::new(RefCell::new(core));
    core.borrow_mut().own = Rc::downgrade(&core);
    local.block_on(&runtime, live(core, sockets, from, control));
    workers.shutdown_background();
}

async fn live(
    core: Shared,
    sockets: Sockets,
    (events, ways): (mpsc::Receiver<MediaEvent>, Ways),
    mut control: mpsc::Receiver<Control>,
) {
    for (listener, transport, bound) in sockets.0 {
        if let Err(error) = listen(&core, listener, transport, bound) {
            error!("a listener cannot be polled: {error}");
        }
    }
    tokio::task::spawn_local(take_events(Rc::clone(&core), events));
    if !core.borrow().neighbours.are_none() {
        tokio::task::spawn_local(take_relayed(Rc::clone(&core), ways.traffic));
        if !core.borrow().neighbours.is_home() {
            tokio::task::spawn_local(follow_home(Rc::clone(&core), ways.home));
        }
    }
    match sys::Alarm::new().and_then(sys::poll_alarm) {
        Ok(alarm) => {
            let alarm = Rc::new(alarm);
            core.borrow_mut().alarm = Some(Rc::clone(&alarm));
            tokio::task::spawn_local(keep_time(Rc::clone(&core), alarm));
        }
        Err(error) => return error!("an edge needs a clock: {error}"),
    }
    tokio::task::spawn_local(stir::serve(Rc::clone(&core)));
    tokio::task::spawn_local(requests::serve(Rc::clone(&core)));
    tokio::task::spawn_local(watch_floors(Rc::clone(&core)));
    {
        let core = &mut *core.borrow_mut();
        core.traces.renew(core.engine.world());
        core.observed.show_world(core.engine.world());
    }
    // Peers may be probed and registrars be told from now on.
    core.borrow_mut().step(Input::Timeout);
    while let Some(order) = control.recv().await {
        core.borrow_mut().control(order);
    }
}

fn listen(core: &Shared, listener: ListenerIx, transport: Transport, bound: Bound) -> io::Result<()> {
    match bound {
        Bound::Datagrams(socket) => {
            let socket = Rc::new(sys::poll_datagrams(socket)?);
            core.borrow_mut().datagrams.add(listener, Rc::clone(&socket));
            tokio::task::spawn_local(datagram::take(Rc::clone(core), listener, socket));
        }
        Bound::Connections(socket) => {
            let interface = core.borrow().interface(listener);
            let local = (socket.local_addr()?, interface, core.borrow().place_of(listener));
            core.borrow_mut().streams.add_listener(listener, local, core);
            let socket = TcpListener::from_std(socket)?;
            tokio::task::spawn_local(stream::accept(Rc::clone(core), listener, transport, socket));
        }
    }
    Ok(())
}

async fn take_events(core: Shared, mut events: mpsc::Receiver<MediaEvent>) {
    let mut batch = Vec::with_capacity(EVENTS_AT_ONCE);
    while events.recv_many(&mut batch, EVENTS_AT_ONCE).await > 0 {
        let mut core = core.borrow_mut();
        core.hold();
        batch.drain(..).for_each(|event| core.step(Input::Media(event)));
        core.release();
    }
    warn!("the media server has ended");
}

async fn keep_time(core: Shared, alarm: Rc<AsyncFd<sys::Alarm>>) {
    loop {
        match alarm.readable().await {
            // It is never read: being due again is an event again, and setting it anew takes the one before back.
            Ok(mut due) => due.clear_ready(),
            Err(error) => return error!("the clock has stopped: {error}"),
        }
        let mut core = core.borrow_mut();
        (core.looked_at, core.woken_at) = (Some(Instant::now()), None);
        core.step(Input::Timeout);
    }
}
