//! Whole calls between a carrier and a PBX.

use call::{engine::Input, record::EndedBy};
use model::{
    media::{Direction, Tone, national_tone},
    program::{Step, Verb},
    snapshot::Snapshot,
};
use sip::sdp;

use crate::{
    twin::{Phone, Virtual},
    world::{ask, audio, dial, flow, hangup, play, play_early, reject, snapshot, step},
};

#[test]
fn a_prompt_answers_the_call_and_the_flow_hangs_up() {
    let mut world = Virtual::new(vec![play("hello", "h", 1), hangup("bye", "b")]);
    world.call("+18005550100");
    assert_eq!(world.heard(), "200");
    assert_eq!(world.media.orders, ["configure(Pcmu,SendRecv)", "play(h)"]);
    world.pass(5);
    assert_eq!(world.media.orders[2..], ["play(b)"]);
    assert_eq!(world.heard(), "200 BYE");
    let record = world.nothing_is_left();
    assert_eq!((record.ended_by, record.sip_code, record.cause), (EndedBy::Flow, 200, 16));
    assert_eq!(record.path, ["hello: played", "bye: hangup"]);
    assert!(record.answered_at.is_some());
}

#[test]
fn a_key_stops_the_question_and_leads_on() {
    let steps = || vec![ask("menu", 1, 2), hangup("sales", "s"), hangup("other", "o")];
    let mut world = Virtual::new(steps());
    world.call("+18005550100");
    world.press('1');
    assert_eq!(world.media.orders[1..], ["play(q)", "play(s)"]);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["menu: choice 1", "sales: hangup"]);

    let mut world = Virtual::new(steps());
    world.call("+18005550100");
    world.pass(6);
    assert_eq!(world.media.orders.len(), 2, "five seconds of silence begin after the question");
    world.pass(2);
    assert_eq!(world.media.orders.last().unwrap(), "play(o)");
}

#[test]
fn early_media_is_heard_before_the_answer() {
    let mut world = Virtual::new(vec![play_early("ad", "a", 1), play("hello", "h", 2), hangup("bye", "")]);
    world.call("+18005550100");
    assert_eq!(world.heard(), "183+sdp");
    world.pass(3);
    assert_eq!(world.heard(), "183+sdp 200");
    world.pass(3);
    assert_eq!(world.heard(), "183+sdp 200 BYE");
    world.nothing_is_left();
}

#[test]
fn a_rejected_call_never_sees_a_200() {
    let mut world = Virtual::new(vec![reject("busy")]);
    world.call("+18005550100");
    assert_eq!(world.heard(), "486");
    let record = world.nothing_is_left();
    assert_eq!((record.answered_at, record.sip_code, record.cause), (None, 486, 17));
}

#[test]
fn a_dial_is_answered_when_the_callee_answers_and_goes_on_when_it_hangs_up() {
    let mut world =
        Virtual::new(vec![dial("ring", [1, 2, 2, 2]), hangup("thanks", "t"), hangup("sorry", "s")]);
    world.call("+18005550100");
    assert_eq!((world.heard().as_str(), world.pbx.heard.join(" ").as_str()), ("", "INVITE"));
    world.pbx_says(180);
    assert_eq!(world.heard(), "180");
    world.answer();
    assert_eq!((world.heard().as_str(), world.pbx.heard.join(" ").as_str()), ("180 200", "INVITE ACK"));
    assert!(world.media.orders.contains(&"bridge".into()));
    let leg = world.pbx.leg();
    world.pbx.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.media.orders.last().unwrap(), "play(t)");
    world.pass(3);
    assert_eq!(world.heard(), "180 200 BYE");
    let record = world.nothing_is_left();
    assert_eq!(record.path, ["ring: ended", "thanks: hangup"]);
    let [leg] = &record.egress[..] else { panic!("{:?}", record.egress) };
    assert_eq!((leg.sip_code, leg.cause, leg.answered_at), (200, 16, record.answered_at));
    assert!(leg.invited_at <= record.path_at[0] && leg.ended_at == Some(record.path_at[0]));
    assert!(leg.whom.contains("Trunk "), "{}", leg.whom);
}

