//! What is known of recordings and messages: written beside each in the store, read in pages, and gone with it.
//!
//! Nothing of it is held in memory but how many messages each box has. So a list is the same after a restart, however long it
//! is, and whoever shares the store sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use jiff::Timestamp;
use model::{
    kept::{About, Entry, Group, HEARD, INDEX, Keeping, heard_name, index_name, sound_name},
    media::{Recorded, RecordingEnd},
};
use store::{Blobs, Error, LIST_MAX, Name};

use super::{bringer::Wake, wav};

/// Bytes of what is known of one sound at most.
const ENTRY_MAX: u64 = 64 << 10;
/// Groups of one list at most.
const GROUPS_MAX: usize = 10_000;
/// Goes after every name of a group: no time begins with a letter.
const BEYOND: &str = "zzzz";

/// Which sounds a list is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Messages, or recordings of calls.
    pub messages: bool,
    /// Of this tenant. None: of all.
    pub tenant: Option<String>,
    /// Of these boxes, `namespace/name`. None: of all.
    pub boxes: Option<BTreeSet<String>>,
}

/// What is known of the sounds of a store.
#[derive(Debug)]
pub struct Catalogue {
    store: Arc<dyn Blobs>,
    wake: Wake,
    counts: Mutex<BTreeMap<Group, Count>>,
    keeping: RwLock<(Keeping, bool)>,
    recovered: Mutex<bool>,
}

/// Messages of a box.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: usize,
    heard: usize,
}

/// What was deleted since the start, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Name, and by what setting.
    pub deleted: Vec<(String, String)>,
}

impl Catalogue {
    /// Of a store. `wake` is told when something waits to be brought away.
    pub fn new(store: Arc<dyn Blobs>, wake: Wake) -> Self {
        Self {
            store,
            wake,
            counts: Mutex::default(),
            keeping: RwLock::default(),
            recovered: Mutex::new(false),
        }
    }

    /// For how long sounds are kept from now on, and whether it is for this process to delete what is due.
    pub fn keep(&self, keeping: Keeping, deletes: bool) {
        *self.keeping.write().unwrap_or_else(PoisonError::into_inner) = (keeping, deletes);
    }

    /// Remembers what a recording is of, in case that a crash interrupts it.
    pub(super) fn begun(&self, name: &Name, about: &About) -> Result<(), String> {
        let note = serde_json::to_vec(about).map_err(|error| error.to_string())?;
        self.store.note(name, &note).map_err(|error| error.to_string())
    }

    /// Writes down what has become of it.
    pub(super) fn ended(&self, recorded: &Recorded, about: Option<&About>) {
        let Ok(name) = Name::new(&recorded.name) else { return };
        if let Some(about) = about {
            let entry = Entry {
                name: recorded.name.clone(),
                about: about.clone(),
                ms: Some(recorded.ms),
                sound_ms: Some(recorded.sound_ms),
                bytes: recorded.bytes,
                end: Some(recorded.end),
                failed: recorded.failed.clone(),
                transcript: None,
                heard: false,
            };
            self.enter(&entry);
            self.make_room(about);
        }
        if let Err(error) = self.store.drop_note(&name) {
            tracing::warn!(%name, %error, "a note of a recording stays");
        }
        self.wake.wake();
    }

