//! One service: how it is reached, what it is asked, and within which bounds.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    client::conn::http1::SendRequest,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use model::{
    Key,
    centre::{HeaderValue as Value, Integration, SecretKey},
    secrets::Secrets,
    trunk::{CipherSuite, TlsPolicy, TlsVersion},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error as WsError, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::{
    guard::{Denied, Guard},
    proxy,
    reach::{self, Refused},
    target::Target,
    tls::client::{
        Client, Expected, HandshakeError, INTEGRATION_SUITES, OwnCertificate, Settings, SettingsError,
    },
};

/// Longest head of an answer, in octets; of a body so many are read at once.
const HEAD_MAX: usize = 65_536;
/// Connections that are kept for the next request, and for how long.
const IDLE_MAX: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(15);
/// Longest message of a WebSocket, in octets.
const MESSAGE_MAX: usize = 65_536;
/// Headers that are ours to say (RFC 9110 §7.6.1, RFC 6455 §4.1).
const OURS: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "proxy-authorization",
];

/// What a service is reached by: TLS, perhaps within a proxy's, or without.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a service.
pub type Stream = Box<dyn Io>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// The Integration is of no use: what of it, as a sentence.
    #[error("{0}")]
    Settings(String),
    /// It was not asked.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It may not be asked.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nothing connects.
    #[error("{host} cannot be reached: {because}")]
    Unreachable {
        /// What was connected to.
        host: String,
        /// What the system said.
        because: String,
    },
    /// The proxy does not let us through.
    #[error("the proxy {0}")]
    Proxy(String),
    /// The handshake came to nothing.
    #[error("no TLS with {host}: {because}")]
    Tls {
        /// Whose it should be.
        host: String,
        /// Why.
        because: HandshakeError,
    },
    /// Something on the way through the proxy ends TLS.
    #[error(
        "TLS with {host} is intercepted on its way through the proxy: the certificate that came is by {issuer:?}, who is none of the trusted authorities; exempt the host from inspection, or trust that authority by `tls.caSecretRef`"
    )]
    Intercepted {
        /// Who should have been there.
        host: String,
        /// Who vouches for what was there instead.
        issuer: String,
    },
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It said more than is read.
    #[error("the answer is longer than {0} octets")]
    TooLarge(usize),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It answered something that is no use.
    #[error("it answers {0}")]
    Answer(String),
}

impl Failed {
    /// Whether it says that the service is not well: if so again and again, it is left alone.
    const fn blames_service(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Denied(_) | Self::Refused(_) => false,
            Self::Unreachable { .. }
            | Self::Proxy(_)
            | Self::Tls { .. }
            | Self::Intercepted { .. }
            | Self::Timeout(_)
            | Self::TooLarge(_)
            | Self::Broken(_)
            | Self::Answer(_) => true,
        }
    }

    /// Whether another attempt may succeed although nothing has changed.
    const fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken(_))
    }
}

/// A request.
#[derive(Clone)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// What is put behind the Integration's URL: begins with `/` or `?`.
    pub path: String,
    /// Besides the Integration's own, whose names they take.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// How long it may take in all. None: as long as the Integration says.
    pub timeout: Option<Duration>,
    /// Longest body of the answer, in octets.
    pub answer_max: usize,
    /// Whether asking twice does no more than asking once: only then it is tried again when the connection breaks.
    pub idempotent: bool,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.body.len();
        f.debug_struct("Asked").field("method", &self.method).field("octets", &octets).finish_non_exhaustive()
    }
}

impl Asked {
    /// A request without headers, whose answer may have so many octets.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>, body: impl Into<Bytes>, answer_max: usize) -> Self {
        let idempotent = method.is_idempotent();
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: body.into(),
            timeout: None,
            answer_max,
            idempotent,
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The whole of its body.
    pub body: Bytes,
}

impl Answer {
    /// If it is a success.
    ///
    /// # Errors
    /// [`Failed::Answer`] with its status.
    pub fn good(self) -> Result<Self, Failed> {
        if self.status.is_success() {
            return Ok(self);
        }
        let status = self.status.as_u16();
        Err(Failed::Answer(match self.status.is_redirection() {
            true => format!("{status}, a redirection, which is not followed: give the URL that it leads to"),
            false => status.to_string(),
        }))
    }
}

