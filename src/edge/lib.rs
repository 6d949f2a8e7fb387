//! The edge's shell: sockets, connections, HTTP, and the thread of the call engine.
//!
//! Nothing is decided here. Packets, media events, time and control go into [`call::engine::Engine`]; what it gives is
//! carried out. Each engine has a thread of its own with its own sockets for datagrams, so calls wait for no lock but that of
//! the caps. What a thread reads of another's traffic it passes on; connections are the first one's.

mod datagram;
pub mod desk;
pub mod dns;
mod figures;
pub mod floors;
mod hep;
pub mod http;
pub mod interactions;
pub mod ladder;
mod movable;
mod neighbours;
pub mod observed;
mod openapi;
mod requests;
mod secure;
mod shell;
mod sockets;
pub mod sounds;
mod stir;
mod stream;
mod stun;
mod sys;
pub mod tls;
mod traces;
mod websocket;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use call::{
    engine::{AgentOrder, Engine, HOME, Input, SHARDS_MAX, Shard, Together},
    world::{Names, Refused},
};
use link::{MediaEvents, MediaOrders};
use model::{
    media::MediaEvent,
    net::Transport,
    secrets::Secrets,
    snapshot::{Listener, Snapshot},
};
use sip::digest::Nonces;
use store::records::Recorder;
use tokio::sync::{mpsc, oneshot};

use crate::{dns::Dns, neighbours::Neighbours, observed::Observed, sockets::Sockets};

/// Media events that wait for the engine.
const EVENTS_MAX: usize = 65_536;

