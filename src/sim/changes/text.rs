//! Changes as lines, for people.

use std::fmt;

use super::{Change, Changes, Group, Numbers};

/// Most ranges of numbers that are named before a group of changes.
const NUMBERS_NAMED: usize = 12;

/// Most ways that are named before a change.
const PATHS_NAMED: usize = 6;

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.groups.is_empty() {
            writeln!(f, "no call changes")?;
        }
        for group in &self.groups {
            write!(f, "{group}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.cut > 0 {
            writeln!(f, "✂ cut: {} possibilities were not looked at, because a bound was reached", self.cut)?;
        }
        Ok(())
    }
}

/// Numbers in a row stand before each change; others above all of theirs.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.numbers.as_slice() {
            return self.changes.iter().try_for_each(|change| {
                let conditions = conditions(change);
                let space = if conditions.is_empty() { "" } else { " " };
                writeln!(f, "{one}{space}{conditions}: {change}")
            });
        }
        let named: Vec<_> = self.numbers.iter().take(NUMBERS_NAMED).map(ToString::to_string).collect();
        let more = self.numbers.len().saturating_sub(NUMBERS_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        writeln!(f, "{}{more}", named.join(", "))?;
        self.changes.iter().try_for_each(|change| {
            let conditions = conditions(change);
            let colon = if conditions.is_empty() { "" } else { ": " };
            writeln!(f, "  {conditions}{colon}{change}")
        })
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}–{}", self.first, self.last)
        }
    }
}

/// What it is about, and both sides.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.about.is_empty() {
            write!(f, "{}: ", self.about)?;
        }
        write!(f, "{} → {}", self.old, self.new)
    }
}

fn conditions(change: &Change) -> String {
    let paths = paths(&change.paths);
    let parts = [change.when.as_deref(), change.callers.as_deref(), paths.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Ways that differ in their last part alone stand together: `press 1 › busy, no answer`.
fn paths(paths: &[Vec<String>]) -> Option<String> {
    let mut groups: Vec<(&[String], Vec<&str>)> = Vec::new();
    for path in paths {
        let (last, before) = path.split_last()?;
        match groups.iter_mut().find(|(known, _)| *known == before) {
            Some((_, lasts)) => lasts.push(last),
            None => groups.push((before, vec![last])),
        }
    }
    let text = |(before, lasts): &(&[String], Vec<&str>)| {
        let parts = before.iter().map(String::as_str).chain([]).collect::<Vec<_>>();
        let lasts = lasts.join(", ");
        if parts.is_empty() { lasts } else { format!("{} › {lasts}", parts.join(" › ")) }
    };
    let more = groups.len().saturating_sub(PATHS_NAMED);
    let mut texts: Vec<_> = groups.iter().take(PATHS_NAMED).map(text).collect();
    if more > 0 {
        texts.push(format!("{more} other ways"));
    }
    Some(texts.join(" or "))
}
