//! What can be seen of an edge from outside: counters, and the latest explanations and records.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use call::{
    call::{Told, Unperformed},
    engine::{Attempt, Engine, StationNews},
    explanation::{COURSE_MAX, Explanation, LEGS_MAX, Outcome, UNPERFORMED_MAX},
    locate::Asked,
    record::Record,
    registrar::StationId,
    world::Names,
};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    Control,
    figures::Figures,
    ladder::{Ladder, Rung},
};

/// Explanations and records that are kept.
const KEPT_MAX: usize = 1_024;

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Adds.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Sets.
    pub fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    /// Reads.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters, explanations and records of one edge.
#[derive(Debug, Default)]
pub struct Observed {
    /// Calls that are up.
    pub calls: Number,
    /// INVITEs that a flow took.
    pub routed: Number,
    /// INVITEs that were refused.
    pub refused: Number,
    /// Calls that are over.
    pub ended: Number,
    /// SIP messages and packets received.
    pub packets_received: Number,
    /// SIP messages sent.
    pub packets_sent: Number,
    /// SIP messages that could not be sent.
    pub packets_unsent: Number,
    /// Packets of sources that no trunk admits.
    pub strangers: Number,
    /// Bad messages.
    pub malformed: Number,
    /// Handshakes under TLS that came to a connection, both ways.
    pub tls_sessions: Number,
    /// Handshakes under TLS that came to nothing.
    pub tls_failed: Number,
    /// Messages of sources that say more than they may: datagrams, which were dropped.
    pub excess_messages: Number,
    /// The same of connections: they waited.
    pub paced_messages: Number,
    /// Connections that a source opened faster than it may.
    pub excess_connections: Number,
    /// Connections that there was no room for.
    pub connections_refused: Number,
    /// Connections that were closed because their messages did not come.
    pub connections_slow: Number,
    /// Connections that were closed because too much of their messages waited for its end.
    pub connections_heavy: Number,
    /// Handshakes that were not begun because too many were under way.
    pub handshakes_refused: Number,
    /// Media events that found the queue full.
    pub events_dropped: Number,
    /// Media orders that the media server did not take.
    pub orders_dropped: Number,
    /// Copies of SIP messages that a capture server was sent.
    pub copies_sent: Number,
    /// Copies that were lost.
    pub copies_lost: Number,
    /// The latest SIP messages.
    pub ladder: Ladder,
    explanations: Mutex<VecDeque<Explanation>>,
    records: Mutex<VecDeque<Record>>,
    standing: Mutex<BTreeMap<String, bool>>,
    figures: Mutex<Figures>,
    stations: Mutex<BTreeSet<StationId>>,
    bans: Mutex<BTreeMap<IpAddr, Timestamp>>,
    /// Where registrars want calls to go.
    routes: Mutex<BTreeSet<Asked>>,
    /// What the engine was told last.
    names: Mutex<Option<Names>>,
    /// Copies that were lost when somebody asked last.
    lost_before: Number,
    /// Weak: whoever only looks must not keep the edge.
    control: OnceLock<mpsc::WeakSender<Control>>,
}

impl Observed {
    /// Keeps an explanation.
    pub fn explain(&self, explanation: Explanation) {
        match &explanation.outcome {
            Outcome::Routed { .. } => self.routed.add(1),
            Outcome::Refused { .. } | Outcome::Ignored { .. } => self.refused.add(1),
            // The INVITE that answers is the one that counts.
            Outcome::Challenged { .. } => {}
        }
        keep(&self.explanations, explanation);
    }

