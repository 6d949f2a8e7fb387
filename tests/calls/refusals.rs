//! What is refused, how it is told, and that the next call goes through.

use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use crate::{
    audio::likeness,
    harness::{PATIENCE, Setup, System, with_system},
    phone::{CARRIER, Message, Phone},
};

const GREET: &str = "+18005550100";
const LONG: &str = "+18005550103";
const CAPPED: &str = "+18005550104";
const ONE_LINE: &str = "+18005550111";

/// A call as any other: it is answered, and the prompt is heard.
pub fn assert_a_call_works(system: &System) {
    let mut phone = Phone::new(system, CARRIER, GREET);
    phone.call("0 101");
    phone.wait_for_bye();
    let found = likeness(&system.prompt("welcome"), &phone.rtp.samples());
    assert!(found > 0.97, "{found:.3}");
}

fn refusal(system: &System, number: &str, body: &str) -> Message {
    Phone::new(system, CARRIER, number).invite(body)
}

#[test]
fn an_invite_that_comes_twice_is_one_call_and_gets_the_same_response() {
    with_system(&Setup::default(), |system| {
        let mut phone = Phone::new(system, CARRIER, LONG);
        let invite = phone.request("INVITE", "", &phone.offer("0 101"));
        phone.send(&invite);
        let first = phone.final_response();
        phone.send(&invite);
        let second = phone.final_response();
        assert_eq!(first.text, second.text);
        assert_eq!(system.metric("switchboard_calls"), 1);
        phone.acknowledge(&first, "");
        phone.hang_up();

        let mut phone = Phone::new(system, CARRIER, "+18005550109");
        let invite = phone.request("INVITE", "", &phone.offer("0 101"));
        phone.send(&invite);
        let first = phone.final_response();
        phone.send(&invite);
        let second = phone.final_response();
        assert_eq!((first.code(), first.text == second.text), (404, true));
        phone.acknowledge(&first, "");
        assert_eq!(system.metric("switchboard_calls_refused_total"), 1);
    });
}

#[test]
fn a_source_that_no_allowlist_lists_hears_nothing() {
    with_system(&Setup::default(), |system| {
        let mut stranger = Phone::new(system, [127, 0, 0, 9], GREET);
        let invite = stranger.request("INVITE", "", &stranger.offer("0 101"));
        let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        for bytes in [invite.as_bytes(), b"OPTIONS sip:a SIP/2.0\r\n\r\n", b"nonsense", b"\r\n\r\n"] {
            stranger.send(bytes);
            socket.send_to(bytes, system.sip).unwrap();
        }
        assert!(stranger.receive(Duration::from_secs(1)).is_none(), "a stranger is answered");
        assert!(socket.recv(&mut [0; 2_000]).is_err(), "a stranger is answered");
        assert_eq!(system.metric("switchboard_sip_strangers_total"), 8);
        assert_eq!(system.metric("switchboard_sip_sent_total"), 0);
        let lines = system.log().matches("127.0.0.9").count();
        assert!((1..=4).contains(&lines), "one line for all of it, not {lines}:\n{}", system.log());

        // The other carrier's address is listed, for its own trunk.
        let mut known = Phone::new(system, [127, 0, 0, 3], "+18005550110");
        known.call("0 101");
        known.wait_for_bye();
    });
}

#[test]
fn a_stranger_gets_no_word_over_tcp() {
    with_system(&Setup::default(), |system| {
        let socket = socket2_bound([127, 0, 0, 9]);
        if socket.connect(&system.sip.into()).is_ok() {
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(b"OPTIONS sip:a SIP/2.0\r\n\r\n");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(system.metric("switchboard_sip_sent_total"), 0);
    });
}

fn socket2_bound(address: [u8; 4]) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((address, 0)).into()).unwrap();
    socket
}

#[test]
fn offers_that_cannot_be_answered_are_refused_with_488() {
    with_system(&Setup::default(), |system| {
        let phone = Phone::new(system, CARRIER, GREET);
        let offer = phone.offer("0");
        for (what, body) in [
            ("G.729 alone", phone.offer("18")),
            ("telephone-event alone", phone.offer("101")),
            ("video alone", offer.replace("m=audio", "m=video")),
            ("no media", offer.split("m=").next().unwrap().to_owned()),
            ("the only audio is refused", phone.offer("0").replace(&phone.rtp.local.port().to_string(), "0")),
            ("SRTP alone", offer.replace("RTP/AVP", "RTP/SAVP")),
        ] {
            let answer = refusal(system, GREET, &body);
            assert_eq!(answer.code(), 488, "{what}: {}", answer.text);
            assert!(
                answer.header("Reason").is_some_and(|reason| reason.contains("Q.850;cause=88")),
                "{}",
                answer.text
            );
        }
        // The codec that is known is taken from among those that are not.
        let mut phone = Phone::new(system, CARRIER, LONG);
        let answer = phone.call("18 4 8 0 101");
        assert!(answer.body().contains("RTP/AVP 8 101"), "{}", answer.body());
        phone.hang_up();
    });
}

