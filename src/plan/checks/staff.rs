//! Queues and agents: who can serve whom.

use api::v1alpha1 as v1;
use model::Key;

use super::named;
use crate::{
    dialling,
    platform::caller_id,
    problem::Reason,
    resources::Report,
    words,
    world::{Item, World},
};

/// The agents of a namespace.
fn agents<'w>(namespace: &'w str, world: &'w World) -> impl Iterator<Item = &'w v1::AgentSpec> {
    // Names sort by their namespace first.
    let agents = world.directory.agents.range(Key::new(namespace, "")..).map(|(_, agent)| agent);
    agents.take_while(move |agent| agent.namespace() == namespace).map(|agent| &*agent.spec)
}

/// A tenant with agents must be able to reach emergency services.
pub(super) fn tenant(item: &Item<v1::TenantSpec>, world: &World, report: &mut Report) {
    let mut stations = agents(item.namespace(), world).flat_map(|agent| &agent.stations);
    dialling::check(item, stations.any(|station| station.sip.is_some()), report);
    let integration = ("Integration", Reason::IntegrationNotFound);
    let speech = item.spec.speech.as_ref();
    if let Some(voice) = speech.and_then(|speech| speech.voice.as_ref()) {
        let field = "spec.speech.voice.integrationRef.name";
        named(item, world, report, field, integration, &voice.integration_ref.name);
    }
    if let Some(recogniser) = speech.and_then(|speech| speech.recogniser.as_ref()) {
        let field = "spec.speech.recogniser.integrationRef.name";
        named(item, world, report, field, integration, &recogniser.integration_ref.name);
    }
    playlist(item, &item.spec.music, world, report);
    if agents(item.namespace(), world).next().is_none() {
        return;
    }
    let accepts = |reference: &v1::ObjectRef| {
        let trunk = world.trunks.get(&item.target(reference));
        trunk.is_some_and(|trunk| trunk.item.spec.emergency == v1::Emergency::Accepted)
    };
    if !item.spec.outbound_trunks.iter().any(accepts) {
        let message = "The tenant has agents, but none of its `outboundTrunks` says `emergency: Accepted`: an agent who dials an emergency number reaches nobody.";
        item.warning(report, "spec.outboundTrunks", Reason::NoEmergencyTrunk, message);
    }
}

fn playlist<T>(item: &Item<T>, music: &[String], world: &World, report: &mut Report) {
    for (index, prompt) in music.iter().enumerate() {
        let field = format!("spec.music[{index}]");
        named(item, world, report, &field, ("Prompt", Reason::PromptNotFound), prompt);
    }
}

/// A queue: what it plays, and whether anybody can serve it.
pub(super) fn queue(item: &Item<v1::QueueSpec>, world: &World, report: &mut Report) {
    playlist(item, &item.spec.music, world, report);
    for (index, announcement) in item.spec.announcements.iter().enumerate() {
        let field = format!("spec.announcements[{index}].prompt");
        if let Some(prompt) = &announcement.prompt {
            named(item, world, report, &field, ("Prompt", Reason::PromptNotFound), prompt);
        }
    }
    if let Some(prompt) = &item.spec.callback_prompt {
        named(item, world, report, "spec.callbackPrompt", ("Prompt", Reason::PromptNotFound), prompt);
    }
    let mut had = true;
    for (index, skill) in item.spec.skills.iter().enumerate() {
        let field = format!("spec.skills[{index}].name");
        had &= known_skill(item, &skill.name, &field, world, report);
        let has = |agent: &v1::AgentSpec| agent.skills.iter().any(|known| known.name == skill.name);
        if had && !agents(item.namespace(), world).any(has) {
            had = false;
            let message = format!("No agent of {} has the skill `{}`.", item.namespace(), skill.name);
            item.warning(report, &field, Reason::SkillNobodyHas, message);
        }
    }
    if had && !agents(item.namespace(), world).any(|agent| serves(agent, &item.spec)) {
        let message = "No agent can ever be offered a contact of this queue: none has all of its skills at the least level, a capacity for one of its channels and, for voice, a station.";
        item.warning(report, "spec", Reason::NobodyServes, message);
    }
}

