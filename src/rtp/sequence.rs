//! Sequence numbers: which packets are valid, how many were to be expected, how many were lost (RFC 3550 A.1, A.3).
//!
//! A telephone's first packet counts at once: `Sequence::new` takes it as valid where A.1 has a probation of two,
//! since its source address has been checked against the session description already.

/// A jump ahead up to this is loss (A.1 `MAX_DROPOUT`).
pub const DROPOUT_MAX: u16 = 3_000;
/// A packet up to this late is reordered, not new (A.1 `MAX_MISORDER`).
pub const MISORDER_MAX: u16 = 100;

/// The sequence of one source.
#[derive(Debug, Clone)]
pub struct Sequence {
    highest: u16,
    cycles: u32,
    base: u32,
    /// The one that would prove a restart: 2^16 means none.
    restart: u32,
    received: u64,
    expected_before: u64,
    expected_prior: u64,
    received_prior: u64,
}

/// What a sequence number tells of its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newer than all before; `gap` packets between them have not come (yet).
    Newer {
        /// How many are missing in between.
        gap: u16,
    },
    /// Late or a duplicate.
    Older,
    /// Far off: discard it. If the next one follows it, the source has restarted.
    Invalid,
    /// The source has restarted with new numbers; this is its second packet.
    Restarted,
}

/// What a reception report tells of a source (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Lost since the report before, in 256ths of those expected.
    pub fraction_lost: u8,
    /// Lost since the beginning, limited to 24 bits with sign.
    pub cumulative_lost: i32,
    /// Cycles and highest sequence number.
    pub extended_highest: u32,
}

impl Sequence {
    /// Begins with a source's first packet, which is counted.
    #[must_use]
    pub const fn new(first: u16) -> Self {
        Self {
            highest: first,
            cycles: 0,
            base: first as u32,
            restart: 1 << 16,
            received: 1,
            expected_before: 0,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    /// Takes the next packet's number.
    pub fn receive(&mut self, sequence: u16) -> Order {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead == 0 || ahead > u16::MAX - MISORDER_MAX {
            self.received += 1;
            return Order::Older;
        }
        if ahead < DROPOUT_MAX {
            if sequence < self.highest {
                self.cycles = self.cycles.wrapping_add(1 << 16);
            }
            self.highest = sequence;
            self.received += 1;
            return Order::Newer { gap: ahead - 1 };
        }
        if u32::from(sequence) == self.restart {
            self.restart_at(sequence);
            return Order::Restarted;
        }
        self.restart = u32::from(sequence.wrapping_add(1));
        Order::Invalid
    }

    /// Packets that should have come since the first.
    #[must_use]
    pub const fn expected(&self) -> u64 {
        self.expected_before + (self.extended_highest().wrapping_sub(self.base)) as u64 + 1
    }

    /// Packets that have come, duplicates included.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Packets lost; never negative, though duplicates can hide a loss.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Cycles and highest sequence number received.
    #[must_use]
    pub const fn extended_highest(&self) -> u32 {
        self.cycles.wrapping_add(self.highest as u32)
    }

    /// Figures for a reception report; the interval of `fraction_lost` begins anew.
    pub fn report(&mut self) -> Report {
        let expected = self.expected();
        let expected_interval = expected - self.expected_prior;
        let received_interval = self.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        let lost = expected.cast_signed().saturating_sub(self.received.cast_signed());
        Report {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(lost.clamp(-0x80_0000, 0x7f_ffff)).unwrap_or(0),
            extended_highest: self.extended_highest(),
        }
    }

    fn restart_at(&mut self, sequence: u16) {
        self.expected_before = self.expected();
        self.highest = sequence;
        self.cycles = 0;
        self.base = u32::from(sequence);
        self.restart = 1 << 16;
        self.received += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(numbers: &[u16]) -> (Sequence, Vec<Order>) {
        let mut sequence = Sequence::new(numbers[0]);
        let orders = numbers[1..].iter().map(|&number| sequence.receive(number)).collect();
        (sequence, orders)
    }

    #[test]
    fn loss_is_counted_as_the_rfc_does() {
        let table: [(&str, &[u16], u64, u64); 7] = [
            ("one packet", &[5], 1, 0),
            ("in order", &[5, 6, 7], 3, 0),
            ("one lost", &[5, 7], 3, 1),
            ("lost, then late", &[5, 7, 6], 3, 0),
            ("over the wrap", &[65_534, 65_535, 0, 2], 5, 1),
            ("duplicate hides no more than one", &[5, 6, 6, 8], 4, 0),
            ("restart", &[5, 6, 40_000, 40_001, 40_002], 4, 0),
        ];
        for (what, numbers, expected, lost) in table {
            let (sequence, _) = after(numbers);
            assert_eq!((sequence.expected(), sequence.lost()), (expected, lost), "{what}");
        }
    }

    #[test]
    fn a_far_jump_is_discarded_until_its_successor_proves_a_restart() {
        let (_, orders) = after(&[5, 40_000, 6, 50_000, 50_001, 50_002]);
        let newer = Order::Newer { gap: 0 };
        assert_eq!(orders, [Order::Invalid, newer, Order::Invalid, Order::Restarted, newer]);
    }

    #[test]
    fn the_highest_number_counts_its_cycles() {
        let (sequence, _) = after(&[65_535, 0, 1]);
        assert_eq!(sequence.extended_highest(), 0x1_0001);
    }

    #[test]
    fn a_report_tells_the_fraction_since_the_last_one() {
        let (mut sequence, _) = after(&[0, 1, 3]);
        let first = sequence.report();
        assert_eq!((first.fraction_lost, first.cumulative_lost), (64, 1));
        sequence.receive(4);
        let second = sequence.report();
        assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 1));
        assert_eq!(sequence.report().fraction_lost, 0);
    }

    proptest! {
        #[test]
        fn any_numbers_are_counted(numbers in prop::collection::vec(any::<u16>(), 1..500)) {
            let (mut sequence, _) = after(&numbers);
            prop_assert!(sequence.received() <= numbers.len() as u64);
            sequence.report();
        }
    }
}
