//! Header fields as borrowed, typed values (RFC 3261 §20, §25.1).
//!
//! Each is parsed from a value whose folds are spaces already, as [`crate::wire::Message`] gives them.

use std::net::IpAddr;

use crate::{
    lex::{Lexer, is_token, text, trim},
    uri::{Uri, host_ip},
};

mod dialog;

pub use dialog::{DialogName, RAck, Refresher, SessionExpires};

/// `;name=value` list of a header field.
#[derive(Debug, Clone, Copy, Default)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// Value of a parameter, with its quotes if it has them; empty for one without a value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All parameters, in order. One whose value is no UTF-8 shows as empty.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut lexer = Lexer::new(self.0);
        std::iter::from_fn(move || {
            let (name, value) = param(&mut lexer).ok().flatten()?;
            Some((text(name)?, text(value).unwrap_or("")))
        })
    }

    /// Parses as many parameters as there are.
    pub(crate) fn parse(lexer: &mut Lexer<'a>) -> Option<Self> {
        Self::parse_each(lexer, |_, _| ())
    }

    /// As [`Params::parse`], and tells each, so that what is always asked for need not be looked for again.
    fn parse_each(lexer: &mut Lexer<'a>, mut tell: impl FnMut(&'a [u8], &'a [u8])) -> Option<Self> {
        let start = lexer.at;
        while let Some((name, value)) = param(lexer).ok()? {
            tell(name, value);
        }
        Some(Self(&lexer.bytes[start..lexer.at]))
    }
}

/// Name and value of a parameter; the value is empty where it has none.
type Param<'a> = (&'a [u8], &'a [u8]);

/// `SEMI name [EQUAL value]`, where the name is a token and the value a token, a host or a quoted string.
fn param<'a>(lexer: &mut Lexer<'a>) -> Result<Option<Param<'a>>, ()> {
    if !lexer.separator(b';') {
        return Ok(None);
    }
    let name = lexer.token_bytes().ok_or(())?;
    if !lexer.separator(b'=') {
        return Ok(Some((name, &[])));
    }
    let value = match lexer.peek() {
        Some(b'"') => lexer.quoted().ok_or(())?,
        Some(_) => lexer.take_while(|byte| {
            is_token(byte) || matches!(byte, b'[' | b']' | b':' | b'/' | b'@' | b'$' | b'&')
        }),
        None => return Err(()),
    };
    if value.is_empty() {
        return Err(());
    }
    Ok(Some((name, value)))
}

/// One value of Via (RFC 3261 §20.42).
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, … as it was written.
    pub transport: &'a str,
    /// Host of sent-by, an IPv6 one in brackets.
    pub host: &'a str,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params<'a>,
    branch: Option<&'a str>,
    received: Option<&'a str>,
    rport: Option<&'a str>,
}

impl<'a> Via<'a> {
    /// The first value of a Via field, and what follows its comma.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<(Self, Option<&'a [u8]>)> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let protocol = lexer.token_bytes()?;
        let slash = lexer.separator(b'/');
        lexer.token_bytes()?;
        if !(protocol.eq_ignore_ascii_case(b"SIP") && slash && lexer.separator(b'/')) {
            return None;
        }
        let transport = lexer.token()?;
        if !matches!(lexer.peek(), Some(b' ' | b'\t')) {
            return None;
        }
        lexer.space();
        let host = lexer.host()?;
        let port = if lexer.separator(b':') { Some(lexer.port()?) } else { None };
        let (mut branch, mut received, mut rport) = (None, None, None);
        let params = Params::parse_each(&mut lexer, |name, value| {
            let known = match name.len() {
                6 if name.eq_ignore_ascii_case(b"branch") => &mut branch,
                8 if name.eq_ignore_ascii_case(b"received") => &mut received,
                5 if name.eq_ignore_ascii_case(b"rport") => &mut rport,
                _ => return,
            };
            known.get_or_insert_with(|| text(value).unwrap_or(""));
        })?;
        let via = Self { transport, host, port, params, branch, received, rport };
        let received_is_valid = received.is_none_or(|text| host_ip(text).is_some());
        let rest = rest_of_list(&mut lexer)?;
        received_is_valid.then_some((via, rest))
    }

    /// The branch parameter, not empty.
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.branch.filter(|branch| !branch.is_empty())
    }

    /// The received parameter.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.received.and_then(host_ip)
    }

    /// The rport parameter (RFC 3581): `Some(None)` asks for it, `Some(Some(port))` has it filled in.
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        self.rport.map(|port| port.parse().ok())
    }
}

