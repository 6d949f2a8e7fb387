//! A `dial` under way: whom it rings, by which peers, and what came of each try.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use model::{
    AgentId, LegId, TrunkId,
    net::{Flow as NetFlow, ListenerIx, Transport},
    program::{Dial, DialTarget},
    snapshot::{Peer, Trunk},
};
use sip::{
    endpoint::{Attached, Ended, Failure, Header, Invite},
    wire::{Message, Name},
};

use stir::claim::Claim;

use crate::{
    call::{Confirming, Trunks},
    caller::{self, Caller},
    cursor::Dialled,
    health::{Heard, Who},
    locate::usual_port,
    lots::Lots,
    registrar::StationId,
    sdp_leg::{MediaLeg, Terms},
    signing,
    world::World,
};

mod help;
mod stations;
mod whom;

pub use help::callback;
pub use whom::{Placement, Whom};

/// How long a peer may stay silent before the next one is tried, if there is one.
pub const SILENT_PEER: Duration = Duration::from_secs(4);

/// The same of a peer that has said that it is at work: far calls take their time to ring.
pub const SLOW_PEER: Duration = Duration::from_secs(12);

/// How often one target may be redirected.
const REDIRECTIONS_MAX: u8 = 3;

/// Most contacts of a redirection that are looked at.
const CONTACTS_MAX: usize = 8;

/// How long the end of a try that was cancelled is waited for before the next one begins: the peer may have answered
/// meanwhile, and two callees must never talk at once.
pub const CANCEL_WAIT: Duration = Duration::from_secs(2);

/// Most tries of one target, over all trunks, peers and addresses.
const TRIES_MAX: usize = 16;

/// What we are to a recorder (RFC 7866 §6.1.1), as a parameter of Contact.
const SRC: &str = ";+sip.src";

/// A `dial` under way.
#[derive(Debug)]
pub struct Dialling {
    /// What the step says.
    pub dial: Box<Dial>,
    /// Whom it rings.
    pub targets: Vec<Whom>,
    /// The target that comes next.
    pub next_target: usize,
    /// Those that ring.
    pub branches: Vec<Branch>,
    /// The one that answered.
    pub joined: Option<LegId>,
    /// How the latest failure is told: outcome, and code for a caller who is not answered yet.
    pub failure: (Dialled, u16),
}

/// One target that rings.
#[derive(Debug)]
pub struct Branch {
    /// Its media.
    pub media: MediaLeg,
    /// Its SIP leg, once the INVITE is out.
    pub sip: Option<LegId>,
    /// What is tried now.
    pub now: Try,
    /// What is tried next.
    pub tries: VecDeque<Try>,
    /// Whether any 18x came: then no other peer may be tried.
    pub rang: bool,
    /// Whether it has answered.
    pub answered: bool,
    /// It has, and is asked for a key before anybody is joined to it.
    pub confirming: Option<Confirming>,
    /// When it has rung long enough.
    pub ring_until: Instant,
    /// When the present peer has been silent long enough.
    pub silent_until: Option<Instant>,
    /// When the present peer was asked.
    pub asked_at: Option<Instant>,
    /// How often it was redirected.
    pub redirections: u8,
    /// Whether the present try was redirected, and the next one is where to.
    pub goes_on: bool,
    /// Whether it has other ports than it was told.
    pub has_moved: bool,
    /// Whether the present peer takes no keys.
    pub plain: bool,
    /// The present try was cancelled and has not ended yet.
    pub leaving: Option<Leaving>,
}

/// A try that was cancelled.
#[derive(Debug)]
pub struct Leaving {
    /// When its end is no longer waited for.
    pub until: Instant,
    /// What its end leads to.
    pub then: Then,
}

/// What the end of a cancelled try leads to.
#[derive(Debug)]
pub enum Then {
    /// The next try of the same target.
    TryOn,
    /// The next target.
    GiveUp,
}

/// The SIP status that a leg's end is told by, where it was not answered.
pub const fn code_of(how: &Ended) -> u16 {
    match how {
        Ended::Failed { cause: Failure::Cancelled, .. } => 487,
        Ended::Failed { code, .. } | Ended::Rejected { code } | Ended::DialogLost { code } => *code,
        Ended::Cancelled { .. } | Ended::Bye { .. } => 487,
        Ended::NoAck => 408,
    }
}

