//! Copies of SIP messages for a capture server, as HEP version 3 (EEP; Homer, sngrep and others read it).
//!
//! A datagram holds one message, masked as in the [ladder](crate::ladder). What the socket has no room for is lost and
//! counted: a slow collector holds up no call.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use call::locate::Asked;
use jiff::Timestamp;
use model::{net::Transport, snapshot};

use crate::ladder::masked;

/// Largest message that is sent on: a datagram's bound less the chunks around it.
const PAYLOAD_MAX: usize = 65_000;

/// Value of chunk 11 for SIP.
const SIP: u8 = 1;

/// What a capture is about.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// When it came or went.
    pub at: Timestamp,
    /// By what.
    pub transport: Transport,
    /// Who sent it.
    pub source: SocketAddr,
    /// Who was to get it.
    pub destination: SocketAddr,
    /// The message.
    pub message: &'a [u8],
}

/// What copies are sent to, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The capture server.
    pub collector: SocketAddr,
    /// Who we are to it.
    pub id: u32,
    /// What it knows us by.
    pub key: Option<Box<[u8]>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|_| "[redacted]");
        f.debug_struct("Settings")
            .field("collector", &self.collector)
            .field("id", &self.id)
            .field("key", &key)
            .finish()
    }
}

/// Where a capture server is: its port is given, so that addresses alone are asked for (RFC 3263 §4.2).
pub fn asked(capture: &snapshot::Capture) -> Asked {
    Asked { host: capture.host.clone(), port: Some(capture.port), transports: vec![Transport::Udp] }
}

/// A way to a capture server.
#[derive(Debug)]
pub struct Capture {
    socket: UdpSocket,
    settings: Settings,
    buffer: Vec<u8>,
}

impl Capture {
    /// Opens a socket.
    ///
    /// # Errors
    /// The system's.
    pub fn open(settings: Settings) -> io::Result<Self> {
        let collector = settings.collector;
        let any: IpAddr =
            if collector.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(collector)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, settings, buffer: Vec::with_capacity(2_048) })
    }

    /// What it was opened with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a copy. False: it was lost.
    pub fn send(&mut self, copied: &Copied<'_>) -> bool {
        self.buffer.clear();
        encode(&mut self.buffer, copied, self.settings.id, self.settings.key.as_deref());
        // An error that waits on the socket is of a datagram before.
        self.socket.send(&self.buffer).or_else(|_| self.socket.send(&self.buffer)).is_ok()
    }
}

fn encode(out: &mut Vec<u8>, copied: &Copied<'_>, id: u32, key: Option<&[u8]>) {
    out.extend_from_slice(b"HEP3\0\0");
    // RFC 2553's numbers of address families, as the format wants them on every system.
    let (source, destination) = (copied.source.ip().to_canonical(), copied.destination.ip().to_canonical());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            chunk(out, 1, &[2]);
            chunk(out, 3, &source.octets());
            chunk(out, 4, &destination.octets());
        }
        (source, destination) => {
            chunk(out, 1, &[10]);
            chunk(out, 5, &v6(source).octets());
            chunk(out, 6, &v6(destination).octets());
        }
    }
    let protocol = if copied.transport == Transport::Udp { 17 } else { 6 };
    chunk(out, 2, &[protocol]);
    chunk(out, 7, &copied.source.port().to_be_bytes());
    chunk(out, 8, &copied.destination.port().to_be_bytes());
    let microseconds = copied.at.as_microsecond();
    let seconds = u32::try_from(microseconds.div_euclid(1_000_000)).unwrap_or_default();
    chunk(out, 9, &seconds.to_be_bytes());
    let rest = u32::try_from(microseconds.rem_euclid(1_000_000)).unwrap_or_default();
    chunk(out, 10, &rest.to_be_bytes());
    chunk(out, 11, &[SIP]);
    chunk(out, 12, &id.to_be_bytes());
    if let Some(key) = key {
        chunk(out, 14, key);
    }
    let message = masked(copied.message);
    chunk(out, 15, &message[..message.len().min(PAYLOAD_MAX)]);
    let length = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
    out[4..6].copy_from_slice(&length);
}

/// Vendor 0, kind, length with these six octets, value.
fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 6).unwrap_or(u16::MAX);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

const fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    /// Chunks by kind.
    fn chunks(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        assert_eq!(&packet[..4], b"HEP3");
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len());
        let mut rest = &packet[6..];
        let mut found = BTreeMap::new();
        while !rest.is_empty() {
            let (kind, length) =
                (u16::from_be_bytes([rest[2], rest[3]]), u16::from_be_bytes([rest[4], rest[5]]));
            found.insert(kind, rest[6..usize::from(length)].to_vec());
            rest = &rest[usize::from(length)..];
        }
        found
    }

    #[test]
    fn a_collector_reads_who_said_what_and_when() {
        let collector = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        collector.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut capture = Capture::open(Settings {
            collector: collector.local_addr().unwrap(),
            id: 14,
            key: Some(b"key"[..].into()),
        })
        .unwrap();
        let message = b"OPTIONS sip:a SIP/2.0\r\nAuthorization: Digest x\r\n\r\n";
        let copied = Copied {
            at: Timestamp::from_microsecond(1_700_000_000_000_042).unwrap(),
            transport: Transport::Udp,
            source: "192.0.2.1:5060".parse().unwrap(),
            destination: "192.0.2.9:5080".parse().unwrap(),
            message,
        };
        assert!(capture.send(&copied));
        let mut buffer = [0; 2_048];
        let length = collector.recv(&mut buffer).unwrap();
        let found = chunks(&buffer[..length]);
        for (kind, wanted) in [
            (1, &[2][..]),
            (2, &[17]),
            (3, &[192, 0, 2, 1]),
            (4, &[192, 0, 2, 9]),
            (7, &5060_u16.to_be_bytes()),
            (8, &5080_u16.to_be_bytes()),
            (9, &1_700_000_000_u32.to_be_bytes()),
            (10, &42_u32.to_be_bytes()),
            (11, &[1]),
            (12, &14_u32.to_be_bytes()),
            (14, b"key"),
            (15, b"OPTIONS sip:a SIP/2.0\r\nAuthorization: [redacted]\r\n\r\n"),
        ] {
            assert_eq!(found[&kind], wanted, "chunk {kind}");
        }
    }

    #[test]
    fn ipv6_has_chunks_of_its_own() {
        let mut out = Vec::new();
        let copied = Copied {
            at: Timestamp::UNIX_EPOCH,
            transport: Transport::Tls,
            source: "[2001:db8::1]:5061".parse().unwrap(),
            destination: "192.0.2.9:5080".parse().unwrap(),
            message: b"x",
        };
        encode(&mut out, &copied, 1, None);
        let found = chunks(&out);
        assert_eq!((found[&1][0], found[&2][0], found[&5].len(), found[&6].len()), (10, 6, 16, 16));
    }
}
