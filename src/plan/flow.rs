//! A RoutingFlow, compiled: names become places, prompts become audio, and every expression is proved.

use std::{collections::BTreeMap, sync::Arc};

use api::v1alpha1 as v1;
use model::{
    AudioId, HoursId, Key, TrunkId,
    program::{
        Ask, AskInput, Case, Choice, Dial, DialStrategy, DialTarget, Expression, Program, Rejection, Step,
        StepIx, Value, Variable, VariableIx, VariableKind, Verb,
    },
    snapshot::BusinessHours,
};
use sha2::{Digest, Sha256};

use crate::{
    graph::{self, Edge},
    platform::{caller_id, dialled_trunk, near_key},
    problem::Reason,
    resources::Report,
    words,
    world::{CompiledFlow, Item, ResolvedPrompt, World},
};

/// The flow in the form of a snapshot. What it gives is of use only if nothing was reported.
pub(crate) fn compile(item: &Item<v1::RoutingFlowSpec>, world: &World, report: &mut Report) -> CompiledFlow {
    let mut compiler = Compiler::new(item, world, report);
    let steps: Vec<Step> =
        item.spec.steps.iter().enumerate().map(|(index, step)| compiler.step(index, step)).collect();
    let on_error = item.spec.on_error.as_deref().and_then(|name| compiler.named(name, "spec.onError"));
    compiler.edges.resize_with(steps.len(), Vec::new);
    let Compiler { variables, edges, prompts, hours, names_known, report, .. } = compiler;
    if names_known {
        graph::check(item, &edges, on_error, report);
    }
    let revision = revision(&variables, &steps, on_error);
    let program = Arc::new(Program { revision, variables, steps, on_error });
    CompiledFlow { program, prompts, hours }
}

/// Equal programs have equal revisions, whatever object they come from.
fn revision(variables: &[Variable], steps: &[Step], on_error: Option<StepIx>) -> String {
    let canonical = serde_json::to_vec(&(variables, steps, on_error)).unwrap_or_default();
    let digest = Sha256::digest(canonical);
    AudioId(digest.into()).to_string()
}

struct Compiler<'a> {
    item: &'a Item<v1::RoutingFlowSpec>,
    world: &'a World,
    report: &'a mut Report,
    variables: Vec<Variable>,
    scope: expr::Scope,
    places: BTreeMap<&'a str, usize>,
    edges: Vec<Vec<Edge>>,
    prompts: BTreeMap<AudioId, ResolvedPrompt>,
    hours: BTreeMap<HoursId, Arc<BusinessHours>>,
    /// Whether every step that is named exists; else what follows from the graph is not worth telling.
    names_known: bool,
}

impl<'a> Compiler<'a> {
    fn new(item: &'a Item<v1::RoutingFlowSpec>, world: &'a World, report: &'a mut Report) -> Self {
        let mut places = BTreeMap::new();
        for (index, step) in item.spec.steps.iter().enumerate() {
            if let Some(first) = places.get(step.name.as_str()) {
                let message = format!(
                    "Step `{}` stands already as spec.steps[{first}]; give this one another name.",
                    step.name
                );
                item.error(report, &format!("spec.steps[{index}].name"), Reason::DuplicateStep, message);
            } else {
                places.insert(step.name.as_str(), index);
            }
        }
        let variables = variables(item, report);
        let scope =
            expr::Scope::flow(variables.iter().map(|variable| (variable.name.as_str(), variable.kind)));
        Self {
            item,
            world,
            report,
            variables,
            scope,
            places,
            edges: Vec::new(),
            prompts: BTreeMap::new(),
            hours: BTreeMap::new(),
            names_known: true,
        }
    }

