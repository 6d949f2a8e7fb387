//! A store that may become another while it is used: its settings, credentials and keys change.

use std::{
    io::Read,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{Blobs, Draft, Error, Found, Name};

/// A store that stands for another. A draft that was begun goes on as it began.
#[derive(Debug)]
pub struct Movable(RwLock<Arc<dyn Blobs>>);

/// A store that cannot be used yet, and why.
#[derive(Debug)]
pub struct Unready(pub String);

impl Movable {
    /// Stands for this one.
    #[must_use]
    pub fn new(store: Arc<dyn Blobs>) -> Self {
        Self(RwLock::new(store))
    }

    /// From now on it stands for another, which has the same folder for drafts.
    pub fn set(&self, store: Arc<dyn Blobs>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = store;
    }

    fn now(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

macro_rules! handed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl Blobs for Movable {
            $(fn $name(&self, $($argument: $kind),*) -> Result<$result, Error> {
                self.now().$name($($argument),*)
            })*
        }

        impl Blobs for Unready {
            $(fn $name(&self, $(_: $kind),*) -> Result<$result, Error> {
                Err(Error::Unready(self.0.clone()))
            })*
        }
    };
}

handed_on! {
    begin(name: &Name) -> Draft;
    unfinished() -> Vec<Name>;
    resume(name: &Name) -> Draft;
    finish(draft: Draft, head: Option<&[u8]>) -> u64;
    waiting() -> Vec<Name>;
    bring(name: &Name) -> ();
    put(name: &Name, bytes: &[u8]) -> ();
    note(name: &Name, bytes: &[u8]) -> ();
    notes() -> Vec<Name>;
    noted(name: &Name) -> Vec<u8>;
    drop_note(name: &Name) -> ();
    get(name: &Name) -> Box<dyn Read + Send>;
    list(prefix: &str, after: Option<&Name>, limit: usize) -> Vec<Found>;
    delete(name: &Name) -> ();
}
