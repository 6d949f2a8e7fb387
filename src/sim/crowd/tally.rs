//! What came of crowds, in figures.

use std::{collections::BTreeMap, time::Duration};

use call::record::{EndedBy, Record};

use super::{
    plan::{Does, Fault},
    watch::Invariant,
};

/// Figures of one crowd, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Contacts that called.
    pub interactions: u64,
    pub crowds: u64,
    /// What the engine was told.
    pub inputs: u64,
    /// SIP messages, each way.
    pub messages: u64,
    pub calls: u64,
    pub records: u64,
    pub legs: u64,
    pub waits: u64,
    pub offers: u64,
    pub answered: u64,
    /// Calls that were offered once more after somebody had answered.
    pub transfers: u64,
    /// Calls that were refused for a cap.
    pub capped: u64,
    pub lost: u64,
    /// What was broken or changed, by its name.
    pub faults: BTreeMap<&'static str, u64>,
    /// What agents and contacts did, by its name.
    pub deeds: BTreeMap<&'static str, u64>,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub longest_wait: Duration,
    checked: [u64; Invariant::ALL.len()],
}

impl Tally {
    pub(super) const fn checked(&mut self, invariant: Invariant) {
        self.checked[invariant as usize] += 1;
    }

    /// How often an invariant was held.
    #[must_use]
    pub const fn held(&self, invariant: Invariant) -> u64 {
        self.checked[invariant as usize]
    }

    pub(super) fn outcome(&mut self, record: &Record) {
        let answered = record.queues.iter().any(|visit| visit.outcome == "answered");
        let outcome = match record.ended_by {
            _ if !record.voicemails.is_empty() => "left a message",
            _ if answered => "talked to an agent",
            EndedBy::Caller if record.answered_at.is_none() => "gave up before the answer",
            EndedBy::Caller => "hung up",
            EndedBy::Callee => "ended by the other side",
            EndedBy::Flow => "went through",
            EndedBy::Deadline => "ended by a deadline",
            EndedBy::MediaTimeout => "lost its audio",
            EndedBy::Failure => "failed",
            EndedBy::Lost => "lost",
        };
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub(super) fn did(&mut self, does: Does) {
        let name = match does {
            Does::HangUp | Does::DeskHangUp => "hung up",
            Does::Tire => "tired of waiting",
            Does::Key(_) | Does::Digits => "pressed keys",
            Does::PhoneHold(_) | Does::Hold | Does::Retrieve => "held or fetched back",
            Does::PhoneRefer(_) => "handed on by REFER",
            Does::Mute(_) => "muted",
            Does::Transfer(_) => "handed on at the desk",
            Does::Consult(_) => "asked back",
            Does::Complete => "completed",
            Does::Conference => "brought together",
            Does::EndConsult => "ended the asking back",
            Does::Finish | Does::Extend(_) => "finished or extended the work",
            Does::Nonsense => "did what cannot be done",
        };
        *self.deeds.entry(name).or_default() += 1;
    }

    pub(super) fn broke(&mut self, fault: Fault) {
        let name = match fault {
            Fault::MediaRefuses(_) => "media server without ports",
            Fault::MediaSilent(_) => "media server silent",
            Fault::MediaMoves => "media server lost",
            Fault::PhoneVanishes(..) => "telephone vanished",
            Fault::Network { .. } => "network lost, doubled, delayed",
            Fault::Stall(_) => "clock stood still and jumped",
            Fault::QueueGone(..) => "queue deleted",
            Fault::AgentGone(..) => "agent deleted",
            Fault::SkillsChange(_) => "skills changed",
            Fault::FlowChanges(_) => "flow edited",
            Fault::Drain => "drain",
        };
        *self.faults.entry(name).or_default() += 1;
    }

    /// Adds those of others.
    pub fn add(&mut self, other: &Self) {
        let Self { interactions, crowds, inputs, messages, calls, records, legs, .. } = other;
        self.interactions += interactions;
        self.crowds += crowds;
        self.inputs += inputs;
        self.messages += messages;
        self.calls += calls;
        self.records += records;
        self.legs += legs;
        self.waits += other.waits;
        self.offers += other.offers;
        self.answered += other.answered;
        self.transfers += other.transfers;
        self.capped += other.capped;
        self.lost += other.lost;
        for (into, from) in [
            (&mut self.faults, &other.faults),
            (&mut self.deeds, &other.deeds),
            (&mut self.outcomes, &other.outcomes),
        ] {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        }
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        for (own, other) in self.checked.iter_mut().zip(other.checked) {
            *own += other;
        }
    }
}
