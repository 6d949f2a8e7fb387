//! Folders of which Kustomize makes manifests: what stands in them is not what is applied.
//!
//! A kustomization that only lists what stands in the folder changes nothing: its files are read as they are. Any other
//! one must be rendered first; reading its patches as objects would find faults that nobody made.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    SourceFile,
    yaml::{self, Node, NodeKind, Position},
};

/// Names that Kustomize looks for.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields that change nothing of what is listed in `resources`.
const HARMLESS: [&str; 4] = ["apiVersion", "kind", "metadata", "resources"];

/// Fields that name files which are no objects, wherever these stand.
const PATCHES: [&str; 4] = ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements"];

/// Whether a file is one, by its name.
pub(crate) fn is_kustomization(path: &str) -> bool {
    NAMES.contains(&path.rsplit('/').next().unwrap_or(path))
}

/// The kustomizations of a folder.
#[derive(Debug, Default)]
pub(crate) struct Kustomize {
    /// Those that must be rendered, by their paths.
    pub overlays: BTreeMap<String, Overlay>,
    /// Those that change nothing, and patches.
    aside: BTreeSet<String>,
}

/// A kustomization that changes what it lists.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// Where it says so.
    pub at: Position,
    what: String,
}

impl Overlay {
    /// What to do about it; `path` is its own.
    pub fn message(&self, path: &str) -> String {
        let folder = folder_of(path).trim_end_matches('/');
        let folder = if folder.is_empty() { "." } else { folder };
        format!(
            "Kustomize makes other objects than stand in this folder, by `{}`; check those: `kubectl kustomize {folder} | switchboard check -`.",
            self.what
        )
    }
}

impl Kustomize {
    /// `files` are all of a folder.
    pub fn of(files: &[&SourceFile]) -> Self {
        let mut found = Self::default();
        let paths: BTreeSet<String> = files.iter().map(|file| clean(&file.path)).collect();
        for file in files.iter().filter(|file| is_kustomization(&file.path)) {
            let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
            let (documents, faults) = yaml::parse(text);
            // What cannot be read is told of like any other manifest.
            let (true, [document]) = (faults.is_empty(), documents.as_slice()) else { continue };
            let folder = folder_of(&file.path);
            for name in PATCHES {
                let entry = document.root.get(name);
                patches(entry.map(|entry| &entry.value), folder, &mut found.aside);
            }
            match overlay(&document.root, folder, &paths) {
                Some(overlay) => drop(found.overlays.insert(file.path.clone(), overlay)),
                None => drop(found.aside.insert(clean(&file.path))),
            }
        }
        found
    }

    /// Whether a file is no manifest of its own: a patch, or what an overlay changes.
    pub fn takes(&self, path: &str) -> bool {
        let within = |overlay: &String| path.starts_with(folder_of(overlay));
        self.aside.contains(&clean(path)) || self.overlays.keys().any(within)
    }
}

/// With a `/` at its end; empty for the root.
fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..=slash])
}

/// What a kustomization changes, or lists though it is not here.
fn overlay(root: &Node, folder: &str, files: &BTreeSet<String>) -> Option<Overlay> {
    let NodeKind::Mapping(entries) = &root.kind else { return None };
    if let Some(entry) = entries.iter().find(|entry| !HARMLESS.contains(&entry.key.as_str())) {
        return Some(Overlay { at: entry.key_at, what: entry.key.clone() });
    }
    let resources = entries.get("resources")?;
    let NodeKind::Sequence(listed) = &resources.value.kind else { return None };
    let is_here = |item: &&Node| {
        item.text().and_then(|path| joined(folder, path)).is_some_and(|path| {
            let below = if path.is_empty() { String::new() } else { format!("{path}/") };
            files.contains(&path) || files.iter().any(|file| file.starts_with(&below))
        })
    };
    let elsewhere = listed.iter().find(|item| !is_here(item))?;
    let what = elsewhere.text().map_or_else(|| "resources".to_owned(), |path| format!("resources: {path}"));
    Some(Overlay { at: elsewhere.at, what })
}

/// The files that a list of patches names: as texts, or in `path`.
fn patches(listed: Option<&Node>, folder: &str, found: &mut BTreeSet<String>) {
    let Some(NodeKind::Sequence(items)) = listed.map(|listed| &listed.kind) else { return };
    for item in items {
        let path = item.get("path").map_or(item, |entry| &entry.value);
        found.extend(path.text().and_then(|path| joined(folder, path)));
    }
}

/// A path from a folder on; None if it is no path of this machine's folders.
fn joined(folder: &str, path: &str) -> Option<String> {
    let elsewhere = path.starts_with('/') || path.contains("://");
    (!elsewhere).then(|| clean(&format!("{folder}{path}")))
}

/// A path without `.`, and without `..` but at its beginning: however a folder is named, its files have one path.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_as_kustomize_does() {
        for (folder, path, wanted) in [
            ("overlays/staging/", "../../base", Some("base")),
            ("overlays/staging/", "./patch.yaml", Some("overlays/staging/patch.yaml")),
            ("/srv/acme/", "flows.yaml", Some("/srv/acme/flows.yaml")),
            ("", "flows.yaml", Some("flows.yaml")),
            ("./overlays/staging/", "../../base", Some("base")),
            ("../acme/overlays/staging/", "../../base", Some("../acme/base")),
            ("../", "../base", Some("../../base")),
            ("", "../base", Some("../base")),
            ("", "https://example.com/base", None),
        ] {
            assert_eq!(joined(folder, path).as_deref(), wanted, "{folder} {path}");
        }
    }
}
