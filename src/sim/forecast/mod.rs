//! What a tenant's floor would come to: contacts, agents and times go in; waits, service level, abandonment and occupancy
//! come out, by simulation of [`acd::Floor`], the machine that serves in production, with its Queues and Agents.
//!
//! # How
//! - Contacts come at random (Poisson) at each queue's rate, which is the same for ever or changes from interval to interval of a
//!   day. Handling, with the work after it, and patience are drawn for each contact; so many offers ring out.
//! - Where rates are the same for ever, the first hours do not count: floors begin empty, and figures of an empty one are too good.
//!   [`Setup::warm_up`] is five times what the line needs to forget (its relaxation time), 1 to 48 hours. Contacts that come in
//!   the hours that count are followed to their end while others go on coming. A day begins empty as it does in truth, and
//!   all of it counts.
//! - A **replication** is one run; each has lots of its own, drawn from the seed, the number of the run and the purpose, so that
//!   any number of threads gives the same figures, and so that two staffings are compared under the same contacts.
//! - A figure is that of all runs together; how far off it may be comes from the spread of the runs around it, by Student's
//!   distribution at 95 %.
//! - Service level, abandonment and occupancy are those of [`acd::Figures`], which the floor tells of in production. Waits are
//!   those of contacts that were answered.
//! - Where queueing theory covers the case ([`erlang`]), its figures stand beside the simulation's; where it does not, the reasons.

pub mod erlang;
mod estimate;
mod lots;
mod outcome;
mod run;
mod staffing;
mod theory;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    AgentId, Key, QueueId,
    centre::{Agent, Channel, Queue},
    demand::{Demand, Members},
};

use self::run::Run;
pub use self::{
    estimate::Estimate,
    outcome::{Forecast, GroupFigures, IntervalFigures, QueueFigures, QueueForecast},
    run::{Replication, Waited},
    staffing::{Found, Search},
    theory::{Beside, Theoretical},
};

/// Most hours before those that count, and least.
const WARM_UP_HOURS: (f64, f64) = (1.0, 48.0);

/// So many relaxation times a line needs to forget that it was empty: e^-5 is below a hundredth.
const RELAXATIONS: f64 = 5.0;

/// Most contacts of all runs.
const CONTACTS_MAX: f64 = 1e9;

const HOUR: f64 = 3_600.0;

/// Begins names of agents who are no objects; none of Kubernetes begins so.
const MADE_UP: char = '~';

/// What of a demand cannot be simulated: the path of the field, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Wrong {
    /// Such as `queues[1].name`.
    pub field: String,
    /// A sentence.
    pub message: String,
}

/// Agents who are counted together.
#[derive(Debug, Clone)]
struct Team {
    name: String,
    agents: Vec<AgentId>,
    /// How many of them are there: always, or in each interval. Empty: all, always.
    counts: Vec<u32>,
}

impl Team {
    fn count(&self, interval: usize) -> usize {
        let count = self.counts.get(interval).or_else(|| self.counts.last());
        count.map_or(self.agents.len(), |count| *count as usize)
    }
}

/// A demand made ready.
#[derive(Debug, Clone)]
pub struct Setup {
    demand: Demand,
    queues: BTreeMap<QueueId, Arc<Queue>>,
    agents: BTreeMap<AgentId, Arc<Agent>>,
    /// Where each agent stands in the order of names.
    places: BTreeMap<AgentId, usize>,
    names: Vec<AgentId>,
    groups: Vec<Team>,
}

impl Setup {
    /// `queues` and `agents` are those of the folder, of any tenants.
    ///
    /// # Errors
    /// The first field that cannot be simulated.
    pub fn new(
        demand: Demand,
        queues: &BTreeMap<QueueId, Arc<Queue>>,
        agents: &BTreeMap<AgentId, Arc<Agent>>,
    ) -> Result<Self, Wrong> {
        let of_tenant = |key: &Key| key.namespace() == demand.tenant;
        let queues: BTreeMap<_, _> = queues
            .iter()
            .filter(|(id, _)| of_tenant(&id.0))
            .map(|(id, queue)| (id.clone(), Arc::clone(queue)))
            .collect();
        let folder: BTreeMap<_, _> = agents
            .iter()
            .filter(|(id, _)| of_tenant(&id.0))
            .map(|(id, agent)| (id.clone(), Arc::clone(agent)))
            .collect();
        check_queues(&demand, &queues)?;
        let (agents, groups) = staff(&demand, &queues, &folder)?;
        let names: Vec<AgentId> = agents.keys().cloned().collect();
        let places = names.iter().cloned().zip(0..).collect();
        let setup = Self { demand, queues, agents, places, names, groups };
        setup.check_target()?;
        setup.check_size()?;
        Ok(setup)
    }