    fn step(&mut self, index: usize, step: &v1::Step) -> Step {
        self.edges.push(Vec::new());
        let at = format!("spec.steps[{index}]");
        if !has_one_verb(step) {
            // The schema has told; which way the call would go nobody knows.
            self.names_known = false;
            self.report.unresolved();
            return Step { name: step.name.clone(), verb: Verb::Hangup { audio: Vec::new(), reject: None } };
        }
        let verb = if let Some(play) = &step.play {
            self.play(play, &at)
        } else if let Some(ask) = &step.ask {
            self.ask(ask, &at)
        } else if let Some(hours) = &step.hours {
            self.hours(hours, &at)
        } else if let Some(branch) = &step.branch {
            self.branch(branch, &at)
        } else if let Some(set) = &step.set {
            self.set(set, &at)
        } else if let Some(dial) = &step.dial {
            self.dial(dial, &at)
        } else {
            self.hangup(step.hangup.as_ref(), &at)
        };
        Step { name: step.name.clone(), verb }
    }

    fn play(&mut self, play: &v1::Play, at: &str) -> Verb {
        let audio = match (&play.prompt, &play.prompts) {
            (Some(name), _) => self.prompt(name, &format!("{at}.play.prompt")).into_iter().collect(),
            (None, Some(names)) => {
                let prompts = names.iter().enumerate();
                prompts
                    .filter_map(|(index, name)| self.prompt(name, &format!("{at}.play.prompts[{index}]")))
                    .collect()
            }
            (None, None) => Vec::new(),
        };
        let next = self.follow(play.next.as_deref(), at, "play.next", true);
        Verb::Play { audio, early: play.early, next }
    }

    fn ask(&mut self, ask: &v1::Ask, at: &str) -> Verb {
        let prompt = |compiler: &mut Self, name: &Option<String>, field: &str| {
            let name = name.as_deref();
            name.and_then(|name| compiler.prompt(name, &format!("{at}.ask.{field}"))).into_iter().collect()
        };
        let audio = prompt(self, &ask.prompt, "prompt");
        let invalid_audio = prompt(self, &ask.invalid_prompt, "invalidPrompt");
        let input = match &ask.digits {
            Some(digits) => self.digits(digits, at),
            None => AskInput::Choices(self.choices(ask.choices.as_deref().unwrap_or_default(), at)),
        };
        // Silence goes on by itself, until `maxVisits` turns it to `noMatch`; a wrong key is something that was done.
        let bounded = ask.max_visits.is_some();
        let no_input = self.follow(ask.no_input.as_deref(), at, "ask.noInput", !bounded);
        let no_match = self.follow(ask.no_match.as_deref(), at, "ask.noMatch", bounded);
        Verb::Ask(Ask {
            audio,
            timeout_ms: milliseconds(ask.timeout_seconds),
            inter_digit_ms: milliseconds(ask.inter_digit_seconds),
            attempts: small(ask.attempts),
            invalid_audio,
            max_visits: ask.max_visits.map(small),
            input,
            secret: ask.secret,
            no_input,
            no_match,
        })
    }

    fn digits(&mut self, digits: &v1::Digits, at: &str) -> AskInput {
        let field = format!("{at}.ask.digits.variable");
        let variable = self.variable(&digits.variable, &field);
        if let Some((_, kind)) = variable
            && kind != VariableKind::String
        {
            let message = format!(
                "`{}` must be a variable of type String: digits may begin with 0, * or #.",
                digits.variable
            );
            self.item.error(self.report, &field, Reason::WrongKind, message);
        }
        let next = self.follow(digits.next.as_deref(), at, "ask.digits.next", false);
        AskInput::Digits {
            variable: variable.map_or(VariableIx(0), |(place, _)| place),
            min: small(digits.min),
            max: small(digits.max),
            terminator: digits.terminator.as_ref().and_then(|key| key.chars().next()),
            next,
        }
    }

    fn choices(&mut self, choices: &[v1::Choice], at: &str) -> Vec<Choice> {
        let mut compiled: Vec<Choice> = Vec::new();
        for (index, choice) in choices.iter().enumerate() {
            let field = format!("{at}.ask.choices[{index}]");
            let begins = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
            if let Some(other) = compiled.iter().find(|other| begins(&other.digits, &choice.digits)) {
                let message = format!(
                    "Keys {} and {} cannot be told apart while they are pressed; no choice's keys may begin another's.",
                    other.digits, choice.digits
                );
                self.item.error(self.report, &format!("{field}.digits"), Reason::AmbiguousChoice, message);
            }
            let next = self.follow(Some(&choice.next), at, &format!("ask.choices[{index}].next"), false);
            compiled.push(Choice { digits: choice.digits.clone(), next });
        }
        compiled
    }

