//! Reading a description: strict about what is used, lenient about the rest.
//!
//! `v=`, `c=`, `m=`, rtpmap, fmtp, ptime, maxptime, rtcp, rtcp-mux, crypto, fingerprint,
//! setup and the direction are read. Unknown attributes and line types are skipped.
//! A bare LF ends a line too, as RFC 8866 §5 asks.

use std::net::{IpAddr, Ipv4Addr};

use model::media::{Direction, Fingerprint};

use super::{
    SdpError,
    crypto::{self, Crypto},
    dtls::{self, Setup},
};
use crate::lex::text;

/// Most lines of a description.
const LINES_MAX: usize = 2_048;
/// Most streams that are answered.
const MEDIA_MAX: usize = 32;
/// Most formats of a stream that are looked at.
const FORMATS_MAX: usize = 64;
/// Most keys of a stream that are looked at.
const CRYPTO_MAX: usize = 16;

/// What is used of a description.
#[derive(Debug)]
pub struct Session<'a> {
    pub media: Vec<Media<'a>>,
}

/// One `m=` section.
#[derive(Debug)]
pub struct Media<'a> {
    pub kind: &'a str,
    pub port: u16,
    pub protocol: &'a str,
    pub formats_text: &'a str,
    /// Of a stream over RTP.
    pub formats: Vec<Format<'a>>,
    pub address: IpAddr,
    /// From the point of view of who wrote it; held (`c=0.0.0.0`) streams do not receive.
    pub direction: Direction,
    pub ptime_ms: Option<u32>,
    /// Port (0: not given) and address of `a=rtcp` (RFC 3605).
    pub rtcp: (u16, Option<IpAddr>),
    pub maxptime_ms: Option<u32>,
    pub rtcp_mux: bool,
    /// Those that can be used.
    pub crypto: Vec<Crypto>,
    /// The strongest of the kinds that we know.
    pub fingerprint: Option<Fingerprint>,
    pub setup: Option<Setup>,
}

/// A payload type and its rtpmap.
#[derive(Debug)]
pub struct Format<'a> {
    pub payload_type: u8,
    pub name: Option<&'a str>,
    pub clock_rate: u32,
    pub channels: u8,
    pub fmtp: Option<&'a str>,
}

/// What stands before the first `m=` and holds for all.
#[derive(Debug, Default)]
struct Common {
    address: Option<IpAddr>,
    direction: Option<Direction>,
    ptime_ms: Option<u32>,
    fingerprint: Option<Fingerprint>,
    setup: Option<Setup>,
}

type Fault = &'static str;

impl<'a> Session<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SdpError> {
        let mut common = Common::default();
        let mut open: Vec<(Media<'a>, Common, usize)> = Vec::new();
        let mut lines = 0;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let at = |what| SdpError::Malformed { line: number + 1, what };
            if line.is_empty() {
                continue;
            }
            lines += 1;
            if lines > LINES_MAX {
                return Err(at("is one too many"));
            }
            let (kind, value) = split_line(line).map_err(at)?;
            let full = open.len() == MEDIA_MAX;
            match (kind, open.last_mut()) {
                (b'v', _) if lines != 1 || value != b"0" => return Err(at("must be v=0, once and first")),
                (b'v', _) => {}
                _ if lines == 1 => return Err(at("must be v=0")),
                (b'm', _) if full => return Err(at("is one stream too many")),
                (b'm', _) => open.push((stream(value).map_err(at)?, Common::default(), number + 1)),
                (b'c', last) => {
                    let scope = last.map_or(&mut common, |(_, own, _)| own);
                    scope.address = Some(connection(value).map_err(at)?);
                }
                (b'a', None) => shared_attribute(&mut common, value).map_err(at)?,
                (b'a', Some((media, own, _))) => attribute(media, own, value).map_err(at)?,
                _ => {}
            }
        }
        if lines == 0 {
            return Err(SdpError::Malformed { line: 1, what: "is missing" });
        }
        let media = open.into_iter().map(|(media, own, line)| close(media, &own, &common, line));
        media.collect::<Result<_, _>>().map(|media| Self { media })
    }
}

