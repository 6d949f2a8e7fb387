//! Which part of a message's body is the session description (RFC 3261 §8.2.3, RFC 5621).

use bytes::Bytes;

use crate::{
    header::{MediaType, tokens},
    lex::trim,
    wire::{Message, Name},
};

/// Most parts of a multipart body that are looked at.
const PARTS_MAX: usize = 16;

/// A body that cannot be processed: 415.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported;

/// The session description of a message, if it has one.
pub fn description(message: &Message) -> Result<Option<Bytes>, Unsupported> {
    if message.body().is_empty() {
        return Ok(None);
    }
    let optional = message.header_text(Name::ContentDisposition).is_some_and(is_optional);
    match typed_description(message) {
        Err(Unsupported) if optional => Ok(None),
        other => other,
    }
}

fn is_optional(disposition: &str) -> bool {
    disposition.to_ascii_lowercase().split(';').any(|part| part.trim() == "handling=optional")
}

fn typed_description(message: &Message) -> Result<Option<Bytes>, Unsupported> {
    let encodings = message.headers(Name::ContentEncoding).flat_map(tokens);
    if !encodings.into_iter().all(|encoding| encoding.eq_ignore_ascii_case("identity")) {
        return Err(Unsupported);
    }
    // A body without a label is taken for what every INVITE carries.
    let Some(label) = message.header(Name::ContentType) else { return Ok(Some(message.body_bytes())) };
    let kind = MediaType::parse(label).ok_or(Unsupported)?;
    if kind.is("application", "sdp") {
        return Ok(Some(message.body_bytes()));
    }
    if !kind.kind.eq_ignore_ascii_case("multipart") {
        return Err(Unsupported);
    }
    let boundary =
        kind.params.get("boundary").map(|text| text.trim_matches('"')).filter(|text| !text.is_empty());
    part(&message.body_bytes(), boundary.ok_or(Unsupported)?).map(Some)
}

/// The first `application/sdp` part. One that does not end is no part.
fn part(body: &Bytes, boundary: &str) -> Result<Bytes, Unsupported> {
    let delimiter = format!("--{boundary}");
    let mut from = find(body, delimiter.as_bytes()).ok_or(Unsupported)? + delimiter.len();
    for _ in 0..PARTS_MAX {
        let length = find(&body[from..], delimiter.as_bytes()).ok_or(Unsupported)?;
        let part = body.slice(from..from + length);
        let head = find(&part, b"\r\n\r\n").ok_or(Unsupported)?;
        if is_sdp(&part[..head]) {
            let content = part.slice(head + 4..);
            let end = content.strip_suffix(b"\r\n").map_or(content.len(), <[u8]>::len);
            return Ok(content.slice(..end));
        }
        from += length + delimiter.len();
    }
    Err(Unsupported)
}

fn is_sdp(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        let mut halves = trim(line).splitn(2, |byte| *byte == b':');
        let name = halves.next().is_some_and(|name| trim(name).eq_ignore_ascii_case(b"content-type"));
        let kind = halves.next().and_then(|value| MediaType::parse(trim(value)));
        name && kind.is_some_and(|kind| kind.is("application", "sdp"))
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_found_among_several_parts() {
        let body = Bytes::from_static(
            b"--x\r\nContent-Type: application/isup\r\n\r\n\x01\x00\r\n--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--x--\r\n",
        );
        assert_eq!(part(&body, "x"), Ok(Bytes::from_static(b"v=0\r\n")));
        assert_eq!(part(&body.slice(..body.len() - 8), "x"), Err(Unsupported));
        assert_eq!(part(&body, "y"), Err(Unsupported));
    }
}