#[test]
fn legs_that_nobody_answers_are_told_of_with_their_causes() {
    let steps = || vec![dial("ring", [1, 2, 2, 2]), hangup("thanks", "t"), hangup("sorry", "s")];
    let told = |act: &dyn Fn(&mut Virtual)| {
        let mut world = Virtual::new(steps());
        world.call("+18005550100");
        world.pbx_says(180);
        act(&mut world);
        let record = world.nothing_is_left();
        let legs = record
            .egress
            .iter()
            .map(|leg| (leg.sip_code, leg.cause, leg.answered_at, leg.ended_at.is_some()));
        legs.collect::<Vec<_>>()
    };
    assert_eq!(told(&|world| world.pbx_says(486)), [(486, 17, None, true)]);
    assert_eq!(told(&|world| world.pass(60)), [(487, 18, None, true)], "it rang for long enough");
}

#[test]
fn an_answered_caller_hears_the_ringing_tone_until_the_callee_answers_or_fails() {
    let steps = || vec![play("hello", "h", 1), dial("ring", [2, 2, 2, 2]), hangup("sorry", "s")];
    let mut world = Virtual::new(steps());
    world.call("+18005550100");
    world.pass(3);
    world.pbx_says(180);
    assert_eq!(world.media.orders.last().unwrap(), "play(r)");
    world.answer();
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    assert!(world.media.playing.is_empty());

    let mut world = Virtual::new(steps());
    world.call("+18005550100");
    world.pass(3);
    world.pbx_says(180);
    world.pbx_says(486);
    assert_eq!(world.media.orders.last().unwrap(), "play(s)");
    assert_eq!(world.media.playing.len(), 1);
    world.pass(3);
    world.nothing_is_left();
}

#[test]
fn the_caller_hangs_up_and_the_callee_is_told() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call("+18005550100");
    world.answer();
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.pbx.heard.join(" "), "INVITE ACK BYE");
    assert_eq!(world.nothing_is_left().ended_by, EndedBy::Caller);
}

#[test]
fn a_caller_who_cancels_while_it_rings_stops_the_ringing() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call("+18005550100");
    world.pbx_says(180);
    let leg = world.carrier.leg();
    world.carrier.endpoint.cancel(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!((world.heard().as_str(), world.pbx.heard.join(" ").as_str()), ("180 487", "INVITE CANCEL"));
    let record = world.nothing_is_left();
    assert_eq!((record.ended_by, record.sip_code), (EndedBy::Caller, 487));
}

#[test]
fn a_dial_that_fails_goes_on_by_what_the_callee_said() {
    for (code, letter) in [(486, "b"), (600, "b"), (480, "n"), (404, "f"), (603, "f"), (500, "f")] {
        let steps = || {
            vec![
                dial("ring", [1, 2, 3, 4]),
                hangup("e", "e"),
                hangup("b", "b"),
                hangup("n", "n"),
                hangup("f", "f"),
            ]
        };
        let mut world = Virtual::new(steps());
        world.call("+18005550100");
        world.pbx_says(code);
        assert_eq!(world.media.orders.last().unwrap(), &format!("play({letter})"), "{code}");
        world.pass(3);
        world.nothing_is_left();
    }
}

#[test]
fn a_callee_who_does_not_answer_in_time_is_cancelled() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 2, 1]), hangup("x", ""), hangup("n", "n")]);
    world.call("+18005550100");
    world.pbx_says(180);
    world.pass(19);
    assert_eq!(world.pbx.heard.join(" "), "INVITE");
    world.pass(2);
    assert_eq!(world.pbx.heard.join(" "), "INVITE CANCEL");
    assert_eq!(world.heard(), "180 200");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: noAnswer", "n: hangup"]);
}

