//! The shell: watches, the core's thread, writers, servers, and the end of all of them when the lease is lost.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kube::{Client, Config as KubeConfig};
use link::{config::Hub, server, tls::Tls};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch as signal},
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, info, warn};

use crate::{
    client,
    core::Core,
    election::{self, Leadership, State},
    http::{self, Readiness},
    keep::Keeper,
    lease::Terms,
    metrics::Metrics,
    mind::{Mind, Want},
    pki::{Authorities, Lives, Pki},
    store::Store,
    watch, webhook,
};

/// Changes that wait for the core.
const CHANGES_MAX: usize = 1_024;

/// Admission reviews that wait for the core.
const ASKS_MAX: usize = 256;

/// Between two looks at what must be kept: certificates, authorities, the webhook's bundle.
const UPKEEP: Duration = Duration::from_secs(60);

/// Between two looks while something has failed.
const UPKEEP_RETRY: Duration = Duration::from_secs(2);

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its Lease and its Secrets lie.
    pub namespace: String,
    /// Name of its Lease.
    pub lease: String,
    /// Of this process alone.
    pub identity: String,
    /// Where pods reach it, as told to those who ask another replica.
    pub address: String,
    /// How the lease is held.
    pub terms: Terms,
    /// Where pods connect.
    pub link: SocketAddr,
    /// Where it is probed and scraped.
    pub http: SocketAddr,
    /// The webhook. None: there is none.
    pub webhook: Option<Webhook>,
}

/// How the webhook is reached.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where it listens.
    pub listen: SocketAddr,
    /// DNS names and addresses that the API server knows it by.
    pub names: Vec<String>,
    /// The `ValidatingWebhookConfiguration` whose `caBundle` is ours.
    pub configuration: String,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An address cannot be bound.
    #[error("{flag} cannot use {address}: {source}")]
    Bind {
        /// Of the command line.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The client cannot be made.
    #[error("the API server cannot be reached: {0}")]
    Client(#[source] Box<kube::Error>),
    /// The lease is lost, and with it the right to speak.
    #[error("{0}")]
    LeaseLost(String),
    /// A task or thread has ended that never should.
    #[error("{0} has ended")]
    Ended(&'static str),
}

/// How the API server is reached: by a file, as a pod reaches it, or as `kubectl` does.
///
/// # Errors
/// A sentence, if none of them says.
pub async fn kube_config(file: Option<&std::path::Path>) -> Result<KubeConfig, String> {
    let Some(file) = file else {
        return KubeConfig::infer().await.map_err(|error| format!("no way to the API server: {error}"));
    };
    let about = |error: kube::config::KubeconfigError| format!("{}: {error}", file.display());
    let read = kube::config::Kubeconfig::read_from(file).map_err(about)?;
    KubeConfig::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.map_err(about)
}

/// Runs until `stop` resolves, or the lease is lost.
///
/// # Errors
/// See [`RunError`].
pub async fn run(options: Options, kube: KubeConfig, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::default());
    let client = client::connect(kube, &metrics).map_err(|error| RunError::Client(Box::new(error)))?;
    let http = bind("--http", options.http).await?;
    let link = bind("--link", options.link).await?;
    let readiness = Readiness::default();
    tokio::spawn(http::serve(http, readiness.clone(), Arc::clone(&metrics)));
    let leadership = Leadership::default();
    let keeper = Keeper::new(client.clone(), leadership.clone());
    let mut store = Store::new(keeper.clone(), options.namespace.clone());
    let webhook_tls = Arc::new(ArcSwapOption::empty());
    let asked = serve_webhook(&options, &webhook_tls, &metrics).await?;
    let mut stop = std::pin::pin!(stop);
    let last = tokio::select! {
        last = last_good(&mut store, &readiness) => last,
        () = &mut stop => return Ok(()),
    };
    leadership.heard(last.1);

    let (changes, changed) = mpsc::channel(CHANGES_MAX);
    let core = Core::new(watch::kinds().iter().map(|kind| kind.name).collect(), last.0.as_ref());
    drop(last);
    watch_all(&client, &changes);
    let (hub, reports) = Hub::new();
    let (state, states) = signal::channel(State::Follows { holder: None });
    let (wants, wanted) = mpsc::channel(1);
    let (synced, is_synced) = oneshot::channel();
    let (stopping, stopped) = signal::channel(false);
    let thread = Mind {
        core,
        hub: hub.clone(),
        client: client.clone(),
        leadership: leadership.clone(),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        identity: options.identity.clone(),
        changes: changed,
        more: changes,
        reports,
        asked,
        states: states.clone(),
        wants,
        stopped,
    }
    .begin(synced);
    let upkeep = Upkeep {
        pki: Pki::new(keeper, leadership.clone(), options.namespace.clone(), Lives::default()),
        store,
        client: client.clone(),
        leadership: leadership.clone(),
        options: options.clone(),
        hub: hub.clone(),
        link: Some(link),
        tls: None,
        serving: None,
        readiness,
        webhook_tls,
        own: None,
        clusters: BTreeSet::new(),
        unstored: None,
    };
    let mut upkeep = tokio::spawn(upkeep.run(wanted, states));
    let config = options.election();
    // A clone: whoever hears that nobody tells of the lease any more ends at once, and must not before all is stored.
    let campaign = campaign(is_synced, client.clone(), config.clone(), leadership.clone(), state.clone());
    let ended = tokio::select! {
        why = campaign => Err(RunError::LeaseLost(why)),
        () = &mut stop => Ok(()),
        _ = &mut upkeep => Err(RunError::Ended("upkeep")),
        _ = thread => Err(RunError::Ended("the core's thread")),
    };
    if ended.is_ok() {
        // The core says what is to be stored, and ends, and with it whoever stores.
        stopping.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_secs(10), upkeep).await;
        election::release(client, &config, &leadership).await;
    }
    hub.follow(None);
    ended
}

