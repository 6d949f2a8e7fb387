//! A worker's legs, found by a key that fits into an epoll token and is never used twice.

use crate::leg::Leg;

/// Names a leg of one worker, also after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As an epoll token. The index has 31 bits and the generation 32.
    pub fn token(self, rtcp: bool) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index) << 1 | u64::from(rtcp)
    }

    /// From an epoll token.
    pub const fn from_token(token: u64) -> (Self, bool) {
        (Self { index: (token as u32) >> 1, generation: (token >> 32) as u32 }, token & 1 == 1)
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
