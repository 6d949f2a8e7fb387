//! `switchboard plan`, as a person or a pipeline meets it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::harness::SWITCHBOARD;

/// A repository of its own with the quickstart in `tenants/acme`, committed.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart"), &repository.folder());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit();
        repository
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("tenants/acme")
    }

    fn git(&self, arguments: &[&str]) {
        let identity =
            ["-c", "user.name=Acme", "-c", "user.email=acme@example.com", "-c", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        git.current_dir(self.0.path()).args(identity).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = git.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=Change calls"]);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// Exit code, standard output and standard error of `switchboard plan`.
    fn plan(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut plan = Command::new(SWITCHBOARD);
        plan.current_dir(self.0.path()).arg("plan").args(arguments);
        let Output { status, stdout, stderr } = plan.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

const BUSY: &str = "+18005550100 press 1 › busy: hears: Prompt/nobody, Prompt/goodbye → Prompt/goodbye\n";

#[test]
fn a_working_tree_is_compared_with_a_revision() {
    let repository = Repository::new();
    let plan = |old: &str, new: &str| {
        let (code, told, complaint) = repository.plan(&[old, new]);
        assert_eq!(complaint, "", "{old} {new}");
        (code, told)
    };
    for old in ["main:tenants/acme", "HEAD:tenants/acme/", "HEAD:./tenants/acme", "main:", "HEAD:."] {
        assert_eq!(plan(old, "tenants/acme"), (Some(0), "no call changes\n".into()), "{old}");
    }
    repository.edit("flow-main.yaml", "busy: nobody", "busy: goodbye");
    assert_eq!(plan("main:tenants/acme", "tenants/acme"), (Some(1), BUSY.into()));
    repository.commit();
    assert_eq!(plan("main~1:tenants/acme", "main:tenants/acme"), (Some(1), BUSY.into()));
    assert_eq!(plan("tenants/acme", "main:tenants/acme"), (Some(0), "no call changes\n".into()));
}

#[test]
fn what_is_moved_commented_or_linked_changes_no_call() {
    let repository = Repository::new();
    let folder = repository.folder();
    let flows = folder.join("flows");
    fs::create_dir(&flows).unwrap();
    fs::rename(folder.join("flow-main.yaml"), flows.join("main.yaml")).unwrap();
    fs::rename(folder.join("flow-reception.yaml"), flows.join(".reception")).unwrap();
    std::os::unix::fs::symlink(".reception", flows.join("reception.yaml")).unwrap();
    repository.edit("flows/main.yaml", "  steps:\n", "  # From here on they listen.\n  steps:\n");
    let same = (Some(0), "no call changes\n".into(), String::new());
    assert_eq!(repository.plan(&["main:tenants/acme", "tenants/acme"]), same);
    repository.commit();
    assert_eq!(repository.plan(&["main~1:tenants/acme", "main:tenants/acme"]), same);
}

#[test]
fn a_link_to_nowhere_hides_a_manifest_and_is_told() {
    let repository = Repository::new();
    std::os::unix::fs::symlink("nowhere", repository.folder().join("lost.yaml")).unwrap();
    let (code, told, complaint) = repository.plan(&["main:tenants/acme", "tenants/acme"]);
    assert_eq!((code, told.as_str()), (Some(2), ""));
    assert!(complaint.contains("tenants/acme/lost.yaml:1:1: error[UnreadableFile]"), "{complaint}");
    repository.commit();
    let (code, told, complaint) = repository.plan(&["main~1:tenants/acme", "main:tenants/acme"]);
    assert_eq!((code, told.as_str()), (Some(2), ""));
    assert!(complaint.contains("lost.yaml is a link that leads to no file of this revision"), "{complaint}");
}

#[test]
fn a_guard_decides_over_the_exit_code() {
    let repository = Repository::new();
    repository.edit("flow-main.yaml", "busy: nobody", "busy: goodbye");
    let plan = |globs: &[&str]| {
        let guards = globs.iter().flat_map(|glob| ["--fail-on-change", glob]);
        let arguments: Vec<_> = ["main:tenants/acme", "tenants/acme"].into_iter().chain(guards).collect();
        repository.plan(&arguments)
    };
    for (globs, code, complaint) in [
        (vec!["+1212*"], 0, ""),
        (vec!["acme/reception"], 0, ""),
        (vec!["+1800*"], 1, "guarded by --fail-on-change, and changed: +18005550100\n"),
        (vec!["acme/reception", "acme/ma?n"], 1, "guarded by --fail-on-change, and changed: +18005550100\n"),
        (
            vec!["+44*"],
            2,
            "switchboard: --fail-on-change +44* guards nothing: no live number of either side is meant by it\n",
        ),
    ] {
        let told = if code == 2 { "" } else { BUSY };
        assert_eq!(plan(&globs), (Some(code), told.into(), complaint.into()), "{globs:?}");
    }
    let (code, _, complaint) = plan(&["main"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("must be a number such as +18005550100 or `namespace/name`"), "{complaint}");
}

#[test]
fn a_side_with_errors_is_told_and_its_last_good_form_is_compared() {
    let repository = Repository::new();
    repository.edit("flow-main.yaml", "next: sales}", "next: sale}");
    repository.edit("numbers.yaml", "calls: 20", "calls: 30");
    let (code, told, complaint) = repository.plan(&["main:tenants/acme", "tenants/acme"]);
    assert_eq!((code, told.as_str()), (Some(2), "+12125550100: calls at once: 20 → 30\n"));
    assert_eq!(
        complaint,
        "tenants/acme has 1 error, and what is wrong keeps its form of OLD: see `switchboard check tenants/acme`\n"
    );
    let (code, _, complaint) = repository.plan(&["tenants/acme", "main:tenants/acme"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("tenants/acme has"), "{complaint}");
}

#[test]
fn json_tells_groups_guards_and_bounds() {
    let repository = Repository::new();
    repository.edit("flow-main.yaml", "busy: nobody", "busy: goodbye");
    let guard = ["--format", "json", "--fail-on-change", "acme/main"];
    let arguments = [&["main:tenants/acme", "tenants/acme"], guard.as_slice()].concat();
    let (code, told, _) = repository.plan(&arguments);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(json["groups"][0]["changes"][0]["paths"][0], serde_json::json!(["press 1", "busy"]));
    assert_eq!(json["guarded"][0]["first"], "+18005550100");
    assert_eq!((&json["cut"], &json["notes"]), (&serde_json::json!(0), &serde_json::json!([])));
}

#[test]
fn the_time_decides_what_is_over() {
    let repository = Repository::new();
    repository.edit("tenant.yaml", "  - {date: \"2026-12-25\", name: Christmas Day}\n", "");
    let plan = |at: &str| repository.plan(&["main:tenants/acme", "tenants/acme", "--at", at]).0;
    assert_eq!(plan("2026-12-25T23:59"), Some(1));
    assert_eq!(plan("2026-12-26T00:00"), Some(0));
    assert_eq!(plan("2026-12-26T04:59:59Z"), Some(1), "still the 25th in New York");
    assert_eq!(plan("tomorrow"), Some(2));
}

#[test]
fn what_is_no_folder_and_no_revision_is_told() {
    let repository = Repository::new();
    // A folder that is there wins over a revision of that name.
    copy(&repository.folder(), &repository.0.path().join("main:old"));
    for (old, code, wanted) in [
        ("main:old", 0, ""),
        ("next:tenants/acme", 2, "there is no Git revision `next`"),
        ("main:tenants/acmee", 2, "Git revision `main` has no folder `tenants/acmee`"),
        ("main:tenants/acme/flow-main.yaml", 2, "main:tenants/acme/flow-main.yaml is a file"),
        ("main:tenants/acme/prompts", 2, "main:tenants/acme/prompts holds no manifest"),
        ("--upload-pack=x:tenants", 2, ""),
        ("cluster", 2, "cannot read cluster"),
        ("nowhere", 2, "cannot read nowhere"),
    ] {
        let (found, _, complaint) = repository.plan(&[old, "tenants/acme"]);
        assert_eq!(found, Some(code), "{old}: {complaint}");
        assert!(complaint.contains(wanted), "{old}: {complaint}");
    }
    let mut plan = Command::new(SWITCHBOARD);
    plan.current_dir(repository.0.path()).args(["plan", "main:tenants/acme", "tenants/acme"]).env("PATH", "");
    let complaint = String::from_utf8(plan.output().unwrap().stderr).unwrap();
    assert!(complaint.contains("git is not installed"), "{complaint}");
    let bare = tempfile::tempdir().unwrap();
    let mut plan = Command::new(SWITCHBOARD);
    plan.current_dir(bare.path()).args(["plan", "main:a", "main:b"]).env("GIT_CEILING_DIRECTORIES", "/");
    let complaint = String::from_utf8(plan.output().unwrap().stderr).unwrap();
    assert!(complaint.contains("this folder is in no repository"), "{complaint}");
}
