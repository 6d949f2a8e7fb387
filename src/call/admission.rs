//! Who may call: one decision over the snapshot, with the reason for it.
//!
//! The order of the predicates is the order in which a person would look: source → trunk, A-leg rule, number, flow,
//! caps. The first that fails decides.

use std::sync::Arc;

use model::{
    E164, TrunkId,
    net::Flow as NetFlow,
    snapshot::{Delivers, NumberRange, Serves, Trunk},
};

use crate::{
    Now,
    certificate::{self, Proof},
    explanation::{Candidate, Outcome},
    registrar::StationId,
    world::{Flow, World},
};

/// Most candidates that an explanation lists.
pub const CANDIDATES_MAX: usize = 16;

/// Calls at the moment, for the caps.
pub trait Load {
    /// In all.
    fn calls(&self) -> u32;
    /// On a trunk, both directions together.
    fn of_trunk(&self, trunk: &TrunkId) -> u32;
    /// On a number or range of a trunk.
    fn of_number(&self, trunk: &TrunkId, number: &NumberRange) -> u32;
    /// Whether one more call would be more than `per_second` on a trunk, both directions together.
    fn is_too_fast(&self, trunk: &TrunkId, per_second: u32) -> bool;
    /// The same of a number or range of a trunk.
    fn is_number_too_fast(&self, trunk: &TrunkId, number: &NumberRange, per_second: u32) -> bool;
    /// To all numbers of a tenant, which is a namespace.
    fn of_tenant(&self, tenant: &str) -> u32;
    /// Whether one more call would be more than `per_second` to all numbers of a tenant.
    fn is_tenant_too_fast(&self, tenant: &str, per_second: u32) -> bool;
}

/// What to do with an INVITE, and what was tried.
#[derive(Debug)]
pub struct Admission {
    /// What was tried.
    pub candidates: Vec<Candidate>,
    /// What came of it.
    pub verdict: Result<Admitted, Refusal>,
}

/// A refusal, for the caller and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// SIP status code.
    pub code: u16,
    /// A sentence that names object, field and remedy.
    pub because: String,
    /// Value of a Reason header (RFC 3326).
    pub reason: Option<&'static str>,
    /// Whether Retry-After belongs to it: the whole edge is full, and its peers should go elsewhere.
    pub retry_after: bool,
}

/// An INVITE that is taken.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Who brought it.
    pub origin: Origin,
    /// Namespace of the tenant whose call it is.
    pub tenant: String,
    /// Which number it is for. None: for no number of ours.
    pub number: Option<Numbered>,
    /// Number of ours that was dialled.
    pub dialled: Option<E164>,
    /// Number that the caller dialled and another carrier forwarded to `dialled`.
    pub first_dialled: Option<E164>,
    /// Which flow takes it.
    pub flow: Arc<Flow>,
}

/// Who brought an INVITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A trunk.
    Trunk(TrunkId),
    /// A phone of an agent.
    Station(StationId),
}

/// A live number that a call is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The trunk that delivers it.
    pub trunk: TrunkId,
    /// The number, or the range that has it.
    pub range: NumberRange,
}

impl Admitted {
    /// Number of ours that the caller dialled.
    #[must_use]
    pub fn called(&self) -> Option<E164> {
        self.first_dialled.or(self.dialled)
    }

    /// As its explanation tells it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (&self.origin, &self.number) {
            (Origin::Trunk(trunk), Some(Numbered { range, .. })) => {
                Outcome::Routed { trunk: trunk.clone(), number: range.id.clone(), flow: range.flow.clone() }
            }
            (Origin::Station(station), _) => {
                Outcome::Placed { station: station.clone(), to: format!("RoutingFlow {}", self.flow.id) }
            }
            (Origin::Trunk(trunk), None) => {
                Outcome::Ignored { because: format!("Trunk {trunk} brought it for no number.") }
            }
        }
    }

    /// The trunk that brought it.
    #[must_use]
    pub const fn trunk(&self) -> Option<&TrunkId> {
        match &self.origin {
            Origin::Trunk(trunk) => Some(trunk),
            Origin::Station(_) => None,
        }
    }
}

