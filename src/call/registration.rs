//! Registrations of ours at the registrars of trunks (RFC 3261 §10.2, RFC 3608), without I/O.
//!
//! The contract: tell where to register ([`Registrations::wish`]), [`Registrations::poll`] until `None`, carry it out, tell
//! the reply to each REGISTER, and call [`Registrations::timeout`] at [`Registrations::poll_timeout`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::{TrunkId, net::Flow, trunk::Register};

use crate::{Now, lots::Lots};

/// RFC 5626 §4.5: base and longest time of the back-off.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1_800));

/// Longest registration that a registrar may ask for by 423, and shortest that one may grant, in seconds.
const EXPIRES: (u32, u32) = (10, 86_400);

/// Most values of Service-Route that are kept.
pub const ROUTES_MAX: usize = 8;

/// What a registrar said to a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 2xx.
    Granted {
        /// For how long, in seconds.
        expires_seconds: u32,
        /// Service-Route, topmost first.
        service_route: Vec<String>,
    },
    /// 423, with its Min-Expires in seconds.
    TooBrief(u32),
    /// Any other final response, and its Retry-After in seconds.
    Refused(u16, Option<u32>),
    /// None came.
    Silent,
    /// It could not be sent.
    Unreachable,
}

/// What is to be done, or was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a REGISTER, and tell [`Registrations::replied`].
    Send {
        /// For which trunk.
        trunk: TrunkId,
        /// How long it is to last, in seconds; 0 takes the registration back.
        expires_seconds: u32,
        /// How often it failed in a row: the next address of the registrar is tried each time.
        attempt: u32,
    },
    /// A registration began or is lost.
    Changed {
        /// Of which trunk.
        trunk: TrunkId,
        /// Whether there is one.
        is_registered: bool,
        /// Why, as the end of a sentence that begins with the trunk.
        because: String,
    },
}

/// How a trunk's registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Since when it is registered without a gap. `None`: it is not.
    pub since: Option<Timestamp>,
    /// Way that its calls take, topmost first (RFC 3608).
    pub service_route: Vec<String>,
    /// Where the registrar took it.
    pub flow: Option<Flow>,
}

