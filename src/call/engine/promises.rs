//! Promises to call somebody back, and previews of whom an agent may call: each is a call of its own, which waits in the queue
//! without a leg.
//!
//! **One that only waits is no call in progress**: `limits.calls` and the figures of calls count it once a telephone rings
//! for it. A draining edge goes on with those that there are as long as it has other calls; then it closes them as lost,
//! since no other edge can take them over, and their records say so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{
    E164, FlowId, QueueId,
    centre::First,
    program::{Program, Queue, Step, Verb},
};

use super::{Answer, Engine, Output, outgoing::unheard};
use crate::{
    Now,
    admission::{Admitted, Origin},
    call::{Call, Card, Incoming, PROMISE_MAX, Promised},
    cursor::Environment,
    dialling,
    explanation::Outcome,
    sdp_leg::Terms,
    world::{Flow, World},
};

/// Whom an agent of a queue is to see, and may have dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Names it in explanations and records: unique.
    pub call_id: String,
    /// Whose agents.
    pub queue: QueueId,
    /// The contact's number.
    pub number: E164,
    /// What the contact sees. None: the tenant's default.
    pub caller_id: Option<E164>,
    /// The contact's name; empty: not known.
    pub name: String,
    /// Whatever else the agent is to see.
    pub variables: BTreeMap<String, String>,
    /// How long an agent may look at it.
    pub shown_for: Duration,
    /// How long it waits for an agent at most.
    pub wait_max: Duration,
}

/// Why nobody can be called by a preview, as things are.
///
/// # Errors
/// A sentence that names what is wrong.
pub fn may_preview(world: &World, preview: &Preview) -> Result<(), String> {
    let tenant = preview.queue.0.namespace();
    if !world.snapshot.centre.queues.contains_key(&preview.queue) {
        return Err(format!("there is no Queue {}", preview.queue));
    }
    let rules = world.snapshot.centre.dialling(tenant);
    dialling::may_dial(tenant, rules, preview.number).map_err(|refusal| refusal.because)?;
    let trunks = rules.map(|rules| rules.trunks.as_slice()).unwrap_or_default();
    let grants = |number: E164| {
        let trunks = trunks.iter().filter_map(|trunk| world.snapshot.trunks.get(trunk));
        let mut grants = trunks.flat_map(|trunk| &trunk.grants);
        grants.any(|grant| grant.namespace == tenant && (grant.first..=grant.last).contains(&number))
    };
    match preview.caller_id {
        Some(shown) if !grants(shown) => {
            Err(format!("no trunk of the Tenant's `outboundTrunks` grants {shown} to {tenant}"))
        }
        Some(_) | None => Ok(()),
    }
}

impl Engine {
    /// The same, and what its call is told of it: nothing of one that was promised before.
    pub(super) fn promise_for(
        &mut self,
        now: Now,
        by: &Call,
        promised: Promised,
        is_again: bool,
    ) -> Option<Answer> {
        let number = promised.number;
        let promised = self.promise(now, by, promised);
        if let (true, Err(because)) = (is_again, &promised) {
            let (call_id, what) =
                (by.call_id().to_owned(), format!("{number} is not called back: {because}"));
            self.push(Output::Told(Box::new(crate::call::Told { call_id, what })));
        }
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
        // One promise is enough, however often the contact asks for it.
        if self.calls.values().any(|call| call.promises(&promised.queue, promised.number)) {
            return Ok(());
        }
        let shown = admitted.called().or(rules.and_then(|rules| rules.default_caller_id));
        let call_id = format!("callback-{:016x}", self.lots.draw());
        let flow = waits("callback", &promised.queue, PROMISE_MAX);
        let admitted = Admitted { flow, ..admitted.clone() };
        let part_of = Some(by.call_id().to_owned());
        self.wait_for_turn(now, (call_id, part_of), admitted, (promised, shown))
    }

    /// An agent of a queue is to see whom it may call.
    pub(super) fn preview(&mut self, now: Now, preview: Preview) {
        let names = (preview.call_id.clone(), String::new(), preview.number.to_string());
        if let Err(because) = self.try_preview(now, preview) {
            let outcome = Outcome::Refused { code: 480, because };
            self.push(Output::Explanation(Box::new(unheard(now, &names, outcome))));
        }
    }