/// What follows a list's comma; `None` inside if nothing does. Anything but a comma is an error.
fn rest_of_list<'a>(lexer: &mut Lexer<'a>) -> Option<Option<&'a [u8]>> {
    if lexer.at_end() {
        return Some(None);
    }
    lexer.eat(b',').then(|| Some(lexer.rest()))
}

/// A `name-addr` or `addr-spec` with parameters: From, To, Contact, Route, P-Asserted-Identity, Diversion, …
#[derive(Debug, Clone, Copy)]
pub struct NameAddr<'a> {
    /// Display name as it was written, with its quotes if it has them. May be no UTF-8.
    pub display: &'a [u8],
    /// The URI.
    pub uri: Uri<'a>,
    /// Parameters of the field, not of the URI.
    pub params: Params<'a>,
    tag: Option<&'a str>,
}

impl<'a> NameAddr<'a> {
    /// A field that has one value.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match Self::parse_first(value)? {
            (first, None) => Some(first),
            _ => None,
        }
    }

    /// The first value of a list, and what follows its comma.
    #[must_use]
    pub fn parse_first(value: &'a [u8]) -> Option<(Self, Option<&'a [u8]>)> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let (display, uri) = match lexer.peek()? {
            b'"' => {
                let display = lexer.quoted()?;
                lexer.space();
                (display, bracketed(&mut lexer)?)
            }
            _ => unquoted(&mut lexer)?,
        };
        let uri = Uri::parse(uri).ok()?;
        let mut tag = None;
        let params = Params::parse_each(&mut lexer, |name, value| {
            if name.eq_ignore_ascii_case(b"tag") {
                tag.get_or_insert_with(|| text(value).unwrap_or(""));
            }
        })?;
        let rest = rest_of_list(&mut lexer)?;
        Some((Self { display, uri, params, tag }, rest))
    }

    /// All values of a list, up to the first that is malformed.
    pub fn list(value: &'a [u8]) -> impl Iterator<Item = Self> + use<'a> {
        let mut rest = Some(value);
        std::iter::from_fn(move || {
            let (first, next) = Self::parse_first(rest.take()?)?;
            rest = next;
            Some(first)
        })
    }

    /// Whether every value of a list is well-formed.
    #[must_use]
    pub fn list_is_valid(value: &[u8]) -> bool {
        let mut rest = Some(value);
        while let Some(value) = rest {
            let Some((_, next)) = NameAddr::parse_first(value) else { return false };
            rest = next;
        }
        true
    }

    /// The tag parameter, not empty.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.tag.filter(|tag| !tag.is_empty())
    }
}

/// `<URI>`
fn bracketed<'a>(lexer: &mut Lexer<'a>) -> Option<&'a [u8]> {
    if !lexer.eat(b'<') {
        return None;
    }
    let uri = lexer.take_while(|byte| byte != b'>');
    lexer.eat(b'>').then_some(uri)
}

/// Display name of tokens and `<URI>`, or an `addr-spec`, whose parameters are the field's (§20.10).
fn unquoted<'a>(lexer: &mut Lexer<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let before = *lexer;
    let display = lexer.take_while(|byte| is_token(byte) || byte >= 0x80 || matches!(byte, b' ' | b'\t'));
    if let Some(uri) = bracketed(lexer) {
        return Some((trim(display), uri));
    }
    *lexer = before;
    let uri = lexer.take_while(|byte| !matches!(byte, b';' | b',' | b' ' | b'\t' | b'>' | b'<' | b'"'));
    // A question mark would make the URI's headers the field's (§20.10).
    (!uri.contains(&b'?')).then_some((&[], uri))
}

/// Number and method text of CSeq (RFC 3261 §20.16). The number is below 2³¹ (§8.1.1.5).
#[must_use]
pub fn parse_cseq(value: &[u8]) -> Option<(u32, &str)> {
    let mut lexer = Lexer::new(value);
    lexer.space();
    let number = lexer.number(i32::MAX as u64)?;
    if !matches!(lexer.peek(), Some(b' ' | b'\t')) {
        return None;
    }
    lexer.space();
    let method = lexer.token()?;
    let number = u32::try_from(number).ok()?;
    lexer.at_end().then_some((number, method))
}

/// A field of digits alone, at most `max`.
#[must_use]
pub fn parse_number(value: &[u8], max: u64) -> Option<u64> {
    let mut lexer = Lexer::new(value);
    lexer.space();
    let number = lexer.number(max)?;
    lexer.at_end().then_some(number)
}

