//! A pod of a cluster: starts from the last good snapshot, follows the operator's, and tells what it makes of each.
//!
//! What a role does with a snapshot is its own business ([`Work`]); that it is applied whole or not at all, kept before it
//! is acknowledged, and told of, is done here. No operator is needed for a start, nor to go on.

mod disk;
mod health;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use call::world::Refused;
use clap::Args;
use edge::{http::Site, observed::Observed};
use link::{
    config::{Feed, Held, Offer, PodName, Position, Secrets, Start, State, Topology},
    identity::{Identity, Role},
    tls::{CredentialsFile, Tls},
};
use model::{
    ClusterId, Key,
    section::{Digest, SectionError, Sections},
    snapshot::Snapshot,
};
use tokio::{
    net::TcpListener,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tracing::{error, info, warn};

use self::{
    disk::{Disk, Kept},
    health::Health,
};
use super::{
    Signals, host_name, random,
    roles::{Blobs, GOODBYE, GOODBYE_AT_ONCE, refused},
    say,
    sounds::Sounds,
};

/// How long a start waits for an operator to answer. What it says is newer than what was kept.
const AWAY: Duration = Duration::from_secs(2);

/// How long a start waits for what an operator has to say.
const SILENT: Duration = Duration::from_secs(15);

/// How often the operator is told how the pod is, and whether it is connected is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often host names are resolved again.
const RESOLVE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct PodArguments {
    /// The VoiceCluster whose pod this is.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SWITCHBOARD_CLUSTER")]
    cluster: Key,
    /// Where operators listen. A name that resolves to several addresses stands for all of them.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "SWITCHBOARD_OPERATOR",
        value_delimiter = ',',
        required = true
    )]
    operator: Vec<String>,
    /// Folder with ca.crt, tls.crt and tls.key. Read again when they change.
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_CERTIFICATES")]
    certificates: PathBuf,
    /// Folder for what must outlive the process: the last good snapshot, prompts, and recordings. No secret is written
    /// there.
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_STATE")]
    state: PathBuf,
    /// Folder with the stored copy of the snapshot, for a start without an operator.
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_STORED")]
    stored: Option<PathBuf>,
    /// Name of the pod. Absent: the host's.
    #[arg(long, value_name = "POD", env = "SWITCHBOARD_NAME")]
    name: Option<String>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDRESS", env = "SWITCHBOARD_HTTP", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
}

impl PodArguments {
    /// Folder for what must outlive the process.
    pub fn state(&self) -> &Path {
        &self.state
    }
}

/// What a snapshot comes with.
#[derive(Debug)]
pub struct Next {
    pub snapshot: Arc<Snapshot>,
    pub blobs: Blobs,
    pub secrets: Secrets,
}

/// What a role does.
pub trait Work {
    /// Which one.
    const ROLE: Role;

    /// Runs on a snapshot from now on, or says what is wrong with it and goes on with what it had. The first one starts it.
    ///
    /// # Errors
    /// The role cannot go on, or cannot start on this machine as it is.
    fn apply(&mut self, next: &Next) -> impl Future<Output = anyhow::Result<Result<(), Refused>>>;

    /// Who is alive.
    fn topology(&mut self, topology: &Topology);

    /// Looks up names again.
    fn resolve(&mut self) -> impl Future<Output = anyhow::Result<()>>;

    /// Takes what has come since; at every tick.
    fn look(&mut self) {}

    /// How it is: calls, capacity, where it is reached.
    fn state(&self) -> State;

    /// What is ready, in a line; none before the first snapshot.
    fn announce(&self) -> Option<String>;

    /// Takes nothing new and waits until what it has ends.
    fn drain(&self) -> impl Future<Output = ()>;

    /// Ends what is left, and waits so long at most for whoever must hear of it.
    fn stop(self, at_most: Duration) -> impl Future<Output = ()>;
}

/// What both roles are made with.
#[derive(Debug)]
pub struct Made {
    pub tls: Tls,
    pub identity: Identity,
    pub pod: PodName,
    /// Cheap to ask, from any thread.
    pub metrics: Metrics,
    /// What it keeps of what is said.
    pub sounds: Sounds,
}

/// Further metrics of a role, and its edges, once there are any.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<std::sync::Mutex<Sources>>);

type More = Arc<dyn Fn(&mut String) + Send + Sync>;

#[derive(Default)]
struct Sources {
    observed: Vec<Arc<Observed>>,
    more: Vec<More>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

impl Metrics {
    pub fn observe(&self, observed: Arc<Observed>) {
        self.sources().observed.push(observed);
    }

