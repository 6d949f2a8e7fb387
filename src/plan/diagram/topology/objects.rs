//! What a topology shows besides snapshots: the objects of a folder that can be read, borrowed and by name.

use std::collections::BTreeMap;

use api::v1alpha1 as v1;
use model::Key;

use crate::resources::{Resources, Spec};

/// Objects by kind, then by namespace and name.
#[derive(Default)]
pub(super) struct Objects<'a> {
    pub carriers: BTreeMap<&'a Key, &'a v1::CarrierSpec>,
    pub pops: BTreeMap<&'a Key, &'a v1::PointOfPresenceSpec>,
    pub trunks: BTreeMap<&'a Key, &'a v1::TrunkSpec>,
    pub queues: BTreeMap<&'a Key, &'a v1::QueueSpec>,
    pub agents: BTreeMap<&'a Key, &'a v1::AgentSpec>,
    pub campaigns: BTreeMap<&'a Key, &'a v1::CampaignSpec>,
    pub boxes: BTreeMap<&'a Key, &'a v1::VoicemailBoxSpec>,
    pub integrations: BTreeMap<&'a Key, &'a v1::IntegrationSpec>,
    pub points: BTreeMap<&'a Key, &'a v1::ContactPointSpec>,
}

impl<'a> Objects<'a> {
    /// Those with which nothing is wrong by themselves: `check` tells of the others.
    pub fn of(resources: &'a Resources) -> Self {
        let mut objects = Self::default();
        for object in resources.all().filter(|object| object.sound) {
            let key = &object.id.key;
            match &object.spec {
                Some(Spec::Carrier(spec)) => drop(objects.carriers.insert(key, spec)),
                Some(Spec::PointOfPresence(spec)) => drop(objects.pops.insert(key, spec)),
                Some(Spec::Trunk(spec)) => drop(objects.trunks.insert(key, spec)),
                Some(Spec::Queue(spec)) => drop(objects.queues.insert(key, spec)),
                Some(Spec::Agent(spec)) => drop(objects.agents.insert(key, spec)),
                Some(Spec::Campaign(spec)) => drop(objects.campaigns.insert(key, spec)),
                Some(Spec::VoicemailBox(spec)) => drop(objects.boxes.insert(key, spec)),
                Some(Spec::Integration(spec)) => drop(objects.integrations.insert(key, spec)),
                Some(Spec::ContactPoint(spec)) => drop(objects.points.insert(key, spec)),
                Some(
                    Spec::VoiceCluster(_)
                    | Spec::Tenant(_)
                    | Spec::PhoneNumber(_)
                    | Spec::Allowlist(_)
                    | Spec::RoutingFlow(_)
                    | Spec::Prompt(_)
                    | Spec::BusinessHours(_)
                    | Spec::NumberOrder(_)
                    | Spec::ContactList(_)
                    | Spec::DoNotCallList(_)
                    | Spec::CallTest(_),
                )
                | None => {}
            }
        }
        objects
    }
}
