//! A PostgreSQL server of a test's own, on a port of its own, with TLS, run by who is not root.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use store::records::PostgresConfig;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a password of this test alone";

pub struct Server {
    folder: TempDir,
    port: u16,
    ca: String,
    child: Option<Child>,
}

impl Server {
    /// A new one, which runs.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ca = certificates(folder.path());
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let mut server = Self { folder, port, ca, child: None };
        for name in ["", "password", "server.crt", "server.key"] {
            server.give_away(name);
        }
        let made = server
            .command("initdb")
            .args(["--username=switchboard", "--auth=scram-sha-256", "--no-sync", "--no-instructions"])
            .arg("--encoding=UTF8")
            .arg("--locale=C")
            .arg(format!("--pwfile={}", server.path("password").display()))
            .arg("-D")
            .arg(server.path("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        server
    }

    /// Starts it again, on the port that it had.
    pub fn run(&mut self) {
        let set = |name: &str, value: String| format!("{name}={value}");
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.path("data"))
            .args(["-c", &set("port", self.port.to_string())])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "ssl=on"])
            .args(["-c", &set("unix_socket_directories", self.path("").display().to_string())])
            .args(["-c", &set("ssl_cert_file", self.path("server.crt").display().to_string())])
            .args(["-c", &set("ssl_key_file", self.path("server.key").display().to_string())])
            .stderr(fs::File::create(self.path("log")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while !self.says("accept connections") {
            assert!(begun.elapsed() < PATIENCE, "{}", fs::read_to_string(self.path("log")).unwrap());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as a power failure would, but for what the system still writes.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let told = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        child.wait().unwrap();
    }

    /// How it is reached.
    pub fn config(&self) -> PostgresConfig {
        PostgresConfig {
            host: "localhost".into(),
            port: self.port,
            database: "postgres".into(),
            user: "switchboard".into(),
            password: PASSWORD.into(),
            tls: true,
            ca: Some(self.ca.clone().into_bytes()),
        }
    }

    fn says(&self, text: &str) -> bool {
        fs::read_to_string(self.path("log")).unwrap().contains(text)
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.path().to_owned() } else { self.folder.path().join(name) }
    }

    /// It refuses to be run by root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = nobody() {
            command.uid(user).gid(group);
        }
        command
    }

    fn give_away(&self, name: &str) {
        if let Some((user, group)) = nobody() {
            chown(self.path(name), Some(user), Some(group)).unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who runs it, where root runs the test.
fn nobody() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ours = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap();
    let line = users.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    let nobody = (fields.next().unwrap(), fields.next().unwrap());
    (ours == 0).then_some(nobody)
}

/// Debian has it by version, and on nobody's path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no {name}; tests/run installs it (postgresql)"))
}

pub fn certificates(folder: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let own = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("server.crt"), own.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    ca
}
