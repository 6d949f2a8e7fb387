//! What calls do with words, recordings and messages: orders to the media server, and what the caller and the record get of it.

use std::sync::Arc;

use call::engine::Input;
use model::{
    VoicemailBoxId,
    centre::VoicemailBox,
    media::{Event as MediaEvent, Heard, MediaEvent as Told, RecordingEnd},
    program::{AskInput, RecordAction, RecordTo, Step, Verb},
    snapshot::Snapshot,
};

use crate::{
    twin::Virtual,
    world::{ask, audio, dial, flow, hangup, play, snapshot, step},
};

impl Virtual {
    /// Something is heard on the leg that is listened to.
    pub fn hear(&mut self, heard: Heard) {
        let (session, leg, listening) = self.media.listening.expect("a listening");
        if matches!(heard, Heard::Began) {
            for told in self.media.stop(leg) {
                self.engine.handle(self.now, Input::Media(told));
            }
        }
        let event = MediaEvent::Heard { leg, listening, heard };
        self.engine.handle(self.now, Input::Media(Told { session, event }));
        self.settle();
    }

    /// What is recorded ends by itself.
    pub fn recording_ends(&mut self, end: RecordingEnd) {
        let name = self.media.recordings.keys().next().expect("a recording").clone();
        for told in self.media.end_recording(self.now.instant, &name, end) {
            self.engine.handle(self.now, Input::Media(told));
        }
        self.settle();
    }
}

const NUMBER: &str = "+18005550100";

fn with_box(steps: Vec<Step>, change: impl FnOnce(&mut VoicemailBox)) -> Snapshot {
    let mut support = VoicemailBox {
        greeting: audio("g"),
        emails: Vec::new(),
        queue: None,
        agents: Vec::new(),
        message_seconds_max: 60,
        messages_max: 100,
        retention_days: 30,
        transcribed: false,
        speech_seconds_min: 2,
        silence_seconds: 4,
        review: Vec::new(),
    };
    change(&mut support);
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    snapshot.centre.voicemail_boxes = [(VoicemailBoxId::new("acme", "support"), Arc::new(support))].into();
    snapshot
}

fn voicemail(letters: &str, max_ms: Option<u32>) -> Vec<Step> {
    let verb = Verb::Voicemail {
        voicemail_box: VoicemailBoxId::new("acme", "support"),
        greeting: audio(letters),
        max_ms,
        next: step(1),
        failed: Some(step(2)),
    };
    vec![Step { name: "message".into(), verb }, hangup("bye", "d"), hangup("sorry", "f")]
}

fn caller(steps: Vec<Step>, change: impl FnOnce(&mut VoicemailBox)) -> Virtual {
    let mut world = Virtual::with(with_box(steps, change));
    world.call(NUMBER);
    world
}

fn record(name: &str, action: RecordAction, next: u16) -> Step {
    Step {
        name: name.into(),
        verb: Verb::Record { action, to: RecordTo::Store, next: step(next), failed: None },
    }
}

/// 1 or `sales` leads to 1, 2 or `billing` to 2, all else to 3.
fn menu(secret: bool) -> Vec<Step> {
    let mut menu = ask("menu", 1, 3);
    if let Verb::Ask(ask) = &mut menu.verb
        && let AskInput::Choices(choices) = &mut ask.input
    {
        choices[0].phrases = vec!["sales".into(), "buy something".into()];
        let mut two = choices[0].clone();
        (two.digits, two.phrases, two.next) = ("2".into(), vec!["billing".into()], step(2));
        choices.push(two);
        (ask.attempts, ask.secret, ask.language) = (2, secret, "en-GB".into());
    }
    vec![menu, hangup("sales", "s"), hangup("billing", "b"), hangup("lost", "l")]
}

fn listener() -> Virtual {
    let mut world = Virtual::new(menu(false));
    world.call(NUMBER);
    world
}

const LISTENS: &str = "listen(en-GB:sales|buy something|billing)";

