//! A snapshot at rest: on a pod's disk, and in the Secrets that pods start from while no operator runs.
//!
//! It is cut into parts, each with a line that says which one it is of how many, and the SHA-256 of the whole:
//!
//! ```text
//! switchboard-snapshot 1 0/2 5f2c…
//! ```
//!
//! Behind the lines lie the pieces of one zstd frame. It holds a line of JSON, with position, hash and the sections' names
//! and lengths, and the sections' canonical bytes. What was cut short, mixed of two copies, changed, or written in a newer
//! form is refused whole. Values of Secrets are never part of it.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use model::{
    ClusterId,
    section::{Digest, Section, SectionName, Sections},
    snapshot::SCHEMA,
};
use serde::{Deserialize, Serialize};

use crate::config::Position;

/// Parts that a snapshot may have, each in a Secret of its own.
pub const PARTS_MAX: usize = 32;

/// Octets of a part that fit into a Secret, which holds 1 MiB with its metadata.
pub const PART_MAX: usize = 1_000_000;

/// Key of a part in its Secret.
pub const PART_KEY: &str = "part";

/// Most octets of a snapshot as it is unpacked.
const CONTENT_MAX: u64 = 1 << 30;

/// Most octets of a file that is looked at.
const FILE_MAX: u64 = 256 << 20;

/// Form of the parts.
const FORM: u32 = 1;

const MAGIC: &str = "switchboard-snapshot";

/// Why what was stored cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// A file cannot be read, or a snapshot not be compressed.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part that is none.
    #[error("a part does not begin with a line of ours")]
    NotAPart,
    /// Written by a newer version.
    #[error("its form is {0}, and only {FORM} can be read")]
    Form(u32),
    /// Its snapshot is of a newer version.
    #[error("its schema is {0}, and none above {SCHEMA} can be read")]
    Schema(u32),
    /// Parts of two snapshots.
    #[error("its parts are of two snapshots")]
    Mixed,
    /// A part is missing, or there twice.
    #[error("{found} of its {wanted} parts are there")]
    Parts {
        /// How many there are.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// Cut short, or changed by somebody.
    #[error("its content is not what was written: the hash differs")]
    Hash,
    /// Not of this form.
    #[error("its content cannot be read: {0}")]
    Content(String),
}

/// What comes before the sections.
#[derive(Serialize, Deserialize)]
struct Head {
    schema: u32,
    term: u64,
    sequence: u64,
    digest: Digest,
    sections: Vec<(SectionName, usize)>,
}

/// The name of the Secret that holds a part: `<name of the cluster>-snapshot-<two digits>`.
#[must_use]
pub fn part_name(cluster: &ClusterId, part: usize) -> String {
    format!("{}-snapshot-{part:02}", cluster.0.name())
}

/// In parts of at most so many octets. Equal snapshots give equal parts.
///
/// # Errors
/// None that a snapshot could cause.
pub fn pack(
    position: Position,
    sections: &Sections,
    part_octets_max: usize,
) -> Result<Vec<Vec<u8>>, StoredError> {
    let head = Head {
        schema: SCHEMA,
        term: position.term,
        sequence: position.sequence,
        digest: sections.digest(),
        sections: sections.iter().map(|(name, section)| (name.clone(), section.bytes().len())).collect(),
    };
    let mut content = serde_json::to_vec(&head).map_err(|error| StoredError::Content(error.to_string()))?;
    content.push(b'\n');
    sections.iter().for_each(|(_, section)| content.extend_from_slice(section.bytes()));
    let compressed = zstd::bulk::compress(&content, zstd::DEFAULT_COMPRESSION_LEVEL);
    let whole = compressed.map_err(|source| StoredError::Io { path: PathBuf::from("zstd"), source })?;
    let hash = Digest::of(&whole);
    let line = |part: usize, parts: usize| format!("{MAGIC} {FORM} {part}/{parts} {hash}\n").into_bytes();
    let room = part_octets_max.saturating_sub(line(whole.len(), whole.len()).len()).max(1);
    let count = whole.len().div_ceil(room);
    let pieces = whole.chunks(room).enumerate();
    Ok(pieces.map(|(part, piece)| [line(part, count).as_slice(), piece].concat()).collect())
}

