//! The live state in memory: of an edge that is alone, and what Redis is compared with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use super::{
    Acquired, Adoption, Agent, AgentState, Ban, Binding, CallRecord, Claimed, Content, ContentId, Counts,
    Cursor, LEASE_KEPT, Lasting, Live, LiveError, NonceKeys, OVER_KEPT, Outcome, PAGE_MAX, Page, Reached,
    Renewed, Secret, Standing, Station, Turn, WRITER_KEPT, Wanted, Written, check, check_lease,
    check_rotation,
    code::{self, milliseconds},
    data,
    ops::{self, Board, Entry, List, Op},
};

/// Time since some beginning, which never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// One in memory: it ends with the process.
pub struct Memory {
    clock: Clock,
    since_ms: u64,
    state: Mutex<State>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

/// What ends by itself.
#[derive(Debug, Clone)]
struct Until<T> {
    value: T,
    ends_ms: u64,
}

#[derive(Debug, Default)]
struct State {
    writers: BTreeMap<String, Until<(u64, u64)>>,
    boards: BTreeMap<Board, BTreeMap<String, Until<Vec<u8>>>>,
    leases: BTreeMap<String, Until<Lease>>,
    calls: BTreeMap<String, Until<Known>>,
    contents: BTreeMap<ContentId, Until<Content>>,
    nonces: Option<(Secret, Option<Secret>, u64)>,
    /// When each may have ended; what was said again since has a later one besides.
    ends: BTreeSet<(u64, What)>,
}

/// What may end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Writer(String),
    Entry(Board, String),
    Lease(String),
    Call(String),
    Content(ContentId),
}

#[derive(Debug, Clone)]
struct Lease {
    holder: String,
    epoch: u64,
    held_until_ms: u64,
}

/// A call, or that it is over.
#[derive(Debug, Clone)]
struct Known {
    record: CallRecord,
    is_over: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty one, on this machine's clock.
    #[must_use]
    pub fn new() -> Self {
        let begun = Instant::now();
        Self::with_clock(Arc::new(move || begun.elapsed()))
    }

