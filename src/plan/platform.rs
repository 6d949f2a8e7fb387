//! VoiceClusters, Tenants, Allowlists, PointsOfPresence and Trunks: what is wrong with one, given those before it.

use std::net::IpAddr;

use api::v1alpha1 as v1;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model::{AllowlistId, Key, snapshot::Source as Admitted};

use crate::{
    checks,
    problem::Reason,
    resources::Report,
    schema, words,
    world::{Good, Item, PlannedTrunk, World},
};

/// How long before the end of a range people are told.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A cluster by itself: networks of listeners, ports that clash.
pub(crate) fn cluster(item: &Item<v1::VoiceClusterSpec>, report: &mut Report) {
    let spec = &item.spec;
    for (index, listener) in spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let Some(network) = network(spec, &listener.network) else {
            unknown_network(item, report, &format!("{field}.network"), &listener.network, spec);
            continue;
        };
        let clash = spec.listeners[..index].iter().find(|other| {
            let same = is_datagram(other) == is_datagram(listener) && other.port == listener.port;
            same && self::network(spec, &other.network).is_some_and(|other| share(network, other))
        });
        if let Some(other) = clash {
            let message = format!(
                "Listener `{}` binds port {} of {} already; give this one another port or network.",
                other.name, listener.port, network.bind_address
            );
            item.error(report, &format!("{field}.port"), Reason::PortClash, message);
        }
        let ports = &spec.media.ports;
        if is_datagram(listener) && (ports.first..=ports.last).contains(&listener.port) {
            let message = format!(
                "Port {} must lie outside `media.ports` ({} to {}): audio needs all of them.",
                listener.port, ports.first, ports.last
            );
            item.error(report, &format!("{field}.port"), Reason::PortClash, message);
        }
    }
    if let Some(name) = &spec.media.span_network
        && network(spec, name).is_none()
    {
        unknown_network(item, report, "spec.media.spanNetwork", name, spec);
    }
}

fn network<'a>(cluster: &'a v1::VoiceClusterSpec, name: &str) -> Option<&'a v1::Network> {
    cluster.networks.iter().find(|network| network.name == name)
}

/// All else is a stream, and two streams cannot have one port, whatever is in them.
fn is_datagram(listener: &v1::Listener) -> bool {
    listener.transport == v1::ListenerTransport::Udp
}

