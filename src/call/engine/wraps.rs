//! The work after a contact: which there is, and what agents say of the contact in it.
//!
//! It begins when the agent has the contact no more and ends later than the call, as a rule: what is needed of the call is
//! kept beside it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    AgentId, CallId, QueueId,
    centre::{Disposition, Queue},
};

use super::{AfterWork, Engine, Output, WrapUp};
use crate::{
    Now,
    call::Call,
    record::{Disposed, NONE},
};

/// Longest notes, in characters.
pub const NOTES_MAX: usize = 2_000;

/// Work that is going on, and calls whose agents have just let them go.
#[derive(Debug, Default)]
pub(super) struct Wraps {
    all: BTreeMap<(CallId, AgentId), Wrap>,
    released: BTreeMap<CallId, Of>,
}

/// What is known of the call.
#[derive(Debug, Clone)]
struct Of {
    call_id: String,
    tenant: String,
    started_at: Timestamp,
}

#[derive(Debug)]
struct Wrap {
    of: Of,
    queue: QueueId,
    /// Whether something is to be said of the contact.
    is_asked: bool,
}

impl Wraps {
    /// An agent has let a call go.
    pub fn released(&mut self, call: &Call) {
        let of = || Of {
            call_id: call.call_id().to_owned(),
            tenant: call.admitted().tenant.clone(),
            started_at: call.started_at(),
        };
        self.released.entry(call.id()).or_insert_with(of);
    }

    /// The floors have said all that they had to say.
    pub fn settle(&mut self) {
        self.released.clear();
    }

    /// Whether an agent is still to say what has come of a contact.
    pub fn is_waited_for(&self) -> bool {
        self.all.values().any(|wrap| wrap.is_asked)
    }
}

impl Engine {
    /// Work after a contact begins.
    pub(super) fn wrap_up(&mut self, call: CallId, agent: AgentId, queue: QueueId) {
        let Some(of) = self.wraps.released.get(&call).cloned() else { return };
        let found = self.world.snapshot.centre.queues.get(&queue);
        let dispositions = found.map(|queue| queue.dispositions.clone()).unwrap_or_default();
        let is_required = found.is_some_and(|queue| queue.disposition_required);
        let wrap = Wrap { of: of.clone(), queue: queue.clone(), is_asked: !dispositions.is_empty() };
        self.wraps.all.insert((call, agent.clone()), wrap);
        let call_id = of.call_id;
        let begun = WrapUp { call, call_id, agent, queue, dispositions, is_required };
        self.push(Output::WrapUp(Box::new(begun)));
    }

    /// Its time is over.
    pub(super) fn wrap_up_over(&mut self, now: Now, call: CallId, agent: AgentId) {
        let Some(wrap) = self.wraps.all.remove(&(call, agent.clone())) else { return };
        self.dispose(now, (call, &agent), wrap, AfterWork::default(), true);
        self.push(Output::WrapUpOver { call, agent });
    }

    /// An agent says to be done with it.
    ///
    /// # Errors
    /// Why that is not so, for the agent.
    pub(super) fn finish_wrap_up(
        &mut self,
        now: Now,
        (call, agent): (CallId, &AgentId),
        after: AfterWork,
    ) -> Result<(), String> {
        let known = self.wraps.all.get(&(call, agent.clone()));
        let wrap = known.ok_or("there is no work after that contact")?;
        let found = self.world.snapshot.centre.queues.get(&wrap.queue);
        fits(&wrap.queue, found.map(|queue| &**queue), &after)?;
        if let Some(wrap) = self.wraps.all.remove(&(call, agent.clone())) {
            self.dispose(now, (call, agent), wrap, after, false);
        }
        self.push(Output::WrapUpOver { call, agent: agent.clone() });
        Ok(())
    }

    /// The edge goes: nobody will say any more what has come of contacts.
    pub(super) fn end_wraps(&mut self, now: Now) {
        while let Some(((call, agent), _)) = self.wraps.all.first_key_value() {
            let (call, agent) = (*call, agent.clone());
            self.wrap_up_over(now, call, agent);
        }
    }

    fn dispose(
        &mut self,
        now: Now,
        (call, agent): (CallId, &AgentId),
        Wrap { of, queue, is_asked }: Wrap,
        AfterWork { disposition, notes }: AfterWork,
        timed_out: bool,
    ) {
        let notes = notes.filter(|notes| !notes.trim().is_empty());
        if !is_asked && disposition.is_none() && notes.is_none() {
            return;
        }
        let Of { tenant, started_at, .. } = of;
        let disposition = disposition.unwrap_or_else(|| NONE.to_owned());
        let agent = agent.clone();
        let at = now.wall;
        let disposed = Disposed { call, started_at, tenant, agent, queue, disposition, notes, timed_out, at };
        self.push(Output::Disposed(Box::new(disposed)));
    }
}

/// Whether an agent may be done by saying this of a contact of the queue, as it is now.
fn fits(id: &QueueId, queue: Option<&Queue>, after: &AfterWork) -> Result<(), String> {
    let allowed = queue.map(|queue| queue.dispositions.as_slice()).unwrap_or_default();
    let names = || allowed.iter().map(|one: &Disposition| one.name.as_str()).collect::<Vec<_>>().join(", ");
    match &after.disposition {
        Some(named) if allowed.is_empty() => {
            Err(format!("Queue {id} has no dispositions, so that `{}` is none", named.escape_default()))
        }
        Some(named) if !allowed.iter().any(|one| one.name == *named) => {
            Err(format!("`{}` is no disposition of Queue {id}: it has {}", named.escape_default(), names()))
        }
        None if !allowed.is_empty() && queue.is_some_and(|queue| queue.disposition_required) => {
            Err(format!("Queue {id} wants one of its dispositions: {}", names()))
        }
        Some(_) | None => Ok(()),
    }
}
