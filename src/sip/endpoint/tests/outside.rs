//! Requests outside of dialogs, both ways, and the rule about size.

use super::{peer::*, *};
use crate::wire::{Method, Name};

fn to_side(pair: &Pair, side: usize, method: Method) -> OutOfDialog {
    OutOfDialog {
        flow: pair.flow_to(side),
        tcp: None,
        method,
        request_uri: format!("sip:{}", address(side)),
        from: "<sip:alice@example.com>".to_owned(),
        to: "<sip:alice@example.com>".to_owned(),
        sequence: None,
        headers: vec![Header::new("Contact", "<sip:alice@192.0.2.1>")],
        body: (String::new(), Bytes::new()),
        challenges: false,
    }
}

#[test]
fn options_tell_whether_a_peer_lives() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = pair(transport);
        let options = to_side(&pair, 1, Method::Options);
        pair.ends[0].request(pair.now, options.clone()).unwrap();
        pair.run_for(Duration::from_secs(40));
        assert_eq!(told(&mut pair), ["0 RequestDone 200 Response"]);
        pair.ends[1].set_draining(true);
        pair.ends[0].request(pair.now, options.clone()).unwrap();
        pair.run_for(Duration::from_secs(40));
        assert_eq!(told(&mut pair), ["0 RequestDone 503 Response"]);
        pair.filter = Box::new(|_, _| true);
        pair.ends[0].request(pair.now, options.clone()).unwrap();
        pair.run_for(Duration::from_secs(40));
        assert_eq!(told(&mut pair), ["0 RequestDone 0 TimedOut"]);
        pair.ends[0].request(pair.now, options).unwrap();
        pair.ends[0].handle(pair.now, Input::Unreachable { flow: pair.flow_to(1) });
        pair.drain();
        assert_eq!(told(&mut pair), ["0 RequestDone 0 Transport"]);
        assert!(pair.is_empty() && pair.ends[0].own.is_empty());
    }
}

#[test]
fn registers_go_on_with_each_other() {
    let mut pair = pair(Transport::Udp);
    let mut register = to_side(&pair, 1, Method::Register);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let id = pair.ends[0].request(pair.now, register.clone()).unwrap();
        pair.run_for(Duration::from_secs(1));
        let Some((1, Event::Requested { id: theirs, request, .. })) = pair.events.pop_front() else {
            panic!()
        };
        seen.push((request.call_id().to_owned(), request.cseq()));
        pair.ends[1].respond_to(pair.now, theirs, 200, &[Header::new("Expires", "60")]).unwrap();
        assert_eq!(pair.ends[1].respond_to(pair.now, theirs, 200, &[]), Err(Misuse::NoSuchRequest));
        pair.run_for(Duration::from_secs(60));
        let Some((0, Event::RequestDone { id: done, response: Some(response), sequence, .. })) =
            pair.events.pop_front()
        else {
            panic!()
        };
        assert_eq!((done, response.code(), response.header_text(Name::Expires)), (id, 200, Some("60")));
        register.sequence = Some(sequence);
    }
    assert_eq!((&seen[0].0, seen[0].1 + 1), (&seen[1].0, seen[1].1));
    assert!(pair.is_empty());
}

#[test]
fn a_challenged_register_goes_again_with_credentials() {
    let mut pair = pair(Transport::Tcp);
    let register = OutOfDialog { challenges: true, ..to_side(&pair, 1, Method::Register) };
    pair.ends[0].request(pair.now, register).unwrap();
    let mut seen = Vec::new();
    pair.settle(|pair, side, event| {
        seen.push(format!("{side} {}", words(&event)));
        match event {
            Event::Requested { id, request, .. } => {
                let known = crate::digest::Answer::all(&request, false).first().is_some_and(is_bob);
                let (code, headers) =
                    if known { (200, vec![]) } else { (401, vec![challenge("WWW-Authenticate")]) };
                pair.ends[side].respond_to(pair.now, id, code, &headers).unwrap();
            }
            Event::Challenged { id, method, request_uri, response, .. } => {
                let headers = answers(&response, method, &request_uri);
                pair.ends[side].retry_with(pair.now, id, &headers).unwrap();
            }
            Event::RequestDone { sequence, .. } => assert_eq!(sequence.cseq, 2),
            _ => panic!("{event:?}"),
        }
    });
    let expected = [
        "1 Requested REGISTER",
        "0 Challenged 0 REGISTER 401",
        "1 Requested REGISTER",
        "0 RequestDone 200 Response",
    ];
    assert_eq!(seen, expected);
    assert!(pair.is_empty());
}

#[test]
fn a_challenge_leaves_nothing_behind() {
    let mut endpoint = endpoint();
    for _ in 0..20 {
        endpoint.handle(
            epoch(),
            Input::datagram(flow(), Bytes::from(request("REGISTER", 1, "", "").into_bytes())),
        );
        let (_, told) = both(&mut endpoint);
        let [Event::Requested { id, .. }] = told[..] else { panic!("{told:?}") };
        endpoint.respond_to(epoch(), id, 401, &[challenge("WWW-Authenticate")]).unwrap();
        let (_, response) = sent(&mut endpoint).remove(0);
        assert_eq!((response.code(), endpoint.transactions(), endpoint.theirs.len()), (401, 0, 0));
        assert!(endpoint.wakes.len() <= 1);
    }
}

