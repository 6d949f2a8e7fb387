//! What one engine of an edge reads for another.

use std::sync::Arc;

use call::{Now, engine::Input};
use sip::endpoint;
use tokio::sync::{mpsc, watch};

use super::{Core, EVENTS_AT_ONCE, Shared, now};
use crate::neighbours::{FromHome, Relayed};

impl Core {
    /// What of an input is for this engine. The others are given theirs.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all else is this engine's own")]
    pub(super) fn sort(&mut self, now: Now, input: Input) -> Option<Input> {
        if self.neighbours.are_none() {
            return Some(input);
        }
        match input {
            Input::Packet { flow, bytes } => {
                let input = self.engine.read(now, flow, &bytes)?;
                let owner = self.engine.owner(now, &flow, &input);
                self.hand(owner, Input::Parsed { flow, bytes, input: Box::new(input) })
            }
            Input::Message { flow, message } => {
                let input = endpoint::Input::Message { flow, message: *message };
                let owner = self.engine.owner(now, &flow, &input);
                let endpoint::Input::Message { message, .. } = input else { return None };
                self.hand(owner, Input::Message { flow, message: Box::new(message) })
            }
            Input::Identified { flow, identity } => {
                self.tell_all(|| Input::Identified { flow, identity: identity.clone() });
                Some(Input::Identified { flow, identity })
            }
            Input::Unreachable { flow } => {
                self.tell_all(|| Input::Unreachable { flow });
                Some(input)
            }
            Input::Lift { address } => {
                self.tell_all(|| Input::Lift { address });
                Some(input)
            }
            Input::Agent(order) => {
                let owner = self.engine.floor_of(order.agent.0.namespace());
                self.hand(owner, Input::Agent(order))
            }
            Input::Preview(preview) => {
                let owner = self.engine.floor_of(preview.queue.0.namespace());
                self.hand(owner, Input::Preview(preview))
            }
            input => Some(input),
        }
    }

    /// Gives an input to its owner; None: that is another.
    fn hand(&self, owner: usize, input: Input) -> Option<Input> {
        if self.neighbours.is_at(owner) {
            return Some(input);
        }
        if !self.neighbours.give(owner, Relayed::Input(input)) {
            self.observed.relays_dropped.add(1);
        }
        None
    }

    fn tell_all(&self, input: impl Fn() -> Input) {
        self.observed.relays_dropped.add(self.neighbours.tell_all(input));
    }

    /// Takes what another engine has for this one.
    fn take(&mut self, relayed: Relayed) {
        match relayed {
            Relayed::Input(input) => self.step_here(now(), input),
            Relayed::Send(flow, bytes) => self.send_by_connection(flow, bytes),
        }
    }
}

pub async fn take_relayed(core: Shared, mut traffic: mpsc::Receiver<Relayed>) {
    let mut batch = Vec::with_capacity(EVENTS_AT_ONCE);
    while traffic.recv_many(&mut batch, EVENTS_AT_ONCE).await > 0 {
        let mut core = core.borrow_mut();
        core.hold();
        batch.drain(..).for_each(|relayed| core.take(relayed));
        core.release();
    }
}

/// Has what the home engine has.
pub async fn follow_home(core: Shared, mut home: watch::Receiver<FromHome>) {
    while home.changed().await.is_ok() {
        let FromHome { world, standing } = home.borrow_and_update().clone();
        let mut core = core.borrow_mut();
        if !Arc::ptr_eq(&world, core.engine.world()) {
            core.step_here(now(), Input::World(world));
            let core = &mut *core;
            core.traces.renew(core.engine.world());
        }
        if let Some(tidings) = standing {
            core.step_here(now(), Input::Tidings(tidings));
        }
    }
}
