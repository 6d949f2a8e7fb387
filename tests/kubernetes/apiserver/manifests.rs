//! The examples are accepted; the broken manifests are refused wherever one object alone can prove that it is wrong.
//!
//! What `check` finds in a single object, the server refuses too: `refused.txt` lists each such case of `tests/golden`
//! with what the server says. What only several objects together show, the server cannot see, and accepts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use plan::SourceFile;

use super::control_plane::{Outcome, control_plane, repository};

/// Reasons of `check` that speak of one object by itself.
const BY_ITSELF: [&str; 5] = ["InvalidValue", "MissingField", "WrongType", "UnknownField", "DuplicateEntry"];

/// How kubectl begins what the server has refused. All else that it says is of a document that it could not read.
const REFUSALS: [&str; 3] = ["Error from server", " is invalid: ", "no matches for kind"];

/// kubectls at once.
const WORKERS: usize = 4;

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(!folders.is_empty(), "{} is empty", parent.display());
    folders
}

/// Every manifest below a folder but what a golden leads to, or the one that is named.
fn files(folder: &Path) -> Vec<SourceFile> {
    if folder.is_file() {
        let bytes = fs::read(folder).unwrap().into();
        return vec![SourceFile { path: folder.display().to_string(), bytes }];
    }
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml")
                && !path.ends_with("out.yaml")
            {
                found.push(SourceFile {
                    path: path.display().to_string(),
                    bytes: fs::read(&path).unwrap().into(),
                });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn make_namespaces(files: &[SourceFile]) {
    let (resources, _) = plan::load(files);
    let names: BTreeSet<String> = resources.ids().map(|id| id.key.namespace().to_owned()).collect();
    control_plane().namespaces(names.iter().map(String::as_str));
}

/// The documents of a file that are meant to be of our kinds, each as it stands, broken or not.
fn documents(file: &SourceFile) -> Vec<Vec<u8>> {
    let mut documents = vec![Vec::new()];
    for line in file.bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii_end() == b"---" {
            documents.push(Vec::new());
        } else if let Some(document) = documents.last_mut() {
            document.extend_from_slice(line);
        }
    }
    documents.retain(|document| {
        let text = String::from_utf8_lossy(document);
        !text.trim().is_empty() && !text.contains("apiVersion: v1\n")
    });
    documents
}

/// Puts each document into a file of its own, so that each is judged by itself.
fn write_documents(files: &[SourceFile], folder: &Path) {
    for (index, document) in files.iter().flat_map(documents).enumerate() {
        fs::write(folder.join(format!("{index:03}.yaml")), document).unwrap();
    }
}

#[test]
fn every_object_of_the_examples_is_accepted_without_a_warning() {
    let mut examples = folders(&repository().join("examples"));
    // Patches are no objects: of this one what its overlays render to is applied.
    examples.retain(|example| !example.ends_with("gitops"));
    let rendered = ["staging", "production"].map(|overlay| format!("tests/gitops/{overlay}.yaml"));
    examples.extend(rendered.map(|file| repository().join(file)));
    for example in examples {
        let (files, folder) = (files(&example), tempfile::tempdir().unwrap());
        make_namespaces(&files);
        write_documents(&files, folder.path());
        let (resources, _) = plan::load(&files);
        let name = |kind: &str, name: &str| format!("{}.{}/{name}", kind.to_lowercase(), api::GROUP);
        let wanted: BTreeSet<String> = resources.ids().map(|id| name(id.kind, id.key.name())).collect();
        assert!(!wanted.is_empty(), "{} declares nothing", example.display());
        for way in ["--server-side=true", "--server-side=false"] {
            let apply = ["apply", way, "--dry-run=server", "--warnings-as-errors", "-o", "name", "-f"];
            let arguments = [&apply[..], &[folder.path().to_str().unwrap()]].concat();
            let text = control_plane().kubectl(&arguments).done();
            let accepted: BTreeSet<String> = text.lines().map(str::to_owned).collect();
            assert_eq!(accepted, wanted, "{} {way}", example.display());
        }
    }
}

#[derive(Debug)]
struct Golden {
    name: String,
    files: Vec<SourceFile>,
    /// Reasons of the errors that `check` tells.
    errors: BTreeSet<String>,
}

fn goldens() -> Vec<Golden> {
    let read = |folder: PathBuf| {
        let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
        let reason = |line: &str| Some(line.split_once(": error[")?.1.split_once(']')?.0.to_owned());
        Golden {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            files: files(&folder),
            errors: expected.lines().filter_map(reason).collect(),
        }
    };
    let mut cases = folders(&repository().join("tests/golden"));
    cases.retain(|case| !case.ends_with("pull-request"));
    cases.into_iter().map(read).collect()
}

/// Has the server judge each document of a case by itself.
fn judge(case: &Golden, folder: &Path) -> Outcome {
    let folder = folder.join(&case.name);
    fs::create_dir(&folder).unwrap();
    write_documents(&case.files, &folder);
    control_plane().kubectl(&["apply", "--dry-run=server", "-f", folder.to_str().unwrap()])
}

/// What kubectl says of each case.
fn verdicts(cases: &[Golden]) -> BTreeMap<&str, Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = judge(case, folder.path());
                    verdicts.lock().unwrap().insert(case.name.as_str(), verdict);
                }
            });
        }
    });
    verdicts.into_inner().unwrap()
}

/// Cases of `refused.txt`, each with a part of what the server says.
fn listed() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join("tests/kubernetes/refused.txt")).unwrap();
    let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert!(lines.is_sorted_by(|one, next| one.0 < next.0), "refused.txt must be sorted");
    assert!(lines.iter().all(|(_, message)| message.len() > 10), "a message must tell why");
    assert!(lines.len() >= 60, "only {} cases are refused", lines.len());
    lines.into_iter().map(|(name, message)| (name.to_owned(), message.to_owned())).collect()
}

#[test]
fn the_server_refuses_what_one_object_proves_wrong_and_nothing_else() {
    let (cases, listed) = (goldens(), listed());
    let all: Vec<_> = cases.iter().flat_map(|case| case.files.iter().cloned()).collect();
    make_namespaces(&all);
    let verdicts = verdicts(&cases);
    let mut failures = String::new();
    for case in &cases {
        let verdict = &verdicts[case.name.as_str()];
        let refused = REFUSALS.iter().any(|words| verdict.stderr.contains(words));
        let readable = refused || verdict.succeeded;
        let by_itself =
            !case.errors.is_empty() && case.errors.iter().all(|name| BY_ITSELF.contains(&name.as_str()));
        let complaint = match listed.get(&case.name) {
            Some(_) if !refused => "is listed, but the server did not refuse it",
            Some(message) if !verdict.stderr.contains(message) => {
                "was refused, but not with the listed words"
            }
            None if refused => "was refused: list it",
            None if by_itself && readable => "is wrong by itself, but the server accepts it",
            Some(_) | None => continue,
        };
        failures += &format!("{} {complaint}\n{}\n", case.name, verdict.stderr);
    }
    assert!(failures.is_empty(), "{failures}");
    for name in listed.keys() {
        assert!(verdicts.contains_key(name.as_str()), "refused.txt lists {name}, which is no case");
    }
}
