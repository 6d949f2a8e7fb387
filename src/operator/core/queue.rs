//! Which status is written next: what people changed first, the rest at a hundred a second, and nothing that stands there
//! already.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use model::{ClusterId, Key};
use plan::ObjectId;
use serde_json::Value;

use super::{Core, Entry};
use crate::status::{self, ConditionType, Shown, Transition, Truth, Wanted};

/// Between two statuses that nobody's change has led to.
const BACKFILL: Duration = Duration::from_millis(10);

/// For so long it is not said that pods are being told: mostly they have been, by then.
const PENDING: Duration = Duration::from_millis(400);

/// For so long it is not said that what an object refers to is not there: mostly it is on its way, by then.
const DOUBT: Duration = Duration::from_secs(1);

/// After a write that failed; each that follows waits twice as long, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// So many failures in a row are no matter of single objects: all writes wait.
const TROUBLE: u32 = 16;

/// Objects that are looked at before something else has its turn.
const LOOKS_MAX: usize = 1_000;

/// A status to be written.
#[derive(Debug)]
pub struct Write {
    /// Of which object.
    pub id: ObjectId,
    /// Of that very object, and none that has come in its place.
    pub uid: Box<str>,
    /// The body of a server-side apply of its status; fails if the object is another than the one that was judged.
    pub body: Value,
    /// What people are told of.
    pub transitions: Vec<Transition>,
}

/// What became of it.
#[derive(Debug)]
pub enum Written {
    /// It stands there, with this version.
    Done(Box<str>, Shown),
    /// The API server said no, or nothing.
    Failed(Option<u16>),
}

/// Where an object waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among what people changed, or pods did.
    Urgent,
    /// Among what need not be hurried.
    Rest,
    /// Until it is not too soon any more to say it.
    Soon(Duration),
    /// After a failure.
    Later,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    urgent: VecDeque<ObjectId>,
    rest: VecDeque<ObjectId>,
    later: BTreeSet<(Duration, ObjectId)>,
    rest_at: Duration,
    /// Writes that the API server could not take, one after the other, and until when none is tried.
    failed: u32,
    held: Duration,
    /// Writes that proved needless.
    pub dropped: u64,
}

impl Queue {
    /// What had to wait need not any more.
    pub fn pass(&mut self, now: Duration) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            self.urgent.extend(self.later.pop_first().map(|(_, id)| id));
        }
    }

    /// When there is something to write.
    pub fn next(&self) -> Option<Duration> {
        let urgent = (!self.urgent.is_empty()).then_some(Duration::ZERO);
        let rest = (!self.rest.is_empty()).then_some(self.rest_at);
        let next = urgent.into_iter().chain(rest).chain(self.later.first().map(|(at, _)| *at)).min();
        next.map(|next| next.max(self.held))
    }

    /// The API server could not take a write, whatever object it was of.
    fn troubled(&mut self, now: Duration) {
        self.failed = self.failed.saturating_add(1);
        if self.failed >= TROUBLE {
            self.held = now + pause(self.failed / TROUBLE - 1);
        }
    }

    const fn well(&mut self) {
        self.failed = 0;
        self.held = Duration::ZERO;
    }

    fn take(&mut self, now: Duration) -> Option<(ObjectId, bool)> {
        if let Some(id) = self.urgent.pop_front() {
            return Some((id, false));
        }
        if now < self.rest_at {
            return None;
        }
        self.rest.pop_front().map(|id| (id, true))
    }
}

/// After a failure that so many others came before.
fn pause(before: u32) -> Duration {
    (RETRY.0 * 2_u32.saturating_pow(before.min(8))).min(RETRY.1)
}

impl Entry {
    /// Until when it is too soon to say so. None: it is not.
    fn waits(&mut self, wanted: &Wanted, now: Duration) -> Option<Duration> {
        let there = self.status.get(ConditionType::ResolvedRefs);
        let wrong = wanted.resolved_refs.truth != Truth::True;
        let doubts = wrong && there.is_none_or(|there| there.truth == Truth::True);
        let doubt = doubts.then(|| self.doubt.unwrap_or(now));
        self.doubt = doubt;
        let told = match doubt {
            Some(since) => since + DOUBT,
            None if wanted.is_pending() => self.since + PENDING,
            None => return None,
        };
        (now < told).then_some(told)
    }
}

impl Core {
    /// An object's status may have to be written.
    pub(super) fn mark(&mut self, id: &ObjectId) {
        self.queue_up(id, true);
    }

    pub(super) fn queue_up(&mut self, id: &ObjectId, urgent: bool) {
        if self.leads.is_none() {
            return;
        }
        let entry = self.entries.get_mut(id.kind).and_then(|entries| entries.get_mut(&id.key));
        let Some(entry) = entry else { return };
        let place = if urgent { Place::Urgent } else { Place::Rest };
        match entry.place {
            None => {}
            // What there is to say may be something else by now. Where it waited it is passed over.
            Some(Place::Rest) if urgent => {}
            Some(Place::Soon(at)) if urgent => drop(self.queue.later.remove(&(at, id.clone()))),
            Some(_) => return,
        }
        entry.place = Some(place);
        let queue = if urgent { &mut self.queue.urgent } else { &mut self.queue.rest };
        queue.push_back(id.clone());
    }

