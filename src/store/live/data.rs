//! What the live state holds, as plain data, and how large each of it may be.

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Longest name of an edge, a tenant, an agent, a station, a socket, a call, a lease or a counter, in octets.
pub const NAME_MAX: usize = 253;
/// Longest other text, in octets: what one header field of a message may bring.
pub const TEXT_MAX: usize = 1_024;
/// Most values of Path that a binding keeps.
pub const PATH_MAX: usize = 8;
/// Most bindings of a station at once.
pub const BINDINGS_MAX: usize = 10;
/// Most sockets of an agent at once.
pub const SOCKETS_MAX: usize = 16;
/// Most counters that an edge shares.
pub const COUNTERS_MAX: usize = 8_192;
/// Most edges that share counters.
pub const EDGES_MAX: usize = 256;
/// Most bans at once.
pub const BANS_MAX: usize = 65_536;
/// Longest record of a call, in octets.
pub const RECORD_MAX: usize = 64 << 10;
/// Longest program or prompt, in octets.
pub const CONTENT_MAX: usize = 4 << 20;
/// Highest epoch and place in an order: what a script of Redis can count without a mistake.
pub const ORDER_MAX: u64 = (1 << 53) - 1;
/// Shortest and longest time that anything may stand without being said again.
pub const LASTS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_hours(24 * 30));

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Agent {
    /// Namespace of the tenant.
    pub tenant: String,
    /// Its name there.
    pub name: String,
}

/// A telephone of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Station {
    /// Whose it is.
    pub agent: Agent,
    /// Its name in the agent.
    pub name: String,
}

/// Where a station is reached. One of the same id takes its place; within one Call-ID, a lower CSeq never does (RFC 3261
/// §10.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// Which of the station's: its device and flow (RFC 5626 §6), or its Contact.
    pub id: String,
    /// The edge that holds the flow, by which alone it is reached.
    pub edge: String,
    /// What that edge calls the flow.
    pub flow: String,
    /// Request-URI of what is sent there.
    pub contact: String,
    /// Values of Route on the way there (RFC 3327 §5.3).
    #[serde(default)]
    pub path: Vec<String>,
    /// Preference in thousandths.
    pub q: u16,
    /// Which device (RFC 5626 §4.1), and which of its flows.
    #[serde(default)]
    pub device: Option<(String, u32)>,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq of the REGISTER.
    pub cseq: u32,
}

/// What an agent does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Presence {
    /// The edge that says so.
    pub edge: String,
    /// What the agent does. Example: `Available`.
    pub state: String,
    /// Why, where the agent is away.
    #[serde(default)]
    pub reason: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Its place among all that is said of this agent's presence: what has a lower one is older and not taken.
    pub order: u64,
}

/// A WebSocket of an agent's page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Socket {
    /// Unique among the agent's.
    pub id: String,
    /// The edge that holds it.
    pub edge: String,
    /// Which session of the agent it belongs to: a name, never what proves it.
    pub session: String,
}

/// What an edge counts: calls at once, calls of this second, by what is capped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counts {
    /// Who counts.
    pub edge: String,
    /// All that is not 0. Example: `trunk/platform/carrier` → 12.
    pub values: BTreeMap<String, u64>,
}

/// A source that is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ban {
    /// The source.
    pub address: IpAddr,
    /// How many bans it has had, this one included.
    pub count: u32,
}

/// What another edge needs to go on with a call.
#[derive(Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Unique in the cluster.
    pub call: String,
    /// The edge that has it: one run of its process.
    pub owner: String,
    /// How often it has changed hands, and one.
    pub epoch: u64,
    /// All else; nothing here looks into it.
    pub body: Bytes,
}

impl fmt::Debug for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body has numbers of persons in it.
        let Self { call, owner, epoch, body } = self;
        write!(f, "CallRecord({call} of {owner}, epoch {epoch}, {} octets)", body.len())
    }
}

/// A program or a prompt, by what it consists of.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    id: ContentId,
    bytes: Bytes,
}

/// SHA-256 of a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId([u8; 32]);

impl Content {
    /// Names it by what it consists of.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        let mut id = [0; 32];
        id.copy_from_slice(digest.as_ref());
        Self { id: ContentId(id), bytes }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> ContentId {
        self.id
    }