    pub fn more(&self, more: impl Fn(&mut String) + Send + Sync + 'static) {
        self.sources().more.push(Arc::new(more));
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs a role until the process is told to end.
pub async fn run<W: Work>(
    arguments: &PodArguments,
    make: impl AsyncFnOnce(&Made) -> anyhow::Result<W>,
) -> anyhow::Result<()> {
    let disk = Disk::open(&arguments.state)?;
    let credentials =
        CredentialsFile::watch(&arguments.certificates).context("--certificates cannot be used")?;
    let http = TcpListener::bind(arguments.http).await;
    let http = http.with_context(|| format!("--http cannot use {}", arguments.http))?;
    let identity = Identity::new(ClusterId(arguments.cluster.clone()), W::ROLE);
    let pod = PodName::new(arguments.name.clone().unwrap_or_else(host_name), format!("{:016x}", random()?));
    let made = Made {
        tls: credentials.tls(),
        identity,
        pod,
        metrics: Metrics::default(),
        sounds: Sounds::default(),
    };
    let health = Arc::new(Health::new("the pod starts"));
    // Whoever is on this machine may hear what was said, and nobody else.
    let stored = arguments.http.ip().is_loopback();
    let keeps = (W::ROLE == Role::Media).then(|| made.sounds.clone());
    serve(http, Arc::clone(&health), made.metrics.clone(), (keeps, stored));
    let work = make(&made).await?;
    let mut pod = Pod { work, disk, health, held: None, said: false };
    let kept = pod.disk.snapshots(arguments.stored.as_deref());
    if let Some(topology) = pod.disk.topology() {
        pod.work.topology(&topology);
    }
    let start = Start {
        pod: made.pod,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        held: kept.first().map(|kept| Held {
            position: kept.position,
            sections: Arc::clone(&kept.sections),
            blobs: Arc::new(pod.disk.blobs()),
        }),
        seed: random()?,
    };
    let mut signals = Signals::new()?;
    let feed = Feed::connect(made.tls, made.identity, arguments.operator.clone(), start);
    if pod.begin(&feed, kept, &arguments.operator, &mut signals).await? {
        pod.follow(&feed, &mut signals).await?;
    }
    pod.end(&feed, &mut signals).await;
    drop(credentials);
    Ok(())
}

struct Pod<W> {
    work: W,
    disk: Disk,
    health: Arc<Health>,
    /// What it runs on.
    held: Option<(Position, Digest)>,
    /// The line that says so is out.
    said: bool,
}

impl<W: Work> Pod<W> {
    /// Waits for the operator's word, and begins with what was kept if none comes. False: the process is to end.
    async fn begin(
        &mut self,
        feed: &Feed,
        kept: Vec<Kept>,
        operators: &[String],
        signals: &mut Signals,
    ) -> anyhow::Result<bool> {
        let (began, mut refused) = (Instant::now(), false);
        let mut tick = interval(TICK / 10);
        self.health.wait_for(format!("no snapshot yet: no operator answers at {}", operators.join(", ")));
        loop {
            tokio::select! {
                offer = feed.next() => {
                    let is_publication = matches!(offer, Offer::Publication { .. });
                    self.take(feed, offer).await?;
                    if self.held.is_some() {
                        return Ok(true);
                    }
                    refused |= is_publication;
                }
                _ = tick.tick() => {}
                () = signals.next() => return Ok(false),
            }
            self.look(feed);
            if feed.is_connected() {
                let what = if refused { "the operator's was refused" } else { "the operator has sent none" };
                self.health.wait_for(format!("no snapshot yet: {what}"));
            }
            let waits = feed.is_connected() && !refused && began.elapsed() < SILENT;
            if !waits && !kept.is_empty() && (refused || began.elapsed() > AWAY) {
                break;
            }
        }
        for Kept { position, sections, origin } in kept {
            let next = Next {
                snapshot: match sections.snapshot() {
                    Ok(snapshot) => Arc::new(snapshot),
                    Err(error) => {
                        warn!("the snapshot in {} is refused: {error}", origin.display());
                        continue;
                    }
                },
                blobs: self.disk.blobs(),
                secrets: Secrets::default(),
            };
            match self.work.apply(&next).await? {
                Ok(()) => {
                    info!("begun with the snapshot in {}", origin.display());
                    self.applied(position, sections.digest(), &next.snapshot);
                    return Ok(true);
                }
                Err(refused) => warn!("the snapshot in {} is refused: {refused}", origin.display()),
            }
        }
        Ok(true)
    }

    /// Follows the operator until the process is to end.
    async fn follow(&mut self, feed: &Feed, signals: &mut Signals) -> anyhow::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resolving = interval_at(Instant::now() + RESOLVE, RESOLVE);
        loop {
            tokio::select! {
                offer = feed.next() => self.take(feed, offer).await?,
                _ = tick.tick() => self.work.look(),
                _ = resolving.tick() => self.work.resolve().await?,
                () = signals.next() => return Ok(()),
            }
            self.look(feed);
        }
    }

    /// Tells the operator how the pod is, and probes how the operator is.
    fn look(&self, feed: &Feed) {
        self.health.connected(feed.is_connected());
        feed.state(State { ready: self.health.is_ready(), ..self.work.state() });
    }

    async fn take(&mut self, feed: &Feed, offer: Offer) -> anyhow::Result<()> {
        match offer {
            Offer::Publication { position, digest, sections, secrets, blobs } => {
                let applied = match self.publication(position, &sections, secrets, &blobs).await {
                    Ok(applied) => applied,
                    // It cannot start on this machine, or not go on: the kubelet starts it again.
                    Err(error) => {
                        feed.refuse(position, "cluster", &format!("{error:#}"));
                        feed.goodbye().await;
                        return Err(error);
                    }
                };
                match applied {
                    Ok(()) => feed.acknowledge(position, digest),
                    Err(Refused { field, message }) => {
                        self.health.refused();
                        warn!(
                            term = position.term,
                            sequence = position.sequence,
                            path = field,
                            "snapshot refused, what ran goes on: {message}"
                        );
                        feed.refuse(position, &field, &message);
                    }
                }
            }
            Offer::Topology(topology) => {
                self.work.topology(&topology);
                if let Err(error) = self.disk.keep_topology(&topology) {
                    error!("who is alive is not kept: {error:#}");
                }
            }
            // Of a later version.
            _ => {}
        }
        Ok(())
    }

    async fn publication(
        &mut self,
        position: Position,
        sections: &Sections,
        secrets: Secrets,
        blobs: &Blobs,
    ) -> anyhow::Result<Result<(), Refused>> {
        let snapshot = match sections.snapshot() {
            Ok(snapshot) => Arc::new(snapshot),
            Err(SectionError::Content { section, message }) => {
                return Ok(Err(refused(section.to_string(), message)));
            }
            Err(error) => return Ok(Err(refused("sections", error.to_string()))),
        };
        let next = Next { snapshot, blobs: blobs.clone(), secrets };
        if let Err(refused) = self.work.apply(&next).await? {
            return Ok(Err(refused));
        }
        // Once it is acknowledged, a start must find it. What cannot be kept is applied all the same.
        if self.held != Some((position, sections.digest()))
            && let Err(error) = self.disk.keep(position, sections, blobs)
        {
            error!("the snapshot is not kept: {error:#}");
        }
        self.applied(position, sections.digest(), &next.snapshot);
        Ok(Ok(()))
    }

    fn applied(&mut self, position: Position, digest: Digest, snapshot: &Snapshot) {
        let Position { term, sequence } = position;
        let numbers: usize = snapshot.numbers.values().map(Vec::len).sum();
        if self.held != Some((position, digest)) {
            info!(term, sequence, numbers, flows = snapshot.flows.len(), "snapshot applied");
            self.health.applied(position);
        }
        self.held = Some((position, digest));
        if let (false, Some(line)) = (self.said, self.work.announce()) {
            say(&line);
            self.said = true;
        }
    }

    /// Drains; a second signal ends what is left at once.
    async fn end(self, feed: &Feed, signals: &mut Signals) {
        let state = || State { ready: self.health.is_ready(), draining: true, ..self.work.state() };
        // The operator hears of it before anything ends.
        feed.state(state());
        let tell = async {
            let mut tick = interval(TICK);
            loop {
                tick.tick().await;
                feed.state(state());
            }
        };
        let at_most = tokio::select! {
            () = self.work.drain() => GOODBYE,
            () = signals.next() => GOODBYE_AT_ONCE,
            () = tell => GOODBYE,
        };
        // Whoever is on a call does not wait for an operator that may not answer.
        tokio::join!(self.work.stop(at_most), feed.goodbye());
    }
}

fn serve(http: TcpListener, health: Arc<Health>, metrics: Metrics, (sounds, stored): (Option<Sounds>, bool)) {
    let (told, edges) = (Arc::clone(&health), metrics.clone());
    let site = Site {
        observed: Box::new(move || edges.sources().observed.clone()),
        more_metrics: Box::new(move |text| {
            told.metrics(text);
            let more = metrics.sources().more.clone();
            more.iter().for_each(|more| more(text));
        }),
        listed: sounds.as_ref().map(Sounds::listed),
        stored: sounds.filter(|_| stored).map(|sounds| sounds.stored()),
        ready: Box::new(move || health.ready()),
    };
    tokio::spawn(async move {
        if let Err(error) = edge::http::serve(http, Arc::new(site)).await {
            error!("HTTP has ended: {error}");
        }
    });
}