/// Our certificate and its key, in PEM.
type Shown = (Box<[u8]>, Box<[u8]>);

/// A service, as an Integration has it.
pub struct Service {
    name: Key,
    target: Target,
    timeout: Duration,
    headers: HeaderMap,
    tls: TlsSettings,
    client: OnceLock<Result<Client, String>>,
    proxy: Option<ProxyTarget>,
    ranges: Vec<IpNet>,
    guard: Mutex<Guard>,
    began: Instant,
    idle: Mutex<Vec<(SendRequest<Full<Bytes>>, Instant)>>,
}

struct TlsSettings {
    minimum_version: TlsVersion,
    suites: Vec<CipherSuite>,
    ca: Option<Box<[u8]>>,
    certificate: Option<Shown>,
}

struct ProxyTarget {
    target: Target,
    credentials: Option<Box<[u8]>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.name).finish()
    }
}

impl Service {
    /// As an Integration says, given the cluster's policy of TLS and the private ranges that may be reached.
    ///
    /// # Errors
    /// What of it is of no use.
    pub fn new(
        name: &Key,
        form: &Integration,
        secrets: &Secrets,
        (policy, ranges): (&TlsPolicy, &[IpNet]),
    ) -> Result<Self, String> {
        let of = |object: &str, key: &str| {
            let object = Key::new(name.namespace(), object);
            secrets.get(&object, key).ok_or_else(|| format!("Secret {object} has no key `{key}`"))
        };
        let secret = |reference: &SecretKey| of(&reference.name, &reference.key);
        let target = Target::parse(&form.url).ok_or_else(|| format!("`{}` is no URL", form.url))?;
        let mut headers = HeaderMap::new();
        for header in &form.headers {
            let value = match &header.value {
                Value::Text(text) => text.as_bytes(),
                Value::Secret(reference) => secret(reference)?.trim_ascii(),
            };
            let named = HeaderName::from_bytes(header.name.as_bytes());
            let (Ok(field), Ok(mut value)) = (named, HeaderValue::from_bytes(value)) else {
                return Err(format!("the header `{}` or its value is none of HTTP's", header.name));
            };
            if OURS.contains(&field.as_str()) {
                return Err(format!("the header `{}` is for us to set", header.name));
            }
            value.set_sensitive(true);
            headers.insert(field, value);
        }
        let certificate = form
            .certificate
            .as_ref()
            .map(|object| Ok::<_, String>((of(object, "tls.crt")?.into(), of(object, "tls.key")?.into())));
        let proxied = form.proxy.as_ref().filter(|proxy| !proxy::passes_by(&target.host, &proxy.no_proxy));
        let proxy = proxied.map(|proxy| {
            let credentials = proxy.secret.as_ref().map(secret).transpose()?.map(Into::into);
            let target = Target::parse(&proxy.url).ok_or_else(|| format!("`{}` is no URL", proxy.url))?;
            Ok::<_, String>(ProxyTarget { target, credentials })
        });
        let tls = TlsSettings {
            minimum_version: if form.tls13_only { TlsVersion::Tls13 } else { policy.minimum_version },
            suites: offered(&policy.outbound_suites, &form.suites),
            ca: form.ca.as_ref().map(secret).transpose()?.map(Into::into),
            certificate: certificate.transpose()?,
        };
        Ok(Self {
            name: name.clone(),
            target,
            timeout: Duration::from_secs(form.timeout_seconds.max(1).into()),
            headers,
            tls,
            client: OnceLock::new(),
            proxy: proxy.transpose()?,
            ranges: ranges.to_vec(),
            guard: Mutex::new(Guard::new(form.requests_per_second_max, Duration::ZERO)),
            began: Instant::now(),
            idle: Mutex::default(),
        })
    }

    /// How long a request may take that says nothing else.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// Why there is none. An answer of any status is one.
    pub async fn request(&self, asked: &Asked) -> Result<Answer, Failed> {
        let ticket = self.admit()?;
        let longest = asked.timeout.unwrap_or(self.timeout);
        let answered = timeout(longest, self.tried(asked)).await.unwrap_or(Err(Failed::Timeout(longest)));
        ticket.ended(match &answered {
            Ok(answer) => !answer.status.is_server_error(),
            Err(failed) => !failed.blames_service(),
        });
        answered
    }