/// What became of an INVITE.
#[derive(Debug)]
pub enum Sent {
    /// It went out as this SIP leg.
    As(LegId),
    /// It did not, for this reason.
    Refused(String),
}

/// A way to reach a target.
#[derive(Debug, Clone)]
pub struct Try {
    /// Whom it goes to.
    pub party: Party,
    /// Whether it is a call for help, which no cap holds back.
    pub is_urgent: bool,
    /// Whoever answers must press a key before anybody is joined, and is asked to in this language (BCP 47).
    pub confirms: Option<String>,
    /// Whose telephone of the public network it is, where it is an agent's.
    pub agent: Option<AgentId>,
    /// Name of the network, for media.
    pub network: String,
    /// What the party may use.
    pub terms: Terms,
    /// What the trunk's registrar wants a call to take (RFC 3608).
    route: Vec<String>,
    /// Who calls, beside From.
    identity: Vec<Header>,
    /// What is signed of it.
    pub claim: Option<Claim>,
    /// What the INVITE carries besides.
    attached: Option<Box<Attached>>,
    /// Whether challenges are answered.
    challenges: bool,
    flow: NetFlow,
    /// Where it goes first if it is too large for a datagram.
    tcp: Option<NetFlow>,
    request_uri: String,
    from: String,
    to: String,
}

/// Whom a try goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// A peer of a trunk.
    Peer {
        /// Which trunk, for its caps and failover codes.
        trunk: TrunkId,
        /// Name of the trunk's peer.
        peer: String,
    },
    /// A phone that has registered.
    Station(StationId),
    /// Whoever was in another call, or called in the first place.
    Joined(String),
}

impl Branch {
    /// A target that is about to be rung, and answered if it is connected already.
    pub fn new(media: MediaLeg, now: Try, mut tries: VecDeque<Try>, ring_until: Instant) -> Self {
        // They stay as long as the call.
        tries.shrink_to_fit();
        Self {
            media,
            sip: None,
            now,
            tries,
            rang: false,
            answered: false,
            confirming: None,
            ring_until,
            silent_until: None,
            asked_at: None,
            redirections: 0,
            goes_on: false,
            has_moved: false,
            plain: false,
            leaving: None,
        }
    }

    /// Whether somebody has answered.
    pub const fn is_there(&self) -> bool {
        self.answered && self.confirming.is_none()
    }

    /// When something is to be done about it, while nobody is there.
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.leaving, &self.confirming) {
            (Some(leaving), _) => Some(leaving.until),
            (None, Some(confirming)) => Some(confirming.until),
            (None, None) => [Some(self.ring_until), self.silent_until].into_iter().flatten().min(),
        }
    }

    /// The INVITE of the present try.
    pub fn invite(&mut self, max_forwards: u8) -> Option<Invite> {
        let route = self.now.route.iter().map(|route| Header::new("Route", route.as_str()));
        let headers = route.chain(self.now.identity.iter().cloned()).collect();
        Some(Invite {
            flow: self.now.flow,
            request_uri: self.now.request_uri.clone(),
            from: self.now.from.clone(),
            to: self.now.to.clone(),
            sdp: Some(self.media.offer_anew(!self.plain)?),
            max_forwards,
            headers,
            challenges: self.now.challenges,
            tcp: self.now.tcp,
            attached: self.now.attached.clone(),
            feature: None,
        })
    }
}

impl Try {
    /// The peer that it goes to. None: it goes to a phone, which nobody watches.
    pub fn who(&self) -> Option<Who> {
        match &self.party {
            Party::Peer { trunk, peer } => {
                Some(Who { trunk: trunk.clone(), peer: peer.clone(), flow: self.flow })
            }
            Party::Station(_) | Party::Joined(_) => None,
        }
    }

