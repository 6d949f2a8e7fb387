//! A system of the test's own: its ports, its manifests, its process, and the proof that nothing is left of its calls.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::audio;

/// The program under test.
pub const SWITCHBOARD: &str = env!("CARGO_BIN_EXE_switchboard");

/// Nothing here is timed: whoever waits so long waits for something that does not come.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// How many engines an edge has.
const ENGINES: &str = "SWITCHBOARD_EDGE_THREADS";

/// Systems at once, however many threads the test runner has.
const SYSTEMS_MAX: usize = 4;

/// Ports of one system: the first few are its own, then come its peers', then RTP.
const BLOCK: u16 = 400;
const PEERS: u16 = 10;
const RTP: u16 = 100;
/// Below the system's own choice of ports, apart from the quickstart's.
const BLOCKS: (u16, u16) = (21_200, 32_400);

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();
static NEXT_BLOCK: AtomicU16 = AtomicU16::new(0);

/// What differs from the manifests as they stand.
#[derive(Debug, Default)]
pub struct Setup {
    /// RTP port pairs; absent: 150.
    pub pairs: Option<u16>,
    /// Text of `manifests/flows.yaml` that is replaced.
    pub flows: &'static [(&'static str, &'static str)],
    /// Engines of its edge; absent: one, or as the whole run has it.
    pub engines: Option<u8>,
}

/// A running `switchboard local`.
#[derive(Debug)]
pub struct System {
    /// Where it is called, over UDP and TCP.
    pub sip: SocketAddr,
    /// Where its one desk phone listens.
    pub pbx: SocketAddr,
    /// Its manifests and prompts, and what its peers leave.
    pub dir: TempDir,
    /// First port of its block.
    pub block: u16,
    /// Where it, or its edge, serves HTTP.
    pub http: SocketAddr,
    next_port: AtomicU16,
    /// None: it is several processes, which are the test's business.
    process: Option<Process>,
    _slot: Slot,
}

#[derive(Debug)]
struct Slot;

impl Slot {
    fn take() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= SYSTEMS_MAX {
            taken = GIVEN_BACK.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        GIVEN_BACK.notify_one();
    }
}

/// Runs `test` with a system, then proves that nothing leaked and that it stops by itself.
pub fn with_system(setup: &Setup, test: impl FnOnce(&System)) {
    with_prepared(setup, |_| {}, test);
}

/// The same, with manifests that `prepare` changes before it starts.
pub fn with_prepared(setup: &Setup, prepare: impl FnOnce(&System), test: impl FnOnce(&System)) {
    let system = System::start(setup, prepare);
    test(&system);
    system.assert_nothing_is_left();
    system.stop();
}

impl System {
    /// Its process, for whoever ends it in a way of his own.
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub fn start(setup: &Setup, prepare: impl FnOnce(&Self)) -> Self {
        let mut system = Self::without_process(setup);
        prepare(&system);
        let mut command = Command::new(SWITCHBOARD);
        command.arg("local").arg(system.manifest("")).arg("--http").arg(system.http.to_string());
        // Who makes the folder wants something kept.
        let state = system.dir.path().join("state");
        if state.is_dir() {
            command.arg("--state").arg(state);
        }
        // Who writes it is trusted by our outbound TLS where nothing else is said.
        let authorities = system.dir.path().join("authorities.pem");
        if authorities.is_file() {
            command.env("SSL_CERT_FILE", authorities);
        }
        if let Some(engines) = setup.engines {
            command.env(ENGINES, engines.to_string());
        }
        let process = Process::start("switchboard", command);
        process.wait_for_output("ready:");
        system.process = Some(process);
        system
    }

    /// Manifests and ports, of which those from the sixth to the tenth are the test's.
    pub fn without_process(setup: &Setup) -> Self {
        let slot = Slot::take();
        let block = free_block();
        let dir = tempfile::tempdir().unwrap();
        write_manifests(dir.path(), block, setup);
        let local = |offset: u16| SocketAddr::from(([127, 0, 0, 1], block + offset));
        Self {
            sip: local(0),
            http: local(1),
            pbx: local(2),
            dir,
            block,
            next_port: AtomicU16::new(block + PEERS),
            process: None,
            _slot: slot,
        }
    }

