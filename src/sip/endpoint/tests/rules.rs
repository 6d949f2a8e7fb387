//! Loops, copies, hops, glare, and the reasons that go along (RFC 3261 §8.2.2.2, §14, §16.3; RFC 3326).

use super::{peer::*, *};
use crate::wire::Name;

#[test]
fn an_invite_with_no_hops_left_goes_no_further() {
    for (value, expected) in [("0", vec![483]), ("1", vec![100])] {
        let text =
            request("INVITE", 1, "", "").replace("Max-Forwards: 70", &format!("Max-Forwards: {value}"));
        assert_eq!(codes(&mut endpoint(), &text), expected);
    }
    let options = request("OPTIONS", 1, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(codes(&mut endpoint(), &options), [200]);
}

#[test]
fn copies_by_another_path_are_merged_but_not_what_is_new() {
    let mut endpoint = endpoint();
    assert_eq!(codes(&mut endpoint, &request("REGISTER", 1, "", "")), [0; 0]);
    let register = request("REGISTER", 1, "", "");
    assert_eq!(codes(&mut endpoint, &register.replace("z9hG4bKREGISTER1", "z9hG4bKother")), [482]);
    let invite = request("INVITE", 1, "", "");
    assert_eq!(codes(&mut endpoint, &invite), [100]);
    for (from, to, expected) in [
        ("z9hG4bKINVITE1", "z9hG4bK2", 482),
        ("CSeq: 1", "CSeq: 2", 100),
        ("tag=f", "tag=g", 100),
        ("Call-ID: one", "Call-ID: two", 100),
    ] {
        let text =
            invite.replace("z9hG4bKINVITE1", &format!("z9hG4bK{expected}{}", to.len())).replace(from, to);
        assert_eq!(codes(&mut endpoint, &text), [expected], "{to}");
    }
}

/// RFC 3261 §14.1, §14.2; RFC 3311 §5.2.
#[test]
fn offers_that_meet_are_told_apart() {
    for (ours, theirs, expected) in [
        ("INVITE", "INVITE", 491),
        ("INVITE", "UPDATE", 491),
        ("UPDATE", "INVITE", 491),
        ("UPDATE", "UPDATE", 491),
    ] {
        let mut endpoint = endpoint();
        let allow = "Allow: UPDATE\r\n";
        feed(&mut endpoint, &request("INVITE", 1, "", allow));
        endpoint.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
        let tag = sent(&mut endpoint)[0].1.to_tag().unwrap().to_owned();
        feed(&mut endpoint, &request("ACK", 1, &tag, ""));
        match ours {
            "INVITE" => endpoint.reinvite(epoch(), LegId(1), bytes(OFFER)).unwrap(),
            _ => endpoint.update(epoch(), LegId(1), Some(bytes(OFFER))).unwrap(),
        }
        assert_eq!(sent(&mut endpoint)[0].1.method_text(), ours);
        let offer = |id| request(theirs, id, &tag, "Content-Type: application/sdp\r\n") + OFFER;
        assert_eq!(codes(&mut endpoint, &offer(2)), [expected], "{ours} {theirs}");
        // Without an offer an UPDATE is in nobody's way.
        assert_eq!(codes(&mut endpoint, &request("UPDATE", 3, &tag, "")), [200]);
    }
}

#[test]
fn reasons_go_both_ways_all_of_them() {
    let both = [Header::new("Reason", "SIP;cause=200"), Header::new("Reason", "Q.850;cause=26")];
    let all = "SIP;cause=200, Q.850;cause=26";
    let mut pair = pair(Transport::Udp);
    let [caller, _] = established(&mut pair);
    pair.ends[0].bye(pair.now, caller, &both).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(&mut pair), [format!("0 Bye true {all}"), format!("1 Bye false {all}")]);
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    told(&mut pair);
    pair.ends[0].cancel(pair.now, caller, &both).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(&mut pair)[0], format!("1 Cancelled {all}"));
}

#[test]
fn a_refusal_is_told_with_all_that_it_says() {
    let mut endpoint = endpoint();
    endpoint.invite(epoch(), invite_to(flow())).unwrap();
    let (_, invite) = sent(&mut endpoint).remove(0);
    reply_by(
        &mut endpoint,
        flow(),
        &invite,
        302,
        ";tag=x",
        "Contact: <sip:c@d>;q=0.5\nReason: Q.850;cause=1\n",
    );
    let (_, told) = both(&mut endpoint);
    let [Event::Refused { response, .. }, Event::Ended { .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(response.addresses(Name::Contact).next().unwrap().uri.text, "sip:c@d");
    assert_eq!(response.header_text(Name::Reason), Some("Q.850;cause=1"));
}

#[test]
fn options_in_a_dialog_tell_whether_it_lives() {
    let mut endpoint = endpoint();
    let (_, tag) = answered(&mut endpoint);
    assert_eq!(codes(&mut endpoint, &request("OPTIONS", 2, &tag, "")), [200]);
    assert_eq!(codes(&mut endpoint, &request("OPTIONS", 3, "end1-9-0", "")), [481]);
}

#[test]
fn a_probe_finds_out_that_the_peer_is_gone() {
    for (gone, expected) in
        [("-", vec![]), ("restarted", vec!["0 DialogLost 481"]), ("silent", vec!["0 DialogLost 408"])]
    {
        let mut pair = pair(Transport::Udp);
        let [caller, _] = established(&mut pair);
        match gone {
            "restarted" => pair.ends[1] = Endpoint::new(crate::pair::config(1, Transport::Udp), 9),
            "silent" => pair.filter = Box::new(|_, _| true),
            _ => {}
        }
        pair.ends[0].probe(pair.now, caller).unwrap();
        pair.run_for(Duration::from_secs(70));
        assert_eq!(told(&mut pair), expected, "{gone}");
        assert_eq!((pair.ends[0].legs(), pair.ends[0].transactions()), (usize::from(gone == "-"), 0));
    }
}

/// RFC 5626 §5.4.
#[test]
fn a_contact_with_ob_is_reached_by_its_flow() {
    for (contact, expected) in
        [("<sip:a@203.0.113.5:7000;ob>", SOURCE), ("<sip:a@203.0.113.5:7000>", "203.0.113.5:7000")]
    {
        let mut endpoint = endpoint();
        let invite = request("INVITE", 1, "", "").replace("<sip:a@203.0.113.5:7000>", contact);
        feed(&mut endpoint, &invite);
        endpoint.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
        let tag = sent(&mut endpoint)[0].1.to_tag().unwrap().to_owned();
        feed(&mut endpoint, &request("ACK", 1, &tag, ""));
        endpoint.bye(epoch(), LegId(1), &[]).unwrap();
        assert_eq!(sent(&mut endpoint)[0].0.remote, expected.parse().unwrap());
    }
}
