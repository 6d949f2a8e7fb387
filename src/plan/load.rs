//! Reads manifests: multi-document YAML, each object checked against its kind's own schema.

use std::{collections::BTreeMap, sync::Arc};

use api::v1alpha1::{LABEL, OBJECT_NAME};
use model::Key;
use serde_json::Value;

use crate::{
    SourceFile,
    kustomize::{self, Kustomize},
    problem::{Location, ObjectId, Problem, Reason, Severity},
    resources::{Foreign, Object, Resources, Source, Spec, location},
    schema, words,
    yaml::{self, Node, NodeKind, Position},
};

/// Largest manifest, in bytes.
pub const FILE_MAX: usize = 10 * 1024 * 1024;

/// Most problems of one sort that are told of an object or file: beyond, nobody reads them one by one.
const PROBLEMS_MAX: usize = 1_000;

/// Fields of `metadata` that the API server knows.
const METADATA: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Reads every file. What is wrong in one place hides nothing in another; the problems are sorted by file and line.
#[must_use]
pub fn load(files: &[SourceFile]) -> (Resources, Vec<Problem>) {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut loader = Loader::default();
    let kustomize = Kustomize::of(&sorted);
    for file in sorted {
        if !is_manifest(&file.path) {
            loader.resources.files.insert(file.path.clone(), Arc::clone(&file.bytes));
        } else if let Some(overlay) = kustomize.overlays.get(&file.path) {
            let at = location(&file.path.as_str().into(), overlay.at);
            loader.file_problem(at, Reason::NotRendered, overlay.message(&file.path));
        } else if !kustomize.takes(&file.path) {
            loader.manifest(file);
        }
    }
    let Loader { mut resources, mut problems, .. } = loader;
    problems.sort();
    resources.problems.clone_from(&problems);
    (resources, problems)
}

/// Whether a file holds objects, by its name; `-` is what came by standard input.
fn is_manifest(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    path == "-"
        || kustomize::is_kustomization(path)
        || extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension.as_str()))
}

#[derive(Default)]
struct Loader {
    resources: Resources,
    problems: Vec<Problem>,
    seen: BTreeMap<ObjectId, Location>,
}