/// Whether sockets of two networks claim one address: sockets on two interfaces do not.
fn share(a: &v1::Network, b: &v1::Network) -> bool {
    let apart = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
    if apart(&a.interface, &b.interface) || apart(&a.attachment, &b.attachment) {
        return false;
    }
    // A pod has an attachment beside the addresses that it has anyway.
    if a.attachment.is_some() != b.attachment.is_some() {
        return false;
    }
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    let (Some(a), Some(b)) = (parse(&a.bind_address), parse(&b.bind_address)) else {
        return false;
    };
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

fn unknown_network<T>(
    item: &Item<T>,
    report: &mut Report,
    field: &str,
    name: &str,
    cluster: &v1::VoiceClusterSpec,
) {
    let known: Vec<&str> = cluster.networks.iter().map(|network| network.name.as_str()).collect();
    let message =
        format!("VoiceCluster {} has no network `{name}`; it has {}.", cluster.code, words::all_of(&known));
    item.error(report, field, Reason::UnknownNetwork, message);
}

/// Ports of two clusters that bind one address of this machine. `others` come before this one.
pub(crate) fn clusters_apart(item: &Item<v1::VoiceClusterSpec>, world: &World, report: &mut Report) {
    for other in world.clusters.values() {
        let shared = item
            .spec
            .networks
            .iter()
            .any(|network| other.spec.networks.iter().any(|other| share(network, other)));
        if !shared {
            continue;
        }
        let (ours, theirs) = (&item.spec.media.ports, &other.spec.media.ports);
        if ours.first <= theirs.last && theirs.first <= ours.last {
            let message = format!(
                "RTP ports {} to {} overlap those of {} on the same address; they cannot run on one machine.",
                ours.first, ours.last, other.id
            );
            item.warning(report, "spec.media.ports", Reason::PortClash, message);
        }
        for (index, listener) in item.spec.listeners.iter().enumerate() {
            let clash = other
                .spec
                .listeners
                .iter()
                .any(|other| is_datagram(other) == is_datagram(listener) && other.port == listener.port);
            if clash {
                let message = format!(
                    "Port {} is a listener's of {} too; they cannot run on one machine.",
                    listener.port, other.id
                );
                item.warning(report, &format!("spec.listeners[{index}].port"), Reason::PortClash, message);
            }
        }
    }
}

/// A tenant: its cluster, its time zone, and that it is alone in its namespace.
/// Gives whether the cluster admits it.
pub(crate) fn tenant(item: &Item<v1::TenantSpec>, world: &World, report: &mut Report) -> bool {
    if let Some(other) = world.tenants.get(item.namespace()) {
        let message =
            format!("Namespace {} has {} already; a namespace has one Tenant.", item.namespace(), other.id);
        item.error(report, "metadata.name", Reason::DuplicateTenant, message);
    }
    time_zone(item, &item.spec.time_zone, report);
    admitted_cluster(item, &item.spec.cluster_ref, world, report).is_some()
}

/// The cluster that a reference names, if it is there and admits the item's namespace.
fn admitted_cluster<'w, T>(
    item: &Item<T>,
    reference: &v1::ObjectRef,
    world: &'w World,
    report: &mut Report,
) -> Option<&'w Item<v1::VoiceClusterSpec>> {
    let key = item.target(reference);
    if world.is_unusable("VoiceCluster", &key) {
        report.unresolved();
        return None;
    }
    let Some(cluster) = world.clusters.get(&key) else {
        let hint = near_key(&key, world.clusters.keys());
        let message = format!("There is no VoiceCluster {key}{hint}");
        item.error(report, "spec.clusterRef.name", Reason::ClusterNotFound, message);
        return None;
    };
    let admits = key.namespace() == item.namespace()
        || cluster.spec.allowed_namespaces.iter().any(|name| name == item.namespace());
    if !admits {
        let message = format!(
            "VoiceCluster {key} must list `{}` in `allowedNamespaces` before objects of this namespace may use it.",
            item.namespace()
        );
        item.error(report, "spec.clusterRef", Reason::NotPermitted, message);
        return None;
    }
    Some(cluster)
}

/// The end of a sentence about an absent object: the one that was meant, if one is near.
pub(crate) fn near_key<'a>(key: &Key, known: impl Iterator<Item = &'a Key> + Clone) -> String {
    let same_name = known.clone().find(|other| other.name() == key.name());
    match same_name {
        Some(other) => format!("; did you mean `{other}`?"),
        None => words::did_you_mean(key.as_str(), known.map(Key::as_str)),
    }
}

/// A time zone that the bundled database has.
pub(crate) fn time_zone<T>(item: &Item<T>, name: &str, report: &mut Report) {
    if zone(name).is_some() {
        return;
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    let hint = words::did_you_mean(name, known.iter().map(String::as_str));
    let message =
        format!("There is no time zone `{name}`; write an IANA name, such as America/New_York{hint}");
    item.error(report, "spec.timeZone", Reason::UnknownTimeZone, message);
}

fn zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZone::get(name).ok()?;
    (zone.iana_name() == Some(name)).then_some(zone)
}

/// The ranges of an Allowlist, by themselves.
pub(crate) fn allowlist(item: &Item<v1::AllowlistSpec>, now: Timestamp, report: &mut Report) {
    ranges(item, "spec.ranges", &item.spec.ranges, now, report);
}

