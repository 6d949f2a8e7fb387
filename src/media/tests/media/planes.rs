//! The two planes: what is relayed, what is decoded, and that nobody hears a leg change between them.

use std::time::{Duration, Instant};

use model::{
    LegId,
    media::{Codec, Event, Hearing, Order, Source},
};
use rtp::{
    codec::{Decoder, Encoder, PAYLOAD_MAX, SAMPLES_MAX},
    packet::Header,
};

use crate::peer::{Phone, World, best_correlation, sound, sound_from};

const FRAME: Duration = Duration::from_millis(20);

/// A telephone with an encoder and a decoder of 8 kHz, or of 16 kHz for G.722.
struct Talker {
    phone: Phone,
    encoder: Encoder,
    rate: u32,
    said_until: Option<Instant>,
}

impl Talker {
    fn new(world: &World, leg: u64, codec: Codec) -> Self {
        let rate = if codec == Codec::G722 { 16_000 } else { 8_000 };
        let phone = world.phone(1, leg, codec);
        Self {
            encoder: Encoder::with_rate(codec, &Default::default(), rate).unwrap(),
            phone,
            rate,
            said_until: None,
        }
    }

    /// A telephone's clock goes on while it says nothing.
    fn breathe(&mut self) {
        let pause = self.said_until.map_or(Duration::ZERO, |until| until.elapsed());
        let ticks = pause.as_micros() as u32 / 1_000 * (self.phone.parameters.codec.clock_rate() / 1_000);
        self.phone.header.timestamp = self.phone.header.timestamp.wrapping_add(ticks);
    }

    fn say(&mut self, pcm: &[i16]) {
        let mut payload = [0; PAYLOAD_MAX];
        let length = self.encoder.encode(pcm, &mut payload).unwrap();
        let ticks = self.phone.parameters.codec.clock_rate() / 50;
        let header = self.phone.header;
        self.phone.header.sequence = header.sequence.wrapping_add(1);
        self.phone.header.timestamp = header.timestamp.wrapping_add(ticks);
        self.phone.send(header, &payload[..length]);
        self.said_until = Some(Instant::now() + FRAME);
    }

    /// What it has heard so far, each packet where its time-stamp says, holes as silence; and the holes in ms.
    fn heard(&self) -> (Vec<i16>, u32) {
        let codec = self.phone.parameters.codec;
        let packets = self.phone.collect();
        let mut decoder = Decoder::with_rate(codec, self.rate).unwrap();
        let Some(first) = packets.first().map(|(header, _)| *header) else { return (Vec::new(), 0) };
        let (mut pcm, mut holes) = (Vec::new(), 0);
        for (header, payload) in &packets {
            assert_eq!(header.ssrc, first.ssrc);
            let ticks = header.timestamp.wrapping_sub(first.timestamp);
            let place = (u64::from(ticks) * u64::from(self.rate) / u64::from(codec.clock_rate())) as usize;
            let mut frame = [0; SAMPLES_MAX];
            let length = decoder.decode(payload, &mut frame).unwrap();
            if place > pcm.len() {
                holes += (place - pcm.len()) as u32 * 1_000 / self.rate;
            }
            if pcm.len() < place + length {
                pcm.resize(place + length, 0);
            }
            pcm[place..place + length].copy_from_slice(&frame[..length]);
        }
        (pcm, holes)
    }
}

/// A second of somebody's voice, which is like nobody else's: noise below 1 kHz.
fn noise(seed: u64) -> Vec<i16> {
    let (mut state, mut smooth) = (seed, [0.0f64; 3]);
    let mut sample = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut value = (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0;
        for stage in &mut smooth {
            *stage += 0.3 * (value - *stage);
            value = *stage;
        }
        (value * 20_000.0) as i16
    };
    (0..8_000).map(|_| sample()).collect()
}