fn split_line(line: &[u8]) -> Result<(u8, &[u8]), Fault> {
    match line {
        [kind, b'=', value @ ..] if kind.is_ascii_lowercase() => Ok((*kind, value)),
        _ => Err("must be a letter, = and a value"),
    }
}

/// `m=audio 5004/2 RTP/AVP 0 8`
fn stream(value: &[u8]) -> Result<Media<'_>, Fault> {
    let line = text(value).ok_or("is no text")?.trim_end();
    let mut words = line.splitn(4, ' ');
    let (kind, port) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (protocol, formats_text) = (words.next().unwrap_or(""), words.next().unwrap_or("").trim());
    let port = port.split('/').next().and_then(number::<u16>).ok_or("must have a port from 0 to 65535")?;
    if kind.is_empty() || protocol.is_empty() || formats_text.is_empty() {
        return Err("must have a kind, a port, a protocol and formats");
    }
    let formats = if protocol.starts_with("RTP/") || protocol.starts_with("UDP/TLS/RTP/") {
        formats(formats_text)?
    } else {
        Vec::new()
    };
    Ok(Media {
        kind,
        port,
        protocol,
        formats_text,
        formats,
        address: Ipv4Addr::UNSPECIFIED.into(),
        direction: Direction::SendRecv,
        ptime_ms: None,
        rtcp: (0, None),
        maxptime_ms: None,
        rtcp_mux: false,
        crypto: Vec::new(),
        fingerprint: None,
        setup: None,
    })
}

fn formats(list: &str) -> Result<Vec<Format<'_>>, Fault> {
    let numbers = list.split_ascii_whitespace().map(|word| number::<u8>(word).filter(|number| *number < 128));
    let formats = numbers.take(FORMATS_MAX).map(|number| {
        let payload_type = number.ok_or("must have payload types from 0 to 127")?;
        Ok(Format { payload_type, name: None, clock_rate: 0, channels: 1, fmtp: None })
    });
    formats.collect()
}

/// `c=IN IP4 192.0.2.1/127`; a name is not looked up, and so no address.
fn connection(value: &[u8]) -> Result<IpAddr, Fault> {
    let line = text(value).ok_or("is no text")?;
    let mut words = line.split_ascii_whitespace();
    let (network, family) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let address = words.next().and_then(|word| word.split('/').next()).unwrap_or("");
    let address = match (network, family) {
        ("IN", "IP4") => address.parse().ok().map(IpAddr::V4),
        ("IN", "IP6") => address.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    address.ok_or("must be IN, IP4 or IP6 and an address")
}

fn shared_attribute(common: &mut Common, value: &[u8]) -> Result<(), Fault> {
    let Some(line) = text(value) else { return Ok(()) };
    if let Some(direction) = direction(line) {
        common.direction = Some(direction);
    } else if let Some(ptime) = line.strip_prefix("ptime:") {
        common.ptime_ms = ptime_ms(ptime)?;
    } else if let Some(fingerprint) = line.strip_prefix("fingerprint:") {
        let known = common.fingerprint.take();
        common.fingerprint = known.into_iter().chain(dtls::fingerprint(fingerprint)).max_by_key(|it| it.hash);
    } else if let Some(setup) = line.strip_prefix("setup:") {
        common.setup = Some(Setup::parse(setup));
    }
    Ok(())
}

fn attribute<'a>(media: &mut Media<'a>, own: &mut Common, value: &'a [u8]) -> Result<(), Fault> {
    let Some(line) = text(value) else { return Ok(()) };
    if let Some(map) = line.strip_prefix("rtpmap:") {
        return if media.formats.is_empty() { Ok(()) } else { rtpmap(media, map) };
    }
    if let Some(parameters) = line.strip_prefix("fmtp:") {
        fmtp(media, parameters);
        return Ok(());
    }
    if let Some(keys) = line.strip_prefix("crypto:") {
        media.crypto.extend(crypto::parse(keys).filter(|_| media.crypto.len() < CRYPTO_MAX));
        return Ok(());
    }
    if let Some(longest) = line.strip_prefix("maxptime:") {
        media.maxptime_ms = ptime_ms(longest)?;
        return Ok(());
    }
    if line.trim() == "rtcp-mux" {
        media.rtcp_mux = true;
        return Ok(());
    }
    if let Some(rtcp) = line.strip_prefix("rtcp:") {
        let mut words = rtcp.splitn(2, ' ');
        media.rtcp.0 = words.next().and_then(number).ok_or("must have a port")?;
        media.rtcp.1 = words.next().map(|rest| connection(rest.as_bytes())).transpose()?;
        return Ok(());
    }
    shared_attribute(own, value)
}