#[test]
fn a_failure_that_nobody_handles_is_relayed() {
    let mut steps = vec![dial("ring", [0, 0, 0, 0])];
    if let Verb::Dial(dial) = &mut steps[0].verb {
        dial.relay_failure = true;
    }
    let mut world = Virtual::new(steps);
    world.call("+18005550100");
    world.pbx_says(404);
    assert_eq!(world.heard(), "404");
    let record = world.nothing_is_left();
    assert_eq!((record.ended_by, record.cause), (EndedBy::Callee, 1));
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_must_answer_it_in_the_ack() {
    let mut world = Virtual::new(vec![play("hello", "h", 1), hangup("bye", "")]);
    world.call_with("+18005550100", None, 70);
    let offer = world.carrier.offer.clone().expect("an offer in the 200");
    assert!(sdp::answer(&offer, &world.carrier.media()).is_ok());
    // This carrier acknowledges without an answer: there is nothing to talk over.
    assert_eq!(world.heard(), "200 BYE");
    assert!(world.nothing_is_left().because.as_ref().unwrap().contains("no answer to our offer"));
}

#[test]
fn hold_and_resume_are_answered_and_the_call_goes_on() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call("+18005550100");
    world.answer();
    let mut held = world.carrier.media();
    (held.direction, held.version) = (Direction::SendOnly, 2);
    let leg = world.carrier.leg();
    world.carrier.endpoint.reinvite(world.now.instant, leg, sdp::offer(&held)).unwrap();
    world.settle();
    assert_eq!(world.heard(), "200 re-200");
    assert_eq!(world.media.orders.last().unwrap(), "configure(Pcmu,RecvOnly)");
    (held.direction, held.version) = (Direction::SendRecv, 3);
    world.pass(1);
    world.carrier.endpoint.reinvite(world.now.instant, leg, sdp::offer(&held)).unwrap();
    world.settle();
    assert_eq!(world.media.orders.last().unwrap(), "configure(Pcmu,SendRecv)");
    assert_eq!(world.pbx.heard.join(" "), "INVITE ACK", "the callee hears nothing of it");
}

#[test]
fn refusals_have_the_fitting_code_and_an_explanation() {
    type Spoil = fn(&mut Snapshot);
    let rows: [(&str, u16, &str, Spoil); 6] = [
        ("+18005550199", 404, "no PhoneNumber declares +18005550199", |_| {}),
        ("+18005550105", 404, "grants +18005550105 to namespace acme, where no PhoneNumber", |_| {}),
        ("sales", 404, "`sales` is not a number in E.164 form", |_| {}),
        ("+18005550100", 503, "limits.calls of 0", |s| s.cluster.limits.calls_max = 0),
        ("+18005550100", 480, "PhoneNumber acme/main's limits.calls of 0", |s| {
            s.numbers.values_mut().flatten().for_each(|range| range.calls_max = Some(0));
        }),
        ("+18005550100", 503, "Trunk platform/carrier's limits.calls of 0", |s| {
            s.trunks.values_mut().for_each(|trunk| trunk.calls_max = Some(0));
        }),
    ];
    for (number, code, because, spoil) in rows {
        let mut snapshot = snapshot();
        snapshot.flows = [flow("main", vec![hangup("bye", "")], Vec::new())].into();
        spoil(&mut snapshot);
        let mut world = Virtual::with(snapshot);
        world.call(number);
        assert_eq!(world.heard(), code.to_string(), "{number}");
        let told = world.explanations[0].to_string();
        assert!(told.contains(because), "{told}");
        world.pass(70);
        assert!(world.engine.is_idle());
    }
}

#[test]
fn a_leg_that_failed_no_longer_counts_against_its_trunk() {
    let mut snapshot = snapshot();
    let steps = vec![play("hello", "h", 1), dial("ring", [0, 0, 0, 0])];
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    for (id, trunk) in &mut snapshot.trunks {
        trunk.calls_max = (id.0.name() == "pbx").then_some(1);
    }
    let mut world = Virtual::with(snapshot);
    world.call("+18005550100");
    for turn in 1..=3 {
        world.pass(3);
        assert_eq!(world.pbx.heard.iter().filter(|word| *word == "INVITE").count(), turn);
        world.pbx_says(486);
    }
}

#[test]
fn a_voip_trunk_may_not_carry_an_a_leg() {
    let mut world = Virtual::new(vec![hangup("bye", "")]);
    world.carrier = Phone::new("192.0.2.3:5060", 3);
    world.call("+18005550100");
    assert_eq!(world.heard(), "403");
    assert!(world.explanations[0].to_string().contains("delivers Voip and may not carry an A leg"));
}

#[test]
fn an_unlisted_source_hears_nothing() {
    let mut world = Virtual::new(vec![hangup("bye", "")]);
    world.carrier = Phone::new("198.51.100.7:5060", 3);
    world.call("+18005550100");
    world.pass(1);
    assert_eq!(world.heard(), "");
    assert!(world.strangers >= 1);
    assert!(world.explanations.is_empty() && world.engine.is_idle());
}

#[test]
fn no_common_codec_is_488_before_any_port_is_taken() {
    let mut world = Virtual::new(vec![play("hello", "h", 1), hangup("bye", "")]);
    let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n";
    world.call_with("+18005550100", Some(offer.into()), 70);
    assert_eq!(world.heard(), "488");
    assert_eq!(world.media.port, 0);
}

