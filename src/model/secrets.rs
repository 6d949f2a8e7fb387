//! Values of Secrets. They travel beside the snapshot, live in memory alone, and are never printed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use sha2::{Digest as _, Sha256};

use crate::{Key, section::Digest};

/// Values of Secrets, by object and key. Printed `[redacted]`. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Arc<Values>);

type Values = BTreeMap<(Key, String), Box<[u8]>>;

impl Secrets {
    /// One value.
    #[must_use]
    pub fn get(&self, object: &Key, key: &str) -> Option<&[u8]> {
        self.0.get(&(object.clone(), key.to_owned())).map(AsRef::as_ref)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &str, &[u8])> {
        self.0.iter().map(|((object, key), value)| (object, key.as_str(), value.as_ref()))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// To compare with others without looking at either. Not for printing: a short secret can be guessed from it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for (object, key, value) in self.iter() {
            for part in [object.as_str().as_bytes(), key.as_bytes(), value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        Digest::from_bytes(hash.finalize().into())
    }
}

impl FromIterator<((Key, String), Vec<u8>)> for Secrets {
    fn from_iter<I: IntoIterator<Item = ((Key, String), Vec<u8>)>>(values: I) -> Self {
        Self(Arc::new(values.into_iter().map(|(name, value)| (name, value.into_boxed_slice())).collect()))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