fn orders(world: &Virtual) -> String {
    let orders = world.media.orders.iter().filter(|order| !order.starts_with("configure"));
    orders.map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_phrase_is_listened_for_beside_keys_and_the_first_of_them_wins() {
    let mut world = listener();
    assert_eq!(orders(&world), format!("play(q) {LISTENS}"));
    world.hear(Heard::Began);
    world.hear(Heard::Phrase { phrase: 1, confidence: 90 });
    assert_eq!(orders(&world), format!("play(q) {LISTENS} play(s) deaf"));
    assert_eq!(world.told, ["the contact said “buy something” with 90 %"]);
    assert_eq!(world.nothing_is_left().path, ["menu: choice 1", "sales: hangup"]);

    let mut world = listener();
    world.press('2');
    assert_eq!(orders(&world), format!("play(q) {LISTENS} play(b) deaf"));
    assert_eq!(world.nothing_is_left().path, ["menu: choice 2", "billing: hangup"]);
}

#[test]
fn words_that_are_unsure_or_others_are_no_match() {
    for heard in [Heard::Phrase { phrase: 0, confidence: 10 }, Heard::Other] {
        let mut world = listener();
        world.hear(heard.clone());
        assert_eq!(orders(&world), format!("play(q) {LISTENS} play(q)"), "{heard:?}");
        world.hear(heard);
        assert_eq!(world.nothing_is_left().path, ["menu: noMatch", "lost: hangup"]);
    }
}

#[test]
fn whoever_speaks_is_not_silent_and_whoever_is_not_understood_has_keys() {
    // The question takes two seconds, silence counts for five, twice.
    let mut world = listener();
    world.pass(6);
    world.hear(Heard::Began);
    world.pass(10);
    assert!(world.records.is_empty(), "the caller speaks");
    world.hear(Heard::Failed("it hangs".into()));
    assert_eq!(world.told, ["words are not understood, keys alone count: it hangs"]);
    world.pass(4);
    world.press('1');
    assert_eq!(world.nothing_is_left().path, ["menu: choice 1", "sales: hangup"]);

    // A recogniser that never answers does not hold the call.
    let mut world = listener();
    world.hear(Heard::Began);
    assert_eq!(world.nothing_is_left().path, ["menu: noInput", "lost: hangup"]);
}

#[test]
fn noise_while_keys_are_pressed_is_not_meant_for_the_flow() {
    let mut steps = menu(false);
    if let Verb::Ask(ask) = &mut steps[0].verb
        && let AskInput::Choices(choices) = &mut ask.input
    {
        choices[0].digits = "11".into();
    }
    let mut world = Virtual::new(steps);
    world.call(NUMBER);
    world.press('1');
    world.hear(Heard::Other);
    world.press('1');
    assert_eq!(world.nothing_is_left().path, ["menu: choice 11", "sales: hangup"]);
}

#[test]
fn a_message_is_greeted_recorded_and_kept() {
    let mut world = caller(voicemail("", Some(9_000)), |_| {});
    assert_eq!(world.heard(), "200");
    world.pass(2);
    assert_eq!(orders(&world), "play(gb) record(0,9000,4000#)");
    world.pass(5);
    world.press('#');
    assert_eq!(orders(&world), "play(gb) record(0,9000,4000#) end play(d)");
    let saved = &world.saved[0];
    assert!(saved.sound.name.starts_with("acme/voicemail/support/20261123T150000Z-"), "{saved:?}");
    assert!(saved.sound.name.ends_with("-1.wav"), "{saved:?}");
    assert_eq!((saved.from.as_str(), saved.sound.ms), ("+12125550199", Some(5_000)));
    let record = world.nothing_is_left();
    assert_eq!(record.path, ["message: left", "bye: hangup"]);
    assert_eq!((record.voicemails.len(), record.recordings.len()), (1, 0));
}

#[test]
fn a_message_that_is_too_long_ends_with_a_tone_and_one_that_says_nothing_is_not_kept() {
    let mut world = caller(voicemail("q", None), |_| {});
    world.pass(2);
    world.pass(60);
    world.recording_ends(RecordingEnd::Full);
    assert_eq!(orders(&world), "play(qb) record(0,60000,4000#) play(b)");
    assert_eq!(world.nothing_is_left().path[0], "message: left");
    assert_eq!(world.saved.len(), 1);

    let mut world = caller(voicemail("", None), |_| {});
    world.pass(2);
    world.media.silence_ms = 4_000;
    world.pass(5);
    world.recording_ends(RecordingEnd::Silence);
    assert_eq!(orders(&world), "play(gb) record(0,60000,4000#) forget play(d)");
    let record = world.nothing_is_left();
    assert_eq!((record.path[0].as_str(), record.voicemails.len()), ("message: left (nothing to be kept)", 0));
    assert!(world.media.stored.is_empty() && world.saved.is_empty());
}

#[test]
fn whoever_hangs_up_has_left_a_message() {
    for (seconds, kept) in [(8, 1), (1, 0)] {
        let mut world = caller(voicemail("", None), |_| {});
        world.pass(2);
        world.pass(seconds);
        let leg = world.carrier.leg();
        world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
        world.settle();
        assert_eq!(world.nothing_is_left().voicemails.len(), kept);
        assert_eq!((world.saved.len(), world.media.stored.len()), (kept, kept));
    }
}

#[test]
fn a_message_can_be_heard_and_taken_again_before_it_is_kept() {
    let mut world = caller(voicemail("", None), |support| support.review = audio("r"));
    world.pass(2);
    world.press('1');
    world.pass(5);
    world.recording_ends(RecordingEnd::Key('#'));
    // The key itself comes after the end that it makes, and says nothing more.
    world.press('#');
    world.press('2');
    world.pass(3);
    world.press('3');
    world.pass(2);
    world.pass(3);
    world.press('#');
    world.press('1');
    assert_eq!(
        orders(&world),
        "play(gb) record(0,60000,4000#) play(r) replay play(r) forget play(b) record(0,60000,4000#) end play(r) play(d)"
    );
    assert!(world.saved[0].sound.name.ends_with("-2.wav"), "{:?}", world.saved);
    assert_eq!((world.saved.len(), world.media.stored.len()), (1, 1));
    assert_eq!(world.nothing_is_left().voicemails.len(), 1);

    // Whoever says nothing about it has it kept.
    let mut world = caller(voicemail("", None), |support| support.review = audio("r"));
    world.pass(2);
    world.pass(5);
    world.recording_ends(RecordingEnd::Silence);
    assert_eq!(world.nothing_is_left().path[0], "message: left");
    assert_eq!(orders(&world), "play(gb) record(0,60000,4000#) play(r) play(r) play(r) play(d)");
}

#[test]
fn the_greeting_can_be_skipped() {
    let mut world = caller(voicemail("", None), |_| {});
    world.press('#');
    world.pass(2);
    assert_eq!(orders(&world), "play(gb) play(b) record(0,60000,4000#)");
}

#[test]
fn a_message_that_cannot_be_stored_takes_its_failure() {
    let mut world = caller(voicemail("", None), |_| {});
    world.media.full = Some("the disk is full");
    world.pass(2);
    assert_eq!(orders(&world), "play(gb) record(0,60000,4000#) play(f)");
    let record = world.nothing_is_left();
    assert_eq!(record.path[0], "message: failed");
    assert_eq!(record.voicemails[0].failed.as_deref(), Some("the disk is full"));
    assert!(world.told[0].contains("has failed: the disk is full"), "{:?}", world.told);

    // A media server that never says what became of it does not hold the call.
    let mut world = caller(voicemail("", Some(5_000)), |_| {});
    world.pass(2);
    world.media.recordings.clear();
    world.pass(40);
    assert_eq!(world.nothing_is_left().path[0], "message: failed");
}

#[test]
fn a_call_is_recorded_part_by_part_with_the_contact_on_the_left() {
    let steps = vec![
        record("on", RecordAction::Start, 1),
        dial("ring", [2, 4, 4, 4]),
        record("off", RecordAction::Stop, 3),
        hangup("bye", "d"),
        hangup("away", "a"),
    ];
    let mut world = Virtual::new(steps);
    world.call(NUMBER);
    // The step waits for a refusal, and the contact is answered meanwhile.
    assert_eq!((world.heard(), orders(&world)), ("200".into(), "record(0,-,-)".into()));
    world.pass(1);
    world.answer();
    world.pass(5);
    assert_eq!(orders(&world), "record(0,-,-) bridge end record(0|1,-,-)");
    let leg = world.pbx.leg();
    world.pbx.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    let record = world.nothing_is_left();
    assert_eq!(record.path, ["on: done", "ring: ended", "off: done", "bye: hangup"]);
    let told: Vec<_> = record.recordings.iter().map(|sound| (sound.channels, sound.ms)).collect();
    assert_eq!(told, [(1, Some(1_000)), (2, Some(5_000))]);
    assert!(record.recordings[1].name.starts_with("acme/calls/20261123T150000Z-"), "{record:?}");
    assert_eq!(world.saved.len(), 2);
}

#[test]
fn a_recording_leaves_gaps_where_the_flow_says_so_and_where_keys_are_secret() {
    let mut secret = menu(true).remove(0);
    secret.name = "card".into();
    if let Verb::Ask(ask) = &mut secret.verb
        && let AskInput::Choices(choices) = &mut ask.input
    {
        choices[0].next = step(5);
    }
    let steps = vec![
        record("on", RecordAction::Start, 1),
        record("gap", RecordAction::Pause, 2),
        play("private", "p", 3),
        record("again", RecordAction::Resume, 4),
        secret,
        play("thanks", "t", 6),
        record("off", RecordAction::Stop, 7),
        hangup("bye", "d"),
    ];
    let mut world = Virtual::new(steps);
    world.call(NUMBER);
    world.pass(1);
    world.pass(2);
    world.press('1');
    world.pass(2);
    let wanted = "record(0,-,-) play(p) pause play(q) listen(en-GB:sales|buy something|billing) play(t) go-on deaf play(d) end";
    assert_eq!(orders(&world), wanted);
    assert_eq!(world.nothing_is_left().recordings.len(), 1);
}

#[test]
fn what_cannot_be_recorded_takes_its_failure_at_once() {
    let mut steps = vec![record("on", RecordAction::Start, 1), hangup("recorded", "r"), hangup("sorry", "f")];
    if let Verb::Record { failed, .. } = &mut steps[0].verb {
        *failed = Some(step(2));
    }
    let mut world = Virtual::new(steps);
    world.media.full = Some("there is no store");
    world.call(NUMBER);
    assert_eq!(orders(&world), "record(0,-,-) play(f)");
    let record = world.nothing_is_left();
    assert_eq!(record.path, ["on: failed", "sorry: hangup"]);
    assert_eq!(record.recordings[0].failed.as_deref(), Some("there is no store"));
}
