//! Header fields that are about dialogs and sessions: RAck (RFC 3262 §7.2), Session-Expires (RFC 4028 §4), Replaces
//! (RFC 3891 §6.1), Target-Dialog (RFC 4538 §7).

use super::Params;
use crate::lex::{Lexer, text};

/// RAck: which reliable provisional response a PRACK is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The response's RSeq.
    pub rseq: u32,
    /// Number of the request that it answers.
    pub cseq: u32,
    /// Method of that request.
    pub method: &'a str,
}

impl<'a> RAck<'a> {
    /// Parses a value.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let rseq = u32::try_from(lexer.number(u32::MAX.into())?).ok()?;
        matches!(lexer.peek(), Some(b' ' | b'\t')).then_some(())?;
        let (cseq, method) = super::parse_cseq(lexer.rest())?;
        Some(Self { rseq, cseq, method })
    }
}

/// Who refreshes a session, by its part in the transaction that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answered it.
    Uas,
}

impl Refresher {
    /// As it stands in the parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// Session-Expires, and Min-SE, which is the same without a refresher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds.
    pub seconds: u32,
    /// Who refreshes.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Parses a value.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let seconds = u32::try_from(lexer.number(u32::MAX.into())?).ok()?;
        let params = Params::parse(&mut lexer)?;
        let refresher = params.get("refresher").and_then(|name| {
            let both = [Refresher::Uac, Refresher::Uas];
            both.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(name))
        });
        lexer.at_end().then_some(Self { seconds, refresher })
    }

    /// As the value of a header field.
    #[must_use]
    pub fn to_value(self) -> String {
        match self.refresher {
            Some(refresher) => format!("{};refresher={}", self.seconds, refresher.as_str()),
            None => self.seconds.to_string(),
        }
    }
}

/// A dialog that a request names from outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialogName<'a> {
    /// Call-ID.
    pub call_id: &'a str,
    /// The tag of whoever receives the name.
    pub local_tag: &'a str,
    /// The tag of the other end.
    pub remote_tag: &'a str,
    /// Only if it is early still.
    pub early_only: bool,
}

impl<'a> DialogName<'a> {
    /// The value of a Replaces.
    #[must_use]
    pub fn parse_replaces(value: &'a [u8]) -> Option<Self> {
        Self::parse(value, "to-tag", "from-tag")
    }

    /// The value of a Target-Dialog.
    #[must_use]
    pub fn parse_target(value: &'a [u8]) -> Option<Self> {
        Self::parse(value, "local-tag", "remote-tag")
    }

    fn parse(value: &'a [u8], local: &str, remote: &str) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let call_id = text(lexer.take_while(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',')))?;
        let params = Params::parse(&mut lexer)?;
        let whole = lexer.at_end() && !call_id.is_empty();
        let once = |name: &str| {
            let mut found = params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            let (_, value) = found.next()?;
            found.next().is_none().then_some(value)
        };
        whole.then_some(Self {
            call_id,
            local_tag: once(local)?,
            remote_tag: once(remote)?,
            early_only: params.get("early-only").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_dialogs_are_read() {
        let rack = RAck { rseq: 776_656, cseq: 1, method: "INVITE" };
        assert_eq!(RAck::parse(b"776656 1 INVITE"), Some(rack));
        for bad in ["", "1", "1 2", "1 INVITE", "4294967296 1 INVITE", "1 2 INVITE x", "1-2 INVITE"] {
            assert_eq!(RAck::parse(bad.as_bytes()), None, "{bad}");
        }
        let expires = |seconds, refresher| Some(SessionExpires { seconds, refresher });
        for (text, expected) in [
            ("1800", expires(1_800, None)),
            ("90 ; Refresher=UAS;x", expires(90, Some(Refresher::Uas))),
            ("90;refresher=both", expires(90, None)),
            ("", None),
            ("90x", None),
            ("4294967296", None),
        ] {
            assert_eq!(SessionExpires::parse(text.as_bytes()), expected, "{text}");
        }
        let name = DialogName { call_id: "98732@sip", local_tag: "1", remote_tag: "ff87", early_only: true };
        assert_eq!(DialogName::parse_replaces(b"98732@sip ;from-tag=ff87;to-tag=1;early-only"), Some(name));
        let name = DialogName { early_only: false, ..name };
        assert_eq!(DialogName::parse_target(b"98732@sip;local-tag=1;remote-tag=ff87"), Some(name));
        for bad in [
            "",
            ";to-tag=1;from-tag=2",
            "a;to-tag=1",
            "a;to-tag=1;to-tag=2;from-tag=3",
            "a;to-tag=1;from-tag=2,b",
        ] {
            assert_eq!(DialogName::parse_replaces(bad.as_bytes()), None, "{bad}");
        }
    }
}
