use std::{collections::BTreeMap, net::SocketAddr, sync::Mutex};

use call::{explanation::Candidate, record::EndedBy};
use model::{
    CallId, FlowId, Key, NumberId, TrunkId,
    net::{Flow, ListenerIx, Transport},
    secrets::Secrets,
    snapshot::{SCHEMA, Snapshot},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue as Pair, any_value::Value as Told},
    trace::v1::Span,
};
use tonic::{Request, Response, transport::server::TcpIncoming};

use super::*;

#[derive(Debug, Default)]
struct Collected {
    spans: Vec<Span>,
    service: Vec<Pair>,
    key: Option<String>,
}

#[derive(Debug, Default, Clone)]
struct Collector(Arc<Mutex<Collected>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, tonic::Status> {
        let key = request.metadata().get("x-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
        let mut kept = self.0.lock().unwrap();
        kept.key = key;
        for resource in request.into_inner().resource_spans {
            kept.service = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            kept.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on this machine; only a runtime can have it.
fn collector() -> (Collector, SocketAddr) {
    let collector = Collector::default();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let service = TraceServiceServer::new(collector.clone());
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (collector, address)
}

fn world(tracing: Option<serde_json::Value>) -> World {
    let snapshot = serde_json::json!({
        "schema": SCHEMA,
        "cluster": {
            "id": "platform/c14", "code": "C14", "listeners": [], "networks": [], "rtpPorts": [20_000, 20_999],
            "limits": {"callsMax": 100, "callSecondsMax": 3_600}, "drainSeconds": 30, "tracing": tracing,
        },
        "trunks": {}, "numbers": {}, "flows": {}, "hours": {}, "audio": {},
    });
    let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
    let key = (Key::new("platform", "collector"), "headers".to_owned());
    let secrets: Secrets = [(key, b"X-Key: letmein\n".to_vec())].into_iter().collect();
    World::new(snapshot.into(), BTreeMap::new(), None).unwrap().with_secrets(secrets)
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-23T15:00:{text}Z").parse().unwrap()
}

fn explanation(outcome: Outcome) -> Explanation {
    Explanation {
        call_id: "a@192.0.2.1".into(),
        at: at("00"),
        source: "192.0.2.1:5060".parse().ok(),
        listener: "udp".into(),
        from: "+12125550199".into(),
        to: "+18005550100".into(),
        candidates: vec![Candidate { object: "PhoneNumber acme/main".into(), failed: None }],
        outcome,
        legs: Vec::new(),
        course: Vec::new(),
    }
}

fn routed() -> Explanation {
    explanation(Outcome::Routed {
        trunk: TrunkId::new("platform", "carrier"),
        number: NumberId::new("acme", "main"),
        flow: FlowId::new("acme", "main"),
    })
}

fn attempt(code: u16) -> Attempt {
    Attempt {
        call_id: "a@192.0.2.1".into(),
        trunk: TrunkId::new("acme", "pbx"),
        flow: Flow {
            transport: Transport::Udp,
            listener: ListenerIx(0),
            remote: "192.0.2.2:5060".parse().unwrap(),
            connection: 0,
        },
        began: at("01"),
        took: Duration::from_secs(2),
        code,
        post_dial_delay: Some(Duration::from_millis(500)),
    }
}

fn record() -> Record {
    Record {
        call: CallId(1),
        call_id: "a@192.0.2.1".into(),
        tenant: "acme".into(),
        from: "+12125550199".into(),
        verstat: None,
        attestation: None,
        to: "+18005550100".into(),
        trunk: Some(TrunkId::new("platform", "carrier")),
        station: None,
        number: Some(NumberId::new("acme", "main")),
        flow: Some(FlowId::new("acme", "main")),
        revision: Some("r1".into()),
        part_of: None,
        started_at: at("00"),
        answered_at: Some(at("03")),
        ended_at: at("09"),
        path: vec!["card: 4111111111111111".into()],
        path_at: vec![at("05")],
        ended_by: EndedBy::Caller,
        sip_code: 200,
        cause: 16,
        because: None,
        quality: None,
        series: Vec::new(),
        legs: Vec::new(),
        egress: Vec::new(),
        recordings: Vec::new(),
        voicemails: Vec::new(),
        queues: Vec::new(),
        supervisions: Vec::new(),
    }
}

fn text(pairs: &[Pair], name: &str) -> Option<String> {
    let value = pairs.iter().find(|pair| pair.key == name)?.value.clone()?;
    match value {
        AnyValue { value: Some(Told::StringValue(text)) } => Some(text),
        AnyValue { value: Some(Told::IntValue(number)) } => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

async fn wait_for(observed: &Observed, sent: u64) {
    let waited = async {
        while observed.spans_sent.get() < sent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("spans are sent");
}

#[tokio::test]
async fn a_call_is_one_trace_with_spans_for_what_happened_in_it() {
    let (collector, address) = collector();
    let observed = Arc::new(Observed::default());
    let mut traces = Traces::new(Arc::clone(&observed));
    traces.renew(&world(Some(serde_json::json!({
        "endpoint": format!("http://{address}"), "samplePermille": 1_000,
        "headers": ["platform/collector", "headers"], "ca": null,
    }))));
    traces.explained(&routed(), at("00"));
    traces.attempt(&attempt(486));
    traces.attempt(&attempt(200));
    traces.told("a@192.0.2.1", "peer `one` of Trunk acme/pbx answered 486 for +13125550177", at("02"));
    traces.ended(&record());
    wait_for(&observed, 6).await;

    let kept = collector.0.lock().unwrap();
    assert_eq!(kept.key.as_deref(), Some("letmein"));
    assert_eq!(text(&kept.service, "service.name").as_deref(), Some("switchboard"));
    let names: Vec<&str> = kept.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["admission", "dial", "dial", "answer", "talk", "call"]);
    let root = kept.spans.last().unwrap();
    assert!(root.parent_span_id.is_empty());
    for span in &kept.spans[..5] {
        assert_eq!((&span.trace_id, &span.parent_span_id), (&root.trace_id, &root.span_id));
    }
    let mut ids: Vec<_> = kept.spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let seconds = |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000_000;
    assert_eq!(kept.spans.iter().map(seconds).collect::<Vec<_>>(), [0, 2, 2, 3, 6, 9]);
    let of = |place: usize, name: &str| text(&kept.spans[place].attributes, name).unwrap_or_default();
    assert_eq!(of(1, "sip.response.status_code"), "486");
    assert_eq!(of(1, "error.type"), "486");
    assert_eq!(of(2, "server.address"), "192.0.2.2");
    assert_eq!(of(5, "switchboard.trunk"), "platform/carrier");
    assert_eq!(of(5, "switchboard.flow"), "acme/main");
    assert_eq!(of(5, "switchboard.caller"), "+1212555xxxx");
    assert_eq!(of(5, "sip.response.status_code"), "200");
    assert_eq!(root.events[0].name, "peer `one` of Trunk acme/pbx answered 486 for +1312555xxxx");
    let all = format!("{:?}", kept.spans);
    for secret in ["4111111111111111", "12125550199", "18005550100", "13125550177", "a@192.0.2.1", "letmein"]
    {
        assert!(!all.contains(secret), "{secret} is in a span");
    }
}

#[tokio::test]
async fn a_refused_call_is_a_trace_of_its_own_that_says_why() {
    let (collector, address) = collector();
    let observed = Arc::new(Observed::default());
    let mut traces = Traces::new(Arc::clone(&observed));
    traces.renew(&world(Some(serde_json::json!({
        "endpoint": format!("http://{address}"), "samplePermille": 1_000, "headers": null, "ca": null,
    }))));
    let because = "no PhoneNumber declares +18005550199.".to_owned();
    traces.explained(&explanation(Outcome::Refused { code: 404, because }), at("00"));
    wait_for(&observed, 2).await;
    let kept = collector.0.lock().unwrap();
    let root = &kept.spans[1];
    assert_eq!(text(&root.attributes, "sip.response.status_code").as_deref(), Some("404"));
    assert_eq!(root.status.as_ref().unwrap().message, "no PhoneNumber declares +1800555xxxx.");
}

#[tokio::test]
async fn nothing_is_collected_or_sent_that_the_yaml_does_not_ask_for() {
    let observed = Arc::new(Observed::default());
    let mut traces = Traces::new(Arc::clone(&observed));
    traces.renew(&world(None));
    assert!(!traces.is_on());
    traces.explained(&routed(), at("00"));
    traces.ended(&record());
    assert!(traces.open.is_empty());
    // One whose headers are not there is as none: they may be what keeps strangers out.
    traces.renew(&world(Some(serde_json::json!({
        "endpoint": "http://127.0.0.1:1", "samplePermille": 1_000, "headers": ["platform/gone", "a"], "ca": null,
    }))));
    assert!(!traces.is_on());
    assert_eq!((observed.spans_sent.get(), observed.spans_lost.get()), (0, 0));
}

#[tokio::test]
async fn spans_that_nobody_takes_are_counted_and_hold_up_nothing() {
    let observed = Arc::new(Observed::default());
    let mut traces = Traces::new(Arc::clone(&observed));
    traces.renew(&world(Some(serde_json::json!({
        "endpoint": "http://127.0.0.1:1", "samplePermille": 1_000, "headers": null, "ca": null,
    }))));
    for _ in 0..QUEUE_MAX * 2 {
        traces.explained(&routed(), at("00"));
        traces.ended(&record());
    }
    assert!(observed.spans_lost.get() > 0, "the queue is bounded");
    assert!(traces.open.is_empty());
}

#[test]
fn so_many_calls_of_a_thousand_are_traced() {
    let mut traces = Traces::new(Arc::new(Observed::default()));
    traces.queue = Some(mpsc::channel(1).0);
    traces.permille = 100;
    let traced = (0..10_000).filter(|number| traces.is_sampled(&format!("call-{number}"))).count();
    assert!((800..1_200).contains(&traced), "{traced}");
}

#[test]
fn digits_that_could_be_a_number_are_masked() {
    for (text, wanted) in [
        ("+12125550199", "+1212555xxxx"),
        ("answered 486", "answered 486"),
        ("card 4111111111111111!", "card 4111111xxxxxxxxx!"),
        ("123456 1234567", "123456 123xxxx"),
        ("", ""),
    ] {
        assert_eq!(masked(text), wanted);
    }
}
