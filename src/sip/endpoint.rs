//! The pure user-agent core: all transactions and dialogs of one shard.

use std::time::Instant;

use bytes::Bytes;
use model::LegId;

mod api;

pub use api::*;

/// All transactions and legs of one shard.
#[derive(Debug)]
pub struct Endpoint {}

#[expect(missing_docs, unused_variables, clippy::needless_pass_by_value, reason = "signatures first")]
impl Endpoint {
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {}
    }
    /// Numbers legs from `first` on.
    #[must_use]
    pub fn with_first_leg(self, first: u64) -> Self {
        self
    }
    pub fn handle(&mut self, now: Instant, input: Input) {}
    pub fn poll(&mut self) -> Option<Output> {
        None
    }
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        None
    }
    #[must_use]
    pub fn legs(&self) -> usize {
        0
    }
    #[must_use]
    pub fn transactions(&self) -> usize {
        0
    }
    pub fn provisional(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        sdp: Option<Bytes>,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn accept(&mut self, now: Instant, leg: LegId, sdp: Bytes, headers: &[Header]) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn reject(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        reason: Option<&str>,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<LegId, Full> {
        Err(Full)
    }
    pub fn cancel(&mut self, now: Instant, leg: LegId, headers: &[Header]) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn reinvite(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn answer_reinvite(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn reject_reinvite(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn bye(&mut self, now: Instant, leg: LegId, headers: &[Header]) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
    pub fn info(&mut self, now: Instant, leg: LegId, content_type: &str, body: Bytes) -> Result<(), Misuse> {
        Err(Misuse::NoSuchLeg)
    }
}
