//! What outlives every process: in a fixed set of Secrets, packed, cut into parts, and verified by hash when it is read.
//!
//! The last good forms lie in `switchboard-plan-00…31` of the operator's namespace, each cluster's snapshot in
//! `<cluster>-snapshot-00…31` of its own. What is equal to what lies there is not written.

use std::{collections::BTreeMap, io::Read};

use link::{config::Position, stored};
use model::{
    ClusterId,
    section::{Digest, Sections},
};
use plan::Plan;
use tracing::{error, info, warn};

use crate::keep::{KeepError, Keeper, Kept};

/// Most octets of last good forms as they are unpacked.
const UNPACKED_MAX: usize = 1 << 30;

/// How hard zstd tries: its default.
const LEVEL: i32 = 3;

/// How many parts there are, and the hash of all of them.
const COUNT: &str = "switchboard.dev/parts";
const DIGEST: &str = "switchboard.dev/digest";

/// The highest term that has written it.
const TERM: &str = "switchboard.dev/term";

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A Secret cannot be read or written.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// It is too much.
    #[error("{name} has {parts} parts of {} octets, more than {}", stored::PART_MAX, stored::PARTS_MAX)]
    TooLarge {
        /// Of the set.
        name: String,
        /// How many it would need.
        parts: usize,
    },
    /// It cannot be packed.
    #[error("it cannot be packed: {0}")]
    Pack(String),
}

/// A set of Secrets.
#[derive(Debug)]
struct Set {
    namespace: String,
    name: String,
}

impl Set {
    fn part(&self, number: usize) -> String {
        format!("{}-{number:02}", self.name)
    }
}

/// Reads and writes sets.
#[derive(Debug)]
pub struct Store {
    keeper: Keeper,
    namespace: String,
    /// The hash and the number of parts of what lies in each set, by its namespace and name.
    lies: BTreeMap<(String, String), (String, usize)>,
}

impl Store {
    /// Of an operator of a namespace.
    #[must_use]
    pub const fn new(keeper: Keeper, namespace: String) -> Self {
        Self { keeper, namespace, lies: BTreeMap::new() }
    }

    fn plans(&self) -> Set {
        Set { namespace: self.namespace.clone(), name: "switchboard-plan".into() }
    }

    /// The last good forms that an earlier process kept, and the term in which it did. What cannot be used is as good as
    /// nothing, and is told of.
    ///
    /// # Errors
    /// The API server's.
    pub async fn plan(&mut self) -> Result<(Option<Plan>, u64), StoreError> {
        let set = self.plans();
        let Some((bytes, term)) = self.read(&set).await? else { return Ok((None, 0)) };
        let plan =
            unpack(&bytes).and_then(|bytes| Plan::from_stored(&bytes).map_err(|error| error.to_string()));
        match plan {
            Ok(plan) => {
                info!(octets = bytes.iter().map(Vec::len).sum::<usize>(), "last good forms read");
                Ok((Some(plan), term))
            }
            Err(error) => {
                self.lies.remove(&(set.namespace, set.name));
                error!(error, "the last good forms cannot be used: an object that is wrong now has none");
                Ok((None, term))
            }
        }
    }

    /// Keeps the last good forms.
    ///
    /// # Errors
    /// The API server's, or that they are too large.
    pub async fn keep_plan(&mut self, bytes: &[u8], term: u64) -> Result<(), StoreError> {
        let digest = Digest::of(bytes).to_string();
        let set = self.plans();
        self.write(&set, &digest, term, || pack(bytes)).await
    }

    /// Keeps the snapshot of a cluster.
    ///
    /// # Errors
    /// As [`Store::keep_plan`].
    pub async fn keep_snapshot(
        &mut self,
        cluster: &ClusterId,
        position: Position,
        sections: &Sections,
    ) -> Result<(), StoreError> {
        let set = Set {
            namespace: cluster.0.namespace().to_owned(),
            name: format!("{}-snapshot", cluster.0.name()),
        };
        let digest = sections.digest().to_string();
        let pack = || stored::pack(position, sections, stored::PART_MAX).map_err(|error| error.to_string());
        self.write(&set, &digest, position.term, pack).await
    }

