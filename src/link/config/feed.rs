//! The pod's end, as the pod sees it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use model::section::{Digest, Sections};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::timeout,
};

use super::{
    Blobs, Hub, PodName, Position, Secrets, State, Topology,
    client::{Client, Way},
};
use crate::{
    backoff::Backoff,
    identity::Identity,
    lock,
    tls::Tls,
    wire::{self, from_pod},
};

/// How long a goodbye may take.
pub(super) const GOODBYE_WAIT: Duration = Duration::from_secs(2);

/// Offers that a pod may have taken and not answered.
const TAKEN_MAX: usize = 4;

/// What a pod comes with.
#[derive(Debug, Clone)]
pub struct Start {
    /// What it calls itself.
    pub pod: PodName,
    /// Version of its program, for people.
    pub version: String,
    /// What it runs on already. None: nothing.
    pub held: Option<Held>,
    /// Seed of the waits between attempts to connect.
    pub seed: u64,
}

/// What a pod runs on.
#[derive(Debug, Clone)]
pub struct Held {
    /// Of the publication. A lower one is refused.
    pub position: Position,
    /// The snapshot.
    pub sections: Arc<Sections>,
    /// Files of prompts.
    pub blobs: Blobs,
}

/// What a pod is told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Offer {
    /// What to know from now on, complete and verified. To be answered by [`Feed::acknowledge`] or [`Feed::refuse`]; until
    /// then there is no other.
    Publication {
        /// Where it stands; not lower than any before.
        position: Position,
        /// Hash of the sections.
        digest: Digest,
        /// The snapshot.
        sections: Arc<Sections>,
        /// Values of Secrets; all that this role may know.
        secrets: Secrets,
        /// Files of prompts; all of them, for media pods.
        blobs: Blobs,
    },
    /// Who is alive.
    Topology(Topology),
}

/// The pod's end of the configuration stream. Cheap to clone; with the last clone the stream ends.
///
/// It connects, and connects again, for ever. What it offers is the newest that it has.
#[derive(Clone)]
pub struct Feed(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    task: AbortHandle,
    ended: watch::Receiver<()>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Feed {
    /// A feed over mutual TLS. `operators` are `host:port`; a headless Service's name stands for all that it resolves to.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn connect(tls: Tls, identity: Identity, operators: Vec<String>, start: Start) -> Self {
        Self::begin(Way::Network(tls), identity, operators, start)
    }

    pub(super) fn attached(hub: Hub, identity: Identity, start: Start) -> Self {
        Self::begin(Way::Twin(hub), identity, Vec::new(), start)
    }

    fn begin(way: Way, identity: Identity, operators: Vec<String>, start: Start) -> Self {
        let Start { pod, version, held, seed } = start;
        let base = held.map(|Held { position, sections, blobs }| Base {
            digest: sections.digest(),
            position,
            sections,
            blobs,
            secrets: None,
        });
        let shared =
            Arc::new(Shared { slots: Mutex::new(Slots { base, ..Slots::default() }), ..Shared::default() });
        let client = Client {
            shared: Arc::clone(&shared),
            way,
            identity,
            operators,
            pod,
            version,
            backoff: Backoff::new(seed),
        };
        let (ends, ended) = watch::channel(());
        let task = tokio::spawn(async move {
            client.run().await;
            drop(ends);
        });
        Self(Arc::new(Owner { shared, task: task.abort_handle(), ended }))
    }

    /// The next offer. Of each kind there is one at most, the newest.
    pub async fn next(&self) -> Offer {
        loop {
            let offered = self.0.shared.offered.notified();
            if let Some(offer) = lock(&self.0.shared.slots).take() {
                return offer;
            }
            offered.await;
        }
    }

    /// It is applied: the pod runs on it.
    pub fn acknowledge(&self, position: Position, digest: Digest) {
        lock(&self.0.shared.slots).acknowledge(position, digest);
        self.0.shared.said.notify_one();
    }

    /// It cannot be applied; the pod goes on with what it had. `path` is of the field at fault.
    pub fn refuse(&self, position: Position, path: &str, message: &str) {
        lock(&self.0.shared.slots).refuse(position, path.to_owned(), message.to_owned());
        self.0.shared.said.notify_one();
    }

    /// How the pod is, from now on.
    pub fn state(&self, state: State) {
        lock(&self.0.shared.slots).state = Some(state);
        self.0.shared.said.notify_one();
    }

    /// Ends the stream by the pod's own will. Takes two seconds at most.
    pub async fn goodbye(&self) {
        lock(&self.0.shared.slots).goodbye = true;
        self.0.shared.said.notify_one();
        let mut ended = self.0.ended.clone();
        // An operator that does not listen learns of it by the end of the connection.
        let _ = timeout(GOODBYE_WAIT, async { while ended.changed().await.is_ok() {} }).await;
    }

    /// What the pod runs on. None: nothing yet.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        lock(&self.0.shared.slots).base.as_ref().map(|base| base.position)
    }

    /// Whether an operator that leads is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        lock(&self.0.shared.slots).connected
    }
}

#[derive(Default)]
pub(super) struct Shared {
    pub slots: Mutex<Slots>,
    /// There may be an offer.
    pub offered: Notify,
    /// The pod has said something.
    pub said: Notify,
}

/// What the pod runs on, by its own word.
#[derive(Clone)]
pub(super) struct Base {
    pub position: Position,
    pub digest: Digest,
    pub sections: Arc<Sections>,
    pub blobs: Blobs,
    /// None: it has none from any stream.
    pub secrets: Option<Secrets>,
}

/// What goes between the pod and the stream. The newest of each, so nothing is to be bounded.
#[derive(Default)]
pub(super) struct Slots {
    pub base: Option<Base>,
    pub waiting: Option<Base>,
    pub taken: VecDeque<Base>,
    pub topology: Option<Topology>,
    pub verdict: Option<from_pod::What>,
    pub state: Option<State>,
    pub goodbye: bool,
    pub connected: bool,
}

impl Slots {
    pub fn take(&mut self) -> Option<Offer> {
        if let Some(base) = self.waiting.take() {
            let Base { position, digest, sections, blobs, secrets } = base.clone();
            if self.taken.len() == TAKEN_MAX {
                self.taken.pop_front();
            }
            self.taken.push_back(base);
            let secrets = secrets.unwrap_or_default();
            return Some(Offer::Publication { position, digest, sections, secrets, blobs });
        }
        self.topology.take().map(Offer::Topology)
    }

    pub fn acknowledge(&mut self, position: Position, digest: Digest) {
        let this = |base: &Base| base.position == position && base.digest == digest;
        let Some(place) = self.taken.iter().rposition(this) else {
            tracing::error!(%position, "what was not offered is acknowledged");
            return;
        };
        // Those before it will not be answered any more.
        self.base = self.taken.drain(..=place).next_back();
        self.verdict = Some(from_pod::What::Acknowledged(wire::Held::new(position, digest)));
    }

    fn refuse(&mut self, position: Position, path: String, message: String) {
        let Some(place) = self.taken.iter().rposition(|base| base.position == position) else {
            tracing::error!(%position, "what was not offered is refused");
            return;
        };
        self.taken.drain(..=place);
        self.verdict = Some(refused(position, path, message));
    }
}

pub(super) fn refused(position: Position, path: String, message: String) -> from_pod::What {
    from_pod::What::Refused(wire::Refused { position: Some(position.into()), path, message })
}

impl Base {
    pub fn same_as(&self, other: &Self) -> bool {
        self.position == other.position
            && self.digest == other.digest
            && self.secrets == other.secrets
            && self.blobs.keys().eq(other.blobs.keys())
    }
}
