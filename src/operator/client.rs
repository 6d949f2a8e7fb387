//! The way to the API server: every request is counted by verb and resource, and no answer is waited for without end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Method, Request, Response, StatusCode, Uri, header::RETRY_AFTER};
use kube::{Client, Config, client::ClientBuilder};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// A server that says nothing for so long is not heard any more. Longer than the longest silence of a watch, which its
/// server ends.
const SILENCE: Duration = Duration::from_secs(75);

/// Most that a server may have us wait before we ask again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(8);

/// A client whose requests `metrics` counts. It never asks again by itself: each caller has its own pace, and knows what it
/// wants by then.
///
/// # Errors
/// When the configuration is of no use, such as a certificate that cannot be read.
pub fn connect(mut config: Config, metrics: &Arc<Metrics>) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    // From when a request is sent, however long its connection had nothing to do.
    config.reset_reader_on_write = true;
    let counted = Counted { metrics: Arc::clone(metrics) };
    Ok(ClientBuilder::try_from(config)?.with_layer(&counted).build())
}

struct Counted {
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountedService { inner, metrics: Arc::clone(&self.metrics) }
    }
}

struct CountedService<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, A, B> Service<Request<A>> for CountedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (verb, resource) = meaning(request.method(), request.uri());
        let labels = format!("verb=\"{verb}\",resource=\"{resource}\"");
        self.metrics.requests.add(labels.clone());
        let (answer, metrics) = (self.inner.call(request), Arc::clone(&self.metrics));
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            if !(200..400).contains(&code) {
                metrics.request_errors.add(format!("{labels},code=\"{code}\""));
            }
            // Whoever asks again does so once it has the answer, so that comes no sooner.
            let wait = answer.as_ref().ok().and_then(asks_to_wait);
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
            }
            answer
        })
    }
}

/// For how long a server that is busy wants to be left alone.
fn asks_to_wait<B>(answer: &Response<B>) -> Option<Duration> {
    if ![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status()) {
        return None;
    }
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Verb and resource of a request as RBAC has them: `patch`, `phonenumbers/status`.
#[must_use]
pub fn meaning(method: &Method, uri: &Uri) -> (&'static str, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    // /api/v1/… and /apis/group/version/…
    let rest = match parts.first() {
        Some(&"api") => parts.get(2..),
        Some(&"apis") => parts.get(3..),
        _ => None,
    };
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return ("get", uri.path().to_owned());
    };
    let rest = if rest[0] == "namespaces" && rest.len() > 2 { &rest[2..] } else { rest };
    let named = rest.len() > 1;
    let resource = match rest.get(2) {
        Some(below) => format!("{}/{below}", rest[0]),
        None => rest[0].to_owned(),
    };
    let watches = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    let verb = match *method {
        Method::GET if watches => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "other",
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_rbac_names_them() {
        let rows = [
            ("GET", "/apis/switchboard.dev/v1alpha1/phonenumbers?limit=500", "list", "phonenumbers"),
            ("GET", "/apis/switchboard.dev/v1alpha1/trunks?watch=true&resourceVersion=1", "watch", "trunks"),
            (
                "PATCH",
                "/apis/switchboard.dev/v1alpha1/namespaces/acme/phonenumbers/main/status?force=true",
                "patch",
                "phonenumbers/status",
            ),
            ("GET", "/api/v1/namespaces/acme/secrets?labelSelector=a", "list", "secrets"),
            ("GET", "/api/v1/namespaces/acme", "get", "namespaces"),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/x/leases/switchboard", "update", "leases"),
            ("GET", "/version", "get", "/version"),
        ];
        for (method, uri, verb, resource) in rows {
            let found = meaning(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(found, (verb, resource.to_owned()), "{method} {uri}");
        }
    }

    #[test]
    fn a_busy_server_is_left_alone_for_as_long_as_it_asks_within_reason() {
        let told = |code: u16, after: &str| {
            let answer = Response::builder().status(code).header(RETRY_AFTER, after);
            asks_to_wait(&answer.body(()).unwrap())
        };
        assert_eq!(told(429, "3"), Some(Duration::from_secs(3)));
        assert_eq!(told(503, "86400"), Some(RETRY_AFTER_MAX));
        assert_eq!((told(429, "soon"), told(500, "3"), told(200, "3")), (None, None, None));
    }
}
