//! The wiring of each verb: the only place for `anyhow`, signals, exit codes and the set-up of tracing.
//!
//! Exit codes: 0 success, 1 the thing that was looked at is bad, 2 wrong use.

pub mod call;
pub mod check;
pub mod crds;
pub mod diagram;
pub mod edge;
pub mod explain;
pub mod firewall;
mod floor;
mod folder;
mod ladder;
pub mod local;
pub mod media;
pub mod operator;
pub mod plan;
mod pod;
mod prompts;
mod records;
mod revision;
mod roles;
mod secrets;
mod services;
mod sounds;
mod state;
pub mod test;
mod time;

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// Logs to standard error; `RUST_LOG` chooses what (default: `info`).
pub fn trace(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr).init();
}

/// Tells on standard error what went wrong, with its causes.
pub fn complain(error: &anyhow::Error) {
    say_to(&mut std::io::stderr(), &format!("switchboard: {error:#}"));
}

/// One line on standard output. A reader that is gone ends the process's interest in being read, not its work.
pub fn say(line: &str) {
    say_to(&mut std::io::stdout(), line);
}

/// One line on standard error.
pub fn warn(line: &str) {
    say_to(&mut std::io::stderr(), line);
}

fn say_to(writer: &mut dyn Write, line: &str) {
    let _ = writeln!(writer, "{line}");
    let _ = writer.flush();
}

/// A number that nobody can guess.
pub fn random() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// SIGTERM or Ctrl-C.
pub async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// SIGTERM and Ctrl-C, one after the other: one that comes while nobody waits is not lost.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on.
    pub fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What this machine calls itself.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "switchboard".to_owned() } else { name.to_owned() }
}
