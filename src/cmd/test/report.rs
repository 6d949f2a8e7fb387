//! What tests came to, for people, for scripts and for build servers.

use std::fmt::Write as _;

use model::Key;
use plan::{Location, PlannedTest, Problem};
use serde_json::{Value, json};
use sim::{coverage::Coverage, world::Ran};

/// All of it, in the order of the tests' namespaces and names.
pub(super) struct Report {
    pub results: Vec<Tested>,
    pub coverage: Option<Coverage>,
    pub coverage_min: Option<u8>,
    /// Flows that no call comes to.
    pub elsewhere: Vec<String>,
}

/// One test.
pub(super) struct Tested {
    pub key: Key,
    /// Where it stands. None: what is wrong with it says so.
    pub at: Option<Location>,
    pub outcome: Option<&'static str>,
    pub path: String,
    /// By the clock of the made-up world.
    pub milliseconds: u128,
    pub faults: Vec<Fault>,
}

/// Something that is otherwise than a test wants.
pub(super) struct Fault {
    pub at: Location,
    pub field: String,
    pub message: String,
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        Self { at: problem.at.clone(), field: problem.field.clone(), message: problem.message.clone() }
    }
}

impl Tested {
    pub fn of(test: &PlannedTest, ran: &Ran) -> Self {
        let fault = |failure: &sim::world::Failure| Fault {
            at: test.at(&failure.field),
            field: failure.field.clone(),
            message: failure.message.clone(),
        };
        Self {
            key: test.key.clone(),
            at: Some(test.at("metadata.name")),
            outcome: ran.outcome.map(model::calltest::CallOutcome::name),
            path: ran.path.clone(),
            milliseconds: ran.length.as_millis(),
            faults: ran.failures.iter().map(fault).collect(),
        }
    }

    /// One that cannot be run.
    pub fn unreadable(key: &Key, faults: Vec<Fault>) -> Self {
        Self { key: key.clone(), at: None, outcome: None, path: String::new(), milliseconds: 0, faults }
    }

    /// What cannot be run has not passed, whatever is known of it.
    const fn has_passed(&self) -> bool {
        self.at.is_some() && self.faults.is_empty()
    }

    fn place(&self) -> Option<&Location> {
        self.at.as_ref().or_else(|| self.faults.first().map(|fault| &fault.at))
    }

    fn seconds(&self) -> String {
        format!("{}.{:03}", self.milliseconds / 1_000, self.milliseconds % 1_000)
    }
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.results.iter().all(Tested::has_passed) && self.is_covered()
    }

    fn is_covered(&self) -> bool {
        match (&self.coverage, self.coverage_min) {
            (Some(coverage), Some(least)) => coverage.reaches(least),
            (None, _) | (_, None) => true,
        }
    }

    fn counts(&self) -> (usize, usize) {
        let passed = self.results.iter().filter(|result| result.has_passed()).count();
        (passed, self.results.len() - passed)
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for result in &self.results {
            let Tested { key, outcome, milliseconds, .. } = result;
            let word = if result.has_passed() { "ok  " } else { "FAIL" };
            let outcome = outcome.unwrap_or("no outcome");
            let _ = writeln!(text, "{word} {key}: {outcome} after {} s", milliseconds / 1_000);
            for Fault { at, field, message } in &result.faults {
                let _ = writeln!(text, "     {at}: {field}: {message}");
            }
        }
        let (passed, failed) = self.counts();
        let _ = writeln!(text, "{} tests: {passed} passed, {failed} failed", self.results.len());
        if let Some(coverage) = &self.coverage {
            self.cover(&mut text, coverage);
        }
        text
    }

    fn cover(&self, text: &mut String, coverage: &Coverage) {
        let (outcomes, taken) = coverage.sum();
        let _ = writeln!(text, "coverage: {}: {taken} of {outcomes} outcomes", percent(taken, outcomes));
        for flow in &coverage.flows {
            let share = percent(flow.taken, flow.outcomes);
            let _ = writeln!(text, "  {}: {share}: {} of {}", flow.flow, flow.taken, flow.outcomes);
            for missed in &flow.missed {
                let _ = writeln!(text, "    {}: {}", missed.step, missed.outcome);
            }
        }
        for flow in &self.elsewhere {
            let _ = writeln!(text, "  {flow}: no number leads there");
        }
        if let Some(least) = self.coverage_min.filter(|_| !self.is_covered()) {
            let _ = writeln!(text, "FAIL less than {least} % is covered");
        }
    }

    pub fn json(&self) -> Value {
        let place = |at: &Location| json!({"file": &*at.file, "line": at.line, "column": at.column});
        let tests = self.results.iter().map(|result| {
            let failures = result
                .faults
                .iter()
                .map(|fault| json!({"field": fault.field, "message": fault.message, "at": place(&fault.at)}));
            json!({
                "namespace": result.key.namespace(),
                "name": result.key.name(),
                "at": result.place().map(place),
                "passed": result.has_passed(),
                "outcome": result.outcome,
                "path": result.path,
                "milliseconds": u64::try_from(result.milliseconds).unwrap_or(u64::MAX),
                "failures": failures.collect::<Vec<_>>(),
            })
        });
        let (passed, failed) = self.counts();
        let mut report = json!({"tests": tests.collect::<Vec<_>>(), "passed": passed, "failed": failed});
        if let (Some(coverage), Some(object)) = (&self.coverage, report.as_object_mut()) {
            let (outcomes, taken) = coverage.sum();
            let covered = json!({
                "outcomes": outcomes,
                "taken": taken,
                "flows": coverage.flows,
                "withoutNumber": self.elsewhere,
                "enough": self.is_covered(),
            });
            object.insert("coverage".into(), covered);
        }
        report
    }

    /// As JUnit's Ant task writes it; times are those of the made-up world.
    pub fn junit(&self) -> String {
        let (_, failed) = self.counts();
        let count = self.results.len();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(xml, "<testsuites tests=\"{count}\" failures=\"{failed}\">");
        let _ = writeln!(
            xml,
            "  <testsuite name=\"switchboard test\" tests=\"{count}\" failures=\"{failed}\" errors=\"0\">"
        );
        for result in &self.results {
            let place =
                result.place().map(|at| format!(" file=\"{}\" line=\"{}\"", escaped(&at.file), at.line));
            let (namespace, name) = (escaped(result.key.namespace()), escaped(result.key.name()));
            let _ = write!(
                xml,
                "    <testcase classname=\"{namespace}\" name=\"{name}\" time=\"{}\"{}",
                result.seconds(),
                place.unwrap_or_default()
            );
            if result.has_passed() {
                xml.push_str("/>\n");
                continue;
            }
            xml.push_str(">\n");
            let lines =
                result.faults.iter().map(|fault| format!("{}: {}: {}", fault.at, fault.field, fault.message));
            let lines: Vec<String> = lines.collect();
            let first = lines.first().map_or("the test cannot be read", String::as_str);
            let _ = writeln!(
                xml,
                "      <failure message=\"{}\">{}</failure>",
                escaped(first),
                escaped(&lines.join("\n"))
            );
            xml.push_str("    </testcase>\n");
        }
        xml.push_str("  </testsuite>\n</testsuites>\n");
        xml
    }
}

/// With one digit, and 100 only for all.
fn percent(part: usize, whole: usize) -> String {
    let permille = (part * 1_000).checked_div(whole).unwrap_or(1_000);
    format!("{}.{} %", permille / 10, permille % 10)
}

/// Text within an attribute or an element of XML 1.0, which has no place for control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}')
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}
