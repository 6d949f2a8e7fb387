//! Drafts: what is being written, in a file of its own until it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Error, Name, disk,
    seal::{FRAME_MAX, HEADER, Keys, Seal, closed, filled, opened, sealed_length},
};

/// End of the file name of what is being written.
const PART: &str = ".part";
/// End of the file name of what is whole and waits to be brought away.
const WHOLE: &str = ".whole";
/// End of the file name of what is to be known of a blob that is not whole yet.
const NOTE: &str = ".note";
/// End of the file name that says that a blob is to be deleted far away.
const GONE: &str = ".gone";
/// End of the file name of what is not written out yet.
const NEW: &str = ".new";
/// Largest note in bytes.
const NOTE_MAX: u64 = 64 << 10;

/// The folder of drafts.
#[derive(Debug)]
pub(crate) struct Drafts {
    folder: PathBuf,
    keys: Keys,
    /// Held while what waits is replaced or taken away.
    moving: Mutex<()>,
}

/// What waits to be done far away.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// To be uploaded.
    Whole(PathBuf),
    /// To be deleted.
    Gone(PathBuf),
}

/// A blob that is being written.
#[derive(Debug)]
pub struct Draft {
    name: Name,
    path: PathBuf,
    file: File,
    seal: Option<Seal>,
    /// Octets of the first append. None: resumed and not sealed, so that nobody knows.
    head: Option<usize>,
    frames: u64,
    length: u64,
    /// Octets in the file.
    stored: u64,
}

