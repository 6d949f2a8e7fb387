//! What a service answered, as expressions see it.

use std::{collections::HashMap, sync::Arc};

use cel::Value as Cel;
use serde_json::Value as Json;

/// Longest body that is read, in bytes.
pub const BODY_MAX: usize = 64 * 1_024;

/// An answer: `status`, and `body` as JSON. An answer without content has an empty object for a body.
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    body: Cel,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Longer than [`BODY_MAX`].
    #[error("the answer has {0} bytes; it may have at most {BODY_MAX}")]
    TooLong(usize),
    /// Not JSON, or nested deeper than 128.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
}

impl Response {
    /// Reads an answer.
    ///
    /// # Errors
    /// Too long, or not JSON (RFC 8259).
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, Unreadable> {
        if body.len() > BODY_MAX {
            return Err(Unreadable::TooLong(body.len()));
        }
        let json = if body.trim_ascii().is_empty() {
            Json::Object(serde_json::Map::new())
        } else {
            serde_json::from_slice(body).map_err(|error| Unreadable::NotJson(error.to_string()))?
        };
        Ok(Self { status, body: to_cel(json) })
    }

    /// An answer of which nothing but its status is read.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        Self { status, body: to_cel(Json::Object(serde_json::Map::new())) }
    }

    /// Status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    pub(crate) const fn body(&self) -> &Cel {
        &self.body
    }
}

fn to_cel(json: Json) -> Cel {
    match json {
        Json::Null => Cel::Null,
        Json::Bool(value) => Cel::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => number.as_f64().map_or(Cel::Null, Cel::Float),
        },
        Json::String(text) => Cel::String(Arc::new(text)),
        Json::Array(items) => Cel::List(Arc::new(items.into_iter().map(to_cel).collect())),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, to_cel(value)));
            fields.collect::<HashMap<String, Cel>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use model::program::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::{Engine, Inputs, Kind, Scope, compile};

    const BODY: &str = r#"{"vip": true, "tier": 3, "name": "Ann", "share": 0.5, "none": null,
        "tags": ["gold", "fax"], "account": {"manager": "Bo"}}"#;

    fn evaluate(source: &str, body: &[u8]) -> Result<Value, String> {
        let scope = Scope::flow([("visits", Kind::Integer)]).with_response();
        let compiled = compile(source, &scope).map_err(|error| error.to_string())?;
        let response = Response::parse(200, body).map_err(|error| error.to_string())?;
        let visits = Value::Integer(3);
        let inputs = Inputs {
            contact_number: "+12125550100",
            contact_verstat: "",
            call_number: "",
            call_trunk: "",
            variables: &[("visits", &visits)],
            response: Some(&response),
        };
        Engine::new().evaluate(&compiled, &inputs).map_err(|error| error.to_string())
    }

    #[test]
    fn what_an_answer_holds_can_be_had() {
        let text = |text: &str| Value::String(text.into());
        for (source, wanted) in [
            ("body.vip", Value::Boolean(true)),
            ("body.tier + visits", Value::Integer(6)),
            ("body.account.manager", text("Bo")),
            ("body['account']['manager']", text("Bo")),
            ("body.tags[0]", text("gold")),
            ("'gold' in body.tags", Value::Boolean(true)),
            ("has(body.account.deputy) ? body.account.deputy : 'nobody'", text("nobody")),
            ("size(body.tags)", Value::Integer(2)),
            ("status == 200 && body.name.startsWith('A')", Value::Boolean(true)),
            ("string(body.tier)", text("3")),
            ("body.none == 1", Value::Boolean(false)),
        ] {
            assert_eq!(evaluate(source, BODY.as_bytes()), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn what_it_does_not_hold_is_a_failure_or_was_refused_before() {
        for (source, wanted) in [
            ("body.fax", "could not be evaluated"),
            ("body.account.fax.deep", "could not be evaluated"),
            ("1.5 * body.tier", "a fraction may not be used"),
            ("body.share", "is not a value of a flow"),
            ("body.none", "is not a value of a flow"),
            ("body.account", "is not a value of a flow"),
            ("body.name - 1", "could not be evaluated"),
            ("body && visits", "`&&` takes two Booleans, not part of an answer and Integer"),
            ("visits.field", "`.field` may not be used"),
            ("bodies.field", "`bodies.field` is not known"),
            ("has(visits.field)", "`has` may not be used"),
            ("body.tags.exists(t, t == 'gold')", "a comprehension may not be used"),
        ] {
            let refused = evaluate(source, BODY.as_bytes()).expect_err(source);
            assert!(refused.contains(wanted), "{source}: {refused}");
        }
        for scope in [Scope::flow([]), Scope::default()] {
            assert!(compile("body.vip", &scope).unwrap_err().to_string().contains("`body"));
            assert!(compile("status", &scope).unwrap_err().to_string().contains("`status`"));
        }
    }

    #[test]
    fn an_answer_is_bounded_and_may_be_empty() {
        assert!(evaluate("has(body.vip)", b" ").is_ok_and(|found| found == Value::Boolean(false)));
        assert!(evaluate("status", &vec![b' '; BODY_MAX + 1]).unwrap_err().contains("at most 65536"));
        assert!(evaluate("status", b"<html>").unwrap_err().contains("not JSON"));
        let deep = "[".repeat(1_000);
        assert!(evaluate("status", deep.as_bytes()).unwrap_err().contains("not JSON"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in "[a-z0-9 \\[\\]{}:,.\"-]{0,80}", source in "(body|status)[a-z0-9.+<=\\[\\]']{0,20}") {
            let _ = evaluate(&source, body.as_bytes());
        }
    }
}