    /// Somebody who is connected already, and is called no more.
    pub fn joined(party: Party, network: String, terms: Terms) -> Self {
        let nowhere = NetFlow {
            transport: Transport::Udp,
            listener: ListenerIx(0),
            remote: (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).into(),
            connection: 0,
        };
        Self {
            party,
            is_urgent: false,
            confirms: None,
            agent: None,
            network,
            terms,
            route: Vec::new(),
            identity: Vec::new(),
            attached: None,
            claim: None,
            tcp: None,
            challenges: false,
            flow: nowhere,
            request_uri: String::new(),
            from: String::new(),
            to: String::new(),
        }
    }

    /// An INVITE to a recorder (RFC 7866 §6.1): it is told of the call by what is attached.
    pub fn record(&self, sdp: Bytes, attached: Attached, max_forwards: u8) -> Invite {
        let route = self.route.iter().map(|route| Header::new("Route", route.as_str()));
        Invite {
            flow: self.flow,
            request_uri: self.request_uri.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            sdp: Some(sdp),
            max_forwards,
            headers: std::iter::once(Header::new("Require", "siprec")).chain(route).collect(),
            challenges: self.challenges,
            tcp: self.tcp,
            attached: Some(Box::new(attached)),
            feature: Some(SRC),
        }
    }

    /// The URI of whom it calls.
    pub fn aor(&self) -> &str {
        self.to.trim_matches(['<', '>'])
    }

    /// The trunk that it burdens.
    pub const fn trunk(&self) -> Option<&TrunkId> {
        match &self.party {
            Party::Peer { trunk, .. } => Some(trunk),
            Party::Station(_) | Party::Joined(_) => None,
        }
    }
}

impl fmt::Display for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.party {
            Party::Peer { trunk, peer } => write!(f, "peer `{peer}` of Trunk {trunk} ({})", self.flow),
            Party::Station(station) => write!(f, "station {station} ({})", self.flow),
            Party::Joined(who) => f.write_str(who),
        }
    }
}

/// Ways to reach a target.
#[derive(Debug, Default)]
pub struct Ways {
    /// What rings at once: of each the best first.
    pub forks: Vec<VecDeque<Try>>,
    /// Whether there is nobody to be rung, rather than no way.
    pub is_absent: bool,
    /// Why others are none, as sentences.
    pub told: Vec<String>,
}

/// All ways to reach somebody, as far as trunks take calls. Equal peers come as the lots say.
pub fn ways(
    world: &World,
    whom: &Whom,
    caller: Caller<'_>,
    (trunks_now, now): (&dyn Trunks, Timestamp),
    lots: &mut Lots,
) -> Ways {
    match whom {
        Whom::Target(DialTarget::Agent(agent)) => {
            stations::of_agent(world, (agent, false), caller, trunks_now, lots)
        }
        Whom::Standing(agent) => stations::of_agent(world, (agent, true), caller, trunks_now, lots),
        Whom::Station(station) => stations::of_station(world, station, caller, trunks_now),
        Whom::Emergency(emergency) => help::ways(world, emergency, (trunks_now, now), lots),
        Whom::Target(target) => by_trunks(world, target, caller, trunks_now, lots),
    }
}

impl Ways {
    /// Probes may be wrong: those that are down are better than none, and come last.
    fn line_up(
        &mut self,
        way: Try,
        trunks_now: &dyn Trunks,
        tries: &mut VecDeque<Try>,
        down: &mut VecDeque<Try>,
    ) {
        match way.who().and_then(|who| trunks_now.down_since(&who)) {
            None => tries.push_back(way),
            Some(since) => {
                self.told.push(format!("{way} is down since {since}, and comes last"));
                down.push_back(way);
            }
        }
    }
}

