//! Session descriptions (RFC 8866) and offer/answer for one audio stream (RFC 3264).
//!
//! The stream is the first audio one over RTP that its offerer did not refuse and that is as protected as we want it: by
//! keys in the description (SDES, RFC 4568) or not at all. All others of an offer are refused in their place. The answer
//! has one codec: the first of the offer that we have and can decode, else the first that we pass on. With it come
//! telephone-event (RFC 4733) at the codec's clock rate and comfort noise (RFC 3389) if both sides have them, and RTCP on
//! RTP's port (RFC 5761) if the offer has it so. Numbers of payload types are those that the peer gave, also in our later
//! offers (RFC 3264 §8.3.2).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use model::{
    media::{Codec, Direction, MasterKey, MediaParameters, Srtp},
    trunk::SrtpUse,
};

mod codecs;
mod crypto;
mod keys;
mod parse;
mod write;

pub use keys::KeySeed;

use codecs::Payloads;
use crypto::Agreed;
use parse::{Media, Session};

/// Packet lengths that are sent, in milliseconds.
const PTIME_MS: std::ops::RangeInclusive<u16> = 10..=60;
/// Packet length without `a=ptime` (RFC 3551 §4.2), in milliseconds.
const PTIME_DEFAULT_MS: u16 = 20;

/// Our side of one audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Advertised address.
    pub address: IpAddr,
    /// Port for RTP; RTCP is on the next one.
    pub rtp_port: u16,
    /// What we can code and decode or pass on, best first. Not empty.
    pub codecs: Vec<Codec>,
    /// Whether RFC 4733 events are offered and taken.
    pub telephone_event: bool,
    /// Whether comfort noise is taken.
    pub comfort_noise: bool,
    /// Audio per packet that we wish for, in milliseconds.
    pub ptime_ms: u16,
    /// Which way we want audio to flow.
    pub direction: Direction,
    /// Whether the peer's keys are taken, and must be there.
    pub srtp: SrtpUse,
    /// Whether our offers have keys; an offer has them for all suites, or for none.
    pub offers_keys: bool,
    /// What we protect with, one for each suite, best first. Empty: with nothing.
    pub keys: Vec<MasterKey>,
    /// What was agreed last: its payload types keep their numbers.
    pub agreed: Option<Numbers>,
    /// Session id of the `o=` line. The same for the life of a leg.
    pub session_id: u64,
    /// Version of the `o=` line. One more for each description that differs from the last.
    pub version: u64,
}

/// Numbers of payload types that we receive with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The codec and its number.
    pub codec: (Codec, u8),
    /// The number of telephone-event at its clock rate.
    pub telephone_event: Option<u8>,
}

impl LocalMedia {
    /// With events, in packets of 20 ms, both ways, without keys.
    #[must_use]
    pub const fn new(address: IpAddr, rtp_port: u16, codecs: Vec<Codec>, session_id: u64) -> Self {
        Self {
            address,
            rtp_port,
            codecs,
            telephone_event: true,
            comfort_noise: false,
            ptime_ms: PTIME_DEFAULT_MS,
            direction: Direction::SendRecv,
            srtp: SrtpUse::Disabled,
            offers_keys: false,
            keys: Vec::new(),
            agreed: None,
            session_id,
            version: 1,
        }
    }
}

impl Numbers {
    /// Those of what was agreed.
    #[must_use]
    pub const fn of(parameters: &MediaParameters) -> Self {
        Self {
            codec: (parameters.codec, parameters.receive_payload_type),
            telephone_event: parameters.receive_telephone_event,
        }
    }
}

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Not a description (RFC 8866 §9).
    #[error("line {line} of the session description {what}")]
    Malformed {
        /// From 1 up.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// None of our codecs. Answer 488.
    #[error("the session description has no codec that we have")]
    NoCommonCodec,
    /// No audio stream over RTP that is not refused. Answer 488.
    #[error("the session description has no audio stream over RTP")]
    NoAudio,
    /// Fax, and no audio. Answer 488.
    #[error("the session description has fax (T.38) and no audio, and fax is not passed on")]
    FaxAlone,
    /// Audio that SRTP does not protect, where it must be. Answer 488.
    #[error(
        "the session description has no `a=crypto` with a suite and parameters that we know, and SRTP is required"
    )]
    NotProtected,
    /// Audio that is protected in a way that we do not have, or must not use. Answer 488.
    #[error("the session description has SRTP alone, without an `a=crypto` that may be used")]
    ProtectedAlone,
}

/// Writes our offer.
#[must_use]
pub fn offer(local: &LocalMedia) -> Bytes {
    let payloads = Payloads::offered(local);
    let mut text = write::session(local);
    let keys = if local.offers_keys { local.keys.as_slice() } else { &[] };
    let protocol = if keys.is_empty() { "RTP/AVP" } else { "RTP/SAVP" };
    let keys = keys.iter().zip(1_u32..).map(|(key, tag)| (tag, key)).collect();
    let ptime_ms = clamp_ptime(Some(local.ptime_ms.into()), None);
    write::audio(
        &mut text,
        local.rtp_port,
        &write::Audio { protocol, payloads, keys, rtcp_mux: false, ptime_ms, direction: local.direction },
    );
    text.into()
}

