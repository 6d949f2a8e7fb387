//! What a place does, for people, and whom it brings the contact to.

use std::time::Duration;

use call::{
    cursor::{Action, Asked},
    world::World,
};
use model::{
    AudioId,
    centre::First,
    program::{Ask, AskInput, Dial, DialStrategy, DialTarget, Part, RecordAction, RecordTo, Verb},
    snapshot::{Audio, AudioSource},
};

use super::Target;

/// Characters of a spoken or written text that are shown.
const TEXT_MAX: usize = 40;

/// Whom or what an action brings the contact to.
pub(super) fn targets(action: &Action) -> Vec<Target> {
    let rung = |target: &DialTarget| match target {
        DialTarget::Number { number, .. } => Target::Number(*number),
        DialTarget::Extension { user, trunk } => {
            Target::Extension { user: user.clone(), trunk: trunk.clone() }
        }
        DialTarget::Agent(agent) => Target::Agent(agent.clone()),
    };
    match action {
        Action::Dial(dial) => dial.targets.iter().map(rung).collect(),
        Action::Request(asked) => vec![Target::Integration(asked.integration.clone())],
        Action::Queue { queue, .. } => vec![Target::Queue(queue.clone())],
        Action::Callback { queue, number, .. } => {
            vec![Target::Queue(queue.clone()), Target::Number(*number)]
        }
        Action::Voicemail { voicemail_box, .. } => vec![Target::VoicemailBox(voicemail_box.clone())],
        Action::Message { to, .. } => to.iter().copied().map(Target::Number).collect(),
        Action::Play { .. }
        | Action::StopPlay
        | Action::Wait(_)
        | Action::Draw
        | Action::Record(..)
        | Action::Reject(_)
        | Action::Hangup(_)
        | Action::End
        | Action::Fail(_) => Vec::new(),
    }
}

/// What happens there.
pub(super) fn does(world: &World, verb: &Verb, action: &Action) -> String {
    match (action, verb) {
        (Action::Play { .. }, Verb::Ask(ask)) => asks(world, ask),
        (Action::Play { audio, say, early }, _) => {
            let early = if *early { ", as early media" } else { "" };
            let says = say.as_ref().map(|say| format!("says “{}”", short(&say.text)));
            match says {
                Some(says) if audio.is_empty() => format!("{says}{early}"),
                Some(says) => format!("plays {} and {says}{early}", heard(world, audio)),
                None => format!("plays {}{early}", heard(world, audio)),
            }
        }
        (Action::Wait(audio), Verb::Wait { ms, .. }) if audio.is_empty() => {
            format!("is silent for {}", seconds(*ms))
        }
        (Action::Wait(audio), Verb::Wait { ms, .. }) => {
            format!("plays {} for {}", heard(world, audio), seconds(*ms))
        }
        (Action::Dial(dial), Verb::Transfer { .. }) => format!("hands the contact on: {}", rings(dial)),
        (Action::Dial(dial), _) => rings(dial),
        (Action::Draw, Verb::Split { parts, otherwise }) => draws(parts, otherwise.is_some()),
        (Action::Request(asked), _) => asks_service(asked),
        (Action::Queue { queue, priority, max_wait }, _) => {
            let priority = priority.map(|priority| format!(" at priority {priority}")).unwrap_or_default();
            format!("waits in Queue {queue}{priority}{}", at_most(*max_wait))
        }
        (Action::Callback { queue, keep_place, number, attempts, retry, first }, _) => {
            let place = if *keep_place { "the place it had" } else { "a place at the end" };
            let again = match attempts {
                0 | 1 => String::new(),
                most => format!(", {most} times at most and {} s apart", retry.as_secs()),
            };
            let first = match first {
                Some(First::Contact) => ", the contact before the agent",
                Some(First::Agent) => ", the agent before the contact",
                None => "",
            };
            format!("promises to call {number} back{first}, with {place} in Queue {queue}{again}")
        }
        (Action::Voicemail { voicemail_box, greeting, longest }, _) => {
            let greeting = if greeting.is_empty() { "its greeting".into() } else { heard(world, greeting) };
            format!("takes a message for VoicemailBox {voicemail_box} after {greeting}{}", at_most(*longest))
        }
        (Action::Record(RecordAction::Start, RecordTo::Recorder), _) => {
            "has the recorder record the call".into()
        }
        (Action::Record(RecordAction::Start, RecordTo::Both), _) => {
            "begins to record the call, and has the recorder record it".into()
        }
        (Action::Record(action, _), _) => records(*action).into(),
        (Action::Message { text, to }, _) => {
            let to = to.map_or_else(|| "the contact".into(), |number| number.to_string());
            format!("writes “{}” to {to}", short(text))
        }
        (
            Action::Wait(_)
            | Action::Draw
            | Action::StopPlay
            | Action::Reject(_)
            | Action::Hangup(_)
            | Action::End
            | Action::Fail(_),
            _,
        ) => String::new(),
    }
}

