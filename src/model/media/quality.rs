//! What was measured on a leg.

use serde::{Deserialize, Serialize};

/// What was measured on a leg, from its allocation on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Packets lost towards us (RFC 3550 A.3); never negative.
    pub packets_lost: u64,
    /// Packets thrown away: from a source that is not the peer's, or not RTP.
    pub packets_discarded: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 A.8), its greatest value.
    pub jitter_ms_max: f32,
    /// Round trip in milliseconds from RTCP (RFC 3550 §6.4.1), its last value.
    pub round_trip_ms: Option<f32>,
    /// Interarrival jitter in milliseconds, its mean over all packets.
    #[serde(default)]
    pub jitter_ms_mean: f32,
    /// Packets that came too late to be heard, where they were decoded.
    #[serde(default)]
    pub packets_late: u64,
    /// Sound that was made up for what was lost or late, where it was decoded, in milliseconds.
    #[serde(default)]
    pub concealed_ms: u64,
    /// Time from the peer to us in milliseconds: half the round trip, as far as RTCP tells. None: it does not.
    #[serde(default)]
    pub one_way_ms: Option<f32>,
    /// How losses lie together.
    #[serde(default)]
    pub bursts: Option<Bursts>,
    /// How it sounds to us, estimated. None: nothing came, or the codec has no figures.
    #[serde(default)]
    pub rating: Option<Rating>,
    /// What the peer says of what it gets from us.
    #[serde(default)]
    pub outbound: Option<Outbound>,
}

/// Bursts and gaps of loss (RFC 3611 §4.7.2): a burst begins and ends with a loss, and has no 16 packets in a row that came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bursts {
    /// Loss within bursts, in percent.
    pub burst_density: f32,
    /// Loss within gaps, in percent.
    pub gap_density: f32,
    /// Mean length of a burst, in milliseconds.
    pub burst_ms: u32,
    /// Mean length of a gap, in milliseconds.
    pub gap_ms: u32,
}

/// The E-model's estimate (ITU-T G.107), and what it was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Mean opinion score of conversation, 1.0 to 4.5.
    pub mos_cq: f32,
    /// Transmission rating factor R, 0 to 100.
    pub r_factor: f32,
    /// One-way delay from mouth to ear, in milliseconds: half the round trip, the jitter buffer and the codec.
    pub delay_ms: f32,
    /// Share of packets lost or late, in percent.
    pub loss_percent: f32,
    /// How much losses lie together; 1 is by chance (G.107's BurstR).
    pub burst_ratio: f32,
    /// Impairment of the codec without loss (G.113's Ie).
    pub codec_impairment: f32,
    /// Its robustness against loss (G.113's Bpl).
    pub codec_robustness: f32,
}

/// What a peer's reports say of the stream that we send it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Outbound {
    /// Packets that it has lost.
    pub packets_lost: u64,
    /// Interarrival jitter at its end in milliseconds, its greatest value.
    pub jitter_ms_max: f32,
}

/// Five seconds of a leg, or more of one that was up for long: until the next one begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Seconds from the leg's allocation to its beginning.
    pub at_s: u32,
    /// RTP packets received.
    pub packets_received: u32,
    /// Packets lost towards us.
    pub packets_lost: u32,
    /// Interarrival jitter in milliseconds, its greatest value.
    pub jitter_ms: f32,
    /// Round trip in milliseconds, its last value.
    pub round_trip_ms: Option<f32>,
    /// Mean opinion score of conversation. None: nothing came.
    pub mos_cq: Option<f32>,
}