    /// Adds the Call-ID of a leg that was dialled to the latest explanation of its call.
    pub fn dialled(&self, call_id: &str, leg: String) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| explanation.call_id == call_id);
        if let Some(explanation) = explanation
            && explanation.legs.len() < LEGS_MAX
        {
            explanation.legs.push(leg);
        }
    }

    /// Adds to the latest explanation of a call that a step of it cannot be performed yet.
    pub fn unperformed(&self, step: &Unperformed) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| explanation.call_id == step.call_id);
        if let Some(explanation) = explanation
            && explanation.unperformed.len() < UNPERFORMED_MAX
        {
            explanation.unperformed.push(format!("step `{}`: not performed yet: {}", step.step, step.what));
        }
    }

    /// The latest messages of the call whose A leg has that Call-ID.
    #[must_use]
    pub fn ladder_of(&self, call_id: &str) -> Vec<Rung> {
        let legs = self.explanation(call_id).map(|explanation| explanation.legs).unwrap_or_default();
        let mut call_ids = vec![call_id];
        call_ids.extend(legs.iter().map(String::as_str));
        self.ladder.of(&call_ids)
    }

    /// Adds to the latest explanation of a call what befell it.
    pub fn tell(&self, told: &Told) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| explanation.call_id == told.call_id);
        if let Some(explanation) = explanation
            && explanation.course.len() < COURSE_MAX
        {
            explanation.course.push(told.what.clone());
        }
    }

    /// Adds to the latest explanation of the call that has a leg with that Call-ID what befell it.
    pub fn tell_of_leg(&self, call_id: &str, what: &str) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| {
            explanation.call_id == call_id || explanation.legs.iter().any(|leg| leg == call_id)
        });
        if let Some(explanation) = explanation
            && explanation.course.len() < COURSE_MAX
        {
            explanation.course.push(what.to_owned());
        }
    }

    /// Where registrars want calls to go, to be looked up.
    pub(crate) fn routes(&self) -> BTreeSet<Asked> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether names are others than when this was asked last.
    pub(crate) fn are_news(&self, names: &Names) -> bool {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(names.clone()).as_ref() != Some(names)
    }

    /// Whether copies were lost since this was asked last.
    pub(crate) fn has_lost_copies(&self) -> bool {
        let lost = self.copies_lost.get();
        let before = self.lost_before.get();
        self.lost_before.add(lost - before);
        lost > before
    }

    /// Keeps which peers are up and which trunks are registered.
    pub fn standing(&self, engine: &Engine) {
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = engine.routes();
        let peers = engine.peers().map(|(who, down_since)| {
            let (peer, flow) = (label(&who.peer), label(&who.flow.to_string()));
            let name =
                format!("switchboard_peer_up{{trunk=\"{}\",peer=\"{peer}\",address=\"{flow}\"}}", who.trunk);
            (name, down_since.is_none())
        });
        let registrations = engine.registrations().map(|(trunk, standing)| {
            (format!("switchboard_trunk_registered{{trunk=\"{trunk}\"}}"), standing.since.is_some())
        });
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = peers.chain(registrations).collect();
    }

    /// Counts what a call that left has come to.
    pub fn attempt(&self, attempt: &Attempt) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).left(attempt);
    }

    /// By what a ban can be lifted. Once.
    pub(crate) fn let_lift(&self, control: mpsc::WeakSender<Control>) {
        // There is one edge for each of these.
        let _ = self.control.set(control);
    }

    /// Keeps what happened to stations.
    pub fn station_news(&self, news: StationNews) {
        let mut stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            StationNews::Came(station) => drop(stations.insert(station)),
            StationNews::Went(station) => drop(stations.remove(&station)),
            StationNews::Banned { address, until } => drop(bans.insert(address, until)),
            StationNews::Lifted { address } => drop(bans.remove(&address)),
            StationNews::Told { .. } => {}
        }
    }

    /// Stations that are registered.
    #[must_use]
    pub fn stations(&self) -> Vec<StationId> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Sources that are not heard, and until when.
    #[must_use]
    pub fn bans(&self) -> Vec<(IpAddr, Timestamp)> {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        bans.retain(|_, until| *until > now);
        bans.iter().map(|(address, until)| (*address, *until)).collect()
    }

    /// Has a source heard again. False: it was not banned.
    pub fn lift(&self, address: IpAddr) -> bool {
        let known = self.bans().iter().any(|(banned, _)| *banned == address);
        let control = self.control.get().and_then(mpsc::WeakSender::upgrade);
        known && control.is_some_and(|control| control.try_send(Control::Lift(address)).is_ok())
    }

    /// Keeps a record.
    pub fn record(&self, record: Record) {
        self.ended.add(1);
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).came(&record);
        keep(&self.records, record);
    }

    /// The latest explanation of the INVITE with that Call-ID.
    #[must_use]
    pub fn explanation(&self, call_id: &str) -> Option<Explanation> {
        let kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|explanation| explanation.call_id == call_id).cloned()
    }

    /// Latest records, newest first.
    #[must_use]
    pub fn records(&self, most: usize) -> Vec<Record> {
        let kept = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().take(most).cloned().collect()
    }

    /// The sums over several edges, in the text format of Prometheus.
    #[must_use]
    pub fn metrics(edges: &[Arc<Self>]) -> String {
        type Of = fn(&Observed) -> &Number;
        let all: [(&str, &str, &str, Of); 15] = [
            ("calls", "gauge", "Calls that are up.", |seen| &seen.calls),
            ("calls_routed_total", "counter", "INVITEs that a flow took.", |seen| &seen.routed),
            ("calls_refused_total", "counter", "INVITEs that were refused.", |seen| &seen.refused),
            ("calls_ended_total", "counter", "Calls that are over.", |seen| &seen.ended),
            ("sip_received_total", "counter", "SIP messages received.", |seen| &seen.packets_received),
            ("sip_sent_total", "counter", "SIP messages sent.", |seen| &seen.packets_sent),
            ("sip_unsent_total", "counter", "SIP messages that could not be sent.", |seen| {
                &seen.packets_unsent
            }),
            ("sip_strangers_total", "counter", "Packets of sources that no trunk admits.", |seen| {
                &seen.strangers
            }),
            ("sip_malformed_total", "counter", "Bad SIP messages.", |seen| &seen.malformed),
            ("capture_sent_total", "counter", "Copies of SIP messages sent to a capture server.", |seen| {
                &seen.copies_sent
            }),
            ("capture_lost_total", "counter", "Copies of SIP messages that were lost.", |seen| {
                &seen.copies_lost
            }),
            ("tls_sessions_total", "counter", "TLS handshakes that came to a connection.", |seen| {
                &seen.tls_sessions
            }),
            ("tls_failed_total", "counter", "TLS handshakes that came to nothing.", |seen| &seen.tls_failed),
            ("media_events_dropped_total", "counter", "Media events dropped.", |seen| &seen.events_dropped),
            ("media_orders_dropped_total", "counter", "Media orders dropped.", |seen| &seen.orders_dropped),
        ];
        let mut text = String::new();
        for (name, kind, help, of) in all {
            let sum = edges.iter().map(|edge| of(edge).get()).sum();
            write_metric(&mut text, &format!("switchboard_{name}"), kind, help, sum);
        }
        write_rejected(&mut text, edges);
        write_standing(&mut text, edges);
        let mut figures = Figures::default();
        for edge in edges {
            figures.add(&edge.figures.lock().unwrap_or_else(PoisonError::into_inner));
        }
        figures.write(&mut text);
        text
    }
}

