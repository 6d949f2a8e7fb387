//! Ethernet, IPv4, IPv6 and UDP headers, read and written (RFC 894, 791, 8200, 768, 1071).
//!
//! Only what the kernel's program lets through is read: no VLAN, no fragment, no IP option, no extension header. All else
//! is refused, never guessed at.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Octets of an Ethernet header.
pub const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// The longest of the headers together.
pub const HEADERS_MAX: usize = ETHERNET + IPV6 + UDP;

const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_UDP: u8 = 17;
/// DSCP Expedited Forwarding, as the plain sockets mark it (RFC 4594 §4.1).
const EXPEDITED: u8 = 46 << 2;
const HOPS: u8 = 64;
/// Don't Fragment: nobody needs an identification then (RFC 6864 §4.1).
const DONT_FRAGMENT: u16 = 0x4000;
const FRAGMENT: u16 = 0x3fff;

/// A datagram in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who has put the frame on the wire: the sender, or the last router.
    pub source: Mac,
    /// To whom.
    pub target: Mac,
    /// Who has sent the datagram.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Where its payload lies.
    pub payload: Range<usize>,
}

/// Why a frame is thrown away, as the kernel would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A header or a length goes beyond the frame.
    #[error("a length is wrong")]
    Length,
    /// Not plain UDP over IP.
    #[error("not UDP in an unfragmented packet without options")]
    Kind,
    /// A checksum does not fit.
    #[error("a checksum is wrong")]
    Checksum,
}

/// Reads a frame.
///
/// A UDP checksum may be as a virtual interface leaves it: of the pseudo header alone, for no wire has been crossed and the
/// kernel of the sender has left the rest to a card that is not there.
pub fn read(frame: &[u8]) -> Result<Received, Unreadable> {
    let (target, rest) = frame.split_first_chunk::<6>().ok_or(Unreadable::Length)?;
    let (source, rest) = rest.split_first_chunk::<6>().ok_or(Unreadable::Length)?;
    let (kind, packet) = rest.split_first_chunk::<2>().ok_or(Unreadable::Length)?;
    let (from, to, begin, packet) = match u16::from_be_bytes(*kind) {
        TYPE_IPV4 => read_ipv4(packet)?,
        TYPE_IPV6 => read_ipv6(packet)?,
        _ => return Err(Unreadable::Kind),
    };
    let datagram = packet.get(begin..).ok_or(Unreadable::Length)?;
    let (header, _) = datagram.split_first_chunk::<UDP>().ok_or(Unreadable::Length)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (from, to) = (SocketAddr::new(from, word(0)), SocketAddr::new(to, word(2)));
    let (length, checksum) = (usize::from(word(4)), word(6));
    let datagram = datagram.get(..length).filter(|_| length >= UDP).ok_or(Unreadable::Length)?;
    let pseudo = pseudo_sum(from.ip(), to.ip()) + length as u64;
    let none = checksum == 0 && from.is_ipv4();
    if !none && fold(pseudo) != checksum && fold(pseudo + sum(datagram)) != u16::MAX {
        return Err(Unreadable::Checksum);
    }
    let payload = ETHERNET + begin + UDP..ETHERNET + begin + length;
    Ok(Received { source: *source, target: *target, from, to, payload })
}

type Network<'a> = (IpAddr, IpAddr, usize, &'a [u8]);

fn read_ipv4(packet: &[u8]) -> Result<Network<'_>, Unreadable> {
    let (header, _) = packet.split_first_chunk::<IPV4>().ok_or(Unreadable::Length)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if header[0] != 0x45 || word(6) & FRAGMENT != 0 || header[9] != PROTOCOL_UDP {
        return Err(Unreadable::Kind);
    }
    if fold(sum(header)) != u16::MAX {
        return Err(Unreadable::Checksum);
    }
    let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let packet = packet.get(..usize::from(word(2))).ok_or(Unreadable::Length)?;
    Ok((address(12), address(16), IPV4, packet))
}

