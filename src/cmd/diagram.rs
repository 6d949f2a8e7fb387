//! `switchboard diagram`: a flow, or what leads where, as a picture.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use model::Key;
use plan::{NoDiagram, Notation, Plan};

use super::{complain, folder, say};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the manifests, one manifest, or `-` for standard input.
    dir: PathBuf,
    /// Draws this flow, `namespace/name`, or its name alone if only one namespace has it. Without it: carriers, points of
    /// presence, trunks, numbers, flows, queues and agents.
    #[arg(long, value_name = "[NS/]NAME")]
    flow: Option<String>,
    /// Draws what one tenant has and what leads to it; with `--flow`, the flow of that namespace.
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
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
    let namespace = arguments.namespace.as_deref();
    let drawn = match &arguments.flow {
        None => plan.topology_diagram(&resources, namespace, notation).map_err(Into::into),
        Some(name) => flow(&plan, namespace, name).and_then(|key| Ok(plan.flow_diagram(&key, notation)?)),
    };
    let text = match drawn {
        Ok(text) => text,
        Err(error) => {
            complain(&error);
            return Ok(ExitCode::from(if is_misnamed(&error) { 2 } else { 1 }));
        }
    };
    match &arguments.out {
        None => say(text.trim_end()),
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether it was asked for something that is not there: wrong use, not a bad folder.
fn is_misnamed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<NoDiagram>()
        .is_none_or(|error| matches!(error, NoDiagram::NoNamespace { .. } | NoDiagram::NoFlow(_)))
}

/// The flow of that name.
fn flow(plan: &Plan, namespace: Option<&str>, name: &str) -> anyhow::Result<Key> {
    let of = |key: &Key| namespace.is_none_or(|namespace| key.namespace() == namespace);
    let named = |key: &&Key| of(key) && (key.as_str() == name || key.name() == name);
    let found: Vec<&Key> = plan.flows().filter(named).collect();
    let list = |keys: &[&Key]| keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let known: Vec<&Key> = plan.flows().filter(|key| of(key)).collect();
            Err(anyhow!("no RoutingFlow {name} can be used; there are: {}", list(&known)))
        }
        several => Err(anyhow!("several namespaces have a RoutingFlow {name}: say one of {}", list(several))),
    }
}
