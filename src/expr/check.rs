//! The static check: which kind an expression gives, or why it may not be used.

use cel::common::ast::{CallExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators};

use model::program::Value;

use crate::{BODY, Error, Kind, Scope};

/// What is known of a part of an expression. None: what a service answers has whatever kind it has.
pub type Known = Option<Kind>;

/// How deep brackets nest, or how many conditionals and signs stand in a row, whichever is more. Strings count as if
/// they were code: that can only refuse more.
pub fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let conditionals = source.bytes().filter(|byte| *byte == b'?').count();
    deepest.max(conditionals)
}

/// The kind of a whole expression.
pub fn kind_of(expression: &IdedExpr, scope: &Scope) -> Result<Known, Error> {
    match &expression.expr {
        Expr::Literal(literal) => literal_kind(literal).map(Some),
        Expr::Ident(name) if name == BODY && scope.response => Ok(None),
        Expr::Ident(name) => scope.variable(name).map(Some).ok_or_else(|| unknown(name.clone(), scope)),
        Expr::Select(select) => select_kind(select, scope),
        Expr::Call(call) => call_kind(call, scope),
        Expr::List(_) => Err(Error::NotAllowed("a list, but on the right of `in`,".into())),
        Expr::Map(_) => Err(Error::NotAllowed("a map".into())),
        Expr::Struct(_) => Err(Error::NotAllowed("a message".into())),
        Expr::Comprehension(_) => Err(Error::NotAllowed("a comprehension".into())),
        Expr::Unspecified => Err(Error::Syntax { at: 1, problem: "it is empty".into() }),
    }
}

/// A field of `contact` or `call`, or of something within an answer; only there it may be absent.
fn select_kind(select: &SelectExpr, scope: &Scope) -> Result<Known, Error> {
    if let Expr::Ident(object) = &select.operand.expr
        && let Some(kind) = Scope::field(object, &select.field)
    {
        return if select.test { Err(Error::NotAllowed("`has`".into())) } else { Ok(Some(kind)) };
    }
    match (&select.operand.expr, select.test) {
        (Expr::Ident(object), false) if object != BODY && scope.variable(object).is_none() => {
            Err(unknown(format!("{object}.{}", select.field), scope))
        }
        (_, test) => match kind_of(&select.operand, scope) {
            Ok(None) => Ok(test.then_some(Kind::Boolean)),
            Ok(Some(_)) if test => Err(Error::NotAllowed("`has`".into())),
            Ok(Some(_)) => Err(Error::NotAllowed(format!("`.{}`", select.field))),
            Err(error) => Err(error),
        },
    }
}

fn unknown(name: String, scope: &Scope) -> Error {
    Error::UnknownName { name, known: scope.names() }
}

fn literal_kind(literal: &LiteralValue) -> Result<Kind, Error> {
    match literal {
        LiteralValue::Boolean(_) => Ok(Kind::Boolean),
        LiteralValue::Int(_) => Ok(Kind::Integer),
        LiteralValue::String(_) => Ok(Kind::String),
        LiteralValue::Double(_) => Err(Error::NotAllowed("a fraction".into())),
        LiteralValue::UInt(_) => Err(Error::NotAllowed("an unsigned integer".into())),
        LiteralValue::Bytes(_) => Err(Error::NotAllowed("a byte string".into())),
        LiteralValue::Null => Err(Error::NotAllowed("null".into())),
    }
}

fn call_kind(call: &CallExpr, scope: &Scope) -> Result<Known, Error> {
    match (&call.target, call.args.as_slice()) {
        (None, [needle, IdedExpr { expr: Expr::List(list), .. }]) if call.func_name == operators::IN => {
            in_kind(needle, list, scope).map(Some)
        }
        (None, [condition, yes, no]) if call.func_name == operators::CONDITIONAL => {
            conditional_kind([condition, yes, no], scope)
        }
        (None, [left, right]) => binary_kind(&call.func_name, kind_of(left, scope)?, kind_of(right, scope)?),
        (None, [operand]) => unary_kind(&call.func_name, kind_of(operand, scope)?).map(Some),
        (Some(target), [argument]) => {
            let kinds = (kind_of(target, scope)?, kind_of(argument, scope)?);
            method_kind(&call.func_name, kinds).map(Some)
        }
        (Some(target), []) if call.func_name == "size" => {
            unary_kind("size", kind_of(target, scope)?).map(Some)
        }
        _ => Err(Error::NotAllowed(format!("`{}`", call.func_name))),
    }
}

fn in_kind(needle: &IdedExpr, list: &ListExpr, scope: &Scope) -> Result<Kind, Error> {
    let needle = kind_of(needle, scope)?;
    for element in &list.elements {
        let kind = kind_of(element, scope)?;
        if let (Some(kind), Some(needle)) = (kind, needle)
            && kind != needle
        {
            let message = format!("a list must hold values of one kind, here {needle:?}, not {kind:?}");
            return Err(Error::Kind(message));
        }
    }
    Ok(Kind::Boolean)
}

