//! What a phone of an agent dials, and whether it may: one decision over the snapshot, with the reason for it.
//!
//! Emergency numbers come before all else. Then the user part of an address of record of the tenant is that phone, the name
//! of an Agent is whatever phones the agent has, a number that is live here goes straight into its flow, and any other number
//! leaves by the tenant's `outboundTrunks`, if its `dialling` admits the country and the cost.

use std::sync::Arc;

use model::{
    AgentId, E164, Key, TrunkId,
    centre::{Agent, Dialling, Location, Station, StationKind},
    numbering::{self, CostClass, NotDialled, Place},
    snapshot::{NumberRange, Serves},
};
use sip::uri::{Scheme, Uri, unescape};

use crate::{admission::Refusal, registrar::StationId, world::World};

/// Emergency numbers that hold in every country; 933 tells a caller in North America which place would be found.
pub const EMERGENCY: &[&str] = &["911", "933", "112"];

/// Where a phone's call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To those who send help.
    Emergency(Arc<Emergency>),
    /// To a phone of the tenant.
    Station(StationId),
    /// To the phones of an agent of the tenant.
    Agent(AgentId),
    /// Into the flow of a number of the tenant.
    Own(TrunkId, Box<NumberRange>),
    /// To a number elsewhere.
    Number(E164),
}

/// A call for help (RFC 6881).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// What the carrier is told to call.
    pub number: String,
    /// Which phone calls.
    pub station: StationId,
    /// What the callee sees, and calls back. None: each trunk's own.
    pub callback: Option<E164>,
    /// Trunks that carry such calls, in order.
    pub trunks: Vec<TrunkId>,
    /// Where help is to be sent.
    pub location: Option<Location>,
}

/// Who dials, and by which rules.
#[derive(Debug, Clone, Copy)]
pub struct Dialler<'w> {
    /// Which phone.
    pub id: &'w StationId,
    /// Whose.
    pub agent: &'w Agent,
    /// The phone as it was declared.
    pub station: &'w Station,
    /// The tenant's rules. None: its snapshot has none, so that nothing may be dialled by a trunk.
    pub rules: Option<&'w Dialling>,
}

impl<'w> Dialler<'w> {
    /// Of a phone. None: there is none of that name.
    #[must_use]
    pub fn of(world: &'w World, id: &'w StationId) -> Option<Self> {
        let centre = &world.snapshot.centre;
        let agent = centre.agents.get(&id.agent)?;
        let station = agent.stations.iter().find(|station| station.name == id.station)?;
        Some(Self { id, agent, station, rules: centre.dialling(id.agent.0.namespace()) })
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &'w str {
        self.id.agent.0.namespace()
    }

    /// What callees see.
    #[must_use]
    pub fn number(&self) -> Option<E164> {
        self.agent.outbound_number.or(self.rules.and_then(|rules| rules.default_caller_id))
    }

    /// As it registers. What does not register has the agent's name, by which colleagues reach it.
    #[must_use]
    pub fn username(&self) -> &'w str {
        username(self.station).unwrap_or_else(|| self.id.agent.0.name())
    }
}

/// As a phone registers. None: it does not.
#[must_use]
pub const fn username(station: &Station) -> Option<&str> {
    match &station.kind {
        StationKind::Sip { username, .. } => Some(username.as_str()),
        StationKind::WebRtc { .. } | StationKind::Pstn { .. } => None,
    }
}

/// Whether a URI asks for help (RFC 5031), or names an emergency number that holds everywhere or in a tenant's country. Never a
/// number behind a prefix: whoever needs help dials none, and `0112…` is somebody's telephone.
#[must_use]
pub fn emergency_number(uri: &Uri<'_>, rules: Option<&Dialling>) -> Option<String> {
    let user = uri.user?;
    if uri.scheme == Scheme::Urn {
        let service = user.to_ascii_lowercase();
        let service = service.strip_prefix("service:sos")?;
        let american = rules.is_some_and(|rules| ["US", "CA", "MX"].contains(&rules.country.as_str()));
        let number = if american { "911" } else { "112" };
        return (service.is_empty() || service.starts_with('.')).then(|| number.to_owned());
    }
    let user = unescape(user);
    let digits: String = user.split(';').next()?.chars().filter(|c| !matches!(c, '-' | '.')).collect();
    let own = rules.map(|rules| rules.emergency_numbers.as_slice()).unwrap_or_default();
    let known = EMERGENCY.contains(&digits.as_str()) || own.contains(&digits);
    known.then_some(digits)
}

/// Where a phone's call goes, or why nowhere. `domain` is what the phone itself registers at.
///
/// # Errors
/// The refusal, with the rule that it is for.
pub fn resolve(
    world: &World,
    dialler: Dialler<'_>,
    (uri, domain): (&Uri<'_>, &str),
) -> Result<Destination, Refusal> {
    if let Some(number) = emergency_number(uri, dialler.rules) {
        return Ok(Destination::Emergency(Arc::new(emergency(world, dialler, number))));
    }
    let user = match uri.scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => uri.user.map(unescape).unwrap_or_default(),
        Scheme::Urn | Scheme::Other => {
            return Err(refusal(
                416,
                format!("`{}` is no address that a phone can call.", clip(uri.text)),
                28,
            ));
        }
    };
    let user = user.split(';').next().unwrap_or_default();
    if user.is_empty() {
        return Err(refusal(484, "nothing was dialled: the address has no user part.".into(), 28));
    }
    if uri.scheme != Scheme::Tel && !is_ours(world, uri.host, domain) {
        let because =
            format!("`{}` is no domain of this VoiceCluster, and no call goes to others.", clip(uri.host));
        return Err(refusal(404, because, 3));
    }
    if let Some(known) = named(world, dialler.tenant(), user) {
        return Ok(known);
    }
    let country = dialler.rules.map(|rules| rules.country.as_str()).unwrap_or_default();
    let number = match numbering::dialled(country, user) {
        Ok(number) => number,
        Err(NotDialled::NotANumber(_)) => {
            let because = format!(
                "`{}` is neither a number nor a station or Agent of {}.",
                clip(user),
                dialler.tenant()
            );
            return Err(refusal(404, because, 1));
        }
        Err(bad) => return Err(refusal(484, format!("{bad}."), 28)),
    };
    if let Some((trunk, range)) = own(world, dialler.tenant(), number) {
        return Ok(Destination::Own(trunk.clone(), Box::new(range.clone())));
    }
    may_dial(dialler.tenant(), dialler.rules, number)?;
    Ok(Destination::Number(number))
}