/// Answers an offer; the parameters are from our point of view.
///
/// # Errors
/// [`SdpError::Malformed`] when the offer is no description, the others when there is nothing to agree on.
pub fn answer(offer: &[u8], local: &LocalMedia) -> Result<(Bytes, MediaParameters), SdpError> {
    let session = Session::parse(offer)?;
    let (place, media, agreed) = audio_of(&session, local)?;
    let chosen = codecs::choose(media, local).ok_or(SdpError::NoCommonCodec)?;
    let direction = answered(media.direction, local.direction);
    let ptime_ms = clamp_ptime(media.ptime_ms, media.maxptime_ms);
    let mut text = write::session(local);
    for (index, other) in session.media.iter().enumerate() {
        if index == place {
            let audio = write::Audio {
                protocol: media.protocol,
                payloads: chosen.payloads(),
                keys: agreed.iter().map(|agreed| (agreed.tag, agreed.ours)).collect(),
                rtcp_mux: media.rtcp_mux,
                ptime_ms,
                direction,
            };
            write::audio(&mut text, local.rtp_port, &audio);
        } else {
            write::refused(&mut text, other);
        }
    }
    let parameters = MediaParameters {
        codec: chosen.codec,
        send_payload_type: chosen.number,
        receive_payload_type: chosen.number,
        send_telephone_event: chosen.telephone_event,
        receive_telephone_event: chosen.telephone_event,
        remote_rtp: media.rtp(),
        remote_rtcp: media.rtcp(media.rtcp_mux),
        ptime_ms,
        direction,
        comfort_noise: chosen.comfort_noise,
        rtcp_mux: media.rtcp_mux,
        srtp: agreed.map(Agreed::into_srtp),
        opus: chosen.opus,
    };
    Ok((text.into(), parameters))
}

/// Reads the answer to the offer that `local` made.
///
/// # Errors
/// [`SdpError::Malformed`] when it is no description, the others when nothing was agreed on.
pub fn accept_answer(local: &LocalMedia, answer: &[u8]) -> Result<MediaParameters, SdpError> {
    let session = Session::parse(answer)?;
    let media = session.media.iter().find(|media| media.is_usable()).ok_or_else(|| nothing_in(&session))?;
    let agreed = crypto::accepted(media, local)?;
    let chosen = codecs::choose(media, local).ok_or(SdpError::NoCommonCodec)?;
    let ours = Payloads::offered(local);
    Ok(MediaParameters {
        codec: chosen.codec,
        send_payload_type: chosen.number,
        receive_payload_type: ours.number_of(chosen.codec),
        send_telephone_event: chosen.telephone_event,
        receive_telephone_event: chosen
            .telephone_event
            .and_then(|_| ours.event_at(chosen.codec.clock_rate())),
        remote_rtp: media.rtp(),
        remote_rtcp: media.rtcp(false),
        ptime_ms: clamp_ptime(media.ptime_ms, media.maxptime_ms),
        direction: answered(media.direction, local.direction),
        comfort_noise: None,
        rtcp_mux: false,
        srtp: agreed.map(Agreed::into_srtp),
        opus: chosen.opus,
    })
}

/// The stream of an offer that is answered, and its keys.
fn audio_of<'s, 'a, 'l>(
    session: &'s Session<'a>,
    local: &'l LocalMedia,
) -> Result<(usize, &'s Media<'a>, Option<Agreed<'l>>), SdpError> {
    let usable = || session.media.iter().enumerate().filter(|(_, media)| media.is_usable());
    if usable().next().is_none() {
        return Err(nothing_in(session));
    }
    let protected =
        usable().find_map(|(place, media)| Some((place, media, Some(crypto::chosen(media, local)?))));
    if let Some(found) = protected {
        return Ok(found);
    }
    if local.srtp == SrtpUse::Required {
        return Err(SdpError::NotProtected);
    }
    let (place, media) = usable().find(|(_, media)| !media.is_secure()).ok_or(SdpError::ProtectedAlone)?;
    Ok((place, media, None))
}

fn nothing_in(session: &Session<'_>) -> SdpError {
    let is_fax = |media: &Media<'_>| {
        media.kind == "image" && media.port != 0 && media.formats_text.to_ascii_lowercase().contains("t38")
    };
    if session.media.iter().any(is_fax) { SdpError::FaxAlone } else { SdpError::NoAudio }
}

/// Our direction, given the one that the peer wrote from its point of view and what we want (RFC 3264 §6.1).
const fn answered(theirs: Direction, wanted: Direction) -> Direction {
    match (theirs.receives() && wanted.sends(), theirs.sends() && wanted.receives()) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

/// To a multiple of 10 that we send, and that the peer takes.
fn clamp_ptime(wanted_ms: Option<u32>, most_ms: Option<u32>) -> u16 {
    let figure = |ms: Option<u32>| ms.and_then(|ms| u16::try_from(ms).ok()).filter(|ms| *ms > 0);
    let wanted = figure(wanted_ms).unwrap_or(PTIME_DEFAULT_MS).min(figure(most_ms).unwrap_or(u16::MAX));
    (wanted / 10 * 10).clamp(*PTIME_MS.start(), *PTIME_MS.end())
}

impl Media<'_> {
    /// Whether it is audio over RTP, and not refused.
    fn is_usable(&self) -> bool {
        self.kind == "audio"
            && self.port != 0
            && (self.is_secure() || matches!(self.protocol, "RTP/AVP" | "RTP/AVPF"))
    }

    fn is_secure(&self) -> bool {
        matches!(self.protocol, "RTP/SAVP" | "RTP/SAVPF")
    }

    fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    fn rtcp(&self, muxed: bool) -> SocketAddr {
        let (port, address) = self.rtcp;
        let port = if port == 0 { self.port.saturating_add(1) } else { port };
        if muxed { self.rtp() } else { SocketAddr::new(address.unwrap_or(self.address), port) }
    }
}

#[cfg(test)]
mod tests;
