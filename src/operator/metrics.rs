//! What the operator counts, in the text format of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the buckets of durations, in microseconds.
const BUCKETS: [u64; 10] = [100, 500, 1_000, 5_000, 20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// Different requests, errors and so on that are told apart; what comes after that is counted as `other`.
const LABELS_MAX: usize = 512;

/// A count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    sum_micros: AtomicU64,
}

impl Histogram {
    /// It took so long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS) {
            if micros <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Counts by labels, which are written as Prometheus has them: `verb="get",kind="secrets"`.
#[derive(Debug, Default)]
pub struct Labelled(Mutex<BTreeMap<String, u64>>);

impl Labelled {
    /// One more.
    pub fn add(&self, labels: String) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= LABELS_MAX && !counts.contains_key(&labels) {
            *counts.entry("other=\"true\"".into()).or_default() += 1;
        } else {
            *counts.entry(labels).or_default() += 1;
        }
    }

    /// Replaces everything: gauges.
    pub fn replace(&self, values: BTreeMap<String, u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }

    fn snapshot(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Metrics {
    /// From a change's arrival to its publication.
    pub reconcile: Histogram,
    /// Of one update of the plan.
    pub plan: Histogram,
    /// Requests to the API server by verb and resource.
    pub requests: Labelled,
    /// Requests that failed, by verb, resource and code; 0: there was no answer.
    pub request_errors: Labelled,
    /// Objects that are wrong, by condition and reason.
    pub wrong: Labelled,
    /// Namespaces whose Secrets the operator may not read.
    pub secrets_forbidden: Labelled,
    /// Snapshots that pods refused, by cluster and role.
    pub refusals: Labelled,
    /// Seconds since each pod's snapshot was acknowledged, by pod.
    pub snapshot_age: Labelled,
    /// Streams that a pod's misbehaviour ended.
    pub misbehaved: Counter,
    /// Publications.
    pub published: Counter,
    /// Status patches that were sent.
    pub patches: Counter,
    /// Status patches that were wanted and not sent: overtaken by a newer one, or equal to what stands there.
    pub patches_dropped: Counter,
    /// Status patches that wait.
    pub patches_waiting: Counter,
    /// 1 while this replica leads.
    pub leads: Counter,
    /// The term in which it leads or follows.
    pub term: Counter,
    /// Objects of ours that are known.
    pub objects: Counter,
    /// Admission reviews, by their answer.
    pub admission: Labelled,
}

impl Metrics {
    /// As they are scraped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        histogram(
            &mut text,
            "reconcile_seconds",
            "From a change's arrival to its publication.",
            &self.reconcile,
        );
        histogram(&mut text, "plan_seconds", "One update of the plan.", &self.plan);
        for (name, kind, help, counts) in [
            ("api_requests_total", "counter", "Requests to the API server.", &self.requests),
            ("api_errors_total", "counter", "Requests to the API server that failed.", &self.request_errors),
            ("objects_wrong", "gauge", "Objects that are wrong.", &self.wrong),
            (
                "secrets_forbidden",
                "gauge",
                "Namespaces whose Secrets the operator may not read.",
                &self.secrets_forbidden,
            ),
            ("snapshot_refusals_total", "counter", "Snapshots that pods refused.", &self.refusals),
            ("snapshot_age_seconds", "gauge", "Since a pod acknowledged its snapshot.", &self.snapshot_age),
            ("admission_reviews_total", "counter", "Admission reviews.", &self.admission),
        ] {
            head(&mut text, name, kind, help);
            for (labels, value) in counts.snapshot() {
                let _ = writeln!(text, "switchboard_operator_{name}{{{labels}}} {value}");
            }
        }
        for (name, kind, help, counter) in [
            ("published_total", "counter", "Snapshots that were published.", &self.published),
            (
                "streams_misbehaved_total",
                "counter",
                "Streams that a pod's misbehaviour ended.",
                &self.misbehaved,
            ),
            ("status_patches_total", "counter", "Status patches that were sent.", &self.patches),
            (
                "status_patches_dropped_total",
                "counter",
                "Status patches that proved needless.",
                &self.patches_dropped,
            ),
            ("status_patches_waiting", "gauge", "Status patches that wait.", &self.patches_waiting),
            ("leads", "gauge", "1 while this replica leads.", &self.leads),
            ("term", "gauge", "Transitions of the lease.", &self.term),
            ("objects", "gauge", "Objects that are known.", &self.objects),
        ] {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "switchboard_operator_{name} {}", counter.get());
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# HELP switchboard_operator_{name} {help}\n# TYPE switchboard_operator_{name} {kind}\n"
    );
}

fn histogram(text: &mut String, name: &str, help: &str, of: &Histogram) {
    head(text, name, "histogram", help);
    for (bucket, bound) in of.buckets.iter().zip(BUCKETS) {
        let (count, bound) = (bucket.load(Ordering::Relaxed), seconds(bound));
        let _ = writeln!(text, "switchboard_operator_{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let count = of.count.load(Ordering::Relaxed);
    let _ = writeln!(text, "switchboard_operator_{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ =
        writeln!(text, "switchboard_operator_{name}_sum {}", seconds(of.sum_micros.load(Ordering::Relaxed)));
    let _ = writeln!(text, "switchboard_operator_{name}_count {count}");
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_in_the_format_of_prometheus() {
        let metrics = Metrics::default();
        metrics.plan.observe(Duration::from_micros(700));
        metrics.requests.add("verb=\"get\",resource=\"secrets\"".into());
        let text = metrics.text();
        for line in [
            "switchboard_operator_plan_seconds_bucket{le=\"0.0005\"} 0",
            "switchboard_operator_plan_seconds_bucket{le=\"0.001\"} 1",
            "switchboard_operator_plan_seconds_sum 0.0007",
            "switchboard_operator_api_requests_total{verb=\"get\",resource=\"secrets\"} 1",
            "switchboard_operator_leads 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
