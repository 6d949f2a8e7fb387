use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

const DECODED: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

/// A voice whose pitch and loudness wander, so that no frame is like the one before.
fn voice(rate: u32, length: usize) -> Vec<i16> {
    let mut phase = 0.0;
    let sample = |at: usize| {
        let seconds = at as f64 / f64::from(rate);
        phase += TAU * (130.0 + 40.0 * (TAU * 1.3 * seconds).sin()) / f64::from(rate);
        let loudness = 1.2 + (TAU * 2.1 * seconds).sin();
        (1..=12).map(|k| 2_500.0 * loudness / f64::from(k) * (f64::from(k) * phase).sin()).sum::<f64>() as i16
    };
    (0..length).map(sample).collect()
}

fn encoder(codec: Codec) -> Encoder {
    Encoder::new(codec, &OpusParameters::default()).unwrap()
}

/// Payloads of so many milliseconds each.
fn coded(encoder: &mut Encoder, sound: &[i16], ms: u16) -> Vec<Vec<u8>> {
    let frame = encoder.frame(ms);
    let mut coded = |frame: &[i16]| {
        let mut out = [0; PAYLOAD_MAX];
        let length = encoder.encode(frame, &mut out).unwrap();
        out[..length].to_vec()
    };
    sound.chunks_exact(frame).map(&mut coded).collect()
}

fn decoded(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut out = [0; SAMPLES_MAX];
    let mut decode = |payload: &Vec<u8>| {
        let length = decoder.decode(payload, &mut out).unwrap();
        out[..length].to_vec()
    };
    payloads.iter().flat_map(&mut decode).collect()
}

/// Cosine of two sounds, at the best delay of up to 30 ms, and that delay.
fn likeness(sent: &[i16], heard: &[i16], rate: u32) -> (f64, usize) {
    let most = rate as usize * 3 / 100;
    let cosine = |delay: usize| {
        let pairs = || sent.iter().zip(&heard[delay..]).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let product: f64 = pairs().map(|(a, b)| a * b).sum();
        let energy = |(one, other): (f64, f64), (a, b): (f64, f64)| (one + a * a, other + b * b);
        let (one, other) = pairs().fold((1.0, 1.0), energy);
        (product / (one * other).sqrt(), delay)
    };
    (0..most).map(cosine).fold((-1.0, 0), |best, next| if next.0 > best.0 { next } else { best })
}

#[test]
fn what_is_coded_is_heard() {
    for (codec, least) in
        [(Codec::Pcmu, 0.999), (Codec::Pcma, 0.999), (Codec::G722, 0.995), (Codec::Opus, 0.85)]
    {
        for ms in [10, 20, 40, 60] {
            let (mut encoder, mut decoder) = (encoder(codec), Decoder::new(codec).unwrap());
            let rate = encoder.sample_rate();
            assert_eq!((rate, decoder.sample_rate()), (sample_rate(codec), sample_rate(codec)));
            let sound = voice(rate, rate as usize);
            let heard = decoded(&mut decoder, &coded(&mut encoder, &sound, ms));
            let (found, delay) = likeness(&sound[..rate as usize / 2], &heard, rate);
            assert!(found > least, "{codec:?} {ms} ms: {found} at {delay}");
            assert!(delay <= rate as usize / 100, "{codec:?} {ms} ms: {delay}");
        }
    }
}

#[test]
fn payloads_last_as_long_as_they_say() {
    for codec in DECODED {
        for ptime in [10, 20, 30, 40, 50, 60] {
            let ms = packet_ms(codec, ptime);
            assert!(ms == ptime || codec == Codec::Opus && ms == ptime - 10, "{codec:?} {ptime}");
            let mut encoder = encoder(codec);
            let frame = vec![1_000; encoder.frame(ms)];
            let payload = &coded(&mut encoder, &frame, ms)[0];
            assert_eq!(
                duration(codec, payload),
                Some(u32::from(ms) * codec.clock_rate() / 1_000),
                "{codec:?} {ptime}"
            );
        }
    }
    assert_eq!((packet_ms(Codec::Pcmu, 0), packet_ms(Codec::Pcmu, 200)), (10, 60));
    for codec in DECODED {
        assert_eq!(duration(codec, &[]), None);
    }
    assert_eq!(duration(Codec::G729, &[0; 20]), Some(160));
    assert_eq!(duration(Codec::G729, &[0; 12]), Some(160), "a frame and comfort noise");
    assert_eq!(duration(Codec::G729, &[]), None);
    // 48 frames of 20 ms are more than a packet may hold.
    assert_eq!(duration(Codec::Opus, &[0x7b, 48]), None);
}

