//! WebSocket, IPv6, and what keeps paths open.

use std::{net::IpAddr, time::Duration};

use tokio_tungstenite::tungstenite::Message as Frame;

use crate::{
    certificates::{Authority, For, connector},
    harness::{PATIENCE, Setup, System, wait_until, with_prepared, with_system},
    phone::{CARRIER, Phone},
    streams::{Datagrams, Stream, Web, Wire, tcp, tls},
    tls::{assert_is_greeted, listener, prepare},
};

const GREET: &str = "+18005550100";
const SIX_GREET: &str = "+18005550114";

/// A system with every listener, and who vouches for it.
fn with_all(test: impl FnOnce(&System, &Authority)) {
    let authority = Authority::new("Test Authority");
    let edge = authority.ecdsa("c14.example.net", For::Both);
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, Some(&edge)),
        |system| test(system, &authority),
    );
}

fn options(wire: &dyn Wire) -> String {
    let (local, transport) = (wire.local(), wire.transport());
    format!(
        "OPTIONS sip:c14.example.net SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bKo{}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{local}>;tag=a\r\nTo: <sip:c14.example.net>\r\nCall-ID: o{}\r\nCSeq: 1 OPTIONS\r\n\r\n",
        local.port(),
        local.port()
    )
}

#[test]
fn a_call_over_websocket_in_the_clear_and_under_tls() {
    with_all(|system, authority| {
        let stream = tcp(CARRIER.into(), listener(system, "ws"));
        let ws = Web::open("WS", stream, Some("sip"), Some("https://c14.example.net")).unwrap();
        let mut phone = Phone::by(system, Box::new(ws), GREET);
        assert_is_greeted(system, &mut phone);

        let stream = tls(CARRIER.into(), listener(system, "wss"), &connector(authority, None));
        let wss = Web::open("WSS", stream, Some("msrp, sip"), None).unwrap();
        let mut phone = Phone::by(system, Box::new(wss), GREET);
        let answer = phone.call("0 101");
        let contact = answer.header("Contact").unwrap();
        assert!(contact.contains(&format!("@{};transport=ws>", listener(system, "wss"))), "{contact}");
        phone.wait_for_bye();
        assert_eq!(system.path_of_call(2), ["welcome: played", "bye: hangup"]);
    });
}

#[test]
fn a_websocket_is_for_sip_from_our_own_pages_one_message_a_frame() {
    with_all(|system, _| {
        let open = |protocol, origin| {
            Web::open("WS", tcp(CARRIER.into(), listener(system, "ws")), protocol, origin).map(drop)
        };
        assert_eq!(open(None, None), Err(400));
        assert_eq!(open(Some("msrp"), None), Err(400));
        assert_eq!(open(Some("sip"), Some("https://evil.example")), Err(403));
        assert_eq!(open(Some("sip"), Some("https://127.0.0.1")), Ok(()));

        let ws = Web::open("WS", tcp(CARRIER.into(), listener(system, "ws")), Some("sip"), None).unwrap();
        ws.frame(Frame::Ping(b"are you there"[..].into()));
        assert_eq!(ws.next(PATIENCE), Some(Frame::Pong(b"are you there"[..].into())));
        // Text and binary, without Content-Length as a frame has its own; a keep-alive of streams is no message here.
        ws.frame(Frame::text("\r\n\r\n"));
        for frame in [Frame::text(options(&ws)), Frame::binary(options(&ws).replace("zo", "zp"))] {
            ws.frame(frame);
            let answer = ws.receive(PATIENCE).unwrap();
            assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
            assert!(answer.contains("SIP/2.0/WS 127.0.0.1:"), "{answer}");
        }
        // More than a message may have, and what is none.
        let long = Web::open("WS", tcp(CARRIER.into(), listener(system, "ws")), Some("sip"), None).unwrap();
        long.frame(Frame::text(format!("{}{}", options(&long), "x".repeat(100_000))));
        assert_eq!(long.receive(PATIENCE), None);
        ws.frame(Frame::text("GET / HTTP/1.1\r\n\r\n"));
        assert_eq!(ws.receive(PATIENCE), None);
    });
}

#[test]
fn calls_over_ipv6_by_udp_tcp_and_tls() {
    with_all(|system, authority| {
        let (plain, secure) = (listener(system, "six"), listener(system, "six-tls"));
        let from: IpAddr = plain.ip();
        let wires: [Box<dyn Wire>; 3] = [
            Box::new(Datagrams::new(from, plain)),
            Box::new(Stream::new("TCP", tcp(from, plain))),
            Box::new(Stream::new("TLS", tls(from, secure, &connector(authority, None)))),
        ];
        for wire in wires {
            let server = wire.server();
            let mut phone = Phone::by(system, wire, SIX_GREET);
            let answer = phone.call("0 101");
            assert!(answer.header("Contact").unwrap().contains(&format!("@{server}")), "{}", answer.text);
            assert!(answer.audio().is_ipv6());
            phone.wait_for_bye();
            let found = crate::audio::likeness(&system.prompt("welcome"), &phone.rtp.samples());
            assert!(found > 0.97, "{server}: {found:.3}");
        }
    });
}

#[test]
fn a_message_that_trickles_in_is_not_waited_for() {
    with_all(|system, authority| {
        let stream = tls(CARRIER.into(), listener(system, "tls"), &connector(authority, None));
        let slow = Stream::new("TLS", stream);
        slow.send(b"OPTIONS sip:c14.example.net SIP/2.0\r\n");
        let mut octets = b"X: y\r\n".iter().cycle();
        wait_until("the connection is closed", || {
            slow.try_send(&[*octets.next().unwrap()]);
            system.log().contains("closed a connection: a message took longer than")
        });
        assert!(slow.is_closed());
        let plain = Stream::new("TCP", tcp(CARRIER.into(), system.sip));
        plain.send(options(&plain).replace("CSeq", "Content-Length: 0\r\nCSeq").as_bytes());
        assert!(plain.receive(PATIENCE).unwrap().starts_with("SIP/2.0 200 "));
    });
}

#[test]
fn keep_alives_are_answered_to_those_we_know() {
    with_system(&Setup::default(), |system| {
        let stream = Stream::new("TCP", tcp(CARRIER.into(), system.sip));
        stream.send(b"\r\n\r\n");
        assert_eq!(stream.octets(2), b"\r\n");

        let known = Datagrams::new(CARRIER.into(), system.sip);
        known.send(b"\r\n\r\n");
        assert_eq!(known.receive(PATIENCE).as_deref(), Some("\r\n"));
        let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        binding.extend([7; 12]);
        known.send(&binding);
        let mut answer = [0; 64];
        known.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = known.socket.recv(&mut answer).unwrap();
        assert_eq!(length, 32);
        assert_eq!(answer[..2], [1, 1]);
        assert_eq!(answer[4..20], binding[4..]);
        let port = known.local().port() ^ 0x2112;
        assert_eq!(answer[26..28], port.to_be_bytes());
        assert_eq!(answer[28..32], [127 ^ 0x21, 0x12, 0xa4, 1 ^ 0x42]);

        let stranger = Datagrams::new([127, 0, 0, 9].into(), system.sip);
        stranger.send(b"\r\n\r\n");
        stranger.send(&binding);
        assert_eq!(stranger.receive(Duration::from_millis(300)), None);
        system.wait_for_metric("switchboard_sip_strangers_total", 2);
    });
}