    /// An empty one, on a clock of one's own.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        let since_ms = now_ms(&clock);
        Self { clock, since_ms, state: Mutex::new(State::default()) }
    }

    /// What is there now, without what has ended.
    fn now(&self) -> (u64, MutexGuard<'_, State>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read with the lock held: times rise in the order of what is done.
        let now = now_ms(&self.clock);
        state.tidy(now);
        (now, state)
    }

    fn acquire_now(&self, wanted: &Wanted) -> Result<Acquired, LiveError> {
        wanted.check()?;
        let (now, mut state) = self.now();
        let known = state.leases.get(&wanted.lease).map(|lease| lease.value.clone());
        let held = known.as_ref().filter(|lease| lease.held_until_ms > now && lease.holder != wanted.holder);
        if let Some(Lease { holder, epoch, held_until_ms }) = held {
            let left = Duration::from_millis(held_until_ms - now);
            return Ok(Acquired::Theirs { holder: holder.clone(), epoch: *epoch, left });
        }
        let age = Duration::from_millis(now.saturating_sub(self.since_ms));
        if known.is_none() && age < wanted.grace {
            return Ok(Acquired::Young { left: wanted.grace - age });
        }
        let epoch = known.map_or(0, |lease| lease.epoch).max(wanted.known_epoch) + 1;
        state.hold(now, &wanted.lease, &wanted.holder, epoch, milliseconds(wanted.lasts));
        Ok(Acquired::Ours { epoch })
    }

    fn renew_now(&self, lease: &str, holder: &str, epoch: u64, lasts_ms: u64) -> Renewed {
        let (now, mut state) = self.now();
        let known = state.leases.get(lease).map(|lease| lease.value.clone());
        if let Some(known) = known
            && (known.epoch > epoch || (known.epoch == epoch && known.holder != holder))
        {
            return Renewed::Lost { holder: known.holder, epoch: known.epoch };
        }
        state.hold(now, lease, holder, epoch, lasts_ms);
        Renewed::Ours
    }

    fn claim_now(&self, adoption: &Adoption) -> Result<Claimed, LiveError> {
        adoption.check()?;
        let (now, mut state) = self.now();
        let Some(known) = state.calls.get_mut(&adoption.call).filter(|known| !known.value.is_over) else {
            return Ok(Claimed::Gone);
        };
        let record = &mut known.value.record;
        if record.owner == adoption.to {
            return Ok(Claimed::Ours(record.clone()));
        }
        if record.owner != adoption.from {
            return Ok(Claimed::Theirs { owner: record.owner.clone(), epoch: record.epoch });
        }
        record.epoch = record.epoch.max(adoption.known_epoch) + 1;
        record.owner.clone_from(&adoption.to);
        known.ends_ms = now + milliseconds(adoption.lasts);
        let (record, ends_ms) = (known.value.record.clone(), known.ends_ms);
        state.ends.insert((ends_ms, What::Call(record.call.clone())));
        Ok(Claimed::Ours(record))
    }

    fn nonce_keys_now(&self, known: Option<&NonceKeys>, every: Duration) -> Result<NonceKeys, LiveError> {
        check_rotation(every)?;
        let fresh = Secret::drawn()?;
        let (now, mut state) = self.now();
        let every_ms = milliseconds(every);
        let (current, previous, since_ms) = match state.nonces.take() {
            None => (known.map_or(fresh, |keys| keys.current.clone()), None, now),
            Some((current, _, since_ms)) if now.saturating_sub(since_ms) >= every_ms => {
                (fresh, Some(current), now)
            }
            Some(stands) => stands,
        };
        state.nonces = Some((current.clone(), previous.clone(), since_ms));
        let left = Duration::from_millis(every_ms.saturating_sub(now.saturating_sub(since_ms)));
        Ok(NonceKeys { current, previous, left })
    }

    fn page<T>(
        &self,
        after: Option<&Cursor>,
        all: impl FnOnce(&State, u64) -> Vec<(String, u64, T)>,
    ) -> Page<(String, u64, T)> {
        let (now, state) = self.now();
        let mut all = all(&state, now);
        all.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        let after = after.map(|cursor| (cursor.ends_ms, cursor.name.as_str()));
        let mut items: Vec<_> = all
            .into_iter()
            .filter(|(name, ends, _)| after.is_none_or(|after| (*ends, name.as_str()) > after))
            .collect();
        let more = items.len() > PAGE_MAX;
        items.truncate(PAGE_MAX);
        let last = items.last().filter(|_| more);
        let next = last.map(|(name, ends_ms, _)| Cursor { ends_ms: *ends_ms, name: name.clone() });
        Page { items, next }
    }

    fn listed(&self, list: &List, after: Option<&Cursor>) -> Page<(String, u64, Vec<Entry>)> {
        self.page(after, |state, now| {
            let of_list = |board: &Board| board.listed().filter(|(of, _)| of == list).map(|(_, name)| name);
            let boards = state.boards.keys().filter_map(|board| of_list(board).map(|name| (name, board)));
            let item = |(name, board): (String, &Board)| {
                let entries = state.entries(board, now);
                (name, entries.iter().map(|entry| entry.ends_ms).max().unwrap_or(now), entries)
            };
            boards.map(item).collect()
        })
    }
}

fn forget<K: Ord, T>(all: &mut BTreeMap<K, Until<T>>, name: &K, now: u64) {
    if all.get(name).is_some_and(|until| until.ends_ms <= now) {
        all.remove(name);
    }
}

fn now_ms(clock: &Clock) -> u64 {
    u64::try_from(clock().as_millis()).unwrap_or(u64::MAX)
}