/// What was not heard, by reason.
fn write_rejected(text: &mut String, edges: &[Arc<Observed>]) {
    type Of = fn(&Observed) -> &Number;
    let all: [(&str, Of); 9] = [
        ("stranger", |seen| &seen.strangers),
        ("malformed", |seen| &seen.malformed),
        ("rate", |seen| &seen.excess_messages),
        ("paced", |seen| &seen.paced_messages),
        ("connectionRate", |seen| &seen.excess_connections),
        ("connections", |seen| &seen.connections_refused),
        ("handshakes", |seen| &seen.handshakes_refused),
        ("slow", |seen| &seen.connections_slow),
        ("memory", |seen| &seen.connections_heavy),
    ];
    let name = "switchboard_sip_rejected_total";
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# HELP {name} Messages and connections that were dropped, refused, closed or (paced) made to wait, by reason.\n# TYPE {name} counter\n"
    );
    for (reason, of) in all {
        let sum: u64 = edges.iter().map(|edge| of(edge).get()).sum();
        let _ = writeln!(text, "{name}{{reason=\"{reason}\"}} {sum}");
    }
}

/// Peers and registrations: 1 or 0 each.
fn write_standing(text: &mut String, edges: &[Arc<Observed>]) {
    let mut all = BTreeMap::new();
    for edge in edges {
        all.extend(edge.standing.lock().unwrap_or_else(PoisonError::into_inner).clone());
    }
    for (name, help) in [
        ("switchboard_peer_up", "Whether a peer that is probed answers."),
        ("switchboard_trunk_registered", "Whether a trunk\'s registrar has taken us."),
    ] {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (sample, value) in all.iter().filter(|(sample, _)| sample.starts_with(&format!("{name}{{"))) {
            let _ = writeln!(text, "{sample} {}", u8::from(*value));
        }
    }
}

/// The value of a label, which may hold no quote, backslash or line break.
fn label(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect()
}

/// Adds one metric in the text format of Prometheus.
pub fn write_metric(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

fn keep<T>(kept: &Mutex<VecDeque<T>>, item: T) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(item);
}