impl Drafts {
    pub fn open(folder: PathBuf, keys: Keys) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(disk(&folder))?;
        Ok(Self { folder, keys, moving: Mutex::new(()) })
    }

    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn begin(&self, name: &Name) -> Result<Draft, Error> {
        let path = self.path(name, PART);
        if self.path(name, WHOLE).exists() {
            return Err(Error::Exists(name.clone()));
        }
        let seal = self.keys.newest().map(|key| Seal::new(key, name)).transpose()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let mut file = file.map_err(|source| {
            let exists = source.kind() == io::ErrorKind::AlreadyExists;
            if exists { Error::Exists(name.clone()) } else { Error::Disk { path: path.clone(), source } }
        })?;
        let mut stored = 0;
        if let Some(seal) = &seal {
            file.write_all(&seal.header).map_err(disk(&path))?;
            stored = HEADER as u64;
        }
        Ok(Draft { name: name.clone(), path, file, seal, head: Some(0), frames: 0, length: 0, stored })
    }

    pub fn unfinished(&self) -> Result<Vec<Name>, Error> {
        self.ending(PART)
    }

    pub fn whole(&self) -> Result<Vec<(Name, PathBuf)>, Error> {
        let names = self.ending(WHOLE)?.into_iter();
        Ok(names.map(|name| (self.path(&name, WHOLE), name)).map(|(path, name)| (name, path)).collect())
    }

    pub fn resume(&self, name: &Name) -> Result<Draft, Error> {
        let path = self.path(name, PART);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|source| {
            let absent = source.kind() == io::ErrorKind::NotFound;
            if absent { Error::NotFound(name.clone()) } else { Error::Disk { path: path.clone(), source } }
        })?;
        let mut draft = Draft {
            name: name.clone(),
            path,
            file,
            seal: None,
            head: Some(0),
            frames: 0,
            length: 0,
            stored: 0,
        };
        match self.keys.is_empty() {
            false => draft.scan(&self.keys)?,
            true => draft.take_up()?,
        }
        Ok(draft)
    }

    /// Writes all of a small blob to a file: whole, or not at all.
    pub fn write(&self, name: &Name, bytes: &[u8], to: &Path, synced: bool) -> Result<(), Error> {
        let stored = closed(&self.keys, name, bytes)?;
        let beside = self.path(name, NEW);
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&stored)?;
            if synced { file.sync_all() } else { Ok(()) }
        };
        write().map_err(disk(&beside))?;
        let _moving = self.moving();
        fs::rename(&beside, to).map_err(disk(to))
    }

    /// Has a small blob wait to be brought away, in place of one of that name.
    pub fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.write(name, bytes, &self.path(name, WHOLE), true)?;
        remove(&self.path(name, GONE))
    }

    /// Keeps a note with a blob that is not whole yet.
    pub fn note(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.write(name, bytes, &self.path(name, NOTE), false)
    }

    pub fn notes(&self) -> Result<Vec<Name>, Error> {
        self.ending(NOTE)
    }

    pub fn noted(&self, name: &Name) -> Result<Vec<u8>, Error> {
        let path = self.path(name, NOTE);
        let file = File::open(&path).map_err(|source| absent(name, &path, source))?;
        let mut bytes = Vec::new();
        let mut reader = opened(Box::new(file), name, &self.keys)?.take(NOTE_MAX);
        reader.read_to_end(&mut bytes).map_err(disk(&path))?;
        Ok(bytes)
    }

    pub fn drop_note(&self, name: &Name) -> Result<(), Error> {
        remove(&self.path(name, NOTE))
    }

    /// Has a blob deleted far away, and what waits of it at once.
    pub fn delete(&self, name: &Name) -> Result<(), Error> {
        let _moving = self.moving();
        let gone = self.path(name, GONE);
        File::create(&gone).map_err(disk(&gone))?;
        remove(&self.path(name, WHOLE))
    }

    /// What is to be done for a name.
    pub fn waits(&self, name: &Name) -> Option<Waiting> {
        let (whole, gone) = (self.path(name, WHOLE), self.path(name, GONE));
        if whole.exists() {
            return Some(Waiting::Whole(whole));
        }
        gone.exists().then_some(Waiting::Gone(gone))
    }

    /// Has been uploaded from `file`: what waits goes, unless it is another by now. False: it was deleted meanwhile.
    pub fn uploaded(&self, name: &Name, file: &File) -> Result<bool, Error> {
        let _moving = self.moving();
        let whole = self.path(name, WHOLE);
        let of = |data: fs::Metadata| (data.dev(), data.ino());
        match (fs::metadata(&whole).map(of), file.metadata().map(of)) {
            // Nobody else can have the number of a file that is still open.
            (Ok(now), Ok(then)) if now == then => remove(&whole).map(|()| true),
            (Ok(_), _) => Ok(true),
            (Err(_), _) => Ok(!self.path(name, GONE).exists()),
        }
    }

    /// Names that wait for either.
    pub fn waiting(&self) -> Result<Vec<Name>, Error> {
        let mut names = self.ending(WHOLE)?;
        names.extend(self.ending(GONE)?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Names that wait to be deleted.
    pub fn gone(&self) -> Result<Vec<Name>, Error> {
        self.ending(GONE)
    }

    /// Bytes that wait to be uploaded.
    pub fn waiting_bytes(&self) -> Result<u64, Error> {
        let whole = self.whole()?;
        Ok(whole.iter().filter_map(|(_, path)| fs::metadata(path).ok()).map(|data| data.len()).sum())
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &Name, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", name.flat()))
    }

    fn ending(&self, ending: &str) -> Result<Vec<Name>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(disk(&self.folder))? {
            let file = entry.map_err(disk(&self.folder))?.file_name();
            let flat = file.to_str().and_then(|file| file.strip_suffix(ending));
            names.extend(flat.and_then(Name::from_flat));
        }
        names.sort();
        Ok(names)
    }
}

