//! Clusters, trunks, carriers and numbers: what cannot work together.

use std::collections::BTreeSet;

use api::v1alpha1 as v1;
use model::{
    Key,
    numbering::{COUNTRIES, Country},
};

use super::{named, refers};
use crate::{
    problem::Reason,
    resources::Report,
    words,
    world::{Item, World},
};

/// Country codes and prefixes of toll-free numbers that are moved by their responsible organisation (North America).
const TOLL_FREE: &[&str] = &["+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888"];

/// A cluster's listeners: those under TLS need a certificate.
pub(crate) fn cluster(item: &Item<v1::VoiceClusterSpec>, report: &mut Report) {
    use v1::ListenerTransport::{Tcp, Tls, Udp, Ws, Wss};
    let listeners = &item.spec.listeners;
    let secured = listeners.iter().position(|listener| match listener.transport {
        Tls | Wss => true,
        Udp | Tcp | Ws => false,
    });
    if let (Some(index), None) = (secured, &item.spec.tls.certificate_ref) {
        let message =
            "A listener under TLS must have a certificate to show; name its Secret in `tls.certificateRef`.";
        item.error(
            report,
            &format!("spec.listeners[{index}].transport"),
            Reason::CertificateMissing,
            message,
        );
    }
}

/// A trunk in itself and with its cluster.
pub(crate) fn trunk(
    item: &Item<v1::TrunkSpec>,
    cluster: Option<&Item<v1::VoiceClusterSpec>>,
    world: &World,
    report: &mut Report,
) {
    if let Some(carrier) = &item.spec.carrier_ref {
        let kind = ("Carrier", Reason::CarrierNotFound);
        named(item, world, report, "spec.carrierRef.name", kind, &carrier.name);
    }
    for (index, pop) in item.spec.pop_refs.iter().enumerate() {
        let field = format!("spec.popRefs[{index}].name");
        named(item, world, report, &field, ("PointOfPresence", Reason::PointOfPresenceNotFound), &pop.name);
    }
    codecs(item, report);
    numbers(item, report);
    if let Some(cluster) = cluster {
        media(item, cluster, report);
        keys(item, cluster, report);
        suites(item, cluster, report);
        if cluster.spec.networks.iter().any(|network| network.name == item.spec.network) {
            listeners(item, cluster, report);
        }
    }
}

/// A country whose prefixes are not known cannot be told from its digits.
fn numbers(item: &Item<v1::TrunkSpec>, report: &mut Report) {
    let Some(formats) = &item.spec.number_formats else { return };
    let plain = |format: v1::NumberFormat| {
        matches!(format, v1::NumberFormat::E164 | v1::NumberFormat::E164WithoutPlus)
    };
    let Some(country) =
        formats.country.as_deref().filter(|_| !plain(formats.inbound) || !plain(formats.outbound))
    else {
        return;
    };
    if Country::of(country).is_none() {
        let known: Vec<&str> = COUNTRIES.iter().map(|country| country.iso).collect();
        let message = format!(
            "How numbers are dialled in {} is not known, only in {}; let the trunk write them in E.164.",
            words::clip(country),
            words::all_of(&known)
        );
        item.error(report, "spec.numberFormats.country", Reason::UnknownCountry, message);
    }
}

/// G.729 cannot be decoded, so it cannot be all that a trunk has.
fn codecs(item: &Item<v1::TrunkSpec>, report: &mut Report) {
    let passed_on = item.spec.codecs.iter().position(|codec| *codec == v1::Codec::G729);
    if item.spec.codecs.iter().all(|codec| *codec == v1::Codec::G729) {
        let message =
            "None of these codecs can be decoded, so no caller could hear a prompt; add PCMU or PCMA.";
        item.error(report, "spec.codecs", Reason::NoUsableCodec, message);
    } else if let Some(index) = passed_on {
        let message = "G729 is only passed on: a call that offers nothing else is taken where its flow begins with a `dial` or `transfer` to numbers or extensions and has no `record`, and gets 488 elsewhere.";
        item.warning(report, &format!("spec.codecs[{index}]"), Reason::NoUsableCodec, message);
    }
}

