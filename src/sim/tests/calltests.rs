//! CallTests on the quickstart and on the tenant: what comes of them, and what they say when it is otherwise.

use std::{collections::BTreeMap, time::Instant};

use plan::{PlannedTest, Severity, SourceFile};
use sim::{
    coverage::Coverage,
    world::{Ran, Stage},
};

use crate::{example, quickstart, with_flow};

/// A call to the quickstart's menu on a Monday, with more fields of the spec.
fn of_menu(more: &str) -> String {
    of_call("{from: \"+13125550142\", to: \"+18005550100\"}", more)
}

fn of_call(call: &str, more: &str) -> String {
    format!(
        "apiVersion: switchboard.dev/v1alpha1\nkind: CallTest\nmetadata: {{name: one, namespace: acme}}\nspec:\n  call: {call}\n{more}\n"
    )
}

/// All tests of a folder, and their results.
fn run_all(files: &[SourceFile]) -> (Vec<(PlannedTest, Ran)>, plan::Plan) {
    run_some(files, |_| true)
}

/// Those whose names are wanted.
#[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
fn run_some(files: &[SourceFile], wanted: impl Fn(&str) -> bool) -> (Vec<(PlannedTest, Ran)>, plan::Plan) {
    let (resources, _) = plan::load(files);
    let plan = plan::plan(&resources, None, "2026-06-15T12:00:00Z".parse().unwrap());
    let errors = plan.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let problems: String = errors.map(|problem| format!("{problem}\n")).collect();
    assert_eq!(problems, "");
    let stage = Stage::new(&plan.clusters.values().next().unwrap().snapshot, &BTreeMap::new()).unwrap();
    let tests = plan::call_tests(&resources, &plan).into_iter().map(|(_, test)| test.unwrap());
    let tests = tests.filter(|test| wanted(test.key.name()));
    let begins = Instant::now();
    let ran = tests.map(|test| {
        let ran = stage.run(&test.test, begins);
        (test, ran)
    });
    (ran.collect(), plan)
}

/// What comes of one test, in words: outcome, seconds and path; then what is otherwise, with the line that says so.
fn told(mut files: Vec<SourceFile>, test: &str) -> String {
    files.push(SourceFile { path: "test.yaml".into(), bytes: test.as_bytes().into() });
    let (ran, _) = run_all(&files);
    let [(test, ran)] = ran.as_slice() else { panic!("one test") };
    let outcome = ran.outcome.map_or("on its way", |outcome| outcome.name());
    let mut lines = vec![format!("{outcome} after {} s: {}", ran.length.as_secs(), ran.path)];
    lines.extend(
        ran.failures
            .iter()
            .map(|failure| format!("{}: {}: {}", test.at(&failure.field), failure.field, failure.message)),
    );
    lines.join("\n")
}

fn first_line(files: Vec<SourceFile>, test: &str) -> String {
    let told = told(files, test);
    assert!(!told.contains('\n'), "{told}");
    told
}

#[test]
fn what_a_caller_does_leads_through_the_flow() {
    let rows = [
        (
            "  script: [{hear: menu}, {press: \"2\"}]\n  expect: {outcome: Completed, steps: [hours, menu, billing], neverSteps: [sales], prompts: [welcome, menu, billing, goodbye], variables: [{name: visits, value: \"0\"}]}",
            "main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu (choice 2) → main:billing (played) → main:goodbye (hangup)",
        ),
        (
            "  expect: {outcome: Completed, steps: [menu, goodbye]}",
            "main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu (noInput) → main:goodbye (hangup)",
        ),
        (
            "  script: [{hear: welcome}, {waitSeconds: 1}, {hangUp: {}}]\n  expect: {outcome: Abandoned, withinSeconds: 10}",
            "main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu",
        ),
        (
            "  hours: [{name: office, state: Closed}]\n  expect: {outcome: Completed, prompts: [closed]}",
            "main:hours (closed) → main:closed (played) → main:goodbye (hangup)",
        ),
        (
            "  callees: [{extension: \"201\", afterSeconds: 4}]\n  script: [{hear: menu}, {press: \"1\"}]\n  expect: {outcome: Bridged, withinSeconds: 40}",
            "main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu (choice 1) → main:sales (played) → main:ring-sales",
        ),
        (
            "  callees: [{extension: \"201\", behaviour: Busy}]\n  script: [{press: \"1\"}]\n  expect: {outcome: Completed, prompts: [nobody]}",
            "main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu (choice 1) → main:sales (played) → main:ring-sales (busy) → main:nobody (played) → main:goodbye (hangup)",
        ),
        (
            "  callees: [{extension: \"201\", talkSeconds: 9}]\n  script: [{press: \"1\"}]\n  expect: {outcome: Completed, neverSteps: [nobody]}",
            "main:hours (open) → main:who (otherwise) → main:welcome (played) → main:menu (choice 1) → main:sales (played) → main:ring-sales (ended) → main:goodbye (hangup)",
        ),
    ];
    for (more, path) in rows {
        let told = first_line(quickstart(), &of_menu(more));
        assert!(told.ends_with(&format!(": {path}")), "{more}\n{told}");
    }
}

