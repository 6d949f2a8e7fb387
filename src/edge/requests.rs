//! What flows ask services: [`call::engine::Output::Request`], carried out beside the calls.

use std::sync::Arc;

use call::{
    cursor::Asked,
    engine::{ANSWER_MAX, Input, Response, ToAsk},
    world::World,
};
use model::{program::Method, secrets::Secrets, snapshot::Snapshot};
use outbound::Integrations;
use tokio::sync::{Semaphore, mpsc};

use crate::{observed::Observed, shell::Shared};

/// Requests that wait for their turn.
const QUEUE_MAX: usize = 1_024;

/// Requests at a time; one more waits for its turn, or in vain.
const TASKS_MAX: usize = 256;

/// The services of all tenants, as they are now: an edge's engines ask them together, so that their bounds hold over all.
pub struct Requests {
    integrations: Arc<Integrations>,
    seen: Option<(Arc<Snapshot>, Secrets)>,
    observed: Arc<Observed>,
    jobs: mpsc::Sender<ToAsk>,
    queue: Option<mpsc::Receiver<ToAsk>>,
}

impl Requests {
    pub fn new(integrations: Arc<Integrations>, observed: Arc<Observed>) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        Self { integrations, seen: None, observed, jobs, queue: Some(queue) }
    }

    /// Has a service asked; gives the answer at once if that cannot be.
    pub fn ask(&mut self, world: &World, to_ask: ToAsk) -> Option<Input> {
        let is_known = |(snapshot, secrets): &(Arc<Snapshot>, Secrets)| {
            Arc::ptr_eq(snapshot, &world.snapshot) && secrets == world.secrets()
        };
        if !self.seen.as_ref().is_some_and(is_known) {
            self.seen = Some((Arc::clone(&world.snapshot), world.secrets().clone()));
            self.integrations.update(&world.snapshot, world.secrets());
        }
        let ToAsk { call, request, .. } = to_ask;
        let full = self.jobs.try_send(to_ask).is_err();
        full.then(|| Input::Answered {
            call,
            request,
            answer: Err("too many requests wait for their turn".into()),
        })
    }
}

/// Takes requests, as long as the thread lives. What they cost is other threads'.
pub async fn serve(core: Shared) {
    let Some(workers) = core.borrow().workers() else { return };
    let (queue, integrations, observed) = {
        let requests = &mut core.borrow_mut().requests;
        (requests.queue.take(), Arc::clone(&requests.integrations), Arc::clone(&requests.observed))
    };
    let Some(mut queue) = queue else { return };
    let turns = Arc::new(Semaphore::new(TASKS_MAX));
    while let Some(ToAsk { call, request, asked }) = queue.recv().await {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let (core, observed) = (std::rc::Rc::clone(&core), Arc::clone(&observed));
        let answer = workers.spawn(answer(Arc::clone(&integrations), asked));
        tokio::task::spawn_local(async move {
            let answer = answer.await.unwrap_or_else(|error| Err(error.to_string()));
            let count = if answer.is_ok() { &observed.requests_answered } else { &observed.requests_failed };
            count.add(1);
            core.borrow_mut().step(Input::Answered { call, request, answer });
            drop(turn);
        });
    }
}

async fn answer(integrations: Arc<Integrations>, asked: Asked) -> Result<Response, String> {
    let service = integrations.get(&asked.integration).map_err(|failed| failed.to_string())?;
    let is_message = asked.is_message;
    let request = written(asked)?;
    let answer = service.request(&request).await.map_err(|failed| failed.to_string())?;
    if is_message {
        return Ok(Response::of_status(answer.status.as_u16()));
    }
    Response::parse(answer.status.as_u16(), &answer.body).map_err(|unreadable| unreadable.to_string())
}

fn written(asked: Asked) -> Result<outbound::Asked, String> {
    let method = match asked.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
        Method::Patch => hyper::Method::PATCH,
        Method::Delete => hyper::Method::DELETE,
    };
    let has_body = asked.body.is_some();
    let body = asked.body.unwrap_or_default().into_bytes();
    let mut request = outbound::Asked::new(method, asked.path, body, ANSWER_MAX);
    request.timeout = asked.timeout;
    // It bears an id, by which the service knows what it has had.
    request.idempotent |= asked.is_message;
    if has_body {
        let json = hyper::header::HeaderValue::from_static("application/json");
        request.headers.insert(hyper::header::CONTENT_TYPE, json);
    }
    for (name, value) in asked.headers {
        let field = hyper::header::HeaderName::from_bytes(name.as_bytes());
        let value = hyper::header::HeaderValue::from_str(&value);
        let (Ok(field), Ok(value)) = (field, value) else {
            return Err(format!("the header `{name}` or its value is none of HTTP's"));
        };
        request.headers.insert(field, value);
    }
    Ok(request)
}