impl State {
    fn tidy(&mut self, now: u64) {
        while self.ends.first().is_some_and(|(ends_ms, _)| *ends_ms <= now) {
            let Some((_, what)) = self.ends.pop_first() else { return };
            match what {
                What::Writer(writer) => forget(&mut self.writers, &writer, now),
                What::Lease(lease) => forget(&mut self.leases, &lease, now),
                What::Call(call) => forget(&mut self.calls, &call, now),
                What::Content(id) => forget(&mut self.contents, &id, now),
                What::Entry(board, field) => {
                    let Some(entries) = self.boards.get_mut(&board) else { continue };
                    forget(entries, &field, now);
                    if entries.is_empty() {
                        self.boards.remove(&board);
                    }
                }
            }
        }
    }

    fn kept(&mut self, now: u64, writer: &str) -> u64 {
        let ends_ms = now + milliseconds(WRITER_KEPT);
        self.ends.insert((ends_ms, What::Writer(writer.to_owned())));
        ends_ms
    }

    fn hold(&mut self, now: u64, lease: &str, holder: &str, epoch: u64, lasts_ms: u64) {
        let value = Lease { holder: holder.to_owned(), epoch, held_until_ms: now + lasts_ms };
        let ends_ms = now + milliseconds(LEASE_KEPT);
        self.ends.insert((ends_ms, What::Lease(lease.to_owned())));
        self.leases.insert(lease.to_owned(), Until { value, ends_ms });
    }

    fn entries(&self, board: &Board, now: u64) -> Vec<Entry> {
        let entry = |(field, until): (&String, &Until<Vec<u8>>)| Entry {
            field: field.clone(),
            ends_ms: until.ends_ms,
            left: Duration::from_millis(until.ends_ms - now),
            value: until.value.clone(),
        };
        self.boards.get(board).into_iter().flatten().map(entry).collect()
    }

    fn apply(&mut self, now: u64, op: Op<'_>) -> Outcome {
        match op {
            Op::Put { board, field, lasts, place, series, value, most } => {
                let ends_ms = now + milliseconds(lasts);
                let what = What::Entry(board.clone(), field.clone());
                let entries = self.boards.entry(board).or_default();
                match entries.get(&field).and_then(|until| code::order(&until.value)) {
                    Some((was, _)) if was.series == series && was.place > place => return Outcome::Older,
                    None if entries.len() >= most => return Outcome::TooMany,
                    Some(_) | None => {}
                }
                entries.insert(field, Until { value, ends_ms });
                self.ends.insert((ends_ms, what));
                Outcome::Done
            }
            Op::Drop { board, field, owner } => {
                let Some(entries) = self.boards.get_mut(&board) else { return Outcome::Done };
                let was = entries.get(&field).and_then(|until| code::order(&until.value));
                if was.is_some_and(|(was, _)| owner.is_some_and(|owner| was.owner != owner)) {
                    return Outcome::Older;
                }
                entries.remove(&field);
                if entries.is_empty() {
                    self.boards.remove(&board);
                }
                Outcome::Done
            }
            Op::Call { record, lasts } => self.write_call(record.clone(), false, now + milliseconds(lasts)),
            Op::Over { call, owner, epoch } => {
                let (call, owner) = (call.to_owned(), owner.to_owned());
                let record = CallRecord { call, owner, epoch, body: bytes::Bytes::new() };
                self.write_call(record, true, now + milliseconds(OVER_KEPT))
            }
            Op::Keep { content, lasts } => {
                let until = Until { value: content.clone(), ends_ms: now + milliseconds(lasts) };
                self.ends.insert((until.ends_ms, What::Content(content.id())));
                self.contents.insert(content.id(), until);
                Outcome::Done
            }
        }
    }

