//! `/livez`, `/readyz`, `/metrics`.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Why the operator is not ready. None: it is.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<Option<String>>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some("it has only just begun".into()))))
    }
}

impl Readiness {
    /// Says so. True: it was otherwise before.
    pub fn set(&self, reason: Option<String>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = *now != reason;
        *now = reason;
        moved
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone)]
struct Site {
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, readiness: Readiness, metrics: Arc<Metrics>) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(Site { readiness, metrics });
    axum::serve(listener, router).await
}

async fn ready(State(site): State<Site>) -> Response {
    match site.readiness.get() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn text(State(site): State<Site>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], site.metrics.text()).into_response()
}
