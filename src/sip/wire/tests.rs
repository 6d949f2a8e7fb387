//! The wire, with what other parsers get wrong, and proof that nothing makes it panic.

use proptest::prelude::*;
use rsip::prelude::{HasHeaders, HeadersExt, ToTypedHeader, UntypedHeader};

use super::*;

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKa1\r\nMax-Forwards: 70\r\n\
    From: \"A\" <sip:+12125550100@192.0.2.9>;tag=f1\r\nTo: <sip:+18005550100@192.0.2.1>\r\nCall-ID: c1@x\r\n";

fn parse(text: impl Into<Vec<u8>>) -> Result<Message, Malformed> {
    Message::parse(Bytes::from(text.into()))
}

fn options(extra: &str) -> String {
    format!("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS\r\n{extra}\r\n")
}

#[test]
fn what_other_parsers_refuse_is_understood() {
    for (text, what) in [
        (options("Subject: one\r\n two\r\n\tthree\r\n"), "folds"),
        (options("Subject : x\r\n"), "space before the colon"),
        (format!("\r\n\r\n{}", options("")), "leading line ends"),
        (
            options("").replace("Via", "v").replace("From", "f").replace("To:", "t:").replace("Call-ID", "i"),
            "compact",
        ),
        (options("").replace("sip:a@192.0.2.1", "sip:a@[2001:db8::1]:5070"), "IPv6"),
        (options("").replace("sip:a@192.0.2.1", "tel:+18005550100"), "tel"),
        (options("").replace("sip:a@192.0.2.1", "urn:service:sos"), "urn"),
        (options("").replace("OPTIONS", "NEWMETHOD"), "method"),
        (options("").replace("\"A\"", r#""A \"B\", <x>;tag=no""#), "quotes"),
        (options("Via: SIP/2.0/UDP b, SIP/2.0/TCP c;branch=x\r\n"), "several Vias"),
        (options("Contact: <sip:a@b>, \"x\" <sip:c@d>;q=1\r\n"), "several Contacts"),
    ] {
        let message = parse(text).unwrap_or_else(|malformed| panic!("{what}: {malformed}"));
        let ids = (message.call_id(), message.from_tag(), message.branch(), message.cseq());
        assert_eq!(ids, ("c1@x", Some("f1"), Some("z9hG4bKa1"), 1), "{what}");
    }
}

#[test]
fn a_fold_is_read_as_spaces() {
    let message = parse(options("Subject: one\r\n two\r\n")).unwrap();
    assert_eq!(message.header(Name::Subject), Some(&b"one   two"[..]));
}

#[test]
fn an_octet_that_is_no_utf8_does_no_harm() {
    let mut bytes = options("Subject: Gr\u{1}n\r\n").replace("\"A\"", "\"\u{1}\"").into_bytes();
    bytes.iter_mut().filter(|byte| **byte == 1).for_each(|byte| *byte = 0xfc);
    let message = parse(bytes).unwrap();
    assert_eq!(message.header(Name::Subject), Some(&b"Gr\xfcn"[..]));
    assert_eq!(message.from_tag(), Some("f1"));
}

#[test]
fn what_is_wrong_is_said_and_whether_it_can_be_answered() {
    for (text, error, answerable) in [
        (String::new(), ParseError::Empty, false),
        ("hello\r\n\r\n".to_owned(), ParseError::NotSip, false),
        (options("Content-Length: -1\r\n"), ParseError::Field("Content-Length"), true),
        (options("Content-Length: 5\r\n"), ParseError::BodyTooShort, true),
        (options("Content-Length: 70000\r\n"), ParseError::BodyTooLong, true),
        (options("Call-ID: c2\r\n"), ParseError::Repeated("Call-ID"), true),
        (options("").replace("CSeq: 1", "CSeq: 2147483648"), ParseError::Field("CSeq"), true),
        (options("").replace("1 OPTIONS", "1 BYE"), ParseError::MethodMismatch, true),
        (options("").replace("SIP/2.0\r\n", "SIP/3.0\r\n"), ParseError::Version, true),
        (options("").replace("Call-ID: c1@x\r\n", ""), ParseError::Missing("Call-ID"), false),
        (options("").replace("sip:a@192.0.2.1", "sip:a@192.0.2.1 "), ParseError::RequestLine, true),
        (options("no colon\r\n"), ParseError::HeaderLine, true),
        (options("X: \0\r\n"), ParseError::ControlCharacter, true),
        (options("").replace("\r\n", "\n"), ParseError::LineEnd, true),
        (options(&"X: y\r\n".repeat(200)), ParseError::TooManyHeaders, true),
        (options(&format!("X: {}\r\n", "y".repeat(20_000))), ParseError::HeadTooLong, true),
        (
            options("").replace("OPTIONS", "ACK").replace("CSeq: 1", "CSeq: x"),
            ParseError::Field("CSeq"),
            false,
        ),
        ("SIP/2.0 999 x\r\n\r\n".to_owned(), ParseError::StatusLine, false),
    ] {
        let malformed = parse(text.clone()).unwrap_err();
        assert_eq!((malformed.error, malformed.answerable().is_some()), (error, answerable), "{text}");
    }
}

#[test]
fn who_calls_and_who_is_called() {
    let asserted =
        "P-Asserted-Identity: \"x\" <sip:+13125550199;cpc=ordinary@carrier.example;user=phone>\r\n";
    for (text, calling, called) in [
        (options(""), "+12125550100", "a"),
        (options(asserted), "+13125550199", "a"),
        (options("P-Asserted-Identity: tel:+13125550199\r\n"), "+13125550199", "a"),
        (
            options("").replace("sip:a@192.0.2.1", "sip:+18005550100@h;user=phone"),
            "+12125550100",
            "+18005550100",
        ),
        (
            options("").replace("sip:a@192.0.2.1", "tel:+18005550100;phone-context=x"),
            "+12125550100",
            "+18005550100",
        ),
    ] {
        let message = parse(text).unwrap();
        assert_eq!((message.calling_number(), message.called_number()), (Some(calling), Some(called)));
    }
    let none = parse(options("").replace("sip:a@192.0.2.1", "sip:192.0.2.1")).unwrap();
    assert_eq!(none.called_number(), None);
}

#[test]
fn a_response_says_where_its_request_came_from() {
    let flow = Flow {
        transport: Transport::Udp,
        listener: ListenerIx(0),
        remote: "198.51.100.7:4000".parse().unwrap(),
        connection: 0,
    };
    let request = parse(options("Via: SIP/2.0/UDP second\r\n")).unwrap();
    let mut writer = Writer::default();
    writer.response(200, None);
    copy_for_response(&mut writer, &request, &flow, Some("t1"));
    let response = Message::parse(writer.finish_empty()).unwrap();
    let via = response.via().unwrap();
    assert_eq!((via.rport(), via.received()), (Some(Some(4000)), "198.51.100.7".parse().ok()));
    assert_eq!(
        (response.vias().count(), response.to_tag(), response.branch()),
        (2, Some("t1"), Some("z9hG4bKa1"))
    );
}

#[test]
fn a_stream_is_cut_into_messages_wherever_it_breaks() {
    let one = options("Content-Length: 3\r\n") + "abc";
    let ack = one.replace("OPTIONS", "ACK");
    let answer = format!("SIP/2.0 200 OK\r\n{HEAD}CSeq: 7 INVITE\r\nContent-Length: 3\r\n\r\nabc");
    let stream = format!("\r\n\r\n{one}\r\n\r\n{ack}{answer}{one}");
    for size in [1, 2, 3, 7, 100, 10_000] {
        let mut framer = StreamFramer::default();
        let mut seen = String::new();
        for piece in stream.as_bytes().chunks(size) {
            framer.push(piece);
            while let Some(frame) = framer.next_frame() {
                seen.push(match frame {
                    Frame::Message(message) if message.body() == b"abc" => 'm',
                    Frame::Ping => 'p',
                    Frame::Message(_) | Frame::Malformed { .. } => '!',
                });
            }
        }
        assert_eq!(seen, "pmpmmm", "{size}");
        assert!(!framer.is_inside_message());
    }
}

#[test]
fn a_stream_that_cannot_be_framed_is_closed() {
    for (text, error) in [
        (options(""), ParseError::Missing("Content-Length")),
        (options("Content-Length: -1\r\n"), ParseError::Field("Content-Length")),
        (options("Content-Length: 99999999\r\n"), ParseError::BodyTooLong),
        (options("X: ").replace("\r\n\r\n", "") + &"y".repeat(70_000), ParseError::HeadTooLong),
        ("\x16\x03\x01\x02\x00\x01\n".to_owned(), ParseError::NotSip),
    ] {
        let mut framer = StreamFramer::default();
        framer.push(text.as_bytes());
        let frame = framer.next_frame();
        let Some(Frame::Malformed { malformed, close: true, .. }) = frame else { panic!("{frame:?}") };
        assert_eq!(malformed.error, error);
        framer.push(options("Content-Length: 0\r\n").as_bytes());
        assert!(framer.next_frame().is_none());
    }
}

#[test]
fn a_malformed_message_of_known_length_does_not_close_the_stream() {
    let bad = options("Content-Length: 0\r\n").replace("CSeq: 1", "CSeq: x");
    let mut framer = StreamFramer::default();
    framer.push((bad + &options("Content-Length: 0\r\n")).as_bytes());
    assert!(matches!(framer.next_frame(), Some(Frame::Malformed { close: false, .. })));
    assert!(matches!(framer.next_frame(), Some(Frame::Message(_))));
}

fn rewritten(message: &Message) -> Bytes {
    let mut writer = Writer::default();
    if message.is_request() {
        writer.request(message.method_text(), message.uri_text());
    } else {
        writer.response(message.code(), Some(&String::from_utf8_lossy(message.reason())));
    }
    for (name, value) in
        message.fields().filter(|(name, _)| Name::lookup(name.as_bytes()) != Name::ContentLength)
    {
        writer.header(name, value);
    }
    writer.finish("", message.body())
}

fn seeds() -> Vec<String> {
    let invite = options("Contact: <sip:a@b>\r\nContent-Length: 3\r\nSubject: a\r\n b\r\n")
        .replace("OPTIONS", "INVITE")
        + "v=0";
    let response = format!("SIP/2.0 180 Ringing\r\n{HEAD}CSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n");
    vec![options("Content-Length: 0\r\n"), invite, response]
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _whatever = parse(bytes.clone());
        let mut framer = StreamFramer::default();
        framer.push(&bytes);
        while framer.next_frame().is_some() {}
    }

    #[test]
    fn nor_does_a_spoilt_message(which in 0_usize..3, spoil in proptest::collection::vec((any::<usize>(), any::<u8>(), 0_u8..3), 1..6)) {
        let mut bytes = seeds()[which].clone().into_bytes();
        for (at, byte, how) in spoil {
            let at = at % bytes.len().max(1);
            match how {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 if !bytes.is_empty() => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        match parse(bytes.clone()) {
            Ok(message) => {
                let again = Message::parse(rewritten(&message)).unwrap();
                prop_assert_eq!(rewritten(&again), rewritten(&message));
                prop_assert_eq!(again.call_id(), message.call_id());
                prop_assert_eq!(again.from_tag(), message.from_tag());
                agrees_with_rsip(&bytes, &message);
            }
            Err(malformed) => {
                if let Some(request) = malformed.answerable() {
                    let _whatever = (request.via().is_some(), request.from().is_some(), request.uri().is_some());
                }
            }
        }
    }

    /// rsip is no oracle where it refuses; where both accept, both must mean the same.
    #[test]
    fn what_rsip_reads_we_read_alike(
        user in "[a-z0-9.+]{1,12}", host in "[a-z]{1,10}\\.example", tag in "[A-Za-z0-9]{1,10}",
        call_id in "[A-Za-z0-9@.-]{1,30}", cseq in 0_u32..0x7fff_ffff, code in 100_u16..700, is_request: bool,
    ) {
        let start = if is_request { format!("BYE sip:{user}@{host} SIP/2.0") } else { format!("SIP/2.0 {code} Text") };
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{tag}\r\nMax-Forwards: 70\r\nFrom: <sip:{user}@{host}>;tag={tag}\r\n\
             To: <sip:x@{host}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} BYE\r\nContent-Length: 0\r\n\r\n"
        );
        let message = parse(text.clone()).unwrap();
        prop_assert!(agrees_with_rsip(text.as_bytes(), &message));
    }
}

/// Whether rsip accepts it; if it does, both must agree.
fn agrees_with_rsip(bytes: &[u8], ours: &Message) -> bool {
    let Ok(theirs) = rsip::SipMessage::try_from(bytes) else { return false };
    match &theirs {
        rsip::SipMessage::Request(request) => assert_eq!(request.method.to_string(), ours.method_text()),
        rsip::SipMessage::Response(response) => {
            assert_eq!(u16::from(response.status_code.clone()), ours.code())
        }
    }
    // rsip finds the first field by its long name only, and neither folds nor compact names.
    let plain = ours.fields().all(|(name, _)| name.len() > 1);
    if !plain || theirs.headers().iter().count() != ours.fields().count() {
        return true;
    }
    if let Ok(call_id) = theirs.call_id_header() {
        assert_eq!(call_id.value().trim(), ours.call_id());
    }
    if let Some(cseq) = theirs.cseq_header().ok().and_then(|cseq| cseq.typed().ok()) {
        assert_eq!(cseq.seq, ours.cseq());
    }
    if let Some(from) = theirs.from_header().ok().and_then(|from| from.typed().ok()) {
        let tag = from.params.iter().find_map(|param| {
            if let rsip::Param::Tag(tag) = param { Some(tag.value().to_owned()) } else { None }
        });
        assert_eq!(tag.as_deref().map(str::trim).filter(|tag| !tag.is_empty()), ours.from_tag());
    }
    true
}

use model::net::{Flow, ListenerIx, Transport};
