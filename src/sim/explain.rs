//! Why a call would be treated so: the question that an INVITE asks, put to the edge's own code.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use call::{
    Now,
    admission::{self, Admission, Admitted, Load, Refusal},
    certificate::Proof,
    cursor::{Environment, Facts},
    explanation::{Explanation, Outcome},
    world::World,
};
use jiff::Timestamp;
use model::{
    E164, TrunkId,
    net::{Flow as NetFlow, ListenerIx},
    snapshot::{Listener, NumberRange, Serves, Trunk},
};
use serde::Serialize;

use crate::walk::{self, Walk};

/// Most ways into a cluster that are looked at.
pub const ENTRIES_MAX: usize = 16;

/// Stands where an INVITE's Call-ID would.
const CALL_ID: &str = "explain";

/// SIP's own port (RFC 3261 §19.1.2), as a source.
const SOURCE_PORT: u16 = 5060;

/// A call that nobody places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Calling number; empty or `anonymous` if withheld.
    pub from: String,
    /// Number that is dialled.
    pub to: String,
    /// Where the INVITE comes from. None: where each trunk that could deliver the number sends from.
    pub source: Option<IpAddr>,
    /// By which trunk alone. None: any.
    pub trunk: Option<TrunkId>,
}

/// A way into a cluster: a listener, and a source at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which listener hears it, and from where.
    pub flow: NetFlow,
    /// Why this source, where the question named none.
    pub assumed: Option<String>,
}

/// What would become of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The cluster's code.
    pub cluster: String,
    /// Why this source was taken, where the question named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed: Option<String>,
    /// As the edge attaches it to the real INVITE.
    pub explanation: Explanation,
    /// What the contact can go through. None: no flow takes the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walk: Option<Walk>,
}

impl Explained {
    /// Whether a flow takes the call.
    #[must_use]
    pub const fn is_routed(&self) -> bool {
        matches!(self.explanation.outcome, Outcome::Routed { .. })
    }
}

/// Nobody else is on the line.
pub(crate) struct Idle;

impl Load for Idle {
    fn calls(&self) -> u32 {
        0
    }

    fn of_trunk(&self, _: &TrunkId) -> u32 {
        0
    }

    fn of_number(&self, _: &TrunkId, _: &NumberRange) -> u32 {
        0
    }

    fn is_too_fast(&self, _: &TrunkId, _: u32) -> bool {
        false
    }

    fn is_number_too_fast(&self, _: &TrunkId, _: &NumberRange, _: u32) -> bool {
        false
    }

    fn of_tenant(&self, _: &str) -> u32 {
        0
    }

    fn is_tenant_too_fast(&self, _: &str, _: u32) -> bool {
        false
    }
}

/// What would become of a call at `now`, for each way by which it could come; at most [`ENTRIES_MAX`].
///
/// Where the question names a source, the networks on which a trunk admits it are looked at, and all of them if none does.
#[must_use]
pub fn explain(world: &World, question: &Question, now: Now) -> Vec<Explained> {
    let entries = entries(world, question, now.wall);
    let all: Vec<Explained> = entries.iter().map(|entry| ask(world, question, entry, now)).collect();
    let heard = |one: &Explained| !matches!(one.explanation.outcome, Outcome::Ignored { .. });
    if question.source.is_some() && all.iter().any(heard) {
        return all.into_iter().filter(heard).collect();
    }
    all
}

/// The ways by which the question's call could come.
#[must_use]
pub fn entries(world: &World, question: &Question, at: Timestamp) -> Vec<Entry> {
    match question.source {
        Some(source) => by_source(world, question.trunk.as_ref(), source),
        None => by_trunk(world, question, at),
    }
}

/// What the edge would do with one INVITE.
#[must_use]
pub fn ask(world: &World, question: &Question, entry: &Entry, now: Now) -> Explained {
    let listener = world.snapshot.cluster.listeners.get(usize::from(entry.flow.listener.0));
    let mut explanation = Explanation {
        call_id: CALL_ID.into(),
        at: now.wall,
        source: Some(entry.flow.remote),
        listener: listener.map(|listener| listener.name.clone()).unwrap_or_default(),
        from: question.from.clone(),
        to: question.to.clone(),
        candidates: Vec::new(),
        outcome: Outcome::Ignored { because: String::new() },
        legs: Vec::new(),
        course: Vec::new(),
    };
    let mut walk = None;
    match admission::trunk_of(world, &entry.flow, Proof::Taken, now) {
        Ok(trunk) => {
            let Admission { candidates, verdict } =
                admission::admit(world, trunk, (&question.to, None), &Idle);
            explanation.candidates = candidates;
            explanation.outcome = outcome(&verdict);
            walk = verdict.ok().map(|admitted| walked(world, question, &admitted, now));
        }
        // Whom we only call may speak in the dialogs that we began; an INVITE of theirs is refused.
        Err((candidates, because)) => {
            let peer = listener
                .is_some_and(|listener| world.knows(&listener.network, entry.flow.remote.ip(), now.wall));
            explanation.candidates = candidates;
            explanation.outcome =
                if peer { Outcome::Refused { code: 403, because } } else { Outcome::Ignored { because } };
        }
    }
    let cluster = world.snapshot.cluster.code.clone();
    Explained { cluster, assumed: entry.assumed.clone(), explanation, walk }
}

