//! URIs as borrowed views: SIP and SIPS (RFC 3261 §19.1), tel (RFC 3966), urn and any other (RFC 3986).
//!
//! Parsing checks the grammar once; the parts are slices of the text that was parsed, still escaped.

use std::{borrow::Cow, net::IpAddr};

use crate::lex::{Lexer, escapes_are_whole, is_unreserved, rsplit_once, split_once, text};

/// Which kind of URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// `urn:`
    Urn,
    /// Any other.
    Other,
}

/// A URI. Equality by RFC 3261 §19.1.4 is [`Uri::is_equivalent`], not `==`.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    /// All of it.
    pub text: &'a str,
    /// Its scheme.
    pub scheme: Scheme,
    /// Of SIP: the part before `@` or the password's colon. Of tel: the number. Of others: what follows the scheme.
    pub user: Option<&'a str>,
    /// Of SIP: what follows the user's colon.
    pub password: Option<&'a str>,
    /// Of SIP: name or address, an IPv6 one in brackets. Of others empty.
    pub host: &'a str,
    /// Of SIP.
    pub port: Option<u16>,
    /// Parameters without the first `;`.
    params: &'a str,
    /// Headers without the `?`.
    headers: Option<&'a str>,
}

/// Why a text is not a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a URI such as sip:+12125550100@192.0.2.1")]
pub struct NotAUri;

impl<'a> Uri<'a> {
    /// Parses all of `bytes`.
    ///
    /// # Errors
    /// When it is not a URI of RFC 3261, RFC 3966 or RFC 3986.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotAUri> {
        let whole = text(bytes).filter(|text| text.is_ascii()).ok_or(NotAUri)?;
        let (scheme, rest) = split_once(whole, b':').ok_or(NotAUri)?;
        match scheme {
            _ if scheme.eq_ignore_ascii_case("sip") => sip(whole, Scheme::Sip, rest),
            _ if scheme.eq_ignore_ascii_case("sips") => sip(whole, Scheme::Sips, rest),
            _ if scheme.eq_ignore_ascii_case("tel") => tel(whole, rest),
            _ => other(whole, scheme, rest),
        }
        .ok_or(NotAUri)
    }

    /// Value of a parameter; empty for one without a value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(self.params, ';')
    }

    /// Whether it carries header fields, which a Request-URI must not (RFC 3261 §19.1.1).
    #[must_use]
    pub const fn has_headers(&self) -> bool {
        self.headers.is_some()
    }

    /// Its header fields, name and escaped value, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(self.headers.unwrap_or(""), '&')
    }

    /// All of it but the header fields.
    #[must_use]
    pub fn without_headers(&self) -> &'a str {
        self.text.split('?').next().filter(|_| self.has_headers()).unwrap_or(self.text)
    }

    /// The host, if it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    /// Whether both name the same resource (RFC 3261 §19.1.4).
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        // Whatever it is, a parameter that stands there twice among it.
        if self.text == other.text {
            return true;
        }
        if self.scheme != other.scheme {
            return false;
        }
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return self.text.eq_ignore_ascii_case(other.text);
        }
        same_escaped(self.user, other.user)
            && same_escaped(self.password, other.password)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && same_params(self, other)
            && same_headers(self, other)
    }
}

/// The address that a host is, if it is one.
#[must_use]
pub fn host_ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Replaces each `%HH` by its byte; bytes that are no UTF-8 become U+FFFD.
#[must_use]
pub fn unescape(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('%') {
        return Cow::Borrowed(escaped);
    }
    Cow::Owned(String::from_utf8_lossy(&unescaped_bytes(escaped)).into_owned())
}

/// Escapes what may not stand in the user part of a SIP URI.
#[must_use]
pub fn escape_user(plain: &str) -> Cow<'_, str> {
    if plain.bytes().all(is_user) {
        return Cow::Borrowed(plain);
    }
    let mut escaped = String::with_capacity(plain.len() + 8);
    for byte in plain.bytes() {
        if is_user(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(escaped)
}

fn sip<'a>(whole: &'a str, scheme: Scheme, rest: &'a str) -> Option<Uri<'a>> {
    let (userinfo, rest) = match rsplit_once(rest, b'@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    let (user, password) = split_userinfo(userinfo)?;
    let mut lexer = Lexer::new(rest.as_bytes());
    let host = &rest[..lexer.host_bytes()?.len()];
    let port = if lexer.eat(b':') { Some(lexer.port()?) } else { None };
    let rest = &rest[lexer.at..];
    let (params, headers) = match split_once(rest, b'?') {
        Some((params, headers)) => (params, Some(headers)),
        None => (rest, None),
    };
    let params = check_params(params)?;
    if headers.is_some_and(|headers| !headers_are_valid(headers)) {
        return None;
    }
    Some(Uri { text: whole, scheme, user, password, host, port, params, headers })
}

fn split_userinfo(userinfo: Option<&str>) -> Option<(Option<&str>, Option<&str>)> {
    let Some(userinfo) = userinfo else { return Some((None, None)) };
    let (user, password) = match split_once(userinfo, b':') {
        Some((user, password)) => (user, Some(password)),
        None => (userinfo, None),
    };
    let valid = |part: &str| {
        part.bytes().all(|byte| USER[usize::from(byte)] || byte == b'%') && escapes_are_whole(part.as_bytes())
    };
    (!user.is_empty() && valid(user) && password.is_none_or(valid)).then_some((Some(user), password))
}

/// `user-unreserved` and `#`, which dial strings carry unescaped in practice.
const fn is_user(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#')
}

/// Those of [`is_user`]: one look for each byte.
const USER: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_user(byte as u8);
        byte += 1;
    }
    table
};