    async fn read(&mut self, set: &Set) -> Result<Option<(Vec<Vec<u8>>, u64)>, StoreError> {
        let Some(first) = self.keeper.read(&set.namespace, &set.part(0)).await? else { return Ok(None) };
        let annotation = |name: &str| first.annotations.get(name).cloned().unwrap_or_default();
        let count = annotation(COUNT).parse::<usize>().unwrap_or(1).clamp(1, stored::PARTS_MAX);
        let (digest, term) = (annotation(DIGEST), annotation(TERM).parse().unwrap_or_default());
        let mut parts = vec![part(first)];
        for number in 1..count {
            let Some(next) = self.keeper.read(&set.namespace, &set.part(number)).await? else {
                warn!(set = set.name, number, "a part is missing");
                return Ok(None);
            };
            parts.push(part(next));
        }
        self.lies.insert((set.namespace.clone(), set.name.clone()), (digest, count));
        Ok(Some((parts, term)))
    }

    async fn write(
        &mut self,
        set: &Set,
        digest: &str,
        term: u64,
        pack: impl FnOnce() -> Result<Vec<Vec<u8>>, String>,
    ) -> Result<(), StoreError> {
        let key = (set.namespace.clone(), set.name.clone());
        if !self.lies.contains_key(&key)
            && let Some(first) = self.keeper.read(&set.namespace, &set.part(0)).await?
        {
            let annotation = |name: &str| first.annotations.get(name).cloned().unwrap_or_default();
            let count = annotation(COUNT).parse().unwrap_or(1).min(stored::PARTS_MAX);
            self.lies.insert(key.clone(), (annotation(DIGEST), count));
        }
        let (lies, there) = self.lies.get(&key).cloned().unwrap_or_default();
        if lies == digest {
            return Ok(());
        }
        let mut parts = pack().map_err(StoreError::Pack)?;
        let count = parts.len();
        if count > stored::PARTS_MAX {
            return Err(StoreError::TooLarge { name: set.name.clone(), parts: count });
        }
        // What is left of a longer copy would be mixed with this one.
        parts.resize(count.max(there), Vec::new());
        // Until all is written, what lies there is nothing; the first part is the last to say what it is.
        self.lies.insert(key.clone(), (String::new(), parts.len()));
        for (number, bytes) in parts.into_iter().enumerate().rev() {
            let annotations =
                [(COUNT, count.to_string()), (DIGEST, digest.to_owned()), (TERM, term.to_string())];
            let kept = Kept {
                namespace: set.namespace.clone(),
                name: set.part(number),
                of_type: "switchboard.dev/stored",
                annotations: annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                data: BTreeMap::from([(stored::PART_KEY.to_owned(), bytes)]),
            };
            self.keeper.write(&kept).await?;
        }
        self.lies.insert(key, (digest.to_owned(), count));
        Ok(())
    }
}

/// Last good forms, packed and cut; what they hold has its own hash, by which it is known whole.
fn pack(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let packed = zstd::bulk::compress(bytes, LEVEL).map_err(|error| error.to_string())?;
    Ok(packed.chunks(stored::PART_MAX).map(<[u8]>::to_vec).collect())
}

fn unpack(parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let packed = parts.concat();
    // The size that a frame declares is its writer's word: memory is taken as it is filled.
    let decoder = zstd::stream::read::Decoder::new(packed.as_slice()).map_err(|error| error.to_string())?;
    let mut bounded = decoder.take(UNPACKED_MAX as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > UNPACKED_MAX {
        return Err(format!("more than {UNPACKED_MAX} octets come out"));
    }
    Ok(bytes)
}

fn part(mut kept: Kept) -> Vec<u8> {
    kept.data.remove(stored::PART_KEY).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_good_forms_come_out_as_they_went_in_or_not_at_all() {
        let bytes: Vec<u8> =
            (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let parts = pack(&bytes).unwrap();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= stored::PART_MAX));
        assert!(unpack(&parts).unwrap() == bytes);
        assert!(unpack(&parts[..1]).is_err());
        assert!(unpack(&[]).is_err());
    }
}
