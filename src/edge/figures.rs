//! How calls fare, trunk by trunk: attempts by status, and how long callees take to ring.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use call::{engine::Attempt, record::Record};
use model::TrunkId;

use crate::observed::label;

/// Upper ends of the delay's buckets, in milliseconds.
const DELAYS_MS: [u64; 9] = [100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000];

/// Statuses of one trunk that are told apart: more than any peer of good will has.
const CODES_MAX: usize = 128;

/// Peers that are told apart; calls to further ones count for their trunk alone.
const PEERS_MAX: usize = 1_024;

/// Listeners and statuses of refusals that are told apart.
const REFUSALS_MAX: usize = 1_024;

/// Figures of all trunks and their peers, and of calls that no flow took.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    trunks: BTreeMap<TrunkId, Trunk>,
    /// By trunk and address.
    peers: BTreeMap<(TrunkId, String), Left>,
    /// Calls that were refused, by listener and status.
    refused: BTreeMap<(String, u16), u64>,
}

#[derive(Debug, Default, Clone)]
struct Trunk {
    /// Calls that came, by status.
    came: BTreeMap<u16, u64>,
    left: Left,
}

/// Calls that left.
#[derive(Debug, Default, Clone)]
struct Left {
    /// By status.
    codes: BTreeMap<u16, u64>,
    /// Delays by bucket, and those beyond all; their sum.
    delays: [u64; DELAYS_MS.len() + 1],
    sum: Duration,
}

impl Left {
    fn take(&mut self, attempt: &Attempt) {
        count(&mut self.codes, attempt.code);
        if let Some(delay) = attempt.post_dial_delay {
            let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let place = DELAYS_MS.partition_point(|end| *end < ms);
            if let Some(bucket) = self.delays.get_mut(place) {
                *bucket += 1;
            }
            self.sum += delay;
        }
    }

    fn add(&mut self, other: &Self) {
        other.codes.iter().for_each(|(code, more)| *self.codes.entry(*code).or_default() += more);
        self.delays.iter_mut().zip(other.delays).for_each(|(sum, more)| *sum += more);
        self.sum += other.sum;
    }

    fn attempts(&self) -> u64 {
        self.codes.values().sum()
    }

    fn answers(&self) -> u64 {
        self.codes.iter().filter(|(code, _)| **code < 300).map(|(_, count)| count).sum()
    }
}

impl Figures {
    /// A call that left has come to something.
    pub fn left(&mut self, attempt: &Attempt) {
        self.trunks.entry(attempt.trunk.clone()).or_default().left.take(attempt);
        let peer = (attempt.trunk.clone(), attempt.flow.to_string());
        if self.peers.len() < PEERS_MAX || self.peers.contains_key(&peer) {
            self.peers.entry(peer).or_default().take(attempt);
        }
    }

    /// A call that came is over.
    pub fn came(&mut self, record: &Record) {
        if let Some(trunk) = &record.trunk {
            count(&mut self.trunks.entry(trunk.clone()).or_default().came, record.sip_code);
        }
    }

    /// A call was refused.
    pub fn refused(&mut self, listener: &str, code: u16) {
        let refusal = (listener.to_owned(), code);
        if self.refused.len() < REFUSALS_MAX || self.refused.contains_key(&refusal) {
            *self.refused.entry(refusal).or_default() += 1;
        }
    }

    /// The sum of both.
    pub fn add(&mut self, other: &Self) {
        for (trunk, theirs) in &other.trunks {
            let ours = self.trunks.entry(trunk.clone()).or_default();
            theirs.came.iter().for_each(|(code, more)| *ours.came.entry(*code).or_default() += more);
            ours.left.add(&theirs.left);
        }
        for (peer, theirs) in &other.peers {
            self.peers.entry(peer.clone()).or_default().add(theirs);
        }
        for (refusal, more) in &other.refused {
            *self.refused.entry(refusal.clone()).or_default() += more;
        }
    }