    fn hours(&mut self, hours: &v1::Hours, at: &str) -> Verb {
        let key = Key::new(self.item.namespace(), &hours.reference);
        match self.world.hours.get(&key) {
            Some(found) => {
                self.hours.insert(HoursId(key.clone()), Arc::clone(found));
            }
            None if self.world.is_unusable("BusinessHours", &key) => self.report.unresolved(),
            None => {
                let hint = near_key(&key, self.world.hours.keys());
                let message = format!("There is no BusinessHours {key}{hint}");
                self.item.error(self.report, &format!("{at}.hours.ref"), Reason::HoursNotFound, message);
            }
        }
        let open = self.follow(hours.open.as_deref(), at, "hours.open", true);
        let closed = self.follow(Some(&hours.closed), at, "hours.closed", true);
        let holiday = hours.holiday.as_deref().map(|name| self.follow(Some(name), at, "hours.holiday", true));
        Verb::Hours { hours: HoursId(key), open, closed, holiday: holiday.unwrap_or(closed) }
    }

    fn branch(&mut self, branch: &v1::Branch, at: &str) -> Verb {
        let mut cases = Vec::new();
        for (index, case) in branch.cases.iter().enumerate() {
            let field = format!("{at}.branch.cases[{index}].when");
            self.expression(&case.when, VariableKind::Boolean, "a condition", &field);
            let next = self.follow(Some(&case.next), at, &format!("branch.cases[{index}].next"), true);
            cases.push(Case { when: Expression(case.when.clone()), next });
        }
        let otherwise = self.follow(branch.otherwise.as_deref(), at, "branch.otherwise", true);
        Verb::Branch { cases, otherwise }
    }

    fn set(&mut self, set: &v1::Set, at: &str) -> Verb {
        let mut assignments = Vec::new();
        for (index, assignment) in set.values.iter().enumerate() {
            let field = format!("{at}.set.values[{index}]");
            let Some((place, kind)) = self.variable(&assignment.variable, &format!("{field}.variable"))
            else {
                continue;
            };
            let whose = format!("variable `{}`", assignment.variable);
            self.expression(&assignment.value, kind, &whose, &format!("{field}.value"));
            assignments.push((place, Expression(assignment.value.clone())));
        }
        let next = self.follow(set.next.as_deref(), at, "set.next", true);
        Verb::Set { assignments, next }
    }

    fn dial(&mut self, dial: &v1::Dial, at: &str) -> Verb {
        let targets = dial.to.iter().enumerate();
        let targets = targets.filter_map(|(index, target)| self.target(dial, target, at, index)).collect();
        let ended = self.follow(dial.next.as_deref(), at, "dial.next", false);
        let relay_failure = dial.busy.is_none()
            && dial.no_answer.is_none()
            && dial.failed.is_none()
            && self.item.spec.on_error.is_none();
        let mut failure = |name: &Option<String>, field: &str| match name {
            Some(name) => self.follow(Some(name), at, &format!("dial.{field}"), true),
            None => self.unhandled(at, field, relay_failure).unwrap_or(ended),
        };
        Verb::Dial(Dial {
            busy: failure(&dial.busy, "busy"),
            no_answer: failure(&dial.no_answer, "noAnswer"),
            failed: failure(&dial.failed, "failed"),
            targets,
            strategy: match dial.strategy {
                v1::DialStrategy::InOrder => DialStrategy::InOrder,
                v1::DialStrategy::Simultaneous => DialStrategy::Simultaneous,
            },
            ring_ms: milliseconds(dial.ring_seconds),
            ended,
            relay_failure,
        })
    }

    /// Where a failure goes that its step does not handle.
    fn unhandled(&mut self, at: &str, field: &str, relayed: bool) -> Option<StepIx> {
        if let Some(name) = self.item.spec.on_error.as_deref() {
            let place = *self.places.get(name)?;
            self.edge(place, true);
            return Some(step_ix(place));
        }
        if !relayed {
            let message = format!(
                "`dial` must name `{field}`, or the flow `onError`, since it handles other failures."
            );
            self.item.error(self.report, &format!("{at}.dial"), Reason::UnhandledFailure, message);
        }
        None
    }

