//! Challenges that INVITEs of a trunk must answer (RFC 3261 §22, RFC 8760, telephony's own rules for nonces).

use std::net::IpAddr;

use model::{
    TrunkId,
    snapshot::Trunk,
    trunk::{DigestAlgorithm, TrunkDigest},
};
use sip::{
    digest::{Algorithm, Answer, Challenge, Freshness, Nonces, Secret, Taken, Window},
    endpoint::Header,
    wire::{Message, Method},
};

use crate::{Now, lots::Lots, registrar::StationId, world::World};

/// Most nonces in use at a time; beyond it answers are asked for anew.
const NONCES_MAX: usize = 65_536;

/// Who may pass.
#[derive(Debug)]
pub(super) struct Gate {
    nonces: Nonces,
    window: Window,
}

/// What an INVITE that must answer a challenge is told.
#[derive(Debug)]
pub(super) enum Passage {
    /// It may go on.
    Open,
    /// It must answer these.
    Challenged {
        /// WWW-Authenticate, one for each algorithm.
        headers: Vec<Header>,
        /// For its explanation.
        because: String,
    },
    /// Nobody can answer: the secret is not known.
    Closed(String),
}

impl Gate {
    pub(super) const fn new(nonces: Nonces) -> Self {
        Self { nonces, window: Window::new(NONCES_MAX) }
    }

    /// What becomes of an INVITE from `source`.
    pub(super) fn pass(
        &mut self,
        now: Now,
        world: &World,
        (id, trunk): (&TrunkId, &Trunk),
        (source, invite): (IpAddr, &Message),
        lots: &mut Lots,
    ) -> Passage {
        let Some(digest) = trunk.digest.as_ref().filter(|digest| digest.challenge) else {
            return Passage::Open;
        };
        let Some(password) = world.password(id, digest) else {
            return Passage::Closed(format!(
                "Trunk {id}'s calls must answer a challenge, and key `{}` of Secret {}/{} is not at hand: apply it.",
                digest.secret.key,
                id.0.namespace(),
                digest.secret.name
            ));
        };
        let realm = realm(world, digest);
        let algorithms = algorithms(world);
        let now_ms = u64::try_from(now.wall.as_millisecond()).unwrap_or_default();
        let answers = Answer::all(invite, false);
        let answer =
            answers.iter().find(|answer| answer.realm == realm && algorithms.contains(&answer.algorithm));
        let verdict = answer.map_or(Verdict::None, |answer| {
            self.check(answer, (digest, &Secret::Password(password)), (source, invite), (now_ms, &realm))
        });
        let (stale, because) = match verdict {
            Verdict::Right => return Passage::Open,
            Verdict::Stale => (true, "the answer's nonce is too old or was used before; a new one was sent"),
            Verdict::Wrong => (false, "the answer is not that of its `digest`"),
            Verdict::None => (false, "no answer came yet; the challenge was sent"),
        };
        let because =
            format!("Trunk {id}'s calls must answer a challenge (digest.challenge: Always): {because}.");
        Passage::Challenged {
            headers: self.challenges(now_ms, source, &realm, (&algorithms, stale), lots),
            because,
        }
    }

    /// Whether a request answers a challenge that was sent to its very source: then the source is no forged one. Else the
    /// challenges, which cost nothing to keep.
    pub(super) fn greet(
        &self,
        now: Now,
        world: &World,
        (source, request): (IpAddr, &Message),
        lots: &mut Lots,
    ) -> Result<(), Vec<Header>> {
        let realm = station_realm(world);
        let now_ms = u64::try_from(now.wall.as_millisecond()).unwrap_or_default();
        let is_ours = |answer: &Answer| {
            let freshness = self.nonces.check(&answer.nonce, now_ms, source, realm);
            answer.realm == *realm && freshness != Freshness::Foreign
        };
        if Answer::all(request, false).iter().any(is_ours) {
            return Ok(());
        }
        Err(self.challenges(now_ms, source, realm, (&algorithms(world), false), lots))
    }

