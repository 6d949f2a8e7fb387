//! Certificates that were fetched: each is fetched once, however many calls wait for it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use openssl::x509::X509;
use tokio::{runtime::Handle, sync::oneshot};

use super::fetch::{self, Source};
use crate::observed::Observed;

/// Certificates that are kept; the one that was used longest ago makes room.
const KEPT_MAX: usize = 1_024;

/// Fetches at a time.
const FETCHES_MAX: usize = 64;

/// Calls that wait for one fetch.
const WAITERS_MAX: usize = 1_024;

/// How long a server that failed is left alone.
const FAILED_FOR: Duration = Duration::from_secs(10);

type Found = Result<Arc<[X509]>, String>;

/// What was fetched, and what is being fetched.
#[derive(Default)]
pub struct Cache {
    kept: BTreeMap<Source, Kept>,
    fetching: BTreeMap<Source, Vec<oneshot::Sender<Found>>>,
    uses: u64,
    /// Where is fetched. None: where it is asked.
    workers: Option<Handle>,
}

struct Kept {
    found: Found,
    until: Instant,
    used: u64,
}

/// A certificate's chain, kept or fetched.
///
/// # Errors
/// Why there is none.
pub async fn get(cache: &Rc<RefCell<Cache>>, source: Source, observed: &Observed) -> Found {
    let waits = match cache.borrow_mut().look(&source, Instant::now()) {
        Look::Found(found) => return found,
        Look::Wait(waits) => Some(waits),
        Look::Fetch => None,
    };
    if let Some(waits) = waits {
        return waits.await.unwrap_or_else(|_| Err("its certificate was not fetched after all".into()));
    }
    // Whoever waits is told even if this call is gone: the task that fetches is never dropped half way.
    let workers = cache.borrow().workers.clone();
    let fetched = match workers {
        // Reading authorities and shaking hands take longer than other calls should wait for.
        Some(workers) => {
            let wanted = source.clone();
            let fetching = workers.spawn(async move { fetch::fetch(&wanted).await });
            fetching.await.unwrap_or_else(|_| Err("its certificate was not fetched after all".into()))
        }
        None => fetch::fetch(&source).await,
    };
    let count = if fetched.is_ok() { &observed.certificates_fetched } else { &observed.certificates_failed };
    count.add(1);
    cache.borrow_mut().keep(source, fetched, Instant::now())
}

enum Look {
    Found(Found),
    Wait(oneshot::Receiver<Found>),
    Fetch,
}

impl Cache {
    /// Empty; what it has not is fetched by `workers`.
    pub fn by(workers: Option<Handle>) -> Self {
        Self { workers, ..Self::default() }
    }

    fn look(&mut self, source: &Source, now: Instant) -> Look {
        self.uses += 1;
        if let Some(kept) = self.kept.get_mut(source)
            && kept.until > now
        {
            kept.used = self.uses;
            return Look::Found(kept.found.clone());
        }
        let too_many = |what: &str| Look::Found(Err(format!("too many {what}")));
        let under_way = self.fetching.len();
        match self.fetching.get_mut(source) {
            Some(waiters) if waiters.len() >= WAITERS_MAX => too_many("calls wait for its certificate"),
            Some(waiters) => {
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                Look::Wait(receiver)
            }
            None if under_way >= FETCHES_MAX => too_many("certificates are being fetched"),
            None => {
                self.fetching.insert(source.clone(), Vec::new());
                Look::Fetch
            }
        }
    }

    fn keep(&mut self, source: Source, fetched: Result<fetch::Fetched, String>, now: Instant) -> Found {
        let (found, good_for) = match fetched {
            Ok(fetched) => (Ok(fetched.chain), fetched.good_for),
            Err(because) => (Err(because), FAILED_FOR),
        };
        for waiter in self.fetching.remove(&source).unwrap_or_default() {
            // One that waits no more has given up.
            let _ = waiter.send(found.clone());
        }
        if self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&source) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(source, _)| source.clone());
            oldest.map(|oldest| self.kept.remove(&oldest));
        }
        self.kept.insert(source, Kept { found: found.clone(), until: now + good_for, used: self.uses });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: usize) -> Source {
        Source { url: format!("https://a/{number}"), ca: None, ranges: Vec::new() }
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..KEPT_MAX {
            assert!(matches!(cache.look(&source(number), now), Look::Fetch));
            let _ = cache.keep(source(number), Err("a".into()), now);
        }
        assert!(matches!(cache.look(&source(0), now), Look::Found(_)));
        assert!(matches!(cache.look(&source(KEPT_MAX), now), Look::Fetch));
        let _ = cache.keep(source(KEPT_MAX), Err("a".into()), now);
        assert_eq!(cache.kept.len(), KEPT_MAX);
        assert!(matches!(cache.look(&source(0), now), Look::Found(_)));
        assert!(matches!(cache.look(&source(1), now), Look::Fetch));
    }

    #[test]
    fn a_server_that_failed_is_asked_again_after_a_while() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        assert!(matches!(cache.look(&source(0), now), Look::Fetch));
        assert!(matches!(cache.look(&source(0), now), Look::Wait(_)), "it is being fetched");
        let _ = cache.keep(source(0), Err("a".into()), now);
        assert!(matches!(cache.look(&source(0), now + FAILED_FOR / 2), Look::Found(Err(_))));
        assert!(matches!(cache.look(&source(0), now + FAILED_FOR), Look::Fetch));
    }

    #[test]
    fn no_more_than_so_many_are_fetched_at_a_time() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..FETCHES_MAX {
            assert!(matches!(cache.look(&source(number), now), Look::Fetch));
        }
        assert!(matches!(cache.look(&source(FETCHES_MAX), now), Look::Found(Err(_))));
    }
}
