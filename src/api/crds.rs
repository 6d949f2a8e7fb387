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
        kind::<v1::Agent>("Agent"),
        kind::<v1::Allowlist>("Allowlist"),
        kind::<v1::BusinessHours>("BusinessHours"),
        kind::<v1::CallTest>("CallTest"),
        kind::<v1::Campaign>("Campaign"),
        kind::<v1::Carrier>("Carrier"),
        kind::<v1::ContactList>("ContactList"),
        kind::<v1::ContactPoint>("ContactPoint"),
        kind::<v1::DoNotCallList>("DoNotCallList"),
        kind::<v1::Integration>("Integration"),
        kind::<v1::NumberOrder>("NumberOrder"),
        kind::<v1::PhoneNumber>("PhoneNumber"),
        kind::<v1::PointOfPresence>("PointOfPresence"),
        kind::<v1::Prompt>("Prompt"),
        kind::<v1::Queue>("Queue"),
        kind::<v1::RoutingFlow>("RoutingFlow"),
        kind::<v1::Tenant>("Tenant"),
        kind::<v1::Trunk>("Trunk"),
        kind::<v1::VoiceCluster>("VoiceCluster"),
        kind::<v1::VoicemailBox>("VoicemailBox"),
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
        v1::PEER_ADDRESS => {
            "`host` or `host:port` with a port up to 65535, such as 198.51.100.7:5060 or [2001:db8::7]:5060"
        }
        v1::INTERFACE => "1 to 15 letters, digits, `.`, `_` and `-`, such as eth1",
        v1::ATTACHMENT => "`namespace/name` in small letters, digits and `-`, such as platform/mpls-acme",
        v1::TIME => "a time with its zone, such as 2026-01-01T00:00:00Z",
        v1::PROMPT_FILE => {
            "a relative path of a .wav, .opus, .ogg or .mp3 file without `..`, such as prompts/welcome.wav"
        }
        v1::CLOCK_FROM => "hours and minutes from \"00:00\" to \"23:59\"",
        v1::CLOCK_TO => "hours and minutes from \"00:01\" to \"24:00\"",
        v1::TEST_STEP => "a step, such as menu, or a step of a called flow, such as survey/lot",
        v1::DATE => "a date, such as \"2026-12-25\"",
        v1::KEYS => "1 to 8 keys of `0` to `9`, `*` and `#`",
        v1::PHRASE => "words: letters, digits, spaces, `'`, `.` and `-`, beginning with a letter or digit",
        v1::TERMINATOR => "\"#\" or \"*\"",
        v1::SIP_USER => "the user part of a SIP address, such as \"201\"",
        v1::SECRET_KEY => "1 to 253 letters, digits, `-`, `_` and `.`",
        v1::HTTP_URL => "an address that begins with http:// or https://, such as http://otel-collector:4317",
        v1::UUID => "a UUID in lower case, such as 7f2c1a54-0f6e-4a51-9f5f-2f0c8d2f6b1e",
        v1::HTTPS_URL => "an address that begins with https://, such as https://crm.example.com/api",
        v1::ISSUER => {
            "an address that begins with https:// and has no query, such as https://login.example.com"
        }
        v1::CLAIM => "a letter, then letters, digits, `_`, `-`, `.`, `:` and `/`, such as email",
        v1::SCOPE => "printable ASCII without spaces, `\"` and `\\`, such as email",
        v1::SHA256 => "64 hexadecimal digits in lower case",
        v1::DOMAIN => "a domain name in lower case, such as sip.example.net",
        v1::EMAIL => "an address of mail, such as support@example.com",
        v1::RESP_ORG => "two capital letters and three capital letters or digits, such as XYZ01",
        v1::PREFIX => "`+` and 1 to 11 digits, country code first, such as \"+1212\"",
        v1::HEADER => "a letter, then letters, digits and `-`, such as X-Tenant",
        v1::PROXY_URL => "an address that begins with http:// or https:// and has no path",
        v1::ORIGIN => "an origin, such as https://www.example.com",
        v1::EMERGENCY => "3 to 6 digits, such as \"110\"",
        v1::DATABASE_HOST => "the name or address of a host, without a port, such as db.example.com",
        v1::DATABASE_NAME => "a letter or `_`, then letters, digits, `_`, `.` and `-`, such as switchboard",
        v1::TEST_KEYS => "1 to 32 keys of `0` to `9`, `*` and `#`",
        v1::S3_ENDPOINT => {
            "an address that begins with http:// or https:// and has no path, such as https://s3.example.com"
        }
        v1::S3_BUCKET => {
            "3 to 63 small letters, digits, `.` and `-`, beginning and ending with a letter or digit"
        }
        v1::S3_PREFIX => {
            "letters, digits, `_`, `.`, `+` and `-`, in parts with `/` between, such as c14/recordings"
        }
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use kube::core::cel::{WarningKind, compile_schema, estimate_rule_cost};

    use super::*;

    /// Most that the API server lets a rule cost by its estimate (`StaticEstimatedCostLimit`).
    const COST_MAX: u64 = 10_000_000;

    #[test]
    fn the_files_in_git_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        let remedy = "run `switchboard crds --out crds/` and commit the result";
        let wanted = crds();
        for (name, text) in &wanted {
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(folder.join(name), text).unwrap();
            }
            let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(found == *text, "crds/{name} is stale: {remedy}");
        }
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(wanted.iter().any(|(known, _)| *known == name), "crds/{name} is of no kind: {remedy}");
        }
    }

    /// Every schema that has a rule, with its path and how often it can occur in one object.
    fn rules(schema: &Value, path: &str, times: u64, visit: &mut dyn FnMut(&Value, &str, u64)) {
        if schema.get("x-kubernetes-validations").is_some() {
            visit(schema, path, times);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            rules(property, &format!("{path}.{name}"), times, visit);
        }
        if let Some(items) = schema.get("items") {
            let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(1_000);
            rules(items, &format!("{path}[]"), times * most, visit);
        }
    }

    /// The schema with those properties alone that a rule names: the estimate takes its bounds from any list it finds.
    fn named(schema: &Value, rule: &str) -> Value {
        let mut schema = schema.clone();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|name, _| rule.contains(&format!("self.{name}")));
        }
        schema
    }

    #[test]
    fn every_rule_is_within_the_api_servers_budget() {
        let mut count = 0;
        for kind in kinds() {
            rules(&kind.schema, kind.name, 1, &mut |schema, path, times| {
                assert!(!compile_schema(schema).has_errors(), "{path} has a rule that is no CEL");
                for rule in schema["x-kubernetes-validations"].as_array().unwrap() {
                    count += 1;
                    let text = rule["rule"].as_str().unwrap();
                    let compiled = compile_schema(&named(schema, text));
                    for warning in estimate_rule_cost(text, &compiled) {
                        assert_eq!(warning.kind, WarningKind::CostExceeded, "{path}: {}", warning.message);
                        let cost: u64 = warning.message.split(' ').nth(2).unwrap().parse().unwrap();
                        assert!(cost * times <= COST_MAX, "{path} costs {cost} × {times}");
                        // What one evaluation really spends is bounded by a million; this one bounds itself.
                        assert!(text.starts_with("self.size() > 300 ||"), "{path}: {text} costs {cost}");
                    }
                }
            });
        }
        assert!(count >= 20, "{count} rules seen");
    }

    /// API conventions: whatever can grow is bounded, and every field says what it is.
    #[test]
    fn every_list_text_and_figure_is_bounded_and_documented() {
        for kind in kinds() {
            bounded(kind.schema.pointer("/properties/spec").unwrap(), kind.name, true);
            let columns = kind.crd.pointer("/spec/versions/0/additionalPrinterColumns").unwrap();
            assert!(columns.as_array().unwrap().len() <= 6, "{} has too many columns", kind.name);
            let conditions = "/properties/status/properties/conditions/x-kubernetes-list-map-keys/0";
            assert_eq!(kind.schema.pointer(conditions), Some(&"type".into()), "{}", kind.name);
        }
    }

    fn bounded(schema: &Value, path: &str, documented: bool) {
        let has = |name: &str| schema.get(name).is_some();
        assert!(has("description") || !documented, "{path} has no description");
        assert!(!has("oneOf") && !has("nullable"), "{path} must be a plain structure");
        match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type")) {
            "string" => assert!(has("enum") || has("maxLength"), "{path} has no maxLength"),
            "integer" => {
                assert!(has("minimum") && has("maximum"), "{path} has no range");
                assert_eq!(schema["format"], "int32", "{path}");
            }
            "array" => {
                assert!(has("maxItems"), "{path} has no maxItems");
                assert!(has("x-kubernetes-list-type"), "{path} has no list type");
                bounded(&schema["items"], &format!("{path}[]"), false);
            }
            "object" => {
                for (name, property) in schema["properties"].as_object().unwrap() {
                    bounded(property, &format!("{path}.{name}"), true);
                }
            }
            "boolean" => {}
            other => panic!("{path} is of type {other}"),
        }
    }

    #[test]
    fn every_pattern_is_put_into_words() {
        fn walk(schema: &Value, path: &str) {
            if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
                assert!(describe_pattern(pattern).is_some(), "{path}: {pattern}");
            }
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                walk(property, &format!("{path}.{name}"));
            }
            schema.get("items").into_iter().for_each(|items| walk(items, path));
        }
        for kind in kinds() {
            walk(kind.schema.pointer("/properties/spec").unwrap(), kind.name);
        }
    }

    /// `Off` without quotes is false to the API server, and is written without them in `crds/` and by people.
    #[test]
    fn no_word_of_a_schema_is_a_boolean_in_yaml_1_1() {
        fn walk(value: &Value, path: &str) {
            match value {
                Value::String(text) => {
                    let word = text.to_lowercase();
                    let boolean =
                        ["y", "yes", "n", "no", "on", "off", "true", "false"].contains(&word.as_str());
                    assert!(!boolean, "{path}: {text}");
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, path)),
                Value::Object(fields) => {
                    fields.iter().for_each(|(name, value)| walk(value, &format!("{path}.{name}")));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        for kind in kinds() {
            walk(&kind.crd, kind.name);
        }
    }

    #[test]
    fn short_names_and_plurals_are_unique() {
        let names = kinds().into_iter().map(|kind| {
            assert_eq!(kind.crd["spec"]["names"]["categories"][0], "switchboard");
            (kind.plural, kind.crd["spec"]["names"]["shortNames"][0].to_string())
        });
        let names: Vec<_> = names.collect();
        for (index, (plural, short)) in names.iter().enumerate() {
            let before = &names[..index];
            assert!(!before.iter().any(|(other, _)| other == plural), "{plural}");
            assert!(!before.iter().any(|(_, other)| other == short), "{short}");
        }
    }
}
