//! Live state: what the edges of a cluster must know of each other's calls, agents and counts, so that any of them can go on
//! where one is lost. In memory, for an edge that is alone, or in Redis or Valkey.
//!
//! - **Nothing is believed that has expired.** Whatever is said stands for so long and no longer, on the store's clock, and is
//!   read with how long it stands yet. What is taken away is gone at once.
//! - **Calls go on without it.** Changes are data, and a [`Writer`] brings them from where nobody waits: bounded, coalesced,
//!   with what found no room counted. Every function here ends within [`WAIT_MAX`], and what fails says so.
//! - **An epoch never falls.** Who takes a lease or a call says the highest epoch that anybody has seen, because a failover can
//!   take the store back in time. Of two with the same epoch the one that the store names is right, and the other hears
//!   [`Outcome::Fenced`] or [`Renewed::Lost`] when it speaks next.
//! - **A lost change is noticed.** The store counts what each writer has brought; a count that falls tells that it has gone back,
//!   or begun anew.
//!
//! Names say whose something is: an `owner`, a `holder`, a writer is one run of a process, never a name that the next run has
//! too. They hold no space and no brace.

mod code;
mod data;
mod memory;
mod ops;
mod queue;
mod redis;
mod writer;

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

pub use self::{
    data::{
        Agent, AgentState, BANS_MAX, BINDINGS_MAX, BadInput, Ban, Binding, CONTENT_MAX, COUNTERS_MAX,
        CallRecord, Change, Content, ContentId, Counts, Cursor, EDGES_MAX, LASTS, Lasting, NAME_MAX,
        ORDER_MAX, PATH_MAX, Page, Presence, RECORD_MAX, Reached, SOCKETS_MAX, Slot, Socket, Standing,
        Station, TEXT_MAX, elsewhere,
    },
    memory::{Clock, Memory},
    redis::{Address, BadConfig, Login, Mode, Redis, RedisConfig},
    writer::{Event, Events, Figures, Health, Lost, NotTaken, Settings, State, Writer},
};

/// Longest that anything here takes.
pub const WAIT_MAX: Duration = Duration::from_secs(10);
/// Most changes that are written at once.
pub const CHANGES_MAX: usize = 128;
/// Most of a page, in entries and in octets.
pub const PAGE_MAX: usize = 256;
const PAGE_OCTETS: usize = 1 << 20;
/// How long it is remembered that a call is over, so that nobody who does not know writes it again.
pub const OVER_KEPT: Duration = Duration::from_mins(10);
/// How long an epoch is remembered that nobody holds.
pub const LEASE_KEPT: Duration = Duration::from_hours(24 * 30);
/// How long it is remembered what a writer has brought.
const WRITER_KEPT: Duration = Duration::from_hours(1);
/// Shortest and longest time between two rotations of the nonces' secret.
pub const ROTATION: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24 * 7));

/// Why the live state cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// It cannot be reached, or refuses us.
    #[error("{0}")]
    Away(String),
    /// It has not answered in time. What was asked for may come to be all the same.
    #[error("{0}")]
    Late(String),
    /// It has no room. What takes something away is done all the same.
    #[error("{0}")]
    Full(String),
    /// It can be reached, and cannot do this: something else is where it belongs.
    #[error("{0}")]
    Refused(String),
    /// This writer must enter again: the store does not know it, or knows a later turn of it.
    #[error("the writer {0} is not known there, or has entered again since")]
    Superseded(String),
    /// What was asked for cannot be.
    #[error(transparent)]
    Bad(#[from] BadInput),
    /// What is there cannot be understood.
    #[error("{what}: {why}")]
    Broken {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// No random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// A turn of a writer: until it enters again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The writer.
    pub writer: String,
    /// Which turn. What still comes of an earlier one is refused.
    pub turn: u64,
    /// How many batches of this writer the store has taken and still knows of.
    pub batches: u64,
}

/// A batch was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How many of this writer there are now. Not more than the last one acknowledged: the store has lost some.
    pub batches: u64,
    /// What became of each change, in order.
    pub outcomes: Vec<Outcome>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stands.
    Done,
    /// What is there is newer, or is another's.
    Older,
    /// There are as many as there may be, of bindings, sockets, edges or bans.
    TooMany,
    /// The call is another's.
    Fenced {
        /// Whose.
        owner: String,
        /// Its epoch.
        epoch: u64,
    },
}

