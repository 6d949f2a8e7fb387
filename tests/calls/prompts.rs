//! What prompts are made of, in which language they are heard, and how a country's telephones sound.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    audio::{self, likeness, melody, share},
    harness::{Setup, System, wait_until, with_prepared},
    integrations::by_espeak,
    phone::{CARRIER, Phone},
    sipp::{Run, Sipp, scenario},
};

const KINDS: &str = "+18005550107";
const SPANISH: &str = "+18005550108";
const BROKEN: &str = "+18005550109";

const MP3: &[u8] = include_bytes!("../../src/media/tests/media/440hz.mp3");
const OPUS: &[u8] = include_bytes!("../../src/media/tests/media/440hz.opus");

const OBJECTS: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: law, namespace: acme}
spec: {file: prompts/law.wav}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: wide, namespace: acme}
spec: {file: prompts/wide.wav}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: floating, namespace: acme}
spec: {file: prompts/floating.wav}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: mapped, namespace: acme}
spec:
  configMapRef: {name: sounds, key: mapped.wav}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: layered, namespace: acme}
spec: {file: prompts/440hz.mp3}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: opus, namespace: acme}
spec: {file: prompts/440hz.opus}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: broken, namespace: acme}
spec: {file: prompts/broken.opus}
---
apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: greeting, namespace: acme}
spec:
  file: prompts/one.wav
  translations: [{language: es-US, file: prompts/two.wav}]
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: kinds, namespace: acme}
spec:
  steps:
  - name: all
    play:
      prompts: [law, wide, floating, mapped, layered, opus, greeting]
      say: {value: "'Thank you for calling ' + (call.number == '' ? 'nobody' : 'the company today')"}
  - name: bye
    hangup: {}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: spanish, namespace: acme}
spec:
  variables:
  - {name: language, type: String, initial: es-US}
  steps:
  - name: greet
    call: {flow: greeted}
  - name: bye
    hangup: {prompt: greeting}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: greeted, namespace: acme}
spec:
  steps:
  - name: greeting
    play: {prompts: [greeting, three]}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: broken, namespace: acme}
spec:
  onError: sorry
  steps:
  - name: before
    play: {prompt: one}
  - name: broken
    play: {prompt: broken, next: sorry}
  - name: sorry
    play: {prompt: bad}
  - name: bye
    hangup: {}
"#;

const FORM: hound::WavSpec = hound::WavSpec {
    channels: 2,
    sample_rate: 48_000,
    bits_per_sample: 24,
    sample_format: hound::SampleFormat::Int,
};

/// A melody at 48 kHz, each sample of 8 kHz led to the next by a straight line, on both channels.
fn wide(samples: &[i16], form: hound::WavSpec, mut write: impl FnMut(f32) -> Vec<u8>) -> Vec<u8> {
    let mut data = Vec::new();
    for pair in samples.windows(2) {
        for part in 0..6_u8 {
            let share = f32::from(part) / 6.0;
            let sample = f32::from(pair[0]) * (1.0 - share) + f32::from(pair[1]) * share;
            (0..form.channels).for_each(|_| data.extend(write(sample / 32_768.0)));
        }
    }
    let tag = if form.sample_format == hound::SampleFormat::Float { 3 } else { 1 };
    wav(tag, form, &data)
}

