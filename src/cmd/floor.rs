//! `switchboard test DIR --floor`: what a floor would come to, simulated over all cores.

mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use model::{
    AgentId, Key, QueueId,
    centre::{Agent, Queue},
    demand::{Demand, Group, Load, Members, Spread, Target, Times},
};
use plan::{Plan, PlannedDemand, SourceFile};
use sim::forecast::{Forecast, Found, Replication, Search, Setup, Wrong};

use super::{complain, folder, say};

/// Level of whom `--agents` makes up.
const LEVEL: u8 = 10;

/// What a run of contacts takes where nothing is said, in seconds.
const HANDLING_SECONDS: f64 = 240.0;

#[derive(Debug, Args)]
#[command(next_help_heading = "Forecast of the floor, in place of the CallTests")]
#[group(skip)]
pub struct Arguments {
    /// Foretells waits, service level, abandonment and occupancy, by simulation of the queues and agents of DIR. FILE says what
    /// comes and who is there, with rates and agents by intervals of a day (src/plan/demand.rs documents it); without FILE the
    /// flags below say it.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["coverage", "coverage_min", "junit", "watch"]
    )]
    floor: Option<Option<PathBuf>>,
    /// Contacts that come to a queue.
    #[arg(long, value_name = "QUEUE=N", value_parser = named, requires = "floor")]
    contacts_per_hour: Vec<Named>,
    /// Mean handling, with the work after the contact: of one queue, or of all. Exponentially distributed. Without it: 240.
    #[arg(long, value_name = "[QUEUE=]N", value_parser = named, requires = "floor")]
    handling_seconds: Vec<Named>,
    /// Mean patience: of one queue, or of all. Exponentially distributed. Without it nobody hangs up.
    #[arg(long, value_name = "[QUEUE=]N", value_parser = named, requires = "floor")]
    patience_seconds: Vec<Named>,
    /// So many made-up agents who serve these queues, or all that contacts come to. Without it: the Agents of DIR.
    #[arg(long, value_name = "[QUEUE+QUEUE=]N", value_parser = named, requires = "floor")]
    agents: Vec<Named>,
    /// Finds the fewest agents with whom so many of a hundred are answered within so many seconds.
    #[arg(long, value_name = "PERCENT/SECONDS", value_parser = target, requires = "floor")]
    find_agents: Option<(f64, f64)>,
    /// How often it is simulated, each time with other lots. Without it: what FILE says, else 20.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000), requires = "floor")]
    replications: Option<u32>,
    /// Of all lots: equal seeds give equal figures, on any number of threads. Without it: what FILE says, else 1.
    #[arg(long, value_name = "N", requires = "floor")]
    seed: Option<u64>,
}

/// A number, and whom it is of. None: of all.
#[derive(Debug, Clone)]
struct Named {
    name: Option<String>,
    number: f64,
}

fn named(text: &str) -> Result<Named, String> {
    let (name, number) = text.rsplit_once('=').map_or((None, text), |(name, number)| (Some(name), number));
    if name.is_some_and(str::is_empty) {
        return Err("the name before `=` must not be empty".into());
    }
    let number = number.parse().ok().filter(|number: &f64| (0.0..=100_000.0).contains(number));
    let number = number.ok_or("must end in a number of 0 to 100000, such as support=120")?;
    Ok(Named { name: name.map(str::to_owned), number })
}

fn target(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once('/').and_then(|(percent, seconds)| {
        let (percent, seconds): (f64, f64) = (percent.parse().ok()?, seconds.parse().ok()?);
        ((1.0..=99.9).contains(&percent) && (0.0..=86_400.0).contains(&seconds)).then_some((percent, seconds))
    });
    parts.ok_or_else(|| "must be a percentage of 1 to 99.9 and seconds, such as 80/20".into())
}

/// What is asked for, and where it stands if that is a file; else why not, and with which exit code.
type Asked = Result<(Demand, Option<PlannedDemand>), (anyhow::Error, u8)>;

/// Whose queues and agents.
struct Folder {
    queues: BTreeMap<QueueId, Arc<Queue>>,
    agents: BTreeMap<AgentId, Arc<Agent>>,
}

impl Folder {
    fn of(plan: &Plan) -> Self {
        let centres = || plan.clusters.values().map(|cluster| &cluster.snapshot.centre);
        Self {
            queues: centres().flat_map(|centre| centre.queues.clone()).collect(),
            agents: centres().flat_map(|centre| centre.agents.clone()).collect(),
        }
    }

    fn tenants(&self) -> Vec<&str> {
        let tenants: BTreeSet<&str> = self.queues.keys().map(|id| id.0.namespace()).collect();
        tenants.into_iter().collect()
    }
}