/// All registrations of an edge.
#[derive(Debug)]
pub struct Registrations {
    trunks: BTreeMap<TrunkId, One>,
    /// Those of another, who keeps them up.
    mirrored: BTreeMap<TrunkId, Standing>,
    due: BTreeSet<(Instant, TrunkId)>,
    lots: Lots,
    draining: bool,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct One {
    register: Register,
    /// What is asked for; 423 raises it.
    expires_seconds: u32,
    standing: Standing,
    /// When the registrar forgets us.
    until: Option<Instant>,
    failures: u32,
    is_under_way: bool,
    wakes_at: Instant,
}

impl Registrations {
    /// None yet.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            trunks: BTreeMap::new(),
            mirrored: BTreeMap::new(),
            due: BTreeSet::new(),
            lots: Lots::new(seed),
            draining: false,
            out: VecDeque::new(),
        }
    }

    /// Registers these, and no others. One that changed begins anew; one that is gone is left to expire, since its
    /// credentials are gone, too.
    pub fn wish(&mut self, now: Instant, wanted: &BTreeMap<TrunkId, Register>) {
        let due = &mut self.due;
        self.trunks.retain(|id, one| {
            let stays = wanted.get(id) == Some(&one.register);
            if !stays {
                due.remove(&(one.wakes_at, id.clone()));
            }
            stays
        });
        for (id, register) in wanted {
            if self.trunks.contains_key(id) || self.draining {
                continue;
            }
            let one = One {
                register: register.clone(),
                expires_seconds: register.expires_seconds,
                standing: Standing { since: None, service_route: Vec::new(), flow: None },
                until: None,
                failures: 0,
                is_under_way: false,
                wakes_at: now,
            };
            self.due.insert((now, id.clone()));
            self.trunks.insert(id.clone(), one);
        }
    }

    /// How a trunk's registration stands. `None`: it has none.
    #[must_use]
    pub fn standing(&self, trunk: &TrunkId) -> Option<&Standing> {
        self.trunks.get(trunk).map(|one| &one.standing).or_else(|| self.mirrored.get(trunk))
    }

    /// Takes these as they stand with another.
    pub fn mirror(&mut self, standings: BTreeMap<TrunkId, Standing>) {
        self.mirrored = standings;
    }

    /// All of them.
    pub fn standings(&self) -> impl Iterator<Item = (&TrunkId, &Standing)> {
        self.trunks.iter().map(|(id, one)| (id, &one.standing))
    }

    /// Takes every registration back, and makes no new one.
    pub fn drain(&mut self) {
        self.draining = true;
        self.due.clear();
        for (trunk, one) in &mut self.trunks {
            if one.standing.since.take().is_some() {
                (one.until, one.is_under_way) = (None, true);
                self.out.push_back(Output::Send { trunk: trunk.clone(), expires_seconds: 0, attempt: 0 });
                self.out.push_back(Output::Changed {
                    trunk: trunk.clone(),
                    is_registered: false,
                    because: "takes its registration back, since this edge drains".into(),
                });
            }
        }
    }

    /// What came of a REGISTER that went by `flow`.
    pub fn replied(&mut self, now: Now, trunk: &TrunkId, flow: Option<Flow>, reply: Reply) {
        if self.draining {
            return;
        }
        let Some(one) = self.trunks.get_mut(trunk).filter(|one| one.is_under_way) else { return };
        one.is_under_way = false;
        match reply {
            Reply::Granted { expires_seconds, service_route } => {
                self.granted(now, trunk, (flow, expires_seconds, service_route));
            }
            Reply::TooBrief(least) if least > one.expires_seconds && least <= EXPIRES.1 => {
                one.expires_seconds = least;
                self.send(now.instant, trunk);
            }
            Reply::TooBrief(_) => self.failed(now, trunk, "is refused with 423", None),
            Reply::Refused(code, after) => self.failed(now, trunk, &format!("is refused with {code}"), after),
            Reply::Silent => self.failed(now, trunk, "gets no answer from its registrar", None),
            Reply::Unreachable => self.failed(now, trunk, "cannot reach its registrar", None),
        }
    }

    /// A deadline has come.
    pub fn timeout(&mut self, now: Now) {
        while let Some((at, trunk)) = self.due.first().cloned()
            && at <= now.instant
        {
            self.due.pop_first();
            self.lose_if_over(now, &trunk, "is no longer registered: its time is over");
            self.send(now.instant, &trunk);
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

    fn send(&mut self, now: Instant, trunk: &TrunkId) {
        let Some(one) = self.trunks.get_mut(trunk) else { return };
        one.is_under_way = true;
        // Should its end never be told: that is after 64·T1 at the latest, and a challenge takes as long once more.
        let at = now + 4 * BACKOFF.0;
        self.out.push_back(Output::Send {
            trunk: trunk.clone(),
            expires_seconds: one.expires_seconds,
            attempt: one.failures,
        });
        self.wake(trunk, at);
    }

    fn granted(
        &mut self,
        now: Now,
        trunk: &TrunkId,
        (flow, expires_seconds, mut service_route): (Option<Flow>, u32, Vec<String>),
    ) {
        let Some(one) = self.trunks.get_mut(trunk) else { return };
        let lasts = Duration::from_secs(u64::from(expires_seconds.clamp(EXPIRES.0, EXPIRES.1)));
        service_route.truncate(ROUTES_MAX);
        let begins = one.standing.since.is_none();
        let since = one.standing.since.or(Some(now.wall));
        one.standing = Standing { since, service_route, flow };
        (one.until, one.failures) = (Some(now.instant + lasts), 0);
        // Early enough to be sent again, and not in step with the others.
        let percent = self.lots.between(50, 90);
        let at = now.instant + lasts * u32::try_from(percent).unwrap_or(50) / 100;
        self.wake(trunk, at);
        if begins {
            let because = format!("is registered for {} s", lasts.as_secs());
            self.out.push_back(Output::Changed { trunk: trunk.clone(), is_registered: true, because });
        }
    }

    /// RFC 5626 §4.5: between half and all of a time that doubles with each failure.
    fn failed(&mut self, now: Now, trunk: &TrunkId, because: &str, after_seconds: Option<u32>) {
        let Some(one) = self.trunks.get_mut(trunk) else { return };
        let first = one.failures == 0;
        one.failures = one.failures.saturating_add(1);
        let upper = BACKOFF.0.saturating_mul(1 << one.failures.min(6)).min(BACKOFF.1);
        let share = u32::try_from(self.lots.between(50, 100)).unwrap_or(100);
        let asked = Duration::from_secs(u64::from(after_seconds.unwrap_or(0))).min(BACKOFF.1);
        let wait = (upper * share / 100).max(asked);
        let registered = one.standing.since.is_some();
        self.lose_if_over(now, trunk, because);
        if first && !registered {
            let because = because.to_owned();
            self.out.push_back(Output::Changed { trunk: trunk.clone(), is_registered: false, because });
        }
        self.wake(trunk, now.instant + wait);
    }

    fn lose_if_over(&mut self, now: Now, trunk: &TrunkId, because: &str) {
        let Some(one) = self.trunks.get_mut(trunk) else { return };
        if one.until.is_some_and(|until| until <= now.instant) {
            one.until = None;
            one.standing = Standing { since: None, service_route: Vec::new(), flow: None };
            let because = because.to_owned();
            self.out.push_back(Output::Changed { trunk: trunk.clone(), is_registered: false, because });
        }
    }

    /// At the end of a registration at the latest.
    fn wake(&mut self, trunk: &TrunkId, at: Instant) {
        let Some(one) = self.trunks.get_mut(trunk) else { return };
        self.due.remove(&(one.wakes_at, trunk.clone()));
        one.wakes_at = one.until.map_or(at, |until| if one.is_under_way { at } else { at.min(until) });
        self.due.insert((one.wakes_at, trunk.clone()));
    }
}

#[cfg(test)]
mod tests;