/// Who wants a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which. Example: `floor/acme`.
    pub lease: String,
    /// Who.
    pub holder: String,
    /// For how long, if it is not renewed.
    pub lasts: Duration,
    /// The highest epoch of it that anybody has seen; 0: none.
    pub known_epoch: u64,
    /// A store that knows nothing of the lease, and is younger than this, gives it to nobody: whoever holds it may not have
    /// said so again yet. Zero: it does.
    pub grace: Duration,
}

/// What becomes of who wants a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is theirs, with a new epoch.
    Ours {
        /// Higher than any before.
        epoch: u64,
    },
    /// Another holds it.
    Theirs {
        /// Who.
        holder: String,
        /// With which epoch.
        epoch: u64,
        /// For how long yet.
        left: Duration,
    },
    /// The store is too young to say.
    Young {
        /// For how long yet.
        left: Duration,
    },
}

/// Whether a lease goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// It does, also where the store had forgotten it.
    Ours,
    /// Another has, or has had, as high an epoch.
    Lost {
        /// Who.
        holder: String,
        /// The highest epoch there.
        epoch: u64,
    },
}

/// Who wants a call whose edge is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The call.
    pub call: String,
    /// The lost edge.
    pub from: String,
    /// Who adopts it.
    pub to: String,
    /// The highest epoch of it that anybody has seen; 0: none.
    pub known_epoch: u64,
    /// How long its record stands, if it is not written again.
    pub lasts: Duration,
}

/// What becomes of who wants a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is theirs, with a new epoch; once, however often they ask.
    Ours(CallRecord),
    /// It is another's.
    Theirs {
        /// Whose.
        owner: String,
        /// With which epoch.
        epoch: u64,
    },
    /// There is no such call any more.
    Gone,
}

