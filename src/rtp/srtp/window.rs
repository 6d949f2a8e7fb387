//! Which of the last packets have been (RFC 3711 §3.3.2).

/// Packets that the window reaches back.
pub const WIDTH: u64 = 128;

/// The highest index and what was taken of those before it.
#[derive(Debug, Clone)]
pub struct Window {
    highest: u64,
    /// Bit n: `highest - n` was taken.
    taken: u128,
}

impl Window {
    /// Begins with an index that is taken.
    pub const fn new(index: u64) -> Self {
        Self { highest: index, taken: 1 }
    }

    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether an index is neither taken nor out of reach.
    pub const fn accepts(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        let back = self.highest - index;
        back < WIDTH && self.taken & (1 << back) == 0
    }

    /// Takes an index that is accepted.
    pub const fn take(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.taken = if ahead < WIDTH { self.taken << ahead | 1 } else { 1 };
            self.highest = index;
        } else if self.highest - index < WIDTH {
            self.taken |= 1 << (self.highest - index);
        }
    }
}
