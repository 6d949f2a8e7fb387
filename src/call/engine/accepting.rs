//! What is offered to an agent is accepted at the desk.

use model::{AgentId, CallId};

use super::{Engine, Output};
use crate::Now;

impl Engine {
    /// Whose offer it is not learns no more of it than of one that there is not.
    pub(super) fn agent_accepts(&mut self, now: Now, agent: &AgentId, call: CallId) {
        if self.accept_standing(now, agent, call) {
            return;
        }
        let mut done = Err("no such contact is offered to you".to_owned());
        self.with_call(now, call, |call, _| done = call.accept(agent));
        if let Err(because) = done {
            self.push(Output::Refused { call: Some(call), agent: agent.clone(), because });
        }
    }
}
