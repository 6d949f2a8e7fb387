//! Two endpoints on virtual time.

use std::time::Duration;

use bytes::Bytes;
use model::{LegId, net::Transport};

use super::*;
use crate::{
    pair::{Net, Pair, address},
    transaction::tests::epoch,
    wire::Message,
};

mod answering;
mod challenges;
mod chaos;
mod doors;
mod outside;
mod peer;
mod reliable;
mod rules;
mod seeds;
mod session;
mod torture;
mod transfers;

const OFFER: &str = "v=0\r\noffer";
const ANSWER: &str = "v=0\r\nanswer";

const TRANSFERS: Extensions = Extensions { transfers: true, ..NO_EXTENSIONS };
const NO_EXTENSIONS: Extensions = Extensions { reliable: false, session: None, transfers: false };

fn pair(transport: Transport) -> Pair {
    Pair::new(epoch(), transport, Net::GOOD, 1)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Calls and answers; both legs.
fn established(pair: &mut Pair) -> [LegId; 2] {
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let callee = invited(pair);
    pair.ends[1].provisional(pair.now, callee, 180, None, &[]).unwrap();
    pair.ends[1].accept(pair.now, callee, bytes(ANSWER), &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(pair), ["0 Progress 180", "0 Answered v=0\r\nanswer", "1 Confirmed"]);
    [caller, callee]
}

fn invited(pair: &mut Pair) -> LegId {
    let events = std::mem::take(&mut pair.events);
    let mut invited = events.iter().filter(|(_, event)| matches!(event, Event::Invited { .. }));
    invited.next().unwrap().1.leg().unwrap()
}

/// All events as words, but for the responses that an end repeats.
fn told(pair: &mut Pair) -> Vec<String> {
    let events = std::mem::take(&mut pair.events);
    let said = events.iter().filter(|(_, event)| !matches!(event, Event::Refused { .. }));
    said.map(|(side, event)| format!("{side} {}", words(event))).collect()
}

fn words(event: &Event) -> String {
    let with = |word: &str, sdp: &Option<Bytes>| match sdp {
        Some(sdp) => format!("{word} {}", String::from_utf8_lossy(sdp)),
        None => word.to_owned(),
    };
    match event {
        Event::Invited { sdp, .. } => with("Invited", sdp),
        Event::Progress { code, sdp, .. } => with(&format!("Progress {code}"), sdp),
        Event::ProgressConfirmed { sdp, .. } => with("ProgressConfirmed", sdp),
        Event::Answered { sdp, .. } => with("Answered", sdp),
        Event::Refused { response, .. } => format!("Refused {}", response.code()),
        Event::Confirmed { sdp, .. } => with("Confirmed", sdp),
        Event::Reinvited { sdp, .. } => with("Reinvited", sdp),
        Event::ReinviteAnswered { sdp, .. } => with("ReinviteAnswered", sdp),
        Event::ReinviteFailed { code, .. } => format!("ReinviteFailed {code}"),
        Event::Info { content_type, .. } => format!("Info {content_type}"),
        Event::Referred { refer_to, replaces, referred_by, wants_progress, .. } => {
            let given = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("Referred {refer_to} {} {} {wants_progress}", given(replaces), given(referred_by))
        }
        Event::ReferProgress { code, is_final, .. } => format!("ReferProgress {code} {is_final}"),
        Event::AnswerRefused { code, .. } => format!("AnswerRefused {code}"),
        Event::Challenged { leg, method, response, .. } => {
            format!("Challenged {} {} {}", leg.map_or(0, |leg| leg.0), method.as_str(), response.code())
        }
        Event::Requested { request, .. } => format!("Requested {}", request.method_text()),
        Event::RequestDone { response, cause, .. } => {
            format!("RequestDone {} {cause:?}", response.as_ref().map_or(0, Message::code))
        }
        Event::Ended { how, .. } => match how {
            Ended::Cancelled { reason } => format!("Cancelled {}", reason.as_deref().unwrap_or("-")),
            Ended::Rejected { code } => format!("Rejected {code}"),
            Ended::Failed { code, cause, .. } => format!("Failed {code} {cause:?}"),
            Ended::Bye { by_us, reason } => format!("Bye {by_us} {}", reason.as_deref().unwrap_or("-")),
            Ended::NoAck => "NoAck".to_owned(),
            Ended::DialogLost { code } => format!("DialogLost {code}"),
        },
    }
}

#[test]
fn a_call_is_set_up_and_torn_down() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = pair(transport);
        let [caller, _] = established(&mut pair);
        pair.run_for(Duration::from_secs(60));
        assert_eq!(pair.ends.each_ref().map(Endpoint::transactions), [0, 0]);
        let reason = Header::new("Reason", "Q.850;cause=16");
        pair.ends[0].bye(pair.now, caller, &[reason]).unwrap();
        pair.run_for(Duration::from_secs(60));
        assert_eq!(told(&mut pair), ["0 Bye true Q.850;cause=16", "1 Bye false Q.850;cause=16"]);
        assert!(pair.is_empty());
        assert_eq!(pair.notes, []);
        let expected = ["0 INVITE", "1 100", "1 180", "1 200", "0 ACK", "0 BYE", "1 200"];
        assert_eq!(pair.trace, expected, "{transport}");
    }
}

