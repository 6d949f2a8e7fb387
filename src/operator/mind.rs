//! The core's thread: everything that is told goes in, one thing after the other, and what follows is carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use link::config::{Hub, Position, Report, What};
use model::{ClusterId, section::Sections};
use plan::ObjectId;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch as signal},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, error, info, warn};

use crate::{
    core::{Core, Output, Write, Written},
    election::{Leadership, State},
    http::Readiness,
    metrics::Metrics,
    status::{Shown, Transition},
    watch::{self, Change},
    webhook::Ask,
};

/// The field manager of statuses.
const STATUS_MANAGER: &str = "switchboard-status";

/// Changes that are taken in before anything is made of them.
const BATCH_MAX: usize = 4_096;

/// Statuses that are written at once.
const WRITES_MAX: usize = 16;

/// How often an event is told to a server that is in trouble, and how far apart.
const TELLS_MAX: usize = 3;
const TELL_PAUSE: Duration = Duration::from_secs(2);

/// No write takes longer.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Between two stored copies, unless an object turns bad.
const STORE: Duration = Duration::from_secs(30);

/// Between two looks at gauges.
const GAUGES: Duration = Duration::from_secs(5);

/// What shall outlive the process.
#[derive(Debug, Default)]
pub(crate) struct Want {
    /// All that there are.
    pub clusters: BTreeSet<ClusterId>,
    /// The last good forms.
    pub plan: Option<Vec<u8>>,
    /// What pods were told last.
    pub snapshots: Vec<(ClusterId, Position, Arc<Sections>)>,
}

type Done = (ObjectId, Box<str>, Written);

/// The thread.
pub(crate) struct Mind {
    pub core: Core,
    pub hub: Hub,
    pub client: Client,
    pub leadership: Leadership,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub identity: String,
    pub changes: mpsc::Receiver<Change>,
    pub more: mpsc::Sender<Change>,
    pub reports: mpsc::Receiver<Report>,
    pub asked: mpsc::Receiver<Ask>,
    pub states: signal::Receiver<State>,
    pub wants: mpsc::Sender<Want>,
    pub stopped: signal::Receiver<bool>,
}

/// What the thread keeps to itself.
struct Hands {
    resources: BTreeMap<&'static str, ApiResource>,
    secrets: BTreeMap<String, JoinHandle<()>>,
    recorder: Recorder,
    done: mpsc::Sender<Done>,
    writing: usize,
    /// Since when something is to be stored, and whether it may not wait.
    store: Option<(Duration, bool)>,
    stored: Duration,
    clusters: BTreeSet<ClusterId>,
    gauged: Duration,
}

impl Mind {
    /// Begins the thread. `synced` is told once all is known that planning needs; the future resolves when the thread ends.
    pub fn begin(self, synced: oneshot::Sender<()>) -> oneshot::Receiver<()> {
        let (ended, end) = oneshot::channel();
        let handle = tokio::runtime::Handle::current();
        let begun = thread::Builder::new().name("core".into()).spawn(move || {
            handle.block_on(self.run(synced));
            let _ = ended.send(());
        });
        if let Err(error) = begun {
            error!(%error, "the core's thread cannot begin");
        }
        end
    }