/// The trunk that a source belongs to, and whose peer it is if the trunk asks for a certificate; or why none.
///
/// # Errors
/// A sentence for the log, and what was tried.
pub fn trunk_of<'w>(
    world: &'w World,
    flow: &NetFlow,
    proof: Proof<'_>,
    now: Now,
) -> Result<(&'w TrunkId, &'w Trunk), (Vec<Candidate>, String)> {
    let Some(listener) = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0)) else {
        return Err((Vec::new(), "the listener is no longer part of the VoiceCluster.".into()));
    };
    if listener.serves == Serves::Agents {
        let because = format!(
            "listener `{}` serves agents: a phone that has not registered hears a challenge of its REGISTER or INVITE and nothing else, and nothing at all while it is banned or says too much.",
            listener.name
        );
        return Err((Vec::new(), because));
    }
    let address = flow.remote.ip();
    let failing = |(id, trunk): (&TrunkId, &Trunk)| {
        if trunk.network != listener.network {
            Some(Failing::Network)
        } else if !trunk.sources.iter().any(|source| source.admits(address, now.wall)) {
            Some(Failing::Source)
        } else if !trunk.direction.is_inbound() {
            Some(Failing::Direction)
        } else {
            certificate::failure(proof, (id, trunk)).map(Failing::Proof)
        }
    };
    // Every packet asks; the words are for those that no trunk takes.
    if let Some(found) = world.snapshot.trunks.iter().find(|known| failing(*known).is_none()) {
        return Ok(found);
    }
    let mut candidates = Vec::new();
    let mut unproven = None;
    for (id, trunk) in &world.snapshot.trunks {
        let Some(failing) = failing((id, trunk)) else { continue };
        if let Failing::Proof(failed) = &failing {
            unproven = unproven.or_else(|| Some(format!("Trunk {id} does not take it: {failed}.")));
        }
        if candidates.len() < CANDIDATES_MAX {
            let failed = match failing {
                Failing::Network => {
                    format!("it is on network `{}`, the packet came on `{}`", trunk.network, listener.network)
                }
                Failing::Source => source_failure(trunk, address),
                Failing::Direction => "its direction is Outbound".into(),
                Failing::Proof(failed) => failed,
            };
            candidates.push(Candidate { object: format!("Trunk {id}"), failed: Some(failed) });
        }
    }
    let because = unproven.unwrap_or_else(|| format!(
        "no Trunk admits {address}: list it in an Allowlist that one of the network's Trunks names in allowlistRefs."
    ));
    Err((candidates, because))
}

/// Why a trunk does not take a packet.
enum Failing {
    Network,
    Source,
    Direction,
    Proof(String),
}

fn source_failure(trunk: &Trunk, address: std::net::IpAddr) -> String {
    let listed = trunk.sources.iter().find(|source| source.range.contains(&address));
    match listed {
        Some(source) => {
            format!("{} lists {}, but not at this time", source.owner(), source.range)
        }
        None if trunk.sources.is_empty() => {
            "it admits no source: its allowlistRefs and popRefs list nothing".into()
        }
        None => format!("none of its {} source ranges holds {address}", trunk.sources.len()),
    }
}

/// Decides over a new INVITE whose source is `trunk`'s.
///
/// `dialled` is the user part of the request-URI, and `first` the number that was dialled before others diverted the
/// call.
pub fn admit(
    world: &World,
    trunk: (&TrunkId, &Trunk),
    (dialled, first): (&str, Option<E164>),
    load: &dyn Load,
) -> Admission {
    let (id, trunk) = trunk;
    let mut candidates = vec![Candidate { object: format!("Trunk {id}"), failed: None }];
    let refuse = |candidates, code, because, reason: Option<&'static str>| {
        let retry_after = code == 503 && reason.is_none();
        Admission { candidates, verdict: Err(Refusal { code, because, reason, retry_after }) }
    };
    if trunk.delivers == Delivers::Voip && !trunk.ucaas_partner {
        let because = format!(
            "Trunk {id} delivers Voip and may not carry an A leg: only a ucaasPartner that the VoiceCluster grants may."
        );
        return refuse(candidates, 403, because, Some("Q.850;cause=21;text=\"Voip may not carry an A leg\""));
    }
    let Some(number) = trunk.number_formats.read(dialled) else {
        let because = not_a_number(dialled, trunk);
        return refuse(candidates, 404, because, Some("Q.850;cause=28"));
    };
    let forwarded = first.and_then(|first| world.forwarded(id, first));
    let Some(range) = forwarded.or_else(|| world.snapshot.number(id, number)) else {
        let because = nearest_miss(world, id, trunk, number, &mut candidates);
        return refuse(candidates, 404, because, Some("Q.850;cause=1"));
    };
    let object = format!("PhoneNumber {}", range.id);
    let Some(flow) = world.flow(&range.flow) else {
        candidates.push(Candidate { object, failed: Some(format!("RoutingFlow {} is missing", range.flow)) });
        let because = format!("RoutingFlow {} of PhoneNumber {} is missing: apply it.", range.flow, range.id);
        return refuse(candidates, 500, because, Some("Q.850;cause=41"));
    };
    if let Some((code, because, reason)) = over_a_cap(world, (id, trunk), range, load) {
        candidates.push(Candidate { object, failed: Some(because.clone()) });
        return refuse(candidates, code, because, reason);
    }
    candidates.push(Candidate { object, failed: None });
    let flow = Arc::clone(flow);
    let admitted = Admitted {
        origin: Origin::Trunk(id.clone()),
        tenant: range.id.0.namespace().to_owned(),
        number: Some(Numbered { trunk: id.clone(), range: range.clone() }),
        dialled: Some(number),
        first_dialled: first.filter(|_| forwarded.is_some()),
        flow,
    };
    Admission { candidates, verdict: Ok(admitted) }
}

