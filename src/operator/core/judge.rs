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
    /// None: nothing can be said yet.
    pub(super) fn judge(&mut self, id: &ObjectId, now: Duration) -> Option<Wanted> {
        let entry = self.entries.get(id.kind)?.get(&id.key)?;
        if entry.epoch == super::ALWAYS {
            return None;
        }
        let verdict = self.planner.verdict(id);
        let accepted = condition(verdict.accepted, Reason::Accepted, "Nothing is wrong with it by itself.");
        let mut resolved_refs = condition(
            verdict.resolved_refs,
            Reason::ResolvedRefs,
            "All it refers to is there and admits it.",
        );
        if resolved_refs.reason == Reason::Plan(plan::Reason::SecretNotFound) {
            self.blame_rights(id.key.namespace(), &mut resolved_refs.message);
        }
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
            Effect::Current => match self.reached_by_all(id, entry, roles, now) {
                Ok(()) => (programmed(), Some(generation)),
                Err(condition) => (condition, entry.programmed),
            },
            // Its pods have this very form, as they had it before what it refers to went wrong.
            Effect::Kept if entry.programmed == Some(generation) => (programmed(), entry.programmed),
            Effect::Kept => (kept(entry), entry.programmed),
            Effect::Out => (out(verdict.accepted.is_some() || verdict.resolved_refs.is_some()), None),
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

    /// Nobody finds a Secret that may not be read, and it may well be there.
    fn blame_rights(&self, namespace: &str, message: &mut String) {
        if self.forbidden().any(|forbidden| forbidden == namespace) {
            let field = message.split_once(": ").map(|(field, _)| field.to_owned()).unwrap_or_default();
            *message = format!(
                "{field}: The operator may not read Secrets of namespace {namespace}: it needs a RoleBinding there of its ServiceAccount to the ClusterRole `switchboard-secrets`."
            );
        }
    }

    /// Whether every pod that must know of it has it; if not, what is to be said of that.
    fn reached_by_all(
        &self,
        id: &ObjectId,
        entry: &Entry,
        roles: &[Role],
        now: Duration,
    ) -> Result<(), Condition> {
        let homes = self.planner.homes(id);
        if homes.is_empty() {
            let message = format!("No VoiceCluster serves namespace {}.", id.key.namespace());
            return Err(Condition::new(Truth::False, Reason::NoCluster, message));
        }
        let there = entry.status.get(ConditionType::Programmed);
        let there = there.filter(|there| there.observed_generation == entry.generation);
        let stands = there.is_some_and(|there| there.truth == Truth::True);
        for home in &homes {
            let Some((role, since)) = self.absent(home, roles) else { continue };
            let none = no_pods(home, role);
            // Pods that are away for a moment, or that have not found this replica yet, withdraw nothing.
            return match () {
                () if now >= since + SETTLE => Err(none),
                () if stands => Ok(()),
                () if there.is_some_and(|there| there.says(&none)) => Err(none),
                () => Err(pending(home)),
            };
        }
        if id.kind == "VoiceCluster"
            && let Some(pod) = homes.iter().find_map(|home| self.fleet.silent(home, now))
        {
            let message = format!("The {} pod {} has been silent for 10 seconds.", pod.role, pod.name);
            return Err(Condition::new(Truth::Unknown, Reason::PodUnreachable, message));
        }
        // Of the cluster itself it is told whatever is refused.
        if id.kind == "VoiceCluster"
            && let Some(refused) = homes.iter().find_map(|home| self.refused(home))
        {
            return Err(refused);
        }
        // Pods had it before this process began.
        if stands && self.first.is_some_and(|first| entry.epoch <= first) {
            return Ok(());
        }
        let behind = homes.iter().find(|home| {
            roles.iter().any(|role| self.reached(home, *role).is_none_or(|epoch| epoch < entry.epoch))
        });
        let Some(home) = behind else { return Ok(()) };
        Err(self.refused(home).unwrap_or_else(|| pending(home)))
    }

    /// What is to be said if a pod refuses what was published last.
    fn refused(&self, home: &ClusterId) -> Option<Condition> {
        let position = self.clusters.get(home)?.published.as_ref()?.position;
        let (pod, refusal) = self.fleet.refusal(home).filter(|(_, refusal)| refusal.position == position)?;
        let (role, name, path, message) = (pod.role, &pod.name, &refusal.path, &refusal.message);
        let message = format!("The {role} pod {name} of {home} refuses the snapshot at {path}: {message}");
        Some(Condition::new(Truth::False, Reason::SnapshotRefused, message))
    }

    /// A role of which a cluster has no pod, and since when.
    fn absent(&self, home: &ClusterId, roles: &[Role]) -> Option<(Role, Duration)> {
        let cluster = self.clusters.get(home)?;
        roles.iter().find_map(|role| Some((*role, cluster.absent[*role as usize]?)))
    }
}

fn no_pods(home: &ClusterId, role: Role) -> Condition {
    Condition::new(
        Truth::False,
        Reason::NoPods,
        format!("VoiceCluster {home} has no {role} pod that is ready."),
    )
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

fn out(told: bool) -> Condition {
    let message = if told {
        "What is wrong keeps it from pods, and no earlier form of it is live."
    } else {
        "An object that it refers to is there and cannot be used; that one's own status says why."
    };
    Condition::new(Truth::False, Reason::NotLive, message)
}
