//! The world as its pods are told: one snapshot for each cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::{
    AudioId, ClusterId, E164, FlowId, HoursId, Key, NumberId, TrunkId,
    centre::Centre,
    kept::{RECORD_DAYS, RECORDING_DAYS},
    media::Codec,
    net::Transport,
    section::{BucketEntry, Section},
    snapshot::{
        Audio, Bucket, BusinessHours, Cluster, Database, Delivers, Grant, Keeping, Limits, Listener, May,
        Network, NumberRange, OpenIdProvider, Packets, Peer, Recorder, SCHEMA, SealingKey, Serves, Service,
        Snapshot, Speech, TenantLimits, Trunk, TrunkDirection,
    },
    trunk::{DtmfMethod, SrtpKeying, SrtpUse},
};

use crate::{
    PlannedCluster, centre, content, dialling,
    numbers::{LiveNumber, Numbers},
    platform::host_and_perhaps_port,
    reach, signalling,
    world::{CompiledFlow, Item, PlannedTrunk, ResolvedPrompt, World},
};

/// Every cluster with its trunks, the numbers live on them, and all that these lead to.
pub(crate) fn clusters(world: &World, numbers: &Numbers) -> BTreeMap<ClusterId, PlannedCluster> {
    let clusters = world.clusters.values().filter(|item| !item.draft);
    let mut ranges: BTreeMap<ClusterId, BTreeMap<TrunkId, Vec<NumberRange>>> = BTreeMap::new();
    for (key, number) in &numbers.live {
        let cluster = ClusterId(number.cluster.clone());
        let trunk = TrunkId(number.trunk.clone());
        let range = range(NumberId(key.clone()), number);
        ranges.entry(cluster).or_default().entry(trunk).or_default().push(range);
    }
    let mut planned = BTreeMap::new();
    for item in clusters {
        let id = ClusterId(item.id.key.clone());
        let mut numbers_of = ranges.remove(&id).unwrap_or_default();
        numbers_of.values_mut().for_each(|ranges| ranges.sort_by_key(|range| range.first));
        planned.insert(id, cluster(item, world, numbers, numbers_of));
    }
    planned
}

fn cluster(
    item: &Item<v1::VoiceClusterSpec>,
    world: &World,
    numbers: &Numbers,
    ranges: BTreeMap<TrunkId, Vec<NumberRange>>,
) -> PlannedCluster {
    let planned = Closure::of(item, world, numbers);
    let snapshot = Snapshot {
        schema: SCHEMA,
        cluster: settings(item, world),
        trunks: members(item, world)
            .map(|(key, member)| (TrunkId(key.clone()), trunk(member, world)))
            .collect(),
        numbers: ranges,
        flows: planned.flows,
        hours: planned.hours,
        audio: planned.audio,
        centre: planned.centre,
    };
    PlannedCluster { snapshot: Arc::new(snapshot), blobs: planned.blobs, secrets: reach::needs(item, world) }
}

/// A cluster without its numbers.
pub(crate) fn base(item: &Item<v1::VoiceClusterSpec>, world: &World, numbers: &Numbers) -> PlannedCluster {
    cluster(item, world, numbers, BTreeMap::new())
}

/// The section of a bucket's live numbers.
pub(crate) fn bucket<'a>(numbers: impl Iterator<Item = (NumberId, &'a LiveNumber)>) -> Section {
    let entry = |(id, number): (NumberId, &LiveNumber)| BucketEntry {
        trunk: TrunkId(number.trunk.clone()),
        range: range(id, number),
    };
    let mut entries: Vec<BucketEntry> = numbers.map(entry).collect();
    entries.sort_by(|a, b| a.order().cmp(&b.order()));
    Section::of(&entries).unwrap_or_else(|_| Section::from_bytes(Vec::new()))
}