#[test]
fn a_register_is_refused_where_it_is_not_served() {
    let mut pair = pair(Transport::Udp);
    let register = to_side(&pair, 0, Method::Register);
    pair.ends[1].request(pair.now, register).unwrap();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(told(&mut pair), ["1 RequestDone 405 Response"]);
}

#[test]
fn what_a_registrar_decides_on_may_be_required_of_it() {
    for (tag, expected) in [("path", [0; 0].as_slice()), ("Outbound, path", &[]), ("gruu", &[420])] {
        let register = request("REGISTER", 1, "", &format!("Require: {tag}\r\n"));
        assert_eq!(codes(&mut endpoint(), &register), expected, "{tag}");
    }
    assert_eq!(codes(&mut endpoint(), &request("INVITE", 1, "", "Require: path\r\n")), [420]);
}

#[test]
fn a_request_that_nobody_decides_on_is_forgotten() {
    let mut pair = pair(Transport::Tcp);
    let register = to_side(&pair, 1, Method::Register);
    pair.ends[0].request(pair.now, register).unwrap();
    pair.run_for(Duration::from_secs(33));
    assert_eq!(told(&mut pair), ["1 Requested REGISTER", "0 RequestDone 0 TimedOut"]);
    assert!(pair.is_empty() && pair.ends[1].theirs.is_empty());
}

#[test]
fn what_is_too_large_for_a_datagram_goes_by_tcp_if_it_can() {
    let mut endpoint = endpoint();
    let tcp = Flow { transport: Transport::Tcp, ..flow() };
    let large = || Invite {
        headers: vec![Header::new("Identity", "x".repeat(1_200))],
        tcp: Some(tcp),
        attached: None,
        feature: None,
        ..invite_to(flow())
    };
    for (invite, expected) in [
        (large(), Transport::Tcp),
        (Invite { tcp: None, ..large() }, Transport::Udp),
        (Invite { headers: Vec::new(), ..large() }, Transport::Udp),
    ] {
        endpoint.invite(epoch(), invite).unwrap();
        let sent = sent(&mut endpoint);
        let via = sent[0].1.via().unwrap().transport.to_owned();
        assert_eq!((sent.len(), sent[0].0.transport, via.as_str()), (1, expected, expected.as_str()));
    }
    let mut endpoint = self::endpoint();
    let leg = endpoint.invite(epoch(), large()).unwrap();
    let (_, first) = sent(&mut endpoint).remove(0);
    endpoint.handle(epoch(), Input::Unreachable { flow: tcp });
    let (by, second) = sent(&mut endpoint).remove(0);
    assert_eq!((by, second.via().unwrap().transport), (flow(), "UDP"));
    assert_ne!(first.branch(), second.branch());
    assert_eq!(
        (first.cseq(), first.from_tag(), first.call_id()),
        (second.cseq(), second.from_tag(), second.call_id())
    );
    assert_eq!(first.header(Name::Identity), second.header(Name::Identity));
    assert_eq!(reply(&mut endpoint, &second, 180, ";tag=1", "").len(), 0);
    endpoint.cancel(epoch(), leg, &[]).unwrap();
    assert_eq!(sent(&mut endpoint)[0].1.branch(), second.branch());
}

#[test]
fn what_credentials_make_too_large_goes_by_tcp_then() {
    let mut endpoint = endpoint();
    let tcp = Flow { transport: Transport::Tcp, ..flow() };
    let invite = Invite {
        headers: vec![Header::new("Subject", "x".repeat(700))],
        tcp: Some(tcp),
        attached: None,
        feature: None,
        challenges: true,
        ..invite_to(flow())
    };
    endpoint.invite(epoch(), invite).unwrap();
    let (by, first) = sent(&mut endpoint).remove(0);
    assert_eq!(by, flow());
    reply_by(&mut endpoint, flow(), &first, 401, ";tag=1", "WWW-Authenticate: Digest realm=r, nonce=n\n");
    let (_, told) = both(&mut endpoint);
    let [Event::Challenged { id, .. }] = told[..] else { panic!("{told:?}") };
    endpoint.retry_with(epoch(), id, &[Header::new("Authorization", "y".repeat(400))]).unwrap();
    let (by, second) = sent(&mut endpoint).remove(0);
    assert_eq!((by, second.via().unwrap().transport), (tcp, "TCP"));
    endpoint.handle(epoch(), Input::Unreachable { flow: tcp });
    let (by, third) = sent(&mut endpoint).remove(0);
    assert_eq!((by, third.via().unwrap().transport, third.cseq()), (flow(), "UDP", second.cseq()));
    assert!(third.header(Name::Authorization).is_some());
}

#[test]
fn a_connection_that_is_lost_after_an_answer_does_not_repeat_the_invite() {
    let mut endpoint = endpoint();
    let tcp = Flow { transport: Transport::Tcp, ..flow() };
    let large = Invite {
        headers: vec![Header::new("Identity", "x".repeat(1_200))],
        tcp: Some(tcp),
        attached: None,
        feature: None,
        ..invite_to(flow())
    };
    endpoint.invite(epoch(), large).unwrap();
    let (_, invite) = sent(&mut endpoint).remove(0);
    reply_by(&mut endpoint, tcp, &invite, 180, ";tag=1", "");
    endpoint.handle(epoch(), Input::Unreachable { flow: tcp });
    assert_eq!(sent(&mut endpoint).len(), 0);
    assert_eq!(endpoint.legs(), 0);
}
