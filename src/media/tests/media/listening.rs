//! Telephones that are listened to: silence, speech, and phrases that espeak-ng speaks.

use std::{process::Command, sync::Arc, thread::sleep, time::Duration};

use media::{AudioSource, Library, Recogniser, Said, Services};
use model::{
    AudioId, PlayId,
    media::{Codec, Event, Heard, ListenId, Listening, Order, PlayEnd},
};

use crate::{
    LEG, ended,
    peer::{World, decoded, library, sound},
    recordings::{found, say, told},
};

const LISTENING: ListenId = ListenId(7);

fn listening(phrases: &[&str]) -> Listening {
    Listening {
        id: LISTENING,
        language: "en-US".into(),
        phrases: phrases.iter().map(|&phrase| phrase.into()).collect(),
        barge_in: false,
        end_silence_ms: 600,
        max_ms: 10_000,
    }
}

fn listen(world: &World, listening: Listening) {
    world.order(1, Order::Listen { leg: LEG, listening: Box::new(listening) });
    world.settle(1);
}

fn heard(world: &World) -> Heard {
    match told(world) {
        Event::Heard { leg: LEG, listening: LISTENING, heard } => heard,
        other => panic!("{other:?}"),
    }
}

/// A second of quiet, words, and a second of quiet, as a telephone has them at 8 kHz.
fn spoken(text: &str) -> Vec<i16> {
    let speech = AudioSource::Speech { text: text.into(), language: "en-US".into() };
    let library = Library::load(&[(AudioId([1; 32]), speech)].into(), None).unwrap();
    let words = library.get(&AudioId([1; 32])).unwrap().pcm().to_vec();
    [quiet(0.6), words, quiet(1.2)].concat()
}

/// A line's noise.
fn quiet(seconds: f64) -> Vec<i16> {
    let mut noise = 1u32;
    let sample = |_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 28) as i16 - 8
    };
    (0..(8_000.0 * seconds) as usize).map(sample).collect()
}

#[test]
fn the_beginning_and_the_end_of_speech_are_told() {
    let world = World::new();
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    listen(&world, listening(&[]));
    say(&mut phone, &quiet(0.8));
    say(&mut phone, &sound(8_000, 0.6, 1.0));
    assert_eq!(heard(&world), Heard::Began);
    say(&mut phone, &quiet(1.5));
    assert_eq!(heard(&world), Heard::Other);
    world.order(1, Order::StopListening { leg: LEG });
    world.settle(1);
    say(&mut phone, &sound(8_000, 0.6, 1.0));
    say(&mut phone, &quiet(1.0));
    world.settle(1);
}

#[test]
fn speech_stops_a_prompt_where_it_may_and_only_there() {
    for barge_in in [true, false] {
        let world = World::new();
        world.server.set_library(library(&[(1, 3.0)]));
        let mut phone = world.phone(1, 1, Codec::Pcmu);
        world.play(1, 1, 1, &[1], Some(1));
        listen(&world, Listening { barge_in, ..listening(&[]) });
        say(&mut phone, &quiet(0.6));
        say(&mut phone, &sound(8_000, 0.8, 1.0));
        let mut events = vec![told(&world), told(&world)];
        if barge_in {
            events.sort_by_key(|event| matches!(event, Event::PlayEnded { .. }));
            assert_eq!(events[1], ended(1, PlayEnd::Stopped));
            assert!(matches!(events[0], Event::Heard { heard: Heard::Began, .. }));
        } else {
            assert!(matches!(events[0], Event::Heard { heard: Heard::Began, .. }));
            assert!(!events.contains(&ended(1, PlayEnd::Stopped)), "{events:?}");
        }
    }
}

#[test]
fn phrases_are_recognised_and_others_refused() {
    if Command::new("pocketsphinx_batch").output().is_err()
        || Command::new("espeak-ng").arg("--version").output().is_err()
    {
        return;
    }
    let phrases = ["sales", "technical support", "billing"];
    let world = World::new();
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    listen(&world, listening(&phrases));
    for (text, wanted) in [("Technical support.", Some(1)), ("Opening hours", None), ("billing", Some(2))] {
        say(&mut phone, &spoken(text));
        assert_eq!(heard(&world), Heard::Began, "{text}");
        match (heard(&world), wanted) {
            (Heard::Phrase { phrase, confidence }, Some(wanted)) => {
                assert!(phrase == wanted && confidence > 40, "{text}: {phrase} {confidence}");
            }
            (Heard::Other, None) => {}
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_text_is_spoken_and_one_that_cannot_be_is_told() {
    if Command::new("espeak-ng").arg("--version").output().is_err() {
        return;
    }
    let world = World::new();
    let phone = world.phone(1, 1, Codec::Pcmu);
    let text = model::spoken::position(4, "en-US");
    let speech = AudioSource::Speech { text: text.clone(), language: "en-US".into() };
    let library = Library::load(&[(AudioId([1; 32]), speech)].into(), None).unwrap();
    let prompt = library.get(&AudioId([1; 32])).unwrap();
    let wanted = prompt.pcm();
    for play in [1, 2] {
        world.order(
            1,
            Order::Say { leg: LEG, play: PlayId(play), text: text.clone(), language: "en-US".into() },
        );
        // Silent ones are not counted.
        let frames = wanted.len() / 320;
        let heard = decoded(Codec::Pcmu, &phone.hear_many(frames));
        let likeness = found(wanted, &heard[800..2_400]);
        assert!(likeness.0 > 0.95, "{likeness:?}");
        assert_eq!(told(&world), ended(play, PlayEnd::Finished));
        phone.is_quiet();
    }
    let nowhere = Order::Say { leg: LEG, play: PlayId(3), text: "Hello".into(), language: "zz-QQ".into() };
    world.order(1, nowhere);
    assert_eq!(told(&world), ended(3, PlayEnd::UnknownAudio));
}

#[derive(Debug)]
struct Slow;

impl Recogniser for Slow {
    fn recognise(&self, said: &Said<'_>) -> Result<Option<(u16, u8)>, String> {
        assert!(said.pcm.len() > 4_000 && said.rate == 8_000);
        sleep(Duration::from_secs(1));
        Err("it is too slow".into())
    }
}

#[test]
fn a_slow_recogniser_fails_by_itself_and_keeps_no_audio_waiting() {
    let services = Services { recogniser: Some(Arc::new(Slow)), ..Services::default() };
    let world = World::with_services(4, services);
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    listen(&world, listening(&["yes"]));
    say(&mut phone, &quiet(0.6));
    say(&mut phone, &sound(8_000, 0.6, 1.0));
    say(&mut phone, &quiet(1.0));
    assert_eq!(heard(&world), Heard::Began);
    world.server.set_library(library(&[(1, 0.2)]));
    let other = world.phone(2, 1, Codec::Pcmu);
    world.play(2, 1, 1, &[1], Some(1));
    other.hear_many(10);
    let events = [told(&world), told(&world)];
    assert!(events.contains(&ended(1, PlayEnd::Finished)), "{events:?}");
    let failed =
        Event::Heard { leg: LEG, listening: LISTENING, heard: Heard::Failed("it is too slow".into()) };
    assert!(events.contains(&failed), "{events:?}");
}
