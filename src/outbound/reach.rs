//! Which addresses may be asked for what a stranger names: public ones, and those that the VoiceCluster lists.
//!
//! A URL of a peer must not make this pod a way into the platform's own networks. Names are resolved here, and what is
//! connected to is the address that was looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Most addresses of a name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// Why a host may not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No name server knows it.
    #[error("{0} is not found")]
    NotFound(String),
    /// It is inside.
    #[error("{0} is inside the platform's networks, and the VoiceCluster's reachableRanges do not list it")]
    Inside(String),
}

/// Where a host may be reached, best first.
///
/// # Errors
/// It may not, or is nowhere.
pub async fn resolve(host: &str, port: u16, ranges: &[IpNet]) -> Result<Vec<SocketAddr>, Refused> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => match tokio::net::lookup_host((bare, port)).await {
            Ok(found) => found.take(ADDRESSES_MAX).collect(),
            Err(_) => Vec::new(),
        },
    };
    if found.is_empty() {
        return Err(Refused::NotFound(bare.to_owned()));
    }
    let allowed: Vec<_> = found.into_iter().filter(|address| may_reach(address.ip(), ranges)).collect();
    if allowed.is_empty() { Err(Refused::Inside(bare.to_owned())) } else { Ok(allowed) }
}

/// Whether an address is one of the Internet's, or listed.
#[must_use]
pub fn may_reach(address: IpAddr, ranges: &[IpNet]) -> bool {
    is_listed(address, ranges) || is_public(address)
}

/// Whether the VoiceCluster lists it.
#[must_use]
pub fn is_listed(address: IpAddr, ranges: &[IpNet]) -> bool {
    let canonical = address.to_canonical();
    ranges.iter().any(|range| range.contains(&canonical))
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The registry of RFC 6890, as far as it is not globally reachable.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead on to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0x0db8, ..] | [0x2001, 0, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_and_listed_ones_may_be_reached() {
        let ranges = ["10.20.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
        for (address, wanted) in [
            ("93.184.216.34", true),
            ("10.20.0.5", true),
            ("::ffff:10.20.0.5", true),
            ("fd00:1::7", true),
            ("2606:2800:220:1::1", true),
            ("10.21.0.5", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("::", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::ffff:127.0.0.1", false),
            ("::127.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::5db8:d822", true),
            ("2002:a00:1::", false),
            ("fe80::1", false),
            ("fd00:2::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(may_reach(address.parse().unwrap(), &ranges), wanted, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let refused = resolve("localhost", 443, &[]).await.unwrap_err();
        assert!(refused.to_string().contains("reachableRanges"), "{refused}");
        let ranges = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        assert!(!resolve("localhost", 443, &ranges).await.unwrap().is_empty());
        assert!(resolve("[::1]", 443, &ranges).await.is_ok());
    }
}
