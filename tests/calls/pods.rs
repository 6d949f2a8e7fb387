//! Edge and media as processes of their own, and an operator's end of the link in the test.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use link::{
    config::{Hub, PodId, PodName, Position, Publication, Report, State, Topology, TopologyPod, What},
    identity::{Identity, Party, Role},
    pki::{Authority, Subject},
    server::{Serving, serve_config},
    stored,
    tls::Tls,
};
use model::{ClusterId, snapshot::Snapshot};
use plan::SourceFile;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    audio::likeness,
    harness::{Process, SWITCHBOARD, Setup, System, get, metric, wait_until},
    phone::{CARRIER, Phone},
    sipp::{Run, Sipp, scenario},
};

const GREET: &str = "+18005550100";
const LONG: &str = "+18005550103";

/// What pods have said, in order.
type Reports = Arc<Mutex<Vec<Report>>>;

/// What an operator is to its pods.
struct Operator {
    runtime: Runtime,
    hub: Hub,
    reports: Reports,
    serving: Option<Serving>,
    tls: Tls,
    address: SocketAddr,
    sequence: u64,
}

fn cluster() -> ClusterId {
    ClusterId::new("platform", "c14")
}

impl Operator {
    /// Leads, and puts credentials for both roles below `folder`.
    fn start(address: SocketAddr, folder: &Path) -> Self {
        let authority = Authority::generate("test", SystemTime::now(), 2).unwrap();
        let issue = |party: &Party| authority.issue(&Subject::of(party), SystemTime::now(), 1).unwrap();
        for role in Role::ALL {
            let issued = issue(&Party::Pod(Identity::new(cluster(), role)));
            let folder = folder.join("certificates").join(role.as_str());
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in
                [("ca.crt", issued.ca), ("tls.crt", issued.certificate), ("tls.key", issued.key)]
            {
                fs::write(folder.join(name), text).unwrap();
            }
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (hub, mut told) = Hub::new();
        hub.lead(1);
        let reports = Reports::default();
        let (kept, of_hub) = (Arc::clone(&reports), hub.clone());
        runtime.spawn(async move {
            let mut alive: BTreeMap<PodId, State> = BTreeMap::new();
            while let Some(report) = told.recv().await {
                #[expect(clippy::wildcard_enum_match_arm, reason = "the rest changes nobody's life")]
                match &report.what {
                    What::State(state) => {
                        alive.insert(report.pod.clone(), state.clone());
                    }
                    // As the operator does: a pod whose stream breaks is alive until it has been silent for long. Else a
                    // pod that still hears an operator which goes would be told that the others are gone.
                    What::Left { goodbye: true } => {
                        alive.remove(&report.pod);
                    }
                    What::Joined { .. } => alive.retain(|pod, _| {
                        (pod.role, &pod.name) != (report.pod.role, &report.pod.name)
                            || pod.instance == report.pod.instance
                    }),
                    _ => {}
                }
                let pods = alive.iter().map(|(pod, state)| TopologyPod {
                    role: pod.role,
                    pod: PodName::new(&pod.name, &pod.instance),
                    state: state.clone(),
                });
                of_hub.set_topology(&cluster(), Topology { pods: pods.collect() });
                kept.lock().unwrap().push(report);
            }
        });
        let tls = Tls::new(&issue(&Party::Operator)).unwrap();
        let mut operator = Self { runtime, hub, reports, serving: None, tls, address, sequence: 0 };
        operator.come();
        operator
    }

    fn come(&mut self) {
        let listener = self.runtime.block_on(TcpListener::bind(self.address)).unwrap();
        let _within = self.runtime.enter();
        self.serving = Some(serve_config(listener, self.tls.clone(), self.hub.clone()).unwrap());
    }

    /// As if its process had died.
    fn go(&mut self) {
        self.serving = None;
    }

    /// Publishes what the manifests say, changed by `change`.
    fn publish(&mut self, system: &System, change: impl FnOnce(&mut Snapshot)) -> Position {
        let (resources, _) = plan::load(&files(&system.manifest("")));
        let plan = plan::plan(&resources, None, jiff::Timestamp::now());
        let planned = &plan.clusters[&cluster()];
        let mut snapshot = (*planned.snapshot).clone();
        change(&mut snapshot);
        self.sequence += 1;
        let position = Position { term: 1, sequence: self.sequence };
        let publication = Publication {
            position,
            sections: Arc::new(model::section::Sections::of(&snapshot).unwrap()),
            blobs: Arc::new(planned.blobs.clone()),
            edge_secrets: [(("acme/crm".parse().unwrap(), "token".to_owned()), b"hunter2".to_vec())]
                .into_iter()
                .collect(),
            ..Publication::default()
        };
        self.hub.publish(&cluster(), publication).unwrap();
        position
    }

    /// Waits until so many pods of a role have said something.
    fn wait_for(&self, what: &str, role: Role, count: usize, said: impl Fn(&What) -> bool) {
        wait_until(what, || {
            let reports = self.reports.lock().unwrap();
            let of = reports.iter().filter(|report| report.pod.role == role && said(&report.what));
            let pods: std::collections::BTreeSet<_> = of.map(|report| &report.pod).collect();
            pods.len() >= count
        });
    }

    fn wait_for_acknowledgement(&self, role: Role, wanted: Position, count: usize) {
        self.wait_for(
            &format!("{role} acknowledges {wanted}"),
            role,
            count,
            |what| matches!(what, What::Acknowledged { position, .. } if *position == wanted),
        );
    }
}

/// Every file below a folder.
fn files(root: &Path) -> Vec<SourceFile> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push(SourceFile { path: name, bytes: fs::read(&path).unwrap().into() });
            }
        }
    }
    let mut files = Vec::new();
    walk(root, root, &mut files);
    files
}

