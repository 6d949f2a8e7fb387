//! Programs beside the test: operators, edges, media servers and sipp, whose logs show when the test fails.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The program under test.
pub const SWITCHBOARD: &str = env!("CARGO_BIN_EXE_switchboard");

/// Nothing here is timed: whoever waits so long waits for something that does not come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Lines of a log that a failed test shows.
const SHOWN_LINES: usize = 60;

/// Below the system's own choice of ports, above those of the tests in `tests/calls`.
const PORTS: (u16, u16) = (15_000, 19_900);

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// It is killed when the test ends.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Both of its streams go to `NAME.log` in `folder`.
    pub fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        command.env("NO_COLOR", "1").env("TERM", "dumb").env_remove("RUST_LOG");
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot start: {error}"));
        Self { name: name.to_owned(), child: Mutex::new(child), log }
    }

    /// Runs `switchboard` with `arguments`.
    pub fn switchboard(folder: &Path, name: &str, arguments: &[&str]) -> Self {
        Self::start(folder, name, Command::new(SWITCHBOARD).args(arguments))
    }

    pub fn log(&self) -> String {
        fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        until(&format!("{} has ended", self.name), || self.ended().is_some());
        self.ended().unwrap()
    }

    /// Sends it a signal: `STOP`, `CONT`, `KILL`, `TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.lock().unwrap().id();
        // The shell's own `kill` is there where no program of that name is.
        let status = Command::new("sh").arg("-c").arg(format!("kill -{signal} {id}")).status();
        assert!(status.is_ok_and(|status| status.success()), "{} cannot be signalled", self.name);
    }

    /// Asks it to end, and waits.
    #[track_caller]
    pub fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Kibibytes that it has in memory, of Linux.
    pub fn resident_kib(&self) -> u64 {
        let id = self.child.lock().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- {} said\n{}", self.name, last.join("\n"));
        }
    }
}

/// Waits for something that must come about.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Watches something that must not come about for as long as `period`.
#[track_caller]
pub fn never(what: &str, period: Duration, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < period {
        assert!(!is_so(), "should not be: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The first of `count` ports in a row that are free at the loopback addresses 127.0.0.1 to .4, over UDP and TCP. Even.
pub fn free_ports(count: u16) -> u16 {
    let size = PORTS.1 - PORTS.0;
    // Another run on this machine begins elsewhere.
    let offset = u16::try_from(std::process::id() % u32::from(size / 2)).unwrap() * 2;
    let count = count.next_multiple_of(2);
    for _ in 0..size / count {
        let place = NEXT_PORT.fetch_add(count, Ordering::Relaxed);
        let first = PORTS.0 + (offset + place) % (size - count);
        let first = first.next_multiple_of(2);
        let free = |port: u16| {
            (1..=4).all(|host| {
                let address = SocketAddr::from(([127, 0, 0, host], port));
                UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
            })
        };
        if (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no {count} ports in a row are free");
}

/// A loopback address with a free port.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_ports(2)))
}

/// Status code and body of a document.
pub fn get(server: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok((code, body.to_owned()))
}
