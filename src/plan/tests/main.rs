//! Folders of manifests, as a person keeps them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod demand;
mod diagram;
mod examples;
mod firewall;
mod gitops;
mod kept;
mod planner;
mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use jiff::Timestamp;
use plan::{ConditionType, Plan, Problem, Reason, Resources, SourceFile, Verdict};
use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn quickstart() -> Vec<SourceFile> {
    support::folder(&repository().join("examples/quickstart"))
}

fn planned(files: &[SourceFile]) -> Plan {
    let (resources, _) = plan::load(files);
    plan::plan(&resources, None, now())
}

/// What `check` says of each golden, and what pods and statuses would be told of it, found out once for all tests.
static GOLDENS: LazyLock<Vec<(PathBuf, Vec<Problem>, String)>> = LazyLock::new(|| {
    let folders = fs::read_dir(repository().join("tests/golden")).unwrap();
    let mut cases: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    // A pull request on an example, which `tests/check` is about.
    cases.retain(|case| !case.ends_with("pull-request"));
    cases.sort();
    let check = |case: PathBuf| {
        let mut files = support::folder(&case);
        files.retain(|file| !["expected.txt", "out.yaml"].contains(&file.path.as_str()));
        assert!(!files.is_empty(), "{} is empty", case.display());
        let (resources, _) = plan::load(&files);
        let plan = plan::plan(&resources, None, now());
        let outcome = outcome(&plan, &resources);
        (case, plan.problems, outcome)
    };
    cases.into_iter().map(check).collect()
});

/// Conditions of every object, and every section of every cluster.
fn outcome(plan: &Plan, resources: &Resources) -> String {
    let conditions = |verdict: Verdict<'_>| {
        let [accepted, resolved] =
            [ConditionType::Accepted, ConditionType::ResolvedRefs].map(|condition| verdict.told(condition));
        (verdict.object.to_string(), json!({"Accepted": accepted, "ResolvedRefs": resolved}))
    };
    let statuses: serde_json::Map<_, _> = plan.verdicts(resources).into_iter().map(conditions).collect();
    let clusters = plan.clusters.iter().map(|(id, cluster)| {
        let sections = cluster.sections().unwrap();
        let content = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let all = sections.iter().map(|(name, section)| (name.to_string(), content(section.bytes())));
        let all: serde_json::Map<_, _> = all.collect();
        (id.to_string(), json!({"digest": sections.digest(), "sections": all}))
    });
    let clusters: serde_json::Map<_, _> = clusters.collect();
    // An object of nobody's kind: `check` of the folder passes it over.
    let outcome = json!({
        "apiVersion": "tests/v1", "kind": "Outcome", "metadata": {"name": "out"},
        "clusters": clusters, "statuses": statuses,
    });
    serde_yaml::to_string(&outcome).unwrap()
}

/// How many cases of a property are tried: `PROPTEST_CASES`, else few enough for every day.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn the_quickstart_is_without_fault() {
    assert_eq!(lines(&plan::check(&quickstart(), now())), "");
}

#[test]
fn the_quickstart_compiles_to_this() {
    let plan = planned(&quickstart());
    let snapshots: Vec<_> = plan.clusters.values().map(|cluster| &cluster.snapshot).collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&snapshots).unwrap());
}

/// Each folder of `tests/golden` holds manifests and, in `expected.txt`, what `check` says of them.
/// `UPDATE_GOLDEN=1` writes the files anew; read every line of the difference.
#[test]
fn each_broken_manifest_gets_the_expected_lines() {
    assert!(GOLDENS.len() >= 150, "{} cases: the folder of goldens is not the one meant", GOLDENS.len());
    let mut failures = String::new();
    for (case, problems, _) in &*GOLDENS {
        let expected = case.join("expected.txt");
        let found = lines(problems);
        assert!(!found.is_empty(), "{} is not broken", case.display());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            failures += &format!("{}\nwanted:\n{wanted}found:\n{found}\n", case.display());
        }
    }
    assert_eq!(failures, "");
}

/// In `out.yaml` stands what would be told of it: the conditions of each object, and the sections of each cluster with
/// their hash. `UPDATE_GOLDEN=1` writes the files anew; read every line of the difference.
#[test]
fn each_broken_manifest_leads_to_the_expected_statuses_and_sections() {
    let mut failures = String::new();
    for (case, _, found) in &*GOLDENS {
        let expected = case.join("out.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, found).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if *found != wanted {
            failures += &format!("{}\nwanted:\n{wanted}found:\n{found}\n", case.display());
        }
    }
    assert_eq!(failures, "");
}

