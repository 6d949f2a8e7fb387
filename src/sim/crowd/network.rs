//! The made-up network between telephones and us.

use std::time::{Duration, Instant};

use call::lots::Lots;

/// Most copies of one message, and how much later the second comes.
const COPY_LATER: Duration = Duration::from_millis(7);

#[derive(Debug)]
pub struct Network {
    lots: Lots,
    /// Until when it is bad, and how.
    bad: Option<Bad>,
    /// Agents' telephones that nothing comes from or to, until when.
    vanished: Vec<(usize, Instant)>,
    pub lost: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct Bad {
    pub until: Instant,
    /// In percent.
    pub lost: u8,
    pub doubled: u8,
    pub late: Duration,
}

impl Network {
    pub const fn new(seed: u64) -> Self {
        Self { lots: Lots::new(seed), bad: None, vanished: Vec::new(), lost: 0 }
    }

    pub const fn spoil(&mut self, bad: Bad) {
        self.bad = Some(bad);
    }

    pub fn vanish(&mut self, agent: usize, until: Instant) {
        self.vanished.push((agent, until));
    }

    /// From now on nothing is lost.
    pub fn heal(&mut self) {
        self.bad = None;
        self.vanished.clear();
    }

    /// How much later a message comes, copy by copy; `agent` is whose telephone sends or gets it.
    pub fn fate(&mut self, now: Instant, agent: Option<usize>) -> [Option<Duration>; 2] {
        let gone = |(who, until): &(usize, Instant)| Some(*who) == agent && *until > now;
        if self.vanished.iter().any(gone) {
            self.lost += 1;
            return [None, None];
        }
        let Some(bad) = self.bad.filter(|bad| bad.until > now) else { return [Some(Duration::ZERO), None] };
        if self.lots.percent() < bad.lost {
            self.lost += 1;
            return [None, None];
        }
        let late = u64::try_from(bad.late.as_millis()).unwrap_or(u64::MAX);
        let late = Duration::from_millis(self.lots.below(late + 1));
        let copied = self.lots.percent() < bad.doubled;
        [Some(late), copied.then_some(late + COPY_LATER)]
    }
}
