//! The live state in Redis or Valkey.
//!
//! Each change is a part of one script, which takes it whole or not at all, in one slot of a Cluster. Times are the server's.
//!
//! | key | what | ends with |
//! |---|---|---|
//! | `{c14}:writer:ID` | a writer's turn, and how many batches it has brought | an hour after the last one |
//! | `{c14}:since` | when the first writer came | 30 days after the last one came |
//! | `{c14}:station:TENANT/AGENT/NAME`, `{c14}:agent:TENANT/NAME`, `{c14}:counts`, `{c14}:bans` | a board: its entries | the last of them |
//! | the same and `:ends` | when each ends | the last of them |
//! | `{c14}:stations:TENANT`, `{c14}:agents:TENANT` | which boards there are | the last of them |
//! | `{c14}:lease:NAME` | holder, epoch and until when | 30 days after it was held |
//! | `{c14}:call:ID` | owner, epoch and body, or that it is over | what its owner says; ten minutes |
//! | `{c14}:calls:EDGE`, `{c14}:owners` | which calls an edge has, and which edges have any | the last of them |
//! | `{c14}:content:SHA-256` | a program or a prompt | what was said last |
//! | `{c14}:nonces` | the nonces' secret and the one before | four rotations |

mod config;
mod link;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use redis::{Cmd, FromRedisValue, Value};

pub use self::config::{Address, BadConfig, Login, Mode, RedisConfig};
use self::link::{Failed, Link};
use super::{
    Acquired, Adoption, Agent, AgentState, Ban, Binding, CallRecord, Claimed, Content, ContentId, Counts,
    Cursor, LEASE_KEPT, Lasting, Live, LiveError, NonceKeys, OVER_KEPT, Outcome, PAGE_MAX, PAGE_OCTETS, Page,
    Reached, Renewed, Secret, Standing, Station, Turn, WAIT_MAX, WRITER_KEPT, Wanted, Written, check,
    check_lease, check_rotation,
    code::milliseconds,
    data,
    ops::{self, Board, Entry, List, Op},
};

/// Records of calls of one page: they are larger than all else.
const CALLS_PAGE: usize = 64;
/// How often something is asked again that another server must answer, or that needs its script.
const AGAIN_MAX: u32 = 4;

/// A script, and what a server calls it.
struct Script {
    text: &'static str,
    sha1: String,
}

struct Scripts {
    enter: Script,
    write: Script,
    page: Script,
    lease: Script,
    claim: Script,
    nonces: Script,
}

/// One in Redis or Valkey.
pub struct Redis {
    link: Link,
    prefix: String,
    scripts: Scripts,
    answer: Duration,
    /// What the server's clock said last, and when we began to ask: it is not earlier there than this tells.
    clock: Mutex<Option<(u64, Instant)>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.prefix)
    }
}

impl Script {
    fn new(text: &'static str) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { text, sha1: digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect() }
    }

    fn command(&self, whole: bool, keys: &[String], args: &[Vec<u8>]) -> Cmd {
        let mut command = redis::cmd(if whole { "EVAL" } else { "EVALSHA" });
        command.arg(if whole { self.text } else { &self.sha1 }).arg(keys.len()).arg(keys).arg(args);
        command
    }
}

impl Redis {
    /// Connects when something is asked, within an asynchronous runtime.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn new(config: RedisConfig) -> Result<Self, BadConfig> {
        let prefix = format!("{{{}}}:", config.cluster);
        let answer = config.answer;
        let link = Link::new(config, format!("{prefix}since"))?;
        let scripts = Scripts {
            enter: Script::new(include_str!("scripts/enter.lua")),
            write: Script::new(include_str!("scripts/write.lua")),
            page: Script::new(include_str!("scripts/page.lua")),
            lease: Script::new(include_str!("scripts/lease.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            nonces: Script::new(include_str!("scripts/nonces.lua")),
        };
        Ok(Self { link, prefix, scripts, answer, clock: Mutex::default() })
    }

    /// How many connections it has made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.link.made()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn ends(&self, name: &str) -> String {
        format!("{}{name}:ends", self.prefix)
    }

