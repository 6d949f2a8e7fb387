//! A flow as boxes and arrows.

use std::collections::BTreeMap;

use model::{
    AudioId, Key,
    media::tone_of,
    program::{
        Ask, AskInput, Dial, DialStrategy, DialTarget, Leads, Program, Queue, RecordTo, Request, StepIx,
        TransferKind, VariableIx, Verb,
    },
};

use super::{Direction, Drawing, Edge, Group, Node, Style, words};
use crate::world::{CompiledFlow, ResolvedPrompt};

/// After a conversation that nothing follows.
const THE_END: &str = "afterwards the call ends";

/// The drawing of a flow: its entry, its steps in their order, and where failures enter.
pub(super) fn drawing(key: &Key, flow: &CompiledFlow) -> Drawing {
    let program = &flow.program;
    let mut nodes = vec![entry("call", Group::Entry)];
    let mut edges = vec![Edge { from: 0, to: 1, label: String::new(), style: Style::Plain }];
    for (place, step) in program.steps.iter().enumerate() {
        let lines = words::first_lines(lines(&step.verb, flow));
        let lines = lines.iter().map(|line| words::cut(line)).collect();
        let kind = step.verb.name().into();
        nodes.push(Node { kind, title: words::cut(&step.name), lines, group: group(&step.verb), column: 0 });
        for (to, label, style) in arrows(&step.verb, program) {
            edges.push(Edge { from: place + 1, to: node_of(to, program), label, style });
        }
    }
    if program.returning().is_some() {
        nodes.push(entry("back to its caller", Group::End));
    }
    if let Some(handler) = program.on_error {
        let from = nodes.len();
        nodes.push(entry("onError", Group::Failure));
        edges.push(Edge { from, to: node_of(handler, program), label: String::new(), style: Style::Failure });
    }
    Drawing {
        title: format!("RoutingFlow {key}"),
        description: description(program),
        direction: Direction::Down,
        nodes,
        edges,
    }
}

fn entry(title: &str, group: Group) -> Node {
    Node { kind: String::new(), title: title.into(), lines: Vec::new(), group, column: 0 }
}

/// The entry is the first box; the way back to the caller is behind the last step.
fn node_of(step: StepIx, program: &Program) -> usize {
    usize::from(step.0).min(program.steps.len()) + 1
}

fn description(program: &Program) -> String {
    let name = |to: StepIx| program.steps.get(usize::from(to.0)).map_or("its caller", |step| &step.name);
    let steps = program.steps.iter().map(|step| {
        let arrows = arrows(&step.verb, program).into_iter();
        let mut arrows: Vec<_> = arrows.map(|(to, label, _)| format!("{label} to {}", name(to))).collect();
        if step.verb.outcomes().iter().any(|(_, leads)| *leads == Leads::End) {
            arrows.push("ended ends the call".into());
        }
        let leads = if arrows.is_empty() { "ends the call".into() } else { arrows.join("; ") };
        format!("{} ({}): {leads}.", step.name, step.verb.name())
    });
    let handler = program.on_error.map(|step| format!(" Failures go to {}.", name(step))).unwrap_or_default();
    format!("{} steps. {}{handler}", program.steps.len(), steps.collect::<Vec<_>>().join(" "))
}

/// Where a step leads: one arrow for each other step, with every outcome that leads there. What goes to `onError` has an
/// arrow of its own.
fn arrows(verb: &Verb, program: &Program) -> Vec<(StepIx, String, Style)> {
    let mut arrows: Vec<(StepIx, String, Style)> = Vec::new();
    for (outcome, leads) in verb.outcomes() {
        let (to, style) = match (leads, program.on_error) {
            (Leads::To(step), _) => (step, Style::Plain),
            (Leads::Failure, Some(handler)) => (handler, Style::Failure),
            (Leads::Failure, None) | (Leads::End, _) => continue,
        };
        let outcome = drawn(verb, outcome);
        match arrows.iter_mut().find(|(known, _, as_known)| (*known, *as_known) == (to, style)) {
            Some((_, label, _)) => *label += &format!(", {outcome}"),
            None => arrows.push((to, outcome, style)),
        }
    }
    arrows.into_iter().map(|(to, label, style)| (to, words::cut(&label), style)).collect()
}

