//! The server: starts the workers, hands orders to the right one, counts.

use std::{
    fs, io,
    net::IpAddr,
    num::NonZero,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use link::{Full, MediaEvents, MediaOrders};
use model::{
    SessionId,
    media::{Event, MediaEvent, MediaOrder},
};

use crate::{
    Config, Counters, Library, Network, Packets, Spans, StartError, WorkerCounters,
    dtls::Identity,
    listening::{Listener, Listeners, Orders},
    playback::{Loader, Loading},
    ports::{Ports, bound},
    recording::{Catalogue, Dictation, Kept, Recorder, Threads},
    span::Place,
    sys,
    tally::Tally,
    worker::{ORDERS_MAX, Wake, Worker},
    xdp::{self, Lane},
};

/// A running media server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    // Dropped last: the workers hand it the ends of their recordings.
    _recordings: Threads,
    _loader: Loader,
    _listeners: Listeners,
}

/// Gives orders to a [`Server`]; cheap to clone. When the server has stopped, every order is [`Full`].
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    workers: Arc<[Mailbox]>,
}

impl Server {
    /// Checks the configuration and starts the workers. Ports are bound only when a leg takes them. The soft limit
    /// of open files is raised to the hard one: a leg needs two.
    ///
    /// # Errors
    /// [`StartError`] names the setting that cannot work.
    pub fn start(config: Config, events: Arc<dyn MediaEvents>) -> Result<Self, StartError> {
        let networks = checked_networks(&config)?;
        let spans = checked_spans(&config)?;
        if let Err(error) = sys::raise_file_limit() {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        let recordings = started_recordings(&config, &events)?;
        let kept = recordings.kept();
        let catalogue = kept.as_ref().map(|kept| Arc::clone(&kept.catalogue));
        let loader = Loader::start(config.services.store.clone(), catalogue, config.services.speaker.clone())
            .map_err(StartError::Worker)?;
        let orders = Orders::default();
        let recogniser = config.services.recogniser.clone();
        let listeners =
            Listeners::start(recogniser, &events, Arc::clone(&orders)).map_err(StartError::Worker)?;
        let identity = Identity::new().map_err(StartError::Certificate)?;
        let shared = Arc::new(Shared {
            identity: Arc::new(identity),
            networks,
            spans,
            events,
            recorder: recordings.recorder(),
            kept,
            loading: loader.loading(),
            listener: listeners.listener(),
            sessions_max: config.sessions_max,
            silent_after: config.silent_after,
            library: RwLock::default(),
            counts: Counts::default(),
        });
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers = config.workers.unwrap_or(cores).max(1);
        let lanes = match config.services.packets {
            Packets::Sockets => Vec::new(),
            Packets::Xdp => xdp::open(&config.networks, workers),
        };
        let mut lanes = lanes.into_iter();
        let started: Result<(Vec<_>, Vec<_>), _> = (0..workers)
            .map(|place| {
                start_worker(&shared, place, config.workers.is_none(), lanes.next().unwrap_or_default())
            })
            .collect();
        let (workers, threads) = started.map_err(StartError::Worker)?;
        let handle = Handle { shared, workers: workers.into() };
        // Nobody else sets it.
        let _ = orders.set(Box::new(handle.clone()));
        Ok(Self { handle, threads, _recordings: recordings, _loader: loader, _listeners: listeners })
    }

    /// What gives orders.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// New sessions play from it; a running session keeps the one it began with.
    pub fn set_library(&self, library: Arc<Library>) {
        self.handle.set_library(library);
    }

    /// What it has and has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.handle.counters()
    }

    /// Releases every leg (`Released` is told of each), finishes the recordings and ends the workers. Takes as long
    /// as the disk needs for what is recorded.
    pub fn stop(self) {
        drop(self);
    }
}

impl Handle {
    /// As [`Server::set_library`].
    pub fn set_library(&self, library: Arc<Library>) {
        *self.shared.library.write().unwrap_or_else(PoisonError::into_inner) = library;
    }