/// Takes `;a=b;c`, gives it without the first `;`.
fn check_params(params: &str) -> Option<&str> {
    if params.is_empty() {
        return Some(params);
    }
    let params = params.strip_prefix(';')?;
    let valid = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| is_param(byte) || byte == b'%')
            && escapes_are_whole(part.as_bytes())
    };
    let all_valid = params.split(';').all(|param| match param.split_once('=') {
        Some((name, value)) => valid(name) && valid(value),
        None => valid(param),
    });
    all_valid.then_some(params)
}

const fn is_param(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

fn headers_are_valid(headers: &str) -> bool {
    let valid = |part: &str| {
        let allowed = |byte| {
            is_unreserved(byte)
                || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$' | b'%' | b';')
        };
        part.bytes().all(allowed) && escapes_are_whole(part.as_bytes())
    };
    headers.split('&').all(|header| match header.split_once('=') {
        Some((name, value)) => !name.is_empty() && valid(name) && valid(value),
        None => false,
    })
}

fn tel<'a>(whole: &'a str, rest: &'a str) -> Option<Uri<'a>> {
    let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let digit = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#');
    let separator = |byte: u8| matches!(byte, b'-' | b'.' | b'(' | b')');
    let digits = number.strip_prefix('+').unwrap_or(number);
    let valid = digits.bytes().all(|byte| digit(byte) || separator(byte)) && digits.bytes().any(digit);
    let params = check_params(params)?;
    valid.then_some(Uri {
        text: whole,
        scheme: Scheme::Tel,
        user: Some(number),
        password: None,
        host: "",
        port: None,
        params,
        headers: None,
    })
}

fn other<'a>(whole: &'a str, scheme: &str, rest: &'a str) -> Option<Uri<'a>> {
    let scheme_valid =
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            && scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let rest_valid = !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"'));
    let kind = if scheme.eq_ignore_ascii_case("urn") { Scheme::Urn } else { Scheme::Other };
    (scheme_valid && rest_valid).then_some(Uri {
        text: whole,
        scheme: kind,
        user: Some(rest),
        password: None,
        host: "",
        port: None,
        params: "",
        headers: None,
    })
}

fn pairs<'a>(list: &'a str, separator: char) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let parts = list.split(separator).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

fn unescaped_bytes(escaped: &str) -> Vec<u8> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(text);
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &tail[2..];
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

fn same_escaped(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => unescaped_bytes(one) == unescaped_bytes(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn same_params(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    // These never match when they stand in one URI only.
    const STRICT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    let covered = |a: &Uri<'_>, b: &Uri<'_>| {
        a.params().all(|(name, value)| match b.param(name) {
            Some(theirs) => unescaped_bytes(value).eq_ignore_ascii_case(&unescaped_bytes(theirs)),
            None => !STRICT.iter().any(|strict| strict.eq_ignore_ascii_case(name)),
        })
    };
    covered(one, other) && covered(other, one)
}

fn same_headers(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    let sorted = |uri: &Uri<'_>| {
        let headers = pairs(uri.headers.unwrap_or(""), '&');
        let mut all: Vec<_> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), unescaped_bytes(value))).collect();
        all.sort();
        all
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn parts_are_found() {
        for (text, user, host, port) in [
            ("sip:alice@atlanta.com", Some("alice"), "atlanta.com", None),
            ("sips:alice:secret@atlanta.com:5061;transport=tcp", Some("alice"), "atlanta.com", Some(5061)),
            (
                "sip:+12125550100@[2001:db8::1]:5060;user=phone",
                Some("+12125550100"),
                "[2001:db8::1]",
                Some(5060),
            ),
            (
                "sip:user;par=u%40example.net@example.com",
                Some("user;par=u%40example.net"),
                "example.com",
                None,
            ),
            ("sip:192.0.2.1", None, "192.0.2.1", None),
            ("sip:*31#@192.0.2.1", Some("*31#"), "192.0.2.1", None),
            ("tel:+1-800-555-0100;ext=1", Some("+1-800-555-0100"), "", None),
            ("urn:service:sos", Some("service:sos"), "", None),
            ("soap.beep://192.0.2.103:3002", Some("//192.0.2.103:3002"), "", None),
        ] {
            let uri = uri(text);
            assert_eq!((uri.user, uri.host, uri.port), (user, host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for bad in [
            "",
            "sip:",
            "sip",
            "sip:@host",
            "sip:a b@host",
            "sip:a@host:0",
            "sip:a@host:99999",
            "sip:a@ho st",
            "sip:a@[::1",
            "sip:a@[zz]",
            "sip:a%4@host",
            "sip:a@host;;x",
            "sip:a@host;",
            "<sip:a@host>",
            "tel:",
            "tel:+",
            "tel:abz",
            "1x:y",
            "http:",
            "sip:a@host?x",
            "sip:a@-",
            "sip:a@b@c d",
        ] {
            assert!(Uri::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn comparison_follows_the_rfc() {
        for (one, other, same) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", true),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
                true,
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
                true,
            ),
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false),
        ] {
            assert_eq!(uri(one).is_equivalent(&uri(other)), same, "{one} {other}");
            assert_eq!(uri(other).is_equivalent(&uri(one)), same, "{other} {one}");
        }
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        for plain in ["alice", "a b", "a@b", "100%", "grün", "+1#"] {
            assert_eq!(unescape(&escape_user(plain)), plain);
        }
    }
}
