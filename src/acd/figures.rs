//! What a queue is measured by, and how long a wait will be.
//!
//! - **Service level**: answered within the aim ÷ (offered − abandoned early), as a share of 1.
//! - **Abandonment**: abandoned, but not early ÷ (offered − abandoned early).
//! - **Occupancy** of a queue's agents now: those at work on contacts ÷ (those and the available ones).
//! - **Occupancy** of an agent of late: [`crate::OCCUPANCY_OVER`].
//! - **Idle since**: when the last contact that an agent had was over, with the work after it; offers do not count.
//! - **Mean wait** of those who were answered, from the time that their wait counts from until the answer, ringing included.
//! - **Mean handling**: from the answer to the end of the work after the contact.
//! - **Expected wait**: `pace.rs` says how it is reckoned.

use std::time::{Duration, Instant};

/// Whoever hangs up so soon dialled wrongly, and counts for nothing.
pub const ABANDONED_EARLY: Duration = Duration::from_secs(5);

/// Minutes that [`Live::recent`] looks back.
const MINUTES: usize = 30;

/// What came of a queue's contacts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Contacts that came to wait.
    pub offered: u64,
    /// Whom an agent answered.
    pub answered: u64,
    /// Those of them within the aim.
    pub answered_in_time: u64,
    /// Who hung up.
    pub abandoned: u64,
    /// Those of them within [`ABANDONED_EARLY`].
    pub abandoned_early: u64,
    /// Who waited as long as they might.
    pub timed_out: u64,
    /// Who went on elsewhere: a callback, another queue, the flow's end, or a queue without agents.
    pub diverted: u64,
    /// Who found the queue full, and did not wait.
    pub full: u64,
    /// Who found no agent signed in, and did not wait.
    pub no_agents: u64,
    /// Offers that rang out.
    pub unanswered: u64,
    /// Offers that were declined.
    pub declined: u64,
    /// Sum of the waits of those who were answered, in milliseconds.
    pub wait_ms: u64,
    /// Contacts that agents are done with.
    pub handled: u64,
    /// Sum of the times for them, with the work after, in milliseconds.
    pub handling_ms: u64,
}

impl Figures {
    /// 0 to 1. None: nobody came who did not hang up early.
    #[must_use]
    pub fn service_level(&self) -> Option<f64> {
        ratio(self.answered_in_time, self.offered.saturating_sub(self.abandoned_early))
    }

    /// 0 to 1. None: nobody came who did not hang up early.
    #[must_use]
    pub fn abandonment(&self) -> Option<f64> {
        let late = self.abandoned.saturating_sub(self.abandoned_early);
        ratio(late, self.offered.saturating_sub(self.abandoned_early))
    }

    /// Mean wait of those who were answered. None: nobody was.
    #[must_use]
    pub fn mean_wait(&self) -> Option<Duration> {
        self.wait_ms.checked_div(self.answered).map(Duration::from_millis)
    }

    /// Mean time for a contact, with the work after. None: no agent is done with any.
    #[must_use]
    pub fn mean_handling(&self) -> Option<Duration> {
        self.handling_ms.checked_div(self.handled).map(Duration::from_millis)
    }

    /// Of two times or places together.
    pub const fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.answered += other.answered;
        self.answered_in_time += other.answered_in_time;
        self.abandoned += other.abandoned;
        self.abandoned_early += other.abandoned_early;
        self.timed_out += other.timed_out;
        self.diverted += other.diverted;
        self.full += other.full;
        self.no_agents += other.no_agents;
        self.unanswered += other.unanswered;
        self.declined += other.declined;
        self.wait_ms += other.wait_ms;
        self.handled += other.handled;
        self.handling_ms += other.handling_ms;
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A queue at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// Contacts that wait, those that are offered just now among them.
    pub waiting: u32,
    /// How long the first of them has waited.
    pub longest_wait: Option<Duration>,
    /// Agents signed in who serve it.
    pub signed_in: u32,
    /// Those of them who wait for a contact.
    pub available: u32,
    /// Those of them at work on contacts, of this queue or another.
    pub busy: u32,
    /// 0 to 1. None: nobody is available or at work.
    pub occupancy: Option<f64>,
    /// How long a voice contact that came now would wait, were it of the queue's own priority. None: not known yet.
    pub expected_wait: Option<Duration>,
    /// Since the floor began.
    pub total: Figures,
    /// Of the last half hour.
    pub recent: Figures,
}

/// Figures in total and by the minute.
#[derive(Debug)]
pub(crate) struct Counted {
    began: Instant,
    total: Figures,
    minutes: Vec<(u64, Figures)>,
}

impl Counted {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { began: now, total: Figures { ..ZERO }, minutes: Vec::new() }
    }

    fn minute(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / 60
    }

    pub(crate) fn count(&mut self, now: Instant, change: impl Fn(&mut Figures)) {
        let minute = self.minute(now);
        change(&mut self.total);
        if self.minutes.is_empty() {
            self.minutes = vec![(0, ZERO); MINUTES];
        }
        let slot = usize::try_from(minute).unwrap_or(0) % MINUTES;
        if let Some((held, figures)) = self.minutes.get_mut(slot) {
            if *held != minute {
                (*held, *figures) = (minute, ZERO);
            }
            change(figures);
        }
    }

    pub(crate) const fn total(&self) -> Figures {
        self.total
    }

    pub(crate) fn recent(&self, now: Instant) -> Figures {
        let minute = self.minute(now);
        let mut sum = ZERO;
        for (held, figures) in &self.minutes {
            if held + MINUTES as u64 > minute {
                sum.add(figures);
            }
        }
        sum
    }
}

const ZERO: Figures = Figures {
    offered: 0,
    answered: 0,
    answered_in_time: 0,
    abandoned: 0,
    abandoned_early: 0,
    timed_out: 0,
    diverted: 0,
    full: 0,
    no_agents: 0,
    unanswered: 0,
    declined: 0,
    wait_ms: 0,
    handled: 0,
    handling_ms: 0,
};
