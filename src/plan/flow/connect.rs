//! Verbs that bring somebody else in: a callee, an agent out of a queue, or a message.

use api::v1alpha1 as v1;
use model::{
    AgentId, QueueId, TrunkId,
    program::{Dial, DialStrategy, DialTarget, Queue, StepIx, TransferKind, VariableKind, Verb},
};

use super::{Compiler, End, milliseconds};
use crate::{
    platform::{caller_id, dialled_trunk},
    problem::Reason,
};

impl Compiler<'_> {
    pub(super) fn connect(&mut self, step: &v1::Step, at: &str) -> Option<Verb> {
        if let Some(dial) = &step.dial {
            Some(self.dial(dial, at))
        } else if let Some(transfer) = &step.transfer {
            Some(self.transfer(transfer, at))
        } else if let Some(queue) = &step.queue {
            Some(self.queue(queue, at))
        } else if let Some(callback) = &step.callback {
            Some(self.callback(callback, at))
        } else {
            step.message.as_ref().map(|message| self.message(message, at))
        }
    }

    fn dial(&mut self, dial: &v1::Dial, at: &str) -> Verb {
        let field = format!("{at}.dial");
        let caller_id = dial.caller_id.as_deref();
        let targets = dial.to.iter().enumerate().filter_map(|(index, target)| {
            self.target(target, caller_id, &field, &format!("{field}.to[{index}]"))
        });
        let targets = targets.collect();
        let ended = self.follow(dial.next.as_deref(), at, "dial.next", false);
        let failures = self.failures([&dial.busy, &dial.no_answer, &dial.failed], at, "dial");
        let (relay_failure, [busy, no_answer, failed]) = failures;
        Verb::Dial(Dial {
            targets,
            strategy: match dial.strategy {
                v1::DialStrategy::InOrder => DialStrategy::InOrder,
                v1::DialStrategy::Simultaneous => DialStrategy::Simultaneous,
            },
            ring_ms: milliseconds(dial.ring_seconds),
            ended: Some(ended),
            busy,
            no_answer,
            failed,
            relay_failure,
        })
    }

    /// Where `busy`, `noAnswer` and `failed` lead, and whether none is handled anywhere: then the callee's own answer is
    /// relayed.
    fn failures(&mut self, names: [&Option<String>; 3], at: &str, verb: &str) -> (bool, [Option<StepIx>; 3]) {
        let handled = names.iter().any(|name| name.is_some()) || self.item.spec.on_error.is_some();
        if !handled && !matches!(self.end, End::Returns) {
            return (true, [None; 3]);
        }
        let [busy, no_answer, failed] = names;
        let failures = [(busy, "busy"), (no_answer, "noAnswer"), (failed, "failed")];
        (false, failures.map(|(name, field)| self.failure(name.as_deref(), at, (verb, field), true)))
    }

    fn transfer(&mut self, transfer: &v1::Transfer, at: &str) -> Verb {
        let field = format!("{at}.transfer");
        let caller_id = transfer.caller_id.as_deref();
        let target = self.target(&transfer.to, caller_id, &field, &format!("{field}.to"));
        let failures = self.failures([&transfer.busy, &transfer.no_answer, &transfer.failed], at, "transfer");
        let (relay_failure, [busy, no_answer, failed]) = failures;
        let dial = Dial {
            targets: target.into_iter().collect(),
            strategy: DialStrategy::InOrder,
            ring_ms: milliseconds(transfer.ring_seconds),
            ended: None,
            busy,
            no_answer,
            failed,
            relay_failure,
        };
        let kind = match transfer.kind {
            v1::TransferKind::Blind => TransferKind::Blind,
            v1::TransferKind::Refer => TransferKind::Refer,
        };
        Verb::Transfer { dial, kind }
    }

    /// `at` is the verb, `to` the target within it.
    fn target(&mut self, target: &v1::Target, shown: Option<&str>, at: &str, to: &str) -> Option<DialTarget> {
        if let Some(agent) = &target.agent {
            let kind = ("Agent", Reason::AgentNotFound);
            return Some(DialTarget::Agent(AgentId(self.object(kind, agent, &format!("{to}.agent")))));
        }
        if let Some(extension) = &target.extension {
            let field = format!("{to}.extension.trunkRef.name");
            let trunk = dialled_trunk(self.item, &extension.trunk_ref, &field, self.world, self.report)?;
            return Some(DialTarget::Extension { user: extension.user.clone(), trunk: TrunkId(trunk) });
        }
        let number = target.number.as_ref()?.parse().ok()?;
        let namespace = self.item.namespace();
        let Some(trunks) = self.world.outbound.get(namespace).filter(|trunks| !trunks.is_empty()) else {
            let message = format!(
                "Namespace {namespace} must have a Tenant with usable `outboundTrunks` before a flow may dial telephone numbers."
            );
            self.item.error(self.report, &format!("{to}.number"), Reason::NoOutboundTrunk, message);
            return None;
        };
        if let Some(number) = shown {
            caller_id(self.item, number, &format!("{at}.callerId"), trunks, self.world, self.report);
        }
        let tenant = self.world.tenants.get(namespace);
        let default = tenant.and_then(|tenant| tenant.spec.default_caller_id.as_deref());
        Some(DialTarget::Number {
            number,
            trunks: trunks.iter().cloned().map(TrunkId).collect(),
            caller_id: shown.or(default).and_then(|number| number.parse().ok()),
        })
    }

    fn queue(&mut self, queue: &v1::QueueStep, at: &str) -> Verb {
        let kind = ("Queue", Reason::QueueNotFound);
        let id = self.object(kind, &queue.reference, &format!("{at}.queue.ref"));
        let priority = queue.priority.as_deref().map(|source| {
            self.expression(source, VariableKind::Integer, "a priority", &format!("{at}.queue.priority"))
        });
        let ended = queue.next.as_deref().map(|name| self.follow(Some(name), at, "queue.next", false));
        let mut failure =
            |name: &Option<String>, field, idle| self.failure(name.as_deref(), at, ("queue", field), idle);
        Verb::Queue(Queue {
            queue: QueueId(id),
            priority,
            max_wait_ms: queue.max_wait_seconds.map(milliseconds),
            ended,
            // To wait in a queue is to do something: who is tired of it hangs up.
            timed_out: failure(&queue.timed_out, "timedOut", false),
            full: failure(&queue.full, "full", true),
            no_agents: failure(&queue.no_agents, "noAgents", true),
        })
    }

    fn callback(&mut self, callback: &v1::Callback, at: &str) -> Verb {
        let kind = ("Queue", Reason::QueueNotFound);
        let queue = self.object(kind, &callback.queue, &format!("{at}.callback.queue"));
        let number = callback.number.as_deref().map(|source| {
            self.expression(source, VariableKind::String, "a number", &format!("{at}.callback.number"))
        });
        let next = self.follow(callback.next.as_deref(), at, "callback.next", true);
        let failed = self.failure(callback.failed.as_deref(), at, ("callback", "failed"), true);
        Verb::Callback {
            queue: QueueId(queue),
            keep_place: callback.keep_place,
            number,
            attempts: u8::try_from(callback.attempts.max(1)).unwrap_or(u8::MAX),
            retry_ms: milliseconds(callback.retry_seconds),
            first: callback.first.map(crate::centre::first),
            next,
            failed,
        }
    }

    fn message(&mut self, message: &v1::MessageStep, at: &str) -> Verb {
        let text = VariableKind::String;
        let to = message.to.as_deref();
        let to = to.map(|source| self.expression(source, text, "a number", &format!("{at}.message.to")));
        let text = self.expression(&message.text, text, "a message", &format!("{at}.message.text"));
        let next = self.follow(message.next.as_deref(), at, "message.next", true);
        let failed = self.failure(message.failed.as_deref(), at, ("message", "failed"), true);
        Verb::Message { text, to, next, failed }
    }
}
