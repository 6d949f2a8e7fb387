use std::{f64::consts::TAU, time::Duration};

use model::media::{Codec, OpusParameters};
use proptest::prelude::*;

use super::*;
use crate::{
    codec::{self, Encoder},
    tests::some_instant,
};

/// A packet as it comes: when (µs), its header, what it holds.
struct Arriving {
    at: u64,
    header: Header,
    content: Content,
    payload: Vec<u8>,
}

struct Random(u64);

impl Random {
    /// In 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A voice with a tone that tells the time: its phase never repeats within the test.
fn voice(rate: u32, length: usize) -> Vec<i16> {
    let mut phase = 0.0;
    let sample = |at: usize| {
        let seconds = at as f64 / f64::from(rate);
        phase += TAU * (150.0 + 50.0 * (TAU * 0.7 * seconds).sin()) / f64::from(rate);
        let loudness = 1.1 + (TAU * 1.9 * seconds).sin();
        (1..=6).map(|k| 2_500.0 * loudness / f64::from(k) * (f64::from(k) * phase).sin()).sum::<f64>() as i16
    };
    (0..length).map(sample).collect()
}

/// So many packets of 20 ms, each as late as `delay_ms` says; `None` is lost.
fn stream(codec: Codec, count: usize, mut delay_ms: impl FnMut(usize) -> Option<f64>) -> Vec<Arriving> {
    let parameters = OpusParameters { in_band_fec: true, ..OpusParameters::default() };
    let mut encoder = Encoder::new(codec, &parameters).unwrap();
    encoder.expect_loss(20);
    let frame = encoder.frame(20);
    let sound = voice(encoder.sample_rate(), count * frame);
    let mut packets = Vec::new();
    for (place, frame) in sound.chunks(frame).enumerate() {
        let mut payload = vec![0; codec::PAYLOAD_MAX];
        let length = encoder.encode(frame, &mut payload).unwrap();
        payload.truncate(length);
        let duration = codec::duration(codec, &payload).unwrap();
        let Some(delay) = delay_ms(place) else { continue };
        let header = Header {
            sequence: (65_000 + place) as u16,
            timestamp: (u32::MAX - 5_000).wrapping_add(place as u32 * duration),
            ssrc: 7,
            ..Header::default()
        };
        packets.push(Arriving {
            at: place as u64 * 20_000 + (delay * 1_000.0) as u64,
            header,
            content: Content::Sound(duration),
            payload,
        });
    }
    packets.sort_by_key(|packet| packet.at);
    packets
}

struct Played {
    sound: Vec<i16>,
    kinds: Vec<Pulled>,
    playout: Playout,
    delay_ms: Vec<u32>,
}

/// Plays what comes for so long, pulling every 20 ms.
fn play(codec: Codec, packets: &[Arriving], milliseconds: u64) -> Played {
    let start = some_instant();
    let mut decoder = codec::Decoder::new(codec).unwrap();
    let mut playout = Playout::new(codec.clock_rate(), 20, 200);
    let mut out = vec![0; decoder.frame(20)];
    let (mut sound, mut kinds, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    let mut coming = packets.iter().peekable();
    for tick in 0..milliseconds / 20 {
        // The reader's clock stands where it likes against the sender's.
        let now = tick * 20_000 + 3_000;
        while let Some(packet) = coming.next_if(|packet| packet.at <= now) {
            let at = start + Duration::from_micros(packet.at);
            playout.push(at, &packet.header, packet.content, &packet.payload);
        }
        let now = start + Duration::from_micros(now);
        kinds.push(playout.pull(now, &mut decoder, &mut out));
        sound.extend_from_slice(&out);
        delays.push(playout.delay_ms().unwrap_or(0));
    }
    Played { sound, kinds, playout, delay_ms: delays }
}

/// Best cosine of a piece of what was sent with what was played up to 400 ms later.
fn likeness(sent: &[i16], played: &[i16]) -> f64 {
    let cosine = |delay: usize| {
        let (mut product, mut one, mut other) = (0.0, 1.0, 1.0);
        for (&a, &b) in sent.iter().zip(&played[delay..delay + sent.len()]) {
            let (a, b) = (f64::from(a), f64::from(b));
            product += a * b;
            one += a * a;
            other += b * b;
        }
        product / (one * other).sqrt()
    };
    (0..played.len() - sent.len()).map(cosine).fold(-1.0, f64::max)
}

/// What is decoded where nothing is lost.
fn without_a_network(codec: Codec, count: usize) -> Vec<i16> {
    let mut decoder = codec::Decoder::new(codec).unwrap();
    let mut out = vec![0; decoder.frame(20)];
    let mut decode = |packet: &Arriving| {
        decoder.decode(&packet.payload, &mut out).unwrap();
        out.clone()
    };
    stream(codec, count, |_| Some(0.0)).iter().flat_map(&mut decode).collect()
}

/// Of pieces of 100 ms, the share that is heard as it was said.
fn heard(sent: &[i16], played: &[i16], rate: usize) -> f64 {
    let piece = rate / 10;
    let pieces: Vec<_> =
        (0..sent.len() / piece).map(|at| at * piece).filter(|at| at + 5 * piece < played.len()).collect();
    let right = pieces
        .iter()
        .filter(|&&at| likeness(&sent[at..at + piece], &played[at..at + 5 * piece]) > 0.9)
        .count();
    right as f64 / pieces.len() as f64
}

#[test]
fn an_even_stream_is_played_whole_with_the_least_delay() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        let Played { kinds, playout, delay_ms, .. } = play(codec, &stream(codec, 250, |_| Some(0.0)), 4_900);
        let counts = playout.counts();
        assert_eq!((counts.late, counts.lost, counts.concealed_us), (0, 0, 0), "{codec:?} {counts:?}");
        assert_eq!((counts.shortened_us, counts.lengthened_us), (0, 0), "{codec:?}");
        assert!(kinds[3..].iter().all(|&kind| kind == Pulled::Sound), "{codec:?}");
        assert_eq!(playout.target_ms(), 20);
        assert!(delay_ms[3..].iter().all(|delay| (8..=32).contains(delay)), "{codec:?} {delay_ms:?}");
    }
}

