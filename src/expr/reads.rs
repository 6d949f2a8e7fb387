//! What an expression reads of a call, and which constants it holds that against: for whoever must find calls that it
//! tells apart.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

/// A text that an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// `contact.number`.
    ContactNumber,
    /// `call.number`.
    CallNumber,
    /// `call.trunk`.
    CallTrunk,
    /// Anything else: a variable, or what is made of several.
    Other,
}

/// What a text is held against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// It is this constant.
    Equals(String),
    /// It begins with this constant.
    StartsWith(String),
    /// It ends with this constant.
    EndsWith(String),
    /// It holds this constant.
    Contains(String),
}

impl Test {
    /// Whether a text passes.
    #[must_use]
    pub fn passes(&self, text: &str) -> bool {
        match self {
            Self::Equals(constant) => text == constant,
            Self::StartsWith(constant) => text.starts_with(constant.as_str()),
            Self::EndsWith(constant) => text.ends_with(constant.as_str()),
            Self::Contains(constant) => text.contains(constant.as_str()),
        }
    }
}

/// What an expression reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Every comparison of a text with a constant.
    pub tests: BTreeSet<(Input, Test)>,
    /// Inputs that are given on as they are, into a variable; what that is held against counts for them too.
    pub copied: BTreeSet<Input>,
    /// Inputs of which something else is made or asked: their length, a part of another text, a number. Which calls
    /// differ by that no constant tells.
    pub otherwise: BTreeSet<Input>,
}

impl Reads {
    /// Whether the input is read at all.
    #[must_use]
    pub fn reads(&self, input: Input) -> bool {
        self.tests.iter().any(|(of, _)| *of == input)
            || self.copied.contains(&input)
            || self.otherwise.contains(&input)
    }

    /// Joins what another expression reads.
    pub fn extend(&mut self, other: Self) {
        self.tests.extend(other.tests);
        self.copied.extend(other.copied);
        self.otherwise.extend(other.otherwise);
    }
}

/// No deeper than [`crate::NESTING_MAX`] lets an expression be written.
pub fn of(expression: &IdedExpr) -> Reads {
    let mut reads = Reads::default();
    whole(expression, &mut reads);
    reads
}

/// An expression whose value is given on as it is.
fn whole(expression: &IdedExpr, reads: &mut Reads) {
    match input(expression) {
        Some(input) => drop(reads.copied.insert(input)),
        None => part(expression, reads),
    }
}

fn part(expression: &IdedExpr, reads: &mut Reads) {
    if let Some(input) = input(expression) {
        reads.otherwise.insert(input);
        return;
    }
    let Expr::Call(call) = &expression.expr else { return };
    if tested(call, reads) {
        return;
    }
    let conditional = call.func_name == operators::CONDITIONAL;
    for (place, argument) in call.args.iter().enumerate() {
        if conditional && place > 0 { whole(argument, reads) } else { part(argument, reads) }
    }
    if let Some(target) = &call.target {
        part(target, reads);
    }
}

/// Whether a call holds a text against constants alone.
fn tested(call: &CallExpr, reads: &mut Reads) -> bool {
    let (subject, tests) = match (&call.target, call.args.as_slice()) {
        (None, [left, right])
            if matches!(call.func_name.as_str(), operators::EQUALS | operators::NOT_EQUALS) =>
        {
            match (text(left), text(right)) {
                (None, Some(constant)) => (left, vec![Test::Equals(constant)]),
                (Some(constant), None) => (right, vec![Test::Equals(constant)]),
                _ => return false,
            }
        }
        (None, [needle, IdedExpr { expr: Expr::List(list), .. }]) if call.func_name == operators::IN => {
            let constants: Option<Vec<_>> = list.elements.iter().map(text).collect();
            let Some(constants) = constants else {
                list.elements.iter().for_each(|element| part(element, reads));
                return false;
            };
            (needle, constants.into_iter().map(Test::Equals).collect())
        }
        (Some(target), [argument]) => {
            let Some(constant) = text(argument) else { return false };
            let test = match call.func_name.as_str() {
                "startsWith" => Test::StartsWith(constant),
                "endsWith" => Test::EndsWith(constant),
                "contains" => Test::Contains(constant),
                _ => return false,
            };
            (&**target, vec![test])
        }
        _ => return false,
    };
    let of = input(subject).unwrap_or_else(|| {
        part(subject, reads);
        Input::Other
    });
    reads.tests.extend(tests.into_iter().map(|test| (of, test)));
    true
}

fn input(expression: &IdedExpr) -> Option<Input> {
    let Expr::Select(select) = &expression.expr else { return None };
    let Expr::Ident(object) = &select.operand.expr else { return None };
    match (object.as_str(), select.field.as_str()) {
        ("contact", "number") => Some(Input::ContactNumber),
        ("call", "number") => Some(Input::CallNumber),
        ("call", "trunk") => Some(Input::CallTrunk),
        _ => None,
    }
}

fn text(expression: &IdedExpr) -> Option<String> {
    let Expr::Literal(LiteralValue::String(text)) = &expression.expr else { return None };
    Some(text.inner().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Scope, compile};

    /// Tests, copied inputs and those that are read otherwise, in words.
    fn told(source: &str) -> String {
        let scope = Scope::flow([("area", Kind::String), ("visits", Kind::Integer)]);
        let Reads { tests, copied, otherwise } = compile(source, &scope).unwrap().reads();
        format!("{tests:?} {copied:?} {otherwise:?}")
    }

    #[test]
    fn constants_are_found_with_what_is_held_against_them() {
        for (source, wanted) in [
            ("visits > 2", "{} {} {}"),
            ("contact.number", "{} {ContactNumber} {}"),
            ("visits > 2 ? contact.number : area", "{} {ContactNumber} {}"),
            (r#"contact.number.startsWith("+44")"#, r#"{(ContactNumber, StartsWith("+44"))} {} {}"#),
            (r#""" == contact.number"#, r#"{(ContactNumber, Equals(""))} {} {}"#),
            (
                r#"!(call.number in ["+1", "+2"]) && area.endsWith("9")"#,
                r#"{(CallNumber, Equals("+1")), (CallNumber, Equals("+2")), (Other, EndsWith("9"))} {} {}"#,
            ),
            ("size(contact.number) > 5", "{} {} {ContactNumber}"),
            ("area.contains(contact.number)", "{} {} {ContactNumber}"),
            ("call.trunk == contact.number", "{} {} {ContactNumber, CallTrunk}"),
            (r#"area in ["x", call.number]"#, "{} {} {CallNumber}"),
            (
                r#"("0" + contact.number).startsWith("04")"#,
                r#"{(Other, StartsWith("04"))} {} {ContactNumber}"#,
            ),
        ] {
            assert_eq!(told(source), wanted, "{source}");
        }
    }

    #[test]
    fn tests_judge_as_expressions_do() {
        for (test, text, wanted) in [
            (Test::Equals("+44".into()), "+44", true),
            (Test::StartsWith("+44".into()), "+4420", true),
            (Test::StartsWith("+44".into()), "", false),
            (Test::EndsWith("20".into()), "+4420", true),
            (Test::Contains("9".into()), "+4420", false),
        ] {
            assert_eq!(test.passes(text), wanted, "{test:?} {text}");
        }
    }
}
