//! Recordings and messages of the clusters of a process: where they are kept, their lists, and they themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use edge::http::{Ask, Listed, Stored};
use media::{Catalogue, Handle, Wanted};
use model::{
    AgentId, ClusterId, Key,
    kept::{Entry, Keeping},
    secrets::Secrets,
    snapshot::{self, Bucket, Snapshot},
};
use store::{Blobs, Credentials, Folder, Keys, Movable, S3, S3Config, Unready};
use tracing::{info, warn};

/// Largest sound that is given out over HTTP, in bytes: some two hours of a call.
const SOUND_MAX: u64 = 256 * 1024 * 1024;

/// Where a cluster's recordings are kept, as its snapshot and its secrets say, which may change while it runs.
#[derive(Debug)]
pub struct Place {
    store: Arc<Movable>,
    folder: std::path::PathBuf,
    made_of: Option<(snapshot::Keeping, Secrets)>,
}

impl Place {
    /// With a folder of this machine; nothing can be kept before [`Place::set`].
    pub fn new(folder: &Path) -> Self {
        let store = Movable::new(Arc::new(Unready("nobody has said yet where recordings are kept".into())));
        Self { store: Arc::new(store), folder: folder.to_owned(), made_of: None }
    }

    /// What stands for it.
    pub fn store(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.store) as _
    }

    /// Takes up what a snapshot and secrets say. Whether it is another than it was.
    pub fn set(&mut self, snapshot: &Snapshot, secrets: &Secrets) -> bool {
        let of = |keeping: &snapshot::Keeping| snapshot::Keeping {
            recording_days: BTreeMap::new(),
            records: None,
            record_days: BTreeMap::new(),
            ..keeping.clone()
        };
        let made_of = (of(&snapshot.cluster.keeping), secrets.clone());
        if self.made_of.as_ref() == Some(&made_of) {
            return false;
        }
        let store = match opened(&made_of.0, secrets, &self.folder) {
            Ok(store) => store,
            Err(why) => {
                warn!("VoiceCluster {}: nothing can be recorded: {why}", snapshot.cluster.id);
                Arc::new(Unready(why))
            }
        };
        info!(
            "VoiceCluster {}: recordings are kept in {}",
            snapshot.cluster.id,
            told(&made_of.0, &self.folder)
        );
        self.store.set(store);
        self.made_of = Some(made_of);
        true
    }
}

fn told(keeping: &snapshot::Keeping, folder: &Path) -> String {
    let sealed = match keeping.sealing_keys.first() {
        Some(key) => format!(", sealed with the key `{}`", key.id),
        None => String::new(),
    };
    match &keeping.s3 {
        Some(bucket) => format!("the bucket {}{sealed}", bucket.bucket),
        None => format!("{}{sealed}", folder.display()),
    }
}

fn opened(keeping: &snapshot::Keeping, secrets: &Secrets, folder: &Path) -> Result<Arc<dyn Blobs>, String> {
    let value = |(object, key): &(Key, String)| {
        let value = secrets.get(object, key);
        value.ok_or_else(|| format!("Secret {object} has no key `{key}`, or it is not known yet"))
    };
    let mut keys = Vec::new();
    for (place, key) in keeping.sealing_keys.iter().enumerate() {
        let read = value(&key.secret).and_then(|value| {
            store::Key::new(value).map_err(|error| format!("sealing key `{}`: {error}", key.id))
        });
        match read {
            Ok(key) => keys.push(key),
            Err(why) if place == 0 => return Err(why),
            Err(why) => warn!("what is sealed with the key `{}` cannot be opened: {why}", key.id),
        }
    }
    let keys = Keys::new(keys);
    let Some(bucket) = &keeping.s3 else {
        let folder = Folder::open(folder, keys).map_err(|error| error.to_string())?;
        return Ok(Arc::new(folder));
    };
    let Bucket { endpoint, region, bucket, prefix, access_key_id, secret_access_key, ca, waiting_max } =
        bucket;
    let text = |name: &(Key, String)| {
        let value = std::str::from_utf8(value(name)?).map(|text| text.trim().to_owned());
        value.map_err(|_| format!("key `{}` of Secret {} must be text", name.1, name.0))
    };
    let config = S3Config {
        endpoint: endpoint.clone(),
        region: region.clone(),
        bucket: bucket.clone(),
        prefix: prefix.clone(),
        credentials: Credentials { id: text(access_key_id)?, secret: text(secret_access_key)? },
        ca: ca.as_ref().map(|ca| value(ca).map(<[u8]>::to_vec)).transpose()?,
        drafts: folder.join(".drafts"),
        waiting_max: *waiting_max,
    };
    Ok(Arc::new(S3::open(config, keys).map_err(|error| error.to_string())?))
}

