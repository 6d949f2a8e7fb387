//! Reads a folder of manifests and the audio beside them, one manifest, or what comes by standard input.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use plan::{FILE_MAX, Location, Problem, Reason, Severity, SourceFile};

/// Files that one folder may hold.
const FILES_MAX: usize = 10_000;

/// Bytes that are read of a folder in all.
const BYTES_MAX: u64 = 1 << 30;

/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 64;

/// What a place holds.
#[derive(Debug, Default)]
pub struct Scan {
    /// Sorted by path.
    pub files: Vec<SourceFile>,
    /// What looks like a manifest but cannot be read: the objects in it are missing.
    pub unreadable: Vec<Problem>,
}

/// Every manifest (`.yaml`, `.yml`, `.json`) and audio file (`.wav`, `.opus`, `.ogg`, `.mp3`) below a folder; one manifest; or standard input
/// for `-`. What cannot be read is an error that names all of it.
pub fn read(place: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let Scan { files, unreadable } = scan(place)?;
    if unreadable.is_empty() {
        return Ok(files);
    }
    let lines: Vec<String> = unreadable.iter().map(ToString::to_string).collect();
    bail!("cannot read all of {}:\n{}", place.display(), lines.join("\n"))
}

/// The same by their paths below the place: the same file of two places has one path.
pub fn read_below(place: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = read(place)?;
    for file in &mut files {
        // One manifest by itself keeps its name.
        if let Ok(path) = Path::new(&file.path).strip_prefix(place)
            && path.file_name().is_some()
        {
            file.path = path.display().to_string();
        }
    }
    Ok(files)
}

/// As [`read`], with what cannot be read told apart. Hidden files and folders are passed over; a folder reached twice by
/// links is read once, by its own path if that is in the folder.
pub fn scan(place: &Path) -> anyhow::Result<Scan> {
    let mut reader = Reader { place: place.display().to_string(), ..Reader::default() };
    if place == Path::new("-") {
        reader.stdin()?;
        return Ok(reader.scan);
    }
    let about = || format!("cannot read {}", place.display());
    let kind = fs::metadata(place).with_context(about)?;
    if kind.is_dir() {
        fs::read_dir(place).with_context(about)?;
        reader.folder(place, 0)?;
        while let Some((link, depth)) = reader.links.pop_first() {
            reader.folder(&link, depth)?;
        }
        // A wrong path must not pass for a folder without problems.
        if reader.scan.unreadable.is_empty() && !reader.scan.files.iter().any(is_manifest) {
            bail!("{} holds no manifest (.yaml, .yml or .json)", place.display());
        }
    } else if is_source(place) {
        reader.file(place, &kind)?;
    } else {
        bail!("{} is no manifest (.yaml, .yml or .json) and no folder", place.display());
    }
    let Scan { files, unreadable } = &mut reader.scan;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    unreadable.sort();
    Ok(reader.scan)
}

/// How much one place may hold.
pub fn bound(place: &str, files: usize, bytes: u64) -> anyhow::Result<()> {
    if files > FILES_MAX {
        bail!("{place} holds more than {FILES_MAX} manifests and audio files");
    }
    if bytes > BYTES_MAX {
        bail!("{place} holds more than {BYTES_MAX} bytes of manifests and audio");
    }
    Ok(())
}

#[derive(Default)]
struct Reader {
    place: String,
    scan: Scan,
    seen: BTreeSet<PathBuf>,
    /// Links to folders, with their depths: read last, so that a folder keeps its own path.
    links: BTreeSet<(PathBuf, usize)>,
    bytes: u64,
}

impl Reader {
    fn stdin(&mut self) -> anyhow::Result<()> {
        let mut content = Vec::new();
        let most = FILE_MAX as u64 + 1;
        io::stdin().lock().take(most).read_to_end(&mut content).context("cannot read standard input")?;
        // Whatever should have written to it has failed.
        if content.iter().all(u8::is_ascii_whitespace) {
            bail!("standard input is empty");
        }
        self.scan.files.push(SourceFile { path: "-".into(), bytes: Arc::from(content) });
        Ok(())
    }

