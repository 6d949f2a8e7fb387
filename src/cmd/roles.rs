//! What a cluster's roles are made of, whether they run in one process or in pods of their own.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use call::world::Refused;
use edge::{Edge, dns::Dns, observed::write_metric};
use model::{
    AudioId,
    secrets::Secrets,
    snapshot::{Cluster, Packets, Snapshot},
};
use store::records::Recorder;
use tracing::warn;

use super::{random, services::Services};

/// SIP legs per call that the cluster's bound allows for: two, and room for calls that ring several.
const LEGS_PER_CALL: usize = 4;

/// Transactions per call that the cluster's bound allows for: as many as a call of one second leaves behind.
const TRANSACTIONS_PER_CALL: usize = 32;

/// Transactions that there is room for, however few calls may be up: one that is over leaves up to four, which absorb copies
/// for 64·T1 (RFC 3261 §17), so that 500 short calls a second leave 64,000.
const TRANSACTIONS_MIN: usize = 65_536;

/// Media sessions beyond the bound on calls: a call that has ended no longer counts, and its ports are given back a
/// moment later.
const SESSIONS_ENDING: usize = 1_024;
/// Neither RTP nor RTCP for so long off hold: the peer is taken for dead (telephony 15).
const SILENT_AFTER: Duration = Duration::from_secs(60);

/// How long calls that are ended may take for it: whoever is on them must hear of it, and may have to be told again.
pub const GOODBYE: Duration = Duration::from_secs(3);

/// The same when the process is told to end a second time.
pub const GOODBYE_AT_ONCE: Duration = Duration::from_secs(1);

/// How an edge uses its machine.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Engines {
    /// Threads that share an edge's calls: 1 to 16. Those of a tenant with agents stay together on one. Absent: one for
    /// every two cores.
    #[arg(
        long = "edge-threads",
        value_name = "N",
        env = "SWITCHBOARD_EDGE_THREADS",
        value_parser = clap::value_parser!(u8).range(1..=16)
    )]
    threads: Option<u8>,
}

impl Engines {
    /// How many there are.
    pub fn count(self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(|| cores().div_ceil(2).min(call::engine::SHARDS_MAX), usize::from)
    }
}

/// Files of prompts, by the SHA-256 of their bytes.
pub type Blobs = BTreeMap<AudioId, Arc<[u8]>>;

/// Why a snapshot is not applied.
pub fn refused(path: impl Into<String>, message: impl Into<String>) -> Refused {
    Refused { field: path.into(), message: message.into() }
}

/// What is bound once and for all must stay as it was.
pub fn unchanged(before: &Cluster, after: &Cluster) -> Result<(), Refused> {
    let refuse = |path: &str, what: &str| {
        Err(refused(path, format!("{what} may not change while the process runs: restart it.")))
    };
    if before.listeners != after.listeners {
        return refuse("cluster.listeners", "Listeners");
    }
    if before.networks != after.networks {
        return refuse("cluster.networks", "Networks");
    }
    if before.rtp_ports != after.rtp_ports {
        return refuse("cluster.rtpPorts", "RTP ports (`media.ports`)");
    }
    if before.packets != after.packets {
        return refuse("cluster.packets", "What carries audio (`media.packets`)");
    }
    if before.span_network != after.span_network {
        return refuse("cluster.spanNetwork", "The network between media pods (`media.spanNetwork`)");
    }
    Ok(())
}

/// The media server of a cluster, and where it keeps what it records. None: it records nothing.
pub fn media_config(
    cluster: &Cluster,
    store: Option<Arc<dyn store::Blobs>>,
    services: &Arc<Services>,
) -> media::Config {
    let ours = cluster.networks.iter().filter(|network| network.attachment.is_none());
    let networks = ours.map(|network| media::Network {
        name: network.name.clone(),
        bind: network.rtp_bind,
        advertised: network.rtp_advertised,
        interface: network.interface.clone(),
    });
    let packets = match cluster.packets {
        Packets::Sockets => media::Packets::Sockets,
        Packets::Xdp => media::Packets::Xdp,
    };
    media::Config {
        networks: networks.collect(),
        ports: cluster.rtp_ports.0..=cluster.rtp_ports.1,
        workers: None,
        recordings: None,
        sessions_max: (cluster.limits.calls_max as usize).saturating_add(SESSIONS_ENDING),
        services: media::Services {
            store,
            packets,
            spans: cluster.span_network.clone().map(|network| media::Spans { network, segments: true }),
            recogniser: Some(Arc::clone(services) as _),
            speaker: Some(Arc::clone(services) as _),
            ..media::Services::default()
        },
        silent_after: SILENT_AFTER,
    }
}

