//! Keep-alives of phones behind a NAT on a datagram flow (RFC 5626 §3.5.2): a STUN binding request (RFC 8489) is told
//! whence it came.

use std::net::{IpAddr, SocketAddr};

/// What distinguishes STUN from everything else (RFC 8489 §5).
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
const HEADER: usize = 20;

/// The answer to a binding request; `None`: it is none.
pub fn answer(bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let (header, attributes) = bytes.split_at_checked(HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != BINDING_REQUEST || header[4..8] != COOKIE || length != attributes.len() {
        return None;
    }
    // RFC 8489 §14.2: port and address are masked by cookie and transaction id.
    let mask = &header[4..HEADER];
    let mut value = vec![0, if from.is_ipv4() { 1 } else { 2 }];
    value.extend(masked(&from.port().to_be_bytes(), mask));
    match from.ip() {
        IpAddr::V4(ip) => value.extend(masked(&ip.octets(), mask)),
        IpAddr::V6(ip) => value.extend(masked(&ip.octets(), mask)),
    }
    let length = u16::try_from(value.len()).ok()?;
    let mut answer = Vec::with_capacity(HEADER + 4 + value.len());
    answer.extend(BINDING_SUCCESS);
    answer.extend((length + 4).to_be_bytes());
    answer.extend(mask);
    answer.extend(XOR_MAPPED_ADDRESS);
    answer.extend(length.to_be_bytes());
    answer.extend(value);
    Some(answer)
}

fn masked<'a>(bytes: &'a [u8], mask: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.2 and §2.3 have this transaction, these addresses and these masks.
    const TRANSACTION: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&BINDING_REQUEST[..], &length, &COOKIE, &TRANSACTION, attributes].concat()
    }

    #[test]
    fn a_binding_request_is_told_its_address() {
        let v4 = answer(&request(&[]), "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(v4[..4], [1, 1, 0, 12]);
        assert_eq!(v4[4..20], [&COOKIE[..], &TRANSACTION].concat()[..]);
        assert_eq!(v4[20..], [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let v6 = answer(&request(&[0x80, 0x22, 0, 0]), v6).unwrap();
        let masked =
            [0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9];
        assert_eq!(v6[20..28], [0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47]);
        assert_eq!(v6[28..], masked);
    }

    #[test]
    fn what_is_no_binding_request_is_not_answered() {
        let from = "192.0.2.1:5060".parse().unwrap();
        let mut cut = request(&[0, 1, 2, 3]);
        cut.pop();
        let mut indication = request(&[]);
        indication[1] = 0x11;
        let mut old = request(&[]);
        old[4] = 0;
        for bytes in [&b""[..], b"OPTIONS sip:a SIP/2.0\r\n\r\n", &cut, &indication, &old] {
            assert_eq!(answer(bytes, from), None, "{bytes:?}");
        }
    }
}
