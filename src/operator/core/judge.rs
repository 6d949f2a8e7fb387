//! What an object's status should say.

use std::time::Duration;

use link::identity::Role;
use model::ClusterId;
use plan::{Effect, ObjectId, Problem};

use super::{Core, Entry, SETTLE};
use crate::status::{Condition, ConditionType, Reason, Truth, Wanted};

/// The pods that must know of a kind's objects. None: no pod does.
fn roles(kind: &str) -> &'static [Role] {
    match kind {
        "VoiceCluster" | "Prompt" | "Tenant" => &[Role::Edge, Role::Media],
        "Carrier" | "NumberOrder" | "CallTest" => &[],
        _ => &[Role::Edge],
    }
}

impl Core {
    /// None: nothing can be said yet, or what stands there is to stay for now.
    pub(super) fn judge(&mut self, id: &ObjectId, now: Duration) -> Option<Wanted> {
        let entry = self.entries.get(id.kind)?.get(&id.key)?;
        if entry.epoch == super::ALWAYS {
            return None;
        }
        let verdict = self.planner.verdict(id);
        let accepted = condition(verdict.accepted, Reason::Accepted, "Nothing is wrong with it by itself.");
        let resolved_refs = condition(
            verdict.resolved_refs,
            Reason::ResolvedRefs,
            "All it refers to is there and admits it.",
        );
        let roles = roles(id.kind);
        let generation = entry.generation;
        if roles.is_empty() {
            return Some(Wanted {
                generation,
                programmed_generation: None,
                accepted,
                resolved_refs,
                programmed: None,
            });
        }
        let (programmed, programmed_generation) = match verdict.effect {
            Effect::Current => match self.reached_by_all(id, entry, roles, now)? {
                Ok(()) => (programmed(), Some(generation)),
                Err(condition) => (condition, entry.programmed),
            },
            // Its pods have this very form, as they had it before what it refers to went wrong.
            Effect::Kept if entry.programmed == Some(generation) => (programmed(), entry.programmed),
            Effect::Kept => (kept(entry), entry.programmed),
            Effect::Out => (out(), None),
        };
        let entry = self.entries.get_mut(id.kind)?.get_mut(&id.key)?;
        entry.programmed = programmed_generation;
        if programmed.truth == Truth::True
            && let Some(waiting) = self.waiting.get_mut(&entry.epoch)
        {
            waiting.remove(id);
            if waiting.is_empty() {
                self.waiting.remove(&entry.epoch);
            }
        }
        Some(Wanted {
            generation,
            programmed_generation,
            accepted,
            resolved_refs,
            programmed: Some(programmed),
        })
    }

    /// Whether every pod that must know of it has it. None: that is not known yet, so what stands there stays.
    fn reached_by_all(
        &self,
        id: &ObjectId,
        entry: &Entry,
        roles: &[Role],
        now: Duration,
    ) -> Option<Result<(), Condition>> {
        let homes = self.planner.homes(id);
        if homes.is_empty() {
            let message = format!("No VoiceCluster serves namespace {}.", id.key.namespace());
            return Some(Err(Condition::new(Truth::False, Reason::NoCluster, message)));
        }
        // Pods had it when this process began.
        let stood = entry
            .status
            .get(ConditionType::Programmed)
            .is_some_and(|there| there.truth == Truth::True && there.observed_generation == entry.generation);
        let stood = stood && self.first.is_some_and(|first| entry.epoch <= first);
        for home in &homes {
            if let Some(missing) = self.absent(home, roles, now) {
                let Err(condition) = missing else {
                    if entry
                        .status
                        .get(ConditionType::Programmed)
                        .is_some_and(|there| there.truth == Truth::True)
                    {
                        return None;
                    }
                    return Some(Err(pending(home)));
                };
                return Some(Err(condition));
            }
        }
        if id.kind == "VoiceCluster"
            && let Some(pod) = homes.iter().find_map(|home| self.fleet.silent(home, now))
        {
            let message = format!("The {} pod {} has been silent for 10 seconds.", pod.role, pod.name);
            return Some(Err(Condition::new(Truth::Unknown, Reason::PodUnreachable, message)));
        }
        if stood {
            return Some(Ok(()));
        }
        for home in &homes {
            let behind =
                roles.iter().any(|role| self.reached(home, *role).is_none_or(|epoch| epoch < entry.epoch));
            if !behind {
                continue;
            }
            return Some(Err(match self.fleet.refusal(home) {
                Some((pod, refusal)) => {
                    let (role, name) = (pod.role, &pod.name);
                    let (path, message) = (&refusal.path, &refusal.message);
                    let message =
                        format!("The {role} pod {name} of {home} refuses the snapshot at {path}: {message}");
                    Condition::new(Truth::False, Reason::SnapshotRefused, message)
                }
                None => pending(home),
            }));
        }
        Some(Ok(()))
    }

    /// A role of which a cluster has no pod: what is to be said of it, or `Ok` if that is too soon.
    fn absent(&self, home: &ClusterId, roles: &[Role], now: Duration) -> Option<Result<(), Condition>> {
        let cluster = self.clusters.get(home)?;
        let (role, since) = roles.iter().find_map(|role| Some((role, cluster.absent[*role as usize]?)))?;
        if now < since + SETTLE {
            return Some(Ok(()));
        }
        let message = format!("VoiceCluster {home} has no {role} pod that is ready.");
        Some(Err(Condition::new(Truth::False, Reason::NoPods, message)))
    }
}

fn condition(problem: Option<&Problem>, good: Reason, message: &str) -> Condition {
    let Some(problem) = problem else { return Condition::new(Truth::True, good, message) };
    let message = if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.field, problem.message)
    };
    Condition::new(Truth::False, Reason::Plan(problem.reason), message)
}

fn programmed() -> Condition {
    Condition::new(Truth::True, Reason::Programmed, "Every pod that must know of it has it.")
}

fn pending(home: &ClusterId) -> Condition {
    Condition::new(Truth::False, Reason::Pending, format!("The pods of VoiceCluster {home} are being told."))
}

fn kept(entry: &Entry) -> Condition {
    let message = match entry.programmed {
        Some(generation) => format!("What is wrong keeps it from pods; generation {generation} stays live."),
        None => "What is wrong keeps some of it from pods; what was right before stays live.".to_owned(),
    };
    Condition::new(Truth::False, Reason::LastGoodKept, message)
}

fn out() -> Condition {
    let message = "What is wrong keeps it from pods, and no earlier form of it is live.";
    Condition::new(Truth::False, Reason::NotLive, message)
}
