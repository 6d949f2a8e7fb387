//! Reads the files of a folder as they stood in a Git revision, with `git` as a process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use plan::SourceFile;

use super::{folder, warn};

/// Bytes of a tree's listing that are read.
const LISTING_MAX: u64 = 64 << 20;

/// Modes of a tree's entries (gitformat-index).
const FILE: &str = "100";
const LINK: &str = "120000";
const SUBMODULE: &str = "160000";

/// A folder in a revision, such as `main:tenants/acme`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    revision: String,
    path: String,
}

/// A file of a tree.
struct Entry {
    id: String,
    path: String,
}

impl Revision {
    /// `REV:PATH`; without a PATH the whole repository.
    pub fn parse(text: &str) -> Option<Self> {
        let (revision, path) = text.split_once(':')?;
        let path = path.trim_end_matches('/');
        // Git takes `./` for the folder that we are in, but not `.`.
        let path = if path == "." { "./" } else { path };
        (!revision.is_empty()).then(|| Self { revision: revision.into(), path: path.into() })
    }

    /// The same files that [`folder::read`] would take of it, by their paths below it, sorted.
    pub fn read(&self) -> anyhow::Result<Vec<SourceFile>> {
        let tree = self.tree()?;
        let entries = self.list(&tree)?;
        if !entries.iter().any(|entry| !folder::is_audio(Path::new(&entry.path))) {
            bail!("{self} holds no manifest (.yaml, .yml or .json)");
        }
        let mut files = self.contents(&tree, &entries)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Id of the folder's tree.
    fn tree(&self) -> anyhow::Result<String> {
        ask(&["rev-parse", "--git-dir"]).map_err(|error| {
            anyhow!("{self} names a Git revision, but this folder is in no repository, and there is no folder of that name: {error:#}")
        })?;
        let commit = format!("{}^{{commit}}", self.revision);
        ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).map_err(|_| {
            anyhow!(
                "there is no Git revision `{}`: name a branch, a tag or a commit (see `git log`)",
                self.revision
            )
        })?;
        let named = format!("{}:{}", self.revision, self.path);
        let tree = ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &named]).map_err(|_| {
            anyhow!(
                "Git revision `{}` has no folder `{}`; paths count from the repository's root, or from here with ./ before them",
                self.revision,
                self.path
            )
        })?;
        if ask(&["cat-file", "-t", &tree])? != "tree" {
            bail!("{self} is a file: name the folder that holds the manifests");
        }
        Ok(tree)
    }

    fn list(&self, tree: &str) -> anyhow::Result<Vec<Entry>> {
        let mut git = start(&["ls-tree", "-r", "-z", "-l", "--full-tree", tree], Stdio::null())?;
        let mut listing = Vec::new();
        let output = git.stdout.take().context("git has no output")?;
        output.take(LISTING_MAX + 1).read_to_end(&mut listing).context("cannot read from git")?;
        if listing.len() as u64 > LISTING_MAX {
            let _ = git.kill();
            let _ = git.wait();
            bail!("{self} holds too many files; name the folder that holds the manifests");
        }
        finish(git, "ls-tree")?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((mode, id, size, path)) = fields(line) else { bail!("git ls-tree says `{line}`") };
            if path.split('/').any(|part| part.starts_with('.')) {
                continue;
            }
            if mode == SUBMODULE {
                warn(&format!("{self}: the submodule {path} is passed over"));
            }
            if !folder::is_source(Path::new(path)) || !(mode.starts_with(FILE) || mode == LINK) {
                continue;
            }
            bytes += size;
            entries
                .push(Entry { id: if mode == LINK { String::new() } else { id.into() }, path: path.into() });
        }
        folder::bound(&self.to_string(), entries.len(), bytes)?;
        Ok(entries)
    }

    /// Links are followed within the tree. One that leads out of it or to nowhere is told: a manifest may be missing.
    fn contents(&self, tree: &str, entries: &[Entry]) -> anyhow::Result<Vec<SourceFile>> {
        let mut git = start(&["cat-file", "--batch", "--follow-symlinks"], Stdio::piped())?;
        let mut input = git.stdin.take().context("git has no input")?;
        let mut output = BufReader::new(git.stdout.take().context("git has no output")?);
        let mut files = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for entry in entries {
            let name = if entry.id.is_empty() { format!("{tree}:{}", entry.path) } else { entry.id.clone() };
            if name.contains('\n') {
                continue;
            }
            writeln!(input, "{name}").and_then(|()| input.flush()).context("cannot write to git")?;
            let Some(size) = answer(&mut output)? else {
                bail!(
                    "{self}: {} is a link that leads to no file of this revision; mend or remove it",
                    entry.path
                );
            };
            bytes += size;
            folder::bound(&self.to_string(), entries.len(), bytes)?;
            let mut content = vec![0; usize::try_from(size)?];
            output.read_exact(&mut content).context("cannot read from git")?;
            output.read_exact(&mut [0]).context("cannot read from git")?;
            files.push(SourceFile { path: entry.path.clone(), bytes: Arc::from(content) });
        }
        drop(input);
        drop(output);
        finish(git, "cat-file")?;
        Ok(files)
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.revision, self.path)
    }
}

