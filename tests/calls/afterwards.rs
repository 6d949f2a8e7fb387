//! What must hold after anything bad: ordinary calls pass, and the process has given back what the bad took.

use std::{fs, net::SocketAddr, process::Command, thread, time::Duration};

use crate::{
    harness::{Process, System, wait_until},
    phone::CARRIER,
    streams::{Datagrams, Wire},
};

/// Ordinary calls after each attack.
pub const CALLS: usize = 100;

/// How much more memory may be resident than before, in kB.
///
/// A hundred calls leave their records and explanations (at most 1,024 of each are kept) and some 2 kB each in the
/// allocator's bins; threads that served connections leave arenas. An attack that leaked what it sent would leave far more:
/// each of them is at least five times as large as this.
pub const SLACK_KB: u64 = 6 * 1024;

/// Octets that a ladder keeps at most, and what fills it.
const LADDER: usize = 64 << 20;
const BALLAST: usize = 60_000;

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
    start_calls(system, "127.0.0.1", system.sip, count, per_second).wait_for_all();
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

/// Begins such calls, from an address.
pub fn start_calls(system: &System, from: &str, to: SocketAddr, count: usize, per_second: usize) -> Calls {
    let (port, media) = (system.peer_port(), system.peer_port());
    // It takes the port two above as well, for video.
    system.peer_port();
    let mut command = Command::new("sipp");
    command.current_dir(system.dir.path()).args(["-sn", "uac", "-s", LONG, "-i", from, "-mi", from]);
    command.args(["-p", &port.to_string(), "-mp", &media.to_string(), "-nostdin"]);
    command.args(["-m", &count.to_string(), "-r", &per_second.to_string(), "-l", &CALLS.to_string()]);
    command.args(["-timeout", "60s", "-timeout_error"]).arg(to.to_string());
    Calls(Process::start("sipp -sn uac", command), count)
}

/// Makes the process what it is after some time: tables allocated, the latest messages kept. Gives its memory in kB.
pub fn warmed_up(system: &System) -> u64 {
    let carrier = Datagrams::new(CARRIER.into(), system.sip);
    let before = system.metric("switchboard_sip_received_total");
    let count = LADDER / BALLAST + 20;
    let mut ballast = b"OPTIONS sip:ballast SIP/2.0\r\nX: ".to_vec();
    ballast.resize(BALLAST, b'x');
    for sent in 1..=count {
        carrier.send(&ballast);
        // Its socket's buffer holds some sixty.
        if sent % 32 == 0 {
            wait_until("the ballast is heard", || {
                system.metric("switchboard_sip_received_total") >= before + sent as u64
            });
        }
    }
    ordinary_calls(system, CALLS, 100);
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
