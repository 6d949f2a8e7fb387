//! Challenges that INVITEs of a trunk must answer (RFC 3261 §22, RFC 8760, telephony's own rules for nonces).

use std::net::IpAddr;

use model::{TrunkId, snapshot::Trunk, trunk::TrunkDigest};
use sip::{
    digest::{Algorithm, Answer, Challenge, Freshness, Nonces, Secret, Taken, Window},
    endpoint::Header,
    wire::Message,
};

use crate::{Now, lots::Lots, world::World};

/// Most nonces in use at a time; beyond it answers are asked for anew.
const NONCES_MAX: usize = 65_536;

/// Strongest first (RFC 8760 §2.3).
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

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
        let now_ms = u64::try_from(now.wall.as_millisecond()).unwrap_or_default();
        let answers = Answer::all(invite, false);
        let answer =
            answers.iter().find(|answer| answer.realm == realm && ALGORITHMS.contains(&answer.algorithm));
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
        let headers = ALGORITHMS.into_iter().map(|algorithm| {
            let nonce = self.nonces.issue(now_ms, source, &realm, lots.draw());
            let challenge =
                Challenge { realm: realm.clone(), nonce, opaque: None, algorithm, qop: true, stale };
            Header::new("WWW-Authenticate", challenge.to_value())
        });
        Passage::Challenged { headers: headers.collect(), because }
    }

    /// The proof is computed whoever it is said to be of, so that a wrong name takes as long as a wrong password.
    fn check(
        &mut self,
        answer: &Answer,
        (digest, secret): (&TrunkDigest, &Secret),
        (source, invite): (IpAddr, &Message),
        (now_ms, realm): (u64, &str),
    ) -> Verdict {
        let nobody = Secret::of_nobody();
        let known = answer.username == digest.username;
        let proved = answer.is_right(if known { secret } else { &nobody }, invite.method_text()) && known;
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
