//! Bad input of all kinds to a running system. After each 100 ordinary calls pass, and memory is back to where it was.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crate::{
    afterwards::{afterwards, ordinary_calls, warmed_up},
    certificates::{Authority, For, connector},
    harness::{PATIENCE, Setup, System, wait_until, with_prepared, with_system},
    phone::{CARRIER, Message, Phone},
    registrar,
    registrations::Registration,
    streams::{Datagrams, Stream, Wire, tcp, tls},
    tls::{EDGE, listener, prepare},
};

const GREET: &str = "+18005550100";
const RING: &str = "+18005550102";
const LONG: &str = "+18005550103";

/// A head that never ends.
const HEAD: &[u8] = b"INVITE sip:+18005550100@127.0.0.1 SIP/2.0\r\nSubject: ";
const MEGABYTE: usize = 1 << 20;

/// A system with every listener, some time after its start; then its memory is as before.
fn with_all(what: &str, test: impl FnOnce(&System, &Authority)) {
    let authority = Authority::new("Test Authority");
    let edge = authority.ecdsa(EDGE, For::Both);
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, Some(&edge)),
        |system| {
            let before = warmed_up(system);
            test(system, &authority);
            afterwards(system, what, before);
        },
    );
}

/// Whether the other side has closed a connection; what it says before that is read.
fn is_closed(stream: &mut impl Read) -> bool {
    let mut buffer = [0; 1_024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

#[test]
fn header_fields_of_a_megabyte_over_udp_tcp_and_tls() {
    with_all("header fields of a megabyte", |system, authority| {
        // A datagram holds 64 kB: a megabyte and more comes in several, none of which is a message.
        let carrier = Datagrams::new(CARRIER.into(), system.sip);
        let mut datagram = HEAD.to_vec();
        datagram.resize(65_000, b'a');
        for _ in 0..10 {
            for _ in 0..16 {
                carrier.send(&datagram);
            }
            while carrier
                .receive(Duration::from_millis(20))
                .is_some_and(|answer| !answer.contains("SIP/2.0 200"))
            {}
        }
        for _ in 0..20 {
            let mut stream = tcp(CARRIER.into(), system.sip);
            pour(&mut stream);
            assert!(is_closed(&mut stream), "the connection stays open");
        }
        for _ in 0..10 {
            let mut stream = tls(CARRIER.into(), listener(system, "tls"), &connector(authority, None));
            pour(&mut stream);
            assert!(is_closed(&mut stream), "the connection stays open");
        }
        assert_eq!(system.metric("switchboard_calls"), 0);
    });
}

/// Writes a head of a megabyte, as far as the other side takes it.
fn pour(stream: &mut impl Write) {
    let mut left = MEGABYTE;
    let mut wrote = stream.write_all(HEAD).is_ok();
    while wrote && left > 0 {
        wrote = stream.write_all(&[b'a'; 8_192]).is_ok();
        left -= 8_192;
    }
}

/// Connections of one address at once are limited to 2,048.
#[test]
fn hundreds_of_slow_writers_over_tcp_and_tls() {
    with_all("slow writers", |system, authority| {
        let mut plain: Vec<_> = (0..1_000).map(|_| tcp(CARRIER.into(), system.sip)).collect();
        let connector = connector(authority, None);
        let tls_at = listener(system, "tls");
        let mut secure: Vec<_> = (0..100).map(|_| tls(CARRIER.into(), tls_at, &connector)).collect();
        let mut next = HEAD.iter();
        let mut trickle = || {
            let octet = [*next.next().unwrap()];
            let plain = plain.iter_mut().filter_map(|stream| stream.write_all(&octet).ok()).count();
            let secure = secure.iter_mut().filter_map(|stream| stream.write_all(&octet).ok()).count();
            (plain, secure)
        };
        for _ in 0..5 {
            assert_eq!(trickle(), (1_000, 100));
            thread::sleep(Duration::from_millis(50));
        }
        // Nobody else waits for them.
        ordinary_calls(system, 20, 20);
        let until = Instant::now() + PATIENCE;
        // A message has 30 s from its first octet to its last.
        while trickle() != (0, 0) {
            assert!(Instant::now() < until, "slow writers are still waited for");
            thread::sleep(Duration::from_secs(1));
        }
    });
}

#[test]
fn hundreds_of_tls_handshakes_that_are_never_finished() {
    with_all("half-open TLS", |system, authority| {
        let at = listener(system, "tls");
        // More than one source may have under way at once; some say nothing, some begin a record.
        let half_open: Vec<TcpStream> = (0..700)
            .map(|place| {
                let mut stream = tcp(CARRIER.into(), at);
                if place % 2 == 0 {
                    let _ = stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
                }
                stream
            })
            .collect();
        ordinary_calls(system, 20, 20);
        for mut stream in half_open {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            assert!(is_closed(&mut stream), "a handshake is waited for without end");
        }
        assert_eq!(system.metric("switchboard_tls_failed_total"), 256);
        assert!(system.metric("switchboard_sip_rejected_total{reason=\"handshakes\"}") >= 700 - 256);
        let stream = tls(CARRIER.into(), at, &connector(authority, None));
        let mut phone = Phone::by(system, Box::new(Stream::new("TLS", stream)), LONG);
        phone.call("0 101");
        phone.hang_up();
    });
}

#[test]
fn an_answer_to_a_challenge_is_good_once_and_for_its_own_address_alone() {
    with_prepared(&Setup::default(), registrar::prepare, |system| {
        let before = warmed_up(system);
        let mut phone = Registration::new(system, [127, 0, 0, 21], "ada-desk", "made-up");
        let challenge = phone.send(None);
        assert_eq!(challenge.code(), 401);
        let proof = phone.proof(&challenge, 1);
        let answer = phone.send(Some(&proof));
        assert_eq!(answer.code(), 200, "{}", answer.text);
        let registered = system.get("/api/v1/registrations");

        // The same proof again, in a request of its own: from the same address, and from a listener's.
        for round in 0..20 {
            let again = phone.send(Some(&proof));
            assert_eq!(again.code(), 401, "{round}: {}", again.text);
            assert!(again.text.contains("stale=true"), "{}", again.text);
        }
        let mut thief = Registration::new(system, [127, 0, 0, 22], "ada-desk", "unknown");
        for _ in 0..20 {
            assert_eq!(thief.send(Some(&proof)).code(), 401);
        }
        assert_eq!(system.get("/api/v1/registrations"), registered);
        // A nonce that another address was sent proves nothing, and is no guess: nobody is banned by what is overheard.
        assert_eq!(system.get("/api/v1/bans").trim(), "[]");
        // A count that goes on is no replay.
        let next = phone.proof(&challenge, 2);
        assert_eq!(phone.send(Some(&next)).code(), 200);
        phone.expires_s = 0;
        let last = phone.proof(&challenge, 3);
        assert_eq!(phone.send(Some(&last)).code(), 200);
        wait_until("nobody is registered", || system.get("/api/v1/registrations").trim().ends_with("[]"));
        afterwards(system, "digest replay", before);
    });
}

#[test]
fn transactions_that_overlap_and_dialogs_out_of_order() {
    with_system(&Setup::default(), |system| {
        let before = warmed_up(system);
        for _ in 0..10 {
            copies_by_other_paths(system);
            a_branch_again(system);
            numbers_that_go_back(system);
        }
        // Of nothing that we know: silence.
        let stray = Phone::new(system, CARRIER, GREET).request("ACK", "", "");
        let ack = Phone::new(system, CARRIER, GREET);
        for _ in 0..1_000 {
            ack.send(&stray);
        }
        assert!(ack.receive(Duration::from_millis(200)).is_none(), "an ACK is answered");

        let mut phone = Phone::new(system, CARRIER, GREET);
        let offer = phone.offer("0");
        let used_up = phone.request("INVITE", "", &offer).replace("Max-Forwards: 70", "Max-Forwards: 0");
        phone.send(&used_up);
        assert_eq!(phone.final_response().code(), 483);
        afterwards(system, "overlapping transactions", before);
    });
}

/// RFC 3261 §8.2.2.2: one INVITE by two paths is one call.
fn copies_by_other_paths(system: &System) {
    let mut phone = Phone::new(system, CARRIER, LONG);
    let offer = phone.offer("0 101");
    let invite = phone.request("INVITE", "", &offer);
    let branch = format!("z9hG4bK{}", phone.call_id);
    phone.send(&invite);
    phone.send(invite.replace(&branch, &format!("{branch}fork")));
    let mut codes = [phone.final_response(), phone.final_response()];
    codes.sort_by_key(Message::code);
    assert_eq!(codes.iter().map(Message::code).collect::<Vec<_>>(), [200, 482]);
    phone.acknowledge(&codes[0], "");
    phone.hang_up();
}

/// Another request with the branch of one before it: it is answered for what it is, or as a copy; never a second call.
fn a_branch_again(system: &System) {
    let mut phone = Phone::new(system, CARRIER, LONG);
    let offer = phone.offer("0 101");
    let invite = phone.request("INVITE", "", &offer);
    phone.send(&invite);
    let answer = phone.final_response();
    let other = invite.replace(&format!("Call-ID: {}", phone.call_id), "Call-ID: another-call");
    phone.send(&other);
    let copy = phone.final_response();
    assert_eq!(copy.text, answer.text);
    // The call before this one may not be over yet.
    system.wait_for_metric("switchboard_calls", 1);
    phone.acknowledge(&answer, "");
    phone.hang_up();
}

/// RFC 3261 §12.2.2: a lower number is 500, and changes nothing.
fn numbers_that_go_back(system: &System) {
    let mut phone = Phone::new(system, CARRIER, LONG);
    phone.call("0 101");
    let info = phone.request("INFO", "", "");
    phone.send(&info);
    assert_eq!(phone.final_response().code(), 200);
    let offer = phone.offer("0 101");
    let first = phone.request("INVITE", "", &offer);
    phone.send(&first);
    let answer = phone.final_response();
    assert_eq!(answer.code(), 200, "{}", answer.text);
    // While that one still waits for its ACK (§14.2), and one with a number that was used.
    let overlapping = phone.request("INVITE", "", &offer);
    phone.send(&overlapping);
    let refused = phone.final_response();
    assert!(matches!(refused.code(), 491 | 500), "{}", refused.text);
    phone.acknowledge_reinvite(&refused);
    phone.acknowledge_reinvite(&answer);
    let back = phone.request("BYE", "", "");
    let used = back.split("CSeq: ").nth(1).unwrap().split(' ').next().unwrap();
    let back = back.replace(&format!("CSeq: {used} BYE"), "CSeq: 1 BYE");
    phone.send(&back);
    let mut told = phone.receive(PATIENCE).unwrap();
    while told.header("CSeq") != Some("1 BYE") {
        told = phone.receive(PATIENCE).unwrap();
    }
    assert_eq!(told.code(), 500, "{}", told.text);
    system.wait_for_metric("switchboard_calls", 1);
    phone.hang_up();
}

/// A callee's proxy that sends each of our INVITEs back twice, as a call for the number that rings it: 2⁷⁰ calls, were
/// it not for Max-Forwards and the caps.
#[test]
fn a_proxy_that_forks_our_calls_back_to_us() {
    with_system(&Setup::default(), |system| {
        let before = warmed_up(system);
        let socket = UdpSocket::bind(system.pbx).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut phone = Phone::new(system, CARRIER, RING);
        let offer = phone.offer("0 101");
        let hops = 6;
        let invite = phone.request("INVITE", "", &offer);
        phone.send(invite.replace("Max-Forwards: 70", &format!("Max-Forwards: {hops}")));
        let mut forks = 0_usize;
        let mut calls_most = 0;
        let until = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 65_536];
        let mut seen = std::collections::BTreeSet::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            assert!(Instant::now() < until, "the circle never ends");
            let message = Message { text: String::from_utf8_lossy(&buffer[..length]).into_owned() };
            calls_most = calls_most.max(system.metric("switchboard_calls"));
            if message.method() == "INVITE" && seen.insert(message.header("Via").unwrap().to_owned()) {
                for fork in 0..2 {
                    forks += 1;
                    socket.send_to(forked(&message, system.pbx, forks, fork).as_bytes(), system.sip).unwrap();
                }
            } else if let Some(answer) = answer_of_a_proxy(&message) {
                socket.send_to(answer.as_bytes(), system.sip).unwrap();
            }
        }
        assert!(forks >= 2 && forks < 1 << (hops + 1), "{forks} forks");
        assert!(calls_most < 1 << (hops + 1), "{calls_most} calls at once");
        eprintln!("a circle of two forks a hop: {forks} forks, at most {calls_most} calls at once");
        let cancel = phone.request("CANCEL", "", "");
        phone.send(&cancel);
        let mut code = 0;
        let until = Instant::now() + PATIENCE;
        while code < 300 && Instant::now() < until {
            // What is still called is given up, each hop in its turn.
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = Message { text: String::from_utf8_lossy(&buffer[..length]).into_owned() };
                if let Some(answer) = answer_of_a_proxy(&message) {
                    socket.send_to(answer.as_bytes(), system.sip).unwrap();
                }
            }
            while let Some(message) = phone.receive(Duration::from_millis(50)) {
                if message.header("CSeq").is_some_and(|cseq| cseq.ends_with("INVITE")) {
                    code = message.code();
                }
            }
        }
        assert!(code >= 300, "the caller is told nothing");
        drop(socket);
        wait_until("every call of the circle has ended", || system.metric("switchboard_calls") == 0);
        afterwards(system, "forking loops", before);
    });
}