fn read_ipv6(packet: &[u8]) -> Result<Network<'_>, Unreadable> {
    let (header, _) = packet.split_first_chunk::<IPV6>().ok_or(Unreadable::Length)?;
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_UDP {
        return Err(Unreadable::Kind);
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::from(Ipv6Addr::from(octets))
    };
    let length = IPV6 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let packet = packet.get(..length).ok_or(Unreadable::Length)?;
    Ok((address(8), address(24), IPV6, packet))
}

/// The headers of a way, all but lengths and checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    headers: [u8; HEADERS_MAX],
    /// Octets of `headers`.
    length: usize,
    /// Of the IPv4 header without its length, and of the UDP header with its pseudo header, without lengths.
    sums: (u64, u64),
}

impl Template {
    /// From one of our addresses to another one. `None`: they are of two families.
    pub fn new((ours, local): (Mac, SocketAddr), (theirs, remote): (Mac, SocketAddr)) -> Option<Self> {
        let mut headers = [0; HEADERS_MAX];
        headers[..6].copy_from_slice(&theirs);
        headers[6..12].copy_from_slice(&ours);
        let (kind, network) = match (local.ip(), remote.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let header = &mut headers[ETHERNET..ETHERNET + IPV4];
                (header[0], header[1], header[8], header[9]) = (0x45, EXPEDITED, HOPS, PROTOCOL_UDP);
                header[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
                header[12..16].copy_from_slice(&from.octets());
                header[16..20].copy_from_slice(&to.octets());
                (TYPE_IPV4, IPV4)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = &mut headers[ETHERNET..ETHERNET + IPV6];
                (header[0], header[1]) = (0x60 | EXPEDITED >> 4, EXPEDITED << 4);
                (header[6], header[7]) = (PROTOCOL_UDP, HOPS);
                header[8..24].copy_from_slice(&from.octets());
                header[24..40].copy_from_slice(&to.octets());
                (TYPE_IPV6, IPV6)
            }
            _ => return None,
        };
        headers[12..ETHERNET].copy_from_slice(&kind.to_be_bytes());
        let udp = ETHERNET + network;
        headers[udp..udp + 2].copy_from_slice(&local.port().to_be_bytes());
        headers[udp + 2..udp + 4].copy_from_slice(&remote.port().to_be_bytes());
        let ports = u64::from(local.port()) + u64::from(remote.port());
        let sums = (sum(&headers[ETHERNET..udp]), pseudo_sum(local.ip(), remote.ip()) + ports);
        Some(Self { headers, length: udp + UDP, sums })
    }

    /// Writes a frame with that payload, and returns its length. `None`: it does not fit into an IP packet of `mtu` octets,
    /// or into `frame`.
    pub fn write(&self, payload: &[u8], mtu: usize, frame: &mut [u8]) -> Option<usize> {
        let end = self.length + payload.len();
        if end - ETHERNET > mtu {
            return None;
        }
        let (headers, body) = frame.get_mut(..end)?.split_at_mut(self.length);
        headers.copy_from_slice(&self.headers[..self.length]);
        body.copy_from_slice(payload);
        let mut put = |at: usize, value: u16| headers[at..at + 2].copy_from_slice(&value.to_be_bytes());
        let udp_length = (UDP + payload.len()) as u16;
        let udp = self.length - UDP;
        if udp == ETHERNET + IPV4 {
            let total = (end - ETHERNET) as u16;
            put(ETHERNET + 2, total);
            put(ETHERNET + 10, !fold(self.sums.0 + u64::from(total)));
        } else {
            put(ETHERNET + 4, udp_length);
        }
        put(udp + 4, udp_length);
        // The length counts twice, in the pseudo header and in the header itself. Nought would mean that there is none.
        let checksum = !fold(self.sums.1 + 2 * u64::from(udp_length) + sum(payload));
        put(udp + 6, if checksum == 0 { u16::MAX } else { checksum });
        Some(end)
    }
}

