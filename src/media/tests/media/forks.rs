//! Copies for a recorder of somebody else's: what a leg says and is told, as streams of their own.

use model::{
    LegId, PlayId,
    media::{Codec, Direction, Event, Forked, Order, PlayEnd, Side},
};
use rtp::{
    codec::{Encoder, PAYLOAD_MAX},
    g711::Law,
};

use crate::peer::{Phone, World, best_correlation, correlation, decoded, library, numbers, sound};

/// A leg that only sends, as to a recorder.
fn recorder(world: &World, leg: u64, codec: Codec) -> Phone {
    world.phone_with(1, leg, codec, |parameters| {
        parameters.direction = Direction::SendOnly;
        (parameters.send_telephone_event, parameters.receive_telephone_event) = (None, None);
    })
}

fn fork(world: &World, recorder: u64, of: Option<(u64, Side)>) {
    let of = of.map(|(leg, side)| Forked { leg: LegId(leg), side });
    world.order(1, Order::Fork { leg: LegId(recorder), of });
    world.settle(1);
}

fn say(phone: &mut Phone, samples: &[i16]) {
    let law = Law::from(phone.parameters.codec);
    for frame in samples.chunks_exact(160) {
        let payload: Vec<u8> = frame.iter().map(|sample| law.encode(*sample)).collect();
        phone.say(&payload);
    }
}

#[test]
fn a_recorder_gets_both_sides_in_streams_of_its_own_and_the_call_is_as_it_was() {
    let world = World::new();
    let (mut a, mut b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcma));
    let (says, hears) = (recorder(&world, 3, Codec::Pcmu), recorder(&world, 4, Codec::Pcma));
    world.bridge(1, 1, 2);
    fork(&world, 3, Some((1, Side::Received)));
    fork(&world, 4, Some((1, Side::Sent)));
    let (first, second) = (sound(8_000, 0.4, 1.0), sound(8_000, 0.4, 2.0));
    say(&mut a, &first);
    say(&mut b, &second);
    let [at_b, at_a] = [b.hear_many(20), a.hear_many(20)];
    let [copied, told] = [says.hear_many(20), hears.hear_many(20)];
    for (who, codec, packets, wanted) in [
        ("b", Codec::Pcma, &at_b, &first),
        ("a", Codec::Pcmu, &at_a, &second),
        ("what a says", Codec::Pcmu, &copied, &first),
        ("what a hears", Codec::Pcma, &told, &second),
    ] {
        let alike = correlation(&decoded(codec, packets), wanted);
        assert!(alike > 0.99, "{who}: {alike}");
        let wanted: Vec<_> = (0..20u16).map(|place| (place, u32::from(place) * 160)).collect();
        let told: Vec<_> = numbers(packets).into_iter().map(|(place, at, _)| (place, at)).collect();
        assert_eq!(told, wanted, "{who}");
        assert!(packets.iter().all(|(header, _)| header.payload_type == codec.payload_type()));
    }
    let sources = [&at_a, &at_b, &copied, &told].map(|packets| packets[0].0.ssrc);
    assert!((0..4).all(|place| !sources[..place].contains(&sources[place])), "{sources:?}");
}

#[test]
fn keys_are_not_copied_and_nothing_is_once_it_is_over() {
    let world = World::new();
    let (mut a, b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu));
    let says = recorder(&world, 3, Codec::Pcmu);
    world.bridge(1, 1, 2);
    fork(&world, 3, Some((1, Side::Received)));
    let sound = sound(8_000, 0.1, 1.0);
    say(&mut a, &sound);
    for duration in [160_u16, 320, 480] {
        let [high, low] = duration.to_be_bytes();
        a.press(77, [5, 10, high, low]);
    }
    assert_eq!(world.event(), Event::Dtmf { leg: LegId(1), digit: '5' });
    fork(&world, 3, None);
    say(&mut a, &sound);
    b.hear_many(13);
    let heard = says.hear_many(5);
    assert!(correlation(&decoded(Codec::Pcmu, &heard), &sound) > 0.99);
    assert!(says.is_quiet());
    // The recorder goes, and the call with its own ports stays.
    fork(&world, 3, Some((1, Side::Received)));
    world.release(1, 3);
    say(&mut a, &sound);
    b.hear_many(5);
}

#[test]
fn a_prompt_is_copied_as_it_is_played() {
    let world = World::new();
    world.server.set_library(library(&[(1, 0.4)]));
    let a = world.phone(1, 1, Codec::Pcmu);
    let hears = recorder(&world, 3, Codec::Pcmu);
    fork(&world, 3, Some((1, Side::Sent)));
    world.play(1, 1, 5, &[1], Some(1));
    assert_eq!(world.event(), Event::PlayEnded { leg: LegId(1), play: PlayId(5), how: PlayEnd::Finished });
    let wanted = sound(8_000, 0.4, 1.0);
    for (who, phone) in [("the caller", &a), ("the recorder", &hears)] {
        let alike = correlation(&decoded(Codec::Pcmu, &phone.hear_many(20)), &wanted);
        assert!(alike > 0.99, "{who}: {alike}");
    }
}

#[test]
fn a_recorder_of_another_codec_gets_what_was_decoded() {
    let world = World::new();
    let mut a = world.phone(1, 1, Codec::G722);
    let says = recorder(&world, 3, Codec::Pcmu);
    fork(&world, 3, Some((1, Side::Received)));
    let mut encoder = Encoder::with_rate(Codec::G722, &Default::default(), 16_000).unwrap();
    for frame in sound(16_000, 0.6, 1.0).chunks_exact(320) {
        let mut payload = [0; PAYLOAD_MAX];
        let length = encoder.encode(frame, &mut payload).unwrap();
        a.say(&payload[..length]);
    }
    let heard = decoded(Codec::Pcmu, &says.hear_many(30));
    let alike = best_correlation(&heard, &sound(8_000, 0.4, 1.0));
    assert!(alike > 0.95, "{alike}");
}
