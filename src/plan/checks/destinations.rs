//! Where a tenant's objects may send the platform: not into its own networks. Names are looked at here; what they
//! resolve to is guarded again when they are used.

use std::net::IpAddr;

use api::v1alpha1 as v1;
use ipnet::IpNet;

use super::Fields;
use crate::{
    platform::host_and_port,
    problem::Reason,
    resources::{Object, Report, Spec},
    words,
    world::World,
};

/// Fields that name a host to be reached.
const FIELDS: &[&str] = &["url", "issuer", "imapServer", "smtpServer"];

/// Ends of names that mean a machine near by.
const NEAR: &[&str] = &["localhost", "local", "internal", "svc", "lan", "arpa"];

pub(super) fn check(object: &Object, fields: &Fields, world: &World, report: &mut Report) {
    // A Carrier is the platform's own.
    if object.id.kind == "Carrier" {
        return;
    }
    let allowed = allowed(object, world);
    for (path, text) in fields.texts().filter(|(path, _)| FIELDS.contains(&words::last(path))) {
        refuse(object, path, host(text), &allowed, report);
    }
    if let Some(Spec::PointOfPresence(pop)) = &object.spec {
        return gateways(object, pop, &allowed, world, report);
    }
    let Some(Spec::Trunk(trunk)) = &object.spec else {
        return;
    };
    if let (true, Some(register)) = (over_internet(object, trunk), &trunk.register)
        && let Some((host, _)) = host_and_port(&register.registrar)
    {
        refuse(object, "spec.register.registrar", &host, &allowed, report);
    }
    if let (true, Some(proxy)) = (over_internet(object, trunk), &trunk.outbound_proxy)
        && let Some((host, _)) = host_and_port(proxy)
    {
        refuse(object, "spec.outboundProxy", &host, &allowed, report);
    }
    for (index, peer) in trunk.peers.iter().enumerate() {
        if let (true, Some((host, _))) = (over_internet(object, trunk), host_and_port(&peer.address)) {
            refuse(object, &format!("spec.peers[{index}].address"), &host, &allowed, report);
        }
    }
}

/// A tenant's own point of presence; the platform's may be anywhere.
fn gateways(
    object: &Object,
    pop: &v1::PointOfPresenceSpec,
    allowed: &[IpNet],
    world: &World,
    report: &mut Report,
) {
    let namespace = object.id.key.namespace();
    if world.clusters.keys().any(|cluster| cluster.namespace() == namespace) {
        return;
    }
    for (index, gateway) in pop.gateways.iter().enumerate() {
        if let Some((host, _)) = host_and_port(&gateway.address) {
            refuse(object, &format!("spec.gateways[{index}].address"), &host, allowed, report);
        }
    }
}

/// A tenant's own trunk that is not said to be a private circuit.
fn over_internet(object: &Object, trunk: &v1::TrunkSpec) -> bool {
    let cluster = trunk.cluster_ref.namespace.as_deref().unwrap_or_else(|| object.id.key.namespace());
    cluster != object.id.key.namespace() && trunk.connection != v1::Connection::Dedicated
}

/// What the tenant's cluster lists as reachable all the same.
fn allowed(object: &Object, world: &World) -> Vec<IpNet> {
    let served = world.served.get(object.id.key.namespace());
    let cluster = served.and_then(|key| world.clusters.get(key));
    let ranges = cluster.map(|cluster| cluster.spec.reachable_ranges.as_slice()).unwrap_or_default();
    ranges.iter().filter_map(|range| range.parse().ok()).collect()
}

fn refuse(object: &Object, path: &str, host: &str, allowed: &[IpNet], report: &mut Report) {
    if !is_near(host)
        || host.parse::<IpAddr>().is_ok_and(|ip| allowed.iter().any(|range| range.contains(&ip)))
    {
        return;
    }
    let message = format!(
        "`{}` is inside the platform's networks; name a public host, or have its range listed in the VoiceCluster's `reachableRanges`.",
        words::clip(host)
    );
    report.error(&object.id, Some(&object.source), path, Reason::ForbiddenDestination, message);
}

/// The host of a URL, or the text itself.
fn host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether a host is this machine, a neighbour, or of a private network.
fn is_near(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared(ip.octets())
        }
        Ok(IpAddr::V6(ip)) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|ip| is_near(&ip.to_string()));
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
                || mapped
        }
        Err(_) => {
            let name = host.trim_end_matches('.').to_lowercase();
            let end = name.rsplit('.').next().unwrap_or_default();
            !name.contains('.') || NEAR.contains(&end)
        }
    }
}

/// The address space of carriers' own networks (RFC 6598).
const fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_platform_are_told_from_public_ones() {
        for (text, wanted) in [
            ("https://crm.example.com/api", false),
            ("https://198.51.100.7:8443/", false),
            ("https://[2001:db8::7]/", false),
            ("https://localhost/", true),
            ("https://kubernetes.default.svc/api", true),
            ("https://crm.acme.svc.cluster.local.", true),
            ("https://redis:6379", true),
            ("https://127.0.0.1/", true),
            ("https://10.1.2.3/", true),
            ("https://169.254.169.254/latest/meta-data", true),
            ("https://100.64.0.1/", true),
            ("https://[::1]/", true),
            ("https://[fd00::1]:8443/x", true),
            ("https://[::ffff:10.0.0.1]/", true),
            ("https://user@10.1.2.3/", true),
        ] {
            assert_eq!(is_near(host(text)), wanted, "{text}");
        }
    }
}
