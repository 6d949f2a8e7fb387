//! What nobody on the line can notice: other names, another order, other files.

use std::{collections::BTreeMap, sync::LazyLock};

use plan::{Plan, SourceFile};
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    changes::{compared, planned},
    example,
};

/// Fields of a flow's verbs that name a step.
const STEPS: [&str; 17] = [
    "next",
    "onError",
    "open",
    "closed",
    "holiday",
    "otherwise",
    "busy",
    "noAnswer",
    "failed",
    "noInput",
    "noMatch",
    "timedOut",
    "full",
    "noAgents",
    "ended",
    "maxVisits",
    "invalid",
];

/// Fields that name a prompt, wherever they stand.
const PROMPTS: [&str; 6] = ["prompt", "prompts", "invalidPrompt", "greeting", "music", "abandonedPrompt"];

/// A sequence of numbers out of one.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }

    /// Other names, none of which is one of these.
    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        names
            .map(|name| {
                (
                    name.to_owned(),
                    format!(
                        "{}{}x{name}",
                        char::from(b'a' + u8::try_from(self.roll(26)).unwrap()),
                        self.roll(1_000)
                    ),
                )
            })
            .collect()
    }
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|one| one["name"].as_str().unwrap())
}

/// Gives new names to what the fields name: a text, or a list of texts.
fn rename(value: &mut Value, fields: &[&str], names: &BTreeMap<String, String>) {
    let new = |value: &mut Value| {
        if let Some(name) = value.as_str().and_then(|name| names.get(name)) {
            *value = name.clone().into();
        }
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, fields, names)),
        Value::Object(members) => {
            for (field, value) in members {
                if fields.contains(&field.as_str()) {
                    new(value);
                    value.as_array_mut().into_iter().flatten().for_each(new);
                }
                rename(value, fields, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fields of steps that hold expressions.
const EXPRESSIONS: [&str; 7] = ["when", "value", "priority", "path", "body", "text", "number"];

/// Variables in expressions: words that are no text in quotes and no field.
fn rename_in_expressions(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename_in_expressions(item, names)),
        Value::Object(members) => {
            for (field, value) in members {
                if let (true, Some(text)) = (EXPRESSIONS.contains(&field.as_str()), value.as_str()) {
                    let words = text.split(' ').map(|word| names.get(word).map_or(word, String::as_str));
                    *value = words.collect::<Vec<_>>().join(" ").into();
                } else {
                    rename_in_expressions(value, names);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn disguise(files: &[SourceFile], seed: u64) -> Vec<SourceFile> {
    let mut dice = Dice(seed);
    let (manifests, mut others): (Vec<_>, Vec<_>) =
        files.iter().cloned().partition(|file| file.path.ends_with(".yaml"));
    let mut documents: Vec<Value> = Vec::new();
    for manifest in manifests {
        let text = std::str::from_utf8(&manifest.bytes).unwrap();
        let parts = serde_yaml::Deserializer::from_str(text);
        documents.extend(parts.map(|part| <Value as serde::Deserialize>::deserialize(part).unwrap()));
    }
    documents.retain(|document| !document.is_null());
    let prompts = documents.iter().filter(|document| document["kind"] == "Prompt");
    let prompts = dice.names(prompts.map(|prompt| prompt["metadata"]["name"].as_str().unwrap()));
    for document in &mut documents {
        match document["kind"].as_str().unwrap() {
            "Prompt" => {
                let name = document["metadata"]["name"].as_str().unwrap();
                document["metadata"]["name"] = prompts[name].clone().into();
            }
            "RoutingFlow" => {
                let steps = dice.names(names(&document["spec"]["steps"]));
                rename(&mut document["spec"], &STEPS, &steps);
                for step in document["spec"]["steps"].as_array_mut().unwrap() {
                    step["name"] = steps[step["name"].as_str().unwrap()].clone().into();
                }
                let variables = dice.names(names(&document["spec"]["variables"]));
                rename(&mut document["spec"]["steps"], &["variable"], &variables);
                rename_in_expressions(&mut document["spec"]["steps"], &variables);
                for variable in document["spec"]["variables"].as_array_mut().into_iter().flatten() {
                    variable["name"] = variables[variable["name"].as_str().unwrap()].clone().into();
                }
                rename(&mut document["spec"]["steps"], &PROMPTS, &prompts);
            }
            _ => rename(document, &PROMPTS, &prompts),
        }
    }
    dice.shuffle(&mut documents);
    let count = 1 + dice.roll(6);
    let mut texts = vec![String::from("# Moved.\n"); count];
    for document in documents {
        texts[dice.roll(count)] += &format!("---\n{}", serde_yaml::to_string(&document).unwrap());
    }
    let manifests = texts.into_iter().enumerate();
    others.extend(
        manifests.map(|(place, text)| SourceFile {
            path: format!("f{place}.yaml"),
            bytes: text.into_bytes().into(),
        }),
    );
    others
}

static EXAMPLES: LazyLock<Vec<(Vec<SourceFile>, Plan)>> = LazyLock::new(|| {
    let planned = |name| {
        // CallTests are no part of any call, and name prompts in their acts.
        let files: Vec<_> =
            example(name).into_iter().filter(|file| !file.path.contains("calltests")).collect();
        let plan = planned(&files);
        (files, plan)
    };
    ["quickstart", "tenant"].map(planned).into()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn other_names_and_another_order_change_no_call(seed: u64) {
        for (files, plan) in &*EXAMPLES {
            let changes = compared(plan, &planned(&disguise(files, seed)));
            prop_assert_eq!(changes.to_string(), "no call changes\n", "{}", seed);
        }
    }
}
