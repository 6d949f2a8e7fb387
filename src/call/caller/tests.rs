use bytes::Bytes;
use model::trunk::NumberFormat;

use super::*;

fn invite(fields: &str) -> Message {
    let from = if fields.contains("From:") { "" } else { "From: <sip:+12125550199@192.0.2.1>;tag=a\r\n" };
    let text = format!(
        "INVITE sip:+18005550100@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n{from}To: <sip:+18005550100@192.0.2.100>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{fields}Content-Length: 0\r\n\r\n"
    );
    Message::parse(Bytes::from(text)).unwrap()
}

fn us(inbound: NumberFormat) -> NumberFormats {
    NumberFormats { inbound, outbound: NumberFormat::E164, country: Some("US".into()) }
}

#[test]
fn who_calls_is_asserted_then_told_then_claimed_and_may_be_withheld() {
    let pai = "P-Asserted-Identity: \"A\" <sip:+13125550101@192.0.2.1>\r\n";
    let rpid = "Remote-Party-ID: <sip:+13125550102@192.0.2.1>;party=calling;screen=yes\r\n";
    for (fields, wanted) in [
        (String::new(), "+12125550199"),
        (rpid.into(), "+13125550102"),
        (format!("{rpid}{pai}"), "+13125550101"),
        ("Remote-Party-ID: <sip:+1@192.0.2.1>;party=called\r\n".into(), "+12125550199"),
        ("P-Asserted-Identity: <tel:+1-312-555-0103>\r\n".into(), "+13125550103"),
        (format!("{pai}Privacy: id\r\n"), ""),
        (format!("{pai}Privacy: header;critical\r\n"), ""),
        (format!("{pai}Privacy: user\r\n"), ""),
        (format!("{pai}Privacy: none\r\n"), "+13125550101"),
        ("Remote-Party-ID: <sip:+13125550102@h>;privacy=full\r\n".into(), ""),
        ("Remote-Party-ID: <sip:+13125550102@h>;privacy=off\r\n".into(), "+13125550102"),
        ("From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a\r\n".into(), ""),
        ("From: <sip:Restricted@h>;tag=a\r\n".into(), ""),
        ("From: <sip:alice@h>;tag=a\r\n".into(), "alice"),
        ("From: <sip:2125550107@h>;tag=a\r\n".into(), "+12125550107"),
    ] {
        assert_eq!(Identity::of(&invite(&fields), &us(NumberFormat::National)).number, wanted, "{fields}");
    }
}

#[test]
fn who_diverted_a_call_is_told_from_the_first_one_on() {
    let formats = NumberFormats::default();
    let by = |fields: &str| {
        let diverted = Diverted::of(&invite(fields), &formats);
        let by: Vec<String> = diverted.by.iter().map(ToString::to_string).collect();
        (by.join(" "), diverted.hops)
    };
    for (fields, first, hops) in [
        ("", "", 0),
        ("Diversion: <sip:+17735550131@h>;reason=unconditional\r\n", "+17735550131", 1),
        (
            "Diversion: <sip:+17735550132@h>;counter=2\r\nDiversion: <sip:+17735550131@h>\r\n",
            "+17735550131 +17735550132",
            3,
        ),
        ("Diversion: <sip:+17735550132@h>, <sip:+17735550131@h>\r\n", "+17735550131 +17735550132", 2),
        ("History-Info: <sip:+18005550100@h>;index=1\r\n", "", 0),
        (
            "History-Info: <sip:+17735550131@h>;index=1, <sip:+17735550132@h?Reason=SIP%3Bcause%3D302>;index=1.1\r\nHistory-Info: <sip:+18005550100@h>;index=1.1.1\r\n",
            "+17735550131 +17735550132",
            2,
        ),
        ("Diversion: \"x\" <sip:anonymous@h>\r\n", "", 1),
    ] {
        assert_eq!(by(fields), (first.to_owned(), hops), "{fields}");
    }
}

#[test]
fn a_call_that_goes_round_is_told() {
    let number = |text: &str| text.parse::<E164>().ok();
    let code = |fields: &str, dialled| {
        let diverted = Diverted::of(&invite(fields), &NumberFormats::default());
        diverted.goes_round(dialled).map(|(code, _)| code)
    };
    let once = "Diversion: <sip:+18005550100@h>\r\n";
    assert_eq!(code(once, number("+18005550100")), None);
    assert_eq!(code(&once.repeat(2), number("+18005550100")), Some(482));
    assert_eq!(code(&once.repeat(2), number("+18005550101")), None);
    assert_eq!(code("Diversion: <sip:a@h>;counter=10\r\n", None), None);
    assert_eq!(code("Diversion: <sip:a@h>;counter=11\r\n", None), Some(483));
    assert_eq!(code("Diversion: <sip:a@h>;counter=4294967295, <sip:a@h>\r\n", None), Some(483));
}

#[test]
fn a_hostile_number_is_anonymous() {
    assert_eq!(identity("+12125550100", "192.0.2.1:5060"), "<sip:+12125550100@192.0.2.1:5060>");
    for hostile in ["", "a>b", "x\r\nVia: y", "\"", "a b"] {
        assert!(identity(hostile, "h").contains("anonymous.invalid"), "{hostile:?}");
    }
}
