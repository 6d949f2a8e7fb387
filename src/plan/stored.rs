//! What outlives a process: the last good forms, in bytes.
//!
//! A line with the SHA-256 of the rest in hexadecimal digits, then JSON. What was half written, or written by a newer
//! planner, is refused whole.

use std::{fmt::Write, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::{Planner, plan::Plan, world::Good};

/// Version of this form.
const SCHEMA: u32 = 1;

/// Length of the hash, in digits.
const HASH: usize = 64;

/// Why stored bytes cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// Cut short, or changed by somebody.
    #[error("its content is not what was written: the hash differs")]
    Hash,
    /// From another version.
    #[error("its schema is {0}, and only {SCHEMA} can be read")]
    Schema(u32),
    /// Not of this form.
    #[error("its content cannot be read: {0}")]
    Content(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Writing<'a> {
    schema: u32,
    good: &'a Good,
}

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

#[derive(Deserialize)]
struct Reading {
    good: Good,
}

impl Plan {
    /// The last good forms. Equal plans give equal bytes.
    ///
    /// # Errors
    /// None that a plan could cause.
    pub fn to_stored(&self) -> Result<Vec<u8>, StoredError> {
        write(self.good())
    }

    /// A plan that only keeps last good forms, to be given to [`plan`](crate::plan) as the one before.
    ///
    /// # Errors
    /// When the bytes are not whole, or not of this version.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, StoredError> {
        let (hash, json) = bytes.split_at_checked(HASH).ok_or(StoredError::Hash)?;
        let json = json.strip_prefix(b"\n").ok_or(StoredError::Hash)?;
        if hex(&Sha256::digest(json)).as_bytes() != hash {
            return Err(StoredError::Hash);
        }
        let Version { schema } = serde_json::from_slice(json)?;
        if schema != SCHEMA {
            return Err(StoredError::Schema(schema));
        }
        let Reading { good } = serde_json::from_slice(json)?;
        Ok(Self::of_good(good))
    }
}

impl Planner {
    /// The last good forms, as [`Plan::to_stored`] writes them of [`Planner::plan`]; no snapshot is made for it.
    ///
    /// # Errors
    /// None that a plan could cause.
    pub fn stored(&self) -> Result<Vec<u8>, StoredError> {
        write(&self.good())
    }
}

fn write(good: &Good) -> Result<Vec<u8>, StoredError> {
    let mut bytes = vec![b'\n'; HASH + 1];
    serde_json::to_writer(&mut bytes, &Writing { schema: SCHEMA, good })?;
    let hash = hex(&Sha256::digest(&bytes[HASH + 1..]));
    bytes[..HASH].copy_from_slice(hash.as_bytes());
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file's bytes as hexadecimal digits: JSON has no bytes.
pub(crate) mod blob {
    use super::{Arc, Deserialize, Deserializer, Serializer, de, hex};

    pub fn serialize<S: Serializer>(blob: &Option<Arc<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
        match blob {
            Some(bytes) => serializer.serialize_some(&hex(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<[u8]>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let pairs = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2)
        };
        let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
        bytes.map(|bytes| Some(bytes.into())).ok_or_else(|| de::Error::custom("must be hexadecimal digits"))
    }
}
