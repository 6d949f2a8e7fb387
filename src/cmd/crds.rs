//! `switchboard crds`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;

use super::say;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder to write one file per kind to; without it they are printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(folder) = &arguments.out else {
        for (_, text) in api::crds() {
            say(&format!("---\n{}", text.trim_end()));
        }
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, text) in api::crds() {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