    /// What it was made of.
    #[must_use]
    pub const fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Hours that do not count.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        let hours = match (self.demand.day, self.demand.warm_up_hours) {
            (Some(_), _) => 0.0,
            (None, Some(hours)) => hours,
            (None, None) => (RELAXATIONS * self.relaxation() / HOUR).clamp(WARM_UP_HOURS.0, WARM_UP_HOURS.1),
        };
        Duration::from_secs_f64(hours * HOUR)
    }

    /// How long a line of all queues and agents together needs to forget, in seconds: h / (n (1 − √ρ)²) and what a contact
    /// lasts (Abate and Whitt 1987); where contacts hang up no more than their patience and that.
    fn relaxation(&self) -> f64 {
        let loads = &self.demand.queues;
        let work: f64 =
            (0..loads.len()).map(|load| self.rate(load, 0) * loads[load].handling.mean_seconds).sum();
        let agents = self.groups.iter().map(|group| group.count(0)).sum::<usize>().max(1) as f64;
        let longest = loads.iter().map(|load| load.handling.mean_seconds).fold(0.0, f64::max);
        let load = work / agents;
        let forgets =
            if load < 1.0 { longest / (agents * (1.0 - load.sqrt()).powi(2)) } else { f64::INFINITY };
        let patience =
            loads.iter().map(|load| load.patience.map_or(f64::INFINITY, |times| times.mean_seconds));
        longest + forgets.min(patience.fold(0.0, f64::max))
    }

    /// What counts of each run.
    #[must_use]
    pub fn counts(&self) -> Duration {
        self.demand.day.map_or_else(
            || Duration::from_secs_f64(self.demand.hours * HOUR),
            |day| self.interval() * u32::try_from(day.intervals).unwrap_or(u32::MAX),
        )
    }

    fn intervals(&self) -> usize {
        self.demand.day.map_or(1, |day| day.intervals)
    }

    fn interval(&self) -> Duration {
        let minutes = self.demand.day.map_or(0, |day| day.interval_minutes);
        Duration::from_mins(minutes.into())
    }

    /// The interval at such a time, and when it ends. None: the day is over.
    fn interval_at(&self, since: Duration) -> (Option<usize>, Option<Duration>) {
        if self.demand.day.is_none() {
            return (Some(0), None);
        }
        let length = self.interval();
        let interval = usize::try_from(since.as_nanos() / length.as_nanos().max(1)).unwrap_or(usize::MAX);
        if interval >= self.intervals() {
            return (None, None);
        }
        let ends = length * u32::try_from(interval + 1).unwrap_or(u32::MAX);
        (Some(interval), Some(ends))
    }

    /// Contacts in a second.
    fn rate(&self, load: usize, interval: usize) -> f64 {
        let rates = &self.demand.queues[load].contacts_per_hour;
        rates.get(interval).or_else(|| rates.last()).copied().unwrap_or(0.0) / HOUR
    }

    fn queue(&self, load: usize) -> &Queue {
        &self.queues[&self.demand.queues[load].queue]
    }

    fn aim_seconds(&self, load: usize) -> f64 {
        self.target(load).1
    }

    /// So many percent within so many seconds.
    fn target(&self, load: usize) -> (f64, f64) {
        let queue = self.queue(load);
        let own = (f64::from(queue.service_percent), f64::from(queue.service_seconds));
        self.demand.find.as_ref().and_then(|target| target.level).unwrap_or(own)
    }

    fn wrap_up(&self, load: usize) -> Duration {
        Duration::from_secs(self.queue(load).wrap_up_seconds.into())
    }

    /// Places of the agents who serve a load's queue.
    fn serving(&self, load: usize) -> impl Iterator<Item = usize> {
        let (id, queue) = (&self.demand.queues[load].queue, self.queue(load));
        self.agents.values().enumerate().filter(|(_, agent)| serves(agent, id, queue)).map(|(place, _)| place)
    }

    fn agent(&self, place: usize) -> &AgentId {
        &self.names[place]
    }

    fn place(&self, agent: &AgentId) -> Option<usize> {
        self.places.get(agent).copied()
    }

    /// The run of that number. `begins` is any instant at all.
    #[must_use]
    pub fn replicate(&self, index: u32, begins: Instant) -> Replication {
        self.watched(index, begins, &mut |_| {})
    }

    /// The same, telling of every wait that counts as it ends.
    pub fn watched(&self, index: u32, begins: Instant, watch: &mut dyn FnMut(&Waited)) -> Replication {
        Run::new(self, index, begins, watch).run()
    }

    fn check_size(&self) -> Result<(), Wrong> {
        let hours = (self.warm_up() + self.counts()).as_secs_f64() / HOUR;
        let most = |load: &model::demand::Load| load.contacts_per_hour.iter().copied().fold(0.0, f64::max);
        let contacts: f64 = self.demand.queues.iter().map(most).sum::<f64>() * hours;
        if contacts * f64::from(self.demand.replications) > CONTACTS_MAX {
            let message = format!(
                "times {contacts:.0} contacts of each run must be at most {CONTACTS_MAX:.0}, so not {}: fewer runs or hours will do",
                self.demand.replications
            );
            return Err(Wrong { field: "replications".into(), message });
        }
        Ok(())
    }

    fn check_target(&self) -> Result<(), Wrong> {
        let Some(target) = &self.demand.find else { return Ok(()) };
        let wrong = |field: &str, message: String| Err(Wrong { field: format!("find.{field}"), message });
        let made_up =
            self.demand.groups.iter().filter(|group| matches!(group.members, Members::MadeUp { .. }));
        let made_up: Vec<&str> = made_up.map(|group| group.name.as_str()).collect();
        if !made_up.contains(&target.group.as_str()) {
            let message = format!(
                "must be a group of made-up agents, whose number can be changed ({}), not `{}`",
                listed(&made_up),
                target.group
            );
            return wrong("group", message);
        }
        for (place, queue) in target.queues.iter().enumerate() {
            if !self.demand.queues.iter().any(|load| load.queue == *queue) {
                let name = queue.0.name();
                let message = format!("must be a queue to which contacts come, not `{name}`");
                return wrong(&format!("queues[{place}]"), message);
            }
        }
        Ok(())
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "there is none".to_owned() } else { names.join(", ") }
}

