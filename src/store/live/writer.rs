//! Brings changes into the live state from where nobody waits.
//!
//! What is put waits by what it is about: something newer about the same takes its place, so a store that is slow or away costs
//! room for each thing once, and no more than there is room for. What finds none is counted as the gap, and once all that
//! waits is brought, its owner is asked to say everything again. What has expired while it waited is not brought.
//!
//! A task brings what waits, oldest first, a batch at a time. Each turn at a store begins with entering, after which nothing
//! of an earlier connection is done any more; each batch is counted there, and a count that is lower than it was tells that
//! the store has begun anew or gone back.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    BadInput, CHANGES_MAX, CallRecord, Change, Lasting, Live, LiveError, Outcome, Slot, Turn, Written,
    queue::{Batch, Queue, Waiting},
};

/// Calls that others have, which wait to be told. Of more, the next write tells again.
const FENCED_MAX: usize = 16_384;
/// How often it is looked whether all is brought.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a writer behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Changes that may wait.
    pub waiting_max: usize,
    /// Their octets.
    pub waiting_octets_max: usize,
    /// How often a store is asked of which nothing is wanted.
    pub probe_every: Duration,
    /// After how long without an answer it is slow.
    pub slow: Duration,
    /// How long a store that has failed is left alone: twice as long each time, from the first to the second.
    pub pauses: (Duration, Duration),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting_max: 65_536,
            waiting_octets_max: 128 << 20,
            probe_every: Duration::from_secs(1),
            slow: Duration::from_millis(250),
            pauses: (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }
}

/// How a store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Up,
    /// It takes its time.
    Slow,
    /// It has no room: only what takes something away is done.
    Full,
    /// It does not answer, or was not asked yet.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Full => "full",
            Self::Down => "down",
        })
    }
}

/// How a store does, since when, and what a writer has done. No call depends on it, and no pod's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How it does.
    pub state: State,
    /// For how long.
    pub since: Duration,
    /// What it said last that was wrong. Empty: nothing is.
    pub because: String,
    /// What was done.
    pub figures: Figures,
}

/// What a writer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Changes that wait.
    pub waiting: u64,
    /// Their octets.
    pub waiting_octets: u64,
    /// Changes that the store has taken.
    pub written: u64,
    /// Batches that it has taken, those that ask only how it does among them.
    pub batches: u64,
    /// Changes whose place something newer took before they were brought.
    pub coalesced: u64,
    /// Changes that found no room.
    pub gap: u64,
    /// Changes that expired before they could be brought.
    pub expired: u64,
    /// Changes of calls that another edge has.
    pub fenced: u64,
    /// Changes that were older than what the store had.
    pub older: u64,
    /// Changes of which the store had as many as there may be.
    pub too_many: u64,
    /// Changes that the store cannot take, because something else is in their place.
    pub refused: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// How often everything was to be said again.
    pub resyncs: u64,
}

/// Why everything is to be said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The store has begun anew, or gone back to an earlier time.
    Store,
    /// Changes found no room while it was away.
    Gap,
}

/// What an owner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Say everything again that stands.
    Resync(Lost),
    /// A call is another's: nothing more may be done for it here.
    Fenced {
        /// The call.
        call: String,
        /// Whose it is.
        owner: String,
        /// Its epoch.
        epoch: u64,
    },
}

/// Why a change was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It cannot be.
    #[error(transparent)]
    Bad(#[from] BadInput),
    /// As many wait as may: it is counted in the gap.
    #[error("as many changes wait as may")]
    NoRoom,
}

/// Where changes go; cheap to clone. Once the last one is gone, what waits is tried once more.
#[derive(Debug, Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// What an owner is told; one for each writer.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.0.news.notify_one();
    }
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    queue: Mutex<Queue>,
    pulse: Mutex<Pulse>,
    told: Mutex<Told>,
    /// Something waits to be brought, or nobody puts anything any more.
    news: Notify,
    /// Something is to be told, or nothing will be any more.
    tidings: Notify,
    /// Nobody puts anything any more.
    over: AtomicBool,
}

