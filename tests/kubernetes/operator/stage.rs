//! What a test plays on: operators, the address at which pods find whichever of them leads, pods, and what they report.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use futures::future::join_all;
use kube::{
    Api,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, TypeMeta,
    },
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    process::{self, PATIENCE, Process, free_address, until},
    proxy::Proxy,
    world::{SYSTEM, World, alone},
};

/// So that no test waits long for another leader.
const QUICK_LEASE: [&str; 6] =
    ["--lease-seconds", "5", "--renew-deadline-seconds", "3", "--retry-seconds", "1"];

/// What each object is said to be, by id (`Trunk acme/pbx`) and condition.
pub type Verdicts = BTreeMap<String, BTreeMap<String, String>>;

/// No other operator runs beside those of a stage; what it held is gone from the API server when the next one begins.
pub struct Stage {
    pub world: &'static World,
    pub folder: TempDir,
    /// Where pods reach the operators.
    pub service: Service,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub fn new() -> Self {
        let (turn, world) = alone();
        Self::on(turn, world)
    }

    /// In another world than that of most tests.
    pub fn on(turn: MutexGuard<'static, ()>, world: &'static World) -> Self {
        let folder = tempfile::Builder::new().prefix("switchboard-operator.").tempdir().unwrap();
        Self { world, folder, service: Service::start(world), _turn: turn }
    }

    /// A running operator, whose requests pass through a proxy of its own.
    pub fn operator(&self, identity: &str) -> Operator {
        self.operator_with(identity, &QUICK_LEASE)
    }

    pub fn operator_with(&self, identity: &str, more: &[&str]) -> Operator {
        let proxy = Proxy::start(self.world);
        let kubeconfig = self.folder.path().join(format!("{identity}.kubeconfig"));
        fs::write(&kubeconfig, self.world.operator_kubeconfig(&format!("http://{}", proxy.address))).unwrap();
        let (http, link) = (free_address(), free_address());
        let (http_text, link_text) = (http.to_string(), link.to_string());
        let mut arguments =
            vec!["operator", "--kubeconfig", kubeconfig.to_str().unwrap(), "--namespace", SYSTEM];
        arguments.extend([
            "--identity",
            identity,
            "--address",
            &link_text,
            "--link",
            &link_text,
            "--http",
            &http_text,
        ]);
        arguments.extend(more);
        let process = Process::switchboard(self.folder.path(), identity, &arguments);
        self.service.add(link);
        Operator { process, proxy, http, link, identity: identity.to_owned() }
    }

    /// With its webhook, which the API server asks.
    pub fn operator_with_webhook(&self, identity: &str) -> Operator {
        let address = free_address();
        let client = format!(
            r#"[{{"op":"replace","path":"/webhooks/0/clientConfig","value":{{"url":"https://{address}/validate"}}}}]"#
        );
        let patch = ["patch", "validatingwebhookconfiguration", "switchboard", "--type=json", "-p", &client];
        self.world.plane.kubectl(&patch).done();
        let address = address.to_string();
        let mut more = vec!["--webhook", &address, "--webhook-names", "127.0.0.1"];
        more.extend(QUICK_LEASE);
        let operator = self.operator_with(identity, &more);
        let get = [
            "get",
            "validatingwebhookconfiguration",
            "switchboard",
            "-o",
            "jsonpath={.webhooks[0].clientConfig.caBundle}",
        ];
        until("the operator has put its authority into the configuration", || {
            !self.world.plane.kubectl(&get).stdout.is_empty()
        });
        operator
    }

    /// An edge pod of a cluster, with what a pod of it would have mounted.
    pub fn edge(&self, cluster: (&str, &str), name: &str) -> Pod {
        self.pod(cluster, "edge", name, &[])
    }

    pub fn media(&self, cluster: (&str, &str), name: &str) -> Pod {
        let address = free_address().to_string();
        self.pod(cluster, "media", name, &["--link", &address, "--link-address", &address])
    }

    fn pod(&self, cluster: (&str, &str), role: &str, name: &str, more: &[&str]) -> Pod {
        let secret = format!("{}-{role}-link", cluster.1);
        self.pod_with(cluster, role, name, (cluster.0, &secret), more)
    }

    fn pod_with(
        &self,
        (namespace, cluster): (&str, &str),
        role: &str,
        name: &str,
        (of, secret): (&str, &str),
        more: &[&str],
    ) -> Pod {
        until(&format!("the operator has made the Secret {secret}"), || {
            self.world.plane.kubectl(&["get", "secret", secret, "-n", of]).succeeded
        });
        let certificates = self.folder.path().join(format!("{namespace}-{name}-certificates"));
        self.mount(of, secret, &certificates);
        let state = self.folder.path().join(format!("{namespace}-{name}-state"));
        fs::create_dir_all(&state).unwrap();
        let http = free_address();
        let (of, operator, http_text) =
            (format!("{namespace}/{cluster}"), self.service.address.to_string(), http.to_string());
        let mut arguments =
            vec![role, "--cluster", &of, "--operator", &operator, "--name", name, "--http", &http_text];
        arguments.extend([
            "--certificates",
            certificates.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
        ]);
        arguments.extend(more);
        Pod { process: Process::switchboard(self.folder.path(), name, &arguments), http }
    }

