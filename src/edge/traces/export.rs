//! The thread that sends spans to a collector: OTLP over gRPC.

use std::{io, sync::Arc, thread, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::{
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tracing::{debug, warn};

use super::LINGER;
use crate::{observed::Observed, tls::public_authorities};

/// Spans of one request.
const BATCH_MAX: usize = 512;

/// How long a collector may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Headers of a request.
const HEADERS_MAX: usize = 16;

/// Where spans go. Prints nothing of what is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Scheme, host and perhaps a port.
    pub endpoint: String,
    /// Lines of `name: value`.
    pub headers: Option<Vec<u8>>,
    /// Authorities to trust (PEM). None: the public ones.
    pub ca: Option<Vec<u8>>,
    /// The cluster's code.
    pub cluster: String,
}

/// Starts the thread; it ends when the queue does.
///
/// # Errors
/// No thread, or settings that are of no use.
pub fn start(
    settings: Settings,
    queue: mpsc::Receiver<Vec<SpanData>>,
    observed: Arc<Observed>,
) -> io::Result<()> {
    let headers = headers(settings.headers.as_deref()).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("traces".into()).spawn(move || {
        runtime.block_on(async {
            match exporter(&settings, headers) {
                Ok(exporter) => send(&exporter, queue, &observed).await,
                Err(error) => warn!("no spans are sent to {}: {error}", settings.endpoint),
            }
        });
    })?;
    Ok(())
}

fn exporter(settings: &Settings, headers: MetadataMap) -> Result<SpanExporter, String> {
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel(settings)?)
        .with_metadata(headers)
        .with_timeout(ANSWER_MAX)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "switchboard"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.namespace", settings.cluster.clone()),
    ]);
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Connects when there is something to be sent.
fn channel(settings: &Settings) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(settings.endpoint.clone()).map_err(|error| error.to_string())?;
    let mut endpoint = endpoint.timeout(ANSWER_MAX).connect_timeout(ANSWER_MAX);
    if settings.endpoint.starts_with("https://") {
        let ca = settings.ca.clone().unwrap_or_else(public_authorities);
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
    }
    Ok(endpoint.connect_lazy())
}

fn headers(lines: Option<&[u8]>) -> Result<MetadataMap, &'static str> {
    let mut headers = MetadataMap::new();
    let lines = std::str::from_utf8(lines.unwrap_or_default()).map_err(|_| "its headers are no text")?;
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let wrong = "each line of its headers must be `name: value`";
        let (name, value) = line.split_once(':').ok_or(wrong)?;
        let name = MetadataKey::from_bytes(name.trim().to_ascii_lowercase().as_bytes()).map_err(|_| wrong)?;
        let mut value = MetadataValue::try_from(value.trim()).map_err(|_| wrong)?;
        value.set_sensitive(true);
        if headers.len() == HEADERS_MAX {
            return Err("it has more headers than can be sent");
        }
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn send(exporter: &SpanExporter, mut queue: mpsc::Receiver<Vec<SpanData>>, observed: &Observed) {
    while let Some(mut batch) = queue.recv().await {
        let linger = sleep(LINGER);
        tokio::pin!(linger);
        while batch.len() < BATCH_MAX {
            tokio::select! {
                more = queue.recv() => match more {
                    Some(more) => batch.extend(more),
                    None => break,
                },
                () = &mut linger => break,
            }
        }
        let count = batch.len() as u64;
        match timeout(ANSWER_MAX, exporter.export(batch)).await {
            Ok(Ok(())) => observed.spans_sent.add(count),
            Ok(Err(error)) => {
                observed.spans_lost.add(count);
                debug!("{count} spans are lost: {error}");
            }
            Err(_) => {
                observed.spans_lost.add(count);
                debug!("{count} spans are lost: the collector does not answer");
            }
        }
    }
}