    /// In the text format of Prometheus.
    pub fn write(&self, text: &mut String) {
        let name = "switchboard_trunk_calls_total";
        head(text, name, "counter", "Calls of a trunk by direction and SIP status; 200 is an answer.");
        for (trunk, figure) in &self.trunks {
            for (direction, counts) in [("in", &figure.came), ("out", &figure.left.codes)] {
                for (code, value) in counts {
                    let labels = format!("trunk=\"{trunk}\",direction=\"{direction}\",code=\"{code}\"");
                    let _ = writeln!(text, "{name}{{{labels}}} {value}");
                }
            }
        }
        let trunks = self.trunks.iter().map(|(trunk, figure)| (format!("trunk=\"{trunk}\""), &figure.left));
        write_left(text, "trunk", "a trunk", &trunks.collect::<Vec<_>>());
        let peers = self.peers.iter().map(|((trunk, address), left)| {
            (format!("trunk=\"{trunk}\",address=\"{}\"", label(address)), left)
        });
        let peers: Vec<_> = peers.collect();
        write_left(text, "peer", "a peer", &peers);
        let name = "switchboard_peer_calls_total";
        head(text, name, "counter", "Calls that left to a peer by SIP status; 200 is an answer.");
        for (labels, left) in &peers {
            for (code, value) in &left.codes {
                let _ = writeln!(text, "{name}{{{labels},code=\"{code}\"}} {value}");
            }
        }
        let name = "switchboard_calls_rejected_total";
        head(text, name, "counter", "INVITEs that no flow took, by listener, SIP status and reason.");
        for ((listener, code), value) in &self.refused {
            let (listener, reason) = (label(listener), reason(*code));
            let labels = format!("listener=\"{listener}\",code=\"{code}\",reason=\"{reason}\"");
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
}

/// Attempts, answers and delays of calls that left, of which the answer-seizure ratio is made.
fn write_left(text: &mut String, kind: &str, whose: &str, all: &[(String, &Left)]) {
    let name = format!("switchboard_{kind}_attempts_total");
    head(text, &name, "counter", &format!("Calls that left to {whose}, answered or not."));
    for (labels, left) in all {
        let _ = writeln!(text, "{name}{{{labels}}} {}", left.attempts());
    }
    let name = format!("switchboard_{kind}_answers_total");
    head(text, &name, "counter", &format!("Calls that left to {whose} and were answered."));
    for (labels, left) in all {
        let _ = writeln!(text, "{name}{{{labels}}} {}", left.answers());
    }
    let name = format!("switchboard_{kind}_post_dial_delay_seconds");
    let help = "From INVITE to the first 18x or the answer, of calls that leave.";
    head(text, &name, "histogram", help);
    for (labels, left) in all {
        let mut sum = 0;
        for (end, more) in DELAYS_MS.iter().zip(left.delays) {
            sum += more;
            let end = Duration::from_millis(*end).as_secs_f64();
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{end}\"}} {sum}");
        }
        let all: u64 = left.delays.iter().sum();
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {all}");
        let _ = writeln!(text, "{name}_sum{{{labels}}} {}", left.sum.as_secs_f64());
        let _ = writeln!(text, "{name}_count{{{labels}}} {all}");
    }
}

/// Writing to a String cannot fail.
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// What a status means that we refuse calls with.
const fn reason(code: u16) -> &'static str {
    match code {
        400 | 415 | 488 | 606 => "offer",
        403 => "not allowed",
        404 => "unknown number",
        428 | 436 | 437 | 438 => "identity",
        480 => "number or tenant full",
        482 | 483 => "circle",
        500 => "configuration",
        503 => "trunk or edge full",
        _ => "other",
    }
}

fn count(counts: &mut BTreeMap<u16, u64>, code: u16) {
    if counts.len() < CODES_MAX || counts.contains_key(&code) {
        *counts.entry(code).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::net::{Flow, ListenerIx, Transport};

    use super::*;

    fn attempt(trunk: &TrunkId, code: u16, post_dial_delay: Option<Duration>) -> Attempt {
        Attempt {
            call_id: "a".into(),
            trunk: trunk.clone(),
            flow: Flow {
                transport: Transport::Udp,
                listener: ListenerIx(0),
                remote: "192.0.2.1:5060".parse().unwrap(),
                connection: 0,
            },
            began: Timestamp::UNIX_EPOCH,
            took: Duration::ZERO,
            code,
            post_dial_delay,
        }
    }

    #[test]
    fn a_trunk_is_told_by_status_and_delay() {
        let trunk = TrunkId::new("platform", "carrier");
        let mut figures = Figures::default();
        for (code, ms) in [(200, Some(100)), (200, Some(101)), (486, Some(30_000)), (404, None)] {
            let post_dial_delay = ms.map(Duration::from_millis);
            figures.left(&attempt(&trunk, code, post_dial_delay));
        }
        figures.refused("udp", 404);
        figures.refused("udp", 438);
        figures.refused("udp", 438);
        let mut twice = figures.clone();
        twice.add(&figures);
        assert_eq!(twice.trunks[&trunk].left.attempts(), 8);
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
            "switchboard_trunk_attempts_total{trunk=\"platform/carrier\"} 4",
            "switchboard_trunk_answers_total{trunk=\"platform/carrier\"} 2",
            "switchboard_peer_attempts_total{trunk=\"platform/carrier\",address=\"UDP 192.0.2.1:5060\"} 4",
            "switchboard_peer_answers_total{trunk=\"platform/carrier\",address=\"UDP 192.0.2.1:5060\"} 2",
            "switchboard_peer_calls_total{trunk=\"platform/carrier\",address=\"UDP 192.0.2.1:5060\",code=\"486\"} 1",
            "switchboard_peer_post_dial_delay_seconds_count{trunk=\"platform/carrier\",address=\"UDP 192.0.2.1:5060\"} 3",
            "switchboard_calls_rejected_total{listener=\"udp\",code=\"404\",reason=\"unknown number\"} 1",
            "switchboard_calls_rejected_total{listener=\"udp\",code=\"438\",reason=\"identity\"} 2",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_peer_of_ill_will_makes_no_endless_list() {
        let trunk = TrunkId::new("platform", "carrier");
        let mut figures = Figures::default();
        for code in 300..700 {
            figures.left(&attempt(&trunk, code, None));
        }
        assert_eq!(figures.trunks[&trunk].left.codes.len(), CODES_MAX);
    }
}
