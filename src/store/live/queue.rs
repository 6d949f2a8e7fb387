//! What waits to be brought: one change of each thing, the newest, in the order in which the things were first put.

use std::{collections::BTreeMap, time::Instant};

use super::{Change, Figures, LASTS, Lasting, OVER_KEPT, Settings, Slot};

/// Octets of one batch.
const BATCH_OCTETS: usize = 1 << 20;

/// What waits and what is under way.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<Slot, Waiting>,
    /// Which came first.
    order: BTreeMap<u64, Slot>,
    next: u64,
    /// Of both.
    octets: usize,
    under_way: usize,
    /// Whether something found no room since everything was said.
    pub has_gap: bool,
    /// What has become of it, but for what waits.
    pub figures: Figures,
}

/// A change that waits or is under way.
#[derive(Debug, Clone)]
pub struct Waiting {
    number: u64,
    /// What is changed.
    pub change: Change,
    /// None: it stands for ever.
    ends: Option<Instant>,
}

/// What is brought together.
pub type Batch = Vec<(Slot, Waiting)>;

impl Waiting {
    /// What is said of it now.
    pub fn lasting(&self, now: Instant) -> Lasting {
        let left = self.ends.map_or(OVER_KEPT, |ends| ends.saturating_duration_since(now));
        Lasting::new(self.change.clone(), left.max(LASTS.0))
    }
}

impl Queue {
    /// Whether anything waits or is under way.
    pub fn has_any(&self) -> bool {
        !self.waiting.is_empty() || self.under_way > 0
    }

