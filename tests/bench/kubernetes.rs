//! From `kubectl apply` to live on every pod: a real API server, an operator, an edge and a media pod, as processes.
//!
//! For each size it makes that many PhoneNumbers, waits until all of them are Programmed, then changes one after the other
//! and measures from the request to the moment at which its status says Programmed=True for the new generation, which it
//! does once every pod has acknowledged it. Then the operator begins anew beside what is unchanged.
//!
//! `SIZES="100 1000"` chooses sizes; `CHANGES` how many changes. `SWITCHBOARD` names the binary.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may fail, and prints")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, Config,
    api::{
        ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

/// Where platform and tenant live.
const PLATFORM: &str = "platform";
const TENANT: &str = "acme";

/// Requests at once while objects are made.
const AT_ONCE: usize = 32;

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Killed when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Taken down when it goes.
struct Plane {
    kit: PathBuf,
    run: PathBuf,
}

impl Drop for Plane {
    fn drop(&mut self) {
        let mut down = Command::new(&self.kit);
        let _ = down.args(["control-plane", "down"]).env("KIT_RUN", &self.run).stdout(Stdio::null()).status();
    }
}

struct Bench {
    client: Client,
    binary: PathBuf,
    folder: PathBuf,
    kubeconfig: PathBuf,
    link: String,
    http: String,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sizes = std::env::var("SIZES").unwrap_or_else(|_| "100 1000 10000".into());
    let changes = std::env::var("CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    for size in sizes.split_whitespace() {
        runtime.block_on(measure(size.parse().unwrap(), changes));
    }
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn measure(size: usize, changes: usize) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::Builder::new().prefix("switchboard-bench.").tempdir().unwrap();
    let plane = Plane { kit: repository.join("tests/kubernetes/kit"), run: folder.path().join("run") };
    let kubeconfig = folder.path().join("kubeconfig");
    // Files, not pipes: what the kit leaves running holds its streams open.
    let up = Command::new(&plane.kit)
        .args(["control-plane", "up"])
        .env("KIT_RUN", &plane.run)
        .stdout(fs::File::create(&kubeconfig).unwrap())
        .stderr(fs::File::create(folder.path().join("kit.log")).unwrap())
        .status()
        .unwrap();
    assert!(up.success(), "{}", fs::read_to_string(folder.path().join("kit.log")).unwrap());
    let kubeconfig = PathBuf::from(fs::read_to_string(&kubeconfig).unwrap().lines().next().unwrap());
    let config = Kubeconfig::read_from(&kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let binary = std::env::var_os("SWITCHBOARD")
        .map_or_else(|| repository.join("target/release/switchboard"), PathBuf::from);
    let bench = Bench {
        client: Client::try_from(config).unwrap(),
        binary,
        folder: folder.path().to_owned(),
        kubeconfig,
        link: free(),
        http: free(),
    };
    bench.definitions().await;
    bench.platform(size).await;
    let operator = bench.operator("operator");
    let pods = bench.pods().await;
    let began = Instant::now();
    bench.numbers(size).await;
    let made = began.elapsed();
    bench.until_programmed(size).await;
    figure(size, "all_programmed", began.elapsed().as_secs_f64(), "s");
    eprintln!("   {size} numbers were made in {:.1} s", made.as_secs_f64());
    bench.changes(size, changes).await;
    figure(size, "operator_memory", memory(&operator), "MiB");
    let pod_memory: Vec<String> = pods.iter().map(|pod| format!("{:.0}", memory(pod))).collect();
    eprintln!("   edge and media have {} MiB", pod_memory.join(" and "));
    drop(operator);
    bench.restart(size).await;
}

fn figure(size: usize, name: &str, value: f64, unit: &str) {
    println!("kubernetes.{name}_{size} {value:.1} {unit} - - -");
}

/// Resident, in MiB.
fn memory(of: &Running) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", of.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// Making the definitions anew costs more than a request.
static RESOURCES: LazyLock<BTreeMap<&'static str, ApiResource>> = LazyLock::new(|| {
    let (group, version) = api::API_VERSION.split_once('/').unwrap();
    let resource = |kind: &api::Kind| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.name), &kind.plural)
    };
    api::kinds().iter().map(|kind| (kind.name, resource(kind))).collect()
});

fn resource(kind: &str) -> ApiResource {
    RESOURCES[kind].clone()
}

