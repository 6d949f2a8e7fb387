//! The last good form of a folder's objects, kept on disk by `local --state`.
//!
//! Written whole beside the old one and moved over it, with a hash that is verified when it is read: what a crash left
//! half written is as good as nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use plan::Plan;
use tracing::warn;

/// A folder for it.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
}

impl State {
    /// Makes the folder.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("--state cannot use {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// What was kept. None, with a warning, if it cannot be used.
    pub fn load(&self) -> Option<Plan> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!("{} cannot be read, and no last good form is known: {error}", path.display());
                return None;
            }
        };
        let plan = Plan::from_stored(&bytes);
        if let Err(error) = &plan {
            warn!("{} cannot be used, and no last good form is known: {error}", path.display());
        }
        plan.ok()
    }

    /// Keeps a plan.
    pub fn keep(&self, plan: &Plan) -> anyhow::Result<()> {
        let (path, beside) = (self.path(), self.folder.join("plan.new"));
        let about = || format!("cannot write {}", beside.display());
        fs::write(&beside, plan.to_stored()?).with_context(about)?;
        fs::rename(&beside, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("plan")
    }
}