/// Whether an agent can be offered a contact of a queue, at the latest once it has waited for long.
pub(crate) fn serves(agent: &v1::AgentSpec, queue: &v1::QueueSpec) -> bool {
    let masters = |wanted: &v1::QueueSkill| {
        let relaxed = wanted.relax.iter().map(|relaxation| relaxation.minimum);
        let least = relaxed.chain([wanted.minimum]).min().unwrap_or_default();
        let level =
            agent.skills.iter().find(|skill| skill.name == wanted.name).map_or(0, |skill| skill.level);
        level >= least
    };
    let takes = |channel: &v1::Channel| capacity(&agent.capacity, *channel) > 0 && reachable(agent, *channel);
    queue.skills.iter().all(masters) && queue.channels.iter().any(takes)
}

fn reachable(agent: &v1::AgentSpec, channel: v1::Channel) -> bool {
    channel != v1::Channel::Voice || !agent.stations.is_empty()
}

const fn capacity(capacity: &v1::Capacity, channel: v1::Channel) -> i32 {
    match channel {
        v1::Channel::Voice => capacity.voice,
        v1::Channel::Email => capacity.email,
        v1::Channel::Sms => capacity.sms,
        v1::Channel::Chat => capacity.chat,
        v1::Channel::Social => capacity.social,
    }
}

/// An agent must be able to sign in in the way that the tenant has.
fn sign_in(item: &Item<v1::AgentSpec>, world: &World, report: &mut Report) {
    let Some(sign_in) = &item.spec.sign_in else { return };
    if let Some(subject) = &sign_in.subject {
        let name = (item.namespace().to_owned(), subject.clone());
        let mut others = world.directory.subjects.get(&name).into_iter().flatten();
        if let Some(other) = others.find(|agent| **agent != item.id.key) {
            let message = format!(
                "Agent {other} signs in as `{}` too: nobody could tell whose session it is. A subject must be one agent's.",
                words::clip(subject)
            );
            item.error(report, "spec.signIn.subject", Reason::SubjectTaken, message);
        }
    }
    let Some(tenant) = world.tenants.get(item.namespace()) else { return };
    let rules = tenant.spec.sign_in.as_ref();
    if sign_in.secret_ref.is_some() && rules.is_some_and(|rules| rules.passwords == v1::Passwords::Refused) {
        let message = "The agent cannot sign in: it has a password, and the Tenant's `signIn` says `passwords: Refused`. Give `subject` instead.";
        item.warning(report, "spec.signIn.secretRef", Reason::CannotSignIn, message);
    }
    if sign_in.subject.is_some() && rules.is_none_or(|rules| rules.open_id_connect.is_none()) {
        let message = "The agent cannot sign in: the Tenant's `signIn` has no `openIdConnect` whose `subject` this could be. Add it there, or give `secretRef` instead.";
        item.warning(report, "spec.signIn.subject", Reason::CannotSignIn, message);
    }
}

/// An agent: what the tenant knows of it, and where it can be reached.
pub(super) fn agent(item: &Item<v1::AgentSpec>, world: &World, report: &mut Report) {
    for (index, skill) in item.spec.skills.iter().enumerate() {
        known_skill(item, &skill.name, &format!("spec.skills[{index}].name"), world, report);
    }
    languages(item, world, report);
    sign_in(item, world, report);
    let v1::Capacity { voice, chat, email, sms, social } = item.spec.capacity;
    let listens = item.spec.supervises.as_ref();
    if voice + chat + email + sms + social == 0 && listens.is_none() {
        let message =
            "An agent must have room for at least one contact of one channel, or nothing is ever offered.";
        item.warning(report, "spec.capacity", Reason::NoCapacity, message);
    }
    if voice > 0 && item.spec.stations.is_empty() {
        let message = "An agent who takes calls must have a station in `stations`; say `capacity: {voice: 0}` if it takes none.";
        item.warning(report, "spec", Reason::NoStation, message);
    }
    if let Some(supervision) = listens {
        supervises(item, supervision, world, report);
    }
    stations(item, world, report);
    for (index, queue) in item.spec.queues.iter().enumerate() {
        let field = format!("spec.queues[{index}].name");
        named(item, world, report, &field, ("Queue", Reason::QueueNotFound), &queue.name);
    }
    if let Some(number) = &item.spec.outbound_number {
        let none = Vec::new();
        let trunks = world.outbound.get(item.namespace()).unwrap_or(&none);
        caller_id(item, number, "spec.outboundNumber", trunks, world, report);
    }
}

