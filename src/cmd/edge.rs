//! `switchboard edge`: the pod that takes a cluster's calls. Its audio is at media pods.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use call::world::Refused;
use clap::Args;
use edge::{
    Edge,
    dns::Dns,
    observed::{Observed, write_metric},
};
use link::{
    MediaOrders,
    config::{Secrets, State, Topology},
    identity::Role,
    media::Pool,
};
use model::snapshot::Snapshot;
use store::records::Recorder;
use tracing::info;

use super::{
    pod::{self, Made, Next, Work},
    random,
    records::Records,
    roles, trace,
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pod: pod::PodArguments,
    #[command(flatten)]
    engines: roles::Engines,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    trace("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(pod::run(&arguments.pod, async |made: &Made| Ok(EdgePod::new(made, arguments))))?;
    Ok(ExitCode::SUCCESS)
}

struct EdgePod {
    made: Made,
    engines: roles::Engines,
    /// Where records wait.
    folder: PathBuf,
    records: Option<Records>,
    running: Option<Running>,
    /// Who was alive when somebody said so last.
    topology: Topology,
    /// Of what nothing but memory may know.
    secrets: Secrets,
}

struct Running {
    edge: Edge,
    observed: Arc<Observed>,
    pool: Pool,
    applied: Arc<Snapshot>,
    dns: Dns,
}

impl EdgePod {
    fn new(made: &Made, arguments: &Arguments) -> Self {
        let made = Made {
            tls: made.tls.clone(),
            identity: made.identity.clone(),
            pod: made.pod.clone(),
            metrics: made.metrics.clone(),
            sounds: made.sounds.clone(),
        };
        Self {
            made,
            engines: arguments.engines,
            folder: arguments.pod.state().join("records"),
            records: None,
            running: None,
            topology: Topology::default(),
            secrets: Secrets::default(),
        }
    }

    /// Where records go, from the first snapshot on.
    fn recorder(&mut self, next: &Next) -> anyhow::Result<Recorder> {
        if let Some(records) = &mut self.records {
            records.set(&next.snapshot, &next.secrets);
            return Ok(records.recorder());
        }
        let records = Records::start(&self.folder, &next.snapshot, &next.secrets)?;
        Ok(self.records.insert(records).recorder())
    }

    fn start(&mut self, next: &Next) -> anyhow::Result<Result<Running, Refused>> {
        let (snapshot, recorder) = (&next.snapshot, self.recorder(next)?);
        let (sink, source) = edge::events(self.engines.count());
        let Made { tls, identity, pod, metrics, .. } = &self.made;
        let zone = String::new();
        let pool = Pool::new(tls.clone(), identity.clone(), pod.clone(), zone, random()?, Arc::new(sink));
        let orders: Arc<dyn MediaOrders> = Arc::new(pool.clone());
        let config = roles::edge_config(Arc::clone(snapshot), next.secrets.clone(), Some(recorder))?;
        let edge = match Edge::start(config, orders, source) {
            Ok(edge) => edge,
            Err(edge::StartError::Refused(refused)) => return Ok(Err(refused)),
            Err(error) => return Err(error.into()),
        };
        pool.set_topology(&self.topology);
        let observed = edge.observed();
        metrics.observe(Arc::clone(&observed));
        let told = pool.clone();
        metrics.more(move |text| {
            let connected = told.connected() as u64;
            write_metric(
                text,
                "switchboard_media_pods",
                "gauge",
                "Media pods that are connected.",
                connected,
            );
        });
        Ok(Ok(Running { edge, observed, pool, applied: Arc::clone(snapshot), dns: Dns::system() }))
    }
}

impl Work for EdgePod {
    const ROLE: Role = Role::Edge;

    async fn apply(&mut self, next: &Next) -> anyhow::Result<Result<(), Refused>> {
        match &mut self.running {
            None => match self.start(next)? {
                Ok(running) => self.running = Some(running),
                Err(refused) => return Ok(Err(refused)),
            },
            Some(running) => {
                if let Err(refused) = roles::unchanged(&running.applied.cluster, &next.snapshot.cluster) {
                    return Ok(Err(refused));
                }
                if self.secrets != next.secrets {
                    running.edge.take_secrets(next.secrets.clone()).await?;
                }
                if let Err(refused) = running.edge.apply(Arc::clone(&next.snapshot)).await? {
                    return Ok(Err(refused));
                }
                if let Some(records) = &mut self.records {
                    records.set(&next.snapshot, &next.secrets);
                }
                running.applied = Arc::clone(&next.snapshot);
            }
        }
        if self.secrets != next.secrets {
            self.secrets = next.secrets.clone();
            info!(secrets = self.secrets.len(), "secrets taken");
        }
        self.resolve().await?;
        Ok(Ok(()))
    }

    fn topology(&mut self, topology: &Topology) {
        self.topology = topology.clone();
        self.running.iter().for_each(|running| running.pool.set_topology(topology));
    }

    async fn resolve(&mut self) -> anyhow::Result<()> {
        match &mut self.running {
            Some(running) => {
                roles::resolve(&running.edge, &running.applied, &self.secrets, &mut running.dns).await
            }
            None => Ok(()),
        }
    }

    fn state(&self) -> State {
        let Some(running) = &self.running else { return State::default() };
        State {
            calls: u32::try_from(running.observed.calls.get()).unwrap_or(u32::MAX),
            capacity: running.applied.cluster.limits.calls_max,
            ..State::default()
        }
    }

    fn announce(&self) -> Option<String> {
        let cluster = &self.running.as_ref()?.applied.cluster;
        let listeners = cluster.listeners.iter();
        let listeners = listeners.map(|listener| format!("{} {}", listener.transport, listener.bind));
        Some(format!("ready: edge of {} on {}", cluster.code, listeners.collect::<Vec<_>>().join(", ")))
    }

    async fn drain(&self) {
        if let Some(running) = &self.running {
            let most = Duration::from_secs(u64::from(running.applied.cluster.drain_seconds));
            info!(calls = running.observed.calls.get(), seconds = most.as_secs(), "draining");
            let until = Instant::now() + most;
            running.edge.drain(most).await;
            if let Some(records) = &self.records {
                records.settle(until).await;
            }
        }
    }

    async fn stop(self, at_most: Duration) {
        if let Some(running) = self.running {
            let until = Instant::now() + at_most;
            running.edge.stop("the edge is stopping", at_most).await;
            // The records of calls that are ended now are on the disk in any case.
            if let Some(records) = &self.records {
                records.settle(until.max(Instant::now() + Duration::from_secs(1))).await;
            }
        }
    }
}
