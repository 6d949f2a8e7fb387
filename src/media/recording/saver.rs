//! What makes recordings whole and enters them in lists.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use link::MediaEvents;
use model::{
    SessionId,
    kept::About,
    media::{Event, MediaEvent, Recorded},
};
use store::{Blobs, Draft};

use super::catalogue::Catalogue;

/// Recordings that are made whole at the same time.
const THREADS: usize = 4;

#[derive(Debug)]
pub struct Job {
    /// Whose it is.
    pub session: SessionId,
    /// What was written.
    pub draft: Draft,
    /// What takes the place of its head.
    pub head: Option<Vec<u8>>,
    /// What is told of it.
    pub recorded: Recorded,
    /// What is known of it.
    pub about: Option<Box<About>>,
}

/// What the threads work with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Where recordings go.
    pub store: Arc<dyn Blobs>,
    /// Where they are entered.
    pub catalogue: Arc<Catalogue>,
    /// Where it is told.
    pub events: Told,
    /// What writes messages down.
    pub scribe: Option<mpsc::SyncSender<String>>,
}

/// Where events go.
#[derive(Clone)]
pub struct Told(pub Arc<dyn MediaEvents>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// The threads. Dropping them waits until all is whole or cannot be.
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
    pub fn start(tools: &Tools) -> std::io::Result<Self> {
        let (sender, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for place in 0..THREADS {
            let (tools, jobs) = (tools.clone(), Arc::clone(&jobs));
            let run = move || save_all(&tools, &jobs);
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
    pub fn save(&self, job: Job) {
        let _ = self.0.send(job);
    }
}

fn save_all(tools: &Tools, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { session, draft, head, mut recorded, about }) = job else { return };
        match tools.store.finish(draft, head.as_deref()) {
            Ok(bytes) => {
                recorded.bytes = bytes;
                tools.catalogue.ended(&recorded, about.as_deref());
                if about.is_some_and(|about| about.transcribed)
                    && let Some(scribe) = &tools.scribe
                    && scribe.try_send(recorded.name.clone()).is_err()
                {
                    tracing::warn!(name = recorded.name, "a message is not written down: too many wait");
                }
            }
            Err(error) => {
                let why = error.to_string();
                tracing::error!(%session, name = recorded.name, why, "a recording is not stored");
                recorded.failed = Some(why);
            }
        }
        tools.events.0.send(MediaEvent { session, event: Event::Recorded(Box::new(recorded)) });
    }
}
