//! A snapshot as a made-up world has it: everybody speaks SIP by UDP from an address of their own, in E.164 and in the clear.
//!
//! What a call goes through stays as it is: flows, queues, agents, hours, grants, directions, caps of trunks. What belongs to
//! the wire goes: telephones that are kept up, TLS, digests and registrations of trunks, SRTP, probes, signatures, ways of writing numbers. Beside the
//! snapshot's own there is a trunk, and a number and a flow for each queue, by which others come to wait there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use call::world::{Names, Refused, World};
use ipnet::IpNet;
use model::{
    AllowlistId, E164, FlowId, Key, NumberId, QueueId, TrunkId,
    centre::StationKind,
    media::Codec,
    net::{ListenerIx, Transport},
    program::{Program, Queue, Step, Verb},
    secrets::Secrets,
    snapshot::{Cluster, Delivers, NumberRange, Peer, Serves, Snapshot, Source, Trunk, TrunkDirection},
    trunk::{
        CallerIdPolicy, DtmfMethod, NumberFormats, SrtpKeying, SrtpUse, Stir, TrunkTls,
        default_failover_codes,
    },
};

/// SIP's own port (RFC 3261 §19.1.2).
const PORT: u16 = 5060;

/// Every secret of a made-up world.
pub(crate) const SECRET: &str = "made-up";

/// Most contacts of a test that have come before.
pub(crate) const OTHERS_MAX: u32 = 1_000;

/// Begins names of objects that are no objects; none of Kubernetes begins so.
const MADE_UP: char = '~';

/// Our listeners are below this address (RFC 5737), trunks and phones in the others (RFC 2544).
const OURS: u32 = 0xc000_0200;
const TRUNKS: u32 = 0xc612_0000;
const PHONES: u32 = 0xc613_0000;

/// Numbers of queues; no country has this code.
const NUMBERS: u64 = 999_000_000;

/// A world made of a snapshot, and where everybody in it is.
#[derive(Debug)]
pub(crate) struct Plain {
    pub world: Arc<World>,
    /// Our listeners.
    pub ours: Vec<SocketAddr>,
    /// Which of them agents' phones use.
    pub phones: Option<ListenerIx>,
    /// Trunks, each at [`trunk_address`] of its place.
    pub trunks: Vec<TrunkId>,
    /// The trunk by which others come, and the number that leads to each queue.
    pub others: (TrunkId, BTreeMap<QueueId, E164>),
}

pub(crate) fn trunk_address(place: usize) -> SocketAddr {
    address(TRUNKS, place)
}

pub(crate) fn phone_address(place: usize) -> SocketAddr {
    address(PHONES, place)
}

fn address(base: u32, place: usize) -> SocketAddr {
    let place = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(base.saturating_add(place))), PORT)
}

impl Plain {
    pub fn new(snapshot: &Snapshot) -> Result<Self, Refused> {
        let mut plain = snapshot.clone();
        let ours = plain_cluster(&mut plain.cluster);
        let serves = |serves| plain.cluster.listeners.iter().position(|listener| listener.serves == serves);
        let (phones, network) = (serves(Serves::Agents), serves(Serves::Trunks));
        let network = network.and_then(|place| plain.cluster.listeners.get(place));
        let network = network.map(|listener| listener.network.clone()).unwrap_or_default();
        let others = add_others(&mut plain, network);
        let trunks: Vec<TrunkId> = plain.trunks.keys().cloned().collect();
        for (place, trunk) in plain.trunks.values_mut().enumerate() {
            plain_trunk(trunk, trunk_address(place));
        }
        // Whoever is rung takes contacts as who is up does.
        for agent in plain.centre.agents.values_mut() {
            if agent.stations.iter().any(|station| station.persistent) {
                Arc::make_mut(agent).stations.iter_mut().for_each(|station| station.persistent = false);
            }
        }
        let secrets = secrets(&plain);
        let world = World::new(Arc::new(plain), Names::new(), None)?.with_secrets(secrets);
        let phones = phones.and_then(|place| u16::try_from(place).ok()).map(ListenerIx);
        Ok(Self { world: Arc::new(world), ours, phones, trunks, others })
    }

    /// The same people in another world.
    pub fn with_world(&self, world: Arc<World>) -> Self {
        let Self { ours, phones, trunks, others, .. } = self;
        let (ours, trunks, others) = (ours.clone(), trunks.clone(), others.clone());
        Self { world, ours, phones: *phones, trunks, others }
    }

    /// The address that a trunk sends from, and the listener of ours that hears it.
    pub fn way_in(&self, trunk: &TrunkId) -> Option<(usize, ListenerIx)> {
        let place = self.trunks.iter().position(|known| known == trunk)?;
        let network = &self.world.snapshot.trunks.get(trunk)?.network;
        let listeners = &self.world.snapshot.cluster.listeners;
        let hears = listeners
            .iter()
            .position(|listener| listener.serves == Serves::Trunks && listener.network == *network)?;
        Some((place, ListenerIx(u16::try_from(hears).ok()?)))
    }
}

