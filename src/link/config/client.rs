//! What runs behind a [`Feed`](super::Feed): connects, hears, answers, and connects again.

use std::{pin::Pin, sync::Arc, time::Duration};

use model::snapshot::SCHEMA;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

use super::{
    AUDIO_MAX, Blobs, Hub, PodName, Position, dial,
    feed::{Base, GOODBYE_WAIT, Shared, refused},
    hub::{HOLDER, MESSAGES_MAX},
    parcel::{Assembly, Fault, Unpacked},
};
use crate::{
    backoff::Backoff,
    identity::Identity,
    lock,
    tls::Tls,
    wire::{self, FromPod, Goodbye, Hello, ToPod, Whole, from_pod, to_pod},
};

/// How long an attempt to connect may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long a stream must have been up for the next attempt to come soon.
const STEADY: Duration = Duration::from_secs(5);

/// How an operator is reached.
pub enum Way {
    Network(Tls),
    Twin(Hub),
}

/// What the operator tells.
pub type Heard = Pin<Box<dyn Stream<Item = Result<ToPod, Status>> + Send>>;

/// Runs behind a feed.
pub struct Client {
    pub shared: Arc<Shared>,
    pub way: Way,
    pub identity: Identity,
    pub operators: Vec<String>,
    pub pod: PodName,
    pub version: String,
    pub backoff: Backoff,
}

/// Why a stream has ended.
enum End {
    Goodbye,
    Broken(Option<Status>),
}

