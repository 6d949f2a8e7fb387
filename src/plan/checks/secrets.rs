//! Secrets: referred to by name, released by their label, never written into a manifest of ours.

use std::{collections::BTreeMap, sync::LazyLock};

use model::Key;
use regex::Regex;
use serde_json::Value;

use super::Fields;
use crate::{
    problem::Reason,
    resources::{Foreign, Object, Report},
    words,
};

/// A Secret's owner says with it that objects of its namespace may refer to it.
const LABEL: &str = "switchboard.dev/use";

/// User and password in a URL (RFC 3986 §3.2.1).
static USER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[a-z+]+://[^/?#\s]*@").ok());

/// Names of headers whose values are secrets.
const SECRET_HEADERS: &[&str] =
    &["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"];

/// The Secrets that there are, by name.
#[derive(Debug, Default)]
pub(crate) struct Secrets<'a>(BTreeMap<&'a Key, &'a Foreign>);

impl<'a> Secrets<'a> {
    /// Of two that have one name, the first.
    pub fn of(foreign: &'a [Foreign]) -> Self {
        let mut known = BTreeMap::new();
        for secret in foreign.iter().filter(|foreign| foreign.kind == "Secret") {
            known.entry(&secret.key).or_insert(secret);
        }
        Self(known)
    }
}

pub(super) fn check(object: &Object, fields: &Fields, known: &Secrets<'_>, report: &mut Report) {
    for (path, value) in fields.iter() {
        let name = words::last(path);
        if (name.ends_with("ecretRef") || name == "certificateRef") && !path.ends_with(']') {
            released(object, path, value, known, report);
        }
    }
    inline(object, fields, report);
}

/// A Secret that is there must bear the label and have the key. One that is not in a folder may come from elsewhere; in a
/// cluster nothing can come of it, and those without the label are not even seen.
fn released(object: &Object, path: &str, reference: &Value, known: &Secrets<'_>, report: &mut Report) {
    let Some(name) = reference.get("name").and_then(Value::as_str) else {
        return;
    };
    let (id, source) = (&object.id, Some(&object.source));
    let namespace = id.key.namespace();
    let field = format!("{path}.name");
    let Some(secret) = known.0.get(&Key::new(namespace, name)) else {
        if object.source.is_live() {
            let message = format!(
                "Namespace {namespace} must have a Secret `{}` with the label `{LABEL}: \"true\"`; until then this has no value.",
                words::clip(name)
            );
            return report.error(id, source, &field, Reason::SecretNotFound, message);
        }
        let message = format!(
            "There is no Secret {namespace}/{name} in this folder; until there is one with the label `{LABEL}: \"true\"`, this has no value."
        );
        report.warning(id, source, &field, Reason::SecretNotFound, message);
        return;
    };
    if secret.object.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL)) != Some(&"true".into())
    {
        let message = format!(
            "Secret {namespace}/{name} must have the label `{LABEL}: \"true\"` before it may be referred to."
        );
        report.error(id, source, &field, Reason::SecretNotReleased, message);
    }
    let Some(key) = reference.get("key").and_then(Value::as_str) else {
        return;
    };
    let has = |data: &str| secret.object.get(data).and_then(|data| data.get(key)).is_some();
    if !has("data") && !has("stringData") {
        let message = format!("Secret {namespace}/{name} has no key `{}`.", words::clip(key));
        report.error(id, source, &format!("{path}.key"), Reason::SecretKeyNotFound, message);
    }
}

/// What looks like a secret although it stands where everybody can read it. Its text is never repeated.
fn inline(object: &Object, fields: &Fields, report: &mut Report) {
    let (id, source) = (&object.id, Some(&object.source));
    for (path, text) in fields.texts() {
        if USER.as_ref().is_some_and(|user| user.is_match(text)) {
            let message = format!(
                "`{}` must not hold a user or password; put them into a Secret and refer to it by `secretRef`.",
                words::last(path)
            );
            report.error(id, source, path, Reason::SecretInline, message);
        }
    }
    let headers = fields.iter().filter(|(_, value)| value.get("value").is_some());
    for (path, header) in headers {
        let name = header.get("name").and_then(Value::as_str).unwrap_or_default();
        let folded = name.to_lowercase();
        if path.starts_with("spec.headers[") && SECRET_HEADERS.iter().any(|word| folded.contains(word)) {
            let message = format!(
                "The value of `{}` is a secret; put it into a Secret and refer to it by `secretRef`.",
                words::clip(name)
            );
            report.error(id, source, &format!("{path}.value"), Reason::SecretInline, message);
        }
    }
}
