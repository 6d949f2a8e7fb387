//! Ways of a test's phone to the system: datagrams, streams, TLS, WebSocket, over IPv4 and IPv6.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::Mutex,
    time::{Duration, Instant},
};

use openssl::ssl::{SslConnector, SslStream};
use socket2::{Domain, Socket, Type};
use tokio_tungstenite::tungstenite::{
    self, WebSocket,
    client::IntoClientRequest,
    http::{HeaderValue, header},
};

use crate::harness::PATIENCE;

/// A way by which messages go and come.
pub trait Wire: Send + fmt::Debug {
    /// Our end.
    fn local(&self) -> SocketAddr;
    /// The system's end.
    fn server(&self) -> SocketAddr;
    /// As it stands in a Via.
    fn transport(&self) -> &'static str;
    fn send(&self, bytes: &[u8]);
    /// The next message, if one comes in time.
    fn receive(&self, within: Duration) -> Option<String>;
}

/// UDP.
#[derive(Debug)]
pub struct Datagrams {
    pub socket: UdpSocket,
    pub server: SocketAddr,
}

impl Datagrams {
    pub fn new(from: IpAddr, server: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind((from, 0)).unwrap(), server }
    }
}

impl Wire for Datagrams {
    fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn server(&self) -> SocketAddr {
        self.server
    }

    fn transport(&self) -> &'static str {
        "UDP"
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).unwrap();
    }

    fn receive(&self, within: Duration) -> Option<String> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(within)).unwrap();
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// What a stream runs over.
pub trait Carrier: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Carrier for SslStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

/// Connects from an address.
pub fn tcp(from: IpAddr, server: SocketAddr) -> TcpStream {
    tcp_at(SocketAddr::new(from, 0), server)
}

/// Connects from an address and port.
pub fn tcp_at(from: SocketAddr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Connects under TLS.
pub fn tls(from: IpAddr, server: SocketAddr, connector: &SslConnector) -> SslStream<TcpStream> {
    over(tcp(from, server), connector)
}

/// TLS over a connection.
pub fn over(stream: TcpStream, connector: &SslConnector) -> SslStream<TcpStream> {
    let ssl = connector.configure().unwrap().verify_hostname(false).into_ssl("c14.example.net").unwrap();
    ssl.connect(stream).unwrap()
}

/// TCP, or TLS over it.
pub struct Stream<C: Carrier> {
    transport: &'static str,
    local: SocketAddr,
    server: SocketAddr,
    inner: Mutex<(C, Vec<u8>)>,
}

impl<C: Carrier> fmt::Debug for Stream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.local)
    }
}

impl<C: Carrier> Stream<C> {
    pub fn new(transport: &'static str, carrier: C) -> Self {
        let (local, server) = (carrier.tcp().local_addr().unwrap(), carrier.tcp().peer_addr().unwrap());
        Self { transport, local, server, inner: Mutex::new((carrier, Vec::new())) }
    }

    /// Says something, which it may be too late for.
    pub fn try_send(&self, bytes: &[u8]) {
        let _ = self.inner.lock().unwrap().0.write_all(bytes);
    }

    /// Waits until the other side closes; false: it sends something instead, or nothing.
    pub fn is_closed(&self) -> bool {
        let (carrier, _) = &mut *self.inner.lock().unwrap();
        carrier.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        match carrier.read(&mut [0; 1]) {
            Ok(length) => length == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// So many octets.
    pub fn octets(&self, count: usize) -> Vec<u8> {
        let (carrier, _) = &mut *self.inner.lock().unwrap();
        carrier.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        let mut octets = vec![0; count];
        carrier.read_exact(&mut octets).unwrap();
        octets
    }
}

impl<C: Carrier> Wire for Stream<C> {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn server(&self) -> SocketAddr {
        self.server
    }

    fn transport(&self) -> &'static str {
        self.transport
    }

    fn send(&self, bytes: &[u8]) {
        self.inner.lock().unwrap().0.write_all(bytes).unwrap();
    }

    fn receive(&self, within: Duration) -> Option<String> {
        let until = Instant::now() + within;
        let (carrier, kept) = &mut *self.inner.lock().unwrap();
        loop {
            if let Some(length) = message_length(kept) {
                let message = kept.drain(..length).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&message).into_owned());
            }
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            carrier.tcp().set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 4_096];
            match carrier.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => kept.extend(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return None,
            }
        }
    }
}

/// How long the message at the front is, if it is all there.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let body = text.lines().find_map(|line| line.strip_prefix("Content-Length:"))?;
    let whole = head + body.trim().parse::<usize>().unwrap();
    (bytes.len() >= whole).then_some(whole)
}

/// A WebSocket of a page or phone.
pub struct Web<C: Carrier> {
    transport: &'static str,
    local: SocketAddr,
    server: SocketAddr,
    socket: Mutex<WebSocket<C>>,
}

impl<C: Carrier> fmt::Debug for Web<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.local)
    }
}

impl<C: Carrier> Web<C> {
    /// Upgrades a connection; or the status by which it is refused.
    pub fn open(
        transport: &'static str,
        carrier: C,
        protocol: Option<&'static str>,
        origin: Option<&'static str>,
    ) -> Result<Self, u16> {
        let (local, server) = (carrier.tcp().local_addr().unwrap(), carrier.tcp().peer_addr().unwrap());
        let mut request = format!("ws://{server}/").into_client_request().unwrap();
        let headers = request.headers_mut();
        for (name, value) in [(header::SEC_WEBSOCKET_PROTOCOL, protocol), (header::ORIGIN, origin)] {
            value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
        }
        match tungstenite::client(request, carrier) {
            Ok((socket, response)) => {
                assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "sip");
                Ok(Self { transport, local, server, socket: Mutex::new(socket) })
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends one frame of any kind.
    pub fn frame(&self, message: tungstenite::Message) {
        self.socket.lock().unwrap().send(message).unwrap();
    }

    /// The next frame of any kind.
    pub fn next(&self, within: Duration) -> Option<tungstenite::Message> {
        let mut socket = self.socket.lock().unwrap();
        socket.get_ref().tcp().set_read_timeout(Some(within)).unwrap();
        socket.read().ok()
    }
}

impl<C: Carrier> Wire for Web<C> {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn server(&self) -> SocketAddr {
        self.server
    }

    fn transport(&self) -> &'static str {
        self.transport
    }

    fn send(&self, bytes: &[u8]) {
        self.frame(tungstenite::Message::text(String::from_utf8_lossy(bytes).into_owned()));
    }

    fn receive(&self, within: Duration) -> Option<String> {
        let until = Instant::now() + within;
        loop {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            match self.next(left)? {
                tungstenite::Message::Text(text) => return Some(text.to_string()),
                tungstenite::Message::Binary(bytes) => {
                    return Some(String::from_utf8_lossy(&bytes).into_owned());
                }
                tungstenite::Message::Close(_) => return None,
                tungstenite::Message::Ping(_)
                | tungstenite::Message::Pong(_)
                | tungstenite::Message::Frame(_) => {}
            }
        }
    }
}
