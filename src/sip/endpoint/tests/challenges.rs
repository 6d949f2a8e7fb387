//! 401 and 407 to what we send, and the credentials that follow.

use super::{peer::*, *};
use crate::{digest::Answer, wire::Method};

fn challenging_invite(pair: &mut Pair) -> LegId {
    let invite = Invite { challenges: true, ..pair.invite_from(0, Some(OFFER)) };
    pair.ends[0].invite(pair.now, invite).unwrap()
}

#[test]
fn a_challenged_invite_goes_again_with_credentials() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = pair(transport);
        challenging_invite(&mut pair);
        let (mut seen, mut invites) = (Vec::new(), Vec::new());
        pair.settle(|pair, side, event| {
            seen.push(format!("{side} {}", words(&event)));
            let now = pair.now;
            match event {
                Event::Invited { leg, request, .. } => {
                    let known = Answer::all(&request, true).first().is_some_and(is_bob);
                    if known {
                        pair.ends[side].accept(now, leg, bytes(ANSWER), &[]).unwrap();
                    } else {
                        let headers = [challenge("Proxy-Authenticate")];
                        pair.ends[side].reject(now, leg, 407, None, &headers).unwrap();
                    }
                    invites.push(request);
                }
                Event::Challenged { id, method, request_uri, response, .. } => {
                    let headers = answers(&response, method, &request_uri);
                    pair.ends[side].retry_with(now, id, &headers).unwrap();
                }
                Event::Confirmed { leg, .. } => pair.ends[side].bye(now, leg, &[]).unwrap(),
                _ => {}
            }
        });
        let expected = [
            "1 Invited v=0\r\noffer",
            "1 Rejected 407",
            "0 Challenged 1 INVITE 407",
            "1 Invited v=0\r\noffer",
            "0 Answered v=0\r\nanswer",
            "1 Confirmed",
            "1 Bye true -",
            "0 Bye false -",
        ];
        assert_eq!(seen, expected);
        let [first, second] = &invites[..] else { panic!() };
        assert_eq!((first.call_id(), first.from_tag()), (second.call_id(), second.from_tag()));
        assert_eq!(first.cseq() + 1, second.cseq());
        assert_ne!(first.branch(), second.branch());
        assert!(second.to_tag().is_none());
        assert!(pair.is_empty());
        let trace =
            ["0 INVITE", "1 100", "1 407", "0 ACK", "0 INVITE", "1 100", "1 200", "0 ACK", "1 BYE", "0 200"];
        assert_eq!(pair.trace, trace);
    }
}

#[test]
fn a_third_challenge_is_final() {
    let mut pair = pair(Transport::Udp);
    challenging_invite(&mut pair);
    let mut seen = Vec::new();
    pair.settle(|pair, side, event| {
        seen.push(format!("{side} {}", words(&event)));
        match event {
            Event::Invited { leg, .. } => {
                pair.ends[1].reject(pair.now, leg, 401, None, &[challenge("WWW-Authenticate")]).unwrap();
            }
            Event::Challenged { id, .. } => pair.ends[0].retry_with(pair.now, id, &[]).unwrap(),
            _ => {}
        }
    });
    assert_eq!(pair.count("0 INVITE"), 3);
    assert_eq!(seen.last().unwrap(), "0 Failed 401 Response");
    assert!(pair.is_empty() && pair.ends[0].challenged.is_empty());
}

#[test]
fn a_challenge_that_is_not_wanted_or_not_answered_is_final() {
    for (challenges, decide) in [(false, "-"), (true, "give up"), (true, "cancel"), (true, "wait")] {
        let mut pair = pair(Transport::Udp);
        let invite = Invite { challenges, ..pair.invite_from(0, Some(OFFER)) };
        let caller = pair.ends[0].invite(pair.now, invite).unwrap();
        pair.run_for(Duration::from_millis(30));
        let callee = invited(&mut pair);
        pair.ends[1].reject(pair.now, callee, 401, None, &[challenge("WWW-Authenticate")]).unwrap();
        pair.run_for(Duration::from_secs(1));
        let (end, now) = (&mut pair.ends[0], pair.now);
        let id = *end.challenged.keys().next().unwrap_or(&ChallengeId(0));
        match decide {
            "give up" => end.give_up(now, id).unwrap(),
            "cancel" => end.cancel(now, caller, &[]).unwrap(),
            _ => {}
        }
        pair.run_for(Duration::from_secs(40));
        let cause = if decide == "cancel" { "Cancelled" } else { "Response" };
        assert_eq!(told(&mut pair).last().unwrap(), &format!("0 Failed 401 {cause}"), "{decide}");
        assert!(pair.is_empty());
        assert_eq!(pair.ends[0].retry_with(now, id, &[]), Err(Misuse::NoSuchRequest));
    }
}

#[test]
fn requests_in_a_dialog_are_challenged_as_well() {
    let mut endpoint = endpoint();
    let (leg, _) = answered(&mut endpoint);
    endpoint.set_challenges(leg, true).unwrap();
    endpoint.reinvite(epoch(), leg, bytes("v=0\r\nhold")).unwrap();
    let (_, first) = sent(&mut endpoint).remove(0);
    reply_by(&mut endpoint, flow(), &first, 407, "", "Proxy-Authenticate: Digest realm=r, nonce=n\n");
    let (acks, told) = both(&mut endpoint);
    assert_eq!(acks[0].1.method(), Method::Ack);
    let [Event::Challenged { id, .. }] = told[..] else { panic!("{told:?}") };
    endpoint.retry_with(epoch(), id, &[Header::new("Proxy-Authorization", "Digest x=y")]).unwrap();
    let (_, second) = sent(&mut endpoint).remove(0);
    assert_eq!((second.cseq(), second.body()), (first.cseq() + 1, first.body()));
    assert_eq!(reply(&mut endpoint, &second, 200, "", "")[0].1.method(), Method::Ack);

    endpoint.bye(epoch(), leg, &[Header::new("Reason", "Q.850;cause=16")]).unwrap();
    let (_, bye) = sent(&mut endpoint).remove(0);
    reply_by(&mut endpoint, flow(), &bye, 401, "", "WWW-Authenticate: Digest realm=r, nonce=n\n");
    let (_, told) = both(&mut endpoint);
    let [Event::Challenged { id, method: Method::Bye, .. }] = told[..] else { panic!("{told:?}") };
    endpoint.retry_with(epoch(), id, &[]).unwrap();
    let (_, again) = sent(&mut endpoint).remove(0);
    assert_eq!(
        (again.cseq(), again.header_text(crate::wire::Name::Reason)),
        (bye.cseq() + 1, Some("Q.850;cause=16"))
    );
    reply(&mut endpoint, &again, 200, "", "");
    assert_eq!(endpoint.legs(), 0);
}
