//! A walk as a tree, for people.
//!
//! A chain of places stands one below the other; where it forks, each outcome has a branch. A place is told once, where it
//! is nearest; whatever else leads there says so by its number.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    explain::Explained,
    walk::{Next, Walk, Way},
};

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.cluster, self.explanation)?;
        if let Some(assumed) = &self.assumed {
            writeln!(f, "  ({assumed})")?;
        }
        match &self.walk {
            Some(walk) => write!(f, "\n{walk}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tree = Tree { walk: self, owners: owners(self), lines: Vec::new() };
        for passed in &self.passed {
            tree.lines.push(passed.clone());
        }
        tree.next("", &self.next, None);
        for line in &tree.lines {
            writeln!(f, "{}", line.trim_end())?;
        }
        if self.cut > 0 {
            writeln!(f, "✂ cut: {} ways lead further than is shown here", self.cut)?;
        }
        Ok(())
    }
}

/// Where each place is told: under the first way that leads there. Places are numbered nearest first, so that way comes
/// from a lower number.
fn owners(walk: &Walk) -> BTreeMap<usize, (usize, usize)> {
    let mut owners = BTreeMap::new();
    let mut seen: BTreeSet<usize> = place(&walk.next).into_iter().collect();
    for (from, told) in walk.places.iter().enumerate() {
        for (index, way) in told.ways.iter().enumerate() {
            if let Some(to) = place(&way.next)
                && seen.insert(to)
            {
                owners.insert(to, (from, index));
            }
        }
    }
    owners
}

fn outcome(way: &Way) -> String {
    match (&way.entered, way.saved.as_slice()) {
        (Some(keys), _) => format!("{} (say {keys})", way.outcome),
        (None, []) => way.outcome.clone(),
        (None, saved) => format!("{} with {}", way.outcome, saved.join(" and ")),
    }
}

const fn place(next: &Next) -> Option<usize> {
    if let Next::Place(place) = next { Some(*place) } else { None }
}

struct Tree<'a> {
    walk: &'a Walk,
    owners: BTreeMap<usize, (usize, usize)>,
    lines: Vec<String>,
}

impl Tree<'_> {
    /// `by` is the way that leads there; None at the entry. No deeper than the walk is.
    fn next(&mut self, indent: &str, next: &Next, by: Option<(usize, usize)>) {
        match next {
            Next::End { step, how, .. } => self.lines.push(format!("{indent}■ {step}: {how}")),
            Next::Cut => self.lines.push(format!("{indent}✂ cut: this leads further than is shown here")),
            Next::Place(place) if by.is_some() && self.owners.get(place) != by.as_ref() => {
                let step = &self.walk.places[*place].step;
                self.lines.push(format!("{indent}→ [{}] {step}", place + 1));
            }
            Next::Place(place) => self.place(indent, *place),
        }
    }

    fn place(&mut self, indent: &str, place: usize) {
        let told = &self.walk.places[place];
        let ringing = if told.answered { "" } else { " (not answered yet)" };
        self.lines.push(format!("{indent}[{}] {}: {}{ringing}", place + 1, told.step, told.does));
        let groups = self.groups(place);
        if let [(outcomes, index)] = groups.as_slice() {
            let way = &told.ways[*index];
            if told.ways.len() > 1 {
                self.lines.push(format!("{indent}· {outcomes}"));
            }
            self.passed(indent, way);
            return self.next(indent, &way.next, Some((place, *index)));
        }
        let last = groups.len().saturating_sub(1);
        for (rank, (outcomes, index)) in groups.into_iter().enumerate() {
            let way = &told.ways[index];
            let (branch, below) = if rank == last { ("└─", "   ") } else { ("├─", "│  ") };
            self.lines.push(format!("{indent}{branch} {outcomes}"));
            let indent = format!("{indent}{below}");
            self.passed(&indent, way);
            self.next(&indent, &way.next, Some((place, index)));
        }
    }

    fn passed(&mut self, indent: &str, way: &Way) {
        if !way.passed.is_empty() {
            self.lines.push(format!("{indent}· {}", way.passed.join(" · ")));
        }
    }

    /// Ways that lead to one end are told once, with the first one's index.
    fn groups(&self, place: usize) -> Vec<(String, usize)> {
        let ways = &self.walk.places[place].ways;
        let mut groups: Vec<(String, usize)> = Vec::new();
        for (index, way) in ways.iter().enumerate() {
            let same = |(_, first): &&mut (String, usize)| {
                ways[*first].next == way.next && ways[*first].passed == way.passed
            };
            match groups.iter_mut().find(same) {
                Some((outcomes, _)) => *outcomes += &format!(", {}", outcome(way)),
                None => groups.push((outcome(way), index)),
            }
        }
        groups
    }
}