fn conditional_kind([condition, yes, no]: [&IdedExpr; 3], scope: &Scope) -> Result<Known, Error> {
    let condition = kind_of(condition, scope)?;
    if let Some(kind) = condition.filter(|kind| *kind != Kind::Boolean) {
        let message = format!("the condition of `? :` must be Boolean, not {kind:?}");
        return Err(Error::Kind(message));
    }
    let (yes, no) = (kind_of(yes, scope)?, kind_of(no, scope)?);
    if let (Some(yes), Some(no)) = (yes, no)
        && yes != no
    {
        let message = format!("both sides of `? :` must be of one kind, not {yes:?} and {no:?}");
        return Err(Error::Kind(message));
    }
    Ok(yes.and(no))
}

fn binary_kind(operator: &str, left: Known, right: Known) -> Result<Known, Error> {
    use Kind::{Boolean, Integer, String};
    let symbol = operator.trim_matches('_');
    let both = [left, right];
    let wants = |what: &str| {
        let [left, right] =
            both.map(|known| known.map_or_else(|| "part of an answer".into(), |kind| format!("{kind:?}")));
        Err(Error::Kind(format!("`{symbol}` takes {what}, not {left} and {right}")))
    };
    // What an answer holds may be of any kind: only what is known can be wrong.
    let all = |kind: Kind| both.into_iter().flatten().all(|known| known == kind);
    match operator {
        operators::LOGICAL_AND | operators::LOGICAL_OR if all(Boolean) => Ok(Some(Boolean)),
        operators::LOGICAL_AND | operators::LOGICAL_OR => wants("two Booleans"),
        operators::EQUALS | operators::NOT_EQUALS if left.is_none() || right.is_none() || left == right => {
            Ok(Some(Boolean))
        }
        operators::EQUALS | operators::NOT_EQUALS => wants("two values of one kind"),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS
            if all(Integer) || all(String) =>
        {
            Ok(Some(Boolean))
        }
        operators::ADD if all(Integer) || all(String) => Ok(left.and(right)),
        operators::ADD
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => wants("two Integers or two Strings"),
        operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO => {
            if all(Integer) { Ok(Some(Integer)) } else { wants("two Integers") }
        }
        operators::IN if right.is_none() => Ok(Some(Boolean)),
        operators::INDEX if left.is_none() && right != Some(Boolean) => Ok(None),
        _ => Err(Error::NotAllowed(format!("`{symbol}`"))),
    }
}

fn unary_kind(function: &str, operand: Known) -> Result<Kind, Error> {
    use Kind::{Boolean, Integer, String};
    let symbol = function.trim_matches('_');
    let (takes, what, gives): (&[Kind], _, _) = match function {
        operators::LOGICAL_NOT => (&[Boolean], "a Boolean", Boolean),
        operators::NEGATE => (&[Integer], "an Integer", Integer),
        "size" => (&[String], "a String", Integer),
        "int" => (&[String, Integer], "a String", Integer),
        "string" => (&[String, Integer], "an Integer", String),
        _ => return Err(Error::NotAllowed(format!("`{symbol}`"))),
    };
    match operand {
        Some(kind) if !takes.contains(&kind) => {
            Err(Error::Kind(format!("`{symbol}` takes {what}, not {kind:?}")))
        }
        Some(_) | None => Ok(gives),
    }
}

fn method_kind(method: &str, kinds: (Known, Known)) -> Result<Kind, Error> {
    let text = |known: Known| known.is_none_or(|kind| kind == Kind::String);
    match (method, kinds) {
        ("startsWith" | "endsWith" | "contains", (on, with)) if text(on) && text(with) => Ok(Kind::Boolean),
        ("startsWith" | "endsWith" | "contains", (Some(on), Some(with))) => {
            let message = format!("`{method}` takes a String and is called on one, not {on:?} and {with:?}");
            Err(Error::Kind(message))
        }
        ("startsWith" | "endsWith" | "contains", _) => {
            Err(Error::Kind(format!("`{method}` takes a String and is called on one")))
        }
        _ => Err(Error::NotAllowed(format!("`{method}`"))),
    }
}

/// Every part of an expression, from the left to the right, itself included.
#[expect(clippy::wildcard_enum_match_arm, reason = "the check has ruled all other constructs out")]
pub fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    let mut parts = Vec::new();
    let mut waiting = vec![expression];
    while let Some(part) = waiting.pop() {
        parts.push(part);
        match &part.expr {
            Expr::Select(select) => waiting.push(&select.operand),
            Expr::Call(call) => waiting.extend(call.target.as_deref().into_iter().chain(&call.args).rev()),
            Expr::List(list) => waiting.extend(list.elements.iter().rev()),
            _ => {}
        }
    }
    parts
}

/// Whether a part is that name.
pub fn is_name(part: &IdedExpr, name: &str) -> bool {
    matches!(&part.expr, Expr::Ident(known) if known == name)
}

/// The value of a part that is a constant of a flow's kinds.
#[expect(clippy::wildcard_enum_match_arm, reason = "the check has ruled all other literals out")]
pub fn constant(part: &IdedExpr) -> Option<Value> {
    let Expr::Literal(literal) = &part.expr else { return None };
    match literal {
        LiteralValue::Boolean(value) => Some(Value::Boolean(*value.inner())),
        LiteralValue::Int(value) => Some(Value::Integer(*value.inner())),
        LiteralValue::String(value) => Some(Value::String(value.inner().to_owned())),
        _ => None,
    }
}
