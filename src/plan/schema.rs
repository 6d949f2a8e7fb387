//! What the API server would say of an object: its CRD's own schema and CEL rules, run offline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

use crate::{problem::Reason, words};

/// One thing that is wrong with an object, by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub reason: Reason,
    /// Path of the field.
    pub field: String,
    /// Whether the key, not its value, is what is wrong.
    pub at_key: bool,
    /// Whether a list or text is longer than it may be: then nothing further may look at the object, since what is
    /// calculated from it is bounded by these lengths.
    pub oversized: bool,
    pub message: String,
}

/// Rules of the schema that the planner checks besides, at the very field; their own verdict would only repeat it.
const CHECKED_BY_THE_PLANNER: &[&str] = &[
    "names of steps must be unique",
    "every listener must name one of spec.networks",
    "a predictive campaign must have abandonPercentMax",
];

static KINDS: LazyLock<BTreeMap<&'static str, KindSchema>> = LazyLock::new(|| {
    let kinds = api::kinds().into_iter();
    kinds.map(|kind| (kind.name, KindSchema::new(kind.schema))).collect()
});

static PATTERNS: LazyLock<BTreeMap<String, Regex>> = LazyLock::new(|| {
    let mut patterns = BTreeSet::new();
    KINDS.values().for_each(|kind| collect_patterns(&kind.schema, &mut patterns));
    let compiled = patterns.into_iter().filter_map(|text| Regex::new(&text).ok().map(|regex| (text, regex)));
    compiled.collect()
});

struct KindSchema {
    schema: Value,
    rules: CompiledSchema,
}

impl KindSchema {
    fn new(schema: Value) -> Self {
        let rules = compile_schema(&schema);
        Self { schema, rules }
    }
}

/// Names of our kinds.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.keys().copied()
}

/// Whether a text has the form of one of the schema's patterns.
pub fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS.get(pattern).is_none_or(|regex| regex.is_match(text))
}

/// All that the API server would refuse in an object of a kind of ours. `object` has no nulls.
pub fn validate(kind: &str, object: &Value) -> Vec<Fault> {
    let Some(known) = KINDS.get(kind) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    if let Some(schema) = known.schema.pointer("/properties/spec") {
        match object.get("spec") {
            Some(spec) => value(schema, spec, "spec", &mut faults),
            None => faults.push(missing("", "spec", schema)),
        }
    }
    if !faults.iter().any(|fault| fault.oversized) {
        rules(known, object, &mut faults);
    }
    faults
}

fn rules(kind: &KindSchema, object: &Value, faults: &mut Vec<Fault>) {
    let Err(errors) = Validator::new().validate_compiled(&kind.rules, object, None) else {
        return;
    };
    let sound = faults.is_empty();
    for error in errors.into_vec() {
        // A rule that could not be evaluated says nothing where the schema has spoken already.
        let judged = error.kind == ErrorKind::ValidationFailure;
        if CHECKED_BY_THE_PLANNER.contains(&error.message.as_str()) || (!judged && !sound) {
            continue;
        }
        let field = field_of(&error.field_path, &error.message);
        // A misspelt field is missed by rules that ask for it.
        if faults.iter().any(|fault| fault.reason == Reason::UnknownField && parent(&fault.field) == field) {
            continue;
        }
        faults.push(Fault {
            reason: Reason::InvalidValue,
            message: words::sentence(&error.message),
            field,
            at_key: false,
            oversized: false,
        });
    }
}

/// A rule about the whole object cannot name a field of `metadata` to the API server; its message does.
fn field_of(path: &str, message: &str) -> String {
    let named = message.split(' ').next().filter(|word| path.is_empty() && word.starts_with("metadata."));
    named.unwrap_or_else(|| path.trim_start_matches('.')).to_owned()
}