    /// How many wait or are under way.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.under_way
    }

    /// How it stands.
    pub fn figures(&self) -> Figures {
        Figures { waiting: self.len() as u64, waiting_octets: self.octets as u64, ..self.figures }
    }

    /// Takes a change; false: there is no room for it.
    pub fn put(&mut self, Lasting { change, lasts }: Lasting, settings: &Settings, now: Instant) -> bool {
        let (slot, octets) = (change.slot(), change.octets());
        let before = self.waiting.get(&slot).map(|waiting| (waiting.number, waiting.change.octets()));
        let rest = self.octets - before.map_or(0, |(_, octets)| octets);
        let is_new = before.is_none();
        let is_full = self.len() >= settings.waiting_max;
        // What takes the place of something is taken in any case: the older must not be brought.
        if is_new && (is_full || rest + octets > settings.waiting_octets_max) {
            self.figures.gap += 1;
            self.has_gap = true;
            return false;
        }
        let number = before.map_or(self.next, |(number, _)| number);
        if is_new {
            self.next += 1;
            self.order.insert(number, slot.clone());
        } else {
            self.figures.coalesced += 1;
        }
        self.octets = rest + octets;
        let ends = (!change.is_removal()).then(|| now + lasts);
        self.waiting.insert(slot, Waiting { number, change, ends });
        true
    }

    /// What is to be brought next, which is under way from now on.
    pub fn take(&mut self, most: usize, now: Instant) -> Batch {
        let (mut batch, mut octets) = (Vec::new(), 0);
        while batch.len() < most {
            let Some((_, slot)) = self.order.pop_first() else { break };
            let Some(mut waiting) = self.waiting.remove(&slot) else { continue };
            if waiting.ends.is_some_and(|ends| ends <= now) {
                self.figures.expired += 1;
                self.octets -= waiting.change.octets();
                // What it was to take the place of, or an attempt of which nobody knows what came, must not stand either.
                let Some(undone) = waiting.change.undone() else { continue };
                waiting = Waiting { change: undone, ends: None, ..waiting };
                self.octets += waiting.change.octets();
            }
            let size = waiting.change.octets();
            if octets + size > BATCH_OCTETS && !batch.is_empty() {
                self.order.insert(waiting.number, slot.clone());
                self.waiting.insert(slot, waiting);
                break;
            }
            octets += size;
            batch.push((slot, waiting));
        }
        self.under_way += batch.len();
        batch
    }

    /// What was under way waits again, if nothing newer does.
    pub fn give_back(&mut self, batch: Batch) {
        self.under_way -= batch.len();
        for (slot, waiting) in batch {
            if self.waiting.contains_key(&slot) {
                self.octets -= waiting.change.octets();
                self.figures.coalesced += 1;
                continue;
            }
            self.order.insert(waiting.number, slot.clone());
            self.waiting.insert(slot, waiting);
        }
    }

    /// What was under way is done with.
    pub fn done(&mut self, batch: &[(Slot, Waiting)]) {
        self.under_way -= batch.len();
        self.octets -= batch.iter().map(|(_, waiting)| waiting.change.octets()).sum::<usize>();
    }

    /// Removals that wait, which are under way from now on.
    pub fn take_removals(&mut self, most: usize) -> Batch {
        let removals = self.waiting.iter().filter(|(_, waiting)| waiting.change.is_removal());
        let slots: Vec<Slot> = removals.take(most).map(|(slot, _)| slot.clone()).collect();
        let mut batch = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Some(waiting) = self.waiting.remove(&slot) {
                self.order.remove(&waiting.number);
                batch.push((slot, waiting));
            }
        }
        self.under_way += batch.len();
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::{
        super::{Ban, CallRecord},
        *,
    };

    fn address(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    fn ban(n: u8, count: u32, lasts_ms: u64) -> Lasting {
        Lasting::new(Change::Ban(Ban { address: address(n), count }), Duration::from_millis(lasts_ms))
    }

    fn room(waiting_max: usize) -> Settings {
        Settings { waiting_max, ..Settings::default() }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u32),
        Lift(u8),
        Take(usize),
        GiveBack,
        Done,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..8u8, any::<u32>()).prop_map(|(n, count)| Step::Put(n, count)),
            1 => (0..8u8).prop_map(Step::Lift),
            2 => (1..4usize).prop_map(Step::Take),
            1 => Just(Step::GiveBack),
            1 => Just(Step::Done),
        ];
        vec(step, 1..80)
    }

    proptest! {
        /// What is brought last of each thing is what was put last of it, and nothing takes room for ever.
        #[test]
        fn the_newest_of_each_thing_is_brought(steps in steps()) {
            let (now, settings) = (Instant::now(), room(5));
            let mut queue = Queue::default();
            let (mut put, mut brought) = (BTreeMap::new(), BTreeMap::new());
            let mut under_way: Vec<Batch> = Vec::new();
            let done = |queue: &mut Queue, brought: &mut BTreeMap<_, _>, batch: Batch| {
                queue.done(&batch);
                brought.extend(batch.into_iter().map(|(slot, waiting)| (slot, waiting.change)));
            };
            for step in steps {
                let lasting = match step {
                    Step::Put(n, count) => ban(n, count, 60_000),
                    Step::Lift(n) => Lasting::new(Change::Lift(address(n)), Duration::ZERO),
                    // One batch at a time is under way.
                    Step::Take(most) if under_way.is_empty() => {
                        under_way.push(queue.take(most, now));
                        continue;
                    }
                    Step::Take(_) => continue,
                    Step::GiveBack => {
                        under_way.drain(..).for_each(|batch| queue.give_back(batch));
                        continue;
                    }
                    Step::Done => {
                        under_way.drain(..).for_each(|batch| done(&mut queue, &mut brought, batch));
                        continue;
                    }
                };
                if queue.put(lasting.clone(), &settings, now) {
                    put.insert(lasting.change.slot(), lasting.change);
                }
                prop_assert!(queue.len() <= 5 + under_way.len() * 4, "{}", queue.len());
            }
            under_way.drain(..).for_each(|batch| done(&mut queue, &mut brought, batch));
            while queue.has_any() {
                let batch = queue.take(3, now);
                done(&mut queue, &mut brought, batch);
            }
            prop_assert_eq!(brought, put);
            prop_assert_eq!(queue.octets, 0);
        }
    }

    #[test]
    fn what_has_expired_is_taken_away_and_not_brought() {
        let (now, settings) = (Instant::now(), room(10));
        let mut queue = Queue::default();
        queue.put(ban(1, 1, 1_000), &settings, now);
        queue.put(ban(2, 1, 5_000), &settings, now);
        let record = CallRecord { call: "c".into(), owner: "a".into(), epoch: 1, body: Bytes::new() };
        queue.put(Lasting::new(Change::Call(record), Duration::from_millis(1_000)), &settings, now);
        let batch = queue.take(10, now + Duration::from_millis(1_000));
        let changes: Vec<&Change> = batch.iter().map(|(_, waiting)| &waiting.change).collect();
        assert_eq!(changes, [&Change::Lift(address(1)), &Change::Ban(Ban { address: address(2), count: 1 })]);
        assert_eq!(
            batch[1].1.lasting(now + Duration::from_millis(1_000)).lasts,
            Duration::from_millis(4_000)
        );
        assert_eq!(queue.figures().expired, 2);
        queue.done(&batch);
        assert_eq!((queue.len(), queue.octets), (0, 0));
    }

    #[test]
    fn a_batch_is_not_larger_than_it_may_be_but_for_one_that_is() {
        let (now, settings) = (Instant::now(), room(10));
        let mut queue = Queue::default();
        for n in 0..3u8 {
            let content = super::super::Content::new(vec![n; 700_000].into());
            queue.put(Lasting::new(Change::Keep(content), Duration::from_secs(60)), &settings, now);
        }
        let sizes: Vec<usize> = (0..3).map(|_| queue.take(10, now).len()).collect();
        assert_eq!((sizes, queue.take(10, now).len()), (vec![1, 1, 1], 0));
    }
}
