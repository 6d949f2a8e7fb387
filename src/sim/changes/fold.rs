//! Equal changes become one: over times, callers, ways through a flow, and numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, Group, Numbers,
    calendar::Calendar,
    callers::{self, Caller},
    compare::{Compared, Difference},
    numbers::Segment,
};

/// Kinds of time and classes of callers, by their places.
type Cell = (usize, usize);

/// Collects what differs for each kind of time and each class of callers.
#[derive(Debug, Default)]
pub struct Cells {
    differences: Vec<(Difference, BTreeSet<Cell>)>,
    places: BTreeMap<Difference, usize>,
    /// Of each pair of steps: where it is reached at all.
    reached: BTreeMap<(String, String), BTreeSet<Cell>>,
}

impl Cells {
    /// Adds what came of one comparison.
    pub fn add(&mut self, cell: Cell, compared: Compared) {
        for steps in compared.reached {
            self.reached.entry(steps).or_default().insert(cell);
        }
        for difference in compared.differences {
            let place = *self.places.entry(difference.clone()).or_insert_with(|| {
                self.differences.push((difference, BTreeSet::new()));
                self.differences.len() - 1
            });
            self.differences[place].1.insert(cell);
        }
    }

    /// Differences that are noticed whenever somebody decides at their steps, on whichever way: neither time nor caller
    /// need be told of them.
    fn always(&self) -> BTreeSet<Noticed<'_>> {
        let mut noticed: BTreeMap<Noticed<'_>, BTreeSet<Cell>> = BTreeMap::new();
        for (difference, cells) in &self.differences {
            noticed.entry(difference.into()).or_default().extend(cells);
        }
        let (mut olds, mut news) =
            (BTreeMap::<&str, BTreeSet<Cell>>::new(), BTreeMap::<&str, BTreeSet<Cell>>::new());
        for ((old, new), cells) in &self.reached {
            olds.entry(old).or_default().extend(cells);
            news.entry(new).or_default().extend(cells);
        }
        // A step that stands beside another one at other times is reached then for another reason.
        let whole = |(noticed, cells): &(Noticed<'_>, BTreeSet<Cell>)| {
            noticed.at.is_some_and(|(old, new)| {
                olds.get(old.as_str()) == Some(cells) && news.get(new.as_str()) == Some(cells)
            })
        };
        noticed.into_iter().filter(whole).map(|(noticed, _)| noticed).collect()
    }

    /// Differences with the times and callers at which they are noticed, as changes.
    pub fn changes(self, calendar: &Calendar, all: &[Caller]) -> Vec<Change> {
        let always = self.always();
        let mut merged: Vec<Merged<'_>> = Vec::new();
        let mut places = BTreeMap::new();
        for (difference, cells) in &self.differences {
            let cells = if always.contains(&difference.into()) { BTreeSet::new() } else { cells.clone() };
            let key = (&difference.about, &difference.old, &difference.new, cells.clone());
            let place = *places.entry(key).or_insert_with(|| {
                merged.push(Merged { difference, cells, paths: Vec::new() });
                merged.len() - 1
            });
            if !merged[place].paths.contains(&difference.path) {
                merged[place].paths.push(difference.path.clone());
            }
        }
        let mut changes = Vec::new();
        for Merged { difference, cells, paths } in merged {
            let change = |when, callers| Change {
                when,
                callers,
                paths: paths.clone(),
                about: difference.about.clone(),
                old: difference.old.clone(),
                new: difference.new.clone(),
            };
            if cells.is_empty() {
                changes.push(change(None, None));
            }
            for (moments, classes) in rectangles(&cells) {
                changes.push(change(calendar.text(&moments), callers::text(all, &classes)));
            }
        }
        changes
    }
}

/// A difference, whatever way leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Noticed<'a> {
    at: Option<&'a (String, String)>,
    about: &'a str,
    old: &'a str,
    new: &'a str,
}

impl<'a> From<&'a Difference> for Noticed<'a> {
    fn from(difference: &'a Difference) -> Self {
        let Difference { at, about, old, new, .. } = difference;
        Self { at: at.as_ref(), about, old, new }
    }
}

/// What differs alike at the same times for the same callers, on several ways.
struct Merged<'a> {
    difference: &'a Difference,
    /// None: whenever it can be noticed.
    cells: BTreeSet<Cell>,
    paths: Vec<Vec<String>>,
}

/// Times at which the same callers notice.
fn rectangles(cells: &BTreeSet<Cell>) -> Vec<(BTreeSet<usize>, BTreeSet<usize>)> {
    let mut callers: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (moment, class) in cells {
        callers.entry(*moment).or_default().insert(*class);
    }
    let mut moments: BTreeMap<BTreeSet<usize>, BTreeSet<usize>> = BTreeMap::new();
    for (moment, classes) in callers {
        moments.entry(classes).or_default().insert(moment);
    }
    moments.into_iter().map(|(classes, moments)| (moments, classes)).collect()
}

/// Collects the changes of all numbers.
#[derive(Debug, Default)]
pub struct Folder {
    /// Of each segment that changes: what is printed of it.
    segments: Vec<Numbers>,
    changes: Vec<Change>,
    places: BTreeMap<Change, usize>,
    /// Of each change, by its place, the segments.
    of: Vec<Vec<usize>>,
}

impl Folder {
    /// In the order of the numbers.
    pub fn add(&mut self, segment: &Segment<'_>, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let number = self.segments.len();
        self.segments.push(Numbers { first: segment.first, last: segment.last, objects: segment.objects() });
        for change in changes {
            let place = *self.places.entry(change.clone()).or_insert_with(|| {
                self.changes.push(change);
                self.of.push(Vec::new());
                self.changes.len() - 1
            });
            if self.of[place].last() != Some(&number) {
                self.of[place].push(number);
            }
        }
    }

    /// Changes by the numbers that share them.
    pub fn groups(self) -> Vec<Group> {
        let Self { segments, changes, of, .. } = self;
        let mut groups: BTreeMap<Vec<usize>, Vec<Change>> = BTreeMap::new();
        for (change, numbers) in changes.into_iter().zip(of) {
            groups.entry(numbers).or_default().push(change);
        }
        let group = |(numbers, changes): (Vec<usize>, _)| Group {
            numbers: joined(numbers.into_iter().map(|place| segments[place].clone())),
            changes,
        };
        groups.into_iter().map(group).collect()
    }
}

/// Numbers that follow each other become one range.
fn joined(numbers: impl Iterator<Item = Numbers>) -> Vec<Numbers> {
    let mut joined: Vec<Numbers> = Vec::new();
    for next in numbers {
        match joined.last_mut() {
            Some(last) if last.last.checked_add(1) == Some(next.first) => {
                last.last = next.last;
                last.objects.extend(next.objects);
            }
            _ => joined.push(next),
        }
    }
    joined
}
