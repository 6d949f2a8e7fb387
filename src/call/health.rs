//! Which peers of trunks can be reached: probes by OPTIONS, and what calls find out (RFC 3261 §11, RFC 6223's thought
//! for peers that register nowhere).
//!
//! The contract: tell whom to watch ([`Health::watch`]), [`Health::poll`] until `None`, carry it out, tell what came of
//! each probe, and call [`Health::timeout`] at [`Health::poll_timeout`].
//!
//! So many failures in a row take a peer down, and [`SUCCESSES`] in a row bring it back, so that one lucky answer of a
//! dying gateway draws no calls. Nobody is taken down without being probed: without probes nothing would bring it back.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::{TrunkId, net::Flow, trunk};

use crate::{Now, lots::Lots};

/// So many answers in a row, and a peer is up again.
pub const SUCCESSES: u32 = 2;

/// Most peers that are watched; of more, those beyond are taken for up.
pub const WATCHED_MAX: usize = 16_384;

/// So long a peer that took no SRTP is not asked for it again (RFC 4568 names no time).
const PLAIN: Duration = Duration::from_secs(6 * 60 * 60);

/// An address of a peer of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The trunk.
    pub trunk: TrunkId,
    /// Name of the peer in the trunk.
    pub peer: String,
    /// How it is reached.
    pub flow: Flow,
}

/// What became of a request to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A final response.
    Answered(u16),
    /// None in time.
    Silent,
    /// It could not be delivered.
    Unreachable,
}

impl Heard {
    /// Whether somebody is there who takes calls. Even a refusal shows that; but 503 says that it takes none now, and
    /// 408 that a proxy found nobody behind itself.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Answered(code) if code != 503 && code != 408)
    }
}

/// What is to be done, or was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send OPTIONS, and tell [`Health::probed`].
    Probe {
        /// To whom.
        who: Who,
        /// To be given back.
        probe: u64,
    },
    /// A peer went down or came up.
    Changed {
        /// Which.
        who: Who,
        /// Whether it is up.
        is_up: bool,
        /// The last thing that was heard of it.
        heard: Heard,
    },
}

