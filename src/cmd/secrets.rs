//! Values of Secrets for a process that no operator tells: from documents of kind Secret in the folder, else from the
//! environment.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use model::{Key, secrets::Secrets};
use plan::{Foreign, SecretKeys};
use serde_json::Value;
use tracing::warn;

/// Values that a folder has. Printed `[redacted]`.
#[derive(Clone, Default)]
pub struct Folder(BTreeMap<(Key, String), Vec<u8>>);

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Folder {
    /// What `stringData` and `data` of its Secrets hold; the former wins, as on an API server.
    pub fn of(foreign: &[Foreign]) -> Self {
        let mut values = BTreeMap::new();
        for secret in foreign.iter().filter(|other| other.kind == "Secret" && other.api_version == "v1") {
            for (key, value) in pairs(&secret.object["data"]) {
                match BASE64_STANDARD.decode(value.trim()) {
                    Ok(value) => drop(values.insert((secret.key.clone(), key.to_owned()), value)),
                    Err(_) => warn!("Secret {}: data.{key} must be in base64", secret.key),
                }
            }
            for (key, value) in pairs(&secret.object["stringData"]) {
                values.insert((secret.key.clone(), key.to_owned()), value.as_bytes().to_vec());
            }
        }
        Self(values)
    }

    /// Those that are needed, as far as they are there; what is not there is told.
    pub fn take(&self, needs: &SecretKeys) -> Secrets {
        let names = needs.iter().flat_map(|(object, keys)| keys.iter().map(move |key| (object, key)));
        let found = names.filter_map(|(object, key)| {
            let name = (object.clone(), key.clone());
            let variable = variable(object, key);
            let value = self.0.get(&name).cloned();
            let value = value.or_else(|| std::env::var(&variable).ok().map(String::into_bytes));
            if value.is_none() {
                warn!("Secret {object} has no key `{key}`: add one to the folder, or set {variable}");
            }
            Some((name, value?))
        });
        found.collect()
    }
}

fn pairs(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = object.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// The environment's name of a value: `SWITCHBOARD_SECRET_` and namespace, name and key in capitals, all else as `_`.
fn variable(object: &Key, key: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    let tail = format!("{}_{}_{key}", object.namespace(), object.name());
    format!("SWITCHBOARD_SECRET_{}", tail.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_from_documents_and_are_never_printed() {
        let object =
            json!({"data": {"a": "Zmlyc3Q=", "b": "?", "c": "bG9zZXM="}, "stringData": {"c": "second"}});
        let key = Key::new("acme", "pbx");
        let foreign = Foreign { api_version: "v1".into(), kind: "Secret".into(), key: key.clone(), object };
        let folder = Folder::of(&[foreign]);
        let wanted = ["a", "b", "c", "d"].map(str::to_owned);
        let values = folder.take(&BTreeMap::from([(key.clone(), BTreeSet::from(wanted))]));
        let found = ["a", "b", "c", "d"].map(|name| values.get(&key, name));
        assert_eq!(found, [Some(&b"first"[..]), None, Some(b"second"), None]);
        assert_eq!(format!("{folder:?} {values:?}"), "[redacted] [redacted]");
    }

    #[test]
    fn a_variable_is_named_after_the_value() {
        assert_eq!(variable(&Key::new("acme", "pbx-1"), "tls.key"), "SWITCHBOARD_SECRET_ACME_PBX_1_TLS_KEY");
    }
}