/// The edge of a cluster, and where its records go besides memory.
pub fn edge_config(
    snapshot: Arc<Snapshot>,
    secrets: Secrets,
    records: Option<Recorder>,
) -> anyhow::Result<edge::Config> {
    let calls = snapshot.cluster.limits.calls_max as usize;
    Ok(edge::Config {
        snapshot,
        secrets,
        shared: false,
        token: format!("{:06x}", random()? & 0xff_ffff),
        seed: random()?,
        nonces: nonces()?,
        records,
        legs_max: calls.saturating_mul(LEGS_PER_CALL),
        transactions_max: calls.saturating_mul(TRANSACTIONS_PER_CALL).max(TRANSACTIONS_MIN),
    })
}

/// With a key of this process alone: as long as each has its own listeners' addresses, nobody else is shown them.
fn nonces() -> anyhow::Result<sip::digest::Nonces> {
    let mut key = [0; 32];
    for part in key.chunks_mut(8) {
        part.copy_from_slice(&random()?.to_le_bytes());
    }
    Ok(sip::digest::Nonces::new(&key))
}

/// Looks up where peers, registrars and the capture server are, and says which cannot be found.
pub async fn resolve(
    edge: &Edge,
    snapshot: &Snapshot,
    secrets: &Secrets,
    dns: &mut Dns,
) -> anyhow::Result<()> {
    for what in edge.resolve(snapshot, secrets, dns).await? {
        warn!("{what}: check the Trunk's peers and `register`, the VoiceCluster's `capture`, or the DNS");
    }
    Ok(())
}

/// The sums over media servers, in the text format of Prometheus.
pub fn media_metrics(text: &mut String, servers: &[media::Handle]) {
    let counters: Vec<_> = servers.iter().map(media::Handle::counters).collect();
    let sum = |of: fn(&media::Counters) -> u64| counters.iter().map(of).sum::<u64>();
    for (name, kind, help, value) in [
        ("sessions", "gauge", "Media sessions.", sum(|counters| counters.sessions as u64)),
        ("legs", "gauge", "Media legs.", sum(|counters| counters.legs as u64)),
        ("ports", "gauge", "RTP and RTCP ports in use.", sum(|counters| counters.ports_in_use as u64)),
        ("rtp_received_total", "counter", "RTP packets received.", sum(|counters| counters.packets_received)),
        ("rtp_sent_total", "counter", "RTP packets sent.", sum(|counters| counters.packets_sent)),
        (
            "rtp_discarded_total",
            "counter",
            "RTP packets thrown away.",
            sum(|counters| counters.packets_discarded),
        ),
        (
            "prompts_unplayable",
            "gauge",
            "Prompts whose files are broken; steps that play one fail.",
            sum(|counters| counters.prompts_unplayable as u64),
        ),
        (
            "recordings_waiting",
            "gauge",
            "Recordings, and what is known of them, that wait to be brought to their store.",
            servers.iter().map(|server| server.waiting() as u64).sum(),
        ),
    ] {
        write_metric(text, &format!("switchboard_media_{name}"), kind, help, value);
    }
    let workers: Vec<_> = servers.iter().flat_map(media::Handle::workers).collect();
    worker_metrics(text, &workers);
}