/// What it is asked goes to the core.
async fn serve_webhook(
    options: &Options,
    tls: &Arc<ArcSwapOption<rustls::ServerConfig>>,
    metrics: &Arc<Metrics>,
) -> Result<mpsc::Receiver<webhook::Ask>, RunError> {
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    if let Some(webhook) = &options.webhook {
        let listener = bind("--webhook", webhook.listen).await?;
        tokio::spawn(webhook::serve(listener, Arc::clone(tls), asks, Arc::clone(metrics)));
    }
    Ok(asked)
}

fn watch_all(client: &Client, changes: &mpsc::Sender<watch::Change>) {
    for kind in watch::kinds() {
        tokio::spawn(watch::follow(client.clone(), kind, changes.clone()));
    }
}

impl Options {
    fn election(&self) -> election::Config {
        election::Config {
            namespace: self.namespace.clone(),
            lease: self.lease.clone(),
            identity: self.identity.clone(),
            address: self.address.clone(),
            terms: self.terms,
        }
    }
}

/// Runs for the lease, once all is known: who does not know what there is leads nobody.
async fn campaign(
    synced: oneshot::Receiver<()>,
    client: Client,
    config: election::Config,
    leadership: Leadership,
    state: signal::Sender<State>,
) -> String {
    if synced.await.is_err() {
        return "the core's thread has ended".to_owned();
    }
    election::run(client, config, leadership, state).await
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Bind { flag, address, source })
}

/// Without the last good forms nothing may be planned: a bad object would hang up its number.
async fn last_good(store: &mut Store, readiness: &Readiness) -> (Option<plan::Plan>, u64) {
    loop {
        match store.plan().await {
            Ok(last) => return last,
            Err(error) => {
                if readiness.set(Some(format!("the last good forms cannot be read: {error}"))) {
                    warn!(%error, "the last good forms cannot be read");
                }
                sleep(UPKEEP_RETRY).await;
            }
        }
    }
}

/// What must be kept besides statuses.
struct Upkeep {
    pki: Pki,
    store: Store,
    client: Client,
    leadership: Leadership,
    options: Options,
    hub: Hub,
    link: Option<TcpListener>,
    tls: Option<Tls>,
    serving: Option<server::Serving>,
    readiness: Readiness,
    webhook_tls: Arc<ArcSwapOption<rustls::ServerConfig>>,
    /// What our own certificates were made of, and when.
    own: Option<(String, Timestamp)>,
    clusters: BTreeSet<model::ClusterId>,
    /// What could not be stored.
    unstored: Option<Want>,
}

