//! Reliable provisional responses (RFC 3262).

use super::{peer::*, *};
use crate::{pair::config, wire::Name};

fn reliable_pair(transport: Transport) -> Pair {
    let mut pair = pair(transport);
    pair.extend(Extensions { reliable: true, ..NO_EXTENSIONS });
    pair
}

fn ringing(pair: &mut Pair, sdp: Option<&'static str>) -> [LegId; 2] {
    let invite = pair.invite_from(0, sdp);
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    [caller, invited(pair)]
}

#[test]
fn early_media_is_acknowledged_and_the_200_repeats_no_description() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = reliable_pair(transport);
        let [caller, callee] = ringing(&mut pair, Some(OFFER));
        pair.ends[1].provisional(pair.now, callee, 180, None, &[]).unwrap();
        pair.ends[1].provisional(pair.now, callee, 183, Some(bytes(ANSWER)), &[]).unwrap();
        pair.ends[1].accept(pair.now, callee, bytes(ANSWER), &[]).unwrap();
        pair.run_for(Duration::from_secs(60));
        let expected = [
            "0 Progress 180",
            "0 Progress 183 v=0\r\nanswer",
            "1 ProgressConfirmed",
            "0 Answered v=0\r\nanswer",
            "1 Confirmed",
        ];
        assert_eq!(told(&mut pair), expected);
        let trace = ["0 INVITE", "1 100", "1 180", "1 183", "0 PRACK", "1 200", "1 200", "0 ACK"];
        assert_eq!(pair.trace, trace);
        // The numbers of the dialog go on behind the PRACK's.
        pair.ends[0].bye(pair.now, caller, &[]).unwrap();
        pair.run_for(Duration::from_secs(60));
        assert!(pair.is_empty());
        assert_eq!(pair.notes, []);
    }
}

#[test]
fn a_lost_183_is_sent_again_until_its_prack_comes() {
    for lose in ["SIP/2.0 183", "PRACK"] {
        let mut pair = reliable_pair(Transport::Udp);
        let mut left = 3;
        pair.filter = Box::new(move |_, text| {
            let hit = text.starts_with(lose) && left > 0;
            left -= usize::from(hit);
            hit
        });
        let [_, callee] = ringing(&mut pair, Some(OFFER));
        pair.ends[1].provisional(pair.now, callee, 183, Some(bytes(ANSWER)), &[]).unwrap();
        pair.run_for(Duration::from_secs(20));
        assert_eq!(told(&mut pair), ["0 Progress 183 v=0\r\nanswer", "1 ProgressConfirmed"]);
        assert_eq!(pair.count("1 183"), 4, "{lose}");
    }
}

#[test]
fn without_any_prack_the_invite_is_refused() {
    let mut pair = reliable_pair(Transport::Udp);
    pair.filter = Box::new(|_, text| text.starts_with("PRACK"));
    let [_, callee] = ringing(&mut pair, Some(OFFER));
    pair.ends[1].provisional(pair.now, callee, 183, Some(bytes(ANSWER)), &[]).unwrap();
    pair.ends[1].accept(pair.now, callee, bytes(ANSWER), &[]).unwrap();
    pair.run_for(Duration::from_secs(100));
    assert_eq!(
        told(&mut pair),
        ["0 Progress 183 v=0\r\nanswer", "1 Failed 504 TimedOut", "0 Failed 504 Response"]
    );
    // After 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!(pair.count("1 183"), 7);
    assert!(pair.is_empty());
}

#[test]
fn each_waits_for_the_prack_of_the_one_before() {
    let mut endpoint = Endpoint::new(all_reliable(), 1);
    let invite = request("INVITE", 1, "", "Require: 100rel\r\n");
    feed(&mut endpoint, &invite);
    for code in [180, 181, 182] {
        endpoint.provisional(epoch(), LegId(1), code, None, &[]).unwrap();
    }
    let mut cseq = 2;
    for expected in [180, 181, 182] {
        let responses = sent(&mut endpoint);
        let [(_, response)] = &responses[..] else { panic!("{responses:?}") };
        assert_eq!((response.code(), response.header_text(Name::Require)), (expected, Some("100rel")));
        let (tag, rseq) = (response.to_tag().unwrap(), response.header_text(Name::RSeq).unwrap());
        let prack = |number: u32, rack: String| request("PRACK", number, tag, &format!("RAck: {rack}\r\n"));
        for wrong in [format!("{rseq} 9 INVITE"), format!("{rseq} 1 UPDATE"), format!("{rseq}0 1 INVITE")] {
            assert_eq!(codes(&mut endpoint, &prack(cseq, wrong)), [481]);
            cseq += 1;
        }
        assert_eq!(codes(&mut endpoint, &prack(cseq, "x".to_owned())), [400]);
        let good = prack(cseq + 1, format!("{rseq} 1 INVITE"));
        endpoint.handle(epoch(), Input::datagram(flow(), Bytes::copy_from_slice(good.as_bytes())));
        let Some(Output::Note(_) | Output::Transmit { .. }) = endpoint.poll() else { panic!() };
        cseq += 2;
    }
    assert_eq!(endpoint.provisional(epoch(), LegId(1), 180, None, &[]), Ok(()));
}