/// Caps, with codes that stop nobody else: a number's or tenant's 480, a trunk's 503 without Retry-After; only the whole
/// edge's bound sends peers elsewhere (RFC 3261 §21.5.4).
fn over_a_cap(
    world: &World,
    (id, trunk): (&TrunkId, &Trunk),
    range: &NumberRange,
    load: &dyn Load,
) -> Option<(u16, String, Option<&'static str>)> {
    let limit = world.snapshot.cluster.limits.calls_max;
    if load.calls() >= limit {
        return Some((503, format!("the VoiceCluster's limits.calls of {limit} is reached."), None));
    }
    if let Some(because) = over_a_tenants_cap(world, id, range, load) {
        return Some((480, because, Some("Q.850;cause=42")));
    }
    if let Some(limit) = trunk.calls_max.filter(|limit| load.of_trunk(id) >= *limit) {
        return Some((
            503,
            format!("Trunk {id}'s limits.calls of {limit} is reached."),
            Some("Q.850;cause=42"),
        ));
    }
    let limit = trunk.calls_per_second_max.filter(|limit| load.is_too_fast(id, *limit))?;
    Some((503, format!("Trunk {id}'s limits.callsPerSecond of {limit} is reached."), Some("Q.850;cause=42")))
}

fn over_a_tenants_cap(world: &World, id: &TrunkId, range: &NumberRange, load: &dyn Load) -> Option<String> {
    let number = &range.id;
    if let Some(limit) = range.calls_max.filter(|limit| load.of_number(id, range) >= *limit) {
        return Some(format!("PhoneNumber {number}'s limits.calls of {limit} is reached."));
    }
    let too_fast = |limit: &u32| load.is_number_too_fast(id, range, *limit);
    if let Some(limit) = range.calls_per_second_max.filter(too_fast) {
        return Some(format!("PhoneNumber {number}'s limits.callsPerSecond of {limit} is reached."));
    }
    let tenant = number.0.namespace();
    let limits = world.snapshot.cluster.tenants.get(tenant)?;
    if let Some(limit) = limits.calls_max.filter(|limit| load.of_tenant(tenant) >= *limit) {
        return Some(format!("limits.calls of {limit} of namespace {tenant}'s Tenant is reached."));
    }
    let limit = limits.calls_per_second_max.filter(|limit| load.is_tenant_too_fast(tenant, *limit))?;
    Some(format!("limits.callsPerSecond of {limit} of namespace {tenant}'s Tenant is reached."))
}

fn not_a_number(dialled: &str, trunk: &Trunk) -> String {
    let formats = &trunk.number_formats;
    match (formats.inbound.needs_country(), &formats.country) {
        (true, Some(country)) => {
            format!(
                "`{dialled}` is not a number as numberFormats of {country} would have it ({:?}).",
                formats.inbound
            )
        }
        _ => format!("`{dialled}` is not a number in E.164 form, such as +12125550100."),
    }
}

fn nearest_miss(
    world: &World,
    id: &TrunkId,
    trunk: &Trunk,
    number: E164,
    candidates: &mut Vec<Candidate>,
) -> String {
    let elsewhere = world.snapshot.numbers.keys().find_map(|other| {
        let range = world.snapshot.number(other, number)?;
        Some((other, range))
    });
    if let Some((other, range)) = elsewhere {
        let failed = format!("its trunk is {other}, the call came by {id}");
        candidates.push(Candidate { object: format!("PhoneNumber {}", range.id), failed: Some(failed) });
        return format!("{number} is live on Trunk {other}, not on Trunk {id}: set its trunkRef.");
    }
    let grant = trunk.grants.iter().find(|grant| grant.first <= number && number <= grant.last);
    match grant {
        Some(grant) => format!(
            "Trunk {id} grants {number} to namespace {}, where no PhoneNumber declares it: apply one.",
            grant.namespace
        ),
        None => format!("no PhoneNumber declares {number}, and Trunk {id} grants it to nobody."),
    }
}
