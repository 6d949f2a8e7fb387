//! What REGISTER and its responses carry about paths: bindings (RFC 3261 §10.3) with outbound flows (RFC 5626),
//! Path (RFC 3327), Service-Route (RFC 3608).

use crate::{
    header::{NameAddr, parse_number, tokens},
    uri::Uri,
    wire::{Message, Name},
};

/// Most contacts of one REGISTER; a phone has one or two.
pub const CONTACTS_MAX: usize = 16;
/// Most members of a Path or Service-Route.
pub const ROUTES_MAX: usize = 16;

/// What a REGISTER asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// No Contact: to be told which bindings there are.
    Query,
    /// `Contact: *` and `Expires: 0`: to remove all.
    RemoveAll,
    /// To add, refresh or remove those of [`bindings`].
    Bind,
}

/// A REGISTER whose contacts cannot be taken: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadContact {
    /// RFC 3261 §10.3, step 6.
    #[error("the contact * must stand alone, with Expires: 0")]
    Star,
    /// More than [`CONTACTS_MAX`].
    #[error("there are more than {CONTACTS_MAX} contacts")]
    TooMany,
    /// RFC 5626 §6: a flow of a device that says not which it is, or that it gives several addresses.
    #[error("a reg-id needs a +sip.instance, and at most one contact has them")]
    RegId,
}

/// One Contact of a REGISTER or of its response.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The URI to be called.
    pub uri: Uri<'a>,
    /// Its expires parameter, else the Expires field, in seconds. `None`: as the registrar likes. 0 removes it.
    pub expires_s: Option<u32>,
    /// Preference in thousandths; 1,000 unless it says so.
    pub q: u16,
    /// Which device it is (RFC 5626 §4.1): a URN.
    pub instance: Option<&'a str>,
    /// Which of the device's flows it is, from 1 up. Only with an instance.
    pub reg_id: Option<u32>,
}

impl<'a> Binding<'a> {
    fn new(contact: &NameAddr<'a>, expires_s: Option<u32>) -> Self {
        let number =
            |name| contact.params.get(name).and_then(|value| parse_number(value.as_bytes(), u32::MAX.into()));
        let narrow = |value: u64| u32::try_from(value).ok();
        let quoted = contact.params.get("+sip.instance").map(|value| value.trim_matches('"'));
        let instance = quoted.and_then(|value| value.strip_prefix('<')?.strip_suffix('>'));
        Self {
            uri: contact.uri,
            expires_s: number("expires").and_then(narrow).or(expires_s),
            q: contact.params.get("q").and_then(thousandths).unwrap_or(1_000),
            instance: instance.filter(|urn| !urn.is_empty()),
            reg_id: number("reg-id").and_then(narrow).filter(|number| *number > 0),
        }
    }

    /// Whether requests to it go by the flow that the REGISTER came by (RFC 5626 §4.2, §5.4).
    #[must_use]
    pub fn is_outbound(&self) -> bool {
        (self.reg_id.is_some() && self.instance.is_some()) || self.uri.param("ob").is_some()
    }
}

/// What a REGISTER asks for.
///
/// # Errors
/// When its contacts contradict each other.
pub fn wish(register: &Message) -> Result<Wish, BadContact> {
    let stars = register.headers(Name::Contact).filter(|value| *value == b"*").count();
    let all = register.headers(Name::Contact).count();
    match (stars, all) {
        (_, 0) => Ok(Wish::Query),
        (1, 1) if expires(register) == Some(0) => Ok(Wish::RemoveAll),
        (1.., _) => Err(BadContact::Star),
        (0, _) => {
            let count = |wanted: fn(&Binding<'_>) -> bool| bindings(register).filter(wanted).count();
            if register.addresses(Name::Contact).count() > CONTACTS_MAX {
                return Err(BadContact::TooMany);
            }
            let flows = count(|binding| binding.reg_id.is_some() && binding.expires_s != Some(0));
            let nameless = count(|binding| binding.reg_id.is_some() && binding.instance.is_none());
            if flows > 1 || nameless > 0 { Err(BadContact::RegId) } else { Ok(Wish::Bind) }
        }
    }
}

/// The contacts of a REGISTER, or of the 200 to ours, at most [`CONTACTS_MAX`].
pub fn bindings(message: &Message) -> impl Iterator<Item = Binding<'_>> {
    let expires_s = expires(message);
    message.addresses(Name::Contact).take(CONTACTS_MAX).map(move |contact| Binding::new(&contact, expires_s))
}

/// The route to a binding (RFC 3327 §5.3): values for Route, in order, of the INVITE that goes there.
#[must_use]
pub fn path(register: &Message) -> Vec<String> {
    routes(register, Name::Path)
}

/// Whether a REGISTER has a Path that its phone does not know of (RFC 3327 §5.3): 420, or taken all the same.
#[must_use]
pub fn has_strange_path(register: &Message) -> bool {
    let mut supported = register.headers(Name::Supported).flat_map(tokens);
    register.header(Name::Path).is_some() && !supported.any(|tag| tag.eq_ignore_ascii_case("path"))
}

