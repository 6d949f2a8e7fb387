//! What planning has decided of each object, in the words of its status: the conditions `Accepted` and `ResolvedRefs`.

use std::collections::BTreeMap;

use crate::{
    Plan,
    problem::{ConditionType, ObjectId, Problem, Severity},
    resources::Resources,
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
