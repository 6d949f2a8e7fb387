//! The thread that deletes what has been kept as long as it is to be, and counts what boxes have.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;

use super::catalogue::Catalogue;

/// How often it is looked at what is due.
const EVERY: Duration = Duration::from_secs(600);

/// The thread. Dropping it waits for what it does now.
#[derive(Debug)]
pub struct Keeper {
    look: Look,
    thread: Option<JoinHandle<()>>,
}

/// Has the thread look at once; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Look(Arc<(Mutex<Told>, Condvar)>);

#[derive(Debug, Default)]
struct Told {
    look: bool,
    stop: bool,
}

impl Keeper {
    /// Starts it.
    pub fn start(catalogue: Arc<Catalogue>, look: Look) -> std::io::Result<Self> {
        let waits = look.clone();
        let run = move || {
            while waits.wait() {
                if let Err(error) = catalogue.sweep(Timestamp::now()) {
                    tracing::warn!(%error, "what is due to be deleted stays for now");
                }
            }
        };
        look.look();
        let thread = thread::Builder::new().name("media-keep".into()).spawn(run)?;
        Ok(Self { look, thread: Some(thread) })
    }
}

impl Look {
    /// At once.
    pub fn look(&self) {
        self.tell(|told| told.look = true);
    }

    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Until it is time. False: it is over.
    fn wait(&self) -> bool {
        let told = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |told: &mut Told| !told.look && !told.stop;
        let waited = self.0.1.wait_timeout_while(told, EVERY, waits);
        let mut told = waited.unwrap_or_else(PoisonError::into_inner).0;
        told.look = false;
        !told.stop
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.look.tell(|told| told.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