#[test]
fn a_refusal_reaches_the_caller_and_leaves_nothing() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let callee = invited(&mut pair);
    pair.ends[1].reject(pair.now, callee, 486, None, &[Header::new("Reason", "x\r\nEvil: y")]).unwrap();
    pair.run_for(Duration::from_secs(100));
    assert_eq!(told(&mut pair), ["1 Rejected 486", "0 Failed 486 Response"]);
    assert!(pair.is_empty());
    assert_eq!(pair.count("0 ACK"), 1);
}

#[test]
fn a_486_without_ack_is_resent() {
    let mut pair = pair(Transport::Udp);
    pair.filter = Box::new(|_, text| text.starts_with("ACK"));
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.settle(|pair, _, event| {
        if let Event::Invited { leg, .. } = event {
            pair.ends[1].reject(pair.now, leg, 486, None, &[]).unwrap();
        }
    });
    assert!(pair.is_empty());
    assert_eq!(pair.count("1 486"), 11);
}

#[test]
fn a_lost_200_is_sent_again_until_its_ack_comes() {
    let mut pair = pair(Transport::Udp);
    let mut lost = 0;
    pair.filter = Box::new(move |from, text| {
        let is_200 = from == 1 && text.starts_with("SIP/2.0 200");
        lost += usize::from(is_200);
        is_200 && lost <= 3
    });
    established_somehow(&mut pair);
    assert_eq!((pair.count("1 200"), pair.count("0 ACK")), (4, 1));
}

#[test]
fn each_copy_of_a_200_gets_its_ack() {
    let mut pair = pair(Transport::Udp);
    let mut lost = 0;
    pair.filter = Box::new(move |_, text| {
        let is_ack = text.starts_with("ACK");
        lost += usize::from(is_ack);
        is_ack && lost <= 3
    });
    established_somehow(&mut pair);
    assert_eq!((pair.count("1 200"), pair.count("0 ACK")), (4, 4));
}

fn established_somehow(pair: &mut Pair) {
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    let mut seen = Vec::new();
    pair.settle(|pair, _, event| {
        if let Event::Invited { leg, .. } = &event {
            pair.ends[1].accept(pair.now, *leg, bytes(ANSWER), &[]).unwrap();
        }
        seen.push(words(&event));
    });
    assert!(
        seen.contains(&"Answered v=0\r\nanswer".to_owned()) && seen.contains(&"Confirmed".to_owned()),
        "{seen:?}"
    );
    assert_eq!(pair.ends.each_ref().map(Endpoint::legs), [1, 1]);
}

#[test]
fn without_any_ack_the_callee_says_bye() {
    let mut pair = pair(Transport::Udp);
    pair.filter = Box::new(|_, text| text.starts_with("ACK"));
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    let mut seen = Vec::new();
    pair.settle(|pair, side, event| {
        if let Event::Invited { leg, .. } = &event {
            pair.ends[1].accept(pair.now, *leg, bytes(ANSWER), &[]).unwrap();
        }
        seen.push(format!("{side} {}", words(&event)));
    });
    assert_eq!(seen, ["1 Invited v=0\r\noffer", "0 Answered v=0\r\nanswer", "1 NoAck", "0 Bye false -"]);
    assert!(pair.is_empty());
}

#[test]
fn a_bye_before_the_ack_waits_for_it() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_millis(30));
    let callee = invited(&mut pair);
    pair.ends[1].accept(pair.now, callee, bytes(ANSWER), &[]).unwrap();
    pair.ends[1].bye(pair.now, callee, &[]).unwrap();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(told(&mut pair), ["1 Bye true -", "0 Answered v=0\r\nanswer", "0 Bye false -"]);
    assert_eq!(pair.trace, ["0 INVITE", "1 100", "1 200", "0 ACK", "1 BYE", "0 200"]);
    assert!(pair.is_empty());
}

#[test]
fn a_cancel_while_ringing_ends_both_sides() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let callee = invited(&mut pair);
    pair.ends[1].provisional(pair.now, callee, 180, None, &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.ends[0].cancel(pair.now, caller, &[Header::new("Reason", "SIP;cause=200")]).unwrap();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(told(&mut pair), ["0 Progress 180", "1 Cancelled SIP;cause=200", "0 Failed 487 Cancelled"]);
    assert!(pair.is_empty());
    assert_eq!(pair.trace, ["0 INVITE", "1 100", "1 180", "0 CANCEL", "1 200", "1 487", "0 ACK"]);
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.ends[0].cancel(pair.now, caller, &[]).unwrap();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.trace, ["0 INVITE", "1 100", "0 CANCEL", "1 200", "1 487", "0 ACK"]);
    assert!(pair.is_empty());
}

