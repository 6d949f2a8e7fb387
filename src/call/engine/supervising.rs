//! Supervisors: who may listen to which conversation, and one at a time.
//!
//! What is not theirs to hear is answered as what there is not.

use std::sync::Arc;

use model::{AgentId, CallId, centre::StationKind};

use super::{Engine, Output, contract::Supervisee};
use crate::{
    Now,
    call::{Call, NOTHING_TO_HEAR},
    record::SupervisionMode,
    registrar::StationId,
};

impl Engine {
    /// A supervisor wants to listen to a conversation, or to be heard otherwise in the one that they listen to.
    pub(super) fn agent_supervises(
        &mut self,
        now: Now,
        supervisor: &AgentId,
        (heard, mode): (&Supervisee, SupervisionMode),
    ) {
        if let Err(because) = self.supervises(now, supervisor, (heard, mode)) {
            let call = match heard {
                Supervisee::Call(call) => Some(*call),
                Supervisee::Agent(_) => None,
            };
            self.push(Output::Refused { call, agent: supervisor.clone(), because });
        }
    }

    fn supervises(
        &mut self,
        now: Now,
        supervisor: &AgentId,
        (heard, mode): (&Supervisee, SupervisionMode),
    ) -> Result<(), String> {
        let (id, agent) = self.conversation(supervisor, heard).ok_or(NOTHING_TO_HEAR)?;
        if agent == *supervisor {
            return Err("that is your own conversation".into());
        }
        let listens = self.calls.get(&id).and_then(|call| call.supervisor()) == Some(supervisor);
        if !listens {
            self.may_begin_to_listen(supervisor)?;
        }
        let mut connected = if listens { None } else { self.lend_own(now, supervisor, id) };
        let mut done = Err(NOTHING_TO_HEAR.to_owned());
        self.with_call(now, id, |call, context| {
            done = call.supervise(supervisor, (agent, mode), &mut connected, context);
        });
        if let Some(connected) = connected {
            self.standing_untaken(&connected);
        }
        done
    }

    /// The conversation that is meant, and whose it is, if the supervisor may listen to it.
    fn conversation(&self, supervisor: &AgentId, heard: &Supervisee) -> Option<(CallId, AgentId)> {
        let world = Arc::clone(&self.world);
        let found = world.snapshot.centre.agents.get(supervisor)?;
        let of = |(id, call): (&CallId, &Call), named: Option<&AgentId>| {
            let is_ours = call.admitted().tenant == supervisor.0.namespace();
            let agent = call.talker(named).filter(|_| is_ours && call.may_be_heard_by(found))?;
            Some((*id, agent))
        };
        match heard {
            Supervisee::Call(id) => {
                let call = self.calls.get(id)?;
                // Who listens already goes on with the same agent.
                let known = call.supervised(supervisor).cloned();
                of((id, call), known.as_ref())
            }
            Supervisee::Agent(agent) => self.calls.iter().find_map(|(id, call)| of((id, call), Some(agent))),
        }
    }

    fn may_begin_to_listen(&self, supervisor: &AgentId) -> Result<(), String> {
        let mut calls = self.calls.values().filter(|call| !call.is_ending());
        if calls.any(|call| call.supervisor() == Some(supervisor)) {
            return Err("you listen to another conversation: leave it first".into());
        }
        let agents = &self.world.snapshot.centre.agents;
        let stations = agents.get(supervisor).map(|agent| agent.stations.as_slice()).unwrap_or_default();
        let ids = || {
            stations
                .iter()
                .map(|station| StationId { agent: supervisor.clone(), station: station.name.clone() })
        };
        let busy = |call: &Call| {
            call.has_agent(supervisor) || !call.is_ending() && ids().any(|station| call.is_with(&station))
        };
        if self.calls.values().any(|call| busy(call)) {
            return Err("you are in a conversation: end it first".into());
        }
        if self.floors.is_offered(supervisor) {
            return Err("a contact is offered to you: take or decline it first".into());
        }
        let is_public = stations.iter().any(|station| matches!(station.kind, StationKind::Pstn { .. }));
        let is_registered = ids().any(|station| !self.registrar.bindings(&station).is_empty());
        if !is_public && !is_registered && self.standing_of(supervisor).is_none() {
            return Err("none of your telephones is registered, so you would hear nothing".into());
        }
        Ok(())
    }

    /// Whoever signs out listens no more.
    pub(super) fn stop_listening(&mut self, now: Now, supervisor: &AgentId) {
        let listens = |call: &Call| call.supervisor() == Some(supervisor);
        let found = self.calls.iter().find(|(_, call)| listens(call)).map(|(id, _)| *id);
        if let Some(id) = found {
            self.with_call(now, id, Call::end_supervision);
        }
    }

    /// After another snapshot: a right that is withdrawn ends at once.
    pub(super) fn look_over_supervisors(&mut self, now: Now) {
        let agents = &self.world.snapshot.centre.agents;
        let may = |call: &Call| {
            let supervisor = call.supervisor();
            supervisor.is_none_or(|id| agents.get(id).is_some_and(|agent| call.may_be_heard_by(agent)))
        };
        let lost: Vec<CallId> = self.calls.iter().filter(|(_, call)| !may(call)).map(|(id, _)| *id).collect();
        for id in lost {
            self.with_call(now, id, |call, context| {
                call.break_supervision(
                    "you may listen to this queue's conversations no more".into(),
                    context,
                );
            });
        }
    }
}
