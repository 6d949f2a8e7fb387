//! What waits on this machine's disk to be written to a database: entries in the order they came, each whole or not at all.
//!
//! An entry is four octets of length, four of a CRC-32 (IEEE 802.3) over its content, both with the least octet first, and the
//! content. Entries stand in files that are named by a number; the one with the highest is written to. What a crash has cut
//! off in the middle of an entry is cut away when the spool is opened, and everything before it is there.
//!
//! Contract: it blocks, for as long as a disk takes. One writes, one reads and takes away; both may do so at once.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Octets before an entry's content.
const HEADER: usize = 8;
/// Largest content of an entry in octets.
pub const ENTRY_MAX: usize = 4 << 20;
/// A file that is longer is followed by another.
const FILE_MAX: u64 = 8 << 20;
/// End of the names of its files.
const ENDING: &str = ".spool";

/// Why nothing was put into the spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// As much waits as may.
    #[error("{waiting} bytes wait for the database and no more than {most} may")]
    Full {
        /// Bytes that wait.
        waiting: u64,
        /// Bytes that may.
        most: u64,
    },
    /// This machine's disk.
    #[error("{}: {source}", .path.display())]
    Disk {
        /// What was to be written or read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder of entries.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    octets_max: u64,
    state: Mutex<State>,
    /// Octets that could not be read when it was opened.
    pub cut: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Never empty once it is open; the last one is written to.
    files: VecDeque<Part>,
    /// Where in the first one the next entry begins that nobody has taken away.
    front: u64,
    entries: u64,
}

#[derive(Debug)]
struct Part {
    number: u64,
    file: File,
    length: u64,
}

/// How far was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    number: u64,
    offset: u64,
    entries: u64,
}

impl Spool {
    /// Opens a folder, which is made, and cuts away what a crash has left half written.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn open(folder: &Path, octets_max: u64) -> Result<Self, SpoolError> {
        fs::create_dir_all(folder).map_err(disk(folder))?;
        let mut numbers: Vec<u64> = Vec::new();
        for entry in fs::read_dir(folder).map_err(disk(folder))? {
            let name = entry.map_err(disk(folder))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(ENDING)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let (mut state, mut cut) = (State::default(), 0);
        for number in numbers {
            let (part, entries, lost) = taken_up(folder, number)?;
            cut += lost;
            state.entries += entries;
            state.files.push_back(part);
        }
        if state.files.is_empty() {
            state.files.push_back(begun(folder, 0)?);
        }
        Ok(Self { folder: folder.to_owned(), octets_max, state: Mutex::new(state), cut })
    }