impl Bench {
    fn objects(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    async fn create(&self, kind: &str, namespace: &str, name: &str, spec: Value) {
        let mut object = DynamicObject::new(name, &resource(kind)).within(namespace);
        object.data = json!({"spec": spec});
        let created = self.objects(kind, namespace).create(&PostParams::default(), &object).await;
        created.unwrap_or_else(|error| panic!("{kind} {namespace}/{name}: {error}"));
    }

    async fn definitions(&self) {
        let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let definitions: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &ApiResource::from_gvk(&gvk));
        for kind in api::kinds() {
            let definition: DynamicObject = serde_json::from_value(kind.crd).unwrap();
            definitions.create(&PostParams::default(), &definition).await.unwrap();
        }
        for kind in api::kinds() {
            let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind.name));
            let began = Instant::now();
            while objects.list(&ListParams::default()).await.is_err() {
                assert!(began.elapsed() < PATIENCE, "{} is not served", kind.name);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in ["switchboard-system", PLATFORM, TENANT] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
    }

    /// All but the numbers.
    async fn platform(&self, size: usize) {
        let port = |address: String| address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        self.create("VoiceCluster", PLATFORM, "b1", json!({
            "code": "B1",
            "allowedNamespaces": [TENANT],
            "networks": [{"name": "internet", "bindAddress": "127.0.0.1"}],
            "listeners": [{"name": "udp", "transport": "UDP", "port": port(free()), "network": "internet"}],
            "media": {"ports": {"first": 24_000, "last": 24_999}},
        }))
        .await;
        self.create(
            "Allowlist",
            PLATFORM,
            "carrier",
            json!({
                "purpose": "Signalling of the carrier",
                "ranges": [{"cidr": "127.0.0.0/8"}],
            }),
        )
        .await;
        self.create(
            "Trunk",
            PLATFORM,
            "carrier",
            json!({
                "clusterRef": {"name": "b1"},
                "connection": "Internet",
                "delivers": "Pstn",
                "network": "internet",
                "direction": "Inbound",
                "allowlistRefs": [{"name": "carrier"}],
                "grants": [{
                    "namespace": TENANT,
                    "ranges": [{"first": number(0), "last": number(size.max(2) - 1)}],
                }],
            }),
        )
        .await;
        self.create(
            "Tenant",
            TENANT,
            "acme",
            json!({
                "clusterRef": {"namespace": PLATFORM, "name": "b1"},
                "country": "US",
                "timeZone": "America/New_York",
            }),
        )
        .await;
        for name in ["one", "two"] {
            let text = json!({"language": "en-US", "text": format!("This is flow {name}.")});
            self.create("Prompt", TENANT, name, json!({"text": text})).await;
            let steps = json!([{"name": "say", "play": {"prompt": name}}, {"name": "end", "hangup": {}}]);
            self.create("RoutingFlow", TENANT, name, json!({"onError": "end", "steps": steps})).await;
        }
    }

    async fn numbers(&self, size: usize) {
        stream::iter(0..size)
            .for_each_concurrent(AT_ONCE, |index| async move {
                let spec = json!({
                    "number": number(index),
                    "kind": "Local",
                    "origin": "Carrier",
                    "trunkRef": {"namespace": PLATFORM, "name": "carrier"},
                    "flowRef": {"name": "one"},
                });
                self.create("PhoneNumber", TENANT, &name(index), spec).await;
            })
            .await;
    }

