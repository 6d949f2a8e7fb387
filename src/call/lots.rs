//! What is drawn by lot, from a seed alone.

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): equal seeds, equal lots. Each number
/// is as likely as any other, to within a part in 10^17.
#[derive(Debug, Clone)]
pub struct Lots {
    state: u64,
    /// What every number of a hundred is. None: as it comes.
    percent: Option<u8>,
}

impl Lots {
    /// From any number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed, percent: None }
    }

    /// The same, but that [`Lots::percent`] is this number: in worlds that are made up.
    #[must_use]
    pub const fn with_percent(self, percent: Option<u8>) -> Self {
        Self { percent, ..self }
    }

    /// A number below 100.
    pub const fn percent(&mut self) -> u8 {
        match self.percent {
            Some(percent) => percent,
            None => self.below(100) as u8,
        }
    }

    /// Any number.
    pub const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut lot = self.state;
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        lot ^ (lot >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let lot = self.draw();
        if bound == 0 { 0 } else { lot % bound }
    }

    /// A number between the two, both included.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Sorts by priority, lowest first, and those of one priority by lots, in which each has as many tickets as its
    /// weight says (RFC 2782, "Usage rules"). One of weight 0 comes first only as often as can be told from never.
    pub fn order<T>(&mut self, items: Vec<(u16, u16, T)>) -> Vec<T> {
        let mut rest: Vec<(u16, u16, T)> = items;
        // The RFC puts those of weight 0 before the others of their priority.
        rest.sort_by_key(|(priority, weight, _)| (*priority, *weight != 0));
        let mut ordered = Vec::with_capacity(rest.len());
        while let Some((best, ..)) = rest.first() {
            let equal = rest.iter().take_while(|(priority, ..)| priority == best).count();
            let sum: u64 = rest[..equal].iter().map(|(_, weight, _)| u64::from(*weight)).sum();
            let chosen =
                if sum == 0 { self.below(equal as u64) as usize } else { self.ticket(&rest[..equal], sum) };
            ordered.push(rest.remove(chosen).2);
        }
        ordered
    }

    /// The place of the one that has the ticket drawn.
    fn ticket<T>(&mut self, equals: &[(u16, u16, T)], sum: u64) -> usize {
        let ticket = self.between(0, sum);
        let mut running = 0;
        let chosen = equals.iter().position(|(_, weight, _)| {
            running += u64::from(*weight);
            running >= ticket
        });
        chosen.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_priority_comes_first_whatever_the_weights() {
        let items = || vec![(2, 60_000, 'c'), (1, 0, 'a'), (1, 1, 'b')];
        for seed in 0..200 {
            let ordered = Lots::new(seed).order(items());
            assert_eq!(ordered[2], 'c', "{seed}");
        }
    }

    #[test]
    fn equals_come_first_as_often_as_their_weights_say() {
        let mut lots = Lots::new(7);
        let mut first = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            let ordered = lots.order(vec![(0, 10, 'a'), (0, 30, 'b'), (0, 60, 'c'), (0, 0, 'z')]);
            assert_eq!(ordered.len(), 4);
            *first.entry(ordered[0]).or_insert(0) += 1;
        }
        for (name, least, most) in [('a', 800, 1_200), ('b', 2_700, 3_300), ('c', 5_600, 6_400)] {
            assert!((least..=most).contains(&first[&name]), "{name}: {first:?}");
        }
        assert!((1..=250).contains(&first[&'z']), "{first:?}");
    }

    #[test]
    fn without_weights_each_is_as_likely() {
        let mut lots = Lots::new(9);
        let mut first = std::collections::BTreeMap::new();
        for _ in 0..3_000 {
            *first.entry(lots.order(vec![(0, 0, 'a'), (0, 0, 'b'), (0, 0, 'c')])[0]).or_insert(0) += 1;
        }
        assert!(first.values().all(|times| (850..=1_150).contains(times)), "{first:?}");
    }
}