    /// Which station sent a request, as its answer to a challenge proves.
    pub(super) fn station(
        &mut self,
        now: Now,
        world: &World,
        (source, request): (IpAddr, &Message),
        lots: &mut Lots,
    ) -> Proof {
        let realm = station_realm(world).clone();
        let algorithms = algorithms(world);
        let now_ms = u64::try_from(now.wall.as_millisecond()).unwrap_or_default();
        let answers = Answer::all(request, false);
        let answer =
            answers.iter().find(|answer| answer.realm == realm && algorithms.contains(&answer.algorithm));
        // Who registers stands in To, who calls in From.
        let own = if request.method() == Method::Register { request.to() } else { request.from() };
        let host = own.as_ref().map(|own| own.uri.host).unwrap_or_default();
        let station = answer.and_then(|answer| world.station(&answer.username, host));
        let mut missing = None;
        let verdict = answer.map_or(Verdict::None, |answer| {
            let secret = station.and_then(|station| {
                let secret = world.station_secret(&answer.username, station);
                if secret.is_none() {
                    missing =
                        Some(format!("{station} cannot register: the value of its secretRef is not at hand"));
                }
                secret
            });
            // Whoever registers for somebody else is as wrong as with a wrong password.
            let user = own.as_ref().and_then(|own| own.uri.user).map(sip::uri::unescape);
            let is_own = user.is_some_and(|own| own == answer.username);
            let secret = secret.filter(|_| is_own);
            self.is_right(answer, secret.as_ref(), (source, request), (now_ms, &realm))
        });
        let is_guess = matches!(verdict, Verdict::Wrong)
            && answer.is_some_and(|answer| {
                self.nonces.check(&answer.nonce, now_ms, source, &realm) != Freshness::Foreign
            });
        match (verdict, station) {
            (Verdict::Right, Some(station)) => Proof::Right(station.clone()),
            (verdict, _) => {
                let stale = matches!(verdict, Verdict::Stale);
                Proof::Asked {
                    headers: self.challenges(now_ms, source, &realm, (&algorithms, stale), lots),
                    is_guess,
                    missing,
                }
            }
        }
    }

    fn challenges(
        &self,
        now_ms: u64,
        source: IpAddr,
        realm: &str,
        (algorithms, stale): (&[Algorithm], bool),
        lots: &mut Lots,
    ) -> Vec<Header> {
        let headers = algorithms.iter().copied().map(|algorithm| {
            let nonce = self.nonces.issue(now_ms, source, realm, lots.draw());
            let challenge =
                Challenge { realm: realm.to_owned(), nonce, opaque: None, algorithm, qop: true, stale };
            Header::new("WWW-Authenticate", challenge.to_value())
        });
        headers.collect()
    }

    /// The proof is computed whoever it is said to be of, so that a wrong name takes as long as a wrong password.
    fn check(
        &mut self,
        answer: &Answer,
        (digest, secret): (&TrunkDigest, &Secret),
        (source, invite): (IpAddr, &Message),
        (now_ms, realm): (u64, &str),
    ) -> Verdict {
        let known = answer.username == digest.username;
        self.is_right(answer, known.then_some(secret), (source, invite), (now_ms, realm))
    }

    fn is_right(
        &mut self,
        answer: &Answer,
        secret: Option<&Secret>,
        (source, request): (IpAddr, &Message),
        (now_ms, realm): (u64, &str),
    ) -> Verdict {
        let nobody = Secret::of_nobody();
        let proved = answer.is_right(secret.unwrap_or(&nobody), request.method_text()) && secret.is_some();
        match (proved, self.nonces.check(&answer.nonce, now_ms, source, realm)) {
            (true, Freshness::Fresh) => {
                let count = answer.qop.as_ref().map_or(0, |qop| qop.nc);
                match self.window.take(&answer.nonce, count, now_ms) {
                    Taken::First => Verdict::Right,
                    Taken::Again | Taken::Full => Verdict::Stale,
                }
            }
            (true, Freshness::Stale) => Verdict::Stale,
            (true, Freshness::Foreign) | (false, _) => Verdict::Wrong,
        }
    }
}

/// What a request on a listener for agents proves.
#[derive(Debug)]
pub(super) enum Proof {
    /// It is this station's.
    Right(StationId),
    /// Nothing yet.
    Asked {
        /// WWW-Authenticate, one for each algorithm.
        headers: Vec<Header>,
        /// Whether a wrong proof came, with a nonce that was sent to that very address.
        is_guess: bool,
        /// For the log: what keeps the station from ever proving who it is.
        missing: Option<String>,
    },
}

enum Verdict {
    Right,
    Stale,
    Wrong,
    None,
}

/// The trunk's, else the cluster's first domain, else its code.
fn realm(world: &World, digest: &TrunkDigest) -> String {
    let cluster = &world.snapshot.cluster;
    let named = digest.realm.as_ref().or_else(|| cluster.domains.first());
    named.unwrap_or(&cluster.code).clone()
}

/// Stations': the cluster's first domain, else its code.
fn station_realm(world: &World) -> &String {
    let cluster = &world.snapshot.cluster;
    cluster.domains.first().unwrap_or(&cluster.code)
}

/// What peers are challenged with, in that order.
fn algorithms(world: &World) -> Vec<Algorithm> {
    let of = |algorithm: &DigestAlgorithm| match algorithm {
        DigestAlgorithm::Md5 => Algorithm::Md5,
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Sha512256 => Algorithm::Sha512256,
    };
    world.snapshot.cluster.digest_algorithms.iter().map(of).collect()
}