    /// A cluster's own status.
    pub(super) fn mark_cluster(&mut self, id: &ClusterId) {
        self.queue_up(&ObjectId { kind: "VoiceCluster", key: id.0.clone() }, true);
    }

    /// All objects whose pods are those of a cluster.
    pub(super) fn mark_home(&mut self, cluster: &ClusterId) {
        let ids: Vec<ObjectId> = self.ids().filter(|id| self.planner.homes(id).contains(cluster)).collect();
        ids.iter().for_each(|id| self.queue_up(id, false));
        self.mark_cluster(cluster);
    }

    /// All objects of a namespace that may refer to its Secrets.
    pub(super) fn mark_namespace(&mut self, namespace: &str) {
        let ids: Vec<ObjectId> = self
            .ids()
            .filter(|id| id.key.namespace() == namespace && super::refers_to_secrets(id.kind))
            .collect();
        ids.iter().for_each(|id| self.queue_up(id, false));
    }

    /// All objects.
    pub(super) fn mark_all(&mut self) {
        let ids: Vec<ObjectId> = self.ids().collect();
        ids.iter().for_each(|id| self.queue_up(id, false));
    }

    fn ids(&self) -> impl Iterator<Item = ObjectId> {
        let of = |(kind, entries): (&&'static str, &std::collections::BTreeMap<Key, super::Entry>)| {
            let kind = *kind;
            entries.keys().map(move |key| ObjectId { kind, key: key.clone() }).collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(of)
    }

    /// The next status to be written, if any. [`Core::written`] must follow.
    pub fn next_write(&mut self, now: Duration, wall: Timestamp) -> Option<Write> {
        if self.leads.is_none() || self.first.is_none() || self.changed {
            return None;
        }
        self.queue.pass(now);
        if now < self.queue.held {
            return None;
        }
        for _ in 0..LOOKS_MAX {
            let (id, backfill) = self.queue.take(now)?;
            let place = self.entries.get(id.kind).and_then(|entries| entries.get(&id.key)?.place);
            if place.is_none() || (backfill && place != Some(Place::Rest)) {
                continue;
            }
            let wanted = self.judge(&id, now);
            let Some(entry) = self.entries.get_mut(id.kind).and_then(|entries| entries.get_mut(&id.key))
            else {
                continue;
            };
            entry.place = None;
            entry.again = entry.writing;
            let Some(wanted) = wanted.filter(|_| !entry.writing) else { continue };
            if wanted.is_shown(&entry.status) {
                self.queue.dropped += 1;
                continue;
            }
            if let Some(told) = entry.waits(&wanted, now) {
                entry.place = Some(Place::Soon(told));
                self.queue.later.insert((told, id));
                continue;
            }
            entry.writing = true;
            if backfill {
                self.queue.rest_at = now + BACKFILL;
            }
            let mut body = wanted.apply(api::API_VERSION, id.kind, id.key.name(), &entry.status, wall);
            body["metadata"]["resourceVersion"] = (*entry.version).into();
            body["metadata"]["uid"] = (*entry.uid).into();
            let transitions = status::transitions(&entry.status, &wanted, id.kind == "VoiceCluster");
            return Some(Write { uid: entry.uid.clone(), body, transitions, id });
        }
        None
    }

    /// What became of a write.
    pub fn written(&mut self, now: Duration, id: &ObjectId, uid: &str, written: Written) {
        let Some(entry) = self.entries.get_mut(id.kind).and_then(|entries| entries.get_mut(&id.key)) else {
            return;
        };
        if *entry.uid != *uid {
            return;
        }
        entry.writing = false;
        let again = std::mem::take(&mut entry.again);
        match written {
            Written::Done(version, status) => {
                if !super::is_older(&version, &entry.version) {
                    entry.version = version;
                    entry.status = status;
                }
                entry.failures = 0;
                self.queue.well();
                if again {
                    self.mark(id);
                }
            }
            // Gone: a change of the object brings it back.
            Written::Failed(Some(404)) => {}
            Written::Failed(code) => {
                let wait = match code {
                    // The watch is about to tell of a newer one.
                    Some(409) => RETRY.0,
                    // Somebody must do something about it first.
                    Some(403 | 422) => RETRY.1,
                    _ => pause(entry.failures.into()),
                };
                entry.failures = entry.failures.saturating_add(1);
                if entry.place.is_none() {
                    entry.place = Some(Place::Later);
                    self.queue.later.insert((now + wait, id.clone()));
                }
                if code.is_none_or(|code| code == 429 || code >= 500) {
                    self.queue.troubled(now);
                }
            }
        }
    }

    /// Statuses that wait, and how many proved needless.
    #[must_use]
    pub fn backlog(&self) -> (usize, u64) {
        let queue = &self.queue;
        (queue.urgent.len() + queue.rest.len() + queue.later.len(), queue.dropped)
    }
}
