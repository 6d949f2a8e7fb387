//! Blobs, such as recordings: in a folder or in S3, sealed when there is a key. Records of calls have [a place](records) of
//! their own, and so has the [live state](live) that the edges of a cluster share.
//!
//! A blob is written as it comes, into a draft on this machine's disk, and is whole or absent under its name: a [`Folder`]
//! renames the draft, [`S3`] uploads it. What a crash leaves of a draft can be [resumed](Blobs::resume) at the next start;
//! what was not [synchronised](Draft::sync) before a power failure may be lost.
//!
//! Contract: everything here may block, for as long as a disk or a far store takes; call it from a thread that may wait,
//! and never from within an asynchronous task (`spawn_blocking` there).

mod draft;
mod folder;
pub mod live;
mod movable;
mod name;
pub mod records;
mod s3;
mod seal;

use std::{fmt, io, io::Read, path::PathBuf, time::SystemTime};

pub use self::{
    draft::Draft,
    folder::Folder,
    movable::{Movable, Unready},
    name::{BadName, NAME_MAX, Name},
    s3::{Credentials, S3, S3Config},
    seal::{BadKey, Key, Keys},
};

/// Entries of one list at most.
pub const LIST_MAX: usize = 1_000;

/// Where blobs are.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Begins a blob. Until it is finished, nobody finds it.
    ///
    /// # Errors
    /// [`Error::Exists`], also while another draft of the name is written; [`Error::Disk`].
    fn begin(&self, name: &Name) -> Result<Draft, Error>;

    /// Drafts that a crash has left, to be resumed or abandoned. To be asked at the start, before anything begins.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn unfinished(&self) -> Result<Vec<Name>, Error>;

    /// Goes on where a crash has interrupted; what of the end is not whole is cut off.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Disk`], or what is wrong with its seal.
    fn resume(&self, name: &Name) -> Result<Draft, Error>;

    /// Makes a draft whole, safe on this machine's disk and found under its name. `head` takes the place of what the first
    /// `append` wrote, and is as long. Returns its length, unsealed. What belongs elsewhere waits for [`Blobs::bring`].
    ///
    /// # Errors
    /// [`Error::Disk`], and the draft is left for a next start.
    fn finish(&self, draft: Draft, head: Option<&[u8]>) -> Result<u64, Error>;

    /// What is here and is to be brought away, or deleted far away.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn waiting(&self) -> Result<Vec<Name>, Error>;

    /// Does for one name what waits; for one that does not wait, nothing.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Remote`]: it waits on.
    fn bring(&self, name: &Name) -> Result<(), Error>;

    /// Writes a small blob at once: in place of one of that name, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Error>;

    /// Keeps beside a draft, on this machine's disk, what must be known of it if a crash interrupts it: at most 64 KiB.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn note(&self, name: &Name, bytes: &[u8]) -> Result<(), Error>;

    /// Whatever has a note.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn notes(&self) -> Result<Vec<Name>, Error>;

    /// The note of one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Disk`], or what is wrong with its seal.
    fn noted(&self, name: &Name) -> Result<Vec<u8>, Error>;

    /// Throws a note away.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn drop_note(&self, name: &Name) -> Result<(), Error>;

    /// Reads a blob. A broken seal shows as an error of the reader, at the place where it is broken; whoever must not hand on
    /// half of one reads to the end first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Disk`], [`Error::Remote`], or what is wrong with its seal.
    fn get(&self, name: &Name) -> Result<Box<dyn Read + Send>, Error>;

    /// Blobs whose names begin with the parts of `prefix` (empty: all), after `after`, in the order of their names: at most
    /// `limit` of them, and at most [`LIST_MAX`].
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Remote`].
    fn list(&self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Found>, Error>;

    /// Deletes a blob; one that is not there is deleted already. Nobody finds it from now on; far away it may be for as long as
    /// [`Blobs::bring`] takes.
    ///
    /// # Errors
    /// [`Error::Disk`].
    fn delete(&self, name: &Name) -> Result<(), Error>;
}

/// A blob in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// Bytes that it takes, seal included.
    pub stored_bytes: u64,
    /// When it was finished.
    pub modified: SystemTime,
}

/// Why a blob cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("there is no {0}")]
    NotFound(Name),
    /// There is one, or one is being written.
    #[error("there is a {0} already")]
    Exists(Name),
    /// This machine's disk.
    #[error("{}: {source}", .path.display())]
    Disk {
        /// What was to be written or read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A far store.
    #[error("{name}: {message}")]
    Remote {
        /// What was to be written or read, or the prefix of a list.
        name: String,
        /// What the store or the network said.
        message: String,
    },
    /// It was sealed with another key.
    #[error("{0} is sealed with another key than the one configured")]
    OtherKey(Name),
    /// It is sealed and there is no key, or it is not sealed although there is one.
    #[error("{name} is {}sealed, but {} key is configured", if *.sealed { "" } else { "not " }, if *.sealed { "no" } else { "a" })]
    Unexpected {
        /// The blob.
        name: Name,
        /// Whether it is sealed.
        sealed: bool,
    },
    /// Somebody has changed or cut what was sealed.
    #[error("the seal of {name} is broken at byte {at}: it was changed, cut or mixed up")]
    Broken {
        /// The blob.
        name: Name,
        /// Place within what is stored.
        at: u64,
    },
    /// The new head has not the length of the old one.
    #[error("the head of {name} has {was} bytes and must have as many again, not {is}")]
    Head {
        /// The blob.
        name: Name,
        /// Bytes of the first append.
        was: usize,
        /// Bytes given.
        is: usize,
    },
    /// As much waits to be brought away as may.
    #[error("{waiting} bytes wait for the store and no more than {most} may")]
    Full {
        /// Bytes that wait.
        waiting: u64,
        /// Bytes that may.
        most: u64,
    },
    /// The store cannot be used yet.
    #[error("{0}")]
    Unready(String),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Disk { path, source }
}
