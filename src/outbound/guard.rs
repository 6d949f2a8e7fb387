//! How often a service may be asked: so many times a second, and not at all for a while when it fails again and again.
//!
//! Pure: time comes from outside, as the time since some moment.

use std::time::Duration;

/// Failures one after another that open the circuit.
pub const FAILURES_MAX: u32 = 5;
/// How long it stays open the first time, and at most; each attempt that fails doubles it.
pub const OPEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// One request, in the unit that the bucket is filled by each microsecond.
const REQUEST: u64 = 1_000_000;

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// There were as many as may be.
    #[error("more than {0} requests in a second: `callsPerSecond` bounds them")]
    TooMany(u32),
    /// It has failed again and again.
    #[error("it has failed {FAILURES_MAX} times one after another and is left alone for a while")]
    Open,
}

/// What one service may be asked.
#[derive(Debug, Clone)]
pub struct Guard {
    per_second_max: u32,
    bucket: u64,
    filled: Duration,
    circuit: Circuit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circuit {
    /// So many failures one after another.
    Closed(u32),
    /// Until when, and how long that was.
    Open(Duration, Duration),
    /// One request finds out whether it is well again; how long it was left alone before.
    Trying(Duration),
}

impl Guard {
    /// For so many requests a second, at least one.
    #[must_use]
    pub fn new(per_second_max: u32, now: Duration) -> Self {
        let per_second_max = per_second_max.max(1);
        Self {
            per_second_max,
            bucket: u64::from(per_second_max) * REQUEST,
            filled: now,
            circuit: Circuit::Closed(0),
        }
    }

    /// Asks for a request. [`Guard::ended`] must follow once, if it may be sent.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(&mut self, now: Duration) -> Result<(), Denied> {
        let next = match self.circuit {
            Circuit::Open(until, wait) if now >= until => Circuit::Trying(wait),
            Circuit::Open(..) | Circuit::Trying(_) => return Err(Denied::Open),
            Circuit::Closed(failures) => Circuit::Closed(failures),
        };
        let elapsed = u64::try_from(now.saturating_sub(self.filled).as_micros()).unwrap_or(u64::MAX);
        let rate = u64::from(self.per_second_max);
        self.bucket = self.bucket.saturating_add(elapsed.saturating_mul(rate)).min(rate * REQUEST);
        self.filled = self.filled.max(now);
        self.bucket = self.bucket.checked_sub(REQUEST).ok_or(Denied::TooMany(self.per_second_max))?;
        self.circuit = next;
        Ok(())
    }

    /// A request that was admitted has ended.
    pub fn ended(&mut self, now: Duration, good: bool) {
        if good {
            self.circuit = Circuit::Closed(0);
            return;
        }
        self.circuit = match self.circuit {
            Circuit::Closed(failures) if failures + 1 < FAILURES_MAX => Circuit::Closed(failures + 1),
            Circuit::Closed(_) => Circuit::Open(now + OPEN.0, OPEN.0),
            Circuit::Trying(wait) => {
                let wait = (wait * 2).min(OPEN.1);
                Circuit::Open(now + wait, wait)
            }
            // Of a request that began before.
            open @ Circuit::Open(..) => open,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn no_second_has_more_requests_than_may_be() {
        let mut guard = Guard::new(3, at(0));
        assert_eq!([0, 1, 2, 3].map(|ms| guard.admit(at(ms)).is_ok()), [true, true, true, false]);
        assert_eq!(guard.admit(at(100)), Err(Denied::TooMany(3)));
        assert_eq!(guard.admit(at(340)), Ok(()));
        assert_eq!(guard.admit(at(350)), Err(Denied::TooMany(3)));
        // An hour without requests saves up no more than a second's.
        let later = 3_600_000;
        assert_eq!((0..9).filter(|_| guard.admit(at(later)).is_ok()).count(), 3);
    }

    #[test]
    fn a_service_that_fails_is_left_alone_longer_and_longer_until_it_answers() {
        let mut guard = Guard::new(1_000, at(0));
        for _ in 0..FAILURES_MAX {
            guard.admit(at(0)).unwrap();
            guard.ended(at(0), false);
        }
        assert_eq!(guard.admit(at(999)), Err(Denied::Open));
        guard.admit(at(1_000)).unwrap();
        assert_eq!(guard.admit(at(1_000)), Err(Denied::Open), "one is enough to find out");
        guard.ended(at(1_000), false);
        assert_eq!(guard.admit(at(2_999)), Err(Denied::Open));
        guard.admit(at(3_000)).unwrap();
        guard.ended(at(3_000), true);
        assert_eq!(guard.admit(at(3_000)), Ok(()));
        guard.ended(at(3_000), false);
        assert_eq!(guard.admit(at(3_000)), Ok(()), "one failure is none");
    }

    #[test]
    fn it_is_never_left_alone_for_more_than_half_a_minute() {
        let mut guard = Guard::new(1_000, at(0));
        let mut now = at(0);
        for _ in 0..100 {
            if guard.admit(now).is_ok() {
                guard.ended(now, false);
            }
            now += OPEN.1;
        }
        assert_eq!(guard.admit(now), Ok(()));
    }
}
