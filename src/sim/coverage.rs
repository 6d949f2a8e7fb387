//! Which outcomes of flows' steps tests have taken, and which none has.
//!
//! What is counted is every outcome of every step of the compiled programs: each choice and each other end of an `ask`, each
//! case, part, failure and time-out. A step that ends the call has one, `hangup`; one that bounds its visits has `maxVisits`
//! besides. What a path tells beyond that (`called`, `onError`) is no outcome of a step.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    FlowId,
    program::{Ask, Program, Verb},
    snapshot::Snapshot,
};
use serde::Serialize;

use crate::world::Taken;

/// Coverage of all flows that calls of numbers can come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// In the order of their names.
    pub flows: Vec<Covered>,
}

/// Coverage of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// Which.
    pub flow: FlowId,
    /// How many outcomes its steps have.
    pub outcomes: usize,
    /// How many of them were taken.
    pub taken: usize,
    /// Those that were not, in the order of the steps.
    pub missed: Vec<Missed>,
}

/// An outcome that no test has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Name of the step.
    pub step: String,
    /// As a call's path names it.
    pub outcome: String,
}

impl Coverage {
    /// Of the flows of some snapshots that live numbers lead to, and all that these call, by what tests have taken.
    pub fn of<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>, taken: &BTreeSet<Taken>) -> Self {
        let mut flows: BTreeMap<&FlowId, &Program> = BTreeMap::new();
        for snapshot in snapshots {
            let ranges = snapshot.numbers.values().flatten();
            let mut waiting: Vec<&FlowId> = ranges.map(|range| &range.flow).collect();
            while let Some(id) = waiting.pop() {
                if let Some(program) = snapshot.flows.get(id)
                    && flows.insert(id, program).is_none()
                {
                    waiting.extend(program.calls());
                }
            }
        }
        Self { flows: flows.into_iter().map(|(id, program)| Covered::of(id, program, taken)).collect() }
    }

    /// How many outcomes there are, and how many were taken.
    #[must_use]
    pub fn sum(&self) -> (usize, usize) {
        let each = self.flows.iter().map(|flow| (flow.outcomes, flow.taken));
        each.fold((0, 0), |(outcomes, taken), (more, also)| (outcomes + more, taken + also))
    }

    /// Whether so many percent of all outcomes were taken.
    #[must_use]
    pub fn reaches(&self, percent: u8) -> bool {
        let (outcomes, taken) = self.sum();
        taken * 100 >= outcomes * usize::from(percent)
    }
}

impl Covered {
    fn of(id: &FlowId, program: &Program, taken: &BTreeSet<Taken>) -> Self {
        let steps = program.steps.iter();
        let all = steps.flat_map(|step| {
            let named = outcomes(&step.verb).into_iter();
            named.map(move |outcome| (step, outcome))
        });
        let (mut outcomes, mut missed) = (0, Vec::new());
        for (step, outcome) in all {
            outcomes += 1;
            if !taken.contains(&(id.clone(), step.name.clone(), outcome.clone())) {
                missed.push(Missed { step: step.name.clone(), outcome });
            }
        }
        Self { flow: id.clone(), outcomes, taken: outcomes - missed.len(), missed }
    }
}

/// Every outcome of a step that a path can tell.
fn outcomes(verb: &Verb) -> Vec<String> {
    let mut outcomes: Vec<String> = verb.outcomes().into_iter().map(|(name, _)| name).collect();
    match verb {
        Verb::Hangup { .. } => outcomes.push("hangup".into()),
        Verb::Ask(Ask { max_visits: Some(_), .. }) => outcomes.push("maxVisits".into()),
        Verb::Play { .. }
        | Verb::Ask(_)
        | Verb::Hours { .. }
        | Verb::Branch { .. }
        | Verb::Set { .. }
        | Verb::Split { .. }
        | Verb::Request(_)
        | Verb::Call { .. }
        | Verb::Wait { .. }
        | Verb::Dial(_)
        | Verb::Transfer { .. }
        | Verb::Queue(_)
        | Verb::Callback { .. }
        | Verb::Voicemail { .. }
        | Verb::Record { .. }
        | Verb::Message { .. } => {}
    }
    outcomes
}
