//! Of several operators one writes and publishes, whatever becomes of it.

use std::time::Duration;

use super::{
    manifests::Least,
    process::{never, until},
    stage::{Operator, Stage, id_of},
};

/// The index of the one that leads, once one does and says so.
fn leader(operators: &[Operator]) -> usize {
    let mut found = None;
    until("one operator leads", || {
        found = operators.iter().position(|operator| operator.process.ended().is_none() && operator.leads());
        found.is_some()
    });
    found.unwrap()
}

/// Changes a number's flow and waits until its status has seen that.
fn change_is_seen(stage: &Stage, least: &mut Least, count: u32) {
    let flow = if count.is_multiple_of(2) { "ring" } else { "bye" };
    let number = least.manifests.object("PhoneNumber", "main");
    number["spec"]["flowRef"]["name"] = flow.into();
    number["spec"]["limits"] = serde_json::json!({"calls": count + 1});
    let number = number.clone();
    stage.apply(&number).unwrap();
    until("the change is seen", || {
        stage.verdicts().get(&id_of(&number)).is_some_and(|told| told["observed"] == "true")
    });
}

#[test]
fn a_killed_leader_is_followed_by_another() {
    let stage = Stage::new();
    let mut least = Least::new("killed");
    least.manifests.apply(stage.world);
    let mut operators: Vec<Operator> = ["a", "b", "c"].map(|name| stage.operator(name)).into();
    let mut term = 0.0;
    for count in 0..2 {
        let now = leader(&operators);
        for operator in &operators {
            operator.await_ready();
        }
        change_is_seen(&stage, &mut least, count);
        let next = operators[now].metric("switchboard_operator_term").unwrap();
        assert!(next > term, "the term went from {term} to {next}");
        term = next;
        for (index, operator) in operators.iter().enumerate().filter(|(index, _)| *index != now) {
            let writes = operator.proxy.writes();
            assert!(writes.is_empty(), "operator {index} follows, and writes {writes:?}");
        }
        let gone = operators.remove(now);
        gone.process.kill();
        stage.service.remove(gone.link);
    }
    leader(&operators);
    change_is_seen(&stage, &mut least, 9);
}

/// Frozen past its lease, it must not write a single thing when it goes on: another one leads.
#[test]
fn a_frozen_leader_writes_nothing_when_it_wakes() {
    let stage = Stage::new();
    let mut least = Least::new("frozen");
    least.manifests.apply(stage.world);
    let operators: Vec<Operator> = ["a", "b"].map(|name| stage.operator(name)).into();
    let frozen = leader(&operators);
    let other = 1 - frozen;
    operators[other].await_ready();
    change_is_seen(&stage, &mut least, 0);
    operators[frozen].process.signal("STOP");
    until("the other one leads", || operators[other].leads());
    change_is_seen(&stage, &mut least, 1);
    operators[frozen].proxy.forget();
    operators[frozen].process.signal("CONT");
    let status = operators[frozen].process.wait();
    assert!(!status.success(), "whoever loses the lease ends as one that failed");
    let writes = operators[frozen].proxy.writes();
    assert!(writes.is_empty(), "{writes:?}");
    change_is_seen(&stage, &mut least, 2);
}

/// Cut off from the API server, a leader stops before another may begin.
#[test]
fn a_leader_that_cannot_renew_ends_before_its_lease_does() {
    let stage = Stage::new();
    let mut least = Least::new("cut-off");
    least.manifests.apply(stage.world);
    let operators: Vec<Operator> = ["a", "b"].map(|name| stage.operator(name)).into();
    let lost = leader(&operators);
    let other = 1 - lost;
    operators[other].await_ready();
    operators[lost].proxy.spoil(
        super::proxy::Fault::Refused(500),
        usize::MAX,
        super::proxy::Seen::is_renewal,
    );
    let mut both = false;
    until("the one that cannot renew has ended", || {
        both |= operators[other].leads();
        operators[lost].process.ended().is_some()
    });
    assert!(!both, "another one led already");
    until("the other one leads", || operators[other].leads());
    change_is_seen(&stage, &mut least, 1);
}

/// Told to end, a leader lets go of the lease at once.
#[test]
fn a_leader_that_ends_makes_room() {
    let stage = Stage::new();
    let least = Least::new("room");
    least.manifests.apply(stage.world);
    let operators: Vec<Operator> = ["a", "b"]
        .map(|name| {
            let slow = ["--lease-seconds", "600", "--renew-deadline-seconds", "500", "--retry-seconds", "1"];
            stage.operator_with(name, &slow)
        })
        .into();
    let first = leader(&operators);
    operators[1 - first].await_ready();
    never("both lead", Duration::from_secs(1), || operators[1 - first].leads());
    assert!(operators[first].process.terminate().success());
    // Ten minutes of lease are left, and nobody waits so long here.
    until("the other one leads", || operators[1 - first].leads());
}