/// A pod of the system: its role and number, its process, and where it serves HTTP.
struct Pod {
    process: Process,
    http: SocketAddr,
    state: PathBuf,
}

impl Pod {
    /// The edge serves HTTP where the system does; media pods use two ports each.
    fn start(system: &System, operator: SocketAddr, role: Role, number: u16) -> Self {
        Self::start_with(system, operator, role, number, &[])
    }

    fn start_with(system: &System, operator: SocketAddr, role: Role, number: u16, more: &[&str]) -> Self {
        let local = |offset: u16| SocketAddr::from(([127, 0, 0, 1], system.block + offset));
        let name = format!("c14-{role}-{number}");
        let folder = system.dir.path();
        let http = if role == Role::Edge { system.http } else { local(5 + 2 * number) };
        let state = folder.join("state").join(&name);
        let mut command = Command::new(SWITCHBOARD);
        command.arg(role.as_str()).args(["--cluster", "platform/c14", "--name", &name]);
        command.arg("--operator").arg(operator.to_string());
        command.arg("--certificates").arg(folder.join("certificates").join(role.as_str()));
        command.arg("--state").arg(&state).arg("--http").arg(http.to_string()).args(more);
        if role == Role::Media {
            let link = local(6 + 2 * number).to_string();
            // One by flags, the other by its environment.
            command.arg("--link-address").arg(&link).env("SWITCHBOARD_LINK", &link);
        }
        Self { process: Process::start(&name, command), http, state }
    }

    fn wait_for_metric(&self, name: &str, value: u64) {
        wait_until(&format!("{name} is {value}"), || metric(self.http, name) == Some(value));
    }

    fn wait_until_not_ready(&self, because: &str) {
        wait_until(&format!("/readyz says `{because}`"), || {
            get(self.http, "/readyz").is_ok_and(|answer| answer.contains(because))
        });
    }

    fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log says `{text}`"), || self.process.errors().contains(text));
    }
}

/// Which prompts a new caller hears to the end.
fn heard<'a>(system: &System, names: &[&'a str]) -> Vec<&'a str> {
    let mut phone = Phone::new(system, CARRIER, GREET);
    phone.call("0 101");
    phone.wait_for_bye();
    let samples = phone.rtp.samples();
    names.iter().copied().filter(|name| likeness(&system.prompt(name), &samples) > 0.97).collect()
}

fn edit(system: &System, old: &str, new: &str) {
    let path = system.manifest("flows.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{old}");
    fs::write(path, text.replace(old, new)).unwrap();
}

fn assert_nothing_is_left(edge: &Pod, media: &[&Pod]) {
    edge.wait_for_metric("switchboard_calls", 0);
    for pod in media {
        for name in ["sessions", "legs", "ports", "events_dropped_total", "orders_dropped_total"] {
            pod.wait_for_metric(&format!("switchboard_media_{name}"), 0);
        }
    }
}

