//! What must hold after anything bad: ordinary calls pass, and the process has given back what the bad took.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use crate::{
    harness::{Process, System, wait_until},
    phone::CARRIER,
    streams::{Datagrams, Wire},
};

/// Ordinary calls after each attack.
pub const CALLS: usize = 100;

/// How much more memory may be resident than before, in kB.
///
/// A hundred calls leave their records and explanations (at most 1,024 of each are kept), the threads that answer `/metrics`
/// come to arenas of their own, what lies between pieces in use stays with the allocator, and the latest messages that nobody
/// could read have 4 MiB of their own: some MiB, and no more of it when an attack is repeated. One that leaked what it sent
/// would leave 20 to 100 MiB.
pub const SLACK_KB: u64 = 16 * 1024;

/// Octets that a ladder keeps at most, and what fills it.
const LADDER: usize = 64 << 20;
const BALLAST: usize = 60_000;

static ELSEWHERE: AtomicU16 = AtomicU16::new(20_000);

/// A number that plays its prompt until the caller hangs up.
const LONG: &str = "+18005550103";

impl System {
    /// Resident memory of the process, in kB.
    pub fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time of the process, user's and system's, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

/// sipp with its own scenario `uac`: so many calls, each answered and hung up, all of which must succeed.
pub fn ordinary_calls(system: &System, count: usize, per_second: usize) {
    let usual = Ordinary { count, per_second, ..Ordinary::of(system) };
    usual.start(system).wait_for_all();
}

/// sipp at work.
pub struct Calls(Process, usize);

impl Calls {
    pub fn wait_for_all(&self) {
        let status = self.0.wait();
        let (said, told) = (self.0.output(), self.0.errors());
        let said = &said[said.len().saturating_sub(2_000)..];
        assert!(status.success(), "not all of {} ordinary calls passed: {status}\n{said}\n{told}", self.1);
    }
}

/// Which calls.
#[derive(Debug)]
pub struct Ordinary<'a> {
    /// What runs sipp elsewhere.
    pub by: &'a [&'a str],
    pub from: &'a str,
    pub to: SocketAddr,
    pub number: &'a str,
    pub count: usize,
    pub per_second: usize,
}

impl Ordinary<'_> {
    pub fn of(system: &System) -> Self {
        let (count, per_second) = (CALLS, 100);
        Self { by: &[], from: "127.0.0.1", to: system.sip, number: LONG, count, per_second }
    }

    /// Begins them.
    pub fn start(&self, system: &System) -> Calls {
        let (port, media) = if self.by.is_empty() {
            // It takes the port two above as well, for video.
            let ports = (system.peer_port(), system.peer_port());
            system.peer_port();
            ports
        } else {
            // All ports of another place are free; those of the call before may still be about to close.
            let port = ELSEWHERE.fetch_add(6, Ordering::Relaxed);
            (port, port + 2)
        };
        let mut words = self.by.iter().copied().chain(["sipp"]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir(system.dir.path());
        command.args(["-sn", "uac", "-s", self.number, "-i", self.from, "-mi", self.from]);
        command.args(["-p", &port.to_string(), "-mp", &media.to_string(), "-nostdin"]);
        command.args(["-m", &self.count.to_string(), "-r", &self.per_second.to_string()]);
        command
            .args(["-l", &CALLS.to_string(), "-timeout", "60s", "-timeout_error"])
            .arg(self.to.to_string());
        Calls(Process::start("sipp -sn uac", command), self.count)
    }
}

/// Makes the process what it is after some time: tables allocated, the latest messages kept. Gives its memory in kB.
pub fn warmed_up(system: &System) -> u64 {
    warmed_up_by(system, CALLS)
}

/// The same after so many calls; after 1,024 no more of them are remembered.
pub fn warmed_up_by(system: &System, calls: usize) -> u64 {
    let carrier = Datagrams::new(CARRIER.into(), system.sip);
    let before = system.metric("switchboard_sip_received_total");
    let count = LADDER / BALLAST + 20;
    let local = carrier.local();
    for sent in 1..=count {
        let head = format!(
            "OPTIONS sip:ballast@{local} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKb{sent}\r\nMax-Forwards: 70\r\n\
             From: <sip:b@{local}>;tag=b\r\nTo: <sip:b@{local}>\r\nCall-ID: b{sent}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Type: text/plain\r\nContent-Length: {BALLAST}\r\n\r\n"
        );
        let mut message = head.into_bytes();
        message.resize(message.len() + BALLAST, b'x');
        carrier.send(&message);
        // Its socket's buffer holds some sixty; on a busy machine fewer, and one that is lost is sent again.
        if sent % 16 == 0 {
            let heard = || system.metric("switchboard_sip_received_total") >= before + sent as u64;
            wait_until("the ballast is heard", || {
                heard() || {
                    carrier.send(&message);
                    false
                }
            });
        }
    }
    ordinary_calls(system, calls, 200.min(calls));
    system.wait_for_metric("switchboard_calls", 0);
    settled(system)
}

/// Once 100 ordinary calls have passed and ended, not much more memory is resident than before. Gives it, in kB.
pub fn afterwards(system: &System, what: &str, before_kb: u64) -> u64 {
    ordinary_calls(system, CALLS, 100);
    system.wait_for_metric("switchboard_calls", 0);
    let mut after_kb = 0;
    // What ends by a time-out of the protocol is given back by then (64·T1 is 32 s).
    for _ in 0..45 {
        after_kb = settled(system);
        if after_kb <= before_kb + SLACK_KB {
            eprintln!("{what}: {before_kb} kB resident before, {after_kb} kB after");
            return after_kb;
        }
        thread::sleep(Duration::from_secs(1));
    }
    panic!("{what}: {before_kb} kB were resident before, {after_kb} kB are after");
}

fn settled(system: &System) -> u64 {
    thread::sleep(Duration::from_millis(200));
    system.resident_kb()
}
