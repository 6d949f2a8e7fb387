//! The threads that decode, mix and write.

use std::{
    collections::BTreeMap,
    fs::File,
    num::NonZero,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use link::MediaEvents;
use model::{
    SessionId,
    kept::About,
    media::{Event, Format, MediaEvent, Recorded, Recording, RecordingEnd, Voices},
};
use store::{Blobs, Name};

use super::{
    Active, Begin, Id, Message, Queue, What,
    bringer::{Bringers, Wake},
    catalogue::Catalogue,
    extension,
    keeper::{Keeper, Look},
    saver::{Job, Saver, Savers, Told, Tools},
    sink::{Destination, Sink},
    take::{Plan, Take},
    transcript::{Scribe, Transcriber},
};

/// Threads at most.
const THREADS_MAX: usize = 4;
/// Messages that are taken at once.
const MESSAGES_MAX: usize = 100_000;
/// How often what is due is written.
const TICK: Duration = Duration::from_millis(50);

/// The threads of all recordings. Dropping it ends what runs, and waits until all is stored or cannot be.
#[derive(Debug)]
pub struct Threads {
    recorder: Recorder,
    threads: Vec<JoinHandle<()>>,
    kept: Option<Kept>,
    // Dropped last, and in this order: the threads hand it what is whole.
    _savers: Option<Savers>,
    _scribe: Option<Scribe>,
    _bringers: Option<Bringers>,
    _keeper: Option<Keeper>,
}

/// What is kept, and what sees to it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What is known of it.
    pub catalogue: Arc<Catalogue>,
    /// Has what waits brought away.
    pub wake: Wake,
    /// Has what is due deleted.
    pub look: Look,
}

/// Begins recordings; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queues: Arc<[Queue]>,
    next: Arc<AtomicU64>,
    has_store: bool,
    has_folder: bool,
}

/// Why a name cannot be a recording's in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a recording's name must be 1 to 200 characters without `/`, `..` or a dot in front")]
pub struct BadName;

impl Threads {
    /// Starts them; recordings go to the store, and those of `Order::Record` to the folder, which exists.
    pub fn start(
        store: Option<Arc<dyn Blobs>>,
        folder: Option<PathBuf>,
        events: &Arc<dyn MediaEvents>,
        transcriber: Arc<dyn Transcriber>,
    ) -> std::io::Result<Self> {
        let kept = store.clone().map(|store| {
            let wake = Wake::default();
            let catalogue = Arc::new(Catalogue::new(store, wake.clone()));
            catalogue.recover();
            Kept { catalogue, wake, look: Look::default() }
        });
        let (mut savers, mut scribe, mut bringers, mut keeper) = (None, None, None, None);
        if let (Some(store), Some(kept)) = (&store, &kept) {
            let writes = Scribe::start(Arc::clone(&kept.catalogue), transcriber)?;
            let tools = Tools {
                store: Arc::clone(store),
                catalogue: Arc::clone(&kept.catalogue),
                events: Told(Arc::clone(events)),
                scribe: writes.messages(),
            };
            savers = Some(Savers::start(&tools)?);
            scribe = Some(writes);
            bringers = Some(Bringers::start(store, kept.wake.clone())?);
            keeper = Some(Keeper::start(Arc::clone(&kept.catalogue), kept.look.clone())?);
        }
        let count = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for place in 0..count {
            let (queue, messages) = Queue::new();
            let worker = Worker {
                messages,
                waiting: Arc::clone(&queue.waiting),
                dropped: Arc::clone(&queue.dropped),
                store: store.clone(),
                folder: folder.clone(),
                events: Arc::clone(events),
                saver: savers.as_ref().map(Savers::saver),
                catalogue: kept.as_ref().map(|kept| Arc::clone(&kept.catalogue)),
                takes: BTreeMap::new(),
            };
            queues.push(queue);
            threads
                .push(thread::Builder::new().name(format!("media-rec-{place}")).spawn(move || worker.run())?);
        }
        let recorder = Recorder {
            queues: queues.into(),
            next: Arc::default(),
            has_store: store.is_some(),
            has_folder: folder.is_some(),
        };
        let (_savers, _scribe, _bringers, _keeper) = (savers, scribe, bringers, keeper);
        Ok(Self { recorder, threads, kept, _savers, _scribe, _bringers, _keeper })
    }

