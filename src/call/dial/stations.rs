//! Phones of agents as callees: every contact of a phone rings at once (RFC 3261 §16.6), and requests go by the flow that the
//! contact registered by (RFC 5626 §5.3).

use std::collections::VecDeque;

use model::{AgentId, centre::StationKind, program::DialTarget};
use sip::endpoint::Header;

use super::{Party, Try, Ways, by_trunks};
use crate::{
    call::Trunks,
    caller::{self, Caller},
    dialling::Dialler,
    lots::Lots,
    registrar::{Bound, StationId},
    sdp_leg::Terms,
    world::World,
};

/// The language of an agent where neither it nor its tenant names one.
const LANGUAGE: &str = "en-US";

/// All of an agent's phones, which ring at once: those that have registered, and those of the public network; or of these only those
/// that are kept up.
pub(super) fn of_agent(
    world: &World,
    (id, kept): (&AgentId, bool),
    caller: Caller<'_>,
    trunks_now: &dyn Trunks,
    lots: &mut Lots,
) -> Ways {
    let mut ways = Ways::default();
    let centre = &world.snapshot.centre;
    let Some(agent) = centre.agents.get(id) else {
        ways.told.push(format!("Agent {id} is gone"));
        ways.is_absent = true;
        return ways;
    };
    let rules = centre.dialling(id.0.namespace());
    for station in agent.stations.iter().filter(|station| station.persistent || !kept) {
        let more = match &station.kind {
            StationKind::Sip { .. } => {
                let station = StationId { agent: id.clone(), station: station.name.clone() };
                of_station(world, &station, caller, trunks_now)
            }
            StationKind::Pstn { number } => {
                let trunks = rules.map(|rules| rules.trunks.clone()).unwrap_or_default();
                let caller_id = rules.and_then(|rules| rules.default_caller_id);
                let target = DialTarget::Number { number: *number, trunks, caller_id };
                let mut ways = by_trunks(world, &target, caller, trunks_now, lots);
                let language = agent.languages.first().map_or(LANGUAGE, String::as_str);
                for way in ways.forks.iter_mut().flatten() {
                    (way.confirms, way.agent) = (Some(language.to_owned()), Some(id.clone()));
                }
                ways
            }
            StationKind::WebRtc { .. } => {
                let told =
                    format!("station `{}` of Agent {id} is a browser, which is not rung yet", station.name);
                Ways { told: vec![told], ..Ways::default() }
            }
        };
        ways.forks.extend(more.forks);
        ways.told.extend(more.told);
    }
    ways.is_absent = ways.forks.is_empty();
    ways
}

/// All contacts of a phone.
pub(super) fn of_station(world: &World, id: &StationId, caller: Caller<'_>, trunks_now: &dyn Trunks) -> Ways {
    let bounds = trunks_now.bindings(id);
    let forks = bounds.iter().filter_map(|bound| Some(VecDeque::from([way(world, id, caller, bound)?])));
    let mut ways = Ways { forks: forks.collect(), ..Ways::default() };
    if ways.forks.is_empty() {
        ways.told.push(format!("station {id} is not registered"));
        ways.is_absent = true;
    }
    ways
}

fn way(world: &World, id: &StationId, caller: Caller<'_>, bound: &Bound) -> Option<Try> {
    let cluster = &world.snapshot.cluster;
    let listener = cluster.listeners.get(usize::from(bound.flow.listener.0))?;
    let domain = cluster.domains.first().unwrap_or(&listener.advertised);
    let shown = caller::to_station(caller, domain);
    let dialler = Dialler::of(world, id)?;
    let (user, lossy) = (dialler.username().to_owned(), dialler.agent.lossy);
    let mut headers = shown.headers;
    if caller.is_expected && dialler.station.answers_itself {
        headers.extend(answer_at_once(domain));
    }
    Some(Try {
        party: Party::Station(id.clone()),
        is_urgent: false,
        confirms: None,
        agent: None,
        attached: None,
        network: listener.network.clone(),
        terms: Terms::of_phone(bound.flow.transport, lossy),
        route: bound.path.iter().map(|route| Header::new("Route", &**route).value).collect(),
        identity: headers,
        challenges: false,
        claim: None,
        tcp: None,
        flow: bound.flow,
        request_uri: bound.contact.to_string(),
        from: shown.from,
        to: format!("<sip:{user}@{domain}>"),
    })
}

/// What has a telephone answer by itself: RFC 5373 §4, and what telephones knew before it.
fn answer_at_once(domain: &str) -> [Header; 3] {
    [
        Header::new("Answer-Mode", "Auto"),
        Header::new("Call-Info", format!("<sip:{domain}>;answer-after=0")),
        Header::new("Alert-Info", format!("<sip:{domain}>;info=alert-autoanswer;delay=0")),
    ]
}