/// All speak at once, in real time; `between` is called before each frame.
fn speak(talkers: &mut [&mut Talker], sounds: &[Vec<i16>], mut between: impl FnMut(usize)) {
    talkers.iter_mut().for_each(|talker| talker.breathe());
    let begun = Instant::now();
    let frames = sounds[0].len() / (talkers[0].rate as usize / 50);
    for place in 0..frames {
        between(place);
        for (talker, sound) in talkers.iter_mut().zip(sounds) {
            let length = talker.rate as usize / 50;
            talker.say(&sound[place * length..][..length]);
        }
        let next = begun + FRAME * (place as u32 + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // What is still under way.
    std::thread::sleep(Duration::from_millis(150));
}

fn numbers_follow(packets: &[(Header, Vec<u8>)]) -> bool {
    packets.windows(2).all(|pair| pair[1].0.sequence == pair[0].0.sequence.wrapping_add(1))
}

fn hearing(leg: u64, from: &[(u64, i8)]) -> Hearing {
    let source = |&(leg, gain_db): &(u64, i8)| Source { leg: LegId(leg), gain_db };
    Hearing { leg: LegId(leg), sources: from.iter().map(source).collect() }
}

/// Milliseconds of `said` that are not found in `heard` at any one place, by windows of 100 ms.
fn missing_ms(heard: &[i16], said: &[i16], rate: u32) -> usize {
    let window = rate as usize / 10;
    let lost = said.chunks_exact(window).filter(|part| best_correlation(heard, part) < 0.9);
    lost.count() * 100
}

/// How much of half a second of a sound is heard. Filters of codecs and rates shift it by parts of a sample, which a correlation
/// at 8 kHz would take for another sound.
fn likeness(heard: &[i16], rate: u32, seed: f64) -> f64 {
    let shifts = [0.0, 0.25, 0.5, 0.75].map(|later| {
        let said = sound_from(rate, 1.0, seed, later);
        best_correlation(heard, &said[rate as usize / 5..][..rate as usize / 2])
    });
    shifts.into_iter().fold(0.0, f64::max)
}

#[test]
fn every_pair_of_codecs_understands_each_other() {
    for (first, second) in [
        (Codec::Pcmu, Codec::G722),
        (Codec::G722, Codec::Pcma),
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, Codec::Opus),
        (Codec::G722, Codec::G722),
    ] {
        let world = World::new();
        let (mut a, mut b) = (Talker::new(&world, 1, first), Talker::new(&world, 2, second));
        world.bridge(1, 1, 2);
        world.settle(1);
        let said = sound(a.rate, 1.0, 1.0);
        speak(&mut [&mut a], &[said], |_| ());
        let (heard, _) = b.heard();
        let alike = likeness(&heard, b.rate, 1.0);
        assert!(alike > 0.9, "{first:?} to {second:?}: {alike}");
        let said = sound(b.rate, 1.0, 2.0);
        speak(&mut [&mut b], &[said], |_| ());
        let (heard, _) = a.heard();
        let alike = likeness(&heard, a.rate, 2.0);
        assert!(alike > 0.9, "{second:?} to {first:?}: {alike}");
    }
}

#[test]
fn nobody_hears_a_call_change_planes() {
    let world = World::new();
    let (mut a, b) = (Talker::new(&world, 1, Codec::Pcmu), Talker::new(&world, 2, Codec::Pcma));
    let _c = Talker::new(&world, 3, Codec::Pcmu);
    world.bridge(1, 1, 2);
    world.settle(1);
    let said = sound(8_000, 3.0, 1.0);
    speak(&mut [&mut a], std::slice::from_ref(&said), |place| match place {
        // A third party comes, is gone, comes again, is gone.
        40 | 100 => {
            let all = vec![
                hearing(1, &[(2, 0), (3, 0)]),
                hearing(2, &[(1, 0), (3, 0)]),
                hearing(3, &[(1, 0), (2, 0)]),
            ];
            world.order(1, Order::Mix(all));
        }
        70 => world.order(1, Order::Mix(vec![hearing(1, &[(2, 0)]), hearing(2, &[(1, 0)])])),
        130 => world.bridge(1, 1, 2),
        _ => {}
    });
    let packets = b.phone.peek();
    assert!(numbers_follow(&packets));
    let (heard, holes) = b.heard();
    let (missing, length) = (missing_ms(&heard, &said, 8_000), heard.len() / 8);
    assert!(missing <= 100 && holes <= 60, "{missing} ms missing, holes of {holes} ms, {length} ms heard");
    assert!((2_950..=3_150).contains(&length), "{length} ms heard");
}

#[test]
fn in_a_conference_each_hears_the_others_and_not_themselves() {
    let world = World::new();
    let codecs = [Codec::Pcmu, Codec::Opus, Codec::Pcma];
    let mut parties: Vec<Talker> =
        (1..).zip(codecs).map(|(leg, codec)| Talker::new(&world, leg, codec)).collect();
    let all =
        vec![hearing(1, &[(2, 0), (3, 0)]), hearing(2, &[(1, 0), (3, 0)]), hearing(3, &[(1, 0), (2, 0)])];
    world.order(1, Order::Mix(all));
    world.settle(1);
    let sounds: Vec<Vec<i16>> = [1, 2, 3].map(noise).into();
    speak(&mut parties.iter_mut().collect::<Vec<_>>(), &sounds, |_| ());
    for (place, party) in parties.iter().enumerate() {
        let (heard, _) = party.heard();
        for (other, said) in sounds.iter().enumerate() {
            let alike = best_correlation(&heard, &said[2_000..6_000]);
            // Of two equal voices each is some 0.7 of the whole.
            assert_eq!(alike > 0.4, place != other, "{place} hears {other}: {alike}");
        }
    }
}

#[test]
fn a_supervisor_listens_whispers_and_is_heard_by_whom_it_may() {
    let world = World::new();
    let mut parties: Vec<Talker> = (1..=3).map(|leg| Talker::new(&world, leg, Codec::Pcmu)).collect();
    // The contact (1) hears the agent (2); the supervisor (3) hears both and whispers to the agent, 6 dB down.
    let all = vec![hearing(1, &[(2, 0)]), hearing(2, &[(1, 0), (3, -6)]), hearing(3, &[(1, 0), (2, 0)])];
    world.order(1, Order::Mix(all));
    world.settle(1);
    let sounds: Vec<Vec<i16>> = [1, 2, 3].map(noise).into();
    speak(&mut parties.iter_mut().collect::<Vec<_>>(), &sounds, |_| ());
    let alike: Vec<Vec<f64>> = parties
        .iter()
        .map(|party| {
            let (heard, _) = party.heard();
            sounds.iter().map(|said| best_correlation(&heard, &said[2_000..6_000])).collect()
        })
        .collect();
    assert!(alike[0][1] > 0.98 && alike[0][2] < 0.3, "the contact hears the agent alone: {alike:?}");
    assert!(alike[1][0] > 0.8 && (0.3..0.6).contains(&alike[1][2]), "the agent hears a whisper: {alike:?}");
    assert!(alike[2][0] > 0.5 && alike[2][1] > 0.5 && alike[2][2] < 0.3, "the supervisor: {alike:?}");
}

#[test]
fn who_is_muted_is_heard_by_nobody_but_their_keys_are() {
    for codec in [Codec::Pcma, Codec::Opus] {
        let world = World::new();
        let (mut a, b) = (Talker::new(&world, 1, Codec::Pcmu), Talker::new(&world, 2, codec));
        world.bridge(1, 1, 2);
        world.order(1, Order::Mute { leg: LegId(1), muted: true });
        world.settle(1);
        let said = sound(8_000, 0.6, 1.0);
        speak(&mut [&mut a], std::slice::from_ref(&said), |_| ());
        let begin = a.phone.header.timestamp;
        a.phone.press(begin, rtp::dtmf::Payload { code: 5, end: true, volume: 10, duration: 800 }.to_bytes());
        assert_eq!(world.event(), Event::Dtmf { leg: LegId(1), digit: '5' });
        let packets = b.phone.peek();
        let event = packets.iter().find(|(header, _)| header.payload_type == 101);
        let duration = event.map(|(_, payload)| rtp::dtmf::Payload::parse(payload).unwrap().duration);
        assert_eq!(duration, Some((800 * codec.clock_rate() / 8_000) as u16), "in the other side's clock");
        b.phone.forget(101);
        let (heard, _) = b.heard();
        let loudest = heard.iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest < Some(200), "{codec:?} {loudest:?}");
        world.order(1, Order::Mute { leg: LegId(1), muted: false });
        world.settle(1);
        speak(&mut [&mut a], std::slice::from_ref(&said), |_| ());
        let (heard, _) = b.heard();
        let alike = best_correlation(&heard, &said[1_600..3_200]);
        assert!(alike > 0.9, "{codec:?} {alike} of {}", heard.len());
    }
}

