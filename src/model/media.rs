//! Orders that a call gives to a media server, and events that come back.
//!
//! These are exactly what crosses `link`, in process or over the network. An order names its session; the media
//! server keeps all legs of a session on one worker. Orders of one session are carried out in the order given,
//! events of one session arrive in the order of their happening. An order about something that is gone is
//! ignored: it crossed with the end of it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{AudioId, LegId, PlayId, SessionId};

mod crypto;
mod forking;
mod listening;
mod mixing;
mod quality;
mod recording;
mod spans;

pub use self::{
    crypto::{
        CertificateHash, CryptoSuite, Dtls, DtlsFailure, DtlsRole, Fingerprint, MKI_MAX, MasterKey, Srtp,
        SrtpKeys,
    },
    forking::{Forked, Side},
    listening::{Heard, ListenId, Listening},
    mixing::{Hearing, Source},
    quality::{Bucket, Bursts, Outbound, Quality, Rating},
    recording::{Format, Recorded, Recording, RecordingEnd, Voices},
    spans::SpanId,
};

/// What a leg's audio is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// G.711 μ-law, 8 kHz (RFC 3551 §4.5.14), static payload type 0.
    #[serde(rename = "PCMU")]
    Pcmu,
    /// G.711 A-law, 8 kHz (RFC 3551 §4.5.14), static payload type 8.
    #[serde(rename = "PCMA")]
    Pcma,
    /// G.722 at 64 kbit/s (RFC 3551 §4.5.2), static payload type 9: sampled at 16 kHz, with an RTP clock of 8 kHz.
    G722,
    /// Opus (RFC 7587), dynamic payload type, with an RTP clock of 48 kHz.
    Opus,
    /// G.729 (RFC 3551 §4.5.6), static payload type 18. It is passed on, never decoded.
    G729,
}

impl Codec {
    /// Encoding name of the rtpmap attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::G729 => "G729",
        }
    }

    /// Payload type assigned by RFC 3551 §6. None: it has none, and an `rtpmap` must name one.
    #[must_use]
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::G729 => Some(18),
            Self::Opus => None,
        }
    }

    /// Payload type that our descriptions give it: the static one, else a dynamic one of our choice.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self.static_payload_type() {
            Some(assigned) => assigned,
            None => 111,
        }
    }

    /// RTP clock in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 | Self::G729 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// Samples a second of what it codes.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G729 => 8_000,
            Self::G722 => 16_000,
            Self::Opus => 48_000,
        }
    }

    /// Whether we can decode and encode it.
    #[must_use]
    pub const fn is_decoded(self) -> bool {
        !matches!(self, Self::G729)
    }
}

/// What a caller hears while somebody else's phone rings, and one of the prompts that every media server has: 440 and
/// 480 Hz, two seconds of six (ITU-T E.180 supplement 2, North America).
pub const RINGING_TONE: AudioId = AudioId(*b"ringing tone: 440+480 Hz 2 s/4 s");

/// What a caller hears who can be connected to nobody, another such prompt: 950, 1,400 and 1,800 Hz, a third of a second
/// each, and a second of silence (special information tone, ITU-T E.180).
pub const UNOBTAINABLE_TONE: AudioId = AudioId(*b"special tone: 950/1400/1800 Hz  ");

/// What says that a recording begins: 1,000 Hz for half a second, which every media server has too.
pub const BEEP_TONE: AudioId = AudioId(*b"beep tone: 1000 Hz 0.5 s        ");

/// What the networks of a country say without words (ITU-T E.180).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// The called phone rings.
    Ringback,
    /// The called party speaks with somebody else.
    Busy,
    /// There is no way there.
    Congestion,
    /// What was dialled cannot be had.
    SpecialInformation,
}

const NATIONAL_TONE: &[u8; 29] = b"tone of a country's networks ";

