//! Numbered entries, kept until the other end has them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::wire::Batch;

/// Most octets of entries in one message.
const BATCH_MAX: usize = 256 << 10;

/// Most octets of one entry: who hears whom among 80 parties.
const ENTRY_MAX: usize = BATCH_MAX;

/// What is said and not yet confirmed. Numbers begin at 1 and have no gap.
#[derive(Debug)]
pub struct Outbox {
    entries: VecDeque<Bytes>,
    /// Number of the front entry.
    first: u64,
    /// How many of them this stream has carried.
    carried: usize,
    entries_max: usize,
}

/// There is no room, or the entry is too long.
#[derive(Debug)]
pub struct NoRoom;

impl Outbox {
    pub const fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), first: 1, carried: 0, entries_max }
    }

    pub fn push(&mut self, entry: Vec<u8>) -> Result<(), NoRoom> {
        if self.entries.len() >= self.entries_max || entry.len() > ENTRY_MAX {
            return Err(NoRoom);
        }
        self.entries.push_back(entry.into());
        Ok(())
    }

    /// The other end has all up to this one. False: it cannot, for it was never sent so many.
    #[must_use]
    pub fn confirmed(&mut self, last: u64) -> bool {
        let confirmed = last.saturating_add(1).saturating_sub(self.first);
        let Some(confirmed) = usize::try_from(confirmed).ok().filter(|count| *count <= self.carried) else {
            return false;
        };
        self.entries.drain(..confirmed);
        self.first += confirmed as u64;
        self.carried -= confirmed;
        true
    }

    /// Another stream begins, whose other end has all up to this one. False: it has what was never said, or has lost
    /// what it had confirmed.
    #[must_use]
    pub fn resume(&mut self, last: u64) -> bool {
        self.carried = self.entries.len();
        let possible = last.saturating_add(1) >= self.first && self.confirmed(last);
        self.carried = 0;
        possible
    }

    pub fn has_more(&self) -> bool {
        self.carried < self.entries.len()
    }

    /// What this stream has not carried yet, as much as one message may.
    pub fn batch(&mut self, received: u64) -> Batch {
        let first = self.first + self.carried as u64;
        let (mut entries, mut room) = (Vec::new(), BATCH_MAX);
        while let Some(entry) = self.entries.get(self.carried)
            && entry.len() <= room
        {
            room -= entry.len();
            entries.push(entry.clone());
            self.carried += 1;
        }
        Batch { first, received, entries }
    }
}

/// What of a batch is new, after `received`. None: there is a gap.
pub fn new_entries(batch: Batch, received: u64) -> Option<impl Iterator<Item = Bytes>> {
    let Batch { first, entries, .. } = batch;
    let known = received.saturating_add(1).checked_sub(first);
    let skip = match known {
        Some(known) => usize::try_from(known).unwrap_or(usize::MAX),
        None if entries.is_empty() => 0,
        None => return None,
    };
    Some(entries.into_iter().skip(skip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(batch: &Batch) -> Vec<&[u8]> {
        batch.entries.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn what_is_not_confirmed_is_said_again_on_the_next_stream() {
        let mut outbox = Outbox::new(3);
        for entry in ["1", "2", "3"] {
            outbox.push(entry.into()).unwrap();
        }
        assert!(outbox.push("4".into()).is_err(), "three is all it holds");
        let batch = outbox.batch(0);
        assert_eq!((batch.first, entries(&batch)), (1, vec![&b"1"[..], b"2", b"3"]));
        assert!(!outbox.has_more() && outbox.confirmed(1) && outbox.push("4".into()).is_ok());
        assert!(outbox.resume(2));
        let batch = outbox.batch(9);
        assert_eq!((batch.first, batch.received, entries(&batch)), (3, 9, vec![&b"3"[..], b"4"]));
    }

    #[test]
    fn what_was_never_said_cannot_be_confirmed() {
        let mut outbox = Outbox::new(3);
        outbox.push("1".into()).unwrap();
        assert!(!outbox.confirmed(1) && !outbox.resume(2));
        assert!(outbox.resume(1) && !outbox.resume(0));
        assert!(!outbox.confirmed(u64::MAX - 1));
    }

    #[test]
    fn what_has_come_already_is_passed_over_and_a_gap_is_seen() {
        let batch = |first| Batch { first, received: 0, entries: vec!["a".into(), "b".into()] };
        let new = |first, received| {
            new_entries(batch(first), received).map(|new| new.map(|entry| entry[0]).collect::<Vec<_>>())
        };
        assert_eq!(new(1, 0).unwrap(), b"ab");
        assert_eq!(new(1, 1).unwrap(), b"b");
        assert_eq!(new(1, 7).unwrap(), b"");
        assert_eq!(new(2, 0), None);
    }
}
