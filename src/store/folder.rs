//! Blobs in a folder of this machine, or of a volume that is mounted there.

use std::{
    fs::{self, DirEntry},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    Blobs, Draft, Error, Found, Keys, LIST_MAX, Name, disk,
    draft::{Drafts, absent, remove, sync_folder},
    seal::opened,
};

/// Where drafts are, within the folder; no name leads there.
const DRAFTS: &str = ".drafts";
/// Folders within folders at most, which a name's length bounds too.
const DEPTH_MAX: usize = 100;

/// A folder.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    drafts: Drafts,
}

impl Folder {
    /// Opens it, and makes it if need be. With keys, all that is written is sealed, and only what is sealed can be read.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(folder: impl Into<PathBuf>, keys: impl Into<Keys>) -> Result<Self, Error> {
        let folder = folder.into();
        let drafts = Drafts::open(folder.join(DRAFTS), keys.into())?;
        Ok(Self { folder, drafts })
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.as_str())
    }

    /// Brings what is whole to its place.
    fn place(&self, name: &Name, whole: &Path) -> Result<(), Error> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(disk(parent))?;
        if path.exists() {
            return Err(Error::Exists(name.clone()));
        }
        fs::rename(whole, &path).map_err(disk(&path))?;
        sync_folder(parent)
    }
}

impl Blobs for Folder {
    fn begin(&self, name: &Name) -> Result<Draft, Error> {
        if self.path(name).exists() { Err(Error::Exists(name.clone())) } else { self.drafts.begin(name) }
    }

    fn unfinished(&self) -> Result<Vec<Name>, Error> {
        self.drafts.unfinished()
    }

    fn resume(&self, name: &Name) -> Result<Draft, Error> {
        self.drafts.resume(name)
    }

    fn finish(&self, draft: Draft, head: Option<&[u8]>) -> Result<u64, Error> {
        let (name, length) = (draft.name().clone(), draft.length());
        let whole = draft.whole(head)?;
        self.place(&name, &whole).map(|()| length)
    }

    fn waiting(&self) -> Result<Vec<Name>, Error> {
        Ok(self.drafts.whole()?.into_iter().map(|(name, _)| name).collect())
    }

    fn bring(&self, name: &Name) -> Result<(), Error> {
        match self.drafts.whole()?.into_iter().find(|(waits, _)| waits == name) {
            Some((name, whole)) => self.place(&name, &whole),
            None => Ok(()),
        }
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(disk(parent))?;
        self.drafts.write(name, bytes, &path, true)?;
        sync_folder(parent)
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
        let path = self.path(name);
        let file = fs::File::open(&path).map_err(|source| absent(name, &path, source))?;
        if file.metadata().is_ok_and(|data| data.is_dir()) {
            return Err(Error::NotFound(name.clone()));
        }
        opened(Box::new(io::BufReader::new(file)), name, self.drafts.keys())
    }

    fn list(&self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Found>, Error> {
        let mut list = List { prefix, after, limit: limit.min(LIST_MAX), found: Vec::new() };
        list.walk(&self.folder, "", 0)?;
        Ok(list.found)
    }

    fn delete(&self, name: &Name) -> Result<(), Error> {
        remove(&self.path(name))
    }
}

struct List<'a> {
    prefix: &'a str,
    after: Option<&'a Name>,
    limit: usize,
    found: Vec<Found>,
}

impl List<'_> {
    /// Walks in the order of whole names, where `/` counts as a character.
    fn walk(&mut self, folder: &Path, base: &str, depth: usize) -> Result<(), Error> {
        let read = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(disk(folder))?,
        };
        let mut entries = Vec::new();
        for entry in read {
            let entry = entry.map_err(disk(folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            entries.push((format!("{base}{name}{}", if is_folder { "/" } else { "" }), is_folder, entry));
        }
        entries.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        for (name, is_folder, entry) in entries {
            if self.found.len() >= self.limit {
                break;
            }
            if is_folder {
                if depth < DEPTH_MAX && self.leads_on(&name) {
                    self.walk(&entry.path(), &name, depth + 1)?;
                }
            } else {
                self.take(&name, &entry);
            }
        }
        Ok(())
    }

    /// Whether there may be something in a folder that is wanted.
    fn leads_on(&self, folder: &str) -> bool {
        let prefix = self.prefix.trim_end_matches('/');
        let bare = folder.trim_end_matches('/');
        let on_the_way = prefix.is_empty()
            || bare == prefix
            || bare.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
            || prefix.strip_prefix(bare).is_some_and(|rest| rest.starts_with('/'));
        // Everything in a folder is before `after` when the folder is, and does not hold it.
        let passed =
            self.after.is_some_and(|after| folder < after.as_str() && !after.as_str().starts_with(folder));
        on_the_way && !passed
    }

    fn take(&mut self, name: &str, entry: &DirEntry) {
        let (Ok(name), Ok(data)) = (Name::new(name), entry.metadata()) else { return };
        let wanted = name.is_below(self.prefix) && self.after.is_none_or(|after| *after < name);
        if let (true, Ok(modified)) = (wanted, data.modified()) {
            self.found.push(Found { name, stored_bytes: data.len(), modified });
        }
    }
}
