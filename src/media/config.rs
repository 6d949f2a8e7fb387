//! What a media server is told when it starts, and what it counts.

use std::{io, net::IpAddr, ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use store::Blobs;

use crate::{listening::Recogniser, recording::Transcriber, speech::Speaker};

/// What a media server is told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Networks that legs may be allocated on. At least one; names are unique.
    pub networks: Vec<Network>,
    /// Ports of every network: RTP takes the even ones, RTCP the odd ones after them (RFC 3550 §11).
    pub ports: RangeInclusive<u16>,
    /// Worker threads. `None`: one per core, each pinned to its own.
    pub workers: Option<usize>,
    /// Folder that `Order::Record` writes to. `None`: it records nothing.
    pub recordings: Option<PathBuf>,
    /// Sessions at the same time. Further ones are refused.
    pub sessions_max: usize,
    /// Neither RTP nor RTCP for so long from a peer that is to send is told (`Silent`).
    pub silent_after: Duration,
    /// What it works with besides.
    pub services: Services,
}

/// What carries packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packets {
    /// UDP sockets.
    #[default]
    Sockets,
    /// AF_XDP beside them, on every network that has an address of its own on an interface of Ethernet. Needs CAP_BPF,
    /// CAP_NET_ADMIN, CAP_NET_RAW, and CAP_IPC_LOCK or a limit of locked memory of 20 MiB a worker and interface. Where
    /// something is refused, a warning says why, and the sockets serve alone.
    Xdp,
}

/// What a media server works with besides a disk.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Where recordings are kept, and played from. What an earlier run has left unfinished there is finished at the start.
    /// None: nothing is recorded but by `Order::Record`.
    pub store: Option<Arc<dyn Blobs>>,
    /// What tells phrases from sound. None: [`crate::Pocketsphinx`].
    pub recogniser: Option<Arc<dyn Recogniser>>,
    /// What speaks texts that are no prompts. None: espeak-ng alone.
    pub speaker: Option<Arc<dyn Speaker>>,
    /// What writes messages down. None: [`crate::Dictation`].
    pub transcriber: Option<Arc<dyn Transcriber>>,
    /// What carries packets.
    pub packets: Packets,
    /// How it reaches other media servers of its cluster. None: it does not, and they do not reach it.
    pub spans: Option<Spans>,
}

/// How a media server reaches others of its cluster, and is reached by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    /// The network, by its name: each worker takes a pair of its ports with the first `Order::Extend`.
    pub network: String,
    /// Whether the kernel may segment and coalesce datagrams (UDP_SEGMENT, UDP_GRO), if it can.
    pub segments: bool,
}

/// A network: where its sockets are bound, and what peers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name by which `Order::Allocate` chooses it.
    pub name: String,
    /// Local address of its sockets.
    pub bind: IpAddr,
    /// Address for our session descriptions.
    pub advertised: IpAddr,
    /// Linux interface that its sockets are bound to (SO_BINDTODEVICE). None: any that has the address.
    pub interface: Option<String>,
}

/// Why a media server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no network to put a leg on.
    #[error("media needs at least one network")]
    NoNetwork,
    /// Two networks have one name.
    #[error("media has two networks named `{0}`")]
    NetworkTwice(String),
    /// Spans go by a network that there is not.
    #[error("spans to other media servers go by the network `{0}`, which is none of media's own")]
    NoSpanNetwork(String),
    /// The range holds no even port with the odd one after it.
    #[error("RTP ports {}-{} hold no pair: an even port and the odd one after it", .0.start(), .0.end())]
    NoPorts(RangeInclusive<u16>),
    /// A network's address or interface is not one of this machine.
    #[error("network `{network}` cannot use the address {address}{}: {source}", .interface.as_ref().map(|name| format!(" on the interface {name}")).unwrap_or_default())]
    Address {
        /// The network.
        network: String,
        /// Its bind address.
        address: IpAddr,
        /// Its interface.
        interface: Option<String>,
        /// What the system said.
        source: io::Error,
    },
    /// The folder for recordings cannot be made.
    #[error("recordings cannot be written to {}: {source}", .folder.display())]
    Recordings {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate for DTLS can be made.
    #[error("there is no certificate for DTLS-SRTP: {0}")]
    Certificate(String),
    /// The system gives no thread, epoll set or timer.
    #[error("a media worker cannot start: {0}")]
    Worker(#[source] io::Error),
}

/// What a media server has and has done, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions now.
    pub sessions: usize,
    /// Legs now.
    pub legs: usize,
    /// Ports now in use: two per leg.
    pub ports_in_use: usize,
    /// RTP packets taken from peers.
    pub packets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP and RTCP packets thrown away: from a wrong source, or malformed.
    pub packets_discarded: u64,
    /// Orders answered with `Full`.
    pub orders_dropped: u64,
    /// RTP packets that recordings have lost, because the disk was too slow.
    pub recorded_packets_dropped: u64,
    /// Prompts of the library that cannot be played.
    pub prompts_unplayable: usize,
}
