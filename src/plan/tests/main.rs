//! Folders of manifests, as a person keeps them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod kept;
mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use plan::{Plan, Problem, Reason, SourceFile};

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
    let root = repository().join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 35, "{} cases: the folder of goldens is not the one meant", cases.len());
    let mut failures = String::new();
    for case in cases {
        let expected = case.join("expected.txt");
        let mut files = support::folder(&case);
        files.retain(|file| file.path != "expected.txt");
        assert!(!files.is_empty(), "{} is empty", case.display());
        let found = lines(&plan::check(&files, now()));
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

/// Every message says what would be right, in a sentence.
#[test]
fn every_message_is_a_sentence() {
    let root = repository().join("tests/golden");
    for entry in fs::read_dir(&root).unwrap() {
        let files = support::folder(&entry.unwrap().path());
        for problem in plan::check(&files, now()) {
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
    for entry in fs::read_dir(repository().join("tests/golden")).unwrap() {
        let files = support::folder(&entry.unwrap().path());
        for problem in plan::check(&files, now()) {
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