/// All peers that are watched.
#[derive(Debug)]
pub struct Health {
    peers: BTreeMap<Who, State>,
    /// Those that are down as another has found, who watches them.
    mirrored: BTreeMap<Who, Timestamp>,
    /// Those that took no SRTP, and until when that is believed.
    plain: BTreeMap<Who, Instant>,
    due: BTreeSet<(Instant, Who)>,
    lots: Lots,
    probes: u64,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct State {
    settings: trunk::Health,
    /// The next probe, or the end of the present one's time.
    wakes_at: Instant,
    /// The probe under way, and when the one after it is due.
    under_way: Option<(u64, Instant)>,
    failures: u32,
    successes: u32,
    down_since: Option<Timestamp>,
}

impl Health {
    /// Watches nobody yet.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            peers: BTreeMap::new(),
            mirrored: BTreeMap::new(),
            plain: BTreeMap::new(),
            due: BTreeSet::new(),
            lots: Lots::new(seed),
            probes: 0,
            out: VecDeque::new(),
        }
    }

    /// A peer answered without SRTP what it had refused with it.
    pub fn found_plain(&mut self, now: Instant, who: Who) {
        self.plain.retain(|_, until| *until > now);
        if self.plain.len() < WATCHED_MAX {
            self.plain.insert(who, now + PLAIN);
        }
    }

    /// Whether a peer took no SRTP lately.
    #[must_use]
    pub fn speaks_plain(&self, now: Instant, who: &Who) -> bool {
        self.plain.get(who).is_some_and(|until| *until > now)
    }

    /// Watches these, and no others. What is known of one that stays is kept.
    pub fn watch(&mut self, now: Now, wanted: BTreeMap<Who, trunk::Health>) {
        self.peers.retain(|who, _| wanted.contains_key(who));
        self.due.retain(|(_, who)| wanted.contains_key(who));
        for (who, settings) in wanted {
            if let Some(known) = self.peers.get_mut(&who) {
                known.settings = settings;
            } else if self.peers.len() < WATCHED_MAX {
                // Spread over a period: a restart must not probe everybody at once.
                let period = Duration::from_secs(u64::from(settings.period_seconds));
                let wakes_at = now.instant + self.within(period);
                self.due.insert((wakes_at, who.clone()));
                let state = State {
                    settings,
                    wakes_at,
                    under_way: None,
                    failures: 0,
                    successes: 0,
                    down_since: None,
                };
                self.peers.insert(who, state);
            }
        }
    }

    /// Since when a peer is down. `None`: it is up, or not watched.
    #[must_use]
    pub fn down_since(&self, who: &Who) -> Option<Timestamp> {
        let watched = self.peers.get(who).and_then(|state| state.down_since);
        watched.or_else(|| self.mirrored.get(who).copied())
    }

    /// Takes these for down, and no others but those that are watched here.
    pub fn mirror(&mut self, down: BTreeMap<Who, Timestamp>) {
        self.mirrored = down;
    }

    /// All that are watched, with since when they are down.
    pub fn peers(&self) -> impl Iterator<Item = (&Who, Option<Timestamp>)> {
        self.peers.iter().map(|(who, state)| (who, state.down_since))
    }

    /// What came of a probe; of one whose time is over nothing comes any more.
    pub fn probed(&mut self, now: Now, who: &Who, probe: u64, heard: Heard) {
        let Some(state) = self.peers.get_mut(who) else { return };
        let Some((_, next)) = state.under_way.take_if(|(under_way, _)| *under_way == probe) else { return };
        self.wake(who, next);
        self.heard(now, who, heard);
    }

    /// A probe that could not be sent for want of room here: nothing was learnt.
    pub fn abandoned(&mut self, who: &Who, probe: u64) {
        let Some(state) = self.peers.get_mut(who) else { return };
        if let Some((_, next)) = state.under_way.take_if(|(under_way, _)| *under_way == probe) {
            self.wake(who, next);
        }
    }

    /// What a call found out about a peer that is watched.
    pub fn called(&mut self, now: Now, who: &Who, heard: Heard) {
        self.heard(now, who, heard);
    }

    /// A deadline has come.
    pub fn timeout(&mut self, now: Now) {
        while let Some((at, who)) = self.due.first().cloned()
            && at <= now.instant
        {
            self.due.pop_first();
            let Some(state) = self.peers.get_mut(&who) else { continue };
            match state.under_way.take() {
                Some((_, next)) => {
                    self.wake(&who, next);
                    self.heard(now, &who, Heard::Silent);
                }
                None => self.probe(now, who),
            }
        }
    }

    /// When [`timeout`](Self::timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn probe(&mut self, now: Now, who: Who) {
        self.probes += 1;
        let (probe, tenth) = (self.probes, self.lots.between(900, 1_100));
        let Some(state) = self.peers.get_mut(&who) else { return };
        // A tenth more or less, lest peers of many edges are probed in step.
        let period = Duration::from_millis(u64::from(state.settings.period_seconds) * tenth);
        state.under_way = Some((probe, now.instant + period));
        let at = now.instant + Duration::from_secs(u64::from(state.settings.timeout_seconds));
        self.wake(&who, at);
        self.out.push_back(Output::Probe { who, probe });
    }

    fn wake(&mut self, who: &Who, at: Instant) {
        if let Some(state) = self.peers.get_mut(who) {
            self.due.remove(&(state.wakes_at, who.clone()));
            state.wakes_at = at;
            self.due.insert((at, who.clone()));
        }
    }

    fn heard(&mut self, now: Now, who: &Who, heard: Heard) {
        let Some(state) = self.peers.get_mut(who) else { return };
        let was_up = state.down_since.is_none();
        if heard.is_alive() {
            (state.failures, state.successes) = (0, state.successes.saturating_add(1));
            if state.successes >= SUCCESSES {
                state.down_since = None;
            }
        } else {
            (state.failures, state.successes) = (state.failures.saturating_add(1), 0);
            if state.failures >= state.settings.failures.max(1) {
                state.down_since.get_or_insert(now.wall);
            }
        }
        let is_up = state.down_since.is_none();
        if is_up != was_up {
            self.out.push_back(Output::Changed { who: who.clone(), is_up, heard });
        }
    }

    fn within(&mut self, period: Duration) -> Duration {
        let longest = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.lots.below(longest))
    }
}

#[cfg(test)]
mod tests;
