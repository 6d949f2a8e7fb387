//! What a test wanted, held against what became of its call.

use std::{collections::BTreeMap, time::Duration};

use model::{
    AudioId,
    calltest::{Act, CallOutcome, CallTest, Expectation, Sound, Text},
};

use super::{Failure, run::Run, story::Story};

/// Everything that is otherwise than the test wants, in the order of its fields.
pub(super) fn judge(run: &Run<'_>, test: &CallTest, names: &BTreeMap<AudioId, String>) -> Vec<Failure> {
    let (story, expect) = (&run.story, &test.expect);
    let mut failures = Vec::new();
    failures.extend(undone(run, test, names));
    failures.extend(outcome(run, expect));
    let queues: Vec<&str> = story.queues.iter().map(|queue| queue.0.name()).collect();
    if let Some(queue) = expect.queue.as_ref().filter(|queue| !story.queues.contains(queue)) {
        let message =
            format!("expected to wait in Queue {}, but it waited in {}", queue.0.name(), listed(&queues));
        failures.push(Failure::new("spec.expect.queue", message));
    }
    let agents: Vec<&str> = story.agents.iter().map(|agent| agent.0.name()).collect();
    if let Some(agent) = expect.agent.as_ref().filter(|agent| !story.agents.contains(agent)) {
        let message = format!(
            "expected to reach Agent {}, but it reached {}{}",
            agent.0.name(),
            listed(&agents),
            because(story)
        );
        failures.push(Failure::new("spec.expect.agent", message));
    }
    failures.extend(steps(run, expect));
    failures.extend(variables(story, expect));
    failures.extend(prompts(story, expect, names));
    failures.extend(messages(story, expect));
    failures
}

/// An act that was never done.
fn undone(run: &Run<'_>, test: &CallTest, names: &BTreeMap<AudioId, String>) -> Option<Failure> {
    let act = test.script.get(run.act)?;
    let story = &run.story;
    let what = match act {
        Act::Hear(sound) => {
            format!("expected to hear Prompt {}, but heard {}", sound.name, heard(&story.heard, names))
        }
        Act::Press(keys) => format!("expected to press {keys}, but the call was never answered"),
        Act::Say(words) => format!("expected to say `{words}`, but nobody listened any more"),
        Act::HangUp(_) => "expected to hang up, but the call was over before".to_owned(),
        Act::Wait(_) => return None,
    };
    let message = format!("{what}; the path was {}{}", story.told_path(), because(story));
    Some(Failure::new(&format!("spec.script[{}].{}", run.act, act.field()), message))
}

fn outcome(run: &Run<'_>, expect: &Expectation) -> Option<Failure> {
    let (story, wanted) = (&run.story, expect.outcome.name());
    let path = story.told_path();
    match story.outcome() {
        Some((found, at)) if found == expect.outcome => {
            let within = Duration::from_secs(expect.within_seconds?.into());
            let took = run.since_begun(at?);
            let message = format!(
                "expected {wanted} within {} s, but it took {} s; the path was {path}",
                within.as_secs(),
                tenths(took)
            );
            (took > within).then(|| Failure::new("spec.expect.withinSeconds", message))
        }
        Some((found, _)) => {
            let code = story.refused.filter(|_| found == CallOutcome::Rejected);
            let code = code.map(|code| format!(" with {code}")).unwrap_or_default();
            let message = format!(
                "expected {wanted}, but it was {}{code}; the path was {path}{}",
                found.name(),
                because(story)
            );
            Some(Failure::new("spec.expect.outcome", message))
        }
        None => {
            let message = format!(
                "expected {wanted}, but the contact was still on its way; the path was {path}{}",
                because(story)
            );
            Some(Failure::new("spec.expect.outcome", message))
        }
    }
}