    /// What it consists of.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({}, {} octets)", self.id, self.bytes.len())
    }
}

impl ContentId {
    /// From a SHA-256.
    #[must_use]
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The SHA-256.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something to be changed in the live state. Saying it again changes nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A station is reached there.
    Bind(Station, Binding),
    /// It is not any more, if it is still that edge by which it was.
    Unbind {
        /// The station.
        station: Station,
        /// Which of its bindings.
        id: String,
        /// The edge that held the flow.
        edge: String,
    },
    /// An agent does this.
    Present(Agent, Presence),
    /// Nothing is known of an agent any more, if it was still that edge that said it.
    Absent {
        /// The agent.
        agent: Agent,
        /// The edge.
        edge: String,
    },
    /// An agent's page is connected.
    Attach(Agent, Socket),
    /// It is not any more.
    Detach {
        /// The agent.
        agent: Agent,
        /// Which socket.
        id: String,
        /// The edge that held it.
        edge: String,
    },
    /// An edge counts this, in place of all that it counted before.
    Count(Counts),
    /// A call stands like this.
    Call(CallRecord),
    /// A call is over.
    Over {
        /// The call.
        call: String,
        /// The edge that had it.
        owner: String,
        /// Its epoch.
        epoch: u64,
    },
    /// A program or a prompt is in use.
    Keep(Content),
    /// A source is not heard.
    Ban(Ban),
    /// It is heard again.
    Lift(IpAddr),
}

/// A change, and how long it stands if nobody says it again. What takes something away stands for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// What is changed.
    pub change: Change,
    /// How long it stands.
    pub lasts: Duration,
}

