//! Watches every kind of ours, and the Secrets and ConfigMaps that objects may refer to.
//!
//! An object is read as JSON, whatever it holds: one that this version cannot understand is an object like any other here,
//! and stops nothing. `managedFields` are dropped before anything is kept. What a new list does not hold any more is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::{self, Event, watcher},
};
use model::Key;
use plan::Foreign;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

use crate::status::Shown;

/// A watch that says nothing for so long, bookmarks included, is begun anew, so that a dead connection is found.
const SILENCE_SECONDS: u32 = 60;

/// Between attempts, at least and at most. Twice as long after each failure that follows soon.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Only Secrets and ConfigMaps with this label may be referred to.
pub const RELEASED: &str = "switchboard.dev/use=true";

/// A kind of ours, as the API knows it.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Such as `Trunk`.
    pub name: &'static str,
    /// For requests.
    pub resource: ApiResource,
}

/// Every kind of ours.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    let (group, version) = api::API_VERSION.split_once('/').unwrap_or_default();
    let kinds = api::kinds().into_iter();
    let kinds = kinds.map(|kind| {
        let gvk = GroupVersionKind::gvk(group, version, kind.name);
        Kind { name: kind.name, resource: ApiResource::from_gvk_with_plural(&gvk, &kind.plural) }
    });
    kinds.collect()
}