    /// What is kept. None: there is no store.
    pub fn kept(&self) -> Option<Kept> {
        self.kept.clone()
    }

    /// What begins recordings.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.recorder.queues.iter().for_each(|queue| queue.send(Message::Stop));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Recorder {
    /// Begins a recording at this moment. `wide`: one of its voices is coded at more than 8 kHz.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn begin(
        &self,
        session: SessionId,
        recording: Recording,
        wide: bool,
        now: Instant,
    ) -> Result<Active, String> {
        if !self.has_store {
            return Err("no store for recordings is configured".to_owned());
        }
        let name = format!("{}{}", recording.name, extension(recording.format));
        Name::new(&name).map_err(|error| format!("`{name}`: {error}"))?;
        let (voices, name) = (recording.voices.clone(), recording.name.clone());
        let stop_keys = recording.stop_keys.clone();
        Ok(self.started(session, What::Recording(Box::new(recording)), wide, now, |id, queue, ended| {
            Active { id, queue, voices, name, stop_keys, ended, is_file: false }
        }))
    }

    /// Begins to write what a leg says into a file of the folder. One of that name is written over.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn begin_file(
        &self,
        session: SessionId,
        leg: model::LegId,
        name: &str,
        now: Instant,
    ) -> Result<Active, String> {
        if !self.has_folder {
            return Err("no folder for recordings is configured".to_owned());
        }
        let name = checked(name).map_err(|error| error.to_string())?.to_owned();
        Ok(self.started(session, What::File(name.clone()), false, now, |id, queue, ended| Active {
            id,
            queue,
            voices: Voices::One(leg),
            name,
            stop_keys: String::new(),
            ended,
            is_file: true,
        }))
    }

    /// Packets that found no room since the start.
    pub fn dropped(&self) -> u64 {
        self.queues.iter().map(|queue| queue.dropped.load(Ordering::Relaxed) as u64).sum()
    }

    fn started(
        &self,
        session: SessionId,
        what: What,
        wide: bool,
        at: Instant,
        active: impl FnOnce(Id, Queue, Arc<AtomicBool>) -> Active,
    ) -> Active {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let queue = self.queues[id as usize % self.queues.len()].clone();
        let ended = Arc::new(AtomicBool::new(false));
        let begin = Box::new(Begin { session, what, wide, at, ended: Arc::clone(&ended) });
        queue.send(Message::Begin { id: Id(id), begin });
        active(Id(id), queue, ended)
    }
}

fn checked(name: &str) -> Result<&str, BadName> {
    let strange = |character: char| character == '/' || character == '\\' || character.is_control();
    let bad = name.is_empty()
        || name.len() > 200
        || name.starts_with('.')
        || name.contains("..")
        || name.contains(strange);
    if bad { Err(BadName) } else { Ok(name) }
}

struct Worker {
    messages: mpsc::Receiver<Message>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    store: Option<Arc<dyn Blobs>>,
    folder: Option<PathBuf>,
    events: Arc<dyn MediaEvents>,
    saver: Option<Saver>,
    catalogue: Option<Arc<Catalogue>>,
    takes: BTreeMap<Id, Take>,
}

impl Worker {
    fn run(mut self) {
        let mut next = Instant::now() + TICK;
        loop {
            let wait = if self.takes.is_empty() {
                Duration::MAX
            } else {
                next.saturating_duration_since(Instant::now())
            };
            match self.messages.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // All that has come is heard before time goes on, however long the disk has taken.
            for _ in 0..MESSAGES_MAX {
                match self.messages.try_recv() {
                    Ok(Message::Stop) => return self.stop(),
                    Ok(message) => self.take(message),
                    Err(_) => break,
                }
            }
            let now = Instant::now();
            if now >= next {
                next = now + TICK;
                self.advance(now);
            }
        }
        self.stop();
    }

    fn stop(mut self) {
        // Workers have ended before; nobody is left whose recordings run.
        let now = Instant::now();
        for id in self.takes.keys().copied().collect::<Vec<_>>() {
            self.end(id, RecordingEnd::Stopped, now, None);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin { id, begin } => self.begin(id, *begin),
            Message::Sound { id, sound } => {
                self.waiting.fetch_sub(sound.octets.len(), Ordering::Relaxed);
                if let Some(take) = self.takes.get_mut(&id) {
                    take.hear(&sound);
                }
            }
            Message::Pause { id, paused, at } => {
                if let Some(take) = self.takes.get_mut(&id) {
                    take.pause(paused, at);
                }
            }
            Message::End { id, end, at, then } => self.end(id, end, at, then),
            Message::Listen { .. } | Message::StopListening { .. } | Message::Stop => {}
        }
    }