impl Arguments {
    /// Whether this is asked for, and not the CallTests.
    pub const fn is_asked(&self) -> bool {
        self.floor.is_some()
    }

    /// Simulates it and tells. Exit code 1: the file cannot be simulated, or no number of agents is enough; 2: wrong flags.
    pub fn run(&self, dir: &Path, threads: usize, json: bool) -> anyhow::Result<ExitCode> {
        let file = self.floor.as_ref().and_then(Option::as_ref);
        let files = folder::read(dir)?.into_iter();
        // What is asked for may lie beside the manifests and is none.
        let is_manifest = |read: &SourceFile| file.is_none_or(|file| Path::new(&read.path) != file);
        let files: Vec<SourceFile> = files.filter(is_manifest).collect();
        let (resources, _) = plan::load(&files);
        let plan = plan::plan(&resources, None, Timestamp::now());
        super::test::warn_of_errors(&plan, dir);
        let folder = Folder::of(&plan);
        if folder.queues.is_empty() {
            bail!("{} holds no Queue that a VoiceCluster serves", dir.display());
        }
        let read = match file {
            Some(file) => self.read(file, &folder)?,
            None => self.demand_of_flags(&folder).map(|demand| (demand, None)).map_err(|error| (error, 2)),
        };
        let ready = read.and_then(|(mut demand, planned)| {
            demand.replications = self.replications.unwrap_or(demand.replications);
            demand.seed = self.seed.unwrap_or(demand.seed);
            let code = if planned.is_some() { 1 } else { 2 };
            let setup = Setup::new(demand, &folder.queues, &folder.agents);
            setup.map_err(|wrong| (told(&wrong, planned.as_ref()), code))
        });
        let setup = match ready {
            Ok(setup) => setup,
            Err((error, code)) => {
                complain(&error);
                return Ok(ExitCode::from(code));
            }
        };
        let found = find(&setup, threads)?;
        let staffed = if found.is_empty() { setup } else { setup.staffed(&found)? };
        let forecast = simulate(&staffed, threads)?;
        if json {
            say(&serde_json::to_string_pretty(&report::json(&forecast, &found)?)?);
        } else {
            say(report::text(&forecast, &found).trim_end());
        }
        let is_found = found.iter().all(|found| found.agents.is_some());
        Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn read(&self, file: &Path, folder: &Folder) -> anyhow::Result<Asked> {
        let flags = [&self.contacts_per_hour, &self.handling_seconds, &self.patience_seconds, &self.agents];
        if flags.iter().any(|flag| !flag.is_empty()) || self.find_agents.is_some() {
            let error = anyhow::anyhow!(
                "--contacts-per-hour, --handling-seconds, --patience-seconds, --agents and --find-agents are for --floor without a file; {} says all of it",
                file.display()
            );
            return Ok(Err((error, 2)));
        }
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let source = SourceFile { path: file.display().to_string(), bytes: bytes.into() };
        Ok(match plan::read_demand(&source, &folder.tenants()) {
            Ok(planned) => Ok((planned.demand.clone(), Some(planned))),
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Err((anyhow::anyhow!("cannot take {}:\n{}", file.display(), lines.join("\n")), 1))
            }
        })
    }

