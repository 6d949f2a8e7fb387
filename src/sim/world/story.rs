//! What became of the call that a test is about.

use std::{collections::BTreeSet, time::Instant};

use call::{
    cursor::Cursor,
    record::{EndedBy, Record},
};
use model::{AgentId, AudioId, CallId, FlowId, QueueId, calltest::CallOutcome, program::Verb};

/// Most sentences that are kept of what the engine told.
const TOLD_MAX: usize = 64;

/// Most sounds, and most messages, that are kept.
const SOUNDS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Story {
    /// Call-ID of the contact's leg.
    pub call_id: String,
    /// None: the engine took none.
    pub call: Option<CallId>,
    pub flow: Option<FlowId>,
    /// As the record has it.
    pub path: Vec<String>,
    /// Every entry that the path ever had.
    pub entries: BTreeSet<String>,
    /// The step that it is at, or was at last.
    pub at: Option<String>,
    pub variables: Vec<(String, String)>,
    /// Sounds that began to be heard, and those that were heard whole.
    pub begun: Vec<AudioId>,
    pub heard: Vec<AudioId>,
    pub queues: Vec<QueueId>,
    pub agents: Vec<AgentId>,
    /// To whom it is offered.
    pub offered: BTreeSet<AgentId>,
    pub is_answered: bool,
    /// Whether it waits in a queue.
    pub is_queued: bool,
    /// Whether somebody talks with the contact, or did until it ended.
    pub is_talking: bool,
    pub queued_at: Option<Instant>,
    pub bridged_at: Option<Instant>,
    pub message_at: Option<Instant>,
    /// When the contact's leg was over.
    pub over_at: Option<Instant>,
    /// With which code it was refused.
    pub refused: Option<u16>,
    /// Why it was refused or not heard.
    pub because: Option<String>,
    pub record: Option<Record>,
    /// Receiver and text of each SMS that was sent.
    pub messages: Vec<(String, String)>,
    /// Sentences of the engine.
    pub told: Vec<String>,
}

impl Story {
    pub fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX && !self.told.contains(&what) {
            self.told.push(what);
        }
    }

    /// A service has taken the request that an SMS is.
    pub fn write(&mut self, request: &str) {
        let field = |name: &str| {
            let request: serde_json::Value = serde_json::from_str(request).ok()?;
            Some(request.get(name)?.as_str()?.to_owned())
        };
        if self.messages.len() < SOUNDS_MAX {
            self.messages.extend(field("to").zip(field("text")));
        }
    }

    pub fn notice(&mut self, audio: AudioId, begins: bool) {
        let sounds = if begins { &mut self.begun } else { &mut self.heard };
        if sounds.len() < SOUNDS_MAX {
            sounds.push(audio);
        }
    }

    /// The call goes on; `reads` variables too.
    pub fn sample(&mut self, now: Instant, cursor: &Cursor, reads: bool) {
        let path = cursor.path();
        if self.path.len() != path.len() || self.path.last() != path.last() {
            // The last one may have been another before.
            let from = self.path.len().saturating_sub(1).min(path.len());
            self.entries.extend(path[from..].iter().cloned());
            self.path.truncate(from);
            self.path.extend(path[from..].iter().cloned());
        }
        if self.flow.is_none() {
            self.flow = Some(cursor.flow().id.clone());
        }
        if !self.at.as_deref().is_some_and(|step| cursor.is_at(step)) {
            self.at = Some(cursor.step());
        }
        if let Verb::Queue(queue) = cursor.verb() {
            self.is_queued = true;
            self.queued_at.get_or_insert(now);
            if self.queues.last() != Some(&queue.queue) {
                self.queues.push(queue.queue.clone());
            }
        } else {
            self.is_queued = false;
        }
        if reads {
            let variables = cursor.variables();
            self.variables = variables.map(|(name, value)| (name.to_owned(), value.to_string())).collect();
        }
    }

    /// The call is over.
    pub fn end(&mut self, record: Record) {
        self.entries.extend(record.path.iter().cloned());
        self.path.clone_from(&record.path);
        if self.flow.is_none() {
            self.flow.clone_from(&record.flow);
        }
        self.because = self.because.take().or_else(|| record.because.clone());
        self.record = Some(record);
    }

    /// How it came out, and when. None: the contact is somewhere on the way.
    pub fn outcome(&self) -> Option<(CallOutcome, Option<Instant>)> {
        let over = |outcome| Some((outcome, self.over_at));
        if self.message_at.is_some() {
            return Some((CallOutcome::Voicemail, self.message_at));
        }
        let bridged = Some((CallOutcome::Bridged, self.bridged_at));
        let Some(record) = &self.record else {
            if self.call.is_none() {
                return over(CallOutcome::Rejected);
            }
            return match (self.is_talking, self.is_queued) {
                (true, _) => bridged,
                (false, true) => Some((CallOutcome::Queued, self.queued_at)),
                (false, false) => None,
            };
        };
        match record.ended_by {
            EndedBy::Caller if self.is_talking => bridged,
            EndedBy::Caller => over(CallOutcome::Abandoned),
            EndedBy::Flow | EndedBy::Callee if record.answered_at.is_none() => over(CallOutcome::Rejected),
            EndedBy::Flow => over(CallOutcome::Completed),
            EndedBy::Callee => bridged,
            EndedBy::Deadline | EndedBy::MediaTimeout | EndedBy::Failure | EndedBy::Lost => {
                over(CallOutcome::Failed)
            }
        }
    }

    /// Steps that it came to, in order: those that it passed, and the one that it is at.
    pub fn steps(&self) -> Vec<&str> {
        let mut steps: Vec<&str> = self.path.iter().map(|entry| step_and_outcome(entry).0).collect();
        if let Some(at) = self.at.as_deref().filter(|at| steps.last() != Some(at)) {
            steps.push(at);
        }
        steps
    }

    /// `main:hours (open) → main:menu (noInput) → survey:lot`
    pub fn told_path(&self) -> String {
        let flow = self.flow.as_ref().map_or("", |flow| flow.0.name());
        let named = |step: &str| match step.split_once('/') {
            Some((callee, step)) => format!("{callee}:{step}"),
            None => format!("{flow}:{step}"),
        };
        let passed = self.path.iter().map(|entry| {
            let (step, outcome) = step_and_outcome(entry);
            format!("{} ({outcome})", named(step))
        });
        let mut parts: Vec<String> = passed.collect();
        let last = self.path.last().map(|entry| step_and_outcome(entry).0);
        if let Some(at) = self.at.as_deref().filter(|at| last != Some(at)) {
            parts.push(named(at));
        }
        if parts.is_empty() { "empty".to_owned() } else { parts.join(" → ") }
    }
}

/// An entry of a path.
pub(crate) fn step_and_outcome(entry: &str) -> (&str, &str) {
    entry.split_once(": ").unwrap_or((entry, ""))
}
