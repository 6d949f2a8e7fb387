//! How long a wait will still be: for announcements and `/api/v1/queues`.
//!
//! For each queue and channel is known, at the cost of a few additions for each contact:
//! - **Work**: seconds that the agents who take contacts there spend, all together, from one offer to the next while somebody
//!   waits. With all of c agents busy for a mean time h this is h, whatever c is: so when agents come, go or take a break, what
//!   is expected follows at once. Where agents serve other queues too it is more, by what those take of them. It is the mean
//!   of the first [`MEMORY`] offers and an average after that in which the newest counts one part in as many. Offers to whom
//!   nobody had to wait for tell nothing and do not count; time in which the last one hung up goes on to the next offer.
//! - **Impatience**: contacts that hung up ÷ seconds waited by all, which is the maximum likelihood estimate of the rate at which
//!   somebody who waits hangs up (exponential patience). [`CALM`] of waiting without anybody hanging up are taken for granted.
//! - **Ringing**: how long agents ring until they answer.
//!
//! With k contacts ahead, r = agents ÷ work and impatience θ the wait is expected to be Σ 1 ÷ (r + iθ) for i from 0 to k, and the
//! ringing: each step ends when an agent is free, or when one of those ahead hangs up. Without impatience that is (k + 1) ÷ r.
//! Before any offer is known the queue's mean handling stands for the work.
//!
//! What it cannot know: contacts of higher priority that come later, and agents who will be good enough only once the contact
//! has waited longer.

use std::time::{Duration, Instant};

/// Offers that are remembered. A contact at place k waits for k + 1 random times, whose sum is off by 1/√(k + 1) anyway; but lines
/// are long where the last times were long by chance, and few of them would be expected to go on so.
pub(crate) const MEMORY: u32 = 128;

/// Contacts that are remembered for their patience.
const PATIENCE_MEMORY: f64 = 256.0;

/// So much waiting in which nobody hung up.
const CALM: Duration = Duration::from_mins(10);

/// Steps that are added one by one; the rest is an integral.
const EXACT: usize = 8;

/// Longest wait that is told of.
const LONGEST: Duration = Duration::from_hours(24);

/// An average that remembers so many values.
#[derive(Debug, Clone, Copy, Default)]
struct Average {
    value: f64,
    count: u32,
}

impl Average {
    fn add(&mut self, value: f64) {
        self.count = (self.count + 1).min(MEMORY);
        self.value += (value - self.value) / f64::from(self.count);
    }

    fn get(&self) -> Option<f64> {
        (self.count > 0).then_some(self.value)
    }
}

/// Since when somebody waits.
#[derive(Debug, Clone, Copy)]
struct Since {
    at: Instant,
    /// Whether nobody waited at that time but one who had just come.
    begins: bool,
}

/// How the line of a queue and channel moves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    work: Average,
    ringing: Average,
    /// None: nobody waits.
    since: Option<Since>,
    /// Work since the last offer, up to `since`.
    carried: f64,
    hung_up: f64,
    waited: f64,
}

impl Pace {
    /// Somebody waits where nobody did.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since = self.since.or(Some(Since { at: now, begins: true }));
    }

    /// So many agents take contacts up to now; from here on it may be another number.
    pub(crate) fn pass(&mut self, agents: u32, now: Instant) {
        if let Some(since) = self.since.filter(|since| since.at < now) {
            self.carried += now.saturating_duration_since(since.at).as_secs_f64() * f64::from(agents);
            self.since = Some(Since { at: now, begins: false });
        }
    }

    /// Somebody who waited is offered; `more` still wait.
    pub(crate) fn offered(&mut self, more: bool, agents: u32, now: Instant) {
        let has_just_come = self.since.is_none_or(|since| since.begins && since.at == now);
        if !has_just_come {
            self.pass(agents, now);
            self.work.add(std::mem::take(&mut self.carried));
        }
        self.since = more.then_some(Since { at: now, begins: false });
    }

    /// Nobody waits any more.
    pub(crate) fn end(&mut self, agents: u32, now: Instant) {
        self.pass(agents, now);
        self.since = None;
    }

    /// A contact waits no more.
    pub(crate) fn left(&mut self, waited: Duration, hung_up: bool) {
        let kept = 1.0 - 1.0 / PATIENCE_MEMORY;
        self.waited = self.waited * kept + waited.as_secs_f64();
        self.hung_up = self.hung_up * kept + f64::from(u8::from(hung_up));
    }

    /// An agent has answered what was offered so long ago.
    pub(crate) fn answered(&mut self, after: Duration) {
        self.ringing.add(after.as_secs_f64());
    }

    /// How long an offer rings.
    pub(crate) fn rings(&self) -> Duration {
        Duration::from_secs_f64(self.ringing.get().unwrap_or(0.0))
    }

    /// How long a contact will wait that has so many ahead. None: nothing is known yet, or no agent takes contacts.
    pub(crate) fn expected(&self, ahead: usize, agents: u32, handling: Option<Duration>) -> Option<Duration> {
        let work = self.work.get().or_else(|| handling.map(|time| time.as_secs_f64()))?;
        if agents == 0 {
            return None;
        }
        let step = work / f64::from(agents);
        let impatience = self.hung_up / (self.waited + CALM.as_secs_f64());
        let seconds = steps(ahead, step, impatience) + self.ringing.get().unwrap_or(0.0);
        Some(Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())))
    }
}

/// Σ 1 ÷ (1/step + iθ) for i from 0 to `ahead`.
fn steps(ahead: usize, step: f64, impatience: f64) -> f64 {
    // In steps: how many of those who wait hang up in one.
    let leave = step * impatience;
    if leave <= 0.0 {
        return step * (ahead + 1) as f64;
    }
    let exact: f64 = (0..=ahead.min(EXACT - 1)).map(|place| step / (1.0 + place as f64 * leave)).sum();
    if ahead < EXACT {
        return exact;
    }
    let at = |place: f64| 1.0 + place * leave;
    exact + step / leave * (at(ahead as f64 + 0.5) / at(EXACT as f64 - 0.5)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_steps_is_what_it_says() {
        for (ahead, step, impatience) in
            [(0, 5.0, 0.0), (3, 5.0, 0.01), (40, 12.0, 0.005), (5_000, 0.5, 0.02), (90, 60.0, 0.1)]
        {
            let sum: f64 = (0..=ahead).map(|place| 1.0 / (1.0 / step + f64::from(place) * impatience)).sum();
            let found = steps(ahead as usize, step, impatience);
            assert!((found / sum - 1.0).abs() < 0.01, "{ahead} ahead: {found}, not {sum}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
    fn who_had_not_to_wait_says_nothing_of_the_pace() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.begin(began);
        pace.offered(false, 4, began);
        assert_eq!(pace.expected(0, 4, None), None);
        pace.begin(after(10));
        pace.offered(true, 4, after(40));
        // Two agents go at half the time.
        pace.pass(4, after(50));
        pace.offered(false, 2, after(70));
        assert_eq!(pace.expected(0, 4, None), Some(Duration::from_secs(25)), "120 and 80 seconds of work");
        assert_eq!(pace.expected(1, 10, None), Some(Duration::from_secs(20)), "more agents, less time");
        assert_eq!(pace.expected(1, 0, None), None, "nobody there");
    }
}
