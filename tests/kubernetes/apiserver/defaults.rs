//! What the server fills in.

use std::collections::BTreeSet;

use serde_json::Value;

use super::control_plane::{control_plane, repository, walk};

/// Fills in every default of `schema` whose parents stand in `value`, and lists it as `path = default`.
fn fill(schema: &Value, path: &str, value: &mut Value, filled: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    match value {
        Value::Object(fields) => {
            for (name, property) in properties.into_iter().flatten() {
                let path = format!("{path}.{name}");
                if let (None, Some(default)) = (fields.get(name), property.get("default")) {
                    fields.insert(name.clone(), default.clone());
                    filled.push(format!("{path} = {default}"));
                }
                if let Some(field) = fields.get_mut(name) {
                    fill(property, &path, field, filled);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                fill(&schema["items"], &format!("{path}[]"), item, filled);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// As they stand in the file.
fn sent() -> Vec<Value> {
    let manifest = repository().join("tests/kubernetes/minimal.yaml");
    // Read by kubectl itself, with no server asked.
    let arguments =
        ["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", manifest.to_str().unwrap()];
    let text = control_plane().kubectl(&arguments).done();
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let documents: Vec<Value> = documents.map(Result::unwrap).collect();
    match documents.as_slice() {
        [list] if list["kind"] == "List" => list["items"].as_array().unwrap().clone(),
        _ => documents,
    }
}

#[test]
fn every_default_of_the_schema_comes_back() {
    let plane = control_plane();
    plane.namespaces(["defaults"]);
    let manifest = repository().join("tests/kubernetes/minimal.yaml");
    plane.kubectl(&["create", "-n", "defaults", "-f", manifest.to_str().unwrap()]).done();
    let mut table = BTreeSet::new();
    for mut object in sent() {
        let (kind, name) = (object["kind"].as_str().unwrap().to_owned(), object["metadata"]["name"].take());
        let known = api::kinds().into_iter().find(|known| known.name == kind).unwrap();
        let mut filled = Vec::new();
        fill(&known.schema["properties"]["spec"], &kind, &mut object["spec"], &mut filled);
        let stored = plane.object("defaults", &kind, name.as_str().unwrap());
        assert_eq!(
            stored["spec"], object["spec"],
            "{kind} {name}: these defaults were expected: {filled:#?}"
        );
        table.extend(filled);
    }
    let mut unreached = String::new();
    for kind in api::kinds() {
        walk(&kind.schema["properties"]["spec"], kind.name, &mut |path, schema| {
            let default = schema.get("default").map(|default| format!("{path} = {default}"));
            if let Some(row) = default.filter(|row| !table.contains(row)) {
                unreached += &format!("{row}\n");
            }
        });
    }
    assert_eq!(unreached, "", "tests/kubernetes/minimal.yaml has no object with the parents of these");
}
