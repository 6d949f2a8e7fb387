//! The examples: each says what it means, and its README owns up to what is not in effect yet.

use std::{collections::BTreeMap, fs};

use plan::{Plan, Reason, Severity, SourceFile};

use crate::{planned, repository, support};

fn example(name: &str) -> Vec<SourceFile> {
    support::folder(&repository().join("examples").join(name))
}

fn readme(name: &str) -> String {
    fs::read_to_string(repository().join("examples").join(name).join("README.md")).unwrap()
}

/// How many telephone numbers are live.
fn live(plan: &Plan) -> usize {
    plan.clusters.values().flat_map(|cluster| cluster.snapshot.numbers.values()).map(Vec::len).sum()
}

/// The name of a field without its path and index.
fn last(field: &str) -> &str {
    let name = field.rsplit('.').next().unwrap_or(field);
    name.split('[').next().unwrap_or(name)
}

#[test]
fn an_example_has_no_fault_and_its_readme_names_all_that_is_not_in_effect_yet() {
    for name in ["tenant", "carrier-tls", "pbx-trunk", "voice-menu"] {
        let (plan, readme) = (planned(&example(name)), readme(name));
        for problem in &plan.problems {
            assert_eq!(problem.severity, Severity::Warning, "{name}: {problem}");
            // A certificate's key is in no repository.
            let is_certificate =
                problem.reason == Reason::SecretNotFound && problem.field.contains("certificateRef");
            if is_certificate {
                assert!(readme.contains("The certificate is a Secret that no file here has."), "{name}");
                continue;
            }
            assert_eq!(problem.reason, Reason::NotYetEffective, "{name}: {problem}");
            let kind = problem.object.as_ref().unwrap().kind;
            let word = if problem.field == "kind" { kind } else { last(&problem.field) };
            assert!(readme.contains(word), "examples/{name}/README.md does not explain `{word}`: {problem}");
        }
    }
}

#[test]
fn the_contact_centre_is_of_the_size_that_its_readme_says() {
    let files = example("tenant");
    let (resources, _) = plan::load(&files);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for id in resources.ids() {
        *kinds.entry(id.kind).or_default() += 1;
    }
    for (kind, count) in [
        ("PhoneNumber", 40),
        ("Queue", 6),
        ("Agent", 25),
        ("Campaign", 1),
        ("BusinessHours", 3),
        ("Tenant", 1),
    ] {
        assert_eq!(kinds.get(kind), Some(&count), "{kind}");
    }
    let text: String = files.iter().map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).collect();
    for (origin, count) in
        [("RespOrg", 8), ("Ported", 12), ("RemoteCallForwarding", 8), ("Carrier", 6), ("Pbx", 6)]
    {
        assert_eq!(text.matches(&format!("origin: {origin}\n")).count(), count, "{origin}");
    }
    assert!(text.contains("  languages: [en-US, es-US, fr-CA]\n"));
    for language in ["en-US", "es-US", "fr-CA"] {
        assert!(text.matches(&format!("text: {{language: {language}, ")).count() >= 8, "{language}");
    }
    assert_eq!(live(&planned(&files)), 40);
}

#[test]
fn the_contact_centre_uses_what_flows_can_do_in_each_of_its_languages() {
    let files = example("tenant");
    let flows = files.iter().find(|file| file.path == "flows.yaml").unwrap();
    let text = std::str::from_utf8(&flows.bytes).unwrap();
    for verb in
        ["request", "ask", "queue", "callback", "voicemail", "transfer", "call", "play", "hours", "hangup"]
    {
        let count = text.matches(&format!("\n    {verb}:")).count();
        assert!(count >= 3, "{verb} stands {count} times");
    }
    for verb in ["split", "message", "wait", "dial"] {
        assert!(text.contains(&format!("\n    {verb}:")), "{verb}");
    }
}

#[test]
fn a_trunk_under_tls_is_live_and_none_of_it_is_in_the_clear() {
    let plan = planned(&example("carrier-tls"));
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    let listeners: Vec<&str> =
        snapshot.cluster.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(listeners, ["tls"]);
    assert_eq!((snapshot.trunks.len(), live(&plan)), (1, 1));
    let trunk = snapshot.trunks.values().next().unwrap();
    assert!(trunk.tls.client_certificate && trunk.peers.iter().all(|peer| peer.port == 5061));
}

#[test]
fn the_numbers_of_the_pbx_and_the_forwarded_one_are_live() {
    let plan = planned(&example("pbx-trunk"));
    assert_eq!(live(&plan), 2);
}
