//! An operator and its pods.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use link::{
    config::{Feed, Held, Hub, Offer, PodName, Position, Publication, Report, Secrets, Start, What},
    identity::{Identity, OPERATOR_NAME, Party, Role},
    pki::{Authority, Credentials, Subject},
    server::{Serving, serve_config},
    tls::{Tls, channel},
    wire::{self, FromPod, Hello, ToPod, config_client::ConfigClient, from_pod, to_pod},
};
use model::{
    ClusterId,
    section::{Digest, Part, Section, SectionName, Sections},
    snapshot::SCHEMA,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// No wait is longer.
const WAIT: Duration = Duration::from_secs(30);

pub async fn bounded<T>(future: impl Future<Output = T>) -> T {
    timeout(WAIT, future).await.expect("within thirty seconds")
}

#[derive(Clone, Copy, PartialEq)]
pub enum Over {
    Twin,
    Network,
}

pub struct World {
    pub over: Over,
    pub hub: Hub,
    pub reports: mpsc::Receiver<Report>,
    pub authority: Authority,
    pub tls: Tls,
    pub serving: Option<Serving>,
}

pub fn cluster() -> ClusterId {
    ClusterId::new("voice", "c14")
}

pub fn identity(role: Role) -> Identity {
    Identity::new(cluster(), role)
}

pub const fn at(term: u64, sequence: u64) -> Position {
    Position { term, sequence }
}

pub fn sections(contents: &[(&str, &str)]) -> Arc<Sections> {
    let mut sections = Sections::default();
    for (tenant, content) in contents {
        sections
            .insert(SectionName::of(Part::Flows, tenant), Section::from_bytes(content.as_bytes().to_vec()));
    }
    Arc::new(sections)
}

pub fn publication(position: Position, contents: &[(&str, &str)]) -> Publication {
    Publication { position, sections: sections(contents), ..Publication::default() }
}

pub fn secrets(value: &str) -> Secrets {
    [(("acme/crm".parse().unwrap(), "token".to_owned()), value.as_bytes().to_vec())].into_iter().collect()
}

impl World {
    /// An operator that leads with term 1.
    pub async fn new(over: Over) -> Self {
        let authority = Authority::generate("switchboard", SystemTime::now(), 30).unwrap();
        let operator = authority.issue(&Subject::of(&Party::Operator), SystemTime::now(), 7).unwrap();
        let tls = Tls::new(&operator).unwrap();
        let (hub, reports) = Hub::new();
        hub.lead(1);
        let mut world = Self { over, hub, reports, authority, tls, serving: None };
        if over == Over::Network {
            world.serving = Some(world.serve(&world.hub).await);
        }
        world
    }

    pub async fn serve(&self, hub: &Hub) -> Serving {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        serve_config(listener, self.tls.clone(), hub.clone()).unwrap()
    }

    pub fn credentials(&self, identity: &Identity) -> Credentials {
        self.authority.issue(&Subject::of(&Party::Pod(identity.clone())), SystemTime::now(), 7).unwrap()
    }

    pub fn address(&self) -> String {
        self.serving.as_ref().unwrap().address().to_string()
    }

    pub fn feed(&self, role: Role, name: &str) -> Feed {
        self.feed_with(role, name, None)
    }

    pub fn feed_with(&self, role: Role, name: &str, held: Option<Held>) -> Feed {
        let start = Start { pod: PodName::new(name, "1"), version: "test".to_owned(), held, seed: 7 };
        match self.over {
            Over::Twin => self.hub.attach(identity(role), start),
            Over::Network => {
                let tls = Tls::new(&self.credentials(&identity(role))).unwrap();
                Feed::connect(tls, identity(role), vec![self.address()], start)
            }
        }
    }

    pub fn publish(&self, publication: Publication) {
        self.hub.publish(&cluster(), publication).unwrap();
    }

    /// The next report but states.
    pub async fn report(&mut self) -> Report {
        loop {
            let report = bounded(self.reports.recv()).await.unwrap();
            if !matches!(report.what, What::State(_)) {
                return report;
            }
        }
    }

    pub async fn what(&mut self) -> What {
        self.report().await.what
    }

    /// The first report of a kind; others are passed over.
    pub async fn until<T>(&mut self, wanted: impl Fn(&Report) -> Option<T>) -> T {
        bounded(async {
            loop {
                if let Some(found) = wanted(&self.reports.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
    }

    pub async fn acknowledged(&mut self) -> Position {
        self.until(|report| match report.what {
            What::Acknowledged { position, .. } => Some(position),
            _ => None,
        })
        .await
    }

    /// A pod of whom nothing is to be expected.
    pub async fn raw(&self, identity: &Identity) -> Result<Raw, Status> {
        self.raw_with(&self.credentials(identity)).await
    }

    pub async fn raw_with(&self, credentials: &Credentials) -> Result<Raw, Status> {
        let tls = Tls::new(credentials).unwrap();
        let address = self.address();
        let connect = channel(&tls, &address, OPERATOR_NAME);
        let channel = bounded(connect).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let (told, said) = mpsc::channel(16);
        let mut client = ConfigClient::new(channel).max_decoding_message_size(2 << 20);
        let heard = bounded(client.watch(ReceiverStream::new(said))).await?.into_inner();
        Ok(Raw { told, heard })
    }
}

pub struct Raw {
    pub told: mpsc::Sender<FromPod>,
    pub heard: Streaming<ToPod>,
}

impl Raw {
    pub async fn say(&self, what: from_pod::What) {
        // The stream may have ended: then what is heard says so.
        let _ = bounded(self.told.send(FromPod { what: Some(what) })).await;
    }

    pub async fn acknowledge(&self, position: Position, digest: Digest) {
        let digest = digest.as_bytes().to_vec().into();
        self.say(from_pod::What::Acknowledged(wire::Held { position: Some(position.into()), digest })).await;
    }

    /// The next message but topologies.
    pub async fn hear(&mut self) -> Result<Option<to_pod::What>, Status> {
        loop {
            match bounded(self.heard.message()).await? {
                Some(ToPod { what: Some(to_pod::What::Topology(_)) }) => {}
                Some(message) => return Ok(message.what),
                None => return Ok(None),
            }
        }
    }

    /// All messages of one publication.
    pub async fn parcel(&mut self) -> Vec<to_pod::What> {
        let mut all = Vec::new();
        while !matches!(all.last(), Some(to_pod::What::Commit(_))) {
            all.push(self.hear().await.unwrap().expect("a stream that is up"));
        }
        all
    }

    /// With what the stream ends.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

pub fn hello(identity: &Identity, name: &str) -> Hello {
    Hello {
        schema: SCHEMA,
        cluster: identity.cluster.to_string(),
        role: identity.role.to_string(),
        pod: name.to_owned(),
        instance: "1".to_owned(),
        ..Hello::default()
    }
}

/// What a feed offers next, of publications.
pub async fn offered(feed: &Feed) -> Publication {
    loop {
        if let Offer::Publication { position, sections, secrets, blobs, .. } = bounded(feed.next()).await {
            return Publication {
                position,
                sections,
                blobs,
                edge_secrets: secrets.clone(),
                media_secrets: secrets,
            };
        }
    }
}

/// Takes what is offered next and acknowledges it.
pub async fn applied(feed: &Feed) -> Publication {
    let publication = offered(feed).await;
    feed.acknowledge(publication.position, publication.sections.digest());
    publication
}