    /// What is known of recordings and messages. None: there is no store.
    #[must_use]
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.shared.kept.as_ref().map(|kept| Arc::clone(&kept.catalogue))
    }

    /// How long recordings and messages are kept from now on, and whether it is for this server to delete what is due.
    pub fn keep(&self, keeping: model::kept::Keeping, deletes: bool) {
        if let Some(kept) = &self.shared.kept {
            kept.catalogue.keep(keeping, deletes);
            kept.look.look();
        }
    }

    /// The store is another, or can be used from now on: what waits for it is brought there, and what a crash has left is
    /// finished, unless it was. May take as long as the disk does.
    pub fn store_changed(&self) {
        if let Some(kept) = &self.shared.kept {
            kept.catalogue.recover();
            kept.wake.again();
            kept.look.look();
        }
    }

    /// Recordings and what is known of them that wait to be brought to their store.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.kept.as_ref().map_or(0, |kept| kept.wake.waiting())
    }

    /// As [`Server::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Counts { sessions, legs, orders_dropped } = &self.shared.counts;
        let pairs: usize = self.shared.networks.iter().map(|network| network.ports.used()).sum();
        let sum = |count: fn(&Tally) -> &AtomicU64| {
            self.workers.iter().map(|worker| count(&worker.tally).load(Ordering::Relaxed)).sum()
        };
        Counters {
            sessions: sessions.load(Ordering::Relaxed),
            legs: legs.load(Ordering::Relaxed),
            ports_in_use: 2 * pairs,
            packets_received: sum(|tally| &tally.received),
            packets_sent: sum(|tally| &tally.sent),
            packets_discarded: sum(|tally| &tally.discarded),
            orders_dropped: orders_dropped.load(Ordering::Relaxed),
            recorded_packets_dropped: self.shared.recorder.dropped(),
            prompts_unplayable: self.shared.library().unplayable(),
        }
    }

    /// What each worker has and has done.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerCounters> {
        self.workers.iter().map(|worker| worker.tally.counters()).collect()
    }

    /// All legs of a session live on one worker.
    fn worker(&self, session: SessionId) -> &Mailbox {
        // Fibonacci hashing: neighbouring ids, and those that differ in a few bits only, are spread evenly.
        let hash = session.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.workers[hash as usize % self.workers.len()]
    }
}

impl MediaOrders for Handle {
    fn send(&self, order: MediaOrder) -> Result<(), Full> {
        let worker = self.worker(order.session);
        self.queue(order)?;
        worker.wake.orders();
        Ok(())
    }

    fn queue(&self, order: MediaOrder) -> Result<(), Full> {
        let worker = self.worker(order.session);
        if worker.orders.try_send(order).is_err() {
            self.shared.counts.orders_dropped.fetch_add(1, Ordering::Relaxed);
            return Err(Full);
        }
        worker.queued.store(true, Ordering::Release);
        Ok(())
    }

    fn flush(&self) {
        for worker in self.workers.iter() {
            // Asked before it is written: most flushes have nothing for most workers.
            if worker.queued.load(Ordering::Acquire) && worker.queued.swap(false, Ordering::AcqRel) {
                worker.wake.orders();
            }
        }
    }
}

impl MediaOrders for Server {
    fn send(&self, order: MediaOrder) -> Result<(), Full> {
        self.handle.send(order)
    }

    fn queue(&self, order: MediaOrder) -> Result<(), Full> {
        self.handle.queue(order)
    }