impl Client {
    /// Until the pod says goodbye.
    pub async fn run(mut self) {
        let (mut turn, mut holder) = (0_usize, None::<String>);
        loop {
            let redirected = holder.is_some();
            let address =
                holder.take().or_else(|| self.operators.get(turn % self.operators.len().max(1)).cloned());
            turn = turn.wrapping_add(usize::from(!redirected));
            let end = self.attempt(address.as_deref().unwrap_or_default()).await;
            lock(&self.shared.slots).connected = false;
            let status = match end {
                End::Broken(status) if !lock(&self.shared.slots).goodbye => status,
                End::Broken(_) | End::Goodbye => return,
            };
            tracing::debug!(?status, ?address, "no configuration stream");
            // Who follows knows who leads; a holder that sends on is not believed a second time.
            if !redirected {
                holder = status.as_ref().and_then(named_holder);
            }
            if holder.is_none() {
                let wait = self.backoff.next();
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.said_goodbye() => return,
                }
            }
        }
    }

    async fn said_goodbye(&self) {
        while !lock(&self.shared.slots).goodbye {
            self.shared.said.notified().await;
        }
    }

    async fn attempt(&mut self, address: &str) -> End {
        let (told, said) = mpsc::channel(MESSAGES_MAX);
        let said = ReceiverStream::new(said);
        // The hello goes ahead: an operator may answer nothing before it has come.
        if told.send(self.hello()).await.is_err() {
            return End::Broken(None);
        }
        let open = async {
            match &self.way {
                Way::Network(tls) => dial::watch(tls, address, said).await,
                Way::Twin(hub) => {
                    hub.open(self.identity.clone(), said.map(Ok)).map(|heard| Box::pin(heard) as Heard)
                }
            }
        };
        match timeout(CONNECT_WAIT, open).await {
            Err(_) => End::Broken(Some(Status::deadline_exceeded("the operator does not answer"))),
            Ok(Err(status)) => End::Broken(Some(status)),
            Ok(Ok(heard)) => {
                let since = Instant::now();
                let end = self.serve(&told, heard).await.unwrap_or(End::Broken(None));
                // One that breaks as soon as it is up is no better than none.
                if since.elapsed() >= STEADY {
                    self.backoff.reset();
                }
                end
            }
        }
    }

    fn hello(&self) -> FromPod {
        let base = lock(&self.shared.slots).base.clone();
        let audio = base.iter().flat_map(|base| base.blobs.keys()).take(AUDIO_MAX);
        FromPod {
            what: Some(from_pod::What::Hello(Hello {
                schema: SCHEMA,
                cluster: self.identity.cluster.to_string(),
                role: self.identity.role.as_str().to_owned(),
                pod: self.pod.name.clone(),
                instance: self.pod.instance.clone(),
                audio: audio.map(|id| bytes::Bytes::copy_from_slice(&id.0)).collect(),
                held: base.map(|base| wire::Held::new(base.position, base.digest)),
                version: self.version.clone(),
            })),
        }
    }

    /// None: the operator takes no more.
    async fn serve(&mut self, told: &mpsc::Sender<FromPod>, mut heard: Heard) -> Option<End> {
        let mut stream = OfStream::default();
        // A verdict about what another stream brought is in the hello.
        lock(&self.shared.slots).verdict = None;
        let mut heartbeat = interval(Hub::HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_state = None;
        loop {
            let mut answers = Vec::new();
            tokio::select! {
                message = heard.next() => match message {
                    None => return Some(End::Broken(None)),
                    Some(Err(status)) => return Some(End::Broken(Some(status))),
                    Some(Ok(message)) => answers.extend(self.hear(&mut stream, message)),
                },
                () = self.shared.said.notified() => {}
                _ = heartbeat.tick() => last_state = None,
            }
            let goodbye = {
                let mut slots = lock(&self.shared.slots);
                slots.connected = true;
                // An answer to what another stream brought says nothing to this one.
                let of_this = |what: &mut from_pod::What| {
                    stream.on_the_way.is_some_and(|at| verdict_on(what) == Some(at))
                };
                if let Some(verdict) = slots.verdict.take_if(of_this) {
                    stream.on_the_way = None;
                    answers.push(verdict);
                }
                let state = slots.state.clone().unwrap_or_default();
                if last_state.as_ref() != Some(&state) {
                    answers.push(from_pod::What::State(state.clone().into()));
                    last_state = Some(state);
                }
                slots.goodbye
            };
            for what in answers {
                told.send(FromPod { what: Some(what) }).await.ok()?;
            }
            if goodbye {
                told.send(FromPod { what: Some(from_pod::What::Goodbye(Goodbye {})) }).await.ok()?;
                // Until it has gone out: whoever takes it ends the stream.
                let _ = timeout(GOODBYE_WAIT, async { while let Some(Ok(_)) = heard.next().await {} }).await;
                return Some(End::Goodbye);
            }
        }
    }

    /// Gives what is to be said at once.
    fn hear(&self, stream: &mut OfStream, message: ToPod) -> Option<from_pod::What> {
        // What a later version says is not for this one.
        match message.what? {
            to_pod::What::Begin(begin) => {
                stream.assembly = None;
                let position = begin.position.unwrap_or_default().into();
                match self.begun(&begin, position) {
                    Ok(assembly) => stream.assembly = Some(assembly),
                    Err((path, message)) => return Some(refused(position, path.to_owned(), message)),
                }
            }
            to_pod::What::Pieces(pieces) => {
                for piece in pieces.pieces {
                    let assembly = stream.assembly.as_mut()?;
                    if let Err(fault) = assembly.take(piece) {
                        let position = assembly.position();
                        stream.assembly = None;
                        return Some(answer(fault, position, false));
                    }
                }
            }
            to_pod::What::Commit(_) => return self.committed(stream),
            to_pod::What::Topology(topology) => {
                lock(&self.shared.slots).topology = Some(topology.into());
                self.shared.offered.notify_one();
            }
        }
        None
    }

    fn begun(&self, begin: &wire::Begin, position: Position) -> Result<Assembly, (&'static str, String)> {
        if begin.schema != SCHEMA {
            return Err(("schema", format!("schema must be {SCHEMA}, not {}", begin.schema)));
        }
        if let Some(base) = &lock(&self.shared.slots).base {
            let other = || wire::read_digest(&begin.target) != Some(base.digest);
            if position < base.position || position == base.position && other() {
                let message = format!("position must be above {}, not {position}", base.position);
                return Err(("position", message));
            }
        }
        Assembly::new(begin).map_err(|fault| match fault {
            Fault::Base => ("wire", "no base".to_owned()),
            Fault::Refused(path, message) => (path, message),
        })
    }

    fn committed(&self, stream: &mut OfStream) -> Option<from_pod::What> {
        let assembly = stream.assembly.take()?;
        let (position, whole) = (assembly.position(), assembly.is_whole());
        let mut slots = lock(&self.shared.slots);
        let (nothing, no_blobs) = (Arc::default(), Blobs::default());
        let (sections, blobs) = match &slots.base {
            Some(base) => (&base.sections, &base.blobs),
            None => (&nothing, &no_blobs),
        };
        let Unpacked { digest, sections, blobs, secrets } = match assembly.finish(sections, blobs) {
            Ok(unpacked) => unpacked,
            Err(fault) => return Some(answer(fault, position, whole)),
        };
        let secrets = secrets.or_else(|| slots.base.as_ref()?.secrets.clone()).unwrap_or_default();
        let new = Base { position, digest, sections, blobs, secrets: Some(secrets) };
        // A stream that was broken between an acknowledgement and its arrival brings the same again.
        if slots.base.as_ref().is_some_and(|base| base.same_as(&new)) {
            return Some(from_pod::What::Acknowledged(wire::Held::new(position, digest)));
        }
        stream.on_the_way = Some(position);
        slots.verdict = None;
        slots.waiting = Some(new);
        drop(slots);
        self.shared.offered.notify_one();
        None
    }
}

