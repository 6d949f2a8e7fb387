//! Scanners and guessers as they come on the public Internet: SIPVicious, and sipsak in its rougher modes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    afterwards::{afterwards, warmed_up},
    harness::{Setup, System, wait_until, with_prepared, with_system},
    registrar,
    registrations::Registration,
    works,
};

/// None takes a quarter of it on a machine with nothing else to do.
const LONGEST_S: &str = "180";

/// A program of SIPVicious, which `tests/run` installs beside what it builds.
pub fn sipvicious(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let built = this.ancestors().map(|folder| folder.join("tools/bin").join(name)).find(|file| file.exists());
    built.unwrap_or_else(|| Path::new(name).to_owned())
}

fn run(system: &System, program: &Path, arguments: &[&str]) -> String {
    // None may go on for ever, and none keeps anything outside of the test's folder.
    let mut command = Command::new("timeout");
    command.arg(LONGEST_S).arg(program).args(arguments);
    command.current_dir(system.dir.path()).env("HOME", system.dir.path()).stdin(Stdio::null());
    let Output { stdout, stderr, status } = command.output().unwrap();
    assert_ne!(status.code(), Some(127), "{} is not there: `tests/run` installs it", program.display());
    assert_ne!(status.code(), Some(124), "{} does not end", program.display());
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

#[test]
fn sipvicious_finds_nothing_where_trunks_are_served() {
    with_system(&Setup::default(), |system| {
        let port = system.sip.port().to_string();
        for method in ["OPTIONS", "INVITE", "REGISTER"] {
            let said = run(
                system,
                &sipvicious("sipvicious_svmap"),
                &["-b", "127.0.0.41", "-x", "127.0.0.41", "-p", &port, "-m", method, "127.0.0.1"],
            );
            assert!(!said.contains("127.0.0.1:"), "{said}");
            assert!(said.contains("found nothing"), "{said}");
        }
        assert!(system.metric("switchboard_sip_strangers_total") >= 3);
        assert_eq!(system.metric("switchboard_sip_sent_total"), 0);
        works::passed("SIPVicious", "UDP", "svmap finds nothing on a listener for trunks");
    });
}

/// Agents' phones, and a carrier elsewhere than where the attackers are: svcrack goes by no address that it is told.
fn prepare(system: &System) {
    registrar::prepare(system);
    system.edit("platform.yaml", "cidr: 127.0.0.1/32", "cidr: 127.0.0.61/32");
    for name in ["platform.yaml", "tenant.yaml"] {
        system.edit(name, "address: \"127.0.0.1:", "address: \"127.0.0.61:");
    }
}

#[test]
fn sipvicious_cannot_tell_a_user_from_nobody() {
    with_prepared(&Setup::default(), prepare, |system| {
        let port = registrar::listener(system).port().to_string();
        let names = ["ada-desk", "bob-desk", "100", "admin", "eve"];
        fs::write(system.dir.path().join("names"), names.join("\n") + "\n").unwrap();
        for method in ["REGISTER", "INVITE"] {
            let mut arguments = vec!["-p", &port, "-m", method];
            arguments.extend(["-d", "names", "--domain", "c14.example", "--force", "127.0.0.1"]);
            let said = run(system, &sipvicious("sipvicious_svwar"), &arguments);
            let known = |name: &str| {
                let row = said.lines().find(|line| line.contains(&format!(" {name} ")))?;
                Some(row.rsplit('|').nth(1)?.trim().to_owned())
            };
            let first = known(names[0]);
            assert!(names.iter().all(|name| known(name) == first), "{method}: {said}");
        }
        assert!(system.metric("switchboard_sip_sent_total") > 0);
        works::passed(
            "SIPVicious",
            "UDP",
            "svwar sees no difference between users and names that nobody has",
        );
    });
}

#[test]
fn sipvicious_is_banned_before_it_comes_to_the_right_password() {
    with_prepared(&Setup::default(), prepare, |system| {
        let port = registrar::listener(system).port().to_string();
        let mut words: Vec<_> = (0..30).map(|number| format!("guess{number}")).collect();
        words.push("made-up".into());
        fs::write(system.dir.path().join("words"), words.join("\n") + "\n").unwrap();
        let said = run(
            system,
            &sipvicious("sipvicious_svcrack"),
            &[
                "-p",
                &port,
                "-u",
                "ada-desk",
                "-d",
                "words",
                "--domain",
                "c14.example",
                "--maximumtime",
                "5",
                "127.0.0.1",
            ],
        );
        assert!(!said.contains("made-up"), "{said}");
        wait_until("it is banned", || system.get("/api/v1/bans").contains("127.0.0.1\""));
        // Whose password was guessed at is not shut out.
        let mut phone = Registration::new(system, [127, 0, 0, 44], "ada-desk", "made-up");
        let challenge = phone.send(None);
        let proof = phone.proof(&challenge, 1);
        assert_eq!(phone.send(Some(&proof)).code(), 200);
        works::passed("SIPVicious", "UDP", "svcrack is banned before it comes to the right password");
    });
}

#[test]
fn sipsak_is_answered_as_a_carrier_and_stops_nothing() {
    with_system(&Setup::default(), |system| {
        let before = warmed_up(system);
        let uri = format!("sip:+18005550100@{}", system.sip);
        let sipsak = Path::new("sipsak");
        let ping = run(system, sipsak, &["-vv", "-s", &uri]);
        assert!(ping.contains("SIP/2.0 200 OK"), "{ping}");
        works::passed("sipsak", "UDP", "its OPTIONS is answered 200");
        let by_tcp = run(system, sipsak, &["-vv", "-E", "tcp", "-s", &uri]);
        assert!(by_tcp.contains("SIP/2.0 200 OK"), "{by_tcp}");
        works::passed("sipsak", "TCP", "its OPTIONS is answered 200");
        // Both go on until they are ended, unless they are told how often.
        let heard = system.metric("switchboard_sip_received_total");
        // The kernel drops what comes while a busy machine gives the server no turn: then it is flooded again.
        let floods = (0..20).find(|_| {
            run(system, sipsak, &["-F", "-e", "20000", "-s", &uri]);
            system.metric("switchboard_sip_received_total") > heard + 1_000
        });
        assert!(floods.is_some(), "twenty floods are not heard");
        afterwards(system, "sipsak's flood", before);
        works::passed("sipsak", "UDP", "20,000 OPTIONS as fast as they go stop no call");
        run(system, sipsak, &["-R", "-t", "200", "-s", &uri]);
        afterwards(system, "sipsak's trashed messages", before);
        works::passed("sipsak", "UDP", "200 trashed messages stop no call");
    });
}