/// An INVITE as the proxy hands it on: the number in place of its own user, a Via of its own on top.
fn forked(invite: &Message, proxy: SocketAddr, number: usize, fork: usize) -> String {
    let (line, rest) = invite.text.split_once("\r\n").unwrap();
    assert!(line.starts_with("INVITE "), "{line}");
    let hops: u8 = invite.header("Max-Forwards").unwrap().parse().unwrap();
    let rest =
        rest.replace(&format!("Max-Forwards: {hops}"), &format!("Max-Forwards: {}", hops.saturating_sub(1)));
    // Each fork is a call of its own to whoever gets both (RFC 5393 §4), else they would be merged.
    let rest = if fork == 0 { rest } else { rest.replace("Call-ID: ", "Call-ID: fork-") };
    format!(
        "INVITE sip:{RING}@{proxy} SIP/2.0\r\nVia: SIP/2.0/UDP {proxy};branch=z9hG4bKproxy{number}\r\n{rest}"
    )
}

/// Its answers: a CANCEL is taken, and an INVITE's final response is acknowledged; it passes nothing back but a refusal.
fn answer_of_a_proxy(message: &Message) -> Option<String> {
    let status = match (message.method(), message.code()) {
        ("CANCEL", _) => "200 OK",
        _ => return None,
    };
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        for value in message.headers(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    Some(text + "Content-Length: 0\r\n\r\n")
}
