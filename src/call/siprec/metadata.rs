//! Who is in a recorded call, and in which of its streams (RFC 7865): written whole each time.

use std::fmt::Write;

use jiff::Timestamp;

/// The type of the part (RFC 7866 §9.1).
pub const CONTENT_TYPE: &str = "application/rs-metadata+xml";

/// Its disposition (RFC 7866 §9.2).
pub const DISPOSITION: &str = "recording-session";

/// Name of an object: a UUID (RFC 4122, version 4) as base64 says it (RFC 7865 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub u128);

impl Id {
    /// Out of what is random.
    #[must_use]
    pub const fn of(high: u64, low: u64) -> Self {
        let bits = ((high as u128) << 64) | low as u128;
        Self(bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62))
    }

    fn base64(self) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        // 16 octets are 22 digits, of which the last holds 2 bits, and the padding.
        let digit = |place: u32| {
            let sextet = if place < 21 { self.0 >> (122 - 6 * place) } else { self.0 << 4 };
            char::from(DIGITS[(sextet & 0x3f) as usize])
        };
        (0..22).map(digit).chain(['=', '=']).collect()
    }
}

/// Somebody who is in the call, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Its name.
    pub id: Id,
    /// Address of record: a URI.
    pub aor: String,
    /// For people. Empty: none is known, or it is withheld.
    pub name: String,
    /// Since when.
    pub joined: Timestamp,
    /// Until when. None: still.
    pub left: Option<Timestamp>,
    /// Whether it is heard, and hears: not while it holds or is held.
    pub talks: (bool, bool),
}

/// A recorded call.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Names of the call, of what the contact says, and of what it hears.
    pub ids: [Id; 3],
    /// Call-ID of the contact's leg.
    pub call_id: &'a str,
    /// When it began to be recorded.
    pub began: Timestamp,
    /// The contact first.
    pub participants: &'a [Participant],
}

/// The document.
#[must_use]
pub fn written(scene: &Scene<'_>) -> String {
    let [session, says, hears] = scene.ids.map(Id::base64);
    let mut text = String::with_capacity(2_048);
    text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
    text.push_str(
        "<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n<datamode>complete</datamode>\r\n",
    );
    let began = time(scene.began);
    let call_id = escaped(scene.call_id);
    // A String takes all that is written to it.
    let _ = write!(
        text,
        "<session session_id=\"{session}\"><sipSessionID>{call_id}</sipSessionID><start-time>{began}</start-time></session>\r\n"
    );
    for Participant { id, aor, name, .. } in scene.participants {
        let (id, aor, name) = (id.base64(), escaped(aor), escaped(name));
        let name = if name.is_empty() { name } else { format!("<name>{name}</name>") };
        let _ = write!(
            text,
            "<participant participant_id=\"{id}\"><nameID aor=\"{aor}\">{name}</nameID></participant>\r\n"
        );
    }
    for (place, stream) in [&says, &hears].into_iter().enumerate() {
        let label = super::description::label(place);
        let _ = write!(
            text,
            "<stream stream_id=\"{stream}\" session_id=\"{session}\"><label>{label}</label></stream>\r\n"
        );
    }
    let _ = write!(
        text,
        "<sessionrecordingassoc session_id=\"{session}\"><associate-time>{began}</associate-time></sessionrecordingassoc>\r\n"
    );
    for participant in scene.participants {
        let (id, joined) = (participant.id.base64(), time(participant.joined));
        let left =
            participant.left.map(|left| format!("<disassociate-time>{}</disassociate-time>", time(left)));
        let left = left.unwrap_or_default();
        let _ = write!(
            text,
            "<participantsessionassoc participant_id=\"{id}\" session_id=\"{session}\"><associate-time>{joined}</associate-time>{left}</participantsessionassoc>\r\n"
        );
    }
    for (place, participant) in scene.participants.iter().enumerate() {
        if participant.left.is_some() {
            continue;
        }
        let (send, recv) = if place == 0 { (&says, &hears) } else { (&hears, &says) };
        let _ = write!(text, "<participantstreamassoc participant_id=\"{}\">", participant.id.base64());
        if participant.talks.0 {
            let _ = write!(text, "<send>{send}</send>");
        }
        if participant.talks.1 {
            let _ = write!(text, "<recv>{recv}</recv>");
        }
        text.push_str("</participantstreamassoc>\r\n");
    }
    text.push_str("</recording>\r\n");
    text
}

