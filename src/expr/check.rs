//! The static check: which kind an expression gives, or why it may not be used.

use cel::common::ast::{CallExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators};

use crate::{Error, Kind, Scope};

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
pub fn kind_of(expression: &IdedExpr, scope: &Scope) -> Result<Kind, Error> {
    match &expression.expr {
        Expr::Literal(literal) => literal_kind(literal),
        Expr::Ident(name) => scope.variable(name).ok_or_else(|| unknown(name.clone(), scope)),
        Expr::Select(select) => {
            let Expr::Ident(object) = &select.operand.expr else {
                return Err(Error::NotAllowed(format!("`.{}`", select.field)));
            };
            if select.test {
                return Err(Error::NotAllowed("`has`".into()));
            }
            Scope::field(object, &select.field)
                .ok_or_else(|| unknown(format!("{object}.{}", select.field), scope))
        }
        Expr::Call(call) => call_kind(call, scope),
        Expr::List(_) => Err(Error::NotAllowed("a list, but on the right of `in`,".into())),
        Expr::Map(_) => Err(Error::NotAllowed("a map".into())),
        Expr::Struct(_) => Err(Error::NotAllowed("a message".into())),
        Expr::Comprehension(_) => Err(Error::NotAllowed("a comprehension".into())),
        Expr::Unspecified => Err(Error::Syntax { at: 1, problem: "it is empty".into() }),
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

fn call_kind(call: &CallExpr, scope: &Scope) -> Result<Kind, Error> {
    match (&call.target, call.args.as_slice()) {
        (None, [needle, IdedExpr { expr: Expr::List(list), .. }]) if call.func_name == operators::IN => {
            in_kind(needle, list, scope)
        }
        (None, [condition, yes, no]) if call.func_name == operators::CONDITIONAL => {
            conditional_kind([condition, yes, no], scope)
        }
        (None, [left, right]) => binary_kind(&call.func_name, kind_of(left, scope)?, kind_of(right, scope)?),
        (None, [operand]) => unary_kind(&call.func_name, kind_of(operand, scope)?),
        (Some(target), [argument]) => {
            let kinds = (kind_of(target, scope)?, kind_of(argument, scope)?);
            method_kind(&call.func_name, kinds)
        }
        (Some(target), []) if call.func_name == "size" => unary_kind("size", kind_of(target, scope)?),
        _ => Err(Error::NotAllowed(format!("`{}`", call.func_name))),
    }
}

fn in_kind(needle: &IdedExpr, list: &ListExpr, scope: &Scope) -> Result<Kind, Error> {
    let needle = kind_of(needle, scope)?;
    for element in &list.elements {
        let kind = kind_of(element, scope)?;
        if kind != needle {
            let message = format!("a list must hold values of one kind, here {needle:?}, not {kind:?}");
            return Err(Error::Kind(message));
        }
    }
    Ok(Kind::Boolean)
}

fn conditional_kind([condition, yes, no]: [&IdedExpr; 3], scope: &Scope) -> Result<Kind, Error> {
    let condition = kind_of(condition, scope)?;
    if condition != Kind::Boolean {
        let message = format!("the condition of `? :` must be Boolean, not {condition:?}");
        return Err(Error::Kind(message));
    }
    let (yes, no) = (kind_of(yes, scope)?, kind_of(no, scope)?);
    if yes != no {
        let message = format!("both sides of `? :` must be of one kind, not {yes:?} and {no:?}");
        return Err(Error::Kind(message));
    }
    Ok(yes)
}

fn binary_kind(operator: &str, left: Kind, right: Kind) -> Result<Kind, Error> {
    use Kind::{Boolean, Integer, String};
    let symbol = operator.trim_matches('_');
    let wants = |what: &str| Err(Error::Kind(format!("`{symbol}` takes {what}, not {left:?} and {right:?}")));
    match operator {
        operators::LOGICAL_AND | operators::LOGICAL_OR => match (left, right) {
            (Boolean, Boolean) => Ok(Boolean),
            _ => wants("two Booleans"),
        },
        operators::EQUALS | operators::NOT_EQUALS => match left == right {
            true => Ok(Boolean),
            false => wants("two values of one kind"),
        },
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            match (left, right) {
                (Integer, Integer) | (String, String) => Ok(Boolean),
                _ => wants("two Integers or two Strings"),
            }
        }
        operators::ADD => match (left, right) {
            (Integer, Integer) | (String, String) => Ok(left),
            _ => wants("two Integers or two Strings"),
        },
        operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO => {
            match (left, right) {
                (Integer, Integer) => Ok(Integer),
                _ => wants("two Integers"),
            }
        }
        _ => Err(Error::NotAllowed(format!("`{symbol}`"))),
    }
}

fn unary_kind(function: &str, operand: Kind) -> Result<Kind, Error> {
    let symbol = function.trim_matches('_');
    let wants = |what: &str| Err(Error::Kind(format!("`{symbol}` takes {what}, not {operand:?}")));
    match function {
        operators::LOGICAL_NOT => match operand {
            Kind::Boolean => Ok(Kind::Boolean),
            Kind::Integer | Kind::String => wants("a Boolean"),
        },
        operators::NEGATE => match operand {
            Kind::Integer => Ok(Kind::Integer),
            Kind::Boolean | Kind::String => wants("an Integer"),
        },
        "size" => match operand {
            Kind::String => Ok(Kind::Integer),
            Kind::Boolean | Kind::Integer => wants("a String"),
        },
        "int" => match operand {
            Kind::String | Kind::Integer => Ok(Kind::Integer),
            Kind::Boolean => wants("a String"),
        },
        "string" => match operand {
            Kind::String | Kind::Integer => Ok(Kind::String),
            Kind::Boolean => wants("an Integer"),
        },
        _ => Err(Error::NotAllowed(format!("`{symbol}`"))),
    }
}

fn method_kind(method: &str, kinds: (Kind, Kind)) -> Result<Kind, Error> {
    match (method, kinds) {
        ("startsWith" | "endsWith" | "contains", (Kind::String, Kind::String)) => Ok(Kind::Boolean),
        ("startsWith" | "endsWith" | "contains", (on, with)) => {
            let message = format!("`{method}` takes a String and is called on one, not {on:?} and {with:?}");
            Err(Error::Kind(message))
        }
        _ => Err(Error::NotAllowed(format!("`{method}`"))),
    }
}
