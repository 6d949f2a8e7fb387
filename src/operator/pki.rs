//! The certificates of the operator, its pods and its webhook, and the authority that issues them.
//!
//! The authority lies in a Secret of the operator's namespace, with its key. When a third of its life is left, the next one is
//! made and trusted everywhere; only after [`Lives::overlap`], when everybody has heard of it, does it begin to issue. The old
//! one stays trusted until it ends. So nobody ever meets a certificate that it cannot verify, while all streams stay up.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use link::{
    identity::{Identity, Party, Role},
    pki::{self, Authority, Credentials, Subject},
};
use model::{ClusterId, section::Digest};

use crate::{
    election::Leadership,
    keep::{KeepError, Keeper, Kept},
};

/// The Secret with the authority.
pub const AUTHORITY: &str = "switchboard-link-ca";

/// The hash of the authority that has issued what a Secret holds.
const ISSUER: &str = "switchboard.dev/issuer";

/// How long things live.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// Of an authority.
    pub authority: Duration,
    /// Of all other certificates.
    pub leaf: Duration,
    /// For how long the next authority is trusted before it issues.
    pub overlap: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self { authority: days(3 * 365), leaf: days(30), overlap: days(1) }
    }
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The Secret cannot be read or written.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Nothing can be issued.
    #[error("no certificate can be issued: {0}")]
    Issue(#[from] link::pki::PkiError),
    /// What the Secret holds is of no use.
    #[error(
        "Secret {AUTHORITY} holds no authority: {0}; delete it, and a new one is made, which all pods must be given"
    )]
    Broken(String),
    /// Only the one who leads makes an authority.
    #[error("Secret {AUTHORITY} is not there yet")]
    Absent,
}

/// The authorities that are trusted, of which one issues.
#[derive(Debug)]
pub struct Authorities {
    issuing: Authority,
    /// Trusted, and when it was made.
    next: Option<(Authority, Timestamp)>,
    /// Certificates of earlier ones, newest first.
    old: Vec<String>,
}

/// What becomes of authorities as time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// All is well.
    Stay,
    /// The next one is to be made and trusted.
    Announce,
    /// The next one issues from now on.
    Promote,
}

/// Pure: what is to become of an authority that ends at `ends`, with the next one made at `announced`.
#[must_use]
pub fn turn(now: Timestamp, ends: Timestamp, announced: Option<Timestamp>, lives: Lives) -> Turn {
    let seconds = |life: Duration| i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    let left = ends.as_second().saturating_sub(now.as_second());
    match announced {
        Some(announced)
            if now.as_second() >= announced.as_second().saturating_add(seconds(lives.overlap)) =>
        {
            Turn::Promote
        }
        // There is no time left to wait.
        Some(_) if left <= seconds(lives.leaf) / 2 => Turn::Promote,
        Some(_) => Turn::Stay,
        None if left <= seconds(lives.authority) / 3 => Turn::Announce,
        None => Turn::Stay,
    }
}

fn days(life: Duration) -> u32 {
    u32::try_from(life.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX)
}

impl Authorities {
    /// A first one.
    ///
    /// # Errors
    /// None that a machine with random numbers could cause.
    pub fn first(now: Timestamp, lives: Lives) -> Result<Self, PkiError> {
        Ok(Self {
            issuing: Authority::generate("Switchboard", now.into(), days(lives.authority))?,
            next: None,
            old: Vec::new(),
        })
    }

    /// Lets time pass. True: something is otherwise.
    ///
    /// # Errors
    /// As [`Authorities::first`].
    pub fn pass(&mut self, now: Timestamp, lives: Lives) -> Result<bool, PkiError> {
        match turn(
            now,
            pki::expiry(self.issuing.certificate_pem())?.try_into().unwrap_or(Timestamp::MAX),
            self.next.as_ref().map(|(_, since)| *since),
            lives,
        ) {
            Turn::Stay => Ok(false),
            Turn::Announce => {
                self.next =
                    Some((Authority::generate("Switchboard", now.into(), days(lives.authority))?, now));
                Ok(true)
            }
            Turn::Promote => {
                let Some((next, _)) = self.next.take() else { return Ok(false) };
                self.old.insert(0, self.issuing.certificate_pem().to_owned());
                self.old.truncate(1);
                self.issuing = next;
                Ok(true)
            }
        }
    }

