//! Tokens that were used: each opens one session.

use std::collections::BTreeMap;

/// Tokens that are remembered.
pub const USED_MAX: usize = 100_000;

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is used hereby.
    First,
    /// It was used before.
    Again,
    /// There are too many to remember: none is taken.
    Full,
}

/// Tokens that were used and would still hold, by what they are told apart by.
#[derive(Debug, Default)]
pub struct Used(BTreeMap<[u8; 32], i64>);

impl Used {
    /// Uses a token that holds until `until`, both in seconds since 1970.
    pub fn take(&mut self, id: [u8; 32], until: i64, now: i64) -> Taken {
        if self.0.contains_key(&id) {
            return Taken::Again;
        }
        if self.0.len() >= USED_MAX {
            self.0.retain(|_, until| *until >= now);
        }
        if self.0.len() >= USED_MAX {
            return Taken::Full;
        }
        self.0.insert(id, until);
        Taken::First
    }

    /// Forgets those that hold no more.
    pub fn forget(&mut self, now: i64) {
        self.0.retain(|_, until| *until >= now);
    }
}
