//! `switchboard explain`: what would become of a call, and why.

use std::{net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use anyhow::anyhow;
use call::{Now, world::World};
use clap::{Args, ValueEnum};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use model::{E164, Key, TrunkId};
use plan::{Plan, PlannedCluster};
use sim::explain::{Explained, Question, explain};

use super::{complain, folder, say, time, warn};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the manifests, one manifest, or `-` for standard input.
    dir: PathBuf,
    /// Number that calls, such as +12125550199; `anonymous` withholds it.
    #[arg(long, value_name = "NUMBER")]
    from: String,
    /// Number that is dialled, such as +18005550100.
    #[arg(long, value_name = "NUMBER")]
    to: String,
    /// Address that the INVITE comes from; without it the first source of each trunk that could deliver the number.
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,
    /// Trunk that the call comes by, as `namespace/name`; without it every trunk of the cluster is looked at.
    #[arg(long, value_name = "NS/NAME")]
    trunk: Option<Key>,
    /// When: RFC 3339 such as 2026-12-25T15:00:00Z, or the local time of the number's tenant such as 2026-12-25T10:00.
    /// Without it: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What was tried, and every path through the flow as a tree.
    Text,
    /// One array of objects; `explanation` is what the edge serves at /api/v1/explanations.
    Json,
}

/// Prints it. Exit code 0: a flow takes the call by every way looked at; 1: it is refused or not heard.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let files = folder::read(&arguments.dir)?;
    let (resources, _) = plan::load(&files);
    let plan = plan::plan(&resources, None, Timestamp::now());
    let errors = plan.problems.iter().filter(|problem| problem.severity == plan::Severity::Error).count();
    if errors > 0 {
        let dir = arguments.dir.display();
        warn(&format!(
            "the folder has {errors} errors, and what is wrong is left out: see `switchboard check {dir}`"
        ));
    }
    let zone = zone(&plan, &arguments.to);
    let at = match arguments.at.as_deref().map(|text| time::parse(text, &zone)) {
        None => Timestamp::now(),
        Some(Ok(at)) => at,
        Some(Err(error)) => return Ok(wrong_use(&error)),
    };
    let question = Question {
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        source: arguments.source,
        trunk: arguments.trunk.clone().map(TrunkId),
    };
    let clusters = match clusters(&plan, &question) {
        Ok(clusters) => clusters,
        Err(error) => return Ok(wrong_use(&error)),
    };
    let mut explained = Vec::new();
    for cluster in clusters {
        let world = World::new(Arc::clone(&cluster.snapshot), call::world::Names::new(), None)?;
        explained.extend(explain(&world, &question, Now { instant: Instant::now(), wall: at }));
    }
    match arguments.format {
        Format::Text => text(&explained, &at.to_zoned(zone)),
        Format::Json => say(&serde_json::to_string_pretty(&explained)?),
    }
    let routed = !explained.is_empty() && explained.iter().all(Explained::is_routed);
    Ok(if routed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wrong_use(error: &anyhow::Error) -> ExitCode {
    complain(error);
    ExitCode::from(2)
}

fn text(explained: &[Explained], at: &Zoned) {
    say(&format!("On {}:", at.strftime("%A %F %H:%M:%S %Q")));
    for one in explained {
        say(&format!("\n{}", one.to_string().trim_end()));
    }
    if explained.is_empty() {
        say(
            "\nNo call can come in: no inbound Trunk that could deliver it admits a source. See its allowlistRefs.",
        );
    }
}

/// The time zone of the number's tenant; UTC where there is none.
fn zone(plan: &Plan, to: &str) -> TimeZone {
    let number = to.parse::<E164>().ok();
    let tenant = number.and_then(|number| Some(plan.numbers(number).next()?.1.id.0.namespace().to_owned()));
    let name = tenant.and_then(|namespace| plan.time_zone(&namespace).map(str::to_owned));
    name.and_then(|name| TimeZone::get(&name).ok()).unwrap_or(TimeZone::UTC)
}

/// Those on which the number is live, if there are any; of a trunk that is named, its own.
fn clusters<'p>(plan: &'p Plan, question: &Question) -> anyhow::Result<Vec<&'p PlannedCluster>> {
    let all: Vec<&PlannedCluster> = plan.clusters.values().collect();
    if let Some(trunk) = &question.trunk {
        let mine: Vec<_> =
            all.into_iter().filter(|cluster| cluster.snapshot.trunks.contains_key(trunk)).collect();
        if mine.is_empty() {
            let known = plan.clusters.values().flat_map(|cluster| cluster.snapshot.trunks.keys());
            let known: Vec<_> = known.map(ToString::to_string).collect();
            return Err(anyhow!("no VoiceCluster has Trunk {trunk}; there are: {}", known.join(", ")));
        }
        return Ok(mine);
    }
    let number = question.to.parse::<E164>().ok();
    let live = |cluster: &&PlannedCluster| {
        let trunks = cluster.snapshot.trunks.keys();
        number
            .is_some_and(|number| trunks.into_iter().any(|id| cluster.snapshot.number(id, number).is_some()))
    };
    let living: Vec<_> = all.iter().copied().filter(live).collect();
    Ok(if living.is_empty() { all } else { living })
}
