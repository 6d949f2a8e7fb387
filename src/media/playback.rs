//! What is played and not known beforehand: recordings of the store, and texts. Each is read or spoken by a thread of its own,
//! while the leg hears silence.

use std::{
    collections::VecDeque,
    io::Read,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use store::{Blobs, Name};

use crate::{
    coded::Form,
    library::{self, Prompt, SOURCE_BYTES_MAX},
    recording::Catalogue,
    speech::{self, Speaker},
};

/// What waits for one thread.
const WAITING_MAX: usize = 64;
/// Characters of a text.
const TEXT_MAX: usize = 1_000;
/// Threads that speak texts: a service that hangs must not keep all others waiting.
const SPEAKING: usize = 4;
/// Texts that are kept spoken, and their samples together: ten minutes.
const KEPT_MAX: (usize, usize) = (256, 4_800_000);

/// What is being read or spoken. None: it cannot be.
pub type Pending = Arc<OnceLock<Option<Arc<Prompt>>>>;

/// The threads. Dropping them waits for what they do now.
#[derive(Debug)]
pub struct Loader {
    loading: Loading,
    threads: Vec<JoinHandle<()>>,
    /// Whether nothing is coded any more.
    stops: Arc<AtomicBool>,
}

/// Asks the threads.
#[derive(Debug, Clone)]
pub struct Loading {
    recordings: mpsc::SyncSender<Job<String>>,
    texts: mpsc::SyncSender<Job<Text>>,
    forms: mpsc::SyncSender<Coding>,
}

/// What is to be coded.
type Coding = Option<(Arc<Prompt>, Form)>;

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
    tenant: String,
}

impl Loader {
    /// Starts the threads.
    pub fn start(
        store: Option<Arc<dyn Blobs>>,
        catalogue: Option<Arc<Catalogue>>,
        speaker: Option<Arc<dyn Speaker>>,
    ) -> std::io::Result<Self> {
        let forget = move |name: &String| {
            if let Some(catalogue) = &catalogue {
                catalogue.forget(name);
            }
        };
        let load = move |name: &String| loaded(store.as_deref(), name);
        let (recordings, mut threads) = started("media-load", 1, load, forget)?;
        let spoken = Mutex::new(Spoken::default());
        let say = move |text: &Text| said(text, speaker.as_deref(), &spoken);
        let (texts, more) = started("media-say", SPEAKING, say, |_| {})?;
        threads.extend(more);
        let (forms, wanted) = mpsc::sync_channel::<Coding>(WAITING_MAX);
        let stops = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stops);
        let code = move || {
            while let Ok(Some((prompt, form))) = wanted.recv() {
                // Hours of music may wait, and nobody will hear them any more.
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                prompt.make(form);
            }
        };
        threads.push(thread::Builder::new().name("media-code".into()).spawn(code)?);
        Ok(Self { loading: Loading { recordings, texts, forms }, threads, stops })
    }

    /// What asks them.
    pub fn loading(&self) -> Loading {
        self.loading.clone()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let _ = self.loading.recordings.send(Job::Stop);
        let _ = self.loading.forms.send(None);
        for _ in 0..SPEAKING {
            let _ = self.loading.texts.send(Job::Stop);
        }
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
    pub fn say(&self, text: String, language: String, tenant: String) -> Option<Pending> {
        let pending = Pending::default();
        if text.chars().count() > TEXT_MAX {
            return None;
        }
        let text = Text { text, language, tenant };
        self.texts.try_send(Job::Load(text, Arc::clone(&pending))).ok().map(|()| pending)
    }

    /// Has prompts coded.
    pub fn code<'p>(&self, form: Form, prompts: impl Iterator<Item = &'p Arc<Prompt>>) {
        for prompt in prompts {
            if self.forms.try_send(Some((Arc::clone(prompt), form))).is_err() {
                prompt.forms().forget(form);
            }
        }
    }

    /// Has a recording deleted. False: too many wait, and it stays.
    pub fn forget(&self, name: String) -> bool {
        self.recordings.try_send(Job::Forget(name)).is_ok()
    }
}

/// Where jobs go, and the threads that do them.
type Started<T> = (mpsc::SyncSender<Job<T>>, Vec<JoinHandle<()>>);

fn started<T: Send + 'static>(
    name: &str,
    threads: usize,
    load: impl Fn(&T) -> Option<Arc<Prompt>> + Send + Sync + 'static,
    forget: impl Fn(&T) + Send + Sync + 'static,
) -> std::io::Result<Started<T>> {
    let (sender, jobs) = mpsc::sync_channel(WAITING_MAX);
    let jobs = Mutex::new(jobs);
    let next = move || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let run = Arc::new(move || {
        while let Ok(job) = next() {
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
    });
    let spawn = |_| {
        let run = Arc::clone(&run);
        thread::Builder::new().name(name.into()).spawn(move || run())
    };
    Ok((sender, (0..threads).map(spawn).collect::<std::io::Result<_>>()?))
}

/// Texts that were spoken lately and by which voice (none: espeak-ng), the latest last.
#[derive(Default)]
struct Spoken(VecDeque<(Voiced, Arc<Prompt>)>);

/// A text, its language and its voice.
type Voiced = (String, String, Option<String>);

impl Spoken {
    fn get(&mut self, text: &Voiced) -> Option<Arc<Prompt>> {
        let place = self.0.iter().position(|(known, _)| known == text)?;
        let (text, prompt) = self.0.remove(place)?;
        self.0.push_back((text, Arc::clone(&prompt)));
        Some(prompt)
    }

    fn keep(&mut self, text: Voiced, prompt: &Arc<Prompt>) {
        self.0.push_back((text, Arc::clone(prompt)));
        let samples = |kept: &VecDeque<(Voiced, Arc<Prompt>)>| -> usize {
            kept.iter().map(|(_, prompt)| prompt.pcm().len()).sum()
        };
        while self.0.len() > KEPT_MAX.0 || samples(&self.0) > KEPT_MAX.1 {
            self.0.pop_front();
        }
    }
}

/// By the tenant's voice; where that fails, and where there is none, by espeak-ng.
fn said(text: &Text, speaker: Option<&dyn Speaker>, spoken: &Mutex<Spoken>) -> Option<Arc<Prompt>> {
    let Text { text, language, tenant } = text;
    let voice = speaker.and_then(|speaker| Some((speaker, speaker.voice(tenant)?)));
    if let Some((speaker, voice)) = voice {
        let by = || {
            let file = speaker.speak(tenant, text, language)?;
            library::decode(&speech::with_true_lengths(file)).map_err(|error| error.to_string())
        };
        match once((text.clone(), language.clone(), Some(voice)), spoken, by) {
            Ok(prompt) => return Some(prompt),
            Err(why) => tracing::warn!(tenant, why, "the voice says nothing: espeak-ng speaks in its place"),
        }
    }
    let by = || library::decode(&speech::speak(speech::PROGRAM, text, language)?);
    let prompt = once((text.clone(), language.clone(), None), spoken, by);
    // What it says may be somebody's secret.
    prompt.inspect_err(|error| tracing::warn!(%error, "a text cannot be spoken")).ok()
}

fn once<E>(
    text: Voiced,
    spoken: &Mutex<Spoken>,
    by: impl FnOnce() -> Result<Prompt, E>,
) -> Result<Arc<Prompt>, E> {
    let kept = || spoken.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(prompt) = kept().get(&text) {
        return Ok(prompt);
    }
    let prompt = Arc::new(by()?);
    kept().keep(text, &prompt);
    Ok(prompt)
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
