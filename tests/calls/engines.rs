//! An edge of several engines: nobody who calls can tell.

use std::{collections::BTreeSet, fs};

use crate::{
    afterwards::ordinary_calls,
    harness::{Setup, System, switchboard, wait_until, with_prepared, with_system},
    phone::{CARRIER, Phone},
};

/// A number that plays its prompt until the caller hangs up.
const LONG: &str = "+18005550103";

const ENGINES: u8 = 4;

fn several() -> Setup {
    Setup { engines: Some(ENGINES), ..Setup::default() }
}

/// Threads of the process that carry calls, by name.
fn threads(system: &System) -> Vec<String> {
    let of = format!("/proc/{}/task", system.pid());
    let names = fs::read_dir(of).unwrap().filter_map(|task| {
        let name = fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        Some(name.trim().to_owned()).filter(|name| name.starts_with("edge-") && name != "edge-tls")
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn calls_are_shared_among_engines_and_each_is_heard_to_its_end() {
    with_system(&several(), |system| {
        assert_eq!(threads(system), ["edge-0", "edge-1", "edge-2", "edge-3"]);
        // Each from a port of its own, so that the kernel deals them out.
        let mut letters = BTreeSet::new();
        let mut phones: Vec<_> = (0..40).map(|_| Phone::new(system, CARRIER, LONG)).collect();
        for phone in &mut phones {
            let answer = phone.call("0 101");
            // What we name says which engine has the call: a letter after the edge's token of six.
            let to = answer.header("To").unwrap();
            letters.extend(to.split_once(";tag=").unwrap().1.chars().nth(6));
        }
        assert_eq!(system.metric("switchboard_calls"), 40);
        assert_eq!(letters.len(), usize::from(ENGINES), "{letters:?}");
        for phone in &mut phones {
            phone.hang_up();
        }
        wait_until("all calls are over", || system.metric("switchboard_calls") == 0);
        ordinary_calls(system, 200, 50);
        assert_eq!(system.metric("switchboard_sip_relays_dropped_total"), 0);
    });
}

#[test]
fn a_cap_holds_over_all_engines() {
    let capped = |system: &System| system.edit("platform.yaml", "limits: {calls: 300}", "limits: {calls: 6}");
    with_prepared(&several(), capped, |system| {
        let mut phones: Vec<_> = (0..12).map(|_| Phone::new(system, CARRIER, LONG)).collect();
        let mut up = Vec::new();
        for phone in &mut phones {
            let offer = phone.offer("0 101");
            let answer = phone.invite(&offer);
            up.push(answer.code() == 200);
            if answer.code() == 200 {
                phone.acknowledge(&answer, "");
            } else {
                assert_eq!((answer.code(), answer.header("Retry-After")), (503, None), "{}", answer.text);
            }
        }
        assert_eq!(up.iter().filter(|up| **up).count(), 6, "{up:?}");
        phones.iter_mut().zip(up).filter(|(_, up)| *up).for_each(|(phone, _)| phone.hang_up());
    });
}

#[test]
fn another_program_cannot_take_a_share_of_the_datagrams() {
    with_system(&several(), |system| {
        let folder = system.manifest("").display().to_string();
        let output = switchboard(&["local", &folder, "--http", "127.0.0.1:0", "--edge-threads", "2"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("another program has it"), "{told}");
    });
}

#[test]
fn so_many_engines_there_are_not() {
    for wrong in ["0", "17", "many"] {
        let output = switchboard(&["local", "examples/quickstart", "--edge-threads", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("--edge-threads") && told.contains(wrong), "{told}");
    }
}