#[test]
fn a_jittered_and_lossy_stream_is_understood() {
    for codec in [Codec::Pcma, Codec::Opus] {
        let mut random = Random(42);
        let mut lost = 0;
        let packets = stream(codec, 1_500, |_| {
            let jitter = -15.0 * (1.0 - random.next()).ln();
            let gone = random.next() < 0.02;
            lost += usize::from(gone);
            (!gone).then_some(jitter.min(90.0))
        });
        let Played { sound, playout, delay_ms, .. } = play(codec, &packets, 30_000);
        let counts = playout.counts();
        let rate = codec::sample_rate(codec) as usize;
        let concealed = counts.concealed_us as f64 / counts.played_us as f64;
        // 2 % were lost, and 2 % may come late; jitter of 15 ms in the mean has its 98th percentile at 59 ms.
        assert!(concealed < 0.07, "{codec:?}: {:.1} % concealed, {counts:?}", concealed * 100.0);
        assert!(counts.late < 60, "{codec:?} {counts:?}");
        assert!((counts.lost as usize).abs_diff(lost) <= 60, "{codec:?}: {lost} {counts:?}");
        let mean = delay_ms[100..].iter().sum::<u32>() as f64 / (delay_ms.len() - 100) as f64;
        assert!((40.0..95.0).contains(&mean), "{codec:?}: {mean} ms");
        let right = heard(&without_a_network(codec, 1_500), &sound, rate);
        assert!(right > 0.8, "{codec:?}: {:.0} % understood", right * 100.0);
        assert!(codec != Codec::Opus || counts.recovered > 10, "{counts:?}");
    }
}

#[test]
fn the_delay_grows_with_the_jitter_and_goes_back_with_it() {
    let jitter =
        |place: usize| Some(if (200..500).contains(&place) { (place % 7) as f64 * 15.0 } else { 0.0 });
    let Played { playout, delay_ms, .. } = play(Codec::Pcmu, &stream(Codec::Pcmu, 1_500, jitter), 29_000);
    let mean =
        |range: std::ops::Range<usize>| delay_ms[range.clone()].iter().sum::<u32>() / range.len() as u32;
    let (calm, rough, after) = (mean(50..190), mean(350..490), mean(1_300..1_440));
    assert!(calm < 35, "{calm}");
    assert!((75..130).contains(&rough), "{rough}");
    assert!(after < 40, "{after}");
    let counts = playout.counts();
    assert!(counts.concealed_us < 400_000, "{counts:?}");
    assert!(counts.shortened_us > 30_000, "{counts:?}");
}

#[test]
fn a_stall_is_caught_up_with() {
    // What was sent in 160 ms comes at once.
    let stall =
        |place: usize| Some(if (300..308).contains(&place) { (308 - place) as f64 * 20.0 } else { 0.0 });
    let Played { playout, delay_ms, sound, .. } = play(Codec::Pcmu, &stream(Codec::Pcmu, 900, stall), 17_800);
    let counts = playout.counts();
    assert_eq!(counts.received, 890, "{counts:?}");
    assert!(counts.concealed_us <= 200_000 && counts.late <= 2, "{counts:?}");
    assert!(delay_ms[850] < 45, "{}", delay_ms[850]);
    assert!(heard(&voice(8_000, 17 * 8_000), &sound, 8_000) > 0.9);
}

