//! Secrets that the operator keeps.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::election::Leadership;

/// Our field manager.
pub const MANAGER: &str = "switchboard";

/// Why an object was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The API server said no, or nothing.
    #[error("Secret {namespace}/{name}: {source}")]
    Api {
        /// Of the object.
        namespace: String,
        /// Of the object.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// Somebody else leads.
    #[error("this replica does not lead any more")]
    NotLeading,
}

/// Keeps Secrets.
#[derive(Clone)]
pub struct Keeper {
    client: Client,
    leadership: Leadership,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

/// A Secret as it should be.
#[derive(Clone)]
pub struct Kept {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Such as `Opaque`.
    pub of_type: &'static str,
    /// Whatever should be told from outside.
    pub annotations: BTreeMap<String, String>,
    /// Its values.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl Keeper {
    /// For the one who leads.
    #[must_use]
    pub const fn new(client: Client, leadership: Leadership) -> Self {
        Self { client, leadership }
    }

    /// A Secret's values and annotations. None: there is no such Secret.
    ///
    /// # Errors
    /// The API server's.
    pub async fn read(&self, namespace: &str, name: &str) -> Result<Option<Kept>, KeepError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = secrets.get_opt(name).await.map_err(|error| failed(namespace, name, error))?;
        Ok(found.map(|secret| Kept {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            of_type: "",
            annotations: secret.metadata.annotations.unwrap_or_default(),
            data: secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
        }))
    }

    /// Writes a Secret without looking.
    ///
    /// # Errors
    /// The API server's, or that this replica leads no more.
    pub async fn write(&self, kept: &Kept) -> Result<(), KeepError> {
        let data: BTreeMap<&String, ByteString> =
            kept.data.iter().map(|(key, value)| (key, ByteString(value.clone()))).collect();
        let body = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": kept.name,
                "namespace": kept.namespace,
                "labels": {"app.kubernetes.io/managed-by": MANAGER},
                "annotations": kept.annotations,
            },
            "type": kept.of_type,
            "data": data,
        });
        if self.leadership.term().is_none() {
            return Err(KeepError::NotLeading);
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &kept.namespace);
        let parameters = PatchParams::apply(MANAGER).force();
        let written = secrets.patch(&kept.name, &parameters, &Patch::Apply(&body)).await;
        written.map(|_| ()).map_err(|error| failed(&kept.namespace, &kept.name, error))
    }
}

fn failed(namespace: &str, name: &str, source: kube::Error) -> KeepError {
    KeepError::Api { namespace: namespace.to_owned(), name: name.to_owned(), source: Box::new(source) }
}