fn range(id: NumberId, number: &LiveNumber) -> NumberRange {
    NumberRange {
        first: number.first,
        last: number.last,
        id,
        flow: FlowId(number.flow.clone()),
        calls_max: number.spec.limits.as_ref().map(|limits| figure(limits.calls)),
        forwarded_from: number.spec.forwarding.as_ref().and_then(|forwarding| forwarding.number.parse().ok()),
        calls_per_second_max: number
            .spec
            .limits
            .as_ref()
            .and_then(|limits| limits.calls_per_second)
            .map(figure),
    }
}

/// The trunks of a cluster.
fn members<'w>(
    item: &Item<v1::VoiceClusterSpec>,
    world: &'w World,
) -> impl Iterator<Item = (&'w Key, &'w PlannedTrunk)> {
    let cluster = item.id.key.clone();
    world.trunks.iter().filter(move |(_, trunk)| trunk.live && trunk.cluster == cluster)
}

/// What flows lead to.
#[derive(Default)]
struct Closure {
    flows: BTreeMap<FlowId, Arc<model::program::Program>>,
    hours: BTreeMap<HoursId, Arc<BusinessHours>>,
    audio: BTreeMap<AudioId, Audio>,
    blobs: BTreeMap<AudioId, Arc<[u8]>>,
    centre: Centre,
}

impl Closure {
    /// Of the flows that live numbers of the cluster's trunks lead to, and of its tenants' queues and the like.
    fn of(item: &Item<v1::VoiceClusterSpec>, world: &World, numbers: &Numbers) -> Self {
        let flows = members(item, world).filter_map(|(trunk, _)| numbers.uses.get(trunk));
        let flows: BTreeSet<&Key> = flows.flat_map(BTreeMap::keys).collect();
        let serves = |key: &Key| world.served.get(key.namespace()) == Some(&item.id.key);
        let mut closure = Self { centre: world.centre.centre(&serves), ..Self::default() };
        closure.centre.dialling = dialling::of(world, &closure.centre, &serves);
        for key in flows {
            closure.called(key, world, &numbers.orphans);
        }
        for needs in world.centre.needs(&serves) {
            for key in needs.flows.keys() {
                closure.called(key, world, &needs.flows);
            }
            closure.heard(&needs.prompts);
            closure.asked(&needs.hours, world);
        }
        closure
    }

    /// A flow with all that it calls; `kept` are those whose objects are gone.
    fn called(&mut self, key: &Key, world: &World, kept: &BTreeMap<Key, Arc<CompiledFlow>>) {
        let Some(flow) = world.flows.get(key).or_else(|| kept.get(key)) else {
            return;
        };
        if self.flows.insert(FlowId(key.clone()), Arc::clone(&flow.program)).is_some() {
            return;
        }
        flow.program.calls().into_iter().for_each(|callee| self.called(&callee.0, world, kept));
        self.asked(&flow.hours, world);
        self.heard(&flow.prompts);
    }

    /// Hours are read live; those that are kept are for when their object is gone.
    fn asked(&mut self, hours: &BTreeMap<HoursId, Arc<BusinessHours>>, world: &World) {
        for (id, kept) in hours {
            let hours = world.hours.get(&id.0).unwrap_or(kept);
            self.hours.insert(id.clone(), Arc::clone(hours));
        }
    }

    fn heard(&mut self, prompts: &BTreeMap<AudioId, ResolvedPrompt>) {
        for (id, prompt) in prompts {
            let first = self.audio.get(id).is_none_or(|known| prompt.audio.prompt < known.prompt);
            if first {
                self.audio.insert(*id, prompt.audio.clone());
            }
            if let Some(blob) = &prompt.blob {
                self.blobs.insert(*id, Arc::clone(blob));
            }
            self.heard(&prompt.in_other_languages());
        }
    }
}

/// Services that speak to the contacts of the tenants that the cluster serves, and understand them.
fn speech(item: &Item<v1::VoiceClusterSpec>, world: &World) -> BTreeMap<String, Speech> {
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    served.filter_map(|tenant| Some((tenant.namespace().to_owned(), content::speech(tenant)?))).collect()
}