    fn flush(&self) {
        self.handle.flush();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.workers.iter().for_each(|worker| worker.wake.stop());
        for thread in self.threads.drain(..) {
            // A worker that has panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// The way to one worker.
#[derive(Debug)]
struct Mailbox {
    orders: mpsc::SyncSender<MediaOrder>,
    wake: Arc<Wake>,
    /// Whether orders may be there that the worker was not woken for.
    queued: AtomicBool,
    tally: Arc<Tally>,
}

/// What all workers share.
pub struct Shared {
    /// What legs show who meets them by DTLS.
    pub identity: Arc<Identity>,
    /// In the order of the configuration.
    pub networks: Vec<SharedNetwork>,
    /// Where other media servers are reached from. None: they are not.
    pub spans: Option<Place>,
    /// Where events go.
    pub events: Arc<dyn MediaEvents>,
    /// What begins recordings.
    pub recorder: Recorder,
    /// What is kept of them. None: there is no store.
    kept: Option<Kept>,
    /// What reads recordings and speaks texts to be played.
    pub loading: Loading,
    /// What begins listening.
    pub listener: Listener,
    sessions_max: usize,
    /// Silence of a peer that is told.
    pub silent_after: Duration,
    library: RwLock<Arc<Library>>,
    /// Counted over all workers.
    pub counts: Counts,
}

/// A network and its ports.
#[derive(Debug)]
pub struct SharedNetwork {
    name: String,
    /// Address for our session descriptions.
    pub advertised: IpAddr,
    /// Its ports.
    pub ports: Arc<Ports>,
}

/// Counted over all workers: changes with sessions, not with packets.
#[derive(Debug, Default)]
pub struct Counts {
    sessions: AtomicUsize,
    /// Legs now.
    pub legs: AtomicUsize,
    orders_dropped: AtomicU64,
}

impl Shared {
    /// A network's place by its name.
    pub fn network(&self, name: &str) -> Option<usize> {
        self.networks.iter().position(|network| network.name == name)
    }

    /// The prompts of a session that begins now.
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a place for a session. `false`: there is none.
    pub fn begin_session(&self) -> bool {
        let more = |sessions| (sessions < self.sessions_max).then_some(sessions + 1);
        self.counts.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives a session's place back.
    pub fn end_session(&self) {
        self.counts.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    /// For the edge.
    pub fn event(&self, session: SessionId, event: Event) -> MediaEvent {
        // Digits are somebody's secret: they are left out.
        if let Event::Dtmf { leg, .. } = event {
            tracing::debug!(%session, %leg, "key pressed");
        } else {
            tracing::debug!(%session, ?event, "event");
        }
        MediaEvent { session, event }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("networks", &self.networks).finish_non_exhaustive()
    }
}

fn checked_networks(config: &Config) -> Result<Vec<SharedNetwork>, StartError> {
    if config.networks.is_empty() {
        return Err(StartError::NoNetwork);
    }
    let mut networks: Vec<SharedNetwork> = Vec::with_capacity(config.networks.len());
    for network in &config.networks {
        if networks.iter().any(|other| other.name == network.name) {
            return Err(StartError::NetworkTwice(network.name.clone()));
        }
        bound(network.bind, 0, network.interface.as_deref()).map_err(|source| StartError::Address {
            network: network.name.clone(),
            address: network.bind,
            interface: network.interface.clone(),
            source,
        })?;
        let ports = Arc::new(Ports::new(network.bind, &config.ports, network.interface.clone()));
        if ports.total() == 0 {
            return Err(StartError::NoPorts(config.ports.clone()));
        }
        networks.push(SharedNetwork { name: network.name.clone(), advertised: network.advertised, ports });
    }
    Ok(networks)
}

fn checked_spans(config: &Config) -> Result<Option<Place>, StartError> {
    let Some(Spans { network: name, segments }) = &config.services.spans else { return Ok(None) };
    let of = |(place, network): (usize, &Network)| Place {
        network: place,
        // Where it is bound is where the cluster reaches it; what is advertised may be an address for those outside.
        address: if network.bind.is_unspecified() { network.advertised } else { network.bind },
        segments: *segments,
    };
    let found = config.networks.iter().enumerate().find(|(_, network)| network.name == *name);
    found.map(of).map(Some).ok_or_else(|| StartError::NoSpanNetwork(name.clone()))
}

fn started_recordings(config: &Config, events: &Arc<dyn MediaEvents>) -> Result<Threads, StartError> {
    let folder = config.recordings.clone();
    let refused = |source| StartError::Recordings { folder: folder.clone().unwrap_or_default(), source };
    if let Some(folder) = &config.recordings {
        fs::create_dir_all(folder).map_err(refused)?;
    }
    let transcriber =
        config.services.transcriber.clone().unwrap_or_else(|| Arc::new(Dictation::default()) as _);
    let (store, folder) = (config.services.store.clone(), config.recordings.clone());
    Threads::start(store, folder, events, transcriber).map_err(refused)
}

fn start_worker(
    shared: &Arc<Shared>,
    place: usize,
    pinned: bool,
    lanes: Vec<Lane>,
) -> io::Result<(Mailbox, JoinHandle<()>)> {
    let (orders, received) = mpsc::sync_channel(ORDERS_MAX);
    let (wake, tally) = (Arc::new(Wake::new()?), Arc::default());
    let worker = Worker::new(Arc::clone(shared), Arc::clone(&tally), Arc::clone(&wake), received)?;
    let run = move || worker.run(pinned.then_some(place), lanes);
    let thread = thread::Builder::new().name(format!("media-{place}")).spawn(run)?;
    Ok((Mailbox { orders, wake, queued: AtomicBool::new(false), tally }, thread))
}