    fn target(&mut self, dial: &v1::Dial, target: &v1::Target, at: &str, index: usize) -> Option<DialTarget> {
        let at = format!("{at}.dial");
        if let Some(extension) = &target.extension {
            let field = format!("{at}.to[{index}].extension.trunkRef.name");
            let trunk = dialled_trunk(self.item, &extension.trunk_ref, &field, self.world, self.report)?;
            return Some(DialTarget::Extension { user: extension.user.clone(), trunk: TrunkId(trunk) });
        }
        let number = target.number.as_ref()?.parse().ok()?;
        let namespace = self.item.namespace();
        let Some(trunks) = self.world.outbound.get(namespace).filter(|trunks| !trunks.is_empty()) else {
            let message = format!(
                "Namespace {namespace} must have a Tenant with usable `outboundTrunks` before a flow may dial telephone numbers."
            );
            self.item.error(
                self.report,
                &format!("{at}.to[{index}].number"),
                Reason::NoOutboundTrunk,
                message,
            );
            return None;
        };
        if let Some(number) = &dial.caller_id {
            caller_id(self.item, number, &format!("{at}.callerId"), trunks, self.world, self.report);
        }
        let default =
            self.world.tenants.get(namespace).and_then(|tenant| tenant.spec.default_caller_id.as_ref());
        Some(DialTarget::Number {
            number,
            trunks: trunks.iter().cloned().map(TrunkId).collect(),
            caller_id: dial.caller_id.as_ref().or(default).and_then(|number| number.parse().ok()),
        })
    }

    fn hangup(&mut self, hangup: Option<&v1::Hangup>, at: &str) -> Verb {
        let prompt = hangup.and_then(|hangup| hangup.prompt.as_deref());
        let audio = prompt.and_then(|name| self.prompt(name, &format!("{at}.hangup.prompt")));
        let reject = hangup.and_then(|hangup| hangup.reject).map(|reject| match reject {
            v1::Rejection::Busy => Rejection::Busy,
            v1::Rejection::Decline => Rejection::Decline,
            v1::Rejection::NotFound => Rejection::NotFound,
            v1::Rejection::Unavailable => Rejection::Unavailable,
            v1::Rejection::Forbidden => Rejection::Forbidden,
        });
        Verb::Hangup { audio: audio.into_iter().collect(), reject }
    }

    fn prompt(&mut self, name: &str, field: &str) -> Option<AudioId> {
        let key = Key::new(self.item.namespace(), name);
        if self.world.is_unusable("Prompt", &key) {
            self.report.unresolved();
            return None;
        }
        let Some(found) = self.world.prompts.get(&key) else {
            let hint = near_key(&key, self.world.prompts.keys());
            self.item.error(
                self.report,
                field,
                Reason::PromptNotFound,
                format!("There is no Prompt {key}{hint}"),
            );
            return None;
        };
        let known = self.prompts.get(&found.id);
        if known.is_none_or(|known| found.audio.prompt < known.audio.prompt) {
            self.prompts.insert(found.id, found.clone());
        }
        Some(found.id)
    }

    fn variable(&mut self, name: &str, field: &str) -> Option<(VariableIx, VariableKind)> {
        let place = self.variables.iter().position(|variable| variable.name == name);
        if let Some(place) = place {
            let ix = VariableIx(u16::try_from(place).unwrap_or_default());
            return self.variables.get(place).map(|variable| (ix, variable.kind));
        }
        let hint = words::did_you_mean(name, self.variables.iter().map(|variable| variable.name.as_str()));
        let message = format!("The flow must declare `{name}` in `spec.variables` before it is used{hint}");
        self.item.error(self.report, field, Reason::UnknownVariable, message);
        None
    }