/// `101 telephone-event/8000/1`
fn rtpmap<'a>(media: &mut Media<'a>, map: &'a str) -> Result<(), Fault> {
    const FAULT: Fault = "must be a payload type and name/rate";
    let (payload_type, encoding) = map.trim().split_once(' ').ok_or(FAULT)?;
    let payload_type = number::<u8>(payload_type).ok_or(FAULT)?;
    let mut parts = encoding.trim().split('/');
    let name = parts.next().filter(|name| !name.is_empty()).ok_or(FAULT)?;
    let clock_rate = parts.next().and_then(number).ok_or(FAULT)?;
    let channels = parts.next().and_then(number).unwrap_or(1);
    for format in media.formats.iter_mut().filter(|format| format.payload_type == payload_type) {
        (format.name, format.clock_rate, format.channels) = (Some(name), clock_rate, channels);
    }
    Ok(())
}

/// `111 useinbandfec=1`; one of a payload type that is not there is nobody's.
fn fmtp<'a>(media: &mut Media<'a>, line: &'a str) {
    let Some((payload_type, parameters)) = line.trim().split_once(' ') else { return };
    let Some(payload_type) = number::<u8>(payload_type) else { return };
    for format in media.formats.iter_mut().filter(|format| format.payload_type == payload_type) {
        format.fmtp = Some(parameters);
    }
}

fn direction(line: &str) -> Option<Direction> {
    match line.trim() {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// Some write `20.0`. What is out of range is as good as absent; what is no number is not.
fn ptime_ms(value: &str) -> Result<Option<u32>, Fault> {
    let whole = value.trim().split('.').next().unwrap_or("");
    let digits = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    if digits { Ok(whole.parse().ok()) } else { Err("must be a number of milliseconds") }
}

fn close<'a>(
    mut media: Media<'a>,
    own: &Common,
    common: &Common,
    line: usize,
) -> Result<Media<'a>, SdpError> {
    media.ptime_ms = own.ptime_ms.or(common.ptime_ms);
    media.fingerprint = own.fingerprint.clone().or_else(|| common.fingerprint.clone());
    media.setup = own.setup.or(common.setup);
    media.direction = own.direction.or(common.direction).unwrap_or_default();
    match own.address.or(common.address) {
        Some(address) => media.address = address,
        // A stream that is refused needs no address.
        None if media.port == 0 => {}
        None => return Err(SdpError::Malformed { line, what: "has no connection address" }),
    }
    // Hold as RFC 2543 wrote it (RFC 3264 §8.4): nothing is to be sent there.
    if media.address.is_unspecified() && media.port != 0 {
        media.direction = if media.direction.sends() { Direction::SendOnly } else { Direction::Inactive };
    }
    Ok(media)
}

fn number<T: std::str::FromStr>(word: &str) -> Option<T> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if digits { word.parse().ok() } else { None }
}
