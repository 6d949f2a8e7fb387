//! The threads that ask a recogniser.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use link::MediaEvents;
use model::{
    LegId, SessionId,
    media::{Event, Heard, ListenId, MediaEvent},
};

use super::{Hearing, Recogniser, Said};

/// Utterances that are recognised here at the same time, and by services.
const THREADS: (usize, usize) = (2, 8);
/// Utterances that wait for either.
const WAITING_MAX: usize = 16;

/// An utterance to be recognised.
#[derive(Debug)]
pub struct Job {
    /// Whose leg it is.
    pub session: SessionId,
    /// Which leg.
    pub leg: LegId,
    /// Which listening.
    pub listening: ListenId,
    /// Its sound.
    pub pcm: Vec<i16>,
    /// Samples a second.
    pub rate: u32,
    /// The language's tag.
    pub language: String,
    /// What may have been said.
    pub phrases: Vec<String>,
    /// Namespace of the tenant.
    pub tenant: String,
    /// What has heard it already.
    pub hearing: Option<Box<dyn Hearing>>,
    /// Whether nobody listens any more.
    pub over: Arc<AtomicBool>,
}

/// The threads. Dropping them waits for what is recognised now.
pub struct Pool {
    recogniser: Arc<dyn Recogniser>,
    here: Option<mpsc::SyncSender<Job>>,
    services: Option<mpsc::SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts them.
    pub fn start(recogniser: Arc<dyn Recogniser>, events: Arc<dyn MediaEvents>) -> std::io::Result<Self> {
        let mut threads = Vec::new();
        let mut started = |name: &str, count: usize| -> std::io::Result<mpsc::SyncSender<Job>> {
            let (sender, jobs) = mpsc::sync_channel(WAITING_MAX);
            let jobs = Arc::new(Mutex::new(jobs));
            for place in 0..count {
                let (recogniser, events, jobs) =
                    (Arc::clone(&recogniser), Arc::clone(&events), Arc::clone(&jobs));
                let run = move || work(&*recogniser, &*events, &jobs);
                threads.push(thread::Builder::new().name(format!("{name}-{place}")).spawn(run)?);
            }
            Ok(sender)
        };
        let here = Some(started("media-words", THREADS.0)?);
        let services = Some(started("media-asks", THREADS.1)?);
        Ok(Self { recogniser, here, services, threads })
    }

    /// Has an utterance recognised, and what it was told.
    ///
    /// # Errors
    /// Too many wait.
    pub fn recognise(&self, job: Job) -> Result<(), &'static str> {
        let jobs = if self.recogniser.is_service(&job.tenant) { &self.services } else { &self.here };
        let sent = jobs.as_ref().map(|jobs| jobs.try_send(job).is_ok());
        if sent == Some(true) { Ok(()) } else { Err("too many utterances wait to be recognised") }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        (self.here, self.services) = (None, None);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(recogniser: &dyn Recogniser, events: &dyn MediaEvents, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = job else { return };
        if job.over.load(Ordering::Relaxed) {
            continue;
        }
        let Job { session, leg, listening, .. } = job;
        let recognised = match job.hearing.take() {
            Some(hearing) => hearing.said(),
            None => recogniser.recognise(&Said {
                tenant: &job.tenant,
                pcm: &job.pcm,
                rate: job.rate,
                language: &job.language,
                phrases: &job.phrases,
            }),
        };
        let heard = match recognised {
            Ok(Some((phrase, confidence))) => Heard::Phrase { phrase, confidence },
            Ok(None) => Heard::Other,
            Err(why) => {
                tracing::warn!(%session, %leg, why, "nobody can tell what was said");
                if recogniser.is_service(&job.tenant) { Heard::Missed(why) } else { Heard::Failed(why) }
            }
        };
        if !job.over.load(Ordering::Relaxed) {
            events.send(MediaEvent { session, event: Event::Heard { leg, listening, heard } });
        }
    }
}