#[test]
fn without_ports_the_caller_is_told_to_come_again() {
    let mut world = Virtual::new(vec![play("hello", "h", 1), hangup("bye", "")]);
    world.media.refuses = true;
    world.call("+18005550100");
    assert_eq!(world.heard(), "503");
    let record = world.nothing_is_left();
    assert!(record.because.as_ref().unwrap().contains("every RTP port"));
}

#[test]
fn a_running_call_keeps_its_flow_and_the_next_one_takes_the_new() {
    let mut world = Virtual::new(vec![play("hello", "h", 1), hangup("old", "o")]);
    world.call("+18005550100");
    let mut next = snapshot();
    next.flows = [flow("main", vec![hangup("new", "n")], Vec::new())].into();
    world.engine.apply(next.into()).unwrap();
    world.pass(5);
    assert_eq!(world.media.orders.last().unwrap(), "play(o)");
    world.carrier.ended = None;
    world.call("+18005550100");
    assert_eq!(world.media.orders.last().unwrap(), "play(n)");
}

#[test]
fn a_bad_snapshot_is_refused_whole() {
    let mut world = Virtual::new(vec![hangup("bye", "g")]);
    let mut bad = snapshot();
    bad.flows = [flow("main", vec![play("loose", "h", 9)], Vec::new())].into();
    let refused = world.engine.apply(bad.into()).unwrap_err();
    assert_eq!(refused.to_string(), "flows.acme/main.steps.loose: must lead to steps of the program");
    world.call("+18005550100");
    assert_eq!(world.media.orders.last().unwrap(), "play(g)");
}

#[test]
fn the_longest_call_time_ends_a_call() {
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")], Vec::new())].into();
    snapshot.cluster.limits.call_seconds_max = 60;
    let mut world = Virtual::with(snapshot);
    world.call("+18005550100");
    world.answer();
    world.pass(61);
    assert_eq!((world.heard().as_str(), world.pbx.heard.join(" ").as_str()), ("200 BYE", "INVITE ACK BYE"));
    assert_eq!(world.nothing_is_left().ended_by, EndedBy::Deadline);
}

#[test]
fn a_callee_who_is_not_there_fails_the_dial() {
    let mut world =
        Virtual::new(vec![dial("ring", [1, 1, 2, 3]), hangup("x", ""), hangup("n", "n"), hangup("f", "f")]);
    world.pbx.address = "192.0.2.77:5060".parse().unwrap();
    world.call("+18005550100");
    world.pass(25);
    assert_eq!(world.media.orders.last().unwrap(), "play(n)");
    world.nothing_is_left();
}

#[test]
fn draining_refuses_new_calls_and_keeps_old_ones() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call("+18005550100");
    world.answer();
    world.engine.handle(world.now, Input::Drain);
    let first = world.carrier.leg();
    world.call("+18005550100");
    assert_eq!(world.heard(), "200 503");
    assert_eq!(world.engine.calls(), 1);
    world.carrier.endpoint.bye(world.now.instant, first, &[]).unwrap();
    world.settle();
    world.nothing_is_left();
}

#[test]
fn hops_are_counted_across_the_call() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call_with("+18005550100", Some(sdp::offer(&world.carrier.media())), 1);
    // One hop was left: the PBX refuses an INVITE that has none.
    assert_eq!(world.pbx.heard, ["Max-Forwards is used up"]);
}

#[test]
fn a_wait_answers_plays_on_and_goes_by_itself() {
    let wait = Verb::Wait { ms: 30_000, audio: audio("m"), next: step(1), bound: None };
    let steps = vec![Step { name: "pause".into(), verb: wait }, hangup("bye", "b")];
    let mut world = Virtual::new(steps);
    world.call("+18005550100");
    assert_eq!((world.heard().as_str(), world.media.orders.last().unwrap().as_str()), ("200", "play(m)"));
    world.pass(29);
    assert_eq!(world.media.playing.len(), 1);
    world.pass(1);
    assert_eq!(world.media.orders.last().unwrap(), "play(b)");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["pause: waited", "bye: hangup"]);
}

