//! What a service may answer, as far as a flow tells answers apart.

use call::world::Flow;
use model::program::{Request, Value, Variable, VariableKind};

/// Most values of one variable that are gone through.
const VALUES_MAX: usize = 16;

/// Most combinations of values of one answer that are gone through.
const COMBINATIONS_MAX: usize = 64;

/// Values of all variables that a request saves.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// In the order of the request.
    pub all: Vec<Value>,
    /// Those that the flow goes by, with their names.
    pub told: Vec<String>,
}

/// Every combination of values that the flow may tell apart, and how many were left out.
pub(super) fn values(flow: &Flow, request: &Request) -> (Vec<Values>, usize) {
    let mut combinations = vec![Values::default()];
    let mut cut = 0;
    for (variable, _) in &request.save {
        let Some(variable) = flow.program.variables.get(usize::from(variable.0)) else { continue };
        let (candidates, left_out) = candidates(flow, variable);
        cut += left_out;
        let with = |values: &Values| {
            let values = values.clone();
            let name = (candidates.len() > 1).then_some(&variable.name);
            let candidates = candidates.clone();
            candidates.into_iter().map(move |candidate| {
                let Values { mut all, mut told } = values.clone();
                told.extend(name.map(|name| format!("{name} = {}", candidate.told)));
                all.push(candidate.value);
                Values { all, told }
            })
        };
        combinations = combinations.iter().flat_map(with).collect();
        cut += combinations.len().saturating_sub(COMBINATIONS_MAX);
        combinations.truncate(COMBINATIONS_MAX);
    }
    (combinations, cut)
}

/// A value, and how it is told.
#[derive(Debug, Clone)]
struct Candidate {
    value: Value,
    told: String,
}

/// The constants that stand beside a variable in any expression, what lies next to them, and one that is none of them;
/// one value if no expression names it.
fn candidates(flow: &Flow, variable: &Variable) -> (Vec<Candidate>, usize) {
    let plain = |value: Value| Candidate { told: value.to_string(), value };
    let mut naming = flow.expressions().filter(|expression| expression.names(&variable.name)).peekable();
    if naming.peek().is_none() {
        return (vec![plain(variable.initial.clone())], 0);
    }
    let mut constants: Vec<Value> =
        naming.flat_map(expr::Compiled::constants).filter(|value| value.kind() == variable.kind).collect();
    constants.dedup();
    let mut candidates: Vec<Candidate> = match variable.kind {
        VariableKind::Boolean => [true, false].map(|value| plain(Value::Boolean(value))).into(),
        VariableKind::Integer => {
            let near = |value: &Value| {
                let Value::Integer(value) = value else { return Vec::new() };
                vec![value.saturating_sub(1), *value, value.saturating_add(1)]
            };
            let mut figures: Vec<i64> = constants.iter().flat_map(near).chain([0]).collect();
            figures.sort_unstable();
            figures.dedup();
            figures.into_iter().map(|figure| plain(Value::Integer(figure))).collect()
        }
        VariableKind::String => {
            let other = (0..).map(|count| format!("other{count}"));
            let mut other = other.map(Value::String).filter(|value| !constants.contains(value));
            let other = other.next().map(|value| Candidate { value, told: "another".into() });
            let quoted = |value: Value| Candidate { told: format!("“{value}”"), value };
            let mut texts: Vec<Candidate> = Vec::new();
            for value in constants {
                if !texts.iter().any(|known| known.value == value) {
                    texts.push(quoted(value));
                }
            }
            texts.into_iter().chain(other).collect()
        }
    };
    let cut = candidates.len().saturating_sub(VALUES_MAX);
    candidates.truncate(VALUES_MAX);
    (candidates, cut)
}