    /// Puts entries at the end; once it returns they are on the disk. All of them, or none.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn append(&self, contents: &[Vec<u8>]) -> Result<(), SpoolError> {
        let mut octets = Vec::with_capacity(contents.iter().map(|content| content.len() + HEADER).sum());
        contents.iter().for_each(|content| frame(content, &mut octets));
        let mut state = self.state();
        let waiting = state.waiting();
        if waiting + octets.len() as u64 > self.octets_max {
            return Err(SpoolError::Full { waiting, most: self.octets_max });
        }
        let next = state.files.back().filter(|last| last.length >= FILE_MAX).map(|last| last.number + 1);
        if let Some(next) = next {
            state.files.push_back(begun(&self.folder, next)?);
        }
        let Some(last) = state.files.back_mut() else { return Ok(()) };
        let path = path(&self.folder, last.number);
        if let Err(source) = last.file.write_all_at(&octets, last.length).and_then(|()| last.file.sync_data())
        {
            // What was written of it is none of the spool's.
            let _ = last.file.set_len(last.length);
            return Err(SpoolError::Disk { path, source });
        }
        last.length += octets.len() as u64;
        state.entries += contents.len() as u64;
        Ok(())
    }

    /// The first entries, and how far they go: at most `most` of them, of one file, and no more than fit in so many octets
    /// once there is one.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn first(&self, most: usize, octets_most: usize) -> Result<(Vec<Vec<u8>>, Mark), SpoolError> {
        let state = self.state();
        let Some(first) = state.files.front() else {
            return Ok((Vec::new(), Mark { number: 0, offset: 0, entries: 0 }));
        };
        let path = path(&self.folder, first.number);
        let (mut contents, mut offset, mut octets) = (Vec::new(), state.front, 0);
        while contents.len() < most && octets < octets_most && offset < first.length {
            let content = read(&first.file, offset, first.length).map_err(disk(&path))?;
            // It was whole when it was written or taken up.
            let Some(content) = content else {
                let source = io::Error::new(io::ErrorKind::InvalidData, "an entry has changed on the disk");
                return Err(SpoolError::Disk { path, source });
            };
            offset += (content.len() + HEADER) as u64;
            octets += content.len();
            contents.push(content);
        }
        let entries = contents.len() as u64;
        Ok((contents, Mark { number: first.number, offset, entries }))
    }

    /// Takes away what [`Spool::first`] gave.
    ///
    /// # Errors
    /// [`SpoolError::Disk`]: it comes again after a restart.
    pub fn trim(&self, mark: Mark) -> Result<(), SpoolError> {
        let mut state = self.state();
        let is_last = state.files.len() == 1;
        let Some(first) = state.files.front_mut().filter(|first| first.number == mark.number) else {
            return Ok(());
        };
        let (path, length) = (path(&self.folder, mark.number), first.length);
        state.front = mark.offset;
        state.entries = state.entries.saturating_sub(mark.entries);
        if mark.offset < length {
            return Ok(());
        }
        state.front = 0;
        if is_last {
            let Some(only) = state.files.front_mut() else { return Ok(()) };
            only.length = 0;
            return only.file.set_len(0).map_err(disk(&path));
        }
        state.files.pop_front();
        fs::remove_file(&path).map_err(disk(&path))
    }

    /// Gives up what is left of the first file, whose entries have changed on the disk: how many octets.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn skip(&self) -> Result<u64, SpoolError> {
        let (mark, lost) = {
            let state = self.state();
            let Some(first) = state.files.front() else { return Ok(0) };
            (Mark { number: first.number, offset: first.length, entries: 0 }, first.length - state.front)
        };
        self.trim(mark).map(|()| lost)
    }

    /// Entries that wait.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.state().entries
    }

    /// Octets that wait.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.state().waiting()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&self) -> u64 {
        self.files.iter().map(|part| part.length).sum::<u64>().saturating_sub(self.front)
    }
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Disk { path, source }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{ENDING}"))
}

/// A new file, which is there after a power failure too.
fn begun(folder: &Path, number: u64) -> Result<Part, SpoolError> {
    let path = path(folder, number);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.map_err(disk(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))?;
    Ok(Part { number, file, length: 0 })
}

/// A file as a crash may have left it, cut to what is whole; how many entries it has, and what was cut off.
fn taken_up(folder: &Path, number: u64) -> Result<(Part, u64, u64), SpoolError> {
    let path = path(folder, number);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(disk(&path))?;
    let there = file.metadata().map_err(disk(&path))?.len();
    let (mut length, mut entries) = (0, 0);
    while let Some(content) = read(&file, length, there).map_err(disk(&path))? {
        length += (content.len() + HEADER) as u64;
        entries += 1;
    }
    if length < there {
        file.set_len(length).map_err(disk(&path))?;
    }
    Ok((Part { number, file, length }, entries, there - length))
}

fn frame(content: &[u8], octets: &mut Vec<u8>) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    octets.extend(length.to_le_bytes());
    octets.extend(crc(content).to_le_bytes());
    octets.extend(content);
}

/// The entry that begins there. None: none that is whole does.
fn read(file: &File, offset: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    if end.saturating_sub(offset) < HEADER as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, offset)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let begins = offset + HEADER as u64;
    // A file system may leave zeros where nothing was written: no entry is empty.
    if length == 0 || length > ENTRY_MAX || end - begins < length as u64 {
        return Ok(None);
    }
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, begins)?;
    Ok((crc(&content) == u32::from_le_bytes([c0, c1, c2, c3])).then_some(content))
}

const SUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

