//! Prompts that are ready to be heard: files of ours, texts that are spoken, and what others give, which comes beside
//! everything else.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use call::world::Refused;
use media::{AudioSource, Library, LoadError, Speaker};
use model::{
    AudioId, Key,
    snapshot::{self, Snapshot},
};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::roles::{Blobs, refused};

/// Others that are asked at the same time.
const ASKING: usize = 4;

/// How long a configuration waits for what others give; what comes later is heard from then on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Octets of a fetched file at most, as of any other prompt.
const FETCHED_OCTETS_MAX: usize = 32 * 1024 * 1024;

/// What a library is made of.
type Wanted = BTreeMap<AudioId, AudioSource>;

/// Fetches files that tenants name.
pub trait Files: Speaker + Send + Sync + 'static {
    /// A file of at most so many octets. Not on a thread of a runtime.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn fetch(&self, owner: &Key, url: &str, octets_max: usize) -> Result<Vec<u8>, String>;
}

/// Prompts that are ready to be heard.
#[derive(Debug, Default)]
pub struct Prompts {
    library: Arc<Library>,
    wanted: Wanted,
    voiced: Voiced,
    others: Arc<Others>,
}

/// Sound that others give: texts that are for a tenant's own voice, by what they sound like, and files that are fetched.
#[derive(Debug, Clone, Default)]
struct Voiced {
    /// Files of sound that are there.
    made: BTreeMap<AudioId, Arc<[u8]>>,
    /// Texts that espeak-ng speaks because a voice has failed, files that could not be fetched, and what is awaited.
    missed: BTreeSet<AudioId>,
}

/// Prompts of a snapshot beside those of the one before: the new snapshot's calls must find theirs, and a call that began a
/// moment ago must still find its own.
#[derive(Debug)]
pub struct NextPrompts {
    pub both: Arc<Library>,
    wanted: Wanted,
    voiced: Voiced,
}

/// What is done about what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It is asked for, and awaited for as long as [`PATIENCE`].
    Awaited,
    /// It is asked for.
    Asked,
    /// Nothing; what has come is taken.
    Left,
}

impl Prompts {
    /// None yet; files that are fetched are kept in this folder, if there is one.
    pub fn kept_in(folder: Option<PathBuf>) -> Self {
        Self { others: Arc::new(Others { folder, ..Others::default() }), ..Self::default() }
    }