    async fn run(mut self, synced: oneshot::Sender<()>) {
        let mut synced = Some(synced);
        let (done, mut results) = mpsc::channel(2 * WRITES_MAX);
        let reporter =
            Reporter { controller: "switchboard.dev/operator".into(), instance: Some(self.identity.clone()) };
        let mut hands = Hands {
            resources: watch::kinds().into_iter().map(|kind| (kind.name, kind.resource)).collect(),
            secrets: BTreeMap::new(),
            recorder: Recorder::new(self.client.clone(), reporter),
            done,
            writing: 0,
            store: None,
            stored: Duration::ZERO,
            clusters: BTreeSet::new(),
            gauged: Duration::ZERO,
        };
        loop {
            let deadline = self.deadline(&hands);
            tokio::select! {
                change = self.changes.recv() => {
                    let Some(change) = change else { return };
                    self.take(change);
                }
                Some(report) = self.reports.recv() => self.hear(report),
                Some(ask) = self.asked.recv() => self.answer(ask),
                Some((id, uid, written)) = results.recv() => {
                    hands.writing = hands.writing.saturating_sub(1);
                    self.core.written(self.leadership.now(), &id, &uid, written);
                }
                moved = self.states.changed() => if moved.is_err() { return },
                _ = self.stopped.changed() => {
                    self.store(&mut hands, true).await;
                    return;
                }
                () = sleep_until(deadline) => {}
            }
            self.follow_lease();
            self.think();
            if self.core.ready().is_ok()
                && let Some(synced) = synced.take()
            {
                let _ = synced.send(());
            }
            self.act(&mut hands);
            self.store(&mut hands, false).await;
            self.gauge(&mut hands);
        }
    }