/// An outcome as it stands at its arrow, where a call's path says it shorter.
fn drawn(verb: &Verb, outcome: String) -> String {
    match (outcome.split_once(' '), verb) {
        (Some(("choice", digits)), Verb::Ask(ask)) => key(ask, digits),
        (Some(("part", place)), Verb::Split { parts, .. }) => {
            let part = place.parse::<usize>().ok().and_then(|place| parts.get(place.checked_sub(1)?));
            part.map_or(outcome, |part| format!("{} %", part.percent))
        }
        _ => outcome,
    }
}

/// A choice's keys, and the first of its phrases.
fn key(ask: &Ask, digits: &str) -> String {
    let AskInput::Choices(choices) = &ask.input else { return format!("key {digits}") };
    let choice = choices.iter().find(|choice| choice.digits == digits);
    match choice.map(|choice| choice.phrases.as_slice()) {
        None | Some([]) => format!("key {digits}"),
        Some([phrase]) => format!("key {digits} “{phrase}”"),
        Some([phrase, ..]) => format!("key {digits} “{phrase}” …"),
    }
}

const fn group(verb: &Verb) -> Group {
    match verb {
        Verb::Play { .. } | Verb::Ask(_) | Verb::Voicemail { .. } | Verb::Wait { .. } => Group::Talk,
        Verb::Hours { .. }
        | Verb::Branch { .. }
        | Verb::Set { .. }
        | Verb::Split { .. }
        | Verb::Request(_)
        | Verb::Record { .. } => Group::Decide,
        Verb::Dial(_)
        | Verb::Transfer { .. }
        | Verb::Queue(_)
        | Verb::Callback { .. }
        | Verb::Message { .. } => Group::Connect,
        Verb::Call { .. } => Group::Flow,
        Verb::Hangup { .. } => Group::End,
    }
}

fn lines(verb: &Verb, flow: &CompiledFlow) -> Vec<String> {
    match verb {
        Verb::Play { audio, say, early, .. } => {
            let early = early.then(|| "as early media".to_owned());
            let say = say.as_ref().map(|say| format!("says {}", say.value.0));
            let played = if audio.is_empty() { Vec::new() } else { prompts(audio, &flow.prompts) };
            played.into_iter().chain(say).chain(early).collect()
        }
        Verb::Ask(ask) => ask_lines(ask, flow),
        Verb::Hours { hours, .. } => vec![hours.0.name().to_owned()],
        Verb::Branch { cases, .. } => {
            let cases = cases.iter().enumerate();
            cases.map(|(place, case)| format!("{}: {}", place + 1, case.when.0)).collect()
        }
        Verb::Set { assignments, .. } => {
            let assignments = assignments.iter();
            assignments.map(|(set, value)| format!("{} = {}", name(*set, flow), value.0)).collect()
        }
        Verb::Split { .. } => Vec::new(),
        Verb::Request(request) => request_lines(request, flow),
        Verb::Call { flow: callee, .. } => vec![callee.0.name().to_owned()],
        Verb::Wait { ms, audio, bound, .. } => {
            let bound = bound.map(|(most, _)| format!("at most {most} visits"));
            prompts(audio, &flow.prompts).into_iter().chain([seconds(*ms)]).chain(bound).collect()
        }
        Verb::Dial(dial) => dial_lines(dial),
        Verb::Transfer { dial, kind } => {
            let kind = (*kind == TransferKind::Refer).then(|| "by REFER".to_owned());
            dial_lines(dial).into_iter().chain(kind).chain([THE_END.to_owned()]).collect()
        }
        Verb::Queue(queue) => queue_lines(queue),
        Verb::Callback { queue, keep_place, number, .. } => {
            let place = keep_place.then(|| "keeps its place".to_owned());
            let number = number.as_ref().map(|number| format!("at {}", number.0));
            [queue.0.name().to_owned()].into_iter().chain(number).chain(place).collect()
        }
        Verb::Voicemail { voicemail_box, greeting, max_ms, .. } => {
            let most = max_ms.map(|ms| format!("at most {}", seconds(ms)));
            let name = voicemail_box.0.name().to_owned();
            [name].into_iter().chain(prompts(greeting, &flow.prompts)).chain(most).collect()
        }
        Verb::Record { action, to: RecordTo::Store, .. } => vec![format!("{action:?}")],
        Verb::Record { action, to, .. } => vec![format!("{action:?} ({to:?})")],
        Verb::Message { text, to, .. } => {
            let to = to.as_ref().map(|to| format!("to {}", to.0));
            [text.0.clone()].into_iter().chain(to).collect()
        }
        Verb::Hangup { audio, reject } => {
            let reject = reject.map(|reject| format!("refuses with {}", reject.status()));
            prompts(audio, &flow.prompts).into_iter().chain(reject).collect()
        }
    }
}

