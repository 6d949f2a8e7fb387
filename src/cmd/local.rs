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
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use call::world::Names;
use clap::Args;
use edge::{
    Edge,
    http::Site,
    observed::{Observed, write_metric},
};
use jiff::Timestamp;
use media::{AudioSource, Library, Server};
use model::{
    AudioId, ClusterId,
    snapshot::{self, Snapshot},
};
use notify::{RecursiveMode, Watcher};
use plan::{Plan, PlannedCluster, Severity};
use tokio::{net::TcpListener, sync::mpsc};
use tracing::{error, info, warn};

use super::{folder, random, say, state::State, stop_signal, trace};

/// How long a folder must be quiet after a change before it is read: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// How often host names of peers are resolved again.
const RESOLVE: Duration = Duration::from_secs(30);

/// SIP legs per call that the cluster's bound allows for: two, and room for calls that ring several.
const LEGS_PER_CALL: usize = 4;

/// Media sessions beyond the bound on calls: a call that has ended no longer counts, and its ports are given back a
/// moment later.
const SESSIONS_ENDING: usize = 1_024;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the manifests.
    dir: PathBuf,
    /// Where /livez, /readyz, /metrics and /api/v1 are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Folder for what must outlive the process: the last good form of each object. Without it nothing is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    trace("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(live(arguments))
}

/// What a library is made of.
type Wanted = BTreeMap<AudioId, AudioSource>;

/// One VoiceCluster that runs here.
struct Running {
    edge: Edge,
    server: Arc<Server>,
    library: Arc<Library>,
    wanted: Wanted,
    applied: Arc<Snapshot>,
    names: Names,
}

async fn live(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state = arguments.state.as_deref().map(State::open).transpose()?;
    let last = state.as_ref().and_then(State::load);
    let mut plan = read(&arguments.dir, last.as_ref())?;
    if plan.clusters.is_empty() {
        bail!("{} declares no VoiceCluster that can run", arguments.dir.display());
    }
    let http = TcpListener::bind(arguments.http).await;
    let http = http.with_context(|| format!("--http cannot use {}", arguments.http))?;
    let mut running = BTreeMap::new();
    for (id, planned) in &plan.clusters {
        let mut one = start(planned).with_context(|| format!("VoiceCluster {id} cannot start"))?;
        resolve(&mut one).await?;
        running.insert(id.clone(), one);
    }
    keep(state.as_ref(), &plan);
    let (mut changes, watcher) = watch(&arguments.dir)?;
    let ready = Arc::new(AtomicBool::new(true));
    serve(&running, Arc::clone(&ready), http);
    announce(&running, arguments.http);

    let mut stopping = std::pin::pin!(stop_signal());
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
                    resolve(one).await?;
                }
            }
            signal = &mut stopping => break signal?,
        }
    }
    drop(watcher);
    ready.store(false, Ordering::Relaxed);
    stop(running).await;
    Ok(ExitCode::SUCCESS)
}

/// Reads, plans and tells every problem.
fn read(dir: &Path, last: Option<&Plan>) -> anyhow::Result<Plan> {
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
    Ok(plan)
}

fn start(planned: &PlannedCluster) -> anyhow::Result<Running> {
    let snapshot = Arc::clone(&planned.snapshot);
    let cluster = &snapshot.cluster;
    let wanted = wanted(planned)?;
    let library = Arc::new(library(planned, &wanted, None)?);
    let calls = cluster.limits.calls_max as usize;
    let (sink, source) = edge::events();
    let networks = cluster.networks.iter().map(|network| media::Network {
        name: network.name.clone(),
        bind: network.rtp_bind,
        advertised: network.rtp_advertised,
    });
    let config = media::Config {
        networks: networks.collect(),
        ports: cluster.rtp_ports.0..=cluster.rtp_ports.1,
        workers: None,
        recordings: None,
        sessions_max: calls.saturating_add(SESSIONS_ENDING),
    };
    let server = Server::start(config, Arc::new(sink))?;
    server.set_library(Arc::clone(&library));
    let server = Arc::new(server);
    let config = edge::Config {
        snapshot: Arc::clone(&snapshot),
        token: format!("{:06x}", random()? & 0xff_ffff),
        seed: random()?,
        legs_max: calls.saturating_mul(LEGS_PER_CALL),
        transactions_max: calls.saturating_mul(LEGS_PER_CALL * 2).max(1_024),
    };
    let edge = Edge::start(config, Arc::new(server.handle()), source)?;
    Ok(Running { edge, server, library, wanted, applied: snapshot, names: Names::new() })
}

fn wanted(planned: &PlannedCluster) -> anyhow::Result<Wanted> {
    let audio = planned.snapshot.audio.iter();
    audio.map(|(id, audio)| Ok((*id, source(*id, audio, planned)?))).collect()
}

/// Decodes and speaks the prompts; what `last` has is not done again.
fn library(planned: &PlannedCluster, wanted: &Wanted, last: Option<&Library>) -> anyhow::Result<Library> {
    Library::load(wanted, last).map_err(|errors| {
        let told = errors.iter().map(|error| match planned.snapshot.audio.get(&error.audio) {
            Some(audio) => format!("Prompt {}: {error}", audio.prompt),
            None => error.to_string(),
        });
        anyhow!(told.collect::<Vec<_>>().join("\n"))
    })
}

