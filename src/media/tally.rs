//! What one worker counts: written by its thread alone, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use model::media::Codec;

/// Codecs that a pair can be of.
const CODECS: [Codec; 5] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus, Codec::G729];

/// A worker's counts, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// RTP packets taken.
    pub received: AtomicU64,
    /// RTP packets sent.
    pub sent: AtomicU64,
    /// Packets thrown away.
    pub discarded: AtomicU64,
    /// Packets that came too late to be mixed.
    pub late: AtomicU64,
    /// Sessions now.
    pub sessions: AtomicU64,
    /// Of these, with a slow plane.
    pub mixed: AtomicU64,
    /// Legs now.
    pub legs: AtomicU64,
    /// Shared port pairs that are open.
    pub shared_pairs: AtomicU64,
    /// Legs that have a pair of their own.
    pub own_pairs: AtomicU64,
    /// Processor time of the thread, in µs.
    pub cpu_us: AtomicU64,
    /// Interfaces that it reads from and sends by through AF_XDP.
    pub xdp_lanes: AtomicU64,
    /// RTP datagrams that came as frames.
    pub xdp_received: AtomicU64,
    /// RTP packets that went out as frames.
    pub xdp_sent: AtomicU64,
    /// Packets from other media servers.
    pub span_received: AtomicU64,
    /// Packets to other media servers.
    pub span_sent: AtomicU64,
    /// Messages that these were sent in.
    pub span_messages: AtomicU64,
    pairs: [[AtomicU64; CODECS.len()]; CODECS.len()],
}

/// What a worker has and has done, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerCounters {
    /// RTP packets taken from peers.
    pub packets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP and RTCP packets thrown away: from a wrong source, malformed, or not to be opened.
    pub packets_discarded: u64,
    /// RTP packets that came too late to be mixed.
    pub packets_late: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Of these, sessions in which somebody is decoded and mixed.
    pub sessions_mixed: u64,
    /// Legs now.
    pub legs: u64,
    /// Ports now open: two a pair.
    pub ports: u64,
    /// Processor time in µs, no older than a second of work.
    pub cpu_us: u64,
    /// Interfaces that it uses AF_XDP on.
    pub xdp_interfaces: u64,
    /// RTP datagrams that came by AF_XDP; the others came by plain sockets.
    pub packets_received_xdp: u64,
    /// RTP packets sent by AF_XDP; the others went by plain sockets.
    pub packets_sent_xdp: u64,
    /// RTP and RTCP packets from other media servers, by spans that are known here.
    pub packets_received_span: u64,
    /// RTP and RTCP packets to other media servers.
    pub packets_sent_span: u64,
    /// Messages that these were given to the kernel in: fewer, where it segments.
    pub messages_sent_span: u64,
    /// Who hears whom now: the speaker's codec, the hearer's, and how many such pairs there are.
    pub codec_pairs: Vec<(Codec, Codec, u64)>,
}

impl Tally {
    /// One more, or one less, hears a leg of the first codec in the second.
    pub fn pair(&self, (from, to): (Codec, Codec), more: bool) {
        let Some(count) = place(from).zip(place(to)).map(|(from, to)| &self.pairs[from][to]) else { return };
        change(count, more);
    }

    /// All of it.
    pub fn counters(&self) -> WorkerCounters {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let pairs = CODECS.iter().zip(&self.pairs).flat_map(|(&from, counts)| {
            let count = |(&to, count): (&Codec, &AtomicU64)| (from, to, of(count));
            CODECS.iter().zip(counts).map(count).filter(|&(.., count)| count > 0).collect::<Vec<_>>()
        });
        WorkerCounters {
            packets_received: of(&self.received),
            packets_sent: of(&self.sent),
            packets_discarded: of(&self.discarded),
            packets_late: of(&self.late),
            sessions: of(&self.sessions),
            sessions_mixed: of(&self.mixed),
            legs: of(&self.legs),
            ports: 2 * (of(&self.shared_pairs) + of(&self.own_pairs)),
            cpu_us: of(&self.cpu_us),
            xdp_interfaces: of(&self.xdp_lanes),
            packets_received_xdp: of(&self.xdp_received),
            packets_sent_xdp: of(&self.xdp_sent),
            packets_received_span: of(&self.span_received),
            packets_sent_span: of(&self.span_sent),
            messages_sent_span: of(&self.span_messages),
            codec_pairs: pairs.collect(),
        }
    }
}

/// Counts one more or one less.
pub fn change(count: &AtomicU64, more: bool) {
    if more {
        count.fetch_add(1, Ordering::Relaxed);
    } else {
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn place(codec: Codec) -> Option<usize> {
    CODECS.iter().position(|&other| other == codec)
}
