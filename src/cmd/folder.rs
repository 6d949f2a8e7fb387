//! Reads a folder of manifests and the audio beside them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use plan::SourceFile;

/// Files that one folder may hold.
const FILES_MAX: usize = 10_000;

/// Bytes that are read of a folder in all.
const BYTES_MAX: u64 = 1 << 30;

/// Every manifest (`.yaml`, `.yml`, `.json`) and audio file (`.wav`) below `folder`, sorted by path. Hidden folders
/// are passed over; a folder reached twice by links is read once.
pub fn read(folder: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let about = || format!("cannot read {}", folder.display());
    if fs::metadata(folder).with_context(about)?.is_file() {
        bail!("{} is a file: name the folder that holds the manifests", folder.display());
    }
    let mut paths = Vec::new();
    walk(folder, &mut BTreeSet::new(), &mut paths)?;
    paths.sort();
    // A wrong path must not pass for a folder without problems.
    if !paths.iter().any(|path| path.extension().is_some_and(|extension| extension != "wav")) {
        bail!("{} holds no manifest (.yaml, .yml or .json)", folder.display());
    }
    let mut bytes = 0;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bytes += content.len() as u64;
        bound(&folder.display().to_string(), files.len(), bytes)?;
        files.push(SourceFile { path: path.display().to_string(), bytes: Arc::from(content) });
    }
    Ok(files)
}

/// The same by their paths below the folder: the same file of two places has one path.
pub fn read_below(folder: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = read(folder)?;
    for file in &mut files {
        if let Ok(path) = Path::new(&file.path).strip_prefix(folder) {
            file.path = path.display().to_string();
        }
    }
    Ok(files)
}

/// How much one folder may hold.
pub fn bound(folder: &str, files: usize, bytes: u64) -> anyhow::Result<()> {
    if files > FILES_MAX {
        bail!("{folder} holds more than {FILES_MAX} manifests and audio files");
    }
    if bytes > BYTES_MAX {
        bail!("{folder} holds more than {BYTES_MAX} bytes of manifests and audio");
    }
    Ok(())
}

fn walk(folder: &Path, seen: &mut BTreeSet<PathBuf>, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let about = || format!("cannot read the folder {}", folder.display());
    if !seen.insert(fs::canonicalize(folder).with_context(about)?) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(about)? {
        let path = entry.with_context(about)?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        // A link to nowhere is no manifest; a file may be gone again between listing and reading.
        let kind = match fs::metadata(&path) {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if kind.is_dir() {
            walk(&path, seen, paths)?;
        } else if is_source(&path) {
            paths.push(path);
        }
        bound(&folder.display().to_string(), paths.len(), 0)?;
    }
    Ok(())
}

/// Whether a path is one that [`read`] looks at, by its name.
pub fn is_source(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["yaml", "yml", "json", "wav"].iter().any(|known| extension == *known))
}