    /// Opens a WebSocket (RFC 6455) below the Integration's URL.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn websocket(&self, path: &str) -> Result<WebSocketStream<Stream>, Failed> {
        let ticket = self.admit()?;
        let opened = timeout(self.timeout, self.opened(path)).await;
        let opened = opened.unwrap_or(Err(Failed::Timeout(self.timeout)));
        ticket.ended(opened.as_ref().err().is_none_or(|failed| !failed.blames_service()));
        opened
    }

    async fn opened(&self, path: &str) -> Result<WebSocketStream<Stream>, Failed> {
        let scheme = if self.target.tls { "wss" } else { "ws" };
        let uri = format!("{scheme}://{}{}", self.target.authority, self.target.below(path));
        let request = uri.into_client_request();
        let mut request = request.map_err(|error| Failed::Settings(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
        let opening = client_async_with_config(request, self.connected().await?, Some(config));
        match opening.await {
            Ok((stream, _)) => Ok(stream),
            Err(WsError::Http(answer)) => {
                Err(Failed::Answer(format!("{} where it should open a WebSocket", answer.status().as_u16())))
            }
            Err(error) => Err(Failed::Broken(error.to_string())),
        }
    }

    async fn tried(&self, asked: &Asked) -> Result<Answer, Failed> {
        match self.once(asked).await {
            Err(failed) if asked.idempotent && failed.passes() => {
                let admitted = self.guard().admit(self.began.elapsed());
                if admitted.is_err() {
                    return Err(failed);
                }
                self.once(asked).await
            }
            answered => answered,
        }
    }

    async fn once(&self, asked: &Asked) -> Result<Answer, Failed> {
        // A connection that the service has closed meanwhile says so before anything is sent.
        while let Some(mut sender) = self.idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(self.written(asked)?).await {
                Ok(response) => return self.read(sender, response, asked.answer_max).await,
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(Failed::Broken(error.into_error().to_string()));
                    }
                }
            }
        }
        let stream = self.connected().await?;
        let broken = |error: hyper::Error| Failed::Broken(error.to_string());
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with its sender.
        tokio::spawn(connection);
        let response = sender.send_request(self.written(asked)?).await.map_err(broken)?;
        self.read(sender, response, asked.answer_max).await
    }

    fn written(&self, asked: &Asked) -> Result<Request<Full<Bytes>>, Failed> {
        let path = self.target.below(&asked.path);
        let built = Request::builder()
            .method(asked.method.clone())
            .uri(path)
            .header(header::HOST, &self.target.authority)
            .header(header::USER_AGENT, concat!("Switchboard/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(asked.body.clone()));
        let mut request =
            built.map_err(|_| Failed::Settings("the path of the request is none of a URL".into()))?;
        let headers = request.headers_mut();
        for (name, value) in self.headers.iter().chain(&asked.headers) {
            if !OURS.contains(&name.as_str()) {
                headers.insert(name, value.clone());
            }
        }
        Ok(request)
    }

    async fn read(
        &self,
        sender: SendRequest<Full<Bytes>>,
        response: hyper::Response<Incoming>,
        most: usize,
    ) -> Result<Answer, Failed> {
        let (head, mut body) = response.into_parts();
        let told = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if told.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > most as u64) {
            return Err(Failed::TooLarge(most));
        }
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failed::Broken(error.to_string()))?;
            let Some(data) = frame.data_ref() else { continue };
            if whole.len() + data.len() > most {
                return Err(Failed::TooLarge(most));
            }
            whole.extend_from_slice(data);
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((sender, Instant::now()));
        }
        Ok(Answer { status: head.status, headers: head.headers, body: whole.into() })
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_FOR);
        idle.pop().map(|(sender, _)| sender)
    }

    /// A connection, ready for HTTP.
    async fn connected(&self) -> Result<Stream, Failed> {
        let Target { host, port, tls, .. } = &self.target;
        let stream: Stream = match &self.proxy {
            None => Box::new(reached(host, *port, &self.ranges).await?),
            Some(proxy) => self.through(proxy).await?,
        };
        if !tls {
            return Ok(stream);
        }
        match self.client()?.connect(stream, host, Expected::Host).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(HandshakeError::UnknownAuthority(issuer)) if self.proxy.is_some() => {
                Err(Failed::Intercepted { host: host.clone(), issuer })
            }
            Err(because) => Err(Failed::Tls { host: host.clone(), because }),
        }
    }

    async fn through(&self, proxy: &ProxyTarget) -> Result<Stream, Failed> {
        // Nobody here decides where the proxy finds it, yet what is known to be inside is refused.
        match reach::resolve(&self.target.host, self.target.port, &self.ranges).await {
            Err(refused @ Refused::Inside(_)) => return Err(refused.into()),
            Err(Refused::NotFound(_)) | Ok(_) => {}
        }
        let Target { host, port, tls, .. } = &proxy.target;
        let stream = reached(host, *port, &self.ranges).await?;
        let mut stream: Stream = if *tls {
            let shaken = self.client()?.connect(stream, host, Expected::Host).await;
            Box::new(shaken.map_err(|because| Failed::Tls { host: host.clone(), because })?)
        } else {
            Box::new(stream)
        };
        let broken = |error: std::io::Error| Failed::Proxy(format!("broke the connection: {error}"));
        let asked = proxy::connect(&self.target.host_and_port(), proxy.credentials.as_deref());
        stream.write_all(&asked).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut head = Vec::new();
        loop {
            match proxy::answer(&head) {
                // Octet by octet, so that nothing of what is behind the head is taken.
                proxy::Head::Cut => match stream.read_u8().await {
                    Ok(octet) => head.push(octet),
                    Err(error) => return Err(broken(error)),
                },
                proxy::Head::Whole(200..=299, _) => return Ok(stream),
                proxy::Head::Whole(407, _) => {
                    return Err(Failed::Proxy(
                        "wants to know who we are: its `secretRef` is wrong or missing (407)".into(),
                    ));
                }
                proxy::Head::Whole(status, _) => {
                    return Err(Failed::Proxy(format!(
                        "does not let us through to {}: it answers {status}",
                        self.target.host
                    )));
                }
                proxy::Head::Broken => return Err(Failed::Proxy("answers what is no HTTP".into())),
            }
        }
    }

    fn client(&self) -> Result<&Client, Failed> {
        let made = self.client.get_or_init(|| {
            let TlsSettings { minimum_version, suites, ca, certificate } = &self.tls;
            let certificate = certificate.as_ref().map(|(chain, key)| OwnCertificate { chain, key });
            let settings =
                Settings { minimum_version: *minimum_version, suites, ca: ca.as_deref(), certificate };
            Client::new(&settings).map_err(|error: SettingsError| error.to_string())
        });
        made.as_ref().map_err(|because| Failed::Settings(because.clone()))
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self) -> Result<Ticket<'_>, Denied> {
        self.guard().admit(self.began.elapsed())?;
        Ok(Ticket { service: self, told: false })
    }
}

