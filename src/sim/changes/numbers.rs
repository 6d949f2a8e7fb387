//! Numbers of two configurations, cut into ranges within which all are treated alike.

use std::collections::BTreeSet;

use expr::Test;
use model::{E164, NumberId, TrunkId, snapshot::NumberRange};

use super::Side;

/// A live range on one side.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Which cluster of its side.
    pub world: usize,
    /// What delivers it.
    pub trunk: &'a TrunkId,
    /// The range; it may reach further than the segment.
    pub range: &'a NumberRange,
}

/// Numbers in a row that are of the same ranges on both sides.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    /// First number.
    pub first: E164,
    /// Last number.
    pub last: E164,
    /// Ranges that hold them before.
    pub old: Vec<Entry<'a>>,
    /// Ranges that hold them after.
    pub new: Vec<Entry<'a>>,
}

impl<'a> Segment<'a> {
    /// What was live and what is, by trunk; what is left on both sides has moved from trunk to trunk.
    #[must_use]
    pub fn pairs(&self) -> Vec<(Option<&Entry<'a>>, Option<&Entry<'a>>)> {
        let on = |entries: &'_ [Entry<'a>], trunk: &TrunkId| entries.iter().any(|entry| entry.trunk == trunk);
        let mut pairs = Vec::new();
        for old in &self.old {
            if let Some(new) = self.new.iter().find(|new| new.trunk == old.trunk) {
                pairs.push((Some(old), Some(new)));
            }
        }
        let mut gone = self.old.iter().filter(|entry| !on(&self.new, entry.trunk));
        let mut came = self.new.iter().filter(|entry| !on(&self.old, entry.trunk));
        loop {
            match (gone.next(), came.next()) {
                (None, None) => return pairs,
                pair => pairs.push(pair),
            }
        }
    }

    /// PhoneNumber objects on either side.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<NumberId> {
        self.old.iter().chain(&self.new).map(|entry| entry.range.id.clone()).collect()
    }

    /// Cuts before each of these numbers.
    #[must_use]
    pub fn split(self, edges: &BTreeSet<u64>) -> Vec<Self> {
        let (first, last) = (self.first.as_u64(), self.last.as_u64());
        let within = edges.range(first..=last).copied().filter(|edge| *edge > first);
        let starts: Vec<u64> = [first].into_iter().chain(within).collect();
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([last]);
        let parts = starts.iter().zip(ends);
        parts
            .filter_map(|(first, last)| {
                Some(Self { first: e164(*first)?, last: e164(last)?, ..self.clone() })
            })
            .collect()
    }
}

fn e164(digits: u64) -> Option<E164> {
    format!("+{digits}").parse().ok()
}

/// Where numbers of as many digits as `like` begin and cease to pass a test.
#[must_use]
pub fn edges(test: &Test, like: E164) -> Vec<u64> {
    let digits = usize::try_from(like.len()).unwrap_or_default();
    let (constant, open) = match test {
        Test::Equals(constant) => (constant, false),
        Test::StartsWith(constant) => (constant, true),
        // No range holds them: each number is judged by itself, the first of its segment.
        Test::EndsWith(_) | Test::Contains(_) => return Vec::new(),
    };
    let Some(known) =
        constant.strip_prefix('+').filter(|known| known.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return Vec::new();
    };
    if known.len() > digits || (!open && known.len() != digits) {
        return Vec::new();
    }
    let filled = |digit: &str| format!("{known}{}", digit.repeat(digits - known.len())).parse::<u64>();
    match (filled("0"), filled("9")) {
        (Ok(first), Ok(last)) => vec![first, last + 1],
        _ => Vec::new(),
    }
}

/// Every number that is live on either side, in order.
#[must_use]
pub fn segments<'a>(old: &Side<'a>, new: &Side<'a>) -> Vec<Segment<'a>> {
    let (old, new) = (entries(old), entries(new));
    let ends = |entry: &Entry<'_>| [entry.range.first.as_u64(), entry.range.last.as_u64() + 1];
    let edges: BTreeSet<u64> = old.iter().chain(&new).flat_map(ends).collect();
    let edges: Vec<u64> = edges.into_iter().collect();
    let (mut old, mut new) = (Sweep::new(&old), Sweep::new(&new));
    let mut segments = Vec::new();
    for (first, next) in edges.iter().zip(edges.iter().skip(1)) {
        let (old, new) = (old.at(*first), new.at(*first));
        if old.is_empty() && new.is_empty() {
            continue;
        }
        if let (Some(first), Some(last)) = (e164(*first), e164(*next - 1)) {
            segments.push(Segment { first, last, old: old.to_vec(), new: new.to_vec() });
        }
    }
    segments
}

fn entries<'a>(side: &Side<'a>) -> Vec<Entry<'a>> {
    let worlds = side.worlds.iter().copied().enumerate();
    let numbers = worlds.flat_map(|(world, of)| {
        let trunks = of.snapshot.numbers.iter();
        trunks.flat_map(move |(trunk, ranges)| ranges.iter().map(move |range| Entry { world, trunk, range }))
    });
    let mut entries: Vec<_> = numbers.collect();
    entries.sort_by_key(|entry| entry.range.first);
    entries
}

/// Ranges in the order of their first numbers, and those that hold the number that was asked for last.
struct Sweep<'s, 'a> {
    coming: std::slice::Iter<'s, Entry<'a>>,
    active: Vec<Entry<'a>>,
}

impl<'s, 'a> Sweep<'s, 'a> {
    fn new(entries: &'s [Entry<'a>]) -> Self {
        Self { coming: entries.iter(), active: Vec::new() }
    }

    /// Numbers are asked for in order.
    fn at(&mut self, number: u64) -> &[Entry<'a>] {
        self.active.retain(|entry| entry.range.last.as_u64() >= number);
        while let Some(next) = self.coming.as_slice().first()
            && next.range.first.as_u64() <= number
        {
            self.active.push(*next);
            self.coming.next();
        }
        &self.active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_cut_ranges() {
        let like = "+12125550100".parse().unwrap();
        for (test, wanted) in [
            (Test::Equals("+12125550150".into()), vec![12_125_550_150, 12_125_550_151]),
            (Test::Equals("+1212".into()), vec![]),
            (Test::StartsWith("+121255501".into()), vec![12_125_550_100, 12_125_550_200]),
            (Test::StartsWith("1212".into()), vec![]),
            (Test::EndsWith("7".into()), vec![]),
        ] {
            assert_eq!(edges(&test, like), wanted, "{test:?}");
        }
    }
}
