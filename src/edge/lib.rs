//! The edge's shell: sockets, connections, HTTP, and the thread of the call engine.
//!
//! Nothing is decided here. Packets, media events, time and control go into [`call::engine::Engine`]; what it gives is
//! carried out. Each engine has a thread of its own with all its sockets, so there is no lock on a call's path.

mod datagram;
pub mod dns;
mod figures;
mod hep;
pub mod http;
pub mod ladder;
mod movable;
pub mod observed;
mod reach;
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

use call::world::{Names, Refused};
use link::{MediaEvents, MediaOrders};
use model::{
    media::MediaEvent,
    net::Transport,
    secrets::Secrets,
    snapshot::{Listener, Snapshot},
};
use sip::digest::Nonces;
use tokio::sync::{mpsc, oneshot};

use crate::{dns::Dns, observed::Observed, sockets::Sockets};

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
    Capture(Option<hep::Settings>),
    Lift(IpAddr),
    Drain,
    Stop(&'static str, oneshot::Sender<()>),
}

/// Where a media server's events go; made before the media server, which is made before the edge.
#[derive(Debug, Clone)]
pub struct EventSink {
    queue: mpsc::Sender<MediaEvent>,
    observed: Arc<Observed>,
}

impl MediaEvents for EventSink {
    fn send(&self, event: MediaEvent) {
        if self.queue.try_send(event).is_err() {
            self.observed.events_dropped.add(1);
        }
    }
}

/// The other end of an [`EventSink`].
#[derive(Debug)]
pub struct EventSource {
    queue: mpsc::Receiver<MediaEvent>,
    observed: Arc<Observed>,
}

/// The way of events from a media server to an edge.
#[must_use]
pub fn events() -> (EventSink, EventSource) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let observed = Arc::new(Observed::default());
    (EventSink { queue: sender, observed: Arc::clone(&observed) }, EventSource { queue: receiver, observed })
}

/// A running edge. Dropping it ends its thread, and its calls without a word: [`Edge::stop`] says good-bye.
#[derive(Debug)]
pub struct Edge {
    control: mpsc::Sender<Control>,
    observed: Arc<Observed>,
    thread: Option<thread::JoinHandle<()>>,
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
        let sockets = Sockets::bind(&config.snapshot.cluster, config.shared)?;
        let mut engine = call::engine::Engine::new(
            call::engine::Config {
                token: config.token,
                first_call: 1,
                seed: config.seed,
                legs_max: config.legs_max,
                transactions_max: config.transactions_max,
                nonces: config.nonces,
            },
            config.snapshot,
            Names::new(),
        )?;
        engine.handle(shell::now(), call::engine::Input::Secrets(config.secrets));
        let EventSource { queue, observed } = events;
        let (control, receiver) = mpsc::channel(64);
        observed.let_lift(control.downgrade());
        let seen = Arc::clone(&observed);
        let thread = thread::Builder::new()
            .name("edge-0".into())
            .spawn(move || shell::run(shell::Core::new(engine, orders, seen), sockets, queue, receiver))
            .map_err(StartError::Thread)?;
        Ok(Self { control, observed, thread: Some(thread) })
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
        self.control.send(Control::Capture(settings)).await.map_err(|_| Gone)?;
        Ok(failed)
    }

    /// Takes no new calls, waits until the last one ends or `at_most` has passed, then ends what is left.
    pub async fn drain(&self, at_most: Duration) {
        if self.control.send(Control::Drain).await.is_err() {
            return;
        }
        let until = Instant::now() + at_most;
        while self.observed.calls.get() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends every call with a BYE or a refusal, waits for the answers as long as `at_most` says, and ends the thread.
    pub async fn stop(mut self, because: &'static str, at_most: Duration) {
        let (answer, answered) = oneshot::channel();
        if self.control.send(Control::Stop(because, answer)).await.is_ok() {
            let _ = tokio::time::timeout(at_most, answered).await;
        }
        let (gone, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.control, gone));
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
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
