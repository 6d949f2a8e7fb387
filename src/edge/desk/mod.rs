//! An agent's desk: who signs in, and what goes over the socket of a desk.
//!
//! `POST /api/v1/sessions` with `{"agent": "acme/ada", "password": "…"}` gives a token; `DELETE` with it as bearer ends the
//! session, and the agent's last one signs the agent out. Where the Tenant has a `signIn.openIdConnect`, its agents sign in by
//! that (below). `GET /api/v1/desk` is a WebSocket whose subprotocols are `switchboard.desk.v1` and
//! `bearer.` with the token (pages cannot set a header). One socket stands for an agent; a second takes the place of the
//! first. A socket that closes signs nobody out: a telephone is there without a page, and so is the agent until the session
//! ends.
//!
//! Messages are JSON objects with a `type`. From us:
//!
//! | type | fields | when |
//! |---|---|---|
//! | `welcome` | `version`, `agent`, `displayName`, `state`, `offer`, `calls`, `wrapUps`, `supervises` | first |
//! | `state` | those of `/api/v1/agents` | the agent does something else |
//! | `offer` | `interaction`, `callId`, `queue`, `number`, `dialled`, `callback`, `path`, `waitedSeconds`, `until` | the telephones ring |
//! | `preview` | those of `offer` but `dialled`, and `name`, `variables` | somebody may be called: nothing rings until the desk says `dial` |
//! | `contact` | `interaction`, `number`, `previous` | soon after an offer of who shows a number: the latest calls with that number, of `/api/v1/interactions`; null where nobody knows |
//! | `offerOver` | `interaction` | they ring no more |
//! | `call` | `interaction`, `callId`, `number`, `onHold`, `muted`, `consult`, `rings`, `queue`, `supervision` | a conversation begins, or stands otherwise |
//! | `callOver` | `interaction` | it is over for the agent |
//! | `wrapUp` | `interaction`, `callId`, `queue`, `dispositions` (each with `name` and `title`), `required` | the work after a contact begins |
//! | `wrapUpOver` | `interaction` | it is done, or its time is over |
//! | `conversations` | `conversations`, each with `agent` and what its `call` has | the desk has asked for them |
//! | `replaced` | | another socket stands for the agent |
//! | `error` | `message`, `interaction` | the last message could not be read, or was not done; or a transfer came to nothing |
//!
//! From the desk: `ready`, which signs in again whoever signed out; `away` with `reason`; `accept` with `interaction`: the telephone that rings is
//! asked to answer (below), however often it is said; `decline` with `interaction`; `finish` with `interaction`: the work after a
//! contact is done; `disposition`, one of those that `wrapUp` lists, and `notes`, of at most 2,000 characters, may say what has
//! come of it, and go into its record; `extend` with `interaction` and `seconds`: that work lasts so long from now; `signOut`. With the
//! `interaction` of a `call`, on whatever telephone it is: `hold` and `retrieve`; `mute` and `unmute`; `digits` with `digits`;
//! `hangUp`; `transfer` with `to`, a number, an extension or an agent, dialled as the telephone would: if nobody there
//! answers, the contact is back. `consult` with `to` asks somebody back while the contact hears music: the `consult` of the
//! `call` says whom (`to`) and how far it is (`state`: `Rings`, `Talks` or `Conference`). Then `complete` hands the contact on,
//! and so does who hangs up; `conference` brings all three together; `endConsult` lets go whom was asked. `dial` with `to` calls
//! somebody, with the `interaction` of a `preview` whom that shows: the agent's own telephones ring first, and the `call` says
//! by `rings` that the other is still to answer. `skip` with the `interaction` of a `preview`: nobody is called, and the record
//! says who skipped it. A preview that is let be until its `until` is shown to the next agent, and who let it be is away.
//!
//! An `offer` of who is called back (`callback`) and is called first comes when the contact is dialled, and again, with another
//! `until`, when it has answered and the telephones ring.
//!
//! # Previews
//!
//! `POST /api/v1/previews` has agents of a queue shown whom they may call, one after the other: `src/edge/desk/previews.rs`.
//!
//! # Who picks up
//!
//! `accept` asks the first of the agent's registered telephones that ring to answer: by a NOTIFY of the event `talk` in the early
//! dialog of its INVITE, as telephones with remote call control understand it. One that refuses is passed over; where
//! none is left, an `error` says so, and the telephones ring on. A station with `answering: Automatic` is told in the INVITE to answer by
//! itself what a queue offers, what the agent dials at the desk and whom a supervisor listens to (`Answer-Mode`, RFC 5373;
//! `answer-after=0` in Call-Info; `alert-autoanswer` in Alert-Info); calls of others ring there as everywhere.
//!
//! A station with `leg: Persistent` is rung once when its agent is ready, and kept up until the agent signs out; until it is answered (and 1
//! is pressed at a telephone of the public network) the agent is `Unreachable`. At each contact it hears a tone and the queue's name,
//! and is connected, or with `answering: ByHand` once the desk says `accept`. What the agent dials, and whom a supervisor
//! listens to, goes by it without ringing. Whoever hangs it up is away (`HungUp`), as is who does not answer it (`Unanswered`), until
//! `ready`; one that is lost is rung again by itself.
//!
//! # Supervisors
//!
//! An Agent with `supervises` may listen to conversations that came by those queues (`supervises` of the `welcome`), and to no
//! others: what is not theirs is answered as what there is not. `conversations` asks which there are. `supervise` with `mode` and
//! either `agent` (`acme/bob`, or `bob` of the own tenant) or `interaction` rings the supervisor's own telephones; who answers
//! hears the agent and the contact, and is heard by nobody (`Monitor`), by the agent alone (`Whisper`) or by all (`Barge`). The
//! same again with another `mode` changes that while it lasts; `hangUp`, or hanging up the telephone, ends it. Neither the agent
//! nor the contact hears or is told that somebody comes or goes. The supervisor's `call` has a `supervision` with `agent` and
//! `mode`, and `rings` until the telephone is answered.
//!
//! A supervisor listens to one conversation at a time, and has none of their own meanwhile; a conversation has one supervisor.
//! While the contact is on hold the agent alone is heard, and hears who whispers or barges in; whom the agent asks back is heard
//! in the contact's place, and with it in a conference. It ends with the agent's part in the conversation: when the agent, the contact
//! or the supervisor hangs up, the agent hands the contact on, the supervisor signs out, or `supervises` has the queue no more.
//! The record of the call says who listened, in which mode, and from when till when (`supervisions`).
//!
//! # OpenID Connect
//!
//! `GET /api/v1/sign-in?tenant=acme` says how agents of a tenant sign in: `passwords`, and `openIdConnect` with `issuer`,
//! `authorizationEndpoint`, `clientId`, `scopes`, `codeChallengeMethod` (S256) and perhaps `redirectUri`. The page makes up a
//! state, a nonce and a code verifier (RFC 7636), sends its browser there, and takes the code that it comes back with to
//!
//! - `POST /api/v1/sessions` with `{"tenant": "acme", "code": "…", "codeVerifier": "…", "redirectUri": "…", "nonce": "…"}`:
//!   we exchange the code at the token endpoint. `redirectUri` may be left out where the Tenant says it. Or, with a token
//!   by itself,
//! - `{"tenant": "acme", "idToken": "…", "nonce": "…"}`.
//!
//! The ID token must hold (OpenID Connect Core 1.0 §3.1.3.7): by RS256, PS256, ES256 or EdDSA with a key that the provider
//! publishes, of the Tenant's issuer, for its `clientId`, with that nonce, not expired, and issued at most 10 minutes ago;
//! clocks may be 60 s apart. It opens one session of the agent whose `signIn.subject` is its `sub`, or the claim that
//! `subjectClaim` names; each pod remembers what it has taken. What the provider says of itself is kept for 15 minutes; for a
//! key that is not known its keys are fetched anew, every 10 s at most. A session then lasts as one by password does, and ends
//! when the Tenant has another provider or the agent another subject. It needs the provider no more.
//!
//! What is refused has an `error` for people and a `reason`:
//!
//! | status | reason | |
//! |---|---|---|
//! | 400 | `InvalidRequest` | a field is missing or of another form |
//! | 401 | `CodeRefused` | the provider does not take the code, for instance a second time |
//! | 401 | `TokenRefused` | the token does not hold |
//! | 401 | `TokenUsed` | it has opened a session before |
//! | 401 | `UnknownSubject` | no agent of the tenant is that subject, or several are |
//! | 404 | `NoProvider`, `NoSignIn` | the tenant has no provider; nobody of it signs in here |
//! | 429 | `TooManyFailures` | 50 attempts of the tenant were refused within a minute |
//! | 503 | `ProviderUnavailable` | the provider is away, is not what the Tenant says, or does not take us |
//! | 503 | `Busy` | too many sign in at once |