/// A station or an agent of a tenant.
fn named(world: &World, tenant: &str, user: &str) -> Option<Destination> {
    let first = AgentId(Key::new(tenant, ""));
    let agents = world.snapshot.centre.agents.range(first..);
    let mut agents = agents.take_while(|(id, _)| id.0.namespace() == tenant);
    let by_station = agents.clone().find_map(|(id, agent)| {
        let station = agent.stations.iter().find(|station| username(station) == Some(user))?;
        Some(Destination::Station(StationId { agent: id.clone(), station: station.name.clone() }))
    });
    by_station
        .or_else(|| agents.find(|(id, _)| id.0.name() == user).map(|(id, _)| Destination::Agent(id.clone())))
}

/// A live number of a tenant.
fn own<'w>(world: &'w World, tenant: &str, number: E164) -> Option<(&'w TrunkId, &'w NumberRange)> {
    world.snapshot.numbers.keys().find_map(|trunk| {
        let range = world.snapshot.number(trunk, number)?;
        (range.id.0.namespace() == tenant).then_some((trunk, range))
    })
}

/// The tenant's rules. What is in no country is told apart by its cost alone.
pub(crate) fn may_dial(tenant: &str, rules: Option<&Dialling>, number: E164) -> Result<(), Refusal> {
    let none = || {
        let because = format!(
            "the Tenant of {tenant} has no `outboundTrunks`, so that no number can be dialled: name the trunks."
        );
        refusal(403, because, 21)
    };
    let rules = rules.filter(|rules| !rules.trunks.is_empty()).ok_or_else(none)?;
    may_reach(tenant, Some(rules), number)
}

/// The same of what needs no trunk.
pub(crate) fn may_reach(tenant: &str, rules: Option<&Dialling>, number: E164) -> Result<(), Refusal> {
    let none = || refusal(403, format!("nothing says which numbers {tenant} may reach."), 21);
    let rules = rules.ok_or_else(none)?;
    let place = numbering::place(number);
    if !rules.countries.iter().any(|country| place.is_of(country)) {
        let country = match place {
            Place::Country(iso) => iso,
            Place::NorthAmerica => "the North American plan",
            Place::Nowhere => "no country",
        };
        let because = format!(
            "{number} is a number of {country}, and the `dialling.countries` of {tenant} are {}.",
            rules.countries.join(", ")
        );
        return Err(refusal(403, because, 21));
    }
    let cost = numbering::cost(number);
    if !rules.cost_classes.contains(&cost) {
        let admitted: Vec<&str> = rules.cost_classes.iter().copied().map(CostClass::as_str).collect();
        let because = format!(
            "{number} is a {} number, and the `dialling.costClasses` of {tenant} are {}.",
            cost.as_str(),
            admitted.join(", ")
        );
        return Err(refusal(403, because, 21));
    }
    Ok(())
}

fn emergency(world: &World, dialler: Dialler<'_>, number: String) -> Emergency {
    let trunks = dialler.rules.map(|rules| rules.trunks.as_slice()).unwrap_or_default();
    let carries = |id: &&TrunkId| {
        let trunk = world.snapshot.trunks.get(*id);
        trunk.is_some_and(|trunk| trunk.emergency && trunk.direction.is_outbound())
    };
    Emergency {
        number,
        station: dialler.id.clone(),
        callback: dialler.number(),
        trunks: trunks.iter().filter(carries).cloned().collect(),
        location: dialler.station.emergency_location.clone(),
    }
}

/// Whether a host is this cluster: one of its domains, its code, an address of a listener for phones, or what the phone that
/// asks registers at.
fn is_ours(world: &World, host: &str, domain: &str) -> bool {
    let cluster = &world.snapshot.cluster;
    let is = |ours: &str| ours.eq_ignore_ascii_case(host);
    let below = |ours: &str| host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(ours));
    let listeners = cluster.listeners.iter().filter(|listener| listener.serves == Serves::Agents);
    let mut hosts = listeners.map(|listener| {
        listener.advertised.rsplit_once(':').map_or(listener.advertised.as_str(), |(host, _)| host)
    });
    is(domain)
        || is(&cluster.code)
        || cluster.domains.iter().any(|ours| is(ours) || below(ours))
        || hosts.any(is)
}

fn refusal(code: u16, because: String, cause: u8) -> Refusal {
    let reason = match cause {
        1 => "Q.850;cause=1",
        3 => "Q.850;cause=3",
        21 => "Q.850;cause=21",
        _ => "Q.850;cause=28",
    };
    Refusal { code, because, reason: Some(reason), retry_after: false }
}

/// What a phone sent, cut to what a person reads.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