/// Who says who agents of the tenants are that the cluster serves.
fn providers(item: &Item<v1::VoiceClusterSpec>, world: &World) -> BTreeMap<String, OpenIdProvider> {
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    let provider = |tenant: &Item<v1::TenantSpec>| {
        let spec = tenant.spec.sign_in.as_ref()?.open_id_connect.as_ref()?;
        let mut scopes: Vec<String> =
            spec.scopes.iter().filter(|scope| *scope != "openid").cloned().collect();
        scopes.sort_unstable();
        let provider = OpenIdProvider {
            issuer: spec.issuer.clone(),
            client_id: spec.client_id.clone(),
            secret: spec.secret_ref.as_ref().map(centre::secret),
            ca: spec.ca_secret_ref.as_ref().map(centre::secret),
            subject_claim: spec.subject_claim.clone(),
            scopes,
            redirect_uri: spec.redirect_uri.clone(),
        };
        Some((tenant.namespace().to_owned(), provider))
    };
    served.filter_map(provider).collect()
}

/// Services that may do something for the tenants that the cluster serves.
fn services(item: &Item<v1::VoiceClusterSpec>, world: &World) -> BTreeMap<String, Vec<Service>> {
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    let may = |may: &v1::ServiceMay| match may {
        v1::ServiceMay::Previews => May::Previews,
    };
    let service = |service: &v1::TenantService| Service {
        name: service.name.clone(),
        secret: centre::secret(&service.secret_ref),
        may: service.may.iter().map(may).collect(),
    };
    let with_some = served.filter(|tenant| !tenant.spec.services.is_empty());
    let all = |tenant: &Item<v1::TenantSpec>| tenant.spec.services.iter().map(service).collect();
    with_some.map(|tenant| (tenant.namespace().to_owned(), all(tenant))).collect()
}

/// Bounds of the tenants that the cluster serves.
fn tenants(item: &Item<v1::VoiceClusterSpec>, world: &World) -> BTreeMap<String, TenantLimits> {
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    let limits = |tenant: &Item<v1::TenantSpec>| {
        let limits = tenant.spec.limits.as_ref()?;
        let limits = TenantLimits {
            calls_max: limits.calls.map(figure),
            calls_per_second_max: limits.calls_per_second.map(figure),
        };
        Some((tenant.namespace().to_owned(), limits))
    };
    served.filter_map(limits).collect()
}

/// Recorders of the tenants that the cluster serves.
fn recorders(item: &Item<v1::VoiceClusterSpec>, world: &World) -> BTreeMap<String, Recorder> {
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    let recorder = |tenant: &Item<v1::TenantSpec>| {
        let recorder = tenant.spec.recorder.as_ref()?;
        let recorder = Recorder {
            trunk: TrunkId(tenant.target(&recorder.trunk_ref)),
            user: recorder.user.clone(),
            all: recorder.calls == v1::RecordedCalls::All,
            required: recorder.on_failure == v1::RecorderFailure::Refuse,
        };
        Some((tenant.namespace().to_owned(), recorder))
    };
    served.filter_map(recorder).collect()
}

/// Countries of the tenants that the cluster serves, but those whose callers hear North America's tones anyway.
fn countries(item: &Item<v1::VoiceClusterSpec>, world: &World) -> BTreeMap<String, String> {
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    let elsewhere = served.filter(|tenant| tenant.spec.country != "US");
    elsewhere.map(|tenant| (tenant.namespace().to_owned(), tenant.spec.country.clone())).collect()
}