mod openid;
mod previews;
mod provider;
mod sessions;
mod socket;

use std::sync::{Arc, Mutex};

use ::openid::used::Used;
use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use call::engine::{AgentAct, AgentOrder};
use model::{AgentId, Key, centre::Agent};
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};

use self::{
    openid::{ByCode, ByToken, Shown},
    provider::Providers,
    sessions::{Opened, Sessions},
    socket::Stands,
};
use crate::{http::Site, interactions, observed::Observed};

/// What the handlers of desks look at.
pub(crate) struct Desks {
    site: Arc<Site>,
    /// Whether nobody but this machine asks.
    is_loopback: bool,
    sessions: Sessions,
    stands: Stands,
    providers: Providers,
    /// ID tokens that have opened a session.
    used: Mutex<Used>,
}

impl std::fmt::Debug for Desks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desks")
    }
}

pub(crate) fn router(site: Arc<Site>, is_loopback: bool) -> Router {
    let desks = Arc::new(Desks {
        site,
        is_loopback,
        sessions: Sessions::default(),
        stands: Stands::default(),
        providers: Providers::default(),
        used: Mutex::default(),
    });
    tokio::spawn(sessions::watch(Arc::clone(&desks)));
    Router::new()
        .route("/api/v1/sessions", post(sign_in).delete(sign_out))
        .route("/api/v1/sign-in", get(openid::offer))
        .route("/api/v1/desk", get(socket::open))
        .route("/api/v1/previews", post(previews::post))
        .route("/api/v1/interactions", get(interactions::page))
        .route("/api/v1/interactions/{id}", get(interactions::one))
        .with_state(desks)
}