    /// Those that are heard.
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library)
    }

    /// Decodes and speaks what is new, and asks others for what they give. A file that turns out to be broken is told and left
    /// out, so that it takes no other tenant's prompts with it.
    ///
    /// # Errors
    /// Prompts are missing that must be there.
    pub fn prepare(
        &self,
        snapshot: &Snapshot,
        blobs: &Blobs,
        files: &Arc<impl Files>,
    ) -> Result<NextPrompts, Refused> {
        self.prepared(snapshot, blobs, files, Missing::Awaited)
    }

    /// The same prompts with what has come since, if anything has; asks again for what has failed if that is due.
    pub fn renewed(
        &self,
        snapshot: &Snapshot,
        blobs: &Blobs,
        files: &Arc<impl Files>,
        is_due: bool,
    ) -> Option<Result<NextPrompts, Refused>> {
        let is_due = is_due && !self.voiced.missed.is_empty();
        let missing = if is_due { Missing::Asked } else { Missing::Left };
        (is_due || self.others.lock().come.values().any(Result::is_ok))
            .then(|| self.prepared(snapshot, blobs, files, missing))
    }

    fn prepared(
        &self,
        snapshot: &Snapshot,
        blobs: &Blobs,
        files: &Arc<impl Files>,
        missing: Missing,
    ) -> Result<NextPrompts, Refused> {
        let mut wanted = wanted(snapshot, blobs)?;
        let voiced = self.voiced(snapshot, blobs, files, missing);
        for (id, file) in &voiced.made {
            wanted.insert(*id, AudioSource::Wav(Arc::clone(file)));
        }
        let mut both = self.wanted.clone();
        both.extend(wanted.clone());
        let anew = self.voiced.missed.intersection(&voiced.made.keys().copied().collect()).copied().collect();
        let last = self.library.without(&anew);
        let (both, errors) = Library::load_most(&both, Some(&last));
        let tell = |error: &LoadError| match snapshot
            .audio
            .get(&error.audio)
            .map(|audio| (&audio.prompt, &audio.source))
        {
            Some((prompt, snapshot::AudioSource::Wav { origin })) => {
                format!("Prompt {prompt}, {origin}: {error}")
            }
            Some((prompt, snapshot::AudioSource::Remote { url })) => {
                format!("Prompt {prompt}, {url}: {error}")
            }
            Some((prompt, snapshot::AudioSource::Speech { .. })) => format!("Prompt {prompt}: {error}"),
            None => error.to_string(),
        };
        let (files, voices): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| error.kind.is_of_the_file());
        files.iter().for_each(|error| warn!("{}; steps that play it fail", tell(error)));
        if let Some(first) = voices.first() {
            let told: Vec<String> = voices.iter().map(tell).collect();
            return Err(refused(path_of(first.audio), told.join("\n")));
        }
        Ok(NextPrompts { both: Arc::new(both), wanted, voiced })
    }

    /// What others have given so far.
    fn voiced(
        &self,
        snapshot: &Snapshot,
        blobs: &Blobs,
        files: &Arc<impl Files>,
        missing: Missing,
    ) -> Voiced {
        let wanted = snapshot.audio.iter().filter(|(id, audio)| match &audio.source {
            snapshot::AudioSource::Speech { .. } => files.voice(audio.prompt.0.namespace()).is_some(),
            snapshot::AudioSource::Remote { .. } => !blobs.contains_key(*id),
            snapshot::AudioSource::Wav { .. } => false,
        });
        let (known, new): (Vec<_>, Vec<_>) = wanted.partition(|(id, _)| self.voiced.made.contains_key(id));
        let known = known.iter().filter_map(|(id, _)| Some((**id, Arc::clone(self.voiced.made.get(id)?))));
        let mut made: BTreeMap<_, _> = known.collect();
        let new: BTreeMap<AudioId, &snapshot::Audio> =
            new.into_iter().map(|(id, audio)| (*id, audio)).collect();
        if missing != Missing::Left {
            self.others.ask(&new, files);
        }
        let patience = if missing == Missing::Awaited { PATIENCE } else { Duration::ZERO };
        let come = self.others.come(&new, patience);
        for (id, audio) in &new {
            if missing == Missing::Awaited && !come.contains_key(id) {
                warn!(
                    "Prompt {}: it has not come in {} s, and is heard once it has",
                    audio.prompt,
                    PATIENCE.as_secs()
                );
            }
        }
        let missed = new.keys().filter(|id| !matches!(come.get(id), Some(Ok(_)))).copied().collect();
        made.extend(come.into_iter().filter_map(|(id, file)| Some((id, file.ok()?))));
        Voiced { made, missed }
    }

    /// From now on.
    pub fn commit(&mut self, next: NextPrompts) {
        let others = Arc::clone(&self.others);
        *self = Self { library: next.both, wanted: next.wanted, voiced: next.voiced, others };
    }
}

/// Asks others, on threads of its own that end when there is nothing left to ask for.
#[derive(Debug, Default)]
struct Others {
    asked: Mutex<Asked>,
    changed: Condvar,
    /// Where files that were fetched are kept, by their SHA-256.
    folder: Option<PathBuf>,
}

/// A file of sound; why there is none has been told.
type Come = Result<Arc<[u8]>, Failed>;

#[derive(Debug, Clone, Copy)]
struct Failed;

#[derive(Debug, Default)]
struct Asked {
    waiting: VecDeque<(AudioId, snapshot::Audio)>,
    in_hand: BTreeSet<AudioId>,
    /// What nobody has taken yet.
    come: BTreeMap<AudioId, Come>,
    threads: usize,
}

impl Asked {
    /// Whether something that is wanted is still to come.
    fn awaits(&self, wanted: &BTreeMap<AudioId, &snapshot::Audio>) -> bool {
        self.waiting.iter().map(|(id, _)| id).chain(&self.in_hand).any(|id| wanted.contains_key(id))
    }
}

impl Others {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for these, and no longer for what waits besides.
    fn ask(self: &Arc<Self>, wanted: &BTreeMap<AudioId, &snapshot::Audio>, files: &Arc<impl Files>) {
        let mut asked = self.lock();
        asked.waiting.clear();
        for (id, audio) in wanted {
            if !asked.in_hand.contains(id) && !matches!(asked.come.get(id), Some(Ok(_))) {
                asked.come.remove(id);
                asked.waiting.push_back((*id, (*audio).clone()));
            }
        }
        while asked.threads < ASKING.min(asked.waiting.len() + asked.in_hand.len()) {
            let (this, files) = (Arc::clone(self), Arc::clone(files));
            let thread = thread::Builder::new().name("prompts".into());
            if let Err(error) = thread.spawn(move || this.work(&*files)) {
                warn!("prompts are not asked for: {error}");
                return;
            }
            asked.threads += 1;
        }
    }

