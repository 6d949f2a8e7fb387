//! Where a URL leads.

/// What a URL says, as far as it is one of a service: no user, no password, no fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// As it says, or that of its scheme.
    pub port: u16,
    /// As a Host header has it.
    pub authority: String,
    /// What paths are put behind; without a slash at its end.
    pub path: String,
}

impl Target {
    /// Reads `https://host[:port][/path]`, or the same with `http`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let plain = |text: &str| !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
        if authority.contains('@') || path.contains('#') || !plain(rest) {
            return None;
        }
        let (host, port) = host_and_port(authority)?;
        let usual = if tls { 443 } else { 80 };
        Some(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or(usual),
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// What is asked for, below it.
    #[must_use]
    pub fn below(&self, path: &str) -> String {
        let whole = format!("{}{path}", self.path);
        if whole.starts_with('/') { whole } else { format!("/{whole}") }
    }

    /// Host and port as a CONNECT names them (RFC 9110 §9.3.6).
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}:{}", self.host, self.port)
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_and_what_for() {
        for (url, wanted) in [
            ("https://a.example", Some(("a.example", 443, "/x"))),
            ("https://a.example/", Some(("a.example", 443, "/x"))),
            ("https://a.example:8443/api/", Some(("a.example", 8443, "/api/x"))),
            ("https://[2001:db8::1]:9/api", Some(("2001:db8::1", 9, "/api/x"))),
            ("http://a.example", Some(("a.example", 80, "/x"))),
            ("https://user:password@a.example", None),
            ("https://a.example:0", None),
            ("https://a.example:70000", None),
            ("https://[2001:db8::1", None),
            ("https://", None),
            ("ftp://a.example", None),
            ("https://a.example/ x", None),
            ("https://a.example/\r\nX: y", None),
        ] {
            let target = Target::parse(url);
            let found = target.as_ref().map(|target| (target.host.as_str(), target.port, target.below("/x")));
            assert_eq!(found, wanted.map(|(host, port, path)| (host, port, path.to_owned())), "{url}");
        }
        let target = Target::parse("https://[2001:db8::1]").unwrap();
        assert_eq!(target.host_and_port(), "[2001:db8::1]:443");
    }
}