    fn write_call(&mut self, record: CallRecord, is_over: bool, ends_ms: u64) -> Outcome {
        if let Some(Known { record: was, is_over: was_over }) =
            self.calls.get(&record.call).map(|was| &was.value)
        {
            let is_same = was.epoch == record.epoch && was.owner == record.owner;
            if is_same && is_over && *was_over {
                return Outcome::Done;
            }
            if was.epoch > record.epoch || (was.epoch == record.epoch && (!is_same || *was_over)) {
                return Outcome::Fenced { owner: was.owner.clone(), epoch: was.epoch };
            }
        }
        self.ends.insert((ends_ms, What::Call(record.call.clone())));
        self.calls.insert(record.call.clone(), Until { value: Known { record, is_over }, ends_ms });
        Outcome::Done
    }
}

impl Live for Memory {
    fn enter<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Turn, LiveError>> {
        Box::pin(async move {
            data::name("writer", writer)?;
            let (now, mut state) = self.now();
            let ends_ms = state.kept(now, writer);
            let fresh = Until { value: (0, 0), ends_ms };
            let known = state.writers.entry(writer.to_owned()).or_insert(fresh);
            known.value.0 += 1;
            known.ends_ms = ends_ms;
            Ok(Turn { writer: writer.to_owned(), turn: known.value.0, batches: known.value.1 })
        })
    }