/// Whole seconds say when enough (RFC 3339).
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// As character data and in attributes. What XML 1.0 has no place for becomes a space.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '"' => plain.push_str("&quot;"),
            '\'' => plain.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => plain.push(' '),
            _ if character.is_control() => plain.push(' '),
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participant(id: u64, aor: &str, name: &str) -> Participant {
        let joined = "2026-11-23T15:00:00Z".parse().unwrap();
        Participant {
            id: Id::of(0, id),
            aor: aor.into(),
            name: name.into(),
            joined,
            left: None,
            talks: (true, true),
        }
    }

    fn scene(participants: &[Participant]) -> String {
        written(&Scene {
            ids: [Id::of(1, 1), Id::of(1, 2), Id::of(1, 3)],
            call_id: "a1@192.0.2.1",
            began: "2026-11-23T15:00:00Z".parse().unwrap(),
            participants,
        })
    }

    #[test]
    fn whoever_talks_sends_one_stream_and_receives_the_other() {
        let mut gone = participant(8, "tel:+18005550100", "");
        gone.left = Some("2026-11-23T15:00:09Z".parse().unwrap());
        let all =
            [participant(7, "tel:+12125550199", "Ann"), gone, participant(9, "sip:bob@example.com", "Bob")];
        assert_eq!(
            scene(&all),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n<datamode>complete</datamode>\r\n\
             <session session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><sipSessionID>a1@192.0.2.1</sipSessionID><start-time>2026-11-23T15:00:00Z</start-time></session>\r\n\
             <participant participant_id=\"AAAAAAAAQACAAAAAAAAABw==\"><nameID aor=\"tel:+12125550199\"><name>Ann</name></nameID></participant>\r\n\
             <participant participant_id=\"AAAAAAAAQACAAAAAAAAACA==\"><nameID aor=\"tel:+18005550100\"></nameID></participant>\r\n\
             <participant participant_id=\"AAAAAAAAQACAAAAAAAAACQ==\"><nameID aor=\"sip:bob@example.com\"><name>Bob</name></nameID></participant>\r\n\
             <stream stream_id=\"AAAAAAAAQAGAAAAAAAAAAg==\" session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><label>1</label></stream>\r\n\
             <stream stream_id=\"AAAAAAAAQAGAAAAAAAAAAw==\" session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><label>2</label></stream>\r\n\
             <sessionrecordingassoc session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><associate-time>2026-11-23T15:00:00Z</associate-time></sessionrecordingassoc>\r\n\
             <participantsessionassoc participant_id=\"AAAAAAAAQACAAAAAAAAABw==\" session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><associate-time>2026-11-23T15:00:00Z</associate-time></participantsessionassoc>\r\n\
             <participantsessionassoc participant_id=\"AAAAAAAAQACAAAAAAAAACA==\" session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><associate-time>2026-11-23T15:00:00Z</associate-time><disassociate-time>2026-11-23T15:00:09Z</disassociate-time></participantsessionassoc>\r\n\
             <participantsessionassoc participant_id=\"AAAAAAAAQACAAAAAAAAACQ==\" session_id=\"AAAAAAAAQAGAAAAAAAAAAQ==\"><associate-time>2026-11-23T15:00:00Z</associate-time></participantsessionassoc>\r\n\
             <participantstreamassoc participant_id=\"AAAAAAAAQACAAAAAAAAABw==\"><send>AAAAAAAAQAGAAAAAAAAAAg==</send><recv>AAAAAAAAQAGAAAAAAAAAAw==</recv></participantstreamassoc>\r\n\
             <participantstreamassoc participant_id=\"AAAAAAAAQACAAAAAAAAACQ==\"><send>AAAAAAAAQAGAAAAAAAAAAw==</send><recv>AAAAAAAAQAGAAAAAAAAAAg==</recv></participantstreamassoc>\r\n\
             </recording>\r\n"
        );
    }

    #[test]
    fn whoever_is_held_neither_speaks_nor_hears() {
        let mut held = participant(7, "tel:+12125550199", "");
        held.talks = (false, false);
        let mut holds = participant(9, "sip:bob@example.com", "");
        holds.talks = (true, false);
        let text = scene(&[held, holds]);
        assert!(text.contains(
            "<participantstreamassoc participant_id=\"AAAAAAAAQACAAAAAAAAABw==\"></participantstreamassoc>"
        ));
        assert!(
            text.contains("ACQ==\"><send>AAAAAAAAQAGAAAAAAAAAAw==</send></participantstreamassoc>"),
            "{text}"
        );
    }

    #[test]
    fn a_name_cannot_become_markup_or_a_part_of_the_body() {
        let name = "</name><x a='\">&\r\n--switchboard-part\u{0}\u{ffff}";
        let text = scene(&[participant(7, "sip:\"<>@x", name)]);
        assert!(text.contains("<nameID aor=\"sip:&quot;&lt;&gt;@x\"><name>&lt;/name&gt;&lt;x a=&apos;&quot;&gt;&amp;  --switchboard-part  </name>"), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("--")));
        // Every tag that is opened is closed.
        let tags = text.matches('<').count();
        assert_eq!(tags, text.matches('>').count());
        assert_eq!((tags - 1) % 2, 0);
    }
}
