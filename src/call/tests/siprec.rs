//! What a session recording server is told of a call, and that the call does not depend on it.

use bytes::Bytes;
use call::siprec::description;
use model::{
    TrunkId,
    program::{RecordAction, RecordTo, Step, Verb},
    snapshot::{Delivers, Recorder, Snapshot},
};
use sip::sdp::{self, LocalMedia};

use crate::{
    twin::{Phone, Virtual},
    world::{ask, dial, flow, hangup, play, snapshot, step, trunk},
};

const NUMBER: &str = "+18005550100";

fn with_recorder(steps: Vec<Step>, change: impl FnOnce(&mut Recorder)) -> Snapshot {
    let id = TrunkId::new("acme", "recorder");
    let mut recorder = Recorder { trunk: id.clone(), user: "srs".into(), all: false, required: false };
    change(&mut recorder);
    let mut snapshot = snapshot();
    let mut srs = trunk("192.0.2.4/32", Delivers::Pstn, ("192.0.2.4", 5060));
    let mut second = srs.peers[0].clone();
    (second.name, second.host, second.priority) = ("two".into(), "192.0.2.5".into(), 1);
    srs.peers.push(second);
    srs.sources.push(trunk("192.0.2.5/32", Delivers::Pstn, ("192.0.2.5", 5060)).sources.remove(0));
    snapshot.trunks.insert(id, srs);
    snapshot.cluster.recorders = [("acme".into(), recorder)].into();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    snapshot
}

fn world(steps: Vec<Step>, change: impl FnOnce(&mut Recorder)) -> Virtual {
    let mut world = Virtual::with(with_recorder(steps, change));
    world.more = vec![Phone::new("192.0.2.4:5060", 11), Phone::new("192.0.2.5:5060", 12)];
    world.call(NUMBER);
    world
}

fn record(name: &str, action: RecordAction, next: u16, failed: Option<u16>) -> Step {
    let verb = Verb::Record { action, to: RecordTo::Recorder, next: step(next), failed: failed.map(step) };
    Step { name: name.into(), verb }
}

/// An answer with two streams.
fn answer(offer: &Bytes) -> Bytes {
    let parts = description::parted(offer, 2).into_iter().enumerate().map(|(place, part)| {
        let port = 42_000 + 2 * u16::try_from(place).unwrap();
        let local = LocalMedia::new(
            "192.0.2.4".parse().unwrap(),
            port,
            vec![model::media::Codec::Pcmu, model::media::Codec::Pcma],
            5,
        );
        sdp::answer(&part.unwrap(), &local).unwrap().0
    });
    description::joined(&parts.collect::<Vec<_>>())
}

impl Virtual {
    /// A recorder takes the call.
    fn records(&mut self, which: usize) {
        let srs = &mut self.more[which];
        let sdp = answer(srs.offer.as_ref().unwrap());
        let leg = srs.leg();
        srs.endpoint.accept(self.now.instant, leg, sdp, &[]).unwrap();
        self.settle();
    }

    /// A recorder takes a change.
    fn follows(&mut self, which: usize) -> String {
        let srs = &mut self.more[which];
        let text = srs.last.clone().unwrap();
        assert_eq!(srs.heard.last().map(String::as_str), Some("re-INVITE"), "{:?}", srs.heard);
        let at = text.find("v=0").unwrap();
        let end = text[at..].find("--switchboard-part").unwrap();
        let sdp = answer(&Bytes::from(text[at..at + end].to_owned()));
        let leg = srs.leg();
        srs.endpoint.answer_reinvite(self.now.instant, leg, sdp).unwrap();
        self.settle();
        text
    }

    fn copies(&self) -> Vec<&str> {
        self.media.orders.iter().map(String::as_str).filter(|order| order.starts_with("copy")).collect()
    }
}

fn by_flow() -> Vec<Step> {
    vec![record("on", RecordAction::Start, 1, None), dial("ring", [2, 2, 2, 2]), hangup("bye", "d")]
}

