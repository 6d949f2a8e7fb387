//! Who leads: a step over a Lease (`coordination.k8s.io/v1`), after client-go's `leaderelection`.
//!
//! Pure. What others wrote is judged by when *we* first saw it, never by the times in it, so clocks may differ by hours. A
//! holder that cannot renew stops before another may take over: `renew_deadline` counts from when the last renewal was
//! *sent*, and is shorter than `duration`, which the others count from when they *saw* it, later.

use std::time::Duration;

/// How long a lease lasts, and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Others take over when they have seen no renewal for so long. Whole seconds.
    pub duration: Duration,
    /// The holder leads no more when its last renewal was sent so long ago.
    pub renew_deadline: Duration,
    /// Between two attempts.
    pub retry: Duration,
}

/// Why [`Terms`] cannot keep two from leading at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the lease must last longer than its renew deadline, and that longer than the retry; such as 15, 10 and 2 seconds"
)]
pub struct UnsafeTerms;

impl Terms {
    /// Checks that a holder stops before others begin.
    ///
    /// # Errors
    /// When they do not stand `retry < renew_deadline < duration`, with a second at least between the last two.
    pub fn checked(self) -> Result<Self, UnsafeTerms> {
        let apart = self.renew_deadline + Duration::from_secs(1) <= self.duration;
        let sound = self.duration.subsec_nanos() == 0 && self.retry > Duration::ZERO;
        if apart && sound && self.retry < self.renew_deadline { Ok(self) } else { Err(UnsafeTerms) }
    }
}

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Who holds it; empty: nobody, its last holder has given it back.
    pub holder: String,
    /// How often it has changed hands: the term of the present holder.
    pub transitions: u64,
    /// What the holder promised.
    pub duration: Duration,
    /// Changes with every renewal; compared, never read.
    pub renewed: String,
    /// Of the object, for a write that fails if somebody else was faster.
    pub version: String,
}

/// What one replica knows of the lease.
#[derive(Debug, Clone)]
pub struct Candidate {
    me: String,
    terms: Terms,
    seen: Option<(Record, Duration)>,
    /// The term that we hold, and when the renewal that gave it to us was sent.
    held: Option<(u64, Duration)>,
    /// The highest term that was ever heard of, from wherever: pods take nothing from a lower one.
    floor: u64,
    /// Held once, and lost: such a process does not lead again.
    lost: bool,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is no Lease: create one, held by us, with this term.
    Create {
        /// The term.
        term: u64,
    },
    /// Write the Lease over the version that was read, held by us, with this term.
    Write {
        /// The term.
        term: u64,
        /// Fails if this is not the present one any more.
        version: String,
    },
    /// Somebody else holds it; look again after the retry.
    Wait,
    /// We held it and hold it no more: stop at once.
    Lost,
}

impl Candidate {
    /// A replica that knows nothing yet. `me` is never used by another process, nor by this one after a restart.
    #[must_use]
    pub const fn new(me: String, terms: Terms) -> Self {
        Self { me, terms, seen: None, held: None, floor: 0, lost: false }
    }

    /// Who holds the lease as far as is known, itself included.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|(record, _)| record.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// The term that is held at `now`. None: publish nothing and write nothing.
    #[must_use]
    pub fn leads(&self, now: Duration) -> Option<u64> {
        let (term, sent) = self.held?;
        (!self.lost && now < sent + self.terms.renew_deadline).then_some(term)
    }

    /// Until when what is held is held, if nothing is renewed.
    #[must_use]
    pub fn leads_until(&self) -> Option<Duration> {
        self.held.map(|(_, sent)| sent + self.terms.renew_deadline)
    }

    /// A term was heard of, of a stored snapshot or a pod. Somebody may have deleted the Lease, and with it the count: what is
    /// led from now on is led above it.
    pub fn heard(&mut self, term: u64) {
        self.floor = self.floor.max(term);
    }

    /// The lease was read; `None`: there is none. What is to be done about it?
    pub fn read(&mut self, now: Duration, lease: Option<Record>) -> Step {
        if self.expired(now) {
            return Step::Lost;
        }
        let Some(record) = lease else {
            // Somebody deleted it.
            let term = self.term(self.seen.as_ref().map_or(0, |(seen, _)| seen.transitions));
            self.seen = None;
            return Step::Create { term };
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != record) {
            // A renewal that only reached us now may have been sent any time before: `now` is the safe side.
            let version = record.version.clone();
            self.seen = Some((record, now));
            if self.held.is_some() && !self.is_mine() {
                self.lost = true;
                return Step::Lost;
            }
            return self.judge(now, version);
        }
        let version = record.version;
        self.judge(now, version)
    }