/// What an edge is told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it serves. Its listeners are bound once and for all.
    pub snapshot: Arc<Snapshot>,
    /// Values of the Secrets that it names.
    pub secrets: Secrets,
    /// Whether other edges of this machine may listen on the same addresses (SO_REUSEPORT).
    pub shared: bool,
    /// Begins tags, branches and Contact users: letters and digits.
    pub token: String,
    /// Seed of what must not be guessed.
    pub seed: u64,
    /// Nonces of challenges: all edges of a cluster share the key.
    pub nonces: Nonces,
    /// Where records of calls go besides memory. None: nowhere.
    pub records: Option<Recorder>,
    /// Most SIP legs at once.
    pub legs_max: usize,
    /// Most SIP transactions at once.
    pub transactions_max: usize,
}

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be bound.
    #[error("listener `{listener}` cannot use {transport} {address}: {source}{}", .hint)]
    Bind {
        /// The listener.
        listener: String,
        /// Its transport.
        transport: Transport,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// What to do about it, if that is known.
        hint: &'static str,
    },
    /// The snapshot cannot be used.
    #[error("the snapshot is refused: {0}")]
    Refused(#[from] Refused),
    /// No thread.
    #[error("the edge's thread cannot start: {0}")]
    Thread(#[source] io::Error),
}

/// The edge is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the edge has ended")]
pub struct Gone;

/// What the thread is told.
pub(crate) enum Control {
    Apply(Arc<Snapshot>, oneshot::Sender<Result<(), Refused>>),
    Names(Names),
    Secrets(Secrets),
    Preview(Box<call::engine::Preview>),
    Capture(Option<hep::Settings>),
    Lift(IpAddr),
    Agent(Box<AgentOrder>),
    Drain,
    Stop(&'static str, oneshot::Sender<()>),
}

/// Sessions of one engine, of which each has a range.
const SESSIONS_OF_ONE: u64 = link::media::SESSIONS_END / SHARDS_MAX as u64;

/// Where a media server's events go; made before the media server, which is made before the edge.
#[derive(Debug, Clone)]
pub struct EventSink {
    /// One for each engine.
    queues: Vec<mpsc::Sender<MediaEvent>>,
    observed: Arc<Observed>,
}

impl MediaEvents for EventSink {
    fn send(&self, event: MediaEvent) {
        let engine = usize::try_from(event.session.0 / SESSIONS_OF_ONE).unwrap_or(usize::MAX);
        if self.queues.get(engine).is_none_or(|queue| queue.try_send(event).is_err()) {
            self.observed.events_dropped.add(1);
        }
    }
}

/// The other end of an [`EventSink`].
#[derive(Debug)]
pub struct EventSource {
    queues: Vec<mpsc::Receiver<MediaEvent>>,
    observed: Arc<Observed>,
}

/// The ways of events from a media server to an edge that has so many engines: 1 to [`SHARDS_MAX`].
#[must_use]
pub fn events(engines: usize) -> (EventSink, EventSource) {
    let ways = (0..engines.clamp(1, SHARDS_MAX)).map(|_| mpsc::channel(EVENTS_MAX));
    let (senders, receivers) = ways.unzip();
    let observed = Arc::new(Observed::default());
    (
        EventSink { queues: senders, observed: Arc::clone(&observed) },
        EventSource { queues: receivers, observed },
    )
}

/// A running edge. Dropping it ends its thread, and its calls without a word: [`Edge::stop`] says good-bye.
#[derive(Debug)]
pub struct Edge {
    control: mpsc::Sender<Control>,
    /// Of the other engines than the first.
    others: Vec<mpsc::Sender<Control>>,
    observed: Arc<Observed>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Edge {
    /// Binds every listener, then starts.
    ///
    /// # Errors
    /// Nothing is left bound.
    pub fn start(
        config: Config,
        orders: Arc<dyn MediaOrders>,
        events: EventSource,
    ) -> Result<Self, StartError> {
        let EventSource { queues, observed } = events;
        if let Some(recorder) = config.records {
            observed.record_to(recorder);
        }
        let count = queues.len();
        let sockets = Sockets::bind(&config.snapshot.cluster, config.shared, count)?;
        let together: Option<Arc<dyn Together>> =
            (count > 1).then(|| Arc::new(neighbours::Counted::default()) as _);
        let of = |index: usize| call::engine::Config {
            token: config.token.clone(),
            shard: Shard { index, count },
            together: together.clone(),
            first_call: SESSIONS_OF_ONE * index as u64 + 1,
            // Far from one another, whatever is made of them.
            seed: config.seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            legs_max: config.legs_max,
            transactions_max: config.transactions_max,
            nonces: config.nonces.clone(),
        };
        let mut home = Engine::new(of(HOME), Arc::clone(&config.snapshot), Names::new())?.with_room();
        home.handle(shell::now(), Input::Secrets(config.secrets));
        let world = Arc::clone(home.world());
        let others = (1..count).map(|index| Engine::of(of(index), Arc::clone(&world)).with_room());
        let engines: Vec<_> = std::iter::once(home).chain(others).collect();
        let mut controls = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        let ways = Neighbours::of(count, world);
        let integrations = Arc::new(outbound::Integrations::default());
        for (engine, ((sockets, queue), (neighbours, ways))) in
            engines.into_iter().zip(sockets.into_iter().zip(queues).zip(ways))
        {
            let (control, receiver) = mpsc::channel(64);
            let (orders, seen) = (Arc::clone(&orders), Arc::clone(&observed));
            let services = Arc::clone(&integrations);
            let thread = thread::Builder::new()
                .name(format!("edge-{}", threads.len()))
                .spawn(move || {
                    let core = shell::Core::new(engine, orders, seen, (neighbours, services));
                    shell::run(core, sockets, (queue, ways), receiver);
                })
                .map_err(StartError::Thread)?;
            threads.push(thread);
            controls.push(control);
        }
        let others = controls.split_off(1);
        let Some(control) = controls.pop() else { return Err(StartError::Thread(io::Error::other("none"))) };
        observed.let_lift(control.downgrade());
        Ok(Self { control, others, observed, threads })
    }

    fn controls(&self) -> impl Iterator<Item = &mpsc::Sender<Control>> {
        std::iter::once(&self.control).chain(&self.others)
    }

    /// Counters, explanations and records.
    #[must_use]
    pub fn observed(&self) -> Arc<Observed> {
        Arc::clone(&self.observed)
    }

    /// Takes all values of Secrets, in place of those before. To be called before the snapshot that names them is applied.
    ///
    /// # Errors
    /// The edge is gone.
    pub async fn take_secrets(&self, secrets: Secrets) -> Result<(), Gone> {
        self.control.send(Control::Secrets(secrets)).await.map_err(|_| Gone)
    }

    /// Applies a snapshot whole, or refuses it; running calls keep what they began with.
    ///
    /// # Errors
    /// The field that is wrong, or that the edge is gone.
    pub async fn apply(&self, snapshot: Arc<Snapshot>) -> Result<Result<(), Refused>, Gone> {
        let (answer, answered) = oneshot::channel();
        self.control.send(Control::Apply(snapshot, answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Looks up where a snapshot's peers, registrars and its capture server are, as far as that is due, and tells the engine.
    /// To be called again from time to time.
    ///
    /// Gives what could not be found, as sentences; what was known of it stays.
    ///
    /// # Errors
    /// The edge is gone.
    pub async fn resolve(
        &self,
        snapshot: &Snapshot,
        secrets: &Secrets,
        dns: &mut Dns,
    ) -> Result<Vec<String>, Gone> {
        let collector = snapshot.cluster.capture.as_ref().map(hep::asked);
        let mut asked = call::world::asked(snapshot);
        asked.extend(self.observed.routes());
        let is_peer = collector.as_ref().is_some_and(|collector| asked.contains(collector));
        asked.extend(collector.clone());
        // What does not arrive may have moved.
        if let Some(collector) = &collector
            && self.observed.has_lost_copies()
        {
            dns.doubt(collector);
        }
        let failed = dns.look_up(asked).await;
        let mut names = dns.names();
        let found = collector.as_ref().and_then(|collector| names.get(collector));
        let address = found.and_then(|found| found.targets.first()?.addresses.first().copied());
        if let Some(collector) = collector.filter(|_| !is_peer) {
            names.remove(&collector);
        }
        if self.observed.are_news(&names) {
            self.control.send(Control::Names(names)).await.map_err(|_| Gone)?;
        }
        let settings = snapshot.cluster.capture.as_ref().zip(address).map(|(wanted, collector)| {
            let key = wanted.secret.as_ref().and_then(|(object, key)| secrets.get(object, key));
            hep::Settings { collector, id: wanted.id, key: key.map(Into::into) }
        });
        for control in self.controls() {
            control.send(Control::Capture(settings.clone())).await.map_err(|_| Gone)?;
        }
        Ok(failed)
    }

    /// Takes no new calls, waits until the last one ends or `at_most` has passed, then ends what is left.
    pub async fn drain(&self, at_most: Duration) {
        for control in self.controls() {
            if control.send(Control::Drain).await.is_err() {
                return;
            }
        }
        let until = Instant::now() + at_most;
        while self.observed.calls.get() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends every call with a BYE or a refusal, waits for the answers as long as `at_most` says, and ends the thread.
    pub async fn stop(mut self, because: &'static str, at_most: Duration) {
        let mut waited_for = Vec::new();
        for control in self.controls() {
            let (answer, answered) = oneshot::channel();
            if control.send(Control::Stop(because, answer)).await.is_ok() {
                waited_for.push(answered);
            }
        }
        let all = async {
            for answered in waited_for {
                let _ = answered.await;
            }
        };
        let _ = tokio::time::timeout(at_most, all).await;
        let (gone, _) = mpsc::channel(1);
        self.others.clear();
        drop(std::mem::replace(&mut self.control, gone));
        let threads = std::mem::take(&mut self.threads);
        let _ =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())))
                .await;
    }
}

/// What to do about an address that cannot be bound.
pub(crate) fn hint(listener: &Listener, interface: Option<&str>, error: &io::Error) -> &'static str {
    let kind = error.kind();
    if kind == io::ErrorKind::AddrInUse {
        "; another program has it: stop that, or change the listener's port"
    } else if kind == io::ErrorKind::PermissionDenied && listener.bind.port() < 1024 {
        "; ports below 1024 need the capability NET_BIND_SERVICE"
    } else if interface.is_some() && error.raw_os_error() == Some(libc::ENODEV) {
        "; this machine has no interface of that name: change the network's interface"
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "; it is no address of this machine: change the network's bindAddress"
    } else {
        ""
    }
}
