//! Datagrams to the user-agent core, with the layer above answering each invitation as the input says. Nothing is answered
//! without end, no table outgrows its bound, and after long silence nothing is left. `@T` in a datagram stands for the tag of
//! our latest response.
#![no_main]

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;
use fuzz::{datagrams, moment};
use libfuzzer_sys::fuzz_target;
use model::net::{Flow, ListenerIx, Transport};
use sip::{
    endpoint::{Config, Endpoint, Event, Extensions, Input, ListenerConfig, MTU, Output},
    transaction::Timers,
    wire::Message,
};

const LEGS_MAX: usize = 8;
const TRANSACTIONS_MAX: usize = 16;
/// Outputs to one input: the copies and answers of all transactions, and then some.
const OUTPUTS_MAX: usize = 16 * TRANSACTIONS_MAX;
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";

fuzz_target!(|input: &[u8]| {
    let mut endpoint = Endpoint::new(config(), 1);
    let mut tag = Vec::new();
    for (datagram, tick) in datagrams(input).zip(0..) {
        let Some((&choice, bytes)) = datagram.split_first() else { continue };
        let now = moment(tick * 100);
        let bytes = fill(bytes, &tag);
        let flow = if choice & 1 == 0 { flow(Transport::Udp) } else { flow(Transport::Tcp) };
        endpoint.handle(now, Input::datagram(flow, Bytes::from(bytes)));
        drain(&mut endpoint, now, choice >> 1, &mut tag);
        assert!(endpoint.legs() <= LEGS_MAX && endpoint.transactions() <= TRANSACTIONS_MAX);
    }
    pass_time(&mut endpoint);
});

fn config() -> Config {
    let listener =
        |transport| ListenerConfig { transport, sent_by: "127.0.0.1:5060".into(), serves_register: true };
    Config {
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        token: "fuzz".into(),
        user_agent: "fuzz".into(),
        legs_max: LEGS_MAX,
        transactions_max: TRANSACTIONS_MAX,
        timers: Timers::default(),
        mtu: MTU,
        extensions: Extensions { transfers: true, ..Extensions::default() },
    }
}

fn flow(transport: Transport) -> Flow {
    let listener = ListenerIx(u16::from(transport.is_reliable()));
    Flow { transport, listener, remote: SocketAddr::from(([127, 0, 0, 1], 5090)), connection: 1 }
}

fn fill(bytes: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|window| window == b"@T") {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(tag);
        rest = &rest[at + 2..];
    }
    filled.extend_from_slice(rest);
    filled
}

fn drain(endpoint: &mut Endpoint, now: Instant, choice: u8, tag: &mut Vec<u8>) {
    for _ in 0..OUTPUTS_MAX {
        match endpoint.poll() {
            None => return,
            Some(Output::Event(event)) => decide(endpoint, now, event, choice),
            Some(Output::Transmit { bytes, .. }) => {
                assert!(!bytes.is_empty());
                // The answer to a malformed request repeats what is wrong with it.
                let is_request = !bytes.starts_with(b"SIP/2.0 ");
                let Ok(message) = Message::parse(bytes.clone()) else {
                    assert!(!is_request, "a request of ours does not parse: {bytes:?}");
                    continue;
                };
                if let Some(ours) = message.to_tag().filter(|_| !message.is_request()) {
                    *tag = ours.as_bytes().to_vec();
                }
            }
            Some(Output::Note(note)) => assert!(!note.what.is_empty()),
        }
    }
    panic!("more than {OUTPUTS_MAX} outputs to one input");
}

/// What the layer above does. It may be too late for it, which is then an error and no panic.
fn decide(endpoint: &mut Endpoint, now: Instant, event: Event, choice: u8) {
    let sdp = Bytes::from_static(SDP.as_bytes());
    let _ = match event {
        Event::Invited { leg, .. } => match choice % 4 {
            0 => endpoint.accept(now, leg, sdp, &[]),
            1 => endpoint.reject(now, leg, 486, None, &[]),
            2 => endpoint.provisional(now, leg, 183, Some(sdp), &[]),
            _ => Ok(()),
        },
        Event::Reinvited { leg, .. } => match choice % 2 {
            0 => endpoint.answer_reinvite(now, leg, sdp),
            _ => endpoint.reject_reinvite(now, leg, 488),
        },
        Event::Confirmed { leg, .. } => match choice % 6 {
            0 => endpoint.bye(now, leg, &[]),
            1 => endpoint.reinvite(now, leg, sdp),
            2 => endpoint.refer(now, leg, "sip:+12125550199@127.0.0.1:5090", &[]),
            3 => endpoint.update(now, leg, Some(sdp)),
            4 => endpoint.probe(now, leg),
            _ => Ok(()),
        },
        Event::Referred { leg, .. } => match choice % 3 {
            0 => endpoint.accept_refer(now, leg).and_then(|()| endpoint.notify_refer(now, leg, 200, true)),
            1 => endpoint.reject_refer(now, leg, 603, &[]),
            _ => Ok(()),
        },
        Event::Requested { id, .. } => match choice % 2 {
            0 => endpoint.respond_to(now, id, 200, &[]),
            _ => Ok(()),
        },
        Event::Challenged { id, .. } => match choice % 3 {
            0 => endpoint.retry_with(now, id, &[]),
            1 => endpoint.give_up(now, id),
            _ => Ok(()),
        },
        _ => Ok(()),
    };
}

/// All timers in their order. None may fire for ever: what waits for the layer above waits without a timer.
fn pass_time(endpoint: &mut Endpoint) {
    let end = moment(10_000_000);
    for _ in 0..10_000 {
        let Some((at, _)) = endpoint.poll_timeout() else { break };
        if at > end {
            break;
        }
        endpoint.handle(at, Input::Timeout);
        drain(endpoint, at, 0, &mut Vec::new());
    }
    endpoint.handle(end, Input::Timeout);
    drain(endpoint, end, 0, &mut Vec::new());
    let waiting = endpoint.poll_timeout().is_some_and(|(at, _)| at <= end);
    assert!(!waiting, "a timer of the past is still set");
}