#[test]
fn a_tone_of_a_flow_is_that_of_the_tenants_country() {
    let wait =
        |tone| Verb::Wait { ms: 3_000, audio: vec![national_tone(tone, "")], next: step(1), bound: None };
    let steps = |tone| vec![Step { name: "tone".into(), verb: wait(tone) }, hangup("bye", "b")];
    for (country, tone, heard) in [
        (None, Tone::Busy, "play(Busy of US)"),
        (None, Tone::Ringback, "play(r)"),
        (Some("DE"), Tone::Congestion, "play(Congestion of DE)"),
        (Some("DE"), Tone::SpecialInformation, "play(SpecialInformation of DE)"),
    ] {
        let mut snapshot = snapshot();
        snapshot.flows = [flow("main", steps(tone), Vec::new())].into();
        snapshot.cluster.countries =
            country.map(|it| ("acme".to_owned(), it.to_owned())).into_iter().collect();
        let mut world = Virtual::with(snapshot);
        world.call("+18005550100");
        assert_eq!(world.media.orders.last().unwrap(), heard);
        world.pass(3);
        assert_eq!(world.media.orders.last().unwrap(), "play(b)");
    }
}

#[test]
fn a_transfer_is_the_end_of_the_flow() {
    let Verb::Dial(ring) = dial("", [1, 1, 1, 1]).verb else { unreachable!() };
    let ring = model::program::Dial { ended: None, ..ring };
    let transfer = Verb::Transfer { dial: ring, kind: model::program::TransferKind::Blind };
    let steps = || vec![Step { name: "hand".into(), verb: transfer.clone() }, hangup("sorry", "s")];
    let mut world = Virtual::new(steps());
    world.call("+18005550100");
    world.answer();
    let leg = world.pbx.leg();
    world.pbx.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.heard(), "200 BYE");
    let record = world.nothing_is_left();
    assert_eq!(record.path, ["hand: ended"]);
    assert_eq!(record.ended_by, EndedBy::Callee);

    let mut world = Virtual::new(steps());
    world.call("+18005550100");
    world.pbx_says(486);
    assert_eq!(world.media.orders.last().unwrap(), "play(s)");
}

/// The lots of many calls fall as the shares say, and differ from call to call.
#[test]
fn lots_fall_as_the_shares_say() {
    let split = Verb::Split {
        parts: vec![model::program::Part { percent: 25, next: step(1) }],
        otherwise: Some(step(2)),
    };
    let mut world = Virtual::new(vec![Step { name: "lot".into(), verb: split }, reject("a"), reject("b")]);
    for _ in 0..400 {
        world.call("+18005550100");
        world.pass(40);
    }
    let first = world.records.iter().filter(|record| record.path[0] == "lot: part 1").count();
    assert!((70..=130).contains(&first), "{first} of 400");
}

#[test]
fn what_the_edge_has_no_means_for_takes_its_failure_and_is_told() {
    let (next, failed) = (step(3), Some(step(2)));
    let queue = model::QueueId::new("acme", "sales");
    let callback = Verb::Callback {
        queue,
        keep_place: true,
        number: None,
        attempts: 1,
        retry_ms: 0,
        first: None,
        next,
        failed: Some(step(1)),
    };
    let Verb::Dial(mut ring) = dial("", [3, 3, 3, 3]).verb else { unreachable!() };
    let agent = model::program::DialTarget::Agent(model::AgentId::new("acme", "ada"));
    ring.targets.insert(0, agent);
    let text = model::program::Expression("'Hello'".into());
    let message = Verb::Message { text, to: None, next, failed };
    let steps = vec![
        Step { name: "wait".into(), verb: callback },
        Step { name: "message".into(), verb: message },
        Step { name: "ring".into(), verb: Verb::Dial(ring) },
        hangup("bye", "b"),
    ];
    let mut world = Virtual::new(steps);
    world.call("+18005550100");
    assert!(world.told[0].starts_with("nobody is called back: the Tenant of acme has no `outboundTrunks`"));
    let unsent = "no ContactPoint of acme with `sms` has a live number";
    assert_eq!(
        world.told[1..],
        [format!("Step message: no SMS is sent: {unsent}"), "Agent acme/ada is gone".into()]
    );
    // The agent is passed over, the telephone behind it rings.
    assert_eq!(world.pbx.heard.join(" "), "INVITE");
    world.pbx_says(486);
    world.pass(3);
    let path = &world.nothing_is_left().path;
    assert_eq!(path[..2], ["wait: failed".to_owned(), format!("message: failed ({unsent})")]);
}