fn all_reliable() -> Config {
    Config { extensions: Extensions { reliable: true, ..NO_EXTENSIONS }, ..config(1, Transport::Udp) }
}

#[test]
fn too_many_that_wait_are_misuse() {
    let mut endpoint = Endpoint::new(all_reliable(), 1);
    feed(&mut endpoint, &request("INVITE", 1, "", "Require: 100rel\r\n"));
    let results = (0..10).map(|_| endpoint.provisional(epoch(), LegId(1), 180, None, &[]));
    assert_eq!(results.collect::<Vec<_>>().into_iter().filter(Result::is_err).count(), 1);
}

#[test]
fn who_does_not_know_it_gets_ordinary_ones() {
    let mut endpoint = Endpoint::new(all_reliable(), 1);
    feed(&mut endpoint, &request("INVITE", 1, "", ""));
    endpoint.provisional(epoch(), LegId(1), 183, Some(bytes(ANSWER)), &[]).unwrap();
    let (_, response) = sent(&mut endpoint).remove(0);
    assert!(response.header(Name::RSeq).is_none() && response.header(Name::Require).is_none());
    let mut endpoint = self::endpoint();
    assert_eq!(codes(&mut endpoint, &request("INVITE", 1, "", "Require: 100rel\r\n")), [420]);
}

#[test]
fn a_late_offer_in_a_183_is_answered_in_its_prack() {
    let mut endpoint = Endpoint::new(all_reliable(), 1);
    feed(&mut endpoint, &request("INVITE", 1, "", "Supported: timer, 100rel\r\n"));
    endpoint.provisional(epoch(), LegId(1), 183, Some(bytes(OFFER)), &[]).unwrap();
    endpoint.accept(epoch(), LegId(1), bytes(OFFER), &[]).unwrap();
    let (_, response) = sent(&mut endpoint).remove(0);
    let rack = format!(
        "RAck: {} 1 INVITE\r\nContent-Type: application/sdp\r\n",
        response.header_text(Name::RSeq).unwrap()
    );
    let prack = request("PRACK", 2, response.to_tag().unwrap(), &rack) + ANSWER;
    endpoint.handle(epoch(), Input::datagram(flow(), Bytes::from(prack.into_bytes())));
    let (sent, told) = both(&mut endpoint);
    assert_eq!(
        sent.iter().map(|(_, response)| (response.code(), response.body().len())).collect::<Vec<_>>(),
        [(200, 0), (200, 0)]
    );
    assert_eq!(told.iter().map(words).collect::<Vec<_>>(), ["ProgressConfirmed v=0\r\nanswer"]);
}

#[test]
fn once_settled_an_offer_may_come_early_again() {
    for method in ["PRACK", "UPDATE"] {
        let mut endpoint = Endpoint::new(all_reliable(), 1);
        let offer = "Supported: 100rel\r\nContent-Type: application/sdp\r\n";
        feed(&mut endpoint, &(request("INVITE", 1, "", offer) + OFFER));
        endpoint.provisional(epoch(), LegId(1), 183, Some(bytes(ANSWER)), &[]).unwrap();
        let (_, response) = sent(&mut endpoint).remove(0);
        let tag = response.to_tag().unwrap();
        let update = |cseq| request("UPDATE", cseq, tag, "Content-Type: application/sdp\r\n") + "v=0\r\nnew";
        assert_eq!(codes(&mut endpoint, &update(2)), [500]);
        let rack = format!("RAck: {} 1 INVITE\r\n", response.header_text(Name::RSeq).unwrap());
        if method == "PRACK" {
            let prack =
                request("PRACK", 3, tag, &format!("{rack}Content-Type: application/sdp\r\n")) + "v=0\r\nnew";
            assert_eq!(codes(&mut endpoint, &prack), [0; 0]);
        } else {
            assert_eq!(codes(&mut endpoint, &request("PRACK", 3, tag, &rack)), [200]);
            assert_eq!(codes(&mut endpoint, &update(4)), [0; 0]);
        }
        endpoint.answer_reinvite(epoch(), LegId(1), bytes("v=0\r\nagreed")).unwrap();
        let (_, response) = sent(&mut endpoint).remove(0);
        assert_eq!((response.method_text(), response.body()), (method, &b"v=0\r\nagreed"[..]));
        endpoint.accept(epoch(), LegId(1), bytes("v=0\r\nagreed"), &[]).unwrap();
        assert_eq!(sent(&mut endpoint)[0].1.body(), b"");
    }
}