    fn folder(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        if depth > DEPTH_MAX {
            self.unreadable(
                folder,
                format!("Folders may nest {DEPTH_MAX} deep; this one is not looked into."),
            );
            return Ok(());
        }
        let listed = fs::canonicalize(folder).and_then(|path| Ok((path, fs::read_dir(folder)?)));
        let (path, entries) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.unreadable(folder, format!("The folder cannot be read: {error}."));
                return Ok(());
            }
        };
        if !self.seen.insert(path) {
            return Ok(());
        }
        let about = || format!("cannot read the folder {}", folder.display());
        let entries = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        let mut paths = entries.with_context(about)?;
        paths.sort();
        let hidden =
            |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        for path in paths.iter().filter(|path| !hidden(path)) {
            self.entry(path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, depth: usize) -> anyhow::Result<()> {
        // A link to nowhere may have led to a folder, if its name is not that of some other file.
        let matters = is_source(path) || path.extension().is_none();
        match fs::metadata(path) {
            Ok(kind) if kind.is_dir() && path.is_symlink() => {
                self.links.insert((path.to_owned(), depth + 1));
                Ok(())
            }
            Ok(kind) if kind.is_dir() => self.folder(path, depth + 1),
            Ok(kind) if is_source(path) => self.file(path, &kind),
            Ok(_) => Ok(()),
            Err(error) if matters => {
                self.unresolved(path, &error);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn unresolved(&mut self, path: &Path, error: &io::Error) {
        let missing = error.kind() == io::ErrorKind::NotFound;
        match fs::read_link(path) {
            Ok(target) if missing => {
                let message =
                    format!("This is a link to {}, which is not there; mend or remove it.", target.display());
                self.unreadable(path, message);
            }
            // It may be gone again between listing and reading.
            Err(_) if missing => {}
            _ => self.unreadable(path, format!("The file cannot be read: {error}.")),
        }
    }

    fn file(&mut self, path: &Path, kind: &Metadata) -> anyhow::Result<()> {
        if !kind.is_file() {
            let message = format!("This is {}; a manifest must be a file.", what(kind));
            self.unreadable(path, message);
            return Ok(());
        }
        let most = if is_audio(path) { BYTES_MAX } else { FILE_MAX as u64 };
        if kind.len() > most {
            let message = format!("The file has {} bytes; it may have at most {most}. Split it.", kind.len());
            self.unreadable(path, message);
            return Ok(());
        }
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut content));
        match read {
            Ok(_) => {
                self.bytes += content.len() as u64;
                bound(&self.place, self.scan.files.len() + 1, self.bytes)?;
                let path = path.display().to_string();
                self.scan.files.push(SourceFile { path, bytes: Arc::from(content) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable(path, format!("The file cannot be read: {error}.")),
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &Path, message: String) {
        self.scan.unreadable.push(Problem {
            at: Location { file: path.display().to_string().into(), line: 1, column: 1 },
            severity: Severity::Error,
            reason: Reason::UnreadableFile,
            object: None,
            field: String::new(),
            message,
        });
    }
}

fn what(kind: &Metadata) -> &'static str {
    let kind = kind.file_type();
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn is_manifest(file: &SourceFile) -> bool {
    !is_audio(Path::new(&file.path))
}

/// Whether a path is an audio file's, by its name.
pub fn is_audio(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["wav", "opus", "ogg", "mp3"].iter().any(|known| extension == *known))
}

/// Whether a path is one that [`read`] looks at, by its name.
pub fn is_source(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        || is_audio(path)
        || path.file_name().is_some_and(|name| name == "Kustomization")
}

/// Whether an event can have changed what [`read`] reads.
pub fn matters(event: &notify::Event) -> bool {
    // Reading the folder is itself an event, and what is no manifest is nobody's business; a folder may hold some.
    let matters = |path: &PathBuf| is_source(path) || path.extension().is_none();
    !event.kind.is_access() && event.paths.iter().any(matters)
}
