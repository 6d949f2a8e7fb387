use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::{
    authority::{Entry, Numbers},
    claim::Claim,
    identity::Left,
    judge::{Call, chain},
    number::canonical,
    passport::{MediaKey, Party, Passport},
};

const URL: &str = "https://cert.example.org/passport.cer";
const NOW: i64 = 1_443_208_345;

/// RFC 8225, Appendix A.
const RFC_8225: [&str; 3] = [
    "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9",
    "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19",
    "VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw",
];

fn value(header: &str, payload: &str, parameters: &str) -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.{}{parameters}", part(header), part(payload), URL_SAFE_NO_PAD.encode([7_u8; 64]))
}

fn shaken(destination: &str) -> Claim {
    Claim::Shaken {
        origin: "12155550121".into(),
        destination: destination.into(),
        attestation: Attestation::A,
        origin_id: "123e4567-e89b-12d3-a456-426655440000".into(),
    }
}

fn div(diverter: &str, destination: &str) -> Claim {
    Claim::Div { origin: "12155550121".into(), destination: destination.into(), diverter: diverter.into() }
}

fn written(claim: &Claim, at: i64) -> String {
    identity::write(claim, URL, &claim.unsigned(at, URL), &[7; 64])
}

fn call(destination: &str) -> Call {
    Call {
        origin: Some("12155550121".into()),
        destinations: vec![destination.into()],
        date: None,
        now: NOW,
        media_keys: Vec::new(),
    }
}

