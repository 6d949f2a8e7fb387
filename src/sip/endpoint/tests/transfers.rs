//! REFER and Replaces.

use super::{peer::*, *};
use crate::{header::DialogName, pair::config, wire::Name};

const TARGET: &str = "<sip:+13125550100@example.com>";

fn transferring(transport: Transport) -> (Pair, [LegId; 2]) {
    let mut pair = pair(transport);
    pair.extend(TRANSFERS);
    let legs = established(&mut pair);
    (pair, legs)
}

#[test]
fn a_refer_is_accepted_and_its_progress_told() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut pair, [caller, callee]) = transferring(transport);
        let by = Header::new("Referred-By", "<sip:alice@example.com>");
        for round in 0..2 {
            pair.ends[0].refer(pair.now, caller, TARGET, std::slice::from_ref(&by)).unwrap();
            assert_eq!(pair.ends[0].refer(pair.now, caller, TARGET, &[]), Err(Misuse::WrongState));
            pair.run_for(Duration::from_secs(1));
            let expected = "1 Referred sip:+13125550100@example.com  <sip:alice@example.com> true";
            assert_eq!(told(&mut pair), [expected]);
            pair.ends[1].accept_refer(pair.now, callee).unwrap();
            pair.ends[1].notify_refer(pair.now, callee, 180, false).unwrap();
            pair.ends[1].notify_refer(pair.now, callee, 183, false).unwrap();
            pair.run_for(Duration::from_secs(1));
            pair.ends[1].notify_refer(pair.now, callee, 200, true).unwrap();
            assert_eq!(pair.ends[1].notify_refer(pair.now, callee, 200, true), Err(Misuse::WrongState));
            pair.run_for(Duration::from_secs(40));
            // 180 gave way to 183, which came while the 100 was under way.
            let progress =
                ["100 false", "183 false", "200 true"].map(|word| format!("0 ReferProgress {word}"));
            assert_eq!(told(&mut pair), progress, "{round}");
            assert_eq!(pair.ends.each_ref().map(Endpoint::transactions), [0, 0]);
        }
        pair.ends[0].bye(pair.now, caller, &[]).unwrap();
        pair.run_for(Duration::from_secs(60));
        assert!(pair.is_empty());
        assert_eq!(pair.notes, []);
    }
}

#[test]
fn a_refusal_is_the_end_of_a_refer() {
    let (mut pair, [caller, callee]) = transferring(Transport::Udp);
    pair.ends[0].refer(pair.now, caller, TARGET, &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.ends[1].reject_refer(pair.now, callee, 603, &[]).unwrap();
    assert_eq!(pair.ends[1].accept_refer(pair.now, callee), Err(Misuse::WrongState));
    pair.run_for(Duration::from_secs(40));
    assert_eq!(told(&mut pair)[1..], ["0 ReferProgress 603 true"]);
    assert_eq!(pair.ends[1].notify_refer(pair.now, callee, 200, true), Err(Misuse::WrongState));
}

#[test]
fn without_a_subscription_nothing_is_told() {
    let (mut pair, [caller, callee]) = transferring(Transport::Udp);
    pair.ends[0].refer(pair.now, caller, TARGET, &[Header::new("Refer-Sub", "false")]).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(&mut pair), ["1 Referred sip:+13125550100@example.com   false"]);
    pair.ends[1].accept_refer(pair.now, callee).unwrap();
    pair.run_for(Duration::from_secs(40));
    assert_eq!(told(&mut pair), ["0 ReferProgress 202 true"]);
    assert_eq!(pair.count("1 NOTIFY"), 0);
}