    fn enter(&self, entry: &Entry) {
        let Some(index) = index_name(&entry.name) else { return };
        let written = Name::new(&index).map_err(|error| error.to_string()).and_then(|index| {
            let text = serde_json::to_vec(entry).map_err(|error| error.to_string())?;
            self.store.put(&index, &text).map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => {
                if let Some(group) = Group::of(&entry.name).filter(|group| group.voicemail_box.is_some()) {
                    self.counts().entry(group).or_default().all += 1;
                }
            }
            Err(why) => tracing::error!(name = entry.name, why, "a recording is in no list"),
        }
    }

    /// Adds what was said to what is known of a message.
    pub(super) fn transcribed(&self, name: &str, transcript: String) {
        let Some(index) = index_name(name).and_then(|index| Name::new(&index).ok()) else { return };
        let added = self.entry(&index).and_then(|mut entry| {
            entry.transcript = Some(transcript);
            let text = serde_json::to_vec(&entry).map_err(|error| error.to_string())?;
            self.store.put(&index, &text).map_err(|error| error.to_string())
        });
        match added {
            Ok(()) => self.wake.wake(),
            // It was deleted meanwhile.
            Err(why) => tracing::debug!(name, why, "what was said is not written down"),
        }
    }

    /// Whether a box takes one more message, as far as is known: another process may have added some. It does too where one
    /// that was heard can go.
    pub(super) fn has_room(&self, about: &About) -> bool {
        let Some(id) = about.voicemail_box.as_ref().filter(|_| about.messages_max > 0) else { return true };
        let count = self.counts().get(&Group::of_box(id)).copied().unwrap_or_default();
        count.all < about.messages_max as usize || count.heard > 0
    }

    /// Deletes the oldest messages that were heard, as long as a box has more than it may.
    fn make_room(&self, about: &About) {
        let Some(id) = about.voicemail_box.as_ref().filter(|_| about.messages_max > 0) else { return };
        let group = Group::of_box(id);
        let count = self.counts().get(&group).copied().unwrap_or_default();
        let over = count.all.saturating_sub(about.messages_max as usize);
        if over == 0 {
            return;
        }
        match self.names(&format!("{HEARD}/{}", group.prefix()), None) {
            Ok(heard) => {
                for name in heard.iter().rev().take(over).filter_map(|name| sound_name(name.as_str())) {
                    tracing::info!(name, "the box is full: the oldest message that was heard is deleted");
                    self.forget(&name);
                }
            }
            Err(error) => tracing::warn!(%error, "nobody can tell which messages were heard"),
        }
    }

    /// Deletes a sound and all that is known of it.
    pub fn forget(&self, name: &str) {
        let known = [index_name(name), heard_name(name)].into_iter().flatten();
        let group = Group::of(name).filter(|group| group.voicemail_box.is_some());
        let was_heard = group.is_some() && self.was_heard(name);
        for name in known.chain([name.to_owned()]) {
            let deleted = Name::new(&name).map_err(|error| error.to_string());
            if let Err(why) =
                deleted.and_then(|name| self.store.delete(&name).map_err(|error| error.to_string()))
            {
                tracing::warn!(name, why, "a recording that is not wanted cannot be deleted");
            }
        }
        let mut counts = self.counts();
        if let Some(count) = group.as_ref().and_then(|group| counts.get_mut(group)) {
            count.all = count.all.saturating_sub(1);
            count.heard = count.heard.saturating_sub(usize::from(was_heard));
        }
        drop(counts);
        self.wake.wake();
    }

    /// Those of a list that come after one, newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn page(&self, wanted: &Wanted, after: Option<&str>, most: usize) -> Result<Vec<Entry>, Error> {
        let groups: Vec<Group> = self.groups()?.into_iter().filter(|group| wanted.fits(group)).collect();
        // In the order of times: the last parts of names, which no two have alike.
        let passed = after.and_then(index_name);
        let passed = passed.as_deref().and_then(|passed| passed.rsplit_once('/')).map(|(_, last)| last);
        let mut names: BTreeSet<(String, Name)> = BTreeSet::new();
        for group in &groups {
            let folder = format!("{INDEX}/{}", group.prefix());
            let from = passed.and_then(|last| Name::new(&format!("{folder}/{last}")).ok());
            let found = self.store.list(&folder, from.as_ref(), most.min(LIST_MAX))?;
            names.extend(found.into_iter().filter_map(|found| {
                let last = found.name.as_str().rsplit_once('/')?.1.to_owned();
                Some((last, found.name))
            }));
        }
        let mut entries = Vec::new();
        for (_, name) in names.iter().take(most) {
            match self.entry(name) {
                Ok(entry) if wanted.has(&entry) => entries.push(entry),
                Ok(_) => {}
                Err(why) => tracing::warn!(%name, why, "what is known of a recording cannot be read"),
            }
        }
        if wanted.messages {
            self.tell_heard(&mut entries)?;
        }
        Ok(entries)
    }