impl Desks {
    /// The edge that has an agent, and the agent.
    fn find(&self, id: &AgentId) -> Option<(Arc<Observed>, Arc<Agent>)> {
        (self.site.observed)().into_iter().find_map(|observed| {
            let world = observed.world()?;
            let agent = world.snapshot.centre.agents.get(id)?;
            Some((observed, Arc::clone(agent)))
        })
    }

    /// Every edge that the process has by now.
    pub(crate) fn edges(&self) -> Vec<Arc<Observed>> {
        (self.site.observed)()
    }

    /// Whose session a request names, which is used hereby. None: it names none, and comes from this machine.
    ///
    /// # Errors
    /// There is no such session, or there must be one.
    pub(crate) fn whose(&self, headers: &HeaderMap) -> Result<Option<AgentId>, Box<Response>> {
        if !headers.contains_key(header::AUTHORIZATION) {
            let must = "this takes the token of an agent's session as bearer; without one it is told at a loopback address alone";
            return match self.is_loopback {
                true => Ok(None),
                false => Err(Box::new(problem(StatusCode::UNAUTHORIZED, must))),
            };
        }
        let agent = bearer(headers).and_then(|token| self.sessions.used(token));
        let unknown = || Box::new(problem(StatusCode::UNAUTHORIZED, "there is no such session"));
        agent.map(Some).ok_or_else(unknown)
    }

    /// Has an agent do something. False: there is none, or the edge is too busy.
    fn act(&self, agent: &AgentId, act: AgentAct) -> bool {
        self.find(agent).is_some_and(|(observed, _)| observed.act(AgentOrder { agent: agent.clone(), act }))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Proof {
    Password(ByPassword),
    Code(ByCode),
    Token(ByToken),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByPassword {
    /// `namespace/name`.
    agent: Key,
    password: String,
}

pub(crate) fn problem(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
}

async fn sign_in(State(desks): State<Arc<Desks>>, proof: Result<Json<Proof>, JsonRejection>) -> Response {
    match proof {
        Ok(Json(Proof::Password(proof))) => by_password(&desks, proof).await,
        Ok(Json(Proof::Code(code))) => by_provider(&desks, Shown::Code(code)).await,
        Ok(Json(Proof::Token(token))) => by_provider(&desks, Shown::Token(token)).await,
        Err(bad) => {
            let what = "must be a JSON object with `agent`, such as acme/ada, and `password`; or with `tenant`, such as acme, `nonce`, and either `idToken` or `code` and `codeVerifier`";
            // What stands in it is a secret, and what a reader says of it may quote it.
            problem(bad.status(), what)
        }
    }
}

fn opened(agent: &AgentId, name: &str, token: &str, seconds: u64) -> Response {
    info!(%agent, "signed in");
    let session = json!({"token": token, "agent": agent, "displayName": name, "expiresInSeconds": seconds});
    (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(session)).into_response()
}

async fn by_provider(desks: &Desks, shown: Shown) -> Response {
    match openid::sign_in(desks, shown).await {
        Ok(signed) => opened(&signed.agent, &signed.display_name, &signed.token, signed.seconds),
        Err(denied) => denied.into_response(),
    }
}

async fn by_password(desks: &Desks, ByPassword { agent, password }: ByPassword) -> Response {
    let agent = AgentId(agent);
    let found = desks.find(&agent);
    match sessions::open(desks, &agent, found.as_ref(), password).await {
        Opened::Session { token, seconds } => {
            let name = found.map(|(_, agent)| agent.display_name.clone()).unwrap_or_default();
            opened(&agent, &name, &token, seconds)
        }
        Opened::Wrong => {
            warn!(%agent, "could not sign in");
            problem(StatusCode::UNAUTHORIZED, "no agent of that name has that password")
        }
        Opened::TooOften { seconds } => {
            let error =
                problem(StatusCode::TOO_MANY_REQUESTS, "too many passwords were wrong: try again later");
            ([(header::RETRY_AFTER, seconds.to_string())], error).into_response()
        }
        Opened::Busy => problem(StatusCode::SERVICE_UNAVAILABLE, "too many sign in at once: try again"),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn sign_out(State(desks): State<Arc<Desks>>, headers: HeaderMap) -> Response {
    match bearer(&headers).and_then(|token| desks.sessions.close(token)) {
        Some((agent, is_last)) => {
            info!(%agent, "the session is ended");
            if is_last {
                desks.act(&agent, AgentAct::SignOut);
            }
            StatusCode::NO_CONTENT.into_response()
        }
        None => problem(StatusCode::UNAUTHORIZED, "there is no such session"),
    }
}
