//! The configuration stream: what the operator publishes, and what pods say to it.
//!
//! One stream per pod. The operator's end is the [`Hub`], the pod's a [`Feed`]; between them run the messages of
//! `config.proto`, over mutual TLS ([`server`](crate::server)) or, by [`Hub::attach`], over channels of the same process.
//!
//! Contract: a pod is sent the newest [`Publication`], never one older than it has; there is no queue of them. The next
//! is sent once the pod has said what it makes of the one before. Whose word it is follows the certificate.

mod client;
mod dial;
mod feed;
mod hub;
mod parcel;
mod session;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub use model::secrets::Secrets;
use model::{
    AudioId, ClusterId,
    section::{Digest, Sections},
};

pub use self::{
    feed::{Feed, Held, Offer, Start},
    hub::Hub,
};
use crate::identity::{Identity, Role};

/// Most octets of one message.
pub const MESSAGE_MAX: usize = 1 << 20;

/// Most octets of a name that a pod gives: of itself, its instance, a zone.
pub const NAME_MAX: usize = 256;

/// Most octets of a path or message of a refusal. What is longer is cut.
pub const TEXT_MAX: usize = 1_024;

/// Most prompts that a hello names. A pod that has more is sent those again that it left out.
const AUDIO_MAX: usize = 8_192;

/// Most pods that a [`Topology`] names.
pub const PODS_MAX: usize = 1_024;

/// Where a publication stands among all of them. The next leader's term is higher, so its first publication is after
/// the last of the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Transitions of the operator's lease.
    pub term: u64,
    /// Counts the publications of one term.
    pub sequence: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// Files of prompts. Cheap to clone.
pub type Blobs = Arc<BTreeMap<AudioId, Arc<[u8]>>>;

/// All that the pods of one cluster shall know. Cheap to clone.
#[derive(Clone, Default)]
pub struct Publication {
    /// Higher than that of any before.
    pub position: Position,
    /// The snapshot.
    pub sections: Arc<Sections>,
    /// Files of its prompts: for media pods, and of these each is sent those that it has not.
    pub blobs: Blobs,
    /// Values of Secrets that edges may know.
    pub edge_secrets: Secrets,
    /// Values of Secrets that media pods may know.
    pub media_secrets: Secrets,
}

impl Publication {
    /// The secrets that pods of a role may know.
    #[must_use]
    pub const fn secrets(&self, role: Role) -> &Secrets {
        match role {
            Role::Edge => &self.edge_secrets,
            Role::Media => &self.media_secrets,
        }
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("position", &self.position)
            .field("digest", &self.sections.digest())
            .field("blobs", &self.blobs.len())
            .finish_non_exhaustive()
    }
}

/// A pod, by what its certificate says and what it calls itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId {
    /// Its `VoiceCluster`; by its certificate.
    pub cluster: ClusterId,
    /// Its role; by its certificate.
    pub role: Role,
    /// Name of the pod; its own word.
    pub name: String,
    /// Other for each start of the process; its own word.
    pub instance: String,
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.role, self.name)
    }
}

/// What a pod calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// Name of the pod.
    pub name: String,
    /// Other for each start of the process.
    pub instance: String,
}

impl PodName {
    /// From both.
    #[must_use]
    pub fn new(name: impl Into<String>, instance: impl Into<String>) -> Self {
        Self { name: name.into(), instance: instance.into() }
    }

    /// With what the certificate says.
    #[must_use]
    pub fn of(self, identity: &Identity) -> PodId {
        let Identity { cluster, role } = identity.clone();
        PodId { cluster, role, name: self.name, instance: self.instance }
    }
}

/// What a pod says of itself every [`HEARTBEAT`](Hub::HEARTBEAT).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// It can do its work.
    pub ready: bool,
    /// It takes no new work and ends soon.
    pub draining: bool,
    /// Calls, or media sessions, now.
    pub calls: u32,
    /// Most of them at once.
    pub capacity: u32,
    /// Where other pods reach its link.
    pub link: Option<SocketAddr>,
    /// Address of its node.
    pub node: Option<IpAddr>,
    /// Zone of its node. Empty: unknown.
    pub zone: String,
}

/// What the operator's end tells of a pod. [`What::Joined`] comes first, [`What::Left`] last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub pod: PodId,
    /// What of it.
    pub what: What,
}

/// What the operator's end tells of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Its stream is up.
    Joined {
        /// What it runs on, by its own word. None: nothing yet.
        held: Option<(Position, Digest)>,
        /// Version of its program, by its own word.
        version: String,
    },
    /// It has applied what it was sent.
    Acknowledged {
        /// Of the publication.
        position: Position,
        /// Of its sections.
        digest: Digest,
    },
    /// It keeps what it has.
    Refused {
        /// Of the publication.
        position: Position,
        /// Of the field at fault. At most [`TEXT_MAX`] octets.
        path: String,
        /// A sentence. At most [`TEXT_MAX`] octets.
        message: String,
    },
    /// How it is.
    State(State),
    /// Its stream has ended.
    Left {
        /// By its own will; else it may come back.
        goodbye: bool,
    },
    /// It said what it may not; its stream ends. Comes without [`What::Joined`] if the fault is in its hello.
    Misbehaved(Misbehaviour),
}

/// What a pod may not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Its first message is none of its hello, or its hello comes again.
    #[error("the stream must begin with one hello")]
    NoHello,
    /// Its certificate is of another cluster or role.
    #[error("the hello names a cluster or role that the certificate does not")]
    NotItsCertificate,
    /// A verdict about something that it was not sent.
    #[error("the verdict is about what was not sent")]
    NotSent,
    /// A message that cannot be read, or that breaks a bound.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Every pod of a cluster that is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// At most [`PODS_MAX`]; what is more is not sent.
    pub pods: Vec<TopologyPod>,
}

/// A pod that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyPod {
    /// Its role.
    pub role: Role,
    /// What it calls itself.
    pub pod: PodName,
    /// How it is.
    pub state: State,
}

/// The operator does not lead, or a publication of another term; nothing is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operator does not lead with term {0}")]
pub struct NotLeading(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str, &str)]) -> Secrets {
        let named = |(object, key, value): &(&str, &str, &str)| {
            ((object.parse().unwrap(), (*key).to_owned()), value.as_bytes().to_vec())
        };
        values.iter().map(named).collect()
    }

    #[test]
    fn positions_are_compared_by_term_and_then_by_sequence() {
        let at = |term, sequence| Position { term, sequence };
        assert!(at(1, 9) < at(2, 0) && at(2, 0) < at(2, 1));
    }

    #[test]
    fn secrets_never_print() {
        let secrets = secrets(&[("acme/crm", "token", "hunter2")]);
        let publication = Publication { edge_secrets: secrets.clone(), ..Default::default() };
        for text in [format!("{secrets}"), format!("{secrets:?}"), format!("{publication:?}")] {
            assert!(!text.contains("hunter2") && !text.contains("104, 117"), "{text}");
        }
        assert_eq!(format!("{secrets:#?}"), "[redacted]");
    }

    #[test]
    fn digests_of_secrets_differ_wherever_names_and_values_meet() {
        let all = [
            secrets(&[]),
            secrets(&[("a/b", "c", "d")]),
            secrets(&[("a/b", "cd", "")]),
            secrets(&[("a/bc", "d", "")]),
            secrets(&[("a/b", "c", "d"), ("a/b", "e", "")]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all[..place].iter().all(|other| other.digest() != one.digest()), "{place}");
        }
    }
}