/// What each thread that carries RTP has and has done.
fn worker_metrics(text: &mut String, workers: &[media::WorkerCounters]) {
    type Of = fn(&media::WorkerCounters) -> u64;
    let table: [(&str, &str, &str, Of); 15] = [
        ("rtp_received_total", "counter", "RTP packets received.", |it| it.packets_received),
        ("rtp_sent_total", "counter", "RTP packets sent.", |it| it.packets_sent),
        ("rtp_discarded_total", "counter", "RTP packets thrown away.", |it| it.packets_discarded),
        ("rtp_late_total", "counter", "RTP packets too late to be mixed.", |it| it.packets_late),
        ("sessions", "gauge", "Media sessions.", |it| it.sessions),
        ("sessions_mixed", "gauge", "Media sessions that are decoded and mixed.", |it| it.sessions_mixed),
        ("legs", "gauge", "Media legs.", |it| it.legs),
        ("ports", "gauge", "RTP and RTCP ports open.", |it| it.ports),
        ("cpu_microseconds_total", "counter", "Processor time.", |it| it.cpu_us),
        ("xdp_interfaces", "gauge", "Interfaces with AF_XDP.", |it| it.xdp_interfaces),
        ("xdp_received_total", "counter", "RTP packets received by AF_XDP.", |it| it.packets_received_xdp),
        ("xdp_sent_total", "counter", "RTP packets sent by AF_XDP.", |it| it.packets_sent_xdp),
        ("span_received_total", "counter", "Packets from other media pods.", |it| it.packets_received_span),
        ("span_sent_total", "counter", "Packets to other media pods.", |it| it.packets_sent_span),
        ("span_messages_total", "counter", "Messages that these were sent in.", |it| it.messages_sent_span),
    ];
    // Writing to a String cannot fail.
    for (name, kind, help, of) in table {
        let name = format!("switchboard_media_worker_{name}");
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (place, worker) in workers.iter().enumerate() {
            let _ = writeln!(text, "{name}{{worker=\"{place}\"}} {}", of(worker));
        }
    }
    let mut pairs = BTreeMap::new();
    for &(from, to, count) in workers.iter().flat_map(|worker| &worker.codec_pairs) {
        *pairs.entry((from.name(), to.name())).or_insert(0) += count;
    }
    let name = "switchboard_media_codec_pairs";
    let _ = write!(text, "# HELP {name} Legs that hear another, by codecs.\n# TYPE {name} gauge\n");
    for ((from, to), count) in pairs {
        let _ = writeln!(text, "{name}{{from=\"{from}\",to=\"{to}\"}} {count}");
    }
}

#[cfg(test)]
mod tests {
    use model::trunk::TlsPolicy;

    use model::{
        ClusterId,
        snapshot::{Keeping, Limits, Network},
    };

    use super::*;

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId::new("platform", "c14"),
            code: "C14".into(),
            listeners: Vec::new(),
            networks: vec![Network {
                name: "lan".into(),
                rtp_bind: [127, 0, 0, 1].into(),
                rtp_advertised: [127, 0, 0, 1].into(),
                interface: None,
                attachment: None,
            }],
            rtp_ports: (20_000, 20_999),
            packets: Packets::default(),
            span_network: None,
            limits: Limits { calls_max: 10, call_seconds_max: 60 },
            drain_seconds: 1,
            tls: TlsPolicy::default(),
            domains: Vec::new(),
            digest_algorithms: model::trunk::default_digest_algorithms(),
            capture: None,
            reachable_ranges: Vec::new(),
            tracing: None,
            tenants: BTreeMap::new(),
            recorders: BTreeMap::new(),
            countries: BTreeMap::new(),
            speech: BTreeMap::new(),
            providers: BTreeMap::new(),
            services: BTreeMap::new(),
            keeping: Keeping::default(),
        }
    }

    #[test]
    fn what_is_bound_may_not_change_and_all_else_may() {
        let before = cluster();
        let mut after = cluster();
        after.limits.calls_max = 20;
        assert!(unchanged(&before, &after).is_ok());
        after.rtp_ports.1 = 21_999;
        let told = unchanged(&before, &after).unwrap_err().to_string();
        assert_eq!(
            told,
            "cluster.rtpPorts: RTP ports (`media.ports`) may not change while the process runs: restart it."
        );
        after.rtp_ports.1 = 20_999;
        after.packets = Packets::Xdp;
        let told = unchanged(&before, &after).unwrap_err().to_string();
        assert_eq!(
            told,
            "cluster.packets: What carries audio (`media.packets`) may not change while the process runs: restart it."
        );
        after.networks.clear();
        assert!(
            unchanged(&before, &after)
                .unwrap_err()
                .to_string()
                .starts_with("cluster.networks: Networks may not")
        );
    }
}