#[test]
fn a_recorder_is_told_of_the_call_and_gets_both_its_streams() {
    let mut world = world(by_flow(), |_| {});
    let invite = world.more[0].last.clone().unwrap();
    assert!(invite.starts_with("INVITE sip:srs@192.0.2.4 SIP/2.0\r\n"), "{invite}");
    for wanted in [
        "\r\nRequire: siprec\r\n",
        ";+sip.src\r\n",
        "\r\nContent-Type: multipart/mixed;boundary=switchboard-part\r\n",
        "\r\nContent-Type: application/rs-metadata+xml\r\n",
        "\r\nContent-Disposition: recording-session\r\n",
        "a=sendonly\r\na=label:1\r\nm=audio ",
        "a=sendonly\r\na=label:2\r\n",
        "<nameID aor=\"tel:+12125550199\"></nameID>",
        "<nameID aor=\"tel:+18005550100\"><name>main</name></nameID>",
        "<label>2</label>",
    ] {
        assert!(invite.contains(wanted), "{wanted} is not in {invite}");
    }
    assert!(!invite.contains("telephone-event"), "keys are nobody's to hear: {invite}");
    // The flow waits until it is recorded.
    assert_eq!((world.heard(), world.pbx.heard.is_empty()), ("200".into(), true));
    world.records(0);
    assert_eq!(world.copies(), ["copy(0.Received>1)", "copy(0.Sent>2)"]);
    assert_eq!(world.told, ["peer `one` of Trunk acme/recorder (UDP 192.0.2.4:5060) records the call"]);
    assert_eq!(world.pbx.heard, ["INVITE"]);

    world.answer();
    let change = world.follows(0);
    assert!(change.contains("<nameID aor=\"sip:201@192.0.2.2\"></nameID>"), "{change}");
    assert_eq!(change.matches("<disassociate-time>").count(), 1, "the flow has left: {change}");
    let session = |text: &str| text.split("session_id=\"").nth(1).unwrap()[..24].to_owned();
    assert_eq!(session(&invite), session(&change));

    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.more[0].heard, ["INVITE", "ACK", "re-INVITE", "BYE"]);
    assert_eq!(world.nothing_is_left().path, ["on: done"]);
}

#[test]
fn what_is_said_in_secret_or_in_a_pause_is_not_copied_and_the_recorder_knows() {
    let mut secret = ask("card", 2, 2);
    if let Verb::Ask(ask) = &mut secret.verb {
        ask.secret = true;
    }
    let steps = vec![
        record("on", RecordAction::Start, 1, None),
        secret,
        record("gap", RecordAction::Pause, 3, None),
        play("said", "x", 4),
        record("again", RecordAction::Resume, 5, None),
        play("more", "y", 6),
        record("off", RecordAction::Stop, 7, None),
        play("last", "z", 8),
        hangup("bye", "d"),
    ];
    let mut world = world(steps, |_| {});
    world.records(0);
    // It was answered, and at once the question is secret: nothing was ever copied.
    assert_eq!(world.copies(), [] as [&str; 0]);
    let change = world.follows(0);
    assert_eq!(change.matches("a=inactive").count(), 2, "{change}");
    world.press('1');
    assert_eq!(world.copies(), [] as [&str; 0], "the pause follows the question");
    world.pass(2);
    assert_eq!(world.copies(), ["copy(0.Received>1)", "copy(0.Sent>2)"]);
    let change = world.follows(0);
    assert_eq!(change.matches("a=sendonly").count(), 2, "{change}");
    world.pass(2);
    assert_eq!(world.more[0].heard.last().map(String::as_str), Some("BYE"));
    assert_eq!(world.media.legs.len(), 1, "its ports are given back");
    let path = &world.nothing_is_left().path;
    assert_eq!(path[6], "off: done", "{path:?}");
}

#[test]
fn a_recorder_that_does_not_answer_is_followed_by_the_next_and_a_lost_one_replaced() {
    let mut world = world(by_flow(), |_| {});
    assert_eq!(world.more[0].heard, ["INVITE"]);
    // It is at work on it, as it says, and so is waited for.
    world.pass(17);
    assert_eq!(world.more[1].heard, ["INVITE"], "{:?}", world.told);
    world.records(1);
    world.answer();
    let first = world.follows(1);
    let leg = world.more[1].leg();
    world.more[1].endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.heard(), "200", "the call goes on");
    let again = world.more.iter().map(|srs| srs.heard.iter().filter(|what| *what == "INVITE").count());
    assert_eq!(again.sum::<usize>(), 3);
    let invite =
        world.more.iter().find_map(|srs| srs.last.as_ref().filter(|text| text.starts_with("INVITE")));
    let session = |text: &str| text.split("session_id=\"").nth(1).unwrap()[..24].to_owned();
    assert_eq!(session(&first), session(invite.unwrap()));
    assert!(world.told.iter().any(|what| what.starts_with("the recorder is lost")), "{:?}", world.told);
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.nothing_is_left();
}

