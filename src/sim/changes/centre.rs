//! Queues, boxes and services as a contact meets them: who can help, what is heard while waiting, how long it may take.

use std::{collections::BTreeSet, sync::Arc};

use call::world::Flow;
use model::{
    AgentId, IntegrationId, QueueId, VoicemailBoxId,
    centre::{Agent, Channel, Integration, Queue, VoicemailBox},
    program::Verb,
    snapshot::Snapshot,
};

use super::{
    closure,
    outcome::{Shown, Sound, named},
};

/// Agents that are named; of more, how many they are is told.
const AGENTS_NAMED: usize = 8;

/// What a place tells of what it brings the contact to: aspects, and what is heard.
pub type Told = (Vec<(&'static str, Shown)>, Vec<(&'static str, Vec<Sound>)>);

/// All of this that a flow and those that it calls lead to: equal ones are met alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Met<'s> {
    queues: Vec<(Option<&'s Arc<Queue>>, Vec<&'s AgentId>)>,
    boxes: Vec<Option<&'s Arc<VoicemailBox>>>,
    integrations: Vec<Option<&'s Arc<Integration>>>,
}

/// What a flow leads to.
#[must_use]
pub fn met<'s>(snapshot: &'s Snapshot, flow: &Flow) -> Met<'s> {
    let mut queues: BTreeSet<&QueueId> = BTreeSet::new();
    let mut boxes: BTreeSet<&VoicemailBoxId> = BTreeSet::new();
    let mut integrations: BTreeSet<&IntegrationId> = BTreeSet::new();
    for step in closure(flow).into_iter().flat_map(|flow| &flow.program.steps) {
        if let Verb::Queue(queue) = &step.verb {
            queues.insert(&queue.queue);
        } else if let Verb::Voicemail { voicemail_box, .. } = &step.verb {
            boxes.insert(voicemail_box);
        } else if let Verb::Request(request) = &step.verb {
            integrations.insert(&request.integration);
        }
    }
    let centre = &snapshot.centre;
    let queue = |id: &QueueId| {
        let queue = centre.queues.get(id);
        (queue, queue.map(|queue| helpers(snapshot, id, queue)).unwrap_or_default())
    };
    Met {
        queues: queues.into_iter().map(queue).collect(),
        boxes: boxes.into_iter().map(|id| centre.voicemail_boxes.get(id)).collect(),
        integrations: integrations.into_iter().map(|id| centre.integrations.get(id)).collect(),
    }
}

/// Agents of the queue's tenant who can take calls and have what it asks for from the first.
fn helpers<'s>(snapshot: &'s Snapshot, id: &QueueId, queue: &Queue) -> Vec<&'s AgentId> {
    let able = |agent: &Agent| {
        let has = |name: &str, minimum| agent.skills.get(name).is_some_and(|level| *level >= minimum);
        agent.capacity.get(&Channel::Voice).is_some_and(|calls| *calls > 0)
            && queue.skills.iter().all(|skill| has(&skill.name, skill.minimum))
    };
    let agents = snapshot.centre.agents.iter();
    let mine = agents.filter(|(agent, _)| agent.0.namespace() == id.0.namespace());
    mine.filter(|(_, agent)| able(agent)).map(|(agent, _)| agent).collect()
}

/// What waiting in a queue is like.
#[must_use]
pub fn queue(snapshot: &Snapshot, id: &QueueId) -> Told {
    let Some(queue) = snapshot.centre.queues.get(id) else { return Told::default() };
    let skill = |skill: &model::centre::RequiredSkill| {
        let relax = skill.relax.iter().map(|(after, minimum)| format!(", {minimum} after {after} s"));
        format!("{} {}{}", skill.name, skill.minimum, relax.collect::<String>())
    };
    let skills: Vec<_> = queue.skills.iter().map(skill).collect();
    let skills = if skills.is_empty() { "none".into() } else { skills.join(" and ") };
    let ageing = queue.ageing_seconds.map_or_else(String::new, |after| format!(", one more each {after} s"));
    let aspects = vec![
        ("who can help", agents(&helpers(snapshot, id, queue))),
        ("skills needed", Shown::plain(skills)),
        ("chosen is", Shown::plain(format!("{:?}", queue.selection))),
        ("queue's priority", Shown::plain(format!("{}{ageing}", queue.priority))),
        ("contacts that may wait", Shown::plain(queue.contacts_max.to_string())),
        ("longest wait", Shown::plain(format!("{} s", queue.wait_seconds_max))),
        ("rings an agent for", Shown::plain(format!("{} s", queue.ring_seconds))),
        ("called back first is", Shown::plain(format!("the {:?}", queue.callback_first).to_lowercase())),
        ("announced after", announced(queue)),
        ("is told of", told_of(queue)),
    ];
    let announcements = queue.announcements.iter().flat_map(|announcement| &announcement.audio);
    let audio = vec![
        ("hears while waiting", queue.music.iter().copied().map(Sound::Audio).collect()),
        ("is told while waiting", announcements.copied().map(Sound::Audio).collect()),
        ("hears when called back", queue.callback_prompt.iter().copied().map(Sound::Audio).collect()),
    ];
    (aspects, audio)
}

fn announced(queue: &Queue) -> Shown {
    let times: Vec<_> = queue.announcements.iter().map(|one| format!("{} s", one.after_seconds)).collect();
    Shown::plain(if times.is_empty() { "never".into() } else { times.join(", ") })
}

fn told_of(queue: &Queue) -> Shown {
    let figures = queue.announcements.iter().flat_map(|one| &one.say);
    let figures: Vec<_> = figures.map(|figure| format!("{figure:?}")).collect();
    Shown::plain(if figures.is_empty() { "nothing".into() } else { figures.join(", ") })
}

fn agents(agents: &[&AgentId]) -> Shown {
    let names: Vec<&str> = agents.iter().map(|agent| agent.0.name()).collect();
    let all = names.join(", ");
    let text = match names.len() {
        0 => "nobody".into(),
        count if count > AGENTS_NAMED => format!("{count} agents"),
        _ => all.clone(),
    };
    Shown::of(all, text)
}

/// What leaving a message is like; what a step says itself is not the box's.
#[must_use]
pub fn voicemail_box(
    snapshot: &Snapshot,
    id: &VoicemailBoxId,
    namespace: &str,
) -> Option<(Vec<Sound>, u32, Shown)> {
    let found = snapshot.centre.voicemail_boxes.get(id)?;
    let queue = found.queue.iter().map(|queue| named("Queue", &queue.0, namespace));
    let agents = found.agents.iter().map(|agent| named("Agent", &agent.0, namespace));
    let readers: Vec<_> = found.emails.iter().cloned().chain(queue).chain(agents).collect();
    let greeting = found.greeting.iter().copied().map(Sound::Audio).collect();
    Some((greeting, found.message_seconds_max, Shown::plain(readers.join(", "))))
}

/// Where a service is.
#[must_use]
pub fn integration(snapshot: &Snapshot, id: &IntegrationId) -> Vec<(&'static str, Shown)> {
    let Some(found) = snapshot.centre.integrations.get(id) else { return Vec::new() };
    vec![
        ("asks at", Shown::plain(found.url.clone())),
        ("service may take", Shown::plain(format!("{} s", found.timeout_seconds))),
    ]
}
