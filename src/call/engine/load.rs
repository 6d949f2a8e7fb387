//! How much there is at the moment, for the caps.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::{
    AgentId, CallId, E164, LegId, TrunkId,
    net::Flow,
    snapshot::{NumberRange, TenantLimits, Trunk},
};

use sip::endpoint::Endpoint;

use super::{floors::Floors, standing::Standing};
use crate::{
    admission::{Load, Numbered},
    call::Trunks,
    health::{Health, Who},
    lots::Lots,
    registrar::{Bound, Registrar, StationId},
    registration::Registrations,
    world::World,
};

/// Calls at the moment, and how fast they came: what caps are held against.
#[derive(Debug, Default)]
pub struct Tallies {
    calls: u32,
    trunks: BTreeMap<TrunkId, u32>,
    numbers: BTreeMap<(TrunkId, E164), u32>,
    rates: BTreeMap<TrunkId, Bucket>,
    number_rates: BTreeMap<(TrunkId, E164), Bucket>,
    /// Calls to all numbers of tenants, and how fast they came.
    tenants: BTreeMap<String, u32>,
    tenant_rates: BTreeMap<String, Bucket>,
}

/// Where several engines of an edge count together. Each question sees what all of them have counted before it; so two that
/// ask at the same instant may both be told that there is room for one.
pub trait Together: std::fmt::Debug + Send + Sync {
    /// Lets something be read or counted, alone.
    fn with(&self, run: &mut dyn FnMut(&mut Tallies));
}

/// The tallies, and what of them is this engine's own.
#[derive(Debug, Default)]
pub(super) struct Loads {
    own: RefCell<Tallies>,
    together: Option<Arc<dyn Together>>,
    /// Calls that are counted.
    counted: BTreeSet<CallId>,
    /// The trunk that each leg burdens.
    of_leg: BTreeMap<LegId, TrunkId>,
}

/// Buckets of numbers, beyond which those that are full again are forgotten: a full one is as none.
const BUCKETS_MAX: usize = 4_096;

/// The loads at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    load: &'a Loads,
    now: Instant,
}

impl Load for At<'_> {
    fn calls(&self) -> u32 {
        self.load.calls_now()
    }

    fn of_trunk(&self, trunk: &TrunkId) -> u32 {
        self.load.read(|tallies| tallies.of_trunk(trunk))
    }

    fn of_number(&self, trunk: &TrunkId, number: &NumberRange) -> u32 {
        self.load.read(|tallies| tallies.of_number(trunk, number))
    }

    fn is_too_fast(&self, trunk: &TrunkId, per_second: u32) -> bool {
        self.load.read(|tallies| !tallies.has_token(trunk, per_second, self.now))
    }

    fn is_number_too_fast(&self, trunk: &TrunkId, number: &NumberRange, per_second: u32) -> bool {
        self.load.read(|tallies| {
            let bucket = tallies.number_rates.get(&(trunk.clone(), number.first));
            bucket.is_some_and(|bucket| bucket.filled(per_second, self.now) < Bucket::CALL)
        })
    }

    fn of_tenant(&self, tenant: &str) -> u32 {
        self.load.read(|tallies| tallies.tenants.get(tenant).copied().unwrap_or(0))
    }

    fn is_tenant_too_fast(&self, tenant: &str, per_second: u32) -> bool {
        self.load.read(|tallies| {
            let bucket = tallies.tenant_rates.get(tenant);
            bucket.is_some_and(|bucket| bucket.filled(per_second, self.now) < Bucket::CALL)
        })
    }
}

impl Tallies {
    fn of_trunk(&self, trunk: &TrunkId) -> u32 {
        self.trunks.get(trunk).copied().unwrap_or(0)
    }

    fn of_number(&self, trunk: &TrunkId, number: &NumberRange) -> u32 {
        self.numbers.get(&(trunk.clone(), number.first)).copied().unwrap_or(0)
    }

    fn has_token(&self, trunk: &TrunkId, per_second: u32, now: Instant) -> bool {
        self.rates.get(trunk).is_none_or(|bucket| bucket.filled(per_second, now) >= Bucket::CALL)
    }

    fn spend_number(
        &mut self,
        trunk: &TrunkId,
        number: &NumberRange,
        tenant: Option<&TenantLimits>,
        now: Instant,
    ) {
        if let Some(rate) = number.calls_per_second_max {
            if self.number_rates.len() >= BUCKETS_MAX {
                self.number_rates.retain(|_, bucket| !bucket.is_full_at(now));
            }
            let bucket = self.number_rates.entry((trunk.clone(), number.first));
            bucket.or_insert_with(|| Bucket::full(rate, now)).spend(rate, now);
        }
        if let Some(rate) = tenant.and_then(|tenant| tenant.calls_per_second_max) {
            let bucket = self.tenant_rates.entry(number.id.0.namespace().to_owned());
            bucket.or_insert_with(|| Bucket::full(rate, now)).spend(rate, now);
        }
    }

