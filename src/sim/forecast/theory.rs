//! Queueing theory beside the simulation, where it covers the case.

use model::demand::Spread;
use serde::Serialize;

use super::{
    Estimate, Replication, Setup,
    erlang::{Line, Theory},
    outcome::{figure, mean_wait, merged, occupancy, share, turned_away},
    run::Counted,
};

/// Theory's figures, or why there are none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Beside {
    /// It covers the case.
    Theory(Theoretical),
    /// It does not: a sentence for each reason.
    Because(Vec<String>),
}

/// Figures of theory and simulation, of the same definitions. Shares are of all contacts that came.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Theoretical {
    /// `Erlang C`, where nobody hangs up, else `Erlang A`.
    pub formula: &'static str,
    /// The queue's name.
    pub queue: String,
    /// Agents who serve it.
    pub agents: u32,
    /// Agents who would be busy all the time with what comes.
    pub offered_load: f64,
    /// Name of a figure, what theory says, and what was simulated.
    pub figures: Vec<(&'static str, f64, Option<Estimate>)>,
}

/// What keeps theory from covering the case, before anything is simulated.
fn reasons(setup: &Setup) -> Vec<String> {
    let demand = &setup.demand;
    let mut reasons = Vec::new();
    let mut because = |holds: bool, reason: &str| {
        if holds {
            reasons.push(reason.to_owned());
        }
    };
    because(
        demand.day.is_some(),
        "rates or agents change in the course of the day, and theory is of the long run",
    );
    because(demand.queues.len() > 1, "contacts come to more than one queue");
    let load = &demand.queues[0];
    because(load.handling.spread != Spread::Exponential, "handling is not exponentially distributed");
    let patience = load.patience.map(|times| times.spread);
    because(
        patience.is_some_and(|spread| spread != Spread::Exponential),
        "patience is not exponentially distributed",
    );
    because(
        demand.answer_seconds > 0.0,
        "agents take a while to answer, in which they are neither free nor at work",
    );
    because(demand.missed_percent > 0.0, "agents let offers ring out");
    let queue = setup.queue(0);
    let agents: Vec<_> = setup.agents.values().collect();
    let at_once =
        |agent: &&std::sync::Arc<model::centre::Agent>| acd::serves(agent, &load.queue, queue) == Some(0);
    let serving = setup.serving(0).count();
    because(
        serving > agents.iter().copied().filter(at_once).count(),
        "some agents are good enough only once a contact has waited (`relax`)",
    );
    let several = agents.iter().any(|agent| agent.capacity.get(&model::centre::Channel::Voice) > Some(&1));
    because(several, "some agents take more than one call at once");
    because(serving == 0, "nobody serves the queue");
    reasons
}

/// Theory beside what was simulated, if its assumptions hold.
pub(super) fn beside(setup: &Setup, runs: &[Replication]) -> Beside {
    let mut reasons = reasons(setup);
    let runs_of_queue: Vec<Counted> = runs.iter().map(|run| run.counted[0][0].clone()).collect();
    let figures = merged(runs_of_queue.iter()).figures;
    if reasons.is_empty() && turned_away(&figures) > 0 {
        reasons.push("some contacts found the queue full or waited as long as they might (`limits`)".into());
    }
    let load = &setup.demand.queues[0];
    let agents = u32::try_from(setup.serving(0).count()).unwrap_or(u32::MAX);
    let line = Line { rate: setup.rate(0, 0), handling: load.handling.mean_seconds, agents: agents.max(1) };
    let aim = setup.aim_seconds(0);
    let (formula, theory) = match load.patience {
        Some(patience) => ("Erlang A", Some(line.with_patience(patience.mean_seconds, aim))),
        None => ("Erlang C", line.without_patience(aim)),
    };
    if reasons.is_empty() && theory.is_none() {
        reasons
            .push("more comes than the agents can do, and without patience the wait grows for ever".into());
    }
    match theory {
        Some(theory) if reasons.is_empty() => Beside::Theory(Theoretical {
            formula,
            queue: load.queue.0.name().to_owned(),
            agents,
            offered_load: line.offered(),
            figures: side_by_side(&theory, &runs_of_queue, runs),
        }),
        Some(_) | None => Beside::Because(reasons),
    }
}

fn side_by_side(
    theory: &Theory,
    counted: &[Counted],
    runs: &[Replication],
) -> Vec<(&'static str, f64, Option<Estimate>)> {
    let of_all = |part: fn(&acd::Figures) -> u64| {
        figure(counted, move |run| share(part(&run.figures), run.figures.offered))
    };
    let percentile = |share: f64| figure(counted, move |run| run.waits.percentile(share));
    vec![
        ("answeredInTime", theory.in_time, of_all(|figures| figures.answered_in_time)),
        ("abandoned", theory.abandoned, of_all(|figures| figures.abandoned)),
        ("meanWait", theory.mean_wait, figure(counted, |run| mean_wait(&run.figures))),
        ("waitP50", theory.p50, percentile(0.5)),
        ("waitP90", theory.p90, percentile(0.9)),
        ("waitP99", theory.p99, percentile(0.99)),
        ("occupancy", theory.occupancy, occupancy(runs.iter().map(|run| run.serving[0]))),
    ]
}