/// An object as the API server has it.
#[derive(Debug)]
pub struct Declared {
    /// Of it.
    pub kind: &'static str,
    /// Namespace and name.
    pub key: Key,
    /// Tells it from one of the same name before or after.
    pub uid: Box<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`.
    pub version: Box<str>,
    /// Its wish.
    pub spec: Value,
    /// What stands in its status.
    pub status: Shown,
}

/// Values of a Secret. Never printed.
pub struct SecretData {
    /// Namespace and name.
    pub key: Key,
    /// By key.
    pub values: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for SecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret {} [redacted]", self.key)
    }
}

/// What watches tell.
#[derive(Debug)]
pub enum Change {
    /// An object came or is other than it was.
    Object(Box<Declared>),
    /// An object is gone.
    Gone {
        /// Of it.
        kind: &'static str,
        /// Namespace and name.
        key: Key,
    },
    /// All objects of a kind have been told.
    Synced(&'static str),
    /// The API server does not know the kind (any more), or knows it (again).
    Missing(&'static str, bool),
    /// A Secret came or is other than it was.
    Secret(SecretData),
    /// A Secret is gone, or has lost its label.
    SecretGone(Key),
    /// All Secrets of a namespace have been told.
    SecretsSynced(String),
    /// The operator may not read the namespace's Secrets.
    SecretsForbidden(String),
    /// A ConfigMap came or is other than it was: its data that is no text.
    ConfigMap(Foreign),
    /// A ConfigMap is gone, or has lost its label.
    ConfigMapGone(Key),
    /// All ConfigMaps of a namespace have been told.
    ConfigMapsSynced,
}

/// Watches a kind for ever. Ends when nobody listens.
pub async fn follow(client: Client, kind: Kind, out: mpsc::Sender<Change>) {
    let objects: Api<DynamicObject> = Api::all_with(client, &kind.resource);
    let name = kind.name;
    let begin = || watcher(objects.clone(), watcher::Config::default().timeout(SILENCE_SECONDS));
    tell(begin, of_kind(name), out).await;
}

fn of_kind(name: &'static str) -> Told<DynamicObject> {
    Told {
        what: name,
        apply: Box::new(move |object: DynamicObject| {
            declared(name, object).map(|object| Change::Object(Box::new(object)))
        }),
        gone: Box::new(move |key| Change::Gone { kind: name, key }),
        synced: Box::new(move || Change::Synced(name)),
        failed: Box::new(move |error| Some(Change::Missing(name, code(error) == Some(404)))),
    }
}

/// Watches the Secrets of a namespace that objects may refer to, for ever. Ends when nobody listens.
pub async fn follow_secrets(client: Client, namespace: String, out: mpsc::Sender<Change>) {
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().timeout(SILENCE_SECONDS).labels(RELEASED);
    let (of, forbidden) = (namespace.clone(), namespace);
    let told = Told {
        what: "Secret",
        apply: Box::new(|secret: Secret| {
            let key = key(&secret)?;
            let values = secret.data.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0));
            Some(Change::Secret(SecretData { key, values: values.collect() }))
        }),
        gone: Box::new(Change::SecretGone),
        synced: Box::new(move || Change::SecretsSynced(of.clone())),
        failed: Box::new(move |error| {
            (code(error) == Some(403)).then(|| Change::SecretsForbidden(forbidden.clone()))
        }),
    };
    tell(|| watcher(secrets.clone(), config.clone()), told, out).await;
}

/// Watches the ConfigMaps of a namespace that Prompts may refer to, for ever. Ends when nobody listens.
pub async fn follow_config_maps(client: Client, namespace: String, out: mpsc::Sender<Change>) {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().timeout(SILENCE_SECONDS).labels(RELEASED);
    let told = Told {
        what: "ConfigMap",
        apply: Box::new(|map: ConfigMap| {
            let (key, object) = (key(&map)?, json!({"binaryData": map.binary_data}));
            Some(Change::ConfigMap(Foreign {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                key,
                object,
            }))
        }),
        gone: Box::new(Change::ConfigMapGone),
        synced: Box::new(|| Change::ConfigMapsSynced),
        failed: Box::new(|_| None),
    };
    tell(|| watcher(maps.clone(), config.clone()), told, out).await;
}

type Failed = Box<dyn Fn(&watcher::Error) -> Option<Change> + Send>;

/// How a watch's events become changes.
struct Told<K> {
    what: &'static str,
    apply: Box<dyn Fn(K) -> Option<Change> + Send>,
    gone: Box<dyn Fn(Key) -> Change + Send>,
    synced: Box<dyn Fn() -> Change + Send>,
    failed: Failed,
}

async fn tell<K: Resource, S: Stream<Item = watcher::Result<Event<K>>>>(
    begin: impl Fn() -> S,
    told: Told<K>,
    out: mpsc::Sender<Change>,
) {
    let mut stream = Box::pin(begin());
    let mut known: BTreeSet<Key> = BTreeSet::new();
    let mut listed: BTreeSet<Key> = BTreeSet::new();
    let mut pause = Pause::default();
    while let Some(event) = stream.next().await {
        let (changes, wait) = match event {
            Ok(event) => (follow_event(event, &told, &mut known, &mut listed), None),
            Err(error) => {
                let wait = pause.after_failure(Instant::now());
                // A version that is too old is all in a day's work: the list begins anew.
                if code(&error).is_none_or(|code| code == 410) {
                    debug!(kind = told.what, %error, "watch begins anew");
                } else {
                    warn!(kind = told.what, %error, "watch fails; trying again in {wait:?}");
                }
                // The watcher would ask for the same version for ever. Of a kind that was gone and is back, what was told
                // before says nothing.
                let lost = matches!(&error, watcher::Error::WatchStartFailed(_));
                if lost && matches!(code(&error), Some(404 | 410)) {
                    stream.set(begin());
                }
                ((told.failed)(&error).into_iter().collect(), Some(wait))
            }
        };
        for change in changes {
            if out.send(change).await.is_err() {
                return;
            }
        }
        if let Some(wait) = wait {
            sleep(wait).await;
        }
    }
}

/// How long to wait after a failure. A list that begins anew is no success yet: only time without a failure is.
#[derive(Debug, Default)]
struct Pause {
    last: Option<(Instant, Duration)>,
}

impl Pause {
    fn after_failure(&mut self, now: Instant) -> Duration {
        let wait = match self.last {
            Some((at, wait)) if now < at + 3 * wait => (2 * wait).min(BACKOFF.1),
            _ => BACKOFF.0,
        };
        self.last = Some((now, wait));
        wait
    }
}

fn follow_event<K: Resource>(
    event: Event<K>,
    told: &Told<K>,
    known: &mut BTreeSet<Key>,
    listed: &mut BTreeSet<Key>,
) -> Vec<Change> {
    match event {
        Event::Init => {
            listed.clear();
            Vec::new()
        }
        Event::InitApply(object) => {
            listed.extend(key(&object));
            (told.apply)(object).into_iter().collect()
        }
        Event::InitDone => {
            let listed = std::mem::take(listed);
            let gone = known.difference(&listed).cloned().map(|key| (told.gone)(key));
            let changes = gone.chain([(told.synced)()]).collect();
            *known = listed;
            info!(kind = told.what, objects = known.len(), "listed");
            changes
        }
        Event::Apply(object) => {
            known.extend(key(&object));
            (told.apply)(object).into_iter().collect()
        }
        Event::Delete(object) => {
            let key = key(&object);
            key.iter().for_each(|key| {
                known.remove(key);
            });
            key.map(|key| (told.gone)(key)).into_iter().collect()
        }
    }
}

/// The code that the API server answered with.
fn code(error: &watcher::Error) -> Option<u16> {
    let source = match error {
        watcher::Error::WatchError(status) => return Some(status.code),
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::NoResourceVersion => return None,
    };
    if let kube::Error::Api(status) = source { Some(status.code) } else { None }
}

fn key<K: Resource>(object: &K) -> Option<Key> {
    let meta = object.meta();
    Some(Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref()?))
}

fn declared(kind: &'static str, mut object: DynamicObject) -> Option<Declared> {
    let key = key(&object)?;
    Some(Declared {
        kind,
        key,
        uid: object.metadata.uid.take().unwrap_or_default().into(),
        generation: object.metadata.generation.unwrap_or_default(),
        version: object.metadata.resource_version.take().unwrap_or_default().into(),
        status: object.data.get("status").map(Shown::read).unwrap_or_default(),
        spec: object.data.get_mut("spec").map(Value::take).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_follow_each_other_are_ever_further_apart() {
        let mut pause = Pause::default();
        let begin = Instant::now();
        let mut now = begin;
        let waits: Vec<u128> = (0..9)
            .map(|_| {
                let wait = pause.after_failure(now);
                // The next attempt takes a moment too.
                now += wait + wait / 4;
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        now += 4 * BACKOFF.1;
        assert_eq!(pause.after_failure(now), BACKOFF.0);
    }

    /// A watch that would be asked for from the same version for ever, and a kind that was gone.
    #[tokio::test]
    async fn what_cannot_be_watched_from_where_it_was_is_listed_anew() {
        for (code, begun) in [(410, 2), (404, 2), (500, 1)] {
            let (out, mut changes) = mpsc::channel(8);
            let begins = std::cell::Cell::new(0);
            let begin = || {
                begins.set(begins.get() + 1);
                let status = kube::core::Status::failure("no", "no").with_code(code);
                let failed = watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed()));
                let first: Vec<watcher::Result<Event<DynamicObject>>> = if begins.get() == 1 {
                    vec![Err(failed)]
                } else {
                    vec![Ok(Event::Init), Ok(Event::InitDone)]
                };
                futures::stream::iter(first)
            };
            tell(begin, of_kind("Trunk"), out).await;
            assert_eq!(begins.get(), begun, "{code}");
            let Some(Change::Missing("Trunk", missing)) = changes.recv().await else {
                panic!("{code}: not told")
            };
            assert_eq!(missing, code == 404);
            assert_eq!(matches!(changes.recv().await, Some(Change::Synced("Trunk"))), begun == 2, "{code}");
        }
    }
}
