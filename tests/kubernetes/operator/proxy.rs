//! A proxy between an operator and the API server: it keeps what passed, and spoils what it is told to.
//!
//! Plain HTTP comes in with the operator's own token, TLS goes out; so the API server still sees the operator.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::Response,
};
use futures::{StreamExt, stream};
use kube::{Client, Config, config::AuthInfo};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::world::World;

/// Larger than any request of an operator.
const REQUEST_MAX: usize = 4 << 20;

/// A request as RBAC sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub verb: &'static str,
    pub group: String,
    /// With its subresource: `trunks/status`.
    pub resource: String,
    /// Empty: all, or none.
    pub namespace: String,
    pub name: String,
    /// What the operator was answered.
    pub code: u16,
}

impl Seen {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb)
    }

    /// Whether it only says who leads.
    pub fn is_renewal(&self) -> bool {
        self.resource == "leases"
    }

    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }

    fn read(method: &Method, uri: &Uri) -> Self {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, mut rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            rest => ("", rest),
        };
        let mut namespace = "";
        if let ["namespaces", name, below @ ..] = rest
            && !below.is_empty()
        {
            (namespace, rest) = (name, below);
        }
        let name = rest.get(1).copied().unwrap_or_default();
        let resource = match rest {
            [resource, _, below, ..] => format!("{resource}/{below}"),
            [resource, ..] => (*resource).to_owned(),
            [] => String::new(),
        };
        let watches = uri
            .query()
            .is_some_and(|query| query.split('&').any(|pair| ["watch=true", "watch=1"].contains(&pair)));
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if name.is_empty() => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if name.is_empty() => "deletecollection",
            _ => "delete",
        };
        Self {
            verb,
            group: group.to_owned(),
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            code: 0,
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered so without ever reaching the API server; 429 with `Retry-After: 1`.
    Refused(u16),
    /// It is done, and the answer says so.
    Lost,
    /// A watch is told that its version is too old, as after a compaction.
    Expired,
    /// A watch begins, and nothing ever comes.
    Silent,
}

struct Rule {
    fault: Fault,
    /// How many more requests it meets.
    left: usize,
    matches: Box<dyn Fn(&Seen) -> bool + Send>,
}

/// What becomes of the watches that stand.
#[derive(Debug, Clone, Copy, Default)]
struct Streams {
    /// How often all of them have been broken off.
    cuts: u64,
    /// They stand, and nothing comes any more.
    hold: bool,
}

struct Inner {
    client: Client,
    seen: Mutex<Vec<Seen>>,
    rules: Mutex<Vec<Rule>>,
    streams: watch::Sender<Streams>,
}

/// It ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub fn start(world: &World) -> Self {
        world.run(async {
            let mut config = world.config().await;
            config.auth_info = AuthInfo::default();
            let inner = Arc::new(Inner {
                client: Client::try_from(quiet(config)).unwrap(),
                seen: Mutex::default(),
                rules: Mutex::default(),
                streams: watch::Sender::default(),
            });
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().fallback(pass).with_state(Arc::clone(&inner));
            let serving = tokio::spawn(async move {
                let _ = axum::serve(listener, router).await;
            });
            Self { address, inner, serving }
        })
    }

    /// All requests so far that have been answered, in that order.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// Requests that change something, but for the Lease's.
    pub fn writes(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.is_write() && !seen.is_renewal());
        seen
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        self.inner.seen.lock().unwrap().clear();
    }

    /// Spoils the next `times` requests that match.
    pub fn spoil(&self, fault: Fault, times: usize, matches: impl Fn(&Seen) -> bool + Send + 'static) {
        self.inner.rules.lock().unwrap().push(Rule { fault, left: times, matches: Box::new(matches) });
    }

    /// Ends all faults, and how many requests they would still have met.
    pub fn heal(&self) -> usize {
        self.inner.streams.send_modify(|streams| streams.hold = false);
        self.inner.rules.lock().unwrap().drain(..).map(|rule| rule.left).sum()
    }

    /// Has every watch that stands break off.
    pub fn cut_watches(&self) {
        self.inner.streams.send_modify(|streams| streams.cuts += 1);
    }

    /// Has every watch stand and say nothing, until `heal`; one that begins meanwhile too.
    pub fn hold_watches(&self) {
        self.inner.streams.send_modify(|streams| streams.hold = true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Watches last as long as the operator wants.
fn quiet(mut config: Config) -> Config {
    config.read_timeout = None;
    config.write_timeout = None;
    config
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let mut seen = Seen::read(request.method(), request.uri());
    let fault = {
        let mut rules = inner.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && (rule.matches)(&seen));
        rule.map(|rule| {
            rule.left -= 1;
            rule.fault
        })
    };
    let answer = match fault {
        Some(Fault::Refused(code)) => refusal(code),
        Some(Fault::Expired) => expired(),
        Some(Fault::Silent) => {
            Response::new(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()))
        }
        Some(Fault::Lost) => {
            forward(&inner, request).await;
            refusal(504)
        }
        None => forward(&inner, request).await,
    };
    seen.code = answer.status().as_u16();
    let watches = seen.verb == "watch";
    inner.seen.lock().unwrap().push(seen);
    if watches { breakable(&inner, answer) } else { answer }
}

async fn forward(inner: &Inner, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, REQUEST_MAX).await else { return refusal(413) };
    let sent = inner.client.send(axum::http::Request::from_parts(parts, body.to_vec().into())).await;
    match sent {
        Ok(answer) => answer.map(Body::new),
        Err(_) => refusal(502),
    }
}

/// A watch that this proxy can end or hold.
fn breakable(inner: &Inner, answer: Response) -> Response {
    let streams = inner.streams.subscribe();
    let begun = streams.borrow().cuts;
    answer.map(|body| {
        let state = (body.into_data_stream(), streams);
        Body::from_stream(stream::unfold(state, move |(mut chunks, mut streams)| async move {
            loop {
                let now = *streams.borrow_and_update();
                if now.cuts != begun {
                    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    return Some((Err(broken), (chunks, streams)));
                }
                let held = now.hold;
                tokio::select! {
                    // Where both are ready, what was told first comes first.
                    biased;
                    changed = streams.changed() => changed.ok()?,
                    chunk = chunks.next(), if !held => {
                        return Some((chunk?.map_err(std::io::Error::other), (chunks, streams)));
                    }
                }
            }
        }))
    })
}

fn refusal(code: u16) -> Response {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("the proxy says {code}"), "reason": reason, "code": code});
    let mut answer = Response::new(Body::from(status.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    answer
}

fn expired() -> Response {
    let event = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410}});
    let mut answer = Response::new(Body::from(format!("{event}\n")));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_rbac_reads_them() {
        for (method, uri, wanted) in [
            (
                "GET",
                "/apis/switchboard.dev/v1alpha1/trunks?watch=true",
                ("watch", "switchboard.dev", "trunks", "", ""),
            ),
            ("GET", "/api/v1/namespaces/a/secrets", ("list", "", "secrets", "a", "")),
            ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "", "a")),
            (
                "PATCH",
                "/apis/switchboard.dev/v1alpha1/namespaces/a/trunks/b/status?force=true",
                ("patch", "switchboard.dev", "trunks/status", "a", "b"),
            ),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
                ("update", "coordination.k8s.io", "leases", "a", "b"),
            ),
        ] {
            let seen = Seen::read(&method.parse().unwrap(), &uri.parse().unwrap());
            let found = (seen.verb, &*seen.group, &*seen.resource, &*seen.namespace, &*seen.name);
            assert_eq!(found, wanted, "{method} {uri}");
        }
    }
}
