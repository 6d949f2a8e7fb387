//! Which calls change where flows queue, ask services, take messages and call each other.

use plan::SourceFile;

use crate::{
    changes::{compared, planned},
    example,
};

/// What the receptionist's numbers lead to, in the example of a tenant.
const RECEPTION: (&str, &str) =
    ("# The receptionist's telephone at the branch rings at once, then Chloe's.", "---\n# Where chats");

/// The tenant with `flow` in place of the receptionist's, from its variables on.
fn with(flow: &str) -> Vec<SourceFile> {
    let mut files = example("tenant");
    let file = files.iter_mut().find(|file| file.path == "flows.yaml").unwrap();
    let text = std::str::from_utf8(&file.bytes).unwrap();
    let (before, rest) = text.split_once(RECEPTION.0).unwrap();
    let (_, after) = rest.split_once(RECEPTION.1).unwrap();
    let head = "apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {name: reception, namespace: acme}\nspec:\n";
    file.bytes = format!("{before}\n{head}{flow}---\n# Where chats{after}").into_bytes().into();
    files
}

/// A flow that queues in office hours and takes messages else.
const QUEUE: &str = "  variables: [{name: vip, type: Boolean}]
  onError: message
  steps:
  - {name: hours, hours: {ref: office, closed: message, holiday: message}}
  - {name: sales, queue: {ref: sales, timedOut: offer, full: message, noAgents: message, next: goodbye}}
  - {name: offer, ask: {prompt: callback-offer, maxVisits: 2, choices: [{digits: \"1\", phrases: [call me], next: call-me}], noInput: sales, noMatch: sales}}
  - {name: call-me, callback: {queue: sales, keepPlace: true, next: goodbye, failed: message}}
  - {name: message, voicemail: {box: support, greeting: closed, maxSeconds: 120, next: goodbye, failed: goodbye}}
  - {name: goodbye, hangup: {prompt: goodbye}}
";

/// What comes of each of some edits of a flow. Behind it stands another flow, if there is one.
fn all(flow: &str, cases: &[(&str, &[(&str, &str)])]) -> String {
    let old = planned(&with(flow));
    let mut text = String::new();
    for (title, edits) in cases {
        let mut new = flow.to_owned();
        for (from, to) in *edits {
            assert!(new.contains(from), "{title}: {from}");
            new = new.replace(from, to);
        }
        let changes = compared(&old, &planned(&with(&new))).to_string();
        // The numbers are the same in each case.
        let numbers = "+12125550100, +12125550104, +12125550108, +16175550100, +16175550102, +16175550104\n";
        let changes = changes.strip_prefix(numbers).unwrap_or(&changes);
        text += &format!("## {title}\n{changes}\n");
    }
    text
}

#[test]
fn queues_change_calls_by_whom_they_bring_them_to() {
    let queue = "- {name: sales, queue: {ref: sales, timedOut: offer";
    let (request, path) =
        ("- {name: ask, request: {integration: crm, ", "path: '\"/contacts/\" + contact.number'");
    let ask =
        format!("{request}{path}, save: [{{variable: vip, from: body.vip}}], failed: sales}}}}\n  {queue}");
    insta::assert_snapshot!(all(
        QUEUE,
        &[
            ("another queue", &[("ref: sales", "ref: billing")]),
            (
                "a box in place of a queue",
                &[(
                    "  - {name: sales, queue: {ref: sales, timedOut: offer, full: message, noAgents: message, next: goodbye}}\n  - {name: offer, ask: {prompt: callback-offer, maxVisits: 2, choices: [{digits: \"1\", phrases: [call me], next: call-me}], noInput: sales, noMatch: sales}}\n  - {name: call-me, callback: {queue: sales, keepPlace: true, next: goodbye, failed: message}}\n",
                    ""
                )]
            ),
            ("nobody is there", &[("noAgents: message", "noAgents: goodbye")]),
            ("waits at most a minute", &[("ref: sales, timed", "ref: sales, maxWaitSeconds: 60, timed")]),
            ("comes first", &[("ref: sales, timed", "ref: sales, priority: \"9\", timed")]),
            ("may say something else", &[("[call me]", "[call me, ring me]")]),
            ("at the end of the queue", &[("keepPlace: true", "keepPlace: false")]),
            ("another greeting", &[("greeting: closed", "greeting: busy")]),
            ("longer messages", &[("maxSeconds: 120", "maxSeconds: 240")]),
            (
                "recorded",
                &[(queue, &format!("- {{name: tape, record: {{action: Start, failed: sales}}}}\n  {queue}"))]
            ),
            (
                "a pause before",
                &[(queue, &format!("- {{name: pause, wait: {{seconds: 3, prompt: music}}}}\n  {queue}"))]
            ),
            (
                "handed on",
                &[(
                    "call-me, callback: {queue: sales, keepPlace: true, next: goodbye, failed: message}",
                    "call-me, transfer: {to: {number: \"+16175550150\"}, busy: message, noAnswer: message, failed: message}"
                )]
            ),
            ("a service is asked in vain", &[(queue, &ask)]),
            (
                "a service decides over the priority",
                &[(queue, &ask), ("ref: sales, timed", "ref: sales, priority: \"vip ? 9 : 5\", timed"),]
            ),
            (
                "a tenth tries the menu",
                &[(
                    queue,
                    &format!(
                        "- {{name: lot, split: {{parts: [{{percent: 10, next: offer}}], otherwise: sales}}}}\n  {queue}"
                    )
                )]
            ),
        ]
    ));
}

/// Steps that move to a flow of their own change no call; what is changed there changes those of its callers.
#[test]
fn a_called_flow_is_part_of_its_callers() {
    let steps = "  - {name: ask, request: {integration: crm, path: '\"/\" + contact.number', save: [{variable: vip, from: body.vip}], failed: sales}}
  - {name: who, branch: {cases: [{when: vip, next: gold}], otherwise: sales}}
  - {name: gold, play: {prompt: welcome}}
";
    let head = "  variables: [{name: vip, type: Boolean}]\n  onError: message\n  steps:\n";
    let tail = "  - {name: sales, queue: {ref: sales, next: message}}
  - {name: message, voicemail: {box: support, next: goodbye, failed: goodbye}}
  - {name: goodbye, hangup: {}}
";
    let inline = format!("{head}{steps}{tail}");
    let called = |prompt: &str, hours: &str| {
        let steps =
            steps.replace("failed: sales", "failed: end").replace("otherwise: sales", "otherwise: end");
        let steps = steps.replace("prompt: welcome", &format!("prompt: {prompt}"));
        let sub = format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {{name: greet, namespace: acme}}\nspec:\n  variables: [{{name: best, type: Boolean}}]\n  steps:\n{hours}{}  - {{name: end, wait: {{seconds: 1}}}}\n",
            steps.replace("vip", "best").replace("body.best", "body.vip")
        );
        format!("  onError: message\n  steps:\n  - {{name: greet, call: {{flow: greet}}}}\n{tail}{sub}")
    };
    let pause = inline
        .replace("  - {name: sales", "  - {name: pause, wait: {seconds: 1}}\n  - {name: sales")
        .replace("failed: sales", "failed: pause")
        .replace("otherwise: sales", "otherwise: pause");
    let told = |old: &str, new: &str| compared(&planned(&with(old)), &planned(&with(new))).to_string();
    let hours = "  - {name: open, hours: {ref: office, closed: end, holiday: end}}\n";
    insta::assert_snapshot!(format!(
        "## moved to a flow of its own\n{}\n## another prompt there\n{}\n## hours there\n{}",
        told(&pause, &called("welcome", "")),
        told(&called("welcome", ""), &called("busy", "")),
        told(&called("welcome", ""), &called("welcome", hours)),
    ));
}

#[test]
fn saturdays_off_bring_contacts_to_the_box() {
    let old = with(QUEUE);
    let mut new = old.clone();
    let hours = new.iter_mut().find(|file| file.path == "hours.yaml").unwrap();
    let text = std::str::from_utf8(&hours.bytes).unwrap();
    let saturday = "  - {days: [Saturday], from: \"10:00\", to: \"18:00\"}\n";
    assert!(text.contains(saturday));
    hours.bytes = text.replacen(saturday, "", 1).into_bytes().into();
    let changes = compared(&planned(&old), &planned(&new)).to_string();
    let line = "  Sat 10:00–18:00: Queue/sales → VoicemailBox/support\n";
    assert!(changes.contains(line), "{changes}");
}

/// What stands in queues, boxes and services is noticed by whoever is brought there.
#[test]
fn queues_boxes_and_agents_are_part_of_a_call() {
    let flow = QUEUE.replace("greeting: closed, maxSeconds: 120, ", "");
    let old = with(&flow);
    let told = |file: &str, from: &str, to: &str| {
        let mut new = old.clone();
        let changed = new.iter_mut().find(|known| known.path == file).unwrap();
        let text = std::str::from_utf8(&changed.bytes).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        changed.bytes = text.replacen(from, to, 1).into_bytes().into();
        format!("## {from} → {to}\n{}\n", compared(&planned(&old), &planned(&new)))
    };
    insta::assert_snapshot!(
        [
            told("queues.yaml", "minimum: 4", "minimum: 9"),
            told("queues.yaml", "waitSeconds: 900", "waitSeconds: 600"),
            told("tenant.yaml", "music: [music]", "music: [please-wait]"),
            told("queues.yaml", "afterSeconds: 45", "afterSeconds: 30"),
            told("queues.yaml", "greeting: closed", "greeting: busy"),
            told("queues.yaml", "support@example.com", "help@example.com"),
            told("queues.yaml", "wrapUpSeconds: 30", "wrapUpSeconds: 40"),
            told("agents.yaml", "skills: [{name: sales, level: 4}]", "skills: [{name: sales, level: 3}]"),
            told("agents.yaml", "displayName: Ada Lopez", "displayName: Ada Lovelace"),
        ]
        .concat()
    );
}
