//! The example under GitOps: its base as it stands, and what its overlays render to (`tests/gitops/render` holds these
//! to their sources).

use std::{collections::BTreeMap, fs};

use model::snapshot::Snapshot;
use plan::{Plan, Reason, Severity, SourceFile};

use crate::{lines, now, planned, repository, support};

/// What `kubectl kustomize` makes of an overlay.
fn rendered(overlay: &str) -> Plan {
    let path = repository().join(format!("tests/gitops/{overlay}.yaml"));
    planned(&[SourceFile { path: "-".into(), bytes: fs::read(path).unwrap().into() }])
}

fn snapshot(plan: &Plan) -> &Snapshot {
    &plan.clusters.values().next().unwrap().snapshot
}

/// Numbers by the flow that they lead to.
fn numbers(snapshot: &Snapshot) -> BTreeMap<String, Vec<String>> {
    let mut flows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for range in snapshot.numbers.values().flatten() {
        flows.entry(range.flow.to_string()).or_default().push(format!("{}-{}", range.first, range.last));
    }
    flows
}

#[test]
fn the_base_and_the_platform_have_no_fault() {
    let files: Vec<SourceFile> = ["base", "platform"]
        .iter()
        .flat_map(|folder| {
            support::folder(&repository().join("examples/gitops").join(folder))
                .into_iter()
                .map(move |file| SourceFile { path: format!("{folder}/{}", file.path), bytes: file.bytes })
        })
        .collect();
    assert!(files.len() > 8);
    assert_eq!(lines(&planned(&files).problems), "");
}

#[test]
fn an_overlay_has_no_error_once_it_is_rendered() {
    assert_eq!(lines(&rendered("staging").problems), "");
    for problem in rendered("production").problems {
        assert_eq!(problem.severity, Severity::Warning, "{problem}");
        assert!([Reason::NotYetEffective, Reason::SecretNotFound].contains(&problem.reason), "{problem}");
    }
}

#[test]
fn an_overlay_that_is_not_rendered_is_told_with_the_command_that_does_it() {
    let plan = planned(&support::folder(&repository().join("examples/gitops")));
    assert_eq!(
        lines(&plan.problems),
        "overlays/production/kustomization.yaml:7:1: error[NotRendered]: Kustomize makes other objects than stand in this folder, by `patches`; check those: `kubectl kustomize overlays/production | switchboard check -`.\n\
         overlays/staging/kustomization.yaml:7:1: error[NotRendered]: Kustomize makes other objects than stand in this folder, by `patches`; check those: `kubectl kustomize overlays/staging | switchboard check -`.\n"
    );
}

#[test]
fn overlays_differ_in_what_their_readme_says() {
    let (staging, production) = (rendered("staging"), rendered("production"));
    let told = |plan: &Plan| {
        let snapshot = snapshot(plan);
        let trunk = snapshot.trunks.values().next().unwrap();
        (snapshot.cluster.code.clone(), snapshot.cluster.limits.calls_max, trunk.calls_max)
    };
    assert_eq!(told(&staging), ("E39".into(), 20, Some(10)));
    assert_eq!(told(&production), ("C14".into(), 2_000, Some(400)));
    let all = ["+13125550190-+13125550190", "+13125550191-+13125550191", "+13125550192-+13125550199"];
    assert_eq!(
        numbers(snapshot(&staging)),
        BTreeMap::from([("acme/main-next".into(), all.map(String::from).to_vec())])
    );
    let proven = ["+12125550100-+12125550100", "+12125550110-+12125550119"];
    let canary = ["+12125550101-+12125550101"];
    assert_eq!(
        numbers(snapshot(&production)),
        BTreeMap::from([
            ("acme/main".into(), proven.map(String::from).to_vec()),
            ("acme/main-next".into(), canary.map(String::from).to_vec()),
        ])
    );
}

/// `check .` and `check ../acme` say of a folder what `check acme` says, but for the names of the files.
#[test]
fn however_a_folder_is_named_the_same_is_said_of_it() {
    let golden = repository().join("tests/golden/kustomize-overlay");
    let said = |prefix: &str| {
        let mut files = support::folder(&golden);
        files.iter_mut().for_each(|file| file.path = format!("{prefix}{}", file.path));
        let problems = plan::check(&files, now());
        problems
            .iter()
            .map(|problem| (problem.at.line, problem.reason, problem.field.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(said("").len(), 3);
    for prefix in ["./", "../", "../acme/", "/srv/acme/", "acme/./"] {
        assert_eq!(said(prefix), said(""), "{prefix}");
    }
}