    fn spend(&mut self, id: &TrunkId, trunk: &Trunk, now: Instant) {
        match trunk.calls_per_second_max {
            Some(rate) => {
                let bucket = self.rates.entry(id.clone()).or_insert_with(|| Bucket::full(rate, now));
                bucket.spend(rate, now);
            }
            None => {
                self.rates.remove(id);
            }
        }
    }
}

impl Loads {
    pub(super) fn new(together: Option<Arc<dyn Together>>) -> Self {
        Self { together, ..Self::default() }
    }

    pub(super) const fn at(&self, now: Instant) -> At<'_> {
        At { load: self, now }
    }

    fn read<T: Default>(&self, read: impl FnOnce(&mut Tallies) -> T) -> T {
        let Some(together) = &self.together else { return read(&mut self.own.borrow_mut()) };
        let (mut read, mut found) = (Some(read), T::default());
        together.with(&mut |tallies| {
            if let Some(read) = read.take() {
                found = read(tallies);
            }
        });
        found
    }

    pub(super) fn begin(
        &mut self,
        call: CallId,
        leg: LegId,
        trunk: Option<&TrunkId>,
        number: Option<&Numbered>,
    ) {
        self.read(|tallies| {
            tallies.calls += 1;
            if let Some(Numbered { trunk, range }) = number {
                *tallies.numbers.entry((trunk.clone(), range.first)).or_default() += 1;
                *tallies.tenants.entry(range.id.0.namespace().to_owned()).or_default() += 1;
            }
        });
        self.counted.insert(call);
        if let Some(trunk) = trunk {
            self.burden(leg, trunk);
        }
    }

    /// Whether a call is counted.
    pub(super) fn is_counted(&self, call: CallId) -> bool {
        self.counted.contains(&call)
    }

    /// Calls in all.
    pub(super) fn calls_now(&self) -> u32 {
        self.read(|tallies| tallies.calls)
    }

    /// The cap of a number that is reached.
    pub(super) fn at_number_cap(&self, trunk: &TrunkId, number: &NumberRange) -> Option<u32> {
        let calls = self.read(|tallies| tallies.of_number(trunk, number));
        number.calls_max.filter(|cap| calls >= *cap)
    }

    pub(super) fn burden(&mut self, leg: LegId, trunk: &TrunkId) {
        self.of_leg.insert(leg, trunk.clone());
        self.read(|tallies| *tallies.trunks.entry(trunk.clone()).or_default() += 1);
    }

    /// The trunk that a leg burdens.
    pub(super) fn trunk_of(&self, leg: LegId) -> Option<&TrunkId> {
        self.of_leg.get(&leg)
    }

    /// Once per leg; again is harmless.
    pub(super) fn unburden(&mut self, leg: LegId) {
        if let Some(trunk) = self.of_leg.remove(&leg) {
            self.read(|tallies| lower(&mut tallies.trunks, &trunk));
        }
    }

    /// Once per call; again is harmless.
    pub(super) fn end(&mut self, call: CallId, leg: LegId, number: Option<&Numbered>) {
        if self.counted.remove(&call) {
            self.read(|tallies| {
                tallies.calls -= 1;
                if let Some(Numbered { trunk, range }) = number {
                    lower(&mut tallies.numbers, &(trunk.clone(), range.first));
                    lower(&mut tallies.tenants, range.id.0.namespace());
                }
            });
            self.unburden(leg);
        }
    }

    /// Whether a trunk takes one more call of ours, or why not.
    pub(super) fn takes(&self, id: &TrunkId, trunk: &Trunk, now: Instant) -> Result<(), String> {
        if trunk.calls_max.is_none() && trunk.calls_per_second_max.is_none() {
            return Ok(());
        }
        let (calls, has_token) = self.read(|tallies| {
            let rate = trunk.calls_per_second_max;
            (tallies.of_trunk(id), rate.is_none_or(|rate| tallies.has_token(id, rate, now)))
        });
        if let Some(cap) = trunk.calls_max.filter(|cap| calls >= *cap) {
            return Err(format!("Trunk {id}'s limits.calls of {cap} is reached"));
        }
        match trunk.calls_per_second_max.filter(|_| !has_token) {
            Some(rate) => Err(format!("Trunk {id}'s limits.callsPerSecond of {rate} is reached")),
            None => Ok(()),
        }
    }

    /// A call came to a number.
    pub(super) fn spend_number(
        &mut self,
        trunk: &TrunkId,
        number: &NumberRange,
        tenant: Option<&TenantLimits>,
        now: Instant,
    ) {
        self.read(|tallies| tallies.spend_number(trunk, number, tenant, now));
    }

    /// A call came or left by a trunk.
    pub(super) fn spend(&mut self, id: &TrunkId, trunk: &Trunk, now: Instant) {
        self.read(|tallies| tallies.spend(id, trunk, now));
    }
}

