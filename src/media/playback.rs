//! Recordings that are played: read from the store and decoded by a thread of its own, while the leg hears silence.

use std::{
    io::Read,
    sync::{Arc, OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use store::{Blobs, Name};

use crate::library::{self, Prompt, SOURCE_BYTES_MAX};

/// Recordings that wait to be read.
const WAITING_MAX: usize = 64;

/// A recording that is being read. None: it cannot be.
pub type Pending = Arc<OnceLock<Option<Arc<Prompt>>>>;

/// The thread that reads. Dropping it waits for what is read now.
#[derive(Debug)]
pub struct Loader {
    loading: Option<Loading>,
    thread: Option<JoinHandle<()>>,
}

/// Asks the thread.
#[derive(Debug, Clone)]
pub struct Loading(mpsc::SyncSender<Job>);

#[derive(Debug)]
enum Job {
    Load(String, Pending),
    Forget(String),
    Stop,
}

impl Loader {
    /// Starts the thread.
    pub fn start(store: Arc<dyn Blobs>) -> std::io::Result<Self> {
        let (sender, jobs) = mpsc::sync_channel(WAITING_MAX);
        let run = move || {
            while let Ok(job) = jobs.recv() {
                match job {
                    // Whoever wanted it may be gone.
                    Job::Load(name, pending) if Arc::strong_count(&pending) > 1 => {
                        let _ = pending.set(loaded(&*store, &name));
                    }
                    Job::Load(..) => {}
                    Job::Forget(name) => forget(&*store, &name),
                    Job::Stop => return,
                }
            }
        };
        let thread = thread::Builder::new().name("media-load".into()).spawn(run)?;
        Ok(Self { loading: Some(Loading(sender)), thread: Some(thread) })
    }

    /// What asks it.
    pub fn loading(&self) -> Loading {
        // It is there until the drop.
        self.loading.clone().unwrap_or_else(|| Loading(mpsc::sync_channel(1).0))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Some(Loading(sender)) = self.loading.take() {
            let _ = sender.send(Job::Stop);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Loading {
    /// Has a recording read. None: too many wait.
    pub fn load(&self, name: String) -> Option<Pending> {
        let pending = Pending::default();
        self.0.try_send(Job::Load(name, Arc::clone(&pending))).ok().map(|()| pending)
    }

    /// Has a recording deleted. False: too many wait, and it stays.
    pub fn forget(&self, name: String) -> bool {
        self.0.try_send(Job::Forget(name)).is_ok()
    }
}

fn forget(store: &dyn Blobs, name: &str) {
    let deleted = Name::new(name).map_err(|error| error.to_string());
    if let Err(why) = deleted.and_then(|name| store.delete(&name).map_err(|error| error.to_string())) {
        tracing::warn!(name, why, "a recording that is not wanted cannot be deleted");
    }
}

fn loaded(store: &dyn Blobs, name: &str) -> Option<Arc<Prompt>> {
    let read = || -> Result<Prompt, String> {
        let blob = Name::new(name).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let reader = store.get(&blob).map_err(|error| error.to_string())?;
        // One octet more than may be says that it is too large.
        let taken = reader.take(SOURCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        taken.map_err(|error| error.to_string())?;
        library::decode(&bytes).map_err(|error| error.to_string())
    };
    match read() {
        Ok(prompt) => Some(Arc::new(prompt)),
        Err(why) => {
            tracing::warn!(name, why, "a recording cannot be played");
            None
        }
    }
}
