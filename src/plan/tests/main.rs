//! Folders of manifests, as a person keeps them.

mod support;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use plan::{Plan, Problem, SourceFile};

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
