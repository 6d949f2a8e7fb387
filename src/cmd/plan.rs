//! `switchboard plan OLD NEW`: which calls change.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::anyhow;
use call::{
    Now,
    world::{Names, World},
};
use clap::{Args, ValueEnum};
use jiff::{Timestamp, tz::TimeZone};
use plan::{Plan, Severity, SourceFile};
use serde_json::json;
use sim::changes::{self, Changes, Glob, Group, Side};

use super::{complain, folder, revision::Revision, say, time, warn};

/// What `--help` ends with.
const HELP: &str = "\
A call changes if contact, callee or carrier could notice: numbers that begin or cease to be live, refusals, prompts and \
their content, choices, time-outs, destinations, caller ids, calls at once, codecs, admitted sources, and all of that by \
time and by caller. Names, files, order and comments change no call.

Of an object of NEW that has an error, its form of OLD is what stays live and is compared.

Exit code: 0 if no call changes, 1 if one does (with --fail-on-change: if one of a guarded number does), 2 if used wrongly \
or if a side has errors.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// What was: a folder, or a folder in a Git revision such as main:tenants/acme.
    old: PathBuf,
    /// What shall be: likewise.
    new: PathBuf,
    /// Exit with 1 only if calls of such numbers change: a number such as +18005550100 or a PhoneNumber's
    /// namespace/name, where * is anything and ? one character. May be repeated.
    #[arg(long, value_name = "GLOB")]
    fail_on_change: Vec<Glob>,
    /// As of when: holidays and validity dates before it are over. RFC 3339, or the tenant's local time where all tenants
    /// share one. Without it: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each change: numbers, times, callers, choices, and what was → what will be.
    Text,
    /// One object: `groups` of numbers with their `changes`, `guarded` numbers that change, `cut` and `notes`.
    Json,
}

/// A side that was planned.
struct Planned {
    plan: Plan,
    zones: BTreeMap<String, String>,
    errors: usize,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match compare(arguments) {
        Ok(code) => Ok(code),
        Err(error) => {
            complain(&error);
            Ok(ExitCode::from(2))
        }
    }
}

fn compare(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let old = planned(&read(&arguments.old)?, None, now);
    // What would really be live: of an object that is wrong now, its form before.
    let new = planned(&read(&arguments.new)?, Some(&old.plan), now);
    let at = match &arguments.at {
        Some(text) => time::parse(text, &zone(&new))?,
        None => now,
    };
    let (before, after) = (worlds(&old.plan)?, worlds(&new.plan)?);
    let sides = [(&before, &old), (&after, &new)]
        .map(|(worlds, planned)| Side { worlds: worlds.iter().collect(), zones: planned.zones.clone() });
    for glob in &arguments.fail_on_change {
        if !sides.iter().any(|side| changes::has(side, glob)) {
            return Err(anyhow!(
                "--fail-on-change {glob} guards nothing: no live number of either side is meant by it"
            ));
        }
    }
    let changes = changes::changes(&sides[0], &sides[1], Now { instant: Instant::now(), wall: at });
    let guarded = guarded(&changes, &arguments.fail_on_change);
    print(arguments, &changes, &guarded)?;
    let bad = told(&arguments.old, &old, "is left out") | told(&arguments.new, &new, "keeps its form of OLD");
    if bad {
        return Ok(ExitCode::from(2));
    }
    let fails =
        if arguments.fail_on_change.is_empty() { !changes.groups.is_empty() } else { !guarded.is_empty() };
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A folder wins over a revision of the same name.
fn read(place: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let revision = place.to_str().and_then(Revision::parse);
    match revision.filter(|_| !place.exists()) {
        Some(revision) => revision.read(),
        None => folder::read_below(place),
    }
}

fn planned(files: &[SourceFile], last: Option<&Plan>, now: Timestamp) -> Planned {
    let (resources, _) = plan::load(files);
    let plan = plan::plan(&resources, last, now);
    let errors = plan.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let zones = plan.time_zones().map(|(namespace, zone)| (namespace.to_owned(), zone.to_owned())).collect();
    Planned { plan, zones, errors }
}

fn worlds(plan: &Plan) -> anyhow::Result<Vec<World>> {
    let clusters = plan.clusters.values();
    let worlds = clusters.map(|cluster| World::new(Arc::clone(&cluster.snapshot), Names::new(), None));
    Ok(worlds.collect::<Result<_, _>>()?)
}

/// The zone that all tenants share, else UTC.
fn zone(planned: &Planned) -> TimeZone {
    let mut names = planned.zones.values();
    let first = names.next().filter(|first| names.all(|name| name == *first));
    first.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

/// Numbers that change although they are guarded.
fn guarded<'c>(changes: &'c Changes, globs: &[Glob]) -> Vec<&'c changes::Numbers> {
    let numbers = changes.groups.iter().flat_map(|group: &Group| &group.numbers);
    let meant = |numbers: &&changes::Numbers| {
        globs.iter().any(|glob| glob.matches(numbers.first, numbers.last, &numbers.objects))
    };
    let mut guarded: Vec<_> = numbers.filter(meant).collect();
    guarded.sort_by_key(|numbers| (numbers.first, numbers.last));
    guarded.dedup();
    guarded
}

fn print(arguments: &Arguments, changes: &Changes, guarded: &[&changes::Numbers]) -> anyhow::Result<()> {
    match arguments.format {
        Format::Text => {
            say(changes.to_string().trim_end());
            if !guarded.is_empty() {
                let numbers: Vec<_> = guarded.iter().map(ToString::to_string).collect();
                warn(&format!("guarded by --fail-on-change, and changed: {}", numbers.join(", ")));
            }
        }
        Format::Json => {
            let mut value = serde_json::to_value(changes)?;
            value["guarded"] = json!(guarded);
            say(&serde_json::to_string_pretty(&value)?);
        }
    }
    Ok(())
}

/// Whether a side has errors.
fn told(place: &Path, planned: &Planned, fate: &str) -> bool {
    let place = place.display();
    match planned.errors {
        0 => return false,
        1 => warn(&format!("{place} has 1 error, and what is wrong {fate}: see `switchboard check {place}`")),
        errors => {
            warn(&format!(
                "{place} has {errors} errors, and what is wrong {fate}: see `switchboard check {place}`"
            ));
        }
    }
    true
}
