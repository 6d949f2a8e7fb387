//! What a step does as soon as it is reached.

use model::{
    program::{Case, Request, Say},
    spoken,
};

use super::{
    Action, Asked, Cursor, Duration, E164, Environment, Expression, Leads, Onward, PRIORITY_MAX, Passed,
    Requested, SPEECH_MAX, Speech, StepIx, Value, VariableIx, Verb,
};
use crate::hours;

impl Cursor {
    pub(super) fn work(&mut self, environment: Environment<'_>) -> Passed {
        let flow = self.frame.flow.clone();
        let verb = &flow.program.steps[usize::from(self.frame.at.0)].verb;
        match verb {
            Verb::Play { say: Some(_), .. } => self.decide(verb, environment).unwrap_or_else(Passed::Failed),
            Verb::Play { audio, early, .. } => {
                Passed::Wait(vec![Action::Play { audio: self.translated(audio), say: None, early: *early }])
            }
            Verb::Ask(ask) => self.ask_first(ask, environment),
            Verb::Dial(dial) | Verb::Transfer { dial, .. } => {
                Passed::Wait(vec![Action::Dial(Box::new(dial.clone()))])
            }
            Verb::Hangup { audio, reject } => {
                self.note("hangup");
                let audio = self.translated(audio);
                Passed::Wait(vec![reject.map_or_else(|| Action::Hangup(audio), Action::Reject)])
            }
            Verb::Split { .. } => Passed::Wait(vec![Action::Draw]),
            Verb::Record { action, to, .. } => Passed::Wait(vec![Action::Record(*action, *to)]),
            Verb::Voicemail { voicemail_box, greeting, max_ms, .. } => {
                Passed::Wait(vec![Action::Voicemail {
                    voicemail_box: voicemail_box.clone(),
                    greeting: self.translated(greeting),
                    longest: max_ms.map(milliseconds),
                }])
            }
            Verb::Wait { bound: Some((most, exceeded)), .. } if self.visit(*most) => {
                Passed::Go("exceeded".into(), Onward::To(*exceeded))
            }
            Verb::Wait { audio, .. } => Passed::Wait(vec![Action::Wait(self.translated(audio))]),
            Verb::Hours { .. }
            | Verb::Branch { .. }
            | Verb::Set { .. }
            | Verb::Request(_)
            | Verb::Call { .. }
            | Verb::Queue(_)
            | Verb::Callback { .. }
            | Verb::Message { .. } => self.decide(verb, environment).unwrap_or_else(Passed::Failed),
        }
    }

    /// Steps that may fail by their own expressions.
    fn decide(&mut self, verb: &Verb, environment: Environment<'_>) -> Result<Passed, String> {
        match verb {
            Verb::Hours { hours, open, closed, holiday } => {
                let at = environment.now.wall;
                let hours =
                    environment.world.hours(hours).ok_or_else(|| format!("BusinessHours {hours} is gone"))?;
                let (outcome, next) = match hours.at(at) {
                    hours::State::Open => ("open", open),
                    hours::State::Closed => ("closed", closed),
                    hours::State::Holiday => ("holiday", holiday),
                };
                Ok(Passed::Go(outcome.into(), Onward::To(*next)))
            }
            Verb::Branch { cases, otherwise } => self.branch(cases, *otherwise, environment),
            Verb::Set { assignments, next } => {
                self.assign(assignments, environment)?;
                Ok(Passed::Go("set".into(), Onward::To(*next)))
            }
            Verb::Request(request) => self.request(request, environment),
            Verb::Call { flow, .. } => match self.frame.flow.callee(flow) {
                Some(callee) if self.callers.len() + 1 < model::program::CALLS_MAX => {
                    Ok(Passed::Into(callee.clone()))
                }
                Some(_) => Err("flows call each other too deep".into()),
                None => Err(format!("RoutingFlow {flow} is gone")),
            },
            Verb::Queue(queue) => {
                let priority = queue.priority.as_ref();
                let priority = priority.map(|source| self.priority(source, environment)).transpose()?;
                Ok(Passed::Wait(vec![Action::Queue {
                    queue: queue.queue.clone(),
                    priority,
                    max_wait: queue.max_wait_ms.map(milliseconds),
                }]))
            }
            Verb::Callback { queue, keep_place, number, attempts, retry_ms, first, .. } => {
                let number = match number {
                    Some(source) => self.text(source, environment)?,
                    None => self.facts.contact_number.clone(),
                };
                let Ok(number) = number.parse::<E164>() else { return Ok(self.give_up(verb)) };
                Ok(Passed::Wait(vec![Action::Callback {
                    queue: queue.clone(),
                    keep_place: *keep_place,
                    number,
                    attempts: *attempts,
                    retry: milliseconds(*retry_ms),
                    first: *first,
                }]))
            }
            Verb::Message { text, to, failed, .. } => {
                let text = self.text(text, environment)?;
                let to = to.as_ref().map(|source| self.text(source, environment)).transpose()?;
                Ok(self.message(text, to, *failed))
            }
            Verb::Play { audio, say: Some(say), early, .. } => {
                let say = Some(Box::new(self.speech(say, environment)?));
                Ok(Passed::Wait(vec![Action::Play { audio: self.translated(audio), say, early: *early }]))
            }
            Verb::Play { say: None, .. }
            | Verb::Ask(_)
            | Verb::Dial(_)
            | Verb::Transfer { .. }
            | Verb::Split { .. }
            | Verb::Record { .. }
            | Verb::Voicemail { .. }
            | Verb::Wait { .. }
            | Verb::Hangup { .. } => Err("the step has nothing to decide".into()),
        }
    }

