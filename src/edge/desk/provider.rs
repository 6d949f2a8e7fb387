//! A tenant's OpenID provider, as it is asked: what it says of itself, its keys, and tokens for codes.
//!
//! Everything goes by [`outbound::Service`]: TLS with the cluster's policy, public addresses and `reachableRanges` alone, bounds
//! of size and time, no redirect followed, and a server that fails is left alone for a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    Method,
    header::{self, HeaderValue},
};
use ipnet::IpNet;
use model::{
    Key,
    centre::{Integration, SecretKey},
    secrets::Secrets,
    snapshot::OpenIdProvider,
    trunk::TlsPolicy,
};
use openid::{
    document::{self, Document},
    exchange::{self, Client, Code, Refusal},
    keys::{self, Keys},
};
use outbound::{Asked, Failed, Service, guard::Denied};
use tokio::sync;
use tracing::warn;

use crate::observed::Observed;

/// How long a provider may take for one answer.
const ANSWER_SECONDS_MAX: u32 = 4;

/// How long what it says of itself, and its keys, are taken for true.
const KEPT: Duration = Duration::from_mins(15);

/// Between two looks for a key that is not known, and between two attempts after one that failed.
const KEYS_EVERY: Duration = Duration::from_secs(10);
const ATTEMPTS_EVERY: Duration = Duration::from_secs(1);

/// Requests in a second to one of its hosts.
const REQUESTS_PER_SECOND_MAX: u32 = 20;

/// Hosts of one provider that are remembered: it has one, or three.
const HOSTS_MAX: usize = 8;

/// Why a provider cannot be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Away {
    /// It is not there, not well, or not what the tenant says.
    #[error("{0}")]
    Unavailable(String),
    /// It was asked too often.
    #[error("too many sign in at once: try again")]
    Busy,
    /// It does not take the code.
    #[error("{0}")]
    Code(String),
}

impl From<Failed> for Away {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else failed, the provider cannot be had")]
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Denied(Denied::TooMany(_)) => Self::Busy,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The providers of the tenants that have signed in, by namespace.
#[derive(Default)]
pub(super) struct Providers(Mutex<BTreeMap<String, Arc<Provider>>>);

pub(super) struct Provider {
    made_of: MadeOf,
    tenant: String,
    hosts: Mutex<BTreeMap<String, Arc<Service>>>,
    state: sync::Mutex<State>,
}

/// What it is reached by; as long as that is the same, so is what is known of it.
#[derive(PartialEq)]
struct MadeOf {
    form: OpenIdProvider,
    secrets: Secrets,
    policy: TlsPolicy,
    ranges: Vec<IpNet>,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    failed: Option<(Instant, Away)>,
}

/// What a provider has said.
pub(super) struct Known {
    pub document: Document,
    pub keys: Keys,
    since: Instant,
    keys_since: Instant,
}

impl Providers {
    /// A tenant's provider. None: it has none.
    pub fn of(&self, observed: &[Arc<Observed>], tenant: &str) -> Option<Arc<Provider>> {
        let worlds: Vec<_> = observed.iter().filter_map(|observed| observed.world()).collect();
        let form = |tenant: &str| {
            worlds.iter().find_map(|world| Some((world, world.snapshot.cluster.providers.get(tenant)?)))
        };
        let mut providers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        providers.retain(|tenant, _| form(tenant).is_some());
        let (world, form) = form(tenant)?;
        let cluster = &world.snapshot.cluster;
        let made_of = MadeOf {
            form: form.clone(),
            secrets: named(tenant, form, world.secrets()),
            policy: cluster.tls.clone(),
            ranges: cluster.reachable_ranges.clone(),
        };
        if let Some(same) = providers.get(tenant).filter(|provider| provider.made_of == made_of) {
            return Some(Arc::clone(same));
        }
        let provider = Arc::new(Provider {
            made_of,
            tenant: tenant.to_owned(),
            hosts: Mutex::default(),
            state: sync::Mutex::default(),
        });
        providers.insert(tenant.to_owned(), Arc::clone(&provider));
        Some(provider)
    }
}

/// The values that a provider needs.
fn named(tenant: &str, form: &OpenIdProvider, secrets: &Secrets) -> Secrets {
    let value = |secret: &SecretKey| {
        let object = Key::new(tenant, &secret.name);
        let value = secrets.get(&object, &secret.key)?.to_vec();
        Some(((object, secret.key.clone()), value))
    };
    form.secret.iter().chain(&form.ca).filter_map(value).collect()
}

impl Provider {
    pub const fn form(&self) -> &OpenIdProvider {
        &self.made_of.form
    }

    /// What it says of itself, and its keys. Whoever waits for somebody else's attempt takes what comes of it.
    pub async fn known(&self) -> Result<Arc<Known>, Away> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(known) = state.known.as_ref().filter(|known| known.since.elapsed() < KEPT) {
            return Ok(Arc::clone(known));
        }
        if let Some((at, away)) = &state.failed
            && (*at >= asked || at.elapsed() < ATTEMPTS_EVERY)
        {
            return Err(away.clone());
        }
        state.known = None;
        let fetched = self.fetched().await;
        self.keep(&mut state, fetched)
    }