#[test]
fn a_pause_with_comfort_noise_is_no_loss() {
    let mut packets = stream(Codec::Pcmu, 500, |place| (!(100..300).contains(&place)).then_some(0.0));
    // A sender that pauses sends no packets, and numbers go on without a gap.
    for packet in &mut packets[100..] {
        packet.header.sequence = packet.header.sequence.wrapping_sub(199);
    }
    let header = Header {
        sequence: 65_100,
        timestamp: packets[99].header.timestamp.wrapping_add(160),
        ssrc: 7,
        ..Header::default()
    };
    packets.insert(
        100,
        Arriving { at: 2_000_000, header, content: Content::Noise(Noise::white(40)), payload: vec![40] },
    );
    let Played { kinds, playout, sound, .. } = play(Codec::Pcmu, &packets, 9_800);
    let counts = playout.counts();
    assert_eq!((counts.lost, counts.late), (0, 0), "{counts:?}");
    assert!(counts.concealed_us <= 20_000, "{counts:?}");
    let pauses = kinds.iter().filter(|&&kind| kind == Pulled::Pause).count();
    assert!((195..205).contains(&pauses), "{pauses}");
    assert!((38..=42).contains(&crate::level::level(&sound[150 * 160..250 * 160])));
}

#[test]
fn a_pause_without_a_word_is_no_loss_either() {
    let mut packets = stream(Codec::Pcmu, 500, |place| (!(100..300).contains(&place)).then_some(0.0));
    for packet in &mut packets[100..] {
        packet.header.sequence = packet.header.sequence.wrapping_sub(200);
    }
    let Played { playout, sound, delay_ms, .. } = play(Codec::Pcmu, &packets, 9_800);
    assert_eq!((playout.counts().lost, playout.counts().late), (0, 0), "{:?}", playout.counts());
    assert!(crate::level::level(&sound[150 * 160..250 * 160]) == 127);
    assert!(delay_ms[400] < 35);
}

#[test]
fn order_and_duplicates_are_put_right() {
    let mut packets = stream(Codec::Pcmu, 200, |place| Some(if place % 5 == 3 { 30.0 } else { 0.0 }));
    let doubled: Vec<_> = packets
        .iter()
        .map(|p| Arriving { at: p.at, header: p.header, content: p.content, payload: p.payload.clone() })
        .collect();
    packets.extend(doubled);
    packets.sort_by_key(|packet| packet.at);
    let Played { playout, .. } = play(Codec::Pcmu, &packets, 3_900);
    let counts = playout.counts();
    assert!(counts.lost <= 3 && counts.received <= 200, "{counts:?}");
}

#[test]
fn another_source_or_clock_begins_anew() {
    let now = some_instant();
    let mut playout = Playout::new(8_000, 20, 200);
    let header = |ssrc, sequence, timestamp| Header { ssrc, sequence, timestamp, ..Header::default() };
    let mut push = |header: Header| playout.push(now, &header, Content::Sound(160), &[0xff; 160]);
    assert_eq!(push(header(1, 1, 0)), Pushed::Kept);
    assert_eq!(push(header(1, 1, 0)), Pushed::Ignored);
    assert_eq!(push(header(1, 2, 5_000_000)), Pushed::Restarted);
    assert_eq!(push(header(2, 900, 100)), Pushed::Restarted);
    assert_eq!(push(header(2, 901, 260)), Pushed::Kept);
    assert_eq!(playout.waiting(), 2);
    assert_eq!(playout.push(now, &header(2, 902, 420), Content::Sound(0), &[]), Pushed::Ignored);
    assert_eq!(playout.push(now, &header(2, 902, 420), Content::Sound(9_000), &[]), Pushed::Ignored);
    (902..1_100).for_each(|place| {
        _ = playout.push(now, &header(2, place, u32::from(place) * 160), Content::Sound(160), &[0; 160])
    });
    assert!(playout.waiting() <= PACKETS_MAX && playout.counts().early > 0);
}

#[test]
fn before_the_first_packet_there_is_silence() {
    let mut out = [7; 160];
    let mut decoder = codec::Decoder::new(Codec::Pcmu).unwrap();
    assert_eq!(Playout::new(8_000, 20, 200).pull(some_instant(), &mut decoder, &mut out), Pulled::Nothing);
    assert_eq!(out, [0; 160]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_packets_at_any_time_are_taken(
        steps in prop::collection::vec((0u64..300, any::<u16>(), any::<u32>(), 0u32..7_000, 0usize..30, any::<u8>()), 0..80),
        opus: bool,
    ) {
        let codec = if opus { Codec::Opus } else { Codec::Pcma };
        let mut decoder = codec::Decoder::new(codec).unwrap();
        let mut playout = Playout::new(codec.clock_rate(), 20, 200);
        let mut now = some_instant();
        for (wait, sequence, timestamp, duration, length, kind) in steps {
            now += Duration::from_millis(wait);
            let header = Header { ssrc: u32::from(kind / 250), sequence: sequence % 40, timestamp: timestamp % 50_000, ..Header::default() };
            let content = if kind % 5 == 0 { Content::Noise(Noise::white(kind)) } else { Content::Sound(duration) };
            playout.push(now, &header, content, &vec![kind; length]);
            let mut out = vec![0; usize::from(kind) * 20];
            playout.pull(now, &mut decoder, &mut out);
            prop_assert!(playout.waiting() <= PACKETS_MAX && playout.target_ms() <= 200);
        }
    }
}