/// A point of presence by itself: its gateways and ranges.
pub(crate) fn pop(item: &Item<v1::PointOfPresenceSpec>, now: Timestamp, report: &mut Report) {
    for (index, gateway) in item.spec.gateways.iter().enumerate() {
        address(item, &gateway.address, &format!("spec.gateways[{index}].address"), report);
    }
    ranges(item, "spec.signallingRanges", &item.spec.signalling_ranges, now, report);
    ranges(item, "spec.mediaRanges", &item.spec.media_ranges, now, report);
}

fn ranges<T>(item: &Item<T>, list: &str, ranges: &[v1::AddressRange], now: Timestamp, report: &mut Report) {
    for (index, range) in ranges.iter().enumerate() {
        let field = |name: &str| format!("{list}[{index}].{name}");
        for (name, time) in [("validFrom", &range.valid_from), ("validUntil", &range.valid_until)] {
            let time = time.as_deref().map(str::parse::<Timestamp>);
            match time {
                Some(Err(_)) => item.error(
                    report,
                    &field(name),
                    Reason::InvalidDate,
                    format!("`{name}` must be a day that the calendar has."),
                ),
                Some(Ok(time)) if name == "validUntil" && time <= now => {
                    let message = format!(
                        "This range has not been admitted since {time}; remove it or give it a later `validUntil`."
                    );
                    item.warning(report, &field(name), Reason::ExpiredRange, message);
                }
                Some(Ok(time)) if name == "validUntil" && time.duration_since(now) <= EXPIRES_SOON => {
                    let message = format!(
                        "This range will not be admitted any more from {time} on; give it a later `validUntil`, or add the range that follows it."
                    );
                    item.warning(report, &field(name), Reason::ExpiringRange, message);
                }
                Some(Ok(_)) | None => {}
            }
        }
    }
}

/// A trunk, given clusters, tenants, allowlists and the trunks before it.
pub(crate) fn trunk(
    item: &Item<v1::TrunkSpec>,
    world: &World,
    last: &Good,
    report: &mut Report,
) -> PlannedTrunk {
    let cluster = admitted_cluster(item, &item.spec.cluster_ref, world, report);
    let joins = cluster.is_some_and(|cluster| joins(item, cluster, report));
    let owned = cluster.is_some_and(|cluster| owner(item, cluster, world, report));
    checks::trunk(item, cluster, world, report);
    let planned = PlannedTrunk {
        cluster: item.target(&item.spec.cluster_ref),
        live: owned && joins,
        ucaas_partner: cluster.is_some_and(|cluster| ucaas_partner(item, cluster, report)),
        sources: sources(item, world, report),
        pops: pops(item, world, report),
        item: item.clone(),
    };
    peers(item, report);
    if let Some(proxy) = &item.spec.outbound_proxy {
        address(item, proxy, "spec.outboundProxy", report);
    }
    apart(planned, world, last, report)
}

/// Whether trunks of its namespace may name the network, if the cluster has it.
fn joins(item: &Item<v1::TrunkSpec>, cluster: &Item<v1::VoiceClusterSpec>, report: &mut Report) -> bool {
    let name = &item.spec.network;
    let Some(network) = network(&cluster.spec, name) else {
        unknown_network(item, report, "spec.network", name, &cluster.spec);
        // Nothing listens for it, so nobody has to keep it from calls.
        return true;
    };
    let allowed = network.allowed_namespaces.as_ref();
    let admits = allowed.is_none_or(|allowed| allowed.iter().any(|one| one == item.namespace()));
    if item.namespace() == cluster.namespace() || admits {
        return true;
    }
    let message = format!(
        "VoiceCluster {} must list `{}` in `allowedNamespaces` of network `{name}` before trunks of this namespace may name it.",
        cluster.id.key,
        item.namespace()
    );
    item.error(report, "spec.network", Reason::NotPermitted, message);
    false
}

/// Whether the trunk stands in its cluster's own namespace.
pub(crate) fn is_the_platforms(item: &Item<v1::TrunkSpec>) -> bool {
    item.target(&item.spec.cluster_ref).namespace() == item.namespace()
}