fn outcome(verdict: &Result<Admitted, Refusal>) -> Outcome {
    match verdict {
        Ok(admitted) => admitted.outcome(),
        Err(refusal) => Outcome::Refused { code: refusal.code, because: refusal.because.clone() },
    }
}

fn walked(world: &World, question: &Question, admitted: &Admitted, now: Now) -> Walk {
    let withheld = question.from.eq_ignore_ascii_case("anonymous");
    let facts = Facts {
        contact_number: if withheld { String::new() } else { question.from.clone() },
        contact_verstat: "",
        call_number: admitted.dialled.map(|dialled| dialled.to_string()).unwrap_or_default(),
        call_trunk: admitted.trunk().map(ToString::to_string).unwrap_or_default(),
    };
    let expressions = expr::Engine::new();
    walk::walk(&admitted.flow, facts, Environment { world, expressions: &expressions, now })
}

/// Every network has its own sources: one entry by each that hears trunks.
fn by_source(world: &World, trunk: Option<&TrunkId>, source: IpAddr) -> Vec<Entry> {
    let wanted = trunk.map(|id| world.snapshot.trunks.get(id).map(|trunk| trunk.network.as_str()));
    let mut seen = BTreeSet::new();
    let listeners = world.snapshot.cluster.listeners.iter().filter(|listener| {
        listener.serves == Serves::Trunks
            && wanted.is_none_or(|network| network == Some(listener.network.as_str()))
            && seen.insert(listener.network.as_str())
    });
    let flows = listeners.filter_map(|listener| flow(world, &listener.network, source));
    flows.map(|flow| Entry { flow, assumed: None }).take(ENTRIES_MAX).collect()
}

/// The first source of each trunk that the number could come by: where it is live, else where it is granted, else all.
fn by_trunk(world: &World, question: &Question, at: Timestamp) -> Vec<Entry> {
    let number = question.to.parse::<E164>().ok();
    let inbound = world.snapshot.trunks.iter().filter(|(_, trunk)| trunk.direction.is_inbound());
    let trunks: Vec<(&TrunkId, &Trunk)> = match &question.trunk {
        Some(wanted) => inbound.filter(|(id, _)| *id == wanted).collect(),
        None => inbound.collect(),
    };
    let live =
        |(id, _): &(&TrunkId, &Trunk)| number.is_some_and(|to| world.snapshot.number(id, to).is_some());
    let granted = |(_, trunk): &(&TrunkId, &Trunk)| {
        let holds = |to| trunk.grants.iter().any(|grant| grant.first <= to && to <= grant.last);
        number.is_some_and(holds)
    };
    let first = |fits: &dyn Fn(&(&TrunkId, &Trunk)) -> bool| {
        let fitting: Vec<_> = trunks.iter().copied().filter(|trunk| fits(trunk)).collect();
        (!fitting.is_empty()).then_some(fitting)
    };
    let chosen = first(&live).or_else(|| first(&granted)).unwrap_or_else(|| trunks.clone());
    chosen.into_iter().filter_map(|(id, trunk)| entry_by(world, id, trunk, at)).take(ENTRIES_MAX).collect()
}

fn entry_by(world: &World, id: &TrunkId, trunk: &Trunk, at: Timestamp) -> Option<Entry> {
    let admitted = trunk.sources.iter().find(|source| source.admits(source.range.addr(), at));
    let source = admitted.or_else(|| trunk.sources.first())?;
    let address = source.range.hosts().next().unwrap_or_else(|| source.range.addr());
    let valid = if admitted.is_some() { "" } else { ", although none of them is valid at this time" };
    let assumed = format!(
        "no source was given: {address} is the first of Trunk {id}, by Allowlist {}{valid}",
        source.allowlist
    );
    Some(Entry { flow: flow(world, &trunk.network, address)?, assumed: Some(assumed) })
}

/// By the network's first listener for trunks that speaks the source's version of IP.
fn flow(world: &World, network: &str, source: IpAddr) -> Option<NetFlow> {
    let fits = |listener: &Listener| listener.serves == Serves::Trunks && listener.network == network;
    let listeners = &world.snapshot.cluster.listeners;
    let same = |listener: &Listener| fits(listener) && listener.bind.is_ipv4() == source.is_ipv4();
    let place = listeners.iter().position(same).or_else(|| listeners.iter().position(fits))?;
    Some(NetFlow {
        transport: listeners.get(place)?.transport,
        listener: ListenerIx(u16::try_from(place).ok()?),
        remote: SocketAddr::new(source, SOURCE_PORT),
        connection: 0,
    })
}
