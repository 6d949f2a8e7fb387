//! When an endpoint is to be woken, soonest first.
//!
//! Most wake-ups end a transaction that only absorbs copies, 64·T1 after its response (RFC 3261 §17): they come in the order
//! of their times, tens of thousands under load, and wait in a queue without being sorted. The others wait in a heap.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Instant,
};

use super::{Sleeper, Wake};

/// When, whom, and what for.
pub type WakeUp = (Instant, Sleeper, Wake);

/// See the module.
#[derive(Debug, Default)]
pub struct Wakes {
    queue: VecDeque<WakeUp>,
    heap: BinaryHeap<Reverse<WakeUp>>,
}

impl Wakes {
    /// Makes room for so many.
    pub fn reserve(&mut self, count: usize) {
        self.queue.reserve(count);
    }

    /// Adds one.
    pub fn push(&mut self, wake_up: WakeUp) {
        // What may be hours off would keep all after it out of the queue.
        let is_short = matches!(wake_up.1, Sleeper::Transaction(_));
        if is_short && self.queue.back().is_none_or(|last| *last <= wake_up) {
            self.queue.push_back(wake_up);
        } else {
            self.heap.push(Reverse(wake_up));
        }
    }

    /// The soonest.
    pub fn peek(&self) -> Option<WakeUp> {
        let sorted = self.heap.peek().map(|Reverse(wake_up)| wake_up);
        [self.queue.front(), sorted].into_iter().flatten().min().copied()
    }

    /// Takes the soonest.
    pub fn pop(&mut self) -> Option<WakeUp> {
        let first = self.peek()?;
        if self.queue.front() == Some(&first) {
            return self.queue.pop_front();
        }
        self.heap.pop().map(|Reverse(wake_up)| wake_up)
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.queue.len() + self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::LegId;

    use super::*;

    #[test]
    fn they_come_in_the_order_of_their_times() {
        #[expect(clippy::disallowed_methods, reason = "the one clock of the test")]
        let start = Instant::now();
        let mut wakes = Wakes::default();
        let mut seconds: Vec<u64> = (0..200).map(|place| place * 7_919 % 211).collect();
        for (place, second) in seconds.iter().enumerate() {
            let sleeper = match place % 3 {
                0 => Sleeper::Leg(LegId(place as u64)),
                _ => Sleeper::Transaction(place as u64),
            };
            wakes.push((start + Duration::from_secs(*second), sleeper, Wake::Undecided));
        }
        seconds.sort_unstable();
        assert_eq!(wakes.len(), seconds.len());
        for second in seconds {
            let (at, ..) = wakes.pop().unwrap();
            assert_eq!(at.duration_since(start).as_secs(), second);
        }
        assert!(wakes.pop().is_none());
    }
}
