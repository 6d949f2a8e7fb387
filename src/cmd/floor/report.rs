//! A forecast, for people and for scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sim::forecast::{Beside, Estimate, Forecast, Found, QueueFigures};

pub(super) fn json(forecast: &Forecast, found: &[Found]) -> anyhow::Result<Value> {
    let mut value = json!({"forecast": forecast});
    if let (false, Some(object)) = (found.is_empty(), value.as_object_mut()) {
        object.insert("found".into(), serde_json::to_value(found)?);
    }
    Ok(value)
}

pub(super) fn text(forecast: &Forecast, found: &[Found]) -> String {
    let mut text = String::new();
    let Forecast { tenant, replications, seed, hours, warm_up_hours, .. } = forecast;
    let warm_up = if *warm_up_hours > 0.0 {
        format!(" after {} h that do not count", trimmed(*warm_up_hours))
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "floor of {tenant}: {replications} runs of {} h{warm_up}, seed {seed}; ± at 95 % confidence",
        trimmed(*hours)
    );
    told_found(&mut text, found);
    text.push('\n');
    let mut rows = vec![head("queue", "target")];
    for queue in &forecast.queues {
        let target = format!("{} % / {} s", trimmed(queue.target_percent), trimmed(queue.target_seconds));
        rows.push(row(queue.name.clone(), target, &queue.figures));
    }
    text.push_str(&table(&rows));
    text.push('\n');
    let mut rows = vec![vec!["agents".to_owned(), "there".into(), "occupancy".into()]];
    for group in &forecast.groups {
        let counts: Vec<String> = group.agents.iter().map(usize::to_string).collect();
        rows.push(vec![group.name.clone(), counts.join(" "), percent(group.occupancy)]);
    }
    for queue in &forecast.queues {
        rows.push(vec![format!("who serve {}", queue.name), String::new(), percent(queue.occupancy)]);
    }
    text.push_str(&table(&rows));
    for queue in forecast.queues.iter().filter(|queue| !queue.intervals.is_empty()) {
        text.push('\n');
        let mut rows = vec![head(&queue.name, "from")];
        for interval in &queue.intervals {
            rows.push(row(String::new(), interval.from.clone(), &interval.figures));
        }
        text.push_str(&table(&rows));
    }
    text.push('\n');
    beside(&mut text, &forecast.theory);
    text
}

fn told_found(text: &mut String, found: &[Found]) {
    for Found { group, from, agents, scheduled } in found {
        let from = from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
        let _ = match (agents, scheduled) {
            (None, _) => writeln!(text, "{group}{from}: no number of agents reaches the target"),
            (Some(agents), Some(scheduled)) if scheduled != agents => {
                writeln!(text, "{group}{from}: {agents} agents reach the target, {scheduled} with shrinkage")
            }
            (Some(agents), _) => writeln!(text, "{group}{from}: {agents} agents reach the target"),
        };
    }
}

fn head(first: &str, second: &str) -> Vec<String> {
    [
        first,
        second,
        "contacts/h",
        "service level",
        "abandoned",
        "answered",
        "turned away",
        "mean wait",
        "p50",
        "p90",
        "p99",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn row(first: String, second: String, figures: &QueueFigures) -> Vec<String> {
    vec![
        first,
        second,
        with(figures.contacts_per_hour, 1.0, ""),
        percent(figures.service_level),
        percent(figures.abandonment),
        percent(figures.answered),
        percent(figures.turned_away),
        with(figures.mean_wait, 1.0, " s"),
        with(figures.wait_p50, 1.0, " s"),
        with(figures.wait_p90, 1.0, " s"),
        with(figures.wait_p99, 1.0, " s"),
    ]
}

fn beside(text: &mut String, beside: &Beside) {
    match beside {
        Beside::Because(reasons) => {
            let _ = writeln!(text, "no figures of queueing theory: {}", reasons.join("; "));
        }
        Beside::Theory(theory) => {
            let _ = writeln!(
                text,
                "{} for {}, {} agents, offered load {:.2} (shares of all contacts that came)",
                theory.formula, theory.queue, theory.agents, theory.offered_load
            );
            let mut rows = vec![vec![String::new(), "theory".to_owned(), "simulated".into()]];
            for (name, expected, simulated) in &theory.figures {
                let (word, scale, unit) = named(name);
                let expected = format!("{:.1}{unit}", expected * scale);
                rows.push(vec![word.to_owned(), expected, with(*simulated, scale, unit)]);
            }
            text.push_str(&table(&rows));
        }
    }
}

/// How a figure of theory is printed.
fn named(figure: &str) -> (&str, f64, &'static str) {
    match figure {
        "answeredInTime" => ("answered in time", 100.0, " %"),
        "abandoned" => ("abandoned", 100.0, " %"),
        "occupancy" => ("occupancy", 100.0, " %"),
        "meanWait" => ("mean wait", 1.0, " s"),
        "waitP50" => ("p50", 1.0, " s"),
        "waitP90" => ("p90", 1.0, " s"),
        "waitP99" => ("p99", 1.0, " s"),
        other => (other, 1.0, ""),
    }
}

fn percent(estimate: Option<Estimate>) -> String {
    with(estimate, 100.0, " %")
}

fn with(estimate: Option<Estimate>, scale: f64, unit: &str) -> String {
    let Some(Estimate { value, plus_minus }) = estimate else { return "-".to_owned() };
    let value = value * scale;
    if !plus_minus.is_finite() {
        return format!("{value:.1}{unit}");
    }
    format!("{value:.1} ± {:.1}{unit}", plus_minus * scale)
}

/// Without a fraction where there is none.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Columns as wide as what stands in them.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