/// A tone as the networks of a country sound (ISO 3166-1 alpha-2), one of the prompts that every media server has. What is no
/// such code is a country whose tones are not known.
#[must_use]
pub fn national_tone(tone: Tone, country: &str) -> AudioId {
    let letter = match tone {
        Tone::Ringback => b'r',
        Tone::Busy => b'b',
        Tone::Congestion => b'c',
        Tone::SpecialInformation => b's',
    };
    let mut id = [0; 32];
    id[..29].copy_from_slice(NATIONAL_TONE);
    id[29] = letter;
    if let [one, two] = country.as_bytes() {
        (id[30], id[31]) = (one.to_ascii_uppercase(), two.to_ascii_uppercase());
    }
    AudioId(id)
}

/// Which tone of which country this is. None: no such tone.
#[must_use]
pub fn tone_of(audio: &AudioId) -> Option<(Tone, [u8; 2])> {
    let [letter, country @ ..] = audio.0.strip_prefix(NATIONAL_TONE)? else { return None };
    let tone = match letter {
        b'r' => Tone::Ringback,
        b'b' => Tone::Busy,
        b'c' => Tone::Congestion,
        b's' => Tone::SpecialInformation,
        _ => return None,
    };
    Some((tone, country.try_into().ok()?))
}

/// Which way audio flows, from our point of view (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// We send only.
    SendOnly,
    /// We receive only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Whether we may send.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether we expect to receive.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// What offer and answer agreed on for one leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaParameters {
    /// Codec both ways.
    pub codec: Codec,
    /// Payload type we send the codec with, which is the one the peer's description gave.
    pub send_payload_type: u8,
    /// Payload type we receive the codec with, which is the one our description gave.
    pub receive_payload_type: u8,
    /// Payload type of `telephone-event` at the codec's clock rate (RFC 4733) that we send with. None: not agreed.
    pub send_telephone_event: Option<u8>,
    /// Payload type of `telephone-event` that we receive with.
    pub receive_telephone_event: Option<u8>,
    /// Where we send RTP.
    pub remote_rtp: SocketAddr,
    /// Where we send RTCP: the `a=rtcp` attribute (RFC 3605), else the port after `remote_rtp`.
    pub remote_rtcp: SocketAddr,
    /// Audio per packet that we send, in milliseconds: 10 to 60, a multiple of 10.
    pub ptime_ms: u16,
    /// Which way audio flows.
    pub direction: Direction,
    /// Payload type of comfort noise (RFC 3389) at 8 kHz that both may send. None: not agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comfort_noise: Option<u8>,
    /// Whether RTCP comes and goes on RTP's port (RFC 5761).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rtcp_mux: bool,
    /// Keys of SRTP, or whom to agree on them with. None: nothing is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp: Option<Box<Srtp>>,
    /// What the peer said of Opus (RFC 7587 §6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opus: Option<OpusParameters>,
    /// Whether nothing is sent before the peer has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub peer_first: bool,
}

/// What a peer can take of Opus (RFC 7587 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpusParameters {
    /// `maxplaybackrate` in Hz.
    pub max_playback_rate: u32,
    /// `maxaveragebitrate` in bit/s. None: as it suits.
    pub max_bitrate: Option<u32>,
    /// `useinbandfec`.
    pub in_band_fec: bool,
    /// `usedtx`.
    pub dtx: bool,
}

impl Default for OpusParameters {
    fn default() -> Self {
        Self { max_playback_rate: 48_000, max_bitrate: None, in_band_fec: false, dtx: false }
    }
}