    /// An even port for a peer; the one above it is free too.
    pub fn peer_port(&self) -> u16 {
        let port = self.next_port.fetch_add(2, Ordering::Relaxed);
        assert!(port < self.block + RTP, "too many ports for peers");
        port
    }

    /// A manifest's path.
    pub fn manifest(&self, name: &str) -> PathBuf {
        self.dir.path().join("manifests").join(name)
    }

    /// Changes a manifest's text.
    pub fn edit(&self, name: &str, old: &str, new: &str) {
        let path = self.manifest(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{old}");
        fs::write(path, text.replace(old, new)).unwrap();
    }

    /// A port of its own that is the test's to give away: `place` from 0 to 4.
    pub fn own_port(&self, place: u16) -> u16 {
        self.block + 5 + place
    }

    /// A prompt as it was written.
    pub fn prompt(&self, name: &str) -> Vec<i16> {
        audio::read_wav(&self.manifest(&format!("prompts/{name}.wav")))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map(Process::pid).unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::errors).unwrap_or_default()
    }

    /// Waits for a line of its log.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log says `{text}`"), || self.log().contains(text));
    }

    /// A document that it serves.
    pub fn get(&self, path: &str) -> String {
        get(self.http, path).unwrap()
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        metric(self.http, name).unwrap_or_else(|| panic!("no metric {name} in\n{}", self.get("/metrics")))
    }

    /// Waits until a metric has a value.
    pub fn wait_for_metric(&self, name: &str, value: u64) {
        wait_until(&format!("{name} is {value}"), || self.metric(name) == value);
    }

    /// The latest calls that are over, newest first.
    pub fn records(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.get("/api/v1/interactions?limit=1000")).unwrap()
    }

    /// Path through the flow of the latest call that is over, once `count` are.
    pub fn path_of_call(&self, count: usize) -> Vec<String> {
        wait_until(&format!("{count} calls are over"), || self.records().len() >= count);
        let path = self.records()[0]["path"].clone();
        serde_json::from_value(path).unwrap()
    }

    fn assert_nothing_is_left(&self) {
        for name in ["calls", "media_sessions", "media_legs", "media_ports"] {
            self.wait_for_metric(&format!("switchboard_{name}"), 0);
        }
        for name in ["media_events_dropped_total", "media_orders_dropped_total", "records_lost_total"] {
            assert_eq!(self.metric(&format!("switchboard_{name}")), 0, "{name}");
        }
    }

    fn stop(self) {
        self.process.iter().for_each(Process::end);
    }
}

fn write_manifests(dir: &Path, block: u16, setup: &Setup) {
    let folder = dir.join("manifests");
    fs::create_dir_all(folder.join("prompts")).unwrap();
    let pairs = setup.pairs.unwrap_or((BLOCK - RTP) / 2);
    let words = BTreeMap::from([
        ("$SIP", block),
        ("$PBX", block + 2),
        ("$GATEWAY", block + 4),
        ("$RTP_FIRST", block + RTP),
        ("$RTP_LAST", block + RTP + pairs * 2 - 1),
    ]);
    for (name, text) in [
        ("platform.yaml", include_str!("manifests/platform.yaml")),
        ("tenant.yaml", include_str!("manifests/tenant.yaml")),
        ("numbers.yaml", include_str!("manifests/numbers.yaml")),
        ("prompts.yaml", include_str!("manifests/prompts.yaml")),
        ("flows.yaml", include_str!("manifests/flows.yaml")),
    ] {
        let mut text =
            words.iter().fold(text.to_owned(), |text, (word, port)| text.replace(word, &port.to_string()));
        if name == "flows.yaml" {
            for (old, new) in setup.flows {
                assert!(text.contains(old), "{old}");
                text = text.replace(old, new);
            }
        }
        fs::write(folder.join(name), text).unwrap();
    }
    for (seed, (name, seconds)) in audio::PROMPTS.iter().enumerate() {
        audio::write_wav(&folder.join(format!("prompts/{name}.wav")), &audio::melody(seed as u64, *seconds));
    }
}