fn settings(item: &Item<v1::VoiceClusterSpec>, world: &World) -> Cluster {
    let spec = &item.spec;
    Cluster {
        id: ClusterId(item.id.key.clone()),
        code: spec.code.clone(),
        listeners: spec.listeners.iter().filter_map(|listener| self::listener(spec, listener)).collect(),
        networks: spec.networks.iter().filter_map(network).collect(),
        rtp_ports: (port(spec.media.ports.first), port(spec.media.ports.last)),
        packets: match spec.media.packets {
            v1::Packets::Sockets => Packets::Sockets,
            v1::Packets::Xdp => Packets::Xdp,
        },
        span_network: spec.media.span_network.clone(),
        limits: Limits {
            calls_max: figure(spec.limits.calls),
            call_seconds_max: figure(spec.limits.call_seconds),
        },
        drain_seconds: figure(spec.drain_seconds),
        tls: signalling::policy(item),
        domains: spec.domains.clone(),
        digest_algorithms: signalling::digest_algorithms(item),
        capture: signalling::capture(item),
        reachable_ranges: spec.reachable_ranges.iter().filter_map(|range| range.parse().ok()).collect(),
        tracing: signalling::tracing(item),
        tenants: tenants(item, world),
        recorders: recorders(item, world),
        countries: countries(item, world),
        speech: speech(item, world),
        providers: providers(item, world),
        services: services(item, world),
        keeping: keeping(item, world),
    }
}

/// Where recordings and records are kept, and for how long.
fn keeping(item: &Item<v1::VoiceClusterSpec>, world: &World) -> Keeping {
    let secret =
        |reference: &v1::SecretKeyRef| (Key::new(item.namespace(), &reference.name), reference.key.clone());
    let blobs = item.spec.stores.as_ref().and_then(|stores| stores.blobs.as_ref());
    let bucket = |bucket: &v1::S3Bucket| Bucket {
        endpoint: bucket.endpoint.clone(),
        region: bucket.region.clone(),
        bucket: bucket.bucket.clone(),
        prefix: bucket.prefix.clone().unwrap_or_default(),
        access_key_id: secret(&bucket.access_key_id_secret_ref),
        secret_access_key: secret(&bucket.secret_access_key_secret_ref),
        ca: bucket.ca_secret_ref.as_ref().map(secret),
        waiting_max: u64::from(figure(bucket.waiting_megabytes)) * 1_000_000,
    };
    let key = |key: &v1::SealingKey| SealingKey { id: key.id.clone(), secret: secret(&key.secret_ref) };
    let served = world
        .tenants
        .values()
        .filter(|tenant| !tenant.draft && world.served.get(tenant.namespace()) == Some(&item.id.key));
    let database = |store: &v1::RecordStore| Database {
        host: store.host.clone(),
        port: port(store.port),
        database: store.database.clone(),
        user: store.user.clone(),
        password: secret(&store.password_secret_ref),
        tls: store.tls == v1::DatabaseTls::Required,
        ca: store.ca_secret_ref.as_ref().map(secret),
        waiting_max: u64::from(figure(store.waiting_megabytes)) * 1_000_000,
    };
    let (mut recording_days, mut record_days) = (BTreeMap::new(), BTreeMap::new());
    for (tenant, retention) in served.filter_map(|tenant| Some((tenant, tenant.spec.retention.as_ref()?))) {
        for (days, usual, all) in [
            (retention.recording_days, RECORDING_DAYS, &mut recording_days),
            (retention.record_days, RECORD_DAYS, &mut record_days),
        ] {
            if figure(days) != usual {
                all.insert(tenant.namespace().to_owned(), figure(days));
            }
        }
    }
    Keeping {
        s3: blobs.and_then(|blobs| blobs.s3.as_ref()).map(bucket),
        sealing_keys: blobs.iter().flat_map(|blobs| &blobs.sealing_keys).map(key).collect(),
        records: item.spec.stores.as_ref().and_then(|stores| stores.records.as_ref()).map(database),
        record_days,
        recording_days,
    }
}

