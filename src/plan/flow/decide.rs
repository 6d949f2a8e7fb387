//! Verbs that decide where the contact goes: by the calendar, by conditions, by lot, by a service, by another flow.

use std::sync::Arc;

use api::v1alpha1 as v1;
use model::{
    HoursId, IntegrationId, Key,
    program::{Case, Expression, Method, Part, Request, VariableIx, VariableKind, Verb},
};

use super::{Compiler, milliseconds};
use crate::{platform::near_key, problem::Reason};

impl Compiler<'_> {
    pub(super) fn decide(&mut self, step: &v1::Step, at: &str) -> Option<Verb> {
        if let Some(hours) = &step.hours {
            Some(self.hours(hours, at))
        } else if let Some(branch) = &step.branch {
            Some(self.branch(branch, at))
        } else if let Some(set) = &step.set {
            Some(self.set(set, at))
        } else if let Some(split) = &step.split {
            Some(self.split(split, at))
        } else if let Some(request) = &step.request {
            Some(self.request(request, at))
        } else {
            step.call.as_ref().map(|call| self.call(call, at))
        }
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
            let when = self.expression(&case.when, VariableKind::Boolean, "a condition", &field);
            let next = self.follow(Some(&case.next), at, &format!("branch.cases[{index}].next"), true);
            cases.push(Case { when, next });
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
            let value = self.expression(&assignment.value, kind, &whose, &format!("{field}.value"));
            assignments.push((place, value));
        }
        let next = self.follow(set.next.as_deref(), at, "set.next", true);
        Verb::Set { assignments, next }
    }

    fn split(&mut self, split: &v1::Split, at: &str) -> Verb {
        let part = |(index, part): (usize, &v1::Part)| Part {
            percent: u8::try_from(part.percent).unwrap_or_default(),
            next: self.follow(Some(&part.next), at, &format!("split.parts[{index}].next"), true),
        };
        let parts: Vec<Part> = split.parts.iter().enumerate().map(part).collect();
        let all = parts.iter().map(|part| u32::from(part.percent)).sum::<u32>() >= 100;
        let otherwise = (!all).then(|| self.follow(split.otherwise.as_deref(), at, "split.otherwise", true));
        Verb::Split { parts, otherwise }
    }

    fn request(&mut self, request: &v1::Request, at: &str) -> Verb {
        let kind = ("Integration", Reason::IntegrationNotFound);
        let integration = self.object(kind, &request.integration, &format!("{at}.request.integration"));
        let text = |compiler: &mut Self, source: &str, whose: &str, field: &str| {
            compiler.expression(source, VariableKind::String, whose, &format!("{at}.request.{field}"))
        };
        let path = request.path.as_deref().map(|source| text(self, source, "a path", "path"));
        let headers = request.headers.iter().enumerate().map(|(index, header)| {
            let field = format!("headers[{index}].value");
            (header.name.clone(), text(self, &header.value, "a header", &field))
        });
        let headers = headers.collect();
        let body = request.body.as_deref().map(|source| text(self, source, "a body", "body"));
        let save = request.save.iter().enumerate();
        let save =
            save.filter_map(|(index, saved)| self.saved(saved, &format!("{at}.request.save[{index}]")));
        let save = save.collect();
        let next = self.follow(request.next.as_deref(), at, "request.next", true);
        let failed = self.failure(request.failed.as_deref(), at, ("request", "failed"), true);
        Verb::Request(Box::new(Request {
            integration: IntegrationId(integration),
            method: match request.method {
                v1::Method::Get => Method::Get,
                v1::Method::Post => Method::Post,
                v1::Method::Put => Method::Put,
                v1::Method::Patch => Method::Patch,
                v1::Method::Delete => Method::Delete,
            },
            path,
            headers,
            body,
            timeout_ms: request.timeout_seconds.map(milliseconds),
            save,
            next,
            failed,
        }))
    }

    fn saved(&mut self, saved: &v1::Saved, field: &str) -> Option<(VariableIx, Expression)> {
        let (place, kind) = self.variable(&saved.variable, &format!("{field}.variable"))?;
        let whose = format!("variable `{}`", saved.variable);
        let compiled = expr::compile(&saved.from, &self.scope.with_response());
        self.proved(compiled, kind, &whose, &format!("{field}.from"));
        Some((place, Expression(saved.from.clone())))
    }
}