/// A media type (RFC 3261 §20.15): type, subtype and parameters.
#[derive(Debug, Clone, Copy)]
pub struct MediaType<'a> {
    /// `application`
    pub kind: &'a str,
    /// `sdp`
    pub subtype: &'a str,
    /// Parameters.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Parses a Content-Type.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let kind = lexer.token()?;
        if !lexer.separator(b'/') {
            return None;
        }
        let subtype = lexer.token()?;
        let params = Params::parse(&mut lexer)?;
        lexer.at_end().then_some(Self { kind, subtype, params })
    }

    /// Whether it is this one, parameters aside.
    #[must_use]
    pub const fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}

/// Reason header (RFC 3326): protocol and cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `Q.850`, `SIP`, …
    pub protocol: &'a str,
    /// The cause, if there is one.
    pub cause: Option<u16>,
}

impl<'a> Reason<'a> {
    /// The first value of a Reason field.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut lexer = Lexer::new(value);
        lexer.space();
        let protocol = lexer.token()?;
        let params = Params::parse(&mut lexer)?;
        Some(Self { protocol, cause: params.get("cause").and_then(|cause| cause.parse().ok()) })
    }
}

/// The members of a comma-separated list of tokens: Require, Supported, Allow, Content-Encoding.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|byte| *byte == b',')
        .filter_map(|member| text(trim(member)))
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_has_its_parts() {
        let (via, rest) = Via::parse(b"SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa, SIP/2.0/TCP [::1]").unwrap();
        assert_eq!(
            (via.transport, via.host, via.port, via.branch()),
            ("UDP", "first.example.com", Some(4000), Some("z9hG4bKa"))
        );
        let (second, none) = Via::parse(rest.unwrap()).unwrap();
        assert_eq!((second.host, second.port, none), ("[::1]", None, None));
        let (via, _) = Via::parse(b"SIP/2.0/UDP h;rport;received=::1").unwrap();
        assert_eq!((via.rport(), via.received()), (Some(None), "::1".parse().ok()));
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "HTTP/1.1/TCP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP h;;,;",
            "SIP/2.0/UDP h:0",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP h;branch=",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h;received=:::1",
        ] {
            assert!(Via::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_tag_inside_a_display_name_is_none() {
        let from =
            NameAddr::parse(br#""a\";tag=evil <sip:x@y>;tag=e" <sip:bob@b.example;tag=u>;tag=real"#).unwrap();
        assert_eq!((from.uri.user, from.tag()), (Some("bob"), Some("real")));
    }

    #[test]
    fn name_addrs_in_all_their_forms() {
        for (text, display, uri, tag) in [
            ("<sip:a@b>", "", "sip:a@b", None),
            ("sip:a@b;tag=1", "", "sip:a@b", Some("1")),
            ("caller<sip:a@b>;tag=1", "caller", "sip:a@b", Some("1")),
            ("A G Bell <sip:a@b> ; tag = 1", "A G Bell", "sip:a@b", Some("1")),
            ("\"Bell, A\" <sip:a@b;x?y=z>", "\"Bell, A\"", "sip:a@b;x?y=z", None),
            ("tel:+1;tag=2", "", "tel:+1", Some("2")),
        ] {
            let parsed = NameAddr::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (parsed.display, parsed.uri.text, parsed.tag()),
                (display.as_bytes(), uri, tag),
                "{text}"
            );
        }
        assert!(NameAddr::parse(b"J\xf6rg <sip:a@b>").is_some());
        for bad in [
            "",
            "<sip:a@b",
            "\"x <sip:a@b>",
            "< sip:a@b >",
            "Bell, A <sip:a@b>",
            "sip:a@b?x=y",
            "<sip:a@b>;;;;",
            "<sip:a@b>, <sip:c@d>",
            "<>",
        ] {
            assert!(NameAddr::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn scalars_have_their_ranges() {
        assert_eq!(parse_cseq(b"2147483647  INVITE "), Some((2_147_483_647, "INVITE")));
        for bad in ["", "1", "INVITE", "2147483648 A", "-1 A", "1 A B", "99999999999999999999 A"] {
            assert_eq!(parse_cseq(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_number(b" 70 ", 255), Some(70));
        for bad in ["", "-1", "256", "7 0", "x"] {
            assert_eq!(parse_number(bad.as_bytes(), 255), None, "{bad}");
        }
        assert_eq!(
            Reason::parse(b"Q.850 ;cause=16 ;text=\"Terminated\""),
            Some(Reason { protocol: "Q.850", cause: Some(16) })
        );
    }
}
