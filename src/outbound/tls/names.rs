//! Whom a certificate names (RFC 5922 §7.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

/// Names of one certificate that are read. A proxy of many domains has hundreds.
const NAMES_MAX: usize = 1_024;

/// The SIP domains of a certificate (DER), in lower case, and its addresses: of `sip:` URIs; without any of these, of DNS
/// names; without any alternative name at all, the common name. A wildcard is nobody's name (RFC 5922 §7.2).
pub fn of(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Some(alternatives) = certificate.subject_alternative_name().ok().flatten() else {
        let names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        return names.take(1).filter_map(domain).collect();
    };
    let (mut domains, mut hosts, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for name in alternatives.value.general_names.iter().take(NAMES_MAX) {
        match name {
            GeneralName::URI(uri) => domains.extend(sip_domain(uri)),
            GeneralName::DNSName(host) => hosts.extend(domain(host)),
            GeneralName::IPAddress(octets) => addresses.extend(address(octets)),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => {}
        }
    }
    if domains.is_empty() {
        domains = hosts;
    }
    domains.extend(addresses);
    domains
}

/// Whether one of `wanted` is among the certificate's names.
pub fn any_of<'a>(names: &[String], mut wanted: impl Iterator<Item = &'a str>) -> bool {
    wanted.any(|wanted| {
        let same_address = |name: &str| Some(name.parse::<IpAddr>().ok()? == wanted.parse::<IpAddr>().ok()?);
        names.iter().any(|name| name.eq_ignore_ascii_case(wanted) || same_address(name).unwrap_or(false))
    })
}

/// The host of `sip:example.net`; nothing of one with a user, which names a person.
fn sip_domain(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let host = rest.split([';', '?']).next().unwrap_or_default();
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    domain(host)
}

fn domain(host: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain)).then(|| host.to_ascii_lowercase())
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).to_string());
    let v6 = <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).to_string());
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn names(common: &str, alternatives: Vec<SanType>) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives;
        let key = KeyPair::generate().unwrap();
        of(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn sip_domains_come_before_hosts_and_hosts_before_the_common_name() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
        let rows: [(&str, Vec<SanType>, &[&str]); 8] = [
            ("only a common name", vec![], &["cn.example"]),
            ("a host", vec![dns("Edge.Example")], &["edge.example"]),
            ("a domain and a host", vec![dns("edge.example"), uri("sip:example.net")], &["example.net"]),
            ("a domain with a port", vec![uri("SIP:Example.Net:5061;x=y")], &["example.net"]),
            (
                "a person and a host",
                vec![uri("sip:alice@example.net"), dns("edge.example")],
                &["edge.example"],
            ),
            ("a web page alone", vec![uri("https://example.net")], &[]),
            ("a wildcard", vec![dns("*.example.net")], &[]),
            ("an address", vec![SanType::IpAddress([192, 0, 2, 7].into())], &["192.0.2.7"]),
        ];
        for (what, alternatives, wanted) in rows {
            assert_eq!(names("cn.example", alternatives), wanted, "{what}");
        }
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        assert_eq!(of(b"made-up"), Vec::<String>::new());
    }

    #[test]
    fn addresses_are_compared_as_such() {
        let names = ["2001:db8::1".to_owned(), "example.net".to_owned()];
        assert!(any_of(&names, ["2001:DB8:0::1"].into_iter()));
        assert!(any_of(&names, ["other.example", "EXAMPLE.net"].into_iter()));
        assert!(!any_of(&names, ["2001:db8::2", "a.example.net"].into_iter()));
    }
}