#[test]
fn who_hangs_up_after_a_refer_is_told_all_the_same() {
    let mut endpoint = transfers();
    let (leg, tag) = answered(&mut endpoint);
    feed(&mut endpoint, &request("REFER", 2, &tag, "Refer-To: sip:c@d\r\n"));
    endpoint.accept_refer(epoch(), leg).unwrap();
    let messages = sent(&mut endpoint);
    let [(_, accepted), (_, trying)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((accepted.code(), trying.body()), (202, &b"SIP/2.0 100 Trying\r\n"[..]));
    assert_eq!(trying.header_text(Name::Event), Some("refer"));
    assert_eq!(trying.header_text(Name::SubscriptionState), Some("active;expires=300"));
    assert_eq!(codes(&mut endpoint, &request("BYE", 3, &tag, "")), [200]);
    assert_eq!(codes(&mut endpoint, &request("INFO", 4, &tag, "")), [481]);
    endpoint.notify_refer(epoch(), leg, 503, true).unwrap();
    let (_, last) = reply(&mut endpoint, trying, 200, "", "").remove(0);
    assert_eq!(last.body(), b"SIP/2.0 503 Service Unavailable\r\n");
    assert_eq!(last.header_text(Name::SubscriptionState), Some("terminated;reason=noresource"));
    assert_eq!(endpoint.legs(), 1);
    reply(&mut endpoint, &last, 200, "", "");
    assert_eq!(endpoint.legs(), 0);
}

#[test]
fn a_subscription_ends_by_itself() {
    for hangs_up in [false, true] {
        let mut endpoint = transfers();
        let (leg, tag) = answered(&mut endpoint);
        feed(&mut endpoint, &request("REFER", 2, &tag, "Refer-To: sip:c@d\r\n"));
        endpoint.accept_refer(epoch(), leg).unwrap();
        let (_, trying) = sent(&mut endpoint).remove(1);
        reply(&mut endpoint, &trying, 200, "", "");
        if hangs_up {
            feed(&mut endpoint, &request("BYE", 3, &tag, ""));
        }
        endpoint.handle(epoch() + Duration::from_secs(300), Input::Timeout);
        let (_, last) = sent(&mut endpoint).remove(0);
        assert_eq!(last.header_text(Name::SubscriptionState), Some("terminated;reason=noresource"));
        for _ in 0..40 {
            let Some((at, _)) = endpoint.poll_timeout() else { break };
            endpoint.handle(at, Input::Timeout);
        }
        assert_eq!((endpoint.legs(), endpoint.transactions()), (usize::from(!hangs_up), 0));
    }
    let (mut pair, [caller, callee]) = transferring(Transport::Udp);
    pair.ends[0].refer(pair.now, caller, TARGET, &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.ends[1].accept_refer(pair.now, callee).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.filter = Box::new(|_, text| text.starts_with("NOTIFY"));
    pair.run_for(Duration::from_secs(400));
    assert_eq!(told(&mut pair)[1..], ["0 ReferProgress 100 false", "0 ReferProgress 408 true"]);
}

fn transfers() -> Endpoint {
    Endpoint::new(Config { extensions: TRANSFERS, ..config(1, Transport::Udp) }, 1)
}

#[test]
fn refers_and_notifies_that_do_not_fit_are_refused() {
    let mut endpoint = transfers();
    let (_, tag) = answered(&mut endpoint);
    for (method, fields, code) in [
        ("REFER", "", 400),
        ("REFER", "Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
        ("REFER", "Refer-To: <sip:a@b>, <sip:c@d>\r\n", 400),
        ("REFER", "Refer-To: nonsense\r\n", 400),
        ("REFER", "Refer-To: <sip:a@b>\r\nReplaces: x;to-tag=1;from-tag=2\r\n", 400),
        ("NOTIFY", "", 400),
        ("NOTIFY", "Event: presence\r\n", 489),
        ("NOTIFY", "Event: refer\r\n", 481),
    ] {
        let id = 10 + u32::try_from(fields.len()).unwrap();
        let mut endpoint = transfers();
        let (_, tag) = answered(&mut endpoint);
        assert_eq!(codes(&mut endpoint, &request(method, id, &tag, fields)), [code], "{method} {fields}");
    }
    assert_eq!(codes(&mut endpoint, &request("NOTIFY", 1, "", "Event: refer\r\n")), [481]);
    assert_eq!(codes(&mut endpoint, &request("REFER", 1, "", "Refer-To: <sip:a@b>\r\n")), [481]);
    feed(&mut endpoint, &request("REFER", 2, &tag, "Refer-To: <sip:a@b>\r\n"));
    assert_eq!(codes(&mut endpoint, &request("REFER", 3, &tag, "Refer-To: <sip:a@b>\r\n")), [500]);
    assert_eq!(codes(&mut endpoint, &request("BYE", 4, &tag, "")), [487, 200]);
    let mut without = self::endpoint();
    let (_, tag) = answered(&mut without);
    assert_eq!(codes(&mut without, &request("REFER", 2, &tag, "Refer-To: <sip:a@b>\r\n")), [405]);
}

#[test]
fn a_refer_with_replaces_names_the_dialog() {
    let mut endpoint = transfers();
    let (_, tag) = answered(&mut endpoint);
    let refer = request(
        "REFER",
        2,
        &tag,
        "r: <sip:c@d;method=INVITE?Replaces=12%40x%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>\r\n",
    );
    endpoint.handle(epoch(), Input::datagram(flow(), Bytes::from(refer.into_bytes())));
    let (_, told) = both(&mut endpoint);
    let words: Vec<_> = told.iter().map(words).collect();
    assert_eq!(words, ["Referred sip:c@d;method=INVITE 12@x;to-tag=1;from-tag=2  true"]);
}

/// The Replaces that a leg is named by.
fn name_of(pair: &Pair, side: usize, leg: LegId) -> String {
    let dialog = pair.ends[side].legs[&leg].dialog.as_ref().unwrap();
    let (call_id, local_tag, remote_tag) = (dialog.call_id(), dialog.local_tag(), dialog.remote_tag());
    let named = DialogName { call_id, local_tag, remote_tag, early_only: false };
    assert_eq!(pair.ends[side].leg_named(&named), Some(leg));
    format!("{call_id};to-tag={local_tag};from-tag={remote_tag}")
}

/// Sends an INVITE with fields, or values of Replaces; what it replaces, or how it is refused.
fn try_with(pair: &mut Pair, fields: &[&str]) -> String {
    let headers = fields.iter().map(|value| match value.split_once(": ") {
        Some((name, value)) => Header::new(name.to_owned(), value.to_owned()),
        None => Header::new("Replaces", (*value).to_owned()),
    });
    let invite = Invite { headers: headers.collect(), ..pair.invite_from(0, Some(OFFER)) };
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let invited = pair.events.iter().find_map(|(_, event)| match event {
        // The listener serves phones: who asks is proved before it is told what it would replace.
        Event::Invited { leg, replaces: None, request, .. } => {
            Some((*leg, pair.ends[1].replaced_by(request)))
        }
        _ => None,
    });
    told(pair);
    let (leg, replaces) = invited.expect("an INVITE");
    let code = replaces.map_or_else(|(code, _)| code, |_| 486);
    pair.ends[1].reject(pair.now, leg, code, None, &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    told(pair);
    replaces.map_or_else(|(code, _)| format!("refused {code}"), |leg| format!("{:?}", leg.map(|leg| leg.0)))
}

/// RFC 3891 §3, line by line.
#[test]
fn an_invite_replaces_the_dialog_that_it_names() {
    let mut pair = pair(Transport::Udp);
    pair.extend(TRANSFERS);
    let [_, callee] = established(&mut pair);
    let callees = name_of(&pair, 1, callee);
    let found = format!("{:?}", Some(callee.0));
    assert_eq!(try_with(&mut pair, &[&callees, "Require: replaces"]), found);
    assert_eq!(try_with(&mut pair, &["Subject: x"]), "None");
    for (fields, code) in [
        (vec!["nonsense"], 400),
        (vec![callees.as_str(), callees.as_str()], 400),
        (vec![callees.as_str(), "Join: x;to-tag=1;from-tag=2"], 400),
        (vec![&format!("x{callees}")], 481),
        (vec![&format!("{callees}0")], 481),
        (vec!["x;to-tag=1;from-tag=2"], 481),
        (vec![&format!("{callees};early-only")], 486),
    ] {
        assert_eq!(try_with(&mut pair, &fields), format!("refused {code}"), "{fields:?}");
    }
    // Early, and the peer's: 481. Early, and ours: found.
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let ringing = invited(&mut pair);
    let ringings = name_of(&pair, 1, ringing);
    assert_eq!(try_with(&mut pair, &[&ringings]), "refused 481");
    pair.ends[1].reject(pair.now, ringing, 486, None, &[]).unwrap();
    let invite = pair.invite_from(1, Some(OFFER));
    let calling = pair.ends[1].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let theirs = invited(&mut pair);
    pair.ends[0].provisional(pair.now, theirs, 180, None, &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    told(&mut pair);
    let early = format!("{};early-only", name_of(&pair, 1, calling));
    assert_eq!(try_with(&mut pair, &[&early]), format!("{:?}", Some(calling.0)));
    // Over, but not gone.
    pair.filter = Box::new(|_, text| text.starts_with("BYE"));
    pair.ends[1].bye(pair.now, callee, &[]).unwrap();
    told(&mut pair);
    pair.drain();
    assert_eq!(told(&mut pair), ["1 Bye true -"]);
    assert_eq!(try_with(&mut pair, &[&callees]), "refused 603");
}
