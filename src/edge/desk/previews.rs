//! `POST /api/v1/previews`: an agent of a queue is shown whom it may call, and says `dial` or `skip` at the desk.
//!
//! It takes the token of one of the Tenant's `services` that may do so as bearer, and no other: an agent's session is 403. The
//! body is a JSON object: `queue` (`namespace/name`) and `number` (E.164); and, where they are known, `name`, `variables` (texts
//! by their names), `callerId` (E.164, granted to the tenant by one of its `outboundTrunks`), `previewSeconds` (how long an
//! agent may look at it; 5 to 600, absent: 60) and `waitSeconds` (for an agent; 1 to 86,400, absent: 3,600).
//!
//! 202 has `callId`, by which explanations and records tell what became of it: an agent may skip it, nobody may be free in time,
//! the number may not answer. It waits in the queue as a contact does, without a leg, and holds the agent who is shown it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use call::{
    engine::{Preview, may_preview},
    world::World,
};
use model::{
    E164, Key, QueueId,
    snapshot::{May, Service},
};
use openssl::{memcmp, rand, sha::sha256};
use serde::Deserialize;
use serde_json::json;

use super::{Desks, bearer, problem};
use crate::observed::Observed;

/// Longest name of a contact and longest value of a variable, in characters; how many variables.
const NAME_MAX: usize = 128;
const VALUE_MAX: usize = 1_024;
const VARIABLES_MAX: usize = 32;
/// Longest name of a variable, in bytes.
const VARIABLE_MAX: usize = 63;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    queue: Key,
    number: String,
    caller_id: Option<String>,
    name: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    preview_seconds: Option<u64>,
    wait_seconds: Option<u64>,
}

impl Wanted {
    fn preview(self, call_id: String) -> Result<Preview, String> {
        let number = |name: &str, text: &str| {
            let wrong = |_| format!("`{name}` must be a number in E.164, such as +12125550142");
            text.parse::<E164>().map_err(wrong)
        };
        let within = |name: &str, value: Option<u64>, least: u64, most: u64, usual: u64| match value {
            Some(value) if !(least..=most).contains(&value) => {
                Err(format!("`{name}` is {value} and must be {least} to {most}"))
            }
            value => Ok(Duration::from_secs(value.unwrap_or(usual))),
        };
        let is_text = |text: &str, most: usize| {
            text.chars().count() <= most && !text.contains(|c: char| c.is_control())
        };
        let name = self.name.unwrap_or_default();
        if !is_text(&name, NAME_MAX) {
            return Err(format!("`name` must be at most {NAME_MAX} characters without control characters"));
        }
        let is_name = |name: &str| (1..=VARIABLE_MAX).contains(&name.len()) && is_text(name, VARIABLE_MAX);
        let is_good = |(name, value): (&String, &String)| is_name(name) && is_text(value, VALUE_MAX);
        if self.variables.len() > VARIABLES_MAX || !self.variables.iter().all(is_good) {
            return Err(format!(
                "`variables` must be at most {VARIABLES_MAX}, with names of 1 to {VARIABLE_MAX} bytes and values of at most {VALUE_MAX} characters, without control characters"
            ));
        }
        Ok(Preview {
            call_id,
            queue: QueueId(self.queue),
            number: number("number", &self.number)?,
            caller_id: self.caller_id.map(|text| number("callerId", &text)).transpose()?,
            name,
            variables: self.variables,
            shown_for: within("previewSeconds", self.preview_seconds, 5, 600, 60)?,
            wait_max: within("waitSeconds", self.wait_seconds, 1, 86_400, 3_600)?,
        })
    }
}

pub(super) async fn post(
    State(desks): State<Arc<Desks>>,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Response {
    let token = bearer(&headers).unwrap_or_default();
    let served = desks.edges().into_iter().filter_map(|edge| Some((edge.world()?, edge)));
    let served: Vec<(Arc<World>, Arc<Observed>)> = served.collect();
    let tenant = served.iter().find_map(|(world, _)| tenant_of(world, token));
    let Some(tenant) = tenant else {
        return match desks.sessions.used(token) {
            Some(_) => problem(StatusCode::FORBIDDEN, "this takes the token of a service of the Tenant's"),
            None => problem(StatusCode::UNAUTHORIZED, "no service of a Tenant has this token and may do so"),
        };
    };
    let wanted = match wanted {
        Ok(Json(wanted)) => wanted,
        Err(bad) => return problem(bad.status(), &bad.body_text()),
    };
    let mut octets = [0; 8];
    if rand::rand_bytes(&mut octets).is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "there is no randomness to name it by: try again");
    }
    let call_id = format!("preview-{:016x}", u64::from_be_bytes(octets));
    let preview = match wanted.preview(call_id.clone()) {
        Ok(preview) => preview,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
    };
    // Whether another tenant has such a queue is nobody's business.
    let has = |world: &World| world.snapshot.centre.queues.contains_key(&preview.queue);
    let found = served.iter().find(|(world, _)| preview.queue.0.namespace() == tenant && has(world));
    let Some((world, edge)) = found else {
        return problem(StatusCode::NOT_FOUND, &format!("{tenant} has no Queue {}", preview.queue));
    };
    if let Err(because) = may_preview(world, &preview) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, &because);
    }
    let ready = (desks.site.ready)();
    if ready.is_err() || !edge.preview(preview) {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the edge takes none now: try again");
    }
    (StatusCode::ACCEPTED, Json(json!({"callId": call_id}))).into_response()
}

/// The tenant one of whose services has the token, and may have agents shown whom to call.
fn tenant_of(world: &World, token: &str) -> Option<String> {
    let shown = sha256(token.as_bytes());
    let fits = |tenant: &str, service: &Service| {
        let object = Key::new(tenant, &service.secret.name);
        let known = world.secrets().get(&object, &service.secret.key).map(<[u8]>::trim_ascii);
        // An empty secret lets nobody in.
        let known = known.filter(|known| !known.is_empty()).map(sha256);
        service.may.contains(&May::Previews) && known.is_some_and(|known| memcmp::eq(&known, &shown))
    };
    let mut services = world.snapshot.cluster.services.iter();
    let found = services.find(|(tenant, services)| services.iter().any(|service| fits(tenant, service)));
    found.map(|(tenant, _)| tenant.clone())
}