#[test]
fn what_is_otherwise_is_told_with_its_line_and_what_happened_instead() {
    let files = || {
        with_flow(
            "  variables: [{name: vip, type: Boolean}]\n  steps:\n  - name: hello\n    play: {prompt: welcome}\n  - name: menu\n    ask: {prompt: menu, timeoutSeconds: 5, attempts: 1, choices: [{digits: \"1\", next: sales}], noInput: end, noMatch: end}\n  - name: sales\n    play: {prompt: sales}\n  - {name: end, hangup: {}}\n",
        )
    };
    let rows = [
        "  expect: {outcome: Bridged}",
        "  expect:\n    outcome: Completed\n    steps:\n    - hello\n    - sales\n    - end",
        "  expect:\n    outcome: Completed\n    steps: [hullo]\n    neverSteps: [end, emd]",
        "  expect:\n    outcome: Completed\n    prompts: [menu, sales]\n    variables:\n    - {name: vip, value: \"true\"}\n    - {name: vipp, value: \"true\"}",
        "  expect:\n    outcome: Completed\n    withinSeconds: 2",
        "  script:\n  - hear: sales\n  - press: \"1\"\n  expect: {outcome: Completed}",
        "  script:\n  - say: sales\n  expect: {outcome: Completed}",
        "  script:\n  - waitSeconds: 600\n  - hangUp: {}\n  expect: {outcome: Abandoned}",
    ];
    let told: Vec<String> = rows.iter().map(|more| told(files(), &of_menu(more))).collect();
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_call_that_is_not_taken_is_told_with_its_reason() {
    let refuse = "  steps:\n  - {name: busy, hangup: {reject: Busy}}\n";
    assert_eq!(
        first_line(with_flow(refuse), &of_menu("  expect: {outcome: Rejected, steps: [busy]}")),
        "Rejected after 0 s: main:busy (hangup)"
    );
    let call = "{to: \"+18005550100\", trunkRef: {name: desk-phones}}";
    let told = told(quickstart(), &of_call(call, "  expect: {outcome: Completed}"));
    insta::assert_snapshot!(told);
}

#[test]
fn a_flow_that_fails_and_one_that_waits_for_ever_come_to_an_end() {
    let fails = "  variables: [{name: count, type: Integer, initial: \"0\"}]\n  steps:\n  - {name: divide, set: {values: [{variable: count, value: 1 / count}]}}\n  - {name: end, hangup: {}}\n";
    let told = first_line(with_flow(fails), &of_menu("  expect: {outcome: Failed, neverSteps: [end]}"));
    assert_eq!(told, "Failed after 0 s: empty");
    // An hour is the longest call.
    let step = |name: &str| format!("  - {{name: {name}, wait: {{seconds: 600}}}}\n");
    let steps: String =
        ["one", "two", "three", "four", "five", "six", "seven"].iter().map(|name| step(name)).collect();
    let waits = format!("  steps:\n{steps}  - {{name: end, hangup: {{}}}}\n");
    let more = "  expect: {outcome: Failed, steps: [one, four], neverSteps: [end]}";
    let told = first_line(with_flow(&waits), &of_menu(more));
    assert!(told.starts_with("Failed after 3600 s: main:one (waited) → main:two (waited)"), "{told}");
}

#[test]
fn whoever_leaves_a_message_must_say_something() {
    let boxes = "apiVersion: switchboard.dev/v1alpha1\nkind: VoicemailBox\nmetadata: {name: front, namespace: acme}\nspec: {greeting: closed, emails: [front@example.com]}\n";
    let flow = "  steps:\n  - {name: message, voicemail: {box: front, next: end, failed: sorry}}\n  - {name: sorry, play: {prompt: nobody}}\n  - {name: end, hangup: {}}\n";
    let rows = [
        (
            "  script: [{say: Please call me back}]\n  expect: {outcome: Voicemail}",
            "main:message (left) → main:end (hangup)",
        ),
        ("  expect: {outcome: Completed}", "main:message (left (nothing to be kept)) → main:end (hangup)"),
        (
            "  store: Fails\n  expect: {outcome: Completed, prompts: [closed, nobody]}",
            "main:message (failed) → main:sorry (played) → main:end (hangup)",
        ),
        (
            "  script: [{say: Please call me back}, {hangUp: {}}]\n  expect: {outcome: Voicemail}",
            "main:message",
        ),
        (
            "  script: [{say: Please call me back}, {press: \"#\"}]\n  expect: {outcome: Voicemail, withinSeconds: 30}",
            "main:message (left) → main:end (hangup)",
        ),
    ];
    for (more, path) in rows {
        let mut files = with_flow(flow);
        files.push(SourceFile { path: "box.yaml".into(), bytes: boxes.as_bytes().into() });
        let told = first_line(files, &of_menu(more));
        assert!(told.ends_with(&format!(": {path}")), "{more}\n{told}");
    }
}

#[test]
fn services_lots_and_called_flows_are_as_the_test_says() {
    let flow = "  variables: [{name: vip, type: Boolean}]\n  steps:\n  - name: lookup\n    request: {integration: crm, path: '\"/\" + contact.number', timeoutSeconds: 2, save: [{variable: vip, from: body.vip}], failed: lot}\n  - {name: who, branch: {cases: [{when: vip, next: vip}], otherwise: lot}}\n  - {name: lot, split: {parts: [{percent: 10, next: few}], otherwise: many}}\n  - {name: vip, hangup: {prompt: welcome}}\n  - {name: few, hangup: {prompt: sales}}\n  - {name: many, hangup: {prompt: billing}}\n";
    let crm = "apiVersion: switchboard.dev/v1alpha1\nkind: Integration\nmetadata: {name: crm, namespace: acme}\nspec: {url: https://crm.example.com}\n";
    let answer = |more: &str| format!("  responses: [{{integration: crm{more}}}]\n");
    let rows = [
        (
            answer(", body: '{\"vip\": true}'"),
            "vip",
            "main:lookup (answered) → main:who (case 1) → main:vip (hangup)",
        ),
        (
            answer(", body: '{\"vip\": false}'") + "  lot: 9\n",
            "few",
            "main:lookup (answered) → main:who (otherwise) → main:lot (part 1) → main:few (hangup)",
        ),
        (
            answer(", status: 500") + "  lot: 10\n",
            "many",
            "main:lookup (failed) → main:lot (otherwise) → main:many (hangup)",
        ),
        (
            answer(", afterSeconds: 9, body: '{\"vip\": true}'") + "  lot: 99\n",
            "many",
            "main:lookup (failed) → main:lot (otherwise) → main:many (hangup)",
        ),
        ("  lot: 0\n".into(), "few", "main:lookup (failed) → main:lot (part 1) → main:few (hangup)"),
    ];
    for (given, step, path) in rows {
        let mut files = with_flow(flow);
        files.push(SourceFile { path: "crm.yaml".into(), bytes: crm.as_bytes().into() });
        let more = format!("{given}  expect: {{outcome: Completed, steps: [{step}]}}");
        let told = first_line(files, &of_menu(&more));
        assert!(told.ends_with(&format!(": {path}")), "{more}\n{told}");
    }
}

/// The tenant without its own tests.
fn tenant() -> Vec<SourceFile> {
    let mut files = example("tenant");
    files.retain(|file| !file.path.starts_with("calltests"));
    files
}

#[test]
fn agents_do_what_the_test_says() {
    let call = "{from: \"+13125550142\", to: \"+12125550103\", at: \"2026-06-15T12:00:00-04:00\"}";
    let rows = [
        // A telephone of the public network takes the contact by a key; a browser is not rung.
        (
            "  agents: [{name: elena, afterSeconds: 5}]\n  expect: {outcome: Bridged, queue: support, agent: elena, withinSeconds: 10}",
            "Bridged after 6 s: support:hours (open) → support:wait",
        ),
        (
            "  agents: [{name: dev}]\n  expect: {outcome: Bridged, agent: dev}",
            "Bridged after 3 s: support:hours (open) → support:wait",
        ),
        (
            "  agents: [{name: dev, behaviour: Declines}, {name: iris}]\n  expect: {outcome: Bridged, agent: iris}",
            "Bridged after 6 s: support:hours (open) → support:wait",
        ),
        (
            "  agents: [{name: dev, behaviour: Ignores}]\n  expect: {outcome: Queued, queue: support}",
            "Queued after 15 s: support:hours (open) → support:wait",
        ),
        (
            "  agents: [{name: dev}]\n  queues: [{name: support, waiting: 1}]\n  script: [{waitSeconds: 60}]\n  expect: {outcome: Queued, prompts: [please-wait]}",
            "Queued after 60 s: support:hours (open) → support:wait",
        ),
        (
            "  agents: [{name: dev, talkSeconds: 40}]\n  queues: [{name: support, waiting: 1}]\n  lot: 50\n  expect: {outcome: Completed, agent: dev}",
            "Completed after 117 s: support:hours (open) → support:wait (ended) → support:thanks (called) → survey:lot (otherwise) → survey:pause (waited) → support:thanks (returned) → support:goodbye (hangup)",
        ),
    ];
    for (more, wanted) in rows {
        assert_eq!(first_line(tenant(), &of_call(call, more)), wanted, "{more}");
    }
    let told = told(
        tenant(),
        &of_call(call, "  agents: [{name: wendy}]\n  expect: {outcome: Bridged, agent: wendy}"),
    );
    assert!(told.contains("spec.expect.agent: expected to reach Agent wendy, but it reached none"), "{told}");
    let more =
        "  agents: [{name: dev}]\n  queues: [{name: billing, waiting: 2}]\n  expect: {outcome: Bridged}";
    let told = self::told(tenant(), &of_call(call, more));
    assert!(
        told.contains("spec.queues[0].waiting: 2 of 2 contacts could not wait in Queue acme/billing"),
        "{told}"
    );
}

#[test]
fn the_tenants_tests_pass_and_say_which_outcomes_none_has_taken() {
    let (ran, plan) = run_all(&example("tenant"));
    let failed = ran.iter().filter(|(_, ran)| !ran.failures.is_empty());
    let failed: Vec<String> = failed.map(|(test, ran)| format!("{}: {:?}", test.key, ran.failures)).collect();
    assert_eq!(failed, Vec::<String>::new());
    let taken = ran.iter().flat_map(|(_, ran)| ran.taken.iter().cloned()).collect();
    let coverage = Coverage::of(plan.clusters.values().map(|cluster| &*cluster.snapshot), &taken);
    let missed = coverage.flows.iter().flat_map(|flow| {
        let name = flow.flow.0.name();
        flow.missed.iter().map(move |missed| format!("{name}:{} ({})", missed.step, missed.outcome))
    });
    insta::assert_snapshot!(missed.collect::<Vec<_>>().join("\n"));
}

/// Each row: a line of the tenant's flows, what it becomes, and a test that notices.
#[test]
fn a_flow_that_is_changed_by_mistake_fails_its_tests() {
    let mutations = [
        (
            "next: sales}\n      - {digits: \"2\", phrases: [billing, an invoice], next: account}",
            "next: account}\n      - {digits: \"2\", phrases: [billing, an invoice], next: sales}",
            "main-vip-to-sales",
        ),
        (
            "hours: {ref: office, closed: closed, holiday: closed}",
            "hours: {ref: office, closed: lookup, holiday: closed}",
            "main-closed-on-sunday",
        ),
        ("noInput: support\n", "noInput: reception\n", "main-silence-leads-to-support"),
        (
            "queue: {ref: technical, maxWaitSeconds: 600, next: thanks",
            "queue: {ref: technical, maxWaitSeconds: 600, next: message",
            "main-second-line-helps",
        ),
        (
            "voicemail: {box: support, maxSeconds: 120, next: goodbye, failed: sorry}",
            "voicemail: {box: support, maxSeconds: 120, next: goodbye, failed: goodbye}",
            "main-holiday-and-no-room-for-messages",
        ),
        (
            "save: [{variable: vip, from: body.vip}]",
            "save: [{variable: vip, from: \"!body.vip\"}]",
            "main-vip-to-sales",
        ),
        (
            "digits: {variable: account, min: 6, max: 8, terminator: \"#\", next: billing}",
            "digits: {variable: account, min: 8, max: 8, terminator: \"#\", next: billing}",
            "main-account-to-billing",
        ),
        (
            "split: {parts: [{percent: 10, next: text}], otherwise: pause}",
            "split: {parts: [{percent: 90, next: text}], otherwise: pause}",
            "main-vip-to-sales",
        ),
    ];
    for (before, after, test) in mutations {
        let mut files = example("tenant");
        let flows = files.iter_mut().find(|file| file.path == "flows.yaml").unwrap();
        let text = String::from_utf8(flows.bytes.to_vec()).unwrap();
        assert!(text.contains(before), "{before}");
        flows.bytes = text.replacen(before, after, 1).into_bytes().into();
        let (ran, _) = run_some(&files, |name| name == test);
        assert!(ran.len() == 1 && !ran[0].1.failures.is_empty(), "{test} passes with {after}");
    }
}

#[test]
fn equal_tests_give_equal_results() {
    let wanted = |name: &str| name.starts_with("support-") || name.starts_with("billing-");
    let (first, _) = run_some(&example("tenant"), wanted);
    let (second, _) = run_some(&example("tenant"), wanted);
    assert!(first.len() > 10);
    for ((test, one), (_, other)) in first.iter().zip(&second) {
        assert_eq!(one, other, "{}", test.key);
    }
}
