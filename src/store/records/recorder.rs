//! Takes records from whoever makes them, keeps them on this machine's disk, and brings them into a database from there.
//!
//! A thread of its own writes the disk: what comes meanwhile goes together, with one wait for the disk. A task brings what is
//! there in its order; what the database takes never is set aside in `refused.jsonl`, so that it holds up nothing. Another
//! closes what a process that is gone has left open, and deletes what is older than its tenant wants.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    PAGE_MAX, RecordsError, Row, Shared, Source, entry, lost, of_entry,
    spool::{ENTRY_MAX, Mark, Spool, SpoolError},
};

/// Records that wait to be put on the disk. One more is lost, and counted.
const QUEUE_MAX: usize = 16_384;
/// Records that are put on the disk together.
const SPOOLED_AT_ONCE: usize = 256;
/// Records that are brought together, and their octets.
const BROUGHT_AT_ONCE: usize = 256;
const BROUGHT_OCTETS: usize = 4 << 20;
/// How long a disk that cannot be written is left alone.
const DISK_PAUSE: Duration = Duration::from_millis(500);
/// How long a database that is away is left alone: twice as long each time, from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How often it is looked at what is open or old, and how soon again where that failed.
const TIDY_EVERY: Duration = Duration::from_hours(1);
const TIDY_AGAIN: Duration = Duration::from_mins(1);
/// How much longer than the longest call a row of another process may be open.
const OPEN_SLACK: Duration = Duration::from_hours(1);
/// Largest file of what was refused.
const REFUSED_MAX: u64 = 64 << 20;

/// Where records wait.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A folder that no other process uses at the same time.
    pub folder: PathBuf,
    /// Bytes that may wait there.
    pub waiting_max: u64,
}

/// What becomes of records with time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// For how many days they are kept, by tenant. Of a tenant that is not named nothing is deleted.
    pub days: BTreeMap<String, u32>,
    /// How long a call lasts at most.
    pub call_max: Duration,
}

/// How it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records on the disk that wait for the database.
    pub waiting: u64,
    /// Their octets.
    pub waiting_octets: u64,
    /// Records that the database has.
    pub written: u64,
    /// Records that found no room.
    pub lost: u64,
    /// Records that the database has refused.
    pub refused: u64,
    /// Whether as much waits as may, or the disk takes nothing.
    pub full: bool,
    /// Whether the database did not answer when it was asked last.
    pub away: bool,
}

/// Where records go; cheap to clone. Once the last one is gone, what is in the spool waits for the next start.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Item>,
    state: Arc<State>,
}

#[derive(Debug)]
enum Item {
    Record(Arc<dyn Source>),
    /// All before it is on the disk.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
struct State {
    spool: Spool,
    folder: PathBuf,
    owner: String,
    instance: String,
    store: RwLock<Shared>,
    /// Something is to be brought.
    news: Notify,
    /// A database that was away need not be left alone any longer.
    again: Notify,
    /// Nobody gives records any more.
    over: AtomicBool,
    /// All that was there at the start is in the database.
    caught_up: watch::Sender<bool>,
    rules: watch::Sender<Rules>,
    written: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    full: AtomicBool,
    away: AtomicBool,
    /// Held as long as the folder is this process's.
    _lock: File,
}

impl Recorder {
    /// Starts, within an asynchronous runtime. What waits in the folder is brought first.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub fn start(settings: &Settings, store: Shared) -> Result<Self, SpoolError> {
        let folder = &settings.folder;
        let disk = |source| SpoolError::Disk { path: folder.clone(), source };
        fs::create_dir_all(folder).map_err(disk)?;
        let (owner, lock) = own(&folder.join("owner")).map_err(disk)?;
        let instance = drawn().map_err(disk)?;
        let spool = Spool::open(folder, settings.waiting_max)?;
        if spool.cut > 0 {
            warn!("{}: {} bytes of a record that was not whole are cut off", folder.display(), spool.cut);
        }
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        let state = Arc::new(State {
            spool,
            folder: folder.clone(),
            owner,
            instance,
            store: RwLock::new(store),
            news: Notify::new(),
            again: Notify::new(),
            over: AtomicBool::new(false),
            caught_up: watch::Sender::new(false),
            rules: watch::Sender::new(Rules::default()),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            full: AtomicBool::new(false),
            away: AtomicBool::new(false),
            _lock: lock,
        });
        let own = Arc::clone(&state);
        thread::Builder::new().name("records".into()).spawn(move || own.spool_all(items)).map_err(disk)?;
        tokio::spawn(bring(Arc::clone(&state)));
        tokio::spawn(tidy(Arc::clone(&state)));
        Ok(Self { queue, state })
    }

