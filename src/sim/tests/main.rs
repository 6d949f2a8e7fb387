//! Questions to the quickstart, and to flows that are written here.

#![expect(clippy::unwrap_used, reason = "tests")]

mod calltests;
mod changed;
mod changes;
mod crowds;
mod forecast;
mod renamed;
mod verbs;

use std::{fs, path::Path, sync::Arc, time::Instant};

use call::{Now, explanation::Outcome, world::World};
use plan::{Severity, SourceFile};
use sim::explain::{Explained, Question, explain};

const MAIN: &str = "+18005550100";

fn quickstart() -> Vec<SourceFile> {
    example("quickstart")
}

fn example(name: &str) -> Vec<SourceFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut files = Vec::new();
    for part in ["", "prompts"].into_iter().filter(|part| folder.join(part).is_dir()) {
        for entry in fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                files.push(SourceFile { path: name, bytes: fs::read(&path).unwrap().into() });
            }
        }
    }
    files
}

/// The quickstart with `flow` as the steps of what its first number leads to.
fn with_flow(flow: &str) -> Vec<SourceFile> {
    let mut files = quickstart();
    let main = files.iter_mut().find(|file| file.path == "flow-main.yaml").unwrap();
    let head = "apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {name: main, namespace: acme}\nspec:\n";
    main.bytes = format!("{head}{flow}").into_bytes().into();
    files
}

fn world(files: &[SourceFile]) -> World {
    let (resources, _) = plan::load(files);
    let plan = plan::plan(&resources, None, "2026-06-15T12:00:00Z".parse().unwrap());
    let errors = plan.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let problems: String = errors.map(|problem| format!("{problem}\n")).collect();
    assert_eq!(problems, "");
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    World::new(Arc::clone(snapshot), call::world::Names::new(), None).unwrap()
}

fn question(from: &str, to: &str) -> Question {
    Question { from: from.into(), to: to.into(), source: None, trunk: None }
}

#[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
fn asked(files: &[SourceFile], question: &Question, at: &str) -> Vec<Explained> {
    explain(&world(files), question, Now { instant: Instant::now(), wall: at.parse().unwrap() })
}

fn told(explained: &[Explained]) -> String {
    explained.iter().map(ToString::to_string).collect()
}

#[test]
fn a_call_is_told_from_its_source_to_every_end_of_its_flow() {
    let explained = asked(&quickstart(), &question("+13125550199", MAIN), "2026-06-17T14:00:00Z");
    assert_eq!(
        told(&explained),
        "\
C14: +13125550199 → +18005550100 from 127.0.0.1:5060 on listener udp at 2026-06-17T14:00:00Z
  ✓ Trunk platform/carrier
  ✓ PhoneNumber acme/main
  → RoutingFlow acme/main
  (no source was given: 127.0.0.1 is the first of Trunk platform/carrier, by Allowlist platform/carrier)

hours: open
who: otherwise
[1] welcome: plays Prompt acme/welcome
[2] menu: asks for 1, 2, 0 with Prompt acme/menu, 3 times at most, 5 s of silence each
├─ choice 1
│  [3] sales: plays Prompt acme/sales
│  [6] ring-sales: rings extension 201 of Trunk acme/desk-phones for 15 s
│  ├─ ended
│  │  ■ goodbye: plays Prompt acme/goodbye and ends the call
│  └─ busy, noAnswer, failed
│     [8] nobody: plays Prompt acme/nobody
│     ■ goodbye: plays Prompt acme/goodbye and ends the call
├─ choice 2
│  [4] billing: plays Prompt acme/billing
│  ■ goodbye: plays Prompt acme/goodbye and ends the call
├─ choice 0
│  · count: set · often: otherwise
│  [5] opening-hours: plays Prompt acme/opening-hours
│  [7] menu: asks for 1, 2, 0 with Prompt acme/menu, 3 times at most, 5 s of silence each
│  ├─ choice 1
│  │  → [3] sales
│  ├─ choice 2
│  │  → [4] billing
│  ├─ choice 0
│  │  · count: set · often: otherwise
│  │  [9] opening-hours: plays Prompt acme/opening-hours
│  │  [10] menu: asks for 1, 2, 0 with Prompt acme/menu, 3 times at most, 5 s of silence each
│  │  ├─ choice 1
│  │  │  → [3] sales
│  │  ├─ choice 2
│  │  │  → [4] billing
│  │  ├─ choice 0
│  │  │  · count: set · often: case 1
│  │  │  ■ goodbye: plays Prompt acme/goodbye and ends the call
│  │  └─ noInput, noMatch
│  │     ■ goodbye: plays Prompt acme/goodbye and ends the call
│  └─ noInput, noMatch
│     ■ goodbye: plays Prompt acme/goodbye and ends the call
└─ noInput, noMatch
   ■ goodbye: plays Prompt acme/goodbye and ends the call
"
    );
}

