//! `switchboard local`: a folder's clusters on this machine, edge and media in one process, joined in memory.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use edge::{Edge, dns::Dns, http::Site, observed::Observed};
use futures::future::join_all;
use jiff::Timestamp;
use media::Server;
use model::{ClusterId, secrets::Secrets, snapshot::Snapshot};
use notify::{RecursiveMode, Watcher};
use plan::{Plan, PlannedCluster, Severity};
use tokio::{net::TcpListener, sync::mpsc};
use tracing::{error, info, warn};

use super::{
    Signals, folder,
    prompts::Prompts,
    records::Records,
    roles, say, secrets,
    services::Services,
    sounds::{Place, Sounds},
    state::State,
    trace,
};

/// How long a folder must be quiet after a change before it is read: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// How often host names are looked at: those that are due are looked up again.
const RESOLVE: Duration = Duration::from_secs(30);

/// How often prompts that others give are looked for.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the manifests.
    dir: PathBuf,
    /// Where /livez, /readyz, /metrics and /api/v1 are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Folder for what must outlive the process: the last good form of each object, records of calls, recordings and
    /// messages. Without it nothing is kept, and nothing is recorded.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    engines: roles::Engines,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    trace("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(live(arguments))
}

/// One VoiceCluster that runs here.
struct Running {
    edge: Edge,
    server: Arc<Server>,
    place: Option<Place>,
    records: Option<Records>,
    sounds: Sounds,
    prompts: Prompts,
    applied: Arc<Snapshot>,
    secrets: Secrets,
    services: Arc<Services>,
    blobs: roles::Blobs,
    dns: Dns,
}

/// Where what must outlive the process is.
struct Folders {
    sounds: PathBuf,
    prompts: PathBuf,
    records: PathBuf,
}

impl Folders {
    fn of(state: &Path, cluster: &ClusterId) -> Self {
        let own = |name: &str| state.join(name).join(cluster.0.to_string());
        Self { sounds: own("sounds"), prompts: state.join("prompts"), records: own("records") }
    }
}

async fn live(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state = arguments.state.as_deref().map(State::open).transpose()?;
    let last = state.as_ref().and_then(State::load);
    let (mut plan, secrets) = read(&arguments.dir, last.as_ref())?;
    if plan.clusters.is_empty() {
        bail!("{} declares no VoiceCluster that can run", arguments.dir.display());
    }
    let http = TcpListener::bind(arguments.http).await;
    let http = http.with_context(|| format!("--http cannot use {}", arguments.http))?;
    let mut running = BTreeMap::new();
    let kept = Sounds::default();
    for (id, planned) in &plan.clusters {
        let folders = arguments.state.as_deref().map(|state| Folders::of(state, id));
        let own = (arguments.engines, kept.clone());
        let mut one = start(planned, taken(&secrets, planned), own, folders)
            .with_context(|| format!("VoiceCluster {id} cannot start"))?;
        one.resolve().await?;
        running.insert(id.clone(), one);
    }
    keep(state.as_ref(), &plan);
    let (mut changes, watcher) = watch(&arguments.dir)?;
    let ready = Arc::new(AtomicBool::new(true));
    let kept = arguments.state.is_some().then_some((kept, arguments.http.ip().is_loopback()));
    serve(&running, Arc::clone(&ready), http, kept);
    announce(&running, arguments.http);

    let mut signals = Signals::new()?;
    let mut looking = tokio::time::interval(LOOK);
    looking.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut resolving = tokio::time::interval_at(tokio::time::Instant::now() + RESOLVE, RESOLVE);
    loop {
        tokio::select! {
            _ = changes.recv() => {
                settle(&mut changes).await;
                if let Some(next) = reload(&arguments.dir, &plan, &mut running).await {
                    keep(state.as_ref(), &next);
                    plan = next;
                }
            }
            _ = resolving.tick() => {
                for one in running.values_mut() {
                    one.resolve().await?;
                    tokio::task::block_in_place(|| one.speak(true));
                }
            }
            _ = looking.tick() => {
                for one in running.values_mut() {
                    tokio::task::block_in_place(|| one.speak(false));
                }
            }
            () = signals.next() => break,
        }
    }
    drop(watcher);
    ready.store(false, Ordering::Relaxed);
    stop(running, &mut signals).await;
    Ok(ExitCode::SUCCESS)
}

/// Reads, plans and tells every problem.
fn read(dir: &Path, last: Option<&Plan>) -> anyhow::Result<(Plan, secrets::Folder)> {
    if dir.is_file() || dir == Path::new("-") {
        anyhow::bail!("{} is no folder: name the one that holds the manifests", dir.display());
    }
    let files = folder::read(dir)?;
    let (resources, _) = plan::load(&files);
    let plan = plan::plan(&resources, last, Timestamp::now());
    plan.problems.iter().for_each(|problem| super::warn(&problem.to_string()));
    let errors = plan.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if errors > 0 {
        warn!("{errors} errors: each bad object is left out, or goes on in its last good form");
    }
    Ok((plan, secrets::Folder::of(&resources.foreign)))
}

