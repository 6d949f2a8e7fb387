//! Writing messages. One buffer is reused; each message leaves as bytes of exactly its length.

use std::{fmt::Write as _, net::IpAddr};

use bytes::Bytes;
use model::net::Flow;

use super::{Message, Name};
use crate::{header::Via, typed};

/// Writes one message at a time, from its first line to its body.
#[derive(Debug, Default)]
pub struct Writer {
    head: Vec<u8>,
}

impl Writer {
    /// Begins a request.
    pub fn request(&mut self, method: &str, uri: &str) -> &mut Self {
        self.head.clear();
        self.clean(method.as_bytes()).raw(b" ").clean(uri.as_bytes()).raw(b" SIP/2.0\r\n")
    }

    /// Begins a response. Without a reason phrase it takes the registered one.
    pub fn response(&mut self, code: u16, reason: Option<&str>) -> &mut Self {
        self.head.clear();
        let reason = reason.unwrap_or_else(|| typed::reason_phrase(code));
        let _infallible = write!(Text(&mut self.head), "SIP/2.0 {code} ");
        self.clean(reason.as_bytes()).raw(b"\r\n")
    }

    /// Adds a field. Line ends in it become spaces, so that no value can smuggle in another field.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.clean(name.as_bytes()).raw(b": ").clean(value.as_ref()).raw(b"\r\n")
    }

    /// Adds a field whose value is a number.
    pub fn number(&mut self, name: &str, value: impl Into<u64>) -> &mut Self {
        let _infallible = write!(Text(&mut self.head), "{name}: {}\r\n", value.into());
        self
    }

    /// Ends the message with a body, if there is one, and gives it away. Without a type the body is not labelled.
    pub fn finish(&mut self, content_type: &str, body: &[u8]) -> Bytes {
        if !body.is_empty() && !content_type.is_empty() {
            self.header("Content-Type", content_type);
        }
        self.number("Content-Length", body.len() as u64).raw(b"\r\n").raw(body);
        Bytes::copy_from_slice(&self.head)
    }

    /// Ends the message without a body.
    pub fn finish_empty(&mut self) -> Bytes {
        self.finish("", &[])
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.head.extend_from_slice(bytes);
        self
    }

    fn clean(&mut self, bytes: &[u8]) -> &mut Self {
        let blank = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        self.head.extend(bytes.iter().map(blank));
        self
    }
}

/// Formats into bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Copies into a response what belongs there (RFC 3261 §8.2.6.2): every Via, the topmost with `received` and
/// `rport` filled in (§18.2.1, RFC 3581 §4), From, To with `tag` if it has none, Call-ID and CSeq.
pub fn copy_for_response(writer: &mut Writer, request: &Message, flow: &Flow, tag: Option<&str>) {
    for (place, value) in request.headers(Name::Via).enumerate() {
        match (place, Via::parse(value)) {
            (0, Some((via, rest))) => {
                let top = &value[..value.len() - rest.map_or(0, |rest| rest.len() + 1)];
                writer.header("Via", received_via(top, &via, flow, rest));
            }
            _ => {
                writer.header("Via", value);
            }
        }
    }
    writer.header("From", request.header(Name::From).unwrap_or(b""));
    let to = request.header(Name::To).unwrap_or(b"");
    match tag.filter(|_| request.to_tag().is_none()) {
        Some(tag) => writer.header("To", [to, b";tag=", tag.as_bytes()].concat()),
        None => writer.header("To", to),
    };
    writer.header("Call-ID", request.header(Name::CallId).unwrap_or(b""));
    writer.header("CSeq", request.header(Name::CSeq).unwrap_or(b""));
}

fn received_via(top: &[u8], via: &Via<'_>, flow: &Flow, rest: Option<&[u8]>) -> Vec<u8> {
    let source = unmapped(flow.remote.ip());
    let wants_port = via.rport().is_some();
    let known = crate::uri::host_ip(via.host) == Some(source);
    let mut value = Vec::with_capacity(top.len() + 48);
    for (place, part) in split_params(top).enumerate() {
        let name = part.split(|byte| *byte == b'=').next().map_or(&[][..], crate::lex::trim);
        let ours =
            name.eq_ignore_ascii_case(b"received") || (name.eq_ignore_ascii_case(b"rport") && place > 0);
        if place == 0 || !ours {
            if place > 0 {
                value.push(b';');
            }
            value.extend_from_slice(crate::lex::trim(part));
        }
    }
    let mut text = Text(&mut value);
    if wants_port {
        let _infallible = write!(text, ";rport={}", flow.remote.port());
    }
    if wants_port || !known {
        let _infallible = write!(text, ";received={source}");
    }
    if let Some(rest) = rest {
        value.extend_from_slice(b", ");
        value.extend_from_slice(rest);
    }
    value
}

/// An IPv4 peer on an IPv6 socket is an IPv4 peer.
fn unmapped(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Splits at each `;` outside of quotes.
fn split_params(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && !was_escaped => escaped = true,
            b'"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        *byte == b';' && !quoted
    })
}