    fn expression(&mut self, source: &str, wanted: VariableKind, whose: &str, field: &str) {
        match expr::compile(source, &self.scope) {
            Ok(compiled) if compiled.kind() == wanted => {}
            Ok(compiled) => {
                let message = format!(
                    "This gives {}, but {whose} must be {}.",
                    kind_name(compiled.kind()),
                    kind_name(wanted)
                );
                self.item.error(self.report, field, Reason::WrongKind, message);
            }
            Err(error) => {
                let message = words::sentence(&error.to_string());
                self.item.error(self.report, field, Reason::InvalidExpression, message);
            }
        }
    }

    /// The step that follows an outcome: the one named, or the next of the list.
    fn follow(&mut self, name: Option<&str>, at: &str, outcome: &str, idle: bool) -> StepIx {
        let place = match name {
            Some(name) => self.named(name, &format!("{at}.{outcome}")).map(|step| usize::from(step.0)),
            None => self.next(at, outcome),
        };
        place.map_or(StepIx(0), |place| {
            self.edge(place, idle);
            step_ix(place)
        })
    }

    fn named(&mut self, name: &str, field: &str) -> Option<StepIx> {
        if let Some(place) = self.places.get(name) {
            return Some(step_ix(*place));
        }
        self.names_known = false;
        let hint = words::did_you_mean(name, self.places.keys().copied());
        let message = format!("The flow has no step `{name}`{hint}");
        self.item.error(self.report, field, Reason::UnknownStep, message);
        None
    }

    fn next(&mut self, at: &str, outcome: &str) -> Option<usize> {
        let place = self.edges.len();
        if place < self.item.spec.steps.len() {
            return Some(place);
        }
        let message = format!(
            "Nothing follows this last step: name a step in `{outcome}`, or add a `hangup` after it."
        );
        self.item.error(self.report, &format!("{at}.{outcome}"), Reason::DeadEnd, message);
        None
    }

    /// From the step that is being compiled.
    fn edge(&mut self, to: usize, idle: bool) {
        if let Some(edges) = self.edges.last_mut() {
            edges.push(Edge { to, idle });
        }
    }
}

fn has_one_verb(step: &v1::Step) -> bool {
    let verbs = [
        step.play.is_some(),
        step.ask.is_some(),
        step.hours.is_some(),
        step.branch.is_some(),
        step.set.is_some(),
        step.dial.is_some(),
        step.hangup.is_some(),
    ];
    verbs.into_iter().filter(|there| *there).count() == 1
}

fn variables(item: &Item<v1::RoutingFlowSpec>, report: &mut Report) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (index, variable) in item.spec.variables.iter().enumerate() {
        let kind = match variable.kind {
            v1::VariableType::Boolean => VariableKind::Boolean,
            v1::VariableType::Integer => VariableKind::Integer,
            v1::VariableType::String => VariableKind::String,
        };
        let initial = initial(kind, variable.initial.as_deref());
        if initial.is_none() {
            let message = format!(
                "`initial` must be {} in quotes, since `{}` is of that type.",
                kind_name(kind),
                variable.name
            );
            item.error(report, &format!("spec.variables[{index}].initial"), Reason::WrongKind, message);
        }
        let initial = initial.unwrap_or(Value::Boolean(false));
        variables.push(Variable { name: variable.name.clone(), kind, initial });
    }
    variables
}

fn initial(kind: VariableKind, text: Option<&str>) -> Option<Value> {
    Some(match kind {
        VariableKind::Boolean => Value::Boolean(text.map_or(Ok(false), str::parse).ok()?),
        VariableKind::Integer => Value::Integer(text.map_or(Ok(0), str::parse).ok()?),
        VariableKind::String => Value::String(text.unwrap_or_default().to_owned()),
    })
}

const fn kind_name(kind: VariableKind) -> &'static str {
    match kind {
        VariableKind::Boolean => "true or false",
        VariableKind::Integer => "a whole number",
        VariableKind::String => "text",
    }
}

/// A flow has at most 500 steps.
fn step_ix(place: usize) -> StepIx {
    StepIx(u16::try_from(place).unwrap_or(u16::MAX))
}

/// The schema bounds every duration by an hour.
fn milliseconds(seconds: i32) -> u32 {
    u32::try_from(seconds).unwrap_or_default().saturating_mul(1_000)
}

fn small(figure: i32) -> u16 {
    u16::try_from(figure).unwrap_or_default()
}
