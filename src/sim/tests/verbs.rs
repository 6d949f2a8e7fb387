//! Walks through what only others decide: queues, services, lots, called flows.

use std::{collections::BTreeSet, fs, path::Path};

use plan::SourceFile;
use sim::walk::{End, Next, Target, Walk};

use crate::{MAIN, asked, question, quickstart, told, with_flow};

const NOON: &str = "2026-06-17T14:00:00Z";

/// The walk of a flow in the place of the quickstart's.
fn walked(files: &[SourceFile]) -> Walk {
    let explained = asked(files, &question("+13125550199", MAIN), NOON);
    explained.into_iter().next().and_then(|one| one.walk).unwrap()
}

/// What stands below the explanation.
fn tree(flow: &str) -> String {
    let text = told(&asked(&with_flow(flow), &question("+13125550199", MAIN), NOON));
    text.split_once("\n\n").unwrap().1.to_owned()
}

fn contact_centre() -> Vec<SourceFile> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plan/tests/pictures/contact-centre.yaml");
    let mut files = quickstart();
    let main = files.iter_mut().find(|file| file.path == "flow-main.yaml").unwrap();
    main.bytes = fs::read(path).unwrap().into();
    files
}

#[test]
fn a_contact_centre_is_walked_to_every_end() {
    let walk = walked(&contact_centre());
    assert_eq!(walk.cut, 0);
    let targets: BTreeSet<String> =
        walk.places.iter().flat_map(|place| &place.targets).map(Target::to_string).collect();
    let wanted = [
        "Agent/reception",
        "Integration/crm",
        "Number/+12125550199",
        "Number/+13125550199",
        "Queue/billing",
        "Queue/sales",
        "VoicemailBox/support",
    ];
    assert_eq!(targets, wanted.map(str::to_owned).into());
    let verbs: BTreeSet<&str> = walk.places.iter().map(|place| place.verb).collect();
    assert_eq!(verbs, ["ask", "callback", "dial", "play", "queue", "request", "voicemail"].into());
    // Priority follows what the service said.
    let queues: BTreeSet<&str> =
        walk.places.iter().filter(|place| place.step == "sales").map(|place| place.does.as_str()).collect();
    let at = |priority| format!("waits in Queue acme/sales at priority {priority}");
    let wanted = [at(5), at(9)];
    assert_eq!(queues, wanted.iter().map(String::as_str).collect());
    // The second failure in a row ends the call.
    let ends = walk.places.iter().flat_map(|place| &place.ways).filter_map(|way| match &way.next {
        Next::End { end, step, .. } => Some((step.as_str(), *end)),
        Next::Place(_) | Next::Cut => None,
    });
    let ends: BTreeSet<_> = ends.collect();
    let wanted = [
        ("billing", End::HungUp),
        ("goodbye", End::HungUp),
        ("message", End::Failed),
        ("sales", End::HungUp),
    ];
    assert_eq!(ends, wanted.into());
}

#[test]
fn lots_waits_and_called_flows_are_told_as_they_are() {
    let flow = "  steps:\n  - name: lot\n    split: {parts: [{percent: 5, next: new}], otherwise: old}\n  - {name: new, call: {flow: greet}}\n  - {name: old, wait: {seconds: 10, prompt: welcome}}\n  - {name: end, hangup: {}}\n---\napiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {name: greet, namespace: acme}\nspec:\n  steps:\n  - {name: hello, play: {prompt: welcome}}\n";
    assert_eq!(
        tree(flow),
        "\
[1] lot: draws a lot: 5 % part 1, 95 % otherwise (not answered yet)
├─ part 1
│  · new: called
│  [2] greet/hello: plays Prompt acme/welcome
│  · new: returned
│  → [3] old
└─ otherwise
   [3] old: plays Prompt acme/welcome for 10 s
   ■ end: ends the call
"
    );
}

/// Of what a service answers, those values are gone through that the flow tells apart, and no others.
#[test]
fn unknown_values_are_those_that_the_flow_tells_apart() {
    let integration = "---\napiVersion: switchboard.dev/v1alpha1\nkind: Integration\nmetadata: {name: crm, namespace: acme}\nspec: {url: \"https://crm.example.com\"}\n";
    let flow = format!(
        "  variables: [{{name: tier, type: Integer}}, {{name: team, type: String}}, {{name: unused, type: Boolean}}]\n  steps:\n  - name: lookup\n    request: {{integration: crm, path: '\"/c\"', save: [{{variable: tier, from: body.tier}}, {{variable: team, from: body.team}}, {{variable: unused, from: body.x}}], failed: end}}\n  - name: by-tier\n    branch: {{cases: [{{when: tier > 3, next: gold}}], otherwise: by-team}}\n  - name: by-team\n    branch: {{cases: [{{when: 'team in [\"sales\", \"care\"]', next: busy}}], otherwise: end}}\n  - {{name: gold, hangup: {{reject: Decline}}}}\n  - {{name: busy, hangup: {{reject: Busy}}}}\n  - {{name: end, hangup: {{}}}}\n{integration}"
    );
    let walk = walked(&with_flow(&flow));
    let ways = walk.places[0].ways.iter().map(|way| {
        let Next::End { step, .. } = &way.next else { panic!("{way:?}") };
        format!("{} {}: {step}", way.outcome, way.saved.join(" "))
    });
    let wanted: Vec<String> = [0, 2, 3, 4]
        .iter()
        .flat_map(|tier| {
            [("“sales”", "busy"), ("“care”", "busy"), ("another", "end")].map(|(team, step)| {
                let step = if *tier > 3 { "gold" } else { step };
                format!("answered tier = {tier} team = {team}: {step}")
            })
        })
        .chain(["failed : end".to_owned()])
        .collect();
    assert_eq!(ways.collect::<Vec<_>>(), wanted);
}
