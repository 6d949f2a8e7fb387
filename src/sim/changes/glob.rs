//! Which numbers are guarded: a pattern of a number in E.164 form, or of a PhoneNumber's `namespace/name`.

use std::{fmt, str::FromStr};

use model::{E164, NumberId};

/// Longest pattern, in characters.
pub const PATTERN_MAX: usize = 320;

/// A pattern: `*` is any characters, `?` is one. It begins with `+`, or holds a `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<char>);

/// Why a text is no [`Glob`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a number such as +18005550100 or `namespace/name` of a PhoneNumber, where * is anything and ? one character"
)]
pub struct NotAGlob;

impl FromStr for Glob {
    type Err = NotAGlob;

    fn from_str(text: &str) -> Result<Self, NotAGlob> {
        let number = text.strip_prefix('+').is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|one| one.is_ascii_digit() || matches!(one, '*' | '?'))
        });
        let name = text.split_once('/').is_some_and(|(namespace, name)| {
            !namespace.is_empty() && !name.is_empty() && !name.contains('/') && !text.starts_with('+')
        });
        if text.len() > PATTERN_MAX || !(number || name || text == "*") {
            return Err(NotAGlob);
        }
        Ok(Self(text.chars().collect()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|character| write!(f, "{character}"))
    }
}

impl Glob {
    /// Whether any number from `first` to `last`, or any of the objects, fits.
    pub fn matches<'n>(
        &self,
        first: E164,
        last: E164,
        objects: impl IntoIterator<Item = &'n NumberId>,
    ) -> bool {
        self.number(first, last) || objects.into_iter().any(|id| self.text(&id.to_string()))
    }

    /// Places in the pattern from which the rest must fit, before anything is read. A `*` may be nothing.
    fn begin(&self) -> Vec<bool> {
        let mut at = vec![false; self.0.len() + 1];
        at[0] = true;
        self.pass(&mut at);
        at
    }

    fn pass(&self, at: &mut [bool]) {
        for (place, character) in self.0.iter().enumerate() {
            if *character == '*' && at[place] {
                at[place + 1] = true;
            }
        }
    }

    fn step(&self, at: &[bool], read: char) -> Vec<bool> {
        let mut next = vec![false; at.len()];
        for (place, character) in self.0.iter().enumerate().filter(|(place, _)| at[*place]) {
            match character {
                '*' => next[place] = true,
                '?' => next[place + 1] = true,
                _ if *character == read => next[place + 1] = true,
                _ => {}
            }
        }
        self.pass(&mut next);
        next
    }

    fn text(&self, text: &str) -> bool {
        let at = text.chars().fold(self.begin(), |at, read| self.step(&at, read));
        at.last() == Some(&true)
    }

    /// All numbers of a range at once, digit by digit: those on its lower edge, those on its upper one, and all between.
    fn number(&self, first: E164, last: E164) -> bool {
        let (low, high) = (first.to_string(), last.to_string());
        if low.len() != high.len() {
            return self.text(&low) || self.text(&high);
        }
        let none = vec![false; self.0.len() + 1];
        // States of the pattern by whether the digits so far are those of the lower and of the upper edge.
        let mut states = [[none.clone(), none.clone()], [none.clone(), self.begin()]];
        for (bottom, top) in low.chars().zip(high.chars()) {
            let mut next = [[none.clone(), none.clone()], [none.clone(), none.clone()]];
            for (on_low, on_high) in [(false, false), (false, true), (true, false), (true, true)] {
                let at = &states[usize::from(on_low)][usize::from(on_high)];
                if !at.contains(&true) {
                    continue;
                }
                let characters = if bottom == '+' { '+'..='+' } else { '0'..='9' };
                for read in characters {
                    if (on_low && read < bottom) || (on_high && read > top) {
                        continue;
                    }
                    let edges = (on_low && read == bottom, on_high && read == top);
                    let reached = self.step(at, read);
                    let to = &mut next[usize::from(edges.0)][usize::from(edges.1)];
                    to.iter_mut().zip(reached).for_each(|(to, reached)| *to |= reached);
                }
            }
            states = next;
        }
        states.iter().flatten().any(|at| at.last() == Some(&true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_numbers_ranges_and_names() {
        for (pattern, first, last, wanted) in [
            ("+18005550100", "+18005550100", "+18005550100", true),
            ("+1800*", "+18005550100", "+18005550100", true),
            ("+1800*", "+18995550100", "+18995550199", false),
            ("+1212555015?", "+12125550100", "+12125550199", true),
            ("+1212555015?", "+12125550160", "+12125550199", false),
            ("+*7", "+12125550100", "+12125550109", true),
            ("+*7", "+12125550100", "+12125550106", false),
            ("+1212555*99", "+12125550100", "+12125550198", false),
            ("acme/main", "+12125550100", "+12125550100", true),
            ("acme/*", "+12125550100", "+12125550100", true),
            ("*/ma?n", "+12125550100", "+12125550100", true),
            ("acme/m", "+12125550100", "+12125550100", false),
            ("*", "+12125550100", "+12125550100", true),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            let id = NumberId::new("acme", "main");
            let found = glob.matches(first.parse().unwrap(), last.parse().unwrap(), [&id]);
            assert_eq!(found, wanted, "{pattern} {first} {last}");
        }
    }

    #[test]
    fn what_can_mean_no_number_is_refused() {
        for text in ["", "main", "+", "+1800abc", "acme/", "/main", "a/b/c", "**"] {
            assert!(text.parse::<Glob>().is_err(), "{text}");
        }
    }
}
