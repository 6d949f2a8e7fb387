//! Session timers (RFC 4028) and UPDATE (RFC 3311).

use super::{peer::*, *};
use crate::{pair::config, wire::Name};

const TIMED: Extensions =
    Extensions { session: Some(SessionTimer { expires_s: 1_800, min_s: 90 }), ..NO_EXTENSIONS };

fn timed_pair(transport: Transport) -> Pair {
    let mut pair = pair(transport);
    pair.extend(TIMED);
    pair
}

fn timed(extensions: Extensions) -> Endpoint {
    Endpoint::new(Config { extensions, ..config(1, Transport::Udp) }, 1)
}

#[test]
fn a_session_is_refreshed_by_update_and_goes_on() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = timed_pair(transport);
        let [caller, _] = established(&mut pair);
        pair.run_for(Duration::from_secs(2 * 3_600));
        assert_eq!(told(&mut pair), [""; 0]);
        // Each 900 s, by whom the callee chose: the caller.
        assert_eq!((pair.count("0 UPDATE"), pair.count("1 UPDATE")), (8, 0));
        assert_eq!(pair.notes, []);
        pair.ends[0].bye(pair.now, caller, &[]).unwrap();
        pair.run_for(Duration::from_secs(60));
        assert!(pair.is_empty());
    }
}

#[test]
fn a_session_that_nobody_refreshes_ends_on_both_sides() {
    let mut pair = timed_pair(Transport::Udp);
    established(&mut pair);
    pair.filter = Box::new(|_, _| true);
    pair.run_for(Duration::from_secs(1_000));
    // The one who refreshes finds nobody; the other one waits until 32 s before the end.
    assert_eq!(told(&mut pair), ["0 DialogLost 408"]);
    pair.filter = Box::new(|_, text| {
        assert!(
            !text.starts_with("BYE") || text.contains("Reason: SIP;cause=408;text=\"Session expired\""),
            "{text}"
        );
        true
    });
    pair.run_for(Duration::from_secs(800));
    assert_eq!(told(&mut pair), ["1 DialogLost 408"]);
    pair.run_for(Duration::from_secs(60));
    assert!(pair.is_empty());
}

/// RFC 4028 §9, table 2, and the bounds of the times.
#[test]
fn the_callee_sets_time_and_refresher() {
    for (fields, expected) in [
        ("", None),
        ("Supported: timer\r\n", Some("1800;refresher=uas")),
        ("Supported: timer\r\nSession-Expires: 600\r\n", Some("600;refresher=uac timer")),
        ("Supported: timer\r\nx: 600;refresher=uas\r\n", Some("600;refresher=uas")),
        ("Supported: timer\r\nSession-Expires: 7200;refresher=uac\r\n", Some("1800;refresher=uac timer")),
        ("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n", Some("3600;refresher=uac timer")),
        ("Supported: timer\r\nMin-SE: 3600\r\n", Some("3600;refresher=uas")),
        ("Session-Expires: 600\r\n", Some("600;refresher=uas")),
        ("Session-Expires: 20\r\n", Some("90;refresher=uas")),
        ("Supported: timer\r\nSession-Expires: nonsense\r\n", Some("1800;refresher=uas")),
    ] {
        let mut endpoint = timed(TIMED);
        feed(&mut endpoint, &request("INVITE", 1, "", fields));
        endpoint.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
        let (_, response) = sent(&mut endpoint).remove(0);
        let require = response.header_text(Name::Require).map_or(String::new(), |tag| format!(" {tag}"));
        let seen = response.header_text(Name::SessionExpires).map(|value| format!("{value}{require}"));
        assert_eq!(seen.as_deref(), expected, "{fields}");
        assert_eq!(response.header_text(Name::Supported), Some("timer"));
        feed(&mut endpoint, &request("ACK", 1, response.to_tag().unwrap(), ""));
        assert_eq!(endpoint.legs[&LegId(1)].poll_timeout().is_some(), expected.is_some());
    }
    let mut off = timed(NO_EXTENSIONS);
    feed(&mut off, &request("INVITE", 1, "", "Supported: timer\r\nSession-Expires: 600\r\n"));
    off.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
    assert!(sent(&mut off)[0].1.header(Name::SessionExpires).is_none());
}

