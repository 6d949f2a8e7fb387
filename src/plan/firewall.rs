//! What a customer's firewall must let through for a cluster, and Allowlists made of what a carrier publishes.
//!
//! Seen from the customer: [`Direction::Out`] leaves the customer's network for the cluster, [`Direction::In`] comes from
//! the cluster. Dates are those of the Allowlists that admit the customer's addresses. What is printed does not depend on
//! the time of day.

mod formats;
mod import;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use jiff::Timestamp;
use model::{
    ClusterId, Key, TrunkId,
    centre::Integration,
    net::Transport,
    snapshot::{Listener, Network, Peer, Serves, Trunk},
};
use serde::Serialize;

use crate::{Plan, platform::host_and_port_or};

pub use formats::Format;
pub use import::{ImportError, Published, import};

/// Audio may go to any of these ports of a customer's side: which, its session descriptions say.
const UNPRIVILEGED: Ports = Ports { first: 1_024, last: 65_535 };

/// Something to let through. Sorted as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Seen from the customer.
    pub direction: Direction,
    /// What it is for.
    pub purpose: Purpose,
    /// Name of the cluster's network. Empty: whichever leads there.
    pub network: String,
    /// Who begins, or sends.
    pub source: Address,
    /// Ports there. None: any.
    pub source_ports: Option<Ports>,
    /// Whom it goes to.
    pub destination: Address,
    /// Ports there.
    pub destination_ports: Ports,
    /// UDP or TCP; TLS and WebSocket are TCP.
    pub protocol: Protocol,
    /// The trunk that it is for. None: whoever uses the listener.
    pub trunk: Option<TrunkId>,
    /// Not needed before.
    pub valid_from: Option<Timestamp>,
    /// Not needed at this time or later.
    pub valid_until: Option<Timestamp>,
}

/// Which way, seen from the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// From the customer to the cluster.
    Out,
    /// From the cluster to the customer.
    In,
}

/// What something is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// SIP of carriers and PBXs.
    Signalling,
    /// SIP of agents' phones.
    AgentSignalling,
    /// The agents' page, and the signalling of the softphone in it.
    AgentPage,
    /// RTP and RTCP.
    Media,
    /// Audio of the softphone in the agents' page.
    Softphone,
    /// What flows ask of the customer's own servers.
    Requests,
}

/// Above which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Address {
    /// A range of addresses.
    Range(IpNet),
    /// A host name, which the customer's DNS resolves.
    Host(String),
    /// The customer's own side, whatever its addresses: no Allowlist tells them.
    Any(Any),
}

/// Written `any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Any {
    /// Any address.
    Any,
}

/// From `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Plan {
    /// What customers must let through for a cluster, sorted, nothing twice. None: there is no such cluster.
    ///
    /// `namespace` names one tenant; None stands for all of them: every namespace but the cluster's own.
    #[must_use]
    pub fn firewall(&self, cluster: &ClusterId, namespace: Option<&str>) -> Option<Vec<Rule>> {
        let snapshot = &*self.clusters.get(cluster)?.snapshot;
        let spec = self.good().clusters.get(&cluster.0)?;
        let platform = snapshot.cluster.id.0.namespace();
        let theirs = |id: &Key| match namespace {
            Some(namespace) => id.namespace() == namespace,
            None => id.namespace() != platform,
        };
        let trunks: Vec<(&TrunkId, &Trunk)> =
            snapshot.trunks.iter().filter(|(id, _)| theirs(&id.0)).collect();
        let egress: Vec<Address> = spec.egress_addresses.iter().map(|text| address(text)).collect();
        let mut rules = BTreeSet::new();
        for network in &snapshot.cluster.networks {
            let here = |trunk: &&(&TrunkId, &Trunk)| trunk.1.network == network.name;
            let on_it: Vec<_> = trunks.iter().filter(here).copied().collect();
            let side = Side {
                ports: snapshot.cluster.rtp_ports,
                domains: &spec.domains,
                listeners: &snapshot.cluster.listeners,
                egress: &egress,
                network,
                trunks: &on_it,
            };
            side.signalling_out(&mut rules);
            side.signalling_in(&mut rules);
            side.media(&mut rules);
        }
        let integrations = snapshot.centre.integrations.iter().filter(|(id, _)| theirs(&id.0));
        rules.extend(integrations.flat_map(|(_, integration)| requests(integration, &egress)));
        Some(rules.into_iter().collect())
    }
}