/// What is kept of each cluster, and how long it is to be kept.
type Kept = BTreeMap<ClusterId, (Arc<Catalogue>, Arc<Snapshot>)>;

/// The lists of a process's clusters; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sounds(Arc<Mutex<Kept>>);

impl Sounds {
    /// Takes up what a cluster's media server keeps, and tells it for how long; `deletes`: it is for that server to delete what
    /// is due.
    pub fn set(&self, server: &Handle, snapshot: &Arc<Snapshot>, deletes: bool) {
        server.keep(Keeping::of(snapshot), deletes);
        if let Some(catalogue) = server.catalogue() {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(snapshot.cluster.id.clone(), (catalogue, Arc::clone(snapshot)));
        }
    }

    fn known(&self) -> Vec<(Arc<Catalogue>, Arc<Snapshot>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// For HTTP.
    pub fn listed(&self) -> Listed {
        let sounds = self.clone();
        Arc::new(move |ask| {
            let known = sounds.known();
            Box::pin(async move {
                let read = tokio::task::spawn_blocking(move || page(&known, &ask));
                read.await.map_err(|error| error.to_string())?
            })
        })
    }

    /// For HTTP: sounds themselves.
    pub fn stored(&self) -> Stored {
        let sounds = self.clone();
        Arc::new(move |name| {
            let known = sounds.known();
            Box::pin(async move {
                let read = tokio::task::spawn_blocking(move || sound(&known, &name));
                read.await.map_err(|error| error.to_string())?
            })
        })
    }
}

fn page(known: &[(Arc<Catalogue>, Arc<Snapshot>)], ask: &Ask) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for (catalogue, snapshot) in known {
        let of_agent = ask.agent.as_ref().map(|agent| boxes_of(agent, snapshot));
        let boxes = match (&ask.voicemail_box, of_agent) {
            (None, boxes) => boxes,
            (Some(id), boxes) => {
                let allowed = boxes.is_none_or(|boxes| boxes.contains(id));
                Some(allowed.then(|| id.clone()).into_iter().collect())
            }
        };
        let wanted = Wanted { messages: ask.messages, tenant: ask.tenant.clone(), boxes };
        let page = catalogue.page(&wanted, ask.after.as_deref(), ask.most);
        entries.extend(page.map_err(|error| error.to_string())?);
    }
    if known.len() > 1 {
        entries.sort_by(|a, b| b.about.started_at.cmp(&a.about.started_at).then(a.name.cmp(&b.name)));
        entries.truncate(ask.most);
    }
    Ok(entries)
}

/// The boxes that an agent sees.
fn boxes_of(agent: &str, snapshot: &Snapshot) -> BTreeSet<String> {
    let Ok(agent) = agent.parse().map(AgentId) else { return BTreeSet::new() };
    let boxes = snapshot.centre.voicemail_boxes.iter();
    boxes.filter(|(_, found)| found.agents.contains(&agent)).map(|(id, _)| id.to_string()).collect()
}

/// Out of the first store that has it.
fn sound(known: &[(Arc<Catalogue>, Arc<Snapshot>)], name: &str) -> Result<Bytes, String> {
    let mut because = "there is no store".to_owned();
    for (catalogue, _) in known {
        match catalogue.read(name, SOUND_MAX) {
            Ok(bytes) => {
                catalogue.heard(name);
                return Ok(bytes.into());
            }
            Err(error) => because = error,
        }
    }
    Err(because)
}