#[test]
fn a_session_too_short_is_a_422() {
    let short = "Supported: timer\r\nSession-Expires: 89\r\n";
    let mut endpoint = timed(TIMED);
    let (_, response) = feed(&mut endpoint, &request("INVITE", 1, "", short)).remove(0);
    assert_eq!((response.code(), response.header_text(Name::MinSe)), (422, Some("90")));
    assert_eq!(endpoint.legs(), 0);
    let (_, tag) = answered(&mut endpoint);
    assert_eq!(codes(&mut endpoint, &request("UPDATE", 2, &tag, short)), [422]);
    assert_eq!(codes(&mut timed(NO_EXTENSIONS), &request("INVITE", 1, "", short)), [100]);
}

#[test]
fn a_422_is_answered_with_a_longer_time() {
    let mut endpoint = timed(TIMED);
    endpoint.invite(epoch(), invite_to(flow())).unwrap();
    let (_, mut invite) = sent(&mut endpoint).remove(0);
    assert_eq!(invite.header_text(Name::SessionExpires), Some("1800"));
    for min in [2_000, 3_000, 4_000] {
        let sent = reply(&mut endpoint, &invite, 422, ";tag=x", &format!("Min-SE: {min}\n"));
        let [(_, ack), (_, again)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((ack.method_text(), again.cseq()), ("ACK", invite.cseq() + 1));
        let value = min.to_string();
        assert_eq!(again.headers(Name::SessionExpires).collect::<Vec<_>>(), [value.as_bytes()]);
        assert_eq!(again.header_text(Name::MinSe), Some(value.as_str()));
        assert_eq!((again.call_id(), again.from_tag()), (invite.call_id(), invite.from_tag()));
        invite = again.clone();
    }
    reply_by(&mut endpoint, flow(), &invite, 422, ";tag=x", "Min-SE: 5000\n");
    let (_, told) = both(&mut endpoint);
    assert_eq!(told.iter().map(words).collect::<Vec<_>>(), ["Refused 422", "Failed 422 Response"]);
}

#[test]
fn a_peer_without_update_is_refreshed_by_reinvite() {
    let mut endpoint = timed(TIMED);
    let allow = "Allow: INVITE, ACK, BYE\r\nSession-Expires: 600\r\n";
    feed(&mut endpoint, &request("INVITE", 1, "", allow));
    endpoint.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
    let (_, response) = sent(&mut endpoint).remove(0);
    feed(&mut endpoint, &request("ACK", 1, response.to_tag().unwrap(), ""));
    assert_eq!(endpoint.update(epoch(), LegId(1), None), Err(Misuse::NotAllowed));
    let half = epoch() + Duration::from_secs(300);
    endpoint.handle(half, Input::Timeout);
    let (_, refresh) = sent(&mut endpoint).remove(0);
    assert_eq!((refresh.method_text(), refresh.body()), ("INVITE", ANSWER.as_bytes()));
    assert_eq!(refresh.header_text(Name::SessionExpires), Some("600;refresher=uac"));
    // Refused, it goes again a little later; the session lives on until its end.
    reply_at(&mut endpoint, half, &refresh, 500);
    let mut refreshes = 0;
    for _ in 0..200 {
        let Some((at, _)) = endpoint.poll_timeout() else { break };
        endpoint.handle(at, Input::Timeout);
        for (_, message) in sent(&mut endpoint) {
            if message.method_text() == "INVITE" && message.is_request() {
                refreshes += 1;
                reply_at(&mut endpoint, at, &message, 500);
            } else if message.method_text() == "BYE" {
                assert_eq!((at - epoch(), refreshes), (Duration::from_secs(568), 8));
                return;
            }
        }
    }
    panic!("it never ends");
}

#[test]
fn a_refresh_by_the_peer_starts_the_time_anew() {
    let mut endpoint = timed(TIMED);
    feed(
        &mut endpoint,
        &request("INVITE", 1, "", "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n"),
    );
    endpoint.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
    let (_, response) = sent(&mut endpoint).remove(0);
    let tag = response.to_tag().unwrap().to_owned();
    feed(&mut endpoint, &request("ACK", 1, &tag, ""));
    let update = request("UPDATE", 2, &tag, "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    let later = epoch() + Duration::from_secs(500);
    endpoint.handle(later, Input::datagram(flow(), Bytes::from(update.into_bytes())));
    let (_, response) = sent(&mut endpoint).remove(0);
    assert_eq!(response.header_text(Name::SessionExpires), Some("600;refresher=uac"));
    endpoint.handle(epoch() + Duration::from_secs(1_067), Input::Timeout);
    assert_eq!(endpoint.legs(), 1);
    endpoint.handle(epoch() + Duration::from_secs(1_068), Input::Timeout);
    assert_eq!(sent(&mut endpoint)[0].1.method_text(), "BYE");
}

#[test]
fn an_update_of_ours_asks_like_a_reinvite() {
    let mut pair = timed_pair(Transport::Udp);
    let [caller, callee] = established(&mut pair);
    for sdp in [Some(bytes("v=0\r\nhold")), None] {
        pair.ends[0].update(pair.now, caller, sdp.clone()).unwrap();
        assert_eq!(pair.ends[0].reinvite(pair.now, caller, bytes("x")), Err(Misuse::InviteUnderWay));
        pair.run_for(Duration::from_secs(1));
        if sdp.is_some() {
            pair.ends[1].answer_reinvite(pair.now, callee, bytes("v=0\r\nheld")).unwrap();
            pair.run_for(Duration::from_secs(1));
            assert_eq!(told(&mut pair), ["1 Reinvited v=0\r\nhold", "0 ReinviteAnswered v=0\r\nheld"]);
        } else {
            assert_eq!(told(&mut pair), ["0 ReinviteAnswered"]);
        }
    }
    for (side, leg) in [caller, callee].into_iter().enumerate() {
        pair.ends[side].update(pair.now, leg, Some(bytes("v=0\r\nnew"))).unwrap();
    }
    let mut answered = [0, 0];
    pair.run_for(Duration::from_secs(10));
    while let Some((side, event)) = pair.events.pop_front() {
        if let Event::Reinvited { leg, .. } = event {
            pair.ends[side].answer_reinvite(pair.now, leg, bytes(ANSWER)).unwrap();
        }
        answered[side] += usize::from(matches!(event, Event::ReinviteAnswered { .. }));
        pair.run_for(Duration::from_secs(10));
    }
    assert_eq!(answered, [1, 1], "{:?}", pair.trace);
    assert!(pair.count("0 491") + pair.count("1 491") >= 1);
}

#[test]
fn a_change_that_is_wanted_while_the_session_is_refreshed_goes_out_after_it() {
    for refused in [false, true] {
        let mut endpoint = timed(TIMED);
        let allow = "Allow: INVITE, ACK, BYE, UPDATE\r\nSession-Expires: 600\r\n";
        feed(&mut endpoint, &request("INVITE", 1, "", allow));
        endpoint.accept(epoch(), LegId(1), bytes(ANSWER), &[]).unwrap();
        let (_, response) = sent(&mut endpoint).remove(0);
        feed(&mut endpoint, &request("ACK", 1, response.to_tag().unwrap(), ""));
        let half = epoch() + Duration::from_secs(300);
        endpoint.handle(half, Input::Timeout);
        let (_, refresh) = sent(&mut endpoint).remove(0);
        assert_eq!(refresh.method_text(), "UPDATE");
        endpoint.reinvite(half, LegId(1), bytes("v=0\r\nhold")).unwrap();
        assert_eq!(endpoint.reinvite(half, LegId(1), bytes("x")), Err(Misuse::InviteUnderWay));
        assert!(sent(&mut endpoint).is_empty());
        let code = if refused { 500 } else { 200 };
        let (_, change) = reply_at(&mut endpoint, half, &refresh, code).remove(0);
        assert_eq!((change.method_text(), change.body()), ("INVITE", &b"v=0\r\nhold"[..]));
        assert!(change.cseq() > refresh.cseq());
    }
}