    /// Which run of a process the records are of that are made now: a part of their ids.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.state.instance
    }

    /// Takes a record, without a wait. False: it is lost, and counted.
    pub fn put(&self, record: Arc<dyn Source>) -> bool {
        let taken = self.queue.try_send(Item::Record(record)).is_ok();
        if !taken {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// From now on they go elsewhere.
    pub fn set(&self, store: Shared) {
        *self.state.store.write().unwrap_or_else(PoisonError::into_inner) = store;
        self.state.again.notify_one();
        self.state.rules.send_modify(|_| {});
    }

    /// Where they go.
    #[must_use]
    pub fn store(&self) -> Shared {
        self.state.store()
    }

    /// What becomes of records with time, from now on.
    pub fn keep(&self, rules: Rules) {
        self.state.rules.send_if_modified(|before| {
            let differs = *before != rules;
            *before = rules;
            differs
        });
    }

    /// Waits until all that was given so far is in the database, or until so long has passed. Whether it is.
    pub async fn settle(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let (done, spooled) = oneshot::channel();
        let flush = async { self.queue.send(Item::Flush(done)).await.is_ok() && spooled.await.is_ok() };
        if !timeout(at_most, flush).await.unwrap_or(false) {
            return false;
        }
        self.state.again.notify_one();
        while self.state.spool.entries() > 0 {
            if Instant::now() >= until {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// How it stands.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let state = &self.state;
        Figures {
            waiting: state.spool.entries(),
            waiting_octets: state.spool.octets(),
            written: state.written.load(Ordering::Relaxed),
            lost: state.lost.load(Ordering::Relaxed),
            refused: state.refused.load(Ordering::Relaxed),
            full: state.full.load(Ordering::Relaxed),
            away: state.away.load(Ordering::Relaxed),
        }
    }
}

/// Whose folder it is, which stays so, and the hold on it.
fn own(path: &Path) -> io::Result<(String, File)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses this folder"));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let known = io::read_to_string(&file)?;
    if !known.trim().is_empty() {
        return Ok((known.trim().to_owned(), file));
    }
    let owner = drawn()?;
    (&file).write_all(owner.as_bytes())?;
    file.sync_all()?;
    Ok((owner, file))
}

/// Sixteen hexadecimal digits that nobody else has.
fn drawn() -> io::Result<String> {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_le_bytes(octets)))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl State {
    fn store(&self) -> Shared {
        Arc::clone(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The thread's life.
    fn spool_all(&self, mut items: mpsc::Receiver<Item>) {
        let mut batch = Vec::with_capacity(SPOOLED_AT_ONCE);
        while items.blocking_recv_many(&mut batch, SPOOLED_AT_ONCE) > 0 {
            let (mut contents, mut flushed) = (Vec::with_capacity(batch.len()), Vec::new());
            for item in batch.drain(..) {
                match item {
                    Item::Record(source) => contents.extend(self.content(source.as_ref())),
                    Item::Flush(done) => flushed.push(done),
                }
            }
            if !contents.is_empty() {
                self.put_down(&contents, || items.is_closed());
                self.news.notify_one();
            }
            for done in flushed {
                let _ = done.send(());
            }
        }
        self.over.store(true, Ordering::Relaxed);
        self.news.notify_one();
        self.again.notify_one();
        self.caught_up.send_modify(|_| {});
        self.rules.send_modify(|_| {});
    }

    fn content(&self, source: &dyn Source) -> Option<Vec<u8>> {
        let row = Row { owner: self.owner.clone(), ..source.row() };
        let content = entry(&row);
        if content.len() > ENTRY_MAX {
            error!("the record {} of {} bytes is too large, and lost", row.id, content.len());
            self.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(content)
    }

    /// Until it is on the disk: others wait in the queue meanwhile, which is bounded.
    fn put_down(&self, contents: &[Vec<u8>], is_over: impl Fn() -> bool) {
        while let Err(error) = self.spool.append(contents) {
            if !self.full.swap(true, Ordering::Relaxed) {
                error!("records cannot be put on the disk, and are lost once too many wait: {error}");
            }
            if is_over() {
                self.lost.fetch_add(contents.len() as u64, Ordering::Relaxed);
                return;
            }
            thread::sleep(DISK_PAUSE);
        }
        if self.full.swap(false, Ordering::Relaxed) {
            info!("records are put on the disk again");
        }
    }

    /// Sees to it that rows are in the database, or set aside where it takes them never.
    async fn write(&self, rows: &[Row]) -> Result<(), RecordsError> {
        let store = self.store();
        match store.write(rows).await {
            Err(RecordsError::Refused(_)) => {}
            done => {
                done?;
                self.written.fetch_add(rows.len() as u64, Ordering::Relaxed);
                return Ok(());
            }
        }
        for row in rows {
            match store.write(std::slice::from_ref(row)).await {
                Ok(()) => drop(self.written.fetch_add(1, Ordering::Relaxed)),
                Err(RecordsError::Refused(why)) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    error!("the database refuses the record {}, which is set aside: {why}", row.id);
                    self.set_aside(row);
                }
                Err(away) => return Err(away),
            }
        }
        Ok(())
    }

    fn set_aside(&self, row: &Row) {
        let path = self.folder.join("refused.jsonl");
        let put = || {
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            if file.metadata()?.len() > REFUSED_MAX {
                return Err(io::Error::other("the file is as long as it may be"));
            }
            file.write_all(format!("{}\n", row.body).as_bytes())
        };
        if let Err(error) = put() {
            error!("{}: {error}: the record {} is lost", path.display(), row.id);
        }
    }

    fn found_away(&self, error: &RecordsError) {
        if !self.away.swap(true, Ordering::Relaxed) {
            warn!("records wait on the disk, the database takes none: {error}");
        }
    }

    fn found_there(&self) {
        if self.away.swap(false, Ordering::Relaxed) {
            info!("the database takes records again; {} wait", self.spool.entries());
        }
    }
}

/// Brings what is in the spool.
async fn bring(state: Arc<State>) {
    let mut pause = PAUSES.0;
    loop {
        let is_over = state.over.load(Ordering::Relaxed);
        match state.bring_some().await {
            Ok(true) => pause = PAUSES.0,
            Ok(false) if is_over => return,
            Ok(false) => {
                pause = PAUSES.0;
                state.caught_up.send_if_modified(|caught_up| !std::mem::replace(caught_up, true));
                state.news.notified().await;
            }
            // What waits is brought after the next start.
            Err(()) if is_over => return,
            Err(()) => {
                // New records do not make it come back sooner.
                let _ = timeout(pause, state.again.notified()).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

impl State {
    /// Whether there was anything. Err: it must wait.
    async fn bring_some(self: &Arc<Self>) -> Result<bool, ()> {
        let own = Arc::clone(self);
        let read = spawn_blocking(move || own.spool.first(BROUGHT_AT_ONCE, BROUGHT_OCTETS)).await;
        let (contents, mark) = match read.map_err(|_| ())? {
            Ok(read) => read,
            Err(error) => {
                let lost = self.spool.skip().unwrap_or(0);
                error!("{error}: {lost} bytes of records are lost");
                return if lost > 0 { Ok(true) } else { Err(()) };
            }
        };
        if contents.is_empty() {
            return Ok(false);
        }
        let rows: Vec<Row> = contents.iter().filter_map(|content| of_entry(content)).collect();
        if let Err(error) = self.write(&rows).await {
            self.found_away(&error);
            return Err(());
        }
        self.found_there();
        self.trim(mark).await;
        Ok(true)
    }

    async fn trim(self: &Arc<Self>, mark: Mark) {
        let own = Arc::clone(self);
        let trimmed = spawn_blocking(move || own.spool.trim(mark)).await;
        if let Ok(Err(error)) = trimmed {
            warn!("records that the database has stay on the disk: {error}");
        }
    }
}

/// Closes what is open and cannot be any more, and deletes what is old.
async fn tidy(state: Arc<State>) {
    let (mut caught_up, mut rules) = (state.caught_up.subscribe(), state.rules.subscribe());
    // The end shows here too.
    let is_time = |caught_up: &bool| *caught_up || state.over.load(Ordering::Relaxed);
    if caught_up.wait_for(is_time).await.is_err() {
        return;
    }
    while !state.over.load(Ordering::Relaxed) {
        let present = rules.borrow_and_update().clone();
        let next = match state.tidy_up(&present).await {
            Ok(()) => TIDY_EVERY,
            Err(error) => {
                warn!("old records are not deleted, nor lost ones closed, yet: {error}");
                TIDY_AGAIN
            }
        };
        let _ = timeout(next, rules.changed()).await;
    }
}

impl State {
    async fn tidy_up(&self, rules: &Rules) -> Result<(), RecordsError> {
        let store = self.store();
        let now = now_ms();
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        // Who has said nothing of how long calls last has said nothing of others' rows.
        let before = if rules.call_max.is_zero() { 0 } else { now - ms(rules.call_max + OPEN_SLACK) };
        let mut closed = 0;
        loop {
            let orphans = store.orphans(&self.owner, &self.instance, before).await?;
            let rows: Vec<Row> = orphans.into_iter().map(|row| lost(row, now)).collect();
            if rows.is_empty() {
                break;
            }
            store.write(&rows).await?;
            closed += rows.len();
            if rows.len() < PAGE_MAX {
                break;
            }
        }
        if closed > 0 {
            warn!("{closed} calls ended with the process that had them: their records say Lost");
        }
        for (tenant, days) in &rules.days {
            let before = now - i64::from(*days) * 86_400_000;
            let mut gone = 0;
            loop {
                let deleted = store.delete(tenant, before).await?;
                gone += deleted;
                if deleted < PAGE_MAX as u64 {
                    break;
                }
            }
            if gone > 0 {
                info!("Tenant {tenant}: retention.recordDays is {days}: {gone} records are deleted");
            }
        }
        Ok(())
    }
}