pub(crate) fn listener(cluster: &v1::VoiceClusterSpec, listener: &v1::Listener) -> Option<Listener> {
    let network = cluster.networks.iter().find(|network| network.name == listener.network)?;
    // On the interface that the pod has instead, anybody could say that he is of that network.
    if network.attachment.is_some() {
        return None;
    }
    let bind: IpAddr = network.bind_address.parse().ok()?;
    let host = network.sip_advertised_address.as_ref().unwrap_or(&network.bind_address);
    let port = port(listener.port);
    // An IPv6 address stands in brackets before a port (RFC 3986 §3.2.2).
    let brackets = host.contains(':') && !host.starts_with('[');
    Some(Listener {
        name: listener.name.clone(),
        transport: match listener.transport {
            v1::ListenerTransport::Udp => Transport::Udp,
            v1::ListenerTransport::Tcp => Transport::Tcp,
            v1::ListenerTransport::Tls => Transport::Tls,
            v1::ListenerTransport::Ws => Transport::Ws,
            v1::ListenerTransport::Wss => Transport::Wss,
        },
        bind: (bind, port).into(),
        advertised: if brackets { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
        network: listener.network.clone(),
        serves: match listener.serves {
            v1::Serves::Trunks => Serves::Trunks,
            v1::Serves::Agents => Serves::Agents,
        },
    })
}

fn network(network: &v1::Network) -> Option<Network> {
    let bind = network.bind_address.parse().ok()?;
    let advertised = network.rtp_advertised_address.as_ref().and_then(|address| address.parse().ok());
    Some(Network {
        name: network.name.clone(),
        rtp_bind: bind,
        rtp_advertised: advertised.unwrap_or(bind),
        interface: network.interface.clone(),
        attachment: network.attachment.clone(),
    })
}

fn trunk(planned: &PlannedTrunk, world: &World) -> Trunk {
    let spec = &planned.item.spec;
    Trunk {
        network: spec.network.clone(),
        delivers: match spec.delivers {
            v1::Delivers::Pstn => Delivers::Pstn,
            v1::Delivers::Voip => Delivers::Voip,
        },
        ucaas_partner: planned.ucaas_partner,
        direction: match spec.direction {
            v1::TrunkDirection::Inbound => TrunkDirection::Inbound,
            v1::TrunkDirection::Outbound => TrunkDirection::Outbound,
            v1::TrunkDirection::Both => TrunkDirection::Both,
        },
        sources: planned.sources.clone(),
        peers: peers(planned, world),
        codecs: spec.codecs.iter().map(|codec| self::codec(*codec)).collect(),
        calls_max: spec.limits.as_ref().map(|limits| figure(limits.calls)),
        grants: grants(&spec.grants),
        calls_per_second_max: spec.limits.as_ref().and_then(|limits| limits.calls_per_second).map(figure),
        failover_codes: signalling::failover_codes(&spec.failover_codes),
        digest: spec.digest.as_ref().map(signalling::digest),
        register: spec.register.as_ref().and_then(signalling::register),
        outbound_proxy: spec.outbound_proxy.as_deref().and_then(signalling::proxy),
        tls: signalling::tls(planned, world),
        number_formats: signalling::number_formats(spec.number_formats.as_ref()),
        caller_id_policy: signalling::caller_id_policy(spec.caller_id_policy),
        emergency: spec.emergency == v1::Emergency::Accepted,
        health: spec.health.as_ref().map(signalling::health),
        stir: spec.stir.as_ref().map(|stir| signalling::stir(stir)).unwrap_or_default(),
        srtp: match spec.srtp {
            v1::Srtp::Disabled => SrtpUse::Disabled,
            v1::Srtp::Preferred => SrtpUse::Preferred,
            v1::Srtp::Required => SrtpUse::Required,
        },
        srtp_keying: match spec.srtp_keying {
            v1::SrtpKeying::Sdes => SrtpKeying::Sdes,
            v1::SrtpKeying::Dtls => SrtpKeying::Dtls,
            v1::SrtpKeying::Both => SrtpKeying::Both,
        },
        peer_first: spec.media_first == v1::MediaFirst::Peer,
        insecure_keys: spec.insecure_keys == v1::InsecureKeys::Accepted,
        dtmf: match spec.dtmf {
            v1::DtmfMethod::Auto => DtmfMethod::Auto,
            v1::DtmfMethod::Rfc4733 => DtmfMethod::Rfc4733,
            v1::DtmfMethod::Info => DtmfMethod::Info,
            v1::DtmfMethod::InBand => DtmfMethod::InBand,
        },
        shared_ports: shares_ports(planned, world),
    }
}

/// Whether its legs share ports: as it says itself, else as its cluster says.
fn shares_ports(planned: &PlannedTrunk, world: &World) -> bool {
    let cluster = || world.clusters.get(&planned.cluster).map(|cluster| cluster.spec.media.port_use);
    planned.item.spec.port_use.or_else(cluster) == Some(v1::PortUse::Shared)
}

/// The trunk's own and the gateways of its points of presence, in the order of their priorities; those of other regions than
/// the cluster's come after all others.
fn peers(planned: &PlannedTrunk, world: &World) -> Vec<Peer> {
    let region = world.clusters.get(&planned.cluster).and_then(|cluster| cluster.spec.region.as_ref());
    let own = planned.item.spec.peers.iter().filter_map(|declared| {
        let figures = (declared.priority, declared.weight);
        let peer = peer(declared.name.clone(), &declared.address, declared.transport, figures);
        peer.map(|peer| (false, peer))
    });
    let gateways = planned.pops.iter().flat_map(|pop| {
        let is_far = region.is_some_and(|region| *region != pop.spec.region);
        pop.spec.gateways.iter().filter_map(move |gateway| {
            let name = format!("{}/{}", pop.id.key.name(), gateway.name);
            let figures = (gateway.priority, gateway.weight);
            peer(name, &gateway.address, gateway.transport, figures).map(|peer| (is_far, peer))
        })
    });
    let mut peers: Vec<(bool, Peer)> = own.chain(gateways).collect();
    if peers.iter().any(|(is_far, _)| *is_far) {
        let ranks: BTreeSet<_> = peers.iter().map(|(is_far, peer)| (*is_far, peer.priority)).collect();
        for (is_far, peer) in &mut peers {
            let rank = ranks.range(..(*is_far, peer.priority)).count();
            peer.priority = u16::try_from(rank).unwrap_or(u16::MAX);
        }
    }
    let mut peers: Vec<Peer> = peers.into_iter().map(|(_, peer)| peer).collect();
    peers.sort_by(|a, b| (a.priority, b.weight, &a.name).cmp(&(b.priority, a.weight, &b.name)));
    peers
}

fn peer(
    name: String,
    address: &str,
    transport: v1::Transport,
    (priority, weight): (i32, i32),
) -> Option<Peer> {
    let large_by_tcp = transport == v1::Transport::Auto;
    let transport = self::transport(transport);
    let (host, declared_port) = host_and_perhaps_port(address)?;
    Some(Peer {
        name,
        host,
        declared_port,
        port: declared_port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 }),
        transport,
        priority: port(priority),
        weight: port(weight),
        large_by_tcp,
    })
}