/// Of addresses and protocol; the length is the caller's.
fn pseudo_sum(from: IpAddr, to: IpAddr) -> u64 {
    let of = |address| match address {
        IpAddr::V4(address) => sum(&Ipv4Addr::octets(&address)),
        IpAddr::V6(address) => sum(&Ipv6Addr::octets(&address)),
    };
    of(from) + of(to) + u64::from(PROTOCOL_UDP)
}

/// The sum of 16-bit words, not folded yet (RFC 1071 §2). An odd octet at the end is the higher one of its word.
fn sum(octets: &[u8]) -> u64 {
    let (fours, rest) = octets.as_chunks::<4>();
    let mut total: u64 = fours.iter().map(|four| u64::from(u32::from_be_bytes(*four))).sum();
    let (twos, rest) = rest.as_chunks::<2>();
    total += twos.iter().map(|two| u64::from(u16::from_be_bytes(*two))).sum::<u64>();
    total + rest.first().map_or(0, |&odd| u64::from(odd) << 8)
}

/// One's complement sum of the words of a sum.
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const THEIRS: Mac = [2, 0, 0, 0, 0, 2];

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn frame(local: &str, remote: &str, payload: &[u8]) -> Vec<u8> {
        let template = Template::new((OURS, at(local)), (THEIRS, at(remote))).unwrap();
        let mut frame = vec![0xaa; 2_048];
        let length = template.write(payload, 1_500, &mut frame).unwrap();
        frame.truncate(length);
        frame
    }

    /// Word by word as RFC 1071 §4.1 has it.
    fn slow_sum(octets: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in octets.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn a_frame_is_written_as_the_standards_have_it() {
        let written = frame("192.0.2.1:4000", "192.0.2.9:5002", b"ab");
        let expected = [
            &THEIRS[..],
            &OURS,
            &[8, 0, 0x45, 0xb8, 0, 30, 0, 0, 0x40, 0, 64, 17, 0xb6, 0x05],
            &[192, 0, 2, 1, 192, 0, 2, 9, 0x0f, 0xa0, 0x13, 0x8a, 0, 10, 0xf6, 0x31],
            b"ab",
        ]
        .concat();
        assert_eq!(slow_sum(&written[ETHERNET..ETHERNET + IPV4]), u16::MAX);
        let without = |bytes: &[u8]| [&bytes[..24], &bytes[26..40], &bytes[42..]].concat();
        assert_eq!(without(&written), without(&expected));
    }

    #[test]
    fn each_fault_of_a_frame_is_told() {
        let four = || frame("192.0.2.1:4000", "192.0.2.9:5002", b"abc");
        let six = || frame("[2001:db8::1]:4000", "[2001:db8::2]:5002", b"abc");
        type Case<'a> = (&'a str, Vec<u8>, &'a [(usize, u8)], Unreadable);
        let cases: [Case<'_>; 12] = [
            ("VLAN", four(), &[(12, 0x81)], Unreadable::Kind),
            ("ARP", four(), &[(13, 6)], Unreadable::Kind),
            ("an option", four(), &[(14, 0x46)], Unreadable::Kind),
            ("more fragments", four(), &[(20, 0x20)], Unreadable::Kind),
            ("a later fragment", four(), &[(21, 1)], Unreadable::Kind),
            ("TCP", four(), &[(23, 6)], Unreadable::Kind),
            ("IPv4's sum", four(), &[(22, 63)], Unreadable::Checksum),
            ("UDP's sum", four(), &[(43, b'x')], Unreadable::Checksum),
            ("UDP's sum over IPv6", six(), &[(62, b'x')], Unreadable::Checksum),
            ("none over IPv6", six(), &[(60, 0), (61, 0)], Unreadable::Checksum),
            ("an extension header", six(), &[(20, 44)], Unreadable::Kind),
            ("a long UDP length", six(), &[(58, 9)], Unreadable::Length),
        ];
        for (what, mut frame, changes, expected) in cases {
            for &(at, value) in changes {
                frame[at] = value;
            }
            assert_eq!(read(&frame), Err(expected), "{what}");
        }
    }

    #[test]
    fn a_sum_left_out_or_left_to_the_card_is_taken() {
        let mut frame = frame("192.0.2.1:4000", "192.0.2.9:5002", b"abc");
        let payload = read(&frame).unwrap().payload;
        frame[40..42].fill(0);
        assert_eq!(read(&frame).unwrap().payload, payload);
        let pseudo = [&frame[26..34], &[0, 17, 0, 11]].concat();
        frame[40..42].copy_from_slice(&slow_sum(&pseudo).to_be_bytes());
        assert_eq!(read(&frame).unwrap().payload, payload);
    }

    #[test]
    fn families_are_not_mixed_and_long_packets_are_left_to_the_kernel() {
        assert!(
            Template::new((OURS, at("192.0.2.1:1")), (THEIRS, at("[2001:db8::2]:1"))).is_none(),
            "two families"
        );
        let template = Template::new((OURS, at("192.0.2.1:1")), (THEIRS, at("192.0.2.2:1"))).unwrap();
        let mut frame = [0; 2_048];
        assert_eq!(template.write(&[0; 1_472], 1_500, &mut frame), Some(1_514));
        assert_eq!(template.write(&[0; 1_473], 1_500, &mut frame), None);
        assert_eq!(template.write(&[0; 1_472], 1_500, &mut frame[..1_513]), None);
    }

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let four = any::<([u8; 4], u16, [u8; 4], u16)>()
            .prop_map(|(a, p, b, q)| (SocketAddr::from((a, p)), SocketAddr::from((b, q))));
        let six = any::<([u8; 16], u16, [u8; 16], u16)>()
            .prop_map(|(a, p, b, q)| (SocketAddr::from((a, p)), SocketAddr::from((b, q))));
        prop_oneof![four, six]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((local, remote) in addresses(), payload in prop::collection::vec(any::<u8>(), 0..1_400)) {
            let template = Template::new((OURS, local), (THEIRS, remote)).unwrap();
            let mut frame = vec![0xaa; 2_048];
            let length = template.write(&payload, 1_500, &mut frame).unwrap();
            let read = read(&frame[..length]).unwrap();
            prop_assert_eq!((read.from, read.to, read.source, read.target), (local, remote, OURS, THEIRS));
            prop_assert_eq!(&frame[read.payload], &payload[..]);
            // As the kernel of the receiver counts it.
            let udp = length - payload.len() - UDP;
            let mut whole = match (local.ip(), remote.ip()) {
                (IpAddr::V4(a), IpAddr::V4(b)) => [&a.octets()[..], &b.octets()].concat(),
                (IpAddr::V6(a), IpAddr::V6(b)) => [&a.octets()[..], &b.octets()].concat(),
                _ => unreachable!(),
            };
            whole.extend([0, PROTOCOL_UDP]);
            whole.extend(((UDP + payload.len()) as u16).to_be_bytes());
            whole.extend(&frame[udp..length]);
            prop_assert_eq!(slow_sum(&whole), u16::MAX);
            prop_assert_ne!(&frame[udp + 6..udp + 8], &[0, 0]);
        }

        #[test]
        fn no_frame_does_harm(mut frame in prop::collection::vec(any::<u8>(), 0..200), ethernet in any::<bool>()) {
            if ethernet && frame.len() > 14 {
                (frame[12], frame[13], frame[14]) = (8, 0, 0x45);
            }
            if let Ok(read) = read(&frame) {
                prop_assert!(frame.get(read.payload).is_some());
            }
        }

        #[test]
        fn sums_are_those_of_the_standard(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(fold(sum(&octets)), slow_sum(&octets));
        }
    }
}
