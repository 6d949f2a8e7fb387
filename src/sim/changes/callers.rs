//! Classes of callers: a number for each way in which a flow's expressions can tell callers apart.

use std::collections::{BTreeMap, BTreeSet};

use call::world::Flow;
use expr::{Input, Reads, Test};
use model::program::Verb;

/// Most classes of callers that are looked at.
pub const CALLERS_MAX: usize = 32;

/// Most digits of a number (ITU-T E.164 §6).
const DIGITS_MAX: usize = 15;

/// Digits that a number is filled up to.
const DIGITS: usize = 11;

/// Numbers of which the first that no expression names stands for all other callers.
const OTHERS: [&str; 4] = ["+15555550123", "+99955500123", "+88855500123", "+21055500123"];

/// Numbers of several lengths, for expressions that ask of a number what no constant tells.
const SAMPLES: [&str; 4] = ["+99955501", "+999555012345", "+9995550123456", "+999555012345678"];

/// Callers whom the expressions do not tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// One of them; empty if withheld.
    pub number: String,
    /// All of them, for people.
    pub label: String,
}

/// The classes that two flows tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callers {
    /// At least one; the last one is all others.
    pub classes: Vec<Caller>,
    /// How many were left out, because [`CALLERS_MAX`] is reached.
    pub cut: usize,
    /// Whether an expression asks of the number what no constant tells, so that its class is only sampled.
    pub sampled: bool,
}

/// What the expressions read by which a flow and those that it calls decide. What is written to services and people differs
/// by caller too, but alike on both sides.
#[must_use]
pub fn reads(flow: &Flow) -> Reads {
    let mut reads = Reads::default();
    for flow in super::closure(flow) {
        let decides = |verb: &Verb| matches!(verb, Verb::Branch { .. } | Verb::Set { .. } | Verb::Queue(_));
        let verbs = flow.program.steps.iter().map(|step| &step.verb).filter(|verb| decides(verb));
        let expressions = verbs.flat_map(Verb::expressions).filter_map(|source| flow.expression(source));
        expressions.for_each(|expression| reads.extend(expression.reads()));
    }
    reads
}

/// The classes of callers that these expressions tell apart.
#[must_use]
pub fn classes(reads: &Reads) -> Callers {
    let tests = tests(reads, Input::ContactNumber);
    let verdict = |number: &str| -> Vec<bool> { tests.iter().map(|test| test.passes(number)).collect() };
    let passes = |number: &str| verdict(number).into_iter().filter(|passed| *passed).count();
    let mut known = BTreeSet::new();
    let others = OTHERS.iter().min_by_key(|number| passes(number)).copied().unwrap_or_default();
    let mut classes = BTreeMap::new();
    known.insert(verdict(others));
    if reads.reads(Input::ContactNumber) && known.insert(verdict("")) {
        classes.insert(String::new(), Caller { number: String::new(), label: "withheld callers".into() });
    }
    for test in &tests {
        let Some(caller) = caller(test, &passes) else { continue };
        if known.insert(verdict(&caller.number)) {
            classes.insert(caller.number.clone(), caller);
        }
    }
    let otherwise = reads.otherwise.contains(&Input::ContactNumber);
    for number in SAMPLES.iter().filter(|_| otherwise) {
        let label = format!("callers such as {number}");
        classes.insert((*number).into(), Caller { number: (*number).into(), label });
    }
    let cut = (classes.len() + 1).saturating_sub(CALLERS_MAX);
    let mut classes: Vec<Caller> = classes.into_values().take(CALLERS_MAX - 1).collect();
    let label = if classes.is_empty() { "all callers" } else { "other callers" };
    classes.push(Caller { number: others.into(), label: label.into() });
    // Constants at both ends of a number cross: their classes are not all made.
    let crossing = tests.iter().any(|test| matches!(test, Test::EndsWith(_) | Test::Contains(_)));
    let sampled = otherwise || (crossing && tests.len() > 1);
    Callers { classes, cut, sampled }
}

/// What an input is held against, be it as a variable's value.
#[must_use]
pub fn tests(reads: &Reads, input: Input) -> BTreeSet<&Test> {
    let copied = reads.copied.contains(&input);
    let applies = |of: Input| of == input || (of == Input::Other && copied);
    reads.tests.iter().filter(|(of, _)| applies(*of)).map(|(_, test)| test).collect()
}