    fn message(&self, text: String, to: Option<String>, failed: Option<StepIx>) -> Passed {
        let Ok(to) = to.map(|to| to.parse::<E164>()).transpose() else {
            let onward = self.onward("failed", failed.map_or(Leads::Failure, Leads::To));
            return Passed::Go("failed (`to` is no telephone number)".into(), onward);
        };
        Passed::Wait(vec![Action::Message { text, to }])
    }

    /// The outcome `failed`, which each verb that has it names last.
    fn give_up(&self, verb: &Verb) -> Passed {
        match verb.outcomes().into_iter().next_back() {
            Some((outcome, leads)) => {
                let onward = self.onward(&outcome, leads);
                Passed::Go(outcome, onward)
            }
            None => Passed::Failed("the step has no outcome".into()),
        }
    }

    fn branch(
        &self,
        cases: &[Case],
        otherwise: StepIx,
        environment: Environment<'_>,
    ) -> Result<Passed, String> {
        for (place, case) in cases.iter().enumerate() {
            if self.evaluate(&case.when, environment)? == Value::Boolean(true) {
                return Ok(Passed::Go(format!("case {}", place + 1), Onward::To(case.next)));
            }
        }
        Ok(Passed::Go("otherwise".into(), Onward::To(otherwise)))
    }

    fn assign(
        &mut self,
        assignments: &[(VariableIx, Expression)],
        environment: Environment<'_>,
    ) -> Result<(), String> {
        for (variable, expression) in assignments {
            let value = self.evaluate(expression, environment)?;
            self.frame.values[usize::from(variable.0)] = value;
        }
        Ok(())
    }

    fn request(&self, request: &Request, environment: Environment<'_>) -> Result<Passed, String> {
        let text = |source: &Option<Expression>| {
            source.as_ref().map(|source| self.text(source, environment)).transpose()
        };
        let path = text(&request.path)?.unwrap_or_default();
        let headers = request.headers.iter();
        let headers: Result<Vec<_>, _> = headers
            .map(|(name, value)| self.text(value, environment).map(|value| (name.clone(), value)))
            .collect();
        let headers = headers?;
        let body = text(&request.body)?;
        let sendable =
            is_sendable(&path) && headers.iter().all(|(_, value)| !value.chars().any(char::is_control));
        if !sendable {
            return Ok(self.give_up(self.verb()));
        }
        Ok(Passed::Wait(vec![Action::Request(Box::new(Asked {
            integration: request.integration.clone(),
            method: request.method,
            path,
            headers,
            body,
            timeout: request.timeout_ms.map(milliseconds),
            is_message: false,
        }))]))
    }

