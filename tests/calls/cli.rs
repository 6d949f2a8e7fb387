//! The verbs, as a person meets them.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::UdpSocket,
    path::Path,
};

use tempfile::TempDir;

use crate::{
    audio::{self, likeness},
    harness::{SWITCHBOARD, Setup, System, switchboard, with_system},
    plan::copy,
};

fn call(system: &System, number: &str, more: &[&str]) -> (Option<i32>, String) {
    let via = format!("sip:{}", system.sip);
    let port = system.peer_port();
    system.peer_port();
    let ports = format!("{port}-{}", port + 3);
    let output = switchboard(&[&["call", number, "--via", &via, "--rtp-ports", &ports], more].concat());
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn call_prints_the_ladder_presses_keys_and_records_what_it_hears() {
    with_system(&Setup::default(), |system| {
        let recording = system.dir.path().join("out.wav");
        let file = recording.display().to_string();
        let more = ["--digits", "2", "--digits-after", "1", "--record", &file];
        let (code, told) = call(system, "+18005550101", &more);
        assert_eq!(code, Some(0), "{told}");
        for part in
            ["→ INVITE sip:+18005550101@", "← 200 OK", "→ ACK", "← BYE", "ended: the other side hung up"]
        {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        let heard = audio::read_wav(&recording);
        let found = likeness(&system.prompt("two"), &heard);
        assert!(found > 0.97, "{found:.3}\n{told}");
        assert_eq!(system.path_of_call(1)[1], "two: played");
    });
}

#[test]
fn call_says_why_it_was_refused() {
    with_system(&Setup::default(), |system| {
        let (code, told) = call(system, "+18005550109", &[]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("refused: 404 Not Found (Q.850;cause=1"), "{told}");
    });
}

#[test]
fn call_says_when_nobody_listens() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = switchboard(&[
        "call",
        "+18005550100",
        "--via",
        &format!("sip:127.0.0.1:{port}"),
        "--rtp-ports",
        "32600-32603",
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&format!("nobody listens at 127.0.0.1:{port}: is `switchboard local` running there?")),
        "{told}"
    );
}

#[test]
fn local_says_which_port_is_taken_and_what_to_do() {
    with_system(&Setup::default(), |system| {
        let folder = system.manifest("").display().to_string();
        let output = switchboard(&["local", &folder, "--http", "127.0.0.1:0"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let wanted = format!("listener `udp` cannot use UDP {}", system.sip);
        assert!(told.contains(&wanted) && told.contains("change the listener's port"), "{told}");

        let http = format!("127.0.0.1:{}", system.block + 1);
        let output = switchboard(&["local", &folder, "--http", &http]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("--http cannot use {http}")), "{told}");
    });
}

#[test]
fn check_tells_good_from_bad_by_its_exit_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let quickstart = root.join("examples/quickstart").display().to_string();
    let output = switchboard(&["check", &quickstart]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let bad = root.join("tests/golden/dead-end").display().to_string();
    assert_eq!(switchboard(&["check", &bad]).status.code(), Some(1));
    assert_eq!(switchboard(&["check"]).status.code(), Some(2));
    assert_eq!(switchboard(&["chekc"]).status.code(), Some(2));
    let missing = switchboard(&["check", "no/such/folder"]);
    assert!(matches!(missing.status.code(), Some(1 | 2)));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/folder"));
}

/// The quickstart with tests of its own, one after another.
fn quickstart_with(tests: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    copy(&from, folder.path());
    fs::write(folder.path().join("calltests.yaml"), tests).unwrap();
    folder
}

fn call_test(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: switchboard.dev/v1alpha1\nkind: CallTest\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  call: {{from: \"+13125550142\", to: \"+18005550100\"}}\n{more}\n"
    )
}

fn run_tests(folder: &TempDir, more: &[&str]) -> (Option<i32>, String) {
    let place = folder.path().display().to_string();
    let output = switchboard(&[&["test", &place], more].concat());
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text.replace(&format!("{place}/"), ""))
}

#[test]
fn test_tells_what_passes_what_does_not_and_what_no_test_has_taken() {
    let billing = call_test(
        "billing",
        "  script: [{hear: menu}, {press: \"2\"}]\n  expect: {outcome: Completed, steps: [menu, billing], prompts: [welcome, billing]}",
    );
    let good = quickstart_with(&billing);
    let (code, told) = run_tests(&good, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.ends_with("\n1 tests: 1 passed, 0 failed\n"), "{told}");
    let (code, told) = run_tests(&good, &["--coverage"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("    menu: choice 1\n") && !told.contains("    menu: choice 2\n"), "{told}");
    let (code, told) = run_tests(&good, &["--coverage-min", "90"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.ends_with("FAIL less than 90 % is covered\n"), "{told}");

    let wrong = call_test(
        "a-b-c",
        "  script:\n  - press: \"2\"\n  expect:\n    outcome: Completed\n    steps:\n    - sales",
    );
    let bad = quickstart_with(&(billing + &wrong));
    let report = bad.path().join("junit.xml");
    let (code, told) = run_tests(&bad, &["--junit", &report.display().to_string(), "--threads", "3"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("\n2 tests: 1 passed, 1 failed\n"), "{told}");
    let failure = "calltests.yaml:20:7: spec.expect.steps[0]: expected step sales, but the path was main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu (choice 2) → main:billing (played) → main:goodbye (hangup)";
    assert!(told.starts_with("FAIL acme/a-b-c: Completed after ") && told.contains(failure), "{told}");
    let junit = fs::read_to_string(report).unwrap();
    assert!(
        junit.contains("<testsuite name=\"switchboard test\" tests=\"2\" failures=\"1\" errors=\"0\">"),
        "{junit}"
    );
    assert!(junit.contains("<testcase classname=\"acme\" name=\"billing\" time=\""), "{junit}");
    assert!(junit.contains("expected step sales, but the path was"), "{junit}");

    let (code, told) = run_tests(&bad, &["--format", "json", "--coverage"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &json["passed"], &json["failed"]), (Some(1), &1.into(), &1.into()));
    assert_eq!(json["tests"][0]["failures"][0]["field"], "spec.expect.steps[0]");
    assert_eq!(json["tests"][1]["passed"], true);
    assert!(json["coverage"]["outcomes"].as_u64().unwrap() > json["coverage"]["taken"].as_u64().unwrap());
}

#[test]
fn test_does_not_pass_what_it_cannot_run() {
    let empty = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pbx-trunk").display().to_string();
    let none = switchboard(&["test", &empty]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("holds no CallTest"));
    let bad =
        quickstart_with(&call_test("lost", "  expect: {outcome: Completed, prompts: [no-such-prompt]}"));
    let (code, told) = run_tests(&bad, &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("calltests.yaml:7:42: spec.expect.prompts[0]: There is no Prompt acme/no-such-prompt"),
        "{told}"
    );
    assert_eq!(switchboard(&["test", "--coverage-min", "101", &empty]).status.code(), Some(2));
    assert_eq!(switchboard(&["test", "--watch", "-"]).status.code(), Some(2));
}

#[test]
fn test_runs_again_when_a_file_changes() {
    let folder = quickstart_with(&call_test("end", "  expect: {outcome: Bridged}"));
    let mut child = std::process::Command::new(SWITCHBOARD)
        .args(["test", "--watch"])
        .arg(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "1 tests: 0 passed, 1 failed"));
    fs::write(folder.path().join("calltests.yaml"), call_test("end", "  expect: {outcome: Completed}"))
        .unwrap();
    assert!(lines.any(|line| line == "1 tests: 1 passed, 0 failed"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn test_runs_again_when_the_one_manifest_that_it_reads_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    // Its prompts are words, so that one file is all of it.
    let tenant = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tenant");
    let mut whole = String::new();
    for entry in fs::read_dir(tenant).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !name.starts_with("calltests") {
            whole += &format!("---\n{}\n", fs::read_to_string(path).unwrap());
        }
    }
    whole += &call_test("end", "  script: [{hangUp: {afterSeconds: 3}}]\n  expect: {outcome: Bridged}");
    let file = folder.path().join("whole.yaml");
    fs::write(&file, &whole).unwrap();
    let mut child = std::process::Command::new(SWITCHBOARD)
        .args(["test", "--watch"])
        .arg(&file)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let ends = |passed: usize| {
        move |line: String| line == format!("1 tests: {passed} passed, {} failed", 1 - passed)
    };
    assert!(lines.any(ends(0)));
    for (outcome, passed) in [("Abandoned", 1), ("Bridged", 0), ("Abandoned", 1)] {
        let other = folder.path().join("whole.yaml.new");
        fs::write(&other, whole.replace("{outcome: Bridged}", &format!("{{outcome: {outcome}}}"))).unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(lines.any(ends(passed)), "{outcome}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn floor(more: &[&str]) -> (Option<i32>, String) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tenant").display().to_string();
    let output = switchboard(&[&["test", &place], more].concat());
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn test_foretells_a_floor_and_finds_how_many_agents_are_needed() {
    let asked = ["--floor", "--contacts-per-hour", "support=100", "--handling-seconds", "180"];
    let small = ["--replications", "4", "--seed", "3"];
    let (code, told) = floor(&[&asked[..], &["--agents", "7"], &small].concat());
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "floor of acme: 4 runs of 20 h",
        "support  80 % / 20 s",
        "Erlang C for support, 7 agents",
        "agents             7  ",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let json = [&asked[..], &["--find-agents", "90/15", "--format", "json"], &small].concat();
    let (code, one) = floor(&[&json[..], &["--threads", "1"]].concat());
    let (_, two) = floor(&[&json[..], &["--threads", "2"]].concat());
    assert_eq!((code, &one), (Some(0), &two), "any number of threads gives the same");
    let json: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(json["found"][0]["agents"], 9, "{one}");
    let level = json["forecast"]["queues"][0]["serviceLevel"]["value"].as_f64().unwrap();
    assert!(level >= 0.9, "{one}");

    let day = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tenant-floor.yaml");
    let file = format!("--floor={}", day.display());
    let (code, told) = floor(&[&file, "--replications", "2"]);
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "from   contacts/h",
        "13:30",
        "no figures of queueing theory: rates or agents change",
        "who serve billing",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

#[test]
fn test_says_what_of_a_floor_cannot_be_foretold() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("floor.yaml");
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tenant-floor.yaml")).unwrap();
    let with = |line: &str, by: &str| {
        assert!(text.contains(line));
        fs::write(&file, text.replacen(line, by, 1)).unwrap();
        let (code, told) = floor(&[&format!("--floor={}", file.display())]);
        assert_eq!(code, Some(1), "{told}");
        told.replace(&format!("{}/", folder.path().display()), "")
    };
    for (line, by, part) in [
        (
            "name: support",
            "name: supprt",
            "floor.yaml:7:9: error: `queues[0].name` must be a Queue of tenant acme (",
        ),
        (
            "answerSeconds: 4",
            "answerSeconds: 40",
            "floor.yaml:27:16: error: `answerSeconds` must be less than the 15 s",
        ),
        (
            "missedPercent: 1",
            "missedPercent: lots",
            "floor.yaml:28:16: error[WrongType]: `missedPercent` must be a number of 0 to 90, not `lots`.",
        ),
    ] {
        let told = with(line, by);
        assert!(told.contains(part), "{told}");
    }
    for (flags, part) in [
        (&["--floor"][..], "--floor needs --contacts-per-hour QUEUE=N"),
        (&["--floor", "--contacts-per-hour", "12"], "--contacts-per-hour 12 must name its queue"),
        (
            &["--floor", "--contacts-per-hour", "lost=12"],
            "--contacts-per-hour must be a Queue of tenant acme (",
        ),
        (&["--floor", "--contacts-per-hour", "support=many"], "must end in a number of 0 to 100000"),
        (
            &["--floor", "--contacts-per-hour", "support=9", "--agents", "lost=3"],
            "--agents names queue `lost`",
        ),
        (&["--floor", "--contacts-per-hour", "support=9", "--find-agents", "80"], "such as 80/20"),
        (&["--floor", "--coverage"], "cannot be used with"),
        (&["--agents", "3"], "--floor"),
    ] {
        let (code, told) = floor(flags);
        assert!(code == Some(2) && told.contains(part), "{flags:?}: {code:?} {told}");
    }
}

#[test]
fn crds_writes_what_stands_in_the_repository() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let written = tempfile::tempdir().unwrap();
    let output = switchboard(&["crds", "--out", &written.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(0));
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(&kept), names(written.path()));
    for name in names(&kept) {
        let (kept, written) =
            (fs::read(kept.join(&name)).unwrap(), fs::read(written.path().join(&name)).unwrap());
        assert!(kept == written, "{} is out of date: switchboard crds --out crds", name.display());
    }
}