/// A network with the customers' trunks on it.
struct Side<'a> {
    ports: (u16, u16),
    domains: &'a [String],
    listeners: &'a [Listener],
    /// Where we come from, as others see it. None listed: from where we are reached.
    egress: &'a [Address],
    network: &'a Network,
    trunks: &'a [(&'a TrunkId, &'a Trunk)],
}

/// The customer's end of a rule.
struct End {
    address: Address,
    trunk: Option<TrunkId>,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
}

impl Side<'_> {
    fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|listener| listener.network == self.network.name)
    }

    fn signalling_out(&self, rules: &mut BTreeSet<Rule>) {
        for listener in self.listeners() {
            let Some((host, port)) = advertised(listener) else { continue };
            let (purpose, ends) = match (listener.serves, is_page(listener)) {
                (Serves::Trunks, _) => (Purpose::Signalling, self.ends(|trunk| trunk.direction.is_inbound())),
                (Serves::Agents, true) => (Purpose::AgentPage, vec![anybody()]),
                (Serves::Agents, false) => (Purpose::AgentSignalling, vec![anybody()]),
            };
            // Agents know the cluster by its names.
            let names = self.domains.iter().filter(|_| listener.serves == Serves::Agents);
            let hosts: Vec<Address> = names.map(|name| Address::Host(name.clone())).chain([host]).collect();
            for end in &ends {
                let hosts = hosts.iter().filter(|host| same_version(&end.address, host));
                rules.extend(hosts.map(|host| Rule {
                    direction: Direction::Out,
                    purpose,
                    network: self.network.name.clone(),
                    source: end.address.clone(),
                    source_ports: None,
                    destination: host.clone(),
                    destination_ports: Ports { first: port, last: port },
                    protocol: protocol(listener.transport),
                    trunk: end.trunk.clone(),
                    valid_from: end.valid_from,
                    valid_until: end.valid_until,
                }));
            }
        }
    }

    /// Where packets of ours come from that are sent from this address.
    fn from(&self, ours: Address) -> Vec<Address> {
        let seen = self.egress.iter().filter(|seen| same_version(seen, &ours));
        let seen: Vec<Address> = seen.cloned().collect();
        if seen.is_empty() { vec![ours] } else { seen }
    }

    /// Our INVITEs to peers leave by each listener of the peer's transport.
    fn signalling_in(&self, rules: &mut BTreeSet<Rule>) {
        for (id, trunk) in self.trunks.iter().filter(|(_, trunk)| trunk.direction.is_outbound()) {
            for (peer, transport) in trunk.peers.iter().flat_map(ways_to) {
                let fits = |listener: &&Listener| {
                    listener.serves == Serves::Trunks && listener.transport == transport
                };
                let ours = self.listeners().filter(fits).filter_map(advertised);
                let ours =
                    ours.flat_map(|(host, port)| self.from(host).into_iter().map(move |host| (host, port)));
                let destination = address(&peer.host);
                let ours = ours.filter(|(host, _)| same_version(host, &destination));
                rules.extend(ours.map(|(host, port)| Rule {
                    direction: Direction::In,
                    purpose: Purpose::Signalling,
                    network: self.network.name.clone(),
                    source: host,
                    // Datagrams leave by the listener's own port, streams by any.
                    source_ports: (!transport.is_reliable()).then_some(Ports { first: port, last: port }),
                    destination: destination.clone(),
                    destination_ports: Ports { first: peer.port, last: peer.port },
                    protocol: protocol(transport),
                    trunk: Some((*id).clone()),
                    valid_from: None,
                    valid_until: None,
                }));
            }
        }
    }

    /// Audio goes both ways between our ports and whatever address the customer's session description names: an Allowlist
    /// tells of signalling alone.
    fn media(&self, rules: &mut BTreeSet<Rule>) {
        if self.listeners().next().is_none() {
            return;
        }
        let (first, last) = self.ports;
        let ours = Address::Range(IpNet::from(self.network.rtp_advertised));
        let any = Address::Any(Any::Any);
        let rule = |direction, purpose, source, destination| {
            let (source_ports, destination_ports) = match direction {
                Direction::Out => (UNPRIVILEGED, Ports { first, last }),
                Direction::In => (Ports { first, last }, UNPRIVILEGED),
            };
            Rule {
                direction,
                purpose,
                network: self.network.name.clone(),
                source,
                source_ports: Some(source_ports),
                destination,
                destination_ports,
                protocol: Protocol::Udp,
                trunk: None,
                valid_from: None,
                valid_until: None,
            }
        };
        let phones = self.listeners().any(|listener| !is_page(listener));
        let pages = self.listeners().any(is_page);
        let purposes = [(Purpose::Media, phones), (Purpose::Softphone, pages)];
        for (purpose, _) in purposes.into_iter().filter(|(_, needed)| *needed) {
            rules.insert(rule(Direction::Out, purpose, any.clone(), ours.clone()));
            let ours = self.from(ours.clone()).into_iter();
            rules.extend(ours.map(|ours| rule(Direction::In, purpose, ours, any.clone())));
        }
    }

    /// Where the customers' calls come from; anybody where no trunk of theirs says.
    fn ends(&self, which: impl Fn(&Trunk) -> bool) -> Vec<End> {
        let mut ends = Vec::new();
        for (id, trunk) in self.trunks.iter().filter(|(_, trunk)| which(trunk)) {
            ends.extend(trunk.sources.iter().map(|source| End {
                address: Address::Range(source.range),
                trunk: Some((*id).clone()),
                valid_from: source.valid_from,
                valid_until: source.valid_until,
            }));
        }
        if ends.is_empty() {
            ends.push(anybody());
        }
        ends
    }
}

