//! The media pod's end.

use std::{io, sync::Arc};

use model::{ClusterId, media::MediaEvent};
use tokio::net::TcpListener;

use crate::{MediaEvents, MediaOrders, server::Serving, tls::Tls};

/// The streams of all edges of one media pod. Events go in, each to the edge of its session.
#[derive(Debug)]
pub struct Streams {
    cluster: ClusterId,
}

impl Streams {
    /// For edges of this cluster alone.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Arc<Self> {
        Arc::new(Self { cluster })
    }

    /// Serves edges, whose orders are given to `orders`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: Tls,
        orders: Arc<dyn MediaOrders>,
    ) -> io::Result<Serving> {
        let _ = (&self.cluster, listener, tls, orders);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Events that found the queue of their edge full or its stream gone.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        0
    }
}

impl MediaEvents for Streams {
    fn send(&self, _: MediaEvent) {}
}