    fn deadline(&self, hands: &Hands) -> Instant {
        let now = self.leadership.now();
        let mut next = self.core.timeout(now).filter(|_| hands.writing < WRITES_MAX);
        if let Some((since, urgent)) = hands.store {
            let due = if urgent { since } else { hands.stored + STORE };
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        let next = next.map_or(now + GAUGES, |next| next.min(now + GAUGES));
        // A wish that cannot be carried out at once must not make this turn like a wheel.
        Instant::now() + next.saturating_sub(now).max(Duration::from_millis(1))
    }

    fn take(&mut self, change: Change) {
        let now = self.leadership.now();
        self.core.change(now, change);
        for _ in 0..BATCH_MAX {
            let Ok(change) = self.changes.try_recv() else { break };
            self.core.change(now, change);
        }
    }

    fn hear(&mut self, report: Report) {
        let (cluster, role, pod) = (report.pod.cluster.to_string(), report.pod.role, report.pod.name.clone());
        match &report.what {
            What::Joined { held, version } => {
                if let Some((position, _)) = held {
                    self.leadership.heard(position.term);
                }
                info!(cluster, %role, pod, version, held = held.as_ref().map(|(position, _)| position.to_string()), "pod joined");
            }
            What::Acknowledged { position, .. } => {
                debug!(cluster, %role, pod, %position, "snapshot acknowledged")
            }
            What::Refused { position, path, message } => {
                self.metrics.refusals.add(format!("cluster=\"{cluster}\",role=\"{role}\""));
                warn!(cluster, %role, pod, %position, path, message, "snapshot refused");
            }
            What::Left { goodbye } => info!(cluster, %role, pod, goodbye, "pod left"),
            What::Misbehaved(what) => {
                self.metrics.misbehaved.add();
                warn!(cluster, %role, pod, %what, "pod misbehaved; its stream is ended");
            }
            What::State(_) | _ => {}
        }
        self.core.report(self.leadership.now(), report);
    }

    fn answer(&mut self, ask: Ask) {
        let Ask { kind, key, spec, old, answer } = ask;
        let foresight = self.core.foresee(&kind, &key, Some(&spec), old.as_ref());
        let _ = answer.send(foresight);
    }

    fn follow_lease(&mut self) {
        let state = self.states.borrow_and_update().clone();
        match (state, self.leadership.term()) {
            (State::Leads { .. }, Some(term)) if self.core.leads() != Some(term) => {
                self.metrics.leads.set(1);
                self.metrics.term.set(term);
                info!(term, "this replica leads");
                self.hub.lead(term);
                self.core.lead(self.leadership.now(), term);
            }
            (State::Leads { .. }, Some(_)) => {}
            // By the clock, or by the lease: nothing goes out any more.
            (State::Leads { .. }, None) => self.fall_silent(None),
            (State::Follows { holder }, _) => self.fall_silent(holder),
        }
    }

    fn fall_silent(&mut self, holder: Option<String>) {
        self.hub.follow(holder);
        if self.core.leads().is_some() {
            warn!("this replica leads no more");
            self.metrics.leads.set(0);
            self.core.resign();
        }
    }

    fn think(&mut self) {
        let now = self.leadership.now();
        let began = std::time::Instant::now();
        if self.core.update(now, Timestamp::now()) {
            self.metrics.plan.observe(began.elapsed());
            self.metrics.objects.set(self.core.objects() as u64);
        }
        self.core.pass(now);
        if let Some(took) = self.core.took(now) {
            self.metrics.reconcile.observe(took);
        }
        let waits = self.core.ready().err();
        if let Some(reason) = &waits
            && self.readiness.set(waits.clone())
        {
            info!(reason, "not ready");
        } else if waits.is_none() && self.readiness.set(None) {
            info!(objects = self.core.objects(), "ready");
        }
    }

    fn act(&mut self, hands: &mut Hands) {
        let now = self.leadership.now();
        while let Some(output) = self.core.poll() {
            match output {
                Output::Publish(cluster, publication) => self.publish(&cluster, publication),
                Output::Retire(cluster) => self.hub.retire(&cluster),
                Output::Topology(cluster, topology) => self.hub.set_topology(&cluster, topology),
                Output::WatchSecrets(namespace) => {
                    let (client, out) = (self.client.clone(), self.more.clone());
                    let begin = || {
                        let secrets = watch::follow_secrets(client.clone(), namespace.clone(), out.clone());
                        let maps = watch::follow_config_maps(client, namespace.clone(), out);
                        tokio::spawn(async move {
                            tokio::join!(secrets, maps);
                        })
                    };
                    hands.secrets.entry(namespace.clone()).or_insert_with(begin);
                }
                Output::Store { now: urgent } => {
                    let (since, was) = hands.store.unwrap_or((now, false));
                    hands.store = Some((since, urgent || was));
                }
            }
        }
        while hands.writing < WRITES_MAX {
            let Some(write) = self.core.next_write(now, Timestamp::now()) else { break };
            hands.writing += 1;
            self.write(hands, write);
        }
        let (waiting, dropped) = self.core.backlog();
        self.metrics.patches_waiting.set(waiting as u64);
        self.metrics.patches_dropped.set(dropped);
    }

    fn publish(&self, cluster: &ClusterId, publication: link::config::Publication) {
        let position = publication.position;
        if self.leadership.term() != Some(position.term) {
            return;
        }
        let (digest, sections) = (publication.sections.digest(), publication.sections.iter().len());
        match self.hub.publish(cluster, publication) {
            Ok(()) => {
                self.metrics.published.add();
                info!(%cluster, term = position.term, sequence = position.sequence, %digest, sections, "published");
            }
            Err(error) => debug!(%error, "not published"),
        }
    }

    fn write(&self, hands: &Hands, write: Write) {
        let Some(resource) = hands.resources.get(write.id.kind) else { return };
        let objects: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), write.id.key.namespace(), resource);
        let (done, metrics, leadership) =
            (hands.done.clone(), Arc::clone(&self.metrics), self.leadership.clone());
        let (recorder, reference) = (hands.recorder.clone(), reference(&write, resource));
        tokio::spawn(async move {
            let Write { id, uid, body, transitions } = write;
            let written = if leadership.term().is_some() {
                metrics.patches.add();
                patch(&objects, &id, &body).await
            } else {
                Written::Failed(None)
            };
            let is_written = matches!(written, Written::Done(..));
            let _ = done.send((id, uid, written)).await;
            if is_written && leadership.term().is_some() {
                for transition in transitions {
                    tell(&recorder, &reference, transition).await;
                }
            }
        });
    }

    async fn store(&mut self, hands: &mut Hands, leaving: bool) {
        let now = self.leadership.now();
        if self.leadership.term().is_none() || self.core.ready().is_err() {
            return;
        }
        let clusters: BTreeSet<ClusterId> = self.core.clusters().cloned().collect();
        let due = hands.store.is_some_and(|(_, urgent)| urgent || leaving || now >= hands.stored + STORE);
        if !due && clusters == hands.clusters {
            return;
        }
        let permit = if leaving { self.wants.reserve().await.ok() } else { self.wants.try_reserve().ok() };
        let Some(permit) = permit else { return };
        let mut want = Want { clusters: clusters.clone(), plan: None, snapshots: Vec::new() };
        if due {
            match self.core.stored() {
                Ok(bytes) => want.plan = Some(bytes),
                Err(error) => error!(%error, "the last good forms cannot be stored"),
            }
            let snapshots = self.core.published();
            want.snapshots =
                snapshots.map(|(id, position, sections)| (id.clone(), position, sections)).collect();
            hands.store = None;
            hands.stored = now;
        }
        hands.clusters = clusters;
        permit.send(want);
    }

    fn gauge(&self, hands: &mut Hands) {
        let now = self.leadership.now();
        if now < hands.gauged + GAUGES {
            return;
        }
        hands.gauged = now;
        let ages = self.core.fleet().ages(now).map(|(pod, age)| {
            let labels = format!("cluster=\"{}\",role=\"{}\",pod=\"{}\"", pod.cluster, pod.role, pod.name);
            (labels, age.as_secs())
        });
        self.metrics.snapshot_age.replace(ages.collect());
        let wrong =
            self.core.wrong().into_iter().map(|(reason, count)| (format!("reason=\"{reason}\""), count));
        self.metrics.wrong.replace(wrong.collect());
        let forbidden = self.core.forbidden().map(|namespace| (format!("namespace=\"{namespace}\""), 1));
        self.metrics.secrets_forbidden.replace(forbidden.collect());
    }
}

