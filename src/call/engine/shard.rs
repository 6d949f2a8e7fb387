//! Several engines of one edge: whose a message is, and what they tell each other.
//!
//! Whoever reads a message may find that it belongs to another engine. What we have named is told by the name: tags,
//! branches and Contact users begin with the edge's token and a letter for the engine. What opens something goes by the
//! tenant that it is for, if that has agents, so that all its phones, their calls and those to them meet in one engine;
//! else by its Call-ID, since a carrier's whole traffic may come from one address and port.
//!
//! The engine at [`HOME`] watches peers, registers at registrars and applies snapshots; the others are told what it finds.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use jiff::Timestamp;
use model::{E164, TrunkId, net::Flow as NetFlow, snapshot::Serves};
use sip::{
    endpoint::{self, COOKIE},
    uri::unescape,
    wire::{Message, Method},
};

use super::{Engine, Output, arrival::called};
use crate::{
    Now, admission,
    certificate::Proof,
    health::{Heard, Who},
    registrar::StationId,
    registration::Standing,
    world::World,
};

/// Most engines of one edge.
pub const SHARDS_MAX: usize = 16;

/// Most Vias of a request that are looked at.
const VIAS_MAX: usize = 70;

/// The engine that does what one alone must do.
pub const HOME: usize = 0;

/// Which of how many engines of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Its place, from 0.
    pub index: usize,
    /// How many there are: 1 to [`SHARDS_MAX`].
    pub count: usize,
}

impl Shard {
    /// The only one.
    pub const ALONE: Self = Self { index: HOME, count: 1 };

    pub(super) const fn is_alone(self) -> bool {
        self.count == 1
    }

    pub(super) const fn is_home(self) -> bool {
        self.index == HOME
    }

    /// What it begins its names with.
    pub(super) fn token(self, edge: &str) -> String {
        if self.is_alone() { edge.to_owned() } else { format!("{edge}{}", letter(self.index)) }
    }
}

fn letter(index: usize) -> char {
    char::from(b'a' + u8::try_from(index.min(SHARDS_MAX)).unwrap_or(0))
}

/// What an engine lets the others of its edge know.
#[derive(Debug, Clone)]
pub enum Tidings {
    /// From [`HOME`] to all others: how peers and registrations stand.
    Standing(Arc<Standings>),
    /// To [`HOME`]: what a call has found out about a peer.
    Heard(Box<Who>, Heard),
    /// To all others: a source is not heard.
    Banned {
        /// The network that it is banned on.
        network: String,
        /// The source.
        address: IpAddr,
        /// Until when.
        until: Instant,
    },
    /// To all others: a phone has called for help from there.
    CalledForHelp(IpAddr),
    /// To all others: whoever calls that number now is brought to that phone.
    Expects(E164, StationId),
}

impl Tidings {
    /// Whether it is for [`HOME`] alone; else it is for all others.
    #[must_use]
    pub const fn is_for_home(&self) -> bool {
        matches!(self, Self::Heard(..))
    }
}

/// How peers and registrations stand at [`HOME`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings {
    /// Peers that are down, and since when.
    pub down: BTreeMap<Who, Timestamp>,
    /// Trunks that register.
    pub registered: BTreeMap<TrunkId, Standing>,
}

impl Engine {
    /// Which engine of the edge a message that this one has read is for. Equal messages give equal answers as long as the
    /// snapshot is the same.
    #[must_use]
    pub fn owner(&self, now: Now, flow: &NetFlow, input: &endpoint::Input) -> usize {
        let (false, endpoint::Input::Message { message, .. }) = (self.shard.is_alone(), input) else {
            return self.shard.index;
        };
        let name = if message.is_request() {
            message.to_tag()
        } else {
            message.branch().and_then(|branch| branch.strip_prefix(COOKIE))
        };
        if let Some(index) = name.and_then(|name| self.named(name)) {
            return index;
        }
        let opens = matches!(message.method(), Method::Register | Method::Invite | Method::Cancel);
        if message.is_request() && opens { self.newcomer(now, flow, message) } else { self.shard.index }
    }

