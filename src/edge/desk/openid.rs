//! Sessions by OpenID Connect: what a page must know to send its browser to the tenant's provider, and whose token it is that
//! comes of it.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use model::{
    AgentId, Key,
    centre::{Agent, SignIn},
    snapshot::OpenIdProvider,
};
use openid::{
    exchange::Code,
    keys::Keys,
    token::{self, Expected, Refused, Verified},
    used::Taken,
};
use openssl::sha::sha256;
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};
use tracing::warn;

use super::{
    Desks,
    provider::{Away, Provider},
    sessions::{Opened, Whom},
};
/// How long a sign-in may take in all.
const SIGN_IN_MAX: Duration = Duration::from_secs(12);

/// Sign-ins that are under way at once.
static UNDER_WAY: Semaphore = Semaphore::const_new(256);

/// Longest code, address and nonce, in octets.
const CODE_MAX: usize = 4_096;
const ADDRESS_MAX: usize = 1_024;
const NONCE_MAX: usize = 255;

/// When to come back to a provider that is away, in seconds.
const AWAY_SECONDS: u64 = 5;

/// A code that a browser came back with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ByCode {
    tenant: String,
    code: String,
    code_verifier: String,
    redirect_uri: Option<String>,
    nonce: String,
}

/// A token that a page got by itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ByToken {
    tenant: String,
    id_token: String,
    nonce: String,
}

pub(super) enum Shown {
    Code(ByCode),
    Token(ByToken),
}

/// Who has signed in.
pub(super) struct Signed {
    pub agent: AgentId,
    pub display_name: String,
    pub token: String,
    pub seconds: u64,
}

/// Why nobody has.
pub(super) struct Denied {
    status: StatusCode,
    reason: &'static str,
    error: String,
    again: Option<u64>,
}

impl Denied {
    fn new(status: StatusCode, reason: &'static str, error: impl Into<String>) -> Self {
        Self { status, reason, error: error.into(), again: None }
    }

    fn request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", error)
    }

    fn busy() -> Self {
        let error = "too many sign in at once: try again";
        Self { again: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", error) }
    }

    fn refused(reason: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, reason, error)
    }
}