fn source(id: AudioId, audio: &snapshot::Audio, planned: &PlannedCluster) -> anyhow::Result<AudioSource> {
    match &audio.source {
        snapshot::AudioSource::Speech { text, language } => {
            Ok(AudioSource::Speech { text: text.clone(), language: language.clone() })
        }
        snapshot::AudioSource::Wav { origin } => {
            let bytes = planned.blobs.get(&id);
            let bytes = bytes.with_context(|| format!("Prompt {}: {origin} was not read", audio.prompt))?;
            Ok(AudioSource::Wav(Arc::clone(bytes)))
        }
    }
}

async fn resolve(one: &mut Running) -> anyhow::Result<()> {
    for name in one.edge.resolve(&one.applied, &mut one.names).await? {
        warn!("the peer name {name} cannot be resolved: check the Trunk's peers, or the DNS");
    }
    Ok(())
}

async fn reload(dir: &Path, last: &Plan, running: &mut BTreeMap<ClusterId, Running>) -> Option<Plan> {
    let plan = match read(dir, Some(last)) {
        Ok(plan) => plan,
        Err(error) => {
            error!("the change was not read, what ran goes on: {error:#}");
            return None;
        }
    };
    let mut refused = false;
    for (id, one) in running.iter_mut() {
        match plan.clusters.get(id) {
            None => warn!("VoiceCluster {id} is gone from the folder; it runs until this process stops"),
            Some(planned) if planned.snapshot == one.applied => {
                info!("VoiceCluster {id}: nothing changed for its calls")
            }
            Some(planned) => match apply(one, planned).await {
                Ok(()) => info!(
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

async fn apply(one: &mut Running, planned: &PlannedCluster) -> anyhow::Result<()> {
    let (before, after) = (&one.applied.cluster, &planned.snapshot.cluster);
    if before.networks != after.networks || before.rtp_ports != after.rtp_ports {
        bail!("networks and media.ports may not change while the process runs: restart it");
    }
    // Media first, and with what was there before: the new snapshot's calls must find their prompts, and a call that began
    // a moment ago must still find its own.
    let next = wanted(planned)?;
    let mut both = one.wanted.clone();
    both.extend(next.clone());
    let library = Arc::new(library(planned, &both, Some(&one.library))?);
    one.server.set_library(Arc::clone(&library));
    if let Err(refused) = one.edge.apply(Arc::clone(&planned.snapshot)).await? {
        one.server.set_library(Arc::clone(&one.library));
        return Err(refused.into());
    }
    one.library = library;
    one.wanted = next;
    one.applied = Arc::clone(&planned.snapshot);
    resolve(one).await
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
        // Reading the folder is itself an event, and what is no manifest is nobody's business; a folder may hold some.
        let matters = |path: &PathBuf| folder::is_source(path) || path.extension().is_none();
        // One change that waits stands for all.
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(matters)) {
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

fn serve(running: &BTreeMap<ClusterId, Running>, ready: Arc<AtomicBool>, http: TcpListener) {
    let observed: Vec<Arc<Observed>> = running.values().map(|one| one.edge.observed()).collect();
    let servers: Vec<_> = running.values().map(|one| Arc::clone(&one.server)).collect();
    let site = Site {
        observed,
        more_metrics: Box::new(move |text| media_metrics(text, &servers)),
        ready: Box::new(move || ready.load(Ordering::Relaxed)),
    };
    tokio::spawn(async move {
        if let Err(error) = edge::http::serve(http, Arc::new(site)).await {
            error!("HTTP has ended: {error}");
        }
    });
}

fn media_metrics(text: &mut String, servers: &[Arc<Server>]) {
    let counters: Vec<_> = servers.iter().map(|server| server.counters()).collect();
    let sum = |of: fn(&media::Counters) -> u64| counters.iter().map(of).sum::<u64>();
    for (name, kind, help, value) in [
        ("sessions", "gauge", "Media sessions.", sum(|counters| counters.sessions as u64)),
        ("legs", "gauge", "Media legs.", sum(|counters| counters.legs as u64)),
        ("ports", "gauge", "RTP and RTCP ports in use.", sum(|counters| counters.ports_in_use as u64)),
        ("rtp_received_total", "counter", "RTP packets received.", sum(|counters| counters.packets_received)),
        ("rtp_sent_total", "counter", "RTP packets sent.", sum(|counters| counters.packets_sent)),
        (
            "rtp_discarded_total",
            "counter",
            "RTP packets thrown away.",
            sum(|counters| counters.packets_discarded),
        ),
    ] {
        write_metric(text, &format!("switchboard_media_{name}"), kind, help, value);
    }
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

/// Drains; a second signal ends the drain.
async fn stop(running: BTreeMap<ClusterId, Running>) {
    let drain = async {
        for one in running.values() {
            let calls = one.edge.observed().calls.get();
            let most = Duration::from_secs(u64::from(one.applied.cluster.drain_seconds));
            if calls > 0 {
                say(&format!(
                    "draining: {calls} calls, {} s at most; Ctrl-C again ends them now",
                    most.as_secs()
                ));
            }
            one.edge.drain(most).await;
        }
    };
    tokio::select! {
        () = drain => {}
        _ = stop_signal() => {}
    }
    for (_, one) in running {
        one.edge.stop("the edge is stopping").await;
        if let Some(server) = Arc::into_inner(one.server) {
            server.stop();
        }
    }
}
