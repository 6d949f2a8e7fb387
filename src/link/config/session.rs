//! The operator's end of one stream.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use model::{
    AudioId,
    section::{Digest, Sections},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::{
    AUDIO_MAX, Hub, Misbehaviour, NAME_MAX, PODS_MAX, PodId, PodName, Position, Publication, Report, State,
    TEXT_MAX, Topology, TopologyPod, What,
    hub::{Leading, Registration, Shared, Subscription, unavailable},
    parcel::{Base, Parcel},
};
use crate::{
    identity::{Identity, Role},
    wire::{self, FromPod, Hello, ToPod, from_pod, to_pod},
};

/// How long a pod may take for its hello.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// How long a pod may take for one message, and for its verdict.
const VERDICT_WAIT: Duration = Duration::from_secs(60);

/// How long the last word waits for room.
const LAST_WORD_WAIT: Duration = Duration::from_secs(1);

/// What a pod says.
pub type Said = Pin<Box<dyn Stream<Item = Result<FromPod, Status>> + Send>>;

/// What a pod is told.
pub type Told = mpsc::Sender<Result<ToPod, Status>>;

/// Why a stream ends.
enum End {
    /// By the pod's will, or with its connection.
    Left { goodbye: bool },
    /// By ours.
    Ours(Status),
    /// By its fault.
    Fault(Misbehaviour),
}

impl From<Misbehaviour> for End {
    fn from(fault: Misbehaviour) -> Self {
        Self::Fault(fault)
    }
}

fn status(fault: Misbehaviour) -> Status {
    match fault {
        Misbehaviour::NotItsCertificate => Status::permission_denied(fault.to_string()),
        Misbehaviour::NoHello | Misbehaviour::NotSent | Misbehaviour::Malformed(_) => {
            Status::invalid_argument(fault.to_string())
        }
    }
}

/// Serves one pod until its stream ends.
pub async fn run(hub: Arc<Shared>, identity: Identity, mut said: Said, told: Told) {
    let last_word = match timeout(HELLO_WAIT, said.next()).await {
        Err(_) => Some(Status::deadline_exceeded("no hello has come")),
        Ok(None | Some(Err(_))) => None,
        Ok(Some(Ok(FromPod { what: Some(from_pod::What::Hello(hello)) }))) => {
            greeted(&hub, &identity, hello, said, &told).await
        }
        Ok(Some(Ok(_))) => {
            let pod = PodName::new("", "").of(&identity);
            report(&hub, &pod, What::Misbehaved(Misbehaviour::NoHello)).await;
            Some(status(Misbehaviour::NoHello))
        }
    };
    if let Some(last_word) = last_word {
        // A pod that does not listen misses it.
        let _ = timeout(LAST_WORD_WAIT, told.send(Err(last_word))).await;
    }
}

async fn report(hub: &Shared, pod: &PodId, what: What) {
    // Without an operator there is nobody to tell.
    let _ = hub.reports.send(Report { pod: pod.clone(), what }).await;
}

/// Serves a pod that has said who it is. Gives the last word.
async fn greeted(
    hub: &Arc<Shared>,
    identity: &Identity,
    hello: Hello,
    said: Said,
    told: &Told,
) -> Option<Status> {
    let pod = PodName::new(cut(&hello.pod, NAME_MAX), cut(&hello.instance, NAME_MAX)).of(identity);
    let greeting = match Greeting::read(identity, hello) {
        Ok(greeting) => greeting,
        Err(fault) => {
            report(hub, &pod, What::Misbehaved(fault)).await;
            return Some(status(fault));
        }
    };
    let mut registration = hub.register(identity, &pod.name).await;
    let (held, version) = (greeting.held, greeting.version.clone());
    report(hub, &pod, What::Joined { held, version }).await;
    let mut session = Session::new(hub, &pod, greeting);
    let end = session.serve(said, told, &mut registration).await;
    let (last_word, goodbye) = match end {
        End::Left { goodbye } => (None, goodbye),
        End::Ours(status) => (Some(status), false),
        End::Fault(fault) => {
            report(hub, &pod, What::Misbehaved(fault)).await;
            (Some(status(fault)), false)
        }
    };
    report(hub, &pod, What::Left { goodbye }).await;
    drop(registration);
    last_word
}

/// A text within its bound.
fn cut(text: &str, octets_max: usize) -> &str {
    &text[..text.floor_char_boundary(octets_max)]
}

/// A hello that holds.
struct Greeting {
    held: Option<(Position, Digest)>,
    blobs: BTreeSet<AudioId>,
    version: String,
}