#[derive(Debug)]
struct Pulse {
    state: State,
    since: Instant,
    because: String,
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Told {
    resync: Option<Lost>,
    fenced: BTreeMap<String, (String, u64)>,
    is_over: bool,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Starts, within an asynchronous runtime.
    ///
    /// # Errors
    /// [`LiveError::NoRandom`].
    pub fn start(live: Arc<dyn Live>, settings: Settings) -> Result<(Self, Events), LiveError> {
        let mut octets = [0; 8];
        getrandom::fill(&mut octets).map_err(|_| LiveError::NoRandom)?;
        let name = format!("{:016x}", u64::from_le_bytes(octets));
        let because = "it was not asked yet".into();
        let pulse = Pulse { state: State::Down, since: Instant::now(), because, asked: None };
        let shared = Arc::new(Shared {
            settings,
            queue: Mutex::default(),
            pulse: Mutex::new(pulse),
            told: Mutex::default(),
            news: Notify::new(),
            tidings: Notify::new(),
            over: AtomicBool::new(false),
        });
        let alive = Arc::new(Alive(Arc::clone(&shared)));
        let task = Task { live, shared: Arc::clone(&shared), name, turn: None, acknowledged: 0 };
        tokio::spawn(task.run());
        Ok((Self { shared: Arc::clone(&shared), _alive: alive }, Events(shared)))
    }

    /// Takes a change, without a wait. What is about the same and waits is not brought any more.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn put(&self, lasting: Lasting) -> Result<(), NotTaken> {
        lasting.check()?;
        let is_taken = held(&self.shared.queue).put(lasting, &self.shared.settings, Instant::now());
        if !is_taken {
            return Err(NotTaken::NoRoom);
        }
        self.shared.news.notify_one();
        Ok(())
    }

    /// How many more changes may wait: who says everything again does so in portions.
    #[must_use]
    pub fn room(&self) -> usize {
        let queue = held(&self.shared.queue);
        self.shared.settings.waiting_max.saturating_sub(queue.len())
    }

    /// How the store does.
    #[must_use]
    pub fn health(&self) -> Health {
        let figures = held(&self.shared.queue).figures();
        let pulse = held(&self.shared.pulse);
        let slow = self.shared.settings.slow;
        let waits = pulse.asked.map(|asked| asked.elapsed()).filter(|waits| *waits >= slow);
        if let (State::Up, Some(waits)) = (pulse.state, waits) {
            let because = format!("it has not answered for {} ms", waits.as_millis());
            return Health { state: State::Slow, since: waits, because, figures };
        }
        Health { state: pulse.state, since: pulse.since.elapsed(), because: pulse.because.clone(), figures }
    }

    /// Waits until all that was put so far is brought, or until so long has passed. Whether it is.
    pub async fn settle(&self, at_most: Duration) -> bool {
        let settled = async {
            while held(&self.shared.queue).has_any() {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(at_most, settled).await.is_ok()
    }
}

impl Events {
    /// Waits for the next. None: there will be none any more.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if held(&self.0.told).is_over {
                return None;
            }
            // What comes between the look and the wait is remembered.
            self.0.tidings.notified().await;
        }
    }

    /// The next, if there is one.
    pub fn try_next(&mut self) -> Option<Event> {
        let mut told = held(&self.0.told);
        if let Some(lost) = told.resync.take() {
            return Some(Event::Resync(lost));
        }
        told.fenced.pop_first().map(|(call, (owner, epoch))| Event::Fenced { call, owner, epoch })
    }
}

/// What brings.
struct Task {
    live: Arc<dyn Live>,
    shared: Arc<Shared>,
    name: String,
    turn: Option<Turn>,
    /// Batches that the store has said it has.
    acknowledged: u64,
}