    /// Whose a name of ours is.
    fn named(&self, name: &str) -> Option<usize> {
        let letter = name.strip_prefix(self.token.as_str())?.bytes().next()?;
        Some(usize::from(letter.checked_sub(b'a')?)).filter(|index| *index < self.shard.count)
    }

    fn newcomer(&self, now: Now, flow: &NetFlow, request: &Message) -> usize {
        // One that has come round is for whoever sent it, and can tell.
        let mut below_top = request.vias().take(VIAS_MAX).skip(1).filter_map(|via| via.branch());
        if let Some(index) = below_top.find_map(|branch| self.named(branch.strip_prefix(COOKIE)?)) {
            return index;
        }
        let tenant = match self.world.snapshot.cluster.listeners.get(usize::from(flow.listener.0)) {
            Some(listener) if listener.serves == Serves::Agents => tenant_of_station(&self.world, request),
            Some(_) => self.tenant_called(now, flow, request),
            None => None,
        };
        let floor = tenant.filter(|tenant| self.world.has_floor(tenant));
        self.owner_of(floor.unwrap_or_else(|| request.call_id()))
    }

    fn owner_of(&self, name: &str) -> usize {
        usize::try_from(hash(name.as_bytes()) % self.shard.count as u64).unwrap_or(HOME)
    }

    /// Which engine of the edge a tenant's floor is at.
    #[must_use]
    pub fn floor_of(&self, tenant: &str) -> usize {
        self.owner_of(tenant)
    }

    fn tenant_called(&self, now: Now, flow: &NetFlow, request: &Message) -> Option<&str> {
        let proof = Proof::Shown(self.identities.get(&flow.connection));
        let (id, trunk) = admission::trunk_of(&self.world, flow, proof, now).ok()?;
        let number = trunk.number_formats.read(&called(request, trunk))?;
        if let Some(station) = self.callbacks.whose(now.instant, number) {
            return Some(station.agent.0.namespace());
        }
        Some(self.world.snapshot.number(id, number)?.id.0.namespace())
    }

    /// Lets the others know.
    pub(super) fn tell_others(&mut self, tidings: Tidings) {
        if !self.shard.is_alone() {
            self.push(Output::Tidings(tidings));
        }
    }

    /// What another engine has let this one know.
    pub(super) fn learn(&mut self, now: Now, tidings: Tidings) {
        match tidings {
            Tidings::Standing(standings) => {
                self.health.mirror(standings.down.clone());
                self.registrations.mirror(standings.registered.clone());
            }
            Tidings::Heard(who, heard) => self.health.called(now, &who, heard),
            Tidings::Banned { network, address, until } => {
                self.bans.entry(network).or_default().impose(now.instant, address, until);
            }
            Tidings::CalledForHelp(address) => self.callbacks.hear(now.instant, address),
            Tidings::Expects(number, station) => self.callbacks.expect(now.instant, number, &station),
        }
    }

    /// How peers and registrations stand here.
    pub(super) fn standings(&self) -> Standings {
        let down = self.health.peers().filter_map(|(who, since)| Some((who.clone(), since?)));
        let registered = self.registrations.standings();
        Standings {
            down: down.collect(),
            registered: registered.map(|(id, standing)| (id.clone(), standing.clone())).collect(),
        }
    }
}

/// The tenant whose phone sends a request: who registers stands in To, who calls in From.
fn tenant_of_station<'a>(world: &'a World, request: &Message) -> Option<&'a str> {
    let own = if request.method() == Method::Register { request.to() } else { request.from() }?;
    let username = unescape(own.uri.user?);
    Some(world.station(&username, own.uri.host)?.agent.0.namespace())
}

/// FNV-1a: the same on all engines and all machines.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
