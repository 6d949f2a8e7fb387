//! What brings recordings away that wait for their store: each until it is there, however long the store is not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use store::{Blobs, Error, Name};

/// Blobs that are brought away at the same time.
const THREADS: usize = 3;
/// A blob that could not be brought is tried again after so long, then after twice as long, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long the end of a process waits for what has not been tried yet.
const LAST: Duration = Duration::from_secs(5);

/// The threads. Dropping them has each try what waits once more.
#[derive(Debug)]
pub struct Bringers {
    wake: Wake,
    threads: Vec<JoinHandle<()>>,
}

/// Tells the threads that something waits; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    something: Condvar,
    /// Blobs that wait.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Work {
    /// Somebody has put something there.
    woken: bool,
    /// Until when the last tries may begin.
    ends: Option<Instant>,
    next: VecDeque<Name>,
    busy: BTreeSet<Name>,
    /// When those that failed are due again, and how often they have.
    failed: BTreeMap<Name, (Instant, u32)>,
}

impl Bringers {
    /// Starts them.
    pub fn start(store: &Arc<dyn Blobs>, wake: Wake) -> std::io::Result<Self> {
        let mut threads = Vec::new();
        wake.wake();
        for place in 0..THREADS {
            let (store, wake) = (Arc::clone(store), wake.clone());
            let run = move || wake.bring_all(&*store);
            threads.push(thread::Builder::new().name(format!("media-bring-{place}")).spawn(run)?);
        }
        Ok(Self { wake, threads })
    }
}