/// An order to a media server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaOrder {
    /// The session it is about. A session begins with its first `Allocate` or `Extend`.
    pub session: SessionId,
    /// What to do.
    pub order: Order,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Take a pair of ports for a leg. Answered by `Allocated` or `Refused`.
    Allocate {
        /// The leg.
        leg: LegId,
        /// Name of the VoiceCluster's network whose address it takes.
        network: String,
        /// Whether its peer sends from where its description says, so that it may share a port with others.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
        /// Where the peer receives RTP, if it has said so already because our description is the answer to its offer: a
        /// port that is shared is chosen by it. None: it is told by `Configure`; if another leg that shares the port has that
        /// address, this one moves to another port, and `Allocated` comes again for a new offer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote: Option<SocketAddr>,
    },
    /// Take one end of a span for a leg: its peer is a leg of another media pod of the cluster, which is given the other end by
    /// the same order. Answered by `Allocated`, whose address is for the other end's `Configure`, or by `Refused`.
    ///
    /// `Configure` must then give both keys of SDES, one of AEAD-GCM for each direction; RTCP goes with RTP always. At the pod of
    /// the telephone, `Bridge` joins its leg to the span's; at the session's, the leg is bridged, mixed, recorded and listened to
    /// as any other. A peer that is lost is told by `Silent`.
    Extend {
        /// The leg.
        leg: LegId,
        /// Names the span at both ends.
        span: SpanId,
    },
    /// The leg's parameters, after an offer and its answer; again after each re-INVITE.
    Configure {
        /// The leg.
        leg: LegId,
        /// What was agreed.
        parameters: MediaParameters,
    },
    /// Play to one leg, in place of what was playing to it. Answered by `PlayEnded`, once.
    Play {
        /// The leg.
        leg: LegId,
        /// Names this playing.
        play: PlayId,
        /// What to play, in order. At most 32.
        audio: Vec<AudioId>,
        /// How often; `None`: until stopped.
        times: Option<u16>,
    },
    /// Play a stored recording to one leg, once, in place of what was playing to it; silence until it is read. Answered by
    /// `PlayEnded`, once: `UnknownAudio` when the store has no such recording or cannot read it.
    PlayRecording {
        /// The leg.
        leg: LegId,
        /// Names this playing.
        play: PlayId,
        /// Name with its extension, as `Recorded` told it.
        name: String,
    },
    /// Speak a text to one leg, once, in place of what was playing to it; silence until it is spoken. Answered by `PlayEnded`,
    /// once: `UnknownAudio` when it cannot be spoken. What is known beforehand is better a prompt.
    Say {
        /// The leg.
        leg: LegId,
        /// Names this playing.
        play: PlayId,
        /// What to say, such as [`crate::spoken`] words it. At most 1,000 characters.
        text: String,
        /// The language's tag (BCP 47).
        language: String,
        /// Namespace of the tenant, whose own voice speaks. Empty: nobody's.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tenant: String,
    },
    /// Stop what is playing to a leg. `PlayEnded` follows if something was.
    StopPlay {
        /// The leg.
        leg: LegId,
    },
    /// Let two legs of the session hear each other. Playing to either of them ends (`PlayEnded` follows).
    /// A leg that was bridged to another is taken from it.
    Bridge {
        /// One.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// Part a leg from the one it is bridged to. Both stay allocated.
    Unbridge {
        /// Either of the two.
        leg: LegId,
    },
    /// Send digits to a leg by RFC 4733, one after the other. Without agreed telephone-event: as tones in the audio.
    /// Answered by `DtmfSent`.
    SendDtmf {
        /// The leg.
        leg: LegId,
        /// Characters `0`–`9`, `*`, `#`, `A`–`D`; `,` pauses for a second. At most 64.
        digits: String,
        /// Length of each event, in milliseconds.
        duration_ms: u16,
        /// Pause between two events, in milliseconds.
        gap_ms: u16,
    },
    /// Record what a leg says, as 16-bit PCM in a WAV file. Ends with the leg.
    Record {
        /// The leg.
        leg: LegId,
        /// File name, without a folder; the media server's configuration says in which folder.
        name: String,
    },
    /// Let legs of the session hear what these lists say, and no more than that: a leg without a list hears nobody. Takes the
    /// place of bridges and of the lists before. An empty order ends all mixing.
    Mix(Vec<Hearing>),
    /// Let nobody hear a leg, or let them again. Its keys are heard nevertheless.
    Mute {
        /// The leg.
        leg: LegId,
        /// Whether it is muted.
        muted: bool,
    },
    /// Begin a recording. Answered by `Recorded`, once.
    BeginRecording(Box<Recording>),
    /// Leave out what is said from now on, or take it in again.
    PauseRecording {
        /// Its name.
        name: String,
        /// Whether it pauses.
        paused: bool,
    },
    /// End a recording. `Recorded` follows if there was one.
    EndRecording {
        /// Its name.
        name: String,
    },
    /// Take a stored recording out of the store again. The session need not be there any more.
    ForgetRecording {
        /// Name with its extension, as `Recorded` told it.
        name: String,
    },
    /// Send a copy of a stream of the session to a leg's peer, in place of what was copied to it; keys are left out. It
    /// stands until the leg that is copied is gone, and costs it nothing. At most one leg gets a copy of each stream.
    Fork {
        /// Whose peer gets the copy.
        leg: LegId,
        /// Of which stream. None: of none any more.
        of: Option<Forked>,
    },
    /// Listen to a leg's peer. Answered by `Heard`, any number of times.
    Listen {
        /// The leg.
        leg: LegId,
        /// For what.
        listening: Box<Listening>,
    },
    /// Listen no longer.
    StopListening {
        /// The leg.
        leg: LegId,
    },
    /// Give the leg's ports back. Answered by `Released`. The session ends with its last leg.
    Release {
        /// The leg.
        leg: LegId,
    },
}

