//! Keys in the sound itself, and speech that holds none: espeak-ng reads to the detector for more than half an hour in several
//! voices and languages, as a telephone would carry it, and keys are dialled into noise, twist and speech.

use std::{fmt::Write, process::Command};

use rtp::{
    dtmf::{Detector, Tone, Tones, code},
    g711::Law,
    resample,
};

/// Read aloud; some ten minutes at 160 words a minute.
const TEXT: &str = include_str!("../../../../LICENSE");
/// Women and men, and languages with other vowels.
const VOICES: [&str; 4] = ["en-us", "en-us+f3", "de", "es+f4"];
/// False keys that are allowed in half an hour of speech. Bellcore's tapes allow 30 in as long.
const FALSE_MAX: usize = 1;

fn read_aloud(voice: &str) -> Vec<i16> {
    let folder = tempfile::tempdir().unwrap();
    let (text, sound) = (folder.path().join("text"), folder.path().join("sound.wav"));
    std::fs::write(&text, TEXT).unwrap();
    let mut command = Command::new("espeak-ng");
    command.args(["-v", voice, "-s", "160", "-w"]).arg(&sound).arg("-f").arg(&text);
    let output =
        command.output().unwrap_or_else(|error| panic!("espeak-ng: {error}; `tests/run` installs it"));
    assert!(output.status.success(), "{voice}: {}", String::from_utf8_lossy(&output.stderr));
    let reader = hound::WavReader::open(&sound).unwrap();
    let rate = reader.spec().sample_rate;
    let samples: Vec<f32> =
        reader.into_samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect();
    let mut pcm = resample::to_8k(&samples, rate).unwrap();
    pcm.iter_mut().for_each(|sample| *sample = Law::Mu.decode(Law::Mu.encode(*sample)));
    pcm
}

fn heard(sound: &[i16]) -> String {
    let (mut detector, mut keys) = (Detector::new(8_000), String::new());
    for frame in sound.chunks(160) {
        detector.hear(frame, |tones| {
            if let Tones::Pressed(key) = tones {
                keys.push(key);
            }
        });
    }
    keys
}

#[test]
fn speech_is_not_taken_for_keys() {
    let (mut table, mut seconds, mut keys) = (String::new(), 0, String::new());
    for voice in VOICES {
        let speech = read_aloud(voice);
        let found = heard(&speech);
        let long = speech.len() / 8_000;
        writeln!(table, "{voice:>12}: {:>3} min {:>2} s, false keys: {found:?}", long / 60, long % 60)
            .unwrap();
        seconds += long;
        keys += &found;
    }
    let hours = seconds as f64 / 3_600.0;
    eprintln!("{table}{:.2} false keys an hour in {hours:.2} hours", keys.len() as f64 / hours);
    assert!(seconds >= 1_800, "{seconds} s were read:\n{table}");
    assert!(keys.len() * 1_800 <= FALSE_MAX * seconds, "{table}");
}

/// Evenly distributed, −1 to 1.
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / u32::MAX as f32 * 2.0 - 1.0
    }
}

const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYPAD: &str = "123A456B789C*0#D";

/// Every key for 50 ms, with 50 ms between; the high tone so many dB louder than the low one.
fn dialled(twist_db: f32) -> Vec<i16> {
    let mut sound = vec![0; 800];
    for place in 0..KEYPAD.len() {
        let (low, high) = (LOW[place / 4], HIGH[place % 4]);
        let height = |db: f32| 4_000.0 * 10f32.powf(db / 20.0);
        let sample = |at: usize| {
            let turn = at as f32 / 8_000.0 * std::f32::consts::TAU;
            (height(-twist_db / 2.0) * (turn * low).sin() + height(twist_db / 2.0) * (turn * high).sin())
                as i16
        };
        sound.extend((0..400).map(sample));
        sound.resize(sound.len() + 400, 0);
    }
    sound
}

#[test]
fn keys_are_heard_in_noise_and_with_twist() {
    let mut random = Random(20_261_127);
    let mut table = String::new();
    // ITU-T Q.24: 4 dB of twist one way and 8 the other; 15 dB of signal to noise.
    for twist in [-8.0, -4.0, 0.0, 4.0] {
        for noise_db in [40.0f32, 24.0, 18.0, 15.0] {
            let (mut right, mut strange) = (0, 0);
            for _ in 0..20 {
                let mut sound = dialled(twist);
                // Even noise has a third of its height's square; the two tones together that of one.
                let tones =
                    4_000.0f32.powi(2) * (10f32.powf(-twist / 20.0) + 10f32.powf(twist / 20.0)) / 4.0 * 2.0;
                let height = (3.0 * tones / 2.0 / 10f32.powf(noise_db / 10.0)).sqrt();
                for sample in &mut sound {
                    *sample = (f32::from(*sample) + height * random.next()) as i16;
                }
                let keys = heard(&sound);
                let mut expected = KEYPAD.chars().peekable();
                for key in keys.chars() {
                    // In their order: what is missing is passed over.
                    match expected.clone().position(|one| one == key) {
                        Some(place) => {
                            expected.nth(place);
                            right += 1;
                        }
                        None => strange += 1,
                    }
                }
            }
            let all = 20 * KEYPAD.len();
            writeln!(
                table,
                "twist {twist:>4} dB, {noise_db} dB over noise: {right} of {all} keys, {strange} others"
            )
            .unwrap();
            assert_eq!(strange, 0, "{table}");
            assert!(right * 1_000 >= all * 995, "{table}");
        }
    }
    eprintln!("{table}");
}

#[test]
fn keys_are_heard_while_somebody_speaks_softly() {
    let speech = read_aloud("en-us");
    let mut found = 0;
    for (place, key) in KEYPAD.chars().enumerate() {
        let mut sound = speech[80_000 * (place + 1)..][..4_000].to_vec();
        sound.iter_mut().for_each(|sample| *sample /= 16);
        let mut tone = [0; 800];
        Tone::new(code(key).unwrap()).unwrap().fill(&mut tone);
        for (sample, tone) in sound[1_600..].iter_mut().zip(tone) {
            *sample = sample.saturating_add(tone);
        }
        found += usize::from(heard(&sound) == key.to_string());
    }
    assert!(found >= 15, "{found} of 16 keys");
}