fn name(variable: VariableIx, flow: &CompiledFlow) -> &str {
    flow.program.variables.get(usize::from(variable.0)).map_or("", |variable| &variable.name)
}

fn request_lines(request: &Request, flow: &CompiledFlow) -> Vec<String> {
    let path = request.path.as_ref().map(|path| format!(" {}", path.0)).unwrap_or_default();
    let first = [request.integration.0.name().to_owned(), format!("{}{path}", request.method)];
    let saved = request.save.iter().map(|(variable, from)| format!("{} = {}", name(*variable, flow), from.0));
    let limit = request.timeout_ms.map(|ms| format!("at most {}", seconds(ms)));
    first.into_iter().chain(saved).chain(limit).collect()
}

fn queue_lines(queue: &Queue) -> Vec<String> {
    let priority = queue.priority.as_ref().map(|priority| format!("priority {}", priority.0));
    let wait = queue.max_wait_ms.map(|ms| format!("at most {}", seconds(ms)));
    let ends = queue.ended.is_none().then(|| THE_END.to_owned());
    [queue.queue.0.name().to_owned()].into_iter().chain(priority).chain(wait).chain(ends).collect()
}

fn prompts(audio: &[AudioId], known: &BTreeMap<AudioId, ResolvedPrompt>) -> Vec<String> {
    let name = |id: &AudioId| match known.get(id) {
        Some(prompt) => Some(format!("“{}”", prompt.audio.prompt.0.name())),
        None => tone_of(id).map(|(tone, _)| format!("tone {tone:?}")),
    };
    audio.iter().filter_map(name).collect()
}

fn ask_lines(ask: &Ask, flow: &CompiledFlow) -> Vec<String> {
    let mut lines = prompts(&ask.audio, &flow.prompts);
    if let AskInput::Digits { variable, min, max, .. } = &ask.input {
        let name = name(*variable, flow);
        let secret = if ask.secret { ", masked" } else { "" };
        lines.push(format!("{min}–{max} digits → {name}{secret}"));
    }
    lines.push(format!("{} × {}", ask.attempts, seconds(ask.timeout_ms)));
    lines.extend(ask.max_visits.map(|most| format!("at most {most} visits")));
    lines
}

fn dial_lines(dial: &Dial) -> Vec<String> {
    let target = |target: &DialTarget| match target {
        DialTarget::Number { number, .. } => number.to_string(),
        DialTarget::Extension { user, trunk } => format!("{user} · {}", trunk.0.name()),
        DialTarget::Agent(agent) => format!("Agent {}", agent.0.name()),
    };
    let how = match dial.strategy {
        DialStrategy::InOrder if dial.targets.len() > 1 => "in order, ",
        DialStrategy::Simultaneous => "all at once, ",
        DialStrategy::InOrder => "",
    };
    let relayed = dial.relay_failure.then(|| "failure relayed to the caller".to_owned());
    let each = if dial.targets.len() > 1 { " each" } else { "" };
    let figures = format!("{how}{}{each}", seconds(dial.ring_ms));
    dial.targets.iter().map(target).chain([figures]).chain(relayed).collect()
}

fn seconds(milliseconds: u32) -> String {
    if milliseconds.is_multiple_of(1_000) {
        format!("{} s", milliseconds / 1_000)
    } else {
        format!("{:.1} s", f64::from(milliseconds) / 1_000.0)
    }
}
