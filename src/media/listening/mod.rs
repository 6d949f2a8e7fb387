//! Listening: when somebody speaks, and what of a few phrases they say.
//!
//! A leg's packets are copied by a tap, as for a recording ([`crate::recording`]), to one thread that decodes them and tells
//! speech from silence ([`ear`]). What was said goes to a bounded pool of threads that ask a [`Recogniser`]; each may take its
//! time, and a full pool is an answer. So nothing of it can keep audio waiting.

mod ear;
mod pool;
mod sphinx;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use link::{MediaEvents, MediaOrders};
use model::{
    LegId, SessionId,
    media::{Event, Heard, Listening, MediaEvent, MediaOrder, Order},
};

use self::{ear::Ear, pool::Pool};
use crate::recording::{Id, Message, Queue, Tap};

pub use self::sphinx::Pocketsphinx;

/// How often sound is listened to.
const TICK: Duration = Duration::from_millis(20);
/// Taps hand on what they have after so long.
const HAND_ON: Duration = Duration::from_millis(40);
/// Messages that are taken at once.
const MESSAGES_MAX: usize = 100_000;

/// What tells phrases from sound.
pub trait Recogniser: Send + Sync + fmt::Debug {
    /// Which of the phrases was said, by its place, and how sure that is in percent. None: none of them. It may block, and has to
    /// end within half a minute.
    ///
    /// # Errors
    /// Why nobody can tell.
    fn recognise(&self, said: &Said<'_>) -> Result<Option<(u16, u8)>, String>;

    /// Whether a service understands this tenant's contacts: it has threads of its own, and an error of it holds for one
    /// utterance alone.
    fn is_service(&self, _tenant: &str) -> bool {
        false
    }

    /// Somebody begins to speak: what hears it as it comes. None: [`Recogniser::recognise`] hears it afterwards. It must not
    /// block.
    fn hear(&self, _about: &About<'_>) -> Option<Box<dyn Hearing>> {
        None
    }
}

/// What hears an utterance while it is spoken.
pub trait Hearing: Send + fmt::Debug {
    /// Some more of its sound. It must not block.
    fn take(&mut self, pcm: &[i16]);

    /// It has ended. As [`Recogniser::recognise`], by what was taken.
    ///
    /// # Errors
    /// Why nobody can tell.
    fn said(self: Box<Self>) -> Result<Option<(u16, u8)>, String>;
}

/// What is known of an utterance before it is spoken.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Namespace of the tenant whose contact it is; empty if nobody's.
    pub tenant: &'a str,
    /// Samples a second: 8,000 or 16,000.
    pub rate: u32,
    /// The language's tag (BCP 47).
    pub language: &'a str,
    /// What may be said.
    pub phrases: &'a [String],
}

/// An utterance.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Namespace of the tenant whose contact it is; empty if nobody's.
    pub tenant: &'a str,
    /// Its sound, with a little silence at both ends.
    pub pcm: &'a [i16],
    /// Samples a second: 8,000 or 16,000.
    pub rate: u32,
    /// The language's tag (BCP 47).
    pub language: &'a str,
    /// What may have been said.
    pub phrases: &'a [String],
}

/// The threads. Dropping them ends all listening.
pub struct Listeners {
    listener: Listener,
    thread: Option<JoinHandle<()>>,
}

/// Begins listening; cheap to clone.
#[derive(Debug, Clone)]
pub struct Listener {
    queue: Queue,
    next: Arc<AtomicU64>,
}

/// A listening of a leg.
#[derive(Debug)]
pub struct Active {
    id: Id,
    queue: Queue,
    over: Arc<AtomicBool>,
}

/// What a thread is told of a listening.
#[derive(Debug)]
pub struct Begin {
    session: SessionId,
    leg: LegId,
    listening: Box<Listening>,
    wide: bool,
    at: Instant,
    over: Arc<AtomicBool>,
}

/// Where orders go, once the workers are there.
pub type Orders = Arc<OnceLock<Box<dyn MediaOrders>>>;

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listeners")
    }
}