#[test]
fn a_callee_may_offer_anew_before_it_answers() {
    let mut endpoint = Endpoint::new(all_reliable(), 1);
    endpoint.invite(epoch(), invite_to(flow())).unwrap();
    let (_, invite) = sent(&mut endpoint).remove(0);
    let update = |cseq: u32| {
        let from_us = invite.header_text(Name::From).unwrap();
        let text = request("UPDATE", cseq, "", "Content-Type: application/sdp\r\n") + "v=0\r\nnew";
        let text = text.replace("From: <sip:+12125550100@x>;tag=f", "From: <sip:a@b>;tag=one");
        text.replace("To: <sip:+18005550100@y>", &format!("To: {from_us}"))
            .replace("Call-ID: one", &format!("Call-ID: {}", invite.call_id()))
    };
    let fields = "Require: 100rel\nContact: <sip:one@203.0.113.9:7000>\n";
    reply(&mut endpoint, &invite, 180, ";tag=one", &format!("{fields}RSeq: 1\n"));
    // Our offer is not answered yet.
    assert_eq!(codes(&mut endpoint, &update(1)), [491]);
    let mut answered = Writer::default();
    answered.response(183, None);
    crate::wire::copy_for_response(&mut answered, &invite, &flow(), Some("one"));
    answered.header("Require", "100rel").header("RSeq", "2");
    let answered = answered.finish("application/sdp", ANSWER.as_bytes());
    endpoint.handle(epoch(), Input::datagram(flow(), answered));
    both(&mut endpoint);
    endpoint.handle(epoch(), Input::datagram(flow(), Bytes::from(update(2).into_bytes())));
    let (_, told) = both(&mut endpoint);
    assert_eq!(told.iter().map(words).collect::<Vec<_>>(), ["Reinvited v=0\r\nnew"]);
    endpoint.answer_reinvite(epoch(), LegId(1), bytes("v=0\r\nagreed")).unwrap();
    let (_, response) = sent(&mut endpoint).remove(0);
    assert_eq!((response.code(), response.body()), (200, &b"v=0\r\nagreed"[..]));
    // It goes on to count in the dialog that comes of it.
    reply(&mut endpoint, &invite, 200, ";tag=one", "Contact: <sip:one@203.0.113.9:7000>\n");
    assert_eq!(codes(&mut endpoint, &update(2).replace("z9hG4bKUPDATE2", "z9hG4bKlate")), [500]);
}

#[test]
fn responses_out_of_order_are_not_acknowledged() {
    let mut endpoint = Endpoint::new(all_reliable(), 1);
    endpoint.invite(epoch(), invite_to(flow())).unwrap();
    let (_, invite) = sent(&mut endpoint).remove(0);
    assert_eq!(invite.header_text(Name::Supported), Some("100rel"));
    let mut progress = |tag: &str, rseq: u32| {
        let extra = format!("Require: 100rel\nRSeq: {rseq}\nContact: <sip:{tag}@203.0.113.9:7000>\n");
        reply_by(&mut endpoint, flow(), &invite, 183, &format!(";tag={tag}"), &extra);
        let (sent, told) = both(&mut endpoint);
        let pracks = sent.iter().map(|(to, prack)| {
            assert_eq!(to.remote, "203.0.113.9:7000".parse().unwrap());
            let rack = prack.header_text(Name::RAck).unwrap();
            format!("{} {} {rack}", prack.uri_text(), prack.cseq() - invite.cseq())
        });
        (pracks.collect::<Vec<_>>().join("|").replace("@203.0.113.9:7000", ""), told.len())
    };
    let rack = |rseq: u32| format!("{rseq} {} INVITE", invite.cseq());
    assert_eq!(progress("one", 7), (format!("sip:one 1 {}", rack(7)), 1));
    assert_eq!(progress("one", 7), (String::new(), 0));
    assert_eq!(progress("one", 9), (String::new(), 0));
    assert_eq!(progress("two", 900), (format!("sip:two 1 {}", rack(900)), 1));
    assert_eq!(progress("one", 8), (format!("sip:one 2 {}", rack(8)), 1));
    let acks = reply(&mut endpoint, &invite, 200, ";tag=one", "Contact: <sip:one@203.0.113.9:7000>\n");
    assert_eq!(acks[0].1.cseq(), invite.cseq());
    // The other fork answers, too: its BYE comes behind its PRACK.
    let ended = reply(&mut endpoint, &invite, 200, ";tag=two", "Contact: <sip:two@203.0.113.9:7000>\n");
    let seen = ended.iter().map(|(_, message)| (message.method_text(), message.cseq() - invite.cseq()));
    assert_eq!(seen.collect::<Vec<_>>(), [("ACK", 0), ("BYE", 2)]);
    endpoint.bye(epoch(), LegId(1), &[]).unwrap();
    assert_eq!(sent(&mut endpoint)[0].1.cseq(), invite.cseq() + 3);
}

#[test]
fn a_bye_before_the_200_could_be_sent_refuses() {
    let mut pair = reliable_pair(Transport::Udp);
    pair.filter = Box::new(|_, text| text.starts_with("PRACK"));
    let [_, callee] = ringing(&mut pair, Some(OFFER));
    pair.ends[1].provisional(pair.now, callee, 183, Some(bytes(ANSWER)), &[]).unwrap();
    pair.ends[1].accept(pair.now, callee, bytes(ANSWER), &[]).unwrap();
    pair.ends[1].bye(pair.now, callee, &[]).unwrap();
    pair.run_for(Duration::from_secs(100));
    assert_eq!(told(&mut pair), ["1 Bye true -", "0 Progress 183 v=0\r\nanswer", "0 Failed 480 Response"]);
    assert!(pair.is_empty());
}
