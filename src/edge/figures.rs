//! How calls fare, trunk by trunk: attempts by status, and how long callees take to ring.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use call::{engine::Attempt, record::Record};
use model::TrunkId;

/// Upper ends of the delay's buckets, in milliseconds.
const DELAYS_MS: [u64; 9] = [100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000];

/// Statuses of one trunk that are told apart: more than any peer of good will has.
const CODES_MAX: usize = 128;

/// Figures of all trunks.
#[derive(Debug, Default, Clone)]
pub struct Figures(BTreeMap<TrunkId, Figure>);

#[derive(Debug, Default, Clone)]
struct Figure {
    /// Calls that came and that left, by status.
    came: BTreeMap<u16, u64>,
    left: BTreeMap<u16, u64>,
    /// Delays by bucket, and those beyond all; their sum.
    delays: [u64; DELAYS_MS.len() + 1],
    sum: Duration,
}

impl Figures {
    /// A call that left has come to something.
    pub fn left(&mut self, attempt: &Attempt) {
        let figure = self.0.entry(attempt.trunk.clone()).or_default();
        count(&mut figure.left, attempt.code);
        if let Some(delay) = attempt.post_dial_delay {
            let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let place = DELAYS_MS.partition_point(|end| *end < ms);
            if let Some(bucket) = figure.delays.get_mut(place) {
                *bucket += 1;
            }
            figure.sum += delay;
        }
    }

    /// A call that came is over.
    pub fn came(&mut self, record: &Record) {
        if let Some(trunk) = &record.trunk {
            count(&mut self.0.entry(trunk.clone()).or_default().came, record.sip_code);
        }
    }

    /// The sum of both.
    pub fn add(&mut self, other: &Self) {
        for (trunk, theirs) in &other.0 {
            let ours = self.0.entry(trunk.clone()).or_default();
            for (sum, counts) in [(&mut ours.came, &theirs.came), (&mut ours.left, &theirs.left)] {
                counts.iter().for_each(|(code, more)| *sum.entry(*code).or_default() += more);
            }
            ours.delays.iter_mut().zip(theirs.delays).for_each(|(sum, more)| *sum += more);
            ours.sum += theirs.sum;
        }
    }

    /// In the text format of Prometheus.
    pub fn write(&self, text: &mut String) {
        let name = "switchboard_trunk_calls_total";
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {name} Calls of a trunk by direction and SIP status; 200 is an answer.\n# TYPE {name} counter\n"
        );
        for (trunk, figure) in &self.0 {
            for (direction, counts) in [("in", &figure.came), ("out", &figure.left)] {
                for (code, value) in counts {
                    let labels = format!("trunk=\"{trunk}\",direction=\"{direction}\",code=\"{code}\"");
                    let _ = writeln!(text, "{name}{{{labels}}} {value}");
                }
            }
        }
        let name = "switchboard_trunk_post_dial_delay_seconds";
        let _ = write!(
            text,
            "# HELP {name} From INVITE to the first 18x or the answer, of calls that leave.\n# TYPE {name} histogram\n"
        );
        for (trunk, figure) in self.0.iter().filter(|(_, figure)| !figure.left.is_empty()) {
            let mut sum = 0;
            for (end, count) in DELAYS_MS.iter().zip(figure.delays) {
                sum += count;
                let end = Duration::from_millis(*end).as_secs_f64();
                let _ = writeln!(text, "{name}_bucket{{trunk=\"{trunk}\",le=\"{end}\"}} {sum}");
            }
            let all: u64 = figure.delays.iter().sum();
            let _ = writeln!(text, "{name}_bucket{{trunk=\"{trunk}\",le=\"+Inf\"}} {all}");
            let _ = writeln!(text, "{name}_sum{{trunk=\"{trunk}\"}} {}", figure.sum.as_secs_f64());
            let _ = writeln!(text, "{name}_count{{trunk=\"{trunk}\"}} {all}");
        }
    }
}

fn count(counts: &mut BTreeMap<u16, u64>, code: u16) {
    if counts.len() < CODES_MAX || counts.contains_key(&code) {
        *counts.entry(code).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_is_told_by_status_and_delay() {
        let trunk = TrunkId::new("platform", "carrier");
        let mut figures = Figures::default();
        for (code, ms) in [(200, Some(100)), (200, Some(101)), (486, Some(30_000)), (404, None)] {
            let post_dial_delay = ms.map(Duration::from_millis);
            figures.left(&Attempt { trunk: trunk.clone(), code, post_dial_delay });
        }
        let mut text = String::new();
        figures.write(&mut text);
        for line in [
            "switchboard_trunk_calls_total{trunk=\"platform/carrier\",direction=\"out\",code=\"200\"} 2",
            "switchboard_trunk_calls_total{trunk=\"platform/carrier\",direction=\"out\",code=\"404\"} 1",
            "switchboard_trunk_post_dial_delay_seconds_bucket{trunk=\"platform/carrier\",le=\"0.1\"} 1",
            "switchboard_trunk_post_dial_delay_seconds_bucket{trunk=\"platform/carrier\",le=\"0.25\"} 2",
            "switchboard_trunk_post_dial_delay_seconds_bucket{trunk=\"platform/carrier\",le=\"20\"} 2",
            "switchboard_trunk_post_dial_delay_seconds_bucket{trunk=\"platform/carrier\",le=\"+Inf\"} 3",
            "switchboard_trunk_post_dial_delay_seconds_sum{trunk=\"platform/carrier\"} 30.201",
            "switchboard_trunk_post_dial_delay_seconds_count{trunk=\"platform/carrier\"} 3",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_peer_of_ill_will_makes_no_endless_list() {
        let trunk = TrunkId::new("platform", "carrier");
        let mut figures = Figures::default();
        for code in 300..700 {
            figures.left(&Attempt { trunk: trunk.clone(), code, post_dial_delay: None });
        }
        assert_eq!(figures.0[&trunk].left.len(), CODES_MAX);
    }
}
