//! The operator's end.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{
    ClusterId,
    section::{Digest, Sections},
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use super::{Feed, NotLeading, Publication, Report, Start, Topology, session};
use crate::{
    identity::Identity,
    lock,
    wire::{FromPod, ToPod},
};

/// Streams at once.
const SESSIONS_MAX: usize = 4_096;

/// Reports that wait for the operator. When they are full, pods wait.
const REPORTS_MAX: usize = 4_096;

/// Publications of a cluster that a delta may begin at. They share what did not change.
const HISTORY_MAX: usize = 16;

/// Messages on their way to or from one pod, besides what the network holds.
pub(super) const MESSAGES_MAX: usize = 2;

/// Key of the metadata that names who leads.
pub(super) const HOLDER: &str = "switchboard-holder";

/// The operator's end of every configuration stream. Cheap to clone.
///
/// It begins as a follower that knows of no holder.
#[derive(Clone)]
pub struct Hub(pub(super) Arc<Shared>);

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&*self.0.leading.borrow()).finish()
    }
}

/// Whether this operator speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leading {
    /// With a term.
    Term(u64),
    /// Somebody else does, at this address.
    No(Option<String>),
}

pub(super) struct Shared {
    pub leading: watch::Sender<Leading>,
    clusters: Mutex<BTreeMap<ClusterId, Slot>>,
    pods: Mutex<BTreeMap<(Identity, String), Registered>>,
    numbers: AtomicU64,
    pub reports: mpsc::Sender<Report>,
    sessions: Arc<Semaphore>,
}

/// What one cluster is told.
struct Slot {
    publication: watch::Sender<Option<Publication>>,
    topology: watch::Sender<Topology>,
    history: VecDeque<(Digest, Arc<Sections>)>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            publication: watch::Sender::new(None),
            topology: watch::Sender::new(Topology::default()),
            history: VecDeque::new(),
        }
    }
}

/// The stream of a pod.
struct Registered {
    number: u64,
    /// Dropping it ends the stream.
    _end: watch::Sender<()>,
    /// Closed once the stream has ended and said so.
    ended: watch::Receiver<()>,
}

/// A stream's place among the others. Dropping it says that the stream has ended.
pub(super) struct Registration {
    hub: Arc<Shared>,
    key: (Identity, String),
    number: u64,
    end: watch::Receiver<()>,
    _ended: watch::Sender<()>,
}

impl Registration {
    /// Returns once another stream of the same pod has come.
    pub async fn superseded(&mut self) {
        while self.end.changed().await.is_ok() {}
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut pods = lock(&self.hub.pods);
        if pods.get(&self.key).is_some_and(|registered| registered.number == self.number) {
            pods.remove(&self.key);
        }
    }
}

/// What a session of a cluster reads.
pub(super) struct Subscription {
    pub publication: watch::Receiver<Option<Publication>>,
    pub topology: watch::Receiver<Topology>,
}

impl Hub {
    /// How often a pod says how it is. One that says nothing for [`Hub::SILENCE_MAX`] is gone.
    pub const HEARTBEAT: Duration = Duration::from_secs(2);

    /// How long a pod may say nothing.
    pub const SILENCE_MAX: Duration = Duration::from_secs(20);

