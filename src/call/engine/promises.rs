//! Promises to call somebody back: each is a call of its own, which waits in the queue without a leg.

use std::{sync::Arc, time::Duration};

use model::{
    FlowId, QueueId,
    program::{Program, Queue, Step, Verb},
};

use super::{Answer, Engine, Output, outgoing::unheard};
use crate::{
    Now,
    admission::Admitted,
    call::{Call, Incoming, PROMISE_MAX, Promised},
    cursor::Environment,
    dialling,
    explanation::Outcome,
    sdp_leg::Terms,
    world::Flow,
};

impl Engine {
    /// The same, and what its call is told of it: nothing of one that was promised before.
    pub(super) fn promise_for(
        &mut self,
        now: Now,
        by: &Call,
        promised: Promised,
        is_again: bool,
    ) -> Option<Answer> {
        let promised = self.promise(now, by, promised);
        (!is_again).then_some(Answer::Promised(promised))
    }

    /// Promises to call somebody back on behalf of a call.
    ///
    /// # Errors
    /// Why nobody is called back.
    fn promise(&mut self, now: Now, by: &Call, promised: Promised) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        let admitted = by.admitted();
        let tenant = admitted.tenant.as_str();
        let rules = world.snapshot.centre.dialling(tenant);
        dialling::may_dial(tenant, rules, promised.number).map_err(|refusal| refusal.because)?;
        let limit = world.snapshot.cluster.limits.calls_max;
        if self.draining {
            return Err("this edge is draining and takes no new calls".into());
        }
        if self.load.calls_now() >= limit {
            return Err(format!("the VoiceCluster's limits.calls of {limit} is reached"));
        }
        // One promise is enough, however often the contact asks for it.
        if self.calls.values().any(|call| call.promises(&promised.queue, promised.number)) {
            return Ok(());
        }
        let trunks = rules.map(|rules| rules.trunks.clone()).unwrap_or_default();
        let shown = admitted.called().or(rules.and_then(|rules| rules.default_caller_id));
        let call_id = format!("callback-{:016x}", self.lots.draw());
        let from = shown.map(|number| number.to_string()).unwrap_or_default();
        let to = promised.number.to_string();
        let names = (call_id, from, to);
        let outcome = Outcome::Promised { queue: promised.queue.clone() };
        self.push(Output::Explanation(Box::new(unheard(now, &names, outcome))));
        let terms = Terms::of_phone(model::net::Transport::Udp, false);
        let admitted = Admitted { flow: waits(tenant, &promised.queue), ..admitted.clone() };
        let part_of = Some(by.call_id().to_owned());
        let incoming = Incoming { part_of, ..self.of_ours(names, terms, admitted) };
        let id = self.begin_outgoing(now, incoming, |id, incoming, environment: Environment<'_>| {
            Call::called_back(id, incoming, (promised, trunks, shown), environment)
        });
        self.with_call(now, id, Call::wait_for_turn);
        match self.calls.get(&id) {
            Some(call) if !call.is_ending() => Ok(()),
            Some(_) | None => Err("the queue takes no more contacts".into()),
        }
    }
}

/// What one who is called back runs.
fn waits(tenant: &str, queue: &QueueId) -> Arc<Flow> {
    let longest = u32::try_from(Duration::as_millis(&PROMISE_MAX)).unwrap_or(u32::MAX);
    let verb = Verb::Queue(Queue {
        queue: queue.clone(),
        priority: None,
        max_wait_ms: Some(longest),
        ended: None,
        timed_out: None,
        full: None,
        no_agents: None,
    });
    let program = Program {
        revision: String::new(),
        variables: Vec::new(),
        steps: vec![Step { name: "callback".into(), verb }],
        on_error: None,
        translations: Default::default(),
    };
    Arc::new(Flow::without_expressions(FlowId::new(tenant, "callback"), Arc::new(program)))
}