    fn demand_of_flags(&self, folder: &Folder) -> anyhow::Result<Demand> {
        let tenants = folder.tenants();
        let [tenant] = tenants.as_slice() else {
            bail!(
                "the folder has Queues of several tenants ({}): say which in a file, --floor=FILE, as `tenant`",
                tenants.join(", ")
            );
        };
        if self.contacts_per_hour.is_empty() {
            bail!("--floor needs --contacts-per-hour QUEUE=N, or a file that says what comes: --floor=FILE");
        }
        let queue = |name: &str| QueueId(Key::new(tenant, name));
        let of = |flags: &[Named], name: &str| {
            let its = flags.iter().rev().find(|flag| flag.name.as_deref() == Some(name));
            its.or_else(|| flags.iter().rev().find(|flag| flag.name.is_none())).map(|flag| flag.number)
        };
        let times = |mean_seconds| Times { mean_seconds, spread: Spread::Exponential };
        let mut queues = Vec::new();
        for Named { name, number } in &self.contacts_per_hour {
            let Some(name) = name else {
                bail!(
                    "--contacts-per-hour {number} must name its queue: --contacts-per-hour support={number}"
                );
            };
            queues.push(Load {
                queue: queue(name),
                contacts_per_hour: vec![*number],
                handling: times(of(&self.handling_seconds, name).unwrap_or(HANDLING_SECONDS)),
                patience: of(&self.patience_seconds, name).map(times),
            });
        }
        for (flag, named) in
            [("--handling-seconds", &self.handling_seconds), ("--patience-seconds", &self.patience_seconds)]
        {
            if let Some(zero) = named.iter().find(|named| named.number < 1.0) {
                bail!("{flag} must be at least 1, not {}", zero.number);
            }
            let unknown = |named: &&Named| {
                named.name.as_ref().is_some_and(|name| !queues.iter().any(|load| load.queue == queue(name)))
            };
            if let Some(Named { name: Some(name), .. }) = named.iter().find(unknown) {
                bail!(
                    "{flag} names queue `{name}`, to which no contacts come: give --contacts-per-hour {name}=N"
                );
            }
        }
        let all: Vec<QueueId> = queues.iter().map(|load| load.queue.clone()).collect();
        let mut groups = Vec::new();
        for Named { name, number } in &self.agents {
            groups.push(made_up(name.as_deref(), *number, &all, folder, tenant)?);
        }
        if groups.is_empty() && self.find_agents.is_some() {
            groups.push(made_up(None, 1.0, &all, folder, tenant)?);
        }
        let find = self.find_agents.map(|level| Target {
            group: groups.first().map(|group: &Group| group.name.clone()).unwrap_or_default(),
            queues: Vec::new(),
            level: Some(level),
            shrinkage_percent: 0.0,
        });
        Ok(Demand {
            tenant: (*tenant).to_owned(),
            day: None,
            queues,
            groups,
            answer_seconds: 0.0,
            missed_percent: 0.0,
            return_seconds: plan::RETURN_SECONDS,
            find,
            replications: plan::REPLICATIONS,
            hours: plan::HOURS,
            warm_up_hours: None,
            seed: 1,
        })
    }
}

/// Agents who serve the queues of a flag's name, or all, and are good at what these ask for.
fn made_up(
    name: Option<&str>,
    number: f64,
    all: &[QueueId],
    folder: &Folder,
    tenant: &str,
) -> anyhow::Result<Group> {
    let queues = match name {
        Some(name) => name.split('+').map(|name| QueueId(Key::new(tenant, name))).collect(),
        None => all.to_vec(),
    };
    let mut skills = BTreeMap::new();
    for id in &queues {
        let Some(queue) = folder.queues.get(id) else {
            let known: Vec<&str> = folder.queues.keys().map(|id| id.0.name()).collect();
            bail!("--agents names queue `{}`, which is none of {}", id.0.name(), known.join(", "));
        };
        skills.extend(queue.skills.iter().map(|skill| (skill.name.clone(), LEVEL)));
    }
    if number.fract() != 0.0 || number > f64::from(model::demand::AGENTS_MAX) {
        bail!("--agents must be a whole number of at most {}, not {number}", model::demand::AGENTS_MAX);
    }
    Ok(Group {
        name: name.unwrap_or("agents").to_owned(),
        members: Members::MadeUp {
            count: vec![number as u32],
            skills,
            queues: queues.into_iter().map(|queue| (queue, 0)).collect(),
        },
    })
}

/// What cannot be simulated, by its line or its flag.
fn told(wrong: &Wrong, planned: Option<&PlannedDemand>) -> anyhow::Error {
    let Wrong { field, message } = wrong;
    match planned {
        Some(planned) => anyhow::anyhow!("{}: error: `{field}` {message}.", planned.at(field)),
        None => {
            let flag = match field.split(['[', '.']).next().unwrap_or_default() {
                "agents" => "--agents",
                "replications" => "--replications",
                _ if field.contains("handling") => "--handling-seconds",
                _ => "--contacts-per-hour",
            };
            anyhow::anyhow!("{flag} {message}")
        }
    }
}

/// The fewest agents who reach the target: once, or in each interval. Empty: nobody asks.
fn find(setup: &Setup, threads: usize) -> anyhow::Result<Vec<Found>> {
    if setup.demand().find.is_none() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for interval in 0..setup.questions() {
        let mut search = Search::from(setup.guess(interval));
        while let Some(agents) = search.next() {
            let tried = setup.with_agents(agents, interval)?;
            search.learn(tried.is_reached(&simulate(&tried, threads)?));
        }
        all.push(setup.told(&search, interval));
    }
    Ok(all)
}

/// Every replication, on so many threads.
fn simulate(setup: &Setup, threads: usize) -> anyhow::Result<Forecast> {
    let begins = Instant::now();
    let count = setup.demand().replications;
    let next = AtomicU32::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        let mut mine: Vec<(u32, Replication)> = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            mine.push((index, setup.replicate(index, begins)));
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count as usize) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    if done.len() != count as usize {
        bail!("a thread has not run its part");
    }
    let runs: Vec<Replication> = done.into_iter().map(|(_, run)| run).collect();
    Ok(Forecast::of(setup, &runs))
}