/// Whether the trunk is the platform's, or that of a tenant that there is.
fn owner(
    item: &Item<v1::TrunkSpec>,
    cluster: &Item<v1::VoiceClusterSpec>,
    world: &World,
    report: &mut Report,
) -> bool {
    if item.namespace() == cluster.namespace() {
        return true;
    }
    if claims_cluster(item.namespace(), &cluster.id.key, world) {
        return world.served.get(item.namespace()) == Some(&cluster.id.key);
    }
    let message = format!(
        "Namespace {} must have a Tenant whose `clusterRef` names {} before it may have a trunk there.",
        item.namespace(),
        cluster.id.key
    );
    item.error(report, "spec.clusterRef", Reason::TenantNotFound, message);
    false
}

/// Whether the namespace has a Tenant that names this cluster, admitted or not, or one that cannot be read.
pub(crate) fn claims_cluster(namespace: &str, cluster: &Key, world: &World) -> bool {
    match world.tenants.get(namespace) {
        Some(tenant) => tenant.target(&tenant.spec.cluster_ref) == *cluster,
        None => world.unusable.iter().any(|id| id.kind == "Tenant" && id.key.namespace() == namespace),
    }
}

fn ucaas_partner(
    item: &Item<v1::TrunkSpec>,
    cluster: &Item<v1::VoiceClusterSpec>,
    report: &mut Report,
) -> bool {
    if item.spec.ucaas_partner.is_none() {
        return false;
    }
    let granted = cluster.spec.ucaas_partners.iter().any(|name| name == item.namespace());
    if !granted {
        let message = format!(
            "VoiceCluster {} must list `{}` in `ucaasPartners` before its trunks may say so; until then their calls are refused.",
            cluster.id.key,
            item.namespace()
        );
        item.error(report, "spec.ucaasPartner", Reason::UcaasPartnerNotGranted, message);
    }
    granted
}

fn peers(item: &Item<v1::TrunkSpec>, report: &mut Report) {
    for (index, peer) in item.spec.peers.iter().enumerate() {
        address(item, &peer.address, &format!("spec.peers[{index}].address"), report);
    }
}

/// The pattern cannot tell an IPv6 address.
fn address<T>(item: &Item<T>, address: &str, field: &str, report: &mut Report) {
    if schema::matches(v1::PEER_ADDRESS, address) && host_and_port(address).is_none() {
        let message =
            format!("`address` must have an IPv6 address in its brackets, not `{}`.", words::clip(address));
        item.error(report, field, Reason::InvalidValue, message);
    }
}

/// The points of presence whose gateways are a trunk's peers, in the order of the trunk. That one is missing has been told.
fn pops(
    item: &Item<v1::TrunkSpec>,
    world: &World,
    report: &mut Report,
) -> Vec<Item<v1::PointOfPresenceSpec>> {
    let mut pops = Vec::new();
    for reference in &item.spec.pop_refs {
        let key = Key::new(item.namespace(), &reference.name);
        match world.pops.get(&key) {
            Some(pop) if !pop.draft => pops.push(pop.clone()),
            Some(_) => report.unresolved(),
            None if world.is_unusable("PointOfPresence", &key) => report.unresolved(),
            None => {}
        }
    }
    pops
}

/// Host and port of a peer; 5060 where none is named.
pub(crate) fn host_and_port(address: &str) -> Option<(String, u16)> {
    host_and_port_or(address, 5060)
}

/// Host and port; `usual` where none is named.
pub(crate) fn host_and_port_or(address: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = host_and_perhaps_port(address)?;
    Some((host, port.unwrap_or(usual)))
}

