//! Session descriptions (RFC 8866) and offer/answer for one audio stream (RFC 3264).
//!
//! The stream is the first audio one over RTP/AVP that its offerer did not refuse. All others of an offer are
//! refused in their place. The answer has one codec, the first of the offer that we have, and telephone-event
//! (RFC 4733) at 8,000 Hz if both sides have it.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use model::media::{Codec, Direction, MediaParameters};

mod parse;

use parse::{Format, Media, Session};

/// Payload type of telephone-event in our offers.
const TELEPHONE_EVENT: u8 = 101;
/// What RFC 4733 events we take: keys 0 to 9, *, #, A to D.
const EVENTS: &str = "0-15";
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
    /// What we can code and decode, best first. Not empty.
    pub codecs: Vec<Codec>,
    /// Whether RFC 4733 events are offered and taken.
    pub telephone_event: bool,
    /// Audio per packet that we wish for, in milliseconds.
    pub ptime_ms: u16,
    /// Which way we want audio to flow.
    pub direction: Direction,
    /// Session id of the `o=` line. The same for the life of a leg.
    pub session_id: u64,
    /// Version of the `o=` line. One more for each description that differs from the last.
    pub version: u64,
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
    /// No audio stream over RTP/AVP that is not refused. Answer 488.
    #[error("the session description has no audio stream over RTP/AVP")]
    NoAudio,
}

/// Writes our offer.
#[must_use]
pub fn offer(local: &LocalMedia) -> Bytes {
    let formats: Vec<_> = local.codecs.iter().map(|codec| (codec.payload_type(), *codec)).collect();
    let event = local.telephone_event.then_some(TELEPHONE_EVENT);
    let mut text = session_lines(local);
    write_audio(&mut text, local, &formats, event, local.direction, ptime_of(local));
    text.into()
}

/// Answers an offer; the parameters are from our point of view.
///
/// # Errors
/// [`SdpError::Malformed`] when the offer is no description, the others when there is nothing to agree on.
pub fn answer(offer: &[u8], local: &LocalMedia) -> Result<(Bytes, MediaParameters), SdpError> {
    let session = Session::parse(offer)?;
    let (place, media) = audio_of(&session)?;
    let (format, codec) = first_common(media, local)?;
    let event = event_of(media).filter(|_| local.telephone_event);
    let direction = answered(media.direction, local.direction);
    let ptime_ms = clamp_ptime(media.ptime_ms);
    let mut text = session_lines(local);
    for (index, other) in session.media.iter().enumerate() {
        if index == place {
            write_audio(&mut text, local, &[(format, codec)], event, direction, ptime_ms);
        } else {
            // RFC 3264 §6: refused in its place, with a format of its own.
            let _infallible =
                write!(text, "m={} 0 {} {}\r\n", other.kind, other.protocol, other.formats_text);
        }
    }
    let parameters = MediaParameters {
        codec,
        send_payload_type: format,
        receive_payload_type: format,
        send_telephone_event: event,
        receive_telephone_event: event,
        remote_rtp: media.rtp(),
        remote_rtcp: media.rtcp(),
        ptime_ms,
        direction,
        comfort_noise: None,
        rtcp_mux: false,
        srtp: None,
        opus: None,
    };
    Ok((text.into(), parameters))
}

/// Reads the answer to the offer that `local` made.
///
/// # Errors
/// [`SdpError::Malformed`] when it is no description, the others when nothing was agreed on.
pub fn accept_answer(local: &LocalMedia, answer: &[u8]) -> Result<MediaParameters, SdpError> {
    let session = Session::parse(answer)?;
    let (_, media) = audio_of(&session)?;
    let (format, codec) = first_common(media, local)?;
    let event = event_of(media).filter(|_| local.telephone_event);
    Ok(MediaParameters {
        codec,
        send_payload_type: format,
        receive_payload_type: codec.payload_type(),
        send_telephone_event: event,
        receive_telephone_event: event.map(|_| TELEPHONE_EVENT),
        remote_rtp: media.rtp(),
        remote_rtcp: media.rtcp(),
        ptime_ms: clamp_ptime(media.ptime_ms),
        direction: answered(media.direction, local.direction),
        comfort_noise: None,
        rtcp_mux: false,
        srtp: None,
        opus: None,
    })
}