/// No file of a pod may hold what a Secret does.
fn assert_no_secret(folder: &Path) {
    for file in files(folder) {
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        assert!(!text.contains("hunter2"), "{}", file.path);
    }
}

#[test]
fn calls_go_through_pods_with_an_operator_and_without() {
    let system = System::without_process(&Setup::default());
    let mut operator = Operator::start(([127, 0, 0, 1], system.block + 3).into(), system.dir.path());
    let names = ["welcome", "one", "two", "bye"];
    let [edge, media] = [Role::Edge, Role::Media].map(|role| Pod::start(&system, operator.address, role, 0));
    // Nobody has told them anything yet: alive, and not ready.
    edge.wait_until_not_ready("the operator has sent none");
    assert_eq!(get(edge.http, "/livez").unwrap(), "ok\n");

    let first = operator.publish(&system, |_| {});
    for (role, pod) in [(Role::Edge, &edge), (Role::Media, &media)] {
        operator.wait_for_acknowledgement(role, first, 1);
        pod.process.wait_for_output("ready:");
        pod.wait_for_log("snapshot applied term=1 sequence=1 numbers=");
        pod.wait_for_metric("switchboard_snapshot_sequence", 1);
        pod.wait_for_metric("switchboard_operator_connected", 1);
        assert_eq!(get(pod.http, "/readyz").unwrap(), "ok\n");
    }
    edge.wait_for_metric("switchboard_media_pods", 1);
    assert_eq!(heard(&system, &names), ["welcome", "bye"]);
    let sipp =
        Sipp::start(&system, &Run { scenario: scenario!("hangs-up"), number: GREET, ..Run::default() });
    sipp.wait();

    // What is bound once and for all cannot change; what ran goes on.
    operator.publish(&system, |snapshot| snapshot.cluster.rtp_ports.1 -= 2);
    for (role, pod) in [(Role::Edge, &edge), (Role::Media, &media)] {
        operator.wait_for("a refusal", role, 1, |what| {
            matches!(what, What::Refused { path, message, .. } if path == "cluster.rtpPorts" && message.contains("restart"))
        });
        pod.wait_for_log("snapshot refused");
        pod.wait_for_metric("switchboard_snapshots_refused_total", 1);
    }
    assert_eq!(heard(&system, &names), ["welcome", "bye"]);

    edit(&system, "play: {prompt: welcome}\n  - name: bye", "play: {prompt: one}\n  - name: bye");
    let third = operator.publish(&system, |_| {});
    operator.wait_for_acknowledgement(Role::Edge, third, 1);
    operator.wait_for_acknowledgement(Role::Media, third, 1);
    assert_eq!(heard(&system, &names), ["one", "bye"]);

    operator.go();
    edge.wait_for_metric("switchboard_operator_connected", 0);
    assert_eq!(heard(&system, &names), ["one", "bye"]);
    assert_nothing_is_left(&edge, &[&media]);
    edge.process.end();
    media.process.end();

    // From their disks.
    let media = Pod::start(&system, operator.address, Role::Media, 0);
    let edge = Pod::start(&system, operator.address, Role::Edge, 0);
    for pod in [&edge, &media] {
        pod.process.wait_for_output("ready:");
        pod.wait_for_log("snapshot applied term=1 sequence=3");
        assert_eq!(get(pod.http, "/readyz").unwrap(), "ok\n");
        assert_no_secret(&pod.state);
    }
    edge.wait_for_metric("switchboard_media_pods", 1);
    assert_eq!(heard(&system, &names), ["one", "bye"]);

    operator.come();
    edge.wait_for_metric("switchboard_operator_connected", 1);
    media.wait_for_metric("switchboard_operator_connected", 1);
    edit(&system, "play: {prompt: one}\n  - name: bye", "play: {prompt: two}\n  - name: bye");
    let fourth = operator.publish(&system, |_| {});
    operator.wait_for_acknowledgement(Role::Edge, fourth, 1);
    operator.wait_for_acknowledgement(Role::Media, fourth, 1);
    assert_eq!(heard(&system, &names), ["two", "bye"]);
    assert_nothing_is_left(&edge, &[&media]);
    edge.process.end();
    media.process.end();
    for role in Role::ALL {
        operator
            .wait_for("it drains", role, 1, |what| matches!(what, What::State(State { draining: true, .. })));
        operator.wait_for("it says good-bye", role, 1, |what| matches!(what, What::Left { goodbye: true }));
    }
}

