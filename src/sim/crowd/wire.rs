//! As much of a SIP message as whoever looks on must know.

/// What a message begins with, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub kind: Kind<'a>,
    pub call_id: &'a str,
    /// Of CSeq.
    pub method: &'a str,
    /// Whether To has a tag: a request is within a dialog then.
    pub is_within: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// With the user of its Request-URI.
    Request(&'a str),
    Response(u16),
}

impl<'a> Head<'a> {
    /// None: it is no message of our endpoints, which write field names in full.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let first = lines.next()?;
        let kind = match first.strip_prefix("SIP/2.0 ") {
            Some(status) => Kind::Response(status.get(..3)?.parse().ok()?),
            None => {
                let uri = first.split(' ').nth(1)?;
                Kind::Request(uri.strip_prefix("sip:")?.split(['@', ';']).next()?)
            }
        };
        let (mut call_id, mut method, mut is_within) = (None, None, false);
        for line in lines {
            if let Some(value) = line.strip_prefix("Call-ID: ") {
                call_id = Some(value);
            } else if let Some(value) = line.strip_prefix("CSeq: ") {
                method = value.split(' ').nth(1);
            } else if let Some(value) = line.strip_prefix("To: ") {
                is_within = value.contains(";tag=");
            } else if line.is_empty() {
                break;
            }
        }
        Some(Self { kind, call_id: call_id?, method: method?, is_within })
    }

    /// `INVITE`, or `200 INVITE`.
    pub fn told(&self) -> String {
        match self.kind {
            Kind::Request(user) => format!("{} {user}", self.method),
            Kind::Response(code) => format!("{code} {}", self.method),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_is_stands_in_its_head() {
        let invite = b"INVITE sip:+12125550100@192.0.2.1 SIP/2.0\r\nTo: <sip:x@y>\r\nCall-ID: abc\r\nCSeq: 7 INVITE\r\n\r\n";
        let head = Head::of(invite).unwrap();
        assert_eq!(head.kind, Kind::Request("+12125550100"));
        assert_eq!((head.call_id, head.method, head.is_within), ("abc", "INVITE", false));
        let answer = b"SIP/2.0 200 OK\r\nTo: <sip:x@y>;tag=1\r\nCall-ID: abc\r\nCSeq: 8 BYE\r\n\r\n";
        let head = Head::of(answer).unwrap();
        assert_eq!((head.kind, head.told().as_str(), head.is_within), (Kind::Response(200), "200 BYE", true));
        assert!(Head::of(b"\r\n\r\n").is_none());
    }
}