#[test]
fn a_prompt_is_heard_in_every_codec() {
    for codec in [Codec::G722, Codec::Opus] {
        let world = World::new();
        world.server.set_library(crate::peer::library(&[(1, 0.6)]));
        let phone = Talker::new(&world, 1, codec);
        world.play(1, 1, 5, &[1], Some(1));
        assert!(matches!(world.event(), Event::PlayEnded { .. }));
        let (heard, _) = phone.heard();
        let part = phone.rate as usize / 10;
        let alike = best_correlation(&heard, &sound(phone.rate, 0.6, 1.0)[2 * part..4 * part]);
        assert!(alike > 0.9, "{codec:?} {alike}");
    }
}

#[test]
fn keys_in_the_sound_are_heard_where_no_events_were_agreed_on() {
    for codec in [Codec::Pcma, Codec::G722] {
        let world = World::new();
        let phone = world.phone_with(1, 1, codec, |it| it.receive_telephone_event = None);
        let rate = codec.sample_rate();
        let encoder = Encoder::new(codec, &Default::default()).unwrap();
        let mut talker = Talker { phone, encoder, rate, said_until: None };
        let mut said = Vec::new();
        for key in [1, 11, 5, 5] {
            let mut tone = vec![0; rate as usize / 10];
            rtp::dtmf::Tone::with_rate(key, rate).unwrap().fill(&mut tone);
            said.extend(tone);
            said.resize(said.len() + rate as usize / 10, 0);
        }
        speak(&mut [&mut talker], &[said], |_| ());
        for digit in ['1', '#', '5', '5'] {
            assert_eq!(world.event(), Event::Dtmf { leg: LegId(1), digit });
        }
    }
}