/// Every message says what would be right, in a sentence.
#[test]
fn every_message_is_a_sentence() {
    for (_, problems, _) in &*GOLDENS {
        for problem in problems {
            let message = &problem.message;
            let first = message.chars().next().unwrap();
            assert!(first == '`' || !first.is_lowercase(), "{problem}");
            assert!(message.ends_with(['.', '?']) && !message.ends_with(".."), "{problem}");
            assert!(!message.contains('\n') && message.len() < 500, "{problem}");
        }
    }
}

#[test]
fn every_reason_has_a_golden() {
    let mut missing: BTreeSet<_> = Reason::ALL.iter().copied().collect();
    for (_, problems, _) in &*GOLDENS {
        for problem in problems {
            missing.remove(&problem.reason);
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn a_problem_as_json_names_file_line_column_reason_object_and_field() {
    let files = support::folder(&repository().join("tests/golden/enum-misspelt"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan::check(&files, now())).unwrap());
}

/// Bounds hold before anything is calculated: a manifest of megabytes is refused in the time it takes to read it.
#[test]
fn oversized_lists_are_refused_without_looking_at_them() {
    let steps = "  - {name: a, hangup: {}}\n".repeat(100_000);
    let flow = format!(
        "apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {{name: big}}\nspec:\n  steps:\n{steps}"
    );
    let files = [SourceFile { path: "big.yaml".into(), bytes: flow.into_bytes().into() }];
    let problems = plan::check(&files, now());
    assert_eq!(
        lines(&problems),
        "big.yaml:5:3: error[InvalidValue]: `steps` must have 1 to 500 entries, but has 100000.\n"
    );
}

/// Ten thousand numbers, each an object of its own: far below a second where it is compiled with optimisation.
#[test]
fn many_numbers_are_planned_without_comparing_each_with_each() {
    let number = |index: usize| {
        format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: n{index}, namespace: acme}}\nspec: {{number: \"+1312{index:07}\", kind: Local, origin: Carrier, trunkRef: {{namespace: platform, name: carrier}}, flowRef: {{name: main}}}}\n"
        )
    };
    let mut files = quickstart();
    let carrier = files.iter_mut().find(|file| file.path == "carrier.yaml").unwrap();
    let text = std::str::from_utf8(&carrier.bytes).unwrap();
    let grant = "- {first: \"+13120000000\", last: \"+13129999999\"}\n    - {first: \"+18005550100\"";
    carrier.bytes = text.replacen("- {first: \"+18005550100\"", grant, 1).into_bytes().into();
    let numbers: String = (0..10_000).map(number).collect();
    files.push(SourceFile { path: "many.yaml".into(), bytes: numbers.into_bytes().into() });
    let plan = planned(&files);
    assert_eq!(lines(&plan.problems), "");
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    assert_eq!(snapshot.numbers.values().map(Vec::len).sum::<usize>(), 10_002);
}

/// Written by an earlier version; the next leader begins with such bytes after an upgrade, and a rolled back one after that.
#[test]
fn last_good_forms_of_an_earlier_version_stay_live() {
    let files = support::folder(&repository().join("examples/pbx-trunk"));
    let good = planned(&files);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/plan-1");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, good.to_stored().unwrap()).unwrap();
    }
    let last = Plan::from_stored(&fs::read(&golden).unwrap()).unwrap();
    let spoil = |file: SourceFile| {
        let text = String::from_utf8(file.bytes.to_vec()).unwrap();
        SourceFile {
            bytes: text.replace("next: end, busy", "next: nowhere, busy").into_bytes().into(),
            ..file
        }
    };
    let spoilt: Vec<SourceFile> = files.into_iter().map(spoil).collect();
    let (resources, _) = plan::load(&spoilt);
    let kept = plan::plan(&resources, Some(&last), now());
    assert!(kept.problems.iter().any(|problem| problem.reason == Reason::UnknownStep));
    let digests = |plan: &Plan| -> Vec<_> {
        plan.clusters.values().map(|cluster| cluster.sections().unwrap().digest()).collect()
    };
    assert_eq!(digests(&kept), digests(&good));
    // What a newer version adds is passed over, if it calls the form the same.
    let bytes = fs::read(&golden).unwrap();
    let json = std::str::from_utf8(&bytes[65..]).unwrap().replacen('{', "{\"added\":1,", 1);
    let stored = format!("{}\n{json}", model::section::Digest::of(json.as_bytes()));
    assert!(Plan::from_stored(stored.as_bytes()).is_ok());
}
