//! What stores do: few operations on boards of entries, which all that is said becomes.
//!
//! A board holds what belongs together and is read together: the bindings of a station, what is known of an agent, what the
//! edges count, the bans. Each entry ends by itself, and the board with the last of them. Boards of a tenant are listed.

use std::{net::IpAddr, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    Agent, AgentState, BANS_MAX, BINDINGS_MAX, Binding, CallRecord, Change, Content, Cursor, EDGES_MAX,
    Lasting, LiveError, SOCKETS_MAX, Standing, Station,
    code::{NO_SERIES, Order, encode, of_presence, series},
};

/// The entry of an agent's presence; a socket's begins with [`SOCKET`].
const PRESENCE: &str = "presence";
const SOCKET: &str = "socket/";

/// What is read together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Board {
    /// Bindings.
    Station(Station),
    /// Presence and sockets.
    Agent(Agent),
    /// Of all edges.
    Counts,
    /// Of all sources.
    Bans,
}

/// Boards of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// Those of stations.
    Stations(String),
    /// Those of agents.
    Agents(String),
}

/// Something to be done.
#[derive(Debug)]
pub enum Op<'a> {
    /// Puts an entry.
    Put {
        board: Board,
        field: String,
        lasts: Duration,
        place: u64,
        series: String,
        value: Vec<u8>,
        most: usize,
    },
    /// Takes an entry away, of this owner or of anybody.
    Drop { board: Board, field: String, owner: Option<&'a str> },
    /// Writes a call's record.
    Call { record: &'a CallRecord, lasts: Duration },
    /// A call is over.
    Over { call: &'a str, owner: &'a str, epoch: u64 },
    /// Keeps a content.
    Keep { content: &'a Content, lasts: Duration },
}

impl Board {
    /// Its name.
    pub fn key(&self) -> String {
        match self {
            Self::Station(Station { agent: Agent { tenant, name: agent }, name }) => {
                format!("station:{tenant}/{agent}/{name}")
            }
            Self::Agent(Agent { tenant, name }) => format!("agent:{tenant}/{name}"),
            Self::Counts => "counts".into(),
            Self::Bans => "bans".into(),
        }
    }

    /// Where it is listed, and as what.
    pub fn listed(&self) -> Option<(List, String)> {
        match self {
            Self::Station(Station { agent: Agent { tenant, name: agent }, name }) => {
                Some((List::Stations(tenant.clone()), format!("{agent}/{name}")))
            }
            Self::Agent(Agent { tenant, name }) => Some((List::Agents(tenant.clone()), name.clone())),
            Self::Counts | Self::Bans => None,
        }
    }
}

impl List {
    /// Its name.
    pub fn key(&self) -> String {
        match self {
            Self::Stations(tenant) => format!("stations:{tenant}"),
            Self::Agents(tenant) => format!("agents:{tenant}"),
        }
    }

    /// The station that is listed so.
    pub fn station(tenant: &str, listed: &str) -> Option<Station> {
        listed.split_once('/').map(|(agent, name)| Station::new(tenant, agent, name))
    }
}

/// What a change comes to.
pub fn op(lasting: &Lasting) -> Op<'_> {
    let lasts = lasting.lasts;
    let put = |board: Board, field: &str, order: Order<'_>, value: Vec<u8>, most: usize| Op::Put {
        board,
        field: field.to_owned(),
        lasts,
        place: order.place,
        series: order.series.to_owned(),
        value,
        most,
    };
    let unordered = |owner| Order { place: 0, series: NO_SERIES, owner };
    match &lasting.change {
        Change::Bind(station, binding) => {
            let series = series(binding);
            let order = Order { place: u64::from(binding.cseq), series: &series, owner: &binding.edge };
            let value = encode(order, binding);
            put(Board::Station(station.clone()), &binding.id, order, value, BINDINGS_MAX)
        }
        Change::Unbind { station, id, edge } => {
            Op::Drop { board: Board::Station(station.clone()), field: id.clone(), owner: Some(edge) }
        }
        Change::Present(agent, presence) => {
            let order = of_presence(presence);
            put(Board::Agent(agent.clone()), PRESENCE, order, encode(order, presence), usize::MAX >> 16)
        }
        Change::Absent { agent, edge } => {
            Op::Drop { board: Board::Agent(agent.clone()), field: PRESENCE.into(), owner: Some(edge) }
        }
        Change::Attach(agent, socket) => {
            let order = unordered(socket.edge.as_str());
            let field = format!("{SOCKET}{}", socket.id);
            put(Board::Agent(agent.clone()), &field, order, encode(order, socket), SOCKETS_MAX)
        }
        Change::Detach { agent, id, edge } => {
            Op::Drop { board: Board::Agent(agent.clone()), field: format!("{SOCKET}{id}"), owner: Some(edge) }
        }
        Change::Count(counts) => {
            let order = unordered(counts.edge.as_str());
            put(Board::Counts, &counts.edge, order, encode(order, counts), EDGES_MAX)
        }
        Change::Call(record) => Op::Call { record, lasts },
        Change::Over { call, owner, epoch } => Op::Over { call, owner, epoch: *epoch },
        Change::Keep(content) => Op::Keep { content, lasts },
        Change::Ban(ban) => {
            let order = unordered("-");
            put(Board::Bans, &source(ban.address), order, encode(order, ban), BANS_MAX)
        }
        Change::Lift(address) => Op::Drop { board: Board::Bans, field: source(*address), owner: None },
    }
}

fn source(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name on the board.
    pub field: String,
    /// When it ends, on the store's clock.
    pub ends_ms: u64,
    /// For how long yet.
    pub left: Duration,
    /// What it says.
    pub value: Vec<u8>,
}

impl Entry {
    /// What it says.
    pub fn read<T: DeserializeOwned>(&self, board: &Board) -> Result<Standing<T>, LiveError> {
        let what = || format!("{} of {}", self.field, board.key());
        let value = super::code::decode(&what(), &self.value)?;
        Ok(Standing { value, left: self.left })
    }

    /// The place after it.
    pub fn cursor(&self) -> Cursor {
        Cursor { ends_ms: self.ends_ms, name: self.field.clone() }
    }
}

/// What all entries of a board say.
pub fn read_all<T: DeserializeOwned>(
    board: &Board,
    entries: &[Entry],
) -> Result<Vec<Standing<T>>, LiveError> {
    entries.iter().map(|entry| entry.read(board)).collect()
}

/// Bindings of a station, the most preferred first.
pub fn bindings(station: &Station, entries: &[Entry]) -> Result<Vec<Standing<Binding>>, LiveError> {
    let mut bindings: Vec<Standing<Binding>> = read_all(&Board::Station(station.clone()), entries)?;
    bindings.sort_by(|a, b| (b.value.q, &a.value.id).cmp(&(a.value.q, &b.value.id)));
    Ok(bindings)
}

/// What is known of an agent.
pub fn agent_state(agent: &Agent, entries: &[Entry]) -> Result<AgentState, LiveError> {
    let board = Board::Agent(agent.clone());
    let mut state = AgentState::default();
    for entry in entries {
        if entry.field == PRESENCE {
            state.presence = Some(entry.read(&board)?);
        } else if entry.field.starts_with(SOCKET) {
            state.sockets.push(entry.read(&board)?);
        }
    }
    state.sockets.sort_by(|a, b| a.value.id.cmp(&b.value.id));
    Ok(state)
}