/// The snapshot of these parts, in whatever order. Empty ones stand for none.
///
/// # Errors
/// Nothing is used of what is not whole.
pub fn unpack<P: AsRef<[u8]>>(
    parts: impl IntoIterator<Item = P>,
) -> Result<Option<(Position, Sections)>, StoredError> {
    let parts: Vec<P> = parts.into_iter().filter(|part| !part.as_ref().is_empty()).collect();
    let parts: Vec<Part<'_>> =
        parts.iter().map(|part| Part::read(part.as_ref())).collect::<Result<_, _>>()?;
    let Some(first) = parts.first() else { return Ok(None) };
    if parts.iter().any(|part| (part.hash, part.count) != (first.hash, first.count)) {
        return Err(StoredError::Mixed);
    }
    let mut places: Vec<Option<&[u8]>> = vec![None; first.count.min(parts.len())];
    for part in &parts {
        if let Some(place) = places.get_mut(part.place) {
            *place = Some(part.piece);
        }
    }
    let whole: Vec<&[u8]> = places.into_iter().flatten().collect();
    if whole.len() != first.count || parts.len() != first.count {
        return Err(StoredError::Parts { found: whole.len(), wanted: first.count });
    }
    let whole = whole.concat();
    if Digest::of(&whole).to_string() != first.hash {
        return Err(StoredError::Hash);
    }
    let mut content = Vec::new();
    let unpacked = zstd::stream::read::Decoder::new(whole.as_slice())
        .and_then(|decoder| decoder.take(CONTENT_MAX).read_to_end(&mut content));
    unpacked.map_err(|error| StoredError::Content(error.to_string()))?;
    read(&content).map(Some)
}

/// The snapshot whose parts lie in a folder, or one each in its folders, as Secrets are mounted. None: there is no part.
///
/// # Errors
/// A file cannot be read, or nothing is used of what is not whole.
pub fn read_folder(folder: &Path) -> Result<Option<(Position, Sections)>, StoredError> {
    let mut parts = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            entries(&path)?
                .iter()
                .filter(|path| path.is_file())
                .try_for_each(|path| add(path, &mut parts))?;
        } else {
            add(&path, &mut parts)?;
        }
    }
    unpack(parts)
}

/// What Kubernetes writes besides begins with two dots: a mounted file is a link into there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoredError> {
    let failed = |source| StoredError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with("..") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn add(path: &Path, parts: &mut Vec<Vec<u8>>) -> Result<(), StoredError> {
    let bytes = fs::metadata(path).and_then(|data| match data.len() <= FILE_MAX {
        true => fs::read(path),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    });
    parts.push(bytes.map_err(|source| StoredError::Io { path: path.to_owned(), source })?);
    Ok(())
}

struct Part<'a> {
    place: usize,
    count: usize,
    hash: &'a str,
    piece: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, StoredError> {
        let end = bytes.iter().take(256).position(|byte| *byte == b'\n').ok_or(StoredError::NotAPart)?;
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| StoredError::NotAPart)?;
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(StoredError::NotAPart);
        }
        let form = words.next().and_then(|word| word.parse().ok()).ok_or(StoredError::NotAPart)?;
        if form != FORM {
            return Err(StoredError::Form(form));
        }
        let (place, count) =
            words.next().and_then(|word| word.split_once('/')).ok_or(StoredError::NotAPart)?;
        let (Ok(place), Ok(count)) = (place.parse(), count.parse()) else {
            return Err(StoredError::NotAPart);
        };
        let hash = words.next().ok_or(StoredError::NotAPart)?;
        Ok(Self { place, count, hash, piece: &bytes[end + 1..] })
    }
}

