//! What outlives a process, packed: on a pod's disk, and in parts that each fit into a Secret.
//!
//! Packed bytes are a line `switchboard-stored 1`, the SHA-256 of what follows, and that: a zstd frame. What was cut short,
//! mixed up of two, or made by a version that this one does not know is refused whole.
//!
//! A snapshot's content is JSON: its position, and its sections by name as text, whose canonical bytes are JSON themselves.

use std::{borrow::Cow, collections::BTreeMap};

use model::section::{Digest, Section, SectionName, Sections};
use serde::{Deserialize, Serialize};

use crate::config::Position;

/// The first line, with the version of the form.
const MAGIC: &[u8] = b"switchboard-stored 1\n";

/// Octets of a hash.
const HASH: usize = 32;

/// Most octets that come out: what is small on a disk and endless in memory is refused.
pub const UNPACKED_MAX: usize = 1 << 30;

/// How hard zstd tries: the default is fast, and ten parts of a hundred off it cost seconds.
const LEVEL: i32 = 3;

/// Why packed bytes are of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// Not packed bytes, or of another version.
    #[error("it does not begin with `switchboard-stored 1`: it is of another version, or something else")]
    Form,
    /// Cut short, mixed up, or changed.
    #[error("its content is not what was written: the hash differs")]
    Hash,
    /// It cannot be unpacked.
    #[error("it cannot be packed or unpacked: {0}")]
    Zstd(String),
    /// It is no snapshot.
    #[error("it is no snapshot: {0}")]
    Content(String),
}

#[derive(Serialize, Deserialize)]
struct Snapshot<'a> {
    term: u64,
    sequence: u64,
    /// Of the sections, so that what is read is what was published.
    digest: Digest,
    #[serde(borrow)]
    sections: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Packs bytes and cuts them into parts of at most `part_max` octets; at least one part.
///
/// # Errors
/// None that bytes could cause.
pub fn pack_bytes(bytes: &[u8], part_max: usize) -> Result<Vec<Vec<u8>>, StoredError> {
    let content = zstd::bulk::compress(bytes, LEVEL).map_err(|error| StoredError::Zstd(error.to_string()))?;
    let mut packed = Vec::with_capacity(MAGIC.len() + HASH + content.len());
    packed.extend_from_slice(MAGIC);
    packed.extend_from_slice(Digest::of(&content).as_bytes());
    packed.extend_from_slice(&content);
    Ok(packed.chunks(part_max.max(1)).map(<[u8]>::to_vec).collect())
}

/// Puts parts together and unpacks them.
///
/// # Errors
/// When they are not what was packed, all of it and in order.
pub fn unpack_bytes<P: AsRef<[u8]>>(parts: &[P]) -> Result<Vec<u8>, StoredError> {
    let packed: Vec<u8> = parts.iter().flat_map(|part| part.as_ref()).copied().collect();
    let rest = packed.strip_prefix(MAGIC).ok_or(StoredError::Form)?;
    let (hash, content) = rest.split_at_checked(HASH).ok_or(StoredError::Hash)?;
    if Digest::of(content).as_bytes() != hash {
        return Err(StoredError::Hash);
    }
    // The size that a frame declares is its writer's word: memory is taken as it is filled.
    let mut bytes = Vec::new();
    let decoder =
        zstd::stream::read::Decoder::new(content).map_err(|error| StoredError::Zstd(error.to_string()))?;
    let most = UNPACKED_MAX as u64 + 1;
    std::io::Read::read_to_end(&mut std::io::Read::take(decoder, most), &mut bytes)
        .map_err(|error| StoredError::Zstd(error.to_string()))?;
    if bytes.len() > UNPACKED_MAX {
        return Err(StoredError::Zstd(format!("more than {UNPACKED_MAX} octets come out")));
    }
    Ok(bytes)
}

/// Packs a snapshot.
///
/// # Errors
/// None that a snapshot could cause.
pub fn pack(position: Position, sections: &Sections, part_max: usize) -> Result<Vec<Vec<u8>>, StoredError> {
    let texts = sections
        .iter()
        .map(|(name, section)| (Cow::Borrowed(name.as_str()), String::from_utf8_lossy(section.bytes())));
    let Position { term, sequence } = position;
    let snapshot = Snapshot { term, sequence, digest: sections.digest(), sections: texts.collect() };
    let json = serde_json::to_vec(&snapshot).map_err(|error| StoredError::Content(error.to_string()))?;
    pack_bytes(&json, part_max)
}

/// Unpacks a snapshot.
///
/// # Errors
/// When the parts are not those of one snapshot.
pub fn unpack<P: AsRef<[u8]>>(parts: &[P]) -> Result<(Position, Sections), StoredError> {
    let bytes = unpack_bytes(parts)?;
    let content = |error: serde_json::Error| StoredError::Content(error.to_string());
    let snapshot: Snapshot<'_> = serde_json::from_slice(&bytes).map_err(content)?;
    let mut sections = Sections::default();
    for (name, text) in snapshot.sections {
        let name: SectionName = serde_json::from_value(name.into_owned().into()).map_err(content)?;
        sections.insert(name, Section::from_bytes(text.into_owned().into_bytes()));
    }
    if sections.digest() != snapshot.digest {
        return Err(StoredError::Hash);
    }
    Ok((Position { term: snapshot.term, sequence: snapshot.sequence }, sections))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Sections {
        let mut sections = Sections::default();
        for (name, bytes) in [("cluster", r#"{"code":"C14"}"#), ("numbers/7f", r#"[{"a":"ü\"\\"}]"#)] {
            let name = serde_json::from_value(name.into()).unwrap();
            sections.insert(name, Section::from_bytes(bytes.into()));
        }
        sections
    }

    const AT: Position = Position { term: 3, sequence: 7 };

    #[test]
    fn what_was_packed_comes_out_however_it_was_cut() {
        for part_max in [1, 7, 100, usize::MAX] {
            let parts = pack(AT, &sections(), part_max).unwrap();
            assert!(parts.iter().all(|part| part.len() <= part_max));
            assert_eq!(unpack(&parts).unwrap(), (AT, sections()));
        }
    }

    #[test]
    fn what_is_cut_short_mixed_or_changed_is_refused_whole() {
        let parts = pack(AT, &sections(), 50).unwrap();
        let other = pack(Position { term: 3, sequence: 8 }, &sections(), 50).unwrap();
        assert!(parts.len() > 2);
        assert_eq!(unpack(&parts[..parts.len() - 1]), Err(StoredError::Hash));
        let mut mixed = parts.clone();
        mixed[1].clone_from(&other[1]);
        mixed[0].clone_from(&other[0]);
        assert!(mixed == other || unpack(&mixed) == Err(StoredError::Hash));
        let swapped: Vec<_> = [&parts[0], &parts[2], &parts[1]].into_iter().chain(&parts[3..]).collect();
        assert_eq!(unpack(&swapped), Err(StoredError::Hash));
        assert_eq!(unpack::<Vec<u8>>(&[]), Err(StoredError::Form));
        assert_eq!(unpack(&[b"switchboard-stored 2\n".to_vec()]), Err(StoredError::Form));
    }

    /// Written by an earlier version; must be read for as long as there are pods that have such files.
    #[test]
    fn the_form_of_before_is_read() {
        let hex = include_str!("tests/stored-1.hex");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let written = pack(AT, &sections(), usize::MAX).unwrap().concat();
            let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored-1.hex"), hex + "\n").unwrap();
        }
        let bytes: Vec<u8> = hex
            .trim()
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(unpack(&[bytes]).unwrap(), (AT, sections()));
    }
}
