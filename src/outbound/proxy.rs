//! HTTP proxies, by CONNECT (RFC 9110 §9.3.6): who is reached without one, what is said to it, and what it answers.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// Longest head of its answer, in octets.
pub const HEAD_MAX: usize = 8_192;

/// Whether a host is one of those that are reached without the proxy: a domain, or below one.
#[must_use]
pub fn passes_by(host: &str, no_proxy: &[String]) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    no_proxy.iter().any(|domain| {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        let rest = host.strip_suffix(&domain).filter(|_| !domain.is_empty());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// What is said to it. `credentials` are `user:password`.
#[must_use]
pub fn connect(host_and_port: &str, credentials: Option<&[u8]>) -> Vec<u8> {
    let mut head = format!("CONNECT {host_and_port} HTTP/1.1\r\nHost: {host_and_port}\r\n");
    if let Some(credentials) = credentials {
        let credentials = BASE64_STANDARD.encode(credentials.trim_ascii());
        head.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// What of an answer is there so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Not the whole of its head.
    Cut,
    /// Its status, and where its head ends.
    Whole(u16, usize),
    /// It is none.
    Broken,
}

/// Reads an answer's head.
#[must_use]
pub fn answer(bytes: &[u8]) -> Head {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() < HEAD_MAX { Head::Cut } else { Head::Broken };
    };
    let status = bytes.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5)).and_then(|text| {
        let (space, digits) = text.split_first()?;
        let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
        std::str::from_utf8(digits).ok().filter(|_| *space == b' ')?.parse().ok()
    });
    status.map_or(Head::Broken, |status| Head::Whole(status, end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_stands_for_all_below_it_and_nothing_beside() {
        let domains = ["example.com".to_owned(), ".Inside.example".to_owned()];
        for (host, wanted) in [
            ("example.com", true),
            ("crm.example.com", true),
            ("EXAMPLE.COM.", true),
            ("a.inside.example", true),
            ("badexample.com", false),
            ("example.com.evil", false),
            ("com", false),
        ] {
            assert_eq!(passes_by(host, &domains), wanted, "{host}");
        }
        assert!(!passes_by("example.com", &[String::new()]));
    }

    #[test]
    fn answers_are_read_to_the_end_of_their_head() {
        for (bytes, wanted) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Head::Whole(200, 19)),
            (b"HTTP/1.0 407 Who?\r\nA: b\r\n\r\nbody", Head::Whole(407, 27)),
            (b"HTTP/1.1 200 OK\r\n", Head::Cut),
            (b"SSH-2.0-x\r\n\r\n", Head::Broken),
            (b"HTTP/1.1 2\r\n\r\n", Head::Broken),
            (b"HTTP/1.1\r\n\r\n", Head::Broken),
        ] {
            assert_eq!(answer(bytes), wanted, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(answer(&[b'x'; HEAD_MAX]), Head::Broken);
    }

    #[test]
    fn credentials_are_told_in_base64_and_their_line_end_is_not() {
        let said = String::from_utf8(connect("a.example:443", Some(b"user:password\n"))).unwrap();
        assert_eq!(
            said,
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n\r\n"
        );
    }
}