/// Of the edge, and of media.
type Both = (Secrets, Secrets);

fn taken(folder: &secrets::Folder, planned: &PlannedCluster) -> Both {
    (folder.take(&planned.secrets.edge), folder.take(&planned.secrets.media))
}

fn start(
    planned: &PlannedCluster,
    (secrets, media_secrets): Both,
    (engines, sounds): (roles::Engines, Sounds),
    folders: Option<Folders>,
) -> anyhow::Result<Running> {
    let snapshot = Arc::clone(&planned.snapshot);
    let services = Services::new(tokio::runtime::Handle::current());
    services.update(&snapshot, &secrets);
    let mut prompts = Prompts::kept_in(folders.as_ref().map(|folders| folders.prompts.clone()));
    prompts.commit(prompts.prepare(&snapshot, &planned.blobs, &services)?);
    let (sink, source) = edge::events(engines.count());
    let mut place = folders.as_ref().map(|folders| Place::new(&folders.sounds));
    if let Some(place) = &mut place {
        place.set(&snapshot, &media_secrets);
    } else if snapshot.cluster.keeping.s3.is_some() {
        warn!("`stores.blobs` is of no use without --state: nothing is recorded");
    }
    if folders.is_none() && snapshot.cluster.keeping.records.is_some() {
        warn!("`stores.records` is of no use without --state: records are kept in memory alone");
    }
    let records = folders.map(|folders| Records::start(&folders.records, &snapshot, &secrets)).transpose()?;
    let store = place.as_ref().map(Place::store);
    let server = Server::start(roles::media_config(&snapshot.cluster, store, &services), Arc::new(sink))?;
    server.set_library(prompts.library());
    sounds.set(&server.handle(), &snapshot, true);
    let server = Arc::new(server);
    let recorder = records.as_ref().map(Records::recorder);
    let config = roles::edge_config(Arc::clone(&snapshot), secrets.clone(), recorder)?;
    let edge = Edge::start(config, Arc::new(server.handle()), source)?;
    let (blobs, dns) = (planned.blobs.clone(), Dns::system());
    let applied = snapshot;
    Ok(Running { edge, server, place, records, sounds, prompts, applied, secrets, services, blobs, dns })
}

impl Running {
    /// Takes what others have given since, and asks those again that have failed if that is due.
    fn speak(&mut self, is_due: bool) {
        let renewed = self.prompts.renewed(&self.applied, &self.blobs, &self.services, is_due);
        let Some(renewed) = renewed else { return };
        match renewed {
            Ok(next) => {
                self.server.set_library(Arc::clone(&next.both));
                self.prompts.commit(next);
            }
            Err(refused) => warn!("prompts stay as they are: {refused}"),
        }
    }

    async fn resolve(&mut self) -> anyhow::Result<()> {
        roles::resolve(&self.edge, &self.applied, &self.secrets, &mut self.dns).await
    }
}

async fn reload(dir: &Path, last: &Plan, running: &mut BTreeMap<ClusterId, Running>) -> Option<Plan> {
    let (plan, folder) = match read(dir, Some(last)) {
        Ok(read) => read,
        Err(error) => {
            error!("the change was not read, what ran goes on: {error:#}");
            return None;
        }
    };
    let mut refused = false;
    for (id, one) in running.iter_mut() {
        match plan.clusters.get(id) {
            None => warn!("VoiceCluster {id} is gone from the folder; it runs until this process stops"),
            Some(planned) => match apply(one, planned, taken(&folder, planned)).await {
                Ok(false) => info!("VoiceCluster {id}: nothing changed for its calls"),
                Ok(true) => info!(
                    "VoiceCluster {id}: applied; new calls take it, running calls keep what they began with"
                ),
                Err(error) => {
                    refused = true;
                    error!("VoiceCluster {id}: the change is refused, what ran goes on: {error:#}");
                }
            },
        }
    }
    for id in plan.clusters.keys().filter(|id| !running.contains_key(*id)) {
        warn!("VoiceCluster {id} is new: restart to run it");
    }
    // What was refused is nobody's last good form.
    (!refused).then_some(plan)
}