impl Upkeep {
    async fn run(mut self, mut wanted: mpsc::Receiver<Want>, mut states: signal::Receiver<State>) {
        // A point in time: what is to be stored comes more often than this, and must not put it off for ever.
        let (mut next, mut said) = (Instant::now(), String::new());
        loop {
            tokio::select! {
                want = wanted.recv() => {
                    let Some(want) = want else { return };
                    let new = want.clusters.clone();
                    self.keep(want).await;
                    if new == self.clusters {
                        continue;
                    }
                    self.clusters = new;
                }
                moved = states.changed() => if moved.is_err() { return },
                () = sleep_until(next) => {}
            }
            if let Some(want) = self.unstored.take() {
                self.keep(want).await;
            }
            let looked = self.look().await;
            // Whoever could show a certificate once goes on with it.
            let waits = looked.as_ref().err().filter(|_| self.tls.is_none());
            self.readiness.set_link(waits.map(|error| format!("pods cannot connect: {error}")));
            next = Instant::now()
                + match looked {
                    Ok(()) => {
                        said.clear();
                        UPKEEP
                    }
                    Err(error) => {
                        if error != said {
                            warn!(error, "upkeep; trying again");
                        }
                        said = error;
                        UPKEEP_RETRY
                    }
                };
        }
    }

    /// Stores what shall outlive the process. What cannot be stored is tried again, unless something newer has come.
    async fn keep(&mut self, want: Want) {
        let Some(term) = self.leadership.term() else { return };
        let mut failed = Want { clusters: want.clusters, ..Want::default() };
        if let Some(bytes) = want.plan
            && let Err(error) = self.store.keep_plan(&bytes, term).await
        {
            error!(%error, "the last good forms are not stored");
            failed.plan = Some(bytes);
        }
        for (cluster, position, sections) in want.snapshots {
            if let Err(error) = self.store.keep_snapshot(&cluster, position, &sections).await {
                error!(%error, %cluster, "the snapshot is not stored");
                failed.snapshots.push((cluster, position, sections));
            }
        }
        let again = failed.plan.is_some() || !failed.snapshots.is_empty();
        self.unstored = again.then_some(failed);
    }

    async fn look(&mut self) -> Result<(), String> {
        let now = Timestamp::now();
        let authorities = match self.pki.authorities(now).await {
            Ok(authorities) => authorities,
            // Whoever leads will make them.
            Err(crate::pki::PkiError::Absent) => return Err("there is no authority yet".into()),
            Err(error) => return Err(error.to_string()),
        };
        self.show(&authorities, now)?;
        if self.leadership.term().is_none() {
            return Ok(());
        }
        // A namespace whose Secrets are not ours to write holds up no other.
        let mut failed = Ok(());
        for cluster in self.clusters.clone() {
            if let Err(error) = self.pki.give(&cluster, &authorities, now).await {
                failed = Err(format!("certificates of {cluster}: {error}"));
            }
        }
        if let Some(webhook) = self.options.webhook.clone() {
            let bundle = authorities.bundle();
            let bundled =
                crate::bundle::keep(&self.client, &self.leadership, &webhook.configuration, &bundle).await;
            bundled.map_err(|error| {
                format!("ValidatingWebhookConfiguration {}: {error}", webhook.configuration)
            })?;
        }
        failed
    }

    /// Shows our own certificates to pods and to the API server: new ones every day, or when authorities have changed.
    fn show(&mut self, authorities: &Authorities, now: Timestamp) -> Result<(), String> {
        let bundle = authorities.bundle();
        let fresh = self
            .own
            .as_ref()
            .is_some_and(|(of, since)| *of == bundle && now.as_second() < since.as_second() + 86_400);
        if fresh {
            return Ok(());
        }
        let names = self.options.webhook.as_ref().map(|webhook| webhook.names.clone()).unwrap_or_default();
        let own = self.pki.own(authorities, &names, now).map_err(|error| error.to_string())?;
        if self.options.webhook.is_some() {
            let config = crate::bundle::server_config(&own).map_err(|error| error.to_string())?;
            self.webhook_tls.store(Some(Arc::new(config)));
        }
        match &self.tls {
            Some(tls) => tls.replace(&own).map_err(|error| error.to_string())?,
            None => {
                let tls = Tls::new(&own).map_err(|error| error.to_string())?;
                if let Some(listener) = self.link.take() {
                    let serving = server::serve_config(listener, tls.clone(), self.hub.clone());
                    self.serving = Some(serving.map_err(|error| error.to_string())?);
                    info!(address = %self.options.link, "pods may connect");
                }
                self.tls = Some(tls);
            }
        }
        self.own = Some((bundle, now));
        Ok(())
    }
}
