//! How late packets come, against the one that came soonest.

/// Width of the distribution's steps, in microseconds, and their number.
const STEP: i64 = 5_000;
const STEPS: usize = 100;
/// Share of the packets that the target waits for.
const SHARE: f32 = 0.98;
/// The distribution is that of some so many packets: 5 s at 20 ms.
const MEMORY: f32 = 250.0;
/// The least transit is that of one to two such windows, so that a drift of clocks is followed. In microseconds.
const WINDOW: i64 = 5_000_000;

/// Delays of one source.
#[derive(Debug)]
pub(super) struct Delays {
    min: i64,
    max: i64,
    /// Least transit of this window, and of the one before.
    least: Option<(i64, i64)>,
    window_end: i64,
    /// Share of the packets per step of relative delay. Boxed: a leg that is only relayed has none.
    shares: Option<Box<[f32; STEPS]>>,
    packets: f32,
    target: i64,
}

impl Delays {
    pub(super) fn new(min_ms: u32, max_ms: u32) -> Self {
        let (min, max) = (i64::from(min_ms) * 1_000, i64::from(max_ms) * 1_000);
        Self { min, max: max.max(min), least: None, window_end: 0, shares: None, packets: 0.0, target: min }
    }

    /// Takes a packet's arrival and its place in the stream, both in microseconds from any beginning.
    pub(super) fn receive(&mut self, arrival: i64, media: i64) {
        let transit = arrival - media;
        let (now, before) = match self.least {
            None => {
                self.window_end = arrival + WINDOW;
                (transit, transit)
            }
            Some((now, _)) if arrival >= self.window_end => {
                self.window_end = arrival + WINDOW;
                (transit, now)
            }
            Some((now, before)) => (now.min(transit), before),
        };
        self.least = Some((now, before));
        let step = usize::try_from((transit - now.min(before)) / STEP).unwrap_or(0).min(STEPS - 1);
        self.packets = (self.packets + 1.0).min(MEMORY);
        let weight = 1.0 / self.packets;
        let shares = self.shares.get_or_insert_with(|| Box::new([0.0; STEPS]));
        for share in shares.iter_mut() {
            *share *= 1.0 - weight;
        }
        shares[step] += weight;
        let mut sum = 0.0;
        let within = shares.iter().position(|share| {
            sum += share;
            sum >= SHARE
        });
        let delay = (within.unwrap_or(STEPS - 1) as i64 + 1) * STEP;
        self.target = delay.clamp(self.min, self.max);
    }

    /// Of a source that is gone, nothing is of use for the next one but how much its way jitters.
    pub(super) fn forget(&mut self) {
        self.least = None;
    }

    pub(super) fn least(&self) -> Option<i64> {
        self.least.map(|(now, before)| now.min(before))
    }

    pub(super) const fn target(&self) -> i64 {
        self.target
    }

    pub(super) const fn most(&self) -> i64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_ms(relative: impl Iterator<Item = i64>) -> i64 {
        let mut delays = Delays::new(20, 200);
        for (place, relative) in (0..).zip(relative) {
            delays.receive(place * 20_000 + relative * 1_000, place * 20_000);
        }
        delays.target() / 1_000
    }

    #[test]
    fn the_target_is_what_nearly_all_arrive_within() {
        assert_eq!(target_ms((0..500).map(|_| 0)), 20);
        assert_eq!(target_ms((0..500).map(|place| place % 10 * 5)), 50);
        assert_eq!(target_ms((0..500).map(|place| if place % 100 == 99 { 150 } else { 0 })), 20);
        assert_eq!(target_ms((0..500).map(|place| if place % 20 == 19 { 100 } else { 0 })), 105);
        assert_eq!(target_ms((0..500).map(|place| place % 5 * 100)), 200);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let jittered = (0..500).map(|place| place % 10 * 10);
        assert_eq!(target_ms(jittered.chain((0..1_500).map(|_| 0))), 20);
        // A clock that runs 200 parts per million slow is no jitter.
        assert_eq!(target_ms((0..5_000).map(|place| place * 4 / 1_000)), 20);
    }
}