    fn try_preview(&mut self, now: Now, preview: Preview) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        may_preview(&world, &preview)?;
        let Preview { call_id, queue, number, caller_id, name, variables, shown_for, wait_max } = preview;
        let tenant = queue.0.namespace().to_owned();
        let rules = world.snapshot.centre.dialling(&tenant);
        let trunk = rules.and_then(|rules| rules.trunks.first());
        let trunk = trunk.ok_or("the Tenant has no `outboundTrunks`")?.clone();
        let shown = caller_id.or(rules.and_then(|rules| rules.default_caller_id));
        let admitted = Admitted {
            origin: Origin::Trunk(trunk),
            tenant,
            number: None,
            dialled: None,
            first_dialled: None,
            flow: waits("preview", &queue, wait_max.min(PROMISE_MAX)),
        };
        let promised = Promised {
            queue,
            number,
            entered: now.instant,
            entered_at: now.wall,
            not_before: None,
            attempts: 1,
            retry: Duration::ZERO,
            first: First::Agent,
            card: Some(Arc::new(Card { name, variables, shown_for })),
        };
        self.wait_for_turn(now, (call_id, None), admitted, (promised, shown))
    }

    /// Whoever is called waits in the queue from now on.
    fn wait_for_turn(
        &mut self,
        now: Now,
        (call_id, part_of): (String, Option<String>),
        admitted: Admitted,
        (promised, shown): (Promised, Option<E164>),
    ) -> Result<(), String> {
        if self.draining {
            return Err("this edge is draining and takes no new calls".into());
        }
        let world = Arc::clone(&self.world);
        let rules = world.snapshot.centre.dialling(&admitted.tenant);
        let trunks = rules.map(|rules| rules.trunks.clone()).unwrap_or_default();
        let from = shown.map(|number| number.to_string()).unwrap_or_default();
        let names = (call_id, from, promised.number.to_string());
        let outcome = Outcome::Promised { queue: promised.queue.clone() };
        self.push(Output::Explanation(Box::new(unheard(now, &names, outcome))));
        let terms = Terms::of_phone(model::net::Transport::Udp, false);
        let incoming = Incoming { part_of, ..self.of_ours(names, terms, admitted) };
        let id = self.make_outgoing(now, incoming, |id, incoming, environment: Environment<'_>| {
            Call::called_back(id, incoming, (promised, trunks, shown), environment)
        });
        self.with_call(now, id, Call::wait_for_turn);
        match self.calls.get(&id) {
            Some(call) if !call.is_ending() => Ok(()),
            Some(_) | None => Err("the queue takes no more contacts".into()),
        }
    }

    /// A promise is a call in progress while a telephone rings for it or is up.
    pub(super) fn count_promise(&mut self, call: &Call) {
        let (id, number) = (call.id(), call.burdens());
        if call.is_waiting_promise() {
            self.promises.insert(id);
            self.load.end(id, call.a_leg(), number);
            return;
        }
        self.promises.remove(&id);
        if !call.is_ending() && !self.load.is_counted(id) {
            self.load.begin(id, call.a_leg(), None, number);
        }
    }

    /// Ends promises that only wait, once the edge goes and has nothing else left.
    pub(super) fn lose_promises(&mut self, now: Now) {
        let is_left = self.promises.len() == self.calls.len() && !self.wraps.is_waited_for();
        if !self.draining || !is_left {
            return;
        }
        while let Some(id) = self.promises.pop_first() {
            self.with_call(now, id, Call::lose);
        }
    }
}

/// What one who is called back runs.
fn waits(step: &str, queue: &QueueId, longest: Duration) -> Arc<Flow> {
    let longest = u32::try_from(longest.as_millis()).unwrap_or(u32::MAX);
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
        steps: vec![Step { name: step.into(), verb }],
        on_error: None,
        translations: Default::default(),
    };
    Arc::new(Flow::without_expressions(FlowId::new(queue.0.namespace(), step), Arc::new(program)))
}
