//! Files change while calls are up.

use std::fs;

use crate::{
    audio::likeness,
    harness::{Setup, System, switchboard, with_system},
    phone::{CARRIER, Phone},
};

const GREET: &str = "+18005550100";
const LONG: &str = "+18005550103";

/// What a new caller of GREET hears to the end, as which of `names` are in it.
fn heard<'a>(system: &System, names: &[&'a str]) -> Vec<&'a str> {
    let mut phone = Phone::new(system, CARRIER, GREET);
    phone.call("0 101");
    phone.wait_for_bye();
    let samples = phone.rtp.samples();
    names.iter().copied().filter(|name| likeness(&system.prompt(name), &samples) > 0.97).collect()
}

#[test]
fn a_change_is_for_new_calls_and_a_broken_one_for_none() {
    with_system(&Setup::default(), |system| {
        let names = ["welcome", "one", "two", "bye"];
        assert_eq!(heard(system, &names), ["welcome", "bye"]);

        // A call that is up keeps its own flow, whose end is still another prompt.
        let mut running = Phone::new(system, CARRIER, LONG);
        running.call("0 101");
        system.edit(
            "flows.yaml",
            "play: {prompt: welcome}\n  - name: bye",
            "play: {prompt: one}\n  - name: bye",
        );
        system.wait_for_log("applied; new calls take it, running calls keep what they began with");
        assert_eq!(heard(system, &names), ["one", "bye"]);
        assert_eq!(system.metric("switchboard_calls"), 1);

        // A typo: told where it is, as `check` tells it, and the last good form stays.
        system.edit("flows.yaml", "play: {prompt: one}\n  - name: bye", "plya: {prompt: two}\n  - name: bye");
        system.wait_for_log("flows.yaml:7:5: error[");
        let checked = switchboard(&["check", &system.manifest("").display().to_string()]);
        let told = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{told}");
        let line = told
            .lines()
            .find(|line| line.contains("flows.yaml:7:5: error["))
            .unwrap_or_else(|| panic!("{told}"));
        let place = line.find("flows.yaml").unwrap();
        assert!(system.log().contains(&line[place..]), "{line}\n{}", system.log());
        assert_eq!(heard(system, &names), ["one", "bye"]);

        // Put right, it goes on.
        system.edit("flows.yaml", "plya: {prompt: two}", "play: {prompt: two}");
        let applied = "applied; new calls take it";
        crate::harness::wait_until("the repair is applied", || system.log().matches(applied).count() == 2);
        assert_eq!(heard(system, &names), ["two", "bye"]);
        running.hang_up();
    });
}

#[test]
fn a_running_call_goes_by_the_flow_that_it_began_with() {
    with_system(&Setup::default(), |system| {
        let mut running = Phone::new(system, CARRIER, "+18005550105");
        // Nobody listens at the desk phone: after the welcome, the flow goes to `bad` and then to `bye`.
        let first = running.request("INVITE", "", &running.offer("0 101"));
        running.send(&first);
        let answer = running.final_response();
        running.acknowledge(&answer, "");
        system.edit("flows.yaml", "onError: bad\n  steps", "onError: bye\n  steps");
        system.edit("flows.yaml", "  - name: bad\n    play: {prompt: bad}\n  - name: bye", "  - name: bye");
        system.wait_for_log("applied; new calls take it");
        running.wait_for_bye();
        let found = likeness(&system.prompt("bad"), &running.rtp.samples());
        assert!(found > 0.97, "{found:.3}");
        assert!(system.path_of_call(1).iter().any(|step| step == "bad: played"));
    });
}

#[test]
fn a_number_that_is_taken_away_is_gone_and_its_running_call_is_not() {
    with_system(&Setup::default(), |system| {
        let mut running = Phone::new(system, CARRIER, LONG);
        running.call("0 101");
        let path = system.manifest("numbers.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let kept: Vec<_> = text.split("---\n").filter(|document| !document.contains("name: long,")).collect();
        fs::write(path, kept.join("---\n")).unwrap();
        system.wait_for_log("applied; new calls take it");
        let mut phone = Phone::new(system, CARRIER, LONG);
        let answer = phone.invite(&phone.offer("0"));
        assert_eq!(answer.code(), 404, "{}", answer.text);
        assert_eq!(system.metric("switchboard_calls"), 1);
        running.hang_up();
    });
}

#[test]
fn a_changed_prompt_is_heard_by_new_calls() {
    with_system(&Setup::default(), |system| {
        fs::copy(system.manifest("prompts/three.wav"), system.manifest("prompts/welcome.wav")).unwrap();
        system.wait_for_log("applied; new calls take it");
        assert_eq!(heard(system, &["three", "one"]), ["three"]);
    });
}
