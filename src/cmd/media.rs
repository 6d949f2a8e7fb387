//! `switchboard media`: the pod that a cluster's audio goes through, by the orders of its edges.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use call::world::Refused;
use clap::Args;
use edge::observed::write_metric;
use link::{
    config::{Secrets, State, Topology},
    identity::Role,
    media::Streams,
    server::Serving,
};
use media::Server;
use model::snapshot::Snapshot;
use tokio::{net::TcpListener, time::Instant};
use tracing::info;

use super::{
    pod::{self, Made, Next, Work},
    prompts::Prompts,
    roles,
    services::Services,
    sounds::{Place, Sounds},
    trace,
};

/// How often it is looked at whether the last session has ended.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pod: pod::PodArguments,
    /// Where edges connect.
    #[arg(long, value_name = "ADDRESS", env = "SWITCHBOARD_LINK", default_value = "127.0.0.1:7443")]
    link: SocketAddr,
    /// Where edges find it, as the operator tells them.
    #[arg(long, value_name = "HOST:PORT", env = "SWITCHBOARD_LINK_ADDRESS")]
    link_address: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    trace("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(pod::run(&arguments.pod, async |made: &Made| MediaPod::new(arguments, made).await))?;
    Ok(ExitCode::SUCCESS)
}

struct MediaPod {
    made: Made,
    streams: Arc<Streams>,
    /// Bound from the beginning, served from the first snapshot on.
    listener: Option<TcpListener>,
    link: SocketAddr,
    running: Option<Running>,
    /// Of what nothing but memory may know.
    secrets: Secrets,
    /// Where recordings are kept.
    /// What speaks and understands besides what is built in.
    services: Arc<Services>,
    place: Place,
    sounds: Sounds,
    /// Where prompts that are fetched are kept.
    files: PathBuf,
    /// Whether no other pod is there to delete what is due.
    is_first: bool,
}

struct Running {
    server: Server,
    prompts: Prompts,
    applied: Arc<Snapshot>,
    blobs: roles::Blobs,
    _serving: Option<Serving>,
}

impl MediaPod {
    async fn new(arguments: &Arguments, made: &Made) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(arguments.link).await;
        let listener = listener.with_context(|| format!("--link cannot use {}", arguments.link))?;
        let address = &arguments.link_address;
        let about = || format!("--link-address {address} cannot be resolved");
        let link = tokio::net::lookup_host(address.as_str()).await.with_context(about)?.next();
        let made = Made {
            tls: made.tls.clone(),
            identity: made.identity.clone(),
            pod: made.pod.clone(),
            metrics: made.metrics.clone(),
            sounds: made.sounds.clone(),
        };
        let sounds = made.sounds.clone();
        Ok(Self {
            streams: Streams::new(made.identity.cluster.clone()),
            made,
            listener: Some(listener),
            link: link.with_context(about)?,
            running: None,
            secrets: Secrets::default(),
            services: Services::new(tokio::runtime::Handle::current()),
            place: Place::new(&arguments.pod.state().join("sounds")),
            sounds,
            files: arguments.pod.state().join("prompts"),
            is_first: true,
        })
    }

    fn start(&mut self, next: &Next) -> anyhow::Result<Result<Running, Refused>> {
        let mut prompts = Prompts::kept_in(Some(self.files.clone()));
        match prompts.prepare(&next.snapshot, &next.blobs, &self.services) {
            Ok(prepared) => prompts.commit(prepared),
            Err(refused) => return Ok(Err(refused)),
        }
        self.place.set(&next.snapshot, &next.secrets);
        let config = roles::media_config(&next.snapshot.cluster, Some(self.place.store()), &self.services);
        let server = Server::start(config, Arc::clone(&self.streams) as _)?;
        server.set_library(prompts.library());
        let (told, streams) = (server.handle(), Arc::clone(&self.streams));
        self.made.metrics.more(move |text| {
            let counters = told.counters();
            roles::media_metrics(text, std::slice::from_ref(&told));
            for (name, kind, help, value) in [
                ("orders_dropped_total", "counter", "Media orders dropped.", counters.orders_dropped),
                ("events_dropped_total", "counter", "Media events dropped.", streams.dropped()),
                ("edges", "gauge", "Edges that are connected.", streams.connected() as u64),
            ] {
                write_metric(text, &format!("switchboard_media_{name}"), kind, help, value);
            }
        });
        self.sounds.set(&server.handle(), &next.snapshot, self.deletes(&next.snapshot));
        let orders = Arc::new(server.handle());
        let listener = self.listener.take();
        let serving = listener.map(|listener| self.streams.serve(listener, self.made.tls.clone(), orders));
        let applied = Arc::clone(&next.snapshot);
        let blobs = next.blobs.clone();
        Ok(Ok(Running { server, prompts, applied, blobs, _serving: serving.transpose()? }))
    }
}