fn answer(fault: Fault, position: Position, whole: bool) -> from_pod::What {
    match fault {
        Fault::Base if !whole => from_pod::What::Whole(Whole {}),
        Fault::Base => {
            refused(position, "sections".to_owned(), "the hash of the sections is wrong".to_owned())
        }
        Fault::Refused(path, message) => refused(position, path.to_owned(), message),
    }
}

fn verdict_on(what: &from_pod::What) -> Option<Position> {
    let (from_pod::What::Acknowledged(wire::Held { position, .. })
    | from_pod::What::Refused(wire::Refused { position, .. })) = what
    else {
        return None;
    };
    position.map(Into::into)
}

fn named_holder(status: &Status) -> Option<String> {
    let holder = status.metadata().get(HOLDER)?.to_str().ok()?;
    (holder.len() <= super::NAME_MAX).then(|| holder.to_owned())
}

/// What belongs to one stream.
#[derive(Default)]
struct OfStream {
    assembly: Option<Assembly>,
    /// Offered to the pod and not answered.
    on_the_way: Option<Position>,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use model::section::{Part, Section, SectionName, Sections};

    use super::*;
    use crate::{
        config::{Offer, Publication, feed::Slots, parcel},
        identity::Role,
        wire::{Begin, Commit, Piece, Pieces, piece::Of},
    };

    fn sections(content: &str) -> Arc<Sections> {
        let mut sections = Sections::default();
        sections
            .insert(SectionName::of(Part::Flows, "acme"), Section::from_bytes(content.as_bytes().to_vec()));
        Arc::new(sections)
    }

    const fn at(term: u64, sequence: u64) -> Position {
        Position { term, sequence }
    }

    /// A client that runs on `content` at 2.5, without a stream.
    fn client(content: &str) -> Client {
        let sections = sections(content);
        let base = Base {
            position: at(2, 5),
            digest: sections.digest(),
            sections,
            blobs: Blobs::default(),
            secrets: None,
        };
        let slots = Slots { base: Some(base), ..Slots::default() };
        Client {
            shared: Arc::new(Shared { slots: Mutex::new(slots), ..Shared::default() }),
            way: Way::Twin(Hub::new().0),
            identity: "voice/c14"
                .parse()
                .map(|key| Identity::new(model::ClusterId(key), Role::Edge))
                .unwrap(),
            operators: Vec::new(),
            pod: PodName::new("edge-0", "1"),
            version: String::new(),
            backoff: Backoff::new(1),
        }
    }