    fn write<'a>(
        &'a self,
        turn: &'a Turn,
        changes: &'a [Lasting],
    ) -> BoxFuture<'a, Result<Written, LiveError>> {
        Box::pin(async move {
            check(changes)?;
            let (now, mut state) = self.now();
            let known = state.writers.get_mut(&turn.writer).filter(|known| known.value.0 == turn.turn);
            let Some(known) = known else { return Err(LiveError::Superseded(turn.writer.clone())) };
            known.value.1 += 1;
            known.ends_ms = now + milliseconds(WRITER_KEPT);
            let batches = known.value.1;
            state.kept(now, &turn.writer);
            let outcomes = changes.iter().map(|change| state.apply(now, ops::op(change))).collect();
            Ok(Written { batches, outcomes })
        })
    }

    fn bindings<'a>(
        &'a self,
        station: &'a Station,
    ) -> BoxFuture<'a, Result<Vec<Standing<Binding>>, LiveError>> {
        Box::pin(async move {
            data::check_station(station)?;
            let (now, state) = self.now();
            ops::bindings(station, &state.entries(&Board::Station(station.clone()), now))
        })
    }

    fn stations<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Reached>, LiveError>> {
        Box::pin(async move {
            data::part("tenant", tenant)?;
            let Page { items, next } = self.listed(&List::Stations(tenant.to_owned()), after);
            let mut stations = Vec::with_capacity(items.len());
            for (name, _, entries) in items {
                if let Some(station) = List::station(tenant, &name) {
                    let bindings = ops::bindings(&station, &entries)?;
                    stations.push((station, bindings));
                }
            }
            Ok(Page { items: stations, next })
        })
    }

    fn agent<'a>(&'a self, agent: &'a Agent) -> BoxFuture<'a, Result<AgentState, LiveError>> {
        Box::pin(async move {
            data::check_agent(agent)?;
            let (now, state) = self.now();
            ops::agent_state(agent, &state.entries(&Board::Agent(agent.clone()), now))
        })
    }

    fn agents<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<(Agent, AgentState)>, LiveError>> {
        Box::pin(async move {
            data::part("tenant", tenant)?;
            let Page { items, next } = self.listed(&List::Agents(tenant.to_owned()), after);
            let mut agents = Vec::with_capacity(items.len());
            for (name, _, entries) in items {
                let agent = Agent::new(tenant, &name);
                let state = ops::agent_state(&agent, &entries)?;
                agents.push((agent, state));
            }
            Ok(Page { items: agents, next })
        })
    }

    fn counts(&self) -> BoxFuture<'_, Result<Vec<Standing<Counts>>, LiveError>> {
        Box::pin(async move {
            let (now, state) = self.now();
            ops::read_all(&Board::Counts, &state.entries(&Board::Counts, now))
        })
    }

    fn bans<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Standing<Ban>>, LiveError>> {
        Box::pin(async move {
            let entries = |state: &State, now| state.entries(&Board::Bans, now).into_iter();
            let item = |entry: Entry| (entry.field.clone(), entry.ends_ms, entry);
            let Page { items, next } = self.page(after, |state, now| entries(state, now).map(item).collect());
            let items: Vec<Entry> = items.into_iter().map(|(_, _, entry)| entry).collect();
            Ok(Page { items: ops::read_all(&Board::Bans, &items)?, next })
        })
    }

    fn acquire<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Acquired, LiveError>> {
        Box::pin(async move { self.acquire_now(wanted) })
    }

    fn renew<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        epoch: u64,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Renewed, LiveError>> {
        Box::pin(async move {
            check_lease(lease, holder, epoch)?;
            data::lasts(lasts)?;
            Ok(self.renew_now(lease, holder, epoch, milliseconds(lasts)))
        })
    }

    fn release<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), LiveError>> {
        Box::pin(async move {
            check_lease(lease, holder, epoch)?;
            self.renew_now(lease, holder, epoch, 0);
            Ok(())
        })
    }

    fn call<'a>(&'a self, call: &'a str) -> BoxFuture<'a, Result<Option<Standing<CallRecord>>, LiveError>> {
        Box::pin(async move {
            data::name("call", call)?;
            let (now, state) = self.now();
            let known = state.calls.get(call).filter(|known| !known.value.is_over);
            Ok(known.map(|known| Standing {
                value: known.value.record.clone(),
                left: Duration::from_millis(known.ends_ms - now),
            }))
        })
    }

    fn calls_of<'a>(
        &'a self,
        owner: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Standing<CallRecord>>, LiveError>> {
        Box::pin(async move {
            data::name("owner", owner)?;
            let Page { items, next } = self.page(after, |state, now| {
                let own = |known: &&Until<Known>| !known.value.is_over && known.value.record.owner == owner;
                let item = |known: &Until<Known>| {
                    let left = Duration::from_millis(known.ends_ms - now);
                    let value = known.value.record.clone();
                    (value.call.clone(), known.ends_ms, Standing { value, left })
                };
                state.calls.values().filter(own).map(item).collect()
            });
            Ok(Page { items: items.into_iter().map(|(_, _, record)| record).collect(), next })
        })
    }

    fn owners<'a>(&'a self, after: Option<&'a Cursor>) -> BoxFuture<'a, Result<Page<String>, LiveError>> {
        Box::pin(async move {
            let Page { items, next } = self.page(after, |state, _| {
                let mut owners = BTreeMap::new();
                for known in state.calls.values().filter(|known| !known.value.is_over) {
                    let ends = owners.entry(known.value.record.owner.clone()).or_insert(0);
                    *ends = known.ends_ms.max(*ends);
                }
                owners.into_iter().map(|(owner, ends)| (owner, ends, ())).collect()
            });
            Ok(Page { items: items.into_iter().map(|(owner, _, ())| owner).collect(), next })
        })
    }

    fn claim<'a>(&'a self, adoption: &'a Adoption) -> BoxFuture<'a, Result<Claimed, LiveError>> {
        Box::pin(async move { self.claim_now(adoption) })
    }

    fn content<'a>(&'a self, id: &'a ContentId) -> BoxFuture<'a, Result<Option<Content>, LiveError>> {
        Box::pin(async move {
            let (_, state) = self.now();
            Ok(state.contents.get(id).map(|until| until.value.clone()))
        })
    }

    fn nonce_keys<'a>(
        &'a self,
        known: Option<&'a NonceKeys>,
        every: Duration,
    ) -> BoxFuture<'a, Result<NonceKeys, LiveError>> {
        Box::pin(async move { self.nonce_keys_now(known, every) })
    }
}
