//! What all runs together come to.

use acd::Figures;
use model::QueueId;
use serde::Serialize;

use super::{
    Estimate, Replication, Setup,
    run::{Counted, Worked},
    theory::{self, Beside},
};

/// A forecast of a floor.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The tenant's namespace.
    pub tenant: String,
    /// How often it was simulated.
    pub replications: u32,
    /// Seed of all lots.
    pub seed: u64,
    /// Hours of each that count.
    pub hours: f64,
    /// Hours before them that do not.
    pub warm_up_hours: f64,
    /// In the order of the demand.
    pub queues: Vec<QueueForecast>,
    /// In the order of the demand, or by the queues that they serve.
    pub groups: Vec<GroupFigures>,
    /// Queueing theory's figures, or why there are none.
    pub theory: Beside,
}

/// A queue's part of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueForecast {
    /// Name of the Queue.
    pub name: String,
    /// So many of a hundred…
    pub target_percent: f64,
    /// … are to be answered within so many seconds.
    pub target_seconds: f64,
    /// All the time that counts.
    #[serde(flatten)]
    pub figures: QueueFigures,
    /// Share of their time that agents who serve it are at work on contacts, of this queue or another.
    pub occupancy: Option<Estimate>,
    /// Each interval of a day by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<IntervalFigures>,
}

/// What came of contacts. Shares are 0 to 1, waits are in seconds and of those who were answered. None: nobody was there to
/// tell it of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueFigures {
    /// Contacts that came, those that could not wait among them.
    pub contacts_per_hour: Option<Estimate>,
    /// Answered within the target's seconds ÷ (offered − abandoned within 5 s).
    pub service_level: Option<Estimate>,
    /// Abandoned, but not within 5 s ÷ (offered − abandoned within 5 s).
    pub abandonment: Option<Estimate>,
    /// Answered ÷ came.
    pub answered: Option<Estimate>,
    /// Found the queue full or nobody signed in, waited as long as they might, or lost the last agent ÷ came.
    pub turned_away: Option<Estimate>,
    /// The mean.
    pub mean_wait: Option<Estimate>,
    /// Half of them wait no longer.
    pub wait_p50: Option<Estimate>,
    /// Nine of ten.
    pub wait_p90: Option<Estimate>,
    /// 99 of a hundred.
    pub wait_p99: Option<Estimate>,
}

/// An interval of a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IntervalFigures {
    /// Such as `08:30`.
    pub from: String,
    /// Of the contacts that came in it.
    #[serde(flatten)]
    pub figures: QueueFigures,
}

/// Agents who are counted together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupFigures {
    /// As the demand names it, or the queues that they serve.
    pub name: String,
    /// How many there are: always, or in each interval.
    pub agents: Vec<usize>,
    /// Time at work on contacts ÷ (that and time waiting for one).
    pub occupancy: Option<Estimate>,
}

impl Forecast {
    /// Of all runs, in the order of their numbers.
    #[must_use]
    pub fn of(setup: &Setup, runs: &[Replication]) -> Self {
        let queues = (0..setup.demand.queues.len()).map(|load| queue(setup, runs, load));
        let groups = setup.groups.iter().enumerate().map(|(place, group)| GroupFigures {
            name: group.name.clone(),
            agents: match setup.demand.day {
                Some(day) if !group.counts.is_empty() => {
                    (0..day.intervals).map(|at| group.count(at)).collect()
                }
                Some(_) | None => vec![group.count(0)],
            },
            occupancy: occupancy(runs.iter().map(|run| run.groups[place])),
        });
        Self {
            tenant: setup.demand.tenant.clone(),
            replications: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            seed: setup.demand.seed,
            hours: setup.counts().as_secs_f64() / super::HOUR,
            warm_up_hours: setup.warm_up().as_secs_f64() / super::HOUR,
            queues: queues.collect(),
            groups: groups.collect(),
            theory: theory::beside(setup, runs),
        }
    }