fn plain_cluster(cluster: &mut Cluster) -> Vec<SocketAddr> {
    for (place, listener) in cluster.listeners.iter_mut().enumerate() {
        let address = address(OURS, place);
        listener.transport = Transport::Udp;
        listener.bind = address;
        listener.advertised = address.to_string();
    }
    cluster.tenants.clear();
    cluster.tracing = None;
    cluster.capture = None;
    cluster.limits.calls_max = cluster.limits.calls_max.saturating_add(OTHERS_MAX);
    cluster.listeners.iter().map(|listener| listener.bind).collect()
}

fn plain_trunk(trunk: &mut Trunk, address: SocketAddr) {
    for source in &mut trunk.sources {
        source.range = IpNet::from(address.ip());
    }
    trunk.peers.truncate(1);
    for peer in &mut trunk.peers {
        peer.host = address.ip().to_string();
        (peer.declared_port, peer.port) = (Some(address.port()), address.port());
        peer.transport = Transport::Udp;
        peer.large_by_tcp = false;
    }
    trunk.codecs = vec![Codec::Pcmu];
    trunk.digest = None;
    trunk.register = None;
    trunk.outbound_proxy = None;
    trunk.tls = TrunkTls::default();
    trunk.number_formats = NumberFormats::default();
    trunk.health = None;
    trunk.stir = Stir::default();
    trunk.srtp = SrtpUse::Disabled;
    trunk.srtp_keying = SrtpKeying::default();
    trunk.dtmf = DtmfMethod::default();
    trunk.peer_first = false;
}

/// The trunk, the numbers and the flows by which others come to queues.
fn add_others(plain: &mut Snapshot, network: String) -> (TrunkId, BTreeMap<QueueId, E164>) {
    let id = TrunkId::new("sim", &format!("{MADE_UP}others"));
    let source = Source {
        range: IpNet::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        valid_from: None,
        valid_until: None,
        allowlist: AllowlistId::new("sim", "others"),
        of_pop: false,
    };
    let queues: Vec<QueueId> = plain.centre.queues.keys().cloned().collect();
    let (mut numbers, mut ranges) = (BTreeMap::new(), Vec::new());
    for (place, queue) in queues.into_iter().enumerate() {
        let number = format!("+{}", NUMBERS + place as u64);
        let Ok(number) = number.parse::<E164>() else { continue };
        let (namespace, name) = (queue.0.namespace(), format!("{MADE_UP}{}", queue.0.name()));
        let flow = FlowId::new(namespace, &name);
        ranges.push(NumberRange {
            first: number,
            last: number,
            id: NumberId::new(namespace, &name),
            flow: flow.clone(),
            calls_max: None,
            forwarded_from: None,
            calls_per_second_max: None,
        });
        plain.flows.insert(flow, Arc::new(waits(queue.clone())));
        numbers.insert(queue, number);
    }
    plain.numbers.insert(id.clone(), ranges);
    plain.trunks.insert(id.clone(), usual_trunk(network, source));
    (id, numbers)
}

/// A trunk that is as trunks are where nothing is said, and takes calls from there.
pub fn usual_trunk(network: String, source: Source) -> Trunk {
    Trunk {
        network,
        delivers: Delivers::Pstn,
        ucaas_partner: false,
        direction: TrunkDirection::Inbound,
        sources: vec![source],
        peers: Vec::<Peer>::new(),
        codecs: vec![Codec::Pcmu],
        calls_max: None,
        grants: Vec::new(),
        calls_per_second_max: None,
        failover_codes: default_failover_codes(),
        digest: None,
        register: None,
        outbound_proxy: None,
        tls: TrunkTls::default(),
        number_formats: NumberFormats::default(),
        caller_id_policy: CallerIdPolicy::default(),
        emergency: false,
        health: None,
        stir: Stir::default(),
        srtp: SrtpUse::Disabled,
        srtp_keying: SrtpKeying::default(),
        insecure_keys: false,
        dtmf: DtmfMethod::default(),
        peer_first: false,
        shared_ports: false,
    }
}

/// Waits in a queue and does nothing else.
fn waits(queue: QueueId) -> Program {
    let queue = Queue {
        queue,
        priority: None,
        max_wait_ms: None,
        ended: None,
        timed_out: None,
        full: None,
        no_agents: None,
    };
    Program {
        revision: String::new(),
        variables: Vec::new(),
        steps: vec![Step { name: "wait".into(), verb: Verb::Queue(queue) }],
        on_error: None,
        translations: BTreeMap::new(),
    }
}

/// What phones register with.
fn secrets(plain: &Snapshot) -> Secrets {
    let agents = plain.centre.agents.iter();
    let stations = agents.flat_map(|(id, agent)| agent.stations.iter().map(move |station| (id, station)));
    let known = stations.filter_map(|(id, station)| match &station.kind {
        StationKind::Sip { secret, .. } => {
            let object = Key::new(id.0.namespace(), &secret.name);
            Some(((object, secret.key.clone()), SECRET.as_bytes().to_vec()))
        }
        StationKind::WebRtc { .. } | StationKind::Pstn { .. } => None,
    });
    known.collect()
}
