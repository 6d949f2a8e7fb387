//! Mutual TLS 1.3 between our own processes, and nothing else.
//!
//! Who dials knows its peer by a fixed DNS name of the certificate, whatever the address. Who is dialled reads the party
//! from the URI of the client's certificate.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio::{net::TcpStream, task::AbortHandle, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::{
    identity::{NotAnIdentity, Party, SCHEME},
    pki::Credentials,
};

/// How often files of credentials are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Most octets of one file of credentials.
const FILE_MAX: u64 = 1 << 20;

/// How long connecting may take, with its handshake.
pub(crate) const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);

/// How often a connection is tried, and how long its peer may take to answer.
pub(crate) const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file must hold is not in it.
    #[error("{0} must hold PEM of its kind")]
    Pem(&'static str),
    /// They do not belong together, or rustls cannot use them.
    #[error("the credentials cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier of clients takes none of the authorities.
    #[error("the authorities cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What new connections use. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<Configs>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// With these credentials.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(configs(credentials)?))))
    }

    /// New connections use these from now on; those that are up stay.
    ///
    /// # Errors
    /// They cannot be used; nothing has changed.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), TlsError> {
        self.0.store(Arc::new(configs(credentials)?));
        Ok(())
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().server)
    }

    fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.load().client)
    }
}

/// Credentials in a folder, as a mounted Secret has them: `ca.crt`, `tls.crt`, `tls.key`.
#[derive(Debug)]
pub struct CredentialsFile {
    tls: Tls,
    task: AbortHandle,
}

impl CredentialsFile {
    /// Reads the folder.
    ///
    /// # Errors
    /// A file cannot be read or is not of its form.
    pub fn read(folder: &Path) -> Result<Credentials, TlsError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let text = fs::metadata(&path).and_then(|data| match data.len() <= FILE_MAX {
                true => fs::read_to_string(&path),
                false => Err(io::ErrorKind::FileTooLarge.into()),
            });
            text.map_err(|source| TlsError::File { path, source })
        };
        Ok(Credentials { ca: read("ca.crt")?, certificate: read("tls.crt")?, key: read("tls.key")? })
    }

    /// Reads the folder, and again every two seconds until this is dropped. What cannot be used is logged once and changes
    /// nothing. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the folder holds now cannot be used.
    pub fn watch(folder: &Path) -> Result<Self, TlsError> {
        let mut last = Self::read(folder)?;
        let tls = Tls::new(&last)?;
        let (watched, folder) = (tls.clone(), folder.to_owned());
        let task = tokio::spawn(async move {
            let mut failed = false;
            loop {
                tokio::time::sleep(LOOK).await;
                // Small files of a volume in memory: reading them does not wait.
                let changed = Self::read(&folder).and_then(|new| {
                    if new != last {
                        watched.replace(&new)?;
                        last = new;
                        tracing::info!(folder = %folder.display(), "new credentials");
                    }
                    Ok(())
                });
                match changed {
                    Ok(()) => failed = false,
                    Err(error) if !failed => {
                        failed = true;
                        tracing::warn!(%error, "the credentials stay as they are");
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(Self { tls, task: task.abort_handle() })
    }

    /// What new connections use.
    #[must_use]
    pub fn tls(&self) -> Tls {
        self.tls.clone()
    }
}

impl Drop for CredentialsFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn configs(credentials: &Credentials) -> Result<Configs, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&credentials.ca, "ca.crt")? {
        roots.add(authority)?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(&credentials.certificate, "tls.crt")?;
    let key =
        PrivateKeyDer::from_pem_slice(credentials.key.as_bytes()).map_err(|_| TlsError::Pem("tls.key"))?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build()?;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would live on the certificate that it began with.
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

fn certificates(pem: &str, file: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(TlsError::Pem(file))
}

/// Whom a certificate belongs to: of its URIs exactly one must be ours.
///
/// # Errors
/// None is, or several are.
pub fn party(certificate: &CertificateDer<'_>) -> Result<Party, NotAnIdentity> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NotAnIdentity)?;
    let names = certificate.subject_alternative_name().ok().flatten().ok_or(NotAnIdentity)?;
    let mut ours = names.value.general_names.iter().filter_map(|name| {
        let GeneralName::URI(uri) = name else { return None };
        uri.starts_with(SCHEME).then_some(*uri)
    });
    match (ours.next(), ours.next()) {
        (Some(uri), None) => uri.parse(),
        _ => Err(NotAnIdentity),
    }
}

/// Why a peer is not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address is none.
    #[error("must be host:port")]
    Address,
    /// No connection, or no handshake.
    #[error("{0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A connection to `address` (`host:port`), whose certificate must have the DNS name `name`.
///
/// # Errors
/// It cannot be had within five seconds.
pub async fn channel(tls: &Tls, address: &str, name: &str) -> Result<Channel, DialError> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| DialError::Address)?;
    // Only its form matters: the connector below goes its own way.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| DialError::Address)?;
    let (every, wait) = KEEPALIVE;
    let endpoint = endpoint
        .http2_keep_alive_interval(every)
        .keep_alive_timeout(wait)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .user_agent("switchboard")?;
    let (config, address) = (tls.client(), address.to_owned());
    let connector = service_fn(move |_: Uri| {
        let (config, address, name) = (Arc::clone(&config), address.clone(), name.clone());
        async move {
            let connect = async {
                let stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                TlsConnector::from(config).connect(name, stream).await
            };
            let stream = timeout(HANDSHAKE_WAIT, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
            io::Result::Ok(TokioIo::new(stream))
        }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}