#[test]
fn what_cannot_be_is_refused() {
    let parameters = OpusParameters::default();
    assert_eq!(Encoder::new(Codec::G729, &parameters).unwrap_err(), CodecError::NotDecoded("G729"));
    assert_eq!(
        Decoder::new(Codec::G729).unwrap_err().to_string(),
        "G729 is passed on, never coded or decoded"
    );
    let rate = Encoder::with_rate(Codec::Opus, &parameters, 44_100).unwrap_err();
    assert_eq!(rate.to_string(), "opus cannot be had at 44100 Hz");
    assert!(Decoder::with_rate(Codec::Pcmu, 16_000).is_err());
    let mut out = [0; 100];
    let room = Err(CodecError::Room { needed: 160, given: 100 });
    assert_eq!(encoder(Codec::Pcmu).encode(&[0; 160], &mut out), room);
    assert_eq!(encoder(Codec::G722).encode(&[0; 320], &mut out), room);
    let frame = |codec, samples| Err(CodecError::Frame { codec, samples, sample_rate: 16_000 });
    assert_eq!(encoder(Codec::G722).encode(&[0; 161], &mut out), frame("G722", 161));
    assert_eq!(encoder(Codec::Opus).encode(&[0; 480], &mut out), frame("opus", 480));
    assert!(matches!(encoder(Codec::Opus).encode(&[0; 320], &mut []), Err(CodecError::Room { .. })));
    let mut out = [0; 100];
    let mut opus = Decoder::new(Codec::Opus).unwrap();
    assert_eq!(opus.decode(&[], &mut out), Err(CodecError::Payload { codec: "opus", octets: 0 }));
    assert_eq!(opus.decode(&[0x0b, 1, 2], &mut out), Err(CodecError::Room { needed: 320, given: 100 }));
    assert!(matches!(
        Decoder::new(Codec::G722).unwrap().decode(&[0; 51], &mut out),
        Err(CodecError::Room { .. })
    ));
}

