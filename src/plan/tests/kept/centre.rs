//! The table of what is kept, for queues, agents and all else that a contact centre is made of.

use plan::{Plan, SourceFile};

use super::{after, edited};
use crate::{lines, planned};

const CENTRE: &str = include_str!("centre.yaml");

/// What becomes of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Pods know it as it was.
    Kept,
    /// Pods know it no more.
    Gone,
}

use Then::{Gone, Kept};

/// What befalls it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// What stands in the file, and what shall stand there.
    Edit(&'static str, &'static str),
    /// An object is deleted, by its kind and name.
    Delete(&'static str, &'static str),
    /// Its namespace is no longer allowed on the cluster.
    Withdrawn,
}

use Fate::{Delete, Edit, Withdrawn};

const ROWS: &[(&str, &str, Fate, Then)] = &[
    (
        "Queue",
        "acme/sales",
        Edit("music: [music], ringSeconds: 15", "music: [music], ringSeconds: fifteen"),
        Kept,
    ),
    ("Queue", "acme/sales", Edit("music: [music], ringSeconds: 15", "music: [muzak], ringSeconds: 20"), Kept),
    ("Queue", "acme/sales", Delete("Prompt", "music"), Kept),
    ("Queue", "acme/sales", Delete("Queue", "sales"), Gone),
    ("Queue", "acme/sales", Withdrawn, Gone),
    ("Agent", "acme/ada", Edit("displayName: Ada", "displayName: [Ada]"), Kept),
    ("Agent", "acme/ada", Edit("outboundNumber: \"+12125550100\"", "outboundNumber: \"+12125550999\""), Kept),
    ("Agent", "acme/ada", Delete("Agent", "ada"), Gone),
    ("Agent", "acme/ada", Withdrawn, Gone),
    ("VoicemailBox", "acme/support", Edit("messageSeconds: 60", "messageSeconds: sixty"), Kept),
    ("VoicemailBox", "acme/support", Delete("Queue", "sales"), Kept),
    ("VoicemailBox", "acme/support", Delete("Prompt", "music"), Kept),
    ("VoicemailBox", "acme/support", Delete("VoicemailBox", "support"), Gone),
    ("VoicemailBox", "acme/support", Withdrawn, Gone),
    ("Integration", "acme/crm", Edit("timeoutSeconds: 2", "timeoutSeconds: 2000"), Kept),
    ("Integration", "acme/crm", Edit("https://crm.example.com", "https://10.0.0.5"), Kept),
    ("Integration", "acme/crm", Delete("Integration", "crm"), Gone),
    ("Integration", "acme/crm", Withdrawn, Gone),
    ("ContactList", "acme/leads", Edit("number: \"+12125550123\"", "number: 12125550123"), Kept),
    ("ContactList", "acme/leads", Delete("ContactList", "leads"), Gone),
    ("ContactList", "acme/leads", Withdrawn, Gone),
    ("DoNotCallList", "acme/never", Edit("[\"+12125550124\"]", "[\"125\"]"), Kept),
    ("DoNotCallList", "acme/never", Delete("DoNotCallList", "never"), Gone),
    ("DoNotCallList", "acme/never", Withdrawn, Gone),
    ("Campaign", "acme/spring", Edit("ringSeconds: 25", "ringSeconds: -1"), Kept),
    ("Campaign", "acme/spring", Delete("ContactList", "leads"), Kept),
    ("Campaign", "acme/spring", Delete("Queue", "sales"), Kept),
    ("Campaign", "acme/spring", Delete("BusinessHours", "calling"), Kept),
    ("Campaign", "acme/spring", Delete("Campaign", "spring"), Gone),
    ("Campaign", "acme/spring", Withdrawn, Gone),
    ("ContactPoint", "acme/web", Edit("idleSeconds: 900", "idleSeconds: soon"), Kept),
    ("ContactPoint", "acme/web", Delete("RoutingFlow", "chats"), Kept),
    ("ContactPoint", "acme/web", Delete("ContactPoint", "web"), Gone),
    ("ContactPoint", "acme/web", Withdrawn, Gone),
];

