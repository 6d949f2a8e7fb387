//! The table of what is kept: each kind, and what can befall it.

use plan::{Plan, SourceFile};

use super::{after, edited, live, same_snapshot};
use crate::{lines, planned, quickstart};

/// What becomes of calls.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Everything goes on as before.
    Kept,
    /// These numbers are live, and no others.
    Live(&'static [&'static str]),
    /// All numbers are live, but nobody can call by this trunk.
    NobodyBy(&'static str),
}

use Then::{Kept, Live, NobodyBy};

/// What befalls an object.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is edited: file, what stands there, what shall stand there.
    Edit(&'static str, &'static str, &'static str),
    /// An object is deleted: its kind and name.
    Delete(&'static str, &'static str),
    /// A file beside the manifests is deleted.
    Lose(&'static str),
}

use Fate::{Delete, Edit, Lose};

const ROWS: &[(&str, &str, Fate, Then)] = &[
    ("VoiceCluster", "invalid", Edit("cluster.yaml", "port: 5060", "port: 0"), Kept),
    ("VoiceCluster", "deleted", Delete("VoiceCluster", "c14"), Live(&[])),
    (
        "VoiceCluster",
        "grant withdrawn",
        Edit("cluster.yaml", "allowedNamespaces: [acme]", "allowedNamespaces: []"),
        Live(&[]),
    ),
    ("Tenant", "invalid", Edit("tenant.yaml", "country: US", "country: usa"), Kept),
    ("Tenant", "reference deleted", Delete("VoiceCluster", "c14"), Live(&[])),
    ("Tenant", "deleted", Delete("Tenant", "acme"), Live(&[])),
    ("Allowlist", "invalid", Edit("carrier.yaml", "127.0.0.1/32", "127.0.0.1/33"), Kept),
    ("Allowlist", "deleted", Delete("Allowlist", "carrier"), NobodyBy("platform/carrier")),
    (
        "Allowlist",
        "entry removed",
        Edit("carrier.yaml", "ranges:\n  - {cidr: 127.0.0.1/32, comment: This machine}\n", "ranges: []\n"),
        NobodyBy("platform/carrier"),
    ),
    ("Trunk", "invalid", Edit("carrier.yaml", "network: loopback", "network: lan"), Kept),
    ("Trunk", "invalid", Edit("carrier.yaml", "delivers: Pstn", "delivers: Pstn\n  codecs: [G729]"), Kept),
    ("Trunk", "invalid", Edit("carrier.yaml", "delivers: Pstn", "delivers: Pstn\n  srtp: Allways"), Kept),
    ("Trunk", "reference deleted", Delete("Allowlist", "carrier"), NobodyBy("platform/carrier")),
    ("Trunk", "deleted", Delete("Trunk", "carrier"), Live(&[])),
    ("PhoneNumber", "invalid", Edit("numbers.yaml", "kind: TollFree", "kind: Free"), Kept),
    (
        "PhoneNumber",
        "invalid",
        Edit("numbers.yaml", "origin: RespOrg", "origin: RespOrg\n  porting: {fromCarrier: x}"),
        Kept,
    ),
    ("PhoneNumber", "reference deleted", Delete("RoutingFlow", "main"), Kept),
    ("PhoneNumber", "deleted", Delete("PhoneNumber", "main"), Live(&["+12125550100"])),
    (
        "PhoneNumber",
        "grant withdrawn",
        Edit("carrier.yaml", "    - {first: \"+18005550100\", last: \"+18005550100\"}\n", ""),
        Live(&["+12125550100"]),
    ),
    ("RoutingFlow", "invalid", Edit("flow-main.yaml", "next: sales", "next: sails"), Kept),
    ("RoutingFlow", "reference deleted", Delete("Prompt", "menu"), Kept),
    ("RoutingFlow", "reference deleted", Delete("BusinessHours", "office"), Kept),
    ("RoutingFlow", "deleted", Delete("RoutingFlow", "main"), Kept),
    ("Prompt", "invalid", Edit("prompts.yaml", "{file: prompts/menu.wav}", "{file: prompts/menu.mp3}"), Kept),
    ("Prompt", "reference deleted", Lose("prompts/menu.wav"), Kept),
    ("Prompt", "deleted", Delete("Prompt", "menu"), Kept),
    ("BusinessHours", "invalid", Edit("tenant.yaml", "from: \"00:00\"", "from: \"25:00\""), Kept),
    ("BusinessHours", "deleted", Delete("BusinessHours", "office"), Kept),
];

fn befallen(fate: Fate) -> Vec<SourceFile> {
    match fate {
        Edit(file, from, to) => edited(&[(file, from, to)]),
        Delete(kind, name) => without(kind, name),
        Lose(path) => {
            let mut files = quickstart();
            let before = files.len();
            files.retain(|file| file.path != path);
            assert_eq!(files.len() + 1, before, "{path}");
            files
        }
    }
}

/// The quickstart without the document of one object.
fn without(kind: &str, name: &str) -> Vec<SourceFile> {
    let (kind, name) = (format!("kind: {kind}\n"), format!("metadata: {{name: {name},"));
    let mut files = quickstart();
    let mut found = 0;
    for file in files.iter_mut().filter(|file| file.path.ends_with(".yaml")) {
        let text = std::str::from_utf8(&file.bytes).unwrap();
        let is_it = |document: &&str| document.contains(&kind) && document.contains(&name);
        found += text.split("---\n").filter(is_it).count();
        let rest: Vec<&str> = text.split("---\n").filter(|document| !is_it(document)).collect();
        file.bytes = rest.join("---\n").into_bytes().into();
    }
    assert_eq!(found, 1, "{kind}{name}");
    files
}

fn numbers(plan: &Plan) -> Vec<String> {
    live(plan).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

fn sources(plan: &Plan, trunk: &str) -> usize {
    let trunks = plan.clusters.values().flat_map(|cluster| cluster.snapshot.trunks.iter());
    trunks.filter(|(id, _)| id.0.as_str() == trunk).map(|(_, trunk)| trunk.sources.len()).sum()
}

#[test]
fn what_befalls_an_object_has_this_effect_on_calls_also_after_a_restart() {
    let good = planned(&quickstart());
    let stored = Plan::from_stored(&good.to_stored().unwrap()).unwrap();
    for (kind, what, fate, then) in ROWS {
        let files = befallen(*fate);
        let plan = after(&good, &files);
        let told = lines(&plan.problems);
        match then {
            Kept => assert_eq!(live(&plan), live(&good), "{kind} {what}: {told}"),
            Live(wanted) => assert_eq!(numbers(&plan), *wanted, "{kind} {what}: {told}"),
            NobodyBy(trunk) => {
                assert_eq!(live(&plan), live(&good), "{kind} {what}: {told}");
                assert_eq!(sources(&plan, trunk), 0, "{kind} {what}: {told}");
            }
        }
        let unharmed = *then == Kept && sources(&plan, "platform/carrier") == 0;
        assert!(!unharmed, "{kind} {what}: the carrier is shut out: {told}");
        assert!(
            same_snapshot(&after(&stored, &files), &plan),
            "{kind} {what}: another effect after a restart"
        );
    }
}

/// Pods know nothing of them, so nothing of them can harm a call.
#[test]
fn kinds_that_no_pod_knows_change_no_call_whatever_befalls_them() {
    let good = planned(&quickstart());
    for text in [
        "kind: Carrier\nmetadata: {name: c, namespace: platform}\nspec: {company: Example, popRefs: [{name: x}]}",
        "kind: PointOfPresence\nmetadata: {name: x, namespace: platform}\nspec: {region: 7}",
        "kind: NumberOrder\nmetadata: {name: o, namespace: acme}\nspec: {carrierRef: {namespace: platform, name: c}}",
        "kind: CallTest\nmetadata: {name: t, namespace: acme}\nspec: {call: {from: x}}",
    ] {
        let mut files = quickstart();
        let text = format!("apiVersion: switchboard.dev/v1alpha1\n{text}\n");
        files.push(SourceFile { path: "more.yaml".into(), bytes: text.into_bytes().into() });
        let plan = after(&good, &files);
        assert_ne!(lines(&plan.problems), "");
        assert!(same_snapshot(&plan, &good), "{}", lines(&plan.problems));
        assert!(same_snapshot(&after(&plan, &quickstart()), &good));
    }
}