fn decoded(part: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn the_example_of_rfc_8225_is_read() {
    let [header, payload, signature] = RFC_8225;
    let passport = Passport::read(header, payload, signature).unwrap();
    assert_eq!(passport.certificate_url, URL);
    assert_eq!(passport.claims.origin, Party::Number("12155551212".into()));
    assert_eq!(passport.claims.destinations, [Party::Uri("sip:alice@example.com".into())]);
    assert_eq!(passport.claims.issued_at, 1_471_375_418);
    assert_eq!(passport.signed, format!("{header}.{payload}"));
}

#[test]
fn the_example_of_rfc_8588_is_what_we_sign() {
    let unsigned = shaken("12155550131").unsigned(NOW, URL);
    let (header, payload) = unsigned.split_once('.').unwrap();
    assert_eq!(
        decoded(header),
        r#"{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://cert.example.org/passport.cer"}"#
    );
    assert_eq!(
        decoded(payload),
        r#"{"attest":"A","dest":{"tn":["12155550131"]},"iat":1443208345,"orig":{"tn":"12155550121"},"origid":"123e4567-e89b-12d3-a456-426655440000"}"#
    );
}

#[test]
fn the_example_of_rfc_8946_is_what_we_sign() {
    let unsigned = div("12155551213", "12155551214").unsigned(NOW, URL);
    let (header, payload) = unsigned.split_once('.').unwrap();
    assert!(decoded(header).contains(r#""ppt":"div""#));
    assert_eq!(
        decoded(payload),
        r#"{"dest":{"tn":["12155551214"]},"div":{"tn":"12155551213"},"iat":1443208345,"orig":{"tn":"12155550121"}}"#
    );
}

#[test]
fn what_is_written_is_read_again() {
    let value = written(&shaken("12155550131"), NOW);
    assert!(value.ends_with(";info=<https://cert.example.org/passport.cer>;alg=ES256;ppt=shaken"), "{value}");
    let read = chain(&[&value], &call("12155550131")).unwrap();
    assert_eq!(read[0].claims.attestation, Some(Attestation::A));
    assert_eq!(read[0].signature, [7; 64]);
}

/// What is changed, and the status of what comes of it.
#[test]
fn what_does_not_fit_the_call_has_its_status() {
    let good = written(&shaken("12155550131"), NOW);
    let at = |now: i64| Call { now, ..call("12155550131") };
    let rows: Vec<(&str, Vec<&str>, Call, u16)> = vec![
        ("none", vec![], call("12155550131"), 428),
        ("another callee", vec![&good], call("12155550132"), 438),
        (
            "another caller",
            vec![&good],
            Call { origin: Some("12155550199".into()), ..call("12155550131") },
            438,
        ),
        ("no caller", vec![&good], Call { origin: None, ..call("12155550131") }, 438),
        ("old", vec![&good], at(NOW + FRESH_SECONDS + 1), 403),
        ("early", vec![&good], at(NOW - FRESH_SECONDS - 1), 403),
        ("no token", vec!["abc;info=<https://a>;alg=ES256"], call("12155550131"), 438),
    ];
    for (what, values, call, wanted) in rows {
        let fault = chain(&values, &call).unwrap_err();
        assert_eq!(fault.code(), wanted, "{what}: {fault}");
    }
    for age in [-FRESH_SECONDS, 0, FRESH_SECONDS] {
        assert!(chain(&[&good], &at(NOW + age)).is_ok(), "{age} s");
    }
}

/// Header, payload and parameters of a value, and the status that reading it comes to; 0: it is read.
#[test]
fn what_cannot_be_read_is_refused() {
    let head = r#"{"alg":"ES256","typ":"passport","x5u":"https://a"}"#;
    let claims = r#"{"dest":{"tn":["12155550131"]},"iat":1443208345,"orig":{"tn":"12155550121"}}"#;
    let info = ";info=<https://a>;alg=ES256";
    let rows = [
        (head, claims, info, 0),
        (head, claims, ";info=<https://a>", 0),
        (head, claims, " ; info = <https://a> ; alg=\"ES256\"", 0),
        (head, claims, "", 438),
        (head, claims, ";info=<https://b>", 438),
        (head, claims, ";info=<https://a>;info=<https://b>", 438),
        (head, claims, ";info=<https://a>;alg=RS256", 438),
        (head, claims, ";info=<https://a>;ppt=shaken", 438),
        (head, claims, ";info=<https://a>;ppt=rcd", 428),
        (r#"{"alg":"none","typ":"passport","x5u":"https://a"}"#, claims, info, 438),
        (r#"{"alg":"ES256","typ":"JWT","x5u":"https://a"}"#, claims, info, 438),
        (r#"{"alg":"ES256","typ":"passport"}"#, claims, info, 438),
        (r#"{"alg":"ES256","crit":["a"],"typ":"passport","x5u":"https://a"}"#, claims, info, 438),
        ("[]", claims, info, 438),
        (head, r#"{"dest":{"tn":["12155550131"]},"iat":"now","orig":{"tn":"12155550121"}}"#, info, 438),
        (head, r#"{"dest":{"tn":[]},"iat":1443208345,"orig":{"tn":"12155550121"}}"#, info, 438),
        (head, r#"{"dest":{"tn":["12155550131"]},"iat":1443208345}"#, info, 438),
        (
            head,
            r#"{"dest":{"tn":["12155550131"]},"iat":1443208345,"orig":{"tn":"1","uri":"sip:a@b"}}"#,
            info,
            438,
        ),
        (head, r#"{"dest":{"tn":["1"]},"iat":1443208345,"mky":"a","orig":{"tn":"1"}}"#, info, 438),
    ];
    let left = Left { origin: "12155550121", destination: "12155550131", date: None };
    for (header, payload, parameters, wanted) in rows {
        let read = identity::read(&value(header, payload, parameters), left);
        let code = read.as_ref().map_or_else(Fault::code, |_| 0);
        assert_eq!(code, wanted, "{header} {payload} {parameters}: {read:?}");
    }
}

#[test]
fn a_compact_form_is_made_whole_from_the_request() {
    let (whole, payload) = crate::claim::plain_parts(URL, "12155550121", "12155550131", NOW);
    let compact = format!("..{};info=<{URL}>;alg=ES256", URL_SAFE_NO_PAD.encode([7_u8; 64]));
    let with_date = Call { date: Some(NOW), ..call("12155550131") };
    let read = chain(&[&compact], &with_date).unwrap();
    assert_eq!(
        read[0].signed,
        format!("{}.{}", URL_SAFE_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(payload))
    );
    assert_eq!(chain(&[&compact], &call("12155550131")).unwrap_err().code(), 438);
    let extended = format!("{compact};ppt=shaken");
    assert_eq!(chain(&[&extended], &with_date).unwrap_err().code(), 438);
}

#[test]
fn a_diversion_leads_from_the_first_callee_to_the_present_one() {
    let first = written(&shaken("12155551213"), NOW);
    let second = written(&div("12155551213", "12155551214"), NOW + 5);
    let third = written(&div("12155551214", "12155551215"), NOW + 9);
    let kinds = |values: &[&str], to: &str| {
        let chain = chain(values, &call(to));
        chain.map(|chain| chain.iter().map(|passport| passport.kind.ppt().unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(kinds(&[&third, &second, &first], "12155551215").unwrap(), ["shaken", "div", "div"]);
    assert_eq!(kinds(&[&first, &second], "12155551214").unwrap(), ["shaken", "div"]);
    assert_eq!(kinds(&[&first, &second], "12155551213").unwrap(), ["shaken"]);
    assert_eq!(kinds(&[&first, &third], "12155551215").unwrap_err().code(), 438);
    assert_eq!(kinds(&[&second], "12155551214").unwrap_err().code(), 428);
}

#[test]
fn an_unknown_extension_beside_a_known_one_changes_nothing() {
    let unknown = value(
        r#"{"alg":"ES256","ppt":"rcd","typ":"passport","x5u":"https://a"}"#,
        "{}",
        ";info=<https://a>;ppt=rcd",
    );
    let known = written(&shaken("12155550131"), NOW);
    assert_eq!(chain(&[&unknown, &known], &call("12155550131")).unwrap().len(), 1);
    assert_eq!(chain(&[&unknown], &call("12155550131")).unwrap_err().code(), 428);
}

#[test]
fn media_keys_must_be_those_of_the_offer() {
    let payload = r#"{"dest":{"tn":["12155550131"]},"iat":1443208345,"mky":[{"alg":"sha-256","dig":"021ACC5427ABEB9C533F3E4B652E7D46"}],"orig":{"tn":"12155550121"}}"#;
    let value = value(
        &format!(r#"{{"alg":"ES256","typ":"passport","x5u":"{URL}"}}"#),
        payload,
        &format!(";info=<{URL}>"),
    );
    let key = MediaKey::new("SHA-256", "02:1a:cc:54:27:ab:eb:9c:53:3f:3e:4b:65:2e:7d:46").unwrap();
    assert!(chain(&[&value], &Call { media_keys: vec![key], ..call("12155550131") }).is_ok());
    assert_eq!(chain(&[&value], &call("12155550131")).unwrap_err().code(), 438);
}

#[test]
fn numbers_are_signed_without_what_people_write_between_digits() {
    for (text, wanted) in [
        ("+1 (215) 555-0121", Some("12155550121")),
        ("12155550121;verstat=TN-Validation-Passed", Some("12155550121")),
        ("*67#", Some("*67#")),
        ("alice", None),
        ("1+2", None),
        ("+", None),
        ("", None),
        ("123456789012345678901234567890123", None),
    ] {
        assert_eq!(canonical(text).as_deref(), wanted, "{text}");
    }
}

#[test]
fn a_certificate_stands_for_what_it_lists() {
    // SEQUENCE { [0] "1234", [1] { "12155550100", 100 }, [2] "12155559999" }
    let mut der = vec![0x30, 0x2c, 0xa0, 0x06, 0x16, 0x04];
    der.extend(b"1234");
    der.extend([0xa1, 0x12, 0x30, 0x10, 0x16, 0x0b]);
    der.extend(b"12155550100");
    der.extend([0x02, 0x01, 0x64, 0xa2, 0x0d, 0x16, 0x0b]);
    der.extend(b"12155559999");
    der[1] = u8::try_from(der.len() - 2).unwrap();
    let Numbers(entries) = Numbers::read(&der).unwrap();
    let wanted = [
        Entry::Provider("1234".into()),
        Entry::Range("12155550100".into(), 100),
        Entry::One("12155559999".into()),
    ];
    assert_eq!(entries, wanted);
    assert!(Numbers(entries.clone()).have("442079460000"), "a provider's code says nothing of numbers");
    let numbers = Numbers(entries[1..].to_vec());
    for (number, wanted) in [
        ("12155550100", true),
        ("12155550199", true),
        ("12155550200", false),
        ("12155550099", false),
        ("2155550100", false),
        ("12155559999", true),
        ("12155559998", false),
    ] {
        assert_eq!(numbers.have(number), wanted, "{number}");
    }
    for end in 0..der.len() {
        assert_eq!(Numbers::read(&der[..end]), None, "cut at {end}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_sent_brings_the_reader_down(value in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = chain(&[&value], &call("12155550131"));
        let _ = Numbers::read(&bytes);
    }

    #[test]
    fn a_value_that_is_changed_anywhere_is_no_longer_the_same(place in 0_usize..400, with in "[A-Za-z0-9]") {
        let value = written(&shaken("12155550131"), NOW);
        let place = place % value.find(";info").unwrap();
        let mut changed = value.clone();
        changed.replace_range(place..=place, &with);
        let left = Left { origin: "12155550121", destination: "12155550131", date: None };
        let before = identity::read(&value, left).unwrap();
        if changed != value && let Ok(after) = identity::read(&changed, left) {
            prop_assert_ne!((after.signed, after.signature), (before.signed, before.signature));
        }
    }

    #[test]
    fn what_we_sign_is_read_again(origin in "[1-9][0-9]{6,14}", destination in "[1-9][0-9]{6,14}", at in 0_i64..4_000_000_000) {
        let claim = Claim::Shaken {
            origin: origin.clone(), destination: destination.clone(), attestation: Attestation::C, origin_id: "a\"\\\u{1}".into(),
        };
        let value = written(&claim, at);
        let call = Call { origin: Some(origin), destinations: vec![destination], date: None, now: at, media_keys: vec![] };
        let read = chain(&[&value], &call).unwrap();
        prop_assert_eq!(read[0].claims.origin_id.as_deref(), Some("a\"\\\u{1}"));
    }
}
