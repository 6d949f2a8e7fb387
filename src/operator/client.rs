//! The way to the API server, with every request counted by verb and resource.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{Method, Request, Uri};
use kube::{Client, Config, client::ClientBuilder};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// A client whose requests `metrics` counts.
///
/// # Errors
/// When the configuration is of no use, such as a certificate that cannot be read.
pub fn connect(config: Config, metrics: &Arc<Metrics>) -> Result<Client, kube::Error> {
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

impl<S: Service<Request<B>>, B> Service<Request<B>> for CountedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, resource) = meaning(request.method(), request.uri());
        self.metrics.requests.add(format!("verb=\"{verb}\",resource=\"{resource}\""));
        self.inner.call(request)
    }
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
}
