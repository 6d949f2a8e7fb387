//! RTP packets, read in place and written in place (RFC 3550 §5.1, §5.3.1).
//!
//! [`Packet::parse`] copies the fixed header and borrows the rest. It takes any bytes; what does not hold together
//! is an error. It does not judge payload types, sources or order: that is for whoever knows the session.

use std::ops::Range;

/// Octets of the fixed header.
pub const HEADER_LENGTH: usize = 12;

/// A packet as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// Contributing sources, four octets each, at most fifteen.
    pub contributors: &'a [u8],
    /// The header extension, if there is one.
    pub extension: Option<Extension<'a>>,
    /// The payload without padding. May be empty.
    pub payload: &'a [u8],
    payload_start: usize,
}

/// The fields of the fixed header that vary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// Marker bit: for audio, the first packet after silence (RFC 3551 §4.1).
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number; wraps.
    pub sequence: u16,
    /// Sampling instant of the first octet, in units of the payload's clock; wraps.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// A header extension (RFC 3550 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Defined by the profile.
    pub profile: u16,
    /// A multiple of four octets.
    pub data: &'a [u8],
}

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRtp {
    /// Fewer octets than the header needs.
    #[error("RTP packet is shorter than its header")]
    Short,
    /// Not version 2.
    #[error("RTP version is {0}, not 2")]
    Version(u8),
    /// Padding is longer than what follows the header, or zero.
    #[error("RTP padding of {0} octets does not fit")]
    Padding(u8),
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`NotRtp`] for anything that is not one well-formed RTP packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, NotRtp> {
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_LENGTH>().ok_or(NotRtp::Short)?;
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(NotRtp::Version(version));
        }
        let count = usize::from(fixed[0] & 0x0f);
        let (contributors, rest) = rest.split_at_checked(4 * count).ok_or(NotRtp::Short)?;
        let (extension, rest) = match fixed[0] & 0x10 {
            0 => (None, rest),
            _ => parse_extension(rest).map(|(extension, rest)| (Some(extension), rest))?,
        };
        let payload = if fixed[0] & 0x20 == 0 { rest } else { without_padding(rest)? };
        let payload_start = datagram.len() - rest.len();
        let header = Header::from_fixed(fixed);
        Ok(Self { header, contributors, extension, payload, payload_start })
    }

    /// Where the payload lies in the datagram: never before [`HEADER_LENGTH`], so a new header can be written
    /// right in front of it and the two be sent without copying.
    #[must_use]
    pub fn payload_range(&self) -> Range<usize> {
        self.payload_start..self.payload_start + self.payload.len()
    }
}

impl Header {
    /// The header's twelve octets: version 2, no padding, extension or contributors.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0] = 0x80;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    fn from_fixed(fixed: &[u8; HEADER_LENGTH]) -> Self {
        let [_, marker_and_type, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *fixed;
        Self {
            marker: marker_and_type & 0x80 != 0,
            payload_type: marker_and_type & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
        }
    }
}

/// How far `later` is after `earlier`; negative when it is before (RFC 1982's order on 16 bits).
#[must_use]
pub const fn sequence_distance(earlier: u16, later: u16) -> i16 {
    later.wrapping_sub(earlier).cast_signed()
}

/// How far `later` is after `earlier`; negative when it is before.
#[must_use]
pub const fn timestamp_distance(earlier: u32, later: u32) -> i32 {
    later.wrapping_sub(earlier).cast_signed()
}

fn parse_extension(bytes: &[u8]) -> Result<(Extension<'_>, &[u8]), NotRtp> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(NotRtp::Short)?;
    let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (data, rest) = rest.split_at_checked(4 * words).ok_or(NotRtp::Short)?;
    let profile = u16::from_be_bytes([head[0], head[1]]);
    Ok((Extension { profile, data }, rest))
}

fn without_padding(bytes: &[u8]) -> Result<&[u8], NotRtp> {
    let count = *bytes.last().ok_or(NotRtp::Padding(0))?;
    let length = bytes.len().checked_sub(usize::from(count));
    match length {
        Some(length) if count > 0 => Ok(&bytes[..length]),
        _ => Err(NotRtp::Padding(count)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: [u8; 14] = [0x80, 0x80, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4, 0xd5, 0x55];

    fn changed(changes: &[(usize, u8)], tail: &[u8]) -> Vec<u8> {
        let mut bytes = PLAIN.to_vec();
        for &(place, byte) in changes {
            bytes[place] = byte;
        }
        bytes.extend_from_slice(tail);
        bytes
    }

    #[test]
    fn a_plain_packet_is_read() {
        let packet = Packet::parse(&PLAIN).unwrap();
        let header = Header { marker: true, payload_type: 0, sequence: 7, timestamp: 160, ssrc: 0x0102_0304 };
        assert_eq!(packet.header, header);
        assert_eq!(packet.payload, [0xd5, 0x55]);
        assert_eq!(packet.payload_range(), 12..14);
        assert_eq!(header.to_bytes(), PLAIN[..12]);
    }

    #[test]
    fn contributors_extension_and_padding_are_set_apart() {
        let mut bytes = vec![0xb1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9];
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4, 0xaa, 0xbb, 0, 2]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.contributors, [9, 9, 9, 9]);
        assert_eq!(packet.extension, Some(Extension { profile: 0xbede, data: &[1, 2, 3, 4] }));
        assert_eq!(packet.payload, [0xaa, 0xbb]);
        assert_eq!(&bytes[packet.payload_range()], [0xaa, 0xbb]);
    }

    #[test]
    fn what_is_not_rtp_is_refused() {
        let table: [(&str, Vec<u8>, NotRtp); 9] = [
            ("empty", vec![], NotRtp::Short),
            ("eleven octets", PLAIN[..11].to_vec(), NotRtp::Short),
            ("version 1", changed(&[(0, 0x40)], &[]), NotRtp::Version(1)),
            ("STUN", changed(&[(0, 0x00)], &[]), NotRtp::Version(0)),
            ("contributor cut off", changed(&[(0, 0x81)], &[]), NotRtp::Short),
            ("extension cut off", changed(&[(0, 0x90)], &[]), NotRtp::Short),
            ("extension too long", changed(&[(0, 0x90)], &[0, 9, 1, 1]), NotRtp::Short),
            ("padding of zero", changed(&[(0, 0xa0)], &[0]), NotRtp::Padding(0)),
            ("padding too long", changed(&[(0, 0xa0)], &[4]), NotRtp::Padding(4)),
        ];
        for (what, bytes, why) in table {
            assert_eq!(Packet::parse(&bytes), Err(why), "{what}");
        }
    }

    #[test]
    fn distances_wrap() {
        assert_eq!(sequence_distance(65_535, 1), 2);
        assert_eq!(sequence_distance(1, 65_535), -2);
        assert_eq!(timestamp_distance(u32::MAX, 159), 160);
        assert_eq!(timestamp_distance(159, u32::MAX), -160);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload_range().start >= HEADER_LENGTH);
                prop_assert_eq!(&bytes[packet.payload_range()], packet.payload);
            }
        }

        #[test]
        fn any_header_survives(marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            prop_assert_eq!(Packet::parse(&header.to_bytes()).unwrap().header, header);
        }
    }
}