fn wav(tag: u16, form: hound::WavSpec, data: &[u8]) -> Vec<u8> {
    let frame = form.channels * form.bits_per_sample / 8;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    bytes.extend(tag.to_le_bytes());
    bytes.extend(form.channels.to_le_bytes());
    bytes.extend(form.sample_rate.to_le_bytes());
    bytes.extend((form.sample_rate * u32::from(frame)).to_le_bytes());
    bytes.extend(frame.to_le_bytes());
    bytes.extend(form.bits_per_sample.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

fn prepare(system: &System) {
    let write = |name: &str, bytes: &[u8]| {
        fs::write(system.manifest(&format!("prompts/{name}")), bytes).unwrap();
    };
    let narrow = hound::WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 8, ..FORM };
    let law: Vec<u8> = melody(101, 1.2).iter().map(|sample| audio::encode(*sample)).collect();
    write("law.wav", &wav(7, narrow, &law));
    let integer = |sample: f32| ((sample * 8_388_607.0) as i32).to_le_bytes()[..3].to_vec();
    write("wide.wav", &wide(&melody(102, 1.2), FORM, integer));
    let form = hound::WavSpec { bits_per_sample: 32, sample_format: hound::SampleFormat::Float, ..FORM };
    write("floating.wav", &wide(&melody(103, 1.2), form, |sample| sample.to_le_bytes().to_vec()));
    write("440hz.mp3", MP3);
    write("440hz.opus", OPUS);
    // Its beginning is right, and its last page is cut.
    write("broken.opus", &OPUS[..OPUS.len() - 9]);
    let linear: Vec<u8> = melody(104, 1.2).iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mapped = wav(1, hound::WavSpec { bits_per_sample: 16, ..narrow }, &linear);
    let map = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: sounds, namespace: acme}}\nbinaryData:\n  mapped.wav: {}\n",
        BASE64_STANDARD.encode(mapped)
    );
    let number = |(name, number): (&str, &str)| {
        format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  number: \"{number}\"\n  kind: TollFree\n  origin: RespOrg\n  trunkRef: {{namespace: platform, name: carrier}}\n  flowRef: {{name: {name}}}\n"
        )
    };
    let numbers = [("kinds", KINDS), ("spanish", SPANISH), ("broken", BROKEN)].map(number).concat();
    fs::write(system.manifest("kinds.yaml"), OBJECTS.to_owned() + &map + &numbers).unwrap();
    system.edit("tenant.yaml", "languages: [en-US]", "languages: [en-US, es-US]");
}

/// What a caller of a number hears until the flow hangs up.
fn heard(system: &System, number: &str) -> Vec<i16> {
    let mut phone = Phone::new(system, CARRIER, number);
    phone.call("0 101");
    phone.wait_for_bye();
    phone.rtp.samples()
}

/// Seconds of 100 ms each in which nearly nothing but a note is heard.
fn seconds_of(note: f64, heard: &[i16]) -> f64 {
    let is_note = |piece: &&[i16]| audio::loud_part(piece).len() > 700 && share(piece, note) > 0.9;
    heard.chunks_exact(800).filter(is_note).count() as f64 / 10.0
}

#[test]
fn every_kind_of_file_is_heard_as_it_was_made() {
    with_prepared(&Setup::default(), prepare, |system| {
        let heard = heard(system, KINDS);
        for (what, seed) in [("G.711", 101), ("24 bits", 102), ("floats", 103), ("a ConfigMap's", 104)] {
            let found = likeness(&melody(seed, 1.2), &heard);
            assert!(found > 0.9, "{what}: {found:.3}");
        }
        // Half a second each of MP3 and Opus.
        let seconds = seconds_of(440.0, &heard);
        assert!((0.6..1.2).contains(&seconds), "{seconds} s of 440 Hz");
        let found = likeness(&system.prompt("one"), &heard);
        assert!(found > 0.97, "the greeting of whose language nothing is said: {found:.3}");
        let said = by_espeak(system, "Thank you for calling the company today");
        let last = &heard[heard.len().saturating_sub(said.len() + 4_000)..];
        let found = likeness(audio::loud_part(&said), last);
        assert!(found > 0.9, "what is said: {found:.3}");
        assert_eq!(system.path_of_call(1), ["all: played", "bye: hangup"]);
    });
}

#[test]
fn a_contact_hears_its_own_language_in_called_flows_too() {
    with_prepared(&Setup::default(), prepare, |system| {
        let heard = heard(system, SPANISH);
        let (before, after) = heard.split_at(heard.len() / 2);
        for (what, prompt, heard) in [
            ("the translation", "two", before),
            ("what has no translation", "three", &heard[..]),
            ("the translation again", "two", after),
        ] {
            let found = likeness(&system.prompt(prompt), heard);
            assert!(found > 0.97, "{what}: {found:.3}");
        }
        let found = likeness(&system.prompt("one"), &heard);
        assert!(found < 0.6, "the English greeting: {found:.3}");
    });
}

