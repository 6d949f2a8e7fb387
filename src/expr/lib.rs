//! Flow expressions: CEL, bounded, and typed before they run.
//!
//! One engine for the planner, which proves every expression when a flow is planned, and for calls, which evaluate it.
//! An expression has at most [`model::program::EXPRESSION_MAX`] characters, no comprehension, no regular expression and
//! no map; every name in it is known and every operator has operands of the right kind. What is left cannot loop,
//! and its cost is bounded by its length and that of its inputs.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use expr::{Engine, Inputs, Kind, Scope, compile};
//! use model::program::Value;
//!
//! let scope = Scope::flow([("vip", Kind::Boolean)]);
//! let priority = compile("vip ? 9 : 5", &scope)?;
//! assert_eq!(priority.kind(), Some(Kind::Integer));
//!
//! let vip = Value::Boolean(true);
//! let inputs = Inputs { contact_number: "+12125550100", contact_verstat: "", call_number: "+18005550100",
//!     call_trunk: "platform/carrier", variables: &[("vip", &vip)], response: None };
//! assert_eq!(Engine::new().evaluate(&priority, &inputs)?, Value::Integer(9));
//! # Ok(())
//! # }
//! ```

mod check;
mod reads;
mod response;

use std::{collections::BTreeMap, fmt, sync::Arc};

use cel::{Context, Program, Value as Cel};
use model::program::{EXPRESSION_MAX, Value};

pub use model::program::VariableKind as Kind;
pub use reads::{Input, Reads, Test};
pub use response::{BODY_MAX, Response, Unreadable};

/// Deepest nesting of brackets, and most conditionals, in one expression.
pub const NESTING_MAX: usize = 16;

/// Longest text that an expression may give, in bytes.
pub const TEXT_MAX: usize = 4_096;

/// What an expression may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    variables: BTreeMap<String, Kind>,
    /// Whether `body` and `status` are known.
    response: bool,
}

/// What a service answered, in a scope that has it.
const BODY: &str = "body";

/// The status of that answer.
const STATUS: &str = "status";

/// Names that every flow has, with what they hold.
pub const FIXED: [(&str, &str, Kind, &str); 4] = [
    ("contact", "number", Kind::String, "the caller's number, such as +12125550100; empty if withheld"),
    (
        "contact",
        "verstat",
        Kind::String,
        "TN-Validation-Passed, TN-Validation-Failed or No-TN-Validation; empty where the trunk verifies nothing",
    ),
    ("call", "number", Kind::String, "the number that was dialled"),
    ("call", "trunk", Kind::String, "namespace/name of the trunk that delivered the call"),
];

impl Scope {
    /// The scope of a flow with these variables of its own.
    pub fn flow<'a>(variables: impl IntoIterator<Item = (&'a str, Kind)>) -> Self {
        let own = variables.into_iter().map(|(name, kind)| (name.to_owned(), kind));
        Self { variables: own.collect(), response: false }
    }

    /// The same with `body` and `status`: what a service answered to a request. Of what kind a part of `body` is, shows
    /// only when it is there.
    #[must_use]
    pub fn with_response(&self) -> Self {
        let mut variables = self.variables.clone();
        variables.insert(STATUS.into(), Kind::Integer);
        Self { variables, response: true }
    }

    fn variable(&self, name: &str) -> Option<Kind> {
        self.variables.get(name).copied()
    }

    fn field(object: &str, field: &str) -> Option<Kind> {
        FIXED.iter().find(|entry| entry.0 == object && entry.1 == field).map(|entry| entry.2)
    }

    fn names(&self) -> String {
        let fixed = FIXED.iter().map(|(object, field, ..)| format!("{object}.{field}"));
        let body = self.response.then(|| BODY.to_owned());
        let names: Vec<_> = self.variables.keys().cloned().chain(body).chain(fixed).collect();
        names.join(", ")
    }
}

/// Why an expression is refused. Each is a sentence that says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too long.
    #[error("the expression has {0} characters; it may have at most {EXPRESSION_MAX}")]
    TooLong(usize),
    /// Too deep.
    #[error("the expression nests deeper than {NESTING_MAX}; set a variable to a part of it first")]
    TooDeep,
    /// Not CEL.
    #[error("the expression is not valid CEL at character {at}: {problem}")]
    Syntax {
        /// Counted from 1.
        at: usize,
        /// What the parser says.
        problem: String,
    },
    /// A name nobody declared.
    #[error("`{name}` is not known here; known are {known}")]
    UnknownName {
        /// As written.
        name: String,
        /// What could have been meant.
        known: String,
    },
    /// A construct that flows do not have.
    #[error("{0} may not be used in a flow's expression")]
    NotAllowed(String),
    /// Operands of the wrong kind.
    #[error("{0}")]
    Kind(String),
}