/// `MODE TYPE ID SIZE\tPATH` (git-ls-tree).
fn fields(line: &str) -> Option<(&str, &str, u64, &str)> {
    let (head, path) = line.split_once('\t')?;
    let mut words = head.split_ascii_whitespace();
    let (mode, _, id, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((mode, id, size.parse().unwrap_or_default(), path))
}

/// Size of the blob that follows. None: there is none, or it is none (git-cat-file, batch output).
fn answer(output: &mut impl BufRead) -> anyhow::Result<Option<u64>> {
    let mut line = String::new();
    output.by_ref().take(8_192).read_line(&mut line).context("cannot read from git")?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        [_, "blob", size] => {
            Ok(Some(size.parse().with_context(|| format!("git cat-file says `{}`", line.trim()))?))
        }
        // A link that leads nowhere or out of the tree: its own text follows.
        ["dangling" | "symlink" | "loop" | "notdir", size] => {
            let size: u64 = size.parse().with_context(|| format!("git cat-file says `{}`", line.trim()))?;
            std::io::copy(&mut output.take(size + 1), &mut std::io::sink())
                .context("cannot read from git")?;
            Ok(None)
        }
        [_, "missing"] => Ok(None),
        [_, "tree", size] => {
            let size: u64 = size.parse().with_context(|| format!("git cat-file says `{}`", line.trim()))?;
            std::io::copy(&mut output.take(size + 1), &mut std::io::sink())
                .context("cannot read from git")?;
            Ok(None)
        }
        _ => bail!("git cat-file says `{}`", line.trim()),
    }
}

fn start(arguments: &[&str], input: Stdio) -> anyhow::Result<Child> {
    let mut command = Command::new("git");
    command.args(arguments).env("LC_ALL", "C").stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return anyhow!("git is not installed, and a revision cannot be read without it");
        }
        anyhow!("git cannot be started: {error}")
    })
}

/// What git answers in one line.
fn ask(arguments: &[&str]) -> anyhow::Result<String> {
    let output = start(arguments, Stdio::null())?.wait_with_output().context("git cannot be waited for")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn finish(git: Child, what: &str) -> anyhow::Result<()> {
    let output = git.wait_with_output().context("git cannot be waited for")?;
    if !output.status.success() {
        bail!("git {what} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_and_a_path_are_told_apart_by_the_first_colon() {
        let of = |text: &str| Revision::parse(text).map(|found| (found.revision, found.path));
        for (text, wanted) in [
            ("main:tenants/acme", Some(("main", "tenants/acme"))),
            ("main:tenants/acme/", Some(("main", "tenants/acme"))),
            ("HEAD~1:", Some(("HEAD~1", ""))),
            ("HEAD:.", Some(("HEAD", "./"))),
            ("v1:a:b", Some(("v1", "a:b"))),
            (":tenants", None),
            ("tenants/acme", None),
        ] {
            let wanted = wanted.map(|(revision, path): (&str, &str)| (revision.to_owned(), path.to_owned()));
            assert_eq!(of(text), wanted, "{text}");
        }
    }
}
