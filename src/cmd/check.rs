//! `switchboard check`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use plan::{Problem, Severity};
use serde_json::{Value, json};

use super::{
    folder::{self, Scan},
    say,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the manifests, one manifest, or `-` for standard input.
    dir: PathBuf,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line each.
    Text,
    /// One array of objects.
    Json,
    /// SARIF 2.1.0, for code review.
    Sarif,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Scan { files, unreadable } = folder::scan(&arguments.dir)?;
    let mut problems = plan::check(&files, Timestamp::now());
    problems.extend(unreadable);
    problems.sort();
    match arguments.format {
        Format::Text => problems.iter().for_each(|problem| say(&problem.to_string())),
        Format::Json => say(&serde_json::to_string_pretty(&problems)?),
        Format::Sarif => say(&serde_json::to_string_pretty(&sarif(&problems))?),
    }
    let bad = problems.iter().any(|problem| problem.severity == Severity::Error);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// SARIF 2.1.0 (OASIS), as code-review tools read it.
fn sarif(problems: &[Problem]) -> Value {
    let results = problems.iter().map(|problem| {
        let level = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        json!({
            "ruleId": problem.reason.as_str(),
            "level": level,
            "message": {"text": problem.message},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": &*problem.at.file},
                "region": {"startLine": problem.at.line.max(1), "startColumn": problem.at.column.max(1)},
            }}],
        })
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "switchboard check", "version": env!("CARGO_PKG_VERSION")}},
            "results": results.collect::<Vec<_>>(),
        }],
    })
}