#[test]
fn a_cut_description_is_refused_with_400_and_the_next_call_works() {
    with_system(&Setup::default(), |system| {
        let offer = Phone::new(system, CARRIER, GREET).offer("0");
        for body in [&offer[..offer.find("m=").unwrap() + 9], "v=0\r\n", "v=0\r\no=", "nonsense"] {
            let answer = refusal(system, GREET, body);
            assert!(matches!(answer.code(), 400 | 488), "{body:?}: {}", answer.text);
        }
        // The datagram ends before its body does.
        let mut phone = Phone::new(system, CARRIER, GREET);
        let invite = phone.request("INVITE", "", &phone.offer("0"));
        phone.send(&invite.as_bytes()[..invite.len() - 30]);
        assert_eq!(phone.final_response().code(), 400);
        assert_a_call_works(system);
    });
}

#[test]
fn an_oversized_message_ends_nothing_but_itself() {
    with_system(&Setup::default(), |system| {
        let mut phone = Phone::new(system, CARRIER, GREET);
        let big = format!("Subject: {}\r\n", "a".repeat(60_000));
        let invite = phone.request("INVITE", &big, &phone.offer("0"));
        phone.send(&invite);
        let answer = phone.receive(Duration::from_secs(2));
        let code = answer.as_ref().map_or(0, Message::code);
        assert!(matches!(code, 0 | 400 | 413 | 513), "{answer:?}");
        assert_eq!(system.metric("switchboard_calls"), 0);

        // A header section on a stream that grows beyond 16 KiB.
        let mut stream = TcpStream::connect(system.sip).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = "INVITE sip:+18005550100@127.0.0.1 SIP/2.0\r\nSubject: ";
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..100 {
            if stream.write_all(&[b'a'; 1_024]).is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        // Ended with or without a word, and by a reset where our bytes were still under way: but ended.
        let ended = match stream.read_to_end(&mut answer) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(ended, "the connection stays open");
        assert!(!answer.starts_with(b"SIP/2.0 200"));
        assert_eq!(system.metric("switchboard_calls"), 0);
        assert_a_call_works(system);
    });
}

#[test]
fn without_a_free_port_a_call_is_sent_elsewhere_and_the_next_one_works_again() {
    with_system(&Setup { pairs: Some(2), ..Setup::default() }, |system| {
        let mut calls: Vec<_> = (0..2).map(|_| Phone::new(system, CARRIER, LONG)).collect();
        calls.iter_mut().for_each(|phone| drop(phone.call("0 101")));
        let offer = Phone::new(system, CARRIER, LONG).offer("0");
        let answer = refusal(system, LONG, &offer);
        assert_eq!(answer.code(), 503, "{}", answer.text);
        let after: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=8).contains(&after));
        calls[0].hang_up();
        system.wait_for_metric("switchboard_media_ports", 2);
        let mut third = Phone::new(system, CARRIER, LONG);
        third.call("0 101");
        third.hang_up();
        calls[1].hang_up();
    });
}

#[test]
fn a_numbers_cap_is_told_with_480_and_others_are_still_called() {
    with_system(&Setup::default(), |system| {
        let mut first = Phone::new(system, CARRIER, CAPPED);
        first.call("0 101");
        let offer = first.offer("0");
        let answer = refusal(system, CAPPED, &offer);
        assert_eq!(answer.code(), 480, "{}", answer.text);
        assert_eq!(answer.header("Reason"), Some("Q.850;cause=42"));
        assert_a_call_works(system);
        first.hang_up();
        let mut next = Phone::new(system, CARRIER, CAPPED);
        next.call("0 101");
        next.hang_up();
    });
}

#[test]
fn a_trunks_cap_is_told_with_503_that_sends_nobody_elsewhere() {
    with_system(&Setup::default(), |system| {
        let small = [127, 0, 0, 4];
        let mut first = Phone::new(system, small, ONE_LINE);
        first.call("0 101");
        let mut second = Phone::new(system, small, ONE_LINE);
        let answer = second.invite(&second.offer("0"));
        assert_eq!(answer.code(), 503, "{}", answer.text);
        assert_eq!(answer.header("Reason"), Some("Q.850;cause=42"));
        assert_eq!(answer.header("Retry-After"), None, "the trunk would be blocked whole");
        first.hang_up();
        let mut next = Phone::new(system, small, ONE_LINE);
        next.call("0 101");
        next.hang_up();
    });
}

#[test]
fn a_late_bye_and_requests_of_no_call_are_told_so() {
    with_system(&Setup::default(), |system| {
        let mut phone = Phone::new(system, CARRIER, LONG);
        phone.call("0 101");
        phone.hang_up();
        let bye = phone.request("BYE", "", "");
        phone.send(&bye);
        assert_eq!(phone.final_response().code(), 481);
        let info = phone.request("INFO", "", "");
        phone.send(&info);
        assert_eq!(phone.final_response().code(), 481);
        thread::sleep(Duration::from_millis(50));
    });
}