impl Task {
    async fn run(mut self) {
        let (least, longest) = self.shared.settings.pauses;
        let mut pause = least;
        loop {
            let is_over = self.shared.over.load(Ordering::Acquire);
            let batch = held(&self.shared.queue).take(CHANGES_MAX, Instant::now());
            if batch.is_empty() && is_over {
                break;
            }
            let is_idle = batch.is_empty();
            match self.bring(batch).await {
                Ok(()) => {
                    pause = least;
                    self.look_for_gap();
                    if is_idle {
                        let _ = timeout(self.shared.settings.probe_every, self.shared.news.notified()).await;
                    }
                }
                // What is left ends with the process: it is live state.
                Err(()) if is_over => break,
                Err(()) => {
                    sleep(some_of(pause)).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
        held(&self.shared.told).is_over = true;
        self.shared.tidings.notify_waiters();
        self.shared.tidings.notify_one();
    }

    /// Brings a batch, or gives it back.
    async fn bring(&mut self, batch: Batch) -> Result<(), ()> {
        match self.attempt(&batch).await {
            Ok(outcomes) => {
                self.shared.answered();
                self.settle(&batch, outcomes);
                Ok(())
            }
            Err(LiveError::Full(why)) => {
                self.shared.found(State::Full, &why);
                let (removals, rest): (Batch, Batch) =
                    batch.into_iter().partition(|(_, waiting)| waiting.change.is_removal());
                held(&self.shared.queue).give_back(rest);
                self.bring_removals(removals).await;
                Err(())
            }
            // One of them is: each goes by itself, so that it holds up no other.
            Err(LiveError::Refused(_) | LiveError::Bad(_)) => {
                let mut rest = batch.into_iter();
                while let Some(one) = rest.next() {
                    if let Err(error) = self.bring_one(one).await {
                        held(&self.shared.queue).give_back(rest.collect());
                        return Err(error);
                    }
                }
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                held(&self.shared.queue).give_back(batch);
                Err(())
            }
        }
    }

    async fn bring_one(&mut self, one: (Slot, Waiting)) -> Result<(), ()> {
        let batch = vec![one];
        match self.attempt(&batch).await {
            Ok(outcomes) => {
                self.shared.answered();
                self.settle(&batch, outcomes);
                Ok(())
            }
            Err(error @ (LiveError::Refused(_) | LiveError::Bad(_))) => {
                error!("live state: a change cannot be made, and is left out: {error}");
                let mut queue = held(&self.shared.queue);
                queue.figures.refused += 1;
                queue.done(&batch);
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                held(&self.shared.queue).give_back(batch);
                Err(())
            }
        }
    }

    /// What takes something away needs no room.
    async fn bring_removals(&mut self, removals: Batch) {
        // Those that wait behind what needs room are not held up by it.
        let mut removals = removals;
        removals.extend(held(&self.shared.queue).take_removals(CHANGES_MAX - removals.len()));
        if removals.is_empty() {
            return;
        }
        match self.attempt(&removals).await {
            Ok(outcomes) => self.settle(&removals, outcomes),
            Err(_) => held(&self.shared.queue).give_back(removals),
        }
        // It has taken that, and yet it has no room.
        held(&self.shared.pulse).asked = None;
    }

    async fn attempt(&mut self, batch: &Batch) -> Result<Vec<Outcome>, LiveError> {
        held(&self.shared.pulse).asked = Some(Instant::now());
        let written = self.write(batch).await;
        if written.is_err() {
            // What is under way of it is not done any more once another turn has begun.
            self.turn = None;
            held(&self.shared.pulse).asked = None;
        }
        written
    }

    async fn write(&mut self, batch: &Batch) -> Result<Vec<Outcome>, LiveError> {
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => {
                let turn = self.live.enter(&self.name).await?;
                if turn.batches < self.acknowledged {
                    self.shared.resync(Lost::Store);
                }
                self.acknowledged = turn.batches;
                turn
            }
        };
        let now = Instant::now();
        let changes: Vec<Lasting> = batch.iter().map(|(_, waiting)| waiting.lasting(now)).collect();
        let Written { batches, outcomes } = self.live.write(&turn, &changes).await?;
        if batches <= self.acknowledged {
            self.shared.resync(Lost::Store);
        }
        self.acknowledged = batches;
        self.turn = Some(turn);
        Ok(outcomes)
    }

    /// A batch was taken.
    fn settle(&self, batch: &Batch, outcomes: Vec<Outcome>) {
        let mut fenced = Vec::new();
        {
            let mut queue = held(&self.shared.queue);
            queue.done(batch);
            queue.figures.batches += 1;
            for ((_, waiting), outcome) in batch.iter().zip(outcomes) {
                match outcome {
                    Outcome::Done => queue.figures.written += 1,
                    Outcome::Older => queue.figures.older += 1,
                    Outcome::TooMany => queue.figures.too_many += 1,
                    Outcome::Fenced { owner, epoch } => {
                        queue.figures.fenced += 1;
                        fenced.extend(call_of(&waiting.change).map(|call| (call.to_owned(), (owner, epoch))));
                    }
                }
            }
        }
        if !fenced.is_empty() {
            let mut told = held(&self.shared.told);
            let room = FENCED_MAX.saturating_sub(told.fenced.len());
            told.fenced.extend(fenced.into_iter().take(room));
            drop(told);
            self.shared.tidings.notify_one();
        }
    }

    fn failed(&self, error: &LiveError) {
        // It is there, and knows us no more: the next attempt tells more.
        if !matches!(error, LiveError::Superseded(_)) {
            self.shared.found(State::Down, &error.to_string());
        }
        held(&self.shared.queue).figures.failed += 1;
    }

    /// Once all is brought, what found no room is to be said again.
    fn look_for_gap(&self) {
        let mut queue = held(&self.shared.queue);
        if queue.has_gap && !queue.has_any() {
            queue.has_gap = false;
            drop(queue);
            self.shared.resync(Lost::Gap);
        }
    }
}

fn call_of(change: &Change) -> Option<&str> {
    match change {
        Change::Call(CallRecord { call, .. }) | Change::Over { call, .. } => Some(call),
        Change::Bind(..)
        | Change::Unbind { .. }
        | Change::Present(..)
        | Change::Absent { .. }
        | Change::Attach(..)
        | Change::Detach { .. }
        | Change::Count(_)
        | Change::Keep(_)
        | Change::Ban(_)
        | Change::Lift(_) => None,
    }
}

/// Between half of it and the whole, so that not all come at once.
fn some_of(pause: Duration) -> Duration {
    let mut octet = [0];
    // Without randomness they do.
    let _ = getrandom::fill(&mut octet);
    pause / 2 + pause * u32::from(octet[0]) / 512
}

impl Shared {
    fn resync(&self, lost: Lost) {
        match lost {
            Lost::Store => {
                warn!("live state: the store has begun anew or gone back; everything is said again")
            }
            Lost::Gap => info!("live state: what found no room is said again"),
        }
        held(&self.queue).figures.resyncs += 1;
        held(&self.told).resync = Some(lost);
        self.tidings.notify_one();
    }

    fn answered(&self) {
        let mut pulse = held(&self.pulse);
        let took = pulse.asked.take().map_or(Duration::ZERO, |asked| asked.elapsed());
        let (state, because) = if took >= self.settings.slow {
            (State::Slow, format!("its last answer took {} ms", took.as_millis()))
        } else {
            (State::Up, String::new())
        };
        pulse.change(state, because);
    }

    fn found(&self, state: State, because: &str) {
        held(&self.pulse).change(state, because.to_owned());
    }
}

impl Pulse {
    fn change(&mut self, state: State, because: String) {
        let before = std::mem::replace(&mut self.state, state);
        self.because = because;
        if before == state {
            return;
        }
        self.since = Instant::now();
        match state {
            State::Up => info!("live state: the store is up"),
            State::Slow => info!("live state: the store is slow: {}", self.because),
            State::Full | State::Down => {
                warn!("live state: the store is {state}, calls go on without it: {}", self.because);
            }
        }
    }
}
