//! Session descriptions (RFC 8866) and offer/answer for one audio stream (RFC 3264).

use std::net::IpAddr;

use bytes::Bytes;
use model::media::{Codec, Direction, MediaParameters};

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
pub fn offer(_local: &LocalMedia) -> Bytes {
    Bytes::new()
}

/// Answers an offer; the parameters are from our point of view.
///
/// # Errors
/// When there is nothing to agree on.
pub fn answer(_offer: &[u8], _local: &LocalMedia) -> Result<(Bytes, MediaParameters), SdpError> {
    Err(SdpError::NoAudio)
}

/// Reads the answer to the offer that `local` made.
///
/// # Errors
/// When there is nothing to agree on.
pub fn accept_answer(_local: &LocalMedia, _answer: &[u8]) -> Result<MediaParameters, SdpError> {
    Err(SdpError::NoAudio)
}
