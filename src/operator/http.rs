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

/// Why the operator is not ready, if it is not. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<Reasons>>);

/// None: there is nothing in the way.
#[derive(Debug)]
struct Reasons {
    /// Of the core, and of what it begins with.
    core: Option<String>,
    /// Of the link: without an authority no pod can connect.
    link: Option<String>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Reasons {
            core: Some("it has only just begun".into()),
            link: Some("pods cannot connect yet".into()),
        })))
    }
}

impl Readiness {
    /// What is in the way of planning. True: it was otherwise before.
    pub fn set(&self, reason: Option<String>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = now.core != reason;
        now.core = reason;
        moved
    }

    /// What is in the way of pods that want to connect.
    pub fn set_link(&self, reason: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).link = reason;
    }

    fn get(&self) -> Option<String> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.core.clone().or_else(|| now.link.clone())
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