fn value(schema: &Value, found: &Value, path: &str, faults: &mut Vec<Fault>) {
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if !has_type(wanted, found) {
        faults.push(wrong_type(schema, wanted, found, path));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(found)
    {
        faults.push(not_in_enum(allowed, found, path));
        return;
    }
    match found {
        Value::Object(fields) => object(schema, fields, path, faults),
        Value::Array(items) => array(schema, items, path, faults),
        Value::String(text) => faults.extend(string(schema, text, path)),
        Value::Number(_) => faults.extend(number(schema, found, path)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn has_type(wanted: &str, found: &Value) -> bool {
    match wanted {
        "object" => found.is_object(),
        "array" => found.is_array(),
        "string" => found.is_string(),
        "integer" => found.is_i64() || found.is_u64(),
        "number" => found.is_number(),
        "boolean" => found.is_boolean(),
        _ => true,
    }
}

fn wrong_type(schema: &Value, wanted: &str, found: &Value, path: &str) -> Fault {
    let is = words::type_of(found);
    let name = words::last(path);
    let remedy = match (wanted, found) {
        ("string", Value::Number(_) | Value::Bool(_)) => {
            // A plus sign is lost in an integer; every such field of ours is a telephone number.
            let e164 = schema.get("pattern").and_then(Value::as_str) == Some(api::v1alpha1::E164);
            let plus = if e164 { "+" } else { "" };
            format!("`{name}` must be text, but without quotes this is {is}: write \"{plus}{found}\".")
        }
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => {
            format!("`{name}` must be a whole number, but in quotes this is text: write {text}.")
        }
        _ => format!("`{name}` must be {}, but this is {is}.", words::type_name(wanted)),
    };
    Fault {
        reason: Reason::WrongType,
        field: path.to_owned(),
        at_key: false,
        oversized: false,
        message: remedy,
    }
}

fn not_in_enum(allowed: &[Value], found: &Value, path: &str) -> Fault {
    let options: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    let text = found.as_str().unwrap_or_default();
    let hint = words::did_you_mean(text, options.iter().copied());
    let message = format!("`{}` must be {}, not `{text}`{hint}", words::last(path), words::any_of(&options));
    invalid(path, message)
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, faults: &mut Vec<Fault>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, found) in fields {
        match properties.get(name) {
            Some(schema) => value(schema, found, &join(path, name), faults),
            None => faults.push(unknown_field(properties, name, path)),
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            let schema = properties.get(name).unwrap_or(&Value::Null);
            faults.push(missing(path, name, schema));
        }
    }
}

fn unknown_field(properties: &Map<String, Value>, name: &str, path: &str) -> Fault {
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    let hint = words::did_you_mean(name, known.iter().copied());
    let parent = words::subject(path);
    let message = if hint == "." {
        format!("{parent} has no field `{name}`; it may have {}.", words::all_of(&known))
    } else {
        format!("{parent} has no field `{name}`{hint}")
    };
    Fault { reason: Reason::UnknownField, field: join(path, name), at_key: true, oversized: false, message }
}

fn missing(path: &str, name: &str, schema: &Value) -> Fault {
    let parent = words::subject(path);
    let about = schema.get("description").and_then(Value::as_str).and_then(words::first_sentence);
    let about = about.map_or_else(String::new, |about| format!(": {about}"));
    Fault {
        reason: Reason::MissingField,
        field: join(path, name),
        at_key: true,
        oversized: false,
        message: format!("{parent} must have `{name}`{about}."),
    }
}

fn array(schema: &Value, items: &[Value], path: &str, faults: &mut Vec<Fault>) {
    let bounds = (bound(schema, "minItems"), bound(schema, "maxItems"));
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(wanted) = outside(count, bounds) {
        let message = format!("`{}` must have {wanted} entries, but has {count}.", words::last(path));
        let oversized = bounds.1.is_some_and(|most| count > most);
        faults.push(Fault { oversized, ..invalid(path, message) });
        if oversized {
            return;
        }
    }
    if let Some(schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            value(schema, item, &format!("{path}[{index}]"), faults);
        }
    }
    duplicates(schema, items, path, faults);
}

/// Lists of type `set` and `map`: no entry twice, by itself or by its key.
fn duplicates(schema: &Value, items: &[Value], path: &str, faults: &mut Vec<Fault>) {
    let key = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => None,
        Some("map") => schema.pointer("/x-kubernetes-list-map-keys/0").and_then(Value::as_str),
        _ => return,
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let Some(identity) = key.map_or(Some(item), |key| item.get(key)) else {
            continue;
        };
        if !seen.insert(identity.to_string()) {
            let suffix = key.map_or_else(String::new, |key| format!(".{key}"));
            let text = identity.as_str().map_or_else(|| identity.to_string(), str::to_owned);
            faults.push(Fault {
                reason: Reason::DuplicateEntry,
                field: format!("{path}[{index}]{suffix}"),
                at_key: false,
                oversized: false,
                message: format!(
                    "`{}` must not have `{text}` twice; remove one of the two.",
                    words::last(path)
                ),
            });
        }
    }
}

fn string(schema: &Value, text: &str, path: &str) -> Option<Fault> {
    let name = words::last(path);
    let bounds = (bound(schema, "minLength"), bound(schema, "maxLength"));
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let pattern = schema.get("pattern").and_then(Value::as_str);
    let oversized = bounds.1.is_some_and(|most| length > most);
    let fits = pattern.is_none_or(|pattern| matches(pattern, text));
    if let (false, Some(pattern)) = (fits, pattern) {
        let wanted =
            api::describe_pattern(pattern).map_or_else(|| format!("of the form {pattern}"), str::to_owned);
        let message = format!("`{name}` must be {wanted}, not `{}`.", words::clip(text));
        return Some(Fault { oversized, ..invalid(path, message) });
    }
    let wanted = outside(length, bounds)?;
    let message = format!("`{name}` must have {wanted} characters, but has {length}.");
    Some(Fault { oversized, ..invalid(path, message) })
}

fn number(schema: &Value, found: &Value, path: &str) -> Option<Fault> {
    let bounds = (bound(schema, "minimum"), bound(schema, "maximum"));
    let wanted = outside(found.as_i64()?, bounds)?;
    Some(invalid(path, format!("`{}` must be {wanted}, not {found}.", words::last(path))))
}

fn bound(schema: &Value, name: &str) -> Option<i64> {
    schema.get(name).and_then(Value::as_i64)
}

/// What a figure would have to be, where it is out of bounds.
fn outside(figure: i64, (least, most): (Option<i64>, Option<i64>)) -> Option<String> {
    let low = least.is_some_and(|least| figure < least);
    let high = most.is_some_and(|most| figure > most);
    if !low && !high {
        return None;
    }
    Some(match (least, most) {
        (Some(least), Some(most)) if least == most => format!("exactly {least}"),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, most) => format!("at most {}", most.unwrap_or_default()),
    })
}

fn invalid(path: &str, message: String) -> Fault {
    Fault { reason: Reason::InvalidValue, field: path.to_owned(), at_key: false, oversized: false, message }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn collect_patterns(schema: &Value, patterns: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(pattern) = fields.get("pattern").and_then(Value::as_str) {
                patterns.insert(pattern.to_owned());
            }
            fields.values().for_each(|value| collect_patterns(value, patterns));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_patterns(value, patterns)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
