//! Records of a cluster's calls: the database that they go to, as its snapshot and its secrets say, which may change while it
//! runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use call::call::PROMISE_MAX;
use model::{
    Key,
    kept::record_days,
    secrets::Secrets,
    snapshot::{Database, Snapshot},
};
use store::records::{Postgres, PostgresConfig, Recorder, Rules, Settings, Shared, Sqlite, Unready};
use tracing::{info, warn};

/// Bytes that may wait on the disk where the cluster names no database.
const WAITING_MAX: u64 = 1_024_000_000;

/// Where a cluster's records go.
#[derive(Debug)]
pub struct Records {
    recorder: Recorder,
    folder: PathBuf,
    made_of: Made,
}

/// A database, and what stands in the Secrets that it names.
type Made = (Option<Database>, Vec<Option<Vec<u8>>>);

impl Records {
    /// With a folder of this machine, within an asynchronous runtime.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn start(folder: &Path, snapshot: &Snapshot, secrets: &Secrets) -> anyhow::Result<Self> {
        let made_of = made_of(snapshot, secrets);
        let waiting_max = made_of.0.as_ref().map_or(WAITING_MAX, |database| database.waiting_max);
        let settings = Settings { folder: folder.to_owned(), waiting_max };
        let store = opened(&made_of.0, secrets, folder, snapshot);
        let recorder = Recorder::start(&settings, store).context("records of calls cannot be kept")?;
        recorder.keep(rules(snapshot));
        Ok(Self { recorder, folder: folder.to_owned(), made_of })
    }

    /// What takes them.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Takes up what a snapshot and secrets say. Whether they go elsewhere.
    pub fn set(&mut self, snapshot: &Snapshot, secrets: &Secrets) -> bool {
        self.recorder.keep(rules(snapshot));
        let made_of = made_of(snapshot, secrets);
        if self.made_of == made_of {
            return false;
        }
        let most = |made: &Made| made.0.as_ref().map_or(WAITING_MAX, |database| database.waiting_max);
        if most(&made_of) != most(&self.made_of) {
            warn!(
                "VoiceCluster {}: `stores.records.waitingMegabytes` is taken up at the next start",
                snapshot.cluster.id
            );
        }
        self.recorder.set(opened(&made_of.0, secrets, &self.folder, snapshot));
        self.made_of = made_of;
        true
    }

    /// Waits until all of them are in the database, or that time has come.
    pub async fn settle(&self, until: Instant) {
        let most = until.saturating_duration_since(Instant::now());
        let figures = self.recorder.figures();
        if figures.away && !most.is_zero() {
            info!("{} records wait for their database, {} s at most", figures.waiting, most.as_secs());
        }
        if !self.recorder.settle(most).await {
            let waiting = self.recorder.figures().waiting;
            warn!("{waiting} records wait in {} for the next start", self.folder.display());
        }
    }
}

fn rules(snapshot: &Snapshot) -> Rules {
    // A promise to call back is a call from the beginning, and waits before it talks.
    let call_max = PROMISE_MAX + Duration::from_secs(snapshot.cluster.limits.call_seconds_max.into());
    Rules { days: record_days(snapshot), call_max }
}

fn made_of(snapshot: &Snapshot, secrets: &Secrets) -> Made {
    let database = snapshot.cluster.keeping.records.clone();
    let named = database.iter().flat_map(|database| [Some(&database.password), database.ca.as_ref()]);
    let values =
        named.map(|name| name.and_then(|(object, key)| secrets.get(object, key)).map(<[u8]>::to_vec));
    let values = values.collect();
    (database, values)
}

fn opened(database: &Option<Database>, secrets: &Secrets, folder: &Path, snapshot: &Snapshot) -> Shared {
    let cluster = &snapshot.cluster.id;
    let Some(database) = database else {
        let file = folder.join("records.db");
        info!("VoiceCluster {cluster}: records of calls are kept in {}", file.display());
        return Arc::new(Sqlite::new(&file));
    };
    match config(database, secrets) {
        Ok(config) => {
            let Database { host, port, database, .. } = database;
            info!(
                "VoiceCluster {cluster}: records of calls are kept in the database {database} of {host}:{port}"
            );
            Arc::new(Postgres::new(config))
        }
        Err(why) => {
            warn!("VoiceCluster {cluster}: records of calls wait on the disk: {why}");
            Arc::new(Unready(why))
        }
    }
}

fn config(database: &Database, secrets: &Secrets) -> Result<PostgresConfig, String> {
    let value = |(object, key): &(Key, String)| {
        let value = secrets.get(object, key);
        value.ok_or_else(|| format!("Secret {object} has no key `{key}`, or it is not known yet"))
    };
    let (object, key) = &database.password;
    let password = std::str::from_utf8(value(&database.password)?);
    let password = password.map_err(|_| format!("key `{key}` of Secret {object} must be text"))?;
    Ok(PostgresConfig {
        host: database.host.clone(),
        port: database.port,
        database: database.database.clone(),
        user: database.user.clone(),
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
        tls: database.tls,
        ca: database.ca.as_ref().map(value).transpose()?.map(<[u8]>::to_vec),
    })
}
