//! A flow as boxes and arrows.

use std::collections::BTreeMap;

use model::{
    AudioId, Key,
    program::{Ask, AskInput, Dial, DialStrategy, DialTarget, Program, StepIx, Verb},
};

use super::{Direction, Drawing, Edge, Group, Node, Style, words};
use crate::world::{CompiledFlow, ResolvedPrompt};

/// The drawing of a flow: its entry, its steps in their order, and where failures enter.
pub(super) fn drawing(key: &Key, flow: &CompiledFlow) -> Drawing {
    let program = &flow.program;
    let mut nodes = vec![entry("call", Group::Entry)];
    let mut edges = vec![Edge { from: 0, to: 1, label: String::new(), style: Style::Plain }];
    for (place, step) in program.steps.iter().enumerate() {
        let (kind, group) = kind(&step.verb);
        let lines = words::first_lines(lines(&step.verb, flow));
        let lines = lines.iter().map(|line| words::cut(line)).collect();
        nodes.push(Node { kind: kind.into(), title: words::cut(&step.name), lines, group });
        for (to, label) in arrows(&step.verb) {
            edges.push(Edge { from: place + 1, to: node_of(to), label, style: Style::Plain });
        }
    }
    if let Some(handler) = program.on_error {
        let from = nodes.len();
        nodes.push(entry("onError", Group::Failure));
        edges.push(Edge { from, to: node_of(handler), label: String::new(), style: Style::Failure });
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
    Node { kind: String::new(), title: title.into(), lines: Vec::new(), group }
}

/// The entry is the first box.
fn node_of(step: StepIx) -> usize {
    usize::from(step.0) + 1
}

fn description(program: &Program) -> String {
    let steps = program.steps.iter().map(|step| {
        let arrows = arrows(&step.verb).into_iter().filter_map(|(to, label)| {
            let to = program.steps.get(usize::from(to.0))?;
            Some(format!("{label} to {}", to.name))
        });
        let arrows: Vec<_> = arrows.collect();
        let (kind, _) = kind(&step.verb);
        let leads = if arrows.is_empty() { "ends the call".into() } else { arrows.join("; ") };
        format!("{} ({kind}): {leads}.", step.name)
    });
    let handler = program.on_error.and_then(|step| program.steps.get(usize::from(step.0)));
    let handler = handler.map(|step| format!(" Failures go to {}.", step.name)).unwrap_or_default();
    format!("{} steps. {}{handler}", program.steps.len(), steps.collect::<Vec<_>>().join(" "))
}

/// Where a step leads: one arrow for each other step, with every outcome that leads there.
fn arrows(verb: &Verb) -> Vec<(StepIx, String)> {
    let mut arrows: Vec<(StepIx, String)> = Vec::new();
    for (outcome, to) in outcomes(verb) {
        match arrows.iter_mut().find(|(known, _)| *known == to) {
            Some((_, label)) => *label += &format!(", {outcome}"),
            None => arrows.push((to, outcome)),
        }
    }
    arrows.into_iter().map(|(to, label)| (to, words::cut(&label))).collect()
}

/// Outcomes as a call's path names them.
fn outcomes(verb: &Verb) -> Vec<(String, StepIx)> {
    let named = |name: &str, to: &StepIx| (name.to_owned(), *to);
    match verb {
        Verb::Play { next, .. } => vec![named("played", next)],
        Verb::Ask(ask) => ask_outcomes(ask),
        Verb::Hours { open, closed, holiday, .. } => {
            vec![named("open", open), named("closed", closed), named("holiday", holiday)]
        }
        Verb::Branch { cases, otherwise } => {
            let cases = cases.iter().enumerate();
            let cases = cases.map(|(place, case)| (format!("case {}", place + 1), case.next));
            cases.chain([named("otherwise", otherwise)]).collect()
        }
        Verb::Set { next, .. } => vec![named("set", next)],
        Verb::Dial(dial) if dial.relay_failure => vec![named("ended", &dial.ended)],
        Verb::Dial(dial) => vec![
            named("ended", &dial.ended),
            named("busy", &dial.busy),
            named("noAnswer", &dial.no_answer),
            named("failed", &dial.failed),
        ],
        Verb::Hangup { .. } => Vec::new(),
    }
}

fn ask_outcomes(ask: &Ask) -> Vec<(String, StepIx)> {
    let mut outcomes = match &ask.input {
        AskInput::Choices(choices) => {
            choices.iter().map(|choice| (format!("key {}", choice.digits), choice.next)).collect()
        }
        AskInput::Digits { next, .. } => vec![("digits".to_owned(), *next)],
    };
    outcomes.extend([("noInput".to_owned(), ask.no_input), ("noMatch".to_owned(), ask.no_match)]);
    outcomes
}

const fn kind(verb: &Verb) -> (&'static str, Group) {
    match verb {
        Verb::Play { .. } => ("play", Group::Talk),
        Verb::Ask(_) => ("ask", Group::Talk),
        Verb::Hours { .. } => ("hours", Group::Decide),
        Verb::Branch { .. } => ("branch", Group::Decide),
        Verb::Set { .. } => ("set", Group::Decide),
        Verb::Dial(_) => ("dial", Group::Connect),
        Verb::Hangup { .. } => ("hangup", Group::End),
    }
}

fn lines(verb: &Verb, flow: &CompiledFlow) -> Vec<String> {
    match verb {
        Verb::Play { audio, early, .. } => {
            let early = early.then(|| "as early media".to_owned());
            prompts(audio, &flow.prompts).into_iter().chain(early).collect()
        }
        Verb::Ask(ask) => ask_lines(ask, flow),
        Verb::Hours { hours, .. } => vec![hours.0.name().to_owned()],
        Verb::Branch { cases, .. } => {
            let cases = cases.iter().enumerate();
            cases.map(|(place, case)| format!("{}: {}", place + 1, case.when.0)).collect()
        }
        Verb::Set { assignments, .. } => {
            let variables = &flow.program.variables;
            let name = |place: usize| {
                variables.get(place).map(|variable| variable.name.as_str()).unwrap_or_default()
            };
            assignments
                .iter()
                .map(|(set, value)| format!("{} = {}", name(usize::from(set.0)), value.0))
                .collect()
        }
        Verb::Dial(dial) => dial_lines(dial),
        Verb::Hangup { audio, reject } => {
            let reject = reject.map(|reject| format!("refuses with {}", reject.status()));
            prompts(audio, &flow.prompts).into_iter().chain(reject).collect()
        }
    }
}

fn prompts(audio: &[AudioId], known: &BTreeMap<AudioId, ResolvedPrompt>) -> Vec<String> {
    let names = audio.iter().filter_map(|id| known.get(id));
    names.map(|prompt| format!("“{}”", prompt.audio.prompt.0.name())).collect()
}

fn ask_lines(ask: &Ask, flow: &CompiledFlow) -> Vec<String> {
    let mut lines = prompts(&ask.audio, &flow.prompts);
    if let AskInput::Digits { variable, min, max, .. } = &ask.input {
        let name = flow.program.variables.get(usize::from(variable.0)).map_or("", |variable| &variable.name);
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
    };
    let how = match dial.strategy {
        DialStrategy::InOrder if dial.targets.len() > 1 => "in order, ",
        DialStrategy::Simultaneous => "all at once, ",
        DialStrategy::InOrder => "",
    };
    let relayed = dial.relay_failure.then(|| "failure relayed to the caller".to_owned());
    let figures = format!("{how}{} each", seconds(dial.ring_ms));
    dial.targets.iter().map(target).chain([figures]).chain(relayed).collect()
}

fn seconds(milliseconds: u32) -> String {
    if milliseconds.is_multiple_of(1_000) {
        format!("{} s", milliseconds / 1_000)
    } else {
        format!("{:.1} s", f64::from(milliseconds) / 1_000.0)
    }
}
