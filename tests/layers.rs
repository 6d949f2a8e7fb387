//! Dependencies between the crates point one way, and the pure ones cannot reach the world.

#![expect(clippy::expect_used, reason = "a test may fail")]

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

/// What each crate may depend on, of this workspace. What a crate may see, its dependencies bring: `model` is everybody's.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("expr", &["model"]),
    ("api", &[]),
    ("plan", &["api", "expr", "model"]),
    ("sip", &["model"]),
    ("stir", &[]),
    ("openid", &[]),
    ("acd", &["model"]),
    ("call", &["acd", "expr", "model", "sip", "stir"]),
    ("rtp", &["model"]),
    ("store", &[]),
    ("link", &["model"]),
    ("outbound", &["model"]),
    ("edge", &["acd", "call", "link", "model", "openid", "outbound", "sip", "stir", "store"]),
    ("media", &["link", "model", "rtp", "store"]),
    ("sim", &["acd", "call", "expr", "model", "sip"]),
    ("operator", &["api", "link", "model", "plan"]),
    (
        "switchboard",
        &[
            "api", "call", "edge", "link", "media", "model", "operator", "outbound", "plan", "sim", "sip",
            "store",
        ],
    ),
];

/// Crates without socket, clock, thread or randomness.
const PURE: &[&str] = &["model", "expr", "plan", "sip", "stir", "openid", "acd", "call", "rtp", "sim"];

/// What would bring those in.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "libc",
    "nix",
    "rand",
    "getrandom",
    "chrono",
    "tracing",
    "reqwest",
    "hyper",
    "axum",
    "tonic",
    "kube-client",
    "notify",
    "parking_lot",
    "crossbeam",
    "rustls",
    "openssl",
];

/// Who may see Kubernetes' types.
const SEES_KUBERNETES: &[&str] = &["api", "operator", "plan"];

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Name and direct dependencies of each member; those for tests alone do not count.
fn members(metadata: &Value) -> Vec<(String, BTreeSet<String>)> {
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let dependencies = |package: &Value| {
        let all = package["dependencies"].as_array().expect("dependencies").iter();
        let normal = all.filter(|dependency| dependency["kind"].as_str() != Some("dev"));
        normal.map(|dependency| text(&dependency["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), dependencies(package))).collect()
}

#[test]
fn dependencies_point_one_way() {
    let members = members(&metadata());
    let names: BTreeSet<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    let known: BTreeSet<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known, "a new crate needs its place in LAYERS");
    for (name, dependencies) in &members {
        let (_, allowed) = LAYERS.iter().find(|(layer, _)| layer == name).expect("known");
        let within = dependencies.iter().filter(|dependency| names.contains(dependency.as_str()));
        for dependency in within {
            assert!(allowed.contains(&dependency.as_str()), "`{name}` may not depend on `{dependency}`");
        }
    }
}

#[test]
fn pure_crates_cannot_reach_the_world() {
    let members = members(&metadata());
    for name in PURE {
        let (_, dependencies) = members.iter().find(|(member, _)| member == name).expect("a member");
        for impure in IMPURE {
            assert!(!dependencies.contains(*impure), "`{name}` is pure and may not depend on `{impure}`");
        }
        let lints = format!("{}/src/{name}/clippy.toml", env!("CARGO_MANIFEST_DIR"));
        let lints = std::fs::read_to_string(&lints).unwrap_or_else(|error| panic!("{lints}: {error}"));
        for forbidden in ["Instant::now", "SystemTime::now", "thread::sleep", "HashMap::iter"] {
            assert!(lints.contains(forbidden), "clippy.toml of `{name}` must forbid {forbidden}");
        }
    }
}

#[test]
fn only_the_control_plane_sees_kubernetes() {
    for (name, dependencies) in members(&metadata()) {
        let sees = dependencies.iter().any(|d| d == "kube" || d == "k8s-openapi");
        assert!(!sees || SEES_KUBERNETES.contains(&name.as_str()), "`{name}` may not see Kubernetes");
    }
}

/// What the operator decides is in a crate with sockets and clocks, and has none of them.
#[test]
fn the_operators_core_cannot_reach_the_world() {
    let folder = format!("{}/src/operator", env!("CARGO_MANIFEST_DIR"));
    for file in ["core.rs", "core/judge.rs", "core/queue.rs", "fleet.rs", "lease.rs", "status.rs"] {
        let path = format!("{folder}/{file}");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        for impure in [
            "tokio",
            "kube::",
            "::now()",
            "std::fs",
            "std::net",
            "std::thread",
            "Mutex",
            "Atomic",
            "getrandom",
        ] {
            assert!(!text.contains(impure), "src/operator/{file} is pure and may not have `{impure}`");
        }
    }
}
