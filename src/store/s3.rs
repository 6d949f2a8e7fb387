//! Blobs in S3 or what speaks like it. A draft is on this machine's disk until it is uploaded.

use std::{
    collections::BTreeMap,
    fmt, fs,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::{StreamExt, stream::BoxStream};
use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as ObjectPath,
};
use tokio::runtime::Runtime;

use crate::{
    Blobs, Draft, Error, Found, Keys, LIST_MAX, Name, disk,
    draft::{Drafts, Waiting, absent, remove},
    seal::opened,
};

/// Octets of one part of an upload; S3 wants at least 5 MiB.
const PART: usize = 8 << 20;
/// Parts of one upload under way.
const PARTS_AT_ONCE: usize = 2;
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// How long and how often one that fails is tried again at once; whoever waits with a recording tries for ever.
const RETRIES: (Duration, usize) = (Duration::from_secs(10), 2);

/// Where the bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// `https://` and a host, perhaps with a port. None: Amazon's, of the region. `http://` is taken only if written so.
    pub endpoint: Option<String>,
    /// Its region, such as `us-east-1`.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// What all names are put behind, such as `switchboard/c14`. Empty: nothing.
    pub prefix: String,
    /// Who we are.
    pub credentials: Credentials,
    /// Authorities to trust (PEM). None: the machine's public ones.
    pub ca: Option<Vec<u8>>,
    /// Folder for drafts and for what is not uploaded yet.
    pub drafts: PathBuf,
    /// Bytes that may wait there; with more, nothing begins.
    pub waiting_max: u64,
}

/// An access key. The secret is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).field("secret", &"[redacted]").finish()
    }
}

/// A bucket.
pub struct S3 {
    store: Arc<AmazonS3>,
    prefix: String,
    drafts: Drafts,
    waiting_max: u64,
    /// Bytes that wait to be uploaded.
    waiting: AtomicU64,
    runtime: Option<Arc<Runtime>>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3({})", self.store)
    }
}

impl S3 {
    /// Prepares it; nothing is asked of the store yet. With keys, all that is uploaded is sealed, and only what is sealed can
    /// be read.
    ///
    /// # Errors
    /// [`Error::Remote`] names what is wrong with the settings; [`Error::Disk`].
    pub fn open(config: S3Config, keys: impl Into<Keys>) -> Result<Self, Error> {
        let failed = |error: object_store::Error| remote(&config.bucket, &error);
        let plain = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut client = ClientOptions::new().with_timeout(REQUEST).with_allow_http(plain);
        if let Some(ca) = &config.ca {
            for certificate in Certificate::from_pem_bundle(ca).map_err(failed)? {
                client = client.with_root_certificate(certificate);
            }
        }
        let retry =
            RetryConfig { retry_timeout: RETRIES.0, max_retries: RETRIES.1, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.credentials.id)
            .with_secret_access_key(&config.credentials.secret)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-s3")
            .enable_all()
            .build()
            .map_err(disk("the threads of the store"))?;
        let drafts = Drafts::open(config.drafts, keys.into())?;
        Ok(Self {
            store: Arc::new(builder.build().map_err(failed)?),
            prefix: config.prefix.trim_matches('/').to_owned(),
            waiting_max: config.waiting_max,
            waiting: AtomicU64::new(drafts.waiting_bytes()?),
            drafts,
            runtime: Some(Arc::new(runtime)),
        })
    }

    fn path(&self, name: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{name}", self.prefix).trim_matches('/'))
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let ended = || Error::Remote { name: self.prefix.clone(), message: "the store has ended".to_owned() };
        self.runtime.as_ref().map(|runtime| runtime.block_on(work)).ok_or_else(ended)
    }