    fn told_time(&self, asked: Instant, now_ms: u64) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, asked));
    }

    /// On the server's clock: when we will have given up what we ask now. Not known before anything was told.
    fn too_late_ms(&self) -> u64 {
        let told = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or(data::ORDER_MAX, |(now_ms, asked)| now_ms + milliseconds(asked.elapsed() + self.answer))
    }

    async fn bounded<T>(&self, what: impl Future<Output = Result<T, LiveError>>) -> Result<T, LiveError> {
        match tokio::time::timeout(WAIT_MAX, what).await {
            Ok(done) => done,
            Err(_) => Err(LiveError::Late(format!("nothing has come of it for {WAIT_MAX:?}"))),
        }
    }

    /// Asks whichever server it is. What was not done is asked again, what may have been done is not.
    async fn ask(&self, command: impl Fn(bool) -> Cmd) -> Result<Value, LiveError> {
        let mut whole = false;
        for _ in 0..AGAIN_MAX {
            let mut connection = self.link.connection().await?;
            match self.link.ask(&mut connection, &command(whole)).await {
                Ok(value) => return Ok(value),
                Err(Failed::NoScript) => whole = true,
                Err(Failed::Moved) => {}
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        Err(LiveError::Away("each server says that another one has our keys".into()))
    }

    async fn run(&self, script: &Script, keys: &[String], args: &[Vec<u8>]) -> Result<Answer, LiveError> {
        Answer::new(self.ask(|whole| script.command(whole, keys, args)).await?)
    }

    /// Several at once. A script among them is known to the server, or all of it is asked again.
    async fn run_all(&self, commands: impl Fn(bool) -> redis::Pipeline) -> Result<Vec<Value>, LiveError> {
        let mut whole = false;
        for _ in 0..AGAIN_MAX {
            let mut connection = self.link.connection().await?;
            match self.link.ask_all(&mut connection, &commands(whole)).await {
                Ok(values) => return Ok(values),
                Err(Failed::NoScript) => whole = true,
                Err(Failed::Moved) => {}
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        Err(LiveError::Away("each server says that another one has our keys".into()))
    }

    fn page_args(after: Option<&Cursor>, most: usize) -> Vec<Vec<u8>> {
        let (ends_ms, name) = after.map_or((0, ""), |cursor| (cursor.ends_ms, cursor.name.as_str()));
        vec![octets(ends_ms), name.into(), octets(most), octets(PAGE_OCTETS)]
    }

    /// Entries of a board.
    async fn entries(&self, board: &Board, after: Option<&Cursor>) -> Result<Page<Entry>, LiveError> {
        let name = board.key();
        let keys = [self.ends(&name), self.key(&name)];
        self.run(&self.scripts.page, &keys, &Self::page_args(after, PAGE_MAX)).await?.page()
    }

    /// All of it, which is not much.
    async fn whole(&self, board: &Board) -> Result<Vec<Entry>, LiveError> {
        let mut all: Vec<Entry> = Vec::new();
        let mut after = None;
        loop {
            let Page { items, next } = self.entries(board, after.as_ref()).await?;
            // What was said again meanwhile comes again, with a later end.
            all.retain(|entry| items.iter().all(|newer| newer.field != entry.field));
            all.extend(items);
            let Some(next) = next else { return Ok(all) };
            after = Some(next);
        }
    }

    /// Names in a sorted set.
    async fn names(&self, set: &str, after: Option<&Cursor>, most: usize) -> Result<Page<Entry>, LiveError> {
        self.run(&self.scripts.page, &[self.key(set)], &Self::page_args(after, most)).await?.page()
    }

    /// Boards of a tenant, with what is on them.
    async fn listed(
        &self,
        list: &List,
        board: impl Fn(&str) -> Option<Board>,
        after: Option<&Cursor>,
    ) -> Result<Page<(String, Vec<Entry>)>, LiveError> {
        let Page { items, next } = self.names(&list.key(), after, PAGE_MAX).await?;
        let boards: Vec<(String, Board)> = items
            .into_iter()
            .filter_map(|entry| board(&entry.field).map(|board| (entry.field, board)))
            .collect();
        if boards.is_empty() {
            return Ok(Page { items: Vec::new(), next });
        }
        let values = self
            .run_all(|whole| {
                let mut commands = redis::pipe();
                for (_, board) in &boards {
                    let name = board.key();
                    let keys = [self.ends(&name), self.key(&name)];
                    let args = Self::page_args(None, PAGE_MAX);
                    commands.add_command(self.scripts.page.command(whole, &keys, &args));
                }
                commands
            })
            .await?;
        let mut listed = Vec::with_capacity(boards.len());
        for ((name, _), value) in boards.into_iter().zip(values) {
            let entries = Answer::new(value)?.page()?.items;
            if !entries.is_empty() {
                listed.push((name, entries));
            }
        }
        Ok(Page { items: listed, next })
    }

    /// Adds what a change needs of keys and arguments.
    fn add(&self, op: Op<'_>, keys: &mut Vec<String>, args: &mut Vec<Vec<u8>>) {
        let mut board_of = |board: &Board| {
            let name = board.key();
            let (list, listed) = board.listed().map_or_else(
                || (self.ends(&name), String::new()),
                |(list, listed)| (self.key(&list.key()), listed),
            );
            keys.extend([self.key(&name), self.ends(&name), list]);
            listed
        };
        match op {
            Op::Put { board, field, lasts, place, series, value, most } => {
                let listed = board_of(&board);
                args.extend(["put".into(), listed.into(), field.into(), octets(milliseconds(lasts))]);
                args.extend([octets(place), series.into(), value, octets(most)]);
            }
            Op::Drop { board, field, owner } => {
                let listed = board_of(&board);
                args.extend(["drop".into(), listed.into(), field.into(), owner.unwrap_or_default().into()]);
            }
            Op::Call { record: CallRecord { call, owner, epoch, body }, lasts } => {
                keys.extend(self.call_keys(call, owner));
                keys.push(self.key("owners"));
                args.extend(["call".into(), call.as_str().into(), owner.as_str().into(), octets(epoch)]);
                args.extend([octets(milliseconds(lasts)), body.to_vec()]);
            }
            Op::Over { call, owner, epoch } => {
                keys.extend(self.call_keys(call, owner));
                args.extend(["over".into(), call.into(), owner.into(), octets(epoch)]);
                args.push(octets(milliseconds(OVER_KEPT)));
            }
            Op::Keep { content, lasts } => {
                keys.push(self.content_key(&content.id()));
                args.extend(["keep".into(), octets(milliseconds(lasts)), content.bytes().to_vec()]);
            }
        }
    }

    fn call_keys(&self, call: &str, owner: &str) -> [String; 2] {
        [self.key(&format!("call:{call}")), self.key(&format!("calls:{owner}"))]
    }

    fn content_key(&self, id: &ContentId) -> String {
        self.key(&format!("content:{id}"))
    }

    /// Which contents are there, for so much longer: they need not be sent.
    async fn kept(&self, changes: &[Lasting]) -> Result<Vec<bool>, LiveError> {
        let content = |lasting: &Lasting| match &lasting.change {
            data::Change::Keep(content) => {
                Some((self.content_key(&content.id()), milliseconds(lasting.lasts)))
            }
            data::Change::Bind(..)
            | data::Change::Unbind { .. }
            | data::Change::Present(..)
            | data::Change::Absent { .. }
            | data::Change::Attach(..)
            | data::Change::Detach { .. }
            | data::Change::Count(_)
            | data::Change::Call(_)
            | data::Change::Over { .. }
            | data::Change::Ban(_)
            | data::Change::Lift(_) => None,
        };
        let contents: Vec<Option<(String, u64)>> = changes.iter().map(content).collect();
        if contents.iter().all(Option::is_none) {
            return Ok(vec![false; changes.len()]);
        }
        let mut commands = redis::pipe();
        for (key, lasts) in contents.iter().flatten() {
            commands.cmd("PEXPIRE").arg(key).arg(lasts);
        }
        let mut answers = self.run_all(|_| commands.clone()).await?.into_iter();
        let is_kept = |content: &Option<_>| content.is_some() && answers.next() == Some(Value::Int(1));
        Ok(contents.iter().map(is_kept).collect())
    }

    async fn lease(
        &self,
        verb: &str,
        lease: &str,
        holder: &str,
        epoch: u64,
        (lasts, grace): (Duration, Duration),
    ) -> Result<Answer, LiveError> {
        let keys = [self.key(&format!("lease:{lease}")), self.key("since")];
        let grace_ms = if grace.is_zero() { 0 } else { milliseconds(grace) };
        let args = [
            verb.into(),
            holder.into(),
            octets(epoch),
            octets(milliseconds(lasts)),
            octets(grace_ms),
            octets(milliseconds(LEASE_KEPT)),
        ];
        self.run(&self.scripts.lease, &keys, &args).await
    }
}

fn octets(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What a script has answered: a list that is read from its beginning.
struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    fn new(value: Value) -> Result<Self, LiveError> {
        let Value::Array(values) = value else {
            return Err(broken(format!("{value:?} in place of a list")));
        };
        Ok(Self(values.into_iter()))
    }

    fn next<T: FromRedisValue>(&mut self) -> Result<T, LiveError> {
        let value = self.0.next().ok_or_else(|| broken("it is too short".into()))?;
        T::from_redis_value(value).map_err(|error| broken(error.to_string()))
    }

    fn number(&mut self) -> Result<u64, LiveError> {
        let text: String = self.next()?;
        text.parse().map_err(|_| broken(format!("{text:?} in place of a number")))
    }

    fn left(&mut self) -> Result<Duration, LiveError> {
        self.next::<i64>().map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    fn secret(&mut self) -> Result<Option<Secret>, LiveError> {
        let octets: Vec<u8> = self.next()?;
        if octets.is_empty() {
            return Ok(None);
        }
        // What is wrong with it is not said in its words.
        let wrong = |octets: Vec<u8>| broken(format!("a secret of {} octets", octets.len()));
        octets.try_into().map(|octets| Some(Secret::new(octets))).map_err(wrong)
    }

    fn page(mut self) -> Result<Page<Entry>, LiveError> {
        let now = self.number()?;
        let has_more: bool = self.next()?;
        let mut items = Vec::with_capacity(self.0.len() / 3);
        while self.0.len() > 0 {
            let (field, ends_ms, value): (Vec<u8>, u64, Vec<u8>) =
                (self.next()?, self.number()?, self.next()?);
            let field = String::from_utf8(field).map_err(|_| broken("a name that is no UTF-8".into()))?;
            let left = Duration::from_millis(ends_ms.saturating_sub(now));
            items.push(Entry { field, ends_ms, left, value });
        }
        let next = items.last().filter(|_| has_more).map(Entry::cursor);
        Ok(Page { items, next })
    }

    fn outcome(value: Value) -> Result<Outcome, LiveError> {
        let mut answer = Self::new(value)?;
        match answer.next::<String>()?.as_str() {
            "done" => Ok(Outcome::Done),
            "older" => Ok(Outcome::Older),
            "many" => Ok(Outcome::TooMany),
            "fenced" => {
                let owner = answer.next()?;
                Ok(Outcome::Fenced { owner, epoch: answer.next()? })
            }
            other => Err(broken(format!("{other:?} in place of an outcome"))),
        }
    }
}

fn broken(why: String) -> LiveError {
    LiveError::Broken { what: "the answer of a script".into(), why }
}

/// A record as a hash gives it: epoch, owner, body, whether it is over.
fn record(call: &str, fields: Value, left: Value) -> Result<Option<Standing<CallRecord>>, LiveError> {
    type Fields = (Option<u64>, Option<String>, Option<Vec<u8>>, Option<String>);
    let read = |error: redis::ParsingError| LiveError::Broken {
        what: format!("the call {call}"),
        why: error.to_string(),
    };
    let (epoch, owner, body, over): Fields = FromRedisValue::from_redis_value(fields).map_err(read)?;
    let left: i64 = FromRedisValue::from_redis_value(left).map_err(read)?;
    let (Some(epoch), Some(owner), Some(body), None, Ok(left)) =
        (epoch, owner, body, over, u64::try_from(left))
    else {
        return Ok(None);
    };
    let value = CallRecord { call: call.to_owned(), owner, epoch, body: Bytes::from(body) };
    Ok(Some(Standing { value, left: Duration::from_millis(left) }))
}

impl Live for Redis {
    fn enter<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Turn, LiveError>> {
        Box::pin(self.bounded(async move {
            data::name("writer", writer)?;
            let keys = [self.key(&format!("writer:{writer}")), self.key("since")];
            let args = [octets(milliseconds(WRITER_KEPT)), octets(milliseconds(LEASE_KEPT))];
            let asked = Instant::now();
            let mut answer = self.run(&self.scripts.enter, &keys, &args).await?;
            let (turn, batches) = (answer.next()?, answer.next()?);
            self.told_time(asked, answer.number()?);
            Ok(Turn { writer: writer.to_owned(), turn, batches })
        }))
    }

    fn write<'a>(
        &'a self,
        turn: &'a Turn,
        changes: &'a [Lasting],
    ) -> BoxFuture<'a, Result<Written, LiveError>> {
        Box::pin(self.bounded(async move {
            check(changes)?;
            let kept = self.kept(changes).await?;
            let needs_room = changes.is_empty() || changes.iter().any(|lasting| !lasting.change.is_removal());
            let mut keys = vec![self.key(&format!("writer:{}", turn.writer))];
            let asked = Instant::now();
            let mut args = vec![
                octets(turn.turn),
                octets(u8::from(needs_room)),
                octets(milliseconds(WRITER_KEPT)),
                octets(self.too_late_ms()),
            ];
            for (lasting, _) in changes.iter().zip(&kept).filter(|(_, is_kept)| !**is_kept) {
                self.add(ops::op(lasting), &mut keys, &mut args);
            }
            let mut answer = self.run(&self.scripts.write, &keys, &args).await?;
            match answer.next::<String>()?.as_str() {
                "superseded" => return Err(LiveError::Superseded(turn.writer.clone())),
                "late" => return Err(LiveError::Late("a batch of changes has come too late".into())),
                _ => {}
            }
            let batches = answer.next()?;
            self.told_time(asked, answer.number()?);
            let mut told = answer.0;
            let outcome = |is_kept: &bool| match is_kept {
                true => Ok(Outcome::Done),
                false => Answer::outcome(told.next().unwrap_or(Value::Nil)),
            };
            Ok(Written { batches, outcomes: kept.iter().map(outcome).collect::<Result<_, _>>()? })
        }))
    }

    fn bindings<'a>(
        &'a self,
        station: &'a Station,
    ) -> BoxFuture<'a, Result<Vec<Standing<Binding>>, LiveError>> {
        Box::pin(self.bounded(async move {
            data::check_station(station)?;
            let page = self.entries(&Board::Station(station.clone()), None).await?;
            ops::bindings(station, &page.items)
        }))
    }

    fn stations<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Reached>, LiveError>> {
        Box::pin(self.bounded(async move {
            data::part("tenant", tenant)?;
            let board = |listed: &str| List::station(tenant, listed).map(Board::Station);
            let Page { items, next } = self.listed(&List::Stations(tenant.into()), board, after).await?;
            let mut stations = Vec::with_capacity(items.len());
            for (listed, entries) in items {
                if let Some(station) = List::station(tenant, &listed) {
                    let bindings = ops::bindings(&station, &entries)?;
                    stations.push((station, bindings));
                }
            }
            Ok(Page { items: stations, next })
        }))
    }

    fn agent<'a>(&'a self, agent: &'a Agent) -> BoxFuture<'a, Result<AgentState, LiveError>> {
        Box::pin(self.bounded(async move {
            data::check_agent(agent)?;
            let page = self.entries(&Board::Agent(agent.clone()), None).await?;
            ops::agent_state(agent, &page.items)
        }))
    }

    fn agents<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<(Agent, AgentState)>, LiveError>> {
        Box::pin(self.bounded(async move {
            data::part("tenant", tenant)?;
            let board = |listed: &str| Some(Board::Agent(Agent::new(tenant, listed)));
            let Page { items, next } = self.listed(&List::Agents(tenant.into()), board, after).await?;
            let mut agents = Vec::with_capacity(items.len());
            for (listed, entries) in items {
                let agent = Agent::new(tenant, &listed);
                let state = ops::agent_state(&agent, &entries)?;
                agents.push((agent, state));
            }
            Ok(Page { items: agents, next })
        }))
    }

    fn counts(&self) -> BoxFuture<'_, Result<Vec<Standing<Counts>>, LiveError>> {
        Box::pin(
            self.bounded(async move { ops::read_all(&Board::Counts, &self.whole(&Board::Counts).await?) }),
        )
    }

    fn bans<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Standing<Ban>>, LiveError>> {
        Box::pin(self.bounded(async move {
            let Page { items, next } = self.entries(&Board::Bans, after).await?;
            Ok(Page { items: ops::read_all(&Board::Bans, &items)?, next })
        }))
    }

    fn acquire<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Acquired, LiveError>> {
        Box::pin(self.bounded(async move {
            wanted.check()?;
            let Wanted { lease, holder, lasts, known_epoch, grace } = wanted;
            let mut answer = self.lease("acquire", lease, holder, *known_epoch, (*lasts, *grace)).await?;
            match answer.next::<String>()?.as_str() {
                "ours" => Ok(Acquired::Ours { epoch: answer.number()? }),
                "theirs" => {
                    let (holder, epoch) = (answer.next()?, answer.number()?);
                    Ok(Acquired::Theirs { holder, epoch, left: answer.left()? })
                }
                "young" => Ok(Acquired::Young { left: answer.left()? }),
                other => Err(broken(format!("{other:?} in place of what becomes of a lease"))),
            }
        }))
    }

    fn renew<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        epoch: u64,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Renewed, LiveError>> {
        Box::pin(self.bounded(async move {
            check_lease(lease, holder, epoch)?;
            data::lasts(lasts)?;
            let mut answer = self.lease("renew", lease, holder, epoch, (lasts, Duration::ZERO)).await?;
            match answer.next::<String>()?.as_str() {
                "ours" => Ok(Renewed::Ours),
                "lost" => {
                    let holder = answer.next()?;
                    Ok(Renewed::Lost { holder, epoch: answer.number()? })
                }
                other => Err(broken(format!("{other:?} in place of what becomes of a lease"))),
            }
        }))
    }

    fn release<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), LiveError>> {
        Box::pin(self.bounded(async move {
            check_lease(lease, holder, epoch)?;
            let no_time = (Duration::ZERO, Duration::ZERO);
            self.lease("release", lease, holder, epoch, no_time).await.map(|_| ())
        }))
    }

    fn call<'a>(&'a self, call: &'a str) -> BoxFuture<'a, Result<Option<Standing<CallRecord>>, LiveError>> {
        Box::pin(self.bounded(async move {
            data::name("call", call)?;
            let mut found = self.records(&[call]).await?;
            Ok(found.pop().flatten())
        }))
    }

    fn calls_of<'a>(
        &'a self,
        owner: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Standing<CallRecord>>, LiveError>> {
        Box::pin(self.bounded(async move {
            data::name("owner", owner)?;
            let Page { items, next } = self.names(&format!("calls:{owner}"), after, CALLS_PAGE).await?;
            let calls: Vec<&str> = items.iter().map(|entry| entry.field.as_str()).collect();
            let records = self.records(&calls).await?.into_iter().flatten();
            // Another may have claimed one, which a store that has gone back lists here still.
            Ok(Page { items: records.filter(|record| record.value.owner == owner).collect(), next })
        }))
    }

    fn owners<'a>(&'a self, after: Option<&'a Cursor>) -> BoxFuture<'a, Result<Page<String>, LiveError>> {
        Box::pin(self.bounded(async move {
            let Page { items, next } = self.names("owners", after, PAGE_MAX).await?;
            let keys: Vec<String> =
                items.iter().map(|entry| self.key(&format!("calls:{}", entry.field))).collect();
            if keys.is_empty() {
                return Ok(Page { items: Vec::new(), next });
            }
            let mut commands = redis::pipe();
            for key in &keys {
                commands.cmd("EXISTS").arg(key);
            }
            let there = self.run_all(|_| commands.clone()).await?;
            let owners = items.into_iter().zip(there).filter(|(_, there)| *there == Value::Int(1));
            Ok(Page { items: owners.map(|(entry, _)| entry.field).collect(), next })
        }))
    }

    fn claim<'a>(&'a self, adoption: &'a Adoption) -> BoxFuture<'a, Result<Claimed, LiveError>> {
        Box::pin(self.bounded(async move {
            adoption.check()?;
            let Adoption { call, from, to, known_epoch, lasts } = adoption;
            let [record, lost] = self.call_keys(call, from);
            let keys = [record, lost, self.key(&format!("calls:{to}")), self.key("owners")];
            let args = [
                call.as_str().into(),
                from.as_str().into(),
                to.as_str().into(),
                octets(known_epoch),
                octets(milliseconds(*lasts)),
            ];
            let mut answer = self.run(&self.scripts.claim, &keys, &args).await?;
            match answer.next::<String>()?.as_str() {
                "ours" => {
                    let (epoch, body) = (answer.number()?, Bytes::from(answer.next::<Vec<u8>>()?));
                    Ok(Claimed::Ours(CallRecord { call: call.clone(), owner: to.clone(), epoch, body }))
                }
                "theirs" => {
                    let owner = answer.next()?;
                    Ok(Claimed::Theirs { owner, epoch: answer.number()? })
                }
                "gone" => Ok(Claimed::Gone),
                other => Err(broken(format!("{other:?} in place of what becomes of a claim"))),
            }
        }))
    }

    fn content<'a>(&'a self, id: &'a ContentId) -> BoxFuture<'a, Result<Option<Content>, LiveError>> {
        Box::pin(self.bounded(async move {
            let key = self.content_key(id);
            let asked = self.ask(|_| redis::cmd("GET").arg(&key).to_owned()).await?;
            let found: Option<Vec<u8>> =
                FromRedisValue::from_redis_value(asked).map_err(|error| broken(error.to_string()))?;
            let Some(content) = found.map(|octets| Content::new(octets.into())) else { return Ok(None) };
            if content.id() == *id {
                return Ok(Some(content));
            }
            Err(LiveError::Broken {
                what: format!("the content {id}"),
                why: "it is not what its name says".into(),
            })
        }))
    }

    fn nonce_keys<'a>(
        &'a self,
        known: Option<&'a NonceKeys>,
        every: Duration,
    ) -> BoxFuture<'a, Result<NonceKeys, LiveError>> {
        Box::pin(self.bounded(async move {
            check_rotation(every)?;
            let fresh = Secret::drawn()?;
            let known = known.map_or_else(Vec::new, |keys| keys.current.as_bytes().to_vec());
            let args = [known, fresh.as_bytes().to_vec(), octets(milliseconds(every))];
            let mut answer = self.run(&self.scripts.nonces, &[self.key("nonces")], &args).await?;
            let (current, previous) = (answer.secret()?, answer.secret()?);
            let current = current.ok_or_else(|| broken("no secret".into()))?;
            Ok(NonceKeys { current, previous, left: answer.left()?.min(every) })
        }))
    }
}

impl Redis {
    /// Records of calls, in order.
    async fn records(&self, calls: &[&str]) -> Result<Vec<Option<Standing<CallRecord>>>, LiveError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = redis::pipe();
        for call in calls {
            let key = self.key(&format!("call:{call}"));
            commands.cmd("HMGET").arg(&key).arg(&["e", "o", "b", "x"]);
            commands.cmd("PTTL").arg(&key);
        }
        let mut values = self.run_all(|_| commands.clone()).await?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        calls.iter().map(|call| record(call, next(), next())).collect()
    }
}