/// The first port of a block of which nobody has the ports that must be free.
fn free_block() -> u16 {
    let count = (BLOCKS.1 - BLOCKS.0) / BLOCK;
    // Another run on this machine begins elsewhere.
    let offset = u16::try_from(std::process::id() % u32::from(count)).unwrap();
    for _ in 0..count {
        let place = (offset + NEXT_BLOCK.fetch_add(1, Ordering::Relaxed)) % count;
        let block = BLOCKS.0 + place * BLOCK;
        let own = (block..block + PEERS).all(|port| {
            UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
        });
        let rest = (block + PEERS..block + BLOCK).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok());
        if own && rest {
            return block;
        }
    }
    panic!("no {BLOCK} ports in a row are free between {} and {}", BLOCKS.0, BLOCKS.1);
}

/// Waits for something that must come about.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn get(server: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

/// A document that is no text.
pub fn get_bytes(server: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    answer.split_off(end + 4)
}

/// The value of a metric of whatever listens there. None: it has no such metric, or nothing listens.
pub fn metric(server: SocketAddr, name: &str) -> Option<u64> {
    let text = get(server, "/metrics").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.parse().ok()
}

/// A program that runs beside the test and ends with it; what it prints is kept.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(name: &str, command: Command) -> Self {
        Self::start_with(name, command, Stdio::null())
    }

    /// One that has something to read, or waits for it.
    pub fn start_with(name: &str, mut command: Command, input: Stdio) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The same on every machine, unless the whole run or the test says otherwise.
        if std::env::var_os(ENGINES).is_none() && command.get_envs().all(|(name, _)| name != ENGINES) {
            command.env(ENGINES, "1");
        }
        let child = command.env("TERM", "dumb").env_remove("RUST_LOG").env("NO_COLOR", "1").spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{name} cannot start: {error}; `tests/run` installs what is needed")
        });
        let output = collect(child.stdout.take().unwrap());
        let errors = collect(child.stderr.take().unwrap());
        Self { name: name.into(), child: Mutex::new(child), output, errors }
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    pub fn wait_for_output(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.output().contains(text) {
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "{} never says `{text}`:\n{}\n{}",
                self.name,
                self.output(),
                self.errors()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has ended by itself.
    pub fn wait(&self) -> std::process::ExitStatus {
        let until = Instant::now() + PATIENCE * 2;
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "{} does not end:\n{}\n{}",
                self.name,
                self.output(),
                self.errors()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end, which it must do without a fault.
    pub fn end(&self) {
        let status = self.terminate();
        let log = self.errors();
        assert!(!log.contains("panicked"), "{log}");
        assert!(status.success(), "{status}\n{log}");
    }

    /// Sends it a signal.
    pub fn tell(&self, name: &str) {
        signal(self.child.lock().unwrap().id(), name);
    }

    /// Asks it to end, and waits.
    pub fn terminate(&self) -> std::process::ExitStatus {
        signal(self.child.lock().unwrap().id(), "TERM");
        self.wait()
    }

    pub fn interrupt(&self) -> std::process::ExitStatus {
        signal(self.child.lock().unwrap().id(), "INT");
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        if thread::panicking() {
            let errors = self.errors();
            let last: Vec<_> = errors.lines().rev().take(60).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            eprintln!("--- {} said\n{}\n{}", self.name, tail(&self.output()), last.join("\n"));
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn signal(process: u32, name: &str) {
    // The shell's own `kill` is there where no program of that name is.
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {process}")).status();
    assert!(status.is_ok_and(|status| status.success()));
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&text);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}

/// Runs the program to its end.
pub fn switchboard(arguments: &[&str]) -> Output {
    Command::new(SWITCHBOARD).args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG").output().unwrap()
}
