//! `switchboard diagram`: a flow, or what leads where, as a picture.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use model::Key;
use plan::{Notation, Plan};

use super::{complain, folder, say};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the manifests.
    dir: PathBuf,
    /// Draws this flow, `namespace/name`, or its name alone if only one namespace has it. Without it: trunks, numbers,
    /// flows and the trunks that they dial.
    #[arg(long, value_name = "[NS/]NAME")]
    flow: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// File to write to; without it, it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture for browsers and documents, light and dark by the reader's preference.
    Svg,
    /// Text that Git hosts and wikis draw.
    Mermaid,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let files = folder::read(&arguments.dir)?;
    let (resources, _) = plan::load(&files);
    let plan = plan::plan(&resources, None, Timestamp::now());
    let notation = match arguments.format {
        Format::Svg => Notation::Svg,
        Format::Mermaid => Notation::Mermaid,
    };
    let text = match &arguments.flow {
        None => plan.topology_diagram(notation)?,
        Some(name) => match flow(&plan, name) {
            Ok(key) => plan.flow_diagram(&key, notation)?,
            Err(error) => {
                complain(&error);
                return Ok(ExitCode::from(2));
            }
        },
    };
    match &arguments.out {
        None => say(text.trim_end()),
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The flow of that name.
fn flow(plan: &Plan, name: &str) -> anyhow::Result<Key> {
    let named = |key: &&Key| key.as_str() == name || key.name() == name;
    let found: Vec<&Key> = plan.flows().filter(named).collect();
    let list = |keys: &[&Key]| keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let known: Vec<&Key> = plan.flows().collect();
            Err(anyhow!("no RoutingFlow {name} can be used; there are: {}", list(&known)))
        }
        several => Err(anyhow!("several namespaces have a RoutingFlow {name}: say one of {}", list(several))),
    }
}
