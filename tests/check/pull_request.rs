//! A pull request on `examples/tenant`, as the bots of a repository would comment on it: `tests/golden/pull-request` holds
//! its patch and what each verb says of the folder with the patch applied. `UPDATE_GOLDEN=1` writes these files anew.
//!
//! The patch shortens Saturdays, leads a choice of the menu to another queue, points a number to another flow and raises
//! the least level of a skill, which nobody reaches. It also renames a step and puts a file in another order: neither may
//! show.

use std::{fs, path::PathBuf, process::Command};

use super::{Folder, copy, repository, told};

fn golden(name: &str) -> PathBuf {
    repository().join("tests/golden/pull-request").join(name)
}

/// The example, with the patch applied if it is asked for.
fn example(name: &str, patched: bool) -> Folder {
    let folder = Folder::new(name);
    copy(&repository().join("examples/tenant"), &folder.0.join("examples/tenant"));
    if patched {
        let applied =
            Command::new("git").arg("apply").arg(golden("change.patch")).current_dir(&folder.0).output();
        let applied = applied.unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }
    folder
}

/// What a verb says of the example in a folder.
fn says(folder: &Folder, verb: &str, arguments: &[&str]) -> (i32, String) {
    let dir = folder.0.join("examples/tenant");
    let binary = env!("CARGO_BIN_EXE_switchboard");
    let output = Command::new(binary).arg(verb).arg(&dir).args(arguments).output().unwrap();
    let (code, lines, complaint) = told(&output, &dir);
    assert_eq!(complaint, "", "{verb}");
    (code, lines)
}

/// Which calls change from one folder to the other. That some do is what its exit code says.
fn compares(before: &Folder, after: &Folder) -> (i32, String) {
    let [old, new] = [before, after].map(|folder| folder.0.join("examples/tenant"));
    let binary = env!("CARGO_BIN_EXE_switchboard");
    let arguments = ["--at", "2026-06-15T12:00:00Z"];
    let output = Command::new(binary).arg("plan").args([&old, &new]).args(arguments).output().unwrap();
    let (code, lines, complaint) = told(&output, &new);
    assert_eq!((code, complaint.as_str()), (1, ""));
    (0, lines)
}

/// A Saturday afternoon, which is free from now on; a Monday; a number that led elsewhere.
const EXPLAINED: [(&str, &str, &str); 3] = [
    ("explain-saturday.txt", "+18005550100", "2026-06-20T15:00"),
    ("explain-menu.txt", "+18005550100", "2026-06-15T12:00"),
    ("explain-number.txt", "+13125550101", "2026-06-15T12:00"),
];

fn explained<'a>(to: &'a str, at: &'a str) -> [&'a str; 8] {
    ["--from", "+12125550142", "--to", to, "--at", at, "--source", "198.51.100.7"]
}

#[test]
fn every_verb_says_of_a_pull_request_what_is_expected() {
    let after = example("pull-request", true);
    let mut failures = String::new();
    let mut expect = |file: &str, (code, found): (i32, String)| {
        assert_eq!(code, 0, "{file}: {found}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden(file), &found).unwrap();
        }
        let wanted = fs::read_to_string(golden(file)).unwrap_or_default();
        if found != wanted {
            failures += &format!("{file}\nwanted:\n{wanted}found:\n{found}\n");
        }
    };
    expect("check.txt", says(&after, "check", &[]));
    for (file, to, at) in EXPLAINED {
        expect(file, says(&after, "explain", &explained(to, at)));
    }
    let before = example("pull-request-before", false);
    expect("plan.txt", compares(&before, &after));
    expect("topology.mmd", says(&after, "diagram", &["--format", "mermaid"]));
    expect("main.mmd", says(&after, "diagram", &["--flow", "main", "--format", "mermaid"]));
    expect("firewall.txt", says(&after, "firewall", &["--cluster", "C14"]));
    assert_eq!(failures, "");
}

#[test]
fn a_pull_request_shows_in_what_it_changes_and_nowhere_else() {
    let (before, after) = (example("before", false), example("after", true));
    let both =
        |verb: &str, arguments: &[&str]| [&before, &after].map(|folder| says(folder, verb, arguments).1);
    for (file, to, at) in EXPLAINED {
        let [old, new] = both("explain", &explained(to, at));
        assert_ne!(old, new, "{file}");
    }
    for format in ["json", "nftables"] {
        let [old, new] = both("firewall", &["--cluster", "C14", "--format", format]);
        assert_eq!(old, new);
    }
    let [old, new] = both("explain", &explained("+14155550101", "2026-06-15T12:00"));
    assert_eq!(old, new, "a number of the file that was put in another order");
    let [old, new] = both("explain", &explained("+14155550105", "2026-06-15T12:00"));
    assert_eq!(old.replace("sorry", "apology"), new, "a flow of which a step was renamed");
    let unknown = |lines: &str| lines.lines().filter(|line| !line.contains("[NotYetEffective]")).count();
    let [old, new] = both("check", &[]);
    assert_eq!((unknown(&old), unknown(&new)), (0, 1), "{new}");
}
