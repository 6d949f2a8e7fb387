//! What is played and not known beforehand: recordings of the store, and texts. Each is read or spoken by a thread of its own,
//! while the leg hears silence.

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use store::{Blobs, Name};

use crate::{
    library::{self, Prompt, SOURCE_BYTES_MAX},
    recording::Catalogue,
    speech,
};

/// What waits for one thread.
const WAITING_MAX: usize = 64;
/// Characters of a text.
const TEXT_MAX: usize = 1_000;
/// Texts that are kept spoken, and their samples together: ten minutes.
const KEPT_MAX: (usize, usize) = (256, 4_800_000);

/// What is being read or spoken. None: it cannot be.
pub type Pending = Arc<OnceLock<Option<Arc<Prompt>>>>;

/// The threads. Dropping them waits for what they do now.
#[derive(Debug)]
pub struct Loader {
    loading: Loading,
    threads: Vec<JoinHandle<()>>,
}

/// Asks the threads.
#[derive(Debug, Clone)]
pub struct Loading {
    recordings: mpsc::SyncSender<Job<String>>,
    texts: mpsc::SyncSender<Job<Text>>,
}

#[derive(Debug)]
enum Job<T> {
    Load(T, Pending),
    Forget(T),
    Stop,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    text: String,
    language: String,
}

impl Loader {
    /// Starts the threads.
    pub fn start(store: Option<Arc<dyn Blobs>>, catalogue: Option<Arc<Catalogue>>) -> std::io::Result<Self> {
        let forget = move |name: &String| {
            if let Some(catalogue) = &catalogue {
                catalogue.forget(name);
            }
        };
        let load = move |name: &String| loaded(store.as_deref(), name);
        let (recordings, one) = started("media-load", load, forget)?;
        let mut spoken = Spoken::default();
        let (texts, other) = started("media-say", move |text: &Text| spoken.get(text), |_| {})?;
        Ok(Self { loading: Loading { recordings, texts }, threads: vec![one, other] })
    }

    /// What asks them.
    pub fn loading(&self) -> Loading {
        self.loading.clone()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.loading.recordings.send(Job::Stop);
        let _ = self.loading.texts.send(Job::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Loading {
    /// Has a recording read. None: too many wait.
    pub fn load(&self, name: String) -> Option<Pending> {
        let pending = Pending::default();
        self.recordings.try_send(Job::Load(name, Arc::clone(&pending))).ok().map(|()| pending)
    }

    /// Has a text spoken. None: it is too long, or too many wait.
    pub fn say(&self, text: String, language: String) -> Option<Pending> {
        let pending = Pending::default();
        if text.chars().count() > TEXT_MAX {
            return None;
        }
        self.texts.try_send(Job::Load(Text { text, language }, Arc::clone(&pending))).ok().map(|()| pending)
    }

    /// Has a recording deleted. False: too many wait, and it stays.
    pub fn forget(&self, name: String) -> bool {
        self.recordings.try_send(Job::Forget(name)).is_ok()
    }
}

fn started<T: Send + 'static>(
    name: &str,
    mut load: impl FnMut(&T) -> Option<Arc<Prompt>> + Send + 'static,
    forget: impl Fn(&T) + Send + 'static,
) -> std::io::Result<(mpsc::SyncSender<Job<T>>, JoinHandle<()>)> {
    let (sender, jobs) = mpsc::sync_channel(WAITING_MAX);
    let run = move || {
        while let Ok(job) = jobs.recv() {
            match job {
                // Whoever wanted it may be gone.
                Job::Load(what, pending) if Arc::strong_count(&pending) > 1 => {
                    let _ = pending.set(load(&what));
                }
                Job::Load(..) => {}
                Job::Forget(what) => forget(&what),
                Job::Stop => return,
            }
        }
    };
    Ok((sender, thread::Builder::new().name(name.into()).spawn(run)?))
}

/// Texts that were spoken lately, the latest last.
#[derive(Default)]
struct Spoken(VecDeque<(Text, Arc<Prompt>)>);

impl Spoken {
    fn get(&mut self, text: &Text) -> Option<Arc<Prompt>> {
        let known = self.0.iter().position(|(known, _)| known == text).and_then(|place| self.0.remove(place));
        let prompt = match known {
            Some((_, prompt)) => prompt,
            None => spoken(text)?,
        };
        self.0.push_back((text.clone(), Arc::clone(&prompt)));
        let samples = |kept: &VecDeque<(Text, Arc<Prompt>)>| -> usize {
            kept.iter().map(|(_, prompt)| prompt.pcm().len()).sum()
        };
        while self.0.len() > KEPT_MAX.0 || samples(&self.0) > KEPT_MAX.1 {
            self.0.pop_front();
        }
        Some(prompt)
    }
}

fn spoken(Text { text, language }: &Text) -> Option<Arc<Prompt>> {
    let wav = speech::speak(speech::PROGRAM, text, language);
    let prompt = wav.and_then(|wav| library::decode(&wav));
    // What it says may be somebody's secret.
    prompt.map(Arc::new).inspect_err(|error| tracing::warn!(%error, "a text cannot be spoken")).ok()
}

fn loaded(store: Option<&dyn Blobs>, name: &str) -> Option<Arc<Prompt>> {
    let read = || -> Result<Prompt, String> {
        let store = store.ok_or("no store for recordings is configured")?;
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