impl Draft {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Octets written, unsealed.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Writes on. What is replaced at the end goes first, in one piece of at most 64 KiB.
    ///
    /// # Errors
    /// [`Error::Disk`]. What was written before stays; this may be there in part, and the next call overwrites it.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.seek(SeekFrom::Start(self.stored)).map_err(disk(&self.path))?;
        for piece in bytes.chunks(FRAME_MAX) {
            let written = match &self.seal {
                Some(seal) => {
                    let frame = seal.frame(self.frames, piece, false)?;
                    self.file.write_all(&frame).map(|()| frame.len())
                }
                None => self.file.write_all(piece).map(|()| piece.len()),
            };
            self.stored += written.map_err(disk(&self.path))? as u64;
            if self.length == 0 {
                self.head = Some(piece.len());
            }
            self.frames += 1;
            self.length += piece.len() as u64;
        }
        Ok(())
    }

    /// Sees to it that a power failure leaves what was written.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(disk(&self.path))
    }

    /// The first octets, as many of `length` as there are; when sealed, of the first append alone.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Broken`].
    pub fn head(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let begin = if self.seal.is_some() { HEADER as u64 } else { 0 };
        self.file.seek(SeekFrom::Start(begin)).map_err(disk(&self.path))?;
        let mut head = match &self.seal {
            Some(seal) if self.frames > 0 => {
                let read = seal.read(0, &mut self.file).map_err(disk(&self.path))?;
                read.ok_or_else(|| Error::Broken { name: self.name.clone(), at: begin })?.0
            }
            Some(_) => Vec::new(),
            None => {
                let mut head = Vec::new();
                (&self.file).take(length as u64).read_to_end(&mut head).map_err(disk(&self.path))?;
                head
            }
        };
        head.truncate(length);
        Ok(head)
    }

    /// Throws it away.
    pub fn abandon(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Makes it whole, on disk, in a file that waits to be brought to where it belongs.
    pub(crate) fn whole(mut self, head: Option<&[u8]>) -> Result<PathBuf, Error> {
        if let Some(head) = head {
            self.replace_head(head)?;
        }
        if let Some(seal) = &self.seal {
            let last = seal.frame(self.frames, &[], true)?;
            self.file.seek(SeekFrom::Start(self.stored)).map_err(disk(&self.path))?;
            self.file.write_all(&last).map_err(disk(&self.path))?;
            self.stored += last.len() as u64;
        }
        // An append that failed may have left something behind what counts.
        self.file.set_len(self.stored).map_err(disk(&self.path))?;
        self.file.sync_all().map_err(disk(&self.path))?;
        let whole = self.path.with_extension(&WHOLE[1..]);
        fs::rename(&self.path, &whole).map_err(disk(&self.path))?;
        Ok(whole)
    }

    fn replace_head(&mut self, head: &[u8]) -> Result<(), Error> {
        let was = self.head.unwrap_or(head.len().min(self.length as usize));
        if head.len() != was {
            return Err(Error::Head { name: self.name.clone(), was, is: head.len() });
        }
        let (begin, bytes) = match &self.seal {
            Some(seal) => (HEADER as u64, seal.frame(0, head, false)?),
            None => (0, head.to_vec()),
        };
        self.file.seek(SeekFrom::Start(begin)).map_err(disk(&self.path))?;
        self.file.write_all(&bytes).map_err(disk(&self.path))
    }

    /// Finds the end of what was written in the clear.
    fn take_up(&mut self) -> Result<(), Error> {
        let mut begin = [0; 8];
        if filled(&mut self.file, &mut begin).map_err(disk(&self.path))? && Seal::is_header(&begin) {
            return Err(Error::Unexpected { name: self.name.clone(), sealed: true });
        }
        self.stored = self.file.metadata().map_err(disk(&self.path))?.len();
        (self.length, self.head) = (self.stored, None);
        Ok(())
    }

    /// Finds the last frame that is whole.
    fn scan(&mut self, keys: &Keys) -> Result<(), Error> {
        let mut reader = BufReader::with_capacity(FRAME_MAX, &self.file);
        let mut header = [0; HEADER];
        if !filled(&mut reader, &mut header).map_err(disk(&self.path))? {
            // The crash came before the first octet of sound.
            let key = keys.newest().ok_or(Error::NoRandom)?;
            let seal = Seal::new(key, &self.name)?;
            self.file.seek(SeekFrom::Start(0)).map_err(disk(&self.path))?;
            self.file.write_all(&seal.header).map_err(disk(&self.path))?;
            (self.seal, self.stored) = (Some(seal), HEADER as u64);
            return Ok(());
        }
        if !Seal::is_header(&header) {
            return Err(Error::Unexpected { name: self.name.clone(), sealed: false });
        }
        let seal = Seal::of(keys, &self.name, &header)?;
        self.stored = HEADER as u64;
        while let Some((plain, last)) = seal.read(self.frames, &mut reader).map_err(disk(&self.path))? {
            if last {
                break;
            }
            if self.frames == 0 {
                self.head = Some(plain.len());
            }
            self.frames += 1;
            self.length += plain.len() as u64;
            self.stored += sealed_length(plain.len()) as u64;
        }
        self.seal = Some(seal);
        Ok(())
    }
}

/// Sees to it that what was renamed in a folder stays so.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))
}

/// What is not there is removed already.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Disk { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

pub(crate) fn absent(name: &Name, path: &Path, source: io::Error) -> Error {
    let absent = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    if absent { Error::NotFound(name.clone()) } else { Error::Disk { path: path.into(), source } }
}