    fn tell_heard(&self, entries: &mut [Entry]) -> Result<(), Error> {
        let groups: BTreeSet<Group> = entries.iter().filter_map(|entry| Group::of(&entry.name)).collect();
        let mut heard = BTreeSet::new();
        for group in groups {
            let names = self.names(&format!("{HEARD}/{}", group.prefix()), None)?;
            heard.extend(names.iter().filter_map(|name| sound_name(name.as_str())));
        }
        entries.iter_mut().for_each(|entry| entry.heard = heard.contains(&entry.name));
        Ok(())
    }

    fn entry(&self, index: &Name) -> Result<Entry, String> {
        let mut text = Vec::new();
        let reader = self.store.get(index).map_err(|error| error.to_string())?;
        reader.take(ENTRY_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?;
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// A sound itself, if it is kept: at most `most` bytes.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        Group::of(name).ok_or("no such sound")?;
        let blob = Name::new(name).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let reader = self.store.get(&blob).map_err(|error| error.to_string())?;
        reader.take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn was_heard(&self, name: &str) -> bool {
        let heard = heard_name(name).and_then(|heard| Name::new(&heard).ok());
        heard.is_some_and(|heard| self.store.get(&heard).is_ok())
    }

    /// A message was fetched.
    pub fn heard(&self, name: &str) {
        let Some(group) = Group::of(name).filter(|group| group.voicemail_box.is_some()) else { return };
        let Some(heard) = heard_name(name).and_then(|heard| Name::new(&heard).ok()) else { return };
        if self.was_heard(name) {
            return;
        }
        match self.store.put(&heard, b"") {
            Ok(()) => {
                self.counts().entry(group).or_default().heard += 1;
                self.wake.wake();
            }
            Err(error) => tracing::warn!(name, %error, "it is not kept that a message was heard"),
        }
    }

    /// All groups that there are.
    fn groups(&self) -> Result<BTreeSet<Group>, Error> {
        let mut groups = BTreeSet::new();
        let mut after = None;
        while groups.len() < GROUPS_MAX {
            let found = self.store.list(INDEX, after.as_ref(), 1)?;
            let Some(found) = found.first() else { break };
            let group = sound_name(found.name.as_str()).and_then(|sound| Group::of(&sound));
            after = match group {
                Some(group) => {
                    let beyond = Name::new(&format!("{INDEX}/{}/{BEYOND}", group.prefix())).ok();
                    groups.insert(group);
                    beyond
                }
                // None of ours.
                None => None,
            }
            .or_else(|| Some(found.name.clone()));
        }
        Ok(groups)
    }

    /// Names under a prefix after one, all of them.
    fn names(&self, prefix: &str, after: Option<Name>) -> Result<Vec<Name>, Error> {
        let (mut names, mut after) = (Vec::new(), after);
        loop {
            let found = self.store.list(prefix, after.as_ref(), LIST_MAX)?;
            let Some(last) = found.last() else { return Ok(names) };
            after = Some(last.name.clone());
            names.extend(found.into_iter().map(|found| found.name));
        }
    }

    fn count(&self, group: &Group) {
        let of = |folder: &str| self.names(&format!("{folder}/{}", group.prefix()), None);
        if let (Ok(all), Ok(heard)) = (of(INDEX), of(HEARD)) {
            let count = Count { all: all.len(), heard: heard.len() };
            self.counts().insert(group.clone(), count);
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Group, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what boxes have, and deletes what is due at a time, if that is for this process to do.
    ///
    /// # Errors
    /// The store's.
    pub fn sweep(&self, now: Timestamp) -> Result<Swept, Error> {
        let (keeping, deletes) = self.keeping.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut swept = Swept::default();
        for group in self.groups()? {
            if let Some(due) = keeping.due(&group, now).filter(|_| deletes) {
                let folder = format!("{INDEX}/{}", group.prefix());
                for name in self.names(&folder, Name::new(&due.after).ok())? {
                    let Some(sound) = sound_name(name.as_str()) else { continue };
                    tracing::info!(
                        name = sound,
                        because = due.because,
                        "deleted: it was kept as long as it is to be"
                    );
                    self.forget(&sound);
                    swept.deleted.push((sound, due.because.clone()));
                }
            }
            if group.voicemail_box.is_some() {
                self.count(&group);
            }
        }
        Ok(swept)
    }

    /// Finishes what a crash has left, once. Returns how many recordings were finished.
    pub fn recover(&self) -> usize {
        let mut recovered = self.recovered.lock().unwrap_or_else(PoisonError::into_inner);
        if *recovered {
            return 0;
        }
        let unfinished = match self.store.unfinished() {
            Ok(unfinished) => unfinished,
            Err(Error::Unready(why)) => {
                tracing::warn!(why, "recordings wait for their store");
                return 0;
            }
            Err(error) => {
                tracing::error!(%error, "nobody can tell what recordings were interrupted");
                Vec::new()
            }
        };
        *recovered = true;
        let finished = unfinished.iter().filter(|name| self.finish(name)).count();
        // What was whole when the crash came, and in no list.
        for name in self.store.notes().unwrap_or_default() {
            if self.store.get(&name).is_ok() {
                self.list_again(&name, None, 0);
            }
            let _ = self.store.drop_note(&name);
        }
        self.wake.wake();
        finished
    }

    fn finish(&self, name: &Name) -> bool {
        let mut ms = None;
        let mended = self.store.resume(name).and_then(|mut draft| {
            let head = draft.head(wav::HEAD)?;
            let octets = draft.length().saturating_sub(wav::HEAD as u64);
            ms = wav::milliseconds(&head, octets);
            let head = wav::mended(&head, octets);
            self.store.finish(draft, head.as_ref().map(<[u8; wav::HEAD]>::as_slice))
        });
        match mended {
            Ok(bytes) => {
                tracing::info!(%name, bytes, "a recording that was interrupted is stored");
                self.list_again(name, ms, bytes);
                let _ = self.store.drop_note(name);
                true
            }
            Err(error) => {
                tracing::error!(%name, %error, "a recording that was interrupted is not stored");
                false
            }
        }
    }

    fn list_again(&self, name: &Name, ms: Option<u64>, bytes: u64) {
        let Ok(note) = self.store.noted(name) else { return };
        let Ok(about) = serde_json::from_slice::<About>(&note) else { return };
        let (end, failed) = (None::<RecordingEnd>, None);
        let name = name.to_string();
        self.enter(&Entry {
            name,
            about,
            ms,
            sound_ms: None,
            bytes,
            end,
            failed,
            transcript: None,
            heard: false,
        });
    }
}

impl Wanted {
    fn fits(&self, group: &Group) -> bool {
        let tenant = self.tenant.as_ref().is_none_or(|tenant| *tenant == group.tenant);
        let of_box = |boxes: &BTreeSet<String>| {
            boxes
                .iter()
                .any(|id| id.parse().is_ok_and(|key| Group::of_box(&model::VoicemailBoxId(key)) == *group))
        };
        tenant && group.voicemail_box.is_some() == self.messages && self.boxes.as_ref().is_none_or(of_box)
    }

    /// A group's name is the beginning of a box's.
    fn has(&self, entry: &Entry) -> bool {
        let id = || entry.about.voicemail_box.as_ref().map(ToString::to_string);
        self.boxes.as_ref().is_none_or(|boxes| id().is_some_and(|id| boxes.contains(&id)))
    }
}
