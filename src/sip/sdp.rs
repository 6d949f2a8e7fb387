//! Session descriptions (RFC 8866) and offer/answer for one audio stream (RFC 3264).
//!
//! The stream is the first audio one over RTP that its offerer did not refuse and that is as protected as we want it: by
//! keys that are agreed on beside the audio (DTLS-SRTP, RFC 5763), by keys in the description (SDES, RFC 4568) or not at all. All others of an offer are refused in their place. The answer
//! has one codec: the first of the offer that we have and can decode, else the first that we pass on. With it come
//! telephone-event (RFC 4733) at the codec's clock rate and comfort noise (RFC 3389) if both sides have them, and RTCP on
//! RTP's port (RFC 5761) if the offer has it so, as ours with DTLS have: there is one association, and it is of RTP's port. Numbers of payload types are those that the peer gave, also in our later
//! offers (RFC 3264 §8.3.2).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use model::{
    media::{Codec, Direction, Dtls, MasterKey, MediaParameters, Srtp},
    trunk::{SrtpKeying, SrtpUse},
};

mod codecs;
mod crypto;
mod dtls;
mod keys;
mod parse;
mod write;

pub use dtls::LocalDtls;
pub use keys::KeySeed;

use codecs::Payloads;
use dtls::Setup;
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
    /// Whether our offers are protected; an offer has keys for all suites, or for none.
    pub offers_keys: bool,
    /// In which of the ways that we have. `Both` is possible where protection is preferred alone; where it is required, DTLS.
    pub offers: SrtpKeying,
    /// What DTLS is done with. None: it is not.
    pub dtls: Option<LocalDtls>,
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
            offers: SrtpKeying::Both,
            dtls: None,
            keys: Vec::new(),
            agreed: None,
            session_id,
            version: 1,
        }
    }

    /// Keys and DTLS of our offers. No RFC lets an offer have both but on a profile that protects nothing (RFC 8643).
    fn offered(&self) -> (&[MasterKey], Option<&LocalDtls>) {
        let (mut keys, mut dtls) = (self.keys.as_slice(), self.dtls.as_ref());
        if !self.offers_keys || self.offers == SrtpKeying::Sdes && !keys.is_empty() {
            dtls = None;
        }
        let alone = self.offers == SrtpKeying::Dtls || self.srtp == SrtpUse::Required;
        if !self.offers_keys || dtls.is_some() && alone {
            keys = &[];
        }
        (keys, dtls)
    }

    /// Whether our offers would be protected now.
    #[must_use]
    pub fn protects_offers(&self) -> bool {
        let (keys, dtls) = self.offered();
        !keys.is_empty() || dtls.is_some()
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
        "the session description has neither an `a=crypto` with a suite and parameters nor an `a=fingerprint` and `a=setup` that we know and may use, and SRTP is required"
    )]
    NotProtected,
    /// Audio that is protected in a way that we do not have, or must not use. Answer 488.
    #[error(
        "the session description has SRTP alone, without an `a=crypto` or an `a=fingerprint` that may be used"
    )]
    ProtectedAlone,
}

/// Writes our offer.
#[must_use]
pub fn offer(local: &LocalMedia) -> Bytes {
    let payloads = Payloads::offered(local);
    let mut text = write::session(local);
    let (keys, dtls) = local.offered();
    let protocol = match (keys.is_empty(), dtls) {
        (true, Some(_)) => "UDP/TLS/RTP/SAVP",
        (false, None) => "RTP/SAVP",
        (true, None) | (false, Some(_)) => "RTP/AVP",
    };
    let keys = keys.iter().zip(1_u32..).map(|(key, tag)| (tag, key)).collect();
    let (dtls, rtcp_mux) = (dtls.map(|dtls| (&dtls.fingerprint, Setup::Actpass)), dtls.is_some());
    let ptime_ms = clamp_ptime(Some(local.ptime_ms.into()), None);
    write::audio(
        &mut text,
        local.rtp_port,
        &write::Audio { protocol, payloads, keys, dtls, rtcp_mux, ptime_ms, direction: local.direction },
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
                keys: agreed.iter().filter_map(Agreed::key).collect(),
                dtls: agreed.as_ref().and_then(|agreed| agreed.dtls(local)),
                rtcp_mux: media.rtcp_mux,
                ptime_ms,
                direction,
            };
            write::audio(&mut text, local.rtp_port, &audio);
        } else {
            write::refused(&mut text, other);
        }
    }
    Ok((text.into(), answering(local, media, &chosen, agreed)))
}

/// What [`answer`] would agree on, without the answer.
///
/// # Errors
/// Those of [`answer`].
pub fn could_answer(offer: &[u8], local: &LocalMedia) -> Result<MediaParameters, SdpError> {
    let session = Session::parse(offer)?;
    let (_, media, agreed) = audio_of(&session, local)?;
    let chosen = codecs::choose(media, local).ok_or(SdpError::NoCommonCodec)?;
    Ok(answering(local, media, &chosen, agreed))
}