    /// Writes a Secret's values as files, as the kubelet does.
    pub fn mount(&self, namespace: &str, secret: &str, folder: &std::path::Path) {
        use std::io::Write;
        fs::create_dir_all(folder).unwrap();
        let values = self.world.plane.object(namespace, "secret", secret);
        for (name, value) in values["data"].as_object().unwrap() {
            let mut file = fs::File::create(folder.join(name)).unwrap();
            file.write_all(&decode_base64(value.as_str().unwrap())).unwrap();
        }
    }

    /// A condition of an object as it is: status and reason. None: it has none, or it speaks of what was before.
    pub fn condition(&self, kind: &str, namespace: &str, name: &str, of: &str) -> Option<(String, String)> {
        let found = self.world.plane.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"]);
        let found: Value = serde_json::from_str(&found.stdout).ok()?;
        let now = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        now.then(|| condition(&found, of)).flatten()
    }

    /// Waits until a condition is so: `True`, `False/FlowNotFound`.
    #[track_caller]
    pub fn await_condition(&self, kind: &str, namespace: &str, name: &str, of: &str, wanted: &str) {
        let mut last = None;
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            last = self.condition(kind, namespace, name, of);
            if last.as_ref().is_some_and(|(status, reason)| is_told(status, reason, wanted)) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{of} of {kind} {namespace}/{name} is {last:?}, not {wanted}");
    }

    /// Every object of ours with its status, as the API server has them.
    pub fn objects(&self) -> Vec<Value> {
        let lists = RESOURCES.iter().map(|(kind, resource)| {
            let objects: Api<DynamicObject> = Api::all_with(self.world.client.clone(), resource);
            async move {
                let list = objects.list(&ListParams::default()).await.unwrap();
                // A list's items do not say what they are.
                list.items.into_iter().map(move |mut item| {
                    item.types =
                        Some(TypeMeta { api_version: api::API_VERSION.into(), kind: (*kind).into() });
                    serde_json::to_value(item).unwrap()
                })
            }
        });
        self.world.run(join_all(lists)).into_iter().flatten().collect()
    }

    /// What every object is said to be: per condition `True/Accepted`, by kind, namespace and name.
    pub fn verdicts(&self) -> Verdicts {
        let verdict = |object: &Value| {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            let told = conditions.into_iter().flatten().map(|condition| {
                let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
                (text("type"), format!("{}/{}: {}", text("status"), text("reason"), text("message")))
            });
            let mut told: BTreeMap<String, String> = told.collect();
            let seen = &object["status"]["observedGeneration"];
            let late = if *seen == object["metadata"]["generation"] { "" } else { " and is behind" };
            told.insert("observed".into(), format!("{}{late}", !seen.is_null()));
            (id_of(object), told)
        };
        self.objects().iter().map(verdict).collect()
    }

    /// Waits until every object's status speaks of it as it is, and nothing more is on its way.
    #[track_caller]
    pub fn settle(&self, operator: &Operator) {
        self.await_verdicts("are settled", |told| {
            told["observed"] == "true" && !told.values().any(|told| told.starts_with("False/Pending"))
        });
        operator.await_quiet(Duration::from_millis(500));
    }

    /// Waits until every object's status speaks of it as it is, whatever pods have.
    #[track_caller]
    pub fn await_seen(&self, operator: &Operator) {
        self.await_verdicts("are there", |told| told["observed"] == "true");
        operator.await_quiet(Duration::from_millis(500));
    }

    #[track_caller]
    fn await_verdicts(&self, what: &str, good: impl Fn(&BTreeMap<String, String>) -> bool) {
        let mut late = Vec::new();
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            let verdicts = self.verdicts();
            late = verdicts.into_iter().filter(|(_, told)| !good(told)).collect();
            if late.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("not all statuses {what}: {late:#?}");
    }

    /// Applies an object of ours as an administrator, much faster than kubectl.
    pub fn apply(&self, object: &Value) -> Result<(), kube::Error> {
        let (objects, name) = self.place(object);
        let parameters = PatchParams::apply("test").force().validation_strict();
        self.world.run(objects.patch(&name, &parameters, &Patch::Apply(object))).map(|_| ())
    }

    pub fn delete(&self, object: &Value) -> Result<(), kube::Error> {
        let (objects, name) = self.place(object);
        self.world.run(objects.delete(&name, &DeleteParams::default())).map(|_| ())
    }

    fn place(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let namespace = text(&object["metadata"]["namespace"]);
        let kind = &RESOURCES[text(&object["kind"]).as_str()];
        (Api::namespaced_with(self.world.client.clone(), &namespace, kind), text(&object["metadata"]["name"]))
    }
}