    /// Certificates of all that are trusted.
    #[must_use]
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|(next, _)| next.certificate_pem());
        let all = std::iter::once(self.issuing.certificate_pem()).chain(next);
        all.chain(self.old.iter().map(String::as_str)).collect()
    }

    /// Issues.
    ///
    /// # Errors
    /// As [`Authorities::first`].
    pub fn issue(&self, subject: &Subject, now: Timestamp, lives: Lives) -> Result<Credentials, PkiError> {
        let mut issued = self.issuing.issue(subject, now.into(), days(lives.leaf))?;
        issued.ca = self.bundle();
        Ok(issued)
    }

    fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        data.insert("tls.crt".into(), self.issuing.certificate_pem().into());
        data.insert("tls.key".into(), self.issuing.key_pem().into());
        data.insert("old.crt".into(), self.old.concat().into());
        if let Some((next, since)) = &self.next {
            data.insert("next.crt".into(), next.certificate_pem().into());
            data.insert("next.key".into(), next.key_pem().into());
            data.insert("next.since".into(), since.to_string().into());
        }
        data
    }

    /// From the values of the Secret.
    ///
    /// # Errors
    /// When they are of no use.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, PkiError> {
        let text = |name: &str| data.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let authority = |of: &str| -> Result<Authority, PkiError> {
            let (certificate, key) = (format!("{of}.crt"), format!("{of}.key"));
            let absent = |name: &str| PkiError::Broken(format!("it has no {name}"));
            let pem = text(&certificate).ok_or_else(|| absent(&certificate))?;
            let key = text(&key).ok_or_else(|| absent(&key))?;
            Authority::from_pem(&pem, &key).map_err(|error| PkiError::Broken(error.to_string()))
        };
        let since = text("next.since").filter(|_| data.contains_key("next.crt"));
        let next = match since.map(|since| since.parse::<Timestamp>()) {
            Some(Ok(since)) => Some((authority("next")?, since)),
            Some(Err(error)) => return Err(PkiError::Broken(format!("next.since: {error}"))),
            None => None,
        };
        let old = text("old.crt").into_iter().filter(|old| !old.is_empty()).collect();
        Ok(Self { issuing: authority("tls")?, next, old })
    }
}

/// Keeps certificates where they belong.
#[derive(Debug)]
pub struct Pki {
    keeper: Keeper,
    leadership: Leadership,
    namespace: String,
    lives: Lives,
}

impl Pki {
    /// For an operator of a namespace.
    #[must_use]
    pub const fn new(keeper: Keeper, leadership: Leadership, namespace: String, lives: Lives) -> Self {
        Self { keeper, leadership, namespace, lives }
    }

    /// The authorities: as they lie there; the one who leads makes and renews them.
    ///
    /// # Errors
    /// When there are none, or they are of no use.
    pub async fn authorities(&self, now: Timestamp) -> Result<Authorities, PkiError> {
        let found = self.keeper.read(&self.namespace, AUTHORITY).await?;
        let leads = self.leadership.term().is_some();
        let (mut authorities, mut moved) = match found {
            Some(kept) => (Authorities::read(&kept.data)?, false),
            None if leads => (Authorities::first(now, self.lives)?, true),
            None => return Err(PkiError::Absent),
        };
        if leads {
            moved |= authorities.pass(now, self.lives)?;
        }
        if moved {
            let kept = Kept {
                namespace: self.namespace.clone(),
                name: AUTHORITY.to_owned(),
                of_type: "Opaque",
                annotations: BTreeMap::new(),
                data: authorities.data(),
            };
            self.keeper.write(&kept).await?;
        }
        Ok(authorities)
    }