/// Keys are sent where nobody on the way reads them.
fn keys(item: &Item<v1::TrunkSpec>, cluster: &Item<v1::VoiceClusterSpec>, report: &mut Report) {
    let spec = &item.spec;
    let outcome = match (spec.srtp, spec.insecure_keys) {
        (v1::Srtp::Disabled, _) | (_, v1::InsecureKeys::Accepted) => return,
        // Fingerprints are no secret.
        _ if spec.srtp_keying != v1::SrtpKeying::Sdes => return,
        (v1::Srtp::Preferred, v1::InsecureKeys::Refused) => "no audio is protected",
        (v1::Srtp::Required, v1::InsecureKeys::Refused) => "no call is taken or made",
    };
    let is_tls = |listener: &v1::Listener| {
        listener.network == spec.network
            && listener.serves == v1::Serves::Trunks
            && listener.transport == v1::ListenerTransport::Tls
    };
    if !cluster.spec.listeners.iter().any(is_tls) {
        let message = format!(
            "Keys of SRTP are sent under TLS alone, and VoiceCluster {} has no listener of TLS for trunks on network `{}`, so {outcome}; add one, or say `insecureKeys: Accepted` on a private network.",
            cluster.id.key, spec.network
        );
        item.warning(report, "spec.srtp", Reason::NoListener, message);
    }
}

/// Behind a Service a pod cannot open a flow from the mapped port: the peer must send first.
fn media(item: &Item<v1::TrunkSpec>, cluster: &Item<v1::VoiceClusterSpec>, report: &mut Report) {
    let service = match cluster.spec.exposure {
        Some(v1::Exposure::LoadBalancer | v1::Exposure::NodePort) => true,
        Some(v1::Exposure::HostNetwork) | None => false,
    };
    if service && item.spec.media_first == v1::MediaFirst::Either {
        let message = format!(
            "VoiceCluster {} is reached through Services, so its pods cannot send audio first; if the peer does, say `mediaFirst: Peer`, else calls stay silent.",
            cluster.id.key
        );
        item.warning(report, "spec.mediaFirst", Reason::MediaCannotFlow, message);
    }
    if service && item.spec.port_use == Some(v1::PortUse::PerCall) {
        let message = format!(
            "VoiceCluster {} is reached through Services, which carry a few ports and not a pair for each leg; say `portUse: Shared`, or leave it out.",
            cluster.id.key
        );
        item.warning(report, "spec.portUse", Reason::MediaCannotFlow, message);
    }
}

/// Calls leave by a listener of their transport and network, whose address is in them; what comes with a certificate
/// comes under TLS.
fn listeners(item: &Item<v1::TrunkSpec>, cluster: &Item<v1::VoiceClusterSpec>, report: &mut Report) {
    use v1::{
        ListenerTransport as Listened,
        Transport::{Auto, Tcp, Tls, Udp},
    };
    let spec = &item.spec;
    let has = |transport| {
        cluster.spec.listeners.iter().any(|listener| {
            listener.network == spec.network
                && listener.serves == v1::Serves::Trunks
                && listener.transport == transport
        })
    };
    let (key, network) = (&cluster.id.key, &spec.network);
    for (index, peer) in spec.peers.iter().enumerate() {
        let (transport, word) = match peer.transport {
            Udp | Auto => (Listened::Udp, "UDP"),
            Tcp => (Listened::Tcp, "TCP"),
            Tls => (Listened::Tls, "TLS"),
        };
        if spec.direction != v1::TrunkDirection::Inbound && !has(transport) {
            let message = format!(
                "VoiceCluster {key} has no listener of {word} for trunks on network `{network}`, so no call leaves to this peer; add one."
            );
            item.warning(report, &format!("spec.peers[{index}].transport"), Reason::NoListener, message);
        }
        if spec.direction != v1::TrunkDirection::Inbound && peer.transport == Auto && !has(Listened::Tcp) {
            let message = format!(
                "VoiceCluster {key} has no listener of TCP for trunks on network `{network}`, so requests above 1,300 bytes go to this peer as datagrams too; add one, or say `transport: UDP`."
            );
            item.warning(report, &format!("spec.peers[{index}].transport"), Reason::NoListener, message);
        }
    }
    let required = |tls: &v1::TrunkTls| tls.client_certificate == v1::ClientCertificate::Required;
    if spec.direction != v1::TrunkDirection::Outbound
        && spec.tls.as_ref().is_some_and(required)
        && !has(Listened::Tls)
        && !has(Listened::Wss)
    {
        let message = format!(
            "VoiceCluster {key} has no listener under TLS for trunks on network `{network}`, so no peer can show its certificate and no call comes in; add one."
        );
        item.warning(report, "spec.tls.clientCertificate", Reason::NoListener, message);
    }
}