    fn upload(&self, name: &Name, whole: &Path) -> Result<(), Error> {
        let mut file = match File::open(whole) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(disk(whole))?,
        };
        let length = file.metadata().map_err(disk(whole))?.len();
        let mut part = next_part(&mut file).map_err(disk(whole))?;
        let path = self.path(name.as_str());
        let failed = |error: object_store::Error| remote(name.as_str(), &error);
        if part.len() < PART {
            self.wait(self.store.put(&path, PutPayload::from(part)))?.map_err(failed)?;
        } else {
            let upload = self.wait(self.store.put_multipart(&path))?.map_err(failed)?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
            while !part.is_empty() {
                let sent = self.wait(async {
                    upload.wait_for_capacity(PARTS_AT_ONCE).await?;
                    upload.put(part.into());
                    Ok(())
                })?;
                if let Err(error) = sent {
                    let _ = self.wait(upload.abort());
                    return Err(failed(error));
                }
                part = next_part(&mut file).map_err(disk(whole))?;
            }
            self.wait(upload.finish())?.map_err(failed)?;
        }
        let stays = self.drafts.uploaded(name, &file)?;
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |was| Some(was.saturating_sub(length)));
        if stays { Ok(()) } else { self.delete_far(name) }
    }

    fn delete_far(&self, name: &Name) -> Result<(), Error> {
        match self.wait(self.store.delete(&self.path(name.as_str())))? {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(remote(name.as_str(), &error)),
        }
    }

    fn await_upload(&self, path: &Path) {
        let length = fs::metadata(path).map_or(0, |data| data.len());
        self.waiting.fetch_add(length, Ordering::Relaxed);
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may be dropped by an asynchronous task, where waiting is forbidden.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

impl Blobs for S3 {
    fn begin(&self, name: &Name) -> Result<Draft, Error> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting >= self.waiting_max {
            return Err(Error::Full { waiting, most: self.waiting_max });
        }
        self.drafts.begin(name)
    }

    fn unfinished(&self) -> Result<Vec<Name>, Error> {
        self.drafts.unfinished()
    }

    fn resume(&self, name: &Name) -> Result<Draft, Error> {
        self.drafts.resume(name)
    }

    fn finish(&self, draft: Draft, head: Option<&[u8]>) -> Result<u64, Error> {
        let length = draft.length();
        let whole = draft.whole(head)?;
        self.await_upload(&whole);
        Ok(length)
    }

    fn waiting(&self) -> Result<Vec<Name>, Error> {
        self.drafts.waiting()
    }

    fn bring(&self, name: &Name) -> Result<(), Error> {
        match self.drafts.waits(name) {
            Some(Waiting::Whole(whole)) => self.upload(name, &whole),
            Some(Waiting::Gone(gone)) => {
                self.delete_far(name)?;
                remove(&gone)
            }
            None => Ok(()),
        }
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.drafts.put(name, bytes)?;
        if let Some(Waiting::Whole(whole)) = self.drafts.waits(name) {
            self.await_upload(&whole);
        }
        Ok(())
    }

    fn note(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.drafts.note(name, bytes)
    }

    fn notes(&self) -> Result<Vec<Name>, Error> {
        self.drafts.notes()
    }

    fn noted(&self, name: &Name) -> Result<Vec<u8>, Error> {
        self.drafts.noted(name)
    }

    fn drop_note(&self, name: &Name) -> Result<(), Error> {
        self.drafts.drop_note(name)
    }

    fn get(&self, name: &Name) -> Result<Box<dyn Read + Send>, Error> {
        match self.drafts.waits(name) {
            Some(Waiting::Whole(whole)) => {
                match File::open(&whole).map_err(|source| absent(name, &whole, source)) {
                    // It has been uploaded meanwhile.
                    Err(Error::NotFound(_)) => {}
                    file => return opened(Box::new(io::BufReader::new(file?)), name, self.drafts.keys()),
                }
            }
            Some(Waiting::Gone(_)) => return Err(Error::NotFound(name.clone())),
            None => {}
        }
        let found = self.wait(self.store.get(&self.path(name.as_str())))?;
        let found = found.map_err(|error| {
            let absent = matches!(error, object_store::Error::NotFound { .. });
            if absent { Error::NotFound(name.clone()) } else { remote(name.as_str(), &error) }
        })?;
        let runtime = self.runtime.clone();
        let body = Body { stream: found.into_stream(), runtime, block: Vec::new(), taken: 0 };
        opened(Box::new(body), name, self.drafts.keys())
    }

    fn list(&self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Found>, Error> {
        let below = self.path(prefix);
        let below = (!below.as_ref().is_empty()).then_some(below);
        let mut stream = match after {
            Some(after) => self.store.list_with_offset(below.as_ref(), &self.path(after.as_str())),
            None => self.store.list(below.as_ref()),
        };
        let (gone, here) = (self.drafts.gone()?, self.drafts.whole()?);
        let mut found: BTreeMap<Name, Found> = BTreeMap::new();
        let limit = limit.min(LIST_MAX);
        let mut far = 0;
        while far < limit
            && let Some(next) = self.wait(stream.next())?
        {
            let object = next.map_err(|error| remote(prefix, &error))?;
            let bare = object.location.as_ref().strip_prefix(self.prefix.as_str()).unwrap_or_default();
            let Ok(name) = Name::new(bare.trim_start_matches('/')) else { continue };
            if gone.binary_search(&name).is_ok() {
                continue;
            }
            far += 1;
            let modified = object.last_modified.into();
            found.insert(name.clone(), Found { name, stored_bytes: object.size, modified });
        }
        let fits = |name: &Name| name.is_below(prefix) && after.is_none_or(|after| name > after);
        for (name, path) in here.into_iter().filter(|(name, _)| fits(name)) {
            let Ok(data) = fs::metadata(&path) else { continue };
            let modified = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.insert(name.clone(), Found { name, stored_bytes: data.len(), modified });
        }
        Ok(found.into_values().take(limit).collect())
    }

    fn delete(&self, name: &Name) -> Result<(), Error> {
        if let Some(Waiting::Whole(whole)) = self.drafts.waits(name) {
            let length = fs::metadata(&whole).map_or(0, |data| data.len());
            let _ = self
                .waiting
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |was| Some(was.saturating_sub(length)));
        }
        self.drafts.delete(name)
    }
}

fn next_part(file: &mut File) -> io::Result<Vec<u8>> {
    let mut part = Vec::new();
    file.take(PART as u64).read_to_end(&mut part)?;
    Ok(part)
}

/// The message of an object store goes over lines and repeats itself; its beginning says what is wrong.
fn remote(name: &str, error: &object_store::Error) -> Error {
    const MESSAGE_MAX: usize = 500;
    let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Remote { name: name.to_owned(), message: message.chars().take(MESSAGE_MAX).collect() }
}

struct Body {
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    runtime: Option<Arc<Runtime>>,
    block: Vec<u8>,
    taken: usize,
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() {
            let Some(runtime) = &self.runtime else { return Ok(0) };
            match runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(block) => (self.block, self.taken) = (block.map_err(io::Error::other)?.to_vec(), 0),
            }
        }
        let count = out.len().min(self.block.len() - self.taken);
        out[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}