/// Why an evaluation failed. The flow goes to `onError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Overflow, division by zero, text that is no number.
    #[error("the expression could not be evaluated: {0}")]
    Evaluation(String),
    /// Text beyond [`TEXT_MAX`].
    #[error("the expression gave {0} bytes of text; it may give at most {TEXT_MAX}")]
    TooLong(usize),
}

/// An expression, proved and ready. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    program: Arc<Program>,
    kind: Option<Kind>,
}

impl Compiled {
    /// What it gives. None: part of an answer, of whatever kind that is.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// What it reads of a call.
    #[must_use]
    pub fn reads(&self) -> Reads {
        reads::of(self.program.expression())
    }
}

impl Compiled {
    /// Whether it names a variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        check::parts(self.program.expression()).iter().any(|part| check::is_name(part, variable))
    }

    /// Every constant in it, each once: what its outcome may turn on.
    #[must_use]
    pub fn constants(&self) -> Vec<Value> {
        let mut constants: Vec<Value> = Vec::new();
        for part in check::parts(self.program.expression()) {
            if let Some(value) = check::constant(part)
                && !constants.contains(&value)
            {
                constants.push(value);
            }
        }
        constants
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Proves and compiles an expression.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn compile(source: &str, scope: &Scope) -> Result<Compiled, Error> {
    let characters = source.chars().count();
    if characters > EXPRESSION_MAX {
        return Err(Error::TooLong(characters));
    }
    // The parser recurses: what a tenant writes must not be able to exhaust the stack.
    if check::nesting(source) > NESTING_MAX {
        return Err(Error::TooDeep);
    }
    let program = Program::compile(source).map_err(|errors| syntax(&errors))?;
    let kind = check::kind_of(program.expression(), scope)?;
    Ok(Compiled { program: Arc::new(program), kind })
}

fn syntax(errors: &cel::ParseErrors) -> Error {
    let first = errors.errors.first();
    Error::Syntax {
        at: first.map_or(1, |error| usize::try_from(error.pos.1).unwrap_or(0) + 1),
        problem: first.map_or_else(String::new, |error| error.msg.clone()),
    }
}

/// What an evaluation may look at.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `contact.number`.
    pub contact_number: &'a str,
    /// `contact.verstat`.
    pub contact_verstat: &'a str,
    /// `call.number`.
    pub call_number: &'a str,
    /// `call.trunk`.
    pub call_trunk: &'a str,
    /// The flow's own.
    pub variables: &'a [(&'a str, &'a Value)],
    /// `body` and `status`, for an expression of a scope that has them.
    pub response: Option<&'a Response>,
}

/// The functions that expressions may call. Made once, used for every evaluation.
pub struct Engine {
    root: Context<'static>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// The standard functions.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Context::default() }
    }

    /// Evaluates.
    ///
    /// # Errors
    /// What no static check can see: overflow, division by zero, text that is no number, text too long, and whatever an
    /// answer does not have or has of another kind.
    pub fn evaluate(&self, compiled: &Compiled, inputs: &Inputs<'_>) -> Result<Value, Failure> {
        let mut context = self.root.new_inner_scope();
        let contact = [("number", inputs.contact_number), ("verstat", inputs.contact_verstat)];
        context.add_variable_from_value("contact", object(&contact));
        let call = [("number", inputs.call_number), ("trunk", inputs.call_trunk)];
        context.add_variable_from_value("call", object(&call));
        for (name, value) in inputs.variables {
            context.add_variable_from_value(*name, to_cel(value));
        }
        if let Some(response) = inputs.response {
            context.add_variable_from_value(STATUS, Cel::Int(response.status().into()));
            context.add_variable_from_value(BODY, response.body().clone());
        }
        let value = compiled.program.execute(&context);
        from_cel(value.map_err(|error| Failure::Evaluation(error.to_string()))?)
    }
}

