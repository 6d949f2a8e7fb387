//! A worker's legs, found by a key that fits into an epoll token and is never used twice.

use crate::leg::Leg;

/// Names a leg of one worker, also after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Whose a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// One leg's.
    Leg(Key),
    /// Many legs': the worker's shared port of that place.
    Shared(u32),
    /// All spans': the worker's port towards other media servers.
    Spans,
}

/// The highest token below those that a worker has for itself, and the last of a shared port.
const SHARED_LAST: u64 = u64::MAX - 16;
/// Between them.
const SPANS: u64 = SHARED_LAST + 1;
/// Shared ports of a worker at most, for the tokens' sake.
const SHARED_MAX: u64 = 1 << 16;

impl Owner {
    /// As an epoll token. A leg's index has 31 bits and its generation 32; shared ports take the highest ones, which
    /// no leg reaches.
    pub fn token(self, rtcp: bool) -> u64 {
        match self {
            Self::Leg(key) => u64::from(key.generation) << 32 | u64::from(key.index) << 1 | u64::from(rtcp),
            Self::Shared(place) => SHARED_LAST - 2 * u64::from(place) - u64::from(rtcp),
            Self::Spans => SPANS,
        }
    }

    /// From an epoll token; whether it is RTCP's too.
    pub const fn from_token(token: u64) -> (Self, bool) {
        if token == SPANS {
            return (Self::Spans, false);
        }
        if token > SHARED_LAST - 2 * SHARED_MAX {
            let place = SHARED_LAST - token;
            return (Self::Shared((place / 2) as u32), place % 2 == 1);
        }
        let key = Key { index: (token as u32) >> 1, generation: (token >> 32) as u32 };
        (Self::Leg(key), token & 1 == 1)
    }
}

/// The legs.
#[derive(Debug, Default)]
pub struct Legs {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    leg: Option<Box<Leg>>,
}

impl Legs {
    /// Adds one.
    pub fn insert(&mut self, leg: Leg) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.leg = Some(Box::new(leg));
        Key { index, generation: slot.generation }
    }

    /// Takes one out.
    pub fn remove(&mut self, key: Key) -> Option<Box<Leg>> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let leg = slot.leg.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(leg)
    }

    /// One of them.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Leg> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        slot.leg.as_deref_mut()
    }
}
