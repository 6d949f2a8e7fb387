//! Calls for help (RFC 6881): every trunk that carries them is tried in turn, whatever its caps, with a number to call back
//! and the place where the caller is.

use std::collections::VecDeque;

use jiff::Timestamp;
use model::{E164, TrunkId, snapshot::Trunk};
use sip::endpoint::Header;

use super::{Party, TRIES_MAX, Try, Ways, reached, uri_of};
use crate::{call::Trunks, caller, dialling::Emergency, location, lots::Lots, sdp_leg::Terms, world::World};

pub(super) fn ways(
    world: &World,
    emergency: &Emergency,
    (trunks_now, now): (&dyn Trunks, Timestamp),
    lots: &mut Lots,
) -> Ways {
    let (mut ways, mut tries) = (Ways::default(), VecDeque::new());
    let mut down = VecDeque::new();
    for id in &emergency.trunks {
        let Some(trunk) = world.snapshot.trunks.get(id) else { continue };
        let callback = callback(world, emergency, (id, trunk));
        let shown = callback.map(|number| trunk.number_formats.write(number)).unwrap_or_default();
        for (peer, flow, route) in reached(world, (id, trunk), trunks_now, lots, &mut ways.told) {
            let listener = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
            let host = listener.map_or("", |listener| listener.advertised.as_str());
            let bare = host.rsplit_once(':').map_or(host, |(host, _)| host);
            let from = caller::identity(&shown, host);
            let mut identity = vec![Header::new("P-Asserted-Identity", from.clone())];
            identity.retain(|_| callback.is_some());
            let entity =
                callback.map_or_else(|| format!("sip:{bare}"), |number| format!("sip:{number}@{bare}"));
            let place = emergency.location.as_ref();
            let place = place.map(|place| location::told(place, (bare, &peer.host), &entity, now));
            let (headers, attached) = place.unwrap_or_default();
            identity.extend(headers);
            let request_uri = uri_of(Some(&emergency.number), peer, true);
            let way = Try {
                party: Party::Peer { trunk: id.clone(), peer: peer.name.clone() },
                is_urgent: true,
                confirms: None,
                agent: None,
                attached,
                network: trunk.network.clone(),
                terms: Terms::of_trunk(trunk, flow.transport).for_help(),
                route,
                identity,
                challenges: trunk.digest.is_some(),
                claim: None,
                // With a place in its body it is seldom small enough for a datagram.
                tcp: world.stream_beside(id, peer, flow),
                flow,
                request_uri,
                from,
                to: format!("<{}>", uri_of(Some(&emergency.number), peer, false)),
            };
            ways.line_up(way, trunks_now, &mut tries, &mut down);
        }
    }
    tries.extend(down);
    tries.truncate(TRIES_MAX);
    if emergency.trunks.is_empty() {
        let tenant = emergency.station.agent.0.namespace();
        ways.told.push(format!(
            "none of the `outboundTrunks` of {tenant} says `emergency: Accepted`, so that nobody can be called for help"
        ));
    }
    ways.forks.extend(Some(tries).filter(|tries| !tries.is_empty()));
    ways
}

/// What those who send help see and call back: the agent's number or the tenant's, else one of the tenant's on the trunk.
pub fn callback(world: &World, emergency: &Emergency, (id, trunk): (&TrunkId, &Trunk)) -> Option<E164> {
    let tenant = emergency.station.agent.0.namespace();
    let live = world.snapshot.numbers.get(id).map(Vec::as_slice).unwrap_or_default();
    let live = live.iter().find(|range| range.id.0.namespace() == tenant).map(|range| range.first);
    let granted = || trunk.grants.iter().find(|grant| grant.namespace == tenant).map(|grant| grant.first);
    emergency.callback.or(live).or_else(granted)
}