#[test]
fn a_200_that_crosses_a_cancel_is_acknowledged_and_ended() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let callee = invited(&mut pair);
    pair.ends[1].accept(pair.now, callee, bytes(ANSWER), &[]).unwrap();
    pair.ends[0].cancel(pair.now, caller, &[]).unwrap();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(told(&mut pair), ["0 Failed 487 Cancelled", "1 Confirmed", "1 Bye false -"]);
    assert!(pair.is_empty());
}

#[test]
fn a_cancel_that_nobody_answers_ends_after_64_t1() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.filter = Box::new(|_, _| true);
    pair.ends[0].cancel(pair.now, caller, &[]).unwrap();
    pair.run_for(Duration::from_secs(33));
    assert_eq!(told(&mut pair)[1..], ["0 Failed 487 Cancelled"]);
    assert_eq!((pair.ends[0].legs(), pair.ends[0].transactions()), (0, 0));
}

#[test]
fn an_invite_that_nobody_answers_is_a_408() {
    let mut pair = pair(Transport::Udp);
    pair.filter = Box::new(|_, _| true);
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(33));
    assert_eq!(told(&mut pair), ["0 Failed 408 TimedOut"]);
    assert_eq!(pair.count("0 INVITE"), 7);
    assert!(pair.is_empty());
}

#[test]
fn an_invite_that_cannot_be_delivered_is_a_503_at_once() {
    let mut pair = pair(Transport::Udp);
    pair.filter = Box::new(|_, _| true);
    let invite = pair.invite_from(0, Some(OFFER));
    let flow = invite.flow;
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.ends[0].handle(pair.now, Input::Unreachable { flow });
    pair.drain();
    assert_eq!(told(&mut pair), ["0 Failed 503 Transport"]);
    assert!(pair.is_empty());
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, None);
    pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert!(matches!(pair.events[0].1, Event::Invited { sdp: None, .. }));
    let callee = invited(&mut pair);
    pair.ends[1].accept(pair.now, callee, bytes(OFFER), &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(&mut pair), ["0 Answered v=0\r\noffer", "1 Confirmed"]);
}

#[test]
fn either_side_holds_by_reinvite() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = pair(transport);
        let legs = established(&mut pair);
        for (asker, other) in [(0, 1), (1, 0)] {
            pair.ends[asker].reinvite(pair.now, legs[asker], bytes("v=0\r\nhold")).unwrap();
            assert_eq!(
                pair.ends[asker].reinvite(pair.now, legs[asker], bytes("x")),
                Err(Misuse::InviteUnderWay)
            );
            pair.run_for(Duration::from_secs(1));
            pair.ends[other].answer_reinvite(pair.now, legs[other], bytes("v=0\r\nheld")).unwrap();
            pair.run_for(Duration::from_secs(40));
            let expected =
                [format!("{other} Reinvited v=0\r\nhold"), format!("{asker} ReinviteAnswered v=0\r\nheld")];
            assert_eq!(told(&mut pair), expected);
        }
        pair.ends[0].reinvite(pair.now, legs[0], bytes("v=0\r\nbad")).unwrap();
        pair.run_for(Duration::from_secs(1));
        pair.ends[1].reject_reinvite(pair.now, legs[1], 488).unwrap();
        pair.run_for(Duration::from_secs(40));
        assert_eq!(told(&mut pair), ["1 Reinvited v=0\r\nbad", "0 ReinviteFailed 488"]);
        assert_eq!(pair.ends.each_ref().map(Endpoint::transactions), [0, 0]);
    }
}

#[test]
fn two_reinvites_that_meet_are_both_answered_in_the_end() {
    let mut pair = pair(Transport::Udp);
    let legs = established(&mut pair);
    for (side, leg) in legs.into_iter().enumerate() {
        pair.ends[side].reinvite(pair.now, leg, bytes("v=0\r\nnew")).unwrap();
    }
    let mut answered = [0, 0];
    pair.settle(|pair, side, event| {
        if let Event::Reinvited { leg, .. } = event {
            pair.ends[side].answer_reinvite(pair.now, leg, bytes(ANSWER)).unwrap();
        }
        answered[side] += usize::from(matches!(event, Event::ReinviteAnswered { .. }));
    });
    assert_eq!(answered, [1, 1], "{:?}", pair.trace);
    assert!(pair.count("0 491") + pair.count("1 491") >= 2);
}