fn object(fields: &[(&str, &str)]) -> Cel {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    fields.collect::<std::collections::HashMap<String, String>>().into()
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Boolean(value) => Cel::Bool(*value),
        Value::Integer(value) => Cel::Int(*value),
        Value::String(value) => Cel::String(Arc::new(value.clone())),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the check has ruled all other kinds out")]
fn from_cel(value: Cel) -> Result<Value, Failure> {
    match value {
        Cel::Bool(value) => Ok(Value::Boolean(value)),
        Cel::Int(value) => Ok(Value::Integer(value)),
        Cel::String(text) if text.len() > TEXT_MAX => Err(Failure::TooLong(text.len())),
        Cel::String(text) => Ok(Value::String(Arc::unwrap_or_clone(text))),
        other => Err(Failure::Evaluation(format!("{other:?} is not a value of a flow"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope() -> Scope {
        Scope::flow([("vip", Kind::Boolean), ("visits", Kind::Integer), ("name", Kind::String)])
    }

    fn evaluate(source: &str) -> Result<Value, String> {
        let compiled = compile(source, &scope()).map_err(|error| error.to_string())?;
        let (vip, visits) = (Value::Boolean(true), Value::Integer(3));
        let name = Value::String("Ann".into());
        let inputs = Inputs {
            contact_number: "+12125550100",
            contact_verstat: "TN-Validation-Passed",
            call_number: "+18005550100",
            call_trunk: "platform/carrier",
            variables: &[("vip", &vip), ("visits", &visits), ("name", &name)],
            response: None,
        };
        let value = Engine::new().evaluate(&compiled, &inputs).map_err(|error| error.to_string())?;
        assert_eq!(Some(value.kind()), compiled.kind(), "{source}");
        Ok(value)
    }

    #[test]
    fn expressions_give_what_their_check_says() {
        let text = |text: &str| Value::String(text.into());
        for (source, wanted) in [
            ("vip ? 9 : 5", Value::Integer(9)),
            ("contact.number.startsWith(\"+1212\")", Value::Boolean(true)),
            ("call.number == '+18005550100' && !vip", Value::Boolean(false)),
            ("visits + 1", Value::Integer(4)),
            ("visits % 2 == 1 || visits > 10", Value::Boolean(true)),
            ("'Hello ' + name", text("Hello Ann")),
            ("contact.number in ['+12125550100', '+12125550101']", Value::Boolean(true)),
            ("size(name) >= 3", Value::Boolean(true)),
            ("string(visits) + '.'", text("3.")),
            ("int('12') * 2", Value::Integer(24)),
            ("name.contains('n') && name.endsWith('n')", Value::Boolean(true)),
            ("-visits", Value::Integer(-3)),
            ("contact.verstat == 'TN-Validation-Passed'", Value::Boolean(true)),
            ("call.trunk", text("platform/carrier")),
        ] {
            assert_eq!(evaluate(source), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        for (source, wanted) in [
            ("", "not valid CEL"),
            ("vip &&", "not valid CEL"),
            (
                "vipp",
                "`vipp` is not known here; known are name, vip, visits, contact.number, contact.verstat",
            ),
            ("contact.name", "`contact.name` is not known"),
            ("contact", "`contact` is not known"),
            ("vip + 1", "`+` takes two Integers or two Strings, not Boolean and Integer"),
            ("visits && vip", "`&&` takes two Booleans, not Integer and Boolean"),
            ("vip ? 1 : 'a'", "both sides of `? :` must be of one kind, not Integer and String"),
            ("visits ? 1 : 2", "the condition of `? :` must be Boolean, not Integer"),
            ("name.matches('a.*')", "`matches` may not be used"),
            ("[1, 2].all(x, x > 0)", "a comprehension may not be used"),
            ("{'a': 1}", "a map may not be used"),
            ("1.5", "a fraction may not be used"),
            ("[1, 2]", "a list, but on the right of `in`, may not be used"),
            ("visits in [1, 'a']", "a list must hold values of one kind"),
            ("name.startsWith(1)", "`startsWith` takes a String"),
            ("visits == name", "`==` takes two values of one kind, not Integer and String"),
            ("((((((((((((((((((1))))))))))))))))))", "nests deeper than 16"),
        ] {
            let refused = evaluate(source).expect_err(source);
            assert!(refused.contains(wanted), "{source}: {refused}");
        }
        let long = format!("'{}'", "x".repeat(EXPRESSION_MAX));
        assert!(evaluate(&long).unwrap_err().contains("1026 characters"));
    }

    #[test]
    fn what_an_expression_turns_on_can_be_seen() {
        let compiled = compile("vip && visits > 3 ? name in ['a', 'b'] : name == 'a'", &scope()).unwrap();
        let text = |text: &str| Value::String(text.into());
        assert_eq!(compiled.constants(), [Value::Integer(3), text("a"), text("b")]);
        assert!(compiled.names("vip") && compiled.names("name") && !compiled.names("contact"));
    }

    #[test]
    fn what_only_shows_at_run_time_is_a_failure() {
        for source in ["1 / (visits - 3)", "int(name)", "9223372036854775807 + visits", "visits % 0"] {
            assert!(evaluate(source).unwrap_err().contains("could not be evaluated"), "{source}");
        }
    }

    proptest! {
        #[test]
        fn no_source_panics(source in "[a-z0-9 ()\\[\\]{}?:!&|=<>+*/%.,'\"-]{0,80}") {
            let _ = evaluate(&source);
        }

        #[test]
        fn integers_never_panic(a: i64, b: i64, op in 0_usize..5) {
            let op = ["+", "-", "*", "/", "%"][op];
            let scope = Scope::flow([("a", Kind::Integer), ("b", Kind::Integer)]);
            let compiled = compile(&format!("a {op} b"), &scope).unwrap();
            let (a, b) = (Value::Integer(a), Value::Integer(b));
            let inputs = Inputs { contact_number: "", contact_verstat: "", call_number: "", call_trunk: "", variables: &[("a", &a), ("b", &b)], response: None };
            let _ = Engine::new().evaluate(&compiled, &inputs);
        }
    }
}