/// A supervisor: to whom, and by what.
fn supervises(item: &Item<v1::AgentSpec>, supervision: &v1::Supervision, world: &World, report: &mut Report) {
    for (index, queue) in supervision.queues.iter().enumerate() {
        let field = format!("spec.supervises.queues[{index}]");
        named(item, world, report, &field, ("Queue", Reason::QueueNotFound), queue);
    }
    if !item.spec.stations.iter().any(|station| station.sip.is_some() || station.pstn.is_some()) {
        let message = "A supervisor must have a telephone in `stations`, `sip` or `pstn`, to listen by.";
        item.warning(report, "spec.supervises", Reason::NoStation, message);
    }
}

fn languages(item: &Item<v1::AgentSpec>, world: &World, report: &mut Report) {
    for (index, language) in item.spec.languages.iter().enumerate() {
        known_language(item, language, &format!("spec.languages[{index}]"), world, report);
    }
}

fn stations(item: &Item<v1::AgentSpec>, world: &World, report: &mut Report) {
    for (index, station) in item.spec.stations.iter().enumerate() {
        let field = format!("spec.stations[{index}]");
        if station.pstn.is_some() && world.outbound.get(item.namespace()).is_none_or(Vec::is_empty) {
            let message = format!(
                "Station `{}` is a telephone number, but the Tenant has no `outboundTrunks` to dial it by.",
                station.name
            );
            item.error(report, &format!("{field}.pstn"), Reason::NoOutboundTrunk, message);
        }
        // A telephone of the public network is found by its own carrier.
        if station.pstn.is_none() && station.emergency_location.is_none() {
            let message = format!(
                "Station `{}` must have an `emergencyLocation`, or nobody knows where to send help.",
                station.name
            );
            item.warning(report, &field, Reason::NoEmergencyLocation, message);
        }
    }
}

/// Whether the tenant declares a skill; says so if not. Without a Tenant there is nothing to compare with.
fn known_skill<T>(item: &Item<T>, name: &str, field: &str, world: &World, report: &mut Report) -> bool {
    let Some(tenant) = world.tenants.get(item.namespace()) else {
        return true;
    };
    let skills = &tenant.spec.skills;
    if skills.iter().any(|skill| skill.name == name) {
        return true;
    }
    let hint = words::did_you_mean(name, skills.iter().map(|skill| skill.name.as_str()));
    let message = format!("The Tenant declares no skill `{name}` in `skills`{hint}");
    item.error(report, field, Reason::UnknownSkill, message);
    false
}

/// Whether the tenant speaks a language; says so if not.
pub(super) fn known_language<T>(
    item: &Item<T>,
    language: &str,
    field: &str,
    world: &World,
    report: &mut Report,
) {
    let Some(tenant) = world.tenants.get(item.namespace()) else {
        return;
    };
    let languages = &tenant.spec.languages;
    if languages.iter().any(|known| known == language) {
        return;
    }
    let hint = words::did_you_mean(language, languages.iter().map(String::as_str));
    let message = format!("The Tenant's `languages` do not have `{language}`{hint}");
    item.warning(report, field, Reason::UnknownLanguage, message);
}
