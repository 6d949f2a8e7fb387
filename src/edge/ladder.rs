//! The latest SIP messages of a process, whatever calls they are of: a ring of bounded memory for people who ask what was
//! said, and a small one beside it for what nobody knows whose it is, so that a flood of that washes out no call.
//!
//! Messages are kept as they were and masked when they are given out: credentials, keys of SRTP and pressed keys never
//! leave the process. Writing takes one copy and no allocation once the ring is full; reading holds it up for the copy of
//! one segment at most.

use std::{
    borrow::Cow,
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use model::net::{Flow, ListenerIx, Transport};
use serde::Serialize;

/// Octets of both rings, in [`SEGMENTS`] parts.
pub const LADDER_MAX: usize = SEGMENT * SEGMENTS;
const SEGMENT: usize = 1 << 20;
const SEGMENTS: usize = 64;

/// Parts for what comes of people who have not proved who they are, and for what cannot be read.
const STRANGERS: usize = SEGMENTS / 16;

/// Octets before each message: length, time, direction and transport, listener, the peer's address and port.
const HEADER: usize = 4 + 8 + 1 + 2 + 16 + 2;

/// Most messages of one answer.
pub const MESSAGES_MAX: usize = 1_000;

/// In place of what is not told.
const REDACTED: &[u8] = b"[redacted]";

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// A message that is given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rung {
    /// When it came or went.
    pub at: Timestamp,
    /// Which way.
    pub direction: Direction,
    /// By what.
    pub transport: Transport,
    /// Place of our listener.
    pub listener: ListenerIx,
    /// The peer.
    pub remote: SocketAddr,
    /// The message, masked.
    pub message: String,
}

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A trunk's, or that of a station which has registered.
    Known,
    /// Anybody's.
    Strange,
}

/// The rings.
#[derive(Debug)]
pub struct Ladder {
    known: Mutex<Ring>,
    strange: Mutex<Ring>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { known: Mutex::new(Ring::of(SEGMENTS - STRANGERS)), strange: Mutex::new(Ring::of(STRANGERS)) }
    }
}

#[derive(Debug)]
struct Ring {
    segments: usize,
    current: Vec<u8>,
    full: VecDeque<Arc<Vec<u8>>>,
}

impl Ladder {
    /// Keeps a message, and forgets the oldest ones where there is no more room. What is larger than a segment is cut.
    pub fn keep(&self, at: Timestamp, whose: Whose, (direction, flow): (Direction, &Flow), message: &[u8]) {
        let message = &message[..message.len().min(SEGMENT - HEADER)];
        let ring = match whose {
            Whose::Known => &self.known,
            Whose::Strange => &self.strange,
        };
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.current.capacity() == 0 || ring.current.len() + HEADER + message.len() > SEGMENT {
            ring.turn();
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let kind = (flow.transport as u8) << 1 | u8::from(direction == Direction::Out);
        let nanoseconds = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
        let ip = match flow.remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let current = &mut ring.current;
        current.extend_from_slice(&length.to_be_bytes());
        current.extend_from_slice(&nanoseconds.to_be_bytes());
        current.push(kind);
        current.extend_from_slice(&flow.listener.0.to_be_bytes());
        current.extend_from_slice(&ip.octets());
        current.extend_from_slice(&flow.remote.port().to_be_bytes());
        current.extend_from_slice(message);
    }

    /// Messages with one of these Call-IDs, oldest first; the latest [`MESSAGES_MAX`] of them.
    #[must_use]
    pub fn of(&self, call_ids: &[&str]) -> Vec<Rung> {
        let mut found = Self::found(&self.known, call_ids);
        let strange = Self::found(&self.strange, call_ids);
        if !strange.is_empty() {
            found.extend(strange);
            found.sort_by_key(|rung| rung.at);
        }
        let surplus = found.len().saturating_sub(MESSAGES_MAX);
        found.drain(..surplus);
        found
    }

    fn found(ring: &Mutex<Ring>, call_ids: &[&str]) -> Vec<Rung> {
        let (full, current) = {
            let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            (ring.full.clone(), ring.current.clone())
        };
        let mut found = VecDeque::new();
        for segment in full.iter().map(|segment| segment.as_slice()).chain([current.as_slice()]) {
            for (header, message) in records(segment) {
                if call_id_of(message).is_some_and(|id| call_ids.iter().any(|wanted| wanted.as_bytes() == id))
                {
                    if found.len() == MESSAGES_MAX {
                        found.pop_front();
                    }
                    found.extend(rung(header, message));
                }
            }
        }
        found.into()
    }
}

impl Ring {
    const fn of(segments: usize) -> Self {
        Self { segments, current: Vec::new(), full: VecDeque::new() }
    }