    /// The same with newer keys than these. None: they were looked for a moment ago.
    pub async fn rotated(&self, before: &Arc<Known>) -> Result<Option<Arc<Known>>, Away> {
        let mut state = self.state.lock().await;
        if let Some(known) = state.known.as_ref().filter(|known| !Arc::ptr_eq(known, before)) {
            return Ok(Some(Arc::clone(known)));
        }
        if before.keys_since.elapsed() < KEYS_EVERY {
            return Ok(None);
        }
        if let Some((_, away)) = state.failed.as_ref().filter(|(at, _)| at.elapsed() < ATTEMPTS_EVERY) {
            return Err(away.clone());
        }
        let document = before.document.clone();
        let keys = self.keys(&document).await;
        let known =
            keys.map(|keys| Known { document, keys, since: before.since, keys_since: Instant::now() });
        self.keep(&mut state, known).map(Some)
    }

    fn keep(&self, state: &mut State, known: Result<Known, Away>) -> Result<Arc<Known>, Away> {
        match known {
            Ok(known) => {
                let known = Arc::new(known);
                (state.known, state.failed) = (Some(Arc::clone(&known)), None);
                Ok(known)
            }
            Err(away) => {
                warn!(tenant = self.tenant, because = %away, "the OpenID provider cannot be asked");
                state.failed = Some((Instant::now(), away.clone()));
                Err(away)
            }
        }
    }

    async fn fetched(&self) -> Result<Known, Away> {
        let issuer = &self.form().issuer;
        let body = self.get(&document::address(issuer), document::DOCUMENT_MAX).await?;
        let document = document::read(&body, issuer).map_err(|fault| Away::Unavailable(fault.to_string()))?;
        let keys = self.keys(&document).await?;
        let now = Instant::now();
        Ok(Known { document, keys, since: now, keys_since: now })
    }

    async fn keys(&self, document: &Document) -> Result<Keys, Away> {
        let body = self.get(&document.jwks_uri, keys::SET_MAX).await?;
        Keys::read(&body).map_err(Away::Unavailable)
    }

    /// The ID token for a code.
    pub async fn exchange(&self, document: &Document, code: &Code<'_>) -> Result<String, Away> {
        let secret = self.secret()?;
        let client = Client { id: &self.form().client_id, secret: secret.as_deref() };
        let form =
            exchange::form(document, &client, code).map_err(|fault| Away::Unavailable(fault.to_string()))?;
        let (service, path) = self.service(&document.token_endpoint)?;
        let mut asked = Asked::new(Method::POST, path, form.body, exchange::ANSWER_MAX);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        asked.headers.insert(header::CONTENT_TYPE, kind);
        asked.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = form.authorization {
            let value = HeaderValue::try_from(authorization);
            let mut value =
                value.map_err(|_| Away::Unavailable("the client's secret cannot be sent".into()))?;
            value.set_sensitive(true);
            asked.headers.insert(header::AUTHORIZATION, value);
        }
        let answer = service.request(&asked).await?;
        exchange::read(answer.status.as_u16(), &answer.body).map_err(|refusal| match refusal {
            Refusal::Code(_) => Away::Code(refusal.to_string()),
            Refusal::Client(_) | Refusal::Answer(_) => {
                warn!(tenant = self.tenant, because = %refusal, "the OpenID provider gives no token");
                Away::Unavailable(refusal.to_string())
            }
        })
    }

    fn secret(&self) -> Result<Option<String>, Away> {
        let Some(reference) = &self.form().secret else { return Ok(None) };
        let object = Key::new(&self.tenant, &reference.name);
        let value = self.made_of.secrets.get(&object, &reference.key);
        let text = value.and_then(|value| std::str::from_utf8(value.trim_ascii()).ok());
        text.filter(|text| !text.is_empty()).map(|text| Some(text.to_owned())).ok_or_else(|| {
            warn!(
                "Nobody of tenant {} can sign in: Secret {object} must have the client's secret under `{}`",
                self.tenant, reference.key
            );
            Away::Unavailable("the tenant's sign-in has no client's secret".into())
        })
    }

    async fn get(&self, address: &str, most: usize) -> Result<Bytes, Away> {
        let (service, path) = self.service(address)?;
        let mut asked = Asked::new(Method::GET, path, Bytes::new(), most);
        asked.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok(service.request(&asked).await?.good()?.body)
    }

    /// The host of an address, and what it is asked for.
    fn service<'a>(&self, address: &'a str) -> Result<(Arc<Service>, &'a str), Away> {
        let parts = document::parts(address);
        let (host, path) =
            parts.ok_or_else(|| Away::Unavailable(format!("`{address}` is no https address")))?;
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = hosts.get(host) {
            return Ok((Arc::clone(service), path));
        }
        let form = Integration {
            url: host.to_owned(),
            timeout_seconds: ANSWER_SECONDS_MAX,
            headers: Vec::new(),
            requests_per_second_max: REQUESTS_PER_SECOND_MAX,
            tls13_only: false,
            suites: Vec::new(),
            ca: self.form().ca.clone(),
            certificate: None,
            proxy: None,
        };
        let MadeOf { secrets, policy, ranges, .. } = &self.made_of;
        let name = Key::new(&self.tenant, "openIdConnect");
        let service = Service::new(&name, &form, secrets, (policy, ranges)).map_err(|because| {
            warn!("Nobody of tenant {} can sign in: {because}", self.tenant);
            Away::Unavailable("the tenant's sign-in cannot be used: the log says why".into())
        })?;
        if hosts.len() >= HOSTS_MAX {
            hosts.clear();
        }
        let service = Arc::new(service);
        hosts.insert(host.to_owned(), Arc::clone(&service));
        Ok((service, path))
    }
}
