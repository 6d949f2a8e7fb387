//! What is wrong with objects beyond their own schema and beyond what a snapshot is made of: each check looks at one
//! question, has a reason of its own, and says what would be right.

mod calls;
mod destinations;
mod effect;
mod secrets;
mod staff;
mod trunks;

pub(crate) use secrets::Secrets;
pub(crate) use staff::serves;
pub(crate) use trunks::{cluster, number, trunk};

use std::sync::Arc;

use model::Key;
use serde_json::Value;

use crate::{
    directory::Directory,
    platform::near_key,
    problem::{ObjectId, Reason},
    resources::{NUMBER, Object, Report, Spec},
    world::{Item, World},
};

/// What is wrong with an object whatever other objects say: only Secrets and the cluster of its tenant are looked at.
pub(crate) fn alone(object: &Object, known: &Secrets<'_>, world: &World, report: &mut Report) {
    report.begin();
    let spec = spec_of(object);
    let fields = Fields::of(&spec);
    effect::check(object, &fields, report);
    secrets::check(object, &fields, known, report);
    destinations::check(object, &fields, world, report);
}

/// What is wrong with an object beside others, as far as no other part of the planner has looked at it.
pub(crate) fn across(object: &Object, world: &World, report: &mut Report) {
    report.begin();
    by_kind(object, world, report);
}

fn by_kind(object: &Object, world: &World, report: &mut Report) {
    let Some(spec) = &object.spec else {
        return;
    };
    match spec {
        Spec::Tenant(spec) => staff::tenant(&item(object, spec), world, report),
        Spec::RoutingFlow(spec) => calls::flow(&item(object, spec), world, report),
        Spec::Prompt(spec) => calls::prompt(&item(object, spec), world, report),
        Spec::Carrier(spec) => trunks::carrier(&item(object, spec), world, report),
        Spec::NumberOrder(spec) => trunks::order(&item(object, spec), world, report),
        Spec::VoicemailBox(spec) => calls::voicemail(&item(object, spec), world, report),
        Spec::Integration(spec) => calls::integration(&item(object, spec), world, report),
        Spec::Queue(spec) => staff::queue(&item(object, spec), world, report),
        Spec::Agent(spec) => staff::agent(&item(object, spec), world, report),
        Spec::Campaign(spec) => calls::campaign(&item(object, spec), world, report),
        Spec::ContactPoint(spec) => calls::contact_point(&item(object, spec), world, report),
        Spec::CallTest(spec) => calls::call_test(&item(object, spec), world, report),
        Spec::VoiceCluster(_)
        | Spec::Trunk(_)
        | Spec::PhoneNumber(_)
        | Spec::Allowlist(_)
        | Spec::BusinessHours(_)
        | Spec::PointOfPresence(_)
        | Spec::ContactList(_)
        | Spec::DoNotCallList(_) => {}
    }
}

pub(crate) fn item<T>(object: &Object, spec: &Arc<T>) -> Item<T> {
    Item {
        id: object.id.clone(),
        spec: Arc::clone(spec),
        source: Some(object.source.clone()),
        draft: !object.sound,
    }
}

/// Whether an object of the item's own namespace is there; says so if not.
pub(crate) fn named<T>(
    item: &Item<T>,
    world: &World,
    report: &mut Report,
    field: &str,
    (kind, reason): (&'static str, Reason),
    name: &str,
) -> bool {
    refers(item, world, report, field, (kind, reason), Key::new(item.namespace(), name))
}

/// Whether an object is there; says so if not.
fn refers<T>(
    item: &Item<T>,
    world: &World,
    report: &mut Report,
    field: &str,
    (kind, reason): (&'static str, Reason),
    key: Key,
) -> bool {
    let Directory { known, numbers, .. } = &world.directory;
    let id = ObjectId { kind, key };
    if known.contains(&id) || (kind == NUMBER && numbers.contains(&id.key)) {
        return true;
    }
    let hint = if kind == NUMBER {
        near_key(&id.key, numbers.keys())
    } else {
        near_key(&id.key, known.iter().filter(|id| id.kind == kind).map(|id| &id.key))
    };
    item.error(report, field, reason, format!("There is no {id}{hint}"));
    false
}

/// The `spec` of an object as it stands in the file; of an object that stands in none, as it is read.
fn spec_of(object: &Object) -> Value {
    match (object.source.root.get("spec"), &object.spec) {
        (Some(spec), _) => spec.value.to_json(),
        (None, Some(spec)) => spec.to_json(),
        (None, None) => Value::Null,
    }
}

/// Every field of an object's `spec`, with its path.
struct Fields<'a> {
    all: Vec<(String, &'a Value)>,
}

impl<'a> Fields<'a> {
    fn of(spec: &'a Value) -> Self {
        let mut all = Vec::new();
        walk("spec", spec, &mut all);
        Self { all }
    }

    /// Path and value of every field, those that hold others included.
    fn iter(&self) -> impl Iterator<Item = (&str, &'a Value)> {
        self.all.iter().map(|(path, value)| (path.as_str(), *value))
    }

    /// Path and value of every text.
    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|(path, value)| Some((path, value.as_str()?)))
    }
}

fn walk<'a>(path: &str, value: &'a Value, all: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let place = all.len();
                all.push((String::new(), value));
                walk(&path, value, all);
                all[place].0 = path;
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let place = all.len();
                all.push((String::new(), value));
                walk(&path, value, all);
                all[place].0 = path;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `spec.peers[0].transport` is of the form `spec.peers[].transport`.
fn has_form(path: &str, form: &str) -> bool {
    let mut rest = path;
    for (index, part) in form.split("[]").enumerate() {
        if index > 0 {
            let Some((digits, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
                return false;
            };
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return false;
            }
            rest = after;
        }
        let Some(after) = rest.strip_prefix(part) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::has_form;

    #[test]
    fn a_path_has_the_form_of_its_field_and_of_no_other() {
        for (path, form, wanted) in [
            ("spec.srtp", "spec.srtp", true),
            ("spec.srtp", "spec.srt", false),
            ("spec.peers[0].transport", "spec.peers[].transport", true),
            ("spec.peers[12]", "spec.peers[]", true),
            ("spec.peers", "spec.peers[]", false),
            ("spec.peers[0].transport", "spec.peers[]", false),
        ] {
            assert_eq!(has_form(path, form), wanted, "{path} {form}");
        }
    }
}
