//! Where what was said is kept: a bucket of versitygw, sealed; lists that outlive the process; what comes of a bucket that is
//! away, of a process that is killed, and of what was kept long enough.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    audio::{self, likeness, melody},
    harness::{Process, SWITCHBOARD, Setup, System, get_bytes, wait_until},
    phone::{CARRIER, Phone},
    sounds::{Mouth, RECORDED, SPOKEN, beeped, fetch, list, prepare, spoken},
};

const S3_SECRET: &str = "a secret of this test alone";

/// versitygw, an S3 server that keeps objects in a folder; `tests/run` builds it.
struct Gateway(#[expect(dead_code, reason = "it ends with the test")] Process);

impl Gateway {
    fn start(port: u16, folder: &Path) -> Self {
        fs::create_dir_all(folder.join("buckets/recordings")).unwrap();
        fs::create_dir_all(folder.join("sidecar")).unwrap();
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
        let mut command = Command::new(target.join("tools/bin/versitygw"));
        command.args(["--port", &format!("127.0.0.1:{port}"), "--access", "test", "--secret", S3_SECRET]);
        command
            .args(["--quiet", "posix", "--sidecar"])
            .arg(folder.join("sidecar"))
            .arg(folder.join("buckets"));
        let process = Process::start("versitygw", command);
        wait_until("versitygw listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self(process)
    }
}

/// A system whose process the test starts and kills.
fn system(change: impl FnOnce(&System)) -> System {
    let system = System::without_process(&Setup::default());
    prepare(&system);
    change(&system);
    system
}

fn start(system: &System) -> Process {
    let mut command = Command::new(SWITCHBOARD);
    command.arg("local").arg(system.manifest("")).arg("--http").arg(system.http.to_string());
    command.arg("--state").arg(system.dir.path().join("state"));
    let process = Process::start("switchboard", command);
    process.wait_for_output("ready:");
    process
}

fn kill(process: Process) {
    process.tell("KILL");
    assert!(!process.wait().success());
}

/// Has the cluster keep what is said in a bucket at a port, sealed.
fn with_bucket(system: &System, port: u16) {
    let stores = format!(
        "  drainSeconds: 1\n  stores:\n    blobs:\n      s3:\n        endpoint: http://127.0.0.1:{port}\n        bucket: recordings\n        prefix: switchboard/c14\n        accessKeyIdSecretRef: {{name: stores, key: id}}\n        secretAccessKeySecretRef: {{name: stores, key: key}}\n      sealingKeys:\n      - {{id: first, secretRef: {{name: stores, key: seal}}}}\n"
    );
    system.edit("platform.yaml", "  drainSeconds: 1\n", &stores);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: stores\n  namespace: platform\n  labels: {{switchboard.dev/use: \"true\"}}\nstringData:\n  id: test\n  key: {S3_SECRET}\n  seal: \"{}\"\n",
        "0a".repeat(32)
    );
    fs::write(system.manifest("stores.yaml"), secret).unwrap();
}

/// Leaves a message that is kept as it is said, and gives the path of the call.
fn leave(system: &System, message: &[i16], calls: usize) -> Vec<String> {
    let mut phone = Phone::new(system, CARRIER, SPOKEN);
    let to = phone.call("0 101").audio();
    let mut mouth = Mouth::new(&phone, to);
    mouth.silence(500);
    mouth.press('2');
    mouth.until("the tone", beeped);
    mouth.silence(600);
    mouth.say(message);
    mouth.press('#');
    let question = system.prompt("two");
    let bad = system.prompt("bad");
    mouth.until("the question what becomes of it, or that it is none", |heard| {
        likeness(&question, heard) > 0.9 || likeness(&bad, heard) > 0.9
    });
    mouth.press('2');
    mouth.silence(2_500);
    mouth.press('1');
    phone.wait_for_bye();
    system.path_of_call(calls)
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    found
}

#[test]
fn a_message_goes_sealed_into_the_bucket_and_is_heard_and_listed_from_there_after_a_restart() {
    let system = system(|system| with_bucket(system, system.own_port(0)));
    let folder = system.dir.path().join("s3");
    let _gateway = Gateway::start(system.own_port(0), &folder);
    let process = start(&system);
    let message = melody(90, 2.0);
    assert_eq!(leave(&system, &message, 1), ["menu: choice 2", "take: left", "good: played", "bye: hangup"]);
    let kept = list(&system, "/api/v1/voicemails?box=acme/support");
    assert_eq!(kept.len(), 1, "{kept:?}");
    system.wait_for_metric("switchboard_media_recordings_waiting", 0);
    let bucket = folder.join("buckets/recordings/switchboard/c14");
    wait_until("the message and what is known of it are in the bucket", || objects(&bucket).len() == 2);
    for object in objects(&bucket) {
        let stored = fs::read(&object).unwrap();
        assert!(stored.starts_with(b"SWBSEAL1"), "{}", object.display());
        assert!(!stored.windows(12).any(|part| part == b"+12125550199"), "{}", object.display());
    }
    process.end();
    let here = objects(&system.dir.path().join("state/sounds"));
    assert!(here.is_empty(), "{here:?} stay on this disk");
    let process = start(&system);
    let again = list(&system, "/api/v1/voicemails?box=acme/support");
    assert_eq!(again, kept, "the list outlives the process");
    let found = likeness(&message, &fetch(&system, &again[0])[0]);
    assert!(found > 0.97, "the message: {found:.3}");
    let log = process.errors() + &process.output();
    assert!(!log.contains(S3_SECRET) && !log.contains(&"0a".repeat(32)), "{log}");
    process.end();
}

#[test]
fn with_the_bucket_away_calls_go_on_and_what_was_said_is_there_once_it_is_back() {
    let system = system(|system| with_bucket(system, system.own_port(0)));
    let process = start(&system);
    let message = melody(91, 2.0);
    let path = leave(&system, &message, 1);
    assert_eq!(path, ["menu: choice 2", "take: left", "good: played", "bye: hangup"]);
    wait_until("it waits", || system.metric("switchboard_media_recordings_waiting") == 2);
    let spool = system.dir.path().join("state/sounds/platform/c14/.drafts");
    assert!(objects(&spool).iter().any(|path| fs::read(path).unwrap().starts_with(b"SWBSEAL1")));
    kill(process);
    let process = start(&system);
    let folder = system.dir.path().join("s3");
    let _gateway = Gateway::start(system.own_port(0), &folder);
    let bucket = folder.join("buckets/recordings/switchboard/c14");
    wait_until("both are in the bucket", || objects(&bucket).len() == 2);
    wait_until("nothing waits", || objects(&spool).is_empty());
    let kept = list(&system, "/api/v1/voicemails");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let found = likeness(&message, &fetch(&system, &kept[0])[0]);
    assert!(found > 0.97, "the message: {found:.3}");
    wait_until("it is told", || process.errors().contains("stored at last"));
    process.end();
}

#[test]
fn a_process_that_is_killed_loses_less_than_two_seconds_of_a_recording() {
    let system = system(|system| {
        let (ring, hold) = ("  - name: ring\n", "  - name: hold\n    wait: {seconds: 60}\n  - name: ring\n");
        system.edit("sounds.yaml", ring, hold);
    });
    let process = start(&system);
    let said = melody(92, 8.0);
    let mut phone = Phone::new(&system, CARRIER, RECORDED);
    let to = phone.call("0 101").audio();
    let mut mouth = Mouth::new(&phone, to);
    mouth.say(&said);
    kill(process);
    let process = start(&system);
    let parts = list(&system, "/api/v1/recordings");
    assert_eq!(parts.len(), 1, "{parts:?}");
    assert_eq!(parts[0]["end"], Value::Null);
    assert_eq!(parts[0]["from"], "+12125550199");
    let heard = &fetch(&system, &parts[0])[0];
    let told = parts[0]["ms"].as_u64().unwrap();
    assert!(told.abs_diff(heard.len() as u64 / 8) <= 20, "{told} ms are told of {} samples", heard.len());
    // All that was said before the last two seconds.
    let found = likeness(&said[..6 * 8_000], heard);
    assert!(found > 0.97, "what was said: {found:.3}");
    process.end();
}

#[test]
fn a_full_box_takes_nothing_until_something_was_heard_which_goes_first() {
    let system = system(|system| {
        system.edit(
            "sounds.yaml",
            "review: two, silenceSeconds: 10}",
            "review: two, silenceSeconds: 10, messages: 1}",
        );
    });
    let process = start(&system);
    let (first, third) = (melody(93, 2.0), melody(94, 2.0));
    assert_eq!(leave(&system, &first, 1)[1], "take: left");
    assert_eq!(leave(&system, &melody(95, 1.0), 2)[1], "take: failed");
    let kept = list(&system, "/api/v1/voicemails");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(likeness(&first, &fetch(&system, &kept[0])[0]) > 0.97);
    assert_eq!(list(&system, "/api/v1/voicemails")[0]["heard"], true);
    assert_eq!(leave(&system, &third, 3)[1], "take: left");
    let kept = list(&system, "/api/v1/voicemails");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let found = likeness(&third, &fetch(&system, &kept[0])[0]);
    assert!(found > 0.97, "the newest message: {found:.3}");
    process.end();
}

/// What an earlier process has kept: a sound, and what is known of it.
fn keep(system: &System, name: &str, index: &str, voicemail_box: Option<&str>) {
    let folder = system.dir.path().join("state/sounds/platform/c14");
    let mut known = json!({
        "name": name, "call": 7, "callId": "a@192.0.2.1", "tenant": "acme", "from": "+12125550199", "to": RECORDED,
        "startedAt": "2026-01-01T00:00:00Z", "channels": 1, "ms": 1000, "soundMs": 900, "bytes": 16_044, "end": "Stopped",
    });
    if let Some(id) = voicemail_box {
        known["voicemailBox"] = json!(id);
    }
    for (name, content) in [(name, melody_wav()), (index, known.to_string().into_bytes())] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn melody_wav() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    audio::write_wav(file.path(), &melody(96, 1.0));
    fs::read(file.path()).unwrap()
}

/// The name and that of what is known: each digit of the time is subtracted from 9.
fn names(folder: &str, stamp: &str, rest: &str) -> (String, String) {
    let turned: String = stamp
        .chars()
        .map(|character| {
            character.to_digit(10).map_or(character, |digit| char::from_digit(9 - digit, 10).unwrap())
        })
        .collect();
    (format!("{folder}/{stamp}{rest}"), format!("index/{folder}/{turned}{rest}"))
}

#[test]
fn what_was_kept_long_enough_is_deleted_with_all_that_is_known_of_it() {
    let now = jiff::Timestamp::now();
    let days = |days: i64| {
        (now - jiff::SignedDuration::from_hours(24 * days)).strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    let mut stays = Vec::new();
    let system = system(|system| {
        system.edit(
            "sounds.yaml",
            "review: two, silenceSeconds: 10}",
            "review: two, silenceSeconds: 10, retentionDays: 3}",
        );
        let tenant = fs::read_to_string(system.manifest("tenant.yaml")).unwrap();
        let changed =
            tenant.replacen("  country: US\n", "  country: US\n  retention: {recordingDays: 10}\n", 1);
        assert_ne!(tenant, changed, "{tenant}");
        fs::write(system.manifest("tenant.yaml"), changed).unwrap();
        for (folder, old, id) in [
            ("acme/calls", 9, None),
            ("acme/calls", 11, None),
            ("acme/voicemail/support", 2, Some("acme/support")),
            ("acme/voicemail/support", 4, Some("acme/support")),
            ("acme/voicemail/gone", 9, Some("acme/gone")),
            ("acme/voicemail/gone", 11, Some("acme/gone")),
            ("other/calls", 4_000, None),
        ] {
            let (name, index) = names(folder, &days(old), "-0000abcd-1.wav");
            keep(system, &name, &index, id);
            if [9, 2, 4_000].contains(&old) {
                stays.extend([name, index]);
            }
        }
    });
    stays.sort();
    let process = start(&system);
    let folder = system.dir.path().join("state/sounds/platform/c14");
    let here = || {
        let relative = |path: PathBuf| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = objects(&folder).into_iter().map(relative).collect();
        names.sort();
        names
    };
    wait_until("what is due is gone", || here() == stays);
    for because in
        ["Tenant acme: retention.recordingDays is 10", "VoicemailBox acme/support: retentionDays is 3"]
    {
        assert!(process.errors().contains(because), "{because}\n{}", process.errors());
    }
    process.end();
}

#[test]
fn lists_are_given_out_page_by_page_and_by_agent_after_a_restart() {
    let system = system(|system| {
        system.edit("sounds.yaml", "emails: [support@example.com]", "agentRefs: [{name: ada}]");
        let agent = "apiVersion: switchboard.dev/v1alpha1\nkind: Agent\nmetadata: {name: ada, namespace: acme}\nspec: {displayName: Ada Lopez}\n";
        fs::write(system.manifest("ada.yaml"), agent).unwrap();
        let today = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
        for second in 0..25 {
            let (name, index) = names("acme/calls", &format!("{today}T0000{second:02}Z"), "-0000abcd-1.wav");
            keep(system, &name, &index, None);
        }
        for id in ["support", "sales"] {
            let (name, index) =
                names(&format!("acme/voicemail/{id}"), &format!("{today}T000000Z"), "-0000abcd-1.wav");
            keep(system, &name, &index, Some(&format!("acme/{id}")));
        }
    });
    let process = start(&system);
    let name = |sound: &Value| sound["name"].as_str().unwrap().to_owned();
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&system, &format!("/api/v1/recordings?limit=10{after}"));
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 10);
        after = format!("&after={}", name(last));
        all.extend(page.iter().map(name));
    }
    assert_eq!(all.len(), 25);
    assert!(all.is_sorted_by(|newer, older| newer > older), "{all:?}");
    let of = |question: &str| list(&system, &format!("/api/v1/voicemails{question}")).len();
    assert_eq!((of(""), of("?agent=acme/ada"), of("?agent=acme/bob")), (2, 1, 0));
    assert_eq!((of("?box=acme/sales"), of("?agent=acme/ada&box=acme/sales"), of("?tenant=other")), (1, 0, 0));
    let bytes = get_bytes(system.http, &format!("/api/v1/recordings/{}", all[0]));
    assert_eq!(bytes, melody_wav());
    process.end();
}

#[test]
fn a_message_is_written_down_as_well_as_a_machine_can() {
    let system = system(|system| {
        system.edit(
            "sounds.yaml",
            "review: two, silenceSeconds: 10}",
            "review: two, silenceSeconds: 10, transcription: Enabled}",
        );
    });
    let process = start(&system);
    let said = spoken(&system, "please send the money to the hotel on monday morning");
    assert_eq!(leave(&system, &said, 1)[1], "take: left");
    let transcript = || list(&system, "/api/v1/voicemails")[0]["transcript"].as_str().map(str::to_owned);
    wait_until("it is written down", || transcript().is_some());
    let written = transcript().unwrap();
    let words = ["please", "send", "money", "hotel", "monday", "morning"];
    let found = words.iter().filter(|word| written.split(' ').any(|heard| heard == **word)).count();
    // What there is to recognise with knows little, and hears each time something else.
    assert!(found >= 1, "`{written}`");
    process.end();
}
