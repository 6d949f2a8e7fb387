//! Spans of calls, as a collector of OpenTelemetry gets them, and what `/metrics` says of the same calls.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    harness::{Setup, wait_until, with_prepared},
    phone::{CARRIER, Phone},
};

const GREET: &str = "+18005550100";
const NOBODY: &str = "+18005550109";

#[derive(Debug, Default, Clone)]
pub struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// On a thread of its own, as long as the test lives.
    pub fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                sender.send(incoming.local_addr().unwrap()).unwrap();
                Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
            });
        });
        (collector, receiver.recv().unwrap())
    }

    /// All that it got.
    pub fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.lock().unwrap().iter().map(|span| span.name.clone()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_collector_gets_the_spans_of_each_call_and_the_metrics_count_it() {
    let (collector, address) = Collector::start();
    with_prepared(
        &Setup::default(),
        |system| {
            let tracing = format!("  drainSeconds: 1\n  tracing: {{endpoint: \"http://{address}\"}}\n");
            system.edit("platform.yaml", "  drainSeconds: 1\n", &tracing);
        },
        |system| {
            let mut phone = Phone::new(system, CARRIER, GREET);
            phone.call("0 101");
            phone.wait_for_bye();
            let mut lost = Phone::new(system, CARRIER, NOBODY);
            let offer = lost.offer("0 101");
            assert_eq!(lost.invite(&offer).code(), 404);
            system.path_of_call(1);
            let wanted = ["admission", "admission", "answer", "call", "call", "talk"];
            wait_until("the spans of both calls are there", || collector.names() == wanted);
            let told = format!("{:?}", collector.0.lock().unwrap());
            for hidden in ["12125550199", "18005550100", phone.call_id.as_str()] {
                assert!(!told.contains(hidden), "{hidden} is in a span");
            }
            system.wait_for_metric("switchboard_spans_sent_total", 6);
            let metrics = system.get("/metrics");
            for line in [
                "switchboard_calls_rejected_total{listener=\"udp\",code=\"404\",reason=\"unknown number\"} 1",
                "switchboard_trunk_calls_total{trunk=\"platform/carrier\",direction=\"in\",code=\"200\"} 1",
                "switchboard_listener_received_total{listener=\"tcp\",transport=\"TCP\"} 0",
            ] {
                assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
            }
            let heard = metrics
                .lines()
                .find(|line| line.starts_with("switchboard_listener_received_total{listener=\"udp\""));
            assert!(heard.is_some_and(|heard| !heard.ends_with(" 0")), "{metrics}");
        },
    );
}