#[test]
fn a_broken_file_takes_nothing_with_it_but_the_steps_that_play_it() {
    with_prepared(&Setup::default(), prepare, |system| {
        system.wait_for_log("broken.opus: ");
        assert_eq!(system.metric("switchboard_media_prompts_unplayable"), 1);
        let sorry = heard(system, BROKEN);
        for prompt in ["one", "bad"] {
            let found = likeness(&system.prompt(prompt), &sorry);
            assert!(found > 0.97, "{prompt}: {found:.3}");
        }
        assert_eq!(system.path_of_call(1)[..3], ["before: played", "broken: onError", "sorry: played"]);
    });
}

/// Two short rings of 400 and 450 Hz, as in Great Britain, and not the one long of 440 and 480 Hz of North America.
#[test]
fn an_answered_caller_hears_the_ringing_of_the_tenants_country() {
    const LEAVES: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: kinds, namespace: acme}
spec:
  steps:
  - name: hello
    play: {prompt: one}
  - name: ring
    dial:
      to:
      - extension: {trunkRef: {name: desk-phones}, user: "201"}
      next: bye
      busy: bye
      noAnswer: bye
      failed: bye
  - name: bye
    hangup: {}
---
"#;
    let prepare = |system: &System| {
        prepare(system);
        system.edit("tenant.yaml", "country: US", "country: GB");
        let kept = OBJECTS.split("---\n").filter(|object| !object.contains("name: kinds,"));
        let kept: Vec<&str> = kept.collect();
        system.edit("kinds.yaml", OBJECTS, &(LEAVES.to_owned() + &kept.join("---\n")));
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let run = Run { scenario: scenario!("rings-only"), port: Some(system.pbx.port()), ..Run::default() };
        let callee = Sipp::start(system, &run);
        let mut phone = Phone::new(system, CARRIER, KINDS);
        phone.call("0 101");
        let hello = system.prompt("one").len();
        wait_until("six seconds of it were heard", || phone.rtp.samples().len() > hello + 6 * 8_000);
        let heard = phone.rtp.samples();
        phone.hang_up();
        callee.wait();
        let ringing = audio::loud_part(&heard[hello + 800..]);
        let (british, american) = ([400.0, 450.0], [440.0, 480.0]);
        let of = |notes: [f64; 2]| notes.map(|note| share(ringing, note)).iter().sum::<f64>();
        assert!(of(british) > 0.8 && of(american) < 0.2, "{} {}", of(british), of(american));
        // Sounds and pauses of 20 ms each, as milliseconds.
        let loud: Vec<bool> =
            ringing.chunks(160).map(|piece| piece.iter().any(|it| it.abs() > 300)).collect();
        let runs: Vec<i32> = loud
            .chunk_by(|a, b| a == b)
            .map(|run| if run[0] { 20 } else { -20 } * run.len() as i32)
            .collect();
        // The first ring was cut into.
        for (found, wanted) in runs.iter().skip(1).zip([-200, 400, -2_000, 400]) {
            assert!((found - wanted).abs() <= 60, "{runs:?}");
        }
    });
}

#[test]
fn a_flow_lets_a_caller_hear_the_countrys_busy_tone() {
    let busy = |system: &System| {
        fs::write(
            system.manifest("busy.yaml"),
            "apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: busy, namespace: acme}
spec:
  onError: end
  steps:
  - name: tone
    wait: {seconds: 3, tone: Busy}
  - name: end
    hangup: {}
",
        )
        .unwrap();
        system.edit("numbers.yaml", "flowRef: {name: greet}", "flowRef: {name: busy}");
    };
    with_prepared(&Setup::default(), busy, |system| {
        let mut phone = Phone::new(system, CARRIER, "+18005550100");
        phone.call("0 101");
        phone.wait_for_bye();
        let heard = phone.rtp.samples();
        // 480 and 620 Hz, half a second of each second.
        let shares = [480.0, 620.0].map(|note| share(&heard, note));
        assert!(shares.iter().all(|share| (0.4..0.6).contains(share)), "{shares:?}");
        let loud = heard.chunks(80).filter(|piece| piece.iter().any(|sample| sample.abs() > 300)).count();
        assert!((130..=170).contains(&loud), "{loud} of {} hundredths", heard.len() / 80);
        assert_eq!(system.path_of_call(1), ["tone: waited", "end: hangup"]);
    });
}
