//! etcd and kube-apiserver for many tests of this binary, and `kubectl` to speak with them.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Nothing here is timed: whoever waits so long waits for something that does not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes the control plane down when its standard input ends, which is when this process does, however that comes about.
const WATCH: &str = r#"trap "" INT TERM; cat > /dev/null; "$0" control-plane down; rm -rf -- "$1""#;

static SHARED: LazyLock<ControlPlane> = LazyLock::new(|| {
    let started = ControlPlane::start(&Settings::default());
    started.define();
    started
});

/// The control plane whose objects nobody acts on, with our definitions in it; the first who asks starts it.
pub fn control_plane() -> &'static ControlPlane {
    &SHARED
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a control plane has beside etcd and kube-apiserver.
#[derive(Debug, Default)]
pub struct Settings {
    /// kube-controller-manager: service accounts, garbage collection, aggregated roles.
    pub controllers: bool,
    /// Which requests are written down in `audit.log`; none: none.
    pub audit_policy: Option<&'static str>,
    /// More of kube-apiserver's flags.
    pub flags: &'static str,
}

#[derive(Debug)]
pub struct ControlPlane {
    kubectl: PathBuf,
    pub kubeconfig: PathBuf,
    pub folder: PathBuf,
    /// Holds its standard input open.
    _watch: Child,
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Its standard output, or else the test fails.
    #[track_caller]
    pub fn done(self) -> String {
        assert!(self.succeeded, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Its standard error, where it has failed as it should.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.succeeded, "should have been refused: {}", self.stdout);
        self.stderr
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            succeeded: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl ControlPlane {
    /// Its definitions are yet to come.
    pub fn start(settings: &Settings) -> Self {
        let kit = repository().join("tests/kubernetes/kit");
        let folder = tempfile::Builder::new().prefix("switchboard-kubernetes.").tempdir().unwrap().keep();
        let run = folder.join("run");
        let watch = Command::new("bash")
            .args(["-c", WATCH])
            .args([&kit, &folder])
            .env("KIT_RUN", &run)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let audit = settings.audit_policy.map(|policy| {
            let (file, log) = (folder.join("audit.yaml"), folder.join("audit.log"));
            std::fs::write(&file, policy).unwrap();
            format!("--audit-policy-file={} --audit-log-path={}", file.display(), log.display())
        });
        let kit = |command: &str| {
            let script = format!("{command}; status=$?; echo; exit $status");
            let mut bash = bounded("bash");
            bash.args(["-c", &script]).arg(&kit).env("KIT_RUN", &run);
            bash.env(
                "KIT_APISERVER_ARGS",
                format!("{} {}", audit.as_deref().unwrap_or_default(), settings.flags),
            );
            let output = bash.output().unwrap();
            let text = Outcome::from(output).done();
            PathBuf::from(text.lines().next().unwrap_or_default())
        };
        let controllers = if settings.controllers { " --controllers" } else { "" };
        let kubeconfig = kit(&format!(r#""$0" control-plane up{controllers}"#));
        let kubectl = kit(r#"eval "$("$0" env)"; type -P kubectl"#);
        Self { kubectl, kubeconfig, folder, _watch: watch }
    }

    /// Has the server serve our kinds.
    pub fn define(&self) {
        let crds = repository().join("crds");
        let crds = crds.to_str().unwrap();
        self.kubectl(&["apply", "--server-side", "--warnings-as-errors", "-f", crds]).done();
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).done();
        // Discovery and OpenAPI follow a moment later.
        let wanted = api::kinds().len();
        self.until("every kind is in the API's discovery", || {
            let path = format!("/apis/{}", api::API_VERSION);
            let found = self.kubectl(&["get", "--raw", &path]);
            found.stdout.matches("\"categories\"").count() == wanted
        });
        self.until("every kind is in the API's OpenAPI", || {
            let path = format!("/openapi/v3/apis/{}", api::API_VERSION);
            let found = self.kubectl(&["get", "--raw", &path]).stdout;
            api::kinds().iter().all(|kind| found.contains(&format!("\"kind\":\"{}\"", kind.name)))
        });
    }

    pub fn path_of_kubectl(&self) -> &Path {
        &self.kubectl
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments).stdin(Stdio::null()).output().unwrap().into()
    }

    /// With a manifest, for `-f -`.
    pub fn kubectl_with(&self, arguments: &[&str], manifest: &str) -> Outcome {
        let mut command = self.command(arguments);
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        // One that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(manifest.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bounded(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command.env("KUBECACHEDIR", self.folder.join("cache"));
        command
    }

    /// Makes namespaces that are not there yet.
    pub fn namespaces<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let manifest = |name| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        let manifests: String = names.into_iter().map(manifest).collect();
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], &manifests).done();
    }

    /// An object of ours as the server has it.
    #[track_caller]
    pub fn object(&self, namespace: &str, kind: &str, name: &str) -> Value {
        self.kubectl(&["get", "-n", namespace, kind, name, "-o", "json", "--show-managed-fields"]).json()
    }

    #[track_caller]
    pub fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let started = Instant::now();
        while !reached() {
            assert!(started.elapsed() < PATIENCE, "not reached: {what}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A command that ends by itself, whatever it waits for.
fn bounded(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg((2 * PATIENCE.as_secs()).to_string()).arg(program);
    command
}

/// Every schema below `schema`, itself included, with its path; an entry of a list has `[]`.
pub fn walk<'a>(schema: &'a Value, path: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    visit(path, schema);
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), visit);
    }
}