    /// Whether the queues that were asked for reach what was asked for.
    #[must_use]
    pub fn reaches(&self, queues: &[QueueId]) -> bool {
        let asked = |queue: &&QueueForecast| {
            queues.is_empty() || queues.iter().any(|asked| asked.0.name() == queue.name)
        };
        self.queues.iter().filter(asked).all(|queue| {
            let level = queue.figures.service_level;
            // Where nothing comes nobody waits.
            level.is_none_or(|level| level.value * 100.0 >= queue.target_percent)
        })
    }
}

fn queue(setup: &Setup, runs: &[Replication], load: usize) -> QueueForecast {
    let (target_percent, target_seconds) = setup.target(load);
    let hours = setup.counts().as_secs_f64() / super::HOUR;
    let whole: Vec<Counted> = runs.iter().map(|run| merged(run.counted[load].iter())).collect();
    let intervals = setup.demand.day.map_or(0, |day| day.intervals);
    let intervals = (0..intervals).map(|interval| IntervalFigures {
        from: clock(setup, interval),
        figures: figures(
            &runs.iter().map(|run| run.counted[load][interval].clone()).collect::<Vec<_>>(),
            setup.interval().as_secs_f64() / super::HOUR,
        ),
    });
    QueueForecast {
        name: setup.demand.queues[load].queue.0.name().to_owned(),
        target_percent,
        target_seconds,
        figures: figures(&whole, hours),
        occupancy: occupancy(runs.iter().map(|run| run.serving[load])),
        intervals: intervals.collect(),
    }
}

/// When an interval begins.
pub(super) fn clock(setup: &Setup, interval: usize) -> String {
    let Some(day) = setup.demand.day else { return String::new() };
    let minutes = u64::from(day.opens_minutes) + interval as u64 * u64::from(day.interval_minutes);
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

pub(super) fn merged<'a>(parts: impl Iterator<Item = &'a Counted>) -> Counted {
    let mut whole = Counted::default();
    parts.for_each(|part| whole.merge(part));
    whole
}

/// A figure of all runs together, and of each.
pub(super) fn figure(runs: &[Counted], of: impl Fn(&Counted) -> Option<f64>) -> Option<Estimate> {
    Estimate::of(of(&merged(runs.iter())), runs.iter().map(of))
}

pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

const fn came(figures: &Figures) -> u64 {
    figures.offered + figures.full + figures.no_agents
}

pub(super) const fn turned_away(figures: &Figures) -> u64 {
    figures.full + figures.no_agents + figures.timed_out + figures.diverted
}

fn figures(runs: &[Counted], hours: f64) -> QueueFigures {
    let percentile = |share: f64| figure(runs, |run| run.waits.percentile(share));
    let rates = runs.iter().map(|run| came(&run.figures) as f64 / hours);
    let mean = rates.clone().sum::<f64>() / runs.len().max(1) as f64;
    QueueFigures {
        contacts_per_hour: Estimate::of((!runs.is_empty()).then_some(mean), rates.map(Some)),
        service_level: figure(runs, |run| run.figures.service_level()),
        abandonment: figure(runs, |run| run.figures.abandonment()),
        answered: figure(runs, |run| share(run.figures.answered, came(&run.figures))),
        turned_away: figure(runs, |run| share(turned_away(&run.figures), came(&run.figures))),
        mean_wait: figure(runs, |run| mean_wait(&run.figures)),
        wait_p50: percentile(0.5),
        wait_p90: percentile(0.9),
        wait_p99: percentile(0.99),
    }
}

pub(super) fn mean_wait(figures: &Figures) -> Option<f64> {
    share(figures.wait_ms, figures.answered).map(|milliseconds| milliseconds / 1e3)
}

pub(super) fn occupancy(runs: impl Iterator<Item = Worked> + Clone) -> Option<Estimate> {
    let mut whole = Worked::default();
    runs.clone().for_each(|run| whole.add(run));
    Estimate::of(whole.occupancy(), runs.map(|run| run.occupancy()))
}
