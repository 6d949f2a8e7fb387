//! Where one side of a ring stands: free-running 32-bit counters over a power of two of places, as AF_XDP has them.

/// One side's view of a ring.
#[derive(Debug, Clone)]
pub struct Side {
    size: u32,
    /// Our counter.
    own: u32,
    /// How far we may go, as we know it.
    limit: u32,
}

impl Side {
    /// The side that writes: the whole ring is free. `size` is a power of two.
    pub const fn producer(size: u32) -> Self {
        Self { size, own: 0, limit: size }
    }

    /// The side that reads: nothing is there.
    pub const fn consumer(size: u32) -> Self {
        Self { size, own: 0, limit: 0 }
    }

    /// The next place; `None`: none is known of until [`Side::produced`] or [`Side::consumed`] tells of more.
    pub const fn advance(&mut self) -> Option<usize> {
        if self.own == self.limit {
            return None;
        }
        let place = self.own & (self.size - 1);
        self.own = self.own.wrapping_add(1);
        Some(place as usize)
    }

    /// Our counter, to be told to the other side.
    pub const fn own(&self) -> u32 {
        self.own
    }

    /// The other side, which writes, stands there.
    pub const fn produced(&mut self, producer: u32) {
        self.limit = producer;
    }

    /// The other side, which reads, stands there.
    pub const fn consumed(&mut self, consumer: u32) {
        self.limit = consumer.wrapping_add(self.size);
    }

    /// What we wrote and the other side, which stands there, has not read.
    pub const fn pending(&self, consumer: u32) -> u32 {
        self.own.wrapping_sub(consumer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ring_is_a_queue_also_where_the_counters_wrap(start in any::<u32>(), steps in prop::collection::vec(any::<(bool, u8)>(), 0..200)) {
            const SIZE: u32 = 8;
            let mut slots = [0u32; SIZE as usize];
            let (mut writer, mut reader) = (Side::producer(SIZE), Side::consumer(SIZE));
            (writer.own, reader.own) = (start, start);
            writer.consumed(start);
            reader.produced(start);
            let (mut queue, mut number) = (VecDeque::new(), 0);
            for (write, count) in steps {
                for _ in 0..count % 12 {
                    if write {
                        writer.consumed(reader.own());
                        let place = writer.advance();
                        prop_assert_eq!(place.is_some(), queue.len() < SIZE as usize);
                        if let Some(place) = place {
                            number += 1;
                            slots[place] = number;
                            queue.push_back(number);
                        }
                    } else {
                        reader.produced(writer.own());
                        prop_assert_eq!(reader.advance().map(|place| slots[place]), queue.pop_front());
                    }
                    prop_assert_eq!(writer.pending(reader.own()) as usize, queue.len());
                }
            }
        }
    }
}