fn crc(content: &[u8]) -> u32 {
    SUM.checksum(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn all(spool: &Spool) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        loop {
            let (contents, mark) = spool.first(3, 1 << 20).unwrap();
            if contents.is_empty() {
                return found;
            }
            found.extend(contents);
            spool.trim(mark).unwrap();
        }
    }

    fn contents() -> Vec<Vec<u8>> {
        ["one", "a second, which is longer", "3"].map(|text| text.as_bytes().to_vec()).to_vec()
    }

    #[test]
    fn the_sum_is_the_one_that_everybody_knows() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_put_in_comes_out_in_order_and_after_a_restart_too() {
        let at = TempDir::new().unwrap();
        let spool = Spool::open(at.path(), 1_000).unwrap();
        spool.append(&contents()[..2]).unwrap();
        spool.append(&contents()[2..]).unwrap();
        assert_eq!((spool.entries(), spool.octets()), (3, 29 + 24));
        let (first, mark) = spool.first(1, 1 << 20).unwrap();
        assert_eq!(first, contents()[..1]);
        spool.trim(mark).unwrap();
        assert_eq!(spool.entries(), 2);
        drop(spool);
        let spool = Spool::open(at.path(), 1_000).unwrap();
        assert_eq!(all(&spool), contents(), "what was not taken away to the end of a file comes again");
        assert_eq!((spool.entries(), spool.octets()), (0, 0));
        assert_eq!(Spool::open(at.path(), 1_000).unwrap().octets(), 0);
    }

    #[test]
    fn a_cut_at_every_octet_leaves_what_was_whole_before_it() {
        let at = TempDir::new().unwrap();
        let spool = Spool::open(at.path(), 1_000).unwrap();
        spool.append(&contents()).unwrap();
        drop(spool);
        let file = path(at.path(), 0);
        let octets = fs::read(&file).unwrap();
        let ends = [HEADER + 3, 2 * HEADER + 28, 3 * HEADER + 29];
        for cut in 0..=octets.len() {
            fs::write(&file, &octets[..cut]).unwrap();
            let spool = Spool::open(at.path(), 1_000).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(spool.cut, (cut - ends[..whole].last().copied().unwrap_or(0)) as u64, "{cut}");
            // It goes on behind what is whole.
            spool.append(&[b"next".to_vec()]).unwrap();
            drop(spool);
            let spool = Spool::open(at.path(), 1_000).unwrap();
            let wanted = [&contents()[..whole], &[b"next".to_vec()]].concat();
            assert_eq!((all(&spool), spool.cut), (wanted, 0), "{cut}");
        }
    }

    #[test]
    fn zeros_that_a_file_system_left_are_no_entries() {
        let at = TempDir::new().unwrap();
        fs::write(path(at.path(), 0), [0; 64]).unwrap();
        let spool = Spool::open(at.path(), 1_000).unwrap();
        assert_eq!((spool.entries(), spool.cut), (0, 64));
    }

    #[test]
    fn no_more_waits_than_may_and_there_is_room_again_once_it_is_taken_away() {
        let at = TempDir::new().unwrap();
        let spool = Spool::open(at.path(), 100).unwrap();
        spool.append(&[vec![1; 80]]).unwrap();
        let error = spool.append(&[vec![2; 5]]).unwrap_err();
        assert_eq!(error.to_string(), "88 bytes wait for the database and no more than 100 may");
        assert_eq!(all(&spool), [vec![1; 80]]);
        spool.append(&[vec![2; 5]]).unwrap();
        assert_eq!(all(&spool), [vec![2; 5]]);
    }

    #[test]
    fn a_long_file_is_followed_by_another_and_goes_when_it_is_taken_away() {
        let at = TempDir::new().unwrap();
        let spool = Spool::open(at.path(), 1 << 30).unwrap();
        let long = vec![7; 3 << 20];
        (0..5).for_each(|_| spool.append(std::slice::from_ref(&long)).unwrap());
        let files = || fs::read_dir(at.path()).unwrap().count();
        assert_eq!(files(), 2);
        drop(spool);
        let spool = Spool::open(at.path(), 1 << 30).unwrap();
        assert_eq!(all(&spool).len(), 5);
        assert_eq!(files(), 1);
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_what_was_there() {
        let at = TempDir::new().unwrap();
        std::os::unix::fs::symlink("/dev/full", path(at.path(), 0)).unwrap();
        let spool = Spool::open(at.path(), 1_000).unwrap();
        let error = spool.append(&contents()).unwrap_err().to_string();
        assert!(error.contains("No space left on device"), "{error}");
        assert_eq!((spool.entries(), spool.octets()), (0, 0));
    }

    proptest! {
        #[test]
        fn whatever_a_disk_makes_of_it_only_what_was_written_comes_out(
            place in 0usize..53, octet in any::<u8>(), cut in 0usize..=53,
        ) {
            let at = TempDir::new().unwrap();
            let spool = Spool::open(at.path(), 1_000).unwrap();
            spool.append(&contents()).unwrap();
            drop(spool);
            let file = path(at.path(), 0);
            let mut octets = fs::read(&file).unwrap();
            octets[place] = octet;
            octets.truncate(cut);
            fs::write(&file, octets).unwrap();
            let found = all(&Spool::open(at.path(), 1_000).unwrap());
            prop_assert!(contents().starts_with(&found));
        }
    }
}