/// Host, and port where one is named.
pub(crate) fn host_and_perhaps_port(address: &str) -> Option<(String, Option<u16>)> {
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Some((ip.to_string(), None));
    }
    if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        let ip: IpAddr = host.parse().ok().filter(IpAddr::is_ipv6)?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?.parse().ok()?) };
        return Some((ip.to_string(), port));
    }
    match address.split_once(':') {
        None => Some((address.to_owned(), None)),
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
    }
}

fn sources(item: &Item<v1::TrunkSpec>, world: &World, report: &mut Report) -> Vec<Admitted> {
    let mut sources = Vec::new();
    let mut told = false;
    for (index, reference) in item.spec.allowlist_refs.iter().enumerate() {
        let key = Key::new(item.namespace(), &reference.name);
        if world.is_unusable("Allowlist", &key) || world.allowlists.get(&key).is_some_and(|list| list.draft) {
            // Invalid and never valid before: it admits nobody.
            report.unresolved();
            told = true;
            continue;
        }
        let Some(list) = world.allowlists.get(&key) else {
            told = true;
            let hint = near_key(&key, world.allowlists.keys());
            let message = format!("There is no Allowlist {key}, so nobody is admitted by it{hint}");
            item.error(
                report,
                &format!("spec.allowlistRefs[{index}].name"),
                Reason::AllowlistNotFound,
                message,
            );
            continue;
        };
        sources.extend(list.spec.ranges.iter().filter_map(|range| admitted(range, &key)));
    }
    for reference in &item.spec.pop_refs {
        let key = Key::new(item.namespace(), &reference.name);
        let pop = world.pops.get(&key).filter(|pop| !pop.draft);
        told |= pop.is_none();
        let ranges = pop.iter().flat_map(|pop| &pop.spec.signalling_ranges);
        let ranges = ranges.filter_map(|range| admitted(range, &key));
        sources.extend(ranges.map(|range| Admitted { of_pop: true, ..range }));
    }
    if sources.is_empty() && !told && item.spec.direction != v1::TrunkDirection::Outbound {
        let message = "No source is admitted, so no call can come in: name an Allowlist with ranges in `allowlistRefs`, or say `direction: Outbound`.";
        item.warning(report, "spec.allowlistRefs", Reason::NoSources, message);
    }
    sources.sort_by_key(|source| (source.range, source.allowlist.clone()));
    sources
}

fn admitted(range: &v1::AddressRange, list: &Key) -> Option<Admitted> {
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    Some(Admitted {
        range: range.cidr.parse::<IpNet>().ok()?.trunc(),
        valid_from: time(&range.valid_from),
        valid_until: time(&range.valid_until),
        allowlist: AllowlistId(list.clone()),
        of_pop: false,
    })
}

/// A source names its trunk, so no two trunks of one network may admit the same one at the same time. A trunk that comes
/// to overlap another keeps the sources that it had, as far as its Allowlists still admit them.
fn apart(mut planned: PlannedTrunk, world: &World, last: &Good, report: &mut Report) -> PlannedTrunk {
    let Some((field, message)) = overlap(&planned, world) else {
        return planned;
    };
    let item = planned.item.clone();
    let had = last.sources.get(&item.id.key).map(Vec::as_slice).unwrap_or_default();
    let still = |source: &&Admitted| planned.sources.iter().any(|now| now.range.contains(&source.range));
    planned.sources = had.iter().filter(still).cloned().collect();
    if planned.sources.is_empty() || overlap(&planned, world).is_some() {
        item.error(report, &field, Reason::SourceOverlap, message);
    } else {
        item.tolerated(report, &field, Reason::SourceOverlap, message);
    }
    planned
}