    fn start(&self, log: &str, arguments: &[&str]) -> Running {
        let file = fs::File::create(self.folder.join(log)).unwrap();
        let mut command = Command::new(&self.binary);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Running(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.binary.display())))
    }

    fn operator(&self, identity: &str) -> Running {
        let kubeconfig = self.kubeconfig.to_str().unwrap();
        let (link, http) = (self.link.as_str(), self.http.as_str());
        self.start(
            identity,
            &[
                "operator",
                "--kubeconfig",
                kubeconfig,
                "--identity",
                identity,
                "--address",
                link,
                "--link",
                link,
                "--http",
                http,
                "--lease-seconds",
                "5",
                "--renew-deadline-seconds",
                "3",
                "--retry-seconds",
                "1",
            ],
        )
    }

    async fn pods(&self) -> Vec<Running> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), PLATFORM);
        let mut pods = Vec::new();
        for role in ["edge", "media"] {
            let began = Instant::now();
            let secret = loop {
                if let Some(secret) = secrets.get_opt(&format!("b1-{role}-link")).await.unwrap() {
                    break secret;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "no certificates for {role}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            let (certificates, state) =
                (self.folder.join(format!("{role}-certificates")), self.folder.join(format!("{role}-state")));
            fs::create_dir_all(&certificates).unwrap();
            fs::create_dir_all(&state).unwrap();
            for (file, value) in secret.data.unwrap() {
                fs::write(certificates.join(file), value.0).unwrap();
            }
            let (http, listen) = (free(), free());
            let mut arguments = vec![
                role,
                "--cluster",
                "platform/b1",
                "--operator",
                &self.link,
                "--name",
                role,
                "--http",
                &http,
                "--certificates",
                certificates.to_str().unwrap(),
                "--state",
                state.to_str().unwrap(),
            ];
            if role == "media" {
                arguments.extend(["--link", &listen, "--link-address", &listen]);
            }
            pods.push(self.start(&format!("{role}.log"), &arguments));
        }
        pods
    }

    /// Namespaces' numbers whose pods do not have them yet.
    async fn waiting(&self) -> (usize, usize) {
        let numbers = self.objects("PhoneNumber", TENANT);
        let mut parameters = ListParams::default().limit(1_000);
        let (mut there, mut waiting) = (0, 0);
        loop {
            let page = numbers.list(&parameters).await.unwrap();
            there += page.items.len();
            waiting += page.items.iter().filter(|object| !is_programmed(object)).count();
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return (there, waiting),
            }
        }
    }

    async fn until_programmed(&self, size: usize) {
        let began = Instant::now();
        loop {
            let (there, waiting) = self.waiting().await;
            if (there, waiting) == (size, 0) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{waiting} of {there} numbers are not Programmed");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn changes(&self, size: usize, changes: usize) {
        let numbers = self.objects("PhoneNumber", TENANT);
        let mut took = Vec::new();
        let before = self.metric("status_patches_total").await;
        let mut flows: BTreeSet<usize> = BTreeSet::new();
        for change in 0..changes {
            let index = change.wrapping_mul(7_919) % size;
            let flow = if flows.remove(&index) { "one" } else { "two" };
            if flow == "two" {
                flows.insert(index);
            }
            let name = name(index);
            let version = numbers.get(&name).await.unwrap().metadata.resource_version.unwrap();
            let one = WatchParams::default().fields(&format!("metadata.name={name}"));
            let mut events = numbers.watch(&one, &version).await.unwrap().boxed();
            let began = Instant::now();
            let patch = Patch::Merge(json!({"spec": {"flowRef": {"name": flow}}}));
            let patched = numbers.patch(&name, &PatchParams::default(), &patch).await.unwrap();
            let generation = patched.metadata.generation;
            while let Some(event) = events.try_next().await.unwrap() {
                if let WatchEvent::Modified(object) = event
                    && object.metadata.generation == generation
                    && is_programmed(&object)
                {
                    took.push(began.elapsed());
                    break;
                }
            }
        }
        let writes = self.metric("status_patches_total").await - before;
        took.sort();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
        figure(size, "change_p50", at(0.5), "ms");
        figure(size, "change_p99", at(0.99), "ms");
        figure(size, "writes_per_change", writes / changes as f64, "writes");
    }

    /// Begins anew beside an unchanged world, and tells what it wrote.
    async fn restart(&self, size: usize) {
        let began = Instant::now();
        let operator = self.operator("again");
        let leads = async {
            while self.metric("leads").await < 1.0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), leads).await.unwrap();
        figure(size, "restart_leads", began.elapsed().as_secs_f64(), "s");
        tokio::time::sleep(Duration::from_secs(25)).await;
        figure(size, "restart_writes", self.metric("status_patches_total").await, "writes");
        figure(size, "restart_memory", memory(&operator), "MiB");
    }

    /// 0 while the operator does not answer.
    async fn metric(&self, name: &str) -> f64 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let wanted = format!("switchboard_operator_{name} ");
        let ask = async {
            let mut stream = tokio::net::TcpStream::connect(&self.http).await?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            std::io::Result::Ok(text)
        };
        let text = ask.await.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

fn number(index: usize) -> String {
    format!("+1212{:07}", 2_000_000 + index)
}

fn name(index: usize) -> String {
    format!("n{index:06}")
}

fn is_programmed(object: &DynamicObject) -> bool {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "Programmed"
            && condition["status"] == "True"
            && condition["observedGeneration"].as_i64() == object.metadata.generation
    })
}
