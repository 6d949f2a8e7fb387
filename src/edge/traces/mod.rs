//! Spans of calls (OpenTelemetry), made of what the engine says anyway; sent only where the VoiceCluster says where to.
//!
//! One span for each call, and below it one for the admission, one for each INVITE that leaves, one until the answer and
//! one from there to the end. They leave when the call is over. Numbers lose their last digits; what was pressed, and the
//! path that it led to, is not in them.

mod export;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use call::{
    engine::Attempt,
    explanation::{Explanation, Outcome},
    record::Record,
    world::World,
};
use jiff::Timestamp;
use model::{section::Digest, snapshot::Tracing};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{Event, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::sync::mpsc;
use tracing::warn;

use self::export::Settings;
use crate::observed::Observed;

/// Calls whose spans are collected at a time; one more is not traced.
const CALLS_MAX: usize = 65_536;

/// Calls that wait for the thread that sends them.
const QUEUE_MAX: usize = 4_096;

/// Events and INVITEs of one call.
const EVENTS_MAX: usize = 64;
const DIALS_MAX: usize = 64;

/// Traces of one engine's thread.
pub struct Traces {
    settings: Option<Settings>,
    permille: u32,
    open: BTreeMap<String, Open>,
    queue: Option<mpsc::Sender<Vec<SpanData>>>,
    observed: Arc<Observed>,
    scope: InstrumentationScope,
}

/// A call that goes on.
struct Open {
    trace: TraceId,
    root: SpanId,
    admitted_at: SystemTime,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    spans: Vec<SpanData>,
    dials: usize,
}

impl Traces {
    pub fn new(observed: Arc<Observed>) -> Self {
        Self {
            settings: None,
            permille: 0,
            open: BTreeMap::new(),
            queue: None,
            observed,
            scope: InstrumentationScope::builder("switchboard").build(),
        }
    }

    /// Whether any call is traced.
    pub const fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// After a snapshot or values of Secrets: sends to where they say from now on.
    pub fn renew(&mut self, world: &World) {
        let wanted = world.snapshot.cluster.tracing.as_ref();
        self.permille = wanted.map_or(0, |tracing| tracing.sample_permille);
        let settings = wanted.and_then(|tracing| match settings(tracing, world) {
            Ok(settings) => Some(settings),
            Err(because) => {
                warn!("no spans are sent: {because}");
                None
            }
        });
        if settings == self.settings {
            return;
        }
        // The thread of before ends with its queue.
        self.queue = None;
        if let Some(settings) = &settings {
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            match export::start(settings.clone(), receiver, Arc::clone(&self.observed)) {
                Ok(()) => self.queue = Some(sender),
                Err(error) => warn!("no spans are sent: {error}"),
            }
        } else {
            self.open.clear();
        }
        self.settings = settings;
    }

    /// An INVITE was routed or refused.
    pub fn explained(&mut self, explanation: &Explanation, now: Timestamp) {
        let call_id = &explanation.call_id;
        if !self.is_sampled(call_id) {
            return;
        }
        if self.open.len() >= CALLS_MAX {
            self.observed.spans_lost.add(1);
            return;
        }
        let digest = Digest::of(format!("{call_id} {}", explanation.at).as_bytes());
        let (trace, root) = ids(&digest);
        let began = SystemTime::from(explanation.at);
        let admitted_at = SystemTime::from(now);
        let mut open = Open {
            trace,
            root,
            admitted_at,
            attributes: first_attributes(explanation),
            events: Vec::new(),
            spans: Vec::new(),
            dials: 0,
        };
        let mut admission = self.span(&open, "admission", SpanKind::Internal, (began, admitted_at));
        for candidate in explanation.candidates.iter().take(EVENTS_MAX) {
            let failed = candidate.failed.as_deref().map_or_else(String::new, |failed| format!(": {failed}"));
            let name = masked(&format!("{}{failed}", candidate.object));
            admission.events.events.push(Event::new(name, admitted_at, Vec::new(), 0));
        }
        let (code, because) = match &explanation.outcome {
            Outcome::Routed { .. } | Outcome::Placed { .. } => {
                open.spans.push(admission);
                self.open.insert(call_id.clone(), open);
                return;
            }
            Outcome::Refused { code, because } => (*code, masked(because)),
            Outcome::Challenged { .. } | Outcome::Ignored { .. } | Outcome::Promised { .. } => return,
        };
        admission.status = Status::error(because.clone());
        open.spans.push(admission);
        open.attributes.push(status_code(code));
        open.attributes.push(KeyValue::new("error.type", code.to_string()));
        self.close(open, (began, admitted_at), Status::error(because));
    }

    /// Something befell a call.
    pub fn told(&mut self, call_id: &str, what: &str, now: Timestamp) {
        if let Some(open) = self.open.get_mut(call_id)
            && open.events.len() < EVENTS_MAX
        {
            open.events.push(Event::new(masked(what), SystemTime::from(now), Vec::new(), 0));
        }
    }

    /// An INVITE that left for a call has come to something.
    pub fn attempt(&mut self, attempt: &Attempt) {
        let Some(mut open) = self.open.remove(&attempt.call_id) else { return };
        if open.dials < DIALS_MAX {
            open.dials += 1;
            let began = SystemTime::from(attempt.began);
            let mut span = self.span(&open, "dial", SpanKind::Client, (began, began + attempt.took));
            let remote = attempt.flow.remote;
            span.attributes = vec![
                KeyValue::new("switchboard.trunk", attempt.trunk.to_string()),
                KeyValue::new("server.address", remote.ip().to_string()),
                KeyValue::new("server.port", i64::from(remote.port())),
                KeyValue::new("network.transport", attempt.flow.transport.as_str().to_ascii_lowercase()),
                KeyValue::new("network.protocol.name", "sip"),
                status_code(attempt.code),
            ];
            if let Some(delay) = attempt.post_dial_delay {
                let delay = KeyValue::new("switchboard.post_dial_delay", delay.as_secs_f64());
                span.attributes.push(delay);
            }
            if attempt.code >= 300 {
                span.attributes.push(KeyValue::new("error.type", attempt.code.to_string()));
                span.status = Status::error(format!("answered {}", attempt.code));
            }
            open.spans.push(span);
        }
        self.open.insert(attempt.call_id.clone(), open);
    }

    /// A call is over: its spans leave.
    pub fn ended(&mut self, record: &Record) {
        let Some(mut open) = self.open.remove(&record.call_id) else { return };
        let (began, ended) = (SystemTime::from(record.started_at), SystemTime::from(record.ended_at));
        let until_answer = (open.admitted_at, record.answered_at.map_or(ended, SystemTime::from));
        let mut answer = self.span(&open, "answer", SpanKind::Internal, until_answer);
        if record.answered_at.is_none() {
            answer.status = Status::error(format!("not answered: {}", record.sip_code));
        }
        open.spans.push(answer);
        if let Some(answered_at) = record.answered_at {
            let talk = (SystemTime::from(answered_at), ended);
            let talk = self.span(&open, "talk", SpanKind::Internal, talk);
            open.spans.push(talk);
        }
        let revision = record.revision.as_ref();
        open.attributes
            .extend(revision.map(|revision| KeyValue::new("switchboard.flow.revision", revision.clone())));
        open.attributes.extend([
            KeyValue::new("switchboard.ended_by", format!("{:?}", record.ended_by)),
            KeyValue::new("switchboard.q850.cause", i64::from(record.cause)),
            status_code(record.sip_code),
        ]);
        if let Some(verstat) = record.verstat {
            open.attributes.push(KeyValue::new("switchboard.verstat", verstat.as_str()));
        }
        let status = match &record.because {
            Some(because) => {
                open.attributes.push(KeyValue::new("error.type", record.sip_code.to_string()));
                Status::error(masked(because))
            }
            None => Status::Unset,
        };
        self.close(open, (began, ended), status);
    }

    fn close(&self, open: Open, times: (SystemTime, SystemTime), status: Status) {
        let mut root = self.span(&open, "call", SpanKind::Server, times);
        root.span_context = context(open.trace, open.root);
        root.parent_span_id = SpanId::INVALID;
        root.attributes = open.attributes;
        root.events.events = open.events;
        root.status = status;
        let mut spans = open.spans;
        spans.push(root);
        let count = spans.len();
        let Some(queue) = &self.queue else { return };
        if queue.try_send(spans).is_err() {
            self.observed.spans_lost.add(count as u64);
        }
    }

    /// A span of a call, below its own.
    fn span(
        &self,
        open: &Open,
        name: &'static str,
        span_kind: SpanKind,
        (start_time, end_time): (SystemTime, SystemTime),
    ) -> SpanData {
        let digest = Digest::of(format!("{} {} {name}", open.root, open.spans.len()).as_bytes());
        SpanData {
            span_context: context(open.trace, ids(&digest).1),
            parent_span_id: open.root,
            parent_span_is_remote: false,
            span_kind,
            name: Cow::Borrowed(name),
            start_time,
            end_time: end_time.max(start_time),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// By its Call-ID, so that every edge that sees it decides alike.
    fn is_sampled(&self, call_id: &str) -> bool {
        let [first, second, third, fourth, ..] = *Digest::of(call_id.as_bytes()).as_bytes();
        self.is_on() && u32::from_be_bytes([first, second, third, fourth]) % 1_000 < self.permille
    }
}

fn settings(tracing: &Tracing, world: &World) -> Result<Settings, String> {
    let value = |place: &Option<(model::Key, String)>| match place {
        None => Ok(None),
        Some((object, key)) => match world.secrets().get(object, key) {
            Some(value) => Ok(Some(value.to_vec())),
            None => Err(format!("Secret {object} has no `{key}`, or is not there")),
        },
    };
    Ok(Settings {
        endpoint: tracing.endpoint.clone(),
        headers: value(&tracing.headers)?,
        ca: value(&tracing.ca)?,
        cluster: world.snapshot.cluster.code.clone(),
    })
}

fn first_attributes(explanation: &Explanation) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    if let Some(source) = explanation.source {
        attributes.push(KeyValue::new("client.address", source.ip().to_string()));
        attributes.push(KeyValue::new("client.port", i64::from(source.port())));
    }
    attributes.extend([
        KeyValue::new("network.protocol.name", "sip"),
        KeyValue::new("switchboard.listener", explanation.listener.clone()),
        KeyValue::new("switchboard.call_id_hash", short(&Digest::of(explanation.call_id.as_bytes()))),
        KeyValue::new("switchboard.caller", masked(&explanation.from)),
        KeyValue::new("switchboard.callee", masked(&explanation.to)),
    ]);
    if let Outcome::Routed { trunk, number, flow } = &explanation.outcome {
        attributes.extend([
            KeyValue::new("switchboard.trunk", trunk.to_string()),
            KeyValue::new("switchboard.number", number.to_string()),
            KeyValue::new("switchboard.flow", flow.to_string()),
        ]);
    }
    attributes
}

fn status_code(code: u16) -> KeyValue {
    KeyValue::new("sip.response.status_code", Value::I64(i64::from(code)))
}

fn context(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
}

/// Neither is zero but by a chance of 1 in 2⁶⁴.
fn ids(digest: &Digest) -> (TraceId, SpanId) {
    let bytes = digest.as_bytes();
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    trace.copy_from_slice(&bytes[..16]);
    span.copy_from_slice(&bytes[16..24]);
    (TraceId::from_bytes(trace), SpanId::from_bytes(span))
}

/// Twelve hexadecimal digits: enough to find a call by, and no Call-ID, which may hold a host's name or a number.
pub fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

/// Digits that follow one another lose the last four of them and all but the first seven, if they are as many as a
/// telephone number has.
pub fn masked(text: &str) -> String {
    const TELEPHONE: usize = 7;
    const HIDDEN: usize = 4;
    const SHOWN_MAX: usize = 7;
    let mut masked = String::with_capacity(text.len());
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let long = digits.len() >= TELEPHONE;
        let shown = if long { (digits.len() - HIDDEN).min(SHOWN_MAX) } else { digits.len() };
        masked.push_str(&digits[..shown]);
        masked.extend(std::iter::repeat_n('x', digits.len() - shown));
        digits.clear();
        if character != '\0' {
            masked.push(character);
        }
    }
    masked
}

/// How long spans are collected before they are sent.
pub const LINGER: Duration = Duration::from_secs(1);
