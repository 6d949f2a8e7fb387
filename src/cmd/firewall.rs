//! `switchboard firewall`: what a customer's firewall must let through, and carriers' ranges as Allowlists.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use plan::firewall::{self, Published};

use super::{complain, folder, say, warn};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Folder with the manifests, one manifest, or `-` for standard input.
    #[arg(required = true)]
    dir: Option<PathBuf>,
    /// The VoiceCluster, by its code.
    #[arg(long, value_name = "CODE", required = true)]
    cluster: Option<String>,
    /// One tenant's trunks alone; without it those of every namespace but the cluster's own.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes an Allowlist of the address ranges that a carrier publishes.
    Import(Import),
}

#[derive(Debug, Args)]
struct Import {
    /// What the carrier publishes.
    file: PathBuf,
    /// CSV with the columns cidr[,validFrom,validUntil,comment], or a JSON list of such objects or of plain ranges.
    #[arg(long, value_enum)]
    format: PublishedFormat,
    /// Name of the Allowlist.
    #[arg(long, value_parser = name)]
    name: String,
    /// Its namespace; without it the manifest names none.
    #[arg(long, value_parser = name)]
    namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table.
    Text,
    /// Comma-separated values with a header.
    Csv,
    /// A list of objects.
    Json,
    /// A ruleset for `nft -f`.
    Nftables,
    /// A list of objects to go through with for_each.
    Terraform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PublishedFormat {
    Csv,
    Json,
}

/// What an object may be called.
fn name(text: &str) -> Result<String, String> {
    let good = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let ends = |text: &str| !text.starts_with('-') && !text.ends_with('-');
    if (1..=63).contains(&text.len()) && text.chars().all(good) && ends(text) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 63 of a-z, 0-9 and `-`, such as `carrier`".into())
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match (&arguments.verb, &arguments.dir, &arguments.cluster) {
        (Some(Verb::Import(arguments)), _, _) => import(arguments),
        (None, Some(dir), Some(cluster)) => rules(arguments, dir, cluster),
        (None, _, _) => Err(anyhow!("say a folder and --cluster, or `import`")),
    }
}

fn rules(arguments: &Arguments, dir: &std::path::Path, cluster: &str) -> anyhow::Result<ExitCode> {
    let files = folder::read(dir)?;
    let (resources, _) = plan::load(&files);
    let plan = plan::plan(&resources, None, Timestamp::now());
    let found = plan.cluster(cluster);
    let rules = found.and_then(|(id, _)| plan.firewall(id, arguments.namespace.as_deref()));
    let (Some((_, found)), Some(rules)) = (found, rules) else {
        let known: Vec<_> = plan.clusters.values().map(|one| one.snapshot.cluster.code.as_str()).collect();
        complain(&anyhow!("no VoiceCluster {cluster} can be used; there are: {}", known.join(", ")));
        return Ok(ExitCode::from(2));
    };
    let format = match arguments.format {
        Format::Text => firewall::Format::Text,
        Format::Csv => firewall::Format::Csv,
        Format::Json => firewall::Format::Json,
        Format::Nftables => firewall::Format::Nftables,
        Format::Terraform => firewall::Format::Terraform,
    };
    say(format.write(&found.snapshot.cluster.code, &rules).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn import(arguments: &Import) -> anyhow::Result<ExitCode> {
    let file = arguments.file.display();
    let bytes = fs::read(&arguments.file).with_context(|| format!("cannot read {file}"))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{file} must be UTF-8 text"))?;
    let published = match arguments.format {
        PublishedFormat::Csv => Published::Csv,
        PublishedFormat::Json => Published::Json,
    };
    match firewall::import(&text, published, &arguments.name, arguments.namespace.as_deref()) {
        Ok(manifest) => {
            say(manifest.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            errors.iter().for_each(|error| warn(&format!("{file}: {error}")));
            Ok(ExitCode::FAILURE)
        }
    }
}
