//! The validating webhook: denies what an object and its former self prove, and warns of all that depends on others.
//!
//! Everything works without it (`failurePolicy: Ignore`): what it would have denied then shows in the object's status. It
//! never has a word about a deletion, nor about a change that leaves the spec as it is.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kube::{
    api::DynamicObject,
    core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation},
};
use model::Key;
use plan::{Foresight, Problem};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// The API server waits ten seconds at most; who waits longer is better off without an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections at once.
const CONNECTIONS_MAX: usize = 128;

/// Octets of a review: two objects of at most three halves of a megabyte, and what is around them.
const BODY_MAX: usize = 8 << 20;

/// Warnings of one answer, and octets of each: kubectl prints them, and the API server cuts what is longer.
const WARNINGS_MAX: usize = 10;
const WARNING_MAX: usize = 250;

/// Errors that a refusal names.
const DENIALS_MAX: usize = 5;

/// A question to the core.
#[derive(Debug)]
pub struct Ask {
    /// Such as `Trunk`.
    pub kind: String,
    /// Namespace and name.
    pub key: Key,
    /// What it shall say.
    pub spec: Value,
    /// What it says. None: it is new.
    pub old: Option<Value>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Foresight>,
}

#[derive(Clone)]
struct Site {
    asks: mpsc::Sender<Ask>,
    metrics: Arc<Metrics>,
}

/// Serves for ever. Without a certificate, connections are closed.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ArcSwapOption<rustls::ServerConfig>>,
    asks: mpsc::Sender<Ask>,
    metrics: Arc<Metrics>,
) {
    let router = Router::new()
        .route("/validate", post(validate))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Site { asks, metrics });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The system has no file left, or the other side is gone already.
            Err(error) => {
                warn!(%error, "webhook: no connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (Some(config), Ok(place)) = (tls.load_full(), Arc::clone(&places).try_acquire_owned()) else {
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            let Ok(Ok(stream)) = timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await else {
                debug!("webhook: no handshake");
                return;
            };
            let service = TowerToHyperService::new(router);
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
            // What goes wrong on a connection is the other side's to tell.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn validate(
    State(site): State<Site>,
    Json(review): Json<AdmissionReview<DynamicObject>>,
) -> Json<AdmissionReview<DynamicObject>> {
    let request: AdmissionRequest<DynamicObject> = match review.try_into() {
        Ok(request) => request,
        Err(error) => return Json(AdmissionResponse::invalid(error).into_review()),
    };
    let response = AdmissionResponse::from(&request);
    let Some(foresight) = foresee(&site, &request).await else {
        site.metrics.admission.add("answer=\"no opinion\"".into());
        return Json(response.into_review());
    };
    let mut response = response;
    let warnings: Vec<String> = foresight.across.iter().map(warning).take(WARNINGS_MAX).collect();
    response.warnings = (!warnings.is_empty()).then_some(warnings);
    let answer = if foresight.own.is_empty() { "allowed" } else { "denied" };
    site.metrics.admission.add(format!("answer=\"{answer}\""));
    if !foresight.own.is_empty() {
        response = response.deny(denial(&foresight.own));
    }
    Json(response.into_review())
}

/// What there is to say about it. None: nothing.
async fn foresee(site: &Site, request: &AdmissionRequest<DynamicObject>) -> Option<Foresight> {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return None;
    }
    let object = request.object.as_ref()?;
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let spec = object.data.get("spec")?.clone();
    let old = request.old_object.as_ref().and_then(|old| old.data.get("spec")).cloned();
    if old.as_ref() == Some(&spec) {
        return None;
    }
    // With `generateName` there is no name yet.
    let name = object.metadata.name.as_deref().unwrap_or(&request.name);
    let key = Key::new(request.namespace.as_deref().unwrap_or_default(), name);
    let (answer, answered) = oneshot::channel();
    let ask = Ask { kind: request.kind.kind.clone(), key, spec, old, answer };
    site.asks.try_send(ask).ok()?;
    timeout(PATIENCE, answered).await.ok()?.ok()
}

fn told(problem: &Problem) -> String {
    match (&problem.object, problem.field.as_str()) {
        (Some(id), "") => format!("{id} [{}]: {}", problem.reason, problem.message),
        (Some(id), field) => format!("{id} {field} [{}]: {}", problem.reason, problem.message),
        (None, _) => format!("[{}]: {}", problem.reason, problem.message),
    }
}

fn warning(problem: &Problem) -> String {
    let mut text = told(problem);
    if text.len() > WARNING_MAX {
        let end = (0..=WARNING_MAX - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

fn denial(problems: &[Problem]) -> String {
    let mut texts: Vec<String> = problems.iter().take(DENIALS_MAX).map(told).collect();
    if problems.len() > DENIALS_MAX {
        texts.push(format!("and {} more", problems.len() - DENIALS_MAX));
    }
    texts.join("; ")
}