/// Whether the agents' page and the softphone in it come by a listener.
fn is_page(listener: &Listener) -> bool {
    listener.serves == Serves::Agents && matches!(listener.transport, Transport::Ws | Transport::Wss)
}

/// What flows ask of a server that may well be the customer's own.
fn requests(integration: &Integration, egress: &[Address]) -> Vec<Rule> {
    let Some((scheme, rest)) = asked(integration).split_once("://") else {
        return Vec::new();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let usual = if scheme == "http" { 80 } else { 443 };
    let Some((host, port)) = host_and_port_or(authority, usual) else {
        return Vec::new();
    };
    let destination = address(&host);
    let anywhere = [Address::Any(Any::Any)];
    let sources = if egress.is_empty() { &anywhere } else { egress };
    let sources = sources.iter().filter(|source| same_version(source, &destination));
    let rule = |source: &Address| Rule {
        direction: Direction::In,
        purpose: Purpose::Requests,
        network: String::new(),
        source: source.clone(),
        source_ports: None,
        destination: destination.clone(),
        destination_ports: Ports { first: port, last: port },
        protocol: Protocol::Tcp,
        trunk: None,
        valid_from: None,
        valid_until: None,
    };
    sources.map(rule).collect()
}

/// What is connected to: the service itself, or its proxy.
fn asked(integration: &Integration) -> &str {
    let Some(proxy) = &integration.proxy else { return &integration.url };
    let rest = integration.url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host_and_port_or(authority, 443).map(|(host, _)| host.to_ascii_lowercase());
    let passes_by = |domain: &String| {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        let rest = host.as_deref().and_then(|host| host.strip_suffix(domain.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if proxy.no_proxy.iter().any(passes_by) { &integration.url } else { proxy.url.trim_end_matches('/') }
}

/// What a peer is called by.
fn ways_to(peer: &Peer) -> impl Iterator<Item = (&Peer, Transport)> {
    let large = peer.large_by_tcp.then_some(Transport::Tcp);
    std::iter::once(peer.transport).chain(large).map(move |transport| (peer, transport))
}

const fn anybody() -> End {
    End { address: Address::Any(Any::Any), trunk: None, valid_from: None, valid_until: None }
}

const fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => Protocol::Tcp,
    }
}

/// What a listener is reached by from outside.
fn advertised(listener: &Listener) -> Option<(Address, u16)> {
    if let Ok(both) = listener.advertised.parse::<SocketAddr>() {
        return Some((Address::Range(IpNet::from(both.ip())), both.port()));
    }
    let (host, port) = listener.advertised.rsplit_once(':')?;
    Some((address(host), port.parse().ok()?))
}

fn address(host: &str) -> Address {
    host.parse::<IpAddr>()
        .map_or_else(|_| Address::Host(host.to_owned()), |ip| Address::Range(IpNet::from(ip)))
}

/// IPv4 does not speak to IPv6; what a name or `any` stands for, nobody knows here.
fn same_version(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Range(IpNet::V4(_)), Address::Range(IpNet::V6(_)))
        | (Address::Range(IpNet::V6(_)), Address::Range(IpNet::V4(_))) => false,
        (Address::Range(_) | Address::Host(_) | Address::Any(_), _) => true,
    }
}
