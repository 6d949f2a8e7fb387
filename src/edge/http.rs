//! What every role serves over HTTP, and what the edge tells of its calls.

use std::{io, net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use bytes::Bytes;
use call::record::Saved;
use futures::future::BoxFuture;
use model::kept::Entry;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{desk, observed::Observed, openapi};

/// Reads what is stored under a name, or says why it cannot be read.
pub type Stored = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// What a list of recordings or messages is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Messages, or recordings of calls.
    pub messages: bool,
    /// Of the tenant of this namespace alone.
    pub tenant: Option<String>,
    /// Of this VoicemailBox alone, `namespace/name`.
    pub voicemail_box: Option<String>,
    /// Of the boxes of this Agent alone, `namespace/name`.
    pub agent: Option<String>,
    /// What comes after this one.
    pub after: Option<String>,
    /// How many at most.
    pub most: usize,
}

/// Lists recordings and messages that are kept, newest first, or says why it cannot.
pub type Listed = Arc<dyn Fn(Ask) -> BoxFuture<'static, Result<Vec<Entry>, String>> + Send + Sync>;

/// What handlers look at.
pub struct Site {
    /// Of each edge that the process has by now.
    pub observed: Box<dyn Fn() -> Vec<Arc<Observed>> + Send + Sync>,
    /// Further metrics, in the text format of Prometheus.
    pub more_metrics: Box<dyn Fn(&mut String) + Send + Sync>,
    /// Lists recordings and messages. None: this process has no store, and tells of the latest that its edges know of.
    pub listed: Option<Listed>,
    /// Gives recordings and messages out. None: this process does not.
    pub stored: Option<Stored>,
    /// Whether calls can come, or why not.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Site")
    }
}

