//! Redis servers of a test's own, on ports of their own: alone, behind a Sentinel, in a Cluster.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis::{ConnectionLike, FromRedisValue, Value};
use store::live::{Redis, RedisConfig};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// One process.
pub struct Server {
    folder: TempDir,
    pub port: u16,
    args: Vec<String>,
    child: Option<Child>,
    password: Option<String>,
}

impl Server {
    /// A new one, which runs.
    pub fn start(args: &[&str]) -> Self {
        let mut server = Self {
            folder: TempDir::new().unwrap(),
            port: 0,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            child: None,
            password: None,
        };
        server.port = free_port();
        // Somebody else may have taken it meanwhile.
        while !server.runs() {
            server.port = free_port();
        }
        server
    }

    pub fn with_password(password: &str) -> Self {
        let mut server = Self::start(&["--requirepass", password]);
        server.password = Some(password.into());
        server
    }

    /// A Sentinel that watches nobody yet.
    pub fn sentinel() -> Self {
        let mut server = Self::start(&["--sentinel", "--requirepass", GUARDED]);
        server.password = Some(GUARDED.into());
        server
    }

    /// Starts it again, on the port that it had.
    pub fn run(&mut self) {
        assert!(self.runs(), "{}", self.log());
    }

    fn runs(&mut self) -> bool {
        let _ = fs::remove_file(self.path("log"));
        let port = self.port.to_string();
        let set: Vec<String> = self.args.iter().map(|arg| arg.replace("PORT", &port)).collect();
        let is_sentinel = set.first().is_some_and(|arg| arg == "--sentinel");
        // One that speaks TLS alone has its port from elsewhere.
        let plain = if set.iter().any(|arg| arg == "--tls-port") { "0" } else { &port };
        let own = format!(
            "port {plain}\nbind 127.0.0.1\nlogfile {}\ndir {}\n{}",
            self.path("log").display(),
            self.folder.path().display(),
            if is_sentinel { "" } else { "save \"\"\n" },
        );
        fs::write(self.path("redis.conf"), own).unwrap();
        let child = Command::new("redis-server")
            .arg(self.path("redis.conf"))
            .args(&set)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        loop {
            let log = self.log();
            if log.contains("Ready to accept connections") || log.contains("Sentinel ID is") {
                return true;
            }
            if log.contains("bind: Address already in use") {
                self.kill();
                return false;
            }
            assert!(begun.elapsed() < PATIENCE, "{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It neither answers nor is gone.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn live(&self) -> Redis {
        redis(&self.url())
    }

    /// What an administrator would do.
    pub fn admin<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let login = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let value = connection.req_command(&command).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        if let Value::ServerError(error) = &value {
            panic!("{words:?}: {error}");
        }
        T::from_redis_value(value).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Password of every Sentinel here.
pub const GUARDED: &str = "guarded";

fn waits(url: &str, answer: Duration) -> Redis {
    let mut config = RedisConfig::from_url("c14", url).unwrap();
    config.answer = answer;
    config.sentinel_login.password = Some(GUARDED.into());
    Redis::new(config).unwrap()
}

/// Answers are awaited for long: a loaded machine is no failure.
pub fn redis(url: &str) -> Redis {
    waits(url, Duration::from_secs(5))
}

/// What a test has done is to be waited for shortly.
pub fn hasty(url: &str) -> Redis {
    waits(url, Duration::from_millis(300))
}

/// Until something holds, however long it takes.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come to hold");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Three servers that share the slots; the one that has those of `{c14}` is the last.
pub fn cluster() -> Vec<Server> {
    let bus = |_| free_port().to_string();
    let start = |port: String| {
        Server::start(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &port,
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-node-timeout",
            "2000",
        ])
    };
    let buses: Vec<String> = (0..3).map(bus).collect();
    let mut servers: Vec<Server> = buses.iter().cloned().map(start).collect();
    let slot: u16 = servers[0].admin(&["CLUSTER", "KEYSLOT", "{c14}"]);
    for (server, (from, to)) in servers.iter().zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)]) {
        let _: String = server.admin(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
    }
    for (server, bus) in servers.iter().zip(&buses).skip(1) {
        let _: String =
            servers[0].admin(&["CLUSTER", "MEET", "127.0.0.1", &server.port.to_string(), bus.as_str()]);
    }
    for server in &servers {
        wait_for("a Cluster", || {
            let info: String = server.admin(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        });
    }
    let owner = usize::from(slot / 5_461).min(2);
    servers.swap(owner, 2);
    servers
}
