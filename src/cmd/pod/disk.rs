//! What a pod keeps on its disk: the last good snapshot, the files of its prompts, and who was alive.
//!
//! Each file is written whole beside the old one and moved over it. What is read is verified by its hash; what a crash left
//! half written is as good as nothing. Values of Secrets are never written.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use link::{
    config::{PodName, Position, State, Topology, TopologyPod},
    identity::Role,
    stored,
};
use model::{
    AudioId,
    section::{Digest, Sections},
};
use serde_json::{Value, json};
use tracing::warn;

use crate::cmd::roles::Blobs;

/// Pods that are read back.
const PODS_MAX: usize = 1_024;

/// A folder for it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// Who was alive, as it was written last.
    topology: String,
}

/// A snapshot that was kept, and where.
#[derive(Debug, Clone)]
pub struct Kept {
    pub position: Position,
    pub sections: Arc<Sections>,
    pub origin: PathBuf,
}

impl Disk {
    /// Makes the folder.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let made = fs::create_dir_all(folder.join("blobs"))
            .and_then(|()| fs::create_dir_all(folder.join("snapshot")));
        made.with_context(|| format!("--state cannot use {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), topology: String::new() })
    }

    /// The snapshots that were kept here and in the folder of the stored copy, the newest first. Of what cannot be used
    /// nothing is.
    pub fn snapshots(&self, stored: Option<&Path>) -> Vec<Kept> {
        let own = self.folder.join("snapshot");
        let mut kept: Vec<Kept> = [Some(own.as_path()), stored]
            .into_iter()
            .flatten()
            .filter_map(|folder| match stored::read_folder(folder) {
                Ok(found) => {
                    let (position, sections) = found?;
                    Some(Kept { position, sections: Arc::new(sections), origin: folder.to_owned() })
                }
                Err(error) => {
                    warn!("the snapshot in {} cannot be used: {error}", folder.display());
                    None
                }
            })
            .collect();
        // Of two that are equal, our own.
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.position));
        kept
    }

    /// The files of prompts that were kept.
    pub fn blobs(&self) -> Blobs {
        let entries = fs::read_dir(self.blobs_folder()).into_iter().flatten().flatten();
        let blob = |entry: fs::DirEntry| {
            let id: AudioId = entry.file_name().to_str()?.parse().ok()?;
            let bytes = fs::read(entry.path()).ok()?;
            if *Digest::of(&bytes).as_bytes() != id.0 {
                warn!("{} is not what was written, and is not used", entry.path().display());
                return None;
            }
            Some((id, bytes.into()))
        };
        entries.filter_map(blob).collect()
    }

    /// Keeps a snapshot with its prompts, and no others.
    pub fn keep(&self, position: Position, sections: &Sections, blobs: &Blobs) -> anyhow::Result<()> {
        for (id, bytes) in blobs {
            let path = self.blobs_folder().join(id.to_string());
            if !path.exists() {
                write(&path, bytes)?;
            }
        }
        let parts = stored::pack(position, sections, usize::MAX)?;
        write(&self.folder.join("snapshot").join(stored::PART_KEY), &parts.concat())?;
        for entry in fs::read_dir(self.blobs_folder())?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<AudioId>().ok());
            if id.is_none_or(|id| !blobs.contains_key(&id)) {
                fs::remove_file(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    /// Keeps who can be reached, for a start without an operator.
    pub fn keep_topology(&mut self, topology: &Topology) -> anyhow::Result<()> {
        let pods: Vec<Value> = topology
            .pods
            .iter()
            .map(|TopologyPod { role, pod, state }| {
                json!({
                    "role": role.as_str(), "name": pod.name, "instance": pod.instance, "link": state.link,
                    "capacity": state.capacity, "zone": state.zone, "draining": state.draining, "ready": state.ready,
                })
            })
            .collect();
        let topology = json!({"pods": pods}).to_string();
        if self.topology != topology {
            write(&self.folder.join("topology"), topology.as_bytes())?;
            self.topology = topology;
        }
        Ok(())
    }

    /// Who could be reached when that was kept. How loaded they are now is not known.
    pub fn topology(&self) -> Option<Topology> {
        let bytes = fs::read(self.folder.join("topology")).ok()?;
        let read: Value = serde_json::from_slice(&bytes).ok()?;
        let pod = |pod: &Value| {
            let text = |name: &str| pod.get(name).and_then(Value::as_str);
            let is = |name: &str| pod.get(name).and_then(Value::as_bool).unwrap_or_default();
            let capacity = pod.get("capacity").and_then(Value::as_u64).unwrap_or_default();
            let state = State {
                ready: is("ready"),
                draining: is("draining"),
                capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
                link: text("link").and_then(|link| link.parse::<SocketAddr>().ok()),
                zone: text("zone").unwrap_or_default().to_owned(),
                ..State::default()
            };
            let role: Role = text("role")?.parse().ok()?;
            Some(TopologyPod { role, pod: PodName::new(text("name")?, text("instance")?), state })
        };
        let pods = read.get("pods")?.as_array()?.iter().take(PODS_MAX).filter_map(pod);
        Some(Topology { pods: pods.collect() })
    }

    fn blobs_folder(&self) -> PathBuf {
        self.folder.join("blobs")
    }
}

/// Whole, or not at all.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    // Two dots: who reads the folder passes it over.
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = path.with_file_name(format!("..{name}.new"));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use model::section::{Section, SectionName};

    use super::*;

    fn sections(text: &str) -> Sections {
        let mut sections = Sections::default();
        sections.insert(SectionName::cluster(), Section::from_bytes(text.as_bytes().to_vec()));
        sections
    }

    fn at(term: u64, sequence: u64) -> Position {
        Position { term, sequence }
    }

    fn blob(text: &str) -> (AudioId, Arc<[u8]>) {
        (AudioId(*Digest::of(text.as_bytes()).as_bytes()), text.as_bytes().into())
    }

    #[test]
    fn the_newer_of_the_own_and_the_stored_snapshot_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, other) = (
            Disk::open(&folder.path().join("state")).unwrap(),
            Disk::open(&folder.path().join("other")).unwrap(),
        );
        let stored = folder.path().join("other/snapshot");
        let found = |stored| disk.snapshots(stored).iter().map(|kept| kept.position).collect::<Vec<_>>();
        assert_eq!(found(Some(stored.as_path())), []);
        disk.keep(at(2, 1), &sections("a"), &Blobs::new()).unwrap();
        other.keep(at(1, 9), &sections("b"), &Blobs::new()).unwrap();
        assert_eq!(found(Some(&stored)), [at(2, 1), at(1, 9)]);
        other.keep(at(2, 2), &sections("b"), &Blobs::new()).unwrap();
        assert_eq!(found(Some(&stored)), [at(2, 2), at(2, 1)]);
        assert_eq!(found(None), [at(2, 1)]);
        // What somebody cut short is as good as nothing.
        let path = stored.join("part");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(found(Some(&stored)), [at(2, 1)]);
        assert_eq!(found(Some(&folder.path().join("gone"))), [at(2, 1)]);
    }

    #[test]
    fn prompts_are_kept_with_their_snapshot_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let (one, two) = (blob("one"), blob("two"));
        disk.keep(at(1, 1), &sections("a"), &Blobs::from([one.clone(), two.clone()])).unwrap();
        assert_eq!(disk.blobs(), Blobs::from([one, two.clone()]));
        disk.keep(at(1, 2), &sections("a"), &Blobs::from([two.clone()])).unwrap();
        assert_eq!(disk.blobs(), Blobs::from([two.clone()]));
        fs::write(folder.path().join("blobs").join(two.0.to_string()), "three").unwrap();
        assert_eq!(disk.blobs(), Blobs::new());
    }

    #[test]
    fn who_was_alive_is_read_as_it_was_kept_but_for_the_load() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(folder.path()).unwrap();
        assert_eq!(disk.topology(), None);
        let state = State {
            ready: true,
            capacity: 500,
            link: Some(([192, 0, 2, 7], 7_000).into()),
            zone: "a".into(),
            ..State::default()
        };
        let pod = |calls| TopologyPod {
            role: Role::Media,
            pod: PodName::new("c14-media-0", "1"),
            state: State { calls, ..state.clone() },
        };
        disk.keep_topology(&Topology { pods: vec![pod(7)] }).unwrap();
        assert_eq!(disk.topology(), Some(Topology { pods: vec![pod(0)] }));
        fs::write(folder.path().join("topology"), "{").unwrap();
        assert_eq!(disk.topology(), None);
    }
}