/// With TLS 1.2, the trunk and its cluster must have a suite in common.
fn suites(item: &Item<v1::TrunkSpec>, cluster: &Item<v1::VoiceClusterSpec>, report: &mut Report) {
    let (Some(tls), policy) = (&item.spec.tls, &cluster.spec.tls) else {
        return;
    };
    let known: BTreeSet<_> = policy.inbound_suites.iter().chain(&policy.outbound_suites).collect();
    let newer = [tls.minimum_version, policy.minimum_version].contains(&v1::TlsVersion::Tls13);
    if newer || tls.suites.is_empty() || tls.suites.iter().any(|suite| known.contains(suite)) {
        return;
    }
    let message = format!(
        "VoiceCluster {} admits none of these suites; name one of its `tls` policy, or say `minimumVersion: TLSv1.3`.",
        cluster.id.key
    );
    item.error(report, "spec.tls.suites", Reason::NoCommonSuite, message);
}

/// A number's paperwork: it stays live in spite of it, since its callers have no part in it.
pub(crate) fn number(item: &Item<v1::PhoneNumberSpec>, world: &World, report: &mut Report) {
    let trunk = world.trunks.get(&item.target(&item.spec.trunk_ref));
    let carrier = trunk.and_then(|trunk| {
        let reference = trunk.item.spec.carrier_ref.as_ref()?;
        world.directory.carriers.get(&Key::new(trunk.item.namespace(), &reference.name))
    });
    toll_free(item, report);
    resp_org(item, carrier, world, report);
    served(item, carrier, report);
    for (index, channel) in item.spec.channels.iter().enumerate() {
        let field = format!("spec.channels[{index}].flowRef.name");
        named(item, world, report, &field, ("RoutingFlow", Reason::FlowNotFound), &channel.flow_ref.name);
    }
}

fn first(spec: &v1::PhoneNumberSpec) -> &str {
    let range = spec.range.as_ref().map(|range| range.first.as_str());
    spec.number.as_deref().or(range).unwrap_or_default()
}

/// Toll-free numbers change their responsible organisation; they are not ported as those of a place are.
fn toll_free(item: &Item<v1::PhoneNumberSpec>, report: &mut Report) {
    let spec = &item.spec;
    if !TOLL_FREE.iter().any(|prefix| first(spec).starts_with(prefix)) {
        return;
    }
    if spec.kind != v1::NumberKind::TollFree {
        let message = format!("{} is toll-free: `kind` must be TollFree, not {:?}.", first(spec), spec.kind);
        item.tolerated(report, "spec.kind", Reason::TollFreeAsLocal, message);
    } else if spec.origin == v1::NumberOrigin::Ported {
        let message = format!(
            "{} is toll-free, so it cannot be ported as a local number is: change its responsible organisation and say `origin: RespOrg`.",
            first(spec)
        );
        item.tolerated(report, "spec.origin", Reason::TollFreeAsLocal, message);
    }
}