    /// Begins another segment, in the memory of the oldest if nobody reads it.
    fn turn(&mut self) {
        let oldest = if self.full.len() >= self.segments - 1 { self.full.pop_front() } else { None };
        let mut fresh = oldest.and_then(|oldest| Arc::try_unwrap(oldest).ok()).unwrap_or_default();
        fresh.clear();
        fresh.reserve_exact(SEGMENT);
        let full = std::mem::replace(&mut self.current, fresh);
        if !full.is_empty() {
            self.full.push_back(Arc::new(full));
        }
    }
}

fn records(mut segment: &[u8]) -> impl Iterator<Item = (&[u8; HEADER], &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = segment.split_first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes(*header.first_chunk()?) as usize;
        let (message, rest) = rest.split_at_checked(length)?;
        segment = rest;
        Some((header, message))
    })
}

fn rung(header: &[u8; HEADER], message: &[u8]) -> Option<Rung> {
    let (_, rest) = header.split_first_chunk::<4>()?;
    let (nanoseconds, rest) = rest.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let (listener, rest) = rest.split_first_chunk::<2>()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let (port, _) = rest.split_first_chunk::<2>()?;
    let transport = match kind >> 1 {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        2 => Transport::Tls,
        3 => Transport::Ws,
        _ => Transport::Wss,
    };
    Some(Rung {
        at: Timestamp::from_nanosecond(i64::from_be_bytes(*nanoseconds).into()).ok()?,
        direction: if kind & 1 == 1 { Direction::Out } else { Direction::In },
        transport,
        listener: ListenerIx(u16::from_be_bytes(*listener)),
        remote: SocketAddr::new(IpAddr::from(*ip).to_canonical(), u16::from_be_bytes(*port)),
        message: String::from_utf8_lossy(&masked(message)).into_owned(),
    })
}

/// Head and body; the empty line is neither's.
fn parts(message: &[u8]) -> (&[u8], &[u8]) {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or((message, &[][..]), |end| (&message[..end + 2], &message[end + 4..]))
}

/// Value of Call-ID.
pub fn call_id_of(message: &[u8]) -> Option<&[u8]> {
    field(parts(message).0, &["call-id", "i"])
}

/// Value of the first field of that name.
fn field<'a>(head: &'a [u8], names: &[&str]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].trim_ascii(), &line[colon + 1..]);
        names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes())).then(|| value.trim_ascii())
    })
}

/// Without credentials, keys of SRTP (RFC 4568 §6.1, RFC 8866 §5.12) and pressed keys.
#[must_use]
pub fn masked(message: &[u8]) -> Cow<'_, [u8]> {
    let (head, body) = parts(message);
    let kind = field(head, &["content-type", "c"]).unwrap_or_default().to_ascii_lowercase();
    let pressed = kind.starts_with(b"application/dtmf");
    let is_secret = |line: &[u8]| is_credential(line) || is_key(line);
    let dirty = pressed || message.split(|byte| *byte == b'\n').any(is_secret) || is_folded_credential(head);
    if !dirty {
        return Cow::Borrowed(message);
    }
    let mut clean = Vec::with_capacity(message.len());
    let mut hidden = false;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let folded = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        if folded && hidden {
            continue;
        }
        hidden = is_credential(line);
        if hidden {
            let name = line.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
            clean.extend_from_slice(&line[..name]);
            clean.push(b' ');
            clean.extend_from_slice(REDACTED);
            clean.extend_from_slice(b"\r\n");
        } else {
            clean.extend_from_slice(line);
        }
    }
    if head.len() < message.len() {
        clean.extend_from_slice(b"\r\n");
    }
    if pressed {
        clean.extend_from_slice(REDACTED);
        return Cow::Owned(clean);
    }
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        if is_key(line) {
            let kept = line.windows(7).position(|window| window.eq_ignore_ascii_case(b"inline:"));
            clean.extend_from_slice(&line[..kept.map_or(2, |kept| kept + 7).min(line.len())]);
            clean.extend_from_slice(REDACTED);
            clean.extend_from_slice(b"\r\n");
        } else {
            clean.extend_from_slice(line);
        }
    }
    Cow::Owned(clean)
}

fn is_credential(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
    let name = line[..colon].trim_ascii();
    name.eq_ignore_ascii_case(b"authorization") || name.eq_ignore_ascii_case(b"proxy-authorization")
}

/// A field whose credentials stand on the lines after it.
fn is_folded_credential(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(is_credential)
}

