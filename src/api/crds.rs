//! The CRDs as they are kept in Git: nothing in them that the API server warns about or a GitOps tool rewrites.

use kube::CustomResourceExt;
use serde_json::Value;

use crate::v1alpha1 as v1;

/// A kind of ours, for whoever reads manifests or writes CRDs.
#[derive(Debug, Clone)]
pub struct Kind {
    /// As `kind` says it, such as `Trunk`.
    pub name: &'static str,
    /// As the API's paths say it, such as `trunks`.
    pub plural: String,
    /// The whole CustomResourceDefinition.
    pub crd: Value,
    /// Its OpenAPI schema, CEL rules included.
    pub schema: Value,
}

/// Every kind, in alphabetical order.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    vec![
        kind::<v1::Allowlist>("Allowlist"),
        kind::<v1::BusinessHours>("BusinessHours"),
        kind::<v1::PhoneNumber>("PhoneNumber"),
        kind::<v1::Prompt>("Prompt"),
        kind::<v1::RoutingFlow>("RoutingFlow"),
        kind::<v1::Tenant>("Tenant"),
        kind::<v1::Trunk>("Trunk"),
        kind::<v1::VoiceCluster>("VoiceCluster"),
    ]
}

/// Name and content of every file of `crds/`.
#[must_use]
pub fn crds() -> Vec<(String, String)> {
    let file = |kind: Kind| {
        let yaml = serde_yaml::to_string(&kind.crd).unwrap_or_default();
        (format!("{}.{}.yaml", kind.plural, crate::GROUP), yaml)
    };
    kinds().into_iter().map(file).collect()
}

/// What a pattern of a schema wants, in words: completes "must be …".
#[must_use]
pub fn describe_pattern(pattern: &str) -> Option<&'static str> {
    let words = match pattern {
        v1::LABEL => "small letters, digits and `-`, beginning and ending with a letter or digit",
        v1::OBJECT_NAME => "small letters, digits, `-` and `.`, beginning and ending with a letter or digit",
        v1::E164 => "`+` and 2 to 15 digits, country code first, such as \"+12125550100\"",
        v1::VARIABLE => "a small letter, then letters, digits and `_`",
        v1::LANGUAGE => "a language tag, such as en-US",
        v1::PEER_ADDRESS => "`host` or `host:port`, such as 198.51.100.7:5060 or [2001:db8::7]:5060",
        v1::TIME => "a time with its zone, such as 2026-01-01T00:00:00Z",
        v1::PROMPT_FILE => "a relative path of a .wav file without `..`, such as prompts/welcome.wav",
        v1::CLOCK_FROM => "hours and minutes from \"00:00\" to \"23:59\"",
        v1::CLOCK_TO => "hours and minutes from \"00:01\" to \"24:00\"",
        v1::DATE => "a date, such as \"2026-12-25\"",
        v1::KEYS => "1 to 8 keys of `0` to `9`, `*` and `#`",
        v1::TERMINATOR => "\"#\" or \"*\"",
        v1::SIP_USER => "the user part of a SIP address, such as \"201\"",
        "^[A-Z][0-9]{1,4}$" => "a capital letter and 1 to 4 digits, such as C14",
        "^[A-Z]{2}$" => "two capital letters, such as US",
        _ => return None,
    };
    Some(words)
}

fn kind<K: CustomResourceExt>(name: &'static str) -> Kind {
    let definition = K::crd();
    let plural = definition.spec.names.plural.clone();
    let mut crd = serde_json::to_value(definition).unwrap_or_default();
    normalise(&mut crd);
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
    Kind { name, plural, crd, schema }
}

fn normalise(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A property may bear these names, but then its value is an object.
            map.retain(|key, value| match (key.as_str(), value) {
                // Both come from `Option`; absent and null are one thing to us.
                ("nullable", Value::Bool(_)) => false,
                ("enum", Value::Array(values)) => {
                    values.retain(|value| !value.is_null());
                    true
                }
                // "unrecognized format": OpenAPI has no unsigned integers.
                ("format", Value::String(format)) => !format.starts_with("uint"),
                _ => true,
            });
            map.values_mut().for_each(normalise);
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        // schemars writes `maximum: 16.0`, the API server answers `16`: a diff for ever.
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| number.is_f64());
            if let Some(whole) = float.and_then(integral) {
                *value = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn integral(number: f64) -> Option<i64> {
    let whole = number as i64;

    let same = whole as f64 == number;
    same.then_some(whole)
}