fn audio_of<'s, 'a>(session: &'s Session<'a>) -> Result<(usize, &'s Media<'a>), SdpError> {
    let mut all = session.media.iter().enumerate();
    let usable = |media: &Media<'_>| media.kind == "audio" && media.protocol == "RTP/AVP" && media.port != 0;
    all.find(|(_, media)| usable(media)).ok_or(SdpError::NoAudio)
}

/// The first format of the peer's that is a codec of ours.
fn first_common(media: &Media<'_>, local: &LocalMedia) -> Result<(u8, Codec), SdpError> {
    let codec_of = |format: &Format<'_>| {
        local.codecs.iter().copied().find(|codec| match format.name {
            Some(name) => {
                name.eq_ignore_ascii_case(codec.name())
                    && format.clock_rate == codec.clock_rate()
                    && format.channels == 1
            }
            None => Some(format.payload_type) == codec.static_payload_type(),
        })
    };
    let mut common = media.formats.iter().filter_map(|format| Some((format.payload_type, codec_of(format)?)));
    common.next().ok_or(SdpError::NoCommonCodec)
}

fn event_of(media: &Media<'_>) -> Option<u8> {
    let is_event = |format: &&Format<'_>| {
        format.name.is_some_and(|name| name.eq_ignore_ascii_case("telephone-event"))
            && format.clock_rate == 8_000
    };
    media.formats.iter().find(is_event).map(|format| format.payload_type)
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

fn ptime_of(local: &LocalMedia) -> u16 {
    clamp_ptime(Some(local.ptime_ms.into()))
}

/// To a multiple of 10 that we send.
fn clamp_ptime(wanted_ms: Option<u32>) -> u16 {
    let wanted =
        wanted_ms.and_then(|ms| u16::try_from(ms).ok()).filter(|ms| *ms > 0).unwrap_or(PTIME_DEFAULT_MS);
    (wanted / 10 * 10).clamp(*PTIME_MS.start(), *PTIME_MS.end())
}

fn session_lines(local: &LocalMedia) -> String {
    let address = address_of(local.address);
    format!("v=0\r\no=- {} {} {address}\r\ns=-\r\nc={address}\r\nt=0 0\r\n", local.session_id, local.version)
}

fn address_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("IN IP4 {ip}"),
        IpAddr::V6(ip) => format!("IN IP6 {ip}"),
    }
}

fn write_audio(
    text: &mut String,
    local: &LocalMedia,
    formats: &[(u8, Codec)],
    event: Option<u8>,
    direction: Direction,
    ptime_ms: u16,
) {
    let direction = match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    };
    let numbers = formats.iter().map(|(number, _)| *number).chain(event);
    let list = numbers.map(|number| format!(" {number}")).collect::<String>();
    let _infallible = write!(text, "m=audio {} RTP/AVP{list}\r\n", local.rtp_port);
    for (number, codec) in formats {
        let _infallible = write!(text, "a=rtpmap:{number} {}/{}\r\n", codec.name(), codec.clock_rate());
    }
    if let Some(number) = event {
        let _infallible =
            write!(text, "a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} {EVENTS}\r\n");
    }
    let _infallible = write!(text, "a=ptime:{ptime_ms}\r\na={direction}\r\n");
}

impl Media<'_> {
    fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    fn rtcp(&self) -> SocketAddr {
        let (port, address) = self.rtcp;
        let port = if port == 0 { self.port.saturating_add(1) } else { port };
        SocketAddr::new(address.unwrap_or(self.address), port)
    }
}

#[cfg(test)]
mod tests;