impl Greeting {
    fn read(identity: &Identity, hello: Hello) -> Result<Self, Misbehaviour> {
        if hello.cluster != identity.cluster.to_string() || hello.role != identity.role.as_str() {
            return Err(Misbehaviour::NotItsCertificate);
        }
        let named = |name: &str| (1..=NAME_MAX).contains(&name.len());
        if !named(&hello.pod) || !named(&hello.instance) {
            return Err(Misbehaviour::Malformed("a pod and its instance must have names of 1 to 256 octets"));
        }
        if hello.audio.len() > AUDIO_MAX {
            return Err(Misbehaviour::Malformed("a hello may name 8,192 prompts at most"));
        }
        let held = hello.held.map(|held| held.read().ok_or(Misbehaviour::Malformed("no hash is held")));
        let id = |id: &bytes::Bytes| <[u8; 32]>::try_from(id.as_ref()).map(AudioId);
        let blobs = hello.audio.iter().map(id).collect::<Result<_, _>>();
        Ok(Self {
            held: held.transpose()?,
            blobs: blobs.map_err(|_| Misbehaviour::Malformed("no id of audio"))?,
            version: cut(&hello.version, NAME_MAX).to_owned(),
        })
    }
}

/// What is on its way to the pod.
struct OnTheWay {
    publication: Publication,
    digest: Digest,
    /// None: all of it is handed over, and the pod has the word.
    parcel: Option<Parcel>,
    whole: bool,
    deadline: Instant,
}

struct Session<'a> {
    hub: &'a Shared,
    pod: &'a PodId,
    /// What the pod runs on, if this hub knows it.
    sections: Option<Arc<Sections>>,
    /// Prompts that it has.
    blobs: BTreeSet<AudioId>,
    /// Secrets that it has from this very stream.
    secrets: Option<Digest>,
    /// What it has given its verdict on, and with which secrets.
    done: Option<(Position, Digest)>,
    on_the_way: Option<OnTheWay>,
    topology: Option<Topology>,
}

impl<'a> Session<'a> {
    fn new(hub: &'a Shared, pod: &'a PodId, greeting: Greeting) -> Self {
        let sections = greeting.held.and_then(|(_, digest)| hub.published(&pod.cluster, digest));
        Self {
            hub,
            pod,
            sections,
            blobs: greeting.blobs,
            secrets: None,
            done: None,
            on_the_way: None,
            topology: None,
        }
    }

    async fn serve(&mut self, mut said: Said, told: &Told, registration: &mut Registration) -> End {
        let Subscription { mut publication, mut topology } = self.hub.subscribe(&self.pod.cluster);
        let mut leading = self.hub.leading.subscribe();
        let mut heard_at = Instant::now();
        // What is there already counts as a change.
        publication.mark_changed();
        topology.mark_changed();
        loop {
            if let Leading::No(holder) = &*leading.borrow_and_update() {
                return End::Ours(unavailable(holder.as_deref()));
            }
            if self.on_the_way.is_none() {
                let newest = publication.borrow_and_update().clone();
                self.start(newest);
            }
            let verdict_by = self.on_the_way.as_ref().map(|on| on.deadline);
            let silent_at = heard_at + Hub::SILENCE_MAX;
            let deadline = verdict_by.map_or(silent_at, |by| by.min(silent_at));
            let idle = self.on_the_way.is_none();
            let has_more = self.has_more();
            tokio::select! {
                () = registration.superseded() => {
                    return End::Ours(Status::aborted("another stream of this pod has come"));
                }
                _ = leading.changed() => {}
                changed = publication.changed(), if idle => if changed.is_err() { return retired() },
                changed = topology.changed() => {
                    if changed.is_err() { return retired() }
                    self.topology = Some(topology.borrow_and_update().clone());
                }
                permit = told.reserve(), if has_more => {
                    let Ok(permit) = permit else { return End::Left { goodbye: false } };
                    if let Some(message) = self.next_message() {
                        permit.send(Ok(message));
                    }
                }
                message = said.next() => {
                    let Some(Ok(message)) = message else { return End::Left { goodbye: false } };
                    heard_at = Instant::now();
                    if let Err(end) = self.hear(message).await {
                        return end;
                    }
                }
                () = sleep_until(deadline) => {
                    return End::Ours(Status::deadline_exceeded("the pod has said nothing for too long"));
                }
            }
        }
    }

    /// Sets a publication on its way, if it is news to the pod.
    fn start(&mut self, publication: Option<Publication>) {
        let Some(publication) = publication else { return };
        let secrets = publication.secrets(self.pod.role).digest();
        if self.done == Some((publication.position, secrets)) {
            return;
        }
        let base = Base {
            sections: self.sections.as_deref(),
            blobs: (self.pod.role == Role::Media).then_some(&self.blobs),
            secrets: (self.secrets != Some(secrets)).then(|| publication.secrets(self.pod.role)),
        };
        self.on_the_way = Some(OnTheWay {
            parcel: Some(Parcel::new(&publication, &base)),
            digest: publication.sections.digest(),
            whole: base.sections.is_none(),
            deadline: Instant::now() + VERDICT_WAIT,
            publication,
        });
    }

    fn has_more(&self) -> bool {
        self.topology.is_some() || self.on_the_way.as_ref().is_some_and(|on| on.parcel.is_some())
    }