fn by_trunks(
    world: &World,
    target: &DialTarget,
    caller: Caller<'_>,
    trunks_now: &dyn Trunks,
    lots: &mut Lots,
) -> Ways {
    let (mut ways, mut tries) = (Ways::default(), VecDeque::new());
    let mut down = VecDeque::new();
    let trunks = match target {
        DialTarget::Number { trunks, .. } => trunks.as_slice(),
        DialTarget::Extension { trunk, .. } => std::slice::from_ref(trunk),
        DialTarget::Agent(_) => return ways,
    };
    for id in trunks {
        let Some(trunk) = world.snapshot.trunks.get(id).filter(|trunk| trunk.direction.is_outbound()) else {
            ways.told.push(format!("Trunk {id} is gone, or no call leaves by it"));
            continue;
        };
        if let Err(because) = trunks_now.takes(id) {
            ways.told.push(because);
            continue;
        }
        for (peer, flow, route) in reached(world, (id, trunk), trunks_now, lots, &mut ways.told) {
            let Some((way, told)) = way(world, (id, trunk, peer), target, caller, flow) else { continue };
            ways.told.extend(told.filter(|told| !ways.told.contains(told)));
            let way = Try { route, ..way };
            ways.line_up(way, trunks_now, &mut tries, &mut down);
        }
    }
    tries.extend(down);
    tries.truncate(TRIES_MAX);
    ways.forks.extend(Some(tries).filter(|tries| !tries.is_empty()));
    ways
}

/// Peers of a trunk with the addresses that calls may leave to, and the Route there.
fn reached<'t>(
    world: &World,
    (id, trunk): (&TrunkId, &'t Trunk),
    trunks_now: &dyn Trunks,
    lots: &mut Lots,
    told: &mut Vec<String>,
) -> Vec<(&'t Peer, NetFlow, Vec<String>)> {
    let mut reached = Vec::new();
    for peer in in_order(trunk, lots) {
        let route = trunks_now.route(id);
        let preset = World::preset_route(trunk);
        let flows = match &route {
            Some((flows, _)) if preset.is_none() => flows.clone(),
            Some(_) | None => world.flows_to(id, peer, lots),
        };
        if flows.is_empty() {
            told.push(format!(
                "peer `{}` of Trunk {id} has no address that a listener of network `{}` reaches by {}",
                peer.name, trunk.network, peer.transport
            ));
        }
        let mut route = route.map(|(_, route)| route.to_vec()).unwrap_or_default();
        // Its proxy is the first on the way, whatever the registrar says of the rest (RFC 3608 §6.1).
        route.splice(0..0, preset.filter(|preset| !route.contains(preset)));
        reached.extend(flows.into_iter().map(|flow| (peer, flow, route.clone())));
    }
    reached
}

fn in_order<'t>(trunk: &'t Trunk, lots: &mut Lots) -> Vec<&'t Peer> {
    lots.order(trunk.peers.iter().map(|peer| (peer.priority, peer.weight, peer)).collect())
}

/// A call to a target by one address of a peer, and what is to be told of it.
fn way(
    world: &World,
    (id, trunk, peer): (&TrunkId, &Trunk, &Peer),
    target: &DialTarget,
    caller: Caller<'_>,
    flow: NetFlow,
) -> Option<(Try, Option<String>)> {
    let user = match target {
        DialTarget::Number { number, .. } => trunk.number_formats.write(*number),
        DialTarget::Extension { user, .. } => user.clone(),
        DialTarget::Agent(_) => return None,
    };
    let local = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
    let host = local.map_or("", |listener| listener.advertised.as_str());
    let request_uri = uri_of(Some(&user), peer, true);
    let shown = match target {
        DialTarget::Number { caller_id, .. } => {
            caller::to_number((id, trunk), caller, *caller_id, (host, &request_uri))
        }
        DialTarget::Extension { .. } | DialTarget::Agent(_) => caller::to_extension(trunk, caller, host),
    };
    let claim = match (target, shown.number) {
        (DialTarget::Number { number, .. }, Some(shows)) => {
            signing::claim((id, trunk), caller, shows, *number)
        }
        _ => None,
    };
    let way = Try {
        party: Party::Peer { trunk: id.clone(), peer: peer.name.clone() },
        is_urgent: false,
        confirms: None,
        agent: None,
        attached: None,
        network: trunk.network.clone(),
        terms: Terms::of_trunk(trunk, flow.transport),
        route: Vec::new(),
        claim,
        challenges: trunk.digest.is_some(),
        flow,
        tcp: world.stream_beside(id, peer, flow),
        request_uri,
        from: shown.from,
        identity: shown.headers,
        to: format!("<{}>", uri_of(Some(&user), peer, false)),
    };
    Some((way, shown.told))
}