    fn judge(&self, now: Duration, version: String) -> Step {
        let Some((seen, since)) = &self.seen else { return Step::Wait };
        let term = self.term(seen.transitions);
        if self.held.is_some() {
            return Step::Write { term, version };
        }
        // A holder that promised less than we would is held to what it promised, and to a second at least.
        let patience = seen.duration.max(Duration::from_secs(1));
        let free = seen.holder.is_empty() || now >= *since + patience;
        if free { Step::Write { term, version } } else { Step::Wait }
    }

    /// The write of [`Step::Create`] or [`Step::Write`] that was sent at `sent` succeeded at `now`.
    pub fn written(&mut self, sent: Duration, now: Duration, record: Record) -> Option<u64> {
        if self.expired(now) {
            return None;
        }
        let term = record.transitions;
        self.seen = Some((record, now));
        self.held = Some((term, sent));
        self.heard(term);
        self.leads(now)
    }

    /// The write or the read failed, or somebody else was faster. `Lost` when that has gone on for too long.
    pub fn failed(&mut self, now: Duration) -> Step {
        if self.expired(now) { Step::Lost } else { Step::Wait }
    }

    /// The term to lead with: the one that is held, if none above it was heard of.
    fn term(&self, seen: u64) -> u64 {
        match self.held {
            Some((term, _)) if term >= self.floor => term,
            Some((term, _)) => term.max(self.floor) + 1,
            None => seen.max(self.floor) + 1,
        }
    }

    fn is_mine(&self) -> bool {
        self.holder() == Some(self.me.as_str())
    }