    /// A hub, and what it tells of its pods. Somebody must read the reports: when their queue is full, pods wait.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Report>) {
        let (reports, received) = mpsc::channel(REPORTS_MAX);
        let shared = Shared {
            leading: watch::Sender::new(Leading::No(None)),
            clusters: Mutex::default(),
            pods: Mutex::default(),
            numbers: AtomicU64::new(0),
            reports,
            sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
        };
        (Self(Arc::new(shared)), received)
    }

    /// Speaks from now on. What was published with another term is forgotten: publish it again.
    pub fn lead(&self, term: u64) {
        let leads = Leading::Term(term);
        if self.0.leading.send_replace(leads.clone()) != leads {
            self.0.forget();
        }
    }

    /// Falls silent: ends every stream with UNAVAILABLE, and answers new ones so. Pods go on at `holder`, an
    /// `address:port`, if it is known.
    pub fn follow(&self, holder: Option<String>) {
        self.0.leading.send_replace(Leading::No(holder));
        self.0.forget();
    }

    /// Tells the pods of a cluster what to know. Of several, each pod gets the newest that there is when it can take one.
    ///
    /// # Errors
    /// The publication is of a term that this hub does not lead with.
    pub fn publish(&self, cluster: &ClusterId, publication: Publication) -> Result<(), NotLeading> {
        // Held throughout, so that none slips in after a `follow` has forgotten the others.
        let mut clusters = lock(&self.0.clusters);
        if *self.0.leading.borrow() != Leading::Term(publication.position.term) {
            return Err(NotLeading(publication.position.term));
        }
        let slot = clusters.entry(cluster.clone()).or_default();
        let digest = publication.sections.digest();
        slot.history.retain(|(of, _)| *of != digest);
        slot.history.push_back((digest, Arc::clone(&publication.sections)));
        if slot.history.len() > HISTORY_MAX {
            slot.history.pop_front();
        }
        slot.publication.send_replace(Some(publication));
        Ok(())
    }

    /// Ends the streams of a cluster that is no more. Its pods may connect again, and are told nothing.
    pub fn retire(&self, cluster: &ClusterId) {
        lock(&self.0.clusters).remove(cluster);
    }

    /// Tells the pods of a cluster who is alive.
    pub fn set_topology(&self, cluster: &ClusterId, topology: Topology) {
        let mut clusters = lock(&self.0.clusters);
        let slot = clusters.entry(cluster.clone()).or_default();
        slot.topology.send_if_modified(|last| {
            let other = *last != topology;
            *last = topology;
            other
        });
    }

    /// The in-process twin: a pod of this very process, over the same sessions.
    #[must_use]
    pub fn attach(&self, identity: Identity, start: Start) -> Feed {
        Feed::attached(self.clone(), identity, start)
    }

    /// A new stream of whom a certificate names: what the pod says goes in, what it is told comes out.
    ///
    /// # Errors
    /// UNAVAILABLE: another operator leads, or there are too many streams.
    pub(crate) fn open(
        &self,
        identity: Identity,
        said: impl Stream<Item = Result<FromPod, Status>> + Send + 'static,
    ) -> Result<ReceiverStream<Result<ToPod, Status>>, Status> {
        if let Leading::No(holder) = &*self.0.leading.borrow() {
            return Err(unavailable(holder.as_deref()));
        }
        let Ok(permit) = Arc::clone(&self.0.sessions).try_acquire_owned() else {
            return Err(Status::resource_exhausted("the operator serves as many pods as it can"));
        };
        let (told, received) = mpsc::channel(MESSAGES_MAX);
        let hub = Arc::clone(&self.0);
        let said: session::Said = Box::pin(said);
        tokio::spawn(async move {
            session::run(hub, identity, said, told).await;
            drop(permit);
        });
        Ok(ReceiverStream::new(received))
    }
}

impl Shared {
    fn forget(&self) {
        for slot in lock(&self.clusters).values_mut() {
            slot.publication.send_replace(None);
            slot.history.clear();
        }
    }

    pub(super) fn subscribe(&self, cluster: &ClusterId) -> Subscription {
        let mut clusters = lock(&self.clusters);
        let slot = clusters.entry(cluster.clone()).or_default();
        Subscription { publication: slot.publication.subscribe(), topology: slot.topology.subscribe() }
    }

    /// Sections that were published not long ago.
    pub(super) fn published(&self, cluster: &ClusterId, digest: Digest) -> Option<Arc<Sections>> {
        let clusters = lock(&self.clusters);
        let history = &clusters.get(cluster)?.history;
        history.iter().rev().find(|(of, _)| *of == digest).map(|(_, sections)| Arc::clone(sections))
    }

    /// Takes the place of the pod's stream before, once that has ended.
    pub(super) async fn register(self: &Arc<Self>, identity: &Identity, name: &str) -> Registration {
        let key = (identity.clone(), name.to_owned());
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let ((end, ends), (ended, has_ended)) = (watch::channel(()), watch::channel(()));
        let place = Registered { number, _end: end, ended: has_ended };
        let before = lock(&self.pods).insert(key.clone(), place);
        let registration = Registration { hub: Arc::clone(self), key, number, end: ends, _ended: ended };
        if let Some(Registered { _end: end, mut ended, .. }) = before {
            drop(end);
            while ended.changed().await.is_ok() {}
        }
        registration
    }
}

/// Says who leads.
pub(super) fn unavailable(holder: Option<&str>) -> Status {
    let message = match holder {
        Some(holder) => format!("another operator leads, at {holder}"),
        None => "no operator is known to lead".to_owned(),
    };
    let mut status = Status::unavailable(message);
    if let Some(holder) = holder.and_then(|holder| holder.parse().ok()) {
        status.metadata_mut().insert(HOLDER, holder);
    }
    status
}