#[test]
fn the_time_decides_over_hours() {
    let explained = asked(&quickstart(), &question("+13125550199", MAIN), "2026-12-25T15:00:00Z");
    let walk = explained[0].walk.as_ref().unwrap();
    assert_eq!(walk.passed, ["hours: holiday"]);
    assert_eq!(walk.places.len(), 1);
}

#[test]
fn a_refused_call_names_its_nearest_miss() {
    for (to, source, wanted) in [
        ("+12125550101", None, "404: Trunk platform/carrier grants +12125550101 to namespace acme"),
        ("+13125550101", None, "404: no PhoneNumber declares +13125550101"),
        ("sales", None, "404: `sales` is not a number"),
        (
            MAIN,
            Some("127.0.0.2"),
            "404: +18005550100 is live on Trunk platform/carrier, not on Trunk acme/desk-phones",
        ),
        (MAIN, Some("192.0.2.1"), "no answer: no Trunk admits 192.0.2.1"),
    ] {
        let asked_for =
            Question { source: source.map(|source| source.parse().unwrap()), ..question("+13125550199", to) };
        let explained = asked(&quickstart(), &asked_for, "2026-06-17T14:00:00Z");
        assert!(!explained.is_empty() && explained.iter().all(|one| !one.is_routed()), "{to}");
        assert!(explained.iter().any(|one| one.to_string().contains(wanted)), "{to}: {}", told(&explained));
    }
}

#[test]
fn a_withheld_number_is_an_empty_one_to_the_flow() {
    let flow = "  steps:\n  - name: who\n    branch: {cases: [{when: 'contact.number == \"\"', next: refuse}], otherwise: yes-please}\n  - {name: yes-please, hangup: {}}\n  - {name: refuse, hangup: {reject: Decline}}\n";
    let explained = asked(&with_flow(flow), &question("anonymous", MAIN), "2026-06-17T14:00:00Z");
    assert!(
        told(&explained).ends_with("who: case 1\n■ refuse: refuses the call with 603\n"),
        "{}",
        told(&explained)
    );
}

#[test]
fn digits_stand_for_what_may_be_entered_and_early_media_answers_nothing() {
    let flow = "  variables: [{name: order, type: String}]\n  steps:\n  - name: early\n    play: {prompt: welcome, early: true}\n  - name: order\n    ask: {prompt: menu, attempts: 1, digits: {variable: order, min: 4, max: 4, next: ring}, noInput: end, noMatch: end}\n  - name: ring\n    dial: {to: [{extension: {trunkRef: {name: desk-phones}, user: \"201\"}}]}\n  - {name: end, hangup: {}}\n";
    let text = told(&asked(&with_flow(flow), &question("+13125550199", MAIN), "2026-06-17T14:00:00Z"));
    let tree = text.split_once("\n\n").unwrap().1;
    assert_eq!(
        tree,
        "\
[1] early: plays Prompt acme/welcome, as early media (not answered yet)
[2] order: asks for 4 digits with Prompt acme/menu, once at most, 5 s of silence each
├─ digits (say 1111)
│  [3] ring: rings extension 201 of Trunk acme/desk-phones for 20 s
│  ├─ ended
│  │  ■ end: ends the call
│  └─ busy, noAnswer, failed
│     ■ ring: ends the call
└─ noInput, noMatch
   ■ end: ends the call
"
    );
}

/// A variable that counts the rounds makes each of them another place: the walk ends, and says that it was cut.
#[test]
fn a_flow_that_never_repeats_is_cut() {
    let flow = "  variables: [{name: round, type: Integer, initial: \"0\"}]\n  steps:\n  - name: menu\n    ask: {prompt: menu, choices: [{digits: \"1\", next: more}], noInput: end, noMatch: end}\n  - {name: more, set: {values: [{variable: round, value: round + 1}], next: menu}}\n  - {name: end, hangup: {}}\n";
    let explained = asked(&with_flow(flow), &question("+13125550199", MAIN), "2026-06-17T14:00:00Z");
    let walk = explained[0].walk.as_ref().unwrap();
    assert_eq!((walk.places.len(), walk.cut), (sim::walk::DEPTH_MAX, 1));
    assert!(told(&explained).contains("✂ cut: this leads further than is shown here"));
    assert!(told(&explained).ends_with("✂ cut: 1 ways lead further than is shown here\n"));
}

#[test]
fn the_explanation_is_the_edges_own() {
    let explained = asked(&quickstart(), &question("+13125550199", MAIN), "2026-06-17T14:00:00Z");
    let json = serde_json::to_value(&explained).unwrap();
    let outcome = &json[0]["explanation"]["outcome"]["routed"];
    assert_eq!(outcome["flow"], "acme/main");
    assert!(matches!(explained[0].explanation.outcome, Outcome::Routed { .. }));
}
