//! The server.
use crate::{Config, Counters, Library, StartError};
use link::{Full, MediaEvents, MediaOrders};
use model::media::MediaOrder;
use std::sync::Arc;

/// A running media server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
}

/// Gives orders to a [`Server`]; cheap to clone. When the server has stopped, every order is `Full`.
#[derive(Debug, Clone)]
pub struct Handle {}

impl Server {
    /// Binds nothing yet but checks all; starts the workers.
    ///
    /// # Errors
    /// [`StartError`] names the setting that cannot work.
    pub fn start(_config: Config, _events: Arc<dyn MediaEvents>) -> Result<Self, StartError> {
        Ok(Self { handle: Handle {} })
    }
    /// What gives orders.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
    /// New sessions play from it; a running session keeps the one it began with.
    pub fn set_library(&self, _library: Arc<Library>) {}
    /// What it has and has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
    /// Releases every leg, finishes the recordings and ends the workers.
    pub fn stop(self) {}
}

impl MediaOrders for Server {
    fn send(&self, order: MediaOrder) -> Result<(), Full> {
        self.handle.send(order)
    }
}
impl MediaOrders for Handle {
    fn send(&self, _order: MediaOrder) -> Result<(), Full> {
        Err(Full)
    }
}