    fn work(&self, files: &impl Files) {
        let mut asked = self.lock();
        while let Some((id, audio)) = asked.waiting.pop_front() {
            asked.in_hand.insert(id);
            drop(asked);
            let given = given(self.folder.as_deref(), id, &audio, files);
            let come = given.map(Into::into).map_err(|because| {
                warn!("Prompt {}: {because}", audio.prompt);
                Failed
            });
            asked = self.lock();
            asked.in_hand.remove(&id);
            asked.come.insert(id, come);
            self.changed.notify_all();
        }
        asked.threads -= 1;
    }

    /// What has come of these, or comes soon enough. What has come of others is forgotten.
    fn come(
        &self,
        wanted: &BTreeMap<AudioId, &snapshot::Audio>,
        patience: Duration,
    ) -> BTreeMap<AudioId, Come> {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |asked| asked.awaits(wanted));
        let (mut asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut come = std::mem::take(&mut asked.come);
        come.retain(|id, _| wanted.contains_key(id));
        come
    }
}

fn given(
    folder: Option<&Path>,
    id: AudioId,
    audio: &snapshot::Audio,
    files: &impl Files,
) -> Result<Vec<u8>, String> {
    match &audio.source {
        snapshot::AudioSource::Speech { text, language } => {
            let spoken = files.speak(audio.prompt.0.namespace(), text, language);
            // What cannot be decoded is no answer either.
            let spoken = spoken
                .map(media::with_true_lengths)
                .and_then(|file| media::decode(&file).map(|_| file).map_err(|error| error.to_string()));
            spoken.map_err(|because| format!("espeak-ng speaks in place of the tenant's voice: {because}"))
        }
        snapshot::AudioSource::Remote { url } => {
            if let Some(file) = folder.and_then(|folder| kept(folder, id)) {
                return Ok(file);
            }
            let fetched =
                files.fetch(&audio.prompt.0, url, FETCHED_OCTETS_MAX).and_then(|file| match digest(&file) {
                    found if found == id => Ok(file),
                    found => Err(format!("its SHA-256 is {found}, not {id}")),
                });
            let file = fetched.map_err(|because| {
                format!("{url} cannot be fetched, and steps that play it fail until it can: {because}")
            })?;
            if let Some(folder) = folder {
                keep(folder, id, &file);
            }
            Ok(file)
        }
        snapshot::AudioSource::Wav { .. } => Err("it is a file of ours".into()),
    }
}

/// A file that was fetched before, unless the disk has spoilt it.
fn kept(folder: &Path, id: AudioId) -> Option<Vec<u8>> {
    let file = fs::read(folder.join(id.to_string())).ok()?;
    (digest(&file) == id).then_some(file)
}

/// Written beside and moved there, so that a crash leaves no half of it. A full disk costs no prompt.
fn keep(folder: &Path, id: AudioId, file: &[u8]) {
    let (path, beside) = (folder.join(id.to_string()), folder.join(format!("{id}.new")));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&beside, file))
        .and_then(|()| fs::rename(&beside, &path));
    if let Err(error) = written {
        warn!("{}: a fetched prompt is not kept: {error}", path.display());
    }
}

fn wanted(snapshot: &Snapshot, blobs: &Blobs) -> Result<Wanted, Refused> {
    let source = |(id, audio): (&AudioId, &snapshot::Audio)| match &audio.source {
        snapshot::AudioSource::Speech { text, language } => {
            Ok(Some((*id, AudioSource::Speech { text: text.clone(), language: language.clone() })))
        }
        // The same may be a file of ours. If it is not, it comes once it is fetched.
        snapshot::AudioSource::Remote { .. } => {
            Ok(blobs.get(id).map(|bytes| (*id, AudioSource::Wav(Arc::clone(bytes)))))
        }
        snapshot::AudioSource::Wav { origin } => match blobs.get(id) {
            Some(bytes) => Ok(Some((*id, AudioSource::Wav(Arc::clone(bytes))))),
            None => {
                let message = format!("Prompt {}: {origin} is not at hand.", audio.prompt);
                Err(refused(path_of(*id), message))
            }
        },
    };
    snapshot.audio.iter().filter_map(|audio| source(audio).transpose()).collect()
}

fn digest(file: &[u8]) -> AudioId {
    AudioId(Sha256::digest(file).into())
}

fn path_of(audio: AudioId) -> String {
    format!("audio.{audio}")
}