/// The field that overlaps a trunk before this one, and what to say of it.
fn overlap(planned: &PlannedTrunk, world: &World) -> Option<(String, String)> {
    let item = &planned.item;
    let beside = world.trunks.values().filter(|other| {
        other.live && other.cluster == planned.cluster && other.item.spec.network == item.spec.network
    });
    let mut pairs = beside.flat_map(|other| {
        let pairs = move |ours| other.sources.iter().map(move |theirs| (other, ours, theirs));
        planned.sources.iter().flat_map(pairs)
    });
    let (other, ours, theirs) = pairs.find(|(_, ours, theirs)| clash(ours, theirs))?;
    let (list, references) = if ours.of_pop {
        ("popRefs", &item.spec.pop_refs)
    } else {
        ("allowlistRefs", &item.spec.allowlist_refs)
    };
    let index = references.iter().position(|reference| reference.name == ours.allowlist.0.name());
    let message = format!(
        "{} of {} overlaps {} of {}, which {} admits on the same network; a source must belong to one trunk.",
        ours.range,
        ours.owner(),
        theirs.range,
        theirs.owner(),
        other.item.id
    );
    Some((format!("spec.{list}[{}].name", index.unwrap_or_default()), message))
}

fn clash(a: &Admitted, b: &Admitted) -> bool {
    let before = |end: Option<Timestamp>, start: Option<Timestamp>| {
        end.zip(start).is_some_and(|(end, start)| end <= start)
    };
    let at_once = !before(a.valid_until, b.valid_from) && !before(b.valid_until, a.valid_from);
    at_once && (a.range.contains(&b.range) || b.range.contains(&a.range))
}

/// What a tenant says of trunks: those it dials by, and the number it shows. Gives the trunks that can be used.
pub(crate) fn outbound(item: &Item<v1::TenantSpec>, world: &World, report: &mut Report) -> Vec<Key> {
    let mut usable = Vec::new();
    for (index, reference) in item.spec.outbound_trunks.iter().enumerate() {
        let field = format!("spec.outboundTrunks[{index}].name");
        if let Some(trunk) = dialled_trunk(item, reference, &field, world, report) {
            usable.push(trunk);
        }
    }
    if let Some(number) = &item.spec.default_caller_id {
        caller_id(item, number, "spec.defaultCallerId", &usable, world, report);
    }
    if let Some(recorder) = &item.spec.recorder {
        dialled_trunk(item, &recorder.trunk_ref, "spec.recorder.trunkRef.name", world, report);
    }
    usable
}

/// A trunk that calls can leave by, for this namespace.
pub(crate) fn dialled_trunk<T>(
    item: &Item<T>,
    reference: &v1::ObjectRef,
    field: &str,
    world: &World,
    report: &mut Report,
) -> Option<Key> {
    let key = item.target(reference);
    if world.is_unusable("Trunk", &key) {
        report.unresolved();
        return None;
    }
    let Some(trunk) = world.trunks.get(&key) else {
        let hint = near_key(&key, world.trunks.keys());
        item.error(report, field, Reason::TrunkNotFound, format!("There is no Trunk {key}{hint}"));
        return None;
    };
    if !trunk.admits(item.namespace()) {
        let message = format!(
            "Trunk {key} must grant some numbers to `{}` before its tenant may dial by it.",
            item.namespace()
        );
        item.error(report, field, Reason::NotPermitted, message);
        return None;
    }
    if !trunk.is_outbound() {
        let message =
            format!("Trunk {key} has `direction: Inbound`, so no call can leave by it; name another trunk.");
        item.error(report, field, Reason::WrongDirection, message);
        return None;
    }
    Some(key)
}

/// A number that callees see: one of the trunks must grant it.
pub(crate) fn caller_id<T>(
    item: &Item<T>,
    number: &str,
    field: &str,
    trunks: &[Key],
    world: &World,
    report: &mut Report,
) {
    let Ok(wanted) = number.parse() else {
        return;
    };
    let granted = trunks
        .iter()
        .filter_map(|key| world.trunks.get(key))
        .any(|trunk| trunk.grants(item.namespace(), wanted, wanted));
    if !granted {
        let message = format!(
            "{number} may not be shown to callees: no outbound trunk of the Tenant grants it to `{}`.",
            item.namespace()
        );
        item.error(report, field, Reason::CallerIdNotGranted, message);
    }
}