const fn records(action: RecordAction) -> &'static str {
    match action {
        RecordAction::Start => "begins to record the call",
        RecordAction::Stop => "ends the recording",
        RecordAction::Pause => "pauses the recording",
        RecordAction::Resume => "goes on recording",
    }
}

fn draws(parts: &[Part], others: bool) -> String {
    let shares = parts.iter().enumerate();
    let mut shares: Vec<_> =
        shares.map(|(place, part)| format!("{} % part {}", part.percent, place + 1)).collect();
    if others {
        let sum: u32 = parts.iter().map(|part| u32::from(part.percent)).sum();
        shares.push(format!("{} % otherwise", 100_u32.saturating_sub(sum)));
    }
    format!("draws a lot: {}", shares.join(", "))
}

/// Headers are not shown: they may hold what was entered in secret.
fn asks_service(asked: &Asked) -> String {
    let Asked { integration, method, path, timeout, .. } = asked;
    let path = if path.is_empty() { String::new() } else { format!(" {}", short(path)) };
    format!("asks Integration {integration}: {method}{path}{}", at_most(*timeout))
}

fn at_most(time: Option<Duration>) -> String {
    time.map(|time| format!(", {} s at most", time.as_secs_f64())).unwrap_or_default()
}

fn asks(world: &World, ask: &Ask) -> String {
    let times = if ask.attempts == 1 { "once".into() } else { format!("{} times", ask.attempts) };
    let wanted = match &ask.input {
        AskInput::Choices(choices) => {
            let said = |phrases: &[String]| {
                let phrases: Vec<_> = phrases.iter().map(|phrase| format!("“{phrase}”")).collect();
                if phrases.is_empty() { String::new() } else { format!(" or {}", phrases.join(" or ")) }
            };
            let choices = choices.iter();
            let choices: Vec<_> =
                choices.map(|choice| format!("{}{}", choice.digits, said(&choice.phrases))).collect();
            format!("for {}", choices.join(", "))
        }
        AskInput::Digits { min, max, .. } if min == max => format!("for {min} digits"),
        AskInput::Digits { min, max, .. } => format!("for {min} to {max} digits"),
    };
    let silence = seconds(ask.timeout_ms);
    format!("asks {wanted} with {}, {times} at most, {silence} of silence each", heard(world, &ask.audio))
}

fn rings(dial: &Dial) -> String {
    let target = |target: &DialTarget| match target {
        DialTarget::Number { number, trunks, .. } => {
            let trunks: Vec<_> = trunks.iter().map(ToString::to_string).collect();
            format!("{number} by Trunk {}", trunks.join(", else "))
        }
        DialTarget::Extension { user, trunk } => format!("extension {user} of Trunk {trunk}"),
        DialTarget::Agent(agent) => format!("Agent {agent}"),
    };
    let targets: Vec<_> = dial.targets.iter().map(target).collect();
    let (join, each) = match dial.strategy {
        DialStrategy::InOrder => (", then ", " each"),
        DialStrategy::Simultaneous => (" and ", ""),
    };
    let each = if targets.len() > 1 { each } else { "" };
    format!("rings {} for {}{each}", targets.join(join), seconds(dial.ring_ms))
}

fn seconds(milliseconds: u32) -> String {
    let time = Duration::from_millis(u64::from(milliseconds));
    format!("{} s", time.as_secs_f64())
}

pub(super) fn heard(world: &World, audio: &[AudioId]) -> String {
    let names: Vec<_> =
        audio.iter().map(|id| world.snapshot.audio.get(id).map_or_else(String::new, named)).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn named(audio: &Audio) -> String {
    match &audio.source {
        AudioSource::Wav { .. } | AudioSource::Remote { .. } => format!("Prompt {}", audio.prompt),
        AudioSource::Speech { text, .. } => format!("Prompt {} (“{}”)", audio.prompt, short(text)),
    }
}

fn short(text: &str) -> String {
    let short: String = text.chars().take(TEXT_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short}{more}")
}