    fn begin(&mut self, id: Id, begin: Begin) {
        let Begin { session, what, wide, at, ended } = begin;
        let rate = if wide { 16_000 } else { 8_000 };
        let dropped_before = self.dropped.load(Ordering::Relaxed);
        let plan = |name, voices| Plan {
            session,
            name,
            about: None,
            voices,
            rate,
            max_ms: None,
            silence_ms: None,
            mask_keys: false,
            begun: at,
            ended,
            dropped_before,
        };
        let (plan, format, destination) = match what {
            What::File(name) => {
                let path = self.folder.clone().unwrap_or_default().join(&name);
                let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()));
                let leg = model::LegId(u64::MAX);
                (plan(name, Voices::One(leg)), Format::Wav, file.map(|file| Destination::File(file, path)))
            }
            What::Recording(recording) => {
                let Recording { name, voices, format, max_ms, silence_ms, mask_keys, about, .. } = *recording;
                let name = format!("{name}{}", extension(format));
                let draft = self.draft(&name, about.as_deref());
                let plan = Plan { max_ms, silence_ms, mask_keys, about, ..plan(name, voices) };
                (plan, format, draft.map(Destination::Draft))
            }
        };
        let (channels, name) = (plan.channels(), plan.name.clone());
        let ended = Arc::clone(&plan.ended);
        match destination.and_then(|to| Sink::new(to, format, channels, rate, id.0 as u32)) {
            Ok(sink) => _ = self.takes.insert(id, Take::new(plan, sink)),
            Err(why) => {
                tracing::error!(%session, name, why, "a recording cannot begin");
                ended.store(true, Ordering::Relaxed);
                let end = RecordingEnd::Stopped;
                let failed = Some(why);
                self.tell(session, Recorded { name, end, ms: 0, sound_ms: 0, bytes: 0, failed });
            }
        }
    }

    fn draft(&self, name: &str, about: Option<&About>) -> Result<store::Draft, String> {
        let store = self.store.as_ref().ok_or("no store for recordings is configured")?;
        let name = Name::new(name).map_err(|error| error.to_string())?;
        let listed = self.catalogue.as_ref().zip(about);
        if let Some((_, about)) = listed.filter(|(catalogue, about)| !catalogue.has_room(about)) {
            return Err(format!("the box holds {} messages, and none was heard", about.messages_max));
        }
        let draft = store.begin(&name).map_err(|error| error.to_string())?;
        if let Some(Err(why)) = listed.map(|(catalogue, about)| catalogue.begun(&name, about)) {
            draft.abandon();
            return Err(why);
        }
        Ok(draft)
    }

    fn advance(&mut self, now: Instant) {
        let ended: Vec<_> =
            self.takes.iter_mut().filter_map(|(&id, take)| Some((id, take.advance(now)?))).collect();
        for (id, end) in ended {
            if let Some(take) = self.takes.remove(&id) {
                self.store(take, end);
            }
        }
    }

    fn end(&mut self, id: Id, end: RecordingEnd, at: Instant, then: Option<MediaEvent>) {
        if let Some(mut take) = self.takes.remove(&id) {
            take.advance_to_end(at);
            self.store(take, end);
        }
        if let Some(event) = then {
            self.events.send(event);
        }
    }

    fn store(&self, mut take: Take, end: RecordingEnd) {
        let (session, about) = (take.session, take.about.take());
        let (recorded, written) = take.finish(end, self.dropped.load(Ordering::Relaxed));
        match (written.draft, &self.saver) {
            (Some(draft), Some(saver)) => {
                saver.save(Job { session, draft, head: written.head, recorded, about });
            }
            // A file is whole; `Released` tells of it.
            _ => {
                tracing::debug!(%session, name = recorded.name, failed = recorded.failed, "recording is whole")
            }
        }
    }

    fn tell(&self, session: SessionId, recorded: Recorded) {
        self.events.send(MediaEvent { session, event: Event::Recorded(Box::new(recorded)) });
    }
}
