//! What an SMS is sent by, from and to: one decision over the snapshot, with the reason where there is none.
//!
//! A tenant's way out for text messages is a ContactPoint with `sms`: the Integration that takes them, and a PhoneNumber that
//! is live, so that a trunk's owner has granted the number that is shown.

use std::collections::BTreeMap;

use model::{E164, IntegrationId, centre::PointKind, snapshot::Snapshot};

use crate::{dialling, world::World};

/// Characters of an SMS that are sent at most.
pub const TEXT_MAX: usize = 1_600;

/// A point of contact that SMS are sent by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    integration: IntegrationId,
    first: E164,
    last: E164,
    forwarded_from: Option<E164>,
}

impl Sender {
    /// The number to show to whoever called this one.
    fn number_for(&self, called: E164) -> Option<E164> {
        if (self.first..=self.last).contains(&called) {
            return Some(called);
        }
        (self.forwarded_from == Some(called)).then_some(self.first)
    }
}

/// Of each tenant, in the order of the names of its points of contact.
pub(crate) fn senders(snapshot: &Snapshot) -> BTreeMap<String, Vec<Sender>> {
    let mut senders: BTreeMap<String, Vec<Sender>> = BTreeMap::new();
    for (id, point) in &snapshot.centre.contact_points {
        let PointKind::Sms { number, integration } = &point.kind else { continue };
        let found = snapshot.numbers.values().flatten().find(|range| range.id == *number);
        senders.entry(id.0.namespace().to_owned()).or_default().extend(found.map(|range| Sender {
            integration: integration.clone(),
            first: range.first,
            last: range.last,
            forwarded_from: range.forwarded_from,
        }));
    }
    senders
}

/// Who sends an SMS, and between which numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The service.
    pub integration: IntegrationId,
    /// What the receiver sees.
    pub from: E164,
    /// The receiver.
    pub to: E164,
}

/// Who sends an SMS of a tenant's flow to `to`, or to the contact, who has called `called`.
///
/// # Errors
/// Why nobody does, as a sentence without its full stop.
pub fn envelope(
    world: &World,
    tenant: &str,
    (contact, called): (&str, &str),
    to: Option<E164>,
) -> Result<Envelope, String> {
    let senders = world.senders(tenant);
    let called = called.parse::<E164>().ok();
    let of_called = senders.iter().find_map(|sender| Some((sender, sender.number_for(called?)?)));
    let any = || senders.first().map(|sender| (sender, sender.first));
    let none = || format!("no ContactPoint of {tenant} with `sms` has a live number");
    let (sender, from) = of_called.or_else(any).ok_or_else(none)?;
    let to = match to {
        Some(to) => to,
        None if contact.is_empty() => return Err("the contact's number is withheld".into()),
        None => contact.parse().map_err(|_| "the contact has no telephone number".to_owned())?,
    };
    let rules = world.snapshot.centre.dialling(tenant);
    dialling::may_reach(tenant, rules, to)
        .map_err(|refusal| refusal.because.trim_end_matches('.').to_owned())?;
    Ok(Envelope { integration: sender.integration.clone(), from, to })
}