fn check_queues(demand: &Demand, queues: &BTreeMap<QueueId, Arc<Queue>>) -> Result<(), Wrong> {
    for (place, load) in demand.queues.iter().enumerate() {
        let wrong =
            |field: &str, message: String| Err(Wrong { field: format!("queues[{place}].{field}"), message });
        let name = load.queue.0.name();
        let Some(queue) = queues.get(&load.queue) else {
            let known: Vec<&str> = queues.keys().map(|id| id.0.name()).collect();
            let message =
                format!("must be a Queue of tenant {} ({}), not `{name}`", demand.tenant, listed(&known));
            return wrong("name", message);
        };
        if !queue.channels.contains(&Channel::Voice) {
            return wrong("name", format!("must be a Queue that takes Voice, which `{name}` does not"));
        }
        if demand.queues[..place].iter().any(|other| other.queue == load.queue) {
            return wrong("name", format!("must stand once; `{name}` stands before"));
        }
        let (mean, wrap_up) = (load.handling.mean_seconds, f64::from(queue.wrap_up_seconds));
        if mean < wrap_up {
            let message = format!(
                "must be the time for a contact with the work after it, at least the {wrap_up} s of the Queue's `wrapUpSeconds`, not {mean}"
            );
            return wrong("handling.meanSeconds", message);
        }
        if demand.answer_seconds >= f64::from(queue.ring_seconds) {
            let message = format!(
                "must be less than the {} s that Queue {name} rings an agent (`ringSeconds`), not {}",
                queue.ring_seconds, demand.answer_seconds
            );
            return Err(Wrong { field: "answerSeconds".into(), message });
        }
    }
    Ok(())
}

