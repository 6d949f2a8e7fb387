//! How busy an agent has been of late.
//!
//! Occupancy is an average of "busy or not" that forgets exponentially: while busy it goes to 1, while idle to 0, by a factor
//! of e in [`OCCUPANCY_OVER`]. So all idle agents' values shrink alike, and their order cannot change while they are idle:
//! that is what makes a sorted set of them possible.

use std::time::{Duration, Instant};

/// What lies so far back counts for 1/e of what is now.
pub const OCCUPANCY_OVER: Duration = Duration::from_mins(30);

/// An agent's share of busy time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occupancy {
    value: f64,
    at: Instant,
    busy: bool,
}

impl Occupancy {
    /// Of who has just come.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { value: 0.0, at: now, busy: false }
    }

    /// From now on.
    pub(crate) fn set(&mut self, busy: bool, now: Instant) {
        if self.busy != busy {
            self.value = self.at(now);
            self.at = now;
            self.busy = busy;
        }
    }

    /// 0 to 1.
    pub(crate) fn at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).div_duration_f64(OCCUPANCY_OVER);
        let kept = (-passed).exp();
        if self.busy { 1.0 - (1.0 - self.value) * kept } else { self.value * kept }
    }

    /// Orders idle agents, the least occupied first, whatever the time: the logarithm of what the value would have been at
    /// `epoch`, in millionths.
    pub(crate) fn rank(&self, epoch: Instant) -> i64 {
        if self.value <= 0.0 {
            return i64::MIN;
        }
        // While idle, value × e^(time since) stays as it is.
        let since = self.at.saturating_duration_since(epoch).div_duration_f64(OCCUPANCY_OVER);
        ((self.value.ln() + since) * 1e6) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
    fn the_order_of_idle_agents_does_not_change_with_time() {
        let epoch = Instant::now();
        let after = |seconds| epoch + Duration::from_secs(seconds);
        let worked = |from, until| {
            let mut occupancy = Occupancy::new(epoch);
            occupancy.set(true, after(from));
            occupancy.set(false, after(until));
            occupancy
        };
        let agents = [worked(0, 600), worked(500, 900), worked(1_000, 1_100), Occupancy::new(epoch)];
        let mut by_rank = [0, 1, 2, 3];
        by_rank.sort_by_key(|agent| agents[*agent].rank(epoch));
        for later in [1_200, 2_000, 10_000] {
            let mut by_value = [0, 1, 2, 3];
            by_value.sort_by(|a, b| agents[*a].at(after(later)).total_cmp(&agents[*b].at(after(later))));
            assert_eq!(by_rank, by_value, "after {later} s");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
    fn who_is_busy_all_the_time_is_occupied() {
        let epoch = Instant::now();
        let mut occupancy = Occupancy::new(epoch);
        occupancy.set(true, epoch);
        assert!(occupancy.at(epoch + OCCUPANCY_OVER * 10) > 0.999);
        assert!((occupancy.at(epoch + OCCUPANCY_OVER) - 0.632).abs() < 0.001);
    }
}