impl MediaPod {
    /// Those that share a bucket leave it to one of them to delete what is due.
    fn deletes(&self, snapshot: &Snapshot) -> bool {
        snapshot.cluster.keeping.s3.is_none() || self.is_first
    }

    fn keep(&mut self, snapshot: &Arc<Snapshot>, secrets: &Secrets) {
        let Some(running) = &self.running else { return };
        let server = running.server.handle();
        if self.place.set(snapshot, secrets) {
            server.store_changed();
        }
        self.sounds.set(&server, snapshot, self.deletes(snapshot));
    }
}

impl Work for MediaPod {
    const ROLE: Role = Role::Media;

    async fn apply(&mut self, next: &Next) -> anyhow::Result<Result<(), Refused>> {
        // Decoding takes the cores for a while; who waits for the network goes on meanwhile.
        let applied = tokio::task::block_in_place(|| {
            self.services.update(&next.snapshot, &next.secrets);
            match &mut self.running {
                None => {
                    let started = self.start(next)?;
                    Ok(started.map(|running| self.running = Some(running)))
                }
                Some(running) => {
                    let applied = running.apply(next, &self.services);
                    if applied.is_ok() {
                        self.keep(&next.snapshot, &next.secrets);
                    }
                    anyhow::Ok(applied)
                }
            }
        })?;
        if let (Err(_), Some(running)) = (&applied, &self.running) {
            self.services.update(&running.applied, &self.secrets);
        }
        if applied.is_ok() && self.secrets != next.secrets {
            self.secrets = next.secrets.clone();
            info!(secrets = self.secrets.len(), "secrets taken");
        }
        Ok(applied)
    }

    fn topology(&mut self, topology: &Topology) {
        let others = topology.pods.iter().filter(|pod| pod.role == Role::Media && !pod.state.draining);
        self.is_first =
            others.map(|pod| &pod.pod.name).min().is_none_or(|first| *first >= self.made.pod.name);
        if let Some(running) = &self.running {
            let snapshot = &running.applied;
            self.sounds.set(&running.server.handle(), snapshot, self.deletes(snapshot));
        }
    }

    async fn resolve(&mut self) -> anyhow::Result<()> {
        if let Some(running) = &mut self.running {
            tokio::task::block_in_place(|| running.speak(&self.services, true));
        }
        Ok(())
    }

    fn look(&mut self) {
        if let Some(running) = &mut self.running {
            tokio::task::block_in_place(|| running.speak(&self.services, false));
        }
    }

    fn state(&self) -> State {
        let Some(running) = &self.running else { return State::default() };
        let sessions = running.server.counters().sessions;
        State {
            calls: u32::try_from(sessions).unwrap_or(u32::MAX),
            capacity: running.applied.cluster.limits.calls_max,
            link: Some(self.link),
            ..State::default()
        }
    }

    fn announce(&self) -> Option<String> {
        let cluster = &self.running.as_ref()?.applied.cluster;
        let (first, last) = cluster.rtp_ports;
        Some(format!("ready: media of {}, RTP {first}-{last}, edges at {}", cluster.code, self.link))
    }

    async fn drain(&self) {
        let Some(running) = &self.running else { return };
        let most = Duration::from_secs(u64::from(running.applied.cluster.drain_seconds));
        info!(sessions = running.server.counters().sessions, seconds = most.as_secs(), "draining");
        let until = Instant::now() + most;
        while running.server.counters().sessions > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn stop(self, _: Duration) {
        if let Some(running) = self.running {
            tokio::task::block_in_place(|| running.server.stop());
        }
    }
}

impl Running {
    /// Takes what others have given since, and asks those again that have failed if that is due.
    fn speak(&mut self, services: &Arc<Services>, is_due: bool) {
        let renewed = self.prompts.renewed(&self.applied, &self.blobs, services, is_due);
        if let Some(Ok(prepared)) = renewed {
            self.server.set_library(Arc::clone(&prepared.both));
            self.prompts.commit(prepared);
        }
    }

    fn apply(&mut self, next: &Next, services: &Arc<Services>) -> Result<(), Refused> {
        roles::unchanged(&self.applied.cluster, &next.snapshot.cluster)?;
        let prepared = self.prompts.prepare(&next.snapshot, &next.blobs, services)?;
        self.server.set_library(Arc::clone(&prepared.both));
        self.prompts.commit(prepared);
        self.applied = Arc::clone(&next.snapshot);
        self.blobs.clone_from(&next.blobs);
        Ok(())
    }
}