    fn next_message(&mut self) -> Option<ToPod> {
        if let Some(topology) = self.topology.take() {
            return Some(ToPod { what: Some(to_pod::What::Topology(topology.into())) });
        }
        let on_the_way = self.on_the_way.as_mut()?;
        on_the_way.deadline = Instant::now() + VERDICT_WAIT;
        let message = on_the_way.parcel.as_mut()?.next()?;
        if matches!(message.what, Some(to_pod::What::Commit(_))) {
            on_the_way.parcel = None;
        }
        Some(message)
    }

    async fn hear(&mut self, message: FromPod) -> Result<(), End> {
        // What a later version says is not for this one.
        let Some(what) = message.what else { return Ok(()) };
        match what {
            from_pod::What::Hello(_) => return Err(Misbehaviour::NoHello.into()),
            from_pod::What::Acknowledged(held) => {
                let (position, digest) = held.read().ok_or(Misbehaviour::Malformed("no hash is held"))?;
                self.acknowledged(position, digest)?;
                report(self.hub, self.pod, What::Acknowledged { position, digest }).await;
            }
            from_pod::What::Refused(wire::Refused { position, path, message }) => {
                let position =
                    position.ok_or(Misbehaviour::Malformed("a refusal must have a position"))?.into();
                let on_the_way = self.on_the_way.take_if(|on| on.publication.position == position);
                let refused = on_the_way.ok_or(Misbehaviour::NotSent)?.publication;
                self.done = Some((position, refused.secrets(self.pod.role).digest()));
                let (path, message) = (cut(&path, TEXT_MAX).to_owned(), cut(&message, TEXT_MAX).to_owned());
                report(self.hub, self.pod, What::Refused { position, path, message }).await;
            }
            from_pod::What::State(state) => {
                let state = State::try_from(state)?;
                // The next comes soon: none may wait for room.
                let _ = self.hub.reports.try_send(Report { pod: self.pod.clone(), what: What::State(state) });
            }
            from_pod::What::Goodbye(_) => return Err(End::Left { goodbye: true }),
            from_pod::What::Whole(_) => {
                let on_the_way = self.on_the_way.take().filter(|on| !on.whole && on.parcel.is_none());
                let publication = on_the_way.ok_or(Misbehaviour::NotSent)?.publication;
                self.sections = None;
                self.blobs.clear();
                self.secrets = None;
                self.start(Some(publication));
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, position: Position, digest: Digest) -> Result<(), Misbehaviour> {
        let sent = |on: &mut OnTheWay| {
            on.parcel.is_none() && on.publication.position == position && on.digest == digest
        };
        let OnTheWay { publication, .. } = self.on_the_way.take_if(sent).ok_or(Misbehaviour::NotSent)?;
        let secrets = publication.secrets(self.pod.role).digest();
        self.secrets = Some(secrets);
        self.done = Some((position, secrets));
        if self.pod.role == Role::Media {
            self.blobs = publication.blobs.keys().copied().collect();
        }
        self.sections = Some(publication.sections);
        Ok(())
    }
}

fn retired() -> End {
    End::Ours(Status::not_found("the VoiceCluster is no more"))
}

impl TryFrom<wire::State> for State {
    type Error = Misbehaviour;

    fn try_from(state: wire::State) -> Result<Self, Misbehaviour> {
        let wire::State { ready, draining, calls, capacity, link, node, zone } = state;
        if zone.len() > NAME_MAX || link.len() > NAME_MAX || node.len() > NAME_MAX {
            return Err(Misbehaviour::Malformed("a name may have 256 octets at most"));
        }
        // An address in a form of later versions is none to this one.
        Ok(Self { ready, draining, calls, capacity, link: link.parse().ok(), node: node.parse().ok(), zone })
    }
}

impl From<State> for wire::State {
    fn from(state: State) -> Self {
        let State { ready, draining, calls, capacity, link, node, zone } = state;
        let (link, node) = (link.map(|link| link.to_string()), node.map(|node| node.to_string()));
        let (link, node) = (link.unwrap_or_default(), node.unwrap_or_default());
        Self { ready, draining, calls, capacity, link, node, zone }
    }
}

impl From<Topology> for wire::Topology {
    fn from(topology: Topology) -> Self {
        let pod = |TopologyPod { role, pod, state }: TopologyPod| wire::Pod {
            role: role.as_str().to_owned(),
            pod: pod.name,
            instance: pod.instance,
            state: Some(state.into()),
        };
        Self { pods: topology.pods.into_iter().take(PODS_MAX).map(pod).collect() }
    }
}

impl From<wire::Topology> for Topology {
    /// Pods that cannot be read, such as those of a role of later versions, are left out.
    fn from(topology: wire::Topology) -> Self {
        let pod = |pod: wire::Pod| {
            Some(TopologyPod {
                role: pod.role.parse().ok()?,
                pod: PodName::new(pod.pod, pod.instance),
                state: State::try_from(pod.state?).ok()?,
            })
        };
        Self { pods: topology.pods.into_iter().take(PODS_MAX).filter_map(pod).collect() }
    }
}
