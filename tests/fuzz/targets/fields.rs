//! Fields and bodies that a message's reader leaves to others: challenges and their answers (RFC 7616), bindings and paths
//! (RFC 3327, 3608, 5626), sessions (RFC 4028), dialogs that are named (RFC 3891, 4538), reasons (RFC 3326), and which part of
//! a body is the description (RFC 5621). What is written of what was read says the same.
#![no_main]

#[path = "../../../src/sip/body.rs"]
mod body;
#[path = "../../../src/sip/lex.rs"]
#[allow(dead_code)]
mod lex;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::{
    digest::{self, Algorithm, Answer, Challenge, Credentials, Secret},
    header::{DialogName, MediaType, NameAddr, RAck, Reason, SessionExpires, tokens},
    outbound,
    uri::Uri,
    wire::{Message, Name},
};
// As `body` is part of another crate there.
use sip::{header, wire};

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKf\r\nFrom: <sip:a@c14.example>;tag=a\r\nTo: <sip:a@c14.example>\r\n\
                    Call-ID: f\r\nMax-Forwards: 70\r\n";

fuzz_target!(|input: &[u8]| {
    for (line, method) in
        [("REGISTER sip:c14.example SIP/2.0", "REGISTER"), ("SIP/2.0 401 Unauthorized", "REGISTER")]
    {
        if let Some(message) = message(line, method, input) {
            read(&message);
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(uri) = Uri::parse(text.as_bytes()) {
        let again = Uri::parse(uri.text.as_bytes()).expect("a URI's text is one");
        assert!(again.is_equivalent(&uri));
        let _ = (uri.without_headers(), uri.has_headers(), uri.headers().count(), uri.ip());
    }
    let escaped = sip::uri::escape_user(text);
    assert_eq!(sip::uri::unescape(&escaped), text);
});

fn message(line: &str, method: &str, rest: &[u8]) -> Option<Message> {
    let head = format!("{line}\r\n{HEAD}CSeq: 1 {method}\r\n");
    Message::parse(Bytes::from([head.as_bytes(), rest].concat())).ok()
}

fn read(message: &Message) {
    for of_proxy in [false, true] {
        for challenge in Challenge::all(message, of_proxy) {
            let value = format!("WWW-Authenticate: {}\r\n\r\n", challenge.to_value());
            let again = self::message("SIP/2.0 401 Unauthorized", "REGISTER", value.as_bytes());
            assert_eq!(Challenge::all(&again.expect("ours parses"), false), [challenge]);
        }
        for answer in Answer::all(message, of_proxy) {
            let value = format!("Authorization: {}\r\n\r\n", answer.to_value());
            let again = self::message("REGISTER sip:c14.example SIP/2.0", "REGISTER", value.as_bytes());
            assert_eq!(Answer::all(&again.expect("ours parses"), false), [answer.clone()]);
            assert!(!answer.is_right(&Secret::of_nobody(), "REGISTER") || answer.response.len() >= 32);
        }
    }
    prove(message);
    if outbound::wish(message).is_ok() {
        assert!(outbound::bindings(message).count() <= outbound::CONTACTS_MAX);
    }
    assert!(outbound::bindings(message).all(|binding| binding.q <= 1_000 && binding.reg_id != Some(0)));
    assert!(outbound::path(message).len() <= outbound::ROUTES_MAX);
    assert!(outbound::service_route(message).len() <= outbound::ROUTES_MAX);
    let _ = (outbound::has_strange_path(message), outbound::is_first_hop(message));
    for (_, value) in message.fields() {
        if let Some(session) = SessionExpires::parse(value) {
            assert_eq!(SessionExpires::parse(session.to_value().as_bytes()), Some(session));
        }
        let _ = (RAck::parse(value), DialogName::parse_replaces(value), DialogName::parse_target(value));
        let _ = (Reason::parse(value), MediaType::parse(value), tokens(value).count());
        assert!(!NameAddr::list_is_valid(value) || NameAddr::list(value).count() <= value.len());
    }
    if let Ok(Some(description)) = body::description(message) {
        assert!(description.len() <= message.body().len());
    }
    let _ = message.header(Name::ContentType);
}

/// What is answered to a challenge is right for whoever knows the secret, and for nobody else.
fn prove(response: &Message) {
    let secret = Secret::Password("made-up".into());
    let credentials = Credentials { username: "a".into(), secret: secret.clone(), least: Algorithm::Md5 };
    for field in digest::answers(response, &credentials, "REGISTER", "sip:c14.example", 1, "c") {
        let value = format!("{}: {}\r\n\r\n", field.name, field.value);
        let request = message("REGISTER sip:c14.example SIP/2.0", "REGISTER", value.as_bytes());
        let of_proxy = field.name.starts_with("Proxy");
        let answers = Answer::all(&request.expect("ours parses"), of_proxy);
        assert!(answers.iter().all(|answer| answer.is_right(&secret, "REGISTER")) && !answers.is_empty());
        assert!(!answers.iter().any(|answer| answer.is_right(&Secret::Password("other".into()), "REGISTER")));
    }
}