    fn expired(&mut self, now: Duration) -> bool {
        if self.held.is_some() && self.leads(now).is_none() {
            self.lost = true;
        }
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn record(holder: &str, transitions: u64, renewed: &str) -> Record {
        Record {
            holder: holder.into(),
            transitions,
            duration: TERMS.duration,
            renewed: renewed.into(),
            version: format!("{holder}{transitions}{renewed}"),
        }
    }

    /// One who leads by a renewal sent at `sent` in the given term.
    fn leader(term: u64, sent: u64) -> Candidate {
        let mut candidate = Candidate::new("a".into(), TERMS);
        candidate.written(at(sent), at(sent), record("a", term, "0"));
        candidate
    }

    #[test]
    fn terms_that_overlap_are_refused() {
        for (duration, deadline, retry, sound) in [
            (15, 10, 2, true),
            (15, 15, 2, false),
            (10, 15, 2, false),
            (15, 10, 10, false),
            (15, 10, 0, false),
            (3, 2, 1, true),
        ] {
            let terms = Terms { duration: at(duration), renew_deadline: at(deadline), retry: at(retry) };
            assert_eq!(terms.checked().is_ok(), sound, "{terms:?}");
        }
    }

    #[test]
    fn the_table_of_races() {
        // What is known, what is read at which second, what comes of it.
        let b = |transitions, renewed| Some(record("b", transitions, renewed));
        type Read = (u64, Option<Record>, Step);
        let rows: Vec<(&str, Candidate, Vec<Read>)> = vec![
            (
                "nobody made a lease",
                Candidate::new("a".into(), TERMS),
                vec![(0, None, Step::Create { term: 1 })],
            ),
            (
                "a fresh lease of another is respected for its whole length from when it was seen",
                Candidate::new("a".into(), TERMS),
                vec![
                    (0, b(3, "x"), Step::Wait),
                    (14, b(3, "x"), Step::Wait),
                    (15, b(3, "x"), Step::Write { term: 4, version: "b3x".into() }),
                ],
            ),
            (
                "each renewal begins the wait again",
                Candidate::new("a".into(), TERMS),
                vec![(0, b(3, "x"), Step::Wait), (14, b(3, "y"), Step::Wait), (28, b(3, "y"), Step::Wait)],
            ),
            (
                "what was given back is taken at once",
                Candidate::new("a".into(), TERMS),
                vec![(0, Some(record("", 3, "x")), Step::Write { term: 4, version: "3x".into() })],
            ),
            (
                "the holder renews its own term",
                leader(4, 0),
                vec![(2, Some(record("a", 4, "0")), Step::Write { term: 4, version: "a40".into() })],
            ),
            (
                "somebody took it over: the holder stops",
                leader(4, 0),
                vec![(2, b(5, "x"), Step::Lost), (3, b(5, "x"), Step::Lost)],
            ),
            (
                "frozen past the deadline: the holder stops, even if nobody took over",
                leader(4, 0),
                vec![(10, Some(record("a", 4, "0")), Step::Lost)],
            ),
            (
                "somebody deleted it: the holder makes it again with its term",
                leader(4, 0),
                vec![(2, None, Step::Create { term: 4 })],
            ),
            (
                "somebody deleted it: who waits goes above the term that it saw",
                Candidate::new("a".into(), TERMS),
                vec![(0, b(7, "x"), Step::Wait), (1, None, Step::Create { term: 8 })],
            ),
            (
                "a lease of our own name from before a restart is another's",
                Candidate::new("a".into(), TERMS),
                vec![(0, Some(record("a", 3, "x")), Step::Wait)],
            ),
        ];
        for (what, mut candidate, reads) in rows {
            for (second, lease, wanted) in reads {
                assert_eq!(candidate.read(at(second), lease), wanted, "{what}, second {second}");
            }
        }
    }

    #[test]
    fn a_term_goes_above_every_one_that_was_heard_of() {
        let mut candidate = Candidate::new("a".into(), TERMS);
        candidate.heard(9);
        assert_eq!(candidate.read(at(0), None), Step::Create { term: 10 });
        let mut candidate = leader(4, 0);
        candidate.heard(7);
        let step = candidate.read(at(1), Some(record("a", 4, "0")));
        assert_eq!(step, Step::Write { term: 8, version: "a40".into() });
    }

    #[test]
    fn a_write_that_took_too_long_gives_nothing() {
        let mut candidate = leader(4, 0);
        assert_eq!(candidate.written(at(3), at(11), record("a", 4, "1")), None);
        assert_eq!(candidate.leads(at(11)), None);
        assert_eq!(candidate.read(at(12), Some(record("a", 4, "1"))), Step::Lost, "it does not come back");
    }

    #[test]
    fn what_is_held_counts_from_when_the_renewal_was_sent() {
        let mut candidate = Candidate::new("a".into(), TERMS);
        assert_eq!(candidate.written(at(1), at(5), record("a", 1, "0")), Some(1));
        assert_eq!(candidate.leads(at(10)), Some(1));
        assert_eq!(candidate.leads(at(11)), None);
    }

    #[test]
    fn failures_are_borne_until_the_deadline() {
        let mut candidate = leader(1, 0);
        assert_eq!(candidate.failed(at(9)), Step::Wait);
        assert_eq!(candidate.failed(at(10)), Step::Lost);
        assert_eq!(
            Candidate::new("b".into(), TERMS).failed(at(100)),
            Step::Wait,
            "who holds nothing loses nothing"
        );
    }

    /// Every interleaving of two replicas' reads, writes, freezes and clock rates over a bounded time: never two leaders.
    #[test]
    fn two_replicas_never_lead_at_once() {
        let terms = Terms { duration: at(4), renew_deadline: at(2), retry: at(1) };
        // In each second each of the two is awake or frozen; its reads and writes reach the server at once or a second later.
        for schedule in 0u32..1 << 16 {
            let mut lease: Option<Record> = None;
            let mut stamp = 0;
            let mut replicas = [Candidate::new("a".into(), terms), Candidate::new("b".into(), terms)];
            let mut last_term = 0;
            for second in 0..24u64 {
                let now = at(second);
                for (index, replica) in replicas.iter_mut().enumerate() {
                    let awake = schedule >> ((second as u32 * 2 + index as u32) % 16) & 1 == 0;
                    if !awake {
                        continue;
                    }
                    let step = replica.read(now, lease.clone());
                    let (Step::Create { term } | Step::Write { term, .. }) = step else { continue };
                    stamp += 1;
                    let version = stamp.to_string();
                    let me = ["a", "b"][index];
                    let written = Record {
                        holder: me.into(),
                        transitions: term,
                        duration: terms.duration,
                        renewed: version.clone(),
                        version,
                    };
                    lease = Some(written.clone());
                    replica.written(now, now, written);
                }
                let leaders: Vec<u64> = replicas.iter().filter_map(|replica| replica.leads(now)).collect();
                assert!(leaders.len() <= 1, "{schedule:b} at {second}: {leaders:?}");
                if let [term] = leaders[..] {
                    assert!(term >= last_term, "{schedule:b} at {second}: term {term} after {last_term}");
                    last_term = term;
                }
            }
        }
    }
}
