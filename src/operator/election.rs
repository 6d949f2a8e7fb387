//! The shell around [`crate::lease`]: reads and writes the Lease, and says who leads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use crate::lease::{Candidate, Record, Step, Terms};

/// Where the holder listens for pods.
const ADDRESS: &str = "switchboard.dev/address";

/// Who we are in the election.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the Lease lies.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// Never used by another process, nor by this one after a restart.
    pub identity: String,
    /// Where our pods can reach us, for those who ask another replica.
    pub address: String,
    /// How long it lasts.
    pub terms: Terms,
}

/// Whether we lead, and if not who does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// We follow.
    Follows {
        /// Where the holder listens, if it is known.
        holder: Option<String>,
    },
    /// We lead.
    Leads {
        /// The term.
        term: u64,
    },
}

/// Whether we lead at this very moment, by the clock: to be asked before every write. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    begin: Instant,
    until_millis: Arc<AtomicU64>,
    term: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
}

impl Default for Leadership {
    fn default() -> Self {
        Self {
            begin: Instant::now(),
            until_millis: Arc::default(),
            term: Arc::default(),
            heard: Arc::default(),
        }
    }
}

impl Leadership {
    /// The term in which we lead. None: nothing may be published or written.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        let now = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        (now < self.until_millis.load(Ordering::Acquire)).then(|| self.term.load(Ordering::Acquire))
    }

    /// A term was heard of that ours must be above.
    pub fn heard(&self, term: u64) {
        self.heard.fetch_max(term, Ordering::AcqRel);
    }

    /// Since the process began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn set(&self, term: u64, until: Duration) {
        self.term.store(term, Ordering::Release);
        self.until_millis.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.until_millis.store(0, Ordering::Release);
    }
}

/// Runs for the lease until it is held and lost. Gives why; the process must end then.
pub async fn run(
    client: Client,
    config: Config,
    leadership: Leadership,
    told: watch::Sender<State>,
) -> String {
    let mut candidate = Candidate::new(config.identity.clone(), config.terms);
    let leases: Api<Lease> = Api::namespaced(client, &config.namespace);
    loop {
        let began = leadership.now();
        // A server that does not answer must not keep us past the deadline.
        let patience =
            candidate.leads_until().map_or(config.terms.renew_deadline, |until| until.saturating_sub(began));
        let turn = timeout(patience, turn(&leases, &config, &leadership, &mut candidate, &told));
        let step = match turn.await {
            Ok(step) => step,
            Err(_) => candidate.failed(leadership.now()),
        };
        match candidate.leads(leadership.now()) {
            Some(term) => {
                leadership.set(term, candidate.leads_until().unwrap_or_default());
                tell(&told, State::Leads { term });
            }
            None if matches!(step, Step::Lost) => {
                leadership.end();
                let holder = candidate.holder().unwrap_or("nobody");
                tell(&told, State::Follows { holder: None });
                return format!(
                    "the lease {}/{} is lost; it is held by {holder}",
                    config.namespace, config.lease
                );
            }
            None => {}
        }
        // Two that begin together must not stay in step.
        let spread = u64::from(began.subsec_nanos() % 64);
        let pause =
            config.terms.retry * 7 / 8 + config.terms.retry * u32::try_from(spread).unwrap_or_default() / 256;
        let mut next = Instant::now() + pause;
        if let Some(until) = candidate.leads_until() {
            next = next.min(leadership.begin + until);
        }
        sleep_until(next).await;
    }
}

/// Gives the lease back, so that the next one need not wait.
pub async fn release(client: Client, config: &Config, leadership: &Leadership) {
    let Some(term) = leadership.term() else { return };
    leadership.end();
    let leases: Api<Lease> = Api::namespaced(client, &config.namespace);
    let release = async {
        let lease = leases.get(&config.lease).await?;
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) != Some(&config.identity) {
            return Ok(());
        }
        let version = lease.metadata.resource_version.unwrap_or_default();
        let mut released = object(config, term, version);
        if let Some(spec) = &mut released.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        leases.replace(&config.lease, &PostParams::default(), &released).await.map(|_| ())
    };
    match timeout(config.terms.retry, release).await {
        Ok(Ok(())) => info!("lease given back"),
        Ok(Err(error)) => warn!(%error, "the lease was not given back"),
        Err(_) => warn!("the lease was not given back: no answer"),
    }
}

fn tell(told: &watch::Sender<State>, state: State) {
    told.send_if_modified(|now| {
        let moved = *now != state;
        if moved {
            info!(?state, "lease");
            *now = state;
        }
        moved
    });
}

async fn turn(
    leases: &Api<Lease>,
    config: &Config,
    leadership: &Leadership,
    candidate: &mut Candidate,
    told: &watch::Sender<State>,
) -> Step {
    candidate.heard(leadership.heard.load(Ordering::Acquire));
    let read = leases.get_opt(&config.lease).await;
    let now = leadership.now();
    let lease = match read {
        Ok(lease) => lease,
        Err(error) => {
            warn!(%error, "the lease cannot be read");
            return candidate.failed(now);
        }
    };
    let step = candidate.read(now, lease.as_ref().map(record));
    let (term, version) = match &step {
        Step::Wait => {
            let annotations = lease.and_then(|lease| lease.metadata.annotations).unwrap_or_default();
            tell(told, State::Follows { holder: annotations.get(ADDRESS).cloned() });
            return step;
        }
        Step::Lost => return step,
        Step::Create { term } => (*term, None),
        Step::Write { term, version } => (*term, Some(version.clone())),
    };
    let sent = leadership.now();
    let written = match version {
        None => leases.create(&PostParams::default(), &object(config, term, String::new())).await,
        Some(version) => {
            leases.replace(&config.lease, &PostParams::default(), &object(config, term, version)).await
        }
    };
    let now = leadership.now();
    match written {
        Ok(lease) => {
            if candidate.written(sent, now, record(&lease)).is_none() {
                return candidate.failed(now);
            }
            step
        }
        Err(error) => {
            debug!(%error, "the lease was not written");
            candidate.failed(now)
        }
    }
}

fn object(config: &Config, term: u64, version: String) -> Lease {
    let annotations = [(ADDRESS.to_owned(), config.address.clone())];
    Lease {
        metadata: ObjectMeta {
            name: Some(config.lease.clone()),
            namespace: Some(config.namespace.clone()),
            resource_version: Some(version).filter(|version| !version.is_empty()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(config.identity.clone()),
            lease_duration_seconds: i32::try_from(config.terms.duration.as_secs()).ok(),
            lease_transitions: i32::try_from(term).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        transitions: spec.lease_transitions.and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
