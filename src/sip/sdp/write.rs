//! Writing a description.

use std::{fmt::Write as _, net::IpAddr};

use model::media::{Direction, Fingerprint, MasterKey};

use super::{
    LocalMedia,
    codecs::{self, Payloads},
    crypto,
    dtls::Setup,
    parse::Media,
};

/// What RFC 4733 events we take: keys 0 to 9, *, #, A to D.
const EVENTS: &str = "0-15";

/// Octets that a description rarely goes beyond.
const USUAL: usize = 320;

/// What an audio stream says.
pub struct Audio<'a> {
    pub protocol: &'a str,
    pub payloads: Payloads,
    /// With tags.
    pub keys: Vec<(u32, &'a MasterKey)>,
    /// Ours, and who begins.
    pub dtls: Option<(&'a Fingerprint, Setup)>,
    pub rtcp_mux: bool,
    pub ptime_ms: u16,
    pub direction: Direction,
}

pub fn session(local: &LocalMedia) -> String {
    let address = address_of(local.address);
    let mut text = String::with_capacity(USUAL);
    let (id, version) = (local.session_id, local.version);
    let _infallible = write!(text, "v=0\r\no=- {id} {version} {address}\r\ns=-\r\nc={address}\r\nt=0 0\r\n");
    text
}

fn address_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("IN IP4 {ip}"),
        IpAddr::V6(ip) => format!("IN IP6 {ip}"),
    }
}

/// RFC 3264 §6: refused in its place, with a format of its own.
pub fn refused(text: &mut String, media: &Media<'_>) {
    let _infallible = write!(text, "m={} 0 {} {}\r\n", media.kind, media.protocol, media.formats_text);
}

pub fn audio(text: &mut String, port: u16, audio: &Audio<'_>) {
    let payloads = &audio.payloads;
    let numbers = payloads.codecs.iter().map(|(number, _)| *number);
    let beside = payloads.comfort_noise.into_iter().chain(payloads.events.iter().map(|(number, _)| *number));
    let _infallible = write!(text, "m=audio {port} {}", audio.protocol);
    for number in numbers.chain(beside) {
        let _infallible = write!(text, " {number}");
    }
    text.push_str("\r\n");
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _infallible = text.write_fmt(line);
        text.push_str("\r\n");
    };
    for (tag, key) in &audio.keys {
        line(format_args!("a=crypto:{}", crypto::written(*tag, key)));
    }
    if let Some((fingerprint, setup)) = audio.dtls {
        line(format_args!("a=fingerprint:{fingerprint}"));
        line(format_args!("a=setup:{}", setup.name()));
    }
    for (number, codec) in &payloads.codecs {
        let channels = match codecs::channels(*codec) {
            1 => String::new(),
            more => format!("/{more}"),
        };
        line(format_args!("a=rtpmap:{number} {}/{}{channels}", codec.name(), codec.clock_rate()));
        if let Some(fmtp) = codecs::fmtp(*codec) {
            line(format_args!("a=fmtp:{number} {fmtp}"));
        }
    }
    if let Some(number) = payloads.comfort_noise {
        line(format_args!("a=rtpmap:{number} CN/8000"));
    }
    for (number, rate) in &payloads.events {
        line(format_args!("a=rtpmap:{number} telephone-event/{rate}"));
        line(format_args!("a=fmtp:{number} {EVENTS}"));
    }
    if audio.rtcp_mux {
        line(format_args!("a=rtcp-mux"));
    }
    let direction = match audio.direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    };
    line(format_args!("a=ptime:{}", audio.ptime_ms));
    line(format_args!("a={direction}"));
}