type Staff = (BTreeMap<AgentId, Arc<Agent>>, Vec<Team>);

/// Agents who take part, by group.
fn staff(
    demand: &Demand,
    queues: &BTreeMap<QueueId, Arc<Queue>>,
    folder: &BTreeMap<AgentId, Arc<Agent>>,
) -> Result<Staff, Wrong> {
    if demand.groups.is_empty() {
        return Ok((folder.clone(), by_queues(queues, folder)));
    }
    let (mut agents, mut teams) = (BTreeMap::new(), Vec::new());
    for (place, group) in demand.groups.iter().enumerate() {
        let wrong = |field: String, message: String| {
            Err(Wrong { field: format!("agents[{place}].{field}"), message })
        };
        let mut team = Team { name: group.name.clone(), agents: Vec::new(), counts: Vec::new() };
        match &group.members {
            Members::Named(names) => {
                for (at, id) in names.iter().enumerate() {
                    let Some(agent) = folder.get(id) else {
                        let message =
                            format!("must be an Agent of tenant {}, not `{}`", demand.tenant, id.0.name());
                        return wrong(format!("names[{at}]"), message);
                    };
                    if agents.insert(id.clone(), Arc::clone(agent)).is_some() {
                        let message =
                            format!("must stand in one group alone; `{}` stands before", id.0.name());
                        return wrong(format!("names[{at}]"), message);
                    }
                    team.agents.push(id.clone());
                }
            }
            Members::MadeUp { count, skills, queues: ranks } => {
                if let Some((at, queue)) =
                    ranks.keys().enumerate().find(|(_, queue)| !queues.contains_key(*queue))
                {
                    let message =
                        format!("must be a Queue of tenant {}, not `{}`", demand.tenant, queue.0.name());
                    return wrong(format!("queues[{at}]"), message);
                }
                let made_up = Arc::new(made_up(&group.name, skills.clone(), ranks.clone()));
                for at in 0..count.iter().copied().max().unwrap_or(0) {
                    let id = AgentId(Key::new(&demand.tenant, &format!("{MADE_UP}{}-{at:05}", group.name)));
                    agents.insert(id.clone(), Arc::clone(&made_up));
                    team.agents.push(id);
                }
                team.counts.clone_from(count);
            }
        }
        if demand.groups[..place].iter().any(|other| other.name == group.name) {
            return wrong("group".into(), format!("must be unique; `{}` stands before", group.name));
        }
        teams.push(team);
    }
    Ok((agents, teams))
}

/// Agents of a folder, those together who serve the same queues.
fn by_queues(queues: &BTreeMap<QueueId, Arc<Queue>>, folder: &BTreeMap<AgentId, Arc<Agent>>) -> Vec<Team> {
    let mut teams: BTreeMap<String, Vec<AgentId>> = BTreeMap::new();
    for (id, agent) in folder {
        let serves = queues.iter().filter(|(id, queue)| serves(agent, id, queue));
        let serves: Vec<&str> = serves.map(|(id, _)| id.0.name()).collect();
        teams.entry(serves.join(" + ")).or_default().push(id.clone());
    }
    // Whoever serves nothing is nobody's group.
    teams.remove("");
    teams.into_iter().map(|(name, agents)| Team { name, agents, counts: Vec::new() }).collect()
}

/// Whether an agent is good enough for a queue's calls, at once or once somebody has waited long enough.
fn serves(agent: &Agent, id: &QueueId, queue: &Queue) -> bool {
    agent.capacity.get(&Channel::Voice).is_some_and(|calls| *calls > 0)
        && acd::serves(agent, id, queue).is_some()
}

fn made_up(group: &str, skills: BTreeMap<String, u8>, queues: BTreeMap<QueueId, u8>) -> Agent {
    Agent {
        display_name: group.to_owned(),
        skills,
        languages: Vec::new(),
        stations: Vec::new(),
        capacity: BTreeMap::from([(Channel::Voice, 1)]),
        sign_in: None,
        session_seconds: model::centre::SESSION_SECONDS,
        outbound_number: None,
        supervises: Default::default(),
        lossy: false,
        music: Vec::new(),
        queues,
    }
}
