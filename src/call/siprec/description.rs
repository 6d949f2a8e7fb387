//! One session description of several streams, made out of one for each and taken apart into one for each (RFC 7866 §8.1.1).

use bytes::Bytes;

/// Joins descriptions of one session, each of one stream. The streams are labelled from 1 up (RFC 4574).
#[must_use]
pub fn joined(parts: &[Bytes]) -> Bytes {
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 16).sum());
    for (place, part) in parts.iter().enumerate() {
        let begin = streams(part).next().unwrap_or(part.len());
        if place == 0 {
            text.extend_from_slice(&part[..begin]);
        }
        text.extend_from_slice(&part[begin..]);
        text.extend_from_slice(format!("a=label:{}\r\n", label(place)).as_bytes());
    }
    text.into()
}

/// The label of a stream.
#[must_use]
pub const fn label(place: usize) -> usize {
    place + 1
}

/// The first `count` streams, each in a description of its own. None: there is no such stream.
#[must_use]
pub fn parted(description: &[u8], count: usize) -> Vec<Option<Bytes>> {
    let begins: Vec<usize> = streams(description).collect();
    let session = begins.first().copied().unwrap_or(description.len());
    let part = |place: usize| {
        let begin = *begins.get(place)?;
        let end = begins.get(place + 1).copied().unwrap_or(description.len());
        Some(Bytes::from([&description[..session], &description[begin..end]].concat()))
    };
    (0..count).map(part).collect()
}

/// A description that tells its reader whether the call is recorded (RFC 7866 §6.1.2, §7.1): by its first stream that there is.
#[must_use]
pub fn told(description: &Bytes, records: Records) -> Bytes {
    let begins: Vec<usize> = streams(description).collect();
    let end = |place: usize| begins.get(place + 1).copied().unwrap_or(description.len());
    let refused = |begin: usize, end: usize| {
        let mut words = description[begin..end].split(|byte| byte.is_ascii_whitespace());
        words.nth(1) == Some(&b"0"[..])
    };
    let there = begins.iter().enumerate().find(|&(place, &begin)| !refused(begin, end(place)));
    let Some((place, _)) = there else { return description.clone() };
    let (before, after) = description.split_at(end(place));
    [before, records.attribute(), after].concat().into()
}

/// What a recording-aware peer is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Records {
    /// Nobody records the call.
    #[default]
    Off,
    /// It is recorded.
    On,
    /// It is recorded, and not what is said now.
    Paused,
}

impl Records {
    const fn attribute(self) -> &'static [u8] {
        match self {
            Self::Off => b"a=record:off\r\n",
            Self::On => b"a=record:on\r\n",
            Self::Paused => b"a=record:paused\r\n",
        }
    }
}

/// Where streams begin.
fn streams(text: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |place: usize| place == 0 || text[place - 1] == b'\n';
    text.windows(2)
        .enumerate()
        .filter(move |(place, two)| *two == b"m=" && begins(*place))
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=m=\r\nm=audio 4 RTP/AVP 0\r\na=sendonly\r\n";
    const TWO: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=m=\r\nm=audio 6 RTP/AVP 8\r\n";

    #[test]
    fn streams_are_joined_with_their_labels_and_taken_apart_again() {
        let text = joined(&[Bytes::from_static(ONE), Bytes::from_static(TWO)]);
        assert_eq!(
            text,
            &b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=m=\r\nm=audio 4 RTP/AVP 0\r\na=sendonly\r\na=label:1\r\n\
               m=audio 6 RTP/AVP 8\r\na=label:2\r\n"[..]
        );
        let parts = parted(&text, 3);
        assert_eq!(parts[1].as_deref(), Some(&[TWO, b"a=label:2\r\n"].concat()[..]));
        assert_eq!(parts[2], None);
    }

    #[test]
    fn whoever_is_recorded_is_told_by_the_stream_that_there_is() {
        let text = Bytes::from_static(
            b"v=0\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4 RTP/AVP 0\r\na=x\r\nm=video 0 RTP/AVP 9\r\n",
        );
        let wanted = b"v=0\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4 RTP/AVP 0\r\na=x\r\na=record:on\r\nm=video 0 RTP/AVP 9\r\n";
        assert_eq!(told(&text, Records::On), &wanted[..]);
        let none = Bytes::from_static(b"v=0\r\nm=audio 0 RTP/AVP 0\r\n");
        assert_eq!(told(&none, Records::On), none);
    }

    #[test]
    fn what_is_no_description_has_no_streams() {
        for text in [&b""[..], b"v=0\r\n", b"xm=audio", b"\xff\xff"] {
            assert_eq!(parted(text, 2), [None, None]);
        }
        assert_eq!(parted(b"m=", 1), [Some(Bytes::from_static(b"m="))]);
    }
}