/// By kind. Schemas are derived anew at each question, which takes a while.
static RESOURCES: LazyLock<BTreeMap<&'static str, ApiResource>> = LazyLock::new(|| {
    let resource = |kind: api::Kind| {
        let of = GroupVersionKind::gvk(api::GROUP, api::VERSION, kind.name);
        (kind.name, ApiResource::from_gvk_with_plural(&of, &kind.plural))
    };
    api::kinds().into_iter().map(resource).collect()
});

/// `Trunk acme/pbx`.
pub fn id_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let meta = &object["metadata"];
    format!("{} {}/{}", text(&object["kind"]), text(&meta["namespace"]), text(&meta["name"]))
}

/// A condition of an object as JSON: status and reason.
pub fn condition(object: &Value, of: &str) -> Option<(String, String)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == of)?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

fn is_told(status: &str, reason: &str, wanted: &str) -> bool {
    match wanted.split_once('/') {
        Some((truth, because)) => status == truth && reason == because,
        None => status == wanted,
    }
}

/// A running operator.
pub struct Operator {
    pub process: Process,
    pub proxy: Proxy,
    pub http: SocketAddr,
    pub link: SocketAddr,
    pub identity: String,
}

impl Operator {
    /// Its answer to `/readyz`.
    pub fn readiness(&self) -> Option<(u16, String)> {
        process::get(self.http, "/readyz").ok()
    }

    #[track_caller]
    pub fn await_ready(&self) {
        until(&format!("{} is ready", self.identity), || {
            assert!(self.process.ended().is_none(), "{} has ended", self.identity);
            self.readiness().is_some_and(|(code, _)| code == 200)
        });
    }

    /// By its own account.
    pub fn leads(&self) -> bool {
        self.metric("switchboard_operator_leads") == Some(1.0)
    }

    #[track_caller]
    pub fn await_leading(&self) {
        until(&format!("{} leads", self.identity), || self.leads());
    }

    /// Waits until it has not asked the API server for anything but the Lease, watches and what it reads for so long.
    #[track_caller]
    pub fn await_quiet(&self, period: Duration) {
        let mut last = self.proxy.writes().len();
        let mut since = std::time::Instant::now();
        let started = since;
        while since.elapsed() < period {
            assert!(
                started.elapsed() < PATIENCE,
                "{} never stops writing: {:?}",
                self.identity,
                self.proxy.writes().last()
            );
            thread::sleep(Duration::from_millis(50));
            let now = self.proxy.writes().len();
            if now != last {
                (last, since) = (now, std::time::Instant::now());
            }
        }
    }

    /// A metric's value; a name may have labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = process::get(self.http, "/metrics").ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

/// A running edge or media process.
pub struct Pod {
    pub process: Process,
    pub http: SocketAddr,
}

impl Pod {
    pub fn is_ready(&self) -> bool {
        process::get(self.http, "/readyz").is_ok_and(|(code, _)| code == 200)
    }

    #[track_caller]
    pub fn await_ready(&self) {
        until(&format!("{} is ready", self.process.name), || {
            assert!(self.process.ended().is_none(), "{} has ended", self.process.name);
            self.is_ready()
        });
    }
}

impl Pod {
    /// Term and sequence of each snapshot that it says to have applied, in that order.
    pub fn positions(&self) -> Vec<(u64, u64)> {
        let log = self.process.log();
        let applied = log.lines().filter(|line| line.contains("snapshot applied"));
        let figure = |line: &str, name: &str| -> u64 {
            let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        applied.map(|line| (figure(line, "term"), figure(line, "sequence"))).collect()
    }
}

/// One address for all operators, as a Service has one for its endpoints: a connection goes to the first that takes it.
pub struct Service {
    pub address: SocketAddr,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
    serving: JoinHandle<()>,
}

impl Service {
    fn start(world: &World) -> Self {
        let endpoints: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let all = Arc::clone(&endpoints);
        let (address, serving) = world.run(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = tokio::spawn(async move {
                while let Ok((mut inward, _)) = listener.accept().await {
                    let endpoints = {
                        let mut all = all.lock().unwrap();
                        // The next one begins elsewhere.
                        if !all.is_empty() {
                            all.rotate_left(1);
                        }
                        all.clone()
                    };
                    tokio::spawn(async move {
                        for endpoint in endpoints {
                            if let Ok(mut outward) = TcpStream::connect(endpoint).await {
                                let _ = copy_bidirectional(&mut inward, &mut outward).await;
                                return;
                            }
                        }
                    });
                }
            });
            (address, serving)
        });
        Self { address, endpoints, serving }
    }

    fn add(&self, endpoint: SocketAddr) {
        self.endpoints.lock().unwrap().push(endpoint);
    }

    /// Sends nobody there any more.
    pub fn remove(&self, endpoint: SocketAddr) {
        self.endpoints.lock().unwrap().retain(|other| *other != endpoint);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes().filter_map(|byte| ALPHABET.iter().position(|known| *known == byte)) {
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}