impl Listeners {
    /// Starts them. Barge-in stops what plays by `orders`.
    pub fn start(
        recogniser: Option<Arc<dyn Recogniser>>,
        events: &Arc<dyn MediaEvents>,
        orders: Orders,
    ) -> std::io::Result<Self> {
        let recogniser = recogniser.unwrap_or_else(|| Arc::new(Pocketsphinx::default()));
        let pool = Pool::start(Arc::clone(&recogniser), Arc::clone(events))?;
        let (queue, messages) = Queue::new();
        let worker = Worker {
            messages,
            queue: queue.clone(),
            events: Arc::clone(events),
            orders,
            pool,
            recogniser,
            ears: BTreeMap::new(),
        };
        let thread = thread::Builder::new().name("media-listen".into()).spawn(move || worker.run())?;
        let listener = Listener { queue, next: Arc::default() };
        Ok(Self { listener, thread: Some(thread) })
    }

    /// What begins listening.
    pub fn listener(&self) -> Listener {
        self.listener.clone()
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.listener.queue.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Listener {
    /// Begins to listen to a leg. `wide`: it is coded at more than 8 kHz.
    pub fn begin(
        &self,
        session: SessionId,
        leg: LegId,
        listening: Box<Listening>,
        wide: bool,
        at: Instant,
    ) -> (Active, Tap) {
        let id = Id(self.next.fetch_add(1, Ordering::Relaxed));
        let over = Arc::new(AtomicBool::new(false));
        let begin = Begin { session, leg, listening, wide, at, over: Arc::clone(&over) };
        self.queue.send(Message::Listen { id, begin: Box::new(begin) });
        let tap = Tap::new(id, self.queue.clone(), Arc::clone(&over), leg, HAND_ON);
        (Active { id, queue: self.queue.clone(), over }, tap)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // Its tap goes with the next packet, and what was said is told no more.
        self.over.store(true, Ordering::Relaxed);
        self.queue.send(Message::StopListening { id: self.id });
    }
}

struct Worker {
    messages: mpsc::Receiver<Message>,
    queue: Queue,
    events: Arc<dyn MediaEvents>,
    orders: Orders,
    pool: Pool,
    recogniser: Arc<dyn Recogniser>,
    ears: BTreeMap<Id, Ear>,
}

impl Worker {
    fn run(mut self) {
        let mut next = Instant::now() + TICK;
        loop {
            let wait = if self.ears.is_empty() {
                Duration::MAX
            } else {
                next.saturating_duration_since(Instant::now())
            };
            match self.messages.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            for _ in 0..MESSAGES_MAX {
                match self.messages.try_recv() {
                    Ok(Message::Stop) => return,
                    Ok(message) => self.take(message),
                    Err(_) => break,
                }
            }
            let now = Instant::now();
            if now >= next {
                next = now + TICK;
                self.listen(now);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Listen { id, begin } => {
                let Begin { session, leg, listening, wide, at, over } = *begin;
                self.ears.insert(id, Ear::new(session, leg, *listening, wide, at, over));
            }
            Message::StopListening { id } => _ = self.ears.remove(&id),
            Message::Sound { id, sound } => {
                self.queue.taken(&sound);
                if let Some(ear) = self.ears.get_mut(&id) {
                    ear.hear(&sound);
                }
            }
            Message::Begin { .. } | Message::Pause { .. } | Message::End { .. } | Message::Stop => {}
        }
    }

    fn listen(&mut self, now: Instant) {
        let Self { ears, events, orders, pool, recogniser, .. } = self;
        for ear in ears.values_mut() {
            let (session, leg, listening) = (ear.session, ear.leg, ear.listening.id);
            let barge_in = ear.listening.barge_in;
            let tell =
                |heard| events.send(MediaEvent { session, event: Event::Heard { leg, listening, heard } });
            ear.advance(now, &**recogniser, |what| match what {
                ear::Told::Began => {
                    // Before it is told, so that it cannot stop what is ordered on account of it.
                    if let Some(orders) = orders.get().filter(|_| barge_in) {
                        let order = Order::StopPlay { leg };
                        if orders.send(MediaOrder { session, order }).is_err() {
                            tracing::warn!(%session, %leg, "speech does not stop what plays: too many orders wait");
                        }
                    }
                    tell(Heard::Began);
                }
                ear::Told::Ended => tell(Heard::Other),
                ear::Told::Said(job) => {
                    if let Err(why) = pool.recognise(job) {
                        tell(Heard::Failed(why.to_owned()));
                    }
                }
            });
        }
    }
}