/// Tokens that calls are paid with: as many come in a second as calls may, and no more are kept.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In billionths of a call, so that nothing is lost by rounding.
    tokens: u64,
    at: Instant,
}

impl Bucket {
    const CALL: u64 = 1_000_000_000;

    const fn full(per_second: u32, now: Instant) -> Self {
        Self { tokens: per_second as u64 * Self::CALL, at: now }
    }

    fn filled(&self, per_second: u32, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).min(Duration::from_secs(1));
        let rate = u64::from(per_second);
        let came = u64::from(passed.subsec_nanos()) + passed.as_secs() * Self::CALL;
        self.tokens.saturating_add(came * rate).min(rate * Self::CALL)
    }

    /// Whatever it had, a second fills it.
    fn is_full_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= Duration::from_secs(1)
    }

    fn spend(&mut self, per_second: u32, now: Instant) {
        self.tokens = self.filled(per_second, now).saturating_sub(Self::CALL);
        self.at = self.at.max(now);
    }
}

fn lower<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(counts: &mut BTreeMap<K, u32>, key: &Q) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// How trunks stand at a time.
#[derive(Debug)]
pub(super) struct Standings<'a> {
    pub(super) world: &'a World,
    pub(super) load: &'a Loads,
    pub(super) health: &'a Health,
    pub(super) registrations: &'a Registrations,
    pub(super) endpoint: &'a Endpoint,
    pub(super) registrar: &'a Registrar,
    pub(super) floors: &'a Floors,
    pub(super) standing: &'a Standing,
    pub(super) now: Instant,
}

impl Trunks for Standings<'_> {
    fn takes(&self, trunk: &TrunkId) -> Result<(), String> {
        match self.world.snapshot.trunks.get(trunk) {
            Some(limits) => self.load.takes(trunk, limits, self.now),
            None => Err(format!("Trunk {trunk} is gone")),
        }
    }

    fn down_since(&self, who: &Who) -> Option<Timestamp> {
        self.health.down_since(who)
    }

    fn speaks_plain(&self, who: &Who) -> bool {
        self.health.speaks_plain(self.now, who)
    }

    fn is_proceeding(&self, leg: LegId) -> bool {
        self.endpoint.is_proceeding(leg)
    }

    fn is_engaged(&self, agent: &AgentId) -> bool {
        self.floors.is_engaged(agent)
    }

    fn is_up(&self, agent: &AgentId) -> bool {
        self.standing.free(agent).is_some()
    }

    fn bindings(&self, station: &StationId) -> &[Bound] {
        self.registrar.bindings(station)
    }

    fn route(&self, trunk: &TrunkId) -> Option<(Vec<Flow>, &[String])> {
        let standing = self.registrations.standing(trunk)?;
        let routes = standing.service_route.as_slice();
        let first = routes.first().filter(|_| standing.since.is_some())?;
        // In an order of its own for each call.
        let mut lots = Lots::new(u64::from(self.load.calls_now()));
        let mut flows = self.world.flows_by_route(trunk, first, &mut lots);
        if flows.is_empty() {
            // As long as nobody knows where that is: whoever took the registration is mostly the same, or knows.
            flows.push(standing.flow?);
        }
        Some((flows, routes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rate, then milliseconds at which a call comes and whether it is taken.
    #[test]
    fn tokens_come_as_the_rate_says_and_no_more_are_kept() {
        #[expect(clippy::disallowed_methods, reason = "the one clock of the test")]
        let start = Instant::now();
        let rows: [(u32, &[(u64, bool)]); 4] = [
            (1, &[(0, true), (1, false), (999, false), (1_000, true), (1_001, false)]),
            (2, &[(0, true), (0, true), (0, false), (500, true), (500, false), (1_000, true)]),
            // An hour of silence saves no more than one second's calls.
            (2, &[(0, true), (3_600_000, true), (3_600_000, true), (3_600_000, false)]),
            (3, &[(0, true), (0, true), (0, true), (333, false), (334, true), (335, false)]),
        ];
        for (rate, calls) in rows {
            let mut bucket = Bucket::full(rate, start);
            for (at_ms, wanted) in calls {
                let now = start + Duration::from_millis(*at_ms);
                let taken = bucket.filled(rate, now) >= Bucket::CALL;
                assert_eq!(taken, *wanted, "{rate} a second, at {at_ms} ms");
                if taken {
                    bucket.spend(rate, now);
                }
            }
        }
    }
}
