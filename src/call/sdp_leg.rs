//! One leg's side of offer and answer (RFC 3264): which ports it has, what was agreed, which version comes next.

use bytes::Bytes;
use model::{
    LegId,
    media::{Codec, Direction, MediaParameters},
};
use sip::sdp::{self, LocalMedia, SdpError};
use std::net::IpAddr;

/// Audio per packet that we wish for, in milliseconds (RFC 3551 §4.2).
const PTIME_MS: u16 = 20;

/// What phones of agents may use, best first.
pub const PHONE_CODECS: &[Codec] = &[Codec::Pcmu, Codec::Pcma];

/// Where a leg's media is.
#[derive(Debug)]
pub enum Ports {
    /// Not asked for.
    None,
    /// Asked for.
    Asked,
    /// There.
    Ready(LocalMedia),
}

/// The media side of a leg.
#[derive(Debug)]
pub struct MediaLeg {
    /// As the media server knows it.
    pub id: LegId,
    /// Ours.
    pub ports: Ports,
    /// What was agreed last.
    pub parameters: Option<MediaParameters>,
    codecs: Vec<Codec>,
}

impl MediaLeg {
    /// A leg without ports that may use `codecs`, best first.
    pub const fn new(id: LegId, codecs: Vec<Codec>) -> Self {
        Self { id, ports: Ports::None, parameters: None, codecs }
    }

    /// Whether the media server knows the leg.
    pub const fn is_known(&self) -> bool {
        !matches!(self.ports, Ports::None)
    }

    /// Whether audio can be heard.
    pub const fn is_agreed(&self) -> bool {
        self.parameters.is_some()
    }

    /// The media server gave ports.
    pub fn allocated(&mut self, address: IpAddr, rtp_port: u16, session_id: u64) {
        self.ports = Ports::Ready(LocalMedia {
            address,
            rtp_port,
            codecs: self.codecs.clone(),
            telephone_event: true,
            ptime_ms: PTIME_MS,
            direction: Direction::SendRecv,
            session_id,
            version: 1,
        });
    }

    /// Our offer. None without ports.
    pub fn offer(&mut self) -> Option<Bytes> {
        let Ports::Ready(local) = &mut self.ports else { return None };
        let offer = sdp::offer(local);
        local.version += 1;
        Some(offer)
    }

    /// Answers the peer's offer.
    pub fn answer(&mut self, offer: &[u8]) -> Result<Bytes, SdpError> {
        let Ports::Ready(local) = &mut self.ports else { return Err(SdpError::NoAudio) };
        let (answer, parameters) = sdp::answer(offer, local)?;
        local.version += 1;
        self.parameters = Some(parameters);
        Ok(answer)
    }

    /// Takes the peer's answer to our last offer.
    pub fn accept(&mut self, answer: &[u8]) -> Result<&MediaParameters, SdpError> {
        let Ports::Ready(local) = &self.ports else { return Err(SdpError::NoAudio) };
        let parameters = sdp::accept_answer(local, answer)?;
        Ok(self.parameters.insert(parameters))
    }
}