/// A request that is under way. Forgotten, it has failed: else nobody would ever be let through again.
struct Ticket<'a> {
    service: &'a Service,
    told: bool,
}

impl Ticket<'_> {
    fn ended(mut self, good: bool) {
        self.told = true;
        self.service.guard().ended(self.service.began.elapsed(), good);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.service.guard().ended(self.service.began.elapsed(), false);
        }
    }
}

/// The four suites of servers that are no trunk's, as far as the cluster has them and the Integration does.
fn offered(cluster: &[CipherSuite], wanted: &[String]) -> Vec<CipherSuite> {
    let wants = |suite: &CipherSuite| wanted.is_empty() || wanted.iter().any(|name| name == iana(*suite));
    INTEGRATION_SUITES.into_iter().filter(|suite| cluster.contains(suite) && wants(suite)).collect()
}

/// A suite's name in the registry.
const fn iana(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::DheRsaAes128Gcm => "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::EcdheRsaAes128Cbc => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        CipherSuite::EcdheEcdsaAes128Gcm => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::EcdheEcdsaAes256Gcm => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::EcdheRsaAes128Gcm => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::EcdheRsaAes256Gcm => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    }
}

/// What is connected to is an address that was looked at.
async fn reached(host: &str, port: u16, ranges: &[IpNet]) -> Result<TcpStream, Failed> {
    let addresses: Vec<SocketAddr> = reach::resolve(host, port, ranges).await?;
    let mut because = String::new();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // What is sent is whole requests: none is to wait for more.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => because = error.to_string(),
        }
    }
    Err(Failed::Unreachable { host: host.to_owned(), because })
}
