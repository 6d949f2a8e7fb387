//! `switchboard test`: CallTests, offline, by the engine that serves in production.

mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use model::{AudioId, ClusterId};
use notify::{RecursiveMode, Watcher};
use plan::{Plan, PlannedCluster, PlannedTest, Problem, Severity};
use sim::{
    coverage::Coverage,
    world::{Failure, Ran, Stage, Taken},
};

use self::report::{Fault, Report, Tested};
use super::{complain, folder, say, warn};

/// How long a folder must be quiet after a change before it is read: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// What `--help` ends with.
const HELP: &str = "\
Each CallTest is one call by the real engine in a made-up world with a clock of its own: no network, no cluster, no \
waiting. Equal folders give equal results.

Exit code: 0 if all tests pass, 1 if one fails or less is covered than --coverage-min says, 2 if used wrongly.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// Folder with the manifests, one manifest, or `-` for standard input.
    dir: PathBuf,
    /// Tells which outcomes of flows' steps no test has taken.
    #[arg(long)]
    coverage: bool,
    /// Fails if fewer of a hundred outcomes were taken; tells them, too.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_min: Option<u8>,
    /// Writes the results to a file, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Runs them again whenever a file of the folder changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Threads that share the tests. Without it: one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    floor: super::floor::Arguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each test, and one for each thing that is otherwise than it wants.
    Text,
    /// One object: `tests`, `passed`, `failed`, and `coverage` if it is asked for.
    Json,
}

impl Arguments {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        self.threads.map_or_else(cores, usize::from)
    }
}

/// Runs them. Exit code 0: all pass; 1: one fails, or too little is covered.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.floor.is_asked() {
        return arguments.floor.run(&arguments.dir, arguments.threads(), arguments.format == Format::Json);
    }
    if !arguments.watch {
        return once(arguments).map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if arguments.dir == Path::new("-") {
        complain(&anyhow::anyhow!("--watch needs a folder or a file: standard input is read once"));
        return Ok(ExitCode::from(2));
    }
    let (sender, changes) = mpsc::sync_channel(1);
    // A file that an editor replaces is another one: its folder says when.
    let file = arguments.dir.file_name().filter(|_| arguments.dir.is_file()).map(ToOwned::to_owned);
    let folder = arguments.dir.parent().filter(|folder| !folder.as_os_str().is_empty());
    let (place, mode) = match &file {
        Some(_) => (folder.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive),
        None => (arguments.dir.as_path(), RecursiveMode::Recursive),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_of = |event: &notify::Event| {
            file.as_ref()
                .is_none_or(|file| event.paths.iter().any(|path| path.file_name() == Some(file.as_os_str())))
        };
        // One change that waits stands for all.
        if event.is_ok_and(|event| folder::matters(&event) && is_of(&event)) {
            let _ = sender.try_send(());
        }
    })?;
    let about = || format!("cannot watch {}", arguments.dir.display());
    watcher.watch(place, mode).with_context(about)?;
    loop {
        // A folder that is wrong is told, and waited for.
        if let Err(error) = once(arguments) {
            complain(&error);
        }
        changes.recv().context("the folder is watched no more")?;
        while changes.recv_timeout(SETTLE).is_ok() {}
        say("");
    }
}