/// Names of the media pods that have a session now.
fn busy<'a>(pods: &[&'a Pod]) -> Vec<&'a SocketAddr> {
    let has_one = |pod: &&&Pod| metric(pod.http, "switchboard_media_sessions").is_some_and(|count| count > 0);
    pods.iter().filter(has_one).map(|pod| &pod.http).collect()
}

#[test]
fn two_media_pods_share_the_calls_and_one_goes_on_alone() {
    let system = System::without_process(&Setup::default());
    let mut operator = Operator::start(([127, 0, 0, 1], system.block + 3).into(), system.dir.path());
    let edge = Pod::start(&system, operator.address, Role::Edge, 0);
    let one = Pod::start(&system, operator.address, Role::Media, 0);
    let other = Pod::start(&system, operator.address, Role::Media, 1);
    let first = operator.publish(&system, |_| {});
    operator.wait_for_acknowledgement(Role::Media, first, 2);
    edge.process.wait_for_output("ready:");
    edge.wait_for_metric("switchboard_media_pods", 2);

    // Where a call goes is drawn; both are drawn sooner or later.
    let mut phones = Vec::new();
    wait_until("both have sessions", || {
        let mut phone = Phone::new(&system, CARRIER, LONG);
        phone.call("0 101");
        phones.push(phone);
        busy(&[&one, &other]).len() == 2
    });
    for mut phone in phones {
        phone.hang_up();
    }
    assert_nothing_is_left(&edge, &[&one, &other]);

    // One drains: new calls go to the other.
    one.process.end();
    operator
        .wait_for("it says good-bye", Role::Media, 1, |what| matches!(what, What::Left { goodbye: true }));
    edge.wait_for_metric("switchboard_media_pods", 1);
    for _ in 0..4 {
        assert_eq!(heard(&system, &["welcome", "bye"]), ["welcome", "bye"]);
    }
    assert_nothing_is_left(&edge, &[&other]);
    edge.process.end();
    other.process.end();
}

/// As the operator's Secrets are mounted.
fn store(system: &System, folder: &Path, position: Position) {
    let (resources, _) = plan::load(&files(&system.manifest("")));
    let plan = plan::plan(&resources, None, jiff::Timestamp::now());
    let sections = plan.clusters[&cluster()].sections().unwrap();
    for (place, part) in stored::pack(position, &sections, 2_000).unwrap().iter().enumerate() {
        let folder = folder.join(stored::part_name(&cluster(), place));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(stored::PART_KEY), part).unwrap();
    }
}

#[test]
fn a_pod_without_a_disk_starts_from_the_stored_copy_if_that_is_whole() {
    let system = System::without_process(&Setup::default());
    let mut operator = Operator::start(([127, 0, 0, 1], system.block + 3).into(), system.dir.path());
    operator.go();
    let copy = system.dir.path().join("stored");
    store(&system, &copy, Position { term: 3, sequence: 14 });
    let part = copy.join("c14-snapshot-01").join(stored::PART_KEY);
    let (path, whole) = (copy.display().to_string(), fs::read(&part).unwrap());
    fs::write(&part, &whole[..whole.len() - 1]).unwrap();
    let start = || Pod::start_with(&system, operator.address, Role::Edge, 0, &["--stored", &path]);

    let edge = start();
    edge.wait_for_log("cannot be used: its content is not what was written");
    edge.wait_until_not_ready("no snapshot yet: no operator answers at 127.0.0.1:");
    edge.process.terminate();

    fs::write(&part, &whole).unwrap();
    let edge = start();
    edge.process.wait_for_output("ready: edge of C14 on UDP 127.0.0.1:");
    edge.wait_for_log("snapshot applied term=3 sequence=14");
    edge.wait_for_metric("switchboard_snapshot_term", 3);
    edge.process.end();

    // What it has itself is newer by now than what the copy has.
    store(&system, &copy, Position { term: 3, sequence: 13 });
    let edge = start();
    edge.wait_for_log("snapshot applied term=3 sequence=13");
    edge.process.end();
}
