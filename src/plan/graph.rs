//! What the graph of a flow proves: every step can be reached, and no loop goes round without the contact.

use std::collections::BTreeSet;

use api::v1alpha1::RoutingFlowSpec;
use model::program::StepIx;

use crate::{problem::Reason, resources::Report, world::Item};

/// One outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The step that follows.
    pub to: usize,
    /// Whether it can come about without the contact doing anything.
    pub idle: bool,
}

/// Whether a call can come from one place to another while the contact does nothing.
pub(crate) fn idle_way(edges: &[Vec<Edge>], from: usize, to: usize) -> bool {
    reach(edges, std::iter::once(from), |edge| edge.idle).contains(&to)
}

/// Reports steps that no call can reach and loops in which the contact does nothing. `edges` has one entry for each
/// step, and one without edges behind the last.
pub(crate) fn check(
    item: &Item<RoutingFlowSpec>,
    edges: &[Vec<Edge>],
    on_error: Option<StepIx>,
    report: &mut Report,
) {
    let entries = std::iter::once(0).chain(on_error.map(|step| usize::from(step.0)));
    let reached = reach(edges, entries, |_| true);
    for (index, step) in item.spec.steps.iter().enumerate() {
        if !reached.contains(&index) {
            let message = format!("No step leads to `{}`: name it in an outcome, or remove it.", step.name);
            item.error(report, &format!("spec.steps[{index}].name"), Reason::UnreachableStep, message);
        }
    }
    for ring in idle_loops(edges) {
        let names: Vec<_> =
            ring.iter().filter_map(|index| Some(item.spec.steps.get(*index)?.name.as_str())).collect();
        let first = ring.first().copied().unwrap_or_default();
        let message = format!(
            "A call can go round {} for ever while the contact does nothing: lead one of them elsewhere, or give an `ask` or `wait` among them `maxVisits`.",
            circle(&names)
        );
        item.error(report, &format!("spec.steps[{first}].name"), Reason::EndlessLoop, message);
    }
}

fn circle(names: &[&str]) -> String {
    let path = names.iter().chain(names.first());
    path.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ")
}

fn reach(
    edges: &[Vec<Edge>],
    from: impl Iterator<Item = usize>,
    follow: impl Fn(&Edge) -> bool,
) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<usize> = from.collect();
    while let Some(step) = waiting.pop() {
        if reached.insert(step) {
            let next = edges.get(step).into_iter().flatten();
            waiting.extend(next.filter(|edge| follow(edge)).map(|edge| edge.to));
        }
    }
    reached
}

/// One loop of idle edges for each group of steps that are on one, in the order of the flow.
fn idle_loops(edges: &[Vec<Edge>]) -> Vec<Vec<usize>> {
    let mut told: BTreeSet<usize> = BTreeSet::new();
    let mut loops = Vec::new();
    for start in 0..edges.len() {
        if told.contains(&start) {
            continue;
        }
        if let Some(ring) = shortest_ring(edges, start) {
            let group = reach(edges, std::iter::once(start), |edge| edge.idle);
            // All that is reached from here and comes back here belongs to the same group.
            told.extend(
                group
                    .into_iter()
                    .filter(|step| reach(edges, std::iter::once(*step), |edge| edge.idle).contains(&start)),
            );
            loops.push(ring);
        }
    }
    loops
}

/// The shortest way of idle edges from a step back to itself.
fn shortest_ring(edges: &[Vec<Edge>], start: usize) -> Option<Vec<usize>> {
    let mut before = vec![None; edges.len()];
    let mut frontier = vec![start];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for step in frontier {
            for edge in edges.get(step)?.iter().filter(|edge| edge.idle) {
                if edge.to == start {
                    return Some(path(&before, start, step));
                }
                if before.get(edge.to)?.is_none() {
                    before[edge.to] = Some(step);
                    next.push(edge.to);
                }
            }
        }
        frontier = next;
    }
    None
}

fn path(before: &[Option<usize>], start: usize, end: usize) -> Vec<usize> {
    let mut ring = vec![end];
    let mut step = end;
    while step != start {
        let Some(Some(previous)) = before.get(step) else {
            break;
        };
        step = *previous;
        ring.push(step);
    }
    ring.reverse();
    ring
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &[&str]) -> Vec<Vec<Edge>> {
        let edge =
            |word: &str| Edge { to: word.trim_end_matches('!').parse().unwrap(), idle: !word.ends_with('!') };
        text.iter().map(|row| row.split_whitespace().map(edge).collect()).collect()
    }

    /// Rows list where each step leads; `!` marks an outcome that needs the contact.
    #[test]
    fn only_loops_without_the_contact_are_found() {
        let rows: &[(&[&str], &[&[usize]])] = &[
            (&["1", "2", ""], &[]),
            (&["0"], &[&[0]]),
            (&["0!"], &[]),
            (&["1", "2", "0"], &[&[0, 1, 2]]),
            (&["1", "2", "0!"], &[]),
            (&["1", "2 3", "1", "4", "3"], &[&[1, 2], &[3, 4]]),
            (&["1 2", "0", "0"], &[&[0, 1]]),
        ];
        for (text, wanted) in rows {
            assert_eq!(idle_loops(&edges(text)), *wanted, "{text:?}");
        }
    }
}