#[test]
fn a_call_that_nobody_records_goes_on_or_is_not_held() {
    for required in [false, true] {
        let mut steps = by_flow();
        steps[0] = record("on", RecordAction::Start, 1, Some(2));
        let mut world = world(steps, |recorder| recorder.required = required);
        world.other_says(0, 503);
        world.other_says(1, 488);
        let told = world.told.last().unwrap().clone();
        assert!(told.starts_with("the call is not recorded"), "{told}");
        world.pass(4);
        let (rings, path) = (!world.pbx.heard.is_empty(), if required { "on: failed" } else { "on: done" });
        assert_eq!(rings, !required);
        assert_eq!(world.nothing_is_left().path[0], path);
    }
}

#[test]
fn where_all_calls_must_be_recorded_one_that_is_not_is_ended() {
    let steps = vec![play("long", "abc", 1), hangup("bye", "d")];
    let mut world = world(steps, |recorder| (recorder.all, recorder.required) = (true, true));
    assert_eq!((world.heard(), world.more[0].heard.clone()), ("200".into(), vec!["INVITE".to_owned()]));
    world.records(0);
    for _ in 0..8 {
        for which in 0..2 {
            if world.more[which].heard.last().map(String::as_str) == Some("INVITE") {
                world.other_says(which, 500);
            } else if world.more[which].heard.last().map(String::as_str) == Some("ACK") && which == 0 {
                let leg = world.more[0].leg();
                let _ = world.more[0].endpoint.bye(world.now.instant, leg, &[]);
                world.settle();
            }
        }
    }
    assert_eq!(world.heard(), "200 BYE", "{:?}", world.told);
    let record = world.nothing_is_left();
    assert_eq!(record.because.as_deref(), Some("the call cannot be recorded"));
}

#[test]
fn a_caller_who_wants_to_be_unknown_is_unknown_to_the_recorder() {
    let mut world = Virtual::with(with_recorder(by_flow(), |_| {}));
    world.more = vec![Phone::new("192.0.2.4:5060", 11)];
    world.carrier.headers = vec![sip::endpoint::Header::new("Privacy", "id")];
    world.call(NUMBER);
    let invite = world.more[0].last.clone().unwrap();
    assert!(invite.contains("<nameID aor=\"sip:anonymous@anonymous.invalid\"></nameID>"), "{invite}");
    assert!(!invite.contains("2125550199"), "{invite}");
    world.records(0);
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.nothing_is_left();
}

#[test]
fn the_recorders_hold_is_answered_and_a_contacts_hold_is_told() {
    let mut world = world(by_flow(), |_| {});
    world.records(0);
    world.answer();
    world.follows(0);
    let held = LocalMedia { direction: model::media::Direction::SendOnly, ..world.carrier.media() };
    let leg = world.carrier.leg();
    world.carrier.endpoint.reinvite(world.now.instant, leg, sdp::offer(&held)).unwrap();
    world.settle();
    let change = world.follows(0);
    // Whoever holds is heard, and hears nothing.
    assert_eq!(change.matches("</send></participantstreamassoc>").count(), 1, "{change}");
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.nothing_is_left();
}

#[test]
fn a_phone_that_wants_to_know_is_told_that_it_is_recorded() {
    let mut world = Virtual::with(with_recorder(by_flow(), |_| {}));
    world.more = vec![Phone::new("192.0.2.4:5060", 11)];
    world.carrier.headers = vec![sip::endpoint::Header::new("Supported", "record-aware")];
    world.call(NUMBER);
    assert_eq!(world.heard(), "200");
    world.records(0);
    assert_eq!(world.heard(), "200 re-INVITE");
    let text = world.carrier.last.clone().unwrap();
    assert!(text.ends_with("a=record:on\r\n"), "{text}");
    let leg = world.carrier.leg();
    let (answer, _) =
        sdp::answer(text.split("\r\n\r\n").nth(1).unwrap().as_bytes(), &world.carrier.media()).unwrap();
    world.carrier.endpoint.answer_reinvite(world.now.instant, leg, answer).unwrap();
    world.settle();
    // Its own re-INVITE is answered likewise.
    world.carrier.endpoint.reinvite(world.now.instant, leg, sdp::offer(&world.carrier.media())).unwrap();
    world.settle();
    assert!(world.carrier.last.as_ref().unwrap().contains("a=record:on\r\n"), "{:?}", world.carrier.last);
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.nothing_is_left();
}