impl From<Away> for Denied {
    fn from(away: Away) -> Self {
        match away {
            Away::Busy => Self::busy(),
            Away::Code(error) => Self::refused("CodeRefused", error),
            Away::Unavailable(because) => {
                let error = format!("the tenant's OpenID provider cannot be asked: {because}");
                let away = Self::new(StatusCode::SERVICE_UNAVAILABLE, "ProviderUnavailable", error);
                Self { again: Some(AWAY_SECONDS), ..away }
            }
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let told = (self.status, Json(json!({"error": self.error, "reason": self.reason})));
        match self.again {
            Some(seconds) => ([(header::RETRY_AFTER, seconds.to_string())], told).into_response(),
            None => told.into_response(),
        }
    }
}

/// What a session rests on: it ends when the tenant has another provider, or the agent is another subject.
pub(super) fn proof(form: &OpenIdProvider, subject: &str) -> [u8; 32] {
    let of = json!([form.issuer, form.client_id, form.subject_claim, subject]);
    sha256(of.to_string().as_bytes())
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    tenant: String,
}

/// `GET /api/v1/sign-in`: how agents of a tenant sign in.
pub(super) async fn offer(
    State(desks): State<Arc<Desks>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Response {
    let Ok(Query(Page { tenant })) = page else {
        return Denied::request("must name the tenant, as in /api/v1/sign-in?tenant=acme").into_response();
    };
    let passwords = desks.has_passwords(&tenant);
    let provider = desks.provider(&tenant);
    if provider.is_none() && !passwords {
        let error = "no agent of that tenant can sign in here";
        return Denied::new(StatusCode::NOT_FOUND, "NoSignIn", error).into_response();
    }
    let uncached = [(header::CACHE_CONTROL, "no-store")];
    let Some(provider) = provider else {
        let answer = json!({"tenant": tenant, "passwords": passwords});
        return (uncached, Json(answer)).into_response();
    };
    let form = provider.form();
    match timeout(SIGN_IN_MAX, provider.known()).await.unwrap_or_else(|_| Err(late())) {
        Ok(known) => {
            let scopes: Vec<&str> =
                std::iter::once("openid").chain(form.scopes.iter().map(String::as_str)).collect();
            let mut open_id = json!({
                "issuer": form.issuer, "clientId": form.client_id, "scopes": scopes,
                "authorizationEndpoint": known.document.authorization_endpoint, "codeChallengeMethod": "S256",
            });
            if let Some(address) = &form.redirect_uri {
                open_id["redirectUri"] = json!(address);
            }
            let answer = json!({"tenant": tenant, "passwords": passwords, "openIdConnect": open_id});
            (uncached, Json(answer)).into_response()
        }
        // Who has a password can use it meanwhile.
        Err(away) => {
            let denied = Denied::from(away);
            let again = denied.again.unwrap_or(AWAY_SECONDS).to_string();
            let answer = json!({
                "tenant": tenant, "passwords": passwords, "error": denied.error, "reason": denied.reason,
            });
            (denied.status, uncached, [(header::RETRY_AFTER, again)], Json(answer)).into_response()
        }
    }
}

fn late() -> Away {
    Away::Unavailable(format!("no answer within {} s", SIGN_IN_MAX.as_secs()))
}

/// Opens a session for the agent whom the tenant's provider says that it is.
pub(super) async fn sign_in(desks: &Desks, shown: Shown) -> Result<Signed, Denied> {
    let (tenant, nonce) = match &shown {
        Shown::Code(ByCode { tenant, nonce, .. }) | Shown::Token(ByToken { tenant, nonce, .. }) => {
            (tenant.clone(), nonce.clone())
        }
    };
    if nonce.is_empty() || nonce.len() > NONCE_MAX {
        return Err(Denied::request(format!("`nonce` must have 1 to {NONCE_MAX} bytes")));
    }
    let Some(provider) = desks.provider(&tenant) else {
        let error = "that tenant has no OpenID provider";
        return Err(Denied::new(StatusCode::NOT_FOUND, "NoProvider", error));
    };
    let whom = Whom::Tenant(tenant.clone());
    if let Some(seconds) = desks.sessions.holds_off(&whom, Instant::now()) {
        let error = "too many attempts of this tenant failed: try again later";
        let denied = Denied::new(StatusCode::TOO_MANY_REQUESTS, "TooManyFailures", error);
        return Err(Denied { again: Some(seconds), ..denied });
    }
    let Ok(_place) = UNDER_WAY.try_acquire() else { return Err(Denied::busy()) };
    let verified = timeout(SIGN_IN_MAX, verified(&provider, shown, &nonce)).await;
    let signed = match verified.unwrap_or_else(|_| Err(late().into())) {
        Ok(verified) => desks.admit(&tenant, &provider, &verified),
        Err(denied) => Err(denied),
    };
    signed.inspect_err(|denied| {
        warn!(tenant, reason = denied.reason, because = denied.error, "could not sign in");
        if denied.status == StatusCode::UNAUTHORIZED {
            desks.sessions.guessed(whom, Instant::now());
        }
    })
}

async fn verified(provider: &Provider, shown: Shown, nonce: &str) -> Result<Verified, Denied> {
    let mut known = provider.known().await?;
    let token = match shown {
        Shown::Token(ByToken { id_token, .. }) => id_token,
        Shown::Code(by) => {
            let redirect_uri = address(&by, provider.form())?;
            let code = Code { code: &by.code, verifier: &by.code_verifier, redirect_uri };
            provider.exchange(&known.document, &code).await?
        }
    };
    let form = provider.form();
    let expected = Expected {
        issuer: &form.issuer,
        client_id: &form.client_id,
        nonce,
        subject_claim: &form.subject_claim,
    };
    let look = |keys: &Keys| token::verify(&token, keys, &expected, Timestamp::now().as_second());
    let mut looked = look(&known.keys);
    if looked == Err(Refused::UnknownKey)
        && let Some(newer) = provider.rotated(&known).await?
    {
        known = newer;
        looked = look(&known.keys);
    }
    looked.map_err(|refused| Denied::refused("TokenRefused", refused.to_string()))
}

/// Where the browser was sent back to, which the provider holds against what it was told before.
fn address<'a>(by: &'a ByCode, form: &'a OpenIdProvider) -> Result<&'a str, Denied> {
    let is_text = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic())
    };
    if !is_text(&by.code, CODE_MAX) {
        return Err(Denied::request(format!("`code` must have 1 to {CODE_MAX} bytes of printable ASCII")));
    }
    // RFC 7636 §4.1.
    let is_unreserved = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    if !(43..=128).contains(&by.code_verifier.len()) || !by.code_verifier.bytes().all(is_unreserved) {
        let error = "`codeVerifier` must have 43 to 128 letters, digits, `-`, `.`, `_` and `~`";
        return Err(Denied::request(error));
    }
    match (by.redirect_uri.as_deref(), form.redirect_uri.as_deref()) {
        (Some(said), Some(fixed)) if said != fixed => {
            Err(Denied::request("`redirectUri` must be the one of the Tenant, which /api/v1/sign-in tells"))
        }
        (_, Some(address)) => Ok(address),
        (Some(address), None) if is_text(address, ADDRESS_MAX) => Ok(address),
        (_, None) => Err(Denied::request("`redirectUri` must say where the browser was sent back to")),
    }
}

