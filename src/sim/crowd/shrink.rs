//! A plan that fails is made small: whatever the failure does without is left out.

use std::time::Instant;

use super::{
    plan::{Part, Plan, What},
    run::{self, Failed},
};

/// What is left of a plan that failed.
#[derive(Debug, Clone)]
pub struct Shrunk {
    pub plan: Plan,
    /// How it fails, with the end of the ladder.
    pub failed: Failed,
    /// How often it was tried.
    pub tries: usize,
}

/// Leaves out of a plan what it fails without, in `tries` tries at most. None: it does not fail.
#[must_use]
pub fn shrink(plan: &Plan, begins: Instant, tries: usize) -> Option<Shrunk> {
    let shrunk = shrink_with(plan, tries, |plan| run::run(plan, begins).failed)?;
    // Once more, for people to read.
    let failed = run::told(&shrunk.plan, begins).failed?;
    Some(Shrunk { failed, ..shrunk })
}

/// The same, where `fails` says whether a plan does.
#[must_use]
pub fn shrink_with(plan: &Plan, tries: usize, fails: impl Fn(&Plan) -> Option<Failed>) -> Option<Shrunk> {
    let failed = fails(plan)?;
    let mut small = Small { plan: plan.clone(), fails, failed, tries: 0, tries_max: tries };
    // What comes after the failure has no part in it.
    let until = u32::try_from(small.failed.at.as_millis()).unwrap_or(u32::MAX);
    let before = small.plan.parts.iter().filter(|part| part.at <= until).cloned().collect();
    small.attempt(before);
    loop {
        let before = small.plan.clone();
        small.drop_parts();
        small.drop_details();
        if small.plan == before || small.tries >= small.tries_max {
            break;
        }
    }
    let Small { plan, tries, failed, .. } = small;
    Some(Shrunk { plan, failed, tries })
}

struct Small<F> {
    plan: Plan,
    fails: F,
    failed: Failed,
    tries: usize,
    tries_max: usize,
}

impl<F: Fn(&Plan) -> Option<Failed>> Small<F> {
    /// Keeps these parts if the plan fails in the same way with them.
    fn attempt(&mut self, parts: Vec<Part>) -> bool {
        if self.tries >= self.tries_max || parts == self.plan.parts {
            return false;
        }
        self.tries += 1;
        let plan = Plan { parts, ..self.plan.clone() };
        let failed = (self.fails)(&plan);
        // What fails later is something else, mostly.
        let same = failed.filter(|failed| {
            failed.violation.invariant == self.failed.violation.invariant && failed.at <= self.failed.at
        });
        match same {
            Some(failed) => {
                (self.plan, self.failed) = (plan, failed);
                true
            }
            None => false,
        }
    }

    /// Halves first, then smaller and smaller runs of parts.
    fn drop_parts(&mut self) {
        let mut length = self.plan.parts.len().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < self.plan.parts.len() {
                let mut parts = self.plan.parts.clone();
                parts.drain(from..(from + length).min(parts.len()));
                if !self.attempt(parts) {
                    from += length;
                }
            }
            length = if length == 1 { 0 } else { length / 2 };
        }
    }

    /// What contacts and those who talk to them do.
    fn drop_details(&mut self) {
        for place in 0..self.plan.parts.len() {
            let What::Calls(contact) = &self.plan.parts[place].what else { continue };
            let (deeds, rings) = (contact.deeds.len(), contact.rings.len());
            for deed in (0..deeds).rev() {
                self.attempt_with(place, |contact| {
                    contact.deeds.remove(deed);
                });
            }
            for _ in 1..rings {
                self.attempt_with(place, |contact| {
                    contact.rings.pop();
                });
            }
            self.attempt_with(place, |contact| contact.refuses_reinvites = false);
        }
    }

    fn attempt_with(&mut self, place: usize, change: impl Fn(&mut super::plan::Contact)) {
        let mut parts = self.plan.parts.clone();
        if let Some(What::Calls(contact)) = parts.get_mut(place).map(|part| &mut part.what) {
            change(contact);
        }
        self.attempt(parts);
    }
}