impl Loader {
    fn manifest(&mut self, file: &SourceFile) {
        let name: Arc<str> = file.path.as_str().into();
        let text = match text_of(&file.bytes) {
            Ok(text) => text,
            Err((at, message)) => {
                self.file_problem(location(&name, at), Reason::UnreadableFile, message);
                return;
            }
        };
        let (documents, faults) = yaml::parse(text);
        let more = faults.len().saturating_sub(PROBLEMS_MAX);
        for fault in faults.into_iter().take(PROBLEMS_MAX) {
            let reason = if fault.duplicate_key { Reason::DuplicateKey } else { Reason::InvalidYaml };
            self.file_problem(location(&name, fault.at), reason, fault.message);
        }
        if more > 0 {
            let message = format!("The file has {more} more of such problems.");
            self.file_problem(location(&name, Position::default()), Reason::InvalidYaml, message);
        }
        for document in documents {
            // A document of comments alone reads as `~`.
            let empty = matches!(&document.root.kind, NodeKind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~"));
            if !empty {
                self.document(&name, document.root, document.sound);
            }
        }
    }

    fn document(&mut self, file: &Arc<str>, root: Node, sound: bool) {
        if let Some(items) = items(&root) {
            items.into_iter().for_each(|item| self.document(file, item, sound));
            return;
        }
        let source = Source { file: Arc::clone(file), root: Arc::new(root) };
        let NodeKind::Mapping(_) = &source.root.kind else {
            let message = "A document must be an object with `apiVersion`, `kind`, `metadata` and `spec`.";
            self.file_problem(source.at(""), Reason::UnknownKind, message.to_owned());
            return;
        };
        let (version, kind) = (self.word(&source, "apiVersion"), self.word(&source, "kind"));
        let (Some(version), Some(kind)) = (version, kind) else {
            return;
        };
        match self.our_kind(&source, &version, &kind) {
            Verdict::Ours(kind) => self.ours(kind, source, sound),
            Verdict::Foreign => self.foreign(version, kind, &source),
            Verdict::Refused => {}
        }
    }

    /// `apiVersion` or `kind`.
    fn word(&mut self, source: &Source, name: &str) -> Option<String> {
        let text = source.root.get(name).and_then(|entry| entry.value.text());
        if text.is_none() {
            let like = if name == "kind" { "Trunk" } else { api::API_VERSION };
            let message = format!("Every object must have `{name}`, such as {like}.");
            self.file_problem(source.at(name), Reason::MissingField, message);
        }
        text.map(str::to_owned)
    }

    fn our_kind(&mut self, source: &Source, version: &str, kind: &str) -> Verdict {
        let known = schema::kinds().find(|known| *known == kind);
        let group = version.split('/').next().unwrap_or_default();
        if version == api::API_VERSION {
            if let Some(kind) = known {
                return Verdict::Ours(kind);
            }
            let kinds: Vec<&str> = schema::kinds().collect();
            let hint = words::did_you_mean(kind, kinds.iter().copied());
            let list = if hint == "." { format!("; the kinds are {}.", words::all_of(&kinds)) } else { hint };
            let message = format!("API version {} has no kind `{kind}`{list}", api::API_VERSION);
            self.file_problem(source.at("kind"), Reason::UnknownKind, message);
            return Verdict::Refused;
        }
        let near = words::nearest(group, [api::GROUP].into_iter()).is_some();
        if near || known.is_some() {
            let message = format!("`apiVersion` must be {} for a {kind}, not `{version}`.", api::API_VERSION);
            self.file_problem(source.at("apiVersion"), Reason::UnknownVersion, message);
            return Verdict::Refused;
        }
        Verdict::Foreign
    }

    fn foreign(&mut self, api_version: String, kind: String, source: &Source) {
        let name =
            |path: &str| source.root.get("metadata").and_then(|entry| entry.value.get(path)?.value.text());
        let Some(key) = key(name("namespace").unwrap_or("default"), name("name").unwrap_or_default()) else {
            return;
        };
        self.resources.foreign.push(Foreign { api_version, kind, key, object: source.root.to_json() });
    }

    fn ours(&mut self, kind: &'static str, source: Source, keys_unique: bool) {
        let json = source.root.to_json();
        let Some(key) = self.metadata(&source, &json) else {
            self.faults(kind, None, &source, &json);
            self.incomplete(&source.file);
            return;
        };
        let id = ObjectId { kind, key };
        let verdict = self.faults(kind, Some(&id), &source, &json);
        let sound = verdict == Soundness::Sound && keys_unique;
        if let Some(first) = self.seen.get(&id) {
            let message = format!("{id} stands already at {first}; rename or remove one of the two.");
            self.problem(
                source.at("metadata.name"),
                Reason::DuplicateObject,
                Some(&id),
                "metadata.name",
                message,
            );
            return;
        }
        self.seen.insert(id.clone(), source.at("metadata.name"));
        let spec = match verdict {
            Soundness::Oversized => None,
            Soundness::Sound | Soundness::Faulty => self.read(&id, &source, &json, sound),
        };
        let object = Object { id, spec, sound, source };
        self.resources.put(object);
    }

    fn read(&mut self, id: &ObjectId, source: &Source, json: &Value, sound: bool) -> Option<Spec> {
        match Spec::read(id.kind, json.get("spec")?) {
            Ok(spec) => Some(spec),
            Err(_) if !sound => None,
            Err(message) => {
                self.problem(source.at("spec"), Reason::InvalidValue, Some(id), "spec", message);
                None
            }
        }
    }

    /// Checks the object against its schema.
    fn faults(&mut self, kind: &str, id: Option<&ObjectId>, source: &Source, json: &Value) -> Soundness {
        let faults = self.top_level(id, source);
        let found = schema::validate(kind, json);
        let verdict = match (found.iter().any(|fault| fault.oversized), found.is_empty() && faults) {
            (true, _) => Soundness::Oversized,
            (false, true) => Soundness::Sound,
            (false, false) => Soundness::Faulty,
        };
        let more = found.len().saturating_sub(PROBLEMS_MAX);
        for fault in found.into_iter().take(PROBLEMS_MAX) {
            let at = if fault.at_key { source.at_key(&fault.field) } else { source.at(&fault.field) };
            self.problem(at, fault.reason, id, &fault.field, fault.message);
        }
        if more > 0 {
            let message = format!("The object has {more} more of such problems.");
            self.problem(source.at("spec"), Reason::InvalidValue, id, "spec", message);
        }
        verdict
    }

    fn top_level(&mut self, id: Option<&ObjectId>, source: &Source) -> bool {
        const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
        let NodeKind::Mapping(entries) = &source.root.kind else {
            return false;
        };
        let unknown: Vec<_> = entries.iter().filter(|entry| !KNOWN.contains(&entry.key.as_str())).collect();
        for entry in &unknown {
            let hint = words::did_you_mean(&entry.key, KNOWN.into_iter());
            let message = format!("An object has no field `{}`{hint}", entry.key);
            self.problem(source.location(entry.key_at), Reason::UnknownField, id, &entry.key, message);
        }
        unknown.is_empty()
    }

    fn metadata(&mut self, source: &Source, json: &Value) -> Option<Key> {
        if let Some(NodeKind::Mapping(entries)) = source.root.get("metadata").map(|entry| &entry.value.kind) {
            for entry in entries.iter().filter(|entry| !METADATA.contains(&entry.key.as_str())) {
                let hint = words::did_you_mean(&entry.key, METADATA.iter().copied());
                let message = format!("`metadata` has no field `{}`{hint}", entry.key);
                let field = format!("metadata.{}", entry.key);
                self.problem(source.location(entry.key_at), Reason::UnknownField, None, &field, message);
            }
        }
        let name = self.name(source, json, "name", OBJECT_NAME, None)?;
        let namespace = self.name(source, json, "namespace", LABEL, Some("default"))?;
        key(&namespace, &name)
    }

    fn name(
        &mut self,
        source: &Source,
        json: &Value,
        field: &str,
        pattern: &str,
        default: Option<&str>,
    ) -> Option<String> {
        let path = format!("metadata.{field}");
        let (reason, message) = match (json.pointer(&format!("/metadata/{field}")), default) {
            (None, Some(default)) => return Some(default.to_owned()),
            (Some(Value::String(name)), _) if schema::matches(pattern, name) => return Some(name.clone()),
            (None, None) => (
                Reason::MissingField,
                format!("Every object must have `{path}`: other objects refer to it by name."),
            ),
            (Some(Value::String(name)), _) => {
                let wanted = api::describe_pattern(pattern).unwrap_or_default();
                (Reason::InvalidValue, format!("`{path}` must be {wanted}, not `{}`.", words::clip(name)))
            }
            (Some(other), _) => (
                Reason::WrongType,
                format!(
                    "`{path}` must be text, but without quotes this is {}: write \"{other}\".",
                    words::type_of(other)
                ),
            ),
        };
        self.problem(source.at(&path), reason, None, &path, message);
        None
    }

    /// Something of a file has no object that it could be told of: the file may hold objects that were not read.
    fn file_problem(&mut self, at: Location, reason: Reason, message: String) {
        if reason != Reason::DuplicateKey {
            self.incomplete(&at.file);
        }
        self.problem(at, reason, None, "", message);
    }

    fn incomplete(&mut self, file: &Arc<str>) {
        self.resources.incomplete.insert(Arc::clone(file));
    }

    fn problem(
        &mut self,
        at: Location,
        reason: Reason,
        object: Option<&ObjectId>,
        field: &str,
        message: String,
    ) {
        self.problems.push(Problem {
            at,
            severity: Severity::Error,
            reason,
            object: object.cloned(),
            field: field.to_owned(),
            message,
        });
    }
}

/// What the schema has against an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Soundness {
    Sound,
    Faulty,
    /// Longer than it may be in a place: not looked at any further.
    Oversized,
}

enum Verdict {
    Ours(&'static str),
    Foreign,
    Refused,
}

fn key(namespace: &str, name: &str) -> Option<Key> {
    format!("{namespace}/{name}").parse().ok()
}

/// The objects of a `List`, as `kubectl get -o yaml` prints them.
fn items(root: &Node) -> Option<Vec<Node>> {
    let word = |name: &str| root.get(name).and_then(|entry| entry.value.text());
    let ours = word("apiVersion") == Some(api::API_VERSION);
    let is_list = match word("kind")? {
        "List" => ours || word("apiVersion") == Some("v1"),
        kind => ours && kind.strip_suffix("List").is_some_and(|of| schema::kinds().any(|known| known == of)),
    };
    let NodeKind::Sequence(items) = &root.get("items").filter(|_| is_list)?.value.kind else {
        return None;
    };
    Some(items.clone())
}

pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, (Position, String)> {
    let start = Position { line: 1, column: 1 };
    if bytes.len() > FILE_MAX {
        let message =
            format!("The file has {} bytes; it may have at most {FILE_MAX}. Split it.", bytes.len());
        return Err((start, message));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let at = Position {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        };
        (at, "The file must be UTF-8 text; save it as UTF-8.".to_owned())
    })
}
