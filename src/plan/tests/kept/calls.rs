//! Flows that call each other, and what else a flow refers to: what stays live when one of them is wrong or gone.

use model::FlowId;
use plan::{Plan, SourceFile};

use super::{after, live, same_snapshot};
use crate::{lines, planned, quickstart};

const HEAD: &str = "apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {name: NAME, namespace: acme}\nspec:\n  steps:\n";

/// The main flow waits in a queue, or has another one ask, which leaves a message.
fn documents() -> Vec<(&'static str, String)> {
    let flow = |name: &str, steps: &str| format!("{}{steps}", HEAD.replace("NAME", name));
    let other = |kind: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: switchboard.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: acme}}\nspec: {spec}\n"
        )
    };
    vec![
        (
            "main",
            flow(
                "main",
                "  - {name: wait, queue: {ref: sales, timedOut: more, full: more, noAgents: more}}\n  - {name: more, call: {flow: after-hours}}\n  - {name: end, hangup: {}}\n",
            ),
        ),
        (
            "after-hours",
            flow(
                "after-hours",
                "  - {name: deeper, call: {flow: message}}\n  - {name: bye, play: {prompt: closed}}\n",
            ),
        ),
        (
            "message",
            flow(
                "message",
                "  - {name: leave, voicemail: {box: support, failed: tell}}\n  - {name: tell, play: {prompt: nobody}}\n",
            ),
        ),
        ("sales", other("Queue", "sales", "{}")),
        ("support", other("VoicemailBox", "support", "{emails: [support@example.com]}")),
    ]
}

fn folder(documents: &[(&str, String)]) -> Vec<SourceFile> {
    let mut files = quickstart();
    files.retain(|file| file.path != "flow-main.yaml");
    let texts: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
    files.push(SourceFile { path: "flows.yaml".into(), bytes: texts.join("---\n").into_bytes().into() });
    files
}

fn flows(plan: &Plan) -> Vec<String> {
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    let flows = snapshot.flows.iter();
    flows.map(|(id, program)| format!("{id} {}", program.revision)).collect()
}

#[test]
fn a_flow_brings_those_that_it_calls() {
    let plan = planned(&folder(&documents()));
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    let names = ["after-hours", "main", "message", "reception"];
    assert_eq!(
        snapshot.flows.keys().cloned().collect::<Vec<_>>(),
        names.map(|name| FlowId::new("acme", name))
    );
    let prompts = snapshot.audio.values().map(|audio| audio.prompt.0.name());
    let prompts: Vec<_> = prompts.filter(|name| ["closed", "nobody"].contains(name)).collect();
    assert_eq!(prompts.len(), 2, "prompts of called flows come along");
}

/// Whatever is deleted, made wrong or led in a circle: calls go on as they did, also after a restart.
#[test]
fn what_a_flow_calls_or_names_stays_as_it_was_until_all_is_right_again() {
    let good = planned(&folder(&documents()));
    let stored = Plan::from_stored(&good.to_stored().unwrap()).unwrap();
    let mut bad: Vec<(String, Vec<(&str, String)>)> = Vec::new();
    for (name, _) in documents() {
        let rest = documents().into_iter().filter(|(other, _)| *other != name);
        bad.push((format!("{name} deleted"), rest.collect()));
    }
    for (name, from, to) in [
        ("main", "flow: after-hours", "flow: after-ours"),
        ("after-hours", "prompt: closed", "prompt: closet"),
        ("message", "failed: tell", "failed: tale"),
        ("message", "box: support", "box: suport"),
        ("message", "play: {prompt: nobody}", "call: {flow: main}"),
        ("message", "play: {prompt: nobody}", "call: {flow: message}"),
    ] {
        let edit = |(other, text): (&'static str, String)| {
            let edited = if other == name { text.replace(from, to) } else { text.clone() };
            assert!(other != name || edited != text, "{name} has no {from}");
            (other, edited)
        };
        bad.push((format!("{name}: {to}"), documents().into_iter().map(edit).collect()));
    }
    let gone = documents().into_iter().filter(|(name, _)| ["sales", "support"].contains(name));
    bad.push(("all flows deleted".into(), gone.collect()));
    for (what, documents) in bad {
        let plan = after(&good, &folder(&documents));
        let told = lines(&plan.problems);
        assert!(told.contains("error["), "{what} is wrong");
        assert_eq!((live(&plan), flows(&plan)), (live(&good), flows(&good)), "{what}: {told}");
        // And for as long as it stays wrong, in this process or the next.
        let again = after(&plan, &folder(&documents));
        assert!(same_snapshot(&again, &plan), "{what}");
        assert!(same_snapshot(&after(&stored, &folder(&documents)), &plan), "{what}");
        assert!(same_snapshot(&after(&again, &folder(&self::documents())), &good), "{what}");
    }
}

/// A flow that only another one keeps is not there for anybody new.
#[test]
fn a_deleted_flow_is_there_only_for_those_that_had_it() {
    let good = planned(&folder(&documents()));
    let mut gone: Vec<_> = documents().into_iter().filter(|(name, _)| *name != "message").collect();
    let new = HEAD.replace("NAME", "new")
        + "  - {name: more, call: {flow: message}}\n  - {name: end, hangup: {}}\n";
    gone.push(("new", new));
    let plan = after(&good, &folder(&gone));
    let found = lines(&plan.problems);
    assert_eq!(found.matches("There is no RoutingFlow acme/message").count(), 2, "{found}");
    let mut files = folder(&gone);
    let numbers = files.iter_mut().find(|file| file.path == "numbers.yaml").unwrap();
    let text = std::str::from_utf8(&numbers.bytes)
        .unwrap()
        .replace("flowRef: {name: reception}", "flowRef: {name: message}");
    numbers.bytes = text.into_bytes().into();
    let plan = after(&good, &files);
    assert_eq!(live(&plan).len(), 1, "{}", lines(&plan.problems));
}