    /// What the operator shows to pods and to the API server.
    ///
    /// # Errors
    /// As [`Authorities::first`].
    pub fn own(
        &self,
        authorities: &Authorities,
        names: &[String],
        now: Timestamp,
    ) -> Result<Credentials, PkiError> {
        let mut subject = Subject::of(&Party::Operator);
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(address) => subject.addresses.push(address),
                Err(_) => subject.dns.push(name.clone()),
            }
        }
        authorities.issue(&subject, now, self.lives)
    }

    /// Gives the pods of a cluster their certificates, in `<cluster>-edge-link` and `<cluster>-media-link`: new ones when a
    /// third of their life is left, or when another authority issues or is trusted.
    ///
    /// # Errors
    /// The API server's.
    pub async fn give(
        &self,
        cluster: &ClusterId,
        authorities: &Authorities,
        now: Timestamp,
    ) -> Result<(), PkiError> {
        for role in Role::ALL {
            let name = format!("{}-{role}-link", cluster.0.name());
            let namespace = cluster.0.namespace();
            let bundle = authorities.bundle();
            let there = self.keeper.read(namespace, &name).await?;
            let text = |name: &str| {
                let value = there.as_ref().and_then(|kept| kept.data.get(name));
                value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
            };
            let third = i64::try_from(self.lives.leaf.as_secs() / 3).unwrap_or_default();
            let issuer = Digest::of(authorities.issuing.certificate_pem().as_bytes()).to_string();
            let issued = there.as_ref().and_then(|kept| kept.annotations.get(ISSUER)) == Some(&issuer);
            let ends = pki::expiry(&text("tls.crt")).ok().and_then(|ends| Timestamp::try_from(ends).ok());
            let fresh = issued && ends.is_some_and(|ends| ends.as_second() > now.as_second() + third);
            if fresh && text("ca.crt") == bundle && !text("tls.key").is_empty() {
                continue;
            }
            let (certificate, key) = if fresh && !text("tls.key").is_empty() {
                (text("tls.crt"), text("tls.key"))
            } else {
                let party = Party::Pod(Identity::new(cluster.clone(), role));
                let issued = authorities.issue(&Subject::of(&party), now, self.lives)?;
                (issued.certificate, issued.key)
            };
            let data = [("ca.crt", bundle), ("tls.crt", certificate), ("tls.key", key)];
            let kept = Kept {
                namespace: namespace.to_owned(),
                name,
                of_type: "kubernetes.io/tls",
                annotations: BTreeMap::from([(ISSUER.to_owned(), issuer)]),
                data: data.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
            };
            self.keeper.write(&kept).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn an_authority_is_followed_by_one_that_everybody_trusts_already() {
        let lives = Lives::default();
        let ends = at(3 * 365);
        for (day, announced, wanted) in [
            (0, None, Turn::Stay),
            (2 * 365 - 1, None, Turn::Stay),
            (2 * 365, None, Turn::Announce),
            (2 * 365, Some(2 * 365), Turn::Stay),
            (2 * 365 + 1, Some(2 * 365), Turn::Promote),
            (3 * 365 - 1, Some(3 * 365 - 1), Turn::Promote),
        ] {
            assert_eq!(turn(at(day), ends, announced.map(at), lives), wanted, "day {day}");
        }
    }

    #[test]
    fn what_the_secret_holds_is_what_there_was() {
        let lives = Lives::default();
        let mut authorities = Authorities::first(at(0), lives).unwrap();
        let first = authorities.bundle();
        assert!(authorities.pass(at(2 * 365), lives).unwrap());
        let both = authorities.bundle();
        assert!(both.starts_with(&first) && both.len() > first.len());
        assert!(!authorities.pass(at(2 * 365), lives).unwrap());
        assert_eq!(Authorities::read(&authorities.data()).unwrap().bundle(), both);
        assert!(authorities.pass(at(2 * 365 + 1), lives).unwrap());
        let after = authorities.bundle();
        assert!(after.ends_with(&first) && after.len() == both.len(), "the old one stays trusted");
        assert_eq!(Authorities::read(&authorities.data()).unwrap().bundle(), after);
    }

    #[test]
    fn a_secret_of_another_shape_is_told_apart() {
        let error = Authorities::read(&BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("no tls.crt") && error.contains("delete it"), "{error}");
        let wrong =
            BTreeMap::from([("tls.crt".into(), b"x".to_vec()), ("tls.key".into(), b"hunter2".to_vec())]);
        let error = Authorities::read(&wrong).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