fn answering(
    local: &LocalMedia,
    media: &Media<'_>,
    chosen: &codecs::Chosen,
    agreed: Option<Agreed>,
) -> MediaParameters {
    MediaParameters {
        codec: chosen.codec,
        send_payload_type: chosen.number,
        receive_payload_type: chosen.number,
        send_telephone_event: chosen.telephone_event,
        receive_telephone_event: chosen.telephone_event,
        remote_rtp: media.rtp(),
        remote_rtcp: media.rtcp(media.rtcp_mux),
        ptime_ms: clamp_ptime(media.ptime_ms, media.maxptime_ms),
        direction: answered(media.direction, local.direction),
        comfort_noise: chosen.comfort_noise,
        rtcp_mux: media.rtcp_mux,
        srtp: agreed.map(Agreed::into_srtp),
        opus: chosen.opus,
        peer_first: false,
    }
}

/// Reads the answer to the offer that `local` made.
///
/// # Errors
/// [`SdpError::Malformed`] when it is no description, the others when nothing was agreed on.
pub fn accept_answer(local: &LocalMedia, answer: &[u8]) -> Result<MediaParameters, SdpError> {
    let session = Session::parse(answer)?;
    let media = session.media.iter().find(|media| media.is_usable()).ok_or_else(|| nothing_in(&session))?;
    let agreed = accepted(media, local)?;
    let rtcp_mux = media.rtcp_mux && local.offered().1.is_some();
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
        remote_rtcp: media.rtcp(rtcp_mux),
        ptime_ms: clamp_ptime(media.ptime_ms, media.maxptime_ms),
        direction: answered(media.direction, local.direction),
        comfort_noise: None,
        rtcp_mux,
        srtp: agreed.map(Agreed::into_srtp),
        opus: chosen.opus,
        peer_first: false,
    })
}

/// How a stream is protected.
#[derive(Debug)]
enum Agreed {
    Sdes(crypto::Agreed),
    Dtls(Dtls),
}

impl Agreed {
    const fn key(&self) -> Option<(u32, &MasterKey)> {
        match self {
            Self::Sdes(agreed) => Some((agreed.tag, &agreed.ours)),
            Self::Dtls(_) => None,
        }
    }

    fn dtls<'l>(&self, local: &'l LocalMedia) -> Option<(&'l model::media::Fingerprint, Setup)> {
        match (self, &local.dtls) {
            (Self::Dtls(agreed), Some(ours)) => Some((&ours.fingerprint, Setup::of(agreed.role))),
            _ => None,
        }
    }

    fn into_srtp(self) -> Box<Srtp> {
        Box::new(match self {
            Self::Sdes(agreed) => agreed.into_srtp(),
            Self::Dtls(dtls) => Srtp::Dtls(dtls),
        })
    }
}

/// What protects an offered stream, if it can be protected: DTLS rather than keys that others may have read.
fn protected(media: &Media<'_>, local: &LocalMedia) -> Option<Agreed> {
    let dtls = dtls::chosen(media, local).map(Agreed::Dtls);
    dtls.or_else(|| crypto::chosen(media, local).map(Agreed::Sdes))
}

/// What protects a stream by the answer to our offer. None: nothing does, and need not.
fn accepted(media: &Media<'_>, local: &LocalMedia) -> Result<Option<Agreed>, SdpError> {
    let (keys, dtls) = local.offered();
    let agreed = dtls.and_then(|_| dtls::accepted(media).map(Agreed::Dtls));
    let agreed = agreed.or_else(|| crypto::accepted(media, keys).map(Agreed::Sdes));
    match (agreed, media.is_secure(), local.srtp) {
        (Some(agreed), ..) => Ok(Some(agreed)),
        (None, true, _) if !local.protects_offers() => Err(SdpError::ProtectedAlone),
        // Some answer in plain what was offered protected, and mean it.
        (None, false, SrtpUse::Preferred | SrtpUse::Disabled) => Ok(None),
        (None, ..) => Err(SdpError::NotProtected),
    }
}

/// The stream of an offer that is answered, and what protects it.
fn audio_of<'s, 'a>(
    session: &'s Session<'a>,
    local: &LocalMedia,
) -> Result<(usize, &'s Media<'a>, Option<Agreed>), SdpError> {
    let usable = || session.media.iter().enumerate().filter(|(_, media)| media.is_usable());
    if usable().next().is_none() {
        return Err(nothing_in(session));
    }
    let protected = usable().find_map(|(place, media)| Some((place, media, Some(protected(media, local)?))));
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
        matches!(self.protocol, "RTP/SAVP" | "RTP/SAVPF") || self.is_dtls()
    }

    fn is_dtls(&self) -> bool {
        matches!(self.protocol, "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF")
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