/// What a change is about: of two about the same, the later one alone matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A binding of a station.
    Binding(Station, String),
    /// An agent's presence.
    Presence(Agent),
    /// A socket of an agent.
    Socket(Agent, String),
    /// Counts of an edge.
    Counts(String),
    /// A call.
    Call(String),
    /// A content.
    Content(ContentId),
    /// A source.
    Source(IpAddr),
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn slot(&self) -> Slot {
        match self {
            Self::Bind(station, binding) => Slot::Binding(station.clone(), binding.id.clone()),
            Self::Unbind { station, id, .. } => Slot::Binding(station.clone(), id.clone()),
            Self::Present(agent, _) | Self::Absent { agent, .. } => Slot::Presence(agent.clone()),
            Self::Attach(agent, socket) => Slot::Socket(agent.clone(), socket.id.clone()),
            Self::Detach { agent, id, .. } => Slot::Socket(agent.clone(), id.clone()),
            Self::Count(counts) => Slot::Counts(counts.edge.clone()),
            Self::Call(record) => Slot::Call(record.call.clone()),
            Self::Over { call, .. } => Slot::Call(call.clone()),
            Self::Keep(content) => Slot::Content(content.id),
            Self::Ban(ban) => Slot::Source(ban.address),
            Self::Lift(address) => Slot::Source(*address),
        }
    }

    /// Whether it takes something away.
    #[must_use]
    pub const fn is_removal(&self) -> bool {
        match self {
            Self::Unbind { .. }
            | Self::Absent { .. }
            | Self::Detach { .. }
            | Self::Over { .. }
            | Self::Lift(_) => true,
            Self::Bind(..)
            | Self::Present(..)
            | Self::Attach(..)
            | Self::Count(_)
            | Self::Call(_)
            | Self::Keep(_)
            | Self::Ban(_) => false,
        }
    }

    /// What takes it away again. None: nothing does but time, or an end that only its owner knows.
    #[must_use]
    pub fn undone(&self) -> Option<Self> {
        match self {
            Self::Bind(station, Binding { id, edge, .. }) => {
                Some(Self::Unbind { station: station.clone(), id: id.clone(), edge: edge.clone() })
            }
            Self::Present(agent, Presence { edge, .. }) => {
                Some(Self::Absent { agent: agent.clone(), edge: edge.clone() })
            }
            Self::Attach(agent, Socket { id, edge, .. }) => {
                Some(Self::Detach { agent: agent.clone(), id: id.clone(), edge: edge.clone() })
            }
            Self::Ban(ban) => Some(Self::Lift(ban.address)),
            Self::Count(_)
            | Self::Call(_)
            | Self::Keep(_)
            | Self::Unbind { .. }
            | Self::Absent { .. }
            | Self::Detach { .. }
            | Self::Over { .. }
            | Self::Lift(_) => None,
        }
    }

    /// About how many octets it takes, wherever it is kept.
    #[must_use]
    pub fn octets(&self) -> usize {
        /// Names and what lies around them.
        const FRAME: usize = 512;
        FRAME
            + match self {
                Self::Bind(_, binding) => {
                    binding.contact.len() + binding.path.iter().map(String::len).sum::<usize>()
                }
                Self::Count(counts) => counts.values.keys().map(|name| name.len() + 16).sum(),
                Self::Call(record) => record.body.len(),
                Self::Keep(content) => content.bytes.len(),
                Self::Unbind { .. }
                | Self::Present(..)
                | Self::Absent { .. }
                | Self::Attach(..)
                | Self::Detach { .. }
                | Self::Over { .. }
                | Self::Ban(_)
                | Self::Lift(_) => 0,
            }
    }

    fn check(&self) -> Result<(), BadInput> {
        match self {
            Self::Bind(station, binding) => check_station(station).and_then(|()| check_binding(binding)),
            Self::Unbind { station, id, edge } => {
                check_station(station)?;
                text("binding.id", id, TEXT_MAX, 1)?;
                name("binding.edge", edge)
            }
            Self::Present(agent, presence) => {
                check_agent(agent)?;
                name("presence.edge", &presence.edge)?;
                name("presence.state", &presence.state)?;
                text("presence.reason", presence.reason.as_deref().unwrap_or_default(), TEXT_MAX, 0)?;
                order("presence.order", presence.order)
            }
            Self::Absent { agent, edge } => check_agent(agent).and_then(|()| name("presence.edge", edge)),
            Self::Attach(agent, Socket { id, edge, session }) => {
                check_agent(agent)?;
                name("socket.id", id)?;
                name("socket.edge", edge)?;
                name("socket.session", session)
            }
            Self::Detach { agent, id, edge } => {
                check_agent(agent)?;
                name("socket.id", id)?;
                name("socket.edge", edge)
            }
            Self::Count(counts) => check_counts(counts),
            Self::Call(CallRecord { call, owner, epoch, body }) => {
                name("call", call)?;
                name("call.owner", owner)?;
                order("call.epoch", *epoch)?;
                most("call.body", body.len(), RECORD_MAX, "octets")
            }
            Self::Over { call, owner, epoch } => {
                name("call", call)?;
                name("call.owner", owner)?;
                order("call.epoch", *epoch)
            }
            Self::Keep(content) => most("content", content.bytes.len(), CONTENT_MAX, "octets"),
            Self::Ban(_) | Self::Lift(_) => Ok(()),
        }
    }
}

impl Lasting {
    /// Says that something stands for so long.
    #[must_use]
    pub const fn new(change: Change, lasts: Duration) -> Self {
        Self { change, lasts }
    }

    /// Whether it is small enough, and its names are names.
    ///
    /// # Errors
    /// [`BadInput`].
    pub fn check(&self) -> Result<(), BadInput> {
        self.change.check()?;
        if self.change.is_removal() { Ok(()) } else { lasts(self.lasts) }
    }
}

impl Agent {
    /// Says which.
    #[must_use]
    pub fn new(tenant: &str, name: &str) -> Self {
        Self { tenant: tenant.to_owned(), name: name.to_owned() }
    }
}

impl Station {
    /// Says which.
    #[must_use]
    pub fn new(tenant: &str, agent: &str, name: &str) -> Self {
        Self { agent: Agent::new(tenant, agent), name: name.to_owned() }
    }
}

/// What cannot be in the live state: a field, and what of it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {wrong}")]
pub struct BadInput {
    /// The field. Example: `binding.contact`.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub wrong: String,
}

fn bad(field: &'static str, wrong: String) -> Result<(), BadInput> {
    Err(BadInput { field, wrong })
}

fn most(field: &'static str, is: usize, most: usize, what: &str) -> Result<(), BadInput> {
    if is <= most { Ok(()) } else { bad(field, format!("has {is} {what} and may have {most} at most")) }
}

