//! Who speaks: what a certificate says, as a URI of its subject alternative names.

use std::{fmt, str::FromStr};

use model::{ClusterId, Key};

/// What a pod is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// SIP, calls, flows.
    Edge,
    /// RTP, prompts, recordings.
    Media,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Edge, Self::Media];

    /// As identities and the wire say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Media => "media",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(NotAnIdentity)
    }
}

/// Whose pod it is and what for. Printed `switchboard://<namespace>/<name>/<role>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The `VoiceCluster`.
    pub cluster: ClusterId,
    /// Its role.
    pub role: Role,
}

impl Identity {
    /// Of a cluster's pods of one role.
    #[must_use]
    pub const fn new(cluster: ClusterId, role: Role) -> Self {
        Self { cluster, role }
    }

    /// The DNS name by which who dials such a pod knows it, whatever the address:
    /// `<role>.<name>.<namespace>.switchboard.internal`.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.{}.{}.{DOMAIN}", self.role, self.cluster.0.name(), self.cluster.0.namespace())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.cluster, self.role)
    }
}

/// Who a certificate belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The operator. Printed `switchboard://operator`.
    Operator,
    /// A pod.
    Pod(Identity),
}

impl Party {
    /// The DNS name by which who dials it knows it.
    #[must_use]
    pub fn dns_name(&self) -> String {
        match self {
            Self::Operator => OPERATOR_NAME.to_owned(),
            Self::Pod(identity) => identity.dns_name(),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => write!(f, "{SCHEME}operator"),
            Self::Pod(identity) => fmt::Display::fmt(identity, f),
        }
    }
}

impl FromStr for Party {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let path = text.strip_prefix(SCHEME).ok_or(NotAnIdentity)?;
        if path == "operator" {
            return Ok(Self::Operator);
        }
        let (cluster, role) = path.rsplit_once('/').ok_or(NotAnIdentity)?;
        let cluster: Key = cluster.parse().map_err(|_| NotAnIdentity)?;
        Ok(Self::Pod(Identity { cluster: ClusterId(cluster), role: role.parse()? }))
    }
}

/// The operator's DNS name in its certificate.
pub const OPERATOR_NAME: &str = "operator.switchboard.internal";

/// Ends every DNS name of a certificate of ours.
const DOMAIN: &str = "switchboard.internal";

/// Begins every URI of a certificate of ours.
pub(crate) const SCHEME: &str = "switchboard://";

/// Why a text names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `switchboard://operator` or `switchboard://<namespace>/<name>/<edge|media>`")]
pub struct NotAnIdentity;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_printed() {
        let cluster = ClusterId::new("voice", "c14");
        let parties = [
            (Party::Operator, "switchboard://operator", "operator.switchboard.internal"),
            (
                Party::Pod(Identity::new(cluster.clone(), Role::Edge)),
                "switchboard://voice/c14/edge",
                "edge.c14.voice.switchboard.internal",
            ),
            (
                Party::Pod(Identity::new(cluster, Role::Media)),
                "switchboard://voice/c14/media",
                "media.c14.voice.switchboard.internal",
            ),
        ];
        for (party, uri, dns) in parties {
            assert_eq!(party.to_string(), uri);
            assert_eq!(party.dns_name(), dns);
            assert_eq!(uri.parse(), Ok(party));
        }
    }

    #[test]
    fn what_is_not_exactly_an_identity_is_nobody() {
        for bad in [
            "",
            "switchboard://",
            "switchboard://Operator",
            "switchboard://operator/",
            "switchboard://voice/c14",
            "switchboard://voice/c14/operator",
            "switchboard://voice/c14/edge/",
            "switchboard://a/b/c/edge",
            "switchboard:///c14/edge",
            "https://voice/c14/edge",
        ] {
            assert_eq!(bad.parse::<Party>(), Err(NotAnIdentity), "{bad}");
        }
    }
}