fn read(content: &[u8]) -> Result<(Position, Sections), StoredError> {
    let wrong = |message: &str| StoredError::Content(message.to_owned());
    let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(|| wrong("no first line"))?;
    let head: serde_json::Value =
        serde_json::from_slice(&content[..end]).map_err(|error| StoredError::Content(error.to_string()))?;
    let schema = head.get("schema").and_then(serde_json::Value::as_u64).ok_or_else(|| wrong("no schema"))?;
    let schema = u32::try_from(schema).unwrap_or(u32::MAX);
    if schema > SCHEMA {
        return Err(StoredError::Schema(schema));
    }
    let head: Head = serde_json::from_value(head).map_err(|error| StoredError::Content(error.to_string()))?;
    let mut rest = &content[end + 1..];
    let mut sections = Sections::default();
    for (name, length) in head.sections {
        let (bytes, after) = rest.split_at_checked(length).ok_or_else(|| wrong("a section is cut short"))?;
        sections.insert(name, Section::from_bytes(bytes.to_vec()));
        rest = after;
    }
    if !rest.is_empty() || sections.digest() != head.digest {
        return Err(StoredError::Hash);
    }
    Ok((Position { term: head.term, sequence: head.sequence }, sections))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POSITION: Position = Position { term: 7, sequence: 42 };

    fn sections(count: usize) -> Sections {
        let mut sections = Sections::default();
        for bucket in 0..count {
            let bytes =
                format!(r#"[{{"trunk":"platform/carrier","number":"{}"}}]"#, Digest::of(&[bucket as u8]));
            let name = SectionName::of_bucket(u8::try_from(bucket).unwrap());
            sections.insert(name, Section::from_bytes(bytes.into_bytes()));
        }
        sections
    }

    fn packed() -> Vec<Vec<u8>> {
        let parts = pack(POSITION, &sections(200), 1_000).unwrap();
        assert!(parts.len() > 4);
        parts
    }

    #[test]
    fn what_is_packed_comes_back_from_parts_in_any_order() {
        let (mut parts, wanted) = (packed(), (POSITION, sections(200)));
        assert!(parts.iter().all(|part| part.len() <= 1_000));
        assert_eq!(unpack(&parts).unwrap().as_ref(), Some(&wanted));
        parts.reverse();
        // A Secret that is not needed any more stays, and is empty.
        parts.push(Vec::new());
        assert_eq!(unpack(&parts).unwrap(), Some(wanted));
        assert!(unpack(Vec::<Vec<u8>>::new()).unwrap().is_none());
    }

    #[test]
    fn equal_snapshots_have_equal_parts() {
        assert_eq!(packed(), packed());
    }

    #[test]
    fn what_is_not_whole_is_refused_whole() {
        let parts = packed();
        let other = pack(Position { term: 8, sequence: 1 }, &sections(200), 1_000).unwrap();
        let without_last = parts[..parts.len() - 1].to_vec();
        let twice: Vec<_> = parts.iter().chain(&parts[..1]).cloned().collect();
        let mixed: Vec<_> = parts[..2].iter().chain(&other[2..]).cloned().collect();
        let mut short = parts.clone();
        short[2].pop();
        let mut newer = parts;
        newer[0] = String::from_utf8_lossy(&newer[0][..22]).replace(" 1", " 2").into_bytes();
        newer[0].extend_from_slice(b" 0/1 x\n");
        for (parts, wanted) in [
            (without_last, "parts are there"),
            (twice, "parts are there"),
            (mixed, "of two snapshots"),
            (short, "the hash differs"),
            (newer, "form is 2"),
            (vec![b"something else".to_vec()], "does not begin"),
        ] {
            let error = unpack(&parts).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}: {wanted}");
        }
    }

    #[test]
    fn a_folder_is_read_as_secrets_are_mounted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_folder(folder.path()).unwrap().is_none());
        // As kubelet does it: what is seen are links into a folder that is replaced as a whole.
        fs::create_dir(folder.path().join("..data")).unwrap();
        for (place, part) in packed().into_iter().enumerate() {
            let name = part_name(&ClusterId::new("platform", "c14"), place);
            fs::create_dir(folder.path().join("..data").join(&name)).unwrap();
            fs::write(folder.path().join("..data").join(&name).join(PART_KEY), part).unwrap();
            std::os::unix::fs::symlink(Path::new("..data").join(&name), folder.path().join(name)).unwrap();
        }
        assert_eq!(read_folder(folder.path()).unwrap(), Some((POSITION, sections(200))));
        assert!(read_folder(&folder.path().join("gone")).is_err());
    }

    /// Written by the first version that wrote any. Every later one must read it.
    #[test]
    fn the_first_form_can_be_read() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/1");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&golden).unwrap();
            for (place, part) in pack(POSITION, &sections(3), 200).unwrap().iter().enumerate() {
                fs::write(golden.join(format!("{place:02}")), part).unwrap();
            }
        }
        assert_eq!(read_folder(&golden).unwrap(), Some((POSITION, sections(3))));
    }

    proptest! {
        /// A disk or a person may do what they like to it.
        #[test]
        fn whatever_is_changed_is_refused(place in 0usize..5_000, bit in 0u8..8) {
            let mut parts = packed();
            let length: usize = parts.iter().map(Vec::len).sum();
            let mut place = place % length;
            for part in &mut parts {
                if place < part.len() {
                    part[place] ^= 1 << bit;
                    break;
                }
                place -= part.len();
            }
            prop_assert!(unpack(&parts).is_err());
        }
    }
}