/// Serves until the listener fails.
///
/// # Errors
/// The listener's.
pub async fn serve(listener: TcpListener, site: Arc<Site>) -> io::Result<()> {
    let is_loopback = listener.local_addr()?.ip().is_loopback();
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route("/api/v1/explanations/{call_id}", get(explanation))
        .route("/api/v1/ladders/{call_id}", get(ladder))
        .route("/api/v1/bans", get(bans))
        .route("/api/v1/bans/{address}", delete(lift))
        .route("/api/v1/registrations", get(registrations))
        .route("/api/v1/queues", get(queues))
        .route("/api/v1/agents", get(agents))
        .route("/api/v1/recordings", get(recordings))
        .route("/api/v1/recordings/{*name}", get(bytes))
        .route("/api/v1/voicemails", get(voicemails))
        .with_state(Arc::clone(&site))
        .merge(desk::router(site, is_loopback));
    axum::serve(listener, router).await
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    match (site.ready)() {
        Ok(()) => "ok\n".into_response(),
        Err(because) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {because}\n")).into_response(),
    }
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let observed = (site.observed)();
    let mut text = if observed.is_empty() { String::new() } else { Observed::metrics(&observed) };
    (site.more_metrics)(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn explanation(State(site): State<Arc<Site>>, Path(call_id): Path<String>) -> Response {
    match (site.observed)().iter().find_map(|observed| observed.explanation(&call_id)) {
        Some(explanation) => Json(explanation).into_response(),
        None => {
            let problem = json!({"error": "no INVITE with this Call-ID is among the latest"});
            (StatusCode::NOT_FOUND, Json(problem)).into_response()
        }
    }
}

/// The messages of a call: of its A leg, and of the legs that were dialled for it.
async fn ladder(State(site): State<Arc<Site>>, Path(call_id): Path<String>) -> Response {
    let found = (site.observed)().iter().find_map(|observed| {
        let rungs = observed.ladder_of(&call_id);
        (!rungs.is_empty()).then_some(rungs)
    });
    match found {
        Some(rungs) => Json(rungs).into_response(),
        None => {
            let problem = json!({"error": "no message with this Call-ID is among the latest"});
            (StatusCode::NOT_FOUND, Json(problem)).into_response()
        }
    }
}

/// Sources that are not heard for a while.
async fn bans(State(site): State<Arc<Site>>) -> Response {
    let bans: Vec<_> = (site.observed)()
        .iter()
        .flat_map(|observed| observed.bans())
        .map(|(address, until)| json!({"address": address, "until": until}))
        .collect();
    Json(bans).into_response()
}

/// Hears a source again.
async fn lift(State(site): State<Arc<Site>>, Path(address): Path<IpAddr>) -> Response {
    let lifted = (site.observed)().iter().filter(|observed| observed.lift(address)).count();
    if lifted > 0 {
        return StatusCode::NO_CONTENT.into_response();
    }
    let problem = json!({"error": format!("{address} is not banned")});
    (StatusCode::NOT_FOUND, Json(problem)).into_response()
}

/// Stations that are registered.
async fn registrations(State(site): State<Arc<Site>>) -> Response {
    let stations: Vec<_> = (site.observed)().iter().flat_map(|observed| observed.stations()).collect();
    Json(stations).into_response()
}

#[derive(Debug, Deserialize)]
struct TenantsPage {
    /// Namespace of a tenant.
    tenant: Option<String>,
}

/// Queues as they stand.
async fn queues(State(site): State<Arc<Site>>, Query(page): Query<TenantsPage>) -> Response {
    let edges = (site.observed)();
    let all = edges.iter().flat_map(|observed| observed.floors.queues());
    let wanted =
        all.filter(|queue| page.tenant.as_deref().is_none_or(|tenant| queue.id.0.namespace() == tenant));
    Json(wanted.collect::<Vec<_>>()).into_response()
}

/// Agents, and what they do.
async fn agents(State(site): State<Arc<Site>>, Query(page): Query<TenantsPage>) -> Response {
    let edges = (site.observed)();
    let all = edges.iter().flat_map(|observed| observed.floors.agents());
    let wanted =
        all.filter(|agent| page.tenant.as_deref().is_none_or(|tenant| agent.id.0.namespace() == tenant));
    Json(wanted.collect::<Vec<_>>()).into_response()
}

#[derive(Debug, Deserialize)]
struct SoundsPage {
    limit: Option<usize>,
    /// Namespace of a tenant.
    tenant: Option<String>,
    /// A VoicemailBox, `namespace/name`.
    r#box: Option<String>,
    /// An Agent whose boxes are meant, `namespace/name`.
    agent: Option<String>,
    /// Name of the last one of the page before.
    after: Option<String>,
}

/// Recordings of calls, newest first.
async fn recordings(State(site): State<Arc<Site>>, Query(page): Query<SoundsPage>) -> Response {
    sounds(&site, page, false).await
}

/// Messages, newest first: of one box, of an agent's, or of all.
async fn voicemails(State(site): State<Arc<Site>>, Query(page): Query<SoundsPage>) -> Response {
    sounds(&site, page, true).await
}

async fn sounds(site: &Site, page: SoundsPage, messages: bool) -> Response {
    let problem = |status: StatusCode, error: String| (status, Json(json!({"error": error}))).into_response();
    let most = page.limit.unwrap_or(100).min(1_000);
    if let Some(listed) = &site.listed {
        let SoundsPage { tenant, r#box, agent, after, .. } = page;
        let ask = Ask { messages, tenant, voicemail_box: r#box, agent, after, most };
        return match listed(ask).await {
            Ok(entries) => Json(entries).into_response(),
            Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error),
        };
    }
    if page.agent.is_some() || page.after.is_some() {
        let error = "this process has no store: ask a media pod for `agent` and `after`";
        return problem(StatusCode::BAD_REQUEST, error.to_owned());
    }
    let fits = |saved: &Saved| {
        let id = saved.sound.voicemail_box.as_ref().map(ToString::to_string);
        id.is_some() == messages
            && page.tenant.as_ref().is_none_or(|tenant| *tenant == saved.tenant)
            && page.r#box.as_ref().is_none_or(|wanted| Some(wanted) == id.as_ref())
    };
    let edges = (site.observed)();
    let mut sounds: Vec<_> = edges.iter().flat_map(|observed| observed.sounds.latest(most, fits)).collect();
    sounds.sort_by_key(|saved| std::cmp::Reverse(saved.sound.started_at));
    sounds.truncate(most);
    Json(sounds).into_response()
}

/// A recording or a message itself, where this process gives them out.
async fn bytes(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    let problem = |status: StatusCode, error: String| (status, Json(json!({"error": error}))).into_response();
    let Some(stored) = site.stored.clone() else {
        let error = "sounds are given out by `switchboard local --state` and by media pods, at a loopback address alone";
        return problem(StatusCode::FORBIDDEN, error.to_owned());
    };
    let kind = if name.ends_with(".wav") { "audio/wav" } else { "audio/ogg" };
    match stored(name).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(error) => problem(StatusCode::NOT_FOUND, error),
    }
}
