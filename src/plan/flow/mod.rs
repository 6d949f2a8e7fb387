//! A RoutingFlow, compiled: names become places, prompts become audio, and every expression is proved.

mod calls;
mod connect;
mod decide;
mod talk;

pub(crate) use calls::callees_first;

use std::{collections::BTreeMap, sync::Arc};

use api::v1alpha1 as v1;
use model::{
    AudioId, HoursId, Key,
    program::{Expression, Program, Step, StepIx, Value, Variable, VariableIx, VariableKind, Verb},
    snapshot::{AudioSource, BusinessHours},
};
use sha2::{Digest, Sha256};

use crate::{
    checks,
    graph::{self, Edge},
    platform::near_key,
    problem::{ObjectId, Reason},
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
    // One place more than there are steps: behind the last one the flow goes back to its caller.
    compiler.edges.resize_with(steps.len() + 1, Vec::new);
    let Compiler { variables, edges, prompts, hours, names_known, report, .. } = compiler;
    if names_known {
        graph::check(item, &edges, on_error, report);
    }
    let returns_idly = graph::idle_way(&edges, 0, steps.len());
    let tenant = world.tenants.get(item.namespace());
    let usual = tenant.and_then(|tenant| tenant.spec.languages.first());
    let translations = translations(&prompts, usual);
    let revision = revision((&variables, &steps, on_error), &translations);
    let program = Arc::new(Program { revision, variables, steps, on_error, translations });
    CompiledFlow { program, prompts, hours, returns_idly }
}

type Translations = BTreeMap<AudioId, BTreeMap<String, AudioId>>;

/// Each with itself in its own language: that of its text, or for a recording the tenant's usual one.
fn translations(prompts: &BTreeMap<AudioId, ResolvedPrompt>, usual: Option<&String>) -> Translations {
    let translated = prompts.iter().filter(|(_, prompt)| !prompt.translations.is_empty());
    let by_language = |prompt: &ResolvedPrompt| {
        let others = prompt.translations.iter().map(|(language, other)| (language.clone(), other.id));
        let mut all: BTreeMap<_, _> = others.collect();
        let own = match &prompt.audio.source {
            AudioSource::Speech { language, .. } => Some(language),
            AudioSource::Wav { .. } | AudioSource::Remote { .. } => usual,
        };
        if let Some(own) = own {
            all.entry(own.clone()).or_insert(prompt.id);
        }
        all
    };
    translated.map(|(id, prompt)| (*id, by_language(prompt))).collect()
}

/// Equal programs have equal revisions, whatever object they come from.
fn revision(steps: (&[Variable], &[Step], Option<StepIx>), translations: &Translations) -> String {
    let canonical = match translations.is_empty() {
        true => serde_json::to_vec(&steps),
        false => serde_json::to_vec(&(steps, translations)),
    };
    let canonical = canonical.unwrap_or_default();
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
    end: End,
}