fn grants(grants: &[v1::Grant]) -> Vec<Grant> {
    let mut flat: Vec<Grant> = Vec::new();
    for grant in grants {
        let ranges = grant.ranges.iter().filter_map(|range| {
            let (first, last): (E164, E164) = (range.first.parse().ok()?, range.last.parse().ok()?);
            Some(Grant { namespace: grant.namespace.clone(), first, last })
        });
        flat.extend(ranges);
    }
    flat.sort_by(|a, b| (&a.namespace, a.first, a.last).cmp(&(&b.namespace, b.first, b.last)));
    flat
}

const fn transport(transport: v1::Transport) -> Transport {
    match transport {
        v1::Transport::Udp | v1::Transport::Auto => Transport::Udp,
        v1::Transport::Tcp => Transport::Tcp,
        v1::Transport::Tls => Transport::Tls,
    }
}

const fn codec(codec: v1::Codec) -> Codec {
    match codec {
        v1::Codec::Pcmu => Codec::Pcmu,
        v1::Codec::Pcma => Codec::Pcma,
        v1::Codec::G722 => Codec::G722,
        v1::Codec::Opus => Codec::Opus,
        v1::Codec::G729 => Codec::G729,
    }
}

/// The schema admits no negative figure.
pub(crate) fn figure(figure: i32) -> u32 {
    u32::try_from(figure).unwrap_or_default()
}

fn port(port: i32) -> u16 {
    u16::try_from(port).unwrap_or_default()
}
