//! A call whose first leg is ours too: who makes it at the desk is rung, and is the A leg from the answer on.

use model::{CallId, program::DialTarget};

use super::{Call, Context, DeskNews, Effect, Environment, Incoming, StateA};
use crate::{cursor::Dialled, dial::Whom, record::EndedBy};

/// How long the telephones of whoever calls may ring, in milliseconds.
const RING_MS: u32 = 30_000;

impl Call {
    /// A call that an agent makes at the desk; [`ring_caller`](Self::ring_caller) starts it.
    #[must_use]
    pub fn outgoing(id: CallId, incoming: Incoming, environment: Environment<'_>) -> Self {
        let mut call = Self::new(id, incoming, environment);
        (call.a.state, call.is_outgoing) = (StateA::Outgoing, true);
        call
    }

    /// Rings whoever makes it.
    pub fn ring_caller(&mut self, context: &mut Context<'_>) {
        let Some(station) = &self.a.station else { return };
        let agent = Whom::Target(DialTarget::Agent(station.agent.clone()));
        self.dial_whom(super::handover::rings_for(RING_MS), vec![agent], context);
    }

    /// Who makes it is there: from here on it is a call like any other of a telephone.
    pub(super) fn caller_answered(&mut self, context: &mut Context<'_>) {
        if self.promise.is_some() {
            return match self.dials_back() {
                true => self.contact_for_promise(context),
                false => self.agent_for_promise(context),
            };
        }
        if self.standing.is_some() {
            return self.standing_up(context);
        }
        let branch = self.dialling.take().and_then(|dialling| dialling.branches.into_iter().next());
        if !self.become_caller(branch, context) {
            return;
        }
        self.begin(context);
    }

    /// Who makes it does not answer.
    pub(super) fn caller_unanswered(&mut self, code: u16, context: &mut Context<'_>) {
        if self.standing.is_some() {
            return self.standing_unanswered(code, context);
        }
        self.tell_caller(format!("your telephone was not answered ({code})"), context);
        self.finish(EndedBy::Failure, 480, Some("the caller's telephone was not answered"), context);
    }

    /// Whom the agent calls at the desk cannot be had.
    pub(super) fn callee_failed(&self, outcome: Dialled, code: u16, context: &mut Context<'_>) {
        if self.is_outgoing {
            let what = match outcome {
                Dialled::Busy => "is busy",
                Dialled::NoAnswer => "did not answer",
                Dialled::Ended | Dialled::Failed => "could not be reached",
            };
            self.tell_caller(format!("{} {what} ({code})", self.incoming.to), context);
        }
    }

    fn tell_caller(&self, because: String, context: &mut Context<'_>) {
        if let Some(station) = &self.a.station {
            let agent = station.agent.clone();
            context.effects.push(Effect::Desk(DeskNews::Refused { agent, because }));
        }
    }
}