    /// A request came out.
    pub fn requested(&mut self, outcome: Requested<'_>, environment: Environment<'_>) -> Vec<Action> {
        let flow = self.frame.flow.clone();
        let Verb::Request(request) = &flow.program.steps[usize::from(self.frame.at.0)].verb else {
            return Vec::new();
        };
        let values = match outcome {
            Requested::Answered(response) if (200..=299).contains(&response.status()) => {
                self.read(request, response, environment)
            }
            Requested::Saved(values) if values.len() == request.save.len() => Some(values.to_vec()),
            Requested::Answered(_) | Requested::Saved(_) | Requested::Failed => None,
        };
        let mut outcomes = self.verb().outcomes().into_iter();
        let (done, failed) = (outcomes.next(), outcomes.next());
        let taken = if values.is_some() { done } else { failed };
        for ((variable, _), value) in request.save.iter().zip(values.unwrap_or_default()) {
            self.frame.values[usize::from(variable.0)] = value;
        }
        taken.map_or_else(Vec::new, |(name, leads)| self.take(&name, leads, environment))
    }

    /// What a request saves of an answer. None: it cannot all be had.
    fn read(
        &self,
        request: &Request,
        response: &expr::Response,
        environment: Environment<'_>,
    ) -> Option<Vec<Value>> {
        let variables = &self.frame.flow.program.variables;
        let value = |(variable, from): &(VariableIx, Expression)| {
            let value = self.evaluate_with(self.frame.flow.saved(from)?, Some(response), environment).ok()?;
            (value.kind() == variables.get(usize::from(variable.0))?.kind).then_some(value)
        };
        request.save.iter().map(value).collect()
    }

    fn priority(&self, source: &Expression, environment: Environment<'_>) -> Result<u8, String> {
        match self.evaluate(source, environment)? {
            Value::Integer(value) => {
                Ok(u8::try_from(value.clamp(0, PRIORITY_MAX.into())).unwrap_or(PRIORITY_MAX))
            }
            other @ (Value::Boolean(_) | Value::String(_)) => {
                Err(format!("a priority must be a whole number, not {other}"))
            }
        }
    }

    fn speech(&self, say: &Say, environment: Environment<'_>) -> Result<Speech, String> {
        let language = self.language().unwrap_or(&say.language);
        let value = self.evaluate(&say.value, environment)?;
        let text = spoken::pronounced(&value, say.pronunciation, language)?;
        match text.chars().count() {
            0 => Err("there is nothing to say".into()),
            count if count > SPEECH_MAX => {
                Err(format!("what is to be said has {count} characters, more than {SPEECH_MAX}"))
            }
            _ => Ok(Speech { text, language: language.to_owned() }),
        }
    }

    fn text(&self, source: &Expression, environment: Environment<'_>) -> Result<String, String> {
        match self.evaluate(source, environment)? {
            Value::String(text) => Ok(text),
            other @ (Value::Boolean(_) | Value::Integer(_)) => Err(format!("this must be text, not {other}")),
        }
    }

    fn evaluate(&self, expression: &Expression, environment: Environment<'_>) -> Result<Value, String> {
        let compiled = self.frame.flow.expression(expression).ok_or("the expression was never compiled")?;
        self.evaluate_with(compiled, None, environment)
    }

    fn evaluate_with(
        &self,
        compiled: &expr::Compiled,
        response: Option<&expr::Response>,
        environment: Environment<'_>,
    ) -> Result<Value, String> {
        let names = self.frame.flow.program.variables.iter().map(|variable| variable.name.as_str());
        let variables: Vec<_> = names.zip(&self.frame.values).collect();
        let inputs = expr::Inputs {
            contact_number: &self.facts.contact_number,
            contact_verstat: self.facts.contact_verstat,
            call_number: &self.facts.call_number,
            call_trunk: &self.facts.call_trunk,
            variables: &variables,
            response,
        };
        environment.expressions.evaluate(compiled, &inputs).map_err(|failure| failure.to_string())
    }
}

/// Whether a path can stand in a request as it is: what a contact brought in must not make two of it.
fn is_sendable(path: &str) -> bool {
    let fits = |c: char| c.is_ascii_graphic() && c != '#';
    path.is_empty() || (path.starts_with(['/', '?']) && path.chars().all(fits))
}

fn milliseconds(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}
