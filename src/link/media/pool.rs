//! The edge's end.

use std::sync::Arc;

use model::media::MediaOrder;

use super::Streams;
use crate::{
    Full, MediaEvents, MediaOrders,
    config::{PodName, Topology},
    identity::Identity,
    tls::Tls,
};

/// The media pods of an edge. Orders go in, each to the pod of its session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {}

impl Pool {
    /// A pool without pods. `identity` is the edge's, `zone` that of its node. Events are told to `events`.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn new(
        tls: Tls,
        identity: Identity,
        pod: PodName,
        zone: String,
        seed: u64,
        events: Arc<dyn MediaEvents>,
    ) -> Self {
        let _ = (tls, identity, pod, zone, seed, events);
        Self {}
    }

    /// Connects to the media pods that it names. One that it no longer names keeps its sessions and gets no new ones.
    pub fn set_topology(&self, topology: &Topology) {
        let _ = topology;
    }

    /// The in-process twin: a media pod of this very process, over the same streams.
    pub fn attach(&self, pod: PodName, streams: &Arc<Streams>, orders: Arc<dyn MediaOrders>) {
        let _ = (pod, streams, orders);
    }

    /// Media pods whose stream is up.
    #[must_use]
    pub fn connected(&self) -> usize {
        0
    }
}

impl MediaOrders for Pool {
    fn send(&self, _: MediaOrder) -> Result<(), Full> {
        Err(Full)
    }
}
