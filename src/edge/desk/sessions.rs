//! Who has signed in: passwords by Argon2id, tokens that nobody else can make up, and what ends a session; whoever signs in by
//! OpenID Connect has a session here too.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use call::engine::AgentAct;
use jiff::Timestamp;
use model::{
    AgentId, Key,
    centre::{Agent, SignIn},
};
use openssl::{rand, sha::sha256};
use tokio::{sync::Semaphore, task::spawn_blocking, time::interval};
use tracing::{info, warn};

use super::{Desks, openid};
use crate::observed::Observed;

/// A session that nobody uses ends after so long.
const IDLE: Duration = Duration::from_hours(1);

/// Sessions of a process.
const SESSIONS_MAX: usize = 100_000;

/// Wrong passwords of one agent in [`GUESSES_IN`], after which none is looked at.
const GUESSES_MAX: u32 = 5;
const GUESSES_IN: Duration = Duration::from_mins(1);

/// The same of codes and tokens of a tenant: they cannot be guessed, and say only when they hold whose they are.
const TENANT_GUESSES_MAX: u32 = 50;

/// Agents and tenants whose failures are remembered.
const GUESSED_MAX: usize = 10_000;

/// Longest password.
const PASSWORD_MAX: usize = 1_024;

/// Passwords that are looked at, at once, and that wait for it: each takes a core's time and 19 MiB.
static AT_ONCE: Semaphore = Semaphore::const_new(2);
static WAITING: Semaphore = Semaphore::const_new(64);

/// What an agent of a tenant without passwords is held against: it takes its time, and fits nothing.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| {
    use argon2::password_hash::{PasswordHasher, SaltString};
    let mut secret = [0; 32];
    rand::rand_bytes(&mut secret).ok()?;
    let salt = SaltString::encode_b64(&secret[..16]).ok()?;
    Some(Argon2::default().hash_password(&secret, &salt).ok()?.to_string())
});

/// Sessions by the hash of their tokens.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<BTreeMap<[u8; 32], Session>>,
    guesses: Mutex<BTreeMap<Whom, (u32, Instant)>>,
}

/// Whose failures are counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    /// Who is named beside a password.
    Agent(AgentId),
    /// Whose provider is named beside a code or a token.
    Tenant(String),
}

struct Session {
    agent: AgentId,
    /// Of the hash that the password was held against, or of provider and subject: another one ends the session.
    proof: [u8; 32],
    used: Instant,
    began: Instant,
    /// Used or not, it ends after so long, by the tenant's rules of then.
    lasts: Duration,
}

/// What came of an attempt.
pub(super) enum Opened {
    Session { token: String, seconds: u64 },
    Wrong,
    TooOften { seconds: u64 },
    Busy,
}

/// Opens a session for whoever knows the password. Whether there is such an agent cannot be told from the answer, nor from
/// how long it takes.
pub(super) async fn open(
    desks: &Desks,
    id: &AgentId,
    found: Option<&(Arc<Observed>, Arc<Agent>)>,
    password: String,
) -> Opened {
    let whom = Whom::Agent(id.clone());
    if let Some(seconds) = desks.sessions.holds_off(&whom, Instant::now()) {
        return Opened::TooOften { seconds };
    }
    if password.is_empty() || password.len() > PASSWORD_MAX {
        return Opened::Wrong;
    }
    let known = found.and_then(|(observed, agent)| hash_of(id, observed, agent));
    let held = known.clone().or_else(|| desks.colleague(id)).or_else(|| NOBODY.clone());
    let (Ok(_place), Some(held)) = (WAITING.try_acquire(), held) else {
        return Opened::Busy;
    };
    let Ok(_turn) = AT_ONCE.acquire().await else { return Opened::Busy };
    let proof = sha256(held.as_bytes());
    let fits = spawn_blocking(move || {
        let hash = PasswordHash::new(&held).ok();
        hash.is_some_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    });
    let fits = fits.await.unwrap_or(false);
    match found.filter(|_| fits && known.is_some()) {
        Some((_, agent)) => desks.sessions.admit(id, agent, proof),
        None => {
            desks.sessions.guessed(whom, Instant::now());
            Opened::Wrong
        }
    }
}

/// How long the tenant lets a session of an agent be.
fn lasts(agent: &Agent) -> Duration {
    Duration::from_secs(agent.session_seconds.into())
}

/// What a session of an agent must rest on. None: the agent cannot sign in.
fn proof_of(id: &AgentId, observed: &Observed, agent: &Agent) -> Option<[u8; 32]> {
    match agent.sign_in.as_ref()? {
        SignIn::Password(_) => hash_of(id, observed, agent).map(|hash| sha256(hash.as_bytes())),
        SignIn::Subject(subject) => {
            let world = observed.world()?;
            let provider = world.snapshot.cluster.providers.get(id.0.namespace())?;
            Some(openid::proof(provider, subject))
        }
    }
}