    /// What it says at once to an operator that says all this.
    fn answer_to(client: &Client, messages: impl IntoIterator<Item = to_pod::What>) -> Vec<from_pod::What> {
        let mut stream = OfStream::default();
        let hear = |what| client.hear(&mut stream, ToPod { what: Some(what) });
        messages.into_iter().filter_map(hear).collect()
    }

    fn messages(position: Position, from: Option<&Sections>, to: &Arc<Sections>) -> Vec<to_pod::What> {
        let publication = Publication { position, sections: Arc::clone(to), ..Publication::default() };
        let base = parcel::Base { sections: from, blobs: None, secrets: None };
        let mut parcel = parcel::Parcel::new(&publication, &base);
        std::iter::from_fn(|| parcel.next()).map(|message| message.what.unwrap()).collect()
    }

    fn path(answers: &[from_pod::What]) -> &str {
        match answers {
            [from_pod::What::Refused(refused)] => &refused.path,
            [from_pod::What::Whole(_)] => "the whole, please",
            [from_pod::What::Acknowledged(_)] => "acknowledged",
            [] => "",
            _ => "more than one answer",
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_path() {
        let (old, new) = (sections("old"), sections("new"));
        let with = |change: fn(&mut Begin)| {
            let mut messages = messages(at(2, 6), Some(&old), &new);
            if let to_pod::What::Begin(begin) = &mut messages[0] {
                change(begin);
            }
            messages
        };
        let without_pieces = |mut messages: Vec<to_pod::What>| {
            messages.remove(1);
            messages
        };
        let piece = |of, more| {
            let piece = Piece { of, content: Default::default(), more, removed: false };
            let mut messages = messages(at(2, 6), Some(&old), &new);
            messages.insert(1, to_pod::What::Pieces(Pieces { pieces: vec![piece] }));
            messages
        };
        let named = |name: &str| Some(Of::Section(name.to_owned()));
        let cases = [
            ("as it should be", messages(at(2, 6), Some(&old), &new), ""),
            ("everything anew", messages(at(2, 6), None, &new), ""),
            ("a schema to come", with(|begin| begin.schema = 7), "schema"),
            ("a lower sequence", messages(at(2, 4), Some(&old), &new), "position"),
            ("a lower term", messages(at(1, 9), Some(&old), &new), "position"),
            ("other content at the same place", messages(at(2, 5), Some(&old), &new), "position"),
            ("no position", with(|begin| begin.position = None), "position"),
            ("no hash", with(|begin| begin.target = Default::default()), "wire"),
            ("half a hash", with(|begin| begin.base = vec![1; 16].into()), "wire"),
            ("another base", messages(at(2, 6), Some(&new), &new), "the whole, please"),
            ("too little", without_pieces(messages(at(2, 6), Some(&old), &new)), "the whole, please"),
            ("too little of the whole", without_pieces(messages(at(2, 6), None, &new)), "sections"),
            ("a section without a name", piece(named(""), false), "wire"),
            ("a thing within another", piece(named("flows/other"), true), "wire"),
            ("a thing to come", piece(None, false), ""),
            ("pieces of nothing", vec![to_pod::What::Commit(Commit {})], ""),
        ];
        for (case, messages, expected) in cases {
            let client = client("old");
            assert_eq!(path(&answer_to(&client, messages)), expected, "{case}");
        }
    }

    #[test]
    fn what_the_pod_runs_on_already_is_acknowledged_without_asking_it() {
        let (client, old) = (client("old"), sections("old"));
        let again = || messages(at(2, 5), Some(&old), &old);
        // Once it is asked: of this stream's operator it has not heard yet.
        assert_eq!(path(&answer_to(&client, again())), "");
        let offer = lock(&client.shared.slots).take();
        assert!(matches!(offer, Some(Offer::Publication { position, .. }) if position == at(2, 5)));
        lock(&client.shared.slots).acknowledge(at(2, 5), old.digest());
        assert_eq!(path(&answer_to(&client, again())), "acknowledged");
        assert!(lock(&client.shared.slots).take().is_none());
    }
}