#[test]
fn a_frame_that_is_lost_is_told_by_the_next_one() {
    let parameters = OpusParameters { in_band_fec: true, ..OpusParameters::default() };
    let sound = voice(16_000, 48_000);
    let mut encoder = Encoder::new(Codec::Opus, &parameters).unwrap();
    encoder.expect_loss(20);
    let payloads = coded(&mut encoder, &sound, 20);
    let whole = decoded(&mut Decoder::new(Codec::Opus).unwrap(), &payloads);
    let (mut recovered, mut concealed) = (0.0, 0.0);
    for lost in (20..140).step_by(7) {
        let right = &whole[320 * lost..320 * (lost + 1)];
        let with = |correct: bool| {
            let mut decoder = Decoder::new(Codec::Opus).unwrap();
            decoded(&mut decoder, &payloads[..lost]);
            let mut out = [0; 320];
            if correct {
                decoder.recover(&payloads[lost + 1], &mut out)
            } else {
                decoder.conceal(&mut out)
            }
            let error: f64 = right.iter().zip(out).map(|(&a, b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
            error / right.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>()
        };
        recovered += with(true);
        concealed += with(false);
    }
    assert!(recovered < 0.75 * concealed, "{recovered} {concealed}");
}

#[test]
fn losses_are_filled_by_every_codec() {
    for codec in DECODED {
        let (mut encoder, mut decoder) = (encoder(codec), Decoder::new(codec).unwrap());
        let frame = decoder.frame(20);
        let mut out = vec![7; frame];
        decoder.conceal(&mut out);
        assert!(out.iter().all(|&sample| sample == 0), "{codec:?}: nothing has been heard yet");
        let sound = voice(encoder.sample_rate(), 20 * frame);
        let payloads = coded(&mut encoder, &sound, 20);
        let heard = decoded(&mut decoder, &payloads);
        decoder.conceal(&mut out);
        let power = |sound: &[i16]| sound.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let ratio = power(&out) / power(&heard[heard.len() - frame..]);
        assert!((0.1..3.0).contains(&ratio), "{codec:?} {ratio}");
        // Long after, nothing is left but libopus's comfort noise.
        for _ in 0..100 {
            decoder.conceal(&mut out);
        }
        assert!(power(&out) < 0.05 * power(&heard[heard.len() - frame..]), "{codec:?}");
        assert_eq!(decoder.decode(&payloads[0], &mut out), Ok(frame), "{codec:?}");
    }
}

#[test]
fn silence_is_not_sent_where_the_peer_says_so() {
    let dtx = OpusParameters { dtx: true, ..OpusParameters::default() };
    let mut encoder = Encoder::new(Codec::Opus, &dtx).unwrap();
    let mut sound = voice(16_000, 16_000);
    sound.resize(64_000, 0);
    let sent: Vec<bool> = coded(&mut encoder, &sound, 20).iter().map(|payload| !payload.is_empty()).collect();
    let count = |range: std::ops::Range<usize>| sent[range].iter().filter(|&&sent| sent).count();
    assert_eq!(count(0..50), 50);
    assert!((1..20).contains(&count(100..200)), "{}", count(100..200));
    assert!(
        coded(&mut self::encoder(Codec::Opus), &[0; 64_000], 20).iter().all(|payload| !payload.is_empty())
    );
}

#[test]
fn a_peers_bit_rate_and_band_are_kept_to() {
    let octets = |parameters: OpusParameters| {
        let mut encoder = Encoder::new(Codec::Opus, &parameters).unwrap();
        let payloads = coded(&mut encoder, &voice(16_000, 80_000), 20);
        let narrow = payloads.iter().all(|payload| payload[0] >> 3 < 4);
        (payloads.iter().map(Vec::len).sum::<usize>() / 5, narrow)
    };
    let (usual, _) = octets(OpusParameters::default());
    let (less, _) = octets(OpusParameters { max_bitrate: Some(9_000), ..OpusParameters::default() });
    assert!((1_500..3_300).contains(&usual), "{usual}");
    assert!(less < 1_300, "{less}");
    // RFC 6716 table 2: configurations 0 to 3 are narrow band.
    assert!(octets(OpusParameters { max_playback_rate: 8_000, ..OpusParameters::default() }).1);
}

#[test]
fn opus_works_at_every_rate_asked_for() {
    for rate in [8_000, 12_000, 16_000, 24_000, 48_000] {
        let mut encoder = Encoder::with_rate(Codec::Opus, &OpusParameters::default(), rate).unwrap();
        let mut decoder = Decoder::with_rate(Codec::Opus, rate).unwrap();
        let sound = voice(rate, rate as usize);
        let heard = decoded(&mut decoder, &coded(&mut encoder, &sound, 20));
        let (found, _) = likeness(&sound[..rate as usize / 2], &heard, rate);
        assert!(found > 0.85, "{rate}: {found}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_payload_is_answered(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        for codec in DECODED {
            let mut decoder = Decoder::new(codec).unwrap();
            let mut out = [0; SAMPLES_MAX];
            for payload in &payloads {
                let said = duration(codec, payload);
                if let Ok(length) = decoder.decode(payload, &mut out) {
                    let ticks = length as u32 * codec.clock_rate() / sample_rate(codec);
                    prop_assert_eq!(said.unwrap_or(0), ticks);
                }
                decoder.recover(payload, &mut out[..333]);
                decoder.conceal(&mut out[..777]);
            }
        }
    }
}
