//! Recordings and messages that were stored, the latest of them.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use call::record::Saved;

/// How many are kept in mind.
const KEPT_MAX: usize = 1_024;

/// The latest recordings and messages of an edge.
#[derive(Debug, Default)]
pub struct Sounds(Mutex<VecDeque<Saved>>);

impl Sounds {
    /// Keeps one in mind.
    pub fn keep(&self, saved: Saved) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(saved);
    }

    /// Those that fit, newest first.
    #[must_use]
    pub fn latest(&self, most: usize, fits: impl Fn(&Saved) -> bool) -> Vec<Saved> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().filter(|saved| fits(saved)).take(most).cloned().collect()
    }
}