fn is_key(line: &[u8]) -> bool {
    line.starts_with(b"a=crypto:") || line.starts_with(b"k=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(remote: &str) -> Flow {
        Flow {
            transport: Transport::Tcp,
            listener: ListenerIx(3),
            remote: remote.parse().unwrap(),
            connection: 7,
        }
    }

    fn message(call_id: &str, body: &str) -> Vec<u8> {
        format!("INVITE sip:a@b SIP/2.0\r\nVia: x\r\nCall-ID: {call_id}\r\nContent-Length: 0\r\n\r\n{body}")
            .into_bytes()
    }

    #[test]
    fn what_was_said_in_a_call_is_found_again() {
        let ladder = Ladder::default();
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        ladder.keep(at, Whose::Known, (Direction::In, &flow("192.0.2.1:5060")), &message("one", "body"));
        ladder.keep(at, Whose::Known, (Direction::Out, &flow("[2001:db8::1]:5061")), &message("two", ""));
        ladder.keep(
            at,
            Whose::Known,
            (Direction::Out, &flow("192.0.2.1:5060")),
            b"SIP/2.0 200 OK\r\ni: one\r\n\r\n",
        );
        let found = ladder.of(&["one"]);
        let told: Vec<_> = found.iter().map(|rung| (rung.direction, rung.remote.to_string())).collect();
        assert_eq!(
            told,
            [(Direction::In, "192.0.2.1:5060".to_owned()), (Direction::Out, "192.0.2.1:5060".to_owned())]
        );
        assert!(found[0].message.ends_with("body"));
        assert_eq!((found[0].at, found[0].transport, found[0].listener), (at, Transport::Tcp, ListenerIx(3)));
        assert_eq!(ladder.of(&["one", "two"]).len(), 3);
        assert_eq!(ladder.of(&["three"]), []);
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_grows_no_further() {
        let ladder = Ladder::default();
        let body = "x".repeat(60_000);
        let count = 2 * LADDER_MAX / body.len();
        for number in 0..count {
            ladder.keep(
                Timestamp::UNIX_EPOCH,
                Whose::Known,
                (Direction::In, &flow("192.0.2.1:1")),
                &message(&number.to_string(), &body),
            );
        }
        assert_eq!(ladder.of(&["0"]), []);
        assert_eq!(ladder.of(&[&(count - 1).to_string()]).len(), 1);
        let ring = ladder.known.lock().unwrap();
        let held =
            ring.current.capacity() + ring.full.iter().map(|segment| segment.capacity()).sum::<usize>();
        assert!(held <= LADDER_MAX, "{held}");
    }

    #[test]
    fn a_flood_of_strangers_leaves_a_calls_messages_there() {
        let ladder = Ladder::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let caller = (Direction::In, &flow("192.0.2.1:5060"));
        ladder.keep(at(1), Whose::Known, caller, &message("call", ""));
        ladder.keep(at(2), Whose::Strange, caller, b"INVITE x SIP/2.0\r\nCall-ID: call\r\nand no more");
        ladder.keep(at(3), Whose::Known, caller, &message("call", "later"));
        let order: Vec<_> = ladder.of(&["call"]).iter().map(|rung| rung.at.as_second()).collect();
        assert_eq!(order, [1, 2, 3]);
        let body = "x".repeat(60_000);
        for number in 0..2 * LADDER_MAX / body.len() {
            let stranger = flow("203.0.113.66:1");
            let junk = message(&number.to_string(), &body);
            ladder.keep(at(4), Whose::Strange, (Direction::In, &stranger), &junk);
        }
        assert_eq!(ladder.of(&["call"]).len(), 2);
        let ring = ladder.strange.lock().unwrap();
        let held = ring.current.capacity() + ring.full.iter().map(|part| part.capacity()).sum::<usize>();
        assert!(held <= LADDER_MAX / 16, "{held}");
    }

    #[test]
    fn nothing_secret_is_given_out() {
        let head = "REGISTER sip:b SIP/2.0\r\nCall-ID: a\r\n";
        for (text, wanted) in [
            (
                "Authorization: Digest username=\"u\", response=\"0123\"\r\n\r\n",
                "Authorization: [redacted]\r\n\r\n",
            ),
            (
                "proxy-authorization:\r\n Digest username=\"u\",\r\n response=\"0123\"\r\nTo: x\r\n\r\n",
                "proxy-authorization: [redacted]\r\nTo: x\r\n\r\n",
            ),
            (
                "Content-Type: application/sdp\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20\r\nk=clear:pw\r\na=x\r\n",
                "Content-Type: application/sdp\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:[redacted]\r\nk=[redacted]\r\na=x\r\n",
            ),
            (
                "c: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=100",
                "c: application/dtmf-relay\r\n\r\n[redacted]",
            ),
            ("To: x\r\n\r\nnothing", "To: x\r\n\r\nnothing"),
        ] {
            let message = format!("{head}{text}");
            assert_eq!(String::from_utf8_lossy(&masked(message.as_bytes())), format!("{head}{wanted}"));
        }
    }
}