/// The route that a registrar wants requests to take (RFC 3608 §5): values for Route, in order, of each request outside
/// of dialogs while the registration lasts.
#[must_use]
pub fn service_route(response: &Message) -> Vec<String> {
    routes(response, Name::ServiceRoute)
}

/// Whether the phone itself is the sender, so that the flow leads to it, and it knows outbound (RFC 5626 §6).
#[must_use]
pub fn is_first_hop(register: &Message) -> bool {
    let mut supported = register.headers(Name::Supported).flat_map(tokens);
    register.vias().count() == 1 && supported.any(|tag| tag.eq_ignore_ascii_case("outbound"))
}

fn routes(message: &Message, name: Name) -> Vec<String> {
    message.addresses(name).take(ROUTES_MAX).map(|route| format!("<{}>", route.uri.text)).collect()
}

fn expires(message: &Message) -> Option<u32> {
    let value = parse_number(message.header(Name::Expires)?, u32::MAX.into())?;
    u32::try_from(value).ok()
}

/// `qvalue` (RFC 3261 §25.1): 0 to 1 with at most three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = if digits { format!("{part:0<3}").parse().ok()? } else { return None };
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn register(headers: &str) -> Message {
        let text = format!(
            "REGISTER sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: 1\r\nCSeq: 1 REGISTER\r\n{headers}\r\n"
        );
        Message::parse(Bytes::from(text.into_bytes())).unwrap()
    }

    #[test]
    fn a_register_says_what_it_wants() {
        for (headers, expected) in [
            ("", Ok(Wish::Query)),
            ("Contact: *\r\nExpires: 0\r\n", Ok(Wish::RemoveAll)),
            ("Contact: *\r\nExpires: 60\r\n", Err(BadContact::Star)),
            ("Contact: *\r\n", Err(BadContact::Star)),
            ("Contact: *\r\nContact: <sip:a@h>\r\nExpires: 0\r\n", Err(BadContact::Star)),
            ("Contact: <sip:a@h>, <sip:a@i>;q=0.5\r\n", Ok(Wish::Bind)),
            ("Contact: <sip:a@h>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n", Ok(Wish::Bind)),
            ("Contact: <sip:a@h>;reg-id=1\r\n", Err(BadContact::RegId)),
            (
                "Contact: <sip:a@h>;reg-id=1;+sip.instance=\"<u>\", <sip:a@h>;reg-id=2;+sip.instance=\"<u>\"\r\n",
                Err(BadContact::RegId),
            ),
        ] {
            assert_eq!(wish(&register(headers)), expected, "{headers}");
        }
        let many = format!("Contact: <sip:a@h>{}\r\n", ", <sip:a@h>".repeat(CONTACTS_MAX));
        assert_eq!(wish(&register(&many)), Err(BadContact::TooMany));
    }

    #[test]
    fn bindings_have_their_times_ranks_and_flows() {
        let message = register(
            "Expires: 600\r\nContact: <sip:a@h;ob>;expires=60;q=0.25\r\n\
             m: <sip:a@i>;reg-id=2;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";q=2\r\n\
             Contact: <sip:a@j>;expires=x;reg-id=0\r\n",
        );
        let seen: Vec<_> = bindings(&message)
            .map(|one| {
                (one.uri.host, one.expires_s, one.q, one.instance.is_some(), one.reg_id, one.is_outbound())
            })
            .collect();
        let expected = [
            ("h", Some(60), 250, false, None, true),
            ("i", Some(600), 1_000, true, Some(2), true),
            ("j", Some(600), 1_000, false, None, false),
        ];
        assert_eq!(seen, expected);
        for (text, expected) in
            [("0", Some(0)), ("1", Some(1_000)), ("1.000", Some(1_000)), ("0.7", Some(700)), ("0.", Some(0))]
        {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        for bad in ["", "1.1", "0.1234", "2", "-1", "0.x", ".5"] {
            assert_eq!(thousandths(bad), None, "{bad}");
        }
    }

    #[test]
    fn routes_keep_their_order() {
        let message = register(
            "Path: <sip:p1;lr;ob>, <sip:p2;lr>\r\nPath: <sip:p3;lr>\r\nService-Route: <sip:s1;lr>\r\nSupported: outbound\r\n",
        );
        assert_eq!(path(&message), ["<sip:p1;lr;ob>", "<sip:p2;lr>", "<sip:p3;lr>"]);
        assert_eq!(service_route(&message), ["<sip:s1;lr>"]);
        assert!(has_strange_path(&message) && is_first_hop(&message));
        let proxied = register("Via: SIP/2.0/UDP i\r\nSupported: outbound, path\r\nPath: <sip:p>\r\n");
        assert!(!has_strange_path(&proxied) && !is_first_hop(&proxied));
    }
}