fn with(text: &str, more: &[(&str, &str, &str)]) -> Vec<SourceFile> {
    let mut files = edited(more);
    files.push(SourceFile { path: "centre.yaml".into(), bytes: text.as_bytes().into() });
    files
}

fn befallen(fate: Fate) -> Vec<SourceFile> {
    match fate {
        Edit(from, to) => {
            assert!(CENTRE.contains(from), "{from}");
            with(&CENTRE.replacen(from, to, 1), &[])
        }
        Delete(kind, name) => {
            let is_it = |document: &&str| {
                document.contains(&format!("kind: {kind}\n"))
                    && document.contains(&format!("{{name: {name},"))
            };
            let rest: Vec<&str> = CENTRE.split("---\n").filter(|document| !is_it(document)).collect();
            assert_eq!(rest.len() + 1, CENTRE.split("---\n").count(), "{kind} {name}");
            with(&rest.join("---\n"), &[])
        }
        Withdrawn => with(CENTRE, &[("cluster.yaml", "allowedNamespaces: [acme]", "allowedNamespaces: []")]),
    }
}

/// The object as pods know it, with all that may be heard, and the flow that a point of contact leads to.
fn known(plan: &Plan, kind: &str, name: &str) -> Option<String> {
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    let json = serde_json::to_value(&snapshot.centre).unwrap();
    let field = match kind {
        "Queue" => "queues",
        "Agent" => "agents",
        "VoicemailBox" => "voicemailBoxes",
        "Integration" => "integrations",
        "ContactList" => "contactLists",
        "DoNotCallList" => "doNotCallLists",
        "Campaign" => "campaigns",
        _ => "contactPoints",
    };
    let form = json[field].get(name)?;
    let music = snapshot.audio.values().filter(|audio| audio.prompt.0.as_str() == "acme/music").count();
    let hours = snapshot.hours.keys().filter(|hours| hours.0.as_str() == "acme/calling").count();
    let flow = snapshot.flows.keys().filter(|flow| flow.0.as_str() == "acme/chats").count();
    let needs = match kind {
        "Queue" | "VoicemailBox" => music,
        "Campaign" => hours,
        "ContactPoint" => flow,
        _ => 0,
    };
    Some(format!("{form} {needs}"))
}

#[test]
fn what_befalls_a_contact_centre_also_after_a_restart() {
    let good = planned(&with(CENTRE, &[]));
    let errors = |plan: &Plan| lines(&plan.problems).matches(": error[").count();
    assert_eq!(errors(&good), 0, "{}", lines(&good.problems));
    let stored = Plan::from_stored(&good.to_stored().unwrap()).unwrap();
    for (kind, name, fate, then) in ROWS {
        let files = befallen(*fate);
        for last in [&good, &stored] {
            let plan = after(last, &files);
            let told = lines(&plan.problems);
            let wanted = if *then == Kept { known(&good, kind, name) } else { None };
            assert_eq!(known(&plan, kind, name), wanted, "{kind} {fate:?}: {told}");
            assert_eq!(known(&after(&plan, &files), kind, name), wanted, "{kind} {fate:?}, planned again");
            assert!(*then == Gone || errors(&plan) > 0, "{kind} {fate:?}: nothing is said");
        }
        let mended = after(&after(&good, &files), &with(CENTRE, &[]));
        assert_eq!(known(&mended, kind, name), known(&good, kind, name), "{kind} {fate:?}, mended");
    }
}

#[test]
fn a_wrong_object_that_was_never_right_is_known_to_no_pod() {
    let plan = planned(&befallen(Edit("music: [music], ringSeconds: 15", "music: [muzak], ringSeconds: 20")));
    assert_eq!(known(&plan, "Queue", "acme/sales"), None);
}