/// The hash of an agent's password (PHC string). None: the agent has none, or it cannot be read.
fn hash_of(id: &AgentId, observed: &Observed, agent: &Agent) -> Option<String> {
    let Some(SignIn::Password(reference)) = &agent.sign_in else { return None };
    let world = observed.world()?;
    let object = Key::new(id.0.namespace(), &reference.name);
    let value = world.secrets().get(&object, &reference.key);
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    let hash = text
        .filter(|text| PasswordHash::new(text).is_ok_and(|hash| hash.algorithm == argon2::ARGON2ID_IDENT));
    if hash.is_none() {
        warn!(
            "Agent {id} cannot sign in: Secret {object} must have an Argon2id hash (PHC string) under `{}`",
            reference.key
        );
    }
    hash.map(str::to_owned)
}

impl Desks {
    /// The hash of another agent of the tenant: who is not there shall take as long as who is.
    fn colleague(&self, id: &AgentId) -> Option<String> {
        let namespace = id.0.namespace();
        (self.site.observed)().into_iter().find_map(|observed| {
            let world = observed.world()?;
            let agents = world.snapshot.centre.agents.range(AgentId(Key::new(namespace, ""))..);
            let mut colleagues = agents.take_while(|(other, _)| other.0.namespace() == namespace);
            colleagues.find_map(|(other, agent)| hash_of(other, &observed, agent))
        })
    }
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens one for who has proved to be an agent.
    pub(super) fn admit(&self, id: &AgentId, agent: &Agent, proof: [u8; 32]) -> Opened {
        let mut token = [0; 32];
        if rand::rand_bytes(&mut token).is_err() {
            return Opened::Busy;
        }
        let (token, lasts) = (URL_SAFE_NO_PAD.encode(token), lasts(agent));
        match self.begin(&token, id.clone(), proof, lasts) {
            true => Opened::Session { token, seconds: lasts.min(IDLE).as_secs() },
            false => Opened::Busy,
        }
    }

    /// False: there are too many.
    fn begin(&self, token: &str, agent: AgentId, proof: [u8; 32], lasts: Duration) -> bool {
        let now = Instant::now();
        let mut open = self.open();
        if open.len() >= SESSIONS_MAX {
            return false;
        }
        open.insert(sha256(token.as_bytes()), Session { agent, proof, used: now, began: now, lasts });
        true
    }

    /// Whose a session is, which is used hereby.
    pub(super) fn used(&self, token: &str) -> Option<AgentId> {
        let now = Instant::now();
        let mut open = self.open();
        let session = open.get_mut(&sha256(token.as_bytes())).filter(|session| !session.is_over(now))?;
        session.used = now;
        Some(session.agent.clone())
    }

    /// Ends a session: whose, and whether it was the agent's last. None: there was none.
    pub(super) fn close(&self, token: &str) -> Option<(AgentId, bool)> {
        let mut open = self.open();
        let agent = open.remove(&sha256(token.as_bytes()))?.agent;
        let is_last = open.values().all(|session| session.agent != agent);
        Some((agent, is_last))
    }

    /// For how many seconds nothing of an agent or a tenant is looked at. None: it is.
    pub(super) fn holds_off(&self, whom: &Whom, now: Instant) -> Option<u64> {
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = guesses.get(whom)?;
        let left = GUESSES_IN.checked_sub(now.saturating_duration_since(*since))?;
        let most = match whom {
            Whom::Agent(_) => GUESSES_MAX,
            Whom::Tenant(_) => TENANT_GUESSES_MAX,
        };
        (*count >= most).then(|| left.as_secs() + 1)
    }

    pub(super) fn guessed(&self, whom: Whom, now: Instant) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.retain(|_, (_, since)| now.saturating_duration_since(*since) < GUESSES_IN);
        if guesses.len() < GUESSED_MAX {
            guesses.entry(whom).or_insert((0, now)).0 += 1;
        }
    }

    /// Takes out what is over, and whose it was.
    fn expire(&self, holds: impl Fn(&Session) -> bool) -> Vec<AgentId> {
        let now = Instant::now();
        let mut open = self.open();
        let mut ended = Vec::new();
        open.retain(|_, session| {
            let stays = !session.is_over(now) && holds(session);
            if !stays {
                ended.push(session.agent.clone());
            }
            stays
        });
        let others: Vec<&AgentId> = open.values().map(|session| &session.agent).collect();
        ended.retain(|agent| !others.contains(&agent));
        ended
    }
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) > IDLE
            || now.saturating_duration_since(self.began) > self.lasts
    }
}

/// Ends sessions whose time is over, and those of agents who are gone, have another password or are another subject. Forgets
/// tokens that hold no more.
pub(super) async fn watch(desks: Arc<Desks>) {
    let mut interval = interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        let holds = |session: &Session| {
            let Some((observed, agent)) = desks.find(&session.agent) else { return false };
            session.began.elapsed() <= lasts(&agent)
                && proof_of(&session.agent, &observed, &agent) == Some(session.proof)
        };
        for agent in desks.sessions.expire(holds) {
            info!(%agent, "the session is over");
            desks.act(&agent, AgentAct::SignOut);
        }
        let mut used = desks.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget(Timestamp::now().as_second());
    }
}