/// Where we are the responsible organisation, further numbers come through us alone.
fn resp_org(
    item: &Item<v1::PhoneNumberSpec>,
    carrier: Option<&Item<v1::CarrierSpec>>,
    world: &World,
    report: &mut Report,
) {
    let Some(resp_org) = &item.spec.resp_org else {
        return;
    };
    if let Some(order) = &resp_org.order_ref {
        let kind = ("NumberOrder", Reason::OrderNotFound);
        named(item, world, report, "spec.respOrg.orderRef.name", kind, &order.name);
    }
    let Some(ours) = carrier.and_then(|carrier| carrier.spec.resp_org_id.as_ref()) else {
        return;
    };
    if *ours != resp_org.id {
        let message = format!(
            "The responsible organisation must be {ours}, as of the trunk's Carrier, not {}: numbers bought elsewhere are not served; order them by a NumberOrder.",
            resp_org.id
        );
        item.tolerated(report, "spec.respOrg.id", Reason::BoughtElsewhere, message);
    }
}

/// The carrier says what it delivers; country codes are not told apart here, kinds are.
fn served(item: &Item<v1::PhoneNumberSpec>, carrier: Option<&Item<v1::CarrierSpec>>, report: &mut Report) {
    let Some(carrier) = carrier.filter(|carrier| !carrier.spec.serves.is_empty()) else {
        return;
    };
    if carrier.spec.serves.iter().any(|served| served.kinds.contains(&item.spec.kind)) {
        return;
    }
    let message = format!(
        "{} delivers no {:?} numbers of any country; name a trunk of one that does.",
        carrier.id, item.spec.kind
    );
    item.warning(report, "spec.trunkRef.name", Reason::NumberNotServed, message);
}

/// A carrier and its places.
pub(super) fn carrier(item: &Item<v1::CarrierSpec>, world: &World, report: &mut Report) {
    for (index, pop) in item.spec.pop_refs.iter().enumerate() {
        let field = format!("spec.popRefs[{index}].name");
        named(item, world, report, &field, ("PointOfPresence", Reason::PointOfPresenceNotFound), &pop.name);
    }
}

/// A wish for numbers: the carrier must be there, take it, and have such numbers.
pub(super) fn order(item: &Item<v1::NumberOrderSpec>, world: &World, report: &mut Report) {
    let spec = &item.spec;
    let key = item.target(&spec.carrier_ref);
    if let Some(flow) = &spec.flow_ref {
        named(item, world, report, "spec.flowRef.name", ("RoutingFlow", Reason::FlowNotFound), &flow.name);
    }
    if let Some(trunk) = &spec.trunk_ref {
        let kind = ("Trunk", Reason::TrunkNotFound);
        refers(item, world, report, "spec.trunkRef.name", kind, item.target(trunk));
    }
    let kind = ("Carrier", Reason::CarrierNotFound);
    let known = refers(item, world, report, "spec.carrierRef.name", kind, key.clone());
    let Some(carrier) = world.directory.carriers.get(&key).filter(|_| known) else {
        return;
    };
    let namespace = item.namespace();
    if key.namespace() != namespace && !carrier.spec.allowed_namespaces.iter().any(|name| name == namespace) {
        let message = format!(
            "Carrier {key} must list `{namespace}` in `allowedNamespaces` before it takes orders of this namespace."
        );
        item.error(report, "spec.carrierRef", Reason::NotPermitted, message);
    }
    let serves = &carrier.spec.serves;
    let has = serves.iter().any(|served| served.country == spec.country && served.kinds.contains(&spec.kind));
    if !serves.is_empty() && !has {
        let countries: Vec<&str> = serves.iter().map(|served| served.country.as_str()).collect();
        let message = format!(
            "Carrier {key} has no {:?} numbers of {}; it serves {}.",
            spec.kind,
            spec.country,
            words::all_of(&countries)
        );
        item.warning(report, "spec.kind", Reason::NumberNotServed, message);
    }
}