/// The caller who passes this test, and as few others as can be.
fn caller(test: &Test, passes: &dyn Fn(&str) -> usize) -> Option<Caller> {
    let (numbers, label) = match test {
        Test::Equals(number) => (vec![number.clone()], format!("caller {number}")),
        Test::StartsWith(prefix) => {
            let filled = |digit: &str| {
                let missing = (DIGITS + 1).saturating_sub(prefix.len()).max(1);
                format!("{prefix}{}", digit.repeat(missing))
            };
            let numbers = ["5", "0", "1", "2", "3", "4", "6", "7", "8", "9"].map(filled).to_vec();
            (numbers, format!("callers from {prefix}"))
        }
        Test::EndsWith(suffix) | Test::Contains(suffix) => {
            let missing = DIGITS.saturating_sub(suffix.len()).max(1);
            let filled = |digit: &str| format!("+{}{suffix}", digit.repeat(missing));
            let numbers = ["5", "9", "8", "7", "6", "4", "3", "2", "1"].map(filled).to_vec();
            let how = if matches!(test, Test::EndsWith(_)) { "ending in" } else { "with" };
            (numbers, format!("callers {how} {suffix}"))
        }
    };
    let number =
        numbers.into_iter().filter(|number| is_number(number)).min_by_key(|number| passes(number))?;
    Some(Caller { number, label })
}

/// Whether a caller can have this number: as carriers send them, with or without the `+`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Some of the classes, for people. None: all of them.
#[must_use]
pub fn text(all: &[Caller], some: &BTreeSet<usize>) -> Option<String> {
    let labels = |wanted: bool| {
        let chosen = all.iter().enumerate().filter(|(place, _)| some.contains(place) == wanted);
        chosen.map(|(_, caller)| caller.label.as_str()).collect::<Vec<_>>()
    };
    let (chosen, rest) = (labels(true), labels(false));
    if rest.is_empty() {
        return None;
    }
    let others = some.contains(&(all.len() - 1));
    Some(if others && chosen.len() > 1 && rest.len() <= chosen.len() {
        format!("all but {}", rest.join(", "))
    } else {
        chosen.join(", ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tests: &[(Input, Test)]) -> Reads {
        Reads { tests: tests.iter().cloned().collect(), ..Reads::default() }
    }

    #[test]
    fn each_constant_makes_a_class_unless_it_tells_nobody_apart() {
        let starts = |prefix: &str| (Input::ContactNumber, Test::StartsWith(prefix.into()));
        let is = |number: &str| (Input::ContactNumber, Test::Equals(number.into()));
        for (tests, wanted) in [
            (vec![], "all callers"),
            (vec![(Input::Other, Test::Equals("+44".into()))], "all callers"),
            (vec![is("")], "withheld callers, other callers"),
            (vec![starts("+44")], "callers from +44, other callers"),
            (vec![starts("+1212"), starts("+1")], "callers from +1212, callers from +1, other callers"),
            (vec![is("sales"), is("+12125550199")], "caller +12125550199, other callers"),
        ] {
            let classes = classes(&read(&tests)).classes;
            let told: Vec<_> = classes.iter().map(|caller| caller.label.as_str()).collect();
            assert_eq!(told.join(", "), wanted);
        }
    }

    #[test]
    fn what_a_copy_is_held_against_counts_and_what_no_constant_tells_is_said() {
        let mut reads = read(&[(Input::Other, Test::StartsWith("+44".into()))]);
        reads.copied.insert(Input::ContactNumber);
        let first = |reads: &Reads| classes(reads).classes[0].label.clone();
        assert_eq!(first(&reads), "callers from +44");
        assert!(!classes(&reads).sampled);
        reads.otherwise.insert(Input::ContactNumber);
        assert!(classes(&reads).sampled);
    }

    #[test]
    fn classes_are_bounded_and_the_rest_is_counted() {
        let tests: Vec<_> =
            (100..200).map(|prefix| (Input::ContactNumber, Test::StartsWith(format!("+{prefix}")))).collect();
        let callers = classes(&read(&tests));
        assert_eq!((callers.classes.len(), callers.cut), (CALLERS_MAX, 101 - CALLERS_MAX));
    }
}