/// Those that are missed in their order, and those that should not be there.
fn steps(run: &Run<'_>, expect: &Expectation) -> Vec<Failure> {
    let story = &run.story;
    let passed = story.steps();
    let mut failures = Vec::new();
    if let Some(place) = missed(&passed, &expect.steps, |step, wanted| *step == wanted.as_str()) {
        let after = place.checked_sub(1).and_then(|before| expect.steps.get(before));
        let after = after.map(|before| format!(" after {before}")).unwrap_or_default();
        let wanted = &expect.steps[place];
        let unknown = if run.has_step(wanted) { "" } else { ", which no flow of this call has" };
        let message = format!(
            "expected step {wanted}{after}{unknown}, but the path was {}{}",
            story.told_path(),
            because(story)
        );
        failures.push(Failure::new(&format!("spec.expect.steps[{place}]"), message));
    }
    for (place, never) in expect.never.iter().enumerate() {
        if !run.has_step(never) {
            let message = format!("expected never to come to step {never}, which no flow of this call has");
            failures.push(Failure::new(&format!("spec.expect.neverSteps[{place}]"), message));
        } else if passed.contains(&never.as_str()) {
            let message =
                format!("expected never to come to step {never}, but the path was {}", story.told_path());
            failures.push(Failure::new(&format!("spec.expect.neverSteps[{place}]"), message));
        }
    }
    failures
}

fn variables(story: &Story, expect: &Expectation) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (place, (name, wanted)) in expect.variables.iter().enumerate() {
        let found = story.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        if found == Some(wanted) {
            continue;
        }
        let message = match found {
            Some(value) => format!("expected variable {name} to be `{wanted}`, but it was `{value}`"),
            None if story.variables.is_empty() && story.call.is_none() => {
                format!("expected variable {name} to be `{wanted}`, but the call was refused at once")
            }
            None => {
                let names: Vec<&str> = story.variables.iter().map(|(name, _)| name.as_str()).collect();
                format!("expected variable {name} to be `{wanted}`, but the flow has {}", listed(&names))
            }
        };
        failures.push(Failure::new(&format!("spec.expect.variables[{place}]"), message));
    }
    failures
}

fn prompts(story: &Story, expect: &Expectation, names: &BTreeMap<AudioId, String>) -> Option<Failure> {
    let fits = |heard: &AudioId, wanted: &Sound| wanted.audio.contains(heard);
    let place = missed(&story.begun, &expect.prompts, fits)?;
    let message = format!(
        "expected to hear Prompt {}, but heard {}",
        expect.prompts[place].name,
        heard(&story.begun, names)
    );
    Some(Failure::new(&format!("spec.expect.prompts[{place}]"), message))
}

fn messages(story: &Story, expect: &Expectation) -> Option<Failure> {
    let fits = |(to, text): &(String, String), wanted: &Text| {
        wanted.to.is_none_or(|number| number.to_string() == *to)
            && wanted.text.as_ref().is_none_or(|wanted| wanted == text)
    };
    let place = missed(&story.messages, &expect.messages, fits)?;
    let Text { to, text } = &expect.messages[place];
    let wanted = text.as_ref().map(|text| format!(" `{text}`")).into_iter();
    let wanted: String = wanted.chain(to.map(|to| format!(" to {to}"))).collect();
    let sent: Vec<String> = story.messages.iter().map(|(to, text)| format!("`{text}` to {to}")).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    let message =
        format!("expected the message{wanted}, but those sent were {}{}", listed(&sent), because(story));
    Some(Failure::new(&format!("spec.expect.messages[{place}]"), message))
}

/// The first that is wanted and does not come after those before it.
fn missed<T, W>(found: &[T], wanted: &[W], fits: impl Fn(&T, &W) -> bool) -> Option<usize> {
    let mut rest = found.iter();
    wanted.iter().position(|wanted| !rest.any(|found| fits(found, wanted)))
}

fn heard(sounds: &[AudioId], names: &BTreeMap<AudioId, String>) -> String {
    let names: Vec<&str> = sounds.iter().filter_map(|audio| names.get(audio)).map(String::as_str).collect();
    listed(&names)
}

/// What the engine said that may explain it.
fn because(story: &Story) -> String {
    let because = story.because.iter().chain(&story.told);
    let because: Vec<&str> = because.map(|what| what.trim_end_matches('.')).collect();
    if because.is_empty() { String::new() } else { format!(" ({})", because.join("; ")) }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn tenths(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}
