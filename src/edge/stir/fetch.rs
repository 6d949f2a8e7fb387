//! Certificates of signers, by HTTPS from where their Identity says: one GET, bounded, and nothing followed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, Uri, body::Bytes, header};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use openssl::x509::X509;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust::CHAIN_MAX;
use outbound::reach;

use crate::tls::public_authorities;

/// How long a certificate may take in all: less than a call waits.
pub const FETCH_MAX: Duration = Duration::from_millis(2_500);

/// Longest answer, in octets.
pub const BODY_MAX: usize = 65_536;

/// Longest head of an answer, in octets.
const HEAD_MAX: usize = 16_384;

/// Ports of servers on the Internet (ATIS-1000074 §5.3.1); within `reachableRanges` any.
const PORTS: [u16; 2] = [443, 8_443];

/// How long a certificate is kept: what its server says, within these; and if it says nothing.
pub const KEPT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
pub const KEPT_USUALLY: Duration = Duration::from_secs(3_600);

/// Where a certificate is, and who may say so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its URL, as a stranger wrote it.
    pub url: String,
    /// Authorities of its server (PEM). None: the public ones.
    pub ca: Option<Arc<[u8]>>,
    /// Private ranges that may be asked.
    pub ranges: Vec<IpNet>,
}

/// What was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The signer's certificate first.
    pub chain: Arc<[X509]>,
    /// How long it may be kept.
    pub good_for: Duration,
}

/// Fetches.
///
/// # Errors
/// Why there is none, as a sentence.
pub async fn fetch(source: &Source) -> Result<Fetched, String> {
    match tokio::time::timeout(FETCH_MAX, get(source)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(format!("its certificate did not come within {} ms", FETCH_MAX.as_millis())),
    }
}

async fn get(source: &Source) -> Result<Fetched, String> {
    let uri: Uri = source.url.parse().map_err(|_| "the URL of its certificate is none")?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let (Some("https"), Some(authority)) = (uri.scheme_str(), authority) else {
        return Err("its certificate must be fetched by HTTPS".into());
    };
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(443));
    let addresses =
        reach::resolve(host, port, &source.ranges).await.map_err(|refused| refused.to_string())?;
    let stream = connect(&addresses, &source.ranges).await?;
    let connector = TlsConnector::from(Arc::new(tls(source.ca.as_deref())?));
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|_| "the host of its certificate has no valid name")?;
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| format!("the server of its certificate is not trusted: {error}"))?;
    let broken = |error: hyper::Error| format!("its certificate cannot be fetched: {error}");
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority.as_str())
        .header(header::ACCEPT, "application/pem-certificate-chain, application/pkix-cert")
        .header(header::USER_AGENT, concat!("Switchboard/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| "the URL of its certificate is none")?;
    let answering = async move {
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != hyper::StatusCode::OK {
            return Err(format!("the server of its certificate answers {}", response.status().as_u16()));
        }
        let control = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let good_for = good_for(control);
        Ok(Fetched { chain: chain(&body(response).await?)?, good_for })
    };
    tokio::pin!(answering);
    tokio::select! {
        fetched = &mut answering => fetched,
        ended = connection => match ended {
            // What came before it ended may still be to be read.
            Ok(()) => answering.await,
            Err(error) => Err(broken(error)),
        },
    }
}

async fn connect(addresses: &[SocketAddr], ranges: &[IpNet]) -> Result<TcpStream, String> {
    let mut failed = "the server of its certificate is nowhere".to_owned();
    for address in addresses {
        if !PORTS.contains(&address.port()) && !reach::is_listed(address.ip(), ranges) {
            return Err(format!("port {} is not one of those of certificates, 443 and 8443", address.port()));
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = format!("the server of its certificate cannot be reached: {error}"),
        }
    }
    Err(failed)
}

fn tls(ca: Option<&[u8]>) -> Result<ClientConfig, String> {
    let public;
    let pem = match ca {
        Some(ca) => ca,
        None => {
            public = public_authorities();
            &public
        }
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    if roots.is_empty() {
        return Err("there is no authority of HTTPS servers to trust".into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn body(response: hyper::Response<hyper::body::Incoming>) -> Result<Vec<u8>, String> {
    let (mut body, mut whole) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its certificate cannot be fetched: {error}"))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > BODY_MAX {
                return Err(format!("its certificate is longer than {BODY_MAX} octets"));
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole)
}

fn chain(body: &[u8]) -> Result<Arc<[X509]>, String> {
    let pem = X509::stack_from_pem(body).ok().filter(|chain| !chain.is_empty());
    let chain = pem.or_else(|| X509::from_der(body).ok().map(|one| vec![one]));
    match chain {
        Some(chain) if chain.len() <= CHAIN_MAX => Ok(chain.into()),
        Some(chain) => Err(format!("its chain has {} certificates, and {CHAIN_MAX} are many", chain.len())),
        None => Err("what was fetched is no certificate".into()),
    }
}

/// RFC 9111 §5.2.2, as far as it is for a cache of our own.
pub fn good_for(control: Option<&str>) -> Duration {
    let Some(control) = control else { return KEPT_USUALLY };
    let mut directives = control.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    let mut age = None;
    for directive in directives.by_ref() {
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return KEPT.0;
        }
        let seconds =
            directive.strip_prefix("max-age=").and_then(|seconds| seconds.trim_matches('"').parse().ok());
        age = age.or(seconds.map(Duration::from_secs));
    }
    age.map_or(KEPT_USUALLY, |age| age.clamp(KEPT.0, KEPT.1))
}
