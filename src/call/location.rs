//! Where a caller is, for those who send help: a PIDF-LO (RFC 4119, RFC 5139, RFC 5491) that an INVITE carries (RFC 6442).

use bytes::Bytes;
use jiff::Timestamp;
use model::centre::Location;
use sip::endpoint::{Attached, Header};

/// Header fields and the part of the body that tell a place. `host` names us, `carrier` whom the call goes to, and `entity`
/// the caller.
///
/// A place that the carrier knows by an id of its own is told by reference, as a URI of the carrier with the id as its user;
/// any other by its civic address.
#[must_use]
pub fn told(
    location: &Location,
    (host, carrier): (&str, &str),
    entity: &str,
    now: Timestamp,
) -> (Vec<Header>, Option<Box<Attached>>) {
    let routing = Header::new("Geolocation-Routing", "yes");
    if let Some(id) = &location.carrier_location_id {
        let uri = format!("<sip:{}@{carrier}>", user(id));
        return (vec![Header::new("Geolocation", uri), routing], None);
    }
    let content_id = format!("location@{host}");
    let attached = Attached {
        content_type: "application/pidf+xml",
        disposition: "by-reference;handling=optional",
        content_id: content_id.clone(),
        content: Bytes::from(pidf(location, entity, now)),
    };
    (vec![Header::new("Geolocation", format!("<cid:{content_id}>")), routing], Some(Box::new(attached)))
}

fn pidf(location: &Location, entity: &str, now: Timestamp) -> String {
    let mut civic = String::new();
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            civic += &format!("<ca:{name}>{}</ca:{name}>", escaped(value));
        }
    };
    let (number, street) = house(&location.street);
    add("country", Some(&location.country));
    add("A1", location.region.as_deref());
    add("A3", Some(&location.city));
    add("RD", Some(street));
    add("HNO", number);
    add("LOC", location.room.as_deref());
    add("PC", location.postal_code.as_deref());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\" \
         xmlns:ca=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\" entity=\"{}\">\
         <tuple id=\"station\"><status><gp:geopriv><gp:location-info><ca:civicAddress>{civic}</ca:civicAddress>\
         </gp:location-info><gp:usage-rules/><gp:method>Manual</gp:method></gp:geopriv>\
         </status><timestamp>{now}</timestamp></tuple></presence>\r\n",
        escaped(entity)
    )
}

/// The house number of a street that begins or ends with one.
fn house(street: &str) -> (Option<&str>, &str) {
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.len() <= 8;
    match (street.split_once(' '), street.rsplit_once(' ')) {
        (Some((number, rest)), _) if is_number(number) => (Some(number), rest),
        (_, Some((rest, number))) if is_number(number) => (Some(number), rest),
        _ => (None, street),
    }
}

fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '"' => plain.push_str("&quot;"),
            _ if character.is_control() => plain.push(' '),
            _ => plain.push(character),
        }
    }
    plain
}

/// RFC 3261 §25.1: what cannot stand in a user part is escaped.
pub(crate) fn user(id: &str) -> String {
    let mut written = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written += &format!("%{byte:02X}");
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Location {
        Location {
            country: "US".into(),
            region: Some("NY".into()),
            city: "New York".into(),
            street: "1 Example Street".into(),
            room: Some("Desk <4> & more".into()),
            postal_code: Some("10001".into()),
            carrier_location_id: None,
        }
    }

    #[test]
    fn a_desk_is_told_by_its_civic_address() {
        let now = "2026-11-23T15:00:00Z".parse().unwrap();
        let (headers, attached) =
            told(&desk(), ("192.0.2.100", "192.0.2.1"), "sip:+12125550100@c14.example", now);
        let headers: Vec<String> =
            headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
        assert_eq!(headers, ["Geolocation: <cid:location@192.0.2.100>", "Geolocation-Routing: yes"]);
        let body = String::from_utf8(attached.unwrap().content.to_vec()).unwrap();
        for part in [
            "entity=\"sip:+12125550100@c14.example\"",
            "<ca:country>US</ca:country><ca:A1>NY</ca:A1><ca:A3>New York</ca:A3><ca:RD>Example Street</ca:RD>\
             <ca:HNO>1</ca:HNO><ca:LOC>Desk &lt;4&gt; &amp; more</ca:LOC><ca:PC>10001</ca:PC>",
            "<gp:method>Manual</gp:method>",
            "<timestamp>2026-11-23T15:00:00Z</timestamp>",
        ] {
            assert!(body.contains(part), "{part} is not in {body}");
        }
    }

    #[test]
    fn a_place_that_the_carrier_knows_is_told_by_its_id() {
        let now = "2026-11-23T15:00:00Z".parse().unwrap();
        let place = Location { carrier_location_id: Some("loc 4711".into()), ..desk() };
        let (headers, attached) = told(&place, ("c14.example", "192.0.2.1"), "sip:a@c14.example", now);
        assert_eq!((headers[0].value.as_str(), attached), ("<sip:loc%204711@192.0.2.1>", None));
    }

    #[test]
    fn a_house_has_its_number_before_or_behind_the_street() {
        for (street, wanted) in [
            ("1 Example Street", (Some("1"), "Example Street")),
            ("Musterstraße 12a", (Some("12a"), "Musterstraße")),
            ("Market Square", (None, "Market Square")),
            ("Square", (None, "Square")),
        ] {
            assert_eq!(house(street), wanted);
        }
    }
}