impl Drop for Bringers {
    fn drop(&mut self) {
        let mut work = self.wake.work();
        work.ends = Some(Instant::now() + LAST);
        work.failed.clear();
        work.woken = true;
        drop(work);
        self.wake.0.something.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Wake {
    /// Something may wait.
    pub fn wake(&self) {
        self.work().woken = true;
        self.0.something.notify_all();
    }

    /// All is due at once: the store is another.
    pub fn again(&self) {
        self.work().failed.clear();
        self.wake();
    }

    /// Blobs that waited when it was looked last.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bring_all(&self, store: &dyn Blobs) {
        while let Some(name) = self.next(store) {
            let brought = store.bring(&name);
            let mut work = self.work();
            work.busy.remove(&name);
            match brought {
                Ok(()) => {
                    let one_less = |waiting: usize| Some(waiting.saturating_sub(1));
                    let _ = self.0.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
                    if let Some((_, tries)) = work.failed.remove(&name) {
                        tracing::info!(%name, tries, "stored at last");
                    }
                }
                Err(error) => {
                    let tries = work.failed.get(&name).map_or(1, |(_, tries)| tries.saturating_add(1));
                    let wait = AGAIN.0.saturating_mul(1 << tries.min(10)).min(AGAIN.1);
                    if tries == 1 {
                        tracing::warn!(%name, %error, "not stored yet; it is safe on this disk and tried again");
                    }
                    work.failed.insert(name, (Instant::now() + wait, tries));
                }
            }
        }
    }

    /// Waits for what is due. None: the process ends.
    fn next(&self, store: &dyn Blobs) -> Option<Name> {
        let mut work = self.work();
        loop {
            let now = Instant::now();
            if work.ends.is_some_and(|ends| now >= ends) {
                return None;
            }
            if work.woken || work.failed.values().any(|(due, _)| *due <= now) {
                work.look(store, now, &self.0.waiting);
            }
            if let Some(name) = work.next.pop_front() {
                work.busy.insert(name.clone());
                return Some(name);
            }
            if work.ends.is_some() {
                return None;
            }
            let due = work.failed.values().map(|(due, _)| *due).min();
            let wait = due.map_or(AGAIN.1, |due| due.saturating_duration_since(now)).min(AGAIN.1);
            let wait = wait.max(Duration::from_millis(10));
            work = self.0.something.wait_timeout(work, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Work {
    fn look(&mut self, store: &dyn Blobs, now: Instant, waiting: &AtomicUsize) {
        self.woken = false;
        let names = match store.waiting() {
            Ok(names) => names,
            Err(Error::Unready(_)) => Vec::new(),
            Err(error) => {
                tracing::error!(%error, "nobody can tell what waits to be stored");
                Vec::new()
            }
        };
        waiting.store(names.len(), Ordering::Relaxed);
        self.failed.retain(|name, _| names.binary_search(name).is_ok() || self.busy.contains(name));
        let due = |name: &Name| self.failed.get(name).is_none_or(|(due, _)| *due <= now);
        self.next = names.into_iter().filter(|name| !self.busy.contains(name) && due(name)).collect();
    }
}

#[cfg(test)]
mod tests {
    use store::{Draft, Found};

    use super::*;

    /// A store that is not there for a while.
    #[derive(Debug)]
    struct Away {
        refusals: Mutex<usize>,
        waits: Mutex<BTreeSet<Name>>,
    }

    impl Blobs for Away {
        fn begin(&self, _: &Name) -> Result<Draft, Error> {
            Err(Error::NoRandom)
        }
        fn unfinished(&self) -> Result<Vec<Name>, Error> {
            Ok(Vec::new())
        }
        fn resume(&self, _: &Name) -> Result<Draft, Error> {
            Err(Error::NoRandom)
        }
        fn finish(&self, _: Draft, _: Option<&[u8]>) -> Result<u64, Error> {
            Err(Error::NoRandom)
        }
        fn waiting(&self) -> Result<Vec<Name>, Error> {
            Ok(self.waits.lock().unwrap().iter().cloned().collect())
        }
        fn bring(&self, name: &Name) -> Result<(), Error> {
            let mut refusals = self.refusals.lock().unwrap();
            if *refusals > 0 {
                *refusals -= 1;
                return Err(Error::Remote { name: name.to_string(), message: "away".into() });
            }
            self.waits.lock().unwrap().remove(name);
            Ok(())
        }
        fn put(&self, _: &Name, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn note(&self, _: &Name, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn notes(&self) -> Result<Vec<Name>, Error> {
            Ok(Vec::new())
        }
        fn noted(&self, _: &Name) -> Result<Vec<u8>, Error> {
            Err(Error::NoRandom)
        }
        fn drop_note(&self, _: &Name) -> Result<(), Error> {
            Ok(())
        }
        fn get(&self, _: &Name) -> Result<Box<dyn std::io::Read + Send>, Error> {
            Err(Error::NoRandom)
        }
        fn list(&self, _: &str, _: Option<&Name>, _: usize) -> Result<Vec<Found>, Error> {
            Ok(Vec::new())
        }
        fn delete(&self, _: &Name) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn what_the_store_refuses_is_tried_until_it_is_there() {
        let names = ["a", "b", "c", "d", "e"].map(|name| Name::new(name).unwrap());
        let away = Arc::new(Away { refusals: Mutex::new(7), waits: Mutex::new(names.into()) });
        let store: Arc<dyn Blobs> = Arc::clone(&away) as _;
        let bringers = Bringers::start(&store, Wake::default()).unwrap();
        let until = Instant::now() + Duration::from_secs(40);
        while !away.waits.lock().unwrap().is_empty() {
            assert!(Instant::now() < until, "{away:?}");
            thread::sleep(Duration::from_millis(20));
        }
        drop(bringers);
        assert_eq!(*away.refusals.lock().unwrap(), 0);
    }

    #[test]
    fn the_end_does_not_wait_for_a_store_that_is_away() {
        let away =
            Away { refusals: Mutex::new(usize::MAX), waits: Mutex::new([Name::new("a").unwrap()].into()) };
        let store: Arc<dyn Blobs> = Arc::new(away);
        drop(Bringers::start(&store, Wake::default()).unwrap());
    }
}