fn text(field: &'static str, text: &str, longest: usize, least: usize) -> Result<(), BadInput> {
    most(field, text.len(), longest, "octets")?;
    if text.len() < least {
        return bad(field, "is empty and must not be".into());
    }
    match text.chars().find(|character| character.is_control()) {
        None => Ok(()),
        Some(character) => {
            bad(field, format!("is {text:?} and may not hold the control character {character:?}"))
        }
    }
}

/// What becomes a part of a key: it may not look like two.
pub(super) fn name(field: &'static str, is: &str) -> Result<(), BadInput> {
    text(field, is, NAME_MAX, 1)?;
    match is.chars().find(|character| character.is_whitespace() || "{}".contains(*character)) {
        None => Ok(()),
        Some(character) => bad(field, format!("is {is:?} and may hold no {character:?}")),
    }
}

/// A name that stands between slashes.
pub(super) fn part(field: &'static str, is: &str) -> Result<(), BadInput> {
    name(field, is)?;
    if is.contains('/') { bad(field, format!("is {is:?} and may hold no '/'")) } else { Ok(()) }
}

pub(super) fn order(field: &'static str, is: u64) -> Result<(), BadInput> {
    if is <= ORDER_MAX { Ok(()) } else { bad(field, format!("is {is} and may be {ORDER_MAX} at most")) }
}

pub(super) fn lasts(is: Duration) -> Result<(), BadInput> {
    if (LASTS.0..=LASTS.1).contains(&is) {
        return Ok(());
    }
    bad("lasts", format!("is {is:?} and must be {:?} to {:?}", LASTS.0, LASTS.1))
}

pub(super) fn check_agent(agent: &Agent) -> Result<(), BadInput> {
    part("agent.tenant", &agent.tenant)?;
    part("agent.name", &agent.name)
}

pub(super) fn check_station(station: &Station) -> Result<(), BadInput> {
    check_agent(&station.agent)?;
    part("station.name", &station.name)
}

fn check_binding(binding: &Binding) -> Result<(), BadInput> {
    text("binding.id", &binding.id, TEXT_MAX, 1)?;
    name("binding.edge", &binding.edge)?;
    text("binding.flow", &binding.flow, TEXT_MAX, 1)?;
    text("binding.contact", &binding.contact, TEXT_MAX, 1)?;
    most("binding.path", binding.path.len(), PATH_MAX, "values")?;
    binding.path.iter().try_for_each(|value| text("binding.path", value, TEXT_MAX, 1))?;
    if binding.q > 1_000 {
        return bad("binding.q", format!("is {} and may be 1000 at most", binding.q));
    }
    if let Some((device, _)) = &binding.device {
        text("binding.device", device, TEXT_MAX, 1)?;
    }
    text("binding.callId", &binding.call_id, TEXT_MAX, 1)
}

fn check_counts(counts: &Counts) -> Result<(), BadInput> {
    name("counts.edge", &counts.edge)?;
    most("counts", counts.values.len(), COUNTERS_MAX, "values")?;
    counts.values.keys().try_for_each(|counter| name("counts.name", counter))
}

/// What stands, and for how long yet. Whoever asks takes the time before asking and adds this to it: then nothing is believed
/// for longer than it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<T> {
    /// What.
    pub value: T,
    /// How long yet.
    pub left: Duration,
}

/// A station, and where it is reached.
pub type Reached = (Station, Vec<Standing<Binding>>);

/// What is known of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// What the agent does. None: nobody says so any more.
    pub presence: Option<Standing<Presence>>,
    /// Sockets of its page.
    pub sockets: Vec<Standing<Socket>>,
}

/// How much of something the others count.
#[must_use]
pub fn elsewhere(counts: &[Standing<Counts>], own: &str, counter: &str) -> u64 {
    let others = counts.iter().filter(|counts| counts.value.edge != own);
    others
        .filter_map(|counts| counts.value.values.get(counter))
        .fold(0, |sum, count| sum.saturating_add(*count))
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// From where to ask on. None: that was all.
    pub next: Option<Cursor>,
}

/// A place in a list. What is said again while somebody reads may come twice; what stands all the while comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When, on the store's clock, the last one of the page ends.
    pub(super) ends_ms: u64,
    /// Its name.
    pub(super) name: String,
}
