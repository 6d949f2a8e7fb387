//! What stands before each packet of a span.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |      'S'      |      'P'      |   version 1   |   reserved 0  |
//! +---------------+---------------+---------------+---------------+
//! |                       name of the span                        |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |        SRTP or SRTCP by AEAD-GCM (RFC 7714, RFC 5761)         |
//! ```
//!
//! The first octet is none that RFC 7983 §7 gives to RTP, STUN, TURN or DTLS. The header is in the clear and needs no proof of
//! its own: each name has keys of its own, so a packet under another name is not opened by them.
//!
//! `tests/fuzz/targets/span.rs` compiles this file by itself.

use model::media::SpanId;

/// Octets before each packet.
pub const HEADER_LENGTH: usize = 12;
/// Octets of the shortest packet: the header of SRTCP's first report and its index, or RTP's header.
pub const PACKET_MIN: usize = 12;
const MARK: [u8; 4] = [b'S', b'P', 1, 0];

/// What stands before a packet of that span.
pub const fn header(SpanId(id): SpanId) -> [u8; HEADER_LENGTH] {
    let [a, b, c, d] = MARK;
    let [i, j, k, l, m, n, o, p] = id.to_be_bytes();
    [a, b, c, d, i, j, k, l, m, n, o, p]
}

/// Which span a datagram is of. `None`: it is cut short, or none of version 1 that holds RTP or RTCP of version 2.
pub fn read(datagram: &[u8]) -> Option<SpanId> {
    let (mark, rest) = datagram.split_first_chunk()?;
    let (id, packet) = rest.split_first_chunk()?;
    let whole = *mark == MARK && packet.len() >= PACKET_MIN && packet[0] >> 6 == 2;
    whole.then(|| SpanId(u64::from_be_bytes(*id)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(id: u64, packet in prop::collection::vec(any::<u8>(), 11..40)) {
            let mut packet = packet;
            packet[0] = 0x80;
            let datagram = [&header(SpanId(id))[..], &packet].concat();
            prop_assert_eq!(read(&datagram), (packet.len() >= PACKET_MIN).then_some(SpanId(id)));
            for cut in 0..HEADER_LENGTH + PACKET_MIN {
                prop_assert_eq!(read(&datagram[..cut.min(datagram.len())]).filter(|_| cut < datagram.len()), None);
            }
        }

        #[test]
        fn anything_else_is_no_span(datagram in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(span) = read(&datagram) {
                prop_assert!(datagram.starts_with(&header(span)) && datagram[HEADER_LENGTH] >> 6 == 2);
            }
        }
    }
}