/// What a media server tells of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaEvent {
    /// The session.
    pub session: SessionId,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The leg has ports: this is what our description tells the peer. It comes again when the leg has moved (`Allocate`).
    /// Of a span, what the pod at its other end is told.
    Allocated {
        /// The leg.
        leg: LegId,
        /// Advertised address.
        address: IpAddr,
        /// Port for RTP; RTCP is on the next one.
        rtp_port: u16,
        /// Of the media server's certificate, whose key never leaves it. None: it has no DTLS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Box<Fingerprint>>,
    },
    /// The leg has no ports.
    Refused {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: Refusal,
    },
    /// A `Play` has ended.
    PlayEnded {
        /// The leg.
        leg: LegId,
        /// Which playing.
        play: PlayId,
        /// How.
        how: PlayEnd,
    },
    /// The leg's peer pressed a key. Once per key, at the first packet that proves it (RFC 4733 §2.5.1.2).
    Dtmf {
        /// The leg.
        leg: LegId,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
    },
    /// All digits of a `SendDtmf` are sent.
    DtmfSent {
        /// The leg.
        leg: LegId,
    },
    /// The first RTP packet of the leg's peer has come.
    FirstPacket {
        /// The leg.
        leg: LegId,
    },
    /// A recording is stored, or cannot be.
    Recorded(Box<Recorded>),
    /// Something was heard of a leg's peer.
    Heard {
        /// The leg.
        leg: LegId,
        /// Which listening.
        listening: ListenId,
        /// What.
        heard: Heard,
    },
    /// Neither RTP nor RTCP has come from the leg's peer for `silent_ms`, although it was to send, and both will be
    /// waited for no longer: once, until something comes again.
    Silent {
        /// The leg.
        leg: LegId,
        /// For how long, in milliseconds.
        silent_ms: u32,
        /// Whether anything ever came.
        heard_before: bool,
    },
    /// No keys were agreed on with the leg's peer by DTLS: nothing is sent to it, and nothing of it is heard.
    Unprotected {
        /// The leg.
        leg: LegId,
        /// Why.
        why: DtlsFailure,
    },
    /// How a leg was, five seconds by five seconds; before `Released`, if anything was received.
    Measured {
        /// The leg.
        leg: LegId,
        /// In the order of time. Of a leg that is up for long, each stands for more than five seconds: at most 240.
        series: Vec<Bucket>,
    },
    /// The leg is gone, and so is its recording if it had one.
    Released {
        /// The leg.
        leg: LegId,
        /// What was measured.
        quality: Box<Quality>,
    },
}

/// Why a leg got no ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Every pair of the range is in use.
    PortsExhausted,
    /// No network of that name.
    NoSuchNetwork,
    /// The media server takes no new sessions.
    Draining,
    /// The media server has no span to others: its VoiceCluster names no `media.spanNetwork`.
    NoSpans,
    /// A span of that name ends here already.
    SpanTaken,
    /// What a span was configured with are not two different keys of AEAD-GCM.
    SpanUnprotected,
}

/// How a playing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PlayEnd {
    /// All was played.
    Finished,
    /// Stopped, replaced, bridged or released.
    Stopped,
    /// The media server does not have one of the prompts.
    UnknownAudio,
}