impl Desks {
    fn provider(&self, tenant: &str) -> Option<Arc<Provider>> {
        self.providers.of(&(self.site.observed)(), tenant)
    }

    /// Whether some agent of a tenant has a password.
    fn has_passwords(&self, tenant: &str) -> bool {
        let by_password = |agent: &Agent| matches!(agent.sign_in, Some(SignIn::Password(_)));
        self.of_tenant(tenant).iter().any(|(_, agent)| by_password(agent))
    }

    fn of_tenant(&self, tenant: &str) -> Vec<(AgentId, Arc<Agent>)> {
        let mut all = Vec::new();
        for observed in (self.site.observed)() {
            let Some(world) = observed.world() else { continue };
            let agents = world.snapshot.centre.agents.range(AgentId(Key::new(tenant, ""))..);
            let own = agents.take_while(|(id, _)| id.0.namespace() == tenant);
            all.extend(own.map(|(id, agent)| (id.clone(), Arc::clone(agent))));
        }
        all
    }

    /// A session for whose token holds.
    fn admit(&self, tenant: &str, provider: &Provider, verified: &Verified) -> Result<Signed, Denied> {
        let now = Timestamp::now().as_second();
        let taken = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.take(verified.id, verified.until, now)
        };
        match taken {
            Taken::First => {}
            Taken::Again => return Err(Denied::refused("TokenUsed", "the token was used before")),
            Taken::Full => return Err(Denied::busy()),
        }
        let is_meant = |agent: &Agent| matches!(&agent.sign_in, Some(SignIn::Subject(subject)) if *subject == verified.subject);
        let all = self.of_tenant(tenant);
        let mut meant = all.into_iter().filter(|(_, agent)| is_meant(agent));
        let (id, agent) = match (meant.next(), meant.next()) {
            (Some(only), None) => only,
            // Nobody could say whose session it is; `check` tells of it.
            (Some(_), Some(_)) => {
                return Err(Denied::refused("UnknownSubject", "several agents are that subject"));
            }
            (None, _) => {
                let error = format!(
                    "no agent of the tenant has the `subject` that the token's `{}` says",
                    provider.form().subject_claim
                );
                return Err(Denied::refused("UnknownSubject", error));
            }
        };
        match self.sessions.admit(&id, &agent, proof(provider.form(), &verified.subject)) {
            Opened::Session { token, seconds } => {
                Ok(Signed { agent: id, display_name: agent.display_name.clone(), token, seconds })
            }
            Opened::Wrong | Opened::TooOften { .. } | Opened::Busy => Err(Denied::busy()),
        }
    }
}