#[test]
fn byes_that_cross_are_both_answered_200() {
    let mut pair = pair(Transport::Udp);
    let legs = established(&mut pair);
    for (side, leg) in legs.into_iter().enumerate() {
        pair.ends[side].bye(pair.now, leg, &[]).unwrap();
    }
    pair.run_for(Duration::from_secs(60));
    assert_eq!(told(&mut pair), ["0 Bye true -", "1 Bye true -"]);
    assert!(pair.is_empty());
    assert_eq!((pair.count("0 481"), pair.count("1 481")), (0, 0));
}

#[test]
fn an_info_is_told_and_answered() {
    let mut pair = pair(Transport::Udp);
    let [caller, _] = established(&mut pair);
    pair.ends[0].info(pair.now, caller, "application/dtmf-relay", bytes("Signal=1")).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(&mut pair), ["1 Info application/dtmf-relay"]);
}

#[test]
fn a_reinvite_into_a_dialog_that_is_gone_loses_it() {
    let mut pair = pair(Transport::Udp);
    let [caller, _] = established(&mut pair);
    pair.ends[1] = Pair::new(epoch(), Transport::Udp, Net::GOOD, 9).ends.into_iter().nth(1).unwrap();
    pair.ends[0].reinvite(pair.now, caller, bytes("v=0\r\n")).unwrap();
    pair.run_for(Duration::from_secs(40));
    assert_eq!(told(&mut pair), ["0 DialogLost 481"]);
    assert!(pair.is_empty());
}

#[test]
fn a_peer_that_fell_silent_loses_the_dialog() {
    let mut pair = pair(Transport::Udp);
    let [caller, _] = established(&mut pair);
    pair.filter = Box::new(|_, _| true);
    pair.ends[0].reinvite(pair.now, caller, bytes("v=0\r\n")).unwrap();
    pair.run_for(Duration::from_secs(100));
    assert_eq!(told(&mut pair), ["0 DialogLost 408"]);
    assert_eq!((pair.ends[0].legs(), pair.ends[0].transactions()), (0, 0));
}

#[test]
fn a_lost_connection_is_opened_anew_for_a_bye() {
    let mut pair = pair(Transport::Tcp);
    let [caller, _] = established(&mut pair);
    pair.run_for(Duration::from_secs(60));
    pair.filter = Box::new(|_, _| true);
    pair.ends[0].bye(pair.now, caller, &[]).unwrap();
    pair.drain();
    pair.ends[0].handle(pair.now, Input::Unreachable { flow: pair.flow_to(1) });
    let Some(Output::Transmit { flow, bytes }) = pair.ends[0].poll() else { panic!("nothing sent") };
    assert_eq!((flow.remote, flow.connection), (address(1), 0));
    assert!(bytes.starts_with(b"BYE"));
}

#[test]
fn messages_that_are_sent_once_more_are_counted() {
    let mut pair = pair(Transport::Udp);
    pair.filter = Box::new(|_, _| true);
    let now = pair.now;
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(now, invite).unwrap();
    pair.run_for(Duration::from_secs(40));
    // Timer A: after 0.5, 1, 2, 4, 8 and 16 s more (RFC 3261 §17.1.1.2).
    assert_eq!(pair.ends.each_ref().map(Endpoint::retransmitted), [6, 0]);
}

#[test]
fn orders_that_do_not_fit_are_misuse() {
    let mut pair = pair(Transport::Udp);
    let [caller, callee] = established(&mut pair);
    let now = pair.now;
    assert_eq!(pair.ends[0].accept(now, caller, bytes(ANSWER), &[]), Err(Misuse::WrongState));
    assert_eq!(pair.ends[1].reject(now, callee, 486, None, &[]), Err(Misuse::WrongState));
    assert_eq!(pair.ends[1].reject(now, callee, 200, None, &[]), Err(Misuse::BadCode));
    assert_eq!(pair.ends[0].cancel(now, caller, &[]), Err(Misuse::WrongState));
    assert_eq!(pair.ends[0].answer_reinvite(now, caller, bytes(ANSWER)), Err(Misuse::WrongState));
    assert_eq!(pair.ends[0].bye(now, LegId(99), &[]), Err(Misuse::NoSuchLeg));
    pair.ends[0].bye(now, caller, &[]).unwrap();
    assert_eq!(pair.ends[0].bye(now, caller, &[]), Err(Misuse::NoSuchLeg));
}

/// What is kept of a held call: its leg, and the strings of its dialog, which are those of its messages.
#[test]
fn an_established_leg_is_small() {
    let mut pair = pair(Transport::Udp);
    established(&mut pair);
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.ends.each_ref().map(Endpoint::transactions), [0, 0]);
    assert!(pair.ends.iter().all(|end| end.wakes.len() == 0 && end.poll_timeout().is_none()));
    let fixed = size_of::<Leg>();
    assert!(fixed <= 512, "{fixed}");
}