/// Whether all is well.
fn once(arguments: &Arguments) -> anyhow::Result<bool> {
    let files = folder::read(&arguments.dir)?;
    let (resources, _) = plan::load(&files);
    let plan = plan::plan(&resources, None, Timestamp::now());
    let tests = plan::call_tests(&resources, &plan);
    if tests.is_empty() {
        bail!("{} holds no CallTest", arguments.dir.display());
    }
    warn_of_errors(&plan, &arguments.dir);
    let stages = stages(&plan)?;
    let planned: Vec<&PlannedTest> = tests.iter().filter_map(|(_, test)| test.as_ref()).collect();
    let mut ran = run_all(&planned, &plan, &stages, arguments.threads()).into_iter();
    let mut taken = BTreeSet::new();
    let mut results = Vec::new();
    for (key, test) in &tests {
        results.push(match test {
            Some(test) => {
                let Some(mut ran) = ran.next() else { bail!("a thread has not run its tests") };
                taken.append(&mut ran.taken);
                Tested::of(test, &ran)
            }
            None => Tested::unreadable(key, faults(&plan, key)),
        });
    }
    let is_asked = arguments.coverage || arguments.coverage_min.is_some();
    let coverage = is_asked.then(|| coverage(&plan, &taken));
    let elsewhere = coverage.as_ref().map(|coverage| elsewhere(&plan, coverage)).unwrap_or_default();
    let report = Report { results, coverage, coverage_min: arguments.coverage_min, elsewhere };
    match arguments.format {
        Format::Text => say(report.text().trim_end()),
        Format::Json => say(&serde_json::to_string_pretty(&report.json())?),
    }
    if let Some(file) = &arguments.junit {
        std::fs::write(file, report.junit()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.is_good())
}

/// What is wrong beside the tests is left out of what they run on.
pub fn warn_of_errors(plan: &Plan, dir: &Path) {
    let is_beside = |problem: &&Problem| {
        problem.severity == Severity::Error
            && problem.object.as_ref().is_none_or(|object| object.kind != "CallTest")
    };
    let errors = plan.problems.iter().filter(is_beside).count();
    if errors > 0 {
        let dir = dir.display();
        warn(&format!(
            "the folder has {errors} errors, and what is wrong is left out: see `switchboard check {dir}`"
        ));
    }
}

/// Why a CallTest cannot be run.
fn faults(plan: &Plan, key: &model::Key) -> Vec<Fault> {
    let of = |problem: &&Problem| {
        problem.severity == Severity::Error
            && problem.object.as_ref().is_some_and(|object| object.kind == "CallTest" && object.key == *key)
    };
    plan.problems.iter().filter(of).map(Fault::from).collect()
}

fn stages(plan: &Plan) -> anyhow::Result<BTreeMap<ClusterId, Stage>> {
    let stage = |(id, cluster): (&ClusterId, &PlannedCluster)| {
        let lengths = cluster.blobs.iter().filter_map(|(audio, file)| Some((*audio, length(file)?)));
        let lengths: BTreeMap<AudioId, Duration> = lengths.collect();
        let stage = Stage::new(&cluster.snapshot, &lengths);
        Ok((id.clone(), stage.with_context(|| format!("VoiceCluster {id} cannot be made ready"))?))
    };
    plan.clusters.iter().map(stage).collect()
}

/// How long a file sounds. None: it cannot be decoded.
fn length(file: &[u8]) -> Option<Duration> {
    /// Samples in a millisecond.
    const RATE: u64 = 8;
    let samples = media::decode(file).ok()?.pcm().len() as u64;
    Some(Duration::from_millis(samples / RATE))
}

/// Each test's result, in the order of the tests.
fn run_all(
    tests: &[&PlannedTest],
    plan: &Plan,
    stages: &BTreeMap<ClusterId, Stage>,
    threads: usize,
) -> Vec<Ran> {
    let begins = Instant::now();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(tests.len()));
    let work = || {
        let mut mine = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(place) else { break };
            mine.push((place, run_one(test, plan, stages, begins)));
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(tests.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, ran)| ran).collect()
}

fn run_one(
    PlannedTest { key, test, .. }: &PlannedTest,
    plan: &Plan,
    stages: &BTreeMap<ClusterId, Stage>,
    begins: Instant,
) -> Ran {
    let is_its = |cluster: &PlannedCluster| match &test.trunk {
        Some(trunk) => cluster.snapshot.trunks.contains_key(trunk),
        None => {
            let mut trunks = cluster.snapshot.trunks.keys();
            let live = |trunk| cluster.snapshot.number(trunk, test.to);
            trunks.any(|trunk| live(trunk).is_some_and(|range| range.id.0.namespace() == key.namespace()))
        }
    };
    let cluster = plan.clusters.iter().find(|(_, cluster)| is_its(cluster)).map(|(id, _)| id);
    match cluster.and_then(|cluster| stages.get(cluster)) {
        Some(stage) => stage.run(test, begins),
        None => Ran::failed(Failure {
            field: if test.trunk.is_some() { "spec.call.trunkRef" } else { "spec.call.to" }.to_owned(),
            message: format!(
                "{} is live on no trunk that a call could come by: see `switchboard check`",
                test.to
            ),
        }),
    }
}

fn coverage(plan: &Plan, taken: &BTreeSet<Taken>) -> Coverage {
    Coverage::of(plan.clusters.values().map(|cluster| &*cluster.snapshot), taken)
}

/// Flows that no call comes to.
fn elsewhere(plan: &Plan, coverage: &Coverage) -> Vec<String> {
    let reached = |key: &model::Key| coverage.flows.iter().any(|covered| covered.flow.0 == *key);
    plan.flows().filter(|key| !reached(key)).map(ToString::to_string).collect()
}