/// A secret of 32 octets. Printed `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// From its octets.
    #[must_use]
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Its octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn drawn() -> Result<Self, LiveError> {
        let mut octets = [0; 32];
        getrandom::fill(&mut octets).map_err(|_| LiveError::NoRandom)?;
        Ok(Self(octets))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Keys of the nonces of challenges: all edges of a cluster have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonceKeys {
    /// What new nonces are made with.
    pub current: Secret,
    /// What those of before were made with.
    pub previous: Option<Secret>,
    /// How long the current one stands yet.
    pub left: Duration,
}

/// The live state of one cluster. Several may read and change it at once; each function ends within [`WAIT_MAX`].
pub trait Live: Send + Sync + fmt::Debug {
    /// Begins a turn of a writer, which ends its turn before: what of that is still under way is not done any more.
    ///
    /// # Errors
    /// [`LiveError`].
    fn enter<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Turn, LiveError>>;

    /// Changes what is there, all at once: [`CHANGES_MAX`] at most. None: only counts.
    ///
    /// # Errors
    /// [`LiveError::Bad`], and nothing is done; [`LiveError::Full`] if one of them is no removal, and nothing is done;
    /// [`LiveError`].
    fn write<'a>(
        &'a self,
        turn: &'a Turn,
        changes: &'a [Lasting],
    ) -> BoxFuture<'a, Result<Written, LiveError>>;

    /// Where a station is reached.
    ///
    /// # Errors
    /// [`LiveError`].
    fn bindings<'a>(
        &'a self,
        station: &'a Station,
    ) -> BoxFuture<'a, Result<Vec<Standing<Binding>>, LiveError>>;

    /// Stations of a tenant that are reached somewhere.
    ///
    /// # Errors
    /// [`LiveError`].
    fn stations<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Reached>, LiveError>>;

    /// What is known of an agent.
    ///
    /// # Errors
    /// [`LiveError`].
    fn agent<'a>(&'a self, agent: &'a Agent) -> BoxFuture<'a, Result<AgentState, LiveError>>;

    /// Agents of a tenant of whom something is known.
    ///
    /// # Errors
    /// [`LiveError`].
    fn agents<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<(Agent, AgentState)>, LiveError>>;

    /// What each edge counts, those that are gone not any more. The sum is wrong by what the others have counted since they
    /// said so last: with a cap of n, k edges that speak every t and r calls a second, by (k − 1) · r · t at most; and what
    /// a dead edge counted is in it for as long as it said that it stands.
    ///
    /// # Errors
    /// [`LiveError`].
    fn counts(&self) -> BoxFuture<'_, Result<Vec<Standing<Counts>>, LiveError>>;

    /// Sources that are not heard.
    ///
    /// # Errors
    /// [`LiveError`].
    fn bans<'a>(&'a self, after: Option<&'a Cursor>)
    -> BoxFuture<'a, Result<Page<Standing<Ban>>, LiveError>>;

    /// Takes a lease that nobody holds. The epoch is one more than the store's and the highest known.
    ///
    /// # Errors
    /// [`LiveError`].
    fn acquire<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Acquired, LiveError>>;

    /// Goes on holding a lease, for `lasts` from now. A store that knows a lower epoch, or nothing, has gone back: it takes
    /// ours.
    ///
    /// # Errors
    /// [`LiveError`].
    fn renew<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        epoch: u64,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Renewed, LiveError>>;

    /// Gives a lease back; one that is another's by now stays so. Its epoch is remembered.
    ///
    /// # Errors
    /// [`LiveError`].
    fn release<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), LiveError>>;

    /// The record of a call.
    ///
    /// # Errors
    /// [`LiveError`].
    fn call<'a>(&'a self, call: &'a str) -> BoxFuture<'a, Result<Option<Standing<CallRecord>>, LiveError>>;

    /// Records of the calls that an edge has, or had before it was lost.
    ///
    /// # Errors
    /// [`LiveError`].
    fn calls_of<'a>(
        &'a self,
        owner: &'a str,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Page<Standing<CallRecord>>, LiveError>>;

    /// Edges that have calls, or had any before they were lost. Of one whose calls others have taken there may be none left.
    ///
    /// # Errors
    /// [`LiveError`].
    fn owners<'a>(&'a self, after: Option<&'a Cursor>) -> BoxFuture<'a, Result<Page<String>, LiveError>>;

    /// Takes over a call of a lost edge: of several that try, one gets it.
    ///
    /// # Errors
    /// [`LiveError`].
    fn claim<'a>(&'a self, adoption: &'a Adoption) -> BoxFuture<'a, Result<Claimed, LiveError>>;

    /// A program or a prompt. It is what its name says, or an error.
    ///
    /// # Errors
    /// [`LiveError`].
    fn content<'a>(&'a self, id: &'a ContentId) -> BoxFuture<'a, Result<Option<Content>, LiveError>>;

    /// Keys of nonces: made by who asks first, made anew when they are `every` old. `known` are those that one has; a store
    /// that has none takes them, so that nobody's nonces end with it.
    ///
    /// # Errors
    /// [`LiveError`].
    fn nonce_keys<'a>(
        &'a self,
        known: Option<&'a NonceKeys>,
        every: Duration,
    ) -> BoxFuture<'a, Result<NonceKeys, LiveError>>;
}

/// Checks all that is to be written together.
fn check(changes: &[Lasting]) -> Result<(), BadInput> {
    if changes.len() > CHANGES_MAX {
        let wrong = format!("are {} and may be {CHANGES_MAX} at most", changes.len());
        return Err(BadInput { field: "changes", wrong });
    }
    changes.iter().try_for_each(Lasting::check)
}

impl Wanted {
    fn check(&self) -> Result<(), BadInput> {
        check_lease(&self.lease, &self.holder, self.known_epoch)?;
        data::lasts(self.lasts)
    }
}

impl Adoption {
    fn check(&self) -> Result<(), BadInput> {
        data::name("call", &self.call)?;
        data::name("adoption.from", &self.from)?;
        data::name("adoption.to", &self.to)?;
        data::order("adoption.knownEpoch", self.known_epoch.saturating_add(1))?;
        data::lasts(self.lasts)
    }
}

fn check_lease(lease: &str, holder: &str, epoch: u64) -> Result<(), BadInput> {
    data::name("lease", lease)?;
    data::name("lease.holder", holder)?;
    data::order("lease.epoch", epoch.saturating_add(1))
}

fn check_rotation(every: Duration) -> Result<(), BadInput> {
    if (ROTATION.0..=ROTATION.1).contains(&every) {
        return Ok(());
    }
    let wrong = format!("is {every:?} and must be {:?} to {:?}", ROTATION.0, ROTATION.1);
    Err(BadInput { field: "every", wrong })
}
