//! What a pod says of itself over HTTP.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use edge::observed::write_metric;
use link::config::Position;

/// What probes and metrics look at.
#[derive(Debug)]
pub struct Health(Mutex<Told>);

#[derive(Debug)]
struct Told {
    /// None: it can do its work.
    waits_for: Option<String>,
    applied: Option<(Position, Instant)>,
    refused: u64,
    connected: bool,
}

impl Health {
    /// Not ready yet.
    pub fn new(waits_for: &str) -> Self {
        let waits_for = Some(waits_for.to_owned());
        Self(Mutex::new(Told { waits_for, applied: None, refused: 0, connected: false }))
    }

    /// Why it is not ready.
    pub fn wait_for(&self, what: String) {
        self.told().waits_for = Some(what);
    }

    /// Runs on a snapshot. It stays ready from now on, while it drains too: who failed the probe would lose its flows.
    pub fn applied(&self, position: Position) {
        let mut told = self.told();
        told.waits_for = None;
        told.applied = Some((position, Instant::now()));
    }

    /// Keeps what it has.
    pub fn refused(&self) {
        self.told().refused += 1;
    }

    /// Whether an operator that leads is connected.
    pub fn connected(&self, connected: bool) {
        self.told().connected = connected;
    }

    /// Whether it can do its work, or why not.
    pub fn ready(&self) -> Result<(), String> {
        self.told().waits_for.clone().map_or(Ok(()), Err)
    }

    pub fn is_ready(&self) -> bool {
        self.ready().is_ok()
    }

    /// In the text format of Prometheus.
    pub fn metrics(&self, text: &mut String) {
        let told = self.told();
        if let Some((position, at)) = told.applied {
            let mut gauge = |name: &str, help: &str, value| {
                write_metric(text, &format!("switchboard_snapshot_{name}"), "gauge", help, value);
            };
            gauge("term", "Term of the snapshot that is applied.", position.term);
            gauge("sequence", "Sequence of the snapshot that is applied, in its term.", position.sequence);
            gauge("age_seconds", "Time since it was applied.", at.elapsed().as_secs());
        }
        let help = "Snapshots that were refused.";
        write_metric(text, "switchboard_snapshots_refused_total", "counter", help, told.refused);
        let help = "Whether an operator that leads is connected.";
        write_metric(text, "switchboard_operator_connected", "gauge", help, told.connected.into());
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
