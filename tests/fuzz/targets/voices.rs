//! Payloads of every codec, out of order, with holes and comfort noise between: what is played out of them (RFC 3551, 3389, 6716).
#![no_main]

use std::time::Duration;

use fuzz::{datagrams, moment};
use libfuzzer_sys::fuzz_target;
use model::media::Codec;
use rtp::{
    codec::{Decoder, SAMPLES_MAX, duration, sample_rate},
    comfort_noise::{Generator, Noise, PAYLOAD_MAX},
    dtmf::Detector,
    packet::Header,
    playout::{Content, PACKETS_MAX, Playout},
};

const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

fuzz_target!(|input: &[u8]| {
    let Some((&[which, first], rest)) = input.split_first_chunk::<2>() else { return };
    let codec = CODECS[usize::from(which) % CODECS.len()];
    let mut directly = Decoder::new(codec).expect("it is decoded");
    let mut decoder = Decoder::new(codec).expect("it is decoded");
    let mut playout = Playout::new(codec.clock_rate(), 20, 200);
    let mut detector = Detector::new(sample_rate(codec));
    let (mut pcm, mut heard) = ([0; SAMPLES_MAX], vec![0; decoder.frame(20)]);
    let mut header = Header { ssrc: 1, sequence: u16::from(first), ..Header::default() };
    for (datagram, tick) in datagrams(rest).take(200).zip(0..) {
        let Some((&[control, ahead], payload)) = datagram.split_first_chunk::<2>() else { continue };
        // Mostly the next, sometimes one of before or after.
        let step = u16::from(ahead & 0x0f).wrapping_sub(u16::from(ahead >> 4) & 7).wrapping_add(1);
        header.sequence = header.sequence.wrapping_add(step);
        header.timestamp = header.timestamp.wrapping_add((codec.clock_rate() / 50).wrapping_mul(step.into()));
        let now = moment(0) + Duration::from_millis(20 * tick + u64::from(control >> 2));
        if control & 3 == 3 {
            if let Some(noise) = noise(payload) {
                playout.push(now, &header, Content::Noise(noise), payload);
            }
        } else if let Some(length) = duration(codec, payload) {
            playout.push(now, &header, Content::Sound(length), payload);
        }
        if control & 1 == 1 {
            let length = directly.frame(20);
            directly.recover(payload, &mut pcm[..length]);
        }
        if payload.len() <= SAMPLES_MAX / 2
            && let Ok(length) = directly.decode(payload, &mut pcm)
        {
            assert!(length <= SAMPLES_MAX);
            detector.hear(&pcm[..length], |_| ());
        }
        playout.pull(now, &mut decoder, &mut heard);
        assert!(playout.waiting() <= PACKETS_MAX);
    }
});

fn noise(payload: &[u8]) -> Option<Noise> {
    let noise = Noise::parse(payload).ok()?;
    let mut written = [0; PAYLOAD_MAX];
    let length = noise.write(&mut written);
    assert!(Noise::parse(&written[..length]).is_ok());
    let (mut generator, mut pcm) = (Generator::new(1), [0; 160]);
    generator.set(&noise);
    generator.fill(&mut pcm);
    Some(noise)
}