/// The URI of a user at a peer, or of the peer itself.
pub(crate) fn uri_of(user: Option<&str>, peer: &Peer, with_transport: bool) -> String {
    // Without a port its SRV records say it (RFC 3263 §4.2), and the transport's usual one is not written.
    let carried = if with_transport { peer.transport } else { Transport::Udp };
    let port = peer.declared_port.filter(|port| *port != usual_port(carried));
    let transport = match peer.transport {
        Transport::Tcp if with_transport => ";transport=tcp",
        Transport::Tls if with_transport => ";transport=tls",
        Transport::Udp | Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => "",
    };
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    format!("sip:{user}{}{transport}", host_port(&peer.host, port))
}

/// As it stands in a URI.
pub(crate) fn host_port(host: &str, port: Option<u16>) -> String {
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// How a failed try is told to the flow, with the code for a caller who is not answered yet.
pub fn outcome_of(how: &Ended) -> (Dialled, u16) {
    match how {
        Ended::Failed { code: code @ (486 | 600), .. } => (Dialled::Busy, *code),
        Ended::Failed { cause: Failure::Cancelled, .. } => (Dialled::NoAnswer, 480),
        Ended::Failed { code: code @ (408 | 480), .. } => (Dialled::NoAnswer, *code),
        // That a trunk wants no call of ours is nothing that the caller could prove anything about.
        Ended::Failed { code: 401 | 407, .. } => (Dialled::Failed, 500),
        Ended::Failed { code: code @ 400..=699, .. } => (Dialled::Failed, *code),
        Ended::Failed { .. }
        | Ended::Cancelled { .. }
        | Ended::Rejected { .. }
        | Ended::Bye { .. }
        | Ended::NoAck
        | Ended::DialogLost { .. } => (Dialled::Failed, 480),
    }
}

/// Whether another way may be tried: never after an 18x, a 486 or a 6xx, whatever the trunk's failover codes are. A
/// peer that cannot be reached or never answers has said nothing, so the next one is asked in any case (RFC 3263 §4.3).
pub fn may_try_another(rang: bool, how: &Ended, failover_codes: &[u16]) -> bool {
    let Ended::Failed { code, cause, .. } = how else { return false };
    let failed = match cause {
        Failure::TimedOut | Failure::Transport => true,
        Failure::Response => *code != 486 && *code < 600 && failover_codes.contains(code),
        Failure::Cancelled => false,
    };
    failed && !rang
}

/// The same of a call for help: whatever one carrier says of it, the next may know better.
pub fn may_try_another_for_help(rang: bool, how: &Ended) -> bool {
    let Ended::Failed { code, cause, .. } = how else { return false };
    !rang && *cause != Failure::Cancelled && *code != 486 && *code < 600
}

/// What a failed try says about its peer. Its refusals are about the call.
pub const fn heard(how: &Ended) -> Option<Heard> {
    match how {
        Ended::Failed { cause: Failure::TimedOut, .. } => Some(Heard::Silent),
        Ended::Failed { cause: Failure::Transport, .. } => Some(Heard::Unreachable),
        Ended::Failed { cause: Failure::Response | Failure::Cancelled, .. }
        | Ended::Cancelled { .. }
        | Ended::Rejected { .. }
        | Ended::Bye { .. }
        | Ended::NoAck
        | Ended::DialogLost { .. } => None,
    }
}

/// Where a 3xx leads: only to peers of the trunk that sent it, for any other host is a way round caps, grants and
/// whatever else a trunk is bound by.
pub fn redirected(
    world: &World,
    branch: &mut Branch,
    response: &Message,
    lots: &mut Lots,
) -> Result<(), String> {
    let now = &branch.now;
    let refused = |why: &str| Err(format!("{now} redirected the call ({}), {why}", response.code()));
    if branch.rang {
        return refused("which has rung already");
    }
    if branch.redirections >= REDIRECTIONS_MAX {
        return refused("more often than is followed");
    }
    let Party::Peer { trunk: id, .. } = &now.party else { return refused("and phones are not followed") };
    let Some(trunk) = world.snapshot.trunks.get(id) else { return refused("and its Trunk is gone") };
    let mut followed = Vec::new();
    for contact in response.addresses(Name::Contact).take(CONTACTS_MAX) {
        let uri = contact.uri;
        let host = uri.host.trim_start_matches('[').trim_end_matches(']');
        for peer in &trunk.peers {
            let port = uri.port.is_none_or(|port| port == peer.port);
            for flow in world.flows_to(id, peer, lots) {
                let here = peer.host.eq_ignore_ascii_case(host) || flow.remote.ip().to_string() == host;
                if here && port && flow != now.flow {
                    let request_uri = uri.without_headers().to_owned();
                    let tcp = world.stream_beside(id, peer, flow);
                    let party = Party::Peer { trunk: id.clone(), peer: peer.name.clone() };
                    followed.push(Try { party, flow, tcp, request_uri, ..now.clone() });
                }
            }
        }
    }
    if followed.is_empty() {
        return refused("and to no other peer of that Trunk");
    }
    branch.redirections += 1;
    followed.into_iter().rev().for_each(|next| branch.tries.push_front(next));
    branch.tries.truncate(TRIES_MAX);
    Ok(())
}

/// How a failed try is told to people.
pub fn told(how: &Ended) -> String {
    match how {
        Ended::Failed { cause: Failure::TimedOut, .. } => "never answered".into(),
        Ended::Failed { cause: Failure::Transport, .. } => "cannot be reached".into(),
        Ended::Failed { cause: Failure::Cancelled, .. } => "was given up".into(),
        Ended::Failed { code, .. } => format!("answered {code}"),
        Ended::Cancelled { .. }
        | Ended::Rejected { .. }
        | Ended::Bye { .. }
        | Ended::NoAck
        | Ended::DialogLost { .. } => "ended the call".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: u16, cause: Failure) -> Ended {
        Ended::Failed { code, reason: String::new(), cause }
    }

    #[test]
    fn a_failure_is_told_by_its_code() {
        for (how, wanted) in [
            (failed(486, Failure::Response), (Dialled::Busy, 486)),
            (failed(600, Failure::Response), (Dialled::Busy, 600)),
            (failed(480, Failure::Response), (Dialled::NoAnswer, 480)),
            (failed(408, Failure::TimedOut), (Dialled::NoAnswer, 408)),
            (failed(487, Failure::Cancelled), (Dialled::NoAnswer, 480)),
            (failed(404, Failure::Response), (Dialled::Failed, 404)),
            (failed(407, Failure::Response), (Dialled::Failed, 500)),
            (failed(503, Failure::Transport), (Dialled::Failed, 503)),
            (failed(302, Failure::Response), (Dialled::Failed, 480)),
            (failed(603, Failure::Response), (Dialled::Failed, 603)),
        ] {
            assert_eq!(outcome_of(&how), wanted, "{how:?}");
        }
    }

    /// RFC 3263 §4.3, and what must never ring twice.
    #[test]
    fn another_peer_is_tried_only_where_nobody_can_have_heard_the_first() {
        let usual = [408, 500, 502, 503, 504];
        let odd = [404, 486, 600, 603];
        for (rang, how, codes, wanted) in [
            (false, failed(503, Failure::Response), &usual[..], true),
            (false, failed(408, Failure::Response), &usual, true),
            (false, failed(480, Failure::Response), &usual, false),
            (false, failed(501, Failure::Response), &usual, false),
            (false, failed(404, Failure::Response), &odd, true),
            (false, failed(503, Failure::Response), &odd, false),
            (false, failed(486, Failure::Response), &odd, false),
            (false, failed(600, Failure::Response), &odd, false),
            (false, failed(603, Failure::Response), &odd, false),
            (false, failed(302, Failure::Response), &usual, false),
            (false, failed(408, Failure::TimedOut), &odd, true),
            (false, failed(503, Failure::Transport), &[], true),
            (false, failed(487, Failure::Cancelled), &usual, false),
            (true, failed(503, Failure::Response), &usual, false),
            (true, failed(503, Failure::Transport), &usual, false),
            (false, Ended::NoAck, &usual, false),
        ] {
            assert_eq!(may_try_another(rang, &how, codes), wanted, "{rang} {how:?} {codes:?}");
        }
    }
}