/// What comes after the last step of a flow.
enum End {
    /// Nothing may: nobody calls the flow.
    Closed,
    /// Nothing may: besides flows that call it, this leads to it.
    Entered(ObjectId),
    /// The flow goes back to the one that called it, with its failures too.
    Returns,
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
            end: end(&item.id.key, world),
        }
    }

    fn step(&mut self, index: usize, step: &v1::Step) -> Step {
        self.edges.push(Vec::new());
        let at = format!("spec.steps[{index}]");
        if step.verbs().len() != 1 {
            // The schema has told; which way the call would go nobody knows.
            self.names_known = false;
            self.report.unresolved();
            return Step { name: step.name.clone(), verb: Verb::Hangup { audio: Vec::new(), reject: None } };
        }
        let verb =
            self.talk(step, &at).or_else(|| self.decide(step, &at)).or_else(|| self.connect(step, &at));
        let verb = verb.unwrap_or_else(|| self.hangup(step.hangup.as_deref(), &at));
        Step { name: step.name.clone(), verb }
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

    /// An expression of the flow's own names.
    fn expression(&mut self, source: &str, wanted: VariableKind, whose: &str, field: &str) -> Expression {
        let compiled = expr::compile(source, &self.scope);
        self.proved(compiled, wanted, whose, field);
        Expression(source.to_owned())
    }

    /// Says what is wrong with an expression, if anything is.
    fn proved(
        &mut self,
        compiled: Result<expr::Compiled, expr::Error>,
        wanted: VariableKind,
        whose: &str,
        field: &str,
    ) {
        match compiled {
            // What an answer holds shows only when it is there; if it is of another kind, the step fails.
            Ok(compiled) if compiled.kind().is_none_or(|kind| kind == wanted) => {}
            Ok(compiled) => {
                let message = format!(
                    "This gives {}, but {whose} must be {}.",
                    compiled.kind().map_or("anything", kind_name),
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

    /// An object of this namespace that need only be there: what it says is read while calls go on.
    fn object(&mut self, kind: (&'static str, Reason), name: &str, field: &str) -> Key {
        checks::named(self.item, self.world, self.report, field, kind, name);
        Key::new(self.item.namespace(), name)
    }

    /// The step that follows an outcome: the one named, or the next of the list.
    fn follow(&mut self, name: Option<&str>, at: &str, outcome: &str, idle: bool) -> StepIx {
        let step = match name {
            Some(name) => self.named(name, &format!("{at}.{outcome}")),
            None => self.next(at, outcome),
        };
        let Some(step) = step else { return StepIx(0) };
        self.edge(step, idle);
        step
    }

    /// The step that a failure of a verb leads to. None: it is the flow's, which goes to `onError` once and no more until
    /// the contact has done something; so no call goes round there for ever.
    fn failure(&mut self, name: Option<&str>, at: &str, outcome: (&str, &str), idle: bool) -> Option<StepIx> {
        let (verb, field) = outcome;
        if name.is_some() {
            return Some(self.follow(name, at, &format!("{verb}.{field}"), idle));
        }
        if let Some(step) = self.handler() {
            self.edge(step, false);
        } else if self.item.spec.on_error.is_none() && !matches!(self.end, End::Returns) {
            let message = format!(
                "`{verb}` must name `{field}`, or the flow `onError`, so that this failure leads somewhere."
            );
            self.item.error(self.report, &format!("{at}.{verb}"), Reason::UnhandledFailure, message);
        }
        None
    }

    /// Where failures go that no step handles.
    fn handler(&self) -> Option<StepIx> {
        let name = self.item.spec.on_error.as_deref()?;
        self.places.get(name).map(|place| step_ix(*place))
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

    fn next(&mut self, at: &str, outcome: &str) -> Option<StepIx> {
        let place = self.edges.len();
        if place < self.item.spec.steps.len() {
            return Some(step_ix(place));
        }
        let message = match &self.end {
            End::Returns => return Some(StepIx::RETURN),
            End::Closed => format!(
                "Nothing follows this last step: name a step in `{outcome}`, or add a `hangup` after it."
            ),
            End::Entered(by) => format!(
                "Nothing follows this last step, and {by} leads here: name a step in `{outcome}`, or add a `hangup` after it. Only a flow that nothing but `call` leads to goes back where it came from."
            ),
        };
        self.item.error(self.report, &format!("{at}.{outcome}"), Reason::DeadEnd, message);
        None
    }

    /// From the step that is being compiled.
    fn edge(&mut self, to: StepIx, idle: bool) {
        let end = self.item.spec.steps.len();
        if let Some(edges) = self.edges.last_mut() {
            edges.push(Edge { to: usize::from(to.0).min(end), idle });
        }
    }
}

fn end(flow: &Key, world: &World) -> End {
    match world.directory.entered(flow) {
        _ if !world.directory.is_called(flow) => End::Closed,
        Some(by) => End::Entered(by),
        None => End::Returns,
    }
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
