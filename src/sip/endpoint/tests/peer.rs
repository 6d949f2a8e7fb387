//! One endpoint, and a peer that says whatever a test wants it to say.

use super::*;
use crate::{
    digest::{self, Algorithm, Answer, Challenge, Credentials, Secret},
    pair::config,
    wire::{Method, copy_for_response},
};

pub const SOURCE: &str = "198.51.100.7:6000";

pub fn flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        listener: ListenerIx(0),
        remote: SOURCE.parse().unwrap(),
        connection: 0,
    }
}

/// A request whose branch, Call-ID and CSeq come from `id`, with more fields and perhaps a To tag.
pub fn request(method: &str, id: u32, to_tag: &str, extra: &str) -> String {
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:+18005550100@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:6000;rport;branch=z9hG4bK{method}{id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+12125550100@x>;tag=f\r\nTo: <sip:+18005550100@y>{tag}\r\nCall-ID: one\r\n\
         CSeq: {id} {method}\r\nContact: <sip:a@203.0.113.5:7000>\r\n{extra}\r\n"
    )
}

pub fn endpoint() -> Endpoint {
    Endpoint::new(config(1, Transport::Udp), 1)
}

pub fn feed(endpoint: &mut Endpoint, text: &str) -> Vec<(Flow, Message)> {
    endpoint.handle(epoch(), Input::datagram(flow(), Bytes::copy_from_slice(text.as_bytes())));
    sent(endpoint)
}

/// What is to be sent; events are thrown away.
pub fn sent(endpoint: &mut Endpoint) -> Vec<(Flow, Message)> {
    both(endpoint).0
}

/// What is to be sent, and what is told, in words.
pub fn both(endpoint: &mut Endpoint) -> (Vec<(Flow, Message)>, Vec<Event>) {
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    while let Some(output) = endpoint.poll() {
        match output {
            Output::Transmit { flow, bytes } => sent.push((flow, Message::parse(bytes).unwrap())),
            Output::Event(event) => told.push(event),
            Output::Note(_) => {}
        }
    }
    (sent, told)
}

pub fn codes(endpoint: &mut Endpoint, text: &str) -> Vec<u16> {
    feed(endpoint, text).iter().map(|(_, message)| message.code()).collect()
}

/// Takes an INVITE and answers it; the leg and our tag.
pub fn answered(endpoint: &mut Endpoint) -> (LegId, String) {
    feed(endpoint, &request("INVITE", 1, "", ""));
    endpoint.accept(epoch(), LegId(1), bytes(OFFER), &[]).unwrap();
    let (_, response) = sent(endpoint).remove(0);
    let tag = response.to_tag().unwrap().to_owned();
    feed(endpoint, &request("ACK", 1, &tag, ""));
    (LegId(1), tag)
}

/// A response to a request of the endpoint's, with a To parameter and more fields; what is sent then.
pub fn reply(
    endpoint: &mut Endpoint,
    to: &Message,
    code: u16,
    tag: &str,
    extra: &str,
) -> Vec<(Flow, Message)> {
    reply_by(endpoint, flow(), to, code, tag, extra);
    sent(endpoint)
}

pub fn reply_by(endpoint: &mut Endpoint, by: Flow, to: &Message, code: u16, tag: &str, extra: &str) {
    endpoint.handle(epoch(), response(by, to, code, tag, extra));
}

/// The same later than at the epoch; what is sent then.
pub fn reply_at(endpoint: &mut Endpoint, now: Instant, to: &Message, code: u16) -> Vec<(Flow, Message)> {
    endpoint.handle(now, response(flow(), to, code, "", ""));
    sent(endpoint)
}

fn response(by: Flow, to: &Message, code: u16, tag: &str, extra: &str) -> Input {
    let mut writer = Writer::default();
    writer.response(code, None);
    copy_for_response(&mut writer, to, &by, tag.strip_prefix(";tag="));
    for (name, value) in extra.lines().filter_map(|line| line.split_once(": ")) {
        writer.header(name, value);
    }
    Input::datagram(by, writer.finish_empty())
}

pub fn invite_to(flow: Flow) -> Invite {
    Invite {
        flow,
        request_uri: "sip:a@b".to_owned(),
        from: "<sip:a@b>".to_owned(),
        to: "<sip:a@b>".to_owned(),
        sdp: Some(bytes(OFFER)),
        max_forwards: 70,
        headers: Vec::new(),
        challenges: false,
        tcp: None,
        attached: None,
        feature: None,
    }
}

pub fn challenge(name: &'static str) -> Header {
    let challenge = Challenge {
        realm: "r".to_owned(),
        nonce: "n".to_owned(),
        opaque: None,
        algorithm: Algorithm::Sha256,
        qop: true,
        stale: false,
    };
    Header::new(name, challenge.to_value())
}

fn secret() -> Secret {
    Secret::Password("zanzibar".to_owned())
}

pub fn answers(response: &Message, method: Method, uri: &str) -> Vec<Header> {
    let bob = Credentials { username: "bob".to_owned(), secret: secret(), least: Algorithm::Sha256 };
    digest::answers(response, &bob, method.as_str(), uri, 1, "c")
}

pub fn is_bob(answer: &Answer) -> bool {
    answer.username == "bob"
        && (["INVITE", "REGISTER", "BYE"].iter().any(|method| answer.is_right(&secret(), method)))
}