/// False: nothing is other than it was.
async fn apply(
    one: &mut Running,
    planned: &PlannedCluster,
    (secrets, media_secrets): Both,
) -> anyhow::Result<bool> {
    let mut renewed = one.secrets != secrets;
    if renewed {
        one.edge.take_secrets(secrets.clone()).await?;
        one.secrets = secrets;
        one.services.update(&one.applied, &one.secrets);
    }
    let server = one.server.handle();
    if one.place.as_mut().is_some_and(|place| place.set(&planned.snapshot, &media_secrets)) {
        tokio::task::block_in_place(|| server.store_changed());
        renewed = true;
    }
    if let Some(records) = &mut one.records {
        renewed |= records.set(&planned.snapshot, &one.secrets);
    }
    if planned.snapshot == one.applied {
        return Ok(renewed);
    }
    roles::unchanged(&one.applied.cluster, &planned.snapshot.cluster)?;
    one.services.update(&planned.snapshot, &one.secrets);
    // Media first: the new snapshot's calls must find their prompts.
    let prepared =
        tokio::task::block_in_place(|| one.prompts.prepare(&planned.snapshot, &planned.blobs, &one.services));
    let next = match prepared {
        Ok(next) => next,
        Err(refused) => {
            one.services.update(&one.applied, &one.secrets);
            return Err(refused.into());
        }
    };
    one.server.set_library(Arc::clone(&next.both));
    if let Err(refused) = one.edge.apply(Arc::clone(&planned.snapshot)).await? {
        one.services.update(&one.applied, &one.secrets);
        one.server.set_library(one.prompts.library());
        return Err(refused.into());
    }
    one.prompts.commit(next);
    one.applied = Arc::clone(&planned.snapshot);
    one.blobs.clone_from(&planned.blobs);
    one.sounds.set(&server, &planned.snapshot, true);
    one.resolve().await?;
    Ok(true)
}

fn keep(state: Option<&State>, plan: &Plan) {
    if let Some(state) = state
        && let Err(error) = state.keep(plan)
    {
        error!("the last good form is not kept: {error:#}");
    }
}

/// Tells of changes below `dir`, until the watcher is dropped.
fn watch(dir: &Path) -> anyhow::Result<(mpsc::Receiver<()>, notify::RecommendedWatcher)> {
    let (sender, receiver) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // One change that waits stands for all.
        if event.is_ok_and(|event| folder::matters(&event)) {
            let _ = sender.try_send(());
        }
    })?;
    watcher
        .watch(dir, RecursiveMode::Recursive)
        .with_context(|| format!("cannot watch {}", dir.display()))?;
    Ok((receiver, watcher))
}

async fn settle(changes: &mut mpsc::Receiver<()>) {
    while tokio::time::timeout(SETTLE, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
}

fn serve(
    running: &BTreeMap<ClusterId, Running>,
    ready: Arc<AtomicBool>,
    http: TcpListener,
    kept: Option<(Sounds, bool)>,
) {
    let observed: Vec<Arc<Observed>> = running.values().map(|one| one.edge.observed()).collect();
    let servers: Vec<_> = running.values().map(|one| Arc::clone(&one.server)).collect();
    let site = Site {
        observed: Box::new(move || observed.clone()),
        more_metrics: Box::new(move |text| {
            let handles: Vec<_> = servers.iter().map(|server| server.handle()).collect();
            roles::media_metrics(text, &handles);
        }),
        listed: kept.as_ref().map(|(sounds, _)| sounds.listed()),
        // Whoever is on this machine may hear what was said, and nobody else.
        stored: kept.filter(|(_, is_loopback)| *is_loopback).map(|(sounds, _)| sounds.stored()),
        ready: Box::new(move || match ready.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("the process is stopping".to_owned()),
        }),
    };
    tokio::spawn(async move {
        if let Err(error) = edge::http::serve(http, Arc::new(site)).await {
            error!("HTTP has ended: {error}");
        }
    });
}

fn announce(running: &BTreeMap<ClusterId, Running>, http: SocketAddr) {
    let clusters = running.values().map(|one| {
        let snapshot = &one.applied;
        let cluster = &snapshot.cluster;
        let listeners = cluster.listeners.iter();
        let listeners = listeners.map(|listener| format!("{} {}", listener.transport, listener.bind));
        let numbers: usize = snapshot.numbers.values().map(Vec::len).sum();
        let (first, last) = cluster.rtp_ports;
        format!(
            "{} on {}, RTP {first}-{last}, {numbers} numbers, {} flows",
            cluster.code,
            listeners.collect::<Vec<_>>().join(", "),
            snapshot.flows.len()
        )
    });
    say(&format!("ready: {}; http://{http}", clusters.collect::<Vec<_>>().join("; ")));
}

/// Drains; a second signal ends what is left at once.
async fn stop(running: BTreeMap<ClusterId, Running>, signals: &mut Signals) {
    let drains = running.values().map(|one| {
        let calls = one.edge.observed().calls.get();
        let most = Duration::from_secs(u64::from(one.applied.cluster.drain_seconds));
        if calls > 0 {
            say(&format!(
                "draining: {calls} calls, {} s at most; Ctrl-C again ends them now",
                most.as_secs()
            ));
        }
        async move {
            let until = Instant::now() + most;
            one.edge.drain(most).await;
            if let Some(records) = &one.records {
                records.settle(until).await;
            }
        }
    });
    let at_most = tokio::select! {
        _ = join_all(drains) => roles::GOODBYE,
        () = signals.next() => roles::GOODBYE_AT_ONCE,
    };
    let stops = running.into_values().map(async |one| {
        one.edge.stop("the edge is stopping", at_most).await;
        if let Some(records) = &one.records {
            // Those of calls that were ended now are on the disk in any case.
            records.settle(Instant::now() + roles::GOODBYE_AT_ONCE).await;
        }
        if let Some(server) = Arc::into_inner(one.server) {
            server.stop();
        }
    });
    join_all(stops).await;
}