async fn patch(objects: &Api<DynamicObject>, id: &ObjectId, body: &Value) -> Written {
    // Whoever else has written our conditions, they are ours.
    let parameters = PatchParams::apply(STATUS_MANAGER).force();
    let patch = Patch::Apply(body);
    let patched = objects.patch_status(id.key.name(), &parameters, &patch);
    match tokio::time::timeout(WRITE_PATIENCE, patched).await {
        Ok(Ok(mut object)) => {
            let version = object.metadata.resource_version.take().unwrap_or_default();
            let status = object.data.get("status").map(Shown::read).unwrap_or_default();
            Written::Done(version.into(), status)
        }
        Ok(Err(error)) => {
            let code = if let kube::Error::Api(status) = &error { Some(status.code) } else { None };
            match code {
                Some(404 | 409) => debug!(%id, %error, "status not written"),
                _ => warn!(%id, %error, "status not written"),
            }
            Written::Failed(code)
        }
        Err(_) => {
            warn!(%id, "status not written: no answer");
            Written::Failed(None)
        }
    }
}

fn reference(write: &Write, resource: &ApiResource) -> ObjectReference {
    ObjectReference {
        api_version: Some(resource.api_version.clone()),
        kind: Some(resource.kind.clone()),
        name: Some(write.id.key.name().to_owned()),
        namespace: Some(write.id.key.namespace().to_owned()),
        uid: Some(write.uid.to_string()),
        ..ObjectReference::default()
    }
}

async fn tell(recorder: &Recorder, reference: &ObjectReference, transition: Transition) {
    let event = Event {
        type_: if transition.warning { EventType::Warning } else { EventType::Normal },
        reason: transition.reason.as_str().to_owned(),
        note: Some(transition.message),
        action: transition.condition.as_str().to_owned(),
        secondary: None,
    };
    for attempt in 1..=TELLS_MAX {
        let Err(error) = recorder.publish(&event, reference).await else { return };
        if attempt == TELLS_MAX || matches!(&error, kube::Error::Api(status) if status.code < 429) {
            warn!(%error, "event not told");
            return;
        }
        sleep(TELL_PAUSE).await;
    }
}
