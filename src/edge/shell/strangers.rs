//! Packets of sources that may say nothing, or say too much: what of it is logged.

use call::{Now, engine::Engine};
use model::net::Flow;
use tracing::info;

use super::{Core, QUIET};

/// Sources that are remembered, so that each is logged once in [`QUIET`].
const QUIET_MAX: usize = 1_024;

impl Core {
    pub(super) fn stranger(&mut self, flow: Flow, now: Now) {
        self.observed.strangers.add(1);
        if self.is_quiet(flow, now) {
            return;
        }
        let because = Engine::why_stranger(self.engine.world(), &flow, now);
        info!(%flow, "ignored: {because}");
    }

    pub(super) fn excess(&mut self, flow: Flow, now: Now) {
        self.observed.excess_messages.add(1);
        if !self.is_quiet(flow, now) {
            info!(%flow, "dropped: this source says more than it may");
        }
    }

    /// One line per source and ten seconds, of so many sources: a flood must not fill the log, whoever it says it is from.
    pub(super) fn is_quiet(&mut self, flow: Flow, now: Now) -> bool {
        let source = flow.remote.ip();
        if self.quiet.get(&source).is_some_and(|until| now.instant < *until) {
            return true;
        }
        if self.quiet.len() >= QUIET_MAX {
            if self.quiet_until.is_some_and(|until| now.instant < until) {
                self.hushed += 1;
                return true;
            }
            self.quiet.clear();
            let hushed = std::mem::take(&mut self.hushed);
            if hushed > 0 {
                info!("ignored: {hushed} packets and connections more, of more than {QUIET_MAX} sources");
            }
        }
        if self.quiet.is_empty() {
            self.quiet_until = Some(now.instant + QUIET);
        }
        self.quiet.insert(source, now.instant + QUIET);
        false
    }
}
