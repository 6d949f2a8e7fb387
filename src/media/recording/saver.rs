//! What brings whole recordings to the store, and what a crash has left of others.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use link::MediaEvents;
use model::{
    SessionId,
    media::{Event, MediaEvent, Recorded},
};
use store::{Blobs, Draft, Error};

use super::wav;

/// Recordings that are brought away at the same time.
const THREADS: usize = 4;

#[derive(Debug)]
struct Job {
    session: SessionId,
    draft: Draft,
    head: Option<Vec<u8>>,
    recorded: Recorded,
}

/// The threads. Dropping them waits until all is brought away or cannot be.
#[derive(Debug)]
pub struct Savers {
    saver: Option<Saver>,
    threads: Vec<JoinHandle<()>>,
}

/// Hands recordings to the threads.
#[derive(Debug, Clone)]
pub struct Saver(mpsc::Sender<Job>);

impl Savers {
    /// Starts them.
    pub fn start(store: Arc<dyn Blobs>, events: Arc<dyn MediaEvents>) -> std::io::Result<Self> {
        let (sender, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for place in 0..THREADS {
            let (store, events, jobs) = (Arc::clone(&store), Arc::clone(&events), Arc::clone(&jobs));
            let run = move || save_all(&*store, &*events, &jobs);
            threads.push(thread::Builder::new().name(format!("media-save-{place}")).spawn(run)?);
        }
        Ok(Self { saver: Some(Saver(sender)), threads })
    }

    /// What hands recordings over.
    pub fn saver(&self) -> Saver {
        // It is there until the drop.
        self.saver.clone().unwrap_or_else(|| Saver(mpsc::channel().0))
    }
}

impl Drop for Savers {
    fn drop(&mut self) {
        self.saver = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Saver {
    /// Has it stored and told.
    pub fn save(&self, session: SessionId, draft: Draft, head: Option<Vec<u8>>, recorded: Recorded) {
        let _ = self.0.send(Job { session, draft, head, recorded });
    }
}

fn save_all(store: &dyn Blobs, events: &dyn MediaEvents, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { session, draft, head, mut recorded }) = job else { return };
        match store.finish(draft, head.as_deref()) {
            Ok(bytes) => recorded.bytes = bytes,
            Err(error) => {
                let later = matches!(error, Error::Remote { .. });
                let why = if later { format!("not stored yet: {error}") } else { error.to_string() };
                tracing::error!(%session, name = recorded.name, why, "a recording is not stored");
                recorded.failed = Some(why);
            }
        }
        events.send(MediaEvent { session, event: Event::Recorded(Box::new(recorded)) });
    }
}

/// Finishes what a crash has left, and brings away what could not be before. Returns how many recordings were finished.
pub fn recover(store: &dyn Blobs) -> usize {
    let unfinished = store.unfinished().unwrap_or_else(|error| {
        tracing::error!(%error, "nobody can tell what recordings were interrupted");
        Vec::new()
    });
    let mut finished = 0;
    for name in unfinished {
        let mended = store.resume(&name).and_then(|mut draft| {
            let head = draft.head(wav::HEAD)?;
            let octets = draft.length().saturating_sub(wav::HEAD as u64);
            let head = wav::mended(&head, octets);
            store.finish(draft, head.as_ref().map(<[u8; wav::HEAD]>::as_slice))
        });
        match mended {
            Ok(bytes) => {
                tracing::info!(%name, bytes, "a recording that was interrupted is stored");
                finished += 1;
            }
            Err(error) => tracing::error!(%name, %error, "a recording that was interrupted is not stored"),
        }
    }
    match store.settle() {
        Ok(0) => {}
        Ok(left) => tracing::warn!(left, "recordings wait for the store"),
        Err(error) => tracing::error!(%error, "recordings wait for the store"),
    }
    finished
}
