//! The verbs, as a person meets them.

use std::{fs, net::UdpSocket, path::Path};

use crate::{
    audio::{self, likeness},
    harness::{Setup, System, switchboard, with_system},
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
