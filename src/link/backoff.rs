//! When to try again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);

/// Waits that double, each between half and the whole of its length: pods that lost one peer at one time do not come
/// back at one time.
#[derive(Debug)]
pub struct Backoff {
    random: u64,
    attempt: u32,
}

impl Backoff {
    /// Equal seeds give equal waits.
    pub const fn new(seed: u64) -> Self {
        Self { random: seed, attempt: 0 }
    }

    /// All is well: the next wait is the shortest.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// How long to wait before the next attempt.
    pub fn next(&mut self) -> Duration {
        let whole = LAST.min(FIRST * 2_u32.pow(self.attempt.min(16)));
        self.attempt = self.attempt.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64((self.random() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// SplitMix64.
    pub const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_differ_by_seed() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(2));
        let mut whole = FIRST;
        for _ in 0..40 {
            let (a, b) = (one.next(), other.next());
            assert!(a >= whole / 2 && a <= whole && a != b, "{a:?} {b:?} {whole:?}");
            whole = LAST.min(whole * 2);
        }
        one.reset();
        assert!(one.next() <= FIRST);
    }
}
