//! The listening end: mutual TLS, and what its services know of who calls.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::AbortHandle,
    time::{Duration, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::server::{Connected, Router, Server},
};

use crate::{
    config::Hub,
    identity::{Identity, Party},
    tls::{HANDSHAKE_WAIT, KEEPALIVE, Tls, party},
    wire::{FromPod, ToPod, config_server},
};

/// Connections at once, with those that are shaking hands.
const CONNECTIONS_MAX: usize = 8_192;

/// Connections that wait for the server.
const ACCEPTED_MAX: usize = 64;

/// How long accepting waits after the system had no file left.
const PAUSE: Duration = Duration::from_millis(100);

/// Most octets of a message that a server takes: a hello with all its prompts is the longest.
pub(crate) const MESSAGE_MAX: usize = 512 << 10;

/// Who is at the other end of a connection, by its certificate.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub party: Party,
}

/// A connection whose hands are shaken.
struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// Comes once the server has ended: the tasks that drive connections do not end with it.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A connection of HTTP/2 always reads.
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A server that runs. Dropping it stops it and breaks its connections.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    tasks: [AbortHandle; 2],
    _end: watch::Sender<()>,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Serves the configuration stream. Must be called within a tokio runtime.
///
/// # Errors
/// The listener has no address.
pub fn serve_config(listener: TcpListener, tls: Tls, hub: Hub) -> io::Result<Serving> {
    let service = config_server::ConfigServer::new(Config(hub)).max_decoding_message_size(MESSAGE_MAX);
    serve(listener, tls, |mut server| server.add_service(service))
}

pub(crate) fn serve(
    listener: TcpListener,
    tls: Tls,
    with: impl FnOnce(Server) -> Router,
) -> io::Result<Serving> {
    let address = listener.local_addr()?;
    let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
    let (end, ends) = watch::channel(());
    let accepting = tokio::spawn(accept(listener, tls, ends, accepted));
    let (every, wait) = KEEPALIVE;
    let server = Server::builder()
        .http2_keepalive_interval(Some(every))
        .http2_keepalive_timeout(Some(wait))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .max_concurrent_streams(4);
    let serving = with(server).serve_with_incoming(ReceiverStream::new(connections));
    let serving = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the link's server has ended");
        }
    });
    Ok(Serving { address, tasks: [accepting.abort_handle(), serving.abort_handle()], _end: end })
}

async fn accept(
    listener: TcpListener,
    tls: Tls,
    ends: watch::Receiver<()>,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Never closed.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let (stream, address) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "no connection is accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (tls, ends, accepted) = (tls.clone(), ends.clone(), accepted.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_WAIT, shake(stream, &tls, ends, permit)).await {
                // The server has ended otherwise.
                Ok(Ok(connection)) => _ = accepted.send(Ok(connection)).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "a handshake has failed"),
                Err(_) => tracing::debug!(%address, "a handshake takes too long"),
            }
        });
    }
}

async fn shake(
    stream: TcpStream,
    tls: &Tls,
    mut ends: watch::Receiver<()>,
    permit: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls.server()).accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first).ok_or(io::ErrorKind::PermissionDenied)?;
    let party = party(certificate).map_err(io::Error::other)?;
    let ended = Box::pin(async move { while ends.changed().await.is_ok() {} });
    Ok(Connection { stream, peer: Peer { party }, ended, _permit: permit })
}

/// The pod that calls.
pub(crate) fn pod<T>(request: &Request<T>) -> Result<Identity, Status> {
    match request.extensions().get::<Peer>() {
        Some(Peer { party: Party::Pod(identity) }) => Ok(identity.clone()),
        _ => Err(Status::permission_denied("the certificate must be a pod's")),
    }
}

struct Config(Hub);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[tonic::async_trait]
impl config_server::Config for Config {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<ToPod, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<FromPod>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let identity = pod(&request)?;
        let told = self.0.open(identity, request.into_inner())?;
        Ok(Response::new(Box::pin(told)))
    }
}
