//! versitygw, an S3 server that keeps objects in a folder; tests/run builds it.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use store::{Credentials, S3Config};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret of this test alone";

pub struct Gateway {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Gateway {
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        for bucket in ["clear", "sealed"] {
            fs::create_dir_all(folder.path().join("buckets").join(bucket)).unwrap();
        }
        fs::create_dir(folder.path().join("sidecar")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = program();
        let child = Command::new(&program)
            .args(["--port", &format!("127.0.0.1:{port}"), "--access", "test", "--secret", SECRET, "--quiet"])
            .args(["posix", "--sidecar"])
            .arg(folder.path().join("sidecar"))
            .arg(folder.path().join("buckets"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!(
                "{}: {error}; tests/run builds it (go install github.com/versity/versitygw)",
                program.display()
            )
        });
        let gateway = Self { child, port, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "versitygw does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    pub fn config(&self, bucket: &str, drafts: &Path) -> S3Config {
        S3Config {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: "us-east-1".into(),
            bucket: bucket.into(),
            prefix: "switchboard/c14".into(),
            credentials: Credentials { id: "test".into(), secret: SECRET.into() },
            ca: None,
            drafts: drafts.into(),
            waiting_max: 1 << 30,
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    target.join("tools/bin/versitygw")
}
