//! What planning has decided of each object, in the words of its status: the conditions `Accepted` and `ResolvedRefs`.

use std::collections::BTreeMap;

use crate::{
    Plan, Planner,
    problem::{ConditionType, ObjectId, Problem, Severity},
    resources::Resources,
    world::Force,
};

/// An object's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// Which object.
    pub object: ObjectId,
    /// What is wrong with the object itself, the first of it. None: nothing; `Accepted` is True.
    pub accepted: Option<&'p Problem>,
    /// What is wrong with that which it refers to, the first of it. None: nothing; `ResolvedRefs` is True.
    pub resolved_refs: Option<&'p Problem>,
}

impl Verdict<'_> {
    /// As a status tells a condition: `True`, or `False` with the reason.
    #[must_use]
    pub fn told(&self, condition: ConditionType) -> String {
        let problem = match condition {
            ConditionType::Accepted => self.accepted,
            ConditionType::ResolvedRefs => self.resolved_refs,
        };
        problem.map_or_else(|| "True".to_owned(), |problem| format!("False/{}", problem.reason))
    }
}

impl Plan {
    /// Of each object that was planned, by kind and name. Warnings turn no condition.
    #[must_use]
    pub fn verdicts(&self, resources: &Resources) -> Vec<Verdict<'_>> {
        let mut verdicts: BTreeMap<ObjectId, Verdict<'_>> = resources
            .ids()
            .map(|id| (id.clone(), Verdict { object: id.clone(), accepted: None, resolved_refs: None }))
            .collect();
        for problem in self.problems.iter().filter(|problem| problem.severity == Severity::Error) {
            let Some(verdict) = problem.object.as_ref().and_then(|id| verdicts.get_mut(id)) else {
                continue;
            };
            let told = match problem.reason.condition() {
                ConditionType::Accepted => &mut verdict.accepted,
                ConditionType::ResolvedRefs => &mut verdict.resolved_refs,
            };
            told.get_or_insert(problem);
        }
        verdicts.into_values().collect()
    }
}

/// What of an object is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Its newest form, and nothing is wrong with that by itself.
    Current,
    /// An earlier good form, the newest one with what it had before in place of what is gone or wrong, or the newest one in
    /// spite of what is wrong with it.
    Kept,
    /// Nothing of it.
    Out,
}

/// An object's conditions as they stand, and what of it is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectVerdict<'p> {
    /// What is wrong with the object itself, the first of it. None: nothing; `Accepted` is True.
    pub accepted: Option<&'p Problem>,
    /// What is wrong with that which it refers to, the first of it. None: nothing; `ResolvedRefs` is True.
    pub resolved_refs: Option<&'p Problem>,
    /// What its pods are told of it.
    pub effect: Effect,
}

impl Planner {
    /// What the last update has decided of an object; of one that is not there, that nothing of it is in force. Costs the
    /// same however many objects there are.
    #[must_use]
    pub fn verdict(&self, id: &ObjectId) -> ObjectVerdict<'_> {
        let (mut accepted, mut resolved_refs) = (None, None);
        for problem in self.told(id).into_iter().filter(|problem| problem.severity == Severity::Error) {
            let told = match problem.reason.condition() {
                ConditionType::Accepted => &mut accepted,
                ConditionType::ResolvedRefs => &mut resolved_refs,
            };
            if told.is_none_or(|first| problem < first) {
                *told = Some(problem);
            }
        }
        let effect = match self.force(id) {
            Force::Newest if accepted.is_none() => Effect::Current,
            Force::Newest | Force::Earlier => Effect::Kept,
            Force::None => Effect::Out,
        };
        ObjectVerdict { accepted, resolved_refs, effect }
    }

    /// Everything that is wrong with an object, warnings included, the first of it first.
    #[must_use]
    pub fn problems_of(&self, id: &ObjectId) -> Vec<&Problem> {
        let mut problems = self.told(id);
        problems.sort();
        problems
    }
}
